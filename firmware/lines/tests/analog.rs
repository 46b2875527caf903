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
use tipring_lines::analog::voice::SoundPlan;
use tipring_lines::analog::{AnalogLines, AnalogOptions, AnalogSettings};
use tipring_lines::port::DeviceSettings;
use tipring_lines::port::linecard::CardSettings;
use tipring_media::dsp::caller_id::{
    self, CallerIdReceiver, CallerIdSender, HeardMessage, LineMessage, LineTime, SendAs, Text,
};
use tipring_media::dsp::tone_detect::{ToneDetector, ToneEvent, ToneKind};
use tipring_media::{
    Command, Engine, Frame, Limits, MediaThread, PlaySource, Prompt, Rate, RecordWhat, ThreadOptions,
};
use tipring_model::line::{DownReason, LineCommand, LineEvent, Offer, PlaceExtras};
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
    Stop,
}

#[derive(Debug)]
enum Said {
    Event(LineEvent),
    Note(LegId, Note),
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
        Said::Event(_) => None,
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
