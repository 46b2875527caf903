//! Call-progress tone detector.
//!
//! What does it do? Hears the tones of a country's plan by their frequencies and cadence: dial,
//! ring-back, busy, congestion; and everywhere the special information tone and the tones of fax
//! machines (ITU-T E.180, T.30).
//!
//! How does it work? The line is cut into sound and quiet. In a sound, each 15 ms a spectrum of
//! 64 ms must hold its power at the frequencies of a tone. A row of such sounds with the right
//! lengths and pauses is the tone: three rounds of busy and congestion, two if a round has
//! several sounds, one of ring-back and of an interrupted dial tone. A tone without pauses must
//! go on for longer than any other's sound of the same frequencies; dial tone may follow other sound
//! without a pause.
//! What our own side plays comes back as an echo at most 6 dB weaker than it was: a tone that is
//! weaker than what we play at its frequencies, less 6 dB, is none.
//!
//! Limits: 8 kHz; 12 tones, 4 sounds a round; frequencies ±20 Hz, from ±50 Hz on rejected (SIT
//! ±50 Hz); sounds and pauses ±10 % or 20 ms, from 75 ms on; −30 to 0 dBm0; noise 12 dB
//! below, −42 dBm0 at most.
//! Nothing is told in an hour of speech.

mod plan;

pub(super) use plan::tolerance_ms;
use plan::{Frequencies, LastPause, Planned, Shape, near, settle, shape};

use super::{
    fft::RealFft,
    tone::ToneSpec,
    tone_segments::{BLOCK, BLOCK_MS, Edge, Segments, Spectrum, hann},
};

/// Most tones of a plan.
pub const TONES_MAX: usize = 12;
/// Most sounds of one round of a tone.
const STEPS_MAX: usize = 4;
/// Sounds that are remembered: two rounds of the longest.
const PAIRS: usize = 2 * STEPS_MAX;

/// Samples of a spectrum: 64 ms.
const SPAN: usize = 512;
/// Width of its bins.
const BIN_HZ: f32 = 8_000.0 / SPAN as f32;
/// Blocks that a sound lasts before its first spectrum lies within it, and between two.
const FIRST_BLOCKS: u32 = (SPAN.div_ceil(BLOCK)) as u32;
const LOOK_BLOCKS: u32 = 3;
/// A spectrum that a tone does not hold takes away so many of its row.
const MISS_COSTS: u32 = 9;
/// Hum below and hiss above these bins count for nothing.
const BIN_MIN: usize = 7;
const BIN_MAX: usize = 236;

/// Of the special information tone (E.180 §7).
const TOLERANCE_SIT_HZ: f32 = 55.0;
/// Of the tones of fax machines: 1,100 ± 38 and 2,100 ± 15 Hz.
const TOLERANCE_FAX_HZ: f32 = 40.0;
/// An echo is at least this much weaker than what we said, as a ratio of powers (6 dB).
const ECHO_MAX: f32 = 0.25;
/// Blocks for which what we said may still come back: 100 ms.
const ECHO_BLOCKS: usize = 20;
/// Samples of ours that are kept, and from where on spectra of them are looked at: 0, 32 and 64 ms
/// before the line's.
const LOCAL: usize = 2 * SPAN;
const LOCAL_FROM: [usize; 3] = [SPAN, SPAN / 2, 0];

/// Length after which fax machines' tones are told, in ms: 425 of 500 (T.30 §4.1), and 500 of at
/// least 2,600 (V.25).
const FAX_CALLING_MS: u32 = 425;
const FAX_ANSWER_MS: u32 = 500;
/// The special information tone: three sounds of 330 ms without a pause.
const SIT_HZ: [f32; 3] = [950.0, 1_400.0, 1_800.0];
/// Length of each, as spectra within it show it, in ms; and the longest way to the next.
const SIT_MS: core::ops::RangeInclusive<u32> = 120..=360;
const SIT_GAP_MS: u32 = 160;

/// What a tone means.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ToneKind {
    /// The exchange waits for a number.
    Dial,
    /// The far end rings.
    Ringback,
    /// The far end is busy, or has hung up.
    Busy,
    /// The network has no way, or has hung up.
    Congestion,
    /// The call failed; an announcement follows.
    SpecialInformation,
    /// A calling fax machine (CNG).
    FaxCalling,
    /// An answering fax machine or modem (CED, ANS).
    FaxAnswer,
}

/// What a detector tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ToneEvent {
    /// A tone was recognised.
    Began(ToneKind),
    /// It does not go on.
    Ended(ToneKind),
}

/// A sound that was heard, and the pause after it.
#[derive(Clone, Copy, Default, Debug)]
struct Pair {
    /// Bit n: its frequencies were those of number n.
    frequencies: u32,
    sound_ms: u32,
    quiet_ms: u32,
}

/// Sets of frequencies: those of fax machines, of SIT, of the plan; a bit each.
const SETS_MAX: usize = 32;
/// The first sets are the same for every country.
const SET_FAX_CALLING: usize = 0;
const SET_FAX_ANSWER: usize = 1;
const SET_SIT: usize = 2;

/// Listens to one line.
pub struct ToneDetector {
    sets: Vec<Frequencies>,
    plan: Vec<Planned>,
    window: Vec<f32>,
    spectrum: Spectrum,
    /// The last samples, oldest at `place`.
    samples: Box<[f32; SPAN]>,
    place: usize,
    power: f32,
    local_power: f32,
    filled: usize,
    segments: Segments,
    /// Power of what we said, block by block.
    local: [f32; ECHO_BLOCKS],
    local_place: usize,
    /// The last samples of it, oldest at `said_place`.
    said: Box<[f32; LOCAL]>,
    said_place: usize,
    /// Spectra of the running sound, and how many of them each set held.
    looks: u32,
    held: [u32; SETS_MAX],
    /// Spectra in a row that each set held; one that it did not hold costs nine.
    row: [u32; SETS_MAX],
    next_look: u32,
    pairs: [Pair; PAIRS],
    known: usize,
    active: Option<usize>,
    /// Of SIT: sounds that are over, length of the running one, time since it was last held.
    sit: (usize, u32, u32),
}

impl ToneDetector {
    /// A detector for these tones, the first of two that are alike before the other. Those above
    /// [`TONES_MAX`], those without frequencies and those with more than four sounds a round are
    /// left out.
    #[must_use]
    pub fn new(plan: &[(ToneKind, ToneSpec)]) -> Self {
        let mut sets = vec![
            Frequencies::new(&[1_100.0], TOLERANCE_FAX_HZ),
            Frequencies::new(&[2_100.0], TOLERANCE_FAX_HZ),
        ];
        sets.extend(SIT_HZ.map(|hz| Frequencies::new(&[hz], TOLERANCE_SIT_HZ)));
        let mut planned: Vec<Planned> = plan
            .iter()
            .take(TONES_MAX)
            .filter_map(|(kind, spec)| Some(Planned { kind: *kind, shape: shape(spec, &mut sets)? }))
            .collect();
        let all = planned.clone();
        for tone in &mut planned {
            settle(tone, &all, &sets);
        }
        let fax = |kind, frequencies, after_ms| Planned {
            kind,
            shape: Shape::Continuous { frequencies, after_ms },
        };
        planned.push(fax(ToneKind::FaxCalling, SET_FAX_CALLING, FAX_CALLING_MS));
        planned.push(fax(ToneKind::FaxAnswer, SET_FAX_ANSWER, FAX_ANSWER_MS));
        debug_assert_eq!(RealFft::new(SPAN).length(), SPAN);
        Self {
            sets,
            plan: planned,
            window: hann(SPAN),
            spectrum: Spectrum::new(SPAN),
            samples: Box::new([0.0; SPAN]),
            place: 0,
            power: 0.0,
            local_power: 0.0,
            filled: 0,
            segments: Segments::new(),
            local: [0.0; ECHO_BLOCKS],
            local_place: 0,
            said: Box::new([0.0; LOCAL]),
            said_place: 0,
            looks: 0,
            held: [0; SETS_MAX],
            row: [0; SETS_MAX],
            next_look: 0,
            pairs: [Pair::default(); PAIRS],
            known: 0,
            active: None,
            sit: (0, 0, 0),
        }
    }

    /// Forgets what was heard: another call begins. Allocates nothing.
    pub fn reset(&mut self) {
        self.samples.fill(0.0);
        (self.place, self.power, self.local_power, self.filled) = (0, 0.0, 0.0, 0);
        self.segments = Segments::new();
        self.local = [0.0; ECHO_BLOCKS];
        self.said.fill(0.0);
        (self.looks, self.next_look, self.known, self.active) = (0, 0, 0, None);
        self.held = [0; SETS_MAX];
        self.row = [0; SETS_MAX];
        self.sit = (0, 0, 0);
    }

    /// Takes samples of the line and what we said in the same time; where there is less of that,
    /// we were silent. Tells what began and ended.
    pub fn push(&mut self, line: &[i16], local: &[i16], mut heard: impl FnMut(ToneEvent)) {
        let silence = core::iter::repeat(&0);
        for (sample, said) in line.iter().zip(local.iter().chain(silence)) {
            let (sample, said) = (f32::from(*sample), f32::from(*said));
            self.samples[self.place] = sample;
            self.place = (self.place + 1) % SPAN;
            self.said[self.said_place] = said;
            self.said_place = (self.said_place + 1) % LOCAL;
            self.power += sample * sample;
            self.local_power += said * said;
            self.filled += 1;
            if self.filled == BLOCK {
                self.block(&mut heard);
            }
        }
    }

    fn block(&mut self, heard: &mut impl FnMut(ToneEvent)) {
        self.local[self.local_place] = self.local_power / BLOCK as f32;
        self.local_place = (self.local_place + 1) % ECHO_BLOCKS;
        let edge = self.segments.push(self.power / BLOCK as f32);
        (self.power, self.local_power, self.filled) = (0.0, 0.0, 0);
        self.sit.2 = self.sit.2.saturating_add(BLOCK_MS);
        match edge {
            Some(Edge::Began { quiet_ms }) => {
                if let Some(pair) = self.pairs[..self.known].last_mut() {
                    pair.quiet_ms = quiet_ms;
                    self.judge(None, heard);
                }
                self.looks = 0;
                self.held = [0; SETS_MAX];
                self.row = [0; SETS_MAX];
                self.next_look = FIRST_BLOCKS * BLOCK_MS;
            }
            Some(Edge::Ended { sound_ms }) => {
                self.remember(sound_ms);
                self.end_of_sound(heard);
            }
            None => {}
        }
        if let Some((sound_ms, at_level)) = self.segments.sounding() {
            if at_level && sound_ms >= self.next_look {
                self.next_look = sound_ms + LOOK_BLOCKS * BLOCK_MS;
                self.look(heard);
            }
            self.continuous(sound_ms, heard);
        } else if let Some(quiet_ms) = self.segments.quiet_ms() {
            self.judge(Some(quiet_ms), heard);
            self.end_of_quiet(quiet_ms, heard);
        }
    }

    fn look(&mut self, heard: &mut impl FnMut(ToneEvent)) {
        let (newer, older) = self.samples.split_at(self.place);
        let mut ordered = [0.0; SPAN];
        ordered[..older.len()].copy_from_slice(older);
        ordered[older.len()..].copy_from_slice(newer);
        let powers = self.spectrum.of(ordered.iter(), &self.window);
        let total: f32 = powers.iter().take(BIN_MAX + 1).skip(BIN_MIN).sum();
        self.looks += 1;
        let said = self.local.iter().fold(0.0, |most: f32, power| most.max(*power));
        let may_be_echo = self.segments.level() < ECHO_MAX * said;
        let mut found = [0.0; SETS_MAX];
        for (set, found) in self.sets.iter().zip(&mut found) {
            if set.hold(powers, total) {
                *found = set.power(powers);
            }
        }
        if may_be_echo {
            self.leave_out_echo(&mut found);
        }
        let mut sit = false;
        let counts = self.held.iter_mut().zip(&mut self.row);
        for (n, (found, (held, row))) in found.iter().zip(counts).enumerate() {
            if *found > 0.0 {
                *held += 1;
                *row += 1;
                sit |= n == SET_SIT + self.sit.0;
            } else {
                *row = row.saturating_sub(MISS_COSTS);
            }
        }
        if sit {
            // The first spectrum lies in the sound whole: its length counts from there.
            let since = core::mem::take(&mut self.sit.2);
            self.sit.1 += if self.sit.1 == 0 { 1 } else { since.min(4 * BLOCK_MS) };
        } else if SIT_MS.contains(&self.sit.1) {
            if self.sit.0 == 2 {
                heard(ToneEvent::Began(ToneKind::SpecialInformation));
                self.sit = (0, 0, 0);
            } else {
                self.sit = (self.sit.0 + 1, 0, self.sit.2);
            }
        } else if self.sit.2 > SIT_GAP_MS || self.sit.1 > 0 {
            self.sit = (0, 0, 0);
        }
    }

    /// Of the powers that were found leaves out those that what we said explains.
    fn leave_out_echo(&mut self, found: &mut [f32; SETS_MAX]) {
        if found.iter().all(|power| *power == 0.0) {
            return;
        }
        for from in LOCAL_FROM {
            let ordered: [f32; SPAN] =
                core::array::from_fn(|n| self.said[(self.said_place + from + n) % LOCAL]);
            let powers = self.spectrum.of(ordered.iter(), &self.window);
            for (set, found) in self.sets.iter().zip(found.iter_mut()) {
                if *found < ECHO_MAX * set.power(powers) {
                    *found = 0.0;
                }
            }
        }
    }

    /// A sound is over.
    fn remember(&mut self, sound_ms: u32) {
        let mut frequencies = 0;
        for (n, held) in self.held.iter().enumerate() {
            // Three quarters of the spectra.
            if self.looks > 0 && 4 * held >= 3 * self.looks {
                frequencies |= 1 << n;
            }
        }
        let pair = Pair { frequencies, sound_ms, quiet_ms: 0 };
        if self.known == PAIRS {
            self.pairs.rotate_left(1);
            self.known -= 1;
        }
        self.pairs[self.known] = pair;
        self.known += 1;
        // The last sound of SIT may end in quiet.
        if self.sit.0 == 2 && SIT_MS.contains(&self.sit.1) {
            self.sit.2 = 0;
        }
    }

    /// Ends the tone that is on if the sound just over is none of its own.
    fn end_of_sound(&mut self, heard: &mut impl FnMut(ToneEvent)) {
        if self.sit.0 == 2 && SIT_MS.contains(&self.sit.1) {
            heard(ToneEvent::Began(ToneKind::SpecialInformation));
            self.sit = (0, 0, 0);
        }
        let Some(pair) = self.pairs[..self.known].last().copied() else { return };
        let Some(active) = self.active else { return };
        let goes_on = match self.plan[active].shape {
            Shape::Continuous { .. } => false,
            Shape::Rounds { steps, count, .. } => steps[..count].iter().any(|step| {
                pair.frequencies >> step.frequencies & 1 == 1 && near(pair.sound_ms, step.sound_ms)
            }),
        };
        if !goes_on {
            self.end(heard);
        }
    }

    /// Ends the tone that is on if it has been quiet for longer than its longest pause.
    fn end_of_quiet(&mut self, quiet_ms: u32, heard: &mut impl FnMut(ToneEvent)) {
        let Some(active) = self.active else { return };
        if let Shape::Rounds { steps, count, .. } = self.plan[active].shape {
            let longest = steps[..count].iter().map(|step| step.quiet_ms).max().unwrap_or(0);
            if quiet_ms > longest + tolerance_ms(longest) + 50 {
                self.end(heard);
                // The same pause, which goes on, must not lead to it again.
                self.known = 0;
            }
        }
    }

    fn end(&mut self, heard: &mut impl FnMut(ToneEvent)) {
        if let Some(active) = self.active.take() {
            heard(ToneEvent::Ended(self.plan[active].kind));
        }
        // What led to it must not lead to it again.
        let newest = self.known.checked_sub(1).map(|last| self.pairs[last]);
        self.known = 0;
        if let Some(newest) = newest {
            self.pairs[0] = newest;
            self.known = 1;
        }
    }

    /// Whether the running sound is a tone without pauses, or no longer part of the one that is on.
    fn continuous(&mut self, sound_ms: u32, heard: &mut impl FnMut(ToneEvent)) {
        if let Some(active) = self.active {
            if let Shape::Rounds { steps, count, .. } = self.plan[active].shape {
                let longest = steps[..count].iter().map(|step| step.sound_ms).max().unwrap_or(0);
                if sound_ms > longest + tolerance_ms(longest) + 50 {
                    self.end(heard);
                }
            }
            return;
        }
        let found = self.plan.iter().position(|tone| match tone.shape {
            Shape::Continuous { frequencies, after_ms } => {
                // Nine tenths of the spectra; or a row of them, after whatever else was in the sound.
                let all = self.looks > 3 && 10 * self.held[frequencies] >= 9 * self.looks;
                let row_ms = self.row[frequencies] * LOOK_BLOCKS * BLOCK_MS;
                sound_ms >= after_ms && (all || tone.kind == ToneKind::Dial && row_ms >= after_ms)
            }
            Shape::Rounds { .. } => false,
        });
        if let Some(found) = found {
            self.active = Some(found);
            heard(ToneEvent::Began(self.plan[found].kind));
        }
    }

    /// Looks for a tone in what is remembered. `quiet_ms` is the running pause, if it is one.
    fn judge(&mut self, quiet_ms: Option<u32>, heard: &mut impl FnMut(ToneEvent)) {
        if self.active.is_some() {
            return;
        }
        let known = &self.pairs[..self.known];
        let found = self.plan.iter().position(|tone| match &tone.shape {
            Shape::Continuous { .. } => false,
            Shape::Rounds { steps, count, rounds, last } => {
                let needed = count * rounds;
                let Some(from) = known.len().checked_sub(needed) else { return false };
                (0..*count).any(|turned| {
                    known[from..].iter().enumerate().all(|(n, pair)| {
                        let step = &steps[(n + turned) % count];
                        let is_last = n + 1 == needed;
                        let quiet = match quiet_ms {
                            // The running pause is long enough, or as long as it should be.
                            Some(quiet_ms) if is_last => {
                                let least = step.quiet_ms.saturating_sub(tolerance_ms(step.quiet_ms));
                                match last {
                                    LastPause::Nominal => quiet_ms >= least,
                                    LastPause::Enough(enough_ms) => quiet_ms >= least.min(*enough_ms),
                                    LastPause::Whole => false,
                                }
                            }
                            Some(_) | None => near(pair.quiet_ms, step.quiet_ms),
                        };
                        pair.frequencies >> step.frequencies & 1 == 1
                            && near(pair.sound_ms, step.sound_ms)
                            && quiet
                    })
                })
            }
        });
        if let Some(found) = found {
            self.active = Some(found);
            heard(ToneEvent::Began(self.plan[found].kind));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::tone::{Oscillator, ToneSegment};
    use crate::frame::Rate;

    fn spec(hz: &[f32], times: &[(u16, u16)]) -> ToneSpec {
        let mut places = [0.0; 4];
        places.iter_mut().zip(hz).for_each(|(place, hz)| *place = *hz);
        let segments: Vec<ToneSegment> = times
            .iter()
            .map(|(on_ms, off_ms)| ToneSegment {
                hz: places,
                level_dbm0: -13.0,
                on_ms: *on_ms,
                off_ms: *off_ms,
            })
            .collect();
        ToneSpec::repeating(&segments)
    }

    fn germany() -> ToneDetector {
        ToneDetector::new(&[
            (ToneKind::Dial, spec(&[425.0], &[(0, 0)])),
            (ToneKind::Ringback, spec(&[425.0], &[(1_000, 4_000)])),
            (ToneKind::Busy, spec(&[425.0], &[(480, 480)])),
            (ToneKind::Congestion, spec(&[425.0], &[(240, 240)])),
        ])
    }

    fn sound(parts: &[(f32, f32)], times: &[(usize, usize)]) -> Vec<i16> {
        let mut all = vec![0; 1_600];
        for (on, off) in times {
            let mut tone = vec![0; on * 8];
            Oscillator::new(Rate::Narrow, parts).fill(&mut tone);
            all.extend(tone);
            all.resize(all.len() + off * 8, 0);
        }
        all
    }

    fn heard(detector: &mut ToneDetector, line: &[i16], local: &[i16]) -> Vec<ToneEvent> {
        let mut all = Vec::new();
        let mut local = local.chunks(160);
        for part in line.chunks(160) {
            detector.push(part, local.next().unwrap_or_default(), |event| all.push(event));
        }
        all
    }

    #[test]
    fn busy_is_told_after_three_rounds_and_ends_with_its_cadence() {
        let mut detector = germany();
        let three = sound(&[(425.0, -20.0)], &[(480, 480); 3]);
        assert_eq!(heard(&mut detector, &three[..three.len() - 3_000], &[]), []);
        assert_eq!(
            heard(&mut detector, &three[three.len() - 3_000..], &[]),
            [ToneEvent::Began(ToneKind::Busy)]
        );
        assert_eq!(heard(&mut detector, &[0; 8_000], &[]), [ToneEvent::Ended(ToneKind::Busy)]);
    }

    #[test]
    fn a_dial_tone_is_longer_than_any_ring_and_another_frequency_is_none() {
        let mut detector = germany();
        let ring = sound(&[(425.0, -20.0)], &[(1_000, 4_000)]);
        assert_eq!(heard(&mut detector, &ring, &[])[..1], [ToneEvent::Began(ToneKind::Ringback)]);
        let mut detector = germany();
        let dial = sound(&[(440.0, -20.0)], &[(3_000, 200)]);
        let told = heard(&mut detector, &dial, &[]);
        assert_eq!(told, [ToneEvent::Began(ToneKind::Dial), ToneEvent::Ended(ToneKind::Dial)]);
        let mut detector = germany();
        assert_eq!(heard(&mut detector, &sound(&[(480.0, -20.0)], &[(3_000, 200)]), &[]), []);
    }

    #[test]
    fn the_special_information_tone_is_three_frequencies_in_order() {
        let rising = |order: [f32; 3], ms| {
            let mut all = vec![0; 1_600];
            for hz in order {
                all.extend(&sound(&[(hz, -20.0)], &[(ms, 0)])[1_600..]);
            }
            all.resize(all.len() + 8_000, 0);
            heard(&mut germany(), &all, &[])
        };
        let sit = [ToneEvent::Began(ToneKind::SpecialInformation)];
        assert_eq!(rising([950.0, 1_400.0, 1_800.0], 330), sit);
        assert_eq!(rising([985.0, 1_370.0, 1_777.0], 300), sit);
        assert_eq!(rising([1_800.0, 1_400.0, 950.0], 330), []);
        assert_eq!(rising([950.0, 1_400.0, 1_800.0], 100), []);
    }

    #[test]
    fn our_own_tone_that_comes_back_is_none_and_the_lines_own_is() {
        let tone = sound(&[(425.0, -10.0)], &[(480, 480); 5]);
        let echo: Vec<i16> = core::iter::repeat_n(0, 200).chain(tone.iter().map(|x| x * 2 / 5)).collect();
        assert_eq!(heard(&mut germany(), &echo, &tone), []);
        let quiet: Vec<i16> = tone.iter().map(|x| x / 10).collect();
        assert_eq!(heard(&mut germany(), &tone, &quiet)[..1], [ToneEvent::Began(ToneKind::Busy)]);
    }

    #[test]
    fn what_we_say_at_other_frequencies_hides_no_tone() {
        let tone = sound(&[(425.0, -15.0)], &[(480, 480); 5]);
        let mut other = vec![0; tone.len()];
        Oscillator::new(Rate::Narrow, &[(300.0, -8.0), (900.0, -8.0)]).fill(&mut other);
        assert_eq!(heard(&mut germany(), &tone, &other)[..1], [ToneEvent::Began(ToneKind::Busy)]);
        Oscillator::new(Rate::Narrow, &[(425.0, -5.0), (900.0, -8.0)]).fill(&mut other);
        assert_eq!(heard(&mut germany(), &tone, &other), []);
    }

    #[test]
    fn tones_without_shape_are_left_out() {
        let none = ToneSpec::repeating(&[]);
        let silent = spec(&[], &[(500, 500)]);
        let many = spec(&[425.0], &[(100, 100); 5]);
        let mut detector =
            ToneDetector::new(&[(ToneKind::Busy, none), (ToneKind::Busy, silent), (ToneKind::Busy, many)]);
        assert_eq!(heard(&mut detector, &sound(&[(425.0, -20.0)], &[(500, 500); 8]), &[]), []);
    }
}
