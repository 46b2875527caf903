//! What is tried, in which order and for how long, to get the document that a caller waits
//! for. Pure.
//!
//! The rungs, first success wins: the server itself, the server once more, the fallback
//! address, the copy of an earlier day. What follows when all fail, a flow on the box, is
//! not decided here.

use std::time::{Duration, Instant};

/// Where a document came from, or what stood in for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Rung {
    /// The server, at the first attempt.
    Live,
    /// The server, at the second.
    Retry,
    /// The fallback address.
    Fallback,
    /// A copy of an earlier day.
    Stale,
    /// A flow that the owner has put on the box.
    Local,
    /// The flow that every box has.
    Builtin,
}

impl Rung {
    /// The name in records and events.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Retry => "retry",
            Self::Fallback => "fallback",
            Self::Stale => "stale",
            Self::Local => "local",
            Self::Builtin => "builtin",
        }
    }
}

/// What there is to choose from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Choice {
    /// The server counts as away.
    pub is_away: bool,
    /// There is a fallback address, and its server does not count as away.
    pub fallback: bool,
    /// There is a copy.
    pub copy: bool,
    /// A flow that the owner has put on the box can take over the call.
    pub local: bool,
    /// The flow that every box has can take over the call.
    pub builtin: bool,
    /// The flow itself asks somewhere else next.
    pub own: bool,
    /// Longest wait that the flow allows for each hop.
    pub timeout: Duration,
    /// Longest wait in all while there is something as good to be had.
    pub patience: Duration,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Ask the server of this rung, after this pause, and wait so long at most.
    Ask {
        /// `Live`, `Retry` or `Fallback`.
        rung: Rung,
        /// Before it.
        pause: Duration,
        /// The whole wait.
        within: Duration,
    },
    /// Take the copy.
    Copy,
    /// Nothing is left.
    End,
}

/// How an attempt failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// The server was not reached: it cannot have done anything.
    NotReached,
    /// It was reached.
    Bad,
}

/// The time that must be left for a second attempt, and the pause before it.
const RETRY_LEFT_MIN: Duration = Duration::from_millis(1_200);
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The climb for one document.
#[derive(Debug)]
pub(crate) struct Ladder {
    choice: Choice,
    began: Instant,
    /// The last rung tried.
    at: Option<Rung>,
    failure: Failure,
}

impl Ladder {
    /// At the foot of it.
    #[must_use]
    pub(crate) const fn new(now: Instant, choice: Choice) -> Self {
        Self { choice, began: now, at: None, failure: Failure::Bad }
    }

    /// The attempt of the last [`next`](Self::next) failed.
    pub(crate) fn failed(&mut self, failure: Failure) {
        self.failure = failure;
    }

    /// True if there is something as good as what the server would say: then nobody waits
    /// long for it.
    const fn has_substitute(&self) -> bool {
        self.choice.fallback || self.choice.copy || self.choice.local || self.choice.own
    }

    /// The next rung.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        let most = if self.has_substitute() {
            self.choice.patience.min(self.choice.timeout)
        } else {
            self.choice.timeout
        };
        let left = most.saturating_sub(now.saturating_duration_since(self.began));
        // With nothing else to be had, even a server that counts as away is asked.
        let asks = !self.choice.is_away || !(self.has_substitute() || self.choice.builtin);
        let no_pause = Duration::ZERO;
        let next = match self.at {
            None if asks => Next::Ask { rung: Rung::Live, pause: no_pause, within: most },
            Some(Rung::Live)
                if self.failure == Failure::NotReached && left >= RETRY_LEFT_MIN && !self.choice.own =>
            {
                Next::Ask { rung: Rung::Retry, pause: RETRY_PAUSE, within: left.saturating_sub(RETRY_PAUSE) }
            }
            None | Some(Rung::Live | Rung::Retry) if self.choice.fallback => {
                // Its own patience: the first server has used up its.
                let within = self.choice.patience.min(self.choice.timeout);
                Next::Ask { rung: Rung::Fallback, pause: no_pause, within }
            }
            None | Some(Rung::Live | Rung::Retry | Rung::Fallback) if self.choice.copy => Next::Copy,
            None | Some(_) => Next::End,
        };
        self.at = Some(match next {
            Next::Ask { rung, .. } => rung,
            Next::Copy => Rung::Stale,
            Next::End => Rung::Builtin,
        });
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn climb(choice: Choice, failure: Failure, each: Duration) -> Vec<String> {
        let mut now = Instant::now();
        let mut ladder = Ladder::new(now, choice);
        let mut rungs = Vec::new();
        loop {
            match ladder.next(now) {
                Next::Ask { rung, pause, within } => {
                    rungs.push(format!("{} {}", rung.as_str(), within.as_millis()));
                    now += pause + each.min(within);
                    ladder.failed(failure);
                }
                Next::Copy => rungs.push("copy".to_owned()),
                Next::End => return rungs,
            }
        }
    }

    const ALL: Choice = Choice {
        is_away: false,
        fallback: true,
        copy: true,
        local: true,
        builtin: true,
        own: false,
        timeout: Duration::from_secs(15),
        patience: Duration::from_secs(3),
    };
    const NOTHING: Choice = Choice { fallback: false, copy: false, local: false, builtin: false, ..ALL };

    #[test]
    fn the_rungs_come_in_order_and_no_caller_probes() {
        let (gone, bad) = (Failure::NotReached, Failure::Bad);
        for (choice, failure, each, expected) in [
            (ALL, gone, S, &["live 3000", "retry 1750", "fallback 3000", "copy"][..]),
            (ALL, bad, S, &["live 3000", "fallback 3000", "copy"]),
            (ALL, gone, 2 * S, &["live 3000", "fallback 3000", "copy"]),
            (Choice { is_away: true, ..ALL }, gone, S, &["fallback 3000", "copy"]),
            (Choice { is_away: true, fallback: false, ..ALL }, gone, S, &["copy"]),
            (Choice { is_away: true, fallback: false, copy: false, ..ALL }, gone, S, &[]),
            (Choice { is_away: true, ..NOTHING }, bad, S, &["live 15000"]),
            (NOTHING, gone, S, &["live 15000", "retry 13750"]),
            // A flow with a fallback of its own is not kept waiting, and repeats by itself.
            (
                Choice { fallback: false, copy: false, local: false, builtin: false, own: true, ..ALL },
                gone,
                S,
                &["live 3000"],
            ),
            (
                Choice { is_away: true, fallback: false, copy: false, local: false, own: true, ..ALL },
                gone,
                S,
                &[],
            ),
            (Choice { timeout: S, ..ALL }, gone, S, &["live 1000", "fallback 1000", "copy"]),
            (Choice { local: true, ..NOTHING }, bad, S, &["live 3000"]),
            // Ringing telephones are no menu: a slow server gets its time.
            (Choice { builtin: true, ..NOTHING }, bad, S, &["live 15000"]),
            (Choice { builtin: true, is_away: true, ..NOTHING }, bad, S, &[]),
        ] {
            assert_eq!(climb(choice, failure, each), expected, "{choice:?} {failure:?} {each:?}");
        }
    }
}
