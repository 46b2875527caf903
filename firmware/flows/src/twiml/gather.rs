//! `Gather`: prompts, digits, and the document that they lead to.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tipring_model::fetch::Method;
use tipring_model::flow::{Action, Collect, Collected, Moment, Outcome};
use tipring_model::prompt::{Prompt, PromptSource};

use super::attributes::Attributes;
use super::audio::pause;
use super::flow::{TwimlFlow, failure_code};
use super::names::Name;
use super::params::field;
use super::parse::child_path;
use super::script::{Script, Then, Verb, Waiting};
use crate::xml::Element;

/// Most digits of one Gather.
const DIGITS_MAX: u64 = 128;
const TIMEOUT_MAX_SECS: u64 = 600;
const TIMEOUT_SECS: u64 = 5;

/// A Gather under way.
#[derive(Debug)]
pub(super) struct Gather {
    verb: Verb,
    /// Where it leads: a Gather always leads somewhere.
    action: Option<(String, Method)>,
    digits_min: usize,
    tells_empty: bool,
}

impl TwimlFlow {
    /// Where a verb hands over: to its `action`, or to the document that it stands in.
    pub(super) fn action_of(
        &self,
        script: &Script,
        attributes: &mut Attributes<'_>,
        falls_back: bool,
    ) -> Option<(String, Method)> {
        let method = attributes.method("method", self.terms.method);
        match attributes.word("action") {
            // One that is no address is refused where it is sent, and leads to the fallback.
            Some(text) => {
                let url = attributes.url("action", script.base.as_deref());
                Some((url.unwrap_or_else(|| text.to_owned()), method))
            }
            None if falls_back => Some((script.url.clone().unwrap_or_default(), method)),
            None => None,
        }
    }

    pub(super) fn start_gather(&mut self, now: Moment, script: &mut Script, verb: Verb) {
        let (gather, collect) = self.read_gather(script, verb);
        match collect {
            Ok(collect) => {
                let action = self.act(script.leg, Action::Collect(collect));
                script.waiting = Waiting::Gather { action, gather: Box::new(gather), began: now.instant };
            }
            Err(actions) => {
                let verb = gather.verb.clone();
                self.row(now, script, verb, actions, Then::NoInput(Box::new(gather)));
            }
        }
    }

    /// What a Gather asks for: to collect digits, or, where nothing could be understood, what is
    /// heard and waited for instead.
    pub(super) fn read_gather(
        &mut self,
        script: &Script,
        verb: Verb,
    ) -> (Gather, Result<Collect, Vec<Action>>) {
        let element = Rc::clone(&verb.element);
        let mut attributes = Attributes::of(&element, Name::Gather);
        let input = attributes.text("input").map_or("dtmf", str::trim);
        let mut kinds: Vec<&str> = input.split_whitespace().collect();
        kinds.sort_unstable();
        kinds.dedup();
        let is_known = !kinds.is_empty() && kinds.iter().all(|kind| ["dtmf", "speech"].contains(kind));
        let (digits_wanted, speech_wanted) = if is_known {
            (kinds.contains(&"dtmf"), kinds.contains(&"speech"))
        } else {
            attributes.note("input", super::attributes::BAD_VALUE);
            (true, false)
        };
        if speech_wanted {
            attributes.note("input", "TR-FLOW-NO-RECOGNISER");
        }
        let action = self.action_of(script, &mut attributes, true);
        let is_auto = attributes.word("timeout") == Some("auto") && speech_wanted;
        let timeout = if is_auto {
            TIMEOUT_SECS
        } else {
            attributes.number("timeout", TIMEOUT_SECS, (0, TIMEOUT_MAX_SECS))
        };
        let timeout = Duration::from_secs(timeout);
        let finish = attributes.keys("finishOnKey", "#");
        let at_most = if attributes.text("numDigits").is_some() { "numDigits" } else { "maxDigits" };
        let digits_max = attributes.number(at_most, DIGITS_MAX, (1, DIGITS_MAX));
        let digits_min = attributes.number("minDigits", 1, (1, DIGITS_MAX));
        let tells_empty = attributes.toggle("actionOnEmptyResult", false);
        if attributes.word("speechTimeout").is_some_and(|time| time != "auto") {
            attributes.number("speechTimeout", TIMEOUT_SECS, (0, TIMEOUT_MAX_SECS));
        }
        attributes.number("maxSpeechTime", 60, (1, TIMEOUT_MAX_SECS));
        for key in ["profanityFilter", "enhanced", "debug", "bargeIn"] {
            attributes.toggle(key, true);
        }
        self.warn_all(attributes, &verb.path);
        let prompts = self.gather_prompts(&element, script.base.as_deref(), &verb.path);
        let gather =
            Gather { verb, action, digits_min: usize::try_from(digits_min).unwrap_or(1), tells_empty };
        if !digits_wanted {
            let actions = prompts.into_iter().map(Action::Prompt).chain([pause(timeout)]).collect();
            return (gather, Err(actions));
        }
        let collect = Collect {
            prompts,
            digits_max: usize::try_from(digits_max).unwrap_or(1),
            finish,
            first_digit: Some(timeout),
            between_digits: Some(timeout),
            total: None,
            typed_ahead: false,
        };
        (gather, Ok(collect))
    }

    fn gather_prompts(&mut self, element: &Element, base: Option<&str>, path: &str) -> Vec<Prompt> {
        let mut prompts = Vec::new();
        for (at, child) in element.children.iter().enumerate() {
            let path = child_path(path, child, at);
            match Name::of(&child.name) {
                Some(Name::Say) => prompts.extend(self.say_prompt(child, &path)),
                Some(Name::Play) => prompts.extend(self.play_prompts(child, base, &path)),
                Some(Name::Pause) => {
                    let length = self.pause_length(child, &path);
                    prompts.push(Prompt::once(PromptSource::Silence(length)));
                }
                // Warned of with the attributes.
                Some(_) | None => {}
            }
        }
        prompts
    }

    pub(super) fn after_gather(
        &mut self,
        now: Moment,
        script: &mut Script,
        gather: Gather,
        outcome: Outcome,
    ) {
        let Outcome::Collected(Collected { digits, .. }) = outcome else {
            if matches!(outcome, Outcome::Cancelled) {
                script.waiting = Waiting::Idle(None);
                return;
            }
            return self.fail(script, &gather.verb, failure_code(&outcome));
        };
        if digits.len() < gather.digits_min {
            return self.no_input(now, script, gather);
        }
        script.loads.digit();
        self.gathered(now, script, gather, &digits.to_string());
    }

    /// Nothing was pressed, or too little.
    pub(super) fn no_input(&mut self, now: Moment, script: &mut Script, gather: Gather) {
        if gather.tells_empty {
            self.gathered(now, script, gather, "");
        } else {
            self.succeed(script, &gather.verb, "no-input");
        }
    }

    fn gathered(&mut self, now: Moment, script: &mut Script, gather: Gather, digits: &str) {
        match gather.action {
            Some(to) => self.hand_over(now, script, gather.verb, to, vec![field("Digits", digits)]),
            None => self.fail(script, &gather.verb, "TR-HOOK-URL"),
        }
    }
}

/// The whole seconds between two moments.
pub(super) fn seconds_since(now: Moment, began: Instant) -> u64 {
    now.instant.saturating_duration_since(began).as_secs()
}
