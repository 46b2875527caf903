//! `tipring check`.

use std::path::{Path, PathBuf};

use super::{BAD, BAD_FILE, OK, complain, complain_of, say};
use crate::config::{Config, FILE_BYTES_MAX, read_bytes, render};

pub(super) fn run(files: &[PathBuf]) -> u8 {
    files.iter().map(|file| check(file)).max().unwrap_or(OK)
}

fn check(path: &Path) -> u8 {
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
        Some("xml") => check_document(&name, &bytes),
        Some(_) | None => {
            complain(&format!("error[TR-CFG-FILE]: {name} is neither .toml nor .xml"));
            BAD_FILE
        }
    }
}

fn check_config(path: &Path, name: &str, bytes: &[u8]) -> u8 {
    match Config::load(path) {
        Ok(config) => {
            say(&format!("{name}: ok, {} lines, {} flows", config.lines.len(), config.flows.len()));
            OK
        }
        Err(faults) => {
            complain(render(name, &String::from_utf8_lossy(bytes), &faults).trim_end());
            complain(&format!("{name}: {} faults", faults.len()));
            BAD
        }
    }
}

fn check_document(name: &str, bytes: &[u8]) -> u8 {
    // The one document dialect so far; with more, the file's flow names it.
    let findings = (tipring_flows::opentact::DIALECT.check)(bytes);
    for finding in &findings {
        let kind = if finding.fatal { "error" } else { "warning" };
        let text = format!("{name}:{}:{}: {}", finding.line, finding.column, finding.subject);
        complain_of(kind, finding.code, &text);
    }
    if findings.iter().any(|finding| finding.fatal) {
        return BAD;
    }
    say(&format!("{name}: ok, {} warnings", findings.len()));
    OK
}
