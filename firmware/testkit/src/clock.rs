//! Time that goes on only when a test says so.

use std::time::{Duration, Instant};

use tipring_model::flow::Moment;

/// A virtual clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    now: Moment,
}

impl Clock {
    /// Friday 2026-11-20 09:00:00 UTC, the hour at which every test begins.
    pub const START_UNIX_MS: i64 = 1_795_165_200_000;

    /// A clock at [`Self::START_UNIX_MS`].
    #[must_use]
    pub fn new() -> Self {
        Self::at(Self::START_UNIX_MS)
    }

    /// A clock at some wall-clock time, in milliseconds since 1970 UTC.
    #[must_use]
    pub fn at(unix_ms: i64) -> Self {
        Self { now: Moment { instant: Instant::now(), unix_ms } }
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Moment {
        self.now
    }

    /// Lets time pass.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now.after(by);
    }

    /// Goes on to `instant`, if it lies ahead.
    pub fn advance_to(&mut self, instant: Instant) {
        self.advance(instant.saturating_duration_since(self.now.instant));
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
