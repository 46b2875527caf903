//! Any datagram: the parser does not panic, every accessor answers, and what reads back is the
//! same. A user agent that takes it stays within its limits.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tipring_sip::message::Message;
use tipring_sip::ua::{Event, Input, Output, Peer, Settings, UserAgent};
use tipring_sip::{HeaderName, Hop, Transport};

fuzz_target!(|bytes: &[u8]| {
    let sound = Message::from_datagram(bytes).map(|message| read_all(&message)).is_ok();
    let now = Instant::now();
    let hop = Hop {
        transport: Transport::Udp,
        socket: 0,
        local: ([192, 0, 2, 1], 5060).into(),
        remote: ([192, 0, 2, 2], 5060).into(),
    };
    let mut ua = UserAgent::new(now, Settings::default(), [7; 32]);
    for peer in [Peer::Trusted(1), Peer::Unknown] {
        ua.handle(now, Input::Received { peer, hop, bytes });
        let mut offered = None;
        while let Some(output) = ua.poll() {
            match output {
                Output::Event(Event::Incoming(incoming)) => offered = Some(incoming.call),
                Output::Send { bytes, .. } => {
                    assert_eq!(peer, Peer::Trusted(1), "a stranger got an answer");
                    // A refusal of what does not parse repeats its broken headers.
                    assert!(
                        !sound || Message::from_datagram(&bytes).is_ok(),
                        "our own message does not parse"
                    );
                    assert!(sound || bytes.starts_with(b"SIP/2.0 4") || bytes.starts_with(b"SIP/2.0 5"));
                }
                Output::Event(_) => {}
            }
        }
        if let Some(call) = offered {
            let _ = ua.accept(now, call, b"v=0\r\n");
            while ua.poll().is_some() {}
        }
    }
    // Whatever it began is over after the longest timers.
    let mut later = now;
    for _ in 0..200 {
        let Some(due) = ua.poll_timeout() else { break };
        later = due.max(later) + Duration::from_millis(1);
        ua.handle(later, Input::Timeout);
        while ua.poll().is_some() {}
    }
    assert_eq!(ua.poll_timeout(), None, "a timer that never ends");
});

fn read_all(message: &Message) {
    let _ = (message.method(), message.status(), message.reason(), message.request_uri());
    let _ = (message.from_address(), message.to_address(), message.top_via().map(|via| via.branch().len()));
    let _ = (message.cseq(), message.cseq_method(), message.from_tag(), message.to_tag(), message.call_id());
    let _ = (message.content_type(), message.sdp(), message.body());
    for (name, value) in message.headers() {
        assert!(!name.contains(&b'\n') && !value.contains(&b'\n'), "a header with a line end");
    }
    for name in [HeaderName::Via, HeaderName::Contact, HeaderName::Route, HeaderName::PAssertedIdentity] {
        let _ = (message.values(name).count(), message.addresses(name).count(), message.number(name));
        let _ = message.has_token(name, "100rel");
    }
    assert!(Message::from_datagram(message.as_bytes()).is_ok(), "its own bytes do not parse again");
}
