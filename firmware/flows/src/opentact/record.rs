//! `Record`, `RecordStart`, `RecordStop` and `RecordWait` (`spec/opentact.md` §5.8).

use std::rc::Rc;
use std::time::Duration;

use tipring_model::ActionId;
use tipring_model::flow::{Action, Moment, Outcome, Record, Sides};

use super::attributes::Attributes;
use super::flow::{Command, FrameKind, OpentactFlow, Waiting};
use super::gather::failure_code;
use super::parse::Name;

const LENGTH_DEFAULT_MS: u64 = 3_600_000;
const LENGTH_MAX_MS: u64 = 4 * 3_600_000;
/// Recordings that one call keeps apart; the oldest finished one is forgotten.
const RECORDINGS_MAX: usize = 64;

/// The recordings of one call, by tag.
#[derive(Default)]
pub(super) struct Recordings {
    all: Vec<Recording>,
}

struct Recording {
    tag: String,
    action: ActionId,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Finished,
    Failed,
}

/// See [`Recordings::find`].
pub(super) enum Found {
    Nothing,
    Running(ActionId),
    Finished(ActionId),
}

impl Recordings {
    /// The latest recording with that tag.
    pub(super) fn find(&self, tag: &str) -> Found {
        match self.all.iter().rev().find(|recording| recording.tag == tag) {
            None => Found::Nothing,
            Some(recording) => match recording.state {
                State::Running => Found::Running(recording.action),
                State::Finished => Found::Finished(recording.action),
                State::Failed => Found::Nothing,
            },
        }
    }

    pub(super) fn owns(&self, action: ActionId) -> bool {
        self.all.iter().any(|recording| recording.action == action)
    }

    pub(super) fn ended(&mut self, action: ActionId, kept: bool) {
        for recording in self.all.iter_mut().filter(|recording| recording.action == action) {
            recording.state = if kept { State::Finished } else { State::Failed };
        }
    }

    fn begin(&mut self, tag: &str, action: ActionId) {
        if self.all.len() >= RECORDINGS_MAX
            && let Some(at) = self.all.iter().position(|recording| recording.state != State::Running)
        {
            self.all.remove(at);
        }
        self.all.push(Recording { tag: tag.to_owned(), action, state: State::Running });
    }

    fn running(&self, tag: Option<&str>) -> Vec<ActionId> {
        self.all
            .iter()
            .filter(|recording| recording.state == State::Running)
            .filter(|recording| tag.is_none_or(|tag| recording.tag == tag))
            .map(|recording| recording.action)
            .collect()
    }

    fn is_running(&self, action: ActionId) -> bool {
        self.all.iter().any(|recording| recording.action == action && recording.state == State::Running)
    }

    fn is_full(&self) -> bool {
        self.running(None).len() >= RECORDINGS_MAX
    }
}

impl OpentactFlow {
    pub(super) fn start_record(&mut self, command: Command) {
        let element = Rc::clone(&command.element);
        let mut attributes = Attributes::of(&element, command.name);
        let transcribe = attributes.toggle("asr", false);
        let length =
            attributes.number("timeout", 1, u64::MAX).unwrap_or(LENGTH_DEFAULT_MS).min(LENGTH_MAX_MS);
        self.warn_all(attributes, &command.path);
        if self.recordings.is_full() {
            return self.fail(&command, "TR-FLOW-LIMIT");
        }
        let given = element.attribute("tag").filter(|tag| !tag.is_empty());
        let tag = given.map_or_else(|| format!("rec-{}", self.next_action()), str::to_owned);
        for action in self.recordings.running(Some(&tag)) {
            self.cancel(action);
        }
        let has_body = command.name == Name::Record
            && element.children.iter().any(|child| Name::of(&child.name) != Some(Name::Error));
        let sides = if has_body { Sides::Heard } else { Sides::Both };
        let action = self.act(Action::Record(Record::new(tag.clone(), sides, Duration::from_millis(length))));
        self.recordings.begin(&tag, action);
        if has_body {
            let path = command.path.clone();
            self.enter(element, path, FrameKind::Record(action, command));
        } else {
            self.succeed(&command, if transcribe { "asr:unavailable" } else { "" });
        }
    }

    /// The commands inside a Record are over.
    pub(super) fn end_record_body(&mut self, action: ActionId, command: Command) {
        if self.recordings.is_running(action) {
            self.cancel(action);
            self.waiting = Waiting::RecordEnd { action, command };
        } else {
            self.finish_record(&command, action);
        }
    }

    fn finish_record(&mut self, command: &Command, action: ActionId) {
        let kept = self.recordings.all.iter().any(|r| r.action == action && r.state == State::Finished);
        let transcribe = command.element.attribute("asr").and_then(super::attributes::toggle) == Some(true);
        match (kept, transcribe) {
            (true, true) => self.succeed(command, "asr:unavailable"),
            (true, false) => self.succeed(command, ""),
            (false, _) => self.fail(command, "TR-AUDIO-STORAGE"),
        }
    }

    pub(super) fn start_record_stop(&mut self, command: Command) {
        let element = Rc::clone(&command.element);
        self.warn_all(Attributes::of(&element, command.name), &command.path);
        let left = self.recordings.running(element.attribute("tag"));
        if left.is_empty() {
            return self.succeed(&command, "");
        }
        for action in &left {
            self.cancel(*action);
        }
        self.waiting = Waiting::RecordStops { left, command };
    }

    pub(super) fn start_record_wait(&mut self, now: Moment, command: Command) {
        let element = Rc::clone(&command.element);
        let mut attributes = Attributes::of(&element, command.name);
        let longest = attributes.number("timeout", 0, u64::MAX).unwrap_or(LENGTH_DEFAULT_MS);
        self.warn_all(attributes, &command.path);
        let left = self.recordings.running(element.attribute("tag"));
        if left.is_empty() {
            return self.succeed(&command, "");
        }
        let until = now.instant + Duration::from_millis(longest.min(LENGTH_MAX_MS));
        self.waiting = Waiting::RecordWait { left, until, command };
    }

    /// A recording is over, of itself or because it was told to.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else the flow waits for, it waits on")]
    pub(super) fn record_ended(&mut self, now: Moment, id: ActionId, outcome: &Outcome) {
        let kept = matches!(outcome, Outcome::Recorded(_));
        self.recordings.ended(id, kept);
        if !kept && !matches!(outcome, Outcome::Cancelled) {
            self.warn(failure_code(outcome), "Record");
        }
        match std::mem::replace(&mut self.waiting, Waiting::Nothing) {
            Waiting::RecordEnd { action, command } if action == id => self.finish_record(&command, id),
            Waiting::RecordThenPlay { action, command } if action == id => {
                self.start_play(now, command);
            }
            Waiting::RecordStops { mut left, command } => {
                left.retain(|action| *action != id);
                if left.is_empty() {
                    self.succeed(&command, "");
                } else {
                    self.waiting = Waiting::RecordStops { left, command };
                }
            }
            Waiting::RecordWait { mut left, until, command } => {
                left.retain(|action| *action != id);
                if left.is_empty() {
                    self.succeed(&command, "");
                } else {
                    self.waiting = Waiting::RecordWait { left, until, command };
                }
            }
            other => self.waiting = other,
        }
    }
}
