//! `Answer`, `Say`, `Play` and `Pause`.

use std::rc::Rc;
use std::time::Duration;

use tipring_model::DigitSet;
use tipring_model::flow::{Action, Moment, Outcome, Pause};
use tipring_model::prompt::{Gender, Prompt, PromptSource, Speech};

use super::attributes::Attributes;
use super::flow::{Command, OpentactFlow, Waiting};
use super::gather::failure_code;
use super::parse::Name;
use super::record::Found;
use crate::address;
use crate::xml::Element;

const SPEECH_CHARS_MAX: usize = 4_096;
const LOOPS_MAX: u32 = 1_000;
const PAUSE_DEFAULT_MS: u64 = 1_000;
const PAUSE_MAX_MS: u64 = 3_600_000;

impl OpentactFlow {
    pub(super) fn start_answer(&mut self, now: Moment, command: Command) {
        let element = Rc::clone(&command.element);
        let mut attributes = Attributes::of(&element, command.name);
        let delay = attributes.number("delay", 0, PAUSE_MAX_MS).unwrap_or(0);
        self.warn_all(attributes, &command.path);
        let delay = Duration::from_millis(delay);
        if self.answered {
            return self.after_answer(now, command, delay);
        }
        let action = self.act(Action::Answer);
        self.waiting = Waiting::Answer { action, command, delay };
    }

    pub(super) fn after_answer(&mut self, now: Moment, command: Command, delay: Duration) {
        if delay.is_zero() {
            return self.succeed(&command, "");
        }
        let action =
            self.act(Action::Pause(Pause { length: delay, finish: DigitSet::NONE, keeps_key: false }));
        self.waiting = Waiting::Action { action, command, began: now.instant };
    }

    pub(super) fn start_pause(&mut self, now: Moment, command: Command) {
        let element = Rc::clone(&command.element);
        let (length, finish) = self.pause_length(&element, &command.path);
        let keeps_key = self.leads_to_gather();
        let finish = if keeps_key { DigitSet::ALL } else { finish };
        let action = self.act(Action::Pause(Pause { length, finish, keeps_key }));
        self.waiting = Waiting::Action { action, command, began: now.instant };
    }

    /// Length and stop keys of a Pause.
    pub(super) fn pause_length(&mut self, element: &Element, path: &str) -> (Duration, DigitSet) {
        let mut attributes = Attributes::of(element, Name::Pause);
        let length = attributes.number("length", 0, u64::MAX).unwrap_or(PAUSE_DEFAULT_MS).min(PAUSE_MAX_MS);
        let finish = attributes.text("dtmf_stop").map_or(DigitSet::NONE, DigitSet::of);
        self.warn_all(attributes, path);
        (Duration::from_millis(length), finish)
    }

    pub(super) fn start_say(&mut self, now: Moment, command: Command) {
        let element = Rc::clone(&command.element);
        let prompt = self.say_prompt(&element, &command.path);
        self.start_prompt(now, command, prompt);
    }

    pub(super) fn start_play(&mut self, now: Moment, command: Command) {
        let element = Rc::clone(&command.element);
        let named = element.attribute("url").is_none() && element.text.trim().is_empty();
        if named
            && let Some(tag) = element.attribute("record")
            && let Found::Running(action) = self.recordings.find(tag)
        {
            self.cancel(action);
            self.waiting = Waiting::RecordThenPlay { action, command };
            return;
        }
        let prompt = self.play_prompt(&element, &command.path);
        self.start_prompt(now, command, prompt);
    }

    fn start_prompt(&mut self, now: Moment, command: Command, prompt: Result<Option<Prompt>, &'static str>) {
        match prompt {
            Err(code) => self.fail(&command, code),
            Ok(None) => self.succeed(&command, ""),
            Ok(Some(mut prompt)) => {
                if self.leads_to_gather() {
                    prompt.barge_in = DigitSet::ALL;
                }
                let action = self.act(Action::Prompt(prompt));
                self.waiting = Waiting::Action { action, command, began: now.instant };
            }
        }
    }

    /// What a Say is heard as; `None` for empty text.
    pub(super) fn say_prompt(
        &mut self,
        element: &Element,
        path: &str,
    ) -> Result<Option<Prompt>, &'static str> {
        let mut attributes = Attributes::of(element, Name::Say);
        let written = attributes.text("text").unwrap_or(&element.text).trim();
        // "WaveNet" asks for the best voice; the box has one quality.
        attributes.choice("type", &["WaveNet", "Standard"]);
        let gender = match attributes.choice("gender", &["FEMALE", "MALE"]) {
            Some(1) => Gender::Male,
            Some(_) | None => Gender::Female,
        };
        let voice = attributes.text("code").map(str::trim).filter(|code| !code.is_empty());
        let language = attributes.text("lang").map_or("en-US", str::trim);
        let loops = attributes.number("loop", 1, LOOPS_MAX).unwrap_or(1);
        self.warn_all(attributes, path);
        if written.chars().count() > SPEECH_CHARS_MAX {
            return Err("TR-FLOW-SPEECH-LENGTH");
        }
        if written.is_empty() {
            return Ok(None);
        }
        let speech = Speech {
            text: written.to_owned(),
            language: language.to_owned(),
            gender,
            is_ssml: false,
            voice: voice.map(str::to_owned),
        };
        Ok(Some(Prompt { loops, ..Prompt::once(PromptSource::Speech(speech)) }))
    }

    /// What a Play is heard as.
    pub(super) fn play_prompt(
        &mut self,
        element: &Element,
        path: &str,
    ) -> Result<Option<Prompt>, &'static str> {
        let mut attributes = Attributes::of(element, Name::Play);
        let loops = attributes.number("loop", 1, LOOPS_MAX).unwrap_or(1);
        let leg = attributes.choice("leg", &["aleg", "bleg", "both"]);
        if leg.is_some_and(|at| at > 0) {
            // A Dial blocks the flow, so nobody is bridged while a Play runs.
            attributes.note("leg", "TR-FLOW-NO-PEER");
        }
        let url = attributes.text("url").unwrap_or(&element.text).trim();
        let tag = attributes.text("record");
        self.warn_all(attributes, path);
        let source = if !url.is_empty() {
            PromptSource::Url(address::resolve(self.base.as_deref(), url).ok_or("TR-HOOK-URL")?)
        } else if let Some(tag) = tag {
            match self.recordings.find(tag) {
                Found::Finished(action) | Found::Running(action) => PromptSource::Recording(action),
                Found::Nothing => return Err("TR-AUDIO-MISSING"),
            }
        } else {
            return Err("TR-FLOW-ATTRIBUTE-MISSING");
        };
        Ok(Some(Prompt { loops, ..Prompt::once(source) }))
    }

    /// A prompt, pause or other simple action is over.
    pub(super) fn after_action(&mut self, command: &Command, outcome: &Outcome) {
        if let Outcome::Failed(_) | Outcome::LegGone = outcome {
            return self.fail(command, failure_code(outcome));
        }
        if let Outcome::Interrupted(_) = outcome {
            self.loads.digit();
            self.skip_fillers_before_gather();
        }
        self.succeed(command, "");
    }

    fn skip_fillers_before_gather(&mut self) {
        if self.leads_to_gather() {
            self.skip_fillers();
        }
    }
}
