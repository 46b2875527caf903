//! `Enqueue` and `Leave`, the Queue of a Dial, and what those who wait hear.

use std::rc::Rc;
use std::time::Instant;

use tipring_model::fetch::Method;
use tipring_model::flow::{
    Action, ActionFailure, Announcement, Dial, DialOrder, Dialed, Enqueue, Moment, Outcome, QueueEnd,
    QueueEvent, Ringback, Target,
};
use tipring_model::prompt::{Prompt, PromptSource};
use tipring_model::{ActionId, Cause};

use super::attributes::{Attributes, children_named};
use super::dial::{Terms, status_of_cause};
use super::flow::TwimlFlow;
use super::gather::seconds_since;
use super::names::Name;
use super::params::{Fields, field, sid};
use super::request::{Pending, Purpose};
use super::script::{Role, Script, Verb, Waiting};
use super::settings::Address;
use crate::xml::Element;

/// Longest name of a queue, in characters.
const NAME_CHARS_MAX: usize = 64;
const WAITING: u64 = 100;
const WAITING_MAX: u64 = 1_000;

/// A stay in a queue, or at its head.
#[derive(Debug)]
pub(super) struct Stay {
    verb: Verb,
    action: Option<(String, Method)>,
    sid: String,
    /// None plays the box's music.
    wait: Option<Address>,
    /// Sent to the wait document besides: what a Task says.
    task: Fields,
    /// The wait document has begun.
    waits: bool,
    /// What was asked for when it was left.
    leaves: bool,
    /// The place in the queue, how many wait, and how long on the average.
    place: Option<(usize, usize, u64)>,
    /// Somebody has taken the caller out of it.
    called: bool,
    /// Set for one who takes others out of the queue.
    takes: bool,
}

fn name_of_queue(text: &str) -> String {
    text.trim().chars().take(NAME_CHARS_MAX).collect()
}

impl TwimlFlow {
    fn queue_sid(&self, queue: &str) -> String {
        sid("QU", &[&self.terms.account_sid, queue])
    }

    pub(super) fn start_enqueue(&mut self, now: Moment, script: &mut Script, verb: Verb) {
        let element = Rc::clone(&verb.element);
        let mut attributes = Attributes::of(&element, Name::Enqueue);
        let action = self.action_of(script, &mut attributes, false);
        let method = attributes.method("waitUrlMethod", Method::Post);
        let wait = attributes.url("waitUrl", script.base.as_deref()).map(|url| Address { url, method });
        let waiting_max = attributes.number("maxQueueSize", WAITING, (1, WAITING_MAX));
        let workflow = attributes.word("workflowSid");
        if workflow.is_some() {
            attributes.note("workflowSid", "TR-FLOW-NO-EFFECT");
        }
        let queue = name_of_queue(workflow.unwrap_or(&element.text));
        self.warn_all(attributes, &verb.path);
        let task = children_named(&element, Name::Task).next();
        let task = task.map(|(_, task)| field("TaskAttributes", task.text.trim())).into_iter().collect();
        if queue.is_empty() {
            let fields = vec![field("QueueResult", "system-error")];
            return self.dial_over(now, script, verb, action, fields, Err("TR-FLOW-QUEUE"));
        }
        let stay = Stay {
            verb,
            action,
            sid: self.queue_sid(&queue),
            wait,
            task,
            waits: false,
            leaves: false,
            place: None,
            called: false,
            takes: false,
        };
        let waiting_max = usize::try_from(waiting_max).unwrap_or(1);
        let action = self.act(script.leg, Action::Enqueue(Enqueue { queue, waiting_max, places: None }));
        script.waiting = Waiting::Queue { action, stay: Box::new(stay), began: now.instant };
    }

    /// Something happened in the queue that the caller waits in.
    pub(super) fn queue_event(&mut self, now: Moment, event: QueueEvent) {
        let Some(mut main) = self.take(|script| matches!(script.waiting, Waiting::Queue { .. })) else {
            return;
        };
        let leg = main.leg;
        let Waiting::Queue { stay, began, .. } = &mut main.waiting else { return };
        match event {
            QueueEvent::Position { position, waiting, average, .. } => {
                stay.place = Some((position, waiting, average.as_secs()));
                if !std::mem::replace(&mut stay.waits, true) {
                    let (wait, fields) = (stay.wait.clone(), stay.task.clone());
                    self.scripts.push(main);
                    return self.begin_wait(now, Role::InQueue, leg, wait, fields);
                }
            }
            QueueEvent::Called { announce, by } => {
                (stay.waits, stay.called) = (true, true);
                let mut fields = vec![
                    field("QueueSid", stay.sid.clone()),
                    field("QueueTime", seconds_since(now, *began).to_string()),
                ];
                self.scripts.push(main);
                self.drop_beside(leg);
                let Some(Announcement { url, method }) = announce else { return };
                let call = self.facts.as_ref().map(super::params::call_sid).unwrap_or_default();
                fields.push(field("DequeingCallSid", sid("CA", &[&call, &by.to_string()])));
                let mut script = Script::new(Role::Announce, leg);
                let pending = Pending::new(url, method, fields, Purpose::Beside);
                self.load(now, &mut script, Box::new(pending));
                return self.put(now, script);
            }
        }
        self.scripts.push(main);
    }

    /// What each request of those who wait tells about the queue.
    pub(super) fn wait_fields(&self, now: Moment) -> Fields {
        let stay = self.scripts.iter().find_map(|script| {
            if let Waiting::Queue { stay, began, .. } = &script.waiting { Some((stay, *began)) } else { None }
        });
        let Some((stay, began)) = stay else { return Fields::new() };
        let (position, waiting, average) = stay.place.unwrap_or_default();
        vec![
            field("QueueSid", stay.sid.clone()),
            field("QueuePosition", position.to_string()),
            field("QueueTime", seconds_since(now, began).to_string()),
            field("AvgQueueTime", average.to_string()),
            field("CurrentQueueSize", waiting.to_string()),
        ]
    }

    /// Begins what is heard while somebody waits.
    pub(super) fn begin_wait(
        &mut self,
        now: Moment,
        role: Role,
        leg: tipring_model::LegId,
        wait: Option<Address>,
        fields: Fields,
    ) {
        let mut script = Script::new(role, leg);
        match wait {
            None => self.wait_music(&mut script),
            Some(Address { url, method }) => {
                let pending = Pending::new(url, method, fields, Purpose::Beside);
                self.load(now, &mut script, Box::new(pending));
            }
        }
        self.put(now, script);
    }

    /// The box's music, until somebody stops it.
    pub(super) fn wait_music(&mut self, script: &mut Script) {
        let prompt = Prompt::once(PromptSource::Music);
        script.is_mute = true;
        script.waiting = Waiting::Idle(Some(self.act(script.leg, Action::Prompt(prompt))));
        script.document = None;
    }

    /// A sound file, over and over.
    pub(super) fn wait_sound(&mut self, script: &mut Script, url: String) {
        let prompt = Prompt { loops: u32::MAX, ..Prompt::once(PromptSource::Url(url)) };
        script.is_mute = false;
        script.waiting = Waiting::Idle(Some(self.act(script.leg, Action::Prompt(prompt))));
        script.document = None;
    }

    /// What was played without end is over nevertheless.
    pub(super) fn wait_ended(&mut self, script: &mut Script, outcome: &Outcome) {
        if let Outcome::Failed(failure) = outcome {
            self.warn(failure.code(), &script.place());
            if !std::mem::replace(&mut script.is_mute, true) {
                return self.wait_music(script);
            }
        }
        script.waiting = Waiting::Idle(None);
    }

    /// The document of those who wait has been run through: it begins anew, if there was
    /// anything to be heard.
    pub(super) fn repeat_wait(&mut self, script: &mut Script) {
        if std::mem::replace(&mut script.is_mute, true) {
            return self.wait_music(script);
        }
        script.next = 0;
    }

    /// A script beside the main one cannot go on.
    pub(super) fn script_failed(&mut self, now: Moment, script: &mut Script, code: &'static str) {
        self.warn(code, &script.place());
        match script.role {
            Role::Screen => {
                self.act(script.leg, Action::Release(Cause::TemporaryFailure));
                script.is_over = true;
            }
            Role::InQueue | Role::InRoom => self.wait_music(script),
            Role::Announce => self.accept(now, script),
            Role::Main => {}
        }
    }

    pub(super) fn start_leave(&mut self, script: &mut Script, verb: &Verb) {
        self.warn_all(Attributes::of(&Rc::clone(&verb.element), Name::Leave), &verb.path);
        self.step(verb, true, "");
        script.is_over = true;
        let mut queue: Option<ActionId> = None;
        for main in &mut self.scripts {
            if let Waiting::Queue { action, stay, .. } = &mut main.waiting {
                stay.leaves = true;
                queue = Some(*action);
            }
        }
        if let Some(action) = queue {
            self.cancel(action);
        }
    }

    pub(super) fn after_enqueue(
        &mut self,
        now: Moment,
        script: &mut Script,
        stay: Stay,
        began: Instant,
        outcome: &Outcome,
    ) {
        self.drop_beside(script.leg);
        if stay.takes {
            return self.after_dequeue(now, script, stay, outcome);
        }
        let mut waited = seconds_since(now, began);
        let (result, success) = if let Outcome::Queued(queued) = outcome {
            waited = queued.waited.as_secs();
            match queued.end {
                QueueEnd::Talked => ("bridged", Ok("bridged")),
                QueueEnd::Full => ("queue-full", Err("TR-FLOW-QUEUE-FULL")),
            }
        } else if matches!(outcome, Outcome::Cancelled) && stay.leaves {
            ("leave", Ok("leave"))
        } else if let Outcome::Failed(failure) = outcome {
            ("system-error", Err(failure.code()))
        } else {
            ("error", Err(ActionFailure::LegState.code()))
        };
        let fields = self.queue_fields(&stay, result, waited);
        self.dial_over(now, script, stay.verb, stay.action, fields, success);
    }

    fn queue_fields(&self, stay: &Stay, result: &str, waited: u64) -> Fields {
        vec![
            field("QueueResult", result),
            field("QueueSid", stay.sid.clone()),
            field("QueueTime", waited.to_string()),
        ]
    }

    /// The caller hung up in a queue: the application is told, and what it answers is not run.
    pub(super) fn queue_hung_up(&mut self, now: Moment, stay: &Stay, began: Instant) {
        self.queue_left(now, stay, began, "hangup");
    }

    /// Another document has the call: the application is told in the same way.
    pub(super) fn queue_redirected(&mut self, now: Moment, stay: &Stay, began: Instant) {
        let result = if stay.called { "redirected-from-bridged" } else { "redirected" };
        self.queue_left(now, stay, began, result);
    }

    fn queue_left(&mut self, now: Moment, stay: &Stay, began: Instant, result: &str) {
        self.step(&stay.verb, true, result);
        let Some((url, method)) = stay.action.as_ref().filter(|_| !stay.takes) else { return };
        let mut fields = self.standard(self.leg);
        fields.extend(self.queue_fields(stay, result, seconds_since(now, began)));
        self.tell("twiml.action", (url, *method), fields, false);
    }

    // --- Taking somebody out.

    pub(super) fn dial_queue(
        &mut self,
        now: Moment,
        script: &mut Script,
        verb: Verb,
        noun: &Element,
        terms: Terms,
        path: &str,
    ) {
        let mut attributes = Attributes::of(noun, Name::Queue);
        let method = attributes.method("method", Method::Post);
        let url = attributes.url("url", script.base.as_deref());
        self.warn_all(attributes, path);
        let queue = name_of_queue(&noun.text);
        if queue.is_empty() {
            return self.nobody_dialed(now, script, verb, terms.action);
        }
        let announce = url.map(|url| Announcement { url, method });
        let target = Target::Queue { name: queue.clone(), announce };
        let dial = Dial {
            ringback: Ringback::Prompt(PromptSource::Music),
            talk_max: Some(terms.talk),
            hang_up: terms.hang_up,
            ..Dial::new(vec![target], DialOrder::AllAtOnce, terms.ring)
        };
        let stay = Stay {
            verb,
            action: terms.action,
            sid: self.queue_sid(&queue),
            wait: None,
            task: Fields::new(),
            waits: true,
            leaves: false,
            place: None,
            called: true,
            takes: true,
        };
        let action = self.act(script.leg, Action::Dial(dial));
        script.waiting = Waiting::Queue { action, stay: Box::new(stay), began: now.instant };
    }

    fn after_dequeue(&mut self, now: Moment, script: &mut Script, stay: Stay, outcome: &Outcome) {
        let dialed = if let Outcome::Dialed(dialed) = outcome {
            dialed.clone()
        } else {
            Dialed::nobody(Cause::Unspecified)
        };
        let is_bridged = dialed.answered.is_some();
        let status = if is_bridged { "completed" } else { status_of_cause(dialed.cause) };
        let mut fields = vec![field("DialCallStatus", status)];
        if is_bridged {
            fields.push(field("DialCallDuration", dialed.talked.as_secs().to_string()));
        }
        fields.push(field("DialBridged", if is_bridged { "true" } else { "false" }));
        fields.push(field("QueueSid", stay.sid.clone()));
        let result = if is_bridged { Ok("completed") } else { Err("TR-DIAL-NO-ANSWER") };
        self.dial_over(now, script, stay.verb, stay.action, fields, result);
    }
}
