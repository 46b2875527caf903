//! Any document in a dialect: its check and its run agree, and a run of fifty steps with any
//! answers neither panics nor goes in a circle.

use std::rc::Rc;

use tipring_flows::{Dialect, dialect};
use tipring_model::settings::{RawSettings, RawValue};

use crate::flow_run;
use crate::input::Bytes;

/// Between the document and the choices that drive its run.
const MARK: u8 = 0;

/// Runs `bytes` as the answer to every request of a flow with the setting `asks`, and as a
/// document of the configuration.
///
/// # Panics
/// When something is not as it must be.
pub fn run(name: &str, asks: (&str, &str), bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == MARK).unwrap_or(bytes.len());
    let (document, choices) = bytes.split_at(end);
    let mut choices = Bytes::new(choices.get(1..).unwrap_or(&[]));
    let Some(dialect) = dialect(name) else { panic!("there is no dialect {name}") };
    let fatal = (dialect.check)(document).iter().any(|finding| finding.fatal);
    let (key, value) = asks;
    assert!(play(dialect, key, value, document, &mut choices), "good settings were refused");
    // What the check refuses, the settings refuse, too.
    let Ok(text) = std::str::from_utf8(document) else { return };
    let runs = play(dialect, "document", text, document, &mut choices);
    assert!(!(runs && fatal), "the check refuses what runs");
}

/// Runs a flow with one setting; false if that is refused.
fn play(dialect: &Dialect, key: &str, value: &str, body: &[u8], choices: &mut Bytes<'_>) -> bool {
    let mut settings = RawSettings::new();
    settings.set(key, RawValue::Text(value.to_owned()));
    let Ok(program) = (dialect.open)(&settings, &Rc::default()) else { return false };
    let facts = flow_run::facts("15550100", "100");
    flow_run::run(program.start().as_mut(), &facts, choices, body, |_| {});
    true
}
