//! The thread that owns a modem: its serial port, and through it signals and sound.
//!
//! It opens the port, keeps it going, and opens it again whenever it fails. In a call every 80
//! samples that come are a period for whoever has the port, and what he plays goes back at once:
//! the modem's clock drives both ways.
//!
//! **On hook there is no sound.** A modem that is on hook hears nothing, so periods stand still, and
//! with them the last minute of the wire: it keeps the sound of calls, not the silence between them.
//! Whoever has the port is only let do what he was told, every 20 ms.

use std::io;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use alsa::poll::{Flags, pollfd};
use tipring_model::CallerId;

use super::contract::{ChipTone, Input, ModemInfo, Output, SessionFault, SessionState};
use super::session::Session;
use super::settings::ModemSettings;
use crate::port::device_thread::{
    Came, CounterValues, DeviceThread, Full, Notify, Presence, REOPEN_EVERY, SERIAL_TIMEOUT, SerialPort,
    Unwanted, WAIT_MAX, Ways, timeout_ms,
};
use crate::port::linecard::{CardSound, PERIOD_FRAMES, PortPeriod};
use crate::port::{RxSignal, SampleTime, TxSignal};

/// A modem that cannot be used as it is is tried again so often.
const RETRY_UNFIT_EVERY: Duration = Duration::from_secs(5);
/// Without sound, whoever has the port does what he was told so often.
const REST_EVERY: Duration = Duration::from_millis(20);
/// Bytes that are written at once: what a port takes that has room at all.
const WRITE_MAX: usize = 160;
/// Bytes that wait to be sent at most: more than twice what waits in the modem.
const UNSENT_BYTES_MAX: usize = 4_096;
/// A modem that is no longer wanted goes on hook within this, or DTR does it.
const FAREWELL: Duration = Duration::from_secs(2);
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

/// A modem. Dropping it hangs up and ends its thread.
pub struct Modem(DeviceThread<TxSignal>);

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
        let now = Instant::now();
        let run = move |ways| {
            let mut serial = SerialPort::new(&settings.serial_path, now);
            serial.unsent.reserve(UNSENT_BYTES_MAX);
            Run {
                session: Session::new(now, settings),
                ways,
                sound,
                ports: [PortPeriod { heard: [0; PERIOD_FRAMES], play: [0; PERIOD_FRAMES] }],
                serial,
                dropped_periods: 0,
                began: now,
                clock: 0,
                presence: Presence::new(),
                rest_at: now,
            }
            .run();
        };
        let (thread, events) = DeviceThread::start(name, notify, run)?;
        Ok((Self(thread), events))
    }

    /// Does this to the line. While the modem is not there it comes back as
    /// [`ModemEvent::Refused`].
    ///
    /// # Errors
    /// [`Full`]: 64 wait already.
    pub fn signal(&self, signal: TxSignal) -> Result<(), Full> {
        self.0.command(signal)
    }

    /// What went wrong so far, in the words of a card: what its lines are to that one, events and
    /// lines that mean nothing are here.
    #[must_use]
    pub fn counters(&self) -> CounterValues {
        self.0.counters()
    }
}

struct Run {
    session: Session,
    ways: Ways<TxSignal, ModemEvent>,
    sound: Box<dyn CardSound>,
    ports: [PortPeriod; 1],
    serial: SerialPort,
    /// Periods that the port did not take.
    dropped_periods: u64,
    began: Instant,
    /// The next sample, on a clock that stands still for nobody but counts the modem's samples.
    clock: u64,
    presence: Presence<ModemFault>,
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
            self.ways.show(self.count());
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
    /// [`Unwanted`]
    fn take_commands(&mut self, now: Instant) -> Result<(), Unwanted> {
        while let Some(signal) = self.ways.command()? {
            self.tell(now, Input::Signal(signal));
        }
        Ok(())
    }

    fn keep_open(&mut self, now: Instant) {
        match self.serial.open(now) {
            Some(Ok(())) => self.tell(now, Input::Opened),
            Some(Err(kind)) => self.gone(ModemFault::NoDevice(kind)),
            None => {}
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
            Output::Write(bytes) => self.serial.unsent.extend(bytes),
            Output::Up(info) => {
                self.presence.came();
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
        self.serial.close(now + if fault.is_unfit() { RETRY_UNFIT_EVERY } else { REOPEN_EVERY });
        self.session.handle(now, Input::Closed);
        self.gone(fault);
    }

    fn gone(&mut self, fault: ModemFault) {
        if self.presence.went(fault) {
            self.event(ModemEvent::Gone(fault));
        }
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
        if self.serial.unsent.len() + out.len() <= UNSENT_BYTES_MAX {
            self.serial.unsent.extend(out.iter());
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
        self.ways.event(event);
    }

    fn pass_events(&mut self, now: Instant) {
        if !self.ways.pass_events() {
            self.presence.forget();
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
        while !self.serial.unsent.is_empty() && self.serial.is(Flags::OUT) && self.serial.write(WRITE_MAX) {}
    }

    /// Waits for bytes, commands or time, and takes the bytes.
    fn wait(&mut self, now: Instant) {
        let mut serial_flags = Flags::IN;
        serial_flags.set(Flags::OUT, !self.serial.unsent.is_empty());
        let woken = self.ways.woken();
        let mut fds = [woken, woken];
        let mut count = 1;
        if let (Some(serial), Some(place)) = (self.serial.waited(serial_flags), fds.get_mut(1)) {
            *place = serial;
            count = 2;
        }
        let Some(waited_for) = fds.get_mut(..count) else { return };
        if alsa::poll::poll(waited_for, timeout_ms(self.deadline(now))).is_err() {
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
        deadline = self.serial.opens_at().map_or(deadline, |at| deadline.min(at));
        if self.session.state() != SessionState::Audio {
            deadline = deadline.min(self.rest_at);
        }
        if self.ways.holds_events() {
            deadline = deadline.min(now + SERIAL_TIMEOUT);
        }
        deadline
    }

    fn read(&mut self, now: Instant) {
        let mut buffer = [0; 1_024];
        match self.serial.read(&mut buffer) {
            Came::Bytes(length) => {
                self.tell(now, Input::Bytes(buffer.get(..length).unwrap_or_default()));
                self.exchange();
            }
            Came::Nothing => {}
            Came::End => self.failed(now, ModemFault::Unplugged),
        }
    }
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
