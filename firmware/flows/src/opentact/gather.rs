//! `Gather`: prompts, digits, and where they lead (`spec/opentact.md` §5.6).

use std::rc::Rc;
use std::time::Duration;

use tipring_model::fetch::Method;
use tipring_model::flow::{Action, Collect, Collected, Moment, Outcome};
use tipring_model::prompt::{Prompt, PromptSource};
use tipring_model::{Digit, DigitSet};

use super::attributes::{Attributes, BAD_VALUE, child_path};
use super::flow::{Command, FrameKind, OpentactFlow, Waiting, child_named};
use super::params::Attempt;
use super::parse::Name;
use super::request::{Fetching, document_request};
use super::settings::DefaultMeans;
use crate::address;
use crate::xml::Element;

/// A Gather under way.
pub(super) struct Gather {
    pub(super) command: Command,
    collect: Collect,
    attempts_left: u32,
    history: Vec<Attempt>,
    callback: Option<(String, Method)>,
    url: Option<String>,
}

impl Gather {
    fn code(&self) -> &str {
        self.history.last().map_or("", |attempt| attempt.code.as_str())
    }
}

const DIGITS_MAX: usize = 32;
const ATTEMPTS_MAX: u32 = 10;
const TIMEOUT_DEFAULT_MS: u64 = 10_000;
const TIMEOUT_MAX_MS: u64 = 3_600_000;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

impl OpentactFlow {
    pub(super) fn start_gather(&mut self, now: Moment, command: Command) {
        let element = Rc::clone(&command.element);
        let mut attributes = Attributes::of(&element, command.name);
        let lengths = ["dtmf_length", "length", "numDigits"].map(|key| attributes.number(key, 1, DIGITS_MAX));
        let digits_max = lengths.into_iter().flatten().next().unwrap_or(1);
        let finish = finish_keys(&mut attributes);
        let total = attributes.number("timeout", 1, TIMEOUT_MAX_MS).unwrap_or(TIMEOUT_DEFAULT_MS);
        let attempts_left = attributes.number("attempts", 1, ATTEMPTS_MAX).unwrap_or(1);
        let method = attributes.choice("method", &["GET", "POST"]);
        let method = if method == Some(1) { Method::Post } else { Method::Get };
        let mut address = |key: &str| {
            let text = attributes.text(key)?;
            let url = address::resolve(self.base.as_deref(), text);
            if url.is_none() {
                attributes.note(key, "TR-HOOK-URL");
            }
            url
        };
        let callback = address("callback").map(|url| (url, method));
        let url = address("url");
        self.warn_all(attributes, &command.path);
        let prompts = self.fillers(&element, &command.path);
        let collect = Collect {
            prompts,
            digits_max,
            finish,
            first_digit: None,
            between_digits: None,
            total: Some(Duration::from_millis(total)),
            typed_ahead: true,
        };
        let gather = Gather { command, collect, attempts_left, history: Vec::new(), callback, url };
        self.attempt(now, Box::new(gather));
    }

    /// The fillers inside the Gather. One that cannot be heard is left out.
    fn fillers(&mut self, element: &Element, path: &str) -> Vec<Prompt> {
        let mut prompts = Vec::new();
        for (at, child) in element.children.iter().enumerate() {
            let path = child_path(path, child, at);
            let filler = match Name::of(&child.name) {
                Some(Name::Say) => self.say_prompt(child, &path),
                Some(Name::Play) => self.play_prompt(child, &path),
                Some(Name::Pause) => {
                    let (length, _) = self.pause_length(child, &path);
                    Ok(Some(Prompt::once(PromptSource::Silence(length))))
                }
                Some(_) | None => continue,
            };
            match filler {
                Ok(prompt) => prompts.extend(prompt),
                Err(code) => self.warn(code, &path),
            }
        }
        prompts
    }

    fn attempt(&mut self, now: Moment, mut gather: Box<Gather>) {
        gather.attempts_left -= 1;
        let action = self.act(Action::Collect(gather.collect.clone()));
        self.waiting = Waiting::Gather { action, gather, began: now.instant };
    }

    pub(super) fn after_collect(&mut self, now: Moment, mut gather: Box<Gather>, outcome: Outcome) {
        let Outcome::Collected(Collected { digits, .. }) = outcome else {
            return self.fail(&gather.command, failure_code(&outcome));
        };
        if !digits.is_empty() {
            self.loads.digit();
        }
        let attempts = u32::try_from(gather.history.len()).unwrap_or(u32::MAX) + 1;
        let (code, success) = (digits.to_string(), !digits.is_empty());
        gather.history.push(Attempt { code, attempts, success });
        match gather.callback.clone() {
            None => self.branch(now, gather),
            Some((url, method)) => {
                let attempts = attempts.to_string();
                let success = if success { "true" } else { "false" };
                let fields = [("code", gather.code()), ("attempts", &attempts), ("success", success)];
                let url = address::with_query(&url, &fields);
                let entity = (method == Method::Post).then(|| self.entity(now, Some(&gather.history)));
                let document = self.copy_key_of(gather.code(), method, &url, &gather.command);
                let request = document_request(method, url, entity, REQUEST_TIMEOUT);
                self.load(now, request, document, Fetching::Attempt(gather));
            }
        }
    }

    /// Rows 2 to 6 of the table: where the digits lead.
    pub(super) fn branch(&mut self, now: Moment, gather: Box<Gather>) {
        let command = gather.command.clone();
        let code = gather.code().to_owned();
        if let Some((path, block)) = branch_for(&command, &code) {
            self.succeed(&command, "matched");
            return self.enter(block, path, FrameKind::Plain);
        }
        if !code.is_empty()
            && let Some(url) = gather.url.clone()
        {
            let Some(facts) = &self.facts else { return };
            let (call, sca) = (facts.id.to_string(), self.app.uuid.to_string());
            let fields = [
                ("dtmf", code.as_str()),
                ("from", facts.from.number_or_anonymous()),
                ("tn", facts.to.as_str()),
                ("state", self.state().as_str()),
                ("sca", sca.as_str()),
                ("call", call.as_str()),
            ];
            let key = address::with_query(&url, &[("dtmf", &code)]);
            let document = self.copy_key_of(&code, Method::Get, &key, &command);
            let url = address::with_query(&url, &fields);
            let request = document_request(Method::Get, url, None, REQUEST_TIMEOUT);
            return self.load(now, request, document, Fetching::Unmatched(gather));
        }
        if gather.attempts_left > 0 {
            return self.attempt(now, gather);
        }
        let unmatched = !code.is_empty();
        let default_first = unmatched == (self.app.gather_default_means == DefaultMeans::Unmatched);
        let order = if default_first { [Name::Default, Name::Error] } else { [Name::Error, Name::Default] };
        let block = order.into_iter().find_map(|name| Some((name, part(&command, name)?)));
        match block {
            None => self.succeed(&command, "no-branch"),
            Some((name, (path, block))) => {
                let reason = if name == Name::Default { "default" } else { "error" };
                self.succeed(&command, reason);
                self.enter(block, path, FrameKind::Plain);
            }
        }
    }
}

pub(super) fn failure_code(outcome: &Outcome) -> &'static str {
    if let Outcome::Failed(failure) = outcome { failure.code() } else { "TR-FLOW-LEG-STATE" }
}

/// The keys that end a code. Generation 1 documents default to `*`, generation 2
/// ones to `#`.
fn finish_keys(attributes: &mut Attributes<'_>) -> DigitSet {
    let key = ["dtmf_stop", "finishOnKey"].into_iter().find(|key| attributes.text(key).is_some());
    let Some((key, text)) = key.and_then(|key| Some((key, attributes.text(key)?))) else {
        return DigitSet::of(if attributes.text("numDigits").is_some() { "*" } else { "#" });
    };
    let is_key = |c: char| Digit::from_char(c).is_some_and(|digit| digit.event() < 12);
    // `+` is written by generation 1 documents and is no key: it never matches.
    if text.chars().any(|c| !is_key(c) && c != '+' && !c.is_whitespace()) {
        attributes.note(key, BAD_VALUE);
    }
    text.chars().filter(|c| is_key(*c)).filter_map(Digit::from_char).collect()
}

/// The block whose value is exactly `code`.
fn branch_for(command: &Command, code: &str) -> Option<(String, Rc<Element>)> {
    if code.is_empty() {
        return None;
    }
    let direct = find(&command.element, &command.path, |child| {
        Name::of(&child.name) == Some(Name::Dtmf) && child.attribute("value").map(str::trim) == Some(code)
    });
    direct.or_else(|| {
        let (path, switch) = switch(command)?;
        find(&switch, &path, |child| {
            Name::of(&child.name) == Some(Name::Case) && child.attribute("dtmf").map(str::trim) == Some(code)
        })
    })
}

/// `Default` or `Error`, directly inside or inside the Switch.
fn part(command: &Command, name: Name) -> Option<(String, Rc<Element>)> {
    let of_that_name = |child: &Element| Name::of(&child.name) == Some(name);
    find(&command.element, &command.path, of_that_name).or_else(|| {
        let (path, switch) = switch(command)?;
        find(&switch, &path, of_that_name)
    })
}

fn switch(command: &Command) -> Option<(String, Rc<Element>)> {
    let (at, switch) = child_named(&command.element, Name::Switch)?;
    Some((child_path(&command.path, switch, at), Rc::clone(switch)))
}

fn find(owner: &Element, path: &str, wanted: impl Fn(&Element) -> bool) -> Option<(String, Rc<Element>)> {
    let (at, child) = owner.children.iter().enumerate().find(|(_, child)| wanted(child))?;
    Some((child_path(path, child, at), Rc::clone(child)))
}
