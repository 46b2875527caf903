//! When a number that is being dialled is complete.
//!
//! An emergency number is complete at once, whatever else begins like it. Any other number is
//! complete when a pattern fits and none could go on; if one could, a short wait decides.
//! What fits no pattern is dialled after a longer wait: whether it leads anywhere is not
//! decided here.

use tipring_model::{Digit, DigitSet, Digits};

/// Keys that a number may have at most.
pub(super) const DIGITS_MAX: usize = 40;

/// One shape of numbers.
///
/// `0` to `9`, `*`, `#` and `A` to `D` stand for themselves, `x` for any of `0` to `9`,
/// `[2-9]` and `[135]` for one of several. A dot at the end means that any number of further
/// digits may follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    keys: Vec<DigitSet>,
    is_open: bool,
}

/// How a pattern fits what was dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fit {
    No,
    /// It needs more.
    Begins,
    /// It fits, and nothing may follow.
    Whole,
    /// It fits, and more may follow.
    Open,
}

impl Pattern {
    /// Reads a pattern; `None` if it is not well formed or longer than 40 keys.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut keys = Vec::new();
        let mut rest = text.trim();
        let is_open = rest.ends_with('.');
        if is_open {
            rest = rest.strip_suffix('.')?;
        }
        while let Some(first) = rest.chars().next() {
            if let Some(inside) = rest.strip_prefix('[') {
                let (set, after) = inside.split_once(']')?;
                keys.push(one_of(set)?);
                rest = after;
                continue;
            }
            keys.push(match first {
                'x' | 'X' => decimal(),
                key => [Digit::from_char(key)?].into_iter().collect(),
            });
            rest = rest.get(1..)?;
        }
        (!keys.is_empty() && keys.len() <= DIGITS_MAX).then_some(Self { keys, is_open })
    }

    /// The pattern of one number; `None` if it has other characters than keys.
    #[must_use]
    pub fn of(number: &str) -> Option<Self> {
        let digits = Digits::parse(number).filter(|d| !d.is_empty() && d.len() <= DIGITS_MAX)?;
        let keys = digits.as_slice().iter().map(|digit| [*digit].into_iter().collect()).collect();
        Some(Self { keys, is_open: false })
    }

    fn fits(&self, digits: &[Digit]) -> Fit {
        let agrees = self.keys.iter().zip(digits).all(|(key, digit)| key.contains(*digit));
        let further = digits.get(self.keys.len()..).unwrap_or_default();
        if !agrees || !further.iter().all(|digit| self.is_open && decimal().contains(*digit)) {
            Fit::No
        } else if digits.len() < self.keys.len() {
            Fit::Begins
        } else if self.is_open {
            Fit::Open
        } else {
            Fit::Whole
        }
    }
}

fn decimal() -> DigitSet {
    DigitSet::of("0123456789")
}

/// The keys of `2-9` or `135`.
fn one_of(text: &str) -> Option<DigitSet> {
    let mut keys = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(from) = chars.next() {
        let from = Digit::from_char(from)?;
        if chars.next_if_eq(&'-').is_none() {
            keys.push(from);
            continue;
        }
        let to = Digit::from_char(chars.next()?)?;
        let range = decimal();
        if from > to || !range.contains(from) || !range.contains(to) {
            return None;
        }
        keys.extend(Digit::ALL.into_iter().filter(|digit| (from..=to).contains(digit)));
    }
    let set: DigitSet = keys.into_iter().collect();
    (!set.is_empty()).then_some(set)
}

/// What is known about a number that is being dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Complete, and of an emergency service.
    Emergency,
    /// Complete.
    Complete,
    /// Complete, or the beginning of a longer one.
    Perhaps,
    /// The beginning of something, or of nothing that is known.
    Unfinished,
}

/// Every pattern of one telephone.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DigitMap {
    emergency: Vec<Pattern>,
    patterns: Vec<Pattern>,
}

impl DigitMap {
    /// A map of emergency numbers and of patterns.
    #[must_use]
    pub const fn new(emergency: Vec<Pattern>, patterns: Vec<Pattern>) -> Self {
        Self { emergency, patterns }
    }

    /// What is known about `digits`.
    #[must_use]
    pub fn verdict(&self, digits: &Digits) -> Verdict {
        let digits = digits.as_slice();
        if self.emergency.iter().any(|pattern| pattern.fits(digits) == Fit::Whole) {
            return Verdict::Emergency;
        }
        let fits = |fit| self.patterns.iter().any(|pattern| pattern.fits(digits) == fit);
        let begins_emergency = self.emergency.iter().any(|pattern| pattern.fits(digits) == Fit::Begins);
        let goes_on = begins_emergency || fits(Fit::Begins) || fits(Fit::Open);
        match (fits(Fit::Whole) || fits(Fit::Open), goes_on) {
            (true, false) => Verdict::Complete,
            (true, true) => Verdict::Perhaps,
            (false, _) => Verdict::Unfinished,
        }
    }

    /// True if `digits` are a number, or may become one.
    #[must_use]
    pub fn knows(&self, digits: &Digits) -> bool {
        let all = self.emergency.iter().chain(&self.patterns);
        all.map(|pattern| pattern.fits(digits.as_slice())).any(|fit| fit != Fit::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> DigitMap {
        let patterns = ["2xx", "112", "9115", "0[1-9]xxx.", "*98", "[13]0", "2005"].map(Pattern::parse);
        DigitMap::new(
            ["112", "911"].iter().filter_map(|number| Pattern::of(number)).collect(),
            patterns.into_iter().flatten().collect(),
        )
    }

    #[test]
    fn a_number_is_complete_when_nothing_could_follow() {
        for (digits, verdict) in [
            ("2", Verdict::Unfinished),
            ("201", Verdict::Complete),
            ("200", Verdict::Perhaps),
            ("2005", Verdict::Complete),
            ("2015", Verdict::Unfinished),
            ("01", Verdict::Unfinished),
            ("00", Verdict::Unfinished),
            ("01234", Verdict::Perhaps),
            ("0123456789", Verdict::Perhaps),
            ("0123*", Verdict::Unfinished),
            ("*98", Verdict::Complete),
            ("30", Verdict::Complete),
            ("20", Verdict::Unfinished),
        ] {
            assert_eq!(map().verdict(&Digits::parse(digits).unwrap()), verdict, "{digits}");
        }
    }

    #[test]
    fn an_emergency_number_is_complete_although_others_begin_like_it() {
        for digits in ["112", "911"] {
            assert_eq!(map().verdict(&Digits::parse(digits).unwrap()), Verdict::Emergency);
        }
        assert_eq!(map().verdict(&Digits::parse("11").unwrap()), Verdict::Unfinished);
    }

    #[test]
    fn patterns_that_are_not_well_formed_are_refused() {
        for text in ["", ".", "2[", "2[]", "2[9-2]", "2[*-#]", "2y", "2 3", "é", "2.x", &"1".repeat(41)] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_pattern_with_a_hash_in_it_lets_the_key_be_dialled() {
        let map = DigitMap::new(Vec::new(), [Pattern::parse("*21*xx#").unwrap()].into());
        assert!(map.knows(&Digits::parse("*21*40#").unwrap()));
        assert!(!map.knows(&Digits::parse("*21*4#").unwrap()));
    }
}
