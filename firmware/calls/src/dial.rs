//! Ringing others and connecting the first that answers.

use std::time::Instant;

use tipring_model::flow::{ActionFailure, Dial, DialOrder, Dialed, Moment, Outcome};
use tipring_model::line::LineCommand;
use tipring_model::prompt::{CallTone, PromptSource};
use tipring_model::{ActionId, Cause, LegId, PlayId, RecordId};

use crate::actions::Work;
use crate::call::Call;
use crate::contract::{CallOutput, MediaCommand};
use crate::leg::{LegState, Purpose};

/// A dial under way.
pub(crate) struct DialWork {
    spec: Dial,
    /// Legs that ring, with the position of their target.
    ringing: Vec<(LegId, usize)>,
    /// Position of the target that is next in turn.
    next: usize,
    /// The most telling refusal so far.
    refusal: Option<Cause>,
    ringback: Option<PlayId>,
    early: Option<LegId>,
    stage: Stage,
}

enum Stage {
    Ringing,
    /// A target answered; the caller's own answer is on its way.
    Answering {
        with: LegId,
        target: usize,
    },
    Talking {
        with: LegId,
        target: usize,
        since: Instant,
        record: Option<RecordId>,
    },
}

impl DialWork {
    pub(crate) fn plays(&self, play: PlayId) -> bool {
        self.ringback == Some(play)
    }

    pub(crate) fn ringback_ended(&mut self, play: PlayId) {
        if self.ringback == Some(play) {
            self.ringback = None;
        }
    }

    fn target_of(&self, leg: LegId) -> Option<usize> {
        self.ringing.iter().find(|(ringing, _)| *ringing == leg).map(|(_, target)| *target)
    }

    fn refused(&mut self, cause: Cause) {
        if self.refusal.is_none_or(|known| telling(cause) > telling(known)) {
            self.refusal = Some(cause);
        }
    }
}

/// How much a refusal says about why nobody answered: a busy telephone says more
/// than one that cannot be reached.
const fn telling(cause: Cause) -> u8 {
    match cause {
        Cause::Busy => 9,
        Cause::Rejected => 8,
        Cause::NoAnswer => 7,
        Cause::NoUserResponse => 6,
        Cause::NotAllowed => 5,
        Cause::Unallocated | Cause::InvalidNumber => 4,
        Cause::Incompatible => 3,
        Cause::NoCircuit | Cause::DestinationOutOfOrder | Cause::NetworkOutOfOrder => 2,
        Cause::NormalClearing
        | Cause::TemporaryFailure
        | Cause::RecoveryOnTimer
        | Cause::Cancelled
        | Cause::AnsweredElsewhere
        | Cause::Unspecified => 1,
    }
}

impl Call {
    pub(crate) fn begin_dial(&mut self, now: Moment, id: ActionId, on: LegId, spec: Dial) {
        if self.leg(on).is_some_and(|leg| leg.peer.is_some()) {
            return self.ended(id, Outcome::Failed(ActionFailure::LegState));
        }
        let at_once = match spec.order {
            DialOrder::AllAtOnce => spec.targets.len(),
            DialOrder::InOrder => 1,
        };
        let due = Some(now.instant + spec.ring_max);
        let work = DialWork {
            spec,
            ringing: Vec::new(),
            next: 0,
            refusal: None,
            ringback: None,
            early: None,
            stage: Stage::Ringing,
        };
        self.run(id, on, due, Work::Dial(work));
        for _ in 0..at_once {
            self.ring_next(now, id);
        }
        self.dial_settled(id);
    }

    fn dial(&mut self, id: ActionId) -> Option<(&mut DialWork, LegId)> {
        let running = self.running.iter_mut().find(|running| running.id == id)?;
        match (&mut running.work, running.leg) {
            (Work::Dial(dial), Some(caller)) => Some((dial, caller)),
            (_, Some(_) | None) => None,
        }
    }

    /// Rings the next target, if there is one.
    fn ring_next(&mut self, now: Moment, id: ActionId) {
        let caller_id = self.facts.from.clone();
        let Some((dial, _)) = self.dial(id) else { return };
        let at = dial.next;
        let Some(target) = dial.spec.targets.get(at).cloned() else { return };
        dial.next += 1;
        let from = dial.spec.caller_id.clone().unwrap_or(caller_id);
        let placed = self.place(now, Purpose::Dialed(id), target, from);
        let Some((dial, _)) = self.dial(id) else { return };
        match placed {
            Some(leg) => dial.ringing.push((leg, at)),
            None => dial.refused(Cause::NoCircuit),
        }
    }

    pub(crate) fn target_alerting(&mut self, id: ActionId, target: LegId, early_media: bool) {
        let Some((dial, caller)) = self.dial(id) else { return };
        if !matches!(dial.stage, Stage::Ringing) {
            return;
        }
        let early = early_media && dial.spec.early_media && dial.early.is_none();
        if early {
            dial.early = Some(target);
        }
        let has_ringback = dial.ringback.is_some() || dial.early.is_some();
        let Some(leg) = self.leg_mut(caller) else { return };
        match leg.state {
            LegState::Offered { alerted } => {
                if early || !alerted {
                    leg.state = LegState::Offered { alerted: true };
                    let alert = LineCommand::Alert { leg: caller, early_media: early };
                    self.outputs.push_back(CallOutput::Line(alert));
                }
            }
            LegState::Answered if !has_ringback => {
                let play = self.play(caller);
                let source = PromptSource::Tone(CallTone::Ringback);
                self.media(caller, MediaCommand::Play { play, source, loops: u32::MAX });
                if let Some((dial, _)) = self.dial(id) {
                    dial.ringback = Some(play);
                }
            }
            LegState::Answered | LegState::Placed { .. } | LegState::Releasing | LegState::Gone => {}
        }
        if early {
            self.stop_ringback(id);
            self.outputs.push_back(CallOutput::Connect { from: target, to: caller });
        }
    }

    fn stop_ringback(&mut self, id: ActionId) {
        let Some((dial, caller)) = self.dial(id) else { return };
        if let Some(play) = dial.ringback {
            self.media(caller, MediaCommand::StopPlay(play));
        }
    }

    /// The first target answered: the others are let go, the caller is answered.
    pub(crate) fn target_answered(&mut self, now: Moment, id: ActionId, with: LegId) {
        let Some((dial, caller)) = self.dial(id) else {
            return self.release(with, Cause::AnsweredElsewhere);
        };
        let target = dial.target_of(with).filter(|_| matches!(dial.stage, Stage::Ringing));
        let Some(target) = target else { return self.release(with, Cause::AnsweredElsewhere) };
        dial.stage = Stage::Answering { with, target };
        let others: Vec<LegId> =
            dial.ringing.drain(..).map(|(leg, _)| leg).filter(|leg| *leg != with).collect();
        let early = dial.early.take().filter(|leg| *leg != with);
        if let Some(running) = self.running.iter_mut().find(|running| running.id == id) {
            running.due = None;
        }
        for leg in others {
            self.release(leg, Cause::AnsweredElsewhere);
        }
        if let Some(early) = early {
            self.outputs.push_back(CallOutput::Disconnect { from: early, to: caller });
        }
        self.stop_ringback(id);
        match self.leg(caller).map(|leg| leg.state) {
            Some(LegState::Answered) => self.connect_dialed(now, id),
            Some(LegState::Offered { .. }) => {
                self.outputs.push_back(CallOutput::Line(LineCommand::Answer { leg: caller }));
            }
            Some(LegState::Placed { .. } | LegState::Releasing | LegState::Gone) | None => {}
        }
    }

    /// The caller's own answer is through.
    pub(crate) fn caller_answered(&mut self, now: Moment, caller: LegId) {
        let waiting = self.running.iter().find(|running| {
            running.leg == Some(caller)
                && matches!(&running.work, Work::Dial(dial) if matches!(dial.stage, Stage::Answering { .. }))
        });
        if let Some(id) = waiting.map(|running| running.id) {
            self.connect_dialed(now, id);
        }
    }

    fn connect_dialed(&mut self, now: Moment, id: ActionId) {
        let Some((dial, caller)) = self.dial(id) else { return };
        let Stage::Answering { with, target } = dial.stage else { return };
        let record = dial.spec.record.clone();
        self.bridge(caller, with);
        let record = record.map(|spec| {
            let record = self.next_record();
            self.media(caller, MediaCommand::Record { record, tag: spec.tag, sides: spec.sides });
            record
        });
        if let Some((dial, _)) = self.dial(id) {
            dial.stage = Stage::Talking { with, target, since: now.instant, record };
        }
    }

    pub(crate) fn target_released(&mut self, now: Moment, id: ActionId, leg: LegId, cause: Cause) {
        let Some((dial, caller)) = self.dial(id) else { return };
        match &dial.stage {
            Stage::Ringing => {
                if dial.target_of(leg).is_none() {
                    return;
                }
                dial.ringing.retain(|(ringing, _)| *ringing != leg);
                dial.refused(cause);
                if dial.early == Some(leg) {
                    dial.early = None;
                    self.outputs.push_back(CallOutput::Disconnect { from: leg, to: caller });
                }
                self.next_in_turn(now, id);
                self.dial_settled(id);
            }
            Stage::Answering { with, target } if *with == leg => {
                let dialed = Dialed { answered: Some(*target), cause, talked: std::time::Duration::ZERO };
                self.end_action(id, Outcome::Dialed(dialed));
            }
            Stage::Talking { with, target, since, record } if *with == leg => {
                let dialed = Dialed { answered: Some(*target), cause, talked: now.instant - *since };
                let record = *record;
                self.unbridge(caller, leg);
                self.stop_record(record.map(|record| (caller, record)));
                self.end_action(id, Outcome::Dialed(dialed));
            }
            // One that lost the race.
            Stage::Answering { .. } | Stage::Talking { .. } => {}
        }
    }

    /// Rings on in turn, with a ring time of its own for each.
    fn next_in_turn(&mut self, now: Moment, id: ActionId) {
        let Some((dial, _)) = self.dial(id) else { return };
        let ring_max = dial.spec.ring_max;
        if !dial.ringing.is_empty() || dial.next >= dial.spec.targets.len() {
            return;
        }
        self.ring_next(now, id);
        if let Some(running) = self.running.iter_mut().find(|running| running.id == id) {
            running.due = Some(now.instant + ring_max);
        }
    }

    /// Nobody is left who could answer.
    fn dial_settled(&mut self, id: ActionId) {
        let Some((dial, _)) = self.dial(id) else { return };
        let nobody = dial.ringing.is_empty() && dial.next >= dial.spec.targets.len();
        if !nobody || !matches!(dial.stage, Stage::Ringing) {
            return;
        }
        let cause = dial.refusal.unwrap_or(Cause::Unspecified);
        self.stop_ringback(id);
        let dialed = Dialed { answered: None, cause, talked: std::time::Duration::ZERO };
        self.end_action(id, Outcome::Dialed(dialed));
    }

    pub(crate) fn dial_timeout(&mut self, now: Moment, id: ActionId) {
        let Some((dial, caller)) = self.dial(id) else { return };
        let late: Vec<LegId> = dial.ringing.drain(..).map(|(leg, _)| leg).collect();
        dial.refused(Cause::NoAnswer);
        let early = dial.early.take();
        for leg in late {
            self.release(leg, Cause::NoAnswer);
        }
        if let Some(early) = early {
            self.outputs.push_back(CallOutput::Disconnect { from: early, to: caller });
        }
        self.next_in_turn(now, id);
        self.dial_settled(id);
    }

    /// Lets go of everybody that the dial has reached or still rings.
    fn release_dialed(&mut self, id: ActionId, cause: Cause) {
        let Some((dial, caller)) = self.dial(id) else { return };
        let mut legs: Vec<LegId> = dial.ringing.drain(..).map(|(leg, _)| leg).collect();
        let record = match &dial.stage {
            Stage::Ringing => None,
            Stage::Answering { with, .. } => {
                legs.push(*with);
                None
            }
            Stage::Talking { with, record, .. } => {
                legs.push(*with);
                *record
            }
        };
        for leg in legs {
            if self.leg(leg).is_some_and(|leg| leg.peer == Some(caller)) {
                self.unbridge(caller, leg);
            }
            self.release(leg, cause);
        }
        self.stop_record(record.map(|record| (caller, record)));
        self.stop_ringback(id);
    }

    pub(crate) fn dial_caller_gone(&mut self, _now: Moment, id: ActionId) {
        self.release_dialed(id, Cause::NormalClearing);
        self.end_action(id, Outcome::LegGone);
    }

    pub(crate) fn cancel_dial(&mut self, _now: Moment, id: ActionId) {
        self.release_dialed(id, Cause::Cancelled);
        self.end_action(id, Outcome::Cancelled);
    }
}
