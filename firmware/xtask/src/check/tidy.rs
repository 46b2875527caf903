//! Conventions that a machine can see.

use super::purity::product_code;
use crate::workspace::File;

/// A source longer than this is looked at again.
const LINES_LONG: usize = 800;
/// A source longer than this is two.
const LINES_MAX: usize = 1_500;

/// Words for work that was not done. Written in halves so that this file does not hold them.
const UNFINISHED: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
    concat!("dbg", "!"),
];
/// Files in which such words count.
const WRITTEN: [&str; 8] = ["rs", "py", "toml", "sh", "c", "xml", "md", "run"];

/// Names that say nothing.
const EMPTY_NAMES: [&str; 8] =
    ["util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"];

/// Places that only one machine has.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/Use", "rs/")];

/// Settings that name a registry of packages.
const REGISTRIES: [&str; 9] = [
    concat!("sparse", "+http"),
    concat!("registry", "-index"),
    concat!("replace", "-with"),
    concat!("--index", "-url"),
    concat!("--extra-index", "-url"),
    concat!("npm", "_config_registry"),
    concat!("pypi", ".org"),
    concat!("artifact", "ory"),
    concat!("GO", "PROXY"),
];
/// Where cargo's lock file says that a package comes from.
const CRATES: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn sources(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.extension() == "rs")
}

/// Sources that are long: a warning.
pub(crate) fn long(files: &[File]) -> Vec<String> {
    longer(files, LINES_LONG).into_iter().map(|(path, lines)| format!("{path} has {lines} lines")).collect()
}

/// Sources that are too long.
pub(crate) fn length(files: &[File]) -> Vec<String> {
    longer(files, LINES_MAX)
        .into_iter()
        .map(|(path, lines)| format!("{path} has {lines} lines, over {LINES_MAX}"))
        .collect()
}

fn longer(files: &[File], limit: usize) -> Vec<(&str, usize)> {
    sources(files)
        .map(|file| (file.path.as_str(), file.text.lines().count()))
        .filter(|(_, lines)| *lines > limit)
        .collect()
}

/// Lines with a word for work that was not done.
pub(crate) fn unfinished(files: &[File]) -> Vec<String> {
    let counts = |file: &&File| WRITTEN.contains(&file.extension()) || !file.name().contains('.');
    lines_with(files.iter().filter(counts), &UNFINISHED)
}

/// Modules whose name says nothing.
pub(crate) fn names(files: &[File]) -> Vec<String> {
    sources(files)
        .filter(|file| file.path.contains("/src/"))
        .filter(|file| {
            let inside = file.path.split_once("/src/").map_or("", |(_, inside)| inside);
            inside.split('/').any(|part| EMPTY_NAMES.contains(&part.trim_end_matches(".rs")))
        })
        .map(|file| format!("{}: a name that says nothing", file.path))
        .collect()
}

/// Public modules that do not begin with a description.
pub(crate) fn headers(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in sources(files).filter(|file| file.path.contains("/src/")) {
        let folder = module_folder(&file.path);
        for (number, line) in product_code(&file.text) {
            let Some(name) = line.trim().strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';'))
            else {
                continue;
            };
            let places = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")];
            match files.iter().find(|file| places.contains(&file.path)) {
                None => findings.push(format!("{}:{number}: module {name} is not found", file.path)),
                Some(module) if module.text.starts_with("//!") => {}
                Some(module) => findings.push(format!("{} does not begin with //!", module.path)),
            }
        }
    }
    findings
}

/// The folder in which a source's own modules are.
fn module_folder(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ => format!("{folder}/{}", name.trim_end_matches(".rs")),
    }
}

/// Lines with a path that only one machine has.
pub(crate) fn machines(files: &[File]) -> Vec<String> {
    lines_with(files.iter(), &MACHINE_PATHS)
}

/// Lines with a registry of packages, and locked packages from elsewhere than crates.io.
pub(crate) fn registries(files: &[File]) -> Vec<String> {
    let mut findings = lines_with(files.iter(), &REGISTRIES);
    for file in files.iter().filter(|file| file.name() == "Cargo.lock") {
        for (at, line) in file.text.lines().enumerate() {
            let source = line.strip_prefix("source = \"").and_then(|rest| rest.strip_suffix('"'));
            if let Some(source) = source.filter(|source| *source != CRATES) {
                findings.push(format!("{}:{}: a package from {source}", file.path, at + 1));
            }
        }
    }
    findings
}

/// Lines with `unsafe` in what runs on the box; a test may need an allocator that counts.
pub(crate) fn unsafe_code(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in sources(files).filter(|file| file.path.contains("/src/")) {
        for (number, line) in product_code(&file.text) {
            if [concat!("unsafe", " {"), concat!("unsafe", " fn"), concat!("unsafe", " impl")]
                .iter()
                .any(|w| line.contains(w))
            {
                findings.push(format!("{}:{number}: unsafe code", file.path));
            }
        }
    }
    findings
}

fn lines_with<'a>(files: impl Iterator<Item = &'a File>, words: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        for (at, line) in file.text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| has_word(line, word)) {
                findings.push(format!("{}:{}: {word}", file.path, at + 1));
            }
        }
    }
    findings
}

/// Whether `word` stands in `line` and not in the middle of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let inside = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|after| after.chars().next());
        let begins = !word.starts_with(|c: char| c.is_ascii_alphanumeric()) || !inside(before);
        let ends = !word.ends_with(|c: char| c.is_ascii_alphanumeric()) || !inside(after);
        // A path that goes on to the left is not an absolute one.
        let absolute = !word.starts_with('/')
            || !before.is_some_and(|c| c.is_ascii_alphanumeric() || "./_-$}".contains(c));
        begins && ends && absolute
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::file;
    use super::*;

    #[test]
    fn long_sources_are_named_and_too_long_ones_fail() {
        let files = [
            file("a.rs", &"\n".repeat(LINES_LONG)),
            file("b.rs", &"\n".repeat(LINES_LONG + 1)),
            file("c.rs", &"\n".repeat(LINES_MAX + 1)),
            file("d.txt", &"\n".repeat(LINES_MAX + 1)),
        ];
        assert_eq!(long(&files), ["b.rs has 801 lines", "c.rs has 1501 lines"]);
        assert_eq!(length(&files), ["c.rs has 1501 lines, over 1500"]);
    }

    #[test]
    fn unfinished_work_is_found_once_for_each_word() {
        for word in UNFINISHED {
            let text = format!("fn a() {{\n    {word}(); // {word}: later\n}}\n");
            assert_eq!(unfinished(&[file("a.rs", &text)]), [format!("a.rs:2: {word}")]);
            assert_eq!(unfinished(&[file(".ci/run", &text)]), [format!(".ci/run:2: {word}")]);
            assert!(unfinished(&[file("a.wav", &text)]).is_empty());
        }
        let longer = format!("PRE{}", concat!("TO", "DO"));
        assert!(unfinished(&[file("a.rs", &longer)]).is_empty());
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        let files = [
            file("firmware/a/src/utils.rs", ""),
            file("firmware/a/src/common/mod.rs", ""),
            file("firmware/a/src/call.rs", ""),
            file("firmware/a/tests/common/mod.rs", ""),
        ];
        assert_eq!(names(&files).len(), 2);
    }

    #[test]
    fn a_public_module_without_a_description_is_found() {
        let files = [
            file(
                "firmware/a/src/lib.rs",
                "//! A.\npub mod b;\npub mod c;\nmod d;\n    pub mod e;\npub mod gone;\n",
            ),
            file("firmware/a/src/b.rs", "//! B.\npub mod f;\n"),
            file("firmware/a/src/b/f.rs", "use x;\n"),
            file("firmware/a/src/c/mod.rs", "use x;\n"),
            file("firmware/a/src/d.rs", "use x;\n"),
            file("firmware/a/src/e.rs", "//! E.\n"),
        ];
        assert_eq!(
            headers(&files),
            [
                "firmware/a/src/c/mod.rs does not begin with //!",
                "firmware/a/src/lib.rs:6: module gone is not found",
                "firmware/a/src/b/f.rs does not begin with //!",
            ]
        );
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for place in MACHINE_PATHS {
            let text = format!("open('{place}x')\nopen('./a{place}x')\nhttps://h{place}x\n");
            assert_eq!(machines(&[file("a.py", &text)]), [format!("a.py:1: {place}")]);
        }
    }

    #[test]
    fn registries_are_found() {
        for word in REGISTRIES {
            assert_eq!(registries(&[file("x.toml", &format!("a = \"{word}\""))]).len(), 1, "{word}");
        }
        let lock = format!("name = \"a\"\nsource = \"{CRATES}\"\nsource = \"git+https://a.example/b\"\n");
        assert_eq!(
            registries(&[file("Cargo.lock", &lock)]),
            ["Cargo.lock:3: a package from git+https://a.example/b"]
        );
    }

    #[test]
    fn unsafe_code_is_found() {
        let text = format!("// {0} {{\n{0} {{ x() }}\n", concat!("uns", "afe"));
        assert_eq!(
            unsafe_code(&[file("firmware/a/src/a.rs", &text)]),
            ["firmware/a/src/a.rs:2: unsafe code"]
        );
    }
}
