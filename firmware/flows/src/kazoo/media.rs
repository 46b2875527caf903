//! What callers are made to hear: media ids, built-in prompts, spoken text.

use std::time::Duration;

use tipring_model::prompt::{Beep, Gender, PromptSource, Speech};

use super::flow::KazooFlow;
use super::keys::{Data, TONE};
use crate::address;
use crate::json::Json;

/// The language of the call, as BCP 47 writes it.
#[derive(Clone, Default, Debug)]
pub(super) struct Language(Option<String>);

impl Language {
    /// `en-us` is `en-US`.
    pub(super) fn new(text: &str) -> Self {
        Self(Some(match text.split_once(['-', '_']) {
            Some((language, country)) => {
                format!("{}-{}", language.to_ascii_lowercase(), country.to_ascii_uppercase())
            }
            None => text.to_ascii_lowercase(),
        }))
    }

    /// That of the user who calls, if he has one.
    pub(super) fn of_caller(flow: &KazooFlow) -> Self {
        flow.caller_user_value("language").map_or_else(Self::default, |text| Self::new(&text))
    }

    /// `en-US` where nothing has been set.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("en-US")
    }

    pub(super) fn set(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// Built-in prompts, by the names that the platform gives them.
const WORDS: [(&str, &str); 31] = [
    ("agent-invalid_choice", "That is not possible."),
    ("cf-enter_number", "Please enter the number for your calls, and press pound."),
    ("cf-main_menu_active", "Forwarding is on. Press 1 to switch it off, or 2 to change the number."),
    ("cf-main_menu_inactive", "Forwarding is off. Press 1 to switch it on, or 2 to change the number."),
    ("cf-now_forwarded_to", "Your calls are forwarded."),
    ("cf-disabled", "Your calls are no longer forwarded."),
    ("conf-enter_conf_pin", "Please enter the PIN of the conference, and press pound."),
    ("conf-enter_conf_number", "Please enter the number of the conference, and press pound."),
    ("conf-bad_conf", "There is no such conference."),
    ("conf-bad_pin", "That PIN is wrong."),
    ("conf-welcome", "Welcome to the conference."),
    ("conf-full", "The conference is full."),
    ("cidname-enter_number", "Please enter the number that is to be shown, and press pound."),
    ("dir-enter_person", "Please enter the first letters of the name, and press pound."),
    ("dir-no_results_found", "Nobody was found."),
    ("dir-confirm_menu", "Press 1 to call, or 2 for the next."),
    ("disa-enter_pin", "Please enter your PIN, and press pound."),
    ("disa-invalid_pin", "That PIN is wrong."),
    ("dnd-activated", "Do not disturb is on."),
    ("dnd-deactivated", "Do not disturb is off."),
    ("menu-exit", "There was no valid choice."),
    ("menu-invalid_entry", "That is not a valid choice."),
    ("menu-no_prompt", "Please enter the extension."),
    ("menu-transferring_call", "Please hold while you are connected."),
    ("fault-can_not_complete_at_this_time", "This is not possible now."),
    ("followme-accept", "You have a call. Press 1 to take it."),
    ("pickup-no_channels", "There is no call to pick up."),
    ("park-not_found", "There is no call in that place."),
    ("temporal-menu", "Press 1 to switch on, 2 to switch off, or 3 to follow the calendar."),
    ("vm-goodbye", "Goodbye."),
    ("vm-no_access", "This mailbox cannot be reached now. Please call again later."),
];

/// What confirms a change of a setting, beyond [`WORDS`].
const DONE_WORDS: &str = "Done.";

/// Longest tone of a document, in milliseconds.
const TONE_MS_MAX: i64 = 60_000;
/// Tones of one node, repeats counted.
const TONES_MAX: usize = 100;

impl KazooFlow {
    /// The sound behind a media id; none if there can be none.
    pub(super) fn media(&self, id: &str) -> Option<PromptSource> {
        let id = id.trim();
        if id.starts_with("http://") || id.starts_with("https://") {
            return address::absolute(id).map(PromptSource::Url);
        }
        if let Some(silence) = id.strip_prefix("silence_stream://") {
            let length = silence.split(',').next().unwrap_or("").trim();
            // -1 is without end: a day is longer than any call.
            let length = if length == "-1" || silence.ends_with(",-1") {
                Some(86_400_000)
            } else {
                length.parse().ok()
            };
            return length.map(|ms: u64| PromptSource::Silence(Duration::from_millis(ms.min(86_400_000))));
        }
        if let Some(name) = id.trim_start_matches('/').strip_prefix("system_media/") {
            return name.rsplit('/').next().filter(|name| !name.is_empty()).map(|name| self.prompt(name));
        }
        if id.is_empty() || id.contains('/') {
            return None;
        }
        let text = self.app.document.stored.find("media", id).and_then(|media| {
            let is_spoken = media.get("media_source").and_then(Json::text) == Some("tts");
            media.at_path(["tts", "text"]).and_then(Json::text).filter(|_| is_spoken)
        });
        Some(match text {
            Some(text) => self.speech(text),
            None => PromptSource::Library(id.to_owned()),
        })
    }

    /// A built-in prompt, or what the account has put in its place.
    pub(super) fn prompt(&self, name: &str) -> PromptSource {
        let own = self
            .app
            .document
            .stored
            .all("media")
            .find(|(_, media)| media.get("prompt_id").and_then(Json::text) == Some(name));
        if let Some((id, _)) = own {
            return PromptSource::Library(id.to_owned());
        }
        match WORDS.iter().find(|(known, _)| *known == name) {
            Some((_, words)) => words_of(words),
            None => PromptSource::Library(name.to_owned()),
        }
    }

    /// Says that a setting was changed.
    pub(super) fn confirmed(&self) -> PromptSource {
        words_of(DONE_WORDS)
    }

    /// Text in the language of the call.
    pub(super) fn speech(&self, text: &str) -> PromptSource {
        PromptSource::Speech(Speech {
            text: text.to_owned(),
            language: self.language.as_str().to_owned(),
            gender: Gender::Female,
            voice: None,
            is_ssml: false,
        })
    }

    /// The text of a `tts`.
    pub(super) fn spoken(&self, data: Data<'_>) -> PromptSource {
        let language = data.filled("language").map_or_else(|| self.language.clone(), Language::new);
        let voice = data.filled("voice").unwrap_or("female");
        let gender = if matches!(voice, "male" | "man") { Gender::Male } else { Gender::Female };
        let is_name = !matches!(voice, "male" | "man" | "female" | "woman");
        PromptSource::Speech(Speech {
            text: data.text("text").unwrap_or("").to_owned(),
            language: language.as_str().to_owned(),
            gender,
            voice: is_name.then(|| voice.to_owned()),
            is_ssml: false,
        })
    }
}

fn words_of(words: &str) -> PromptSource {
    PromptSource::Speech(Speech {
        text: words.to_owned(),
        language: "en-US".to_owned(),
        gender: Gender::Female,
        voice: None,
        is_ssml: false,
    })
}

/// The tones of a list; none if nothing in it can sound.
pub(super) fn tones<'a>(list: impl Iterator<Item = &'a Json>) -> Option<PromptSource> {
    let mut beeps = Vec::new();
    for tone in list {
        let data = Data::new(TONE, Some(tone));
        let hz: Vec<u16> = data
            .value("frequencies")
            .map_or(&[][..], Json::items)
            .iter()
            .filter_map(|hz| hz.scalar()?.parse().ok())
            .filter(|hz| (100..=3_600).contains(hz))
            .take(2)
            .collect();
        let length = |name: &str, otherwise: i64| {
            let ms = data.integer(name).unwrap_or(otherwise).clamp(0, TONE_MS_MAX);
            Duration::from_millis(u64::try_from(ms).unwrap_or(0))
        };
        if hz.is_empty() {
            continue;
        }
        let beep = Beep { hz, on: length("duration_on", 500), off: length("duration_off", 0) };
        let times = usize::try_from(data.integer("repeat").unwrap_or(1).max(1)).unwrap_or(1);
        beeps.extend(std::iter::repeat_n(beep, times.min(TONES_MAX)));
    }
    beeps.truncate(TONES_MAX);
    (!beeps.is_empty()).then_some(PromptSource::Tones(beeps))
}
