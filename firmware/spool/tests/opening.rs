//! Openings that do not go well: what is tried first, what is set aside, what is saved.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod webhook;

use std::path::{Path, PathBuf};

use tipring_spool::{
    Class, End, Examined, OpenError, Opened, Probe, Seq, Spool, State, Why, examine, open, open_probed,
    salvage,
};
use webhook::webhook;

fn spool(opened: Opened) -> (Spool, usize) {
    let (spool, found) = Spool::start(Box::new(opened.store), Some(opened.mark), Box::new(|| None)).unwrap();
    (spool, found.len())
}

/// A folder with so many webhooks, of which the first was sent and the second is parked.
fn filled(root: &Path, count: u64) -> PathBuf {
    let folder = root.join("webhooks");
    let (spool, _) = spool(open(&folder).unwrap());
    for n in 0..count {
        assert!(spool.put(&webhook(n, Class::Final, 500)).blocking_recv().unwrap().is_ok());
    }
    let end = End { at_unix_ms: 1, why: Why::Taken, status: Some(200), attempts: 1, reply: String::new() };
    let mut sent = webhook(0, Class::Final, 500);
    sent.state = State::Sent(end.clone());
    spool.settle(Seq(1), &sent);
    let mut parked = webhook(1, Class::Final, 500);
    parked.state = State::Parked(End { why: Why::Refused, ..end });
    spool.settle(Seq(2), &parked);
    folder
}

#[test]
fn a_folder_that_did_not_open_last_time_is_tried_elsewhere_first() {
    let root = tempfile::tempdir().unwrap();
    let folder = filled(root.path(), 10);
    let marker = root.path().join("webhooks.opening");
    assert!(!marker.exists(), "an opening that ended leaves nothing behind");
    let fine = open_probed(&folder, |_| panic!("there is no reason to ask")).unwrap();
    assert_eq!((fine.set_aside.is_some(), spool(fine).1), (false, 8));

    // It opens elsewhere: it is not given up for a power cut in the middle of an opening.
    std::fs::write(&marker, []).unwrap();
    let mut asked = 0;
    let probe = |path: &Path| {
        assert_eq!(path, folder);
        asked += 1;
        Probe::Opens
    };
    let opened = open_probed(&folder, probe).unwrap();
    assert_eq!((asked, opened.set_aside.is_some(), spool(opened).1), (1, false, 8));
    assert!(!marker.exists());

    std::fs::write(&marker, []).unwrap();
    let opened = open_probed(&folder, |_| Probe::Fails).unwrap();
    assert!(opened.set_aside.as_ref().unwrap().join("db").exists());
    let (fresh, waiting) = spool(opened);
    assert_eq!(waiting, 0);
    let seq = fresh.put(&webhook(9, Class::Final, 10)).blocking_recv().unwrap().unwrap();
    assert!(seq > Seq(10), "numbers go on");
    assert!(!marker.exists());
}

#[test]
fn from_a_folder_that_no_engine_opens_whole_webhooks_are_saved() {
    let root = tempfile::tempdir().unwrap();
    let folder = filled(root.path(), 200);
    let db = folder.join("db");
    let mut bytes = std::fs::read(&db).unwrap();
    // What sled keeps at the head of each of its segments is gone.
    for at in (0..bytes.len()).step_by(2 * 1024 * 1024) {
        let end = (at + 20).min(bytes.len());
        bytes[at..end].fill(0xa5);
    }
    std::fs::write(&db, bytes).unwrap();
    for found in std::fs::read_dir(&folder).unwrap() {
        let path = found.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let opened = open(&folder).unwrap();
    let aside = opened.set_aside.clone().unwrap();
    let (fresh, _) = spool(opened);
    let (mut restored, mut parked) = (0, 0);
    let found = salvage(
        &aside,
        |_| true,
        |batch| {
            parked += batch.iter().filter(|entry| matches!(entry.state, State::Parked(_))).count();
            restored += fresh.import(batch).blocking_recv().unwrap().unwrap().iter().flatten().count();
        },
    )
    .unwrap();
    assert_eq!((found.whole, found.sent, found.old), (199, 1, 0));
    assert_eq!((restored, parked), (199, 1));
    assert_eq!((fresh.counters().waiting, fresh.counters().parked), (198, 1));
    // Once more brings nothing twice.
    salvage(
        &aside,
        |_| true,
        |batch| {
            assert!(fresh.import(batch).blocking_recv().unwrap().unwrap().iter().all(Option::is_none));
        },
    )
    .unwrap();
}

/// The file that tells how many there were is written a while after them.
#[test]
fn a_store_that_has_lost_all_before_its_mark_was_written_is_found_out() {
    let root = tempfile::tempdir().unwrap();
    let folder = filled(root.path(), 3);
    std::fs::remove_file(folder.join("mark")).unwrap();
    let mut bytes = std::fs::read(folder.join("db")).unwrap();
    bytes[..20].fill(0xa5);
    std::fs::write(folder.join("db"), bytes).unwrap();
    for found in std::fs::read_dir(&folder).unwrap() {
        let path = found.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let opened = open(&folder).unwrap();
    let aside = opened.set_aside.clone().unwrap();
    assert_eq!(spool(opened).1, 0);
    assert_eq!(salvage(&aside, |_| true, |_| ()).unwrap().whole, 2);
}

#[test]
fn what_a_damaged_but_open_store_has_forgotten_is_found_in_the_copy_made_before() {
    let root = tempfile::tempdir().unwrap();
    let folder = filled(root.path(), 200);
    let db = folder.join("db");
    let mut bytes = std::fs::read(&db).unwrap();
    let at = bytes.len() / 2;
    bytes[at..at + 4_096].fill(0);
    std::fs::write(&db, bytes).unwrap();
    for found in std::fs::read_dir(&folder).unwrap() {
        let path = found.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let mut opened = open(&folder).unwrap();
    let before = opened.before.take();
    let searched = before.as_ref().map(|before| before.folder().to_owned());
    let searched = searched.or_else(|| opened.set_aside.clone()).unwrap();
    let (spool, waiting) = spool(opened);
    assert!(waiting < 198, "the damage shows");
    let mut restored = 0;
    salvage(
        &searched,
        |_| true,
        |batch| {
            restored += spool.import(batch).blocking_recv().unwrap().unwrap().iter().flatten().count();
        },
    )
    .unwrap();
    let counters = spool.counters();
    assert!(restored > 0 && counters.waiting >= 180, "{restored} restored: {counters:?}");
    drop(before);
    assert!(!root.path().join("webhooks.before").exists());
}

#[test]
fn a_folder_is_examined_without_being_changed() {
    let root = tempfile::tempdir().unwrap();
    let folder = filled(root.path(), 30);
    assert_eq!(examine(&folder).unwrap(), Examined { whole: 30, damaged: 0, missing: 0 });
    assert!(matches!(examine(&root.path().join("nowhere")), Err(OpenError::Io(_))));
    assert!(!root.path().join("nowhere").exists());
    std::fs::write(folder.join("mark"), "1000").unwrap();
    assert!(examine(&folder).unwrap().missing > 900);
    let held = open(&folder).unwrap();
    assert!(matches!(examine(&folder), Err(OpenError::Locked)));
    drop(held);
    let length = std::fs::metadata(folder.join("db")).unwrap().len();
    std::fs::write(folder.join("db"), vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
    assert!(matches!(examine(&folder), Err(OpenError::Fresh(_))));
    assert_eq!(
        std::fs::read_dir(root.path())
            .unwrap()
            .filter(|found| { found.as_ref().unwrap().file_name().to_string_lossy().contains("unreadable") })
            .count(),
        0
    );
}
