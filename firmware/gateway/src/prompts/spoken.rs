//! Texts to prompts: by whom, and from what was spoken before.

use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use tipring_media::{Prompt, Rate, wav};
use tipring_model::flow::ActionFailure;
use tipring_model::prompt::{Gender, Speech};
use tokio::task::spawn_blocking;

use super::decode::{DecodeError, decode};
use super::engines::{EngineFailure, Outside};
use super::ssml::{self, Words};
use super::{FRESH, Inner, Ready, Trust, prepared, speech};

/// Changes when the sound of the same words should.
const SPOKEN_VERSION: &str = "2";

impl Inner {
    /// A text as sound: from the disk, from the engine of the configuration, or from espeak-ng.
    pub(super) async fn speak(&self, speech: &Speech) -> Result<Ready, ActionFailure> {
        let text = speech::plain(&speech.text);
        if text.is_empty() {
            return Ok(always(Arc::new(Prompt::new(Rate::Narrow, Vec::new()))));
        }
        if text.chars().count() > speech::TEXT_CHARS_MAX {
            return Err(ActionFailure::Limit);
        }
        // What is only pauses is not for every engine.
        let has_words = |text: &str| text.contains(char::is_alphanumeric);
        let is_spoken = if speech.is_ssml { has_words(&ssml::text(&text)) } else { has_words(&text) };
        let Some(engine) = self.outside.as_ref().filter(|_| is_spoken) else {
            return self.by_espeak(speech, &text).await.map(always);
        };
        match self.by_engine(engine, speech, &text).await {
            Ok(prompt) => Ok(always(prompt)),
            Err(error) => {
                if engine.note(false) {
                    tracing::warn!(
                        code = "TR-AUDIO-ENGINE",
                        %error,
                        "the speech engine of the configuration failed; espeak-ng speaks"
                    );
                }
                // The engine is to have another try before long.
                let trust = Trust::Until { instant: Instant::now() + FRESH, etag: None };
                Ok(Ready { prompt: self.by_espeak(speech, &text).await?, trust })
            }
        }
    }

    async fn by_engine(
        &self,
        engine: &Outside,
        speech: &Speech,
        text: &str,
    ) -> Result<Arc<Prompt>, EngineFailure> {
        let words = engine.words(text, speech.is_ssml, &speech.language);
        let voice = speech.voice.as_deref().unwrap_or_default();
        let gender = match speech.gender {
            Gender::Female => "f",
            Gender::Male => "m",
        };
        let name = spoken_name(&engine.identity, &[&speech.language, voice, gender], &words);
        if let Some(prompt) = self.spoken_before(&name).await {
            return Ok(prompt);
        }
        let sound = engine.speak(&words, speech).await?;
        let prompt = self.keep_spoken(name, sound).await?;
        engine.note(true);
        Ok(prompt)
    }

    async fn by_espeak(&self, speech: &Speech, text: &str) -> Result<Arc<Prompt>, ActionFailure> {
        let words = if speech.is_ssml { ssml::for_espeak(text) } else { Words::Text(text.to_owned()) };
        let voice = self.engine.voice(speech).await?;
        let name = spoken_name("espeak-ng", &[&voice], &words);
        if let Some(prompt) = self.spoken_before(&name).await {
            return Ok(prompt);
        }
        let sound = match &words {
            Words::Text(text) => self.engine.speak(&voice, text, false).await?,
            Words::Marked(text) => self.engine.speak(&voice, &format!("<speak>{text}</speak>"), true).await?,
        };
        self.keep_spoken(name, sound).await.map_err(|_| ActionFailure::Speech)
    }

    /// What the disk has under this name; what is broken there is removed.
    async fn spoken_before(&self, name: &str) -> Option<Arc<Prompt>> {
        let (disk, entry) = (Arc::clone(&self.spoken), name.to_owned());
        let bytes = spawn_blocking(move || disk.read(&entry)).await.ok()??;
        if let Ok(prompt) = self.decoded(bytes).await {
            return Some(prompt);
        }
        let (disk, entry) = (Arc::clone(&self.spoken), name.to_owned());
        // It is written anew.
        let _ = spawn_blocking(move || disk.remove(&entry)).await;
        None
    }

    /// Decodes what an engine said, and keeps it on the disk.
    async fn keep_spoken(&self, name: String, sound: Vec<u8>) -> Result<Arc<Prompt>, DecodeError> {
        let (disk, codecs) = (Arc::clone(&self.spoken), self.settings.codecs.clone());
        spawn_blocking(move || {
            let prompt = decode(&sound)?;
            // An engine may not know the length when it writes the header; the copy has it
            // right. Without a copy it is spoken again after a restart.
            let _ = disk.write(&name, &wav::file(prompt.rate().hz(), prompt.samples()));
            Ok(prepared(prompt, &codecs))
        })
        .await
        .unwrap_or(Err(DecodeError::Format))
    }
}

const fn always(prompt: Arc<Prompt>) -> Ready {
    Ready { prompt, trust: Trust::Always }
}

/// The name under which spoken text is kept on disk: of an engine, the voice that it was asked
/// for, and the words.
fn spoken_name(engine: &str, voice: &[&str], words: &Words) -> String {
    let (kind, text) = match words {
        Words::Text(text) => ("text", text),
        Words::Marked(text) => ("ssml", text),
    };
    let mut hash = Sha256::new();
    let parts = [SPOKEN_VERSION, engine, kind, text];
    for part in parts.iter().chain(voice) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spoken_text_has_a_name_of_its_own() {
        let text = |text: &str| Words::Text(text.to_owned());
        let names = [
            spoken_name("a", &["bc"], &text("d")),
            spoken_name("ab", &["c"], &text("d")),
            spoken_name("a", &["b"], &text("cd")),
            spoken_name("a", &["b", "c"], &text("d")),
            spoken_name("", &["abc"], &text("d")),
            spoken_name("", &[], &text("abcd")),
            spoken_name("a", &["bc"], &Words::Marked("d".to_owned())),
        ];
        for (at, name) in names.iter().enumerate() {
            assert_eq!(name.len(), 64);
            assert!(!names[..at].contains(name));
        }
    }
}
