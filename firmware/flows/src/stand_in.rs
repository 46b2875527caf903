//! A flow with another behind it, which takes over the call when the first one's first
//! document cannot be had.
//!
//! The first one stays in the background: it still hears of the caller's leg, and what it
//! tells its application still goes out, so that the application learns of every call's
//! end. It takes over only while nothing runs that the first one began, since the two name
//! their actions alike.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use tipring_model::call::CallFacts;
use tipring_model::fetch::OwnFallback;
use tipring_model::flow::{Action, Flow, FlowInput, FlowOutput, LegEvent, Moment, Outcome, Warning};
use tipring_model::line::Supervision;
use tipring_model::{ActionId, FetchId};

use crate::Program;

/// Makes the flow that takes over.
pub type Begin = Box<dyn FnOnce() -> Box<dyn Flow>>;

/// See the module.
pub struct WithStandIn {
    program: Rc<dyn Program>,
    first: Box<dyn Flow>,
    /// Until it is needed.
    waiting: Option<Begin>,
    stand_in: Option<Box<dyn Flow>>,
    facts: Option<CallFacts>,
    /// The fetch of the first document.
    document: Option<FetchId>,
    /// Actions of the first flow that run.
    running: usize,
    /// The caller has had something of the first flow but an answer.
    has_acted: bool,
    /// The action with which the stand-in answers.
    answering: Option<ActionId>,
    outputs: VecDeque<FlowOutput>,
}

impl WithStandIn {
    /// A run of `program`, with the flow that `stand_in` makes behind it.
    #[must_use]
    pub fn new(program: Rc<dyn Program>, stand_in: Begin) -> Self {
        Self {
            first: program.start(),
            program,
            waiting: Some(stand_in),
            stand_in: None,
            facts: None,
            document: None,
            running: 0,
            has_acted: false,
            answering: None,
            outputs: VecDeque::new(),
        }
    }

    fn take_over(&mut self, now: Moment, code: &'static str, begin: Begin) {
        self.outputs.push_back(FlowOutput::Warn(Warning { code, path: String::new() }));
        let mut flow = begin();
        if let Some(facts) = &self.facts {
            flow.handle(now, FlowInput::Started(facts));
        }
        self.stand_in = Some(flow);
        self.drain(now);
    }

    /// What the first flow may still do once another has taken over: tell.
    fn drain_background(&mut self) {
        while let Some(output) = self.first.poll() {
            if let FlowOutput::Notify(_) | FlowOutput::Warn(_) | FlowOutput::Reply(..) = output {
                self.outputs.push_back(output);
            }
        }
    }

    fn drain(&mut self, now: Moment) {
        let Some(flow) = &mut self.stand_in else { return };
        while let Some(output) = flow.poll() {
            if let FlowOutput::End { cause, .. } = &output
                && let Some(leg) = self.facts.as_ref().and_then(|facts| facts.leg)
            {
                self.first.handle(now, FlowInput::Leg(leg, LegEvent::Released(*cause)));
                while let Some(told) = self.first.poll() {
                    if let FlowOutput::Notify(_) = told {
                        self.outputs.push_back(told);
                    }
                }
            }
            if let FlowOutput::Start { id, action: Action::Answer, .. } = &output {
                self.answering = Some(*id);
            }
            self.outputs.push_back(output);
        }
    }

    /// The caller is answered now, if he was not before: the first flow hears of it.
    fn answered(&mut self, now: Moment) {
        let Some(facts) = self.facts.as_mut().filter(|facts| !facts.answered) else { return };
        facts.answered = true;
        if let Some(leg) = facts.leg {
            self.first.handle(now, FlowInput::Leg(leg, LegEvent::Answered(Supervision::Signalled)));
            self.drain_background();
        }
    }

    /// While the first flow runs the call: passes its outputs on.
    fn drain_first(&mut self) {
        while let Some(mut output) = self.first.poll() {
            if let FlowOutput::Fetch { id, document: Some(document), .. } = &mut output {
                // What only leads on to another document has not begun yet.
                document.is_first |= !self.has_acted;
                if document.is_first && document.fallback != OwnFallback::Follows {
                    self.document = Some(*id);
                }
            }
            if let FlowOutput::Start { action, .. } = &output {
                self.running += 1;
                self.has_acted |= *action != Action::Answer;
            }
            self.outputs.push_back(output);
        }
    }
}

impl Flow for WithStandIn {
    fn handle(&mut self, now: Moment, input: FlowInput<'_>) {
        if let Some(flow) = &mut self.stand_in {
            let leg = self.facts.as_ref().and_then(|facts| facts.leg);
            let is_answer = match &input {
                FlowInput::Leg(of, LegEvent::Answered(_)) => Some(*of) == leg,
                FlowInput::Ended(id, Outcome::Done) => self.answering == Some(*id),
                FlowInput::Ended(_, Outcome::Dialed(dialed)) => dialed.answered.is_some(),
                FlowInput::Started(_)
                | FlowInput::Ended(..)
                | FlowInput::Leg(..)
                | FlowInput::Fetched(..)
                | FlowInput::Message(..)
                | FlowInput::Script(_)
                | FlowInput::Stopped
                | FlowInput::Timeout => false,
            };
            flow.handle(now, input);
            if is_answer {
                self.answered(now);
            }
            return self.drain(now);
        }
        match (&input, &mut self.facts) {
            (FlowInput::Started(facts), _) => self.facts = Some((*facts).clone()),
            (FlowInput::Leg(_, LegEvent::Answered(_)), Some(facts)) => facts.answered = true,
            (FlowInput::Ended(..), _) => self.running = self.running.saturating_sub(1),
            (
                FlowInput::Leg(..)
                | FlowInput::Fetched(..)
                | FlowInput::Message(..)
                | FlowInput::Script(_)
                | FlowInput::Stopped
                | FlowInput::Timeout,
                _,
            ) => {}
        }
        if let FlowInput::Fetched(id, answer) = &input
            && self.document == Some(*id)
            && self.running == 0
        {
            let code = match answer {
                Ok(answer) => self.program.judge(answer).err(),
                Err(error) => Some(error.code()),
            };
            if let Some(code) = code
                && let Some(begin) = self.waiting.take()
            {
                return self.take_over(now, code, begin);
            }
        }
        self.first.handle(now, input);
        self.drain_first();
    }

    fn poll(&mut self) -> Option<FlowOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.stand_in {
            Some(flow) => flow.poll_timeout(),
            None => self.first.poll_timeout(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tipring_model::call::{Direction, Origin};
    use tipring_model::fetch::{FetchError, HttpResponse};
    use tipring_model::flow::Target;
    use tipring_model::settings::{RawSettings, RawValue};
    use tipring_model::{CallId, CallerId, Cause, LegId, LineId, Number};
    use tipring_testkit::Clock;

    use super::*;
    use crate::ring_all::RingAll;

    const LEG: LegId = LegId::offered(LineId(0), 1);

    fn now() -> Moment {
        Clock::new().now()
    }

    fn flow() -> WithStandIn {
        let mut raw = RawSettings::new();
        for (key, value) in [("url", "http://web.test/flow"), ("webhook_url", "http://web.test/told")] {
            raw.set(key, RawValue::Text(value.to_owned()));
        }
        let program = (crate::opentact::DIALECT.open)(&raw, &Rc::default()).unwrap();
        let targets = vec![Target::Number("201".to_owned())];
        let mut flow = WithStandIn::new(
            Rc::from(program),
            Box::new(|| Box::new(RingAll::new(targets, Duration::from_secs(25)))),
        );
        let facts = CallFacts {
            id: CallId::from_random(7),
            leg: Some(LEG),
            direction: Direction::Inbound,
            from: CallerId::default(),
            to: Number::new("100"),
            answered: false,
            codec: "PCMU",
            started_unix_ms: 1_795_000_000_000,
            origin: Origin::default(),
            kept: Rc::default(),
            session: None,
        };
        flow.handle(now(), FlowInput::Started(&facts));
        flow
    }

    fn outputs(flow: &mut WithStandIn) -> Vec<String> {
        std::iter::from_fn(|| flow.poll())
            .map(|output| match output {
                FlowOutput::Start { action: Action::Dial(dial), .. } => {
                    format!("dial {}", dial.targets[0].target)
                }
                FlowOutput::Start { action, .. } => format!("{action:?}"),
                FlowOutput::Notify(notice) => {
                    let url = &notice.request.url;
                    url.split(['=', '&']).nth(1).unwrap_or(url).to_owned()
                }
                FlowOutput::Fetch { .. } => "fetch".to_owned(),
                FlowOutput::Mail(..) => "mail".to_owned(),
                FlowOutput::Warn(warning) => warning.code.to_owned(),
                FlowOutput::End { cause, label } => format!("end {cause} {label}"),
                FlowOutput::Step(step) => format!("step {}", step.command),
                FlowOutput::Cancel(_)
                | FlowOutput::Reply(..)
                | FlowOutput::Script(_)
                | FlowOutput::Log(_)
                | FlowOutput::Keep { .. }
                | FlowOutput::Suspend(..)
                | FlowOutput::Lamp { .. } => "else".to_owned(),
            })
            .collect()
    }

    fn answer(status: u16, body: &str) -> HttpResponse {
        HttpResponse {
            status,
            url: "http://web.test/flow".to_owned(),
            media_type: None,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    #[test]
    fn a_document_that_can_be_had_leaves_the_other_flow_alone() {
        let mut flow = flow();
        assert_eq!(outputs(&mut flow), ["ringing", "fetch"]);
        let good = answer(200, "<Response><Hangup/></Response>");
        flow.handle(now(), FlowInput::Fetched(FetchId(1), Ok(&good)));
        assert_eq!(outputs(&mut flow), ["Answer"]);
    }

    #[test]
    fn the_other_flow_takes_over_and_the_application_hears_of_the_end() {
        let bad = [answer(500, ""), answer(200, "<html>sign in</html>"), answer(204, "")];
        let bad: Vec<Result<&HttpResponse, FetchError>> =
            bad.iter().map(Ok).chain([Err(FetchError::Unreachable)]).collect();
        let codes = ["TR-HOOK-STATUS", "TR-FLOW-ROOT", "TR-FLOW-ROOT", "TR-HOOK-UNREACH"];
        for (bad, code) in bad.into_iter().zip(codes) {
            let mut flow = flow();
            outputs(&mut flow);
            flow.handle(now(), FlowInput::Fetched(FetchId(1), bad));
            assert_eq!(outputs(&mut flow), [code, "dial 201"]);
            flow.handle(now(), FlowInput::Leg(LEG, LegEvent::Answered(Supervision::Signalled)));
            assert_eq!(outputs(&mut flow), ["live"]);
            flow.handle(now(), FlowInput::Leg(LEG, LegEvent::Released(Cause::NormalClearing)));
            assert_eq!(outputs(&mut flow), ["hangup", "end normal-clearing caller"]);
        }
    }

    #[test]
    fn a_document_that_only_leads_on_to_one_that_cannot_be_had_has_not_begun() {
        let mut flow = flow();
        outputs(&mut flow);
        let leads_on = answer(200, "<Response><Redirect url='http://web.test/real'/></Response>");
        flow.handle(now(), FlowInput::Fetched(FetchId(1), Ok(&leads_on)));
        assert_eq!(outputs(&mut flow), ["Answer"]);
        flow.handle(now(), FlowInput::Ended(ActionId(1), Outcome::Done));
        assert_eq!(outputs(&mut flow), ["live"]);
        // Documents that follow each other keep a distance.
        let mut clock = Clock::new();
        clock.advance(Duration::from_secs(10));
        flow.handle(clock.now(), FlowInput::Timeout);
        assert_eq!(outputs(&mut flow), ["fetch"]);
        flow.handle(now(), FlowInput::Fetched(FetchId(2), Err(FetchError::Unreachable)));
        assert_eq!(outputs(&mut flow), ["TR-HOOK-UNREACH", "dial 201"]);
    }

    #[test]
    fn nobody_answering_is_said_and_told() {
        let mut flow = flow();
        outputs(&mut flow);
        flow.handle(now(), FlowInput::Fetched(FetchId(1), Err(FetchError::Timeout)));
        outputs(&mut flow);
        flow.handle(now(), FlowInput::Ended(ActionId(1), Outcome::LegGone));
        assert_eq!(outputs(&mut flow), ["step RingAll", "Answer"]);
        flow.handle(now(), FlowInput::Ended(ActionId(2), Outcome::Done));
        let said = outputs(&mut flow);
        assert!(said[0] == "live" && said[1].contains("call-later"), "{said:?}");
        flow.handle(now(), FlowInput::Ended(ActionId(3), Outcome::Done));
        assert_eq!(outputs(&mut flow), ["hangup", "end no-answer nobody_answered"]);
    }
}
