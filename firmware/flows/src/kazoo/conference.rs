//! `conference`.

use std::time::Duration;

use tipring_model::flow::{Action, Collect, Conference, Left, LeftBy, Outcome, ROOM_MEMBERS_MAX};
use tipring_model::prompt::{Prompt, PromptSource};
use tipring_model::{Cause, DigitSet};

use super::collect::BETWEEN;
use super::flow::{KazooFlow, Next, Then};
use super::keys::{CONFERENCE, Data};
use super::media::Language;
use crate::json::{Json, Value};

/// How often a number or a PIN may be tried.
const TRIES: u32 = 3;
/// Longest number or PIN, and the pound key behind it: pressed later, it would lead out of the room.
const PIN_DIGITS_MAX: usize = 16 + 1;

const MODERATOR: &str = "moderator";
const MEMBER: &str = "member";

/// Whose PINs let a caller in: those of the role that the node gives him, or of either.
const fn roles(as_moderator: Option<bool>) -> &'static [&'static str] {
    match as_moderator {
        Some(true) => &[MODERATOR],
        Some(false) => &[MEMBER],
        None => &[MODERATOR, MEMBER],
    }
}

impl KazooFlow {
    pub(super) fn conference(&mut self, data: Data<'_>) -> Next {
        if let Some(next) = self.answer_first() {
            return next;
        }
        self.room = data.filled("id").map(str::to_owned);
        let app = std::rc::Rc::clone(&self.app);
        let stored = &app.document.stored;
        let has_numbers = stored.all("conferences").any(|(id, _)| {
            let room = stored.data("conferences", id);
            !listed(room, MEMBER, "numbers").is_empty() || !listed(room, MODERATOR, "numbers").is_empty()
        });
        if self.room.is_none() && data.value("config").is_none() && has_numbers {
            return self.ask_room(1, None);
        }
        self.choose_role(data)
    }

    /// Which room, where the node does not say so.
    fn ask_room(&mut self, tries: u32, before: Option<PromptSource>) -> Next {
        let question = self.prompt("conf-enter_conf_number");
        self.ask_caller(question, before, Then::RoomNumber(tries))
    }

    pub(super) fn room_number(&mut self, tries: u32, outcome: &Outcome) -> Next {
        let (Outcome::Collected(collected), Some(node)) = (outcome, self.node()) else { return Next::on() };
        let number = collected.digits.to_string();
        let app = std::rc::Rc::clone(&self.app);
        let stored = &app.document.stored;
        let found = stored.all("conferences").find_map(|(id, _)| {
            let room = stored.data("conferences", id);
            let has = |role| listed(room, role, "numbers").contains(&number);
            let is_moderator = has(MODERATOR);
            (is_moderator || has(MEMBER)).then(|| (id.to_owned(), is_moderator))
        });
        if let Some((id, is_moderator)) = found.filter(|_| !number.is_empty()) {
            self.room = Some(id);
            if is_moderator && self.pins(MODERATOR).is_empty() {
                self.speak_its_language(node.data());
                return self.enter_room(true);
            }
            return self.choose_role(node.data());
        }
        let wrong = self.prompt("conf-bad_conf");
        if tries < TRIES { self.ask_room(tries + 1, Some(wrong)) } else { self.say(wrong, Next::Stop) }
    }

    /// What is said about the room is said in its language.
    fn speak_its_language(&mut self, data: Data<'_>) {
        let app = std::rc::Rc::clone(&self.app);
        if let Some(own) = self.room_of(data, &app.document.stored).filled("language") {
            let before = std::mem::replace(&mut self.language, Language::new(own));
            self.language_before.get_or_insert(before);
        }
    }

    /// Asks for the PIN, if the room has one.
    fn choose_role(&mut self, data: Data<'_>) -> Next {
        self.speak_its_language(data);
        let as_moderator = data.toggle("moderator");
        if roles(as_moderator).iter().any(|role| !self.pins(role).is_empty()) {
            return self.ask_pin(1, None);
        }
        self.enter_room(as_moderator.unwrap_or(false))
    }

    fn ask_pin(&mut self, tries: u32, before: Option<PromptSource>) -> Next {
        let question = self.prompt("conf-enter_conf_pin");
        self.ask_caller(question, before, Then::RoomPin(tries))
    }

    fn ask_caller(&mut self, question: PromptSource, before: Option<PromptSource>, then: Then) -> Next {
        let sounds = before.into_iter().chain([question]);
        let collect = Collect {
            prompts: sounds.map(|source| Prompt { source, loops: 1, barge_in: DigitSet::ALL }).collect(),
            digits_max: PIN_DIGITS_MAX,
            finish: DigitSet::of("#"),
            first_digit: Some(Duration::from_secs(5)),
            between_digits: Some(BETWEEN),
            total: None,
            typed_ahead: self.collections.takes_ahead(),
        };
        self.act(Action::Collect(collect), then)
    }

    pub(super) fn room_pin(&mut self, tries: u32, outcome: &Outcome) -> Next {
        let (Outcome::Collected(collected), Some(node)) = (outcome, self.node()) else { return Next::on() };
        let pin = collected.digits.to_string();
        let as_moderator = node.data().toggle("moderator");
        let fits =
            |role| roles(as_moderator).contains(&role) && !pin.is_empty() && self.pins(role).contains(&pin);
        if fits(MODERATOR) {
            return self.enter_room(true);
        }
        // Where either may come, members without PINs of their own need none.
        let is_open = as_moderator.is_none() && self.pins(MEMBER).is_empty();
        if fits(MEMBER) || (pin.is_empty() && is_open) {
            return self.enter_room(false);
        }
        if tries < TRIES {
            let wrong = self.prompt("conf-bad_pin");
            return self.ask_pin(tries + 1, Some(wrong));
        }
        let wrong = self.prompt("conf-bad_pin");
        self.say(wrong, Next::Stop)
    }

    fn enter_room(&mut self, is_moderator: bool) -> Next {
        let Some(node) = self.node() else { return Next::Stop };
        let data = node.data();
        let app = std::rc::Rc::clone(&self.app);
        let room = self.room_of(data, &app.document.stored);
        let chosen = self.room.clone().filter(|_| data.value("config").is_none());
        let id = chosen.as_deref();
        let Some(name) = id.or_else(|| room.filled("name")) else {
            return self.fail("TR-FLOW-KEY-MISSING");
        };
        if let Some(id) = id.filter(|id| app.document.stored.find("conferences", id).is_none()) {
            self.warn("TR-FLOW-REFERENCE", format!("{}.data.id: {id}", node.path));
        }
        let (role, within) = if is_moderator { ("moderator", "moderator.") } else { ("member", "member.") };
        let role = room.inside(role, within);
        let waits = room.is("wait_for_moderator") || room.is("require_moderator");
        let tone = |key: &str| switch(data.value(key)).or_else(|| switch(room.value(key))).unwrap_or(true);
        let members_max = room.count("max_participants").and_then(|most| usize::try_from(most).ok());
        let action = Conference {
            room: name.to_owned(),
            name: String::new(),
            muted: role.is("join_muted"),
            deaf: role.is("join_deaf"),
            begins: is_moderator || !waits,
            ends: false,
            tone_in: tone("play_entry_tone"),
            tone_out: tone("play_exit_tone"),
            wait: waits.then_some(PromptSource::Music),
            members_max: members_max.unwrap_or(ROOM_MEMBERS_MAX).clamp(2, ROOM_MEMBERS_MAX),
            leave: DigitSet::of("#"),
            coaches: None,
            records: false,
        };
        let welcome = data.inside("welcome_prompt", "welcome_prompt.");
        let plays = welcome.toggle("play").unwrap_or(true)
            && room.toggle("play_welcome") != Some(false)
            && role.toggle("play_entry_prompt") != Some(false);
        let own = welcome.filled("media_id").and_then(|id| self.media(id));
        let sound = plays.then(|| own.unwrap_or_else(|| self.prompt("conf-welcome")));
        let enter = Next::Act(Box::new(Action::Conference(action)), Box::new(Then::Room));
        Next::after(sound, enter)
    }

    pub(super) fn left_room(&mut self, outcome: &Outcome) -> Next {
        self.served = true;
        if let Some(before) = self.language_before.take() {
            self.language = before;
        }
        let over = Next::Over(Cause::NormalClearing, "conference");
        if let Outcome::Left(Left { by: LeftBy::Key(_), .. }) | Outcome::Failed(_) = outcome {
            return Next::on();
        }
        if let Outcome::Left(Left { by: LeftBy::Full, .. }) = outcome {
            self.fault = Some("TR-FLOW-LIMIT");
            return Next::after(Some(self.prompt("conf-full")), over);
        }
        over
    }
}

impl KazooFlow {
    /// The room as it is stored, or as the node itself describes it.
    fn room_of<'a>(&self, data: Data<'a>, stored: &'a super::stored::Stored) -> Data<'a> {
        match data.value("config") {
            Some(config) => Data::new(CONFERENCE, Some(config)),
            None => stored.data("conferences", self.room.as_deref().unwrap_or("")),
        }
    }

    fn pins(&self, role: &str) -> Vec<String> {
        let Some(node) = self.node() else { return Vec::new() };
        listed(self.room_of(node.data(), &self.app.document.stored), role, "pins")
    }
}

/// PINs or numbers of moderators or members.
fn listed(room: Data<'_>, role: &str, key: &str) -> Vec<String> {
    let list = room.value(role).and_then(|role| role.get(key));
    list.map_or(&[][..], Json::items).iter().filter_map(Json::scalar).collect()
}

/// True, false, or a tone of its own, which counts as true.
fn switch(value: Option<&Json>) -> Option<bool> {
    match &value?.value {
        Value::Toggle(on) => Some(*on),
        Value::Text(text) => Some(text != "false"),
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::List(_) | Value::Object(_) => None,
    }
}
