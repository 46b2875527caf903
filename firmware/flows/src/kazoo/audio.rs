//! Modules that the caller hears: answer, play, tts, tones, response and the like.

use std::time::Duration;

use jiff::tz::TimeZone;
use tipring_model::flow::{Action, Detect, Detected, Moment, Outcome, Pause};
use tipring_model::prompt::{Gender, Prompt, PromptSource, Speech};
use tipring_model::{Cause, DigitSet, Digits};

use super::flow::{KazooFlow, Next, Then, seconds};
use super::keys::{self, Data};
use super::media::{Language, tones};
use super::say;
use crate::json::Json;

/// Longest `sleep`.
const SLEEP_MAX: Duration = Duration::from_secs(86_400);
/// How long `fax_detect` listens when it does not say.
const LISTEN: u64 = 5;
/// Sounds of one `audio_macro`.
const MACROS_MAX: usize = 50;
/// No call lasts longer.
const ENDLESS: Duration = Duration::from_secs(86_400);

impl KazooFlow {
    pub(super) fn answer(&mut self) -> Next {
        if self.answered {
            return Next::on();
        }
        // Nothing is heard yet: the moment of silence comes before the first sound.
        self.act(Action::Answer, Then::Do(Next::on()))
    }

    pub(super) fn play(&mut self, data: Data<'_>) -> Next {
        let Some(source) = data.filled("id").and_then(|id| self.media(id)) else {
            return self.fail("TR-AUDIO-MISSING");
        };
        if data.toggle("answer") != Some(false)
            && let Some(next) = self.answer_first()
        {
            return next;
        }
        let count = u32::try_from(data.count("loop_count").unwrap_or(1)).unwrap_or(u32::MAX);
        let loops = if data.is("endless_playback") { u32::MAX } else { count.max(1) };
        self.play_source(source, loops, data.digits("terminators"))
    }

    pub(super) fn tts(&mut self, data: Data<'_>) -> Next {
        if let Some(next) = self.answer_first() {
            return next;
        }
        let loops = if data.is("endless_playback") { u32::MAX } else { 1 };
        let source = self.spoken(data);
        self.play_source(source, loops, data.digits("terminators"))
    }

    fn play_source(&mut self, source: PromptSource, loops: u32, barge_in: DigitSet) -> Next {
        self.act(Action::Prompt(Prompt { source, loops, barge_in }), Then::Do(Next::on()))
    }

    pub(super) fn tones(&mut self, data: Data<'_>) -> Next {
        let list = data.value("tones").map_or(&[][..], Json::items);
        let Some(source) = tones(list.iter()) else { return Next::on() };
        if let Some(next) = self.answer_first() {
            return next;
        }
        self.say(source, Next::on())
    }

    /// Several sounds as one queue: a key stops what is left of them.
    pub(super) fn audio_macro(&mut self, now: Moment, data: Data<'_>) -> Next {
        if let Some(next) = self.answer_first() {
            return next;
        }
        let keys = data.digits("terminators");
        let mut prompts = Vec::new();
        for item in data.value("macros").map_or(&[][..], Json::items).iter().take(MACROS_MAX) {
            let name = item.get("macro").and_then(Json::text);
            let own = Data::new(keys::of_macro(name.unwrap_or("")), Some(item));
            let source = match name {
                Some("play") => own.filled("id").and_then(|id| self.media(id)),
                Some("prompt") => own.filled("id").map(|id| self.prompt(id)),
                Some("tts") => own.filled("text").map(|_| self.spoken(own)),
                Some("say") => self.said(now, own),
                Some("tone") => tones(std::iter::once(item)),
                Some(_) | None => None,
            };
            prompts.extend(source.map(|source| Prompt { source, loops: 1, barge_in: keys }));
        }
        // A key that stops one is kept, and therefore stops those after it, too.
        prompts.into_iter().rev().fold(Next::on(), |next, prompt| Next::Say(Box::new(prompt), Box::new(next)))
    }

    /// What a `say` says; nothing without a text, unless it is the time.
    fn said(&self, now: Moment, data: Data<'_>) -> Option<PromptSource> {
        let kind = data.filled("type").unwrap_or("");
        let text = data.filled("text").unwrap_or("");
        if text.is_empty() && !kind.starts_with("current_") && kind != "short_date_time" {
            return None;
        }
        let language = data.filled("language").map_or_else(|| self.language.clone(), Language::new);
        let method = data.filled("method").unwrap_or("pronounced");
        let zone = TimeZone::get(&self.app.directory.time_zone).unwrap_or(TimeZone::UTC);
        let manner = say::Manner { kind, method, language: language.as_str() };
        Some(PromptSource::Speech(Speech {
            text: say::words(text, manner, now.unix_ms, &zone),
            language: language.as_str().to_owned(),
            gender: if data.text("gender") == Some("masculine") { Gender::Male } else { Gender::Female },
            voice: None,
            is_ssml: false,
        }))
    }

    pub(super) fn sleep(&mut self, data: Data<'_>) -> Next {
        let count = data.count("duration").unwrap_or(0);
        let unit_ms: u64 = match data.text("unit") {
            Some("ms") => 1,
            Some("m") => 60_000,
            Some("h") => 3_600_000,
            Some(_) | None => 1_000,
        };
        let length = Duration::from_millis(count.saturating_mul(unit_ms)).min(SLEEP_MAX);
        let pause = Pause { length, finish: DigitSet::NONE, keeps_key: false };
        self.act(Action::Pause(pause), Then::Do(Next::on()))
    }

    /// Silence until the caller hangs up.
    pub(super) fn dead_air(&mut self) -> Next {
        let is_silent = self.node().is_some_and(|node| node.module == keys::Module::DeadAir);
        if is_silent && let Some(next) = self.answer_first() {
            return next;
        }
        let pause = Pause { length: ENDLESS, finish: DigitSet::NONE, keeps_key: false };
        self.act(Action::Pause(pause), Then::Do(Next::Stop))
    }

    /// Refuses the call, or says something and hangs up if it is answered.
    pub(super) fn response(&mut self, data: Data<'_>) -> Next {
        let code = data.integer("code").and_then(|code| u16::try_from(code).ok()).unwrap_or(486);
        let cause = if code < 300 { Cause::NormalClearing } else { Cause::from_sip_status(code) };
        let over = Next::Over(cause, "response");
        match data.filled("media").and_then(|media| self.media(media)) {
            Some(source) if self.answered => self.say(source, over),
            Some(_) => {
                // Sound before the answer is not to be had: the refusal goes out by itself.
                if let Some(node) = self.node() {
                    self.warn_key(&node, "TR-FLOW-KEY-UNUSED", "media");
                }
                over
            }
            None => over,
        }
    }

    pub(super) fn send_dtmf(&mut self, data: Data<'_>) -> Next {
        let written = data.text("digits").unwrap_or("");
        let digits: Digits = written.chars().filter_map(tipring_model::Digit::from_char).collect();
        if digits.is_empty() {
            return self.fail("TR-FLOW-KEY-RANGE");
        }
        if let Some(next) = self.answer_first() {
            return next;
        }
        self.act(Action::SendDigits(digits), Then::Do(Next::on()))
    }

    pub(super) fn fax_detect(&mut self, data: Data<'_>) -> Next {
        if let Some(next) = self.answer_first() {
            return next;
        }
        let length_max = seconds(data.count("duration").filter(|count| *count > 0).unwrap_or(LISTEN));
        self.act(Action::Detect(Detect { length_max, fax: true, voice: false }), Then::Detected)
    }

    pub(super) fn detected(outcome: &Outcome) -> Next {
        let is_fax = *outcome == Outcome::Detected(Detected::Fax);
        Next::Go(if is_fax { "ON_FAX" } else { "ON_VOICE" }.to_owned())
    }
}
