//! Transfer: another party speaks on a leg from now on, and nobody who works with the leg notices.
//!
//! Three ways lead there:
//!
//! - The far end sends REFER to a number. A new leg is offered, as if the telephone had dialled
//!   that number itself, and goes where the dial plan says. When it is answered, the two legs
//!   become the ends of a patch, and the far end is let go.
//! - The far end sends REFER with Replaces (RFC 3891): the new leg is there already, in another
//!   call of the same telephone, and the two are patched at once.
//! - Another telephone sends INVITE with Replaces: its dialog takes the place of the leg's own.

use std::collections::HashMap;
use std::time::Instant;

use tipring_media::{Command, patch};
use tipring_model::call::Origin;
use tipring_model::flow::Target;
use tipring_model::line::{LineEvent, Offer, ReferReply, Referral, Supervision, TransferStage};
use tipring_model::{CallerId, Cause, LegId, LineId, Number};
use tipring_sip::ua::{self, CallKey, Incoming, Replaced};

use super::facts::phone_caller;
use super::legs::Legs;
use super::stack::{Kind, Stack};

/// Longest Referred-By that is passed on.
const REFERRED_BY_BYTES_MAX: usize = 256;

/// A transfer that a far end asked for.
struct Asked {
    /// The call of the far end, which is told how it goes.
    call: CallKey,
    /// The leg that was offered in its place and is not answered.
    target: Option<LegId>,
    /// The far end has hung up, for this cause; the leg waits for what becomes of it.
    vacant: Option<Cause>,
    rang: bool,
}

/// A leg that was offered in the place of another and is not answered.
#[derive(Clone, Copy)]
struct Offered {
    /// The other one.
    of: LegId,
    line: LineId,
    /// The engine has it already.
    attached: bool,
}

/// Transfers and what came of them.
#[derive(Default)]
pub(super) struct Transfers {
    asked: HashMap<LegId, Asked>,
    targets: HashMap<LegId, Offered>,
    /// Ends of patches: the line, and the other end.
    patched: HashMap<LegId, (LineId, LegId)>,
}

impl Transfers {
    /// Legs without a dialog of their own.
    pub(super) fn len(&self) -> usize {
        self.targets.len() + self.patched.len()
    }

    pub(super) fn is_target(&self, leg: LegId) -> bool {
        self.targets.contains_key(&leg)
    }

    /// The other end, if this leg is one of a patch.
    pub(super) fn other_end(&self, leg: LegId) -> Option<LegId> {
        self.patched.get(&leg).map(|(_, other)| *other)
    }

    /// The line of a leg that has no dialog.
    pub(super) fn line_of(&self, leg: LegId) -> Option<LineId> {
        let of_target = self.targets.get(&leg).map(|offered| offered.line);
        of_target.or_else(|| self.patched.get(&leg).map(|(line, _)| *line))
    }

    fn of_call(&self, call: CallKey) -> Option<LegId> {
        self.asked.iter().find(|(_, asked)| asked.call == call).map(|(leg, _)| *leg)
    }
}

impl Stack {
    // --- A far end asks.

    /// A REFER. What is asked for goes to the leg's call, unless nobody may ask.
    pub(super) fn refer_received(&mut self, now: Instant, call: CallKey, referral: &ua::Referral) {
        let found = self.legs.of(call).map(|(id, leg)| (id, leg.line, leg.released.is_some()));
        let Some((id, line, false)) = found else { return self.report(now, call, 603) };
        if !self.may_transfer(line) {
            tracing::warn!(code = "TR-SIP-TRANSFER", line = line.0, "a trunk asked for a transfer");
            return self.report(now, call, 603);
        }
        let replaces = match referral.replaces {
            Replaced::Nothing => None,
            Replaced::Call(other) => match self.legs.of(other) {
                // Tags of other telephones' calls are no secret: lamps tell them.
                Some((other, leg)) if other != id && leg.line == line => Some(other),
                Some(_) | None => return self.report(now, call, 481),
            },
            Replaced::Unknown => return self.report(now, call, 481),
        };
        let target = &referral.target;
        let to = target.number().map(std::borrow::Cow::into_owned).unwrap_or_default();
        let address = target.as_str().split('?').next().unwrap_or("").to_owned();
        let by = referral.referred_by.as_deref().filter(|by| by.len() <= REFERRED_BY_BYTES_MAX);
        let by = by.map_or_else(|| self.address_of(line), str::to_owned);
        let asked = Asked { call, target: None, vacant: None, rang: false };
        self.transfers.asked.insert(id, asked);
        let referral = Box::new(Referral { to: Number::new(&to), address, replaces, by });
        self.events.push_back((line, LineEvent::Refer { leg: id, referral }));
    }

    /// A stranger at a provider could have the owner pay for his calls.
    fn may_transfer(&self, line: LineId) -> bool {
        self.kind_of(line).is_some_and(|kind| match kind {
            Kind::Trunk(trunk) => trunk.settings.transfer,
            Kind::Phone(_) => true,
        })
    }

    fn address_of(&self, line: LineId) -> String {
        let number = self.kind_of(line).map_or("", |kind| match kind {
            Kind::Trunk(trunk) => trunk.settings.username.as_deref().unwrap_or(""),
            Kind::Phone(phone) => phone.number.as_str(),
        });
        format!("<sip:{number}@{}>", self.options.realm)
    }

    fn report(&mut self, now: Instant, call: CallKey, status: u16) {
        // It fails only where the peer does not want to know any more.
        let _ = self.ua.report_transfer(now, call, status);
    }

    /// The leg's call has nothing against it.
    pub(super) fn transfer(&mut self, now: Instant, id: LegId, from: CallerId, referral: &Referral) {
        // The far end may have hung up before anybody could answer.
        let Some(call) = self.transfers.asked.get(&id).map(|asked| asked.call) else { return };
        let Some(line) = self.legs.get_mut(id).map(|leg| leg.line) else { return };
        match referral.replaces {
            Some(other) => self.join(now, id, other),
            None => {
                let Some(target) = self.next_offered(line) else { return };
                self.set_target(target, Offered { of: id, line, attached: false });
                self.report(now, call, 100);
                let codec = self.legs.get_mut(id).map_or("", |leg| leg.audio.codec_name());
                let origin = Origin { transferred_by: Some(referral.by.clone()), ..Origin::default() };
                let to = referral.to.clone();
                let offer = Offer { leg: target, from, to, origin: Box::new(origin), codec };
                self.events.push_back((line, LineEvent::Offered(offer)));
            }
        }
    }

    fn set_target(&mut self, target: LegId, offered: Offered) {
        if let Some(asked) = self.transfers.asked.get_mut(&offered.of) {
            asked.target = Some(target);
        }
        self.transfers.targets.insert(target, offered);
    }

    /// The new party is in another call of the box, at the other end of `other`.
    fn join(&mut self, now: Instant, id: LegId, other: LegId) {
        let Some(leg) = self.legs.get_mut(other).filter(|leg| leg.released.is_none()) else {
            return self.end_transfer(now, id, 481);
        };
        let (line, placed, answered) = (leg.line, leg.placed, leg.answered);
        let attached = leg.audio.is_attached();
        if self.transfers.asked.contains_key(&other) || (placed && !answered) {
            // It is being transferred itself, or it rings at somebody who is not there yet.
            return self.end_transfer(now, id, 403);
        }
        self.drop_dialogs(now, other);
        if answered {
            self.patch(now, id, other, Offered { of: id, line, attached });
            return;
        }
        // The telephone did not wait for the answer. Its call goes on without it.
        let call = self.transfers.asked.get(&id).map(|asked| asked.call);
        self.set_target(other, Offered { of: id, line, attached });
        if let Some(call) = call {
            self.report(now, call, 100);
        }
        self.transfer_rings(now, other);
    }

    /// Lets go of a leg's far end, and keeps the leg.
    fn drop_dialogs(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.legs.remove(id) else { return };
        for key in leg.keys {
            // Both fail only for a call that has just ended.
            let _ = if leg.answered || leg.placed {
                self.ua.hang_up(now, key, Some(Cause::NormalClearing.q850()))
            } else {
                self.ua.reject(now, key, Cause::Cancelled.sip_status(), "", &[])
            };
        }
    }

    /// A name for a leg that arrives on a line.
    fn next_offered(&mut self, line: LineId) -> Option<LegId> {
        let line = self.lines.iter_mut().find(|known| known.id == line)?;
        line.legs_offered = line.legs_offered.wrapping_add(1);
        Some(LegId::offered(line.id, line.legs_offered))
    }

    fn kind_of(&self, line: LineId) -> Option<&Kind> {
        self.lines.iter().find(|known| known.id == line).map(|line| &line.kind)
    }

    // --- How it goes.

    /// The new party is alerted.
    pub(super) fn transfer_rings(&mut self, now: Instant, target: LegId) {
        let Some(Offered { of: id, line, .. }) = self.transfers.targets.get(&target).copied() else { return };
        let Some(asked) = self.transfers.asked.get_mut(&id) else { return };
        let call = asked.call;
        if !std::mem::replace(&mut asked.rang, true) {
            self.report(now, call, 180);
            let stage = TransferStage::Ringing;
            self.events.push_back((line, LineEvent::Transferring { leg: id, stage }));
        }
    }

    /// The new party is there.
    pub(super) fn transfer_answered(&mut self, now: Instant, target: LegId) {
        if let Some(offered) = self.transfers.targets.remove(&target) {
            let codec = self.patch(now, offered.of, target, offered);
            let supervision = Supervision::Signalled;
            let answered = LineEvent::Answered { leg: target, supervision, codec };
            self.events.push_back((offered.line, answered));
        }
    }

    /// Makes two legs the ends of a patch; the far end that asked for it is let go. The patch
    /// sounds as good as what that far end spoke, whose codec is returned.
    fn patch(&mut self, now: Instant, id: LegId, target: LegId, offered: Offered) -> &'static str {
        let Some(asked) = self.transfers.asked.remove(&id) else { return "" };
        let Some(leg) = self.legs.get_mut(id) else { return "" };
        let (rate, codec, own_line) = (leg.audio.rate(), leg.audio.codec_name(), leg.line);
        let Offered { line, attached, .. } = offered;
        let (near, far) = patch(rate);
        self.media.send(Command::Replace { leg: id, endpoint: near });
        if attached {
            self.media.send(Command::Replace { leg: target, endpoint: far });
        } else {
            self.media.send(Command::attach(target, far));
            self.media.send(Command::Listen { leg: target, inband: true });
        }
        self.transfers.patched.insert(id, (own_line, target));
        self.transfers.patched.insert(target, (line, id));
        // RFC 5589 §6.1: the far end hangs up when it hears that; one that does not is helped.
        self.report(now, asked.call, 200);
        self.drop_dialogs(now, id);
        self.lamp_ends(now, id);
        self.lamp_ends(now, target);
        let stage = TransferStage::Done;
        self.events.push_back((own_line, LineEvent::Transferring { leg: id, stage }));
        codec
    }

    /// The leg that was offered is refused, or nobody answered it.
    pub(super) fn transfer_refused(&mut self, now: Instant, target: LegId, cause: Cause) {
        let Some(Offered { of: id, line, attached }) = self.transfers.targets.remove(&target) else {
            return;
        };
        self.target_over(target, line, cause, attached);
        if let Some(asked) = self.transfers.asked.get_mut(&id) {
            asked.target = None;
        }
        self.end_transfer(now, id, cause.sip_status());
    }

    fn target_over(&mut self, leg: LegId, line: LineId, cause: Cause, attached: bool) {
        if attached {
            self.media.send(Command::Detach { leg });
        }
        self.events.push_back((line, LineEvent::Released { leg, cause, status: None }));
    }

    /// It has taken too long, and the far end has been told.
    pub(super) fn transfer_late(&mut self, now: Instant, call: CallKey) {
        let Some(id) = self.transfers.of_call(call) else { return };
        match self.transfers.asked.get(&id).and_then(|asked| asked.target) {
            Some(target) => self.transfer_refused(now, target, Cause::NoAnswer),
            None => self.end_transfer(now, id, Cause::NoAnswer.sip_status()),
        }
    }

    /// Says how it ended without the leg's being transferred, or with a status below 200 that it is
    /// under way.
    pub(super) fn end_transfer(&mut self, now: Instant, id: LegId, status: u16) {
        if status < 200 {
            if let Some(call) = self.transfers.asked.get(&id).map(|asked| asked.call) {
                self.report(now, call, status);
            }
            return;
        }
        let Some(asked) = self.transfers.asked.remove(&id) else { return };
        self.report(now, asked.call, status);
        let Some(line) = self.legs.get_mut(id).map(|leg| leg.line) else { return };
        let stage = TransferStage::Failed(status);
        self.events.push_back((line, LineEvent::Transferring { leg: id, stage }));
        if let Some(cause) = asked.vacant {
            self.leg_over(now, id, cause, None);
        }
    }

    /// The far end has hung up. True if the leg waits for the new party all the same.
    pub(super) fn stays_vacant(&mut self, now: Instant, id: LegId, cause: Cause) -> bool {
        match self.transfers.asked.get_mut(&id) {
            Some(asked) if asked.target.is_some() => {
                asked.vacant = Some(cause);
                true
            }
            Some(asked) => {
                let call = asked.call;
                self.transfers.asked.remove(&id);
                self.report(now, call, Cause::Cancelled.sip_status());
                false
            }
            None => false,
        }
    }

    /// A leg of ours is to be released: what was to become of it will not. True if that is
    /// all there is to do.
    pub(super) fn release_transferred(&mut self, now: Instant, id: LegId, cause: Cause) -> bool {
        if self.transfers.is_target(id) {
            self.transfer_refused(now, id, cause);
            return true;
        }
        if let Some((line, other)) = self.transfers.patched.remove(&id) {
            let other_line = self.transfers.patched.remove(&other).map_or(line, |(line, _)| line);
            for (leg, line, cause) in [(id, line, cause), (other, other_line, Cause::NormalClearing)] {
                self.media.send(Command::Detach { leg });
                self.events.push_back((line, LineEvent::Released { leg, cause, status: None }));
            }
            return true;
        }
        let Some(asked) = self.transfers.asked.remove(&id) else { return false };
        self.report(now, asked.call, Cause::Cancelled.sip_status());
        if let Some(target) = asked.target
            && let Some(Offered { line, attached, .. }) = self.transfers.targets.remove(&target)
        {
            self.target_over(target, line, Cause::Cancelled, attached);
        }
        if asked.vacant.is_some() {
            self.leg_over(now, id, cause, None);
        }
        asked.vacant.is_some()
    }

    // --- A telephone takes the place of another.

    /// An INVITE with Replaces: the leg gets another dialog, as if its own had changed.
    pub(super) fn take_place(&mut self, now: Instant, incoming: &Incoming, line: LineId, of: CallKey) {
        let refuse = |stack: &mut Self, status| stack.refuse(now, incoming.call, status);
        let random = self.random.next();
        let Some((id, old_line)) = self.legs.of(of).map(|(id, leg)| (id, leg.line)) else {
            return refuse(self, 481);
        };
        if !self.is_phone(line) || !self.is_phone(old_line) || self.transfers.asked.contains_key(&id) {
            return refuse(self, 403);
        }
        let Some(leg) = self.legs.get_mut(id).filter(|leg| leg.released.is_none()) else {
            return refuse(self, 603);
        };
        if leg.answered && line != old_line {
            // RFC 3891 §5: it would cut somebody off, perhaps from an emergency call.
            return refuse(self, 403);
        }
        leg.audio.local.version += 1;
        leg.audio.moves_to(incoming.hop.remote.ip());
        let description = match incoming.request.sdp().map(|offer| leg.audio.take_offer(offer)) {
            None => leg.audio.local.offer(),
            Some(Ok(())) => leg.audio.answer.clone().unwrap_or_default(),
            Some(Err(error)) => return refuse(self, error.status()),
        };
        let was_answered = std::mem::replace(&mut leg.answered, true);
        leg.line = line;
        let old = self.legs.replace_keys(id, incoming.call);
        if self.ua.accept(now, incoming.call, &description).is_err() {
            return self.leg_over(now, id, Cause::RecoveryOnTimer, None);
        }
        let cause = if was_answered { Cause::NormalClearing } else { Cause::AnsweredElsewhere };
        for key in old {
            let _ = self.ua.hang_up(now, key, Some(cause.q850()));
        }
        let offered = incoming.request.sdp().is_some();
        if let Some(leg) = self.legs.get_mut(id)
            && offered
            && leg.audio.connect(id, &self.media, now, random)
            && !was_answered
        {
            self.report_answered(line, id);
        }
        let by = self.kind_of(line).map_or_else(CallerId::default, |kind| match kind {
            Kind::Trunk(_) => CallerId::default(),
            Kind::Phone(phone) => phone_caller(phone),
        });
        self.lamp_moves(now, line, id);
        self.events.push_back((line, LineEvent::Replaced { leg: id, by }));
    }

    fn is_phone(&self, line: LineId) -> bool {
        self.kind_of(line).is_some_and(|kind| matches!(kind, Kind::Phone(_)))
    }

    // --- We ask a far end.

    /// Sends REFER to the far end of a leg.
    pub(super) fn refer(&mut self, now: Instant, id: LegId, to: &Target) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let (line, key) = (leg.line, leg.keys.first().copied());
        let address = match to {
            Target::Sip(address) => Some(format!("sip:{address}")),
            Target::Number(number) | Target::Trunk { number, .. } => {
                key.and_then(|key| self.number_for(line, key, number)).map(|uri| uri.as_str().to_owned())
            }
            Target::Queue { .. } | Target::Session(_) => None,
        };
        let address = address.filter(|address| address.parse::<tipring_sip::Uri>().is_ok());
        let sent = key.zip(address).is_some_and(|(key, address)| self.ua.refer(now, key, &address).is_ok());
        if !sent {
            let reply = ReferReply::Answered(500);
            self.events.push_back((line, LineEvent::Referred { leg: id, reply }));
        }
    }

    /// The address of a number for the far end of a call. A telephone dials by the box; whoever is
    /// behind a trunk knows numbers of its own.
    fn number_for(&mut self, line: LineId, key: CallKey, number: &str) -> Option<tipring_sip::Uri> {
        if self.is_phone(line) {
            return self.ua.address_through_us(key, number);
        }
        let host = self.ua.next_hop(key)?.host().to_owned();
        tipring_sip::Uri::sip(number, &host).ok()
    }

    /// Asks the far end of a leg to take our place in another one.
    pub(super) fn refer_to_leg(&mut self, now: Instant, id: LegId, other: LegId) {
        let found = self.legs.get_mut(id).map(|leg| (leg.line, leg.keys.first().copied()));
        let (line, key) = match (found, self.transfers.line_of(id)) {
            (Some(found), _) => found,
            (None, Some(line)) => (line, None),
            (None, None) => return,
        };
        let other = self.legs.get_mut(other).and_then(|leg| leg.keys.first().copied());
        let address = other.and_then(|other| self.ua.replacing(other));
        let sent = key.zip(address).is_some_and(|(key, address)| self.ua.refer(now, key, &address).is_ok());
        if !sent {
            let reply = ReferReply::Answered(501);
            self.events.push_back((line, LineEvent::Referred { leg: id, reply }));
        }
    }

    pub(super) fn referred(&mut self, call: CallKey, reply: ReferReply) {
        if let Some((leg, found)) = self.legs.of(call) {
            let line = found.line;
            self.events.push_back((line, LineEvent::Referred { leg, reply }));
        }
    }
}

impl Legs {
    /// Gives a leg another call of the user agent; returns those that it had.
    fn replace_keys(&mut self, id: LegId, key: CallKey) -> Vec<CallKey> {
        let Some(mut leg) = self.remove(id) else { return Vec::new() };
        let old = std::mem::replace(&mut leg.keys, vec![key]);
        self.insert(id, leg);
        old
    }
}
