//! The echo canceller in the manner of ITU-T G.168: several echo paths, noise and speech, both
//! ends talking, tones, a path that changes, fax.

mod signals;

use signals::{Noise, floats, quantised, rms, rms_of, speech};
use tipring_media::dsp::echo::{EchoCanceller, TAIL_MS};

const RATE: usize = 8_000;

/// An echo path: reflections of a hybrid, each dispersed, with `loss_db` between what is sent and
/// what comes back of white noise.
fn path(delay_ms: f64, reflections: &[(f64, f64)], spread_ms: f64, loss_db: f64, seed: u64) -> Vec<f64> {
    let mut noise = Noise(seed);
    let mut taps = vec![0.0; TAIL_MS * 8];
    for (after_ms, gain) in reflections {
        let from = ((delay_ms + after_ms) * 8.0) as usize;
        for (n, tap) in taps.iter_mut().skip(from).enumerate() {
            *tap += gain * noise.normal() * (-(n as f64) / (spread_ms * 8.0)).exp();
        }
    }
    let norm = taps.iter().map(|tap| tap * tap).sum::<f64>().sqrt();
    taps.iter().map(|tap| tap / norm * 10f64.powf(-loss_db / 20.0)).collect()
}

/// Hybrids of short and long loops, one and several reflections, 6 dB and more of loss.
fn paths() -> Vec<(&'static str, Vec<f64>)> {
    vec![
        ("short loop, 6 dB", path(1.0, &[(0.0, 1.0)], 0.8, 6.0, 1)),
        ("long loop, 8 dB", path(2.0, &[(0.0, 1.0)], 2.5, 8.0, 2)),
        ("two reflections, 10 dB", path(3.0, &[(0.0, 1.0), (9.0, 0.7)], 1.5, 10.0, 3)),
        ("late, three reflections, 12 dB", path(14.0, &[(0.0, 1.0), (6.0, 0.5), (17.0, 0.6)], 2.0, 12.0, 4)),
        ("very late, 9 dB", path(44.0, &[(0.0, 1.0), (7.0, 0.4)], 1.5, 9.0, 5)),
    ]
}

fn echo(far: &[i16], path: &[f64]) -> Vec<f64> {
    let taps: Vec<(usize, f64)> =
        path.iter().copied().enumerate().filter(|(_, tap)| tap.abs() > 1e-7).collect();
    (0..far.len())
        .map(|n| taps.iter().filter(|(k, _)| *k <= n).map(|(k, tap)| tap * f64::from(far[n - k])).sum())
        .collect()
}

fn cancel(canceller: &mut EchoCanceller, far: &[i16], near: &[i16]) -> Vec<i16> {
    let mut out = near.to_vec();
    for (far, out) in far.chunks(160).zip(out.chunks_mut(160)) {
        canceller.process(far, out);
    }
    out
}

fn level_db(samples: &[f64]) -> f64 {
    20.0 * rms(samples).max(0.5).log10()
}

/// By how much less the echo is in these seconds.
fn loss_db(before: &[i16], after: &[i16], from_s: f64, to_s: f64) -> f64 {
    let part = (from_s * RATE as f64) as usize..(to_s * RATE as f64) as usize;
    level_db(&floats(&before[part.clone()])) - level_db(&floats(&after[part]))
}

/// Speech without its long pauses, so that each second of it holds some.
fn dense_speech(from_s: usize, seconds: usize) -> Vec<i16> {
    let mut all: Vec<i16> = Vec::new();
    let mut quiet = 0;
    for block in speech(60)[from_s * RATE..].chunks(80) {
        quiet = if rms(&floats(block)) < 60.0 { quiet + 1 } else { 0 };
        if quiet < 10 {
            all.extend(block);
        }
        if all.len() >= seconds * RATE {
            break;
        }
    }
    all.truncate(seconds * RATE);
    all
}

fn white(seconds: usize, level: f64, seed: u64) -> Vec<i16> {
    quantised(&Noise(seed).white(seconds * RATE, level))
}

/// Noise of a quiet line: −68 dBm0.
const LINE_NOISE: f64 = 6.0;

fn canceller(hides_residue: bool) -> EchoCanceller {
    if hides_residue { EchoCanceller::default() } else { EchoCanceller::linear() }
}

#[test]
fn thirty_decibels_within_a_second_on_noise_and_speech() {
    for (name, path) in paths() {
        let sounds = [
            ("noise", white(8, -16.0, 3)),
            ("speech", dense_speech(0, 8)),
            ("another voice", dense_speech(95, 8)),
            ("quiet speech", dense_speech(300, 8).iter().map(|x| x / 5).collect()),
        ];
        for (sound, far) in sounds {
            let near = Noise(8).over(&echo(&far, &path), LINE_NOISE);
            for hides in [false, true] {
                let out = cancel(&mut canceller(hides), &far, &near);
                let losses = [(1.0, 2.0), (2.0, 3.0), (5.0, 8.0)].map(|(a, b)| loss_db(&near, &out, a, b));
                println!("{name}, {sound}, residue hidden: {hides}: {losses:.1?}");
                let wanted = match (hides, sound) {
                    // No more than what the line's own noise leaves room for.
                    (true, "quiet speech") => [20.0, 22.0, 22.0],
                    (true, _) => [30.0; 3],
                    (false, "noise") => [33.0, 35.0, 35.0],
                    (false, "quiet speech") => [12.0, 15.0, 18.0],
                    (false, _) => [14.0, 20.0, 30.0],
                };
                for (loss, wanted) in losses.iter().zip(wanted) {
                    assert!(*loss >= wanted, "{name}, {sound}, hidden {hides}: {losses:.1?}");
                }
            }
        }
    }
}

/// The marks of other cancellers, on a path of 16 ms: 41 dB less echo without hiding the residue.
#[test]
fn forty_one_decibels_in_the_long_run() {
    let path = path(2.0, &[(0.0, 1.0)], 1.5, 10.0, 3);
    let far = dense_speech(0, 60);
    let near = Noise(8).over(&echo(&far, &path), 2.0);
    let mut canceller = EchoCanceller::linear();
    let out = cancel(&mut canceller, &far, &near);
    let loss = loss_db(&near, &out, 50.0, 60.0);
    println!("after 50 s: {loss:.1} dB, as it says itself {:.1}", canceller.loss_db());
    assert!(loss >= 41.0, "{loss}");
    assert!((f64::from(canceller.loss_db()) - loss).abs() < 15.0);
}

/// Twenty seconds of one end, twenty of both, twenty of one.
#[test]
fn both_ends_talking_neither_harms_the_filter_nor_the_near_end() {
    for (name, path) in paths() {
        let far = dense_speech(0, 60);
        for near_gain in [1.0, 0.5] {
            let mut near_end = vec![0.0; 20 * RATE];
            near_end.extend(dense_speech(200, 20).iter().map(|x| near_gain * f64::from(*x)));
            near_end.resize(far.len(), 0.0);
            let both: Vec<f64> = echo(&far, &path).iter().zip(&near_end).map(|(a, b)| a + b).collect();
            let near = Noise(8).over(&both, LINE_NOISE);
            for hides in [false, true] {
                let out = cancel(&mut canceller(hides), &far, &near);
                let error: Vec<f64> = out.iter().zip(&near_end).map(|(a, b)| f64::from(*a) - b).collect();
                let talk = 20 * RATE..40 * RATE;
                let distance = level_db(&near_end[talk.clone()]) - level_db(&error[talk]);
                let after = loss_db(&near, &out, 40.0, 43.0);
                println!(
                    "{name}, near {near_gain}, hidden {hides}: near to error {distance:.1} dB, after {after:.1}"
                );
                let least = if hides { 20.0 } else { 35.0 };
                assert!(distance >= least, "{name}, near {near_gain}, hidden {hides}: {distance}");
                assert!(after >= 27.0, "{name}, near {near_gain}, hidden {hides}: {after}");
            }
        }
    }
}

/// How alike what came out is to what the near end said, in parts of 200 ms in which it spoke.
fn likeness(near_end: &[f64], out: &[i16]) -> Vec<f64> {
    let loud = 0.1 * rms(near_end);
    near_end
        .chunks_exact(RATE / 5)
        .zip(out.chunks_exact(RATE / 5))
        .filter(|(said, _)| rms(said) > loud)
        .map(|(said, out)| {
            let out = floats(out);
            let product: f64 = said.iter().zip(&out).map(|(a, b)| a * b).sum();
            product / (said.len() as f64 * rms(said) * rms(&out)).max(1.0)
        })
        .collect()
}

/// What it says first is the most important: "yes", or "hello". Both ends are as loud as each other.
#[test]
fn the_near_end_is_heard_whole_from_its_first_word() {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut lines = vec![(f64::INFINITY, vec![0.0; TAIL_MS * 8])];
    lines.extend([6.0, 12.0, 20.0].map(|loss| (loss, path(2.0, &[(0.0, 1.0)], 1.0, loss, 7))));
    for (line_db, path) in lines {
        // Both from the start, and after the far end has spoken for so many seconds.
        for (voice_s, far_first_s) in [(200, 0), (230, 0), (260, 0), (200, 1), (230, 3), (260, 10)] {
            let far = dense_speech(voice_s / 2, far_first_s + 5);
            let mut near_end = vec![0.0; far_first_s * RATE];
            near_end.extend(floats(&dense_speech(voice_s, 5)));
            let sum: Vec<f64> = echo(&far, &path).iter().zip(&near_end).map(|(a, b)| a + b).collect();
            let near = Noise(8).over(&sum, LINE_NOISE);
            let out = cancel(&mut EchoCanceller::default(), &far, &near);
            let (before, after) = (likeness(&near_end, &near), likeness(&near_end, &out));
            let (worst, lost) = (after.iter().copied().fold(1.0, f64::min), mean(&before) - mean(&after));
            let name = format!("{line_db} dB, voice {voice_s}, far {far_first_s} s before");
            println!("{name}: worst {worst:.2}, lost {lost:.2}: {after:.2?}");
            match (line_db.is_finite(), far_first_s) {
                (false, _) => assert!(worst >= 0.85, "{name}: {after:.2?}"),
                // Nothing is known: what is weaker than an echo could be is hidden.
                (true, 0) => assert!(lost <= 0.1, "{name}: {after:.2?}"),
                (true, _) => assert!(worst >= 0.75 && lost <= 0.0, "{name}: {after:.2?}"),
            }
        }
    }
}

/// A line that has given back nothing begins to: another way, or a telephone beside the box.
#[test]
fn an_echo_that_comes_later_is_learned() {
    let path = &paths()[1].1;
    for far in [white(12, -16.0, 3), dense_speech(0, 12)] {
        let mut sum = echo(&far, path);
        sum[..6 * RATE].fill(0.0);
        let near = Noise(8).over(&sum, LINE_NOISE);
        let out = cancel(&mut EchoCanceller::default(), &far, &near);
        let losses = [(6.0, 7.0), (7.5, 9.0), (10.0, 12.0)].map(|(a, b)| loss_db(&near, &out, a, b));
        println!("{losses:.1?}");
        assert!(losses[1] >= 30.0 && losses[2] >= 30.0, "{losses:.1?}");
    }
}

#[test]
fn both_ends_talking_from_the_start_is_never_louder_than_it_came() {
    for (name, path) in paths() {
        let far = dense_speech(0, 14);
        let mut near_end = floats(&dense_speech(200, 8));
        near_end.resize(far.len(), 0.0);
        let both: Vec<f64> = echo(&far, &path).iter().zip(&near_end).map(|(a, b)| a + b).collect();
        let near = Noise(8).over(&both, LINE_NOISE);
        let out = cancel(&mut EchoCanceller::linear(), &far, &near);
        for second in 0..14 {
            let loss = loss_db(&near, &out, f64::from(second), f64::from(second + 1));
            assert!(loss > -1.0, "{name}, second {second}: {loss}");
        }
        let after = loss_db(&near, &out, 11.0, 14.0);
        println!("{name}: {after:.1} dB three seconds after");
        assert!(after >= 18.0, "{name}: {after}");
    }
}

#[test]
fn another_path_in_mid_call_is_learned_anew() {
    let [(_, first), _, (_, second), ..] = &paths()[..] else { panic!("three paths") };
    for far in [white(24, -16.0, 3), dense_speech(0, 24)] {
        let (before, after) = (echo(&far, first), echo(&far, second));
        let half = 12 * RATE;
        let joined: Vec<f64> = before[..half].iter().chain(&after[half..]).copied().collect();
        let near = Noise(8).over(&joined, LINE_NOISE);
        let out = cancel(&mut EchoCanceller::default(), &far, &near);
        let losses = [(12.0, 13.0), (13.5, 15.0), (20.0, 24.0)].map(|(a, b)| loss_db(&near, &out, a, b));
        println!("{losses:.1?}");
        assert!(losses[1] >= 30.0 && losses[2] >= 35.0, "{losses:.1?}");
    }
}

/// Tones teach a filter what is wrong elsewhere; noise after them must still be cancelled.
#[test]
fn tones_do_not_spoil_what_was_learned() {
    for (name, path) in paths() {
        for parts in [&[(425.0, -10.0)][..], &[(697.0, -9.0), (1_336.0, -7.0)], &[(2_100.0, -12.0)]] {
            let mut far = white(4, -16.0, 3);
            far.extend(quantised(&signals::sines(10 * RATE, parts)));
            far.extend(white(2, -16.0, 9));
            let near = Noise(8).over(&echo(&far, &path), LINE_NOISE);
            let out = cancel(&mut EchoCanceller::linear(), &far, &near);
            let (tone, after) = (loss_db(&near, &out, 6.0, 14.0), loss_db(&near, &out, 14.0, 14.5));
            println!("{name}, {parts:?}: {tone:.1} dB of the tone, {after:.1} of the noise after it");
            assert!(tone >= 25.0 && after >= 20.0, "{name}, {parts:?}: {tone} {after}");
        }
    }
}

#[test]
fn what_only_the_near_end_says_passes_as_it_is() {
    let near = dense_speech(100, 10);
    let silent = vec![0; near.len()];
    assert_eq!(cancel(&mut EchoCanceller::default(), &silent, &near), near);
    // After the far end has spoken, too.
    let path = &paths()[1].1;
    let mut far = dense_speech(0, 5);
    far.resize(15 * RATE, 0);
    let mut whole = echo(&far[..5 * RATE], path);
    whole.extend(floats(&near));
    let out = cancel(&mut EchoCanceller::default(), &far, &quantised(&whole));
    assert_eq!(out[6 * RATE..], near[RATE..]);
}

#[test]
fn the_background_goes_on_where_the_echo_was() {
    let (_, path) = &paths()[1];
    let background = rms_of(-55.0);
    // Speech with pauses, in which the background is learned.
    let mut far = Vec::new();
    for part in dense_speech(0, 12).chunks(2 * RATE) {
        far.extend_from_slice(part);
        far.resize(far.len() + RATE / 2, 0);
    }
    let near = Noise(8).over(&echo(&far, path), background);
    let out = cancel(&mut EchoCanceller::default(), &far, &near);
    for second in 6..14 {
        let level = level_db(&floats(&out[second * RATE..(second + 1) * RATE]));
        let off = level - 20.0 * background.log10();
        println!("second {second}: {off:.1} dB beside the background");
        assert!(off.abs() < 3.5, "second {second}: {off:.1} dB beside the background");
    }
}

#[test]
fn a_modem_switches_it_off_until_the_line_is_quiet() {
    let (_, path) = &paths()[1];
    let mut far = white(3, -16.0, 3);
    let mut answer = signals::sines(3 * RATE, &[(2_100.0, -12.0)]);
    for (n, sample) in answer.iter_mut().enumerate() {
        if n / 3_600 % 2 == 1 {
            *sample = -*sample;
        }
    }
    for from_us in [true, false] {
        far.truncate(3 * RATE);
        far.extend(if from_us { quantised(&answer) } else { vec![0; 3 * RATE] });
        // Data, a pause, speech.
        far.extend(white(2, -16.0, 5));
        far.resize(far.len() + RATE, 0);
        far.extend(white(2, -16.0, 7));
        let mut whole = echo(&far, path);
        if !from_us {
            whole[3 * RATE..6 * RATE].iter_mut().zip(&answer).for_each(|(sum, x)| *sum += x);
        }
        let near = Noise(8).over(&whole, LINE_NOISE);
        let mut canceller = EchoCanceller::default();
        let part = |from: usize, to: usize, canceller: &mut EchoCanceller| {
            cancel(canceller, &far[from * RATE..to * RATE], &near[from * RATE..to * RATE])
        };
        part(0, 3, &mut canceller);
        assert!(!canceller.is_off());
        part(3, 5, &mut canceller);
        assert!(canceller.is_off(), "from us: {from_us}");
        assert_eq!(part(5, 8, &mut canceller), near[5 * RATE..8 * RATE], "nothing is changed");
        part(8, 9, &mut canceller);
        assert!(!canceller.is_off());
        let out = part(9, 11, &mut canceller);
        let loss = loss_db(&near[9 * RATE..], &out, 0.0, 2.0);
        assert!(loss > 25.0, "from us {from_us}: {loss}");
    }
    // Without reversals it works on.
    let plain = quantised(&signals::sines(3 * RATE, &[(2_100.0, -12.0)]));
    let mut canceller = EchoCanceller::default();
    cancel(&mut canceller, &plain, &vec![0; plain.len()]);
    assert!(!canceller.is_off());
}
