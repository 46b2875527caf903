//! The user agent core: transactions, dialogs, digest and registrations made into calls.
//!
//! One call through it, seen from the shell:
//!
//! ```text
//! handle(Received INVITE)  -> Send 100, Event::Incoming
//! ring, accept             -> Send 180, Send 200 (again and again until the ACK)
//! handle(Received ACK)     -> Event::Confirmed
//! hang_up                  -> Send BYE, Event::Ended
//! ```
//!
//! A call that was hung up here is over for the application at once; what is still to be said to
//! the peer (CANCEL, ACK, BYE) goes on inside.
//!
//! Deliberately absent: messages outside a call, reliable provisional answers, session
//! timers, DNS. Requests for the absent are answered 405, 420 or 481 as RFC 3261 wants.

mod call;
mod caller;
mod command;
mod event;
mod in_call;
mod notifying;
mod phones;
mod registering;
mod serve;
mod subscriptions;
mod transfer;

pub use registering::REGISTRATIONS_MAX;
pub use subscriptions::{LAMPS_MAX, SUBSCRIPTIONS_A_PHONE_MAX, SUBSCRIPTIONS_MAX};
pub use transfer::TRANSFER_MAX;

pub use event::{
    CallKey, CommandError, Counters, EndReason, Event, Incoming, Input, Invite, Output, Peer, PhoneAccount,
    PhoneSettings, ProbeKey, Referral, RegistrationKey, Replaced, Settings, TextMethod,
};

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use call::{CALL_TIMERS, Call, CallTimer, Calls, Stage};
use phones::Phones;
use subscriptions::Subscriptions;
use transfer::Transfer;

use crate::dialog::Dialog;
use crate::header::HeaderName;
use crate::hop::{Hop, Transport};
use crate::lex;
use crate::message::{DATAGRAM_BYTES_MAX, Message, Writer};
use crate::random::Random;
use crate::registration::Registration;
use crate::timer_queue::TimerQueue;
use crate::transaction::{Seeded, TransactionId, TransactionLayer, TransactionOutput};

/// Longest body of an INFO or MESSAGE that is taken, in bytes.
pub const TEXT_BYTES_MAX: usize = 8_192;

/// Bodies of an INFO that are understood.
pub const INFO_TYPES: [&str; 2] = ["application/dtmf-relay", "application/dtmf"];

const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, NOTIFY";
const ALLOW_WITH_REGISTER: &str =
    "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, NOTIFY, REGISTER, SUBSCRIBE";
/// Inside a call.
const ALLOW_IN_CALL: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, NOTIFY, MESSAGE";
const SDP: &str = "application/sdp";

/// Whose a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The first INVITE of an incoming call.
    Served(CallKey),
    /// A later INVITE or an UPDATE of the peer.
    PeerOffer(CallKey),
    /// Our first INVITE.
    Invite(CallKey),
    /// Our later INVITE.
    OwnOffer(CallKey),
    /// Our BYE.
    Bye(CallKey),
    /// Our INFO.
    Info(CallKey),
    /// Our REFER.
    Refer(CallKey),
    /// A report on the transfer that the peer asked for.
    Notify(CallKey),
    Register(RegistrationKey),
    Probe(ProbeKey),
    /// Our NOTIFY inside the subscription with this tag of ours.
    Lamp(u64),
    /// Our NOTIFY to a telephone that has not asked, by its number among the accounts.
    Unasked(u32),
    /// Nobody waits for the outcome.
    Nobody,
}

/// An answer to be written.
#[derive(Clone, Copy, Default)]
struct Answer<'a> {
    status: u16,
    /// Empty for the usual phrase.
    reason: &'a str,
    tag: &'a [u8],
    headers: &'a [(&'a str, &'a str)],
    content: Option<(&'a str, &'a [u8])>,
}

/// The state of this side of SIP: see the module's description.
///
/// Contract: call one method that changes it, drain [`UserAgent::poll`] to `None`, arm one timer
/// for [`UserAgent::poll_timeout`], repeat.
#[derive(Debug)]
pub struct UserAgent {
    settings: Settings,
    random: Random,
    seed: Seeded,
    calls: Calls,
    /// Calls by our tag in their dialogs.
    tags: HashMap<u64, CallKey, Seeded>,
    transactions: TransactionLayer<Owner>,
    timers: TimerQueue<(CallKey, CallTimer)>,
    registrations: BTreeMap<RegistrationKey, Registration>,
    registration_timers: TimerQueue<RegistrationKey>,
    /// Transfers that peers asked for, by their calls.
    transfers: BTreeMap<CallKey, Transfer>,
    transfer_timers: TimerQueue<CallKey>,
    next_number: u32,
    phones: Option<Phones>,
    subscriptions: Subscriptions,
    writer: Writer,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl UserAgent {
    /// A user agent without calls. `seed` is 32 random bytes: tags, branches, Call-IDs and
    /// nonces come from it. `now` is the origin of nonce times.
    #[must_use]
    pub fn new(now: Instant, settings: Settings, seed: [u8; 32]) -> UserAgent {
        let mut random = Random::new(seed);
        let keyed = Seeded(random.next_u64());
        let mut secret = [0; 32];
        for eight in secret.chunks_exact_mut(8) {
            eight.copy_from_slice(&random.next_u64().to_le_bytes());
        }
        let phones = settings.phones.as_ref().map(|p| Phones::new(p, secret, now));
        UserAgent {
            transactions: TransactionLayer::new(
                settings.timing,
                settings.transactions_max,
                random.next_u64(),
            ),
            settings,
            random,
            seed: keyed.clone(),
            calls: Calls::default(),
            tags: HashMap::with_hasher(keyed),
            timers: TimerQueue::new(),
            registrations: BTreeMap::new(),
            registration_timers: TimerQueue::new(),
            transfers: BTreeMap::new(),
            transfer_timers: TimerQueue::new(),
            next_number: 0,
            phones,
            subscriptions: Subscriptions::new(),
            writer: Writer::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Takes an input. Messages of [`Peer::Unknown`] are dropped unread.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Received { peer, hop, bytes } => self.received(now, peer, hop, bytes),
            Input::TransportFailed { hop } => {
                self.transactions.transport_failed(&hop);
                self.phones_lost_hop(&hop);
                self.subscriptions_lost_hop(&hop);
            }
            Input::Timeout => self.timeout(now),
        }
        self.settle(now);
    }

    /// The next output; `None` when everything is out.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is wanted next; `None` when nothing waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.transactions.poll_timeout(),
            self.timers.next(),
            self.registration_timers.next(),
            self.transfer_timers.next(),
            self.phones.as_ref().and_then(Phones::poll_timeout),
            self.subscriptions.timers.next(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Calls alive, including those that only wait to be let go by the peer.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Transactions alive.
    #[must_use]
    pub fn transactions(&self) -> usize {
        self.transactions.len()
    }

    /// Timers running, of transactions, calls, registrations, transfers and subscriptions.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.transactions.timers()
            + self.timers.len()
            + self.registration_timers.len()
            + self.transfer_timers.len()
            + self.subscriptions.timers.len()
    }

    /// Counts since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn received(&mut self, now: Instant, peer: Peer, hop: Hop, bytes: &[u8]) {
        let known = match peer {
            Peer::Trusted(_) => true,
            Peer::Phone => self.phones.is_some(),
            Peer::Unknown => false,
        };
        if !known {
            self.counters.unknown_dropped += 1;
            return;
        }
        let parsed = match hop.transport {
            Transport::Udp => Message::from_datagram(bytes),
            Transport::Tcp | Transport::Tls => Message::from_frame(bytes),
        };
        match parsed {
            Ok(message) if message.status().is_some() => self.response(now, peer, &hop, message),
            Ok(message) => self.request(now, peer, hop, message),
            Err(error) => {
                self.counters.malformed += 1;
                if let (Some(status), Some(request)) = (error.status(), &error.request) {
                    let reason = if status == 400 { error.fault.to_string() } else { String::new() };
                    let answer = Answer { status, reason: &reason, ..Answer::default() };
                    self.answer_once(peer, &hop, request, answer);
                }
            }
        }
    }

    fn timeout(&mut self, now: Instant) {
        self.transactions.handle_timeout(now);
        while let Some((key, timer)) = self.timers.pop_due(now) {
            if let Some(call) = self.calls.get(key) {
                call.timers[timer as usize] = None;
                self.call_timer(now, key, timer);
            }
        }
        while let Some(key) = self.registration_timers.pop_due(now) {
            self.registration_due(now, key);
        }
        self.transfers_due(now);
        self.phones_due(now);
        self.subscriptions_due(now);
    }

    /// Passes on what the transactions want until they want nothing.
    fn settle(&mut self, now: Instant) {
        while let Some(output) = self.transactions.poll() {
            match output {
                TransactionOutput::Send { hop, bytes } => {
                    self.outputs.push_back(Output::Send { hop, bytes });
                }
                TransactionOutput::TimedOut(owner) => self.timed_out(now, owner),
                TransactionOutput::AcceptedOver(owner) => self.accepted_over(owner),
            }
        }
    }

    fn timed_out(&mut self, now: Instant, owner: Owner) {
        match owner {
            Owner::Invite(key) => match self.calls.get(key).map(|c| c.stage) {
                Some(Stage::Placed) => self.end(key, EndReason::Unreachable),
                Some(Stage::Cancelling) => self.free(key),
                Some(Stage::Offered | Stage::Up | Stage::ByeAfterAck | Stage::Ending | Stage::Reporting)
                | None => {}
            },
            Owner::OwnOffer(key) => self.lost(now, key, EndReason::Lost),
            Owner::Bye(key) => self.free(key),
            Owner::Register(key) => self.registration_silent(now, key),
            Owner::Probe(probe) => self.event(Event::Probed { probe, status: None }),
            Owner::Refer(key) => self.refer_answered(key, 408),
            Owner::Notify(key) => self.notify_answered(key, 481),
            Owner::Lamp(tag) => self.notified(now, tag, None),
            Owner::Unasked(at) => self.unasked_answered(now, at),
            Owner::Served(_) | Owner::PeerOffer(_) | Owner::Info(_) | Owner::Nobody => {}
        }
    }

    fn accepted_over(&mut self, owner: Owner) {
        match owner {
            Owner::Invite(key) | Owner::OwnOffer(key) => {
                // No more 2xx can come, so the ACK and the forks' tags have served.
                if let Some(call) = self.calls.get(key)
                    && call.own_offer.is_none()
                {
                    call.ack = None;
                    call.forks = Vec::new();
                }
            }
            Owner::Served(_)
            | Owner::PeerOffer(_)
            | Owner::Bye(_)
            | Owner::Info(_)
            | Owner::Refer(_)
            | Owner::Notify(_)
            | Owner::Register(_)
            | Owner::Probe(_)
            | Owner::Lamp(_)
            | Owner::Unasked(_)
            | Owner::Nobody => {}
        }
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn send(&mut self, hop: Hop, bytes: Arc<[u8]>) {
        self.outputs.push_back(Output::Send { hop, bytes });
    }

    fn set_timer(&mut self, key: CallKey, timer: CallTimer, at: Option<Instant>) {
        if let Some(call) = self.calls.get(key) {
            self.timers.set(&mut call.timers[timer as usize], (key, timer), at);
        }
    }

    fn insert_call(&mut self, call: Call) -> CallKey {
        let tag = call.local_tag;
        let key = self.calls.insert(call);
        self.tags.insert(tag, key);
        key
    }

    /// Tells the application and forgets the call.
    fn end(&mut self, key: CallKey, reason: EndReason) {
        self.ended_by(key, reason, None);
    }

    /// The same for a call that a message has ended.
    fn ended_by(&mut self, key: CallKey, reason: EndReason, message: Option<Arc<Message>>) {
        self.event(Event::Ended { call: key, reason, message });
        self.free(key);
    }

    /// Forgets a call whose end the application knows, unless it has still to report.
    fn free(&mut self, key: CallKey) {
        if self.stays_to_report(key) {
            return;
        }
        let Some(mut call) = self.calls.remove(key) else { return };
        self.tags.remove(&call.local_tag);
        for timer in CALL_TIMERS {
            self.timers.set(&mut call.timers[timer as usize], (key, timer), None);
        }
    }

    fn allow(&self) -> &'static str {
        if self.phones.is_some() { ALLOW_WITH_REGISTER } else { ALLOW }
    }

    fn write_answer(&mut self, request: &Message, source: SocketAddr, answer: Answer<'_>) -> Arc<[u8]> {
        let reason = if answer.reason.is_empty() { phrase(answer.status) } else { answer.reason };
        let product = self.settings.product.as_str();
        let w = self.writer.response(request, answer.status, reason, answer.tag, source);
        for (name, value) in answer.headers {
            w.header(name, value);
        }
        // Who has proved nothing is not told what we are, and a challenge must be short.
        if !product.is_empty() && answer.status >= 180 && answer.status != 401 {
            w.header("Server", product);
        }
        match answer.content {
            Some((content_type, body)) => w.body(content_type, body).into(),
            None => w.end().into(),
        }
    }

    /// Answers within a transaction.
    fn answer(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        hop: &Hop,
        request: &Message,
        answer: Answer<'_>,
    ) {
        let bytes = self.write_answer(request, hop.remote, answer);
        self.transactions.respond(now, transaction, answer.status, bytes);
    }

    /// Answers without a transaction: the same request gets the same answer with the same tag
    /// (RFC 3261 §8.2.7). Never an ACK; never much longer than a phone's unproven request.
    fn answer_once(&mut self, peer: Peer, hop: &Hop, request: &Message, answer: Answer<'_>) -> bool {
        let tag = self.stateless_tag(request);
        let bytes = self.write_answer(request, hop.remote, Answer { tag: &tag, ..answer });
        let asked = request.as_bytes().len();
        if peer == Peer::Phone && hop.transport == Transport::Udp && bytes.len() * 2 > asked * 3 {
            return false;
        }
        self.send(*hop, bytes);
        true
    }

    /// A tag that nobody keeps: 36 bits, of which RFC 3261 §19.3 wants 32. Short, because
    /// an answer to a stranger must be.
    fn stateless_tag(&self, request: &Message) -> [u8; 6] {
        use std::hash::{BuildHasher as _, Hasher as _};
        let mut hasher = self.seed.build_hasher();
        hasher.write(request.call_id());
        hasher.write(request.header(HeaderName::Via).unwrap_or(&[]));
        hasher.write_u32(request.cseq());
        let [.., a, b, c, d, e, f] = lex::short11(hasher.finish());
        [a, b, c, d, e, f]
    }

    /// The hop for a request inside a dialog.
    fn hop_of(&self, dialog: &Dialog, hop: Hop) -> Hop {
        if !self.settings.follow_contact || hop.transport != Transport::Udp {
            return hop;
        }
        let next = dialog.next_hop();
        match next.ip() {
            Some(ip) => Hop { remote: SocketAddr::new(ip, next.port().unwrap_or(5060)), ..hop },
            None => hop,
        }
    }
}

/// Our Contact on a hop.
fn contact_on(user: &str, hop: &Hop) -> String {
    let mut uri = crate::Uri::at(user, hop.local)
        .map_or_else(|_| format!("sip:{}", hop.local), |uri| uri.as_str().to_owned());
    match hop.transport {
        Transport::Udp => {}
        Transport::Tcp => uri.push_str(";transport=tcp"),
        Transport::Tls => uri.push_str(";transport=tls"),
    }
    format!("<{uri}>")
}

/// The Q.850 cause of a Reason header, RFC 3326.
fn q850_cause(message: &Message) -> Option<u8> {
    message
        .values(HeaderName::Reason)
        .find(|v| v.get(..5).is_some_and(|p| p.eq_ignore_ascii_case(b"Q.850")))
        .and_then(|v| lex::param(v, b"cause"))
        .and_then(|c| lex::number(c, 127))
        .map(|c| c as u8)
}

/// The session description of a message, within the datagram limit.
fn sdp_of(message: &Message) -> Option<Box<[u8]>> {
    message.sdp().filter(|s| s.len() <= DATAGRAM_BYTES_MAX).map(Into::into)
}

/// The usual reason phrase, RFC 3261 §21.
#[must_use]
pub fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        423 => "Interval Too Brief",
        469 => "Bad Info Package",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        _ => match status / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}
