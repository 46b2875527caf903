//! The Debian packages that building and testing take: one list, for Debian 12 and 13.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::run;
use crate::workspace;

/// Everything that building, the tests and the demonstration take.
const PACKAGES: [&str; 14] = [
    // Building: a linker and C++ for the fuzzer's runtime; readelf for the check of the linkage.
    "build-essential",
    "pkg-config",
    "libopus-dev",
    "libasound2-dev",
    // Speech for Say.
    "espeak-ng",
    // SIPp, and a telephone without a screen.
    "sip-tester",
    "baresip-core",
    // MP3 files for Play.
    "lame",
    // tests/
    "python3",
    "python3-pytest",
    "python3-pytest-xdist",
    "python3-numpy",
    "python3-pip",
    "openssl",
];
/// What the tests take from other people's work and Debian does not have: the receiver's side
/// of webhooks and of TwiML as their authors publish it, a server for WebSockets, one for
/// resumable uploads with what it needs, a judge of JSON documents, a mail server, and the
/// vendor's own client of the control API.
const PYTHON_PACKAGES: [&[&str]; 3] = [
    &["--no-deps", "standardwebhooks==1.1.0", "twilio==9.13.0", "websockets==15.0.1"],
    &["tuspyserver==4.4.3", "uvicorn==0.54.0", "jsonschema==4.17.3", "aiosmtpd==1.4.6"],
    &["voximplant-apiclient==2.12.0"],
];

/// Installs what is missing.
///
/// # Errors
/// Something is missing and cannot be installed: the message names the command to type.
pub(crate) fn install() -> Result<()> {
    install_also(&[])
}

/// Like [`install`], with further packages that only one command takes.
///
/// # Errors
/// As [`install`].
pub(crate) fn install_also(further: &[&str]) -> Result<()> {
    let missing = missing(&[&PACKAGES[..], further].concat(), installed()?.as_str());
    if missing.is_empty() {
        return Ok(());
    }
    println!("Debian packages that are missing: {}", missing.join(" "));
    let by_hand = format!("apt-get update && apt-get install --yes {}", missing.join(" "));
    let Some(prefix) = privilege() else {
        bail!("they can be installed only by root; type: sudo sh -c '{by_hand}'");
    };
    let apt = |arguments: &[&str]| {
        let mut words = prefix.clone();
        words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]);
        words.extend(arguments);
        let (program, rest) = words.split_first().context("no command")?;
        run::step(Command::new(program).args(rest))
    };
    apt(&["update"])
        .and_then(|()| {
            let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
            arguments.extend(&missing);
            apt(&arguments)
        })
        .with_context(|| format!("as root: {by_hand}"))
}

/// Fetches the Python packages that the tests take and Debian does not have, into `target`.
///
/// # Errors
/// One is missing and cannot be fetched.
pub(crate) fn install_python() -> Result<()> {
    let folder = workspace::root().join("target/python");
    let marker = folder.join("installed");
    let wanted = PYTHON_PACKAGES.concat().join(" ");
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    for packages in PYTHON_PACKAGES {
        let mut pip = Command::new("/usr/bin/python3");
        pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"]).arg(&folder);
        run::step(pip.args(packages))
            .with_context(|| format!("the tests take Python packages: {}", packages.join(" ")))?;
    }
    std::fs::write(&marker, wanted).with_context(|| marker.display().to_string())
}

/// The words before a command that make it root's; none if there is no way.
fn privilege() -> Option<Vec<&'static str>> {
    if rustix::process::geteuid().is_root() {
        return Some(Vec::new());
    }
    let sudo = Command::new("sudo").args(["-n", "true"]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    if sudo.is_ok_and(|status| status.success()) {
        return Some(vec!["sudo", "-n"]);
    }
    // With a terminal, sudo can ask for its password.
    let there = Command::new("sudo").arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).status();
    (there.is_ok_and(|status| status.success()) && std::env::var_os("CI").is_none()).then(|| vec!["sudo"])
}

/// dpkg's list: `name<TAB>status` for each package.
fn installed() -> Result<String> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package}\t${db:Status-Abbrev}\n"])
        .output()
        .with_context(|| {
            format!(
                "this is no Debian (dpkg-query is missing); install what these hold: {}",
                PACKAGES.join(" ")
            )
        })?;
    ensure!(output.status.success(), "dpkg-query: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn missing<'a>(wanted: &[&'a str], installed: &str) -> Vec<&'a str> {
    let has = |name: &str| {
        installed
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .any(|(package, status)| package == name && status.starts_with("ii"))
    };
    wanted.iter().copied().filter(|name| !has(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wholly_installed_counts() {
        let dpkg = "lame\tii \nespeak-ng\trc \nespeak\tii \npython3\tiU \n";
        assert_eq!(missing(&["lame", "espeak-ng", "python3", "sox"], dpkg), ["espeak-ng", "python3", "sox"]);
    }
}
