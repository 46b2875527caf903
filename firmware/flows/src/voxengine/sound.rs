//! Players: files, spoken text, tones, one after the other.

use std::collections::BTreeMap;

use tipring_model::fetch::FetchError;
use tipring_model::flow::{Action, ActionFailure, Moment, Outcome};
use tipring_model::prompt::{CallTone, Gender, Prompt, PromptSource, Speech};
use tipring_model::{ActionId, DigitSet, LegId};

use super::message::{Command, Source, Told};
use super::requests::file_request;
use super::session::{Session, Work};
use super::tones;

/// Players of one session, with what calls play by themselves.
const PLAYERS_MAX: usize = 64;
const SOURCES_MAX: usize = 20;
/// Longest text that is spoken, in characters.
const SAY_CHARS_MAX: usize = 1_500;
/// What the script is told of a file that does not come in time.
const TOO_SLOW: &str = "Timeout is reached";

/// One player.
#[derive(Debug)]
struct Player {
    sources: Vec<PromptSource>,
    /// Over and over.
    loops: bool,
    at: usize,
    has_begun: bool,
    is_paused: bool,
    actions: Vec<(u32, ActionId)>,
}

/// Every player that is not over.
#[derive(Default, Debug)]
pub(super) struct Players {
    live: BTreeMap<u32, Player>,
}

impl Players {
    pub(super) fn has(&self, player: u32) -> bool {
        self.live.contains_key(&player)
    }

    pub(super) fn is_playing(&self, player: u32) -> bool {
        self.live.get(&player).is_some_and(|player| !player.is_paused)
    }
}

impl Session {
    fn player_event(&mut self, now: Moment, player: u32, event: &'static str, error: Option<String>) {
        self.tell(now, Told::Player { player, event, error });
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not about players is about recorders")]
    pub(super) fn player_command(&mut self, now: Moment, command: Command) {
        match command {
            Command::Play { player, sources, loops } => self.play(now, player, sources, loops),
            Command::Stop { player } => {
                if self.players.live.contains_key(&player) {
                    self.silence(player);
                    self.players.live.remove(&player);
                    self.wiring.player_over(player);
                }
            }
            Command::Pause { player } => {
                if let Some(live) = self.players.live.get_mut(&player) {
                    live.is_paused = true;
                }
            }
            Command::Resume { player } => {
                if let Some(live) = self.players.live.get_mut(&player) {
                    live.is_paused = false;
                }
            }
            other => self.recorder_command(now, &other),
        }
    }

    /// Ends what a player plays now.
    fn silence(&mut self, player: u32) {
        let actions = self.players.live.get_mut(&player).map(|live| std::mem::take(&mut live.actions));
        for (_, action) in actions.unwrap_or_default() {
            self.cancel(action);
        }
    }

    fn play(&mut self, now: Moment, player: u32, sources: Vec<Source>, loops: bool) {
        if self.players.live.contains_key(&player) {
            return;
        }
        let read = if self.players.live.len() >= PLAYERS_MAX || sources.len() > SOURCES_MAX {
            Err("too many players in one session".to_owned())
        } else {
            sources.into_iter().map(|source| self.source(source)).collect::<Result<Vec<_>, _>>()
        };
        match read {
            Err(error) => self.player_event(now, player, "finished", Some(error)),
            Ok(sources) => {
                let live =
                    Player { sources, loops, at: 0, has_begun: false, is_paused: false, actions: Vec::new() };
                self.players.live.insert(player, live);
                self.player_event(now, player, "created", None);
                self.player_event(now, player, "ready", None);
            }
        }
    }

    /// What is played, or why it cannot be.
    fn source(&self, source: Source) -> Result<PromptSource, String> {
        match source {
            Source::Say { say, voice } => {
                let chars = say.chars().count();
                if chars == 0 || chars > SAY_CHARS_MAX {
                    return Err(format!("a text of {chars} characters; there may be 1 to {SAY_CHARS_MAX}"));
                }
                Ok(PromptSource::Speech(speech(&say, &voice, &self.scenario.language)))
            }
            Source::Url(request) => file_request(request).map(Box::new).map(PromptSource::Request),
            Source::Tones { tones } => tones::read(&tones).map(PromptSource::Tones).map_err(str::to_owned),
            Source::Progress { progress } => Ok(PromptSource::ToneOf(progress, CallTone::Ringback)),
        }
    }

    /// Lets a call hear a player; none if the player has nothing left.
    pub(super) fn begin_play(&mut self, now: Moment, player: u32, call: u32, leg: LegId) -> Option<ActionId> {
        let live = self.players.live.get_mut(&player)?;
        let source = live.sources.get(live.at)?.clone();
        let loops = if live.loops && live.sources.len() == 1 { u32::MAX } else { 1 };
        let is_first = !std::mem::replace(&mut live.has_begun, true);
        let prompt = Prompt { source, loops, barge_in: DigitSet::NONE };
        let action = self.act(Some(leg), Action::Prompt(prompt), Work::Play { player, call });
        if let Some(live) = self.players.live.get_mut(&player) {
            live.actions.retain(|(of, _)| *of != call);
            live.actions.push((call, action));
        }
        if is_first {
            self.player_event(now, player, "started", None);
        }
        Some(action)
    }

    pub(super) fn played(
        &mut self,
        now: Moment,
        (player, call): (u32, u32),
        id: ActionId,
        outcome: &Outcome,
    ) {
        self.wiring.play_over(call, id);
        let Some(live) = self.players.live.get_mut(&player) else { return };
        live.actions.retain(|(_, action)| *action != id);
        let error = match outcome {
            Outcome::Failed(ActionFailure::Fetch(FetchError::Timeout)) => Some(TOO_SLOW.to_owned()),
            Outcome::Failed(failure) => Some(failure.code().to_owned()),
            Outcome::LegGone => None,
            Outcome::Done
            | Outcome::Interrupted(_)
            | Outcome::Collected(_)
            | Outcome::Recorded(_)
            | Outcome::Dialed(_)
            | Outcome::Left(_)
            | Outcome::Queued(_)
            | Outcome::Mailbox(_)
            | Outcome::Streamed(_)
            | Outcome::Detected(_)
            | Outcome::Referred(_)
            | Outcome::Cancelled => None,
        };
        if error.is_none() && !live.actions.is_empty() {
            return; // Others still hear it.
        }
        if error.is_none() && matches!(outcome, Outcome::Done) {
            live.at += 1;
            if live.at >= live.sources.len() && live.loops {
                live.at = 0;
            }
            if live.at < live.sources.len() {
                return; // The wiring begins the next.
            }
        }
        self.silence(player);
        self.players.live.remove(&player);
        self.wiring.player_over(player);
        self.player_event(now, player, "finished", error);
    }
}

/// What is said, in which voice.
fn speech(text: &str, voice: &str, default_language: &str) -> Speech {
    let (language, gender) = language_of(voice);
    let trimmed = text.trim();
    let inside = trimmed.strip_prefix("<speak").and_then(|rest| {
        let (_, rest) = rest.split_once('>')?;
        rest.strip_suffix("</speak>")
    });
    Speech {
        text: inside.unwrap_or(text).to_owned(),
        language: language.unwrap_or_else(|| default_language.to_owned()),
        gender,
        voice: None,
        is_ssml: inside.is_some(),
    }
}

/// Language names of older scripts, and their tags.
const LANGUAGES: [(&str, &str); 24] = [
    ("ENGLISH", "en"),
    ("RUSSIAN", "ru"),
    ("GERMAN", "de"),
    ("FRENCH", "fr"),
    ("SPANISH", "es"),
    ("ITALIAN", "it"),
    ("PORTUGUESE", "pt"),
    ("DUTCH", "nl"),
    ("POLISH", "pl"),
    ("TURKISH", "tr"),
    ("SWEDISH", "sv"),
    ("NORWEGIAN", "nb"),
    ("DANISH", "da"),
    ("FINNISH", "fi"),
    ("GREEK", "el"),
    ("HUNGARIAN", "hu"),
    ("CZECH", "cs"),
    ("ROMANIAN", "ro"),
    ("UKRAINIAN", "uk"),
    ("KAZAKH", "kk"),
    ("ARABIC", "ar"),
    ("CHINESE", "zh"),
    ("JAPANESE", "ja"),
    ("KOREAN", "ko"),
];

/// The language that a voice of the cloud speaks, by its name: `VoiceList.Amazon.en_US_Joanna`,
/// `Language.US_ENGLISH_FEMALE`, or a tag itself.
fn language_of(voice: &str) -> (Option<String>, Gender) {
    let last = voice.rsplit('.').next().unwrap_or("");
    let parts: Vec<&str> = last.split(['_', '-']).collect();
    let gender = if parts.contains(&"MALE") { Gender::Male } else { Gender::Female };
    let tag = match parts.as_slice() {
        [language, region, ..]
            if matches!(language.len(), 2 | 3)
                && language.bytes().all(|b| b.is_ascii_lowercase())
                && region.len() == 2
                && region.bytes().all(|b| b.is_ascii_uppercase()) =>
        {
            Some(format!("{language}-{region}"))
        }
        parts => {
            let found = LANGUAGES.iter().find(|(name, _)| parts.contains(name)).map(|(_, tag)| *tag);
            let region = parts.first().filter(|part| part.len() == 2);
            found.map(|tag| match region {
                Some(region) => format!("{tag}-{}", if *region == "UK" { "GB" } else { region }),
                None => tag.to_owned(),
            })
        }
    };
    (tag, gender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voices_of_the_cloud_have_a_language() {
        for (voice, language, gender) in [
            ("VoiceList.Amazon.en_US_Joanna", Some("en-US"), Gender::Female),
            ("VoiceList.Google.de_DE_Wavenet_A", Some("de-DE"), Gender::Female),
            ("Language.US_ENGLISH_FEMALE", Some("en-US"), Gender::Female),
            ("Language.UK_ENGLISH_MALE", Some("en-GB"), Gender::Male),
            ("Language.RU_RUSSIAN_MALE", Some("ru-RU"), Gender::Male),
            ("Language.RUSSIAN", Some("ru"), Gender::Female),
            ("en-US", Some("en-US"), Gender::Female),
            ("VoiceList.Default.Bella", None, Gender::Female),
            ("", None, Gender::Female),
        ] {
            assert_eq!(language_of(voice), (language.map(str::to_owned), gender), "{voice}");
        }
    }

    #[test]
    fn a_text_with_a_root_is_ssml() {
        let spoken = speech("<speak version='1'>a <break/> b</speak>", "", "en-US");
        assert_eq!((spoken.text.as_str(), spoken.is_ssml), ("a <break/> b", true));
        assert!(!speech("a < b", "", "en-US").is_ssml);
    }
}
