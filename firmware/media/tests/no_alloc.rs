//! Architecture invariant 2: the tick allocates nothing and frees nothing.
//!
//! A counting allocator watches a whole life of legs over real sockets: attach, play in
//! every form, digits both ways, bridge, relay, record, update, detach. A control
//! proves that the counter counts.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![expect(clippy::disallowed_methods, reason = "endpoints need an instant to count from")]
#![expect(unsafe_code, reason = "an allocator cannot be counted without being one")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::UdpSocket,
    sync::Arc,
    time::{Duration, Instant},
};

use rtrb::RingBuffer;
use tipring_media::{
    Command, CommandSender, Endpoint, Engine, Event, EventReceiver, Frame, Limits, PlaySource, Prompt,
    RECORDS_MAX, Rate, Received, RecordWhat, ToneSegment, ToneSpec, booth,
    codec::{CODECS, CodecId},
    dsp::{
        answer_tone::AnswerToneDetector,
        caller_id::{
            AlertToneDetector, CallerId, CallerIdReceiver, CallerIdSender, LineMessage, SendAs, Text,
        },
        echo::EchoCanceller,
        gain::Gain,
        level_meter::LevelMeter,
        tone::TonePlayer,
        tone_detect::{ToneDetector, ToneKind},
        tone_learn::ToneLearner,
    },
    patch,
    rtp::{RtpEndpoint, RtpMedia, RtpUpdate, endpoint::Events},
};
use tipring_model::{Digits, LegId, LineId, PlayId, RecordId};

struct Counting;

thread_local! {
    /// What this thread has allocated and freed while `WATCHED`.
    static COUNTED: Cell<u64> = const { Cell::new(0) };
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if WATCHED.get() {
        COUNTED.set(COUNTED.get() + 1);
    }
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Rig {
    engine: Engine,
    commands: CommandSender,
    events: EventReceiver,
    now: Instant,
    counted: u64,
    seen: Vec<&'static str>,
}

impl Rig {
    fn new() -> Self {
        let (engine, commands, events) = Engine::new(Limits::default());
        Self { engine, commands, events, now: Instant::now(), counted: 0, seen: Vec::new() }
    }

    fn send(&mut self, command: Command) {
        self.commands.send(command).unwrap();
    }

    /// Lets commands begin between two slots; only the engine is watched.
    fn begin_early(&mut self) {
        COUNTED.set(0);
        WATCHED.set(true);
        self.engine.begin_early(self.now + Duration::from_millis(2));
        WATCHED.set(false);
        self.counted += COUNTED.get();
    }

    /// Goes through `ms` of virtual time; only the engine is watched.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms / 5 {
            self.now += Duration::from_millis(5);
            COUNTED.set(0);
            WATCHED.set(true);
            self.engine.drain(self.now);
            self.engine.tick(self.now);
            WATCHED.set(false);
            self.counted += COUNTED.get();
            while let Some(event) = self.events.poll() {
                self.seen.push(match event {
                    Event::DigitBegan { .. } => "began",
                    Event::Digit { .. } => "digit",
                    Event::Played { .. } => "played",
                    Event::RecordEnded { .. } => "recorded",
                    Event::NoMedia { .. } => "no media",
                    Event::MediaBack { .. } => "media back",
                    Event::Detached { .. } => "detached",
                    Event::Refused { .. } => "refused",
                    Event::Returned(_) => "returned",
                });
            }
        }
    }

    fn saw(&self, what: &str) -> usize {
        self.seen.iter().filter(|seen| **seen == what).count()
    }
}

fn leg(seq: u32) -> LegId {
    LegId::offered(LineId(1), seq)
}

/// What loops back to the engine: leg 1 with leg 2, leg 3 with leg 4.
fn endpoints(codec: CodecId, now: Instant) -> Vec<Box<dyn Endpoint>> {
    let mut all: Vec<Box<dyn Endpoint>> = Vec::new();
    for _ in 0..2 {
        let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let addresses = [0, 1].map(|at| sockets[at].local_addr().unwrap());
        for (at, socket) in sockets.into_iter().enumerate() {
            all.push(RtpEndpoint::new(socket, media(codec, addresses[1 - at]), 77, now).unwrap());
        }
    }
    all
}

fn media(codec: CodecId, remote: std::net::SocketAddr) -> RtpMedia {
    let row = codec.codec();
    let mut media = RtpMedia::new(codec, row.payload_type.unwrap_or(96), remote);
    media.events = Some(Events { payload_type: 101, clock_hz: row.clock_hz });
    media
}

fn life(codec: CodecId) {
    let mut rig = Rig::new();
    for (at, endpoint) in endpoints(codec, rig.now).into_iter().enumerate() {
        rig.send(Command::attach(leg(at as u32 + 1), endpoint));
    }
    let prompt = Arc::new(Prompt::new(Rate::Narrow, vec![3_000; 8_000]));
    let prepared = Arc::new(Prompt::new(Rate::Wide, vec![3_000; 16_000]));
    prepared.prepare(codec).unwrap();
    let (mut writer, reader) = RingBuffer::new(20);
    for _ in 0..20 {
        writer.push(Frame::silence(Rate::Wide)).unwrap();
    }
    drop(writer);
    let tone = ToneSpec::once(&[ToneSegment {
        hz: [350.0, 440.0, 0.0, 0.0],
        level_dbm0: -13.0,
        on_ms: 200,
        off_ms: 100,
    }]);
    let sources = [
        PlaySource::Prompt(prompt),
        PlaySource::Prompt(prepared),
        PlaySource::Stream(reader),
        PlaySource::Tone(tone),
        PlaySource::Silence { ms: 100 },
    ];
    let (sink, _recorded) = RingBuffer::new(500);
    rig.send(Command::Record { leg: leg(2), record: RecordId(1), what: RecordWhat::Both, sink });
    // As many as a leg may have at once, and one more.
    let mut readers = Vec::new();
    for n in 0..=RECORDS_MAX as u32 {
        let (sink, reader) = RingBuffer::new(4);
        readers.push(reader);
        rig.send(Command::Record { leg: leg(4), record: RecordId(100 + n), what: RecordWhat::Both, sink });
    }
    rig.send(Command::Listen { leg: leg(2), inband: true });
    for (at, source) in sources.into_iter().enumerate() {
        rig.send(Command::Play { leg: leg(1), play: PlayId(at as u32), source, loops: 1 });
    }
    rig.send(Command::SendDigits {
        leg: leg(1),
        play: PlayId(50),
        digits: Digits::parse("159#").unwrap(),
        on_ms: 100,
        gap_ms: 100,
    });
    rig.run(4_000);
    assert_eq!((rig.saw("played"), rig.saw("digit")), (6, 4), "{codec:?}");

    // One whose reader goes, one that is stopped, and the others with the leg.
    drop(readers.pop());
    drop(readers.pop());
    rig.run(40);
    rig.send(Command::StopRecord { leg: leg(4), record: RecordId(110) });

    // A bridge 1 - 2 | 3 - 4 in the middle, which relays, while 1 plays to 2.
    rig.send(Command::StopRecord { leg: leg(2), record: RecordId(1) });
    for (from, to) in [(2, 3), (3, 2)] {
        rig.send(Command::Connect { from: leg(from), to: leg(to) });
    }
    rig.send(Command::Play {
        leg: leg(1),
        play: PlayId(60),
        source: PlaySource::Silence { ms: 400 },
        loops: 0,
    });
    rig.begin_early();
    rig.run(1_000);
    assert!(rig.engine.counters().relayed >= 40, "{codec:?}");
    // The same bridge between codecs converts.
    let other = CODECS[(codec.index() + 1) % CODECS.len()].id;
    let somewhere = "127.0.0.1:9".parse().unwrap();
    rig.send(Command::Update { leg: leg(3), update: RtpUpdate::new(media(other, somewhere)).unwrap() });
    rig.run(1_000);
    assert!(rig.engine.counters().converted >= 40, "{codec:?}");
    // Mixing: the other end joins, in the other codec too.
    rig.send(Command::Update { leg: leg(4), update: RtpUpdate::new(media(other, somewhere)).unwrap() });
    rig.send(Command::Connect { from: leg(2), to: leg(4) });
    rig.send(Command::Connect { from: leg(3), to: leg(4) });
    // Leg 4 now sends elsewhere, so 3 hears nothing.
    rig.send(Command::Watch { leg: leg(3), silent: Some(Duration::from_millis(100)) });
    rig.run(1_000);
    // Two legs become the ends of a patch, and a key goes through it.
    let (near, far) = patch(Rate::Narrow);
    rig.send(Command::Replace { leg: leg(3), endpoint: near });
    rig.send(Command::Replace { leg: leg(4), endpoint: far });
    let digits = Digits::parse("5").unwrap();
    rig.send(Command::SendDigits { leg: leg(3), play: PlayId(70), digits, on_ms: 100, gap_ms: 60 });
    rig.run(500);
    // A booth plays to one, hears another, is recorded, and stands still.
    rig.send(Command::attach(leg(6), booth(Rate::Wide)));
    let source = PlaySource::Prompt(Arc::new(Prompt::new(Rate::Narrow, vec![3_000; 8_000])));
    rig.send(Command::Play { leg: leg(6), play: PlayId(80), source, loops: 1 });
    rig.send(Command::Connect { from: leg(6), to: leg(1) });
    rig.send(Command::Connect { from: leg(2), to: leg(6) });
    let (sink, _mixed) = RingBuffer::new(500);
    rig.send(Command::Record { leg: leg(6), record: RecordId(6), what: RecordWhat::Out, sink });
    rig.run(100);
    for still in [true, false] {
        rig.send(Command::SuspendPlay { leg: leg(6), play: PlayId(80), still });
        rig.run(100);
    }
    rig.send(Command::StopPlay { leg: leg(1), play: PlayId(60) });
    for n in 1..=6 {
        rig.send(Command::Detach { leg: leg(n) });
    }
    rig.run(100);
    for (what, times) in [
        ("detached", 5),
        ("refused", 2),
        ("recorded", 3 + RECORDS_MAX),
        ("played", 9),
        ("returned", 4),
        ("no media", 1),
    ] {
        assert_eq!(rig.saw(what), times, "{codec:?}: {what}");
    }
    assert_eq!(rig.counted, 0, "{codec:?}: the tick allocated or freed");
    assert!(rig.engine.is_idle());
}

#[test]
fn a_whole_life_of_legs_allocates_nothing() {
    for codec in &CODECS {
        life(codec.id);
    }
}

/// The pieces for analog lines, which no engine holds.
#[test]
fn signal_processing_of_lines_allocates_nothing() {
    let segment = ToneSegment { hz: [425.0, 0.0, 0.0, 0.0], level_dbm0: -13.0, on_ms: 100, off_ms: 100 };
    let plan = [(ToneKind::Busy, ToneSpec::repeating(&[segment]))];
    let number = Ok(Text::new("0312345678", 32));
    let message = LineMessage::Call(CallerId { number, ..CallerId::default() });
    let mut sender = CallerIdSender::new(&message, SendAs::Etsi, false).unwrap();
    let mut receiver = CallerIdReceiver::default();
    let mut alert = AlertToneDetector::default();
    let mut tones = ToneDetector::new(&plan);
    let mut learner = ToneLearner::default();
    let mut answer = AnswerToneDetector::default();
    let mut echo = EchoCanceller::default();
    let mut meter = LevelMeter::new(Rate::Narrow);
    let mut player = TonePlayer::new(ToneSpec::repeating(&[segment]));
    let (mut messages, mut events) = (0, 0);
    COUNTED.set(0);
    WATCHED.set(true);
    for _ in 0..200 {
        let mut frame = Frame::silence(Rate::Narrow);
        // The message, then a tone until the end.
        if sender.fill(frame.samples_mut()) == 0 {
            player.fill(&mut frame);
        }
        receiver.push(frame.samples(), |_| messages += 1);
        alert.push(frame.samples());
        tones.push(frame.samples(), &[], |_| events += 1);
        learner.push(frame.samples());
        answer.push(frame.samples());
        meter.push(frame.samples());
        let mut near = frame;
        Gain::from_db(-6.0).apply(near.samples_mut());
        echo.process(frame.samples(), near.samples_mut());
    }
    WATCHED.set(false);
    assert_eq!(COUNTED.get(), 0);
    assert_eq!((messages, events), (1, 1));
    assert!(learner.learned().is_some());
}

/// Breaks the rule on purpose.
struct Wasteful;

impl Endpoint for Wasteful {
    fn rate(&self) -> Rate {
        Rate::Narrow
    }

    fn receive(&mut self, _: Instant, frame: &mut Frame) -> Received {
        let waste = std::hint::black_box(vec![1i16; 160]);
        *frame = Frame::from_samples(Rate::Narrow, &waste);
        Received::Audio
    }

    fn send(&mut self, _: Instant, _: &Frame) {}
}

#[test]
fn control_an_endpoint_that_allocates_is_noticed() {
    let mut rig = Rig::new();
    rig.send(Command::attach(leg(1), Box::new(Wasteful)));
    rig.send(Command::Listen { leg: leg(1), inband: true });
    rig.run(200);
    // One vector made and freed in each of ten frames.
    assert_eq!(rig.counted, 20);
}
