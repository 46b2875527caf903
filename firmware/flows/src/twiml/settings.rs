//! Settings of a flow, and the terms that a run of it keeps to.

use std::rc::Rc;
use std::time::Duration;

use tipring_model::Cause;
use tipring_model::directory::Directory;
use tipring_model::fetch::{HttpResponse, Method};
use tipring_model::prompt::Gender;
use tipring_model::settings::{Field, FieldError, FieldKind, Problem, RawSettings};

use super::fragment::Waits;
use super::parse;
use crate::xml::Element;

/// Whose reading of the language is followed where they differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// Twilio.
    Twilio,
    /// Kazoo's Pivot.
    Pivot,
    /// SignalWire: LaML, now cXML.
    Laml,
    /// Telnyx.
    Texml,
    /// Restcomm.
    Rcml,
}

impl Profile {
    const NAMES: [(&'static str, Self); 5] = [
        ("twilio", Self::Twilio),
        ("pivot", Self::Pivot),
        ("laml", Self::Laml),
        ("texml", Self::Texml),
        ("rcml", Self::Rcml),
    ];

    /// The method of a request whose author names none.
    #[must_use]
    pub const fn method(self) -> Method {
        match self {
            Self::Pivot => Method::Get,
            Self::Twilio | Self::Laml | Self::Texml | Self::Rcml => Method::Post,
        }
    }

    /// A verb that is not known is passed over; otherwise the call ends.
    #[must_use]
    pub const fn skips_unknown(self) -> bool {
        match self {
            Self::Twilio | Self::Texml => true,
            Self::Pivot | Self::Laml | Self::Rcml => false,
        }
    }

    /// Longest wait for a document.
    #[must_use]
    pub const fn timeout(self) -> Duration {
        match self {
            Self::Pivot | Self::Laml => Duration::from_secs(5),
            Self::Twilio | Self::Texml | Self::Rcml => Duration::from_secs(15),
        }
    }

    /// Longest wait for a connection.
    pub(super) const fn connect_max(self) -> Duration {
        match self {
            Self::Laml => Duration::from_secs(2),
            Self::Twilio | Self::Pivot | Self::Texml | Self::Rcml => Duration::from_secs(5),
        }
    }

    /// A recording in which nobody spoke is reported like any other.
    pub(super) const fn reports_silence(self) -> bool {
        match self {
            Self::Laml | Self::Texml | Self::Rcml => true,
            Self::Twilio | Self::Pivot => false,
        }
    }

    /// The names of the header field that carries the signature.
    pub(super) const fn signatures(self) -> &'static [&'static str] {
        match self {
            Self::Twilio => &["X-Twilio-Signature"],
            Self::Laml => &["X-Twilio-Signature", "X-SignalWire-Signature"],
            Self::Pivot | Self::Texml | Self::Rcml => &[],
        }
    }

    /// Redirects of HTTP that are followed.
    pub(super) const fn redirects_max(self) -> u8 {
        match self {
            Self::Laml => 3,
            Self::Twilio | Self::Pivot | Self::Texml | Self::Rcml => 5,
        }
    }
}

/// An address and how it is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// Absolute, as written.
    pub url: String,
    /// GET or POST.
    pub method: Method,
}

/// Who is told about the states of a call, and about which.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Callback {
    /// Where.
    pub to: Address,
    /// Names of events.
    pub events: Vec<String>,
}

impl Callback {
    pub(super) fn wants(&self, event: &str) -> bool {
        self.events.iter().any(|wanted| wanted == event)
    }
}

/// What a run of a flow keeps to. Another dialect that hands a call over to this one makes its
/// own with [`Terms::of`] and changes what it needs. Not `Debug`:
/// it holds a key.
#[derive(Clone)]
pub struct Terms {
    /// Whose reading of the language.
    pub profile: Profile,
    /// `AC` and 32 hexadecimal digits.
    pub account_sid: String,
    /// Key of the signatures; none signs nothing.
    pub auth_token: Option<String>,
    /// A verb that is not known is passed over; otherwise the call ends.
    pub skips_unknown: bool,
    /// Asked when a document cannot be had.
    pub fallback: Option<Address>,
    /// Runs when no document can be had at all.
    pub fallback_document: Option<Rc<Element>>,
    /// Told about the states of the call.
    pub status: Option<Callback>,
    /// What a caller that is rejected is told.
    pub rejects_with: Cause,
    /// A Hangup before the answer answers first; otherwise it refuses.
    pub answers_to_hang_up: bool,
    /// White space before the XML declaration is forgiven.
    pub lenient_prolog: bool,
    /// BCP 47.
    pub language: String,
    /// Kind of voice.
    pub voice: Gender,
    /// Of the first request, and of those whose author names none.
    pub method: Method,
    /// Longest wait for a document.
    pub timeout: Duration,
    /// The body of a POST is a JSON object; otherwise a form.
    pub sends_json: bool,
    /// Header fields of each request for a document.
    pub headers: Vec<(String, String)>,
    /// Fields that each request has besides its own.
    pub fields: Vec<(String, String)>,
    /// Fields that go under another name: the usual one, and the other.
    pub renames: Vec<(String, String)>,
    /// Told about the call when it is over.
    pub cdr_url: Option<String>,
    /// When the first document cannot be had, the run stops and
    /// [`TwimlFlow::failed_first`](super::TwimlFlow::failed_first) says why; nothing is played
    /// and nobody hung up.
    pub returns_first_failure: bool,
}

impl Terms {
    /// How long documents are waited for where their address does not say so.
    pub(super) fn waits(&self) -> Waits {
        Waits { connect: self.profile.connect_max().min(self.timeout), whole: self.timeout }
    }

    /// What `profile` says, and the box's own account.
    #[must_use]
    pub fn of(profile: Profile, directory: &Directory) -> Self {
        Self {
            profile,
            account_sid: format!("AC{}", directory.account),
            auth_token: None,
            skips_unknown: profile.skips_unknown(),
            fallback: None,
            fallback_document: None,
            status: None,
            rejects_with: Cause::Rejected,
            answers_to_hang_up: true,
            lenient_prolog: false,
            language: "en-US".to_owned(),
            voice: Gender::Female,
            method: profile.method(),
            timeout: profile.timeout(),
            sends_json: false,
            headers: Vec::new(),
            fields: Vec::new(),
            renames: Vec::new(),
            cdr_url: None,
            returns_first_failure: false,
        }
    }
}

/// What a run begins with.
#[derive(Clone, Debug)]
pub enum First {
    /// A document to be fetched, with the method of the [`Terms`].
    Url(String),
    /// A document that somebody else has fetched already from this address.
    Answer(Box<HttpResponse>),
    /// A document of the box.
    Document(Rc<Element>),
}

/// A flow of the configuration.
pub(super) struct App {
    pub(super) terms: Terms,
    pub(super) first: First,
}

const fn text(key: &'static str, label: &'static str, help: &'static str, bytes_max: usize) -> Field {
    Field { key, label, help, kind: FieldKind::Text { bytes_max }, default: None, required: false }
}

const fn choice(
    key: &'static str,
    label: &'static str,
    help: &'static str,
    choices: &'static [&'static str],
    default: Option<&'static str>,
) -> Field {
    Field { key, label, help, kind: FieldKind::Choice(choices), default, required: false }
}

const URL_BYTES_MAX: usize = 2_048;
const DOCUMENT_BYTES_MAX: usize = parse::BYTES_MAX;
const METHODS: &[&str] = &["GET", "POST", "get", "post"];
/// Events of a call that can be told.
const EVENTS: [&str; 4] = ["initiated", "ringing", "answered", "completed"];

/// Keys of a flow in this dialect.
pub(super) const FIELDS: &[Field] = &[
    text("url", "Voice URL", "Where the first document of a call is fetched.", URL_BYTES_MAX),
    choice("method", "Method", "How it is fetched; the profile's way if absent.", METHODS, None),
    text("fallback_url", "Fallback URL", "Asked when a document cannot be had.", URL_BYTES_MAX),
    choice("fallback_method", "Fallback method", "How it is asked.", METHODS, Some("POST")),
    text("document", "Static document", "The first document itself, instead of a URL.", DOCUMENT_BYTES_MAX),
    text(
        "fallback_document",
        "Fallback document",
        "Runs when neither the document nor the fallback URL can be had.",
        DOCUMENT_BYTES_MAX,
    ),
    text("status_callback", "Status callback", "Told about the states of a call.", URL_BYTES_MAX),
    choice("status_callback_method", "Status callback method", "How it is told.", METHODS, Some("POST")),
    Field {
        key: "status_callback_events",
        label: "Status callback events",
        help: "Which states: initiated, ringing, answered, completed.",
        kind: FieldKind::List { entries_max: 4 },
        default: None,
        required: false,
    },
    text("account_sid", "Account SID", "AC and 32 hexadecimal digits; the box's own if absent.", 34),
    Field {
        key: "auth_token",
        label: "Auth token",
        help: "Signs each request; without it none is signed.",
        kind: FieldKind::Secret,
        default: None,
        required: false,
    },
    choice(
        "profile",
        "Profile",
        "Whose reading of the language is followed.",
        &["twilio", "pivot", "laml", "texml", "rcml"],
        Some("twilio"),
    ),
    choice(
        "unknown_verb",
        "Unknown verb",
        "Pass over it, or end the call; the profile's way if absent.",
        &["skip", "stop"],
        None,
    ),
    Field {
        key: "reject_status",
        label: "Status of Reject",
        help: "The SIP status that a rejected caller gets: 603, 404 or 503.",
        kind: FieldKind::Number { min: 404, max: 603, unit: "SIP status" },
        default: Some("603"),
        required: false,
    },
    choice(
        "hangup_unanswered",
        "Hangup before the answer",
        "Answer and hang up, or refuse with 603.",
        &["answer", "refuse"],
        Some("answer"),
    ),
    Field {
        key: "lenient_prolog",
        label: "Lenient prolog",
        help: "White space before the XML declaration is forgiven.",
        kind: FieldKind::Toggle,
        default: Some("false"),
        required: false,
    },
    text("language", "Language", "Of Say, where it names none (BCP 47).", 35),
    choice("voice", "Voice", "Of Say, where it names none.", &["woman", "man"], Some("woman")),
];

/// Reads the settings of a flow.
pub(super) fn open(raw: &RawSettings, directory: &Directory) -> Result<App, Vec<FieldError>> {
    let mut errors = raw.check(FIELDS).err().unwrap_or_default();
    let profile =
        raw.text("profile").and_then(|name| Profile::NAMES.iter().find(|(known, _)| *known == name));
    let mut terms = Terms::of(profile.map_or(Profile::Twilio, |(_, profile)| *profile), directory);
    let mut fault = |key: &str, problem: Problem| errors.push(FieldError { key: key.to_owned(), problem });
    for key in ["url", "fallback_url", "status_callback"] {
        if raw.text(key).is_some_and(|text| crate::address::absolute(text).is_none()) {
            fault(key, Problem::Malformed { wanted: "an address that begins with http:// or https://" });
        }
    }
    let method_of = |key: &str, otherwise: Method| raw.text(key).and_then(Method::parse).unwrap_or(otherwise);
    let address = |key: &str, method_key: &str| {
        let url = raw.text(key)?.trim().to_owned();
        Some(Address { url, method: method_of(method_key, Method::Post) })
    };
    terms.method = method_of("method", profile.map_or(Method::Post, |(_, profile)| profile.method()));
    terms.fallback = address("fallback_url", "fallback_method");
    let events = raw.list("status_callback_events");
    if events.iter().any(|event| !EVENTS.contains(&event.as_str())) {
        fault("status_callback_events", Problem::NotAChoice { choices: &EVENTS });
    }
    let events = if events.is_empty() { vec!["completed".to_owned()] } else { events.to_vec() };
    terms.status = address("status_callback", "status_callback_method").map(|to| Callback { to, events });
    if let Some(sid) = raw.text("account_sid") {
        let digits = sid.strip_prefix("AC").unwrap_or("");
        if digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            terms.account_sid = sid.to_owned();
        } else {
            fault("account_sid", Problem::Malformed { wanted: "AC and 32 hexadecimal digits" });
        }
    }
    terms.auth_token = raw.text("auth_token").map(str::to_owned);
    if terms.auth_token.as_deref().is_some_and(|token| token.trim().is_empty()) {
        fault(
            "auth_token",
            Problem::Malformed { wanted: "the key of the signatures; without it none is signed" },
        );
    }
    terms.lenient_prolog = raw.toggle("lenient_prolog").unwrap_or(false);
    if let Some(word) = raw.text("unknown_verb") {
        terms.skips_unknown = word == "skip";
    }
    terms.rejects_with = match raw.number("reject_status") {
        Some(404) => Cause::Unallocated,
        Some(503) => Cause::TemporaryFailure,
        Some(603) | None => Cause::Rejected,
        Some(_) => {
            fault("reject_status", Problem::Malformed { wanted: "603, 404 or 503" });
            Cause::Rejected
        }
    };
    terms.answers_to_hang_up = raw.text("hangup_unanswered") != Some("refuse");
    if let Some(language) = raw.text("language").map(str::trim).filter(|language| !language.is_empty()) {
        terms.language = language.to_owned();
    }
    terms.voice = if raw.text("voice") == Some("man") { Gender::Male } else { Gender::Female };
    let mut document_of = |key: &'static str| {
        parse::document(raw.document(key)?, None, terms.lenient_prolog)
            .map_err(|error| {
                let (line, column, code) = (error.at.line, error.at.column, error.code);
                let subject = String::new();
                fault(key, Problem::Document { line, column, code, subject });
            })
            .ok()
    };
    let document = document_of("document");
    terms.fallback_document = document_of("fallback_document");
    let first = match (raw.text("url"), raw.get("document"), document) {
        (Some(_), Some(_), _) => {
            fault("document", Problem::Conflict { with: "url" });
            None
        }
        (Some(url), None, _) => Some(First::Url(url.trim().to_owned())),
        (None, Some(_), Some(root)) => Some(First::Document(root)),
        (None, Some(_), None) => None,
        (None, None, _) => {
            fault("url", Problem::Missing);
            None
        }
    };
    match first {
        Some(first) if errors.is_empty() => Ok(App { terms, first }),
        Some(_) | None => Err(errors),
    }
}
