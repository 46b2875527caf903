//! `tipring check`.

use std::path::{Path, PathBuf};

use tipring_flows::Finding;

use super::dialect::{self, By, Read};
use super::{BAD, BAD_FILE, OK, complain, complain_of, say};
use crate::config::{Config, FILE_BYTES_MAX, Warnings, read_bytes, render};

pub(super) fn run(files: &[PathBuf], dialect: Option<&str>) -> u8 {
    let files = match files {
        [first, rest @ ..] if !rest.is_empty() && first.as_os_str() == "flow" => rest,
        files => files,
    };
    let is_config = |file: &&PathBuf| file.extension().is_some_and(|extension| extension == "toml");
    // What is wrong with one of them is said when it is its turn.
    let configs: Vec<Config> =
        files.iter().filter(is_config).filter_map(|file| Config::load(file).ok()).collect();
    files.iter().map(|file| check(file, dialect, &configs)).max().unwrap_or(OK)
}

fn check(path: &Path, dialect: Option<&str>, configs: &[Config]) -> u8 {
    let name = path.display().to_string();
    let bytes = match read_bytes(path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) => {
            complain(&format!("error[TR-CFG-FILE]: {name} {error}"));
            return BAD_FILE;
        }
    };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => check_config(path, &name, &bytes),
        Some(_) | None => match dialect::of(path, dialect, configs) {
            Ok(read) => check_document(&read, &name, &bytes),
            Err(what) => {
                complain(&format!("error[TR-CFG-FILE]: {name}: {what}"));
                BAD_FILE
            }
        },
    }
}

fn check_config(path: &Path, name: &str, bytes: &[u8]) -> u8 {
    match Config::load(path) {
        Ok(config) => {
            let Warnings { file, documents } = &config.warnings;
            if !file.is_empty() {
                complain(render("warning", name, &String::from_utf8_lossy(bytes), file).trim_end());
            }
            for (path, finding) in documents {
                tell(&path.display().to_string(), finding);
            }
            let (lines, flows) = (config.lines.len(), config.flows.len());
            let warnings = file.len() + documents.len();
            say(&format!("{name}: ok, {lines} lines, {flows} flows, {warnings} warnings"));
            OK
        }
        Err(faults) => {
            complain(render("error", name, &String::from_utf8_lossy(bytes), &faults).trim_end());
            complain(&format!("{name}: {} faults", faults.len()));
            BAD
        }
    }
}

fn check_document(read: &Read<'_>, name: &str, bytes: &[u8]) -> u8 {
    let mut findings = (read.dialect.check)(bytes);
    if let By::Flow(_) = read.by {
        findings.extend((read.dialect.needs_server)(bytes));
    }
    for finding in &findings {
        tell(name, finding);
    }
    let assumed = read.assumed().map(|assumed| format!(" (read as {assumed})")).unwrap_or_default();
    if findings.iter().any(|finding| finding.fatal) {
        complain(&format!("{name}: not usable{assumed}"));
        return BAD;
    }
    say(&format!("{name}: ok, {} warnings{assumed}", findings.len()));
    OK
}

fn tell(name: &str, finding: &Finding) {
    let kind = if finding.fatal { "error" } else { "warning" };
    let text = format!("{name}:{}:{}: {}", finding.line, finding.column, finding.subject);
    complain_of(kind, finding.code, &text);
}
