//! The thread that owns a card: its serial port and its sound.
//!
//! It opens both, keeps them going, and opens them again whenever they fail. It never waits
//! for whoever is above: events that nobody takes end the session.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alsa::poll::{Flags, pollfd};
use serialport::TTYPort;

use super::link::{Input, Link, LinkFault, LinkState, Output};
use super::message::{CardInfo, Reading, Refusal};
use super::pcm::SoundDevice;
use super::pump::{CardSound, Pump, SoundFault};
use super::settings::CardSettings;
use crate::port::{RxSignal, SampleTime, TxSignal};

/// Bits a second of the control port, where it is a true serial port. 8N1.
const BAUD: u32 = 115_200;
/// A device that is not there is looked for so often.
const REOPEN_EVERY: Duration = Duration::from_millis(500);
/// The thread looks around at least so often.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// A read or write of the serial port, which `poll` says is ready, takes no longer.
const SERIAL_TIMEOUT: Duration = Duration::from_millis(5);
/// Bytes that wait to be sent at most: some ten lines.
const UNSENT_BYTES_MAX: usize = 4_096;
/// Commands that wait at most.
const COMMANDS_MAX: usize = 64;
/// Events that wait at most to be taken, in the channel and before it.
const EVENTS_MAX: usize = 256;
const EVENTS_HELD_MAX: usize = 1_024;

/// Called on the card's thread when there are events to be taken. Must not block.
pub type Notify = Box<dyn Fn() + Send>;

/// What happens at a card.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CardEvent {
    /// It is there, with sound: every port is at rest, and what is not follows at once as
    /// signals.
    Present(CardInfo),
    /// It is not there, or no longer. Calls on its ports are over. It is looked for by itself.
    Gone(CardFault),
    /// A wire did this.
    Signal {
        /// The port, from 0.
        port: usize,
        /// When, on the clock of the sound.
        at: SampleTime,
        /// What.
        signal: RxSignal,
    },
    /// What was to be done, set or measured at a port cannot be. A setting is refused before
    /// [`CardEvent::Present`] comes.
    Refused {
        /// The port, from 0.
        port: usize,
        /// What was to be done; `None` for a setting or a measurement.
        signal: Option<TxSignal>,
        /// Why.
        refusal: Refusal,
    },
    /// What [`Card::meter`] asked for.
    Reading {
        /// The port, from 0.
        port: usize,
        /// What.
        reading: Reading,
    },
    /// The card is too hot, or no longer.
    Hot(bool),
}

/// Why a card is not there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum CardFault {
    /// The serial port cannot be opened.
    #[error("the serial port cannot be opened: {0}")]
    NoDevice(io::ErrorKind),
    /// The serial port failed: unplugged.
    #[error("the card was pulled out")]
    Unplugged,
    /// Nobody sensible answers on it.
    #[error(transparent)]
    Link(#[from] LinkFault),
    /// Its sound does not work.
    #[error(transparent)]
    Sound(#[from] SoundFault),
    /// Nobody took its events.
    #[error("nobody took the card's events")]
    NotListenedTo,
}

impl CardFault {
    /// Its code in the catalogue of messages.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoDevice(_) => "TR-CARD-DEVICE",
            Self::Unplugged => "TR-CARD-UNPLUGGED",
            Self::Link(LinkFault::NoAnswer) => "TR-CARD-SILENT",
            Self::Link(LinkFault::Unfit | LinkFault::Refused(_)) => "TR-CARD-UNFIT",
            Self::Link(LinkFault::Reset) => "TR-CARD-RESET",
            Self::Sound(_) => "TR-CARD-SOUND",
            Self::Link(LinkFault::Overrun | LinkFault::Restarted) | Self::NotListenedTo => "TR-CARD-BEHIND",
        }
    }
}

/// No more can be asked of the card now: it is behind with what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the card is behind with what it was told")]
pub struct Full;

enum Command {
    Signal(usize, TxSignal),
    Meter(usize),
    Stop,
}

/// What went wrong with a card since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CounterValues {
    /// Times that the box read too late, and sound of the wires was lost.
    pub overruns: u64,
    /// Times that the box played too late, and the wires heard a gap.
    pub underruns: u64,
    /// Frames that the card lost on the way to the box.
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
pub(in crate::port) struct Counters([AtomicU64; 9]);

impl Counters {
    pub(in crate::port) fn store(&self, values: CounterValues) {
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

    pub(in crate::port) fn load(&self) -> CounterValues {
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

/// A card. Dropping it leaves every port at rest within [`WATCHDOG_S`](super::WATCHDOG_S) and
/// ends its thread.
pub struct Card {
    commands: SyncSender<Command>,
    wake: UnixDatagram,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Card {
    /// Starts a thread for a card, whether it is plugged in or not. Events come in the channel;
    /// `notify` tells whoever cannot wait on it that there are some.
    ///
    /// # Errors
    /// No thread or no socket is to be had.
    pub fn open(
        name: &str,
        settings: CardSettings,
        sound: Box<dyn CardSound>,
        notify: Option<Notify>,
    ) -> io::Result<(Self, Receiver<CardEvent>)> {
        let (wake, woken) = UnixDatagram::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let (commands, commands_in) = sync_channel(COMMANDS_MAX);
        let (events, events_out) = sync_channel(EVENTS_MAX);
        let counters = Arc::new(Counters::default());
        let mut seed = [0; 4];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
        let now = Instant::now();
        let run = Run {
            link: Link::new(settings.ports.clone(), u32::from_ne_bytes(seed)),
            settings,
            commands: commands_in,
            events,
            notify,
            held: VecDeque::new(),
            woken,
            sound,
            counters: Arc::clone(&counters),
            serial: None,
            unsent: VecDeque::new(),
            device: None,
            past: CounterValues::default(),
            info: None,
            present: false,
            told: None,
            open_at: now,
            sound_at: now,
            sound_waits: false,
        };
        let thread = std::thread::Builder::new().name(format!("port-{name}")).spawn(move || run.run())?;
        Ok((Self { commands, wake, counters, thread: Some(thread) }, events_out))
    }

    /// Does this at a port. While the card is not there it comes back as
    /// [`CardEvent::Refused`].
    ///
    /// # Errors
    /// [`Full`]: 64 wait already.
    pub fn signal(&self, port: usize, signal: TxSignal) -> Result<(), Full> {
        self.command(Command::Signal(port, signal))
    }

    /// Measures at a port; [`CardEvent::Reading`] follows.
    ///
    /// # Errors
    /// [`Full`]: 64 wait already.
    pub fn meter(&self, port: usize) -> Result<(), Full> {
        self.command(Command::Meter(port))
    }

    /// What went wrong so far.
    #[must_use]
    pub fn counters(&self) -> CounterValues {
        self.counters.load()
    }

    fn command(&self, command: Command) -> Result<(), Full> {
        self.commands.try_send(command).map_err(|_| Full)?;
        // A full socket is a thread that is awake already.
        let _ = self.wake.send(&[1]);
        Ok(())
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // Blocks while 64 commands wait, which the thread takes within a period.
        let _ = self.commands.send(Command::Stop);
        let _ = self.wake.send(&[1]);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

struct Run {
    settings: CardSettings,
    commands: Receiver<Command>,
    events: SyncSender<CardEvent>,
    notify: Option<Notify>,
    held: VecDeque<CardEvent>,
    woken: UnixDatagram,
    sound: Box<dyn CardSound>,
    counters: Arc<Counters>,
    link: Link,
    serial: Option<TTYPort>,
    unsent: VecDeque<u8>,
    device: Option<(SoundDevice, Pump)>,
    /// Counted by pumps that are no more.
    past: CounterValues,
    info: Option<CardInfo>,
    present: bool,
    /// The fault that was told last.
    told: Option<CardFault>,
    open_at: Instant,
    sound_at: Instant,
    /// There was sound to be read when it was last looked for.
    sound_waits: bool,
}

impl Run {
    fn run(mut self) {
        loop {
            let now = Instant::now();
            if self.take_commands(now).is_err() {
                return;
            }
            self.keep_open(now);
            if self.link.poll_timeout().is_some_and(|at| at <= now) {
                self.tell(now, Input::Timeout);
            }
            self.keep_sound(now);
            if self.device.is_none() {
                self.sound.rest();
            }
            self.send();
            self.pass_events(now);
            self.counters.store(self.count());
            self.wait(now);
        }
    }

    /// # Errors
    /// The card is no longer wanted.
    fn take_commands(&mut self, now: Instant) -> Result<(), ()> {
        let mut byte = [0];
        while self.woken.recv(&mut byte).is_ok() {}
        loop {
            match self.commands.try_recv() {
                Ok(Command::Signal(port, signal)) => self.tell(now, Input::Signal(port, signal)),
                Ok(Command::Meter(port)) => self.tell(now, Input::Meter(port)),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return Err(()),
                Err(TryRecvError::Empty) => return Ok(()),
            }
        }
    }

    fn keep_open(&mut self, now: Instant) {
        if self.serial.is_some() || now < self.open_at {
            return;
        }
        self.open_at = now + REOPEN_EVERY;
        match serialport::new(self.settings.serial_path.as_str(), BAUD).timeout(SERIAL_TIMEOUT).open_native()
        {
            Ok(serial) => {
                self.serial = Some(serial);
                self.unsent.clear();
                self.tell(now, Input::Opened);
            }
            Err(error) => self.gone(CardFault::NoDevice(io::Error::from(error).kind())),
        }
    }

    fn unplugged(&mut self, now: Instant) {
        self.serial = None;
        self.open_at = now + REOPEN_EVERY;
        self.silence();
        self.tell(now, Input::Closed);
        self.gone(CardFault::Unplugged);
    }

    /// Tells the link something and does what it says.
    fn tell(&mut self, now: Instant, input: Input<'_>) {
        self.link.handle(now, input);
        while let Some(output) = self.link.poll() {
            self.obey(output);
        }
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Write(line) => self.unsent.extend(line.bytes()),
            Output::Up(info) => {
                self.info = Some(info);
                self.silence();
            }
            Output::Down(fault) => {
                self.silence();
                self.gone(CardFault::Link(fault));
            }
            Output::AudioBegan(first) => {
                if let Some((_, pump)) = &mut self.device {
                    pump.announced(first);
                }
            }
            Output::Lost { at, frames } => {
                if let Some((_, pump)) = &mut self.device {
                    pump.lost(at, frames);
                }
            }
            Output::Signal { port, at, signal } => self.event(CardEvent::Signal { port, at, signal }),
            Output::Refused { port, signal, refusal } => {
                self.event(CardEvent::Refused { port, signal, refusal });
            }
            Output::Reading { port, reading } => self.event(CardEvent::Reading { port, reading }),
            Output::Hot(hot) => self.event(CardEvent::Hot(hot)),
            // The pump notices by itself that no sound comes.
            Output::AudioEnded | Output::Clock(_) => {}
        }
    }

    /// Opens the sound once there is a session, and ends the session when the sound fails.
    fn keep_sound(&mut self, now: Instant) {
        if self.link.state() != LinkState::Up {
            return;
        }
        if let Some((_, pump)) = &self.device {
            if let Some(fault) = pump.fault(now, self.sound_waits) {
                self.sound_failed(now, fault);
            } else if pump.runs() && !self.present {
                self.present = true;
                self.told = None;
                if let Some(info) = self.info.clone() {
                    self.event(CardEvent::Present(info));
                }
                self.tell(now, Input::Begin);
            }
        } else if now >= self.sound_at {
            self.sound_at = now + REOPEN_EVERY;
            let ports = self.info.as_ref().map_or(0, |info| info.ports.len());
            match SoundDevice::open(&self.settings.audio_device, ports) {
                Ok(device) => self.device = Some((device, Pump::new(now, ports))),
                Err(fault) => self.gone(CardFault::Sound(fault)),
            }
        }
    }

    /// Calls that hear nothing are over: the ports are put at rest by a new session.
    fn sound_failed(&mut self, now: Instant, fault: SoundFault) {
        self.sound_at = now + REOPEN_EVERY;
        self.silence();
        self.gone(CardFault::Sound(fault));
        self.tell(now, Input::Restart);
    }

    fn silence(&mut self) {
        self.past = self.count();
        self.device = None;
    }

    fn gone(&mut self, fault: CardFault) {
        // The end of a session that was asked for here has been told with its reason.
        let asked = matches!(fault, CardFault::Link(LinkFault::Restarted));
        if !asked && (self.present || self.told != Some(fault)) {
            self.told = Some(fault);
            self.event(CardEvent::Gone(fault));
        }
        self.present = false;
    }

    fn event(&mut self, event: CardEvent) {
        self.held.push_back(event);
    }

    /// Puts what waits into the channel.
    fn pass_events(&mut self, now: Instant) {
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
        if self.held.len() > EVENTS_HELD_MAX {
            // A signal that is missing is worse than a card that goes and comes.
            self.held.clear();
            self.present = false;
            self.told = None;
            self.silence();
            self.gone(CardFault::NotListenedTo);
            self.tell(now, Input::Restart);
        }
    }

    fn count(&self) -> CounterValues {
        let pump = self.device.as_ref().map(|(_, pump)| pump.counters()).unwrap_or_default();
        let link = self.link.counters();
        CounterValues {
            overruns: self.past.overruns + pump.overruns,
            underruns: self.past.underruns + pump.underruns,
            lost_frames: self.past.lost_frames + pump.lost_frames,
            dropped_periods: self.past.dropped_periods + pump.dropped_periods,
            periods: self.past.periods + pump.periods,
            garbled_lines: link.garbled,
            resent_requests: link.resent,
            senseless_frames: link.senseless,
            sessions: link.sessions,
        }
    }

    /// Sends what the port takes without waiting for it.
    fn send(&mut self) {
        let Some(serial) = &mut self.serial else { return };
        while !self.unsent.is_empty() {
            let (front, _) = self.unsent.as_slices();
            match serial.write(front) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                // What does not leave is sent again by the link, or its session ends. The same
                // becomes of a port that is gone: reading it tells.
                Err(_) => break,
            }
        }
        if self.unsent.len() > UNSENT_BYTES_MAX {
            self.unsent.clear();
        }
    }

    /// Waits for bytes, sound, commands or time, and takes the first two.
    fn wait(&mut self, now: Instant) {
        let mut fds = vec![readable(self.woken.as_raw_fd())];
        fds.extend(self.serial.as_ref().map(|serial| readable(serial.as_raw_fd())));
        let serial_at = self.serial.is_some().then_some(1);
        let sound_from = fds.len();
        if let Some((device, _)) = &self.device {
            fds.extend(device.descriptors());
        }
        let timeout = self.deadline(now).saturating_duration_since(Instant::now());
        // Rounded up: a millisecond too early would be a round for nothing.
        let timeout_ms = timeout.as_micros().div_ceil(1_000).try_into().unwrap_or(i32::MAX);
        if alsa::poll::poll(&mut fds, timeout_ms).is_err() {
            // Interrupted: the next round waits again.
            return;
        }
        let now = Instant::now();
        let ready = |fd: &pollfd| fd.revents != 0;
        if serial_at.and_then(|at| fds.get(at)).is_some_and(ready) {
            self.read(now);
        }
        self.sound_waits = fds.iter().skip(sound_from).any(ready);
        if self.sound_waits {
            self.turn(now);
        }
    }

    fn deadline(&self, now: Instant) -> Instant {
        let mut deadline = now + WAIT_MAX;
        deadline = self.link.poll_timeout().map_or(deadline, |at| deadline.min(at));
        if self.serial.is_none() {
            deadline = deadline.min(self.open_at);
        }
        if self.link.state() == LinkState::Up {
            deadline =
                deadline.min(self.device.as_ref().map_or(self.sound_at, |(_, pump)| pump.poll_timeout()));
        }
        if !self.held.is_empty() || !self.unsent.is_empty() {
            deadline = deadline.min(now + SERIAL_TIMEOUT);
        }
        deadline
    }

    fn read(&mut self, now: Instant) {
        let mut buffer = [0; 1_024];
        let Some(serial) = &mut self.serial else { return };
        match serial.read(&mut buffer) {
            Ok(0) => self.unplugged(now),
            Ok(length) => self.tell(now, Input::Bytes(buffer.get(..length).unwrap_or_default())),
            Err(error) => {
                use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
                if !matches!(error.kind(), TimedOut | WouldBlock | Interrupted) {
                    self.unplugged(now);
                }
            }
        }
    }

    fn turn(&mut self, now: Instant) {
        let Some((device, pump)) = &mut self.device else { return };
        match pump.fill(now, device) {
            Ok(true) => {}
            Ok(false) => return,
            Err(fault) => return self.sound_failed(now, fault),
        }
        // What the card says of these frames it said before it gave them.
        if self.serial_is_readable() {
            self.read(now);
        }
        let Some((device, pump)) = &mut self.device else { return };
        if let Err(fault) = pump.exchange(now, device, self.sound.as_mut()) {
            self.sound_failed(now, fault);
        }
    }

    fn serial_is_readable(&self) -> bool {
        let Some(serial) = &self.serial else { return false };
        alsa::poll::poll(&mut [readable(serial.as_raw_fd())], 0).is_ok_and(|ready| ready > 0)
    }
}

fn readable(fd: i32) -> pollfd {
    pollfd { fd, events: Flags::IN.bits(), revents: 0 }
}

#[cfg(test)]
mod tests {
    use super::super::pump::PortPeriod;
    use super::*;

    struct Deaf;

    impl CardSound for Deaf {
        fn period(&mut self, _: SampleTime, _: &mut [PortPeriod]) {}
    }

    #[test]
    fn a_card_that_is_not_there_is_said_once_and_refuses() {
        let settings = CardSettings {
            serial_path: String::from("/nonexistent/serial"),
            audio_device: String::from("null"),
            ports: Vec::new(),
        };
        let (notified, notifications) = sync_channel(16);
        let notify: Notify = Box::new(move || notified.try_send(()).unwrap());
        let (card, events) = Card::open("test", settings, Box::new(Deaf), Some(notify)).unwrap();
        let limit = Duration::from_secs(60);
        let fault = CardFault::NoDevice(io::ErrorKind::NotFound);
        assert_eq!(events.recv_timeout(limit).unwrap(), CardEvent::Gone(fault));
        notifications.recv_timeout(limit).unwrap();
        assert_eq!(fault.code(), "TR-CARD-DEVICE");
        assert_eq!(fault.to_string(), "the serial port cannot be opened: entity not found");
        card.signal(3, TxSignal::OffHook).unwrap();
        let refusal = Refusal::Session;
        let refused = CardEvent::Refused { port: 3, signal: Some(TxSignal::OffHook), refusal };
        assert_eq!(events.recv_timeout(limit).unwrap(), refused);
        card.meter(0).unwrap();
        let refused = CardEvent::Refused { port: 0, signal: None, refusal };
        assert_eq!(events.recv_timeout(limit).unwrap(), refused);
        drop(card);
        assert!(events.recv_timeout(limit).is_err(), "the thread has ended");
    }

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
}
