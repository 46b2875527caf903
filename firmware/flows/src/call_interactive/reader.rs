//! Reads an IVR from JSON: whole, with every fault at once and the place of each.

use std::collections::BTreeMap;

use tipring_model::Digits;

use super::ivr::{
    ACTIONS_MAX, Action, Ask, CONTEXTS_MAX, Context, Document, INTERDIGIT_MS, NUMBERS_MAX, TIMEOUT_MS,
    is_keys, is_number, is_variable,
};
use crate::json::{self, Json, Limits, Value};
use crate::xml::Position;
use crate::{Finding, address};

const LIMITS: Limits = Limits { bytes_max: 1_048_576, values_max: 200_000, depth_max: 16 };
/// Findings that are told; more of them say nothing new.
const FINDINGS_MAX: usize = 100;
/// Longest piece of a value that a finding shows, in characters.
const SHOWN_MAX: usize = 60;
/// Waits for digits, in milliseconds.
const WAIT_MS: (u64, u64) = (100, 600_000);
/// Time for a request, in seconds.
const REQUEST_S: (u64, u64) = (1, 60);
/// Longest silence, in seconds.
const SILENCE_S_MAX: u64 = 3_600;
const ANY: (u64, u64) = (0, u64::MAX);

/// Every action with the keys that it takes besides `action`.
const ACTIONS: [(&str, &[&str]); 17] = [
    ("call_interactive", &["url", "method", "timeout"]),
    ("hangup", &[]),
    ("jump_to_context", &["context", "option"]),
    ("match_variable", &["variable", "value", "context", "option"]),
    ("play_digits", &["digits"]),
    ("play_digits_from_variable", &["variable"]),
    ("play_silence", &["seconds"]),
    ("play_sound", &["sound"]),
    ("quality_rate", &[]),
    ("record_digits", &["variable", "length", "sound"]),
    ("set_caller_id_name", &["value"]),
    ("set_caller_id_number", &["value"]),
    ("set_variable", &["name", "value"]),
    ("simple_transfer", &["numbers", "timeout", "final"]),
    ("transfer", &["numbers", "timeout"]),
    ("transfer_from_variable", &["variable", "timeout"]),
    ("voice_helper", &[]),
];

/// Reads an IVR; none if it will not run.
pub(super) fn read(bytes: &[u8]) -> (Option<Document>, Vec<Finding>) {
    let mut reader = Reader { found: Vec::new(), contexts: Vec::new() };
    let document = match json::parse(bytes, &LIMITS) {
        Ok(read) => {
            for (key, at) in read.doubles {
                reader.add("TR-FLOW-JSON-TWICE", false, at, shortened(&key));
            }
            Some(reader.document(&read.root))
        }
        Err(error) => {
            reader.add(error.fault.code(), true, error.at, "document".to_owned());
            None
        }
    };
    reader.found.sort_by_key(|finding| (finding.line, finding.column));
    let is_fit = !reader.found.iter().any(|finding| finding.fatal);
    (document.filter(|_| is_fit), reader.found)
}

/// The beginning of a value, for a finding.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect()
}

struct Reader {
    found: Vec<Finding>,
    /// The ids of all contexts.
    contexts: Vec<u64>,
}

impl Reader {
    fn add(&mut self, code: &'static str, fatal: bool, at: Position, subject: String) {
        if self.found.len() < FINDINGS_MAX {
            self.found.push(Finding { code, fatal, line: at.line, column: at.column, subject });
        }
    }

    fn fault(&mut self, at: Position, subject: String) {
        self.add("TR-FLOW-VALUE", true, at, subject);
    }

    // --- What a value is.

    /// True for an object; every key of it that is not known is told.
    fn object(&mut self, json: &Json, path: &str, keys: &[&str]) -> bool {
        if !json.is_object() {
            self.fault(json.at, format!("{path}: an object is needed"));
            return false;
        }
        for (key, value) in json.members() {
            if !keys.contains(&key.as_str()) {
                let known = keys.join(", ");
                self.fault(value.at, format!("{}: not a key here; known are {known}", joined(path, key)));
            }
        }
        true
    }

    fn missing(&mut self, json: &Json, path: &str, key: &str) {
        self.fault(json.at, format!("{}: this key is needed", joined(path, key)));
    }

    fn list<'a>(&mut self, json: &'a Json, path: &str) -> &'a [Json] {
        if !matches!(json.value, Value::List(_)) {
            self.fault(json.at, format!("{path}: a list is needed"));
        }
        json.items()
    }

    fn text(&mut self, json: &Json, path: &str, key: &str) -> Option<String> {
        let value = given(json, key)?;
        if value.text().is_none() {
            self.fault(value.at, format!("{}: a text is needed", joined(path, key)));
        }
        value.text().map(str::to_owned)
    }

    fn needed_text(&mut self, json: &Json, path: &str, key: &str) -> String {
        if given(json, key).is_none() {
            self.missing(json, path, key);
        }
        self.text(json, path, key).unwrap_or_default()
    }

    fn number(&mut self, json: &Json, path: &str, key: &str, (least, most): (u64, u64)) -> Option<u64> {
        let value = given(json, key)?;
        let whole = if let Value::Integer(number) = value.value { u64::try_from(number).ok() } else { None };
        let fits = whole.filter(|number| (least..=most).contains(number));
        if fits.is_none() {
            let wanted = if most == u64::MAX {
                "a whole number is needed".to_owned()
            } else {
                format!("a whole number from {least} to {most} is needed")
            };
            self.fault(value.at, format!("{}: {wanted}", joined(path, key)));
        }
        fits
    }

    fn toggle(&mut self, json: &Json, path: &str, key: &str) -> Option<bool> {
        let value = given(json, key)?;
        if let Value::Toggle(on) = value.value {
            return Some(on);
        }
        self.fault(value.at, format!("{}: true or false is needed", joined(path, key)));
        None
    }

    // --- The document.

    fn document(&mut self, root: &Json) -> Document {
        let mut document = Document { contexts: Vec::new(), lifetime_s: 0, lifetime_exp_action: Vec::new() };
        if !self.object(root, "", &["contexts", "lifetime_s", "lifetime_exp_action"]) {
            return document;
        }
        document.lifetime_s = self.number(root, "", "lifetime_s", ANY).unwrap_or(0);
        match given(root, "contexts") {
            None => self.missing(root, "", "contexts"),
            Some(list) => {
                let items = self.list(list, "contexts");
                if matches!(list.value, Value::List(_)) && !(1..=CONTEXTS_MAX).contains(&items.len()) {
                    self.fault(list.at, format!("contexts: 1 to {CONTEXTS_MAX} are needed"));
                }
                let ids = items.iter().filter_map(|item| {
                    if let Value::Integer(id) = item.get("id")?.value { u64::try_from(id).ok() } else { None }
                });
                self.contexts = ids.collect();
                for (at, item) in items.iter().take(CONTEXTS_MAX).enumerate() {
                    if let Some(context) = self.context(item, at) {
                        document.contexts.push(context);
                    }
                }
            }
        }
        if let Some(list) = given(root, "lifetime_exp_action") {
            document.lifetime_exp_action = self.actions(list, "lifetime_exp_action");
        }
        document
    }

    fn context(&mut self, json: &Json, at: usize) -> Option<Context> {
        let path = format!("contexts[{at}]");
        if !self.object(json, &path, &["id", "name", "timeout_ms", "interdigit_ms", "options"]) {
            return None;
        }
        if given(json, "id").is_none() {
            self.missing(json, &path, "id");
        }
        let id = self.number(json, &path, "id", (0, u64::from(u32::MAX)));
        if let (Some(id), Some(value)) = (id, given(json, "id"))
            && self.contexts.iter().take(at).any(|other| *other == id)
        {
            self.fault(value.at, format!("{path}.id: {id} is there twice"));
        }
        let mut options = BTreeMap::new();
        match given(json, "options") {
            None => self.missing(json, &path, "options"),
            Some(list) if !list.is_object() => {
                self.fault(list.at, format!("{path}.options: an object is needed"));
            }
            Some(list) => {
                for (name, actions) in list.members() {
                    let place = format!("{path}.options.{}", shortened(name));
                    if !matches!(name.as_str(), "start" | "timeout" | "invalid") && !is_keys(name) {
                        let known = "start, timeout, invalid, or keys that callers press";
                        self.fault(actions.at, format!("{place}: no option of that name; there are {known}"));
                    }
                    options.insert(name.clone(), self.actions(actions, &place));
                }
            }
        }
        Some(Context {
            id: id.and_then(|id| u32::try_from(id).ok()).unwrap_or(0),
            name: self.text(json, &path, "name").unwrap_or_default(),
            timeout_ms: self.number(json, &path, "timeout_ms", WAIT_MS).unwrap_or(TIMEOUT_MS),
            interdigit_ms: self.number(json, &path, "interdigit_ms", WAIT_MS).unwrap_or(INTERDIGIT_MS),
            options,
        })
    }

    fn actions(&mut self, list: &Json, path: &str) -> Vec<Action> {
        let items = self.list(list, path);
        if items.len() > ACTIONS_MAX {
            self.fault(list.at, format!("{path}: more than {ACTIONS_MAX} actions"));
        }
        let items = items.iter().take(ACTIONS_MAX).enumerate();
        items.filter_map(|(n, item)| self.action(item, &format!("{path}[{n}]"))).collect()
    }

    fn action(&mut self, json: &Json, path: &str) -> Option<Action> {
        if !json.is_object() {
            self.fault(json.at, format!("{path}: an object is needed"));
            return None;
        }
        if given(json, "action").is_none() {
            self.missing(json, path, "action");
            return None;
        }
        let name = self.text(json, path, "action")?;
        let Some((_, keys)) = ACTIONS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
            let at = given(json, "action").map_or(json.at, |value| value.at);
            let (name, known) = (shortened(&name), known.join(", "));
            self.fault(at, format!("{path}.action: `{name}` is no action; there are {known}"));
            return None;
        };
        let all: Vec<&str> = std::iter::once("action").chain(keys.iter().copied()).collect();
        self.object(json, path, &all);
        Some(match name.as_str() {
            "transfer" => Action::Transfer {
                numbers: self.numbers(json, path),
                timeout: self.number(json, path, "timeout", ANY),
            },
            "simple_transfer" => Action::SimpleTransfer {
                numbers: self.numbers(json, path),
                timeout: self.number(json, path, "timeout", ANY),
                r#final: self.toggle(json, path, "final"),
            },
            "hangup" => Action::Hangup,
            "play_sound" => Action::PlaySound { sound: self.needed_text(json, path, "sound") },
            "play_silence" => {
                if given(json, "seconds").is_none() {
                    self.missing(json, path, "seconds");
                }
                let seconds = self.number(json, path, "seconds", (0, SILENCE_S_MAX));
                Action::PlaySilence { seconds: seconds.unwrap_or(0) }
            }
            "jump_to_context" => Action::JumpToContext {
                context: self.place(json, path),
                option: self.text(json, path, "option"),
            },
            "play_digits" => {
                let digits = self.needed_text(json, path, "digits");
                if let Some(value) = given(json, "digits").filter(|_| Digits::parse(&digits).is_none()) {
                    self.fault(value.at, format!("{path}.digits: keys alone, such as 15#"));
                }
                Action::PlayDigits { digits }
            }
            "play_digits_from_variable" => {
                Action::PlayDigitsFromVariable { variable: self.variable(json, path, "variable") }
            }
            "record_digits" => Action::RecordDigits {
                variable: self.variable(json, path, "variable"),
                length: self
                    .number(json, path, "length", ANY)
                    .and_then(|length| usize::try_from(length).ok()),
                sound: self.text(json, path, "sound"),
            },
            "set_variable" => Action::SetVariable {
                name: self.variable(json, path, "name"),
                value: self.needed_text(json, path, "value"),
            },
            "transfer_from_variable" => Action::TransferFromVariable {
                variable: self.variable(json, path, "variable"),
                timeout: self.number(json, path, "timeout", ANY),
            },
            "call_interactive" => Action::CallInteractive {
                url: self.url(json, path),
                method: self.method(json, path),
                timeout: self.number(json, path, "timeout", REQUEST_S),
            },
            "set_caller_id_number" => {
                Action::SetCallerIdNumber { value: self.needed_text(json, path, "value") }
            }
            "set_caller_id_name" => Action::SetCallerIdName { value: self.needed_text(json, path, "value") },
            "match_variable" => Action::MatchVariable {
                variable: self.variable(json, path, "variable"),
                value: self.needed_text(json, path, "value"),
                context: self.place(json, path),
                option: self.text(json, path, "option"),
            },
            "quality_rate" => Action::QualityRate,
            // The table has no other.
            _ => Action::VoiceHelper,
        })
    }

    // --- What actions hold.

    fn numbers(&mut self, json: &Json, path: &str) -> Vec<String> {
        let Some(list) = given(json, "numbers") else {
            self.missing(json, path, "numbers");
            return Vec::new();
        };
        let place = joined(path, "numbers");
        let items = self.list(list, &place);
        if matches!(list.value, Value::List(_)) && !(1..=NUMBERS_MAX).contains(&items.len()) {
            self.fault(list.at, format!("{place}: 1 to {NUMBERS_MAX} numbers are needed"));
        }
        for (n, item) in items.iter().enumerate() {
            if !item.text().is_some_and(is_number) {
                let wanted = "a number in quotation marks is needed: digits, letters, + * #";
                self.fault(item.at, format!("{place}[{n}]: {wanted}"));
            }
        }
        items.iter().filter_map(Json::text).map(str::to_owned).collect()
    }

    fn variable(&mut self, json: &Json, path: &str, key: &str) -> String {
        let name = self.needed_text(json, path, key);
        if let Some(value) = given(json, key).filter(|value| value.text().is_some() && !is_variable(&name)) {
            let shown = shortened(&name);
            self.fault(
                value.at,
                format!("{}: `{shown}` cannot be the name of a variable", joined(path, key)),
            );
        }
        name
    }

    /// A context that there is.
    fn place(&mut self, json: &Json, path: &str) -> u32 {
        if given(json, "context").is_none() {
            self.missing(json, path, "context");
        }
        let id = self.number(json, path, "context", (0, u64::from(u32::MAX)));
        if let (Some(id), Some(value)) = (id, given(json, "context"))
            && !self.contexts.contains(&id)
        {
            self.fault(value.at, format!("{path}.context: there is no context {id}"));
        }
        id.and_then(|id| u32::try_from(id).ok()).unwrap_or(0)
    }

    fn url(&mut self, json: &Json, path: &str) -> String {
        let url = self.needed_text(json, path, "url");
        let Some(value) = given(json, "url").filter(|value| value.text().is_some()) else { return url };
        if address::absolute(&url).is_none() {
            self.fault(value.at, format!("{path}.url: an http or https address is needed"));
        } else if has_variable_host(&url) {
            self.fault(value.at, format!("{path}.url: {HOST_WORDS}"));
        } else if let Some(entry) = address::guarded(&url) {
            let subject = format!("{path}.url: {}", address::allowing(&entry));
            self.add("TR-HOOK-GUARDED", false, value.at, subject);
        }
        url
    }

    fn method(&mut self, json: &Json, path: &str) -> Ask {
        match self.text(json, path, "method").as_deref() {
            Some("POST" | "post") => Ask::Post,
            Some("GET" | "get") | None => Ask::Get,
            Some(_) => {
                let at = given(json, "method").map_or(json.at, |value| value.at);
                self.fault(at, format!("{path}.method: GET or POST is needed"));
                Ask::Get
            }
        }
    }
}

/// What is said of an address with a variable in its host.
pub(super) const HOST_WORDS: &str = "the host must be written out; variables stand in the query alone";

/// True if a variable would choose the host that is asked.
pub(super) fn has_variable_host(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().is_some_and(|host| host.contains('$'))
}

/// The value of a key; `null` is none.
fn given<'a>(json: &'a Json, key: &str) -> Option<&'a Json> {
    json.get(key).filter(|value| value.value != Value::Null)
}

fn joined(path: &str, key: &str) -> String {
    let key = shortened(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let (_, found) = read(text.as_bytes());
        let told = found.iter().map(|f| format!("{} {}:{} {}", f.code, f.line, f.column, f.subject));
        told.collect()
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_place_and_in_plain_words() {
        let text = r#"{"contexts": [
 {"id": 1, "nmae": "x", "timeout_ms": 5, "options": {
  "start": [{"action": "call_interactive", "url": "http://$dest/x", "timeout": 61}, {"action": "dance"}, {}],
  "abc": [],
  "1": [{"action": "jump_to_context", "context": 7}, {"action": "transfer", "numbers": ["201", 202]}],
  "2": [{"action": "set_variable", "name": "1a"}, {"action": "simple_transfer", "numbers": ["201"], "final": "no"}]}},
 {"id": 1, "options": {}}, []], "x": 1, "lifetime_exp_action": [{"action": "hangup", "now": true}]}"#;
        let found = told(text);
        for expected in [
            "TR-FLOW-VALUE 2:20 contexts[0].nmae: not a key here; known are id, name, timeout_ms, interdigit_ms, options",
            "TR-FLOW-VALUE 2:39 contexts[0].timeout_ms: a whole number from 100 to 600000 is needed",
            "TR-FLOW-VALUE 3:51 contexts[0].options.start[0].url: the host must be written out; variables stand in the query alone",
            "TR-FLOW-VALUE 3:80 contexts[0].options.start[0].timeout: a whole number from 1 to 60 is needed",
            "TR-FLOW-VALUE 3:96 contexts[0].options.start[1].action: `dance` is no action; there are ",
            "TR-FLOW-VALUE 3:106 contexts[0].options.start[2].action: this key is needed",
            "TR-FLOW-VALUE 4:10 contexts[0].options.abc: no option of that name; ",
            "TR-FLOW-VALUE 5:50 contexts[0].options.1[0].context: there is no context 7",
            "TR-FLOW-VALUE 5:96 contexts[0].options.1[1].numbers[1]: a number in quotation marks is needed",
            "TR-FLOW-VALUE 6:44 contexts[0].options.2[0].name: `1a` cannot be the name of a variable",
            "TR-FLOW-VALUE 6:9 contexts[0].options.2[0].value: this key is needed",
            "TR-FLOW-VALUE 6:110 contexts[0].options.2[1].final: true or false is needed",
            "TR-FLOW-VALUE 7:9 contexts[1].id: 1 is there twice",
            "TR-FLOW-VALUE 7:28 contexts[2]: an object is needed",
            "TR-FLOW-VALUE 7:38 x: not a key here",
            "TR-FLOW-VALUE 7:93 lifetime_exp_action[0].now: not a key here; known are action",
        ] {
            assert!(found.iter().any(|found| found.starts_with(expected)), "{expected}\n{found:#?}");
        }
        assert_eq!(found.len(), 16, "{found:#?}");
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        assert_eq!(told("{\n \"contexts\": [}"), ["TR-FLOW-JSON 2:15 document"]);
        assert_eq!(told("{"), ["TR-FLOW-JSON 1:2 document"]);
    }
}
