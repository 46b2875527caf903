//! FSK modem, 1200 baud.
//!
//! What does it do? Sends bits as two alternating frequencies, and hears such bits as bytes of
//! eight bits between a start and a stop bit: Bell 202 and ITU-T V.23, as caller ID uses them.
//!
//! How does it work? The sender turns one phase faster or slower; a bit may end between two
//! samples. The receiver correlates the last bit's length of samples with both frequencies; the
//! difference of the powers crosses zero in the middle of a change. The crossing from mark to
//! space that begins a start bit gives the time at which the ten bits are read, between
//! samples.
//!
//! Limits: 8 kHz; −45 to 0 dBm0; baud rate and frequencies off by ±2 %; one frequency 10 dB
//! (Bell 202) or 6 dB (V.23) above the other; noise 12 dB below.

use core::f32::consts::TAU;

use super::{PEAK_0_DBM0, peak_of};

const RATE_HZ: f32 = 8_000.0;

/// The two frequencies of a modem and its rate.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FskSpec {
    /// Frequency of a 1, in Hz.
    pub mark_hz: f32,
    /// Frequency of a 0, in Hz.
    pub space_hz: f32,
    /// Bits a second.
    pub baud: f32,
}

/// Bell 202.
pub const BELL_202: FskSpec = FskSpec { mark_hz: 1_200.0, space_hz: 2_200.0, baud: 1_200.0 };
/// ITU-T V.23, forward channel of mode 2.
pub const V23: FskSpec = FskSpec { mark_hz: 1_300.0, space_hz: 2_100.0, baud: 1_200.0 };

/// Makes sound of bits.
#[derive(Clone, Debug)]
pub struct FskTransmitter {
    spec: FskSpec,
    peak: f32,
    /// In turns.
    phase: f32,
    bit: Option<bool>,
    /// Samples until the bit is over.
    left: f32,
}

impl FskTransmitter {
    /// A modem that sends at this level.
    #[must_use]
    pub fn new(spec: FskSpec, level_dbm0: f32) -> Self {
        Self { spec, peak: peak_of(level_dbm0.clamp(-60.0, 3.0)), phase: 0.0, bit: None, left: 0.0 }
    }

    /// Writes samples of the bits that `next` gives, and says how many: fewer than there is room
    /// for once `next` gave none.
    pub fn fill(&mut self, samples: &mut [i16], mut next: impl FnMut() -> Option<bool>) -> usize {
        for (written, sample) in samples.iter_mut().enumerate() {
            let mut rest = 1.0;
            let mut turned = 0.0;
            loop {
                let Some(bit) = self.bit else {
                    self.bit = next();
                    if self.bit.is_none() {
                        return written;
                    }
                    self.left += RATE_HZ / self.spec.baud;
                    continue;
                };
                let hz = if bit { self.spec.mark_hz } else { self.spec.space_hz };
                if self.left >= rest {
                    turned += hz * rest;
                    self.left -= rest;
                    break;
                }
                turned += hz * self.left;
                rest -= self.left;
                self.left = 0.0;
                self.bit = next();
                if self.bit.is_none() {
                    break;
                }
                self.left = RATE_HZ / self.spec.baud;
            }
            *sample = (self.peak * (self.phase * TAU).sin()).round() as i16;
            self.phase = (self.phase + turned / RATE_HZ).fract();
        }
        samples.len()
    }
}

/// What a receiver heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FskHeard {
    /// A byte with a good start and stop bit.
    Byte(u8),
    /// A byte without its stop bit.
    Broken,
    /// [`IDLE_BITS`] bits of mark in a row: what comes next begins anew.
    Idle,
}

/// Bits of mark after which a sender counts as idle. Between two bytes of one message up to 10
/// are allowed (Telcordia GR-30 §2.2).
pub const IDLE_BITS: u32 = 16;

/// Samples that the window holds; the last counts in part.
const WINDOW: usize = 7;
/// Weakest signal, in dBm0.
const LEVEL_MIN_DBM0: f32 = -47.0;
/// Samples after which the phasors are brought to length 1.
const SETTLE_SAMPLES: u32 = 256;

/// Hears bytes.
#[derive(Clone, Debug)]
pub struct FskReceiver {
    spec: FskSpec,
    /// What one sample turns mark and space by, and where they stand.
    turns: [(f32, f32); 2],
    at: [(f32, f32); 2],
    settle: u32,
    /// Products of the last samples: mark re, im, space re, im; and the squares.
    products: [[f32; 5]; WINDOW],
    place: usize,
    /// Weight of the oldest sample in the window.
    last_weight: f32,
    /// −1 (space) to 1 (mark) at the sample before.
    soft: f32,
    /// Samples of mark in a row.
    mark_run: u32,
    /// Inside a byte: samples since its start, the bits read, the bits themselves.
    byte: Option<(f32, u8, u16)>,
    /// What the correlation with mark was at the sample before.
    mark: (f32, f32),
    /// Sum of its turns within this run of mark.
    turned: (f32, f32),
    mark_off_hz: f32,
}

impl FskReceiver {
    /// A receiver that has heard nothing.
    #[must_use]
    pub fn new(spec: FskSpec) -> Self {
        let turn = |hz: f32| {
            let angle = TAU * hz / RATE_HZ;
            (angle.cos(), angle.sin())
        };
        Self {
            spec,
            turns: [turn(spec.mark_hz), turn(spec.space_hz)],
            at: [(1.0, 0.0); 2],
            settle: 0,
            products: [[0.0; 5]; WINDOW],
            place: 0,
            last_weight: (RATE_HZ / spec.baud - (WINDOW - 1) as f32).clamp(0.0, 1.0),
            soft: 0.0,
            mark_run: 0,
            byte: None,
            mark: (0.0, 0.0),
            turned: (0.0, 0.0),
            mark_off_hz: 0.0,
        }
    }

    /// How far the mark before the last bytes was from its frequency, in Hz, to within 15: tells the modem that
    /// the receiver is made for from its neighbour, whose bytes it hears, too.
    #[must_use]
    pub const fn mark_off_hz(&self) -> f32 {
        self.mark_off_hz
    }

    /// Takes samples and tells what they held.
    pub fn push(&mut self, samples: &[i16], mut heard: impl FnMut(FskHeard)) {
        for sample in samples {
            let soft = self.correlate(f32::from(*sample));
            self.read(soft, &mut heard);
            self.soft = soft;
        }
    }

    /// −1 for space to 1 for mark; 0 where the line is quiet.
    fn correlate(&mut self, sample: f32) -> f32 {
        let mut product = [0.0; 5];
        for (k, (at, turn)) in self.at.iter_mut().zip(self.turns).enumerate() {
            product[2 * k] = sample * at.0;
            product[2 * k + 1] = sample * at.1;
            *at = (at.0 * turn.0 - at.1 * turn.1, at.0 * turn.1 + at.1 * turn.0);
        }
        product[4] = sample * sample;
        self.settle += 1;
        if self.settle == SETTLE_SAMPLES {
            self.settle = 0;
            for at in &mut self.at {
                let gain = 1.5 - 0.5 * (at.0 * at.0 + at.1 * at.1);
                *at = (at.0 * gain, at.1 * gain);
            }
        }
        self.products[self.place] = product;
        self.place = (self.place + 1) % WINDOW;
        let oldest = self.products[self.place];
        let mut sums = oldest.map(|x| x * (self.last_weight - 1.0));
        for products in &self.products {
            for (sum, x) in sums.iter_mut().zip(products) {
                *sum += x;
            }
        }
        let [mark_re, mark_im, space_re, space_im, energy] = sums;
        let mark = mark_re * mark_re + mark_im * mark_im;
        let space = space_re * space_re + space_im * space_im;
        let length = (WINDOW - 1) as f32 + self.last_weight;
        let least = peak_of(LEVEL_MIN_DBM0).powi(2) * 0.5 * length;
        let before = core::mem::replace(&mut self.mark, (mark_re, mark_im));
        self.turned.0 += mark_re * before.0 + mark_im * before.1;
        self.turned.1 += mark_im * before.0 - mark_re * before.1;
        if energy < least {
            return 0.0;
        }
        (mark - space) / (mark + space + PEAK_0_DBM0 * f32::EPSILON)
    }

    fn read(&mut self, soft: f32, heard: &mut impl FnMut(FskHeard)) {
        let per_bit = RATE_HZ / self.spec.baud;
        if soft > 0.0 {
            self.mark_run = self.mark_run.saturating_add(1);
            // The turns are counted once the window holds nothing but mark.
            if self.mark_run == WINDOW as u32 {
                self.turned = (0.0, 0.0);
            }
            if self.mark_run == (IDLE_BITS as f32 * per_bit) as u32 {
                // The products fall behind by the difference of the frequencies.
                self.mark_off_hz = -self.turned.1.atan2(self.turned.0) / TAU * RATE_HZ;
                self.byte = None;
                heard(FskHeard::Idle);
            }
        } else {
            self.mark_run = 0;
        }
        let Some((since, read, bits)) = &mut self.byte else {
            if self.soft > 0.0 && soft < 0.0 {
                // Where between the two samples zero was crossed.
                let crossed = self.soft / (self.soft - soft);
                self.byte = Some((1.0 - crossed, 0, 0));
            }
            return;
        };
        *since += 1.0;
        let due = (f32::from(*read) + 0.5) * per_bit;
        if *since < due {
            return;
        }
        let back = *since - due;
        let bit = soft + (self.soft - soft) * back > 0.0;
        match *read {
            // A start bit that is none was a click.
            0 if bit => self.byte = None,
            0..=8 => {
                *bits |= u16::from(bit) << *read;
                *read += 1;
            }
            _ => {
                let value = (*bits >> 1) as u8;
                self.byte = None;
                heard(if bit { FskHeard::Byte(value) } else { FskHeard::Broken });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits_of(bytes: &[u8]) -> Vec<bool> {
        let mut bits = vec![true; 40];
        for byte in bytes {
            bits.push(false);
            bits.extend((0..8).map(|n| byte >> n & 1 == 1));
            bits.push(true);
        }
        bits.extend([true; 4]);
        bits
    }

    fn sound(spec: FskSpec, level: f32, bytes: &[u8]) -> Vec<i16> {
        let mut bits = bits_of(bytes).into_iter();
        let mut modem = FskTransmitter::new(spec, level);
        let mut all = Vec::new();
        loop {
            let mut part = [0; 100];
            let written = modem.fill(&mut part, || bits.next());
            all.extend_from_slice(&part[..written]);
            if written < part.len() {
                break all;
            }
        }
    }

    fn heard(spec: FskSpec, samples: &[i16]) -> Vec<u8> {
        let mut receiver = FskReceiver::new(spec);
        let mut bytes = Vec::new();
        let mut idle = 0;
        // In parts that divide nothing.
        for part in samples.chunks(37) {
            receiver.push(part, |heard| match heard {
                FskHeard::Byte(byte) => bytes.push(byte),
                FskHeard::Broken => panic!("a stop bit is missing after {bytes:?}"),
                FskHeard::Idle => idle += 1,
            });
        }
        assert_eq!(idle, 1, "the mark before the bytes");
        bytes
    }

    #[test]
    fn every_byte_comes_over_at_every_level_and_off_its_rate() {
        let bytes: Vec<u8> = (0..=255).collect();
        for spec in [BELL_202, V23] {
            for level in [0.0, -13.5, -40.0] {
                for off in [0.98, 1.0, 1.02] {
                    let sent = FskSpec {
                        mark_hz: spec.mark_hz * off,
                        space_hz: spec.space_hz * off,
                        baud: spec.baud * (2.0 - off),
                    };
                    assert_eq!(heard(spec, &sound(sent, level, &bytes)), bytes, "{sent:?} at {level} dBm0");
                }
            }
        }
    }

    #[test]
    fn a_bit_lasts_as_long_as_it_should() {
        let sent = sound(V23, -10.0, &[0x55; 100]);
        let bits = 40 + 1_000 + 4;
        assert!(sent.len().abs_diff(bits * 20 / 3) <= 1, "{} samples", sent.len());
    }

    #[test]
    fn a_modem_is_told_from_its_neighbour_by_its_mark() {
        for (sent, by, off) in
            [(BELL_202, BELL_202, 0.0), (BELL_202, V23, -100.0), (V23, BELL_202, 100.0), (V23, V23, 0.0)]
        {
            let mut receiver = FskReceiver::new(by);
            receiver.push(&sound(sent, -20.0, &[0x5a; 40]), |_| ());
            assert!((receiver.mark_off_hz() - off).abs() < 15.0, "{} for {off}", receiver.mark_off_hz());
        }
    }

    #[test]
    fn silence_and_cut_bytes_give_nothing() {
        let mut receiver = FskReceiver::new(BELL_202);
        let samples = sound(BELL_202, -13.5, &[0x00, 0xff]);
        receiver.push(&[0; 4_000], |heard| panic!("{heard:?} in silence"));
        // Cut in the middle of the first byte.
        let mut told = Vec::new();
        receiver.push(&samples[..300], |heard| told.push(heard));
        receiver.push(&[0; 4_000], |heard| told.push(heard));
        assert!(!told.contains(&FskHeard::Byte(0xff)), "{told:?}");
    }
}
