//! The one catalogue of messages: what happened, the likely cause, what to do.
//! Page, log, API and `tipring explain` all read it here.

use std::sync::OnceLock;

/// One message.
#[derive(Clone, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    /// `TR-…`
    pub code: String,
    /// What happened.
    pub what: String,
    /// The most likely cause.
    pub cause: String,
    /// What to do.
    pub action: String,
}

#[derive(serde::Deserialize)]
struct Catalogue {
    message: Vec<Message>,
}

const TEXT: &str = include_str!("../../data/catalogue.toml");

/// Every message, by code.
pub(crate) fn all() -> &'static [Message] {
    static ALL: OnceLock<Vec<Message>> = OnceLock::new();
    ALL.get_or_init(|| {
        // The text is part of the program, and a test reads it.
        toml_edit::de::from_str::<Catalogue>(TEXT).map(|catalogue| catalogue.message).unwrap_or_default()
    })
}

/// The message with this code, in any case.
#[must_use]
pub(crate) fn find(code: &str) -> Option<&'static Message> {
    all().iter().find(|message| message.code.eq_ignore_ascii_case(code))
}

/// Codes that begin like `code` or differ in few letters, for "did you mean".
#[must_use]
pub(crate) fn near(code: &str) -> Vec<&'static str> {
    let wanted = code.to_ascii_uppercase();
    all()
        .iter()
        .map(|message| message.code.as_str())
        .filter(|known| known.starts_with(&wanted) || tipring_model::settings::edits(known, &wanted) <= 2)
        .take(8)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn codes_in(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                codes_in(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for at in text.match_indices("\"TR-").map(|(at, _)| at + 1) {
                    let code: String = text[at..]
                        .chars()
                        .take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '-')
                        .collect();
                    if !code.ends_with('-') {
                        found.insert(code);
                    }
                }
            }
        }
    }

    #[test]
    fn every_code_of_the_sources_is_explained_and_sorted() {
        let mut used = BTreeSet::new();
        codes_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut used);
        assert!(used.len() > 40, "the sources are not where they should be");
        let missing: Vec<&String> = used.iter().filter(|code| find(code).is_none()).collect();
        assert!(missing.is_empty(), "not in catalogue.toml: {missing:?}");
        let codes: Vec<&str> = all().iter().map(|message| message.code.as_str()).collect();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "sorted and without doubles");
        for message in all() {
            for text in [&message.what, &message.cause, &message.action] {
                assert!(text.ends_with(['.', '?']), "{}: {text}", message.code);
            }
        }
    }
}
