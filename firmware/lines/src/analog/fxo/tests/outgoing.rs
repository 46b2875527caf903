//! The line is taken and a number dialled.

use tipring_model::Cause;
use tipring_model::settings::RawValue;

use super::{line, text, wire};
use crate::analog::contract::{CallerIdStandard, Heard, HeardTone, Input};
use crate::analog::country::CountryPlan;
use crate::port::RxSignal;

#[test]
fn the_line_is_looked_at_taken_and_dialled_when_dial_tone_is_heard() {
    let mut t = line(&[]);
    t.dial("5550100");
    t.wait_ms(299);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["signal off-hook", "listen tones"]);
    t.tone(HeardTone::Dial);
    t.says(&["sound digits 5550100", "listen nothing"]);
    t.give(Input::SoundEnded);
    t.says(&["join p1.1", "alerting p1.1 early", "listen tones+voice"]);
}

#[test]
fn without_dial_tone_it_dials_in_any_case_or_not() {
    let mut t = line(&[]);
    t.dial("5550100");
    t.wait_ms(300);
    t.said();
    t.wait_ms(2_999);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["sound digits 5550100", "listen nothing"]);
    let mut t = line(&[("dials_without_tone", RawValue::Toggle(false)), ("dial_tone", text("5s"))]);
    t.dial("5550100");
    t.wait_ms(300);
    t.said();
    t.wait_ms(5_000);
    t.says(&["signal on-hook", "released p1.1 no-circuit", "listen caller-id"]);
}

#[test]
fn an_exchange_that_has_no_room_is_left() {
    for tone in [HeardTone::Busy, HeardTone::Congestion, HeardTone::Information] {
        let mut t = line(&[]);
        t.dial("5550100");
        t.wait_ms(300);
        t.said();
        t.tone(tone);
        t.says(&["signal on-hook", "released p1.1 no-circuit", "listen caller-id"]);
    }
}

#[test]
fn ringing_wins_over_a_call_that_is_about_to_be_placed() {
    let mut t = line(&[("caller_id_rings", RawValue::Number(0))]);
    t.dial("5550100");
    t.wait_ms(250);
    t.signal(RxSignal::RingOn);
    t.wait_ms(64);
    t.says(&["released p1.1 no-circuit", "offered o3.1 from anonymous to 5550199"]);
    // A number that is told before the ring says the same.
    let mut t = line(&[]);
    t.dial("5550100");
    t.wait_ms(100);
    t.caller(CallerIdStandard::Etsi, "5550111");
    t.wait_ms(200);
    t.says(&["released p1.1 no-circuit"]);
    t.dial("5550100");
    t.says(&["released p1.2 no-circuit"]);
}

#[test]
fn a_scratch_while_the_line_is_looked_at_costs_only_time() {
    let mut t = line(&[]);
    t.dial("5550100");
    t.wait_ms(280);
    t.signal(RxSignal::RingOn);
    t.wait_ms(30);
    t.signal(RxSignal::RingOff);
    t.says(&[]);
    t.wait_ms(290);
    t.says(&["signal off-hook", "listen tones"]);
    // One scratch after the other: it is given up.
    let mut t = line(&[]);
    t.dial("5550100");
    t.wait_ms(20);
    for _ in 0..7 {
        t.wait_ms(270);
        t.signal(RxSignal::RingOn);
        t.wait_ms(30);
        t.signal(RxSignal::RingOff);
    }
    t.says(&["released p1.1 no-circuit"]);
}

#[test]
fn a_line_that_is_taken_takes_no_second_call() {
    let mut t = line(&[]);
    let first = t.dialled();
    t.dial("5550111");
    t.says(&["released p1.2 no-circuit"]);
    assert_eq!(t.legs(), [first]);
}

#[test]
fn what_cannot_be_dialled_is_refused_before_the_line_is_taken() {
    let mut t = line(&[]);
    for (to, leg) in [("ann", "p1.1"), ("", "p1.2"), ("+", "p1.3")] {
        t.dial(to);
        t.says(&[&format!("released {leg} invalid-number")]);
    }
    assert_eq!(t.machine.poll_timeout(), None);
}

#[test]
fn prefix_pause_and_plus_are_dialled_step_by_step() {
    let mut t = line(&[("prefix", text("9,"))]);
    t.dial("+442079460000");
    t.wait_ms(300);
    t.tone(HeardTone::Dial);
    t.said();
    t.give(Input::SoundEnded);
    t.says(&[]);
    // A sound that ends in the pause is none of its own.
    t.give(Input::SoundEnded);
    t.wait_ms(1_999);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["sound digits 011442079460000"]);
    t.give(Input::SoundEnded);
    t.says(&["join p1.1", "alerting p1.1 early", "listen tones+voice"]);
    // An emergency number has no prefix.
    let mut t = line(&[("prefix", text("9,"))]);
    t.dial("911");
    t.wait_ms(300);
    t.tone(HeardTone::Dial);
    assert!(t.said().contains(&"sound digits 911".to_owned()));
}

#[test]
fn pulses_are_dialled_one_digit_after_the_other() {
    let mut t = line(&[("dialling", text("pulse"))]);
    t.dial("103");
    t.wait_ms(300);
    t.tone(HeardTone::Dial);
    t.says(&["signal off-hook", "listen tones", "signal pulses 1", "listen nothing"]);
    t.wait_ms(850);
    t.says(&["signal pulses 0"]);
    // What the pulses do to the loop is no end.
    t.signal(RxSignal::LoopBreak { ms: 100 });
    t.wait_ms(1_749);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["signal pulses 3"]);
    t.wait_ms(1_050);
    t.says(&["join p1.1", "alerting p1.1 early", "listen tones+voice"]);
}

#[test]
fn tones_that_do_not_end_do_not_hold_up_the_call() {
    let mut t = line(&[]);
    t.dial("12345");
    t.wait_ms(300);
    t.tone(HeardTone::Dial);
    t.said();
    t.wait_ms(4_000);
    t.says(&["sound quiet", "join p1.1", "alerting p1.1 early", "listen tones+voice"]);
}

#[test]
fn the_line_rests_between_two_calls() {
    let mut t = line(&[("guard", text("2s"))]);
    let leg = t.dialled();
    t.release(leg, Cause::NormalClearing);
    t.said();
    t.wait_ms(500);
    t.dial("5550111");
    t.wait_ms(1_799);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["signal off-hook", "listen tones"]);
    // It can be given up while it waits, and rung.
    t.release(t.legs()[0], Cause::Cancelled);
    t.said();
    let leg = t.dial("5550111");
    t.release(leg, Cause::Cancelled);
    t.says(&["released p1.3 cancelled"]);
    t.dial("5550111");
    t.ring("2000-200");
    t.says(&["released p1.4 no-circuit"]);
}

#[test]
fn a_leg_is_given_up_at_every_point() {
    for wait_ms in [0, 200, 300, 1_000, 3_300, 5_000] {
        let mut t = line(&[]);
        let leg = t.dial("5550100");
        t.wait_ms(wait_ms);
        t.release(leg, Cause::Cancelled);
        assert!(t.said().contains(&"released p1.1 cancelled".to_owned()), "{wait_ms}");
        assert!(!t.machine.is_off_hook());
        t.wait_ms(2_000);
        assert_eq!(t.machine.poll_timeout(), None);
    }
}

#[test]
fn digits_and_a_flash_are_sent_to_the_exchange() {
    let plan = CountryPlan { flash_sent_ms: 100, ..CountryPlan::default() };
    let mut t = wire(plan, &[]);
    let leg = t.talk();
    let digits = tipring_model::Digits::parse("12#").unwrap();
    let send = tipring_model::line::LineCommand::SendDigits { leg, digits };
    t.give(Input::Command(send.clone()));
    t.says(&["sound digits 12#"]);
    t.give(Input::Command(send));
    t.says(&[]);
    t.give(Input::SoundEnded);
    t.says(&["sound digits 12#"]);
    t.give(Input::SoundEnded);
    t.give(Input::Command(tipring_model::line::LineCommand::Flash { leg }));
    t.says(&["signal flash 100"]);
    // What the flash does to the loop and brings back as dial tone ends nothing.
    t.signal(RxSignal::LoopBreak { ms: 100 });
    t.wait_ms(500);
    t.tone(HeardTone::Dial);
    t.says(&[]);
    t.wait_ms(20_000);
    t.tone(HeardTone::Dial);
    assert!(t.said().contains(&"released o3.1 normal-clearing".to_owned()));
}

#[test]
fn an_emergency_call_takes_the_line_from_every_other_one() {
    // In a call.
    let mut t = line(&[("prefix", text("9"))]);
    t.talk();
    t.dial("911");
    t.says(&["sound preemption"]);
    t.wait_ms(499);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&[
        "note o3.1 End(EmergencyCall)",
        "sound quiet",
        "part o3.1",
        "signal on-hook",
        "released o3.1 preempted",
        "listen caller-id",
    ]);
    t.wait_ms(1_500 + 300);
    t.says(&["signal off-hook", "listen tones"]);
    t.tone(HeardTone::Dial);
    t.says(&["sound digits 911", "listen nothing"]);
    // A second emergency call does not break off the first, and no other call does.
    t.dial("911");
    t.dial("5550100");
    t.says(&["released p1.2 no-circuit", "released p1.3 no-circuit"]);
    // While another call looks at the line.
    let mut t = line(&[]);
    t.dial("5550100");
    t.wait_ms(100);
    t.dial("911");
    t.says(&["note p1.1 End(EmergencyCall)", "released p1.1 preempted"]);
    t.wait_ms(300);
    t.says(&["signal off-hook", "listen tones"]);
    // While another call dials: nobody hears anything yet.
    let mut t = line(&[]);
    t.dial("5550100");
    t.wait_ms(300);
    t.tone(HeardTone::Dial);
    t.said();
    t.dial("911");
    t.says(&[
        "note p1.1 End(EmergencyCall)",
        "sound quiet",
        "signal on-hook",
        "released p1.1 preempted",
        "listen caller-id",
    ]);
}

#[test]
fn whoever_hears_that_an_emergency_call_needs_the_line_may_keep_it_or_go() {
    // The emergency call is given up at once.
    let mut t = line(&[]);
    let leg = t.talk();
    let emergency = t.dial("911");
    t.wait_ms(200);
    t.said();
    t.release(emergency, Cause::Cancelled);
    t.says(&["sound quiet", "released p1.1 cancelled"]);
    t.wait_ms(5_000);
    assert_eq!((t.legs(), t.machine.is_off_hook()), (vec![leg], true));
    // The far end of a call that is not answered yet is busy at that moment.
    let mut t = line(&[]);
    t.dialled();
    t.dial("911");
    t.dial("5550111");
    t.says(&["sound preemption", "released p1.3 no-circuit"]);
    t.tone(HeardTone::Busy);
    t.said();
    t.wait_ms(1_500 + 300);
    t.tone(HeardTone::Dial);
    assert!(t.said().contains(&"sound digits 911".to_owned()));
    // Keys and a flash of the call that goes are not sent.
    let mut t = line(&[]);
    let leg = t.talk();
    t.dial("911");
    t.said();
    let digits = tipring_model::Digits::parse("12").unwrap();
    t.give(Input::Command(tipring_model::line::LineCommand::SendDigits { leg, digits }));
    t.give(Input::Command(tipring_model::line::LineCommand::Flash { leg }));
    t.says(&[]);
    // The device goes.
    t.give(Input::Gone);
    let said = t.said();
    for released in ["released o3.1 temporary-failure", "released p1.1 no-circuit"] {
        assert!(said.contains(&released.to_owned()), "{said:?}");
    }
}

#[test]
fn an_emergency_call_is_tried_whatever_the_line_looks_like() {
    for (signal, told) in [(RxSignal::InUse(true), "down InUse"), (RxSignal::BatteryLost, "down Unplugged")] {
        let mut t = line(&[("dials_without_tone", RawValue::Toggle(false))]);
        t.signal(signal);
        t.wait_ms(1_000);
        t.says(&[told]);
        t.dial("5550100");
        t.says(&["released p1.1 no-circuit"]);
        t.dial("911");
        t.wait_ms(300);
        t.says(&["signal off-hook", "listen tones"]);
        t.wait_ms(3_000);
        t.says(&["sound digits 911", "listen nothing"]);
    }
}

#[test]
fn an_emergency_call_clears_a_call_that_rings_out_of_its_way() {
    let mut t = line(&[("caller_id_rings", RawValue::Number(0))]);
    t.ring("2000-1000");
    t.said();
    t.dial("911");
    t.says(&["note o3.1 End(EmergencyCall)", "released o3.1 preempted", "signal off-hook", "listen nothing"]);
    t.wait_ms(1_000);
    t.says(&["signal on-hook", "listen caller-id"]);
    t.wait_ms(1_500 + 300);
    t.says(&["signal off-hook", "listen tones"]);
    // It begins to ring while the line is looked at.
    let mut t = line(&[]);
    t.dial("911");
    t.wait_ms(280);
    t.signal(RxSignal::RingOn);
    t.wait_ms(64);
    t.says(&["signal off-hook", "listen nothing"]);
    t.release(t.legs()[0], Cause::Cancelled);
    t.says(&["note p1.1 End(OwnRelease)", "signal on-hook", "released p1.1 cancelled", "listen caller-id"]);
    // Who called before it rang is forgotten with his call, and the line is free.
    let mut t = line(&[]);
    t.dial("911");
    t.wait_ms(200);
    t.caller(CallerIdStandard::Etsi, "5550111");
    t.signal(RxSignal::RingOn);
    t.wait_ms(1_100);
    t.release(t.legs()[0], Cause::Cancelled);
    t.wait_ms(20_000);
    assert!(t.machine.is_free());
}

#[test]
fn a_line_that_another_telephone_has_is_not_taken_and_free_when_that_one_is() {
    let mut t = line(&[]);
    t.dial("5550100");
    t.wait_ms(300);
    t.said();
    t.signal(RxSignal::NotSeized);
    t.says(&["note p1.1 End(LineInUse)", "signal on-hook", "released p1.1 no-circuit", "listen caller-id"]);
    assert!(t.machine.is_free());
    t.dialled();
    // Whoever calls in was answered at the other telephone.
    let mut t = line(&[("caller_id_rings", RawValue::Number(0))]);
    t.ring("2000-1000");
    let leg = *t.offered.last().unwrap();
    t.answer(leg);
    t.said();
    t.signal(RxSignal::NotSeized);
    assert!(t.said().contains(&"released o3.1 answered-elsewhere".to_owned()));
}

#[test]
fn an_emergency_call_is_answered_by_any_sign_where_others_are_by_reversal() {
    for (to, answered) in [("911", true), ("5550100", false)] {
        let mut t = line(&[("answer", text("reversal"))]);
        t.dial(to);
        t.wait_ms(300);
        t.tone(HeardTone::Dial);
        t.give(Input::SoundEnded);
        t.tone(HeardTone::Ringback);
        t.hear(Heard::ToneEnded);
        t.wait_ms(700);
        t.hear(Heard::Voice);
        let said = t.said();
        assert_eq!(said.contains(&"answered p1.1 Inferred".to_owned()), answered, "{to}: {said:?}");
    }
}
