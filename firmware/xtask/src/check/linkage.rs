//! What the built daemon loads at run time.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::run;

/// Opus is the system's, so that its security fixes are: the crate that binds it builds a copy
/// of its own without a word when it finds none. ALSA is how line cards are heard.
const NEEDED: [&str; 2] = ["libopus.so", "libasound.so"];
/// None of these may be needed: TLS is rustls.
const NOT_NEEDED: [&str; 2] = ["libssl", "libcrypto"];

/// Builds the daemon and looks at what it loads.
pub(crate) fn linkage() -> Result<Vec<String>> {
    run::step(&mut run::cargo(&["build", "--quiet", "--locked", "--package", "tipring-gateway"]))?;
    let daemon = run::daemon("debug")?;
    let output =
        Command::new("readelf").arg("--dynamic").arg("--wide").arg(&daemon).output().context("readelf")?;
    ensure!(output.status.success(), "readelf: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(judge(&String::from_utf8_lossy(&output.stdout)))
}

fn judge(dynamic: &str) -> Vec<String> {
    let needs: Vec<&str> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split_once('[')?.1.split(']').next())
        .collect();
    let mut findings = Vec::new();
    for needed in NEEDED.iter().filter(|needed| !needs.iter().any(|name| name.starts_with(**needed))) {
        findings.push(format!("tipring does not load {needed}; it loads {}", needs.join(" ")));
    }
    for name in needs.iter().filter(|name| NOT_NEEDED.iter().any(|not| name.starts_with(not))) {
        findings.push(format!("tipring loads {name}"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_opus_inside_and_a_second_tls_are_found() {
        let good = " 0x0000000000000001 (NEEDED)             Shared library: [libopus.so.0]\n \
                     0x0000000000000001 (NEEDED)             Shared library: [libasound.so.2]\n \
                     0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]\n";
        assert!(judge(good).is_empty());
        let bad = " 0x0000000000000001 (NEEDED)             Shared library: [libssl.so.3]\n \
                    0x000000000000001d (RUNPATH)            Library runpath: [libopus.so]\n";
        assert_eq!(
            judge(bad),
            [
                "tipring does not load libopus.so; it loads libssl.so.3",
                "tipring does not load libasound.so; it loads libssl.so.3",
                "tipring loads libssl.so.3"
            ]
        );
    }
}
