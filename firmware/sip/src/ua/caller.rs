//! Outgoing calls and every response that comes in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::{CallTimer, FORKS_MAX, Stage};
use super::event::{CallKey, EndReason, Event, Peer};
use super::transfer::SUPPORTED;
use super::{ALLOW_IN_CALL, Owner, SDP, UserAgent, q850_cause, sdp_of};
use crate::dialog::{Dialog, write_cseq, write_via};
use crate::header::HeaderName;
use crate::hop::Hop;
use crate::lex;
use crate::message::Message;
use crate::method::Method;

impl UserAgent {
    /// Sends the INVITE of a placed call, with what its challenges need. False when it could
    /// not be sent.
    pub(super) fn send_invite(&mut self, now: Instant, key: CallKey) -> bool {
        let branch = self.random.next_u64();
        let cnonce = self.random.next_u64();
        let Some(call) = self.calls.get(key) else { return false };
        let Some(placed) = &call.invite else { return false };
        let invite = &placed.invite;
        let target = invite.target.as_str();
        let authorize = call.digest.as_mut().map(|d| d.authorize("INVITE", target, cnonce));
        let hop = call.hop;
        let w = self.writer.request(Method::Invite, target);
        write_via(w, &hop, branch);
        w.number("Max-Forwards", 70);
        for route in &invite.routes {
            w.header("Route", &format!("<{route}>"));
        }
        let tag = lex::hex16(call.local_tag);
        w.with("From", |out| {
            invite.from.write_address(out);
            out.extend_from_slice(b";tag=");
            out.extend_from_slice(&tag);
        });
        w.with("To", |out| invite.to.write_address(out));
        w.header("Call-ID", &placed.call_id);
        write_cseq(w, placed.seq, Method::Invite);
        w.header("Contact", &call.contact);
        w.header("Allow", ALLOW_IN_CALL);
        w.header("Supported", SUPPORTED);
        for (name, value) in authorize.iter().flatten() {
            w.header(name, value);
        }
        for (name, value) in &invite.headers {
            w.header(name, value);
        }
        if !self.settings.product.is_empty() {
            w.header("User-Agent", &self.settings.product);
        }
        let bytes: Arc<[u8]> = w.body(SDP, &invite.sdp).into();
        let owner = Owner::Invite(key);
        match self.transactions.request(now, branch, Method::Invite, hop, bytes, owner) {
            Ok(transaction) => {
                if let Some(call) = self.calls.get(key) {
                    call.transaction = Some(transaction);
                }
                true
            }
            Err(_) => false,
        }
    }

    pub(super) fn response(&mut self, now: Instant, peer: Peer, hop: &Hop, response: Message) {
        let Some((transaction, owner)) = self.transactions.response(now, &response) else {
            self.late_2xx(peer, hop, &response);
            return;
        };
        let response = Arc::new(response);
        let status = response.status().unwrap_or(500);
        match owner {
            Owner::Invite(key) => self.invite_response(now, key, status, &response),
            Owner::OwnOffer(_) if status < 200 => {
                // Nobody rings for a re-INVITE: a peer that falls silent is gone.
                self.transactions.limit(transaction, now + self.settings.timing.give_up());
            }
            Owner::OwnOffer(key) => self.own_offer_response(now, key, status, &response),
            Owner::Bye(key) if status >= 200 => {
                if !(self.challenged(key, status, &response) && self.bye_again(now, key)) {
                    self.free(key);
                }
            }
            Owner::Info(key) if status == 481 || status == 408 => {
                self.lost(now, key, EndReason::Lost);
            }
            Owner::Info(key) if status >= 300 => self.event(Event::TextRefused { call: key, status }),
            Owner::Refer(key) => self.refer_response(now, key, status, &response),
            Owner::Notify(key) if status >= 200 => self.notify_answered(key, status),
            Owner::Register(key) if status >= 200 => {
                self.registration_answered(now, key, &response);
            }
            Owner::Probe(probe) if status >= 200 => {
                self.event(Event::Probed { probe, status: Some(status) });
            }
            Owner::Lamp(tag) if status >= 200 => self.notified(now, tag, Some(status)),
            Owner::Unasked(at) if status >= 200 => self.unasked_answered(now, at),
            Owner::Bye(_)
            | Owner::Info(_)
            | Owner::Notify(_)
            | Owner::Register(_)
            | Owner::Probe(_)
            | Owner::Lamp(_)
            | Owner::Unasked(_)
            | Owner::Served(_)
            | Owner::PeerOffer(_)
            | Owner::Nobody => {}
        }
    }

    fn bye_again(&mut self, now: Instant, key: CallKey) -> bool {
        self.send_inside(now, key, Method::Bye, &[], None, Owner::Bye(key))
    }

    /// A 2xx to an INVITE whose transaction is gone: our ACK was lost for long.
    fn late_2xx(&mut self, peer: Peer, hop: &Hop, response: &Message) {
        let is_2xx = response.status().is_some_and(|s| (200..300).contains(&s));
        if response.cseq_method() == Method::Invite && is_2xx {
            let key = self.call_of(peer, hop, response.from_tag(), response.call_id(), response.to_tag());
            if let Some(key) = key
                && self.repeat_ack(key, response)
            {
                return;
            }
        }
        self.counters.unmatched += 1;
    }

    fn repeat_ack(&mut self, key: CallKey, response: &Message) -> bool {
        let Some(call) = self.calls.get(key) else { return false };
        let hop = call.hop;
        match &call.ack {
            Some((seq, bytes)) if *seq == response.cseq() => {
                let bytes = bytes.clone();
                self.send(hop, bytes);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Takes a 401 or 407; true when the request should be sent again.
    pub(super) fn challenged(&mut self, key: CallKey, status: u16, response: &Message) -> bool {
        if status != 401 && status != 407 {
            if let Some(digest) = self.calls.get(key).and_then(|c| c.digest.as_mut()) {
                digest.settled();
            }
            return false;
        }
        self.calls.get(key).and_then(|c| c.digest.as_mut()).is_some_and(|d| d.challenged(response).is_ok())
    }

    fn invite_response(&mut self, now: Instant, key: CallKey, status: u16, response: &Arc<Message>) {
        let Some(call) = self.calls.get(key) else { return };
        match (status, call.stage) {
            (100..=199, Stage::Placed) => self.progress(key, status, response),
            (100..=199, Stage::Cancelling) => self.send_cancel(now, key),
            (200..=299, Stage::Placed) => self.answered(key, response),
            (200..=299, Stage::Cancelling) => {
                // CANCEL crossed the answer: take the call and end it (RFC 3261 §9.1).
                let Ok(dialog) = Dialog::caller(response) else {
                    self.free(key);
                    return;
                };
                call.dialog = Some(dialog);
                self.send_ack(key, response);
                self.send_bye(now, key, None);
            }
            (200..=299, Stage::Up | Stage::Ending) => self.extra_2xx(now, key, response),
            (300..=699, Stage::Placed) => self.refused(now, key, status, response),
            (300..=699, Stage::Cancelling) => self.free(key),
            (_, Stage::Offered | Stage::Placed | Stage::Cancelling | Stage::Up)
            | (_, Stage::ByeAfterAck | Stage::Ending | Stage::Reporting) => {}
        }
    }

    fn progress(&mut self, key: CallKey, status: u16, response: &Arc<Message>) {
        if status == 100 {
            return;
        }
        let Some(call) = self.calls.get(key) else { return };
        let mut fork = 0;
        if !response.to_tag().is_empty() {
            let known = call.forks.iter().position(|d| d.is_with(response.call_id(), response.to_tag()));
            fork = match known {
                Some(at) => at,
                None => {
                    // Without a Contact there is no dialog, but the news is the same.
                    if call.forks.len() < FORKS_MAX
                        && let Ok(dialog) = Dialog::caller(response)
                    {
                        call.forks.push(dialog);
                    }
                    call.forks.len().saturating_sub(1)
                }
            };
        }
        let (sdp, response) = (sdp_of(response), response.clone());
        self.event(Event::Progress { call: key, status, sdp, fork: fork as u8, response });
    }

    fn answered(&mut self, key: CallKey, response: &Arc<Message>) {
        let Ok(dialog) = Dialog::caller(response) else {
            // A 2xx without a usable Contact cannot even be confirmed.
            self.end(
                key,
                EndReason::Refused {
                    status: 502,
                    reason: "2xx without a usable Contact".to_owned(),
                    cause: None,
                    contacts: Vec::new(),
                    retry_after: None,
                },
            );
            return;
        };
        let Some(call) = self.calls.get(key) else { return };
        call.stage = Stage::Up;
        call.dialog = Some(dialog);
        call.invite = None;
        call.forks = Vec::new();
        if let Some(digest) = &mut call.digest {
            digest.settled();
        }
        self.set_timer(key, CallTimer::RangOut, None);
        self.send_ack(key, response);
        self.event(Event::Answered { call: key, sdp: sdp_of(response), response: response.clone() });
    }

    /// ACKs a 2xx in the call's confirmed dialog (RFC 3261 §13.2.2.4) and keeps the ACK.
    fn send_ack(&mut self, key: CallKey, response: &Message) {
        let branch = self.random.next_u64();
        let Some(call) = self.calls.get(key) else { return };
        let hop = call.hop;
        let Some(dialog) = call.dialog.clone() else { return };
        let (hop, bytes) = self.write_ack(&dialog, hop, response, branch);
        if let Some(call) = self.calls.get(key) {
            call.ack = Some((response.cseq(), bytes.clone()));
        }
        self.send(hop, bytes);
    }

    fn write_ack(&mut self, dialog: &Dialog, hop: Hop, response: &Message, branch: u64) -> (Hop, Arc<[u8]>) {
        let hop = self.hop_of(dialog, hop);
        let w = dialog.write(&mut self.writer, Method::Ack, response.cseq(), &hop, branch);
        (hop, w.end().into())
    }

    /// A 2xx after the first: repeated, or from another fork, which is confirmed and ended
    /// (RFC 3261 §13.2.2.4).
    fn extra_2xx(&mut self, now: Instant, key: CallKey, response: &Message) {
        let branch = self.random.next_u64();
        let Some(call) = self.calls.get(key) else { return };
        let hop = call.hop;
        let ours = call.dialog.as_ref().is_some_and(|d| d.is_with(response.call_id(), response.to_tag()));
        if ours {
            self.repeat_ack(key, response);
            return;
        }
        let known = call.forks.iter().any(|d| d.is_with(response.call_id(), response.to_tag()));
        let Ok(mut dialog) = Dialog::caller(response) else { return };
        let room = call.forks.len() < FORKS_MAX;
        if !known && !room {
            return;
        }
        if !known {
            call.forks.push(dialog.clone());
        }
        let (hop, ack) = self.write_ack(&dialog, hop, response, branch);
        self.send(hop, ack);
        if !known {
            let branch = self.random.next_u64();
            let seq = dialog.next_seq();
            let w = dialog.write(&mut self.writer, Method::Bye, seq, &hop, branch);
            let bytes: Arc<[u8]> = w.end().into();
            // When there is no room for its transaction, the fork times out on its own.
            let _ = self.transactions.request(now, branch, Method::Bye, hop, bytes, Owner::Nobody);
        }
    }

    fn refused(&mut self, now: Instant, key: CallKey, status: u16, response: &Arc<Message>) {
        if status == 401 || status == 407 {
            let again = self.challenged(key, status, response);
            if again
                && let Some(call) = self.calls.get(key)
                && let Some(placed) = &mut call.invite
            {
                placed.seq += 1;
                call.forks = Vec::new();
                if self.send_invite(now, key) {
                    return;
                }
            }
            self.end(key, EndReason::AuthFailed);
            return;
        }
        let contacts = if status < 400 {
            response.addresses(HeaderName::Contact).take(8).map(|a| a.uri).collect()
        } else {
            Vec::new()
        };
        let seconds = response.number(HeaderName::RetryAfter);
        self.ended_by(
            key,
            EndReason::Refused {
                status,
                reason: response.reason(),
                cause: q850_cause(response),
                contacts,
                retry_after: seconds.map(|s| Duration::from_secs(u64::from(s))),
            },
            Some(response.clone()),
        );
    }

    /// Stops a placed call; the application knows already.
    pub(super) fn give_up_placed(&mut self, now: Instant, key: CallKey) {
        self.set_timer(key, CallTimer::RangOut, None);
        if let Some(call) = self.calls.get(key) {
            call.stage = Stage::Cancelling;
        }
        self.send_cancel(now, key);
    }

    /// Sends CANCEL once the INVITE has a provisional answer; before that it has to wait
    /// (RFC 3261 §9.1).
    fn send_cancel(&mut self, now: Instant, key: CallKey) {
        let Some(call) = self.calls.get(key) else { return };
        let Some(transaction) = call.transaction else { return };
        let Some(placed) = &mut call.invite else { return };
        if !placed.cancel_sent {
            placed.cancel_sent = self.transactions.cancel(now, transaction, Owner::Nobody);
        }
    }

    fn own_offer_response(&mut self, now: Instant, key: CallKey, status: u16, response: &Arc<Message>) {
        let Some(call) = self.calls.get(key) else { return };
        let open = call.own_offer.as_ref().is_some_and(|o| o.sent);
        if (200..300).contains(&status) {
            if open {
                call.own_offer = None;
                self.refresh_target(key, response);
                self.challenged(key, status, response);
                self.send_ack(key, response);
                self.event(Event::OfferAnswered { call: key, sdp: sdp_of(response) });
            } else if !self.repeat_ack(key, response) {
                // Hung up meanwhile: the 2xx still wants its ACK.
                self.send_ack(key, response);
            }
            return;
        }
        if !open {
            return;
        }
        if self.challenged(key, status, response) {
            self.send_own_offer(now, key);
            return;
        }
        let spread = self.random.below(1000);
        let Some(call) = self.calls.get(key) else { return };
        let outgoing = call.outgoing;
        if status == 491
            && let Some(offer) = &mut call.own_offer
            && offer.glares < 3
        {
            offer.glares += 1;
            offer.sent = false;
            // RFC 3261 §14.1: 2.1 to 4 s for the owner of the Call-ID, 0 to 2 s otherwise.
            let pause = if outgoing { 2100 + spread * 19 / 10 } else { spread * 2 };
            self.set_timer(key, CallTimer::Glare, Some(now + Duration::from_millis(pause)));
            return;
        }
        call.own_offer = None;
        if status == 481 || status == 408 {
            self.lost(now, key, EndReason::Lost);
        } else {
            self.event(Event::OfferRefused { call: key, status });
        }
    }
}
