//! Two phones call each other without a box between them.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use tipring_model::Digit;
use tipring_testkit::phone::{Answering, Law, Phone, PhoneEvent, PhoneSettings, compare, voice};

const LIMIT: Duration = Duration::from_secs(20);

/// The second phone is what the first takes for its box.
fn pair(law: Law, answering: Answering) -> (Phone, Phone) {
    let nowhere = "127.0.0.1:9".parse().unwrap();
    let called =
        Phone::start(PhoneSettings { answering, law, ..PhoneSettings::new("201", nowhere) }, None).unwrap();
    let settings = PhoneSettings { law, ..PhoneSettings::new("100", called.address()) };
    (Phone::start(settings, None).unwrap(), called)
}

#[test]
fn both_hear_each_other_and_a_key() {
    for law in [Law::Mu, Law::A] {
        let (caller, called) = pair(law, Answering::After(Duration::ZERO));
        let (asks, replies) = (voice::speech_like(1, 800), voice::speech_like(2, 800));
        caller.call("201");
        caller.wait_for(LIMIT, &PhoneEvent::Connected).unwrap();
        caller.say(&asks);
        called.say(&replies);
        caller.press("5");
        called.wait_for(LIMIT, &PhoneEvent::KeyHeard(Digit::D5)).unwrap();
        caller.wait_for(LIMIT, &PhoneEvent::AllSaid).unwrap();
        called.wait(LIMIT, |event| (*event == PhoneEvent::AllSaid).then_some(())).unwrap();
        // The last packets are on their way while the call ends; the key made a hole in the words.
        caller.hang_up();
        assert_eq!(called.wait_end(LIMIT).unwrap(), "hung up there");
        assert_eq!(caller.wait_end(LIMIT).unwrap(), "hung up here");
        let heard = compare::find(&replies[..4_000], &caller.heard().samples());
        assert!(heard.correlation > 0.99, "{law:?}: {heard:?}");
        let heard = compare::find_in_parts(&asks, &called.heard().samples(), 1_600, 2_000);
        assert!(heard.correlation > 0.9, "{law:?}: {heard:?}");
        assert_eq!(caller.heard().lost(), 0);
    }
}

#[test]
fn a_phone_answers_when_it_is_told_to_and_is_busy_meanwhile() {
    let (caller, called) = pair(Law::Mu, Answering::OnDemand);
    caller.call("201");
    let from =
        called.wait(
            LIMIT,
            |event| {
                if let PhoneEvent::Incoming { from } = event { Some(from.clone()) } else { None }
            },
        );
    assert_eq!(from.unwrap(), "100");
    caller.wait_for(LIMIT, &PhoneEvent::Progress(180)).unwrap();
    let third = Phone::start(PhoneSettings::new("300", called.address()), None).unwrap();
    third.call("201");
    assert_eq!(third.wait_end(LIMIT).unwrap(), "refused 486");
    called.answer();
    caller.wait_for(LIMIT, &PhoneEvent::Connected).unwrap();
    called.hang_up();
    assert_eq!(caller.wait_end(LIMIT).unwrap(), "hung up there");
}

#[test]
fn what_does_not_happen_is_not_waited_for_without_end() {
    let (caller, called) = pair(Law::Mu, Answering::OnDemand);
    caller.call("201");
    called.wait(LIMIT, |event| matches!(event, PhoneEvent::Incoming { .. }).then_some(())).unwrap();
    caller.hang_up();
    assert_eq!(called.wait_end(LIMIT).unwrap(), "cancelled");
    let waited = caller.wait_for(Duration::ZERO, &PhoneEvent::Connected).unwrap_err();
    assert_eq!(waited.user, "100");
}
