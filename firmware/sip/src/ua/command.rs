//! What the application may ask for.

use std::time::Instant;

use super::call::{Call, CallTimer, OwnOffer, Placed, Stage, pairs};
use super::event::{CallKey, CommandError, EndReason, Event, Invite, Peer, ProbeKey, TextMethod};
use super::{Answer, Owner, SDP, UserAgent, contact_on};
use crate::auth::{Credentials, DigestClient};
use crate::dialog::{write_cseq, write_via};
use crate::hop::Hop;
use crate::lamps::DialogIds;
use crate::lex;
use crate::method::Method;
use crate::uri::Uri;

impl UserAgent {
    /// Places a call. Its events follow; the last is [`Event::Ended`].
    ///
    /// # Errors
    /// [`CommandError::Full`]: nothing was sent.
    pub fn invite(&mut self, now: Instant, invite: Invite) -> Result<CallKey, CommandError> {
        if self.calls.len() >= self.settings.calls_max {
            return Err(CommandError::Full);
        }
        let tag = self.random.next_u64();
        let call_id = format!(
            "{}{}",
            String::from_utf8_lossy(&lex::hex16(self.random.next_u64())),
            String::from_utf8_lossy(&lex::hex16(self.random.next_u64())),
        );
        let contact = contact_on(&invite.contact_user, &invite.hop);
        let mut call = Call::new(invite.peer, invite.hop, Stage::Placed, tag, contact);
        call.digest = invite.credentials.clone().map(|c| Box::new(DigestClient::new(c)));
        call.invite = Some(Box::new(Placed { invite, call_id, seq: 1, cancel_sent: false }));
        let key = self.insert_call(call);
        if !self.send_invite(now, key) {
            self.free(key);
            return Err(CommandError::Full);
        }
        let ring_max = self.settings.ring_max;
        self.set_timer(key, CallTimer::RangOut, Some(now + ring_max));
        self.settle(now);
        Ok(key)
    }

    /// Tells the caller that it rings: 180 without early media, 183 with a session description.
    ///
    /// # Errors
    /// [`CommandError::WrongState`] unless the call is incoming and unanswered.
    pub fn ring(&mut self, now: Instant, key: CallKey, sdp: Option<&[u8]>) -> Result<(), CommandError> {
        let call = self.calls.get(key).ok_or(CommandError::NoCall)?;
        let (Stage::Offered, Some(transaction), Some(request)) =
            (call.stage, call.transaction, call.request.clone())
        else {
            return Err(CommandError::WrongState);
        };
        let (hop, contact, tag) = (call.hop, call.contact.clone(), lex::hex16(call.local_tag));
        let extras = call.take_extras();
        self.set_timer(key, CallTimer::Trying, None);
        let headers: Vec<_> = std::iter::once(("Contact", &*contact)).chain(pairs(&extras)).collect();
        let answer = Answer {
            status: if sdp.is_some() { 183 } else { 180 },
            reason: "",
            tag: &tag,
            headers: &headers,
            content: sdp.map(|s| (SDP, s)),
        };
        self.answer(now, transaction, &hop, &request, answer);
        self.settle(now);
        Ok(())
    }

    /// Answers an incoming call. `sdp` is the answer, or the offer when the INVITE had none.
    /// [`Event::Confirmed`] follows.
    ///
    /// # Errors
    /// [`CommandError::WrongState`] unless the call is incoming and unanswered.
    pub fn accept(&mut self, now: Instant, key: CallKey, sdp: &[u8]) -> Result<(), CommandError> {
        let call = self.calls.get(key).ok_or(CommandError::NoCall)?;
        let (Stage::Offered, Some(transaction)) = (call.stage, call.transaction) else {
            return Err(CommandError::WrongState);
        };
        let request = call.request.take().ok_or(CommandError::WrongState)?;
        call.stage = Stage::Up;
        call.transaction = None;
        self.set_timer(key, CallTimer::Trying, None);
        self.accept_invite(now, key, transaction, &request, sdp, true);
        self.settle(now);
        Ok(())
    }

    /// Refuses an incoming call with 300 to 699; an empty `reason` means the usual phrase.
    /// [`Event::Ended`] follows at once.
    ///
    /// # Errors
    /// [`CommandError::WrongState`] unless the call is incoming and unanswered, and for a status
    /// out of range.
    pub fn reject(
        &mut self,
        now: Instant,
        key: CallKey,
        status: u16,
        reason: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), CommandError> {
        let call = self.calls.get(key).ok_or(CommandError::NoCall)?;
        let (Stage::Offered, Some(transaction), 300..=699) = (call.stage, call.transaction, status) else {
            return Err(CommandError::WrongState);
        };
        let request = call.request.take().ok_or(CommandError::WrongState)?;
        let (hop, tag, extras) = (call.hop, lex::hex16(call.local_tag), call.take_extras());
        let headers: Vec<_> = headers.iter().copied().chain(pairs(&extras)).collect();
        let answer = Answer { status, reason, tag: &tag, headers: &headers, content: None };
        self.answer(now, transaction, &hop, &request, answer);
        self.end(key, EndReason::Local);
        self.settle(now);
        Ok(())
    }

    /// Ends a call from any state: 603 before an answer here, CANCEL before an answer there, BYE
    /// after it. `cause` goes out as a Q.850 Reason (RFC 3326). [`Event::Ended`] follows at once.
    ///
    /// # Errors
    /// [`CommandError::NoCall`].
    pub fn hang_up(&mut self, now: Instant, key: CallKey, cause: Option<u8>) -> Result<(), CommandError> {
        let call = self.calls.get(key).ok_or(CommandError::NoCall)?;
        let ended = Event::Ended { call: key, reason: EndReason::Local, message: None };
        match call.stage {
            Stage::Offered => return self.reject(now, key, 603, "", &[]),
            Stage::Placed => {
                self.event(ended);
                self.give_up_placed(now, key);
            }
            Stage::Up => {
                // RFC 3261 §15: the callee must not send BYE before the ACK has come. The
                // unconfirmed 2xx of a later INVITE does not hold it up.
                let waits = call.unconfirmed.as_ref().is_some_and(|u| u.first);
                if waits {
                    call.stage = Stage::ByeAfterAck;
                }
                self.event(ended);
                self.drop_peer_offer(now, key);
                self.drop_refer(now, key);
                if !waits {
                    self.send_bye(now, key, cause);
                }
            }
            Stage::Cancelling | Stage::ByeAfterAck | Stage::Ending | Stage::Reporting => {
                return Err(CommandError::NoCall);
            }
        }
        self.settle(now);
        Ok(())
    }

    /// Offers the peer other media (re-INVITE). [`Event::OfferAnswered`] or
    /// [`Event::OfferRefused`] follows; a 491 is tried again by itself.
    ///
    /// # Errors
    /// [`CommandError::WrongState`] unless the call is answered and no offer of ours is open.
    pub fn offer(&mut self, now: Instant, key: CallKey, sdp: &[u8]) -> Result<(), CommandError> {
        let call = self.calls.get(key).ok_or(CommandError::NoCall)?;
        if call.stage != Stage::Up || call.own_offer.is_some() || call.peer_offer.is_some() {
            return Err(CommandError::WrongState);
        }
        call.own_offer = Some(Box::new(OwnOffer { sdp: sdp.into(), sent: false, glares: 0 }));
        self.send_own_offer(now, key);
        self.settle(now);
        Ok(())
    }

    /// Answers [`Event::Offer`] with 200. `sdp` is the answer, or our offer when the peer sent
    /// none.
    ///
    /// # Errors
    /// [`CommandError::WrongState`] when no offer is open.
    pub fn answer_offer(&mut self, now: Instant, key: CallKey, sdp: &[u8]) -> Result<(), CommandError> {
        let call = self.calls.get(key).ok_or(CommandError::NoCall)?;
        let offer = call.peer_offer.take().ok_or(CommandError::WrongState)?;
        let (hop, contact) = (call.hop, call.contact.clone());
        self.refresh_target(key, &offer.request);
        if offer.request.method() == Some(Method::Invite) {
            self.accept_invite(now, key, offer.transaction, &offer.request, sdp, false);
        } else {
            let headers = [("Contact", &*contact)];
            let answer =
                Answer { status: 200, headers: &headers, content: Some((SDP, sdp)), ..Answer::default() };
            self.answer(now, offer.transaction, &hop, &offer.request, answer);
        }
        self.settle(now);
        Ok(())
    }

    /// Refuses [`Event::Offer`], usually with 488; the call goes on as before.
    ///
    /// # Errors
    /// [`CommandError::WrongState`] when no offer is open, or for a status outside 400 to 699.
    pub fn refuse_offer(&mut self, now: Instant, key: CallKey, status: u16) -> Result<(), CommandError> {
        let call = self.calls.get(key).ok_or(CommandError::NoCall)?;
        if !(400..700).contains(&status) {
            return Err(CommandError::WrongState);
        }
        let offer = call.peer_offer.take().ok_or(CommandError::WrongState)?;
        let hop = call.hop;
        let answer = Answer { status, ..Answer::default() };
        self.answer(now, offer.transaction, &hop, &offer.request, answer);
        self.settle(now);
        Ok(())
    }

    /// Sends an INFO or MESSAGE inside an answered call, with what [`Self::add_headers`] has put
    /// down. Its answer is not reported, except that a 481 ends the call.
    ///
    /// # Errors
    /// [`CommandError::WrongState`] unless the call is answered; [`CommandError::Full`].
    pub fn text(
        &mut self,
        now: Instant,
        key: CallKey,
        method: TextMethod,
        content_type: &str,
        body: &[u8],
    ) -> Result<(), CommandError> {
        let call = self.calls.get(key).ok_or(CommandError::NoCall)?;
        if call.stage != Stage::Up {
            return Err(CommandError::WrongState);
        }
        let extras = call.take_extras();
        let headers: Vec<_> = pairs(&extras).collect();
        let method = match method {
            TextMethod::Info => Method::Info,
            TextMethod::Message => Method::Message,
        };
        let content = Some((content_type, body));
        let sent = self.send_inside(now, key, method, &headers, content, Owner::Info(key));
        self.settle(now);
        if sent { Ok(()) } else { Err(CommandError::Full) }
    }

    /// Whether the application wants what the peer sends by INFO and MESSAGE. Without that, an INFO
    /// of other types than [`INFO_TYPES`](super::INFO_TYPES) and every MESSAGE is refused.
    ///
    /// # Errors
    /// [`CommandError::NoCall`].
    pub fn take_texts(&mut self, key: CallKey, takes: bool) -> Result<(), CommandError> {
        let call = self.calls.get(key).ok_or(CommandError::NoCall)?;
        call.takes_texts = takes;
        Ok(())
    }

    /// Header fields for the next message with which a call is rung, answered, refused, transferred or
    /// ended here, or for the next text in it, once. What is not said by then is dropped with the call.
    ///
    /// # Errors
    /// [`CommandError::NoCall`].
    pub fn add_headers(&mut self, key: CallKey, headers: Vec<(String, String)>) -> Result<(), CommandError> {
        let call = self.calls.get(key).ok_or(CommandError::NoCall)?;
        call.extras = headers;
        Ok(())
    }

    /// Our address in a call, as its Contact says it.
    pub fn contact_of(&mut self, key: CallKey) -> Option<Uri> {
        uri_in(&self.calls.get(key)?.contact)
    }

    /// The address by which the peer of a call reaches somebody else through us: this user, at our
    /// own address and port on the way of the call.
    pub fn address_through_us(&mut self, key: CallKey, user: &str) -> Option<Uri> {
        let hop = self.calls.get(key)?.hop;
        // A user that cannot stand in an address is left out of it.
        uri_in(&contact_on(user, &hop)).filter(|uri| uri.user().is_some_and(|user| !user.is_empty()))
    }

    /// Gives an incoming call the credentials for challenges to our own requests inside it.
    ///
    /// # Errors
    /// [`CommandError::NoCall`].
    pub fn set_credentials(&mut self, key: CallKey, credentials: Credentials) -> Result<(), CommandError> {
        let call = self.calls.get(key).ok_or(CommandError::NoCall)?;
        call.digest = Some(Box::new(DigestClient::new(credentials)));
        Ok(())
    }

    /// Sends further requests of a call another way, as after an address change.
    ///
    /// # Errors
    /// [`CommandError::NoCall`].
    pub fn set_hop(&mut self, key: CallKey, hop: Hop) -> Result<(), CommandError> {
        let call = self.calls.get(key).ok_or(CommandError::NoCall)?;
        let user = call
            .contact
            .strip_prefix('<')
            .and_then(|c| c.strip_suffix('>'))
            .and_then(|c| c.parse::<Uri>().ok())
            .and_then(|u| u.user().map(std::borrow::Cow::into_owned))
            .unwrap_or_default();
        call.hop = hop;
        call.contact = contact_on(&user, &hop).into();
        Ok(())
    }

    /// The URI whose host requests inside a call should reach, for a shell that resolves it.
    pub fn next_hop(&mut self, key: CallKey) -> Option<Uri> {
        self.calls.get(key)?.dialog.as_ref().map(crate::dialog::Dialog::next_hop)
    }

    /// Sends an OPTIONS to learn whether a peer is alive. [`Event::Probed`] follows.
    ///
    /// # Errors
    /// [`CommandError::Full`].
    pub fn probe(&mut self, now: Instant, hop: Hop, target: &Uri) -> Result<ProbeKey, CommandError> {
        self.next_number = self.next_number.wrapping_add(1);
        let probe = ProbeKey(self.next_number);
        let branch = self.random.next_u64();
        let (tag, call_id) = (self.random.next_u64(), self.random.next_u64());
        let contact = contact_on("", &hop);
        let w = self.writer.request(Method::Options, target.as_str());
        write_via(w, &hop, branch);
        w.number("Max-Forwards", 70);
        w.with("From", |out| {
            let address = contact.strip_suffix('>').unwrap_or(&contact);
            out.extend_from_slice(address.as_bytes());
            out.extend_from_slice(b">;tag=");
            out.extend_from_slice(&lex::hex16(tag));
        });
        w.header("To", &format!("<{target}>"));
        w.raw("Call-ID", &lex::hex16(call_id));
        write_cseq(w, 1, Method::Options);
        w.header("Contact", &contact);
        w.header("Accept", SDP);
        if !self.settings.product.is_empty() {
            w.header("User-Agent", &self.settings.product);
        }
        let bytes = w.end().into();
        let sent = self.transactions.request(now, branch, Method::Options, hop, bytes, Owner::Probe(probe));
        self.settle(now);
        sent.map(|_| probe).map_err(|_| CommandError::Full)
    }

    /// Calls that have not ended for the application.
    #[must_use]
    pub fn live_calls(&mut self) -> Vec<CallKey> {
        let keys: Vec<CallKey> = self.calls.keys().collect();
        keys.into_iter()
            .filter(|&key| {
                self.calls.get(key).is_some_and(|c| match c.stage {
                    Stage::Offered | Stage::Placed | Stage::Up => true,
                    Stage::Cancelling | Stage::ByeAfterAck | Stage::Ending | Stage::Reporting => false,
                })
            })
            .collect()
    }

    /// Call-ID and tags of a call, as far as they are known.
    pub fn ids_of(&mut self, key: CallKey) -> Option<DialogIds> {
        let call = self.calls.get(key)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let dialog = call.dialog.as_ref().or_else(|| call.forks.first());
        let call_id = match (dialog, &call.invite) {
            (Some(dialog), _) => text(dialog.call_id()),
            (None, Some(placed)) => placed.call_id.clone(),
            (None, None) => return None,
        };
        Some(DialogIds {
            call_id,
            ours: text(&lex::hex16(call.local_tag)),
            theirs: dialog.map(|dialog| text(dialog.remote_tag())).unwrap_or_default(),
        })
    }

    /// The peer of a call.
    pub fn peer_of(&mut self, key: CallKey) -> Option<Peer> {
        self.calls.get(key).map(|c| c.peer)
    }
}

/// The address between angle brackets.
fn uri_in(contact: &str) -> Option<Uri> {
    contact.strip_prefix('<')?.split('>').next()?.parse().ok()
}
