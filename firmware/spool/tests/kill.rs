//! The spool on sled, in a process that is killed in the middle of its work, 200 times.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod webhook;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use tipring_spool::{Class, Seq, Spool, open, reopen};
use webhook::webhook;

/// Names the folder to the process that is to be killed.
const FOLDER: &str = "TIPRING_SPOOL_KILL_TEST_FOLDER";
const KILLS: usize = 200;

fn spool(folder: &Path) -> (Spool, Vec<Seq>) {
    let opened = open(folder).unwrap();
    assert!(opened.set_aside.is_none(), "the spool could not be read");
    let again = folder.to_owned();
    let again = move || reopen(&again).map(|(store, mark)| (Box::new(store) as _, Some(mark)));
    let (spool, found) = Spool::start(Box::new(opened.store), Some(opened.mark), Box::new(again)).unwrap();
    let counters = spool.counters();
    assert_eq!((counters.damaged, counters.forgotten), (0, 0));
    (spool, found.iter().map(|found| found.seq).collect())
}

/// Puts and removes for ever, and says each thing only once it is acknowledged.
fn work(folder: &Path) {
    let (spool, mut held) = spool(folder);
    let mut out = std::io::stdout();
    for n in 0.. {
        let seq = spool.put(&webhook(n, Class::Final, 500)).blocking_recv().unwrap().unwrap();
        held.push(seq);
        writeln!(out, "put {}", seq.0).unwrap();
        if n % 5 != 0 {
            let oldest = held.remove(0);
            // Said before it is done: from here on both outcomes are right.
            writeln!(out, "remove {}", oldest.0).unwrap();
            out.flush().unwrap();
            spool.remove(oldest);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_in_two_hundred_kills() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return work(Path::new(&folder));
    }
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("webhooks");
    let (mut held, mut highest, mut acknowledged) = (BTreeSet::new(), 0, 0);
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "nothing_acknowledged_is_lost_in_two_hundred_kills", "--nocapture"])
            .env(FOLDER, &folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 1 + kill % 37;
        for line in lines.by_ref() {
            let line = line.unwrap();
            let seq = |name: &str| line.strip_prefix(name)?.parse::<u64>().ok();
            if let Some(seq) = seq("put ") {
                assert!(seq > highest, "{seq} was used before");
                (highest, acknowledged) = (seq, acknowledged + 1);
                held.insert(seq);
                left -= 1;
            } else if let Some(seq) = seq("remove ") {
                held.remove(&seq);
            }
            if left == 0 {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts as well.
        for line in lines.map_while(Result::ok) {
            let seq = |name: &str| line.strip_prefix(name)?.parse::<u64>().ok();
            if let Some(seq) = seq("put ") {
                (highest, acknowledged) = (seq, acknowledged + 1);
                held.insert(seq);
            } else if let Some(seq) = seq("remove ") {
                held.remove(&seq);
            }
        }
        let (spool, found) = self::spool(&folder);
        let found: BTreeSet<u64> = found.iter().map(|seq| seq.0).collect();
        let lost: Vec<_> = held.difference(&found).collect();
        assert!(lost.is_empty(), "kill {kill}: {lost:?} of {acknowledged} are lost");
        // Removals that were not synced come back; the next round takes them again.
        for seq in found.difference(&held) {
            spool.remove(Seq(*seq));
        }
    }
    assert!(acknowledged >= KILLS, "{acknowledged}");
}
