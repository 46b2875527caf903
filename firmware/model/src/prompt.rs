//! What a party can be made to hear.

use core::time::Duration;

use crate::fetch::HttpRequest;
use crate::{ActionId, DigitSet};

/// One stretch of audio, played in order from its sources.
#[derive(Clone, PartialEq, Debug)]
pub struct Prompt {
    /// Where the audio comes from.
    pub source: PromptSource,
    /// How often it is played, at least once.
    pub loops: u32,
    /// Keys that stop it; the key is kept for the next collection.
    pub barge_in: DigitSet,
}

impl Prompt {
    /// `source`, once, to the leg that the action is on, stopped by no key.
    #[must_use]
    pub const fn once(source: PromptSource) -> Self {
        Self { source, loops: 1, barge_in: DigitSet::NONE }
    }
}

/// Where the audio of a prompt comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PromptSource {
    /// An audio file fetched over HTTP, and cached.
    Url(String),
    /// The same by a request of the flow's own; cached for requests that are the same in everything.
    Request(Box<HttpRequest>),
    /// Text, spoken.
    Speech(Speech),
    /// The finished recording that this action made earlier in the same call.
    Recording(ActionId),
    /// A prompt stored on the box, by name.
    Library(String),
    /// Nothing, for this long.
    Silence(Duration),
    /// A tone of the box's country.
    Tone(CallTone),
    /// A tone of another country, by its two letters; of the box's own if that is unknown.
    ToneOf(String, CallTone),
    /// Tones of the flow's own, one after the other.
    Tones(Vec<Beep>),
    /// The box's music on hold, without end.
    Music,
    /// Words that every box can say, in a language (BCP 47); a stored prompt of that name
    /// goes first.
    Words(&'static str, String),
    /// A message in a mailbox, or the greeting of one.
    Mailbox {
        /// Name of the mailbox.
        mailbox: String,
        /// Name of the file in it.
        file: String,
    },
}

/// One tone and the pause after it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Beep {
    /// One or two frequencies, 100 to 3,600 Hz.
    pub hz: Vec<u16>,
    /// How long it sounds.
    pub on: Duration,
    /// Silence after it.
    pub off: Duration,
}

impl Beep {
    /// The tone after which a recording begins.
    #[must_use]
    pub fn of_recorder() -> Self {
        Self { hz: vec![440], on: Duration::from_millis(500), off: Duration::ZERO }
    }
}

/// Text to be spoken.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Speech {
    /// The words.
    pub text: String,
    /// BCP 47 language tag, for example `en-US` or `es`.
    pub language: String,
    /// The voice asked for.
    pub gender: Gender,
    /// A voice by the name that a dialect or the engine gives it.
    pub voice: Option<String>,
    /// The text is SSML, without its root element: `speak` is put round it.
    pub is_ssml: bool,
}

/// Kind of voice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Gender {
    Female,
    Male,
}

/// Call-progress tones whose frequencies and cadence a country sets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallTone {
    /// "Dial now."
    Dial,
    /// "The other side is ringing."
    Ringback,
    /// "The other side is busy."
    Busy,
    /// "The call could not be completed" (reorder, fast busy).
    Congestion,
}
