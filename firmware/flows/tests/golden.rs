//! Every transcript under a dialect's `golden/` folder.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::{Path, PathBuf};
use std::rc::Rc;

use tipring_flows::dialect;
use tipring_flows::voxengine::in_process::InProcess;
use tipring_flows::voxengine::interpreter::Bounds;
use tipring_model::flow::Flow;
use tipring_model::settings::{RawSettings, RawValue};
use tipring_testkit::transcript;

fn transcripts(dialect: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(dialect).join("golden");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    found.sort();
    found
}

fn replay(dialect_name: &str, least: usize, defaults: fn(&mut RawSettings)) {
    let dialect = dialect(dialect_name).unwrap();
    let office = Rc::new(transcript::office());
    let transcripts = transcripts(dialect_name);
    assert!(transcripts.len() > least, "the transcripts are not where they should be");
    let wrong: Vec<String> = transcripts
        .iter()
        .filter_map(|path| {
            transcript::check(path, |settings| {
                let mut settings = settings.clone();
                defaults(&mut settings);
                (dialect.open)(&settings, &office).map(|program| program.start())
            })
            .err()
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), transcripts.len(), wrong.join("\n"));
}

#[test]
fn opentact_transcripts() {
    replay("opentact", 100, |settings| {
        for (key, value) in [
            ("name", "office"),
            ("uuid", "00000000-0000-4000-8000-0000000000aa"),
            ("account", "00000000-0000-4000-8000-0000000000bb"),
        ] {
            if settings.get(key).is_none() {
                settings.set(key, RawValue::Text(value.to_owned()));
            }
        }
        if settings.get("url").is_none() && settings.get("document").is_none() {
            settings.set("url", RawValue::Text("https://app.example/flow".to_owned()));
        }
    });
}

#[test]
fn kazoo_transcripts() {
    replay("kazoo", 400, |_| {});
}

#[test]
fn twiml_transcripts() {
    replay("twiml", 100, |settings| {
        if settings.get("url").is_none() && settings.get("document").is_none() {
            settings.set("url", RawValue::Text("https://app.example/voice".to_owned()));
        }
    });
}

#[test]
fn call_interactive_transcripts() {
    replay("call_interactive", 100, |settings| {
        let is_set = |key: &str| settings.get(key).is_some();
        let mut usual = vec![("extension", "0042*900"), ("method", "GET")];
        if !is_set("url") && !is_set("document") {
            usual.push(("url", "http://lab.test/ci"));
        }
        usual.retain(|(key, _)| !is_set(key));
        for (key, value) in usual {
            settings.set(key, RawValue::Text(value.to_owned()));
        }
    });
}

#[test]
fn voxengine_transcripts() {
    let office = Rc::new(transcript::office());
    let dialect = tipring_flows::voxengine::DIALECT;
    let transcripts = transcripts("voxengine");
    assert!(transcripts.len() > 40, "the transcripts are not where they should be");
    let open = |settings: &RawSettings| {
        let flow = (dialect.open)(settings, &office)?.start();
        // Five milliseconds each time the engine asks: a script that does not end is ended.
        let used = std::cell::Cell::new(0);
        let clock = move || {
            used.set(used.get() + 5);
            std::time::Duration::from_millis(used.get())
        };
        Ok(Box::new(InProcess::new(flow, Bounds::default(), 1, Box::new(clock))) as Box<dyn Flow>)
    };
    let wrong: Vec<String> =
        transcripts.iter().filter_map(|path| transcript::check(path, open).err()).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), transcripts.len(), wrong.join("\n"));
}
