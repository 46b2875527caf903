//! The built-in flow of last resort: every telephone rings. It needs no disk, no network
//! and no program of the customer's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tipring_model::flow::{
    Action, Dial, DialOrder, Flow, FlowInput, FlowOutput, LegEvent, Moment, Outcome, Step, Target,
};
use tipring_model::prompt::{Prompt, PromptSource};
use tipring_model::{ActionId, Cause, LegId};

use crate::connect::end_of_dial;

/// Rings all targets at once; where nobody answers, the caller is asked to call later.
pub struct RingAll {
    targets: Vec<Target>,
    ring_max: Duration,
    leg: Option<LegId>,
    answered: bool,
    outputs: VecDeque<FlowOutput>,
    is_over: bool,
}

const DIAL: ActionId = ActionId(1);
const ANSWER: ActionId = ActionId(2);
const SORRY: ActionId = ActionId(3);

impl RingAll {
    /// A flow that rings `targets` for `ring_max`.
    #[must_use]
    pub const fn new(targets: Vec<Target>, ring_max: Duration) -> Self {
        Self { targets, ring_max, leg: None, answered: false, outputs: VecDeque::new(), is_over: false }
    }

    fn act(&mut self, id: ActionId, action: Action) {
        self.outputs.push_back(FlowOutput::Start { id, on: self.leg, action });
    }

    fn end(&mut self, cause: Cause, label: &str) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.outputs.push_back(FlowOutput::End { cause, label: label.to_owned() });
        }
    }

    fn dialed(&mut self, outcome: &Outcome) {
        let (success, cause) = end_of_dial(outcome, Cause::TemporaryFailure);
        self.outputs.push_back(FlowOutput::Step(Step {
            command: "RingAll".to_owned(),
            path: "RingAll".to_owned(),
            success,
            reason: cause.name().to_owned(),
            tag: None,
        }));
        if success {
            self.end(cause, "talked");
        } else if self.answered {
            self.sorry();
        } else {
            self.act(ANSWER, Action::Answer);
        }
    }

    fn sorry(&mut self) {
        self.act(SORRY, Action::Prompt(Prompt::once(PromptSource::Library("call-later".to_owned()))));
    }
}

impl Flow for RingAll {
    fn handle(&mut self, _now: Moment, input: FlowInput<'_>) {
        match input {
            FlowInput::Started(facts) => {
                self.leg = facts.leg;
                self.answered = facts.answered;
                let dial = Dial::new(self.targets.clone(), DialOrder::AllAtOnce, self.ring_max);
                self.act(DIAL, Action::Dial(dial));
            }
            FlowInput::Ended(DIAL, outcome) => self.dialed(&outcome),
            FlowInput::Ended(ANSWER, Outcome::Done) => self.sorry(),
            FlowInput::Ended(ANSWER | SORRY, _) => self.end(Cause::NoAnswer, "nobody_answered"),
            FlowInput::Leg(leg, LegEvent::Released(cause)) if Some(leg) == self.leg => {
                self.end(cause, "caller");
            }
            FlowInput::Ended(..)
            | FlowInput::Leg(..)
            | FlowInput::Fetched(..)
            | FlowInput::Message(..)
            | FlowInput::Script(_)
            | FlowInput::Stopped
            | FlowInput::Timeout => {}
        }
    }

    fn poll(&mut self) -> Option<FlowOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
