//! `tipring serve`.

use std::io;
use std::path::Path;

use super::{BAD_FILE, BUSY, CANNOT_WRITE, INTERNAL, LogFormat, OK, complain, complain_with, logging};
use crate::config::{Config, FILE_BYTES_MAX, read_text, render};
use crate::daemon::{self, StartError};

pub(super) fn run(path: &Path, format: LogFormat, verbose: bool) -> u8 {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(faults) => {
            let text = read_text(path, FILE_BYTES_MAX).unwrap_or_default();
            complain(render("error", &path.display().to_string(), &text, &faults).trim_end());
            return BAD_FILE;
        }
    };
    let _flushes_at_the_end = logging::start(format, verbose);
    match daemon::run(config) {
        Ok(()) => OK,
        Err(error) => {
            let because =
                std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
            complain_with(error.code(), &format!("{error}{because}"));
            match error {
                StartError::Control { source, .. } if source.kind() == io::ErrorKind::AddrInUse => BUSY,
                StartError::Locked { .. } | StartError::Sip(_) | StartError::Web(_) => BUSY,
                StartError::Control { .. } | StartError::Storage { .. } | StartError::Certificate(_) => {
                    CANNOT_WRITE
                }
                StartError::Media(_)
                | StartError::Devices(_)
                | StartError::Spool(_)
                | StartError::Runtime(_) => INTERNAL,
            }
        }
    }
}
