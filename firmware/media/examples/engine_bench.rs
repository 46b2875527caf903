//! What a call-second costs.
//!
//! `cargo run --release --example engine_bench` measures, on real sockets over the
//! loopback and the real thread: a bare loop of `send`, simultaneous plays of a
//! prompt, relayed calls, and memory a leg. Give a number of seconds to measure for
//! longer. The sink of the packets is a socket nobody reads, so the receiving side
//! costs what the kernel takes to drop a packet.
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::print_stdout, reason = "it reports")]

use std::{
    error::Error,
    net::UdpSocket,
    sync::Arc,
    time::{Duration, Instant},
};

use tipring_media::{
    Command, CommandSender, Engine, Event, EventReceiver, Limits, MediaThread, PlaySource, Prompt,
    ThreadOptions,
    codec::CodecId,
    rtp::{RtpEndpoint, RtpMedia},
};
use tipring_model::{LegId, LineId, PlayId};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// User and system time of all threads of this process but the calling one, from
/// /proc, in milliseconds: the fourteenth and fifteenth field of `stat`.
fn thread_cpu_ms(name: &str) -> Outcome<f64> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if std::fs::read_to_string(path.join("comm"))?.trim() == name {
            let text = std::fs::read_to_string(path.join("schedstat"))?;
            let nanos: f64 = text.split(' ').next().unwrap_or("0").parse()?;
            return Ok(nanos / 1e6);
        }
    }
    Ok(0.0)
}

fn resident_kb() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with("RssAnon:"));
    let kb = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kb.unwrap_or("0").parse()?)
}

struct Rig {
    commands: CommandSender,
    events: EventReceiver,
    thread: MediaThread,
}

fn start(legs_max: usize) -> Outcome<Rig> {
    let (engine, commands, events) = Engine::new(Limits { legs_max, ..Limits::default() });
    let thread = MediaThread::spawn(engine, ThreadOptions::default())?;
    Ok(Rig { commands, events, thread })
}

fn leg(seq: u32) -> LegId {
    LegId::offered(LineId(0), seq)
}

fn bare_loop(packets: u32) -> Outcome<()> {
    let sink = UdpSocket::bind("127.0.0.1:0")?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let to = sink.local_addr()?;
    let payload = [0x55; 172];
    let before = thread_cpu_ms("engine_bench")?;
    for _ in 0..packets {
        socket.send_to(&payload, to)?;
    }
    let cpu = thread_cpu_ms("engine_bench")? - before;
    println!(
        "bare send_to: {:.2} µs a packet, {:.3} ms CPU a call-second",
        cpu * 1e3 / f64::from(packets),
        cpu * 50.0 / f64::from(packets)
    );
    Ok(())
}

fn plays(codec: CodecId, prepared: bool, legs: u32, seconds: u64) -> Outcome<()> {
    let sink = UdpSocket::bind("127.0.0.1:0")?;
    let to = sink.local_addr()?;
    let rate = codec.codec().rate;
    let length = rate.hz() as usize * 10;
    let samples = (0..length).map(|i| (i as i16).wrapping_mul(97) / 8).collect();
    let prompt = Arc::new(Prompt::new(rate, samples));
    if prepared {
        prompt.prepare(codec)?;
    }
    let mut rig = start(legs as usize)?;
    let empty = resident_kb()?;
    for n in 0..legs {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let payload_type = codec.codec().payload_type.unwrap_or(96);
        let media = RtpMedia::new(codec, payload_type, to);
        let endpoint = RtpEndpoint::new(socket, media, u128::from(n), Instant::now())?;
        rig.commands.send(Command::attach(leg(n), endpoint))?;
        rig.commands.send(Command::Play {
            leg: leg(n),
            play: PlayId(1),
            source: PlaySource::Prompt(Arc::clone(&prompt)),
            loops: 0,
        })?;
        // Calls do not all begin in one slot.
        std::thread::sleep(Duration::from_micros(1_700));
    }
    std::thread::sleep(Duration::from_secs(1));
    let counters = rig.thread.counters();
    let before = thread_cpu_ms("media")?;
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    let cpu = thread_cpu_ms("media")? - before;
    let span = began.elapsed().as_secs_f64();
    let after = rig.thread.counters();
    let memory = (resident_kb()? - empty) / f64::from(legs);
    let mut sent = 0;
    for n in 0..legs {
        rig.commands.send(Command::Detach { leg: leg(n) })?;
    }
    let mut gone = 0;
    while gone < legs {
        while let Some(event) = rig.events.poll() {
            if let Event::Detached { stats, .. } = event {
                gone += 1;
                sent += stats.packets_out;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    println!(
        "{legs:4} plays of {codec:?} (prepared {prepared}): {:.3} ms CPU a call-second, {:.2} µs a packet, \
         {memory:.1} kB a leg, {sent} packets; late slots {}, left out {}, worst {} µs; real time {:?}",
        cpu / span / f64::from(legs),
        cpu * 1e3 / (span * f64::from(legs) * 50.0),
        after.late - counters.late,
        after.left_out,
        after.worst_late_us,
        rig.thread.realtime(),
    );
    Ok(())
}

/// Calls of two legs, packets from a sender on another thread.
fn relays(calls: u32, seconds: u64) -> Outcome<()> {
    let mut rig = start(2 * calls as usize)?;
    let mut peers = Vec::new();
    for n in 0..2 * calls {
        let peer = UdpSocket::bind("127.0.0.1:0")?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let ours = socket.local_addr()?;
        let media = RtpMedia::new(CodecId::Pcmu, 0, peer.local_addr()?);
        let endpoint = RtpEndpoint::new(socket, media, u128::from(n), Instant::now())?;
        rig.commands.send(Command::attach(leg(n), endpoint))?;
        peers.push((peer, ours));
        if n % 2 == 1 {
            for (from, to) in [(n - 1, n), (n, n - 1)] {
                rig.commands.send(Command::Connect { from: leg(from), to: leg(to) })?;
            }
        }
    }
    let sender = std::thread::spawn(move || -> std::io::Result<()> {
        let mut due = Instant::now();
        let step = Duration::from_millis(20) / peers.len() as u32;
        for round in 0..(seconds as u32 + 2) * 50 {
            for (peer, to) in &peers {
                let mut packet = [0x80; 172];
                packet[1] = 0;
                packet[2..4].copy_from_slice(&(round as u16).to_be_bytes());
                packet[4..8].copy_from_slice(&(round * 160).to_be_bytes());
                peer.send_to(&packet, to)?;
                due += step;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
        Ok(())
    });
    std::thread::sleep(Duration::from_secs(1));
    let (before, relayed) = (thread_cpu_ms("media")?, rig.thread.counters().relayed);
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    let cpu = thread_cpu_ms("media")? - before;
    let span = began.elapsed().as_secs_f64();
    let relayed = rig.thread.counters().relayed - relayed;
    println!(
        "{calls:4} relayed calls: {:.3} ms CPU a call-second, {relayed} packets relayed, {:.2} µs each; late slots {}",
        cpu / span / f64::from(calls),
        cpu * 1e3 / relayed.max(1) as f64,
        rig.thread.counters().late,
    );
    sender.join().map_err(|_| "the sender panicked")??;
    Ok(())
}

fn idle(seconds: u64) -> Outcome<()> {
    let rig = start(64)?;
    std::thread::sleep(Duration::from_millis(100));
    let before = thread_cpu_ms("media")?;
    std::thread::sleep(Duration::from_secs(seconds));
    println!("idle: {:.3} ms CPU a second", (thread_cpu_ms("media")? - before) / seconds as f64);
    drop(rig.thread.stop());
    Ok(())
}

fn main() -> Outcome<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    bare_loop(200_000)?;
    idle(seconds.min(3))?;
    plays(CodecId::Pcmu, true, 32, seconds)?;
    plays(CodecId::Pcmu, true, 200, seconds)?;
    plays(CodecId::Pcmu, true, 600, seconds)?;
    plays(CodecId::Pcmu, false, 200, seconds)?;
    plays(CodecId::G722, true, 100, seconds)?;
    plays(CodecId::G722, false, 50, seconds)?;
    plays(CodecId::Opus, true, 100, seconds)?;
    plays(CodecId::Opus, false, 20, seconds)?;
    relays(16, seconds)?;
    relays(100, seconds)?;
    bare_loop(200_000)
}
