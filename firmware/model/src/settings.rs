//! One definition gives file, form, help and check of a setting.

use core::fmt;

/// A group of settings that a crate owns.
pub trait Settings: Sized {
    /// Every key that may stand in the group.
    const FIELDS: &'static [Field];

    /// Reads the group.
    ///
    /// # Errors
    /// Every bad field, not just the first.
    fn parse(raw: &RawSettings) -> Result<Self, Vec<FieldError>>;
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Key in the configuration file.
    pub key: &'static str,
    /// Label on the page.
    pub label: &'static str,
    /// One sentence of help.
    pub help: &'static str,
    /// What values it takes.
    pub kind: FieldKind,
    /// Value when the key is absent; `None` for an optional setting.
    pub default: Option<&'static str>,
    /// The key must be present.
    pub required: bool,
}

/// What values a setting takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldKind {
    /// Text of at most this many bytes.
    Text {
        /// Longest value.
        bytes_max: usize,
    },
    /// Text that is never shown again.
    Secret,
    /// A whole number.
    Number {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
        /// Unit, for the page.
        unit: &'static str,
    },
    /// A length of time: `30s`, `500ms`, `2m`, `4h`.
    Time {
        /// Shortest, in milliseconds.
        min_ms: u64,
        /// Longest, in milliseconds.
        max_ms: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// True or false.
    Toggle,
    /// A list of texts of at most this many entries.
    List {
        /// Most entries.
        entries_max: usize,
    },
}

/// A value as it stands in the file or form.
#[derive(Clone, PartialEq, Debug)]
pub enum RawValue {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// True or false.
    Toggle(bool),
    /// A list of texts.
    List(Vec<String>),
    /// A document as it is on the disk, in the encoding that it says. Stands for a text.
    Bytes(Vec<u8>),
}

/// The keys and values of one group.
#[derive(Clone, Default, Debug)]
pub struct RawSettings {
    entries: Vec<(String, RawValue)>,
}

impl RawSettings {
    /// A group without keys.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds or replaces a value.
    pub fn set(&mut self, key: &str, value: RawValue) {
        match self.entries.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key.to_owned(), value)),
        }
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&RawValue> {
        self.entries.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// Every key, in file order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| key.as_str())
    }

    /// Checks every value against `fields`: unknown keys, absent keys, wrong
    /// kinds and values out of range.
    ///
    /// # Errors
    /// Every bad field.
    pub fn check(&self, fields: &[Field]) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        for (key, value) in &self.entries {
            let Some(field) = fields.iter().find(|field| field.key == key) else {
                let nearest = nearest(key, fields);
                errors.push(FieldError { key: key.clone(), problem: Problem::Unknown { nearest } });
                continue;
            };
            if let Some(problem) = fault_of(value, field.kind) {
                errors.push(FieldError { key: key.clone(), problem });
            }
        }
        for field in fields.iter().filter(|field| field.required && self.get(field.key).is_none()) {
            errors.push(FieldError { key: field.key.to_owned(), problem: Problem::Missing });
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// The text of `key`, when it is present and text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(RawValue::Text(text)) => Some(text),
            Some(RawValue::Number(_) | RawValue::Toggle(_) | RawValue::List(_) | RawValue::Bytes(_))
            | None => None,
        }
    }

    /// The document of `key`, when it is present and a text or the bytes of one.
    #[must_use]
    pub fn document(&self, key: &str) -> Option<&[u8]> {
        match self.get(key) {
            Some(RawValue::Text(text)) => Some(text.as_bytes()),
            Some(RawValue::Bytes(bytes)) => Some(bytes),
            Some(RawValue::Number(_) | RawValue::Toggle(_) | RawValue::List(_)) | None => None,
        }
    }

    /// The number of `key`, when it is present and a number.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<i64> {
        match self.get(key) {
            Some(RawValue::Number(number)) => Some(*number),
            Some(RawValue::Text(_) | RawValue::Toggle(_) | RawValue::List(_) | RawValue::Bytes(_)) | None => {
                None
            }
        }
    }

    /// The toggle of `key`, when it is present and a toggle.
    #[must_use]
    pub fn toggle(&self, key: &str) -> Option<bool> {
        match self.get(key) {
            Some(RawValue::Toggle(on)) => Some(*on),
            Some(RawValue::Text(_) | RawValue::Number(_) | RawValue::List(_) | RawValue::Bytes(_)) | None => {
                None
            }
        }
    }

    /// The list of `key`; empty when it is absent.
    #[must_use]
    pub fn list(&self, key: &str) -> &[String] {
        match self.get(key) {
            Some(RawValue::List(list)) => list,
            Some(RawValue::Text(_) | RawValue::Number(_) | RawValue::Toggle(_) | RawValue::Bytes(_))
            | None => &[],
        }
    }

    /// The length of time of `key`, in milliseconds, when it is present and one.
    #[must_use]
    pub fn time_ms(&self, key: &str) -> Option<u64> {
        self.text(key).and_then(parse_time_ms)
    }
}

/// Reads `30s`, `500ms`, `2m`, `4h` or `1d` as milliseconds.
#[must_use]
pub fn parse_time_ms(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(at);
    let factor = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.parse::<u64>().ok()?.checked_mul(factor)
}

fn fault_of(value: &RawValue, kind: FieldKind) -> Option<Problem> {
    match (kind, value) {
        (FieldKind::Text { bytes_max }, RawValue::Text(text)) => {
            (text.len() > bytes_max).then_some(Problem::TooLong { bytes_max })
        }
        (FieldKind::Text { bytes_max }, RawValue::Bytes(bytes)) => {
            (bytes.len() > bytes_max).then_some(Problem::TooLong { bytes_max })
        }
        (FieldKind::Secret, RawValue::Text(text)) => {
            (text.len() > 256).then_some(Problem::TooLong { bytes_max: 256 })
        }
        (FieldKind::Number { min, max, .. }, RawValue::Number(number)) => {
            (!(min..=max).contains(number)).then_some(Problem::OutOfRange { min, max })
        }
        (FieldKind::Time { min_ms, max_ms }, RawValue::Text(text)) => match parse_time_ms(text) {
            None => Some(Problem::NotATime),
            Some(ms) => {
                (!(min_ms..=max_ms).contains(&ms)).then_some(Problem::TimeOutOfRange { min_ms, max_ms })
            }
        },
        (FieldKind::Choice(choices), RawValue::Text(text)) => {
            (!choices.contains(&text.as_str())).then_some(Problem::NotAChoice { choices })
        }
        (FieldKind::Toggle, RawValue::Toggle(_)) => None,
        (FieldKind::List { entries_max }, RawValue::List(list)) => {
            (list.len() > entries_max).then_some(Problem::TooMany { entries_max })
        }
        (
            wanted,
            RawValue::Text(_)
            | RawValue::Number(_)
            | RawValue::Toggle(_)
            | RawValue::List(_)
            | RawValue::Bytes(_),
        ) => Some(Problem::WrongKind { wanted }),
    }
}

fn nearest(key: &str, fields: &[Field]) -> Option<&'static str> {
    fields
        .iter()
        .map(|field| (edits(key, field.key), field.key))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, known)| known)
}

/// Levenshtein distance of two short keys, for "did you mean".
#[must_use]
pub fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, to) in b.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(usize::MAX - 1);
            let left = row.get(j).copied().unwrap_or(usize::MAX - 1);
            let changed = diagonal + usize::from(from != *to);
            if let Some(cell) = row.get_mut(j + 1) {
                *cell = changed.min(above + 1).min(left + 1);
            }
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// What is wrong with one setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldError {
    /// The key.
    pub key: String,
    /// The fault.
    pub problem: Problem,
}

/// A fault of a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// No such key; perhaps this one was meant.
    Unknown {
        /// A known key that differs in at most two letters.
        nearest: Option<&'static str>,
    },
    /// The key must be present.
    Missing,
    /// The value is of another kind.
    WrongKind {
        /// What it must be.
        wanted: FieldKind,
    },
    /// Text longer than allowed.
    TooLong {
        /// Longest value in bytes.
        bytes_max: usize,
    },
    /// A number out of its range.
    OutOfRange {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// Not of the form `30s`.
    NotATime,
    /// A time out of its range.
    TimeOutOfRange {
        /// Shortest, in milliseconds.
        min_ms: u64,
        /// Longest, in milliseconds.
        max_ms: u64,
    },
    /// Not one of the words.
    NotAChoice {
        /// The words.
        choices: &'static [&'static str],
    },
    /// A list with too many entries.
    TooMany {
        /// Most entries.
        entries_max: usize,
    },
    /// The text is not of the form that the key needs.
    Malformed {
        /// What it must look like.
        wanted: &'static str,
    },
    /// It does not go together with another key.
    Conflict {
        /// The other key.
        with: &'static str,
    },
    /// A document in the settings is faulty.
    Document {
        /// Line, from 1.
        line: u32,
        /// Column, from 1.
        column: u32,
        /// Catalogue code.
        code: &'static str,
        /// The word or the place in the document that is wrong; may be empty.
        subject: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { nearest: Some(known) } => write!(f, "unknown key, did you mean `{known}`?"),
            Self::Unknown { nearest: None } => f.write_str("unknown key"),
            Self::Missing => f.write_str("this key is needed"),
            Self::WrongKind { wanted } => write!(f, "this must be {wanted}"),
            Self::TooLong { bytes_max } => write!(f, "longer than {bytes_max} bytes"),
            Self::OutOfRange { min, max } => write!(f, "must be from {min} to {max}"),
            Self::NotATime => f.write_str("must be a time such as \"30s\", \"500ms\" or \"2m\""),
            Self::TimeOutOfRange { min_ms, max_ms } => {
                write!(f, "must be from {min_ms} ms to {max_ms} ms")
            }
            Self::NotAChoice { choices } => write!(f, "must be one of {}", choices.join(", ")),
            Self::TooMany { entries_max } => write!(f, "more than {entries_max} entries"),
            Self::Malformed { wanted } => write!(f, "must be {wanted}"),
            Self::Conflict { with } => write!(f, "does not go together with `{with}`"),
            Self::Document { line, column, code, subject } if subject.is_empty() => {
                write!(f, "document line {line} column {column}: {code}")
            }
            Self::Document { line, column, code, subject } => {
                write!(f, "document line {line} column {column}: {code}: {subject}")
            }
        }
    }
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { .. } | Self::Secret => f.write_str("text in quotes"),
            Self::Number { min, max, .. } => write!(f, "a whole number from {min} to {max}"),
            Self::Time { .. } => f.write_str("a time such as \"30s\""),
            Self::Choice(choices) => write!(f, "one of {}", choices.join(", ")),
            Self::Toggle => f.write_str("true or false"),
            Self::List { .. } => f.write_str("a list of texts"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        Field {
            key: "timeout",
            label: "Time-out",
            help: "",
            kind: FieldKind::Time { min_ms: 1, max_ms: 60_000 },
            default: None,
            required: false,
        },
        Field {
            key: "method",
            label: "Method",
            help: "",
            kind: FieldKind::Choice(&["GET", "POST"]),
            default: Some("GET"),
            required: true,
        },
    ];

    #[test]
    fn every_bad_field_is_reported_at_once() {
        let mut raw = RawSettings::new();
        raw.set("timeuot", RawValue::Number(3));
        raw.set("timeout", RawValue::Text("2h".into()));
        let errors = raw.check(FIELDS).unwrap_err();
        let problems: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.key, e.problem)).collect();
        assert_eq!(
            problems,
            [
                "timeuot: unknown key, did you mean `timeout`?",
                "timeout: must be from 1 ms to 60000 ms",
                "method: this key is needed",
            ]
        );
    }

    #[test]
    fn times_read_with_their_unit_only() {
        for (text, ms) in [
            ("30s", Some(30_000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("30", None),
            ("s", None),
            ("9x", None),
        ] {
            assert_eq!(parse_time_ms(text), ms, "{text}");
        }
    }
}
