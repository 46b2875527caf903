//! Deadlines in order. Setting, clearing and taking are O(log n); a cleared deadline leaves
//! nothing behind.

use std::collections::BTreeSet;
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct TimerQueue<K> {
    due: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Copy> TimerQueue<K> {
    pub(crate) fn new() -> TimerQueue<K> {
        TimerQueue { due: BTreeSet::new() }
    }

    /// Replaces the deadline remembered in `slot`.
    pub(crate) fn set(&mut self, slot: &mut Option<Instant>, key: K, at: Option<Instant>) {
        if let Some(old) = slot.take() {
            self.due.remove(&(old, key));
        }
        if let Some(at) = at {
            self.due.insert((at, key));
            *slot = Some(at);
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|d| d.0)
    }

    /// Takes one deadline that has passed; its owner clears its own slot.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let &(at, key) = self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        Some(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }
}
