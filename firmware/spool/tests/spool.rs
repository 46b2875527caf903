//! The spool over a store that fails and forgets on demand.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod webhook;

use std::collections::BTreeSet;

use tipring_spool::{Class, Entry, Fault, MemoryStore, PutError, Seq, Spool};
use webhook::webhook;

fn spool(store: &MemoryStore) -> (Spool, Vec<Seq>) {
    let again = store.clone();
    let (spool, found) =
        Spool::start(Box::new(store.clone()), None, Box::new(move || Some((Box::new(again.clone()), None))))
            .unwrap();
    assert!(found.iter().all(|found| found.server == "https://example.com:8443"));
    (spool, found.iter().map(|found| found.seq).collect())
}

fn put(spool: &Spool, entry: &Entry) -> Result<Seq, PutError> {
    spool.put(entry).blocking_recv().unwrap()
}

#[test]
fn what_was_acknowledged_survives_the_loss_of_power_and_numbers_go_on() {
    let store = MemoryStore::default();
    let mut acknowledged = BTreeSet::new();
    let mut highest = 0;
    for round in 0..20 {
        let (spool, found) = spool(&store);
        assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), acknowledged, "round {round}");
        for n in 0..10 {
            let seq = put(&spool, &webhook(n, Class::Final, 10)).unwrap();
            assert!(seq.0 > highest, "{seq:?} was used before");
            highest = seq.0;
            acknowledged.insert(seq);
        }
        if round % 2 == 1 {
            // Everything is taken: the numbers must go on all the same.
            for seq in std::mem::take(&mut acknowledged) {
                spool.remove(seq);
            }
        }
        drop(spool);
        store.cut();
    }
}

#[test]
fn a_full_disk_at_any_write_loses_nothing_acknowledged_and_is_got_over() {
    for at in 0..40 {
        let store = MemoryStore::default();
        let (spool, _) = spool(&store);
        store.set_fault(Some(Fault::FullAt(at)));
        let mut acknowledged = Vec::new();
        for n in 0..20 {
            if let Ok(seq) = put(&spool, &webhook(n, Class::Final, 10)) {
                acknowledged.push(seq);
            }
        }
        assert!(acknowledged.len() < 20 || at >= 20, "the fault at {at} did not show");
        drop(spool);
        store.set_fault(None);
        store.cut();
        let (spool, found) = self::spool(&store);
        for seq in &acknowledged {
            assert!(found.contains(seq), "fault at {at}: {seq:?} is lost");
            assert!(spool.get(*seq).blocking_recv().unwrap().unwrap().is_some());
        }
        assert!(put(&spool, &webhook(0, Class::Final, 10)).is_ok());
    }
}

#[test]
fn after_a_sync_that_failed_nothing_more_is_acknowledged_by_that_store() {
    for at in 0..10 {
        let store = MemoryStore::default();
        let (spool, _) = spool(&store);
        store.set_fault(Some(Fault::SyncAt(at)));
        let answers: Vec<_> = (0..12).map(|n| put(&spool, &webhook(n, Class::Final, 10))).collect();
        let failed = answers.iter().position(Result::is_err).unwrap();
        assert_eq!(failed as u64, at);
        // The store itself would succeed again: that must not be believed.
        assert!(answers[failed..].iter().all(|answer| *answer == Err(PutError::Broken)));
        assert_eq!(spool.counters().failures, 1);
        assert!(spool.last_failure().is_some());
        assert_eq!(spool.get(Seq(1)).blocking_recv().unwrap(), Err(PutError::Broken));
    }
}

#[test]
fn a_damaged_record_is_counted_and_harms_no_other() {
    let store = MemoryStore::default();
    let (spool, _) = spool(&store);
    let seqs: Vec<_> = (0..5).map(|n| put(&spool, &webhook(n, Class::Final, 10)).unwrap()).collect();
    drop(spool);
    store.damage(seqs[2]);
    let (spool, found) = self::spool(&store);
    assert_eq!(found, [seqs[0], seqs[1], seqs[3], seqs[4]]);
    assert_eq!(spool.counters().damaged, 1);
    assert_eq!(spool.get(seqs[2]).blocking_recv().unwrap(), Ok(None));
}

#[test]
fn progress_makes_room_for_what_is_dearer_and_each_drop_is_counted() {
    let store = MemoryStore::default();
    let (spool, _) = spool(&store);
    let bytes = 16_000;
    let put_all =
        |class, count: u64| (0..count).filter(|n| put(&spool, &webhook(*n, class, bytes)).is_ok()).count();
    let progress = put_all(Class::Progress, 3_500);
    assert_eq!(progress, 3_500);
    let before = spool.counters();
    assert!(before.bytes <= 64 * 1024 * 1024 / 5 * 4);
    assert_eq!(before.waiting + before.dropped[0], 3_500);
    assert!(before.dropped[0] > 0);
    let kept = put_all(Class::Final, 3_500);
    let after = spool.counters();
    assert!(after.bytes <= 64 * 1024 * 1024);
    assert_eq!(after.waiting, kept as u64, "all progress has made room");
    assert_eq!(after.dropped, [3_500, 3_500 - kept as u64]);
    assert_eq!(put(&spool, &webhook(0, Class::Final, bytes)), Err(PutError::Full));
    assert_eq!(
        put(&spool, &webhook(0, Class::Final, 50_000)),
        Err(PutError::Entry(tipring_spool::EntryError::TooLong))
    );
}
