//! Whole calls between two user agents in virtual time, with losses.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names the one event it wants")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::time::Duration;

use common::{Pair, SDP};
use tipring_sip::message::Message;
use tipring_sip::ua::{CommandError, EndReason, Event, TextMethod};

fn ended(event: Option<Event>) -> EndReason {
    match event {
        Some(Event::Ended { reason, .. }) => reason,
        other => panic!("expected the end, got {other:?}"),
    }
}

/// RFC 3261 §17.2.1: a 100 when nothing else is said within 200 ms, and only then.
#[test]
fn an_application_that_takes_its_time_is_covered_by_a_100() {
    let mut p = Pair::new();
    let (_, callee) = p.place();
    p.run_ms(199 - 50);
    assert_eq!(p.log.len(), 1, "{:?}", p.log);
    p.run_ms(200);
    assert!(p.log[1].1.contains("100 Trying") && p.log.len() == 2, "{:?}", p.log);
    p.b.ua.reject(p.now, callee, 486, "", &[]).unwrap();
    p.run_for(Duration::from_secs(40));
    assert_eq!(ended(p.b.events.pop_front()), EndReason::Local);
    assert_eq!(p.log.iter().filter(|(_, line)| line.contains("100 Trying")).count(), 1);
}

/// The header fields that the application adds go out once, with what it says next.
#[test]
fn what_is_added_goes_out_with_the_next_message() {
    let mut p = Pair::new();
    let (caller, callee) = p.place();
    let add = |text: &str| vec![("X-Said".to_owned(), text.to_owned())];
    let said = |message: &Message| {
        message.header_text("X-Said").map(|text| String::from_utf8_lossy(text).into_owned())
    };
    p.b.ua.add_headers(callee, add("rings")).unwrap();
    p.b.ua.ring(p.now, callee, None).unwrap();
    p.b.ua.ring(p.now, callee, Some(SDP)).unwrap();
    p.run_ms(50);
    for wanted in [Some("rings"), None] {
        let Some(Event::Progress { response, .. }) = p.a.events.pop_front() else { panic!("no progress") };
        assert_eq!(said(&response).as_deref(), wanted);
    }
    p.b.ua.add_headers(callee, add("answers")).unwrap();
    p.b.ua.accept(p.now, callee, SDP).unwrap();
    p.run_ms(50);
    let Some(Event::Answered { response, .. }) = p.a.events.pop_front() else { panic!("no answer") };
    assert_eq!(said(&response).as_deref(), Some("answers"));
    p.b.events.clear();
    p.a.ua.add_headers(caller, add("goes")).unwrap();
    p.a.ua.hang_up(p.now, caller, None).unwrap();
    p.run_ms(50);
    let Some(Event::Ended { message: Some(bye), .. }) = p.b.events.pop_front() else { panic!("no BYE") };
    assert_eq!(said(&bye).as_deref(), Some("goes"));
    p.a.events.clear();
    let (_, callee) = p.place();
    p.b.ua.add_headers(callee, add("refuses")).unwrap();
    p.b.ua.reject(p.now, callee, 433, "", &[("X-More", "1")]).unwrap();
    p.run_ms(50);
    let Some(Event::Ended { message: Some(refusal), .. }) = p.a.events.pop_front() else {
        panic!("no refusal")
    };
    assert_eq!((refusal.status(), said(&refusal).as_deref()), (Some(433), Some("refuses")));
    assert!(refusal.header_text("X-More").is_some());
    p.run_for(Duration::from_secs(40));
    p.nothing_left();
}

/// RFC 3428 §8: MESSAGE within a call, and INFO of any type, where the application wants them.
#[test]
fn texts_within_a_call() {
    let mut p = Pair::new();
    let (caller, callee) = p.connect();
    p.b.events.clear();
    p.log.clear();
    let send = |p: &mut Pair, method, kind: &str, body: &[u8]| {
        p.a.ua.text(p.now, caller, method, kind, body).unwrap();
        p.run_ms(50);
        p.b.events.pop_front()
    };
    assert!(send(&mut p, TextMethod::Info, "text/x", b"1").is_none());
    assert!(send(&mut p, TextMethod::Message, "text/plain", b"2").is_none());
    p.b.ua.take_texts(callee, true).unwrap();
    let extras = vec![("X-A".to_owned(), "1".to_owned())];
    p.a.ua.add_headers(caller, extras).unwrap();
    match send(&mut p, TextMethod::Info, "text/x", b"3") {
        Some(Event::Info { content_type, request, .. }) => {
            assert_eq!((content_type.as_str(), request.body()), ("text/x", &b"3"[..]));
            assert_eq!(request.header_text("X-A"), Some(&b"1"[..]));
        }
        other => panic!("{other:?}"),
    }
    match send(&mut p, TextMethod::Message, "text/plain", b"4") {
        Some(Event::Message { request, .. }) => {
            assert_eq!((request.body(), request.header_text("X-A")), (&b"4"[..], None));
        }
        other => panic!("{other:?}"),
    }
    assert!(send(&mut p, TextMethod::Message, "image/png", b"5").is_none());
    let answers: Vec<&str> =
        p.log.iter().filter(|(from, _)| *from == 2).map(|(_, line)| &line[8..11]).collect();
    assert_eq!(answers, ["415", "488", "200", "200", "415"]);
    let refused: Vec<u16> =
        p.a.events
            .drain(..)
            .filter_map(|event| match event {
                Event::TextRefused { call, status } if call == caller => Some(status),
                _ => None,
            })
            .collect();
    assert_eq!(refused, [415, 488, 415]);
}

#[test]
fn a_call_and_its_end() {
    for reliable in [false, true] {
        let mut p = Pair::new();
        p.reliable = reliable;
        let (caller, callee) = p.place();
        p.b.ua.ring(p.now, callee, None).unwrap();
        p.run_ms(50);
        assert!(matches!(
            p.a.events.pop_front(),
            Some(Event::Progress { status: 180, sdp: None, fork: 0, .. })
        ));
        p.b.ua.ring(p.now, callee, Some(SDP)).unwrap();
        p.run_ms(50);
        assert!(matches!(
            p.a.events.pop_front(),
            Some(Event::Progress { status: 183, sdp: Some(_), fork: 0, .. })
        ));
        p.b.ua.accept(p.now, callee, SDP).unwrap();
        p.run_ms(50);
        assert!(matches!(p.a.events.pop_front(), Some(Event::Answered { sdp: Some(_), .. })));
        assert!(matches!(p.b.events.pop_front(), Some(Event::Confirmed { sdp: None, .. })));
        p.run_for(Duration::from_secs(60));
        p.a.ua.hang_up(p.now, caller, Some(16)).unwrap();
        assert_eq!(p.a.ua.hang_up(p.now, caller, None), Err(CommandError::NoCall));
        p.run_ms(50);
        assert_eq!(ended(p.a.events.pop_front()), EndReason::Local);
        assert_eq!(ended(p.b.events.pop_front()), EndReason::RemoteHangUp { cause: Some(16) });
        p.nothing_left();
        let lines: Vec<String> = p.log.iter().map(|(f, l)| format!("{f} {l}")).collect();
        assert_eq!(
            lines,
            [
                "1 INVITE sip:200@192.0.2.2:5060 SIP/2.0",
                "2 SIP/2.0 180 Ringing INVITE",
                "2 SIP/2.0 183 Session Progress INVITE",
                "2 SIP/2.0 200 OK INVITE",
                if reliable {
                    "1 ACK sip:200@192.0.2.2:5060;transport=tcp SIP/2.0"
                } else {
                    "1 ACK sip:200@192.0.2.2:5060 SIP/2.0"
                },
                if reliable {
                    "1 BYE sip:200@192.0.2.2:5060;transport=tcp SIP/2.0"
                } else {
                    "1 BYE sip:200@192.0.2.2:5060 SIP/2.0"
                },
                "2 SIP/2.0 200 OK BYE",
            ],
            "reliable {reliable}"
        );
        assert!(p.a.events.is_empty() && p.b.events.is_empty());
    }
}

/// Loses the first `count` messages that contain `what`, sent by `from`.
fn lose_first(p: &mut Pair, from: u8, what: &'static str, mut count: usize) {
    p.lose = Box::new(move |side, message| {
        let line = message.as_bytes().split(|&b| b == b'\r').next().unwrap();
        let mut line = String::from_utf8_lossy(line).into_owned();
        if message.status().is_some() {
            line.push_str(&format!(" {}", message.cseq_method()));
        }
        let hit = side == from && line.contains(what) && count > 0;
        count -= usize::from(hit);
        hit
    });
}

#[test]
fn every_message_may_be_lost() {
    for (from, what) in [
        (1, "INVITE sip"),
        (2, "100 Trying"),
        (2, "180 Ringing"),
        (2, "200 OK INVITE"),
        (1, "ACK sip"),
        (1, "BYE sip"),
        (2, "200 OK BYE"),
    ] {
        for count in [1, 3] {
            let mut p = Pair::new();
            lose_first(&mut p, from, what, count);
            let invite = common::invite_to(1, 2);
            let caller = p.a.ua.invite(p.now, invite).unwrap();
            p.run_for(Duration::from_secs(5));
            let callee = p.offered();
            p.b.ua.ring(p.now, callee, None).unwrap();
            p.run_for(Duration::from_secs(5));
            p.b.ua.accept(p.now, callee, SDP).unwrap();
            p.run_for(Duration::from_secs(10));
            p.a.events.retain(|e| !matches!(e, Event::Progress { .. }));
            assert!(matches!(p.a.events.pop_front(), Some(Event::Answered { .. })), "{what} x{count}");
            assert!(matches!(p.b.events.pop_front(), Some(Event::Confirmed { .. })), "{what} x{count}");
            p.a.ua.hang_up(p.now, caller, None).unwrap();
            p.run_for(Duration::from_secs(10));
            assert_eq!(ended(p.a.events.pop_front()), EndReason::Local);
            assert_eq!(ended(p.b.events.pop_front()), EndReason::RemoteHangUp { cause: None });
            assert!(p.a.events.is_empty() && p.b.events.is_empty(), "{what} x{count}");
            p.nothing_left();
        }
    }
}

#[test]
fn silence_ends_after_64_t1() {
    let mut p = Pair::new();
    lose_first(&mut p, 1, "INVITE", 1000);
    let start = p.now;
    p.a.ua.invite(p.now, common::invite_to(1, 2)).unwrap();
    p.run_for(Duration::from_millis(31_999));
    assert!(p.a.events.is_empty());
    p.run_for(Duration::from_millis(2));
    assert_eq!(ended(p.a.events.pop_front()), EndReason::Unreachable);
    // Timer A: 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s.
    assert_eq!(p.count(1, "INVITE"), 7);
    assert_eq!(p.now - start, Duration::from_millis(32_001));
    p.nothing_left();
}

#[test]
fn an_answer_nobody_confirms_is_ended() {
    let mut p = Pair::new();
    let (_, callee) = p.place();
    lose_first(&mut p, 1, "ACK", 1000);
    p.b.ua.accept(p.now, callee, SDP).unwrap();
    p.run_for(Duration::from_secs(33));
    // 0, 0.5, 1.5, 3.5, then every 4 s up to 32 s: RFC 3261 §13.3.1.4.
    assert_eq!(p.count(2, "200 OK INVITE"), 11);
    assert_eq!(p.count(1, "ACK"), 11);
    assert_eq!(ended(p.b.events.pop_front()), EndReason::NotConfirmed);
    assert!(matches!(p.a.events.pop_front(), Some(Event::Answered { .. })));
    assert_eq!(ended(p.a.events.pop_front()), EndReason::RemoteHangUp { cause: None });
    p.nothing_left();
}

#[test]
fn hanging_up_before_the_ack_waits_for_it() {
    let mut p = Pair::new();
    let (_, callee) = p.place();
    lose_first(&mut p, 1, "ACK", 2);
    p.b.ua.accept(p.now, callee, SDP).unwrap();
    p.run_ms(5);
    p.b.ua.hang_up(p.now, callee, None).unwrap();
    p.run_ms(100);
    assert_eq!(ended(p.b.events.pop_front()), EndReason::Local);
    assert_eq!(p.count(2, "BYE"), 0);
    p.run_for(Duration::from_secs(5));
    assert_eq!(p.count(2, "BYE"), 1);
    p.nothing_left();
    assert!(p.b.events.is_empty());
}

#[test]
fn refusals() {
    let mut p = Pair::new();
    let (_, callee) = p.place();
    p.b.ua.reject(p.now, callee, 486, "", &[("Reason", "Q.850;cause=17"), ("Retry-After", "9")]).unwrap();
    p.run_ms(50);
    assert_eq!(ended(p.b.events.pop_front()), EndReason::Local);
    assert_eq!(
        ended(p.a.events.pop_front()),
        EndReason::Refused {
            status: 486,
            reason: "Busy Here".into(),
            cause: Some(17),
            contacts: vec![],
            retry_after: Some(Duration::from_secs(9)),
        }
    );
    assert_eq!(p.b.ua.accept(p.now, callee, SDP), Err(CommandError::NoCall));
    p.nothing_left();

    let mut p = Pair::new();
    let (_, callee) = p.place();
    p.b.ua.reject(p.now, callee, 302, "", &[("Contact", "<sip:x@192.0.2.9>, <sip:y@192.0.2.9>")]).unwrap();
    lose_first(&mut p, 1, "ACK", 2);
    p.run_for(Duration::from_secs(5));
    match ended(p.a.events.pop_front()) {
        EndReason::Refused { status: 302, contacts, .. } => assert_eq!(contacts.len(), 2),
        other => panic!("{other:?}"),
    }
    assert_eq!(p.count(1, "ACK"), 3, "each repeated refusal is confirmed again");
    p.nothing_left();
}

#[test]
fn the_caller_gives_up() {
    let mut p = Pair::new();
    let (caller, callee) = p.place();
    p.b.ua.ring(p.now, callee, None).unwrap();
    p.run_ms(50);
    p.a.events.clear();
    p.a.ua.hang_up(p.now, caller, None).unwrap();
    p.run_ms(50);
    assert_eq!(ended(p.a.events.pop_front()), EndReason::Local);
    assert_eq!(ended(p.b.events.pop_front()), EndReason::Cancelled);
    assert_eq!(p.count(2, "487"), 1);
    assert_eq!(p.count(2, "200 OK CANCEL"), 1);
    p.nothing_left();
    assert!(p.a.events.is_empty() && p.b.events.is_empty());
}

#[test]
fn giving_up_before_any_answer_waits_for_the_first() {
    let mut p = Pair::new();
    lose_first(&mut p, 1, "INVITE", 2);
    let caller = p.a.ua.invite(p.now, common::invite_to(1, 2)).unwrap();
    p.run_ms(100);
    p.a.ua.hang_up(p.now, caller, None).unwrap();
    p.run_ms(100);
    assert_eq!(p.count(1, "CANCEL"), 0);
    p.run_for(Duration::from_secs(5));
    assert_eq!(p.count(1, "CANCEL"), 1);
    p.offered();
    assert_eq!(ended(p.b.events.pop_front()), EndReason::Cancelled);
    p.nothing_left();
}

#[test]
fn cancel_crossing_the_answer_ends_the_call_all_the_same() {
    let mut p = Pair::new();
    let (caller, callee) = p.place();
    p.a.ua.hang_up(p.now, caller, None).unwrap();
    p.b.ua.accept(p.now, callee, SDP).unwrap();
    p.run_for(Duration::from_secs(2));
    assert_eq!(ended(p.a.events.pop_front()), EndReason::Local);
    assert!(matches!(p.b.events.pop_front(), Some(Event::Confirmed { .. })));
    assert_eq!(ended(p.b.events.pop_front()), EndReason::RemoteHangUp { cause: None });
    assert_eq!((p.count(1, "ACK"), p.count(1, "BYE"), p.count(2, "487")), (1, 1, 0));
    p.nothing_left();
}

#[test]
fn both_hang_up_at_once() {
    let mut p = Pair::new();
    let (caller, callee) = p.connect();
    p.a.ua.hang_up(p.now, caller, None).unwrap();
    p.b.ua.hang_up(p.now, callee, None).unwrap();
    p.run_for(Duration::from_secs(1));
    assert_eq!(ended(p.a.events.pop_front()), EndReason::Local);
    assert_eq!(ended(p.b.events.pop_front()), EndReason::Local);
    assert_eq!((p.count(1, "200 OK BYE"), p.count(2, "200 OK BYE")), (1, 1));
    p.nothing_left();
    assert!(p.a.events.is_empty() && p.b.events.is_empty());
}

#[test]
fn it_rings_out() {
    let mut p = Pair::new();
    let (_, callee) = p.place();
    p.b.ua.ring(p.now, callee, None).unwrap();
    p.run_for(Duration::from_secs(299));
    p.a.events.clear();
    p.run_for(Duration::from_secs(2));
    assert_eq!(ended(p.a.events.pop_front()), EndReason::RangOut);
    assert_eq!(ended(p.b.events.pop_front()), EndReason::Cancelled);
    p.nothing_left();
}

#[test]
fn hold_and_resume_both_ways() {
    let mut p = Pair::new();
    let (caller, callee) = p.connect();
    for round in 0..3 {
        p.a.ua.offer(p.now, caller, SDP).unwrap();
        assert_eq!(p.a.ua.offer(p.now, caller, SDP), Err(CommandError::WrongState));
        p.run_ms(50);
        assert!(matches!(p.b.events.pop_front(), Some(Event::Offer { sdp: Some(_), .. })), "{round}");
        p.b.ua.answer_offer(p.now, callee, SDP).unwrap();
        p.run_ms(50);
        assert!(matches!(p.a.events.pop_front(), Some(Event::OfferAnswered { sdp: Some(_), .. })));
        assert!(matches!(p.b.events.pop_front(), Some(Event::Confirmed { .. })));
        p.b.ua.offer(p.now, callee, SDP).unwrap();
        p.run_ms(50);
        assert!(matches!(p.a.events.pop_front(), Some(Event::Offer { .. })));
        p.a.ua.refuse_offer(p.now, caller, 488).unwrap();
        p.run_ms(50);
        assert!(matches!(p.b.events.pop_front(), Some(Event::OfferRefused { status: 488, .. })));
    }
    p.b.ua.hang_up(p.now, callee, None).unwrap();
    p.run_ms(50);
    assert_eq!(ended(p.a.events.pop_front()), EndReason::RemoteHangUp { cause: None });
    p.nothing_left();
}

#[test]
fn glare_is_sorted_out() {
    let mut p = Pair::new();
    let (caller, callee) = p.connect();
    p.a.ua.offer(p.now, caller, SDP).unwrap();
    p.b.ua.offer(p.now, callee, SDP).unwrap();
    let (mut a_done, mut b_done) = (false, false);
    for _ in 0..200 {
        p.run_ms(50);
        while let Some(event) = p.a.events.pop_front() {
            match event {
                Event::Offer { call, .. } => p.a.ua.answer_offer(p.now, call, SDP).unwrap(),
                Event::OfferAnswered { .. } => a_done = true,
                Event::Confirmed { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        while let Some(event) = p.b.events.pop_front() {
            match event {
                Event::Offer { call, .. } => p.b.ua.answer_offer(p.now, call, SDP).unwrap(),
                Event::OfferAnswered { .. } => b_done = true,
                Event::Confirmed { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((p.count(1, "491"), p.count(2, "491")), (1, 1));
    assert!(a_done && b_done, "both offers were taken in the end");
    p.a.ua.hang_up(p.now, caller, None).unwrap();
    p.nothing_left();
}

#[test]
fn hanging_up_with_an_open_offer() {
    for by_offerer in [true, false] {
        let mut p = Pair::new();
        let (caller, callee) = p.connect();
        p.a.ua.offer(p.now, caller, SDP).unwrap();
        p.run_ms(50);
        assert!(matches!(p.b.events.pop_front(), Some(Event::Offer { .. })));
        if by_offerer {
            p.a.ua.hang_up(p.now, caller, None).unwrap();
        } else {
            p.b.ua.hang_up(p.now, callee, None).unwrap();
        }
        p.run_for(Duration::from_secs(2));
        assert!(matches!(p.a.events.back(), Some(Event::Ended { .. })));
        assert!(matches!(p.b.events.back(), Some(Event::Ended { .. })));
        p.nothing_left();
    }
}

#[test]
fn digits_by_info() {
    let mut p = Pair::new();
    let (caller, _) = p.connect();
    p.a.ua
        .text(p.now, caller, TextMethod::Info, "application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n")
        .unwrap();
    p.a.ua.text(p.now, caller, TextMethod::Info, "application/x-unknown", b"?").unwrap();
    p.run_ms(50);
    match p.b.events.pop_front() {
        Some(Event::Info { content_type, request, .. }) => {
            assert_eq!(content_type, "application/dtmf-relay");
            assert_eq!(request.body(), b"Signal=5\r\nDuration=160\r\n");
        }
        other => panic!("{other:?}"),
    }
    assert!(p.b.events.is_empty());
    assert_eq!((p.count(2, "200 OK INFO"), p.count(2, "415")), (1, 1));
    p.a.ua.hang_up(p.now, caller, None).unwrap();
    p.nothing_left();
}

#[test]
fn a_peer_that_forgot_the_call() {
    let mut p = Pair::new();
    let (caller, callee) = p.connect();
    // B is gone and comes back without memory.
    p.b = common::Side::new(2, tipring_sip::ua::Settings::default(), p.now);
    let _ = callee;
    p.a.ua.text(p.now, caller, TextMethod::Info, "application/dtmf", b"5").unwrap();
    p.run_ms(100);
    assert_eq!(ended(p.a.events.pop_front()), EndReason::Lost);
    p.nothing_left();
}

#[test]
fn a_broken_way_fails_at_once() {
    use tipring_sip::ua::Input;
    let mut p = Pair::new();
    lose_first(&mut p, 1, "INVITE", 1000);
    p.a.ua.invite(p.now, common::invite_to(1, 2)).unwrap();
    p.run_ms(100);
    p.a.ua.handle(p.now, Input::TransportFailed { hop: common::hop(1, 2) });
    p.run_ms(1);
    assert_eq!(ended(p.a.events.pop_front()), EndReason::Unreachable);
    p.nothing_left();
}

#[test]
fn heavy_loss_leaves_no_ghosts() {
    for seed in 0..64u64 {
        let mut p = Pair::new();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        p.lose = Box::new(move |_, _| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % 100 < 40
        });
        let caller = p.a.ua.invite(p.now, common::invite_to(1, 2)).unwrap();
        p.run_for(Duration::from_secs(8));
        let callee = p.b.events.iter().find_map(|e| match e {
            Event::Incoming(i) => Some(i.call),
            _ => None,
        });
        if let Some(callee) = callee {
            let _ = p.b.ua.accept(p.now, callee, SDP);
        }
        p.run_for(Duration::from_secs(seed % 40));
        let _ = p.a.ua.hang_up(p.now, caller, None);
        p.run_for(Duration::from_secs(400));
        for side in [&mut p.a, &mut p.b] {
            // When every BYE was lost one side still believes in the call: media tells it.
            for call in side.ua.live_calls() {
                side.ua.hang_up(p.now, call, None).unwrap();
            }
        }
        p.nothing_left();
        for side in [&p.a, &p.b] {
            let ends = side.events.iter().filter(|e| matches!(e, Event::Ended { .. })).count();
            let begins = if side.last == 1 { 1 } else { usize::from(callee.is_some()) };
            assert_eq!(ends, begins, "seed {seed}, side {}", side.last);
        }
    }
}

#[test]
fn twenty_thousand_calls_leave_nothing() {
    let settings = || tipring_sip::ua::Settings { transactions_max: 40_000, ..Default::default() };
    let mut p = Pair::with(settings(), settings());
    for n in 0..20_000u32 {
        p.log.clear();
        let caller = p.a.ua.invite(p.now, common::invite_to(1, 2)).unwrap();
        p.run_ms(25);
        let callee = p.offered();
        match n % 4 {
            0 => p.b.ua.reject(p.now, callee, 486, "", &[]).unwrap(),
            1 => p.a.ua.hang_up(p.now, caller, None).unwrap(),
            _ => {
                p.b.ua.accept(p.now, callee, SDP).unwrap();
                p.run_ms(25);
                if n % 4 == 2 {
                    p.a.ua.hang_up(p.now, caller, None).unwrap();
                } else {
                    p.b.ua.hang_up(p.now, callee, None).unwrap();
                }
            }
        }
        p.run_ms(25);
        p.a.events.clear();
        p.b.events.clear();
        assert!(p.a.ua.calls() <= 1 && p.b.ua.calls() <= 1, "call {n}");
    }
    p.nothing_left();
}
