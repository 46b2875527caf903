//! Call Interactive: an IVR of contexts and options that asks a customer's server what to do.
//!
//! The IVR itself is a JSON document of the configuration, or, in the usual case, nothing but
//! the one request that its first option makes. The server's answer is XML with up to ten
//! actions; it is checked whole before the first of them runs. The `README.md` beside this
//! file says what is done and what is not.

mod answer;
mod flow;
mod ivr;
mod reader;
mod request;
mod settings;

use std::rc::Rc;

use tipring_model::directory::Directory;
use tipring_model::fetch::{DocumentKey, HttpRequest, HttpResponse};
use tipring_model::flow::Flow;
use tipring_model::prompt::PromptSource;
use tipring_model::settings::{FieldError, RawSettings};

use crate::{Dialect, Finding, Program};

/// The dialect.
pub const DIALECT: Dialect = Dialect {
    name: "call_interactive",
    fields: settings::FIELDS,
    open,
    check,
    needs_server: crate::needs_no_server,
};

fn open(raw: &RawSettings, directory: &Rc<Directory>) -> Result<Box<dyn Program>, Vec<FieldError>> {
    let settings = settings::parse(raw, directory)?;
    Ok(Box::new(CallInteractive(Rc::new(settings))))
}

struct CallInteractive(Rc<settings::Settings>);

impl Program for CallInteractive {
    fn start(&self) -> Box<dyn Flow> {
        Box::new(flow::Ivr::new(Rc::clone(&self.0)))
    }

    /// A request tells of a call: none is made without one.
    fn entry(&self, _from: &str, _to: &str) -> Option<(HttpRequest, DocumentKey)> {
        None
    }

    fn judge(&self, answer: &HttpResponse) -> Result<(), &'static str> {
        answer::read(answer, &self.0.rules).map(|_| ())
    }

    fn sounds(&self, _answer: &HttpResponse) -> Vec<PromptSource> {
        Vec::new()
    }

    /// Every answer is about one caller: an old one would be wrong.
    fn takes_copies(&self) -> bool {
        false
    }

    /// The IVR is on the box; it goes on whether its server answers or not.
    fn is_on_box(&self) -> bool {
        true
    }

    fn has_fallback(&self) -> bool {
        false
    }
}

/// A document of the configuration is an IVR; one of a server is an answer.
fn check(bytes: &[u8]) -> Vec<Finding> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    if text.starts_with(b"{") || text.starts_with(b"[") {
        reader::read(bytes).1
    } else {
        answer::check(bytes)
    }
}
