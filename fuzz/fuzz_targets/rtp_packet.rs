//! Any datagram on a media port: header, telephone events, and every codec's decoder.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use tipring_media::codec::CODECS;
use tipring_media::rtp::packet::Packet;
use tipring_media::rtp::telephone_event::{EventPayload, EventReceiver, Press};

fuzz_target!(|bytes: &[u8]| {
    let Ok(packet) = Packet::parse(bytes) else { return };
    assert!(packet.payload.len() + 12 <= bytes.len(), "a payload from nowhere");
    let header = packet.header.to_bytes();
    if let Ok(again) = Packet::parse(&header) {
        assert_eq!(again.header, packet.header, "the header reads differently");
    }
    if let Some(event) = EventPayload::parse(packet.payload) {
        let mut receiver = EventReceiver::new(8);
        let (mut began, mut ended) = (0, 0);
        for _ in 0..2 {
            receiver.packet(Instant::now(), packet.header.timestamp, event, |press| match press {
                Press::Began(_) => began += 1,
                Press::Ended { .. } => ended += 1,
            });
        }
        assert!(began <= 1 && ended <= began, "one press counted twice");
    }
    let mut samples = [0; 16 * 120];
    for codec in &CODECS {
        if let Ok(mut decoder) = (codec.decoder)() {
            let written = decoder.decode(packet.payload, &mut samples);
            assert!(written <= samples.len());
            let _ = decoder.conceal(Some(packet.payload), &mut samples);
        }
    }
});
