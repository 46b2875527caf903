//! What is wrong with bytes that are not a message.

use std::fmt;

use super::Message;
use crate::header::HeaderName;

/// Why bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing but line ends: a keep-alive. Drop.
    Empty,
    /// Longer than the limit of its transport.
    TooLong,
    /// Not `METHOD SP URI SP SIP/2.0` nor `SIP/2.0 SP status SP reason`.
    StartLine,
    /// A version other than `SIP/2.0`; a request is answered 505.
    Version,
    /// A request-URI of `sip`, `sips` or `tel` that is malformed.
    RequestUri,
    /// A status outside 100 to 699.
    Status,
    /// A control character, or a CR or LF that is not part of a line end.
    Control,
    /// A header line that begins with white space.
    ///
    /// RFC 3261 §7.3.1 allows folding; this crate refuses it (400), because two elements that
    /// unfold differently see different headers, and nothing in use today sends it.
    Folded,
    /// White space before the colon, no colon, or a name that is not a token.
    HeaderName,
    /// More than [`HEADERS_MAX`](super::HEADERS_MAX) lines.
    TooManyHeaders,
    /// More than [`VIAS_MAX`](super::VIAS_MAX) Via values.
    TooManyVias,
    /// The end came before the empty line.
    Truncated,
    /// A header that may appear only once appeared again.
    Duplicate(HeaderName),
    /// A mandatory header is absent (RFC 3261 §8.1.1).
    Missing(HeaderName),
    /// A header whose value is malformed.
    Value(HeaderName),
    /// The CSeq method differs from the request's.
    CSeqMismatch,
    /// Content-Length says more than there is.
    BodyTooShort,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Empty => f.write_str("empty"),
            Fault::TooLong => f.write_str("too long"),
            Fault::StartLine => f.write_str("bad start line"),
            Fault::Version => f.write_str("unsupported version"),
            Fault::RequestUri => f.write_str("bad request-URI"),
            Fault::Status => f.write_str("bad status"),
            Fault::Control => f.write_str("control character"),
            Fault::Folded => f.write_str("folded header"),
            Fault::HeaderName => f.write_str("bad header name"),
            Fault::TooManyHeaders => f.write_str("too many headers"),
            Fault::TooManyVias => f.write_str("too many vias"),
            Fault::Truncated => f.write_str("no end of headers"),
            Fault::Duplicate(name) => write!(f, "duplicate {}", name.as_str()),
            Fault::Missing(name) => write!(f, "missing {}", name.as_str()),
            Fault::Value(name) => write!(f, "bad {}", name.as_str()),
            Fault::CSeqMismatch => f.write_str("cseq method mismatch"),
            Fault::BodyTooShort => f.write_str("body shorter than content-length"),
        }
    }
}

/// Bytes that were refused, with what is needed to answer them.
#[derive(Clone, Debug)]
pub struct ParseError {
    /// The first fault found.
    pub fault: Fault,
    /// The request as far as it could be read, when it has what a response copies (Via, From,
    /// To, Call-ID, CSeq) and is not an ACK. `None`: drop.
    pub request: Option<Box<Message>>,
}

impl ParseError {
    /// The status to answer with, or `None` when the bytes must be dropped.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.request.as_ref()?;
        Some(match self.fault {
            Fault::Version => 505,
            Fault::TooLong => 513,
            Fault::Empty
            | Fault::StartLine
            | Fault::RequestUri
            | Fault::Status
            | Fault::Control
            | Fault::Folded
            | Fault::HeaderName
            | Fault::TooManyHeaders
            | Fault::TooManyVias
            | Fault::Truncated
            | Fault::Duplicate(_)
            | Fault::Missing(_)
            | Fault::Value(_)
            | Fault::CSeqMismatch
            | Fault::BodyTooShort => 400,
        })
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for ParseError {}
