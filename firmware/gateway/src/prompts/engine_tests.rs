//! Speech engines of the configuration: programs of this machine and small servers.

use std::fs;

use tipring_media::wav;
use tipring_model::prompt::Gender;

use super::disk::tests::Folder;
use super::engines::EngineFailure;
use super::ssml::Words;
use super::*;
use crate::fetch::test_server::{Seen, TestServer, reply};
use crate::fetch::{AllowList, FetchSettings};

fn speech(text: &str, is_ssml: bool) -> Speech {
    Speech {
        text: text.to_owned(),
        language: "en-US".to_owned(),
        gender: Gender::Male,
        voice: Some("Amy".to_owned()),
        is_ssml,
    }
}

fn sound(length_ms: usize) -> Vec<u8> {
    wav::file(8_000, &vec![500; length_ms * 8])
}

fn settings(folder: &Folder, engine: SpeechEngine) -> PromptSettings {
    PromptSettings {
        cache_dir: folder.0.join("cache"),
        speech_engine: engine,
        speech_program: "/nowhere/espeak-ng".into(),
        ..PromptSettings::default()
    }
}

fn fetcher(allow: &[String]) -> Fetcher {
    Fetcher::new(FetchSettings { allow: AllowList::parse(allow).unwrap(), ..FetchSettings::default() })
}

fn store(folder: &Folder, engine: SpeechEngine) -> PromptStore {
    PromptStore::new(settings(folder, engine), fetcher(&[]))
}

fn command(words: &[&str], is_ssml: bool) -> SpeechEngine {
    SpeechEngine::Command { command: words.iter().map(|word| (*word).to_owned()).collect(), is_ssml }
}

/// A program that keeps what it is told beside a sound, which it says.
fn parrot(folder: &Folder, is_ssml: bool) -> SpeechEngine {
    let script = "cat > \"$0/text\"; echo \"$1|$2|$3\" >> \"$0/calls\"; cat \"$0/sound\"";
    let place = folder.0.display().to_string();
    command(&["sh", "-c", script, &place, "{language}", "{voice}", "-{gender}"], is_ssml)
}

async fn length(store: &PromptStore, speech: Speech) -> Result<u64, ActionFailure> {
    store.get(&PromptSource::Speech(speech)).await.map(|prompt| prompt.duration_ms())
}

#[tokio::test]
async fn a_program_is_told_text_and_voice_and_speaks_once() {
    let folder = Folder::new();
    fs::write(folder.0.join("sound"), sound(120)).unwrap();
    let first = store(&folder, parrot(&folder, false));
    let text = "echo; $(id) & [[x";
    assert_eq!(length(&first, speech(text, false)).await, Ok(120));
    assert_eq!(fs::read_to_string(folder.0.join("text")).unwrap(), "echo; $(id) & [ [x");
    assert_eq!(fs::read_to_string(folder.0.join("calls")).unwrap(), "en-US|Amy|-male\n");
    // Another store finds it on the disk, and any sound will do.
    fs::write(folder.0.join("sound"), include_bytes!("fixtures/mono-1000hz-750ms.opus")).unwrap();
    let second = store(&folder, parrot(&folder, false));
    assert_eq!(length(&second, speech(text, false)).await, Ok(120));
    assert_eq!(length(&second, speech("Other words", false)).await, Ok(750));
    // The words of another engine are not its own.
    assert_eq!(length(&store(&folder, parrot(&folder, true)), speech(text, false)).await, Ok(750));
    assert_eq!(fs::read_to_string(folder.0.join("calls")).unwrap().lines().count(), 3);
}

#[tokio::test]
async fn a_program_gets_ssml_only_if_it_knows_it() {
    let folder = Folder::new();
    fs::write(folder.0.join("sound"), sound(100)).unwrap();
    let told = || fs::read_to_string(folder.0.join("text")).unwrap();
    let marked = "Code <say-as interpret-as=\"digits\">123</say-as> <sub alias=\"&amp;c\">x</sub>";
    let plain = store(&folder, parrot(&folder, false));
    assert_eq!(length(&plain, speech(marked, true)).await, Ok(100));
    assert_eq!(told(), "Code 1 2 3 &c");
    let knowing = store(&folder, parrot(&folder, true));
    assert_eq!(length(&knowing, speech(marked, true)).await, Ok(100));
    assert!(told().starts_with("<speak ") && told().ends_with(&format!(">{marked}</speak>")), "{}", told());
    assert_eq!(length(&knowing, speech("<p>one", true)).await, Ok(100));
    assert_eq!(told(), "one");
}

#[tokio::test]
async fn without_the_engine_espeak_ng_speaks_for_a_while() {
    drop(speech::tests::real_engine().await);
    let folder = Folder::new();
    let settings =
        PromptSettings { speech_program: "espeak-ng".into(), ..settings(&folder, parrot(&folder, false)) };
    let store = PromptStore::new(settings, fetcher(&[]));
    let engine = store.inner.outside.as_ref().unwrap();
    // The parrot has no sound yet.
    let spoken = store.inner.speak(&speech("one two three", false)).await.unwrap();
    assert!(spoken.prompt.duration_ms() > 500);
    assert!(matches!(spoken.trust, Trust::Until { .. }), "the engine gets another try");
    assert!(!engine.note(false), "it was said once");
    fs::write(folder.0.join("sound"), sound(100)).unwrap();
    let spoken = store.inner.speak(&speech("one two three", false)).await.unwrap();
    assert_eq!(spoken.prompt.duration_ms(), 100);
    assert!(matches!(spoken.trust, Trust::Always));
    assert!(engine.note(false), "a new failure is news");
    // What has no words is not for the engine.
    fs::remove_file(folder.0.join("calls")).unwrap();
    assert!(length(&store, speech("<break time=\"1s\"/>", true)).await.is_ok());
    assert!(!folder.0.join("calls").exists());
}

#[tokio::test]
async fn programs_that_fail_are_told_apart() {
    let folder = Folder::new();
    let said = folder.0.join("sound");
    let file = said.display().to_string();
    fs::write(&said, b"no sound").unwrap();
    let words = Words::Text("words".to_owned());
    for (line, expected) in [
        (vec!["/nowhere/engine"], EngineFailure::Program),
        (vec!["false"], EngineFailure::Program),
        (vec!["cat", "/dev/zero"], EngineFailure::Program),
    ] {
        let store = store(&folder, command(&line, false));
        let engine = store.inner.outside.as_ref().unwrap();
        assert_eq!(engine.speak(&words, &speech("words", false)).await, Err(expected), "{line:?}");
        // There is no espeak-ng here either.
        assert_eq!(length(&store, speech("words", false)).await, Err(ActionFailure::Speech), "{line:?}");
    }
    for bytes in [&b"no sound"[..], b"", &sound(100)[..44]] {
        fs::write(&said, bytes).unwrap();
        let store = store(&folder, command(&["sh", "-c", "cat > /dev/null; cat \"$0\"", &file], false));
        assert_eq!(length(&store, speech("words", false)).await, Err(ActionFailure::Speech), "{bytes:?}");
        assert!(!folder.0.join("cache/speech").exists(), "what cannot be played is not kept");
    }
    let long = "é".repeat(speech::TEXT_CHARS_MAX + 1);
    fs::write(folder.0.join("sound"), sound(100)).unwrap();
    let store = store(&folder, parrot(&folder, false));
    assert_eq!(length(&store, speech(&long, false)).await, Err(ActionFailure::Limit));
    assert!(!folder.0.join("calls").exists());
}

#[tokio::test]
async fn who_takes_too_long_is_not_asked_for_a_while() {
    let folder = Folder::new();
    let server = TestServer::start(|_| crate::fetch::test_server::Reaction::Hang);
    for engine in [command(&["sleep", "1000"], false), SpeechEngine::Http { url: server.url("/") }] {
        let settings =
            PromptSettings { speech_timeout: Duration::from_millis(100), ..settings(&folder, engine) };
        let store = PromptStore::new(settings, fetcher(&[server.addr().to_string()]));
        let engine = store.inner.outside.as_ref().unwrap();
        let words = Words::Text("words".to_owned());
        let spoken = engine.speak(&words, &speech("words", false)).await;
        assert_eq!(spoken, Err(EngineFailure::Timeout));
        let again = engine.speak(&words, &speech("words", false)).await;
        assert_eq!(again, Err(EngineFailure::Resting));
    }
}

#[tokio::test]
async fn a_server_is_sent_text_or_ssml() {
    let server = TestServer::start(|seen: &Seen| match seen.path() {
        path if path.starts_with("/say?key=1&") => {
            reply(200, "Content-Type: audio/ogg\r\n", include_bytes!("fixtures/mono-1000hz-750ms.opus"))
        }
        _ => reply(503, "", b"no"),
    });
    let folder = Folder::new();
    let at = |url: String, allow: &[String]| {
        PromptStore::new(settings(&folder, SpeechEngine::Http { url }), fetcher(allow))
    };
    let allow = [server.addr().to_string()];
    let good = at(server.url("/say?key=1#part"), &allow);
    assert_eq!(length(&good, speech("Grüße & so", false)).await, Ok(750));
    assert_eq!(length(&good, speech("Grüße & so", false)).await, Ok(750));
    assert_eq!(length(&good, speech("<p>one</p>", true)).await, Ok(750));
    assert_eq!(length(&good, speech("<p>two", true)).await, Ok(750));
    let seen = server.seen();
    let told: Vec<_> = seen
        .iter()
        .map(|seen| (seen.header("content-type").unwrap(), String::from_utf8(seen.body.clone()).unwrap()))
        .collect();
    let ssml = "<speak version=\"1.1\" xmlns=\"http://www.w3.org/2001/10/synthesis\" xml:lang=\"en-US\"><p>one</p></speak>";
    assert_eq!(
        told,
        [
            ("text/plain; charset=utf-8", "Grüße & so".to_owned()),
            ("application/ssml+xml", ssml.to_owned()),
            ("text/plain; charset=utf-8", "two".to_owned()),
        ]
    );
    assert_eq!(seen[0].line, "POST /say?key=1&language=en-US&voice=Amy&gender=male HTTP/1.1");

    // A server that refuses, and one in a network that flows may not reach.
    let words = Words::Text("words".to_owned());
    let refusing = at(server.url("/"), &allow);
    let engine = refusing.inner.outside.as_ref().unwrap();
    assert_eq!(engine.speak(&words, &speech("words", false)).await, Err(EngineFailure::Status(503)));
    let asked = server.seen().len();
    let forbidden = at(server.url("/say?key=1"), &[]);
    let engine = forbidden.inner.outside.as_ref().unwrap();
    let spoken = engine.speak(&words, &speech("words", false)).await;
    assert_eq!(spoken, Err(EngineFailure::Fetch(FetchError::AddressRefused)));
    assert_eq!(server.seen().len(), asked);
}
