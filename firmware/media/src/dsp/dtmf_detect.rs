//! DTMF detector.
//!
//! What does it do? Hears the sixteen digits of ITU-T Q.23 in linear samples and
//! says when each begins and ends.
//!
//! How does it work? Every 6.375 ms a Hann-windowed block of 12.75 ms is correlated
//! with the eight frequencies. The strongest row and column must stand out, keep
//! within the twist limits and make up most of the block's energy. The turn of each
//! phasor since the block before then gives the exact frequency, which a filter bank
//! this short could not tell. Four such blocks of steady level begin a digit, three
//! others end it.
//!
//! Limits (ITU-T Q.24): tone of 40 ms and more accepted, 23 ms and less rejected;
//! pause of 40 ms and more separates; frequency within ±1.5 % accepted, beyond ±3.5 %
//! rejected; column up to 4 dB above and up to 8 dB below the row accepted; −42 to
//! 0 dBm0 a frequency; noise 10 dB below the digit tolerated; no digit in an hour of
//! speech. A digit is known about 33 ms after its beginning and its end about 25 ms
//! after that end.

use std::sync::LazyLock;

use tipring_model::Digit;

use super::{
    PEAK_0_DBM0,
    dtmf_generate::{COLUMNS_HZ, KEYPAD, ROWS_HZ},
};
use crate::frame::{Frame, Rate};

/// Samples between two looks, at 8 kHz.
const HOP: usize = 51;
/// Samples a look spans, at 8 kHz.
const SPAN: usize = 2 * HOP;
const SPAN_MAX: usize = 2 * SPAN;

/// Looks that begin a digit.
const BEGIN_LOOKS: u8 = 4;
/// Looks without it that end a digit.
const END_LOOKS: u8 = 3;

/// Weakest frequency accepted, in dBm0.
const LEVEL_MIN_DBM0: f32 = -42.0;
/// Column above row, as a ratio of powers: 4 dB and half a decibel of margin.
const TWIST_COLUMN_MAX: f32 = 2.82;
/// Row above column: 8 dB and half a decibel.
const TWIST_ROW_MAX: f32 = 7.08;
/// Distance of the winner from the others of its group, as a ratio of powers (8 dB).
/// Its neighbours are exempt: the window is too short to part them, which the exact
/// frequency does instead.
const STANDS_OUT: f32 = 6.3;
/// Least part of the block's energy that the two frequencies make up.
const PURITY_MIN: f32 = 0.82;
/// Most that the level may change from one look to the next within a digit (2.5 dB).
const STEADY: f32 = 1.8;
/// Greatest deviation from the nominal frequency: midway between 1.5 % and 3.5 %.
const DEVIATION_MAX: f32 = 0.025;

/// Windowed cosines and sines for one rate.
struct Tables {
    hop: usize,
    window: Vec<f32>,
    /// For each of the eight frequencies, window times cosine, window times sine.
    waves: Vec<(Vec<f32>, Vec<f32>)>,
    /// What turns |X|² into the power of the sine behind it (peak squared).
    to_power: f32,
    /// What turns the windowed energy into a power on the same scale.
    to_total: f32,
    /// Radians that a nominal frequency advances in one hop.
    advance: [f32; 8],
    hop_seconds: f32,
}

impl Tables {
    fn new(rate: Rate) -> Self {
        let scale = rate.hz() as usize / 8_000;
        let (span, hop) = (SPAN * scale, HOP * scale);
        let window: Vec<f32> = (0..span)
            .map(|i| {
                let turn = core::f64::consts::TAU * (i as f64 + 0.5) / span as f64;
                (0.5 - 0.5 * turn.cos()) as f32
            })
            .collect();
        let hz = |k: usize| f64::from(if k < 4 { ROWS_HZ[k] } else { COLUMNS_HZ[k - 4] });
        let waves = (0..8)
            .map(|k| {
                let step = core::f64::consts::TAU * hz(k) / f64::from(rate.hz());
                let wave = |f: fn(f64) -> f64| {
                    window
                        .iter()
                        .enumerate()
                        .map(|(i, w)| (f64::from(*w) * f(step * i as f64)) as f32)
                        .collect()
                };
                (wave(f64::cos), wave(f64::sin))
            })
            .collect();
        let sum: f32 = window.iter().sum();
        let squares: f32 = window.iter().map(|w| w * w).sum();
        let hop_seconds = hop as f64 / f64::from(rate.hz());
        Self {
            hop,
            window,
            waves,
            to_power: 4.0 / (sum * sum),
            to_total: 2.0 / squares,
            advance: core::array::from_fn(|k| (core::f64::consts::TAU * hz(k) * hop_seconds) as f32),
            hop_seconds: hop_seconds as f32,
        }
    }
}

static NARROW: LazyLock<Tables> = LazyLock::new(|| Tables::new(Rate::Narrow));
static WIDE: LazyLock<Tables> = LazyLock::new(|| Tables::new(Rate::Wide));

fn tables(rate: Rate) -> &'static Tables {
    match rate {
        Rate::Narrow => &NARROW,
        Rate::Wide => &WIDE,
    }
}

/// Builds the tables of both rates, so that no detector does so on the media thread.
pub fn prepare() {
    LazyLock::force(&NARROW);
    LazyLock::force(&WIDE);
}

/// What a detector heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// A digit has begun.
    Began(Digit),
    /// It has ended.
    Ended {
        /// The digit.
        digit: Digit,
        /// How long it sounded, to within about 7 ms.
        duration_ms: u32,
    },
}

/// One look: which pair, how loud, and where its phasors stood.
#[derive(Clone, Copy)]
struct Look {
    row: usize,
    column: usize,
    power: f32,
    phases: [f32; 2],
}

/// The detector of one leg.
pub struct DtmfDetector {
    rate: Rate,
    samples: [f32; SPAN_MAX],
    filled: usize,
    last: Option<Look>,
    run: u8,
    misses: u8,
    current: Option<Digit>,
    /// Looks since the current digit began.
    looks: u32,
    /// All samples kept are zero and no digit is on: more silence changes nothing.
    silent: bool,
}

impl DtmfDetector {
    /// A detector for samples at `rate`. Call [`prepare`] once before.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            samples: [0.0; SPAN_MAX],
            filled: 0,
            last: None,
            run: 0,
            misses: 0,
            current: None,
            looks: 0,
            silent: true,
        }
    }

    /// Forgets everything, the current digit included.
    pub fn reset(&mut self) {
        *self = Self::new(self.rate);
    }

    /// Takes samples and reports each beginning and end to `heard`.
    pub fn process(&mut self, samples: &[i16], mut heard: impl FnMut(Heard)) {
        let tables = tables(self.rate);
        let span = tables.window.len();
        self.silent = false;
        for sample in samples {
            self.samples[self.filled] = f32::from(*sample);
            self.filled += 1;
            if self.filled == span {
                let look = self.look(tables);
                self.judge(tables, look, &mut heard);
                self.samples.copy_within(tables.hop..span, 0);
                self.filled = span - tables.hop;
            }
        }
    }

    /// Takes a frame in which nothing was heard; costs next to nothing after the first.
    pub fn process_silence(&mut self, heard: impl FnMut(Heard)) {
        if !self.silent {
            self.process(Frame::silence(self.rate).samples(), heard);
            self.silent = self.current.is_none();
        }
    }

    fn look(&self, tables: &Tables) -> Option<Look> {
        let block = &self.samples[..tables.window.len()];
        let level_min = (PEAK_0_DBM0 * 10f32.powf(LEVEL_MIN_DBM0 / 20.0)).powi(2);
        let energy: f32 =
            block.iter().zip(&tables.window).map(|(x, w)| (x * w) * (x * w)).sum::<f32>() * tables.to_total;
        if energy < 2.0 * level_min {
            return None;
        }
        let mut parts = [(0.0f32, 0.0f32); 8];
        for (part, (cosines, sines)) in parts.iter_mut().zip(&tables.waves) {
            *part = (dot(block, cosines), dot(block, sines));
        }
        let powers = parts.map(|(re, im)| (re * re + im * im) * tables.to_power);
        let row = strongest(&powers[..4])?;
        let column = 4 + strongest(&powers[4..])?;
        let (low, high) = (powers[row], powers[column]);
        let fits = low >= level_min
            && high >= level_min
            && high <= low * TWIST_COLUMN_MAX
            && low <= high * TWIST_ROW_MAX
            && low + high >= PURITY_MIN * energy;
        let phase = |k: usize| parts[k].1.atan2(parts[k].0);
        fits.then(|| Look { row, column, power: low + high, phases: [phase(row), phase(column)] })
    }

    fn judge(&mut self, tables: &Tables, look: Option<Look>, heard: &mut impl FnMut(Heard)) {
        let continues = match (&self.last, &look) {
            (Some(last), Some(now)) => {
                last.row == now.row
                    && last.column == now.column
                    && now.power <= last.power * STEADY
                    && last.power <= now.power * STEADY
                    && [now.row, now.column].iter().zip(0..2).all(|(k, at)| {
                        // With e^{-jωn} the phase of the correlation falls as time
                        // passes, so the sine part above counts negative.
                        let turned = last.phases[at] - now.phases[at] - tables.advance[*k];
                        let off = wrapped(turned) / tables.hop_seconds;
                        let hz = if *k < 4 { ROWS_HZ[*k] } else { COLUMNS_HZ[*k - 4] };
                        off.abs() <= core::f32::consts::TAU * hz * DEVIATION_MAX
                    })
            }
            (None | Some(_), None | Some(_)) => false,
        };
        self.run = match (look.is_some(), continues) {
            (_, true) => self.run.saturating_add(1),
            (true, false) => 1,
            (false, false) => 0,
        };
        let digit = look.map(|look| KEYPAD[look.row][look.column - 4]);
        self.last = look;
        if self.current.is_some() {
            self.looks += 1;
        }
        if let Some(current) = self.current {
            if digit == Some(current) && (continues || self.run == 1) {
                self.misses = 0;
            } else {
                self.misses += 1;
            }
            let replaced = self.run >= BEGIN_LOOKS && digit != Some(current);
            if self.misses >= END_LOOKS || replaced {
                let sounded = self.looks - u32::from(self.misses) + u32::from(BEGIN_LOOKS) + 1;
                heard(Heard::Ended {
                    digit: current,
                    duration_ms: (sounded as f32 * tables.hop_seconds * 1_000.0) as u32,
                });
                self.current = None;
                self.misses = 0;
            }
        }
        if self.current.is_none()
            && self.run >= BEGIN_LOOKS
            && let Some(digit) = digit
        {
            self.current = Some(digit);
            self.looks = 0;
            self.misses = 0;
            heard(Heard::Began(digit));
        }
    }
}

/// Sum of products, in eight lanes that the compiler keeps in vector registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (mut left, mut right) = (a.chunks_exact(8), b.chunks_exact(8));
    for (x, y) in left.by_ref().zip(right.by_ref()) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    }
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f32>() + rest
}

/// Place of the greatest of four, if it stands out from the rest.
fn strongest(powers: &[f32]) -> Option<usize> {
    let (at, most) = powers.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    powers
        .iter()
        .enumerate()
        .all(|(other, power)| other.abs_diff(at) <= 1 || power * STANDS_OUT <= *most)
        .then_some(at)
}

/// The angle brought into −π to π.
fn wrapped(angle: f32) -> f32 {
    let turns = (angle / core::f32::consts::TAU).round();
    angle - turns * core::f32::consts::TAU
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::dtmf_generate;

    #[test]
    fn frames_in_which_nothing_came_end_a_digit_and_then_cost_nothing() {
        let mut detector = DtmfDetector::new(Rate::Narrow);
        for digit in [Digit::ALL[5], Digit::ALL[5], Digit::ALL[11]] {
            let mut told = Vec::new();
            let mut sound = dtmf_generate::oscillator(Rate::Narrow, digit);
            for _ in 0..4 {
                let mut frame = Frame::silence(Rate::Narrow);
                sound.fill(frame.samples_mut());
                detector.process(frame.samples(), |heard| told.push(heard));
            }
            assert_eq!(told, [Heard::Began(digit)]);
            for _ in 0..3 {
                detector.process_silence(|heard| told.push(heard));
            }
            let [_, Heard::Ended { digit: ended, duration_ms }] = told[..] else {
                panic!("one digit was heard as {told:?}");
            };
            assert_eq!(ended, digit);
            assert!((70..=95).contains(&duration_ms), "{duration_ms} ms");
            let filled = detector.filled;
            detector.process_silence(|_| ());
            assert_eq!(detector.filled, filled);
        }
    }
}
