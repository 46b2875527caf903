//! Measurements: of the whole daemon by `tests/bench/bench.py`, of the processes of scripts by
//! `tests/bench/scripts.py`, of the spool by an example of its
//! crate, of the dialects and of the signal processing by one of theirs.

use std::process::Command;

use anyhow::{Context, Result, ensure};

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

/// Measures what the process of a script costs: memory, start, messages, and as many as there may be.
pub(crate) fn scripts() -> Result<bool> {
    let script = workspace::root().join("tests/bench/scripts.py");
    ensure!(script.is_file(), "{} is not there", script.display());
    let daemon = run::release_daemon()?;
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).env("TIPRING_BIN", daemon).current_dir(workspace::root());
    Ok(run::step(&mut command).is_ok())
}

/// Measures what reading and checking a long document costs in each dialect.
pub(crate) fn documents() -> Result<bool> {
    let mut command = run::cargo(&[
        "run",
        "--quiet",
        "--locked",
        "--release",
        "--package=tipring-flows",
        "--example=documents_bench",
    ]);
    run::step(&mut command).map(|()| true)
}

/// Measures what each piece of signal processing costs.
pub(crate) fn dsp() -> Result<bool> {
    let mut command = run::cargo(&[
        "run",
        "--quiet",
        "--locked",
        "--release",
        "--package=tipring-media",
        "--example=dsp_bench",
    ]);
    run::step(&mut command).map(|()| true)
}

/// Measures what the spool costs on the disk that cargo builds on, and shows the table.
pub(crate) fn spool() -> Result<bool> {
    let folder = workspace::target_directory()?.join("bench-spool");
    let empty = || match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Err(_) | Ok(()) => Ok(()),
    };
    empty().with_context(|| folder.display().to_string())?;
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let mut command = run::cargo(&[
        "run",
        "--quiet",
        "--locked",
        "--release",
        "--package=tipring-spool",
        "--example=spool_bench",
    ]);
    let measured = run::step(command.arg("--").arg(&folder));
    empty()?;
    measured.map(|()| true)
}
