//! What a webhook tells: how dear it is when room runs out, and how long it is worth sending.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Kinds of webhooks, the cheapest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A state on the way: dropped first, since a later one says more.
    Progress,
    /// How a call ended, and all else that is said once.
    Final,
    /// Something is wrong with the box, or is well again.
    Alarm,
    /// An emergency number was called: in a lane of its own, before all others.
    Emergency,
    /// What books are kept by, such as call records: never dropped for others, never too old.
    Record,
}

impl Class {
    /// Every class, in the order of the counters.
    pub const ALL: [Self; 5] = [Self::Progress, Self::Final, Self::Alarm, Self::Emergency, Self::Record];

    /// The name, as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Progress => "progress",
            Self::Final => "final",
            Self::Alarm => "alarm",
            Self::Emergency => "emergency",
            Self::Record => "record",
        }
    }

    /// How long it is worth sending; none for ever.
    #[must_use]
    pub const fn age_max(self) -> Option<Duration> {
        match self {
            Self::Progress | Self::Final => Some(DAY.saturating_mul(7)),
            Self::Alarm => Some(DAY.saturating_mul(30)),
            Self::Emergency => Some(DAY),
            Self::Record => None,
        }
    }
}

/// A count for each class, in the order of [`Class::ALL`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ByClass(pub [u64; Class::ALL.len()]);

impl ByClass {
    /// The count of one class.
    #[must_use]
    pub const fn of(&self, class: Class) -> u64 {
        self.0[class as usize]
    }

    /// Counts one more.
    pub const fn add(&mut self, class: Class) {
        self.0[class as usize] += 1;
    }

    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The classes that were counted, with how often.
    pub fn counted(&self) -> impl Iterator<Item = (Class, u64)> {
        Class::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// What was counted since `before`, which was an earlier state of the same counts.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].saturating_sub(before.0[at])))
    }
}
