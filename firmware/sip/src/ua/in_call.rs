//! Requests inside a dialog, the ACK of our 2xx, and the timers of a call.

use std::sync::Arc;
use std::time::Instant;

use super::call::{CallTimer, OwnOffer, PeerOffer, Stage, Unconfirmed, pairs};
use super::event::{CallKey, EndReason, Event, Peer};
use super::serve::required;
use super::transfer::SUPPORTED;
use super::{ALLOW_IN_CALL, Answer, INFO_TYPES, Owner, SDP, TEXT_BYTES_MAX, UserAgent, q850_cause, sdp_of};
use crate::dialog::Fit;
use crate::header::HeaderName;
use crate::hop::Hop;
use crate::lamps::ALLOW_EVENTS;
use crate::lex;
use crate::message::Message;
use crate::method::Method;
use crate::transaction::TransactionId;

impl UserAgent {
    pub(super) fn inside(&mut self, now: Instant, peer: Peer, hop: Hop, request: Message) {
        let found = self.call_of(peer, &hop, request.to_tag(), request.call_id(), request.from_tag());
        let Some(key) = found else {
            self.counters.strangers += 1;
            self.answer_once(peer, &hop, &request, Answer { status: 481, ..Answer::default() });
            return;
        };
        let Some(call) = self.calls.get(key) else { return };
        let Some(dialog) = call.dialog_with(request.call_id(), request.from_tag()) else { return };
        match dialog.receive(&request) {
            Fit::InOrder => {}
            Fit::Stranger => return,
            Fit::OutOfOrder => {
                self.answer_once(peer, &hop, &request, Answer { status: 500, ..Answer::default() });
                return;
            }
        }
        // A peer that comes over a new connection or port is answered there from now on.
        call.hop = Hop { local: call.hop.local, ..hop };
        let offers = request.method() == Some(Method::Invite)
            || (request.method() == Some(Method::Update) && !request.body().is_empty());
        if offers && !self.body_is_understood(peer, &hop, &request) {
            return;
        }
        let owner = if offers { Owner::PeerOffer(key) } else { Owner::Nobody };
        let Ok(transaction) = self.transactions.serve(&request, hop, owner) else {
            self.overloaded(peer, &hop, &request);
            return;
        };
        if let Some(required) = required(&request) {
            let headers = [("Unsupported", required.as_str())];
            let answer = Answer { status: 420, headers: &headers, ..Answer::default() };
            self.answer(now, transaction, &hop, &request, answer);
            return;
        }
        match request.method() {
            Some(Method::Bye) => self.bye(now, key, transaction, &hop, request),
            Some(Method::Invite) => self.peer_offer(now, key, transaction, &hop, request),
            Some(Method::Update) if offers => {
                self.peer_offer(now, key, transaction, &hop, request);
            }
            Some(Method::Update) => {
                let Some(call) = self.calls.get(key) else { return };
                let contact = call.contact.clone();
                if let Some(dialog) = call.dialog_with(request.call_id(), request.from_tag()) {
                    dialog.refresh_target(&request);
                }
                let headers = [("Contact", &*contact)];
                let answer = Answer { status: 200, headers: &headers, ..Answer::default() };
                self.answer(now, transaction, &hop, &request, answer);
            }
            Some(Method::Refer) => self.refer_received(now, key, transaction, &hop, request),
            Some(Method::Notify) => self.notify_received(now, key, transaction, &hop, &request),
            Some(Method::Info) => self.info_received(now, key, transaction, &hop, request),
            Some(Method::Message) => self.message_received(now, key, transaction, &hop, request),
            Some(Method::Options) => self.answer_options(now, transaction, &hop, &request),
            Some(Method::Prack) => {
                self.answer(now, transaction, &hop, &request, Answer { status: 481, ..Answer::default() });
            }
            Some(
                Method::Ack
                | Method::Cancel
                | Method::Register
                | Method::Subscribe
                | Method::Publish
                | Method::Other,
            )
            | None => {
                let headers = [("Allow", ALLOW_IN_CALL)];
                let answer = Answer { status: 405, headers: &headers, ..Answer::default() };
                self.answer(now, transaction, &hop, &request, answer);
            }
        }
    }

    pub(super) fn answer_options(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        hop: &Hop,
        request: &Message,
    ) {
        let tag = self.stateless_tag(request);
        let allow = if request.to_tag().is_empty() { self.allow() } else { ALLOW_IN_CALL };
        let mut headers = vec![
            ("Allow", allow),
            ("Accept", SDP),
            ("Accept-Encoding", "identity"),
            ("Supported", SUPPORTED),
        ];
        if self.phones.is_some() {
            headers.push(("Allow-Events", ALLOW_EVENTS));
        }
        let answer = Answer { status: 200, tag: &tag, headers: &headers, ..Answer::default() };
        self.answer(now, transaction, hop, request, answer);
    }

    fn bye(&mut self, now: Instant, key: CallKey, transaction: TransactionId, hop: &Hop, request: Message) {
        self.answer(now, transaction, hop, &request, Answer { status: 200, ..Answer::default() });
        self.drop_peer_offer(now, key);
        self.drop_refer(now, key);
        let Some(call) = self.calls.get(key) else { return };
        match call.stage {
            Stage::Offered => {
                let tag = lex::hex16(call.local_tag);
                let (hop, open) = (call.hop, call.transaction.zip(call.request.take()));
                if let Some((invite, request)) = open {
                    let answer = Answer { status: 487, tag: &tag, ..Answer::default() };
                    self.answer(now, invite, &hop, &request, answer);
                }
                self.end(key, EndReason::Cancelled);
            }
            Stage::Up => {
                let cause = q850_cause(&request);
                self.ended_by(key, EndReason::RemoteHangUp { cause }, Some(Arc::new(request)));
            }
            // BYE of one early fork of ours: that fork is gone, the INVITE goes on.
            Stage::Placed | Stage::Cancelling => {
                call.forks.retain(|d| !d.is_with(request.call_id(), request.from_tag()));
            }
            // Both hung up: ours is answered by the peer or times out.
            Stage::ByeAfterAck => self.free(key),
            Stage::Ending | Stage::Reporting => {}
        }
    }

    /// Answers 487 to an offer the application will not answer any more.
    pub(super) fn drop_peer_offer(&mut self, now: Instant, key: CallKey) {
        let Some(call) = self.calls.get(key) else { return };
        let hop = call.hop;
        if let Some(offer) = call.peer_offer.take() {
            let answer = Answer { status: 487, ..Answer::default() };
            self.answer(now, offer.transaction, &hop, &offer.request, answer);
        }
    }

    /// A re-INVITE, or an UPDATE with an offer: RFC 3261 §14.2, RFC 3311 §5.2.
    fn peer_offer(
        &mut self,
        now: Instant,
        key: CallKey,
        transaction: TransactionId,
        hop: &Hop,
        request: Message,
    ) {
        let delay = (self.random.below(10) + 1).to_string();
        let Some(call) = self.calls.get(key) else { return };
        let ours_open = call.own_offer.as_ref().is_some_and(|o| o.sent);
        let retry = [("Retry-After", delay.as_str())];
        let refusal = match call.stage {
            Stage::Up if ours_open => Some((491, &[][..])),
            Stage::Up if call.peer_offer.is_some() => Some((500, &retry[..])),
            Stage::Up if call.unconfirmed.is_some() => Some((491, &[][..])),
            Stage::Up => None,
            // Our own offer is open in a call we place; the peer's in one we are offered.
            Stage::Placed => Some((491, &[][..])),
            Stage::Offered => Some((500, &retry[..])),
            Stage::Cancelling | Stage::ByeAfterAck | Stage::Ending | Stage::Reporting => Some((487, &[][..])),
        };
        if let Some((status, headers)) = refusal {
            let answer = Answer { status, headers, ..Answer::default() };
            self.answer(now, transaction, hop, &request, answer);
            return;
        }
        let request = Arc::new(request);
        call.peer_offer = Some(Box::new(PeerOffer { transaction, request: request.clone() }));
        if request.method() == Some(Method::Invite) {
            self.answer(now, transaction, hop, &request, Answer { status: 100, ..Answer::default() });
        }
        self.event(Event::Offer { call: key, sdp: sdp_of(&request) });
    }

    fn info_received(
        &mut self,
        now: Instant,
        key: CallKey,
        transaction: TransactionId,
        hop: &Hop,
        request: Message,
    ) {
        let content_type = request.content_type();
        let takes = self.takes_texts(key);
        let understood = INFO_TYPES.contains(&content_type.as_str()) || (takes && !content_type.is_empty());
        let alive = self.is_alive(key);
        let accept = [("Accept", "application/dtmf-relay, application/dtmf")];
        let packages = [("Recv-Info", "")];
        let (status, headers) = if request.header_text("Info-Package").is_some() {
            // RFC 6086 §4.2.2: no package is supported.
            (469, &packages[..])
        } else if request.body().len() > TEXT_BYTES_MAX {
            (413, &[][..])
        } else if request.body().is_empty() || understood {
            (200, &[][..])
        } else {
            (415, &accept[..])
        };
        self.answer(now, transaction, hop, &request, Answer { status, headers, ..Answer::default() });
        if status == 200 && understood && alive {
            self.event(Event::Info { call: key, content_type, request: Arc::new(request) });
        }
    }

    fn takes_texts(&mut self, key: CallKey) -> bool {
        self.calls.get(key).is_some_and(|call| call.takes_texts)
    }

    fn is_alive(&mut self, key: CallKey) -> bool {
        self.calls.get(key).is_some_and(|call| match call.stage {
            Stage::Offered | Stage::Placed | Stage::Up => true,
            Stage::Cancelling | Stage::ByeAfterAck | Stage::Ending | Stage::Reporting => false,
        })
    }

    /// A MESSAGE inside a call (RFC 3428 §8).
    fn message_received(
        &mut self,
        now: Instant,
        key: CallKey,
        transaction: TransactionId,
        hop: &Hop,
        request: Message,
    ) {
        let is_text = request.content_type().starts_with("text/");
        let (takes, alive) = (self.takes_texts(key), self.is_alive(key));
        let (status, headers) = match (takes, is_text) {
            // Nobody here reads it; the call is not concerned (RFC 5057 §5.1).
            (false, _) => (488, &[][..]),
            (true, false) => (415, &[("Accept", "text/plain, text/*")][..]),
            (true, true) if request.body().len() > TEXT_BYTES_MAX => (413, &[][..]),
            (true, true) => (200, &[][..]),
        };
        self.answer(now, transaction, hop, &request, Answer { status, headers, ..Answer::default() });
        if status == 200 && alive {
            self.event(Event::Message { call: key, request: Arc::new(request) });
        }
    }

    /// Sends the 2xx to an INVITE and repeats it until the ACK (RFC 3261 §13.3.1.4).
    pub(super) fn accept_invite(
        &mut self,
        now: Instant,
        key: CallKey,
        transaction: TransactionId,
        request: &Message,
        sdp: &[u8],
        first: bool,
    ) {
        let Some(call) = self.calls.get(key) else { return };
        let (hop, contact, tag) = (call.hop, call.contact.clone(), lex::hex16(call.local_tag));
        let extras = if first { call.take_extras() } else { Vec::new() };
        let own = [("Contact", &*contact), ("Allow", ALLOW_IN_CALL), ("Supported", SUPPORTED)];
        let headers: Vec<_> = own.into_iter().chain(pairs(&extras)).collect();
        let answer = Answer {
            status: 200,
            reason: "",
            tag: &tag,
            headers: &headers,
            content: (!sdp.is_empty()).then_some((SDP, sdp)),
        };
        let bytes = self.write_answer(request, hop.remote, answer);
        self.transactions.respond(now, transaction, 200, bytes.clone());
        let timing = self.settings.timing;
        if let Some(call) = self.calls.get(key) {
            call.unconfirmed = Some(Box::new(Unconfirmed {
                seq: request.cseq(),
                bytes,
                interval: timing.t1,
                offered: request.sdp().is_none(),
                first,
            }));
        }
        self.set_timer(key, CallTimer::Repeat2xx, Some(now + timing.t1));
        self.set_timer(key, CallTimer::AckMissing, Some(now + timing.give_up()));
    }

    pub(super) fn confirmed(&mut self, now: Instant, key: CallKey, ack: &Message) {
        let Some(call) = self.calls.get(key) else { return };
        if call.unconfirmed.as_ref().is_none_or(|u| u.seq != ack.cseq()) {
            return;
        }
        let Some(done) = call.unconfirmed.take() else { return };
        let stage = call.stage;
        self.set_timer(key, CallTimer::Repeat2xx, None);
        self.set_timer(key, CallTimer::AckMissing, None);
        match stage {
            Stage::Up => {
                let sdp = if done.offered { sdp_of(ack) } else { None };
                self.event(Event::Confirmed { call: key, sdp });
            }
            Stage::ByeAfterAck => self.send_bye(now, key, None),
            Stage::Offered | Stage::Placed | Stage::Cancelling | Stage::Ending | Stage::Reporting => {}
        }
    }

    pub(super) fn call_timer(&mut self, now: Instant, key: CallKey, timer: CallTimer) {
        match timer {
            CallTimer::Repeat2xx => {
                let t2 = self.settings.timing.t2;
                let Some(call) = self.calls.get(key) else { return };
                let hop = call.hop;
                let Some(unconfirmed) = &mut call.unconfirmed else { return };
                unconfirmed.interval = (unconfirmed.interval * 2).min(t2);
                let (bytes, next) = (unconfirmed.bytes.clone(), now + unconfirmed.interval);
                self.send(hop, bytes);
                self.set_timer(key, CallTimer::Repeat2xx, Some(next));
            }
            CallTimer::AckMissing => {
                let Some(call) = self.calls.get(key) else { return };
                call.unconfirmed = None;
                let stage = call.stage;
                self.set_timer(key, CallTimer::Repeat2xx, None);
                match stage {
                    Stage::Up => self.lost(now, key, EndReason::NotConfirmed),
                    Stage::ByeAfterAck => self.send_bye(now, key, None),
                    Stage::Offered | Stage::Placed | Stage::Cancelling | Stage::Ending | Stage::Reporting => {
                    }
                }
            }
            CallTimer::Glare => self.send_own_offer(now, key),
            CallTimer::Trying => {
                self.set_timer(key, CallTimer::Trying, None);
                let waiting = self.calls.get(key).filter(|call| call.stage == Stage::Offered);
                let open = waiting.and_then(|c| Some((c.transaction?, c.hop, c.request.clone()?)));
                if let Some((transaction, hop, request)) = open {
                    let answer = Answer { status: 100, ..Answer::default() };
                    self.answer(now, transaction, &hop, &request, answer);
                }
            }
            CallTimer::RangOut => {
                if self.calls.get(key).is_some_and(|c| c.stage == Stage::Placed) {
                    self.event(Event::Ended { call: key, reason: EndReason::RangOut, message: None });
                    self.give_up_placed(now, key);
                }
            }
        }
    }

    /// The call cannot go on: tells the application and the peer.
    pub(super) fn lost(&mut self, now: Instant, key: CallKey, reason: EndReason) {
        if self.calls.get(key).is_none_or(|c| c.stage != Stage::Up) {
            return;
        }
        self.event(Event::Ended { call: key, reason, message: None });
        self.drop_peer_offer(now, key);
        self.drop_refer(now, key);
        self.send_bye(now, key, None);
    }

    /// Sends BYE and waits for its answer in [`Stage::Ending`].
    pub(super) fn send_bye(&mut self, now: Instant, key: CallKey, cause: Option<u8>) {
        let mut extras = Vec::new();
        if let Some(call) = self.calls.get(key) {
            call.stage = Stage::Ending;
            call.unconfirmed = None;
            call.own_offer = None;
            extras = call.take_extras();
        }
        self.set_timer(key, CallTimer::Glare, None);
        self.set_timer(key, CallTimer::Repeat2xx, None);
        self.set_timer(key, CallTimer::AckMissing, None);
        let reason = cause.map(|c| format!("Q.850;cause={c}"));
        let header = reason.as_deref().map(|r| ("Reason", r));
        let headers: Vec<_> = header.into_iter().chain(pairs(&extras)).collect();
        if !self.send_inside(now, key, Method::Bye, &headers, None, Owner::Bye(key)) {
            self.free(key);
        }
    }

    /// Sends or repeats our re-INVITE.
    pub(super) fn send_own_offer(&mut self, now: Instant, key: CallKey) {
        let Some(call) = self.calls.get(key) else { return };
        let busy = call.peer_offer.is_some() || call.unconfirmed.is_some();
        let Some(OwnOffer { sdp, sent, .. }) = call.own_offer.as_deref_mut() else { return };
        if busy {
            let again = now + self.settings.timing.t1;
            self.set_timer(key, CallTimer::Glare, Some(again));
            return;
        }
        *sent = true;
        let sdp = sdp.clone();
        let content = Some((SDP, &*sdp));
        if !self.send_inside(now, key, Method::Invite, &[], content, Owner::OwnOffer(key)) {
            if let Some(call) = self.calls.get(key) {
                call.own_offer = None;
            }
            self.event(Event::OfferRefused { call: key, status: 503 });
        }
    }

    /// Writes and sends a request inside the confirmed dialog. False when it could not be sent.
    pub(super) fn send_inside(
        &mut self,
        now: Instant,
        key: CallKey,
        method: Method,
        headers: &[(&str, &str)],
        content: Option<(&str, &[u8])>,
        owner: Owner,
    ) -> bool {
        let branch = self.random.next_u64();
        let cnonce = self.random.next_u64();
        let follow = self.settings.follow_contact;
        let Some(call) = self.calls.get(key) else { return false };
        let mut hop = call.hop;
        let Some(dialog) = call.dialog.as_mut() else { return false };
        let seq = dialog.next_seq();
        let target = dialog.target().to_string();
        let authorize = call.digest.as_mut().map(|d| d.authorize(method.as_str(), &target, cnonce));
        if follow && let Some(dialog) = self.calls.get(key).and_then(|c| c.dialog.clone()) {
            hop = self.hop_of(&dialog, hop);
        }
        let Some(call) = self.calls.get(key) else { return false };
        let Some(dialog) = call.dialog.as_ref() else { return false };
        let w = dialog.write(&mut self.writer, method, seq, &hop, branch);
        if method == Method::Invite {
            w.header("Contact", &call.contact);
            w.header("Allow", ALLOW_IN_CALL);
        }
        for (name, value) in authorize.iter().flatten() {
            w.header(name, value);
        }
        for (name, value) in headers {
            w.header(name, value);
        }
        if !self.settings.product.is_empty() {
            w.header("User-Agent", &self.settings.product);
        }
        let bytes: Arc<[u8]> = match content {
            Some((content_type, body)) => w.body(content_type, body).into(),
            None => w.end().into(),
        };
        self.transactions.request(now, branch, method, hop, bytes, owner).is_ok()
    }

    /// True when a Contact-less 2xx or one with a new Contact changes where requests go.
    pub(super) fn refresh_target(&mut self, key: CallKey, message: &Message) {
        if let Some(dialog) = self.calls.get(key).and_then(|c| c.dialog.as_mut())
            && message.header(HeaderName::Contact).is_some()
        {
            dialog.refresh_target(message);
        }
    }
}
