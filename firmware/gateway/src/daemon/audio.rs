//! What calls want heard and recorded, as the engine takes it.

use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rtrb::RingBuffer;
use tipring_calls::{CallInput, MediaCommand, MediaEvent};
use tipring_media::codec::CODECS;
use tipring_media::{Command, PlaySource, Prompt, RecordWhat, Refusal, ToneSegment, ToneSpec, wav};
use tipring_model::flow::{ActionFailure, Record, Sides};
use tipring_model::prompt::{Beep, PromptSource};
use tipring_model::{LegId, PlayId, RecordId};
use tokio::task::{spawn_blocking, spawn_local};

use super::playing::Next;
use super::recordings::{Begin, Finished, RING_FRAMES, Rules, file_name};
use super::streams::OF_ECHO;
use super::switchboard::{Ready, Switchboard};
use crate::countries;

/// Digits sent by the box, and the pauses between them, in milliseconds
/// (ITU-T Q.24 asks for at least 40).
const DIGIT_ON_MS: u16 = 100;
const DIGIT_GAP_MS: u16 = 100;

impl Switchboard {
    pub(super) fn media_command(&self, call: u32, leg: LegId, command: MediaCommand) {
        match command {
            MediaCommand::Play { play, source, loops } => self.play(call, leg, play, source, loops),
            MediaCommand::StopPlay(play) => self.stop_play(call, leg, play),
            MediaCommand::Suspend(play, still) => {
                self.0.media.send(Command::SuspendPlay { leg, play, still });
            }
            MediaCommand::Record { record, spec } => self.record(call, leg, record, *spec),
            MediaCommand::StopRecord(record) => {
                self.0.media.send(Command::StopRecord { leg, record });
                // Where the sides are kept apart there are two; for others it is refused.
                self.0.media.send(Command::StopRecord { leg, record: other_side(record) });
            }
            MediaCommand::Watch(silence) => {
                self.0.media.send(Command::Watch { leg, silent: Some(silence) });
            }
            MediaCommand::Listen => self.0.media.send(Command::Listen { leg, inband: true }),
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
                let source = PlaySource::Silence { ms };
                self.prepared(call, leg, play, Ok(Ready { source, loops, length: Some(length) }));
            }
            PromptSource::Tone(_) | PromptSource::ToneOf(..) | PromptSource::Tones(_) => {
                let tone = self.tone(&source).map(PlaySource::Tone).ok_or(ActionFailure::NoSuchAudio);
                let length = length_of(&source);
                self.prepared(call, leg, play, tone.map(|source| Ready { source, loops, length }));
            }
            PromptSource::Url(_)
            | PromptSource::Request(_)
            | PromptSource::Speech(_)
            | PromptSource::Library(_)
            | PromptSource::Music
            | PromptSource::Words(..)
            | PromptSource::Mailbox { .. }
            | PromptSource::Recording(_) => {
                let board = self.clone();
                let mut work = Box::pin(async move { board.prompt(call, leg, &source).await });
                let finish = move |board: &Self, result: Result<Arc<Prompt>, ActionFailure>| {
                    let ready = result.map(|prompt| Ready {
                        length: Some(Duration::from_millis(prompt.duration_ms())),
                        source: PlaySource::Prompt(prompt),
                        loops,
                    });
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

    /// The tone of a source that is one.
    fn tone(&self, source: &PromptSource) -> Option<ToneSpec> {
        match source {
            PromptSource::Tone(tone) => self.0.country.tone(*tone),
            PromptSource::ToneOf(country, tone) => {
                countries::find(&country.to_ascii_lowercase()).unwrap_or(self.0.country).tone(*tone)
            }
            PromptSource::Tones(beeps) => Some(tones(beeps)),
            PromptSource::Url(_)
            | PromptSource::Request(_)
            | PromptSource::Speech(_)
            | PromptSource::Library(_)
            | PromptSource::Silence(_)
            | PromptSource::Music
            | PromptSource::Words(..)
            | PromptSource::Mailbox { .. }
            | PromptSource::Recording(_) => None,
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
            PromptSource::Mailbox { mailbox, file } => {
                let path = self.0.mailboxes.file(mailbox, file).ok_or(ActionFailure::NoSuchAudio)?;
                recording(path).await?
            }
            PromptSource::Url(address) => match self.own_recording(address) {
                Some(path) => recording(path).await?,
                None => self.0.prompts.get(source).await?,
            },
            PromptSource::Request(request) => match self.own_recording(&request.url) {
                Some(path) => recording(path).await?,
                None => self.0.prompts.get(source).await?,
            },
            PromptSource::Speech(_)
            | PromptSource::Library(_)
            | PromptSource::Silence(_)
            | PromptSource::Music
            | PromptSource::Words(..)
            | PromptSource::ToneOf(..)
            | PromptSource::Tones(_)
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

    /// The file of a recording whose address the box itself has told: there is no need to ask for
    /// it, and requests to the box are not sent.
    fn own_recording(&self, address: &str) -> Option<PathBuf> {
        let seal = self.0.recordings_seal.as_ref()?;
        let (_, rest) = address.split_once("://")?;
        let path = rest.get(rest.find('/')?..)?;
        let name = tipring_web::recordings::named_by(seal, path.split(['?', '#']).next()?)?;
        Some(self.0.recordings_dir.join(name).with_extension("wav"))
    }

    fn prepared(&self, call: u32, leg: LegId, play: PlayId, result: Result<Ready, ActionFailure>) {
        let (mut began, mut failed) = (Vec::new(), Vec::new());
        {
            let mut state = self.0.state.borrow_mut();
            let Some(entry) = state.legs.get_mut(&leg) else { return };
            entry.queue.prepared(play, result);
            while let Some(next) = entry.queue.next() {
                match next {
                    Next::Play(play, Ready { source, loops, length }) => {
                        self.0.media.send(Command::Play { leg, play, source, loops });
                        began.push((play, length));
                    }
                    Next::Failed(play, failure) => failed.push((play, failure)),
                }
            }
        }
        for (play, length) in began {
            self.later(call, leg, MediaEvent::PlayBegan(play, length));
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

    /// The engine has not begun to write down a leg. What was to be made of it has failed.
    pub(super) fn record_refused(&self, leg: LegId, record: RecordId, why: Refusal) {
        if why == Refusal::NoLeg {
            return; // It is gone, and what is there counts.
        }
        tracing::warn!(code = ActionFailure::Limit.code(), %leg, %why, "a recording, stream or echo failed");
        if record.0 == OF_ECHO {
            return self.leg_media(leg, MediaEvent::EchoRefused);
        }
        let record = RecordId(record.0 & !OTHER_SIDE);
        if record.0 < OF_ECHO {
            self.0.state.borrow_mut().refused.insert((leg, record));
            self.0.media.send(Command::StopRecord { leg, record });
            self.0.media.send(Command::StopRecord { leg, record: other_side(record) });
        } else {
            self.stream_refused(leg, record);
        }
    }

    /// A recording is on disk, or is not.
    pub(crate) fn recorded(&self, finished: Finished) {
        let Finished { leg, record, result } = finished;
        let was_refused = self.0.state.borrow_mut().refused.remove(&(leg, record));
        let result = match (result, was_refused) {
            (Some(recorded), false) => Ok(recorded),
            (Some(recorded), true) => {
                if let Some(file) = recorded.file {
                    // Nothing is in it; should it stay, that is all.
                    let _ = std::fs::remove_file(self.0.recordings_dir.join(file));
                }
                Err(ActionFailure::Limit)
            }
            (None, true) => Err(ActionFailure::Limit),
            (None, false) => Err(ActionFailure::Storage),
        };
        let event = MediaEvent::RecordEnded(record, result);
        // The leg may be gone by now: its call is found by the legs it ever had.
        let call = {
            let state = self.0.state.borrow();
            state.calls.iter().find(|(_, entry)| entry.legs.contains(&leg)).map(|(call, _)| *call)
        };
        if let Some(call) = call {
            self.handle(call, CallInput::Media(leg, event));
        }
    }

    fn record(&self, call: u32, leg: LegId, record: RecordId, spec: Record) {
        let name = {
            let state = self.0.state.borrow();
            let id = state.calls.get(&call).map(|entry| entry.call.facts().id.to_string());
            id.map(|id| file_name(&id, &spec.tag, record))
        };
        let Some(name) = name else { return };
        let (sink, frames) = RingBuffer::new(RING_FRAMES);
        let (other_sink, other) = match spec.sides {
            Sides::Apart => {
                let (sink, frames) = RingBuffer::new(RING_FRAMES);
                (Some(sink), Some(frames))
            }
            Sides::Heard | Sides::Played | Sides::Both => (None, None),
        };
        let rules = Rules { silence_max: spec.silence_max, length_min: spec.length_min };
        if let Some(upload) = spec.upload {
            self.0.uploads.expect(&name, upload);
        }
        if self.0.recorder.begin(Begin { leg, record, name, frames, other, rules }).is_err() {
            return self.later(call, leg, MediaEvent::RecordEnded(record, Err(ActionFailure::Storage)));
        }
        let what = match spec.sides {
            Sides::Heard | Sides::Apart => RecordWhat::In,
            Sides::Played => RecordWhat::Out,
            Sides::Both => RecordWhat::Both,
        };
        self.0.media.send(Command::Record { leg, record, what, sink });
        if let Some(sink) = other_sink {
            let record = other_side(record);
            self.0.media.send(Command::Record { leg, record, what: RecordWhat::Out, sink });
        }
    }
}

/// How the engine names the second of two recordings that make one file.
const fn other_side(record: RecordId) -> RecordId {
    RecordId(record.0 | OTHER_SIDE)
}

const OTHER_SIDE: u32 = 0x8000_0000;

/// How long tones of a flow's own are; those of a country have no end.
fn length_of(source: &PromptSource) -> Option<Duration> {
    let PromptSource::Tones(beeps) = source else { return None };
    Some(beeps.iter().map(|beep| beep.on + beep.off).sum())
}

/// Tones of a flow's own, as the engine plays them.
fn tones(beeps: &[Beep]) -> ToneSpec {
    const LEVEL_DBM0: f32 = -10.0;
    let ms = |length: Duration| u16::try_from(length.as_millis()).unwrap_or(u16::MAX);
    let segments: Vec<ToneSegment> = beeps
        .iter()
        .map(|beep| {
            let mut hz = [0.0; 4];
            for (place, wanted) in hz.iter_mut().zip(&beep.hz) {
                *place = f32::from((*wanted).clamp(100, 3_600));
            }
            // 0 would be a tone without end.
            ToneSegment { hz, level_dbm0: LEVEL_DBM0, on_ms: ms(beep.on).max(20), off_ms: ms(beep.off) }
        })
        .collect();
    ToneSpec::once(&segments)
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
