//! Dial tone and digits.

use tipring_model::line::LineCommand;
use tipring_model::settings::RawValue;

use super::{telephone, text, wire};
use crate::analog::contract::Input;
use crate::analog::country::CountryPlan;
use crate::port::RxSignal;

#[test]
fn a_number_of_the_box_is_dialled_as_soon_as_it_is_complete() {
    let mut t = telephone(&[]);
    t.lift();
    t.says(&["sound dial", "listen digits"]);
    t.press("2");
    t.says(&["sound quiet"]);
    t.press("0");
    t.says(&[]);
    t.press("2");
    t.says(&["offered o3.1 from 201 to 202", "listen nothing"]);
    t.end();
}

#[test]
fn every_wait_for_a_digit_ends() {
    // Keys; how long until they are dialled, in ms; what is dialled.
    for (keys, wait_ms, to) in [
        ("203", 3_000, "203"),
        ("2030", 0, "2030"),
        ("203#", 0, "203"),
        ("5550", 8_000, "5550"),
        ("5550#", 0, "5550"),
        ("911", 0, "911"),
        ("#", 8_000, "#"),
        ("*98", 8_000, "*98"),
        (&"5".repeat(40), 0, &"5".repeat(40)),
    ] {
        let mut t = telephone(&[]);
        t.lift();
        t.said();
        t.press(keys);
        if wait_ms > 0 {
            t.said();
            t.wait_ms(wait_ms - 1);
            t.says(&[]);
            t.wait_ms(1);
        }
        let offered = format!("offered o3.1 from 201 to {to}");
        assert!(t.said().contains(&offered), "{keys}");
        t.end();
    }
}

#[test]
fn waits_come_from_the_settings_before_the_country() {
    let times = [("first_digit", text("4s")), ("between_digits", text("2s"))];
    let mut t = telephone(&times);
    t.lift();
    t.said();
    t.wait_ms(4_000);
    t.says(&["sound congestion", "listen nothing"]);
    t.put_down();
    t.lift();
    t.press("5");
    t.said();
    t.wait_ms(2_000);
    t.says(&["offered o3.1 from 201 to 5", "listen nothing"]);
    t.end();
}

#[test]
fn a_receiver_that_is_left_off_howls_and_falls_silent() {
    let mut t = telephone(&[]);
    t.lift();
    t.said();
    t.wait_ms(15_999);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["sound congestion", "listen nothing"]);
    t.wait_ms(29_999);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["sound howler"]);
    t.wait_ms(60_000);
    t.says(&["sound quiet"]);
    assert_eq!(t.machine.poll_timeout(), None);
    t.press("202");
    t.says(&[]);
    t.put_down();
    t.lift();
    t.says(&["sound dial", "listen digits"]);
    t.end();
}

#[test]
fn pulses_and_tones_dial_alike_unless_the_settings_say_otherwise() {
    for (dialling, by_tone, by_pulses) in
        [("both", true, true), ("tone", true, false), ("pulse", false, true)]
    {
        let mut t = telephone(&[("dialling", text(dialling))]);
        t.lift();
        t.press("202");
        assert_eq!(t.offered.len() == 1, by_tone, "{dialling}");
        t.end();
        let before = t.offered.len();
        t.lift();
        for digit in [2, 0, 2] {
            t.signal(RxSignal::Pulses(digit));
        }
        assert_eq!(t.offered.len() > before, by_pulses, "{dialling}");
        t.end();
    }
}

#[test]
fn an_emergency_call_leaves_at_once_from_every_dial_tone() {
    let mut t = telephone(&[("hotline", text("202")), ("hotline_after", text("5s"))]);
    t.lift();
    t.press("911");
    assert!(t.said().contains(&"offered o3.1 from 201 to 911".to_owned()));
    t.end();
    // Also after more calls than a telephone may begin.
    for _ in 0..30 {
        t.lift();
        t.press("202");
        t.put_down();
    }
    t.said();
    t.lift();
    t.press("202");
    t.says(&["sound dial", "listen digits", "sound quiet", "sound congestion", "listen nothing"]);
    t.put_down();
    t.lift();
    t.press("911");
    assert!(t.said().iter().any(|said| said.ends_with("to 911")));
    t.end();
    t.wait_ms(60_000);
    t.lift();
    t.press("202");
    assert!(t.said().iter().any(|said| said.ends_with("to 202")), "the limit is one of a minute");
    t.end();
}

#[test]
fn an_emergency_number_takes_the_place_of_a_hotline_that_has_not_answered() {
    let mut t = telephone(&[("hotline", text("203"))]);
    for keys in ["911", "29911", "99911"] {
        t.lift();
        t.said();
        t.press(keys);
        let said = t.said();
        assert!(said.iter().any(|said| said.ends_with("cancelled")), "{keys}: {said:?}");
        assert!(said.iter().any(|said| said.ends_with("to 911")), "{keys}: {said:?}");
        t.end();
    }
    // Pulses do it, too; other numbers do not, and nothing does once somebody has answered.
    t.lift();
    for pulses in [9, 1, 1] {
        t.signal(RxSignal::Pulses(pulses));
    }
    assert!(t.said().iter().any(|said| said.ends_with("to 911")));
    t.end();
    t.lift();
    t.said();
    t.press("202#");
    t.says(&[]);
    let leg = t.legs()[0];
    t.give(Input::Command(LineCommand::Answer { leg }));
    t.said();
    t.press("911");
    t.says(&[]);
    t.end();
    // An emergency number as the hotline is left alone.
    let mut t = telephone(&[("hotline", text("911"))]);
    t.lift();
    t.says(&["offered o3.1 from 201 to 911"]);
    t.end();
}

#[test]
fn a_hotline_dials_by_itself_at_once_or_after_a_while() {
    let mut t = telephone(&[("hotline", text("203"))]);
    t.lift();
    t.says(&["offered o3.1 from 201 to 203", "listen digits"]);
    t.end();
    let mut t = telephone(&[("hotline", text("203")), ("hotline_after", text("5s"))]);
    t.lift();
    t.says(&["sound dial", "listen digits"]);
    t.wait_ms(5_000);
    t.says(&["sound quiet", "offered o3.1 from 201 to 203", "listen nothing"]);
    t.end();
    t.lift();
    t.press("5");
    t.said();
    t.wait_ms(7_999);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["offered o3.2 from 201 to 5", "listen nothing"]);
    t.end();
}

#[test]
fn dial_tone_stutters_while_messages_wait_and_the_lamp_is_told() {
    let all = ["stutter", "fsk", "lamp"].map(str::to_owned).to_vec();
    let mut t = telephone(&[("messages", RawValue::List(all))]);
    t.give(Input::MessagesWaiting(true));
    t.says(&["signal lamp true"]);
    t.wait_ms(999);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["signal on-hook-audio", "sound message-lamp true"]);
    t.give(Input::SoundEnded);
    t.wait_ms(60_000);
    t.says(&[]);
    t.lift();
    t.says(&["sound stutter", "listen digits"]);
    t.give(Input::MessagesWaiting(false));
    t.says(&["signal lamp false"]);
    t.put_down();
    t.wait_ms(1_000);
    t.says(&["sound quiet", "listen nothing", "signal on-hook-audio", "sound message-lamp false"]);
    // Lifted before it was told to the end: it is told again.
    t.lift();
    t.says(&["sound dial", "listen digits"]);
    t.put_down();
    t.said();
    t.wait_ms(1_000);
    t.says(&["signal on-hook-audio", "sound message-lamp false"]);
    t.give(Input::SoundEnded);
    // The messages change while the lamp is told: it is not known what it shows.
    t.give(Input::MessagesWaiting(true));
    t.wait_ms(1_000);
    t.said();
    t.give(Input::MessagesWaiting(false));
    t.wait_ms(1_000);
    t.says(&["signal lamp false", "signal on-hook-audio", "sound message-lamp false"]);
    t.give(Input::SoundEnded);
    // A device that was gone has a dark lamp.
    t.give(Input::MessagesWaiting(true));
    t.wait_ms(1_000);
    t.give(Input::SoundEnded);
    t.said();
    t.give(Input::Gone);
    t.give(Input::Present);
    t.wait_ms(1_000);
    t.says(&["down NoDevice", "up", "signal lamp true", "signal on-hook-audio", "sound message-lamp true"]);
}

#[test]
fn patterns_of_the_country_and_of_the_settings_complete_a_number() {
    let plan = CountryPlan { numbers: vec!["1[2-9]xx".to_owned()], ..CountryPlan::default() };
    let mut t = wire(plan, &[("numbers", RawValue::List(vec!["*9x".to_owned()]))]);
    for keys in ["1234", "*98"] {
        t.lift();
        t.press(keys);
        assert!(t.said().iter().any(|said| said.ends_with(&format!("to {keys}"))), "{keys}");
        t.end();
    }
}
