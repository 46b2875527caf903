//! The session with a card: bytes of its control port in and out, signals in and out.
//!
//! Pure: `now` and inputs in, outputs out. One request is on its way at a time; it is sent
//! again until it is answered, under the same number, so that a card does it once. Events have
//! numbers of their own and are taken in their order; what comes twice is acknowledged twice
//! and told once. Whatever goes wrong ends in a new session, which begins with every port at
//! rest.
//!
//! After each [`Link::handle`] drain [`Link::poll`] to `None` and arm one timer for
//! [`Link::poll_timeout`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::frame::{Frame, Kind, Line, Reader};
use super::message::{
    self, CardInfo, Event, Reading, Refusal, Reply, Request, Standing, event, hello, possible, reading,
};
use super::settings::PortSettings;
use crate::port::{RxSignal, SampleTime, TxSignal};

/// An answer is waited for so long before the request is sent again.
pub const REPLY_TIMEOUT: Duration = Duration::from_millis(200);
/// A request is sent so often before the card counts as gone.
pub const SENDS_MAX: u32 = 5;
/// Time between two attempts at a session.
pub const HELLO_EVERY: Duration = Duration::from_millis(500);
/// Attempts after which the card is said not to answer; they go on.
pub const HELLOS_MAX: u32 = 4;
/// The box is heard at least so often.
pub const PING_EVERY: Duration = Duration::from_secs(1);
/// A card that has heard nothing for so long goes into its safe state, in seconds.
pub const WATCHDOG_S: u16 = 5;
/// Requests that wait at most.
pub const WAITING_MAX: usize = 128;

/// What a link is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input<'a> {
    /// The serial port is open.
    Opened,
    /// It is no longer.
    Closed,
    /// These bytes came.
    Bytes(&'a [u8]),
    /// Whoever wants the signals is there: how each port stands is asked for and told, and
    /// signals are told from now on.
    Begin,
    /// Everything anew.
    Restart,
    /// Do this at a port.
    Signal(usize, TxSignal),
    /// Measure at a port.
    Meter(usize),
    /// The time of `poll_timeout` has come.
    Timeout,
}

/// What a link says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send this.
    Write(Line),
    /// There is a session, and each port is set.
    Up(CardInfo),
    /// There is none any more, or none can be had. Told once; attempts go on.
    Down(LinkFault),
    /// A wire did this.
    Signal {
        /// The port.
        port: usize,
        /// When, on the card's clock.
        at: SampleTime,
        /// What.
        signal: RxSignal,
    },
    /// What was to be done cannot be.
    Refused {
        /// The port.
        port: usize,
        /// What was to be done; `None` for a setting or a measurement.
        signal: Option<TxSignal>,
        /// Why.
        refusal: Refusal,
    },
    /// Measured.
    Reading {
        /// The port.
        port: usize,
        /// What.
        reading: Reading,
    },
    /// The sound runs: the next frame captured is this.
    AudioBegan(SampleTime),
    /// It no longer runs.
    AudioEnded,
    /// So many frames before this one never reached the box.
    Lost {
        /// The first frame after the gap.
        at: SampleTime,
        /// How many are missing.
        frames: u32,
    },
    /// The card is too hot, or no longer.
    Hot(bool),
    /// The card's clock now, near enough for a watch; for sound use the frames themselves.
    Clock(SampleTime),
}

/// Why there is no session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum LinkFault {
    /// Nothing is heard from the card.
    #[error("the card does not answer")]
    NoAnswer,
    /// It speaks another version, or has no ports that this driver knows.
    #[error("the card speaks another version of the protocol, or has ports that are not known")]
    Unfit,
    /// It began anew by itself.
    #[error("the card began anew")]
    Reset,
    /// It refused what every card must do.
    #[error("the card refused what every card must do: {0:?}")]
    Refused(Refusal),
    /// Too much was asked of it at a time.
    #[error("too much was asked of the card at a time")]
    Overrun,
    /// A new session was asked for.
    #[error("a new session was asked for")]
    Restarted,
}

/// How a link stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LinkState {
    /// The serial port is not there.
    Absent,
    /// A session is being begun.
    Opening,
    /// There is a session.
    Up,
    /// There is none, and why; attempts go on.
    Fault(LinkFault),
}

/// What went wrong on the wire, counted since the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LinkCounters {
    /// Lines that were no frames.
    pub garbled: u64,
    /// Requests sent again.
    pub resent: u64,
    /// Frames that were whole and made no sense: the wrong side's, unknown ports, words that
    /// cannot be there.
    pub senseless: u64,
    /// Events that came again, or before those that they follow.
    pub out_of_turn: u64,
    /// Sessions begun.
    pub sessions: u64,
}

/// The request that is on its way.
#[derive(Debug)]
struct Flight {
    number: u16,
    request: Request,
    line: Line,
    sends: u32,
    deadline: Instant,
}

/// The session with a card.
#[derive(Debug)]
pub struct Link {
    settings: Vec<PortSettings>,
    state: LinkState,
    /// The card answered `HELLO`; its events count.
    greeted: bool,
    told_down: bool,
    begun: bool,
    reader: Reader,
    waiting: VecDeque<Request>,
    flight: Option<Flight>,
    next_number: u16,
    next_event: u16,
    session: u32,
    hellos: u32,
    hello_at: Option<Instant>,
    ping_at: Option<Instant>,
    info: Option<CardInfo>,
    known: Vec<Standing>,
    outputs: VecDeque<Output>,
    counters: LinkCounters,
}

impl Link {
    /// A link without a serial port. `session` should differ from that of a box that was here
    /// before, so that its answers are not taken for this one's.
    #[must_use]
    pub fn new(settings: Vec<PortSettings>, session: u32) -> Self {
        Self {
            settings,
            state: LinkState::Absent,
            greeted: false,
            told_down: false,
            begun: false,
            reader: Reader::new(),
            waiting: VecDeque::new(),
            flight: None,
            next_number: 1,
            next_event: 1,
            session,
            hellos: 0,
            hello_at: None,
            ping_at: None,
            info: None,
            known: Vec::new(),
            outputs: VecDeque::new(),
            counters: LinkCounters::default(),
        }
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// What went wrong so far.
    #[must_use]
    pub fn counters(&self) -> LinkCounters {
        LinkCounters { garbled: self.reader.garbled(), ..self.counters }
    }

    /// What it is told.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Opened => {
                self.reader.reset();
                self.state = LinkState::Opening;
                self.told_down = false;
                self.greet(now);
            }
            Input::Closed => {
                self.forget();
                self.state = LinkState::Absent;
            }
            Input::Bytes(bytes) => self.bytes(now, bytes),
            Input::Begin => self.begin(now),
            Input::Restart => self.fail(now, LinkFault::Restarted),
            Input::Signal(port, signal) => self.signal(now, port, signal),
            Input::Meter(port) => self.meter(now, port),
            Input::Timeout => self.timeout(now),
        }
    }

    /// The next thing it says.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When it wants to be told the time.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.flight.as_ref().map(|flight| flight.deadline), self.hello_at, self.ping_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Begins a session: a number that was not there before, so that old answers do not fit.
    fn greet(&mut self, now: Instant) {
        self.forget();
        self.session = self.session.wrapping_add(1);
        self.hellos += 1;
        let request = Request::Hello { session: self.session };
        if let Some(line) = Line::new(Kind::Request, 0, &request.words()) {
            // What a card holds of a line that broke off ends here.
            self.write_after_noise(&line);
            self.flight =
                Some(Flight { number: 0, request, line, sends: SENDS_MAX, deadline: now + HELLO_EVERY });
        }
    }

    /// Nothing is on its way and nothing is known.
    fn forget(&mut self) {
        self.greeted = false;
        self.begun = false;
        self.waiting.clear();
        self.flight = None;
        self.hello_at = None;
        self.ping_at = None;
        self.info = None;
        self.known.clear();
        self.next_event = 1;
        self.next_number = 1;
    }

    /// The session is over. A new one is tried after a while.
    fn fail(&mut self, now: Instant, fault: LinkFault) {
        if self.state == LinkState::Absent {
            return;
        }
        self.forget();
        self.state = LinkState::Fault(fault);
        self.hello_at = Some(now + HELLO_EVERY);
        if !self.told_down {
            self.told_down = true;
            self.outputs.push_back(Output::Down(fault));
        }
    }

    fn bytes(&mut self, now: Instant, bytes: &[u8]) {
        if self.state == LinkState::Absent {
            return;
        }
        let mut reader = std::mem::take(&mut self.reader);
        reader.read(bytes, |frame| self.frame(now, frame));
        self.reader = reader;
    }

    fn frame(&mut self, now: Instant, frame: Frame<'_>) {
        match frame.kind {
            Kind::Reply => self.reply(now, frame),
            Kind::Event => self.event(now, frame),
            // The box's own lines: an echo, or a loop.
            Kind::Request | Kind::Acknowledgement => self.counters.senseless += 1,
        }
    }

    fn reply(&mut self, now: Instant, frame: Frame<'_>) {
        let Some(reply) = Reply::parse(frame.words) else {
            self.counters.senseless += 1;
            return;
        };
        let Some(flight) = self.flight.take_if(|flight| flight.number == frame.number) else {
            // The answer to a request that was sent twice comes twice.
            return;
        };
        match (reply, &flight.request) {
            (Reply::Ok(fields), Request::Hello { session }) => match hello(fields, *session) {
                Some(info) => self.greeted(now, info),
                // An older session's answer, or a card that does not fit: the next attempt tells.
                None => self.unfit(now, flight),
            },
            (Reply::Refused(refusal), Request::Hello { .. }) => {
                let version = matches!(refusal, Refusal::Version);
                self.fail(now, if version { LinkFault::Unfit } else { LinkFault::Refused(refusal) });
            }
            (Reply::Refused(Refusal::Session), _) => self.fail(now, LinkFault::Reset),
            (Reply::Ok(fields), Request::Port { port }) => self.port_told(now, *port, fields),
            (Reply::Ok(fields), Request::Stat { port }) => self.standing_told(*port, fields),
            (Reply::Ok(fields), Request::Meter { port }) => match reading(fields) {
                Some(reading) => self.outputs.push_back(Output::Reading { port: *port, reading }),
                None => self.counters.senseless += 1,
            },
            (Reply::Ok(_), Request::Wdog { .. }) => self.up(),
            (Reply::Ok(fields), Request::Ping) => {
                self.outputs.extend(fields.at().map(Output::Clock));
            }
            (Reply::Ok(_), Request::Conf { .. } | Request::Signal { .. }) => {}
            (Reply::Refused(refusal), Request::Conf { port, .. } | Request::Meter { port }) => {
                self.outputs.push_back(Output::Refused { port: *port, signal: None, refusal });
            }
            (Reply::Refused(refusal), Request::Signal { port, signal }) => {
                let signal = Some(signal.clone());
                self.outputs.push_back(Output::Refused { port: *port, signal, refusal });
            }
            (
                Reply::Refused(refusal),
                Request::Port { .. } | Request::Stat { .. } | Request::Wdog { .. } | Request::Ping,
            ) => self.fail(now, LinkFault::Refused(refusal)),
        }
        self.send_next(now);
    }

    fn unfit(&mut self, now: Instant, flight: Flight) {
        if self.hellos >= HELLOS_MAX {
            self.fail(now, LinkFault::Unfit);
        } else {
            self.flight = Some(flight);
        }
    }

    fn greeted(&mut self, now: Instant, info: CardInfo) {
        self.greeted = true;
        self.hellos = 0;
        self.counters.sessions += 1;
        self.known = vec![Standing::REST; info.ports.len()];
        self.waiting.extend(message::set_up(info.ports.len(), &self.settings, WATCHDOG_S));
        self.info = Some(info);
        self.ping_at = Some(now + PING_EVERY);
    }

    fn port_told(&mut self, now: Instant, port: usize, fields: message::Fields<'_>) {
        let place = self.info.as_mut().and_then(|info| info.ports.get_mut(port));
        let told = place.and_then(|place| message::port(fields, place.kind).map(|told| *place = told));
        if told.is_none() {
            self.fail(now, LinkFault::Unfit);
        }
    }

    fn up(&mut self) {
        self.state = LinkState::Up;
        self.told_down = false;
        self.outputs.extend(self.info.clone().map(Output::Up));
    }

    fn begin(&mut self, now: Instant) {
        if self.state != LinkState::Up || self.begun {
            return;
        }
        self.begun = true;
        self.ask_standing(now);
    }

    /// Asks how each port stands. A port that is to be asked already is not asked twice.
    fn ask_standing(&mut self, now: Instant) {
        for port in 0..self.known.len() {
            let request = Request::Stat { port };
            if !self.waiting.contains(&request) {
                self.waiting.push_back(request);
            }
        }
        self.send_next(now);
    }

    fn standing_told(&mut self, port: usize, fields: message::Fields<'_>) {
        let kind = self.info.as_ref().and_then(|info| info.ports.get(port)).map(|port| port.kind);
        let (Some(kind), Some(known)) = (kind, self.known.get_mut(port)) else { return };
        let told = Standing::parse(fields, kind);
        let before = std::mem::replace(known, told);
        let at = fields.at().unwrap_or_default();
        self.outputs.extend(before.signals_to(told).map(|signal| Output::Signal { port, at, signal }));
    }

    fn event(&mut self, now: Instant, frame: Frame<'_>) {
        let ports = self.info.as_ref().map_or(&[][..], |info| &info.ports);
        let read = event(frame.words, ports);
        // A card that begins anew has no session in which its events could be in turn.
        if let Some((_, Event::Reset)) = read {
            if self.greeted || self.state == LinkState::Up {
                self.fail(now, LinkFault::Reset);
            }
            return;
        }
        if !self.greeted {
            return;
        }
        let ahead = frame.number.wrapping_sub(self.next_event);
        if ahead != 0 {
            self.counters.out_of_turn += 1;
            // Half of all numbers are behind: it was told already, and its acknowledgement lost.
            if ahead >= 1 << 15 {
                self.acknowledge();
            }
            return;
        }
        self.next_event = self.next_event.wrapping_add(1);
        self.acknowledge();
        let Some((at, event)) = read else {
            self.counters.senseless += 1;
            return;
        };
        match event {
            Event::Signal { port, signal } => {
                let Some(known) = self.known.get_mut(port).filter(|_| self.begun) else { return };
                let signals = known.news(signal);
                *known = known.after(signal);
                self.outputs.extend(signals.into_iter().flatten().map(|signal| Output::Signal {
                    port,
                    at,
                    signal,
                }));
            }
            Event::AudioBegan => self.outputs.push_back(Output::AudioBegan(at)),
            Event::AudioEnded => self.outputs.push_back(Output::AudioEnded),
            Event::Lost { frames } => self.outputs.push_back(Output::Lost { at, frames }),
            Event::Hot(hot) => self.outputs.push_back(Output::Hot(hot)),
            Event::EventsLost if self.begun => self.ask_standing(now),
            Event::EventsLost | Event::Reset | Event::Unknown => {}
        }
    }

    /// Says up to which event all were taken.
    fn acknowledge(&mut self) {
        let last = self.next_event.wrapping_sub(1);
        self.outputs.extend(Line::new(Kind::Acknowledgement, last, "").map(Output::Write));
    }

    fn signal(&mut self, now: Instant, port: usize, signal: TxSignal) {
        let capabilities = self.info.as_ref().and_then(|info| info.ports.get(port));
        let refusal = match capabilities {
            _ if self.state != LinkState::Up => Refusal::Session,
            None => Refusal::Port,
            Some(capabilities) if !possible(capabilities, &signal) => Refusal::Kind,
            Some(_) => {
                self.ask(now, Request::Signal { port, signal });
                return;
            }
        };
        self.outputs.push_back(Output::Refused { port, signal: Some(signal), refusal });
    }

    fn meter(&mut self, now: Instant, port: usize) {
        let capabilities = self.info.as_ref().and_then(|info| info.ports.get(port));
        let refusal = match capabilities {
            _ if self.state != LinkState::Up => Refusal::Session,
            None => Refusal::Port,
            Some(capabilities) if !capabilities.meter => Refusal::Kind,
            Some(_) => {
                self.ask(now, Request::Meter { port });
                return;
            }
        };
        self.outputs.push_back(Output::Refused { port, signal: None, refusal });
    }

    fn ask(&mut self, now: Instant, request: Request) {
        if self.waiting.len() >= WAITING_MAX {
            // A wire that is not done what it is told is worse than a session that begins anew.
            self.fail(now, LinkFault::Overrun);
            return;
        }
        self.waiting.push_back(request);
        self.send_next(now);
    }

    /// Sends the next request if none is on its way.
    fn send_next(&mut self, now: Instant) {
        if self.flight.is_some() || !self.greeted {
            return;
        }
        let Some(request) = self.waiting.pop_front() else { return };
        let number = self.next_number;
        // 0 is for HELLO alone.
        self.next_number = self.next_number.checked_add(1).unwrap_or(1);
        let Some(line) = Line::new(Kind::Request, number, &request.words()) else { return };
        self.outputs.push_back(Output::Write(line.clone()));
        self.ping_at = Some(now + PING_EVERY);
        self.flight = Some(Flight { number, request, line, sends: 1, deadline: now + REPLY_TIMEOUT });
    }

    fn timeout(&mut self, now: Instant) {
        if self.hello_at.is_some_and(|at| at <= now) {
            self.greet(now);
        }
        if let Some(flight) = self.flight.take_if(|flight| flight.deadline <= now) {
            self.unanswered(now, flight);
        }
        if self.ping_at.is_some_and(|at| at <= now) {
            self.ping_at = Some(now + PING_EVERY);
            if self.waiting.is_empty() && self.flight.is_none() {
                self.waiting.push_back(Request::Ping);
            }
            self.send_next(now);
        }
    }

    fn unanswered(&mut self, now: Instant, mut flight: Flight) {
        if flight.number == 0 {
            if self.hellos >= HELLOS_MAX {
                self.hellos = 0;
                self.fail(now, LinkFault::NoAnswer);
            } else {
                self.greet(now);
            }
        } else if flight.sends >= SENDS_MAX {
            self.fail(now, LinkFault::NoAnswer);
        } else {
            flight.sends += 1;
            flight.deadline = now + REPLY_TIMEOUT;
            self.counters.resent += 1;
            let line = flight.line.clone();
            self.flight = Some(flight);
            self.write_after_noise(&line);
        }
    }

    /// An empty line before, so that what is left of a broken line does not take this one along.
    fn write_after_noise(&mut self, line: &Line) {
        self.outputs.push_back(Output::Write(Line::empty()));
        self.outputs.push_back(Output::Write(line.clone()));
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
