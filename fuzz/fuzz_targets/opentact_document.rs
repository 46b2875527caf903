//! Any document: its check and its run agree, and a run of fifty steps with any answers neither
//! panics nor goes in a circle.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tipring_flows::dialect;
use tipring_fuzz::flow_run;
use tipring_fuzz::input::Bytes;
use tipring_model::settings::{RawSettings, RawValue};

/// Between the document and the choices that drive its run.
const MARK: u8 = 0;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == MARK).unwrap_or(bytes.len());
    let (document, choices) = bytes.split_at(end);
    let mut choices = Bytes::new(choices.get(1..).unwrap_or(&[]));
    let dialect = dialect("opentact").expect("the dialect is there");
    let fatal = (dialect.check)(document).iter().any(|finding| finding.fatal);
    // Fetched: the document comes as the answer to the first request, and to every other.
    let mut settings = RawSettings::new();
    settings.set("url", RawValue::Text("https://app.example/flow".to_owned()));
    let Ok(program) = (dialect.open)(&settings, &Default::default()) else {
        panic!("good settings were refused")
    };
    let facts = flow_run::facts("15550100", "100");
    flow_run::run(program.start().as_mut(), &facts, &mut choices, document, |_| {});
    // Static: what the check refuses, the settings refuse, too.
    let Ok(text) = std::str::from_utf8(document) else { return };
    let mut settings = RawSettings::new();
    settings.set("document", RawValue::Text(text.to_owned()));
    if let Ok(program) = (dialect.open)(&settings, &Default::default()) {
        assert!(!fatal, "the check refuses what runs");
        flow_run::run(program.start().as_mut(), &facts, &mut choices, document, |_| {});
    }
});
