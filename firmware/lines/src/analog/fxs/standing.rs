//! How a telephone stands, for whoever looks or tries it out.

use super::machine::{Fxs, Stage};
use super::over::Over;
use crate::analog::watch::{Standing, WireState};
use crate::port::Cadence;

impl Fxs {
    /// How the wire stands, and who has it.
    pub(in crate::analog) fn standing(&self) -> Standing {
        let wire = if !self.is_present {
            WireState::Unknown
        } else if self.is_up {
            WireState::OffHook
        } else if self.rings {
            WireState::Ringing
        } else {
            WireState::OnHook
        };
        let nobody = match &self.stage {
            Stage::Rest | Stage::Over(Over::Tone | Over::Howler | Over::Silence) => true,
            Stage::Dialling(digits) => digits.is_empty(),
            Stage::Ringing(_)
            | Stage::Recall(_)
            | Stage::Call
            | Stage::HandsOver { .. }
            | Stage::Over(Over::Break { .. }) => false,
        };
        let is_free = nobody && self.is_present && self.legs.all().is_empty();
        Standing { wire, legs: self.legs.ids(), is_free }
    }

    /// How it rings for a call that wants no other ring.
    pub(in crate::analog) fn ring_cadence(&self) -> Cadence {
        self.settings.ring.unwrap_or(self.plan.ring)
    }
}
