//! An application: several programs, of which the dialled number chooses one when a call comes.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use tipring_model::Cause;
use tipring_model::flow::{Flow, FlowInput, FlowOutput, Moment};

use crate::{Claim, Program};

/// Whether a rule takes a dialled number.
pub type Takes = Rc<dyn Fn(&str) -> bool>;

/// A rule of an application.
#[derive(Clone)]
pub struct Rule {
    /// Which numbers it takes.
    pub takes: Takes,
    /// How strongly, where a telephone of the office dials one that leads elsewhere too.
    pub claim: Claim,
    /// What runs then.
    pub program: Rc<dyn Program>,
}

/// The program of an application: that of the first rule which takes the dialled number. Where
/// none does, the caller is told that there is no such number.
#[must_use]
pub fn program(rules: Vec<Rule>) -> Rc<dyn Program> {
    Rc::new(Application { rules: rules.into() })
}

struct Application {
    rules: Rc<[Rule]>,
}

impl Program for Application {
    fn start(&self) -> Box<dyn Flow> {
        Box::new(Choosing { rules: Rc::clone(&self.rules), chosen: None, outputs: VecDeque::new() })
    }

    fn claims(&self, number: &str) -> Option<Claim> {
        self.rules.iter().find(|rule| (rule.takes)(number)).map(|rule| rule.claim)
    }

    fn takes_copies(&self) -> bool {
        false
    }

    fn is_on_box(&self) -> bool {
        true
    }

    fn has_fallback(&self) -> bool {
        false
    }
}

struct Choosing {
    rules: Rc<[Rule]>,
    chosen: Option<Box<dyn Flow>>,
    outputs: VecDeque<FlowOutput>,
}

impl Flow for Choosing {
    fn handle(&mut self, now: Moment, input: FlowInput<'_>) {
        if let FlowInput::Started(facts) = &input
            && self.chosen.is_none()
        {
            let rule = self.rules.iter().find(|rule| (rule.takes)(facts.to.as_str()));
            self.chosen = rule.map(|rule| rule.program.start());
            if self.chosen.is_none() {
                let end = FlowOutput::End { cause: Cause::Unallocated, label: "no_rule".to_owned() };
                self.outputs.push_back(end);
            }
        }
        if let Some(chosen) = &mut self.chosen {
            chosen.handle(now, input);
        }
    }

    fn poll(&mut self) -> Option<FlowOutput> {
        match &mut self.chosen {
            Some(chosen) => chosen.poll(),
            None => self.outputs.pop_front(),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.chosen.as_ref().and_then(|chosen| chosen.poll_timeout())
    }
}

#[cfg(test)]
mod tests {
    use tipring_model::call::{CallFacts, Direction, Origin};
    use tipring_model::{CallId, CallerId, Number};

    use super::*;

    /// Ends at once, by its own word.
    struct Word(&'static str, bool);

    impl Flow for Word {
        fn handle(&mut self, _: Moment, input: FlowInput<'_>) {
            self.1 = matches!(input, FlowInput::Started(_));
        }

        fn poll(&mut self) -> Option<FlowOutput> {
            let end = FlowOutput::End { cause: Cause::NormalClearing, label: self.0.to_owned() };
            std::mem::take(&mut self.1).then_some(end)
        }

        fn poll_timeout(&self) -> Option<Instant> {
            None
        }
    }

    struct Says(&'static str);

    impl Program for Says {
        fn start(&self) -> Box<dyn Flow> {
            Box::new(Word(self.0, false))
        }

        fn is_on_box(&self) -> bool {
            true
        }

        fn has_fallback(&self) -> bool {
            false
        }
    }

    fn application() -> Rc<dyn Program> {
        let rule = |start: &'static str, word| Rule {
            takes: Rc::new(move |number: &str| number.starts_with(start)),
            claim: if start.len() > 1 { Claim::Number } else { Claim::Remainder },
            program: Rc::new(Says(word)),
        };
        program(vec![rule("10", "first"), rule("1", "second")])
    }

    fn end_of(to: &str) -> (Cause, String) {
        let mut flow = application().start();
        let now = tipring_testkit::clock::Clock::new().now();
        let facts = CallFacts {
            id: CallId::from_random(1),
            leg: None,
            direction: Direction::Inbound,
            from: CallerId::default(),
            to: Number::new(to),
            answered: false,
            codec: "",
            started_unix_ms: 0,
            origin: Origin::default(),
            kept: Rc::default(),
            session: None,
        };
        flow.handle(now, FlowInput::Started(&facts));
        match (flow.poll(), flow.poll()) {
            (Some(FlowOutput::End { cause, label }), None) => (cause, label),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_rule_that_takes_the_number_runs_and_without_one_there_is_no_such_number() {
        assert_eq!(end_of("100"), (Cause::NormalClearing, "first".to_owned()));
        assert_eq!(end_of("110"), (Cause::NormalClearing, "second".to_owned()));
        assert_eq!(end_of("200"), (Cause::Unallocated, "no_rule".to_owned()));
    }

    #[test]
    fn the_rule_that_runs_says_how_the_number_is_claimed() {
        let claims = |number| application().claims(number);
        assert_eq!(claims("100"), Some(Claim::Number));
        assert_eq!(claims("110"), Some(Claim::Remainder));
        assert_eq!(claims("200"), None);
    }
}
