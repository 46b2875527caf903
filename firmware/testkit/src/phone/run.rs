//! The phone's thread: a user agent, its socket, and the sound, woken by whichever is due.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tipring_sip::auth::Credentials;
use tipring_sip::sdp::{self, Codec, Local, Negotiated};
use tipring_sip::ua::{
    CallKey, EndReason, Event, Incoming, Input, Invite, Output, Peer, Settings, UserAgent,
};
use tipring_sip::{Hop, NameAddr, RegisterSettings, Transport, Uri};

use super::g711::Law;
use super::sound::{Agreed, Received, Sent, Sound};
use super::state::{Command, Shared};
use super::{Answering, PhoneEvent, PhoneSettings};

/// Longest sleep when nothing is due.
const IDLE: Duration = Duration::from_millis(200);
/// Longest SIP datagram that is read.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Payload type for telephone events.
const EVENT_TYPE: u8 = 101;
/// The only peer.
const BOX: Peer = Peer::Trusted(1);

pub(super) struct Run {
    settings: PhoneSettings,
    shared: Arc<Shared>,
    waker: UnixDatagram,
    socket: UdpSocket,
    hop: Hop,
    ua: UserAgent,
    sound: Sound,
    local: Local,
    call: Option<CallKey>,
    offer: Option<Box<[u8]>>,
    agreed: Option<Negotiated>,
    answer_at: Option<Instant>,
    last_key: Option<u32>,
    stopping: bool,
}

impl Run {
    pub(super) fn new(
        settings: PhoneSettings,
        shared: Arc<Shared>,
        waker: UnixDatagram,
        socket: UdpSocket,
        rtp: UdpSocket,
        seed: [u8; 32],
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let hop = Hop { transport: Transport::Udp, socket: 0, local: address, remote: settings.box_address };
        let [a, b, c, d, e, f, g, h, ..] = seed;
        let local = Local {
            address: address.ip(),
            port: rtp.local_addr()?.port(),
            session_id: u64::from(u32::from_be_bytes([a, b, c, d])),
            version: 1,
            codecs: vec![Codec::new(settings.law.name(), settings.law.payload_type(), 8_000)],
            telephone_event: Some(EVENT_TYPE),
            ptime_ms: 20,
            direction: sdp::Direction::SendRecv,
        };
        let ua = UserAgent::new(
            Instant::now(),
            Settings { product: "testkit phone".to_owned(), calls_max: 4, ..Settings::default() },
            seed,
        );
        let sound = Sound::new(rtp, u32::from_be_bytes([e, f, g, h]))?;
        Ok(Self {
            settings,
            shared,
            waker,
            socket,
            hop,
            ua,
            sound,
            local,
            call: None,
            offer: None,
            agreed: None,
            answer_at: None,
            last_key: None,
            stopping: false,
        })
    }

    /// Until [`Command::Stop`]; then what is still to be said to the box is said.
    pub(super) fn run(mut self) {
        let mut stop_at = None;
        loop {
            let now = Instant::now();
            while let Some(command) = self.shared.next_command() {
                self.obey(now, command);
            }
            if self.ua.poll_timeout().is_some_and(|due| due <= now) {
                self.ua.handle(now, Input::Timeout);
            }
            self.drain(now);
            if self.answer_at.is_some_and(|due| due <= now) {
                self.answer(now);
            }
            self.tick(now);
            if self.stopping {
                // Long enough for the answer to a BYE that is on its way.
                let until = *stop_at.get_or_insert(now + Duration::from_millis(300));
                if now >= until {
                    return;
                }
            }
            self.sleep(now);
            self.receive();
        }
    }

    fn sleep(&self, now: Instant) {
        let due = [self.ua.poll_timeout(), self.sound.due(), self.answer_at];
        let next = due.into_iter().flatten().min().map_or(IDLE, |due| due.saturating_duration_since(now));
        let limit = next.min(IDLE);
        let limit = Timespec { tv_sec: 0, tv_nsec: limit.as_nanos() as _ };
        let mut wake = [
            PollFd::new(&self.socket, PollFlags::IN),
            PollFd::new(self.sound.socket(), PollFlags::IN),
            PollFd::new(&self.waker, PollFlags::IN),
        ];
        // A signal that interrupts this is as good as a wake-up.
        let _ = poll(&mut wake, Some(&limit));
    }

    fn receive(&mut self) {
        let mut byte = [0; 1];
        while self.waker.recv(&mut byte).is_ok() {}
        let now = Instant::now();
        while let Some(received) = self.sound.receive(now) {
            match received {
                Received::Audio(packet) => self.shared.hear(packet),
                Received::Key(digit, timestamp) => {
                    if self.last_key.replace(timestamp) != Some(timestamp) {
                        self.event(PhoneEvent::KeyHeard(digit));
                    }
                }
            }
        }
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            let peer = if from.ip() == self.settings.box_address.ip() { BOX } else { Peer::Unknown };
            let hop = Hop { remote: from, ..self.hop };
            let bytes = buffer.get(..length).unwrap_or(&[]);
            self.ua.handle(Instant::now(), Input::Received { peer, hop, bytes });
            self.drain(Instant::now());
        }
    }

    fn tick(&mut self, now: Instant) {
        let mut sent = Vec::new();
        self.sound.send_due(now, |what| sent.push(what));
        for what in sent {
            self.event(match what {
                Sent::AllSaid => PhoneEvent::AllSaid,
                Sent::Key(digit) => PhoneEvent::KeySent(digit),
            });
        }
    }

    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.ua.poll() {
            match output {
                Output::Send { hop, bytes } => {
                    // A datagram that is lost is sent again by the user agent.
                    let _ = self.socket.send_to(&bytes, hop.remote);
                }
                Output::Event(event) => self.happened(now, event),
            }
        }
    }

    fn obey(&mut self, now: Instant, command: Command) {
        match command {
            Command::Register => self.register(now),
            Command::Call(number) => self.place(now, &number),
            Command::Answer => self.answer(now),
            Command::Say(samples) => self.sound.say(&samples),
            Command::Press(digits) => self.sound.press(&digits),
            Command::HangUp => self.hang_up(now),
            Command::Stop => {
                self.hang_up(now);
                self.stopping = true;
            }
        }
    }

    fn credentials(&self) -> Option<Credentials> {
        let password = self.settings.password.clone()?;
        Some(Credentials { username: self.settings.user.clone(), password, md5_only: false })
    }

    fn register(&mut self, now: Instant) {
        let registrar = Uri::from_bytes(format!("sip:{}", self.hop.remote).as_bytes());
        let (Ok(registrar), Ok(record)) = (registrar, Uri::at(&self.settings.user, self.hop.remote)) else {
            return self.event(PhoneEvent::NotRegistered(None));
        };
        let settings = RegisterSettings {
            hop: self.hop,
            registrar,
            record: NameAddr::new("", record),
            contact_user: self.settings.user.clone(),
            expires_s: 600,
            credentials: self.credentials(),
            routes: Vec::new(),
        };
        if self.ua.register(now, settings).is_err() {
            self.event(PhoneEvent::NotRegistered(None));
        }
    }

    fn place(&mut self, now: Instant, number: &str) {
        let target = Uri::at(number, self.hop.remote);
        let from = Uri::at(&self.settings.user, self.hop.local);
        let (Ok(target), Ok(from)) = (target, from) else {
            return self.event(PhoneEvent::Ended("no such address".to_owned()));
        };
        let invite = Invite {
            peer: BOX,
            hop: self.hop,
            to: NameAddr::new("", target.clone()),
            target,
            from: NameAddr::new("", from),
            contact_user: self.settings.user.clone(),
            routes: Vec::new(),
            headers: Vec::new(),
            sdp: self.local.offer(),
            credentials: self.credentials(),
        };
        match self.ua.invite(now, invite) {
            Ok(key) => self.call = Some(key),
            Err(error) => self.event(PhoneEvent::Ended(error.to_string())),
        }
    }

    fn answer(&mut self, now: Instant) {
        self.answer_at = None;
        let Some(call) = self.call else { return };
        let answered = match self.offer.take() {
            Some(offer) => sdp::answer(&offer, &self.local),
            None => return,
        };
        match answered {
            Ok((answer, agreed)) => {
                if self.ua.accept(now, call, &answer).is_ok() {
                    self.agreed = Some(agreed);
                    self.talk(now);
                    self.event(PhoneEvent::Connected);
                }
            }
            Err(error) => {
                // The call may be gone by now: then there is nobody to tell.
                let _ = self.ua.reject(now, call, error.status(), "", &[]);
            }
        }
    }

    fn talk(&mut self, now: Instant) {
        let Some(agreed) = &self.agreed else { return };
        let law = if agreed.codec.payload_type == Law::A.payload_type() { Law::A } else { Law::Mu };
        let event_type = agreed.telephone_event.map(|event| event.send);
        let sends = agreed.direction.sends();
        self.sound.begin(now, Agreed { remote: agreed.remote, law, event_type, sends });
    }

    fn hang_up(&mut self, now: Instant) {
        if let Some(call) = self.call {
            // A call that has just ended is hung up already.
            let _ = self.ua.hang_up(now, call, None);
            self.drain(now);
        }
    }

    fn incoming(&mut self, now: Instant, incoming: &Incoming) {
        if self.call.is_some() {
            // Busy; the call may be gone again, and then nobody needs to know.
            let _ = self.ua.reject(now, incoming.call, 486, "", &[]);
            return;
        }
        self.call = Some(incoming.call);
        self.offer = Some(incoming.request.sdp().map_or_else(|| Box::from([]), Box::from));
        let from = incoming.request.from_address().ok().and_then(|from| from.uri.user().map(String::from));
        // 180 is news, not a promise: without it the caller only hears less.
        let _ = self.ua.ring(now, incoming.call, None);
        if let Answering::After(pause) = self.settings.answering {
            self.answer_at = Some(now + pause);
        }
        self.event(PhoneEvent::Incoming { from: from.unwrap_or_default() });
    }

    fn happened(&mut self, now: Instant, event: Event) {
        match event {
            Event::Incoming(incoming) => self.incoming(now, &incoming),
            Event::Progress { call, status, .. } if Some(call) == self.call => {
                self.event(PhoneEvent::Progress(status));
            }
            Event::Answered { call, sdp, .. } if Some(call) == self.call => {
                let agreed = sdp.map(|sdp| sdp::read_answer(&sdp, &self.local));
                match agreed {
                    Some(Ok(agreed)) => {
                        self.agreed = Some(agreed);
                        self.talk(now);
                        self.event(PhoneEvent::Connected);
                    }
                    Some(Err(_)) | None => self.hang_up(now),
                }
            }
            Event::Offer { call, sdp } => {
                let answer = sdp.and_then(|sdp| sdp::answer(&sdp, &self.local).ok());
                // Either way the call may have ended meanwhile.
                let _ = match answer {
                    Some((answer, agreed)) => {
                        self.agreed = Some(agreed);
                        self.talk(now);
                        self.ua.answer_offer(now, call, &answer)
                    }
                    None => self.ua.refuse_offer(now, call, 488),
                };
            }
            Event::Ended { call, reason, .. } if Some(call) == self.call => {
                self.call = None;
                self.offer = None;
                self.agreed = None;
                self.answer_at = None;
                self.sound.end();
                self.event(PhoneEvent::Ended(words(&reason)));
            }
            Event::Refer { call, .. } => {
                // This telephone does as it is told by its user alone.
                let _ = self.ua.report_transfer(now, call, 603);
            }
            Event::Registered { expires, .. } => self.event(PhoneEvent::Registered(expires)),
            Event::RegistrationFailed { status, .. } => self.event(PhoneEvent::NotRegistered(status)),
            Event::Progress { .. }
            | Event::Answered { .. }
            | Event::Ended { .. }
            | Event::TransferLate { .. }
            | Event::TextRefused { .. }
            | Event::ReferAnswered { .. }
            | Event::ReferNotified { .. }
            | Event::Confirmed { .. }
            | Event::OfferAnswered { .. }
            | Event::OfferRefused { .. }
            | Event::Info { .. }
            | Event::Message { .. }
            | Event::Unregistered { .. }
            | Event::Probed { .. }
            | Event::PhoneRegistered { .. }
            | Event::PhoneGone { .. }
            | Event::AuthFailed { .. } => {}
        }
    }

    fn event(&self, event: PhoneEvent) {
        self.shared.happened(event);
    }
}

fn words(reason: &EndReason) -> String {
    match reason {
        EndReason::Local => "hung up here".to_owned(),
        EndReason::RemoteHangUp { .. } => "hung up there".to_owned(),
        EndReason::Cancelled => "cancelled".to_owned(),
        EndReason::Refused { status, .. } => format!("refused {status}"),
        EndReason::AuthFailed => "password refused".to_owned(),
        EndReason::Unreachable => "nobody there".to_owned(),
        EndReason::RangOut => "rang out".to_owned(),
        EndReason::NotConfirmed => "never confirmed".to_owned(),
        EndReason::Lost => "lost".to_owned(),
    }
}

/// Two sockets on one address of this machine: SIP and RTP.
pub(super) fn sockets(ip: std::net::IpAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    Ok((UdpSocket::bind(SocketAddr::new(ip, 0))?, UdpSocket::bind(SocketAddr::new(ip, 0))?))
}
