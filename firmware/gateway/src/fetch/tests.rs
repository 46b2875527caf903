//! The client against small servers on the loopback address.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};

use tipring_model::fetch::{Body, Method};

use super::test_server::{Reaction, Seen, TestServer, reply};
use super::*;

/// Long enough for anything that is not meant to time out.
const LONG: Duration = Duration::from_secs(20);
/// Long enough to connect, short enough to wait for.
const SHORT: Duration = Duration::from_millis(250);

fn request(method: Method, url: &str) -> HttpRequest {
    HttpRequest {
        method,
        url: url.to_owned(),
        headers: Vec::new(),
        body: None,
        timeout: LONG,
        redirects_max: 5,
        body_max_bytes: 64 * 1024,
        cuts_body: false,
        total: None,
    }
}

fn get(url: &str) -> HttpRequest {
    request(Method::Get, url)
}

fn settings(servers: &[SocketAddr]) -> FetchSettings {
    let entries: Vec<String> = servers.iter().map(ToString::to_string).collect();
    FetchSettings { allow: AllowList::parse(&entries).unwrap(), ..FetchSettings::default() }
}

fn fetcher(servers: &[&TestServer]) -> Fetcher {
    let addrs: Vec<_> = servers.iter().map(|server| server.addr()).collect();
    Fetcher::with_lookup(settings(&addrs), Arc::new(|_, _| Err(io::ErrorKind::NotFound.into())))
}

fn ask(fetcher: &Fetcher, request: HttpRequest) -> Result<HttpResponse, FetchError> {
    fetcher.fetch(request).blocking_recv().unwrap()
}

#[test]
fn every_method_with_and_without_body() {
    let server = TestServer::start(|_| reply(200, "Content-Type: text/xml; charset=utf-8\r\n", b""));
    let fetcher = fetcher(&[&server]);
    for method in Method::ALL {
        for body in [None, Some(b"some body".as_slice()), Some(b"".as_slice())] {
            let mut request = request(method, &server.url("/p?q=1%20%2B#part"));
            request.body =
                body.map(|bytes| Body { media_type: "text/plain".to_owned(), bytes: bytes.to_vec() });
            request.headers =
                vec![("X-One".to_owned(), "1".to_owned()), ("x-one".to_owned(), "2".to_owned())];
            let response = ask(&fetcher, request).unwrap();
            assert_eq!(response.status, 200);
            assert_eq!(response.url, server.url("/p?q=1%20%2B"));
            assert_eq!(response.media_type.as_deref(), Some("text/xml; charset=utf-8"));

            let seen = server.seen().pop().unwrap();
            assert_eq!(seen.line, format!("{method} /p?q=1%20%2B HTTP/1.1"));
            assert_eq!(seen.body, body.unwrap_or_default(), "{method}");
            let length = match (body, method) {
                (Some(body), _) => Some(body.len().to_string()),
                (None, Method::Post | Method::Put | Method::Patch) => Some("0".to_owned()),
                (None, Method::Get | Method::Head | Method::Delete | Method::Options) => None,
            };
            assert_eq!(seen.header("content-length"), length.as_deref(), "{method}");
            assert_eq!(seen.header("content-type"), body.map(|_| "text/plain"), "{method}");
            assert_eq!(seen.header("host"), Some(server.addr().to_string().as_str()));
            assert_eq!(seen.header("user-agent"), Some(concat!("Tipring/", env!("CARGO_PKG_VERSION"))));
            let ones: Vec<_> =
                seen.headers.iter().filter(|(name, _)| name == "x-one").map(|(_, value)| value).collect();
            assert_eq!(ones, ["1", "2"]);
        }
    }
}

#[test]
fn fields_of_the_connection_are_not_the_flows() {
    let server = TestServer::start(|_| reply(200, "", b"ok"));
    let fetcher = fetcher(&[&server]);
    let mut wanted = request(Method::Post, &server.url("/"));
    wanted.headers = [
        ("Content-Length", "99"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
        ("Expect", "100-continue"),
        ("Accept-Encoding", "br"),
        ("Accept", "text/xml"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    assert_eq!(ask(&fetcher, wanted).unwrap().body, b"ok");
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.header("content-length"), Some("0"));
    assert_eq!(seen.header("transfer-encoding"), None);
    assert_eq!(seen.header("connection"), None);
    assert_eq!(seen.header("expect"), None);
    assert_eq!(seen.header("accept-encoding"), Some("gzip"));
    assert_eq!(seen.header("accept"), Some("text/xml"));

    for (name, value) in [("X-A", "b\r\nX-C: d"), ("X-A\r\nX-C", "b"), ("X A", "b"), ("", "b"), ("X-A", "\0")]
    {
        let mut injected = get(&server.url("/"));
        injected.headers = vec![(name.to_owned(), value.to_owned())];
        assert_eq!(ask(&fetcher, injected), Err(FetchError::BadUrl), "{name:?} {value:?}");
    }
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn redirects_are_followed_with_method_and_body_as_they_should() {
    let server = TestServer::start(|seen: &Seen| match seen.path() {
        "/301" | "/302" | "/303" | "/307" | "/308" => {
            let status = seen.path()[1..].parse().unwrap();
            reply(status, "Location: sub/../end?x=y#f\r\n", b"moved")
        }
        "/nowhere" => reply(302, "", b"no location"),
        _ => reply(200, "", b"end"),
    });
    let fetcher = fetcher(&[&server]);
    for (path, method, line, body) in [
        ("/301", Method::Post, "GET /end?x=y HTTP/1.1", ""),
        ("/302", Method::Post, "GET /end?x=y HTTP/1.1", ""),
        ("/303", Method::Patch, "GET /end?x=y HTTP/1.1", ""),
        ("/307", Method::Post, "POST /end?x=y HTTP/1.1", "hello"),
        ("/308", Method::Delete, "DELETE /end?x=y HTTP/1.1", "hello"),
    ] {
        let mut request = request(method, &server.url(path));
        request.body = Some(Body { media_type: "text/plain".to_owned(), bytes: b"hello".to_vec() });
        let response = ask(&fetcher, request).unwrap();
        assert_eq!((response.status, response.body.as_slice()), (200, b"end".as_slice()), "{path}");
        assert_eq!(response.url, server.url("/end?x=y"));
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.line, line);
        assert_eq!(seen.body, body.as_bytes(), "{path}");
    }
    let response = ask(&fetcher, get(&server.url("/nowhere"))).unwrap();
    assert_eq!((response.status, response.body.as_slice()), (302, b"no location".as_slice()));
}

#[test]
fn redirects_end_at_their_limit() {
    let server = TestServer::start(|seen: &Seen| {
        let number: u32 = seen.path()[1..].parse().unwrap();
        if number == 0 {
            reply(200, "", b"end")
        } else {
            reply(302, &format!("Location: /{}\r\n", number - 1), b"")
        }
    });
    let fetcher = fetcher(&[&server]);
    for (hops, redirects_max, expected) in [
        (0, 0, Ok(200)),
        (1, 0, Err(FetchError::TooManyRedirects)),
        (5, 5, Ok(200)),
        (6, 5, Err(FetchError::TooManyRedirects)),
    ] {
        let before = server.seen().len();
        let mut request = get(&server.url(&format!("/{hops}")));
        request.redirects_max = redirects_max;
        assert_eq!(ask(&fetcher, request).map(|response| response.status), expected);
        let asked = server.seen().len() - before;
        assert_eq!(asked, usize::from(redirects_max.min(hops)) + 1, "{hops} {redirects_max}");
    }
}

#[test]
fn credentials_go_to_their_server_only() {
    let other = TestServer::start(|_| reply(200, "", b""));
    let elsewhere = other.url("/x");
    let server = TestServer::start(move |seen: &Seen| match seen.path() {
        "/away" => reply(307, &format!("Location: {elsewhere}\r\n"), b""),
        "/stay" => reply(307, "Location: /end\r\n", b""),
        _ => reply(200, "", b""),
    });
    let fetcher = fetcher(&[&server, &other]);
    let with_user = |path: &str| server.url(path).replace("http://", "http://us%65r:p%3Ass@");
    // user:p:ss
    let basic = Some("Basic dXNlcjpwOnNz");

    ask(&fetcher, get(&with_user("/stay"))).unwrap();
    for seen in server.seen() {
        assert_eq!(seen.header("authorization"), basic, "{}", seen.line);
        assert_eq!(seen.header("host"), Some(server.addr().to_string().as_str()));
    }
    let mut away = get(&with_user("/away"));
    away.headers = vec![("Cookie".to_owned(), "a=b".to_owned()), ("X-Kept".to_owned(), "1".to_owned())];
    let response = ask(&fetcher, away).unwrap();
    assert_eq!(response.url, other.url("/x"));
    assert_eq!(server.seen().pop().unwrap().header("cookie"), Some("a=b"));
    let seen = other.seen().pop().unwrap();
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.header("cookie"), None);
    assert_eq!(seen.header("x-kept"), Some("1"));
    assert_eq!(seen.header("host"), Some(other.addr().to_string().as_str()));

    let mut own = get(&with_user("/stay"));
    own.headers = vec![("Authorization".to_owned(), "Bearer t".to_owned())];
    ask(&fetcher, own).unwrap();
    assert_eq!(server.seen().pop().unwrap().header("authorization"), Some("Bearer t"));
}

#[test]
fn each_failure_has_its_name() {
    let server = TestServer::start(|seen: &Seen| {
        let last = |text: &str| Reaction::Last(text.as_bytes().to_vec());
        match seen.path() {
            "/hang" => Reaction::Hang,
            "/drip-status" => Reaction::Drip(b"HT".to_vec()),
            "/drip-header" => Reaction::Drip(b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec()),
            "/drip-body" => Reaction::Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n".to_vec()),
            "/drip-close" => Reaction::Drip(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
            "/silence" => last(""),
            "/half" => last("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
            "/half-chunk" => last("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha"),
            "/half-header" => last("HTTP/1.1 200 OK\r\nContent-"),
            "/not-http" => last("220 mail.test ESMTP\r\n\r\n"),
            "/status-text" => last("HTTP/1.1 abc OK\r\n\r\n"),
            "/bad-chunk" => last("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"),
            "/not-gzip" => last(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 16\r\n\r\nplainly not gzip",
            ),
            "/to-file" => reply(302, "Location: file:///etc/passwd\r\n", b""),
            "/to-refused" => reply(302, "Location: http://169.254.169.254/latest/\r\n", b""),
            "/to-loopback" => reply(302, "Location: http://127.0.0.1:1/\r\n", b""),
            "/to-spelled" => reply(302, "Location: http://0x7f.1:1/\r\n", b""),
            path => panic!("{path} was not to be asked for"),
        }
    });
    let fetcher = fetcher(&[&server]);
    for (path, expected) in [
        ("/hang", FetchError::Timeout),
        ("/drip-status", FetchError::Protocol),
        ("/drip-header", FetchError::Timeout),
        ("/drip-body", FetchError::Timeout),
        ("/drip-close", FetchError::Timeout),
        ("/silence", FetchError::Cut),
        ("/half", FetchError::Cut),
        ("/half-chunk", FetchError::Cut),
        ("/half-header", FetchError::Cut),
        ("/not-http", FetchError::Protocol),
        ("/status-text", FetchError::Protocol),
        ("/bad-chunk", FetchError::Protocol),
        ("/not-gzip", FetchError::Protocol),
        ("/to-file", FetchError::BadUrl),
        ("/to-refused", FetchError::AddressRefused),
        ("/to-loopback", FetchError::AddressRefused),
        ("/to-spelled", FetchError::AddressRefused),
    ] {
        let mut request = get(&server.url(path));
        if expected == FetchError::Timeout {
            request.timeout = SHORT;
        }
        assert_eq!(ask(&fetcher, request), Err(expected), "{path}");
    }
    for (url, expected) in [
        ("nonsense", FetchError::BadUrl),
        ("ftp://a.test/", FetchError::BadUrl),
        ("http://unknown.test/", FetchError::NameNotFound),
        ("http://10.0.0.1/", FetchError::AddressRefused),
        ("http://[::ffff:127.0.0.1]/", FetchError::AddressRefused),
        ("http://2130706433/", FetchError::AddressRefused),
        ("http://user:pw@127.0.0.1:1/", FetchError::AddressRefused),
    ] {
        assert_eq!(ask(&fetcher, get(url)), Err(expected), "{url}");
    }
    let mut no_time = get(&server.url("/none"));
    no_time.timeout = Duration::ZERO;
    assert_eq!(ask(&fetcher, no_time), Err(FetchError::Timeout));
}

#[test]
fn servers_that_are_not_there_or_speak_no_tls() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plain = TestServer::start(|_| Reaction::Last(b"HTTP/1.1 400 X\r\n\r\n".to_vec()));
    // Hangs up at once, with what was sent unread.
    let rude = TcpListener::bind("127.0.0.1:0").unwrap();
    let rude_addr = rude.local_addr().unwrap();
    thread::spawn(move || rude.incoming().for_each(drop));
    let fetcher = Fetcher::new(settings(&[closed, plain.addr(), rude_addr]));
    for (url, expected) in [
        (format!("http://{closed}/"), FetchError::Unreachable),
        (format!("http://{rude_addr}/"), FetchError::Cut),
        (format!("https://{rude_addr}/"), FetchError::Cut),
        (format!("https://{closed}/"), FetchError::Unreachable),
    ] {
        assert_eq!(ask(&fetcher, get(&url)), Err(expected), "{url}");
    }
    // Answers TLS in plain text as soon as it has a line, which a handshake need not hold.
    let talker = TcpListener::bind("127.0.0.1:0").unwrap();
    let talker_addr = talker.local_addr().unwrap();
    thread::spawn(move || {
        for stream in talker.incoming() {
            let mut stream = stream.unwrap();
            io::Read::read(&mut stream, &mut [0; 4096]).unwrap();
            io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        }
    });
    let fetcher = Fetcher::new(settings(&[talker_addr]));
    assert_eq!(ask(&fetcher, get(&format!("https://{talker_addr}/"))), Err(FetchError::Tls));
}

#[test]
fn answers_end_at_the_limit_however_they_are_packed() {
    const LIMIT: usize = 10_000;
    let server = TestServer::start(|seen: &Seen| {
        let coded = |bytes: Vec<u8>| reply(200, "Content-Encoding: gzip\r\n", &bytes);
        match seen.path() {
            "/exact" => reply(200, "", &[b'x'; LIMIT]),
            "/longer" => reply(200, "", &[b'x'; LIMIT + 1]),
            "/says-so" => Reaction::Last(b"HTTP/1.1 200 X\r\nContent-Length: 9999999999\r\n\r\n".to_vec()),
            "/endless" => Reaction::Last([b"HTTP/1.1 200 X\r\n\r\n".as_slice(), &[b'x'; 500_000]].concat()),
            "/gzip" => coded(gzip_stored(b"small")),
            "/bomb" => coded(gzip_bomb(8_000_000)),
            "/nothing" => coded(gzip_nothing(1_000_000)),
            "/header" => reply(200, &format!("X-Long: {}\r\n", "x".repeat(60_000)), b""),
            "/fields" => reply(200, &"X-Y: z\r\n".repeat(1_000), b""),
            path => panic!("{path} was not to be asked for"),
        }
    });
    let fetcher = fetcher(&[&server]);
    for (path, expected) in [
        ("/exact", Ok(LIMIT)),
        ("/longer", Err(FetchError::TooLarge)),
        ("/says-so", Err(FetchError::TooLarge)),
        ("/endless", Err(FetchError::TooLarge)),
        ("/gzip", Ok(5)),
        ("/bomb", Err(FetchError::TooLarge)),
        ("/nothing", Err(FetchError::TooLarge)),
        ("/header", Err(FetchError::TooLarge)),
        ("/fields", Err(FetchError::Protocol)),
    ] {
        let mut request = get(&server.url(path));
        request.body_max_bytes = LIMIT;
        assert_eq!(ask(&fetcher, request).map(|response| response.body.len()), expected, "{path}");
    }
}

#[test]
fn connections_are_used_again() {
    let server = TestServer::start(|_| reply(200, "", b"again"));
    let fetcher = fetcher(&[&server]);
    for _ in 0..5 {
        assert_eq!(ask(&fetcher, get(&server.url("/"))).unwrap().body, b"again");
    }
    assert_eq!((server.seen().len(), server.connections()), (5, 1));
    // What must not be sent twice has a connection of its own.
    for expected in [2, 3] {
        ask(&fetcher, request(Method::Post, &server.url("/"))).unwrap();
        assert_eq!(server.connections(), expected);
    }
}

#[test]
fn a_kept_connection_that_ends_is_no_failure() {
    // Each connection takes the second request and ends without an answer.
    let requests = AtomicUsize::new(0);
    let server = TestServer::start(move |_| match requests.fetch_add(1, Ordering::AcqRel) % 2 {
        0 => reply(200, "", b"first"),
        _ => Reaction::Last(Vec::new()),
    });
    let fetcher = fetcher(&[&server]);
    for _ in 0..5 {
        assert_eq!(ask(&fetcher, get(&server.url("/"))).unwrap().body, b"first");
    }
    assert_eq!((server.seen().len(), server.connections()), (9, 5));
    // A new connection that ends is one, and is not tried again.
    let gone = TestServer::start(|_| Reaction::Last(Vec::new()));
    fetcher.set_allow(AllowList::parse(&[gone.addr().to_string()]).unwrap());
    for method in [Method::Get, Method::Post] {
        assert_eq!(ask(&fetcher, request(method, &gone.url("/"))), Err(FetchError::Cut));
    }
    assert_eq!(gone.seen().len(), 2);
}

#[test]
fn a_name_that_changes_its_address_is_judged_each_time() {
    let server = TestServer::start(|_| {
        Reaction::Last(b"HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
    });
    let asked = AtomicUsize::new(0);
    let good = server.addr();
    let lookup = move |_: &str, port: u16| {
        let refused = SocketAddr::new([10, 0, 0, 1].into(), port);
        Ok(match asked.fetch_add(1, Ordering::AcqRel) % 3 {
            0 => vec![good],
            1 => vec![refused],
            _ => vec![refused, good],
        })
    };
    let fetcher = Fetcher::with_lookup(settings(&[good]), Arc::new(lookup));
    let url = format!("http://flips.test:{}/", good.port());
    for turn in 0..300 {
        let expected = if turn % 3 == 1 { Err(FetchError::AddressRefused) } else { Ok(200) };
        assert_eq!(ask(&fetcher, get(&url)).map(|response| response.status), expected, "{turn}");
    }
    assert_eq!(server.seen().len(), 200);
}

#[test]
fn the_list_and_the_own_ports_can_change() {
    let server = TestServer::start(|_| reply(200, "", b""));
    let fetcher = fetcher(&[]);
    let status = || ask(&fetcher, get(&server.url("/"))).map(|response| response.status);
    assert_eq!(status(), Err(FetchError::AddressRefused));
    fetcher.set_own(vec![server.addr()]);
    fetcher.set_allow(AllowList::parse(&[server.addr().to_string()]).unwrap());
    assert_eq!(status(), Err(FetchError::AddressRefused));
    fetcher.set_own(Vec::new());
    assert_eq!(status(), Ok(200));
}

#[test]
fn lookups_that_hang_are_bounded() {
    let (_open, never) = std::sync::mpsc::sync_channel::<()>(0);
    let never = Mutex::new(never);
    let lookup = move |_: &str, _: u16| {
        // Ends with the test.
        let _ = never.lock().unwrap().recv();
        Err(io::ErrorKind::NotFound.into())
    };
    let fetcher =
        Fetcher::with_lookup(FetchSettings { threads_max: 4, ..FetchSettings::default() }, Arc::new(lookup));
    let mut results = Vec::new();
    for _ in 0..resolve::LOOKUPS_MAX + 8 {
        let mut request = get("http://hangs.test/");
        request.timeout = Duration::from_millis(10);
        results.push(ask(&fetcher, request));
    }
    assert!(results[..4].iter().all(|result| *result == Err(FetchError::Timeout)), "{results:?}");
    assert_eq!(results.last(), Some(&Err(FetchError::Overload)));
}

#[test]
fn the_queue_is_bounded_and_its_waits_have_an_end() {
    let server = TestServer::start(|seen: &Seen| match seen.path() {
        "/hang" => Reaction::Hang,
        _ => reply(200, "", b""),
    });
    let fetcher = Fetcher::new(FetchSettings { threads_max: 1, queue_max: 2, ..settings(&[server.addr()]) });
    let mut running = fetcher.fetch(get(&server.url("/hang")));
    let last = fetcher.fetch(get(&server.url("/last")));
    let mut short = get(&server.url("/short"));
    short.timeout = SHORT;
    let waiting = fetcher.fetch(short);
    assert_eq!(fetcher.active() + fetcher.queued(), 3);
    assert_eq!(ask(&fetcher, get(&server.url("/beyond"))), Err(FetchError::Overload));

    assert_eq!(waiting.blocking_recv().unwrap(), Err(FetchError::Timeout));
    assert_eq!(running.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    assert_eq!((fetcher.active(), fetcher.queued()), (1, 1));

    drop(fetcher);
    assert!(last.blocking_recv().is_err());
    assert!(server.seen().len() <= 1, "only the first request was sent");
}

#[test]
fn a_request_is_sent_though_nobody_waits_for_the_answer() {
    let (tell, told) = std::sync::mpsc::sync_channel(2);
    let server = TestServer::start(move |seen: &Seen| {
        tell.send(seen.path().to_owned()).unwrap();
        reply(200, "", b"")
    });
    let fetcher = Fetcher::new(FetchSettings { threads_max: 1, ..settings(&[server.addr()]) });
    drop(fetcher.fetch(get(&server.url("/one"))));
    drop(fetcher.fetch(get(&server.url("/two"))));
    assert_eq!(told.recv().unwrap(), "/one");
    assert_eq!(told.recv().unwrap(), "/two");
}

#[test]
fn requests_run_side_by_side() {
    let arrived = Arc::new(std::sync::Barrier::new(8));
    let meeting = Arc::clone(&arrived);
    let server = TestServer::start(move |_| {
        // Nobody is answered before all have asked.
        meeting.wait();
        reply(200, "", b"")
    });
    let fetcher =
        Fetcher::new(FetchSettings { threads_max: 8, per_server_max: 8, ..settings(&[server.addr()]) });
    for _ in 0..2 {
        let answers: Vec<_> = (0..8).map(|_| fetcher.fetch(get(&server.url("/")))).collect();
        for answer in answers {
            assert_eq!(answer.blocking_recv().unwrap().unwrap().status, 200);
        }
    }
    assert_eq!((fetcher.active(), fetcher.queued()), (0, 0));
}

#[test]
fn a_server_that_hangs_leaves_room_for_the_others_and_is_not_sent_what_nobody_wants() {
    let (tell, told) = std::sync::mpsc::sync_channel(8);
    let hanging = TestServer::start(move |_| {
        tell.send(()).unwrap();
        Reaction::Hang
    });
    let well = TestServer::start(|_| reply(200, "", b""));
    let settings = settings(&[hanging.addr(), well.addr()]);
    let fetcher = Fetcher::new(FetchSettings { threads_max: 3, per_server_max: 2, ..settings });
    let mut waiting: Vec<_> = (0..8).map(|_| fetcher.fetch_kept(get(&hanging.url("/")))).collect();
    for _ in 0..20 {
        assert_eq!(ask(&fetcher, get(&well.url("/"))).unwrap().status, 200);
    }
    assert_eq!((fetcher.active(), fetcher.queued()), (2, 6));
    // All but the two that run lose interest.
    waiting.truncate(2);
    assert_eq!(ask(&fetcher, get(&well.url("/"))).unwrap().status, 200);
    assert_eq!((fetcher.active(), fetcher.queued()), (2, 0));
    // On a busy machine they may have been sent, but not read by the server yet.
    for _ in 0..2 {
        told.recv().unwrap();
    }
    assert_eq!(hanging.seen().len(), 2);
}

#[test]
fn a_server_is_away_if_it_is_silent_or_says_so_and_not_for_a_script_that_breaks() {
    let answered = |status| {
        let response = HttpResponse {
            status,
            url: String::new(),
            media_type: None,
            headers: Vec::new(),
            body: Vec::new(),
        };
        let (keeping, delivery, upload) = Default::default();
        behaviour(&Ok(Answer { response, keeping, delivery, upload }), Duration::ZERO)
    };
    for status in [200, 204, 302, 400, 401, 404, 410, 500, 501, 505] {
        assert_eq!(answered(status), Behaviour::There, "{status}");
    }
    for status in [408, 425, 429, 502, 503, 504] {
        assert_eq!(answered(status), Behaviour::Away, "{status}");
    }
    for (error, waited, expected) in [
        (FetchError::Unreachable, Duration::ZERO, Behaviour::Away),
        (FetchError::NameNotFound, Duration::ZERO, Behaviour::Away),
        (FetchError::Tls, Duration::ZERO, Behaviour::Away),
        (FetchError::Timeout, FAIR_WAIT, Behaviour::Away),
        (FetchError::Timeout, FAIR_WAIT / 2, Behaviour::Unknown),
        (FetchError::Overload, FAIR_WAIT, Behaviour::Unknown),
        (FetchError::AddressRefused, FAIR_WAIT, Behaviour::Unknown),
        (FetchError::Protocol, FAIR_WAIT, Behaviour::There),
    ] {
        assert_eq!(behaviour(&Err(error), waited), expected, "{error}");
    }
}

#[test]
fn what_is_said_about_keeping_comes_along() {
    let server = TestServer::start(|_| reply(200, "ETag: \"v1\"\r\nCache-Control: max-age=7\r\n", b"kept"));
    let fetcher = fetcher(&[&server]);
    let answer = fetcher.fetch_kept(get(&server.url("/"))).blocking_recv().unwrap().unwrap();
    assert_eq!(answer.response.body, b"kept");
    let expected = Keeping {
        max_age: Some(Duration::from_secs(7)),
        etag: Some("\"v1\"".to_owned()),
        ..Keeping::default()
    };
    assert_eq!(answer.keeping, expected);
}

const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// RFC 1952 around one stored block (RFC 1951 §3.2.4).
fn gzip_stored(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    let crc = !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    });
    let mut packed = GZIP_HEADER.to_vec();
    packed.push(1);
    packed.extend(length.to_le_bytes());
    packed.extend((!length).to_le_bytes());
    packed.extend(bytes);
    packed.extend(crc.to_le_bytes());
    packed.extend(u32::from(length).to_le_bytes());
    packed
}

/// A stream that unpacks to more than `bytes` zeros: a literal, then matches of 258 at
/// distance 1, 13 bits each.
fn gzip_bomb(bytes: usize) -> Vec<u8> {
    let mut bits: Vec<u8> = Vec::new();
    // Final block, fixed codes; the literal 0.
    bits.extend([1, 1, 0]);
    bits.extend([0, 0, 1, 1, 0, 0, 0, 0]);
    for _ in 0..bytes / 258 + 1 {
        bits.extend([1, 1, 0, 0, 0, 1, 0, 1]);
        bits.extend([0, 0, 0, 0, 0]);
    }
    let mut packed = GZIP_HEADER.to_vec();
    packed.extend(bits.chunks(8).map(|bits| bits.iter().enumerate().map(|(at, bit)| bit << at).sum::<u8>()));
    packed
}

/// A stream of so many bytes that unpacks to nothing: empty stored blocks.
fn gzip_nothing(bytes: usize) -> Vec<u8> {
    let mut packed = GZIP_HEADER.to_vec();
    packed.extend([0, 0, 0, 255, 255].iter().cycle().take(bytes));
    packed
}
