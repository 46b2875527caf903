//! What would be written to a store that failed: held in memory, in order, until it is open
//! again.

use std::collections::BTreeMap;

use crate::contents::{Contents, Filed};
use crate::entry::Entry;
use crate::store::{Change, NOTE, Seq};

/// Changes held, and their bytes.
const ROWS_MAX: usize = 10_000;
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The changes, by number.
#[derive(Default)]
pub(crate) struct Overflow {
    /// None stands for a record that is to be removed.
    rows: BTreeMap<Seq, Option<Filed>>,
    bytes: usize,
    records: usize,
}

impl Overflow {
    /// Holds a record. False if there is no room.
    pub(crate) fn put(&mut self, seq: Seq, filed: Filed) -> bool {
        let bytes = filed.record.len();
        let before = self.rows.get(&seq).map_or(0, length);
        let is_new = !self.rows.contains_key(&seq);
        if self.bytes - before + bytes > BYTES_MAX || is_new && self.rows.len() >= ROWS_MAX {
            return false;
        }
        self.bytes = self.bytes - before + bytes;
        self.records += usize::from(!matches!(self.rows.insert(seq, Some(filed)), Some(Some(_))));
        true
    }

    /// Holds the removal of a record. Where there is no room it is forgotten, and the
    /// webhook sent once more after the next start.
    pub(crate) fn remove(&mut self, seq: Seq, is_new: bool) {
        if let Some(held) = self.rows.remove(&seq) {
            self.bytes -= length(&held);
            self.records -= usize::from(held.is_some());
        }
        if !is_new && self.rows.len() < ROWS_MAX {
            self.rows.insert(seq, None);
        }
    }

    /// Holds what could not be done to the store.
    pub(crate) fn hold(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put(NOTE, _) => {}
                Change::Put(seq, record) => {
                    let entry = Entry::from_record(&record);
                    if let Ok(filed) = entry.map_err(Into::into).and_then(|entry| Filed::new(&entry)) {
                        self.put(seq, filed);
                    }
                }
                Change::Remove(seq) => self.remove(seq, false),
            }
        }
    }

    /// A record that is held; none inside if it is to be removed.
    pub(crate) fn get(&self, seq: Seq) -> Option<Option<&[u8]>> {
        self.rows.get(&seq).map(|held| held.as_ref().map(|filed| filed.record.as_slice()))
    }

    /// Webhooks held.
    pub(crate) const fn records(&self) -> usize {
        self.records
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Plans to do to a store all that is held.
    pub(crate) fn plan(&self, contents: &mut Contents) {
        for (seq, held) in &self.rows {
            match held {
                // What has no room is counted there.
                Some(filed) => drop(contents.put_at(*seq, filed.clone())),
                None => contents.remove(*seq),
            }
        }
    }
}

fn length(held: &Option<Filed>) -> usize {
    held.as_ref().map_or(0, |filed| filed.record.len())
}
