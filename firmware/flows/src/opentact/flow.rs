//! The interpreter: a cursor over the commands of the current document.
//!
//! Exactly one command is under way at a time ([`Waiting`]); recordings may run
//! beside it. What each command does is in the sibling modules.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tipring_model::call::CallFacts;
use tipring_model::fetch::{DocumentKey, FetchError, HttpRequest, HttpResponse, Method};
use tipring_model::flow::{
    Action, Flow, FlowInput, FlowOutput, LegEvent, Moment, Notice, Outcome, Step, Warning,
};
use tipring_model::id::LineId;
use tipring_model::prompt::{Prompt, PromptSource};
use tipring_model::{ActionId, Cause, FetchId, LegId};

use super::attributes::{Attributes, child_path};
use super::gather::Gather;
use super::params::{self, CallState, LogEntry};
use super::parse::Name;
use super::record::Recordings;
use super::request::{self, Fetching};
use super::settings::{App, Source};
use crate::address;
use crate::loads::Loads;
use crate::xml::Element;

/// A command under way.
#[derive(Clone)]
pub(super) struct Command {
    pub(super) element: Rc<Element>,
    pub(super) name: Name,
    pub(super) path: String,
}

/// What the flow waits for before the next command.
pub(super) enum Waiting {
    Nothing,
    /// The answer that comes before the first command.
    AutoAnswer(ActionId),
    /// The answer that a media command needs first.
    ImplicitAnswer(ActionId, Command),
    Answer {
        action: ActionId,
        command: Command,
        delay: Duration,
    },
    /// An action after which the command is over.
    Action {
        action: ActionId,
        command: Command,
        began: Instant,
    },
    Dial {
        action: ActionId,
        command: Command,
        began: Instant,
    },
    Gather {
        action: ActionId,
        gather: Box<Gather>,
        began: Instant,
    },
    Fetch {
        fetch: FetchId,
        fetching: Fetching,
    },
    /// A load that must keep its distance from the last one.
    Held {
        until: Instant,
        request: HttpRequest,
        document: Option<DocumentKey>,
        fetching: Fetching,
    },
    /// The end of a recording whose command then goes on.
    RecordEnd {
        action: ActionId,
        command: Command,
    },
    /// The end of a recording that is then played.
    RecordThenPlay {
        action: ActionId,
        command: Command,
    },
    RecordStops {
        left: Vec<ActionId>,
        command: Command,
    },
    RecordWait {
        left: Vec<ActionId>,
        until: Instant,
        command: Command,
    },
    /// The answer before the system's own "something is wrong" prompt.
    SorryAnswer(ActionId),
    Sorry(ActionId),
    /// The document is over and the call is held.
    HoldOpen,
    Ended,
}

/// A list of commands and the place in it.
pub(super) struct Frame {
    pub(super) owner: Rc<Element>,
    pub(super) path: String,
    pub(super) next: usize,
    pub(super) kind: FrameKind,
}

pub(super) enum FrameKind {
    Plain,
    /// The body of a recording, which ends with it.
    Record(ActionId, Command),
    /// Commands fetched by `Curl response="include"`; afterwards relative URLs
    /// resolve against this again.
    Included {
        base: Option<String>,
    },
}

/// One run of a program in this dialect.
pub(super) struct OpentactFlow {
    pub(super) app: Rc<App>,
    pub(super) facts: Option<CallFacts>,
    pub(super) leg: LegId,
    pub(super) answered: bool,
    pub(super) frames: Vec<Frame>,
    pub(super) waiting: Waiting,
    pub(super) base: Option<String>,
    pub(super) recordings: Recordings,
    pub(super) logs: Vec<LogEntry>,
    pub(super) loads: Loads,
    pub(super) call_ends: Option<Instant>,
    outputs: VecDeque<FlowOutput>,
    actions: u32,
    fetches: u32,
}

/// Commands that the call entity lists; older ones are left out.
const LOGS_MAX: usize = 100;

impl OpentactFlow {
    pub(super) fn new(app: Rc<App>) -> Self {
        Self {
            app,
            facts: None,
            leg: LegId::offered(LineId(0), 0),
            answered: false,
            frames: Vec::new(),
            waiting: Waiting::Nothing,
            base: None,
            recordings: Recordings::default(),
            logs: Vec::new(),
            loads: Loads::default(),
            call_ends: None,
            outputs: VecDeque::new(),
            actions: 0,
            fetches: 0,
        }
    }

    // --- What the commands build on.

    pub(super) fn push(&mut self, output: FlowOutput) {
        self.outputs.push_back(output);
    }

    pub(super) fn act(&mut self, action: Action) -> ActionId {
        self.actions += 1;
        let id = ActionId(self.actions);
        self.push(FlowOutput::Start { id, on: Some(self.leg), action });
        id
    }

    /// The name that the next action will get.
    pub(super) const fn next_action(&self) -> u32 {
        self.actions + 1
    }

    pub(super) fn fetch(&mut self, request: HttpRequest, document: Option<DocumentKey>) -> FetchId {
        self.fetches += 1;
        let id = FetchId(self.fetches);
        self.push(FlowOutput::Fetch { id, request, document });
        id
    }

    pub(super) fn cancel(&mut self, action: ActionId) {
        self.push(FlowOutput::Cancel(action));
    }

    pub(super) fn warn(&mut self, code: &'static str, path: &str) {
        self.push(FlowOutput::Warn(Warning { code, path: path.to_owned() }));
    }

    pub(super) fn warn_all(&mut self, attributes: Attributes<'_>, path: &str) {
        for (code, path) in attributes.warnings(path) {
            self.warn(code, &path);
        }
    }

    pub(super) fn step(&mut self, command: &Command, success: bool, reason: &str) {
        if self.logs.len() >= LOGS_MAX {
            self.logs.remove(0);
        }
        self.logs.push(LogEntry {
            name: command.name.as_str().to_owned(),
            success,
            command: command.path.clone(),
            response: reason.to_owned(),
        });
        self.push(FlowOutput::Step(Step {
            command: command.name.as_str().to_owned(),
            path: command.path.clone(),
            success,
            reason: reason.to_owned(),
            tag: command.element.attribute("tag").map(short_tag),
        }));
    }

    /// The command is over; the next one follows.
    pub(super) fn succeed(&mut self, command: &Command, reason: &str) {
        self.step(command, true, reason);
        self.waiting = Waiting::Nothing;
    }

    /// True if the author has said what is to be done when the command fails.
    pub(super) fn handles_failure(&self, command: &Command) -> bool {
        child_named(&command.element, Name::Error).is_some()
            || self.frames.last().is_some_and(|frame| {
                let next = frame.owner.children.get(frame.next);
                next.is_some_and(|next| Name::of(&next.name) == Some(Name::Error))
            })
    }

    /// The command failed: its `Error` child runs, or the `Error` right after it,
    /// or simply the next command (`spec/opentact.md` §3).
    pub(super) fn fail(&mut self, command: &Command, code: &str) {
        self.step(command, false, code);
        self.waiting = Waiting::Nothing;
        if let Some((at, own)) = child_named(&command.element, Name::Error) {
            let path = child_path(&command.path, own, at);
            self.enter(Rc::clone(own), path, FrameKind::Plain);
            return;
        }
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let at = frame.next;
        let sibling = frame.owner.children.get(at).filter(|next| Name::of(&next.name) == Some(Name::Error));
        if let Some(sibling) = sibling.map(Rc::clone) {
            frame.next += 1;
            let path = child_path(&frame.path, &sibling, at);
            self.enter(sibling, path, FrameKind::Plain);
        }
    }

    /// Runs the commands inside `owner`, then goes on where it was.
    pub(super) fn enter(&mut self, owner: Rc<Element>, path: String, kind: FrameKind) {
        self.frames.push(Frame { owner, path, next: 0, kind });
    }

    pub(super) const fn state(&self) -> CallState {
        if self.answered { CallState::Live } else { CallState::Ringing }
    }

    /// Whether only Say, Play and Pause stand between here and the next Gather of
    /// the same block.
    pub(super) fn leads_to_gather(&self) -> bool {
        let Some(frame) = self.frames.last() else {
            return false;
        };
        let following = frame.owner.children.iter().skip(frame.next);
        following.map(|child| Name::of(&child.name)).find(|name| !name.is_some_and(Name::is_filler))
            == Some(Some(Name::Gather))
    }

    /// Passes over what is left of the fillers: a key was pressed.
    pub(super) fn skip_fillers(&mut self) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let fillers = frame.owner.children.iter().skip(frame.next);
        frame.next += fillers.take_while(|child| Name::of(&child.name).is_some_and(Name::is_filler)).count();
    }

    // --- Documents.

    fn begin_call(&mut self, now: Moment, facts: &CallFacts) {
        self.leg = facts.leg.unwrap_or(self.leg);
        self.answered = facts.answered;
        self.facts = Some(facts.clone());
        self.call_ends = Some(now.instant + self.app.call_max);
        self.notify(now, self.state());
        let app = Rc::clone(&self.app);
        match &app.source {
            Source::Static(root) => self.run(Rc::clone(root), None),
            Source::Url { url, timeout } => {
                let body = (app.method == Method::Post).then(|| self.entity(now, None));
                let (from, to) = (facts.from.number_or_anonymous(), facts.to.as_str());
                let (request, document) = request::first_request(&app, url, from, to, body, *timeout);
                let fetch = self.fetch(request, Some(document));
                self.waiting = Waiting::Fetch { fetch, fetching: Fetching::First };
            }
        }
    }

    /// Begins a document: answers first where the application wants that.
    pub(super) fn run(&mut self, root: Rc<Element>, base: Option<String>) {
        let dropped: Vec<ActionId> = self
            .frames
            .drain(..)
            .filter_map(|frame| match frame.kind {
                FrameKind::Record(action, _) => Some(action),
                FrameKind::Plain | FrameKind::Included { .. } => None,
            })
            .collect();
        for action in dropped {
            self.cancel(action);
        }
        self.base = base;
        self.enter(root, String::new(), FrameKind::Plain);
        self.waiting = if self.app.auto_answer && !self.answered {
            Waiting::AutoAnswer(self.act(Action::Answer))
        } else {
            Waiting::Nothing
        };
    }

    /// The first document cannot be had, or documents go in a circle.
    pub(super) fn document_error(&mut self, code: &'static str, fallback: bool) {
        self.warn(code, "Response");
        let document = self.app.fallback.clone().filter(|_| fallback);
        match document {
            Some(root) => self.run(root, None),
            None if self.answered => self.sorry(),
            None => self.waiting = Waiting::SorryAnswer(self.act(Action::Answer)),
        }
    }

    fn sorry(&mut self) {
        let prompt = Prompt::once(PromptSource::Library("system-error".to_owned()));
        self.waiting = Waiting::Sorry(self.act(Action::Prompt(prompt)));
    }

    pub(super) fn end(&mut self, now: Moment, cause: Cause, label: &str) {
        if matches!(self.waiting, Waiting::Ended) {
            return;
        }
        self.notify(now, CallState::Hangup);
        self.push(FlowOutput::End { cause, label: label.to_owned() });
        self.waiting = Waiting::Ended;
        self.frames.clear();
    }

    pub(super) fn entity(&self, now: Moment, gather: Option<&[params::Attempt]>) -> Vec<u8> {
        self.entity_in(now, self.state(), gather)
    }

    fn entity_in(&self, now: Moment, state: CallState, gather: Option<&[params::Attempt]>) -> Vec<u8> {
        self.facts.as_ref().map_or_else(Vec::new, |facts| {
            params::entity(&self.app, facts, now.unix_ms, state, &self.logs, gather)
        })
    }

    /// Tells the application about a change of state, if it wants to know.
    fn notify(&mut self, now: Moment, state: CallState) {
        let app = Rc::clone(&self.app);
        let Some((url, facts)) = app.webhook_url.as_deref().zip(self.facts.as_ref()) else {
            return;
        };
        let fields = [
            ("state", state.as_str()),
            ("from", facts.from.number_or_anonymous()),
            ("to", facts.to.as_str()),
        ];
        let url = address::with_query(address::absolute(url).as_deref().unwrap_or(url), &fields);
        let body = (app.webhook_method == Method::Post).then(|| self.entity_in(now, state, None));
        let request = request::notice_request(app.webhook_method, url, body);
        let is_last = state == CallState::Hangup;
        self.push(FlowOutput::Notify(Notice { topic: "call.state", request, is_last }));
    }

    fn now_answered(&mut self, now: Moment) {
        if !self.answered {
            self.answered = true;
            self.notify(now, CallState::Live);
        }
    }

    // --- The cursor.

    /// Runs commands until one has to wait.
    fn advance(&mut self, now: Moment) {
        while matches!(self.waiting, Waiting::Nothing) {
            let Some(frame) = self.frames.last_mut() else {
                self.end_of_document(now);
                return;
            };
            let at = frame.next;
            match frame.owner.children.get(at).map(Rc::clone) {
                None => self.leave_frame(),
                Some(element) => {
                    frame.next += 1;
                    let path = child_path(&frame.path, &element, at);
                    self.begin(now, element, path);
                }
            }
        }
    }

    fn leave_frame(&mut self) {
        match self.frames.pop().map(|frame| frame.kind) {
            Some(FrameKind::Record(action, command)) => self.end_record_body(action, command),
            Some(FrameKind::Included { base }) => self.base = base,
            Some(FrameKind::Plain) | None => {}
        }
    }

    fn end_of_document(&mut self, now: Moment) {
        if self.app.hold_at_end {
            self.waiting = Waiting::HoldOpen;
        } else {
            self.end(now, Cause::NormalClearing, "flow_end");
        }
    }

    fn begin(&mut self, now: Moment, element: Rc<Element>, path: String) {
        let Some(name) = Name::of(&element.name) else {
            self.push(FlowOutput::Step(Step {
                command: element.name.clone(),
                path,
                success: false,
                reason: "TR-FLOW-UNKNOWN-COMMAND".to_owned(),
                tag: None,
            }));
            return;
        };
        if name == Name::Error {
            return; // Met in normal order: what came before it succeeded.
        }
        if name.is_part() {
            self.warn("TR-FLOW-OUTSIDE", &path);
            return;
        }
        self.start(now, Command { element, name, path });
    }

    pub(super) fn start(&mut self, now: Moment, command: Command) {
        let needs_audio = match command.name {
            Name::Say | Name::Play | Name::Gather | Name::Record | Name::RecordStart => true,
            Name::Answer
            | Name::Body
            | Name::Call
            | Name::Callback
            | Name::Case
            | Name::Curl
            | Name::Default
            | Name::Dial
            | Name::Dtmf
            | Name::Error
            | Name::Hangup
            | Name::Header
            | Name::Number
            | Name::Pause
            | Name::RecordStop
            | Name::RecordWait
            | Name::Redirect
            | Name::Reject
            | Name::Schedule
            | Name::Sip
            | Name::Switch
            | Name::To => false,
        };
        if needs_audio && !self.answered {
            self.warn("TR-FLOW-IMPLICIT-ANSWER", &command.path);
            let action = self.act(Action::Answer);
            self.waiting = Waiting::ImplicitAnswer(action, command);
            return;
        }
        match command.name {
            Name::Answer => self.start_answer(now, command),
            Name::Callback | Name::Redirect => self.start_callback(now, command),
            Name::Call => self.start_call_filter(command),
            Name::Curl => self.start_curl(now, command),
            Name::Dial => self.start_dial(now, command),
            Name::Gather => self.start_gather(now, command),
            Name::Hangup => self.start_hangup(now, &command),
            Name::Pause => self.start_pause(now, command),
            Name::Play => self.start_play(now, command),
            Name::Record | Name::RecordStart => self.start_record(command),
            Name::RecordStop => self.start_record_stop(command),
            Name::RecordWait => self.start_record_wait(now, command),
            Name::Reject => self.start_reject(now, &command),
            Name::Say => self.start_say(now, command),
            Name::Schedule => self.start_schedule(now, command),
            Name::Body
            | Name::Case
            | Name::Default
            | Name::Dtmf
            | Name::Error
            | Name::Header
            | Name::Number
            | Name::Sip
            | Name::Switch
            | Name::To => {
                self.warn("TR-FLOW-OUTSIDE", &command.path);
            }
        }
    }

    // --- What comes back.

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else the flow waits for, it waits on")]
    fn action_ended(&mut self, now: Moment, id: ActionId, outcome: Outcome) {
        if matches!(outcome, Outcome::LegGone) && !matches!(self.waiting, Waiting::Ended) {
            self.recordings.ended(id, false);
            return self.end(now, Cause::NormalClearing, "caller");
        }
        if self.recordings.owns(id) {
            return self.record_ended(now, id, &outcome);
        }
        let waiting = std::mem::replace(&mut self.waiting, Waiting::Nothing);
        match waiting {
            Waiting::AutoAnswer(action) if action == id => self.now_answered(now),
            Waiting::ImplicitAnswer(action, command) if action == id => {
                self.now_answered(now);
                self.start(now, command);
            }
            Waiting::Answer { action, command, delay } if action == id => {
                self.now_answered(now);
                self.after_answer(now, command, delay);
            }
            Waiting::Action { action, command, began } if action == id => {
                self.loads.progress(now.instant - began);
                self.after_action(&command, &outcome);
            }
            Waiting::Dial { action, command, began } if action == id => {
                self.loads.progress(now.instant - began);
                self.after_dial(&command, &outcome);
            }
            Waiting::Gather { action, gather, began } if action == id => {
                self.loads.progress(now.instant - began);
                self.after_collect(now, gather, outcome);
            }
            Waiting::SorryAnswer(action) if action == id => {
                self.now_answered(now);
                self.sorry();
            }
            Waiting::Sorry(action) if action == id => {
                self.end(now, Cause::TemporaryFailure, "flow_error");
            }
            other => self.waiting = other,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else the flow waits for, it waits on")]
    fn fetched(&mut self, now: Moment, id: FetchId, answer: Result<&HttpResponse, FetchError>) {
        match std::mem::replace(&mut self.waiting, Waiting::Nothing) {
            Waiting::Fetch { fetch, fetching } if fetch == id => self.answered_fetch(now, fetching, answer),
            other => self.waiting = other,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else the flow waits for, it waits on")]
    fn timer(&mut self, now: Moment) {
        if self.call_ends.is_some_and(|at| at <= now.instant) {
            self.call_ends = None;
            return self.end(now, Cause::NormalClearing, "call_length");
        }
        match std::mem::replace(&mut self.waiting, Waiting::Nothing) {
            Waiting::Held { until, request, document, fetching } if until <= now.instant => {
                let fetch = self.fetch(request, document);
                self.waiting = Waiting::Fetch { fetch, fetching };
            }
            Waiting::RecordWait { until, command, .. } if until <= now.instant => {
                self.succeed(&command, "timeout");
            }
            other => self.waiting = other,
        }
    }
}

impl Flow for OpentactFlow {
    fn handle(&mut self, now: Moment, input: FlowInput<'_>) {
        match input {
            FlowInput::Started(facts) => self.begin_call(now, facts),
            FlowInput::Ended(id, outcome) => self.action_ended(now, id, outcome),
            FlowInput::Leg(leg, LegEvent::Released(cause)) if leg == self.leg => {
                self.end(now, cause, "caller")
            }
            FlowInput::Leg(leg, LegEvent::Answered(_)) if leg == self.leg => self.now_answered(now),
            FlowInput::Leg(..) | FlowInput::Script(_) | FlowInput::Stopped => {}
            FlowInput::Fetched(id, answer) => self.fetched(now, id, answer),
            FlowInput::Message(id, _) => self.push(FlowOutput::Reply(id, not_offered())),
            FlowInput::Timeout => self.timer(now),
        }
        self.advance(now);
    }

    fn poll(&mut self) -> Option<FlowOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let own = match &self.waiting {
            Waiting::Held { until, .. } | Waiting::RecordWait { until, .. } => Some(*until),
            Waiting::Nothing
            | Waiting::AutoAnswer(_)
            | Waiting::ImplicitAnswer(..)
            | Waiting::Answer { .. }
            | Waiting::Action { .. }
            | Waiting::Dial { .. }
            | Waiting::Gather { .. }
            | Waiting::Fetch { .. }
            | Waiting::RecordEnd { .. }
            | Waiting::RecordThenPlay { .. }
            | Waiting::RecordStops { .. }
            | Waiting::SorryAnswer(_)
            | Waiting::Sorry(_)
            | Waiting::HoldOpen => None,
            Waiting::Ended => return None,
        };
        own.into_iter().chain(self.call_ends).min()
    }
}

/// This dialect has no control address for a running call.
fn not_offered() -> tipring_model::flow::Reply {
    tipring_model::flow::Reply { status: 404, media_type: "text/plain".to_owned(), body: Vec::new() }
}

/// The first child of that name, with its position.
pub(super) fn child_named(element: &Element, name: Name) -> Option<(usize, &Rc<Element>)> {
    element.children.iter().enumerate().find(|(_, child)| Name::of(&child.name) == Some(name))
}

/// Longest tag kept, in characters.
const TAG_MAX: usize = 256;

fn short_tag(tag: &str) -> String {
    tag.chars().take(TAG_MAX).collect()
}
