//! Any bytes on the control port of a line card, at any point of a session: the link goes on,
//! and what it says stays within what its card can do.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tipring_lines::port::TxSignal;
use tipring_lines::port::linecard::{Input, Kind, Line, Link, Output, PORTS_MAX, PortSettings};

/// The answer of a good card to a request, so that most inputs reach a session.
fn answer(request: &str) -> Option<String> {
    let (number, words) = request.strip_prefix('>')?.split_once('*')?.0.split_once(' ')?;
    let reply = match words.split_once(' ').map_or((words, ""), |(verb, rest)| (verb, rest)) {
        ("HELLO", rest) => {
            format!("OK {rest} model=m fw=1 serial=1 rate=8000 ports=LP")
        }
        ("PORT", "1") => String::from("OK kind=line caps=reversal,break,audio,battery,meter"),
        ("PORT", _) => String::from("OK kind=phone caps=reversal,break,audio,meter,lamp"),
        ("PING" | "STAT", _) => String::from("OK at=1 hook=off ring=on"),
        _ => String::from("OK"),
    };
    let line = Line::new(Kind::Reply, number.parse().ok()?, &reply)?;
    Some(String::from_utf8_lossy(line.bytes()).into_owned())
}

fuzz_target!(|bytes: &[u8]| {
    let mut now = Instant::now();
    let mut link = Link::new(vec![PortSettings::default()], 41);
    link.handle(now, Input::Opened);
    let mut ports = 0;
    // A byte that says whether the card answers, and how much comes at a time.
    for chunk in bytes.chunks(64) {
        let (how, rest) = chunk.split_first().unwrap_or((&0, &[]));
        let mut answers = String::new();
        let mut said = 0;
        while let Some(output) = link.poll() {
            said += 1;
            assert!(said < 10_000, "it does not stop talking");
            match output {
                Output::Write(line) if how & 1 == 0 => {
                    answers.extend(answer(&String::from_utf8_lossy(line.bytes())));
                }
                Output::Up(info) => {
                    ports = info.ports.len();
                    assert!((1..=PORTS_MAX).contains(&ports));
                }
                Output::Signal { port, .. } => assert!(port < ports, "a signal of no port"),
                Output::Write(_)
                | Output::Down(_)
                | Output::Refused { .. }
                | Output::Reading { .. }
                | Output::AudioBegan(_)
                | Output::AudioEnded
                | Output::Lost { .. }
                | Output::Hot(_)
                | Output::Clock(_) => {}
            }
        }
        link.handle(now, Input::Bytes(answers.as_bytes()));
        match how >> 1 & 7 {
            0 => link.handle(now, Input::Begin),
            1 => link.handle(now, Input::Signal(usize::from(how >> 4), TxSignal::OffHook)),
            2 => link.handle(now, Input::Signal(usize::from(how >> 4), TxSignal::RingOff)),
            3 => link.handle(now, Input::Restart),
            _ => {}
        }
        // Half of what comes is given a right check, so that it is read at all.
        if how & 128 == 0 {
            link.handle(now, Input::Bytes(rest));
        } else if let Some(line) = checked(rest) {
            link.handle(now, Input::Bytes(line.bytes()));
        }
        now += Duration::from_millis(u64::from(*how) * 3);
        if link.poll_timeout().is_some_and(|at| at <= now) {
            link.handle(now, Input::Timeout);
        }
    }
});

fn checked(bytes: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end();
    let (head, words) = text.split_once(' ').unwrap_or((text, ""));
    let mark = head.chars().next()?;
    let kind = match mark {
        '>' => Kind::Request,
        '<' => Kind::Reply,
        '!' => Kind::Event,
        _ => Kind::Acknowledgement,
    };
    Line::new(kind, head.get(mark.len_utf8()..)?.parse().ok()?, words)
}
