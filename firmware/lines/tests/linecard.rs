//! The driver of the line card against the card in software: a true pseudo-terminal, true ALSA.
//!
//! ALSA reads its configuration from where the environment says. So each test runs once more,
//! in a process of its own that is told so, and looks at how that ended.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tipring_lines::port::linecard::{
    Card, CardEvent, CardFault, CardSettings, CardSound, PERIOD_FRAMES, PortPeriod, PortSettings, Refusal,
};
use tipring_lines::port::{Cadence, PortKind, RxSignal, SampleTime, TxSignal};
use tipring_testkit::linecard::{Order, Simulator, Sound, StageSettings, Told};
use tipring_testkit::phone::{compare, voice};
use tipring_testkit::random::Random;

/// Whatever is waited for comes long before.
const LIMIT: Duration = Duration::from_secs(120);
/// The line and the telephone of the simulated card: as the card and the driver count them.
const LINE: usize = 1;
const PHONE: usize = 2;
const LINE_PORT: usize = 0;
const PHONE_PORT: usize = 1;

/// What was heard at each port, and what is to be said there.
#[derive(Default)]
struct Ears {
    heard: Vec<Vec<i16>>,
    says: Vec<VecDeque<i16>>,
    /// The sample time of each period of `heard`.
    times: Vec<u64>,
    /// Sample times that did not follow the last, and what would have.
    jumps: Vec<(u64, u64)>,
    next: Option<u64>,
    /// Holds up the card's thread, as a box does that is overloaded.
    hold: bool,
}

#[derive(Clone, Default)]
struct Desk(Arc<(Mutex<Ears>, Condvar)>);

impl Desk {
    fn with<T>(&self, act: impl FnOnce(&mut Ears) -> T) -> T {
        let done = act(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
        done
    }

    /// Waits until this is so; it is looked at after each period.
    fn until(&self, mut so: impl FnMut(&Ears) -> bool) {
        let ears = self.0.0.lock().unwrap();
        let (_ears, late) = self.0.1.wait_timeout_while(ears, LIMIT, |ears| !so(ears)).unwrap();
        assert!(!late.timed_out(), "not within {LIMIT:?}");
    }

    fn say(&self, port: usize, samples: &[i16]) {
        self.with(|ears| ears.says[port].extend(samples));
    }
}

impl CardSound for Desk {
    fn period(&mut self, at: SampleTime, ports: &mut [PortPeriod]) {
        let mut ears = self.0.0.lock().unwrap();
        if ears.heard.is_empty() {
            ears.heard.resize(ports.len(), Vec::new());
            ears.says.resize(ports.len(), VecDeque::new());
        }
        if let Some(next) = ears.next.filter(|next| *next != at.0) {
            ears.jumps.push((next, at.0));
        }
        ears.next = Some(at.0 + PERIOD_FRAMES as u64);
        ears.times.push(at.0);
        for (number, port) in ports.iter_mut().enumerate() {
            ears.heard[number].extend(port.heard);
            for sample in &mut port.play {
                *sample = ears.says[number].pop_front().unwrap_or_default();
            }
        }
        self.0.1.notify_all();
        while ears.hold {
            ears = self.0.1.wait(ears).unwrap();
        }
    }
}

struct Bench {
    simulator: Simulator,
    card: Card,
    events: Receiver<CardEvent>,
    desk: Desk,
}

/// The folder of a test's card, in the process that is told of it; `None` in the one that tells,
/// when the other has ended well.
fn folder(test: &str) -> Option<PathBuf> {
    const VARIABLE: &str = "ALSA_CONFIG_PATH";
    let name = format!("tipring-linecard-{test}-");
    let told = std::env::var_os(VARIABLE).map(PathBuf::from);
    let own = told.as_ref().and_then(|path| path.parent()).map(Path::to_path_buf);
    if let Some(own) = own.filter(|own| own.to_string_lossy().contains(&name)) {
        return Some(own);
    }
    let own = std::env::temp_dir().join(format!("{name}{}", std::process::id()));
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(VARIABLE, own.join("alsa.conf"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{test}: {}\n{}", output.status, String::from_utf8_lossy(&said));
    std::fs::remove_dir_all(own).unwrap();
    None
}

impl Drop for Bench {
    fn drop(&mut self) {
        // The card's thread ends only if nobody holds it up.
        if let Ok(mut ears) = self.desk.0.0.lock() {
            ears.hold = false;
        }
        self.desk.0.1.notify_all();
    }
}

impl Bench {
    fn new(directory: PathBuf) -> Self {
        Self::of(directory, "LP")
    }

    /// A card with a letter a port.
    fn of(directory: PathBuf, kinds: &str) -> Self {
        let kinds = kinds.to_owned();
        let simulator = Simulator::start(StageSettings { directory, kinds, audio: None }).unwrap();
        let settings = CardSettings {
            serial_path: simulator.serial_path().to_str().unwrap().to_owned(),
            audio_device: String::from("tipring"),
            // Hanging up is known for what it is after 400 ms.
            ports: vec![
                PortSettings::default(),
                PortSettings { flash_max_ms: Some(400), ..PortSettings::default() },
            ],
        };
        let desk = Desk::default();
        let (card, events) = Card::open("test", settings, Box::new(desk.clone()), None).unwrap();
        Self { simulator, card, events, desk }
    }

    /// A card that is there and heard.
    fn present(directory: PathBuf) -> Self {
        let bench = Self::new(directory);
        bench.wait_present();
        bench.desk.until(|ears| !ears.heard.is_empty());
        bench
    }

    fn order(&self, order: Order) {
        self.simulator.order(order).unwrap();
    }

    fn signal(&self, port: usize, signal: TxSignal) {
        self.card.signal(port, signal).unwrap();
    }

    /// Waits for an event that `pick` takes; others are passed over.
    fn wait<T>(&self, mut pick: impl FnMut(&CardEvent) -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        let mut instead = Vec::new();
        while let Ok(event) = self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if let Some(picked) = pick(&event) {
                return picked;
            }
            instead.push(event);
        }
        panic!("not within {LIMIT:?}, but {instead:?}; {:?}", self.card.counters());
    }

    fn wait_present(&self) {
        self.wait(|event| matches!(event, CardEvent::Present(_)).then_some(()));
    }

    fn wait_gone(&self) -> CardFault {
        self.wait(|event| if let CardEvent::Gone(fault) = event { Some(*fault) } else { None })
    }

    fn wait_signal(&self, port: usize, signal: RxSignal) -> SampleTime {
        self.wait(|event| {
            let CardEvent::Signal { port: at_port, at, signal: came } = event else { return None };
            ((*at_port, *came) == (port, signal)).then_some(*at)
        })
    }

    fn told<T>(&self, pick: impl FnMut(&Told) -> Option<T>) -> T {
        match self.simulator.wait(LIMIT, pick) {
            Ok(picked) => picked,
            Err(instead) => panic!("not within {LIMIT:?}, but {instead:?}"),
        }
    }

    /// The sample time at which this was heard.
    fn heard_at(&self, port: usize, expected: &[i16]) -> u64 {
        let (times, heard) = self.desk.with(|ears| (ears.times.clone(), ears.heard[port].clone()));
        let found = compare::find(expected, &heard);
        assert!(found.correlation > 0.999 && (found.gain - 1.0).abs() < 0.001, "{found:?}");
        times[found.at / PERIOD_FRAMES] + (found.at % PERIOD_FRAMES) as u64
    }

    /// Waits until all that was to be said is said, and silence is heard at that port after it.
    fn until_said(&self, port: usize) {
        self.desk.until(|ears| {
            let heard = &ears.heard[port];
            ears.says[port].is_empty() && heard.iter().rev().take(800).all(|sample| *sample == 0)
        });
    }
}

fn ring(told: &Told) -> Option<(bool, u64)> {
    if let Told::Ring { port: PHONE, at, on } = told { Some((*on, *at)) } else { None }
}

#[test]
fn a_telephone_is_lifted_rings_and_is_heard() {
    let Some(folder) = folder("a_telephone_is_lifted_rings_and_is_heard") else { return };
    let bench = Bench::new(folder);
    let info =
        bench.wait(|event| if let CardEvent::Present(info) = event { Some(info.clone()) } else { None });
    let kinds: Vec<PortKind> = info.ports.iter().map(|port| port.kind).collect();
    assert_eq!(kinds, [PortKind::Line, PortKind::Phone]);
    assert!(info.ports[PHONE_PORT].on_hook_audio && info.ports[LINE_PORT].battery);

    // It rings in the cadence that was asked for, to the millisecond.
    bench.signal(PHONE_PORT, TxSignal::Ring(Cadence::new(&[400, 200, 400, 1_000]).unwrap()));
    let rings: Vec<(bool, u64)> = (0..6).map(|_| bench.told(ring)).collect();
    let steps_ms: Vec<u64> = rings.windows(2).map(|two| (two[1].1 - two[0].1) / 8).collect();
    assert_eq!((rings[0].0, steps_ms), (true, vec![400, 200, 400, 1_000, 400]));

    // The receiver is lifted while it rings: the bell stops, and both sides hear each other.
    bench.told(|told| ring(told).filter(|(on, _)| *on));
    bench.order(Order::Lift { port: PHONE });
    let lifted = bench.wait_signal(PHONE_PORT, RxSignal::OffHook);
    let (on, stopped) = bench.told(ring);
    assert_eq!((on, stopped), (false, lifted.0));
    let (asks, replies) = (voice::speech_like(1, 3_000), voice::speech_like(2, 3_000));
    bench.order(Order::Say { port: PHONE, sound: Sound::Samples(asks.clone()) });
    bench.desk.say(PHONE_PORT, &replies);
    bench.told(|told| matches!(told, Told::Said { port: PHONE, .. }).then_some(()));
    bench.until_said(PHONE_PORT);
    bench.heard_at(PHONE_PORT, &asks);
    // What was played is still in ALSA's buffer for a while.
    let silent = |samples: &[i16]| samples.iter().rev().take(1_600).all(|sample| *sample == 0);
    let mut spoken = bench.simulator.heard(PHONE).unwrap();
    while !silent(&spoken) {
        spoken = bench.simulator.heard(PHONE).unwrap();
    }
    // A machine that is busy may have been late for a period or two: a gap, and the same sound.
    let heard = compare::find_in_parts(&replies, &spoken, 800, 1_600);
    assert!(heard.correlation > 0.97, "{heard:?}");

    bench.order(Order::Flash { port: PHONE, ms: 350 });
    bench.wait_signal(PHONE_PORT, RxSignal::Flash { ms: 350 });
    bench.order(Order::Pulse { port: PHONE, digits: String::from("70") });
    bench.wait_signal(PHONE_PORT, RxSignal::Pulses(7));
    bench.wait_signal(PHONE_PORT, RxSignal::Pulses(0));
    bench.order(Order::HangUp { port: PHONE });
    bench.wait_signal(PHONE_PORT, RxSignal::OnHook);
    let counters = bench.card.counters();
    assert_eq!(
        (counters.garbled_lines, counters.senseless_frames, counters.sessions),
        (0, 0, 1),
        "{counters:?}"
    );
}

#[test]
fn the_line_rings_is_answered_and_tells_what_the_exchange_does() {
    let Some(folder) = folder("the_line_rings_is_answered_and_tells_what_the_exchange_does") else { return };
    let bench = Bench::present(folder);
    // Something is said between the rings: heard on hook, and where the signals say it is.
    let caller = voice::speech_like(3, 400);
    let between = serde_json::json!({"after": 1, "wait_ms": 500, "samples": caller});
    bench.order(
        serde_json::from_value(serde_json::json!({
            "do": "ring", "port": LINE, "cadence": [1_000, 2_000], "between": between
        }))
        .unwrap(),
    );
    let on = bench.wait_signal(LINE_PORT, RxSignal::RingOn);
    bench.wait_signal(LINE_PORT, RxSignal::RingOff);
    bench.wait_signal(LINE_PORT, RxSignal::RingOn);
    bench.signal(LINE_PORT, TxSignal::OffHook);
    bench.told(|told| matches!(told, Told::Loop { port: LINE, closed: true, .. }).then_some(()));
    bench.wait_signal(LINE_PORT, RxSignal::RingOff);
    // The port believes in the ring 40 ms after it began; the burst was 1 s, the pause 500 ms.
    assert_eq!(bench.heard_at(LINE_PORT, &caller), on.0 - 39 * 8 + 8 * 1_500);

    // Digits are dialled, by tones and by pulses.
    bench.signal(LINE_PORT, TxSignal::Pulses(4));
    let digit = |told: &Told| {
        if let Told::Digit { digit, pulses, .. } = told { Some((*digit, *pulses)) } else { None }
    };
    assert_eq!(bench.told(digit), ('4', true));
    bench.signal(LINE_PORT, TxSignal::Flash { ms: 600 });
    bench.told(|told| matches!(told, Told::Flash { port: LINE, ms: 600, .. }).then_some(()));

    for (order, signal) in [
        (Order::Reverse { port: LINE, on: true }, RxSignal::Reversed(true)),
        (Order::Break { port: LINE, ms: 250 }, RxSignal::LoopBreak { ms: 250 }),
        (Order::InUse { port: LINE, on: true }, RxSignal::InUse(true)),
        (Order::Battery { port: LINE, on: false }, RxSignal::BatteryLost),
        (Order::Battery { port: LINE, on: true }, RxSignal::BatteryBack),
    ] {
        bench.order(order);
        bench.wait_signal(LINE_PORT, signal);
    }
    bench.signal(LINE_PORT, TxSignal::OnHook);
    bench.told(|told| matches!(told, Told::Loop { port: LINE, closed: false, .. }).then_some(()));

    // What a line cannot do comes back.
    bench.signal(LINE_PORT, TxSignal::RingOff);
    bench.signal(7, TxSignal::OnHook);
    let refused = |event: &CardEvent| {
        if let CardEvent::Refused { port, refusal, .. } = event { Some((*port, *refusal)) } else { None }
    };
    assert_eq!(bench.wait(refused), (LINE_PORT, Refusal::Kind));
    assert_eq!(bench.wait(refused), (7, Refusal::Port));
    bench.card.meter(LINE_PORT).unwrap();
    let reading = bench
        .wait(|event| if let CardEvent::Reading { reading, .. } = event { Some(*reading) } else { None });
    assert_eq!((reading.voltage_dv, reading.current_dma), (-481, 0));
}

#[test]
fn a_card_that_is_pulled_out_fifty_times_comes_back_each_time() {
    let Some(folder) = folder("a_card_that_is_pulled_out_fifty_times_comes_back_each_time") else { return };
    let bench = Bench::present(folder);
    for round in 0..50 {
        // In a call, ringing, at rest.
        match round % 3 {
            0 => {
                bench.order(Order::Lift { port: PHONE });
                bench.wait_signal(PHONE_PORT, RxSignal::OffHook);
                bench.signal(LINE_PORT, TxSignal::OffHook);
            }
            1 => bench.signal(PHONE_PORT, TxSignal::Ring(Cadence::new(&[1_000, 4_000]).unwrap())),
            _ => {}
        }
        bench.order(Order::Unplug);
        let fault = bench.wait_gone();
        assert!(matches!(fault, CardFault::Unplugged | CardFault::Sound(_)), "round {round}: {fault:?}");
        bench.order(Order::Plug);
        bench.wait_present();
        // Every port works again, both ways; a receiver that is still lifted is told anew.
        bench.order(Order::Lift { port: PHONE });
        bench.wait_signal(PHONE_PORT, RxSignal::OffHook);
        bench.signal(LINE_PORT, TxSignal::OffHook);
        bench.told(|told| matches!(told, Told::Loop { port: LINE, closed: true, .. }).then_some(()));
        bench.order(Order::HangUp { port: PHONE });
        bench.wait_signal(PHONE_PORT, RxSignal::OnHook);
        bench.signal(LINE_PORT, TxSignal::OnHook);
        bench.told(|told| matches!(told, Told::Loop { port: LINE, closed: false, .. }).then_some(()));
    }
    assert!(bench.card.counters().sessions >= 51, "{:?}", bench.card.counters());
}

#[test]
fn noise_lost_answers_and_reboots_are_survived() {
    let Some(folder) = folder("noise_lost_answers_and_reboots_are_survived") else { return };
    let bench = Bench::present(folder);
    bench.order(Order::Noise { bytes: 5_000 });
    bench.order(Order::LoseReplies { count: 3 });
    bench.signal(PHONE_PORT, TxSignal::Ring(Cadence::new(&[1_000, 4_000]).unwrap()));
    assert!(bench.told(ring).0);
    bench.signal(PHONE_PORT, TxSignal::RingOff);
    assert!(!bench.told(ring).0);
    bench.order(Order::Garble { permille: 5 });
    for _ in 0..10 {
        bench.order(Order::Lift { port: PHONE });
        bench.wait_signal(PHONE_PORT, RxSignal::OffHook);
        bench.order(Order::HangUp { port: PHONE });
        bench.wait_signal(PHONE_PORT, RxSignal::OnHook);
    }
    bench.order(Order::Garble { permille: 0 });
    // A card that begins anew with the receiver lifted says so again.
    bench.order(Order::Lift { port: PHONE });
    bench.wait_signal(PHONE_PORT, RxSignal::OffHook);
    bench.order(Order::Reboot);
    bench.wait_gone();
    bench.wait_present();
    bench.wait_signal(PHONE_PORT, RxSignal::OffHook);
    let counters = bench.card.counters();
    assert!(counters.garbled_lines > 0 && counters.resent_requests > 0, "{counters:?}");
}

#[test]
fn a_box_that_is_too_slow_loses_sound_and_nothing_else() {
    let Some(folder) = folder("a_box_that_is_too_slow_loses_sound_and_nothing_else") else { return };
    let bench = Bench::present(folder);
    // The card loses sound by itself: the clock of what follows is right all the same.
    bench.order(Order::LoseFrames { frames: 400 });
    bench.desk.until(|ears| !ears.jumps.is_empty());
    let jump = bench.desk.with(|ears| ears.jumps[0]);
    assert_eq!(jump.1 - jump.0, 400);
    // The box is held up until the card's ring runs over.
    bench.desk.with(|ears| ears.hold = true);
    let before = bench.told(|told| if let Told::Overrun { at, .. } = told { Some(*at) } else { None });
    assert!((0..1_600).contains(&(jump.1 - before)), "told {before}, known at {}", jump.1);
    let mut here = before;
    while here < before + 16_000 {
        bench.order(Order::Ask { id: 1 });
        here = bench.told(|told| if let Told::Here { at, .. } = told { Some(*at) } else { None });
    }
    bench.desk.with(|ears| ears.hold = false);
    let lost =
        bench.told(|told| if let Told::Overrun { at, frames } = told { Some((*at, *frames)) } else { None });
    bench.desk.until(|ears| ears.jumps.iter().any(|jump| jump.1 >= lost.0));
    // What is heard is where the card says it is.
    bench.order(Order::Lift { port: PHONE });
    bench.wait_signal(PHONE_PORT, RxSignal::OffHook);
    let asks = voice::speech_like(1, 500);
    bench.order(Order::Say { port: PHONE, sound: Sound::Samples(asks.clone()) });
    let last = bench.told(|told| if let Told::Said { at, .. } = told { Some(*at) } else { None });
    bench.until_said(PHONE_PORT);
    assert_eq!(bench.heard_at(PHONE_PORT, &asks), last + 8 - asks.len() as u64);
    let (counters, jumps) = (bench.card.counters(), bench.desk.with(|ears| ears.jumps.clone()));
    assert_eq!(counters.lost_frames, jumps.iter().map(|(from, to)| to - from).sum::<u64>(), "{counters:?}");
    assert!(counters.lost_frames >= 400 + u64::from(lost.1), "{counters:?}");
}

/// Sound of no two equal stretches and without a zero, so that a gap shows.
fn noise(seed: u64, seconds: usize) -> Vec<i16> {
    let mut random = Random::new(seed);
    (0..seconds * 8_000).map(|_| 1 + random.below(8_000) as i16).collect()
}

/// Where `expected` begins in `heard`: its first tenth of a second.
fn beginning(expected: &[i16], heard: &[i16]) -> usize {
    let at = heard.windows(800).position(|window| window == &expected[..800]);
    at.unwrap_or_else(|| panic!("not heard in {} samples", heard.len()))
}

/// Each sample both ways at four ports, for so long that drift would show.
#[test]
fn no_sample_is_lost_doubled_or_out_of_place() {
    const SECONDS: usize = 30;
    let Some(folder) = folder("no_sample_is_lost_doubled_or_out_of_place") else { return };
    let bench = Bench::of(folder, "LPPP");
    bench.wait_present();
    bench.desk.until(|ears| !ears.heard.is_empty());
    let phones = [2_usize, 3, 4];
    for phone in phones {
        bench.order(Order::Lift { port: phone });
        bench.wait_signal(phone - 1, RxSignal::OffHook);
    }
    for phone in phones {
        bench.order(Order::Say { port: phone, sound: Sound::Samples(noise(phone as u64, SECONDS)) });
        bench.desk.say(phone - 1, &noise(10 + phone as u64, SECONDS));
    }
    bench.desk.until(|ears| phones.iter().all(|phone| ears.says[phone - 1].is_empty()));
    phones.iter().for_each(|phone| bench.until_said(phone - 1));
    // What is played arrives after all buffers; until then the simulator counts what was missing.
    let mut here = 0;
    let mut missing = 0;
    let end = bench.desk.with(|ears| ears.next.unwrap()) + 8_000;
    while here < end {
        bench.order(Order::Ask { id: 1 });
        here = bench.told(|told| {
            missing += usize::from(matches!(told, Told::Underrun { .. }));
            if let Told::Here { at, .. } = told { Some(*at) } else { None }
        });
    }
    let (times, heard, jumps) =
        bench.desk.with(|ears| (ears.times.clone(), ears.heard.clone(), ears.jumps.clone()));
    let lost: u64 = jumps.iter().map(|(from, to)| to - from).sum();
    assert_eq!(lost, bench.card.counters().lost_frames, "each gap is one that the card told of");
    for phone in phones {
        // Heard: each sample is where its time says, but for those that were lost.
        let (says, heard) = (noise(phone as u64, SECONDS), &heard[phone - 1]);
        let at = beginning(&says, heard);
        let first = times[at / PERIOD_FRAMES] + (at % PERIOD_FRAMES) as u64;
        let mut equal = 0;
        for (place, sample) in heard.iter().enumerate().skip(at) {
            let time = times[place / PERIOD_FRAMES] + (place % PERIOD_FRAMES) as u64;
            let Some(expected) = says.get((time - first) as usize) else { break };
            equal += u64::from(sample == expected);
        }
        // A gap is known a few periods late at most.
        let late = jumps.len() as u64 * 800;
        assert!(equal + lost + late >= says.len() as u64, "{equal} of {}, {lost} lost", says.len());
        // Played: every sample in its order, with silence only where the box was late.
        let (plays, told) = (noise(10 + phone as u64, SECONDS), bench.simulator.heard(phone).unwrap());
        let sounding: Vec<i16> =
            told[beginning(&plays, &told)..].iter().copied().filter(|sample| *sample != 0).collect();
        assert_eq!(sounding.len(), plays.len(), "port {phone}, {missing} gaps");
        assert!(sounding == plays, "port {phone}: out of order");
        let silent = told[beginning(&plays, &told)..].iter().take(plays.len()).filter(|s| **s == 0).count();
        assert!(missing > 0 || silent == 0, "{silent} samples of silence that nobody told of");
    }
}
