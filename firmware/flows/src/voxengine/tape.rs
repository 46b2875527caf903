//! Recordings, of a call or of what is sent to a recorder.

use std::collections::BTreeMap;
use std::time::Duration;

use tipring_model::ActionId;
use tipring_model::flow::{Action, Moment, Outcome, Record, Sides};

use super::message::{Command, Told, Unit};
use super::session::{Session, Work};

/// Recorders of one session.
const RECORDERS_MAX: usize = 32;
/// Longest recording.
const LENGTH_MAX: Duration = Duration::from_secs(4 * 3_600);
const TAG_CHARS_MAX: usize = 32;

/// One recorder.
#[derive(Debug)]
struct Tape {
    name: String,
    /// What is sent to it.
    from: Vec<Unit>,
    /// What is kept of a call's own recording.
    sides: Option<Sides>,
    action: Option<ActionId>,
    url: String,
    is_stopped: bool,
}

/// Every recorder that is not over.
#[derive(Default, Debug)]
pub(super) struct Recorders {
    tapes: BTreeMap<u32, Tape>,
    begun: u32,
}

impl Recorders {
    pub(super) fn has_open(&self) -> bool {
        self.tapes.values().any(|tape| tape.action.is_some())
    }
}

impl Session {
    pub(super) fn recorder_command(&mut self, now: Moment, command: &Command) {
        match command {
            Command::Record { call, recorder, stereo } => {
                let sides = if *stereo { Sides::Apart } else { Sides::Both };
                self.new_tape(now, *recorder, "call", vec![Unit::Call(*call)], Some(sides));
            }
            Command::Recorder { recorder, name } => self.new_tape(now, *recorder, name, Vec::new(), None),
            Command::StopRecord { recorder } => {
                let Some(tape) = self.recorders.tapes.get_mut(recorder) else { return };
                tape.is_stopped = true;
                match tape.action {
                    // It ends with what it holds.
                    Some(action) => self.push(tipring_model::flow::FlowOutput::Cancel(action)),
                    None => self.tape_over(now, *recorder, Ok((String::new(), 0))),
                }
            }
            Command::Call { .. }
            | Command::Answer { .. }
            | Command::Reject { .. }
            | Command::Ring { .. }
            | Command::Early { .. }
            | Command::Hangup { .. }
            | Command::Tones { .. }
            | Command::Digits { .. }
            | Command::Refer { .. }
            | Command::Play { .. }
            | Command::Stop { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Route { .. }
            | Command::Unroute { .. }
            | Command::Conference { .. }
            | Command::StopConference { .. }
            | Command::Fetch(_)
            | Command::Mail(_)
            | Command::Store { .. }
            | Command::Reply { .. }
            | Command::Log { .. }
            | Command::HideTones { .. }
            | Command::Terminate
            | Command::Finished => {}
        }
    }

    fn new_tape(&mut self, now: Moment, recorder: u32, name: &str, from: Vec<Unit>, sides: Option<Sides>) {
        if self.recorders.tapes.contains_key(&recorder) {
            return;
        }
        let tape = Tape {
            name: name.chars().take(TAG_CHARS_MAX).collect(),
            from,
            sides,
            action: None,
            url: String::new(),
            is_stopped: false,
        };
        let is_full = self.recorders.tapes.len() >= RECORDERS_MAX;
        self.recorders.tapes.insert(recorder, tape);
        if is_full {
            self.tape_over(now, recorder, Err("too many recorders in one session"));
        }
    }

    pub(super) fn route_to_recorder(&mut self, from: Unit, recorder: u32, on: bool) {
        if !matches!(from, Unit::Call(_) | Unit::Conference(_)) {
            return self.log("a recorder takes calls and conferences on this appliance");
        }
        let Some(tape) = self.recorders.tapes.get_mut(&recorder) else { return };
        tape.from.retain(|one| *one != from);
        if on && tape.from.len() < RECORDERS_MAX {
            tape.from.push(from);
        } else if tape.from.is_empty()
            && let Some(action) = tape.action
        {
            self.push(tipring_model::flow::FlowOutput::Cancel(action));
        }
    }

    /// Begins what can begin: a recording is made on one leg. What one call alone sends is what
    /// it says; of several, or of a conference, it is what the first says and hears.
    pub(super) fn settle_recorders(&mut self, now: Moment) {
        let waiting: Vec<u32> = self
            .recorders
            .tapes
            .iter()
            .filter(|(_, tape)| tape.action.is_none() && !tape.is_stopped)
            .map(|(recorder, _)| *recorder)
            .collect();
        for recorder in waiting {
            let Some(tape) = self.recorders.tapes.get(&recorder) else { continue };
            let many = tape.from.len() > 1 || tape.from.iter().any(|one| matches!(one, Unit::Conference(_)));
            let sides = tape.sides.unwrap_or(if many { Sides::Both } else { Sides::Heard });
            let calls = tape.from.iter().flat_map(|unit| match unit {
                Unit::Call(call) => vec![*call],
                Unit::Conference(conference) => self.wiring.members_of(*conference),
                Unit::Player(_) | Unit::Recorder(_) => Vec::new(),
            });
            let leg =
                calls.filter(|call| self.parties.is_connected(*call)).find_map(|call| self.parties.leg(call));
            let Some(leg) = leg else { continue };
            let tag = if tape.name.is_empty() { "recorder".to_owned() } else { tape.name.clone() };
            let record = Record::new(plain(&format!("{tag}-{recorder}")), sides, LENGTH_MAX);
            self.recorders.begun += 1;
            let url = self.recording_url(&record.tag, self.recorders.begun);
            let action = self.act(Some(leg), Action::Record(record), Work::Record(recorder));
            if let Some(tape) = self.recorders.tapes.get_mut(&recorder) {
                tape.action = Some(action);
                tape.url.clone_from(&url);
            }
            self.tell(now, Told::Recorder { recorder, event: "started", url, duration: 0, error: None });
        }
    }

    /// A call is over: what it was to say to recorders that have not begun is not said.
    pub(super) fn tapes_lost(&mut self, call: u32) {
        for tape in self.recorders.tapes.values_mut() {
            tape.from.retain(|unit| *unit != Unit::Call(call));
        }
        // Its own recording that never began was heard of by nobody.
        self.recorders
            .tapes
            .retain(|_, tape| tape.action.is_some() || tape.sides.is_none() || !tape.from.is_empty());
    }

    /// Where a recording will be. Its name is made of the call, the tag and its number in the call.
    fn recording_url(&self, tag: &str, number: u32) -> String {
        let call = self.facts.as_ref().map_or_else(String::new, |facts| facts.id.to_string());
        let file =
            if number <= 1 { format!("{call}-{tag}.wav") } else { format!("{call}-{tag}-{number}.wav") };
        self.directory.recordings.of(&file)
    }

    pub(super) fn recorded(&mut self, now: Moment, recorder: u32, outcome: &Outcome) {
        let end = match outcome {
            Outcome::Recorded(recorded) => {
                let url = recorded.file.as_ref().map(|file| self.directory.recordings.of(file));
                Ok((url.unwrap_or_default(), recorded.length.as_secs()))
            }
            Outcome::Failed(failure) => Err(failure.code()),
            Outcome::LegGone
            | Outcome::Cancelled
            | Outcome::Done
            | Outcome::Interrupted(_)
            | Outcome::Collected(_)
            | Outcome::Dialed(_)
            | Outcome::Left(_)
            | Outcome::Queued(_)
            | Outcome::Mailbox(_)
            | Outcome::Streamed(_)
            | Outcome::Detected(_)
            | Outcome::Referred(_) => Ok((String::new(), 0)),
        };
        self.tape_over(now, recorder, end);
    }

    fn tape_over(&mut self, now: Moment, recorder: u32, end: Result<(String, u64), &'static str>) {
        let Some(tape) = self.recorders.tapes.remove(&recorder) else { return };
        let told = match end {
            Ok((url, duration)) => {
                let url = if url.is_empty() { tape.url } else { url };
                Told::Recorder { recorder, event: "stopped", url, duration, error: None }
            }
            Err(error) => {
                let url = String::new();
                Told::Recorder { recorder, event: "error", url, duration: 0, error: Some(error) }
            }
        };
        self.tell(now, told);
    }
}

/// A name that can stand in the name of a file.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}
