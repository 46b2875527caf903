//! One leg hears another, or many: the routing of sound by flows that join legs themselves.

use tipring_model::flow::{ActionFailure, Hear, MIX_MAX, Outcome};
use tipring_model::line::LineCommand;
use tipring_model::{ActionId, LegId};

use crate::actions::{Running, Work};
use crate::call::Call;
use crate::contract::{CallOutput, MediaCommand};
use crate::leg::{Leg, LegState};

/// One direction of sound.
pub(crate) struct HearWork {
    pub(crate) spec: Hear,
    /// The engine was told. Before, one of the two has no sound yet.
    is_connected: bool,
}

/// What a leg hears of many.
pub(crate) struct MixWork {
    /// Those that have had no sound yet.
    waiting: Vec<LegId>,
    /// Those that the engine was told of.
    heard: Vec<LegId>,
}

impl Call {
    /// The caller is told that sound comes before the answer.
    pub(crate) fn begin_early_media(&mut self, id: ActionId, on: LegId) {
        let Some(leg) = self.leg_mut(on) else { return };
        match leg.state {
            LegState::Offered { .. } => {
                leg.state = LegState::Offered { alerted: true };
                let was_early = std::mem::replace(&mut leg.is_early, true);
                if !was_early {
                    self.line_command(LineCommand::Alert { leg: on, early_media: true });
                    self.hear_anew(on);
                }
                self.ended(id, Outcome::Done);
            }
            // There is sound already.
            LegState::Answered => self.ended(id, Outcome::Done),
            LegState::Placed { .. } | LegState::Releasing | LegState::Gone => {
                self.ended(id, Outcome::Failed(ActionFailure::LegState));
            }
        }
    }

    pub(crate) fn begin_hear(&mut self, id: ActionId, on: LegId, spec: Hear) {
        let source = self.leg(spec.from).filter(|leg| leg.is_live() && leg.id != on);
        if source.is_none() || self.hears_others(on) {
            return self.ended(id, Outcome::Failed(ActionFailure::LegState));
        }
        self.stop_hearing(on);
        self.run(id, on, None, Work::Hear(HearWork { spec, is_connected: false }));
        self.hear_anew(on);
    }

    /// A leg that joins others hears them, and no longer whom it heard alone.
    pub(crate) fn stop_hearing(&mut self, on: LegId) {
        let is_hear = |running: &Running| running.leg == Some(on) && matches!(running.work, Work::Hear(_));
        if let Some(hear) = self.running.iter().find(|running| is_hear(running)).map(|running| running.id) {
            self.end_hear(hear, Outcome::Cancelled);
        }
    }

    /// Something about the sound of a leg has changed: what waited for it begins.
    pub(crate) fn hear_anew(&mut self, changed: LegId) {
        let mixes: Vec<ActionId> = self
            .running
            .iter()
            .filter(|running| matches!(running.work, Work::Mix(_)))
            .map(|running| running.id)
            .collect();
        for mix in mixes {
            self.mix_anew(mix);
        }
        let waiting: Vec<(ActionId, LegId, Hear)> = self
            .running
            .iter()
            .filter_map(|running| {
                let (Work::Hear(hear), Some(on)) = (&running.work, running.leg) else { return None };
                (!hear.is_connected).then_some((running.id, on, hear.spec))
            })
            .filter(|(_, on, hear)| *on == changed || hear.from == changed)
            .collect();
        for (id, on, spec) in waiting {
            let has_sound = |leg| self.leg(leg).is_some_and(Leg::has_sound);
            if !has_sound(on) || !has_sound(spec.from) {
                continue;
            }
            if let Some(Work::Hear(hear)) = self.work_of(id) {
                hear.is_connected = true;
            }
            self.outputs.push_back(CallOutput::Connect { from: spec.from, to: on });
            if spec.keys {
                self.media(spec.from, MediaCommand::Listen);
            }
            self.meet(on, spec.from);
        }
    }

    pub(crate) fn begin_mix(&mut self, id: ActionId, on: LegId, mut from: Vec<LegId>) {
        from.sort_unstable();
        from.dedup();
        if from.len() > MIX_MAX {
            return self.ended(id, Outcome::Failed(ActionFailure::Limit));
        }
        let is_mix = |running: &Running| running.leg == Some(on) && matches!(running.work, Work::Mix(_));
        let mixes = self.running.iter().any(is_mix);
        let is_booth = self.leg(on).is_some_and(Leg::is_booth);
        if !is_booth || (!mixes && self.is_joined(on)) {
            return self.ended(id, Outcome::Failed(ActionFailure::LegState));
        }
        self.stop_hearing(on);
        from.retain(|source| *source != on && self.leg(*source).is_some_and(Leg::is_live));
        let before = self.running.iter_mut().filter(|running| running.leg == Some(on)).find_map(|running| {
            let Work::Mix(mix) = &mut running.work else { return None };
            Some((running.id, std::mem::take(&mut mix.heard)))
        });
        let mut heard = Vec::new();
        if let Some((earlier, sources)) = before {
            for source in sources {
                if from.contains(&source) {
                    heard.push(source);
                } else {
                    self.outputs.push_back(CallOutput::Disconnect { from: source, to: on });
                }
            }
            self.end_action(earlier, Outcome::Cancelled);
        }
        from.retain(|source| !heard.contains(source));
        self.run(id, on, None, Work::Mix(MixWork { waiting: from, heard }));
        self.mix_anew(id);
    }

    /// Lets a leg hear those of its mix that have sound now.
    fn mix_anew(&mut self, id: ActionId) {
        let found = self.running.iter().find(|running| running.id == id);
        let Some((Some(on), Work::Mix(mix))) = found.map(|running| (running.leg, &running.work)) else {
            return;
        };
        if !self.leg(on).is_some_and(Leg::has_sound) {
            return;
        }
        let is_ready = |source: &&LegId| self.leg(**source).is_some_and(Leg::has_sound);
        let ready: Vec<LegId> = mix.waiting.iter().filter(is_ready).copied().collect();
        for source in ready {
            if let Some(Work::Mix(mix)) = self.work_of(id) {
                mix.waiting.retain(|one| *one != source);
                mix.heard.push(source);
            }
            self.outputs.push_back(CallOutput::Connect { from: source, to: on });
        }
    }

    pub(crate) fn end_mix(&mut self, id: ActionId, outcome: Outcome) {
        let found = self.running.iter().find(|running| running.id == id);
        let Some((Some(on), Work::Mix(mix))) = found.map(|running| (running.leg, &running.work)) else {
            return;
        };
        let heard = mix.heard.clone();
        // With the booth itself all that it heard is gone.
        let is_there = self.leg(on).is_some_and(|leg| leg.state != LegState::Gone);
        for source in heard.into_iter().filter(|_| is_there) {
            self.outputs.push_back(CallOutput::Disconnect { from: source, to: on });
        }
        self.end_action(id, outcome);
    }

    /// A leg is gone: nobody's mix has it any more.
    pub(crate) fn mixes_lose(&mut self, leg: LegId) {
        let mut cut = Vec::new();
        for running in &mut self.running {
            let (Some(on), Work::Mix(mix)) = (running.leg, &mut running.work) else { continue };
            mix.waiting.retain(|one| *one != leg);
            let before = mix.heard.len();
            mix.heard.retain(|one| *one != leg);
            if mix.heard.len() < before {
                cut.push(on);
            }
        }
        self.outputs.extend(cut.into_iter().map(|to| CallOutput::Disconnect { from: leg, to }));
    }

    /// The sound of a leg is over, and another will begin: those who hear it, and whom it hears, wait
    /// for that.
    pub(crate) fn hear_no_more(&mut self, leg: LegId) {
        for running in &mut self.running {
            let is_own = running.leg == Some(leg);
            if let Work::Hear(hear) = &mut running.work
                && (is_own || hear.spec.from == leg)
            {
                hear.is_connected = false;
            }
            if let Work::Mix(mix) = &mut running.work {
                let over: Vec<LegId> =
                    mix.heard.iter().copied().filter(|from| is_own || *from == leg).collect();
                mix.heard.retain(|from| !over.contains(from));
                mix.waiting.extend(over);
            }
        }
    }

    /// Two that hear each other talk: a transfer concerns both.
    fn meet(&mut self, a: LegId, b: LegId) {
        let hears = |on: LegId, from: LegId| {
            self.running.iter().any(|running| {
                running.leg == Some(on)
                    && matches!(&running.work, Work::Hear(hear) if hear.is_connected && hear.spec.from == from)
            })
        };
        if hears(a, b) && hears(b, a) {
            for (from, to) in [(a, b), (b, a)] {
                if let Some(leg) = self.leg_mut(from) {
                    leg.peer = Some(to);
                }
            }
        }
    }

    pub(crate) fn end_hear(&mut self, id: ActionId, outcome: Outcome) {
        let found = self.running.iter().find(|running| running.id == id);
        let Some((Some(on), Work::Hear(hear))) = found.map(|running| (running.leg, &running.work)) else {
            return;
        };
        let (from, is_connected) = (hear.spec.from, hear.is_connected);
        if is_connected {
            self.outputs.push_back(CallOutput::Disconnect { from, to: on });
        }
        for (one, other) in [(on, from), (from, on)] {
            if let Some(leg) = self.leg_mut(one)
                && leg.peer == Some(other)
            {
                leg.peer = None;
            }
        }
        self.end_action(id, outcome);
    }
}
