//! What every box can say, from `data/words.toml`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use tipring_model::prompt::{Gender, Speech};

const TEXT: &str = include_str!("../../../data/words.toml");
/// The language that everything is there in.
const USUAL: &str = "en";

type Words = BTreeMap<String, BTreeMap<String, String>>;

fn all() -> &'static Words {
    static ALL: OnceLock<Words> = OnceLock::new();
    // The text is part of the program, and a test reads it.
    ALL.get_or_init(|| toml_edit::de::from_str(TEXT).unwrap_or_default())
}

/// The words of this name, in a language (BCP 47) or else in English.
pub(super) fn find(name: &str, language: &str) -> Option<Speech> {
    let texts = all().get(name)?;
    let short = language.split('-').next().unwrap_or(USUAL).to_ascii_lowercase();
    let (text, language) = match texts.get(&short) {
        Some(text) => (text, language),
        None => (texts.get(USUAL)?, "en-US"),
    };
    Some(Speech {
        text: text.clone(),
        language: language.to_owned(),
        gender: Gender::Female,
        voice: None,
        is_ssml: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_there_in_english() {
        assert!(all().len() > 10);
        for (name, texts) in all() {
            assert!(texts.get(USUAL).is_some_and(|text| !text.is_empty()), "{name}");
        }
        assert_eq!(find("voicemail-full", "de-AT").unwrap().language, "de-AT");
        let unknown = find("voicemail-full", "tlh").unwrap();
        assert_eq!((unknown.language.as_str(), unknown.text.as_str()), ("en-US", "This mailbox is full."));
        assert_eq!(find("nothing", "en"), None);
    }
}
