//! Packet loss concealment.
//!
//! What does it do? Fills the place of lost samples with sound that goes on as the
//! last heard did, and fades.
//!
//! How does it work? As ITU-T G.711 Appendix I: the pitch period is found by
//! correlating the last 20 ms with what came before; the last period is repeated,
//! blended with the one before it where the two ends meet; after 10 ms the level
//! falls by a fifth each 10 ms. When sound returns it is blended in over 5 ms.
//! Unlike the Appendix no sample is held back, so the first blend borrows from the
//! past only and no delay is added.
//!
//! Limits: pitch 66 to 200 Hz; silence from 60 ms on; history of 48 ms; 16 kHz works
//! on doubled lengths.

use crate::frame::Rate;

/// Milliseconds of past kept: two longest periods and the stretch compared.
const HISTORY_MS: usize = 48;
const PITCH_MIN_MS: usize = 5;
const PITCH_MAX_MS: usize = 15;
const COMPARED_MS: usize = 20;
/// After this much concealment nothing is left.
const FADED_MS: usize = 60;
/// Full level is kept this long.
const FULL_MS: usize = 10;
/// Blend back into real sound.
const BLEND_MS: usize = 5;

/// The concealment of one leg.
pub struct Concealment {
    per_ms: usize,
    /// The last [`HISTORY_MS`] of output.
    history: Box<[i16]>,
    /// Samples concealed since the last real one.
    lost: usize,
    pitch: usize,
    /// Where in the repeated period the next sample lies.
    phase: usize,
}

impl Concealment {
    /// Allocates the history for samples at `rate`.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let per_ms = rate.samples_per_ms();
        Self {
            per_ms,
            history: vec![0; HISTORY_MS * per_ms].into(),
            lost: 0,
            pitch: PITCH_MIN_MS * per_ms,
            phase: 0,
        }
    }

    /// Forgets the past.
    pub fn reset(&mut self) {
        self.history.fill(0);
        self.lost = 0;
    }

    /// True if the concealment has faded to nothing.
    #[must_use]
    pub const fn faded(&self) -> bool {
        self.lost >= FADED_MS * self.per_ms
    }

    /// Takes note of real samples; the first after a loss are blended with what the
    /// concealment would have gone on with.
    pub fn heard(&mut self, samples: &mut [i16]) {
        if self.lost > 0 {
            let blend = (BLEND_MS * self.per_ms).min(samples.len());
            for (at, sample) in samples.iter_mut().take(blend).enumerate() {
                let weight = (at + 1) as f32 / (blend + 1) as f32;
                let made = self.next();
                *sample = (f32::from(*sample) * weight + made * (1.0 - weight)) as i16;
            }
            self.lost = 0;
        }
        self.remember(samples);
    }

    /// Writes concealment into `samples`.
    pub fn conceal(&mut self, samples: &mut [i16]) {
        if self.lost == 0 {
            self.pitch = self.find_pitch();
            self.phase = 0;
            self.smooth_seam();
        }
        for sample in samples.iter_mut() {
            *sample = self.next() as i16;
        }
        // The history stays as it was: the period is repeated from it.
    }

    fn next(&mut self) -> f32 {
        let end = self.history.len();
        let sample = f32::from(self.history[end - self.pitch + self.phase]);
        self.phase = (self.phase + 1) % self.pitch;
        let full = FULL_MS * self.per_ms;
        let faded = FADED_MS * self.per_ms;
        let gain =
            if self.lost <= full { 1.0 } else { 1.0 - (self.lost - full) as f32 / (faded - full) as f32 };
        self.lost = (self.lost + 1).min(faded);
        sample * gain.max(0.0)
    }

    /// Blends the last quarter period with the one a period earlier, so that the
    /// repeated period joins its own beginning.
    fn smooth_seam(&mut self) {
        let end = self.history.len();
        let quarter = self.pitch / 4;
        for at in 0..quarter {
            let weight = (at + 1) as f32 / quarter as f32;
            let here = end - quarter + at;
            let blended = f32::from(self.history[here]) * (1.0 - weight)
                + f32::from(self.history[here - self.pitch]) * weight;
            self.history[here] = blended as i16;
        }
    }

    /// The lag at which the last 20 ms resemble the past most.
    fn find_pitch(&self) -> usize {
        let end = self.history.len();
        let compared = COMPARED_MS * self.per_ms;
        let recent = &self.history[end - compared..];
        // Every second sample will do, and at 16 kHz every fourth.
        let step = self.per_ms / 4;
        let score = |lag: usize, step: usize| {
            let past = &self.history[end - compared - lag..end - lag];
            let (mut cross, mut energy) = (0.0f32, 1.0f32);
            for (x, y) in recent.iter().zip(past).step_by(step) {
                cross += f32::from(*x) * f32::from(*y);
                energy += f32::from(*y) * f32::from(*y);
            }
            cross / energy.sqrt()
        };
        let best = |from: usize, to: usize, by: usize, step: usize| {
            (from..=to)
                .step_by(by)
                .map(|lag| (lag, score(lag, step)))
                .max_by(|a, b| a.1.total_cmp(&b.1))
                .map_or(from, |(lag, _)| lag)
        };
        let (least, most) = (PITCH_MIN_MS * self.per_ms, PITCH_MAX_MS * self.per_ms);
        let coarse = best(least, most, step, step);
        best(coarse.saturating_sub(step).max(least), (coarse + step).min(most), 1, 1)
    }

    fn remember(&mut self, samples: &[i16]) {
        let kept = self.history.len();
        if samples.len() >= kept {
            self.history.copy_from_slice(&samples[samples.len() - kept..]);
        } else {
            self.history.copy_within(samples.len().., 0);
            self.history[kept - samples.len()..].copy_from_slice(samples);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voiced(from: usize, length: usize, per_ms: usize) -> Vec<i16> {
        let hz = 1_000.0 * per_ms as f64;
        (from..from + length)
            .map(|i| {
                let t = i as f64 / hz * core::f64::consts::TAU;
                (6_000.0 * (120.0 * t).sin() + 3_000.0 * (240.0 * t).sin()) as i16
            })
            .collect()
    }

    #[test]
    fn a_lost_frame_of_a_steady_voice_is_hardly_missed_and_a_long_loss_fades() {
        for rate in [Rate::Narrow, Rate::Wide] {
            let per_ms = rate.samples_per_ms();
            let frame = rate.frame_samples();
            let mut plc = Concealment::new(rate);
            for n in 0..10 {
                plc.heard(&mut voiced(n * frame, frame, per_ms));
            }
            let mut made = vec![0; frame];
            plc.conceal(&mut made);
            let wanted = voiced(10 * frame, frame, per_ms);
            let (mut signal, mut error) = (0.0, 0.0);
            for (w, m) in wanted.iter().zip(&made).take(frame / 2) {
                signal += f64::from(*w).powi(2);
                error += (f64::from(*w) - f64::from(*m)).powi(2);
            }
            let snr = 10.0 * (signal / error).log10();
            assert!(snr > 12.0, "{rate:?}: {snr:.1} dB");
            for _ in 0..3 {
                plc.conceal(&mut made);
            }
            assert!(plc.faded());
            plc.conceal(&mut made);
            assert!(made.iter().all(|x| *x == 0));
            // The first real frame is blended in, the second untouched.
            let mut back = voiced(20 * frame, frame, per_ms);
            plc.heard(&mut back);
            assert_ne!(back, voiced(20 * frame, frame, per_ms));
            let mut after = voiced(21 * frame, frame, per_ms);
            plc.heard(&mut after);
            assert_eq!(after, voiced(21 * frame, frame, per_ms));
        }
    }
}
