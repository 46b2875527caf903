//! The engine with endpoints of the test's own making, in virtual time.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![expect(clippy::disallowed_methods, reason = "an engine needs an instant to count from")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks a few events of many")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rtrb::RingBuffer;
use tipring_media::{
    Command, CommandSender, Endpoint, Engine, Event, EventReceiver, Frame, Limits, PLAYS_MAX, PlaySource,
    Prompt, RECORDS_MAX, Rate, Received, RecordWhat, Refusal, SOURCES_MAX, ToneSegment, ToneSpec, booth,
    codec::CodecId, patch,
};
use tipring_model::{Digits, LegId, LineId, PlayId, RecordId};

/// What the engine did to an endpoint.
#[derive(Default)]
struct Log {
    sent: Vec<(Instant, Vec<i16>)>,
    payloads: usize,
    passes: usize,
}

struct Party {
    rate: Rate,
    says: i16,
    takes_payload: bool,
    script: VecDeque<i16>,
    log: Arc<Mutex<Log>>,
}

impl Endpoint for Party {
    fn rate(&self) -> Rate {
        self.rate
    }

    fn receive(&mut self, _: Instant, frame: &mut Frame) -> Received {
        frame.reset(self.rate);
        let value = self.script.pop_front().unwrap_or(self.says);
        frame.samples_mut().fill(value);
        Received::Audio
    }

    fn send(&mut self, now: Instant, frame: &Frame) {
        assert_eq!(frame.rate(), self.rate);
        let mut log = self.log.lock().unwrap();
        log.sent.push((now, frame.samples().to_vec()));
    }

    fn pass(&mut self, _: Instant) {
        self.log.lock().unwrap().passes += 1;
    }

    fn payload_codec(&self) -> Option<CodecId> {
        self.takes_payload.then_some(CodecId::Pcmu)
    }

    fn send_payload(&mut self, _: Instant, payload: &[u8]) {
        assert_eq!(payload.len(), 160);
        self.log.lock().unwrap().payloads += 1;
    }
}

struct Rig {
    engine: Engine,
    commands: CommandSender,
    events: EventReceiver,
    now: Instant,
}

impl Rig {
    fn new(limits: Limits) -> Self {
        let (engine, commands, events) = Engine::new(limits);
        Self { engine, commands, events, now: Instant::now() }
    }

    fn send(&mut self, command: Command) {
        self.commands.send(command).unwrap();
    }

    fn party(&mut self, seq: u32, rate: Rate, says: i16) -> Arc<Mutex<Log>> {
        let log = Arc::new(Mutex::new(Log::default()));
        let party =
            Party { rate, says, takes_payload: false, script: VecDeque::new(), log: Arc::clone(&log) };
        self.send(Command::attach(leg(seq), Box::new(party)));
        log
    }

    fn connect(&mut self, from: u32, to: u32) {
        self.send(Command::Connect { from: leg(from), to: leg(to) });
    }

    fn play(&mut self, seq: u32, play: u32, source: PlaySource, loops: u32) {
        self.send(Command::Play { leg: leg(seq), play: PlayId(play), source, loops });
    }

    fn tick(&mut self) {
        self.now += Duration::from_millis(5);
        self.engine.tick(self.now);
    }

    fn run(&mut self, ms: u64) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..ms / 5 {
            self.tick();
            told.extend(core::iter::from_fn(|| self.events.poll()).map(|event| name(&event)));
        }
        told
    }
}

fn name(event: &Event) -> String {
    match event {
        Event::DigitBegan { leg, digit, .. } => format!("{leg} began {digit}"),
        Event::Digit { leg, digit, .. } => format!("{leg} digit {digit}"),
        Event::Played { leg, play, completed, played_ms, .. } => {
            format!("{leg} played {play} {completed} {played_ms}")
        }
        Event::RecordEnded { leg, record, frames, dropped, .. } => {
            format!("{leg} recorded {record} {frames} {dropped}")
        }
        Event::NoMedia { leg, silent_ms } => format!("{leg} silent {silent_ms}"),
        Event::MediaBack { leg } => format!("{leg} back"),
        Event::Detached { leg, .. } => format!("{leg} detached"),
        Event::Refused { leg, why, .. } => format!("{leg} refused {why:?}"),
        Event::Returned(_) => "returned".into(),
    }
}

fn leg(seq: u32) -> LegId {
    LegId::offered(LineId(1), seq)
}

fn prompt(frames: usize, value: i16) -> PlaySource {
    PlaySource::Prompt(Arc::new(Prompt::new(Rate::Narrow, vec![value; frames * 160])))
}

/// The middle sample of the last frame sent, or 0.
fn last(log: &Mutex<Log>) -> i16 {
    let log = log.lock().unwrap();
    log.sent.last().map_or(0, |(_, samples)| samples[samples.len() / 2])
}

#[test]
fn the_first_frame_leaves_in_the_slot_that_takes_the_command() {
    for delay in 0..8 {
        let mut rig = Rig::new(Limits::default());
        let log = rig.party(1, Rate::Narrow, 0);
        for _ in 0..delay {
            rig.tick();
        }
        rig.play(1, 1, prompt(10, 5), 1);
        rig.tick();
        assert_eq!(log.lock().unwrap().sent.len(), 1, "after {delay} slots");
        rig.run(200);
        let log = log.lock().unwrap();
        assert_eq!(log.sent.len(), 10);
        for pair in log.sent.windows(2) {
            assert_eq!(pair[1].0 - pair[0].0, Duration::from_millis(20));
        }
    }
}

#[test]
fn a_leg_that_begins_between_two_slots_speaks_at_once_and_is_never_late() {
    for delay in 1..8 {
        let mut rig = Rig::new(Limits::default());
        let log = rig.party(1, Rate::Narrow, 0);
        for _ in 0..delay {
            rig.tick();
        }
        let slot = rig.now;
        let between = slot + Duration::from_millis(3);
        // What is begun twice, or gone again, still sends one frame at most.
        for play in 0..2 {
            rig.play(1, play, prompt(10, 5), 1);
            rig.send(Command::StopPlay { leg: leg(1), play: PlayId(play) });
        }
        rig.engine.begin_early(between);
        assert_eq!(log.lock().unwrap().sent.len(), 0, "after {delay} slots");
        rig.play(1, 9, prompt(10, 5), 1);
        rig.engine.begin_early(between);
        rig.engine.begin_early(between);
        assert_eq!(log.lock().unwrap().sent.len(), 1, "after {delay} slots");
        rig.run(200);
        let log = log.lock().unwrap();
        assert_eq!(log.sent.len(), 10);
        for (n, (at, _)) in log.sent.iter().enumerate().skip(1) {
            assert_eq!(*at - slot, Duration::from_millis(20) * n as u32);
        }
    }
}

#[test]
fn many_legs_are_spread_over_the_phases() {
    let mut rig = Rig::new(Limits { legs_max: 400, ..Limits::default() });
    let logs: Vec<_> = (0..400).map(|n| rig.party(n, Rate::Narrow, 0)).collect();
    for n in 0..400 {
        rig.play(n, 1, PlaySource::Silence { ms: 1_000 }, 1);
    }
    let mut before = 0;
    for slot in 0..40 {
        rig.tick();
        let sent: usize = logs.iter().map(|log| log.lock().unwrap().sent.len()).sum();
        assert!(sent - before <= 100 + 64, "slot {slot}: {}", sent - before);
        before = sent;
    }
    // The last of them began up to three slots later.
    assert!((400 * 9..=400 * 10).contains(&before), "{before}");
}

#[test]
fn plays_follow_each_other_without_a_gap_and_each_ends_once() {
    let mut rig = Rig::new(Limits::default());
    let log = rig.party(1, Rate::Narrow, 0);
    rig.play(1, 1, prompt(2, 10), 2);
    rig.play(1, 2, PlaySource::Silence { ms: 30 }, 1);
    let tone = ToneSpec::once(&[ToneSegment {
        hz: [1_000.0, 0.0, 0.0, 0.0],
        level_dbm0: 0.0,
        on_ms: 40,
        off_ms: 0,
    }]);
    rig.play(1, 3, PlaySource::Tone(tone), 1);
    let (mut writer, reader) = RingBuffer::new(4);
    for _ in 0..2 {
        writer.push(Frame::from_samples(Rate::Narrow, &[77; 160])).unwrap();
    }
    drop(writer);
    rig.play(1, 4, PlaySource::Stream(reader), 1);
    rig.play(1, 5, prompt(1_000, 10), 0);
    assert_eq!(
        rig.run(400),
        ["o1.1 played 1 true 80", "o1.1 played 2 true 40", "o1.1 played 3 true 40", "o1.1 played 4 true 40",]
    );
    rig.send(Command::StopPlay { leg: leg(1), play: PlayId(5) });
    rig.send(Command::StopPlay { leg: leg(1), play: PlayId(5) });
    assert_eq!(rig.run(40), ["o1.1 played 5 false 200"]);
    let log = log.lock().unwrap();
    let first: Vec<i16> = log.sent.iter().map(|(_, samples)| samples[80]).collect();
    assert_eq!(first[..6], [10, 10, 10, 10, 0, 0]);
    assert_eq!(first[8..12], [77, 77, 10, 10]);
    assert_eq!(log.sent.len(), 20);
}

#[test]
fn the_queue_is_bounded_and_nothing_is_left_untold() {
    let mut rig = Rig::new(Limits::default());
    rig.party(1, Rate::Narrow, 0);
    for n in 0..PLAYS_MAX as u32 + 2 {
        rig.play(1, n, PlaySource::Silence { ms: 1_000 }, 0);
    }
    rig.play(9, 1, prompt(1, 1), 1);
    rig.send(Command::SendDigits {
        leg: leg(9),
        play: PlayId(2),
        digits: Digits::parse("1").unwrap(),
        on_ms: 100,
        gap_ms: 100,
    });
    let told = rig.run(20);
    assert_eq!(
        told,
        [
            "o1.1 played 10 false 0",
            "o1.1 refused PlaysFull",
            "o1.1 played 11 false 0",
            "o1.1 refused PlaysFull",
            "o1.9 played 1 false 0",
            "o1.9 refused NoLeg",
            "o1.9 played 2 false 0",
            "o1.9 refused NoLeg",
        ]
    );
    rig.send(Command::Detach { leg: leg(1) });
    let told = rig.run(20);
    assert_eq!(told.len(), PLAYS_MAX + 1);
    assert_eq!(told[0], "o1.1 played 0 false 20");
    assert_eq!(told[1], "o1.1 played 1 false 0");
    assert_eq!(told[PLAYS_MAX], "o1.1 detached");
}

#[test]
fn a_prepared_prompt_goes_out_as_payload_unless_something_is_mixed_in() {
    let mut rig = Rig::new(Limits::default());
    let log = Arc::new(Mutex::new(Log::default()));
    let party = Party {
        rate: Rate::Narrow,
        says: 0,
        takes_payload: true,
        script: VecDeque::new(),
        log: Arc::clone(&log),
    };
    rig.send(Command::attach(leg(1), Box::new(party)));
    let prompt = Arc::new(Prompt::new(Rate::Narrow, vec![100; 160 * 100]));
    prompt.prepare(CodecId::Pcmu).unwrap();
    rig.play(1, 1, PlaySource::Prompt(Arc::clone(&prompt)), 1);
    rig.run(200);
    let counts = || {
        let log = log.lock().unwrap();
        (log.payloads, log.sent.len())
    };
    assert_eq!(counts(), (10, 0));
    rig.party(2, Rate::Narrow, 7);
    rig.connect(2, 1);
    rig.run(200);
    assert_eq!(counts().0, 10);
    assert_eq!(last(&log), 107);
}

#[test]
fn a_conference_gives_each_the_sum_of_the_others() {
    let mut rig = Rig::new(Limits::default());
    let voices = [1_000, 200, 30, 4];
    let logs: Vec<_> = (0..4).map(|n| rig.party(n, Rate::Narrow, voices[n as usize])).collect();
    for a in 0..4 {
        for b in 0..4 {
            if a != b {
                rig.connect(a, b);
            }
        }
    }
    rig.run(100);
    let heard: Vec<i16> = logs.iter().map(|log| last(log)).collect();
    assert_eq!(heard, [234, 1_034, 1_204, 1_230]);
    rig.send(Command::Detach { leg: leg(0) });
    rig.run(40);
    assert_eq!([last(&logs[1]), last(&logs[2]), last(&logs[3])], [34, 204, 230]);
    rig.send(Command::Disconnect { from: leg(1), to: leg(2) });
    rig.run(40);
    assert_eq!(last(&logs[2]), 4);
}

#[test]
fn loud_voices_are_held_at_full_scale() {
    let mut rig = Rig::new(Limits::default());
    let log = rig.party(0, Rate::Narrow, 0);
    for n in 1..=3 {
        rig.party(n, Rate::Narrow, 20_000);
        rig.connect(n, 0);
    }
    rig.run(60);
    assert_eq!(last(&log), i16::MAX);
}

#[test]
fn unequal_rates_are_brought_together_both_ways() {
    let mut rig = Rig::new(Limits::default());
    let narrow = rig.party(1, Rate::Narrow, 1_000);
    let wide = rig.party(2, Rate::Wide, 3_000);
    rig.connect(1, 2);
    rig.connect(2, 1);
    rig.play(2, 1, prompt(50, 500), 1);
    rig.run(400);
    assert!((last(&narrow) - 3_000).abs() < 10, "{}", last(&narrow));
    assert!((last(&wide) - 1_500).abs() < 10, "{}", last(&wide));
}

#[test]
fn connections_and_recordings_have_their_limits() {
    let mut rig = Rig::new(Limits::default());
    rig.party(0, Rate::Narrow, 0);
    for n in 1..=SOURCES_MAX as u32 + 1 {
        rig.party(n, Rate::Narrow, 1);
        rig.connect(n, 0);
    }
    // Once more changes nothing; itself is nobody's source.
    rig.connect(1, 0);
    rig.connect(0, 0);
    rig.connect(0, 99);
    for n in 0..=RECORDS_MAX as u32 {
        let (sink, reader) = RingBuffer::new(1);
        std::mem::forget(reader);
        rig.send(Command::Record { leg: leg(0), record: RecordId(n), what: RecordWhat::In, sink });
    }
    let told = rig.run(20);
    assert_eq!(
        told,
        [
            "o1.0 refused SourcesFull",
            "o1.0 refused SourcesFull",
            "o1.99 refused NoLeg",
            "o1.0 recorded 48 0 0",
            "o1.0 refused RecordsFull",
        ]
    );
}

#[test]
fn a_recording_has_every_frame_and_counts_what_did_not_fit() {
    let mut rig = Rig::new(Limits::default());
    rig.party(1, Rate::Narrow, 100);
    rig.party(2, Rate::Narrow, 11);
    rig.connect(2, 1);
    let mut readers = Vec::new();
    for (n, what) in [(1, RecordWhat::Both), (2, RecordWhat::Out)] {
        let (sink, reader) = RingBuffer::new(20);
        readers.push(reader);
        rig.send(Command::Record { leg: leg(1), record: RecordId(n), what, sink });
    }
    rig.run(500);
    let mut both = readers.remove(0);
    let out = readers.remove(0);
    let heard: Vec<i16> = core::iter::from_fn(|| both.pop().ok()).map(|frame| frame.samples()[5]).collect();
    assert_eq!(heard.len(), 20);
    assert_eq!(heard[2..], [111; 18]);
    rig.send(Command::StopRecord { leg: leg(1), record: RecordId(1) });
    assert_eq!(rig.run(20), ["o1.1 recorded 1 20 5"]);
    // A reader that goes away ends the recording.
    drop(out);
    assert_eq!(rig.run(40), ["o1.1 recorded 2 20 7"]);
}

#[test]
fn a_full_event_ring_delays_and_loses_nothing_that_must_be_told() {
    let mut rig = Rig::new(Limits { legs_max: 200, commands_max: 2_000, events_max: 40 });
    for n in 0..200 {
        rig.party(n, Rate::Narrow, 0);
        rig.play(n, 1, PlaySource::Silence { ms: 20 }, 1);
        rig.send(Command::Detach { leg: leg(n) });
        rig.party(n, Rate::Narrow, 0);
    }
    for _ in 0..200 {
        rig.tick();
    }
    let mut told = Vec::new();
    for _ in 0..200 {
        told.extend(core::iter::from_fn(|| rig.events.poll()).map(|event| name(&event)));
        rig.tick();
    }
    told.extend(core::iter::from_fn(|| rig.events.poll()).map(|event| name(&event)));
    assert_eq!(told.iter().filter(|e| e.contains("played 1")).count(), 200);
    assert_eq!(told.iter().filter(|e| e.ends_with("detached")).count(), 200);
    assert_eq!(rig.engine.counters().legs, 200);
}

#[test]
fn a_full_command_ring_gives_the_command_back_and_a_full_engine_the_leg() {
    let mut rig = Rig::new(Limits { legs_max: 1, commands_max: 3, events_max: 64 });
    rig.party(1, Rate::Narrow, 0);
    rig.party(2, Rate::Narrow, 0);
    rig.party(1, Rate::Narrow, 0);
    let refused = rig.commands.send(Command::Detach { leg: leg(1) });
    assert!(matches!(*refused.unwrap_err().0, Command::Detach { .. }));
    let why: Vec<Refusal> = {
        rig.tick();
        core::iter::from_fn(|| rig.events.poll())
            .filter_map(|event| match event {
                Event::Refused { why, .. } => Some(why),
                _ => None,
            })
            .collect()
    };
    assert_eq!(why, [Refusal::LegsFull, Refusal::LegTaken]);
}

/// A far end of packets, whose silence the test makes.
#[derive(Default)]
struct Packets {
    heard: Option<Instant>,
    may_be_silent: bool,
}

struct FarEnd(Arc<Mutex<Packets>>);

impl Endpoint for FarEnd {
    fn rate(&self) -> Rate {
        Rate::Narrow
    }

    fn receive(&mut self, _: Instant, frame: &mut Frame) -> Received {
        frame.reset(Rate::Narrow);
        Received::Silence
    }

    fn send(&mut self, _: Instant, _: &Frame) {}

    fn last_heard(&self) -> Option<Instant> {
        self.0.lock().unwrap().heard
    }

    fn may_be_silent(&self) -> bool {
        self.0.lock().unwrap().may_be_silent
    }
}

#[test]
fn silence_of_the_far_end_is_told_and_its_end() {
    let mut rig = Rig::new(Limits::default());
    let packets = Arc::new(Mutex::new(Packets::default()));
    rig.send(Command::attach(leg(1), Box::new(FarEnd(Arc::clone(&packets)))));
    rig.run(1_000);
    rig.send(Command::Watch { leg: leg(1), silent: Some(Duration::from_millis(300)) });
    assert_eq!(rig.run(200), [""; 0], "what was before does not count");
    assert_eq!(rig.run(800), ["o1.1 silent 300"]);
    packets.lock().unwrap().heard = Some(rig.now + Duration::from_millis(5));
    assert_eq!(rig.run(200), ["o1.1 back"]);
    assert_eq!(rig.run(800), ["o1.1 silent 300"]);
    // On hold, or after comfort noise, nothing is told, and it counts anew afterwards.
    packets.lock().unwrap().may_be_silent = true;
    assert_eq!(rig.run(1_000), [""; 0]);
    packets.lock().unwrap().heard = Some(rig.now + Duration::from_millis(5));
    assert_eq!(rig.run(1_000), ["o1.1 back"]);
    packets.lock().unwrap().may_be_silent = false;
    assert_eq!(rig.run(200), [""; 0]);
    assert_eq!(rig.run(800), ["o1.1 silent 300"]);
    rig.send(Command::Watch { leg: leg(1), silent: None });
    packets.lock().unwrap().heard = Some(rig.now + Duration::from_millis(5));
    assert_eq!(rig.run(1_000), [""; 0]);
    // What sends no packets is never missed.
    rig.party(2, Rate::Narrow, 0);
    rig.send(Command::Watch { leg: leg(2), silent: Some(Duration::from_millis(300)) });
    assert_eq!(rig.run(1_000), [""; 0]);
}

/// Two calls, 1 with 2 and 3 with 4; then 2 and 3 become the ends of a patch.
#[test]
fn a_patch_joins_two_bridges() {
    let mut rig = Rig::new(Limits::default());
    let mut logs = Vec::new();
    for (seq, rate, says) in
        [(1, Rate::Narrow, 100), (2, Rate::Narrow, 200), (3, Rate::Wide, 300), (4, Rate::Narrow, 400)]
    {
        logs.push(rig.party(seq, rate, says));
    }
    for (a, b) in [(1, 2), (3, 4)] {
        rig.connect(a, b);
        rig.connect(b, a);
    }
    rig.run(100);
    let last = |log: &Arc<Mutex<Log>>| log.lock().unwrap().sent.last().unwrap().1[0];
    assert_eq!(last(&logs[0]), 200);
    let (near, far) = patch(Rate::Narrow);
    rig.send(Command::Replace { leg: leg(2), endpoint: near });
    rig.send(Command::Replace { leg: leg(3), endpoint: far });
    assert_eq!(rig.run(100), ["returned", "returned"]);
    assert_eq!((last(&logs[0]), last(&logs[3])), (400, 100));
    // Not a frame is lost once it runs.
    let before = logs[0].lock().unwrap().sent.len();
    rig.run(1_000);
    let sent = logs[0].lock().unwrap().sent.split_off(before);
    assert_eq!(sent.len(), 50);
    assert!(sent.iter().all(|(_, frame)| frame.iter().all(|sample| *sample == 400)));
    // Keys go through, and are heard as such at both ends of the way.
    let digits = Digits::parse("5").unwrap();
    rig.send(Command::SendDigits { leg: leg(2), play: PlayId(1), digits, on_ms: 100, gap_ms: 60 });
    let told = rig.run(400);
    assert_eq!(told, ["o1.3 began 5", "o1.3 digit 5", "o1.2 played 1 true 160"]);
    rig.send(Command::Detach { leg: leg(2) });
    rig.run(100);
    assert_eq!(last(&logs[3]), 0);
}

#[test]
fn what_plays_in_a_booth_is_heard_by_all_who_hear_it_and_stands_still_when_told() {
    let mut rig = Rig::new(Limits::default());
    let logs = [rig.party(1, Rate::Narrow, 0), rig.party(2, Rate::Narrow, 0)];
    rig.send(Command::attach(leg(9), booth(Rate::Narrow)));
    rig.connect(9, 1);
    rig.connect(9, 2);
    let source = PlaySource::Prompt(Arc::new(Prompt::new(
        Rate::Narrow,
        (1..=10).flat_map(|value| vec![value; 160]).collect(),
    )));
    rig.play(9, 1, source, 1);
    let heard = |log: &Mutex<Log>| -> Vec<i16> {
        let log = log.lock().unwrap();
        log.sent.iter().map(|(_, frame)| frame[80]).filter(|value| *value != 0).collect()
    };
    rig.run(100);
    rig.send(Command::SuspendPlay { leg: leg(9), play: PlayId(1), still: true });
    rig.run(200);
    let stood = heard(&logs[0]).len();
    assert!((4..=6).contains(&stood), "{stood}");
    assert_eq!(last(&logs[0]), 0, "silence while it stands still");
    // Nothing is left out and nothing comes twice.
    rig.send(Command::SuspendPlay { leg: leg(9), play: PlayId(1), still: false });
    assert_eq!(rig.run(400), ["o1.9 played 1 true 200"]);
    for log in &logs {
        assert_eq!(heard(log), (1..=10).collect::<Vec<_>>());
    }
    // One that is not there is no trouble.
    rig.send(Command::SuspendPlay { leg: leg(7), play: PlayId(1), still: true });
    rig.send(Command::SuspendPlay { leg: leg(9), play: PlayId(5), still: true });
    assert_eq!(rig.run(20), [""; 0]);
}

#[test]
fn a_booth_records_who_comes_and_goes_and_silence_between() {
    let mut rig = Rig::new(Limits::default());
    rig.party(1, Rate::Narrow, 100);
    rig.party(2, Rate::Wide, 20);
    rig.send(Command::attach(leg(9), booth(Rate::Narrow)));
    let (sink, mut recorded) = RingBuffer::new(100);
    rig.send(Command::Record { leg: leg(9), record: RecordId(1), what: RecordWhat::Out, sink });
    let mut middle = |rig: &mut Rig| {
        rig.run(200);
        let mut values = Vec::new();
        while let Ok(frame) = recorded.pop() {
            values.push(frame.samples()[80]);
        }
        assert_eq!(values.len(), 10);
        values[5..].to_vec()
    };
    assert_eq!(middle(&mut rig), [0; 5]);
    rig.connect(1, 9);
    assert_eq!(middle(&mut rig), [100; 5]);
    rig.connect(2, 9);
    assert!(middle(&mut rig).iter().all(|value| (118..=122).contains(value)));
    rig.send(Command::Detach { leg: leg(1) });
    assert!(middle(&mut rig).iter().all(|value| (18..=22).contains(value)));
    rig.send(Command::Disconnect { from: leg(2), to: leg(9) });
    assert_eq!(middle(&mut rig), [0; 5]);
}
