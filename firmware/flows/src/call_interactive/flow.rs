//! The IVR while a caller is in it.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tipring_model::call::{CallFacts, Direction};
use tipring_model::flow::{
    Action as Ask, ActionFailure, Collect, Dial, DialOrder, Flow, FlowInput, FlowOutput, LegEvent, Moment,
    Outcome, Pause, Step as Told, Target, Warning,
};
use tipring_model::prompt::{Gender, Prompt, PromptSource, Speech};
use tipring_model::{ActionId, CallerId, Cause, DigitSet, FetchId, LegId, Number};

use super::answer::{self, Act, Place, Sound, Step, Transfer};
use super::ivr::{Action, Context, is_number};
use super::request::{self, Event};
use super::settings::Settings;
use crate::address;
use crate::loads::{Gate, Loads};

/// Requests of one call.
const REQUESTS_MAX: u32 = 200;
/// Jumps without anything in between that the caller hears or does.
const JUMPS_MAX: u32 = 100;
/// Variables of one call.
const VARIABLES_MAX: usize = 256;
/// Digits of one number.
const DIGITS_MAX: usize = 32;
/// Wait between the digits of one number.
const BETWEEN_DIGITS: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Ivr {
    settings: Rc<Settings>,
    facts: Option<CallFacts>,
    leg: Option<LegId>,
    caller: CallerId,
    variables: BTreeMap<String, String>,
    /// Position of the context.
    context: usize,
    option: String,
    /// What is left of the option's actions, with the position of the first.
    list: VecDeque<Action>,
    list_at: usize,
    /// What is left of the server's answer.
    steps: VecDeque<Step>,
    waiting: Waiting,
    actions: u32,
    fetches: u32,
    loads: Loads,
    jumps: u32,
    /// A key stopped the words of the menu: it counts for the choice.
    has_key: bool,
    /// When the longest stay is over.
    expires: Option<Instant>,
    ended: bool,
    outputs: VecDeque<FlowOutput>,
}

/// What the IVR waits for.
enum Waiting {
    Nothing,
    Answered(ActionId),
    /// A sound, a pause: whatever ends by itself. True if a key leads to the options.
    Heard {
        action: ActionId,
        told: Told,
        is_menu: bool,
        began: Instant,
    },
    /// Digits for a variable, or for none.
    Digits {
        action: ActionId,
        told: Told,
        variable: Option<String>,
    },
    /// A choice among the options of the context.
    Choice(ActionId),
    Transfer {
        action: ActionId,
        told: Told,
        is_final: bool,
        began: Instant,
    },
    /// The next request may be made then.
    Room {
        at: Instant,
        asks: Action,
    },
    Fetch {
        id: FetchId,
        path: String,
    },
}

impl Waiting {
    const fn action(&self) -> Option<ActionId> {
        match self {
            Self::Answered(action)
            | Self::Heard { action, .. }
            | Self::Digits { action, .. }
            | Self::Choice(action)
            | Self::Transfer { action, .. } => Some(*action),
            Self::Nothing | Self::Room { .. } | Self::Fetch { .. } => None,
        }
    }
}

impl Ivr {
    pub(super) fn new(settings: Rc<Settings>) -> Self {
        Self {
            settings,
            facts: None,
            leg: None,
            caller: CallerId::default(),
            variables: BTreeMap::new(),
            context: 0,
            option: String::new(),
            list: VecDeque::new(),
            list_at: 0,
            steps: VecDeque::new(),
            waiting: Waiting::Nothing,
            actions: 0,
            fetches: 0,
            loads: Loads::default(),
            jumps: 0,
            has_key: false,
            expires: None,
            ended: false,
            outputs: VecDeque::new(),
        }
    }

    fn start(&mut self, action: Ask) -> ActionId {
        self.actions += 1;
        let id = ActionId(self.actions);
        self.outputs.push_back(FlowOutput::Start { id, on: self.leg, action });
        id
    }

    fn warn(&mut self, code: &'static str, path: &str) {
        self.outputs.push_back(FlowOutput::Warn(Warning { code, path: path.to_owned() }));
    }

    fn told(command: &str, path: String) -> Told {
        Told { command: command.to_owned(), path, success: true, reason: String::new(), tag: None }
    }

    fn tell(&mut self, told: Told, fault: Option<&str>) {
        let (success, reason) = (fault.is_none(), fault.unwrap_or("").to_owned());
        self.outputs.push_back(FlowOutput::Step(Told { success, reason, ..told }));
    }

    /// Tells what happens to the call, if somebody wants to know.
    fn notify(&mut self, event: Event<'_>) {
        let facts = self.facts.as_ref();
        let notice = facts.and_then(|facts| request::notice(&self.settings, facts, &self.caller, event));
        self.outputs.extend(notice.map(FlowOutput::Notify));
    }

    fn end(&mut self, cause: Cause, label: &str) {
        if !std::mem::replace(&mut self.ended, true) {
            self.notify(Event::Hangup);
            self.outputs.push_back(FlowOutput::End { cause, label: label.to_owned() });
        }
    }

    fn here(&self) -> Option<&Context> {
        self.settings.ivr.contexts.get(self.context)
    }

    fn path(&self) -> String {
        let id = self.here().map_or(0, |context| context.id);
        format!("{id}.{}[{}]", self.option, self.list_at.saturating_sub(1))
    }

    // --- Going on.

    /// Goes to an option; false if there is none.
    fn go_to(&mut self, context: usize, option: &str, priority: usize) -> bool {
        let found = self.settings.ivr.contexts.get(context).and_then(|context| context.option(option));
        let Some(actions) = found else { return false };
        self.list = actions.iter().skip(priority - 1).cloned().collect();
        self.list_at = priority - 1;
        self.context = context;
        option.clone_into(&mut self.option);
        self.steps.clear();
        true
    }

    /// Jumps; an unknown place leads to `invalid`, or else to the next action.
    fn jump(&mut self, context: Option<usize>, option: &str, priority: usize) -> Result<(), &'static str> {
        self.jumps += 1;
        if context.is_some_and(|context| self.go_to(context, option, priority.max(1))) {
            return Ok(());
        }
        self.go_to(self.context, "invalid", 1);
        Err("TR-FLOW-TARGET")
    }

    /// Does what comes next until something is waited for.
    fn run(&mut self, now: Moment) {
        while !self.ended && matches!(self.waiting, Waiting::Nothing) {
            if self.jumps > JUMPS_MAX {
                let path = self.path();
                self.warn("TR-FLOW-LOOP", &path);
                return self.end(Cause::NormalClearing, "flow_loop");
            }
            if let Some(step) = self.steps.pop_front() {
                self.step(now, step);
            } else if let Some(action) = self.list.pop_front() {
                self.list_at += 1;
                self.act(now, action);
            } else {
                self.list_over();
            }
        }
    }

    /// An option is done: the menu waits for a key, everything else is over.
    fn list_over(&mut self) {
        let Some(context) = self.here() else { return self.end(Cause::NormalClearing, "flow_end") };
        let waits = context.has_keys() || context.option("timeout").is_some();
        if self.option != "start" || !waits {
            return self.end(Cause::NormalClearing, "flow_end");
        }
        let collect = Collect {
            prompts: Vec::new(),
            digits_max: context.digits_max(),
            finish: DigitSet::NONE,
            first_digit: Some(context.timeout()),
            between_digits: Some(context.interdigit()),
            total: None,
            typed_ahead: std::mem::take(&mut self.has_key),
        };
        let id = self.start(Ask::Collect(collect));
        self.waiting = Waiting::Choice(id);
    }

    // --- Actions of an option.

    fn act(&mut self, now: Moment, action: Action) {
        let path = self.path();
        match action {
            Action::Transfer { numbers, timeout } => {
                let transfer = of_option(numbers, true, timeout);
                self.transfer(now, Self::told("transfer", path), transfer);
            }
            Action::SimpleTransfer { numbers, timeout, r#final } => {
                let transfer = of_option(numbers, r#final.unwrap_or(true), timeout);
                self.transfer(now, Self::told("simple_transfer", path), transfer);
            }
            Action::TransferFromVariable { variable, timeout } => {
                let value = self.variables.get(&variable).cloned().unwrap_or_default();
                let numbers = is_number(&value).then(|| vec![value]);
                let ring_max = timeout.map(Duration::from_secs);
                let transfer = Transfer { numbers, is_final: true, ring_max, early_media: false };
                self.transfer(now, Self::told("transfer_from_variable", path), transfer);
            }
            Action::Hangup => self.end(Cause::NormalClearing, "hangup"),
            Action::PlaySound { sound } => {
                let sound = Sound {
                    file: sound,
                    folder: String::new(),
                    is_system: false,
                    language: None,
                    loops: 1,
                    background: None,
                };
                self.play(now, Self::told("play_sound", path), &sound, true);
            }
            Action::PlaySilence { seconds } => {
                self.pause(now, Self::told("play_silence", path), Duration::from_secs(seconds));
            }
            Action::PlayDigits { digits } => self.speak_digits(now, Self::told("play_digits", path), &digits),
            Action::PlayDigitsFromVariable { variable } => {
                let digits = self.variables.get(&variable).cloned().unwrap_or_default();
                self.speak_digits(now, Self::told("play_digits_from_variable", path), &digits);
            }
            Action::RecordDigits { variable, length, sound } => {
                let prompts = sound.map(|file| self.stored(&file, "", None)).into_iter().collect();
                let digits_max = length.unwrap_or(DIGITS_MAX).clamp(1, DIGITS_MAX);
                let first = self.here().map_or(BETWEEN_DIGITS, Context::timeout);
                self.digits(Self::told("record_digits", path), prompts, (digits_max, first), Some(variable));
            }
            Action::SetVariable { name, value } => {
                let fault = self.set(name, value);
                self.tell(Self::told("set_variable", path), fault);
            }
            Action::SetCallerIdNumber { value } => {
                self.caller.number = Some(Number::new(&value));
                self.tell(Self::told("set_caller_id_number", path), None);
            }
            Action::SetCallerIdName { value } => {
                self.caller.name = Some(value);
                self.tell(Self::told("set_caller_id_name", path), None);
            }
            Action::JumpToContext { context, option } => {
                let to = self.position(context);
                let fault = self.jump(to, option.as_deref().unwrap_or("start"), 1).err();
                self.tell(Self::told("jump_to_context", path), fault);
            }
            Action::MatchVariable { variable, value, context, option } => {
                let fits = self.variables.get(&variable).map_or("", String::as_str) == value;
                let to = self.position(context);
                let fault =
                    if fits { self.jump(to, option.as_deref().unwrap_or("start"), 1).err() } else { None };
                self.tell(Self::told("match_variable", path), fault);
            }
            asks @ Action::CallInteractive { .. } => self.ask(now, asks),
            Action::QualityRate => self.tell(Self::told("quality_rate", path), Some("TR-FLOW-NOT-OFFERED")),
            Action::VoiceHelper => self.tell(Self::told("voice_helper", path), Some("TR-FLOW-NOT-OFFERED")),
        }
    }

    fn position(&self, id: u32) -> Option<usize> {
        self.settings.ivr.contexts.iter().position(|context| context.id == id)
    }

    fn set(&mut self, name: String, value: String) -> Option<&'static str> {
        if self.variables.len() >= VARIABLES_MAX && !self.variables.contains_key(&name) {
            return Some("TR-FLOW-LIMIT");
        }
        self.variables.insert(name, value);
        None
    }

    // --- Asking the server.

    fn ask(&mut self, now: Moment, asks: Action) {
        let gate = if self.fetches >= REQUESTS_MAX {
            Gate::Refused("TR-FLOW-LOADS")
        } else {
            self.loads.gate(now.instant)
        };
        match gate {
            Gate::Go => self.request(now, &asks),
            Gate::Wait(at) => self.waiting = Waiting::Room { at, asks },
            Gate::Refused(code) => {
                let path = self.path();
                self.warn(code, &path);
                self.end(Cause::NormalClearing, "flow_loop");
            }
        }
    }

    fn request(&mut self, now: Moment, asks: &Action) {
        let Action::CallInteractive { url, method, timeout } = asks else { return };
        let Some(facts) = &self.facts else { return };
        let timeout = Duration::from_secs(timeout.unwrap_or(15));
        let asked = (url.as_str(), method.method(), timeout);
        let made = request::request(&self.settings, facts, &self.caller, &self.variables, asked);
        let path = self.path();
        let Some(request) = made else {
            return self.tell(Self::told("call_interactive", path), Some("TR-HOOK-URL"));
        };
        self.loads.note(now.instant);
        self.fetches += 1;
        let id = FetchId(self.fetches);
        self.outputs.push_back(FlowOutput::Fetch { id, request, document: None });
        self.waiting = Waiting::Fetch { id, path };
    }

    // --- Actions of an answer.

    fn step(&mut self, now: Moment, step: Step) {
        let told = Self::told(&step.name, format!("Response.{}[{}]", step.name, step.at));
        match step.act {
            Act::Hangup => {
                self.tell(told, None);
                self.end(Cause::NormalClearing, "hangup");
            }
            Act::Pause(length) => self.pause(now, told, length),
            Act::SetVar { name, value } => {
                let fault = self.set(name, value);
                self.tell(told, fault);
            }
            Act::Jump { to, option, priority } => {
                let context = match to {
                    Place::Id(id) => self.position(id),
                    Place::Name(name) => {
                        self.settings.ivr.contexts.iter().position(|context| context.name == name)
                    }
                };
                let fault = self.jump(context, &option, priority).err();
                self.tell(told, fault);
            }
            Act::SetCaller { name, number } => {
                self.caller = CallerId { number: Some(Number::new(&number)), name: Some(name) };
                self.tell(told, None);
            }
            Act::PlaySound(sound) => self.play(now, told, &sound, false),
            Act::SimpleTransfer(transfer) => self.transfer(now, told, transfer),
            Act::PlayTts { voice, text } => {
                let speech = Speech {
                    text,
                    language: self.settings.language.clone(),
                    gender: Gender::Female,
                    voice: voice.filter(|voice| voice != "any"),
                    is_ssml: false,
                };
                self.hear(now, told, Prompt::once(PromptSource::Speech(speech)), false);
            }
            Act::Unknown => self.tell(told, Some("TR-FLOW-UNKNOWN-COMMAND")),
        }
    }

    // --- What both do.

    /// A sound file, of the box or of a server.
    fn stored(&self, file: &str, folder: &str, language: Option<&str>) -> Prompt {
        let folder: Vec<&str> =
            language.into_iter().chain(folder.split('/')).filter(|part| !part.is_empty()).collect();
        let source = match &self.settings.sounds_url {
            Some(url) => {
                let parts = folder.into_iter().chain([file]).map(address::encode);
                let path = parts.collect::<Vec<_>>().join("/");
                PromptSource::Url(format!("{}/{path}", url.trim_end_matches('/')))
            }
            // Stored prompts are named without their ending.
            None => PromptSource::Library(file.strip_suffix(".wav").unwrap_or(file).to_ascii_lowercase()),
        };
        Prompt::once(source)
    }

    fn play(&mut self, now: Moment, told: Told, sound: &Sound, is_menu: bool) {
        let leads_out = sound.file.contains('/') || sound.folder.split('/').any(|part| part == "..");
        if sound.file.is_empty() || leads_out {
            return self.tell(told, Some("TR-AUDIO-MISSING"));
        }
        let prompt = Prompt {
            loops: sound.loops,
            ..self.stored(&sound.file, &sound.folder, sound.language.as_deref())
        };
        match &sound.background {
            // It is over when it is over: nobody waits for a key.
            Some(variable) => {
                self.digits(told, vec![prompt], (DIGITS_MAX, Duration::ZERO), variable.clone());
            }
            None => self.hear(now, told, prompt, is_menu),
        }
    }

    /// Plays something. In a menu every key leads on.
    fn hear(&mut self, now: Moment, told: Told, prompt: Prompt, is_menu: bool) {
        let is_menu = is_menu && self.option == "start" && self.here().is_some_and(Context::has_keys);
        let barge_in = if is_menu { DigitSet::ALL } else { DigitSet::NONE };
        let action = self.start(Ask::Prompt(Prompt { barge_in, ..prompt }));
        self.waiting = Waiting::Heard { action, told, is_menu, began: now.instant };
    }

    fn pause(&mut self, now: Moment, told: Told, length: Duration) {
        let action = self.start(Ask::Pause(Pause { length, finish: DigitSet::NONE, keeps_key: false }));
        self.waiting = Waiting::Heard { action, told, is_menu: false, began: now.instant };
    }

    fn speak_digits(&mut self, now: Moment, told: Told, digits: &str) {
        if digits.is_empty() {
            return self.tell(told, None);
        }
        let spaced: Vec<String> = digits.chars().map(String::from).collect();
        let speech = Speech {
            text: spaced.join(" "),
            language: self.settings.language.clone(),
            gender: Gender::Female,
            voice: None,
            is_ssml: false,
        };
        self.hear(now, told, Prompt::once(PromptSource::Speech(speech)), false);
    }

    /// Gathers the digits of one number. The first may come so long after the prompts.
    fn digits(
        &mut self,
        told: Told,
        prompts: Vec<Prompt>,
        (digits_max, first): (usize, Duration),
        variable: Option<String>,
    ) {
        let action = self.start(Ask::Collect(Collect {
            first_digit: Some(first),
            prompts,
            digits_max,
            finish: DigitSet::of("#"),
            between_digits: Some(BETWEEN_DIGITS),
            total: None,
            typed_ahead: false,
        }));
        self.waiting = Waiting::Digits { action, told, variable };
    }

    fn transfer(&mut self, now: Moment, told: Told, transfer: Transfer) {
        let Some(numbers) = transfer.numbers else { return self.tell(told, Some("TR-FLOW-TARGET")) };
        for number in &numbers {
            self.notify(Event::DialOut(number));
        }
        let targets = numbers.into_iter().map(Target::Number).collect();
        let ring_max = transfer.ring_max.unwrap_or(self.settings.ring_max);
        let action = self.start(Ask::Dial(Dial {
            caller_id: Some(self.caller.clone()),
            early_media: transfer.early_media,
            ..Dial::new(targets, DialOrder::AllAtOnce, ring_max)
        }));
        self.waiting = Waiting::Transfer { action, told, is_final: transfer.is_final, began: now.instant };
    }

    // --- What it hears.

    fn action_ended(&mut self, now: Moment, id: ActionId, outcome: &Outcome) {
        if self.waiting.action() != Some(id) {
            return;
        }
        let waiting = std::mem::replace(&mut self.waiting, Waiting::Nothing);
        let fault = if let Outcome::Failed(failure) = outcome { Some(failure.code()) } else { None };
        match waiting {
            Waiting::Answered(_) => {
                if fault.is_some() {
                    return self.end(Cause::TemporaryFailure, "not_answered");
                }
                self.enter();
            }
            Waiting::Heard { told, is_menu, began, .. } => {
                self.jumps = 0;
                self.loads.progress(now.instant - began);
                self.tell(told, fault);
                if let (Outcome::Interrupted(_), true) = (outcome, is_menu) {
                    // Who knows the menu need not hear the rest of it.
                    self.list.clear();
                    self.has_key = true;
                    self.loads.digit();
                }
            }
            Waiting::Digits { told, variable, .. } => self.collected(told, variable, outcome, fault),
            Waiting::Choice(_) => self.chosen(outcome),
            Waiting::Transfer { told, is_final, began, .. } => {
                self.jumps = 0;
                self.loads.progress(now.instant - began);
                self.transferred(told, is_final, outcome);
            }
            Waiting::Nothing | Waiting::Room { .. } | Waiting::Fetch { .. } => {}
        }
        self.run(now);
    }

    fn enter(&mut self) {
        self.notify(Event::Answer);
        if !self.go_to(0, "start", 1) {
            // Only an IVR whose first context has no `start`.
            self.option = "start".to_owned();
        }
    }

    fn collected(
        &mut self,
        told: Told,
        variable: Option<String>,
        outcome: &Outcome,
        fault: Option<&'static str>,
    ) {
        self.jumps = 0;
        self.loads.progress(BETWEEN_DIGITS);
        let mut fault = fault;
        if let Outcome::Collected(collected) = outcome {
            if !collected.digits.is_empty() {
                self.loads.digit();
            }
            if let Some(name) = variable {
                fault = self.set(name, collected.digits.to_string());
            }
        }
        self.tell(told, fault);
    }

    fn chosen(&mut self, outcome: &Outcome) {
        let Outcome::Collected(collected) = outcome else { return };
        self.jumps += 1;
        let digits = collected.digits.to_string();
        let context = self.context;
        let found = if digits.is_empty() {
            self.go_to(context, "timeout", 1)
        } else {
            self.loads.digit();
            self.jumps = 0;
            self.go_to(context, &digits, 1) || self.go_to(context, "invalid", 1)
        };
        if !found {
            self.end(Cause::NormalClearing, "no_option");
        }
    }

    fn transferred(&mut self, told: Told, is_final: bool, outcome: &Outcome) {
        if let Outcome::Dialed(dialed) = outcome
            && dialed.answered.is_some()
        {
            self.tell(told, None);
            // The conversation was what the caller came for.
            return self.end(dialed.cause, "transferred");
        }
        let (cause, code) = match outcome {
            Outcome::Dialed(dialed) => (dialed.cause, code_of(dialed.cause)),
            Outcome::Failed(ActionFailure::NoTarget(cause)) => (*cause, "TR-DIAL-NO-TARGET"),
            Outcome::Failed(failure) => (Cause::TemporaryFailure, failure.code()),
            Outcome::Done
            | Outcome::Interrupted(_)
            | Outcome::Collected(_)
            | Outcome::Recorded(_)
            | Outcome::Left(_)
            | Outcome::Queued(_)
            | Outcome::Mailbox(_)
            | Outcome::Streamed(_)
            | Outcome::Detected(_)
            | Outcome::Referred(_)
            | Outcome::Cancelled
            | Outcome::LegGone => (Cause::NormalClearing, "TR-FLOW-LEG-STATE"),
        };
        self.tell(told, Some(code));
        if is_final {
            self.end(cause, "not_transferred");
        }
    }

    fn expired(&mut self, now: Moment) {
        self.expires = None;
        let actions = self.settings.ivr.lifetime_exp_action.clone();
        match &self.waiting {
            Waiting::Heard { action, .. } | Waiting::Digits { action, .. } | Waiting::Choice(action) => {
                let action = *action;
                self.outputs.push_back(FlowOutput::Cancel(action));
            }
            // Two people who talk are not disturbed; what comes after them finds the list empty.
            Waiting::Transfer { .. } => {
                self.steps.clear();
                self.list = actions.into();
                return;
            }
            Waiting::Nothing | Waiting::Answered(_) | Waiting::Room { .. } | Waiting::Fetch { .. } => {}
        }
        self.waiting = Waiting::Nothing;
        self.steps.clear();
        self.option = "lifetime".to_owned();
        self.list = actions.into();
        self.list_at = 0;
        self.run(now);
    }
}

/// Why nobody was reached.
const fn code_of(cause: Cause) -> &'static str {
    if matches!(cause, Cause::Busy) {
        "TR-DIAL-BUSY"
    } else if matches!(cause, Cause::NoAnswer | Cause::NoUserResponse) {
        "TR-DIAL-NO-ANSWER"
    } else {
        "TR-DIAL-FAILED"
    }
}

fn of_option(numbers: Vec<String>, is_final: bool, timeout: Option<u64>) -> Transfer {
    let ring_max = timeout.map(|seconds| Duration::from_secs(seconds.clamp(1, 600)));
    Transfer { numbers: Some(numbers), is_final, ring_max, early_media: false }
}

impl Flow for Ivr {
    fn handle(&mut self, now: Moment, input: FlowInput<'_>) {
        if self.ended {
            return;
        }
        match input {
            FlowInput::Started(facts) => {
                self.leg = facts.leg;
                self.caller = facts.from.clone();
                self.facts = Some(facts.clone());
                let lifetime = self.settings.ivr.lifetime_s;
                self.expires = (lifetime > 0).then(|| now.instant + Duration::from_secs(lifetime));
                if facts.direction == Direction::Inbound {
                    self.notify(Event::DialIn);
                }
                if facts.answered {
                    self.enter();
                    return self.run(now);
                }
                let id = self.start(Ask::Answer);
                self.waiting = Waiting::Answered(id);
            }
            FlowInput::Ended(id, outcome) => self.action_ended(now, id, &outcome),
            FlowInput::Leg(leg, LegEvent::Released(cause)) if Some(leg) == self.leg => {
                self.end(cause, "caller")
            }
            FlowInput::Fetched(id, result) => {
                let Waiting::Fetch { id: wanted, path } = &self.waiting else { return };
                if *wanted != id {
                    return;
                }
                let path = path.clone();
                self.waiting = Waiting::Nothing;
                let read = match result {
                    Ok(response) => answer::read(response, &self.settings.rules),
                    Err(error) => Err(error.code()),
                };
                let told = Self::told("call_interactive", path);
                match read {
                    Ok(answer) => {
                        for finding in &answer.findings {
                            self.warn(finding.code, &finding.subject);
                        }
                        self.steps = answer.steps.into();
                        self.tell(told, None);
                    }
                    Err(code) => self.tell(told, Some(code)),
                }
                self.run(now);
            }
            FlowInput::Timeout => {
                if self.expires.is_some_and(|at| at <= now.instant) {
                    return self.expired(now);
                }
                let Waiting::Room { at, .. } = &self.waiting else { return };
                if *at <= now.instant
                    && let Waiting::Room { asks, .. } = std::mem::replace(&mut self.waiting, Waiting::Nothing)
                {
                    self.request(now, &asks);
                    self.run(now);
                }
            }
            FlowInput::Leg(..) | FlowInput::Message(..) | FlowInput::Script(_) | FlowInput::Stopped => {}
        }
    }

    fn poll(&mut self) -> Option<FlowOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.ended {
            return None;
        }
        let room = if let Waiting::Room { at, .. } = &self.waiting { Some(*at) } else { None };
        room.into_iter().chain(self.expires).min()
    }
}
