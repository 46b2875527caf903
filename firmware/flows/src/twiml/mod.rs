//! TwiML, as Twilio and those who speak the same language read it. `README.md` beside this file
//! lists what is done and what is not.
//!
//! Another dialect may hand a call over to this one, as Kazoo's Pivot does:
//! [`TwimlFlow::new`] with [`Terms::of`] its profile, changed as its own settings say, and a
//! [`First`] document that is still to be fetched, was fetched already, or is at hand. The run
//! is then told [`Started`](tipring_model::flow::FlowInput::Started) with the facts of the call
//! as they are at that moment, and all that follows; [`TwimlFlow::numbered_after`] keeps its
//! actions and fetches apart from those before. With [`Terms::returns_first_failure`] it gives
//! the call back untouched when its first document cannot be had
//! ([`TwimlFlow::failed_first`]).

mod attributes;
mod audio;
mod check;
mod cookies;
mod dial;
mod ending;
mod flow;
mod fragment;
mod gather;
mod legs;
mod names;
mod others;
mod params;
mod parse;
mod queue;
mod record;
mod request;
mod room;
mod script;
mod settings;
mod sign;
mod sounds;
mod speech;
mod stream;
mod targets;
#[cfg(test)]
mod tests;
mod update;

use std::rc::Rc;

use tipring_model::call::CallFacts;
use tipring_model::directory::Directory;
use tipring_model::fetch::{DocumentKey, HttpRequest, HttpResponse};
use tipring_model::flow::Flow;
use tipring_model::prompt::PromptSource;
use tipring_model::settings::{FieldError, RawSettings};

pub use flow::TwimlFlow;
pub use settings::{Address, Callback, First, Profile, Terms};

use crate::{Dialect, Program};

/// The dialect's row in the table.
pub const DIALECT: Dialect = Dialect {
    name: "twiml",
    fields: settings::FIELDS,
    open,
    check: check::check,
    needs_server: check::needs_server,
};

fn open(raw: &RawSettings, directory: &Rc<Directory>) -> Result<Box<dyn Program>, Vec<FieldError>> {
    let app = settings::open(raw, directory)?;
    let (terms, first, directory) = (Rc::new(app.terms), app.first, Rc::clone(directory));
    Ok(Box::new(Twiml { terms, first, directory }))
}

/// The number that the fallback address gets for a code of the catalogue.
#[must_use]
pub fn vendor_number(code: &str) -> u32 {
    parse::number_of(code)
}

/// The request with which a run under these terms begins a call, for a dialect that fetches the
/// first document itself.
#[must_use]
pub fn first_request(terms: &Terms, url: &str, facts: &CallFacts) -> HttpRequest {
    request::first_request(terms, url, facts)
}

struct Twiml {
    terms: Rc<Terms>,
    first: First,
    directory: Rc<Directory>,
}

impl Program for Twiml {
    fn start(&self) -> Box<dyn Flow> {
        let (terms, directory) = (Rc::clone(&self.terms), Rc::clone(&self.directory));
        Box::new(TwimlFlow::new(terms, directory, self.first.clone()))
    }

    fn entry(&self, from: &str, to: &str) -> Option<(HttpRequest, DocumentKey)> {
        match &self.first {
            // A POST would tell of a call that there is not.
            First::Url(url) if self.terms.method == tipring_model::fetch::Method::Get => {
                let request = request::first_request(&self.terms, url, &request::nobodys_call(from, to));
                Some((request, request::first_key(&self.terms, url, to)))
            }
            First::Url(_) | First::Answer(_) | First::Document(_) => None,
        }
    }

    fn judge(&self, answer: &HttpResponse) -> Result<(), &'static str> {
        request::judge(Ok(answer), self.terms.lenient_prolog).map(|_| ())
    }

    fn sounds(&self, answer: &HttpResponse) -> Vec<PromptSource> {
        sounds::of(&self.terms, &self.directory, answer)
    }

    fn is_on_box(&self) -> bool {
        matches!(self.first, First::Document(_))
    }

    fn has_fallback(&self) -> bool {
        self.terms.fallback_document.is_some()
    }
}
