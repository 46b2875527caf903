//! The runner: one node of a tree at a time, and where it goes on.
//!
//! Exactly one thing is waited for ([`Waiting`]); recordings and questions to a party that
//! is being reached run beside it. What each module does is in the sibling files.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tipring_model::call::CallFacts;
use tipring_model::fetch::HttpRequest;
use tipring_model::flow::{
    Action, Flow, FlowInput, FlowOutput, LegEvent, Message, Moment, Notice, Outcome, Pause, Reply, Step,
    Warning,
};
use tipring_model::id::LineId;
use tipring_model::prompt::{Prompt, PromptSource};
use tipring_model::{ActionId, Cause, DigitSet, FetchId, LegId, MessageId};

use super::caller::Caller;
use super::collect::Collections;
use super::dial::{Bridge, Questions};
use super::feature::AskForward;
use super::keys::{Data, Module};
use super::lists::Spelling;
use super::media::Language;
use super::menu::Menu;
use super::number::{Disa, OwnNumber};
use super::park::{ParkLamps, Parked, RingBack};
use super::parse::{Node, Picked, Tree};
use super::pattern::Captures;
use super::pivot::Asking;
use super::record::{RECORDINGS_MAX, Recordings};
use super::settings::App;
use crate::loads::Loads;
use crate::twiml::TwimlFlow;

/// Nodes that one call may enter.
const ENTRIES_MAX: u32 = 1_000;
/// Branches into other flows that one call may make.
const BRANCHES_MAX: u32 = 50;
/// Silence between the answer and the first sound.
const SETTLE: Duration = Duration::from_millis(100);
/// Values that a call may carry, each kind by itself.
pub(super) const VALUES_MAX: usize = 100;
/// Longest name of a kept value, in bytes.
const KEPT_NAME_MAX: usize = 100;
/// Longest kept value, in bytes.
const KEPT_BYTES_MAX: usize = 1_024;

/// How a node goes on.
pub(super) enum Next {
    /// When something comes back.
    Wait,
    /// The node from its beginning.
    Again,
    /// The child of this key, the wildcard child, or the end of the flow.
    Go(String),
    /// The flow is over: one that waits behind it goes on.
    Stop,
    /// The call is over.
    Over(Cause, &'static str),
    /// Another flow; the wildcard child waits behind it.
    Branch(Tree),
    /// Another flow in place of this one.
    Replace(Tree),
    /// A sound, and then that.
    Say(Box<Prompt>, Box<Self>),
    /// Something on the caller's leg, and what is done with its end.
    Act(Box<Action>, Box<Then>),
    /// A document of TwiML has the rest of the call.
    HandOver(Box<TwimlFlow>),
}

impl Next {
    /// The wildcard child.
    pub(super) fn on() -> Self {
        Self::Go(WILDCARD.to_owned())
    }

    /// A sound, if there is one, and then `next`.
    pub(super) fn after(sound: Option<PromptSource>, next: Self) -> Self {
        match sound {
            Some(sound) => Self::Say(Box::new(Prompt::once(sound)), Box::new(next)),
            None => next,
        }
    }
}

pub(super) const WILDCARD: &str = "_";

/// What is done with the end of the action that is waited for.
pub(super) enum Then {
    /// The call is answered: after a moment the node begins again.
    Answered,
    Settled,
    /// However it ends.
    Do(Next),
    Collected,
    Menu(Box<Menu>),
    GreetingRecorded(Box<Menu>),
    Bridged(Box<Bridge>),
    Mailbox,
    Room,
    /// The PIN of a room, asked this often.
    RoomPin(u32),
    /// The number of a room, asked this often.
    RoomNumber(u32),
    Detected,
    Parked(Parked),
    PickedUp,
    Paged,
    Temporal,
    Forward(Box<AskForward>),
    Disa(Box<Disa>),
    OwnNumber(Box<OwnNumber>),
    Spelling(Box<Spelling>),
}

enum Waiting {
    Nothing,
    Action(ActionId, Then),
    Pivot {
        fetch: FetchId,
        until: Instant,
        asking: Box<Asking>,
    },
    /// The request of the node may be made then.
    Held(Instant),
    Twiml(Box<TwimlFlow>),
    Ended,
}

/// One run of a program in this dialect.
pub(super) struct KazooFlow {
    pub(super) app: Rc<App>,
    pub(super) facts: Option<Rc<CallFacts>>,
    pub(super) leg: LegId,
    pub(super) answered: bool,
    pub(super) caller: Caller,
    pub(super) captures: Captures,
    pub(super) language: Language,
    pub(super) collections: Collections,
    pub(super) recordings: Recordings,
    pub(super) questions: Questions,
    /// Set by `set_variables`.
    pub(super) application_vars: Vec<(String, serde_json::Value)>,
    /// Set by `set_variable`.
    pub(super) channel_vars: Vec<(String, String)>,
    /// What phones show about the call.
    pub(super) alert_info: Option<String>,
    pub(super) after_bridge: Option<(String, Option<String>)>,
    /// The telephone with which the caller talked last.
    pub(super) talked_with: Option<String>,
    pub(super) ring_back: RingBack,
    /// The number that the caller has dialled within the flow.
    pub(super) dialled: Option<String>,
    /// The stored room that the caller enters.
    pub(super) room: Option<String>,
    /// The language that counts again after the room.
    pub(super) language_before: Option<Language>,
    pub(super) park_lamps: ParkLamps,
    /// Recipients who learn of the call if it is missed.
    pub(super) missed: Option<serde_json::Value>,
    /// Somebody was reached, or a message was left.
    pub(super) served: bool,
    /// What callers hear while somebody rings, by the callflow.
    pub(super) ringback: Option<String>,
    /// Requests to Pivot servers so far.
    pub(super) requests: u32,
    /// Keeps a circle of them slow.
    pub(super) loads: Loads,
    /// The node waits for that since it began.
    pub(super) was_held: bool,
    pub(super) current: Option<Rc<Node>>,
    /// Why the current node failed.
    pub(super) fault: Option<&'static str>,
    parents: Vec<Rc<Node>>,
    entries: u32,
    branches: u32,
    waiting: Waiting,
    /// Values that this call kept, over those of earlier calls.
    kept: BTreeMap<String, Option<String>>,
    outputs: VecDeque<FlowOutput>,
    actions: u32,
    fetches: u32,
}

impl KazooFlow {
    pub(super) fn new(app: Rc<App>) -> Self {
        Self {
            app,
            facts: None,
            leg: LegId::offered(LineId(0), 0),
            answered: false,
            caller: Caller::default(),
            captures: Captures::default(),
            language: Language::default(),
            collections: Collections::default(),
            recordings: Recordings::default(),
            questions: Questions::default(),
            application_vars: Vec::new(),
            channel_vars: Vec::new(),
            alert_info: None,
            after_bridge: None,
            talked_with: None,
            ring_back: RingBack::default(),
            dialled: None,
            room: None,
            language_before: None,
            park_lamps: ParkLamps::default(),
            missed: None,
            served: false,
            ringback: None,
            requests: 0,
            loads: Loads::default(),
            was_held: false,
            current: None,
            fault: None,
            parents: Vec::new(),
            entries: 0,
            branches: 0,
            waiting: Waiting::Nothing,
            kept: BTreeMap::new(),
            outputs: VecDeque::new(),
            actions: 0,
            fetches: 0,
        }
    }

    // --- What the modules build on.

    pub(super) fn push(&mut self, output: FlowOutput) {
        self.outputs.push_back(output);
    }

    pub(super) fn warn(&mut self, code: &'static str, path: impl Into<String>) {
        self.push(FlowOutput::Warn(Warning { code, path: path.into() }));
    }

    /// Warns of a key of the node.
    pub(super) fn warn_key(&mut self, node: &Node, code: &'static str, key: &str) {
        self.warn(code, format!("{}.data.{key}", node.path));
    }

    pub(super) fn notify(&mut self, topic: &'static str, request: HttpRequest, is_last: bool) {
        self.push(FlowOutput::Notify(Notice { topic, request, is_last }));
    }

    /// Begins an action on a leg, without waiting for it.
    pub(super) fn begin(&mut self, leg: LegId, action: Action) -> ActionId {
        self.actions += 1;
        let id = ActionId(self.actions);
        self.push(FlowOutput::Start { id, on: Some(leg), action });
        id
    }

    /// The name that the next action will get.
    pub(super) const fn next_action(&self) -> ActionId {
        ActionId(self.actions + 1)
    }

    /// The last action and fetch that this flow names if another takes over: recordings that
    /// wait for the answer may still begin.
    pub(super) const fn last_numbers(&self) -> (ActionId, FetchId) {
        (ActionId(self.actions + RECORDINGS_MAX as u32), FetchId(self.fetches))
    }

    /// The action that began last.
    pub(super) const fn last_action(&self) -> ActionId {
        ActionId(self.actions)
    }

    /// Does something on the caller's leg; `then` says what comes after it.
    pub(super) fn act(&mut self, action: Action, then: Then) -> Next {
        let id = self.begin(self.leg, action);
        self.waiting = Waiting::Action(id, then);
        Next::Wait
    }

    /// Plays something, then goes on.
    pub(super) fn say(&mut self, source: PromptSource, next: Next) -> Next {
        self.act(Action::Prompt(Prompt::once(source)), Then::Do(next))
    }

    /// Answers first, where the node needs that: it then begins again.
    pub(super) fn answer_first(&mut self) -> Option<Next> {
        (!self.answered).then(|| self.act(Action::Answer, Then::Answered))
    }

    pub(super) fn fetch(&mut self, request: HttpRequest, until: Instant, asking: Box<Asking>) -> Next {
        self.fetches += 1;
        let fetch = FetchId(self.fetches);
        self.push(FlowOutput::Fetch { id: fetch, request, document: None });
        self.waiting = Waiting::Pivot { fetch, until, asking };
        Next::Wait
    }

    /// The node begins again then.
    pub(super) fn hold(&mut self, until: Instant) -> Next {
        self.waiting = Waiting::Held(until);
        Next::Wait
    }

    /// The node failed, and the flow goes on.
    pub(super) fn fail(&mut self, code: &'static str) -> Next {
        self.fault = Some(code);
        Next::on()
    }

    pub(super) fn node(&self) -> Option<Rc<Node>> {
        self.current.clone()
    }

    /// The child of this key if it is there, to be gone to.
    pub(super) fn attempt(&self, key: &str) -> Option<Next> {
        self.current.as_ref().is_some_and(|node| node.has_child(key)).then(|| Next::Go(key.to_owned()))
    }

    /// A value that this or an earlier call has kept.
    pub(super) fn kept(&self, name: &str) -> Option<String> {
        match self.kept.get(name) {
            Some(value) => value.clone(),
            None => self.facts.as_ref()?.kept.borrow().get(name).cloned(),
        }
    }

    pub(super) fn keep(&mut self, name: String, value: Option<String>) {
        let too_long = value.as_ref().is_some_and(|value| value.len() > KEPT_BYTES_MAX);
        if name.len() > KEPT_NAME_MAX || too_long || self.kept.len() >= VALUES_MAX {
            return self.warn("TR-FLOW-LIMIT", name);
        }
        self.kept.insert(name.clone(), value.clone());
        self.push(FlowOutput::Keep { name, value });
    }

    /// Takes over a stored callflow: what it says about its calls counts from here.
    pub(super) fn take(&mut self, picked: Picked<'_>) -> Tree {
        if picked.is_doubtful {
            self.warn("TR-FLOW-NUMBER-TWICE", picked.callflow.id.clone());
        }
        self.captures = picked.captures;
        self.ringback = picked.callflow.ringback.clone();
        picked.callflow.flow.clone()
    }

    /// The stored flow of a number, other than the one for the rest.
    pub(super) fn stored_flow(&mut self, number: &str) -> Option<Tree> {
        let app = Rc::clone(&self.app);
        app.document.pick_stored(number).map(|picked| self.take(picked))
    }

    /// Nothing waits behind the flow any more.
    pub(super) fn forget_parents(&mut self) {
        self.parents.clear();
    }

    // --- The cursor.

    fn begin_call(&mut self, facts: &CallFacts) -> Next {
        self.leg = facts.leg.unwrap_or(self.leg);
        self.answered = facts.answered;
        self.facts = Some(Rc::new(facts.clone()));
        self.language = Language::of_caller(self);
        let app = Rc::clone(&self.app);
        let Some(picked) = app.document.pick(facts.to.as_str()) else {
            self.warn("TR-FLOW-NUMBER", facts.to.as_str());
            return Next::Over(Cause::Unallocated, "not_found");
        };
        Next::Replace(self.take(picked))
    }

    fn run(&mut self, now: Moment, mut next: Next) {
        loop {
            next = match next {
                Next::Wait => return,
                Next::Again => self.start(now),
                Next::Go(key) => {
                    self.step(if key == WILDCARD { "" } else { &key });
                    self.go(now, &key)
                }
                Next::Stop => {
                    self.step("stop");
                    self.stop(now)
                }
                Next::Over(cause, label) => {
                    self.step(label);
                    return self.end(cause, label);
                }
                Next::Say(prompt, next) => self.act(Action::Prompt(*prompt), Then::Do(*next)),
                Next::Act(action, then) => self.act(*action, *then),
                Next::HandOver(mut run) => {
                    self.step("twiml");
                    self.current = None;
                    self.drain_twiml(&mut run);
                    if !matches!(self.waiting, Waiting::Ended) {
                        self.waiting = Waiting::Twiml(run);
                    }
                    return;
                }
                Next::Replace(flow) => {
                    self.step("replace");
                    self.enter_flow(now, flow)
                }
                Next::Branch(flow) => {
                    if self.branches >= BRANCHES_MAX {
                        self.warn("TR-FLOW-BRANCHES", self.path());
                        Next::Over(Cause::NormalClearing, "branches")
                    } else {
                        self.branches += 1;
                        let behind = self.current.as_ref().and_then(|node| node.child(WILDCARD)).cloned();
                        self.parents.extend(behind);
                        self.step("branch");
                        self.enter_flow(now, flow)
                    }
                }
            };
        }
    }

    fn go(&mut self, now: Moment, key: &str) -> Next {
        let Some(node) = self.current.take() else { return self.stop(now) };
        let named = node.children.iter().find(|(known, _)| known == key);
        match named.or_else(|| node.children.iter().find(|(known, _)| known == WILDCARD)) {
            Some((_, Some(child))) => self.enter(now, Rc::clone(child)),
            Some((_, None)) | None => self.stop(now),
        }
    }

    fn stop(&mut self, now: Moment) -> Next {
        self.current = None;
        match self.parents.pop() {
            Some(parent) => self.enter(now, parent),
            None => Next::Over(Cause::NormalClearing, "flow_end"),
        }
    }

    fn enter_flow(&mut self, now: Moment, flow: Tree) -> Next {
        match flow {
            Some(node) => self.enter(now, node),
            None => self.stop(now),
        }
    }

    fn enter(&mut self, now: Moment, node: Rc<Node>) -> Next {
        self.fault = None;
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            self.warn("TR-FLOW-NODES", node.path.clone());
            return Next::Over(Cause::NormalClearing, "nodes");
        }
        let is_skipped = node.data().is("skip_module");
        self.current = Some(node);
        if is_skipped { Next::on() } else { self.start(now) }
    }

    fn path(&self) -> String {
        self.current.as_ref().map_or_else(String::new, |node| node.path.clone())
    }

    /// The current node is over.
    fn step(&mut self, how: &str) {
        let Some(node) = self.current.clone() else { return };
        let fault = self.fault.take();
        self.push(FlowOutput::Step(Step {
            command: node.module.name().to_owned(),
            path: node.path.clone(),
            success: fault.is_none(),
            reason: fault.unwrap_or(how).to_owned(),
            tag: None,
        }));
    }

    pub(super) fn end(&mut self, cause: Cause, label: &str) {
        if matches!(self.waiting, Waiting::Ended) {
            return;
        }
        self.tell_missed();
        self.tell_destroyed(cause);
        self.push(FlowOutput::End { cause, label: label.to_owned() });
        self.waiting = Waiting::Ended;
        self.current = None;
    }

    fn start(&mut self, now: Moment) -> Next {
        let Some(node) = self.node() else { return Next::Stop };
        let data = node.data();
        match node.module {
            Module::AfterBridge => self.after_bridge(data),
            Module::Answer => self.answer(),
            Module::AudioMacro => self.audio_macro(now, data),
            Module::BranchBnumber => self.branch_bnumber(data),
            Module::BranchVariable => self.branch_variable(data),
            Module::CallForward => self.call_forward(data),
            Module::CallWaiting => self.call_waiting(data),
            Module::Callflow => self.callflow(&node),
            Module::CheckCid => self.check_cid(data),
            Module::Cidlistmatch => self.list_match(data),
            Module::CollectDtmf => self.collect_dtmf(data),
            Module::Conference => self.conference(data),
            Module::DeadAir | Module::WaitForHangup => self.dead_air(),
            Module::Device => self.device(data),
            Module::Directory => self.spell(data),
            Module::Disa => self.disa(now, data),
            Module::DoNotDisturb => self.do_not_disturb(data),
            Module::DynamicCid => self.dynamic_cid(data),
            Module::FaxDetect => self.fax_detect(data),
            Module::FlushDtmf => self.flush_dtmf(data),
            Module::Group => self.group(data),
            module @ (Module::GroupPickup | Module::GroupPickupFeature | Module::Intercept) => {
                self.pick_up(data, module)
            }
            Module::Hangup => Next::Over(Cause::NormalClearing, "hangup"),
            Module::Intercom => self.intercom(),
            Module::Language => self.set_language(data),
            Module::Lookupcidname => self.list_name(data),
            Module::ManualPresence => self.manual_presence(data),
            Module::Menu => self.menu(data),
            Module::MissedCallAlert => self.missed_call_alert(data),
            Module::Noop => Next::on(),
            Module::Offnet | Module::Resources => self.resources(data),
            Module::PageGroup => self.page_group(data),
            Module::Park => self.park(now, data),
            Module::Pivot => self.pivot(now, &node),
            Module::Play => self.play(data),
            Module::PrependCid => self.prepend_cid(data),
            Module::Privacy => self.privacy(data),
            Module::RecordCall => self.record_call(data),
            Module::RecordCaller => self.record_caller(data),
            Module::Response => self.response(data),
            Module::RingGroup => self.ring_group(now, data),
            Module::RingGroupToggle => self.ring_group_toggle(data),
            Module::SendDtmf => self.send_dtmf(data),
            Module::SetAlertInfo => self.set_alert_info(data),
            Module::SetCid => self.set_cid(data),
            Module::SetVariable => self.set_variable(data),
            Module::SetVariables => self.set_variables(data),
            Module::Sleep => self.sleep(data),
            Module::TemporalRoute => self.temporal_route(now, &node),
            Module::Tones => self.tones(data),
            Module::Transfer => self.transfer(data),
            Module::Tts => self.tts(data),
            Module::User => self.user(data),
            Module::Voicemail => self.voicemail(data),
            Module::Webhook => self.webhook(data),
        }
    }

    // --- What comes back.

    fn ended(&mut self, now: Moment, id: ActionId, outcome: Outcome) {
        if self.recordings.ended(id, &outcome) {
            return;
        }
        if self.question_ended(id, &outcome) {
            return;
        }
        let then = match std::mem::replace(&mut self.waiting, Waiting::Nothing) {
            Waiting::Action(action, then) if action == id => then,
            other @ (Waiting::Nothing
            | Waiting::Action(..)
            | Waiting::Pivot { .. }
            | Waiting::Held(_)
            | Waiting::Twiml(_)
            | Waiting::Ended) => {
                self.waiting = other;
                return;
            }
        };
        if outcome == Outcome::LegGone {
            return self.end(Cause::NormalClearing, "caller");
        }
        if let Outcome::Failed(failure) = &outcome {
            self.fault = Some(failure.code());
        }
        let next = self.resume(now, then, outcome);
        self.run(now, next);
    }

    fn resume(&mut self, now: Moment, then: Then, outcome: Outcome) -> Next {
        match then {
            Then::Answered if outcome == Outcome::Done => {
                self.now_answered();
                let pause = Pause { length: SETTLE, finish: DigitSet::NONE, keeps_key: false };
                self.act(Action::Pause(pause), Then::Settled)
            }
            Then::Answered => Next::on(),
            Then::Settled => Next::Again,
            Then::Do(next) => next,
            Then::Collected => self.collected(&outcome),
            Then::Menu(menu) => self.menu_collected(menu, &outcome),
            Then::GreetingRecorded(menu) => self.greeting_recorded(menu, &outcome),
            Then::Bridged(bridge) => self.bridged(now, &bridge, &outcome),
            Then::Mailbox => self.mailbox_closed(&outcome),
            Then::Room => self.left_room(&outcome),
            Then::RoomPin(tries) => self.room_pin(tries, &outcome),
            Then::RoomNumber(tries) => self.room_number(tries, &outcome),
            Then::Detected => Self::detected(&outcome),
            Then::Parked(parked) => self.unparked(parked, &outcome),
            Then::PickedUp => self.picked_up(&outcome),
            Then::Paged => self.paged(&outcome),
            Then::Temporal => self.temporal_chosen(&outcome),
            Then::Forward(ask) => self.forward_asked(*ask, &outcome),
            Then::Disa(disa) => self.disa_collected(now, &disa, &outcome),
            Then::OwnNumber(number) => self.own_number_collected(*number, &outcome),
            Then::Spelling(spelling) => self.spelled(*spelling, &outcome),
        }
    }

    pub(super) fn now_answered(&mut self) {
        if !std::mem::replace(&mut self.answered, true) {
            self.begin_waiting_records();
        }
    }

    fn fetched(&mut self, now: Moment, id: FetchId, answer: super::pivot::Answer<'_>) {
        match std::mem::replace(&mut self.waiting, Waiting::Nothing) {
            Waiting::Pivot { fetch, asking, .. } if fetch == id => {
                let next = self.pivot_answered(now, *asking, answer);
                self.run(now, next);
            }
            other @ (Waiting::Nothing
            | Waiting::Action(..)
            | Waiting::Pivot { .. }
            | Waiting::Held(_)
            | Waiting::Twiml(_)
            | Waiting::Ended) => {
                self.waiting = other;
            }
        }
    }

    fn timer(&mut self, now: Moment) {
        match std::mem::replace(&mut self.waiting, Waiting::Nothing) {
            Waiting::Pivot { until, asking, .. } if until <= now.instant => {
                let next = self.pivot_answered(now, *asking, Err(tipring_model::fetch::FetchError::Timeout));
                self.run(now, next);
            }
            Waiting::Action(id, Then::Disa(mut disa)) => {
                if disa.due.is_some_and(|due| due <= now.instant) {
                    disa.due = None;
                    self.push(FlowOutput::Cancel(id));
                }
                self.waiting = Waiting::Action(id, Then::Disa(disa));
            }
            Waiting::Action(id, Then::Parked(Parked::Waits)) => {
                if self.ring_back.due.is_some_and(|due| due <= now.instant) {
                    self.unpark(id);
                }
                self.waiting = Waiting::Action(id, Then::Parked(Parked::Waits));
            }
            Waiting::Held(until) if until <= now.instant => self.run(now, Next::Again),
            other @ (Waiting::Nothing
            | Waiting::Action(..)
            | Waiting::Pivot { .. }
            | Waiting::Held(_)
            | Waiting::Twiml(_)
            | Waiting::Ended) => {
                self.waiting = other;
            }
        }
    }

    fn message(&mut self, id: MessageId, _: &Message) {
        // This dialect has no address for a running call.
        self.push(FlowOutput::Reply(
            id,
            Reply { status: 404, media_type: "text/plain".to_owned(), body: Vec::new() },
        ));
    }
}

impl KazooFlow {
    /// While a document of TwiML runs: it hears of all but what this flow began before.
    fn pass_on(&mut self, now: Moment, mut run: Box<TwimlFlow>, input: FlowInput<'_>) {
        let is_own = match &input {
            FlowInput::Ended(id, outcome) => {
                self.served |= matches!(outcome, Outcome::Dialed(dialed) if dialed.answered.is_some());
                self.recordings.ended(*id, outcome)
            }
            FlowInput::Started(_)
            | FlowInput::Leg(..)
            | FlowInput::Fetched(..)
            | FlowInput::Message(..)
            | FlowInput::Script(_)
            | FlowInput::Stopped
            | FlowInput::Timeout => false,
        };
        if let FlowInput::Leg(leg, LegEvent::Answered(_)) = &input
            && *leg == self.leg
        {
            self.now_answered();
        }
        if !is_own {
            run.handle(now, input);
            self.drain_twiml(&mut run);
        }
        if !matches!(self.waiting, Waiting::Ended) {
            self.waiting = Waiting::Twiml(run);
        }
    }
}

impl Flow for KazooFlow {
    fn handle(&mut self, now: Moment, input: FlowInput<'_>) {
        if let Waiting::Twiml(_) = &self.waiting
            && let Waiting::Twiml(run) = std::mem::replace(&mut self.waiting, Waiting::Nothing)
        {
            return self.pass_on(now, run, input);
        }
        if let Waiting::Ended = &self.waiting {
            return; // Nothing is asked for after the end.
        }
        match input {
            FlowInput::Started(facts) => {
                let next = self.begin_call(facts);
                self.run(now, next);
            }
            FlowInput::Ended(id, outcome) => self.ended(now, id, outcome),
            FlowInput::Leg(leg, LegEvent::Released(cause)) if leg == self.leg => self.end(cause, "caller"),
            FlowInput::Leg(leg, LegEvent::Answered(_)) if leg == self.leg => self.now_answered(),
            FlowInput::Leg(leg, LegEvent::Queue(event)) if leg == self.leg => {
                self.ring_back.hear(&event);
                self.park_lamps(&event);
            }
            FlowInput::Leg(leg, event) => self.target_event(leg, &event),
            FlowInput::Fetched(id, answer) => self.fetched(now, id, answer),
            FlowInput::Message(id, message) => self.message(id, message),
            FlowInput::Script(_) | FlowInput::Stopped => {}
            FlowInput::Timeout => self.timer(now),
        }
    }

    fn poll(&mut self) -> Option<FlowOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.waiting {
            Waiting::Pivot { until, .. } | Waiting::Held(until) => Some(*until),
            Waiting::Twiml(run) => run.poll_timeout(),
            Waiting::Action(_, Then::Parked(Parked::Waits)) => self.ring_back.due,
            Waiting::Action(_, Then::Disa(disa)) => disa.due,
            Waiting::Nothing | Waiting::Action(..) | Waiting::Ended => None,
        }
    }
}

/// A number of milliseconds of a document, at most a day.
pub(super) fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count.min(86_400_000))
}

/// A number of seconds of a document, at most a day.
pub(super) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count.min(86_400))
}

/// The length of a module's `timeout`, or another where it is absent or 0.
pub(super) fn timeout(data: Data<'_>, otherwise: Duration) -> Duration {
    data.count("timeout").filter(|count| *count > 0).map_or(otherwise, seconds)
}
