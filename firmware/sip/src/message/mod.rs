//! SIP messages: reading, writing and cutting them out of a stream.
//!
//! A [`Message`] owns one copy of its bytes; headers are places in it. It has passed the strict
//! grammar of this crate: see [`Fault`] for what is refused and why.

mod fault;
mod parse;
mod stream;
mod via;
mod write;

pub use fault::{Fault, ParseError};
pub use stream::{Frame, FrameError, StreamFramer};
pub use via::Via;
pub use write::Writer;
pub(crate) use write::push_display;

use crate::header::HeaderName;
use crate::lex::{self, Span};
use crate::method::Method;
use crate::name_addr::{NameAddr, NameAddrError, RawAddr};
use crate::uri::{Uri, UriError};

/// Longest datagram looked at, in bytes.
pub const DATAGRAM_BYTES_MAX: usize = 16 * 1024;
/// Longest message on a stream, in bytes.
pub const STREAM_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Most header lines in one message.
pub const HEADERS_MAX: usize = 128;
/// Most Via values in one message, counting comma lists.
pub const VIAS_MAX: usize = 32;
/// Most parts of a multipart body.
pub const BODY_PARTS_MAX: usize = 8;

/// One header line.
#[derive(Clone, Copy, Debug)]
struct Line {
    name: HeaderName,
    text: Span,
    value: Span,
}

#[derive(Clone, Copy, Debug)]
enum Start {
    Request { method: Method, method_text: Span, uri: Span },
    Response { status: u16, reason: Span },
}

/// A request or a response that passed the grammar.
#[derive(Clone, Debug)]
pub struct Message {
    buf: Box<[u8]>,
    start: Start,
    lines: Vec<Line>,
    body: Span,
    cseq: u32,
    cseq_method: Method,
    from_tag: Span,
    to_tag: Span,
}

impl Message {
    /// Reads one datagram: bytes after Content-Length are ignored, a missing Content-Length means
    /// the rest (RFC 3261 §18.3).
    ///
    /// # Errors
    /// [`ParseError`] with the fault, and the request it is about when that can be answered.
    pub fn from_datagram(bytes: &[u8]) -> Result<Message, ParseError> {
        if bytes.len() > DATAGRAM_BYTES_MAX {
            return Err(ParseError { fault: Fault::TooLong, request: None });
        }
        parse::parse(bytes)
    }

    /// Reads one message that [`StreamFramer`] cut out of a stream.
    ///
    /// # Errors
    /// As [`Message::from_datagram`].
    pub fn from_frame(bytes: &[u8]) -> Result<Message, ParseError> {
        if bytes.len() > STREAM_MESSAGE_BYTES_MAX {
            return Err(ParseError { fault: Fault::TooLong, request: None });
        }
        parse::parse(bytes)
    }

    /// The method of a request; `None` for a response.
    #[must_use]
    pub fn method(&self) -> Option<Method> {
        match self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The method of a request as written; empty for a response.
    #[must_use]
    pub fn method_text(&self) -> &[u8] {
        match self.start {
            Start::Request { method_text, .. } => method_text.of(&self.buf),
            Start::Response { .. } => &[],
        }
    }

    /// The status of a response, 100 to 699; `None` for a request.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }

    /// The reason phrase of a response; empty for a request.
    #[must_use]
    pub fn reason(&self) -> String {
        match self.start {
            Start::Request { .. } => String::new(),
            Start::Response { reason, .. } => lex::Lossy(reason.of(&self.buf)).to_string(),
        }
    }

    /// The request-URI as written; empty for a response. Its scheme may be one this crate does
    /// not support.
    #[must_use]
    pub fn request_uri_text(&self) -> &[u8] {
        match self.start {
            Start::Request { uri, .. } => uri.of(&self.buf),
            Start::Response { .. } => &[],
        }
    }

    /// The request-URI.
    ///
    /// # Errors
    /// [`UriError::Scheme`] for a scheme other than `sip`, `sips` and `tel`.
    pub fn request_uri(&self) -> Result<Uri, UriError> {
        Uri::from_bytes(self.request_uri_text())
    }

    /// The CSeq number.
    #[must_use]
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// The CSeq method.
    #[must_use]
    pub fn cseq_method(&self) -> Method {
        self.cseq_method
    }

    /// The From tag, empty when absent.
    #[must_use]
    pub fn from_tag(&self) -> &[u8] {
        self.from_tag.of(&self.buf)
    }

    /// The To tag, empty when absent.
    #[must_use]
    pub fn to_tag(&self) -> &[u8] {
        self.to_tag.of(&self.buf)
    }

    /// The Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &[u8] {
        self.header(HeaderName::CallId).unwrap_or(&[])
    }

    /// The From address.
    ///
    /// # Errors
    /// As [`NameAddr::from_bytes`]; only a URI of a foreign scheme can get here.
    pub fn from_address(&self) -> Result<NameAddr, NameAddrError> {
        NameAddr::from_bytes(self.header(HeaderName::From).unwrap_or(&[]))
    }

    /// The To address.
    ///
    /// # Errors
    /// As [`Message::from_address`].
    pub fn to_address(&self) -> Result<NameAddr, NameAddrError> {
        NameAddr::from_bytes(self.header(HeaderName::To).unwrap_or(&[]))
    }

    /// The first Via.
    #[must_use]
    pub fn top_via(&self) -> Option<Via<'_>> {
        self.values(HeaderName::Via).next().and_then(Via::parse)
    }

    /// The value of the first line with this name.
    #[must_use]
    pub fn header(&self, name: HeaderName) -> Option<&[u8]> {
        self.lines.iter().find(|l| l.name == name).map(|l| l.value.of(&self.buf))
    }

    /// The value of the first line with this spelling, for names [`HeaderName`] does not list.
    #[must_use]
    pub fn header_text(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|h| h.0.eq_ignore_ascii_case(name.as_bytes())).map(|h| h.1)
    }

    /// The value of every line with this name.
    pub fn header_lines(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().filter(move |l| l.name == name).map(|l| l.value.of(&self.buf))
    }

    /// Every item of a comma-separated header over all its lines, in order.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.header_lines(name).flat_map(|v| lex::split_outside(v, b',')).filter(|v| !v.is_empty())
    }

    /// Name and value of every line, in order, as written.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|l| (l.text.of(&self.buf), l.value.of(&self.buf)))
    }

    /// The addresses in a comma-separated header, skipping what is not one.
    pub fn addresses(&self, name: HeaderName) -> impl Iterator<Item = NameAddr> {
        self.values(name).filter_map(|v| NameAddr::from_bytes(v).ok())
    }

    /// True when a comma-separated header holds this token, in any case.
    #[must_use]
    pub fn has_token(&self, name: HeaderName, token: &str) -> bool {
        self.values(name).any(|v| v.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// A header whose whole value is one number, or a number with a comment or parameters
    /// (`Retry-After: 5 (busy);duration=60`).
    #[must_use]
    pub fn number(&self, name: HeaderName) -> Option<u32> {
        let value = self.header(name)?;
        let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
        lex::number(&value[..digits], u64::from(u32::MAX)).map(|n| n as u32)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.body.of(&self.buf)
    }

    /// The media type of the body in lower case without parameters; empty without Content-Type.
    #[must_use]
    pub fn content_type(&self) -> String {
        let value = self.header(HeaderName::ContentType).unwrap_or(&[]);
        let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
        lex::Lossy(lex::trim(&value[..end])).to_string().to_ascii_lowercase()
    }

    /// The session description: the body itself, or the `application/sdp` part of a multipart.
    #[must_use]
    pub fn sdp(&self) -> Option<&[u8]> {
        if self.body.is_empty() {
            return None;
        }
        let value = self.header(HeaderName::ContentType)?;
        if media_type_is(value, b"application/sdp") {
            return Some(self.body());
        }
        if !media_type_starts(value, b"multipart/") {
            return None;
        }
        let boundary = lex::unquote(lex::param(after_type(value), b"boundary")?);
        body_parts(self.body(), boundary.as_bytes())?
            .into_iter()
            .find(|p| media_type_is(p.content_type, b"application/sdp"))
            .map(|p| p.body)
    }

    /// The bytes of the whole message without what followed it in the datagram.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.buf
    }

    pub(crate) fn raw_from(&self) -> &[u8] {
        self.header(HeaderName::From).unwrap_or(&[])
    }

    pub(crate) fn raw_to(&self) -> &[u8] {
        self.header(HeaderName::To).unwrap_or(&[])
    }

    /// The one Contact an INVITE dialog needs (RFC 3261 §8.1.1.8).
    pub(crate) fn contact(&self) -> Option<Uri> {
        let value = self.values(HeaderName::Contact).next()?;
        RawAddr::parse(value).ok()?.uri().ok()
    }
}

fn after_type(value: &[u8]) -> &[u8] {
    value.iter().position(|&b| b == b';').map_or(&[], |at| &value[at..])
}

fn media_type(value: &[u8]) -> &[u8] {
    lex::trim(value.split(|&b| b == b';').next().unwrap_or(&[]))
}

fn media_type_is(value: &[u8], want: &[u8]) -> bool {
    media_type(value).eq_ignore_ascii_case(want)
}

fn media_type_starts(value: &[u8], want: &[u8]) -> bool {
    media_type(value).get(..want.len()).is_some_and(|v| v.eq_ignore_ascii_case(want))
}

/// One part of a multipart body (RFC 2046 §5.1).
struct BodyPart<'a> {
    content_type: &'a [u8],
    body: &'a [u8],
}

/// Cuts a multipart body; `None` above [`BODY_PARTS_MAX`] or without a boundary.
fn body_parts<'a>(body: &'a [u8], boundary: &[u8]) -> Option<Vec<BodyPart<'a>>> {
    if boundary.is_empty() || boundary.len() > 70 {
        return None;
    }
    let mut delimiter = b"--".to_vec();
    delimiter.extend_from_slice(boundary);
    let mut parts = Vec::new();
    let mut at = find(body, &delimiter, 0)?;
    loop {
        let mut start = at + delimiter.len();
        if body.get(start..start + 2) == Some(b"--") {
            return Some(parts);
        }
        start = find(body, b"\r\n", start)? + 2;
        let Some(next) = find(body, &delimiter, start) else {
            return Some(parts);
        };
        if parts.len() == BODY_PARTS_MAX {
            return None;
        }
        let part = body[start..next].strip_suffix(b"\r\n").unwrap_or(&body[start..next]);
        parts.push(split_part(part));
        at = next;
    }
}

fn split_part(part: &[u8]) -> BodyPart<'_> {
    let (head, body) = if let Some(body) = part.strip_prefix(b"\r\n") {
        (&[][..], body)
    } else if let Some(end) = find(part, b"\r\n\r\n", 0) {
        (&part[..end], &part[end + 4..])
    } else {
        (&[][..], part)
    };
    let content_type = head
        .split(|&b| b == b'\n')
        .find_map(|line| {
            let colon = line.iter().position(|&b| b == b':')?;
            lex::trim(&line[..colon])
                .eq_ignore_ascii_case(b"content-type")
                .then(|| line[colon + 1..].strip_suffix(b"\r").unwrap_or(&line[colon + 1..]))
        })
        .unwrap_or(&[]);
    BodyPart { content_type, body }
}

pub(crate) fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = from;
    loop {
        at += haystack.get(at..)?.iter().position(|&b| b == first)?;
        if haystack.get(at..at + needle.len())? == needle {
            return Some(at);
        }
        at += 1;
    }
}
