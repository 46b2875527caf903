//! Answer and end, as far as the exchange lets them be known.

use std::time::Duration;

use tipring_model::LegId;
use tipring_model::settings::RawValue;

use super::{Deed, Fxo, line, text};
use crate::analog::contract::{Heard, HeardTone};
use crate::analog::wire::Wire;
use crate::port::RxSignal;

const SPEAKS: Heard = Heard::LocalVoice(true);
const QUIET: Heard = Heard::LocalVoice(false);

/// A placed leg that has been answered by a reversal.
fn placed_and_answered(t: &mut Wire<Fxo>) -> LegId {
    let leg = t.dialled();
    t.signal(RxSignal::Reversed(true));
    t.wait_ms(2_000);
    t.said();
    leg
}

fn released(t: &mut Wire<Fxo>) -> Option<String> {
    let said = t.said();
    said.iter()
        .find_map(|said| said.strip_prefix("released ").map(|r| r.split_once(' ').unwrap().1.to_owned()))
}

#[test]
fn a_reversal_is_an_answer_that_was_signalled() {
    let mut t = line(&[]);
    t.dialled();
    t.tone(HeardTone::Ringback);
    t.signal(RxSignal::Reversed(true));
    t.says(&["note p1.1 Answer(Reversal)", "answered p1.1 Signalled"]);
}

#[test]
fn an_answer_without_a_reversal_is_inferred() {
    // Voice after ring-back.
    let mut t = line(&[]);
    t.dialled();
    t.tone(HeardTone::Ringback);
    t.wait_ms(60_000);
    t.says(&[]);
    t.hear(Heard::Voice);
    t.says(&["note p1.1 Answer(Voice)", "answered p1.1 Inferred"]);
    // Ring-back stops.
    let mut t = line(&[]);
    t.dialled();
    t.tone(HeardTone::Ringback);
    t.hear(Heard::ToneEnded);
    t.wait_ms(300);
    t.tone(HeardTone::Ringback);
    t.hear(Heard::ToneEnded);
    t.wait_ms(599);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["note p1.1 Answer(RingbackEnded)", "answered p1.1 Inferred"]);
    // Voice without ring-back, but not at once.
    let mut t = line(&[]);
    t.dialled();
    t.wait_ms(999);
    t.hear(Heard::Voice);
    t.says(&[]);
    t.wait_ms(1);
    t.hear(Heard::Voice);
    t.says(&["note p1.1 Answer(Voice)", "answered p1.1 Inferred"]);
    // A fax machine.
    let mut t = line(&[]);
    t.dialled();
    t.tone(HeardTone::FaxAnswer);
    t.says(&["note p1.1 Answer(FaxTone)", "answered p1.1 Inferred"]);
    // Nothing at all.
    let mut t = line(&[("answer_assumed", text("10s"))]);
    t.dialled();
    t.wait_ms(9_999);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["note p1.1 Answer(Assumed)", "answered p1.1 Inferred"]);
}

#[test]
fn the_settings_say_what_an_answer_is() {
    let mut t = line(&[("answer", text("reversal"))]);
    t.dialled();
    t.tone(HeardTone::Ringback);
    t.hear(Heard::ToneEnded);
    t.wait_ms(60_000);
    t.hear(Heard::Voice);
    t.says(&[]);
    t.signal(RxSignal::Reversed(true));
    t.says(&["note p1.1 Answer(Reversal)", "answered p1.1 Signalled"]);
    let mut t = line(&[("answer", text("dialled"))]);
    let leg = t.dialled();
    assert!(t.answered(leg));
}

#[test]
fn nobody_lets_it_ring_for_ever() {
    for answer in ["anything", "reversal"] {
        let mut t = line(&[("answer", text(answer))]);
        t.dialled();
        t.tone(HeardTone::Ringback);
        t.wait(Duration::from_secs(179));
        t.says(&[]);
        t.wait_ms(1_000);
        assert_eq!(released(&mut t).as_deref(), Some("no-answer"), "{answer}");
    }
}

#[test]
fn a_refusal_is_heard_and_gets_its_cause() {
    for (tone, cause) in [
        (HeardTone::Busy, "busy"),
        (HeardTone::LearnedBusy, "busy"),
        (HeardTone::Congestion, "no-circuit"),
        (HeardTone::Information, "unallocated"),
        (HeardTone::Dial, "temporary-failure"),
    ] {
        for after_ringback in [false, true] {
            let mut t = line(&[]);
            t.dialled();
            t.wait_ms(2_000);
            if after_ringback {
                t.tone(HeardTone::Ringback);
                t.hear(Heard::ToneEnded);
                t.wait_ms(100);
            }
            t.tone(tone);
            assert_eq!(released(&mut t).as_deref(), Some(cause), "{tone:?}");
            t.wait_ms(60_000);
            t.says(&[]);
        }
    }
}

#[test]
fn the_tail_of_the_first_dial_tone_is_no_refusal() {
    let mut t = line(&[]);
    t.dialled();
    t.wait_ms(1_999);
    t.tone(HeardTone::Dial);
    t.says(&[]);
}

#[test]
fn each_sign_of_the_end_alone_frees_the_line() {
    let signs: [(&str, Deed); 8] = [
        ("LoopBreak", |t| t.signal(RxSignal::LoopBreak { ms: 80 })),
        ("Tone(Busy)", |t| t.tone(HeardTone::Busy)),
        ("Tone(Congestion)", |t| t.tone(HeardTone::Congestion)),
        ("Tone(LearnedBusy)", |t| t.tone(HeardTone::LearnedBusy)),
        ("DialTone", |t| t.tone(HeardTone::Dial)),
        ("Silence", |t| t.hear(Heard::Silence(Duration::from_secs(600)))),
        ("TalkTime", |t| t.wait(Duration::from_secs(14_400))),
        ("Reversal", |t| t.signal(RxSignal::Reversed(false))),
    ];
    for (name, sign) in signs {
        for outgoing in [false, true] {
            let mut t = line(&[]);
            let leg = if outgoing { placed_and_answered(&mut t) } else { t.talk() };
            sign(&mut t);
            let cause = if name == "TalkTime" { "recovery-on-timer" } else { "normal-clearing" };
            t.says(&[
                &format!("note {leg} End({name})"),
                &format!("part {leg}"),
                "signal on-hook",
                &format!("released {leg} {cause}"),
                "listen caller-id",
            ]);
            assert!(!t.machine.is_off_hook());
        }
    }
}

#[test]
fn what_is_no_sign_of_the_end_ends_nothing() {
    let signs: [(&str, Deed); 7] = [
        ("a short break", |t| t.signal(RxSignal::LoopBreak { ms: 79 })),
        ("a short loss of battery", |t| {
            t.signal(RxSignal::BatteryLost);
            t.wait_ms(79);
            t.signal(RxSignal::BatteryBack);
        }),
        ("silence", |t| t.hear(Heard::Silence(Duration::from_secs(599)))),
        ("ring-back", |t| t.tone(HeardTone::Ringback)),
        ("a fax machine", |t| t.tone(HeardTone::FaxCalling)),
        ("ringing", |t| t.ring("2000-4000")),
        ("a telephone beside the box", |t| t.signal(RxSignal::InUse(true))),
    ];
    for (name, sign) in signs {
        let mut t = line(&[]);
        let leg = t.talk();
        sign(&mut t);
        t.wait_ms(30_000);
        assert_eq!(t.legs(), [leg], "{name}");
        t.says(&[]);
    }
}

#[test]
fn hardware_that_tells_breaks_as_loss_of_battery_is_understood() {
    let mut t = line(&[]);
    t.talk();
    t.signal(RxSignal::BatteryLost);
    t.wait_ms(80);
    t.signal(RxSignal::BatteryBack);
    assert_eq!(t.said().first().map(String::as_str), Some("note o3.1 End(LoopBreak)"));
}

#[test]
fn the_loop_says_nothing_right_after_it_was_closed() {
    for (wait_ms, ends) in [(649, false), (650, true)] {
        let mut t = line(&[("caller_id_rings", RawValue::Number(0))]);
        t.ring("2000-1000");
        t.answer(t.offered[0]);
        t.wait_ms(wait_ms);
        t.signal(RxSignal::LoopBreak { ms: 300 });
        assert_eq!(t.legs().is_empty(), ends, "{wait_ms}");
    }
}

#[test]
fn a_reversal_right_after_the_answer_ends_nothing() {
    for (wait_ms, ends) in [(599, false), (600, true)] {
        let mut t = line(&[]);
        t.dialled();
        t.signal(RxSignal::Reversed(true));
        t.wait_ms(wait_ms);
        t.signal(RxSignal::Reversed(false));
        assert_eq!(t.legs().is_empty(), ends, "{wait_ms}");
    }
}

#[test]
fn a_reversal_after_a_guess_is_the_answer_itself() {
    let mut t = line(&[]);
    t.dialled();
    t.tone(HeardTone::Ringback);
    t.hear(Heard::Voice);
    t.said();
    t.wait_ms(5_000);
    t.signal(RxSignal::Reversed(true));
    t.says(&["note p1.1 Answer(Reversal)"]);
    t.wait_ms(5_000);
    t.signal(RxSignal::Reversed(false));
    assert_eq!(released(&mut t).as_deref(), Some("normal-clearing"));
}

#[test]
fn a_reversal_may_be_kept_from_ending_a_call() {
    let mut t = line(&[("reversal_ends", RawValue::Toggle(false))]);
    t.talk();
    t.signal(RxSignal::Reversed(true));
    t.signal(RxSignal::Reversed(false));
    t.says(&["note o3.1 End(Reversal)"]);
}

#[test]
fn a_tone_heard_while_the_own_side_speaks_is_asked_about_again() {
    // It is gone before the own side is quiet: speech was taken for it.
    let mut t = line(&[]);
    t.talk();
    t.hear(SPEAKS);
    t.tone(HeardTone::Busy);
    t.says(&["note o3.1 End(Tone(Busy))"]);
    t.wait_ms(5_000);
    t.hear(Heard::ToneEnded);
    t.hear(QUIET);
    t.wait_ms(60_000);
    t.says(&[]);
    // It is still there.
    t.hear(SPEAKS);
    t.tone(HeardTone::Busy);
    t.hear(QUIET);
    t.wait_ms(300);
    t.hear(SPEAKS);
    t.wait_ms(600);
    t.says(&[]);
    t.hear(QUIET);
    t.wait_ms(499);
    t.says(&[]);
    t.wait_ms(1);
    t.says(&["part o3.1", "signal on-hook", "released o3.1 normal-clearing", "listen caller-id"]);
    // An announcement without end does not keep the line for ever.
    let mut t = line(&[]);
    t.talk();
    t.hear(SPEAKS);
    t.tone(HeardTone::Busy);
    t.said();
    t.wait_ms(9_999);
    t.says(&[]);
    t.wait_ms(1);
    assert_eq!(released(&mut t).as_deref(), Some("normal-clearing"));
}

#[test]
fn a_tone_that_ends_is_no_answer() {
    let mut t = line(&[]);
    t.dialled();
    t.tone(HeardTone::Ringback);
    t.hear(SPEAKS);
    t.tone(HeardTone::Busy);
    t.says(&["note p1.1 End(Tone(Busy))"]);
    t.hear(Heard::ToneEnded);
    t.wait_ms(10_000);
    t.says(&[]);
}

#[test]
fn limits_can_be_switched_off() {
    let mut t = line(&[("silence", text("0s")), ("talk", text("0s"))]);
    let leg = t.talk();
    t.hear(Heard::Silence(Duration::from_secs(80_000)));
    t.wait(Duration::from_secs(80_000));
    t.says(&[]);
    assert_eq!(t.legs(), [leg]);
}
