//! The thread that owns a device: what is the same for a card and a modem.
//!
//! Commands come to it and events go from it, and it never waits for whoever is above. Its serial
//! port is opened again whenever it fails. What it does between is the device's own affair.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alsa::poll::{Flags, pollfd};
use serialport::TTYPort;

/// Bits a second, where the port is a true serial port. 8N1.
const BAUD: u32 = 115_200;
/// A device that is not there is looked for so often.
pub(super) const REOPEN_EVERY: Duration = Duration::from_millis(500);
/// The thread looks around at least so often.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(1);
/// A read or write of the serial port, which `poll` says is ready, takes no longer.
pub(super) const SERIAL_TIMEOUT: Duration = Duration::from_millis(5);
/// Commands that wait at most.
const COMMANDS_MAX: usize = 64;
/// Events that wait at most to be taken, in the channel and before it.
const EVENTS_MAX: usize = 256;
const EVENTS_HELD_MAX: usize = 1_024;

/// Called on the device's thread when there are events to be taken. Must not block.
pub type Notify = Box<dyn Fn() + Send>;

/// No more can be asked of the device now: it is behind with what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the device is behind with what it was told")]
pub struct Full;

/// What went wrong with a device since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CounterValues {
    /// Times that the box read too late, and sound of the wires was lost.
    pub overruns: u64,
    /// Times that the box played too late, and the wires heard a gap.
    pub underruns: u64,
    /// Frames that the device lost on the way to the box.
    pub lost_frames: u64,
    /// Periods that were not played because too many waited.
    pub dropped_periods: u64,
    /// Periods of sound moved, 10 ms each.
    pub periods: u64,
    /// Lines of the control port that were noise.
    pub garbled_lines: u64,
    /// Requests sent again.
    pub resent_requests: u64,
    /// Frames that made no sense.
    pub senseless_frames: u64,
    /// Sessions begun.
    pub sessions: u64,
}

/// The same, for other threads to read.
#[derive(Default)]
struct Counters([AtomicU64; 9]);

impl Counters {
    fn store(&self, values: CounterValues) {
        let values = [
            values.overruns,
            values.underruns,
            values.lost_frames,
            values.dropped_periods,
            values.periods,
            values.garbled_lines,
            values.resent_requests,
            values.senseless_frames,
            values.sessions,
        ];
        for (place, value) in self.0.iter().zip(values) {
            place.store(value, Ordering::Relaxed);
        }
    }

    fn load(&self) -> CounterValues {
        let [a, b, c, d, e, f, g, h, i] = self.0.each_ref().map(|place| place.load(Ordering::Relaxed));
        CounterValues {
            overruns: a,
            underruns: b,
            lost_frames: c,
            dropped_periods: d,
            periods: e,
            garbled_lines: f,
            resent_requests: g,
            senseless_frames: h,
            sessions: i,
        }
    }
}

enum Order<C> {
    Do(C),
    Stop,
}

/// The thread as seen from outside. Dropping it tells it to stop, and waits until it has.
pub(super) struct DeviceThread<C> {
    orders: SyncSender<Order<C>>,
    wake: UnixDatagram,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl<C: Send + 'static> DeviceThread<C> {
    /// Starts it. Events come in the channel; `notify` tells whoever cannot wait on it that there
    /// are some.
    ///
    /// # Errors
    /// No thread or no socket is to be had.
    pub(super) fn start<E: Send + 'static>(
        name: &str,
        notify: Option<Notify>,
        run: impl FnOnce(Ways<C, E>) + Send + 'static,
    ) -> io::Result<(Self, Receiver<E>)> {
        let (wake, woken) = UnixDatagram::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let (orders, orders_in) = sync_channel(COMMANDS_MAX);
        let (events, events_out) = sync_channel(EVENTS_MAX);
        let counters = Arc::new(Counters::default());
        let ways = Ways {
            orders: orders_in,
            woken,
            events,
            notify,
            held: VecDeque::with_capacity(EVENTS_HELD_MAX),
            counters: Arc::clone(&counters),
        };
        let thread = std::thread::Builder::new().name(format!("port-{name}")).spawn(move || run(ways))?;
        Ok((Self { orders, wake, counters, thread: Some(thread) }, events_out))
    }

    /// Tells it to do this.
    ///
    /// # Errors
    /// [`Full`]: 64 wait already.
    pub(super) fn command(&self, command: C) -> Result<(), Full> {
        self.orders.try_send(Order::Do(command)).map_err(|_| Full)?;
        // A full socket is a thread that is awake already.
        let _ = self.wake.send(&[1]);
        Ok(())
    }

    /// What it counted last.
    pub(super) fn counters(&self) -> CounterValues {
        self.counters.load()
    }
}

impl<C> Drop for DeviceThread<C> {
    fn drop(&mut self) {
        // Blocks while 64 commands wait, which the thread takes at once.
        let _ = self.orders.send(Order::Stop);
        let _ = self.wake.send(&[1]);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

/// The device is no longer wanted.
pub(super) struct Unwanted;

/// The ways from and to the thread, as it has them.
pub(super) struct Ways<C, E> {
    orders: Receiver<Order<C>>,
    woken: UnixDatagram,
    events: SyncSender<E>,
    notify: Option<Notify>,
    held: VecDeque<E>,
    counters: Arc<Counters>,
}

impl<C, E> Ways<C, E> {
    /// The next command, if one waits.
    ///
    /// # Errors
    /// [`Unwanted`]
    pub(super) fn command(&self) -> Result<Option<C>, Unwanted> {
        let mut byte = [0];
        while self.woken.recv(&mut byte).is_ok() {}
        match self.orders.try_recv() {
            Ok(Order::Do(command)) => Ok(Some(command)),
            Ok(Order::Stop) | Err(TryRecvError::Disconnected) => Err(Unwanted),
            Err(TryRecvError::Empty) => Ok(None),
        }
    }

    /// What wakes the thread.
    pub(super) fn woken(&self) -> pollfd {
        waited(self.woken.as_raw_fd(), Flags::IN)
    }

    /// This happened.
    pub(super) fn event(&mut self, event: E) {
        self.held.push_back(event);
    }

    /// Puts what waits into the channel. False if nobody has taken any of it for so long that it was
    /// thrown away: what is missing is worse than a device that goes and comes.
    pub(super) fn pass_events(&mut self) -> bool {
        let before = self.held.len();
        while let Some(event) = self.held.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event) | TrySendError::Disconnected(event)) => {
                    self.held.push_front(event);
                    break;
                }
            }
        }
        if let Some(notify) = self.notify.as_ref().filter(|_| self.held.len() < before) {
            notify();
        }
        let are_taken = self.held.len() < EVENTS_HELD_MAX;
        if !are_taken {
            self.held.clear();
        }
        are_taken
    }

    /// Events have found no room in the channel.
    pub(super) fn holds_events(&self) -> bool {
        !self.held.is_empty()
    }

    /// Shows what was counted.
    pub(super) fn show(&self, values: CounterValues) {
        self.counters.store(values);
    }
}

/// Whether a device is there, as it was told.
pub(super) struct Presence<F> {
    pub(super) is_there: bool,
    /// The fault that was told last.
    told: Option<F>,
}

impl<F: PartialEq + Copy> Presence<F> {
    pub(super) const fn new() -> Self {
        Self { is_there: false, told: None }
    }

    /// It is there.
    pub(super) const fn came(&mut self) {
        (self.is_there, self.told) = (true, None);
    }

    /// It is not there. True if that is news.
    #[must_use]
    pub(super) fn went(&mut self, fault: F) -> bool {
        let is_news = self.is_there || self.told != Some(fault);
        if is_news {
            self.told = Some(fault);
        }
        self.is_there = false;
        is_news
    }

    /// Nobody knows what it is any more: whatever comes next is news.
    pub(super) const fn forget(&mut self) {
        (self.is_there, self.told) = (false, None);
    }
}

/// What came of a read.
pub(super) enum Came {
    /// So many bytes.
    Bytes(usize),
    /// Nothing, for now.
    Nothing,
    /// The port failed: it was pulled out.
    End,
}

/// The serial port of a device, and what is to be sent on it.
pub(super) struct SerialPort {
    path: String,
    port: Option<TTYPort>,
    pub(super) unsent: VecDeque<u8>,
    open_at: Instant,
}

impl SerialPort {
    /// A port that is opened as soon as it is tried.
    pub(super) fn new(path: &str, now: Instant) -> Self {
        Self { path: path.to_owned(), port: None, unsent: VecDeque::new(), open_at: now }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.port.is_some()
    }

    /// Opens it, if it is closed and time has come.
    pub(super) fn open(&mut self, now: Instant) -> Option<Result<(), io::ErrorKind>> {
        if self.port.is_some() || now < self.open_at {
            return None;
        }
        self.open_at = now + REOPEN_EVERY;
        // Exclusive and raw, as the crate opens them.
        Some(match serialport::new(self.path.as_str(), BAUD).timeout(SERIAL_TIMEOUT).open_native() {
            Ok(port) => {
                self.port = Some(port);
                self.unsent.clear();
                Ok(())
            }
            Err(error) => Err(io::Error::from(error).kind()),
        })
    }

    /// Closes it, to be opened again at this time.
    pub(super) fn close(&mut self, open_at: Instant) {
        self.port = None;
        self.unsent.clear();
        self.open_at = open_at;
    }

    /// When it is to be opened, if it is closed.
    pub(super) fn opens_at(&self) -> Option<Instant> {
        self.port.is_none().then_some(self.open_at)
    }

    /// What it is waited on for.
    pub(super) fn waited(&self, flags: Flags) -> Option<pollfd> {
        self.port.as_ref().map(|port| waited(port.as_raw_fd(), flags))
    }

    /// Whether it is so now, without waiting.
    pub(super) fn is(&self, flags: Flags) -> bool {
        self.waited(flags).is_some_and(|fd| alsa::poll::poll(&mut [fd], 0).is_ok_and(|ready| ready > 0))
    }

    /// Reads what there is.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Came {
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        let Some(port) = &mut self.port else { return Came::Nothing };
        match port.read(buffer) {
            Ok(0) => Came::End,
            Ok(length) => Came::Bytes(length),
            Err(error) if matches!(error.kind(), TimedOut | WouldBlock | Interrupted) => Came::Nothing,
            Err(_) => Came::End,
        }
    }

    /// Sends so many bytes at most of what is unsent. False if none were taken: the port has no room,
    /// or there are none, or it is gone, which reading tells.
    pub(super) fn write(&mut self, bytes_max: usize) -> bool {
        let Some(port) = self.port.as_mut().filter(|_| !self.unsent.is_empty()) else { return false };
        let (front, _) = self.unsent.as_slices();
        match port.write(front.get(..bytes_max).unwrap_or(front)) {
            Ok(sent) => {
                self.unsent.drain(..sent);
                sent > 0
            }
            Err(_) => false,
        }
    }
}

/// How long to wait for a deadline, in ms, rounded up: a millisecond too early would be a round for
/// nothing.
pub(super) fn timeout_ms(deadline: Instant) -> i32 {
    let timeout = deadline.saturating_duration_since(Instant::now());
    timeout.as_micros().div_ceil(1_000).try_into().unwrap_or(i32::MAX)
}

fn waited(fd: i32, flags: Flags) -> pollfd {
    pollfd { fd, events: flags.bits(), revents: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_place() {
        let counters = Counters::default();
        let values = CounterValues {
            overruns: 1,
            underruns: 2,
            lost_frames: 3,
            dropped_periods: 4,
            periods: 5,
            garbled_lines: 6,
            resent_requests: 7,
            senseless_frames: 8,
            sessions: 9,
        };
        counters.store(values);
        assert_eq!(counters.load(), values);
    }

    #[test]
    fn events_that_nobody_takes_are_thrown_away_at_last() {
        let (told, taken) = sync_channel(1);
        let run = move |mut ways: Ways<(), usize>| {
            let mut passed = 0;
            for event in 0.. {
                ways.event(event);
                if !ways.pass_events() {
                    break;
                }
                passed = event + 1;
            }
            let _ = told.send((passed, ways.holds_events()));
        };
        let (_thread, events) = DeviceThread::start("test", None, run).unwrap();
        assert_eq!(taken.recv().unwrap(), (EVENTS_MAX + EVENTS_HELD_MAX - 1, false));
        drop(events);
    }

    #[test]
    fn a_fault_is_news_once_until_something_else_happens() {
        let mut presence = Presence::new();
        assert!(presence.went(1) && !presence.went(1) && presence.went(2));
        presence.came();
        assert!(presence.is_there && presence.went(2) && !presence.went(2));
        presence.forget();
        assert!(presence.went(2));
    }
}
