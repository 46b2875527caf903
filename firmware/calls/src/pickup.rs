//! Taking a call from where it rings: what the call that is taken does, and the one that
//! takes it.

use std::time::Duration;

use tipring_model::flow::{DialEnd, Dialed, Moment, Outcome, PickUp, Step, Target};
use tipring_model::{ActionId, CallerId, Cause, DigitSet, LegId};

use crate::actions::Work;
use crate::call::Call;
use crate::contract::{CallOutput, MediaCommand};
use crate::dial::{DialWork, Stage};
use crate::exchange::{ExchangeEvent, ExchangeRequest};
use crate::meeting::{Kind, MeetingWork};

/// Longest wait for the answer of a caller who was picked up.
const READY_MAX: Duration = Duration::from_secs(10);

impl DialWork {
    /// The numbers from where the call can be taken, and whether one of them has answered.
    fn takeable(&self) -> (Vec<String>, bool) {
        let number = |target: usize| match &self.spec.targets.get(target)?.target {
            Target::Number(number) => Some(number.clone()),
            Target::Trunk { .. } | Target::Sip(_) | Target::Session(_) | Target::Queue { .. } => None,
        };
        match self.stage {
            Stage::Ringing => (self.ringing.iter().filter_map(|one| number(one.target)).collect(), false),
            Stage::Talking { target, .. } => (number(target).into_iter().collect(), true),
            Stage::Held { .. } | Stage::Answering { .. } | Stage::PickedUp { .. } => (Vec::new(), false),
        }
    }
}

impl Call {
    /// Tells the exchange from where others can take the call of a dial.
    pub(crate) fn tell_rung(&mut self, id: ActionId) {
        let from = self.facts.from.clone();
        let Some((dial, caller)) = self.dial(id) else { return };
        let (at, answered) = dial.takeable();
        // Once it is taken, the exchange knows.
        let is_taken = matches!(dial.stage, Stage::PickedUp { .. });
        if is_taken || dial.rung == (at.clone(), answered) {
            return;
        }
        dial.rung = (at.clone(), answered);
        self.ask_exchange(id, caller, ExchangeRequest::Rings { at, answered, from });
    }

    pub(crate) fn begin_pick_up(&mut self, now: Moment, id: ActionId, on: LegId, wanted: PickUp) {
        let kind = Kind::Takes { hang_up: DigitSet::NONE, talk_max: None };
        let work = Work::Meeting(Box::new(MeetingWork::new(kind, now.instant)));
        self.run(id, on, Some(now.instant + READY_MAX), work);
        let who = self.facts.from.clone();
        self.ask_exchange(id, on, ExchangeRequest::PickUp { wanted, who });
    }

    /// What the exchange says about the call of a dial.
    pub(crate) fn dial_exchange_event(&mut self, now: Moment, id: ActionId, event: ExchangeEvent) {
        match event {
            ExchangeEvent::PickedUp { at, who } => self.picked_up(now, id, &at, &who),
            ExchangeEvent::Connected(with) => self.connected_with_taker(now, id, with),
            ExchangeEvent::Parted => self.parted_from_taker(now, id, DialEnd::Target),
            ExchangeEvent::Room(_)
            | ExchangeEvent::ToneIn
            | ExchangeEvent::ToneOut
            | ExchangeEvent::Full
            | ExchangeEvent::Ended
            | ExchangeEvent::Queue(_)
            | ExchangeEvent::Takes { .. }
            | ExchangeEvent::Nobody => {}
        }
    }

    fn picked_up(&mut self, now: Moment, id: ActionId, at: &str, who: &CallerId) {
        let Some((dial, caller)) = self.dial(id) else { return };
        dial.rung = (Vec::new(), false);
        let is_at = |target: usize| {
            let known = dial.spec.targets.get(target).map(|target| &target.target);
            matches!(known, Some(Target::Number(number)) if number == at)
        };
        let (target, since, record) = match dial.stage {
            Stage::Ringing => (dial.ringing.iter().map(|one| one.target).find(|n| is_at(*n)), None, None),
            Stage::Talking { target, since, record, .. } => (Some(target), Some(since), record),
            Stage::Held { .. } | Stage::Answering { .. } | Stage::PickedUp { .. } => (None, None, None),
        };
        let Some(target) = target else {
            // A telephone has answered in this moment.
            self.ask_exchange(id, caller, ExchangeRequest::Leave);
            return;
        };
        let mut others: Vec<LegId> = dial.ringing.drain(..).map(|one| one.leg).collect();
        dial.waiting.clear();
        let early = dial.early.take();
        let talked = if let Stage::Talking { with, .. } = dial.stage { Some(with) } else { None };
        dial.stage = Stage::PickedUp { target, since, record };
        if let Some(early) = early {
            self.outputs.push_back(CallOutput::Disconnect { from: early, to: caller });
        }
        if let Some(with) = talked {
            self.unbridge(caller, with);
            others.push(with);
        }
        for other in others {
            self.release(other, Cause::AnsweredElsewhere);
        }
        self.dial_changed(id);
        self.step(now, told("picked-up", format!("at {at} by {}", who.number_or_anonymous())));
        self.answer_dialing(now, id);
    }

    fn connected_with_taker(&mut self, now: Moment, id: ActionId, with: LegId) {
        let Some((dial, caller)) = self.dial(id) else { return };
        let Stage::PickedUp { target, since, record } = dial.stage else { return };
        let spec = dial.spec.record.clone().filter(|_| record.is_none());
        let listens = !dial.spec.hang_up.is_empty();
        let record = spec.map(|spec| self.start_record(caller, &spec)).or(record);
        if listens {
            self.media(caller, MediaCommand::Listen);
        }
        if let Some((dial, _)) = self.dial(id) {
            dial.stage = Stage::PickedUp { target, since: since.or(Some(now.instant)), record };
        }
        if let Some(leg) = self.leg_mut(caller) {
            leg.peer = Some(with);
        }
        self.dial_changed(id);
    }

    /// The caller no longer talks with whoever has taken the call.
    pub(crate) fn parted_from_taker(&mut self, now: Moment, id: ActionId, by: DialEnd) {
        let Some((dial, caller)) = self.dial(id) else { return };
        let Stage::PickedUp { target, since, record } = dial.stage else { return };
        let talked = since.map_or(Duration::ZERO, |since| now.instant - since);
        let with = self.leg_mut(caller).and_then(|leg| leg.peer.take());
        self.stop_record(record.map(|record| (caller, record)));
        let dialed =
            Dialed { answered: Some(target), talked, leg: with, by, ..Dialed::nobody(Cause::NormalClearing) };
        self.end_dial(id, Outcome::Dialed(dialed));
    }

    /// The leg takes a call of another.
    pub(crate) fn takes(&mut self, now: Moment, at: &str, from: &CallerId) {
        self.step(now, told("pick-up", format!("{} from {at}", from.number_or_anonymous())));
    }
}

/// A step of the call's own.
fn told(command: &str, reason: String) -> Step {
    Step { command: command.to_owned(), path: String::new(), success: true, reason, tag: None }
}
