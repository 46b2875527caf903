//! The Conference of a Dial.

use std::rc::Rc;
use std::time::Instant;

use tipring_model::fetch::Method;
use tipring_model::flow::{Action, Conference, LeftBy, Moment, Outcome, ROOM_MEMBERS_MAX, RoomEvent, Sides};
use tipring_model::prompt::PromptSource;

use super::attributes::Attributes;
use super::dial::Terms;
use super::flow::{TwimlFlow, failure_code};
use super::names::Name;
use super::params::{Fields, field, mail_time, sid};
use super::record::Report;
use super::script::{Role, Script, Verb, Waiting};
use super::settings::{Address, Callback};
use crate::xml::Element;

/// Longest name of a room or of a member, in characters.
const NAME_CHARS_MAX: usize = 128;
/// Most members that the language knows.
const MEMBERS_WRITTEN_MAX: u64 = 250;

const EVENTS: [&str; 9] =
    ["start", "end", "join", "leave", "mute", "hold", "modify", "speaker", "announcement"];

/// A stay in a room.
#[derive(Debug)]
pub(super) struct Room {
    verb: Verb,
    action: Option<(String, Method)>,
    name: String,
    sid: String,
    label: Option<String>,
    callback: Option<Callback>,
    muted: bool,
    begins: bool,
    ends: bool,
    coaches: bool,
    /// A document, fetched when the room has not begun.
    wait: Option<Address>,
    /// Set if the room is to be recorded: where the recording is told of.
    records: Option<Option<Callback>>,
    is_held: bool,
    is_first: bool,
    has_begun: bool,
    /// Members, this one included.
    members: usize,
    told: u32,
    /// When the member must leave.
    pub(super) limit: Option<Instant>,
}

impl TwimlFlow {
    pub(super) fn dial_room(
        &mut self,
        now: Moment,
        script: &mut Script,
        verb: Verb,
        noun: &Rc<Element>,
        terms: Terms,
        path: &str,
    ) {
        let mut attributes = Attributes::of(noun, Name::Conference);
        let base = script.base.as_deref();
        let muted = attributes.toggle("muted", false);
        let beep = attributes.choice("beep", &["true", "false", "onEnter", "onExit"]).unwrap_or("true");
        let begins = attributes.toggle("startConferenceOnEnter", true);
        let ends = attributes.toggle("endConferenceOnExit", false);
        let method = attributes.method("waitMethod", Method::Post);
        let is_silent = attributes.text("waitUrl").is_some_and(|url| url.trim().is_empty());
        let wait = attributes.url("waitUrl", base).map(|url| Address { url, method });
        let members_max = attributes.number("maxParticipants", MEMBERS_WRITTEN_MAX, (2, MEMBERS_WRITTEN_MAX));
        let records = attributes.choice("record", &["do-not-record", "record-from-start"]);
        attributes.choice("trim", &["trim-silence", "do-not-trim"]);
        attributes.choice("jitterBufferSize", &["small", "medium", "large", "off"]);
        let coaches = attributes.word("coach").map(str::to_owned);
        let label = attributes.word("participantLabel");
        let label = label.map(|label| label.chars().take(NAME_CHARS_MAX).collect::<String>());
        let method = attributes.method("statusCallbackMethod", Method::Post);
        let events = attributes.words("statusCallbackEvent", &EVENTS, &[]);
        let old = attributes.url("eventCallbackUrl", base);
        let callback = attributes.url("statusCallback", base).or(old);
        let callback = callback.map(|url| Callback { to: Address { url, method }, events });
        let recording = self.recording_callback(script, &mut attributes);
        self.warn_all(attributes, path);
        let name: String = noun.text.trim().chars().take(NAME_CHARS_MAX).collect();
        if name.is_empty() {
            return self.nobody_dialed(now, script, verb, terms.action);
        }
        let room_sid = sid("CF", &[&self.terms.account_sid, &name]);
        let records = (records == Some("record-from-start")).then_some(recording);
        let spec = Conference {
            room: name.clone(),
            name: self.sid_of(script.leg),
            muted,
            deaf: false,
            begins,
            ends,
            tone_in: matches!(beep, "true" | "onEnter"),
            tone_out: matches!(beep, "true" | "onExit"),
            wait: (wait.is_none() && !is_silent).then_some(PromptSource::Music),
            members_max: usize::try_from(members_max).map_or(2, |most| most.min(ROOM_MEMBERS_MAX)),
            leave: terms.hang_up,
            coaches: coaches.clone(),
            records: records.is_some(),
        };
        let room = Room {
            verb,
            action: terms.action,
            name,
            sid: room_sid,
            label,
            callback,
            muted,
            begins,
            ends,
            coaches: coaches.is_some(),
            wait,
            records,
            is_held: false,
            is_first: false,
            has_begun: false,
            members: 0,
            told: 0,
            limit: Some(now.instant + terms.talk),
        };
        let action = self.act(script.leg, Action::Conference(spec));
        script.waiting = Waiting::Room { action, room: Box::new(room), began: now.instant };
    }

    /// Something happened in the room that the caller is in.
    pub(super) fn room_event(&mut self, now: Moment, event: RoomEvent) {
        let Some(mut main) = self.take(|script| matches!(script.waiting, Waiting::Room { .. })) else {
            return;
        };
        let leg = main.leg;
        let Waiting::Room { room, .. } = &mut main.waiting else { return };
        let mut wait = None;
        match event {
            RoomEvent::Entered { members, began, coached } => {
                if !coached {
                    self.warn("TR-FLOW-COACH", &room.verb.path);
                }
                room.is_first = members == 1;
                room.members = members;
                room.has_begun = began;
                if began && room.is_first {
                    self.tell_room(now, room, "start", "conference-start", &[]);
                }
                let label = room.label.clone();
                let label: Fields = label.map(|label| field("ParticipantLabel", label)).into_iter().collect();
                self.tell_room(now, room, "join", "participant-join", &label);
                wait = room.wait.clone().filter(|_| !began);
            }
            RoomEvent::Began => {
                if !std::mem::replace(&mut room.has_begun, true) && room.is_first {
                    self.tell_room(now, room, "start", "conference-start", &[]);
                }
                self.drop_beside(leg);
            }
            RoomEvent::Records => {
                if let Some(recording) = room.records.take() {
                    let (path, room) = (room.verb.path.clone(), room.sid.clone());
                    let report = Report::new(self.next_sid("RE"), recording, "Conference", now).of_room(room);
                    self.record_beside(leg, Sides::Both, report, &path);
                }
            }
            RoomEvent::Joined { members } | RoomEvent::Parted { members } => room.members = members,
        }
        self.scripts.push(main);
        if wait.is_some() {
            self.begin_wait(now, Role::InRoom, leg, wait, Fields::new());
        }
    }

    /// The far end put the caller on hold, or took him back.
    pub(super) fn caller_held(&mut self, now: Moment, held: bool) {
        let Some(mut main) = self.take(|script| matches!(script.waiting, Waiting::Room { .. })) else {
            return;
        };
        if let Waiting::Room { room, .. } = &mut main.waiting
            && room.is_held != held
        {
            room.is_held = held;
            let name = if held { "participant-hold" } else { "participant-unhold" };
            self.tell_room(now, room, "hold", name, &[]);
        }
        self.scripts.push(main);
    }

    fn tell_room(
        &mut self,
        now: Moment,
        room: &mut Room,
        event: &str,
        name: &str,
        more: &[(String, String)],
    ) {
        let Some(callback) = room.callback.clone().filter(|callback| callback.wants(event)) else { return };
        let word = |on: bool| if on { "true" } else { "false" };
        let mut fields = vec![
            field("ConferenceSid", room.sid.clone()),
            field("FriendlyName", room.name.clone()),
            field("AccountSid", self.terms.account_sid.clone()),
            field("StatusCallbackEvent", name),
            field("SequenceNumber", room.told.to_string()),
            field("Timestamp", mail_time(now.unix_ms)),
        ];
        if name.starts_with("participant-") {
            fields.push(field("CallSid", self.sid_of(self.leg)));
            for (name, on) in [
                ("Muted", room.muted),
                ("Hold", room.is_held),
                ("Coaching", room.coaches),
                ("StartConferenceOnEnter", room.begins),
                ("EndConferenceOnExit", room.ends),
            ] {
                fields.push(field(name, word(on)));
            }
        }
        fields.extend_from_slice(more);
        room.told += 1;
        let is_last = name == "conference-end";
        self.tell("twiml.conference", (&callback.to.url, callback.to.method), fields, is_last);
    }

    /// The caller is no longer in the room.
    pub(super) fn room_left(&mut self, now: Moment, room: &Room) {
        let mut room = Room {
            verb: room.verb.clone(),
            action: None,
            name: room.name.clone(),
            sid: room.sid.clone(),
            label: None,
            callback: room.callback.clone(),
            records: None,
            wait: None,
            ..*room
        };
        self.tell_room(now, &mut room, "leave", "participant-leave", &[]);
        if room.ends {
            let reason = field("ReasonConferenceEnded", "participant-with-end-conference-on-exit-left");
            self.tell_room(now, &mut room, "end", "conference-end", &[reason]);
        } else if room.members == 1 {
            let reason = field("ReasonConferenceEnded", "last-participant-left");
            self.tell_room(now, &mut room, "end", "conference-end", &[reason]);
        }
    }

    pub(super) fn after_room(&mut self, now: Moment, script: &mut Script, room: Room, outcome: &Outcome) {
        self.drop_beside(script.leg);
        let leg = script.leg;
        let records: Vec<_> = self.recordings.iter().filter(|recording| recording.leg == leg).collect();
        let of_room: Vec<_> = records
            .iter()
            .filter(|recording| recording.is_of_room())
            .map(|recording| recording.action)
            .collect();
        for action in of_room {
            self.cancel(action);
        }
        let full = matches!(outcome, Outcome::Left(left) if left.by == LeftBy::Full);
        let (status, result) = if full {
            ("failed", Err("TR-FLOW-ROOM-FULL"))
        } else if matches!(outcome, Outcome::Left(_) | Outcome::Cancelled) {
            self.room_left(now, &room);
            ("answered", Ok("answered"))
        } else {
            ("failed", Err(failure_code(outcome)))
        };
        let fields = vec![field("DialCallStatus", status)];
        self.dial_over(now, script, room.verb, room.action, fields, result);
    }
}
