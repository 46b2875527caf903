//! Settings of a flow in this dialect.

use std::rc::Rc;

use tipring_model::directory::Directory;
use tipring_model::fetch::Method;
use tipring_model::settings::{Field, FieldError, FieldKind, Problem, RawSettings, Settings};

use super::parse::{self, Document};
use crate::address;

/// Everything that a flow of this dialect is set to.
#[derive(Debug)]
pub(super) struct App {
    pub(super) account: String,
    pub(super) document: Document,
    pub(super) directory: Rc<Directory>,
    /// The directory with those of the account in it, for TwiML.
    pub(super) people: Rc<Directory>,
    /// Method of a TwiML element that names none.
    pub(super) twiml_default_method: Method,
    /// A failed call over a trunk never goes to the wildcard child.
    pub(super) strict_offnet_failure: bool,
    /// Where the end of each call is told.
    pub(super) webhook_url: Option<String>,
    /// Where missed calls are told.
    pub(super) missed_call_url: Option<String>,
}

/// Longest address, in bytes.
const URL_BYTES_MAX: usize = 2_048;
const DOCUMENT: &str = "document";

impl Settings for App {
    const FIELDS: &'static [Field] = &[
        Field {
            key: DOCUMENT,
            label: "Callflow",
            help: "A callflow, or an account's callflows, menus, devices and so on, as JSON.",
            kind: FieldKind::Text { bytes_max: parse::DOCUMENT_BYTES_MAX },
            default: None,
            // It may come from a file.
            required: false,
        },
        Field {
            key: "account",
            label: "Account id",
            help: "Sent to Pivot servers; the box's own when absent.",
            kind: FieldKind::Text { bytes_max: 32 },
            default: None,
            required: false,
        },
        Field {
            key: "twiml_default_method",
            label: "Method of TwiML",
            help: "How a TwiML element asks for the next document when it does not say.",
            kind: FieldKind::Choice(&["get", "post"]),
            default: Some("get"),
            required: false,
        },
        Field {
            key: "strict_offnet_failure",
            label: "Strict failure of trunks",
            help: "A failed call over a trunk ends the flow, as on the vendor's platform.",
            kind: FieldKind::Toggle,
            default: Some("false"),
            required: false,
        },
        Field {
            key: "webhook_url",
            label: "Webhook",
            help: "Told by POST when a call is over (CHANNEL_DESTROY).",
            kind: FieldKind::Text { bytes_max: URL_BYTES_MAX },
            default: None,
            required: false,
        },
        Field {
            key: "missed_call_url",
            label: "Missed-call address",
            help: "Told about missed calls by flows with missed_call_alert.",
            kind: FieldKind::Text { bytes_max: URL_BYTES_MAX },
            default: None,
            required: false,
        },
    ];

    fn parse(raw: &RawSettings) -> Result<Self, Vec<FieldError>> {
        Self::with_directory(raw, &Rc::default())
    }
}

impl App {
    /// Reads the settings of a flow whose modules may name what is in the directory.
    ///
    /// # Errors
    /// Every bad field; of the document, everything that keeps it from running.
    pub(super) fn with_directory(
        raw: &RawSettings,
        directory: &Rc<Directory>,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = raw.check(Self::FIELDS).err().unwrap_or_default();
        let mut fault = |key: &str, problem: Problem| {
            errors.push(FieldError { key: key.to_owned(), problem });
        };
        let account = raw.text("account").unwrap_or(&directory.account).to_owned();
        if raw.text("account").is_some() && !is_account(&account) {
            fault("account", Problem::Malformed { wanted: "32 hexadecimal digits" });
        }
        let missed_call_url = raw.text("missed_call_url").map(|text| address::absolute(text).ok_or(text));
        if let Some(Err(_)) = missed_call_url {
            let wanted = "an address that begins with http:// or https://";
            fault("missed_call_url", Problem::Malformed { wanted });
        }
        let webhook_url = raw.text("webhook_url").map(|text| address::absolute(text).ok_or(text));
        if let Some(Err(_)) = webhook_url {
            let wanted = "an address that begins with http:// or https://";
            fault("webhook_url", Problem::Malformed { wanted });
        }
        if raw.document(DOCUMENT).is_none() {
            fault(DOCUMENT, Problem::Missing);
        }
        let document = raw.document(DOCUMENT).and_then(|bytes| {
            let (document, report) = parse::document(bytes);
            for finding in report.findings.iter().filter(|finding| finding.fatal) {
                let (line, column, code) = (finding.line, finding.column, finding.code);
                let subject = finding.subject.clone();
                fault(DOCUMENT, Problem::Document { line, column, code, subject });
            }
            document
        });
        match document {
            Some(document) if errors.is_empty() => Ok(Self {
                account,
                people: Rc::new(document.stored.people(directory)),
                directory: {
                    let mut all = Directory::clone(directory);
                    all.mailboxes.extend(document.stored.mailboxes(&document.stored.people(directory)));
                    Rc::new(all)
                },
                document,
                twiml_default_method: match raw.text("twiml_default_method") {
                    Some("post") => Method::Post,
                    Some(_) | None => Method::Get,
                },
                strict_offnet_failure: raw.toggle("strict_offnet_failure").unwrap_or(false),
                webhook_url: webhook_url.and_then(Result::ok),
                missed_call_url: missed_call_url.and_then(Result::ok),
            }),
            Some(_) | None => Err(errors),
        }
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
