//! Events of the box itself, for the operator's receiver: their bodies, and what is said
//! in one event instead of many. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tipring_model::fetch::{Body, HttpRequest, Method};
use tipring_model::flow::Moment;
use tipring_spool::{ByClass, REPLY_BYTES_MAX};

/// Longest body, in bytes; what belongs in a file is not sent in an event.
const BODY_BYTES_MAX: usize = 20_000;
/// No box runs earlier than this was written (2026-11-01): a clock that says so is wrong.
const WRITTEN_UNIX_MS: i64 = 1_793_491_200_000;
/// How long a server may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// A line's change is told when it has lasted so long.
const LASTING: Duration = Duration::from_secs(10);
/// A line that changes all the time is told about this often.
const FLAPPING: Duration = Duration::from_secs(60);
/// A burst of dropped webhooks is over after so long a rest, and told in one event.
const BURST_REST: Duration = Duration::from_secs(60);
/// One that does not end is told about this often.
const BURST_MAX: Duration = Duration::from_secs(600);

/// Whether a wall clock can be right.
pub(super) const fn is_certain(unix_ms: i64) -> bool {
    unix_ms >= WRITTEN_UNIX_MS
}

/// The body of an event (Standard Webhooks); none if it would be too long.
pub(super) fn body(topic: &str, unix_ms: i64, data: &Value) -> Option<Vec<u8>> {
    let timestamp = Timestamp::from_millisecond(unix_ms).unwrap_or_default().to_string();
    let mut body = json!({ "type": topic, "timestamp": timestamp, "data": data });
    if !is_certain(unix_ms) {
        body["timestamp_uncertain"] = Value::Bool(true);
    }
    let text = body.to_string().into_bytes();
    (text.len() < BODY_BYTES_MAX).then_some(text)
}

/// The request that carries a body to the operator's receiver.
pub(super) fn request(url: &str, bytes: Vec<u8>) -> HttpRequest {
    HttpRequest {
        method: Method::Post,
        url: url.to_owned(),
        headers: Vec::new(),
        body: Some(Body { media_type: "application/json".to_owned(), bytes }),
        timeout: TIMEOUT,
        redirects_max: 0,
        body_max_bytes: REPLY_BYTES_MAX,
        cuts_body: true,
        connect: None,
        moves_fields: false,
        total: None,
    }
}

/// Lines that go down and up again.
#[derive(Default)]
pub(super) struct Flaps {
    /// What was said last; a line that nothing was said of is up.
    told_down: BTreeMap<String, bool>,
    pending: BTreeMap<String, Changes>,
}

struct Changes {
    first: Moment,
    last: Moment,
    count: u64,
    is_down: bool,
    detail: &'static str,
}

impl Flaps {
    /// A line went down for a reason, or up again.
    pub(super) fn changed(&mut self, now: Moment, line: &str, down: Option<&'static str>) {
        let is_down = down.is_some();
        let was_down = self
            .pending
            .get(line)
            .map_or_else(|| self.told_down.get(line).copied().unwrap_or(false), |changes| changes.is_down);
        if is_down == was_down {
            return;
        }
        let changes = self.pending.entry(line.to_owned()).or_insert_with(|| Changes {
            first: now,
            last: now,
            count: 0,
            is_down,
            detail: "",
        });
        changes.count += 1;
        (changes.last, changes.is_down) = (now, is_down);
        changes.detail = down.unwrap_or(changes.detail);
    }

    /// What is to be told now: whether it is down, its line, and the facts.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(bool, String, Value)> {
        let is_due = |changes: &Changes| {
            now.saturating_duration_since(changes.last.instant) >= LASTING
                || now.saturating_duration_since(changes.first.instant) >= FLAPPING
        };
        let lines: Vec<String> = self
            .pending
            .iter()
            .filter(|(_, changes)| is_due(changes))
            .map(|(line, _)| line.clone())
            .collect();
        let mut due = Vec::new();
        for line in lines {
            let Some(changes) = self.pending.remove(&line) else { continue };
            self.told_down.insert(line.clone(), changes.is_down);
            let facts = json!({
                "line": line,
                "detail": changes.detail,
                "changes": changes.count,
                "first": time(changes.first.unix_ms),
                "last": time(changes.last.unix_ms),
            });
            due.push((changes.is_down, line, facts));
        }
        due
    }
}

fn time(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms).unwrap_or_default().to_string()
}

/// Webhooks that are dropped many at a time.
#[derive(Default)]
pub(super) struct Burst {
    told: ByClass,
    seen: ByClass,
    /// When the first and the last of those were seen that are not told yet.
    since: Option<(Instant, Instant)>,
}

impl Burst {
    /// Takes what was dropped in all, and says what is to be told now.
    pub(super) fn due(&mut self, now: Instant, dropped: ByClass) -> Option<ByClass> {
        if dropped != self.seen {
            let first = self.since.map_or(now, |(first, _)| first);
            (self.seen, self.since) = (dropped, Some((first, now)));
        }
        let (first, last) = self.since?;
        let is_over = now.saturating_duration_since(last) >= BURST_REST
            || now.saturating_duration_since(first) >= BURST_MAX;
        if !is_over {
            return None;
        }
        let news = dropped.since(&self.told);
        (self.told, self.since) = (dropped, None);
        Some(news)
    }
}

/// The facts of `queue.dropped`.
pub(super) fn dropped(counts: &ByClass) -> Value {
    let by_class: serde_json::Map<String, Value> =
        counts.counted().map(|(class, count)| (class.as_str().to_owned(), count.into())).collect();
    json!({ "count": counts.total(), "by_class": by_class })
}

#[cfg(test)]
mod tests {
    use tipring_spool::Class;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(start: Instant, seconds: u32) -> Moment {
        Moment { instant: start + seconds * SECOND, unix_ms: 1_800_000_000_000 + i64::from(seconds) * 1_000 }
    }

    #[test]
    fn a_body_has_a_type_a_time_and_facts_and_says_when_the_clock_is_wrong() {
        let told = |unix_ms| {
            let bytes = body("line.alarm", unix_ms, &json!({ "line": "desk" })).unwrap();
            serde_json::from_slice::<Value>(&bytes).unwrap()
        };
        let right =
            json!({ "type": "line.alarm", "timestamp": "2027-01-15T08:00:00Z", "data": { "line": "desk" } });
        assert_eq!(told(1_800_000_000_000), right);
        assert_eq!(told(12_000)["timestamp_uncertain"], true);
        assert_eq!(told(12_000)["timestamp"], "1970-01-01T00:00:12Z");
        assert_eq!(body("x.y", 0, &json!("x".repeat(BODY_BYTES_MAX))), None);
    }

    #[test]
    fn a_line_that_goes_down_is_told_once_it_lasts_and_flaps_are_one_event() {
        let start = Instant::now();
        let mut flaps = Flaps::default();
        flaps.changed(at(start, 0), "a", Some("no answer"));
        flaps.changed(at(start, 0), "b", None);
        assert_eq!(flaps.due(start + 9 * SECOND), []);
        let due = flaps.due(start + 10 * SECOND);
        assert_eq!(due.len(), 1);
        let (is_down, line, facts) = &due[0];
        assert_eq!((*is_down, line.as_str()), (true, "a"));
        assert_eq!((&facts["changes"], &facts["detail"]), (&json!(1), &json!("no answer")));
        assert_eq!(flaps.due(start + 20 * SECOND), [], "said once");

        for second in 20..29 {
            flaps.changed(at(start, second), "a", (second % 2 == 1).then_some(""));
        }
        let due = flaps.due(start + 38 * SECOND);
        let (is_down, _, facts) = &due[0];
        assert!(!is_down);
        assert_eq!(facts["changes"], 9);
        assert_eq!(facts["first"], "2027-01-15T08:00:20Z");
        assert_eq!(facts["last"], "2027-01-15T08:00:28Z");
    }

    #[test]
    fn a_line_that_never_rests_is_told_about_once_a_minute() {
        let start = Instant::now();
        let mut flaps = Flaps::default();
        let mut told = 0;
        for second in 0..600 {
            flaps.changed(at(start, second), "a", (second % 2 == 0).then_some(""));
            told += flaps.due(start + second * SECOND).len();
        }
        assert!((9..=10).contains(&told), "{told}");
    }

    #[test]
    fn a_burst_of_drops_is_one_event_with_its_counts() {
        let start = Instant::now();
        let mut burst = Burst::default();
        let mut dropped = ByClass::default();
        assert_eq!(burst.due(start, dropped), None);
        for second in 0..100 {
            dropped.add(Class::Progress);
            assert_eq!(burst.due(start + second * SECOND, dropped), None);
        }
        dropped.add(Class::Final);
        assert_eq!(burst.due(start + 100 * SECOND, dropped), None);
        assert_eq!(burst.due(start + 159 * SECOND, dropped), None);
        let told = burst.due(start + 160 * SECOND, dropped).unwrap();
        assert_eq!(
            self::dropped(&told),
            json!({ "count": 101, "by_class": { "progress": 100, "final": 1 } })
        );
        assert_eq!(burst.due(start + 400 * SECOND, dropped), None);
        dropped.add(Class::Alarm);
        assert_eq!(burst.due(start + 401 * SECOND, dropped), None);
        let told = burst.due(start + 500 * SECOND, dropped).unwrap();
        assert_eq!(self::dropped(&told)["by_class"], json!({ "alarm": 1 }));
    }
}
