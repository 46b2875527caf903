//! The hook flash: hold, a second call, three-way calls.
//!
//! In the American way the flash alone says what is meant. In the European way a digit
//! follows it when there are two parties: 0 drops the other one, 1 drops this one and takes
//! the other, 2 changes between them, 3 joins all three. With one party, either way gives a
//! dial tone.

use std::time::{Duration, Instant};

use tipring_model::{Cause, Digit, LegId};

use super::legs::LegState;
use super::machine::{Fxs, Stage, Timer};
use super::over::Over;
use super::ringing::Beep;
use crate::analog::contract::Sound;
use crate::analog::country::Recall;

/// So long the digit after a flash is waited for.
const RECALL_DIGIT_MAX: Duration = Duration::from_secs(3);

impl Fxs {
    pub(super) fn flash(&mut self, now: Instant) {
        if !self.settings.flash {
            return;
        }
        self.flashed = Some(now);
        let held = self.legs.in_state(LegState::Held);
        match &self.stage {
            Stage::Dialling(_) => match held {
                Some(held) => self.take(held),
                None => self.begin_dialling(now),
            },
            Stage::Over(Over::Break { .. }) | Stage::Rest | Stage::Ringing(_) | Stage::HandsOver { .. } => {}
            Stage::Over(Over::Tone | Over::Howler | Over::Silence) => match self.legs.aside() {
                Some(aside) => self.take(aside),
                None => self.begin_dialling(now),
            },
            Stage::Recall(_) => self.recall_ended(now),
            Stage::Call => self.flash_in_call(now, held),
        }
    }

    fn flash_in_call(&mut self, now: Instant, held: Option<LegId>) {
        if let Some(calling) = self.legs.calling() {
            // A first call that nobody has answered is not left this way.
            if let Some(held) = held {
                self.end_leg(calling, Cause::NormalClearing);
                self.take(held);
            }
            return;
        }
        let talking = self.legs.talking();
        let waiting = self.legs.in_state(LegState::Waiting);
        match (self.recall(), talking.as_slice(), held.or(waiting)) {
            (Recall::Digit, [_, _], None) | (Recall::Digit, [_], Some(_)) => {
                for id in &talking {
                    self.hold(*id);
                }
                self.enter(Stage::Recall(talking));
                self.timers.set(Timer::Recall, now + RECALL_DIGIT_MAX);
                self.play(Sound::RecallTone);
            }
            (Recall::Direct, [_, second], _) => self.end_leg(*second, Cause::NormalClearing),
            (Recall::Direct, [current], Some(other)) => {
                // Who was called second joins the first; who came second is changed with him.
                let called = self.legs.all().get(1).is_some_and(|second| !second.arrived);
                if !(called && self.settings.three_way && held.is_some()) {
                    self.hold(*current);
                }
                self.take(other);
            }
            (_, [current], None) => {
                self.hold(*current);
                self.begin_dialling(now);
            }
            (_, _, _) => {}
        }
    }

    /// The digit after the flash.
    pub(super) fn recall_digit(&mut self, now: Instant, digit: Digit) {
        let Stage::Recall(talked) = &self.stage else { return };
        let talked = talked.clone();
        let other = self.legs.ids().into_iter().find(|id| !talked.contains(id));
        match (digit, talked.as_slice(), other) {
            (Digit::D0, [_], Some(other)) => {
                let is_held = self.legs.get(other).is_some_and(|leg| leg.state == LegState::Held);
                self.end_leg(other, if is_held { Cause::NormalClearing } else { Cause::Busy });
                self.recall_ended(now);
            }
            (Digit::D1, [current], Some(other)) => {
                self.end_leg(*current, Cause::NormalClearing);
                self.take(other);
            }
            (Digit::D2, [_], Some(other)) => self.take(other),
            (Digit::D3, [current], Some(other)) if self.may_join(other) => {
                self.take(*current);
                self.take(other);
            }
            (Digit::D1, [first, second], None) => {
                self.end_leg(*second, Cause::NormalClearing);
                self.take(*first);
            }
            (Digit::D2, [_, second], None) => self.take(*second),
            (_, _, _) => self.recall_ended(now),
        }
    }

    fn may_join(&self, other: LegId) -> bool {
        let is_held = self.legs.get(other).is_some_and(|leg| leg.state == LegState::Held);
        is_held && self.settings.three_way
    }

    /// As before the flash.
    pub(super) fn recall_ended(&mut self, now: Instant) {
        let Stage::Recall(talked) = &self.stage else { return };
        for id in talked.clone() {
            self.take(id);
        }
        if self.legs.in_state(LegState::Waiting).is_some() {
            self.begin_beeps(now, Beep::Again);
        }
    }
}
