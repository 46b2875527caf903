//! Two engines talk over real sockets on the loopback, in virtual time; the thread
//! itself is tried last, on the real clock and without any assertion about timing.
#![expect(clippy::disallowed_methods, reason = "endpoints need an instant to count from")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks a few events of many")]

use std::{
    net::UdpSocket,
    sync::Arc,
    time::{Duration, Instant},
};

use rtrb::{Consumer, RingBuffer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tipring_media::{
    Command, CommandSender, Endpoint, Engine, Event, EventReceiver, Frame, LegStats, Limits, MediaThread,
    PlaySource, Prompt, Rate, RecordWhat, ThreadOptions,
    codec::CodecId,
    rtp::{Direction, RtpEndpoint, RtpMedia, RtpUpdate, endpoint::Events},
};
use tipring_model::{DigitPath, Digits, LegId, LineId, PlayId, RecordId};

/// Two engines, and the time that both live in.
struct Rig {
    engines: [(Engine, CommandSender, EventReceiver); 2],
    now: Instant,
}

const NEAR: usize = 0;
const FAR: usize = 1;

impl Rig {
    fn new() -> Self {
        Self { engines: [(); 2].map(|()| Engine::new(Limits::default())), now: Instant::now() }
    }

    fn send(&mut self, side: usize, command: Command) {
        self.engines[side].1.send(command).unwrap();
    }

    /// Lets `ms` pass on both sides and gives the events of each.
    fn run(&mut self, ms: u64) -> [Vec<Event>; 2] {
        let mut events = [Vec::new(), Vec::new()];
        for _ in 0..ms / 5 {
            self.now += Duration::from_millis(5);
            for ((engine, _, receiver), events) in self.engines.iter_mut().zip(&mut events) {
                engine.drain(self.now);
                engine.tick(self.now);
                events.extend(core::iter::from_fn(|| receiver.poll()));
            }
        }
        events
    }

    /// Detaches a leg and gives its counters.
    fn detach(&mut self, side: usize, leg: LegId) -> LegStats {
        self.send(side, Command::Detach { leg });
        let events = self.run(20);
        events[side]
            .iter()
            .find_map(|event| match event {
                Event::Detached { stats, .. } => Some(*stats),
                _ => None,
            })
            .unwrap()
    }
}

fn leg(seq: u32) -> LegId {
    LegId::offered(LineId(1), seq)
}

fn media(codec: CodecId, to: &UdpSocket, events: bool) -> RtpMedia {
    let row = codec.codec();
    let payload_type = row.payload_type.unwrap_or(96);
    let mut media = RtpMedia::new(codec, payload_type, to.local_addr().unwrap());
    media.events = events.then_some(Events { payload_type: 101, clock_hz: row.clock_hz });
    media
}

fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// Two endpoints pointed at each other.
fn pair(codec: CodecId, events: bool, now: Instant) -> [Box<RtpEndpoint>; 2] {
    let (a, b) = (socket(), socket());
    let (to_b, to_a) = (media(codec, &b, events), media(codec, &a, events));
    [
        RtpEndpoint::new(a, to_b, 0x1234_5678_9abc_def0_1122_3344, now).unwrap(),
        RtpEndpoint::new(b, to_a, 0x0fed_cba9_8765_4321_5566_7788, now).unwrap(),
    ]
}

/// Two seconds of something like a voice: harmonics of a gliding pitch.
fn voice(rate: Rate) -> Vec<i16> {
    let hz = f64::from(rate.hz());
    let mut phase = 0.0;
    (0..rate.hz() as usize * 2)
        .map(|i| {
            let t = i as f64 / hz;
            // Above 300 Hz: the Opus encoder turns the phase of what is lower.
            phase += (430.0 + 40.0 * (t * 2.0).sin()) / hz * core::f64::consts::TAU;
            let sum: f64 = (1..6).map(|k| (phase * f64::from(k)).sin() / f64::from(k)).sum();
            (5_000.0 * sum * (0.7 + 0.3 * (t * 9.0).sin())) as i16
        })
        .collect()
}

fn play(leg: LegId, play: u32, source: PlaySource) -> Command {
    Command::Play { leg, play: PlayId(play), source, loops: 1 }
}

fn record(leg: LegId, what: RecordWhat) -> (Command, Consumer<Frame>) {
    let (sink, ring) = RingBuffer::new(1_000);
    let command = Command::Record { leg, record: RecordId(1), what, sink };
    (command, ring)
}

fn drained(ring: &mut Consumer<Frame>) -> Vec<i16> {
    let mut samples = Vec::new();
    while let Ok(frame) = ring.pop() {
        samples.extend_from_slice(frame.samples());
    }
    samples
}

/// Correlation and signal-to-noise ratio in dB at the best lag.
fn compare(sent: &[i16], got: &[i16]) -> (f64, f64) {
    let span = sent.len() * 3 / 4;
    let mut best = (0.0, -99.0);
    for lag in 0..got.len().saturating_sub(span) {
        let (mut xx, mut yy, mut xy, mut ee) = (0.0, 0.0, 0.0, 0.0);
        for (x, y) in sent[..span].iter().zip(&got[lag..]) {
            let (x, y) = (f64::from(*x), f64::from(*y));
            xx += x * x;
            yy += y * y;
            xy += x * y;
            ee += (x - y) * (x - y);
        }
        let correlation = xy / (xx * yy).sqrt().max(1.0);
        if correlation > best.0 {
            best = (correlation, 10.0 * (xx / ee.max(1.0)).log10());
        }
    }
    best
}

#[test]
fn what_is_played_is_heard_in_every_codec() {
    for (codec, correlation_min, snr_min) in [
        (CodecId::Pcmu, 0.99, 34.0),
        (CodecId::Pcma, 0.99, 34.0),
        (CodecId::G722, 0.99, 30.0),
        (CodecId::Opus, 0.95, 11.0),
    ] {
        for prepared in [true, false] {
            let mut rig = Rig::new();
            let [near, far] = pair(codec, false, rig.now);
            let rate = codec.codec().rate;
            let prompt = Arc::new(Prompt::new(rate, voice(rate)));
            if prepared {
                prompt.prepare(codec).unwrap();
            }
            rig.send(FAR, Command::attach(leg(2), far));
            let (command, mut ring) = record(leg(2), RecordWhat::In);
            rig.send(FAR, command);
            rig.run(20);
            rig.send(NEAR, Command::attach(leg(1), near));
            rig.send(NEAR, play(leg(1), 1, PlaySource::Prompt(Arc::clone(&prompt))));
            rig.send(NEAR, play(leg(1), 2, PlaySource::Silence { ms: 200 }));
            let [near_events, _] = rig.run(2_300);
            let ends: Vec<_> = near_events
                .iter()
                .filter_map(|event| match event {
                    Event::Played { play, completed, played_ms, .. } => {
                        Some((play.0, *completed, *played_ms))
                    }
                    _ => None,
                })
                .collect();
            assert_eq!(ends, [(1, true, 2_000), (2, true, 200)]);
            let stats = rig.detach(FAR, leg(2));
            assert_eq!(stats.packets_in, 110, "{stats:?}");
            // Nobody can tell the end of a stream from a loss at first.
            assert_eq!((stats.lost, stats.late), (0, 0), "{stats:?}");
            assert!(stats.concealed <= 3, "{stats:?}");
            let (correlation, snr) = compare(prompt.samples(), &drained(&mut ring));
            println!("{codec:?} prepared {prepared}: {correlation:.4} {snr:.1} dB");
            assert!(correlation >= correlation_min, "{codec:?}: {correlation}");
            assert!(snr >= snr_min, "{codec:?}: {snr}");
        }
    }
}

#[test]
fn digits_cross_as_events_and_as_sound() {
    for (codec, events) in [
        (CodecId::Pcmu, true),
        (CodecId::G722, true),
        (CodecId::Opus, true),
        (CodecId::Pcmu, false),
        (CodecId::Pcma, false),
        (CodecId::G722, false),
        (CodecId::Opus, false),
    ] {
        let mut rig = Rig::new();
        let [near, far] = pair(codec, events, rig.now);
        rig.send(FAR, Command::attach(leg(2), far));
        rig.send(FAR, Command::Listen { leg: leg(2), inband: true });
        rig.run(20);
        rig.send(NEAR, Command::attach(leg(1), near));
        rig.send(
            NEAR,
            Command::SendDigits {
                leg: leg(1),
                play: PlayId(1),
                digits: Digits::parse("0123456789*#ABCD").unwrap(),
                on_ms: 80,
                gap_ms: 80,
            },
        );
        rig.send(NEAR, play(leg(1), 2, PlaySource::Silence { ms: 200 }));
        let [_, far_events] = rig.run(3_000);
        let mut heard = String::new();
        for event in &far_events {
            if let Event::Digit { digit, how, duration_ms, .. } = event {
                heard.push(digit.as_char());
                let tolerance = if events { 80..=80 } else { 62..=105 };
                assert!(tolerance.contains(duration_ms), "{duration_ms}");
                assert_eq!(*how == DigitPath::Rfc4733, events);
            }
        }
        assert_eq!(heard, "0123456789*#ABCD", "{codec:?} events {events}");
    }
}

/// A caller, a bridge of two legs on the far engine, and a callee.
#[test]
fn a_relayed_bridge_is_exact_to_the_bit_and_a_tapped_one_still_heard() {
    for tapped in [false, true] {
        let mut rig = Rig::new();
        let caller = socket();
        let callee = socket();
        callee.set_nonblocking(true).unwrap();
        let (a, b) = (socket(), socket());
        let to_bridge = a.local_addr().unwrap();
        let (mut near, mut far) = (media(CodecId::Pcmu, &caller, true), media(CodecId::Pcmu, &callee, true));
        // Payload types may differ on the two sides.
        near.events = Some(Events { payload_type: 96, clock_hz: 8_000 });
        far.jitter.start_ms = 20;
        near.jitter.start_ms = 20;
        let now = rig.now;
        rig.send(FAR, Command::attach(leg(1), RtpEndpoint::new(a, near, 1, now).unwrap()));
        rig.send(FAR, Command::attach(leg(2), RtpEndpoint::new(b, far, 2, now).unwrap()));
        for (from, to) in [(1, 2), (2, 1)] {
            rig.send(FAR, Command::Connect { from: leg(from), to: leg(to) });
        }
        let mut tap = None;
        if tapped {
            let (command, ring) = record(leg(1), RecordWhat::In);
            rig.send(FAR, command);
            tap = Some(ring);
        }
        rig.run(20);
        let mut got = Vec::new();
        let mut digits = 0;
        for n in 0..100u16 {
            let mut packet = vec![0x80, 0];
            // A digit in the middle, a lost packet, a marker.
            let event = (40..45).contains(&n);
            packet[1] = if event { 96 } else { 0 } | u8::from(n == 70) << 7;
            packet.extend((u16::MAX - 50).wrapping_add(n).to_be_bytes());
            let timestamp = if event { 40 } else { u32::from(n) } * 160;
            packet.extend((u32::MAX - 3_000).wrapping_add(timestamp).to_be_bytes());
            packet.extend(0xfeed_beefu32.to_be_bytes());
            if event {
                packet.extend([5, u8::from(n > 42) << 7 | 10]);
                packet.extend((160 * (n.min(42) - 39)).to_be_bytes());
            } else {
                packet.extend((0..160).map(|i| (n as u8).wrapping_mul(31).wrapping_add(i)));
            }
            if n != 20 {
                caller.send_to(&packet, to_bridge).unwrap();
            }
            let [_, events] = rig.run(20);
            digits += events.iter().filter(|event| matches!(event, Event::Digit { .. })).count();
            let mut datagram = [0; 2_000];
            while let Ok((bytes, _)) = callee.recv_from(&mut datagram) {
                got.push((packet.clone(), datagram[..bytes].to_vec(), n));
            }
        }
        assert_eq!(digits, 1);
        let stats = rig.detach(FAR, leg(1));
        assert_eq!((stats.packets_in, stats.lost), (99, 1));
        if let Some(mut ring) = tap {
            // The digit is taken off and made anew: five packets and two more ends.
            let events = got.iter().filter(|(_, datagram, _)| datagram[1] & 0x7f == 101);
            assert_eq!(events.count(), 5);
            assert!(drained(&mut ring).len() >= 90 * 160);
            continue;
        }
        assert_eq!(got.len(), 99);
        let first: Vec<u8> = got[0].1.clone();
        let sequence = |bytes: &[u8]| u16::from_be_bytes([bytes[2], bytes[3]]);
        let timestamp = |bytes: &[u8]| u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        for (sent, datagram, n) in &got {
            assert_eq!(datagram[12..], sent[12..], "payload of packet {n}");
            assert_eq!(sequence(datagram).wrapping_sub(sequence(&first)), *n);
            assert_eq!(
                timestamp(datagram).wrapping_sub(timestamp(&first)),
                timestamp(sent).wrapping_sub(timestamp(&got[0].0))
            );
            assert_eq!(datagram[8..12], first[8..12], "one source");
            assert_ne!(datagram[8..12], sent[8..12], "our source");
            let expected = if (40..45).contains(n) { 101 } else { 0 };
            assert_eq!(datagram[1] & 0x7f, expected);
            assert_eq!(datagram[1] >> 7 == 1, *n == 70 || *n == 0, "marker of {n}");
        }
    }
}

/// One speaks and another hears it packet by packet; a third who comes later hears it, too,
/// though nobody hears him.
#[test]
fn a_listener_joins_a_relayed_path() {
    let mut rig = Rig::new();
    let (speaker, now) = (socket(), rig.now);
    let hearers = [socket(), socket()];
    let at = socket();
    let to_box = at.local_addr().unwrap();
    let mut near = media(CodecId::Pcmu, &speaker, true);
    near.jitter.start_ms = 20;
    rig.send(FAR, Command::attach(leg(1), RtpEndpoint::new(at, near, 1, now).unwrap()));
    for (n, hearer) in (2..).zip(&hearers) {
        hearer.set_nonblocking(true).unwrap();
        let far = media(CodecId::Pcmu, hearer, true);
        rig.send(FAR, Command::attach(leg(n), RtpEndpoint::new(socket(), far, n.into(), now).unwrap()));
    }
    let mut loud = [[0; 2]; 2];
    for (stage, joins) in [2, 3].into_iter().enumerate() {
        rig.send(FAR, Command::Connect { from: leg(1), to: leg(joins) });
        for n in 0..50u16 {
            let n = n + 50 * stage as u16;
            let mut packet = vec![0x80, 0];
            packet.extend(n.to_be_bytes());
            packet.extend((u32::from(n) * 160).to_be_bytes());
            packet.extend(0xfeed_beefu32.to_be_bytes());
            packet.extend([0x10; 160]);
            speaker.send_to(&packet, to_box).unwrap();
            rig.run(20);
            for (hearer, loud) in hearers.iter().zip(&mut loud[stage]) {
                let mut datagram = [0; 2_000];
                while let Ok((bytes, _)) = hearer.recv_from(&mut datagram) {
                    *loud +=
                        usize::from(datagram[12..bytes].iter().filter(|byte| **byte == 0x10).count() > 80);
                }
            }
        }
    }
    let [[first, nobody], both] = loud;
    assert!(first >= 45 && nobody == 0, "{loud:?}");
    assert!(both.iter().all(|heard| *heard >= 40), "{loud:?}");
}

/// A digit pressed on one leg reaches a leg that speaks another codec, as an event or,
/// where none are negotiated, as sound.
#[test]
fn digits_cross_a_bridge_that_converts() {
    for events in [true, false] {
        let mut rig = Rig::new();
        let now = rig.now;
        let [a, a_far] = pair(CodecId::Pcmu, true, now);
        let [b, b_far] = pair(CodecId::G722, events, now);
        rig.send(FAR, Command::attach(leg(1), a_far));
        rig.send(FAR, Command::attach(leg(2), b_far));
        for (from, to) in [(1, 2), (2, 1)] {
            rig.send(FAR, Command::Connect { from: leg(from), to: leg(to) });
        }
        rig.send(NEAR, Command::attach(leg(1), a));
        rig.send(NEAR, Command::attach(leg(2), b));
        rig.send(NEAR, Command::Listen { leg: leg(2), inband: true });
        rig.send(
            NEAR,
            Command::SendDigits {
                leg: leg(1),
                play: PlayId(1),
                digits: Digits::parse("49#").unwrap(),
                on_ms: 100,
                gap_ms: 100,
            },
        );
        let [near_events, _] = rig.run(1_500);
        let heard: String = near_events
            .iter()
            .filter_map(|event| match event {
                Event::Digit { leg: on, digit, .. } => {
                    assert_eq!(*on, leg(2));
                    Some(digit.as_char())
                }
                _ => None,
            })
            .collect();
        assert_eq!(heard, "49#", "events {events}");
        assert_eq!(rig.engines[FAR].0.counters().relayed, 0);
    }
}

/// A bridge 1 - 2 on the far side, and what its parties send from.
fn bridge(rig: &mut Rig, near: RtpMedia, far: RtpMedia) -> [std::net::SocketAddr; 2] {
    let (a, b) = (socket(), socket());
    let addresses = [a.local_addr().unwrap(), b.local_addr().unwrap()];
    let now = rig.now;
    rig.send(FAR, Command::attach(leg(1), RtpEndpoint::new(a, near, 1, now).unwrap()));
    rig.send(FAR, Command::attach(leg(2), RtpEndpoint::new(b, far, 2, now).unwrap()));
    for (from, to) in [(1, 2), (2, 1)] {
        rig.send(FAR, Command::Connect { from: leg(from), to: leg(to) });
    }
    addresses
}

#[test]
fn a_bridge_between_codecs_passes_each_packet_on_as_it_comes() {
    for (from, to, correlation_min) in [
        (CodecId::Pcmu, CodecId::Pcma, 0.99),
        (CodecId::Pcmu, CodecId::G722, 0.99),
        (CodecId::G722, CodecId::Pcmu, 0.99),
        (CodecId::Pcmu, CodecId::Opus, 0.95),
        (CodecId::Opus, CodecId::Pcma, 0.95),
        (CodecId::G722, CodecId::Opus, 0.95),
    ] {
        let mut rig = Rig::new();
        let now = rig.now;
        let (caller, callee) = (socket(), socket());
        let (near, far) = (media(from, &caller, false), media(to, &callee, false));
        let addresses = bridge(&mut rig, near, far);
        let to_bridge = |codec, at: usize| {
            let mut media = media(codec, &caller, false);
            media.remote = Some(addresses[at]);
            media
        };
        let (speaks, hears) = (to_bridge(from, 0), to_bridge(to, 1));
        rig.send(NEAR, Command::attach(leg(2), RtpEndpoint::new(callee, hears, 4, now).unwrap()));
        let (command, mut ring) = record(leg(2), RecordWhat::In);
        rig.send(NEAR, command);
        rig.run(20);
        rig.send(NEAR, Command::attach(leg(1), RtpEndpoint::new(caller, speaks, 3, now).unwrap()));
        let rate = to.codec().rate;
        let prompt = Arc::new(Prompt::new(rate, voice(rate)));
        rig.send(NEAR, play(leg(1), 1, PlaySource::Prompt(Arc::clone(&prompt))));
        rig.send(NEAR, play(leg(1), 2, PlaySource::Silence { ms: 200 }));
        rig.run(2_300);
        assert_eq!(rig.engines[FAR].0.counters().converted, 110, "{from:?} to {to:?}");
        let stats = rig.detach(NEAR, leg(2));
        assert_eq!((stats.packets_in, stats.lost, stats.late), (110, 0, 0), "{from:?} to {to:?}");
        let (correlation, _) = compare(prompt.samples(), &drained(&mut ring));
        println!("{from:?} to {to:?}: {correlation:.4}");
        assert!(correlation >= correlation_min, "{from:?} to {to:?}: {correlation}");
    }
}

#[test]
fn a_converted_stream_hides_losses_keeps_pauses_and_leaves_out_what_comes_late() {
    let mut rig = Rig::new();
    let (caller, callee) = (socket(), socket());
    callee.set_nonblocking(true).unwrap();
    let (near, far) = (media(CodecId::Pcmu, &caller, false), media(CodecId::G722, &callee, false));
    let [to_bridge, _] = bridge(&mut rig, near, far);
    rig.run(20);
    let send = |n: u16, timestamp: u32, ticks: usize| {
        let mut packet = vec![0x80, 0];
        packet.extend(n.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(0xfeed_beefu32.to_be_bytes());
        packet.extend((0..ticks).map(|i| (n as u8).wrapping_mul(31).wrapping_add(i as u8)));
        caller.send_to(&packet, to_bridge).unwrap();
    };
    // Two lost, of which one comes after all, too late; then half a second of nothing;
    // then packets of 30 ms.
    for n in 0..20u16 {
        if n != 8 && n != 9 {
            send(n, u32::from(n) * 160, 160);
        }
        if n == 12 {
            send(9, 9 * 160, 160);
        }
        rig.run(20);
    }
    rig.run(500);
    for n in 20..30u16 {
        send(n, 45 * 160 + u32::from(n - 20) * 240, 240);
        rig.run(30);
    }
    let mut got = Vec::new();
    let mut datagram = [0; 2_000];
    while let Ok((bytes, _)) = callee.recv_from(&mut datagram) {
        assert_eq!(bytes, 172);
        let sequence = u16::from_be_bytes([datagram[2], datagram[3]]);
        let timestamp = u32::from_be_bytes([datagram[4], datagram[5], datagram[6], datagram[7]]);
        got.push((sequence, timestamp, datagram[1] >> 7 == 1));
    }
    assert_eq!(got.len(), 20 + 15);
    for (n, pair) in got.windows(2).enumerate() {
        assert_eq!(pair[1].0.wrapping_sub(pair[0].0), 1, "sequence after packet {n}");
        let pause = n == 19;
        let step = pair[1].1.wrapping_sub(pair[0].1);
        assert!(if pause { (4_000..4_320).contains(&step) } else { step == 160 }, "{step} after packet {n}");
        assert_eq!(pair[1].2, pause, "marker after packet {n}");
    }
    assert_eq!(rig.detach(FAR, leg(1)).late, 1);
}

/// A new negotiation changes the codec of a running leg, and hold silences it.
#[test]
fn an_update_changes_codec_and_direction() {
    let mut rig = Rig::new();
    let (a, b) = (socket(), socket());
    let both = |codec| (media(codec, &b, false), media(codec, &a, false));
    let (old_b, old_a) = both(CodecId::Pcmu);
    let (new_b, new_a) = both(CodecId::G722);
    let now = rig.now;
    rig.send(FAR, Command::attach(leg(2), RtpEndpoint::new(b, old_a, 2, now).unwrap()));
    rig.send(NEAR, Command::attach(leg(1), RtpEndpoint::new(a, old_b, 1, now).unwrap()));
    let (command, mut ring) = record(leg(2), RecordWhat::In);
    rig.send(FAR, command);
    let samples = voice(Rate::Wide);
    let prompt = Arc::new(Prompt::new(Rate::Wide, samples.clone()));
    for n in 0..4 {
        rig.send(NEAR, play(leg(1), n, PlaySource::Prompt(Arc::clone(&prompt))));
    }
    rig.run(2_000);
    let update = |media: RtpMedia| RtpUpdate::new(media).unwrap();
    rig.send(NEAR, Command::Update { leg: leg(1), update: update(new_b) });
    rig.send(FAR, Command::Update { leg: leg(2), update: update(new_a) });
    rig.run(2_500);
    let mut narrow = Vec::new();
    let mut wide = Vec::new();
    while let Ok(frame) = ring.pop() {
        match frame.rate() {
            Rate::Narrow => narrow.extend_from_slice(frame.samples()),
            Rate::Wide => wide.extend_from_slice(frame.samples()),
        }
    }
    assert!(narrow.len() > 90 * 160 && wide.len() > 90 * 320);
    // The first packet of the new codec came before the update did.
    let (correlation, _) = compare(&samples[4_000..], &wide);
    assert!(correlation > 0.99, "{correlation}");
    let mut held = new_b;
    held.direction = Direction::Inactive;
    rig.send(NEAR, Command::Update { leg: leg(1), update: update(held) });
    rig.run(20);
    let before = rig.detach(FAR, leg(2)).packets_in;
    assert!((220..=227).contains(&before), "{before}");
    rig.run(500);
    let sent = rig.detach(NEAR, leg(1)).packets_out;
    assert!(sent <= before + 1, "{sent} sent, {before} before the hold");
}

/// Other packet lengths than 20 ms go out as negotiated and are heard whole.
#[test]
fn packets_of_other_lengths() {
    for (ptime_ms, packets) in [(10u8, 200), (30, 67), (40, 50), (60, 34)] {
        let mut rig = Rig::new();
        let (a, b) = (socket(), socket());
        let (mut to_b, to_a) = (media(CodecId::Pcma, &b, false), media(CodecId::Pcma, &a, false));
        to_b.ptime_ms = ptime_ms;
        let now = rig.now;
        rig.send(FAR, Command::attach(leg(2), RtpEndpoint::new(b, to_a, 2, now).unwrap()));
        let (command, mut ring) = record(leg(2), RecordWhat::In);
        rig.send(FAR, command);
        rig.send(NEAR, Command::attach(leg(1), RtpEndpoint::new(a, to_b, 1, now).unwrap()));
        let samples = voice(Rate::Narrow);
        let prompt = Arc::new(Prompt::new(Rate::Narrow, samples.clone()));
        rig.send(NEAR, play(leg(1), 1, PlaySource::Prompt(prompt)));
        rig.run(2_300);
        let stats = rig.detach(FAR, leg(2));
        assert_eq!(stats.packets_in, packets, "{ptime_ms} ms");
        let (correlation, _) = compare(&samples, &drained(&mut ring));
        assert!(correlation > 0.99, "{ptime_ms} ms: {correlation}");
    }
}

#[test]
fn sec_e01_e02_strangers_are_counted_not_heard_and_never_answered() {
    let mut rig = Rig::new();
    let (peer, stranger) = (socket(), UdpSocket::bind("127.0.1.1:0").unwrap());
    let ours = socket();
    let address = ours.local_addr().unwrap();
    let endpoint = RtpEndpoint::new(ours, media(CodecId::Pcmu, &peer, false), 1, rig.now).unwrap();
    rig.send(NEAR, Command::attach(leg(1), endpoint));
    let (command, mut ring) = record(leg(1), RecordWhat::In);
    rig.send(NEAR, command);
    rig.send(NEAR, play(leg(1), 1, PlaySource::Silence { ms: 2_000 }));
    stranger.set_nonblocking(true).unwrap();
    for n in 0..100u16 {
        let mut packet = vec![0x80, 0];
        packet.extend(n.to_be_bytes());
        packet.extend((u32::from(n) * 160).to_be_bytes());
        packet.extend([0, 0, 0, 7]);
        packet.resize(172, 0x10);
        stranger.send_to(&packet, address).unwrap();
        if n >= 50 {
            packet[12..].fill(0xff);
            peer.send_to(&packet, address).unwrap();
        }
        rig.run(20);
    }
    let stats = rig.detach(NEAR, leg(1));
    assert_eq!((stats.rejected_source, stats.packets_in), (100, 50));
    assert!(drained(&mut ring).iter().all(|sample| *sample == 0));
    let mut datagram = [0; 2_000];
    assert!(stranger.recv_from(&mut datagram).is_err());
    assert!(peer.recv_from(&mut datagram).is_ok());
}

/// A far end may fall silent on hold, and after it has sent comfort noise, until it speaks again.
#[test]
fn hold_and_comfort_noise_allow_silence() {
    let mut now = Instant::now();
    let (peer, ours) = (socket(), socket());
    let address = ours.local_addr().unwrap();
    let terms = media(CodecId::Pcmu, &peer, false);
    let mut endpoint = RtpEndpoint::new(ours, terms, 1, now).unwrap();
    let mut hears = |endpoint: &mut RtpEndpoint, seq: u8, payload_type: u8| {
        let packet = [&[0x80, payload_type, 0, seq, 0, 0, seq, 0, 0, 0, 0, 7], &[0xff; 160][..]].concat();
        peer.send_to(&packet, address).unwrap();
        now += Duration::from_millis(20);
        endpoint.drain(now, 16);
        (endpoint.last_heard() == Some(now), endpoint.may_be_silent())
    };
    assert_eq!(hears(&mut endpoint, 1, 0), (true, false));
    assert_eq!(hears(&mut endpoint, 2, 13), (true, true));
    assert_eq!(hears(&mut endpoint, 3, 0), (true, false));
    for (direction, allowed) in [
        (Direction::ReceiveOnly, true),
        (Direction::SendOnly, true),
        (Direction::SendReceive, false),
        (Direction::Inactive, true),
    ] {
        let mut update = RtpUpdate::new(RtpMedia { direction, ..terms }).unwrap();
        endpoint.update(Instant::now(), &mut update);
        assert_eq!(endpoint.may_be_silent(), allowed, "{direction:?}");
    }
}

#[test]
fn the_thread_plays_hears_and_stops() {
    let start = || {
        let (engine, commands, events) = Engine::new(Limits::default());
        let options = ThreadOptions { priority: None, lock_memory: false };
        (MediaThread::spawn(engine, options).unwrap(), commands, events)
    };
    let wait = |events: &mut EventReceiver, wanted: &dyn Fn(&Event) -> bool| {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            events.clear();
            while let Some(event) = events.poll() {
                if wanted(&event) {
                    return event;
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the event did not come");
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: 0 };
            let descriptor = events.descriptor().unwrap();
            poll(&mut [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)], Some(&timeout)).unwrap();
        }
    };
    let (near_thread, mut near, mut near_events) = start();
    let (far_thread, mut far, mut far_events) = start();
    let [a, b] = pair(CodecId::Pcmu, true, Instant::now());
    far.send(Command::attach(leg(2), b)).unwrap();
    near.send(Command::attach(leg(1), a)).unwrap();
    for n in 1..=2 {
        near.send(Command::SendDigits {
            leg: leg(1),
            play: PlayId(n),
            digits: Digits::parse("7").unwrap(),
            on_ms: 100,
            gap_ms: 100,
        })
        .unwrap();
    }
    wait(&mut near_events, &|event| matches!(event, Event::Played { play: PlayId(2), completed: true, .. }));
    wait(&mut far_events, &|event| matches!(event, Event::Digit { .. }));
    assert_eq!(near_thread.counters().legs, 1);
    assert!(near_thread.counters().slots >= 80);
    // A leg that is gone leaves the thread asleep; the next one wakes it.
    near.send(Command::Detach { leg: leg(1) }).unwrap();
    wait(&mut near_events, &|event| matches!(event, Event::Detached { .. }));
    let [a, _] = pair(CodecId::Pcmu, true, Instant::now());
    near.send(Command::attach(leg(3), a)).unwrap();
    near.send(play(leg(3), 1, PlaySource::Silence { ms: 40 })).unwrap();
    wait(&mut near_events, &|event| matches!(event, Event::Played { .. }));
    let engine = near_thread.stop().unwrap();
    assert_eq!(engine.counters().legs, 1);
    drop(engine);
    assert!(near_events.is_over());
    assert!(far_thread.stop().is_some());
}
