//! The dialects: each turns an application's document or script into the
//! actions of `tipring-model`.
//!
//! **Architecture invariant:** a dialect knows no line, no audio and no network;
//! it asks for actions and fetches, and is told how they went. The table
//! [`DIALECTS`] is the only place that lists them.

pub mod address;
pub mod application;
pub mod call_interactive;
pub mod connect;
pub mod json;
pub mod kazoo;
mod loads;
pub mod opentact;
pub mod ring_all;
pub mod stand_in;
pub mod twiml;
pub mod voxengine;
pub mod xml;

use std::rc::Rc;

use tipring_model::directory::{Directory, MailboxEntry};
use tipring_model::fetch::{DocumentKey, HttpRequest, HttpResponse};
use tipring_model::flow::Flow;
use tipring_model::prompt::PromptSource;
use tipring_model::settings::{Field, FieldError, RawSettings};

/// One dialect.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// Name in the configuration.
    pub name: &'static str,
    /// Settings of a flow in this dialect.
    pub fields: &'static [Field],
    /// Reads the settings of a flow, which may name what is in the directory.
    pub open: fn(&RawSettings, &Rc<Directory>) -> Opened,
    /// Checks a document without running it.
    pub check: fn(&[u8]) -> Vec<Finding>,
    /// What works only in a document that comes from a server, and not in a file of the box:
    /// addresses that are relative to its own.
    pub needs_server: fn(&[u8]) -> Vec<Finding>,
}

/// A program, or every bad setting.
pub type Opened = Result<Box<dyn Program>, Vec<FieldError>>;

/// A flow of the configuration, ready to be started any number of times.
pub trait Program {
    /// A new run. Its first input is [`FlowInput::Started`](tipring_model::flow::FlowInput::Started).
    fn start(&self) -> Box<dyn Flow>;

    /// The request with which a call from `from` to `to` would begin; `None` if there is
    /// none, or none that may be made without a call.
    fn entry(&self, _from: &str, _to: &str) -> Option<(HttpRequest, DocumentKey)> {
        None
    }

    /// Whether a flow would run the document in `answer`.
    ///
    /// # Errors
    /// The catalogue code of what is wrong with it.
    fn judge(&self, _answer: &HttpResponse) -> Result<(), &'static str> {
        Ok(())
    }

    /// The files and texts that the document in `answer` would play, as far as they are
    /// known before it runs.
    fn sounds(&self, _answer: &HttpResponse) -> Vec<PromptSource> {
        Vec::new()
    }

    /// How the flow's own document claims a number; `None` if it names it nowhere.
    fn claims(&self, _number: &str) -> Option<Claim> {
        None
    }

    /// Mailboxes that the flow's own account brings to the box.
    fn mailboxes(&self) -> Vec<MailboxEntry> {
        Vec::new()
    }

    /// True if documents of its server may be replaced by copies of an earlier day.
    fn takes_copies(&self) -> bool {
        true
    }

    /// True if the first document is on the box, so that no server is needed to begin.
    fn is_on_box(&self) -> bool;

    /// True if the flow itself knows what to run when its first document cannot be had.
    fn has_fallback(&self) -> bool;
}

/// How a flow's own document claims a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// It stands there as it is dialled.
    Number,
    /// A pattern fits it.
    Pattern,
    /// It takes what nothing else of the box answers, and this number too.
    Remainder,
}

/// What a check found in a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Catalogue code.
    pub code: &'static str,
    /// True if the document will not run.
    pub fatal: bool,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What it is about: an element, an attribute, a value.
    pub subject: String,
}

/// For a dialect whose addresses are not relative, or are found bad by its check.
const fn needs_no_server(_: &[u8]) -> Vec<Finding> {
    Vec::new()
}

/// Every dialect that the box speaks.
pub const DIALECTS: &[Dialect] =
    &[opentact::DIALECT, call_interactive::DIALECT, twiml::DIALECT, kazoo::DIALECT, voxengine::DIALECT];

/// The dialect and the profile of it that is meant by the name of a vendor's own reading.
#[must_use]
pub fn reading(name: &str) -> Option<(&'static str, &'static str)> {
    let name = name.trim().to_ascii_lowercase();
    match name.as_str() {
        "twilio" => Some(("twiml", "twilio")),
        "laml" | "cxml" | "signalwire" => Some(("twiml", "laml")),
        "texml" | "telnyx" => Some(("twiml", "texml")),
        "rcml" | "restcomm" => Some(("twiml", "rcml")),
        "pivot" => Some(("twiml", "pivot")),
        _ => None,
    }
}

/// The dialect with this name.
#[must_use]
pub fn dialect(name: &str) -> Option<&'static Dialect> {
    DIALECTS.iter().find(|dialect| dialect.name == name)
}
