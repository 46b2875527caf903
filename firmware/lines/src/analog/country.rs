//! What the machines of analog lines need to know about a country. Tones, and how caller ID
//! sounds, are the shell's.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::contract::CallerIdStandard;
use crate::port::Cadence;
use crate::port::linecard::Impedance;
use crate::port::v253::t35_code;

/// The figures of one country. [`Default`] has those of the United States.
#[derive(Clone, PartialEq, Debug)]
pub struct CountryPlan {
    /// What a line port shows the line.
    pub impedance: Impedance,
    /// The country as modems have it (ITU-T T.35); `None` leaves them as they were made.
    pub t35: Option<u8>,
    /// How a telephone rings, and how the exchange rings.
    pub ring: Cadence,
    /// How a telephone is told who calls.
    pub caller_id: CallerIdStandard,
    /// When it is told.
    pub caller_id_moment: CallerIdMoment,
    /// Openings of the loop that are a hook flash, in ms: 200 to 1,000 in the American style,
    /// 70 to 130 where the telephone has a timed recall key.
    pub flash_ms: RangeInclusive<u16>,
    /// The hook flash that the exchange is sent, in ms.
    pub flash_sent_ms: u16,
    /// What a hook flash means at a telephone.
    pub recall: Recall,
    /// How long dial tone waits for the first digit.
    pub first_digit: Duration,
    /// How long is waited for the next digit.
    pub between_digits: Duration,
    /// How long is waited for the next digit when what was dialled is a number already.
    pub matched_digit: Duration,
    /// Numbers that are always dialled, and at once.
    pub emergency: Vec<String>,
    /// Patterns of the country's numbers, as in [`DigitMap`](super::fxs::DigitMap).
    pub numbers: Vec<String>,
    /// What is dialled for `+`.
    pub international_prefix: String,
}

/// When a telephone is told who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallerIdMoment {
    /// Between the first and the second ring.
    AfterFirstRing,
    /// Before the first ring.
    BeforeFirstRing {
        /// The battery is reversed meanwhile.
        reversal: bool,
    },
}

/// What a hook flash means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recall {
    /// The flash alone: hold, take the waiting call, three-way call.
    Direct,
    /// With a second party there, a digit after the flash says what: 0 refuses or drops the
    /// other one, 1 drops this one and takes the other, 2 changes between them, 3 joins all.
    Digit,
}

impl Default for CountryPlan {
    fn default() -> Self {
        Self {
            impedance: Impedance::R600,
            t35: t35_code("us"),
            ring: Cadence::RING,
            caller_id: CallerIdStandard::Bellcore,
            caller_id_moment: CallerIdMoment::AfterFirstRing,
            flash_ms: 300..=1000,
            flash_sent_ms: 600,
            recall: Recall::Direct,
            first_digit: Duration::from_secs(16),
            between_digits: Duration::from_secs(8),
            matched_digit: Duration::from_secs(3),
            emergency: vec!["911".to_owned()],
            numbers: Vec::new(),
            international_prefix: "011".to_owned(),
        }
    }
}
