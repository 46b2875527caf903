//! What the record of a call says.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tipring_lines::analog::contract::Note;
use tipring_media::LegStats;
use tipring_model::call::{Cdr, LegRecord};
use tipring_model::line::Supervision;
use tipring_model::{Cause, LegId};

use crate::fetch::ladder::Rung;

/// A call record as it is stored.
#[derive(Clone, Serialize, Debug)]
pub(crate) struct Record {
    id: String,
    direction: &'static str,
    from: String,
    from_name: Option<String>,
    to: String,
    line: Option<String>,
    flow: Option<String>,
    started: String,
    answered_after_ms: Option<u64>,
    supervision: Option<&'static str>,
    lasted_ms: u64,
    cause: &'static str,
    q850: u8,
    ended_by: &'static str,
    label: String,
    legs: Vec<Leg>,
    recordings: Vec<String>,
    /// What the caller got when it was not what the server said: the lowest rung of all.
    edge_fetch: Option<&'static str>,
    /// How old a copy was.
    edge_fetch_age_s: Option<u64>,
    requests: Vec<RequestRecord>,
    digits: Vec<DigitRecord>,
    steps: Vec<StepRecord>,
}

/// A key that the caller pressed, in a [`Record`]. Of a longer row of keys, which may be a
/// secret, only the number is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub(crate) struct DigitRecord {
    /// Since the beginning of the call.
    pub at_ms: u64,
    /// The leg.
    pub leg: String,
    /// The key, or `*` for one that is not shown.
    pub digit: char,
}

/// One request to the application's server in a [`Record`].
#[derive(Clone, Serialize, Debug)]
pub(crate) struct RequestRecord {
    /// Since the beginning of the call.
    pub at_ms: u64,
    /// The method.
    pub method: &'static str,
    /// The address, without credentials and query.
    pub url: String,
    /// Which attempt, or what stood in: `live`, `retry`, `fallback`, `stale`, `local` or
    /// `builtin`.
    pub rung: &'static str,
    /// The status of the answer.
    pub status: Option<u16>,
    /// What was wrong with it.
    pub code: Option<&'static str>,
    /// How long it took.
    pub ms: u64,
}

/// What the flow of a call went through, for its [`Record`].
#[derive(Clone, Default, Debug)]
pub(crate) struct Trail {
    /// What the caller got at worst, with the age of the copy in seconds.
    pub edge: Option<(Rung, Option<u64>)>,
    /// Requests.
    pub requests: Vec<RequestRecord>,
    /// Keys.
    pub digits: Vec<DigitRecord>,
    /// Steps.
    pub steps: Vec<StepRecord>,
}

/// One step of the flow in a [`Record`].
#[derive(Clone, Serialize, Debug)]
pub(crate) struct StepRecord {
    /// Since the beginning of the call.
    pub at_ms: u64,
    /// The command.
    pub command: String,
    /// Where it stands in its document.
    pub path: String,
    /// Whether it succeeded.
    pub success: bool,
    /// What happened.
    pub reason: String,
}

#[derive(Clone, Serialize, Debug)]
struct Leg {
    leg: String,
    line: Option<String>,
    to: String,
    began_after_ms: u64,
    answered_after_ms: Option<u64>,
    supervision: Option<&'static str>,
    lasted_ms: u64,
    cause: &'static str,
    codec: Option<&'static str>,
    rtp: Option<Rtp>,
    /// Over two wires: what is known, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    wire: Option<Wire>,
    /// Lines that it was tried over before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tried: Vec<TriedLine>,
}

/// A line that could not carry a leg.
#[derive(Clone, Serialize, Debug)]
struct TriedLine {
    line: String,
    cause: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wire: Option<Wire>,
}

/// What was found out about a leg over two wires.
#[derive(Clone, PartialEq, Eq, Serialize, Default, Debug)]
struct Wire {
    /// The standard by which the caller was told.
    caller_id: Option<&'static str>,
    /// How the exchange rang, in milliseconds on and off.
    ring: Option<String>,
    /// How the answer was known.
    answer_by: Option<&'static str>,
    /// How the end was known: every sign of it.
    end_by: Vec<&'static str>,
}

impl Wire {
    fn of(notes: &[Note]) -> Option<Self> {
        let mut wire = Self::default();
        for note in notes {
            match note {
                Note::CallerId(standard) => wire.caller_id = Some(standard.as_str()),
                Note::Ring(cadence) => {
                    let steps: Vec<String> = cadence.steps_ms().iter().map(u16::to_string).collect();
                    wire.ring = Some(steps.join("-"));
                }
                Note::Answer(sign) => wire.answer_by = Some(sign.as_str()),
                Note::End(sign) => wire.end_by.push(sign.as_str()),
            }
        }
        (!notes.is_empty()).then_some(wire)
    }
}

#[derive(Clone, Serialize, Debug)]
struct Rtp {
    #[serde(rename = "in")]
    received: u64,
    out: u64,
    lost: u64,
    late: u64,
    duplicates: u64,
    rejected: u64,
    concealed: u64,
    jitter_ms: f64,
}

/// What the daemon knows of a leg beyond its record.
pub(crate) struct LegFacts {
    /// Name of its line.
    pub line: Option<String>,
    /// Codec.
    pub codec: Option<&'static str>,
    /// Counters of its audio.
    pub stats: Option<LegStats>,
    /// What was found out about its wires.
    pub notes: Vec<Note>,
    /// Lines that it was tried over before, why they could not carry it, and what was found out.
    pub tried: Vec<(String, Cause, Vec<Note>)>,
}

impl Record {
    /// The record of a finished call.
    pub(crate) fn new(
        cdr: &Cdr,
        line: Option<String>,
        flow: Option<String>,
        trail: Trail,
        facts: impl Fn(LegId) -> LegFacts,
    ) -> Self {
        Self {
            id: cdr.id.to_string(),
            direction: cdr.direction.as_str(),
            from: cdr.from.number_or_anonymous().to_owned(),
            from_name: cdr.from.name.clone(),
            to: cdr.to.to_string(),
            line,
            flow,
            started: Timestamp::from_millisecond(cdr.started_unix_ms)
                .map(|at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
                .unwrap_or_default(),
            answered_after_ms: cdr.answered_after.map(milliseconds),
            supervision: cdr.supervision.map(supervision),
            lasted_ms: milliseconds(cdr.lasted),
            cause: cdr.cause.name(),
            q850: cdr.cause.q850(),
            ended_by: cdr.ended_by.as_str(),
            label: cdr.label.clone(),
            legs: cdr.legs.iter().map(|leg| Leg::new(leg, facts(leg.leg))).collect(),
            recordings: cdr.recordings.clone(),
            edge_fetch: trail.edge.map(|(rung, _)| rung.as_str()),
            edge_fetch_age_s: trail.edge.and_then(|(_, age_s)| age_s),
            requests: trail.requests,
            digits: hidden(trail.digits),
            steps: trail.steps,
        }
    }
}

impl Record {
    /// Everything but the course of the flow.
    pub(crate) fn summary(&self) -> Value {
        let mut summary = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = summary.as_object_mut() {
            for long in ["steps", "requests", "digits"] {
                fields.remove(long);
            }
        }
        summary
    }
}

impl TriedLine {
    fn of((line, cause, notes): (String, Cause, Vec<Note>)) -> Self {
        Self { line, cause: cause.name(), wire: Wire::of(&notes) }
    }
}

impl Leg {
    fn new(record: &LegRecord, facts: LegFacts) -> Self {
        Self {
            leg: record.leg.to_string(),
            line: facts.line,
            to: record.to.clone(),
            began_after_ms: milliseconds(record.began_after),
            answered_after_ms: record.answered_after.map(milliseconds),
            supervision: record.supervision.map(supervision),
            lasted_ms: milliseconds(record.lasted),
            cause: record.cause.name(),
            codec: facts.codec.filter(|name| !name.is_empty()),
            rtp: facts.stats.map(|stats| Rtp {
                received: stats.packets_in,
                out: stats.packets_out,
                lost: stats.lost,
                late: stats.late,
                duplicates: stats.duplicates,
                rejected: stats.rejected_source,
                concealed: stats.concealed,
                jitter_ms: f64::from(stats.jitter_us) / 1_000.0,
            }),
            wire: Wire::of(&facts.notes),
            tried: facts.tried.into_iter().map(TriedLine::of).collect(),
        }
    }
}

/// Keys of a row in which each followed the one before within this time belong together.
const ROW_GAP_MS: u64 = 4_000;
/// Rows of fewer keys are choices from menus, and shown.
const ROW_SECRET: usize = 4;

/// The keys as a record may show them.
fn hidden(mut digits: Vec<DigitRecord>) -> Vec<DigitRecord> {
    let near = |one: &DigitRecord, next: &DigitRecord| {
        one.leg == next.leg && next.at_ms.saturating_sub(one.at_ms) < ROW_GAP_MS
    };
    for row in digits.chunk_by_mut(near).filter(|row| row.len() >= ROW_SECRET) {
        row.iter_mut().for_each(|key| key.digit = '*');
    }
    digits
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const fn supervision(supervision: Supervision) -> &'static str {
    match supervision {
        Supervision::Signalled => "signalled",
        Supervision::Inferred => "inferred",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_of_an_end_is_told() {
        use tipring_lines::analog::contract::{AnswerSign, CallerIdStandard, EndSign, HeardTone};
        use tipring_lines::port::Cadence;
        let notes = [
            Note::Ring(Cadence::RING),
            Note::CallerId(CallerIdStandard::Etsi),
            Note::Answer(AnswerSign::Voice),
            Note::End(EndSign::Tone(HeardTone::Busy)),
            Note::End(EndSign::LoopBreak),
        ];
        let wire = Wire::of(&notes).unwrap();
        assert_eq!(wire.ring.as_deref(), Some("2000-4000"));
        assert_eq!((wire.caller_id, wire.answer_by), (Some("etsi"), Some("voice")));
        assert_eq!(wire.end_by, ["busy-tone", "loop-break"]);
        assert_eq!(Wire::of(&[]), None);
    }

    #[test]
    fn choices_are_shown_and_longer_rows_of_keys_are_not() {
        let keys = |written: &[(u64, &str, char)]| -> Vec<DigitRecord> {
            written
                .iter()
                .map(|(at_ms, leg, digit)| DigitRecord {
                    at_ms: *at_ms,
                    leg: (*leg).to_owned(),
                    digit: *digit,
                })
                .collect()
        };
        let shown: String = hidden(keys(&[
            (1_000, "a", '2'),
            (9_000, "a", '1'),
            (9_500, "b", '3'),
            (20_000, "a", '4'),
            (21_000, "a", '7'),
            (22_000, "a", '1'),
            (23_000, "a", '1'),
            (24_000, "a", '#'),
            (30_000, "a", '5'),
            (31_000, "a", '6'),
            (32_000, "a", '6'),
        ]))
        .iter()
        .map(|key| key.digit)
        .collect();
        assert_eq!(shown, "213*****566");
    }
}
