//! What is in a store: an index over its records, their quotas, and the changes that are
//! planned. What has been sent is kept for a while beside what waits, with a quota of its
//! own.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::class::Class;
use crate::entry::{Entry, SEQ_MAX, State};
use crate::mark::Mark;
use crate::store::{Change, NOTE, Seq, Store, StoreError};
use crate::task::{PutError, Shared};

/// What all records that wait or are parked may take, in bytes (S8).
pub(crate) const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// From here on progress makes room for what is dearer, oldest first.
const BYTES_CROWDED: u64 = BYTES_MAX / 5 * 4;
/// From here on progress is not taken any more.
const BYTES_FINAL_ONLY: u64 = BYTES_MAX / 20 * 19;
/// What those that were sent may take, in bytes.
const HISTORY_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Where a webhook belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shelf {
    /// It waits.
    Queued,
    /// It is set apart.
    Parked,
    /// It was sent.
    Sent,
}

/// A record with what the index knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Filed {
    pub(crate) record: Vec<u8>,
    pub(crate) row: Row,
}

/// What is known of a record without reading it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    bytes: u64,
    pub(crate) class: Class,
    pub(crate) shelf: Shelf,
    id_hash: u64,
    /// When it was sent, in milliseconds since 1970 UTC.
    sent_unix_ms: i64,
}

impl Row {
    fn of(entry: &Entry, bytes: usize) -> Self {
        let (shelf, sent_unix_ms) = match &entry.state {
            State::Queued => (Shelf::Queued, 0),
            State::Parked(_) => (Shelf::Parked, 0),
            State::Sent(end) => (Shelf::Sent, end.at_unix_ms),
        };
        Self { bytes: bytes as u64, class: entry.class, shelf, id_hash: hash(&entry.id), sent_unix_ms }
    }
}

impl Filed {
    /// The record of a webhook.
    pub(crate) fn new(entry: &Entry) -> Result<Self, PutError> {
        let record = entry.to_record()?;
        Ok(Self { row: Row::of(entry, record.len()), record })
    }
}

pub(crate) fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// What the spool knows of its store and keeps in it: written in one piece with each
/// change, so that it is right whenever the store is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Note {
    /// The number that comes next.
    pub(crate) next: u64,
    /// Webhooks in the store that wait or are parked.
    pub(crate) count: u64,
}

impl Note {
    pub(crate) fn change(self) -> Change {
        let mut record = self.next.to_be_bytes().to_vec();
        record.extend(self.count.to_be_bytes());
        Change::Put(NOTE, record)
    }

    pub(crate) fn read(record: &[u8]) -> Option<Self> {
        let (next, count) = record.split_first_chunk()?;
        let count = count.try_into().ok()?;
        Some(Self { next: u64::from_be_bytes(*next), count: u64::from_be_bytes(count) })
    }
}

/// A store with what is known of its records.
pub(crate) struct Contents {
    store: Box<dyn Store>,
    mark: Option<Mark>,
    pub(crate) next: u64,
    index: BTreeMap<Seq, Row>,
    ids: BTreeSet<(u64, Seq)>,
    /// Those that make room first.
    progress: BTreeSet<Seq>,
    /// Those that make room when no progress is left.
    ordinary: BTreeSet<Seq>,
    /// Those that were sent, by when.
    history: BTreeSet<(i64, Seq)>,
    bytes: u64,
    history_bytes: u64,
    parked: u64,
    /// What is to be done to the store.
    changes: Vec<Change>,
    /// Something was done and not synced.
    unsynced: bool,
    shared: Arc<Shared>,
}

impl Contents {
    /// Reads all records. What cannot be read is counted and removed.
    pub(crate) fn over(
        store: Box<dyn Store>,
        mark: Option<Mark>,
        shared: Arc<Shared>,
        mut see: impl FnMut(Seq, &Entry),
    ) -> Result<Self, StoreError> {
        let mut contents = Self {
            store,
            mark,
            next: 1,
            index: BTreeMap::new(),
            ids: BTreeSet::new(),
            progress: BTreeSet::new(),
            ordinary: BTreeSet::new(),
            history: BTreeSet::new(),
            bytes: 0,
            history_bytes: 0,
            parked: 0,
            changes: Vec::new(),
            unsynced: false,
            shared,
        };
        let (mut rows, mut damaged, mut noted, mut next) = (Vec::new(), Vec::new(), 0, 1);
        contents.store.each(&mut |seq, record| {
            if seq == NOTE {
                if let Some(note) = Note::read(record) {
                    (next, noted) = (next.max(note.next), note.count);
                }
                return;
            }
            next = next.max(seq.0.saturating_add(1));
            match Entry::from_record(record) {
                Ok(entry) => {
                    rows.push((seq, Row::of(&entry, record.len())));
                    if entry.state == State::Queued {
                        see(seq, &entry);
                    }
                }
                Err(_) => damaged.push(seq),
            }
        })?;
        rows.into_iter().for_each(|(seq, row)| contents.enter(seq, row));
        // The count tells what is missing in the middle, the mark what is missing at the end.
        let used = contents.mark.as_ref().map_or(0, Mark::value);
        let missing = noted.saturating_sub(contents.waiting() + damaged.len() as u64);
        let lost = contents.mark.as_ref().map_or(0, |mark| mark.lost);
        let forgotten = missing.max(used.saturating_sub(next)).saturating_add(lost);
        contents.shared.forgotten.fetch_add(forgotten, Ordering::Relaxed);
        contents.shared.damaged.fetch_add(damaged.len() as u64, Ordering::Relaxed);
        contents.changes.extend(damaged.into_iter().map(Change::Remove));
        contents.next = next.max(used);
        contents.publish();
        Ok(contents)
    }

    /// Lets the counters say how much there is.
    pub(crate) fn publish(&self) {
        let shared = &self.shared;
        shared.waiting.store(self.waiting().saturating_sub(self.parked), Ordering::Relaxed);
        shared.parked.store(self.parked, Ordering::Relaxed);
        shared.sent.store(self.history.len() as u64, Ordering::Relaxed);
        shared.bytes.store(self.bytes, Ordering::Relaxed);
        shared.history_bytes.store(self.history_bytes, Ordering::Relaxed);
    }

    // --- The index.

    /// Webhooks that wait or are parked.
    fn waiting(&self) -> u64 {
        (self.index.len() - self.history.len()) as u64
    }

    /// Their numbers.
    pub(crate) fn waiting_seqs(&self) -> Vec<Seq> {
        let waiting = self.index.iter().filter(|(_, row)| row.shelf != Shelf::Sent);
        waiting.map(|(seq, _)| *seq).collect()
    }

    /// Whether a webhook has this number.
    pub(crate) fn has(&self, seq: Seq) -> bool {
        self.index.contains_key(&seq)
    }

    fn enter(&mut self, seq: Seq, row: Row) {
        self.leave(seq);
        match row.shelf {
            Shelf::Sent => {
                self.history.insert((row.sent_unix_ms, seq));
                self.history_bytes += row.bytes;
            }
            Shelf::Queued | Shelf::Parked => {
                self.parked += u64::from(row.shelf == Shelf::Parked);
                self.bytes += row.bytes;
                match row.class {
                    Class::Progress => drop(self.progress.insert(seq)),
                    Class::Final | Class::Alarm => drop(self.ordinary.insert(seq)),
                    Class::Emergency | Class::Record => {}
                }
            }
        }
        self.ids.insert((row.id_hash, seq));
        self.index.insert(seq, row);
    }

    fn leave(&mut self, seq: Seq) -> Option<Row> {
        let row = self.index.remove(&seq)?;
        self.ids.remove(&(row.id_hash, seq));
        self.progress.remove(&seq);
        self.ordinary.remove(&seq);
        if self.history.remove(&(row.sent_unix_ms, seq)) {
            self.history_bytes -= row.bytes;
        } else {
            self.parked -= u64::from(row.shelf == Shelf::Parked);
            self.bytes -= row.bytes;
        }
        Some(row)
    }

    // --- Planning.

    /// Plans to write a new record.
    pub(crate) fn put(&mut self, filed: Filed) -> Result<Seq, PutError> {
        let seq = Seq(self.next);
        self.put_at(seq, filed)?;
        Ok(seq)
    }

    /// Plans to write a record under a number that it has already.
    pub(crate) fn put_at(&mut self, seq: Seq, filed: Filed) -> Result<(), PutError> {
        let Some(next) = seq.0.checked_add(1) else {
            // The numbers have run out: there is no room for another webhook.
            self.shared.dropped(filed.row.class);
            return Err(PutError::Full);
        };
        self.make_room(filed.row)?;
        self.next = self.next.max(next);
        self.enter(seq, filed.row);
        self.changes.push(Change::Put(seq, filed.record));
        self.trim_history(i64::MIN);
        Ok(())
    }

    fn make_room(&mut self, row: Row) -> Result<(), PutError> {
        let Row { bytes, class, shelf, .. } = row;
        if shelf == Shelf::Sent {
            return Ok(());
        }
        while self.bytes + bytes > BYTES_CROWDED
            && let Some(oldest) = self.progress.first().copied()
        {
            self.drop_webhook(oldest);
        }
        let most = if class == Class::Progress { BYTES_FINAL_ONLY } else { BYTES_MAX };
        while class > Class::Progress
            && self.bytes + bytes > most
            && let Some(oldest) = self.ordinary.first().copied()
        {
            self.drop_webhook(oldest);
        }
        if self.bytes + bytes > most {
            self.shared.dropped(class);
            return Err(PutError::Full);
        }
        Ok(())
    }

    /// Plans to remove a record, and counts it as dropped.
    pub(crate) fn drop_webhook(&mut self, seq: Seq) {
        if let Some(row) = self.index.get(&seq) {
            self.shared.dropped(row.class);
        }
        self.remove(seq);
    }

    /// Plans to write how a webhook stands now, if it is there.
    pub(crate) fn settle(&mut self, seq: Seq, filed: Filed) {
        if self.index.contains_key(&seq) {
            self.enter(seq, filed.row);
            self.changes.push(Change::Put(seq, filed.record));
            self.trim_history(i64::MIN);
        }
    }

    /// Plans to remove a record.
    pub(crate) fn remove(&mut self, seq: Seq) {
        if self.leave(seq).is_some() {
            self.changes.push(Change::Remove(seq));
        }
    }

    /// Plans to remove those that were sent before, and the oldest of too many.
    pub(crate) fn trim_history(&mut self, before_unix_ms: i64) {
        while let Some((at, seq)) = self.history.first().copied()
            && (at < before_unix_ms || self.history_bytes > HISTORY_BYTES_MAX)
        {
            self.remove(seq);
        }
    }

    /// Plans to write webhooks that come from elsewhere: all of them or none; those whose
    /// id is known are left out. The numbers of the others.
    pub(crate) fn import(&mut self, entries: Vec<(Entry, Filed)>) -> Result<Vec<Option<Seq>>, ImportError> {
        let bytes: u64 = entries.iter().map(|(_, filed)| filed.row.bytes).sum();
        if self.bytes + bytes > BYTES_MAX {
            return Err(ImportError::Full);
        }
        let mut taken = BTreeSet::new();
        let mut is_known = Vec::new();
        for (entry, _) in &entries {
            is_known.push(!taken.insert(entry.id.clone()) || self.find(&entry.id)?.is_some());
        }
        let mut seqs = Vec::new();
        for ((entry, filed), is_known) in entries.into_iter().zip(is_known) {
            if is_known {
                seqs.push(None);
                continue;
            }
            let seq = Seq(self.next);
            let next = seq.0.checked_add(1).ok_or(ImportError::Full)?;
            // Numbers that the receiver has seen from another box are not used again, unless
            // they are none that a box gives out.
            let told = entry.told_seq.filter(|told| *told <= SEQ_MAX).map_or(0, |told| told + 1);
            self.next = next.max(told);
            self.enter(seq, filed.row);
            self.changes.push(Change::Put(seq, filed.record));
            seqs.push(Some(seq));
        }
        self.trim_history(i64::MIN);
        Ok(seqs)
    }

    // --- Reading.

    /// A record as it is on the disk, or as it is planned to be.
    pub(crate) fn get(&self, seq: Seq) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.index.contains_key(&seq) {
            return Ok(None);
        }
        let planned = self.changes.iter().rev().find_map(|change| match change {
            Change::Put(at, record) if *at == seq => Some(record.clone()),
            Change::Put(..) | Change::Remove(_) => None,
        });
        planned.map_or_else(|| self.store.get(seq), |record| Ok(Some(record)))
    }

    /// The webhook with this id.
    pub(crate) fn find(&self, id: &str) -> Result<Option<(Seq, Entry)>, StoreError> {
        let hash = hash(id);
        for (_, seq) in self.ids.range((hash, Seq(0))..=(hash, Seq(u64::MAX))) {
            let entry = self.get(*seq)?.and_then(|record| Entry::from_record(&record).ok());
            if let Some(entry) = entry.filter(|entry| entry.id == id) {
                return Ok(Some((*seq, entry)));
            }
        }
        Ok(None)
    }

    /// Webhooks with higher numbers than `after`, the lowest first.
    pub(crate) fn page(
        &self,
        after: Seq,
        shelf: Option<Shelf>,
        most: usize,
    ) -> Result<Vec<(Seq, Entry)>, StoreError> {
        let seqs = self
            .index
            .range(Seq(after.0.saturating_add(1))..)
            .filter(|(_, row)| shelf.is_none_or(|shelf| row.shelf == shelf))
            .take(most);
        let mut page = Vec::new();
        for (seq, _) in seqs {
            let entry = self.get(*seq)?.and_then(|record| Entry::from_record(&record).ok());
            page.extend(entry.map(|entry| (*seq, entry)));
        }
        Ok(page)
    }

    // --- Doing.

    /// What is planned; it is planned no more.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Makes changes; with `synced`, so that they survive.
    pub(crate) fn commit(&mut self, mut changes: Vec<Change>, synced: bool) -> Result<(), StoreError> {
        if !changes.is_empty() {
            changes.push(Note { next: self.next, count: self.waiting() }.change());
            self.store.apply(changes)?;
            self.unsynced = true;
        }
        if synced {
            self.store.sync()?;
            self.unsynced = false;
            if self.mark.as_ref().is_some_and(|mark| mark.is_far_behind(self.next)) {
                self.write_mark()?;
            }
        }
        Ok(())
    }

    /// Whether anything is left to be done once there is time.
    pub(crate) fn has_chores(&self) -> bool {
        self.unsynced
            || !self.changes.is_empty()
            || self.mark.as_ref().is_some_and(|mark| mark.value() < self.next)
    }

    /// Sees whether the store is still where it was.
    pub(crate) fn look(&self) -> Result<(), StoreError> {
        self.store.look()
    }

    /// Syncs what was removed, and brings the mark to where the numbers are.
    pub(crate) fn do_chores(&mut self) -> Result<(), StoreError> {
        let changes = self.take_changes();
        self.commit(changes, true)?;
        self.write_mark()
    }

    /// Writes down how far the numbers have come, all of which are synced.
    fn write_mark(&mut self) -> Result<(), StoreError> {
        let count = self.waiting();
        match &mut self.mark {
            Some(mark) if mark.value() < self.next => Ok(mark.write(self.next, count)?),
            Some(_) | None => Ok(()),
        }
    }
}

/// Why webhooks from elsewhere were not taken.
#[derive(Debug)]
pub(crate) enum ImportError {
    /// There is no room for all of them.
    Full,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
