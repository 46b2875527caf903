//! Opentact XML, both generations of it. `README.md` beside this file lists what
//! is done and what is not.

mod attributes;
mod audio;
mod blocks;
mod dial;
mod flow;
mod gather;
mod loads;
mod params;
mod parse;
mod record;
mod request;
mod schedule;
mod settings;

use std::rc::Rc;

use tipring_model::flow::Flow;
use tipring_model::settings::{FieldError, RawSettings, Settings};

use crate::{Dialect, Program};

/// The dialect's row in the table.
pub const DIALECT: Dialect =
    Dialect { name: "opentact", fields: settings::App::FIELDS, open, check: parse::check };

fn open(raw: &RawSettings) -> Result<Box<dyn Program>, Vec<FieldError>> {
    settings::App::parse(raw).map(|app| Box::new(Opentact { app: Rc::new(app) }) as Box<dyn Program>)
}

struct Opentact {
    app: Rc<settings::App>,
}

impl Program for Opentact {
    fn start(&self) -> Box<dyn Flow> {
        Box::new(flow::OpentactFlow::new(Rc::clone(&self.app)))
    }
}
