//! `Dial`: who is rung, and how it ended.

use std::rc::Rc;
use std::time::Duration;

use tipring_model::fetch::Method;
use tipring_model::flow::{Action, Dial, DialOrder, Dialed, Moment, Outcome, Ringback, Sides};
use tipring_model::{ActionId, CallerId, Cause, DigitSet, LegId};

use super::attributes::Attributes;
use super::flow::TwimlFlow;
use super::names::Name;
use super::params::{Fields, field};
use super::record::{Report, sides};
use super::script::{Role, Script, Verb, Waiting};
use super::settings::Callback;
use super::targets::Plan;

const RING_SECS: u64 = 30;
const RING_MAX_SECS: u64 = 600;
const TALK_SECS: u64 = 14_400;
const TALK_MAX_SECS: u64 = 86_400;
/// Longest number that is shown.
const CALLER_ID_CHARS_MAX: usize = 64;

/// What a Dial wants recorded.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    from_ringing: bool,
    is_dual: bool,
    track: &'static str,
    callback: Option<Callback>,
}

/// A Dial under way.
#[derive(Debug)]
pub(super) struct Dialing {
    pub(super) verb: Verb,
    pub(super) action: Option<(String, Method)>,
    /// Asked instead if the callee wants to be transferred.
    refer: Option<(String, Method)>,
    pub(super) plans: Vec<Plan>,
    pub(super) caller_id: Option<String>,
    recording: Option<Recording>,
    /// The recording that runs.
    records: Option<ActionId>,
    recorded: Option<Fields>,
    ended: Option<Dialed>,
}

/// What all kinds of Dial have in common.
pub(super) struct Terms {
    pub(super) action: Option<(String, Method)>,
    refer: Option<(String, Method)>,
    pub(super) ring: Duration,
    pub(super) talk: Duration,
    pub(super) hang_up: DigitSet,
    pub(super) recording: Option<Recording>,
    caller_id: Option<Option<String>>,
    ringback: Option<String>,
    in_order: bool,
}

impl TwimlFlow {
    pub(super) fn start_dial(&mut self, now: Moment, script: &mut Script, verb: Verb) {
        let element = Rc::clone(&verb.element);
        let terms = self.dial_terms(script, &verb);
        if verb.name == Name::Queue {
            return self.dial_queue(now, script, verb.clone(), &element, terms, &verb.path);
        }
        let meeting = element
            .children
            .iter()
            .enumerate()
            .find(|(_, child)| matches!(Name::of(&child.name), Some(Name::Conference | Name::Queue)));
        if let Some((at, noun)) = meeting {
            let path = super::parse::child_path(&verb.path, noun, at);
            let others = element.children.iter().enumerate().filter(|(other, child)| {
                *other != at
                    && Name::of(&child.name).is_some_and(|name| Name::Dial.children().contains(&name))
            });
            for (other, child) in others {
                self.warn("TR-FLOW-CHILD-IGNORED", &super::parse::child_path(&verb.path, child, other));
            }
            return match Name::of(&noun.name) {
                Some(Name::Queue) => self.dial_queue(now, script, verb, noun, terms, &path),
                Some(_) | None => self.dial_room(now, script, verb, noun, terms, &path),
            };
        }
        let Terms { action, refer, ring, talk, hang_up, recording, caller_id, ringback, in_order } = terms;
        let mut targets = self.targets(script, &verb);
        let Some(caller_id) = caller_id else {
            targets.targets.clear();
            return self.nobody_dialed(now, script, verb, action);
        };
        if targets.targets.is_empty() {
            return self.nobody_dialed(now, script, verb, action);
        }
        let in_order = in_order || targets.in_order;
        let order = if in_order { DialOrder::InOrder } else { DialOrder::AllAtOnce };
        let dial = Dial {
            targets: targets.targets,
            caller_id: caller_id.as_deref().map(CallerId::of),
            early_media: ringback.is_none(),
            ringback: ringback.map_or(Ringback::Tone, Ringback::ToneOf),
            talk_max: Some(talk),
            hang_up,
            reports: true,
            takes_refer: refer.is_some(),
            ..Dial::new(Vec::new(), order, ring)
        };
        let mut dialing = Dialing {
            verb,
            action,
            refer,
            plans: targets.plans,
            caller_id,
            recording,
            records: None,
            recorded: None,
            ended: None,
        };
        if dialing.recording.as_ref().is_some_and(|recording| recording.from_ringing) && self.answered {
            self.record_dial(now, &mut dialing, script.leg);
        }
        let action = self.act(script.leg, Action::Dial(dial));
        script.waiting = Waiting::Dial { action, dialing: Box::new(dialing), began: now.instant };
    }

    /// The attributes of a Dial.
    pub(super) fn dial_terms(&mut self, script: &Script, verb: &Verb) -> Terms {
        let element = Rc::clone(&verb.element);
        let name = if verb.name == Name::Queue { Name::Queue } else { Name::Dial };
        let mut attributes = Attributes::of(&element, name);
        if name == Name::Queue {
            // By itself it is a Dial with nothing but a queue; its own attributes are read there.
            return Terms {
                action: None,
                refer: None,
                ring: Duration::from_secs(RING_SECS),
                talk: Duration::from_secs(TALK_SECS),
                hang_up: DigitSet::NONE,
                recording: None,
                caller_id: Some(None),
                ringback: None,
                in_order: false,
            };
        }
        let action = self.action_of(script, &mut attributes, false);
        let ring = attributes.number("timeout", RING_SECS, (1, RING_MAX_SECS));
        let talk = attributes.number("timeLimit", TALK_SECS, (1, TALK_MAX_SECS));
        let hangs_up = attributes.toggle("hangupOnStar", false);
        let in_order = attributes.toggle("sequential", false);
        attributes.toggle("answerOnBridge", false);
        let written = attributes.word("callerId");
        let caller_id = match written {
            Some(number) if number.chars().any(char::is_control) => {
                attributes.note("callerId", "TR-FLOW-TARGET");
                None
            }
            Some(number) if number.chars().count() > CALLER_ID_CHARS_MAX => {
                attributes.note("callerId", super::attributes::BAD_VALUE);
                Some(None)
            }
            Some(number) => Some(Some(super::targets::number(number).unwrap_or_else(|| number.to_owned()))),
            None => Some(None),
        };
        let ringback = attributes.word("ringTone").filter(|tone| *tone != "automatic").map(str::to_owned);
        let ringback = ringback.filter(|country| {
            let is_country = country.len() == 2 && country.bytes().all(|b| b.is_ascii_alphabetic());
            if !is_country {
                attributes.note("ringTone", super::attributes::BAD_VALUE);
            }
            is_country
        });
        let recording = self.dial_recording(script, &mut attributes);
        let method = attributes.method("referMethod", self.terms.method);
        let refer = attributes.url("referUrl", script.base.as_deref()).map(|url| (url, method));
        self.warn_all(attributes, &verb.path);
        Terms {
            action,
            refer,
            ring: Duration::from_secs(ring),
            talk: Duration::from_secs(talk),
            hang_up: if hangs_up { DigitSet::of("*") } else { DigitSet::NONE },
            recording,
            caller_id,
            ringback: ringback.map(|country| country.to_ascii_lowercase()),
            in_order,
        }
    }

    fn dial_recording(&self, script: &Script, attributes: &mut Attributes<'_>) -> Option<Recording> {
        let choices = [
            "do-not-record",
            "record-from-answer",
            "record-from-ringing",
            "record-from-answer-dual",
            "record-from-ringing-dual",
            "true",
            "false",
        ];
        let wanted = attributes.choice("record", &choices).unwrap_or("do-not-record");
        let tracks = ["both", "inbound", "outbound"];
        let track = attributes.choice("recordingTrack", &tracks).unwrap_or("both");
        if attributes.choice("trim", &["trim-silence", "do-not-trim"]) == Some("trim-silence") {
            attributes.note("trim", "TR-FLOW-NO-EFFECT");
        }
        let callback = self.recording_callback(script, attributes);
        (!matches!(wanted, "do-not-record" | "false")).then(|| Recording {
            from_ringing: wanted.starts_with("record-from-ringing"),
            is_dual: wanted.ends_with("-dual"),
            track,
            callback,
        })
    }

    /// Begins the recording that a Dial wants: on the caller's leg, or on that of a callee whose
    /// caller is not answered yet.
    pub(super) fn record_dial(&mut self, now: Moment, dialing: &mut Dialing, leg: LegId) {
        let Some(wanted) = dialing.recording.clone().filter(|_| dialing.records.is_none()) else { return };
        let on_callee = leg != self.leg;
        let sides: Sides = sides(wanted.track, wanted.is_dual, on_callee);
        let sid = self.next_sid("RE");
        let report = Report::new(sid, wanted.callback, "DialVerb", now).of_track(wanted.track);
        let path = dialing.verb.path.clone();
        dialing.records = self.record_beside(leg, sides, report, &path);
    }

    /// There is nobody whom a Dial could ring.
    pub(super) fn nobody_dialed(
        &mut self,
        now: Moment,
        script: &mut Script,
        verb: Verb,
        action: Option<(String, Method)>,
    ) {
        self.dial_over(
            now,
            script,
            verb,
            action,
            vec![field("DialCallStatus", "failed")],
            Err("TR-FLOW-TARGET"),
        );
    }

    /// Goes on after a Dial: with its action, or with the next verb.
    pub(super) fn dial_over(
        &mut self,
        now: Moment,
        script: &mut Script,
        verb: Verb,
        action: Option<(String, Method)>,
        fields: Fields,
        result: Result<&str, &'static str>,
    ) {
        if let (Some(_), Err(code)) = (&action, result)
            && code.starts_with("TR-FLOW-")
        {
            self.warn(code, &verb.path);
        }
        match (action, result) {
            (Some(to), _) => self.hand_over(now, script, verb, to, fields),
            (None, Ok(reason)) => self.succeed(script, &verb, reason),
            (None, Err(code)) => self.fail(script, &verb, code),
        }
    }

    pub(super) fn after_dial(
        &mut self,
        now: Moment,
        script: &mut Script,
        mut dialing: Box<Dialing>,
        outcome: &Outcome,
    ) {
        let dialed = if let Outcome::Dialed(dialed) = outcome {
            dialed.clone()
        } else if let Outcome::Failed(tipring_model::flow::ActionFailure::NoTarget(cause)) = outcome {
            Dialed::nobody(*cause)
        } else if matches!(outcome, Outcome::Cancelled) {
            Dialed::nobody(Cause::Cancelled)
        } else {
            Dialed::nobody(Cause::Unspecified)
        };
        self.end_callees(now, dialed.cause);
        self.scripts.retain(|other| other.role != Role::Screen);
        dialing.ended = Some(dialed);
        match dialing.records {
            Some(action) if self.recordings.iter().any(|recording| recording.action == action) => {
                self.cancel(action);
                script.waiting = Waiting::DialRecord(dialing);
            }
            Some(_) | None => self.report_dial(now, script, *dialing),
        }
    }

    /// A recording is over; a Dial may have waited for it.
    pub(super) fn dial_recorded(&mut self, now: Moment, id: ActionId, fields: Option<Fields>) {
        let is_its = |script: &Script| {
            script.waiting.dialing().is_some_and(|(_, dialing)| dialing.records == Some(id))
        };
        let Some(mut script) = self.take(is_its) else { return };
        if let Waiting::Dial { dialing, .. } = &mut script.waiting {
            dialing.recorded = fields;
        } else if let Waiting::DialRecord(mut dialing) =
            std::mem::replace(&mut script.waiting, Waiting::Nothing)
        {
            dialing.recorded = fields;
            if self.closing.is_none() {
                self.report_dial(now, &mut script, *dialing);
            }
        }
        self.put(now, script);
    }

    fn report_dial(&mut self, now: Moment, script: &mut Script, dialing: Dialing) {
        let Some(dialed) = dialing.ended else { return };
        let status = status_of(&dialed);
        let is_bridged = dialed.answered.is_some() && !dialed.talked.is_zero();
        let mut fields = vec![field("DialCallStatus", status)];
        let target = dialed.answered.and_then(|at| dialing.plans.get(at));
        let sid = dialed.leg.and_then(|leg| self.callee(leg)).map(|callee| callee.sid.clone());
        let sid = sid.or_else(|| self.callees.last().map(|callee| callee.sid.clone()));
        fields.extend(sid.map(|sid| field("DialCallSid", sid)));
        if dialed.answered.is_some() {
            fields.push(field("DialCallDuration", dialed.talked.as_secs().to_string()));
        }
        fields.push(field("DialBridged", if is_bridged { "true" } else { "false" }));
        let is_sip = target.map_or_else(
            || dialing.plans.iter().any(|plan| plan.to.starts_with("sip:")),
            |plan| plan.to.starts_with("sip:"),
        );
        if is_sip {
            let response = if dialed.answered.is_some() { Some(200) } else { dialed.status };
            fields.extend(response.map(|status| field("DialSipResponseCode", status.to_string())));
        }
        fields.extend(dialing.recorded.into_iter().flatten());
        self.callees.clear();
        let mut action = dialing.action;
        if let (Some(url), Some(to)) = (dialing.refer, dialed.refer_to) {
            fields.push(field("ReferTransferTarget", to));
            action = Some(url);
        }
        let result = if dialed.answered.is_some() { Ok("completed") } else { Err(code_of(dialed.cause)) };
        self.dial_over(now, script, dialing.verb, action, fields, result);
    }

    /// The caller hung up while a Dial was under way: only those who watch are told.
    pub(super) fn dial_hung_up(&mut self, now: Moment, dialing: &Dialing) {
        self.end_callees(now, Cause::NormalClearing);
        self.step(&dialing.verb, true, "hangup");
    }
}

/// How a Dial ended, in the words of the language.
fn status_of(dialed: &Dialed) -> &'static str {
    if dialed.answered.is_some() {
        return "completed";
    }
    match dialed.status {
        Some(486 | 600) => "busy",
        Some(480 | 487 | 408) => "no-answer",
        Some(_) => "failed",
        None => status_of_cause(dialed.cause),
    }
}

/// The final state of a leg that was never answered.
pub(super) const fn status_of_cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Busy => "busy",
        Cause::NoAnswer | Cause::NoUserResponse => "no-answer",
        Cause::Cancelled | Cause::AnsweredElsewhere | Cause::NormalClearing => "canceled",
        Cause::Unallocated
        | Cause::Rejected
        | Cause::InvalidNumber
        | Cause::DestinationOutOfOrder
        | Cause::NoCircuit
        | Cause::NetworkOutOfOrder
        | Cause::TemporaryFailure
        | Cause::Incompatible
        | Cause::RecoveryOnTimer
        | Cause::NotAllowed
        | Cause::Preempted
        | Cause::Unspecified => "failed",
    }
}

fn code_of(cause: Cause) -> &'static str {
    match status_of_cause(cause) {
        "busy" => "TR-DIAL-BUSY",
        "no-answer" => "TR-DIAL-NO-ANSWER",
        _ => "TR-DIAL-FAILED",
    }
}
