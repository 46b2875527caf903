//! Joins calls with lines, audio, fetches and records. Everything here runs on the
//! main thread; nothing here waits.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tipring_calls::exchange::Exchange;
use tipring_calls::{Call, CallInput, CallOutput, MediaEvent, Request};
use tipring_lines::MediaPort;
use tipring_lines::analog::contract::Note;
use tipring_lines::port::PortDriver;
use tipring_media::{Event, LegStats, Refusal};
use tipring_model::call::{Cdr, EndedBy, KeptValues};
use tipring_model::flow::Moment;
use tipring_model::line::LineCommand;
use tipring_model::{CallId, Cause, Digit, LegId, LineId, RecordId};
use tipring_web::recordings::Seal;
use tokio::sync::Notify;

use super::control_api::ControlApi;
use super::kept::Kept;
use super::lamps::Lamps;
use super::lines::Lines;
use super::mail::Mailer;
use super::mailboxes::Mailboxes;
use super::placing::{Spare, Tried};
use super::playing::PlayQueue;
use super::recordings::Recorder;
use super::records::{DigitRecord, StepRecord, Trail};
use super::route::Plan;
use super::scripts::Scripts;
use super::sessions::Sessions;
use super::streams::Streams;
use super::uploads::Uploads;
use super::webhooks::Webhooks;
use crate::cdr::RecordWriter;
use crate::config::{Config, FlowEntry};
use crate::countries::Country;
use crate::fetch::documents::Documents;
use crate::fetch::ladder::Rung;
use crate::fetch::{Fetcher, Outage};
use crate::masking;
use crate::prompts::PromptStore;

/// Longest ringing of the built-in flow that connects two parties.
pub(super) const CONNECT_RING_MAX: Duration = Duration::from_secs(120);
/// Calls whose end is remembered for those who ask.
pub(super) const ENDED_MAX: usize = 256;
/// Steps kept for the record of one call.
const STEPS_MAX: usize = 1_000;
/// Keys kept for the record of one call.
const DIGITS_MAX: usize = 1_000;

/// The heart of the daemon. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Switchboard(pub(super) Rc<Board>);

pub(super) struct Board {
    pub(super) plan: Plan,
    pub(super) flows: Vec<FlowEntry>,
    pub(super) line_names: Vec<String>,
    pub(super) line_kinds: Vec<&'static str>,
    /// Name and driver of each device.
    pub(super) devices: Vec<(String, &'static PortDriver)>,
    pub(super) calls_max: usize,
    pub(super) country: &'static Country,
    pub(super) media: MediaPort,
    pub(super) lines: Lines,
    pub(super) fetcher: Fetcher,
    pub(super) documents: Documents,
    pub(super) outage: Outage,
    pub(super) prompts: PromptStore,
    pub(super) recorder: Recorder,
    pub(super) records: RecordWriter,
    pub(super) webhooks: Webhooks,
    pub(super) uploads: Uploads,
    pub(super) data_dir: std::path::PathBuf,
    pub(super) recordings_dir: std::path::PathBuf,
    pub(super) kept: Kept,
    pub(super) mailboxes: Mailboxes,
    pub(super) lamps: Lamps,
    pub(super) mail: Mailer,
    pub(super) control_api: ControlApi,
    /// What makes the addresses of recordings, where the box serves them.
    pub(super) recordings_seal: Option<Seal>,
    pub(super) exchange: RefCell<Exchange>,
    pub(super) streams: RefCell<Streams>,
    pub(super) scripts: Scripts,
    pub(super) sessions: Sessions,
    pub(super) state: RefCell<State>,
    /// Probes of servers that were sent.
    pub(super) probes: std::cell::Cell<usize>,
    timer_changed: Notify,
    pub(super) idle: Notify,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) calls: HashMap<u32, Entry>,
    /// Calls that are over and whose legs' counters are still on their way.
    pub(super) closing: HashMap<u32, Closing>,
    pub(super) legs: HashMap<LegId, LegEntry>,
    pub(super) timers: BTreeSet<(Instant, u32)>,
    next_call: u32,
    pub(super) calls_total: u64,
    pub(super) panics: u64,
    pub(super) stopping: bool,
    /// What lines found out about legs, for the records of their calls.
    pub(super) notes: HashMap<LegId, Vec<Note>>,
    /// Recordings for which the engine had no room, until the recorder has closed them.
    pub(super) refused: HashSet<(LegId, RecordId)>,
    /// How the last calls ended.
    pub(super) ended: VecDeque<(CallId, Cause)>,
}

pub(super) struct Entry {
    pub(super) call: Call,
    pub(super) line: Option<LineId>,
    pub(super) flow: Option<usize>,
    pub(super) began: Instant,
    pub(super) due: Option<Instant>,
    pub(super) trail: Trail,
    /// Documents that are being got for it.
    pub(super) climbing: Vec<tokio::task::AbortHandle>,
    /// What takes over if its first document cannot be had.
    pub(super) stand_in: Option<Rung>,
    pub(super) legs: Vec<LegId>,
    pub(super) stats: HashMap<LegId, LegStats>,
    pub(super) codecs: HashMap<LegId, &'static str>,
    pub(super) lines: HashMap<LegId, LineId>,
    /// Lines that could not carry a leg, before the one that it has.
    pub(super) tried: HashMap<LegId, Vec<Tried>>,
}

pub(super) struct Closing {
    pub(super) entry: Box<Entry>,
    pub(super) cdr: Box<Cdr>,
    /// Legs that the engine has not given back.
    pub(super) waiting: usize,
}

pub(super) struct LegEntry {
    pub(super) call: u32,
    pub(super) line: Option<LineId>,
    pub(super) queue: PlayQueue<Ready, tipring_model::flow::ActionFailure>,
    /// Where it is tried next, until somebody is alerted; an emergency call until somebody answers.
    pub(super) spare: Option<Box<Spare>>,
    /// It has no party, and no line.
    pub(super) is_booth: bool,
}

impl LegEntry {
    pub(super) fn new(call: u32, line: Option<LineId>) -> Self {
        Self { call, line, queue: PlayQueue::default(), spare: None, is_booth: false }
    }
}

/// Audio that the engine can be given, and how often it plays.
pub(super) struct Ready {
    pub(super) source: tipring_media::PlaySource,
    pub(super) loops: u32,
    /// Once through, if that is known.
    pub(super) length: Option<Duration>,
}

/// What a switchboard is made of.
pub(crate) struct Parts {
    /// The way to the engine.
    pub media: MediaPort,
    /// The lines.
    pub(super) lines: Lines,
    /// HTTP for flows.
    pub fetcher: Fetcher,
    /// Documents for flows.
    pub documents: Documents,
    /// Pretended outages.
    pub outage: Outage,
    /// Audio for prompts.
    pub prompts: PromptStore,
    /// Writes recordings.
    pub recorder: Recorder,
    /// Writes call records.
    pub records: RecordWriter,
    /// Tells applications what happens.
    pub(super) webhooks: Webhooks,
    /// Takes recordings that are ready.
    pub(super) uploads: Uploads,
    /// What flows keep across calls.
    pub(super) kept: Kept,
    /// Where messages are left.
    pub(super) mailboxes: Mailboxes,
    /// Who tells of them by e-mail.
    pub(super) mail: Mailer,
    /// Who starts sessions over HTTP.
    pub(super) control_api: ControlApi,
    /// What makes the addresses of recordings, where the box serves them.
    pub(super) recordings_seal: Option<Seal>,
}

/// Both clocks, now.
#[must_use]
pub(crate) fn moment() -> Moment {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { instant: Instant::now(), unix_ms: i64::try_from(unix.as_millis()).unwrap_or(i64::MAX) }
}

/// A new name for a call.
pub(super) fn new_call_id() -> CallId {
    let mut bytes = [0; 16];
    // The lines have read from the same source at their start.
    let _ = getrandom::fill(&mut bytes);
    CallId::from_random(u128::from_ne_bytes(bytes))
}

impl Switchboard {
    /// A switchboard for this configuration.
    #[must_use]
    pub(crate) fn new(config: Config, plan: Plan, parts: Parts) -> Self {
        let Parts {
            media,
            lines,
            fetcher,
            documents,
            outage,
            prompts,
            recorder,
            records,
            webhooks,
            uploads,
            kept,
            mailboxes,
            mail,
            control_api,
            recordings_seal,
        } = parts;
        Self(Rc::new(Board {
            plan,
            flows: config.flows,
            line_names: config.lines.iter().map(|line| line.name.clone()).collect(),
            line_kinds: config.lines.iter().map(|line| line.kind).collect(),
            devices: config
                .devices
                .iter()
                .map(|(name, settings)| (name.clone(), settings.driver()))
                .collect(),
            calls_max: config.calls_max,
            country: config.general.country,
            data_dir: config.general.data_dir.clone(),
            recordings_dir: super::recordings_dir(&config.general.data_dir),
            media,
            lines,
            fetcher,
            documents,
            outage,
            prompts,
            recorder,
            records,
            webhooks,
            uploads,
            kept,
            mailboxes,
            lamps: Lamps::default(),
            mail,
            control_api,
            recordings_seal,
            exchange: RefCell::default(),
            streams: RefCell::default(),
            scripts: Scripts::default(),
            sessions: Sessions::default(),
            state: RefCell::new(State::default()),
            probes: std::cell::Cell::default(),
            timer_changed: Notify::new(),
            idle: Notify::new(),
        }))
    }

    /// Keeps the timers of calls, for ever.
    pub(crate) async fn keep_time(self) {
        /// Wakes at least this often, whatever is due.
        const IDLE: Duration = Duration::from_secs(60);
        loop {
            let due = self.0.state.borrow().timers.first().map(|(due, _)| *due);
            let until = due.unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => self.timers_due(),
                () = self.0.timer_changed.notified() => {}
            }
        }
    }

    fn timers_due(&self) {
        loop {
            let now = Instant::now();
            let due = {
                let mut state = self.0.state.borrow_mut();
                match state.timers.first().copied() {
                    Some((at, call)) if at <= now => {
                        state.timers.pop_first();
                        if let Some(entry) = state.calls.get_mut(&call) {
                            entry.due = None;
                        }
                        call
                    }
                    Some(_) | None => return,
                }
            };
            self.handle(due, CallInput::Timeout);
        }
    }

    /// Tells the calls that no new ones come, and waits until they are over. After
    /// `grace`, or when `at_once` is done, those that are left are hung up.
    pub(crate) async fn stop(&self, grace: Duration, at_once: impl Future<Output = ()>) {
        self.0.state.borrow_mut().stopping = true;
        tokio::select! {
            () = self.idle() => {}
            () = tokio::time::sleep(grace) => self.hang_up_all().await,
            () = at_once => self.hang_up_all().await,
        }
        self.close_all();
    }

    async fn idle(&self) {
        while !self.is_idle() {
            self.0.idle.notified().await;
        }
    }

    async fn hang_up_all(&self) {
        /// Enough for the far ends to answer.
        const LAST: Duration = Duration::from_secs(2);
        let running: Vec<u32> = self.0.state.borrow().calls.keys().copied().collect();
        for call in running {
            self.handle(call, CallInput::Request(Request::HangUp(EndedBy::Operator)));
        }
        // Those that do not answer are gone without that.
        let _ = tokio::time::timeout(LAST, self.idle()).await;
    }

    fn is_idle(&self) -> bool {
        let state = self.0.state.borrow();
        state.calls.is_empty() && state.closing.is_empty()
    }

    // --- Calls begin.

    pub(super) fn next_number(&self) -> u32 {
        let mut state = self.0.state.borrow_mut();
        // 31 bits: the top one tells placed legs from offered ones.
        state.next_call = (state.next_call + 1) & 0x7fff_ffff;
        state.next_call
    }

    pub(super) fn begin(
        &self,
        number: u32,
        call: Call,
        line: Option<LineId>,
        flow: (Option<usize>, Option<Rung>),
        first: Option<(LegId, &'static str)>,
    ) {
        let (flow, stand_in) = flow;
        tracing::info!(
            call = %call.facts().id,
            line = self.line_name(line),
            flow = flow.and_then(|at| self.0.flows.get(at)).map(|entry| entry.name.as_str()),
            from = %masked(call.facts().from.number_or_anonymous()),
            to = %masked(call.facts().to.as_str()),
            "call began"
        );
        let entry = Entry {
            call,
            line,
            flow,
            began: Instant::now(),
            due: None,
            trail: Trail::default(),
            climbing: Vec::new(),
            stand_in,
            legs: first.iter().map(|(leg, _)| *leg).collect(),
            stats: HashMap::new(),
            tried: HashMap::new(),
            codecs: first.into_iter().collect(),
            lines: first.zip(line).map(|((leg, _), line)| (leg, line)).into_iter().collect(),
        };
        {
            let mut state = self.0.state.borrow_mut();
            state.calls_total += 1;
            if let Some((leg, _)) = first {
                state.legs.insert(leg, LegEntry::new(number, line));
            }
            state.calls.insert(number, entry);
        }
        self.handle(number, CallInput::Start);
    }

    // --- Media.

    /// Takes an event of the engine.
    pub(crate) fn media_event(&self, event: Event) {
        match event {
            Event::DigitBegan { leg, digit, how } => self.leg_media(leg, MediaEvent::Digit(digit, how)),
            Event::Played { leg, play, .. } => self.leg_media(leg, MediaEvent::PlayEnded(play, Ok(()))),
            Event::Detached { leg, stats, .. } => self.leg_stats(leg, stats),
            Event::Refused { leg, why, .. } => {
                tracing::debug!(%leg, %why, "the engine refused a command");
                if why == Refusal::LegsFull {
                    self.booth_refused(leg);
                }
            }
            // The ring's writer is dropped with the event, which ends the recording.
            Event::RecordEnded { leg, record, refused: Some(why), .. } => {
                self.record_refused(leg, record, why);
            }
            Event::RecordEnded { leg, dropped, .. } => {
                if dropped > 0 {
                    tracing::warn!(code = "TR-DAEMON-STORAGE", %leg, dropped, "a recording has gaps");
                }
            }
            Event::NoMedia { leg, .. } => self.leg_media(leg, MediaEvent::Silent(true)),
            Event::MediaBack { leg } => self.leg_media(leg, MediaEvent::Silent(false)),
            Event::Digit { .. } | Event::Returned(_) => {}
        }
    }

    /// Writes down a key for the record of its call.
    pub(super) fn note_digit(&self, leg: LegId, digit: Digit) {
        let mut state = self.0.state.borrow_mut();
        let call = state.legs.get(&leg).map(|entry| entry.call);
        let Some(entry) = call.and_then(|call| state.calls.get_mut(&call)) else { return };
        if entry.trail.digits.len() < DIGITS_MAX {
            let at_ms = u64::try_from(entry.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            entry.trail.digits.push(DigitRecord { at_ms, leg: leg.to_string(), digit: digit.as_char() });
        }
    }

    pub(super) fn leg_media(&self, leg: LegId, event: MediaEvent) {
        if let MediaEvent::Digit(digit, _) = &event {
            self.note_digit(leg, *digit);
            self.stream_digit(leg, *digit);
        }
        let call = self.0.state.borrow().legs.get(&leg).map(|entry| entry.call);
        if let Some(call) = call {
            self.handle(call, CallInput::Media(leg, event));
        }
    }

    // --- Calls.

    /// Gives a call an input and does what it asks for. A panic inside ends that
    /// call and no other.
    pub(super) fn handle(&self, number: u32, input: CallInput<'_>) {
        let now = moment();
        let mut outputs = Vec::new();
        let survived = {
            let mut state = self.0.state.borrow_mut();
            let Some(entry) = state.calls.get_mut(&number) else { return };
            let survived = catch_unwind(AssertUnwindSafe(|| {
                entry.call.handle(now, input);
                while let Some(output) = entry.call.poll() {
                    outputs.push(output);
                }
                entry.call.poll_timeout()
            }));
            if let Ok(due) = survived {
                let old = std::mem::replace(&mut entry.due, due);
                if old != due {
                    if let Some(old) = old {
                        state.timers.remove(&(old, number));
                    }
                    if let Some(due) = due {
                        let first = state.timers.first().is_none_or(|(first, _)| due < *first);
                        state.timers.insert((due, number));
                        if first {
                            self.0.timer_changed.notify_one();
                        }
                    }
                }
            }
            survived.is_ok()
        };
        for output in outputs {
            self.perform(number, output);
        }
        if !survived {
            self.call_panicked(number);
        }
    }

    fn perform(&self, number: u32, output: CallOutput) {
        match output {
            CallOutput::Place { leg, to, from, extras } => self.place(number, leg, &to, (from, extras)),
            CallOutput::Exchange(seat, request) => self.exchange(seat, request),
            CallOutput::Mailbox(action, request) => self.mailbox(number, action, request),
            CallOutput::Stream(action, leg, stream) => self.stream(number, action, leg, *stream),
            CallOutput::Detect(action, leg, detect) => self.listen(number, action, leg, detect),
            CallOutput::StopStream(action) => self.stop_stream(number, action),
            CallOutput::Booth(leg, booth) => self.open_booth(number, leg, booth),
            CallOutput::Echo(leg, on) => self.echo(leg, on),
            CallOutput::Lamp { name, shows, stays } => self.lamp(number, name, shows, stays),
            CallOutput::Keep { name, value } => {
                let dialect = self.dialect_of(number);
                self.0.kept.keep(dialect, name, value);
            }
            CallOutput::Line(command) => {
                let leg = leg_of(&command);
                if self.is_booth(leg) {
                    return self.close_booth(number, leg);
                }
                let line = {
                    let mut state = self.0.state.borrow_mut();
                    let entry = state.legs.get_mut(&leg);
                    entry.and_then(|entry| {
                        if matches!(command, LineCommand::Release { .. }) {
                            entry.spare = None;
                        }
                        if let Some(spare) = &mut entry.spare {
                            spare.heard(&command);
                        }
                        entry.line
                    })
                };
                if let Some(line) = line {
                    self.0.lines.command(line, command);
                }
            }
            CallOutput::Media(leg, command) => self.media_command(number, leg, command),
            CallOutput::Connect { from, to } => {
                // Nobody here waits for keys in the sound of two people talking, who are in no booth; without
                // that wait their packets are passed on untouched.
                if !self.is_booth(from) && !self.is_booth(to) {
                    self.0.media.send(tipring_media::Command::Listen { leg: from, inband: false });
                }
                self.0.media.send(tipring_media::Command::Connect { from, to });
            }
            CallOutput::Disconnect { from, to } => {
                self.0.media.send(tipring_media::Command::Disconnect { from, to });
                if !self.is_booth(from) && !self.is_booth(to) {
                    self.0.media.send(tipring_media::Command::Listen { leg: from, inband: true });
                }
            }
            CallOutput::Fetch { id, request, document } => self.fetch(number, id, request, document),
            CallOutput::Mail(id, letter) => self.mail_for(number, id, *letter),
            CallOutput::Notify(notice) => {
                let call = self.0.state.borrow().calls.get(&number).map(|entry| entry.call.facts().id);
                if let Some(call) = call {
                    self.0.webhooks.notify(call, notice);
                }
            }
            CallOutput::Reply(id, reply) => self.replied(number, id, reply),
            CallOutput::Script(message) => self.tell_script(number, message),
            CallOutput::Log(line) => self.log_line(number, line),
            CallOutput::Step { after, step } => self.step(number, after, step),
            CallOutput::Warn(warning) => {
                tracing::info!(call = %self.call_name(number), code = warning.code, path = warning.path, "flow warning");
            }
            CallOutput::Over(cdr) => self.over(number, cdr),
        }
    }

    fn step(&self, number: u32, after: Duration, step: tipring_model::flow::Step) {
        let mut state = self.0.state.borrow_mut();
        let Some(entry) = state.calls.get_mut(&number) else { return };
        // A flow may show a part of a document, with addresses in it.
        let reason = masking::text(&step.reason);
        // The path of the built-in flow is the number that was dialled.
        let path = if entry.flow.is_none() { masked(&step.path) } else { step.path.clone() };
        tracing::debug!(
            call = %entry.call.facts().id,
            path,
            success = step.success,
            reason,
            "flow step"
        );
        if entry.trail.steps.len() < STEPS_MAX {
            entry.trail.steps.push(StepRecord {
                at_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                command: step.command,
                path: step.path,
                success: step.success,
                reason,
            });
        }
    }

    /// What flows of the same dialect have kept.
    pub(super) fn kept_for(&self, flow: Option<usize>) -> KeptValues {
        let entry = flow.and_then(|at| self.0.flows.get(at));
        entry.map_or_else(Rc::default, |entry| self.0.kept.of(entry.dialect))
    }

    pub(super) fn dialect_of(&self, number: u32) -> &'static str {
        let flow = self.0.state.borrow().calls.get(&number).and_then(|entry| entry.flow);
        flow.and_then(|at| self.0.flows.get(at)).map_or("", |entry| entry.dialect)
    }

    // --- Names.

    pub(super) fn line_name(&self, line: Option<LineId>) -> &str {
        let name = line.and_then(|line| self.0.line_names.get(usize::from(line.0)));
        name.map_or("", String::as_str)
    }

    pub(super) fn call_name(&self, number: u32) -> String {
        let state = self.0.state.borrow();
        state.calls.get(&number).map_or_else(String::new, |entry| entry.call.facts().id.to_string())
    }

    pub(super) fn codec_of(&self, number: u32, leg: LegId) -> Option<&'static str> {
        let state = self.0.state.borrow();
        state.calls.get(&number).and_then(|entry| entry.codecs.get(&leg).copied())
    }
}

/// The leg that a command names.
const fn leg_of(command: &LineCommand) -> LegId {
    match command {
        LineCommand::Place { leg, .. }
        | LineCommand::Alert { leg, .. }
        | LineCommand::Answer { leg }
        | LineCommand::SendDigits { leg, .. }
        | LineCommand::Refer { leg, .. }
        | LineCommand::Transfer { leg, .. }
        | LineCommand::EndTransfer { leg, .. }
        | LineCommand::Flash { leg }
        | LineCommand::Signal { leg, .. }
        | LineCommand::Release { leg, .. } => *leg,
    }
}

/// An address as logs may show it: without credentials and query, which name callers.
pub(super) fn shown_url(url: &str) -> &str {
    let bare = url.split(['?', '#']).next().unwrap_or("");
    let Some((_, rest)) = bare.split_once("//") else { return bare };
    let host = rest.split('/').next().unwrap_or("");
    host.rfind('@').and_then(|at| rest.get(at + 1..)).unwrap_or(rest)
}

/// A number as logs may show it: the last three characters alone.
fn masked(number: &str) -> String {
    let shown = number.char_indices().rev().nth(2).map_or(0, |(at, _)| at);
    let hidden = number.get(..shown).unwrap_or("").chars().count();
    format!("{}{}", "*".repeat(hidden), number.get(shown..).unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_show_no_credentials_and_no_query() {
        for (url, shown) in [
            ("http://ann:secret@web.example:81/a/b?from=15550100#x", "web.example:81/a/b"),
            ("https://web.example", "web.example"),
            ("https://web.example/@home?x=a@b", "web.example/@home"),
            ("nonsense", "nonsense"),
            ("", ""),
        ] {
            assert_eq!(shown_url(url), shown);
        }
    }

    #[test]
    fn logs_show_the_last_three_digits_alone() {
        for (number, shown) in
            [("15550100", "*****100"), ("112", "112"), ("", ""), ("ünö", "ünö"), ("aünö", "*ünö")]
        {
            assert_eq!(masked(number), shown);
        }
    }
}
