//! The spool on sled, in a process whose disk fails: full from the n-th operation on, or with a
//! sync that says it could not write.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod webhook;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tipring_spool::{Class, OpenError, Seq, Spool, open, reopen};
use webhook::webhook;

/// Names the folder of its case to the process whose disk fails.
const CASE: &str = "TIPRING_SPOOL_FAULT_TEST_CASE";
/// Tells it that its disk goes on failing while the store is opened anew.
const SYNCS_NEVER: &str = "TIPRING_SPOOL_FAULT_TEST_SYNCS_NEVER";
/// The first operation at which the disk is full, and so on for each up to the last.
const FULL_AT: std::ops::RangeInclusive<usize> = 1..=200;
/// The same for the syncs that fail.
const SYNC_AT: std::ops::RangeInclusive<usize> = 1..=20;
/// Webhooks that a case puts: more operations than there are places.
const PUTS: u64 = 80;
/// Cases at the same time. Most of them wait until a store that failed is opened anew.
const AT_ONCE: usize = 64;
/// The longest that a case may take: whatever is asked of the spool is answered.
const ENDED_WITHIN: Duration = Duration::from_secs(30);
/// How its process ends if it takes longer.
const NEVER_ENDED: i32 = 3;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// Where everything of a case is.
struct Case(PathBuf);

impl Case {
    /// What the disk that fails holds.
    fn disk(&self) -> PathBuf {
        self.0.join("disk")
    }

    fn webhooks(&self) -> PathBuf {
        self.disk().join("webhooks")
    }

    fn hit(&self) -> PathBuf {
        self.0.join("hit")
    }

    fn over(&self) -> PathBuf {
        self.0.join("over")
    }
}

fn say(line: &str) {
    let mut out = stdout();
    writeln!(out, "{line}").unwrap();
}

/// What a case's process does: puts and removes until it is refused, goes on for a while, ends
/// the fault if it is one that ends, and puts until it is taken again.
fn work(case: &Case) {
    let (_ends, ended) = sync_channel::<()>(0);
    std::thread::spawn(move || {
        if ended.recv_timeout(ENDED_WITHIN) == Err(RecvTimeoutError::Timeout) {
            std::process::exit(NEVER_ENDED);
        }
    });
    let first = open(&case.webhooks());
    let was_begun = first.is_ok();
    let (_open, nothing) = sync_channel::<()>(0);
    let opened = first.or_else(|error| {
        say(&format!("not opened: {error}"));
        File::create(case.over()).unwrap();
        loop {
            match open(&case.webhooks()) {
                // sled's threads let go of the file a moment after it was closed.
                Err(OpenError::Locked) => {
                    let _ = nothing.recv_timeout(LOOK_EVERY);
                }
                other => return other,
            }
        }
    });
    let opened = opened.unwrap();
    // A folder that could not even be begun has nothing in it, and may be in the way.
    assert!(opened.set_aside.is_none() || !was_begun, "what is merely full was set aside");
    let folder = case.webhooks();
    let is_reopened = Arc::new(AtomicBool::new(false));
    let tells = Arc::clone(&is_reopened);
    let again = move || {
        let (store, mark) = reopen(&folder)?;
        say("reopened");
        tells.store(true, Ordering::SeqCst);
        Some((Box::new(store) as _, Some(mark)))
    };
    let (spool, found) = Spool::start(Box::new(opened.store), Some(opened.mark), Box::new(again)).unwrap();
    assert!(found.is_empty());
    let mut held = Vec::new();
    let mut put = |n: u64| {
        // Two at a time: one sync for both.
        let answers = [n, n + 1].map(|n| spool.put(&webhook(n, Class::Final, 200)));
        let mut all = Ok(());
        for answer in answers {
            match answer.blocking_recv().unwrap() {
                Ok(Seq(seq)) => {
                    say(&format!("put {seq}"));
                    held.push(Seq(seq));
                }
                Err(error) => {
                    say("refused");
                    all = Err(error);
                }
            }
        }
        if n % 10 < 6 && !held.is_empty() {
            let oldest = held.remove(0);
            // Said before it is done: from here on both outcomes are right.
            say(&format!("removing {}", oldest.0));
            spool.remove(oldest);
        }
        all
    };
    let refused = (0..PUTS).step_by(2).find(|n| put(*n).is_err());
    for n in 0..5 {
        // The disk may be well again by now, and the store is not to be believed all the same.
        let _ = put(refused.map_or(PUTS, |at| 1_000 + at) + 2 * n);
    }
    if std::env::var_os(SYNCS_NEVER).is_some() {
        while !is_reopened.load(Ordering::SeqCst) {
            assert!(put(3_000).is_err());
            let _ = nothing.recv_timeout(LOOK_EVERY);
        }
        // Opened anew it may be believed, and it fails anew.
        assert!(put(4_000).is_err());
    }
    File::create(case.over()).unwrap();
    while put(2_000).is_err() {
        let _ = nothing.recv_timeout(LOOK_EVERY);
    }
    drop(spool);
    say("ended");
}

/// The shim, built once for all cases of a test.
fn shim(folder: &Path) -> PathBuf {
    let library = folder.join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .status()
        .unwrap_or_else(|error| panic!("cc: {error}; apt-get install gcc libc6-dev"));
    assert!(status.success());
    library
}

/// A disk that fails.
#[derive(Clone, Copy, Debug)]
struct Fault {
    operation: &'static str,
    at: usize,
    errno: i32,
    lasts: &'static str,
}

/// Runs one case. Gives what is wrong with it, if anything is; and whether the fault was met.
fn run(test: &str, library: &Path, root: &Path, fault: Fault) -> (bool, Result<(), String>) {
    let case = Case(root.join(format!("{}-{}-{}", fault.operation, fault.lasts, fault.at)));
    std::fs::create_dir_all(case.disk()).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    if (fault.errno, fault.lasts) == (EIO, "on") {
        command.env(SYNCS_NEVER, "1");
    }
    let output = command
        .args(["--exact", test, "--nocapture"])
        .env(CASE, &case.0)
        .env("LD_PRELOAD", library)
        .env("FAULT_FOLDER", case.disk())
        .env("FAULT_OPERATION", fault.operation)
        .env("FAULT_AT", fault.at.to_string())
        .env("FAULT_ERRNO", fault.errno.to_string())
        .env("FAULT_LASTS", fault.lasts)
        .env("FAULT_HIT", case.hit())
        .env("FAULT_OVER", case.over())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let verdict = verdict(&case, output.status, &said)
        .map_err(|what| format!("{fault:?}: {what}\n{said}{}", String::from_utf8_lossy(&output.stderr)));
    let hit = case.hit().exists();
    std::fs::remove_dir_all(&case.0).unwrap();
    (hit, verdict)
}

/// Compares what the process said with what is in its folder now.
fn verdict(case: &Case, ended: ExitStatus, said: &str) -> Result<(), String> {
    if ended.code() == Some(NEVER_ENDED) {
        return Err("the spool does not answer, or accepts nothing any more".to_owned());
    }
    if !ended.success() || !said.lines().any(|line| line == "ended") {
        return Err(format!("the process ended with {ended}"));
    }
    let (mut due, mut used) = (BTreeSet::new(), BTreeSet::new());
    let mut is_refused = false;
    for line in said.lines() {
        let number = |word: &str| line.strip_prefix(word)?.parse::<u64>().ok();
        if let Some(seq) = number("put ") {
            if is_refused {
                return Err(format!("{seq} was acknowledged by a store that had failed"));
            }
            if !used.insert(seq) {
                return Err(format!("number {seq} was used twice"));
            }
            due.insert(seq);
        } else if let Some(seq) = number("removing ") {
            due.remove(&seq);
        } else if line == "refused" {
            is_refused = true;
        } else if line == "reopened" {
            is_refused = false;
        }
    }
    let opened = open(&case.webhooks()).map_err(|error| error.to_string())?;
    if opened.set_aside.is_some() {
        return Err("the spool was set aside".to_owned());
    }
    let (spool, found) = Spool::start(Box::new(opened.store), Some(opened.mark), Box::new(|| None)).unwrap();
    let counters = spool.counters();
    if counters.damaged + counters.forgotten > 0 {
        return Err(format!("{counters:?}"));
    }
    let found: BTreeSet<u64> = found.iter().map(|found| found.seq.0).collect();
    let lost: Vec<_> = due.difference(&found).collect();
    if lost.is_empty() { Ok(()) } else { Err(format!("{lost:?} of {} are lost", used.len())) }
}

/// Runs all cases, many at a time. Gives how many met their fault.
fn run_all(test: &str, faults: &[Fault]) -> usize {
    let root = tempfile::tempdir().unwrap();
    let library = shim(root.path());
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let hits = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (hit, verdict) = run(test, &library, root.path(), *fault);
                    hits.fetch_add(usize::from(hit), Ordering::Relaxed);
                    if let Err(what) = verdict {
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let heads: Vec<_> = wrong.iter().filter_map(|what: &String| what.lines().next()).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} faults are not got over:\n{}\nthe first:\n{}",
        wrong.len(),
        faults.len(),
        heads.join("\n"),
        wrong[0]
    );
    hits.into_inner()
}

#[test]
fn a_disk_that_is_full_at_any_operation_loses_nothing_and_is_got_over() {
    if let Some(case) = std::env::var_os(CASE) {
        return work(&Case(case.into()));
    }
    let faults: Vec<Fault> =
        FULL_AT.map(|at| Fault { operation: "any", at, errno: ENOSPC, lasts: "on" }).collect();
    let test = "a_disk_that_is_full_at_any_operation_loses_nothing_and_is_got_over";
    assert_eq!(run_all(test, &faults), faults.len(), "a fault was not met");
}

#[test]
fn after_a_sync_that_failed_a_store_is_not_believed_until_it_is_opened_anew() {
    if let Some(case) = std::env::var_os(CASE) {
        return work(&Case(case.into()));
    }
    let faults: Vec<Fault> = ["once", "on"]
        .into_iter()
        .flat_map(|lasts| SYNC_AT.map(move |at| Fault { operation: "fdatasync", at, errno: EIO, lasts }))
        .collect();
    let test = "after_a_sync_that_failed_a_store_is_not_believed_until_it_is_opened_anew";
    assert_eq!(run_all(test, &faults), faults.len(), "a fault was not met");
}
