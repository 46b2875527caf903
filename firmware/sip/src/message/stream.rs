//! Cutting messages out of a byte stream (RFC 3261 §18.3, RFC 5626 §3.5.1).

use std::fmt;

use super::{STREAM_MESSAGE_BYTES_MAX, find};
use crate::header::HeaderName;
use crate::lex;

/// What a stream held next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// One whole message for [`Message::from_frame`](super::Message::from_frame).
    Message(&'a [u8]),
    /// A double CRLF: answer with a single one.
    Ping,
}

/// Why a stream cannot be read on; the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// No Content-Length, two of them, or one that is not a plain number.
    ContentLength,
    /// More than [`STREAM_MESSAGE_BYTES_MAX`].
    TooLong,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrameError::ContentLength => "no usable content-length",
            FrameError::TooLong => "message too long for a stream",
        })
    }
}

impl std::error::Error for FrameError {}

/// Collects bytes of one connection and gives out whole messages.
///
/// Holds at most one message of [`STREAM_MESSAGE_BYTES_MAX`] plus what was pushed last; take
/// until `None` after each push.
#[derive(Debug, Default)]
pub struct StreamFramer {
    buf: Vec<u8>,
    /// Bytes given out already.
    used: usize,
    /// How far the end of the headers has been looked for.
    searched: usize,
    failed: Option<FrameError>,
}

impl StreamFramer {
    /// An empty framer, one a connection.
    #[must_use]
    pub fn new() -> StreamFramer {
        StreamFramer::default()
    }

    /// Adds bytes read from the connection.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if self.used > 0 {
            self.buf.drain(..self.used);
            self.searched = self.searched.saturating_sub(self.used);
            self.used = 0;
        }
        self.buf.extend_from_slice(bytes);
    }

    /// Bytes held back for a message that is not complete yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buf.len() - self.used
    }

    /// The next whole message, or `None` until more bytes came.
    ///
    /// # Errors
    /// [`FrameError`]: close the connection; every later call repeats it.
    pub fn take(&mut self) -> Option<Result<Frame<'_>, FrameError>> {
        if let Some(error) = self.failed {
            return Some(Err(error));
        }
        loop {
            match self.buf.get(self.used..) {
                Some([b'\r', b'\n', b'\r', b'\n', ..]) => {
                    self.used += 4;
                    return Some(Ok(Frame::Ping));
                }
                // A CRLF may be half of a ping; it is skipped once something else follows.
                Some([b'\r', b'\n', b'\r'] | [b'\r', b'\n'] | [b'\r'] | []) | None => return None,
                Some([b'\r', b'\n', ..]) => self.used += 2,
                Some(_) => break,
            }
        }
        let from = self.searched.max(self.used);
        let Some(end) = find(&self.buf, b"\r\n\r\n", from) else {
            self.searched = self.buf.len().saturating_sub(3).max(self.used);
            if self.pending() > STREAM_MESSAGE_BYTES_MAX {
                return Some(Err(self.fail(FrameError::TooLong)));
            }
            return None;
        };
        self.searched = end;
        let body = end + 4;
        let Some(length) = content_length(&self.buf[self.used..end]) else {
            return Some(Err(self.fail(FrameError::ContentLength)));
        };
        if body - self.used + length > STREAM_MESSAGE_BYTES_MAX {
            return Some(Err(self.fail(FrameError::TooLong)));
        }
        let total_end = body + length;
        if self.buf.len() < total_end {
            return None;
        }
        let start = self.used;
        self.used = total_end;
        self.searched = total_end;
        Some(Ok(Frame::Message(&self.buf[start..total_end])))
    }

    fn fail(&mut self, error: FrameError) -> FrameError {
        self.failed = Some(error);
        self.buf = Vec::new();
        self.used = 0;
        self.searched = 0;
        error
    }
}

/// The one Content-Length among header lines.
fn content_length(head: &[u8]) -> Option<usize> {
    let mut found = None;
    for line in head.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            continue;
        };
        if HeaderName::from_bytes(&line[..colon]) == HeaderName::ContentLength {
            if found.is_some() {
                return None;
            }
            found = Some(lex::number(lex::trim(&line[colon + 1..]), u64::from(u32::MAX))? as usize);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nl: 0\r\n\r\n";
    const TWO: &[u8] = b"INFO sip:a@b SIP/2.0\r\nX: y\r\nContent-Length:  12 \r\n\r\nSignal=1\r\n\r\n";

    fn all(framer: &mut StreamFramer, got: &mut Vec<Vec<u8>>) {
        while let Some(frame) = framer.take() {
            match frame.unwrap() {
                Frame::Message(bytes) => got.push(bytes.to_vec()),
                Frame::Ping => got.push(b"ping".to_vec()),
            }
        }
    }

    #[test]
    fn cut_at_every_byte_and_every_pair_of_bytes() {
        let mut wire = Vec::new();
        wire.extend_from_slice(ONE);
        wire.extend_from_slice(b"\r\n\r\n");
        wire.extend_from_slice(TWO);
        wire.extend_from_slice(b"\r\n");
        wire.extend_from_slice(ONE);
        let want = vec![ONE.to_vec(), b"ping".to_vec(), TWO.to_vec(), ONE.to_vec()];
        for first in 0..wire.len() {
            for second in [first, (first + 1).min(wire.len()), (first + 7).min(wire.len()), wire.len()] {
                let mut framer = StreamFramer::new();
                let mut got = Vec::new();
                for piece in [&wire[..first], &wire[first..second], &wire[second..]] {
                    framer.push(piece);
                    all(&mut framer, &mut got);
                }
                assert_eq!(got, want, "cut at {first} and {second}");
                assert_eq!(framer.pending(), 0);
            }
        }
        let mut framer = StreamFramer::new();
        let mut got = Vec::new();
        for byte in &wire {
            framer.push(std::slice::from_ref(byte));
            all(&mut framer, &mut got);
        }
        assert_eq!(got, want);
    }

    #[test]
    fn bad_lengths_close() {
        for (head, want) in [
            ("X: 1", FrameError::ContentLength),
            ("Content-Length: -1", FrameError::ContentLength),
            ("Content-Length: 4294967296", FrameError::ContentLength),
            ("Content-Length: 1, 1", FrameError::ContentLength),
            ("Content-Length : 1", FrameError::ContentLength),
            ("Content-Length: 1\r\nl: 1", FrameError::ContentLength),
            ("Content-Length: 65536", FrameError::TooLong),
        ] {
            let mut framer = StreamFramer::new();
            framer.push(format!("OPTIONS sip:a@b SIP/2.0\r\n{head}\r\n\r\nx").as_bytes());
            assert_eq!(framer.take(), Some(Err(want)), "{head}");
            framer.push(ONE);
            assert_eq!(framer.take(), Some(Err(want)), "stays closed");
            assert_eq!(framer.pending(), 0);
        }
    }

    #[test]
    fn endless_headers_close() {
        let mut framer = StreamFramer::new();
        let mut error = None;
        for _ in 0..2000 {
            framer.push(&[b'a'; 100]);
            if let Some(Err(e)) = framer.take() {
                error = Some(e);
                break;
            }
        }
        assert_eq!(error, Some(FrameError::TooLong));
    }
}
