//! The parser: one pass over the bytes, one copy, no allocation per header.
//!
//! A fault does not stop it: it notes the first one and reads on, because only the rest of the
//! headers can tell whether the request may be answered.

use super::{Fault, HEADERS_MAX, Line, Message, ParseError, Start, VIAS_MAX, Via};
use crate::header::HeaderName;
use crate::lex::{self, Span};
use crate::method::Method;
use crate::name_addr::{NameAddrError, RawAddr};
use crate::uri::{self, UriError};

/// Usual messages have fewer lines than this, so one allocation does.
const LINES_EXPECTED: usize = 20;
/// RFC 3261 §8.1.1.5.
const CSEQ_MAX: u64 = 0x7fff_ffff;

pub(super) fn parse(bytes: &[u8]) -> Result<Message, ParseError> {
    let dropped = |fault| ParseError { fault, request: None };
    // Empty lines before the start line are to be ignored, RFC 3261 §7.5.
    let mut from = 0;
    while bytes.get(from..from + 2) == Some(b"\r\n") {
        from += 2;
    }
    let bytes = bytes.get(from..).unwrap_or(&[]);
    if bytes.is_empty() {
        return Err(dropped(Fault::Empty));
    }
    let mut fault = Worst(None);
    let first_end = line_end(bytes, 0, &mut fault).ok_or_else(|| dropped(Fault::Truncated))?;
    let start = start_line(bytes, first_end, &mut fault).map_err(dropped)?;
    let mut head = Head { lines: Vec::with_capacity(LINES_EXPECTED), seen: 0 };
    let after = head.read(bytes, first_end + 2, &mut fault);
    let body = body_span(bytes, after, &head, &mut fault);
    let mut message = Message {
        buf: bytes.get(..body.end as usize).unwrap_or(bytes).into(),
        start,
        lines: head.lines,
        body,
        cseq: 0,
        cseq_method: Method::Other,
        from_tag: Span::default(),
        to_tag: Span::default(),
    };
    let answerable = check(&mut message, head.seen, &mut fault);
    match fault.0 {
        None => Ok(message),
        Some(fault) => {
            let answerable = answerable
                && message.method().is_some_and(|m| m != Method::Ack)
                && message.cseq_method != Method::Ack;
            Err(ParseError { fault, request: answerable.then(|| Box::new(message)) })
        }
    }
}

/// The first fault noted.
struct Worst(Option<Fault>);

impl Worst {
    fn note(&mut self, fault: Fault) {
        self.0.get_or_insert(fault);
    }
}

/// Index of the CR of the CRLF that ends the line beginning at `from`. Other control bytes on
/// the way are noted and passed over; `None` when no line end follows.
fn line_end(bytes: &[u8], from: usize, fault: &mut Worst) -> Option<usize> {
    let mut at = from;
    loop {
        at = lex::find_control(bytes, at);
        match bytes.get(at)? {
            b'\r' if bytes.get(at + 1) == Some(&b'\n') => return Some(at),
            b'\t' => at += 1,
            _ => {
                fault.note(Fault::Control);
                at += 1;
            }
        }
    }
}

fn start_line(bytes: &[u8], end: usize, fault: &mut Worst) -> Result<Start, Fault> {
    let line = &bytes[..end];
    if let Some(rest) = strip_prefix_ignore_case(line, b"SIP/2.0 ") {
        let (digits, reason) = match rest {
            [a, b, c] => ([*a, *b, *c], end),
            [a, b, c, b' ', ..] => ([*a, *b, *c], line.len() - rest.len() + 4),
            _ => return Err(Fault::Status),
        };
        let status = lex::number(&digits, 699).filter(|&n| n >= 100).ok_or(Fault::Status)?;
        return Ok(Start::Response { status: status as u16, reason: Span::new(reason, end) });
    }
    let mut parts = line.split(|&b| b == b' ');
    let method = parts.next().unwrap_or(&[]);
    let target = parts.next().ok_or(Fault::StartLine)?;
    if !lex::is_token(method) {
        return Err(Fault::StartLine);
    }
    // The version is the last word; more than three words is a URI with spaces in it or a line
    // with spaces too many, both malformed, neither forgiven.
    let version = line.rsplit(|&b| b == b' ').find(|w| !w.is_empty()).unwrap_or(&[]);
    if !is_sip_version(version) {
        return Err(Fault::StartLine);
    }
    if parts.next().is_none_or(|third| !is_sip_version(third)) || parts.next().is_some() {
        fault.note(Fault::StartLine);
    } else if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        fault.note(Fault::Version);
    }
    if uri::scheme_of(target).is_none() {
        fault.note(Fault::RequestUri);
    } else {
        match uri::check(target) {
            // A foreign scheme is well-formed; the user agent answers 416.
            Ok(()) | Err(UriError::Scheme) => {}
            Err(
                UriError::TooLong
                | UriError::User
                | UriError::Host
                | UriError::Port
                | UriError::Params
                | UriError::Headers
                | UriError::Number,
            ) => fault.note(Fault::RequestUri),
        }
        if target.contains(&b'?') && crate::Uri::from_bytes(target).is_ok_and(|u| u.has_headers()) {
            fault.note(Fault::RequestUri);
        }
    }
    let method_text = Span::new(0, method.len());
    let uri = Span::new(method.len() + 1, method.len() + 1 + target.len());
    Ok(Start::Request { method: Method::from_bytes(method), method_text, uri })
}

fn strip_prefix_ignore_case<'a>(line: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let head = line.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &line[prefix.len()..])
}

fn is_sip_version(word: &[u8]) -> bool {
    let Some(number) = strip_prefix_ignore_case(word, b"SIP/") else {
        return false;
    };
    let mut halves = number.splitn(2, |&b| b == b'.');
    let digits = |half: Option<&[u8]>| {
        half.is_some_and(|h| !h.is_empty() && h.len() < 10 && h.iter().all(u8::is_ascii_digit))
    };
    digits(halves.next()) && digits(halves.next())
}

struct Head {
    lines: Vec<Line>,
    seen: u64,
}

impl Head {
    /// Reads header lines from `at`; returns where the body begins.
    fn read(&mut self, bytes: &[u8], mut at: usize, fault: &mut Worst) -> usize {
        loop {
            match bytes.get(at) {
                None => {
                    fault.note(Fault::Truncated);
                    return bytes.len();
                }
                Some(b'\r') if bytes.get(at + 1) == Some(&b'\n') => return at + 2,
                Some(_) => {}
            }
            let Some(end) = line_end(bytes, at, fault) else {
                fault.note(Fault::Truncated);
                return bytes.len();
            };
            if self.lines.len() == HEADERS_MAX {
                fault.note(Fault::TooManyHeaders);
                return bytes.len();
            }
            self.line(bytes, at, end, fault);
            at = end + 2;
        }
    }

    fn line(&mut self, bytes: &[u8], start: usize, end: usize, fault: &mut Worst) {
        let line = &bytes[start..end];
        if line.first().is_some_and(|&b| lex::is_lws(b)) {
            fault.note(Fault::Folded);
            return;
        }
        let name_len = line.iter().take_while(|&&b| lex::is_token_byte(b)).count();
        if name_len == 0 || line.get(name_len) != Some(&b':') {
            fault.note(Fault::HeaderName);
            return;
        }
        let name = HeaderName::from_bytes(&line[..name_len]);
        if self.seen & name.bit() != 0 && name.is_single() {
            fault.note(Fault::Duplicate(name));
            return;
        }
        self.seen |= name.bit();
        let mut from = name_len + 1;
        while line.get(from).is_some_and(|&b| lex::is_lws(b)) {
            from += 1;
        }
        let mut to = line.len();
        while to > from && line.get(to - 1).is_some_and(|&b| lex::is_lws(b)) {
            to -= 1;
        }
        self.lines.push(Line {
            name,
            text: Span::new(start, start + name_len),
            value: Span::new(start + from, start + to),
        });
    }

    fn value<'a>(&self, bytes: &'a [u8], name: HeaderName) -> Option<&'a [u8]> {
        if self.seen & name.bit() == 0 {
            return None;
        }
        self.lines.iter().find(|l| l.name == name).map(|l| l.value.of(bytes))
    }
}

fn body_span(bytes: &[u8], at: usize, head: &Head, fault: &mut Worst) -> Span {
    let rest = bytes.len() - at;
    let Some(value) = head.value(bytes, HeaderName::ContentLength) else {
        return Span::new(at, bytes.len());
    };
    match lex::number(value, u64::from(u32::MAX)) {
        Some(n) if n as usize <= rest => Span::new(at, at + n as usize),
        Some(_) => {
            fault.note(Fault::BodyTooShort);
            Span::new(at, bytes.len())
        }
        None => {
            fault.note(Fault::Value(HeaderName::ContentLength));
            Span::new(at, bytes.len())
        }
    }
}

/// Checks the headers every message needs. True when a response could be built.
fn check(message: &mut Message, seen: u64, fault: &mut Worst) -> bool {
    let mut answerable = true;
    for name in [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
        if seen & name.bit() == 0 {
            fault.note(Fault::Missing(name));
            answerable = false;
        }
    }
    if !check_vias(message, fault) {
        answerable = false;
    }
    for name in [HeaderName::From, HeaderName::To] {
        let Some(line) = message.lines.iter().find(|l| l.name == name).copied() else {
            continue;
        };
        match address_tag(&message.buf, line.value) {
            Ok(tag) if name == HeaderName::From => message.from_tag = tag,
            Ok(tag) => message.to_tag = tag,
            Err(_) => fault.note(Fault::Value(name)),
        }
    }
    if seen & HeaderName::CallId.bit() != 0 && !lex::is_call_id(message.call_id()) {
        fault.note(Fault::Value(HeaderName::CallId));
    }
    check_cseq(message, fault);
    for (name, max) in [
        (HeaderName::MaxForwards, 255),
        (HeaderName::Expires, u64::from(u32::MAX)),
        (HeaderName::MinExpires, u64::from(u32::MAX)),
    ] {
        if seen & name.bit() != 0 && message.header(name).is_none_or(|v| lex::number(v, max).is_none()) {
            fault.note(Fault::Value(name));
        }
    }
    answerable
}

fn check_vias(message: &Message, fault: &mut Worst) -> bool {
    let mut count = 0;
    let mut ok = true;
    for value in message.header_lines(HeaderName::Via).flat_map(|v| lex::split_outside(v, b',')) {
        if Via::parse(value).is_none() {
            // The answer would have to carry the damage on, or leave nowhere to go.
            ok = false;
            fault.note(Fault::Value(HeaderName::Via));
        }
        count += 1;
        if count > VIAS_MAX {
            fault.note(Fault::TooManyVias);
            return false;
        }
    }
    ok
}

fn address_tag(buf: &[u8], value: Span) -> Result<Span, NameAddrError> {
    let text = value.of(buf);
    let raw = RawAddr::parse(text)?;
    match uri::check(raw.uri) {
        Ok(()) => {}
        // Any absolute URI may stand in From and To (RFC 4475 §3.3.4).
        Err(UriError::Scheme) if uri::scheme_of(raw.uri).is_some() => {}
        Err(error) => return Err(NameAddrError::Uri(error)),
    }
    let Some(tag) = raw.tag() else {
        return Ok(Span::default());
    };
    // The tag is a slice of the value, so its place follows from the two addresses.
    let offset = tag.as_ptr() as usize - text.as_ptr() as usize;
    let start = value.start as usize + offset;
    Ok(Span::new(start, start + tag.len()))
}

fn check_cseq(message: &mut Message, fault: &mut Worst) {
    let Some(value) = message.header(HeaderName::CSeq) else {
        return;
    };
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    let name = lex::trim(&value[digits..]);
    let spaced = value.get(digits).is_some_and(|&b| lex::is_lws(b));
    let number = lex::number(&value[..digits], CSEQ_MAX);
    let (Some(number), true, true) = (number, spaced, lex::is_token(name)) else {
        fault.note(Fault::Value(HeaderName::CSeq));
        return;
    };
    let method = Method::from_bytes(name);
    let mismatch = match message.start {
        Start::Request { method_text, .. } => method_text.of(&message.buf) != name,
        Start::Response { .. } => false,
    };
    message.cseq = number as u32;
    message.cseq_method = method;
    if mismatch {
        fault.note(Fault::CSeqMismatch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(extra: &str) -> String {
        format!(
            "OPTIONS sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h:5060;branch=z9hG4bK1\r\n\
             From: <sip:a@h>;tag=f\r\nTo: <sip:b@h>\r\nCall-ID: c@h\r\nCSeq: 1 OPTIONS\r\n{extra}\r\n"
        )
    }

    #[test]
    fn compact_forms_and_lists() {
        let text = "INVITE sip:b@h SIP/2.0\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1, SIP/2.0/TCP b\r\n\
                    v:SIP/2.0/UDP c\r\nf: <sip:a@h>;tag=f\r\nt: \"x, y\" <sip:b@h>;tag=t\r\ni: c\r\n\
                    CSeq: 7   INVITE\r\nm: <sip:a,b@h>, <sip:c@h>\r\nl: 3\r\nc: application/sdp\r\n\r\nv=0 more";
        let m = Message::from_datagram(text.as_bytes()).unwrap();
        assert_eq!(m.values(HeaderName::Via).count(), 3);
        assert_eq!(m.values(HeaderName::Contact).count(), 2);
        assert_eq!((m.from_tag(), m.to_tag()), (&b"f"[..], &b"t"[..]));
        assert_eq!((m.cseq(), m.cseq_method()), (7, Method::Invite));
        assert_eq!(m.body(), b"v=0");
        assert_eq!(m.sdp(), Some(&b"v=0"[..]));
        assert_eq!(m.to_address().unwrap().display, "x, y");
    }

    #[test]
    fn faults_and_what_to_do_with_them() {
        let cases: Vec<(String, Fault, Option<u16>)> = vec![
            ("\r\n\r\n".into(), Fault::Empty, None),
            ("OPTIONS".into(), Fault::Truncated, None),
            (request("X : 1\r\n"), Fault::HeaderName, Some(400)),
            (request("X\r\n"), Fault::HeaderName, Some(400)),
            (request(": x\r\n"), Fault::HeaderName, Some(400)),
            (request("X: 1\r\n 2\r\n"), Fault::Folded, Some(400)),
            (request("X: a\u{1}b\r\n"), Fault::Control, Some(400)),
            (request("X: a\u{7f}b\r\n"), Fault::Control, Some(400)),
            (request("X: a\rY: b\r\n"), Fault::Control, Some(400)),
            (request("X: a\nY: b\r\n"), Fault::Control, Some(400)),
            (
                request("Max-Forwards: 70\r\nMax-Forwards: 70\r\n"),
                Fault::Duplicate(HeaderName::MaxForwards),
                Some(400),
            ),
            (request("t: <sip:x@h>\r\n"), Fault::Duplicate(HeaderName::To), Some(400)),
            (request("Max-Forwards: 256\r\n"), Fault::Value(HeaderName::MaxForwards), Some(400)),
            (request("Max-Forwards: -1\r\n"), Fault::Value(HeaderName::MaxForwards), Some(400)),
            (request("Expires: 4294967296\r\n"), Fault::Value(HeaderName::Expires), Some(400)),
            (request("Content-Length: -999\r\n"), Fault::Value(HeaderName::ContentLength), Some(400)),
            (request("Content-Length: 1\r\n"), Fault::BodyTooShort, Some(400)),
            (
                request("Content-Length: 99999999999999999999\r\n"),
                Fault::Value(HeaderName::ContentLength),
                Some(400),
            ),
            (
                request("l: 0\r\nContent-Length: 0\r\n"),
                Fault::Duplicate(HeaderName::ContentLength),
                Some(400),
            ),
            (request(&"Y: 1\r\n".repeat(HEADERS_MAX)), Fault::TooManyHeaders, Some(400)),
            (request(&"Via: SIP/2.0/UDP x\r\n".repeat(VIAS_MAX)), Fault::TooManyVias, None),
            (request("").replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"), Fault::CSeqMismatch, Some(400)),
            (request("").replace("CSeq: 1 ", "CSeq: 2147483648 "), Fault::Value(HeaderName::CSeq), Some(400)),
            (request("").replace("CSeq: 1 ", "CSeq: 1"), Fault::Value(HeaderName::CSeq), Some(400)),
            (request("").replace("CSeq: 1 ", "CSeq: x "), Fault::Value(HeaderName::CSeq), Some(400)),
            (
                request("").replace("Call-ID: c@h", "Call-ID: c d"),
                Fault::Value(HeaderName::CallId),
                Some(400),
            ),
            (request("").replace("Call-ID: c@h", "Call-ID:"), Fault::Value(HeaderName::CallId), Some(400)),
            (request("").replace("Call-ID: c@h\r\n", ""), Fault::Missing(HeaderName::CallId), None),
            (
                request("").replace("To: <sip:b@h>", "To: \"x <sip:b@h>"),
                Fault::Value(HeaderName::To),
                Some(400),
            ),
            (request("").replace("SIP/2.0/UDP h:5060;", "garbage;"), Fault::Value(HeaderName::Via), None),
            (request("").replace(" SIP/2.0\r\nVia", " SIP/7.0\r\nVia"), Fault::Version, Some(505)),
            (request("").replace(" SIP/2.0\r\nVia", " HTTP/1.1\r\nVia"), Fault::StartLine, None),
            (request("").replace("OPTIONS sip", "OPTIONS  sip"), Fault::StartLine, Some(400)),
            (request("").replace("sip:b@h SIP", "sip:b@h  SIP"), Fault::StartLine, Some(400)),
            (request("").replace("sip:b@h SIP", "sip:b@h; x SIP"), Fault::StartLine, Some(400)),
            (request("").replace("SIP/2.0\r\nVia", "SIP/2.0  \r\nVia"), Fault::StartLine, Some(400)),
            (request("").replace("OPTIONS sip:b@h ", "OPTIONS <sip:b@h> "), Fault::RequestUri, Some(400)),
            (
                request("").replace("OPTIONS sip:b@h ", "OPTIONS sip:b@h?Route=x "),
                Fault::RequestUri,
                Some(400),
            ),
            (request("").replace("OPTIONS sip:b@h ", "OPT@ONS sip:b@h "), Fault::StartLine, None),
            ("SIP/2.0 4294967301 x\r\n\r\n".into(), Fault::Status, None),
            ("SIP/2.0 99 x\r\n\r\n".into(), Fault::Status, None),
            ("SIP/2.0 700 x\r\n\r\n".into(), Fault::Status, None),
            (request("").replace("\r\n\r\n", "\r\n"), Fault::Truncated, Some(400)),
        ];
        for (text, fault, status) in cases {
            let error = Message::from_datagram(text.as_bytes()).unwrap_err();
            assert_eq!((error.fault, error.status()), (fault, status), "{text}");
        }
        let ack = request("X: 1\r\n 2\r\n").replace("OPTIONS", "ACK");
        assert_eq!(Message::from_datagram(ack.as_bytes()).unwrap_err().status(), None);
        let long = request(&format!("X: {}\r\n", "a".repeat(super::super::DATAGRAM_BYTES_MAX)));
        assert_eq!(Message::from_datagram(long.as_bytes()).unwrap_err().fault, Fault::TooLong);
        assert!(Message::from_frame(long.as_bytes()).is_ok());
    }

    #[test]
    fn responses_with_odd_reasons() {
        let tail = "\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=f\r\n\
                    To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n";
        for (line, status, reason) in [
            ("SIP/2.0 200 OK", 200, "OK"),
            ("SIP/2.0 100 ", 100, ""),
            ("SIP/2.0 100", 100, ""),
            ("sip/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e}", 200, "= 2**3 * 5**2 \u{43d}\u{43e}"),
        ] {
            let m = Message::from_datagram(format!("{line}{tail}").as_bytes()).unwrap();
            assert_eq!((m.status(), m.reason().as_str()), (Some(status), reason));
        }
    }
}
