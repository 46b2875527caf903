//! DTMF generator.
//!
//! What does it do? Makes the sixteen digits of ITU-T Q.23 as sound.
//!
//! How does it work? Two phasors a digit (see [`tone`](super::tone)).
//!
//! Limits: frequency error below 0.01 % (Q.23 allows 1.8 %); rows −9 dBm0, columns
//! −7 dBm0 (a twist of 2 dB, as ETSI ES 201 235-2 §4.2.4 recommends).

use tipring_model::Digit;

use crate::{dsp::tone::Oscillator, frame::Rate};

/// Row frequencies in Hz.
pub const ROWS_HZ: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
/// Column frequencies in Hz.
pub const COLUMNS_HZ: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];

/// Level of a row frequency, in dBm0.
pub const ROW_DBM0: f32 = -9.0;
/// Level of a column frequency, in dBm0.
pub const COLUMN_DBM0: f32 = -7.0;

/// The keys, row by row, as they lie on the telephone.
pub(crate) const KEYPAD: [[Digit; 4]; 4] = [
    [Digit::D1, Digit::D2, Digit::D3, Digit::A],
    [Digit::D4, Digit::D5, Digit::D6, Digit::B],
    [Digit::D7, Digit::D8, Digit::D9, Digit::C],
    [Digit::Star, Digit::D0, Digit::Hash, Digit::D],
];

/// Row and column frequency of `digit`, in Hz.
#[must_use]
pub fn frequencies_hz(digit: Digit) -> (f32, f32) {
    for (row, keys) in KEYPAD.iter().enumerate() {
        if let Some(column) = keys.iter().position(|key| *key == digit) {
            return (ROWS_HZ[row], COLUMNS_HZ[column]);
        }
    }
    (ROWS_HZ[3], COLUMNS_HZ[1])
}

/// Starts the two frequencies of `digit`.
#[must_use]
pub fn oscillator(rate: Rate, digit: Digit) -> Oscillator {
    let (row, column) = frequencies_hz(digit);
    Oscillator::new(rate, &[(row, ROW_DBM0), (column, COLUMN_DBM0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_has_its_own_pair() {
        let mut pairs: Vec<_> = Digit::ALL
            .iter()
            .map(|d| frequencies_hz(*d))
            .map(|(row, column)| (row as u32, column as u32))
            .collect();
        assert_eq!(pairs[0], (941, 1336));
        assert_eq!(pairs[5], (770, 1336));
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), 16);
    }
}
