//! When letters are tried again. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Owed;

/// The first pause after a failure; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(30);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// Longest that a letter is owed (RFC 5321 §4.5.4.1 proposes four to five days).
const OWED_MS_MAX: i64 = 5 * 24 * 3_600 * 1_000;

type Name = (String, String, String);

/// Letters that were not taken yet.
#[derive(Default)]
pub(super) struct Pace {
    failed: BTreeMap<Name, (u32, Instant)>,
}

fn name(owed: &Owed, to: &str) -> Name {
    (owed.mailbox.clone(), owed.file.clone(), to.to_owned())
}

impl Pace {
    /// Forgets what is owed no longer.
    pub(super) fn only(&mut self, owed: &[Owed]) {
        let still: std::collections::BTreeSet<Name> =
            owed.iter().flat_map(|owed| owed.to.iter().map(move |to| name(owed, to))).collect();
        self.failed.retain(|name, _| still.contains(name));
    }

    /// When a letter is sent next.
    pub(super) fn due(&self, now: Instant, owed: &Owed, to: &str) -> Instant {
        self.failed.get(&name(owed, to)).map_or(now, |(_, due)| *due)
    }

    /// It was not taken. True if it never will be.
    pub(super) fn failed(&mut self, now: Instant, now_unix_ms: i64, owed: &Owed, to: &str) -> bool {
        let (times, due) = self.failed.entry(name(owed, to)).or_insert((0, now));
        let pause = PAUSE_MIN.saturating_mul(1 << (*times).min(10)).min(PAUSE_MAX);
        (*times, *due) = (*times + 1, now + pause);
        now_unix_ms.saturating_sub(owed.at_unix_ms) > OWED_MS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour_and_end_after_five_days() {
        let owed = Owed {
            mailbox: "ann".to_owned(),
            file: "1.wav".to_owned(),
            from: "15550100".to_owned(),
            name: None,
            at_unix_ms: 0,
            length_ms: 1_000,
            to: vec!["ann@office.example".to_owned()],
        };
        let to = "ann@office.example";
        let mut pace = Pace::default();
        let start = Instant::now();
        let mut now = start;
        let mut pauses = Vec::new();
        loop {
            assert!(pace.due(now, &owed, to) <= now);
            let unix_ms = i64::try_from((now - start).as_millis()).unwrap();
            if pace.failed(now, unix_ms, &owed, to) {
                break;
            }
            let due = pace.due(now, &owed, to);
            pauses.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(pauses.get(..9).unwrap(), [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        assert!((now - start).as_secs() >= 5 * 24 * 3_600 && pauses.len() < 200);
        pace.only(&[]);
        assert!(pace.failed.is_empty());
    }
}
