//! What the desk of a card shows to whoever looks: how loud each port is, and facts that were lost.
//!
//! The card's thread writes, the main thread reads; nobody waits for anybody.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use tipring_media::dsp::level_meter::LEVEL_MIN_DBM0;

/// How loud it is at a port now, averaged over an eighth of a second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Levels {
    /// What comes from the wire, as it comes, in dBm0; −96 is silence.
    pub heard_dbm0: f32,
    /// What is played to it, in dBm0; −96 is silence.
    pub played_dbm0: f32,
    /// By how much the canceller makes the echo weaker, in dB: as it was when something was
    /// played last. 0 before anything was.
    pub cancelled_db: f32,
}

impl Levels {
    /// Nothing was heard and nothing played.
    pub const SILENCE: Self =
        Self { heard_dbm0: LEVEL_MIN_DBM0, played_dbm0: LEVEL_MIN_DBM0, cancelled_db: 0.0 };
}

/// Levels in tenths.
#[derive(Debug)]
struct PortGauge([AtomicI32; 3]);

/// The gauges of a card.
#[derive(Debug)]
pub struct Gauges {
    lost: AtomicU64,
    ports: Box<[PortGauge]>,
}

impl Gauges {
    pub(super) fn new(ports: usize) -> Self {
        let gauge = |_| PortGauge(tenths(Levels::SILENCE).map(AtomicI32::new));
        Self { lost: AtomicU64::new(0), ports: (0..ports).map(gauge).collect() }
    }

    pub(super) fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn show(&self, port: usize, levels: Levels) {
        if let Some(PortGauge(places)) = self.ports.get(port) {
            places
                .iter()
                .zip(tenths(levels))
                .for_each(|(place, value)| place.store(value, Ordering::Relaxed));
        }
    }

    /// Facts that the desk could not tell because nobody took the ones before.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// How loud it is at a port, which counts from 0.
    #[must_use]
    pub fn levels(&self, port: usize) -> Levels {
        let Some(PortGauge(places)) = self.ports.get(port) else { return Levels::SILENCE };
        let [heard_dbm0, played_dbm0, cancelled_db] =
            places.each_ref().map(|place| place.load(Ordering::Relaxed) as f32 / 10.0);
        Levels { heard_dbm0, played_dbm0, cancelled_db }
    }
}

fn tenths(levels: Levels) -> [i32; 3] {
    [levels.heard_dbm0, levels.played_dbm0, levels.cancelled_db].map(|value| (value * 10.0).round() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_seen_to_a_tenth() {
        let gauges = Gauges::new(2);
        assert_eq!(gauges.levels(1), Levels::SILENCE);
        gauges.show(1, Levels { heard_dbm0: -23.44, played_dbm0: -10.0, cancelled_db: 31.26 });
        assert_eq!(gauges.levels(1), Levels { heard_dbm0: -23.4, played_dbm0: -10.0, cancelled_db: 31.3 });
        assert_eq!((gauges.levels(0), gauges.levels(7)), (Levels::SILENCE, Levels::SILENCE));
        gauges.lose();
        assert_eq!(gauges.lost(), 1);
    }
}
