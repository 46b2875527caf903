//! `tipring check`.

use std::path::{Path, PathBuf};

use tipring_flows::Dialect;

use super::dialect;
use super::{BAD, BAD_FILE, OK, complain, complain_of, say};
use crate::config::{Config, FILE_BYTES_MAX, read_bytes, render};

pub(super) fn run(files: &[PathBuf], dialect: Option<&str>) -> u8 {
    let files = match files {
        [first, rest @ ..] if !rest.is_empty() && first.as_os_str() == "flow" => rest,
        files => files,
    };
    files.iter().map(|file| check(file, dialect)).max().unwrap_or(OK)
}

fn check(path: &Path, dialect: Option<&str>) -> u8 {
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
        Some(_) | None => match dialect::of(path, dialect) {
            Ok(dialect) => check_document(dialect, &name, &bytes),
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

fn check_document(dialect: &Dialect, name: &str, bytes: &[u8]) -> u8 {
    let findings = (dialect.check)(bytes);
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
