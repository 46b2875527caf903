//! How an exchange line stands, for whoever looks or tries it out.

use std::time::{Duration, Instant};

use super::machine::{Fxo, Stage, Timer};
use crate::analog::watch::{Standing, WireState};

impl Fxo {
    /// How the wire stands, and who has it.
    pub(in crate::analog) fn standing(&self) -> Standing {
        let wire = if !self.is_present {
            WireState::Unknown
        } else if self.is_off_hook() {
            WireState::Seized
        } else if !self.has_battery {
            WireState::NoBattery
        } else if self.in_use {
            WireState::InUse
        } else if matches!(self.stage, Stage::Ringing { .. }) || self.ring.is_active() {
            WireState::Ringing
        } else {
            WireState::OnHook
        };
        let rests = self.stage == Stage::Rest && !self.timers.runs(Timer::Guard);
        let is_free = wire == WireState::OnHook && rests && self.caller.is_none();
        let next = self.yields_to.as_ref().map(|(leg, _)| *leg);
        Standing { wire, legs: self.leg().into_iter().chain(next).collect(), is_free }
    }

    /// The line was held for something that was no call: it rests as after one.
    pub(in crate::analog) fn was_held(&mut self, now: Instant) {
        self.timers.set(Timer::Guard, now + self.settings.guard);
    }

    /// How it is dialled: by pulses, and how long dial tone is waited for.
    pub(in crate::analog) const fn dialling(&self) -> (bool, Duration) {
        (self.settings.pulse, self.settings.dial_tone_max)
    }
}
