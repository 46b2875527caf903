//! Transfer in virtual time: REFER both ways, NOTIFY, Replaces.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names the one event it wants")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::time::{Duration, Instant};

use common::{Pair, SDP, hop, origin};
use tipring_sip::message::Message;
use tipring_sip::ua::{
    CallKey, CommandError, EndReason, Event, Input, Output, Peer, Referral, Replaced, Settings, TRANSFER_MAX,
    UserAgent,
};
use tipring_sip::{HeaderName, Hop, Transport, Uri};

/// One user agent, and a peer written by hand who has called it.
struct Asked {
    ua: UserAgent,
    now: Instant,
    call: CallKey,
    tag: String,
    seq: u32,
    sent: Vec<Message>,
    events: Vec<Event>,
}

impl Asked {
    fn new() -> Asked {
        let now = origin();
        let ua = UserAgent::new(now, Settings::default(), [7; 32]);
        let (call, tag) = (nobody(), String::new());
        let mut asked = Asked { ua, now, call, tag, seq: 1, sent: Vec::new(), events: Vec::new() };
        (asked.call, asked.tag) = asked.called("peer", "caller");
        asked
    }

    /// The peer calls and is answered; the call and our tag.
    fn called(&mut self, call_id: &str, tag: &str) -> (CallKey, String) {
        let invite = format!(
            "INVITE sip:200@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKi{call_id}\r\n\
             From: <sip:100@192.0.2.2>;tag={tag}\r\nTo: <sip:200@192.0.2.1>\r\nCall-ID: {call_id}\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:100@192.0.2.2>\r\nMax-Forwards: 70\r\n\r\n"
        );
        self.receive(&invite);
        let Some(Event::Incoming(incoming)) = self.events.pop() else { panic!("no call") };
        self.ua.accept(self.now, incoming.call, SDP).unwrap();
        self.drain();
        let ours = String::from_utf8(self.sent[0].to_tag().to_vec()).unwrap();
        assert!(self.sent[0].has_token(HeaderName::Supported, "replaces"));
        let ack = self.request("ACK", 1, "", (call_id, tag, &ours));
        self.receive(&ack);
        self.events.clear();
        (incoming.call, ours)
    }

    fn request(&self, method: &str, seq: u32, extra: &str, names: (&str, &str, &str)) -> String {
        let (call_id, theirs, ours) = names;
        format!(
            "{method} sip:200@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{method}{seq}{call_id}\r\n\
             From: <sip:100@192.0.2.2>;tag={theirs}\r\nTo: <sip:200@192.0.2.1>;tag={ours}\r\nCall-ID: {call_id}\r\n\
             CSeq: {seq} {method}\r\nMax-Forwards: 70\r\n{extra}\r\n"
        )
    }

    fn receive(&mut self, text: &str) {
        let (peer, hop) = (Peer::Trusted(2), hop(1, 2));
        self.ua.handle(self.now, Input::Received { peer, hop, bytes: text.as_bytes() });
        self.drain();
    }

    fn inside(&mut self, method: &str, extra: &str) {
        self.seq += 1;
        let tag = self.tag.clone();
        let text = self.request(method, self.seq, extra, ("peer", "caller", &tag));
        self.receive(&text);
    }

    fn drain(&mut self) {
        self.sent.clear();
        while let Some(output) = self.ua.poll() {
            match output {
                Output::Send { bytes, .. } => self.sent.push(Message::from_frame(&bytes).unwrap()),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    /// A REFER that is reported, and what it asks for.
    fn refer(&mut self, extra: &str) -> Referral {
        self.inside("REFER", extra);
        assert!(self.sent.is_empty(), "{:?}", statuses(&self.sent));
        match self.events.pop() {
            Some(Event::Refer { call, referral, .. }) if call == self.call => *referral,
            other => panic!("no REFER: {other:?}"),
        }
    }

    fn report(&mut self, status: u16) -> Vec<String> {
        self.ua.report_transfer(self.now, self.call, status).unwrap();
        self.drain();
        self.reports()
    }

    /// What was sent: answers by their status, NOTIFYs by body and state. They are answered.
    fn reports(&mut self) -> Vec<String> {
        let sent = std::mem::take(&mut self.sent);
        let mut told = Vec::new();
        for message in &sent {
            if let Some(status) = message.status() {
                told.push(status.to_string());
                continue;
            }
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
            let state = message.header(HeaderName::SubscriptionState).map(text).unwrap_or_default();
            let event = message.header(HeaderName::Event).map(text).unwrap_or_default();
            let method = String::from_utf8_lossy(message.method_text()).into_owned();
            told.push(format!("{method} {} {event} {state}", text(message.body())));
            let answer = ok(message, 200);
            self.receive(&answer);
        }
        self.sent.clear();
        told
    }

    fn nothing_left(&mut self) {
        let until = self.now + Duration::from_secs(900);
        while let Some(at) = self.ua.poll_timeout().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.ua.handle(self.now, Input::Timeout);
            self.drain();
        }
        assert_eq!((self.ua.calls(), self.ua.transactions(), self.ua.timers()), (0, 0, 0));
    }
}

/// A key of another user agent, until there is a call.
fn nobody() -> CallKey {
    let mut p = Pair::new();
    p.place().0
}

fn statuses(sent: &[Message]) -> Vec<Option<u16>> {
    sent.iter().map(Message::status).collect()
}

fn ok(request: &Message, status: u16) -> String {
    let mut text = format!("SIP/2.0 {status} Whatever\r\n");
    for (name, value) in request.headers() {
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        if ["Via", "From", "To", "Call-ID", "CSeq"].contains(&&*name) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text + "\r\n"
}

const TO_203: &str = "Refer-To: <sip:203@192.0.2.1>\r\nReferred-By: <sip:100@192.0.2.2>\r\n";

#[test]
fn a_transfer_and_its_reports() {
    let mut p = Asked::new();
    let asked = p.refer(TO_203);
    assert_eq!(asked.target.number().as_deref(), Some("203"));
    assert_eq!(asked.replaces, Replaced::Nothing);
    assert_eq!(asked.referred_by.as_deref(), Some("<sip:100@192.0.2.2>"));
    assert_eq!(p.report(100), ["202", "NOTIFY SIP/2.0 100 Trying refer;id=2 active;expires=300"]);
    assert_eq!(p.report(180), ["NOTIFY SIP/2.0 180 Ringing refer;id=2 active;expires=300"]);
    assert_eq!(p.report(200), ["NOTIFY SIP/2.0 200 OK refer;id=2 terminated;reason=noresource"]);
    assert_eq!(p.ua.report_transfer(p.now, p.call, 200), Err(CommandError::WrongState));
    // The call goes on, and may be transferred again.
    assert_eq!(p.ua.live_calls(), [p.call]);
    p.refer(TO_203);
    assert_eq!(
        p.report(486),
        ["202", "NOTIFY SIP/2.0 486 Busy Here refer;id=3 terminated;reason=noresource"]
    );
    p.inside("BYE", "");
    p.nothing_left();
}

/// RFC 5057 §5.1: 404 on the REFER itself would end the call.
#[test]
fn a_refusal_leaves_the_call_alone() {
    for (status, told) in [
        (403, vec!["403"]),
        (603, vec!["603"]),
        (404, vec!["202", "NOTIFY SIP/2.0 404 Not Found refer;id=2 terminated;reason=noresource"]),
        (
            480,
            vec!["202", "NOTIFY SIP/2.0 480 Temporarily Unavailable refer;id=2 terminated;reason=noresource"],
        ),
    ] {
        let mut p = Asked::new();
        p.refer(TO_203);
        assert_eq!(p.report(status), told);
        assert_eq!(p.ua.live_calls(), [p.call]);
        p.inside("BYE", "");
        p.nothing_left();
    }
}

#[test]
fn a_peer_that_wants_no_reports_gets_none() {
    let mut p = Asked::new();
    p.refer("Refer-To: sip:203@192.0.2.1\r\nRefer-Sub: false\r\nRequire: norefersub\r\n");
    p.ua.report_transfer(p.now, p.call, 100).unwrap();
    p.drain();
    assert_eq!(p.sent[0].header_text("Refer-Sub"), Some(&b"false"[..]));
    assert_eq!(p.reports(), ["202"]);
    assert!(p.report(180).is_empty() && p.report(200).is_empty());
    p.inside("BYE", "");
    p.nothing_left();
}

/// The use of the dialog by the subscription outlives the call (RFC 5057 §4).
#[test]
fn reports_go_on_after_the_peer_has_hung_up() {
    let mut p = Asked::new();
    p.refer(TO_203);
    p.report(100);
    p.inside("BYE", "");
    assert_eq!(statuses(&p.sent), [Some(200)]);
    assert!(matches!(p.events.pop(), Some(Event::Ended { reason: EndReason::RemoteHangUp { .. }, .. })));
    assert!(p.ua.live_calls().is_empty());
    assert_eq!(p.report(180).len(), 1);
    // Nothing else is done in it.
    p.inside("REFER", TO_203);
    assert_eq!(p.reports(), ["481"]);
    p.inside("INVITE", "Contact: <sip:100@192.0.2.2>\r\n");
    assert_eq!(p.reports(), ["487"]);
    p.inside("BYE", "");
    assert_eq!(p.reports(), ["200"]);
    assert_eq!(p.report(200), ["NOTIFY SIP/2.0 200 OK refer;id=2 terminated;reason=noresource"]);
    assert!(p.events.is_empty());
    p.nothing_left();
}

#[test]
fn a_refer_that_nobody_answered_ends_with_the_call() {
    for by_us in [false, true] {
        let mut p = Asked::new();
        p.refer(TO_203);
        if by_us {
            p.ua.hang_up(p.now, p.call, None).unwrap();
            p.drain();
            assert_eq!(statuses(&p.sent), [Some(481), None]);
        } else {
            p.inside("BYE", "");
            assert_eq!(statuses(&p.sent), [Some(200), Some(481)]);
        }
        assert_eq!(p.ua.report_transfer(p.now, p.call, 200), Err(CommandError::WrongState));
        p.nothing_left();
    }
}

#[test]
fn a_transfer_that_takes_too_long_is_given_up() {
    let mut p = Asked::new();
    p.refer(TO_203);
    p.report(100);
    p.now += TRANSFER_MAX;
    p.ua.handle(p.now, Input::Timeout);
    p.drain();
    assert_eq!(p.reports(), ["NOTIFY SIP/2.0 408 Request Timeout refer;id=2 terminated;reason=noresource"]);
    assert!(matches!(p.events.pop(), Some(Event::TransferLate { call }) if call == p.call));
    p.inside("BYE", "");
    p.nothing_left();
}

#[test]
fn a_peer_that_forgot_its_subscription_gets_no_more() {
    let mut p = Asked::new();
    p.refer(TO_203);
    p.ua.report_transfer(p.now, p.call, 100).unwrap();
    p.drain();
    let notify = p.sent.pop().unwrap();
    p.receive(&ok(&notify, 481));
    assert_eq!(p.ua.report_transfer(p.now, p.call, 180), Err(CommandError::WrongState));
    assert_eq!(p.ua.live_calls(), [p.call], "the call goes on");
    p.inside("BYE", "");
    p.nothing_left();
}

#[test]
fn hostile_refers_are_refused_and_the_call_goes_on() {
    let mut p = Asked::new();
    for (extra, status) in [
        ("", "400"),
        ("Refer-To: <sip:203@192.0.2.1>\r\nRefer-To: <sip:204@192.0.2.1>\r\n", "400"),
        ("Refer-To: <sip:203@192.0.2.1>, <sip:204@192.0.2.1>\r\n", "400"),
        ("Refer-To: <sip:203@192.0.2.1\r\n", "400"),
        ("Refer-To: <http://x.test/>\r\n", "400"),
        ("Refer-To: <sip:192.0.2.1>\r\n", "400"),
        ("Refer-To: <sip:@192.0.2.1>\r\n", "400"),
        ("Refer-To: <sip:203@192.0.2.1;method=BYE>\r\n", "603"),
        ("Refer-To: <sip:203@192.0.2.1?Replaces=x>\r\n", "400"),
        ("Refer-To: <sip:203@192.0.2.1?Replaces=x%3Bto-tag%3D1>\r\n", "400"),
        (
            "Refer-To: <sip:203@h?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2&Replaces=y%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\n",
            "400",
        ),
        ("Refer-To: <sip:203@192.0.2.1>\r\nRequire: foo\r\n", "420"),
    ] {
        p.inside("REFER", extra);
        assert_eq!((p.reports(), p.events.len()), (vec![status.to_owned()], 0), "{extra}");
    }
    // Many at a time: one is under way, the others have to wait.
    p.refer(TO_203);
    for _ in 0..100 {
        p.inside("REFER", TO_203);
        assert_eq!(p.reports(), ["491"]);
    }
    assert_eq!(p.report(603), ["603"]);
    assert_eq!(p.ua.live_calls(), [p.call]);
    p.inside("BYE", "");
    p.nothing_left();
}

#[test]
fn another_dialog_is_named_by_replaces() {
    let mut p = Asked::new();
    let (second, tag) = p.called("second%", "s");
    let named = |id: &str, ours: &str, theirs: &str| {
        format!("Refer-To: <sip:203@h?Replaces={id}%3Bto-tag%3D{ours}%3Bfrom-tag%3D{theirs}>\r\n")
    };
    for (extra, wanted) in [
        (named("second%25", &tag, "s"), Replaced::Call(second)),
        (named("second%25", "s", &tag), Replaced::Unknown),
        (named("other", &tag, "s"), Replaced::Unknown),
        (named("second%25", &tag, "x"), Replaced::Unknown),
        (named("second%25", "0000000000000000", "s"), Replaced::Unknown),
    ] {
        let asked = p.refer(&extra);
        assert_eq!(asked.replaces, wanted, "{extra}");
        p.report(603);
    }
    p.inside("BYE", "");
    p.ua.hang_up(p.now, second, None).unwrap();
    p.drain();
    p.reports();
    p.nothing_left();
}

/// RFC 3891 §3: what an INVITE with Replaces may take the place of.
#[test]
fn an_invite_takes_the_place_of_a_call() {
    let mut p = Asked::new();
    let tag = p.tag.clone();
    let mut n = 0;
    let mut invite = |replaces: &str| {
        n += 1;
        format!(
            "INVITE sip:200@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKr{n}\r\n\
             From: <sip:102@192.0.2.2>;tag=n{n}\r\nTo: <sip:200@192.0.2.1>\r\nCall-ID: n{n}\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:102@192.0.2.2>\r\nMax-Forwards: 70\r\n\
             Require: replaces\r\nReplaces: {replaces}\r\n\r\n"
        )
    };
    for (replaces, status) in [
        (format!("peer;to-tag={tag};from-tag=caller;early-only"), 486),
        (format!("peer;to-tag=caller;from-tag={tag}"), 481),
        (format!("peer;to-tag={tag};from-tag=x"), 481),
        ("peer".to_owned(), 400),
        (format!("peer;to-tag={tag};from-tag=caller\r\nReplaces: peer;to-tag={tag};from-tag=caller"), 400),
    ] {
        p.receive(&invite(&replaces));
        assert_eq!((statuses(&p.sent), p.events.len()), (vec![Some(status)], 0), "{replaces}");
    }
    p.receive(&invite(&format!("peer;to-tag={tag};from-tag=caller")));
    let Some(Event::Incoming(incoming)) = p.events.pop() else { panic!("no call") };
    assert_eq!(incoming.replaces, Some(p.call));
    // The call that is replaced is the application's to end.
    p.ua.hang_up(p.now, p.call, None).unwrap();
    p.drain();
    p.reports();
    p.receive(&invite(&format!("peer;to-tag={tag};from-tag=caller")));
    assert_eq!(statuses(&p.sent), [Some(481)]);
    p.ua.reject(p.now, incoming.call, 486, "", &[]).unwrap();
    p.nothing_left();
}

/// Only a call that rings from here can be picked up; one that rings here cannot.
#[test]
fn a_ringing_call_is_picked_up() {
    let mut p = Pair::new();
    let (_, callee) = p.place();
    p.b.ua.ring(p.now, callee, None).unwrap();
    p.run_ms(50);
    // Names are only known from the wire.
    let mut seen = Vec::new();
    p.b.ua.ring(p.now, callee, None).unwrap();
    while let Some(output) = p.b.ua.poll() {
        if let Output::Send { bytes, .. } = output {
            seen.push(Message::from_frame(&bytes).unwrap());
        }
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let ringing = &seen[0];
    let (id, caller, called) = (text(ringing.call_id()), text(ringing.from_tag()), text(ringing.to_tag()));
    let invite = |to: u8, to_tag: &str, from_tag: &str| {
        format!(
            "INVITE sip:200@192.0.2.{to} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKq{to}\r\n\
             From: <sip:102@192.0.2.9>;tag=n\r\nTo: <sip:200@192.0.2.{to}>\r\nCall-ID: q{to}\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:102@192.0.2.9>\r\nMax-Forwards: 70\r\n\
             Replaces: {id};to-tag={to_tag};from-tag={from_tag};early-only\r\n\r\n"
        )
    };
    let at_caller = invite(1, &caller, &called);
    let input = Input::Received { peer: Peer::Trusted(9), hop: hop(1, 9), bytes: at_caller.as_bytes() };
    p.a.ua.handle(p.now, input);
    let mut picked = false;
    while let Some(output) = p.a.ua.poll() {
        picked |= matches!(output, Output::Event(Event::Incoming(ref i)) if i.replaces.is_some());
    }
    assert!(picked);
    let at_callee = invite(2, &called, &caller);
    let input = Input::Received { peer: Peer::Trusted(9), hop: hop(2, 9), bytes: at_callee.as_bytes() };
    p.b.ua.handle(p.now, input);
    let mut status = None;
    while let Some(output) = p.b.ua.poll() {
        if let Output::Send { bytes, .. } = output {
            status = Message::from_frame(&bytes).unwrap().status();
        }
    }
    assert_eq!(status, Some(481));
}

/// Our own REFER, between two user agents of ours.
#[test]
fn we_ask_and_are_told() {
    let mut p = Pair::new();
    let (caller, callee) = p.connect();
    p.a.ua.refer(p.now, caller, "sip:203@192.0.2.2").unwrap();
    assert_eq!(p.a.ua.refer(p.now, caller, "sip:203@192.0.2.2"), Err(CommandError::WrongState));
    p.run_ms(50);
    let Some(Event::Refer { referral, .. }) = p.b.events.pop_front() else { panic!("no REFER") };
    assert_eq!(referral.target, "sip:203@192.0.2.2".parse::<Uri>().unwrap());
    for status in [100, 180, 200] {
        p.b.ua.report_transfer(p.now, callee, status).unwrap();
        p.run_ms(50);
    }
    assert!(matches!(p.a.events.pop_front(), Some(Event::ReferAnswered { status: 202, .. })));
    assert!(matches!(p.a.events.pop_front(), Some(Event::ReferNotified { status: Some(200), .. })));
    assert!(p.a.events.is_empty());
    // And refused.
    p.a.ua.refer(p.now, caller, "sip:203@192.0.2.2").unwrap();
    p.run_ms(50);
    p.b.ua.report_transfer(p.now, callee, 603).unwrap();
    p.run_ms(50);
    assert!(matches!(p.a.events.pop_front(), Some(Event::ReferAnswered { status: 603, .. })));
    // And not answered at all.
    p.a.ua.refer(p.now, caller, "sip:203@192.0.2.2").unwrap();
    p.lose = Box::new(|_, _| true);
    p.run_for(Duration::from_secs(33));
    assert!(matches!(p.a.events.pop_front(), Some(Event::ReferAnswered { status: 408, .. })));
    p.lose = Box::new(|_, _| false);
    p.a.ua.hang_up(p.now, caller, None).unwrap();
    p.nothing_left();
}

/// A telephone that is to call a number calls us, and not itself.
#[test]
fn somebody_else_is_reached_through_us() {
    let mut p = Pair::new();
    let (caller, _) = p.connect();
    let through =
        |p: &mut Pair, user: &str| p.a.ua.address_through_us(caller, user).map(|uri| uri.as_str().to_owned());
    assert_eq!(through(&mut p, "203").as_deref(), Some("sip:203@192.0.2.1:5060"));
    assert_eq!(through(&mut p, "*7#").as_deref(), Some("sip:*7%23@192.0.2.1:5060"));
    assert_eq!(through(&mut p, ""), None);
    // By the way that is taken now.
    let moved = Hop { transport: Transport::Tcp, local: "198.51.100.9:5070".parse().unwrap(), ..hop(1, 2) };
    p.a.ua.set_hop(caller, moved).unwrap();
    assert_eq!(through(&mut p, "203").as_deref(), Some("sip:203@198.51.100.9:5070;transport=tcp"));
}

#[test]
fn notifications_that_nobody_asked_for_are_refused() {
    let mut p = Asked::new();
    for (extra, status) in
        [("Event: refer\r\n", "481"), ("Event: presence\r\n", "489"), ("", "489"), ("Event: ;\r\n", "489")]
    {
        p.inside("NOTIFY", extra);
        assert_eq!((p.reports(), p.events.len()), (vec![status.to_owned()], 0), "{extra}");
    }
    p.inside("BYE", "");
    p.nothing_left();
}
