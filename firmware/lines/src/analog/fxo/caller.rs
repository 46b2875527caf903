//! Who calls, as the exchange tells it: from before the first ring until a second after the
//! answer, by whichever standard is heard first.

use std::time::{Duration, Instant};

use tipring_model::CallerId;

use super::machine::{Fxo, Stage, Timer};
use crate::analog::contract::{HeardCaller, Note, Output};

/// A number that was heard before any ring is kept for so long.
const KEPT_BEFORE_RING: Duration = Duration::from_secs(10);
/// A number is still listened for, so long after the answer.
pub(super) const AFTER_ANSWER: Duration = Duration::from_secs(1);

impl Fxo {
    pub(super) fn caller_heard(&mut self, now: Instant, heard: HeardCaller) {
        let is_first = self.caller.is_none();
        match self.stage {
            Stage::Rest | Stage::Looking(_) if is_first => {
                self.caller = Some(heard);
                self.timers.set(Timer::CallerKept, now + KEPT_BEFORE_RING);
            }
            Stage::Ringing { leg: None, was_refused: false } if is_first => {
                self.caller = Some(heard);
                self.offer_when_known();
            }
            // Too late for the offer; the record has it.
            Stage::Ringing { leg: Some(leg), .. } | Stage::Talking(leg) if is_first && !leg.is_placed() => {
                let note = Note::CallerId(heard.standard);
                self.caller = Some(heard);
                self.outputs.push_back(Output::Note(leg, note));
            }
            Stage::Rest
            | Stage::Ringing { .. }
            | Stage::Looking(_)
            | Stage::Clearing(_)
            | Stage::Seized(_)
            | Stage::Dialling(_)
            | Stage::Supervising(_)
            | Stage::Talking(_) => {}
        }
    }

    /// Who calls, for the offer.
    pub(super) fn caller_or_unknown(&self) -> CallerId {
        self.caller.as_ref().map(|heard| heard.caller.clone()).unwrap_or_default()
    }
}
