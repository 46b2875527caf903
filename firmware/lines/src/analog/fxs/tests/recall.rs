//! The hook flash.

use tipring_model::{Cause, LegId};

use super::{Fxs, telephone, text, wire};
use crate::analog::contract::Input;
use crate::analog::country::{CountryPlan, Recall};
use crate::analog::wire::{Wire, offered};
use crate::port::RxSignal;
use tipring_model::settings::RawValue;

/// 202 is held, 203 has answered.
pub(super) fn two_parties(t: &mut Wire<Fxs>) -> (LegId, LegId) {
    let first = t.talk();
    t.flash();
    t.press("203#");
    let second = *t.offered.last().unwrap();
    t.answer(second);
    t.said();
    (first, second)
}

/// 202 is talked to, 5550100 waits.
fn a_waiting_call(t: &mut Wire<Fxs>) -> (LegId, LegId) {
    let first = t.talk();
    let second = t.place("5550100");
    t.said();
    (first, second)
}

fn european() -> Wire<Fxs> {
    let plan = CountryPlan { recall: Recall::Digit, flash_ms: 70..=130, ..CountryPlan::default() };
    wire(plan, &[])
}

fn recall(t: &mut Wire<Fxs>, digit: &str) {
    t.signal(RxSignal::Flash { ms: 100 });
    t.press(digit);
}

#[test]
fn a_flash_holds_and_a_second_number_is_dialled() {
    let mut t = telephone(&[]);
    t.talk();
    t.flash();
    t.says(&["part o3.1", "held o3.1", "sound recall", "listen digits"]);
    t.press("203#");
    t.says(&["sound quiet", "offered o3.2 from 201 to 203", "listen nothing"]);
    t.answer(offered(2));
    t.says(&["join o3.2", "answered o3.2 Signalled"]);
    // The second flash joins all three.
    t.flash();
    t.says(&["join o3.1", "taken o3.1"]);
    // The third drops who came last.
    t.flash();
    t.says(&["part o3.2", "released o3.2 normal-clearing"]);
    t.put_down();
    t.says(&["part o3.1", "released o3.1 normal-clearing"]);
}

#[test]
fn a_flash_while_the_second_number_is_dialled_or_rings_goes_back() {
    let mut t = telephone(&[]);
    t.talk();
    t.flash();
    t.press("2");
    t.said();
    t.flash();
    t.says(&["join o3.1", "taken o3.1", "listen nothing"]);
    t.flash();
    t.press("203#");
    t.alert(offered(2), false);
    t.said();
    t.flash();
    t.says(&["released o3.2 cancelled", "sound quiet", "join o3.1", "taken o3.1"]);
    t.end();
}

#[test]
fn whoever_is_held_is_taken_back_when_nothing_comes_of_the_second_call() {
    let mut t = telephone(&[]);
    t.talk();
    t.flash();
    t.said();
    t.wait_ms(16_000);
    t.says(&["sound quiet", "join o3.1", "taken o3.1", "listen nothing"]);
    t.flash();
    t.press("203#");
    t.said();
    t.release(offered(2), Cause::Busy);
    t.says(&["released o3.2 busy", "sound busy"]);
    t.wait_ms(4_999);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["sound quiet", "join o3.1", "taken o3.1"]);
    t.end();
}

#[test]
fn a_second_caller_beeps_and_is_told_and_a_flash_takes_him() {
    let mut t = telephone(&[]);
    let first = t.talk();
    let second = t.place("5550100");
    t.says(&["sound beep", "alerting p1.1"]);
    t.wait_ms(500);
    t.says(&["sound waiting-caller 5550100"]);
    t.give(Input::SoundEnded);
    t.wait_ms(10_000);
    t.says(&["sound beep"]);
    t.wait_ms(10_000);
    t.says(&["sound beep"]);
    // A third finds it busy.
    t.place("1");
    t.says(&["released p1.2 busy"]);
    t.flash();
    t.says(&["part o3.1", "held o3.1", "join p1.1", "answered p1.1 Signalled"]);
    t.wait_ms(20_000);
    t.says(&[]);
    // Whoever came second is changed with the first, not joined.
    t.flash();
    t.says(&["part p1.1", "held p1.1", "join o3.1", "taken o3.1"]);
    t.release(first, Cause::NormalClearing);
    t.says(&["part o3.1", "released o3.1 normal-clearing", "sound busy"]);
    t.wait_ms(5_000);
    t.says(&["sound quiet", "join p1.1", "taken p1.1"]);
    t.release(second, Cause::NormalClearing);
    t.end();
}

#[test]
fn a_waiting_caller_who_gives_up_is_heard_no_more() {
    let mut t = telephone(&[]);
    let (_, second) = a_waiting_call(&mut t);
    t.wait_ms(600);
    t.said();
    t.release(second, Cause::Cancelled);
    t.says(&["released p1.1 cancelled", "sound quiet"]);
    t.wait_ms(60_000);
    t.says(&[]);
    t.end();
}

#[test]
fn the_telephone_rings_for_whoever_waits_or_is_held_when_it_is_put_down() {
    let mut t = telephone(&[]);
    a_waiting_call(&mut t);
    t.put_down();
    t.says(&["part o3.1", "released o3.1 normal-clearing", "signal ring 2000-4000"]);
    t.lift();
    t.says(&["signal ring-off", "join p1.1", "answered p1.1 Signalled"]);
    t.end();

    let no_transfer = [("transfer", RawValue::Toggle(false))];
    let mut t = telephone(&no_transfer);
    two_parties(&mut t);
    t.wait_ms(2_000);
    t.put_down();
    t.says(&["part o3.2", "released o3.2 normal-clearing", "signal ring 2000-4000"]);
    t.wait_ms(59_999);
    t.says(&[]);
    t.lift();
    t.says(&["signal ring-off", "join o3.1", "taken o3.1"]);
    t.end();

    // Not for ever.
    let mut t = telephone(&no_transfer);
    two_parties(&mut t);
    t.wait_ms(2_000);
    t.put_down();
    t.said();
    t.wait_ms(60_000);
    t.says(&["released o3.1 recovery-on-timer", "signal ring-off"]);
}

#[test]
fn putting_down_right_after_a_flash_was_meant_so() {
    let mut t = telephone(&[]);
    t.talk();
    t.flash();
    t.said();
    t.wait_ms(1_999);
    t.put_down();
    t.says(&["released o3.1 normal-clearing", "sound quiet", "listen nothing"]);
}

#[test]
fn in_a_three_way_call_everybody_may_leave() {
    let mut t = telephone(&[("transfer", RawValue::Toggle(false))]);
    let (first, second) = two_parties(&mut t);
    t.flash();
    t.said();
    t.release(first, Cause::NormalClearing);
    t.says(&["part o3.1", "released o3.1 normal-clearing"]);
    t.release(second, Cause::NormalClearing);
    t.says(&["part o3.2", "released o3.2 normal-clearing", "sound busy"]);
    t.end();
    two_parties(&mut t);
    t.flash();
    t.said();
    t.put_down();
    let said = t.said();
    assert_eq!(said.iter().filter(|said| said.starts_with("released")).count(), 2, "{said:?}");
}

#[test]
fn only_openings_of_the_right_length_are_flashes() {
    for (ms, expected) in [
        (299, None),
        (300, Some("part o3.1")),
        (1_000, Some("part o3.1")),
        // Too long: put down and lifted again.
        (1_001, Some("part o3.1")),
    ] {
        let mut t = telephone(&[]);
        t.talk();
        t.signal(RxSignal::Flash { ms });
        let said = t.said();
        assert_eq!(said.first().map(String::as_str), expected, "{ms}");
        let hung_up = said.iter().any(|said| said.starts_with("released"));
        assert_eq!(hung_up, ms > 1_000, "{ms}: {said:?}");
        t.end();
    }
}

#[test]
fn a_flash_may_be_switched_off() {
    let mut t = telephone(&[("recall", text("off"))]);
    t.talk();
    t.flash();
    t.says(&[]);
    t.end();
}

#[test]
fn without_three_way_calls_the_second_flash_changes() {
    let mut t = telephone(&[("three_way", RawValue::Toggle(false))]);
    two_parties(&mut t);
    t.flash();
    t.says(&["part o3.2", "held o3.2", "join o3.1", "taken o3.1"]);
    t.end();
}

#[test]
fn the_european_digit_says_what_the_flash_meant() {
    // With one held and one talked to.
    for (digit, expected) in [
        ("0", vec!["released o3.1 normal-clearing", "sound quiet", "join o3.2", "taken o3.2"]),
        ("1", vec!["released o3.2 normal-clearing", "sound quiet", "join o3.1", "taken o3.1"]),
        ("2", vec!["sound quiet", "join o3.1", "taken o3.1"]),
        ("3", vec!["sound quiet", "join o3.2", "taken o3.2", "join o3.1", "taken o3.1"]),
        ("7", vec!["sound quiet", "join o3.2", "taken o3.2"]),
    ] {
        let mut t = european();
        t.talk();
        t.signal(RxSignal::Flash { ms: 100 });
        t.press("203#");
        t.answer(offered(2));
        t.said();
        t.signal(RxSignal::Flash { ms: 100 });
        t.says(&["part o3.2", "held o3.2", "sound recall", "listen digits"]);
        t.press(digit);
        let mut expected = expected;
        expected.push("listen nothing");
        t.says(&expected);
        t.end();
    }
}

#[test]
fn the_european_digit_serves_a_waiting_call() {
    for (digit, released, talking) in [
        ("0", Some("released p1.1 busy"), "o3.1"),
        ("1", Some("released o3.1 normal-clearing"), "p1.1"),
        ("2", None, "p1.1"),
        ("3", None, "o3.1"),
    ] {
        let mut t = european();
        a_waiting_call(&mut t);
        recall(&mut t, digit);
        let said = t.said();
        let gone = said.iter().find(|said| said.starts_with("released")).map(String::as_str);
        assert_eq!(gone, released, "{digit}");
        assert_eq!(said.iter().rfind(|said| said.starts_with("join")), Some(&format!("join {talking}")));
        t.end();
    }
}

#[test]
fn without_a_digit_all_is_as_before_the_flash() {
    let mut t = european();
    a_waiting_call(&mut t);
    t.signal(RxSignal::Flash { ms: 100 });
    t.said();
    t.wait_ms(2_999);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["sound quiet", "join o3.1", "taken o3.1", "sound beep", "listen nothing"]);
    t.end();
}

#[test]
fn a_european_three_way_call_can_be_taken_apart() {
    for (digit, expected) in [
        ("1", vec!["released o3.2 normal-clearing", "sound quiet", "join o3.1", "taken o3.1"]),
        ("2", vec!["sound quiet", "join o3.2", "taken o3.2"]),
        ("9", vec!["sound quiet", "join o3.1", "taken o3.1", "join o3.2", "taken o3.2"]),
    ] {
        let mut t = european();
        t.talk();
        t.signal(RxSignal::Flash { ms: 100 });
        t.press("203#");
        t.answer(offered(2));
        recall(&mut t, "3");
        t.said();
        t.signal(RxSignal::Flash { ms: 100 });
        t.said();
        t.press(digit);
        let mut expected = expected;
        expected.push("listen nothing");
        t.says(&expected);
        t.end();
    }
}

#[test]
fn whoever_leaves_while_a_digit_is_awaited_is_not_missed() {
    let mut t = european();
    let first = t.talk();
    t.signal(RxSignal::Flash { ms: 100 });
    t.press("203#");
    t.answer(offered(2));
    recall(&mut t, "3");
    t.signal(RxSignal::Flash { ms: 100 });
    t.said();
    t.release(first, Cause::NormalClearing);
    t.says(&["released o3.1 normal-clearing"]);
    t.wait_ms(3_000);
    t.says(&["sound quiet", "join o3.2", "taken o3.2", "listen nothing"]);
    // With the last of them the digit has no meaning.
    t.place("5550100");
    t.signal(RxSignal::Flash { ms: 100 });
    t.said();
    t.release(offered(2), Cause::NormalClearing);
    t.says(&["released o3.2 normal-clearing", "sound busy", "listen nothing"]);
    t.signal(RxSignal::Flash { ms: 100 });
    t.says(&["sound quiet", "join p1.1", "answered p1.1 Signalled"]);
    t.end();
}

#[test]
fn putting_down_after_a_timed_key_leaves_whoever_was_talked_to_and_rings_for_the_other() {
    let down_after = |t: &mut Wire<Fxs>, ms: u64| {
        t.signal(RxSignal::Flash { ms: 100 });
        t.wait_ms(ms);
        t.said();
        t.put_down();
    };
    // One party, who is held: the telephone is rung for it.
    let mut t = european();
    t.talk();
    down_after(&mut t, 500);
    t.says(&["sound quiet", "signal ring 2000-4000", "listen nothing"]);
    t.lift();
    t.says(&["signal ring-off", "join o3.1", "taken o3.1"]);
    t.end();
    // A receiver that jumps on its cradle makes an opening as long as the key's.
    let mut t = european();
    t.talk();
    down_after(&mut t, 499);
    t.says(&["released o3.1 normal-clearing", "sound quiet", "listen nothing"]);
    // Before the digit the key means nothing: as if it had not been pressed.
    for ms in [200, 1_000, 2_500] {
        let mut t = european();
        a_waiting_call(&mut t);
        down_after(&mut t, ms);
        assert_eq!(t.said()[..2], ["released o3.1 normal-clearing", "sound quiet"], "{ms}");
        t.lift();
        let said = t.said();
        assert!(said.contains(&"answered p1.1 Signalled".to_owned()), "{ms}: {said:?}");
        t.end();
        let plan = CountryPlan { recall: Recall::Digit, flash_ms: 70..=130, ..CountryPlan::default() };
        let mut t = wire(plan, &[("transfer", RawValue::Toggle(false))]);
        t.talk();
        t.signal(RxSignal::Flash { ms: 100 });
        t.press("203#");
        t.answer(offered(2));
        down_after(&mut t, ms);
        assert_eq!(t.said()[..2], ["released o3.2 normal-clearing", "sound quiet"], "{ms}");
        t.lift();
        assert!(t.said().contains(&"taken o3.1".to_owned()), "{ms}");
        recall(&mut t, "");
        t.press("203#");
        t.answer(offered(3));
        recall(&mut t, "3");
        down_after(&mut t, ms);
        assert!(t.legs().is_empty(), "{ms}");
        t.end();
    }
}
