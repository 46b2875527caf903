//! Dialled digits.

use core::fmt;

/// One key of a telephone: ITU-T Q.23 digits, the letters of the fourth column
/// included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the variants are the keys")]
pub enum Digit {
    D0,
    D1,
    D2,
    D3,
    D4,
    D5,
    D6,
    D7,
    D8,
    D9,
    Star,
    Hash,
    A,
    B,
    C,
    D,
}

/// How a key came to the box.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DigitPath {
    /// As a named event (RFC 4733).
    Rfc4733,
    /// As sound.
    InBand,
    /// By the line's own signalling: SIP INFO, pulses.
    Signalled,
}

impl Digit {
    /// Every key, in the order of the RFC 4733 event codes 0 to 15.
    pub const ALL: [Self; 16] = [
        Self::D0,
        Self::D1,
        Self::D2,
        Self::D3,
        Self::D4,
        Self::D5,
        Self::D6,
        Self::D7,
        Self::D8,
        Self::D9,
        Self::Star,
        Self::Hash,
        Self::A,
        Self::B,
        Self::C,
        Self::D,
    ];

    /// The key that `c` names; letters in either case.
    #[must_use]
    pub fn from_char(c: char) -> Option<Self> {
        "0123456789*#ABCD"
            .chars()
            .position(|key| key == c.to_ascii_uppercase())
            .and_then(|at| Self::ALL.get(at).copied())
    }

    /// The key with this RFC 4733 event code (0 to 15).
    #[must_use]
    pub fn from_event(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// RFC 4733 §3.2 event code, 0 to 15.
    #[must_use]
    pub const fn event(self) -> u8 {
        self as u8
    }

    /// `0` to `9`, `*`, `#`, `A` to `D`.
    #[must_use]
    pub const fn as_char(self) -> char {
        b"0123456789*#ABCD"[self as usize] as char
    }
}

impl fmt::Display for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_char())
    }
}

/// A set of keys, for example those that end a collection.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct DigitSet(u16);

impl DigitSet {
    /// No key.
    pub const NONE: Self = Self(0);
    /// Every key.
    pub const ALL: Self = Self(0xffff);

    /// The keys that `text` names; other characters are passed over.
    #[must_use]
    pub fn of(text: &str) -> Self {
        text.chars().filter_map(Digit::from_char).collect()
    }

    /// True if `digit` is in the set.
    #[must_use]
    pub const fn contains(self, digit: Digit) -> bool {
        self.0 & (1 << digit as u16) != 0
    }

    /// True if no key is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Digit> for DigitSet {
    fn from_iter<I: IntoIterator<Item = Digit>>(digits: I) -> Self {
        Self(digits.into_iter().fold(0, |set, d| set | 1 << d as u16))
    }
}

impl fmt::Display for DigitSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digit::ALL.iter().filter(|d| self.contains(**d)).try_for_each(|d| write!(f, "{d}"))
    }
}

impl fmt::Debug for DigitSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// A string of dialled digits.
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct Digits(Vec<Digit>);

impl Digits {
    /// No digit.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The digits of `text`, or `None` if it holds anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.chars().map(Digit::from_char).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Appends one digit.
    pub fn push(&mut self, digit: Digit) {
        self.0.push(digit);
    }

    /// The digits in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Digit] {
        &self.0
    }

    /// How many digits there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is no digit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets every digit.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl FromIterator<Digit> for Digits {
    fn from_iter<I: IntoIterator<Item = Digit>>(digits: I) -> Self {
        Self(digits.into_iter().collect())
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|d| write!(f, "{d}"))
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_survives_each_of_its_spellings() {
        for digit in Digit::ALL {
            assert_eq!(Digit::from_char(digit.as_char()), Some(digit));
            assert_eq!(Digit::from_event(digit.event()), Some(digit));
        }
        assert_eq!(Digit::from_char('a'), Some(Digit::A));
        assert_eq!(Digit::from_char('+'), None);
        assert_eq!(Digit::from_event(16), None);
    }

    #[test]
    fn a_set_holds_only_what_it_was_given() {
        let set = DigitSet::of("*#x");
        assert!(set.contains(Digit::Star) && set.contains(Digit::Hash));
        assert!(!set.contains(Digit::D0));
        assert_eq!(set.to_string(), "*#");
        assert!(DigitSet::of("+").is_empty());
    }
}
