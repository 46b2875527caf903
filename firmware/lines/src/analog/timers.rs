//! Named timers of a machine, all in one place.

use std::time::Instant;

/// One place for each name of a timer.
#[derive(Clone, Debug)]
pub(super) struct Timers<T, const N: usize>([(T, Option<Instant>); N]);

impl<T: Copy + PartialEq, const N: usize> Timers<T, N> {
    /// None of them runs.
    pub(super) fn new(names: [T; N]) -> Self {
        Self(names.map(|name| (name, None)))
    }

    /// Lets `timer` run until `at`, whether it ran before or not.
    pub(super) fn set(&mut self, timer: T, at: Instant) {
        self.place(timer, Some(at));
    }

    pub(super) fn stop(&mut self, timer: T) {
        self.place(timer, None);
    }

    fn place(&mut self, timer: T, at: Option<Instant>) {
        if let Some((_, due)) = self.0.iter_mut().find(|(name, _)| *name == timer) {
            *due = at;
        }
    }

    pub(super) fn stop_all(&mut self) {
        for (_, due) in &mut self.0 {
            *due = None;
        }
    }

    /// It runs.
    pub(super) fn runs(&self, timer: T) -> bool {
        self.0.iter().any(|(name, due)| *name == timer && due.is_some())
    }

    /// When the next one is due.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.0.iter().filter_map(|(_, due)| *due).min()
    }

    /// The last moment at which one is due.
    pub(super) fn last_timeout(&self) -> Option<Instant> {
        self.0.iter().filter_map(|(_, due)| *due).max()
    }

    /// The timer that is due first, if its time has come; it no longer runs.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<T> {
        let (name, due) = self
            .0
            .iter_mut()
            .filter(|(_, due)| due.is_some_and(|at| at <= now))
            .min_by_key(|(_, due)| *due)?;
        *due = None;
        Some(*name)
    }
}
