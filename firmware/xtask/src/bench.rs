//! Measurements of the whole daemon, made by `tests/bench/bench.py`.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::packages;
use crate::run;
use crate::workspace;

/// Measures how many calls the daemon carries and shows the table.
pub(crate) fn calls(quick: bool) -> Result<bool> {
    let script = workspace::root().join("tests/bench/bench.py");
    ensure!(script.is_file(), "{} is not there", script.display());
    packages::install()?;
    let daemon = run::release_daemon()?;
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).env("TIPRING_BIN", daemon).current_dir(workspace::root());
    if quick {
        command.arg("--quick");
    }
    Ok(run::step(&mut command).is_ok())
}
