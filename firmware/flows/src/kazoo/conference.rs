//! `conference`.

use std::time::Duration;

use tipring_model::flow::{Action, Collect, Conference, Left, LeftBy, Outcome};
use tipring_model::prompt::{Prompt, PromptSource};
use tipring_model::{Cause, DigitSet};

use super::collect::BETWEEN;
use super::flow::{KazooFlow, Next, Then};
use super::keys::{CONFERENCE, Data};
use crate::json::{Json, Value};

/// Most members of a room.
const MEMBERS_MAX: u64 = 16;
/// How often a PIN may be tried.
const PIN_TRIES: u32 = 3;
/// Longest PIN, and the pound key behind it: pressed later, it would lead out of the room.
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
        let app = std::rc::Rc::clone(&self.app);
        let room = room_of(data, &app.document.stored);
        let as_moderator = data.toggle("moderator");
        if roles(as_moderator).iter().any(|role| !pins(room, role).is_empty()) {
            return self.ask_pin(1, None);
        }
        self.enter_room(as_moderator.unwrap_or(false))
    }

    fn ask_pin(&mut self, tries: u32, before: Option<PromptSource>) -> Next {
        let sounds = before.into_iter().chain([self.prompt("conf-enter_conf_pin")]);
        let collect = Collect {
            prompts: sounds.map(|source| Prompt { source, loops: 1, barge_in: DigitSet::ALL }).collect(),
            digits_max: PIN_DIGITS_MAX,
            finish: DigitSet::of("#"),
            first_digit: Some(Duration::from_secs(5)),
            between_digits: Some(BETWEEN),
            total: None,
            typed_ahead: self.collections.takes_ahead(),
        };
        self.act(Action::Collect(collect), Then::RoomPin(tries))
    }

    pub(super) fn room_pin(&mut self, tries: u32, outcome: &Outcome) -> Next {
        let (Outcome::Collected(collected), Some(node)) = (outcome, self.node()) else { return Next::on() };
        let pin = collected.digits.to_string();
        let app = std::rc::Rc::clone(&self.app);
        let room = room_of(node.data(), &app.document.stored);
        let as_moderator = node.data().toggle("moderator");
        let fits =
            |role| roles(as_moderator).contains(&role) && !pin.is_empty() && pins(room, role).contains(&pin);
        if fits(MODERATOR) {
            return self.enter_room(true);
        }
        // Where either may come, members without PINs of their own need none.
        let is_open = as_moderator.is_none() && pins(room, MEMBER).is_empty();
        if fits(MEMBER) || (pin.is_empty() && is_open) {
            return self.enter_room(false);
        }
        if tries < PIN_TRIES {
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
        let room = room_of(data, &app.document.stored);
        let id = data.filled("id").filter(|_| data.value("config").is_none());
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
        let members_max = room.count("max_participants").unwrap_or(MEMBERS_MAX).clamp(2, MEMBERS_MAX);
        let action = Conference {
            room: name.to_owned(),
            muted: role.is("join_muted"),
            deaf: role.is("join_deaf"),
            begins: is_moderator || !waits,
            ends: false,
            tone_in: tone("play_entry_tone"),
            tone_out: tone("play_exit_tone"),
            wait: waits.then_some(PromptSource::Music),
            members_max: usize::try_from(members_max).unwrap_or(2),
            leave: DigitSet::of("#"),
            coaches: None,
            record: None,
        };
        let welcome = data.inside("welcome_prompt", "welcome_prompt.");
        let plays = welcome.toggle("play").unwrap_or(true) && room.toggle("play_welcome") != Some(false);
        let own = welcome.filled("media_id").and_then(|id| self.media(id));
        let sound = plays.then(|| own.unwrap_or_else(|| self.prompt("conf-welcome")));
        let enter = Next::Act(Box::new(Action::Conference(action)), Box::new(Then::Room));
        Next::after(sound, enter)
    }

    pub(super) fn left_room(&mut self, outcome: &Outcome) -> Next {
        self.served = true;
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

/// The room as it is stored, or as the node itself describes it.
fn room_of<'a>(data: Data<'a>, stored: &'a super::stored::Stored) -> Data<'a> {
    match data.value("config") {
        Some(config) => Data::new(CONFERENCE, Some(config)),
        None => stored.data("conferences", data.filled("id").unwrap_or("")),
    }
}

fn pins(room: Data<'_>, role: &str) -> Vec<String> {
    let role = room.value(role).and_then(|role| role.get("pins"));
    role.map_or(&[][..], Json::items).iter().filter_map(Json::scalar).collect()
}

/// True, false, or a tone of its own, which counts as true.
fn switch(value: Option<&Json>) -> Option<bool> {
    match &value?.value {
        Value::Toggle(on) => Some(*on),
        Value::Text(text) => Some(text != "false"),
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::List(_) | Value::Object(_) => None,
    }
}
