//! `menu`: a greeting, a choice, and what happens when there is none.

use tipring_model::DigitSet;
use tipring_model::flow::{Action, Collect, Outcome, Record, Sides};
use tipring_model::prompt::{Beep, Prompt, PromptSource};

use super::collect::BETWEEN;
use super::flow::{KazooFlow, Next, Then, WILDCARD, milliseconds, seconds};
use super::keys::Data;
use super::pattern::Pattern;
use crate::json::Value;

/// Longest greeting, in seconds.
const GREETING_MAX: u64 = 300;

/// A menu under way.
pub(super) struct Menu {
    id: String,
    /// Wrong choices that are left.
    retries: u64,
    /// A greeting that was recorded in this call.
    greeting: Option<PromptSource>,
    /// What to play before the greeting.
    before: Option<PromptSource>,
}

/// A prompt of a menu: built in, none, or the account's own.
enum Sound {
    Builtin,
    Silence,
    Media(String),
}

impl KazooFlow {
    pub(super) fn menu(&mut self, data: Data<'_>) -> Next {
        if let Some(next) = self.answer_first() {
            return next;
        }
        let id = data.filled("id").unwrap_or("").to_owned();
        if let Some(node) = self.node().filter(|_| self.app.document.stored.find("menus", &id).is_none()) {
            self.warn_key(&node, "TR-FLOW-REFERENCE", "id");
        }
        let retries = self.app.document.stored.data("menus", &id).count("retries").unwrap_or(3).min(10);
        self.ask_menu(Box::new(Menu { id, retries, greeting: None, before: None }))
    }

    fn ask_menu(&mut self, mut menu: Box<Menu>) -> Next {
        let app = std::rc::Rc::clone(&self.app);
        let stored = app.document.stored.data("menus", &menu.id);
        let node = self.node();
        let own = node.as_ref().and_then(|node| node.data().count("interdigit_timeout"));
        let between = stored.count("interdigit_timeout").or(own).filter(|ms| *ms > 0);
        let greeting = menu.greeting.clone().or_else(|| {
            stored.inside("media", "media.").filled("greeting").and_then(|greeting| self.media(greeting))
        });
        let greeting = greeting.unwrap_or_else(|| self.prompt("menu-no_prompt"));
        let all = DigitSet::of("0123456789*#");
        let prompts = menu.before.take().into_iter().chain([greeting]);
        // A pound that leads somewhere is a choice like any other.
        let leads = node.is_some_and(|node| node.children.iter().any(|(key, _)| key.contains('#')));
        let collect = Collect {
            prompts: prompts.map(|source| Prompt { source, loops: 1, barge_in: all }).collect(),
            digits_max: usize::try_from(stored.count("max_extension_length").unwrap_or(4))
                .unwrap_or(4)
                .clamp(1, 6),
            finish: if leads { DigitSet::NONE } else { DigitSet::of("#") },
            first_digit: Some(milliseconds(stored.count("timeout").unwrap_or(10_000))),
            between_digits: Some(between.map_or(BETWEEN, milliseconds)),
            total: None,
            typed_ahead: self.collections.takes_ahead(),
        };
        self.act(Action::Collect(collect), Then::Menu(menu))
    }

    pub(super) fn menu_collected(&mut self, menu: Box<Menu>, outcome: &Outcome) -> Next {
        let Outcome::Collected(collected) = outcome else { return Next::on() };
        if collected.digits.is_empty() {
            return match self.attempt("timeout") {
                Some(next) => next,
                None => self.menu_again(menu, None),
            };
        }
        let digits = collected.digits.to_string();
        if let Some(next) = self.attempt(&digits) {
            return next;
        }
        let app = std::rc::Rc::clone(&self.app);
        let stored = app.document.stored.data("menus", &menu.id);
        if let Some(flow) = self.hunt(stored, &digits) {
            self.collections.forgets_ahead = true;
            let transfer = self.sound_source(sound(stored, "transfer_media"), "menu-transferring_call");
            return Next::after(transfer, Next::Replace(flow));
        }
        if stored.filled("record_pin") == Some(digits.as_str()) && self.may_record(stored) {
            return self.record_greeting(menu);
        }
        let sound = if stored.is("suppress_media") { Sound::Silence } else { sound(stored, "invalid_media") };
        let invalid = self.sound_source(sound, "menu-invalid_entry");
        self.menu_again(menu, invalid)
    }

    /// A stored flow that the menu lets the caller dial.
    fn hunt(&mut self, stored: Data<'_>, digits: &str) -> Option<super::parse::Tree> {
        let is_known = stored.json().is_some();
        let matches = |key: &str, otherwise: bool| match stored.filled(key) {
            Some(text) => Pattern::new(text).is_ok_and(|pattern| pattern.is_match(digits)),
            None => otherwise,
        };
        let allowed =
            is_known && stored.is("hunt") && matches("hunt_allow", true) && !matches("hunt_deny", false);
        if allowed { self.stored_flow(digits) } else { None }
    }

    fn may_record(&self, stored: Data<'_>) -> bool {
        self.caller_extension().is_some() || stored.is("allow_record_from_offnet")
    }

    fn record_greeting(&mut self, menu: Box<Menu>) -> Next {
        let tag = format!("greeting-{}", self.next_action().0);
        let record =
            Record { finish: DigitSet::ALL, ..Record::new(tag, Sides::Heard, seconds(GREETING_MAX)) };
        let beep = Prompt::once(PromptSource::Tones(vec![Beep::of_recorder()]));
        let next = Next::Act(Box::new(Action::Record(record)), Box::new(Then::GreetingRecorded(menu)));
        self.act(Action::Prompt(beep), Then::Do(next))
    }

    pub(super) fn greeting_recorded(&mut self, mut menu: Box<Menu>, outcome: &Outcome) -> Next {
        if let Outcome::Recorded(recorded) = outcome
            && recorded.file.is_some()
        {
            // The action that made it is the last one that began.
            menu.greeting = Some(PromptSource::Recording(self.last_action()));
        }
        self.ask_menu(menu)
    }

    fn menu_again(&mut self, mut menu: Box<Menu>, before: Option<PromptSource>) -> Next {
        menu.retries = menu.retries.saturating_sub(1);
        if menu.retries > 0 {
            menu.before = before;
            return self.ask_menu(menu);
        }
        self.collections.forgets_ahead = true;
        let app = std::rc::Rc::clone(&self.app);
        let stored = app.document.stored.data("menus", &menu.id);
        let last = match self.attempt("max_retries") {
            Some(next) => next,
            None if self.node().is_some_and(|node| node.has_child(WILDCARD)) => {
                let transfer = self.sound_source(sound(stored, "transfer_media"), "menu-transferring_call");
                Next::after(transfer, Next::on())
            }
            None => Next::after(Some(self.prompt("vm-goodbye")), Next::on()),
        };
        let exit = self.sound_source(sound(stored, "exit_media"), "menu-exit");
        Next::after(before, Next::after(exit, last))
    }

    fn sound_source(&self, sound: Sound, name: &str) -> Option<PromptSource> {
        match sound {
            Sound::Builtin => Some(self.prompt(name)),
            Sound::Silence => None,
            Sound::Media(id) => self.media(&id),
        }
    }
}

fn sound(stored: Data<'_>, key: &str) -> Sound {
    let media = stored.inside("media", "media.");
    match media.value(key).map(|value| &value.value) {
        Some(Value::Text(text)) if text == "false" => Sound::Silence,
        Some(Value::Text(text)) if text != "true" && !text.is_empty() => Sound::Media(text.clone()),
        Some(Value::Toggle(false)) => Sound::Silence,
        Some(_) | None => Sound::Builtin,
    }
}
