//! Regular expressions of documents, run in time that grows with the text alone.

use regex::bytes::{Regex, RegexBuilder};

/// Longest expression, in bytes.
const BYTES_MAX: usize = 1_024;
/// Most memory that a compiled expression may take, in bytes.
const PROGRAM_BYTES_MAX: usize = 64 * 1_024;

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

/// What an expression found in a number.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Captures {
    /// The longest group, or all that matched if there is none.
    pub(super) longest: String,
    /// Groups with a name.
    pub(super) named: Vec<(String, String)>,
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// The catalogue code: not an expression, too large, or one that needs to go back in the
    /// text.
    pub(super) fn new(text: &str) -> Result<Self, &'static str> {
        if text.len() > BYTES_MAX {
            return Err("TR-FLOW-REGEX-SIZE");
        }
        if goes_back(text) {
            return Err("TR-FLOW-REGEX-UNSUPPORTED");
        }
        // Numbers are ASCII: without Unicode, \d means ten digits and needs no tables.
        let mut builder = RegexBuilder::new(text);
        builder.unicode(false).size_limit(PROGRAM_BYTES_MAX);
        builder.build().map(Self).map_err(|error| {
            let is_size = matches!(error, regex::Error::CompiledTooBig(_));
            if is_size { "TR-FLOW-REGEX-SIZE" } else { "TR-FLOW-REGEX" }
        })
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }

    pub(super) fn captures(&self, text: &str) -> Option<Captures> {
        let found = self.0.captures(text.as_bytes())?;
        let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let groups = found.iter().skip(1).flatten().map(|group| read(group.as_bytes()));
        let mut longest: Option<String> = None;
        for group in groups {
            if longest.as_ref().is_none_or(|known| group.len() > known.len()) {
                longest = Some(group);
            }
        }
        let whole = || found.get(0).map_or_else(String::new, |all| read(all.as_bytes()));
        let named = self.0.capture_names().flatten().filter_map(|name| {
            let group = found.name(name)?;
            Some((name.to_owned(), read(group.as_bytes())))
        });
        Some(Captures { longest: longest.unwrap_or_else(whole), named: named.collect() })
    }
}

/// True for look-around, back-references and the like: they cannot be run in linear time.
fn goes_back(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '(']) {
        let tail = rest.get(at..).unwrap_or("");
        if let Some(escaped) = tail.strip_prefix('\\') {
            let next = escaped.chars().next();
            if next.is_some_and(|c| c.is_ascii_digit() && c != '0') || matches!(next, Some('k' | 'g')) {
                return true;
            }
            rest = escaped.get(next.map_or(0, char::len_utf8)..).unwrap_or("");
        } else {
            if ["(?=", "(?!", "(?<=", "(?<!", "(?>", "(?P=", "(?(", "(?R", "(?|"]
                .iter()
                .any(|group| tail.starts_with(group))
            {
                return true;
            }
            rest = tail.get(1..).unwrap_or("");
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_go_back_is_told_from_what_is_no_expression() {
        for (text, result) in [
            (r"^\+?47(\d{8})$", Ok(())),
            (r"^(?:00|\+)(?<number>[0-9]+)$", Ok(())),
            (r"a\\1", Ok(())),
            (r"(a)\1", Err("TR-FLOW-REGEX-UNSUPPORTED")),
            (r"^(?=1)", Err("TR-FLOW-REGEX-UNSUPPORTED")),
            (r"(?<!1)2", Err("TR-FLOW-REGEX-UNSUPPORTED")),
            (r"(", Err("TR-FLOW-REGEX")),
            (r"[0-9", Err("TR-FLOW-REGEX")),
            (r"(a{1000}){1000}", Err("TR-FLOW-REGEX-SIZE")),
            (r"x{1000000}", Err("TR-FLOW-REGEX-SIZE")),
        ] {
            assert_eq!(Pattern::new(text).map(drop), result, "{text}");
        }
    }

    #[test]
    fn the_longest_group_counts_or_the_whole_match() {
        let found = |pattern: &str, text: &str| Pattern::new(pattern).unwrap().captures(text);
        assert_eq!(found(r"^9(\d)(\d+)$", "91234").unwrap().longest, "234");
        assert_eq!(found(r"^9\d+$", "91234").unwrap().longest, "91234");
        assert_eq!(found(r"^\*98(\d*)$", "*98").unwrap().longest, "");
        assert_eq!(
            found(r"^(?<area>\d{3})(?<rest>\d+)$", "5550100").unwrap().named,
            [("area".to_owned(), "555".to_owned()), ("rest".to_owned(), "0100".to_owned())]
        );
        assert_eq!(found("^1$", "2"), None);
    }
}
