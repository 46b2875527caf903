//! Which dialect a document on the command line is in.

use std::path::{Path, PathBuf};

use tipring_flows::{DIALECTS, Dialect};

use crate::config::{Config, FlowEntry};

/// A dialect, and why it is taken.
pub(super) struct Read<'a> {
    pub(super) dialect: &'static Dialect,
    pub(super) by: By<'a>,
}

/// Why a dialect is taken.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    /// It was named.
    Name,
    /// A flow of the configuration has the document.
    Flow(&'a FlowEntry),
    /// Files of this kind usually hold it.
    Ending,
}

impl Read<'_> {
    /// What is said of it where nobody named it.
    pub(super) fn assumed(&self) -> Option<String> {
        let name = self.dialect.name;
        match self.by {
            By::Name => None,
            By::Flow(flow) => Some(format!("{name}, as the flow `{}` says", flow.name)),
            By::Ending => Some(format!("{name}, by its ending; --dialect names another")),
        }
    }
}

/// The dialect that was named, or that of the flow which has the document, or the one that files
/// of this kind usually hold.
///
/// # Errors
/// What to do, for whoever typed it.
pub(super) fn of<'a>(file: &Path, named: Option<&str>, configs: &'a [Config]) -> Result<Read<'a>, String> {
    let known = || DIALECTS.iter().map(|dialect| dialect.name).collect::<Vec<_>>().join(", ");
    if let Some(named) = named {
        let dialect = tipring_flows::dialect(named).ok_or_else(|| match tipring_flows::reading(named) {
            Some((dialect, profile)) => format!(
                "no dialect `{named}`: it is the profile \"{profile}\" of --dialect {dialect}, which a flow of a configuration names"
            ),
            None => format!("no dialect `{named}`; there are {}", known()),
        })?;
        return Ok(Read { dialect, by: By::Name });
    }
    let mut flows = configs.iter().flat_map(|config| &config.flows);
    let of_file = flows.find(|flow| flow.files.iter().any(|known| is_same(known, file)));
    if let Some(flow) = of_file
        && let Some(dialect) = tipring_flows::dialect(flow.dialect)
    {
        return Ok(Read { dialect, by: By::Flow(flow) });
    }
    let usual = match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") => "kazoo",
        Some("js") => "voxengine",
        Some("xml") => "opentact",
        Some(_) | None => "",
    };
    let dialect = tipring_flows::dialect(usual);
    let dialect = dialect.ok_or_else(|| format!("say which with --dialect: {}", known()))?;
    Ok(Read { dialect, by: By::Ending })
}

/// True for two ways to write the same file.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
    real(one) == real(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_counts_before_what_the_file_looks_like() {
        let name = |file: &str, named| of(Path::new(file), named, &[]).map(|read| read.dialect.name).ok();
        assert_eq!(name("a.xml", None), Some("opentact"));
        assert_eq!(name("a.txt", Some("opentact")), Some("opentact"));
        assert_eq!(name("a.txt", None), None);
        assert_eq!(name("a.xml", Some("plivo")), None);
        let why = of(Path::new("a.xml"), Some("LaML"), &[]).err().unwrap_or_default();
        assert!(why.contains("--dialect twiml") && why.contains("\"laml\""), "{why}");
    }
}
