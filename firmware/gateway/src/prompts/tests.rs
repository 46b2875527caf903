//! The store with small servers, folders and the real speech engine.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use tipring_media::{Rate, wav};
use tipring_model::fetch::Body;
use tipring_model::prompt::{CallTone, Gender};

use super::disk::tests::Folder;

use super::*;
use crate::fetch::test_server::{Reaction, Seen, TestServer, reply};
use crate::fetch::{AllowList, FetchSettings};

fn fetcher(servers: &[&TestServer]) -> Fetcher {
    let entries: Vec<String> = servers.iter().map(|server| server.addr().to_string()).collect();
    Fetcher::new(FetchSettings { allow: AllowList::parse(&entries).unwrap(), ..FetchSettings::default() })
}

fn store(folder: &Folder, servers: &[&TestServer]) -> PromptStore {
    let settings = PromptSettings {
        prompts_dir: Some(folder.0.join("library")),
        codecs: vec![CodecId::Pcmu],
        cache_dir: folder.0.join("cache"),
        ..PromptSettings::default()
    };
    PromptStore::new(settings, fetcher(servers))
}

fn url(server: &TestServer, path: &str) -> PromptSource {
    PromptSource::Url(server.url(path))
}

fn library(name: &str) -> PromptSource {
    PromptSource::Library(name.to_owned())
}

fn speech(text: &str, language: &str) -> Speech {
    Speech {
        text: text.to_owned(),
        language: language.to_owned(),
        gender: Gender::Female,
        voice: None,
        is_ssml: false,
    }
}

/// A WAV file of this length, which tells one from another.
fn sound(length_ms: usize) -> Vec<u8> {
    wav::file(8_000, &vec![500; length_ms * 8])
}

#[tokio::test]
async fn files_are_fetched_once_while_they_are_fresh() {
    let server = TestServer::start(|seen: &Seen| match seen.path() {
        "/wav" => reply(200, "Content-Type: audio/wav\r\n", &sound(100)),
        "/mp3" => reply(200, "", &decode::tests::mp3_frame().repeat(20)),
        path => panic!("{path} was not to be asked for"),
    });
    let folder = Folder::new();
    let store = store(&folder, &[&server]);
    let first = store.get(&url(&server, "/wav")).await.unwrap();
    assert_eq!(first.duration_ms(), 100);
    assert!(first.is_prepared(CodecId::Pcmu));
    let again = store.get(&url(&server, "/wav")).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert!(store.get(&url(&server, "/mp3")).await.unwrap().duration_ms() > 400);
    assert_eq!(server.seen().len(), 2);
    assert!(store.memory_bytes() > 0);
}

fn request(server: &TestServer, method: Method, fields: &[(&str, &str)], body: &str) -> PromptSource {
    let body = Body { media_type: "text/plain".to_owned(), bytes: body.as_bytes().to_vec() };
    PromptSource::Request(Box::new(HttpRequest {
        method,
        url: server.url("/say"),
        headers: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: (method == Method::Post).then_some(body),
        timeout: Duration::from_secs(5),
        total: Some(Duration::from_secs(5)),
        connect: None,
        moves_fields: false,
        redirects_max: 5,
        body_max_bytes: 10_000,
        cuts_body: false,
    }))
}

#[tokio::test]
async fn requests_that_differ_in_anything_are_different_files() {
    let server = TestServer::start(|seen: &Seen| match seen.header("authorization") {
        Some("Bearer none") => reply(403, "", b"no"),
        Some("Bearer long") => reply(200, "", &sound(1_000)),
        Some("Bearer a") => reply(200, "ETag: \"1\"\r\nCache-Control: no-cache\r\n", &sound(100)),
        _ => reply(200, "", &sound(200)),
    });
    let folder = Folder::new();
    let store = store(&folder, &[&server]);
    let length = async |source: PromptSource| store.get(&source).await.map(|prompt| prompt.duration_ms());
    let by = |token: &str| request(&server, Method::Get, &[("Authorization", token)], "");
    assert_eq!(length(by("Bearer a")).await, Ok(100));
    assert_eq!(length(by("Bearer b")).await, Ok(200));
    assert_eq!(
        length(by("Bearer none")).await,
        Err(ActionFailure::Status(403)),
        "what others got is not his"
    );
    assert_eq!(length(by("Bearer long")).await, Err(ActionFailure::Fetch(FetchError::TooLarge)));
    assert_eq!(length(PromptSource::Url(server.url("/say"))).await, Ok(200));
    for body in ["one", "two", "one"] {
        assert_eq!(length(request(&server, Method::Post, &[], body)).await, Ok(200));
    }
    let seen: Vec<(String, Vec<u8>)> =
        server.seen().iter().map(|seen| (seen.line.clone(), seen.body.clone())).collect();
    let posted: Vec<&[u8]> =
        seen.iter().filter(|(line, _)| line.starts_with("POST")).map(|(_, body)| &body[..]).collect();
    assert_eq!((seen.len(), posted), (7, vec![&b"one"[..], b"two"]));
    // So are their copies on the disk.
    let names: std::collections::HashSet<String> = [
        by("Bearer a"),
        by("Bearer b"),
        request(&server, Method::Get, &[], ""),
        request(&server, Method::Get, &[("a", "bc")], ""),
        request(&server, Method::Get, &[("ab", "c")], ""),
        request(&server, Method::Post, &[], ""),
        request(&server, Method::Post, &[], "one"),
    ]
    .into_iter()
    .map(|source| {
        let PromptSource::Request(request) = source else { panic!("{source:?}") };
        requested_name(&request)
    })
    .collect();
    assert_eq!(names.len(), 7);
    // Asked again, since its server wants that, with the mark of what is there.
    assert_eq!(length(by("Bearer a")).await, Ok(100));
    assert_eq!(server.seen().last().unwrap().header("if-none-match"), Some("\"1\""));
    assert_eq!(server.seen().last().unwrap().header("accept").map(|text| &text[..7]), Some("audio/*"));
}

#[tokio::test]
async fn those_who_want_the_same_share_the_work() {
    let server = TestServer::start(|_| reply(200, "", &sound(100)));
    let folder = Folder::new();
    let store = store(&folder, &[&server]);
    let source = url(&server, "/");
    let wanted: Vec<_> = (0..20)
        .map(|_| {
            let (store, source) = (store.clone(), source.clone());
            tokio::spawn(async move { store.get(&source).await.unwrap() })
        })
        .collect();
    let mut prompts = Vec::new();
    for prompt in wanted {
        prompts.push(prompt.await.unwrap());
    }
    assert!(prompts.iter().all(|prompt| Arc::ptr_eq(prompt, &prompts[0])));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn work_goes_on_when_nobody_waits() {
    let (release, released) = std::sync::mpsc::sync_channel(1);
    let released = Mutex::new(released);
    let server = TestServer::start(move |_| {
        released.lock().unwrap().recv().unwrap();
        reply(200, "", &sound(100))
    });
    let folder = Folder::new();
    let store = store(&folder, &[&server]);
    let source = url(&server, "/");
    let impatient = tokio::time::timeout(Duration::from_millis(20), store.get(&source)).await;
    assert!(impatient.is_err());
    release.send(()).unwrap();
    assert_eq!(store.get(&source).await.unwrap().duration_ms(), 100);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn stale_files_are_asked_about() {
    let version = Arc::new(AtomicUsize::new(1));
    let current = Arc::clone(&version);
    let server = TestServer::start(move |seen: &Seen| {
        let version = current.load(Ordering::Acquire);
        if version == 0 {
            return Reaction::Last(Vec::new());
        }
        let tag = format!("\"v{version}\"");
        let fields = format!("ETag: {tag}\r\nCache-Control: max-age=0\r\n");
        if seen.header("if-none-match") == Some(&tag) {
            return Reaction::Reply(format!("HTTP/1.1 304 X\r\n{fields}\r\n").into_bytes());
        }
        reply(200, &fields, &sound(100 * version))
    });
    let folder = Folder::new();
    let store = store(&folder, &[&server]);
    let source = url(&server, "/");
    let first = store.get(&source).await.unwrap();
    let same = store.get(&source).await.unwrap();
    assert!(Arc::ptr_eq(&first, &same));
    assert_eq!(server.seen().len(), 2);
    version.store(2, Ordering::Release);
    assert_eq!(store.get(&source).await.unwrap().duration_ms(), 200);
    // The server is gone: the last good one plays.
    version.store(0, Ordering::Release);
    assert_eq!(store.get(&source).await.unwrap().duration_ms(), 200);
}

#[tokio::test]
async fn what_a_server_may_answer_instead() {
    let server = TestServer::start(|seen: &Seen| match seen.path() {
        "/404" => reply(404, "", b"<html>"),
        "/500" => reply(500, "", &sound(10)),
        "/304" => reply(304, "", b""),
        "/204" => reply(204, "", b""),
        "/html" => reply(200, "Content-Type: audio/wav\r\n", b"<html>"),
        "/big" => reply(200, "", &[b'R'; 5_000]),
        "/gone" => Reaction::Last(Vec::new()),
        "/loop" => reply(302, "Location: /loop\r\n", b""),
        path => panic!("{path} was not to be asked for"),
    });
    let folder = Folder::new();
    let settings =
        PromptSettings { file_bytes_max: 4_000, cache_dir: folder.0.clone(), ..PromptSettings::default() };
    let store = PromptStore::new(settings, fetcher(&[&server]));
    for (path, expected) in [
        ("/404", ActionFailure::Status(404)),
        ("/500", ActionFailure::Status(500)),
        ("/304", ActionFailure::Status(304)),
        ("/204", ActionFailure::Decode),
        ("/html", ActionFailure::Decode),
        ("/big", ActionFailure::Fetch(FetchError::TooLarge)),
        ("/gone", ActionFailure::Fetch(FetchError::Cut)),
        ("/loop", ActionFailure::Fetch(FetchError::TooManyRedirects)),
    ] {
        assert_eq!(store.get(&url(&server, path)).await.err(), Some(expected), "{path}");
    }
    let refused = PromptSource::Url("http://10.0.0.1/a.wav".to_owned());
    assert_eq!(store.get(&refused).await.err(), Some(ActionFailure::Fetch(FetchError::AddressRefused)));
    let elsewhere = [PromptSource::Silence(Duration::from_secs(1)), PromptSource::Tone(CallTone::Busy)];
    for source in elsewhere {
        assert_eq!(store.get(&source).await.err(), Some(ActionFailure::NoSuchAudio));
    }
}

#[tokio::test]
async fn the_library_is_read_again_when_it_changes() {
    let folder = Folder::new();
    let files = folder.0.join("library");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("welcome.wav"), sound(100)).unwrap();
    fs::write(files.join("broken.wav"), b"RIFF").unwrap();
    let store = store(&folder, &[]);
    let first = store.get(&library("welcome")).await.unwrap();
    let same = store.get(&library("welcome")).await.unwrap();
    assert_eq!(first.duration_ms(), 100);
    assert!(Arc::ptr_eq(&first, &same));
    fs::write(files.join("welcome.wav"), sound(300)).unwrap();
    assert_eq!(store.get(&library("welcome")).await.unwrap().duration_ms(), 300);
    fs::remove_file(files.join("welcome.wav")).unwrap();
    for (name, expected) in [
        ("welcome", ActionFailure::NoSuchAudio),
        ("broken", ActionFailure::Decode),
        ("missing", ActionFailure::NoSuchAudio),
        ("../library/broken", ActionFailure::NoSuchAudio),
    ] {
        assert_eq!(store.get(&library(name)).await.err(), Some(expected), "{name}");
    }
}

#[tokio::test]
async fn text_is_spoken_once_and_survives_a_restart() {
    drop(speech::tests::real_engine().await);
    let folder = Folder::new();
    let source = PromptSource::Speech(speech("Dial one for stores.", "en-US"));
    let length = {
        let store = store(&folder, &[]);
        let first = store.get(&source).await.unwrap();
        assert!(Arc::ptr_eq(&first, &store.get(&source).await.unwrap()));
        assert_eq!(first.rate(), Rate::Wide);
        assert!(first.duration_ms() > 500);
        first.duration_ms()
    };
    let spoken = || -> Vec<PathBuf> {
        let files = fs::read_dir(folder.0.join("cache/speech")).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    };
    let [file] = spoken().try_into().unwrap();
    assert!(wav::parse(&fs::read(&file).unwrap()).is_ok());

    // Another store takes what is on disk, as a changed file shows.
    fs::write(&file, sound(4_321)).unwrap();
    assert_eq!(store(&folder, &[]).get(&source).await.unwrap().duration_ms(), 4_321);
    // What is broken there is spoken anew.
    fs::write(&file, b"RIFF broken").unwrap();
    assert_eq!(store(&folder, &[]).get(&source).await.unwrap().duration_ms(), length);
    assert!(wav::parse(&fs::read(&file).unwrap()).is_ok());

    let store = store(&folder, &[]);
    let german = store.get(&PromptSource::Speech(speech("Dial one for stores.", "de"))).await.unwrap();
    assert!(german.duration_ms() > 500);
    assert_eq!(spoken().len(), 2);
    let unknown = store.get(&PromptSource::Speech(speech("nuqneH", "tlh"))).await;
    assert_eq!(unknown.err(), Some(ActionFailure::NoVoice));
    let empty = store.get(&PromptSource::Speech(speech(" \n", "tlh"))).await.unwrap();
    assert_eq!(empty.frames(), 0);
}

#[tokio::test]
async fn the_error_prompt_is_always_there_and_can_be_replaced() {
    drop(speech::tests::real_engine().await);
    let folder = Folder::new();
    let store = store(&folder, &[]);
    assert!(store.get(&library("system-error")).await.unwrap().duration_ms() > 1_000);

    let other = Folder::new();
    fs::create_dir(other.0.join("library")).unwrap();
    fs::write(other.0.join("library/system-error.wav"), sound(77)).unwrap();
    let settings = PromptSettings {
        prompts_dir: Some(other.0.join("library")),
        cache_dir: other.0.join("cache"),
        ..PromptSettings::default()
    };
    let store = PromptStore::new(settings, fetcher(&[]));
    assert_eq!(store.get(&library("system-error")).await.unwrap().duration_ms(), 77);
}
