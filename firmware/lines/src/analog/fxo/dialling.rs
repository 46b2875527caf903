//! What is dialled, step by step.

use std::collections::VecDeque;
use std::time::Duration;

use tipring_model::{Digit, Digits, Number};

/// Keys that are dialled at most, the prefix included.
const DIGITS_MAX: usize = 64;
/// What a comma stands for.
const PAUSE: Duration = Duration::from_secs(2);
/// One pulse, and the silence after a digit of pulses (DAHDI: 50 and 50 ms, 750 ms).
const PULSE: Duration = Duration::from_millis(100);
const BETWEEN_PULSE_DIGITS: Duration = Duration::from_millis(750);
/// Tones of digits take no longer, for each and for all.
const TONE_MAX: Duration = Duration::from_millis(400);
const TONES_MAX: Duration = Duration::from_secs(2);

/// One step of dialling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Tones of keys.
    Tones(Digits),
    /// A digit by pulses, 0 to 9.
    Pulses(u8),
    Pause,
}

impl Step {
    /// How long the step takes. Tones say themselves when they are over; this is the longest.
    pub(super) fn lasts(&self) -> Duration {
        match self {
            Self::Tones(digits) => TONES_MAX + TONE_MAX * u32::try_from(digits.len()).unwrap_or(u32::MAX),
            Self::Pulses(digit) => {
                PULSE * if *digit == 0 { 10 } else { u32::from(*digit) } + BETWEEN_PULSE_DIGITS
            }
            Self::Pause => PAUSE,
        }
    }
}

/// The steps that dial `prefix` and `number`; `None` when there is a key that cannot be dialled,
/// or none at all. `international` stands for a plus sign. Marks between digits are left out.
pub(super) fn steps(
    prefix: &str,
    number: &Number,
    international: &str,
    by_pulses: bool,
) -> Option<VecDeque<Step>> {
    let number = number.as_str();
    let (plus, rest) = match number.strip_prefix('+') {
        Some(rest) => (international, rest),
        None => ("", number),
    };
    if !rest.chars().any(|c| Digit::from_char(c).is_some()) {
        return None;
    }
    let mut steps = VecDeque::new();
    let mut tones = Digits::new();
    let keys = prefix.chars().chain(plus.chars()).chain(rest.chars()).filter(|c| !" -.()/".contains(*c));
    for (count, key) in keys.enumerate() {
        if count >= DIGITS_MAX {
            return None;
        }
        if key == ',' {
            if !tones.is_empty() {
                steps.push_back(Step::Tones(std::mem::take(&mut tones)));
            }
            steps.push_back(Step::Pause);
            continue;
        }
        let digit = Digit::from_char(key)?;
        if by_pulses {
            steps.push_back(Step::Pulses(pulses(digit)?));
        } else {
            tones.push(digit);
        }
    }
    if !tones.is_empty() {
        steps.push_back(Step::Tones(tones));
    }
    Some(steps)
}

/// The same for digits that are sent during a call; those without pulses are left out.
pub(super) fn steps_of(digits: &Digits, by_pulses: bool) -> VecDeque<Step> {
    if by_pulses {
        let pulses = digits.as_slice().iter().take(DIGITS_MAX).filter_map(|digit| pulses(*digit));
        return pulses.map(Step::Pulses).collect();
    }
    let digits: Digits = digits.as_slice().iter().take(DIGITS_MAX).copied().collect();
    if digits.is_empty() { VecDeque::new() } else { [Step::Tones(digits)].into() }
}

fn pulses(digit: Digit) -> Option<u8> {
    Some(digit.event()).filter(|event| *event <= 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(prefix: &str, number: &str, by_pulses: bool) -> Option<String> {
        let steps = steps(prefix, &Number::new(number), "011", by_pulses)?;
        let each = steps.iter().map(|step| match step {
            Step::Tones(digits) => digits.to_string(),
            Step::Pulses(digit) => format!("p{digit}"),
            Step::Pause => "pause".to_owned(),
        });
        Some(each.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_is_dialled() {
        for (prefix, number, by_pulses, expected) in [
            ("", "5550100", false, Some("5550100")),
            ("9,", "5550100", false, Some("9 pause 5550100")),
            ("", "+44 20 7946 0000", false, Some("011442079460000")),
            ("0", "(089) 12-34", false, Some("00891234")),
            ("", "*21#", false, Some("*21#")),
            ("", "103", true, Some("p1 p0 p3")),
            ("", "*21", true, None),
            ("", "", false, None),
            ("9", "+", false, None),
            ("", "ann", false, None),
            ("", &"1".repeat(65), false, None),
        ] {
            assert_eq!(shown(prefix, number, by_pulses).as_deref(), expected, "{prefix} {number}");
        }
    }

    #[test]
    fn pulses_take_their_time() {
        assert_eq!(Step::Pulses(3).lasts(), Duration::from_millis(1_050));
        assert_eq!(Step::Pulses(0).lasts(), Duration::from_millis(1_750));
    }
}
