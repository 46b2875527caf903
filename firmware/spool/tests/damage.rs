//! Folders that something has been at.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod webhook;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tipring_spool::{Class, OpenError, Opened, Seq, SledStore, Spool, open};
use tipring_testkit::random::Random;
use webhook::webhook;

/// Looks, and between two of them, for a folder that this process has only just closed: sled's
/// threads let go of its file a moment later.
const LOOKS_MAX: usize = 2_000;
const LOOK_EVERY: Duration = Duration::from_millis(10);

fn opened(folder: &Path) -> Opened {
    let (_open, nothing) = sync_channel::<()>(0);
    for _ in 0..LOOKS_MAX {
        match open(folder) {
            Err(OpenError::Locked) => {
                let _ = nothing.recv_timeout(LOOK_EVERY);
            }
            other => return other.unwrap(),
        }
    }
    panic!("{} stays locked", folder.display());
}

/// Opens the folder: the spool, the webhooks in it, and whether one was set aside.
fn spool(folder: &Path) -> (Spool, BTreeSet<Seq>, bool) {
    let opened = opened(folder);
    let (spool, found) = Spool::start(Box::new(opened.store), Some(opened.mark), Box::new(|| None)).unwrap();
    (spool, found.iter().map(|found| found.seq).collect(), opened.set_aside.is_some())
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
        let (open, found, set_aside) = spool(&folder);
        assert_eq!((found.len(), set_aside, open.counters().forgotten), (300, false, 0), "{bytes} bytes");
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
        let opened = opened(&folder);
        let aside = opened.set_aside.clone().unwrap();
        assert!(aside.join("db").exists());
        drop(opened);
        let (_, found, set_aside) = spool(&folder);
        assert_eq!((found.len(), set_aside), (0, false));
        let kept = std::fs::read_dir(root.path()).unwrap().count() - 1;
        assert_eq!(kept, round.min(3));
    }
}

/// Webhooks in the spool that is damaged.
const WEBHOOKS: usize = 400;
/// Webhooks that were in it before, and were taken.
const TAKEN: usize = 200;
/// Places at which one bit is turned.
const BITS: usize = 500;
/// Places at which 4 KiB are zeroed, as a card does that loses a page.
const PAGES: usize = 200;
const PAGE_BYTES: usize = 4_096;
/// The longest that one place may take: far more than it does, and less than for ever.
const OPEN_WITHIN: Duration = Duration::from_secs(60);

/// What is done to a spool's file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Damage {
    None,
    Bit(usize),
    Page(usize),
}

impl Damage {
    fn to(self, bytes: &mut [u8]) {
        match self {
            Self::None => {}
            Self::Bit(at) => bytes[at / 8] ^= 1 << (at % 8),
            Self::Page(at) => {
                let end = (at + PAGE_BYTES).min(bytes.len());
                bytes[at..end].fill(0);
            }
        }
    }
}

/// Turns one bit, or zeroes 4 KiB, in many places: the spool opens, and either everything is
/// there, or it says that it is not.
#[test]
fn no_damage_goes_unnoticed() {
    let root = tempfile::tempdir().unwrap();
    let whole = root.path().join("whole");
    fill(&whole, WEBHOOKS + TAKEN);
    let (open, ..) = spool(&whole);
    // What is gone leaves holes in what sled has written.
    (0..TAKEN as u64).for_each(|n| open.remove(Seq(1 + n * 2)));
    drop(open);
    let (_, due, _) = spool(&whole);
    assert_eq!(due.len(), WEBHOOKS);
    remove_snapshots(&whole);
    let bytes = std::fs::read(whole.join("db")).unwrap();
    // Beyond this there is nothing to damage: sled makes its file long beforehand.
    let used = bytes.len() - bytes.iter().rev().position(|byte| *byte != 0).unwrap();
    let mut random = Random::new(1);
    let mut damages = vec![Damage::None];
    damages.extend((0..BITS).map(|_| Damage::Bit(random.below(used * 8))));
    damages.extend((0..PAGES).map(|_| Damage::Page(random.below(used))));
    let (count, next) = (damages.len(), Arc::new(AtomicUsize::new(0)));
    let shared = Arc::new((damages, bytes, root.path().to_owned()));
    let (done, results) = sync_channel(0);
    // Not scoped: one that hangs is not waited for.
    for _ in 0..std::thread::available_parallelism().unwrap().get() {
        let (done, next, shared) = (done.clone(), Arc::clone(&next), Arc::clone(&shared));
        std::thread::spawn(move || {
            let (damages, bytes, root) = &*shared;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(damage) = damages.get(n) else { return };
                let folder = root.join(format!("damaged-{n}"));
                if done.send((*damage, opened_with(*damage, bytes, &folder))).is_err() {
                    return;
                }
            }
        });
    }
    drop(done);
    let mut noticed = 0;
    for _ in 0..count {
        let (damage, (found, said)) = results.recv_timeout(OPEN_WITHIN).expect("a damaged spool hangs");
        if damage == Damage::None {
            assert_eq!((&found, said), (&due, false));
        }
        // What was taken may be there again: it is sent once more, under the same id.
        let lost: Vec<_> = due.difference(&found).collect();
        assert!(
            lost.is_empty() || said,
            "{damage:?} cost {} of {} in silence: {lost:?}",
            lost.len(),
            due.len()
        );
        noticed += usize::from(said);
    }
    assert!(noticed > BITS / 10, "only {noticed} of {count} were noticed");
}

/// The webhooks that a damaged copy of the spool `whole` holds, and whether it says that some are
/// missing.
fn opened_with(damage: Damage, bytes: &[u8], folder: &Path) -> (BTreeSet<Seq>, bool) {
    let mut changed = bytes.to_vec();
    damage.to(&mut changed);
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("db"), changed).unwrap();
    for beside in ["mark", "conf"] {
        std::fs::copy(folder.with_file_name("whole").join(beside), folder.join(beside)).unwrap();
    }
    let (spool, found, set_aside) = spool(folder);
    let counters = spool.counters();
    (found, set_aside || counters.damaged + counters.forgotten > 0)
}

/// A box that has never had a webhook, and one that has none left, open what they closed.
#[test]
fn an_empty_spool_is_no_damaged_one() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("webhooks");
    for _ in 0..3 {
        assert!(spool(&folder).1.is_empty());
        assert!(!spool(&folder).2);
    }
    fill(&folder, 1);
    let (open, found, _) = spool(&folder);
    assert_eq!(found.len(), 1);
    open.remove(Seq(1));
    drop(open);
    let (open, found, set_aside) = spool(&folder);
    assert_eq!((found.len(), set_aside, open.counters().forgotten), (0, false, 0));
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
        assert_eq!(spool(&folder).1.len(), 200);
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
