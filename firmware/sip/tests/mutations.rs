//! Broken messages by the thousand, from a seed: nothing panics, nothing grows, and a good call
//! still works after each batch.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::{Pair, SDP, hop, origin};
use tipring_sip::message::{Frame, Message, StreamFramer};
use tipring_sip::sdp::Session;
use tipring_sip::ua::{Event, Input, Output, Peer, PhoneAccount, PhoneSettings, Settings, UserAgent};
use tipring_sip::{NameAddr, Uri};

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

fn good(n: usize) -> Vec<String> {
    let head = |method: &str| {
        format!(
            "{method} sip:200@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{n};rport\r\n\
             Max-Forwards: 70\r\nFrom: \"A \\\"x\\\" B\" <sip:100@192.0.2.2>;tag=f{n}\r\nTo: <sip:200@192.0.2.1>\r\n\
             Call-ID: m{n}@h\r\nCSeq: 1 {method}\r\nContact: <sip:100@192.0.2.2;transport=udp>;q=0.5\r\n"
        )
    };
    let sdp = String::from_utf8(SDP.to_vec()).unwrap();
    vec![
        format!(
            "{}Record-Route: <sip:p1;lr>, <sip:[2001:db8::1]:5070;lr>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            head("INVITE"),
            sdp.len()
        ),
        format!(
            "{}Content-Type: multipart/mixed;boundary=\"b\"\r\n\r\n--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b--\r\n",
            head("INVITE")
        ),
        format!("{}Accept: application/sdp\r\n\r\n", head("OPTIONS")),
        format!(
            "{}Expires: 60\r\nAuthorization: Digest username=\"a\",realm=\"tipring\",nonce=\"00000000000000010000000000000000\",uri=\"sip:h\",response=\"x\",qop=auth,nc=00000001,cnonce=\"y\"\r\n\r\n",
            head("REGISTER")
        ),
        format!("{}\r\n", head("CANCEL")),
        format!("{}\r\n", head("BYE")),
        format!("{}\r\n", head("ACK")),
        format!("{}\r\n", head("INVITE")).replace("INVITE sip:200@192.0.2.1 SIP/2.0", "SIP/2.0 200 OK"),
    ]
}

fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    const BITS: [&[u8]; 16] = [
        b"\r\n",
        b"\r",
        b"\n",
        b" ",
        b":",
        b";",
        b",",
        b"\"",
        b"<",
        b">",
        b"%",
        b"\0",
        b"\xff\xfe",
        b"z9hG4bK",
        b"99999999999999999999",
        b"\r\n\r\n",
    ];
    for _ in 0..=dice.below(6) {
        if bytes.is_empty() {
            return;
        }
        let at = dice.below(bytes.len());
        match dice.below(7) {
            0 => bytes[at] = dice.next() as u8,
            1 => bytes[at] ^= 1 << dice.below(8),
            2 => bytes.truncate(at),
            3 => {
                let end = (at + dice.below(40)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let end = (at + dice.below(200)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = dice.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            5 => {
                let bit = BITS[dice.below(BITS.len())];
                bytes.splice(at..at, bit.iter().copied());
            }
            _ => {
                let filler = vec![bytes[at]; dice.below(3000)];
                bytes.splice(at..at, filler);
            }
        }
    }
}

fn settings() -> Settings {
    Settings {
        phones: Some(PhoneSettings {
            realm: "tipring".into(),
            accounts: vec![PhoneAccount {
                username: "a".into(),
                secret: tipring_sip::auth::Secret::Password("p".into()),
                md5: true,
            }],
            expiry: Default::default(),
        }),
        transactions_max: 512,
        calls_max: 32,
        ..Settings::default()
    }
}

#[test]
fn twenty_thousand_mutated_messages() {
    let mut dice = Dice(0x5eed_1234_5678_9abd);
    let mut now = origin();
    let mut ua = UserAgent::new(now, settings(), [1; 32]);
    for n in 0..20_000usize {
        let originals = good(n);
        let mut bytes = originals[dice.below(originals.len())].clone().into_bytes();
        mutate(&mut dice, &mut bytes);
        let peer = if n % 5 == 0 { Peer::Phone } else { Peer::Trusted(1) };
        ua.handle(now, Input::Received { peer, hop: hop(1, 2), bytes: &bytes });
        let mut calls = Vec::new();
        let mut sent = 0;
        while let Some(output) = ua.poll() {
            match output {
                Output::Event(Event::Incoming(incoming)) => {
                    // Reading the facts must not panic either.
                    let _ = (incoming.request.from_address(), incoming.request.to_address());
                    let _ = incoming.request.sdp().map(Session::parse);
                    calls.push(incoming.call);
                }
                Output::Event(_) => {}
                Output::Send { .. } => sent += 1,
            }
        }
        assert!(sent <= 2, "message {n} was answered {sent} times");
        for call in calls {
            if n % 2 == 0 {
                ua.accept(now, call, SDP).unwrap();
            } else {
                ua.reject(now, call, 486, "", &[]).unwrap();
            }
        }
        now += std::time::Duration::from_millis(dice.next() % 40);
        if ua.poll_timeout().is_some_and(|t| t <= now) {
            ua.handle(now, Input::Timeout);
        }
        while ua.poll().is_some() {}
        assert!(ua.calls() <= 32 && ua.transactions() <= 512);
        if n % 500 == 499 {
            // Liveness: after a pause a good request is answered as ever.
            now += std::time::Duration::from_secs(200);
            ua.handle(now, Input::Timeout);
            while ua.poll().is_some() {}
            now += std::time::Duration::from_secs(200);
            ua.handle(now, Input::Timeout);
            while ua.poll().is_some() {}
            assert_eq!((ua.calls(), ua.transactions(), ua.timers()), (0, 0, 0), "after {n}");
            let options = &good(1_000_000 + n)[2];
            let peer = Peer::Trusted(1);
            ua.handle(now, Input::Received { peer, hop: hop(1, 2), bytes: options.as_bytes() });
            let Some(Output::Send { bytes, .. }) = ua.poll() else { panic!("alive after {n}") };
            assert!(bytes.starts_with(b"SIP/2.0 200"));
        }
    }
}

/// Mutated messages inside a living call do not end it unless they are what they claim to be.
#[test]
fn a_call_survives_noise() {
    let mut p = Pair::new();
    let (caller, callee) = p.connect();
    let mut dice = Dice(77);
    for n in 0..3000 {
        let mut bytes = good(n)[dice.below(8)].clone().into_bytes();
        mutate(&mut dice, &mut bytes);
        for (side, local, remote) in [(&mut p.a.ua, 1, 2), (&mut p.b.ua, 2, 1)] {
            let peer = Peer::Trusted(u32::from(remote));
            side.handle(p.now, Input::Received { peer, hop: hop(local, remote), bytes: &bytes });
            while let Some(output) = side.poll() {
                if let Output::Event(Event::Incoming(incoming)) = output {
                    side.reject(p.now, incoming.call, 486, "", &[]).unwrap();
                }
            }
        }
        p.run_ms(20);
    }
    assert!(p.a.ua.live_calls().contains(&caller));
    assert!(p.b.ua.live_calls().contains(&callee));
    p.a.ua.hang_up(p.now, caller, None).unwrap();
    p.run_ms(100);
    assert!(p.b.ua.live_calls().is_empty());
}

#[test]
fn parsers_alone() {
    let mut dice = Dice(99);
    let (mut read, mut refused) = (0, 0);
    for n in 0..20_000 {
        let mut bytes = good(n)[dice.below(8)].clone().into_bytes();
        mutate(&mut dice, &mut bytes);
        match Message::from_datagram(&bytes) {
            Ok(_) => read += 1,
            Err(_) => refused += 1,
        }
        let mut framer = StreamFramer::new();
        let cut = dice.below(bytes.len() + 1);
        for piece in [&bytes[..cut], &bytes[cut..]] {
            framer.push(piece);
            while let Some(Ok(frame)) = framer.take() {
                if let Frame::Message(frame) = frame {
                    let _ = Message::from_frame(frame);
                }
            }
        }
        let mut line = b"\"A\" <sip:user;x=y:pw@[2001:db8::1]:5060;lr;a=b?h=v&k=%20>;tag=1;q=\"x\"".to_vec();
        mutate(&mut dice, &mut line);
        if let Ok(address) = NameAddr::from_bytes(&line) {
            let again = NameAddr::from_bytes(address.to_string().as_bytes());
            assert_eq!(again.map(|a| a.uri).ok(), Some(address.uri));
        }
        let _ = Uri::from_bytes(&line);
        let mut sdp = SDP.to_vec();
        mutate(&mut dice, &mut sdp);
        let _ = Session::parse(&sdp);
    }
    // Both sides of the border are visited.
    assert!(read > 1000 && refused > 1000, "{read} read, {refused} refused");
}

/// REFER, NOTIFY and Replaces, mutated inside a living call.
#[test]
fn transfers_survive_noise() {
    let now = origin();
    let mut ua = UserAgent::new(now, Settings::default(), [5; 32]);
    let mut dice = Dice(123);
    let (peer, hop) = (Peer::Trusted(2), hop(1, 2));
    let invite = good(1)[0].replace("m1@h", "living@h");
    ua.handle(now, Input::Received { peer, hop, bytes: invite.as_bytes() });
    let (mut call, mut tag) = (None, String::new());
    while let Some(output) = ua.poll() {
        if let Output::Event(Event::Incoming(incoming)) = output {
            call = Some(incoming.call);
            ua.accept(now, incoming.call, SDP).unwrap();
        } else if let Output::Send { bytes, .. } = output {
            let message = Message::from_frame(&bytes).unwrap();
            tag = String::from_utf8(message.to_tag().to_vec()).unwrap();
        }
    }
    let call = call.unwrap();
    let mut asked = 0;
    let mut taken = 0;
    for n in 2..6_000_u32 {
        let replaces = format!("living%40h%3Bto-tag%3D{tag}%3Bfrom-tag%3Df1");
        let (method, to_tag, extra) = match dice.below(3) {
            0 => (
                "REFER",
                true,
                format!("Refer-To: <sip:203@h;x=y?Replaces={replaces}&A=b>\r\nRefer-Sub: true\r\n"),
            ),
            1 => ("NOTIFY", true, "Event: refer;id=2\r\nSubscription-State: active\r\n".to_owned()),
            _ => ("INVITE", false, format!("Replaces: living@h;to-tag={tag};from-tag=f1;early-only\r\n")),
        };
        let to = if to_tag { format!(";tag={tag}") } else { String::new() };
        let id = if to_tag { "living@h".to_owned() } else { format!("n{n}@h") };
        let mut bytes = format!(
            "{method} sip:200@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:100@192.0.2.2>;tag=f1\r\nTo: <sip:200@192.0.2.1>{to}\r\nCall-ID: {id}\r\nCSeq: {n} {method}\r\n\
             Contact: <sip:100@192.0.2.2>\r\n{extra}\r\n"
        )
        .into_bytes();
        if dice.below(4) > 0 {
            mutate(&mut dice, &mut bytes);
        }
        ua.handle(now, Input::Received { peer, hop, bytes: &bytes });
        while let Some(output) = ua.poll() {
            if let Output::Event(Event::Refer { call, .. }) = output {
                asked += 1;
                let status = [100, 180, 200, 404, 486, 603][dice.below(6)];
                ua.report_transfer(now, call, status).unwrap();
            } else if let Output::Event(Event::Incoming(incoming)) = output {
                taken += 1;
                ua.reject(now, incoming.call, 486, "", &[]).unwrap();
            }
        }
        // Some of those that are open end.
        let _ = ua.report_transfer(now, call, 487);
        assert!(ua.live_calls().contains(&call), "message {n}: {}", String::from_utf8_lossy(&bytes));
    }
    assert!(asked > 500 && taken > 10, "{asked} transfers, {taken} calls");
}
