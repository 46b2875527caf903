//! A telephone (a script) subscribes at the box, and is told what is behind its lamps.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::time::{Duration, Instant};

use common::{SDP, hop, invite_to, origin};
use tipring_sip::auth::{Credentials, DigestClient, Secret};
use tipring_sip::lamps::{DialogDirection, DialogState, Lamp, LampDialog, MessageWaiting, TellWaiting};
use tipring_sip::message::{Message, Writer};
use tipring_sip::registrar::ExpiryLimits;
use tipring_sip::ua::{
    CommandError, Input, LAMPS_MAX, Output, Peer, PhoneAccount, PhoneSettings, SUBSCRIPTIONS_A_PHONE_MAX,
    Settings, UserAgent,
};
use tipring_sip::{HeaderName, Method};

const SECOND: Duration = Duration::from_secs(1);

/// The box, and everything that it has sent to the telephone at 192.0.2.1.
struct Office {
    now: Instant,
    ua: UserAgent,
    sent: Vec<Message>,
    requests: u32,
}

fn office() -> Office {
    let now = origin();
    let account = |username: &str| PhoneAccount {
        username: username.into(),
        secret: Secret::Password("correct horse".into()),
        md5: false,
    };
    let phones = PhoneSettings {
        realm: "tipring".into(),
        accounts: vec![account("201"), account("202")],
        expiry: ExpiryLimits::default(),
    };
    let settings = Settings { phones: Some(phones), ..Settings::default() };
    Office { now, ua: UserAgent::new(now, settings, [2; 32]), sent: Vec::new(), requests: 0 }
}

fn mailbox(new: u32) -> Vec<MessageWaiting> {
    vec![MessageWaiting { names: vec!["201".into(), "ann".into()], new, saved: 1 }]
}

fn busy(id: &str, state: DialogState) -> Lamp {
    let dialog = LampDialog {
        id: id.into(),
        ids: None,
        direction: Some(DialogDirection::Recipient),
        state,
        remote: Some((String::new(), "15550100".into())),
    };
    Lamp { reachable: true, dialogs: vec![dialog] }
}

impl Office {
    fn drain(&mut self) -> Vec<Message> {
        let mut new = Vec::new();
        while let Some(output) = self.ua.poll() {
            if let Output::Send { bytes, .. } = output {
                new.push(Message::from_frame(&bytes).expect("we send what we accept"));
            }
        }
        self.sent.extend(new.iter().cloned());
        new
    }

    fn give(&mut self, peer: Peer, from: u8, bytes: &[u8]) -> Vec<Message> {
        self.ua.handle(self.now, Input::Received { peer, hop: hop(2, from), bytes });
        self.drain()
    }

    /// Lets time pass; what is sent is not answered.
    fn pass(&mut self, time: Duration) -> Vec<Message> {
        let until = self.now + time;
        let mut new = Vec::new();
        while let Some(at) = self.ua.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.ua.handle(self.now, Input::Timeout);
            new.extend(self.drain());
        }
        self.now = until;
        new
    }

    /// Sends a request as the telephone would: again with a password if it is asked for one.
    fn ask(&mut self, method: &str, user: &str, headers: &str) -> Vec<Message> {
        self.ask_as("201", "correct horse", method, user, headers)
    }

    fn ask_as(
        &mut self,
        name: &str,
        password: &str,
        method: &str,
        user: &str,
        headers: &str,
    ) -> Vec<Message> {
        self.requests += 1;
        let number = self.requests;
        let text = |cseq: u32, authorization: &str| {
            format!(
                "{method} sip:{user}@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{number}x{cseq};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:{name}@192.0.2.2>;tag=phone\r\nTo: <sip:{name}@192.0.2.2>\r\n\
                 Call-ID: ask{number}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{name}@192.0.2.1>\r\n{headers}{authorization}\r\n"
            )
        };
        let first = self.give(Peer::Phone, 1, text(1, "").as_bytes());
        let challenge = first.iter().find(|m| m.status() == Some(401)).expect("a challenge");
        let mut digest = DigestClient::new(Credentials {
            username: name.into(),
            password: password.into(),
            md5_only: false,
        });
        digest.challenged(challenge).unwrap();
        let target = format!("sip:{user}@192.0.2.2");
        let lines: String = digest
            .authorize(method, &target, 7)
            .into_iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        self.give(Peer::Phone, 1, text(2, &lines).as_bytes())
    }

    /// Subscribes; what comes back is the 200 and the first NOTIFY.
    fn subscribe(&mut self, package: &str, user: &str, more: &str) -> (Message, Message) {
        let answers = self.ask("SUBSCRIBE", user, &format!("Event: {package}\r\n{more}"));
        let [ok, notify] = <[Message; 2]>::try_from(answers).expect("200 and NOTIFY");
        assert_eq!((ok.status(), notify.method()), (Some(200), Some(Method::Notify)));
        (ok, notify)
    }

    /// Answers a NOTIFY.
    fn answer(&mut self, notify: &Message, status: u16) -> Vec<Message> {
        let mut w = Writer::new();
        let bytes = w.response(notify, status, "Scripted", b"", common::address(2)).end().to_vec();
        self.give(Peer::Phone, 1, &bytes)
    }

    /// A SUBSCRIBE inside the subscription that `ok` has begun.
    fn again(&mut self, ok: &Message, cseq: u32, from: u8, headers: &str) -> Vec<Message> {
        let text = format!(
            "SUBSCRIBE sip:x@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.{from};branch=z9hG4bKagain{cseq}{from};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:201@192.0.2.2>;tag={}\r\nTo: <sip:201@192.0.2.2>;tag={}\r\nCall-ID: {}\r\n\
             CSeq: {cseq} SUBSCRIBE\r\nContact: <sip:201@192.0.2.{from}>\r\n{headers}\r\n",
            String::from_utf8_lossy(ok.from_tag()),
            String::from_utf8_lossy(ok.to_tag()),
            String::from_utf8_lossy(ok.call_id()),
        );
        self.give(Peer::Phone, from, text.as_bytes())
    }

    fn register(&mut self) -> Vec<Message> {
        let answers = self.ask("REGISTER", "box", "Expires: 600\r\n");
        assert_eq!(answers.first().and_then(Message::status), Some(200));
        answers.into_iter().skip(1).collect()
    }
}

fn body(message: &Message) -> String {
    String::from_utf8(message.body().to_vec()).unwrap()
}

fn state(message: &Message) -> String {
    String::from_utf8(message.header(HeaderName::SubscriptionState).unwrap().to_vec()).unwrap()
}

#[test]
fn a_mailbox_is_told_at_once_and_at_each_change_until_the_end() {
    let mut o = office();
    o.ua.set_message_waiting(o.now, "201", TellWaiting::Subscribed, mailbox(0));
    let (ok, notify) = o.subscribe("message-summary;id=4", "ann", "Expires: 99999\r\n");
    assert_eq!(ok.number(HeaderName::Expires), Some(3_600), "cut to an hour");
    assert_eq!(notify.header(HeaderName::Event), Some(&b"message-summary;id=4"[..]));
    assert_eq!(notify.content_type(), "application/simple-message-summary");
    assert!(
        body(&notify).contains("Messages-Waiting: no\r\n")
            && body(&notify).contains("Voice-Message: 0/1 (0/0)")
    );
    assert_eq!(state(&notify), "active;expires=3600");
    assert_eq!(notify.request_uri_text(), b"sip:201@192.0.2.1");
    assert!(o.answer(&notify, 200).is_empty());
    o.pass(10 * SECOND);
    o.ua.set_message_waiting(o.now, "201", TellWaiting::Subscribed, mailbox(2));
    let [told] = <[Message; 1]>::try_from(o.drain()).unwrap();
    assert!(body(&told).contains("Messages-Waiting: yes\r\n") && body(&told).contains("Voice-Message: 2/1"));
    assert!(told.cseq() > notify.cseq() && told.call_id() == notify.call_id());
    o.answer(&told, 200);

    let answers = o.again(&ok, 3, 1, "Event: message-summary;id=4\r\nExpires: 120\r\n");
    assert_eq!((answers[0].status(), answers[0].number(HeaderName::Expires)), (Some(200), Some(120)));
    let [refreshed] = <[Message; 1]>::try_from(o.pass(Duration::from_millis(600))).unwrap();
    assert_eq!(state(&refreshed), "active;expires=119", "paced, but told");
    o.answer(&refreshed, 200);
    let ended = o.pass(200 * SECOND);
    assert_eq!(state(&ended[0]), "terminated;reason=timeout");
    o.answer(&ended[0], 200);
    assert_eq!(o.ua.subscriptions(), 0);
    o.pass(64 * SECOND);
    assert_eq!((o.ua.timers(), o.ua.transactions()), (0, 0));
}

#[test]
fn leaving_is_answered_with_the_last_state() {
    let mut o = office();
    let (ok, notify) = o.subscribe("dialog", "202", "Expires: 60\r\nAccept: application/dialog-info+xml\r\n");
    o.answer(&notify, 200);
    let answers = o.again(&ok, 3, 1, "Event: dialog\r\nExpires: 0\r\n");
    assert_eq!((answers[0].status(), answers[0].number(HeaderName::Expires)), (Some(200), Some(0)));
    assert_eq!(state(&answers[1]), "terminated;reason=timeout");
    assert!(body(&answers[1]).contains("version=\"1\""));
    assert_eq!(o.ua.subscriptions(), 0);
    // Only to know, without a subscription.
    let (_, once) = o.subscribe("presence", "202", "Expires: 0\r\n");
    assert_eq!(state(&once), "terminated;reason=timeout");
    assert_eq!(o.ua.subscriptions(), 0);
}

#[test]
fn what_cannot_be_had_is_refused_and_leaves_nothing() {
    let mut o = office();
    o.ua.set_message_waiting(o.now, "201", TellWaiting::Auto, mailbox(0));
    o.ua.set_message_waiting(o.now, "202", TellWaiting::Never, mailbox(0));
    for (user, headers, status) in [
        ("201", "Event: conference\r\n", 489),
        ("201", "", 489),
        ("201", "Event: message-summary\r\nExpires: 59\r\n", 423),
        ("201", "Event: message-summary\r\nAccept: text/plain\r\n", 406),
        ("999", "Event: message-summary\r\n", 404),
        ("a%20b", "Event: dialog\r\n", 404),
        ("201", "Event: dialog\r\nRequire: eventlist\r\n", 420),
    ] {
        let answers = o.ask("SUBSCRIBE", user, headers);
        assert_eq!(answers.len(), 1, "{headers}");
        assert_eq!(answers[0].status(), Some(status), "{headers}");
        if status == 489 {
            let packages = answers[0].header(HeaderName::AllowEvents).unwrap();
            assert_eq!(packages, b"message-summary, dialog, presence");
        }
        if status == 423 {
            assert_eq!(answers[0].number(HeaderName::MinExpires), Some(60));
        }
    }
    let another = o.ask_as("202", "correct horse", "SUBSCRIBE", "201", "Event: message-summary\r\n");
    assert_eq!(another[0].status(), Some(404), "somebody else's mailbox, or one that is never told");
    let wrong = o.ask_as("201", "guess", "SUBSCRIBE", "201", "Event: message-summary\r\n");
    assert_eq!(wrong[0].status(), Some(401));
    assert_eq!(o.ua.subscriptions(), 0);
    o.pass(64 * SECOND);
    assert_eq!((o.ua.timers(), o.ua.transactions()), (0, 0));
}

#[test]
fn a_storm_of_calls_is_two_notifies_a_second_and_the_last_word_is_right() {
    let mut o = office();
    let (_, first) = o.subscribe("dialog", "202", "");
    o.answer(&first, 200);
    o.pass(SECOND);
    let mut notifies = 0;
    let mut last = None;
    for n in 0..1_000u32 {
        let state = if n % 2 == 0 { DialogState::Early } else { DialogState::Confirmed };
        o.ua.set_lamp(o.now, "202", busy(&n.to_string(), state)).unwrap();
        let mut new = o.drain();
        new.extend(o.pass(Duration::from_millis(10)));
        for notify in new.into_iter().filter(|m| m.method() == Some(Method::Notify)) {
            notifies += 1;
            o.answer(&notify, 200);
            last = Some(notify);
        }
    }
    assert!((20..=21).contains(&notifies), "{notifies} in ten seconds");
    let rest = o.pass(SECOND);
    let last = rest.last().or(last.as_ref()).unwrap();
    assert!(body(last).contains("<dialog id=\"999\""), "{}", body(last));
    let versions: Vec<u32> = o
        .sent
        .iter()
        .filter(|m| m.method() == Some(Method::Notify))
        .map(|m| body(m).split("version=\"").nth(2).unwrap().split('"').next().unwrap().parse().unwrap())
        .collect();
    assert!(versions.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{versions:?}");
}

#[test]
fn a_telephone_that_is_silent_costs_one_transaction() {
    let mut o = office();
    o.subscribe("dialog", "202", "");
    for n in 0..100u32 {
        o.ua.set_lamp(o.now, "202", busy(&n.to_string(), DialogState::Early)).unwrap();
        o.pass(Duration::from_millis(100));
    }
    let different: std::collections::BTreeSet<u32> =
        o.sent.iter().filter(|m| m.method() == Some(Method::Notify)).map(Message::cseq).collect();
    assert_eq!(different.len(), 1, "one, sent again and again");
    o.pass(32 * SECOND);
    assert_eq!(o.ua.subscriptions(), 0, "forgotten after 64*T1");
}

#[test]
fn refusals_end_it_and_a_short_illness_does_not() {
    for (status, alive) in [(481, 0), (405, 0), (401, 0), (603, 0), (503, 1), (202, 1)] {
        let mut o = office();
        let (_, notify) = o.subscribe("dialog", "202", "");
        o.answer(&notify, status);
        assert_eq!(o.ua.subscriptions(), alive, "{status}");
    }
}

#[test]
fn another_address_or_an_old_number_changes_nothing() {
    let mut o = office();
    let (ok, notify) = o.subscribe("dialog", "202", "");
    o.answer(&notify, 200);
    let stranger = o.again(&ok, 9, 66, "Event: dialog\r\nExpires: 0\r\n");
    assert_eq!(stranger[0].status(), Some(481));
    let old = o.again(&ok, 1, 1, "Event: dialog\r\nExpires: 0\r\n");
    assert_eq!(old[0].status(), Some(500));
    let other = o.again(&ok, 10, 1, "Event: presence\r\nExpires: 0\r\n");
    assert_eq!(other[0].status(), Some(481));
    assert_eq!(o.ua.subscriptions(), 1);
}

#[test]
fn one_telephone_does_not_take_all_and_one_that_starts_anew_takes_its_own() {
    let mut o = office();
    for n in 0..SUBSCRIPTIONS_A_PHONE_MAX {
        o.subscribe("dialog", &n.to_string(), "");
    }
    let one_more = o.ask("SUBSCRIBE", "one-more", "Event: dialog\r\n");
    assert_eq!(one_more[0].status(), Some(403));
    o.subscribe("dialog", "7", "");
    assert_eq!(o.ua.subscriptions(), SUBSCRIPTIONS_A_PHONE_MAX, "the old one is replaced");
    for n in 0..LAMPS_MAX {
        o.ua.set_lamp(o.now, &format!("l{n}"), busy("1", DialogState::Early)).unwrap();
    }
    assert_eq!(o.ua.set_lamp(o.now, "more", busy("1", DialogState::Early)), Err(CommandError::Full));
    o.ua.set_lamp(o.now, "l0", Lamp::default()).unwrap();
    o.ua.set_lamp(o.now, "more", busy("1", DialogState::Early)).unwrap();
}

#[test]
fn a_telephone_that_does_not_ask_is_told_all_the_same() {
    for (tell, asks, told) in [
        (TellWaiting::Auto, false, true),
        (TellWaiting::Auto, true, false),
        (TellWaiting::Always, true, true),
        (TellWaiting::Subscribed, false, false),
        (TellWaiting::Never, false, false),
    ] {
        let mut o = office();
        o.ua.set_message_waiting(o.now, "201", tell, mailbox(1));
        if asks {
            let (_, notify) = o.subscribe("message-summary", "201", "");
            o.answer(&notify, 200);
        }
        let unasked: Vec<Message> =
            o.register().into_iter().filter(|m| m.method() == Some(Method::Notify)).collect();
        assert_eq!(unasked.len(), usize::from(told), "{tell:?} {asks}");
        let Some(notify) = unasked.first() else { continue };
        assert_eq!(notify.request_uri_text(), b"sip:201@192.0.2.1");
        assert!(body(notify).contains("Voice-Message: 1/1"));
        // A refusal does no harm; the next change is told again.
        o.answer(notify, 489);
        o.pass(SECOND);
        o.ua.set_message_waiting(o.now, "201", tell, mailbox(0));
        let changed = o.drain();
        let unasked = changed.iter().filter(|m| m.to_tag().is_empty()).count();
        assert_eq!(unasked, 1, "{tell:?}");
    }
}

#[test]
fn contacts_that_are_gone_bound_what_waits() {
    let mut o = office();
    o.ua.set_message_waiting(o.now, "201", TellWaiting::Auto, mailbox(1));
    o.register();
    for n in 0..200 {
        o.ua.set_message_waiting(o.now, "201", TellWaiting::Auto, mailbox(n));
        o.pass(Duration::from_millis(100));
    }
    assert!(o.ua.transactions() <= 17, "{}", o.ua.transactions());
    o.pass(100 * SECOND);
    assert_eq!(o.ua.transactions(), 0);
}

#[test]
fn the_names_of_a_call_are_those_of_the_wire() {
    let mut p = common::Pair::new();
    let caller = p.a.ua.invite(p.now, invite_to(1, 2)).unwrap();
    let before = p.a.ua.ids_of(caller).unwrap();
    assert!(before.theirs.is_empty() && !before.call_id.is_empty());
    p.run_ms(50);
    let callee = p.offered();
    p.b.ua.ring(p.now, callee, None).unwrap();
    p.run_ms(50);
    let (a, b) = (p.a.ua.ids_of(caller).unwrap(), p.b.ua.ids_of(callee).unwrap());
    assert_eq!((&a.call_id, &a.ours, &a.theirs), (&b.call_id, &b.theirs, &b.ours));
    assert_eq!(a.ours, before.ours);
    p.b.ua.accept(p.now, callee, SDP).unwrap();
    p.run_ms(50);
    assert_eq!(p.a.ua.ids_of(caller).unwrap(), a);
}
