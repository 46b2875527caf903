//! Lists of callers, and the directory in which callers spell a name.

use std::rc::Rc;
use std::time::Duration;

use tipring_model::flow::{Action, Collect, Outcome};
use tipring_model::prompt::{Prompt, PromptSource};
use tipring_model::{Digit, DigitSet};

use super::collect::BETWEEN;
use super::flow::{KazooFlow, Next, Then};
use super::keys::Data;
use super::pattern::Pattern;
use crate::json::Json;

/// How often a name may be spelled.
const TRIES: u32 = 3;
/// Most keys of a name.
const KEYS_MAX: usize = 8;
/// Entries of one list that are looked at.
const ENTRIES_MAX: usize = 2_000;
/// Most people that are offered for one spelling.
const OFFERED_MAX: usize = 9;

/// A name that is being spelled.
pub(super) struct Spelling {
    tries: u32,
    /// Those who fit, the next one first; empty while keys are awaited.
    offered: Vec<Person>,
}

#[derive(Clone)]
struct Person {
    id: String,
    name: String,
    /// The callflow that reaches him.
    callflow: Option<String>,
}

impl KazooFlow {
    pub(super) fn list_match(&mut self, data: Data<'_>) -> Next {
        let number = self.caller_number();
        let app = Rc::clone(&self.app);
        let list = data.filled("id").and_then(|id| app.document.stored.find("lists", id));
        if list.is_none()
            && let Some(node) = self.node()
        {
            self.warn_key(&node, "TR-FLOW-REFERENCE", "id");
        }
        let is_match = list.is_some_and(|list| best(list, &number).is_some());
        Next::Go(if is_match { "match" } else { "nomatch" }.to_owned())
    }

    pub(super) fn list_name(&mut self, data: Data<'_>) -> Next {
        let number = self.caller_number();
        let app = Rc::clone(&self.app);
        let lists = data.texts("lists").into_iter().filter_map(|id| app.document.stored.find("lists", id));
        let found = lists.filter_map(|list| best(list, &number)).max_by_key(|(length, _)| *length);
        if let Some((_, Some(name))) = found {
            self.caller.name = Some(name);
        }
        Next::on()
    }

    // --- directory

    pub(super) fn spell(&mut self, _: Data<'_>) -> Next {
        if let Some(next) = self.answer_first() {
            return next;
        }
        self.ask_name(1, None)
    }

    fn ask_name(&mut self, tries: u32, before: Option<PromptSource>) -> Next {
        let sounds = before.into_iter().chain([self.prompt("dir-enter_person")]).collect();
        self.ask_keys(sounds, KEYS_MAX, Spelling { tries, offered: Vec::new() })
    }

    fn offer(&mut self, tries: u32, offered: Vec<Person>) -> Next {
        let Some(person) = offered.first() else { return Next::on() };
        let sounds = vec![self.speech(&person.name), self.prompt("dir-confirm_menu")];
        self.ask_keys(sounds, 1, Spelling { tries, offered })
    }

    fn ask_keys(&mut self, sounds: Vec<PromptSource>, digits_max: usize, spelling: Spelling) -> Next {
        let all = DigitSet::ALL;
        let collect = Collect {
            prompts: sounds.into_iter().map(|source| Prompt { source, loops: 1, barge_in: all }).collect(),
            digits_max,
            finish: DigitSet::of("#"),
            first_digit: Some(Duration::from_secs(5)),
            between_digits: Some(BETWEEN),
            total: None,
            typed_ahead: self.collections.takes_ahead(),
        };
        self.act(Action::Collect(collect), Then::Spelling(Box::new(spelling)))
    }

    pub(super) fn spelled(&mut self, spelling: Spelling, outcome: &Outcome) -> Next {
        let Outcome::Collected(collected) = outcome else { return Next::on() };
        let Spelling { tries, mut offered } = spelling;
        if !offered.is_empty() {
            if collected.digits.as_slice() == [Digit::D1] {
                return self.reach_person(&offered.remove(0));
            }
            offered.remove(0);
            if !offered.is_empty() {
                return self.offer(tries, offered);
            }
        } else if !collected.digits.is_empty() {
            let keys = collected.digits.to_string();
            let found: Vec<Person> = self
                .people()
                .into_iter()
                .filter(|person| is_spelled(&person.name, &keys))
                .take(OFFERED_MAX)
                .collect();
            if !found.is_empty() {
                return self.offer(tries, found);
            }
        }
        let nobody = self.prompt("dir-no_results_found");
        if tries < TRIES { self.ask_name(tries + 1, Some(nobody)) } else { self.say(nobody, Next::on()) }
    }

    /// Those who can be spelled: the account's users in this directory, or everybody of the box.
    fn people(&self) -> Vec<Person> {
        let id = self.node().and_then(|node| node.data().filled("id").map(str::to_owned)).unwrap_or_default();
        let users = self.app.document.stored.all("users").filter_map(|(user, json)| {
            let callflow = json.at_path(["directories", id.as_str()])?.text()?.to_owned();
            let part = |key: &str| json.get(key).and_then(Json::text).unwrap_or("").to_owned();
            let name = format!("{} {}", part("first_name"), part("last_name"));
            let name = if name.trim().is_empty() { part("name") } else { name.trim().to_owned() };
            Some(Person { id: user.to_owned(), name, callflow: Some(callflow) })
        });
        let own: Vec<Person> = users.collect();
        if !own.is_empty() {
            return own;
        }
        let directory = &self.app.directory.users;
        directory
            .iter()
            .map(|user| Person { id: user.id.clone(), name: user.name.clone(), callflow: None })
            .collect()
    }

    fn reach_person(&mut self, person: &Person) -> Next {
        let app = Rc::clone(&self.app);
        match person.callflow.as_deref().and_then(|id| app.document.callflow(id)) {
            Some(callflow) => Next::Branch(callflow.flow.clone()),
            None => self.ring_user(&person.id),
        }
    }
}

/// The entry of a list that fits a number best: how much of it, and the name to show.
fn best(list: &Json, number: &str) -> Option<(usize, Option<String>)> {
    let number = number.trim_start_matches('+');
    if number.is_empty() {
        return None;
    }
    let entries = list.get("entries")?;
    let all = entries.items().iter().chain(entries.members().iter().map(|(_, entry)| entry));
    let fits = all.take(ENTRIES_MAX).filter_map(|entry| {
        let text = |key: &str| entry.get(key).and_then(Json::scalar).filter(|text| !text.is_empty());
        let plain = |text: String| text.trim_start_matches('+').to_owned();
        let by_number = text("number").map(plain).filter(|known| known == number).map(|_| usize::MAX);
        let by_prefix = || {
            text("prefix")
                .map(plain)
                .filter(|prefix| number.starts_with(prefix.as_str()))
                .map(|prefix| prefix.len())
        };
        let by_pattern = || {
            let pattern = Pattern::new(&text("regexp")?).ok()?;
            (pattern.is_match(number) || pattern.is_match(&format!("+{number}"))).then_some(0)
        };
        let length = by_number.or_else(by_prefix).or_else(by_pattern)?;
        Some((length, text("displayname")))
    });
    fits.max_by_key(|(length, _)| *length)
}

/// Whether the first letters of one of the words of a name are on these keys.
fn is_spelled(name: &str, keys: &str) -> bool {
    let words = name.split_whitespace();
    let mut spellings = words.map(|word| word.chars().filter_map(key_of).collect::<String>());
    spellings.any(|spelling| spelling.starts_with(keys))
}

/// ITU-T E.161.
fn key_of(letter: char) -> Option<char> {
    Some(match letter.to_ascii_lowercase() {
        'a'..='c' => '2',
        'd'..='f' => '3',
        'g'..='i' => '4',
        'j'..='l' => '5',
        'm'..='o' => '6',
        'p'..='s' => '7',
        't'..='v' => '8',
        'w'..='z' => '9',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_by_the_letters_on_the_keys() {
        assert!(is_spelled("Ann Lee", "266"));
        assert!(is_spelled("Ann Lee", "53"));
        assert!(!is_spelled("Ann Lee", "9"));
    }
}
