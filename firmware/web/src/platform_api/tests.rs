//! The API over real sockets, with a daemon that is played.

use std::net::SocketAddr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::login::{Account, ApiKey, Login, Proof};
use super::rules::{Rule, ScenarioEntry};
use super::*;
use crate::asks::{ASKS_MAX, ControlReply, Refusal, Started};
use crate::listen::{BODY_BYTES_MAX, Listeners};

const LOGIN: &str = "account_id=7&api_key=secret";

/// A listener whose daemon answers by `daemon`.
async fn listen(mut daemon: impl FnMut(Ask) + Send + 'static) -> SocketAddr {
    let (asks, mut asked) = mpsc::channel(ASKS_MAX);
    let proof = Proof::Text { sha256: Sha256::digest(b"secret").into() };
    let login = Login {
        account: Account { id: 7, ..Account::default() },
        keys: vec![ApiKey { name: "k".to_owned(), proof }],
    };
    let scenario = ScenarioEntry { id: 1, name: "callback".to_owned(), modified_s: 0 };
    let rule =
        Rule { id: 10, name: "callback".to_owned(), pattern: None, scenarios: vec![scenario], modified_s: 0 };
    let application = Application { id: 1, name: "office".to_owned(), rules: vec![rule] };
    let listeners = Listeners::open(Some("127.0.0.1:0".parse().unwrap()), None).await.unwrap();
    let address = listeners.http().unwrap();
    let platform = Platform::new(login, vec![application], listeners.ports(), asks);
    tokio::spawn(listeners.serve(router(Arc::new(platform))));
    tokio::spawn(async move {
        while let Some(ask) = asked.recv().await {
            daemon(ask);
        }
    });
    address
}

/// Status and body of the answer to what is written.
async fn ask(address: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // What is refused early is not read to its end.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let head = format!("GET {path} HTTP/1.1\r\nHost: Box.lan:81\r\nConnection: close\r\n\r\n");
    ask(address, head.as_bytes()).await
}

async fn post(address: SocketAddr, path: &str, kind: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: box.lan\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    );
    ask(address, &[head.as_bytes(), body.as_bytes()].concat()).await
}

fn play(ask: Ask) {
    match ask {
        Ask::Start(start, answer) => {
            let started = Started { history_id: 99, path: "/request/a/b".to_owned() };
            let refused = start.custom_data == "full";
            let _ = answer.send(if refused { Err(Refusal::Full) } else { Ok(started) });
        }
        Ask::History(_, answer) => drop(answer),
        Ask::Recording(_, answer) => drop(answer),
        Ask::Control(request, answer) => {
            let told = format!("{} {} {}", request.method, request.path, request.body.len());
            let reply =
                ControlReply { status: 200, media_type: "text/plain".to_owned(), body: told.into_bytes() };
            let _ = answer.send((request.secret == "b").then_some(reply));
        }
    }
}

#[tokio::test]
async fn a_session_is_started_in_every_way_that_clients_know() {
    let address = listen(play).await;
    let url = format!("{LOGIN}&rule_id=10");
    let port = address.port();
    for (status, body) in [
        get(address, &format!("/platform_api/StartScenarios?{url}")).await,
        get(address, &format!("/platform_api/StartScenarios/?{url}")).await,
        get(address, &format!("/platform_api?cmd=StartScenarios&{url}")).await,
        post(address, "/platform_api/StartScenarios", FORM, &url).await,
        post(
            address,
            "/platform_api",
            &format!("{FORM}; charset=UTF-8"),
            &format!("cmd=StartScenarios&{url}"),
        )
        .await,
        post(address, "/platform_api/?cmd=StartScenarios&rule_id=999", FORM, &url).await,
    ] {
        assert_eq!(status, 200);
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&answer["result"], &answer["call_session_history_id"]),
            (&json!(1), &json!(99)),
            "{body}"
        );
        let url = answer["media_session_access_url"].as_str().unwrap();
        assert!(
            url == "http://box.lan:81/request/a/b" || url == "http://box.lan/request/a/b",
            "{url} {port}"
        );
        assert!(answer.get("media_session_access_secure_url").is_none(), "nobody listens there");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_with_status_200_and_an_error() {
    let address = listen(play).await;
    for (path, code) in [
        ("/platform_api/StartScenarios?rule_id=10".to_owned(), 100),
        (format!("/platform_api/StartScenarios?{LOGIN}"), 103),
        (format!("/platform_api/StartScenarios?{LOGIN}&rule_id=%ff"), 102),
        (format!("/platform_api/StartScenarios?{LOGIN}&rule_id=10&script_custom_data=full"), 108),
        (format!("/platform_api/Nothing?{LOGIN}"), 101),
        (format!("/platform_api?{LOGIN}"), 101),
        // The daemon could not read its history.
        (format!("/platform_api/GetCallHistory?{LOGIN}&call_session_history_id=1"), 199),
    ] {
        let (status, body) = get(address, &path).await;
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &answer["error"]["code"]), (200, &json!(code)), "{path}: {body}");
        assert!(answer.get("result").is_none());
    }
    let (status, body) = post(address, "/platform_api/GetRules", "application/json", "{}").await;
    assert!(status == 200 && body.contains("\"code\":102"), "{body}");
    let put = b"PUT /platform_api/GetRules HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(address, put).await.0, 405);
}

#[tokio::test]
async fn a_session_is_spoken_to_by_its_address_alone() {
    let address = listen(play).await;
    assert_eq!(get(address, "/request/a/b?x=1").await, (200, "GET /request/a/b?x=1 0".to_owned()));
    let longest = "x".repeat(BODY_BYTES_MAX);
    assert_eq!(post(address, "/request/a/b", "a/b", &longest).await.1, "POST /request/a/b 262144");
    assert_eq!(post(address, "/request/a/b", "a/b", &format!("{longest}x")).await.0, 413);
    let chunked = format!(
        "POST /request/a/b HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{longest}x\r\n0\r\n\r\n",
        longest.len() + 1
    );
    assert_eq!(ask(address, chunked.as_bytes()).await.0, 413);
    let nothing = get(address, "/request/a/c").await;
    assert_eq!(nothing.0, 404);
    let long = "x".repeat(500);
    for path in
        ["/request/a", "/request", "/", "/request/a/b/c", "/etc/passwd", &format!("/request/a/{long}")]
    {
        assert_eq!(get(address, path).await, nothing, "{path}");
    }
}

#[tokio::test]
async fn one_command_too_many_at_one_time_is_refused_by_status() {
    let (held, mut holding) = mpsc::channel(COMMANDS_MAX);
    let address = listen(move |ask| held.try_send(ask).unwrap()).await;
    let path = format!("/platform_api/StartScenarios?{LOGIN}&rule_id=10");
    let mut waiting = Vec::new();
    let mut asks = Vec::new();
    for _ in 0..COMMANDS_MAX {
        let path = path.clone();
        waiting.push(tokio::spawn(async move { get(address, &path).await }));
        asks.push(holding.recv().await.unwrap());
    }
    assert_eq!(get(address, &path).await.0, 429);
    asks.into_iter().for_each(play);
    for answered in waiting {
        assert_eq!(answered.await.unwrap().0, 200);
    }
    tokio::spawn(async move { play(holding.recv().await.unwrap()) });
    assert_eq!(get(address, &path).await.0, 200);
}

#[tokio::test]
async fn what_is_no_http_or_too_much_of_it_is_refused() {
    let address = listen(play).await;
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(40_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: b\r\n".repeat(100));
    for request in [
        long.as_str(),
        &many,
        "\u{16}\u{3}\u{1}\0\n\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
    ] {
        let (status, _) = ask(address, request.as_bytes()).await;
        assert!(matches!(status, 0 | 400 | 431 | 505), "{status}: {request:.40}");
    }
    assert_eq!(get(address, "/request/a/b").await.0, 200);
}

#[test]
fn of_many_refused_logins_one_a_second_is_told() {
    let refusals = super::Refusals::default();
    assert_eq!(refusals.tell(7), Some(0));
    assert_eq!((refusals.tell(7), refusals.tell(7)), (None, None));
    assert_eq!(refusals.tell(8), Some(2));
    assert_eq!(refusals.tell(10), Some(0));
}
