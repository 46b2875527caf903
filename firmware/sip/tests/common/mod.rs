//! Two user agents, a wire between them and a clock that only tests turn.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "shared by test crates")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tipring_sip::message::Message;
use tipring_sip::ua::{CallKey, Event, Input, Invite, Output, Peer, Settings, UserAgent};
use tipring_sip::{Hop, NameAddr, Transport, Uri};

pub const SDP: &[u8] = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
m=audio 16384 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n";

/// Tests need some instant to begin with; nothing reads the clock afterwards.
#[allow(clippy::disallowed_methods, reason = "an origin for virtual time")]
pub fn origin() -> Instant {
    Instant::now()
}

pub fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 5060))
}

pub fn hop(local: u8, remote: u8) -> Hop {
    Hop { transport: Transport::Udp, socket: 1, local: address(local), remote: address(remote) }
}

pub fn invite_to(local: u8, remote: u8) -> Invite {
    let target = Uri::at("200", address(remote)).unwrap();
    Invite {
        peer: Peer::Trusted(u32::from(remote)),
        hop: hop(local, remote),
        target: target.clone(),
        from: NameAddr::new("Caller", Uri::at("100", address(local)).unwrap()),
        to: NameAddr::new("", target),
        contact_user: "100".into(),
        routes: Vec::new(),
        headers: Vec::new(),
        sdp: SDP.to_vec(),
        credentials: None,
    }
}

/// One user agent with what it put out.
pub struct Side {
    pub ua: UserAgent,
    pub last: u8,
    pub events: VecDeque<Event>,
}

impl Side {
    pub fn new(last: u8, settings: Settings, now: Instant) -> Side {
        Side { ua: UserAgent::new(now, settings, [last; 32]), last, events: VecDeque::new() }
    }
}

/// Decides whether a message of a side is lost.
pub type Lose = Box<dyn FnMut(u8, &Message) -> bool>;

/// A (192.0.2.1) and B (192.0.2.2), 10 ms apart.
pub struct Pair {
    pub now: Instant,
    pub start: Instant,
    pub a: Side,
    pub b: Side,
    wire: VecDeque<(Instant, u8, Vec<u8>)>,
    /// Says which messages are lost: from whom, what, how many like it came before.
    pub lose: Lose,
    /// Everything sent, first lines with the sender.
    pub log: Vec<(u8, String)>,
    pub reliable: bool,
    /// What B takes A for.
    pub b_sees: Peer,
}

pub const DELAY: Duration = Duration::from_millis(10);

impl Pair {
    pub fn new() -> Pair {
        Pair::with(Settings::default(), Settings::default())
    }

    pub fn with(a: Settings, b: Settings) -> Pair {
        let now = origin();
        Pair {
            now,
            start: now,
            a: Side::new(1, a, now),
            b: Side::new(2, b, now),
            wire: VecDeque::new(),
            lose: Box::new(|_, _| false),
            log: Vec::new(),
            reliable: false,
            b_sees: Peer::Trusted(1),
        }
    }

    fn drain(&mut self) {
        for side in [&mut self.a, &mut self.b] {
            while let Some(output) = side.ua.poll() {
                match output {
                    Output::Event(event) => side.events.push_back(event),
                    Output::Send { bytes, .. } => {
                        let message = Message::from_frame(&bytes).expect("we send what we accept");
                        let line = bytes.split(|&b| b == b'\r').next().unwrap();
                        let mut line = String::from_utf8(line.to_vec()).unwrap();
                        if message.status().is_some() {
                            line = format!("{} {}", line, message.cseq_method());
                        }
                        let lost = (self.lose)(side.last, &message);
                        if lost {
                            line.push_str(" LOST");
                        } else {
                            self.wire.push_back((self.now + DELAY, side.last, bytes.to_vec()));
                        }
                        self.log.push((side.last, line));
                    }
                }
            }
        }
    }

    /// Runs until `until`, delivering what is due.
    pub fn run_until(&mut self, until: Instant) {
        loop {
            self.drain();
            let next = [self.wire.front().map(|w| w.0), self.a.ua.poll_timeout(), self.b.ua.poll_timeout()]
                .into_iter()
                .flatten()
                .min();
            let Some(next) = next.filter(|&n| n <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            if self.wire.front().is_some_and(|w| w.0 <= self.now) {
                let (_, from, bytes) = self.wire.pop_front().unwrap();
                let transport = if self.reliable { Transport::Tcp } else { Transport::Udp };
                let (side, other) = if from == 1 { (&mut self.b, 1) } else { (&mut self.a, 2) };
                let hop = Hop { transport, ..hop(side.last, other) };
                let peer = if from == 1 { self.b_sees } else { Peer::Trusted(u32::from(other)) };
                side.ua.handle(self.now, Input::Received { peer, hop, bytes: &bytes });
            }
            for side in [&mut self.a, &mut self.b] {
                if side.ua.poll_timeout().is_some_and(|t| t <= self.now) {
                    side.ua.handle(self.now, Input::Timeout);
                }
            }
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    pub fn run_ms(&mut self, ms: u64) {
        self.run_for(Duration::from_millis(ms));
    }

    /// A calls B; B sees it.
    pub fn place(&mut self) -> (CallKey, CallKey) {
        let mut invite = invite_to(1, 2);
        if self.reliable {
            invite.hop.transport = Transport::Tcp;
        }
        let caller = self.a.ua.invite(self.now, invite).unwrap();
        self.run_ms(50);
        (caller, self.offered())
    }

    pub fn offered(&mut self) -> CallKey {
        match self.b.events.pop_front() {
            Some(Event::Incoming(incoming)) => incoming.call,
            Some(other) => panic!("unexpected {other:?}"),
            None => panic!("no call came in: {:#?}", self.log),
        }
    }

    /// A calls B and B answers.
    pub fn connect(&mut self) -> (CallKey, CallKey) {
        let (caller, callee) = self.place();
        self.b.ua.accept(self.now, callee, SDP).unwrap();
        self.run_ms(50);
        assert!(matches!(self.a.events.pop_front(), Some(Event::Answered { .. })));
        assert!(matches!(self.b.events.pop_front(), Some(Event::Confirmed { .. })));
        (caller, callee)
    }

    /// Lets every timer run out and checks that nothing is left.
    pub fn nothing_left(&mut self) {
        self.run_for(Duration::from_secs(400));
        for side in [&self.a, &self.b] {
            assert_eq!(side.ua.calls(), 0, "calls of {}", side.last);
            assert_eq!(side.ua.transactions(), 0, "transactions of {}", side.last);
            assert_eq!(side.ua.timers(), 0, "timers of {}", side.last);
            assert_eq!(side.ua.poll_timeout(), None);
        }
    }

    pub fn count(&self, from: u8, what: &str) -> usize {
        self.log.iter().filter(|(f, l)| *f == from && l.contains(what)).count()
    }
}
