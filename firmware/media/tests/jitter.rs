//! The receiving half against networks of every temper, in virtual time.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![expect(clippy::disallowed_methods, reason = "an event receiver needs an instant")]

use std::time::{Duration, Instant};

use tipring_media::{
    Frame, Received,
    codec::{CodecId, PAYLOAD_MAX, pcmu},
    rtp::{
        jitter::{Inserted, JitterBuffer, JitterLimits, Taken},
        packet::Packet,
        playout::Playout,
        session::Receiver,
        telephone_event::{EventPayload, EventReceiver},
    },
};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// How a network treats one packet.
#[derive(Clone, Copy)]
struct Network {
    name: &'static str,
    /// Milliseconds a packet.
    ptime_ms: u32,
    /// Extra delay, evenly spread from 0.
    jitter_ms: u64,
    /// Every so many packets one is lost.
    loss_every: u64,
    /// Every so many packets one comes twice.
    twice_every: u64,
    /// The far clock is fast by so many parts in a million.
    drift_ppm: i64,
    /// Every so many packets the network stalls for 150 ms.
    stall_every: u64,
}

const CALM: Network = Network {
    name: "calm",
    ptime_ms: 20,
    jitter_ms: 0,
    loss_every: 0,
    twice_every: 0,
    drift_ppm: 0,
    stall_every: 0,
};

struct Outcome {
    heard: u32,
    concealed: u32,
    silent: u32,
    late: u32,
    delay_ms: u32,
}

/// Sends `seconds` of a 400 Hz tone through the network and listens.
fn listen(codec: CodecId, network: Network, seconds: u32) -> Outcome {
    let row = codec.codec();
    let ticks_per_ms = row.ticks_per_ms();
    let mut random = Random(7);
    let mut encoder = (row.encoder)().unwrap();
    // (arrival in µs, timestamp, payload)
    let mut arrivals: Vec<(u64, u32, Vec<u8>)> = Vec::new();
    let per_ms = row.rate.samples_per_ms();
    let mut tone = (0usize..).map(|i| {
        let turn = i as f64 * 400.0 / f64::from(row.rate.hz()) * core::f64::consts::TAU;
        (8_000.0 * turn.sin()) as i16
    });
    let mut stalled_until = 0;
    let mut bytes = Vec::new();
    let mut sent = 0u32;
    for n in 0..seconds * 50 {
        let frame: Vec<i16> = tone.by_ref().take(20 * per_ms).collect();
        let mut payload = [0; PAYLOAD_MAX];
        let written = encoder.encode(&frame, &mut payload);
        bytes.extend_from_slice(&payload[..written]);
        let packet = if row.byte_a_tick { network.ptime_ms as usize * 8 } else { bytes.len() };
        while bytes.len() >= packet && packet > 0 {
            let payload: Vec<u8> = bytes.drain(..packet).collect();
            let due_ms = u64::from(sent * network.ptime_ms);
            let drift = due_ms as i64 * network.drift_ppm / 1_000;
            let mut at = (due_ms * 1_000) as i64 - drift;
            at += (random.below(network.jitter_ms * 1_000 + 1)) as i64;
            let count = u64::from(n) + 1;
            let each = |every: u64| every > 0 && count.is_multiple_of(every);
            if each(network.stall_every) {
                stalled_until = at as u64 + 150_000;
            }
            let at = (at as u64).max(stalled_until);
            let timestamp = (u32::MAX - 5_000).wrapping_add(sent * network.ptime_ms * ticks_per_ms);
            if !each(network.loss_every) {
                arrivals.push((at, timestamp, payload.clone()));
            }
            if each(network.twice_every) {
                arrivals.push((at + 3_000, timestamp, payload));
            }
            sent += 1;
        }
    }
    arrivals.sort_by_key(|(at, _, _)| *at);
    let mut playout = Playout::new(codec, JitterLimits::default()).unwrap();
    let mut frame = Frame::silence(row.rate);
    let mut outcome = Outcome { heard: 0, concealed: 0, silent: 0, late: 0, delay_ms: 0 };
    let mut arrivals = arrivals.into_iter().peekable();
    for n in 0..seconds * 50 {
        let now_us = u64::from(n) * 20_000 + 7_000;
        while let Some((at, timestamp, payload)) = arrivals.next_if(|(at, _, _)| *at <= now_us) {
            let ticks = (at * u64::from(ticks_per_ms) / 1_000) as u32;
            match playout.jitter().insert(ticks, timestamp, &payload) {
                Inserted::Stored => {}
                Inserted::Late => outcome.late += 1,
                Inserted::Refused => panic!("a good packet was refused"),
            }
        }
        let ticks = (now_us * u64::from(ticks_per_ms) / 1_000) as u32;
        match playout.play(ticks, &mut frame) {
            Received::Audio => outcome.heard += 1,
            Received::Concealed => outcome.concealed += 1,
            Received::Silence => outcome.silent += 1,
        }
        assert!(playout.delay_ms() <= 200);
    }
    outcome.delay_ms = playout.delay_ms();
    outcome
}

#[test]
fn networks_of_every_temper() {
    let networks = [
        (CALM, 0, 0..=30),
        (Network { name: "10 ms packets", ptime_ms: 10, ..CALM }, 0, 0..=30),
        (Network { name: "30 ms packets", ptime_ms: 30, ..CALM }, 0, 0..=40),
        (Network { name: "40 ms packets", ptime_ms: 40, ..CALM }, 0, 0..=60),
        (Network { name: "60 ms packets", ptime_ms: 60, ..CALM }, 0, 0..=80),
        (Network { name: "30 ms of jitter", jitter_ms: 30, ..CALM }, 2, 20..=60),
        (Network { name: "80 ms of jitter", jitter_ms: 80, ..CALM }, 15, 60..=120),
        (Network { name: "2 % loss", loss_every: 50, ..CALM }, 61, 0..=30),
        (Network { name: "every tenth twice", twice_every: 10, ..CALM }, 0, 0..=30),
        (Network { name: "fast clock", drift_ppm: 300, ..CALM }, 2, 0..=60),
        (Network { name: "slow clock", drift_ppm: -300, ..CALM }, 4, 0..=60),
        (Network { name: "stalls of 150 ms", stall_every: 500, ..CALM }, 60, 20..=200),
    ];
    for codec in [CodecId::Pcmu, CodecId::G722, CodecId::Opus] {
        for (network, concealed_max, delay_ms) in networks.clone() {
            if !codec.codec().byte_a_tick && network.ptime_ms != 20 {
                continue;
            }
            let got = listen(codec, network, 60);
            println!(
                "{codec:?} {}: heard {} concealed {} silent {} late {} delay {} ms",
                network.name, got.heard, got.concealed, got.silent, got.late, got.delay_ms
            );
            assert!(got.concealed <= concealed_max, "{}", network.name);
            assert!(got.silent <= 30, "{}: silent {}", network.name, got.silent);
            assert!(delay_ms.contains(&got.delay_ms), "{}", network.name);
        }
    }
}

#[test]
fn order_overlap_and_jumps_on_the_timeline() {
    let mut buffer = JitterBuffer::new(CodecId::Pcmu.codec(), JitterLimits::default());
    let mut out = [0; 512];
    let packet = |value: u8| vec![value; 160];
    assert_eq!(buffer.take(0, &mut out), Taken::Idle);
    for (timestamp, value) in [(320u32, 3), (0, 1), (160, 2), (160, 9)] {
        assert_eq!(buffer.insert(0, timestamp, &packet(value)), Inserted::Stored);
    }
    assert_eq!(buffer.take(160, &mut out), Taken::Idle);
    let mut played = Vec::new();
    for n in 3..6 {
        assert_eq!(buffer.take(n * 160, &mut out), Taken::Payload(160));
        played.push(out[0]);
    }
    assert_eq!(played, [1, 9, 3]);
    assert_eq!(buffer.insert(960, 0, &packet(1)), Inserted::Late);
    // Far ahead: a new timeline, not five minutes of waiting.
    assert_eq!(buffer.insert(960, 2_400_000, &packet(5)), Inserted::Stored);
    assert_eq!(buffer.take(960, &mut out), Taken::Idle);
    let found = (1..20).any(|n| buffer.take(960 + n * 160, &mut out) == Taken::Payload(160));
    assert!(found && out[0] == 5);
    assert_eq!(buffer.insert(0, 0, &[]), Inserted::Refused);
    assert_eq!(buffer.insert(0, 0, &[0; 1_400]), Inserted::Refused);
}

#[test]
fn twenty_thousand_mutated_packets_do_no_harm() {
    let now = Instant::now();
    let mut random = Random(0xfeed);
    let mut playouts: Vec<Playout> = [CodecId::Pcmu, CodecId::Pcma, CodecId::G722, CodecId::Opus]
        .into_iter()
        .map(|codec| Playout::new(codec, JitterLimits::default()).unwrap())
        .collect();
    let mut receiver = Receiver::default();
    let mut events = EventReceiver::new(8);
    let mut payload = [0; PAYLOAD_MAX];
    let written = (CodecId::Opus.codec().encoder)().unwrap().encode(&[500; 320], &mut payload);
    let (mut parsed, mut refused) = (0, 0);
    for n in 0..20_000u32 {
        let mut datagram = vec![0x80, 96];
        datagram.extend((n as u16).to_be_bytes());
        datagram.extend((n * 160).to_be_bytes());
        datagram.extend([1, 2, 3, 4]);
        match random.below(3) {
            0 => datagram.extend((0..160).map(|i| pcmu::from_linear(i * 100))),
            1 => datagram.extend_from_slice(&payload[..written]),
            _ => datagram.extend([random.next() as u8, random.next() as u8, 0, 160]),
        }
        for _ in 0..random.below(6) {
            let at = random.below(datagram.len() as u64) as usize;
            datagram[at] = random.next() as u8;
        }
        match random.below(8) {
            0 => datagram.truncate(random.below(datagram.len() as u64 + 1) as usize),
            1 => datagram.resize(random.below(1_600) as usize, random.next() as u8),
            _ => {}
        }
        let ticks = n * 160;
        match Packet::parse(&datagram) {
            Ok(packet) => {
                parsed += 1;
                assert!(packet.payload.len() <= datagram.len() - 12);
                receiver.arrived(&packet.header, ticks);
                if let Some(event) = EventPayload::parse(packet.payload) {
                    events.packet(now, packet.header.timestamp, event, |_| {});
                }
                for playout in &mut playouts {
                    playout.jitter().insert(ticks, packet.header.timestamp, packet.payload);
                }
            }
            Err(_) => refused += 1,
        }
        events.expire(now + Duration::from_millis(u64::from(n)), |_| {});
        for playout in &mut playouts {
            let mut frame = Frame::silence(playout.codec().codec().rate);
            playout.play(ticks, &mut frame);
        }
    }
    assert!(parsed > 5_000 && refused > 500, "{parsed} and {refused}");
}
