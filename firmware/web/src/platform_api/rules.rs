//! Applications, their rules, and which number a rule takes.

use regex::bytes::{Regex, RegexBuilder};

/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 256;
/// Memory of a compiled pattern, in bytes.
const COMPILED_BYTES_MAX: usize = 256 * 1_024;
/// How deep a pattern is nested.
const NESTING_MAX: u32 = 32;

/// A regular expression that a dialled number must match as a whole. It takes time in proportion
/// to the number's length, whatever it says.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    whole: Regex,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it, on one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let compile = |text: &str| {
            let mut builder = RegexBuilder::new(text);
            builder.unicode(false).size_limit(COMPILED_BYTES_MAX).nest_limit(NESTING_MAX).build()
        };
        // By itself first: what closes the group below must not be part of it.
        let fault = |error: regex::Error| {
            if let regex::Error::CompiledTooBig(_) = error {
                return "it takes too much memory".to_owned();
            }
            error.to_string().lines().last().unwrap_or_default().trim().to_owned()
        };
        compile(text).map_err(fault)?;
        let whole = compile(&format!(r"\A(?:{text})\z")).map_err(fault)?;
        Ok(Self { text: text.to_owned(), whole })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The numbers that it takes, if it is nothing but a number, or several with `|` between them.
    #[must_use]
    pub fn numbers(&self) -> Option<Vec<String>> {
        let text = self.text.strip_prefix('^').unwrap_or(&self.text);
        let text = text.strip_suffix('$').unwrap_or(text);
        let number = |text: &str| {
            // Only `*` and `+` mean something else by themselves.
            let plain = text.replace(r"\*", "0").replace(r"\+", "0");
            let is_number = plain.bytes().all(|byte| byte.is_ascii_digit() || byte == b'#');
            (is_number && !plain.is_empty()).then(|| text.replace('\\', ""))
        };
        text.split('|').map(number).collect()
    }

    /// Whether it matches the whole number.
    #[must_use]
    pub fn matches(&self, number: &str) -> bool {
        self.whole.is_match(number.as_bytes())
    }
}

/// A scenario of a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScenarioEntry {
    /// `scenario_id`
    pub id: u64,
    /// `scenario_name`: its file without folder and ending.
    pub name: String,
    /// When it was changed, in seconds since 1970.
    pub modified_s: i64,
}

/// A rule: which scenarios run, for which numbers.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `rule_id`
    pub id: u64,
    /// `rule_name`
    pub name: String,
    /// Which dialled numbers it takes; none by default, so that only commands start it.
    pub pattern: Option<Pattern>,
    /// What runs, in this order.
    pub scenarios: Vec<ScenarioEntry>,
    /// When the configuration was changed, in seconds since 1970.
    pub modified_s: i64,
}

/// An application: rules, of which the first that matches takes a call.
#[derive(Clone, Debug)]
pub struct Application {
    /// `application_id`
    pub id: u64,
    /// `application_name`
    pub name: String,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

impl Application {
    /// The first rule that takes the number.
    #[must_use]
    pub fn rule_for(&self, number: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.pattern.as_ref().is_some_and(|pattern| pattern.matches(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_number() {
        for (pattern, number, fits) in [
            ("100", "100", true),
            ("100", "1000", false),
            ("100", "2100", false),
            ("1|2", "12", false),
            (r"\+?\d{3,5}", "+1234", true),
            (".*", "", true),
            ("(?i)sales", "SALES", true),
            ("a$", "a\nb", false),
            ("(?m)^a$", "b\na", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(number), fits, "{pattern} {number}");
        }
    }

    #[test]
    fn a_list_of_numbers_is_told_from_what_takes_more() {
        for (pattern, is_list) in [
            ("7001", true),
            ("^7001$", true),
            (r"7001|\*97#|\+4712345678", true),
            ("", false),
            ("7001|", false),
            (".*", false),
            ("700[12]", false),
            ("700+", false),
            (r"\d", false),
            ("(7001)", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().numbers().is_some(), is_list, "{pattern}");
        }
        let numbers = Pattern::parse(r"7001|\*97#|\+4712345678").unwrap().numbers().unwrap();
        assert_eq!(numbers, ["7001", "*97#", "+4712345678"]);
    }

    #[test]
    fn a_pattern_that_is_bad_or_too_big_is_refused_and_none_is_slow() {
        for pattern in ["(", "a)|(b", r"(?=1)1", r"(\d)\1", "[9-0]", &"(".repeat(300), "x{1000}{1000}"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        assert!(Pattern::parse(&format!("{}a{}", "(".repeat(40), ")".repeat(40))).is_err(), "too deep");
        let evil = Pattern::parse("(a|aa)+").unwrap();
        assert!(!evil.matches(&format!("{}b", "a".repeat(10_000))));
        let told = Pattern::parse("(").unwrap_err();
        assert!(told.contains("unclosed group") && !told.contains('\n'), "{told}");
    }
}
