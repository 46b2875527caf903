//! Settings of a flow in this dialect.

use tipring_model::settings::{Field, FieldError, FieldKind, Problem, RawSettings, Settings};

use super::check;
use super::message::Script;

/// Longest scenario, in characters, and in bytes.
pub(super) const CHARS_MAX: usize = 262_144;
pub(super) const BYTES_MAX: usize = 4 * CHARS_MAX;
const DOCUMENT: &str = "document";

/// What runs, in one global scope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// The texts, in order.
    pub scripts: Vec<Script>,
    /// Language of what is said in no voice (BCP 47).
    pub language: String,
}

impl Settings for Scenario {
    const FIELDS: &'static [Field] = &[
        Field {
            key: DOCUMENT,
            label: "Scenario",
            help: "A VoxEngine scenario, in JavaScript.",
            kind: FieldKind::Text { bytes_max: BYTES_MAX },
            default: None,
            // It may come from a file.
            required: false,
        },
        Field {
            key: "name",
            label: "Name",
            help: "Shown where the scenario fails.",
            kind: FieldKind::Text { bytes_max: 255 },
            default: Some("scenario.js"),
            required: false,
        },
        Field {
            key: "application_id",
            label: "Application",
            help: "The number by which clients of the control API name it.",
            kind: FieldKind::Number { min: 1, max: 9_007_199_254_740_991, unit: "" },
            default: None,
            required: false,
        },
        Field {
            key: "language",
            label: "Language",
            help: "Of texts that are said in no voice, for example de-DE.",
            kind: FieldKind::Text { bytes_max: 35 },
            default: Some("en-US"),
            required: false,
        },
    ];

    fn parse(raw: &RawSettings) -> Result<Self, Vec<FieldError>> {
        let mut errors = raw.check(Self::FIELDS).err().unwrap_or_default();
        let mut fault = |problem: Problem| errors.push(FieldError { key: DOCUMENT.to_owned(), problem });
        let text = match raw.document(DOCUMENT) {
            None => {
                fault(Problem::Missing);
                String::new()
            }
            Some(bytes) => {
                for found in check::check(bytes).into_iter().filter(|found| found.fatal) {
                    let (line, column, code) = (found.line, found.column, found.code);
                    fault(Problem::Document { line, column, code, subject: found.subject });
                }
                String::from_utf8_lossy(bytes).into_owned()
            }
        };
        let name = raw.text("name").unwrap_or("scenario.js").to_owned();
        let language = raw.text("language").unwrap_or("en-US").to_owned();
        if errors.is_empty() {
            Ok(Self { scripts: vec![Script { name, text }], language })
        } else {
            Err(errors)
        }
    }
}
