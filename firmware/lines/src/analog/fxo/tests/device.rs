//! The plug, the battery and the device.

use super::{Deed, Fxo, line};
use crate::analog::contract::{HeardTone, Input};
use crate::analog::wire::Wire;
use crate::port::RxSignal;
use tipring_model::settings::RawValue;

/// Every point at which a line may be when something happens to it.
fn every_stage() -> Vec<(&'static str, Wire<Fxo>)> {
    let begin: [(&str, Deed); 10] = [
        ("rest", |_| {}),
        ("ringing", |t| {
            t.signal(RxSignal::RingOn);
            t.wait_ms(100);
        }),
        ("offered", |t| {
            t.ring("2000-4000");
            t.ring("2000-1000");
        }),
        ("clearing", |t| {
            t.ring("2000-1000");
            t.dial("911");
        }),
        ("looking", |t| {
            t.dial("5");
        }),
        ("seized", |t| {
            t.dial("5");
            t.wait_ms(300);
        }),
        ("dialling", |t| {
            t.dial("5");
            t.wait_ms(300);
            t.tone(HeardTone::Dial);
        }),
        ("supervising", |t| {
            t.dialled();
        }),
        ("talking", |t| {
            t.talk();
        }),
        ("guard", |t| {
            let leg = t.talk();
            t.release(leg, tipring_model::Cause::NormalClearing);
            t.dial("5");
        }),
    ];
    begin
        .into_iter()
        .map(|(name, begin)| {
            let mut t = line(&[]);
            begin(&mut t);
            t.said();
            (name, t)
        })
        .collect()
}

#[test]
fn a_device_that_goes_takes_every_leg_with_it_and_is_back_at_once() {
    for (stage, mut t) in every_stage() {
        t.give(Input::Gone);
        let said = t.said();
        assert_eq!(said.last().map(String::as_str), Some("down NoDevice"), "{stage}");
        assert!(t.legs().is_empty(), "{stage}");
        assert_eq!(t.machine.poll_timeout(), None, "{stage}");
        t.signal(RxSignal::RingOn);
        t.wait_ms(5_000);
        let leg = t.dial("5");
        assert!(!t.legs().contains(&leg), "{stage}");
        t.said();
        t.give(Input::Present);
        t.says(&["up", "listen caller-id"]);
        t.dialled();
        assert!(t.machine.is_off_hook(), "{stage}");
    }
}

#[test]
fn a_call_whose_device_goes_ends_with_cause_41_and_says_how_that_is_known() {
    let mut t = line(&[]);
    t.talk();
    t.give(Input::Gone);
    t.says(&["note o3.1 End(DeviceGone)", "part o3.1", "released o3.1 temporary-failure", "down NoDevice"]);
}

#[test]
fn a_plug_that_is_pulled_is_an_alarm_after_a_second_wherever_the_line_is() {
    for (stage, mut t) in every_stage() {
        t.signal(RxSignal::BatteryLost);
        t.wait_ms(1_000);
        assert!(t.said().contains(&"down Unplugged".to_owned()), "{stage}");
        assert!(t.legs().is_empty() && !t.machine.is_off_hook(), "{stage}");
        let leg = t.dial("5");
        assert!(!t.legs().contains(&leg), "{stage}");
        t.said();
        t.signal(RxSignal::BatteryBack);
        t.wait_ms(1_000);
        t.says(&["up"]);
    }
    let mut t = line(&[]);
    t.talk();
    t.signal(RxSignal::BatteryLost);
    t.wait_ms(999);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&[
        "note o3.1 End(BatteryLost)",
        "part o3.1",
        "signal on-hook",
        "released o3.1 network-out-of-order",
        "down Unplugged",
        "listen caller-id",
    ]);
}

#[test]
fn battery_that_flickers_is_no_alarm() {
    let mut t = line(&[]);
    for _ in 0..20 {
        t.signal(RxSignal::BatteryLost);
        t.wait_ms(900);
        t.signal(RxSignal::BatteryBack);
        t.wait_ms(100);
    }
    t.wait_ms(2_000);
    t.says(&[]);
}

#[test]
fn a_telephone_beside_the_box_keeps_the_line_until_it_is_put_down() {
    let mut t = line(&[]);
    t.signal(RxSignal::InUse(true));
    t.dial("5");
    t.says(&["released p1.1 no-circuit"]);
    t.wait_ms(1_000);
    t.says(&["down InUse"]);
    t.signal(RxSignal::InUse(false));
    t.wait_ms(1_000);
    t.says(&["up"]);
    // The box itself is no other telephone; one that stays off hook after the call is.
    let leg = t.talk();
    t.signal(RxSignal::InUse(true));
    t.wait_ms(5_000);
    t.says(&[]);
    t.release(leg, tipring_model::Cause::NormalClearing);
    t.said();
    t.wait_ms(1_000);
    t.says(&["down InUse"]);
}

#[test]
fn ten_thousand_calls_leave_nothing() {
    let mut t = line(&[("caller_id_rings", RawValue::Number(0))]);
    for n in 0..10_000 {
        if n % 2 == 0 {
            let leg = t.dial("5550100");
            t.wait_ms(n % 9 * 300);
            t.release(leg, tipring_model::Cause::Cancelled);
        } else {
            t.ring("500-500");
            t.answer(*t.offered.last().unwrap());
            t.wait_ms(n % 3);
            t.tone(HeardTone::Busy);
        }
        t.wait_ms(2_000);
        assert!(t.legs().is_empty() && !t.machine.is_off_hook());
        assert_eq!(t.machine.poll_timeout(), None);
        t.said();
    }
}
