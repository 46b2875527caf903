//! Exchange lines behind a modem in software: true machines, desk, media engine and modem thread,
//! over a true pseudo-terminal.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one thing and passes over the rest")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rtrb::{Consumer, RingBuffer};
use serde_json::json;
use tipring_lines::MediaPort;
use tipring_lines::analog::contract::{AnswerSign, CallerIdStandard, EndSign, HeardTone, Note};
use tipring_lines::analog::country::CountryPlan;
use tipring_lines::analog::fxo::FxoSettings;
use tipring_lines::analog::voice::SoundPlan;
use tipring_lines::analog::{AnalogLines, AnalogOptions, AnalogSettings, CardStatus};
use tipring_lines::port::v253::{ModemFault, ModemSettings, SessionFault};
use tipring_lines::port::{DeviceSettings, PORTS};
use tipring_media::{
    Command, Engine, Frame, Limits, MediaThread, PlaySource, Prompt, Rate, RecordWhat, ThreadOptions,
};
use tipring_model::line::{DownReason, LineCommand, LineEvent, Offer, PlaceExtras};
use tipring_model::settings::{RawSettings, RawValue, Settings};
use tipring_model::{CallerId, Cause, LegId, LineId, Number, PlayId, RecordId};
use tipring_testkit::linecard::{Order, Sound, Told};
use tipring_testkit::modem::{Chip, Simulator, StageSettings};
use tipring_testkit::phone::{compare, voice};
use tokio::sync::{mpsc, oneshot};

/// Whatever is waited for comes long before.
const LIMIT: Duration = Duration::from_secs(60);
const PORT: usize = 1;
const LINE: LineId = LineId(1);

enum Ask {
    Line(LineCommand),
    Media(Command),
    Status(oneshot::Sender<CardStatus>),
    Stop,
}

#[derive(Debug)]
enum Said {
    Event(LineEvent),
    Note(LegId, Note),
}

/// The main thread of a box with one exchange line, and its modem.
struct Bench {
    asks: mpsc::Sender<Ask>,
    said: Receiver<Said>,
    main: Option<JoinHandle<()>>,
    simulator: Simulator,
    directory: PathBuf,
    placed: u32,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.asks.blocking_send(Ask::Stop);
        if let Some(main) = self.main.take() {
            let _ = main.join();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn device(serial: &str) -> DeviceSettings {
    let driver = PORTS.iter().find(|driver| driver.kind == "v253").unwrap();
    let mut raw = RawSettings::new();
    raw.set("serial", RawValue::Text(serial.into()));
    let settings = (driver.parse)(&raw).unwrap();
    let expected = ModemSettings { serial_path: serial.into(), chip: None, country: None };
    assert_eq!(settings, DeviceSettings::Modem(expected));
    settings
}

fn exchange_line(answer: &str, dialling: &str, caller_id_rings: i64) -> AnalogSettings {
    let mut raw = RawSettings::new();
    raw.set("caller_id_rings", RawValue::Number(caller_id_rings));
    for (key, text) in
        [("port", "modem1/1"), ("number", "5550199"), ("answer", answer), ("dialling", dialling)]
    {
        raw.set(key, RawValue::Text(text.into()));
    }
    AnalogSettings::Line(Box::new(FxoSettings::parse(&raw).unwrap()))
}

async fn serve(
    modem: DeviceSettings,
    line: AnalogSettings,
    mut asks: mpsc::Receiver<Ask>,
    said: SyncSender<Said>,
) {
    let (engine, sender, _events) = Engine::new(Limits::default());
    let _media_thread = MediaThread::spawn(engine, ThreadOptions::default()).unwrap();
    let media = MediaPort::new(sender);
    let options = AnalogOptions {
        devices: vec![(String::from("modem1"), modem)],
        plan: CountryPlan::default(),
        sounds: SoundPlan::default(),
        learned_tones: Vec::new(),
        numbers: Vec::new(),
        local_time: || None,
    };
    let lines = AnalogLines::open(options, vec![(LINE, line)], media.clone()).unwrap();
    loop {
        tokio::select! {
            ask = asks.recv() => match ask {
                Some(Ask::Line(command)) => lines.command(LINE, command),
                Some(Ask::Media(command)) => media.send(command),
                Some(Ask::Status(answer)) => answer.send(lines.cards().pop().unwrap()).unwrap(),
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

fn modem(chip: Chip) -> tipring_testkit::modem::ModemSettings {
    tipring_testkit::modem::ModemSettings::new(chip)
}

impl Bench {
    fn start(test: &str, modem: tipring_testkit::modem::ModemSettings, line: AnalogSettings) -> Self {
        let directory = std::env::temp_dir().join(format!("tipring-modem-{test}-{}", std::process::id()));
        let simulator = Simulator::start(StageSettings { directory: directory.clone(), modem }).unwrap();
        let settings = device(simulator.serial_path().to_str().unwrap());
        let (asks, asked) = mpsc::channel(64);
        let (says, said) = sync_channel(1_024);
        let main = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, serve(settings, line, asked, says));
        });
        Self { asks, said, main: Some(main), simulator, directory, placed: 0 }
    }

    fn up(test: &str, chip: Chip, answer: &str) -> Self {
        let bench = Self::start(test, modem(chip), exchange_line(answer, "tone", 0));
        bench.is_up();
        bench
    }

    fn is_up(&self) {
        self.event(|event| matches!(event, LineEvent::Up).then_some(()));
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

    fn status(&self) -> CardStatus {
        let (answer, answered) = oneshot::channel();
        assert!(self.asks.blocking_send(Ask::Status(answer)).is_ok());
        answered.blocking_recv().unwrap()
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

    /// How the leg ended, and what was noted on the way.
    fn released(&self) -> (LegId, Cause, Vec<Note>) {
        let mut notes = Vec::new();
        self.wait(|said| match said {
            Said::Note(_, note) => {
                notes.push(*note);
                None
            }
            Said::Event(LineEvent::Released { leg, cause, .. }) => Some((*leg, *cause, notes.clone())),
            Said::Event(_) => None,
        })
    }

    fn place(&mut self, to: &str) -> LegId {
        self.placed += 1;
        let leg = LegId::placed(1, self.placed);
        let (to, from) = (Number::new(to), CallerId::of("202"));
        self.command(LineCommand::Place { leg, to, from, extras: PlaceExtras::default() });
        leg
    }

    fn release(&self, leg: LegId) {
        self.command(LineCommand::Release { leg, cause: Cause::NormalClearing });
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

    /// What went over the wire since it was asked last.
    fn log(&self) -> Vec<String> {
        self.order(json!({"do": "log"}));
        self.told(|told| if let Told::Log { lines } = told { Some(lines.clone()) } else { None })
    }

    /// The exchange calls, tells who, and is answered.
    fn answer(&self) -> LegId {
        self.order(json!({"do": "ring", "port": PORT, "cadence": [2_000, 4_000]}));
        let offer = self.offered();
        self.command(LineCommand::Answer { leg: offer.leg });
        assert_eq!(self.answered(), offer.leg);
        offer.leg
    }

    /// Lets the exchange say this, and waits until it is said.
    fn says(&self, samples: &[i16]) {
        self.simulator.order(Order::Say { port: PORT, sound: Sound::Samples(samples.to_vec()) }).unwrap();
        self.told(|told| matches!(told, Told::Said { .. }).then_some(()));
    }

    /// The leg says this.
    fn play(&self, leg: LegId, samples: &[i16]) {
        let source = PlaySource::Prompt(Arc::new(Prompt::new(Rate::Narrow, samples.to_vec())));
        self.media(Command::Play { leg, play: PlayId(1), source, loops: 1 });
    }

    /// Waits until the exchange has heard this.
    fn hears(&self, said: &[i16]) {
        let end = Instant::now() + LIMIT;
        while !alike(said, &self.simulator.heard(PORT).unwrap()) {
            assert!(Instant::now() < end, "the leg is not heard at the exchange");
            self.says(&[0; 800]);
        }
    }

    /// Both sides speak in turn, and each is heard by the other.
    fn talk(&self, leg: LegId) {
        let (asks, replies) = (voice::speech_like(11, 2_500), voice::speech_like(12, 2_500));
        let (sink, mut record) = RingBuffer::new(1_000);
        self.media(Command::Record { leg, record: RecordId(1), what: RecordWhat::In, sink });
        self.order(json!({"do": "forget", "port": PORT}));
        self.says(&asks);
        self.play(leg, &replies);
        self.hears(&replies);
        let (end, mut heard) = (Instant::now() + LIMIT, Vec::new());
        while !alike(&asks, &heard) {
            assert!(Instant::now() < end, "the exchange is not heard by the leg");
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

const CHIPS: [(Chip, &str); 3] =
    [(Chip::Conexant, "conexant"), (Chip::Usr, "usr"), (Chip::Generic, "generic")];

#[test]
fn an_exchange_calls_and_says_who() {
    for (chip, name) in CHIPS {
        let line = exchange_line("dialled", "tone", 2);
        let bench = Bench::start(&format!("calls-{name}"), modem(chip), line);
        bench.is_up();
        bench
            .order(json!({"do": "caller", "port": PORT, "number": "5550100", "name": "Ann", "spaced": true}));
        bench.order(json!({"do": "ring", "port": PORT, "cadence": [2_000, 4_000]}));
        // What is noted of an offer is there before it.
        let standard =
            bench.wait(|said| if let Said::Note(_, Note::CallerId(of)) = said { Some(*of) } else { None });
        assert_eq!(standard, CallerIdStandard::Bellcore);
        let offer = bench.offered();
        assert_eq!((offer.to.as_str(), offer.from.number_or_anonymous()), ("5550199", "5550100"));
        assert_eq!(offer.from.name.as_deref(), Some("Ann"));
        bench.command(LineCommand::Answer { leg: offer.leg });
        assert_eq!(bench.answered(), offer.leg);
        bench.loop_closed(true);
        bench.talk(offer.leg);
        match chip {
            // It has no word for a break of the loop: busy tone ends the call.
            Chip::Usr => {
                bench.order(json!({"do": "tone", "port": PORT, "hz": [480, 620], "cadence": [500, 500]}));
                let (leg, cause, notes) = bench.released();
                assert_eq!((leg, cause), (offer.leg, Cause::NormalClearing));
                assert!(notes.contains(&Note::End(EndSign::Tone(HeardTone::Busy))), "{notes:?}");
            }
            Chip::Conexant | Chip::Generic => {
                bench.order(json!({"do": "break", "port": PORT, "ms": 300}));
                let (leg, _, notes) = bench.released();
                assert_eq!(leg, offer.leg);
                assert!(notes.contains(&Note::End(EndSign::LoopBreak)), "{notes:?}");
            }
        }
        bench.loop_closed(false);
        let counted = bench.status().counters;
        assert!(counted.sessions == 1 && counted.periods > 100, "{counted:?}");
    }
}

/// What is played as soon as the calls hear of the answer is heard from its beginning.
#[test]
fn the_first_word_after_the_answer_is_heard() {
    let bench = Bench::up("first-word", Chip::Conexant, "dialled");
    bench.order(json!({"do": "forget", "port": PORT}));
    let leg = bench.answer();
    let words = voice::speech_like(21, 2_500);
    bench.play(leg, &words);
    bench.hears(&words);
    let heard = bench.simulator.heard(PORT).unwrap();
    let first = &words[..1_600];
    assert!(compare::find_in_parts(first, &heard, 400, 80).correlation > 0.8);
}

#[test]
fn an_exchange_is_dialled_in_the_sound_and_each_sign_ends_the_call() {
    let mut bench = Bench::up("dialled", Chip::Usr, "dialled");
    bench.log();
    let dial = json!({"do": "tone", "port": PORT, "hz": [350, 440]});
    for (ends, sign) in [
        (
            json!({"do": "tone", "port": PORT, "hz": [480, 620], "cadence": [500, 500]}),
            EndSign::Tone(HeardTone::Busy),
        ),
        (dial.clone(), EndSign::DialTone),
    ] {
        let leg = bench.place("123");
        bench.loop_closed(true);
        bench.order(dial.clone());
        let mut digits = String::new();
        while digits.len() < 3 {
            digits.push(bench.told(|told| {
                if let Told::Digit { digit, pulses: false, .. } = told { Some(*digit) } else { None }
            }));
            bench.order(json!({"do": "silence", "port": PORT}));
        }
        assert_eq!(digits, "123");
        assert_eq!(bench.answered(), leg);
        bench.says(&voice::speech_like(5, 1_500));
        bench.order(ends);
        let (of, _, notes) = bench.released();
        assert_eq!(of, leg);
        assert!(notes.contains(&Note::End(sign)), "{notes:?}");
        bench.loop_closed(false);
        bench.order(json!({"do": "silence", "port": PORT}));
    }
    let log = bench.log();
    assert!(!log.iter().any(|line| line.starts_with("> ATD") || line.contains("+VTS")), "{log:?}");
}

#[test]
fn an_answer_is_known_by_voice_after_ringback() {
    let mut bench = Bench::up("voice", Chip::Conexant, "anything");
    let leg = bench.place("9");
    bench.loop_closed(true);
    bench.order(json!({"do": "tone", "port": PORT, "hz": [350, 440]}));
    bench.told(|told| matches!(told, Told::Digit { digit: '9', .. }).then_some(()));
    bench.order(json!({"do": "tone", "port": PORT, "hz": [440, 480], "cadence": [2_000, 4_000]}));
    bench.says(&[0; 32_000]);
    bench.order(json!({"do": "silence", "port": PORT}));
    bench.says(&voice::speech_like(6, 3_000));
    let sign = bench.wait(|said| match said {
        Said::Note(of, Note::Answer(sign)) if *of == leg => Some(*sign),
        _ => None,
    });
    assert!(matches!(sign, AnswerSign::Voice | AnswerSign::RingbackEnded), "{sign:?}");
    bench.release(leg);
    assert_eq!(bench.released().0, leg);
}

/// The chip hears dial tone before the number, and busy in the end; neither is in the sound.
#[test]
fn tones_that_the_chip_hears_count() {
    let mut bench = Bench::up("chip-tones", Chip::Usr, "dialled");
    let leg = bench.place("9");
    bench.told(|told| matches!(told, Told::Audio { on: true, .. }).then_some(()));
    bench.order(json!({"do": "event", "letter": "d"}));
    bench.order(json!({"do": "event", "letter": "d"}));
    bench.told(|told| matches!(told, Told::Digit { digit: '9', .. }).then_some(()));
    assert_eq!(bench.answered(), leg);
    bench.order(json!({"do": "event", "letter": "b"}));
    bench.order(json!({"do": "event", "letter": "b"}));
    let (of, cause, notes) = bench.released();
    assert_eq!((of, cause), (leg, Cause::NormalClearing));
    assert!(notes.contains(&Note::End(EndSign::Tone(HeardTone::Busy))), "{notes:?}");
}

#[test]
fn digits_are_dialled_by_pulses_and_the_hook_is_flashed() {
    let line = exchange_line("dialled", "pulse", 0);
    let mut bench = Bench::start("pulses", modem(Chip::Usr), line);
    bench.is_up();
    let leg = bench.place("102");
    bench.loop_closed(true);
    bench.order(json!({"do": "tone", "port": PORT, "hz": [350, 440]}));
    for expected in ['1', '0', '2'] {
        bench.told(|told| {
            matches!(told, Told::Digit { digit, pulses: true, .. } if *digit == expected).then_some(())
        });
        bench.order(json!({"do": "silence", "port": PORT}));
    }
    assert_eq!(bench.answered(), leg);
    bench.command(LineCommand::Flash { leg });
    let ms = bench.told(|told| if let Told::Flash { ms, .. } = told { Some(*ms) } else { None });
    assert_eq!(ms, 600);
    bench.talk(leg);
    bench.release(leg);
    assert_eq!(bench.released().0, leg);
    bench.loop_closed(false);
}

#[test]
fn a_modem_that_is_pulled_out_ten_times_in_a_call_comes_back() {
    let bench = Bench::up("unplugged", Chip::Conexant, "dialled");
    for _ in 0..10 {
        let leg = bench.answer();
        bench.order(json!({"do": "unplug"}));
        let (of, cause, notes) = bench.released();
        assert_eq!((of, cause), (leg, Cause::TemporaryFailure));
        assert_eq!(notes.last(), Some(&Note::End(EndSign::DeviceGone)));
        bench.event(|event| matches!(event, LineEvent::Down(DownReason::NoDevice)).then_some(()));
        let fault = bench.status().fault.unwrap();
        assert!(["TR-MODEM-UNPLUGGED", "TR-MODEM-DEVICE"].contains(&fault.code()), "{fault}");
        bench.order(json!({"do": "plug"}));
        bench.is_up();
    }
    let leg = bench.answer();
    bench.talk(leg);
}

#[test]
fn a_modem_that_talks_nonsense_ends_the_call_and_is_used_again() {
    let bench = Bench::up("nonsense", Chip::Usr, "dialled");
    let leg = bench.answer();
    bench.order(json!({"do": "nonsense", "on": true}));
    // Until the stream is over, or what comes is too little.
    let (of, cause, _) = bench.released();
    assert_eq!((of, cause), (leg, Cause::TemporaryFailure));
    bench.order(json!({"do": "nonsense", "on": false}));
    bench.order(json!({"do": "reboot"}));
    bench.is_up();
    let leg = bench.answer();
    bench.talk(leg);
    bench.release(leg);
    assert_eq!(bench.released().0, leg);
}

#[test]
fn a_modem_that_was_left_in_a_call_is_freed() {
    let settings = tipring_testkit::modem::ModemSettings { is_left_streaming: true, ..modem(Chip::Conexant) };
    let bench = Bench::start("left", settings, exchange_line("dialled", "tone", 0));
    bench.loop_closed(false);
    bench.is_up();
    bench.talk(bench.answer());
}

#[test]
fn old_firmware_is_refused_with_its_code() {
    let old = tipring_testkit::modem::ModemSettings { firmware: Some("1.2.10".into()), ..modem(Chip::Usr) };
    let bench = Bench::start("old", old, exchange_line("dialled", "tone", 0));
    let end = Instant::now() + LIMIT;
    let fault = loop {
        if let Some(fault) = bench.status().fault {
            break fault;
        }
        assert!(Instant::now() < end);
        // Nothing is told, and it is asked again.
        let _ = bench.simulator.told(Duration::from_millis(20));
    };
    assert_eq!(fault, ModemFault::Session(SessionFault::OldFirmware([1, 2, 23])).into());
    assert_eq!(fault.code(), "TR-MODEM-FIRMWARE");
    assert_eq!(fault.to_string(), "the modem's firmware is older than 1.2.23");
}

/// The box stops in the middle of a call: the line is left on hook.
#[test]
fn a_box_that_stops_hangs_up() {
    let mut bench = Bench::up("stops", Chip::Generic, "dialled");
    bench.answer();
    bench.loop_closed(true);
    assert!(bench.asks.blocking_send(Ask::Stop).is_ok());
    bench.main.take().unwrap().join().unwrap();
    bench.loop_closed(false);
}
