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

/// A line as a terminal may show it: nothing in a file commands a terminal.
fn printable(line: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    line.chars().take(EXCERPT_CHARS_MAX).map(plain).collect()
}

/// Every fault with the line it is in, as text for a terminal.
#[must_use]
pub(crate) fn render(file: &str, text: &str, faults: &[Fault]) -> String {
    let mut out = String::new();
    for fault in faults {
        let line = printable(text.lines().nth(fault.line.saturating_sub(1)).unwrap_or(""));
        let margin = fault.line.to_string().len().max(2);
        let shown = EXCERPT_CHARS_MAX.saturating_sub(fault.column.saturating_sub(1));
        let caret = "^".repeat(fault.length.min(shown).max(1));
        // Writing to a String cannot fail.
        let _ = writeln!(out, "error[{}]: {}", fault.code, fault.what);
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
