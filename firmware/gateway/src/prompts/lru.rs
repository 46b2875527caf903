//! What was used last stays: a cache with a limit on the weight of what it holds.

use std::collections::HashMap;
use std::hash::Hash;

/// Most entries, whatever they weigh.
pub(super) const ENTRIES_MAX: usize = 512;

/// Values by key; the one not used for the longest time goes first.
pub(super) struct Lru<K, V> {
    slots: HashMap<K, Slot<V>>,
    weight: usize,
    weight_max: usize,
    /// Counts uses.
    clock: u64,
}

struct Slot<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<K: Eq + Hash + Clone, V> Lru<K, V> {
    pub(super) fn new(weight_max: usize) -> Self {
        Self { slots: HashMap::new(), weight: 0, weight_max, clock: 0 }
    }

    /// The value of `key`, which counts as used.
    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        self.clock += 1;
        let slot = self.slots.get_mut(key)?;
        slot.used = self.clock;
        Some(&slot.value)
    }

    /// Keeps `value`, unless it alone is too heavy. What was there under this key goes
    /// either way.
    pub(super) fn insert(&mut self, key: K, value: V, weight: usize) {
        self.remove(&key);
        if weight > self.weight_max {
            return;
        }
        while self.weight + weight > self.weight_max || self.slots.len() >= ENTRIES_MAX {
            let oldest = self.slots.iter().min_by_key(|(_, slot)| slot.used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            self.remove(&oldest);
        }
        self.clock += 1;
        self.weight += weight;
        self.slots.insert(key, Slot { value, weight, used: self.clock });
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some(slot) = self.slots.remove(key) {
            self.weight -= slot.weight;
        }
    }

    /// The weight of all that is held.
    pub(super) const fn weight(&self) -> usize {
        self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_used_goes_first() {
        let mut lru = Lru::new(100);
        // What is put in, what it weighs, and what is there then.
        for (key, weight, expected) in [
            ('a', 40, "a"),
            ('b', 40, "ab"),
            ('c', 40, "bc"),
            ('b', 10, "bc"),
            ('d', 101, "bc"),
            ('d', 50, "bcd"),
            ('e', 50, "de"),
            ('e', 101, "d"),
            ('f', 100, "f"),
        ] {
            lru.insert(key, key, weight);
            let held: String = ('a'..='f').filter(|key| lru.slots.contains_key(key)).collect();
            assert_eq!(held, expected, "{key} {weight}");
            assert_eq!(lru.weight(), lru.slots.values().map(|slot| slot.weight).sum::<usize>());
        }
    }

    #[test]
    fn a_use_makes_young() {
        let mut lru = Lru::new(2);
        lru.insert('a', 1, 1);
        lru.insert('b', 2, 1);
        assert_eq!(lru.get(&'a'), Some(&1));
        lru.insert('c', 3, 1);
        assert_eq!(lru.get(&'a'), Some(&1));
        assert_eq!(lru.get(&'b'), None);
    }

    #[test]
    fn entries_without_weight_are_counted_too() {
        let mut lru = Lru::new(100);
        for key in 0..ENTRIES_MAX + 10 {
            lru.insert(key, (), 0);
        }
        assert_eq!(lru.get(&9), None);
        assert_eq!(lru.get(&10), Some(&()));
        lru.remove(&10);
        assert_eq!(lru.get(&10), None);
    }
}
