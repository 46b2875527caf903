//! `tipring metrics`: how the daemon stands, as Prometheus reads it (text format 0.0.4). A
//! timer writes it where a collector looks; no port is opened for it.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::remote::ask;
use super::{OK, say};

pub(super) fn run(socket: &Path) -> u8 {
    let asked = |what: &str| ask(socket, &json!({ "do": what }));
    match asked("status").and_then(|status| Ok((status, asked("spool-stats")?))) {
        Ok((status, spool)) => {
            say(text(&status, &spool).trim_end());
            OK
        }
        Err(code) => code,
    }
}

/// One family: its name without `tipring_`, type, help, and its samples with their labels.
type Family<'a> = (&'a str, &'a str, &'a str, Vec<(Vec<(&'a str, String)>, Value)>);

fn text(status: &Value, spool: &Value) -> String {
    let one = |value: &Value| vec![(Vec::new(), value.clone())];
    let each = |list: &Value, labels: &[&'static str], value: &dyn Fn(&Value) -> Value| {
        let row = |row: &Value| {
            let labels = labels.iter().map(|label| (*label, plain(&row[*label]))).collect();
            (labels, value(row))
        };
        list.as_array().into_iter().flatten().map(row).collect::<Vec<_>>()
    };
    let by = |object: &Value, label: &'static str| {
        let fields = object.as_object().into_iter().flatten();
        fields.map(|(name, value)| (vec![(label, name.clone())], value.clone())).collect::<Vec<_>>()
    };
    let counters = &status["counters"];
    let is_up = |line: &Value| json!(u8::from(line["state"] == "up"));
    let families: Vec<Family<'_>> = vec![
        ("calls_active", "gauge", "Calls that run.", one(&counters["calls_active"])),
        ("calls_total", "counter", "Calls since the start.", one(&counters["calls_total"])),
        ("line_up", "gauge", "1 if the line can be used.", each(&status["lines"], &["name", "kind"], &is_up)),
        (
            "device_up",
            "gauge",
            "1 if the device of analog lines is there.",
            each(&status["devices"], &["name", "kind"], &|device| {
                json!(u8::from(device["is_present"] == true))
            }),
        ),
        (
            "fetch_ladder_total",
            "counter",
            "Documents for callers, by where they came from.",
            by(&status["servers"]["ladder"], "step"),
        ),
        (
            "fetch_server_away_seconds",
            "gauge",
            "How long a web server of flows has been away.",
            each(&status["servers"]["away"], &["server"], &|row| row["since_s"].clone()),
        ),
        (
            "webhook_queue_depth",
            "gauge",
            "Webhooks that wait, by server.",
            each(&spool["servers"], &["server"], &|row| row["waiting"].clone()),
        ),
        ("webhook_oldest_seconds", "gauge", "Age of the oldest that waits.", one(&spool["oldest_s"])),
        ("webhook_parked", "gauge", "Webhooks that are set apart.", one(&spool["parked"])),
        ("webhook_sent_total", "counter", "Webhooks taken since the start.", one(&spool["sent"])),
        (
            "webhook_dropped_total",
            "counter",
            "Webhooks dropped since the start, by class.",
            by(&spool["dropped"]["by_class"], "class"),
        ),
        ("webhook_forgotten", "gauge", "Webhooks that the store has lost.", one(&spool["forgotten"])),
        (
            "records_waiting",
            "gauge",
            "Call records that wait for the disk.",
            one(&status["records"]["waiting"]),
        ),
        ("records_lost_total", "counter", "Call records that were lost.", one(&status["records"]["lost"])),
        (
            "uploads_waiting",
            "gauge",
            "Recordings that wait to be uploaded.",
            one(&status["uploads"]["waiting"]),
        ),
    ];
    let mut text = String::new();
    for (name, kind, help, samples) in families {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "# HELP tipring_{name} {help}\n# TYPE tipring_{name} {kind}");
        for (labels, value) in samples {
            // Nothing waits: it has no age.
            let value = value.as_u64().unwrap_or(0);
            let labels: Vec<String> =
                labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "tipring_{name}{labels} {value}");
        }
    }
    text
}

fn plain(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A label's value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_its_type_and_labels_are_escaped() {
        let status = json!({
            "counters": { "calls_active": 2, "calls_total": 40 },
            "lines": [{ "name": "a\"b\\c", "kind": "sip-trunk", "state": "up" },
                      { "name": "desk", "kind": "sip-phone", "state": "down" }],
            "devices": [{ "name": "card1", "kind": "linecard", "is_present": true }],
            "servers": { "ladder": { "live": 7, "stale": 1 }, "away": [{ "server": "web.test", "since_s": 9 }] },
            "records": { "waiting": 0, "lost": 0 }, "uploads": { "waiting": 3 }
        });
        let spool = json!({
            "servers": [{ "server": "http://hooks.test", "waiting": 5 }], "oldest_s": null, "parked": 1,
            "sent": 8, "dropped": { "by_class": { "progress": 4 } }, "forgotten": 0
        });
        let text = text(&status, &spool);
        for line in [
            "# TYPE tipring_calls_total counter",
            "tipring_calls_active 2",
            "tipring_line_up{name=\"a\\\"b\\\\c\",kind=\"sip-trunk\"} 1",
            "tipring_line_up{name=\"desk\",kind=\"sip-phone\"} 0",
            "tipring_device_up{name=\"card1\",kind=\"linecard\"} 1",
            "tipring_fetch_ladder_total{step=\"stale\"} 1",
            "tipring_fetch_server_away_seconds{server=\"web.test\"} 9",
            "tipring_webhook_queue_depth{server=\"http://hooks.test\"} 5",
            "tipring_webhook_oldest_seconds 0",
            "tipring_webhook_dropped_total{class=\"progress\"} 4",
            "tipring_uploads_waiting 3",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} not in\n{text}");
        }
    }
}
