//! The climb, against small servers on the loopback address.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tipring_model::fetch::Method;
use tipring_model::settings::{RawSettings, RawValue};
use tokio::task::LocalSet;

use super::super::test_server::{Reaction, TestServer, reply};
use super::super::{AllowList, FetchSettings};
use super::*;

/// Nobody waits that long in a test.
const FOR_EVER: Duration = Duration::from_secs(3_600);
const GOOD: &[u8] = b"<Response><Hangup/></Response>";

fn documents(server: &TestServer, patience: Duration) -> (Documents, Fetcher) {
    let allow = AllowList::parse(&[server.addr().to_string()]).unwrap();
    let fetcher = Fetcher::new(FetchSettings { allow, ..FetchSettings::default() });
    let folder = tempfile::tempdir().unwrap();
    (Documents::open(fetcher.clone(), folder.path().join("copies"), patience), fetcher)
}

fn wanted(server: &TestServer) -> Wanted {
    let mut raw = RawSettings::new();
    raw.set("url", RawValue::Text(server.url("/flow")));
    let program = (tipring_flows::opentact::DIALECT.open)(&raw, &Rc::default()).unwrap();
    let (mut request, document) = program.entry("15550100", "100").unwrap();
    request.timeout = FOR_EVER;
    Wanted {
        request,
        document,
        fallback_url: None,
        keep: Keep::Always,
        program: Rc::from(program),
        caller: 1,
        stand_in: None,
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

/// A server that answers well at first and later not at all; what is asked of `/broken` it
/// cuts off.
fn fading() -> (TestServer, Arc<AtomicBool>) {
    let away = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&away);
    let server = TestServer::start(move |seen| {
        if seen.path() == "/broken" {
            Reaction::Last(Vec::new())
        } else if told.load(Ordering::Acquire) {
            Reaction::Hang
        } else {
            reply(200, "", GOOD)
        }
    });
    (server, away)
}

#[test]
fn who_waits_when_the_server_is_found_away_waits_no_longer() {
    let (server, away) = fading();
    let (documents, fetcher) = documents(&server, FOR_EVER);
    run(async {
        assert_eq!(documents.get(wanted(&server)).await.rung, Some(Rung::Live));
        away.store(true, Ordering::Release);
        let waiting = tokio::task::spawn_local({
            let (documents, wanted) = (documents.clone(), wanted(&server));
            async move { documents.get(wanted).await }
        });
        for _ in 0..3 {
            let mut request = wanted(&server).request;
            (request.method, request.url) = (Method::Get, server.url("/broken"));
            assert_eq!(fetcher.fetch(request).await.unwrap(), Err(FetchError::Cut));
        }
        // The one with an hour of patience is answered now.
        let got = waiting.await.unwrap();
        assert_eq!((got.rung, got.answer.unwrap().body.as_slice()), (Some(Rung::Stale), GOOD));
        let seen = server.seen().len();
        assert_eq!(documents.get(wanted(&server)).await.rung, Some(Rung::Stale));
        assert_eq!(server.seen().len(), seen, "the server was not asked");
        let degraded = documents.take_degraded(&server.url("/")).unwrap();
        assert_eq!(degraded.by_rung.into_iter().collect::<Vec<_>>(), [(Rung::Stale, 2)]);
        assert_eq!(documents.take_degraded(&server.url("/")), None);
    });
}

#[test]
fn with_nothing_else_to_be_had_the_servers_own_answer_comes_back() {
    let server = TestServer::start(|_| reply(404, "", b"no"));
    let (documents, _) = documents(&server, FOR_EVER);
    run(async {
        for _ in 0..5 {
            let got = documents.get(wanted(&server)).await;
            assert_eq!((got.rung, got.attempts.len()), (None, 1));
            assert_eq!(got.attempts[0].code, Some("TR-HOOK-STATUS"));
            assert_eq!(got.answer.unwrap().status, 404);
        }
    });
}

#[test]
fn the_fallback_is_told_what_was_wrong_and_learns_no_password() {
    let fallen = |address, asked| fallback(address, asked, None);
    for (address, asked, expected) in [
        (
            "http://b.test/f?k=1",
            "http://u:p@a.test/flow?from=1%20x&to=100",
            "http://b.test/f?k=1&from=1+x&to=100&ErrorCode=TR-HOOK-UNREACH&ErrorUrl=http%3A%2F%2Fa.test%2Fflow",
        ),
        ("nonsense", "http://a.test/", "nonsense"),
    ] {
        assert_eq!(fallen(address, asked), expected);
    }
}
