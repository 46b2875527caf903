//! `cargo xtask test`: the layers of tests, cheapest first, and what became of each.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::check;
use crate::fuzz;
use crate::packages;
use crate::powercut;
use crate::run;
use crate::workspace;

/// A layer: gives one line about what it did, or why it failed.
struct Layer {
    name: &'static str,
    run: fn() -> Result<String>,
}

const LAYERS: [Layer; 5] = [
    Layer { name: "check", run: check },
    Layer { name: "unit", run: unit },
    Layer { name: "sip", run: sip },
    Layer { name: "power", run: power },
    Layer { name: "fuzz", run: fuzz },
];

/// Runs the named layers, or all. Gives whether all passed.
///
/// # Errors
/// There is no layer of a name, or the packages cannot be installed.
pub(crate) fn run(names: &[String]) -> Result<bool> {
    let layers = chosen(names)?;
    packages::install()?;
    let mut results = Vec::new();
    for layer in layers {
        println!("\n==== {} ====", layer.name);
        let began = Instant::now();
        let outcome = (layer.run)();
        if let Err(error) = &outcome {
            println!("{error:#}");
        }
        results.push((layer.name, began.elapsed(), outcome));
    }
    println!("\n{}", table(&results));
    Ok(results.iter().all(|(_, _, outcome)| outcome.is_ok()))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Layer>> {
    let known = || LAYERS.each_ref().map(|layer| layer.name).join(", ");
    for name in names {
        if !LAYERS.iter().any(|layer| layer.name == name) {
            bail!("no layer `{name}`; there are: {}", known());
        }
    }
    Ok(LAYERS
        .iter()
        .filter(|layer| names.is_empty() || names.iter().any(|name| name == layer.name))
        .collect())
}

/// The summary; its last line counts the layers.
fn table(results: &[(&str, Duration, Result<String>)]) -> String {
    let mut text = format!("{:<8} {:<7} {:>7}  what\n", "layer", "", "time");
    for (name, took, outcome) in results {
        let (word, what) = match outcome {
            Ok(what) => ("passed", what.clone()),
            Err(error) => ("FAILED", format!("{error:#}").lines().next().unwrap_or_default().to_owned()),
        };
        let seconds = took.as_secs();
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{name:<8} {word:<7} {:>3}:{:02}  {what}", seconds / 60, seconds % 60);
    }
    let passed = results.iter().filter(|(_, _, outcome)| outcome.is_ok()).count();
    let _ = write!(text, "{passed} passed, {} failed", results.len() - passed);
    text
}

fn check() -> Result<String> {
    let findings = check::report()?;
    ensure!(findings == 0, "{findings} findings");
    Ok(format!("{} rules", check::RULES.len()))
}

/// The pure parts, and everything else that needs no other program.
fn unit() -> Result<String> {
    let (good, output) =
        run::step_read(&mut run::cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]))?;
    let count = cargo_count(&output);
    ensure!(count.failed == 0, "{} of {} tests failed", count.failed, count.passed + count.failed);
    ensure!(good, "cargo test failed, though no test did: something does not build");
    ensure!(count.passed > 0, "no test ran");
    ensure!(count.ignored == 0, "{} tests are ignored, and nothing may be", count.ignored);
    Ok(format!("{} tests", count.passed))
}

/// The daemon from outside: SIPp, baresip, hand-written parties and a line card in software,
/// several at a time; then, one by one, those that load the whole machine.
fn sip() -> Result<String> {
    packages::install_python()?;
    let daemon = run::release_daemon()?;
    run::simulators()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // Most of them wait most of the time.
    let at_once = (2 * cores).to_string();
    let beside = pytest(&daemon, &["-m", "not load", "--numprocesses", &at_once])?;
    let alone = pytest(&daemon, &["-m", "load"])?;
    Ok(format!("{at_once} at a time: {beside}; one by one: {alone}"))
}

/// So many failed tests of `tests/sip` are looked at a second time, each without company.
const SECOND_LOOKS: usize = 5;

/// Runs the tests of `tests/sip` that `arguments` choose. Gives pytest's last line.
///
/// A few that fail are run once more, alone: parties that must answer in real time, and programs
/// of other people, sometimes miss their moment on a machine that is short of cores. The line
/// names each that passed only then; one that fails again fails the layer.
fn pytest(daemon: &Path, arguments: &[&str]) -> Result<String> {
    let (good, output) = pytest_once(daemon, arguments)?;
    let mut last = last_line(&output).to_owned();
    for word in ["skipped", "xfailed", "no tests ran"] {
        ensure!(!last.contains(word), "{last}: nothing may be left out");
    }
    ensure!(last.contains("passed"), "no test ran: {last}");
    if !good {
        let failed = failed_tests(&output);
        ensure!((1..=SECOND_LOOKS).contains(&failed.len()), "{last}");
        for test in failed {
            let (good, output) = pytest_once(daemon, &[test])?;
            ensure!(good && last_line(&output).contains("1 passed"), "{last}; {test} failed alone, too");
            // Writing into a String cannot fail.
            let _ = write!(last, "; {test} passed only alone");
        }
    }
    Ok(last)
}

/// The tests that pytest's summary names as failed, for its command line.
fn failed_tests(output: &str) -> Vec<&str> {
    let mut tests: Vec<&str> = output
        .lines()
        .filter_map(|line| line.strip_prefix("FAILED ").or_else(|| line.strip_prefix("ERROR ")))
        .map(|rest| rest.split(" - ").next().unwrap_or_default().trim())
        .filter(|name| name.contains("::"))
        .collect();
    tests.sort_unstable();
    tests.dedup();
    tests
}

/// The line in which pytest counts.
fn last_line(output: &str) -> &str {
    output.lines().rev().find(|line| line.contains(" in ")).unwrap_or_default().trim_matches('=').trim()
}

/// Whether pytest was content, and what it printed.
fn pytest_once(daemon: &Path, arguments: &[&str]) -> Result<(bool, String)> {
    let mut pytest = Command::new("/usr/bin/python3");
    pytest
        .args(["-m", "pytest", "-q"])
        .args(arguments)
        .current_dir(workspace::root().join("tests/sip"))
        .env("TIPRING_BIN", daemon)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    run::step_read(&mut pytest)
}

/// Cuts of the power that the spool must survive.
const CUTS: usize = 6;
/// Cuts in which the program that does not sync must lose something at least once.
const TWIN_CUTS: usize = 3;

/// The spool on a disk whose power is cut, and whether a loss would be noticed.
fn power() -> Result<String> {
    let whole = powercut::cut(CUTS, None, false)?;
    ensure!(whole.lossy == 0, "{} of {CUTS} cuts broke a promise", whole.lossy);
    let twin = powercut::cut(TWIN_CUTS, None, true)?;
    ensure!(twin.lossy > 0, "without fdatasync nothing was lost in {TWIN_CUTS} cuts: the rig is blind");
    Ok(format!(
        "{CUTS} cuts, {} acknowledged, none lost; without fdatasync {} of {TWIN_CUTS} cuts lost some",
        whole.acknowledged, twin.lossy
    ))
}

/// Every fuzz target for a minute.
fn fuzz() -> Result<String> {
    let fuzzed = fuzz::run_all(fuzz::SECONDS)?;
    let failed: Vec<&str> =
        fuzzed.iter().filter(|one| one.fault.is_some()).map(|one| one.target.as_str()).collect();
    ensure!(
        failed.is_empty(),
        "{} of {} targets found something: {}",
        failed.len(),
        fuzzed.len(),
        failed.join(", ")
    );
    let inputs = fuzzed
        .iter()
        .map(|one| one.inputs.with_context(|| format!("{} counted no inputs", one.target)))
        .sum::<Result<u64>>()?;
    Ok(format!("{} targets for {} s each, {inputs} inputs", fuzzed.len(), fuzz::SECONDS))
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Sums the lines `test result: ok. 5 passed; 0 failed; 0 ignored; ...`.
fn cargo_count(output: &str) -> Count {
    let mut count = Count::default();
    for line in output.lines().filter_map(|line| line.strip_prefix("test result:")) {
        let number = |word: &str| {
            line.split(['.', ';'])
                .filter_map(|part| part.trim().split_once(' '))
                .find_map(|(number, what)| (what == word).then(|| number.parse::<u64>().ok())?)
                .unwrap_or(0)
        };
        count.passed += number("passed");
        count.failed += number("failed");
        count.ignored += number("ignored");
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_is_not_there_is_refused_with_those_that_are() {
        let error = chosen(&["unit".into(), "units".into()]).err().unwrap().to_string();
        assert_eq!(error, "no layer `units`; there are: check, unit, sip, power, fuzz");
        let names: Vec<&str> =
            chosen(&["fuzz".into(), "unit".into()]).unwrap().iter().map(|l| l.name).collect();
        assert_eq!(names, ["unit", "fuzz"]);
        assert_eq!(chosen(&[]).unwrap().len(), LAYERS.len());
    }

    #[test]
    fn cargos_counts_are_summed() {
        let output = "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                      test result: FAILED. 7 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.20s\n";
        assert_eq!(cargo_count(output), Count { passed: 12, failed: 2, ignored: 1 });
    }

    #[test]
    fn failed_tests_are_read_from_the_summary() {
        let output = "FAILED test_a.py::test_one[a-b] - AssertionError: x - y\n\
                      ERROR test_b.py::test_two - FileNotFoundError: z\n\
                      FAILED test_b.py::test_two\n\
                      ERROR: usage\n\
                      === 2 failed, 7 passed, 1 error in 3.10s ===\n";
        assert_eq!(failed_tests(output), ["test_a.py::test_one[a-b]", "test_b.py::test_two"]);
        assert_eq!(last_line(output), "2 failed, 7 passed, 1 error in 3.10s");
    }

    #[test]
    fn the_last_line_counts_the_layers() {
        let results = [
            ("check", Duration::from_secs(61), Ok("14 rules".to_owned())),
            ("sip", Duration::from_secs(5), Err(anyhow::anyhow!("no daemon\nmore"))),
        ];
        let table = table(&results);
        assert_eq!(table.lines().last(), Some("1 passed, 1 failed"));
        assert!(table.contains("check    passed    1:01  14 rules"), "{table}");
        assert!(table.contains("sip      FAILED    0:05  no daemon\n"), "{table}");
    }
}
