//! Sounds that can be told apart: deterministic, at 8 kHz, and with no two steady tones that
//! could be taken for a key.

use super::SAMPLES_PER_SECOND;
use crate::random::Random;

/// Loudest sample, about 9 dB below full scale.
const PEAK: f64 = 11_000.0;

/// Something like a person who speaks: syllables of gliding pitch with overtones, other ones for
/// each `seed`.
#[must_use]
pub fn speech_like(seed: u64, length_ms: usize) -> Vec<i16> {
    let mut random = Random::new(seed);
    let length = length_ms * SAMPLES_PER_SECOND / 1_000;
    let mut samples = Vec::with_capacity(length);
    let mut phase = 0.0_f64;
    while samples.len() < length {
        let syllable = SAMPLES_PER_SECOND * (90 + random.below(110)) / 1_000;
        let (from, to) = (110.0 + random.below(240) as f64, 110.0 + random.below(240) as f64);
        let colour: Vec<f64> = (1..=9).map(|_| random.below(100) as f64 / 100.0).collect();
        let total: f64 = colour.iter().sum::<f64>().max(1.0);
        for at in 0..syllable {
            let along = at as f64 / syllable as f64;
            phase += std::f64::consts::TAU * (from + (to - from) * along) / SAMPLES_PER_SECOND as f64;
            let envelope = (std::f64::consts::PI * along).sin();
            let sum: f64 =
                colour.iter().enumerate().map(|(k, level)| level * (phase * (k + 1) as f64).sin()).sum();
            samples.push((PEAK * envelope * sum / total * 1.6).clamp(-PEAK, PEAK) as i16);
        }
    }
    samples.truncate(length);
    samples
}

/// Something like an announcement: four rising notes of 150 ms each, and speech after them.
#[must_use]
pub fn announcement(seed: u64, length_ms: usize) -> Vec<i16> {
    const NOTES_HZ: [f64; 4] = [523.25, 659.25, 783.99, 1_046.5];
    let note = SAMPLES_PER_SECOND * 150 / 1_000;
    let mut samples: Vec<i16> = NOTES_HZ
        .iter()
        .flat_map(|hz| {
            (0..note).map(move |at| {
                let fade = (std::f64::consts::PI * at as f64 / note as f64).sin();
                let angle = std::f64::consts::TAU * hz * at as f64 / SAMPLES_PER_SECOND as f64;
                (PEAK * fade * (0.8 * angle.sin() + 0.2 * (2.0 * angle).sin())) as i16
            })
        })
        .collect();
    samples.extend(speech_like(seed, length_ms.saturating_sub(600)));
    samples.truncate(length_ms * SAMPLES_PER_SECOND / 1_000);
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_speaks_the_same_words() {
        assert_eq!(speech_like(5, 300), speech_like(5, 300));
        assert_ne!(speech_like(5, 300), speech_like(6, 300));
        assert_eq!(announcement(1, 1_000).len(), 8_000);
        assert!(speech_like(1, 2_000).iter().any(|sample| sample.unsigned_abs() > 4_000), "loud enough");
    }
}
