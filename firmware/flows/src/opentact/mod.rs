//! Opentact XML, both generations of it. `README.md` beside this file lists what
//! is done and what is not.

mod attributes;
mod audio;
mod blocks;
mod dial;
mod flow;
mod gather;
mod params;
mod parse;
mod record;
mod request;
mod schedule;
mod settings;
mod sounds;

use std::rc::Rc;

use tipring_model::directory::Directory;
use tipring_model::fetch::{DocumentKey, HttpRequest, HttpResponse, Method};
use tipring_model::flow::Flow;
use tipring_model::prompt::PromptSource;
use tipring_model::settings::{FieldError, RawSettings, Settings};

use crate::{Dialect, Program};
use settings::Source;

/// The dialect's row in the table.
pub const DIALECT: Dialect = Dialect {
    name: "opentact",
    fields: settings::App::FIELDS,
    open,
    check: parse::check,
    needs_server: crate::needs_no_server,
};

fn open(raw: &RawSettings, _: &Rc<Directory>) -> Result<Box<dyn Program>, Vec<FieldError>> {
    settings::App::parse(raw).map(|app| Box::new(Opentact { app: Rc::new(app) }) as Box<dyn Program>)
}

struct Opentact {
    app: Rc<settings::App>,
}

impl Program for Opentact {
    fn start(&self) -> Box<dyn Flow> {
        Box::new(flow::OpentactFlow::new(Rc::clone(&self.app)))
    }

    fn entry(&self, from: &str, to: &str) -> Option<(HttpRequest, DocumentKey)> {
        match &self.app.source {
            // A POST would tell of a call that there is not.
            Source::Url { url, timeout } if self.app.method == Method::Get => {
                Some(request::first_request(&self.app, url, from, to, None, *timeout))
            }
            Source::Url { .. } | Source::Static(_) => None,
        }
    }

    fn judge(&self, answer: &HttpResponse) -> Result<(), &'static str> {
        match request::judge(Ok(answer), self.app.strict)? {
            request::Judged::Document(_) => Ok(()),
            request::Judged::Empty => Err("TR-FLOW-ROOT"),
        }
    }

    fn sounds(&self, answer: &HttpResponse) -> Vec<PromptSource> {
        sounds::of(&self.app, answer)
    }

    fn is_on_box(&self) -> bool {
        matches!(self.app.source, Source::Static(_))
    }

    fn has_fallback(&self) -> bool {
        self.app.fallback.is_some()
    }
}
