//! A session whose script says whatever the input holds: messages apart by a zero byte, and
//! between them what a call would tell the session.

use std::rc::Rc;
use std::time::Duration;

use tipring_flows::voxengine::message::{Script, judge};
use tipring_flows::voxengine::{Scenario, program};
use tipring_model::call::{CallFacts, Direction, Origin};
use tipring_model::fetch::FetchError;
use tipring_model::flow::{Flow, FlowInput, FlowOutput, LegEvent, Moment, Outcome};
use tipring_model::line::Supervision;
use tipring_model::{ActionId, CallId, CallerId, Cause, LegId, LineId, Number};

/// Messages of one input.
const MESSAGES_MAX: usize = 32;

/// Runs one input.
///
/// # Panics
/// When the session asks for something after its end, or without end.
pub fn run(bytes: &[u8]) {
    let scripts = vec![Script { name: "a.js".to_owned(), text: String::new() }];
    let scenario = Scenario { scripts, language: "en".to_owned() };
    let mut flow = program(scenario, &Rc::default()).start();
    let mut now = Moment { instant: std::time::Instant::now(), unix_ms: 0 };
    let leg = LegId::offered(LineId(0), 1);
    let facts = CallFacts {
        id: CallId(1),
        leg: Some(leg),
        direction: Direction::Inbound,
        from: CallerId::of("1"),
        to: Number::new("2"),
        answered: false,
        codec: "PCMU",
        started_unix_ms: 0,
        origin: Origin::default(),
        kept: Rc::default(),
        session: None,
    };
    flow.handle(now, FlowInput::Started(&facts));
    let mut placed = 0;
    let mut is_over = false;
    for message in bytes.split(|byte| *byte == 0).take(MESSAGES_MAX) {
        let _ = judge(message);
        let mut asked = drain(flow.as_mut(), &mut is_over);
        now = now.after(Duration::from_millis(700));
        if asked.iter().any(|output| matches!(output, FlowOutput::Script(_))) {
            flow.handle(now, FlowInput::Script(Ok(message)));
            asked.extend(drain(flow.as_mut(), &mut is_over));
        }
        for output in asked {
            match output {
                FlowOutput::Start { id, on: None, .. } => {
                    placed += 1;
                    let leg = LegId::placed(1, placed);
                    flow.handle(now, FlowInput::Leg(leg, LegEvent::Placed { by: id, target: 0 }));
                    flow.handle(now, FlowInput::Leg(leg, LegEvent::Answered(Supervision::Signalled)));
                    flow.handle(now, FlowInput::Ended(id, Outcome::Done));
                }
                FlowOutput::Start { id, .. } => flow.handle(now, FlowInput::Ended(id, Outcome::Done)),
                FlowOutput::Fetch { id, .. } | FlowOutput::Mail(id, _) => {
                    flow.handle(now, FlowInput::Fetched(id, Err(FetchError::Timeout)));
                }
                FlowOutput::Cancel(ActionId(_))
                | FlowOutput::Reply(..)
                | FlowOutput::Script(_)
                | FlowOutput::Log(_)
                | FlowOutput::Notify(_)
                | FlowOutput::Keep { .. }
                | FlowOutput::Suspend(..)
                | FlowOutput::Lamp { .. }
                | FlowOutput::Step(_)
                | FlowOutput::Warn(_)
                | FlowOutput::End { .. } => {}
            }
        }
        if flow.poll_timeout().is_some_and(|due| due <= now.instant) {
            flow.handle(now, FlowInput::Timeout);
        }
    }
    flow.handle(now, FlowInput::Leg(leg, LegEvent::Released(Cause::NormalClearing)));
    drain(flow.as_mut(), &mut is_over);
}

fn drain(flow: &mut dyn Flow, is_over: &mut bool) -> Vec<FlowOutput> {
    /// A session that asks for more after one input is in a circle.
    const OUTPUTS_MAX: usize = 10_000;
    let mut outputs = Vec::new();
    while let Some(output) = flow.poll() {
        assert!(outputs.len() < OUTPUTS_MAX, "the session asks without end");
        let is_action = matches!(output, FlowOutput::Start { .. } | FlowOutput::End { .. });
        assert!(!(*is_over && is_action), "something after the end");
        *is_over |= matches!(output, FlowOutput::End { .. });
        outputs.push(output);
    }
    outputs
}
