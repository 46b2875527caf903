//! The tree: where it is, which files belong to it, what cargo knows of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::run;

/// Folders that are never part of the tree.
const NOT_OURS: [&str; 6] = [".git", "target", "corpus", "artifacts", "__pycache__", ".venv"];

/// The folder with the workspace's `Cargo.toml`. Cargo says where it is at run time: two trees
/// that build into one folder may share this program.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = PathBuf::from(here);
    here.ancestors().nth(2).unwrap_or(&here).to_path_buf()
}

/// One file of the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct File {
    /// From the root, with slashes.
    pub(crate) path: String,
    /// What it holds; what is no UTF-8 is replaced.
    pub(crate) text: String,
}

impl File {
    /// The part after the last dot of the name.
    pub(crate) fn extension(&self) -> &str {
        self.name().rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// The name without folders.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// Every file that git has or would take; without git, every file outside of build folders.
pub(crate) fn files() -> Result<Vec<File>> {
    let root = root();
    let mut paths = from_git(&root).unwrap_or_default();
    if paths.is_empty() {
        walk(&root, "", &mut paths)?;
    }
    paths.sort();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        // A file that git has and that is deleted is not there to be looked at.
        if let Ok(bytes) = std::fs::read(root.join(&path)) {
            files.push(File { path, text: String::from_utf8_lossy(&bytes).into_owned() });
        }
    }
    ensure!(files.iter().any(|file| file.path == "Cargo.toml"), "the tree is not at {}", root.display());
    Ok(files)
}

fn from_git(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()?;
    let listed = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

fn walk(root: &Path, below: &str, paths: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() && !NOT_OURS.contains(&name.as_str()) {
            walk(root, &path, paths)?;
        } else if kind.is_file() {
            paths.push(path);
        }
    }
    Ok(())
}

/// What `cargo metadata` says about the platforms that the box and its developers use.
pub(crate) fn metadata() -> Result<Value> {
    let output = run::cargo(&[
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform=aarch64-unknown-linux-gnu",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ])
    .output()
    .context("cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = metadata()?;
    let directory =
        metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(PathBuf::from(directory))
}
