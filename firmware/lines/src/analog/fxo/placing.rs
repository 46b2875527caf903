//! A call is placed: the line is looked at, taken and dialled.
//!
//! Ringing wins over a call that is about to be placed, but an emergency call wins over
//! everything that is no emergency call, and over whatever the line looks like. Whoever talks on the
//! line meanwhile, and whom he talks to, hear a tone before they lose it.

use std::time::{Duration, Instant};

use tipring_model::line::LineEvent;
use tipring_model::{Cause, LegId, Number};

use super::dialling::{self, Step};
use super::machine::{Fxo, Stage, Timer};
use super::ring::RingMeter;
use super::settings::AnswerBy;
use super::supervision::{RINGBACK_MAX, Supervised};
use crate::analog::contract::{AnswerSign, EndSign, Note, Output, Sound};
use crate::port::TxSignal;

/// The line is looked at for so long before it is taken: ringing wins.
const LOOK: Duration = Duration::from_millis(300);
/// Looking takes no longer, whatever comes and goes on the wire.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// A call that rings is answered for so long, to be dropped for an emergency call.
const CLEARING: Duration = Duration::from_secs(1);
/// So long whoever loses the line to an emergency call hears why. The line rests afterwards in any
/// case, for longer.
const PREEMPTION_TONE: Duration = Duration::from_millis(500);

impl Fxo {
    /// Whether a call could be placed now.
    #[must_use]
    pub fn is_free(&self) -> bool {
        // A number that came before any ring says that it is about to ring.
        self.is_usable() && self.stage == Stage::Rest && self.caller.is_none() && !self.ring.is_active()
    }

    /// Whether there is a line that nobody else is on.
    fn is_usable(&self) -> bool {
        self.is_present && self.told.is_ok() && self.has_battery && !self.in_use
    }

    pub(super) fn place(&mut self, now: Instant, id: LegId, to: &Number) {
        let is_next = self.yields_to.as_ref().is_some_and(|(next, _)| *next == id);
        if self.leg() == Some(id) || is_next {
            return; // The same name twice: the leg that has it keeps it.
        }
        let is_emergency = self.plan.emergency.iter().any(|number| number == to.as_str());
        // An emergency call is tried whatever the line looks like: what sees no battery, or another
        // telephone, may be wrong, and whoever is on that one may hear and make room.
        let is_worth_a_try = self.is_usable() || is_emergency && self.is_present;
        if !is_worth_a_try {
            return self.refuse(id);
        }
        let is_taken = self.is_emergency || self.yields_to.is_some();
        if !self.is_free() && (!is_emergency || is_taken) {
            return self.refuse(id);
        }
        let prefix = if is_emergency { "" } else { &self.settings.prefix };
        let international = &self.plan.international_prefix;
        let Some(steps) = dialling::steps(prefix, to, international, self.settings.pulse) else {
            return self.event(LineEvent::Released { leg: id, cause: Cause::InvalidNumber, status: None });
        };
        let rings = matches!(self.stage, Stage::Ringing { .. });
        match self.stage {
            Stage::Ringing { leg: Some(leg), .. } | Stage::Looking(leg) => {
                self.outputs.push_back(Output::Note(leg, Note::End(EndSign::EmergencyCall)));
                self.event(LineEvent::Released { leg, cause: Cause::Preempted, status: None });
                self.end_look();
            }
            Stage::Rest | Stage::Ringing { leg: None, .. } => {}
            Stage::Clearing(leg) | Stage::Seized(leg) | Stage::Dialling(leg) => {
                self.sign_of_end(now, leg, EndSign::EmergencyCall);
            }
            Stage::Supervising(_) | Stage::Talking(_) => return self.yield_to(now, id, to),
        }
        self.caller = None;
        self.steps = steps;
        self.is_emergency = is_emergency;
        self.stage = Stage::Looking(id);
        if rings {
            self.clear(now, id);
        } else if !self.timers.runs(Timer::Guard) {
            self.look(now);
        }
    }

    /// An emergency call needs the line, and somebody is heard on it: he is told so, and the party at
    /// the far end.
    fn yield_to(&mut self, now: Instant, id: LegId, to: &Number) {
        self.steps.clear();
        self.dials = false;
        self.timers.stop(Timer::Dial);
        self.yields_to = Some((id, to.clone()));
        self.timers.set(Timer::Yield, now + PREEMPTION_TONE);
        self.sounds = true;
        self.outputs.push_back(Output::Sound(Sound::PreemptionTone));
    }

    /// The emergency call that waits for the line is given up: whoever has it keeps it. False if it
    /// is none that waits.
    pub(super) fn yields_no_more(&mut self, id: LegId, cause: Cause) -> bool {
        if self.yields_to.take_if(|(next, _)| *next == id).is_none() {
            return false;
        }
        self.timers.stop(Timer::Yield);
        self.quiet();
        self.event(LineEvent::Released { leg: id, cause, status: None });
        true
    }

    /// An emergency call needs the line, and it rings: whoever calls is answered and dropped.
    pub(super) fn clear(&mut self, now: Instant, leg: LegId) {
        for timer in [Timer::Ring, Timer::RingGap, Timer::Look, Timer::LookMax] {
            self.timers.stop(timer);
        }
        // Whoever rings is dropped, and so is what was told of him.
        self.ring = RingMeter::new();
        self.caller = None;
        self.go_off_hook(now);
        self.stage = Stage::Clearing(leg);
        self.timers.set(Timer::Dial, now + CLEARING);
    }

    /// The call that rang is dropped; the line rests, and is taken.
    pub(super) fn cleared(&mut self, now: Instant, leg: LegId) {
        self.off_hook_since = None;
        self.outputs.push_back(Output::Signal(TxSignal::OnHook));
        self.timers.set(Timer::Guard, now + self.settings.guard);
        self.stage = Stage::Looking(leg);
    }

    pub(super) fn refuse(&mut self, leg: LegId) {
        self.event(LineEvent::Released { leg, cause: Cause::NoCircuit, status: None });
    }

    pub(super) fn look(&mut self, now: Instant) {
        self.timers.set(Timer::Look, now + LOOK);
        self.timers.set(Timer::LookMax, now + LOOK_MAX);
    }

    pub(super) fn end_look(&mut self) {
        self.timers.stop(Timer::Look);
        self.timers.stop(Timer::LookMax);
        self.steps.clear();
        self.is_emergency = false;
    }

    /// The line has been looked at: it is taken, unless something is on it.
    pub(super) fn looked(&mut self, now: Instant) {
        let Stage::Looking(leg) = self.stage else { return };
        if self.ring.is_active() {
            return self.timers.set(Timer::Look, now + LOOK);
        }
        if !self.is_emergency && (self.caller.is_some() || self.in_use || !self.has_battery) {
            return self.give_up_look(leg);
        }
        self.timers.stop(Timer::LookMax);
        self.go_off_hook(now);
        self.stage = Stage::Seized(leg);
        self.timers.set(Timer::Dial, now + self.settings.dial_tone_max);
    }

    pub(super) fn give_up_look(&mut self, leg: LegId) {
        self.refuse(leg);
        self.end_look();
        self.stage = Stage::Rest;
    }

    pub(super) fn begin_dialling(&mut self, now: Instant, leg: LegId) {
        self.stage = Stage::Dialling(leg);
        self.next_step(now);
    }

    /// Dials the next step, if there is one.
    pub(super) fn next_step(&mut self, now: Instant) {
        let Some(step) = self.steps.pop_front() else {
            self.dials = false;
            self.timers.stop(Timer::Dial);
            if let Stage::Dialling(leg) = self.stage {
                self.supervise(now, leg);
            }
            return;
        };
        self.dials = true;
        self.timers.set(Timer::Dial, now + step.lasts());
        match step {
            Step::Tones(digits) => {
                self.sounds = true;
                self.outputs.push_back(Output::Sound(Sound::Digits(digits)));
            }
            Step::Pulses(digit) => self.outputs.push_back(Output::Signal(TxSignal::Pulses(digit))),
            Step::Pause => {}
        }
    }

    /// The step that was dialled is over.
    pub(super) fn step_over(&mut self, now: Instant) {
        if self.dials {
            self.quiet();
            self.next_step(now);
        }
    }

    fn supervise(&mut self, now: Instant, leg: LegId) {
        self.stage = Stage::Supervising(leg);
        self.supervised = Supervised::since(now);
        self.outputs.push_back(Output::Join(leg));
        // Whoever called hears the exchange itself: its ring-back, its announcements.
        self.event(LineEvent::Alerting { leg, early_media: true });
        match self.answer_by() {
            AnswerBy::Dialled => self.sign_of_answer(now, leg, AnswerSign::Assumed),
            AnswerBy::Anything => {
                self.timers.set(Timer::Assumed, now + self.settings.answer_assumed_after);
                self.timers.set(Timer::NoAnswer, now + RINGBACK_MAX);
            }
            AnswerBy::Reversal => self.timers.set(Timer::NoAnswer, now + RINGBACK_MAX),
        }
    }
}
