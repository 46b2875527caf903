//! Where sound on a line begins and ends.
//!
//! What does it do? Cuts a line into stretches of sound and of quiet, to within 5 ms: the
//! cadence of whatever is heard.
//!
//! How does it work? The power of each 5 ms is set against the sound's own level, or against the
//! background while it is quiet. Two frequencies close to each other die away and come back some
//! twenty times a second: only 30 ms of weakness end a sound.
//!
//! Limits: 8 kHz; −36 to 0 dBm0, 6 dB above a background of −42 dBm0 at most; sounds from 40 ms on, what is shorter
//! counts as quiet.

use super::{PEAK_0_DBM0, fft::RealFft};

/// Samples that are judged together: 5 ms.
pub(super) const BLOCK: usize = 40;
/// Length of a block in ms.
pub(super) const BLOCK_MS: u32 = 5;
/// Blocks of weakness that end a sound.
const WEAK_BLOCKS: u32 = 6;
/// Blocks that make a sound.
const SOUND_BLOCKS: u32 = 8;
/// Weakest sound, as a mean square: −36 dBm0.
const POWER_MIN: f32 = PEAK_0_DBM0 * PEAK_0_DBM0 * 0.5 * 2.51e-4;
/// Loudest background that is learned: 6 dB below the weakest sound.
const NOISE_MAX: f32 = POWER_MIN;
/// A sound begins this far above the background, as a ratio of powers (6 dB).
const ABOVE_NOISE: f32 = 4.0;
/// A sound is weak this far below its level, as a ratio of powers (10 dB).
const WEAK: f32 = 0.1;

/// A change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Edge {
    /// A sound has lasted 40 ms; before it was quiet for so long.
    Began { quiet_ms: u32 },
    /// It is over, and sounded for so long.
    Ended { sound_ms: u32 },
}

#[derive(Clone, Copy, Debug)]
enum Now {
    Quiet { blocks: u32 },
    Sound { blocks: u32, weak: u32, quiet_before: u32, told: bool },
}

/// The stretches of one line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segments {
    now: Now,
    /// Mean square of the sound and of the background.
    level: f32,
    noise: f32,
}

impl Segments {
    pub(super) const fn new() -> Self {
        Self { now: Now::Quiet { blocks: 0 }, level: 0.0, noise: 0.0 }
    }

    /// Mean square of the sound that is on or was last.
    pub(super) const fn level(&self) -> f32 {
        self.level
    }

    /// How long a sound has lasted, and whether it is at its level right now.
    pub(super) const fn sounding(&self) -> Option<(u32, bool)> {
        match self.now {
            Now::Sound { blocks, weak, told: true, .. } => Some(((blocks - weak) * BLOCK_MS, weak == 0)),
            Now::Sound { told: false, .. } | Now::Quiet { .. } => None,
        }
    }

    /// How long it has been quiet.
    pub(super) const fn quiet_ms(&self) -> Option<u32> {
        match self.now {
            Now::Quiet { blocks } => Some(blocks * BLOCK_MS),
            Now::Sound { .. } => None,
        }
    }

    /// Takes the mean square of the next 5 ms.
    pub(super) fn push(&mut self, power: f32) -> Option<Edge> {
        match &mut self.now {
            Now::Quiet { blocks } => {
                if power > POWER_MIN.max(ABOVE_NOISE * self.noise) {
                    self.level = power;
                    self.now = Now::Sound { blocks: 1, weak: 0, quiet_before: *blocks, told: false };
                } else {
                    self.noise += (power.min(NOISE_MAX) - self.noise) / 16.0;
                    *blocks = blocks.saturating_add(1);
                }
                None
            }
            Now::Sound { blocks, weak, quiet_before, told } => {
                *blocks = blocks.saturating_add(1);
                if power < (WEAK * self.level).max((self.level * self.noise).sqrt()) {
                    *weak += 1;
                } else {
                    *weak = 0;
                    self.level += (power - self.level) / 8.0;
                }
                let sound = *blocks - *weak;
                if *weak == WEAK_BLOCKS {
                    let told = *told;
                    let quiet = if told { *weak } else { *quiet_before + *blocks };
                    self.now = Now::Quiet { blocks: quiet };
                    return told.then_some(Edge::Ended { sound_ms: sound * BLOCK_MS });
                }
                if !*told && sound >= SOUND_BLOCKS {
                    *told = true;
                    return Some(Edge::Began { quiet_ms: *quiet_before * BLOCK_MS });
                }
                None
            }
        }
    }
}

/// A Hann-windowed power spectrum of fixed length.
pub(super) struct Spectrum {
    fft: RealFft,
    windowed: Vec<f32>,
    re: Vec<f32>,
    im: Vec<f32>,
}

impl Spectrum {
    pub(super) fn new(length: usize) -> Self {
        let fft = RealFft::new(length);
        let (length, bins) = (fft.length(), fft.bins());
        Self { fft, windowed: vec![0.0; length], re: vec![0.0; bins], im: vec![0.0; bins] }
    }

    /// Powers of the bins of `samples`, which may be fewer than the spectrum's length; the window
    /// spans them all.
    pub(super) fn of<'a>(
        &mut self,
        samples: impl ExactSizeIterator<Item = &'a f32>,
        window: &[f32],
    ) -> &[f32] {
        let count = samples.len().max(1);
        self.windowed.fill(0.0);
        // The window is given once for the full length and read at wider steps for fewer.
        let step = window.len() as f32 / count as f32;
        for (n, (place, sample)) in self.windowed.iter_mut().zip(samples).enumerate() {
            let at = ((n as f32 + 0.5) * step) as usize;
            *place = sample * window.get(at).copied().unwrap_or(0.0);
        }
        self.fft.forward(&self.windowed, &mut self.re, &mut self.im);
        for (re, im) in self.re.iter_mut().zip(&self.im) {
            *re = *re * *re + im * im;
        }
        &self.re
    }
}

/// The window of Hann, symmetric.
pub(super) fn hann(length: usize) -> Vec<f32> {
    (0..length)
        .map(|n| 0.5 - 0.5 * (core::f32::consts::TAU * (n as f32 + 0.5) / length as f32).cos())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::tone::Oscillator;
    use crate::frame::Rate;

    fn edges(samples: &[i16]) -> Vec<Edge> {
        let mut segments = Segments::new();
        samples
            .chunks_exact(BLOCK)
            .filter_map(|block| {
                segments.push(block.iter().map(|x| f32::from(*x).powi(2)).sum::<f32>() / BLOCK as f32)
            })
            .collect()
    }

    #[test]
    fn a_beating_tone_is_one_sound_of_its_length() {
        for parts in
            [&[(425.0, -10.0)][..], &[(440.0, -13.0), (480.0, -13.0)], &[(413.0, -13.0), (438.0, -13.0)]]
        {
            for offset in [0, 13, 31] {
                let mut samples = vec![0; 800 + offset];
                let mut tone = vec![0; 4_000];
                Oscillator::new(Rate::Narrow, parts).fill(&mut tone);
                samples.extend(tone);
                samples.resize(samples.len() + 2_000, 0);
                let [Edge::Began { quiet_ms }, Edge::Ended { sound_ms }] = edges(&samples)[..] else {
                    panic!("{:?}", edges(&samples));
                };
                assert!(quiet_ms.abs_diff(100) <= 15, "{quiet_ms}");
                assert!(sound_ms.abs_diff(500) <= 20, "{sound_ms} {parts:?}");
            }
        }
    }

    #[test]
    fn clicks_and_what_is_too_weak_are_quiet() {
        let mut samples = vec![0; 4_000];
        samples[1_000..1_100].fill(9_000);
        for (n, sample) in samples.iter_mut().enumerate().skip(2_000) {
            *sample = if n % 16 < 8 { 200 } else { -200 };
        }
        assert_eq!(edges(&samples), []);
    }
}
