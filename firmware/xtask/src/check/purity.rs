//! Pure crates: no clock, no socket, no file, no thread.

use crate::workspace::File;

/// The sources of crates in which everything is an argument, and machines in other crates.
const PURE: [&str; 6] = [
    "firmware/model/src/",
    "firmware/sip/src/",
    "firmware/flows/src/",
    "firmware/calls/src/",
    "firmware/lines/src/analog/fxs/",
    "firmware/lines/src/analog/fxo/",
];

/// What reaches outside.
const OUTSIDE: [&str; 14] = [
    "tokio",
    "std::net::Tcp",
    "std::net::Udp",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::fs",
    "fs::File",
    "std::thread",
    "std::process",
    "std::env",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
];

/// Lines of pure crates that reach outside.
pub(crate) fn purity(files: &[File]) -> Vec<String> {
    let pure =
        files.iter().filter(|file| file.extension() == "rs" && PURE.iter().any(|p| file.path.starts_with(p)));
    let mut findings = Vec::new();
    for file in pure {
        for (number, line) in product_code(&file.text) {
            if let Some(what) = OUTSIDE.iter().find(|what| line.contains(*what)) {
                findings.push(format!("{}:{number}: {what} in a pure crate", file.path));
            }
        }
    }
    findings
}

/// The numbered lines of a source without comments, up to its tests.
pub(crate) fn product_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    // Tests are last; an attribute at the margin that is followed by a module begins them.
    let end = lines
        .iter()
        .enumerate()
        .position(|(at, line)| {
            *line == "#[cfg(test)]"
                && lines
                    .iter()
                    .skip(at + 1)
                    .find(|next| !next.starts_with('#'))
                    .is_some_and(|n| n.contains("mod "))
        })
        .unwrap_or(lines.len());
    lines
        .into_iter()
        .take(end)
        .enumerate()
        .map(|(at, line)| (at + 1, line.split_once("//").map_or(line, |(code, _)| code)))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::file;
    use super::*;

    #[test]
    fn a_clock_in_a_pure_crate_is_found_and_one_in_its_tests_is_not() {
        let text = "//! Uses std::thread.\nfn a() {\n    let t = Instant::now(); // why\n}\n\n#[cfg(test)]\n#[expect(x)]\nmod tests {\n    use std::fs;\n}\n";
        let files = [
            file("firmware/sip/src/a.rs", text),
            file("firmware/lines/src/a.rs", text),
            file("firmware/sip/tests/a.rs", text),
        ];
        assert_eq!(purity(&files), ["firmware/sip/src/a.rs:3: Instant::now in a pure crate"]);
    }
}
