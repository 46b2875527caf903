//! Three programs that are not Opentact, written by hand from their specifications
//! and run by the call core: a tree (Kazoo), an IVR of contexts (Call Interactive)
//! and a script with several legs and no first one (VoxEngine). They show that the
//! model carries them before their dialects are written.
//!
//! `!` what lines and media report, `>` what the core tells the program, `<` what
//! the program asks for, `=` what the core asks of lines and media.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tipring_calls::{Call, CallInput, CallOutput, Limits, MediaCommand, MediaEvent};
use tipring_model::call::{CallFacts, Direction, Origin};
use tipring_model::flow::{Flow, FlowInput, FlowOutput, LegEvent, Message, Moment, Recorded};
use tipring_model::line::{LineCommand, LineEvent, Supervision};
use tipring_model::{CallerId, Cause, Digit, DigitPath, LegId, LineId, MessageId, Number, PlayId, RecordId};
use tipring_testkit::Clock;
use tipring_testkit::transcript::{CALL, Input, LEG, outcome_text, parse_output, write_output};

/// A program that says what the transcript says.
struct Script {
    /// For each `>` line the outputs that follow it.
    answers: VecDeque<Vec<FlowOutput>>,
    outputs: VecDeque<FlowOutput>,
    trace: Rc<RefCell<String>>,
}

impl Flow for Script {
    fn handle(&mut self, _: Moment, input: FlowInput<'_>) {
        let _ = writeln!(self.trace.borrow_mut(), "> {}", input_text(&input));
        self.outputs.extend(self.answers.pop_front().unwrap_or_default());
    }

    fn poll(&mut self) -> Option<FlowOutput> {
        let output = self.outputs.pop_front()?;
        write_output(&mut self.trace.borrow_mut(), &output, LEG);
        Some(output)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

fn input_text(input: &FlowInput<'_>) -> String {
    match input {
        FlowInput::Started(facts) if facts.leg.is_none() => "started without a leg".to_owned(),
        FlowInput::Started(_) => "started".to_owned(),
        FlowInput::Ended(id, outcome) => format!("ended {id} {}", outcome_text(outcome)),
        FlowInput::Leg(leg, event) => match event {
            LegEvent::Placed { by, .. } => format!("leg {leg} placed by={by}"),
            LegEvent::Alerting => format!("leg {leg} alerting"),
            LegEvent::Answered(_) => format!("leg {leg} answered"),
            LegEvent::Digit(digit, _) => format!("leg {leg} digit {digit}"),
            LegEvent::Released(cause) => format!("leg {leg} released {cause}"),
            LegEvent::Room(event) => format!("leg {leg} room {event:?}"),
            LegEvent::Held(held) => format!("leg {leg} held {held}"),
            LegEvent::EarlyMedia => format!("leg {leg} early media"),
            LegEvent::Streaming(action) => format!("leg {leg} streaming {action}"),
            LegEvent::Silent(silent) => format!("leg {leg} silent {silent}"),
            LegEvent::Playing(action, _) => format!("leg {leg} playing {action}"),
            LegEvent::Queue(event) => format!("leg {leg} queue {event:?}"),
            LegEvent::Offered(offer) => format!("leg {leg} offered to {}", offer.to),
            LegEvent::Signalled(signal) => format!("leg {leg} signalled {signal:?}"),
        },
        FlowInput::Fetched(id, Ok(answer)) => format!("fetched {id} {}", answer.status),
        FlowInput::Fetched(id, Err(error)) => format!("fetched {id} error {error}"),
        FlowInput::Message(id, message) => format!("message {id} {} {}", message.method, message.path),
        FlowInput::Script(said) => format!("script {}", said.is_ok()),
        FlowInput::Stopped => "stopped".to_owned(),
        FlowInput::Timeout => "timeout".to_owned(),
    }
}

fn output_text(output: &CallOutput) -> Option<String> {
    Some(match output {
        CallOutput::Place { leg, to, .. } => format!("place {leg} {to}"),
        CallOutput::Line(command) => match command {
            LineCommand::Place { leg, to, .. } => format!("place {leg} {to}"),
            LineCommand::Alert { leg, .. } => format!("alert {leg}"),
            LineCommand::Answer { leg } => format!("answer {leg}"),
            LineCommand::SendDigits { leg, digits } => format!("digits {leg} {digits}"),
            LineCommand::Refer { leg, to } => format!("refer {leg} {to}"),
            LineCommand::Transfer { leg, referral, .. } => format!("transfer {leg} {}", referral.to),
            LineCommand::EndTransfer { leg, status } => format!("end-transfer {leg} {status}"),
            LineCommand::Flash { leg } => format!("flash {leg}"),
            LineCommand::Signal { leg, signal } => format!("signal {leg} {signal:?}"),
            LineCommand::Release { leg, cause } => format!("release {leg} {cause}"),
        },
        CallOutput::Media(leg, command) => match command {
            MediaCommand::Play { play, .. } => format!("play {leg} {play}"),
            MediaCommand::StopPlay(play) => format!("stop {leg} {play}"),
            MediaCommand::Record { record, spec } => format!("record {leg} {record} {}", spec.tag),
            MediaCommand::Listen => format!("listen {leg}"),
            MediaCommand::Watch(_) => format!("watch {leg}"),
            MediaCommand::Suspend(play, still) => format!("suspend {leg} {play} {still}"),
            MediaCommand::StopRecord(record) => format!("stop-record {leg} {record}"),
            MediaCommand::SendDigits { play, digits } => format!("send {leg} {play} {digits}"),
        },
        CallOutput::Connect { from, to } => format!("connect {from} {to}"),
        CallOutput::Disconnect { from, to } => format!("disconnect {from} {to}"),
        CallOutput::Fetch { id, request, .. } => format!("fetch {id} {} {}", request.method, request.url),
        CallOutput::Mail(id, letter) => format!("mail {id} {}", letter.server),
        CallOutput::Reply(id, reply) => format!("reply {id} {}", reply.status),
        CallOutput::Over(cdr) => format!("over {} {} legs={}", cdr.cause, cdr.label, cdr.legs.len()),
        CallOutput::Exchange(seat, request) => format!("exchange {} {request:?}", seat.leg),
        CallOutput::Stream(id, leg, stream) => format!("stream {id} {leg} {}", stream.url),
        CallOutput::Detect(id, leg, _) => format!("detect {id} {leg}"),
        CallOutput::StopStream(id) => format!("stop-stream {id}"),
        CallOutput::Echo(leg, on) => format!("echo {leg} {on}"),
        CallOutput::Booth(leg, _) => format!("booth {leg}"),
        CallOutput::Mailbox(id, request) => format!("mailbox {id} {request:?}"),
        CallOutput::Lamp { name, shows, .. } => format!("lamp {name} {}", shows.as_str()),
        CallOutput::Keep { name, .. } => format!("keep {name}"),
        CallOutput::Script(_)
        | CallOutput::Log(_)
        | CallOutput::Notify(_)
        | CallOutput::Step { .. }
        | CallOutput::Warn(_) => return None,
    })
}

struct Stage {
    call: Call,
    clock: Clock,
    trace: Rc<RefCell<String>>,
}

impl Stage {
    fn give(&mut self, input: CallInput<'_>) {
        self.call.handle(self.clock.now(), input);
        while let Some(output) = self.call.poll() {
            if let Some(text) = output_text(&output) {
                let _ = writeln!(self.trace.borrow_mut(), "= {text}");
            }
        }
    }

    fn report(&mut self, line: &str, body: &mut dyn FnMut() -> String) {
        let words: Vec<&str> = line.split(' ').collect();
        let leg = |at: usize| leg_of(words.get(at).copied().unwrap_or(""));
        let number = |at: usize| words.get(at).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
        let digit =
            |at: usize| words.get(at).and_then(|t| t.chars().next()).and_then(Digit::from_char).unwrap();
        match words[0] {
            "start" => self.give(CallInput::Start),
            "alerting" => self.give(CallInput::Line(LineEvent::Alerting { leg: leg(1), early_media: false })),
            "answered" => self.give(CallInput::Line(LineEvent::Answered {
                leg: leg(1),
                supervision: Supervision::Signalled,
                codec: "PCMA",
            })),
            "released" => {
                let cause = Cause::from_name(words[2]).unwrap();
                self.give(CallInput::Line(LineEvent::Released { leg: leg(1), cause, status: None }));
            }
            "digit" => self.give(CallInput::Media(leg(1), MediaEvent::Digit(digit(2), DigitPath::Rfc4733))),
            "played" => self.give(CallInput::Media(leg(1), MediaEvent::PlayEnded(PlayId(number(2)), Ok(())))),
            "recorded" => {
                let recorded = Recorded {
                    length: Duration::from_secs(3),
                    file: Some(words[3].to_owned()),
                    finish: None,
                    is_silent: false,
                };
                self.give(CallInput::Media(
                    leg(1),
                    MediaEvent::RecordEnded(RecordId(number(2)), Ok(recorded)),
                ));
            }
            "message" => {
                let message = Message {
                    method: words[2].to_owned(),
                    path: words[3].to_owned(),
                    headers: Vec::new(),
                    body: Vec::new(),
                };
                self.give(CallInput::Message(MessageId(number(1)), &message));
            }
            "fetched" => {
                let Input::Fetched(id, answer) = Input::parse(line, body) else {
                    panic!("not an answer: {line}")
                };
                self.give(CallInput::Fetched(id, answer.as_ref().map_err(|error| *error)));
            }
            "wait" => {
                let ms: u64 = words[1].trim_end_matches("ms").parse().unwrap();
                let until = self.clock.now().instant + Duration::from_millis(ms);
                while let Some(due) = self.call.poll_timeout().filter(|due| *due <= until) {
                    self.clock.advance_to(due);
                    self.give(CallInput::Timeout);
                }
                self.clock.advance_to(until);
            }
            other => panic!("not a report: {other}"),
        }
    }
}

fn leg_of(name: &str) -> LegId {
    match name {
        "o0.1" => LegId::offered(LineId(0), 1),
        _ => LegId::placed(1, name.trim_start_matches("p1.").parse().unwrap()),
    }
}

/// Runs a transcript; what really happened.
fn run(text: &str) -> String {
    let mut answers: VecDeque<Vec<FlowOutput>> = VecDeque::new();
    for line in text.lines() {
        if line.starts_with("> ") {
            answers.push_back(Vec::new());
        } else if let Some(output) = line.strip_prefix("< ") {
            answers.back_mut().unwrap().push(parse_output(output));
        }
    }
    let trace = Rc::new(RefCell::new(String::new()));
    let without_leg = text.contains("> started without a leg");
    let clock = Clock::new();
    let facts = CallFacts {
        id: CALL,
        leg: (!without_leg).then_some(LEG),
        direction: Direction::Inbound,
        from: CallerId::of("15550100"),
        to: Number::new("15550199"),
        answered: false,
        codec: "PCMA",
        started_unix_ms: clock.now().unix_ms,
        origin: Origin::default(),
        kept: Rc::default(),
        session: None,
    };
    let script = Script { answers, outputs: VecDeque::new(), trace: Rc::clone(&trace) };
    let call = Call::new(1, facts, Box::new(script), Limits::default(), clock.now());
    let mut stage = Stage { call, clock, trace: Rc::clone(&trace) };
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            let _ = writeln!(trace.borrow_mut(), "{line}");
        }
        if let Some(report) = line.strip_prefix("! ") {
            let _ = writeln!(trace.borrow_mut(), "! {report}");
            let mut body = || {
                let mut body = String::new();
                while let Some(line) = lines.next_if(|line| line.starts_with("| ")) {
                    let _ = writeln!(trace.borrow_mut(), "{line}");
                    let _ = writeln!(body, "{}", &line[2..]);
                }
                body
            };
            stage.report(report, &mut body);
        }
    }
    let trace = trace.borrow();
    trace.clone()
}

fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name);
    let expected = std::fs::read_to_string(&path).unwrap();
    let real = run(&expected);
    if real != expected && std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &real).unwrap();
        return;
    }
    assert_eq!(real, expected, "{name}");
}

#[test]
fn a_tree_of_modules() {
    check("kazoo.txt");
}

#[test]
fn an_ivr_of_contexts() {
    check("call_interactive.txt");
}

#[test]
fn a_script_without_a_first_leg() {
    check("voxengine.txt");
}
