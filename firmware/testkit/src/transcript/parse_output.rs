//! Reads lines that begin with `<` back into what they say: for transcripts whose
//! flow is the transcript itself.

use std::time::Duration;

use tipring_model::fetch::{HttpRequest, Method};
use tipring_model::flow::{
    Action, Collect, Dial, DialOrder, FlowOutput, Pause, Place, Record, Reply, Sides, Step, Target,
};
use tipring_model::line::PlaceExtras;
use tipring_model::prompt::{Gender, Prompt, PromptSource, Speech};
use tipring_model::{ActionId, CallerId, Cause, DigitSet, Digits, FetchId, LegId, MessageId};

use super::input::leg_id;
use super::{LEG, milliseconds};

/// The output that a line names.
///
/// # Panics
/// On a line that names none: a fault of the test.
#[must_use]
pub fn parse_output(line: &str) -> FlowOutput {
    let bad = || -> ! { panic!("not an output: {line}") };
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    if let Some(number) = kind.strip_prefix('#') {
        let (rest, on) = match rest.rsplit_once(" on=") {
            Some((rest, leg)) => (rest, leg_id(leg)),
            None => (rest, LEG),
        };
        let action = action(rest);
        let on = (!matches!(action, Action::Place(_))).then_some(on);
        return FlowOutput::Start { id: ActionId(id(number)), on, action };
    }
    match kind {
        "cancel" => FlowOutput::Cancel(ActionId(id(rest))),
        "fetch" => {
            let words: Vec<&str> = rest.split(' ').collect();
            let [number, method, url, ..] = words.as_slice() else { bad() };
            FlowOutput::Fetch {
                id: FetchId(id(number)),
                request: HttpRequest {
                    method: Method::parse(method).unwrap_or_else(|| bad()),
                    url: (*url).to_owned(),
                    headers: Vec::new(),
                    body: None,
                    timeout: time(rest, "timeout").unwrap_or_default(),
                    total: None,
                    redirects_max: 5,
                    body_max_bytes: 65_536,
                    cuts_body: false,
                    connect: None,
                    moves_fields: false,
                },
                document: None,
            }
        }
        "reply" => {
            let words: Vec<&str> = rest.splitn(4, ' ').collect();
            let [number, status, media_type, body] = words.as_slice() else { bad() };
            let reply = Reply {
                status: status.parse().unwrap_or_else(|_| bad()),
                media_type: (*media_type).to_owned(),
                body: body.as_bytes().to_vec(),
            };
            FlowOutput::Reply(MessageId(id(number)), reply)
        }
        "step" => {
            let words: Vec<&str> = rest.splitn(3, ' ').collect();
            let [verdict, path, ..] = words.as_slice() else { bad() };
            FlowOutput::Step(Step {
                command: path.split(['.', '[']).next_back().unwrap_or("").to_owned(),
                path: (*path).to_owned(),
                success: *verdict == "ok",
                reason: words.get(2).copied().unwrap_or("").to_owned(),
                tag: None,
            })
        }
        "end" => {
            let (cause, label) = rest.split_once(' ').unwrap_or((rest, ""));
            FlowOutput::End {
                cause: Cause::from_name(cause).unwrap_or_else(|| bad()),
                label: label.to_owned(),
            }
        }
        _ => bad(),
    }
}

fn id(text: &str) -> u32 {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

/// `key=…` up to the next space.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut words = text.split(' ');
    words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn time(text: &str, key: &str) -> Option<Duration> {
    value(text, key).map(milliseconds)
}

fn keys(text: &str, key: &str) -> DigitSet {
    match value(text, key) {
        None => DigitSet::NONE,
        Some("ALL") => DigitSet::ALL,
        Some(keys) => DigitSet::of(keys),
    }
}

fn action(text: &str) -> Action {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    let cause = || Cause::from_name(rest).unwrap_or_else(|| panic!("not a cause: {rest}"));
    match kind {
        "answer" => Action::Answer,
        "reject" => Action::Reject(cause()),
        "release" => Action::Release(cause()),
        "prompt" => Action::Prompt(prompt(rest)),
        "collect" => {
            let (own, prompts) = rest.split_once(" prompts: ").unwrap_or((rest, ""));
            Action::Collect(Collect {
                prompts: prompts.split("; ").filter(|text| !text.is_empty()).map(prompt).collect(),
                digits_max: value(own, "max").map_or(1, |max| id(max) as usize),
                finish: keys(own, "finish"),
                first_digit: time(own, "first"),
                between_digits: time(own, "between"),
                total: time(own, "total"),
                typed_ahead: own.split(' ').any(|word| word == "ahead"),
            })
        }
        "record" => {
            let tag = value(rest, "tag").unwrap_or("").to_owned();
            let sides = if value(rest, "sides") == Some("both") { Sides::Both } else { Sides::Heard };
            let length_max = time(rest, "max").unwrap_or_default();
            Action::Record(Record { finish: keys(rest, "finish"), ..Record::new(tag, sides, length_max) })
        }
        "dial" => {
            let targets = rest.split(' ').filter_map(target).collect();
            let in_turn = value(rest, "order") == Some("turn");
            let order = if in_turn { DialOrder::InOrder } else { DialOrder::AllAtOnce };
            Action::Dial(Dial {
                caller_id: value(rest, "from").map(CallerId::of),
                early_media: rest.split(' ').any(|word| word == "early"),
                ..Dial::new(targets, order, time(rest, "ring").unwrap_or_default())
            })
        }
        "place" => Action::Place(Place {
            target: rest.split(' ').find_map(target).unwrap_or_else(|| panic!("no target: {rest}")),
            caller_id: value(rest, "from").map(CallerId::of).unwrap_or_default(),
            ring_max: time(rest, "ring").unwrap_or_default(),
            extras: PlaceExtras::default(),
        }),
        "bridge" => Action::Bridge(leg(rest)),
        "digits" => Action::SendDigits(Digits::parse(rest).unwrap_or_default()),
        "pause" => Action::Pause(Pause {
            length: milliseconds(rest.split(' ').next().unwrap_or("")),
            finish: keys(rest, "finish"),
            keeps_key: false,
        }),
        _ => panic!("not an action: {text}"),
    }
}

fn leg(name: &str) -> LegId {
    leg_id(name)
}

fn target(word: &str) -> Option<Target> {
    match word.split_once(':')? {
        ("number", number) => Some(Target::Number(number.to_owned())),
        ("sip", address) => Some(Target::Sip(address.to_owned())),
        _ => None,
    }
}

fn prompt(text: &str) -> Prompt {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    let word = || rest.split(' ').next().unwrap_or("").to_owned();
    let source = match kind {
        "url" => PromptSource::Url(word()),
        "library" => PromptSource::Library(word()),
        "silence" => PromptSource::Silence(milliseconds(&word())),
        "recording" => PromptSource::Recording(ActionId(id(word().trim_start_matches('#')))),
        "say" => {
            let words = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
            PromptSource::Speech(Speech {
                text: words.map_or("", |(words, _)| words).to_owned(),
                language: value(rest, "lang").unwrap_or("en-US").to_owned(),
                gender: Gender::Female,
                voice: None,
                is_ssml: false,
            })
        }
        _ => panic!("not a prompt: {text}"),
    };
    let loops = value(text, "loops").map_or(1, id);
    Prompt { loops, barge_in: keys(text, "barge"), ..Prompt::once(source) }
}
