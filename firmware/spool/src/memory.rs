//! A store in memory. It serves a box whose disk cannot be used; and since it forgets what
//! was not synced and fails on demand, the spool's behaviour is tested against it, fault by
//! fault.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::{Change, Seq, Store, StoreError};

/// What goes wrong, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The n-th writing operation from now, counted from 0, finds the disk full, and so
    /// does every one after it.
    FullAt(u64),
    /// The n-th sync from now fails, and the ones after it succeed, as they do on Linux.
    SyncAt(u64),
}

#[derive(Default, Debug)]
struct State {
    synced: BTreeMap<u64, Arc<Vec<u8>>>,
    current: BTreeMap<u64, Arc<Vec<u8>>>,
    /// Records that may differ in the two.
    unsynced: BTreeSet<u64>,
    writes: u64,
    syncs: u64,
    fault: Option<Fault>,
}

/// The store. Clones share their records, as two openings of one disk do.
#[derive(Clone, Default, Debug)]
pub struct MemoryStore(Arc<Mutex<State>>);

impl MemoryStore {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets something go wrong from now on, or no longer.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let mut state = self.state();
        (state.writes, state.syncs, state.fault) = (0, 0, fault);
    }

    /// Cuts the power: what was not synced is gone.
    pub fn cut(&self) {
        let mut state = self.state();
        state.current = state.synced.clone();
        state.unsynced.clear();
    }

    /// Changes a byte of a record on the disk.
    pub fn damage(&self, seq: Seq) {
        let mut state = self.state();
        let State { synced, current, .. } = &mut *state;
        for records in [synced, current] {
            if let Some(byte) = records.get_mut(&seq.0).and_then(|record| Arc::make_mut(record).last_mut()) {
                *byte ^= 1;
            }
        }
    }
}

impl State {
    fn write(&mut self) -> Result<(), StoreError> {
        self.writes += 1;
        match self.fault {
            Some(Fault::FullAt(n)) if self.writes > n => {
                Err(StoreError::Io(io::ErrorKind::StorageFull.into()))
            }
            Some(Fault::FullAt(_) | Fault::SyncAt(_)) | None => Ok(()),
        }
    }
}

impl Store for MemoryStore {
    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut state = self.state();
        state.write()?;
        for change in changes {
            match change {
                Change::Put(Seq(seq), record) => {
                    state.unsynced.insert(seq);
                    state.current.insert(seq, Arc::new(record));
                }
                Change::Remove(Seq(seq)) => {
                    state.unsynced.insert(seq);
                    state.current.remove(&seq);
                }
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let mut state = self.state();
        let at = state.syncs;
        state.syncs += 1;
        if state.fault == Some(Fault::SyncAt(at)) {
            return Err(StoreError::Io(io::Error::from_raw_os_error(5)));
        }
        let State { synced, current, unsynced, .. } = &mut *state;
        for seq in std::mem::take(unsynced) {
            match current.get(&seq) {
                Some(record) => drop(synced.insert(seq, Arc::clone(record))),
                None => drop(synced.remove(&seq)),
            }
        }
        Ok(())
    }

    fn get(&self, seq: Seq) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().current.get(&seq.0).map(|record| record.to_vec()))
    }

    fn each(&self, see: &mut dyn FnMut(Seq, &[u8])) -> Result<(), StoreError> {
        self.state().current.iter().for_each(|(seq, record)| see(Seq(*seq), record));
        Ok(())
    }
}
