//! Players: files, spoken text, tones, one after the other.
//!
//! What a call plays to itself is played to its leg. A player of the script's own plays in a booth,
//! where calls, conferences and recorders hear it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tipring_model::fetch::FetchError;
use tipring_model::flow::{Action, ActionFailure, Booth, FlowOutput, Moment, Outcome};
use tipring_model::prompt::{CallTone, Gender, Prompt, PromptSource, Speech};
use tipring_model::{ActionId, DigitSet, LegId};

use super::message::{Command, Source, Told};
use super::position::Position;
use super::requests::file_request;
use super::session::{Session, Work};
use super::tones;
use super::wiring::Stand;

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
    /// A call plays it to itself: it needs no booth.
    is_own: bool,
    booth: Option<Stand>,
    /// What plays now, and how long it is.
    plays: Option<(ActionId, Option<Duration>)>,
    has_begun: bool,
    is_paused: bool,
    position: Position,
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

    /// A call that plays it to itself can begin.
    pub(super) fn is_own(&self, player: u32) -> bool {
        self.live.get(&player).is_some_and(|player| player.is_own)
    }

    /// Where the player is heard.
    pub(super) fn booth(&self, player: u32) -> Option<LegId> {
        self.live.get(&player)?.booth?.leg
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.live.values().filter_map(|player| player.position.next_due()).min()
    }
}

impl Session {
    fn player_event(&mut self, now: Moment, player: u32, event: &'static str, error: Option<String>) {
        self.tell(now, Told::Player { player, event, error, duration: 0.0, offset: 0 });
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not about players is about recorders")]
    pub(super) fn player_command(&mut self, now: Moment, command: Command) {
        match command {
            Command::Play { player, sources, loops, own } => self.play(now, player, sources, (loops, own)),
            Command::Stop { player } => self.stop_player(player),
            Command::Pause { player } => self.pause(now, player, true),
            Command::Resume { player } => self.pause(now, player, false),
            Command::Marker { player, offset } => {
                let live = self.players.live.get_mut(&player);
                if live.is_some_and(|live| !live.position.mark(now.instant, offset)) {
                    self.log("a marker is not set: the player has too many");
                }
            }
            other => self.recorder_command(now, &other),
        }
    }

    /// The player plays no more, and is heard nowhere.
    fn stop_player(&mut self, player: u32) {
        let Some(live) = self.players.live.remove(&player) else { return };
        if let Some((action, _)) = live.plays {
            self.cancel(action);
        }
        if let Some(booth) = live.booth {
            self.cancel(booth.action);
        }
        self.player_over(player);
    }

    pub(super) fn stop_players(&mut self) {
        let all: Vec<u32> = self.players.live.keys().copied().collect();
        for player in all {
            self.stop_player(player);
        }
    }

    fn pause(&mut self, now: Moment, player: u32, still: bool) {
        let Some(live) = self.players.live.get_mut(&player).filter(|live| live.is_paused != still) else {
            return;
        };
        live.is_paused = still;
        let Some((action, _)) = live.plays else { return };
        if still && live.position.runs() {
            live.position.stand(now.instant);
        } else if !still && live.has_begun {
            live.position.run(now.instant);
        } else {
            return; // It is not heard yet.
        }
        self.push(FlowOutput::Suspend(action, still));
    }

    fn play(&mut self, now: Moment, player: u32, sources: Vec<Source>, (loops, is_own): (bool, bool)) {
        if self.players.live.contains_key(&player) {
            return;
        }
        let address = sources.iter().find_map(|source| match source {
            Source::Url(request) => Some(shown(&request.url)),
            Source::Say { .. } | Source::Tones { .. } | Source::Progress { .. } => None,
        });
        let read = if self.players.live.len() >= PLAYERS_MAX || sources.len() > SOURCES_MAX {
            Err("too many players in one session".to_owned())
        } else {
            sources.into_iter().map(|source| self.source(source)).collect::<Result<Vec<_>, _>>()
        };
        match read {
            Err(error) => {
                let what = address.map_or_else(String::new, |address| format!(" of {address}"));
                self.log(&format!("a player{what} does not play: {error}"));
                self.player_event(now, player, "finished", Some(error));
            }
            Ok(sources) => {
                let live = Player {
                    sources,
                    loops,
                    at: 0,
                    is_own,
                    booth: None,
                    plays: None,
                    has_begun: false,
                    is_paused: false,
                    position: Position::new(loops),
                };
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

    /// A player that somebody can hear has its booth, and plays there from then on, heard or not.
    pub(super) fn settle_players(&mut self) {
        let all: Vec<u32> = self.players.live.keys().copied().collect();
        for player in all {
            let Some(live) = self.players.live.get(&player).filter(|live| !live.is_own) else { continue };
            if live.is_paused || live.plays.is_some() {
                continue;
            }
            match live.booth {
                None if self.is_heard(player) => {
                    let action = self.act(None, Action::Booth(Booth { wide: true }), Work::Player(player));
                    if let Some(live) = self.players.live.get_mut(&player) {
                        live.booth = Some(Stand { action, leg: None });
                    }
                }
                Some(Stand { leg: Some(leg), .. }) => drop(self.begin_play(player, None, leg)),
                Some(Stand { leg: None, .. }) | None => {}
            }
        }
    }

    /// The booth of a player is open.
    pub(super) fn player_stands(&mut self, player: u32, leg: LegId) {
        if let Some(booth) = self.players.live.get_mut(&player).and_then(|live| live.booth.as_mut()) {
            booth.leg = Some(leg);
        }
    }

    /// It is closed, which nobody here has asked for.
    pub(super) fn player_lost(&mut self, now: Moment, player: u32, outcome: &Outcome) {
        if !self.players.has(player) {
            return;
        }
        self.stop_player(player);
        if let Outcome::Failed(failure) = outcome {
            self.player_event(now, player, "finished", Some(failure.code().to_owned()));
        }
    }

    /// Begins what comes next of a player, on a call of its own or in its booth; none if nothing is
    /// left.
    pub(super) fn begin_play(&mut self, player: u32, call: Option<u32>, leg: LegId) -> Option<ActionId> {
        let live = self.players.live.get(&player)?;
        let source = live.sources.get(live.at)?.clone();
        let loops = if live.loops && live.sources.len() == 1 { u32::MAX } else { 1 };
        let prompt = Prompt { source, loops, barge_in: DigitSet::NONE };
        let action = self.act(Some(leg), Action::Prompt(prompt), Work::Play { player, call });
        if let Some(live) = self.players.live.get_mut(&player) {
            live.plays = Some((action, None));
        }
        Some(action)
    }

    /// What a player plays begins to be heard.
    pub(super) fn playing(&mut self, now: Moment, action: ActionId, length: Option<Duration>) {
        let plays = |live: &Player| live.plays.is_some_and(|(own, _)| own == action);
        let Some((player, live)) = self.players.live.iter_mut().find(|(_, live)| plays(live)) else { return };
        let player = *player;
        live.plays = Some((action, length));
        let is_last = live.at + 1 == live.sources.len();
        live.position.piece(now.instant, length, is_last);
        let is_first = !std::mem::replace(&mut live.has_begun, true);
        let is_alone = live.sources.len() == 1;
        if live.is_paused {
            live.position.stand(now.instant);
            self.push(FlowOutput::Suspend(action, true));
        }
        if is_first {
            let duration = length.filter(|_| is_alone).map_or(0.0, seconds);
            self.tell(now, Told::Player { player, event: "started", error: None, duration, offset: 0 });
        }
        self.players_due(now);
    }

    /// Tells of the markers that have come.
    pub(super) fn players_due(&mut self, now: Moment) {
        let come: Vec<(u32, Vec<i64>)> = self
            .players
            .live
            .iter_mut()
            .map(|(player, live)| (*player, live.position.reached(now.instant)))
            .collect();
        for (player, offsets) in come {
            self.markers(now, player, offsets);
        }
    }

    fn markers(&mut self, now: Moment, player: u32, offsets: Vec<i64>) {
        for offset in offsets {
            self.tell(now, Told::Player { player, event: "marker", error: None, duration: 0.0, offset });
        }
    }

    pub(super) fn played(
        &mut self,
        now: Moment,
        (player, call): (u32, Option<u32>),
        id: ActionId,
        outcome: &Outcome,
    ) {
        if let Some(call) = call {
            self.wiring.play_over(call, id);
        }
        let plays = |live: &&mut Player| live.plays.is_some_and(|(own, _)| own == id);
        let Some(live) = self.players.live.get_mut(&player).filter(plays) else { return };
        let length = live.plays.take().and_then(|(_, length)| length);
        let file = match live.sources.get(live.at) {
            Some(PromptSource::Request(request)) => Some(shown(&request.url)),
            Some(_) | None => None,
        };
        live.position.piece_over(now.instant, length);
        if let (Some(address), Some(failure)) = (file, outcome.failure()) {
            let why = match failure {
                ActionFailure::Status(status) => format!("the server says {status}"),
                ActionFailure::Fetch(_)
                | ActionFailure::LegState
                | ActionFailure::NoLeg
                | ActionFailure::Decode
                | ActionFailure::NoVoice
                | ActionFailure::Speech
                | ActionFailure::NoSuchAudio
                | ActionFailure::NoTarget(_)
                | ActionFailure::Storage
                | ActionFailure::Limit
                | ActionFailure::NotOffered => failure.code().to_owned(),
            };
            self.log(&format!("a player of {address} has failed: {why}"));
        }
        let Some(live) = self.players.live.get_mut(&player) else { return };
        let error = outcome.failure().map(|failure| {
            let is_slow = *failure == ActionFailure::Fetch(FetchError::Timeout);
            if is_slow { TOO_SLOW.to_owned() } else { failure.code().to_owned() }
        });
        if matches!(outcome, Outcome::Done) {
            live.at += 1;
            if live.at >= live.sources.len() && live.loops {
                live.at = 0;
            }
            if live.at < live.sources.len() {
                return; // The next begins when all is settled.
            }
            let left = live.position.reached_at_end();
            self.markers(now, player, left);
        }
        self.stop_player(player);
        self.player_event(now, player, "finished", error);
    }
}

/// Longest address that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 256;

/// An address without what may be a secret in it: a password, and its query.
fn shown(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or("");
    let (scheme, rest) = bare.split_once("://").map_or(("", bare), |(scheme, rest)| (scheme, rest));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit('@').next().unwrap_or("");
    let start = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    let shown = start.chars().chain(host.chars()).chain(path.chars());
    shown.filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}

/// A length as scripts have it, to the millisecond.
fn seconds(length: Duration) -> f64 {
    f64::from(u32::try_from(length.as_millis()).unwrap_or(u32::MAX)) / 1_000.0
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
    fn an_address_is_shown_without_its_secrets() {
        for (url, bare) in [
            ("https://a.test/b.wav?key=1#x", "https://a.test/b.wav"),
            ("http://me:pass@a.test/b@c?d", "http://a.test/b@c"),
            ("http://me:pass@a.test", "http://a.test"),
            ("me:pass@a/b", "a/b"),
            ("", ""),
        ] {
            assert_eq!(shown(url), bare);
        }
    }

    #[test]
    fn a_text_with_a_root_is_ssml() {
        let spoken = speech("<speak version='1'>a <break/> b</speak>", "", "en-US");
        assert_eq!((spoken.text.as_str(), spoken.is_ssml), ("a <break/> b", true));
        assert!(!speech("a < b", "", "en-US").is_ssml);
    }
}
