//! One run: what its script is told and when, and how it ends. The script itself is elsewhere,
//! in a process of its own or in a test; one message goes there, one comes back, and what happens
//! meanwhile waits.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tipring_model::call::{CallFacts, SessionFacts};
use tipring_model::directory::Directory;
use tipring_model::flow::{Action, Flow, FlowInput, FlowOutput, Moment, Reply, ScriptEnd, Step, Warning};
use tipring_model::{ActionId, Cause, LegId};

use super::control::Controls;
use super::message::{Command, Fault, FaultKind, FromScript, MESSAGE_BYTES_MAX, ToScript, Told};
use super::parties::Parties;
use super::requests::Requests;
use super::settings::Scenario;
use super::sound::Players;
use super::storage::Storage;
use super::tape::Recorders;
use super::wiring::Wiring;

/// A session without a call ends after this.
const IDLE: Duration = Duration::from_secs(60);
/// Longest wait for the answers of servers at the end.
const REQUESTS_MAX: Duration = Duration::from_secs(90);
/// Longest wait for calls and recordings to be over at the end.
const CALLS_MAX: Duration = Duration::from_secs(5);
/// Longest wait for what is under way when the box ends it, of the second that there is.
const STOPPED_MAX: Duration = Duration::from_millis(500);
/// Longest wait for a script, whose own bound is one second of CPU time: others may be at work.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// What may wait to be told.
const WAITING_MAX: usize = 1_000;
const WAITING_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
/// Messages that the script may have one upon the other, and how long until one more: a script that
/// asks for what is answered at once would otherwise go round as fast as it can.
const BURST_MAX: u32 = 500;
const PACE: Duration = Duration::from_millis(5);
/// Longest log, and longest line of it in characters.
const LOG_BYTES_MAX: usize = 1024 * 1024;
const LOG_LINE_MAX: usize = 15_000;

/// How far a session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// The script runs.
    Running,
    /// It wants its end, or has no calls: what is under way comes to its end.
    Ending {
        /// Calls are waited for until then.
        calls: Instant,
        /// Requests are waited for until then.
        requests: Instant,
    },
    /// It is told that it ends, and may make one request.
    Terminating {
        /// That one is waited for until then.
        until: Instant,
    },
    /// It is told that it has ended.
    Terminated,
    Over,
}

/// What an action that runs is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Work {
    Answer(u32),
    Place(u32),
    Play {
        player: u32,
        /// That plays it to itself.
        call: Option<u32>,
    },
    /// The booth of a player.
    Player(u32),
    /// The booth of a recorder.
    Recorder(u32),
    Record(u32),
    Digits(u32),
    Refer(u32),
    /// To the second of them.
    ReferTo(u32, u32),
    /// Nothing follows from its end.
    Silent,
}

/// A message that waits until the script has answered the one before it.
struct Waiting {
    text: Vec<u8>,
    /// A script that has failed is told it all the same.
    tells_end: bool,
}

/// One run of a scenario.
pub(super) struct Session {
    pub(super) scenario: Rc<Scenario>,
    pub(super) directory: Rc<Directory>,
    outputs: VecDeque<FlowOutput>,
    pub(super) facts: Option<Rc<CallFacts>>,
    pub(super) stage: Stage,
    /// Told when the script has answered.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Messages that it may have now, since when that is counted, and when the next may go.
    allowance: u32,
    counted: Option<Instant>,
    held_until: Option<Instant>,
    /// Since when the script owes an answer.
    busy: Option<Instant>,
    /// It says nothing more.
    script_gone: bool,
    system_error: bool,
    /// The box ends it, and waits until then for what is under way.
    stops_by: Option<Instant>,
    /// When its next timer is due, on its clock and on ours.
    due: Option<Instant>,
    /// Both clocks at the beginning; the script's goes on with ours.
    began: Option<Moment>,
    idle_until: Option<Instant>,
    actions: u32,
    pub(super) works: BTreeMap<ActionId, Work>,
    log_bytes: usize,
    pub(super) parties: Parties,
    pub(super) wiring: Wiring,
    pub(super) players: Players,
    pub(super) recorders: Recorders,
    pub(super) requests: Requests,
    pub(super) storage: Storage,
    pub(super) controls: Controls,
}

impl Session {
    pub(super) fn new(scenario: Rc<Scenario>, directory: Rc<Directory>) -> Self {
        Self {
            scenario,
            directory,
            outputs: VecDeque::new(),
            facts: None,
            stage: Stage::Running,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            allowance: BURST_MAX,
            counted: None,
            held_until: None,
            busy: None,
            script_gone: false,
            system_error: false,
            stops_by: None,
            due: None,
            began: None,
            idle_until: None,
            actions: 0,
            works: BTreeMap::new(),
            log_bytes: 0,
            parties: Parties::default(),
            wiring: Wiring::default(),
            players: Players::default(),
            recorders: Recorders::default(),
            requests: Requests::default(),
            storage: Storage::default(),
            controls: Controls::default(),
        }
    }

    pub(super) fn push(&mut self, output: FlowOutput) {
        self.outputs.push_back(output);
    }

    /// Begins an action.
    pub(super) fn act(&mut self, on: Option<LegId>, action: Action, work: Work) -> ActionId {
        self.actions += 1;
        let id = ActionId(self.actions);
        self.works.insert(id, work);
        self.push(FlowOutput::Start { id, on, action });
        id
    }

    pub(super) fn cancel(&mut self, id: ActionId) {
        // What it ends with is of no interest any more.
        if let Some(work) = self.works.get_mut(&id) {
            *work = Work::Silent;
            self.push(FlowOutput::Cancel(id));
        }
    }

    /// A line of the log.
    pub(super) fn log(&mut self, text: &str) {
        let line: String = text.chars().take(LOG_LINE_MAX).collect();
        let bytes = self.log_bytes + line.len();
        if self.log_bytes > LOG_BYTES_MAX {
            return;
        }
        self.log_bytes = bytes;
        let line = if bytes > LOG_BYTES_MAX { "the log is full".to_owned() } else { line };
        self.push(FlowOutput::Log(line));
    }

    // --- The script.

    /// Milliseconds since 1970 on the script's clock, which no step of the box's disturbs.
    pub(super) fn script_ms(&self, now: Moment) -> i64 {
        let began = self.began.unwrap_or(now);
        began.after(now.instant.saturating_duration_since(began.instant)).unix_ms
    }

    /// Tells the script, now or when it has answered.
    pub(super) fn tell(&mut self, now: Moment, told: Told<'_>) {
        if self.script_gone || self.stage == Stage::Over {
            return;
        }
        let is_end = matches!(told, Told::Terminating { .. } | Told::Terminated { .. });
        let tells_end = told.is_of_an_end();
        if self.system_error && !tells_end {
            return;
        }
        let text = match serde_json::to_vec(&ToScript { now: self.script_ms(now), told }) {
            Ok(text) if text.len() <= MESSAGE_BYTES_MAX => text,
            // Nothing that is told here fails to be written.
            Ok(_) | Err(_) => {
                return self.broken(now, &Fault::of(FaultKind::TooMuch, "an event is too long"));
            }
        };
        if !is_end
            && (self.waiting.len() >= WAITING_MAX || self.waiting_bytes + text.len() > WAITING_BYTES_MAX)
        {
            return self.broken(now, &Fault::of(FaultKind::TooMuch, "more events than the script can take"));
        }
        self.waiting_bytes += text.len();
        self.waiting.push_back(Waiting { text, tells_end });
        self.hand_over(now);
    }

    fn hand_over(&mut self, now: Moment) {
        if self.busy.is_some() || self.script_gone || self.waiting.is_empty() || !self.may_go(now.instant) {
            return;
        }
        if let Some(Waiting { text, .. }) = self.waiting.pop_front() {
            self.allowance -= 1;
            self.waiting_bytes -= text.len();
            self.busy = Some(now.instant);
            self.push(FlowOutput::Script(text));
        }
    }

    /// Whether one more message may go now. If not, it goes when [`Self::held_until`] has come.
    fn may_go(&mut self, now: Instant) -> bool {
        let counted = *self.counted.get_or_insert(now);
        let paces = now.saturating_duration_since(counted).as_millis() / PACE.as_millis();
        let paces = u32::try_from(paces).unwrap_or(u32::MAX).min(BURST_MAX);
        if paces > 0 {
            self.allowance = (self.allowance + paces).min(BURST_MAX);
            self.counted = Some(now);
        }
        self.held_until = (self.allowance == 0).then(|| now + PACE);
        self.allowance > 0
    }

    /// Nothing is left to be told.
    fn is_settled(&self) -> bool {
        self.busy.is_none() && self.waiting.is_empty()
    }

    fn script_said(&mut self, now: Moment, said: Result<&[u8], ScriptEnd>) {
        self.busy = None;
        let said = match said {
            Ok(bytes) => FromScript::read(bytes).unwrap_or_else(FromScript::broken),
            Err(end) => return self.script_ended(now, end),
        };
        self.due = said.due.filter(|_| !self.system_error).and_then(|due| self.instant_of(now, due));
        for command in said.commands {
            self.obey(now, command);
        }
        if let Some(fault) = said.fault {
            self.broken(now, &fault);
        }
        self.settle(now);
        self.hand_over(now);
    }

    /// The script's time as ours.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of some thousand years are exact")]
    fn instant_of(&self, now: Moment, due_ms: f64) -> Option<Instant> {
        /// Longest wait of a timer: 2³¹ ms.
        const WAIT_MAX_MS: f64 = 2_147_483_648.0;
        let wait = (due_ms - self.script_ms(now) as f64).ceil();
        let wait = if wait.is_nan() { return None } else { wait.clamp(0.0, WAIT_MAX_MS) };
        Some(now.instant + Duration::from_secs_f64(wait / 1_000.0))
    }

    fn script_ended(&mut self, now: Moment, end: ScriptEnd) {
        self.script_gone = true;
        self.waiting.clear();
        self.system_error = true;
        self.log(&format!("{}: the script is gone", end.code()));
        self.warn(end.code(), "");
        self.over(now);
    }

    /// The script has failed: it is told what ends, then its own end, and nothing else.
    fn broken(&mut self, now: Moment, fault: &Fault) {
        self.log(&fault.to_string());
        let place =
            if fault.line == 0 { fault.file.clone() } else { format!("{}:{}", fault.file, fault.line) };
        self.warn(fault.kind.code(), &place);
        self.push(FlowOutput::Step(Step {
            command: "script".to_owned(),
            path: place,
            success: false,
            reason: fault.text.clone(),
            tag: None,
        }));
        let is_first = !std::mem::replace(&mut self.system_error, true);
        self.due = None;
        self.waiting.retain(|waiting| waiting.tells_end);
        self.waiting_bytes = self.waiting.iter().map(|waiting| waiting.text.len()).sum();
        self.answer_all(500, "the script failed");
        match self.stage {
            Stage::Running => self.end(now),
            Stage::Ending { .. } if is_first => {}
            // It fails at what ends, too.
            Stage::Ending { .. } => self.terminating(now),
            Stage::Terminating { .. } => self.terminated(now),
            Stage::Terminated => self.over(now),
            Stage::Over => {}
        }
    }

    pub(super) fn warn(&mut self, code: &'static str, path: &str) {
        self.push(FlowOutput::Warn(Warning { code, path: path.to_owned() }));
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not about the session is about its calls")]
    fn obey(&mut self, now: Moment, command: Command) {
        if matches!(self.stage, Stage::Over) {
            return;
        }
        match command {
            Command::Log { text } => self.log(&text),
            Command::Finished => {
                if self.stage == Stage::Terminated {
                    self.over(now);
                }
            }
            Command::Terminate => self.end(now),
            Command::Fetch(fetch) => self.fetch(now, *fetch),
            Command::Mail(mail) => self.mail(now, *mail),
            Command::Store { id, op, key, value, ttl_s, count } if !self.is_over_for_calls() => {
                self.store(now, id, (op, key, value), ttl_s.unwrap_or(0), count.unwrap_or(1_000));
            }
            Command::Reply { id, status, media_type, body } => self.reply(id, status, media_type, body),
            Command::HideTones { .. } => {}
            // A session that ends begins nothing new.
            _ if self.is_over_for_calls() => {}
            Command::Call { .. } if self.stage != Stage::Running => self.not_called(now, &command),
            other => self.party_command(now, other),
        }
    }

    /// The script is only told its end.
    const fn is_over_for_calls(&self) -> bool {
        !matches!(self.stage, Stage::Running | Stage::Ending { .. })
    }

    // --- The end.

    /// The session ends of its own accord.
    fn end(&mut self, now: Moment) {
        if self.stage == Stage::Running {
            self.release_all(now);
            self.stage =
                Stage::Ending { calls: now.instant + CALLS_MAX, requests: now.instant + REQUESTS_MAX };
        }
    }

    fn terminating(&mut self, now: Moment) {
        self.due = None;
        self.waiting.clear();
        self.waiting_bytes = 0;
        let until = self.stops_by.unwrap_or(now.instant + REQUESTS_MAX);
        self.stage = Stage::Terminating { until };
        self.tell(now, Told::Terminating { system_error: self.system_error });
    }

    /// The box ends it: calls and recordings come to their end within a moment, and what it asks of
    /// servers has no answer.
    fn stopped(&mut self, now: Moment) {
        let stops_by = now.instant + STOPPED_MAX;
        self.stops_by = Some(stops_by);
        match &mut self.stage {
            Stage::Running | Stage::Ending { .. } => {
                self.answer_all(503, "the session is ended by the box");
                self.end(now);
                // Requests that were made before are waited for once it is told that it ends.
                self.stage = Stage::Ending { calls: stops_by, requests: now.instant };
            }
            Stage::Terminating { until } => *until = stops_by.min(*until),
            Stage::Terminated | Stage::Over => {}
        }
    }

    fn terminated(&mut self, now: Moment) {
        self.due = None;
        self.stage = Stage::Terminated;
        self.tell(now, Told::Terminated { system_error: self.system_error });
    }

    fn over(&mut self, _: Moment) {
        if self.stage == Stage::Over {
            return;
        }
        self.answer_all(404, GONE);
        self.stage = Stage::Over;
        self.due = None;
        self.busy = None;
        let (cause, label) = if self.system_error {
            (Cause::TemporaryFailure, "system_error")
        } else {
            (Cause::NormalClearing, "script_end")
        };
        self.push(FlowOutput::End { cause, label: label.to_owned() });
    }

    /// Goes on with what waited for something.
    fn settle(&mut self, now: Moment) {
        match self.stage {
            Stage::Running => {
                self.settle_sound(now);
                if self.parties.has_live() {
                    self.idle_until = None;
                } else {
                    let until = *self.idle_until.get_or_insert(now.instant + IDLE);
                    if until <= now.instant && self.is_settled() {
                        self.log("the session had no calls for 60 seconds");
                        self.end(now);
                        self.settle(now);
                    }
                }
            }
            Stage::Ending { calls, requests } => {
                let has_calls = self.parties.has_live() || self.recorders.has_open();
                // A script that always finds something to do has had its time by then.
                let is_late = calls <= now.instant;
                let waits_for_calls = (has_calls || !self.is_settled()) && !is_late;
                let waits_for_requests = self.requests.has_active() && requests > now.instant;
                if !waits_for_calls && !waits_for_requests {
                    self.terminating(now);
                } else if is_late {
                    self.stage = Stage::Ending { calls: requests, requests };
                }
            }
            Stage::Terminating { until } => {
                let waits = (self.requests.has_active() || !self.is_settled()) && until > now.instant;
                if !waits {
                    self.terminated(now);
                }
            }
            // What `Finished` could not say, silence does.
            Stage::Terminated if self.is_settled() => self.over(now),
            Stage::Terminated | Stage::Over => {}
        }
    }

    // --- What comes in.

    fn begin(&mut self, now: Moment, facts: &CallFacts) {
        self.began = Some(now);
        let facts = Rc::new(facts.clone());
        self.facts = Some(Rc::clone(&facts));
        let none = SessionFacts::default();
        let session = facts.session.as_deref().unwrap_or(&none);
        let id = facts.id.simple();
        let scenario = Rc::clone(&self.scenario);
        self.tell(
            now,
            Told::Begin { id: &id, custom_data: &session.custom_data, scripts: &scenario.scripts },
        );
        self.tell(
            now,
            Told::Started {
                access_url: &session.access_url,
                secure_access_url: &session.secure_access_url,
                log_url: &session.log_url,
                account_id: session.account_id,
                application_id: session.application_id,
                session_id: session.id,
                conference_name: &session.conference_name,
            },
        );
        if let Some(leg) = facts.leg {
            self.first_call(now, &facts, leg);
        }
    }

    fn timer(&mut self, now: Moment) {
        if self.busy.is_some_and(|since| since + ANSWER_MAX <= now.instant) {
            return self.script_ended(now, ScriptEnd::Gone);
        }
        if self.busy.is_none() && self.due.is_some_and(|due| due <= now.instant) {
            self.due = None;
            self.tell(now, Told::Tick);
        }
        if self.held_until.is_some_and(|until| until <= now.instant) {
            self.hand_over(now);
        }
        self.parties_due(now);
        self.players_due(now);
        self.controls_due(now);
    }
}

impl Flow for Session {
    fn handle(&mut self, now: Moment, input: FlowInput<'_>) {
        if self.stage == Stage::Over {
            if let FlowInput::Message(id, _) = input {
                self.push(FlowOutput::Reply(id, gone()));
            }
            return;
        }
        self.storage.done();
        match input {
            FlowInput::Started(facts) => self.begin(now, facts),
            FlowInput::Script(said) => self.script_said(now, said),
            FlowInput::Ended(id, outcome) => self.action_ended(now, id, outcome),
            FlowInput::Leg(leg, event) => self.leg_event(now, leg, event),
            FlowInput::Fetched(id, answer) => self.fetched(now, id, answer),
            FlowInput::Message(id, message) => self.control(now, id, message),
            FlowInput::Stopped => self.stopped(now),
            FlowInput::Timeout => self.timer(now),
        }
        self.settle(now);
    }

    fn poll(&mut self) -> Option<FlowOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.stage == Stage::Over {
            return None;
        }
        let of_stage = match self.stage {
            Stage::Running => self.idle_until,
            Stage::Ending { calls, .. } => Some(calls),
            Stage::Terminating { until } => Some(until),
            Stage::Terminated | Stage::Over => None,
        };
        let of_script = match self.busy {
            Some(since) => Some(since + ANSWER_MAX),
            None => self.due,
        };
        let held = self.held_until.filter(|_| self.busy.is_none());
        let others = [held, self.parties.next_due(), self.players.next_due(), self.controls.next_due()];
        of_script.into_iter().chain(of_stage).chain(others.into_iter().flatten()).min()
    }
}

/// As of an address that leads nowhere: which of both it is, nobody can tell.
const GONE: &str = "there is nothing here";

/// The answer to whoever speaks to a session that is over.
pub(super) fn gone() -> Reply {
    plain(404, GONE)
}

pub(super) fn plain(status: u16, body: &str) -> Reply {
    let media_type = "text/plain; charset=utf-8".to_owned();
    Reply { status, media_type, body: body.as_bytes().to_vec() }
}
