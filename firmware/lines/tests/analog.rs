//! Analog lines against the card in software: true machines, desk, media engine and card thread,
//! over a true pseudo-terminal and true ALSA.
//!
//! As in `linecard.rs`, each test runs once more in a process of its own, whose environment says
//! where ALSA's configuration is.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one thing and passes over the rest")]

use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rtrb::{Consumer, RingBuffer};
use tipring_lines::MediaPort;
use tipring_lines::analog::contract::{EndSign, HeardTone, Note};
use tipring_lines::analog::country::CountryPlan;
use tipring_lines::analog::fxo::FxoSettings;
use tipring_lines::analog::fxs::FxsSettings;
use tipring_lines::analog::lessons::LearnedTone;
use tipring_lines::analog::try_out::{TestTone, TryOut, TryOutEnd, TryOutRefusal, TryOutReport};
use tipring_lines::analog::voice::SoundPlan;
use tipring_lines::analog::watch::{Happening, PortStatus, WireState};
use tipring_lines::analog::{AnalogLines, AnalogOptions, AnalogSettings};
use tipring_lines::port::DeviceSettings;
use tipring_lines::port::linecard::CardSettings;
use tipring_media::dsp::caller_id::{
    self, CallerIdReceiver, CallerIdSender, HeardMessage, LineMessage, LineTime, SendAs, Text,
};
use tipring_media::dsp::tone::Oscillator;
use tipring_media::dsp::tone_detect::{ToneDetector, ToneEvent, ToneKind};
use tipring_media::{
    Command, Engine, Frame, Limits, MediaThread, PlaySource, Prompt, Rate, RecordWhat, ThreadOptions,
};
use tipring_model::line::{DownReason, LineCommand, LineEvent, Offer, PlaceExtras, TransferStage};
use tipring_model::settings::{RawSettings, RawValue, Settings};
use tipring_model::{CallerId, Cause, LegId, LineId, Number, PlayId, RecordId};
use tipring_testkit::linecard::{Order, Simulator, Sound, StageSettings, Told};
use tipring_testkit::phone::{compare, voice};
use tokio::sync::mpsc;

/// Whatever is waited for comes long before.
const LIMIT: Duration = Duration::from_secs(60);
/// The one port of the simulated card, as the card counts.
const PORT: usize = 1;
const LINE: LineId = LineId(1);

/// The folder of a test's card, in the process that is told of it; `None` in the one that tells,
/// when the other has ended well.
fn folder(test: &str) -> Option<PathBuf> {
    const VARIABLE: &str = "ALSA_CONFIG_PATH";
    let name = format!("tipring-analog-{test}-");
    let told = std::env::var_os(VARIABLE).map(PathBuf::from);
    let own = told.as_ref().and_then(|path| path.parent()).map(Path::to_path_buf);
    if let Some(own) = own.filter(|own| own.to_string_lossy().contains(&name)) {
        return Some(own);
    }
    let own = std::env::temp_dir().join(format!("{name}{}", std::process::id()));
    let output = Process::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(VARIABLE, own.join("alsa.conf"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{test}: {}\n{}", output.status, String::from_utf8_lossy(&said));
    std::fs::remove_dir_all(own).unwrap();
    None
}

enum Ask {
    Line(LineCommand),
    Media(Command),
    Try(TryOut),
    /// Volts, and how the port stands.
    Ports,
    Happened,
    Stop,
}

#[derive(Debug)]
enum Said {
    Event(LineEvent),
    Note(LegId, Note),
    Learned(LearnedTone),
    Tried(Result<TryOutReport, TryOutRefusal>),
    Port(PortStatus),
    Happened(Vec<Happening>),
}

/// The main thread of a box with one analog line, and its card.
struct Bench {
    asks: mpsc::Sender<Ask>,
    said: Receiver<Said>,
    main: Option<JoinHandle<()>>,
    simulator: Simulator,
    placed: u32,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.asks.blocking_send(Ask::Stop);
        if let Some(main) = self.main.take() {
            let _ = main.join();
        }
    }
}

fn phone() -> AnalogSettings {
    let mut raw = RawSettings::new();
    raw.set("port", RawValue::Text("card1/1".into()));
    raw.set("number", RawValue::Text("202".into()));
    AnalogSettings::Phone(Box::new(FxsSettings::parse(&raw).unwrap()))
}

fn exchange_line() -> AnalogSettings {
    let mut raw = RawSettings::new();
    raw.set("port", RawValue::Text("card1/1".into()));
    raw.set("number", RawValue::Text("5550199".into()));
    raw.set("answer", RawValue::Text("dialled".into()));
    AnalogSettings::Line(Box::new(FxoSettings::parse(&raw).unwrap()))
}

fn local_time() -> Option<LineTime> {
    LineTime::new(11, 29, 14, 5)
}

async fn serve(
    card: CardSettings,
    line: AnalogSettings,
    mut asks: mpsc::Receiver<Ask>,
    said: SyncSender<Said>,
) {
    let (engine, sender, _events) = Engine::new(Limits::default());
    let _media_thread = MediaThread::spawn(engine, ThreadOptions::default()).unwrap();
    let media = MediaPort::new(sender);
    let options = AnalogOptions {
        devices: vec![(String::from("card1"), DeviceSettings::LineCard(card))],
        plan: CountryPlan::default(),
        sounds: SoundPlan::default(),
        learned_tones: Vec::new(),
        numbers: vec![Number::new("201")],
        local_time,
    };
    let lines = AnalogLines::open(options, vec![(LINE, line)], media.clone()).unwrap();
    loop {
        tokio::select! {
            ask = asks.recv() => match ask {
                Some(Ask::Line(command)) => lines.command(LINE, command),
                Some(Ask::Media(command)) => media.send(command),
                Some(Ask::Try(what)) => {
                    let (lines, said) = (lines.clone(), said.clone());
                    tokio::task::spawn_local(async move {
                        said.send(Said::Tried(lines.try_out(LINE, what).await)).unwrap();
                    });
                }
                Some(Ask::Ports) => {
                    lines.measure().await;
                    said.send(Said::Port(lines.ports().remove(0))).unwrap();
                }
                Some(Ask::Happened) => {
                    let happened = lines.happenings(0).await;
                    assert_eq!((happened.missed, lines.last_happening()),
                        (0, happened.happenings.last().unwrap().number));
                    said.send(Said::Happened(happened.happenings)).unwrap();
                    while let Some(tone) = lines.try_learned() {
                        said.send(Said::Learned(tone)).unwrap();
                    }
                }
                Some(Ask::Stop) | None => return,
            },
            (_, event) = lines.event() => {
                while let Some((leg, note)) = lines.try_note() {
                    said.send(Said::Note(leg, note)).unwrap();
                }
                said.send(Said::Event(event)).unwrap();
            }
        }
    }
}

impl Bench {
    fn new(directory: PathBuf, line: AnalogSettings) -> Self {
        let kinds = match &line {
            AnalogSettings::Phone(_) => "P",
            AnalogSettings::Line(_) => "L",
        };
        let kinds = kinds.to_owned();
        let simulator = Simulator::start(StageSettings { directory, kinds, audio: None }).unwrap();
        let card = CardSettings {
            serial_path: simulator.serial_path().to_str().unwrap().to_owned(),
            audio_device: String::from("tipring"),
            ports: Vec::new(),
        };
        let (asks, asked) = mpsc::channel(64);
        let (says, said) = sync_channel(1_024);
        let main = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, serve(card, line, asked, says));
        });
        let bench = Self { asks, said, main: Some(main), simulator, placed: 0 };
        bench.event(|event| matches!(event, LineEvent::Up).then_some(()));
        bench
    }

    fn order(&self, order: serde_json::Value) {
        self.simulator.order(serde_json::from_value(order).unwrap()).unwrap();
    }

    fn command(&self, command: LineCommand) {
        assert!(self.asks.blocking_send(Ask::Line(command)).is_ok());
    }

    fn media(&self, command: Command) {
        assert!(self.asks.blocking_send(Ask::Media(command)).is_ok());
    }

    /// Waits for what `pick` takes; the rest is passed over.
    fn wait<T>(&self, mut pick: impl FnMut(&Said) -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        let mut instead = Vec::new();
        while let Ok(said) = self.said.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if let Some(picked) = pick(&said) {
                return picked;
            }
            instead.push(said);
        }
        panic!("not within {LIMIT:?}, but {instead:?}");
    }

    fn event<T>(&self, mut pick: impl FnMut(&LineEvent) -> Option<T>) -> T {
        self.wait(|said| if let Said::Event(event) = said { pick(event) } else { None })
    }

    fn try_out(&self, what: TryOut) {
        assert!(self.asks.blocking_send(Ask::Try(what)).is_ok());
    }

    fn tried(&self) -> Result<TryOutReport, TryOutRefusal> {
        self.wait(|said| if let Said::Tried(result) = said { Some(result.clone()) } else { None })
    }

    fn port(&self) -> PortStatus {
        assert!(self.asks.blocking_send(Ask::Ports).is_ok());
        self.wait(|said| if let Said::Port(status) = said { Some(status.clone()) } else { None })
    }

    /// Asks until the port stands as is waited for.
    fn port_is(&self, wire: WireState) -> PortStatus {
        let end = Instant::now() + LIMIT;
        loop {
            let status = self.port();
            if status.wire == wire {
                return status;
            }
            assert!(Instant::now() < end, "{status:?}");
        }
    }

    /// What happened, kind and text.
    fn happened(&self) -> Vec<String> {
        assert!(self.asks.blocking_send(Ask::Happened).is_ok());
        let all = self.wait(|said| if let Said::Happened(all) = said { Some(all.clone()) } else { None });
        all.iter().map(|one| format!("{} {}", one.what.kind(), one.what)).collect()
    }

    fn offered(&self) -> Offer {
        self.event(|event| if let LineEvent::Offered(offer) = event { Some(offer.clone()) } else { None })
    }

    fn answered(&self) -> LegId {
        self.event(|event| if let LineEvent::Answered { leg, .. } = event { Some(*leg) } else { None })
    }

    fn released(&self) -> (LegId, Cause) {
        self.event(|event| {
            if let LineEvent::Released { leg, cause, .. } = event { Some((*leg, *cause)) } else { None }
        })
    }

    fn place(&mut self, to: &str, from: CallerId) -> LegId {
        self.placed += 1;
        let leg = LegId::placed(1, self.placed);
        self.command(LineCommand::Place { leg, to: Number::new(to), from, extras: PlaceExtras::default() });
        leg
    }

    fn told<T>(&self, pick: impl FnMut(&Told) -> Option<T>) -> T {
        match self.simulator.wait(LIMIT, pick) {
            Ok(picked) => picked,
            Err(instead) => panic!("not within {LIMIT:?}, but {instead:?}"),
        }
    }

    fn loop_closed(&self, expected: bool) {
        self.told(|told| matches!(told, Told::Loop { closed, .. } if *closed == expected).then_some(()));
    }

    /// Waits until whoever is at the port has heard a tone of the country since he was told to forget.
    fn hears(&self, expected: ToneKind) {
        let sounds = SoundPlan::default();
        let plan = [(ToneKind::Dial, sounds.dial), (ToneKind::Busy, sounds.busy)];
        let end = Instant::now() + LIMIT;
        let mut heard = Vec::new();
        while Instant::now() < end {
            heard.clear();
            ToneDetector::new(&plan).push(&self.simulator.heard(PORT).unwrap(), &[], |event| {
                heard.push(event);
            });
            if heard.contains(&ToneEvent::Began(expected)) {
                return;
            }
            self.says(&[0; 800]);
        }
        panic!("{expected:?} is not heard, but {heard:?}");
    }

    /// Lets the party at the port say this, and waits until it is said.
    fn says(&self, samples: &[i16]) {
        self.simulator.order(Order::Say { port: PORT, sound: Sound::Samples(samples.to_vec()) }).unwrap();
        self.told(|told| matches!(told, Told::Said { .. }).then_some(()));
    }

    /// Both sides speak in turn, and each is heard by the other.
    fn talk(&self, leg: LegId) {
        let (asks, replies) = (voice::speech_like(11, 2_500), voice::speech_like(12, 2_500));
        let (sink, mut record) = RingBuffer::new(1_000);
        let what = RecordWhat::In;
        self.media(Command::Record { leg, record: RecordId(1), what, sink });
        self.order(serde_json::json!({"do": "forget", "port": PORT}));
        self.says(&asks);
        let source = PlaySource::Prompt(Arc::new(Prompt::new(Rate::Narrow, replies.clone())));
        self.media(Command::Play { leg, play: PlayId(1), source, loops: 1 });
        let mut heard = Vec::new();

        let end = Instant::now() + LIMIT;
        // Meanwhile the other side is silent, a tenth of a second at a time.
        while !alike(&replies, &self.simulator.heard(PORT).unwrap()) {
            assert!(Instant::now() < end, "the leg is not heard at the port");
            self.says(&[0; 800]);
        }
        while !alike(&asks, &heard) {
            assert!(Instant::now() < end, "the port is not heard by the leg");
            self.says(&[0; 800]);
            heard.extend(frames(&mut record));
        }
    }
}

/// All but one of five parts are heard: a box that is busy may have been late for one of them, and
/// clocks are kept together by a sample now and then.
fn alike(expected: &[i16], heard: &[i16]) -> bool {
    const PART: usize = 1_600;
    let is_heard = |part: &&[i16]| compare::find_in_parts(part, heard, 400, 80).correlation > 0.8;
    heard.len() > expected.len()
        && expected
            .chunks_exact(expected.len() / 5)
            .filter_map(|part| part.get(..PART))
            .filter(is_heard)
            .count()
            > 3
}

fn frames(record: &mut Consumer<Frame>) -> Vec<i16> {
    std::iter::from_fn(|| record.pop().ok()).flat_map(|frame| frame.samples().to_vec()).collect()
}

fn read_caller(sound: &[i16]) -> Vec<HeardMessage> {
    let mut messages = Vec::new();
    CallerIdReceiver::default().push(sound, |message| messages.push(message));
    messages
}

#[test]
fn a_telephone_hears_dial_tone_dials_and_talks() {
    let Some(folder) = folder("a_telephone_hears_dial_tone_dials_and_talks") else { return };
    let bench = Bench::new(folder, phone());
    for dials in [
        serde_json::json!({"do": "press", "port": PORT, "digits": "201"}),
        serde_json::json!({"do": "pulse", "port": PORT, "digits": "201"}),
    ] {
        bench.order(serde_json::json!({"do": "forget", "port": PORT}));
        bench.order(serde_json::json!({"do": "lift", "port": PORT}));
        bench.hears(ToneKind::Dial);
        bench.order(dials);
        let offer = bench.offered();
        assert_eq!((offer.to.as_str(), offer.from.number_or_anonymous()), ("201", "202"));
        bench.command(LineCommand::Answer { leg: offer.leg });
        assert_eq!(bench.answered(), offer.leg);
        bench.talk(offer.leg);
        bench.order(serde_json::json!({"do": "hang_up", "port": PORT}));
        assert_eq!(bench.released(), (offer.leg, Cause::NormalClearing));
    }
}

#[test]
fn a_telephone_rings_shows_who_calls_and_answers() {
    let Some(folder) = folder("a_telephone_rings_shows_who_calls_and_answers") else { return };
    let mut bench = Bench::new(folder, phone());
    let from = CallerId { number: Some(Number::new("5550100")), name: Some("Ann".into()) };
    let leg = bench.place("202", from);
    bench.event(|event| matches!(event, LineEvent::Alerting { .. }).then_some(()));
    let ring = |told: &Told| if let Told::Ring { on, at, .. } = told { Some((*on, *at)) } else { None };
    let rings: Vec<(bool, u64)> = (0..3).map(|_| bench.told(ring)).collect();
    let steps_ms: Vec<u64> = rings.windows(2).map(|two| (two[1].1 - two[0].1) / 8).collect();
    assert_eq!((rings[0].0, steps_ms), (true, vec![2_000, 4_000]));
    let messages = read_caller(&bench.simulator.heard(PORT).unwrap());
    let [message] = messages[..] else { panic!("{messages:?}") };
    assert_eq!(message.standard, caller_id::Standard::Bellcore);
    let LineMessage::Call(caller) = message.message else { panic!("{message:?}") };
    assert_eq!((caller.number.unwrap().as_str(), caller.name.unwrap().as_str()), ("5550100", "Ann"));
    assert_eq!(caller.date_time, local_time());
    bench.order(serde_json::json!({"do": "lift", "port": PORT}));
    assert_eq!(bench.answered(), leg);
    bench.talk(leg);
    // The far end hangs up: busy tone.
    bench.order(serde_json::json!({"do": "forget", "port": PORT}));
    bench.command(LineCommand::Release { leg, cause: Cause::NormalClearing });
    assert_eq!(bench.released().0, leg);
    bench.hears(ToneKind::Busy);
}

/// An exchange rings, tells who calls, is answered, and breaks the loop in the end.
#[test]
fn an_exchange_calls() {
    let Some(folder) = folder("an_exchange_calls") else { return };
    let bench = Bench::new(folder, exchange_line());
    let number = Ok(Text::new("5550100", 32));
    let caller = caller_id::CallerId { number, date_time: local_time(), ..Default::default() };
    let mut sound = vec![0; 16_000];
    let message = LineMessage::Call(caller);
    let length = CallerIdSender::new(&message, SendAs::Bellcore, false).unwrap().fill(&mut sound);
    sound.truncate(length);
    bench.order(serde_json::json!({
        "do": "ring", "port": PORT, "cadence": [2_000, 4_000],
        "between": {"after": 1, "wait_ms": 500, "samples": sound}
    }));
    let offer = bench.offered();
    assert_eq!((offer.to.as_str(), offer.from.number_or_anonymous()), ("5550199", "5550100"));
    bench.command(LineCommand::Answer { leg: offer.leg });
    assert_eq!(bench.answered(), offer.leg);
    bench.loop_closed(true);
    bench.talk(offer.leg);
    bench.order(serde_json::json!({"do": "break", "port": PORT, "ms": 250}));
    let mut notes = Vec::new();
    let released = bench.wait(|said| match said {
        Said::Note(_, note) => {
            notes.push(*note);
            None
        }
        Said::Event(LineEvent::Released { leg, .. }) => Some(*leg),
        _ => None,
    });
    assert_eq!(released, offer.leg);
    // What was noted at the offer was passed over when the answer was waited for.
    assert_eq!(notes, [Note::End(EndSign::LoopBreak)]);
    bench.loop_closed(false);
}

#[test]
fn an_exchange_is_dialled_and_each_sign_ends_the_call() {
    let Some(folder) = folder("an_exchange_is_dialled_and_each_sign_ends_the_call") else { return };
    let mut bench = Bench::new(folder, exchange_line());
    let dial = serde_json::json!({"do": "tone", "port": PORT, "hz": [350, 440]});
    for (ends, sign) in [
        (serde_json::json!({"do": "reverse", "port": PORT, "on": false}), EndSign::Reversal),
        (
            serde_json::json!({"do": "tone", "port": PORT, "hz": [480, 620], "cadence": [500, 500]}),
            EndSign::Tone(HeardTone::Busy),
        ),
        (dial.clone(), EndSign::DialTone),
    ] {
        let leg = bench.place("123", CallerId::of("202"));
        bench.loop_closed(true);
        bench.order(dial.clone());
        let mut digits = String::new();
        while digits.len() < 3 {
            digits.push(bench.told(|told| {
                if let Told::Digit { digit, pulses: false, .. } = told { Some(*digit) } else { None }
            }));
            bench.order(serde_json::json!({"do": "silence", "port": PORT}));
        }
        assert_eq!(digits, "123");
        assert_eq!(bench.answered(), leg);
        if sign == EndSign::Reversal {
            // The far end answers; when it hangs up, the battery is as it was.
            bench.order(serde_json::json!({"do": "reverse", "port": PORT, "on": true}));
        }
        // Signs right after the line was taken mean nothing.
        bench.says(&voice::speech_like(5, 1_500));
        bench.order(ends);
        let noted = bench.wait(|said| match said {
            Said::Note(of, Note::End(sign)) if *of == leg => Some(*sign),
            _ => None,
        });
        assert_eq!(noted, sign);
        assert_eq!(bench.released().0, leg);
        bench.loop_closed(false);
        bench.order(serde_json::json!({"do": "silence", "port": PORT}));
    }
}

#[test]
fn a_card_that_is_pulled_out_ends_the_call_and_comes_back() {
    let Some(folder) = folder("a_card_that_is_pulled_out_ends_the_call_and_comes_back") else { return };
    let mut bench = Bench::new(folder, phone());
    for _ in 0..2 {
        // After the first round the telephone is busy until its receiver is known to be down.
        let leg = loop {
            let leg = bench.place("202", CallerId::of("201"));
            let is_alerting = bench.event(|event| match event {
                LineEvent::Alerting { .. } => Some(true),
                LineEvent::Released { .. } => Some(false),
                _ => None,
            });
            if is_alerting {
                break leg;
            }
        };
        bench.order(serde_json::json!({"do": "lift", "port": PORT}));
        assert_eq!(bench.answered(), leg);
        bench.talk(leg);
        bench.order(serde_json::json!({"do": "unplug"}));
        assert_eq!(bench.released(), (leg, Cause::TemporaryFailure));
        bench.event(|event| matches!(event, LineEvent::Down(DownReason::NoDevice)).then_some(()));
        bench.order(serde_json::json!({"do": "plug"}));
        bench.event(|event| matches!(event, LineEvent::Up).then_some(()));
        // A receiver that is still lifted hears dial tone.
        bench.order(serde_json::json!({"do": "forget", "port": PORT}));
        bench.hears(ToneKind::Dial);
        bench.order(serde_json::json!({"do": "hang_up", "port": PORT}));
    }
}

#[test]
fn a_telephone_is_tried_out_until_somebody_wants_it() {
    let Some(folder) = folder("a_telephone_is_tried_out_until_somebody_wants_it") else { return };
    let AnalogSettings::Phone(mut settings) = phone() else { panic!() };
    settings.sound.played_gain_db = -6;
    let mut bench = Bench::new(folder, AnalogSettings::Phone(settings));
    let rings = |bench: &Bench, expected| {
        bench.told(|told| matches!(told, Told::Ring { on, .. } if *on == expected).then_some(()));
    };
    bench.try_out(TryOut::Tone(TestTone::Dial));
    assert_eq!(bench.tried(), Err(TryOutRefusal::ReceiverDown));
    bench.try_out(TryOut::Ring { seconds: 61 });
    assert_eq!(bench.tried(), Err(TryOutRefusal::OutOfRange));
    bench.try_out(TryOut::Test);
    let report = bench.tried().unwrap();
    assert_eq!((report.end, report.on_hook.map(|volts| volts.voltage_dv)), (TryOutEnd::Done, Some(-482)));
    // It rings by itself, and stops.
    bench.try_out(TryOut::Ring { seconds: 1 });
    rings(&bench, true);
    rings(&bench, false);
    assert_eq!(bench.tried().unwrap().end, TryOutEnd::Done);
    // A call comes first.
    bench.try_out(TryOut::Ring { seconds: 60 });
    rings(&bench, true);
    assert_eq!(bench.port_is(WireState::Ringing).legs, []);
    bench.try_out(TryOut::Ring { seconds: 60 });
    assert_eq!(bench.tried(), Err(TryOutRefusal::Running));
    let leg = bench.place("202", CallerId::of("201"));
    assert_eq!(bench.tried().unwrap().end, TryOutEnd::Call);
    assert_eq!(bench.port_is(WireState::Ringing).legs, [leg]);
    bench.command(LineCommand::Release { leg, cause: Cause::Cancelled });
    bench.released();
    // Whoever lifts the receiver hears dial tone, then what is tried out.
    bench.try_out(TryOut::Ring { seconds: 60 });
    bench.order(serde_json::json!({"do": "lift", "port": PORT}));
    assert_eq!(bench.tried().unwrap().end, TryOutEnd::Lifted);
    bench.order(serde_json::json!({"do": "forget", "port": PORT}));
    bench.hears(ToneKind::Dial);
    bench.try_out(TryOut::Ring { seconds: 1 });
    assert_eq!(bench.tried(), Err(TryOutRefusal::Busy));
    bench.try_out(TryOut::Tone(TestTone::Level));
    let end = Instant::now() + LIMIT;
    while !(-17.0..-15.0).contains(&bench.port().levels.played_dbm0) || !bench.port().is_tried {
        assert!(Instant::now() < end, "{:?}", bench.port());
    }
    bench.order(serde_json::json!({"do": "press", "port": PORT, "digits": "201"}));
    assert_eq!(bench.tried().unwrap().end, TryOutEnd::Dialled);
    let offer = bench.offered();
    assert_eq!(offer.to.as_str(), "201");
    let status = bench.port();
    assert_eq!((status.wire, status.legs, status.is_tried), (WireState::OffHook, vec![offer.leg], false));
    assert_eq!((status.calls_in, status.calls_out, status.lost_facts), (1, 1, 0));
    assert_eq!(status.measured.map(|measured| measured.reading.current_dma), Some(230));
    let happened = bench.happened();
    for expected in ["test begins: ring for 1 s", "wire receiver lifted", "plays dial tone", "heard key 2"] {
        assert!(happened.iter().any(|one| one == expected), "{expected}: {happened:#?}");
    }
}

#[test]
fn an_exchange_line_is_tried_out_until_a_call_wants_it() {
    let Some(folder) = folder("an_exchange_line_is_tried_out_until_a_call_wants_it") else { return };
    let mut bench = Bench::new(folder, exchange_line());
    bench.try_out(TryOut::Ring { seconds: 1 });
    assert_eq!(bench.tried(), Err(TryOutRefusal::WrongKind));
    bench.try_out(TryOut::Test);
    bench.loop_closed(true);
    bench.order(serde_json::json!({"do": "tone", "port": PORT, "hz": [350, 440]}));
    bench.told(|told| matches!(told, Told::Digit { digit: '1', .. }).then_some(()));
    bench.order(serde_json::json!({"do": "silence", "port": PORT}));
    bench.loop_closed(false);
    let report = bench.tried().unwrap();
    assert_eq!(report.end, TryOutEnd::Done);
    assert!(report.dial_tone.is_some_and(|after| after < Duration::from_secs(10)), "{report}");
    assert_eq!(report.on_hook.map(|volts| volts.voltage_dv), Some(-481));
    assert_eq!(report.off_hook.map(|volts| volts.current_dma), Some(231));
    // This exchange is silent and gives no echo.
    assert!(report.noise_dbm0.is_some_and(|noise| noise < -60.0), "{report}");
    assert!(report.echo.is_some_and(|echo| echo.return_loss_db > 30.0), "{report}");
    // The line rests as after a call. This exchange has no dial tone.
    let report = loop {
        bench.try_out(TryOut::Tone(TestTone::Dial));
        match bench.tried() {
            Err(TryOutRefusal::Busy) => bench.says(&[0; 800]),
            other => break other.unwrap(),
        }
    };
    assert_eq!((report.end, report.dial_tone), (TryOutEnd::Done, None));
    // A call comes first.
    loop {
        bench.try_out(TryOut::Test);
        if bench.port().is_tried {
            break;
        }
        bench.says(&[0; 800]);
    }
    let leg = bench.place("123", CallerId::of("202"));
    let end = bench.wait(|said| if let Said::Tried(Ok(report)) = said { Some(report.end) } else { None });
    assert_eq!(end, TryOutEnd::Call);
    bench.order(serde_json::json!({"do": "tone", "port": PORT, "hz": [350, 440]}));
    assert_eq!(bench.answered(), leg);
    assert_eq!(bench.port_is(WireState::Seized).calls_out, 1);
}

#[test]
fn an_exchange_line_learns_the_tone_that_two_calls_ended_with() {
    let Some(folder) = folder("an_exchange_line_learns_the_tone_that_two_calls_ended_with") else { return };
    let mut bench = Bench::new(folder, exchange_line());
    let mut tone = Vec::new();
    let mut player = Oscillator::new(Rate::Narrow, &[(413.0, -18.0)]);
    for _ in 0..9 {
        let mut sound = vec![0; 330 * 8];
        player.fill(&mut sound);
        tone.extend(sound);
        tone.resize(tone.len() + 330 * 8, 0);
    }
    // The third call ends with what was learned.
    for call in 0..3 {
        let leg = bench.place("123", CallerId::of("202"));
        bench.loop_closed(true);
        bench.order(serde_json::json!({"do": "tone", "port": PORT, "hz": [350, 440]}));
        bench.told(|told| matches!(told, Told::Digit { digit: '3', .. }).then_some(()));
        bench.order(serde_json::json!({"do": "silence", "port": PORT}));
        assert_eq!(bench.answered(), leg);
        let said = [voice::speech_like(5, 1_500), vec![0; 4_000], tone.clone()].concat();
        if call < 2 {
            bench.says(&said);
        } else {
            let order = Order::Say { port: PORT, sound: Sound::Samples(said) };
            bench.simulator.order(order).unwrap();
            let learned = EndSign::Tone(HeardTone::LearnedBusy);
            bench.wait(|said| {
                matches!(said, Said::Note(_, Note::End(sign)) if *sign == learned).then_some(())
            });
        }
        if call < 2 {
            bench.order(serde_json::json!({"do": "break", "port": PORT, "ms": 250}));
        }
        assert_eq!(bench.released().0, leg);
        bench.loop_closed(false);
    }
    let end = Instant::now() + LIMIT;
    while !bench.happened().iter().any(|one| one.starts_with("learned tone 41")) {
        assert!(Instant::now() < end, "{:#?}", bench.happened());
        bench.says(&[0; 800]);
    }
    let learned = bench.wait(|said| if let Said::Learned(tone) = said { Some(tone.clone()) } else { None });
    assert_eq!(LearnedTone::parse(LINE, &learned.to_string()), Some(learned));
}

#[test]
fn a_telephone_that_hangs_up_between_two_joins_them() {
    let Some(folder) = folder("a_telephone_that_hangs_up_between_two_joins_them") else { return };
    let mut bench = Bench::new(folder, phone());
    bench.order(serde_json::json!({"do": "lift", "port": PORT}));
    bench.hears(ToneKind::Dial);
    let mut legs = Vec::new();
    for n in 0..2 {
        bench.order(serde_json::json!({"do": "press", "port": PORT, "digits": "201"}));
        let leg = bench.offered().leg;
        bench.command(LineCommand::Answer { leg });
        assert_eq!(bench.answered(), leg);
        legs.push(leg);
        if n == 0 {
            // The last key is let go.
            bench.says(&[0; 1_600]);
            bench.order(serde_json::json!({"do": "flash", "port": PORT}));
            bench.event(|event| matches!(event, LineEvent::Held { held: true, .. }).then_some(()));
            // The recall tone is heard before keys are.
            bench.says(&[0; 4_000]);
        }
    }
    bench.order(serde_json::json!({"do": "hang_up", "port": PORT}));
    let (leg, referral) = bench.event(|event| match event {
        LineEvent::Refer { leg, referral } => Some((*leg, referral.clone())),
        _ => None,
    });
    assert_eq!((leg, referral.replaces, referral.to.as_str()), (legs[0], Some(legs[1]), "201"));
    bench.command(LineCommand::Transfer { leg, from: CallerId::default(), referral });
    let stage = bench.event(|event| match event {
        LineEvent::Transferring { stage, .. } => Some(*stage),
        _ => None,
    });
    assert_eq!(stage, TransferStage::Done);
    // What one call sends to its leg the other hears from its own.
    let said = voice::speech_like(13, 2_500);
    let (sink, mut record) = RingBuffer::new(1_000);
    bench.media(Command::Record { leg: legs[1], record: RecordId(1), what: RecordWhat::In, sink });
    let source = PlaySource::Prompt(Arc::new(Prompt::new(Rate::Narrow, said.clone())));
    bench.media(Command::Play { leg: legs[0], play: PlayId(1), source, loops: 1 });
    let (end, mut heard) = (Instant::now() + LIMIT, Vec::new());
    while !alike(&said, &heard) {
        assert!(Instant::now() < end, "the two do not hear each other");
        // On hook nobody says anything; the card's answer takes a while.
        bench.port();
        heard.extend(frames(&mut record));
    }
    // The telephone is free, and rings for others.
    let other = bench.place("202", CallerId::of("201"));
    bench.event(|event| matches!(event, LineEvent::Alerting { leg, .. } if *leg == other).then_some(()));
    assert_eq!(bench.port_is(WireState::Ringing).legs, [other]);
    bench.command(LineCommand::Release { leg: legs[1], cause: Cause::NormalClearing });
    assert_eq!([bench.released().0, bench.released().0], [legs[1], legs[0]]);
}
