//! Recordings, of a call or of what is sent to a recorder.
//!
//! A recorder has a booth, which hears all that is sent to it; what it hears is recorded.

use std::collections::BTreeMap;
use std::time::Duration;

use tipring_model::flow::{Action, Booth, FlowOutput, MIX_MAX, Moment, Outcome, Record, Sides};
use tipring_model::{ActionId, LegId};

use super::message::{Command, Told, Unit};
use super::session::{Session, Work};
use super::wiring::Stand;

/// Recorders of one session.
const RECORDERS_MAX: usize = 32;
/// Longest recording.
const LENGTH_MAX: Duration = Duration::from_secs(4 * 3_600);
/// Longest name of a recorder, and longest prefix of one, in characters.
const NAME_CHARS_MAX: usize = 32;
/// Longest tag, in characters: what the name of a file has room for.
const TAG_CHARS_MAX: usize = 64;

/// One recorder.
#[derive(Debug)]
struct Tape {
    name: String,
    /// What is sent to it.
    from: Vec<Unit>,
    /// What is kept of a call's own recording, which is made on its leg.
    sides: Option<Sides>,
    is_wide: bool,
    booth: Option<Stand>,
    /// What the booth hears, once it does.
    mix: Option<(Vec<LegId>, ActionId)>,
    is_muted: bool,
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

    /// Whether a recorder takes what the unit sends.
    pub(super) fn take(&self, unit: Unit) -> bool {
        self.tapes.values().any(|tape| !tape.is_stopped && tape.from.contains(&unit))
    }
}

impl Session {
    pub(super) fn recorder_command(&mut self, now: Moment, command: &Command) {
        match command {
            Command::Record { call, recorder, stereo, prefix } => {
                let sides = if *stereo { Sides::Apart } else { Sides::Both };
                let name = name_of(prefix, "call");
                self.new_tape(now, *recorder, (name, false), vec![Unit::Call(*call)], Some(sides));
            }
            Command::Recorder { recorder, name, prefix, hd } => {
                let name = name_of(prefix, if name.is_empty() { "recorder" } else { name });
                self.new_tape(now, *recorder, (name, *hd), Vec::new(), None);
            }
            Command::MuteRecord { recorder, on } => {
                if let Some(tape) = self.recorders.tapes.get_mut(recorder) {
                    tape.is_muted = *on;
                }
            }
            Command::StopRecord { recorder } => self.stop_tape(now, *recorder),
            Command::Call { .. }
            | Command::Answer { .. }
            | Command::Reject { .. }
            | Command::Ring { .. }
            | Command::Early { .. }
            | Command::Hangup { .. }
            | Command::Tones { .. }
            | Command::Watch { .. }
            | Command::Digits { .. }
            | Command::Refer { .. }
            | Command::ReferTo { .. }
            | Command::Referred { .. }
            | Command::Takes { .. }
            | Command::Info { .. }
            | Command::Message { .. }
            | Command::Play { .. }
            | Command::Stop { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Marker { .. }
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

    fn stop_tape(&mut self, now: Moment, recorder: u32) {
        let Some(tape) = self.recorders.tapes.get_mut(&recorder) else { return };
        if std::mem::replace(&mut tape.is_stopped, true) {
            return;
        }
        match tape.action {
            // It ends with what it holds.
            Some(action) => self.push(FlowOutput::Cancel(action)),
            None => self.tape_over(now, recorder, Ok((String::new(), 0))),
        }
    }

    /// Nobody is left to be recorded. What a call records of itself ends with its leg.
    pub(super) fn stop_tapes(&mut self, now: Moment) {
        let begun: Vec<u32> = self
            .recorders
            .tapes
            .iter()
            .filter(|(_, tape)| tape.action.is_some() && tape.sides.is_none())
            .map(|(recorder, _)| *recorder)
            .collect();
        for recorder in begun {
            self.stop_tape(now, recorder);
        }
    }

    fn new_tape(
        &mut self,
        now: Moment,
        recorder: u32,
        (name, is_wide): (String, bool),
        from: Vec<Unit>,
        sides: Option<Sides>,
    ) {
        if self.recorders.tapes.contains_key(&recorder) {
            return;
        }
        let tape = Tape {
            name,
            from,
            sides,
            is_wide,
            booth: None,
            mix: None,
            is_muted: false,
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
        let is_there = match from {
            Unit::Call(call) => self.parties.get(call).is_some(),
            Unit::Player(player) => self.players.has(player),
            Unit::Conference(_) => true,
            Unit::Recorder(_) => false,
        };
        let Some(tape) = self.recorders.tapes.get_mut(&recorder) else { return };
        tape.from.retain(|one| *one != from);
        if on && is_there && tape.from.len() < MIX_MAX {
            tape.from.push(from);
        }
    }

    /// Begins what can begin, and lets each recorder hear what is sent to it now.
    pub(super) fn settle_recorders(&mut self, now: Moment) {
        let all: Vec<u32> =
            self.recorders.tapes.iter().filter(|(_, tape)| !tape.is_stopped).map(|(id, _)| *id).collect();
        for recorder in all {
            let Some(tape) = self.recorders.tapes.get(&recorder) else { continue };
            match (tape.sides, tape.action) {
                (Some(sides), None) => {
                    let leg = tape.from.iter().find_map(|unit| self.leg_of_call(*unit));
                    if let Some(leg) = leg {
                        self.begin_tape(now, recorder, leg, sides);
                    }
                }
                (Some(_), Some(_)) => {}
                (None, None) => match tape.booth {
                    None if !self.sources_of(tape).is_empty() => {
                        let booth = Booth { wide: tape.is_wide };
                        let action = self.act(None, Action::Booth(booth), Work::Recorder(recorder));
                        if let Some(tape) = self.recorders.tapes.get_mut(&recorder) {
                            tape.booth = Some(Stand { action, leg: None });
                        }
                    }
                    Some(Stand { leg: Some(leg), .. }) => {
                        self.begin_tape(now, recorder, leg, Sides::Played);
                        self.mix_tape(recorder);
                    }
                    Some(Stand { leg: None, .. }) | None => {}
                },
                (None, Some(_)) => self.mix_tape(recorder),
            }
        }
    }

    fn leg_of_call(&self, unit: Unit) -> Option<LegId> {
        let Unit::Call(call) = unit else { return None };
        self.parties.leg(call).filter(|_| self.parties.is_connected(call))
    }

    /// Legs whose sound is sent to a recorder now. In a conference, whoever is on hold is not heard.
    fn sources_of(&self, tape: &Tape) -> Vec<LegId> {
        let mut legs = Vec::new();
        for unit in &tape.from {
            match unit {
                Unit::Call(_) => legs.extend(self.leg_of_call(*unit)),
                Unit::Player(player) => legs.extend(self.players.booth(*player)),
                Unit::Conference(conference) => {
                    let calls = self.wiring.speakers_of(*conference);
                    let heard = calls.filter(|call| self.parties.get(*call).is_some_and(|one| !one.is_held));
                    legs.extend(heard.filter_map(|call| self.parties.leg(call)));
                    let players = self.wiring.players_in(*conference);
                    legs.extend(players.filter_map(|player| self.players.booth(player)));
                }
                Unit::Recorder(_) => {}
            }
        }
        legs.sort_unstable();
        legs.dedup();
        legs.truncate(MIX_MAX);
        legs
    }

    fn begin_tape(&mut self, now: Moment, recorder: u32, leg: LegId, sides: Sides) {
        let Some(tape) = self.recorders.tapes.get(&recorder) else { return };
        let record = Record::new(tag_of(&tape.name, recorder), sides, LENGTH_MAX);
        self.recorders.begun += 1;
        let url = self.recording_url(&record.tag, self.recorders.begun);
        let action = self.act(Some(leg), Action::Record(record), Work::Record(recorder));
        if let Some(tape) = self.recorders.tapes.get_mut(&recorder) {
            tape.action = Some(action);
            tape.url.clone_from(&url);
        }
        self.tell(now, Told::Recorder { recorder, event: "started", url, duration: 0, error: None });
    }

    /// Lets the booth of a recorder hear those whom it should hear now.
    fn mix_tape(&mut self, recorder: u32) {
        let Some(tape) = self.recorders.tapes.get(&recorder) else { return };
        let Some(leg) = tape.booth.and_then(|booth| booth.leg) else { return };
        let wanted = if tape.is_muted { Vec::new() } else { self.sources_of(tape) };
        let heard = tape.mix.as_ref().map_or(&[][..], |(legs, _)| legs);
        if heard == wanted {
            return;
        }
        let action = self.act(Some(leg), Action::Mix(wanted.clone()), Work::Silent);
        if let Some(tape) = self.recorders.tapes.get_mut(&recorder) {
            tape.mix = Some((wanted, action));
        }
    }

    /// The booth of a recorder is open.
    pub(super) fn recorder_stands(&mut self, recorder: u32, leg: LegId) {
        if let Some(booth) = self.recorders.tapes.get_mut(&recorder).and_then(|tape| tape.booth.as_mut()) {
            booth.leg = Some(leg);
        }
    }

    /// It is closed, which nobody here has asked for; a recording in it ends by itself.
    pub(super) fn recorder_lost(&mut self, now: Moment, recorder: u32, outcome: &Outcome) {
        let Some(tape) = self.recorders.tapes.get_mut(&recorder) else { return };
        tape.booth = None;
        tape.is_stopped = true;
        if tape.action.is_none() {
            let end = outcome.failure().map_or_else(|| Ok((String::new(), 0)), |failure| Err(failure.code()));
            self.tape_over(now, recorder, end);
        }
    }

    /// A unit is over: it sends nothing more.
    pub(super) fn tapes_lose(&mut self, unit: Unit) {
        for tape in self.recorders.tapes.values_mut() {
            tape.from.retain(|one| *one != unit);
        }
        // A call's own recording that never began was heard of by nobody.
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
        let end = match (outcome, outcome.failure()) {
            (_, Some(failure)) => Err(failure.code()),
            (Outcome::Recorded(recorded), None) => {
                let url = recorded.file.as_ref().map(|file| self.directory.recordings.of(file));
                Ok((url.unwrap_or_default(), recorded.length.as_secs()))
            }
            (_, None) => Ok((String::new(), 0)),
        };
        self.tape_over(now, recorder, end);
    }

    fn tape_over(&mut self, now: Moment, recorder: u32, end: Result<(String, u64), &'static str>) {
        let Some(tape) = self.recorders.tapes.remove(&recorder) else { return };
        if let Some(booth) = tape.booth {
            self.cancel(booth.action);
        }
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

/// The name of a recorder, with its prefix before it.
fn name_of(prefix: &str, name: &str) -> String {
    let short = |text: &str| text.chars().take(NAME_CHARS_MAX).collect::<String>();
    if prefix.is_empty() { short(name) } else { format!("{}-{}", short(prefix), short(name)) }
}

/// What stands in the name of the file; the number tells recorders of one name apart.
fn tag_of(name: &str, recorder: u32) -> String {
    let number = format!("-{recorder}");
    let room = TAG_CHARS_MAX.saturating_sub(number.len());
    plain(&name.chars().take(room).chain(number.chars()).collect::<String>())
}

/// A name that can stand in the name of a file.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_stands_before_the_name_and_both_have_an_end() {
        for (prefix, name, tag) in [
            ("", "call", "call-7".to_owned()),
            ("acme", "call", "acme-call-7".to_owned()),
            ("../a/\u{fc}", "memo", "___a__-memo-7".to_owned()),
            (&*"p".repeat(99), &*"n".repeat(99), format!("{}-{}-7", "p".repeat(32), "n".repeat(29))),
        ] {
            assert_eq!(tag_of(&name_of(prefix, name), 7), tag);
        }
        assert_eq!(tag_of(&name_of(&"p".repeat(99), &"n".repeat(99)), u32::MAX).len(), TAG_CHARS_MAX);
    }
}
