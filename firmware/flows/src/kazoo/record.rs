//! `record_call` and `record_caller`.

use std::time::Duration;

use tipring_model::fetch::Method;
use tipring_model::flow::{Action, FlowOutput, Outcome, Record, Sides, Upload};
use tipring_model::{ActionId, DigitSet};

use super::flow::{KazooFlow, Next, Then, seconds};
use super::keys::Data;
use crate::address;

/// Recordings of one call that run or wait.
pub(super) const RECORDINGS_MAX: usize = 4;

/// What is recorded in a call.
#[derive(Default)]
pub(super) struct Recordings {
    running: Vec<ActionId>,
    /// For the answer.
    waiting: Vec<Record>,
    /// For the next conversation.
    for_bridge: Option<Record>,
    made: u32,
}

impl Recordings {
    /// True if the action was a recording of this call.
    pub(super) fn ended(&mut self, id: ActionId, _: &Outcome) -> bool {
        let before = self.running.len();
        self.running.retain(|running| *running != id);
        self.running.len() != before
    }

    /// The recording that begins with the next conversation.
    pub(super) fn take_for_bridge(&mut self) -> Option<Record> {
        self.for_bridge.take()
    }
}

impl KazooFlow {
    pub(super) fn record_call(&mut self, data: Data<'_>) -> Next {
        if data.text("action") == Some("stop") {
            self.recordings.waiting.clear();
            self.recordings.for_bridge = None;
            for id in std::mem::take(&mut self.recordings.running) {
                self.push(FlowOutput::Cancel(id));
            }
            return Next::on();
        }
        if self.recordings.running.len() + self.recordings.waiting.len() >= RECORDINGS_MAX {
            return self.fail("TR-FLOW-LIMIT");
        }
        let record = self.recording(data, Sides::Both);
        if data.is("record_on_bridge") {
            self.recordings.for_bridge = Some(record);
        } else if self.answered {
            self.begin_record(record);
        } else {
            // There is nothing to be heard before the answer.
            self.recordings.waiting.push(record);
        }
        Next::on()
    }

    fn begin_record(&mut self, record: Record) {
        let id = self.begin(self.leg, Action::Record(record));
        self.recordings.running.push(id);
    }

    /// The call is answered: what waited for that begins.
    pub(super) fn begin_waiting_records(&mut self) {
        for record in std::mem::take(&mut self.recordings.waiting) {
            self.begin_record(record);
        }
    }

    pub(super) fn record_caller(&mut self, data: Data<'_>) -> Next {
        if let Some(next) = self.answer_first() {
            return next;
        }
        let record = Record { finish: DigitSet::ALL, ..self.recording(data, Sides::Heard) };
        self.act(Action::Record(record), Then::Do(Next::on()))
    }

    fn recording(&mut self, data: Data<'_>, sides: Sides) -> Record {
        self.recordings.made += 1;
        let tag = format!("recording-{}", self.recordings.made);
        let length_max = Duration::from_secs(data.count("time_limit").unwrap_or(3_600));
        Record {
            length_min: seconds(data.count("record_min_sec").unwrap_or(0)),
            silence_max: data.is("silence_detection").then(|| silence(data)),
            upload: self.upload(data),
            ..Record::new(tag, sides, length_max)
        }
    }

    fn upload(&self, data: Data<'_>) -> Option<Upload> {
        let base = address::absolute(data.filled("url")?)?;
        let call = self.facts().map_or_else(String::new, |facts| facts.id.to_string());
        let name = data.filled("media_name").map_or_else(|| format!("call_recording_{call}"), str::to_owned);
        let name = if name.contains('.') { name } else { format!("{name}.wav") };
        let (path, query) = match base.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (base.as_str(), String::new()),
        };
        let url = format!("{}/{}{query}", path.trim_end_matches('/'), address::encode(&name));
        let method = if data.text("method") == Some("post") { Method::Post } else { Method::Put };
        Some(Upload { method, url, headers: Vec::new() })
    }
}

/// How long nobody may speak: the box has one wait for the beginning and for the end.
fn silence(data: Data<'_>) -> Duration {
    let count = |key: &str| data.count(key).filter(|count| *count > 0);
    seconds(count("silence_final_timeout").or_else(|| count("silence_initial_timeout")).unwrap_or(5))
}
