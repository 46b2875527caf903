//! A call is over, and the receiver is not down: what is heard until it is.

use std::time::{Duration, Instant};

use tipring_model::Cause;
use tipring_model::prompt::CallTone;

use super::legs::{Leg, LegState};
use super::machine::{Fxs, Stage, Timer};
use crate::analog::contract::{Output, Sound};
use crate::port::TxSignal;

/// Busy tone lasts so long; then the telephone howls.
const TONE_MAX: Duration = Duration::from_secs(30);
/// The howler lasts so long; then the wire is silent until the receiver is put down.
const HOWLER_MAX: Duration = Duration::from_secs(60);
/// Busy tone lasts so long while somebody is held; then he is taken back.
const TONE_BEFORE_RETURN: Duration = Duration::from_secs(5);
/// After the battery was cut, the hook says nothing for so long (DAHDI's AFTERKEWLTIME).
const LOOP_BREAK_GUARD: Duration = Duration::from_millis(300);

/// What is heard after a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Over {
    /// The battery is cut; what the hook said last, and which tone follows.
    Break {
        /// The receiver is up as far as the wire shows.
        is_up: bool,
        /// What is heard afterwards.
        tone: CallTone,
    },
    Tone,
    Howler,
    Silence,
}

impl Fxs {
    /// A party is gone that was talked to or called.
    pub(super) fn after_call(&mut self, now: Instant, leg: &Leg, cause: Cause) {
        if !self.legs.talking().is_empty() {
            return; // A three-way call has become one of two.
        }
        // Busy tone is also what an exchange lets somebody hear whose far end hung up.
        let is_busy = cause == Cause::Busy || leg.is_answered();
        let tone = if is_busy { CallTone::Busy } else { CallTone::Congestion };
        let was_answered = leg.is_answered() && self.legs.all().is_empty();
        match self.settings.loop_break_ms.filter(|_| was_answered && self.capabilities.loop_break) {
            Some(ms) => {
                self.enter(Stage::Over(Over::Break { is_up: true, tone }));
                self.quiet();
                self.outputs.push_back(Output::Signal(TxSignal::DropBattery { ms }));
                let lasts = Duration::from_millis(ms.into()) + LOOP_BREAK_GUARD;
                self.timers.set(Timer::Over, now + lasts);
            }
            None => self.over(now, tone),
        }
    }

    /// A tone that says that it is over.
    pub(super) fn over(&mut self, now: Instant, tone: CallTone) {
        self.enter(Stage::Over(Over::Tone));
        self.play(Sound::Tone(tone));
        let is_held = self.legs.in_state(LegState::Held).is_some();
        self.timers.set(Timer::Over, now + if is_held { TONE_BEFORE_RETURN } else { TONE_MAX });
    }

    pub(super) fn over_goes_on(&mut self, now: Instant, step: Over) {
        match step {
            Over::Break { is_up: false, .. } => {
                self.is_up = false;
                self.rest(now);
            }
            Over::Break { is_up: true, tone } => self.over(now, tone),
            Over::Tone => match self.legs.in_state(LegState::Held) {
                Some(held) => self.take(held),
                None => {
                    self.stage = Stage::Over(Over::Howler);
                    self.play(Sound::Howler);
                    self.timers.set(Timer::Over, now + HOWLER_MAX);
                }
            },
            Over::Howler => {
                self.stage = Stage::Over(Over::Silence);
                self.quiet();
            }
            Over::Silence => {}
        }
    }
}
