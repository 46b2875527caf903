//! Transcripts: scripted runs of a flow as text, so that refactoring never
//! touches them.
//!
//! A transcript holds what the flow is told (`>`), what it must ask for (`<`),
//! settings (`set`), values kept from earlier calls (`kept`), a static document
//! (`document`) and comments (`#`).
//! [`replay`] runs it and returns the same text with the outputs that really
//! came; a golden test compares the two.

mod input;
mod output;
mod parse_output;

pub use input::{Input, Start};
pub use output::{outcome_text, write_output};
pub use parse_output::parse_output;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use tipring_model::call::{CallFacts, Direction};
use tipring_model::directory::{Directory, Group, MailboxEntry, Phone, User};
use tipring_model::flow::{Flow, FlowInput, FlowOutput};
use tipring_model::recordings::RecordingAddresses;
use tipring_model::settings::{FieldError, RawSettings, RawValue};
use tipring_model::{CallId, CallerId, LegId, LineId, Number};

use crate::Clock;

/// The call of every transcript.
pub const CALL: CallId = CallId(0x1111_1111_2222_4333_8444_5555_5555_5555);

/// The first leg of every transcript.
pub const LEG: LegId = LegId::offered(LineId(0), 1);

/// The office of every transcript: Ann at 201 and 202, Bob at 203, a door at 204; the group
/// `sales` of both; mailboxes `ann` (number 201) and `front` (number 900).
#[must_use]
pub fn office() -> Directory {
    let text = |text: &str| text.to_owned();
    let user = |id: &str, name: &str, phones: &[&str], mailbox: Option<&str>| User {
        id: text(id),
        name: text(name),
        phones: phones.iter().map(|phone| text(phone)).collect(),
        mailbox: mailbox.map(text),
        ..User::default()
    };
    let mailbox = |id: &str, number: &str, pin: Option<&str>, phones: &[&str]| MailboxEntry {
        id: text(id),
        number: text(number),
        pin: pin.map(text),
        asks_pin: false,
        greeting: None,
        skips_greeting: false,
        newest_first: false,
        skips_instructions: false,
        announces_only: false,
        operator: None,
        phones: phones.iter().map(|phone| text(phone)).collect(),
        email: Vec::new(),
        messages_max: 100,
    };
    let phones = ["201", "202", "203", "204"];
    Directory {
        account: text("00112233445566778899aabbccddeeff"),
        name: text("office"),
        time_zone: text("Europe/Berlin"),
        recordings: RecordingAddresses::under("http://office.test/recordings"),
        users: vec![
            user("ann", "Ann Lee", &["201", "202"], Some("ann")),
            User { language: Some(text("de-DE")), ..user("bob", "Bob Roe", &["203"], None) },
        ],
        phones: phones.map(|number| Phone { line: format!("phone-{number}"), number: text(number) }).into(),
        trunks: vec![text("provider"), text("second")],
        groups: vec![Group { id: text("sales"), members: vec![text("ann"), text("bob")] }],
        mailboxes: vec![
            mailbox("ann", "201", Some("4711"), &["201"]),
            mailbox("front", "900", None, &["204"]),
        ],
    }
}

/// Runs a transcript. `open` makes the flow of the settings that it names; refused
/// settings are written out as `< refused KEY: WHY`.
///
/// # Panics
/// On a line that is no transcript line.
#[must_use]
pub fn replay(
    text: &str,
    open: impl FnOnce(&RawSettings) -> Result<Box<dyn Flow>, Vec<FieldError>>,
) -> String {
    let mut lines = text.lines().peekable();
    let mut settings = RawSettings::new();
    let mut real = String::new();
    let mut clock = Clock::new();
    let mut open = Some(open);
    let mut flow: Option<Box<dyn Flow>> = None;
    let mut asked = HashMap::new();
    let mut kept = BTreeMap::new();
    while let Some(line) = lines.next() {
        if line.starts_with('<') {
            continue; // Written anew below.
        }
        let _ = writeln!(real, "{line}");
        let mut body = || {
            let mut body = String::new();
            while let Some(line) = lines.next_if(|line| line.starts_with('|')) {
                let _ = writeln!(real, "{line}");
                body.push_str(line.strip_prefix("| ").unwrap_or(&line[1..]));
                body.push('\n');
            }
            body
        };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(setting) = line.strip_prefix("set ") {
            let (key, value) = setting.split_once(' ').unwrap_or((setting, ""));
            settings.set(key, raw_value(value));
            continue;
        }
        if let Some(value) = line.strip_prefix("kept ") {
            let (name, value) = value.split_once(' ').unwrap_or((value, ""));
            kept.insert(name.to_owned(), value.to_owned());
            continue;
        }
        if line == "document" {
            settings.set("document", RawValue::Text(body()));
            continue;
        }
        let Some(input) = line.strip_prefix("> ") else { panic!("not a transcript line: {line}") };
        let input = Input::parse(input, &mut body);
        if let Input::Clock(unix_ms) = input {
            clock = Clock::at(unix_ms);
            continue;
        }
        if let Some(open) = open.take() {
            match open(&settings) {
                Ok(opened) => flow = Some(opened),
                Err(errors) => {
                    for error in errors {
                        let _ = writeln!(real, "< refused {}: {}", error.key, error.problem);
                    }
                }
            }
        }
        let Some(flow) = flow.as_mut() else { continue };
        let mut input = input;
        if let Input::Fetched(id, Ok(answer)) = &mut input {
            // The hop that answers is the one that was asked.
            answer.url = asked.get(id).cloned().unwrap_or_default();
        }
        let mut record = |output: &FlowOutput| {
            if let FlowOutput::Fetch { id, request, .. } = output {
                asked.insert(*id, request.url.clone());
            }
            write_output(&mut real, output, LEG);
        };
        deliver(flow.as_mut(), &mut clock, &kept, input, &mut record);
    }
    real
}

fn deliver(
    flow: &mut dyn Flow,
    clock: &mut Clock,
    kept: &BTreeMap<String, String>,
    input: Input,
    record: &mut dyn FnMut(&FlowOutput),
) {
    match input {
        Input::Clock(_) => {}
        Input::Wait(by) => {
            let until = clock.now().instant + by;
            while let Some(due) = flow.poll_timeout().filter(|due| *due <= until) {
                clock.advance_to(due);
                flow.handle(clock.now(), FlowInput::Timeout);
                drain(flow, record);
            }
            clock.advance_to(until);
        }
        Input::Started(start) => {
            let Start { from, name, to, answered, direction, origin, session } = *start;
            let facts = CallFacts {
                id: CALL,
                leg: (direction != Some(Direction::Outbound) || answered).then_some(LEG),
                direction: direction.unwrap_or(Direction::Inbound),
                from: CallerId { number: from.map(|from| Number::new(&from)), name },
                to: Number::new(&to),
                answered,
                codec: "PCMU",
                started_unix_ms: clock.now().unix_ms,
                origin,
                kept: Rc::new(RefCell::new(kept.clone())),
                session: session.map(Rc::new),
            };
            flow.handle(clock.now(), FlowInput::Started(&facts));
        }
        Input::Ended(id, outcome) => flow.handle(clock.now(), FlowInput::Ended(id, outcome)),
        Input::Leg(leg, event) => flow.handle(clock.now(), FlowInput::Leg(leg, event)),
        Input::Fetched(id, answer) => {
            let answer = answer.as_ref().map_err(|error| *error);
            flow.handle(clock.now(), FlowInput::Fetched(id, answer));
        }
        Input::Message(id, message) => flow.handle(clock.now(), FlowInput::Message(id, &message)),
        Input::Stopped => flow.handle(clock.now(), FlowInput::Stopped),
    }
    drain(flow, record);
}

fn drain(flow: &mut dyn Flow, record: &mut dyn FnMut(&FlowOutput)) {
    /// A flow that asks for more than this after one input is in a circle.
    const OUTPUTS_MAX: usize = 10_000;
    for _ in 0..OUTPUTS_MAX {
        let Some(output) = flow.poll() else { return };
        record(&output);
    }
    panic!("the flow asks without end");
}

fn raw_value(text: &str) -> RawValue {
    // `[a,b]` is a list.
    if let Some(list) = text.strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
        return RawValue::List(list.split(',').map(str::to_owned).collect());
    }
    match text {
        "true" => RawValue::Toggle(true),
        "false" => RawValue::Toggle(false),
        _ => text.parse().map_or_else(|_| RawValue::Text(text.to_owned()), RawValue::Number),
    }
}

/// `1500ms` as a duration.
pub(crate) fn milliseconds(text: &str) -> Duration {
    let number = text.strip_suffix("ms").unwrap_or_else(|| panic!("not a time: {text}"));
    Duration::from_millis(number.parse().unwrap_or_else(|_| panic!("not a time: {text}")))
}

/// Compares a transcript file with what really happens. With `UPDATE_EXPECT=1`
/// the file is rewritten instead, and the difference is for a person to review.
///
/// # Errors
/// The first line that differs, with its number.
pub fn check(
    path: &std::path::Path,
    open: impl FnOnce(&RawSettings) -> Result<Box<dyn Flow>, Vec<FieldError>>,
) -> Result<(), String> {
    let expected = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let real = replay(&expected, open);
    if real.trim_end() == expected.trim_end() {
        return Ok(());
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        return std::fs::write(path, real).map_err(|error| error.to_string());
    }
    let differs = expected.lines().zip(real.lines()).position(|(a, b)| a != b);
    let at = differs.unwrap_or_else(|| expected.lines().count().min(real.lines().count()));
    let line = |text: &str| text.lines().nth(at).unwrap_or("(nothing)").to_owned();
    Err(format!("{}:{}\n  expected {}\n  got      {}", path.display(), at + 1, line(&expected), line(&real)))
}
