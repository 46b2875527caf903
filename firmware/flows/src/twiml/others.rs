//! `Hangup`, `Redirect`, `Reject`, `Refer`, `Sms`, `Set`, `Pay`, and what the box cannot do.

use std::rc::Rc;

use tipring_model::Cause;
use tipring_model::fetch::Method;
use tipring_model::flow::{Action, ActionFailure, Moment, Outcome, Referred, Target};

use super::attributes::{Attributes, children_named};
use super::flow::{TwimlFlow, failure_code};
use super::names::Name;
use super::params::{self, field};
use super::script::{Role, Script, Verb, Waiting};
use super::targets::sip_address;
use crate::address;

/// Variables of one call.
const VARIABLES_MAX: usize = 64;
/// Longest value, and all names and values of a call together, in characters: they go out as
/// header fields.
const VALUE_CHARS_MAX: usize = 1_024;
const ALL_CHARS_MAX: usize = 4_096;

impl TwimlFlow {
    // --- Ending.

    pub(super) fn start_hangup(&mut self, now: Moment, script: &mut Script, verb: &Verb) {
        self.warn_all(Attributes::of(&Rc::clone(&verb.element), Name::Hangup), &verb.path);
        self.hang_up_script(now, script, verb);
    }

    /// Hangs up on the party of a script.
    fn hang_up_script(&mut self, now: Moment, script: &mut Script, verb: &Verb) {
        self.step(verb, true, "");
        match script.role {
            Role::Screen => {
                self.act(script.leg, Action::Release(Cause::NormalClearing));
                script.is_over = true;
            }
            Role::InQueue | Role::Announce => {
                script.is_over = true;
                self.release(now, "hangup");
            }
            Role::Main | Role::InRoom => self.hang_up(now, script, "hangup"),
        }
    }

    pub(super) fn start_reject(&mut self, now: Moment, script: &mut Script, verb: &Verb) {
        let element = Rc::clone(&verb.element);
        let mut attributes = Attributes::of(&element, Name::Reject);
        let is_busy = attributes.choice("reason", &["rejected", "busy"]) == Some("busy");
        self.warn_all(attributes, &verb.path);
        if script.role != Role::Main || self.answered {
            return self.hang_up_script(now, script, verb);
        }
        self.step(verb, true, "");
        let cause = if is_busy { Cause::Busy } else { self.terms.rejects_with };
        self.act(self.leg, Action::Reject(cause));
        // Whatever the network is told, to the application it is a call that nobody took.
        let ended = if is_busy { Cause::Busy } else { Cause::Rejected };
        self.close(now, ended, "reject");
    }

    // --- Handing over.

    pub(super) fn start_redirect(&mut self, now: Moment, script: &mut Script, verb: Verb) {
        let element = Rc::clone(&verb.element);
        let mut attributes = Attributes::of(&element, Name::Redirect);
        let method = attributes.method("method", self.terms.method);
        self.warn_all(attributes, &verb.path);
        let text = element.text.trim();
        let url = if text.is_empty() {
            script.url.clone().unwrap_or_default()
        } else {
            // One that is no address is refused where it is sent, and leads to the fallback.
            address::resolve_with_fragment(script.base.as_deref(), text).unwrap_or_else(|| text.to_owned())
        };
        self.hand_over(now, script, verb, (url, method), Vec::new());
    }

    pub(super) fn start_refer(&mut self, now: Moment, script: &mut Script, verb: Verb) {
        let element = Rc::clone(&verb.element);
        self.warn_all(Attributes::of(&element, Name::Refer), &verb.path);
        let sip = children_named(&element, Name::Sip).next();
        match sip.and_then(|(_, sip)| sip_address(&sip.text)) {
            Some(sip) => {
                let action = self.act(script.leg, Action::Refer(Target::Sip(sip.address)));
                script.waiting = Waiting::Refer(action, verb);
            }
            None => self.referred(now, script, verb, None, Err("TR-FLOW-TARGET")),
        }
    }

    pub(super) fn after_refer(&mut self, now: Moment, script: &mut Script, verb: Verb, outcome: &Outcome) {
        if let Outcome::Referred(referred) = outcome {
            let is_done = matches!(referred.call, Some(200..=299));
            let result = if is_done { Ok("completed") } else { Err("TR-DIAL-FAILED") };
            self.referred(now, script, verb, Some(*referred), result);
        } else {
            self.referred(now, script, verb, None, Err(failure_code(outcome)));
        }
    }

    fn referred(
        &mut self,
        now: Moment,
        script: &mut Script,
        verb: Verb,
        referred: Option<Referred>,
        result: Result<&str, &'static str>,
    ) {
        let element = Rc::clone(&verb.element);
        let mut attributes = Attributes::of(&element, Name::Refer);
        let to = self.action_of(script, &mut attributes, false);
        let refused = |referred: &Referred| Some(referred.response).filter(|status| *status >= 300);
        let told = referred.and_then(|referred| referred.call.or_else(|| refused(&referred)));
        let word = match told {
            Some(200..=299) => "completed",
            Some(486 | 600) => "busy",
            Some(487) => "no-answer",
            Some(_) | None => "failed",
        };
        let mut fields = vec![field("ReferCallStatus", word)];
        fields.extend(referred.map(|referred| field("ReferSipResponseCode", referred.response.to_string())));
        let call = referred.and_then(|referred| referred.call);
        fields.extend(call.map(|status| field("NotifySipResponseCode", status.to_string())));
        self.dial_over(now, script, verb, to, fields, result);
    }

    // --- What the box has no means for.

    pub(super) fn start_sms(&mut self, now: Moment, script: &mut Script, verb: Verb) {
        let element = Rc::clone(&verb.element);
        let mut attributes = Attributes::of(&element, Name::Sms);
        let to = self.action_of(script, &mut attributes, false);
        let watcher = attributes.url("statusCallback", script.base.as_deref());
        self.warn_all(attributes, &verb.path);
        let result = vec![field("SmsSid", self.next_sid("SM")), field("SmsStatus", "failed")];
        if let Some(url) = watcher {
            let mut fields = self.standard(script.leg);
            fields.extend(result.iter().cloned());
            self.tell("twiml.sms", (&url, Method::Post), fields, true);
        }
        self.dial_over(now, script, verb, to, result, Err(ActionFailure::NotOffered.code()));
    }

    /// No digit of a card is collected, and its prompts are not played.
    pub(super) fn start_pay(&mut self, now: Moment, script: &mut Script, verb: Verb) {
        let element = Rc::clone(&verb.element);
        let mut attributes = Attributes::of(&element, Name::Pay);
        let to = self.action_of(script, &mut attributes, false);
        self.warn_all(attributes, &verb.path);
        let fields = vec![
            field("Result", "payment-connector-error"),
            field("PaymentError", "Pay is not available on this appliance"),
        ];
        self.dial_over(now, script, verb, to, fields, Err(ActionFailure::NotOffered.code()));
    }

    pub(super) fn start_foreign(&mut self, script: &mut Script, verb: &Verb) {
        self.fail(script, verb, ActionFailure::NotOffered.code());
    }

    // --- Variables.

    pub(super) fn start_set(&mut self, script: &mut Script, verb: &Verb) {
        let element = Rc::clone(&verb.element);
        self.warn_all(Attributes::of(&element, Name::Set), &verb.path);
        for (at, variable) in children_named(&element, Name::Variable) {
            let path = super::parse::child_path(&verb.path, variable, at);
            self.warn_all(Attributes::of(variable, Name::Variable), &path);
            let key = variable.attribute("key").unwrap_or("").trim();
            let value = variable.attribute("value").unwrap_or("");
            let is_name = !key.is_empty()
                && key.len() <= 64
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            let is_value = value.chars().count() <= VALUE_CHARS_MAX && !value.chars().any(char::is_control);
            if !is_name || !is_value || params::is_reserved(key) {
                self.warn("TR-FLOW-VARIABLE", &path);
                continue;
            }
            self.variables.retain(|(known, _)| known != key);
            let chars = |name: &str, value: &str| name.chars().count() + value.chars().count();
            let all: usize = self.variables.iter().map(|(name, value)| chars(name, value)).sum();
            if self.variables.len() >= VARIABLES_MAX || all + chars(key, value) > ALL_CHARS_MAX {
                self.warn("TR-FLOW-LIMIT", &path);
                continue;
            }
            self.variables.push(field(key, value));
        }
        self.succeed(script, verb, "");
    }
}
