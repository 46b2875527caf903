//! The tone that announces a message: CAS during a call, DT-AS on hook.
//!
//! What does it do? Hears 2,130 and 2,750 Hz together, and makes them. The telephone answers
//! the one during a call with the digit D, unless another one is off hook, too.
//!
//! How does it work? Blocks of 10 ms are correlated with both frequencies (Goertzel). They must
//! hold most of the block, be about equally loud, and go on for so long and no longer: a voice
//! that comes near them does not stop in time.
//!
//! Limits (Telcordia GR-30 §2.5; ETSI EN 300 659-1 §6.2.1.1): frequencies ±0.5 %; 75 to 110 ms;
//! −36 to 0 dBm0 each, 7 dB apart at most; noise 12 dB below. None in an hour of speech.

use crate::dsp::{
    peak_of,
    tone::{FREQUENCIES_MAX, ToneSegment, ToneSpec},
};

/// The two frequencies, in Hz.
const ALERT_HZ: [f32; 2] = [2_130.0, 2_750.0];
/// Level of each as sent, in dBm0.
const SENT_DBM0: f32 = -15.0;
/// Length of CAS as sent, in ms.
const CAS_MS: u16 = 80;
/// Length of DT-AS as sent, in ms.
const DT_AS_MS: u16 = 100;
/// The tone that the talking party hears of call waiting: Hz and ms.
const SAS: (f32, u16) = (440.0, 300);

/// Samples of a block: 10 ms at 8 kHz.
const BLOCK: usize = 80;
/// Weakest frequency heard, in dBm0.
const LEVEL_MIN_DBM0: f32 = -40.0;
/// Least part of a block's power that the two hold.
const SHARE_MIN: f32 = 0.65;
/// One above the other, as a ratio of powers: 7 dB, and what leaks from one into the other.
const TWIST_MAX: f32 = 10.0;
/// Blocks in a row that make the tone.
const BLOCKS: core::ops::RangeInclusive<u32> = 6..=12;

/// The tone as sent: with the subscriber's own tone before it during a call, alone on hook.
#[must_use]
pub fn alert_tone(during_call: bool) -> ToneSpec {
    let segment = |frequencies: &[f32], on_ms, level_dbm0| {
        let mut hz = [0.0; FREQUENCIES_MAX];
        hz.iter_mut().zip(frequencies).for_each(|(place, hz)| *place = *hz);
        ToneSegment { hz, level_dbm0, on_ms, off_ms: 0 }
    };
    if during_call {
        ToneSpec::once(&[segment(&[SAS.0], SAS.1, -13.0), segment(&ALERT_HZ, CAS_MS, SENT_DBM0)])
    } else {
        ToneSpec::once(&[segment(&ALERT_HZ, DT_AS_MS, SENT_DBM0)])
    }
}

/// Listens to a line at 8 kHz.
#[derive(Clone, Debug)]
pub struct AlertToneDetector {
    factors: [f32; 2],
    /// The last two values of each filter.
    states: [(f32, f32); 2],
    energy: f32,
    filled: usize,
    run: u32,
}

impl Default for AlertToneDetector {
    fn default() -> Self {
        let factor = |hz: f32| 2.0 * (core::f32::consts::TAU * hz / 8_000.0).cos();
        Self { factors: ALERT_HZ.map(factor), states: [(0.0, 0.0); 2], energy: 0.0, filled: 0, run: 0 }
    }
}

impl AlertToneDetector {
    /// Takes samples; true if the tone came to its end in them.
    pub fn push(&mut self, samples: &[i16]) -> bool {
        let mut ended = false;
        for sample in samples {
            let sample = f32::from(*sample);
            self.energy += sample * sample;
            for ((last, before), factor) in self.states.iter_mut().zip(self.factors) {
                let next = sample + factor * *last - *before;
                (*last, *before) = (next, *last);
            }
            self.filled += 1;
            if self.filled == BLOCK {
                ended |= self.block();
            }
        }
        ended
    }

    fn block(&mut self) -> bool {
        let least = peak_of(LEVEL_MIN_DBM0).powi(2);
        let mut powers = [0.0; 2];
        for ((power, (last, before)), factor) in powers.iter_mut().zip(&self.states).zip(self.factors) {
            let squared = last * last + before * before - factor * last * before;
            // The square of the peak of the sine behind it.
            *power = 4.0 * squared / (BLOCK * BLOCK) as f32;
        }
        let total = 2.0 * self.energy / BLOCK as f32;
        self.states = [(0.0, 0.0); 2];
        (self.energy, self.filled) = (0.0, 0);
        let [low, high] = powers;
        if low >= least
            && high >= least
            && low <= high * TWIST_MAX
            && high <= low * TWIST_MAX
            && low + high >= SHARE_MIN * total
        {
            self.run += 1;
            false
        } else {
            BLOCKS.contains(&core::mem::take(&mut self.run))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::tone::{Oscillator, TonePlayer};
    use crate::frame::{Frame, Rate};

    fn heard(parts: &[(f32, f32)], ms: usize, offset: usize) -> bool {
        let mut samples = vec![0; offset];
        let mut tone = vec![0; ms * 8];
        Oscillator::new(Rate::Narrow, parts).fill(&mut tone);
        samples.extend(tone);
        samples.resize(samples.len() + 800, 0);
        let mut detector = AlertToneDetector::default();
        samples.chunks(33).filter(|part| detector.push(part)).count() == 1
    }

    #[test]
    fn the_tone_is_heard_within_its_limits_wherever_it_begins() {
        for offset in (0..80).step_by(7) {
            for ms in [75, 80, 85, 100, 110] {
                for off in [0.995, 1.0, 1.005] {
                    for levels in [(-5.0, -5.0), (-20.0, -13.0), (-29.0, -36.0)] {
                        let parts = [(2_130.0 * off, levels.0), (2_750.0 * off, levels.1)];
                        assert!(heard(&parts, ms, offset), "{offset} {ms} ms {off} {levels:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_longer_shorter_or_another_tone_is_not() {
        for offset in (0..80).step_by(7) {
            let both = [(2_130.0, -15.0), (2_750.0, -15.0)];
            assert!(!heard(&both, 45, offset) && !heard(&both, 160, offset));
            assert!(!heard(&[(2_130.0, -15.0)], 80, offset));
            assert!(!heard(&[(2_030.0, -15.0), (2_750.0, -15.0)], 80, offset));
            assert!(!heard(&[(2_130.0, -15.0), (2_750.0, -28.0)], 80, offset));
        }
    }

    #[test]
    fn what_is_sent_is_heard() {
        for during_call in [false, true] {
            let mut player = TonePlayer::new(alert_tone(during_call));
            let mut detector = AlertToneDetector::default();
            let mut frame = Frame::silence(Rate::Narrow);
            let mut heard = 0;
            while player.fill(&mut frame) {
                heard += u32::from(detector.push(frame.samples()));
            }
            heard += u32::from(detector.push(&[0; 160]));
            assert_eq!(heard, 1, "during a call: {during_call}");
        }
    }
}
