//! Licences: every package that is built has one that allows what we do.

use serde_json::Value;

/// Licences that ask for no more than a notice, or (MPL-2.0, CDLA) for their own files only.
const ALLOWED: [&str; 16] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "MPL-2.0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "CC0-1.0",
    "0BSD",
    "BSL-1.0",
    "Unlicense",
    "CDLA-Permissive-2.0",
];

/// Additions that only allow more.
const EXCEPTIONS: [&str; 1] = ["LLVM-exception"];

/// Packages whose licence is not on the list.
pub(crate) fn licences(metadata: &Value) -> Vec<String> {
    super::doors::built(metadata)
        .filter_map(|package| {
            let name = format!("{} {}", package["name"].as_str()?, package["version"].as_str()?);
            match package["license"].as_str() {
                None => Some(format!("{name} names no licence")),
                Some(licence) if allowed(licence) => None,
                Some(licence) => Some(format!("{name}: {licence} is not allowed")),
            }
        })
        .collect()
}

/// Whether an SPDX expression can be met by the list.
fn allowed(expression: &str) -> bool {
    // An older spelling of OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = either(&mut words);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>) -> bool {
    let mut met = both(words);
    while words.next_if(|word| word.eq_ignore_ascii_case("OR")).is_some() {
        met |= both(words);
    }
    met
}

fn both(words: &mut Words<'_>) -> bool {
    let mut met = one(words);
    while words.next_if(|word| word.eq_ignore_ascii_case("AND")).is_some() {
        met &= one(words);
    }
    met
}

fn one(words: &mut Words<'_>) -> bool {
    match words.next() {
        Some("(") => {
            let met = either(words);
            words.next() == Some(")") && met
        }
        Some(name) => {
            let met = ALLOWED.contains(&name);
            if words.next_if(|word| word.eq_ignore_ascii_case("WITH")).is_some() {
                return words.next().is_some_and(|exception| EXCEPTIONS.contains(&exception)) && met;
            }
            met
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::metadata;
    use super::*;

    #[test]
    fn expressions_are_evaluated() {
        for (expression, met) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT", true),
            ("MIT AND GPL-3.0-only", false),
            ("(MIT OR GPL-2.0-only) AND Unicode-3.0", true),
            ("MIT OR (GPL-2.0-only AND ISC)", true),
            ("(GPL-2.0-only) AND (MIT OR ISC)", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0 WITH Bison-exception-2.2", false),
            ("MIT OR", true),
            ("MIT ISC", false),
            ("(MIT", false),
            ("", false),
        ] {
            assert_eq!(allowed(expression), met, "{expression:?}");
        }
    }

    #[test]
    fn a_package_without_a_good_licence_is_named() {
        let tree = metadata(
            &[("tipring-model", &[])],
            &[("good", Some("ISC")), ("bad", Some("AGPL-3.0-only")), ("none", None)],
        );
        assert_eq!(
            licences(&tree),
            ["bad 1.0.0: AGPL-3.0-only is not allowed", "none 1.0.0 names no licence"]
        );
    }
}
