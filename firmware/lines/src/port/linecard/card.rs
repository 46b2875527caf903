//! The thread that owns a card: its serial port and its sound.
//!
//! It opens both, keeps them going, and opens them again whenever they fail. It never waits
//! for whoever is above: events that nobody takes end the session.

use std::io;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use alsa::poll::{Flags, pollfd};

use super::link::{Input, Link, LinkFault, LinkState, Output};
use super::message::{CardInfo, Reading, Refusal};
use super::pcm::SoundDevice;
use super::pump::{CardSound, Pump, SoundFault};
use super::settings::CardSettings;
use crate::port::device_thread::{
    Came, CounterValues, DeviceThread, Full, Notify, Presence, REOPEN_EVERY, SERIAL_TIMEOUT, SerialPort,
    Unwanted, WAIT_MAX, Ways, timeout_ms,
};
use crate::port::{RxSignal, SampleTime, TxSignal};

/// Bytes that wait to be sent at most: some ten lines.
const UNSENT_BYTES_MAX: usize = 4_096;
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

enum Command {
    Signal(usize, TxSignal),
    Meter(usize),
}

/// A card. Dropping it leaves every port at rest within [`WATCHDOG_S`](super::WATCHDOG_S) and
/// ends its thread.
pub struct Card(DeviceThread<Command>);

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
        let mut seed = [0; 4];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
        let now = Instant::now();
        let run = move |ways| {
            Run {
                link: Link::new(settings.ports.clone(), u32::from_ne_bytes(seed)),
                serial: SerialPort::new(&settings.serial_path, now),
                settings,
                ways,
                sound,
                device: None,
                past: CounterValues::default(),
                info: None,
                presence: Presence::new(),
                sound_at: now,
                sound_waits: false,
            }
            .run();
        };
        let (thread, events) = DeviceThread::start(name, notify, run)?;
        Ok((Self(thread), events))
    }

    /// Does this at a port. While the card is not there it comes back as
    /// [`CardEvent::Refused`].
    ///
    /// # Errors
    /// [`Full`]: 64 wait already.
    pub fn signal(&self, port: usize, signal: TxSignal) -> Result<(), Full> {
        self.0.command(Command::Signal(port, signal))
    }

    /// Measures at a port; [`CardEvent::Reading`] follows.
    ///
    /// # Errors
    /// [`Full`]: 64 wait already.
    pub fn meter(&self, port: usize) -> Result<(), Full> {
        self.0.command(Command::Meter(port))
    }

    /// What went wrong so far.
    #[must_use]
    pub fn counters(&self) -> CounterValues {
        self.0.counters()
    }
}

struct Run {
    settings: CardSettings,
    ways: Ways<Command, CardEvent>,
    sound: Box<dyn CardSound>,
    link: Link,
    serial: SerialPort,
    device: Option<(SoundDevice, Pump)>,
    /// Counted by pumps that are no more.
    past: CounterValues,
    info: Option<CardInfo>,
    presence: Presence<CardFault>,
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
            self.ways.show(self.count());
            self.wait(now);
        }
    }

    /// # Errors
    /// [`Unwanted`]
    fn take_commands(&mut self, now: Instant) -> Result<(), Unwanted> {
        while let Some(command) = self.ways.command()? {
            match command {
                Command::Signal(port, signal) => self.tell(now, Input::Signal(port, signal)),
                Command::Meter(port) => self.tell(now, Input::Meter(port)),
            }
        }
        Ok(())
    }

    fn keep_open(&mut self, now: Instant) {
        match self.serial.open(now) {
            Some(Ok(())) => self.tell(now, Input::Opened),
            Some(Err(kind)) => self.gone(CardFault::NoDevice(kind)),
            None => {}
        }
    }

    fn unplugged(&mut self, now: Instant) {
        self.serial.close(now + REOPEN_EVERY);
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
            Output::Write(line) => self.serial.unsent.extend(line.bytes()),
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
            } else if pump.runs() && !self.presence.is_there {
                self.presence.came();
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
        if matches!(fault, CardFault::Link(LinkFault::Restarted)) {
            self.presence.is_there = false;
        } else if self.presence.went(fault) {
            self.event(CardEvent::Gone(fault));
        }
    }

    fn event(&mut self, event: CardEvent) {
        self.ways.event(event);
    }

    fn pass_events(&mut self, now: Instant) {
        if !self.ways.pass_events() {
            self.presence.forget();
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

    /// Sends what the port takes without waiting for it. What does not leave is sent again by the
    /// link, or its session ends.
    fn send(&mut self) {
        while self.serial.write(usize::MAX) {}
        if self.serial.unsent.len() > UNSENT_BYTES_MAX {
            self.serial.unsent.clear();
        }
    }

    /// Waits for bytes, sound, commands or time, and takes the first two.
    fn wait(&mut self, now: Instant) {
        let mut fds = vec![self.ways.woken()];
        fds.extend(self.serial.waited(Flags::IN));
        let serial_at = self.serial.is_open().then_some(1);
        let sound_from = fds.len();
        if let Some((device, _)) = &self.device {
            fds.extend(device.descriptors());
        }
        if alsa::poll::poll(&mut fds, timeout_ms(self.deadline(now))).is_err() {
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
        deadline = self.serial.opens_at().map_or(deadline, |at| deadline.min(at));
        if self.link.state() == LinkState::Up {
            deadline =
                deadline.min(self.device.as_ref().map_or(self.sound_at, |(_, pump)| pump.poll_timeout()));
        }
        if self.ways.holds_events() || !self.serial.unsent.is_empty() {
            deadline = deadline.min(now + SERIAL_TIMEOUT);
        }
        deadline
    }

    fn read(&mut self, now: Instant) {
        let mut buffer = [0; 1_024];
        match self.serial.read(&mut buffer) {
            Came::Bytes(length) => self.tell(now, Input::Bytes(buffer.get(..length).unwrap_or_default())),
            Came::Nothing => {}
            Came::End => self.unplugged(now),
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
        if self.serial.is(Flags::IN) {
            self.read(now);
        }
        let Some((device, pump)) = &mut self.device else { return };
        if let Err(fault) = pump.exchange(now, device, self.sound.as_mut()) {
            self.sound_failed(now, fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

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
}
