//! A telephone whose wire and whose calls do anything at any time: 256 seeds, each printed
//! when it fails. What must hold is in `check_invariants` of the machine, and from outside in
//! `wire.rs`: each leg is released once, is joined only while it is there and the receiver is
//! up, and the telephone rings only with its receiver down. In the end nothing is left.

use std::collections::HashSet;

use tipring_model::line::{LineCommand, PlaceExtras, Referral};
use tipring_model::settings::RawValue;
use tipring_model::{CallerId, Cause, Digit, Digits, LegId, Number};
use tipring_testkit::random::Random;

use super::{Fxs, text, wire};
use crate::analog::contract::{Heard, HeardTone, Input};
use crate::analog::country::{CallerIdMoment, CountryPlan, Recall};
use crate::analog::wire::Wire;
use crate::port::{Cadence, RxSignal};

const SEEDS: u64 = 256;
const STEPS: usize = 600;

fn telephone(random: &mut Random) -> Wire<Fxs> {
    let plan = CountryPlan {
        ring: Cadence::parse(["2000-4000", "400-200-400-2000", "1000-1000"][random.below(3)]).unwrap(),
        caller_id_moment: match random.below(3) {
            0 => CallerIdMoment::AfterFirstRing,
            n => CallerIdMoment::BeforeFirstRing { reversal: n == 1 },
        },
        recall: [Recall::Direct, Recall::Digit][random.below(2)],
        ..CountryPlan::default()
    };
    let mut more = Vec::new();
    let mut maybe = |key: &'static str, value: RawValue| {
        if random.below(3) == 0 {
            more.push((key, value));
        }
    };
    maybe("hotline", text("202"));
    maybe("hotline_after", text("3s"));
    maybe("loop_break", text("500ms"));
    maybe("reversal", RawValue::Toggle(true));
    maybe("waiting_caller_id", RawValue::Toggle(false));
    maybe("three_way", RawValue::Toggle(false));
    maybe("transfer", RawValue::Toggle(false));
    maybe("messages", RawValue::List(vec!["lamp".to_owned(), "fsk".to_owned()]));
    wire(plan, &more)
}

/// A leg that is there, was there, or never was.
fn some_leg(random: &mut Random, t: &Wire<Fxs>) -> LegId {
    let legs = t.legs();
    match random.below(8) {
        0 => LegId::placed(1, 1 + random.below(5) as u32),
        1 => LegId::placed(7, 1),
        _ if legs.is_empty() => LegId::placed(1, t.placed),
        _ => legs[random.below(legs.len())],
    }
}

fn signal(random: &mut Random) -> RxSignal {
    match random.below(14) {
        0..=4 => RxSignal::OffHook,
        5..=7 => RxSignal::OnHook,
        8..=10 => RxSignal::Flash { ms: random.below(1_500) as u16 },
        11 => RxSignal::Pulses(random.below(12) as u8),
        12 => RxSignal::RingOn,
        _ => [RxSignal::RingOff, RxSignal::BatteryLost, RxSignal::LoopBreak { ms: 500 }][random.below(3)],
    }
}

fn command(random: &mut Random, t: &Wire<Fxs>) -> LineCommand {
    let leg = some_leg(random, t);
    match random.below(11) {
        9 => LineCommand::Transfer {
            leg,
            from: CallerId::default(),
            referral: Box::new(referral(Some(some_leg(random, t)))),
        },
        10 => LineCommand::EndTransfer { leg, status: [200, 403, 603][random.below(3)] },
        0..=2 => LineCommand::Answer { leg },
        3 => LineCommand::Alert { leg, early_media: random.below(2) == 0 },
        4 => LineCommand::SendDigits { leg, digits: Digits::parse("12").unwrap() },
        5 => LineCommand::Flash { leg },
        6 if t.legs().contains(&leg) => LineCommand::Place {
            leg,
            to: Number::new("201"),
            from: CallerId::default(),
            extras: PlaceExtras::default(),
        },
        _ => LineCommand::Release { leg, cause: Cause::ALL[random.below(Cause::ALL.len())] },
    }
}

fn referral(replaces: Option<LegId>) -> Referral {
    Referral { to: Number::new("203"), address: String::new(), replaces, by: String::new() }
}

/// The calls answer a telephone that wants to join two parties, most of the time.
fn answer_transfer(random: &mut Random, t: &mut Wire<Fxs>, said: &[String]) {
    let named = |t: &Wire<Fxs>, name: &str| t.legs().into_iter().find(|leg| leg.to_string() == name);
    let words = said.iter().rev().find(|said| said.starts_with("refer ")).map(|said| said.split(' '));
    let Some(names) = words.map(|words| words.map(str::to_owned).collect::<Vec<_>>()) else { return };
    let legs = (named(t, &names[1]), named(t, &names[5]));
    if let ((Some(leg), Some(other)), true) = (legs, random.below(4) > 0) {
        let (from, referral) = (CallerId::default(), Box::new(referral(Some(other))));
        t.give(Input::Command(LineCommand::Transfer { leg, from, referral }));
    }
}

/// What hardly ever comes about by itself, from wherever the telephone is.
fn hang_up_between_two(t: &mut Wire<Fxs>) {
    t.lift();
    for keys in ["202", "203#"] {
        t.press(keys);
        if let Some(leg) = t.offered.last().copied() {
            t.answer(leg);
        }
        if keys == "202" {
            t.flash();
        }
    }
    t.put_down();
}

fn step(random: &mut Random, t: &mut Wire<Fxs>) {
    let input = match random.below(20) {
        0..=4 => Input::Signal(signal(random)),
        5..=7 => Input::Command(command(random, t)),
        8 | 9 => {
            t.place("5550100");
            return;
        }
        10..=12 => Input::Heard(Heard::Digit(Digit::ALL[random.below(16)])),
        13 => Input::SoundEnded,
        14 => Input::MessagesWaiting(random.below(2) == 0),
        15 => Input::Heard(Heard::Tone(HeardTone::Busy)),
        16 if random.below(10) == 0 => Input::Gone,
        17 if random.below(4) == 0 => {
            hang_up_between_two(t);
            return;
        }
        17 => Input::Present,
        _ => {
            let most = [50, 3_000, 70_000][random.below(3)];
            t.wait_ms(random.next() % most);
            return;
        }
    };
    t.give(input);
}

/// What kind of thing was said, without its names and numbers.
fn kind(said: &str) -> String {
    let words: Vec<&str> = said.split(' ').collect();
    let count = if matches!(words.first(), Some(&"sound" | &"signal" | &"listen" | &"down")) { 2 } else { 1 };
    words.into_iter().take(count).collect::<Vec<_>>().join(" ")
}

fn run(seed: u64) -> HashSet<String> {
    let mut seen = HashSet::new();
    let mut random = Random::new(seed);
    let mut t = telephone(&mut random);
    for _ in 0..STEPS {
        step(&mut random, &mut t);
        assert!(t.legs().len() == t.machine.legs_now(), "a leg is forgotten");
        let said = t.said();
        answer_transfer(&mut random, &mut t, &said);
        seen.extend(said.into_iter().chain(t.said()).map(|said| kind(&said)));
    }
    t.give(Input::Present);
    t.put_down();
    t.wait_ms(3_000);
    t.put_down();
    for leg in t.legs() {
        t.release(leg, Cause::NormalClearing);
    }
    // The lamp is told without an end of its sound; nothing else goes on.
    t.wait_ms(300_000);
    assert!(t.legs().is_empty() && t.machine.legs_now() == 0);
    assert_eq!(t.machine.poll_timeout(), None);
    assert!(!t.machine.is_off_hook());
    seen
}

#[test]
fn whatever_happens_each_leg_is_released_once_and_nothing_is_left() {
    let mut seen = HashSet::new();
    for seed in 0..SEEDS {
        let result = std::panic::catch_unwind(|| run(seed));
        assert!(result.is_ok(), "seed {seed}");
        seen.extend(result.unwrap_or_default());
    }
    // The seeds have been everywhere.
    for kind in [
        "signal ring",
        "signal ring-off",
        "signal reverse",
        "signal drop-battery",
        "signal lamp",
        "sound dial",
        "sound stutter",
        "sound recall",
        "sound ringback",
        "sound busy",
        "sound congestion",
        "sound howler",
        "sound beep",
        "sound waiting-caller",
        "sound caller",
        "sound message-lamp",
        "held",
        "taken",
        "digit",
        "answered",
        "refer",
        "patch",
        "transferring",
        "down NoDevice",
    ] {
        assert!(seen.contains(kind), "never: {kind}");
    }
}
