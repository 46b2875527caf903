//! What a port hears while something is played to it: an announcement in a loop, or the other
//! party. The desk and its ears with a leg, an exchange on the wire, in virtual time.

use std::time::Instant;

use tipring_lines::analog::contract::{CallerIdStandard, HeardTone, Listen};
use tipring_lines::analog::desk::{Desk, DeskCommand, DeskFact, DeskLink, PortPlan};
use tipring_lines::analog::ears::{EarPlan, Fact};
use tipring_lines::analog::endpoint::{PortEndpoint, leg_sound};
use tipring_lines::port::SampleTime;
use tipring_lines::port::linecard::{CardSound, PERIOD_FRAMES, PortPeriod};
use tipring_media::dsp::dtmf_detect::{self, DtmfDetector};
use tipring_media::dsp::dtmf_generate;
use tipring_media::dsp::tone::TonePlayer;
use tipring_media::dsp::tone_detect::ToneKind;
use tipring_media::{Endpoint, Frame, Rate, ToneSegment, ToneSpec};
use tipring_model::{Digit, LegId};
use tipring_testkit::phone::{compare, voice};
use tipring_testkit::random::Random;

const MS: usize = 8;
/// Samples of a period.
const PERIOD: usize = PERIOD_FRAMES;

/// The way back of what is played: through the card's two periods and the hybrid.
struct Hybrid {
    taps: Vec<f64>,
}

/// No echo, and as little loss as a bad balance leaves up to what a good one does, in dB.
const LINES_DB: [Option<f64>; 4] = [None, Some(6.0), Some(12.0), Some(20.0)];

impl Hybrid {
    fn of(loss_db: Option<f64>) -> Self {
        let mut random = Random::new(11);
        let Some(loss_db) = loss_db else { return Self { taps: Vec::new() } };
        let mut taps: Vec<f64> = (0..64)
            .map(|n| (random.below(2_001) as f64 / 1_000.0 - 1.0) * (-f64::from(n) / 8.0).exp())
            .collect();
        taps.splice(0..0, vec![0.0; 2 * MS]);
        let norm = taps.iter().map(|tap| tap * tap).sum::<f64>().sqrt();
        taps.iter_mut().for_each(|tap| *tap *= 10f64.powf(-loss_db / 20.0) / norm);
        Self { taps }
    }

    /// What comes back at this sample.
    fn echo(&self, played: &[i16], at: usize) -> f64 {
        let back = |delay: usize| at.checked_sub(2 * PERIOD + delay).and_then(|from| played.get(from));
        let each = self.taps.iter().enumerate();
        each.map(|(delay, tap)| tap * back(delay).map_or(0.0, |sample| f64::from(*sample))).sum()
    }
}

/// What came of it.
#[derive(Default)]
struct Outcome {
    /// With the time, in ms.
    facts: Vec<(usize, Fact)>,
    /// What the leg heard.
    leg: Vec<i16>,
    /// What came from the wire.
    wire: Vec<i16>,
}

struct Bench {
    desk: Desk,
    link: DeskLink,
    endpoint: PortEndpoint,
    hybrid: Hybrid,
}

impl Bench {
    fn new(tones: &[(ToneKind, ToneSpec)], hybrid: Hybrid) -> Self {
        let ears = EarPlan {
            tones: tones.to_vec(),
            learned: Vec::new(),
            learns: false,
            caller_id: CallerIdStandard::Etsi,
        };
        let plan = PortPlan { ears, heard_gain_db: 0.0, played_gain_db: 0.0, leaves_echo: false };
        let (desk, mut link) = Desk::new(&[plan], None);
        let (endpoint, sound) = leg_sound();
        let leg = LegId::placed(1, 1);
        let listen = Listen { digits: true, tones: true, voice: true, ..Listen::default() };
        for command in [
            DeskCommand::Listen { port: 0, listen },
            DeskCommand::Attach { port: 0, leg, sound },
            DeskCommand::Join { port: 0, leg, joined: true },
        ] {
            assert!(link.commands.push(command).is_ok());
        }
        Self { desk, link, endpoint, hybrid }
    }

    /// The leg says this while the exchange says that.
    fn run(&mut self, leg: &[i16], exchange: &[i16]) -> Outcome {
        let (now, mut random) = (Instant::now(), Random::new(5));
        let (mut outcome, mut played) = (Outcome::default(), Vec::new());
        let mut frames = leg.chunks(2 * PERIOD);
        for at in (0..exchange.len()).step_by(PERIOD) {
            if at % (2 * PERIOD) == 0 {
                let said = frames.next().unwrap_or_default();
                self.endpoint.send(now, &Frame::from_samples(Rate::Narrow, said));
                let mut frame = Frame::silence(Rate::Narrow);
                self.endpoint.receive(now, &mut frame);
                outcome.leg.extend(frame.samples());
            }
            let mut period = PortPeriod { heard: [0; PERIOD], play: [0; PERIOD] };
            for (n, heard) in period.heard.iter_mut().enumerate() {
                let said = exchange.get(at + n).copied().unwrap_or(0);
                let noise = random.below(13) as f64 - 6.0;
                let sum = f64::from(said) + self.hybrid.echo(&played, at + n) + noise;
                *heard = sum.round() as i16;
            }
            outcome.wire.extend(period.heard);
            self.desk.period(SampleTime(at as u64), std::slice::from_mut(&mut period));
            played.extend(period.play);
            while let Ok(fact) = self.link.facts.pop() {
                if let DeskFact::Heard { fact, .. } = fact {
                    outcome.facts.push((at / MS, fact));
                }
            }
        }
        outcome
    }
}

fn scaled_to(samples: &mut [i16], dbfs: f64) {
    let energy: f64 = samples.iter().map(|x| f64::from(*x).powi(2)).sum();
    let rms = (energy / samples.len() as f64).sqrt();
    let gain = 32_768.0 * 10f64.powf(dbfs / 20.0) / rms;
    samples.iter_mut().for_each(|x| *x = (f64::from(*x) * gain).clamp(-32_768.0, 32_767.0) as i16);
}

/// Noise of a voice's band, 300 to 1,500 Hz, and rhythm: 3 s in a loop, -15 dBFS.
fn prompt(length_ms: usize) -> Vec<i16> {
    const HZ: std::ops::Range<usize> = 300..1_500;
    let mut random = Random::new(3);
    // The more sines, the more it is noise.
    let sines: Vec<(f64, f64)> = HZ
        .step_by(10)
        .map(|hz| ((hz + random.below(10)) as f64, random.below(6_283) as f64 / 1_000.0))
        .collect();
    let mut once: Vec<i16> = (0..3_000 * MS)
        .map(|n| {
            let angle = std::f64::consts::TAU * n as f64 / 8_000.0;
            let sum: f64 = sines.iter().map(|(hz, phase)| (hz * angle + phase).sin()).sum();
            (500.0 * sum * (0.65 + 0.35 * (2.7 * angle).sin())) as i16
        })
        .collect();
    scaled_to(&mut once, -15.0);
    once.into_iter().cycle().take(length_ms * MS).collect()
}

fn spoken(seed: u64, length_ms: usize) -> Vec<i16> {
    let mut said = voice::speech_like(seed, length_ms);
    scaled_to(&mut said, -18.0);
    said
}

fn spec(hz: &[f32], times_ms: &[(u16, u16)], level_dbm0: f32) -> ToneSpec {
    let mut all = [0.0; 4];
    all[..hz.len()].copy_from_slice(hz);
    let segment =
        |(on_ms, off_ms): &(u16, u16)| ToneSegment { hz: all, level_dbm0, on_ms: *on_ms, off_ms: *off_ms };
    ToneSpec::repeating(&times_ms.iter().map(segment).collect::<Vec<_>>())
}

/// Busy tones (ITU-T E.180): country, frequencies, sound and pause.
const BUSY: [(&str, &[f32], (u16, u16)); 12] = [
    ("de", &[425.0], (480, 480)),
    ("us", &[480.0, 620.0], (500, 500)),
    ("gb", &[400.0], (375, 375)),
    ("fr", &[440.0], (500, 500)),
    ("es", &[425.0], (200, 200)),
    ("at", &[420.0], (400, 400)),
    ("se", &[425.0], (250, 250)),
    ("fi", &[425.0], (300, 300)),
    ("cz", &[425.0], (330, 330)),
    ("jp", &[400.0], (500, 500)),
    ("br", &[425.0], (250, 250)),
    ("cn", &[450.0], (350, 350)),
];

fn plan(hz: &[f32], (on_ms, off_ms): (u16, u16), level_dbm0: f32) -> [(ToneKind, ToneSpec); 3] {
    [
        (ToneKind::Dial, spec(hz, &[(0, 0)], level_dbm0)),
        (ToneKind::Ringback, spec(hz, &[(1_000, 4_000)], level_dbm0)),
        (ToneKind::Busy, spec(hz, &[(on_ms, off_ms)], level_dbm0)),
    ]
}

fn played(spec: ToneSpec, ms: usize) -> Vec<i16> {
    let (mut player, mut all) = (TonePlayer::new(spec), Vec::new());
    let mut frame = Frame::silence(Rate::Narrow);
    while all.len() < ms * MS && player.fill(&mut frame) {
        all.extend(frame.samples());
    }
    all.truncate(ms * MS);
    all
}

/// When the tone was told, in ms.
fn told_busy(outcome: &Outcome) -> Option<usize> {
    let busy = outcome.facts.iter().find(|(_, fact)| *fact == Fact::Tone(HeardTone::Busy));
    busy.map(|(at, _)| *at)
}

/// Three rounds are needed; one more may be lost.
#[test]
fn busy_tone_under_a_prompt_is_heard_within_four_rounds() {
    let mut late = Vec::new();
    for (country, hz, (on_ms, off_ms)) in BUSY {
        for line_db in LINES_DB {
            for level_dbm0 in [-10.0, -20.0] {
                let plan = plan(hz, (on_ms, off_ms), level_dbm0);
                let busy = played(plan[2].1, 8_000);
                let before_ms = 4_000;
                let exchange = [vec![0; before_ms * MS], busy].concat();
                for (name, prompt) in [("prompt", prompt(12_000)), ("speech", spoken(8, 12_000))] {
                    let outcome = Bench::new(&plan, Hybrid::of(line_db)).run(&prompt, &exchange);
                    let limit_ms = before_ms + 4 * usize::from(on_ms + off_ms) + 100;
                    let told = told_busy(&outcome);
                    if told.is_none_or(|at_ms| at_ms < before_ms || at_ms > limit_ms) {
                        late.push(format!(
                            "{country}, {line_db:?} dB, {level_dbm0} dBm0, {name}: {told:?} of {limit_ms}"
                        ));
                    }
                }
            }
        }
    }
    assert!(late.is_empty(), "{}\n{}", late.len(), late.join("\n"));
}

/// The exchange had hung up before the prompt began: nothing is known of the line.
#[test]
fn busy_tone_that_is_there_from_the_start_is_heard_on_a_line_without_an_echo() {
    let (_, hz, times) = BUSY[0];
    for level_dbm0 in [-10.0, -15.0] {
        let plan = plan(hz, times, level_dbm0);
        let busy = played(plan[2].1, 16_000);
        let told = told_busy(&Bench::new(&plan, Hybrid::of(None)).run(&prompt(16_000), &busy));
        assert!(told.is_some_and(|at_ms| at_ms <= 6_000), "{level_dbm0} dBm0: {told:?}");
    }
}

/// A tone that we play ourselves comes back: it is not the line's.
#[test]
fn our_own_busy_tone_that_comes_back_is_none() {
    for line_db in [6.0, 12.0, 20.0] {
        let (_, hz, times) = BUSY[0];
        let plan = plan(hz, times, -10.0);
        let outcome =
            Bench::new(&plan, Hybrid::of(Some(line_db))).run(&played(plan[2].1, 16_000), &[0; 16_000 * MS]);
        assert_eq!(told_busy(&outcome), None, "{line_db} dB");
    }
}

/// Keys through the ears, and as the engine hears them in the sound of the leg.
#[test]
fn keys_under_a_prompt_are_heard_at_once() {
    let mut missed = Vec::new();
    for line_db in LINES_DB {
        // Right at the start, when nothing is known of the line, and later.
        for before_ms in [300, 1_500, 5_000] {
            for (name, prompt) in [("prompt", prompt(8_000)), ("speech", spoken(8, 8_000))] {
                let mut exchange = vec![0; 8_000 * MS];
                let digits = [Digit::D1, Digit::D5, Digit::D9, Digit::Hash];
                for (n, digit) in digits.iter().enumerate() {
                    let from = (before_ms + 250 * n) * MS;
                    dtmf_generate::oscillator(Rate::Narrow, *digit)
                        .fill(&mut exchange[from..from + 100 * MS]);
                }
                let outcome = Bench::new(&[], Hybrid::of(line_db)).run(&prompt, &exchange);
                let ears: Vec<(usize, Digit)> = outcome
                    .facts
                    .iter()
                    .filter_map(
                        |(at, fact)| if let Fact::Digit(digit) = fact { Some((*at, *digit)) } else { None },
                    )
                    .collect();
                let mut engine = Vec::new();
                let mut detector = DtmfDetector::new(Rate::Narrow);
                dtmf_detect::prepare();
                for (n, part) in outcome.leg.chunks(160).enumerate() {
                    detector.process(part, |heard| {
                        if let dtmf_detect::Heard::Began(digit) = heard {
                            engine.push((n * 20, digit));
                        }
                    });
                }
                for (who, heard) in [("ears", ears), ("engine", engine)] {
                    let right = heard.len() == digits.len()
                        && heard.iter().zip(digits).enumerate().all(|(n, ((at_ms, heard), digit))| {
                            // While it is pressed, and what is under way to the leg.
                            *heard == digit && *at_ms <= before_ms + 250 * n + 160
                        });
                    if !right {
                        missed.push(format!("{line_db:?} dB, {before_ms} ms, {name}, {who}: {heard:?}"));
                    }
                }
            }
        }
    }
    assert!(missed.is_empty(), "{}\n{}", missed.len(), missed.join("\n"));
}

/// Five minutes of speech of both ends at once, on each kind of line, with the tones of Germany.
#[test]
fn speech_of_both_ends_is_no_tone() {
    let (_, hz, times) = BUSY[0];
    for line_db in LINES_DB {
        let plan = plan(hz, times, -10.0);
        let (ours, theirs) = (spoken(21, 300_000), spoken(22, 300_000));
        let outcome = Bench::new(&plan, Hybrid::of(line_db)).run(&ours, &theirs);
        let heard: Vec<_> =
            outcome.facts.iter().filter(|(_, fact)| matches!(fact, Fact::Tone(_) | Fact::Digit(_))).collect();
        assert!(heard.is_empty(), "{line_db:?} dB: {heard:?}");
    }
}

/// What a leg hears of the wire's first words while it speaks itself, in parts of 200 ms.
#[test]
fn the_first_words_of_the_wire_are_heard_whole_while_the_leg_speaks() {
    let (ours, theirs) = (spoken(31, 6_000), spoken(32, 6_000));
    let outcome = Bench::new(&[], Hybrid::of(None)).run(&ours, &theirs);
    // What is under way to the leg: the ring and the canceller.
    let whole = compare::find(&theirs[8_000..40_000], &outcome.leg);
    assert!(whole.correlation > 0.97, "{}", whole.correlation);
    let parts: Vec<f64> = theirs[..16_000]
        .chunks(1_600)
        .enumerate()
        .map(|(n, part)| {
            let from = (n * 1_600).saturating_sub(400);
            compare::find(part, &outcome.leg[from..from + 4_000]).correlation
        })
        .collect();
    assert!(parts.iter().all(|alike| *alike > 0.9), "{parts:.2?}");
}
