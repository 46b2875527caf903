//! Numbers and names of parties.

use core::fmt;

/// What was dialled, or whom a leg is for: digits with an optional `+`, or the
/// user part of a SIP address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Number(String);

impl Number {
    /// Longest number kept, in bytes; what comes after is cut off.
    pub const BYTES_MAX: usize = 128;

    /// A number from its text, cut to [`Self::BYTES_MAX`] and freed of control
    /// characters.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut kept: String = text.chars().filter(|c| !c.is_control()).collect();
        let mut end = kept.len().min(Self::BYTES_MAX);
        while !kept.is_char_boundary(end) {
            end -= 1;
        }
        kept.truncate(end);
        Self(kept)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if nothing was dialled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True for an optional `+` followed by at least one decimal digit and
    /// nothing else.
    #[must_use]
    pub fn is_decimal(&self) -> bool {
        let digits = self.0.strip_prefix('+').unwrap_or(&self.0);
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<&str> for Number {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Who calls, as far as the network told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CallerId {
    /// The number; `None` when it is withheld or was not sent.
    pub number: Option<Number>,
    /// The name shown beside it; `None` when there is none.
    pub name: Option<String>,
}

impl CallerId {
    /// A caller known by number alone.
    #[must_use]
    pub fn of(number: &str) -> Self {
        Self { number: Some(Number::new(number)), name: None }
    }

    /// The number, or `anonymous` when it is withheld.
    #[must_use]
    pub fn number_or_anonymous(&self) -> &str {
        self.number.as_ref().map_or("anonymous", Number::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_cut_at_a_character_and_holds_no_control_character() {
        let long = Number::new(&"é".repeat(200));
        assert!(long.as_str().len() <= Number::BYTES_MAX);
        assert_eq!(Number::new("12\r\n3").as_str(), "123");
    }

    #[test]
    fn decimal_means_digits_after_an_optional_plus() {
        for (text, decimal) in [("+4912", true), ("12", true), ("+", false), ("ann", false), ("1*2", false)] {
            assert_eq!(Number::new(text).is_decimal(), decimal, "{text}");
        }
    }
}
