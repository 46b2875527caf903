//! The fields of a request: from its query, and from the form in its body.

use std::collections::BTreeMap;

use percent_encoding::percent_decode;

/// Fields of one request.
pub const FIELDS_MAX: usize = 64;
/// Longest name of a field, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest value of a field, in bytes.
pub const VALUE_BYTES_MAX: usize = 65_536;

/// Why the fields of a request cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParamFault {
    /// There are more than [`FIELDS_MAX`].
    #[error("more than {FIELDS_MAX} fields")]
    TooMany,
    /// A name is longer than [`NAME_BYTES_MAX`].
    #[error("the name of a field is longer than {NAME_BYTES_MAX} bytes")]
    NameTooLong,
    /// A value is longer than [`VALUE_BYTES_MAX`].
    #[error("{name} is longer than {VALUE_BYTES_MAX} bytes")]
    TooLong {
        /// Of which field.
        name: String,
    },
    /// A value is not UTF-8.
    #[error("{name} is not UTF-8")]
    NotText {
        /// Of which field.
        name: String,
    },
}

/// The fields of one request. A field that is there twice has its last value.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// Reads query and form (`application/x-www-form-urlencoded`). What the form says wins.
    ///
    /// # Errors
    /// See [`ParamFault`].
    pub fn parse(query: &[u8], form: &[u8]) -> Result<Self, ParamFault> {
        let mut params = Self::default();
        let mut count = 0;
        for field in [query, form].into_iter().flat_map(|part| part.split(|byte| *byte == b'&')) {
            if field.is_empty() {
                continue;
            }
            count += 1;
            if count > FIELDS_MAX {
                return Err(ParamFault::TooMany);
            }
            let mut halves = field.splitn(2, |byte| *byte == b'=');
            let (name, value) = (halves.next().unwrap_or(&[]), halves.next().unwrap_or(&[]));
            let name = decoded(name);
            if name.len() > NAME_BYTES_MAX {
                return Err(ParamFault::NameTooLong);
            }
            let name = String::from_utf8_lossy(&name).into_owned();
            let value = decoded(value);
            if value.len() > VALUE_BYTES_MAX {
                return Err(ParamFault::TooLong { name });
            }
            let Ok(value) = String::from_utf8(value) else { return Err(ParamFault::NotText { name }) };
            params.0.insert(name, value);
        }
        Ok(params)
    }

    /// The value of a field; nothing for one that is empty, as clients send those they do not
    /// mean.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// A plus sign is a space, `%41` is a byte; a `%` that begins no byte stands for itself.
fn decoded(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_wins_over_the_query_and_the_last_of_two_wins() {
        let params = Params::parse(b"a=1&b=2&b=3&c", b"a=%C3%A4+%2B%25&&=x&d=4=5&e=%zz%4").unwrap();
        let all: Vec<_> = ["a", "b", "c", "", "d", "e", "f"].map(|name| params.get(name)).into();
        assert_eq!(all, [Some("\u{e4} +%"), Some("3"), None, Some("x"), Some("4=5"), Some("%zz%4"), None]);
    }

    #[test]
    fn what_is_too_much_or_no_text_is_refused_by_name() {
        let many = "a=1&".repeat(FIELDS_MAX + 1);
        assert_eq!(Params::parse(many.as_bytes(), b""), Err(ParamFault::TooMany));
        assert!(Params::parse("a=1&".repeat(FIELDS_MAX).as_bytes(), b"&&&").is_ok());
        let name = "n".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(Params::parse(name.as_bytes(), b""), Err(ParamFault::NameTooLong));
        let long = format!("script_custom_data={}", "x".repeat(VALUE_BYTES_MAX));
        assert!(Params::parse(b"", long.as_bytes()).is_ok());
        let longer = format!("{long}x");
        let told = Params::parse(b"", longer.as_bytes()).unwrap_err().to_string();
        assert_eq!(told, "script_custom_data is longer than 65536 bytes");
        let told = Params::parse(b"rule_id=%ff", b"").unwrap_err().to_string();
        assert_eq!(told, "rule_id is not UTF-8");
    }
}
