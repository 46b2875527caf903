//! Openings that do not go well: what is tried first, what is set aside, what is saved.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod webhook;

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tipring_spool::{
    Class, End, Examined, Lost, OpenError, Opened, Probe, PutError, Seq, Spool, State, Store, Why, examine,
    examine_each, open, open_probed, reopen, salvage, unsearched,
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

/// The line beside the store.
fn mark(next: u64, count: u64) -> String {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&next.to_be_bytes()), &count.to_be_bytes());
    format!("{next} {count} {checksum:08x}\n")
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
    std::fs::write(folder.join("mark"), mark(1_000, 30)).unwrap();
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

/// Every file of a folder, with what is in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for found in std::fs::read_dir(folder).unwrap() {
        let path = found.unwrap().path();
        if path.is_file() {
            files.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    files
}

fn remove_snapshots(folder: &Path) {
    for path in files(folder).into_keys() {
        if path.file_name().unwrap().to_string_lossy().starts_with("snap") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

/// Zeroes a page in the middle of what is used: sled opens the folder and clears what was after.
fn damage(folder: &Path) {
    let mut bytes = std::fs::read(folder.join("db")).unwrap();
    let used = bytes.len() - bytes.iter().rev().position(|byte| *byte != 0).unwrap();
    bytes[used / 2..used / 2 + 4_096].fill(0);
    std::fs::write(folder.join("db"), bytes).unwrap();
    remove_snapshots(folder);
}

#[test]
fn reading_a_damaged_folder_leaves_what_may_be_saved_in_it() {
    let root = tempfile::tempdir().unwrap();
    let folder = filled(root.path(), 200);
    damage(&folder);
    let before = files(&folder);
    let mut seen = 0;
    let examined = examine_each(&folder, |_, _| seen += 1).unwrap();
    assert!(examined.missing + examined.damaged > 0 && seen == examined.whole, "{examined:?}");
    assert!(files(&folder) == before, "the folder was changed");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1, "the copy is gone");
}

#[test]
fn a_store_that_is_short_or_gone_is_missed() {
    let root = tempfile::tempdir().unwrap();
    let folder = filled(root.path(), 200);
    remove_snapshots(&folder);
    let bytes = std::fs::read(folder.join("db")).unwrap();
    let used = bytes.len() - bytes.iter().rev().position(|byte| *byte != 0).unwrap();
    std::fs::write(folder.join("db"), &bytes[..used / 2]).unwrap();
    let is_said = match examine(&folder) {
        Ok(examined) => examined.missing > 0,
        Err(error) => matches!(error, OpenError::Fresh(_)),
    };
    assert!(is_said);
    std::fs::remove_file(folder.join("db")).unwrap();
    assert_eq!(examine(&folder).unwrap(), Examined { whole: 0, damaged: 0, missing: 199 });
    assert!(!folder.join("db").exists());
    std::fs::remove_file(folder.join("mark")).unwrap();
    assert!(matches!(examine(&folder), Err(OpenError::Io(_))), "there is no spool");
}

#[test]
fn what_a_killed_start_had_copied_or_set_aside_is_searched_by_the_next() {
    let root = tempfile::tempdir().unwrap();
    let folder = filled(root.path(), 50);
    let left = root.path().join("webhooks.before");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("db"), b"from a start that was killed").unwrap();
    let opened = open(&folder).unwrap();
    assert_eq!(std::fs::read(left.join("db")).unwrap(), b"from a start that was killed");
    let [lost] = opened.unsearched.as_slice() else { panic!("{:?}", opened.unsearched) };
    assert_eq!(lost.folder(), left);
    assert_ne!(opened.before.as_ref().unwrap().folder(), left, "there is a new one beside it");
    drop(opened);
    assert!(left.exists(), "it was not searched");
    let opened = open(&folder).unwrap();
    opened.unsearched.into_iter().for_each(|lost| lost.searched().unwrap());
    drop(opened.before);
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    drop(opened.store);

    std::fs::write(root.path().join("webhooks.opening"), []).unwrap();
    let opened = open_probed(&folder, |_| Probe::Fails).unwrap();
    let aside = opened.set_aside.clone().unwrap();
    assert_eq!(opened.unsearched.iter().map(Lost::folder).collect::<Vec<_>>(), [aside.as_path()]);
    drop(opened);
    let mut unsearched = unsearched(&folder);
    assert_eq!(unsearched.len(), 1, "again at the next start");
    unsearched.remove(0).searched().unwrap();
    assert!(tipring_spool::unsearched(&folder).is_empty());
    assert!(aside.join("db").exists(), "it is kept");
}

/// A start that is killed between setting a folder aside and beginning a fresh one.
#[test]
fn numbers_go_on_after_a_folder_that_was_set_aside_by_a_killed_start() {
    let root = tempfile::tempdir().unwrap();
    let folder = filled(root.path(), 50);
    std::fs::rename(&folder, root.path().join("webhooks.unreadable-1")).unwrap();
    let opened = open(&folder).unwrap();
    assert_eq!(opened.unsearched.len(), 1);
    let (fresh, _) = spool(opened);
    assert_eq!(fresh.counters().forgotten, 49);
    let seq = fresh.put(&webhook(99, Class::Final, 10)).blocking_recv().unwrap().unwrap();
    assert_eq!(seq, Seq(51));
}

#[test]
fn the_loss_of_all_is_said_until_it_is_found_again() {
    let root = tempfile::tempdir().unwrap();
    let folder = filled(root.path(), 50);
    std::fs::write(folder.join("db"), []).unwrap();
    remove_snapshots(&folder);
    let opened = open(&folder).unwrap();
    assert!(opened.set_aside.is_some());
    let (fresh, _) = spool(opened);
    assert_eq!(fresh.counters().forgotten, 49);
    fresh.found_again(40);
    assert_eq!(fresh.counters().forgotten, 9);
    fresh.found_again(10);
    assert_eq!(fresh.counters().forgotten, 0);
}

#[test]
fn a_spool_is_nobody_elses_to_read() {
    let root = tempfile::tempdir().unwrap();
    let folder = filled(root.path(), 3);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    for path in files(&folder).into_keys() {
        std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    }
    let opened = open(&folder).unwrap();
    assert_eq!((mode(&folder), mode(opened.before.as_ref().unwrap().folder())), (0o700, 0o700));
    for path in files(&folder).into_keys() {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_folder_that_is_removed_under_the_spool_is_noticed_and_what_waited_in_it_missed() {
    let root = tempfile::tempdir().unwrap();
    let folder = filled(root.path(), 5);
    let opened = open(&folder).unwrap();
    let again = folder.clone();
    let reopen = move || reopen(&again).map(|(store, mark)| (Box::new(store) as _, Some(mark)));
    let (spool, found) = Spool::start(Box::new(opened.store), Some(opened.mark), Box::new(reopen)).unwrap();
    assert_eq!(found.len(), 3);
    std::fs::remove_dir_all(&folder).unwrap();
    let put = spool.put(&webhook(7, Class::Final, 10)).blocking_recv().unwrap();
    assert_eq!(put, Err(PutError::Held(Seq(6))));
    spool.retry();
    let put = spool.put(&webhook(8, Class::Final, 10)).blocking_recv().unwrap();
    assert_eq!(put, Ok(Seq(7)));
    let counters = spool.counters();
    assert_eq!((counters.forgotten, counters.waiting, counters.held), (4, 2, 0));
    drop(spool);
    assert_eq!(examine(&folder).unwrap(), Examined { whole: 2, damaged: 0, missing: 0 });
}

#[test]
fn a_file_that_was_put_in_the_place_of_the_stores_own_is_not_taken_for_it() {
    let root = tempfile::tempdir().unwrap();
    let folder = filled(root.path(), 5);
    let mut opened = open(&folder).unwrap();
    assert!(opened.store.look().is_ok() && opened.store.sync().is_ok());
    let bytes = std::fs::read(folder.join("db")).unwrap();
    std::fs::rename(folder.join("db"), folder.join("db.old")).unwrap();
    std::fs::write(folder.join("db"), bytes).unwrap();
    assert!(opened.store.look().is_err() && opened.store.sync().is_err());
}
