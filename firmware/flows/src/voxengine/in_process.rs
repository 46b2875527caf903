//! A session together with its script, without a process between them: for tests and for trying a
//! scenario on the command line. On the box the two are apart.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use tipring_model::call::KeptValues;
use tipring_model::flow::{Flow, FlowInput, FlowOutput, Moment, ScriptEnd};

use super::interpreter::{Bounds, CpuClock, Interpreter};

/// A flow whose script runs right here. For a flow that has none nothing changes.
pub struct InProcess {
    flow: Box<dyn Flow>,
    engine: Option<Interpreter>,
    /// What the engine is made of.
    bounds: Bounds,
    seed: u64,
    clock: Option<CpuClock>,
    /// What the box keeps: here it is kept at once.
    kept: KeptValues,
    outputs: VecDeque<FlowOutput>,
}

impl InProcess {
    /// Runs the script of `flow` here, within `bounds`.
    #[must_use]
    pub fn new(flow: Box<dyn Flow>, bounds: Bounds, seed: u64, clock: CpuClock) -> Self {
        Self {
            flow,
            engine: None,
            bounds,
            seed,
            clock: Some(clock),
            kept: Rc::default(),
            outputs: VecDeque::new(),
        }
    }

    fn drain(&mut self, now: Moment) {
        while let Some(output) = self.flow.poll() {
            if let FlowOutput::Keep { name, value } = &output {
                let mut kept = self.kept.borrow_mut();
                match value {
                    Some(value) => drop(kept.insert(name.clone(), value.clone())),
                    None => drop(kept.remove(name)),
                }
            }
            let FlowOutput::Script(text) = output else {
                self.outputs.push_back(output);
                continue;
            };
            if let Some(clock) = self.clock.take() {
                self.engine = Interpreter::new(self.bounds, self.seed, clock).ok();
            }
            let said = self.engine.as_mut().map(|engine| engine.handle(&text));
            let said = said.as_deref().ok_or(ScriptEnd::NotStarted);
            self.flow.handle(now, FlowInput::Script(said));
        }
    }
}

impl Flow for InProcess {
    fn handle(&mut self, now: Moment, input: FlowInput<'_>) {
        if let FlowInput::Started(facts) = &input {
            self.kept = Rc::clone(&facts.kept);
        }
        self.flow.handle(now, input);
        self.drain(now);
    }

    fn poll(&mut self) -> Option<FlowOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.flow.poll_timeout()
    }
}
