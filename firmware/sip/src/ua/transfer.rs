//! Transfer, both ways: a peer asks us by REFER to call somebody else in its place (RFC 3515),
//! or we ask a peer. NOTIFY says how it went. An INVITE may take the place of a dialog
//! (Replaces, RFC 3891), and a REFER may ask for that.
//!
//! ```text
//! Received REFER           -> Event::Refer
//! report_transfer(100)     -> Send 202, Send NOTIFY "100 Trying"
//! Received BYE             -> Event::Ended; what is still to be reported goes out all the same
//! report_transfer(200)     -> Send NOTIFY "200 OK", the last
//! ```
//!
//! One transfer at a time in a call. A refusal goes out on the REFER itself only with a status
//! that ends neither the dialog nor its use (RFC 5057 §5.1); with any other the REFER is taken
//! and the NOTIFY says it.
//!
//! Deliberately absent: REFER outside a call, subscriptions that are renewed, methods other
//! than INVITE in a Refer-To.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::{Stage, pairs};
use super::event::{CallKey, CommandError, Event, Referral, Replaced};
use super::{Answer, Owner, UserAgent, phrase};
use crate::header::HeaderName;
use crate::hop::Hop;
use crate::lex;
use crate::message::Message;
use crate::method::Method;
use crate::name_addr::NameAddr;
use crate::transaction::TransactionId;
use crate::uri::{Scheme, unescape};

/// How long a transfer may take before the application is told to give it up.
pub const TRANSFER_MAX: Duration = Duration::from_secs(300);

/// Option tags that are understood (RFC 3891, RFC 4488).
pub(super) const SUPPORTED: &str = "replaces, norefersub";

const SIPFRAG: &str = "message/sipfrag;version=2.0";

/// A transfer that a peer asked for.
#[derive(Debug)]
pub(super) struct Transfer {
    /// The REFER until it is answered.
    open: Option<(TransactionId, Hop, Arc<Message>)>,
    /// CSeq of the REFER, which names the subscription.
    id: u32,
    /// The peer wants no NOTIFY (RFC 4488).
    silent: bool,
    due: Option<Instant>,
}

/// A dialog that is to be replaced, as RFC 3891 names it.
#[derive(Debug, PartialEq, Eq)]
struct Replaces<'a> {
    call_id: &'a [u8],
    /// Ours.
    to_tag: &'a [u8],
    /// The peer's.
    from_tag: &'a [u8],
    early_only: bool,
}

impl<'a> Replaces<'a> {
    fn parse(value: &'a [u8]) -> Option<Replaces<'a>> {
        let end = value.iter().position(|&b| b == b';')?;
        let (call_id, params) = (lex::trim(&value[..end]), &value[end..]);
        let tag = |name: &[u8]| lex::param(params, name).filter(|tag| lex::is_token(tag));
        let replaces = Replaces {
            call_id,
            to_tag: tag(b"to-tag")?,
            from_tag: tag(b"from-tag")?,
            early_only: lex::param(params, b"early-only").is_some(),
        };
        lex::is_call_id(call_id).then_some(replaces)
    }
}

/// A text as the value of a header field in an address (RFC 3261 §19.1.2).
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.!~*".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// True for a refusal that leaves the dialog and the call in it alone (RFC 5057 §5.1).
const fn spares_the_call(status: u16) -> bool {
    matches!(status, 400 | 403 | 491 | 500 | 503 | 603)
}

/// The status in the first line of a `message/sipfrag` body.
fn sipfrag_status(body: &[u8]) -> Option<u16> {
    let rest = body.strip_prefix(b"SIP/2.0 ")?;
    lex::number(rest.get(..3)?, 699).map(|status| status as u16).filter(|status| *status >= 100)
}

impl UserAgent {
    // --- A peer asks.

    /// A REFER inside a call.
    pub(super) fn refer_received(
        &mut self,
        now: Instant,
        key: CallKey,
        transaction: TransactionId,
        hop: &Hop,
        request: Message,
    ) {
        let stage = self.calls.get(key).map(|call| call.stage);
        let refusal = match stage {
            Some(Stage::Up) if self.transfers.contains_key(&key) => Some((491, "")),
            Some(Stage::Up) => None,
            Some(Stage::Offered | Stage::Placed) => Some((403, "Not before the answer")),
            Some(Stage::Cancelling | Stage::ByeAfterAck | Stage::Ending | Stage::Reporting) | None => {
                Some((481, ""))
            }
        };
        let referral = match refusal {
            Some(refusal) => Err(refusal),
            None => self.referral(&request),
        };
        let referral = match referral {
            Ok(referral) => referral,
            Err((status, reason)) => {
                let answer = Answer { status, reason, ..Answer::default() };
                self.answer(now, transaction, hop, &request, answer);
                return;
            }
        };
        let silent = request.header_text("Refer-Sub").is_some_and(|v| v.eq_ignore_ascii_case(b"false"));
        let id = request.cseq();
        let request = Arc::new(request);
        let open = Some((transaction, *hop, Arc::clone(&request)));
        self.transfers.insert(key, Transfer { open, id, silent, due: None });
        self.set_transfer_timer(key, Some(now + TRANSFER_MAX));
        self.event(Event::Refer { call: key, referral: Box::new(referral), request });
    }

    /// Whom a REFER asks us to call; otherwise why it is refused.
    fn referral(&mut self, request: &Message) -> Result<Referral, (u16, &'static str)> {
        let mut targets = request.values(HeaderName::ReferTo);
        let (Some(target), None) = (targets.next(), targets.next()) else {
            return Err((400, "One Refer-To is needed"));
        };
        let Ok(NameAddr { uri: target, .. }) = NameAddr::from_bytes(target) else {
            return Err((400, "Bad Refer-To"));
        };
        if target.param("method").is_some_and(|method| !method.eq_ignore_ascii_case("INVITE")) {
            return Err((603, "Only INVITE can be asked for"));
        }
        let wanted: Vec<String> = target
            .headers()
            .filter(|(name, _)| name.eq_ignore_ascii_case("Replaces"))
            .map(|(_, value)| unescape(value).into_owned())
            .collect();
        let replaces = match wanted.as_slice() {
            [] => Replaced::Nothing,
            [value] => {
                let Some(replaces) = Replaces::parse(value.as_bytes()) else {
                    return Err((400, "Bad Replaces in Refer-To"));
                };
                self.replaced(&replaces).map_or(Replaced::Unknown, Replaced::Call)
            }
            [_, _, ..] => return Err((400, "One Replaces is enough")),
        };
        if target.scheme() != Scheme::Tel && target.user().is_none_or(|user| user.is_empty()) {
            return Err((400, "Refer-To names nobody"));
        }
        let referred_by = request.header(HeaderName::ReferredBy);
        let referred_by = referred_by.map(|value| String::from_utf8_lossy(value).into_owned());
        Ok(Referral { target, replaces, referred_by })
    }

    /// The call whose dialog is named.
    fn replaced(&mut self, replaces: &Replaces<'_>) -> Option<CallKey> {
        let key = *self.tags.get(&lex::unhex16(replaces.to_tag)?)?;
        let call = self.calls.get(key)?;
        call.dialog_with(replaces.call_id, replaces.from_tag).is_some().then_some(key)
    }

    /// The call that an INVITE is to take the place of (RFC 3891 §3); otherwise the status
    /// that refuses it.
    pub(super) fn call_replaced_by(&mut self, request: &Message) -> Result<Option<CallKey>, u16> {
        let Some(value) = request.header(HeaderName::Replaces) else { return Ok(None) };
        let replaces = Replaces::parse(value).ok_or(400_u16)?;
        let key = self.replaced(&replaces).ok_or(481_u16)?;
        match self.calls.get(key).map(|call| call.stage) {
            Some(Stage::Up) if replaces.early_only => Err(486),
            Some(Stage::Up | Stage::Placed) => Ok(Some(key)),
            // Only a dialog that began here may be taken over before its answer.
            Some(Stage::Offered) | None => Err(481),
            Some(Stage::Cancelling | Stage::ByeAfterAck | Stage::Ending | Stage::Reporting) => Err(603),
        }
    }

    /// Says how the transfer of a call stands: below 200 that it goes on, from 200 on how it
    /// ended. The first report also answers the REFER. Works after the call has ended, too.
    ///
    /// # Errors
    /// [`CommandError::WrongState`] without a transfer, or after its end.
    pub fn report_transfer(&mut self, now: Instant, key: CallKey, status: u16) -> Result<(), CommandError> {
        let transfer = self.transfers.get_mut(&key).ok_or(CommandError::WrongState)?;
        let (silent, opens) = (transfer.silent, transfer.open.take());
        let mut told = false;
        if let Some((transaction, hop, request)) = opens {
            told = spares_the_call(status);
            let contact = self.calls.get(key).map(|call| call.contact.clone()).unwrap_or_default();
            let headers = [("Contact", &*contact), ("Refer-Sub", "false")];
            let answer = if told {
                Answer { status, ..Answer::default() }
            } else {
                let shown = if silent { &headers[..] } else { &headers[..1] };
                Answer { status: 202, headers: shown, ..Answer::default() }
            };
            self.answer(now, transaction, &hop, &request, answer);
        }
        if !silent && !told {
            self.send_notify(now, key, status);
        }
        if status >= 200 {
            self.transfer_over(key);
        }
        self.settle(now);
        Ok(())
    }

    fn send_notify(&mut self, now: Instant, key: CallKey, status: u16) {
        let Some(transfer) = self.transfers.get(&key) else { return };
        let event = format!("refer;id={}", transfer.id);
        let state = if status < 200 {
            format!("active;expires={}", TRANSFER_MAX.as_secs())
        } else {
            "terminated;reason=noresource".to_owned()
        };
        let contact = self.calls.get(key).map(|call| call.contact.clone()).unwrap_or_default();
        let headers =
            [("Contact", &*contact), ("Event", event.as_str()), ("Subscription-State", state.as_str())];
        let body = format!("SIP/2.0 {status} {}\r\n", phrase(status));
        let content = Some((SIPFRAG, body.as_bytes()));
        // What cannot be sent now is lost to the peer alone: it still has its call.
        let _ = self.send_inside(now, key, Method::Notify, &headers, content, Owner::Notify(key));
    }

    /// The last report is out, or nobody wants one.
    fn transfer_over(&mut self, key: CallKey) {
        self.set_transfer_timer(key, None);
        self.transfers.remove(&key);
        if self.calls.get(key).is_some_and(|call| call.stage == Stage::Reporting) {
            self.free(key);
        }
    }

    /// A call that is over stays for the reports of its transfer; true if it does.
    pub(super) fn stays_to_report(&mut self, key: CallKey) -> bool {
        if !self.transfers.get(&key).is_some_and(|transfer| transfer.open.is_none() && !transfer.silent) {
            self.set_transfer_timer(key, None);
            self.transfers.remove(&key);
            return false;
        }
        let Some(call) = self.calls.get(key) else { return false };
        call.stage = Stage::Reporting;
        true
    }

    /// Answers a REFER whose call ends before the application has said anything to it.
    pub(super) fn drop_refer(&mut self, now: Instant, key: CallKey) {
        let open = self.transfers.get_mut(&key).and_then(|transfer| transfer.open.take());
        if let Some((transaction, hop, request)) = open {
            self.answer(now, transaction, &hop, &request, Answer { status: 481, ..Answer::default() });
            self.set_transfer_timer(key, None);
            self.transfers.remove(&key);
        }
    }

    fn set_transfer_timer(&mut self, key: CallKey, at: Option<Instant>) {
        if let Some(transfer) = self.transfers.get_mut(&key) {
            self.transfer_timers.set(&mut transfer.due, key, at);
        }
    }

    pub(super) fn transfers_due(&mut self, now: Instant) {
        while let Some(key) = self.transfer_timers.pop_due(now) {
            if let Some(transfer) = self.transfers.get_mut(&key) {
                transfer.due = None;
                self.event(Event::TransferLate { call: key });
                // The application answers that; if it does not, the peer must not wait for ever.
                let _ = self.report_transfer(now, key, 408);
            }
        }
    }

    /// The answer to a NOTIFY of ours.
    pub(super) fn notify_answered(&mut self, key: CallKey, status: u16) {
        // RFC 6665 §4.2.2: the peer does not know the subscription any more.
        if status == 481 || status == 489 {
            self.transfer_over(key);
        }
    }

    // --- We ask a peer.

    /// Asks the peer of an answered call to call somebody else in our place.
    /// [`Event::ReferAnswered`] follows, and if it agreed [`Event::ReferNotified`].
    ///
    /// # Errors
    /// [`CommandError::WrongState`] unless the call is answered and no REFER of ours is under
    /// way; [`CommandError::Full`].
    pub fn refer(&mut self, now: Instant, key: CallKey, target: &str) -> Result<(), CommandError> {
        let call = self.calls.get(key).ok_or(CommandError::NoCall)?;
        if call.stage != Stage::Up || call.refers {
            return Err(CommandError::WrongState);
        }
        call.refers = true;
        call.refer_target = target.into();
        call.refer_headers = call.take_extras();
        let sent = self.refer_again(now, key);
        if !sent && let Some(call) = self.calls.get(key) {
            call.refers = false;
        }
        self.settle(now);
        if sent { Ok(()) } else { Err(CommandError::Full) }
    }

    /// The address by which a party takes our place in another call of ours: whom that is with, and
    /// which dialog is replaced (RFC 3891 §3, RFC 5589 §7).
    pub fn replacing(&mut self, key: CallKey) -> Option<String> {
        let call = self.calls.get(key).filter(|call| call.stage == Stage::Up)?;
        let target = call.dialog.as_ref()?.target().as_str().split('?').next()?.to_owned();
        let ids = self.ids_of(key)?;
        let named = format!("{};to-tag={};from-tag={}", ids.call_id, ids.theirs, ids.ours);
        Some(format!("{target}?Replaces={}", escaped(&named)))
    }

    fn refer_again(&mut self, now: Instant, key: CallKey) -> bool {
        let Some(call) = self.calls.get(key) else { return false };
        let (contact, target) = (call.contact.clone(), format!("<{}>", call.refer_target));
        let extras = call.refer_headers.clone();
        let own = [("Contact", &*contact), ("Refer-To", target.as_str()), ("Referred-By", &*contact)];
        let headers: Vec<_> = own.into_iter().chain(pairs(&extras)).collect();
        self.send_inside(now, key, Method::Refer, &headers, None, Owner::Refer(key))
    }

    /// The answer to a REFER of ours.
    pub(super) fn refer_response(&mut self, now: Instant, key: CallKey, status: u16, response: &Message) {
        if status < 200 || (self.challenged(key, status, response) && self.refer_again(now, key)) {
            return;
        }
        self.refer_answered(key, status);
    }

    pub(super) fn refer_answered(&mut self, key: CallKey, status: u16) {
        let Some(call) = self.calls.get(key) else { return };
        if call.stage != Stage::Up || !call.refers {
            return;
        }
        call.refers = status < 300;
        self.event(Event::ReferAnswered { call: key, status });
    }

    /// A NOTIFY inside a call: about a REFER of ours, or about nothing that we asked for.
    pub(super) fn notify_received(
        &mut self,
        now: Instant,
        key: CallKey,
        transaction: TransactionId,
        hop: &Hop,
        request: &Message,
    ) {
        let package = request.header(HeaderName::Event).unwrap_or(&[]);
        let name = package.split(|&b| b == b';').next().unwrap_or(&[]);
        let refers = self.calls.get(key).is_some_and(|call| call.refers && call.stage == Stage::Up);
        let status = if !lex::trim(name).eq_ignore_ascii_case(b"refer") {
            489
        } else if refers {
            200
        } else {
            481
        };
        self.answer(now, transaction, hop, request, Answer { status, ..Answer::default() });
        if status != 200 {
            return;
        }
        let is_last = request
            .header(HeaderName::SubscriptionState)
            .is_some_and(|state| state.get(..10).is_some_and(|s| s.eq_ignore_ascii_case(b"terminated")));
        let outcome = sipfrag_status(request.body());
        if let Some(status) = outcome.filter(|status| *status >= 200) {
            self.refer_over(key, Some(status));
        } else if is_last {
            self.refer_over(key, None);
        }
    }

    fn refer_over(&mut self, key: CallKey, status: Option<u16>) {
        if let Some(call) = self.calls.get(key) {
            call.refers = false;
        }
        self.event(Event::ReferNotified { call: key, status });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_is_named_by_three_things() {
        let named = Replaces::parse(b"12@h ;from-tag=b; to-tag=a;early-only;x=y");
        let wanted = Replaces { call_id: b"12@h", to_tag: b"a", from_tag: b"b", early_only: true };
        assert_eq!(named, Some(wanted));
        for bad in [
            "",
            "12@h",
            "12@h;to-tag=a",
            "12@h;from-tag=a",
            "12@h;to-tag=;from-tag=b",
            "a b;to-tag=a;from-tag=b",
        ] {
            assert_eq!(Replaces::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_fragment_says_a_status() {
        for (body, status) in [
            ("SIP/2.0 200 OK\r\n", Some(200)),
            ("SIP/2.0 100 Trying", Some(100)),
            ("SIP/2.0 603", Some(603)),
            ("SIP/2.0 99 x", None),
            ("SIP/2.0 999 x", None),
            ("SIP/3.0 200 OK", None),
            ("SIP/2.0 2", None),
            ("", None),
        ] {
            assert_eq!(sipfrag_status(body.as_bytes()), status, "{body}");
        }
    }
}
