//! The thread that owns a modem: its serial port, and through it signals and sound.
//!
//! It opens the port, keeps it going, and opens it again whenever it fails. In a call every 80
//! samples that come are a period for whoever has the port, and what he plays goes back at once:
//! the modem's clock drives both ways.
//!
//! **On hook there is no sound.** A modem that is on hook hears nothing, so periods stand still, and
//! with them the last minute of the wire: it keeps the sound of calls, not the silence between them.
//! Whoever has the port is only let do what he was told, every 20 ms.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alsa::poll::{Flags, pollfd};
use serialport::TTYPort;
use tipring_model::CallerId;

use super::contract::{ChipTone, Input, ModemInfo, Output, SessionFault, SessionState};
use super::session::Session;
use super::settings::ModemSettings;
use crate::port::linecard::{CardSound, CounterValues, Counters, Full, Notify, PERIOD_FRAMES, PortPeriod};
use crate::port::{RxSignal, SampleTime, TxSignal};

/// Bits a second, where the port is a true serial port. 8N1.
const BAUD: u32 = 115_200;
/// A modem that is not there is looked for so often.
const REOPEN_EVERY: Duration = Duration::from_millis(500);
/// And one that cannot be used as it is.
const RETRY_UNFIT_EVERY: Duration = Duration::from_secs(5);
/// The thread looks around at least so often.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Without sound, whoever has the port does what he was told so often.
const REST_EVERY: Duration = Duration::from_millis(20);
/// A read of the serial port, which `poll` says is ready, takes no longer.
const SERIAL_TIMEOUT: Duration = Duration::from_millis(5);
/// Bytes that are written at once: what a port takes that has room at all.
const WRITE_MAX: usize = 160;
/// Bytes that wait to be sent at most: more than twice what waits in the modem.
const UNSENT_BYTES_MAX: usize = 4_096;
/// A modem that is no longer wanted goes on hook within this, or DTR does it.
const FAREWELL: Duration = Duration::from_secs(2);
/// Commands that wait at most.
const COMMANDS_MAX: usize = 64;
/// Events that wait at most to be taken, in the channel and before it.
const EVENTS_MAX: usize = 256;
const EVENTS_HELD_MAX: usize = 1_024;
/// Samples in a millisecond.
const SAMPLES_A_MS: u64 = 8;

/// What happens at a modem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ModemEvent {
    /// It is there, on hook.
    Present(Box<ModemInfo>),
    /// It is not there, or no longer. A call on it is over. It is looked for by itself.
    Gone(ModemFault),
    /// The line did this.
    Signal(RxSignal),
    /// Who calls, as the chip read it.
    Caller(CallerId),
    /// A tone of the exchange that the chip hears, or no longer.
    Tone(ChipTone, bool),
    /// Sound begins: the line was taken.
    AudioBegan,
    /// This cannot be done to this line, or not now.
    Refused(TxSignal),
}

/// Why a modem is not there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum ModemFault {
    /// The serial port cannot be opened.
    #[error("the serial port cannot be opened: {0}")]
    NoDevice(io::ErrorKind),
    /// The serial port failed: unplugged.
    #[error("the modem was pulled out")]
    Unplugged,
    /// It does not do what it must.
    #[error(transparent)]
    Session(#[from] SessionFault),
    /// Nobody took its events.
    #[error("nobody took the modem's events")]
    NotListenedTo,
}

impl ModemFault {
    /// Its code in the catalogue of messages.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoDevice(_) => "TR-MODEM-DEVICE",
            Self::Unplugged => "TR-MODEM-UNPLUGGED",
            Self::Session(SessionFault::Silent | SessionFault::Stuck) => "TR-MODEM-SILENT",
            Self::Session(SessionFault::Refused | SessionFault::NoVoice | SessionFault::HalfDuplex) => {
                "TR-MODEM-UNFIT"
            }
            Self::Session(SessionFault::OldFirmware(_)) => "TR-MODEM-FIRMWARE",
            Self::Session(SessionFault::Hook) => "TR-MODEM-HOOK",
            Self::Session(SessionFault::Sound) => "TR-MODEM-SOUND",
            Self::NotListenedTo => "TR-MODEM-BEHIND",
        }
    }

    /// Trying again at once is of no use.
    const fn is_unfit(self) -> bool {
        match self {
            Self::Session(
                SessionFault::Refused
                | SessionFault::NoVoice
                | SessionFault::HalfDuplex
                | SessionFault::OldFirmware(_),
            ) => true,
            Self::Session(
                SessionFault::Silent | SessionFault::Stuck | SessionFault::Hook | SessionFault::Sound,
            )
            | Self::NoDevice(_)
            | Self::Unplugged
            | Self::NotListenedTo => false,
        }
    }
}

enum Command {
    Signal(TxSignal),
    Stop,
}

/// A modem. Dropping it hangs up and ends its thread.
pub struct Modem {
    commands: SyncSender<Command>,
    wake: UnixDatagram,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Modem {
    /// Starts a thread for a modem, whether it is plugged in or not. Events come in the channel;
    /// `notify` tells whoever cannot wait on it that there are some.
    ///
    /// # Errors
    /// No thread or no socket is to be had.
    pub fn open(
        name: &str,
        settings: ModemSettings,
        sound: Box<dyn CardSound>,
        notify: Option<Notify>,
    ) -> io::Result<(Self, Receiver<ModemEvent>)> {
        let (wake, woken) = UnixDatagram::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let (commands, commands_in) = sync_channel(COMMANDS_MAX);
        let (events, events_out) = sync_channel(EVENTS_MAX);
        let counters = Arc::new(Counters::default());
        let now = Instant::now();
        let run = Run {
            serial_path: settings.serial_path.clone(),
            session: Session::new(now, settings),
            commands: commands_in,
            events,
            notify,
            held: VecDeque::with_capacity(EVENTS_HELD_MAX),
            woken,
            sound,
            ports: [PortPeriod { heard: [0; PERIOD_FRAMES], play: [0; PERIOD_FRAMES] }],
            counters: Arc::clone(&counters),
            serial: None,
            unsent: VecDeque::with_capacity(UNSENT_BYTES_MAX),
            dropped_periods: 0,
            began: now,
            clock: 0,
            present: false,
            told: None,
            open_at: now,
            rest_at: now,
        };
        let thread = std::thread::Builder::new().name(format!("port-{name}")).spawn(move || run.run())?;
        Ok((Self { commands, wake, counters, thread: Some(thread) }, events_out))
    }

    /// Does this to the line. While the modem is not there it comes back as
    /// [`ModemEvent::Refused`].
    ///
    /// # Errors
    /// [`Full`]: 64 wait already.
    pub fn signal(&self, signal: TxSignal) -> Result<(), Full> {
        self.commands.try_send(Command::Signal(signal)).map_err(|_| Full)?;
        // A full socket is a thread that is awake already.
        let _ = self.wake.send(&[1]);
        Ok(())
    }

    /// What went wrong so far, in the words of a card: what its lines are to that one, events and
    /// lines that mean nothing are here.
    #[must_use]
    pub fn counters(&self) -> CounterValues {
        self.counters.load()
    }
}

impl Drop for Modem {
    fn drop(&mut self) {
        // Blocks while 64 commands wait, which the thread takes at once.
        let _ = self.commands.send(Command::Stop);
        let _ = self.wake.send(&[1]);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

struct Run {
    serial_path: String,
    session: Session,
    commands: Receiver<Command>,
    events: SyncSender<ModemEvent>,
    notify: Option<Notify>,
    held: VecDeque<ModemEvent>,
    woken: UnixDatagram,
    sound: Box<dyn CardSound>,
    ports: [PortPeriod; 1],
    counters: Arc<Counters>,
    serial: Option<TTYPort>,
    unsent: VecDeque<u8>,
    /// Periods that the port did not take.
    dropped_periods: u64,
    began: Instant,
    /// The next sample, on a clock that stands still for nobody but counts the modem's samples.
    clock: u64,
    present: bool,
    /// The fault that was told last.
    told: Option<ModemFault>,
    open_at: Instant,
    rest_at: Instant,
}

impl Run {
    fn run(mut self) {
        let mut ends: Option<Instant> = None;
        loop {
            let now = Instant::now();
            if ends.is_none() && self.take_commands(now).is_err() {
                ends = Some(now + FAREWELL);
                self.tell(now, Input::Signal(TxSignal::OnHook));
            }
            if ends.is_some_and(|at| now >= at || !self.is_on_line()) {
                return;
            }
            self.keep_open(now);
            if self.session.poll_timeout().is_some_and(|at| at <= now) {
                self.tell(now, Input::Timeout);
            }
            self.rest(now);
            self.send();
            self.pass_events(now);
            self.counters.store(self.count());
            self.wait(now);
        }
    }

    fn is_on_line(&self) -> bool {
        match self.session.state() {
            SessionState::Seizing
            | SessionState::Audio
            | SessionState::Dialling
            | SessionState::Releasing => true,
            SessionState::Absent
            | SessionState::Opening
            | SessionState::Idle
            | SessionState::Ringing
            | SessionState::LineBusyByLocalPhone
            | SessionState::Fault => false,
        }
    }

    /// # Errors
    /// The modem is no longer wanted.
    fn take_commands(&mut self, now: Instant) -> Result<(), ()> {
        let mut byte = [0];
        while self.woken.recv(&mut byte).is_ok() {}
        loop {
            match self.commands.try_recv() {
                Ok(Command::Signal(signal)) => self.tell(now, Input::Signal(signal)),
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
        // Exclusive and raw, as the crate opens them.
        match serialport::new(self.serial_path.as_str(), BAUD).timeout(SERIAL_TIMEOUT).open_native() {
            Ok(serial) => {
                self.serial = Some(serial);
                self.unsent.clear();
                self.tell(now, Input::Opened);
            }
            Err(error) => self.gone(ModemFault::NoDevice(io::Error::from(error).kind())),
        }
    }

    /// Tells the session something and does what it says.
    fn tell(&mut self, now: Instant, input: Input<'_>) {
        self.session.handle(now, input);
        while let Some(output) = self.session.poll() {
            self.obey(now, output);
        }
    }

    fn obey(&mut self, now: Instant, output: Output) {
        match output {
            Output::Write(bytes) => self.unsent.extend(bytes),
            Output::Up(info) => {
                self.present = true;
                self.told = None;
                self.event(ModemEvent::Present(info));
            }
            Output::Down(fault) => self.failed(now, ModemFault::Session(fault)),
            Output::Signal(signal) => self.event(ModemEvent::Signal(signal)),
            Output::Caller(caller) => self.event(ModemEvent::Caller(caller)),
            Output::Tone(tone, on) => self.event(ModemEvent::Tone(tone, on)),
            Output::Refused(signal) => self.event(ModemEvent::Refused(signal)),
            Output::AudioBegan => {
                let passed = now.saturating_duration_since(self.began).as_millis() as u64 * SAMPLES_A_MS;
                self.clock = self.clock.max(passed);
                self.queue_sound();
                self.event(ModemEvent::AudioBegan);
            }
            Output::AudioEnded => {}
        }
    }

    /// Closes the port, which drops DTR: a modem that does not listen goes on hook by that.
    fn failed(&mut self, now: Instant, fault: ModemFault) {
        self.serial = None;
        self.unsent.clear();
        self.open_at = now + if fault.is_unfit() { RETRY_UNFIT_EVERY } else { REOPEN_EVERY };
        self.session.handle(now, Input::Closed);
        self.gone(fault);
    }

    fn gone(&mut self, fault: ModemFault) {
        if self.present || self.told != Some(fault) {
            self.told = Some(fault);
            self.event(ModemEvent::Gone(fault));
        }
        self.present = false;
    }

    // --- Sound.

    /// Every period that came is passed on, and what is played in it goes back.
    fn exchange(&mut self) {
        while let Some(heard) = self.session.next_period() {
            let [port] = &mut self.ports;
            port.heard = heard;
            port.play = [0; PERIOD_FRAMES];
            self.sound.period(SampleTime(self.clock), &mut self.ports);
            self.clock += PERIOD_FRAMES as u64;
            let [port] = &self.ports;
            self.session.play(&port.play);
            self.queue_sound();
        }
    }

    /// A period that finds no room is not sent at all: half of one could end in the middle of a
    /// pair that belongs together.
    fn queue_sound(&mut self) {
        let out = self.session.sound_out();
        if self.unsent.len() + out.len() <= UNSENT_BYTES_MAX {
            self.unsent.extend(out.iter());
        } else {
            self.dropped_periods += 1;
        }
        out.clear();
    }

    /// Without sound, whoever has the port does what he was told all the same.
    fn rest(&mut self, now: Instant) {
        if now >= self.rest_at && self.session.state() != SessionState::Audio {
            self.rest_at = now + REST_EVERY;
            self.sound.rest();
        }
    }

    // --- Events.

    fn event(&mut self, event: ModemEvent) {
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
        if self.held.len() >= EVENTS_HELD_MAX {
            // A signal that is missing is worse than a modem that goes and comes.
            self.held.clear();
            self.present = false;
            self.told = None;
            self.failed(now, ModemFault::NotListenedTo);
        }
    }

    fn count(&self) -> CounterValues {
        let counted = self.session.counters();
        CounterValues {
            overruns: counted.overruns,
            underruns: counted.underruns,
            lost_frames: counted.lost,
            dropped_periods: counted.dropped_periods + self.dropped_periods,
            periods: counted.heard / PERIOD_FRAMES as u64,
            garbled_lines: counted.senseless_lines,
            resent_requests: 0,
            senseless_frames: counted.other_events,
            sessions: counted.sessions,
        }
    }

    // --- The port.

    /// Sends what the port takes without waiting for it.
    fn send(&mut self) {
        while !self.unsent.is_empty() {
            let Some(serial) = &mut self.serial else { return };
            let mut fds = [waited(serial.as_raw_fd(), Flags::OUT)];
            if !alsa::poll::poll(&mut fds, 0).is_ok_and(|ready| ready > 0) {
                return;
            }
            let (front, _) = self.unsent.as_slices();
            match serial.write(front.get(..WRITE_MAX).unwrap_or(front)) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                // Reading a port that is gone tells.
                Err(_) => return,
            }
        }
    }

    /// Waits for bytes, commands or time, and takes the bytes.
    fn wait(&mut self, now: Instant) {
        let mut serial_flags = Flags::IN;
        serial_flags.set(Flags::OUT, !self.unsent.is_empty());
        let woken = waited(self.woken.as_raw_fd(), Flags::IN);
        let mut fds = [woken, woken];
        let mut count = 1;
        if let (Some(serial), Some(place)) = (&self.serial, fds.get_mut(1)) {
            *place = waited(serial.as_raw_fd(), serial_flags);
            count = 2;
        }
        let timeout = self.deadline(now).saturating_duration_since(Instant::now());
        // Rounded up: a millisecond too early would be a round for nothing.
        let timeout_ms = timeout.as_micros().div_ceil(1_000).try_into().unwrap_or(i32::MAX);
        let Some(waited_for) = fds.get_mut(..count) else { return };
        if alsa::poll::poll(waited_for, timeout_ms).is_err() {
            // Interrupted: the next round waits again.
            return;
        }
        let is_readable = |fd: &pollfd| fd.revents & !Flags::OUT.bits() != 0;
        if count == 2 && fds.get(1).is_some_and(is_readable) {
            self.read(Instant::now());
        }
    }

    fn deadline(&self, now: Instant) -> Instant {
        let mut deadline = now + WAIT_MAX;
        deadline = self.session.poll_timeout().map_or(deadline, |at| deadline.min(at));
        if self.serial.is_none() {
            deadline = deadline.min(self.open_at);
        }
        if self.session.state() != SessionState::Audio {
            deadline = deadline.min(self.rest_at);
        }
        if !self.held.is_empty() {
            deadline = deadline.min(now + SERIAL_TIMEOUT);
        }
        deadline
    }

    fn read(&mut self, now: Instant) {
        let mut buffer = [0; 1_024];
        let Some(serial) = &mut self.serial else { return };
        match serial.read(&mut buffer) {
            Ok(0) => self.failed(now, ModemFault::Unplugged),
            Ok(length) => {
                self.tell(now, Input::Bytes(buffer.get(..length).unwrap_or_default()));
                self.exchange();
            }
            Err(error) => {
                use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
                if !matches!(error.kind(), TimedOut | WouldBlock | Interrupted) {
                    self.failed(now, ModemFault::Unplugged);
                }
            }
        }
    }
}

fn waited(fd: i32, flags: Flags) -> pollfd {
    pollfd { fd, events: flags.bits(), revents: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Deaf;

    impl CardSound for Deaf {
        fn period(&mut self, _: SampleTime, _: &mut [PortPeriod]) {}
    }

    #[test]
    fn a_modem_that_is_not_there_is_said_once_and_refuses() {
        let settings =
            ModemSettings { serial_path: String::from("/nonexistent/modem"), chip: None, country: None };
        let (modem, events) = Modem::open("test", settings, Box::new(Deaf), None).unwrap();
        let limit = Duration::from_secs(60);
        let fault = ModemFault::NoDevice(io::ErrorKind::NotFound);
        assert_eq!(events.recv_timeout(limit).unwrap(), ModemEvent::Gone(fault));
        assert_eq!(fault.code(), "TR-MODEM-DEVICE");
        modem.signal(TxSignal::OffHook).unwrap();
        assert_eq!(events.recv_timeout(limit).unwrap(), ModemEvent::Refused(TxSignal::OffHook));
        drop(modem);
        assert!(events.recv_timeout(limit).is_err(), "the thread has ended");
    }
}
