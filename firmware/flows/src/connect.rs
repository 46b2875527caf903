//! The built-in flow that joins a telephone with whom it dialled.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tipring_model::flow::{
    Action, ActionFailure, Dial, DialOrder, Flow, FlowInput, FlowOutput, LegEvent, Moment, Outcome, Step,
    Target,
};
use tipring_model::{ActionId, Cause, LegId};

/// Rings one target and connects it; the call ends with the conversation.
pub struct Connect {
    target: Target,
    ring_max: Duration,
    leg: Option<LegId>,
    outputs: VecDeque<FlowOutput>,
    is_over: bool,
}

const DIAL: ActionId = ActionId(1);

impl Connect {
    /// A flow that connects the caller with `target`.
    #[must_use]
    pub const fn new(target: Target, ring_max: Duration) -> Self {
        Self { target, ring_max, leg: None, outputs: VecDeque::new(), is_over: false }
    }

    fn end(&mut self, cause: Cause, label: &str) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.outputs.push_back(FlowOutput::End { cause, label: label.to_owned() });
        }
    }

    fn dialed(&mut self, outcome: &Outcome) {
        let (success, cause) = end_of_dial(outcome, Cause::NormalClearing);
        self.outputs.push_back(FlowOutput::Step(Step {
            command: "Dial".to_owned(),
            path: self.target.to_string(),
            success,
            reason: cause.name().to_owned(),
            tag: None,
        }));
        self.end(cause, if success { "talked" } else { "not_connected" });
    }
}

/// Whether a dial found somebody, and its cause; `otherwise` where it has none.
pub(crate) const fn end_of_dial(outcome: &Outcome, otherwise: Cause) -> (bool, Cause) {
    if let Outcome::Dialed(dialed) = outcome {
        (dialed.answered.is_some(), dialed.cause)
    } else if let Outcome::Failed(ActionFailure::NoTarget(cause)) = outcome {
        (false, *cause)
    } else {
        (false, otherwise)
    }
}

impl Flow for Connect {
    fn handle(&mut self, _now: Moment, input: FlowInput<'_>) {
        match input {
            FlowInput::Started(facts) => {
                self.leg = facts.leg;
                self.outputs.push_back(FlowOutput::Start {
                    id: DIAL,
                    on: facts.leg,
                    action: Action::Dial(Dial {
                        early_media: true,
                        ..Dial::new(vec![self.target.clone()], DialOrder::AllAtOnce, self.ring_max)
                    }),
                });
            }
            FlowInput::Ended(DIAL, outcome) => self.dialed(&outcome),
            FlowInput::Leg(leg, LegEvent::Released(cause)) if Some(leg) == self.leg => {
                self.end(cause, "caller")
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
