//! Kazoo callflows in JSON, with Pivot. `README.md` beside this file lists what is done and
//! what is not.

mod audio;
mod branch;
mod calendar;
mod caller;
mod collect;
mod conference;
mod dial;
mod endpoints;
mod feature;
mod flow;
mod keys;
mod lists;
mod mailbox;
mod media;
mod menu;
mod number;
mod page;
mod params;
mod park;
mod parse;
mod pattern;
mod pickup;
mod pivot;
mod record;
mod references;
mod rules;
mod say;
mod settings;
mod stored;
mod temporal;
mod twiml;
mod webhook;

use std::rc::Rc;

use tipring_model::directory::{Directory, MailboxEntry};
use tipring_model::fetch::{DocumentKey, HttpRequest, HttpResponse};
use tipring_model::flow::Flow;
use tipring_model::prompt::PromptSource;
use tipring_model::settings::{RawSettings, Settings};

pub(crate) use dial::{GREGORIAN_OFFSET, hangup_cause};

use crate::{Claim, Dialect, Opened, Program};

/// The dialect's row in the table.
pub const DIALECT: Dialect = Dialect {
    name: "kazoo",
    fields: settings::App::FIELDS,
    open,
    check: parse::check,
    needs_server: crate::needs_no_server,
};

fn open(raw: &RawSettings, directory: &Rc<Directory>) -> Opened {
    let app = settings::App::with_directory(raw, directory)?;
    Ok(Box::new(Kazoo { app: Rc::new(app) }))
}

struct Kazoo {
    app: Rc<settings::App>,
}

impl Program for Kazoo {
    fn start(&self) -> Box<dyn Flow> {
        Box::new(flow::KazooFlow::new(Rc::clone(&self.app)))
    }

    fn entry(&self, _: &str, _: &str) -> Option<(HttpRequest, DocumentKey)> {
        None
    }

    fn judge(&self, answer: &HttpResponse) -> Result<(), &'static str> {
        pivot::judge(answer)
    }

    fn sounds(&self, _: &HttpResponse) -> Vec<PromptSource> {
        Vec::new()
    }

    fn claims(&self, number: &str) -> Option<Claim> {
        self.app.document.claims(number)
    }

    fn mailboxes(&self) -> Vec<MailboxEntry> {
        self.app.document.stored.mailboxes(&self.app.people)
    }

    fn is_on_box(&self) -> bool {
        true
    }

    fn has_fallback(&self) -> bool {
        false
    }
}
