//! Digest values of any kind, at a box with phones and at a client that is challenged.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use tipring_fuzz::input::Bytes;
use tipring_sip::auth::{Credentials, DigestClient, Secret};
use tipring_sip::message::Message;
use tipring_sip::ua::{Event, Input, Output, Peer, PhoneAccount, PhoneSettings, Settings, UserAgent};
use tipring_sip::{Hop, Transport};

const PASSWORD: &str = "of the one account";

fuzz_target!(|bytes: &[u8]| {
    let mut input = Bytes::new(bytes);
    let value = printable(input.until_zero());
    let second = printable(input.until_zero());
    server(&value, &second);
    client(&value, &second);
});

/// Header values cannot hold line ends; the message parser has its own target.
fn printable(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| *byte >= b' ' && *byte != 127).collect()
}

/// Nobody gets in without the password.
fn server(value: &[u8], second: &[u8]) {
    let now = Instant::now();
    let account =
        PhoneAccount { username: "201".into(), secret: Secret::Password(PASSWORD.into()), md5: true };
    let phones = PhoneSettings { realm: "box".into(), accounts: vec![account], expiry: Default::default() };
    let mut ua = UserAgent::new(now, Settings { phones: Some(phones), ..Settings::default() }, [7; 32]);
    let hop = Hop {
        transport: Transport::Udp,
        socket: 0,
        local: ([192, 0, 2, 1], 5060).into(),
        remote: ([192, 0, 2, 2], 5060).into(),
    };
    let mut nonce = Vec::new();
    for round in 0..2 {
        let mut message =
            b"REGISTER sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK".to_vec();
        message.push(b'a' + round);
        message.extend_from_slice(
            b"\r\nFrom: <sip:201@192.0.2.1>;tag=f\r\nTo: <sip:201@192.0.2.1>\r\nCall-ID: c\r\nCSeq: ",
        );
        message.extend_from_slice(format!("{} REGISTER\r\n", round + 1).as_bytes());
        message.extend_from_slice(b"Contact: <sip:201@192.0.2.2>\r\nAuthorization: Digest ");
        if round == 1 && !nonce.is_empty() {
            message.extend_from_slice(b"username=\"201\",realm=\"box\",nonce=\"");
            message.extend_from_slice(&nonce);
            message.extend_from_slice(b"\",");
        }
        message.extend_from_slice(value);
        message.extend_from_slice(b"\r\nProxy-Authorization: ");
        message.extend_from_slice(second);
        message.extend_from_slice(b"\r\n\r\n");
        ua.handle(now, Input::Received { peer: Peer::Phone, hop, bytes: &message });
        while let Some(output) = ua.poll() {
            match output {
                Output::Send { bytes, .. } => {
                    assert!(!bytes.starts_with(b"SIP/2.0 200"), "let in without a password");
                    if let Some(at) = bytes.windows(7).position(|w| w == b"nonce=\"") {
                        let rest = &bytes[at + 7..];
                        let end = rest.iter().position(|b| *b == b'"').unwrap_or(0);
                        nonce = rest[..end].to_vec();
                    }
                }
                Output::Event(Event::PhoneRegistered { .. }) => panic!("registered without a password"),
                Output::Event(_) => {}
            }
        }
    }
}

/// Any challenge: the password itself is never sent, and the tries end.
fn client(value: &[u8], second: &[u8]) {
    let mut challenge =
        b"SIP/2.0 401 No\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=f\r\nTo: <sip:b@h>;tag=t\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\nWWW-Authenticate: Digest ".to_vec();
    challenge.extend_from_slice(value);
    challenge.extend_from_slice(b"\r\nWWW-Authenticate: ");
    challenge.extend_from_slice(second);
    challenge.extend_from_slice(b"\r\n\r\n");
    let Ok(message) = Message::from_datagram(&challenge) else { return };
    let mut client =
        DigestClient::new(Credentials { username: "201".into(), password: PASSWORD.into(), md5_only: false });
    let mut tries = 0;
    while client.challenged(&message).is_ok() {
        tries += 1;
        assert!(tries < 10, "the same challenge is answered again and again");
        for (_, answer) in client.authorize("REGISTER", "sip:192.0.2.1", 7) {
            assert!(!answer.contains(PASSWORD), "the password in clear");
            assert!(!answer.contains(['\r', '\n']), "a line end in a header");
        }
    }
}
