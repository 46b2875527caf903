//! Streams: the audio of a leg goes to a server over a WebSocket, and what the server says
//! comes back. The engine writes into rings and plays from one; a task of its own sits
//! between them and the socket, so that a slow server disturbs nobody.

mod messages;
mod socket;

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use rtrb::{Consumer, Producer, RingBuffer};
use serde_json::Value;
use tipring_calls::CallInput;
use tipring_media::codec::{CodecId, Decode, Encode};
use tipring_media::dsp::resample::Halver;
use tipring_media::{Command, Frame, PlaySource, Rate, RecordWhat};
use tipring_model::fetch::FetchError;
use tipring_model::flow::{Stream, StreamEnd, StreamFailure};
use tipring_model::{ActionId, Digit, LegId, PlayId, RecordId};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::switchboard::{Switchboard, shown_url};
use crate::fetch::Outage;
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
/// Marks of a server that wait for that: more than one for each of those frames. Beyond it, and
/// beyond so many bytes of their names, the oldest are answered before their time.
const MARKS_MAX: usize = 4_096;
const MARK_BYTES_MAX: usize = 262_144;
/// Turns of 20 ms after which what is left of a frame is played although nothing follows it.
const REST_TURNS: u32 = 5;
/// Longest wait for the server to answer.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest time that a message may take to be sent.
const SEND_MAX: Duration = Duration::from_secs(5);
/// Longest wait for the server's own goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// Samples of 20 ms at 8 kHz.
const SAMPLES: usize = 160;
/// Recordings and plays of streams are named from here on, apart from those of calls.
const OF_STREAM: u32 = 0x4000_0000;
/// Those of listeners are named from here on, and streams up to here.
const OF_OTHERS: u32 = 0x6000_0000;
/// The recording and play of an echo.
pub(super) const OF_ECHO: u32 = 0x3fff_ffff;

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
    /// Its recordings are of this name and the next.
    name: u32,
    /// The engine has no room for one of them.
    refused: Rc<Cell<bool>>,
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
            self.warn_of_stream(call, &stream.url, StreamFailure::Limit);
            return self.stream_ended(call, action, StreamEnd::Failed(StreamFailure::Limit));
        }
        let (tell, told) = mpsc::channel(32);
        streams.names = (streams.names + 1) % (OF_STREAM / 4);
        let name = OF_STREAM + streams.names * 2;
        let refused = Rc::new(Cell::new(false));
        let running = Running { leg, tell, name, refused: Rc::clone(&refused) };
        streams.running.insert((call, action), running);
        drop(streams);
        let board = self.clone();
        spawn_local(async move {
            let url = stream.url.clone();
            let carried = Carried { call, action, leg, name, refused };
            let end = board.carry(&carried, stream, told).await;
            board.0.media.send(Command::StopRecord { leg, record: RecordId(name) });
            board.0.media.send(Command::StopRecord { leg, record: RecordId(name + 1) });
            board.0.media.send(Command::StopPlay { leg, play: PlayId(name) });
            if let StreamEnd::Failed(failure) = end {
                board.warn_of_stream(call, &url, failure);
            }
            board.stream_ended(call, action, end);
        });
    }

    fn warn_of_stream(&self, call: u32, url: &str, failure: StreamFailure) {
        let (call, url) = (self.call_name(call), shown_url(url));
        tracing::warn!(code = failure.code(), %call, url, reason = ?failure, "a stream failed");
    }

    /// The engine has no room for a recording of this name; false if it is of no stream.
    pub(super) fn stream_refused(&self, leg: LegId, record: RecordId) -> bool {
        let streams = self.0.streams.borrow();
        let is_it = |one: &&Running| one.leg == leg && (record.0 == one.name || record.0 == one.name + 1);
        if let Some(running) = streams.running.values().find(is_it) {
            running.refused.set(true);
        }
        (OF_STREAM..OF_OTHERS).contains(&record.0)
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

    async fn carry(&self, carried: &Carried, stream: Stream, told: mpsc::Receiver<Told>) -> StreamEnd {
        if self.0.outage.left(Instant::now()).is_some() {
            return StreamEnd::Failed(StreamFailure::Fetch(FetchError::Unreachable));
        }
        let socket = match timeout(CONNECT_MAX, socket::open(&self.0.fetcher, &stream.url)).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(failure)) => return StreamEnd::Failed(failure),
            Err(_) => return StreamEnd::Failed(StreamFailure::Fetch(FetchError::Timeout)),
        };
        let rings = self.wire(carried.leg, carried.name, &stream);
        let refused = Rc::clone(&carried.refused);
        let Some(mut talk) = Talk::new(Writer::new(stream), rings, refused) else {
            return StreamEnd::Failed(StreamFailure::Limit);
        };
        let board = self.clone();
        let (call, action) = (carried.call, carried.action);
        let began = move || board.handle(call, CallInput::StreamBegan(action));
        talk.run(socket, told, &self.0.outage, began).await
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

/// What a stream is carried for.
struct Carried {
    call: u32,
    action: ActionId,
    leg: LegId,
    name: u32,
    refused: Rc<Cell<bool>>,
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
    /// Turns in which nothing was added to them while nothing else waited to be heard.
    rest_turns: u32,
    /// Frames that the server has said in all, but for those taken back.
    said_frames: usize,
    /// Marks, each with the frames that are before it.
    marks: VecDeque<(usize, String)>,
    mark_bytes: usize,
    /// The engine has no room for what is to be heard.
    refused: Rc<Cell<bool>>,
    /// What was already warned of.
    warned: Warned,
}

/// What is warned of once in a stream.
#[derive(Default)]
struct Warned {
    marks: bool,
    message: bool,
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
    fn new(writer: Writer, rings: Rings, refused: Rc<Cell<bool>>) -> Option<Self> {
        Some(Self {
            writer,
            rings,
            ears: [Ear::new()?, Ear::new()?],
            decoder: (CodecId::Pcmu.codec().decoder)().ok()?,
            speech: VecDeque::new(),
            rest: Vec::new(),
            rest_turns: 0,
            said_frames: 0,
            marks: VecDeque::new(),
            mark_bytes: 0,
            refused,
            warned: Warned::default(),
        })
    }

    async fn run(
        &mut self,
        mut socket: Socket,
        told: mpsc::Receiver<Told>,
        outage: &Outage,
        began: impl FnOnce(),
    ) -> StreamEnd {
        for greeting in [Writer::connected(), self.writer.start()] {
            if let Err(failure) = send(&mut socket, greeting).await {
                return StreamEnd::Failed(failure);
            }
        }
        began();
        match self.converse(&mut socket, told, outage).await {
            Ok(Talked::Over) => {
                self.goodbye(socket, None).await;
                StreamEnd::Closed
            }
            Ok(Talked::ServerLeft) => StreamEnd::Closed,
            Err(failure) => {
                if let Some(code) = close_code(failure) {
                    self.goodbye(socket, Some(CloseFrame { code, reason: failure.code().into() })).await;
                }
                StreamEnd::Failed(failure)
            }
        }
    }

    async fn converse(
        &mut self,
        socket: &mut Socket,
        mut told: mpsc::Receiver<Told>,
        outage: &Outage,
    ) -> Result<Talked, StreamFailure> {
        let mut tick = interval(Duration::from_millis(20));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    if self.refused.get() {
                        return Err(StreamFailure::Limit);
                    }
                    if outage.left(Instant::now()).is_some() {
                        return Err(StreamFailure::Fetch(FetchError::Cut));
                    }
                    self.turn(socket).await?;
                    if self.is_over() {
                        return Ok(Talked::Over);
                    }
                }
                said = socket.next() => match said {
                    Some(Ok(Message::Text(text))) => {
                        for reached in self.said(&text)? {
                            self.tell_mark(socket, &reached).await?;
                        }
                    }
                    Some(Ok(Message::Close(_))) | None => return Ok(Talked::ServerLeft),
                    Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Err(error)) => return Err(lost(&error)),
                },
                told = told.recv() => match told {
                    Some(Told::Digit(digit)) => {
                        let message = self.writer.digit(digit);
                        send(socket, message).await?;
                    }
                    Some(Told::Stop) | None => return Ok(Talked::Over),
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

    /// Whether it is heard or not, this is the end.
    async fn goodbye(&mut self, mut socket: Socket, close: Option<CloseFrame>) {
        let stop = self.writer.stop();
        let _ = send(&mut socket, stop).await;
        let _ = timeout(SEND_MAX, socket.close(close)).await;
        // What is not read when the connection is closed would take the goodbye with it.
        let _ = timeout(GOODBYE_MAX, async { while let Some(Ok(_)) = socket.next().await {} }).await;
    }

    async fn tell_mark(&mut self, socket: &mut Socket, name: &str) -> Result<(), StreamFailure> {
        let message = self.writer.mark(name);
        send(socket, message).await
    }

    /// Sends what was heard, and plays what was said.
    async fn turn(&mut self, socket: &mut Socket) -> Result<(), StreamFailure> {
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
        for reached in self.play() {
            self.tell_mark(socket, &reached).await?;
        }
        Ok(())
    }

    /// Gives the engine what was said, and gives the marks that are reached.
    fn play(&mut self) -> Vec<String> {
        let is_starved = self.speech.is_empty()
            && self.rings.speech.as_ref().is_some_and(|ring| ring.slots() == RING_FRAMES);
        self.rest_turns = if is_starved && !self.rest.is_empty() { self.rest_turns + 1 } else { 0 };
        if self.rest_turns >= REST_TURNS {
            self.fill_up();
        }
        let Some(ring) = &mut self.rings.speech else { return Vec::new() };
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
            reached.extend(self.next_mark());
        }
        reached
    }

    fn next_mark(&mut self) -> Option<String> {
        let (_, name) = self.marks.pop_front()?;
        self.mark_bytes -= name.len();
        Some(name)
    }

    /// Makes a frame of what is left of the last one, with silence behind it.
    fn fill_up(&mut self) {
        if !self.rest.is_empty() {
            self.rest.resize(SAMPLES, 0);
            self.speech.push_back(Frame::from_samples(Rate::Narrow, &self.rest));
            self.said_frames += 1;
            self.rest.clear();
        }
    }

    /// Takes a message of the server, and gives the marks for which there is no room any more.
    fn said(&mut self, text: &str) -> Result<Vec<String>, StreamFailure> {
        let mut early = Vec::new();
        match self.writer.read(text) {
            // Of one that only listens nothing is wanted.
            None if self.rings.speech.is_none() => {
                if !std::mem::replace(&mut self.warned.message, true) {
                    tracing::warn!(
                        code = StreamFailure::Message.code(),
                        "a message of a stream was passed over"
                    );
                }
            }
            None => return Err(StreamFailure::Message),
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
                self.rest_turns = 0;
                if self.speech.len() > SPEECH_FRAMES_MAX {
                    return Err(StreamFailure::Behind);
                }
            }
            Some(Said::Mark(name)) => {
                self.fill_up();
                self.mark_bytes += name.len();
                self.marks.push_back((self.said_frames, name));
                while self.marks.len() > MARKS_MAX || self.mark_bytes > MARK_BYTES_MAX {
                    early.extend(self.next_mark());
                    if !std::mem::replace(&mut self.warned.marks, true) {
                        let limit = MARKS_MAX;
                        tracing::warn!(
                            code = "TR-STREAM-MARKS",
                            limit,
                            "marks of a stream come back before their time"
                        );
                    }
                }
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
        Ok(early)
    }
}

/// How a conversation with a server ended.
enum Talked {
    /// The leg is gone, or the flow wants no more.
    Over,
    ServerLeft,
}

/// What a server is told of a failure, where it can still be told (RFC 6455 §7.4.1).
const fn close_code(failure: StreamFailure) -> Option<CloseCode> {
    match failure {
        StreamFailure::Message => Some(CloseCode::Invalid),
        StreamFailure::Behind => Some(CloseCode::Policy),
        StreamFailure::Limit => Some(CloseCode::Again),
        StreamFailure::Fetch(FetchError::TooLarge) => Some(CloseCode::Size),
        StreamFailure::Fetch(_) | StreamFailure::Status(_) => None,
    }
}

/// Why a connection did not last.
fn lost(error: &Error) -> StreamFailure {
    if let Error::Capacity(_) = error {
        StreamFailure::Fetch(FetchError::TooLarge)
    } else if let Error::Utf8(_) = error {
        StreamFailure::Message
    } else {
        StreamFailure::Fetch(FetchError::Cut)
    }
}

async fn send(socket: &mut Socket, message: Value) -> Result<(), StreamFailure> {
    let text = Message::text(message.to_string());
    match timeout(SEND_MAX, socket.send(text)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(lost(&error)),
        Err(_) => Err(StreamFailure::Fetch(FetchError::Timeout)),
    }
}
