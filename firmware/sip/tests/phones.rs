//! A phone (A) registers at the box (B) and calls, and our own registrations at a registrar.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::time::Duration;

use common::{Pair, SDP, hop};
use tipring_sip::auth::{Credentials, Secret};
use tipring_sip::message::{Message, Writer};
use tipring_sip::registrar::ExpiryLimits;
use tipring_sip::ua::{
    EndReason, Event, Input, Output, Peer, PhoneAccount, PhoneSettings, RegistrationKey, Settings,
};
use tipring_sip::{HeaderName, NameAddr, RegisterSettings, Uri};

fn account(username: &str, md5: bool) -> PhoneAccount {
    PhoneAccount { username: username.into(), secret: Secret::Password("correct horse".into()), md5 }
}

fn office(accounts: Vec<PhoneAccount>) -> Pair {
    let phones = PhoneSettings { realm: "tipring".into(), accounts, expiry: ExpiryLimits::default() };
    let mut p = Pair::with(Settings::default(), Settings { phones: Some(phones), ..Settings::default() });
    p.b_sees = Peer::Phone;
    p
}

fn register_as(user: &str, password: &str, md5_only: bool) -> RegisterSettings {
    RegisterSettings {
        hop: hop(1, 2),
        registrar: "sip:192.0.2.2".parse().unwrap(),
        record: NameAddr::new("", Uri::sip(user, "192.0.2.2").unwrap()),
        contact_user: user.into(),
        expires_s: 120,
        credentials: Some(Credentials { username: user.into(), password: password.into(), md5_only }),
        routes: Vec::new(),
    }
}

#[test]
fn a_phone_registers_refreshes_and_leaves() {
    for md5 in [false, true] {
        let mut p = office(vec![account("alice", md5)]);
        let key = p.a.ua.register(p.now, register_as("alice", "correct horse", md5)).unwrap();
        p.run_ms(100);
        let Some(Event::Registered { expires, public, .. }) = p.a.events.pop_front() else {
            panic!("registered")
        };
        assert_eq!(expires, Duration::from_secs(120));
        assert_eq!(public, Some(common::address(1)));
        assert!(
            matches!(p.b.events.pop_front(), Some(Event::PhoneRegistered { account, .. }) if account == "alice")
        );
        assert_eq!(p.b.ua.phone_contacts(p.now, "alice").count(), 1);
        // An hour later it is still there, refreshed each time before it would have ended.
        p.run_for(Duration::from_secs(3600));
        assert_eq!(p.b.ua.phone_contacts(p.now, "alice").count(), 1);
        assert!(p.count(1, "REGISTER") > 33 && p.count(1, "REGISTER") < 80);
        assert!(p.b.events.iter().all(|e| matches!(e, Event::PhoneRegistered { .. })));
        p.a.ua.unregister(p.now, key).unwrap();
        p.run_ms(100);
        assert!(matches!(p.a.events.back(), Some(Event::Unregistered { .. })));
        assert!(matches!(p.b.events.back(), Some(Event::PhoneGone { .. })));
        assert_eq!(p.b.ua.phone_contacts(p.now, "alice").count(), 0);
        p.nothing_left();
    }
}

#[test]
fn a_phone_that_vanishes_expires() {
    let mut p = office(vec![account("alice", false)]);
    p.a.ua.register(p.now, register_as("alice", "correct horse", false)).unwrap();
    p.run_ms(100);
    p.lose = Box::new(|_, _| true);
    p.run_for(Duration::from_secs(121));
    assert!(matches!(p.b.events.back(), Some(Event::PhoneGone { .. })));
    assert!(
        p.a.events.iter().any(|e| matches!(e, Event::RegistrationFailed { status: None, .. }))
            || p.a.events.len() == 1
    );
}

/// Existing and missing names, methods of all kinds: the same answer (no enumeration).
#[test]
fn wrong_passwords_and_missing_names_look_alike() {
    let mut shapes = Vec::new();
    for user in ["alice", "nobody", "bob"] {
        let mut p = office(vec![account("alice", false), account("bob", false)]);
        p.a.ua.register(p.now, register_as(user, "wrong", false)).unwrap();
        p.run_ms(200);
        assert!(
            matches!(p.a.events.pop_front(), Some(Event::RegistrationFailed { status: Some(401), .. })),
            "{user}"
        );
        assert!(matches!(p.b.events.pop_front(), Some(Event::AuthFailed { .. })), "{user}");
        shapes.push(p.log.iter().map(|(f, l)| (*f, l.clone())).collect::<Vec<_>>());
        assert_eq!(p.count(1, "REGISTER"), 2, "no storm with a wrong password");
    }
    assert_eq!(shapes[0], shapes[1]);
    assert_eq!(shapes[1], shapes[2]);
}

#[test]
fn a_phone_calls_only_with_its_password() {
    let mut p = office(vec![account("alice", false)]);
    let mut invite = common::invite_to(1, 2);
    p.a.ua.invite(p.now, invite.clone()).unwrap();
    p.run_ms(100);
    assert!(matches!(p.a.events.pop_front(), Some(Event::Ended { reason: EndReason::AuthFailed, .. })));
    assert!(p.b.events.is_empty());
    assert_eq!(p.b.ua.calls(), 0);
    invite.credentials =
        Some(Credentials { username: "alice".into(), password: "correct horse".into(), md5_only: false });
    let caller = p.a.ua.invite(p.now, invite).unwrap();
    p.run_ms(100);
    let Some(Event::Incoming(incoming)) = p.b.events.pop_front() else { panic!("a call") };
    assert_eq!(incoming.account.as_deref(), Some("alice"));
    p.b.ua.accept(p.now, incoming.call, SDP).unwrap();
    p.run_ms(100);
    p.a.ua.hang_up(p.now, caller, None).unwrap();
    p.run_ms(100);
    assert!(matches!(p.b.events.back(), Some(Event::Ended { .. })));
    p.nothing_left();
}

/// From 200 spoofed addresses: never more than half as much again as was received.
#[test]
fn nothing_is_amplified() {
    let mut p = office(vec![account("alice", true)]);
    for n in 0..200u8 {
        for (method, filler) in [
            ("REGISTER", 0),
            ("INVITE", 0),
            ("OPTIONS", 0),
            ("SUBSCRIBE", 0),
            ("REGISTER", 60),
            ("OPTIONS", 300),
            ("BYE", 10),
        ] {
            let bytes = format!(
                "{method} sip:h SIP/2.0\r\nv:SIP/2.0/UDP h;branch=z9hG4bK{n}{filler}{method}\r\nf:<sip:a@h>;tag=f\r\nt:<sip:a@h>\r\ni:{n}\r\nCSeq:1 {method}\r\nY:{}\r\n\r\n",
                "y".repeat(filler)
            );
            p.b.ua.handle(
                p.now,
                Input::Received { peer: Peer::Phone, hop: hop(2, n), bytes: bytes.as_bytes() },
            );
            let mut sent = 0;
            while let Some(output) = p.b.ua.poll() {
                if let Output::Send { bytes, .. } = output {
                    sent += bytes.len();
                }
            }
            assert!(sent * 2 <= bytes.len() * 3, "{method}: {sent} for {}", bytes.len());
        }
    }
    assert_eq!((p.b.ua.calls(), p.b.ua.transactions(), p.b.ua.timers()), (0, 0, 0), "nothing kept");
    assert!(p.b.ua.counters().amplifying_dropped > 0);
}

#[test]
fn without_phones_a_phone_is_unknown() {
    let mut p = Pair::new();
    p.b_sees = Peer::Phone;
    p.a.ua.register(p.now, register_as("alice", "x", false)).unwrap();
    p.run_for(Duration::from_secs(40));
    assert_eq!(p.count(2, "SIP"), 0);
    assert!(matches!(p.a.events.pop_front(), Some(Event::RegistrationFailed { status: None, .. })));
}

/// Answers the last REGISTER of `p.a` by hand; returns it.
fn script(p: &mut Pair, status: u16, headers: &[(&str, &str)]) -> Message {
    let mut last = None;
    while let Some(output) = p.a.ua.poll() {
        match output {
            Output::Send { bytes, .. } => last = Some(Message::from_datagram(&bytes).unwrap()),
            Output::Event(event) => p.a.events.push_back(event),
        }
    }
    let request = last.expect("a REGISTER");
    let mut w = Writer::new();
    w.response(&request, status, "Scripted", b"t", "203.0.113.9:40000".parse().unwrap());
    for (name, value) in headers {
        w.header(name, value);
    }
    let bytes = w.end().to_vec();
    p.a.ua.handle(p.now, Input::Received { peer: Peer::Trusted(2), hop: hop(1, 2), bytes: &bytes });
    request
}

fn events(p: &mut Pair) -> Vec<Event> {
    while let Some(output) = p.a.ua.poll() {
        match output {
            Output::Event(event) => p.a.events.push_back(event),
            Output::Send { .. } => panic!("sent something"),
        }
    }
    p.a.events.drain(..).collect()
}

fn begin(p: &mut Pair) -> RegistrationKey {
    p.a.ua.register(p.now, register_as("line", "pw", false)).unwrap()
}

#[test]
fn registrar_scripts() {
    // 423 raises the interval, stale nonces are answered, the shorter lifetime is obeyed.
    let mut p = Pair::new();
    begin(&mut p);
    script(&mut p, 401, &[("WWW-Authenticate", "Digest realm=\"r\",nonce=\"n1\",qop=\"auth\"")]);
    script(&mut p, 401, &[("WWW-Authenticate", "Digest realm=\"r\",nonce=\"n2\",qop=\"auth\",stale=true")]);
    let request = script(&mut p, 423, &[("Min-Expires", "300")]);
    assert!(request.header(HeaderName::Authorization).unwrap().windows(2).any(|w| w == b"n2"));
    let request = script(&mut p, 200, &[("Contact", "<sip:line@192.0.2.1:5060>;expires=60")]);
    assert_eq!(request.number(HeaderName::Expires), Some(300));
    assert_eq!(request.cseq(), 4);
    match events(&mut p).as_slice() {
        [Event::Registered { expires, public, .. }] => {
            assert_eq!(*expires, Duration::from_secs(60));
            assert_eq!(*public, Some("203.0.113.9:40000".parse().unwrap()));
        }
        other => panic!("{other:?}"),
    }
    let next = p.a.ua.poll_timeout().unwrap();
    // The transactions of the first answers end at T4 or earlier; the refresh is the last timer.
    assert!(next <= p.now + Duration::from_secs(5));
    p.now += Duration::from_secs(6);
    p.a.ua.handle(p.now, Input::Timeout);
    let refresh = p.a.ua.poll_timeout().unwrap() - (p.now - Duration::from_secs(6));
    assert!((52.0..=54.0).contains(&refresh.as_secs_f64()), "{refresh:?}");

    // 503 with Retry-After, then success, then unregister.
    let mut p = Pair::new();
    let key = begin(&mut p);
    script(&mut p, 503, &[("Retry-After", "30")]);
    match events(&mut p).as_slice() {
        [Event::RegistrationFailed { status: Some(503), retry_in, .. }] => {
            assert_eq!(*retry_in, Duration::from_secs(30));
        }
        other => panic!("{other:?}"),
    }
    p.now += Duration::from_secs(30);
    p.a.ua.handle(p.now, Input::Timeout);
    script(&mut p, 200, &[("Expires", "120")]);
    assert!(matches!(events(&mut p).as_slice(), [Event::Registered { .. }]));
    p.a.ua.unregister(p.now, key).unwrap();
    let request = script(&mut p, 200, &[]);
    assert_eq!(request.number(HeaderName::Expires), Some(0));
    assert!(matches!(events(&mut p).as_slice(), [Event::Unregistered { .. }]));
}

/// An INVITE challenged by proxy and server, with the password right.
#[test]
fn a_trunk_that_challenges_twice() {
    let mut p = Pair::new();
    let mut invite = common::invite_to(1, 2);
    invite.credentials = Some(Credentials { username: "u".into(), password: "p".into(), md5_only: false });
    p.a.ua.invite(p.now, invite).unwrap();
    let first =
        script(&mut p, 407, &[("Proxy-Authenticate", "Digest realm=\"p\",nonce=\"n1\",qop=\"auth\"")]);
    // The ACK of the 407, then the INVITE anew.
    let second = script(
        &mut p,
        401,
        &[("WWW-Authenticate", "Digest realm=\"s\",nonce=\"n2\",algorithm=SHA-256,qop=\"auth\"")],
    );
    assert_eq!((first.cseq(), second.cseq()), (1, 2));
    assert_eq!(first.call_id(), second.call_id());
    assert_eq!(first.from_tag(), second.from_tag());
    assert_ne!(first.top_via().unwrap().branch(), second.top_via().unwrap().branch());
    let third = script(&mut p, 403, &[]);
    assert!(third.header(HeaderName::ProxyAuthorization).is_some());
    assert!(third.header(HeaderName::Authorization).is_some());
    while p.a.ua.poll().is_some() {}
    p.nothing_left();
}
