//! Speech engines that the installer chooses: a program, or a server.
//!
//! A program gets the text through its standard input and its arguments as a list, with no
//! shell between; a server is reached through the fetcher, whose guard knows which addresses
//! may be talked to. Both have the same time, and their sound is decoded like any other file.
//! When one fails, espeak-ng speaks: that is decided elsewhere.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tipring_model::fetch::{Body, FetchError, HttpRequest, Method};
use tipring_model::prompt::{Gender, Speech};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::Url;

use super::decode::DecodeError;
use super::speech::{RUNS_MAX, SOUND_BYTES_MAX, TURN_MAX, output};
use super::ssml::{self, Words};
use super::{PromptSettings, REDIRECTS_MAX};
use crate::fetch::Fetcher;

/// What a program's arguments may hold, in braces.
pub(crate) const PLACEHOLDERS: [&str; 3] = ["language", "voice", "gender"];
/// How long an engine that took all its time is not asked again: every caller would wait.
const REST: Duration = Duration::from_secs(60);
/// Longest name of a language or voice that a program is told, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Who speaks texts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum SpeechEngine {
    /// The program that comes with the box.
    EspeakNg,
    /// Another program: text on its standard input, sound on its standard output.
    Command {
        /// The program and its arguments, with [`PLACEHOLDERS`].
        command: Vec<String>,
        /// It knows SSML.
        is_ssml: bool,
    },
    /// A server that is sent the text and answers with sound.
    Http {
        /// Where to; language, voice and gender are added to its query.
        url: String,
    },
}

/// Why an engine did not speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum EngineFailure {
    /// The program could not be started, said that it failed, or wrote too much.
    #[error("the program failed")]
    Program,
    /// It took all its time.
    #[error("it took too long")]
    Timeout,
    /// It took all its time a moment ago, or its server is away.
    #[error("it is not asked for a while")]
    Resting,
    /// Too many wait for it.
    #[error("too many texts at a time")]
    Busy,
    /// The server was not reached.
    #[error("the server was not reached: {0}")]
    Fetch(FetchError),
    /// The server refused.
    #[error("the server said {0}")]
    Status(u16),
    /// What came is no sound.
    #[error("what it said cannot be played: {0}")]
    Sound(#[from] DecodeError),
}

/// An engine that is not espeak-ng.
pub(super) struct Outside {
    kind: Kind,
    /// Distinguishes its sounds from another's.
    pub(super) identity: String,
    timeout: Duration,
    turns: Semaphore,
    state: Mutex<State>,
}

enum Kind {
    Command { program: String, arguments: Vec<String>, is_ssml: bool },
    Http { url: Url, fetcher: Fetcher, body_max_bytes: usize },
}

#[derive(Default)]
struct State {
    /// It failed the last time, which was said.
    is_failing: bool,
    rests_until: Option<Instant>,
}

impl Outside {
    /// None if espeak-ng is to speak.
    pub(super) fn new(settings: &PromptSettings, fetcher: &Fetcher) -> Option<Self> {
        let (kind, identity) = match &settings.speech_engine {
            SpeechEngine::EspeakNg => return None,
            SpeechEngine::Command { command, is_ssml } => {
                let (program, arguments) = command.split_first()?;
                let kind = Kind::Command {
                    program: program.clone(),
                    arguments: arguments.to_vec(),
                    is_ssml: *is_ssml,
                };
                (kind, format!("command\0{is_ssml}\0{}", command.join("\0")))
            }
            SpeechEngine::Http { url } => {
                let mut parsed = Url::parse(url).ok()?;
                parsed.set_fragment(None);
                let body_max_bytes = settings.file_bytes_max;
                let kind = Kind::Http { url: parsed, fetcher: fetcher.clone(), body_max_bytes };
                (kind, format!("http\0{url}"))
            }
        };
        Some(Self {
            kind,
            identity,
            timeout: settings.speech_timeout,
            turns: Semaphore::new(RUNS_MAX),
            state: Mutex::default(),
        })
    }

    /// What it would be told for a text that is SSML if `is_ssml`.
    pub(super) fn words(&self, text: &str, is_ssml: bool, language: &str) -> Words {
        let knows_ssml = match &self.kind {
            Kind::Command { is_ssml, .. } => *is_ssml,
            Kind::Http { .. } => true,
        };
        match (is_ssml, knows_ssml) {
            (false, _) => Words::Text(text.to_owned()),
            (true, true) => ssml::document(text, language),
            (true, false) => Words::Text(ssml::text(text)),
        }
    }

    /// Has it speak: an audio file.
    ///
    /// # Errors
    /// See [`EngineFailure`].
    pub(super) async fn speak(&self, words: &Words, speech: &Speech) -> Result<Vec<u8>, EngineFailure> {
        if self.state().rests_until.is_some_and(|until| Instant::now() < until) {
            return Err(EngineFailure::Resting);
        }
        let turn = timeout(TURN_MAX, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(EngineFailure::Busy) };
        let result = match &self.kind {
            Kind::Command { program, arguments, .. } => {
                let arguments: Vec<String> =
                    arguments.iter().map(|argument| filled(argument, speech)).collect();
                let (Words::Text(text) | Words::Marked(text)) = words;
                let run = output(Path::new(program), &arguments, Some(text), SOUND_BYTES_MAX);
                // Who takes too long is killed with the future that waited.
                match timeout(self.timeout, run).await {
                    Ok(sound) => sound.ok_or(EngineFailure::Program),
                    Err(_) => Err(EngineFailure::Timeout),
                }
            }
            Kind::Http { url, fetcher, body_max_bytes } => {
                let request = request(url, words, speech, self.timeout, *body_max_bytes);
                if fetcher.is_away(&request.url) {
                    return Err(EngineFailure::Resting);
                }
                match fetcher.fetch(request).await.unwrap_or(Err(FetchError::Overload)) {
                    Ok(answer) if answer.is_success() => Ok(answer.body),
                    Ok(answer) => Err(EngineFailure::Status(answer.status)),
                    Err(FetchError::Timeout) => Err(EngineFailure::Timeout),
                    Err(error) => Err(EngineFailure::Fetch(error)),
                }
            }
        };
        if result == Err(EngineFailure::Timeout) {
            self.state().rests_until = Some(Instant::now() + REST);
        }
        result
    }

    /// Takes note of how it went; true if it is to be said that it fails.
    pub(super) fn note(&self, is_good: bool) -> bool {
        let mut state = self.state();
        let is_news = !is_good && !state.is_failing;
        state.is_failing = !is_good;
        is_news
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn request(
    url: &Url,
    words: &Words,
    speech: &Speech,
    timeout: Duration,
    body_max_bytes: usize,
) -> HttpRequest {
    let mut url = url.clone();
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("language", &speech.language);
        if let Some(voice) = &speech.voice {
            query.append_pair("voice", voice);
        }
        query.append_pair("gender", gender(speech.gender));
    }
    let (media_type, text) = match words {
        Words::Text(text) => ("text/plain; charset=utf-8", text),
        Words::Marked(text) => ("application/ssml+xml", text),
    };
    HttpRequest {
        method: Method::Post,
        url: url.into(),
        headers: vec![("Accept".to_owned(), "audio/*, application/octet-stream;q=0.5".to_owned())],
        body: Some(Body { media_type: media_type.to_owned(), bytes: text.clone().into_bytes() }),
        timeout,
        total: Some(timeout),
        redirects_max: REDIRECTS_MAX,
        body_max_bytes,
        cuts_body: false,
        connect: None,
        moves_fields: false,
    }
}

const fn gender(gender: Gender) -> &'static str {
    match gender {
        Gender::Female => "female",
        Gender::Male => "male",
    }
}

/// An argument with its placeholders filled.
fn filled(argument: &str, speech: &Speech) -> String {
    let voice = speech.voice.as_deref().unwrap_or_default();
    argument
        .replace("{language}", name(&speech.language))
        .replace("{voice}", name(voice))
        .replace("{gender}", gender(speech.gender))
}

/// A name as a program may be told: flows bring it along, and it is to be neither an option nor
/// a path. Another is left out.
fn name(name: &str) -> &str {
    let name = name.trim();
    let is_inside = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | ' ');
    let is_good = name.len() <= NAME_BYTES_MAX
        && name.starts_with(char::is_alphanumeric)
        && name.chars().all(is_inside)
        && !name.contains("..");
    if is_good { name } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_filled_with_names_alone() {
        let speech = |language: &str, voice: Option<&str>| Speech {
            text: String::new(),
            language: language.to_owned(),
            gender: Gender::Male,
            voice: voice.map(str::to_owned),
            is_ssml: false,
        };
        let filled = |voice: &str| filled("-m{voice}/{language}-{gender}", &speech("de-DE", Some(voice)));
        assert_eq!(filled("Thorsten medium"), "-mThorsten medium/de-DE-male");
        assert_eq!(filled("en_US-amy.2+x"), "-men_US-amy.2+x/de-DE-male");
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for voice in ["-o/etc/x", "../../x", "a/b", "a\0b", "$(id)", "{gender}", ".x", "a..b", "", &long] {
            assert_eq!(filled(voice), "-m/de-DE-male", "{voice}");
        }
        assert_eq!(super::filled("{voice}{language}", &speech("--x", None)), "");
    }

    #[test]
    fn a_server_is_told_who_should_speak() {
        let speech = Speech {
            text: String::new(),
            language: "de-DE".to_owned(),
            gender: Gender::Female,
            voice: Some("a&b=ü".to_owned()),
            is_ssml: false,
        };
        let url = Url::parse("http://x/say?key=1").unwrap();
        let request = request(&url, &Words::Marked("<speak/>".to_owned()), &speech, REST, 5);
        assert_eq!(request.url, "http://x/say?key=1&language=de-DE&voice=a%26b%3D%C3%BC&gender=female");
        assert_eq!(request.body.unwrap().media_type, "application/ssml+xml");
        assert_eq!((request.timeout, request.total), (REST, Some(REST)));
    }
}
