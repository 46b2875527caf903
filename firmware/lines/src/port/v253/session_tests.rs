//! The session against the modem in software, in virtual time, millisecond by millisecond.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tipring_testkit::linecard::{Order, Told};
use tipring_testkit::modem::{self, Modem};
use tipring_testkit::random::Random;

use super::incoming::LOOP_BREAK_MS;
use super::*;
use crate::port::Cadence;
use crate::port::linecard::PERIOD_FRAMES;

struct Bench {
    now: Instant,
    began: Instant,
    modem: Modem,
    session: Session,
    /// What the session sent and the modem has not read.
    sent: VecDeque<u8>,
    said: Vec<Output>,
    told: Vec<Told>,
    heard: Vec<i16>,
    says: VecDeque<i16>,
    /// How the stream is cut: at every byte, or a few at a time.
    cut: usize,
    open: bool,
}

impl Bench {
    fn new(settings: modem::ModemSettings) -> Self {
        let now = Instant::now();
        let session =
            Session::new(now, ModemSettings { serial_path: String::new(), chip: None, country: Some(0xb5) });
        let mut bench = Self {
            now,
            began: now,
            modem: Modem::new(settings),
            session,
            sent: VecDeque::new(),
            said: Vec::new(),
            told: Vec::new(),
            heard: Vec::new(),
            says: VecDeque::new(),
            cut: 1,
            open: true,
        };
        bench.give(Input::Opened);
        bench
    }

    fn up(chip: modem::Chip) -> Self {
        let mut bench = Self::new(modem::ModemSettings::new(chip));
        bench.until(5_000, |output| matches!(output, Output::Up(_)));
        bench
    }

    fn give(&mut self, input: Input<'_>) {
        self.session.handle(self.now, input);
        while let Some(output) = self.session.poll() {
            match &output {
                Output::Write(bytes) => self.sent.extend(bytes),
                // The shell closes the port.
                Output::Down(_) => {
                    self.open = false;
                    self.sent.clear();
                }
                Output::AudioBegan => self.sound_out(),
                Output::Up(_)
                | Output::Signal(_)
                | Output::Caller(_)
                | Output::Tone(..)
                | Output::AudioEnded
                | Output::Refused(_) => {}
            }
            self.said.push(output);
        }
        if !self.open {
            self.session.handle(self.now, Input::Closed);
        }
    }

    fn sound_out(&mut self) {
        let out = self.session.sound_out();
        self.sent.extend(out.iter());
        out.clear();
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            self.modem.millisecond();
            let bytes = self.modem.take_bytes();
            for part in bytes.chunks(self.cut) {
                if self.open {
                    self.give(Input::Bytes(part));
                }
            }
            while let Some(period) = self.session.next_period() {
                self.heard.extend(period);
                let mut play = [0; PERIOD_FRAMES];
                play.fill_with(|| self.says.pop_front().unwrap_or_default());
                self.session.play(&play);
                self.sound_out();
            }
            if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
                self.give(Input::Timeout);
            }
            let sent: Vec<u8> = self.sent.drain(..).collect();
            if self.open {
                self.modem.bytes(&sent);
            }
            self.told.extend(self.modem.take_told());
        }
    }

    /// Runs until this is said.
    #[track_caller]
    fn until(&mut self, ms_max: u64, pick: impl Fn(&Output) -> bool) {
        for _ in 0..ms_max {
            if self.said.iter().any(&pick) {
                return;
            }
            self.run(1);
        }
        panic!("not within {ms_max} ms, but {:?}, {:?}", self.said, self.modem.take_log());
    }

    fn order(&mut self, order: Order) {
        self.modem.carry_out(order).unwrap();
    }

    fn event(&mut self, letter: char) {
        self.order(Order::Event { letter });
    }

    fn signal(&mut self, signal: TxSignal) {
        self.give(Input::Signal(signal));
    }

    /// All that was said of the line.
    fn signals(&mut self) -> Vec<Output> {
        let is_fact = |output: &Output| !matches!(output, Output::Write(_));
        self.said.drain(..).filter(is_fact).collect()
    }

    fn seize(&mut self) {
        self.signal(TxSignal::OffHook);
        self.until(2_000, |output| *output == Output::AudioBegan);
        self.said.clear();
    }

    fn loops(&self) -> Vec<(bool, u64)> {
        self.told
            .iter()
            .filter_map(
                |told| if let Told::Loop { closed, at, .. } = told { Some((*closed, *at)) } else { None },
            )
            .collect()
    }

    fn ring(&mut self) {
        self.order(Order::Ring { port: 1, cadence: vec![2_000, 4_000], between: None });
    }
}

const CHIPS: [modem::Chip; 3] = [modem::Chip::Conexant, modem::Chip::Usr, modem::Chip::Generic];

#[test]
fn each_chip_comes_up_as_what_it_is() {
    for (chip, expected) in CHIPS.into_iter().zip([Chip::Conexant, Chip::Usr, Chip::Generic]) {
        let mut bench = Bench::up(chip);
        let Some(Output::Up(info)) = bench.signals().pop() else { panic!() };
        assert_eq!((info.chip, info.format), (expected, SampleFormat::MuLaw));
        assert!(info.tells_callers && info.country_is_set == Some(true));
        assert_eq!(bench.session.state(), SessionState::Idle);
        // The watchdog finds it there, again and again.
        bench.run(95_000);
        assert!(bench.signals().is_empty());
        let log = bench.modem.take_log();
        assert_eq!(log.iter().filter(|line| *line == "> AT").count(), 3);
    }
}

#[test]
fn a_call_from_the_exchange_is_answered_and_heard_both_ways() {
    for chip in CHIPS {
        let mut bench = Bench::up(chip);
        bench.signals();
        bench.order(Order::Caller {
            port: 1,
            number: Some("5550100".into()),
            name: Some("Ann".into()),
            spaced: chip == modem::Chip::Usr,
        });
        bench.ring();
        bench.until(6_000, |output| matches!(output, Output::Caller(_)));
        let said = bench.signals();
        let [Output::Signal(RxSignal::RingOn), Output::Signal(RxSignal::RingOff), Output::Caller(caller)] =
            &said[..]
        else {
            panic!("{said:?}")
        };
        assert_eq!((caller.number_or_anonymous(), caller.name.as_deref()), ("5550100", Some("Ann")));
        assert_eq!(bench.session.state(), SessionState::Ringing);
        bench.run(4_000);
        assert_eq!(bench.signals()[0], Output::Signal(RxSignal::RingOn));
        let answered = bench.modem.at();
        bench.seize();
        assert!(bench.modem.at() - answered < 600 * 8, "{chip:?}");
        // Both ways, sample by sample, but for the law.
        let voice: Vec<i16> = (0..8_000).map(|n| ((n * 37) % 20_000 - 10_000) as i16).collect();
        bench.heard.clear();
        bench.says.extend(&voice);
        bench.order(Order::Forget { port: 1 });
        bench.order(Order::Say { port: 1, sound: tipring_testkit::linecard::Sound::Samples(voice.clone()) });
        bench.run(1_500);
        let close = |heard: &[i16], what: &str| {
            let at =
                heard.iter().position(|sample| *sample < -9_000).unwrap_or_else(|| panic!("{what} {chip:?}"));
            for (heard, said) in heard[at..].iter().zip(&voice) {
                assert!((i32::from(*heard) - i32::from(*said)).abs() < 600, "{what} {chip:?}");
            }
        };
        close(&bench.heard.clone(), "heard");
        bench.order(Order::Save { port: 1, file: temporary(chip) });
        bench.run(1);
        let played = wav(&temporary(chip));
        close(&played, "played");
        assert_eq!(bench.session.counters().underruns, 0);
        // And on hook again within 300 ms.
        let over = bench.modem.at();
        bench.signal(TxSignal::OnHook);
        bench.run(1_000);
        let (closed, at) = *bench.loops().last().unwrap();
        assert!(!closed && at - over < 300 * 8, "{chip:?}: {at} {over}");
        assert_eq!(bench.session.state(), SessionState::Idle);
        assert_eq!(bench.signals(), [Output::AudioEnded]);
        // Callers are told of again, also by a chip that forgets it with the class.
        bench.ring();
        bench.until(6_000, |output| matches!(output, Output::Caller(_)));
    }
}

fn temporary(chip: modem::Chip) -> String {
    let name = format!("tipring-v253-{}-{chip:?}.wav", std::process::id());
    std::env::temp_dir().join(name).to_string_lossy().into_owned()
}

fn wav(file: &str) -> Vec<i16> {
    let bytes = std::fs::read(file).unwrap();
    std::fs::remove_file(file).unwrap();
    bytes[44..].chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect()
}

#[test]
fn every_form_of_samples_is_spoken() {
    use tipring_testkit::modem::Law;
    for chip in CHIPS {
        for (law, expected) in [
            (Law::A, SampleFormat::ALaw),
            (Law::Unsigned8, SampleFormat::Unsigned8),
            (Law::Signed16, SampleFormat::Signed16),
        ] {
            let mut bench = Bench::new(modem::ModemSettings { law, ..modem::ModemSettings::new(chip) });
            bench.until(5_000, |output| matches!(output, Output::Up(_)));
            let Some(Output::Up(info)) = bench.signals().pop() else { panic!() };
            assert_eq!(info.format, expected);
            bench.seize();
            bench.order(Order::Tone { port: 1, hz: vec![440.0], cadence: vec![], level_dbm0: -10.0 });
            bench.heard.clear();
            bench.run(500);
            let peak = bench.heard.iter().max().unwrap();
            assert!((6_500..7_900).contains(peak), "{chip:?} {law:?} {peak}");
        }
    }
}

#[test]
fn a_modem_that_was_left_in_a_stream_is_freed() {
    for chip in CHIPS {
        let settings = modem::ModemSettings { is_left_streaming: true, ..modem::ModemSettings::new(chip) };
        let mut bench = Bench::new(settings);
        bench.until(6_000, |output| matches!(output, Output::Up(_)));
        assert_eq!(bench.loops().last().map(|(closed, _)| *closed), Some(false), "{chip:?}");
    }
}

#[test]
fn modems_that_cannot_be_used_are_refused_with_the_reason() {
    use modem::{Chip::Usr, Law, ModemSettings};
    let old = ModemSettings { firmware: Some("1.2.22".into()), ..ModemSettings::new(Usr) };
    let mut bench = Bench::new(old);
    bench.until(5_000, |output| *output == Output::Down(SessionFault::OldFirmware([1, 2, 23])));
    let none = ModemSettings { law: Law::None, ..ModemSettings::new(Usr) };
    let mut bench = Bench::new(none);
    bench.until(5_000, |output| *output == Output::Down(SessionFault::NoVoice));
    let half = ModemSettings { is_half_duplex: true, ..ModemSettings::new(modem::Chip::Generic) };
    let mut bench = Bench::new(half);
    bench.until(5_000, |output| matches!(output, Output::Up(_)));
    bench.signal(TxSignal::OffHook);
    bench.until(5_000, |output| *output == Output::Down(SessionFault::HalfDuplex));
    // Nobody answers.
    let mut bench = Bench::new(ModemSettings::new(Usr));
    bench.order(Order::Mute { on: true });
    bench.until(10_000, |output| *output == Output::Down(SessionFault::Silent));
}

#[test]
fn events_of_captured_calls_mean_what_they_mean_on_each_chip() {
    let busy = [Output::Tone(ChipTone::Busy, true), Output::Tone(ChipTone::Busy, false)];
    let loop_break = Output::Signal(RxSignal::LoopBreak { ms: LOOP_BREAK_MS });
    let in_use = |on| Output::Signal(RxSignal::InUse(on));
    let other = [modem::Chip::Conexant, modem::Chip::Generic];
    for chip in CHIPS {
        let mut bench = Bench::up(chip);
        bench.seize();
        // The USR says `H` of its own doing, and everybody that nothing is being said.
        bench.run(1_000);
        "sqvVtT$".chars().for_each(|letter| bench.event(letter));
        bench.run(10);
        assert_eq!(bench.signals(), [], "{chip:?}");
        // Once is nothing; twice within three seconds is busy; then it is over.
        bench.event('b');
        bench.run(3_500);
        bench.event('b');
        bench.run(1_000);
        assert_eq!(bench.signals(), []);
        bench.event('b');
        bench.run(1_000);
        bench.event('b');
        bench.run(3_500);
        assert_eq!(bench.signals(), busy);
        bench.event('K');
        bench.event('K');
        bench.event('d');
        bench.run(10);
        bench.event('i');
        bench.run(10);
        let expected = [
            Output::Tone(ChipTone::Reorder, true),
            Output::Tone(ChipTone::Reorder, false),
            Output::Tone(ChipTone::Dial, true),
        ];
        assert_eq!(bench.signals(), expected);
        bench.run(3_500);
        bench.signals();
        // The exchange breaks the loop: a USR has no word for it.
        bench.order(Order::Break { port: 1, ms: 300 });
        bench.run(500);
        let expected = if other.contains(&chip) { vec![loop_break.clone()] } else { vec![] };
        assert_eq!(bench.signals(), expected, "{chip:?}");
        bench.order(Order::InUse { port: 1, on: true });
        bench.run(100);
        bench.order(Order::InUse { port: 1, on: false });
        bench.run(100);
        assert_eq!(bench.signals(), [in_use(true), in_use(false)], "{chip:?}");
        bench.order(Order::Reverse { port: 1, on: true });
        bench.run(200);
        let reversed = Output::Signal(RxSignal::Reversed(true));
        let expected = if chip == modem::Chip::Generic { vec![reversed] } else { vec![] };
        assert_eq!(bench.signals(), expected, "{chip:?}");
    }
}

#[test]
fn a_flash_and_pulses_are_sent_out_of_the_stream() {
    for chip in CHIPS {
        let mut bench = Bench::up(chip);
        bench.seize();
        bench.run(500);
        bench.signal(TxSignal::Flash { ms: 250 });
        assert_eq!(bench.session.state(), SessionState::Dialling);
        bench.run(2_000);
        assert_eq!(bench.session.state(), SessionState::Audio);
        let flash = bench
            .told
            .iter()
            .find_map(|told| if let Told::Flash { ms, .. } = told { Some(*ms) } else { None });
        // Others flash for as long as they do.
        assert_eq!(flash, Some(if chip == modem::Chip::Usr { 250 } else { 600 }), "{chip:?}");
        for digit in [1, 0, 3] {
            bench.signal(TxSignal::Pulses(digit));
            bench.run(400);
        }
        bench.run(6_000);
        let digits: String = bench
            .told
            .iter()
            .filter_map(
                |told| if let Told::Digit { digit, pulses: true, .. } = told { Some(*digit) } else { None },
            )
            .collect();
        assert_eq!((digits.as_str(), bench.session.state()), ("103", SessionState::Audio), "{chip:?}");
        assert!(bench.loops().iter().all(|(closed, _)| *closed));
        bench.signal(TxSignal::OnHook);
        bench.run(1_000);
        assert_eq!(bench.session.state(), SessionState::Idle);
    }
}

#[test]
fn a_line_that_rings_on_was_not_taken() {
    let mut bench = Bench::up(modem::Chip::Conexant);
    bench.seize();
    bench.event('R');
    bench.run(10);
    assert_eq!(bench.signals(), [], "the ring that was answered");
    bench.run(600);
    bench.event('R');
    bench.run(10);
    assert_eq!(bench.signals(), [Output::AudioEnded, Output::Down(SessionFault::Hook)]);
}

#[test]
fn a_line_that_another_telephone_has_is_not_taken() {
    let mut bench = Bench::up(modem::Chip::Conexant);
    bench.order(Order::InUse { port: 1, on: true });
    bench.run(10);
    bench.signals();
    for _ in 0..2 {
        bench.signal(TxSignal::OffHook);
        bench.until(1_000, |output| *output == Output::Signal(RxSignal::NotSeized));
        bench.signal(TxSignal::OnHook);
        bench.run(1_000);
        assert_eq!(bench.signals(), [Output::Signal(RxSignal::NotSeized)]);
        assert_eq!(bench.session.state(), SessionState::Idle);
        assert!(!bench.loops().iter().any(|(closed, _)| *closed), "{:?}", bench.loops());
    }
    // It is free, and nothing else has to pass first.
    bench.order(Order::InUse { port: 1, on: false });
    bench.seize();
    assert_eq!(bench.session.counters().sessions, 1);
}

#[test]
fn a_ring_says_that_no_other_telephone_has_the_line() {
    let mut bench = Bench::up(modem::Chip::Conexant);
    bench.seize();
    bench.order(Order::InUse { port: 1, on: true });
    bench.run(100);
    bench.signal(TxSignal::OnHook);
    bench.run(1_000);
    assert_eq!(bench.session.state(), SessionState::LineBusyByLocalPhone);
    bench.signals();
    bench.give(Input::Bytes(b"\r\nRING\r\n"));
    let ring = [Output::Signal(RxSignal::InUse(false)), Output::Signal(RxSignal::RingOn)];
    assert_eq!(bench.signals(), ring);
}

#[test]
fn sound_that_stops_or_keeps_no_time_ends_the_session() {
    for order in [Order::Mute { on: true }, Order::Pace { hz: 7_600 }, Order::Pace { hz: 8_400 }] {
        let mut bench = Bench::up(modem::Chip::Usr);
        bench.seize();
        bench.order(order);
        bench.until(20_000, |output| *output == Output::Down(SessionFault::Sound));
    }
    // A hundredth is a poor clock, and no fault.
    let mut bench = Bench::up(modem::Chip::Usr);
    bench.seize();
    bench.order(Order::Pace { hz: 8_080 });
    bench.run(30_000);
    assert_eq!(bench.signals(), []);
}

#[test]
fn a_modem_that_does_not_leave_its_stream_is_given_up() {
    let mut bench = Bench::up(modem::Chip::Generic);
    bench.seize();
    bench.order(Order::Mute { on: true });
    bench.signal(TxSignal::OnHook);
    bench.run(10);
    assert_eq!(bench.session.state(), SessionState::Releasing);
    bench.until(1_100, |output| *output == Output::Down(SessionFault::Stuck));
    assert_eq!(bench.session.state(), SessionState::Absent);
}

#[test]
fn the_other_way_out_of_the_stream_is_tried() {
    // A USR that is taken for something else.
    let mut bench = Bench::up(modem::Chip::Usr);
    bench.session.quirks = &Quirks { format_tail: "", silence_off: "AT+VSD=128,0", ..GENERIC_COPY };
    bench.seize();
    bench.signal(TxSignal::OnHook);
    bench.run(1_500);
    assert_eq!(bench.session.state(), SessionState::Idle);
}

const GENERIC_COPY: Quirks = Quirks {
    chip: Chip::Generic,
    firmware_min: None,
    leave: [[0x10, b'^'], [0x10, 3]],
    caller_id: ["AT+VCID=1", "AT#CID=1"],
    silence_off: "AT+VSD=128,0",
    format_tail: "",
    gains: &[],
    flash_in_s29: false,
    tells_own_hook: true,
    tells_loop_break: true,
    tells_reversal: true,
};

#[test]
fn what_cannot_be_done_is_refused() {
    let mut bench = Bench::up(modem::Chip::Usr);
    bench.signals();
    for signal in [
        TxSignal::Flash { ms: 100 },
        TxSignal::Pulses(3),
        TxSignal::Ring(Cadence::RING),
        TxSignal::Lamp(true),
    ] {
        bench.signal(signal.clone());
        assert_eq!(bench.signals(), [Output::Refused(signal)]);
    }
}

/// The hook goes up and down at any moment; in the end the line is as was asked last.
#[test]
fn the_line_ends_as_it_was_asked_for() {
    for seed in 0..64 {
        let mut random = Random::new(seed);
        let chip = CHIPS[random.below(3)];
        let mut bench = Bench::up(chip);
        bench.cut = 1 + random.below(9);
        bench.signals();
        let mut off_hook = false;
        for _ in 0..20 {
            let signal = match random.below(5) {
                0 | 1 => TxSignal::OffHook,
                2 | 3 => TxSignal::OnHook,
                _ if off_hook => TxSignal::Flash { ms: 100 },
                _ => TxSignal::OnHook,
            };
            off_hook = signal == TxSignal::OffHook || off_hook && signal != TxSignal::OnHook;
            bench.signal(signal);
            bench.run(random.below(700) as u64);
        }
        bench.run(4_000);
        let expected = if off_hook { SessionState::Audio } else { SessionState::Idle };
        assert_eq!(bench.session.state(), expected, "seed {seed} {chip:?} {:?}", bench.said);
        let closed = bench.loops().last().is_some_and(|(closed, _)| *closed);
        assert_eq!(closed, off_hook, "seed {seed} {chip:?}");
    }
}

#[test]
fn what_is_told_before_it_is_up_is_not_of_its_line() {
    let mut bench = Bench::new(modem::ModemSettings::new(modem::Chip::Generic));
    // Set up, and not yet at rest: in voice class it tells of whatever happens.
    while bench.session.doing != Doing::SettingUp {
        bench.run(1);
    }
    for byte in *b"\x10l\x10L\x10P\x10R\x10b\x10b" {
        bench.give(Input::Bytes(&[byte]));
    }
    bench.run(5_000);
    let said = bench.signals();
    assert!(matches!(&said[..], [Output::Up(_), Output::Signal(RxSignal::InUse(true))]), "{said:?}");
}

#[test]
fn nonsense_brings_nothing_down_but_the_session() {
    for seed in 0..64 {
        let mut random = Random::new(seed);
        let mut bench = Bench::up(CHIPS[random.below(3)]);
        if random.below(2) == 0 {
            bench.seize();
        }
        bench.order(Order::Nonsense { on: true });
        bench.run(1_000);
        bench.signal(TxSignal::OnHook);
        bench.until(60_000, |output| matches!(output, Output::Down(_)));
        bench.order(Order::Nonsense { on: false });
        bench.order(Order::Reboot);
        bench.open = true;
        bench.said.clear();
        bench.give(Input::Opened);
        bench.until(10_000, |output| matches!(output, Output::Up(_)));
    }
}

/// `README.md` is the dialogue: what goes over the wire is what stands there.
#[test]
fn the_dialogue_is_the_documented_one() {
    let document = include_str!("README.md");
    let blocks: Vec<(&str, Vec<&str>)> = document
        .split("```text dialogue ")
        .skip(1)
        .map(|block| {
            let (name, rest) = block.split_once('\n').unwrap();
            (name, rest.split("```").next().unwrap().lines().filter(|line| !line.is_empty()).collect())
        })
        .collect();
    let mut seen = Vec::new();
    for (chip, word) in CHIPS.into_iter().zip(["conexant", "usr", "generic"]) {
        let mut bench = Bench::up(chip);
        let mut check = |name: &str, bench: &mut Bench| {
            let name = format!("{name} {word}");
            let log = bench.modem.take_log();
            if let Some((_, expected)) = blocks.iter().find(|(other, _)| *other == name) {
                assert_eq!(log, *expected, "{name}");
                seen.push(name);
            }
        };
        check("start", &mut bench);
        bench.run(30_500);
        check("watchdog", &mut bench);
        let caller = Order::Caller {
            port: 1,
            number: Some("5550100".into()),
            name: Some("Ann".into()),
            spaced: false,
        };
        bench.order(caller);
        bench.ring();
        bench.until(6_000, |output| matches!(output, Output::Caller(_)));
        bench.said.clear();
        bench.seize();
        bench.run(2_000);
        bench.signal(TxSignal::OnHook);
        bench.run(1_500);
        check("incoming", &mut bench);
        bench.seize();
        // Digits are in the sound: nothing of them is seen here.
        bench.run(3_000);
        bench.signal(TxSignal::OnHook);
        bench.run(1_500);
        check("outgoing", &mut bench);
        bench.seize();
        bench.run(2_000);
        bench.modem.take_log();
        bench.signal(TxSignal::Flash { ms: 600 });
        bench.run(2_000);
        check("flash", &mut bench);
        bench.signal(TxSignal::Pulses(3));
        bench.run(3_000);
        check("pulses", &mut bench);
    }
    let named: Vec<&str> = blocks.iter().map(|(name, _)| *name).collect();
    let mut missing: Vec<&str> =
        named.into_iter().filter(|name| !seen.iter().any(|seen| seen == name)).collect();
    missing.sort_unstable();
    assert!(missing.is_empty() && seen.len() >= 10, "{missing:?} {seen:?}");
}

/// The port is opened at most half a second after the modem is back: together less than five.
#[test]
fn it_is_up_soon_after_it_was_opened() {
    for chip in CHIPS {
        let bench = Bench::up(chip);
        assert!(bench.now - bench.began < Duration::from_secs(1), "{chip:?}");
    }
}

#[test]
fn it_takes_the_line_within_the_time_of_a_spoken_word() {
    for chip in CHIPS {
        let mut bench = Bench::up(chip);
        let began = bench.now - bench.began;
        bench.signal(TxSignal::OffHook);
        bench.heard.clear();
        while bench.heard.is_empty() {
            bench.run(1);
        }
        let lasted = (bench.now - bench.began) - began;
        assert!(lasted < Duration::from_millis(600), "{chip:?} {lasted:?}");
    }
}
