//! The webhook that the tests of this folder put.

use std::time::Duration;

use tipring_model::fetch::{Body, HttpRequest, Method};
use tipring_spool::{Class, Entry, State};

/// The `n`-th webhook, about one of three calls, with a body of so many bytes.
pub(crate) fn webhook(n: u64, class: Class, body_bytes: usize) -> Entry {
    Entry {
        id: format!("evt_{n}"),
        topic: "call.state".to_owned(),
        subject: format!("call-{}", n % 3),
        class,
        put_unix_ms: 1_795_000_000_000,
        state: State::Queued,
        told_seq: None,
        request: HttpRequest {
            method: Method::Post,
            url: format!("https://example.com:8443/hook?n={n}"),
            headers: Vec::new(),
            body: Some(Body { media_type: "text/plain".to_owned(), bytes: vec![b'x'; body_bytes] }),
            timeout: Duration::from_secs(15),
            redirects_max: 0,
            body_max_bytes: 4_096,
            cuts_body: true,
            connect: None,
            moves_fields: false,
            total: None,
        },
    }
}
