//! 20,000 broken documents: each is refused or runs to an end, and afterwards a good
//! one still runs.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tipring_flows::{Program, dialect};
use tipring_model::call::{CallFacts, Direction, Origin};
use tipring_model::fetch::{FetchError, HttpResponse, Method};
use tipring_model::flow::{
    Action, ActionFailure, Announcement, CollectEnd, Collected, Dialed, Flow, FlowInput, FlowOutput, Left,
    LeftBy, LegEvent, Outcome, QueueEnd, QueueEvent, Queued, Recorded, RoomEvent,
};
use tipring_model::line::Supervision;
use tipring_model::settings::{RawSettings, RawValue};
use tipring_model::{ActionId, CallId, CallerId, Cause, Digits, LegId, LineId, Number};
use tipring_testkit::Clock;
use tipring_testkit::random::Random;

const DOCUMENTS: usize = 20_000;
/// The leg that a call begins with.
const FIRST: LegId = LegId::offered(LineId(0), 1);
/// Outputs after which a flow that has not ended is in a circle.
const OUTPUTS_MAX: usize = 20_000;

/// A dialect, a document of it that always runs, and the labels with which that may end.
struct Subject {
    dialect: &'static str,
    good: &'static str,
    labels: [&'static str; 2],
    /// The setting with which a flow asks a server for its document.
    asks: (&'static str, &'static str),
    /// What the server calls its documents.
    media_type: Option<&'static str>,
    /// The label of a call whose document was refused.
    refused: &'static str,
}

const OPENTACT: Subject = Subject {
    dialect: "opentact",
    good: "<Response><Say>Hello.</Say><Gather><DTMF value=\"1\"><Hangup tag=\"done\"/></DTMF></Gather></Response>",
    labels: ["done", "flow_end"],
    asks: ("url", "http://app.test/flow"),
    media_type: None,
    refused: "flow_error",
};

const TWIML: Subject = Subject {
    dialect: "twiml",
    good: "<Response><Say>Hello.</Say><Gather/><Dial>15550111</Dial><Hangup/></Response>",
    labels: ["hangup", "hangup"],
    asks: ("url", "http://app.test/flow"),
    media_type: None,
    refused: "flow_error",
};

const KAZOO: Subject = Subject {
    dialect: "kazoo",
    good: "{\"module\":\"tts\",\"data\":{\"text\":\"x\"},\"children\":{\"_\":{\"module\":\"hangup\"}}}",
    labels: ["hangup", "hangup"],
    asks: (
        "document",
        "{\"module\":\"pivot\",\"data\":{\"voice_url\":\"http://app.test/flow\"},\"children\":{\"_\":{\"module\":\"response\"}}}",
    ),
    // Both JSON and XML are tried.
    media_type: Some("text/plain"),
    refused: "response",
};

fn corpus(dialect: &str) -> Vec<Vec<u8>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(dialect).join("golden");
    let mut names: Vec<_> = std::fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let texts = names.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let mut documents: Vec<Vec<u8>> = Vec::new();
    for text in texts {
        // Lines that follow each other are one document.
        let mut document = String::new();
        for line in text.lines().chain([""]) {
            match line.strip_prefix("| ") {
                Some(line) => document = format!("{document}{line}\n"),
                None if document.is_empty() => {}
                None => documents.push(std::mem::take(&mut document).into_bytes()),
            }
        }
    }
    documents
}

/// The document with one attribute value replaced by an odd one: it stays well-formed.
fn odd_value(random: &mut Random, document: &[u8]) -> Vec<u8> {
    const ODD: [&str; 12] = [
        "",
        " ",
        "-1",
        "0",
        "18446744073709551616",
        "true",
        "#*",
        "x&#10;y",
        "http://",
        "../../..",
        "sip:a@b?X-c=d",
        "http://a.test/x#rc=5&amp;rp=all",
    ];
    let quotes: Vec<usize> = (0..document.len()).filter(|at| document[*at] == b'"').collect();
    let pairs: Vec<(usize, usize)> = quotes.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    if pairs.is_empty() {
        return document.to_vec();
    }
    let (from, to) = pairs[random.below(pairs.len())];
    [&document[..=from], ODD[random.below(ODD.len())].as_bytes(), &document[to..]].concat()
}

fn program(name: &str, settings: &RawSettings) -> Option<Box<dyn Program>> {
    (dialect(name).unwrap().open)(settings, &Rc::default()).ok()
}

/// What may happen to a leg while an action runs, before it ends.
fn meanwhile(flow: &mut dyn Flow, clock: &Clock, random: &mut Random, id: ActionId, action: &Action) {
    let mut leg_event = |leg, event| flow.handle(clock.now(), FlowInput::Leg(leg, event));
    if let Action::Dial(dial) = action {
        for (n, target) in dial.targets.iter().enumerate().take(if dial.reports { 3 } else { 0 }) {
            let leg = LegId::placed(1, 100 * id.0 + u32::try_from(n).unwrap());
            leg_event(leg, LegEvent::Placed { by: id, target: n });
            leg_event(leg, LegEvent::Alerting);
            if random.below(2) == 0 {
                leg_event(leg, LegEvent::Answered(Supervision::Signalled));
            }
            if !target.held && random.below(2) == 0 {
                leg_event(leg, LegEvent::Released(Cause::NormalClearing));
            }
        }
    } else if let Action::Enqueue(_) = action {
        let average = Duration::from_secs(1);
        let position = QueueEvent::Position { position: 1, waiting: 1, average, place: None };
        leg_event(FIRST, LegEvent::Queue(position));
        if random.below(2) == 0 {
            let announce = Announcement { url: "http://app.test/soon".to_owned(), method: Method::Get };
            let announce = (random.below(2) == 0).then_some(announce);
            let by = LegId::offered(LineId(0), 9);
            leg_event(FIRST, LegEvent::Queue(QueueEvent::Called { announce, by }));
        }
    } else if let Action::Conference(_) = action {
        let (began, coached) = (random.below(2) == 0, random.below(2) == 0);
        leg_event(FIRST, LegEvent::Room(RoomEvent::Entered { members: 1, began, coached }));
        leg_event(FIRST, LegEvent::Room(RoomEvent::Records));
        leg_event(FIRST, LegEvent::Held(random.below(2) == 0));
        leg_event(FIRST, LegEvent::Room(RoomEvent::Began));
    }
}

/// Runs a flow with arbitrary but legal answers; the label of its end.
fn run(
    flow: &mut dyn Flow,
    random: &mut Random,
    first: Option<&[u8]>,
    media_type: Option<&str>,
) -> Option<String> {
    let mut clock = Clock::new();
    let facts = CallFacts {
        id: CallId::from_random(1),
        leg: Some(FIRST),
        direction: Direction::Inbound,
        from: CallerId::of("15550100"),
        to: Number::new("15550199"),
        answered: false,
        codec: "PCMU",
        started_unix_ms: 0,
        origin: Origin::default(),
        kept: Rc::default(),
        session: None,
    };
    flow.handle(clock.now(), FlowInput::Started(&facts));
    for _ in 0..OUTPUTS_MAX {
        let Some(output) = flow.poll() else {
            clock.advance_to(flow.poll_timeout()?);
            flow.handle(clock.now(), FlowInput::Timeout);
            continue;
        };
        clock.advance(Duration::from_millis(20));
        match output {
            FlowOutput::Start { id, action, .. } => {
                meanwhile(flow, &clock, random, id, &action);
                let digits = Digits::parse(["", "1", "12", "#"][random.below(4)]).unwrap();
                let outcome = if let Action::Collect(_) = action {
                    Outcome::Collected(Collected { digits, by: CollectEnd::Timeout })
                } else if let Action::Dial(_) | Action::PickUp(_) | Action::Page(_) = action {
                    let answered = (random.below(2) == 0).then_some(0);
                    Outcome::Dialed(Dialed { answered, ..Dialed::nobody(Cause::Busy) })
                } else if let Action::Record(_) = action {
                    let length = Duration::ZERO;
                    Outcome::Recorded(Recorded { length, file: None, finish: None, is_silent: true })
                } else if let Action::Enqueue(_) = action {
                    let (waited, talked) = (Duration::ZERO, Duration::ZERO);
                    Outcome::Queued(Queued { end: QueueEnd::Talked, waited, talked })
                } else if let Action::Conference(_) = action {
                    Outcome::Left(Left { by: LeftBy::RoomEnded, stayed: Duration::ZERO })
                } else if action != Action::Answer && random.below(5) == 0 {
                    Outcome::Failed(ActionFailure::NotOffered)
                } else {
                    Outcome::Done
                };
                flow.handle(clock.now(), FlowInput::Ended(id, outcome));
            }
            FlowOutput::Fetch { id, request, .. } => match first {
                Some(body) if random.below(3) > 0 => {
                    let answer = HttpResponse {
                        status: 200,
                        url: request.url,
                        media_type: media_type.map(str::to_owned),
                        headers: Vec::new(),
                        body: body.to_vec(),
                    };
                    flow.handle(clock.now(), FlowInput::Fetched(id, Ok(&answer)));
                }
                Some(_) | None => flow.handle(clock.now(), FlowInput::Fetched(id, Err(FetchError::Timeout))),
            },
            FlowOutput::Mail(id, _) => {
                flow.handle(clock.now(), FlowInput::Fetched(id, Err(FetchError::Timeout)));
            }
            FlowOutput::End { label, .. } => return Some(label),
            FlowOutput::Cancel(_)
            | FlowOutput::Reply(..)
            | FlowOutput::Script(_)
            | FlowOutput::Log(_)
            | FlowOutput::Notify(_)
            | FlowOutput::Keep { .. }
            | FlowOutput::Suspend(..)
            | FlowOutput::Lamp { .. }
            | FlowOutput::Step(_)
            | FlowOutput::Warn(_) => {}
        }
    }
    panic!("the flow does not come to an end");
}

#[test]
fn twenty_thousand_mutated_documents_of_opentact() {
    mutate(&OPENTACT);
}

#[test]
fn twenty_thousand_mutated_documents_of_twiml() {
    mutate(&TWIML);
}

#[test]
fn twenty_thousand_mutated_documents_of_kazoo() {
    mutate(&KAZOO);
}

fn mutate(subject: &Subject) {
    let corpus = corpus(subject.dialect);
    let program = |settings: &RawSettings| program(subject.dialect, settings);
    assert!(corpus.len() > 200);
    let mut random = Random::new(7);
    let mut fetched = RawSettings::new();
    fetched.set(subject.asks.0, RawValue::Text(subject.asks.1.to_owned()));
    let mut good = RawSettings::new();
    good.set("document", RawValue::Text(subject.good.to_owned()));
    let (mut refused, mut ran) = (0, 0);
    for n in 0..DOCUMENTS {
        let whole = &corpus[n / 2 % corpus.len()];
        let document = if n % 2 == 0 { random.mutate(whole) } else { odd_value(&mut random, whole) };
        // As the answer of a server, in any encoding.
        let mut flow = program(&fetched).unwrap().start();
        let label = run(flow.as_mut(), &mut random, Some(&document), subject.media_type);
        if label.as_deref() == Some(subject.refused) {
            refused += 1
        } else {
            ran += 1
        }
        // And as a document of the configuration.
        if let Ok(text) = String::from_utf8(document) {
            let mut settings = RawSettings::new();
            settings.set("document", RawValue::Text(text));
            if let Some(program) = program(&settings) {
                run(program.start().as_mut(), &mut random, None, None);
                ran += 1;
            }
        }
        if n % 50 == 0 {
            let mut flow = program(&good).unwrap().start();
            let label = run(flow.as_mut(), &mut Random::new(n as u64), None, None).unwrap();
            assert!(subject.labels.contains(&label.as_str()), "{label}");
        }
    }
    // Both kinds must come up, or the mutations say nothing.
    assert!(refused > 1_000 && ran > 500, "{refused} refused, {ran} ran");
}
