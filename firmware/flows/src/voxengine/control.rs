//! Requests from outside to a running session, and what its script answers.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tipring_model::MessageId;
use tipring_model::flow::{FlowOutput, Message, Moment, Reply};

use super::message::Told;
use super::session::{Session, Stage, gone, plain};

/// Longest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Longest answer, in bytes.
const REPLY_BYTES_MAX: usize = 1024 * 1024;
/// Requests in a second.
const RATE_MAX: usize = 20;
const RATE_TIME: Duration = Duration::from_secs(1);
/// Longest wait for what the script answers.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Header fields that the script is told.
const HEADERS_MAX: usize = 64;

/// Requests that wait for an answer.
#[derive(Default, Debug)]
pub(super) struct Controls {
    waiting: BTreeMap<u32, Instant>,
    recent: VecDeque<Instant>,
}

impl Controls {
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }
}

impl Session {
    pub(super) fn control(&mut self, now: Moment, id: MessageId, message: &Message) {
        if !matches!(self.stage, Stage::Running | Stage::Ending { .. }) {
            return self.push(FlowOutput::Reply(id, gone()));
        }
        let recent = &mut self.controls.recent;
        while recent.front().is_some_and(|at| *at + RATE_TIME <= now.instant) {
            recent.pop_front();
        }
        if recent.len() >= RATE_MAX {
            let reply = plain(429, "more than 20 requests in a second");
            return self.push(FlowOutput::Reply(id, reply));
        }
        recent.push_back(now.instant);
        if message.body.len() > BODY_BYTES_MAX {
            let reply = plain(413, "the body is longer than 262144 bytes");
            return self.push(FlowOutput::Reply(id, reply));
        }
        self.controls.waiting.insert(id.0, now.instant + ANSWER_MAX);
        let is_told = |name: &str| name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"));
        let headers = message.headers.iter().filter(|(name, _)| is_told(name)).take(HEADERS_MAX);
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let content = String::from_utf8_lossy(&message.body);
        let (method, path) = (message.method.as_str(), message.path.as_str());
        self.tell(now, Told::Control { id: id.0, method, path, content: &content, headers });
    }

    pub(super) fn reply(&mut self, id: u32, status: u16, media_type: String, body: String) {
        if self.controls.waiting.remove(&id).is_none() {
            return;
        }
        let is_known = matches!(media_type.as_str(), "text/plain; charset=utf-8" | "application/json");
        let reply = if body.len() > REPLY_BYTES_MAX {
            plain(500, "the answer is longer than 1048576 bytes")
        } else if !is_known || !matches!(status, 200 | 500) {
            plain(500, "the script failed")
        } else {
            Reply { status, media_type, body: body.into_bytes() }
        };
        self.push(FlowOutput::Reply(MessageId(id), reply));
    }

    /// Nobody waits in vain.
    pub(super) fn answer_all(&mut self, status: u16, body: &str) {
        for id in std::mem::take(&mut self.controls.waiting).into_keys() {
            self.push(FlowOutput::Reply(MessageId(id), plain(status, body)));
        }
    }

    pub(super) fn controls_due(&mut self, now: Moment) {
        let due: Vec<u32> =
            self.controls.waiting.iter().filter(|(_, at)| **at <= now.instant).map(|(id, _)| *id).collect();
        for id in due {
            self.controls.waiting.remove(&id);
            self.push(FlowOutput::Reply(
                MessageId(id),
                plain(504, "the script did not answer in 10 seconds"),
            ));
        }
    }
}
