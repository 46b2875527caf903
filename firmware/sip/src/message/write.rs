//! Writing messages.

use std::net::SocketAddr;

use super::{Message, Via};
use crate::header::HeaderName;
use crate::lex;
use crate::method::Method;

/// Writes one message after another into one buffer that keeps its capacity.
///
/// Every value is cleaned of control characters, so that nothing a caller passes can begin a
/// header of its own.
#[derive(Debug, Default)]
pub struct Writer {
    buf: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Writer {
        Writer { buf: Vec::with_capacity(2048) }
    }

    /// Begins a request.
    pub fn request(&mut self, method: Method, uri: &str) -> &mut Writer {
        self.buf.clear();
        self.buf.extend_from_slice(method.as_str().as_bytes());
        self.buf.push(b' ');
        lex::write_clean(&mut self.buf, uri.as_bytes());
        self.buf.extend_from_slice(b" SIP/2.0\r\n");
        self
    }

    /// Begins a response to `request`, copying what RFC 3261 §8.2.6 says: Via (the first with
    /// `received` and `rport` by RFC 3581 §4), From, To with `to_tag` unless it has one already,
    /// Call-ID, CSeq; and Record-Route where the response forms a dialog.
    pub fn response(
        &mut self,
        request: &Message,
        status: u16,
        reason: &str,
        to_tag: &[u8],
        source: SocketAddr,
    ) -> &mut Writer {
        self.buf.clear();
        self.buf.extend_from_slice(b"SIP/2.0 ");
        lex::write_number(&mut self.buf, u64::from(status));
        self.buf.push(b' ');
        lex::write_clean(&mut self.buf, reason.as_bytes());
        self.buf.extend_from_slice(b"\r\n");
        let mut first = true;
        for value in request.header_lines(HeaderName::Via) {
            if first {
                first = false;
                self.top_via(value, source);
            } else {
                self.raw("Via", value);
            }
        }
        self.raw("From", request.raw_from());
        self.raw("To", request.raw_to());
        if request.to_tag().is_empty() && !to_tag.is_empty() && status != 100 {
            self.unfinished().extend_from_slice(b";tag=");
            lex::write_clean(&mut self.buf, to_tag);
            self.buf.extend_from_slice(b"\r\n");
        }
        self.raw("Call-ID", request.call_id());
        self.raw("CSeq", request.header(HeaderName::CSeq).unwrap_or(&[]));
        let invites = request.method() == Some(Method::Invite) && (101..300).contains(&status);
        let subscribes = request.method() == Some(Method::Subscribe) && (200..300).contains(&status);
        if invites || subscribes {
            for value in request.header_lines(HeaderName::RecordRoute) {
                self.raw("Record-Route", value);
            }
        }
        self
    }

    fn top_via(&mut self, value: &[u8], source: SocketAddr) {
        let end = lex::split_outside(value, b',').next().map_or(0, <[u8]>::len);
        let (top, rest) = value.split_at(end.min(value.len()));
        let Some(via) = Via::parse(top) else {
            self.raw("Via", value);
            return;
        };
        self.buf.extend_from_slice(b"Via: ");
        self.buf.extend_from_slice(via.head);
        let mut wants_port = false;
        for p in via.params() {
            if p.name.eq_ignore_ascii_case(b"rport") {
                wants_port = true;
                continue;
            }
            if p.name.eq_ignore_ascii_case(b"received") {
                continue;
            }
            self.buf.push(b';');
            self.buf.extend_from_slice(p.name);
            if let Some(value) = p.value {
                self.buf.push(b'=');
                self.buf.extend_from_slice(value);
            }
        }
        let same_host = std::str::from_utf8(via.host)
            .ok()
            .and_then(crate::uri::host_ip)
            .is_some_and(|ip| ip == source.ip());
        if wants_port || !same_host {
            self.buf.extend_from_slice(b";received=");
            push_display(&mut self.buf, source.ip());
        }
        if wants_port {
            self.buf.extend_from_slice(b";rport=");
            lex::write_number(&mut self.buf, u64::from(source.port()));
        }
        self.buf.extend_from_slice(rest);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// Takes the line end off the last line so that something can be added to it.
    fn unfinished(&mut self) -> &mut Vec<u8> {
        let length = self.buf.len().saturating_sub(2);
        self.buf.truncate(length);
        &mut self.buf
    }

    /// Adds a header line.
    pub fn header(&mut self, name: &str, value: &str) -> &mut Writer {
        self.raw(name, value.as_bytes())
    }

    /// Adds a header line whose value is bytes.
    pub fn raw(&mut self, name: &str, value: &[u8]) -> &mut Writer {
        lex::write_clean(&mut self.buf, name.as_bytes());
        self.buf.extend_from_slice(b": ");
        lex::write_clean(&mut self.buf, value);
        self.buf.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a header line that holds a number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Writer {
        self.buf.extend_from_slice(name.as_bytes());
        self.buf.extend_from_slice(b": ");
        lex::write_number(&mut self.buf, value);
        self.buf.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a header line written by `value` straight into the buffer; the writer trusts it.
    pub(crate) fn with(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) -> &mut Writer {
        self.buf.extend_from_slice(name.as_bytes());
        self.buf.extend_from_slice(b": ");
        value(&mut self.buf);
        self.buf.extend_from_slice(b"\r\n");
        self
    }

    /// Ends the headers with Content-Length and adds the body; returns the message.
    pub fn body(&mut self, content_type: &str, body: &[u8]) -> &[u8] {
        if !body.is_empty() {
            self.header("Content-Type", content_type);
        }
        self.number("Content-Length", body.len() as u64);
        self.buf.extend_from_slice(b"\r\n");
        self.buf.extend_from_slice(body);
        &self.buf
    }

    /// Ends a message without a body; returns the message.
    pub fn end(&mut self) -> &[u8] {
        self.body("", &[])
    }
}

/// Writes an IP or socket address without going through a `String`.
pub(crate) fn push_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    use std::io::Write as _;
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_copy_and_mark_the_via() {
        let request = |via: &str| {
            Message::from_datagram(
                format!(
                    "INVITE sip:b@h SIP/2.0\r\nVia: {via}, SIP/2.0/UDP z\r\nVia: SIP/2.0/UDP y\r\n\
                     Record-Route: <sip:p;lr>\r\nFrom: <sip:a@h>;tag=f\r\nTo: <sip:b@h>\r\n\
                     Call-ID: c\r\nCSeq: 1 INVITE\r\n\r\n"
                )
                .as_bytes(),
            )
            .unwrap()
        };
        for (via, want) in [
            (
                "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport",
                "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;received=192.0.2.1;rport=4000",
            ),
            ("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
            (
                "SIP/2.0/UDP host;branch=z9hG4bK1;received=1.2.3.4",
                "SIP/2.0/UDP host;branch=z9hG4bK1;received=192.0.2.1",
            ),
        ] {
            let mut w = Writer::new();
            let bytes = w
                .response(&request(via), 180, "Ringing", b"t", "192.0.2.1:4000".parse().unwrap())
                .end()
                .to_vec();
            let answer = Message::from_datagram(&bytes).unwrap();
            let vias: Vec<_> =
                answer.values(HeaderName::Via).map(lex::Lossy).map(|l| l.to_string()).collect();
            assert_eq!(vias, [want, "SIP/2.0/UDP z", "SIP/2.0/UDP y"]);
            assert_eq!(answer.to_tag(), b"t");
            assert_eq!(answer.header(HeaderName::RecordRoute), Some(&b"<sip:p;lr>"[..]));
            let trying = w
                .response(&request(via), 100, "Trying", b"t", "192.0.2.1:4000".parse().unwrap())
                .end()
                .to_vec();
            let trying = Message::from_datagram(&trying).unwrap();
            assert!(trying.to_tag().is_empty());
            assert!(trying.header(HeaderName::RecordRoute).is_none());
        }
    }

    #[test]
    fn no_header_can_be_smuggled_in() {
        let mut w = Writer::new();
        let bytes = w.request(Method::Options, "sip:b@h\r\nX: 1").header("Subject", "a\r\nEvil: yes\0").end();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(
            text,
            "OPTIONS sip:b@h  X: 1 SIP/2.0\r\nSubject: a  Evil: yes \r\nContent-Length: 0\r\n\r\n"
        );
    }
}
