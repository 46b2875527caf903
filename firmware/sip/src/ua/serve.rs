//! Requests that come in: what opens something, CANCEL and ACK.

use std::sync::Arc;
use std::time::Instant;

use super::call::{Call, CallTimer, Stage, TRYING_AFTER};
use super::event::{CallKey, EndReason, Event, Incoming, Peer};
use super::{Answer, Owner, SDP, UserAgent, contact_on};
use crate::dialog::Dialog;
use crate::header::HeaderName;
use crate::hop::Hop;
use crate::lex;
use crate::message::Message;
use crate::method::Method;
use crate::transaction::Arrival;
use crate::uri::{Uri, UriError};

/// What opens a request has passed: who sent it, where it goes.
struct Opening {
    target: Uri,
    account: Option<String>,
}

impl UserAgent {
    pub(super) fn request(&mut self, now: Instant, peer: Peer, hop: Hop, request: Message) {
        match self.transactions.arrival(now, &request) {
            Arrival::Absorbed => return,
            Arrival::Merged => {
                let answer = Answer { status: 482, ..Answer::default() };
                self.answer_once(peer, &hop, &request, answer);
                return;
            }
            Arrival::AckOfAccepted(_) | Arrival::New => {}
        }
        match request.method() {
            Some(Method::Ack) => self.ack(now, peer, &hop, &request),
            Some(Method::Cancel) => self.cancel(now, peer, &hop, &request),
            Some(Method::Subscribe) if self.is_subscribed(&request) => {
                self.resubscribe(now, peer, hop, &request);
            }
            Some(_) if !request.to_tag().is_empty() => self.inside(now, peer, hop, request),
            Some(_) => self.opening(now, peer, hop, request),
            None => {}
        }
    }

    /// The call a message with our tag belongs to, from the same peer.
    pub(super) fn call_of(
        &mut self,
        peer: Peer,
        hop: &Hop,
        our_tag: &[u8],
        call_id: &[u8],
        their_tag: &[u8],
    ) -> Option<CallKey> {
        let key = *self.tags.get(&lex::unhex16(our_tag)?)?;
        let call = self.calls.get(key)?;
        let same_source = call.peer == peer
            && match peer {
                Peer::Trusted(_) => true,
                Peer::Phone => call.hop.remote.ip() == hop.remote.ip(),
                Peer::Unknown => false,
            };
        (same_source && call.dialog_with(call_id, their_tag).is_some()).then_some(key)
    }

    fn ack(&mut self, now: Instant, peer: Peer, hop: &Hop, ack: &Message) {
        let key = self.call_of(peer, hop, ack.to_tag(), ack.call_id(), ack.from_tag());
        match key {
            Some(key) => self.confirmed(now, key, ack),
            None => self.counters.unmatched += 1,
        }
    }

    /// RFC 3261 §9.2.
    fn cancel(&mut self, now: Instant, peer: Peer, hop: &Hop, cancel: &Message) {
        let found = self.transactions.cancelled(cancel);
        let Some((invite, owner)) = found else {
            self.answer_once(peer, hop, cancel, Answer { status: 481, ..Answer::default() });
            return;
        };
        let key = match owner {
            Owner::Served(key) | Owner::PeerOffer(key) => Some(key),
            Owner::Invite(_)
            | Owner::OwnOffer(_)
            | Owner::Bye(_)
            | Owner::Info(_)
            | Owner::Refer(_)
            | Owner::Notify(_)
            | Owner::Register(_)
            | Owner::Probe(_)
            | Owner::Lamp(_)
            | Owner::Unasked(_)
            | Owner::Nobody => None,
        };
        let call = key.and_then(|key| self.calls.get(key));
        if call.as_ref().is_some_and(|c| c.peer != peer || c.hop.remote != hop.remote) {
            self.counters.strangers += 1;
            self.answer_once(peer, hop, cancel, Answer { status: 481, ..Answer::default() });
            return;
        }
        let tag = call.as_ref().map(|c| lex::hex16(c.local_tag));
        let Ok(transaction) = self.transactions.serve(cancel, *hop, Owner::Nobody) else {
            self.overloaded(peer, hop, cancel);
            return;
        };
        let tag = tag.as_ref().map_or(&[][..], |t| &t[..]);
        self.answer(now, transaction, hop, cancel, Answer { status: 200, tag, ..Answer::default() });
        let Some(key) = key else { return };
        let Some(call) = self.calls.get(key) else { return };
        let terminated = Answer { status: 487, tag, ..Answer::default() };
        if call.stage == Stage::Offered && call.transaction == Some(invite) {
            if let Some(request) = call.request.take() {
                let hop = call.hop;
                self.answer(now, invite, &hop, &request, terminated);
            }
            self.end(key, EndReason::Cancelled);
        } else if call.peer_offer.as_ref().is_some_and(|o| o.transaction == invite)
            && let Some(offer) = call.peer_offer.take()
        {
            let hop = call.hop;
            self.answer(now, invite, &hop, &offer.request, terminated);
        }
    }

    pub(super) fn overloaded(&mut self, peer: Peer, hop: &Hop, request: &Message) {
        self.counters.overloaded += 1;
        let seconds = self.settings.busy_retry_after.map(|d| d.as_secs().to_string());
        let retry = seconds.as_deref().map(|s| ("Retry-After", s));
        let headers = retry.as_slice();
        self.answer_once(peer, hop, request, Answer { status: 503, headers, ..Answer::default() });
    }

    /// RFC 3261 §8.2: a request outside any dialog.
    fn opening(&mut self, now: Instant, peer: Peer, hop: Hop, request: Message) {
        let opening = match self.inspect(now, peer, &hop, &request) {
            Some(opening) => opening,
            None => return,
        };
        match request.method() {
            Some(Method::Invite) => self.incoming(now, peer, hop, request, opening),
            Some(Method::Options) => {
                let Ok(transaction) = self.transactions.serve(&request, hop, Owner::Nobody) else {
                    self.overloaded(peer, &hop, &request);
                    return;
                };
                self.answer_options(now, transaction, &hop, &request);
            }
            Some(Method::Register) => {
                if let Some(account) = opening.account {
                    self.phone_register(now, hop, &request, account);
                } else {
                    self.not_allowed(peer, &hop, &request);
                }
            }
            Some(Method::Refer) => {
                // RFC 3515 §2.4.2: only within a call is it known who may ask for what.
                self.answer_once(peer, &hop, &request, Answer { status: 403, ..Answer::default() });
            }
            Some(Method::Subscribe) => match opening.account {
                Some(account) => self.subscribe(now, hop, &request, &account, &opening.target),
                None => self.not_allowed(peer, &hop, &request),
            },
            Some(Method::Bye | Method::Info | Method::Update | Method::Prack | Method::Notify) => {
                self.counters.strangers += 1;
                self.answer_once(peer, &hop, &request, Answer { status: 481, ..Answer::default() });
            }
            Some(Method::Ack | Method::Cancel | Method::Message | Method::Publish | Method::Other) | None => {
                self.not_allowed(peer, &hop, &request)
            }
        }
    }

    fn not_allowed(&mut self, peer: Peer, hop: &Hop, request: &Message) {
        let headers = [("Allow", self.allow())];
        let answer = Answer { status: 405, headers: &headers, ..Answer::default() };
        self.answer_once(peer, hop, request, answer);
    }

    /// The checks of RFC 3261 §8.2.1 to §8.2.3. `None` when the request has been answered.
    fn inspect(&mut self, now: Instant, peer: Peer, hop: &Hop, request: &Message) -> Option<Opening> {
        let account = match peer {
            // The same challenge for every method and every name: nothing can be learned.
            Peer::Phone => Some(self.authenticate(now, hop, request)?),
            Peer::Trusted(_) | Peer::Unknown => None,
        };
        let mut refuse = |status: u16, headers: &[(&str, &str)]| {
            self.answer_once(peer, hop, request, Answer { status, headers, ..Answer::default() });
        };
        if request.number(HeaderName::MaxForwards) == Some(0) {
            refuse(483, &[]);
            return None;
        }
        let target = match request.request_uri() {
            Ok(target) => target,
            Err(UriError::Scheme) => {
                refuse(416, &[]);
                return None;
            }
            Err(
                UriError::TooLong
                | UriError::User
                | UriError::Host
                | UriError::Port
                | UriError::Params
                | UriError::Headers
                | UriError::Number,
            ) => {
                refuse(400, &[]);
                return None;
            }
        };
        if let Some(required) = required(request) {
            refuse(420, &[("Unsupported", &required)]);
            return None;
        }
        if request.method() == Some(Method::Invite) && !self.body_is_understood(peer, hop, request) {
            return None;
        }
        Some(Opening { target, account })
    }

    /// RFC 3261 §8.2.3: a body that must be understood is; otherwise it has been answered.
    pub(super) fn body_is_understood(&mut self, peer: Peer, hop: &Hop, request: &Message) -> bool {
        let mut refuse = |status: u16, headers: &[(&str, &str)]| {
            self.answer_once(peer, hop, request, Answer { status, headers, ..Answer::default() });
            false
        };
        let encoded =
            request.values(HeaderName::ContentEncoding).any(|v| !v.eq_ignore_ascii_case(b"identity"));
        if encoded {
            return refuse(415, &[("Accept-Encoding", "identity")]);
        }
        if !request.body().is_empty() && request.sdp().is_none() {
            let optional = request
                .header(HeaderName::ContentDisposition)
                .and_then(|v| lex::param(v, b"handling"))
                .is_some_and(|h| h.eq_ignore_ascii_case(b"optional"));
            if !optional {
                return refuse(415, &[("Accept", SDP)]);
            }
        }
        // RFC 3261 §20.1: an Accept without SDP leaves no way to answer the INVITE.
        let accepts = |v: &[u8]| {
            let end = v.iter().position(|&b| b == b';').unwrap_or(v.len());
            [&b"application/sdp"[..], b"application/*", b"*/*"]
                .iter()
                .any(|t| lex::trim(&v[..end]).eq_ignore_ascii_case(t))
        };
        if request.header(HeaderName::Accept).is_some() && !request.values(HeaderName::Accept).any(accepts) {
            return refuse(406, &[]);
        }
        true
    }

    fn incoming(&mut self, now: Instant, peer: Peer, hop: Hop, request: Message, opening: Opening) {
        if self.calls.len() >= self.settings.calls_max {
            self.overloaded(peer, &hop, &request);
            return;
        }
        let replaces = match self.call_replaced_by(&request) {
            Ok(replaces) => replaces,
            Err(status) => {
                self.answer_once(peer, &hop, &request, Answer { status, ..Answer::default() });
                return;
            }
        };
        let tag = self.random.next_u64();
        let seq = (self.random.next_u64() & 0xffff) as u32;
        let Ok(dialog) = Dialog::callee(&request, &lex::hex16(tag), seq) else {
            let answer = Answer { status: 400, reason: "Bad Contact or Record-Route", ..Answer::default() };
            self.answer_once(peer, &hop, &request, answer);
            return;
        };
        let Ok(transaction) = self.transactions.serve(&request, hop, Owner::Nobody) else {
            self.overloaded(peer, &hop, &request);
            return;
        };
        let user = opening.target.user().unwrap_or_default().into_owned();
        let mut call = Call::new(peer, hop, Stage::Offered, tag, contact_on(&user, &hop));
        let request = Arc::new(request);
        call.dialog = Some(dialog);
        call.transaction = Some(transaction);
        call.request = Some(request.clone());
        let key = self.insert_call(call);
        self.transactions.set_owner(transaction, Owner::Served(key));
        self.set_timer(key, CallTimer::Trying, Some(now + TRYING_AFTER));
        let Opening { target, account } = opening;
        self.event(Event::Incoming(Box::new(Incoming {
            call: key,
            peer,
            account,
            hop,
            request,
            target,
            replaces,
        })));
    }
}

/// The option tags a request requires and that are not supported here; `None` without any.
pub(super) fn required(request: &Message) -> Option<String> {
    let mut list = String::new();
    let supported = |tag: &&[u8]| match request.method() {
        Some(Method::Invite) => tag.eq_ignore_ascii_case(b"replaces"),
        Some(Method::Refer) => tag.eq_ignore_ascii_case(b"norefersub"),
        Some(_) | None => false,
    };
    for tag in request.values(HeaderName::Require).filter(|tag| !supported(tag)) {
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(&String::from_utf8_lossy(tag));
    }
    (!list.is_empty()).then_some(list)
}
