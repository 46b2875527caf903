//! Answer tone detector.
//!
//! What does it do? Hears the 2,100 Hz of answering fax machines and modems, and whether its
//! phase is reversed: that asks the network to leave the sound as it is, echo included
//! (ITU-T G.168 §7, V.25, V.8).
//!
//! How does it work? Blocks of 10 ms are correlated with 2,100 Hz. While they hold nearly all
//! power, the phase must advance steadily; a jump of half a turn between a block and the one
//! before the last is a reversal.
//!
//! Limits: 8 kHz; 2,100 ± 21 Hz; −31 to 0 dBm0; noise 12 dB below; reversals of 180 ± 25°,
//! 450 ± 40 ms apart. The tone is told after 200 ms, reversals after the second.

use super::peak_of;

/// Samples of a block: 10 ms, in which 2,100 Hz make 21 whole turns.
const BLOCK: usize = 80;
const BLOCK_MS: u32 = 10;
const TONE_HZ: f32 = 2_100.0;
/// Weakest tone, in dBm0.
const LEVEL_MIN_DBM0: f32 = -33.0;
/// Least part of the power that it holds.
const SHARE_MIN: f32 = 0.8;
/// Blocks of tone after which it is told.
const TONE_BLOCKS: u32 = 20;
/// Blocks without it that end it. A reversal spoils one or two.
const MISSES_MAX: u32 = 4;
/// A jump that is a reversal, in radians: 155°, less the error of the estimate.
const REVERSAL_MIN: f32 = 2.5;
/// A turn that belongs to the tone: 21 Hz off, and noise.
const STEADY_MAX: f32 = 0.6;
/// From one reversal to the next, in ms.
const APART_MS: core::ops::RangeInclusive<u32> = 380..=520;
/// A second jump this soon is the same reversal, in ms.
const SAME_MS: u32 = 100;

/// What is on the line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AnswerTone {
    /// 2,100 Hz.
    Plain,
    /// With reversals: no echo canceller is wanted.
    Reversed,
}

/// Listens to one direction of a line.
#[derive(Clone, Debug)]
pub struct AnswerToneDetector {
    waves: Box<[(f32, f32); BLOCK]>,
    block: (f32, f32, f32),
    filled: usize,
    /// Correlations of the two blocks before.
    before: [Option<(f32, f32)>; 2],
    /// The tone's turn in one block, as a sum of unit vectors.
    turn: (f32, f32),
    blocks: u32,
    misses: u32,
    reversals: u32,
    since_reversal_ms: u32,
}

impl Default for AnswerToneDetector {
    fn default() -> Self {
        let wave = |n: usize| {
            let angle = core::f32::consts::TAU * TONE_HZ * n as f32 / 8_000.0;
            (angle.cos(), -angle.sin())
        };
        Self {
            waves: Box::new(core::array::from_fn(wave)),
            block: (0.0, 0.0, 0.0),
            filled: 0,
            before: [None; 2],
            turn: (0.0, 0.0),
            blocks: 0,
            misses: 0,
            reversals: 0,
            since_reversal_ms: 0,
        }
    }
}

impl AnswerToneDetector {
    /// What is on the line now.
    #[must_use]
    pub const fn now(&self) -> Option<AnswerTone> {
        if self.blocks < TONE_BLOCKS {
            None
        } else if self.reversals < 2 {
            Some(AnswerTone::Plain)
        } else {
            Some(AnswerTone::Reversed)
        }
    }

    /// Takes samples; afterwards [`now`](Self::now) has changed or not.
    pub fn push(&mut self, samples: &[i16]) {
        for sample in samples {
            let sample = f32::from(*sample);
            let (cos, sin) = self.waves[self.filled];
            self.block.0 += sample * cos;
            self.block.1 += sample * sin;
            self.block.2 += sample * sample;
            self.filled += 1;
            if self.filled == BLOCK {
                self.judge();
                (self.block, self.filled) = ((0.0, 0.0, 0.0), 0);
            }
        }
    }

    fn judge(&mut self) {
        let (re, im, energy) = self.block;
        self.since_reversal_ms = self.since_reversal_ms.saturating_add(BLOCK_MS);
        let power = re * re + im * im;
        // A sine of peak A gives (A·N/2)², and A²·N/2 of energy.
        let least = (peak_of(LEVEL_MIN_DBM0) * 0.5 * BLOCK as f32).powi(2);
        let is_tone = power >= least && 2.0 * power >= SHARE_MIN * energy * BLOCK as f32;
        let now = is_tone.then_some((re, im));
        if is_tone {
            self.blocks = self.blocks.saturating_add(1);
            self.misses = 0;
        } else {
            self.misses += 1;
            if self.misses > MISSES_MAX {
                self.turn = (0.0, 0.0);
                (self.blocks, self.reversals) = (0, 0);
            }
        }
        if let (Some(now), Some(last)) = (now, self.before[0]) {
            let turned = turn(now, last);
            let off = self.angle_off(turned, 1.0);
            if self.blocks < 4 || off.abs() < STEADY_MAX {
                let length = turned.0.hypot(turned.1).max(f32::MIN_POSITIVE);
                self.turn.0 = 0.9 * self.turn.0 + turned.0 / length;
                self.turn.1 = 0.9 * self.turn.1 + turned.1 / length;
            }
        }
        if let (Some(now), Some(before)) = (now, self.before[1])
            && self.blocks >= TONE_BLOCKS
            && self.angle_off(turn(now, before), 2.0).abs() >= REVERSAL_MIN
            && self.since_reversal_ms > SAME_MS
        {
            let in_time = APART_MS.contains(&self.since_reversal_ms);
            self.reversals = if self.reversals == 0 || in_time { self.reversals + 1 } else { 1 };
            self.since_reversal_ms = 0;
        }
        self.before = [now, self.before[0]];
    }

    /// By how much a turn over `blocks` blocks differs from the tone's, −π to π.
    fn angle_off(&self, turned: (f32, f32), blocks: f32) -> f32 {
        let expected = self.turn.1.atan2(self.turn.0) * blocks;
        let off = turned.1.atan2(turned.0) - expected;
        off - (off / core::f32::consts::TAU).round() * core::f32::consts::TAU
    }
}

/// The turn from `from` to `to`, as a product.
fn turn(to: (f32, f32), from: (f32, f32)) -> (f32, f32) {
    (to.0 * from.0 + to.1 * from.1, to.1 * from.0 - to.0 * from.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 s of a tone, reversed each `every` samples.
    fn tone(hz: f64, level: f32, every: usize, jump: f64, noise: f32) -> Vec<i16> {
        let mut seed = 9u32;
        (0..16_000usize)
            .map(|n| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let reversed = (n / every) as f64 * jump;
                let phase = core::f64::consts::TAU * hz * n as f64 / 8_000.0 + reversed;
                let random = (seed >> 8) as f32 / 8_388_608.0 - 1.0;
                (peak_of(level) * phase.sin() as f32 + peak_of(noise) * random) as i16
            })
            .collect()
    }

    fn heard(samples: &[i16]) -> Option<AnswerTone> {
        let mut detector = AnswerToneDetector::default();
        samples.chunks(160).for_each(|part| detector.push(part));
        detector.now()
    }

    #[test]
    fn reversals_are_heard_at_the_limits() {
        let half = core::f64::consts::PI;
        for hz in [2_079.0, 2_100.0, 2_121.0] {
            for level in [0.0, -12.0, -31.0] {
                for every in [3_400, 3_600, 3_777, 3_800] {
                    for jump in [half, half * 155.0 / 180.0, half * 205.0 / 180.0] {
                        let samples = tone(hz, level, every, jump, level - 14.0);
                        let told = heard(&samples);
                        assert_eq!(told, Some(AnswerTone::Reversed), "{hz} {level} {every} {jump}");
                    }
                }
                assert_eq!(heard(&tone(hz, level, usize::MAX, 0.0, level - 14.0)), Some(AnswerTone::Plain));
            }
        }
    }

    #[test]
    fn the_second_reversal_comes_within_a_second() {
        let samples = tone(2_100.0, -12.0, 3_600, core::f64::consts::PI, -40.0);
        assert_eq!(heard(&samples[..8_000]), Some(AnswerTone::Reversed));
        assert_eq!(heard(&samples[..7_000]), Some(AnswerTone::Plain));
        assert_eq!(heard(&samples[..1_500]), None);
    }

    #[test]
    fn jumps_of_a_quarter_and_other_tones_are_no_reversals() {
        let quarter = core::f64::consts::FRAC_PI_2;
        assert_eq!(heard(&tone(2_100.0, -12.0, 3_600, quarter, -40.0)), Some(AnswerTone::Plain));
        assert_eq!(
            heard(&tone(2_100.0, -12.0, 1_600, core::f64::consts::PI, -40.0)),
            Some(AnswerTone::Plain)
        );
        assert_eq!(heard(&tone(2_250.0, -12.0, usize::MAX, 0.0, -40.0)), None);
        assert_eq!(heard(&tone(1_100.0, -12.0, usize::MAX, 0.0, -40.0)), None);
        assert_eq!(heard(&tone(2_100.0, -50.0, usize::MAX, 0.0, -70.0)), None);
    }

    #[test]
    fn it_is_over_soon_after_its_end() {
        let mut samples = tone(2_100.0, -12.0, 3_600, core::f64::consts::PI, -40.0);
        samples.extend([0; 800]);
        assert_eq!(heard(&samples), None);
    }
}
