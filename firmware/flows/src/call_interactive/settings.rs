//! Settings of a flow in this dialect.

use std::rc::Rc;
use std::time::Duration;

use tipring_model::directory::Directory;
use tipring_model::settings::{Field, FieldError, FieldKind, Problem, RawSettings};

use super::ivr::{Ask, Document};
use super::reader;
use super::request::EVENTS;

/// Everything about one IVR.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) ivr: Document,
    pub(super) rules: Rules,
    /// Number of the IVR, as `0042*900`.
    pub(super) extension: String,
    pub(super) extension_id: u32,
    pub(super) extension_domain: Option<String>,
    /// Told what happens to calls.
    pub(super) webhook_url: Option<String>,
    /// Of what it is told.
    pub(super) webhook_events: Vec<String>,
    /// Where sound files are fetched; none plays those stored on the box.
    pub(super) sounds_url: Option<String>,
    pub(super) language: String,
    /// Ring time of a transfer that gives none.
    pub(super) ring_max: Duration,
    pub(super) directory: Rc<Directory>,
}

/// How answers are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rules {
    pub(super) profile: Profile,
    /// Eleven actions and more: the first ten run.
    pub(super) truncates: bool,
    /// An unknown action spoils the whole answer.
    pub(super) strict: bool,
}

/// Whose manual counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Profile {
    Ringme,
    Voipnow,
}

const fn text(key: &'static str, label: &'static str, help: &'static str, bytes_max: usize) -> Field {
    Field { key, label, help, kind: FieldKind::Text { bytes_max }, default: None, required: false }
}

pub(super) const FIELDS: &[Field] = &[
    text("url", "Address", "Asked when a call arrives; variables as $name in its query.", 2_048),
    Field {
        kind: FieldKind::Choice(&["GET", "POST", "get", "post"]),
        default: Some("GET"),
        ..text("method", "Method", "How it is asked.", 4)
    },
    Field {
        kind: FieldKind::Time { min_ms: 1_000, max_ms: 60_000 },
        default: Some("15s"),
        ..text("timeout", "Time-out", "Longest wait for its answer.", 8)
    },
    text("document", "IVR", "Contexts and options as JSON, instead of an address.", 1_048_576),
    Field {
        kind: FieldKind::Choice(&["ringme", "voipnow"]),
        default: Some("ringme"),
        ..text("profile", "Profile", "Whose manual the answers follow.", 8)
    },
    text("extension", "Number of the IVR", "As servers are told, such as 0042*900.", 32),
    Field {
        kind: FieldKind::Number { min: 0, max: 4_294_967_295, unit: "" },
        default: Some("1"),
        ..text("extension_id", "Number of the extension", "As servers are told.", 10)
    },
    text("extension_domain", "Domain", "Follows the number of the IVR behind an @.", 253),
    text("webhook_url", "Webhook", "Told by POST when a call is over.", 2_048),
    Field {
        kind: FieldKind::List { entries_max: 4 },
        ..text("webhook_events", "Events", "Of what it is told: dial-in, answer, dial-out, hangup.", 8)
    },
    text("sounds_url", "Sounds", "Folder from which sound files are fetched.", 2_048),
    text("language", "Language", "Of digits and texts that are spoken.", 16),
    Field {
        kind: FieldKind::Time { min_ms: 1_000, max_ms: 600_000 },
        default: Some("30s"),
        ..text("ring", "Ring time", "Of a transfer that gives none.", 8)
    },
    Field {
        kind: FieldKind::Choice(&["refuse", "truncate"]),
        default: Some("refuse"),
        ..text("too_many", "Too many actions", "Eleven and more: run none, or the first ten.", 8)
    },
    Field {
        kind: FieldKind::Toggle,
        default: Some("false"),
        ..text("strict", "Strict", "Refuse answers with unknown actions.", 5)
    },
];

pub(super) fn parse(raw: &RawSettings, directory: &Rc<Directory>) -> Result<Settings, Vec<FieldError>> {
    let mut errors = raw.check(FIELDS).err().unwrap_or_default();
    let mut fault = |key: &str, problem| errors.push(FieldError { key: key.to_owned(), problem });
    let timeout = Duration::from_millis(raw.time_ms("timeout").unwrap_or(15_000));
    let ask = match raw.text("method") {
        Some(method) if method.eq_ignore_ascii_case("post") => Ask::Post,
        Some(_) | None => Ask::Get,
    };
    let document = match (raw.text("url"), raw.document("document")) {
        (Some(_), Some(_)) => {
            fault("url", Problem::Conflict { with: "document" });
            None
        }
        (None, None) => {
            fault("url", Problem::Missing);
            None
        }
        (Some(url), None) => {
            if crate::address::absolute(url).is_none() {
                fault("url", Problem::Malformed { wanted: "an http or https address" });
            } else if reader::has_variable_host(url) {
                fault("url", Problem::Malformed { wanted: "an address with its host written out" });
            }
            Some(Document::of_one(url.trim().to_owned(), ask, Some(timeout.as_secs())))
        }
        (None, Some(bytes)) => {
            let (document, findings) = reader::read(bytes);
            for finding in findings.into_iter().filter(|finding| finding.fatal) {
                let (line, column, code) = (finding.line, finding.column, finding.code);
                fault("document", Problem::Document { line, column, code, subject: finding.subject });
            }
            document
        }
    };
    for key in ["sounds_url", "webhook_url"] {
        if raw.text(key).is_some_and(|url| crate::address::absolute(url).is_none()) {
            fault(key, Problem::Malformed { wanted: "an http or https address" });
        }
    }
    let events = raw.list("webhook_events");
    if events.iter().any(|event| !EVENTS.contains(&event.as_str())) {
        fault("webhook_events", Problem::NotAChoice { choices: &EVENTS });
    }
    let webhook_events = if events.is_empty() { vec!["hangup".to_owned()] } else { events.to_vec() };
    let (Some(ivr), true) = (document, errors.is_empty()) else { return Err(errors) };
    Ok(Settings {
        ivr,
        rules: Rules {
            profile: if raw.text("profile") == Some("voipnow") { Profile::Voipnow } else { Profile::Ringme },
            truncates: raw.text("too_many") == Some("truncate"),
            strict: raw.toggle("strict").unwrap_or(false),
        },
        extension: raw.text("extension").unwrap_or("0001*900").to_owned(),
        extension_id: raw.number("extension_id").and_then(|id| u32::try_from(id).ok()).unwrap_or(1),
        extension_domain: raw.text("extension_domain").map(str::to_owned),
        webhook_url: raw.text("webhook_url").and_then(crate::address::absolute),
        webhook_events,
        sounds_url: raw.text("sounds_url").map(str::to_owned),
        language: raw.text("language").unwrap_or("en-US").to_owned(),
        ring_max: Duration::from_millis(raw.time_ms("ring").unwrap_or(30_000)),
        directory: Rc::clone(directory),
    })
}
