//! Comfort noise.
//!
//! What does it do? Learns how loud the background of a line is, and makes noise as loud, so
//! that a gap in the sound is not taken for a dead line.
//!
//! How does it work? The level is the least mean square of 20 ms among the last two to four
//! seconds: between words a line is down to its background. The noise is random numbers through
//! a filter of one pole, since the background of lines is darker than white.
//!
//! Limits: −72 to −40 dBm0; a louder background is filled in at −40 dBm0.

use super::PEAK_0_DBM0;

/// Loudest noise made, in dBm0.
pub const NOISE_MAX_DBM0: f32 = -40.0;
/// Noise before anything was learned, and the quietest, in dBm0.
pub const NOISE_MIN_DBM0: f32 = -72.0;

/// Samples of one mean: 20 ms at 8 kHz.
const SPAN: usize = 160;
/// Means after which the older minimum is forgotten: 2 s.
const MEANS_MAX: u32 = 100;
/// The pole of the filter.
const POLE: f32 = 0.6;
/// Minima of noise lie below its mean: 20 ms of it vary by about a decibel.
const MINIMUM_TO_MEAN: f32 = 1.3;

/// The background of one line, 8 kHz.
#[derive(Clone, Copy, Debug)]
pub struct ComfortNoise {
    sum: f32,
    filled: usize,
    /// Least mean square of the running stretch and of the one before.
    least: [f32; 2],
    means: u32,
    seed: u32,
    last: f32,
}

impl Default for ComfortNoise {
    fn default() -> Self {
        Self { sum: 0.0, filled: 0, least: [f32::MAX; 2], means: 0, seed: 0x2545_f491, last: 0.0 }
    }
}

impl ComfortNoise {
    /// Takes samples of the line.
    pub fn learn(&mut self, samples: &[f32]) {
        for sample in samples {
            self.sum += sample * sample;
            self.filled += 1;
            if self.filled == SPAN {
                let mean = self.sum / SPAN as f32;
                self.least[0] = self.least[0].min(mean);
                (self.sum, self.filled) = (0.0, 0);
                self.means += 1;
                if self.means == MEANS_MAX {
                    self.least = [f32::MAX, self.least[0]];
                    self.means = 0;
                }
            }
        }
    }

    /// Root mean square of the noise that [`fill`](Self::fill) makes.
    #[must_use]
    pub fn rms(&self) -> f32 {
        let (min, max) = (rms_of(NOISE_MIN_DBM0), rms_of(NOISE_MAX_DBM0));
        let least = self.least[0].min(self.least[1]);
        if least < f32::MAX { (least * MINIMUM_TO_MEAN).sqrt().clamp(min, max) } else { min }
    }

    /// Writes noise.
    pub fn fill(&mut self, samples: &mut [f32]) {
        // A uniform number from −1 to 1 has the variance 1/3, and the filter divides it by
        // 1 − POLE².
        let scale = self.rms() * (3.0 * (1.0 - POLE * POLE)).sqrt();
        for sample in samples {
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 17;
            self.seed ^= self.seed << 5;
            let uniform = (self.seed >> 8) as f32 / 8_388_608.0 - 1.0;
            self.last = POLE * self.last + uniform;
            *sample = scale * self.last;
        }
    }
}

fn rms_of(level_dbm0: f32) -> f32 {
    PEAK_0_DBM0 * core::f32::consts::FRAC_1_SQRT_2 * 10f32.powf(level_dbm0 / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rms(samples: &[f32]) -> f32 {
        (samples.iter().map(|x| x * x).sum::<f32>() / samples.len() as f32).sqrt()
    }

    #[test]
    fn it_sounds_as_loud_as_what_lies_between_words() {
        let mut source = ComfortNoise { least: [rms_of(-50.0).powi(2); 2], ..ComfortNoise::default() };
        let mut background = vec![0.0; 40_000];
        source.fill(&mut background);
        let mut heard = background.clone();
        // A word of half a second in each second.
        for (i, sample) in heard.iter_mut().enumerate() {
            if i % 8_000 < 4_000 {
                *sample += 5_000.0 * (i as f32 * 0.3).sin();
            }
        }
        let mut noise = ComfortNoise::default();
        noise.learn(&heard);
        let mut made = vec![0.0; 8_000];
        noise.fill(&mut made);
        let off = 20.0 * (rms(&made) / rms(&background)).log10();
        assert!(off.abs() < 2.0, "{off} dB");
    }

    #[test]
    fn a_quieter_background_is_learned_at_once_and_a_louder_within_four_seconds() {
        let mut noise = ComfortNoise::default();
        noise.learn(&[100.0; 8_000]);
        let loud = noise.rms();
        noise.learn(&[50.0; 160]);
        assert!(noise.rms() < loud * 0.6);
        noise.learn(&vec![100.0; 4 * 8_000]);
        assert!((noise.rms() - loud).abs() < 0.1, "{}", noise.rms());
    }

    #[test]
    fn its_level_stays_within_the_limits() {
        let mut noise = ComfortNoise::default();
        assert!((noise.rms() - rms_of(NOISE_MIN_DBM0)).abs() < 0.01);
        noise.learn(&[9_000.0; 16_000]);
        assert!((noise.rms() - rms_of(NOISE_MAX_DBM0)).abs() < 0.01);
    }
}
