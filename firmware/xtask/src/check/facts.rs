//! Documents and facts that must be there: READMEs, the catalogue of messages, links.

use std::collections::BTreeSet;

use super::purity::product_code;
use crate::workspace::File;

/// Folders in which each folder is a dialect or a kind of line.
const FAMILIES: [&str; 2] = ["firmware/flows/src/", "firmware/lines/src/"];
/// Folders there that are neither.
const NOT_FAMILY: [&str; 1] = ["firmware/lines/src/port"];
/// The catalogue.
const CATALOGUE: &str = "firmware/data/catalogue.toml";
/// How every code begins.
const PREFIX: &str = concat!("TR", "-");

/// Dialects and lines without a README.
pub(crate) fn readmes(files: &[File]) -> Vec<String> {
    let mut folders = BTreeSet::new();
    for file in files {
        for family in FAMILIES {
            if let Some((name, _)) = file.path.strip_prefix(family).and_then(|rest| rest.split_once('/')) {
                folders.insert(format!("{family}{name}"));
            }
        }
    }
    folders
        .into_iter()
        .filter(|folder| !NOT_FAMILY.contains(&folder.as_str()))
        .filter(|folder| !files.iter().any(|file| file.path == format!("{folder}/README.md")))
        .map(|folder| format!("{folder} has no README.md"))
        .collect()
}

/// Codes in the sources that the catalogue does not have.
pub(crate) fn codes(files: &[File]) -> Vec<String> {
    let Some(catalogue) = files.iter().find(|file| file.path == CATALOGUE) else {
        return vec![format!("{CATALOGUE} is not there")];
    };
    let known: BTreeSet<&str> = catalogue
        .text
        .lines()
        .filter_map(|line| {
            line.trim().strip_prefix("code")?.trim_start().strip_prefix('=')?.trim().strip_prefix('"')
        })
        .filter_map(|line| line.split('"').next())
        .collect();
    let mut findings = Vec::new();
    let ours = |file: &&File| {
        file.extension() == "rs"
            && file.path.starts_with("firmware/")
            && !file.path.starts_with("firmware/xtask/")
    };
    for file in files.iter().filter(ours) {
        for (number, line) in product_code(&file.text) {
            for code in codes_in(line).filter(|code| !known.contains(code)) {
                findings.push(format!("{}:{number}: {code} is not in {CATALOGUE}", file.path));
            }
        }
    }
    findings
}

/// The codes in a line: `TR-` and at least two words of capitals.
fn codes_in(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices(PREFIX).filter_map(|(at, _)| {
        let rest = line.get(at..)?;
        let end = rest
            .find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '-')
            .unwrap_or(rest.len());
        let code = rest.get(..end)?;
        let apart =
            line.get(..at)?.chars().next_back().is_none_or(|c| !c.is_ascii_alphanumeric() && c != '-');
        let whole = code.len() > PREFIX.len() && !code.ends_with('-');
        (apart && whole).then_some(code)
    })
}

/// Links of our documents to files that are not there.
pub(crate) fn links(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.extension() == "md") {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (at, line) in file.text.lines().enumerate() {
            for (begin, _) in line.match_indices("](") {
                let link =
                    line.get(begin + 2..).and_then(|rest| rest.split([')', '#']).next()).unwrap_or_default();
                if link.is_empty() || link.contains("://") || link.starts_with("mailto:") {
                    continue;
                }
                let path = joined(folder, link);
                if !files.iter().any(|f| f.path == path || f.path.starts_with(&format!("{path}/"))) {
                    findings.push(format!("{}:{}: {link} is not there", file.path, at + 1));
                }
            }
        }
    }
    findings
}

fn joined(folder: &str, link: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::file;
    use super::*;

    #[test]
    fn a_dialect_without_a_readme_is_found() {
        let files = [
            file("firmware/flows/src/lib.rs", ""),
            file("firmware/flows/src/a/mod.rs", ""),
            file("firmware/flows/src/a/README.md", ""),
            file("firmware/flows/src/b/golden/x.txt", ""),
            file("firmware/lines/src/fxo/mod.rs", ""),
        ];
        assert_eq!(
            readmes(&files),
            ["firmware/flows/src/b has no README.md", "firmware/lines/src/fxo has no README.md"]
        );
    }

    #[test]
    fn a_code_that_nobody_explains_is_found() {
        let catalogue = file(CATALOGUE, &format!("[[message]]\ncode = \"{PREFIX}A-ONE\"\n"));
        let source =
            format!("fn a() {{ x(\"{PREFIX}A-ONE\", \"{PREFIX}A-TWO\"); starts_with(\"{PREFIX}\"); }}\n");
        let files = [catalogue, file("firmware/calls/src/x.rs", &source)];
        assert_eq!(
            codes(&files),
            [format!("firmware/calls/src/x.rs:1: {PREFIX}A-TWO is not in {CATALOGUE}")]
        );
        assert_eq!(codes(&files[1..]), [format!("{CATALOGUE} is not there")]);
    }

    #[test]
    fn a_link_to_nowhere_is_found() {
        let files = [
            file("README.md", "[a](ARCHITECTURE.md#x) [b](https://a.example/) [c](docs/gone.md) [d](#here)"),
            file("ARCHITECTURE.md", ""),
            file("tests/README.md", "[up](../README.md) [tree](sip)"),
            file("tests/sip/a.py", ""),
        ];
        assert_eq!(links(&files), ["README.md:1: docs/gone.md is not there"]);
    }
}
