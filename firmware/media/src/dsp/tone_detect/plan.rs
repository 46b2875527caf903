//! The tones of a plan as the detector looks for them: frequencies that sound together, and sounds
//! and pauses in their order.

use super::{BIN_HZ, BIN_MAX, BIN_MIN, SETS_MAX, STEPS_MAX, ToneKind};
use crate::dsp::tone::ToneSpec;

/// Frequencies are right this near their nominal one, in Hz: 20 and the measurement's error.
const TOLERANCE_HZ: f32 = 25.0;
/// What a spectrum spreads a frequency over, to one side, in Hz.
const SPREAD_HZ: f32 = 1.5 * BIN_HZ;
/// Frequencies nearer than this are one band.
const BAND_HZ: f32 = 60.0;
/// Least part of the power that a tone's bands hold.
const SHARE_MIN: f32 = 0.8;
/// Least part that each of them holds.
const BAND_SHARE_MIN: f32 = 0.06;
/// Rounds of a tone with one sound a round, and with several.
const ROUNDS: usize = 3;
const ROUNDS_OF_SEVERAL: usize = 2;
/// Least length of a tone without pauses, in ms.
const CONTINUOUS_MIN_MS: u32 = 600;
/// Least quiet after the first sound of ring-back, in ms.
const RINGBACK_QUIET_MS: u32 = 600;

/// A band that must hold power.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Band {
    first: usize,
    last: usize,
    low_hz: f32,
    high_hz: f32,
}

/// Frequencies that sound together.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Frequencies {
    bands: [Band; 4],
    count: usize,
}

impl Frequencies {
    pub(super) fn new(hz: &[f32], tolerance_hz: f32) -> Self {
        let mut sorted = [0.0f32; 4];
        let mut used = 0;
        for (place, hz) in sorted.iter_mut().zip(hz.iter().filter(|hz| **hz > 0.0)) {
            *place = *hz;
            used += 1;
        }
        let sorted = &mut sorted[..used];
        sorted.sort_by(f32::total_cmp);
        let mut new = Self::default();
        for hz in sorted.iter() {
            match new.bands[..new.count].last_mut() {
                Some(band) if *hz - (band.high_hz - tolerance_hz) <= BAND_HZ => {
                    band.high_hz = hz + tolerance_hz
                }
                Some(_) | None => {
                    new.bands[new.count] =
                        Band { low_hz: hz - tolerance_hz, high_hz: hz + tolerance_hz, ..Band::default() };
                    new.count += 1;
                }
            }
        }
        let mut after = BIN_MIN;
        for n in 0..new.count {
            let next_hz = if n + 1 < new.count { Some(new.bands[n + 1].low_hz) } else { None };
            let band = &mut new.bands[n];
            // Neighbours share the bins between them half and half.
            let edge_hz = next_hz.map_or(f32::MAX, |next| 0.5 * (band.high_hz + next));
            band.first = after.max(((band.low_hz - SPREAD_HZ) / BIN_HZ).ceil().max(0.0) as usize);
            band.last = (((band.high_hz + SPREAD_HZ).min(edge_hz) / BIN_HZ) as usize).min(BIN_MAX);
            after = band.last + 1;
        }
        new
    }

    pub(super) fn hold(&self, powers: &[f32], total: f32) -> bool {
        let mut sum = 0.0;
        for band in &self.bands[..self.count] {
            let Some(bins) = powers.get(band.first..=band.last) else { return false };
            let power: f32 = bins.iter().sum();
            let moment: f32 = bins.iter().zip(band.first..).map(|(power, bin)| power * bin as f32).sum();
            let centre_hz = moment / power.max(f32::MIN_POSITIVE) * BIN_HZ;
            if power < BAND_SHARE_MIN * total || centre_hz < band.low_hz || centre_hz > band.high_hz {
                return false;
            }
            sum += power;
        }
        self.count > 0 && sum >= SHARE_MIN * total
    }

    /// Power at these frequencies.
    pub(super) fn power(&self, powers: &[f32]) -> f32 {
        self.bands[..self.count].iter().filter_map(|band| powers.get(band.first..=band.last)).flatten().sum()
    }

    /// Whether sound of these frequencies may be taken for the other's.
    pub(super) fn resembles(&self, other: &Self) -> bool {
        self.count == other.count
            && self.bands[..self.count]
                .iter()
                .zip(&other.bands)
                .all(|(a, b)| a.low_hz <= b.high_hz && b.low_hz <= a.high_hz)
    }
}

/// One sound of a round and the pause after it.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Step {
    pub(super) frequencies: usize,
    pub(super) sound_ms: u32,
    pub(super) quiet_ms: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// Without pauses: told after so long.
    Continuous { frequencies: usize, after_ms: u32 },
    /// Rounds of steps; of the last pause `last` is needed.
    Rounds { steps: [Step; STEPS_MAX], count: usize, rounds: usize, last: LastPause },
}

/// How much of the pause after the last sound is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum LastPause {
    /// As long as it lasts at least.
    Nominal,
    /// This long, in ms: no other tone's pause lasts so long.
    Enough(u32),
    /// Until the next sound: another tone's pause begins alike.
    Whole,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    pub(super) kind: ToneKind,
    pub(super) shape: Shape,
}

pub(super) fn near(measured_ms: u32, nominal_ms: u32) -> bool {
    measured_ms.abs_diff(nominal_ms) <= tolerance_ms(nominal_ms)
}

/// 10 % or 20 ms, and the 10 ms by which two edges may be misplaced.
pub(in crate::dsp) fn tolerance_ms(nominal_ms: u32) -> u32 {
    (nominal_ms / 10).max(20) + 10
}

/// What to look for, and its frequencies among the sets.
pub(super) fn shape(spec: &ToneSpec, sets: &mut Vec<Frequencies>) -> Option<Shape> {
    let mut set = |hz: &[f32]| {
        let new = Frequencies::new(hz, TOLERANCE_HZ);
        let same = |old: &Frequencies| {
            old.count == new.count
                && old.bands[..old.count]
                    .iter()
                    .zip(&new.bands)
                    .all(|(a, b)| (a.low_hz - b.low_hz).abs() < 0.5 && (a.high_hz - b.high_hz).abs() < 0.5)
        };
        if new.count == 0 {
            return None;
        }
        sets.iter().position(same).or_else(|| {
            (sets.len() < SETS_MAX).then(|| {
                sets.push(new);
                sets.len() - 1
            })
        })
    };
    let segments = spec.segments();
    if let [only] = segments
        && only.off_ms == 0
    {
        return Some(Shape::Continuous { frequencies: set(&only.hz)?, after_ms: CONTINUOUS_MIN_MS });
    }
    if segments.is_empty() || segments.len() > STEPS_MAX {
        return None;
    }
    let mut steps = [Step::default(); STEPS_MAX];
    for (step, segment) in steps.iter_mut().zip(segments) {
        if segment.on_ms == 0 || segment.off_ms == 0 {
            return None;
        }
        *step = Step {
            frequencies: set(&segment.hz)?,
            sound_ms: u32::from(segment.on_ms),
            quiet_ms: u32::from(segment.off_ms),
        };
    }
    let count = segments.len();
    let rounds = if count == 1 { ROUNDS } else { ROUNDS_OF_SEVERAL };
    Some(Shape::Rounds { steps, count, rounds, last: LastPause::Nominal })
}

/// Sets how much of a tone is needed, by what else there is in the plan.
pub(super) fn settle(tone: &mut Planned, all: &[Planned], sets: &[Frequencies]) {
    let alike = |a: usize, b: usize| sets[a].resembles(&sets[b]);
    match &mut tone.shape {
        Shape::Continuous { frequencies, after_ms } => {
            for other in all {
                if let Shape::Rounds { steps, count, .. } = &other.shape {
                    for step in steps[..*count].iter().filter(|step| alike(step.frequencies, *frequencies)) {
                        *after_ms = (*after_ms).max(step.sound_ms + tolerance_ms(step.sound_ms) + 40);
                    }
                }
            }
        }
        Shape::Rounds { steps, count, rounds, last } => match tone.kind {
            ToneKind::Ringback | ToneKind::Dial => {
                *rounds = 1;
                // Enough quiet to be no other tone with such a sound.
                let mut enough = RINGBACK_QUIET_MS;
                for other in all.iter().filter(|other| other.kind != tone.kind) {
                    if let Shape::Rounds { steps: others, count, .. } = &other.shape {
                        for step in
                            others[..*count].iter().filter(|step| near(step.sound_ms, steps[0].sound_ms))
                        {
                            enough = enough.max(step.quiet_ms + tolerance_ms(step.quiet_ms) + 40);
                        }
                    }
                }
                if *count == 1 {
                    *last = LastPause::Enough(enough);
                }
            }
            ToneKind::Busy
            | ToneKind::Congestion
            | ToneKind::SpecialInformation
            | ToneKind::FaxCalling
            | ToneKind::FaxAnswer => {
                let own = steps[0];
                let begins_alike = |step: &Step| {
                    alike(step.frequencies, own.frequencies)
                        && near(step.sound_ms, own.sound_ms)
                        && step.quiet_ms > own.quiet_ms + tolerance_ms(own.quiet_ms)
                };
                let is_mistaken = all.iter().any(|other| match &other.shape {
                    Shape::Rounds { steps, count, .. } => {
                        *count > 1 && steps[..*count].iter().any(begins_alike)
                    }
                    Shape::Continuous { .. } => false,
                });
                if *count == 1 && is_mistaken {
                    *last = LastPause::Whole;
                }
            }
        },
    }
}
