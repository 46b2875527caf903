//! Transfer by hanging up: whoever has called a second party and puts the receiver down joins the
//! two.
//!
//! The calls are asked as any telephone asks them ([`LineEvent::Refer`], RFC 3891's Replaces): the
//! first party's leg is to be joined with the second's. Until they say so the receiver's owner is
//! not rung, and nobody is let go. When they do, the two legs become the ends of a patch and go on
//! without the telephone, which is free; each of them ends with the other.

use std::time::{Duration, Instant};

use tipring_model::line::{LineEvent, Referral, TransferStage};
use tipring_model::{Cause, LegId, Number};

use super::legs::LegState;
use super::machine::{Fxs, Stage, Timer};
use crate::analog::contract::Output;

/// The calls have answered by then; otherwise it failed.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Pairs of legs that go on without the telephone; with more, nobody is joined.
const JOINED_MAX: usize = 16;
/// SIP statuses: the other leg is gone; nobody said anything.
const NO_OTHER: u16 = 481;
const NO_ANSWER: u16 = 408;

impl Fxs {
    /// The two that the telephone would join if it were put down now: the second was called by it,
    /// and both have answered. Whoever called by himself is not handed on.
    fn would_join(&self) -> Option<(LegId, LegId)> {
        match self.legs.all() {
            [first, second]
                if self.settings.transfer
                    && self.joined.len() < JOINED_MAX
                    && first.is_answered()
                    && second.is_answered()
                    && !second.arrived =>
            {
                Some((first.id, second.id))
            }
            _ => None,
        }
    }

    /// The receiver is put down. True if two parties are to be joined by that.
    pub(super) fn begins_transfer(&mut self, now: Instant) -> bool {
        let Some((first, second)) = self.would_join() else { return false };
        self.hold(first);
        // The other one hears nothing for the moment; music would be too much.
        if let Some(leg) = self.legs.get_mut(second).filter(|leg| leg.state == LegState::Talking) {
            leg.state = LegState::Held;
            self.outputs.push_back(Output::Part(second));
        }
        self.quiet();
        self.enter(Stage::HandsOver { first, second });
        self.timers.set(Timer::HandOver, now + ANSWER_MAX);
        let party = self.legs.get(second).map(|leg| leg.caller.number_or_anonymous().to_owned());
        let to = party.unwrap_or_default();
        let referral = Box::new(Referral {
            address: format!("sip:{to}@localhost"),
            to: Number::new(&to),
            replaces: Some(second),
            by: format!("<sip:{}@localhost>", self.settings.number),
        });
        self.event(LineEvent::Refer { leg: first, referral });
        true
    }

    /// The calls have nothing against it.
    pub(super) fn transfer(&mut self, now: Instant, leg: LegId, referral: &Referral) {
        let Stage::HandsOver { first, second } = self.stage else { return };
        if leg != first || referral.replaces != Some(second) {
            return;
        }
        // Music for the one that was held is over.
        self.event(LineEvent::Held { leg: first, held: false });
        self.legs.remove(first);
        self.legs.remove(second);
        self.joined.push((first, second));
        self.outputs.push_back(Output::Patch(first, second));
        self.event(LineEvent::Transferring { leg: first, stage: TransferStage::Done });
        self.handed_over(now);
    }

    /// The calls do not want it, or have done something else instead.
    pub(super) fn end_transfer(&mut self, now: Instant, leg: LegId, status: u16) {
        let Stage::HandsOver { first, second } = self.stage else { return };
        if leg != first {
            return;
        }
        if (200..300).contains(&status) {
            // The telephone has done its part: it is out of both calls.
            let stage = TransferStage::Done;
            self.event(LineEvent::Transferring { leg: first, stage });
            for id in [first, second] {
                self.end_leg(id, Cause::NormalClearing);
            }
            self.handed_over(now);
        } else {
            self.hand_over_failed(now, status);
        }
    }

    /// One of the two is gone while they wait.
    pub(super) fn hand_over_lost(&mut self, now: Instant) {
        self.hand_over_failed(now, NO_OTHER);
    }

    /// Nobody said whether they may be joined.
    pub(super) fn hand_over_late(&mut self, now: Instant) {
        self.hand_over_failed(now, NO_ANSWER);
    }

    /// As if there were no transfer: who was called second is let go, the telephone rings for the
    /// first.
    fn hand_over_failed(&mut self, now: Instant, status: u16) {
        let Stage::HandsOver { first, second } = self.stage else { return };
        if self.legs.get(first).is_some() {
            let stage = TransferStage::Failed(status);
            self.event(LineEvent::Transferring { leg: first, stage });
        }
        self.end_leg(second, Cause::NormalClearing);
        match (self.legs.get(first).is_some(), self.is_up) {
            (true, true) => self.take(first),
            (true, false) => self.ring_for(now, first),
            (false, _) => self.handed_over(now),
        }
    }

    /// The telephone is free.
    fn handed_over(&mut self, now: Instant) {
        if self.is_up {
            self.begin_dialling(now);
        } else {
            self.rest(now);
        }
    }

    /// The leg at the other end of a patch, if the two were joined by hanging up.
    pub(in crate::analog) fn patched(&self, leg: LegId) -> Option<LegId> {
        self.joined.iter().find_map(|(first, second)| match leg {
            leg if leg == *first => Some(*second),
            leg if leg == *second => Some(*first),
            _ => None,
        })
    }

    /// A call ends a leg that goes on without the telephone. True if it was one.
    pub(super) fn release_patched(&mut self, leg: LegId, cause: Cause) -> bool {
        let Some(other) = self.patched(leg) else { return false };
        self.joined.retain(|(first, second)| ![*first, *second].contains(&leg));
        self.event(LineEvent::Released { leg, cause, status: None });
        self.event(LineEvent::Released { leg: other, cause: Cause::NormalClearing, status: None });
        true
    }
}
