//! Every transcript under a dialect's `golden/` folder.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::{Path, PathBuf};
use std::rc::Rc;

use tipring_flows::dialect;
use tipring_model::settings::RawValue;
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

#[test]
fn call_interactive_transcripts() {
    let dialect = dialect("call_interactive").unwrap();
    let office = Rc::new(transcript::office());
    let transcripts = transcripts("call_interactive");
    assert!(transcripts.len() > 60, "the transcripts are not where they should be");
    let wrong: Vec<String> = transcripts
        .iter()
        .filter_map(|path| {
            transcript::check(path, |settings| {
                let mut settings = settings.clone();
                for (key, value) in [("extension", "0042*900"), ("method", "GET")] {
                    if settings.get(key).is_none() {
                        settings.set(key, RawValue::Text(value.to_owned()));
                    }
                }
                if settings.get("url").is_none() && settings.get("document").is_none() {
                    settings.set("url", RawValue::Text("http://lab.test/ci".to_owned()));
                }
                (dialect.open)(&settings, &office).map(|program| program.start())
            })
            .err()
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), transcripts.len(), wrong.join("\n"));
}

#[test]
fn opentact_transcripts() {
    let dialect = dialect("opentact").unwrap();
    let office = Rc::new(transcript::office());
    let transcripts = transcripts("opentact");
    assert!(transcripts.len() > 100, "the transcripts are not where they should be");
    let wrong: Vec<String> = transcripts
        .iter()
        .filter_map(|path| {
            transcript::check(path, |settings| {
                let mut settings = settings.clone();
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
                (dialect.open)(&settings, &office).map(|program| program.start())
            })
            .err()
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), transcripts.len(), wrong.join("\n"));
}

#[test]
fn twiml_transcripts() {
    let dialect = dialect("twiml").unwrap();
    let office = Rc::new(transcript::office());
    let transcripts = transcripts("twiml");
    assert!(transcripts.len() > 100, "the transcripts are not where they should be");
    let wrong: Vec<String> = transcripts
        .iter()
        .filter_map(|path| {
            transcript::check(path, |settings| {
                let mut settings = settings.clone();
                if settings.get("url").is_none() && settings.get("document").is_none() {
                    settings.set("url", RawValue::Text("https://app.example/voice".to_owned()));
                }
                (dialect.open)(&settings, &office).map(|program| program.start())
            })
            .err()
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), transcripts.len(), wrong.join("\n"));
}
