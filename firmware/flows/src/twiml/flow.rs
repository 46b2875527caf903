//! The interpreter: a cursor over the verbs of the current document, and of those that run
//! beside it: what a callee hears before he is connected, what is heard in a queue or a room.
//! What each verb does is in the sibling modules.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use tipring_model::call::CallFacts;
use tipring_model::directory::Directory;
use tipring_model::flow::{
    Action, ActionFailure, Flow, FlowInput, FlowOutput, LegEvent, Moment, Outcome, Step, Warning,
};
use tipring_model::id::LineId;
use tipring_model::{ActionId, Cause, FetchId, LegId};

use super::attributes::Attributes;
use super::cookies::Cookies;
use super::legs::{Callee, Detection};
use super::names::{Kind, Name};
use super::params::Fields;
use super::record::Background;
use super::request::{Pending, Purpose};
use super::script::{Closing, Role, Script, Then, Verb, Waiting};
use super::settings::{First, Profile, Terms};
use super::stream::Beside;

/// One run of a program in this dialect. Another dialect may hand a call over to it at any
/// time: it is told `Started` with the facts as they are then, and everything that follows.
pub struct TwimlFlow {
    pub(super) terms: Rc<Terms>,
    pub(super) directory: Rc<Directory>,
    first: Option<First>,
    pub(super) facts: Option<CallFacts>,
    pub(super) leg: LegId,
    pub(super) answered: bool,
    pub(super) answered_at: Option<Instant>,
    pub(super) scripts: Vec<Script>,
    pub(super) callees: Vec<Callee>,
    /// The leg that answered last, and its number.
    pub(super) other_leg: Option<(LegId, String)>,
    pub(super) detections: Vec<Detection>,
    pub(super) recordings: Vec<Background>,
    pub(super) streams: Vec<Beside>,
    /// What Set has set.
    pub(super) variables: Fields,
    pub(super) cookies: Cookies,
    /// Status callbacks of the call so far.
    pub(super) told: u32,
    /// Things named so far.
    pub(super) names: u32,
    /// The last recording of the call: name, address, seconds.
    pub(super) recorded: Option<Fields>,
    pub(super) fallback_ran: bool,
    pub(super) closing: Option<Closing>,
    pub(super) is_over: bool,
    pub(super) failed_first: Option<&'static str>,
    outputs: VecDeque<FlowOutput>,
    actions: u32,
    fetches: u32,
}

impl TwimlFlow {
    /// A run that begins with `first` and keeps to `terms`; `directory` says whom a Client,
    /// User or Device is.
    #[must_use]
    pub fn new(terms: Rc<Terms>, directory: Rc<Directory>, first: First) -> Self {
        Self {
            terms,
            directory,
            first: Some(first),
            facts: None,
            leg: LegId::offered(LineId(0), 0),
            answered: false,
            answered_at: None,
            scripts: Vec::new(),
            callees: Vec::new(),
            other_leg: None,
            detections: Vec::new(),
            recordings: Vec::new(),
            streams: Vec::new(),
            variables: Vec::new(),
            cookies: Cookies::default(),
            told: 0,
            names: 0,
            recorded: None,
            fallback_ran: false,
            closing: None,
            is_over: false,
            failed_first: None,
            outputs: VecDeque::new(),
            actions: 0,
            fetches: 0,
        }
    }

    /// Actions and fetches are numbered from behind these: for a run that takes over a call in
    /// which others have been named.
    #[must_use]
    pub const fn numbered_after(mut self, action: ActionId, fetch: FetchId) -> Self {
        self.actions = action.0;
        self.fetches = fetch.0;
        self
    }

    /// The last action and fetch that the run has named.
    #[must_use]
    pub const fn last_numbers(&self) -> (ActionId, FetchId) {
        (ActionId(self.actions), FetchId(self.fetches))
    }

    /// Why the first document could not be had, if the terms want that told
    /// ([`Terms::returns_first_failure`]): the run is over and asks for nothing more.
    #[must_use]
    pub const fn failed_first(&self) -> Option<&'static str> {
        self.failed_first
    }

    // --- What the verbs build on.

    pub(super) fn push(&mut self, output: FlowOutput) {
        self.outputs.push_back(output);
    }

    pub(super) fn act(&mut self, on: LegId, action: Action) -> ActionId {
        self.actions += 1;
        let id = ActionId(self.actions);
        self.push(FlowOutput::Start { id, on: Some(on), action });
        id
    }

    pub(super) const fn next_fetch(&mut self) -> FetchId {
        self.fetches += 1;
        FetchId(self.fetches)
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

    pub(super) fn step(&mut self, verb: &Verb, success: bool, reason: &str) {
        self.push(FlowOutput::Step(Step {
            command: verb.name.as_str().to_owned(),
            path: verb.path.clone(),
            success,
            reason: reason.to_owned(),
            tag: None,
        }));
    }

    /// The verb is over; the next one follows.
    pub(super) fn succeed(&mut self, script: &mut Script, verb: &Verb, reason: &str) {
        self.step(verb, true, reason);
        script.waiting = Waiting::Nothing;
    }

    /// The verb failed; the next one follows.
    pub(super) fn fail(&mut self, script: &mut Script, verb: &Verb, code: &str) {
        self.step(verb, false, code);
        script.waiting = Waiting::Nothing;
    }

    /// Does one action after the other.
    pub(super) fn row(
        &mut self,
        now: Moment,
        script: &mut Script,
        verb: Verb,
        actions: impl IntoIterator<Item = Action>,
        then: Then,
    ) {
        let mut rest: VecDeque<Action> = actions.into_iter().collect();
        match rest.pop_front() {
            None => self.after_row(now, script, verb, None, then),
            Some(action) => {
                let action = self.act(script.leg, action);
                script.waiting = Waiting::Row { action, rest, verb, began: now.instant, failed: None, then };
            }
        }
    }

    fn after_row(
        &mut self,
        now: Moment,
        script: &mut Script,
        verb: Verb,
        failed: Option<&'static str>,
        then: Then,
    ) {
        script.waiting = Waiting::Nothing;
        match (then, failed) {
            (Then::Next, None) => self.succeed(script, &verb, ""),
            (Then::Next, Some(code)) => {
                self.fail(script, &verb, code);
                if let Some(pending) = script.whole.take() {
                    self.not_had(now, script, *pending, code);
                }
            }
            (Then::NoInput(gather), _) => self.no_input(now, script, *gather),
            (Then::Record(recorder), _) => self.begin_recording(now, script, recorder),
            (Then::Screen, _) => self.begin_screening(now, script),
        }
    }

    // --- The call.

    fn begin_call(&mut self, now: Moment, facts: &CallFacts) {
        self.leg = facts.leg.unwrap_or(self.leg);
        self.answered = facts.answered;
        self.answered_at = facts.answered.then_some(now.instant);
        self.facts = Some(facts.clone());
        self.tell_status(now, "initiated", "initiated");
        if self.answered {
            self.tell_status(now, "answered", "in-progress");
        } else {
            self.tell_status(now, "ringing", "ringing");
        }
        let mut script = Script::new(Role::Main, self.leg);
        match self.first.take() {
            None => {}
            Some(First::Document(root)) => self.run_document(&mut script, root, None),
            Some(First::Url(url)) => {
                let pending = Pending::new(url, self.terms.method, Fields::new(), Purpose::First);
                self.load(now, &mut script, Box::new(pending));
            }
            Some(First::Answer(answer)) => {
                let pending =
                    Pending::new(answer.url.clone(), self.terms.method, Fields::new(), Purpose::First);
                self.fetched_document(now, &mut script, Box::new(pending), Ok(&answer));
            }
        }
        self.put(now, script);
    }

    /// Begins a document in `script`.
    pub(super) fn run_document(
        &mut self,
        script: &mut Script,
        root: Rc<crate::xml::Element>,
        from: Option<(String, String)>,
    ) {
        let (url, base) = from.unzip();
        script.document = Some(root);
        script.next = 0;
        script.url = url;
        script.base = base;
        script.whole = None;
        script.is_mute = true;
        script.waiting = Waiting::Nothing;
    }

    /// The first leg is answered now.
    pub(super) fn now_answered(&mut self, now: Moment) {
        if !std::mem::replace(&mut self.answered, true) {
            self.answered_at = Some(now.instant);
            self.tell_status(now, "answered", "in-progress");
        }
    }

    // --- The scripts.

    pub(super) fn take(&mut self, wanted: impl Fn(&Script) -> bool) -> Option<Script> {
        let at = self.scripts.iter().position(wanted)?;
        Some(self.scripts.remove(at))
    }

    /// Goes on with a script and keeps it, unless it is over.
    pub(super) fn put(&mut self, now: Moment, mut script: Script) {
        self.advance(now, &mut script);
        if !script.is_over && !self.is_over {
            self.scripts.push(script);
        }
    }

    /// Ends the scripts on `leg` that run beside the main one.
    pub(super) fn drop_beside(&mut self, leg: LegId) {
        while let Some(script) = self.take(|script| script.role != Role::Main && script.leg == leg) {
            if let Some(action) = script.waiting.action() {
                self.cancel(action);
            }
        }
    }

    /// Runs verbs until one has to wait.
    fn advance(&mut self, now: Moment, script: &mut Script) {
        while matches!(script.waiting, Waiting::Nothing)
            && !script.is_over
            && !self.is_over
            && self.closing.is_none()
        {
            match script.take_next() {
                None => self.end_of_document(now, script),
                Some((element, path)) => match Name::of(&element.name) {
                    Some(name) if name.kind() != Kind::Noun => {
                        self.begin(now, script, Verb { element, name, path });
                    }
                    Some(_) => self.warn("TR-FLOW-OUTSIDE", &path),
                    None => self.unknown(now, script, &element.name, path),
                },
            }
        }
    }

    fn unknown(&mut self, now: Moment, script: &mut Script, name: &str, path: String) {
        const CODE: &str = "TR-FLOW-UNKNOWN-COMMAND";
        let reason = CODE.to_owned();
        self.push(FlowOutput::Step(Step {
            command: name.to_owned(),
            path,
            success: false,
            reason,
            tag: None,
        }));
        if !self.terms.skips_unknown {
            match script.role {
                Role::Main => self.sorry(now, script),
                Role::Screen | Role::InQueue | Role::InRoom | Role::Announce => {
                    self.script_failed(now, script, CODE);
                }
            }
        }
    }

    fn end_of_document(&mut self, now: Moment, script: &mut Script) {
        match script.role {
            Role::Main => self.hang_up(now, script, "flow_end"),
            Role::Screen | Role::Announce => self.accept(now, script),
            Role::InQueue | Role::InRoom => self.repeat_wait(script),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "half of the names are nouns, which never come here")]
    pub(super) fn begin(&mut self, now: Moment, script: &mut Script, verb: Verb) {
        if !script.role.takes(verb.name) {
            return self.warn("TR-FLOW-NOT-HERE", &verb.path);
        }
        if self.terms.profile == Profile::Pivot && is_queueing(&verb) {
            return self.start_foreign(script, &verb);
        }
        if script.leg == self.leg && !self.answered && needs_answer(&verb) {
            let action = self.act(self.leg, Action::Answer);
            script.waiting = Waiting::Answer(action, verb);
            return;
        }
        match verb.name {
            Name::Say => self.start_say(now, script, verb),
            Name::Play => self.start_play(now, script, verb),
            Name::Pause => self.start_pause(now, script, verb),
            Name::Echo => self.start_echo(now, script, verb),
            Name::Gather => self.start_gather(now, script, verb),
            Name::Record => self.start_record(now, script, verb),
            Name::Dial | Name::Queue => self.start_dial(now, script, verb),
            Name::Enqueue => self.start_enqueue(now, script, verb),
            Name::Leave => self.start_leave(script, &verb),
            Name::Hangup => self.start_hangup(now, script, &verb),
            Name::Redirect => self.start_redirect(now, script, verb),
            Name::Reject => self.start_reject(now, script, &verb),
            Name::Refer => self.start_refer(now, script, verb),
            Name::Sms => self.start_sms(now, script, verb),
            Name::Set => self.start_set(script, &verb),
            Name::Start => self.start_start(now, script, &verb),
            Name::Stop => self.start_stop(script, &verb),
            Name::Connect => self.start_connect(now, script, verb),
            Name::Pay => self.start_pay(now, script, verb),
            other => {
                debug_assert!(other.kind() == Kind::Foreign, "a noun is no verb");
                self.start_foreign(script, &verb);
            }
        }
    }

    // --- What comes back.

    fn action_ended(&mut self, now: Moment, id: ActionId, outcome: Outcome) {
        if self.recording_ended(now, id, &outcome)
            || self.stream_ended(now, id, &outcome)
            || self.detection_ended(now, id, &outcome)
        {
            return self.close_if_done(now);
        }
        let Some(mut script) = self.take(|script| script.waiting.action() == Some(id)) else { return };
        let waiting = std::mem::replace(&mut script.waiting, Waiting::Nothing);
        if self.closing.is_some() {
            if let Waiting::Record { recorder, .. } = waiting {
                self.recorded_after_hang_up(now, &recorder, &outcome);
            }
            return self.close_if_done(now);
        }
        if matches!(outcome, Outcome::LegGone) && script.leg == self.leg {
            script.waiting = waiting;
            self.scripts.push(script);
            return self.caller_gone(now, Cause::NormalClearing);
        }
        if matches!(outcome, Outcome::LegGone) {
            return; // The callee hung up while he listened; his dial knows.
        }
        self.resume(now, &mut script, waiting, outcome);
        self.put(now, script);
    }

    fn resume(&mut self, now: Moment, script: &mut Script, waiting: Waiting, outcome: Outcome) {
        match waiting {
            Waiting::Answer(_, verb) => {
                if matches!(outcome, Outcome::Done) {
                    self.now_answered(now);
                    self.begin(now, script, verb);
                } else {
                    self.fail(script, &verb, failure_code(&outcome));
                    self.sorry(now, script);
                }
            }
            Waiting::Row { mut rest, verb, began, mut failed, then, .. } => {
                script.heard(now.instant - began);
                if let Outcome::Failed(failure) = &outcome {
                    failed = failed.or(Some(failure.code()));
                } else if matches!(outcome, Outcome::Cancelled) {
                    // Somebody stopped what was heard: he knows how it goes on.
                    script.waiting = Waiting::Idle(None);
                    return;
                }
                match rest.pop_front() {
                    None => self.after_row(now, script, verb, failed, then),
                    Some(action) => {
                        let action = self.act(script.leg, action);
                        script.waiting =
                            Waiting::Row { action, rest, verb, began: now.instant, failed, then };
                    }
                }
            }
            Waiting::Gather { gather, began, .. } => {
                script.heard(now.instant - began);
                self.after_gather(now, script, *gather, outcome);
            }
            Waiting::Record { recorder, began, .. } => {
                script.loads.progress(now.instant - began);
                self.after_record(now, script, *recorder, &outcome);
            }
            Waiting::Dial { dialing, began, .. } => {
                script.loads.progress(now.instant - began);
                self.after_dial(now, script, dialing, &outcome);
            }
            Waiting::Room { room, began, .. } => {
                script.loads.progress(now.instant - began);
                self.after_room(now, script, *room, &outcome);
            }
            Waiting::Queue { stay, began, .. } => {
                script.loads.progress(now.instant - began);
                self.after_enqueue(now, script, *stay, began, &outcome);
            }
            Waiting::Stream { duplex, began, .. } => {
                script.loads.progress(now.instant - began);
                self.after_connect(now, script, *duplex, &outcome);
            }
            Waiting::Refer(_, verb) => self.after_refer(now, script, verb, &outcome),
            Waiting::HangUp(_, label) => {
                self.now_answered(now);
                self.release(now, label);
            }
            Waiting::Sorry(_) => {
                self.act(self.leg, Action::Release(Cause::TemporaryFailure));
                self.close(now, Cause::TemporaryFailure, "flow_error");
            }
            Waiting::Idle(_) => self.wait_ended(script, &outcome),
            waiting @ (Waiting::Nothing
            | Waiting::DialRecord(_)
            | Waiting::Fetch { .. }
            | Waiting::Held { .. }) => script.waiting = waiting,
        }
    }

    fn leg_event(&mut self, now: Moment, leg: LegId, event: LegEvent) {
        if let LegEvent::Streaming(action) = event {
            return self.stream_began(now, action);
        }
        if leg != self.leg || matches!(event, LegEvent::Placed { .. }) {
            return self.callee_event(now, leg, &event);
        }
        match event {
            LegEvent::Released(cause) => self.caller_gone(now, cause),
            LegEvent::Answered(_) => self.now_answered(now),
            LegEvent::Room(event) => self.room_event(now, event),
            LegEvent::Queue(event) => self.queue_event(now, event),
            LegEvent::Held(held) => self.caller_held(now, held),
            LegEvent::Placed { .. }
            | LegEvent::Alerting
            | LegEvent::EarlyMedia
            | LegEvent::Digit(..)
            | LegEvent::Playing(..)
            | LegEvent::Offered(_)
            | LegEvent::Silent(_)
            | LegEvent::Signalled(_)
            | LegEvent::Streaming(_) => {}
        }
    }

    fn timer(&mut self, now: Moment) {
        self.close_if_done(now);
        let is_due = |script: &Script| script.waiting.due().is_some_and(|due| due <= now.instant);
        while let Some(mut script) = self.take(is_due) {
            if let Waiting::Room { action, room, .. } = &mut script.waiting {
                room.limit = None;
                let action = *action;
                self.cancel(action);
            } else if let Waiting::Held { pending, .. } =
                std::mem::replace(&mut script.waiting, Waiting::Nothing)
            {
                self.send(now, &mut script, pending);
            }
            self.put(now, script);
        }
    }
}

/// Verbs that Pivot does not know: it has no queues.
fn is_queueing(verb: &Verb) -> bool {
    let is_queue = |child: &Rc<crate::xml::Element>| Name::of(&child.name) == Some(Name::Queue);
    matches!(verb.name, Name::Enqueue | Name::Queue | Name::Leave)
        || (verb.name == Name::Dial && verb.element.children.iter().any(is_queue))
}

/// Verbs for which the caller is answered first.
fn needs_answer(verb: &Verb) -> bool {
    if verb.name == Name::Dial {
        let waits = verb.element.attribute("answerOnBridge");
        let is_meeting = verb
            .element
            .children
            .iter()
            .any(|child| matches!(Name::of(&child.name), Some(Name::Conference | Name::Queue)));
        return is_meeting || !waits.is_some_and(|waits| waits.trim().eq_ignore_ascii_case("true"));
    }
    matches!(
        verb.name,
        Name::Say
            | Name::Play
            | Name::Record
            | Name::Gather
            | Name::Enqueue
            | Name::Connect
            | Name::Start
            | Name::Echo
            | Name::Queue
            | Name::Refer
    )
}

/// The code of an outcome that is no success.
pub(super) const fn failure_code(outcome: &Outcome) -> &'static str {
    if let Outcome::Failed(failure) = outcome { failure.code() } else { ActionFailure::LegState.code() }
}

impl Flow for TwimlFlow {
    fn handle(&mut self, now: Moment, input: FlowInput<'_>) {
        if self.is_over {
            if let FlowInput::Message(id, _) = input {
                self.push(FlowOutput::Reply(id, super::update::gone()));
            }
            return;
        }
        match input {
            FlowInput::Started(facts) => self.begin_call(now, facts),
            FlowInput::Ended(id, outcome) => self.action_ended(now, id, outcome),
            FlowInput::Leg(leg, event) => self.leg_event(now, leg, event),
            FlowInput::Fetched(id, answer) => {
                let is_it =
                    |script: &Script| matches!(&script.waiting, Waiting::Fetch { fetch, .. } if *fetch == id);
                if let Some(mut script) = self.take(is_it) {
                    if let Waiting::Fetch { pending, .. } =
                        std::mem::replace(&mut script.waiting, Waiting::Nothing)
                    {
                        self.fetched_document(now, &mut script, pending, answer);
                    }
                    self.put(now, script);
                }
            }
            FlowInput::Message(id, message) => self.update(now, id, message),
            FlowInput::Script(_) | FlowInput::Stopped => {}
            FlowInput::Timeout => self.timer(now),
        }
    }

    fn poll(&mut self) -> Option<FlowOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        let of_scripts = self.scripts.iter().filter_map(|script| script.waiting.due());
        of_scripts.chain(self.closing.as_ref().map(|closing| closing.until)).min()
    }
}
