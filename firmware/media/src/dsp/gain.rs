//! Gain.
//!
//! What does it do? Makes samples louder or quieter by so many decibels.
//!
//! How does it work? Each sample is multiplied by one factor and held at full scale.
//!
//! Limits: −40 to +20 dB; at 0 dB samples pass untouched.

/// Least gain, in dB.
pub const GAIN_MIN_DB: f32 = -40.0;
/// Greatest gain, in dB.
pub const GAIN_MAX_DB: f32 = 20.0;

/// A gain of so many decibels.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Gain {
    factor: f32,
}

impl Gain {
    /// A gain of `db`, held within the limits; what is no number is 0 dB.
    #[must_use]
    pub fn from_db(db: f32) -> Self {
        let db = if db.is_nan() { 0.0 } else { db.clamp(GAIN_MIN_DB, GAIN_MAX_DB) };
        Self { factor: 10f32.powf(db / 20.0) }
    }

    /// Changes samples in their place.
    pub fn apply(self, samples: &mut [i16]) {
        if self.factor.to_bits() == 1f32.to_bits() {
            return;
        }
        for sample in samples {
            // The cast holds the value at full scale.
            *sample = (f32::from(*sample) * self.factor).round() as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_decibels_double_and_full_scale_holds() {
        let mut samples = [1_000, -1_000, 30_000, -30_000, 0];
        Gain::from_db(6.0206).apply(&mut samples);
        assert_eq!(samples, [2_000, -2_000, 32_767, -32_768, 0]);
        let mut same = [1, -1, 32_767, -32_768];
        Gain::from_db(0.0).apply(&mut same);
        assert_eq!(same, [1, -1, 32_767, -32_768]);
        Gain::from_db(f32::NAN).apply(&mut same);
        assert_eq!(same, [1, -1, 32_767, -32_768]);
    }

    #[test]
    fn what_exceeds_the_limits_is_held_at_them() {
        assert_eq!(Gain::from_db(90.0), Gain::from_db(GAIN_MAX_DB));
        assert_eq!(Gain::from_db(f32::NEG_INFINITY), Gain::from_db(GAIN_MIN_DB));
    }
}
