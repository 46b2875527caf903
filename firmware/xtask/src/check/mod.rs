//! `cargo xtask check`: what the tree must be like, rule by rule.

mod doors;
mod facts;
mod layers;
mod licences;
mod linkage;
mod purity;
mod tidy;

use anyhow::Result;
use serde_json::Value;

use crate::packages;
use crate::run;
use crate::workspace::{self, File};

/// What the rules look at.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
    pub(crate) metadata: Value,
}

/// One rule: its name, and what it finds.
pub(crate) struct Rule {
    name: &'static str,
    find: fn(&Tree) -> Result<Vec<String>>,
}

/// Every rule. Those that compile come last.
pub(crate) const RULES: [Rule; 21] = [
    Rule { name: "crates see only those they may", find: |tree| Ok(layers::edges(&tree.metadata)) },
    Rule { name: "outside crates come in by their doors", find: |tree| Ok(doors::doors(&tree.metadata)) },
    Rule { name: "banned crates stay out", find: |tree| Ok(doors::banned(&tree.metadata)) },
    Rule { name: "every licence is on the list", find: |tree| Ok(licences::licences(&tree.metadata)) },
    Rule { name: "pure crates touch nothing outside", find: |tree| Ok(purity::purity(&tree.files)) },
    Rule { name: "files are not too long", find: |tree| Ok(tidy::length(&tree.files)) },
    Rule { name: "nothing is left for later", find: |tree| Ok(tidy::unfinished(&tree.files)) },
    Rule { name: "modules are named for what they do", find: |tree| Ok(tidy::names(&tree.files)) },
    Rule { name: "public modules begin with what they are", find: |tree| Ok(tidy::headers(&tree.files)) },
    Rule { name: "no file knows one machine", find: |tree| Ok(tidy::machines(&tree.files)) },
    Rule { name: "no file knows one registry", find: |tree| Ok(tidy::registries(&tree.files)) },
    Rule { name: "every dialect and line has its README", find: |tree| Ok(facts::readmes(&tree.files)) },
    Rule { name: "every code is in the catalogue", find: |tree| Ok(facts::codes(&tree.files)) },
    Rule { name: "no unsafe code", find: |tree| Ok(tidy::unsafe_code(&tree.files)) },
    Rule { name: "links in documents lead somewhere", find: |tree| Ok(facts::links(&tree.files)) },
    Rule { name: "the fuzz targets' lock file is up to date", find: |_| locked("fuzz/Cargo.toml") },
    Rule { name: "formatted", find: |_| command(&["fmt", "--all", "--check", "--", "--files-with-diff"]) },
    Rule {
        name: "fuzz targets formatted",
        find: |_| command(&["fmt", "--check", "--manifest-path=fuzz/Cargo.toml"]),
    },
    Rule {
        name: "no lint fires",
        find: |_| {
            command(&[
                "clippy",
                "--quiet",
                "--locked",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ])
        },
    },
    Rule { name: "no lint fires in the fuzz targets", find: |_| fuzz_targets() },
    Rule { name: "the daemon links the system's Opus and ALSA", find: |_| linkage::linkage() },
];

/// Applies every rule and gives whether none found anything.
pub(crate) fn run() -> Result<bool> {
    packages::install()?;
    Ok(report()? == 0)
}

/// Applies every rule, prints what each finds, and gives how many findings there are.
pub(crate) fn report() -> Result<usize> {
    let tree = Tree { files: workspace::files()?, metadata: workspace::metadata()? };
    for warning in tidy::long(&tree.files) {
        println!("warning: {warning}");
    }
    let mut count = 0;
    for rule in &RULES {
        let findings = (rule.find)(&tree).unwrap_or_else(|error| vec![format!("{error:#}")]);
        println!("{} {}", if findings.is_empty() { "ok    " } else { "FAILED" }, rule.name);
        for finding in &findings {
            println!("       {finding}");
        }
        count += findings.len();
    }
    Ok(count)
}

/// A cargo command that must succeed; what it says is on the screen already.
fn command(arguments: &[&str]) -> Result<Vec<String>> {
    Ok(run::step(&mut run::cargo(arguments)).err().map(|error| vec![error.to_string()]).unwrap_or_default())
}

/// The fuzz targets are a workspace of their own: what the other crates change, they must follow.
fn fuzz_targets() -> Result<Vec<String>> {
    let mut clippy =
        run::cargo(&["clippy", "--quiet", "--locked", "--bins", "--manifest-path=fuzz/Cargo.toml"]);
    clippy
        .args(["--", "-D", "warnings"])
        .env("CARGO_TARGET_DIR", workspace::target_directory()?.join("fuzz"));
    Ok(run::step(&mut clippy).err().map(|error| vec![error.to_string()]).unwrap_or_default())
}

/// Whether the lock file beside a manifest has what the manifest asks for.
fn locked(manifest: &str) -> Result<Vec<String>> {
    let output =
        run::cargo(&["metadata", "--format-version=1", "--locked", "--manifest-path", manifest]).output()?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let error = said.lines().find(|line| line.starts_with("error")).unwrap_or("cargo metadata failed");
    Ok(vec![format!("{manifest}: {error}; `cargo update --workspace --manifest-path {manifest}` mends it")])
}

#[cfg(test)]
pub(crate) mod fixture {
    //! Small trees on which the rules are made to fail.

    use serde_json::{Value, json};

    use crate::workspace::File;

    pub(crate) fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    /// Name and kind, as `cargo metadata` has them: no kind is the usual one.
    type Dependency = (&'static str, Option<&'static str>);

    /// `cargo metadata` of a workspace: members with their dependencies as `(name, kind)`, and
    /// outside packages with their licences.
    pub(crate) fn metadata(members: &[(&str, &[Dependency])], outside: &[(&str, Option<&str>)]) -> Value {
        let mut packages = Vec::new();
        let mut ids = Vec::new();
        for (name, dependencies) in members {
            let dependencies: Vec<Value> =
                dependencies.iter().map(|(name, kind)| json!({ "name": name, "kind": kind })).collect();
            packages.push(json!({
                "id": name, "name": name, "version": "0.1.0", "license": "MIT OR Apache-2.0", "dependencies": dependencies,
            }));
            ids.push(*name);
        }
        for (name, licence) in outside {
            packages.push(json!({
                "id": name, "name": name, "version": "1.0.0", "license": licence, "dependencies": [],
            }));
        }
        let nodes: Vec<Value> = packages.iter().map(|package| json!({ "id": package["id"] })).collect();
        json!({ "packages": packages, "workspace_members": ids, "resolve": { "nodes": nodes } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_that_lacks_something_is_found() {
        let folder = std::env::temp_dir().join(format!("tipring-lock-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("src")).unwrap();
        std::fs::write(folder.join("src/lib.rs"), "").unwrap();
        std::fs::write(
            folder.join("Cargo.toml"),
            "[package]\nname = \"a\"\nversion = \"0.0.0\"\n[workspace]\n",
        )
        .unwrap();
        std::fs::write(folder.join("Cargo.lock"), "version = 4\n").unwrap();
        let findings = locked(folder.join("Cargo.toml").to_str().unwrap()).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(findings.len(), 1);
        assert!(findings[0].contains("lock file"), "{findings:?}");
    }

    #[test]
    fn a_command_that_fails_is_a_finding() {
        assert_eq!(command(&["fmt", "--no-such-option"]).unwrap().len(), 1);
        assert!(command(&["--version"]).unwrap().is_empty());
    }
}
