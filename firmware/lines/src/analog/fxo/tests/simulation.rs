//! An exchange line whose wire and whose calls do anything at any time: 256 seeds, each
//! printed when it fails. What must hold is in `check_invariants` of the machine, and from
//! outside in `wire.rs`: each leg is released once, is joined only while it is there and the
//! line is off hook, the hook is told in turn. In the end nothing is left.

use std::collections::HashSet;
use std::time::Duration;

use tipring_model::line::{LineCommand, PlaceExtras};
use tipring_model::settings::RawValue;
use tipring_model::{CallerId, Cause, Digit, Digits, LegId, Number};
use tipring_testkit::random::Random;

use super::{Fxo, line, text};
use crate::analog::contract::{CallerIdStandard, Heard, HeardCaller, HeardTone, Input};
use crate::analog::wire::Wire;
use crate::port::RxSignal;

const SEEDS: u64 = 256;
const STEPS: usize = 800;

const TONES: [HeardTone; 8] = [
    HeardTone::Dial,
    HeardTone::Ringback,
    HeardTone::Busy,
    HeardTone::Congestion,
    HeardTone::Information,
    HeardTone::LearnedBusy,
    HeardTone::FaxCalling,
    HeardTone::FaxAnswer,
];

fn exchange_line(random: &mut Random) -> Wire<Fxo> {
    let mut more = vec![
        ("caller_id_rings", RawValue::Number(random.below(5) as i64)),
        ("answer", text(["anything", "reversal", "dialled"][random.below(3)])),
        ("dialling", text(["tone", "pulse"][random.below(2)])),
        ("dials_without_tone", RawValue::Toggle(random.below(2) == 0)),
        ("reversal_ends", RawValue::Toggle(random.below(2) == 0)),
        ("prefix", text(["", "9,"][random.below(2)])),
    ];
    if random.below(2) == 0 {
        more.push(("distinctive", RawValue::List(vec!["500-500=5550101".to_owned()])));
        more.push(("talk", text("20s")));
    }
    line(&more)
}

fn signal(random: &mut Random) -> RxSignal {
    match random.below(19) {
        0..=4 => RxSignal::RingOn,
        5..=8 => RxSignal::RingOff,
        9 | 10 => RxSignal::Reversed(random.below(2) == 0),
        11 => RxSignal::LoopBreak { ms: random.below(400) as u16 },
        12 => RxSignal::BatteryLost,
        13 | 14 => RxSignal::BatteryBack,
        15 => RxSignal::InUse(random.below(4) == 0),
        16 => RxSignal::InUse(false),
        17 if random.below(4) == 0 => RxSignal::NotSeized,
        _ => [RxSignal::OffHook, RxSignal::OnHook, RxSignal::Flash { ms: 500 }][random.below(3)],
    }
}

fn heard(random: &mut Random) -> Heard {
    match random.below(14) {
        0..=5 => Heard::Tone(TONES[random.below(TONES.len())]),
        6 => Heard::ToneEnded,
        7 => {
            Heard::CallerId(HeardCaller { standard: CallerIdStandard::Etsi, caller: CallerId::of("5550100") })
        }
        8 => Heard::CallerIdGarbled(CallerIdStandard::Dtmf),
        9 => Heard::Voice,
        10 => Heard::Silence(Duration::from_secs(random.next() % 700)),
        11 | 12 => Heard::LocalVoice(random.below(2) == 0),
        _ => [Heard::Digit(Digit::D1), Heard::WaitingAlert][random.below(2)].clone(),
    }
}

fn command(random: &mut Random, t: &Wire<Fxo>) -> LineCommand {
    let legs = t.legs();
    let leg = match legs.first() {
        Some(leg) if random.below(8) > 0 => *leg,
        Some(_) | None => LegId::placed(1, random.below(9) as u32),
    };
    match random.below(10) {
        0..=3 => LineCommand::Answer { leg },
        4 => LineCommand::Alert { leg, early_media: true },
        5 => LineCommand::SendDigits { leg, digits: Digits::parse("12#").unwrap() },
        6 => LineCommand::Flash { leg },
        7 if legs.contains(&leg) => LineCommand::Place {
            leg,
            to: Number::new("5"),
            from: CallerId::default(),
            extras: PlaceExtras::default(),
        },
        _ => LineCommand::Release { leg, cause: Cause::ALL[random.below(Cause::ALL.len())] },
    }
}

fn step(random: &mut Random, t: &mut Wire<Fxo>) {
    let input = match random.below(24) {
        0..=4 => Input::Signal(signal(random)),
        5..=8 => Input::Heard(heard(random)),
        9..=11 => Input::Command(command(random, t)),
        12..=14 => {
            t.dial(["5550100", "+4420", "911", "ann", "1,2"][random.below(5)]);
            return;
        }
        15 | 16 => Input::SoundEnded,
        17 if random.below(2) == 0 => {
            t.tone(HeardTone::Ringback);
            t.hear(Heard::ToneEnded);
            t.wait_ms(random.next() % 1_000);
            return;
        }
        17 => Input::MessagesWaiting(true),
        18 if random.below(10) == 0 => Input::Gone,
        19 => Input::Present,
        _ => {
            let most = [70, 400, 3_000, 20_000][random.below(4)];
            t.wait_ms(random.next() % most);
            return;
        }
    };
    t.give(input);
}

/// What kind of thing was said, without its names and numbers.
fn kind(said: &str) -> String {
    let words: Vec<&str> = said.split(' ').collect();
    match words.as_slice() {
        ["note", _, note] => (*note).to_owned(),
        ["released", _, cause] => format!("released {cause}"),
        ["answered", _, how] => format!("answered {how}"),
        ["sound" | "signal" | "down", what, ..] => (*what).to_owned(),
        [first, ..] => (*first).to_owned(),
        [] => String::new(),
    }
}

fn run(seed: u64) -> HashSet<String> {
    let mut random = Random::new(seed);
    let mut t = exchange_line(&mut random);
    let mut seen = HashSet::new();
    for _ in 0..STEPS {
        step(&mut random, &mut t);
        // An emergency call waits for half a second while another one hears why it goes.
        assert!(t.legs().len() <= 2, "three legs on one line");
        seen.extend(t.said().into_iter().map(|said| kind(&said)));
    }
    t.give(Input::Present);
    t.signal(RxSignal::RingOff);
    t.signal(RxSignal::BatteryBack);
    t.signal(RxSignal::InUse(false));
    for leg in t.legs() {
        t.release(leg, Cause::NormalClearing);
    }
    t.wait_ms(60_000);
    assert!(t.legs().is_empty() && !t.machine.is_off_hook());
    assert_eq!(t.machine.poll_timeout(), None);
    // The line can carry a call.
    t.dialled();
    assert!(t.machine.is_off_hook());
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
        "offered",
        "answered Signalled",
        "answered Inferred",
        "Answer(Reversal)",
        "Answer(Voice)",
        "Answer(RingbackEnded)",
        "Answer(FaxTone)",
        "Answer(Assumed)",
        "End(LoopBreak)",
        "End(Reversal)",
        "End(Tone(Busy))",
        "End(DialTone)",
        "End(Silence)",
        "End(TalkTime)",
        "End(BatteryLost)",
        "End(DeviceGone)",
        "End(EmergencyCall)",
        "End(LineInUse)",
        "End(OwnRelease)",
        "released busy",
        "released preempted",
        "preemption",
        "released no-circuit",
        "released unallocated",
        "released answered-elsewhere",
        "released invalid-number",
        "pulses",
        "digits",
        "flash",
        "Unplugged",
        "InUse",
        "NoDevice",
    ] {
        assert!(seen.contains(kind), "never: {kind}");
    }
}
