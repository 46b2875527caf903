//! Sampling rate conversion.
//!
//! What does it do? [`Doubler`] and [`Halver`] turn 8 kHz into 16 kHz and back while
//! audio runs; [`convert`] turns a whole recording of any rate into 8 or 16 kHz.
//!
//! How does it work? The pair share a half-band filter of 63 taps, of which only
//! every second and the middle one are not zero. `convert` uses windowed sinc
//! filters (Kaiser, 16 zero crossings a side), one for each of up to 1,024 phases.
//!
//! Limits: pass band 0 to 3.4 kHz within 0.1 dB, images and aliases above 4.6 kHz
//! below −60 dB; delay 2 ms each. `convert` takes 1 Hz to 192 kHz,
//! passes 90 % of the lower of the two bands, and adds no delay.

use std::sync::LazyLock;

/// Taps on one side of the middle that are not zero.
const SIDE: usize = 16;
/// Samples of past that the filters need at 8 kHz.
const PAST: usize = 2 * SIDE;

/// Zeroth-order modified Bessel function of the first kind.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..40 {
        let factor = x / (2.0 * f64::from(k));
        term *= factor * factor;
        sum += term;
    }
    sum
}

/// Kaiser window at `x` from −1 to 1.
fn kaiser(x: f64, beta: f64) -> f64 {
    if x.abs() >= 1.0 { 0.0 } else { bessel(beta * (1.0 - x * x).sqrt()) / bessel(beta) }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (core::f64::consts::PI * x).sin() / (core::f64::consts::PI * x) }
}

/// The taps at odd distances 1, 3, … 31 from the middle, scaled so that they and
/// their mirror images sum to 1.
static HALF_BAND: LazyLock<[f32; SIDE]> = LazyLock::new(|| {
    let taps: [f64; SIDE] = core::array::from_fn(|i| {
        let distance = (2 * i + 1) as f64;
        sinc(distance / 2.0) * kaiser(distance / (2 * SIDE) as f64, 6.0)
    });
    let sum: f64 = 2.0 * taps.iter().sum::<f64>();
    taps.map(|tap| (tap / sum) as f32)
});

/// Builds the filter, so that nothing is computed first on the media thread.
pub fn prepare() {
    LazyLock::force(&HALF_BAND);
}

/// 8 kHz to 16 kHz.
#[derive(Clone)]
pub struct Doubler {
    past: [f32; PAST],
}

impl Default for Doubler {
    fn default() -> Self {
        Self { past: [0.0; PAST] }
    }
}

impl Doubler {
    /// Writes two samples for each of `samples`; `out` must be twice as long.
    pub fn process(&mut self, samples: &[i16], out: &mut [i16]) {
        let taps = &*HALF_BAND;
        for (sample, pair) in samples.iter().zip(out.chunks_exact_mut(2)) {
            self.past.copy_within(1.., 0);
            self.past[PAST - 1] = f32::from(*sample);
            // One phase is the sample in the middle, the other the half-band sum
            // between it and its neighbour.
            let mut between = 0.0;
            for (i, tap) in taps.iter().enumerate() {
                between += tap * (self.past[SIDE - 1 - i] + self.past[SIDE + i]);
            }
            pair[0] = self.past[SIDE - 1] as i16;
            pair[1] = between.round() as i16;
        }
    }
}

/// 16 kHz to 8 kHz.
#[derive(Clone)]
pub struct Halver {
    even: [f32; PAST],
    odd: [f32; PAST],
}

impl Default for Halver {
    fn default() -> Self {
        Self { even: [0.0; PAST], odd: [0.0; PAST] }
    }
}

impl Halver {
    /// Writes one sample for every two of `samples`.
    pub fn process(&mut self, samples: &[i16], out: &mut [i16]) {
        let taps = &*HALF_BAND;
        for (pair, sample) in samples.chunks_exact(2).zip(out) {
            self.even.copy_within(1.., 0);
            self.odd.copy_within(1.., 0);
            self.even[PAST - 1] = f32::from(pair[0]);
            self.odd[PAST - 1] = f32::from(pair[1]);
            let mut sum = 0.0;
            for (i, tap) in taps.iter().enumerate() {
                sum += tap * (self.odd[SIDE - 1 - i] + self.odd[SIDE + i]);
            }
            // The even sample that lies between the two middle odd ones.
            *sample = (0.5 * (sum + self.even[SIDE])).round() as i16;
        }
    }
}

/// Zero crossings on each side of the filter of [`convert`].
const CROSSINGS: f64 = 16.0;
/// Most phases kept; rates with a longer common period use the nearest of these.
const PHASES_MAX: u64 = 1_024;

/// Converts `samples` from `from_hz` to `to_hz`. Runs for as long as the recording
/// asks: not for the media thread.
#[must_use]
pub fn convert(samples: &[i16], from_hz: u32, to_hz: u32) -> Vec<i16> {
    if from_hz == to_hz || from_hz == 0 || to_hz == 0 || samples.is_empty() {
        return samples.to_vec();
    }
    let common = gcd(u64::from(from_hz), u64::from(to_hz));
    let (up, down) = (u64::from(to_hz) / common, u64::from(from_hz) / common);
    // Cut-off as a fraction of the input's sampling rate, a little inside the band.
    let cutoff = 0.5 * (f64::from(to_hz) / f64::from(from_hz)).min(1.0) * 0.95;
    let half = (CROSSINGS / (2.0 * cutoff)).ceil();
    let taps = 2 * half as usize;
    let phases = up.min(PHASES_MAX);
    let mut bank = vec![0.0f32; phases as usize * taps];
    for (phase, row) in bank.chunks_exact_mut(taps).enumerate() {
        let offset = phase as f64 / phases as f64;
        let weight = |at: usize| {
            let x = at as f64 - half + 1.0 - offset;
            2.0 * cutoff * sinc(2.0 * cutoff * x) * kaiser(x / half, 8.0)
        };
        let sum: f64 = (0..taps).map(weight).sum();
        for (at, tap) in row.iter_mut().enumerate() {
            *tap = (weight(at) / sum) as f32;
        }
    }
    let length = (samples.len() as u64 * up).div_ceil(down);
    (0..length)
        .map(|n| {
            let position = n * down;
            let first = (position / up) as i64 - half as i64 + 1;
            let phase = (position % up) * phases / up;
            let row = &bank[phase as usize * taps..][..taps];
            let sum: f32 = if first >= 0 && first as usize + taps <= samples.len() {
                row.iter().zip(&samples[first as usize..]).map(|(tap, x)| tap * f32::from(*x)).sum()
            } else {
                row.iter()
                    .zip(first..)
                    .filter_map(|(tap, at)| {
                        let x = samples.get(usize::try_from(at).ok()?)?;
                        Some(tap * f32::from(*x))
                    })
                    .sum()
            };
            sum.round() as i16
        })
        .collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hz: f64, rate: f64, length: usize) -> Vec<i16> {
        (0..length)
            .map(|i| (10_000.0 * (i as f64 * hz / rate * core::f64::consts::TAU).sin()) as i16)
            .collect()
    }

    /// Peak level of `hz` in `samples`, in dB against 10,000.
    fn level(samples: &[i16], hz: f64, rate: f64) -> f64 {
        let step = hz / rate * core::f64::consts::TAU;
        let (mut re, mut im) = (0.0, 0.0);
        for (i, x) in samples.iter().enumerate() {
            re += f64::from(*x) * (step * i as f64).cos();
            im += f64::from(*x) * (step * i as f64).sin();
        }
        20.0 * (2.0 * re.hypot(im) / samples.len() as f64 / 10_000.0).log10()
    }

    #[test]
    fn the_pair_passes_speech_and_stops_images() {
        for hz in [300.0, 1_000.0, 3_400.0] {
            let narrow = sine(hz, 8_000.0, 8_000);
            let mut wide = vec![0; 16_000];
            Doubler::default().process(&narrow, &mut wide);
            assert!(level(&wide[1_600..], hz, 16_000.0).abs() < 0.1, "{hz}");
            let image = level(&wide[1_600..], 8_000.0 - hz, 16_000.0);
            assert!(image < -58.0, "{hz}: image {image:.1}");
            let mut back = vec![0; 8_000];
            Halver::default().process(&wide, &mut back);
            assert!(level(&back[800..], hz, 8_000.0).abs() < 0.2, "{hz}");
        }
        for hz in [4_700.0, 6_000.0, 7_500.0] {
            let mut narrow = vec![0; 8_000];
            Halver::default().process(&sine(hz, 16_000.0, 16_000), &mut narrow);
            let alias = level(&narrow[800..], 8_000.0 - hz, 8_000.0);
            assert!(alias < -55.0, "{hz}: alias {alias:.1}");
        }
    }

    #[test]
    fn any_rate_becomes_8_or_16_khz() {
        for from in [8_000u32, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 44_099, 48_000] {
            for to in [8_000u32, 16_000] {
                let input = sine(1_000.0, f64::from(from), from as usize);
                let output = convert(&input, from, to);
                assert_eq!(output.len(), to as usize, "{from} to {to}");
                let heard = level(&output[1_000..6_000], 1_000.0, f64::from(to));
                assert!(heard.abs() < 0.1, "{from} to {to}: {heard:.2} dB");
                if from > to {
                    let high = f64::from(to) * 0.6;
                    let output = convert(&sine(high, f64::from(from), from as usize), from, to);
                    let loud = output[1_000..to as usize - 1_000].iter().map(|x| x.abs()).max().unwrap();
                    // An alias 50 dB down.
                    assert!(high >= f64::from(from) / 2.0 || loud < 32, "{from} to {to}: {loud}");
                }
            }
        }
        assert!(convert(&[], 44_100, 8_000).is_empty());
    }
}
