//! One leg hears another: the routing of sound by flows that join legs themselves.

use tipring_model::flow::{ActionFailure, Hear, Outcome};
use tipring_model::line::LineCommand;
use tipring_model::{ActionId, LegId};

use crate::actions::Work;
use crate::call::Call;
use crate::contract::{CallOutput, MediaCommand};
use crate::leg::LegState;

/// One direction of sound.
pub(crate) struct HearWork {
    pub(crate) spec: Hear,
    /// The engine was told. Before, one of the two has no sound yet.
    is_connected: bool,
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
        if source.is_none() || self.is_joined(on) {
            return self.ended(id, Outcome::Failed(ActionFailure::LegState));
        }
        let before = self.running.iter().find(|one| one.leg == Some(on) && matches!(one.work, Work::Hear(_)));
        if let Some(before) = before.map(|running| running.id) {
            self.end_hear(before, Outcome::Cancelled);
        }
        self.run(id, on, None, Work::Hear(HearWork { spec, is_connected: false }));
        self.hear_anew(on);
    }

    /// Something about the sound of a leg has changed: what waited for it begins.
    pub(crate) fn hear_anew(&mut self, changed: LegId) {
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
            let has_sound = |leg| self.leg(leg).is_some_and(crate::leg::Leg::has_sound);
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

    /// The sound of a leg is over, and another will begin: those who hear it, and whom it hears, wait
    /// for that.
    pub(crate) fn hear_no_more(&mut self, leg: LegId) {
        for running in &mut self.running {
            if let (Work::Hear(hear), on) = (&mut running.work, running.leg)
                && (on == Some(leg) || hear.spec.from == leg)
            {
                hear.is_connected = false;
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
