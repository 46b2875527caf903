//! Recordings over real sockets, with a daemon that is played.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::download::{DOWNLOADS_MAX, DOWNLOADS_OF_ONE_MAX};
use super::*;
use crate::asks::ASKS_MAX;
use crate::listen::Listeners;

/// A box with the recording `a-memo`, whose bytes are given; `a-now` is being made.
async fn listen(bytes: &[u8]) -> (SocketAddr, Seal, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a-memo.wav");
    File::create(&path).unwrap().write_all(bytes).unwrap();
    let (seal, _) = Seal::open(folder.path()).unwrap();
    let (asks, mut asked) = mpsc::channel(ASKS_MAX);
    let listeners = Listeners::open(Some("127.0.0.1:0".parse().unwrap()), None).await.unwrap();
    let address = listeners.http().unwrap();
    tokio::spawn(listeners.serve(router(seal.clone(), asks).fallback(nothing)));
    let length = bytes.len() as u64;
    tokio::spawn(async move {
        while let Some(ask) = asked.recv().await {
            let Ask::Recording(name, answer) = ask else { panic!("{ask:?}") };
            let found = match name.as_str() {
                "a-memo" => Recording::Ready(RecordingFile {
                    file: File::open(&path).unwrap(),
                    bytes: length,
                    changed_unix_ns: 0xabc,
                }),
                "a-now" => Recording::Unfinished,
                _ => Recording::Nothing,
            };
            answer.send(found).unwrap();
        }
    });
    (address, seal, folder)
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

async fn ask(address: SocketAddr, method: &str, path: &str, fields: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: box\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..at].to_vec()).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: answer[at + 4..].to_vec() }
}

#[tokio::test]
async fn a_recording_is_fetched_whole_and_in_parts() {
    let sound: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let (address, seal, _folder) = listen(&sound).await;
    let path = seal.path_of("a-memo");
    for ending in ["", ".wav"] {
        let whole = ask(address, "GET", &format!("{path}{ending}"), "").await;
        assert_eq!(whole.status, 200);
        assert!(whole.body == sound, "{} bytes", whole.body.len());
        for (name, value) in [
            ("content-type", "audio/wav"),
            ("content-length", "200000"),
            ("content-disposition", "attachment; filename=\"a-memo.wav\""),
            ("cache-control", "private"),
            ("accept-ranges", "bytes"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(whole.field(name), Some(value), "{name}");
        }
    }
    let head = ask(address, "HEAD", &path, "").await;
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, Some("200000"), 0));
    let tag = head.field("etag").unwrap().to_owned();
    let part = ask(address, "GET", &path, "Range: bytes=70000-70009\r\n").await;
    assert_eq!((part.status, part.field("content-range")), (206, Some("bytes 70000-70009/200000")));
    assert_eq!((part.field("content-length"), &part.body[..]), (Some("10"), &sound[70_000..70_010]));
    let rest = ask(address, "GET", &path, &format!("Range: bytes=130000-\r\nIf-Range: {tag}\r\n")).await;
    assert!(rest.status == 206 && rest.body == sound[130_000..]);
    let other = ask(address, "GET", &path, "Range: bytes=130000-\r\nIf-Range: \"old\"\r\n").await;
    assert!(other.status == 200 && other.body == sound, "it is another file by now");
    let beyond = ask(address, "GET", &path, "Range: bytes=200000-\r\n").await;
    assert_eq!((beyond.status, beyond.field("content-range")), (416, Some("bytes */200000")));
}

#[tokio::test]
async fn what_is_wrong_is_not_there() {
    let (address, seal, _folder) = listen(b"sound").await;
    let memo = seal.of("a-memo");
    let reference = ask(address, "GET", "/nothing", "").await;
    assert_eq!(reference.status, 404);
    for path in [
        format!("/recordings/{}/a-memo", seal.of("a-other")),
        format!("/recordings/{memo}0/a-memo"),
        format!("/recordings/{memo}/a-memo.ogg"),
        format!("/recordings/{memo}/a-memo.wav.wav"),
        format!("/recordings/{memo}/"),
        format!("/recordings/{memo}"),
        format!("/recordings/{memo}/../{memo}/a-memo"),
        format!("/recordings/{memo}/%61-memo"),
        "/recordings/".to_owned(),
        "/recordings".to_owned(),
        seal.path_of("a-other"),
        seal.path_of("../recordings"),
        seal.path_of(""),
        seal.path_of(&"x".repeat(201)),
        format!("/recordings/{}/x.mp3", "0".repeat(40)),
    ] {
        let answer = ask(address, "GET", &path, "").await;
        assert_eq!((answer.status, &answer.body), (404, &reference.body), "{path}");
        assert_eq!(ask(address, "HEAD", &path, "").await.status, 404, "{path}");
    }
    let now = ask(address, "GET", &seal.path_of("a-now"), "").await;
    assert_eq!((now.status, now.field("retry-after")), (404, Some("1")));
    assert_eq!(ask(address, "GET", &format!("{}.mp3", seal.path_of("a-memo")), "").await.status, 406);
    let posted = ask(address, "POST", &seal.path_of("a-memo"), "Content-Length: 0\r\n").await;
    assert_eq!((posted.status, posted.field("allow")), (405, Some("get, head")));
}

#[tokio::test]
async fn those_who_do_not_read_take_no_more_places_than_there_are() {
    // More than any socket holds.
    let sound = vec![7; 32 * 1024 * 1024];
    let (address, seal, _folder) = listen(&sound).await;
    let path = seal.path_of("a-memo");
    let mut slow = Vec::new();
    for _ in 0..DOWNLOADS_OF_ONE_MAX {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: box\r\n\r\n").as_bytes()).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        slow.push(stream);
    }
    let busy = ask(address, "GET", &path, "").await;
    assert_eq!((busy.status, busy.field("retry-after")), (503, Some("5")));
    const { assert!(DOWNLOADS_OF_ONE_MAX < DOWNLOADS_MAX) };
    slow.pop();
    let mut again = ask(address, "HEAD", &path, "").await;
    while again.status == 503 {
        tokio::task::yield_now().await;
        again = ask(address, "HEAD", &path, "").await;
    }
    assert_eq!(again.status, 200, "a place is free again");
}

#[tokio::test]
async fn whoever_fetches_one_after_the_other_always_has_a_place() {
    let (address, seal, _folder) = listen(&vec![7; 65_536]).await;
    for _ in 0..4 * DOWNLOADS_OF_ONE_MAX {
        assert_eq!(ask(address, "GET", &seal.path_of("a-memo"), "").await.status, 200);
    }
}

#[test]
fn an_address_of_the_box_is_known_as_its_own() {
    let root = tempfile::tempdir().unwrap();
    let (seal, _) = Seal::open(root.path()).unwrap();
    let path = seal.path_of("a-memo");
    assert_eq!(named_by(&seal, &path), Some("a-memo"));
    assert_eq!(named_by(&seal, &format!("{path}.wav")), Some("a-memo"));
    assert_eq!(named_by(&seal, &format!("{path}.mp3")), None);
    assert_eq!(named_by(&seal, "/recordings/0/a-memo"), None);
}
