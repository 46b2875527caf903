//! Prints what an INVITE costs to parse and what a call costs to set up and end.
//!
//! Run with `cargo run --release -p tipring-sip --example parse_bench`.
#![allow(clippy::print_stdout, reason = "printing is what this example is for")]
#![allow(clippy::disallowed_methods, reason = "measuring needs the clock")]
#![allow(clippy::unwrap_used, reason = "a failure here is the result")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tipring_sip::message::Message;
use tipring_sip::ua::{Event, Input, Output, Peer, Settings, UserAgent};
use tipring_sip::{Hop, Transport};

const SDP: &str = "v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n\
m=audio 54609 RTP/AVP 0 8 9 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:9 G722/8000\r\n\
a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";

fn invite(n: u64) -> String {
    format!(
        "INVITE sip:+15551234567@192.0.2.1:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKnashds{n};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@example.com>;tag=1928301774{n}\r\n\
         To: <sip:+15551234567@example.com>\r\nCall-ID: a84b4c76e66710{n}@pc33.example.com\r\n\
         CSeq: 314159 INVITE\r\nContact: <sip:alice@192.0.2.2:5060>\r\n\
         Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO\r\n\
         Supported: replaces, timer\r\nUser-Agent: Example PBX 1.0\r\n\
         P-Asserted-Identity: <sip:alice@example.com>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
}

fn parse_ns() -> f64 {
    let text = invite(1);
    let rounds = 400_000u32;
    let start = Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(Message::from_datagram(std::hint::black_box(text.as_bytes())).is_ok());
    }
    start.elapsed().as_nanos() as f64 / f64::from(rounds)
}

/// INVITE, 100, 200, ACK, BYE, 200 at the callee; the peer's messages are made outside the clock.
fn call_us() -> f64 {
    let mut now = Instant::now();
    let mut ua = UserAgent::new(now, Settings { transactions_max: 20_000, ..Settings::default() }, [7; 32]);
    let hop = Hop {
        transport: Transport::Udp,
        socket: 0,
        local: SocketAddr::from(([192, 0, 2, 1], 5060)),
        remote: SocketAddr::from(([192, 0, 2, 2], 5060)),
    };
    let peer = Peer::Trusted(1);
    let rounds = 20_000u64;
    let mut spent = Duration::ZERO;
    for n in 0..rounds {
        now += Duration::from_millis(20);
        let invite = invite(n);
        let start = Instant::now();
        ua.handle(now, Input::Received { peer, hop, bytes: invite.as_bytes() });
        let mut call = None;
        while let Some(output) = ua.poll() {
            if let Output::Event(Event::Incoming(incoming)) = output {
                call = Some(incoming.call);
            }
        }
        ua.accept(now, call.unwrap(), SDP.as_bytes()).unwrap();
        let mut ok = None;
        while let Some(output) = ua.poll() {
            if let Output::Send { bytes, .. } = output {
                ok = Some(bytes);
            }
        }
        spent += start.elapsed();
        let ok = Message::from_datagram(&ok.unwrap()).unwrap();
        let tag = String::from_utf8_lossy(ok.to_tag()).into_owned();
        let inside = |method: &str, seq: u32| {
            format!(
                "{method} sip:+15551234567@192.0.2.1:5060 SIP/2.0\r\n\
                 Via: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{method}{n};rport\r\nMax-Forwards: 70\r\n\
                 From: \"Alice\" <sip:alice@example.com>;tag=1928301774{n}\r\n\
                 To: <sip:+15551234567@example.com>;tag={tag}\r\n\
                 Call-ID: a84b4c76e66710{n}@pc33.example.com\r\nCSeq: {seq} {method}\r\nContent-Length: 0\r\n\r\n"
            )
        };
        let (ack, bye) = (inside("ACK", 314_159), inside("BYE", 314_160));
        let start = Instant::now();
        for bytes in [&ack, &bye] {
            ua.handle(now, Input::Received { peer, hop, bytes: bytes.as_bytes() });
            while ua.poll().is_some() {}
        }
        if ua.poll_timeout().is_some_and(|t| t <= now) {
            ua.handle(now, Input::Timeout);
            while ua.poll().is_some() {}
        }
        spent += start.elapsed();
    }
    assert_eq!(ua.calls(), 0);
    spent.as_secs_f64() * 1e6 / rounds as f64
}

fn main() {
    println!("INVITE of {} bytes: {:.0} ns to parse", invite(1).len(), parse_ns());
    println!("call set up and ended by the peer: {:.2} us", call_us());
}
