//! Which servers are away. Pure.
//!
//! A server that failed a few times in a row is not asked again by those who have a caller
//! waiting: it is probed in the background until it answers. So no caller is the probe.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Failures in a row that make a server count as away.
const FAILURES: usize = 3;
/// All of them within this time.
const WITHIN: Duration = Duration::from_secs(60);
/// Pauses before the probes; the last goes on.
const PROBES: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(40),
    Duration::from_secs(60),
];
/// Servers that are remembered. Beyond, the one that failed longest ago is forgotten.
const ORIGINS_MAX: usize = 64;

/// How a server behaved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Behaviour {
    /// It answered, be it with a refusal: it is there.
    There,
    /// It gave no answer, or one that says that it cannot work.
    Away,
    /// Nothing can be said: the fault was ours, or the time was short.
    Unknown,
}

/// What a report has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// The server counts as away from now on.
    Opened,
    /// It is back, after this time.
    Closed(Duration),
}

#[derive(Debug, Default)]
struct Breaker {
    /// The last failures in a row, oldest first.
    failed: Vec<Instant>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    since: Instant,
    probes: usize,
    next_probe: Instant,
}

/// Servers by scheme, host and port.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    origins: BTreeMap<String, Breaker>,
}

impl Breakers {
    /// Takes a report. `random` spreads the probes of many boxes by a fifth to either side.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        origin: &str,
        behaviour: Behaviour,
        random: u32,
    ) -> Option<Change> {
        match behaviour {
            Behaviour::Unknown => None,
            Behaviour::There => {
                let open = self.origins.remove(origin)?.open?;
                Some(Change::Closed(now.saturating_duration_since(open.since)))
            }
            Behaviour::Away => {
                if !self.origins.contains_key(origin) {
                    self.make_room();
                }
                let breaker = self.origins.entry(origin.to_owned()).or_default();
                breaker.failed.push(now);
                if breaker.failed.len() > FAILURES {
                    breaker.failed.remove(0);
                }
                let first = breaker.failed.first().copied().unwrap_or(now);
                let in_a_row = breaker.failed.len() == FAILURES && now - first <= WITHIN;
                if breaker.open.is_some() || !in_a_row {
                    return None;
                }
                let next_probe = now + spread(PROBES[0], random);
                breaker.open = Some(Open { since: now, probes: 0, next_probe });
                Some(Change::Opened)
            }
        }
    }

    fn make_room(&mut self) {
        if self.origins.len() < ORIGINS_MAX {
            return;
        }
        let oldest = self.origins.iter().min_by_key(|(_, breaker)| breaker.failed.last().copied());
        if let Some(origin) = oldest.map(|(origin, _)| origin.clone()) {
            self.origins.remove(&origin);
        }
    }

    /// True while a server counts as away.
    #[must_use]
    pub(crate) fn is_away(&self, origin: &str) -> bool {
        self.origins.get(origin).is_some_and(|breaker| breaker.open.is_some())
    }

    /// Those that count as away, with how long they have.
    pub(crate) fn away(&self, now: Instant) -> impl Iterator<Item = (&str, Duration)> {
        self.origins.iter().filter_map(move |(origin, breaker)| {
            let open = breaker.open.as_ref()?;
            Some((origin.as_str(), now.saturating_duration_since(open.since)))
        })
    }

    /// A server whose probe is due at `now`; its next one is planned with that.
    pub(crate) fn probe(&mut self, now: Instant, random: u32) -> Option<String> {
        self.origins.iter_mut().find_map(|(origin, breaker)| {
            let open = breaker.open.as_mut().filter(|open| open.next_probe <= now)?;
            open.probes += 1;
            open.next_probe = now + spread(PROBES[open.probes.min(PROBES.len() - 1)], random);
            Some(origin.clone())
        })
    }

    /// When the next probe is due.
    #[must_use]
    pub(crate) fn next_probe(&self) -> Option<Instant> {
        self.origins.values().filter_map(|breaker| Some(breaker.open.as_ref()?.next_probe)).min()
    }
}

/// 80 to 120 % of `wait`.
fn spread(wait: Duration, random: u32) -> Duration {
    wait.mul_f64(0.8 + 0.4 * f64::from(random) / f64::from(u32::MAX))
}

/// Scheme, host and port of an address, as far as it has them.
#[must_use]
pub(crate) fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: u32 = u32::MAX / 2;
    const S: Duration = Duration::from_secs(1);

    fn fail(breakers: &mut Breakers, now: Instant) -> Option<Change> {
        breakers.note(now, "http://a", Behaviour::Away, MIDDLE)
    }

    #[test]
    fn three_failures_in_a_row_within_a_minute_open_it_and_one_answer_closes_it() {
        let start = Instant::now();
        let mut breakers = Breakers::default();
        assert_eq!(fail(&mut breakers, start), None);
        assert_eq!(fail(&mut breakers, start + S), None);
        breakers.note(start + 2 * S, "http://a", Behaviour::There, 0);
        assert_eq!(fail(&mut breakers, start + 3 * S), None, "no longer in a row");
        assert_eq!(fail(&mut breakers, start + 4 * S), None);
        breakers.note(start + 5 * S, "http://a", Behaviour::Unknown, 0);
        assert_eq!(fail(&mut breakers, start + 64 * S), None, "61 s");
        assert!(!breakers.is_away("http://a"));
        assert_eq!(fail(&mut breakers, start + 64 * S), Some(Change::Opened));
        assert!(breakers.is_away("http://a") && !breakers.is_away("http://b"));
        assert_eq!(fail(&mut breakers, start + 65 * S), None, "it is open already");
        let closed = breakers.note(start + 94 * S, "http://a", Behaviour::There, 0);
        assert_eq!(closed, Some(Change::Closed(30 * S)));
        assert!(!breakers.is_away("http://a"));
        assert_eq!(breakers.next_probe(), None);
    }

    #[test]
    fn probes_come_at_growing_pauses_and_never_end() {
        let mut now = Instant::now();
        let mut breakers = Breakers::default();
        (0..3).for_each(|_| _ = fail(&mut breakers, now));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let next = breakers.next_probe().unwrap();
            assert_eq!(breakers.probe(next - Duration::from_millis(1), MIDDLE), None);
            assert_eq!(breakers.probe(next, MIDDLE).as_deref(), Some("http://a"));
            assert_eq!(breakers.probe(next, MIDDLE), None);
            pauses.push((next - now).as_secs_f64().round() as u64);
            now = next;
            fail(&mut breakers, now);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60, 60, 60]);
    }

    #[test]
    fn the_number_of_servers_is_bounded() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        for n in 0..1_000 {
            breakers.note(now + n * S, &format!("http://{n}"), Behaviour::Away, 0);
        }
        assert_eq!(breakers.origins.len(), ORIGINS_MAX);
        assert!(breakers.origins.contains_key("http://999"));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (url, expected) in [
            ("http://a:81/b?c#d", "http://a:81"),
            ("https://a?x=/", "https://a"),
            ("http://a", "http://a"),
            ("", ""),
        ] {
            assert_eq!(origin(url), expected);
        }
    }
}
