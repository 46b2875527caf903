//! What each piece of signal processing costs.
//!
//! `cargo run --release --example dsp_bench` prints milliseconds of CPU for a second of sound on
//! one channel, the least of five rounds. The sound is bursts of noise and a tone, so
//! that nothing is skipped as silence.
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::print_stdout, reason = "it reports")]

use std::{hint::black_box, time::Instant};

use tipring_media::dsp::{
    answer_tone::AnswerToneDetector,
    caller_id::{AlertToneDetector, CallerIdReceiver},
    comfort_noise::ComfortNoise,
    dtmf_detect::{self, DtmfDetector},
    echo::EchoCanceller,
    fax_tone::FaxToneDetector,
    fsk::{BELL_202, FskReceiver, FskTransmitter},
    gain::Gain,
    level_meter::LevelMeter,
    plc::Concealment,
    resample::{Doubler, Halver},
    tone_detect::{ToneDetector, ToneKind},
    tone_learn::ToneLearner,
};
use tipring_media::{Frame, Rate, ToneSegment, ToneSpec};

/// Seconds of sound a round.
const SECONDS: usize = 20;
const ROUNDS: usize = 5;
/// Samples that are given at a time: 20 ms.
const FRAME: usize = 160;

/// Bursts of noise of 300 ms with tones between them.
fn sound() -> Vec<i16> {
    let mut seed = 1u32;
    (0..SECONDS * 8_000)
        .map(|n| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (seed >> 16) as f32 / 32_768.0 - 1.0;
            let tone = (n as f32 * 425.0 / 8_000.0 * core::f32::consts::TAU).sin();
            let sample = if n / 2_400 % 2 == 0 { 6_000.0 * noise } else { 4_000.0 * tone };
            sample as i16
        })
        .collect()
}

/// Runs `piece` over the frames and prints what it took.
fn measure(name: &str, frames: &[i16], mut piece: impl FnMut(&[i16])) {
    let mut least = f64::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for frame in frames.chunks_exact(FRAME) {
            piece(black_box(frame));
        }
        least = least.min(began.elapsed().as_secs_f64());
    }
    println!("{name:<40} {:>7.3} ms of CPU for a second", least * 1_000.0 / SECONDS as f64);
}

fn main() {
    let sound = sound();
    dtmf_detect::prepare();
    let mut digits = DtmfDetector::new(Rate::Narrow);
    measure("digits", &sound, |frame| {
        digits.process(frame, |heard| {
            black_box(heard);
        })
    });

    let tone = |on_ms, off_ms| {
        ToneSpec::repeating(&[ToneSegment { hz: [425.0, 0.0, 0.0, 0.0], level_dbm0: -13.0, on_ms, off_ms }])
    };
    let plan = [
        (ToneKind::Dial, tone(0, 0)),
        (ToneKind::Ringback, tone(1_000, 4_000)),
        (ToneKind::Busy, tone(480, 480)),
        (ToneKind::Congestion, tone(240, 240)),
    ];
    let mut tones = ToneDetector::new(&plan);
    measure("call-progress tones", &sound, |frame| {
        tones.push(frame, &[], |event| {
            black_box(event);
        })
    });
    let mut learner = ToneLearner::default();
    measure("learning a tone", &sound, |frame| learner.push(frame));
    let mut fax = FaxToneDetector::default();
    measure("calling tone of fax machines", &sound, |frame| {
        black_box(fax.process(&Frame::from_samples(Rate::Narrow, frame)));
    });
    let mut answer = AnswerToneDetector::default();
    measure("answer tone and its reversals", &sound, |frame| answer.push(frame));
    let mut alert = AlertToneDetector::default();
    measure("alert tone", &sound, |frame| {
        black_box(alert.push(frame));
    });

    let mut receiver = FskReceiver::new(BELL_202);
    measure("modem, receiving", &sound, |frame| {
        receiver.push(frame, |heard| {
            black_box(heard);
        })
    });
    let mut sender = FskTransmitter::new(BELL_202, -13.5);
    let mut bit = false;
    measure("modem, sending", &sound, |_| {
        let mut out = [0; FRAME];
        sender.fill(&mut out, || {
            bit = !bit;
            Some(bit)
        });
        black_box(out);
    });
    let mut caller = CallerIdReceiver::default();
    measure("caller ID, all standards at once", &sound, |frame| {
        caller.push(frame, |heard| {
            black_box(heard);
        });
    });

    let mut echo = EchoCanceller::default();
    let mut late = vec![0; 200];
    late.extend(sound.iter().map(|sample| sample / 3));
    late.truncate(sound.len());
    let mut back = late.chunks_exact(FRAME).cycle();
    measure("echo canceller, 64 ms", &sound, |frame| {
        let mut near = [0; FRAME];
        near.copy_from_slice(back.next().unwrap_or(&[0; FRAME]));
        echo.process(frame, &mut near);
        black_box(near);
    });

    let mut meter = LevelMeter::new(Rate::Narrow);
    measure("level meter", &sound, |frame| meter.push(frame));
    measure("gain", &sound, |frame| {
        let mut out = [0; FRAME];
        out.copy_from_slice(frame);
        Gain::from_db(3.0).apply(&mut out);
        black_box(out);
    });
    let mut noise = ComfortNoise::default();
    measure("comfort noise", &sound, |_| {
        let mut out = [0.0; FRAME];
        noise.fill(&mut out);
        black_box(out);
    });
    let mut concealment = Concealment::new(Rate::Narrow);
    let mut lost = false;
    measure("concealment, every other frame lost", &sound, |frame| {
        let mut out = [0; FRAME];
        out.copy_from_slice(frame);
        lost = !lost;
        if lost {
            concealment.conceal(&mut out)
        } else {
            concealment.heard(&mut out)
        }
        black_box(out);
    });
    let (mut doubler, mut halver) = (Doubler::default(), Halver::default());
    measure("to 16 kHz and back", &sound, |frame| {
        let (mut wide, mut narrow) = ([0; 2 * FRAME], [0; FRAME]);
        doubler.process(frame, &mut wide);
        halver.process(&wide, &mut narrow);
        black_box(narrow);
    });
}
