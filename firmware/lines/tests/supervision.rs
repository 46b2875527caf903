//! How calls over an exchange line end: each sign alone frees the line within its limit, in every
//! country, and an hour of speech is no sign.
//!
//! The ears of a port and the machine of the line, in virtual time: sound goes in, and what the
//! line would do comes out.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../../media/tests/signals/mod.rs"]
mod signals;

use std::time::{Duration, Instant};

use tipring_lines::analog::contract::{CallerIdStandard, EndSign, HeardTone, Input, Listen, Note, Output};
use tipring_lines::analog::country::CountryPlan;
use tipring_lines::analog::ears::{EarPlan, Ears, Fact, Period};
use tipring_lines::analog::fxo::{Fxo, FxoSettings};
use tipring_lines::analog::lessons::{LASTED_MIN, LearnedTone};
use tipring_lines::port::RxSignal;
use tipring_lines::port::linecard::PERIOD_FRAMES;
use tipring_media::dsp::tone::TonePlayer;
use tipring_media::dsp::tone_detect::ToneKind;
use tipring_media::dsp::tone_learn::ToneLearner;
use tipring_media::{Frame, Rate, ToneSegment, ToneSpec};
use tipring_model::line::{LineCommand, LineEvent, PlaceExtras};
use tipring_model::settings::{RawSettings, RawValue, Settings};
use tipring_model::{CallerId, LegId, LineId, Number};

const LINE: LineId = LineId(1);
const SILENT: [i16; PERIOD_FRAMES] = [0; PERIOD_FRAMES];
const PERIOD: Duration = Duration::from_millis(10);
/// What is in no country's plan.
const LEARNED: &str = "620/330-330";

/// A country of the data, with its tones.
struct Country {
    code: String,
    tones: Vec<(ToneKind, ToneSpec)>,
}

/// Reads the tones out of the file that the daemon reads.
fn countries() -> Vec<Country> {
    let mut all: Vec<Country> = Vec::new();
    for line in include_str!("../../data/countries.toml").lines() {
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let value = value.trim_matches('"');
        let kind = match key {
            "code" => {
                all.push(Country { code: value.to_owned(), tones: Vec::new() });
                continue;
            }
            "dial" => ToneKind::Dial,
            "ringback" => ToneKind::Ringback,
            "busy" => ToneKind::Busy,
            "congestion" => ToneKind::Congestion,
            _ => continue,
        };
        if let Some(country) = all.last_mut() {
            country.tones.push((kind, tone(value)));
        }
    }
    all
}

/// Reads `400+450/400-200-400-2000,425`.
fn tone(text: &str) -> ToneSpec {
    let mut segments = Vec::new();
    for step in text.split(',') {
        let (pitches, times) = step.split_once('/').unwrap_or((step, "0-0"));
        let mut hz = [0.0; 4];
        for (place, pitch) in hz.iter_mut().zip(pitches.split('+')) {
            *place = pitch.parse().unwrap();
        }
        let times: Vec<u16> = times.split('-').map(|ms| ms.parse().unwrap()).collect();
        segments.extend(times.chunks_exact(2).map(|pair| ToneSegment {
            hz,
            level_dbm0: -16.0,
            on_ms: pair[0],
            off_ms: pair[1],
        }));
    }
    ToneSpec::repeating(&segments)
}

fn round_ms(spec: &ToneSpec) -> u64 {
    spec.segments().iter().map(|step| u64::from(step.on_ms) + u64::from(step.off_ms)).sum()
}

/// A call over an exchange line that was answered, with both sides silent so far.
struct Call {
    machine: Fxo,
    ears: Ears,
    now: Instant,
    /// Each sign of the end that was noted.
    signs: Vec<EndSign>,
    released: bool,
    digits: u32,
    /// Keys are listened for beside what the machine wants.
    hears_keys: bool,
}

impl Call {
    fn new(country: &Country, more: &[(&str, RawValue)]) -> Self {
        let mut raw = RawSettings::new();
        for (key, text) in [("port", "card1/1"), ("number", "5550199"), ("answer", "dialled")] {
            raw.set(key, RawValue::Text(text.to_owned()));
        }
        for (key, value) in more {
            raw.set(key, value.clone());
        }
        let ears = EarPlan {
            tones: country.tones.clone(),
            learned: vec![LearnedTone::parse(LINE, LEARNED).unwrap().spec],
            learns: false,
            caller_id: CallerIdStandard::Bellcore,
        };
        let settings = FxoSettings::parse(&raw).unwrap();
        let mut call = Self {
            machine: Fxo::new(LINE, settings, CountryPlan::default()),
            ears: Ears::new(&ears),
            now: Instant::now(),
            signs: Vec::new(),
            released: false,
            digits: 0,
            hears_keys: false,
        };
        call.give(Input::Present);
        let to = Number::new("5550100");
        let (leg, from, extras) = (LegId::placed(1, 1), CallerId::default(), PlaceExtras::default());
        call.give(Input::Command(LineCommand::Place { leg, to, from, extras }));
        // The line is looked at, dial tone waited for, and dialled without it.
        for _ in 0..600 {
            call.period(&SILENT);
        }
        call.give(Input::SoundEnded);
        for _ in 0..200 {
            call.period(&SILENT);
        }
        assert!(call.machine.is_off_hook() && !call.released);
        call
    }

    fn give(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Listen(listen) => {
                    self.ears.listen(Listen { digits: self.hears_keys, ..listen });
                }
                Output::Note(_, Note::End(sign)) => self.signs.push(sign),
                Output::Line(LineEvent::Released { .. }) => self.released = true,
                Output::Note(..)
                | Output::Line(_)
                | Output::Signal(_)
                | Output::Sound(_)
                | Output::Join(_)
                | Output::Part(_)
                | Output::Patch(..) => {}
            }
        }
    }

    /// 10 ms of the wire; the own side is silent, so that every tone counts at once.
    fn period(&mut self, near: &[i16; PERIOD_FRAMES]) {
        let mut facts = [None; 8];
        let mut count = 0;
        let period = Period { raw: near, near, played: &SILENT, local: &SILENT };
        self.ears.hear(&period, |fact| {
            facts[count] = Some(fact);
            count += 1;
        });
        self.now += PERIOD;
        for fact in facts.into_iter().flatten() {
            if matches!(fact, Fact::Digit(_)) {
                self.digits += 1;
            } else if let Some(heard) = fact.heard() {
                self.give(Input::Heard(heard));
            }
        }
        if self.machine.poll_timeout().is_some_and(|due| due <= self.now) {
            self.give(Input::Timeout);
        }
    }

    /// The far end speaks.
    fn speech(&mut self, samples: &[i16]) {
        for part in samples.chunks_exact(PERIOD_FRAMES) {
            self.period(part.try_into().unwrap());
        }
    }

    /// The wire plays a tone until the line is free, or the limit is over. How long that took.
    fn plays(&mut self, spec: Option<ToneSpec>, limit: Duration) -> Duration {
        let (began, mut frame) = (self.now, Frame::silence(Rate::Narrow));
        let mut player = spec.map(TonePlayer::new);
        while !self.released && self.now - began < limit {
            frame.clear();
            if let Some(player) = &mut player {
                player.fill(&mut frame);
            }
            for part in frame.samples().chunks_exact(PERIOD_FRAMES) {
                self.period(part.try_into().unwrap());
            }
        }
        self.now - began
    }
}

#[test]
fn an_hour_of_speech_ends_no_call() {
    let speech = signals::speech(60);
    std::thread::scope(|scope| {
        let hours: Vec<_> = countries()
            .into_iter()
            .filter(|country| ["us", "gb", "de", "jp"].contains(&country.code.as_str()))
            .map(|country| {
                scope.spawn(move || {
                    let mut call = Call::new(&country, &[]);
                    // Keys sound alike everywhere.
                    if country.code == "us" {
                        call.hears_keys = true;
                        let call_and_keys =
                            Listen { digits: true, tones: true, voice: true, ..Listen::default() };
                        call.ears.listen(call_and_keys);
                    }
                    call.speech(speech);
                    assert!(!call.released, "{}: {:?}", country.code, call.signs);
                    assert!(call.signs.is_empty(), "{}: {:?}", country.code, call.signs);
                    assert!(call.digits <= 1, "{}: {} keys", country.code, call.digits);
                    // And it is free as soon as there is a sign.
                    call.give(Input::Signal(RxSignal::LoopBreak { ms: 250 }));
                    assert!(call.released);
                })
            })
            .collect();
        assert_eq!(hours.len(), 4);
    });
}

/// Nothing in it repeats for so long that it could be taken for the end of a call.
#[test]
fn an_hour_of_speech_teaches_nothing() {
    let mut learner = ToneLearner::default();
    for second in signals::speech(60).chunks(8_000) {
        learner.push(second);
        let lasts = learner.repeated().filter(|repeated| repeated.lasted_ms >= LASTED_MIN / 2);
        assert_eq!(lasts, None);
    }
}

#[test]
fn signals_of_the_wire_free_the_line_at_once() {
    let countries = countries();
    let call = |more: &[(&str, RawValue)]| Call::new(&countries[0], more);
    for (signal, sign) in [
        (RxSignal::LoopBreak { ms: 80 }, Some(EndSign::LoopBreak)),
        (RxSignal::LoopBreak { ms: 79 }, None),
        (RxSignal::Reversed(true), Some(EndSign::Reversal)),
    ] {
        let mut call = call(&[]);
        // It was only assumed that it was answered: the first reversal says so.
        call.give(Input::Signal(RxSignal::Reversed(true)));
        call.plays(None, Duration::from_secs(2));
        call.give(Input::Signal(signal));
        assert_eq!((call.released, call.signs.last().copied()), (sign.is_some(), sign), "{signal:?}");
    }
    // Battery is an alarm after a second.
    let mut call = call(&[]);
    call.give(Input::Signal(RxSignal::BatteryLost));
    let took = call.plays(None, Duration::from_secs(5));
    assert_eq!((took, call.signs), (Duration::from_secs(1), vec![EndSign::BatteryLost]));
}

#[test]
fn silence_frees_the_line_after_its_time() {
    let country = &countries()[0];
    for (setting, limit_s) in [("30s", 30), ("2m", 120), ("10m", 600)] {
        let mut call = Call::new(country, &[("silence", RawValue::Text(setting.to_owned()))]);
        call.speech(&signals::speech(60)[..80_000]);
        let took = call.plays(None, Duration::from_secs(limit_s + 10));
        let least = Duration::from_secs(limit_s - 2);
        assert!(took >= least && took <= Duration::from_secs(limit_s + 1), "{setting}: {took:?}");
        assert_eq!(call.signs, [EndSign::Silence]);
    }
}

/// The longest talk, whatever is said.
#[test]
fn the_longest_call_is_over_in_time() {
    let mut call = Call::new(&countries()[0], &[("talk", RawValue::Text("1m".to_owned()))]);
    call.speech(&signals::speech(60)[..480_000]);
    assert_eq!((call.released, call.signs), (true, vec![EndSign::TalkTime]));
}

/// Busy and congestion tone: four of their rounds and half a second. Dial tone, which must be told
/// from the others first: four seconds, or three of its rounds if it has pauses.
#[test]
fn tones_of_every_country_free_the_line_within_their_limits() {
    let (speech, countries) = (signals::speech(60), countries());
    assert_eq!(countries.len(), 46);
    let mut slowest = [Duration::ZERO; 4];
    for (n, country) in countries.iter().enumerate() {
        let before = &speech[n * 80_000..n * 80_000 + 24_000];
        let loud = |part: &&[i16]| part.iter().any(|sample| sample.unsigned_abs() > 1_500);
        let without_pauses: Vec<i16> = speech[n * 80_000..]
            .chunks_exact(PERIOD_FRAMES)
            .filter(loud)
            .take(300)
            .flatten()
            .copied()
            .collect();
        let learned = LearnedTone::parse(LINE, LEARNED).unwrap().spec;
        let of = |kind| country.tones.iter().find(|(known, _)| *known == kind).unwrap().1;
        for (place, (spec, is_dial)) in [
            (of(ToneKind::Busy), false),
            (of(ToneKind::Congestion), false),
            (learned, false),
            (of(ToneKind::Dial), true),
        ]
        .into_iter()
        .enumerate()
        {
            let rounds = Duration::from_millis(round_ms(&spec));
            let limit = match (is_dial, rounds.is_zero()) {
                (true, true) => Duration::from_secs(4),
                (true, false) => 3 * rounds + Duration::from_millis(500),
                (false, _) => 4 * rounds + Duration::from_millis(500),
            };
            let mut call = Call::new(country, &[]);
            // Dial tone may come without a pause after whatever was said.
            call.speech(if is_dial { &without_pauses } else { before });
            assert!(!call.released, "{}: speech", country.code);
            let took = call.plays(Some(spec), limit);
            assert!(call.released, "{}: not within {limit:?}: {spec:?}", country.code);
            let heard = [HeardTone::Busy, HeardTone::Congestion, HeardTone::LearnedBusy].map(EndSign::Tone);
            let fits =
                |sign: &EndSign| if is_dial { *sign == EndSign::DialTone } else { heard.contains(sign) };
            assert!(call.signs.iter().all(fits), "{}: {:?}", country.code, call.signs);
            slowest[place] = slowest[place].max(took);
        }
    }
    println!("at the latest: busy, congestion, learned, dial after {slowest:?}");
}
