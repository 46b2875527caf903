//! Calls that the telephone makes, and how they end.

use tipring_model::settings::RawValue;
use tipring_model::{Cause, LegId};

use super::{telephone, text};
use crate::analog::contract::Input;
use crate::analog::wire::offered;
use crate::port::RxSignal;

#[test]
fn ring_back_is_the_machines_own_and_ends_with_the_answer() {
    let mut t = telephone(&[]);
    t.lift();
    t.press("202");
    t.said();
    t.alert(offered(1), false);
    t.says(&["sound ringback"]);
    t.alert(offered(1), false);
    t.says(&[]);
    t.answer(offered(1));
    t.says(&["sound quiet", "join o3.1", "answered o3.1 Signalled"]);
    t.answer(offered(1));
    t.says(&[]);
    t.put_down();
    t.says(&["part o3.1", "released o3.1 normal-clearing"]);
}

#[test]
fn sound_before_the_answer_is_the_calls() {
    let mut t = telephone(&[]);
    t.lift();
    t.press("202");
    t.alert(offered(1), false);
    t.said();
    t.alert(offered(1), true);
    t.says(&["sound quiet", "join o3.1"]);
    t.alert(offered(1), true);
    t.alert(offered(1), false);
    t.says(&[]);
    t.answer(offered(1));
    t.says(&["answered o3.1 Signalled"]);
    t.end();
}

#[test]
fn a_caller_who_gives_up_cancels() {
    let mut t = telephone(&[]);
    t.lift();
    t.press("202");
    t.said();
    t.put_down();
    t.says(&["released o3.1 cancelled"]);
}

#[test]
fn what_is_heard_says_why_it_is_over() {
    for (answered, cause, tone) in [
        (false, Cause::Busy, "sound busy"),
        (false, Cause::Unallocated, "sound congestion"),
        (false, Cause::NoCircuit, "sound congestion"),
        (false, Cause::NoAnswer, "sound congestion"),
        (true, Cause::NormalClearing, "sound busy"),
        (true, Cause::NetworkOutOfOrder, "sound busy"),
    ] {
        let mut t = telephone(&[]);
        t.lift();
        t.press("202");
        if answered {
            t.answer(offered(1));
        }
        t.said();
        t.release(offered(1), cause);
        assert_eq!(t.said().last().map(String::as_str), Some(tone), "{answered} {cause}");
        t.wait_ms(30_000);
        t.says(&["sound howler"]);
        t.end();
    }
}

#[test]
fn the_loop_is_broken_when_the_far_end_hangs_up_if_that_is_wanted() {
    let mut t = telephone(&[("loop_break", text("500ms"))]);
    let leg = t.talk();
    t.release(leg, Cause::NormalClearing);
    t.says(&["part o3.1", "released o3.1 normal-clearing", "signal drop-battery 500"]);
    // A receiver that is up looks put down without battery.
    t.signal(RxSignal::OnHook);
    t.wait_ms(500);
    t.signal(RxSignal::OffHook);
    t.wait_ms(299);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["sound busy"]);
    t.end();
    // One that stays down is down.
    let leg = t.talk();
    t.release(leg, Cause::NormalClearing);
    t.signal(RxSignal::OnHook);
    t.said();
    t.wait_ms(800);
    t.says(&[]);
    assert!(!t.machine.is_off_hook());
    t.wait_ms(5_000);
    t.place("1");
    t.says(&["signal ring 2000-4000", "alerting p1.1"]);
    t.end();
}

#[test]
fn the_battery_is_reversed_while_a_call_is_answered_if_that_is_wanted() {
    let mut t = telephone(&[("reversal", RawValue::Toggle(true))]);
    t.lift();
    t.press("202");
    t.said();
    t.answer(offered(1));
    t.says(&["join o3.1", "answered o3.1 Signalled", "signal reverse true"]);
    t.release(offered(1), Cause::NormalClearing);
    t.says(&["part o3.1", "released o3.1 normal-clearing", "sound busy", "signal reverse false"]);
    t.end();
    // Not for a call that came.
    t.place("1");
    t.lift();
    assert!(!t.said().iter().any(|said| said.starts_with("signal reverse")));
    t.end();
}

#[test]
fn pulses_in_a_call_are_digits_of_the_line() {
    let mut t = telephone(&[]);
    t.talk();
    t.signal(RxSignal::Pulses(0));
    t.says(&["digit o3.1 0"]);
    t.signal(RxSignal::Pulses(10));
    // Tones are sound, which the legs hear.
    t.press("5");
    t.says(&[]);
    t.end();
}

#[test]
fn commands_for_legs_that_are_not_there_do_nothing() {
    let mut t = telephone(&[]);
    let leg = LegId::placed(9, 9);
    t.answer(leg);
    t.release(leg, Cause::Busy);
    t.alert(leg, true);
    t.says(&[]);
    let leg = t.talk();
    t.give(Input::Command(tipring_model::line::LineCommand::Flash { leg }));
    t.says(&[]);
    t.release(leg, Cause::Busy);
    t.said();
    t.release(leg, Cause::Busy);
    t.says(&[]);
    t.end();
}

#[test]
fn lifting_and_putting_down_ten_thousand_times_leaves_nothing() {
    let mut t = telephone(&[("hotline", text("202"))]);
    for n in 0..10_000_u64 {
        t.lift();
        t.wait_ms(n % 7);
        t.put_down();
        t.wait_ms(n % 3);
        assert!(t.legs().is_empty());
        t.said();
    }
    assert_eq!(t.machine.poll_timeout(), None);
    // A minute holds so many calls.
    assert!(t.offered.len() <= 40, "{} calls", t.offered.len());
}
