//! The link against the card of the testkit, millisecond by millisecond, and against forgers.

use tipring_testkit::linecard::{Board, Order, Told};
use tipring_testkit::random::Random;

use super::*;
use crate::port::{Cadence, PortKind};

const LINE: usize = 0;
const PHONE: usize = 1;

/// A link and a card with a wire between them that may be bad.
struct World {
    link: Link,
    board: Board,
    now: Instant,
    said: Vec<Output>,
    random: Random,
    /// So many lines in a hundred are broken, lost, doubled, or come one late.
    bad_percent: usize,
    broken: usize,
    late: [Vec<u8>; 2],
}

impl World {
    fn new() -> Self {
        let settings = vec![PortSettings { heard_gain_ddb: Some(-30), ..PortSettings::default() }; 2];
        let mut world = Self {
            link: Link::new(settings, 7),
            board: Board::new("LP"),
            now: Instant::now(),
            said: Vec::new(),
            random: Random::new(1),
            bad_percent: 0,
            broken: 0,
            late: [Vec::new(), Vec::new()],
        };
        world.tell(Input::Opened);
        world
    }

    /// A link that is up and begun.
    fn up() -> Self {
        let mut world = Self::new();
        world.run(10);
        assert!(matches!(world.said.last(), Some(Output::Up(_))), "{:?}", world.said);
        world.tell(Input::Begin);
        world.run(10);
        world.said.clear();
        world
    }

    fn tell(&mut self, input: Input<'_>) {
        self.link.handle(self.now, input);
        while let Some(output) = self.link.poll() {
            let Output::Write(line) = output else {
                self.said.push(output);
                continue;
            };
            let bytes = self.wire(0, line.bytes());
            self.board.bytes(&bytes);
        }
    }

    /// What becomes of bytes on their way.
    fn wire(&mut self, way: usize, bytes: &[u8]) -> Vec<u8> {
        let mut arrives = Vec::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.random.below(100) >= self.bad_percent {
                arrives.extend(line);
                arrives.append(&mut self.late[way]);
                continue;
            }
            self.broken += 1;
            match self.random.below(5) {
                0 => {}
                1 => arrives.extend([line, line].concat()),
                2 => self.late[way].extend(line),
                _ => arrives.extend(self.random.mutate(line)),
            }
        }
        arrives
    }

    fn run(&mut self, ms: usize) {
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            self.board.millisecond(&[0; 16], &mut [0; 16]);
            let bytes = self.board.take_bytes();
            let bytes = self.wire(1, &bytes);
            if !bytes.is_empty() {
                self.tell(Input::Bytes(&bytes));
            }
            if self.link.poll_timeout().is_some_and(|at| at <= self.now) {
                self.tell(Input::Timeout);
            }
        }
    }

    fn order(&mut self, order: serde_json::Value) {
        let order: Order = serde_json::from_value(order).unwrap();
        self.board.carry_out(order).unwrap();
    }

    fn hook(&mut self, off: bool) {
        self.order(serde_json::json!({"do": if off { "lift" } else { "hang_up" }, "port": 2}));
    }

    fn signals(&mut self) -> Vec<(usize, RxSignal)> {
        let said = std::mem::take(&mut self.said);
        said.into_iter()
            .filter_map(|output| {
                if let Output::Signal { port, signal, .. } = output { Some((port, signal)) } else { None }
            })
            .collect()
    }

    /// A frame of the card that the card never sent.
    fn forge(&mut self, kind: Kind, number: u16, words: &str) -> Vec<Output> {
        let line = Line::new(kind, number, words).unwrap();
        self.link.handle(self.now, Input::Bytes(line.bytes()));
        std::iter::from_fn(|| self.link.poll()).collect()
    }
}

fn ring() -> TxSignal {
    TxSignal::Ring(Cadence::new(&[1_000, 4_000]).unwrap())
}

fn rings(told: &[Told]) -> bool {
    told.iter().any(|told| matches!(told, Told::Ring { port: 2, on: true, .. }))
}

#[test]
fn a_session_begins_as_it_is_written() {
    let mut link = Link::new(vec![PortSettings { flash_min_ms: Some(80), ..PortSettings::default() }], 41);
    let mut now = Instant::now();
    let mut lines = Vec::new();
    link.handle(now, Input::Opened);
    let answers = [
        "0 OK v=1 id=0000002A model=demo fw=1.2 serial=77 rate=8000 ports=P",
        "1 OK kind=phone caps=reversal,audio,rain",
        "2 ERR 4 key=flash_min",
        "3 OK",
    ];
    let mut answers = answers.iter();
    let mut said = Vec::new();
    loop {
        while let Some(output) = link.poll() {
            if let Output::Write(line) = &output {
                lines.push(String::from_utf8(line.bytes().to_vec()).unwrap());
            } else {
                said.push(output);
            }
        }
        let Some(answer) = answers.next() else { break };
        now += Duration::from_millis(3);
        let (number, words) = answer.split_once(' ').unwrap();
        let line = Line::new(Kind::Reply, number.parse().unwrap(), words).unwrap();
        link.handle(now, Input::Bytes(line.bytes()));
    }
    let lines: Vec<&str> = lines.iter().map(|line| line.split('*').next().unwrap().trim_end()).collect();
    assert_eq!(lines, ["", ">0 HELLO v=1 id=0000002A", ">1 PORT 1", ">2 CONF 1 flash_min=80", ">3 WDOG 5"]);
    let [Output::Refused { port: 0, signal: None, refusal: Refusal::Value }, Output::Up(info)] = &said[..]
    else {
        panic!("{said:?}");
    };
    assert_eq!((info.model.as_str(), info.firmware.as_str(), info.serial.as_str()), ("demo", "1.2", "77"));
    let port = info.ports[0];
    assert_eq!(
        (port.kind, port.reversal, port.on_hook_audio, port.lamp),
        (PortKind::Phone, true, true, false)
    );
    assert_eq!(link.poll_timeout(), Some(now + PING_EVERY - Duration::from_millis(3)));
}

#[test]
fn signals_go_both_ways() {
    let mut world = World::up();
    world.hook(true);
    world.run(50);
    assert_eq!(world.signals(), [(PHONE, RxSignal::OffHook)]);
    world.tell(Input::Signal(PHONE, ring()));
    let expected = Output::Refused { port: PHONE, signal: Some(ring()), refusal: Refusal::State };
    world.run(5);
    assert_eq!(world.said, [expected]);
    world.hook(false);
    world.run(1_000);
    world.tell(Input::Signal(PHONE, ring()));
    world.run(5);
    assert!(rings(&world.board.take_told()));
    world.tell(Input::Meter(PHONE));
    world.run(5);
    let reading = Output::Reading { port: PHONE, reading: Reading { voltage_dv: -482, current_dma: 0 } };
    assert_eq!(world.said.last(), Some(&reading));
}

#[test]
fn how_ports_stand_is_told_at_the_beginning() {
    let mut world = World::new();
    world.hook(true);
    world.order(serde_json::json!({"do": "battery", "port": 1, "on": false}));
    world.run(1_200);
    world.said.clear();
    world.run(100);
    assert!(world.signals().is_empty(), "nobody wants them yet");
    world.tell(Input::Begin);
    world.run(10);
    assert_eq!(world.signals(), [(LINE, RxSignal::BatteryLost), (PHONE, RxSignal::OffHook)]);
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_and_the_deed_done_once() {
    let mut world = World::up();
    world.tell(Input::Signal(LINE, TxSignal::OffHook));
    world.run(10);
    world
        .board
        .carry_out(serde_json::from_value(serde_json::json!({"do": "lose_replies", "count": 2})).unwrap())
        .unwrap();
    world.tell(Input::Signal(LINE, TxSignal::Pulses(1)));
    world.run(3_000);
    let digits =
        world.board.take_told().iter().filter(|told| matches!(told, Told::Digit { digit: '1', .. })).count();
    assert_eq!((digits, world.link.counters().resent, world.link.state()), (1, 2, LinkState::Up));
}

#[test]
fn a_card_that_falls_silent_is_given_up_and_found_again() {
    let mut world = World::up();
    world
        .board
        .carry_out(serde_json::from_value(serde_json::json!({"do": "lose_replies", "count": 12})).unwrap())
        .unwrap();
    world.tell(Input::Signal(PHONE, ring()));
    world.run(999);
    assert!(world.said.is_empty());
    world.run(2);
    assert_eq!(world.said, [Output::Down(LinkFault::NoAnswer)]);
    world.tell(Input::Signal(PHONE, ring()));
    let refused = Output::Refused { port: PHONE, signal: Some(ring()), refusal: Refusal::Session };
    assert_eq!(world.said.pop(), Some(refused));
    world.run(5_000);
    assert_eq!(world.link.state(), LinkState::Up);
    assert_eq!(world.said.iter().filter(|said| matches!(said, Output::Down(_))).count(), 1);
}

#[test]
fn a_card_that_begins_anew_is_noticed_at_once() {
    let mut world = World::up();
    world.tell(Input::Signal(PHONE, ring()));
    world.run(10);
    world.board.reboot("brownout");
    world.run(2);
    assert_eq!(world.said, [Output::Down(LinkFault::Reset)]);
    world.run(600);
    assert_eq!(world.link.state(), LinkState::Up);
    // And one that did not say so, by its next answer.
    world.board.reboot("brownout");
    world.board.take_bytes();
    world.said.clear();
    world.run(1_100);
    assert_eq!(world.said.first(), Some(&Output::Down(LinkFault::Reset)));
    world.run(1_000);
    assert_eq!(world.link.state(), LinkState::Up);
}

#[test]
fn a_card_that_is_not_asked_puts_its_ports_at_rest() {
    let mut world = World::up();
    world.tell(Input::Signal(PHONE, ring()));
    world.tell(Input::Signal(LINE, TxSignal::OffHook));
    world.run(100);
    world.board.take_told();
    world.tell(Input::Closed);
    world.run(4_900);
    assert!(!world.board.take_told().contains(&Told::Session { on: false }));
    world.run(200);
    let told = world.board.take_told();
    assert!(told.contains(&Told::Session { on: false }), "{told:?}");
    assert!(told.iter().any(|told| matches!(told, Told::Loop { closed: false, .. })), "{told:?}");
}

#[test]
fn events_come_once_and_in_their_order() {
    let mut world = World::up();
    let acknowledged = |number| Output::Write(Line::new(Kind::Acknowledgement, number, "").unwrap());
    let off = Output::Signal { port: PHONE, at: SampleTime(80), signal: RxSignal::OffHook };
    assert_eq!(world.forge(Kind::Event, 1, "80 2 HOOK off"), [acknowledged(1), off]);
    assert_eq!(world.forge(Kind::Event, 1, "80 2 HOOK off"), [acknowledged(1)]);
    assert_eq!(world.forge(Kind::Event, 3, "96 2 FLASH 300"), []);
    let flash = Output::Signal { port: PHONE, at: SampleTime(88), signal: RxSignal::Flash { ms: 300 } };
    assert_eq!(world.forge(Kind::Event, 2, "88 2 FLASH 300"), [acknowledged(2), flash]);
    assert_eq!(world.link.counters().out_of_turn, 2);
    // A word that is not known is taken and passed over.
    assert_eq!(world.forge(Kind::Event, 3, "96 2 SNOW 3"), [acknowledged(3)]);
}

#[test]
fn forged_frames_change_nothing() {
    let mut world = World::up();
    for (kind, number, words) in [
        (Kind::Reply, 4, "OK"),
        (Kind::Reply, 0, "OK v=1 id=00000008 model=a fw=b serial=c rate=8000 ports=PPPP"),
        (Kind::Reply, 0, "ERR 8"),
        (Kind::Reply, 999, "ERR 7"),
        (Kind::Reply, 1, "NO"),
        (Kind::Request, 1, "HOOK 2 off"),
        (Kind::Acknowledgement, 1, ""),
        (Kind::Event, 60_000, "80 2 HOOK off"),
        (Kind::Event, 2, "80 2 HOOK off"),
    ] {
        let said = world.forge(kind, number, words);
        assert!(said.iter().all(|said| matches!(said, Output::Write(_))), "{words}: {said:?}");
    }
    let mut number = 0;
    for words in
        ["80 1 HOOK off", "80 2 RING on", "80 9 HOOK off", "80 2 FLASH 9999", "80 2 PULSE 12", "x", "80"]
    {
        number += 1;
        let said = world.forge(Kind::Event, number, words);
        assert!(said.iter().all(|said| matches!(said, Output::Write(_))), "{words}: {said:?}");
    }
    // The card does not know of these events: it is asked anew for its own.
    assert_eq!(world.link.state(), LinkState::Up);
    assert_eq!(world.link.counters().senseless, 3 + 7);
}

#[test]
fn a_card_that_does_not_fit_is_said_once_and_tried_again() {
    let mut link = Link::new(Vec::new(), 7);
    let mut now = Instant::now();
    link.handle(now, Input::Opened);
    let mut downs = Vec::new();
    let mut hellos = 0;
    for _ in 0..10_000 {
        now += Duration::from_millis(1);
        while let Some(output) = link.poll() {
            if let Output::Down(fault) = output {
                downs.push(fault);
            } else if let Output::Write(line) = output {
                if line.bytes().starts_with(b">0 HELLO") {
                    hellos += 1;
                    let line = Line::new(Kind::Reply, 0, "ERR 8").unwrap();
                    link.handle(now, Input::Bytes(line.bytes()));
                }
            } else {
                panic!("{output:?}");
            }
        }
        link.handle(now, Input::Timeout);
    }
    assert_eq!(downs, [LinkFault::Unfit]);
    assert!((15..=21).contains(&hellos), "{hellos}");
}

#[test]
fn numbers_begin_again_at_one() {
    let mut world = World::up();
    for _ in 0..66_000 {
        world.tell(Input::Signal(PHONE, TxSignal::RingOff));
        world.run(1);
        world.hook(world.board.at() % 16_000 < 8_000);
    }
    assert_eq!((world.link.state(), world.link.counters().sessions), (LinkState::Up, 1));
    assert!(world.said.iter().all(|said| matches!(said, Output::Signal { .. } | Output::Clock(_))));
}

#[test]
fn too_much_at_a_time_ends_the_session() {
    let mut world = World::up();
    world
        .board
        .carry_out(serde_json::from_value(serde_json::json!({"do": "lose_replies", "count": 1})).unwrap())
        .unwrap();
    for _ in 0..=WAITING_MAX {
        world.tell(Input::Signal(PHONE, TxSignal::RingOff));
    }
    assert!(world.said.is_empty());
    world.tell(Input::Signal(PHONE, TxSignal::RingOff));
    assert_eq!(world.said, [Output::Down(LinkFault::Overrun)]);
    world.run(1_000);
    assert_eq!(world.link.state(), LinkState::Up);
}

#[test]
fn events_that_a_card_forgot_are_made_good_by_asking() {
    let mut world = World::up();
    // The box is deaf while the receiver goes up and down, longer than the card remembers.
    world.link.handle(world.now, Input::Closed);
    for round in 0..80 {
        world.hook(round % 2 == 0);
        for _ in 0..1_000 {
            world.board.millisecond(&[0; 16], &mut [0; 16]);
            world.board.bytes(Line::new(Kind::Acknowledgement, 65_535, "").unwrap().bytes());
        }
    }
    world.board.take_bytes();
    world.tell(Input::Opened);
    world.run(20);
    world.tell(Input::Begin);
    world.hook(true);
    world.run(100);
    assert_eq!(world.signals().last(), Some(&(PHONE, RxSignal::OffHook)));
    // A card says that it forgot something: each port is asked how it stands.
    let before = world.link.known[PHONE];
    world.link.known[PHONE] = Standing { off_hook: false, ..before };
    let number = world.link.next_event;
    let line = Line::new(Kind::Event, number, "80 0 LOST 3").unwrap();
    world.tell(Input::Bytes(line.bytes()));
    world.run(10);
    assert_eq!(world.signals(), [(PHONE, RxSignal::OffHook)]);
}

#[test]
fn ten_thousand_broken_frames_leave_no_port_stuck() {
    for seed in 0..4 {
        let mut world = World::up();
        world.random = Random::new(seed);
        world.bad_percent = 30;
        let mut lifted = false;
        while world.broken < 2_500 {
            let port = world.random.below(3);
            match world.random.below(12) {
                0 => world.tell(Input::Signal(port, ring())),
                1 => world.tell(Input::Signal(port, TxSignal::RingOff)),
                2 => world.tell(Input::Signal(port, TxSignal::OffHook)),
                3 => world.tell(Input::Signal(port, TxSignal::OnHook)),
                4 => world.tell(Input::Meter(port)),
                5 => world.tell(Input::Begin),
                6 => {
                    lifted = !lifted;
                    world.hook(lifted);
                }
                7 => {
                    let noise: Vec<u8> = (0..300).map(|_| world.random.next() as u8).collect();
                    world.tell(Input::Bytes(&noise));
                    world.board.bytes(&noise);
                }
                _ => {}
            }
            let ms = world.random.below(60);
            world.run(ms);
            assert!(world.link.waiting.len() <= WAITING_MAX);
        }
        // The wire is good again: within five seconds everything works, whatever was going on.
        world.bad_percent = 0;
        world.hook(false);
        world.run(5_000);
        assert_eq!(world.link.state(), LinkState::Up, "seed {seed}");
        world.tell(Input::Begin);
        world.tell(Input::Signal(PHONE, TxSignal::RingOff));
        world.run(100);
        world.said.clear();
        world.board.take_told();
        world.tell(Input::Signal(PHONE, ring()));
        world.run(100);
        assert!(rings(&world.board.take_told()), "seed {seed}");
        world.hook(true);
        world.run(100);
        assert_eq!(world.signals(), [(PHONE, RxSignal::OffHook)], "seed {seed}");
        let counters = world.link.counters();
        assert!(counters.garbled > 100 && counters.resent > 50 && counters.out_of_turn > 0, "{counters:?}");
    }
}

/// What stands in the document is what is on the wire: each line whole, numbers in their order,
/// each request what this driver would send, each answer and event one that it understands.
#[test]
fn the_examples_of_the_document_are_right() {
    let document = include_str!("README.md");
    let mut ports = Vec::new();
    let (mut requests, mut events) = (0, 0);
    let lines = document.lines().filter(|line| line.starts_with(['>', '<', '!', '@']) && line.contains('*'));
    for line in lines {
        let frame = Frame::parse(line.as_bytes()).unwrap_or_else(|| panic!("no frame: {line}"));
        match frame.kind {
            Kind::Request => {
                requests += 1;
                assert!(frame.words.split(' ').count() <= 4, "{line}");
            }
            Kind::Reply => {
                let Some(reply) = Reply::parse(frame.words) else { panic!("no answer: {line}") };
                if let (Reply::Ok(fields), 0) = (reply, frame.number) {
                    ports = hello(fields, 42).unwrap().ports;
                }
                if let (Reply::Ok(fields), 1 | 2) = (reply, frame.number) {
                    let at = usize::from(frame.number) - 1;
                    ports[at] = message::port(fields, ports[at].kind).unwrap();
                    assert!(ports[at].on_hook_audio && ports[at].meter);
                }
            }
            Kind::Event => {
                let (_, event) = event(frame.words, &ports).unwrap_or_else(|| panic!("no event: {line}"));
                assert_ne!(event, Event::Unknown, "{line}");
                events += u16::from(event != Event::Reset);
                assert!(frame.number == events || event == Event::Reset, "{line}");
            }
            Kind::Acknowledgement => assert_eq!(frame.number, events, "{line}"),
        }
    }
    assert_eq!((requests, events), (16, 6));
}

/// Limits that the document names are those of this driver.
#[test]
fn the_document_has_the_drivers_limits() {
    let document = include_str!("README.md");
    for (text, holds) in [
        ("at most 200 bytes", crate::port::linecard::LINE_BYTES_MAX == 200),
        ("The box waits **200 ms**, then sends the same line again, five times in all", {
            REPLY_TIMEOUT == Duration::from_millis(200) && SENDS_MAX == 5
        }),
        ("every 500 ms until it is\n   answered", HELLO_EVERY == Duration::from_millis(500)),
        ("when it has sent nothing else for 1 s", PING_EVERY == Duration::from_secs(1)),
        (">5 WDOG 5*", WATCHDOG_S == 5),
        ("80 frames (10 ms)", crate::port::linecard::PERIOD_FRAMES == 80),
        ("1 to 24 of them", message::PORTS_MAX == 24),
    ] {
        assert!(document.contains(text) && holds, "{text}");
    }
    for key in [
        "imp",
        "gain_rx",
        "gain_tx",
        "limit_ma",
        "break_min",
        "pulse_make",
        "pulse_break",
        "ring_hz",
        "ring_v",
        "feed_ma",
        "flash_min",
        "flash_max",
        "pulses",
    ] {
        assert!(document.contains(&format!("`{key}`")), "{key}");
    }
}

/// The card of the testkit answers the document's requests as the document says.
#[test]
fn the_simulated_card_is_the_documents() {
    let mut board = Board::new("LP");
    let lines: Vec<&str> = include_str!("README.md").lines().filter(|line| line.contains('*')).collect();
    let mut answered = 0;
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with('>')) {
        board.take_bytes();
        board.bytes(format!("{line}\n").as_bytes());
        let Some(expected) = lines.get(at + 1).filter(|next| next.starts_with('<')) else { continue };
        let said = String::from_utf8(board.take_bytes()).unwrap();
        let begins = |line: &str| {
            let words: Vec<&str> = line.split('*').next().unwrap().split(' ').collect();
            words.into_iter().filter(|word| !word.starts_with("at=")).map(str::to_owned).collect::<Vec<_>>()
        };
        let (said, expected) = (begins(said.lines().next().unwrap()), begins(expected));
        let own = ["model=", "fw=", "serial="];
        for (said, expected) in said.iter().zip(&expected) {
            assert!(said == expected || own.iter().any(|key| said.starts_with(key)), "{said} for {expected}");
        }
        assert_eq!(said.len(), expected.len());
        answered += 1;
    }
    assert_eq!(answered, 14);
}
