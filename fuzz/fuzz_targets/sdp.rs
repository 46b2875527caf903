//! Session descriptions: any offer and any answer; what we say to them reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tipring_sip::sdp::{self, Codec, Direction, Local, Session};

fuzz_target!(|bytes: &[u8]| {
    let local = Local {
        address: [192, 0, 2, 1].into(),
        port: 4000,
        session_id: 1,
        version: 1,
        codecs: vec![
            Codec { channels: 2, ..Codec::new("opus", 96, 48_000) },
            Codec::new("G722", 9, 8_000),
            Codec::new("PCMA", 8, 8_000),
            Codec::new("PCMU", 0, 8_000),
        ],
        telephone_event: Some(101),
        ptime_ms: 20,
        direction: Direction::SendRecv,
    };
    if let Ok(session) = Session::parse(bytes) {
        for media in &session.media {
            for map in media.encodings() {
                let _ = media.fmtp(map.payload_type);
            }
        }
    }
    if let Ok((answer, agreed)) = sdp::answer(bytes, &local) {
        assert!(agreed.codec.payload_type < 128 && agreed.receive_payload_type < 128);
        assert!(agreed.ptime_ms > 0, "packets of no length");
        assert!(!agreed.remote.ip().is_multicast(), "audio to a group");
        let said = Session::parse(&answer).expect("our own answer parses");
        let offered = Session::parse(bytes).expect("an offer that was answered");
        assert_eq!(said.media.len(), offered.media.len(), "one line for each (RFC 3264 §6)");
    }
    let _ = sdp::read_answer(bytes, &local);
});
