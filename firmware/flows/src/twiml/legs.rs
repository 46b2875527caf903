//! The legs that a Dial has placed: what is told of them, and what runs on them before they are
//! connected.

use std::time::Instant;

use tipring_model::call::CallFacts;
use tipring_model::flow::{Action, ActionFailure, Detected, LegEvent, Moment, Outcome};
use tipring_model::{ActionId, Cause, LegId};

use super::dial::status_of_cause;
use super::flow::TwimlFlow;
use super::gather::seconds_since;
use super::names::Name;
use super::params::{Fields, call_sid, field, mail_time, sid};
use super::request::{Pending, Purpose};
use super::script::{Role, Script, Then, Verb, Waiting};
use super::settings::{Address, Terms};
use super::targets::Plan;

/// A leg that a Dial has placed.
#[derive(Debug)]
pub(super) struct Callee {
    pub(super) leg: LegId,
    pub(super) sid: String,
    plan: Plan,
    from: String,
    began_unix_ms: i64,
    answered: Option<Instant>,
    /// What kind of party it is, once that was heard.
    answered_by: Option<&'static str>,
    /// Status callbacks so far.
    told: u32,
    is_over: bool,
}

/// A listening for the kind of a party.
#[derive(Debug)]
pub(super) struct Detection {
    action: ActionId,
    leg: LegId,
    to: Option<Address>,
    began: Instant,
}

impl Callee {
    /// The fields of its call that each request has.
    pub(super) fn fields(&self, terms: &Terms, facts: &CallFacts, status: &str) -> Fields {
        let mut fields = vec![
            field("CallSid", self.sid.clone()),
            field("AccountSid", terms.account_sid.clone()),
            field("From", self.from.clone()),
            field("To", self.plan.to.clone()),
            field("Caller", self.from.clone()),
            field("Called", self.plan.to.clone()),
            field("CallStatus", status),
            field("ApiVersion", "2010-04-01"),
            field("Direction", "outbound-dial"),
            field("ParentCallSid", call_sid(facts)),
        ];
        fields.extend(self.answered_by.map(|kind| field("AnsweredBy", kind)));
        fields
    }
}

impl TwimlFlow {
    /// The leg of that name, if a Dial has placed it.
    pub(super) fn callee(&self, leg: LegId) -> Option<&Callee> {
        self.callees.iter().find(|callee| callee.leg == leg)
    }

    fn callee_mut(&mut self, leg: LegId) -> Option<&mut Callee> {
        self.callees.iter_mut().find(|callee| callee.leg == leg)
    }

    /// Something happened to a leg that a Dial has placed.
    pub(super) fn callee_event(&mut self, now: Moment, leg: LegId, event: &LegEvent) {
        match event {
            LegEvent::Placed { by, target } => self.callee_placed(now, leg, *by, *target),
            LegEvent::Alerting => self.tell_callee(now, leg, "ringing", "ringing", None),
            LegEvent::Answered(_) => self.callee_answered(now, leg),
            LegEvent::Released(cause) => {
                self.drop_beside(leg);
                self.callee_over(now, leg, *cause);
            }
            LegEvent::Digit(..)
            | LegEvent::Held(_)
            | LegEvent::Room(_)
            | LegEvent::Queue(_)
            | LegEvent::EarlyMedia
            | LegEvent::Playing(..)
            | LegEvent::Offered(_)
            | LegEvent::Silent(_)
            | LegEvent::Signalled(_)
            | LegEvent::Streaming(_) => {}
        }
    }

    fn callee_placed(&mut self, now: Moment, leg: LegId, by: ActionId, target: usize) {
        let plan = self.scripts.iter().find_map(|script| {
            let (action, dialing) = script.waiting.dialing()?;
            let plan = dialing.plans.get(target).filter(|_| action == Some(by))?;
            Some((plan.clone(), dialing.caller_id.clone()))
        });
        let (Some((plan, caller_id)), Some(facts)) = (plan, &self.facts) else { return };
        let from = caller_id.unwrap_or_else(|| facts.from.number_or_anonymous().to_owned());
        let sid = sid("CA", &[&call_sid(facts), &leg.to_string()]);
        self.callees.push(Callee {
            leg,
            sid,
            plan,
            from,
            began_unix_ms: now.unix_ms,
            answered: None,
            answered_by: None,
            told: 0,
            is_over: false,
        });
        self.tell_callee(now, leg, "initiated", "initiated", None);
    }

    fn callee_answered(&mut self, now: Moment, leg: LegId) {
        let Some(callee) = self.callee_mut(leg) else { return };
        callee.answered = Some(now.instant);
        let plan = callee.plan.clone();
        self.other_leg = Some((leg, plan.to.clone()));
        self.tell_callee(now, leg, "answered", "in-progress", None);
        if let Some((detect, to)) = plan.detect {
            let action = self.act(leg, Action::Detect(detect));
            self.detections.push(Detection { action, leg, to, began: now.instant });
        }
        let is_it =
            |script: &Script| matches!(&script.waiting, Waiting::Dial { .. }) && script.role == Role::Main;
        if let Some(mut main) = self.take(is_it) {
            if let Waiting::Dial { dialing, .. } = &mut main.waiting {
                let on = if self.answered { self.leg } else { leg };
                self.record_dial(now, dialing, on);
            }
            self.scripts.push(main);
        }
        if plan.screen.is_none() && plan.digits.is_empty() {
            // With it the caller is answered, too, if he was not.
            return self.now_answered(now);
        }
        let mut script = Script::new(Role::Screen, leg);
        let element = super::request::nothing();
        let verb = Verb { element, name: Name::Dial, path: format!("{}.sendDigits", plan.path) };
        if plan.digits.is_empty() {
            self.begin_screening(now, &mut script);
        } else {
            self.row(now, &mut script, verb, plan.digits, Then::Screen);
        }
        self.put(now, script);
    }

    /// The document that a callee hears before he is connected; without one he is connected.
    pub(super) fn begin_screening(&mut self, now: Moment, script: &mut Script) {
        let screen = self.callee(script.leg).and_then(|callee| callee.plan.screen.clone());
        match screen {
            None => self.accept(now, script),
            Some(to) => {
                let pending = Pending::new(to.url, to.method, Fields::new(), Purpose::Beside);
                self.load(now, script, Box::new(pending));
            }
        }
    }

    /// Lets the party of a script that runs beside the main one be connected.
    pub(super) fn accept(&mut self, now: Moment, script: &mut Script) {
        self.now_answered(now);
        self.act(script.leg, Action::Accept);
        script.is_over = true;
    }

    /// A leg is gone.
    fn callee_over(&mut self, now: Moment, leg: LegId, cause: Cause) {
        let Some(callee) = self.callee_mut(leg).filter(|callee| !callee.is_over) else { return };
        callee.is_over = true;
        let gave_up = callee.answered.is_none() && cause == Cause::NormalClearing;
        let cause = if gave_up { Cause::Cancelled } else { cause };
        let status = if callee.answered.is_some() { "completed" } else { status_of_cause(cause) };
        self.tell_callee(now, leg, "completed", status, Some(cause));
        self.tell_leg_record(now, leg, cause);
    }

    /// A leg has a record of its own, where those of Kazoo are wanted.
    fn tell_leg_record(&mut self, now: Moment, leg: LegId, cause: Cause) {
        let terms = std::rc::Rc::clone(&self.terms);
        let (Some(url), Some(facts)) = (&terms.cdr_url, self.facts.clone()) else { return };
        let Some(callee) = self.callee(leg) else { return };
        let (from, to) = (callee.from.clone(), callee.plan.to.clone());
        let of_leg = OfLeg {
            id: format!("{}-{leg}", facts.id),
            name: String::new(),
            direction: "outbound",
            began_unix_ms: callee.began_unix_ms,
            talked: callee.answered.map(|answered| seconds_since(now, answered)),
            from: (from.clone(), from.clone()),
            to: to.clone(),
            request: to.clone(),
        };
        let mut fields = pivot_record(now, of_leg, cause);
        fields.push(field("Callee-ID-Number", to));
        fields.push(field("Other-Leg-Call-ID", facts.id.to_string()));
        fields.push(field("Other-Leg-Caller-ID-Number", facts.from.number_or_anonymous()));
        fields.push(field("Other-Leg-Destination-Number", facts.to.as_str()));
        self.tell("pivot.cdr", (url, tipring_model::fetch::Method::Post), fields, true);
    }

    /// All legs that are left are let go.
    pub(super) fn end_callees(&mut self, now: Moment, cause: Cause) {
        let legs: Vec<LegId> =
            self.callees.iter().filter(|callee| !callee.is_over).map(|callee| callee.leg).collect();
        for leg in legs {
            self.callee_over(now, leg, cause);
        }
    }

    /// Tells who watches a leg about its state.
    fn tell_callee(&mut self, now: Moment, leg: LegId, event: &str, status: &str, over: Option<Cause>) {
        let terms = std::rc::Rc::clone(&self.terms);
        let Some(facts) = self.facts.clone() else { return };
        let recorded = self.recorded.clone();
        let Some(callee) = self.callee_mut(leg) else { return };
        let Some(callback) = callee.plan.callback.clone().filter(|callback| callback.wants(event)) else {
            return;
        };
        let mut fields = callee.fields(&terms, &facts, status);
        if let Some(cause) = over {
            let talked = callee.answered.map_or(0, |answered| seconds_since(now, answered));
            let status = if callee.answered.is_some() { 200 } else { cause.sip_status() };
            fields.extend(durations(talked));
            fields.push(field("SipResponseCode", status.to_string()));
            if callee.answered.is_some() {
                fields.extend(recorded.into_iter().flatten());
            }
        }
        fields.push(field("CallbackSource", "call-progress-events"));
        fields.push(field("Timestamp", mail_time(now.unix_ms)));
        fields.push(field("SequenceNumber", callee.told.to_string()));
        callee.told += 1;
        self.tell("twiml.status", (&callback.to.url, callback.to.method), fields, over.is_some());
    }

    /// What kind of party answered; false if `id` is no listening.
    pub(super) fn detection_ended(&mut self, now: Moment, id: ActionId, outcome: &Outcome) -> bool {
        let Some(at) = self.detections.iter().position(|detection| detection.action == id) else {
            return false;
        };
        let detection = self.detections.remove(at);
        let heard = if let Outcome::Detected(heard) = outcome { Some(*heard) } else { None };
        let kind = match heard {
            Some(Detected::Voice) => "human",
            Some(Detected::Machine) => "machine_start",
            Some(Detected::Fax) => "fax",
            Some(Detected::Nothing) | None => "unknown",
        };
        if let Outcome::Failed(ActionFailure::NotOffered) = outcome {
            self.warn("TR-FLOW-NOT-OFFERED", "machineDetection");
        }
        if let Some(callee) = self.callee_mut(detection.leg) {
            callee.answered_by = Some(kind);
        }
        if let Some(to) = detection.to {
            let lasted = now.instant.saturating_duration_since(detection.began).as_millis();
            let fields = vec![
                field("CallSid", self.sid_of(detection.leg)),
                field("AccountSid", self.terms.account_sid.clone()),
                field("AnsweredBy", kind),
                field("MachineDetectionDuration", lasted.to_string()),
            ];
            self.tell("twiml.amd", (&to.url, to.method), fields, true);
        }
        true
    }

    // --- The call itself.

    /// Tells who watches the call about its state.
    pub(super) fn tell_status(&mut self, now: Moment, event: &str, status: &str) {
        let terms = std::rc::Rc::clone(&self.terms);
        let Some(callback) = terms.status.as_ref().filter(|callback| callback.wants(event)) else { return };
        let Some(facts) = &self.facts else { return };
        let mut fields = super::params::of_call(&terms, facts, status);
        fields.extend(self.progress(now));
        self.tell("twiml.status", (&callback.to.url, callback.to.method), fields, false);
    }

    fn progress(&mut self, now: Moment) -> Fields {
        let fields = vec![
            field("CallbackSource", "call-progress-events"),
            field("Timestamp", mail_time(now.unix_ms)),
            field("SequenceNumber", self.told.to_string()),
        ];
        self.told += 1;
        fields
    }

    /// Tells that the call is over.
    pub(super) fn tell_end(&mut self, now: Moment, cause: Cause) {
        let terms = std::rc::Rc::clone(&self.terms);
        let Some(facts) = self.facts.clone() else { return };
        let status = match (self.answered, cause) {
            (true, _) => "completed",
            (false, Cause::NormalClearing) => "canceled",
            (false, Cause::Rejected) => "no-answer",
            (false, cause) => status_of_cause(cause),
        };
        let gave_up = !self.answered && cause == Cause::NormalClearing;
        let cause = if gave_up { Cause::Cancelled } else { cause };
        let talked = self.answered_at.map_or(0, |answered| seconds_since(now, answered));
        let response = if self.answered { 200 } else { cause.sip_status() };
        let mut fields = super::params::of_call(&terms, &facts, status);
        fields.extend(durations(talked));
        fields.push(field("SipResponseCode", response.to_string()));
        fields.extend(self.recorded.clone().into_iter().flatten());
        if let Some(callback) = terms.status.as_ref().filter(|callback| callback.wants("completed")) {
            let mut fields = fields.clone();
            fields.extend(self.progress(now));
            self.tell("twiml.status", (&callback.to.url, callback.to.method), fields, true);
        }
        if let Some(url) = &terms.cdr_url {
            let (from, to) = (facts.from.number_or_anonymous().to_owned(), facts.to.to_string());
            let or = |uri: &str, number: &str| if uri.is_empty() { number } else { uri }.to_owned();
            let of_leg = OfLeg {
                id: facts.id.to_string(),
                name: facts.from.name.clone().unwrap_or_default(),
                direction: facts.direction.as_str(),
                began_unix_ms: facts.started_unix_ms,
                talked: if self.answered { Some(talked) } else { None },
                from: (or(&facts.origin.from_uri, &from), from),
                to: or(&facts.origin.to_uri, &to),
                request: or(&facts.origin.request_uri, &to),
            };
            let mut fields = pivot_record(now, of_leg, cause);
            if let Some((leg, number)) = &self.other_leg {
                fields.push(field("Callee-ID-Number", number));
                fields.push(field("Other-Leg-Call-ID", format!("{}-{leg}", facts.id)));
                fields.push(field("Other-Leg-Destination-Number", number));
            }
            let headers = facts.origin.headers.iter();
            fields
                .extend(headers.map(|(name, value)| (format!("Custom-SIP-Headers[{name}]"), value.clone())));
            self.tell("pivot.cdr", (url, tipring_model::fetch::Method::Post), fields, true);
        }
    }
}

/// A leg, as Kazoo's records tell of it.
struct OfLeg {
    id: String,
    /// The caller's.
    name: String,
    direction: &'static str,
    began_unix_ms: i64,
    /// Seconds since the answer, if there was one.
    talked: Option<u64>,
    /// Address and number.
    from: (String, String),
    to: String,
    request: String,
}

fn pivot_record(now: Moment, leg: OfLeg, cause: Cause) -> Fields {
    let gregorian =
        |unix_ms: i64| unix_ms.div_euclid(1_000).saturating_add(crate::kazoo::GREGORIAN_OFFSET).to_string();
    let lasted_ms = now.unix_ms.saturating_sub(leg.began_unix_ms);
    let lasted = u64::try_from(lasted_ms.div_euclid(1_000)).unwrap_or(0);
    let (name, status) = match (cause, leg.talked) {
        (Cause::NormalClearing, Some(_)) => ("NORMAL_CLEARING", 200),
        // Nobody has answered, and nobody was refused: whoever called has given up.
        (Cause::NormalClearing, None) => crate::kazoo::hangup_cause(Cause::Cancelled),
        (other, _) => crate::kazoo::hangup_cause(other),
    };
    let talked = leg.talked.unwrap_or(0);
    vec![
        field("Call-ID", leg.id),
        field("Caller-ID-Name", leg.name),
        field("Caller-ID-Number", leg.from.1),
        field("From", leg.from.0),
        field("To", leg.to),
        field("Request", leg.request),
        field("Call-Direction", leg.direction),
        field("Timestamp", gregorian(now.unix_ms)),
        field("Channel-Created-Time", gregorian(leg.began_unix_ms)),
        field("Duration-Seconds", lasted.to_string()),
        field("Billing-Seconds", talked.to_string()),
        field("Ringing-Seconds", lasted.saturating_sub(talked).to_string()),
        field("Hangup-Cause", name),
        field("Hangup-Code", format!("sip:{status}")),
    ]
}

/// How long a call lasted: in seconds, and in minutes begun.
fn durations(seconds: u64) -> Fields {
    vec![field("CallDuration", seconds.to_string()), field("Duration", seconds.div_ceil(60).to_string())]
}
