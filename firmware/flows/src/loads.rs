//! Guards against documents that only point at each other.

use std::time::{Duration, Instant};

/// Documents that one call may load.
const LOADS_MAX: u32 = 1_000;
/// Loads in a row without progress, after which it is a circle.
const LOADS_IN_A_ROW_MAX: u32 = 10;
/// Distance between two loads in a row, and what counts as progress.
const LOAD_DISTANCE: Duration = Duration::from_secs(1);

/// Counts the loads of one call.
#[derive(Default, Debug)]
pub(crate) struct Loads {
    all: u32,
    in_a_row: u32,
    last: Option<Instant>,
    progress: Duration,
}

/// Whether a document may be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gate {
    Go,
    /// Not before this.
    Wait(Instant),
    /// It is refused, with this code.
    Refused(&'static str),
}

impl Loads {
    /// A document was loaded.
    pub(crate) fn note(&mut self, now: Instant) {
        self.all += 1;
        self.in_a_row = if self.progress >= LOAD_DISTANCE { 1 } else { self.in_a_row + 1 };
        self.progress = Duration::ZERO;
        self.last = Some(now);
    }

    /// Time that the caller spent hearing, talking or dialling.
    pub(crate) fn progress(&mut self, spent: Duration) {
        self.progress += spent;
    }

    /// At least one digit came: the caller is there and acts.
    pub(crate) fn digit(&mut self) {
        self.progress = LOAD_DISTANCE;
    }

    /// Where a circle is slowed and not ended: when the next document may be loaded, unless
    /// that is now.
    pub(crate) fn slowed(&self, now: Instant) -> Option<Instant> {
        let is_circle = self.in_a_row >= LOADS_IN_A_ROW_MAX && self.progress < LOAD_DISTANCE;
        self.last.map(|last| last + LOAD_DISTANCE).filter(|earliest| is_circle && *earliest > now)
    }

    /// Time since the last load.
    pub(crate) fn since(&self, now: Instant) -> Duration {
        self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last))
    }

    /// May the next document be loaded?
    pub(crate) fn gate(&self, now: Instant) -> Gate {
        if self.all >= LOADS_MAX {
            return Gate::Refused("TR-FLOW-LOADS");
        }
        if self.progress >= LOAD_DISTANCE {
            return Gate::Go;
        }
        if self.in_a_row >= LOADS_IN_A_ROW_MAX {
            return Gate::Refused("TR-FLOW-LOOP");
        }
        match self.last.map(|last| last + LOAD_DISTANCE) {
            Some(earliest) if earliest > now => Gate::Wait(earliest),
            Some(_) | None => Gate::Go,
        }
    }
}

#[cfg(test)]
mod tests {
    use tipring_testkit::Clock;

    use super::*;

    #[test]
    fn the_eleventh_load_in_a_row_is_refused_and_progress_clears_the_row() {
        let mut loads = Loads::default();
        let mut now = Clock::new().now().instant;
        for _ in 0..10 {
            assert_eq!(loads.gate(now), Gate::Go);
            loads.note(now);
            assert_ne!(loads.gate(now), Gate::Go);
            now += LOAD_DISTANCE;
        }
        assert_eq!(loads.gate(now), Gate::Refused("TR-FLOW-LOOP"));
        loads.digit();
        assert_eq!(loads.gate(now), Gate::Go);
    }

    #[test]
    fn a_circle_that_is_not_ended_is_slowed_after_ten() {
        let mut loads = Loads::default();
        let now = Clock::new().now().instant;
        for _ in 0..LOADS_IN_A_ROW_MAX {
            assert_eq!(loads.slowed(now), None);
            loads.note(now);
        }
        assert_eq!(loads.slowed(now), Some(now + LOAD_DISTANCE));
        assert_eq!(loads.slowed(now + LOAD_DISTANCE), None);
        loads.progress(LOAD_DISTANCE);
        assert_eq!(loads.slowed(now), None);
    }

    #[test]
    fn a_call_loads_at_most_a_thousand_documents() {
        let mut loads = Loads::default();
        let now = Clock::new().now().instant;
        for _ in 0..LOADS_MAX {
            loads.digit();
            assert_eq!(loads.gate(now), Gate::Go);
            loads.note(now);
        }
        loads.digit();
        assert_eq!(loads.gate(now), Gate::Refused("TR-FLOW-LOADS"));
    }
}
