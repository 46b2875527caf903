//! Running other programs, seen by whoever waits.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;

/// Variables that `cargo run` gave this program about this program. Build scripts that watch
/// them would run again each time the same thing is built in and outside of xtask.
const OWN_VARIABLES: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];

/// `cargo ARGUMENTS` in the root of the tree.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if OWN_VARIABLES.iter().any(|own| name.starts_with(own)) {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(workspace::root());
    command
}

/// The command as one would type it.
fn typed(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Shows the command, runs it without input, and fails if it fails.
pub(crate) fn step(command: &mut Command) -> Result<()> {
    println!("$ {}", typed(command));
    let status = command.stdin(Stdio::null()).status().with_context(|| typed(command))?;
    ensure!(status.success(), "{} failed: {status}", typed(command));
    Ok(())
}

/// Like [`step`], and gives what the command wrote to its output, which is shown as it comes.
pub(crate) fn step_read(command: &mut Command) -> Result<(bool, String)> {
    println!("$ {}", typed(command));
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| typed(command))?;
    let mut read = String::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{line}");
            read.push_str(&line);
            read.push('\n');
        }
    }
    let status = child.wait()?;
    Ok((status.success(), read))
}

/// Names a daemon that is built already and is to be taken.
const DAEMON_VARIABLE: &str = "TIPRING_BIN";

/// Builds the daemon for use and gives its path.
pub(crate) fn release_daemon() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(DAEMON_VARIABLE) {
        let binary = std::path::absolute(PathBuf::from(named))?;
        ensure!(binary.is_file(), "{DAEMON_VARIABLE} names {}, which is not there", binary.display());
        println!("{DAEMON_VARIABLE}: {}", binary.display());
        return Ok(binary);
    }
    step(&mut cargo(&["build", "--locked", "--release", "--package", "tipring-gateway"]))?;
    daemon("release")
}

/// Builds the devices in software that tests of the whole daemon plug in.
pub(crate) fn simulators() -> Result<()> {
    step(&mut cargo(&["build", "--locked", "--release", "--package", "tipring-testkit", "--bins"]))
}

/// The daemon of a profile that has been built: `debug` or `release`.
pub(crate) fn daemon(profile: &str) -> Result<PathBuf> {
    let binary = workspace::target_directory()?.join(profile).join("tipring");
    if !binary.is_file() {
        bail!("tipring-gateway builds no program `tipring`: {} is not there", binary.display());
    }
    Ok(binary)
}
