//! Faults of a configuration, written the way a compiler writes them.

use std::fmt::Write as _;

use tipring_model::settings::Problem;

/// One fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// Catalogue code.
    pub code: &'static str,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters are meant.
    pub length: usize,
    /// What is wrong.
    pub what: String,
    /// What to do, beyond the catalogue's advice.
    pub help: Option<String>,
}

impl Fault {
    /// A fault of the file as a whole.
    #[must_use]
    pub(crate) fn of_file(code: &'static str, what: &str) -> Self {
        Self { code, line: 1, column: 1, length: 1, what: what.to_owned(), help: None }
    }
}

/// The catalogue code of a fault in one setting.
pub(super) const fn code_of(problem: &Problem) -> &'static str {
    match problem {
        Problem::Unknown { .. } => "TR-CFG-UNKNOWN",
        Problem::Missing => "TR-CFG-MISSING",
        Problem::WrongKind { .. } => "TR-CFG-TYPE",
        Problem::TooLong { .. } => "TR-CFG-TOO-LONG",
        Problem::OutOfRange { .. } | Problem::TimeOutOfRange { .. } => "TR-CFG-RANGE",
        Problem::NotATime => "TR-CFG-TIME",
        Problem::NotAChoice { .. } => "TR-CFG-CHOICE",
        Problem::TooMany { .. } => "TR-CFG-TOO-MANY",
        Problem::Malformed { .. } => "TR-CFG-MALFORMED",
        Problem::Conflict { .. } => "TR-CFG-CONFLICT",
        Problem::Document { code, .. } => code,
    }
}

/// Longest excerpt, in characters.
const EXCERPT_CHARS_MAX: usize = 300;

/// Keys whose values nobody but the file shows: what is nearly a secret is one.
const COVERED_KEYS: [&str; 2] = ["password", "secrets"];

/// A line as a terminal and a log may show it: nothing in a file commands a terminal, and
/// no secret leaves it.
fn printable(line: &str) -> String {
    let key = line.split_once('=').map_or("", |(key, _)| key.trim().trim_matches('"'));
    let covered_from = COVERED_KEYS.contains(&key).then(|| line.find('=')).flatten();
    let mut in_quotes = false;
    let plain = |(at, c): (usize, char)| {
        let is_secret = covered_from.is_some_and(|from| at > from);
        if is_secret && c == '"' {
            in_quotes = !in_quotes;
            c
        } else if is_secret && in_quotes {
            '*'
        } else if c.is_control() {
            '\u{fffd}'
        } else {
            c
        }
    };
    line.char_indices().map(plain).take(EXCERPT_CHARS_MAX).collect()
}

/// Every fault with the line it is in, as text for a terminal; `kind` is `error` or `warning`.
#[must_use]
pub(crate) fn render(kind: &str, file: &str, text: &str, faults: &[Fault]) -> String {
    let mut out = String::new();
    for fault in faults {
        let line = printable(text.lines().nth(fault.line.saturating_sub(1)).unwrap_or(""));
        let margin = fault.line.to_string().len().max(2);
        let shown = EXCERPT_CHARS_MAX.saturating_sub(fault.column.saturating_sub(1));
        let caret = "^".repeat(fault.length.min(shown).max(1));
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{kind}[{}]: {}", fault.code, fault.what);
        let _ = writeln!(out, "{:margin$}--> {file}:{}:{}", "", fault.line, fault.column);
        let _ = writeln!(out, "{:margin$} |", "");
        let _ = writeln!(out, "{:>margin$} | {line}", fault.line);
        let _ = writeln!(
            out,
            "{:margin$} | {:indent$}{caret}",
            "",
            "",
            indent = fault.column.saturating_sub(1).min(EXCERPT_CHARS_MAX)
        );
        if let Some(help) = &fault.help {
            let _ = writeln!(out, "{:margin$} = help: {help}", "");
        }
        let _ = writeln!(out, "{:margin$} = more: tipring explain {}\n", "", fault.code);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_keeps_its_columns_and_shows_no_secret() {
        for (line, shown) in [
            ("password = \"opensesame\" # old", "password = \"**********\" # old"),
            ("  secrets = [\"whsec_a\", \"b\"]", "  secrets = [\"*******\", \"*\"]"),
            ("name = \"password\"", "name = \"password\""),
            ("name = \"a\u{1b}[31m\"", "name = \"a\u{fffd}[31m\""),
        ] {
            assert_eq!(printable(line), shown);
            assert_eq!(shown.chars().count(), line.chars().count());
        }
    }
}
