//! Tone learning.
//!
//! What does it do? Finds out what tone a line plays after the far end has hung up: its one or
//! two frequencies and its cadence, whatever the country's plan says.
//!
//! How does it work? The line is cut into sound and quiet. The first 128 ms of each sound give a
//! spectrum; its one or two peaks must hold most of the power. The tone is learned when the last
//! sounds and pauses repeat three times, one to three sounds a round. It is known, too, for how long
//! it has repeated and when it was heard last.
//!
//! Limits: 8 kHz; 300 to 2,000 Hz to within 2 Hz (5 Hz for sounds below 150 ms), two frequencies
//! 25 Hz apart and more, the weaker 12 dB below at most; sounds and pauses of 75 to 3,100 ms to
//! within 10 ms; −30 to 0 dBm0; noise 12 dB below, −42 dBm0 at most.

use super::{
    fft::LENGTH_MAX,
    peak_of,
    tone::{FREQUENCIES_MAX, ToneSegment, ToneSpec},
    tone_detect::tolerance_ms,
    tone_segments::{BLOCK, BLOCK_MS, Edge, Segments, Spectrum, hann},
};

/// Most sounds of one round.
pub const LEARNED_STEPS_MAX: usize = 3;

/// Samples of a sound that are looked at: 128 ms.
const SPAN: usize = LENGTH_MAX;
const BIN_HZ: f32 = 8_000.0 / SPAN as f32;
/// Samples at the end of a short sound that may already belong to the pause.
const EDGE: usize = 80;
/// Shortest and longest sound and pause, in ms.
const STEP_MS: core::ops::RangeInclusive<u32> = 70..=3_200;
/// Rounds that must be alike.
const ROUNDS: usize = 3;
const PAIRS: usize = ROUNDS * LEARNED_STEPS_MAX;
/// Least part of a sound's power that its peaks hold.
const SHARE_MIN: f32 = 0.75;
/// Weaker of two frequencies beside the other, as a ratio of powers (12 dB).
const SECOND_MIN: f32 = 0.063;
/// Frequencies of one tone agree to within this, in Hz.
const SAME_HZ: f32 = 12.0;
/// Frequencies that are looked for.
const HZ: core::ops::RangeInclusive<f32> = 280.0..=2_050.0;

/// A tone that a line plays.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LearnedTone {
    hz: [f32; 2],
    steps: [(u16, u16); LEARNED_STEPS_MAX],
    count: usize,
    level_dbm0: f32,
}

impl LearnedTone {
    /// Its one or two frequencies in Hz, the lower first.
    #[must_use]
    pub fn frequencies_hz(&self) -> &[f32] {
        if self.hz[1] > 0.0 { &self.hz } else { &self.hz[..1] }
    }

    /// Sound and pause in ms, for each sound of a round.
    #[must_use]
    pub fn steps_ms(&self) -> &[(u16, u16)] {
        &self.steps[..self.count]
    }

    /// Level of all frequencies together, in dBm0.
    #[must_use]
    pub const fn level_dbm0(&self) -> f32 {
        self.level_dbm0
    }

    /// As a tone of a plan, for the detector and the generator.
    #[must_use]
    pub fn spec(&self) -> ToneSpec {
        let mut segments = [ToneSegment::default(); LEARNED_STEPS_MAX];
        let mut hz = [0.0; FREQUENCIES_MAX];
        hz.iter_mut().zip(self.frequencies_hz()).for_each(|(place, hz)| *place = *hz);
        for (segment, (on_ms, off_ms)) in segments.iter_mut().zip(self.steps_ms()) {
            *segment = ToneSegment { hz, level_dbm0: self.level_dbm0, on_ms: *on_ms, off_ms: *off_ms };
        }
        ToneSpec::repeating(&segments[..self.count])
    }
}

#[derive(Clone, Copy, Default)]
struct Pair {
    hz: [f32; 2],
    power: f32,
    sound_ms: u32,
    quiet_ms: u32,
}

impl Pair {
    fn is_like(&self, other: &Self) -> bool {
        let near = |a: u32, b: u32| a.abs_diff(b) <= tolerance_ms(a.max(b));
        self.hz.iter().zip(&other.hz).all(|(a, b)| (a - b).abs() <= SAME_HZ)
            && near(self.sound_ms, other.sound_ms)
            && near(self.quiet_ms, other.quiet_ms)
    }
}

/// A tone that repeated, and when.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Repeated {
    /// The tone.
    pub tone: LearnedTone,
    /// For so long it repeated without anything else between, whole rounds, in ms.
    pub lasted_ms: u32,
    /// So long ago the last whole round was over, in ms.
    pub ago_ms: u32,
}

/// Listens to the end of a call.
pub struct ToneLearner {
    segments: Segments,
    spectrum: Spectrum,
    window: Vec<f32>,
    block: [f32; BLOCK],
    filled: usize,
    /// The beginning of the running sound.
    sound: Box<[f32; SPAN]>,
    held: usize,
    pairs: [Pair; PAIRS],
    known: usize,
    learned: Option<LearnedTone>,
    /// Blocks so far; when the learned tone began to repeat, and its last round was over.
    blocks: u32,
    began: u32,
    confirmed: u32,
    /// Nothing else has come since.
    goes_on: bool,
}

impl Default for ToneLearner {
    fn default() -> Self {
        Self {
            segments: Segments::new(),
            spectrum: Spectrum::new(SPAN),
            window: hann(SPAN),
            block: [0.0; BLOCK],
            filled: 0,
            sound: Box::new([0.0; SPAN]),
            held: 0,
            pairs: [Pair::default(); PAIRS],
            known: 0,
            learned: None,
            blocks: 0,
            began: 0,
            confirmed: 0,
            goes_on: false,
        }
    }
}

impl ToneLearner {
    /// The tone that was heard last, once it has repeated three times.
    #[must_use]
    pub const fn learned(&self) -> Option<LearnedTone> {
        self.learned
    }

    /// The tone that repeated last, for how long and how long ago.
    #[must_use]
    pub fn repeated(&self) -> Option<Repeated> {
        self.learned.map(|tone| Repeated {
            tone,
            lasted_ms: (self.confirmed - self.began) * BLOCK_MS,
            ago_ms: (self.blocks - self.confirmed) * BLOCK_MS,
        })
    }

    /// Forgets what it has heard: another call begins. Allocates nothing.
    pub fn reset(&mut self) {
        self.segments = Segments::new();
        (self.filled, self.held, self.known) = (0, 0, 0);
        self.learned = None;
        (self.blocks, self.began, self.confirmed, self.goes_on) = (0, 0, 0, false);
    }

    /// Takes samples of the line.
    pub fn push(&mut self, samples: &[i16]) {
        for sample in samples {
            self.block[self.filled] = f32::from(*sample);
            self.filled += 1;
            if self.filled == BLOCK {
                self.filled = 0;
                self.take();
            }
        }
    }

    fn take(&mut self) {
        // A call of 248 days is over.
        self.blocks = self.blocks.saturating_add(1);
        let power = self.block.iter().map(|x| x * x).sum::<f32>() / BLOCK as f32;
        let was_quiet = self.segments.quiet_ms().is_some();
        let edge = self.segments.push(power);
        if self.segments.quiet_ms().is_none() {
            if was_quiet {
                self.held = 0;
            }
            let room = (SPAN - self.held).min(BLOCK);
            self.sound[self.held..self.held + room].copy_from_slice(&self.block[..room]);
            self.held += room;
        }
        match edge {
            Some(Edge::Began { quiet_ms }) => {
                if let Some(pair) = self.pairs[..self.known].last_mut() {
                    pair.quiet_ms = quiet_ms;
                    self.compare();
                }
            }
            Some(Edge::Ended { sound_ms }) => match self.measure(sound_ms) {
                Some(pair) => {
                    if self.known == PAIRS {
                        self.pairs.rotate_left(1);
                        self.known -= 1;
                    }
                    self.pairs[self.known] = pair;
                    self.known += 1;
                }
                None => self.broken_off(),
            },
            None => {}
        }
    }

    /// The frequencies of the sound that is over; none if it was no tone.
    fn measure(&mut self, sound_ms: u32) -> Option<Pair> {
        if !STEP_MS.contains(&sound_ms) {
            return None;
        }
        let length = self.held.min((sound_ms as usize * 8).saturating_sub(EDGE));
        let sound = self.sound.get(BLOCK..length).filter(|sound| sound.len() > SPAN / 4)?;
        let powers = self.spectrum.of(sound.iter(), &self.window);
        // Half the width of a peak in bins: the shorter the sound the wider.
        let spread = (2 * SPAN + sound.len() / 2) / sound.len();
        let total: f32 = powers.iter().skip((100.0 / BIN_HZ) as usize).sum();
        let first = peak(powers, |_| true)?;
        let around = |at: usize| at.saturating_sub(spread)..(at + spread + 1).min(powers.len());
        let second = peak(powers, |bin| bin.abs_diff(first) > spread)
            .filter(|second| powers[*second] >= SECOND_MIN * powers[first]);
        let mut held: f32 = powers[around(first)].iter().sum();
        let mut hz = [between(powers, first), 0.0];
        if let Some(second) = second {
            let (a, b) = (around(first), around(second));
            // What lies in both counts once.
            let both = a.start.max(b.start)..a.end.min(b.end).max(a.start.max(b.start));
            held += powers[b].iter().sum::<f32>() - powers[both].iter().sum::<f32>();
            hz[1] = between(powers, second);
            hz.sort_by(f32::total_cmp);
        }
        (held >= SHARE_MIN * total).then_some(Pair {
            hz,
            power: self.segments.level(),
            sound_ms,
            quiet_ms: 0,
        })
    }

    /// Looks whether the last sounds repeat.
    fn compare(&mut self) {
        let known = &self.pairs[..self.known];
        if known.last().is_none_or(|pair| !STEP_MS.contains(&pair.quiet_ms)) {
            self.broken_off();
            return;
        }
        for count in 1..=LEARNED_STEPS_MAX {
            let Some(from) = known.len().checked_sub(ROUNDS * count) else { break };
            let rounds = &known[from..];
            if !rounds[count..].iter().zip(rounds).all(|(later, before)| later.is_like(before)) {
                continue;
            }
            let mut steps = [(0, 0); LEARNED_STEPS_MAX];
            for (n, step) in steps.iter_mut().take(count).enumerate() {
                let mean = |of: fn(&Pair) -> u32| {
                    let sum: u32 = rounds.iter().skip(n).step_by(count).map(of).sum();
                    (sum / ROUNDS as u32) as u16
                };
                *step = (mean(|pair| pair.sound_ms), mean(|pair| pair.quiet_ms));
            }
            let mean = |of: &dyn Fn(&Pair) -> f32| rounds.iter().map(of).sum::<f32>() / rounds.len() as f32;
            let zero = peak_of(0.0).powi(2) * 0.5;
            let learned = LearnedTone {
                hz: [mean(&|pair| pair.hz[0]), mean(&|pair| pair.hz[1])],
                steps,
                count,
                level_dbm0: 10.0 * (mean(&|pair| pair.power) / zero).log10(),
            };
            if !self.goes_on {
                let lasted: u32 = rounds.iter().map(|pair| pair.sound_ms + pair.quiet_ms).sum();
                self.began = self.blocks.saturating_sub(lasted / BLOCK_MS);
            }
            self.confirmed = self.blocks;
            self.goes_on = true;
            self.learned = Some(learned);
            return;
        }
        self.goes_on = false;
    }

    /// What was heard was no part of a tone that repeats.
    const fn broken_off(&mut self) {
        self.known = 0;
        self.goes_on = false;
    }
}

/// The greatest bin among those allowed that is greater than its neighbours.
fn peak(powers: &[f32], allowed: impl Fn(usize) -> bool) -> Option<usize> {
    let bins = (*HZ.start() / BIN_HZ) as usize..=(*HZ.end() / BIN_HZ) as usize;
    bins.filter(|bin| {
        allowed(*bin)
            && powers[*bin] > 0.0
            && powers[*bin] >= powers[bin - 1]
            && powers[*bin] >= powers[bin + 1]
    })
    .max_by(|a, b| powers[*a].total_cmp(&powers[*b]))
}

/// Frequency of a peak, between the bins: a parabola through the logarithms.
fn between(powers: &[f32], at: usize) -> f32 {
    let log = |bin: usize| powers[bin].max(f32::MIN_POSITIVE).ln();
    let (left, middle, right) = (log(at - 1), log(at), log(at + 1));
    let bend = left - 2.0 * middle + right;
    let off = if bend < 0.0 { (0.5 * (left - right) / bend).clamp(-0.5, 0.5) } else { 0.0 };
    (at as f32 + off) * BIN_HZ
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::tone::Oscillator;
    use crate::frame::Rate;

    fn learned(parts: &[(f32, f32)], times: &[(usize, usize)], rounds: usize) -> Option<LearnedTone> {
        let mut learner = ToneLearner::default();
        learner.push(&[0; 1_234]);
        for (on, off) in times.iter().cycle().take(times.len() * rounds) {
            let mut samples = vec![0; on * 8];
            Oscillator::new(Rate::Narrow, parts).fill(&mut samples);
            samples.resize(samples.len() + off * 8, 0);
            samples.chunks(160).for_each(|part| learner.push(part));
        }
        // The next sound ends the last pause.
        let mut samples = [0; 400];
        Oscillator::new(Rate::Narrow, parts).fill(&mut samples);
        learner.push(&samples);
        learner.learned()
    }

    #[test]
    fn frequencies_and_cadence_come_out_as_they_went_in() {
        for (hz, times) in [
            (&[425.0][..], &[(480, 480)][..]),
            (&[480.0, 620.0], &[(250, 250)]),
            (&[413.0, 438.0], &[(375, 375)]),
            (&[350.0, 440.0], &[(500, 500)]),
            (&[400.0], &[(400, 350), (225, 525)]),
            (&[425.0], &[(200, 200), (200, 200), (200, 600)]),
            (&[1_400.0], &[(90, 80)]),
            (&[450.0], &[(3_000, 3_000)]),
        ] {
            let parts: Vec<(f32, f32)> = hz.iter().map(|hz| (*hz, -20.0)).collect();
            let tone = learned(&parts, times, 3).unwrap_or_else(|| panic!("{hz:?} {times:?}"));
            assert_eq!(tone.frequencies_hz().len(), hz.len(), "{tone:?}");
            for (measured, hz) in tone.frequencies_hz().iter().zip(hz) {
                assert!((measured - hz).abs() < 2.0, "{measured} for {hz}");
            }
            assert_eq!(tone.steps_ms().len(), times.len(), "{tone:?}");
            for ((on, off), (on_ms, off_ms)) in tone.steps_ms().iter().zip(times) {
                assert!(usize::from(*on).abs_diff(*on_ms) <= 10, "{tone:?} for {times:?}");
                assert!(usize::from(*off).abs_diff(*off_ms) <= 10, "{tone:?} for {times:?}");
            }
            let level = -20.0 + 10.0 * (hz.len() as f32).log10();
            assert!((tone.level_dbm0() - level).abs() < 2.0, "{tone:?}");
        }
    }

    #[test]
    fn how_long_it_repeated_and_how_long_ago_is_known() {
        let mut learner = ToneLearner::default();
        let mut tone = Oscillator::new(Rate::Narrow, &[(425.0, -20.0)]);
        let mut play = |learner: &mut ToneLearner, on_ms: usize, off_ms: usize| {
            let mut samples = vec![0; on_ms * 8];
            tone.fill(&mut samples);
            samples.resize(samples.len() + off_ms * 8, 0);
            learner.push(&samples);
        };
        // Something else before, then ten rounds, of which the last pause has not ended.
        play(&mut learner, 900, 700);
        for _ in 0..10 {
            play(&mut learner, 480, 480);
        }
        let told = learner.repeated().unwrap();
        assert!(told.lasted_ms.abs_diff(9 * 960) <= 60, "{told:?}");
        assert!(told.ago_ms.abs_diff(960) <= 60, "{told:?}");
        learner.push(&[0; 16_000]);
        assert!(learner.repeated().unwrap().ago_ms.abs_diff(2_960) <= 60);
        // A sound of another length ends it, and the same tone begins anew.
        play(&mut learner, 200, 480);
        for _ in 0..4 {
            play(&mut learner, 480, 480);
        }
        let told = learner.repeated().unwrap();
        assert!(told.lasted_ms.abs_diff(3 * 960) <= 60, "{told:?}");
        learner.reset();
        assert_eq!(learner.repeated(), None);
    }

    #[test]
    fn two_rounds_are_too_few_and_a_tone_without_pauses_is_none() {
        assert_eq!(learned(&[(425.0, -20.0)], &[(480, 480)], 2), None);
        assert_eq!(learned(&[(425.0, -20.0)], &[(6_000, 0)], 1), None);
        assert_eq!(learned(&[(425.0, -50.0)], &[(480, 480)], 5), None);
    }
}
