//! Folders that something has been at.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod webhook;

use std::path::Path;

use tipring_spool::{Class, OpenError, SledStore, Spool, open};
use webhook::webhook;

/// Opens the folder: the spool, how many webhooks it holds, and whether one was set
/// aside.
fn spool(folder: &Path) -> (Spool, usize, bool) {
    let opened = open(folder).unwrap();
    let (spool, found) = Spool::start(Box::new(opened.store), Some(opened.mark), Box::new(|| None)).unwrap();
    (spool, found.len(), opened.set_aside.is_some())
}

fn fill(folder: &Path, count: usize) {
    let (open, ..) = spool(folder);
    let answers: Vec<_> = (0..count).map(|n| open.put(&webhook(n as u64, Class::Final, 500))).collect();
    assert!(answers.into_iter().all(|answer| answer.blocking_recv().unwrap().is_ok()));
}

/// A snapshot would hide what is done to the file.
fn remove_snapshots(folder: &Path) {
    for found in std::fs::read_dir(folder).unwrap() {
        let path = found.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_snapshot_that_was_interrupted_does_not_keep_the_spool_shut() {
    for bytes in [0, 1, 4_096] {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("webhooks");
        fill(&folder, 300);
        std::fs::write(folder.join("snap.0000000000000000.generating"), vec![7; bytes]).unwrap();
        let (open, count, set_aside) = spool(&folder);
        assert_eq!((count, set_aside, open.counters().forgotten), (300, false, 0), "{bytes} bytes");
    }
}

#[test]
fn a_folder_that_cannot_be_read_is_set_aside_and_kept_and_a_fresh_one_begun() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("webhooks");
    for round in 1..=5 {
        fill(&folder, 300);
        let length = std::fs::metadata(folder.join("db")).unwrap().len();
        std::fs::write(folder.join("db"), vec![0xa5; length as usize]).unwrap();
        remove_snapshots(&folder);
        let opened = open(&folder).unwrap();
        let aside = opened.set_aside.clone().unwrap();
        assert!(aside.join("db").exists());
        drop(opened);
        let (_, count, set_aside) = spool(&folder);
        assert_eq!((count, set_aside), (0, false));
        let kept = std::fs::read_dir(root.path()).unwrap().count() - 1;
        assert_eq!(kept, round.min(3));
    }
}

/// Zeroes 4 KiB, or turns one bit, in many places: either everything is there, or the
/// spool says that it is not.
#[test]
fn no_damage_goes_unnoticed() {
    let root = tempfile::tempdir().unwrap();
    let whole = root.path().join("whole");
    fill(&whole, 300);
    remove_snapshots(&whole);
    let bytes = std::fs::read(whole.join("db")).unwrap();
    let mark = std::fs::read(whole.join("mark")).unwrap();
    let conf = std::fs::read(whole.join("conf")).unwrap();
    let mut noticed = 0;
    for n in 0..=70 {
        let at = bytes.len() / 70 * n;
        let mut changed = bytes.clone();
        if n == 70 {
            // The control: a copy as it was.
        } else if n % 2 == 0 {
            changed[at] ^= 1 << (n % 8);
        } else {
            let end = (at + 4_096).min(bytes.len());
            changed[at..end].fill(0);
        }
        let folder = root.path().join(format!("damaged-{n}"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("db"), changed).unwrap();
        std::fs::write(folder.join("mark"), &mark).unwrap();
        std::fs::write(folder.join("conf"), &conf).unwrap();
        let (open, count, set_aside) = spool(&folder);
        let counters = open.counters();
        let said = set_aside || counters.damaged + counters.forgotten > 0;
        if n == 70 {
            assert_eq!((count, said), (300, false));
        } else if count < 300 {
            assert!(
                said,
                "damage at {at} of {} cost {} webhooks in silence: {counters:?}",
                bytes.len(),
                300 - count
            );
            noticed += 1;
        }
    }
    assert!(noticed > 0);
}

/// A box that has never had a webhook, and one that has none left, open what they closed.
#[test]
fn an_empty_spool_is_no_damaged_one() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("webhooks");
    for _ in 0..3 {
        assert_eq!(spool(&folder).1, 0);
        assert!(!spool(&folder).2);
    }
    fill(&folder, 1);
    let (open, found, _) = spool(&folder);
    assert_eq!(found, 1);
    open.remove(tipring_spool::Seq(1));
    drop(open);
    let (open, found, set_aside) = spool(&folder);
    assert_eq!((found, set_aside, open.counters().forgotten), (0, false, 0));
}

/// sled never syncs its blob files: nothing that is acknowledged may be in one.
#[test]
fn no_record_is_so_long_that_it_becomes_a_blob() {
    for bytes in [4_000, 11_000, 17_000] {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("webhooks");
        let (open, ..) = spool(&folder);
        let entry = webhook(1, Class::Final, bytes);
        let answers: Vec<_> = (0..200).map(|_| open.put(&entry)).collect();
        assert!(answers.into_iter().all(|answer| answer.blocking_recv().unwrap().is_ok()));
        drop(open);
        let blobs = std::fs::read_dir(folder.join("blobs")).map_or(0, Iterator::count);
        assert_eq!(blobs, 0, "records of {bytes} bytes");
        assert_eq!(spool(&folder).1, 200);
    }
}

#[test]
fn one_spool_has_one_owner() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("webhooks");
    let _first = open(&folder).unwrap();
    assert!(matches!(open(&folder), Err(OpenError::Locked)));
    assert!(SledStore::open(&folder).is_err());
}
