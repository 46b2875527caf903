//! Call records: one JSON object a line, appended by a thread of its own.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tipring_media::LegStats;
use tipring_model::LegId;
use tipring_model::call::{Cdr, LegRecord};
use tipring_model::line::Supervision;

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
    steps: Vec<StepRecord>,
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
}

impl Record {
    /// The record of a finished call.
    pub(crate) fn new(
        cdr: &Cdr,
        line: Option<String>,
        flow: Option<String>,
        steps: Vec<StepRecord>,
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
            steps,
        }
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
        }
    }
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

/// The appending thread.
pub(crate) struct RecordWriter {
    lines: Option<SyncSender<String>>,
    thread: Option<JoinHandle<()>>,
}

/// Records that wait for a slow card; more are counted and lost until the spool
/// takes them.
const WAITING_MAX: usize = 65_536;

impl RecordWriter {
    /// Opens the file. After a power cut in the middle of a record the next one begins
    /// on a line of its own.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not be started.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let thread =
            std::thread::Builder::new().name("records".to_owned()).spawn(move || run(file, &waiting))?;
        Ok(Self { lines: Some(lines), thread: Some(thread) })
    }

    /// Appends a record.
    pub(crate) fn write(&self, record: &Record) {
        let Ok(mut line) = serde_json::to_string(record) else { return };
        line.push('\n');
        let taken = self.lines.as_ref().is_some_and(|lines| lines.try_send(line).is_ok());
        if !taken {
            tracing::error!(code = "TR-DAEMON-STORAGE", "a call record is lost: the disk does not keep up");
        }
    }
}

impl Drop for RecordWriter {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

/// How long records are gathered for one write.
const GATHER: Duration = Duration::from_millis(50);

fn run(mut file: File, waiting: &Receiver<String>) {
    while let Ok(mut lines) = waiting.recv() {
        std::thread::park_timeout(GATHER);
        for more in waiting.try_iter() {
            lines.push_str(&more);
        }
        if let Err(error) = file.write_all(lines.as_bytes()) {
            tracing::error!(code = "TR-DAEMON-STORAGE", %error, "a call record cannot be written");
        }
    }
}
