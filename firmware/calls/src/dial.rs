//! Ringing others and connecting the first that answers.

use std::time::{Duration, Instant};

use tipring_model::flow::{
    Dial, DialEnd, DialOrder, DialTarget, Dialed, LegEvent, Moment, Outcome, Ringback, Target,
};
use tipring_model::line::{LineCommand, PlaceExtras, Supervision};
use tipring_model::prompt::{CallTone, PromptSource};
use tipring_model::{ActionId, Cause, Digit, LegId, PlayId, RecordId};

use crate::actions::Work;
use crate::call::Call;
use crate::contract::{CallOutput, MediaCommand};
use crate::exchange::ExchangeRequest;
use crate::leg::{LegState, Purpose};

/// Rounds do not follow each other faster: targets that refuse at once are not flooded.
const ROUND_MIN: Duration = Duration::from_secs(1);
/// Longest time that a flow may hold a target before it accepts it.
const HELD_MAX: Duration = Duration::from_secs(300);

/// A dial under way.
pub(crate) struct DialWork {
    pub(crate) spec: Dial,
    /// Rounds begun.
    round: u32,
    began: Instant,
    /// Targets that are to be rung, and when.
    pub(crate) waiting: Vec<(Instant, usize)>,
    pub(crate) ringing: Vec<Ringing>,
    /// The most telling refusal so far, and its SIP status.
    refusal: Option<(Cause, Option<u16>)>,
    ringback: Option<PlayId>,
    pub(crate) early: Option<LegId>,
    pub(crate) stage: Stage,
    /// Where the exchange knows the call to be, so that others can take it; whether one of
    /// these telephones has answered.
    pub(crate) rung: (Vec<String>, bool),
}

/// A leg that rings.
pub(crate) struct Ringing {
    pub(crate) leg: LegId,
    pub(crate) target: usize,
    until: Instant,
}

#[derive(Clone, Copy)]
pub(crate) enum Stage {
    Ringing,
    /// A target answered, and the flow has not accepted it.
    Held {
        with: LegId,
        target: usize,
        until: Instant,
    },
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
    /// Somebody of another call has taken the caller from where this one rang.
    PickedUp {
        target: usize,
        /// Since when the caller talks.
        since: Option<Instant>,
        record: Option<RecordId>,
    },
}

impl DialWork {
    fn new(spec: Dial, now: Instant) -> Self {
        Self {
            spec,
            round: 0,
            began: now,
            waiting: Vec::new(),
            ringing: Vec::new(),
            refusal: None,
            ringback: None,
            early: None,
            stage: Stage::Ringing,
            rung: (Vec::new(), false),
        }
    }

    pub(crate) fn plays(&self, play: PlayId) -> bool {
        self.ringback == Some(play)
    }

    pub(crate) fn ringback_ended(&mut self, play: PlayId) {
        if self.ringback == Some(play) {
            self.ringback = None;
        }
    }

    /// True if the caller ends the conversation with this key.
    pub(crate) fn ends_with(&self, key: Digit) -> bool {
        matches!(self.stage, Stage::Talking { .. } | Stage::PickedUp { since: Some(_), .. })
            && self.spec.hang_up.contains(key)
    }

    fn refused(&mut self, cause: Cause, status: Option<u16>) {
        if self.refusal.is_none_or(|(known, _)| telling(cause) > telling(known)) {
            self.refusal = Some((cause, status));
        }
    }

    /// Begins a round at `at`.
    fn begin_round(&mut self, at: Instant) {
        self.round += 1;
        self.began = at;
        self.waiting = match self.spec.order {
            DialOrder::AllAtOnce => {
                self.spec.targets.iter().enumerate().map(|(n, target)| (at + target.delay, n)).collect()
            }
            DialOrder::InOrder => self.spec.targets.first().map(|_| (at, 0)).into_iter().collect(),
        };
    }

    /// When the round is over, whoever rings.
    fn round_ends(&self) -> Option<Instant> {
        let of_all = (self.spec.order == DialOrder::AllAtOnce).then_some(self.spec.ring_max);
        of_all.into_iter().chain(self.spec.round_max).min().map(|longest| self.began + longest)
    }

    fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Ringing => {
                let next = self.waiting.iter().map(|(at, _)| *at);
                next.chain(self.ringing.iter().map(|one| one.until)).chain(self.round_ends()).min()
            }
            Stage::Held { until, .. } => Some(until),
            Stage::Answering { .. } | Stage::PickedUp { since: None, .. } => None,
            Stage::Talking { since, .. } | Stage::PickedUp { since: Some(since), .. } => {
                self.spec.talk_max.map(|longest| since + longest)
            }
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
        let Some(state) = self.leg(on).map(|leg| leg.state) else { return };
        if let [DialTarget { target: Target::Queue { .. }, .. }] = spec.targets.as_slice() {
            return self.begin_dequeue(now, id, on, spec);
        }
        let ringback = match &spec.ringback {
            Ringback::Prompt(source) => Some(source.clone()),
            Ringback::Tone | Ringback::ToneOf(_) | Ringback::Silence => None,
        };
        let mut work = DialWork::new(spec, now.instant);
        work.begin_round(now.instant);
        self.run(id, on, None, Work::Dial(Box::new(work)));
        if let Some(source) = ringback {
            if let LegState::Offered { .. } = state {
                self.alert(on, true);
            }
            self.play_ringback(id, source);
        }
        self.ring_due(now, id);
        self.dial_settled(now, id);
    }

    pub(crate) fn dial(&mut self, id: ActionId) -> Option<(&mut DialWork, LegId)> {
        let running = self.running.iter_mut().find(|running| running.id == id)?;
        match (&mut running.work, running.leg) {
            (Work::Dial(dial), Some(caller)) => Some((dial, caller)),
            (_, Some(_) | None) => None,
        }
    }

    /// What the dial waits for has changed.
    pub(crate) fn dial_changed(&mut self, id: ActionId) {
        self.tell_rung(id);
        let Some(running) = self.running.iter_mut().find(|running| running.id == id) else { return };
        if let Work::Dial(dial) = &running.work {
            running.due = dial.due();
        }
    }

    /// Rings those whose time has come.
    fn ring_due(&mut self, now: Moment, id: ActionId) {
        loop {
            let Some((dial, _)) = self.dial(id) else { return };
            let Some(at) = dial.waiting.iter().position(|(at, _)| *at <= now.instant) else { break };
            let (_, target) = dial.waiting.remove(at);
            self.ring(now, id, target);
        }
        self.dial_changed(id);
    }

    fn ring(&mut self, now: Moment, id: ActionId, at: usize) {
        let caller_id = self.facts.from.clone();
        let Some((dial, _)) = self.dial(id) else { return };
        let Some(target) = dial.spec.targets.get(at).cloned() else { return };
        let from = dial.spec.caller_id.clone().unwrap_or(caller_id);
        let until = now.instant + target.ring_max.unwrap_or(dial.spec.ring_max);
        let reports = dial.spec.reports;
        let extras = PlaceExtras {
            headers: target.headers,
            credentials: target.credentials,
            auto_answer: target.auto_answer,
            ..PlaceExtras::default()
        };
        let placed = self.place(now, Purpose::Dialed(id), (target.target, extras), from);
        if let (Some(leg), true) = (placed, reports) {
            self.leg_event(leg, LegEvent::Placed { by: id, target: at });
        }
        let Some((dial, _)) = self.dial(id) else { return };
        match placed {
            Some(leg) => dial.ringing.push(Ringing { leg, target: at, until }),
            None => {
                dial.refused(Cause::NoCircuit, None);
                dial.next_in_turn(now.instant, at);
            }
        }
    }

    /// Tells the flow about the leg of a target, if it wants to know.
    pub(crate) fn report_target(&mut self, id: ActionId, leg: LegId, event: LegEvent) {
        if self.dial(id).is_some_and(|(dial, _)| dial.spec.reports) {
            self.leg_event(leg, event);
        }
    }

    fn alert(&mut self, caller: LegId, early_media: bool) {
        if let Some(leg) = self.leg_mut(caller) {
            leg.state = LegState::Offered { alerted: true };
            self.outputs.push_back(CallOutput::Line(LineCommand::Alert { leg: caller, early_media }));
        }
    }

    fn play_ringback(&mut self, id: ActionId, source: PromptSource) {
        let Some((_, caller)) = self.dial(id) else { return };
        let play = self.play(caller);
        self.media(caller, MediaCommand::Play { play, source, loops: u32::MAX });
        if let Some((dial, _)) = self.dial(id) {
            dial.ringback = Some(play);
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
        let tone = match &dial.spec.ringback {
            Ringback::Tone => Some(PromptSource::Tone(CallTone::Ringback)),
            Ringback::ToneOf(country) => Some(PromptSource::ToneOf(country.clone(), CallTone::Ringback)),
            Ringback::Prompt(_) | Ringback::Silence => None,
        };
        let Some(leg) = self.leg(caller) else { return };
        match (leg.state, tone) {
            (LegState::Offered { alerted }, _) => {
                if early || !alerted {
                    self.alert(caller, early);
                }
            }
            (LegState::Answered, Some(tone)) if !has_ringback => self.play_ringback(id, tone),
            (LegState::Answered | LegState::Placed { .. } | LegState::Releasing | LegState::Gone, _) => {}
        }
        if early {
            self.stop_ringback(id);
            self.outputs.push_back(CallOutput::Connect { from: target, to: caller });
        }
    }

    pub(crate) fn stop_ringback(&mut self, id: ActionId) {
        let Some((dial, caller)) = self.dial(id) else { return };
        if let Some(play) = dial.ringback {
            self.media(caller, MediaCommand::StopPlay(play));
        }
    }

    /// The first target answered: the others are let go. The caller is answered now, or
    /// when the flow accepts the target.
    pub(crate) fn target_answered(&mut self, now: Moment, id: ActionId, with: LegId) {
        let Some((dial, caller)) = self.dial(id) else {
            return self.release(with, Cause::AnsweredElsewhere);
        };
        let target = dial.ringing.iter().find(|one| one.leg == with).map(|one| one.target);
        let Some(target) = target.filter(|_| matches!(dial.stage, Stage::Ringing)) else {
            return self.release(with, Cause::AnsweredElsewhere);
        };
        let held = dial.spec.reports && dial.spec.targets.get(target).is_some_and(|target| target.held);
        dial.stage = if held {
            Stage::Held { with, target, until: now.instant + HELD_MAX }
        } else {
            Stage::Answering { with, target }
        };
        let others: Vec<LegId> =
            dial.ringing.drain(..).map(|one| one.leg).filter(|leg| *leg != with).collect();
        dial.waiting.clear();
        let early = dial.early.take().filter(|leg| *leg != with);
        self.dial_changed(id);
        for leg in others {
            self.release(leg, Cause::AnsweredElsewhere);
        }
        if let Some(early) = early {
            self.outputs.push_back(CallOutput::Disconnect { from: early, to: caller });
        }
        if !held {
            self.answer_dialing(now, id);
        }
    }

    /// The flow lets a leg that is held be connected; false if it is none.
    pub(crate) fn accept_target(&mut self, now: Moment, leg: LegId) -> bool {
        let holding = self.running.iter().find_map(|running| {
            let Work::Dial(dial) = &running.work else { return None };
            let Stage::Held { with, target, .. } = dial.stage else { return None };
            (with == leg).then_some((running.id, target))
        });
        let Some((id, target)) = holding else { return false };
        if let Some((dial, _)) = self.dial(id) {
            dial.stage = Stage::Answering { with: leg, target };
        }
        self.dial_changed(id);
        self.answer_dialing(now, id);
        true
    }

    pub(crate) fn answer_dialing(&mut self, now: Moment, id: ActionId) {
        self.stop_ringback(id);
        let Some((_, caller)) = self.dial(id) else { return };
        match self.leg(caller).map(|leg| leg.state) {
            Some(LegState::Answered) => self.connect_dialed(now, id),
            Some(LegState::Offered { .. }) => {
                self.outputs.push_back(CallOutput::Line(LineCommand::Answer { leg: caller }));
            }
            Some(LegState::Placed { .. } | LegState::Releasing | LegState::Gone) | None => {}
        }
    }

    /// The caller's own answer is through.
    pub(crate) fn caller_answered(&mut self, now: Moment, caller: LegId, how: Supervision) {
        let waiting = self.running.iter().find(|running| {
            running.leg == Some(caller)
                && matches!(&running.work, Work::Dial(dial)
                    if matches!(dial.stage, Stage::Answering { .. } | Stage::PickedUp { .. }))
        });
        if let Some(id) = waiting.map(|running| running.id) {
            self.connect_dialed(now, id);
            // No action of the flow's own has answered it: the flow cannot know.
            self.leg_event(caller, LegEvent::Answered(how));
        }
    }

    fn connect_dialed(&mut self, now: Moment, id: ActionId) {
        let Some((dial, caller)) = self.dial(id) else { return };
        if let Stage::PickedUp { .. } = dial.stage {
            return self.ask_exchange(id, caller, ExchangeRequest::Ready);
        }
        let Stage::Answering { with, target } = dial.stage else { return };
        let record = dial.spec.record.clone();
        let listens = !dial.spec.hang_up.is_empty();
        self.bridge(caller, with);
        if listens {
            self.media(caller, MediaCommand::Listen);
        }
        let record = record.map(|spec| self.start_record(caller, &spec));
        if let Some((dial, _)) = self.dial(id) {
            dial.stage = Stage::Talking { with, target, since: now.instant, record };
        }
        self.dial_changed(id);
    }

    pub(crate) fn target_released(
        &mut self,
        now: Moment,
        id: ActionId,
        leg: LegId,
        (cause, status): (Cause, Option<u16>),
    ) {
        let Some((dial, _)) = self.dial(id) else { return };
        match dial.stage {
            Stage::Ringing => {
                let Some(at) = dial.ringing.iter().position(|one| one.leg == leg) else { return };
                let target = dial.ringing.swap_remove(at).target;
                dial.refused(cause, status);
                if dial.spec.stops_at_refusal && matches!(cause, Cause::Busy | Cause::Rejected) {
                    dial.round = dial.spec.rounds;
                    dial.waiting.clear();
                    let others: Vec<LegId> = dial.ringing.drain(..).map(|one| one.leg).collect();
                    for other in others {
                        self.release(other, Cause::Cancelled);
                    }
                } else {
                    dial.next_in_turn(now.instant, target);
                }
                self.early_ended(id, leg);
                self.ring_due(now, id);
                self.dial_settled(now, id);
            }
            Stage::Held { with, target, .. } if with == leg => {
                dial.refused(Cause::NoAnswer, None);
                dial.stage = Stage::Ringing;
                dial.next_in_turn(now.instant, target);
                if dial.spec.order == DialOrder::AllAtOnce {
                    dial.round = dial.spec.rounds;
                }
                self.ring_due(now, id);
                self.dial_settled(now, id);
            }
            Stage::Answering { with, target } if with == leg => {
                let dialed = Dialed {
                    answered: Some(target),
                    leg: Some(leg),
                    by: DialEnd::Target,
                    ..Dialed::nobody(cause)
                };
                self.end_dial(id, Outcome::Dialed(dialed));
            }
            Stage::Talking { with, .. } if with == leg => self.talked(now, id, cause, DialEnd::Target),
            // One that lost the race, or was let go by us.
            Stage::Held { .. } | Stage::Answering { .. } | Stage::Talking { .. } | Stage::PickedUp { .. } => {
            }
        }
    }

    fn early_ended(&mut self, id: ActionId, leg: LegId) {
        let Some((dial, caller)) = self.dial(id) else { return };
        if dial.early == Some(leg) {
            dial.early = None;
            self.outputs.push_back(CallOutput::Disconnect { from: leg, to: caller });
        }
    }

    /// The dial that has joined `leg` with its caller and is to be told of a REFER.
    pub(crate) fn dial_that_takes_refer(&self, leg: LegId) -> Option<ActionId> {
        self.running.iter().find_map(|running| {
            let Work::Dial(dial) = &running.work else { return None };
            let Stage::Talking { with, .. } = dial.stage else { return None };
            (with == leg && dial.spec.takes_refer).then_some(running.id)
        })
    }

    /// The one that answered wants somebody else in its place: it goes, and the flow decides.
    pub(crate) fn dial_referred(&mut self, now: Moment, id: ActionId, address: String) {
        self.talk_over(now, id, (Cause::NormalClearing, DialEnd::Target), Some(address));
    }

    /// The conversation is over; the caller stays.
    pub(crate) fn talked(&mut self, now: Moment, id: ActionId, cause: Cause, by: DialEnd) {
        self.talk_over(now, id, (cause, by), None);
    }

    fn talk_over(
        &mut self,
        now: Moment,
        id: ActionId,
        (cause, by): (Cause, DialEnd),
        refer_to: Option<String>,
    ) {
        let Some((dial, caller)) = self.dial(id) else { return };
        if let Stage::PickedUp { .. } = dial.stage {
            return self.parted_from_taker(now, id, by);
        }
        let Stage::Talking { with, target, since, record } = dial.stage else { return };
        let dialed = Dialed {
            answered: Some(target),
            talked: now.instant - since,
            leg: Some(with),
            by,
            refer_to,
            ..Dialed::nobody(cause)
        };
        if self.leg(with).is_some_and(|leg| leg.peer == Some(caller)) || by == DialEnd::Target {
            self.unbridge(caller, with);
        }
        self.release(with, cause);
        self.stop_record(record.map(|record| (caller, record)));
        self.end_dial(id, Outcome::Dialed(dialed));
    }

    /// Nobody is left who could answer in this round: begins the next, or ends.
    fn dial_settled(&mut self, now: Moment, id: ActionId) {
        let Some((dial, _)) = self.dial(id) else { return };
        if !dial.ringing.is_empty() || !dial.waiting.is_empty() || !matches!(dial.stage, Stage::Ringing) {
            return;
        }
        if dial.round < dial.spec.rounds {
            let at = now.instant.max(dial.began + ROUND_MIN);
            dial.begin_round(at);
            return self.ring_due(now, id);
        }
        let (cause, status) = dial.refusal.unwrap_or((Cause::Unspecified, None));
        self.stop_ringback(id);
        self.end_dial(id, Outcome::Dialed(Dialed { status, ..Dialed::nobody(cause) }));
    }

    pub(crate) fn dial_timeout(&mut self, now: Moment, id: ActionId) {
        let Some((dial, _)) = self.dial(id) else { return };
        match dial.stage {
            Stage::Ringing => {}
            Stage::Held { with, .. } => return self.release(with, Cause::RecoveryOnTimer),
            Stage::Answering { .. } => return,
            Stage::Talking { .. } | Stage::PickedUp { .. } => {
                return self.talked(now, id, Cause::NormalClearing, DialEnd::Limit);
            }
        }
        let is_over = dial.round_ends().is_some_and(|ends| ends <= now.instant);
        if is_over {
            dial.waiting.clear();
        }
        let mut late = Vec::new();
        dial.ringing.retain(|one| {
            let rings = !is_over && one.until > now.instant;
            if !rings {
                late.push((one.leg, one.target));
            }
            rings
        });
        for (_, target) in &late {
            dial.refused(Cause::NoAnswer, None);
            if !is_over {
                dial.next_in_turn(now.instant, *target);
            }
        }
        for (leg, _) in late {
            self.early_ended(id, leg);
            self.release(leg, Cause::NoAnswer);
        }
        self.ring_due(now, id);
        self.dial_settled(now, id);
    }

    /// Lets go of everybody that the dial has reached or still rings.
    fn release_dialed(&mut self, id: ActionId, cause: Cause) {
        let Some((dial, caller)) = self.dial(id) else { return };
        let mut legs: Vec<LegId> = dial.ringing.drain(..).map(|one| one.leg).collect();
        let record = match dial.stage {
            Stage::Ringing => None,
            Stage::Held { with, .. } | Stage::Answering { with, .. } => {
                legs.push(with);
                None
            }
            Stage::Talking { with, record, .. } => {
                legs.push(with);
                record
            }
            Stage::PickedUp { record, .. } => record,
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
        self.end_dial(id, Outcome::LegGone);
    }

    pub(crate) fn cancel_dial(&mut self, _now: Moment, id: ActionId) {
        self.release_dialed(id, Cause::Cancelled);
        self.end_dial(id, Outcome::Cancelled);
    }

    /// The dial is over, and nobody can take its caller any more.
    pub(crate) fn end_dial(&mut self, id: ActionId, outcome: Outcome) {
        let known = self.dial(id).map(|(dial, caller)| {
            let is_known = !dial.rung.0.is_empty() || matches!(dial.stage, Stage::PickedUp { .. });
            (is_known, caller)
        });
        if let Some((true, caller)) = known {
            self.ask_exchange(id, caller, ExchangeRequest::Leave);
        }
        self.end_action(id, outcome);
    }
}

impl DialWork {
    /// In turn: the one after `target` is rung now.
    fn next_in_turn(&mut self, now: Instant, target: usize) {
        if self.spec.order == DialOrder::InOrder && target + 1 < self.spec.targets.len() {
            self.waiting.push((now, target + 1));
        }
    }
}
