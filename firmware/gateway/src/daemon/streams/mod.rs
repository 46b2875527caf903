//! Streams: the audio of a leg goes to a server over a WebSocket, and what the server says
//! comes back. The engine writes into rings and plays from one; a task of its own sits
//! between them and the socket, so that a slow server disturbs nobody.

mod messages;
mod socket;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rtrb::{Consumer, Producer, RingBuffer};
use serde_json::Value;
use tipring_calls::CallInput;
use tipring_media::codec::{CodecId, Decode, Encode};
use tipring_media::dsp::resample::Halver;
use tipring_media::{Command, Frame, PlaySource, Rate, RecordWhat};
use tipring_model::flow::{Stream, StreamEnd};
use tipring_model::{ActionId, Digit, LegId, PlayId, RecordId};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::switchboard::Switchboard;
use messages::{Said, Track, Writer};
use socket::Socket;

/// Streams of the whole box.
const STREAMS_MAX: usize = 64;
/// Frames of 20 ms that the engine may be ahead of the task: two seconds.
const RING_FRAMES: usize = 100;
/// Frames that the engine is given ahead of their time.
const AHEAD_FRAMES: usize = 5;
/// Audio of a server that waits to be heard, in frames: a minute.
const SPEECH_FRAMES_MAX: usize = 3_000;
/// Marks of a server that wait for that.
const MARKS_MAX: usize = 256;
/// Longest wait for the server to answer.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest time that a message may take to be sent.
const SEND_MAX: Duration = Duration::from_secs(5);
/// Samples of 20 ms at 8 kHz.
const SAMPLES: usize = 160;
/// Recordings and plays of streams are named from here on, apart from those of calls.
const OF_STREAM: u32 = 0x4000_0000;
/// The recording and play of an echo.
const OF_ECHO: u32 = 0x3fff_ffff;

/// Streams that run.
#[derive(Default)]
pub(crate) struct Streams {
    running: HashMap<(u32, ActionId), Running>,
    /// Names given to their recordings and plays.
    names: u32,
}

struct Running {
    leg: LegId,
    tell: mpsc::Sender<Told>,
}

/// What the task of a stream is told.
enum Told {
    Digit(Digit),
    Stop,
}

/// The rings between the engine and a task.
struct Rings {
    inbound: Option<Consumer<Frame>>,
    outbound: Option<Consumer<Frame>>,
    speech: Option<Producer<Frame>>,
}

impl Switchboard {
    /// Begins a stream for an action of a call.
    pub(super) fn stream(&self, call: u32, action: ActionId, leg: LegId, stream: Stream) {
        let mut streams = self.0.streams.borrow_mut();
        if streams.running.len() >= STREAMS_MAX {
            drop(streams);
            return self.stream_ended(call, action, StreamEnd::Failed);
        }
        let (tell, told) = mpsc::channel(32);
        streams.running.insert((call, action), Running { leg, tell });
        streams.names = (streams.names + 1) % (OF_STREAM / 4);
        let name = OF_STREAM + streams.names * 2;
        drop(streams);
        let board = self.clone();
        spawn_local(async move {
            let end = board.carry(leg, name, stream, told).await;
            board.0.media.send(Command::StopRecord { leg, record: RecordId(name) });
            board.0.media.send(Command::StopRecord { leg, record: RecordId(name + 1) });
            board.0.media.send(Command::StopPlay { leg, play: PlayId(name) });
            board.stream_ended(call, action, end);
        });
    }

    fn stream_ended(&self, call: u32, action: ActionId, end: StreamEnd) {
        self.0.streams.borrow_mut().running.remove(&(call, action));
        let board = self.clone();
        spawn_local(async move { board.handle(call, CallInput::StreamEnded(action, end)) });
    }

    /// Ends a stream; its end is told when it has said goodbye.
    pub(super) fn stop_stream(&self, call: u32, action: ActionId) {
        if let Some(running) = self.0.streams.borrow().running.get(&(call, action)) {
            // A task that is so far behind ends by its own limits.
            let _ = running.tell.try_send(Told::Stop);
        }
    }

    /// A key on a leg, for the streams that hear it.
    pub(super) fn stream_digit(&self, leg: LegId, digit: Digit) {
        for running in self.0.streams.borrow().running.values().filter(|running| running.leg == leg) {
            let _ = running.tell.try_send(Told::Digit(digit));
        }
    }

    async fn carry(&self, leg: LegId, name: u32, stream: Stream, told: mpsc::Receiver<Told>) -> StreamEnd {
        let socket = match timeout(CONNECT_MAX, socket::open(&self.0.fetcher, &stream.url)).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(code)) => {
                tracing::warn!(
                    code,
                    url = super::switchboard::shown_url(&stream.url),
                    "a stream is not connected"
                );
                return StreamEnd::Failed;
            }
            Err(_) => return StreamEnd::Failed,
        };
        let rings = self.wire(leg, name, &stream);
        let Some(mut talk) = Talk::new(Writer::new(stream), rings) else { return StreamEnd::Failed };
        talk.run(socket, told).await
    }

    /// Lets the engine write and play.
    fn wire(&self, leg: LegId, name: u32, stream: &Stream) -> Rings {
        let record = |what, name| {
            let (sink, frames) = RingBuffer::new(RING_FRAMES);
            self.0.media.send(Command::Record { leg, record: RecordId(name), what, sink });
            frames
        };
        let inbound = stream.hears.0.then(|| record(RecordWhat::In, name));
        let outbound = stream.hears.1.then(|| record(RecordWhat::Out, name + 1));
        let speech = stream.speaks.then(|| {
            let (speech, frames) = RingBuffer::new(RING_FRAMES);
            let source = PlaySource::Stream(frames);
            self.0.media.send(Command::Play { leg, play: PlayId(name), source, loops: 1 });
            speech
        });
        Rings { inbound, outbound, speech }
    }
}

impl Switchboard {
    /// Lets a party hear itself: what it says goes through a ring and back.
    pub(super) fn echo(&self, leg: LegId, on: bool) {
        let (record, play) = (RecordId(OF_ECHO), PlayId(OF_ECHO));
        if on {
            let (sink, frames) = RingBuffer::new(RING_FRAMES);
            let what = RecordWhat::In;
            self.0.media.send(Command::Play { leg, play, source: PlaySource::Stream(frames), loops: 1 });
            self.0.media.send(Command::Record { leg, record, what, sink });
        } else {
            self.0.media.send(Command::StopRecord { leg, record });
            self.0.media.send(Command::StopPlay { leg, play });
        }
    }
}

/// A conversation with a server.
struct Talk {
    writer: Writer,
    rings: Rings,
    ears: [Ear; 2],
    decoder: Box<dyn Decode>,
    /// What the server said and the engine has no room for yet.
    speech: VecDeque<Frame>,
    /// Samples that do not fill a frame yet.
    rest: Vec<i16>,
    /// Frames that the server has said in all, but for those taken back.
    said_frames: usize,
    /// Marks, each with the frames that are before it.
    marks: VecDeque<(usize, String)>,
}

/// Turns frames of one side into mu-law.
struct Ear {
    encoder: Box<dyn Encode>,
    halver: Halver,
    frames: u64,
}

impl Ear {
    fn new() -> Option<Self> {
        let encoder = (CodecId::Pcmu.codec().encoder)().ok()?;
        Some(Self { encoder, halver: Halver::default(), frames: 0 })
    }

    fn hear(&mut self, frame: &Frame) -> (u64, Vec<u8>) {
        let mut narrow = [0; SAMPLES];
        match frame.rate() {
            Rate::Narrow => narrow.copy_from_slice(frame.samples()),
            Rate::Wide => self.halver.process(frame.samples(), &mut narrow),
        }
        let mut payload = vec![0; SAMPLES];
        let length = self.encoder.encode(&narrow, &mut payload);
        payload.truncate(length);
        let at_ms = self.frames * 20;
        self.frames += 1;
        (at_ms, payload)
    }
}

impl Talk {
    fn new(writer: Writer, rings: Rings) -> Option<Self> {
        Some(Self {
            writer,
            rings,
            ears: [Ear::new()?, Ear::new()?],
            decoder: (CodecId::Pcmu.codec().decoder)().ok()?,
            speech: VecDeque::new(),
            rest: Vec::new(),
            said_frames: 0,
            marks: VecDeque::new(),
        })
    }

    async fn run(&mut self, mut socket: Socket, mut told: mpsc::Receiver<Told>) -> StreamEnd {
        for greeting in [Writer::connected(), self.writer.start()] {
            if send(&mut socket, greeting).await.is_err() {
                return StreamEnd::Failed;
            }
        }
        let mut tick = interval(Duration::from_millis(20));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    if self.turn(&mut socket).await.is_err() {
                        return StreamEnd::Failed;
                    }
                    if self.is_over() {
                        return self.goodbye(socket).await;
                    }
                }
                said = socket.next() => match said {
                    Some(Ok(Message::Text(text))) => {
                        if !self.said(&text) {
                            return StreamEnd::Failed;
                        }
                    }
                    Some(Ok(Message::Close(_))) | None => return StreamEnd::Closed,
                    Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Err(_)) => return StreamEnd::Failed,
                },
                told = told.recv() => match told {
                    Some(Told::Digit(digit)) => {
                        let message = self.writer.digit(digit);
                        if send(&mut socket, message).await.is_err() {
                            return StreamEnd::Failed;
                        }
                    }
                    Some(Told::Stop) | None => return self.goodbye(socket).await,
                },
            }
        }
    }

    /// The leg is gone: the engine writes no more.
    fn is_over(&self) -> bool {
        let ended = |ring: &Option<Consumer<Frame>>| {
            ring.as_ref().is_some_and(|ring| ring.is_abandoned() && ring.is_empty())
        };
        ended(&self.rings.inbound) || ended(&self.rings.outbound)
    }

    async fn goodbye(&mut self, mut socket: Socket) -> StreamEnd {
        let stop = self.writer.stop();
        // Whether it is heard or not, this is the end.
        let _ = send(&mut socket, stop).await;
        let _ = timeout(SEND_MAX, socket.close(None)).await;
        StreamEnd::Closed
    }

    /// Sends what was heard, and plays what was said.
    async fn turn(&mut self, socket: &mut Socket) -> Result<(), ()> {
        let mut heard = Vec::new();
        for (track, ring) in
            [(Track::Inbound, &mut self.rings.inbound), (Track::Outbound, &mut self.rings.outbound)]
        {
            while let Some(frame) = ring.as_mut().and_then(|ring| ring.pop().ok()) {
                let (at_ms, payload) = self.ears[usize::from(track == Track::Outbound)].hear(&frame);
                heard.push(self.writer.media(track, at_ms, &payload));
            }
        }
        for message in heard {
            send(socket, message).await?;
        }
        let Some(ring) = &mut self.rings.speech else { return Ok(()) };
        // No more than a little ahead, so that what is taken back is soon silent.
        while RING_FRAMES - ring.slots() < AHEAD_FRAMES {
            let Some(frame) = self.speech.pop_front() else { break };
            if ring.push(frame).is_err() {
                break;
            }
        }
        let waiting = self.speech.len() + (RING_FRAMES - ring.slots());
        let heard = self.said_frames.saturating_sub(waiting);
        let mut reached = Vec::new();
        while self.marks.front().is_some_and(|(after, _)| *after <= heard) {
            reached.extend(self.marks.pop_front().map(|(_, name)| name));
        }
        for name in reached {
            let message = self.writer.mark(&name);
            send(socket, message).await?;
        }
        Ok(())
    }

    /// Takes a message of the server; false if it makes no sense, or too much of it waits.
    fn said(&mut self, text: &str) -> bool {
        match self.writer.read(text) {
            None => return false,
            Some(Said::Other) => {}
            Some(Said::Media(payload)) => {
                for piece in payload.chunks(SAMPLES) {
                    let mut samples = vec![0; piece.len()];
                    let count = self.decoder.decode(piece, &mut samples);
                    self.rest.extend(samples.iter().take(count));
                }
                let whole = self.rest.len() / SAMPLES * SAMPLES;
                for samples in self.rest.drain(..whole).as_slice().chunks(SAMPLES) {
                    self.speech.push_back(Frame::from_samples(Rate::Narrow, samples));
                    self.said_frames += 1;
                }
                return self.speech.len() <= SPEECH_FRAMES_MAX;
            }
            Some(Said::Mark(name)) => {
                self.marks.push_back((self.said_frames, name));
                return self.marks.len() <= MARKS_MAX;
            }
            Some(Said::Clear) => {
                self.said_frames -= self.speech.len();
                self.speech.clear();
                self.rest.clear();
                for (after, _) in &mut self.marks {
                    *after = (*after).min(self.said_frames);
                }
            }
        }
        true
    }
}

async fn send(socket: &mut Socket, message: Value) -> Result<(), ()> {
    let text = Message::text(message.to_string());
    match timeout(SEND_MAX, socket.send(text)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(()),
    }
}
