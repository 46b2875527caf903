//! Ugly peers: messages written by hand against one user agent.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::time::{Duration, Instant};

use common::{SDP, hop, invite_to, origin};
use tipring_sip::message::{Message, Writer};
use tipring_sip::ua::{CallKey, EndReason, Event, Input, Output, Peer, Settings, UserAgent};
use tipring_sip::{HeaderName, Hop, Method};

struct Bench {
    ua: UserAgent,
    now: Instant,
    sent: Vec<Message>,
    events: Vec<Event>,
}

impl Bench {
    fn new(settings: Settings) -> Bench {
        let now = origin();
        Bench { ua: UserAgent::new(now, settings, [9; 32]), now, sent: Vec::new(), events: Vec::new() }
    }

    fn drain(&mut self) {
        self.sent.clear();
        self.events.clear();
        while let Some(output) = self.ua.poll() {
            match output {
                Output::Send { bytes, .. } => self.sent.push(Message::from_frame(&bytes).unwrap()),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn receive_from(&mut self, peer: Peer, hop: Hop, text: &str) {
        self.ua.handle(self.now, Input::Received { peer, hop, bytes: text.as_bytes() });
        self.drain();
    }

    fn receive(&mut self, text: &str) {
        self.receive_from(Peer::Trusted(2), hop(1, 2), text);
    }

    /// Runs timers for a while, collecting everything.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let (mut sent, mut events) = (Vec::new(), Vec::new());
        while let Some(at) = self.ua.poll_timeout().filter(|&t| t <= until) {
            self.now = self.now.max(at);
            self.ua.handle(self.now, Input::Timeout);
            self.drain();
            sent.append(&mut self.sent);
            events.append(&mut self.events);
        }
        self.now = until;
        self.sent = sent;
        self.events = events;
    }

    fn statuses(&self) -> Vec<u16> {
        self.sent.iter().filter_map(Message::status).collect()
    }

    fn methods(&self) -> Vec<Method> {
        self.sent.iter().filter_map(Message::method).collect()
    }

    fn incoming(&mut self, invite: &str) -> CallKey {
        self.receive(invite);
        match self.events.as_slice() {
            [Event::Incoming(incoming)] => incoming.call,
            other => panic!("{other:?}"),
        }
    }

    /// Places a call and returns the INVITE.
    fn place(&mut self) -> (CallKey, Message) {
        let call = self.ua.invite(self.now, invite_to(1, 2)).unwrap();
        self.drain();
        (call, self.sent.remove(0))
    }

    fn answer(&mut self, request: &Message, status: u16, tag: &str, headers: &[(&str, &str)], sdp: bool) {
        let mut w = Writer::new();
        w.response(request, status, "Answer", tag.as_bytes(), hop(1, 2).remote);
        for (name, value) in headers {
            w.header(name, value);
        }
        let bytes = if sdp { w.body("application/sdp", SDP).to_vec() } else { w.end().to_vec() };
        self.receive(std::str::from_utf8(&bytes).unwrap());
    }

    fn nothing_left(&mut self) {
        self.pass(Duration::from_secs(400));
        assert_eq!((self.ua.calls(), self.ua.transactions(), self.ua.timers()), (0, 0, 0));
    }
}

fn request(method: &str, seq: u32, branch: &str, to_tag: &str, extra: &str) -> String {
    let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    format!(
        "{method} sip:200@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{branch};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:100@192.0.2.2>;tag=caller\r\nTo: <sip:200@192.0.2.1>{to_tag}\r\n\
         Call-ID: peer\r\nCSeq: {seq} {method}\r\nContact: <sip:100@192.0.2.2>\r\n{extra}\r\n"
    )
}

fn with_sdp(text: &str) -> String {
    let sdp = std::str::from_utf8(SDP).unwrap();
    let head = text.strip_suffix("\r\n").unwrap();
    format!("{head}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())
}

/// An answered incoming call; returns our tag.
fn answered(b: &mut Bench) -> (CallKey, String) {
    let call = b.incoming(&with_sdp(&request("INVITE", 1, "i", "", "")));
    b.ua.accept(b.now, call, SDP).unwrap();
    b.drain();
    let tag = String::from_utf8(b.sent[0].to_tag().to_vec()).unwrap();
    b.receive(&request("ACK", 1, "a", &tag, ""));
    assert!(matches!(b.events.as_slice(), [Event::Confirmed { sdp: None, .. }]));
    (call, tag)
}

const CONTACT: (&str, &str) = ("Contact", "<sip:200@192.0.2.2>");

#[test]
fn a_repeated_invite_is_answered_by_its_transaction() {
    let mut b = Bench::new(Settings::default());
    let invite = with_sdp(&request("INVITE", 1, "i", "", ""));
    let call = b.incoming(&invite);
    b.receive(&invite);
    assert_eq!((b.statuses(), b.events.len()), (vec![], 0), "no 100 yet");
    b.pass(Duration::from_millis(200));
    assert_eq!(b.statuses(), [100]);
    b.receive(&invite);
    assert_eq!((b.statuses(), b.events.len()), (vec![100], 0));
    b.ua.ring(b.now, call, None).unwrap();
    b.drain();
    b.receive(&invite);
    assert_eq!(b.statuses(), [180]);
    // The same request by another way is merged, RFC 3261 §8.2.2.2.
    b.receive(&invite.replace("z9hG4bKi", "z9hG4bKother"));
    assert_eq!((b.statuses(), b.events.len()), (vec![482], 0));
    b.ua.accept(b.now, call, SDP).unwrap();
    b.drain();
    b.receive(&invite);
    assert!(b.sent.is_empty(), "the 2xx repeats by its own timer only");
    b.nothing_left();
}

#[test]
fn in_dialog_requests_need_tags_sequence_and_source() {
    let mut b = Bench::new(Settings::default());
    let (call, tag) = answered(&mut b);
    for (text, peer, want) in [
        // The right tags from another peer: the call is not theirs.
        (request("BYE", 2, "b1", &tag, ""), Peer::Trusted(3), vec![481]),
        (request("BYE", 2, "b2", &tag, ""), Peer::Unknown, vec![]),
        (request("BYE", 2, "b3", &tag, "").replace("tag=caller", "tag=other"), Peer::Trusted(2), vec![481]),
        (
            request("BYE", 2, "b4", &tag, "").replace("Call-ID: peer", "Call-ID: x"),
            Peer::Trusted(2),
            vec![481],
        ),
        (request("BYE", 1, "b5", &tag, ""), Peer::Trusted(2), vec![500]),
        (request("BYE", 0, "b6", &tag, ""), Peer::Trusted(2), vec![500]),
        (request("CANCEL", 1, "i", "", ""), Peer::Trusted(3), vec![481]),
        (request("INFO", 5, "b7", &tag, ""), Peer::Trusted(2), vec![200]),
        (request("INFO", 4, "b8", &tag, ""), Peer::Trusted(2), vec![500]),
        (request("OPTIONS", 6, "b9", &tag, ""), Peer::Trusted(2), vec![200]),
        (request("REFER", 7, "b10", &tag, ""), Peer::Trusted(2), vec![400]),
        (request("PRACK", 8, "b11", &tag, ""), Peer::Trusted(2), vec![481]),
        (request("UPDATE", 9, "b12", &tag, ""), Peer::Trusted(2), vec![200]),
        (request("UPDATE", 10, "b13", &tag, "Require: timer\r\n"), Peer::Trusted(2), vec![420]),
        (request("INFO", 11, "b14", &tag, "Info-Package: foo\r\n"), Peer::Trusted(2), vec![469]),
    ] {
        b.receive_from(peer, hop(1, 2), &text);
        assert_eq!((b.statuses(), b.events.len()), (want, 0), "{text}");
    }
    assert_eq!(b.ua.live_calls(), [call]);
    b.receive(&request("BYE", 12, "end", &tag, ""));
    assert!(matches!(b.events.as_slice(), [Event::Ended { reason: EndReason::RemoteHangUp { .. }, .. }]));
    b.receive(&request("BYE", 12, "end", &tag, ""));
    assert_eq!((b.statuses(), b.events.len()), (vec![200], 0), "a repeated BYE");
    b.nothing_left();
}

#[test]
fn an_early_bye_ends_the_offer() {
    let mut b = Bench::new(Settings::default());
    let call = b.incoming(&request("INVITE", 1, "i", "", ""));
    b.ua.ring(b.now, call, None).unwrap();
    b.drain();
    let tag = String::from_utf8(b.sent[0].to_tag().to_vec()).unwrap();
    b.receive(&with_sdp(&request("UPDATE", 2, "u", &tag, "")));
    assert_eq!(b.statuses(), [500], "the first offer has no answer yet");
    assert!(b.sent[0].header(HeaderName::RetryAfter).is_some());
    b.receive(&request("BYE", 3, "b", &tag, ""));
    assert_eq!(b.statuses(), [200, 487]);
    assert!(matches!(b.events.as_slice(), [Event::Ended { reason: EndReason::Cancelled, .. }]));
    b.nothing_left();
}

#[test]
fn an_invite_without_an_offer() {
    let mut b = Bench::new(Settings::default());
    let call = b.incoming(&request("INVITE", 1, "i", "", ""));
    b.ua.accept(b.now, call, SDP).unwrap();
    b.drain();
    let tag = String::from_utf8(b.sent[0].to_tag().to_vec()).unwrap();
    assert_eq!(b.sent[0].sdp(), Some(SDP));
    b.receive(&with_sdp(&request("ACK", 1, "a", &tag, "")));
    assert!(matches!(b.events.as_slice(), [Event::Confirmed { sdp: Some(_), .. }]));
    // And again inside the call.
    b.receive(&request("INVITE", 2, "i2", &tag, ""));
    assert!(matches!(b.events.as_slice(), [Event::Offer { sdp: None, .. }]));
    b.receive(&request("INVITE", 3, "i3", &tag, ""));
    assert_eq!(b.statuses(), [500]);
    b.ua.answer_offer(b.now, call, SDP).unwrap();
    b.drain();
    assert_eq!(b.statuses(), [200]);
    b.receive(&request("ACK", 1, "a9", &tag, ""));
    assert!(b.events.is_empty(), "the ACK of another INVITE");
    b.receive(&with_sdp(&request("ACK", 2, "a2", &tag, "")));
    assert!(matches!(b.events.as_slice(), [Event::Confirmed { sdp: Some(_), .. }]));
    // A target refresh takes effect.
    b.receive(
        &request("UPDATE", 4, "u", &tag, "")
            .replace("<sip:100@192.0.2.2>\r\n\r\n", "<sip:moved@192.0.2.2>\r\n\r\n"),
    );
    b.ua.hang_up(b.now, call, None).unwrap();
    b.drain();
    assert_eq!(b.sent[0].request_uri_text(), b"sip:moved@192.0.2.2");
    let bye = b.sent[0].clone();
    b.answer(&bye, 200, "", &[], false);
    b.nothing_left();
}

#[test]
fn a_cancelled_reinvite_leaves_the_call() {
    let mut b = Bench::new(Settings::default());
    let (call, tag) = answered(&mut b);
    b.receive(&with_sdp(&request("INVITE", 2, "i2", &tag, "")));
    assert!(matches!(b.events.as_slice(), [Event::Offer { .. }]));
    b.receive(&request("CANCEL", 2, "i2", &tag, ""));
    assert_eq!(b.statuses(), [200, 487]);
    assert!(b.ua.answer_offer(b.now, call, SDP).is_err());
    assert_eq!(b.ua.live_calls(), [call]);
    b.ua.hang_up(b.now, call, None).unwrap();
    b.nothing_left();
}

#[test]
fn forks_are_told_apart_and_extra_answers_ended() {
    let mut b = Bench::new(Settings::default());
    let (call, invite) = b.place();
    b.answer(&invite, 183, "one", &[CONTACT], true);
    assert!(matches!(b.events.as_slice(), [Event::Progress { fork: 0, sdp: Some(_), .. }]));
    b.answer(&invite, 180, "two", &[CONTACT], false);
    assert!(matches!(b.events.as_slice(), [Event::Progress { fork: 1, sdp: None, .. }]));
    b.answer(&invite, 183, "one", &[CONTACT], true);
    assert!(matches!(b.events.as_slice(), [Event::Progress { fork: 0, .. }]));
    b.answer(&invite, 200, "two", &[CONTACT], true);
    assert!(matches!(b.events.as_slice(), [Event::Answered { .. }]));
    assert_eq!(b.methods(), [Method::Ack]);
    b.answer(&invite, 200, "one", &[CONTACT], true);
    assert_eq!((b.methods(), b.events.len()), (vec![Method::Ack, Method::Bye], 0));
    assert_eq!(b.sent[1].to_tag(), b"one");
    let bye = b.sent[1].clone();
    b.answer(&bye, 200, "", &[], false);
    b.answer(&invite, 200, "one", &[CONTACT], true);
    assert_eq!(b.methods(), [Method::Ack], "confirmed again, not ended again");
    b.answer(&invite, 200, "two", &[CONTACT], true);
    assert_eq!((b.methods(), b.events.len()), (vec![Method::Ack], 0));
    assert_eq!(b.ua.live_calls(), [call]);
    b.ua.hang_up(b.now, call, None).unwrap();
    b.drain();
    assert_eq!(b.sent[0].to_tag(), b"two");
    b.nothing_left();
}

#[test]
fn odd_answers_to_an_invite() {
    // 200 without a tag, as RFC 2543 peers send.
    let mut b = Bench::new(Settings::default());
    let (_, invite) = b.place();
    b.answer(&invite, 200, "", &[CONTACT], true);
    assert!(matches!(b.events.as_slice(), [Event::Answered { .. }]));
    // 200 without Contact cannot be confirmed.
    let mut b = Bench::new(Settings::default());
    let (_, invite) = b.place();
    b.answer(&invite, 200, "t", &[], true);
    assert!(matches!(
        b.events.as_slice(),
        [Event::Ended { reason: EndReason::Refused { status: 502, .. }, .. }]
    ));
    b.nothing_left();
    // 401 after 100, without credentials.
    let mut b = Bench::new(Settings::default());
    let (_, invite) = b.place();
    b.answer(&invite, 100, "", &[], false);
    b.answer(&invite, 401, "t", &[("WWW-Authenticate", "Digest realm=\"r\",nonce=\"n\"")], false);
    assert_eq!(b.methods(), [Method::Ack]);
    assert!(matches!(b.events.as_slice(), [Event::Ended { reason: EndReason::AuthFailed, .. }]));
    b.nothing_left();
    // 422, and a response nobody asked for.
    let mut b = Bench::new(Settings::default());
    let (_, invite) = b.place();
    b.answer(&invite, 422, "t", &[("Min-SE", "1800")], false);
    assert!(matches!(
        b.events.as_slice(),
        [Event::Ended { reason: EndReason::Refused { status: 422, .. }, .. }]
    ));
    b.answer(&invite, 200, "t", &[CONTACT], true);
    assert!(b.sent.is_empty() && b.events.is_empty());
    b.nothing_left();
}

#[test]
fn a_silent_reinvite_does_not_hang_for_ever() {
    let mut b = Bench::new(Settings::default());
    let (call, _) = answered(&mut b);
    b.ua.offer(b.now, call, SDP).unwrap();
    b.drain();
    let reinvite = b.sent[0].clone();
    b.answer(&reinvite, 100, "", &[], false);
    b.pass(Duration::from_secs(33));
    assert!(matches!(b.events.as_slice(), [Event::Ended { reason: EndReason::Lost, .. }]));
    assert_eq!(b.methods().first(), Some(&Method::Bye));
    b.nothing_left();
}

#[test]
fn limits_are_answered_503() {
    let settings =
        Settings { calls_max: 2, busy_retry_after: Some(Duration::from_secs(7)), ..Settings::default() };
    let mut b = Bench::new(settings);
    for n in 0..3 {
        let text =
            request("INVITE", 1, &format!("i{n}"), "", "").replace("Call-ID: peer", &format!("Call-ID: {n}"));
        b.receive(&text);
        assert_eq!(b.statuses(), if n < 2 { vec![] } else { vec![503] });
    }
    assert_eq!(b.sent[0].number(HeaderName::RetryAfter), Some(7));
    assert!(b.ua.invite(b.now, invite_to(1, 2)).is_err());
    let mut b = Bench::new(Settings { transactions_max: 3, ..Settings::default() });
    for n in 0..5 {
        b.receive(
            &request("OPTIONS", 1, &format!("o{n}"), "", "")
                .replace("Call-ID: peer", &format!("Call-ID: {n}")),
        );
        assert_eq!(b.statuses(), [if n < 3 { 200 } else { 503 }]);
    }
    assert_eq!(b.ua.counters().overloaded, 2);
    b.nothing_left();
}

#[test]
fn a_challenged_bye_is_sent_again() {
    let mut b = Bench::new(Settings::default());
    let mut invite = invite_to(1, 2);
    invite.credentials =
        Some(tipring_sip::auth::Credentials { username: "u".into(), password: "p".into(), md5_only: false });
    let call = b.ua.invite(b.now, invite).unwrap();
    b.drain();
    let invite = b.sent[0].clone();
    b.answer(&invite, 200, "t", &[CONTACT], true);
    b.ua.hang_up(b.now, call, None).unwrap();
    b.drain();
    let bye = b.sent[0].clone();
    b.answer(&bye, 407, "t", &[("Proxy-Authenticate", "Digest realm=\"r\",nonce=\"n\",qop=\"auth\"")], false);
    assert_eq!(b.methods(), [Method::Bye]);
    assert!(b.sent[0].header(HeaderName::ProxyAuthorization).is_some());
    assert_eq!(b.sent[0].cseq(), bye.cseq() + 1);
    let bye = b.sent[0].clone();
    b.answer(&bye, 200, "t", &[], false);
    assert_eq!(b.ua.calls(), 0);
    b.nothing_left();
}

#[test]
fn probes() {
    let mut b = Bench::new(Settings::default());
    let target = "sip:192.0.2.2".parse().unwrap();
    b.ua.probe(b.now, hop(1, 2), &target).unwrap();
    b.drain();
    let options = b.sent[0].clone();
    b.answer(&options, 404, "t", &[], false);
    assert!(matches!(b.events.as_slice(), [Event::Probed { status: Some(404), .. }]));
    b.ua.probe(b.now, hop(1, 2), &target).unwrap();
    b.drain();
    b.pass(Duration::from_secs(33));
    assert!(matches!(b.events.as_slice(), [Event::Probed { status: None, .. }]));
    b.nothing_left();
}

#[test]
fn record_routes_come_back_as_routes() {
    let mut b = Bench::new(Settings::default());
    let call = b.incoming(&request("INVITE", 1, "i", "", "Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n"));
    b.ua.accept(b.now, call, SDP).unwrap();
    b.drain();
    let tag = String::from_utf8(b.sent[0].to_tag().to_vec()).unwrap();
    assert_eq!(b.sent[0].values(HeaderName::RecordRoute).count(), 2);
    b.receive(&request("ACK", 1, "a", &tag, ""));
    b.ua.hang_up(b.now, call, None).unwrap();
    b.drain();
    let routes: Vec<_> = b.sent[0].values(HeaderName::Route).collect();
    assert_eq!(routes, [&b"<sip:p1;lr>"[..], b"<sip:p2;lr>"]);
    b.nothing_left();
}
