//! Modules that ask for a number and go on with it: disa, dynamic_cid.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tipring_model::DigitSet;
use tipring_model::flow::{Action, Collect, Moment, Outcome};
use tipring_model::prompt::{CallTone, Prompt, PromptSource};

use super::collect::{BETWEEN, DIGITS_MAX};
use super::flow::{KazooFlow, Next, Then, milliseconds};
use super::keys::Data;
use super::parse::Tree;
use super::pattern::Pattern;
use crate::json::Json;

/// Most tries for a PIN.
const TRIES_MAX: u64 = 10;
/// How long dial tone is heard before the caller is thought to have gone.
const FIRST: Duration = Duration::from_secs(10);

/// Entries of one list that are looked at.
const ENTRIES_MAX: usize = 2_000;

/// How long a caller who presses nothing hears dial tone.
const TONE_MAX: Duration = Duration::from_secs(60);

/// A caller who wants to dial from inside.
pub(super) struct Disa {
    /// Tries for the PIN that are left; none once it is known.
    pin_tries: Option<u64>,
    /// When he has heard dial tone for long enough.
    pub(super) due: Option<Instant>,
}

/// A caller who chooses the number that he shows.
pub(super) struct OwnNumber {
    least: usize,
}

impl KazooFlow {
    fn ask_number(&mut self, sound: PromptSource, most: u64, between: Option<u64>, then: Then) -> Next {
        let collect = Collect {
            prompts: vec![Prompt { barge_in: DigitSet::ALL, ..Prompt::once(sound) }],
            digits_max: usize::try_from(most.clamp(1, DIGITS_MAX)).unwrap_or(1),
            finish: DigitSet::of("#"),
            first_digit: Some(FIRST),
            between_digits: Some(between.filter(|ms| *ms > 0).map_or(BETWEEN, milliseconds)),
            total: None,
            typed_ahead: self.collections.takes_ahead(),
        };
        self.act(Action::Collect(collect), then)
    }

    /// The stored flow of any number, the one for the rest included.
    fn any_flow(&mut self, number: &str) -> Option<Tree> {
        let app = Rc::clone(&self.app);
        app.document.pick(number).map(|picked| self.take(picked))
    }

    // --- disa

    pub(super) fn disa(&mut self, now: Moment, data: Data<'_>) -> Next {
        if let Some(next) = self.answer_first() {
            return next;
        }
        if data.filled("pin").is_some() {
            let tries = data.count("retries").unwrap_or(3).clamp(1, TRIES_MAX);
            return self.ask_disa_pin(data, tries);
        }
        self.ask_disa_number(now, data)
    }

    fn ask_disa_pin(&mut self, data: Data<'_>, tries: u64) -> Next {
        let sound = self.prompt("disa-enter_pin");
        let disa = Disa { pin_tries: Some(tries), due: None };
        self.ask_number(sound, DIGITS_MAX, data.count("interdigit"), Then::Disa(Box::new(disa)))
    }

    fn ask_disa_number(&mut self, now: Moment, data: Data<'_>) -> Next {
        let rings = data.text("preconnect_audio") == Some("ringing");
        let sound = PromptSource::Tone(if rings { CallTone::Ringback } else { CallTone::Dial });
        let most = data.count("max_digits").unwrap_or(15);
        let disa = Disa { pin_tries: None, due: Some(now.instant + TONE_MAX) };
        self.ask_number(sound, most, data.count("interdigit"), Then::Disa(Box::new(disa)))
    }

    pub(super) fn disa_collected(&mut self, now: Moment, disa: &Disa, outcome: &Outcome) -> Next {
        let (Outcome::Collected(collected), Some(node)) = (outcome, self.node()) else { return Next::on() };
        let data = node.data();
        let digits = collected.digits.to_string();
        if let Some(tries) = disa.pin_tries {
            if data.filled("pin") == Some(digits.as_str()) {
                return self.ask_disa_number(now, data);
            }
            if tries > 1 {
                return self.ask_disa_pin(data, tries - 1);
            }
            let wrong = self.prompt("disa-invalid_pin");
            return self.say(wrong, Next::Stop);
        }
        let flow = Some(&digits).filter(|digits| !digits.is_empty()).and_then(|digits| self.any_flow(digits));
        match flow {
            Some(flow) => {
                self.dialled = Some(digits);
                Next::Branch(flow)
            }
            None => self.fail("TR-FLOW-NUMBER"),
        }
    }

    // --- dynamic_cid

    pub(super) fn dynamic_cid(&mut self, data: Data<'_>) -> Next {
        let given = data.inside("caller_id", "caller_id.");
        match data.text("action") {
            Some("static") => {
                self.caller.name = given.filled("name").map(str::to_owned);
                self.caller.number = given.filled("number").map(str::to_owned);
                let number = self.captures.longest.clone();
                self.dial_captured(data, number)
            }
            Some("list") => {
                let id = data.filled("id").unwrap_or("").to_owned();
                self.listed_caller(data, |known| known == id)
            }
            Some("lists") => self.listed_caller(data, |_| true),
            Some(_) | None => {
                if let Some(next) = self.answer_first() {
                    return next;
                }
                let own = data.filled("media_id").and_then(|id| self.media(id));
                let sound = own.unwrap_or_else(|| self.prompt("cidname-enter_number"));
                let least = usize::try_from(data.count("min_digits").unwrap_or(10)).unwrap_or(10);
                let most = data.count("max_digits").unwrap_or(10);
                let then = Then::OwnNumber(Box::new(OwnNumber { least }));
                self.ask_number(sound, most, data.count("interdigit_timeout"), then)
            }
        }
    }

    pub(super) fn own_number_collected(&mut self, own: OwnNumber, outcome: &Outcome) -> Next {
        let (Outcome::Collected(collected), Some(node)) = (outcome, self.node()) else { return Next::on() };
        let data = node.data();
        let digits = collected.digits.to_string();
        let allowed = data
            .filled("whitelist_regex")
            .is_none_or(|text| Pattern::new(text).is_ok_and(|pattern| pattern.is_match(&digits)));
        if digits.len() < own.least || !allowed {
            // As the platform does: the call goes on with the number that it has.
            self.warn_key(&node, "TR-FLOW-KEY-RANGE", "caller_id");
        } else {
            self.caller.number = Some(digits);
        }
        let number = self.captures.longest.clone();
        self.dial_captured(data, number)
    }

    /// The caller shows the number of a list that stands before the one he calls: the key of the
    /// entry, and then the number.
    fn listed_caller(&mut self, data: Data<'_>, is_meant: impl Fn(&str) -> bool) -> Next {
        let dialled = self.captures.longest.clone();
        let app = Rc::clone(&self.app);
        let index = data.filled("idx_name");
        let lists = app.document.stored.all("lists").filter(|(id, _)| is_meant(id));
        let found = lists.filter_map(|(_, list)| entry_before(list, index, &dialled));
        let Some((length, entry)) = found.max_by_key(|(length, _)| *length) else {
            return self.fail("TR-FLOW-REFERENCE");
        };
        let text = |key: &str| entry.get(key).and_then(Json::scalar).filter(|text| !text.is_empty());
        self.caller.number = text("number");
        self.caller.name = text("name").or_else(|| text("displayname"));
        let number = dialled.get(length..).unwrap_or("").to_owned();
        self.dial_captured(data, number)
    }

    /// The number behind the feature code, by its flow.
    fn dial_captured(&mut self, data: Data<'_>, number: String) -> Next {
        let app = Rc::clone(&self.app);
        let is_custom = app.document.pick_stored(&number).is_some();
        let flow = if number.is_empty() || (is_custom && !data.is("permit_custom_callflow")) {
            None
        } else {
            self.any_flow(&number)
        };
        match flow {
            Some(flow) => {
                self.dialled = Some(number);
                Next::Branch(flow)
            }
            None => self.fail("TR-FLOW-NUMBER"),
        }
    }
}

/// The entry of a list whose key begins `dialled`, and how long its key is: by the name of the
/// entry, or by the value that it has at `index`. A list may say how long its keys are.
fn entry_before<'a>(list: &'a Json, index: Option<&str>, dialled: &str) -> Option<(usize, &'a Json)> {
    let length = list.get("length").and_then(Json::scalar).and_then(|length| length.parse::<usize>().ok());
    let entries = list.get("entries")?;
    let value = |entry: &Json, key: &str| entry.get(key).and_then(Json::scalar);
    let named = entries
        .members()
        .iter()
        .map(|(name, entry)| (index.map_or_else(|| Some(name.clone()), |index| value(entry, index)), entry));
    let listed = entries.items().iter().map(|entry| (value(entry, index.unwrap_or("key")), entry));
    let fits = named.chain(listed).take(ENTRIES_MAX).filter_map(|(key, entry)| {
        let key = key.filter(|key| !key.is_empty() && dialled.starts_with(key.as_str()))?;
        let is_whole = length.is_none_or(|length| length == key.len());
        is_whole.then_some((key.len(), entry))
    });
    fits.max_by_key(|(length, _)| *length)
}
