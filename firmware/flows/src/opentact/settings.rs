//! Settings of a flow: what the vendor calls a Call Control App.

use std::rc::Rc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tipring_model::CallId;
use tipring_model::CallId as Uuid;
use tipring_model::fetch::Method;
use tipring_model::settings::{Field, FieldError, FieldKind, Problem, RawSettings, RawValue, Settings};

use super::parse;
use crate::xml::Element;

/// Longest wait for the first document: the vendor's "no time-out" is held to
/// this, because an edge box may not wait for ever.
pub(super) const FETCH_CEILING: Duration = Duration::from_millis(60_000);

/// See [`App::gather_default_means`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DefaultMeans {
    /// `Default` runs for digits that match no branch, `Error` for no digits.
    Unmatched,
    /// The other way round.
    Empty,
}

/// One application.
#[derive(Debug)]
pub(super) struct App {
    pub(super) uuid: Uuid,
    pub(super) name: String,
    pub(super) account: Uuid,
    pub(super) source: Source,
    /// How the first document is fetched.
    pub(super) method: Method,
    pub(super) fallback: Option<Rc<Element>>,
    pub(super) auto_answer: bool,
    pub(super) timezone: TimeZone,
    pub(super) webhook_url: Option<String>,
    pub(super) webhook_method: Method,
    pub(super) gather_default_means: DefaultMeans,
    pub(super) hold_at_end: bool,
    pub(super) strict: bool,
    pub(super) call_max: Duration,
}

/// Where the first document comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// Fetched when a call begins.
    Url { url: String, timeout: Duration },
    /// Held by the box.
    Static(Rc<Element>),
}

impl App {
    /// The URL of the first document, if it is fetched.
    pub(super) fn url(&self) -> Option<&str> {
        match &self.source {
            Source::Url { url, .. } => Some(url),
            Source::Static(_) => None,
        }
    }
}

const fn text(key: &'static str, label: &'static str, help: &'static str, bytes_max: usize) -> Field {
    Field { key, label, help, kind: FieldKind::Text { bytes_max }, default: None, required: false }
}

const fn toggle(key: &'static str, label: &'static str, help: &'static str, default: &'static str) -> Field {
    Field { key, label, help, kind: FieldKind::Toggle, default: Some(default), required: false }
}

const fn choice(
    key: &'static str,
    label: &'static str,
    help: &'static str,
    choices: &'static [&'static str],
    default: &'static str,
) -> Field {
    Field { key, label, help, kind: FieldKind::Choice(choices), default: Some(default), required: false }
}

const DOCUMENT_BYTES_MAX: usize = 65_536;
const URL_BYTES_MAX: usize = 2_048;

impl Settings for App {
    const FIELDS: &'static [Field] = &[
        text("name", "Name", "Name of the application, as its server sees it.", 64),
        text("uuid", "Application UUID", "Sent as `sca`; made from the name when absent.", 36),
        text("account", "Account UUID", "Sent in the call entity.", 36),
        text("url", "Call flow URL", "Where the first document of a call is fetched.", URL_BYTES_MAX),
        choice("method", "Method", "How it is fetched.", &["GET", "POST"], "GET"),
        Field {
            key: "timeout",
            label: "Time-out",
            help: "Longest wait for the first document; 0s means the longest there is.",
            kind: FieldKind::Time { min_ms: 0, max_ms: 60_000 },
            default: Some("60s"),
            required: false,
        },
        text("document", "Static flow", "The document itself, instead of a URL.", DOCUMENT_BYTES_MAX),
        text(
            "fallback_document",
            "Fallback flow",
            "Runs when the first document cannot be had.",
            DOCUMENT_BYTES_MAX,
        ),
        toggle("auto_answer", "Answer at once", "Answer before the first command.", "true"),
        text("timezone", "Time zone", "For Schedule; the box's zone when absent.", 64),
        text("webhook_url", "Webhook URL", "Told about every change of a call's state.", URL_BYTES_MAX),
        choice("webhook_method", "Webhook method", "How it is told.", &["GET", "POST"], "GET"),
        choice(
            "gather_default_means",
            "Meaning of Default in Gather",
            "`unmatched`: wrong digits; `empty`: no digits.",
            &["unmatched", "empty"],
            "unmatched",
        ),
        choice(
            "on_flow_end",
            "At the end of the flow",
            "Hang up, or hold the call for a flow sent later.",
            &["hangup", "hold"],
            "hangup",
        ),
        toggle("strict", "Strict", "Refuse documents with unknown commands.", "false"),
        Field {
            key: "call_minutes_max",
            label: "Longest call",
            help: "The call is ended after this many minutes.",
            kind: FieldKind::Number { min: 1, max: 1_440, unit: "min" },
            default: Some("240"),
            required: false,
        },
    ];

    fn parse(raw: &RawSettings) -> Result<Self, Vec<FieldError>> {
        let mut errors = raw.check(Self::FIELDS).err().unwrap_or_default();
        let mut fault = |key: &str, problem: Problem| {
            errors.push(FieldError { key: key.to_owned(), problem });
        };
        let strict = raw.toggle("strict").unwrap_or(false);
        let name = raw.text("name").unwrap_or("tipring").to_owned();
        let mut uuid_of = |key: &str, default: Uuid| match raw.text(key) {
            None => default,
            Some(text) => CallId::parse(text).unwrap_or_else(|| {
                fault(
                    key,
                    Problem::Malformed { wanted: "a UUID such as 0f8fad5b-d9cb-469f-a165-70867728950e" },
                );
                default
            }),
        };
        let uuid = uuid_of("uuid", uuid_of_name(&name));
        let account = uuid_of("account", uuid_of_name("account"));
        let mut document_of = |key: &'static str| {
            raw.document(key).and_then(|bytes| match parse::document(bytes, None, strict) {
                Ok(root) => Some(root),
                Err(error) => {
                    let (line, column, code) = (error.at.line, error.at.column, error.code);
                    let subject = String::new();
                    fault(key, Problem::Document { line, column, code, subject });
                    None
                }
            })
        };
        let document = document_of("document");
        let fallback = document_of("fallback_document");
        let method_of = |key: &str| match raw.text(key) {
            Some("POST") => Method::Post,
            Some(_) | None => Method::Get,
        };
        for key in ["url", "webhook_url"] {
            if raw.text(key).is_some_and(|text| crate::address::absolute(text).is_none()) {
                fault(key, Problem::Malformed { wanted: "an address that begins with http:// or https://" });
            }
        }
        let timezone = match raw.text("timezone") {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).unwrap_or_else(|_| {
                fault("timezone", Problem::Malformed { wanted: "a time zone such as Europe/Berlin" });
                TimeZone::UTC
            }),
        };
        let source = match (raw.text("url"), raw.get("document"), document) {
            (Some(_), Some(_), _) => {
                fault("document", Problem::Conflict { with: "url" });
                None
            }
            (Some(url), None, _) => Some(Source::Url {
                url: url.trim().to_owned(),
                timeout: raw
                    .time_ms("timeout")
                    .filter(|ms| *ms > 0)
                    .map_or(FETCH_CEILING, Duration::from_millis),
            }),
            (None, Some(_), Some(root)) => Some(Source::Static(root)),
            (None, Some(_), None) => None,
            (None, None, _) => {
                fault("url", Problem::Missing);
                None
            }
        };
        match source {
            Some(source) if errors.is_empty() => Ok(Self {
                uuid,
                name,
                account,
                source,
                method: method_of("method"),
                fallback,
                auto_answer: raw.toggle("auto_answer").unwrap_or(true),
                timezone,
                webhook_url: raw.text("webhook_url").map(str::to_owned),
                webhook_method: method_of("webhook_method"),
                gather_default_means: match raw.text("gather_default_means") {
                    Some("empty") => DefaultMeans::Empty,
                    Some(_) | None => DefaultMeans::Unmatched,
                },
                hold_at_end: raw.text("on_flow_end") == Some("hold"),
                strict,
                call_max: match raw.get("call_minutes_max") {
                    Some(RawValue::Number(minutes)) => {
                        Duration::from_secs(u64::try_from(*minutes).unwrap_or(240) * 60)
                    }
                    Some(
                        RawValue::Text(_) | RawValue::Toggle(_) | RawValue::List(_) | RawValue::Bytes(_),
                    )
                    | None => Duration::from_secs(240 * 60),
                },
            }),
            Some(_) | None => Err(errors),
        }
    }
}

/// A UUID that stays the same for the same name (RFC 9562 §5.8, version 8): two
/// rounds of FNV-1a, for an identity and not for security.
fn uuid_of_name(name: &str) -> Uuid {
    let round = |seed: u64| {
        name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    };
    let bits = u128::from(round(0xcbf2_9ce4_8422_2325)) << 64 | u128::from(round(0x8422_2325_cbf2_9ce4));
    CallId(bits & !(0xf << 76) & !(0b11 << 62) | (0x8 << 76) | (0b10 << 62))
}
