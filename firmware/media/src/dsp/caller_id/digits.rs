//! Caller ID in digits.
//!
//! What does it do? Reads and writes the rows of DTMF digits that some networks send before the
//! first ring.
//!
//! How does it work? ETSI EN 300 659-1 annex B, as in Sweden, Brazil or Finland: `A` and the
//! number, `D` and a diverting number, `B` and a reason, in this order and each if there is one;
//! then `C`. Denmark ends with `#`, and `D1#` to `D3#` give a reason. India and Taiwan put a `D`
//! before the number. Some exchanges send bare digits.
//!
//! Limits: 32 digits; a row without a start needs 3.

use tipring_model::Digit;

use super::{Absence, CallerId, MessageError, NUMBER_MAX, Text};

/// Longest row: a number, a diverting number, a reason, four signs.
pub const ROW_MAX: usize = 2 * NUMBER_MAX + 8;
/// Fewest digits of a number without a start.
const BARE_MIN: usize = 3;

/// Which rows are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `A` number `C`, `B00C`, `B10C`.
    Etsi,
    /// `A` number `#`, `D1#`, `D2#`.
    Denmark,
    /// `D` number `C`.
    StartsWithD,
}

/// Whether this digit ends a row.
#[must_use]
pub fn ends(digit: Digit) -> bool {
    digit == Digit::C || digit == Digit::Hash
}

/// Reads a row, with or without its end.
///
/// # Errors
/// [`MessageError::Digits`]
pub fn parse(row: &[Digit]) -> Result<CallerId, MessageError> {
    let row = match row.split_last() {
        Some((last, before)) if ends(*last) => before,
        Some(_) | None => row,
    };
    // Denmark: one digit behind D is no number.
    if let [Digit::D, code] = row {
        let reason = if *code == Digit::D1 { Absence::Withheld } else { Absence::Unavailable };
        return Ok(CallerId { number: Err(reason), ..CallerId::default() });
    }
    let is_start = |digit: &Digit| [Digit::A, Digit::B, Digit::D].contains(digit);
    if row.iter().position(is_start) != Some(0) {
        return if row.len() >= BARE_MIN { number(row) } else { Err(MessageError::Digits) };
    }
    let part = |start: Digit| {
        let from = row.iter().position(|digit| *digit == start)?;
        let rest = row.get(from + 1..)?;
        rest.get(..rest.iter().position(is_start).unwrap_or(rest.len()))
    };
    let numbers = [part(Digit::A), part(Digit::D)];
    if let Some(row) = numbers.into_iter().flatten().find(|part| !part.is_empty()) {
        return number(row);
    }
    match part(Digit::B) {
        Some([Digit::D1, Digit::D0]) => {
            Ok(CallerId { number: Err(Absence::Withheld), ..CallerId::default() })
        }
        Some([_, ..]) => Ok(CallerId { number: Err(Absence::Unavailable), ..CallerId::default() }),
        Some([]) | None => Err(MessageError::Digits),
    }
}

fn number(row: &[Digit]) -> Result<CallerId, MessageError> {
    let mut text = [0; ROW_MAX];
    let mut length = 0;
    for (place, digit) in text.iter_mut().zip(row) {
        *place = u8::try_from(digit.as_char()).ok().filter(u8::is_ascii_digit).ok_or(MessageError::Digits)?;
        length += 1;
    }
    let number = Text::from_latin1(text.get(..length).unwrap_or_default(), NUMBER_MAX);
    Ok(CallerId { number: Ok(number), ..CallerId::default() })
}

/// A row of fixed size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DigitRow {
    digits: [Digit; ROW_MAX],
    length: usize,
}

impl Default for DigitRow {
    fn default() -> Self {
        Self { digits: [Digit::D0; ROW_MAX], length: 0 }
    }
}

impl DigitRow {
    /// The digits.
    #[must_use]
    pub fn as_slice(&self) -> &[Digit] {
        self.digits.get(..self.length).unwrap_or_default()
    }

    /// Appends a digit; false if there is no room.
    pub fn push(&mut self, digit: Digit) -> bool {
        match self.digits.get_mut(self.length) {
            Some(place) => {
                *place = digit;
                self.length += 1;
                true
            }
            None => false,
        }
    }

    /// Takes all digits away.
    pub fn clear(&mut self) {
        self.length = 0;
    }
}

/// The row that says who calls. A number keeps its digits only.
#[must_use]
pub fn encode(caller: &CallerId, form: Form) -> DigitRow {
    let (start, end) = match form {
        Form::Etsi => (Digit::A, Digit::C),
        Form::Denmark => (Digit::A, Digit::Hash),
        Form::StartsWithD => (Digit::D, Digit::C),
    };
    let mut row = DigitRow::default();
    match (&caller.number, form) {
        (Ok(number), Form::Etsi | Form::Denmark | Form::StartsWithD) => {
            row.push(start);
            for digit in number.as_str().chars().filter(char::is_ascii_digit).filter_map(Digit::from_char) {
                row.push(digit);
            }
        }
        (Err(reason), Form::Denmark) => {
            row.push(Digit::D);
            row.push(if *reason == Absence::Withheld { Digit::D1 } else { Digit::D2 });
        }
        (Err(reason), Form::Etsi | Form::StartsWithD) => {
            row.push(Digit::B);
            row.push(if *reason == Absence::Withheld { Digit::D1 } else { Digit::D0 });
            row.push(Digit::D0);
        }
    }
    row.push(end);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Vec<Digit> {
        text.chars().map(|c| Digit::from_char(c).unwrap()).collect()
    }

    fn read(text: &str) -> Result<String, Option<Absence>> {
        match parse(&row(text)) {
            Ok(caller) => caller.number.map(|number| number.as_str().to_owned()).map_err(Some),
            Err(MessageError::Digits) => Err(None),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn rows_of_many_countries_read() {
        assert_eq!(read("A0812345678C").unwrap(), "0812345678");
        assert_eq!(read("A0812345678D031999C").unwrap(), "0812345678");
        assert_eq!(read("A33445566#").unwrap(), "33445566");
        assert_eq!(read("D0225551234C").unwrap(), "0225551234");
        assert_eq!(read("0225551234").unwrap(), "0225551234");
        assert_eq!(read("0225551234#").unwrap(), "0225551234");
        assert_eq!(read("B10C"), Err(Some(Absence::Withheld)));
        assert_eq!(read("B00C"), Err(Some(Absence::Unavailable)));
        assert_eq!(read("AB10C"), Err(Some(Absence::Withheld)));
        assert_eq!(read("D1#"), Err(Some(Absence::Withheld)));
        assert_eq!(read("D2#"), Err(Some(Absence::Unavailable)));
        for none in ["", "C", "A", "AC", "12", "*21*", "1A2C", "A1*2C"] {
            assert_eq!(read(none), Err(None), "{none}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for form in [Form::Etsi, Form::Denmark, Form::StartsWithD] {
            for number in [Ok(Text::new("0401234567", 32)), Err(Absence::Withheld), Err(Absence::Unavailable)]
            {
                let caller = CallerId { number, ..CallerId::default() };
                let row = encode(&caller, form);
                assert_eq!(parse(row.as_slice()), Ok(caller), "{form:?} {row:?}");
            }
        }
        let caller = CallerId { number: Ok(Text::new("12", 32)), ..CallerId::default() };
        assert_eq!(encode(&caller, Form::Etsi).as_slice(), row("A12C"));
    }
}
