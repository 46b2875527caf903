//! Which dialect a document on the command line is in.

use std::path::Path;

use tipring_flows::{DIALECTS, Dialect};

/// The dialect that was named, or the one that files of this kind usually hold.
///
/// # Errors
/// What to do, for whoever typed it.
pub(super) fn of(file: &Path, named: Option<&str>) -> Result<&'static Dialect, String> {
    let extension = file.extension().and_then(|extension| extension.to_str());
    let usual = match extension {
        Some("json") => "kazoo",
        Some("xml") => "opentact",
        Some(_) | None => "",
    };
    let wanted = named.unwrap_or(usual);
    tipring_flows::dialect(wanted).ok_or_else(|| {
        let known: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.name).collect();
        match named {
            Some(named) => format!("no dialect `{named}`; there are {}", known.join(", ")),
            None => format!("say which with --dialect: {}", known.join(", ")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_counts_before_what_the_file_looks_like() {
        let name = |file: &str, named| of(Path::new(file), named).map(|dialect| dialect.name).ok();
        assert_eq!(name("a.xml", None), Some("opentact"));
        assert_eq!(name("a.txt", Some("opentact")), Some("opentact"));
        assert_eq!(name("a.txt", None), None);
        assert_eq!(name("a.xml", Some("plivo")), None);
    }
}
