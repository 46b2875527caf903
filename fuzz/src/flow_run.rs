//! One run of a flow, answered as the fuzzer likes.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tipring_model::call::{CallFacts, Direction, Origin};
use tipring_model::fetch::{FetchError, HttpRequest, HttpResponse};
use tipring_model::flow::{
    ActionFailure, CollectEnd, Collected, Dialed, Flow, FlowInput, FlowOutput, LegEvent, Moment, Outcome,
    Recorded,
};
use tipring_model::{
    ActionId, CallId, CallerId, Cause, Digit, DigitPath, Digits, FetchId, LegId, LineId, Number,
};

use crate::input::Bytes;

/// Inputs that a run gets.
const STEPS: usize = 50;
/// A flow that asks for more than this after one input goes in a circle.
const OUTPUTS_MAX: usize = 20_000;

/// The facts of the call that runs.
pub fn facts(from: &str, to: &str) -> CallFacts {
    CallFacts {
        id: CallId::from_random(7),
        leg: Some(LegId::offered(LineId(0), 1)),
        direction: Direction::Inbound,
        from: CallerId::of(from),
        to: Number::new(to),
        answered: false,
        codec: "PCMU",
        started_unix_ms: 1_795_165_200_000,
        origin: Origin::default(),
        kept: Rc::default(),
        session: None,
    }
}

/// Runs `flow` for some steps. `body` is what fetches answer with. Every request is handed to
/// `seen`.
///
/// # Panics
/// When the flow asks without end, or speaks after its end.
pub fn run(
    flow: &mut dyn Flow,
    facts: &CallFacts,
    choices: &mut Bytes<'_>,
    body: &[u8],
    mut seen: impl FnMut(&HttpRequest),
) {
    let mut now = Moment { instant: Instant::now(), unix_ms: facts.started_unix_ms };
    let mut actions: Vec<ActionId> = Vec::new();
    let mut fetches: Vec<(FetchId, String)> = Vec::new();
    let mut ended = false;
    flow.handle(now, FlowInput::Started(facts));
    drain(flow, &mut actions, &mut fetches, &mut ended, &mut seen);
    let leg = LegId::offered(LineId(0), 1);
    for _ in 0..STEPS {
        if ended {
            break;
        }
        now = now.after(Duration::from_millis(u64::from(choices.byte()) * 50));
        match choices.below(8) {
            0 => flow.handle(now, FlowInput::Leg(leg, LegEvent::Digit(digit(choices), DigitPath::Rfc4733))),
            1 => flow.handle(now, FlowInput::Timeout),
            2 if choices.byte() > 200 => {
                flow.handle(now, FlowInput::Leg(leg, LegEvent::Released(Cause::NormalClearing)));
            }
            3..=4 if !fetches.is_empty() => {
                let (id, url) = fetches.remove(choices.below(fetches.len()));
                answer(flow, now, id, url, choices, body);
            }
            _ => {
                if !actions.is_empty() {
                    let id = actions.remove(choices.below(actions.len()));
                    flow.handle(now, FlowInput::Ended(id, outcome(choices)));
                } else if !fetches.is_empty() {
                    let (id, url) = fetches.remove(0);
                    answer(flow, now, id, url, choices, body);
                } else if let Some(due) = flow.poll_timeout() {
                    now = now.after(due.saturating_duration_since(now.instant));
                    flow.handle(now, FlowInput::Timeout);
                }
            }
        }
        drain(flow, &mut actions, &mut fetches, &mut ended, &mut seen);
    }
}

fn answer(flow: &mut dyn Flow, now: Moment, id: FetchId, url: String, choices: &mut Bytes<'_>, body: &[u8]) {
    if choices.below(4) == 3 {
        let error = FetchError::ALL[choices.below(FetchError::ALL.len())];
        return flow.handle(now, FlowInput::Fetched(id, Err(error)));
    }
    let status = [200, 200, 200, 204, 302, 404, 500][choices.below(7)];
    let media_type = match choices.below(4) {
        0 => None,
        1 => Some("text/plain".to_owned()),
        2 => Some("application/xml; charset=windows-1251".to_owned()),
        _ => Some("application/xml".to_owned()),
    };
    let response = HttpResponse { status, url, media_type, headers: Vec::new(), body: body.to_vec() };
    flow.handle(now, FlowInput::Fetched(id, Ok(&response)));
}

fn digit(choices: &mut Bytes<'_>) -> Digit {
    Digit::ALL[choices.below(Digit::ALL.len())]
}

/// Some end of some action; that it does not fit the action is part of the test.
fn outcome(choices: &mut Bytes<'_>) -> Outcome {
    let length = Duration::from_millis(u64::from(choices.byte()) * 40);
    match choices.below(11) {
        0 | 1 => Outcome::Done,
        2 => Outcome::Interrupted(digit(choices)),
        3 | 4 => {
            let digits: Digits = (0..choices.below(6)).map(|_| digit(choices)).collect();
            let by = match choices.below(3) {
                0 => CollectEnd::Full,
                1 => CollectEnd::Finish(digit(choices)),
                _ => CollectEnd::Timeout,
            };
            Outcome::Collected(Collected { digits, by })
        }
        5 => Outcome::Recorded(Recorded {
            length,
            file: (choices.byte() > 20).then(|| "a.wav".to_owned()),
            finish: None,
            is_silent: choices.byte() > 200,
        }),
        6 => Outcome::Dialed(Dialed {
            answered: (choices.byte() > 99).then(|| choices.below(12)),
            talked: length,
            ..Dialed::nobody(Cause::ALL[choices.below(Cause::ALL.len())])
        }),
        7 => Outcome::Cancelled,
        8 => Outcome::LegGone,
        9 => Outcome::Failed(ActionFailure::LegState),
        _ => Outcome::Failed(ActionFailure::Status(404)),
    }
}

fn drain(
    flow: &mut dyn Flow,
    actions: &mut Vec<ActionId>,
    fetches: &mut Vec<(FetchId, String)>,
    ended: &mut bool,
    seen: &mut dyn FnMut(&HttpRequest),
) {
    for _ in 0..OUTPUTS_MAX {
        let Some(output) = flow.poll() else { return };
        match output {
            FlowOutput::Start { id, .. } => {
                assert!(!*ended, "an action after the end");
                assert!(!actions.contains(&id), "an action id given twice");
                actions.push(id);
            }
            FlowOutput::Fetch { id, request, .. } => {
                assert!(!*ended, "a fetch after the end");
                seen(&request);
                fetches.push((id, request.url));
            }
            FlowOutput::Mail(id, letter) => {
                assert!(!*ended, "a letter after the end");
                assert!(!letter.to.is_empty() && letter.port > 0);
                fetches.push((id, String::new()));
            }
            FlowOutput::Notify(notice) => seen(&notice.request),
            FlowOutput::End { .. } => {
                assert!(!*ended, "two ends");
                *ended = true;
            }
            FlowOutput::Keep { .. }
            | FlowOutput::Suspend(..)
            | FlowOutput::Lamp { .. }
            | FlowOutput::Cancel(_)
            | FlowOutput::Reply(..)
            | FlowOutput::Script(_)
            | FlowOutput::Log(_)
            | FlowOutput::Step(_)
            | FlowOutput::Warn(_) => {}
        }
    }
    panic!("the flow asks without end");
}
