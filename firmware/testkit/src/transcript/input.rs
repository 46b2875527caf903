//! Lines that begin with `>`.

use std::time::Duration;

use tipring_model::call::{Direction, Origin, SessionFacts};
use tipring_model::fetch::{FetchError, HttpResponse, Method};
use tipring_model::flow::{
    ActionFailure, Announcement, CollectEnd, Collected, Detected, DialEnd, Dialed, Left, LeftBy, LegEvent,
    MailboxEnd, Message, Outcome, QueueEnd, QueueEvent, Queued, Recorded, Referred, RoomEvent, StreamEnd,
    StreamFailure,
};
use tipring_model::line::{Offer, Supervision};
use tipring_model::signal::{FarSignal, Remark, RemarkKind};
use tipring_model::{
    ActionId, CallerId, Cause, Digit, DigitPath, Digits, FetchId, LegId, LineId, MessageId, Number,
};

use super::{LEG, milliseconds};

/// One line that begins with `>`.
#[derive(Debug)]
#[expect(missing_docs, reason = "the variants are the words of the line")]
pub enum Input {
    Clock(i64),
    Wait(Duration),
    Started(Box<Start>),
    Ended(ActionId, Outcome),
    Leg(LegId, LegEvent),
    Fetched(FetchId, Result<HttpResponse, FetchError>),
    Message(MessageId, Message),
    Stopped,
}

/// How the call of a transcript begins.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are the words of the line")]
pub struct Start {
    pub from: Option<String>,
    pub name: Option<String>,
    pub to: String,
    pub answered: bool,
    pub direction: Option<Direction>,
    pub origin: Origin,
    pub session: Option<SessionFacts>,
}

impl Input {
    /// Reads the line; `body` gives the lines of text that follow it.
    ///
    /// # Panics
    /// On a line that is none: a fault of the test.
    pub fn parse(line: &str, body: &mut dyn FnMut() -> String) -> Self {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or("");
        let rest: Vec<&str> = words.collect();
        match kind {
            "clock" => Self::Clock(unix_ms(word(&rest, 0))),
            "wait" => Self::Wait(milliseconds(word(&rest, 0))),
            "started" => started(&rest),
            "ended" => Self::Ended(ActionId(number(word(&rest, 0))), outcome(&rest[1..])),
            "leg" => leg(&rest),
            "fetched" => fetched(&rest, body),
            "message" => Self::Message(
                MessageId(number(word(&rest, 0))),
                Message {
                    method: word(&rest, 1).to_owned(),
                    path: word(&rest, 2).to_owned(),
                    headers: Vec::new(),
                    body: body().into_bytes(),
                },
            ),
            "stopped" => Self::Stopped,
            _ => panic!("not an input: {line}"),
        }
    }
}

fn word<'a>(words: &[&'a str], at: usize) -> &'a str {
    words.get(at).copied().unwrap_or_else(|| panic!("a word is missing: {words:?}"))
}

fn number(text: &str) -> u32 {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

fn unix_ms(text: &str) -> i64 {
    let at: jiff::Timestamp = text.parse().unwrap_or_else(|_| panic!("not a time: {text}"));
    at.as_millisecond()
}

fn value<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn digit(text: &str) -> Digit {
    text.chars().next().and_then(Digit::from_char).unwrap_or_else(|| panic!("not a key: {text}"))
}

fn cause(text: &str) -> Cause {
    Cause::from_name(text).unwrap_or_else(|| panic!("not a cause: {text}"))
}

fn started(words: &[&str]) -> Input {
    let text = |key: &str| value(words, key).unwrap_or("").to_owned();
    let to = value(words, "to").unwrap_or("15550199").to_owned();
    let from = match value(words, "from") {
        None => Some("15550100".to_owned()),
        Some("") => None,
        Some(number) => Some(number.to_owned()),
    };
    // `extension=201` is a call from a telephone of the office.
    let origin = Origin {
        line: value(words, "line").unwrap_or("provider").to_owned(),
        extension: value(words, "extension").map(str::to_owned),
        network_id: "net-1@peer.test".to_owned(),
        from_uri: format!("{}@peer.test", from.as_deref().unwrap_or("anonymous")),
        to_uri: format!("{to}@box.test"),
        request_uri: format!("{to}@box.test"),
        source_ip: "192.0.2.7".to_owned(),
        diverted_from: value(words, "diverted").map(str::to_owned),
        transferred_by: None,
        headers: extra_headers(words),
    };
    Input::Started(Box::new(Start {
        from,
        name: Some(text("name").replace('_', " ")).filter(|name| !name.is_empty()),
        to,
        answered: words.contains(&"answered"),
        direction: value(words, "direction").map(|direction| match direction {
            "outbound" => Direction::Outbound,
            _ => Direction::Inbound,
        }),
        origin,
        // `data=a_b` is a session that somebody outside has begun with `a b`.
        session: value(words, "data").map(|data| SessionFacts {
            id: 7,
            access_url: "http://box.test/request/7/secret".to_owned(),
            secure_access_url: "https://box.test/request/7/secret".to_owned(),
            custom_data: data.replace('_', " "),
            ..SessionFacts::default()
        }),
    }))
}

fn extra_headers(words: &[&str]) -> Vec<(String, String)> {
    let extra = words.iter().filter(|word| word.starts_with("X-"));
    let pairs = extra.filter_map(|word| word.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn remark(kind: RemarkKind, media_type: &str, words: &[&str]) -> LegEvent {
    let body = word(words, 0).replace('_', " ").into_bytes();
    let headers = extra_headers(words);
    let remark = Remark { kind, media_type: media_type.to_owned(), body, headers };
    LegEvent::Signalled(Box::new(FarSignal::Remark(remark)))
}

fn leg(words: &[&str]) -> Input {
    // `leg released busy` is the first leg, `leg p1.2 released busy` another.
    let named = words.first().filter(|word| word.contains('.')).map(|name| leg_id(name));
    let words = if named.is_some() { &words[1..] } else { words };
    let event = match word(words, 0) {
        "placed" => LegEvent::Placed {
            by: ActionId(number(value(words, "by").unwrap_or("0"))),
            target: number(value(words, "target").unwrap_or("0")) as usize,
        },
        "room" => LegEvent::Room(room_event(&words[1..])),
        "queue" => LegEvent::Queue(queue_event(&words[1..])),
        // Another session calls this one: `leg o9.1 offered from=100 to=room X-A=1`.
        "offered" => LegEvent::Offered(Box::new(Offer {
            leg: named.unwrap_or(LEG),
            from: CallerId::of(value(words, "from").unwrap_or("100")),
            to: Number::new(value(words, "to").unwrap_or("room")),
            origin: Box::new(Origin { headers: extra_headers(words), ..Origin::default() }),
            codec: "L16",
        })),
        "alerting" => LegEvent::Alerting,
        "answered" => LegEvent::Answered(Supervision::Signalled),
        "held" => LegEvent::Held(true),
        "unheld" => LegEvent::Held(false),
        // `digit 5 [in-band|signalled]`.
        "digit" => {
            let how = match words.get(2).copied() {
                None => DigitPath::Rfc4733,
                Some("in-band") => DigitPath::InBand,
                Some("signalled") => DigitPath::Signalled,
                Some(other) => panic!("not a way of a digit: {other}"),
            };
            LegEvent::Digit(digit(word(words, 1)), how)
        }
        "released" => LegEvent::Released(cause(word(words, 1))),
        "early-media" => LegEvent::EarlyMedia,
        // The header fields of the message whose event follows: `leg says X-A=1`, or `leg says` for none.
        "says" => LegEvent::Signalled(Box::new(FarSignal::Headers(extra_headers(&words[1..])))),
        // `leg info text/x a_b X-A=1`, `leg message a_b`: `a b` is said.
        "info" => remark(RemarkKind::Info, word(words, 1), &words[2..]),
        "message" => remark(RemarkKind::Message, "text/plain", &words[1..]),
        "unsaid" => LegEvent::Signalled(Box::new(FarSignal::Unsaid)),
        "refuses-text" => {
            LegEvent::Signalled(Box::new(FarSignal::Refused(word(words, 1).parse().unwrap_or(0))))
        }
        "asks-transfer" => LegEvent::Signalled(Box::new(FarSignal::Referral(word(words, 1).to_owned()))),
        "forwarding" => LegEvent::Signalled(Box::new(FarSignal::Forwarding)),
        "streaming" => LegEvent::Streaming(ActionId(number(word(words, 1)))),
        "silent" => LegEvent::Silent(true),
        "heard" => LegEvent::Silent(false),
        // `playing 3 [1500ms]`.
        "playing" => {
            let length = words.get(2).map(|length| milliseconds(length));
            LegEvent::Playing(ActionId(number(word(words, 1))), length)
        }
        other => panic!("not a leg event: {other}"),
    };
    Input::Leg(named.unwrap_or(LEG), event)
}

fn count(words: &[&str], key: &str) -> usize {
    number(value(words, key).unwrap_or("1")) as usize
}

/// `entered members=1 [began] [uncoached]`, `records`, `began`, `joined members=2`, `parted members=1`.
fn room_event(words: &[&str]) -> RoomEvent {
    let members = count(words, "members");
    match word(words, 0) {
        "entered" => RoomEvent::Entered {
            members,
            began: words.contains(&"began"),
            coached: !words.contains(&"uncoached"),
        },
        "records" => RoomEvent::Records,
        "began" => RoomEvent::Began,
        "joined" => RoomEvent::Joined { members },
        "parted" => RoomEvent::Parted { members },
        other => panic!("not a room event: {other}"),
    }
}

/// `position 1 waiting=2 average=3000ms [place=4]`, `called by=p2.1 [announce=URL method=GET]`.
fn queue_event(words: &[&str]) -> QueueEvent {
    match word(words, 0) {
        "position" => QueueEvent::Position {
            position: number(word(words, 1)) as usize,
            waiting: count(words, "waiting"),
            average: value(words, "average").map_or(Duration::ZERO, milliseconds),
            place: value(words, "place").map(number),
        },
        "called" => QueueEvent::Called {
            announce: value(words, "announce").map(|url| {
                let method = Method::parse(value(words, "method").unwrap_or("POST"));
                let method = method.unwrap_or_else(|| panic!("not a method: {words:?}"));
                Announcement { url: url.to_owned(), method }
            }),
            by: leg_id(value(words, "by").unwrap_or("o0.9")),
        },
        other => panic!("not a queue event: {other}"),
    }
}

/// The leg that [`LegId`]'s `Display` writes so.
pub(crate) fn leg_id(name: &str) -> LegId {
    let (kind, numbers) = name.split_at(1);
    let (owner, seq) = numbers.split_once('.').unwrap_or_else(|| panic!("not a leg: {name}"));
    match kind {
        "o" => LegId::offered(LineId(owner.parse().unwrap_or(0)), number(seq)),
        "p" => LegId::placed(number(owner), number(seq)),
        _ => panic!("not a leg: {name}"),
    }
}

fn outcome(words: &[&str]) -> Outcome {
    match word(words, 0) {
        "done" => Outcome::Done,
        "interrupted" => Outcome::Interrupted(digit(word(words, 1))),
        "collected" => {
            let digits = match word(words, 1) {
                "-" => Digits::new(),
                digits => Digits::parse(digits).unwrap_or_else(|| panic!("not digits: {digits}")),
            };
            let by = match (word(words, 2), value(words, "finish")) {
                (_, Some(key)) => CollectEnd::Finish(digit(key)),
                ("full", None) => CollectEnd::Full,
                ("timeout", None) => CollectEnd::Timeout,
                (other, None) => panic!("not an end: {other}"),
            };
            Outcome::Collected(Collected { digits, by })
        }
        "recorded" => Outcome::Recorded(Recorded {
            length: milliseconds(word(words, 1)),
            file: value(words, "file").map(str::to_owned),
            finish: value(words, "finish").map(digit),
            is_silent: words.contains(&"silent"),
        }),
        "dialed" => {
            let answered = value(words, "answered").map(|at| number(at) as usize);
            Outcome::Dialed(Dialed {
                answered,
                cause: cause(value(words, "cause").unwrap_or("normal-clearing")),
                talked: value(words, "talked").map_or(Duration::ZERO, milliseconds),
                leg: value(words, "leg").map(leg_id),
                by: match (value(words, "by"), answered) {
                    (Some("limit"), _) => DialEnd::Limit,
                    (Some("target"), _) | (None, Some(_)) => DialEnd::Target,
                    (None, None) => DialEnd::Nobody,
                    (Some(key), _) => DialEnd::Key(digit(key)),
                },
                status: value(words, "status").and_then(|status| status.parse().ok()),
                refer_to: value(words, "refer-to").map(str::to_owned),
            })
        }
        // `left key=* stayed=1000ms`, `left ended stayed=1000ms`, `left full`
        "left" => Outcome::Left(Left {
            by: match (value(words, "key"), word(words, 1)) {
                (Some(key), _) => LeftBy::Key(digit(key)),
                (None, "ended") => LeftBy::RoomEnded,
                (None, "full") => LeftBy::Full,
                (None, other) => panic!("not a way to leave: {other}"),
            },
            stayed: value(words, "stayed").map_or(Duration::ZERO, milliseconds),
        }),
        // `queued talked=5000ms waited=1000ms`, `queued full`
        "queued" => Outcome::Queued(Queued {
            end: if words.contains(&"full") { QueueEnd::Full } else { QueueEnd::Talked },
            waited: value(words, "waited").map_or(Duration::ZERO, milliseconds),
            talked: value(words, "talked").map_or(Duration::ZERO, milliseconds),
        }),
        "mailbox" => Outcome::Mailbox(match word(words, 1) {
            "left" => MailboxEnd::Left,
            "not-left" => MailboxEnd::NotLeft,
            "full" => MailboxEnd::Full,
            "announcement-only" => MailboxEnd::AnnouncementOnly,
            "operator" => MailboxEnd::Operator,
            "listened" => MailboxEnd::Listened,
            "refused" => MailboxEnd::Refused,
            "unknown" => MailboxEnd::Unknown,
            other => panic!("not an end of a mailbox: {other}"),
        }),
        "streamed" => Outcome::Streamed(match word(words, 1) {
            "closed" => StreamEnd::Closed,
            "failed" => StreamEnd::Failed(stream_failure(word(words, 2))),
            other => panic!("not an end of a stream: {other}"),
        }),
        "detected" => Outcome::Detected(match word(words, 1) {
            "fax" => Detected::Fax,
            "voice" => Detected::Voice,
            "machine" => Detected::Machine,
            "nothing" => Detected::Nothing,
            other => panic!("not what can be heard: {other}"),
        }),
        // `referred 202 200`, `referred 603`
        "referred" => Outcome::Referred(Referred {
            response: word(words, 1).parse().unwrap_or(0),
            call: words.get(2).and_then(|status| status.parse().ok()),
        }),
        "cancelled" => Outcome::Cancelled,
        "leg-gone" => Outcome::LegGone,
        "failed" => Outcome::Failed(failure(&words[1..])),
        other => panic!("not an outcome: {other}"),
    }
}

/// The code of a failure: the status of `TR-HOOK-STATUS` is 503.
fn stream_failure(code: &str) -> StreamFailure {
    let of_fetch = FetchError::ALL.into_iter().map(StreamFailure::Fetch);
    let others =
        [StreamFailure::Status(503), StreamFailure::Message, StreamFailure::Behind, StreamFailure::Limit];
    let found = of_fetch.chain(others).find(|failure| failure.code() == code);
    found.unwrap_or_else(|| panic!("not a failure of a stream: {code}"))
}

fn failure(words: &[&str]) -> ActionFailure {
    let code = word(words, 0);
    let plain = [
        ActionFailure::LegState,
        ActionFailure::NoLeg,
        ActionFailure::Decode,
        ActionFailure::NoVoice,
        ActionFailure::Speech,
        ActionFailure::NoSuchAudio,
        ActionFailure::Storage,
        ActionFailure::Limit,
        ActionFailure::NotOffered,
    ];
    if let Some(failure) = plain.into_iter().find(|failure| failure.code() == code) {
        return failure;
    }
    match code {
        "TR-HOOK-STATUS" => ActionFailure::Status(word(words, 1).parse().unwrap_or(500)),
        "TR-DIAL-NO-TARGET" => ActionFailure::NoTarget(cause(word(words, 1))),
        _ => ActionFailure::Fetch(fetch_error(code)),
    }
}

fn fetch_error(code: &str) -> FetchError {
    FetchError::ALL
        .into_iter()
        .find(|error| error.code() == code)
        .unwrap_or_else(|| panic!("not a fetch error: {code}"))
}

fn fetched(words: &[&str], body: &mut dyn FnMut() -> String) -> Input {
    let id = FetchId(number(word(words, 0)));
    if word(words, 1) == "error" {
        return Input::Fetched(id, Err(fetch_error(word(words, 2))));
    }
    let in_hex = word(words, 1) == "bytes";
    let words = if in_hex { &words[2..] } else { &words[1..] };
    let status = word(words, 0).parse().unwrap_or(0);
    // The media type may hold a space before its charset.
    let (media_words, last) = match words.get(1..).unwrap_or(&[]) {
        [media @ .., last] if in_hex => (media, Some(*last)),
        [media @ .., "empty"] => (media, None),
        media => (media, None),
    };
    // `x-name:value` words between status and media type are header fields.
    let is_header = |word: &&&str| word.starts_with("x-") || word.starts_with("set-cookie:");
    let headers: Vec<(String, String)> = media_words
        .iter()
        .take_while(is_header)
        .filter_map(|word| word.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let media_words = media_words.get(headers.len()..).unwrap_or(&[]);
    let media_type = Some(media_words.join(" ")).filter(|media| media != "-" && !media.is_empty());
    let bytes = match last {
        Some(hex) => (0..hex.len() / 2)
            .map(|at| {
                u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap_or_else(|_| panic!("not hex: {hex}"))
            })
            .collect(),
        None => body().into_bytes(),
    };
    Input::Fetched(id, Ok(HttpResponse { status, url: String::new(), media_type, headers, body: bytes }))
}
