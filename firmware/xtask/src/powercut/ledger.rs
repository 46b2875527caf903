//! What the spool has promised, against what is there after a power cut.
//!
//! Pure: lines of the guest in, faults out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One line of the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    /// A stretch of webhooks that the spool holds: their numbers from `first` to `last`, and
    /// the names they have, which rise with the numbers.
    Held { first: u64, last: u64, name: u64 },
    /// The spool was opened, and all it holds was read.
    Opened(Opening),
    /// A webhook was acknowledged.
    Acknowledged { number: u64, name: u64 },
    /// A webhook is about to be removed: from here on it may be there or not.
    Removing { number: u64 },
}

/// How the opening went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Opening {
    /// A folder was set aside, because it could not be read.
    pub(crate) set_aside: bool,
    /// Records that could not be read, or that were not as they were put.
    pub(crate) damaged: u64,
    /// Records that the spool itself misses.
    pub(crate) forgotten: u64,
    /// How long it took, in the guest's milliseconds.
    pub(crate) took_ms: u64,
}

impl Said {
    /// Reads a line such as `held 17 42 3000001`; none if the guest says something else.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let word = words.next()?;
        let numbers: Vec<u64> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
        match (word, numbers.as_slice()) {
            ("held", &[first, last, name]) if first <= last => Some(Self::Held { first, last, name }),
            ("opened", &[set_aside, damaged, forgotten, took_ms]) => {
                Some(Self::Opened(Opening { set_aside: set_aside > 0, damaged, forgotten, took_ms }))
            }
            ("acknowledged", &[number, name]) => Some(Self::Acknowledged { number, name }),
            ("removing", &[number]) => Some(Self::Removing { number }),
            _ => None,
        }
    }
}

/// A promise that was not kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Acknowledged webhooks are missing: their numbers.
    Lost(Vec<u64>),
    /// A webhook has another name than when it was acknowledged.
    Exchanged { number: u64 },
    /// Two webhooks have one name.
    NameTwice { name: u64 },
    /// Numbers were given to a second webhook.
    NumberTwice(Vec<u64>),
    /// Records could not be read.
    Damaged { count: u64 },
    /// The spool misses records itself.
    Forgotten { count: u64 },
    /// The spool could not be read and was set aside.
    SetAside,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(numbers) => {
                write!(f, "{} acknowledged webhooks are lost: {}", numbers.len(), some(numbers))
            }
            Self::Exchanged { number } => write!(f, "webhook {number} is not the one that was acknowledged"),
            Self::NameTwice { name } => write!(f, "two webhooks have the name {name}"),
            Self::NumberTwice(numbers) => write!(f, "numbers were used twice: {}", some(numbers)),
            Self::Damaged { count } => write!(f, "{count} webhooks are damaged"),
            Self::Forgotten { count } => write!(f, "the spool misses {count} webhooks"),
            Self::SetAside => write!(f, "the spool could not be read and was set aside"),
        }
    }
}

/// The first few of them.
fn some(numbers: &[u64]) -> String {
    const SHOWN: usize = 8;
    let mut words: Vec<String> = numbers.iter().take(SHOWN).map(u64::to_string).collect();
    if numbers.len() > SHOWN {
        words.push("...".to_owned());
    }
    words.join(", ")
}

/// All that was promised so far.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Acknowledged, and no word of removing them: number and name.
    due: BTreeMap<u64, u64>,
    /// Removed, or about to be: number and name.
    removed: BTreeMap<u64, u64>,
    /// The highest number that was ever seen.
    highest: u64,
}

impl Ledger {
    /// Notes an acknowledgement. Gives whether the number is a new one, as each must be.
    pub(crate) fn acknowledged(&mut self, number: u64, name: u64) -> bool {
        let is_new = number > self.highest;
        self.highest = self.highest.max(number);
        self.due.insert(number, name);
        is_new
    }

    /// Notes that a webhook may go from now on.
    pub(crate) fn removing(&mut self, number: u64) {
        if let Some(name) = self.due.remove(&number) {
            self.removed.insert(number, name);
        }
    }

    /// How many webhooks must be there.
    pub(crate) fn due(&self) -> usize {
        self.due.len()
    }

    /// Compares with what is there after a cut, from which the ledger goes on. Gives what is
    /// wrong, and how many removals were undone, which is allowed.
    pub(crate) fn compare(&mut self, held: &BTreeMap<u64, u64>, opening: Opening) -> (Vec<Fault>, usize) {
        let mut faults = Vec::new();
        if opening.set_aside {
            faults.push(Fault::SetAside);
        }
        if opening.damaged > 0 {
            faults.push(Fault::Damaged { count: opening.damaged });
        }
        if opening.forgotten > 0 {
            faults.push(Fault::Forgotten { count: opening.forgotten });
        }
        let lost: Vec<u64> = self.due.keys().filter(|number| !held.contains_key(number)).copied().collect();
        if !lost.is_empty() {
            faults.push(Fault::Lost(lost));
        }
        let mut names = BTreeSet::new();
        for (number, name) in held {
            if !names.insert(name) {
                faults.push(Fault::NameTwice { name: *name });
            }
            let known = self.due.get(number).or_else(|| self.removed.get(number));
            if known.is_some_and(|known| known != name) {
                faults.push(Fault::Exchanged { number: *number });
            }
        }
        let undone = held.keys().filter(|number| self.removed.contains_key(number)).count();
        let highest = held.last_key_value().map_or(0, |(number, _)| *number);
        self.highest = match faults.iter().any(|fault| matches!(fault, Fault::Lost(_))) {
            // That their numbers come again follows from the loss, and is not told once more.
            true => highest,
            false => self.highest.max(highest),
        };
        self.due.clone_from(held);
        self.removed.retain(|number, _| !held.contains_key(number));
        (faults, undone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Opening = Opening { set_aside: false, damaged: 0, forgotten: 0, took_ms: 1 };

    /// Ten webhooks, of which 3 is being removed.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for number in 1..=10 {
            assert!(ledger.acknowledged(number, 100 + number));
        }
        ledger.removing(3);
        ledger
    }

    fn held(numbers: impl IntoIterator<Item = u64>) -> BTreeMap<u64, u64> {
        numbers.into_iter().map(|number| (number, 100 + number)).collect()
    }

    #[test]
    fn lines_are_read_and_everything_else_is_not() {
        assert_eq!(Said::read("held 1 4 7\r"), Some(Said::Held { first: 1, last: 4, name: 7 }));
        assert_eq!(
            Said::read("opened 1 2 3 4"),
            Some(Said::Opened(Opening { set_aside: true, damaged: 2, forgotten: 3, took_ms: 4 }))
        );
        assert_eq!(Said::read("acknowledged 5 6"), Some(Said::Acknowledged { number: 5, name: 6 }));
        assert_eq!(Said::read("removing 5"), Some(Said::Removing { number: 5 }));
        for line in
            ["", "held 4 1 7", "held 1 4", "acknowledged 5", "acknowledged 5 6 7", "removing x", "ack 5 6"]
        {
            assert_eq!(Said::read(line), None, "{line}");
        }
    }

    #[test]
    fn what_must_be_there_is_there_and_the_rest_may_be() {
        // The removal was done or undone, and two more were written without an answer.
        for (extra, undone) in [(vec![], 0), (vec![3], 1), (vec![11, 12], 0)] {
            let mut ledger = ledger();
            assert_eq!(ledger.due(), 9);
            let held = held((1..=10).filter(|n| *n != 3).chain(extra));
            assert_eq!(ledger.compare(&held, WELL), (Vec::new(), undone));
            // From here on all that is there is due.
            assert_eq!(ledger.due(), held.len());
            assert_eq!(ledger.compare(&BTreeMap::new(), WELL).0, [Fault::Lost(held.into_keys().collect())]);
        }
    }

    #[test]
    fn each_broken_promise_is_named() {
        let there = || held([1, 2, 4, 5, 6, 7, 8, 9, 10]);
        let faults = |held: &BTreeMap<u64, u64>, opening| ledger().compare(held, opening).0;
        let mut less = there();
        less.remove(&1);
        less.remove(&10);
        assert_eq!(faults(&less, WELL), [Fault::Lost(vec![1, 10])]);
        let mut other = there();
        other.insert(4, 999);
        assert_eq!(faults(&other, WELL), [Fault::Exchanged { number: 4 }]);
        let mut twice = there();
        twice.insert(11, 101);
        assert_eq!(faults(&twice, WELL), [Fault::NameTwice { name: 101 }]);
        assert_eq!(faults(&there(), Opening { set_aside: true, ..WELL }), [Fault::SetAside]);
        assert_eq!(faults(&there(), Opening { damaged: 2, ..WELL }), [Fault::Damaged { count: 2 }]);
        assert_eq!(faults(&there(), Opening { forgotten: 3, ..WELL }), [Fault::Forgotten { count: 3 }]);
    }

    #[test]
    fn no_number_comes_twice_not_even_one_that_was_never_acknowledged() {
        let mut ledger = ledger();
        assert!(!ledger.acknowledged(10, 1));
        ledger.compare(&held(1..=12), WELL);
        assert!(!ledger.acknowledged(12, 1));
        assert!(ledger.acknowledged(13, 1));
        // Taken from the end, with their removal done: the numbers were used all the same.
        ledger.removing(13);
        ledger.compare(&held(1..=9), WELL);
        assert!(ledger.acknowledged(10, 1), "a loss was told, and its numbers are free");
        ledger.removing(10);
        assert_eq!(ledger.compare(&held(1..=9), WELL), (Vec::new(), 0));
        assert!(!ledger.acknowledged(10, 1));
    }
}
