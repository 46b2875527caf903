//! `Say`, `Play`, `Pause` and `Echo`.

use std::rc::Rc;
use std::time::Duration;

use tipring_model::flow::{Action, Moment, Pause};
use tipring_model::prompt::{Beep, Gender, Prompt, PromptSource, Speech};
use tipring_model::{Digit, DigitSet, Digits};

use super::attributes::{Attributes, BAD_VALUE};
use super::flow::TwimlFlow;
use super::names::Name;
use super::script::{Script, Then, Verb};
use super::settings::Profile;
use super::speech;
use crate::address;
use crate::xml::Element;

/// Most repetitions, which is also what "for ever" means.
const LOOPS_MAX: u64 = 1_000;
const PAUSE_MAX_SECS: u64 = 3_600;
const ECHO_SECS: (u64, u64) = (5, 120);
/// Pauses between the digits of a row: `w` and `W`.
const WAIT_SHORT: Duration = Duration::from_millis(500);
const WAIT_LONG: Duration = Duration::from_secs(1);
/// Digits and pauses of one row.
const TONES_MAX: usize = 128;

/// Digits with pauses between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Tone {
    Digit(Digit),
    Wait(Duration),
}

/// The digits 0 to 9, * and #, A to D, and the pauses w and W; `None` if there is anything else.
pub(super) fn tones(text: &str) -> Option<Vec<Tone>> {
    let tones = text.chars().map(|c| match c {
        'w' => Some(Tone::Wait(WAIT_SHORT)),
        'W' => Some(Tone::Wait(WAIT_LONG)),
        'a'..='d' => None,
        _ => Digit::from_char(c).map(Tone::Digit),
    });
    tones.collect::<Option<Vec<_>>>().filter(|tones| tones.len() <= TONES_MAX)
}

/// What sends `tones` to the far end, in order.
pub(super) fn tone_actions(tones: &[Tone]) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut digits = Digits::new();
    for tone in tones {
        match tone {
            Tone::Digit(digit) => digits.push(*digit),
            Tone::Wait(length) => {
                if !digits.is_empty() {
                    actions.push(Action::SendDigits(std::mem::take(&mut digits)));
                }
                actions.push(pause(*length));
            }
        }
    }
    if !digits.is_empty() {
        actions.push(Action::SendDigits(digits));
    }
    actions
}

/// The same as sound, for a prompt: ITU-T Q.23 frequencies.
fn tone_sounds(tones: &[Tone]) -> PromptSource {
    const ROWS: [u16; 4] = [697, 770, 852, 941];
    const COLUMNS: [u16; 4] = [1_209, 1_336, 1_477, 1_633];
    const ON: Duration = Duration::from_millis(100);
    let mut beeps: Vec<Beep> = Vec::new();
    for tone in tones {
        match tone {
            Tone::Digit(digit) => {
                let place = "123A456B789C*0#D".find(digit.as_char()).unwrap_or(0);
                let row = ROWS.get(place / 4).copied();
                let column = COLUMNS.get(place % 4).copied();
                beeps.push(Beep { hz: row.into_iter().chain(column).collect(), on: ON, off: ON });
            }
            Tone::Wait(length) => match beeps.last_mut() {
                Some(beep) => beep.off += *length,
                None => beeps.push(Beep { hz: Vec::new(), on: Duration::ZERO, off: *length }),
            },
        }
    }
    PromptSource::Tones(beeps)
}

/// Does nothing for a while.
pub(super) const fn pause(length: Duration) -> Action {
    Action::Pause(Pause { length, finish: DigitSet::NONE, keeps_key: false })
}

impl TwimlFlow {
    pub(super) fn start_say(&mut self, now: Moment, script: &mut Script, verb: Verb) {
        let element = Rc::clone(&verb.element);
        match self.say_prompt(&element, &verb.path) {
            Some(prompt) => self.row(now, script, verb, [Action::Prompt(prompt)], Then::Next),
            None => self.succeed(script, &verb, "empty"),
        }
    }

    /// What a Say says; `None` for no words.
    pub(super) fn say_prompt(&mut self, element: &Element, path: &str) -> Option<Prompt> {
        let mut attributes = Attributes::of(element, Name::Say);
        let loops = loops(&mut attributes);
        let wanted = attributes.word("voice");
        let voice = speech::voice(wanted, self.terms.voice);
        if !voice.is_known {
            attributes.note("voice", "TR-FLOW-VOICE");
        }
        let language = attributes.word("language").map(str::to_owned).or(voice.language);
        self.warn_all(attributes, path);
        let words = speech::words(element);
        if words.is_cut {
            self.warn("TR-FLOW-SPEECH-CUT", path);
        }
        if words.is_odd {
            self.warn("TR-FLOW-CHILD-IGNORED", path);
        }
        (!words.text.is_empty()).then(|| Prompt {
            loops,
            ..Prompt::once(PromptSource::Speech(Speech {
                text: words.text,
                language: language.unwrap_or_else(|| self.terms.language.clone()),
                gender: if voice.is_male { Gender::Male } else { Gender::Female },
                voice: None,
                is_ssml: words.is_ssml,
            }))
        })
    }

    pub(super) fn start_play(&mut self, now: Moment, script: &mut Script, verb: Verb) {
        let element = Rc::clone(&verb.element);
        match self.play_parts(&element, script.base.as_deref(), &verb.path) {
            Err(code) => self.fail(script, &verb, code),
            Ok((digits, prompt)) => {
                let actions = digits.iter().flat_map(|tones| tone_actions(tones));
                let actions: Vec<Action> = actions.chain(prompt.map(Action::Prompt)).collect();
                self.row(now, script, verb, actions, Then::Next);
            }
        }
    }

    /// The digits and the sound of a Play.
    fn play_parts(
        &mut self,
        element: &Element,
        base: Option<&str>,
        path: &str,
    ) -> Result<(Option<Vec<Tone>>, Option<Prompt>), &'static str> {
        let mut attributes = Attributes::of(element, Name::Play);
        let loops = loops(&mut attributes);
        let written = attributes.word("digits");
        let digits = written.and_then(tones);
        let is_bad = written.is_some() && digits.is_none();
        if is_bad {
            attributes.note("digits", BAD_VALUE);
        }
        self.warn_all(attributes, path);
        if is_bad {
            return Err(BAD_VALUE);
        }
        let text = element.text.trim();
        if text.is_empty() {
            return if digits.is_some() { Ok((digits, None)) } else { Err("TR-FLOW-ATTRIBUTE-MISSING") };
        }
        // In Pivot, what looks like no address is the name of a sound of the account.
        let source = if self.terms.profile == Profile::Pivot && !text.contains(['/', ':', '.']) {
            PromptSource::Library(text.to_owned())
        } else {
            PromptSource::Url(address::resolve(base, text).ok_or("TR-HOOK-URL")?)
        };
        Ok((digits, Some(Prompt { loops, ..Prompt::once(source) })))
    }

    /// What a Play inside a Gather plays; nothing that fails.
    pub(super) fn play_prompts(&mut self, element: &Element, base: Option<&str>, path: &str) -> Vec<Prompt> {
        match self.play_parts(element, base, path) {
            Err(code) => {
                self.warn(code, path);
                Vec::new()
            }
            Ok((digits, prompt)) => {
                let digits = digits.map(|tones| Prompt::once(tone_sounds(&tones)));
                digits.into_iter().chain(prompt).collect()
            }
        }
    }

    pub(super) fn start_pause(&mut self, now: Moment, script: &mut Script, verb: Verb) {
        let element = Rc::clone(&verb.element);
        let length = self.pause_length(&element, &verb.path);
        self.row(now, script, verb, [pause(length)], Then::Next);
    }

    /// How long a Pause is.
    pub(super) fn pause_length(&mut self, element: &Element, path: &str) -> Duration {
        let mut attributes = Attributes::of(element, Name::Pause);
        let length = attributes.number("length", 1, (0, PAUSE_MAX_SECS));
        self.warn_all(attributes, path);
        Duration::from_secs(length)
    }

    pub(super) fn start_echo(&mut self, now: Moment, script: &mut Script, verb: Verb) {
        let element = Rc::clone(&verb.element);
        let mut attributes = Attributes::of(&element, Name::Echo);
        let length = attributes.number("timeout", 60, ECHO_SECS);
        self.warn_all(attributes, &verb.path);
        self.row(now, script, verb, [Action::Echo(Duration::from_secs(length))], Then::Next);
    }
}

/// How often something is heard.
fn loops(attributes: &mut Attributes<'_>) -> u32 {
    let loops = match attributes.number("loop", 1, (0, LOOPS_MAX)) {
        0 => LOOPS_MAX,
        loops => loops,
    };
    u32::try_from(loops).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_digits_keeps_its_pauses() {
        let row = tones("1w2W#").unwrap();
        let texts: Vec<String> = tone_actions(&row).iter().map(|action| format!("{action:?}")).collect();
        assert_eq!(texts.len(), 5);
        assert!(texts[1].contains("500ms") && texts[3].contains("1s"), "{texts:?}");
        for bad in ["1x", "1 2", "+1", "a"] {
            assert_eq!(tones(bad), None, "{bad}");
        }
        assert_eq!(tones(&"1".repeat(TONES_MAX + 1)), None);
        let PromptSource::Tones(beeps) = tone_sounds(&row) else { panic!("no tones") };
        assert_eq!(beeps.len(), 3);
        assert_eq!(beeps[0].hz, [697, 1_209]);
        assert_eq!(beeps[0].off.as_millis(), 600);
        assert_eq!(beeps[2].hz, [941, 1_477]);
    }
}
