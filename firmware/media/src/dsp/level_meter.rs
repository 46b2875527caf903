//! Level meter.
//!
//! What does it do? Says how loud a line is, and how loud it was at its loudest.
//!
//! How does it work? The mean square of each 20 ms goes into an average with a time constant
//! of 125 ms ("fast", IEC 61672-1); the peak is that of single samples since it was last asked
//! for.
//!
//! Limits: 8 and 16 kHz; −96 to +6 dBm0, ±0.1 dB for a steady tone after a second.

use super::PEAK_0_DBM0;
use crate::frame::Rate;

/// What the meter shows of silence, in dBm0.
pub const LEVEL_MIN_DBM0: f32 = -96.0;

/// Samples of one mean: 20 ms at 8 kHz.
const SPAN_SAMPLES: usize = 160;
/// Part of a new 20 ms in the average: 1 − e^(−20/125).
const SHARE: f32 = 0.147_86;

/// Measures one direction of one leg.
#[derive(Clone, Copy, Debug)]
pub struct LevelMeter {
    span: usize,
    sum: f32,
    filled: usize,
    mean_square: f32,
    peak: u16,
}

impl LevelMeter {
    /// A meter that has heard nothing.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        let span = SPAN_SAMPLES * rate.frame_samples() / Rate::Narrow.frame_samples();
        Self { span, sum: 0.0, filled: 0, mean_square: 0.0, peak: 0 }
    }

    /// Takes samples.
    pub fn push(&mut self, samples: &[i16]) {
        for sample in samples {
            self.peak = self.peak.max(sample.unsigned_abs());
            let sample = f32::from(*sample);
            self.sum += sample * sample;
            self.filled += 1;
            if self.filled == self.span {
                let mean = self.sum / self.span as f32;
                self.mean_square += SHARE * (mean - self.mean_square);
                (self.sum, self.filled) = (0.0, 0);
            }
        }
    }

    /// The average level, in dBm0.
    #[must_use]
    pub fn level_dbm0(&self) -> f32 {
        // A sine has half the square of its peak.
        dbm0(2.0 * self.mean_square)
    }

    /// Level of a sine that has the greatest sample since the last call as its peak, in dBm0.
    pub fn take_peak_dbm0(&mut self) -> f32 {
        let peak = f32::from(core::mem::take(&mut self.peak));
        dbm0(peak * peak)
    }
}

/// Level of a sine whose peak has this square.
fn dbm0(peak_squared: f32) -> f32 {
    (10.0 * (peak_squared / (PEAK_0_DBM0 * PEAK_0_DBM0)).log10()).max(LEVEL_MIN_DBM0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::tone::Oscillator;

    #[test]
    fn a_steady_tone_shows_its_level_and_silence_the_least() {
        for rate in [Rate::Narrow, Rate::Wide] {
            for level in [0.0, -10.0, -40.0] {
                let mut meter = LevelMeter::new(rate);
                let mut samples = vec![0; rate.hz() as usize];
                Oscillator::new(rate, &[(1_020.0, level)]).fill(&mut samples);
                // Not in whole frames.
                samples.chunks(77).for_each(|part| meter.push(part));
                assert!((meter.level_dbm0() - level).abs() < 0.1, "{} for {level}", meter.level_dbm0());
                assert!((meter.take_peak_dbm0() - level).abs() < 0.2);
                assert!(meter.take_peak_dbm0() <= LEVEL_MIN_DBM0);
            }
        }
        assert!(LevelMeter::new(Rate::Narrow).level_dbm0() <= LEVEL_MIN_DBM0);
    }

    #[test]
    fn it_falls_when_the_sound_is_over() {
        let mut meter = LevelMeter::new(Rate::Narrow);
        let mut samples = vec![0; 8_000];
        Oscillator::new(Rate::Narrow, &[(1_020.0, -10.0)]).fill(&mut samples);
        meter.push(&samples);
        meter.push(&[0; 8_000]);
        assert!(meter.level_dbm0() < -40.0, "{}", meter.level_dbm0());
    }
}
