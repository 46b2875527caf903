//! Whether the box itself is online, judged by whether anybody answers it.
//!
//! Webhooks age by a clock of their own, which stands still while nobody answers: what is
//! too old then is too old because no server wanted it, not because a cable was pulled.

use std::time::{Duration, Instant};

/// An answer so long ago says nothing about now.
const LATELY: Duration = Duration::from_secs(2 * 60);

/// The clock by which webhooks age.
#[derive(Debug)]
pub(super) struct Presence {
    /// What had passed at `since`.
    passed: Duration,
    /// None while the clock stands still.
    since: Option<Instant>,
    answered: Option<Instant>,
}

impl Presence {
    pub(super) const fn new(now: Instant) -> Self {
        Self { passed: Duration::ZERO, since: Some(now), answered: None }
    }

    /// The time online until `now`.
    pub(super) fn passed(&self, now: Instant) -> Duration {
        self.passed + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Some server answered something. True if that is news.
    pub(super) fn answered(&mut self, now: Instant) -> bool {
        self.answered = Some(now);
        let was_offline = self.since.is_none();
        self.since.get_or_insert(now);
        was_offline
    }

    /// A server was asked and gave no answer.
    pub(super) fn silent(&mut self, now: Instant) {
        if self.answered.is_none_or(|at| now.saturating_duration_since(at) >= LATELY) {
            self.passed = self.passed(now);
            self.since = None;
        }
    }

    /// Whether nobody answers.
    pub(super) const fn is_offline(&self) -> bool {
        self.since.is_none()
    }
}
