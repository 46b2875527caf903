//! Fuzz targets, built by the stable compiler.
//!
//! The coverage counters that libFuzzer reads are an LLVM pass, which every compiler has; only
//! the address sanitizer is kept for nightly ones. Without `unsafe` in the workspace there is
//! little for it to find. `cargo fuzz run` works, too, where it and a nightly are installed.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::run;
use crate::workspace;

/// How long each target runs, in seconds.
pub(crate) const SECONDS: u64 = 30;

/// Longest time for one input, in seconds: what takes longer hangs.
const INPUT_SECONDS_MAX: u64 = 10;
/// What a target may use, in megabytes.
const MEMORY_MB_MAX: u64 = 2_048;

const INSTRUMENTED: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

/// What one target did.
pub(crate) struct Fuzzed {
    pub(crate) target: String,
    /// Inputs that were tried; `None` if it did not say.
    pub(crate) inputs: Option<u64>,
    /// The end of its output, if it found something.
    pub(crate) fault: Option<String>,
}

/// The targets, by the files in `fuzz/fuzz_targets`.
pub(crate) fn targets() -> Result<Vec<String>> {
    let folder = workspace::root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    names.sort();
    ensure!(!names.is_empty(), "no targets in {}", folder.display());
    Ok(names)
}

/// Builds every target and gives the folder with their programs.
pub(crate) fn build() -> Result<PathBuf> {
    let host = host()?;
    let target = workspace::target_directory()?.join("fuzz");
    let mut build =
        run::cargo(&["build", "--locked", "--release", "--bins", "--manifest-path=fuzz/Cargo.toml"]);
    // With a named target, build scripts and macros are left as they are.
    build.arg(format!("--target={host}"));
    build.env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTED.join("\u{1f}"));
    build.env("CARGO_TARGET_DIR", &target);
    run::step(&mut build)?;
    Ok(target.join(host).join("release"))
}

fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc -vV")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.to_owned())
}

/// One target by hand, its output shown.
pub(crate) fn run(target: &str, seconds: u64) -> Result<bool> {
    let known = targets()?;
    if !known.iter().any(|name| name == target) {
        bail!("no fuzz target `{target}`; there are: {}", known.join(", "));
    }
    let programs = build()?;
    let mut command = program(&programs, target, seconds)?;
    Ok(run::step(&mut command).is_ok())
}

/// Every target for `seconds`, as many at a time as there are cores.
pub(crate) fn run_all(seconds: u64) -> Result<Vec<Fuzzed>> {
    let programs = build()?;
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let mut done = Vec::new();
    for batch in targets()?.chunks(at_once) {
        println!("{seconds} s each: {}", batch.join(", "));
        let mut running: Vec<(String, Child)> = Vec::new();
        for target in batch {
            let child = program(&programs, target, seconds)?
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(|| format!("fuzz target {target}"))?;
            running.push((target.clone(), child));
        }
        // The pipes are read at the same time, or the second target would stop when its is full.
        let waiting: Vec<_> = running
            .into_iter()
            .map(|(target, child)| std::thread::spawn(move || (target, child.wait_with_output())))
            .collect();
        for thread in waiting {
            let Ok((target, output)) = thread.join() else { bail!("a target's output was lost") };
            let output = output?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let fuzzed = Fuzzed {
                inputs: inputs(&text),
                fault: (!output.status.success()).then(|| fault(&text)),
                target,
            };
            println!("  {}: {}", fuzzed.target, said(&fuzzed));
            done.push(fuzzed);
        }
    }
    Ok(done)
}

/// One line about a target.
fn said(fuzzed: &Fuzzed) -> String {
    match (&fuzzed.fault, fuzzed.inputs) {
        (Some(fault), _) => format!("FAILED\n{fault}"),
        (None, Some(inputs)) => format!("{inputs} inputs"),
        (None, None) => "no inputs were counted".to_owned(),
    }
}

fn program(programs: &std::path::Path, target: &str, seconds: u64) -> Result<Command> {
    let root = workspace::root();
    let seeds = root.join("fuzz/seeds").join(target);
    ensure!(seeds.is_dir(), "{} has no seeds", seeds.display());
    let corpus = root.join("fuzz/corpus").join(target);
    let artifacts = root.join("fuzz/artifacts").join(target);
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut command = Command::new(programs.join(target));
    command
        .arg(format!("-max_total_time={}", Duration::from_secs(seconds).as_secs()))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(corpus)
        .arg(seeds)
        .current_dir(root);
    Ok(command)
}

/// How many inputs libFuzzer says it tried.
fn inputs(output: &str) -> Option<u64> {
    output.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok())
}

/// What the target found: the panic with its message, or libFuzzer's own complaint, and the input.
fn fault(output: &str) -> String {
    const TOLD: [&str; 4] = ["panicked at", "ERROR: libFuzzer", "Test unit written", "Base64:"];
    let lines: Vec<&str> = output.lines().collect();
    let mut found: Vec<&str> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if TOLD.iter().any(|word| line.contains(word)) {
            // The message stands in the line after the place.
            let more = usize::from(line.contains("panicked at"));
            found.extend(lines.iter().skip(at).take(1 + more));
        }
    }
    if found.is_empty() {
        lines.last().copied().unwrap_or("it said nothing").to_owned()
    } else {
        found.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_at_its_end_is_read() {
        let output = "Done 77 runs in 2 second(s)\nstat::number_of_executed_units: 77\nstat::x: 1\n";
        assert_eq!(inputs(output), Some(77));
        assert_eq!(inputs("==1==ERROR"), None);
    }

    #[test]
    fn what_a_target_found_is_cut_out() {
        let output = "#7 NEW\nthread panicked at a.rs:1:2:\nno address\n  0: frame\n==1== ERROR: libFuzzer: deadly signal\nBase64: AA==\n";
        assert_eq!(
            fault(output),
            "thread panicked at a.rs:1:2:\nno address\n==1== ERROR: libFuzzer: deadly signal\nBase64: AA=="
        );
        assert_eq!(fault("killed\n"), "killed");
    }

    #[test]
    fn every_target_has_seeds() {
        for target in targets().unwrap() {
            let seeds = workspace::root().join("fuzz/seeds").join(&target);
            assert!(std::fs::read_dir(seeds).unwrap().count() > 1, "{target}");
        }
    }
}
