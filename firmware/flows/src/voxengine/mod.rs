//! VoxEngine scenarios: JavaScript that places calls, joins them, and is spoken to while it runs.
//! `README.md` beside this file lists what is done and what is not.
//!
//! A session ([`session`]) is a flow. Its script is somewhere else: on the box in a process of its
//! own, in tests right here ([`in_process`]). Between the two go messages ([`message`]).

mod check;
mod control;
pub mod in_process;
pub mod interpreter;
mod mail;
pub mod message;
mod parties;
mod position;
mod requests;
mod session;
mod settings;
mod signals;
mod sound;
mod storage;
mod tape;
mod tones;
mod wiring;

#[cfg(test)]
mod engine_tests;

use std::rc::Rc;

use tipring_model::directory::Directory;
use tipring_model::flow::Flow;
use tipring_model::settings::{RawSettings, Settings};

use crate::{Dialect, Opened, Program};
pub use check::check_together;
pub use settings::Scenario;

/// The dialect's row in the table.
pub const DIALECT: Dialect = Dialect {
    name: "voxengine",
    fields: Scenario::FIELDS,
    open,
    check: check::check,
    needs_server: crate::needs_no_server,
};

fn open(raw: &RawSettings, directory: &Rc<Directory>) -> Opened {
    Scenario::parse(raw).map(|scenario| program(scenario, directory))
}

/// The program of a scenario that may be made of several texts.
#[must_use]
pub fn program(scenario: Scenario, directory: &Rc<Directory>) -> Box<dyn Program> {
    Box::new(VoxEngine { scenario: Rc::new(scenario), directory: Rc::clone(directory) })
}

struct VoxEngine {
    scenario: Rc<Scenario>,
    directory: Rc<Directory>,
}

impl Program for VoxEngine {
    fn start(&self) -> Box<dyn Flow> {
        Box::new(session::Session::new(Rc::clone(&self.scenario), Rc::clone(&self.directory)))
    }

    fn takes_copies(&self) -> bool {
        false
    }

    fn is_on_box(&self) -> bool {
        true
    }

    fn has_fallback(&self) -> bool {
        false
    }
}
