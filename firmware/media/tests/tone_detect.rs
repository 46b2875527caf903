//! Call-progress tones: every tone of every country in the data, off its frequency and cadence,
//! in noise; learning; an hour of speech.

#![expect(clippy::expect_used, reason = "a failed expect is a failed test")]

mod signals;

use signals::{Noise, rms_of, sines};
use tipring_media::dsp::tone_detect::{ToneDetector, ToneEvent, ToneKind};
use tipring_media::dsp::tone_learn::ToneLearner;
use tipring_media::{ToneSegment, ToneSpec};

const COUNTRIES: &str = include_str!("../../data/countries.toml");

/// Frequencies, time on and time off in ms.
type Step = (Vec<f64>, usize, usize);

struct Country {
    code: String,
    tones: Vec<(ToneKind, Vec<Step>)>,
}

impl Country {
    fn plan(&self) -> Vec<(ToneKind, ToneSpec)> {
        self.tones
            .iter()
            .map(|(kind, steps)| {
                let segments: Vec<ToneSegment> = steps
                    .iter()
                    .map(|(frequencies, on, off)| {
                        let mut hz = [0.0; 4];
                        hz.iter_mut().zip(frequencies).for_each(|(place, hz)| *place = *hz as f32);
                        ToneSegment { hz, level_dbm0: -13.0, on_ms: *on as u16, off_ms: *off as u16 }
                    })
                    .collect();
                (*kind, ToneSpec::repeating(&segments))
            })
            .collect()
    }
}

/// The tones of the data file, read by its lines.
fn countries() -> Vec<Country> {
    let mut all: Vec<Country> = Vec::new();
    for line in COUNTRIES.lines() {
        let Some((key, value)) = line.split_once(" = \"") else { continue };
        let value = value.trim_end_matches('"');
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
        let mut steps = Vec::new();
        for part in value.split(',') {
            let (frequencies, times) = part.split_once('/').unwrap_or((part, ""));
            let frequencies: Vec<f64> =
                frequencies.split('+').map(|hz| hz.parse().expect("a frequency")).collect();
            let times: Vec<usize> =
                times.split('-').filter(|ms| !ms.is_empty()).map(|ms| ms.parse().expect("a time")).collect();
            if times.is_empty() {
                steps.push((frequencies, 0, 0));
            } else {
                steps.extend(times.chunks(2).map(|pair| (frequencies.clone(), pair[0], pair[1])));
            }
        }
        all.last_mut().expect("a country begins with its code").tones.push((kind, steps));
    }
    assert!(all.len() >= 20 && all.iter().all(|country| country.tones.len() == 4));
    all
}

/// `seconds` of a tone: frequencies by `off_hz`, times by `stretch`.
fn sound(steps: &[Step], seconds: usize, level: f64, off_hz: f64, stretch: f64) -> Vec<f64> {
    let mut all = vec![0.0; 4_000];
    for (frequencies, on, off) in steps.iter().cycle() {
        let parts: Vec<(f64, f64)> = frequencies.iter().map(|hz| (hz + off_hz, level)).collect();
        let on = if *on == 0 { seconds * 8_000 } else { (*on as f64 * 8.0 * stretch) as usize };
        all.extend(sines(on, &parts));
        all.resize(all.len() + (*off as f64 * 8.0 * stretch) as usize, 0.0);
        if all.len() > seconds * 8_000 {
            break;
        }
    }
    all
}

fn heard(plan: &[(ToneKind, ToneSpec)], line: &[i16]) -> Vec<ToneEvent> {
    let mut detector = ToneDetector::new(plan);
    let mut all = Vec::new();
    line.chunks(160).for_each(|part| detector.push(part, &[], |event| all.push(event)));
    all
}

#[test]
fn every_tone_of_every_country_is_heard_within_its_limits() {
    let mut count = 0;
    for country in countries() {
        let plan = country.plan();
        for (kind, steps) in &country.tones {
            // Where two tones of a country are the same, the first is told.
            let same = country.tones.iter().find(|(_, other)| other == steps);
            let mut expected = same.map_or(*kind, |(kind, _)| *kind);
            // 5 Hz are all that sets it apart from busy.
            if country.code == "au" && *kind == ToneKind::Congestion {
                expected = ToneKind::Busy;
            }
            for (level, off_hz, stretch, snr_db) in [
                (-10.0, 0.0, 1.0, 50.0),
                (-30.0, 0.0, 1.0, 30.0),
                (-3.0, 0.0, 1.0, 45.0),
                (-20.0, 18.0, 1.0, 30.0),
                (-20.0, -18.0, 1.0, 30.0),
                (-20.0, 0.0, 1.08, 30.0),
                (-20.0, 0.0, 0.92, 30.0),
                (-30.0, 5.0, 1.03, 12.0),
            ] {
                let line =
                    Noise(count + 1).over(&sound(steps, 16, level, off_hz, stretch), rms_of(level - snr_db));
                let told = heard(&plan, &line);
                assert_eq!(
                    told,
                    [ToneEvent::Began(expected)],
                    "{} {kind:?} {level} dBm0, {off_hz} Hz, {stretch}, {snr_db} dB",
                    country.code
                );
                count += 1;
            }
        }
    }
    println!("{count} tones");
}

#[test]
fn tones_of_another_pitch_are_none() {
    for country in countries() {
        let plan = country.plan();
        for (kind, steps) in &country.tones {
            for off_hz in [120.0, 250.0] {
                let line = Noise(3).over(&sound(steps, 12, -15.0, off_hz, 1.0), rms_of(-60.0));
                assert_eq!(heard(&plan, &line), [], "{} {kind:?} {off_hz} Hz higher", country.code);
            }
        }
    }
}

#[test]
fn tones_of_fax_machines_are_heard_everywhere() {
    for country in countries().iter().take(8) {
        let plan = country.plan();
        for off_hz in [-30.0, 0.0, 30.0] {
            let line =
                Noise(5).over(&sound(&[(vec![1_100.0], 500, 3_000)], 3, -20.0, off_hz, 1.0), rms_of(-50.0));
            let calling = [ToneEvent::Began(ToneKind::FaxCalling), ToneEvent::Ended(ToneKind::FaxCalling)];
            assert_eq!(heard(&plan, &line), calling);
        }
        let mut answer = sound(&[(vec![2_100.0], 3_000, 500)], 3, -15.0, 0.0, 1.0);
        // Phase reversals, as modems with echo cancellers send them (V.25).
        for (n, sample) in answer.iter_mut().enumerate() {
            if n / 3_600 % 2 == 1 {
                *sample = -*sample;
            }
        }
        let line = Noise(6).over(&answer, rms_of(-45.0));
        let expected = [ToneEvent::Began(ToneKind::FaxAnswer), ToneEvent::Ended(ToneKind::FaxAnswer)];
        assert_eq!(heard(&plan, &line), expected, "{}", country.code);
    }
}

/// The learned tone is heard by a detector that has no other plan.
#[test]
fn a_busy_tone_is_learned_from_the_end_of_a_call_whatever_the_country() {
    let speech = signals::speech(60);
    let mut learned = 0;
    for (n, country) in countries().iter().enumerate() {
        let (_, steps) = &country.tones[2];
        let mut call: Vec<i16> = speech[n * 80_000..n * 80_000 + 40_000].to_vec();
        call.extend(Noise(9).over(&sound(steps, 12, -18.0, 0.0, 1.0), rms_of(-50.0)));
        let mut learner = ToneLearner::default();
        call.chunks(160).for_each(|part| learner.push(part));
        let tone = learner.learned().unwrap_or_else(|| panic!("{}: nothing learned", country.code));
        let told = heard(&[(ToneKind::Busy, tone.spec())], &call);
        assert_eq!(told, [ToneEvent::Began(ToneKind::Busy)], "{} {tone:?}", country.code);
        learned += 1;
    }
    println!("{learned} countries");
}

/// No plan of any country tells the end of a call, or any other tone, in an hour of speech.
#[test]
fn an_hour_of_speech_holds_no_tones() {
    let speech = signals::speech(60);
    // Plans that differ in what they listen for.
    for code in ["us", "de", "gb", "it", "br"] {
        let country =
            countries().into_iter().find(|country| country.code == code).expect("it is in the data");
        let told = heard(&country.plan(), speech);
        println!("{code}: {told:?}");
        assert!(told.is_empty(), "{code}: {told:?}");
    }
    let mut learner = ToneLearner::default();
    speech.chunks(160).for_each(|part| learner.push(part));
    assert_eq!(learner.learned(), None);
}
