//! What calls want heard and recorded, as the engine takes it.

use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rtrb::RingBuffer;
use tipring_calls::{CallInput, MediaCommand, MediaEvent};
use tipring_media::codec::CODECS;
use tipring_media::{Command, PlaySource, Prompt, RecordWhat, wav};
use tipring_model::flow::{ActionFailure, Sides};
use tipring_model::prompt::PromptSource;
use tipring_model::{LegId, PlayId, RecordId};
use tokio::task::{spawn_blocking, spawn_local};

use super::playing::Next;
use super::recordings::{Begin, RING_FRAMES, file_name};
use super::switchboard::{Ready, Switchboard};

/// Digits sent by the box, and the pauses between them, in milliseconds
/// (ITU-T Q.24 asks for at least 40).
const DIGIT_ON_MS: u16 = 100;
const DIGIT_GAP_MS: u16 = 100;

impl Switchboard {
    pub(super) fn media_command(&self, call: u32, leg: LegId, command: MediaCommand) {
        match command {
            MediaCommand::Play { play, source, loops } => self.play(call, leg, play, source, loops),
            MediaCommand::StopPlay(play) => self.stop_play(call, leg, play),
            MediaCommand::Record { record, tag, sides } => self.record(call, leg, record, &tag, sides),
            MediaCommand::StopRecord(record) => self.0.media.send(Command::StopRecord { leg, record }),
            MediaCommand::SendDigits { play, digits } => self.0.media.send(Command::SendDigits {
                leg,
                play,
                digits,
                on_ms: DIGIT_ON_MS,
                gap_ms: DIGIT_GAP_MS,
            }),
        }
    }

    fn play(&self, call: u32, leg: LegId, play: PlayId, source: PromptSource, loops: u32) {
        // The engine counts 0 as without end.
        let loops = if loops == u32::MAX { 0 } else { loops };
        {
            let mut state = self.0.state.borrow_mut();
            match state.legs.get_mut(&leg) {
                Some(entry) => entry.queue.push(play),
                None => return,
            }
        }
        match source {
            PromptSource::Silence(length) => {
                let ms = u32::try_from(length.as_millis()).unwrap_or(u32::MAX);
                self.prepared(call, leg, play, Ok(Ready { source: PlaySource::Silence { ms }, loops }));
            }
            PromptSource::Tone(tone) => {
                let tone = self.0.country.tone(tone).map(PlaySource::Tone).ok_or(ActionFailure::NoSuchAudio);
                self.prepared(call, leg, play, tone.map(|source| Ready { source, loops }));
            }
            PromptSource::Url(_)
            | PromptSource::Speech(_)
            | PromptSource::Library(_)
            | PromptSource::Recording(_) => {
                let board = self.clone();
                let mut work = Box::pin(async move { board.prompt(call, leg, &source).await });
                let finish = move |board: &Self, result: Result<Arc<Prompt>, ActionFailure>| {
                    let ready = result.map(|prompt| Ready { source: PlaySource::Prompt(prompt), loops });
                    board.prepared(call, leg, play, ready);
                };
                // A prompt that is at hand is heard in the very next slot.
                match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(result) => finish(self, result),
                    Poll::Pending => {
                        let board = self.clone();
                        spawn_local(async move {
                            let result = work.await;
                            finish(&board, result);
                        });
                    }
                }
            }
        }
    }

    /// The audio of a source, encoded for the leg where that is known.
    async fn prompt(
        &self,
        call: u32,
        leg: LegId,
        source: &PromptSource,
    ) -> Result<Arc<Prompt>, ActionFailure> {
        let prompt = match source {
            PromptSource::Recording(action) => {
                let file = {
                    let state = self.0.state.borrow();
                    let entry = state.calls.get(&call);
                    entry.and_then(|entry| entry.call.recording(*action).map(str::to_owned))
                };
                let path = self.0.recordings_dir.join(file.ok_or(ActionFailure::NoSuchAudio)?);
                recording(path).await?
            }
            PromptSource::Url(_)
            | PromptSource::Speech(_)
            | PromptSource::Library(_)
            | PromptSource::Silence(_)
            | PromptSource::Tone(_) => self.0.prompts.get(source).await?,
        };
        if let Some(codec) = self.codec_of(call, leg).and_then(codec)
            && !prompt.is_prepared(codec)
        {
            let encoding = Arc::clone(&prompt);
            let done = spawn_blocking(move || encoding.prepare(codec)).await;
            done.map_err(|_| ActionFailure::Decode)?.map_err(|_| ActionFailure::Decode)?;
        }
        Ok(prompt)
    }

    fn prepared(&self, call: u32, leg: LegId, play: PlayId, result: Result<Ready, ActionFailure>) {
        let mut failed = Vec::new();
        {
            let mut state = self.0.state.borrow_mut();
            let Some(entry) = state.legs.get_mut(&leg) else { return };
            entry.queue.prepared(play, result);
            while let Some(next) = entry.queue.next() {
                match next {
                    Next::Play(play, Ready { source, loops }) => {
                        self.0.media.send(Command::Play { leg, play, source, loops });
                    }
                    Next::Failed(play, failure) => failed.push((play, failure)),
                }
            }
        }
        for (play, failure) in failed {
            self.later(call, leg, MediaEvent::PlayEnded(play, Err(failure)));
        }
    }

    fn stop_play(&self, call: u32, leg: LegId, play: PlayId) {
        let waiting = {
            let mut state = self.0.state.borrow_mut();
            state.legs.get_mut(&leg).is_some_and(|entry| entry.queue.remove(play))
        };
        if waiting {
            self.later(call, leg, MediaEvent::PlayEnded(play, Ok(())));
        } else {
            self.0.media.send(Command::StopPlay { leg, play });
        }
    }

    /// Tells the call after it has said all it had to say.
    fn later(&self, call: u32, leg: LegId, event: MediaEvent) {
        let board = self.clone();
        spawn_local(async move { board.handle(call, CallInput::Media(leg, event)) });
    }

    fn record(&self, call: u32, leg: LegId, record: RecordId, tag: &str, sides: Sides) {
        let name = {
            let state = self.0.state.borrow();
            state.calls.get(&call).map(|entry| file_name(&entry.call.facts().id.to_string(), tag, record))
        };
        let Some(name) = name else { return };
        let (sink, frames) = RingBuffer::new(RING_FRAMES);
        if self.0.recorder.begin(Begin { leg, record, name, frames }).is_err() {
            return self.later(call, leg, MediaEvent::RecordEnded(record, Err(ActionFailure::Storage)));
        }
        let what = match sides {
            Sides::Heard => RecordWhat::In,
            Sides::Both => RecordWhat::Both,
        };
        self.0.media.send(Command::Record { leg, record, what, sink });
    }
}

/// A recording made earlier in the same call.
async fn recording(path: PathBuf) -> Result<Arc<Prompt>, ActionFailure> {
    let decoded = spawn_blocking(move || {
        let bytes = std::fs::read(path).map_err(|_| ActionFailure::NoSuchAudio)?;
        let heard = wav::parse(&bytes).map_err(|_| ActionFailure::Decode)?;
        Ok(Prompt::from_rate(heard.rate_hz, &heard.samples))
    });
    decoded.await.map_err(|_| ActionFailure::Decode)?.map(Arc::new)
}

fn codec(name: &'static str) -> Option<tipring_media::codec::CodecId> {
    CODECS.iter().find(|codec| codec.name == name).map(|codec| codec.id)
}
