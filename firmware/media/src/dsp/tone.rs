//! Tone generator.
//!
//! What does it do? Makes the tones a telephone network plays: dial, ring-back,
//! busy, special information, beeps.
//!
//! How does it work? A tone is a table of segments; each names up to four
//! frequencies that sound together, then silence. One rotating phasor a frequency
//! yields the samples, so that no sine is computed while the tone runs.
//!
//! Limits: 8 segments, 4 frequencies each, 1 Hz to 3999 Hz (7999 Hz at 16 kHz),
//! 65,535 ms on and off, levels −60 to +3 dBm0 a frequency; frequency error below
//! 0.01 %; level drift below 0.01 dB an hour.

use crate::{
    dsp::peak_of,
    frame::{Frame, Rate},
};

/// Most segments of a [`ToneSpec`].
pub const SEGMENTS_MAX: usize = 8;
/// Most frequencies that sound at once.
pub const FREQUENCIES_MAX: usize = 4;

/// One step of a tone: frequencies for `on_ms`, then silence for `off_ms`.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct ToneSegment {
    /// Frequencies in Hz; 0 marks an unused place.
    pub hz: [f32; FREQUENCIES_MAX],
    /// Level of each frequency in dBm0.
    pub level_dbm0: f32,
    /// How long the frequencies sound; 0 with `off_ms` 0 means without end.
    pub on_ms: u16,
    /// How long the silence after them lasts.
    pub off_ms: u16,
}

/// A tone: segments in order, then again from the first unless told otherwise.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct ToneSpec {
    segments: [ToneSegment; SEGMENTS_MAX],
    count: u8,
    repeats: bool,
}

impl ToneSpec {
    /// A tone of these segments that repeats until stopped. Segments above
    /// [`SEGMENTS_MAX`] are left out.
    #[must_use]
    pub fn repeating(segments: &[ToneSegment]) -> Self {
        Self::of(segments, true)
    }

    /// A tone that ends after its last segment.
    #[must_use]
    pub fn once(segments: &[ToneSegment]) -> Self {
        Self::of(segments, false)
    }

    fn of(segments: &[ToneSegment], repeats: bool) -> Self {
        let mut spec = Self { repeats, ..Self::default() };
        for (place, segment) in spec.segments.iter_mut().zip(segments) {
            *place = *segment;
            spec.count += 1;
        }
        spec
    }

    /// The segments.
    #[must_use]
    pub fn segments(&self) -> &[ToneSegment] {
        &self.segments[..usize::from(self.count)]
    }
}

/// A phasor that turns by one frequency.
#[derive(Clone, Copy, Default)]
struct Phasor {
    turn: (f32, f32),
    at: (f32, f32),
}

impl Phasor {
    fn new(hz: f32, rate: Rate) -> Self {
        let angle = f64::from(hz) * core::f64::consts::TAU / f64::from(rate.hz());
        Self { turn: (angle.cos() as f32, angle.sin() as f32), at: (1.0, 0.0) }
    }

    fn next(&mut self) -> f32 {
        let sine = self.at.1;
        self.at = (
            self.at.0 * self.turn.0 - self.at.1 * self.turn.1,
            self.at.0 * self.turn.1 + self.at.1 * self.turn.0,
        );
        sine
    }

    /// Brings the length back to 1, to first order.
    fn settle(&mut self) {
        let gain = 1.5 - 0.5 * (self.at.0 * self.at.0 + self.at.1 * self.at.1);
        self.at = (self.at.0 * gain, self.at.1 * gain);
    }
}

/// Frequencies sounding together.
#[derive(Clone, Copy, Default)]
pub struct Oscillator {
    phasors: [Phasor; FREQUENCIES_MAX],
    peaks: [f32; FREQUENCIES_MAX],
}

impl Oscillator {
    /// Starts `tones`, each a frequency in Hz and a level in dBm0, at phase 0.
    #[must_use]
    pub fn new(rate: Rate, tones: &[(f32, f32)]) -> Self {
        let mut new = Self::default();
        let used = tones.iter().filter(|(hz, _)| *hz > 0.0);
        for ((phasor, peak), (hz, level_dbm0)) in new.phasors.iter_mut().zip(&mut new.peaks).zip(used) {
            *phasor = Phasor::new(*hz, rate);
            *peak = peak_of(level_dbm0.clamp(-60.0, 3.0));
        }
        new
    }

    /// Writes the next samples.
    pub fn fill(&mut self, samples: &mut [i16]) {
        for sample in samples {
            let mut sum = 0.0;
            for (phasor, peak) in self.phasors.iter_mut().zip(&self.peaks) {
                sum += phasor.next() * peak;
            }
            // The cast holds the value at full scale.
            *sample = sum.round() as i16;
        }
        self.phasors.iter_mut().for_each(Phasor::settle);
    }
}

/// A tone on its way.
#[derive(Clone, Copy)]
pub struct TonePlayer {
    spec: ToneSpec,
    segment: usize,
    /// Samples into the segment.
    position: usize,
    oscillator: Option<Oscillator>,
}

impl TonePlayer {
    /// Begins `spec` at its first segment.
    #[must_use]
    pub const fn new(spec: ToneSpec) -> Self {
        Self { spec, segment: 0, position: 0, oscillator: None }
    }

    /// Fills `frame` at its rate; false once the tone is over and nothing was
    /// written. The last frame of a tone ends in silence.
    pub fn fill(&mut self, frame: &mut Frame) -> bool {
        let rate = frame.rate();
        let per_ms = rate.samples_per_ms();
        frame.clear();
        let out = frame.samples_mut();
        let mut filled = 0;
        // Empty segments are passed over, but a tone of nothing else must end.
        let mut empty_run = 0;
        while filled < out.len() {
            let Some(segment) = self.spec.segments().get(self.segment).copied() else {
                if !self.spec.repeats || empty_run >= self.spec.segments().len() {
                    break;
                }
                self.segment = 0;
                continue;
            };
            let endless = segment.on_ms == 0 && segment.off_ms == 0 && segment.hz[0] > 0.0;
            let on = if endless { usize::MAX } else { usize::from(segment.on_ms) * per_ms };
            let total = on.saturating_add(usize::from(segment.off_ms) * per_ms);
            if self.position >= total {
                empty_run += usize::from(total == 0);
                self.segment += 1;
                self.position = 0;
                self.oscillator = None;
                continue;
            }
            let sounding = self.position < on;
            let until = if sounding { on } else { total };
            let length = (until - self.position).min(out.len() - filled);
            if sounding {
                let tones = segment.hz.map(|hz| (hz, segment.level_dbm0));
                self.oscillator
                    .get_or_insert_with(|| Oscillator::new(rate, &tones))
                    .fill(&mut out[filled..filled + length]);
            }
            // An endless tone stays at its beginning: only the phasors move on.
            if !endless {
                self.position += length;
            }
            filled += length;
            empty_run = 0;
        }
        filled > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(hz: f32, on_ms: u16, off_ms: u16) -> ToneSegment {
        ToneSegment { hz: [hz, 0.0, 0.0, 0.0], level_dbm0: -10.0, on_ms, off_ms }
    }

    fn collect(spec: ToneSpec, rate: Rate, frames: usize) -> Vec<i16> {
        let mut frame = Frame::silence(rate);
        let mut player = TonePlayer::new(spec);
        let mut all = Vec::new();
        for _ in 0..frames {
            if !player.fill(&mut frame) {
                break;
            }
            all.extend_from_slice(frame.samples());
        }
        all
    }

    #[test]
    fn busy_tone_has_its_frequency_level_and_cadence() {
        for rate in [Rate::Narrow, Rate::Wide] {
            let hz = rate.hz() as usize;
            let all = collect(ToneSpec::repeating(&[segment(425.0, 480, 480)]), rate, 100);
            assert_eq!(all.len(), hz * 2);
            let on = &all[..hz * 48 / 100];
            let off = &all[hz * 48 / 100..hz * 96 / 100];
            assert!(off.iter().all(|x| *x == 0));
            let again = &all[hz * 96 / 100..hz * 144 / 100];
            assert_eq!(on, again);
            let crossings = on.windows(2).filter(|w| w[0] < 0 && w[1] >= 0).count();
            assert!((202..=204).contains(&crossings), "{crossings}");
            let power: f64 = on.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
            let rms = (power / on.len() as f64).sqrt();
            let level = 20.0 * (rms * 2f64.sqrt() / f64::from(super::super::PEAK_0_DBM0)).log10();
            assert!((level + 10.0).abs() < 0.05, "{level}");
        }
    }

    #[test]
    fn a_tone_told_to_play_once_ends_and_an_empty_one_never_begins() {
        let spec = ToneSpec::once(&[segment(950.0, 30, 0), segment(1400.0, 30, 0)]);
        assert_eq!(collect(spec, Rate::Narrow, 10).len(), 3 * 160);
        assert!(collect(ToneSpec::repeating(&[]), Rate::Narrow, 3).is_empty());
        let nothing = [ToneSegment::default(); 2];
        assert!(collect(ToneSpec::repeating(&nothing), Rate::Narrow, 3).is_empty());
        // Without a length, without end.
        assert_eq!(collect(ToneSpec::once(&[segment(425.0, 0, 0)]), Rate::Wide, 50).len(), 50 * 320);
    }
}
