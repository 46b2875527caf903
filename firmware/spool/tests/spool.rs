//! The spool over a store that fails and forgets on demand.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod webhook;

use std::collections::BTreeSet;

use tipring_spool::{
    Change, Class, End, Entry, Fault, MemoryStore, PutError, SEQ_MAX, Seq, Shelf, Spool, State, Store, Why,
};
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
        assert!(answers[failed..].iter().all(|answer| matches!(answer, Err(PutError::Held(_)))));
        assert_eq!(spool.counters().failures, 1);
        assert!(spool.last_failure().is_some());
        let first = spool.get(Seq(1)).blocking_recv().unwrap();
        assert_eq!(first.is_err(), at > 0, "what is on the disk waits, what is held is there");
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
    drop(spool);
    let (spool, found) = self::spool(&store);
    assert_eq!((found.len(), spool.counters().damaged), (4, 0), "said once");
    assert_eq!(spool.counters().forgotten, 0);
    store.damage(seqs[3]);
    let damaged = Err(PutError::Entry(tipring_spool::EntryError::Damaged));
    assert_eq!(spool.get(seqs[3]).blocking_recv().unwrap(), damaged);
    assert_eq!(spool.get(seqs[3]).blocking_recv().unwrap(), Ok(None));
    assert_eq!(spool.counters().damaged, 1);
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
    assert_eq!(before.waiting + before.dropped.of(Class::Progress), 3_500);
    assert!(before.dropped.of(Class::Progress) > 0);
    assert_eq!(put_all(Class::Final, 5_000), 5_000);
    let after = spool.counters();
    assert!(after.bytes <= 64 * 1024 * 1024);
    assert_eq!(after.dropped.of(Class::Progress), 3_500, "all progress has made room");
    assert_eq!(after.waiting + after.dropped.of(Class::Final), 5_000);
    // The oldest have made room: the newest are there.
    assert!(spool.get(Seq(8_500)).blocking_recv().unwrap().unwrap().is_some());
    assert!(spool.get(Seq(3_501)).blocking_recv().unwrap().unwrap().is_none());
    // Records make room for nobody, and are refused only when there are nothing but records.
    let records = put_all(Class::Record, 5_000) as u64;
    let full = spool.counters();
    assert_eq!((full.dropped.of(Class::Final), full.waiting), (5_000, records));
    assert_eq!(full.dropped.of(Class::Record), 5_000 - records);
    assert_eq!(put(&spool, &webhook(0, Class::Record, bytes)), Err(PutError::Full));
    assert_eq!(put(&spool, &webhook(0, Class::Progress, 10)), Err(PutError::Full));
    assert_eq!(
        put(&spool, &webhook(0, Class::Final, 50_000)),
        Err(PutError::Entry(tipring_spool::EntryError::TooLong))
    );
}

fn end(at_unix_ms: i64) -> End {
    End { at_unix_ms, why: Why::Taken, status: Some(200), attempts: 1, reply: "thanks".to_owned() }
}

#[test]
fn what_is_parked_or_sent_stays_so_over_restarts() {
    let store = MemoryStore::default();
    let (spool, _) = spool(&store);
    let mut entries: Vec<Entry> = (0..4).map(|n| webhook(n, Class::Final, 10)).collect();
    let seqs: Vec<Seq> = entries.iter().map(|entry| put(&spool, entry).unwrap()).collect();
    entries[1].state = State::Parked(End { why: Why::Refused, status: Some(422), ..end(1) });
    entries[2].state = State::Sent(end(2));
    spool.settle(seqs[1], &entries[1]);
    spool.settle(seqs[2], &entries[2]);
    // One that is not there stays away, and a long answer is no reason to forget a webhook.
    spool.settle(Seq(99), &entries[2]);
    let mut endless = entries[3].clone();
    endless.state = State::Parked(End { reply: "\0".repeat(4_096), ..end(3) });
    spool.settle(seqs[3], &endless);
    assert_eq!(
        spool.find("evt_3").blocking_recv().unwrap().unwrap().unwrap().1.state,
        State::Parked(End { reply: String::new(), ..end(3) })
    );
    entries[3].state = State::Queued;
    spool.settle(seqs[3], &entries[3]);
    drop(spool);
    store.cut();
    let (spool, found) = self::spool(&store);
    assert_eq!(found, [seqs[0], seqs[3]]);
    let counters = spool.counters();
    assert_eq!((counters.waiting, counters.parked, counters.sent), (2, 1, 1));
    assert!(counters.history_bytes > 0 && counters.bytes > 2 * counters.history_bytes);
    let page = |shelf| spool.page(Seq(0), shelf, 100).blocking_recv().unwrap().unwrap();
    assert_eq!(page(Some(Shelf::Parked)), [(seqs[1], entries[1].clone())]);
    assert_eq!(page(Some(Shelf::Sent)), [(seqs[2], entries[2].clone())]);
    assert_eq!(page(None).len(), 4);
    assert_eq!(spool.page(seqs[1], None, 1).blocking_recv().unwrap().unwrap()[0].0, seqs[2]);
    let found = spool.find("evt_2").blocking_recv().unwrap().unwrap();
    assert_eq!(found, Some((seqs[2], entries[2].clone())));
    assert_eq!(spool.find("evt_9").blocking_recv().unwrap(), Ok(None));
    // Sent again: it waits again, under the same number and id.
    entries[2].state = State::Queued;
    spool.settle(seqs[2], &entries[2]);
    drop(spool);
    assert_eq!(self::spool(&store).1, [seqs[0], seqs[2], seqs[3]]);
}

#[test]
fn what_was_sent_has_a_quota_of_its_own_and_goes_by_age() {
    let store = MemoryStore::default();
    let (spool, _) = spool(&store);
    for n in 0..700_i64 {
        let mut entry = webhook(n as u64, Class::Record, 16_000);
        let seq = put(&spool, &entry).unwrap();
        entry.state = State::Sent(end(n));
        spool.settle(seq, &entry);
    }
    put(&spool, &webhook(1, Class::Final, 10)).unwrap();
    let counters = spool.counters();
    assert!(counters.history_bytes <= 8 * 1024 * 1024 && counters.sent > 400, "{counters:?}");
    assert_eq!((counters.waiting, counters.dropped.total()), (1, 0));
    assert!(counters.bytes < 1_000);
    let first = spool.page(Seq(0), Some(Shelf::Sent), 1).blocking_recv().unwrap().unwrap();
    assert_eq!(first[0].0.0 + counters.sent, 701, "the oldest have gone");
    spool.trim_sent(690);
    put(&spool, &webhook(1, Class::Final, 10)).unwrap();
    assert_eq!(spool.counters().sent, 10);
}

/// Nothing is lost, doubled or out of order while the disk is away.
#[test]
fn while_the_disk_fails_webhooks_are_held_in_order_and_move_when_it_is_back() {
    let store = MemoryStore::default();
    let (spool, _) = spool(&store);
    let before = put(&spool, &webhook(0, Class::Final, 10)).unwrap();
    let gone = put(&spool, &webhook(1, Class::Final, 10)).unwrap();
    store.set_fault(Some(Fault::FullAt(0)));
    let held: Vec<Seq> = (2..7)
        .map(|n| match put(&spool, &webhook(n, Class::Final, 10)) {
            Err(PutError::Held(seq)) => seq,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(held.windows(2).all(|pair| pair[0] < pair[1]) && held[0] > gone);
    assert_eq!(spool.counters().held, 5);
    let third = spool.get(held[2]).blocking_recv().unwrap().unwrap().unwrap();
    assert_eq!(third.id, "evt_4");
    spool.remove(held[0]);
    spool.remove(held[2]);
    spool.remove(gone);
    assert_eq!(spool.get(held[0]).blocking_recv().unwrap(), Ok(None));
    assert_eq!(spool.get(before).blocking_recv().unwrap(), Err(PutError::Broken));
    store.set_fault(None);
    spool.retry();
    let after = put(&spool, &webhook(7, Class::Final, 10)).unwrap();
    assert!(after > held[4], "no number is used twice");
    assert_eq!(spool.counters().held, 0);
    drop(spool);
    store.cut();
    assert_eq!(self::spool(&store).1, [before, held[1], held[3], held[4], after]);
}

#[test]
fn what_is_held_in_memory_is_bounded_and_what_has_no_room_is_counted() {
    for (bytes, least, most) in [(10, 10_000, 10_000), (16_000, 200, 260)] {
        let store = MemoryStore::default();
        let (spool, _) = spool(&store);
        store.set_fault(Some(Fault::FullAt(0)));
        let held = (0..10_100)
            .map(|n| put(&spool, &webhook(n, Class::Alarm, bytes)))
            .filter(|answer| matches!(answer, Err(PutError::Held(_))))
            .count();
        assert!((least..=most).contains(&held), "{held}");
        let counters = spool.counters();
        assert_eq!((counters.held, counters.dropped.of(Class::Alarm)), (held as u64, 10_100 - held as u64));
        store.set_fault(None);
        spool.retry();
        put(&spool, &webhook(0, Class::Alarm, 10)).unwrap();
        assert_eq!(spool.counters().waiting, held as u64 + 1);
    }
}

#[test]
fn what_comes_from_elsewhere_keeps_its_id_and_number_and_comes_once() {
    let store = MemoryStore::default();
    let (spool, _) = spool(&store);
    put(&spool, &webhook(0, Class::Final, 10)).unwrap();
    let batch = |ids: &[u64]| -> Vec<Entry> {
        let told = |n: &u64| Entry { told_seq: Some(1_000 + n), ..webhook(*n, Class::Record, 10) };
        ids.iter().map(told).collect()
    };
    let import = |ids: &[u64]| spool.import(batch(ids)).blocking_recv().unwrap();
    let seqs = import(&[1, 0, 2, 2]).unwrap();
    assert_eq!(seqs, [Some(Seq(2)), None, Some(Seq(1_002)), None]);
    assert_eq!(import(&[1, 2]).unwrap(), [None, None]);
    assert_eq!(put(&spool, &webhook(9, Class::Final, 10)), Ok(Seq(1_003)));
    let big: Vec<Entry> =
        (0..5_000).map(|n| Entry { id: format!("big_{n}"), ..webhook(n, Class::Final, 16_000) }).collect();
    assert_eq!(spool.import(big).blocking_recv().unwrap(), Err(PutError::Full));
    drop(spool);
    let (spool, found) = self::spool(&store);
    assert_eq!(found, [Seq(1), Seq(2), Seq(1_002), Seq(1_003)]);
    let second = spool.get(Seq(2)).blocking_recv().unwrap().unwrap().unwrap();
    assert_eq!((second.id.as_str(), second.told_seq), ("evt_1", Some(1_001)));
}

#[test]
fn where_numbers_run_out_nothing_is_written_over() {
    let store = MemoryStore::default();
    let put = |spool: &Spool, n| spool.put(&webhook(n, Class::Final, 10)).blocking_recv().unwrap();
    let mut first = store.clone();
    let record = webhook(0, Class::Final, 10).to_record().unwrap();
    Store::apply(&mut first, vec![Change::Put(Seq(u64::MAX - 2), record)]).unwrap();
    Store::sync(&mut first).unwrap();
    let (spool, found) = Spool::start(Box::new(store), None, Box::new(|| None)).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(put(&spool, 1), Ok(Seq(u64::MAX - 1)));
    assert_eq!(put(&spool, 2), Err(PutError::Full));
    assert_eq!(
        spool.import(vec![webhook(3, Class::Final, 10)]).blocking_recv().unwrap(),
        Err(PutError::Full)
    );
    assert_eq!(spool.get(Seq(u64::MAX - 1)).blocking_recv().unwrap().unwrap().unwrap().id, "evt_1");
}

#[test]
fn a_number_that_no_box_gives_out_does_not_use_up_those_of_this_one() {
    let (spool, _) = Spool::start(Box::new(MemoryStore::default()), None, Box::new(|| None)).unwrap();
    let told = |n, told| Entry { told_seq: Some(told), ..webhook(n, Class::Final, 10) };
    let seqs = spool.import(vec![told(1, u64::MAX), told(2, SEQ_MAX), told(3, 1)]).blocking_recv().unwrap();
    assert_eq!(seqs, Ok(vec![Some(Seq(1)), Some(Seq(2)), Some(Seq(SEQ_MAX + 1))]));
}
