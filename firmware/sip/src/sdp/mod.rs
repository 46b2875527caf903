//! Session descriptions (RFC 8866) and offer/answer (RFC 3264) for one audio stream.
//!
//! The application keeps a [`Local`] a call. It makes offers with [`Local::offer`], answers with
//! [`answer`] and reads answers with [`read_answer`]; both give a [`Negotiated`]. Each changed
//! description raises [`Local::version`].
//!
//! Deliberately absent: SRTP, ICE, video, bundling. What asks for them is refused: another
//! stream with port 0, a profile other than `RTP/AVP` with [`SdpError::Profile`].

mod negotiate;
mod parse;

pub use negotiate::{Negotiated, TelephoneEvent, answer, read_answer};
pub use parse::{Media, RtpMap, Session};

use std::fmt;
use std::net::IpAddr;

/// Longest description read, in bytes.
pub const SDP_BYTES_MAX: usize = 8 * 1024;
/// Most lines read.
pub const SDP_LINES_MAX: usize = 256;
/// Most media lines read.
pub const MEDIA_MAX: usize = 8;
/// Most payload types of one media line.
pub const FORMATS_MAX: usize = 32;

/// Why a description cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdpError {
    /// Not a session description, or one above a limit: 400.
    Malformed,
    /// No audio stream, or every one switched off with port 0: 488.
    NoAudio,
    /// Audio only over a profile this side does not do, such as `RTP/SAVP`: 488.
    Profile,
    /// No codec in common: 488.
    NoCodec,
    /// No usable address for the audio, such as one of the other family, or a multicast or
    /// unspecified one: 488.
    Address,
    /// An answer that does not fit the offer it belongs to.
    Mismatch,
}

impl SdpError {
    /// The status to refuse an INVITE with.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            SdpError::Malformed => 400,
            SdpError::NoAudio
            | SdpError::Profile
            | SdpError::NoCodec
            | SdpError::Address
            | SdpError::Mismatch => 488,
        }
    }
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SdpError::Malformed => "malformed session description",
            SdpError::NoAudio => "no audio stream",
            SdpError::Profile => "unsupported media profile",
            SdpError::NoCodec => "no common codec",
            SdpError::Address => "no usable media address",
            SdpError::Mismatch => "answer does not fit the offer",
        })
    }
}

impl std::error::Error for SdpError {}

/// Which way audio flows, seen from the side that says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// This side speaks only: it holds the other.
    SendOnly,
    /// This side listens only.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// The attribute's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    /// From whether this side sends and receives.
    #[must_use]
    pub fn new(sends: bool, receives: bool) -> Direction {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// True when this side sends.
    #[must_use]
    pub fn sends(self) -> bool {
        match self {
            Direction::SendRecv | Direction::SendOnly => true,
            Direction::RecvOnly | Direction::Inactive => false,
        }
    }

    /// True when this side receives.
    #[must_use]
    pub fn receives(self) -> bool {
        match self {
            Direction::SendRecv | Direction::RecvOnly => true,
            Direction::SendOnly | Direction::Inactive => false,
        }
    }

    /// The same seen from the other side.
    #[must_use]
    pub fn reversed(self) -> Direction {
        Direction::new(self.receives(), self.sends())
    }

    /// What is left when both sides have their say, seen from `self`'s side (RFC 3264 §6.1).
    #[must_use]
    pub fn meet(self, theirs: Direction) -> Direction {
        Direction::new(self.sends() && theirs.receives(), self.receives() && theirs.sends())
    }
}

/// One codec with the payload type this side likes for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    /// Encoding name as in `a=rtpmap`, such as `PCMA`; compared in any case.
    pub name: String,
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// RTP clock rate in Hz; 8000 for G.722 too (RFC 3551 §4.5.2).
    pub clock_rate: u32,
    /// Audio channels as `a=rtpmap` counts them; 1 for all but Opus, which says 2.
    pub channels: u8,
    /// `a=fmtp` parameters.
    pub fmtp: Option<String>,
}

impl Codec {
    /// A codec with one channel and no parameters.
    #[must_use]
    pub fn new(name: &str, payload_type: u8, clock_rate: u32) -> Codec {
        Codec { name: name.to_owned(), payload_type, clock_rate, channels: 1, fmtp: None }
    }

    /// Same encoding, whatever its payload type.
    #[must_use]
    pub fn same_encoding(&self, name: &str, clock_rate: u32, channels: u8) -> bool {
        self.name.eq_ignore_ascii_case(name)
            && self.clock_rate == clock_rate
            && self.channels.max(1) == channels.max(1)
    }
}

/// What this side of a call can do and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Address that peers send audio to.
    pub address: IpAddr,
    /// RTP port.
    pub port: u16,
    /// `o=` session id: any number, the same for the whole call.
    pub session_id: u64,
    /// `o=` version: raised by one for each description that differs from the last
    /// (RFC 3264 §8).
    pub version: u64,
    /// Codecs by preference.
    pub codecs: Vec<Codec>,
    /// Payload type for telephone-event (RFC 4733); `None` to do without.
    pub telephone_event: Option<u8>,
    /// Packet time in milliseconds.
    pub ptime_ms: u16,
    /// What this side wants; `SendOnly` holds the peer.
    pub direction: Direction,
}

impl Local {
    /// An offer with everything this side can do.
    #[must_use]
    pub fn offer(&self) -> Vec<u8> {
        let mut out = String::with_capacity(512);
        self.write_session(&mut out);
        let codecs: Vec<&Codec> = self.codecs.iter().collect();
        self.write_audio(&mut out, &codecs, self.events_for(&codecs), self.direction);
        out.into_bytes()
    }

    /// telephone-event at the clock rate of the first codec (RFC 4733 §2.5.1.1).
    fn events_for(&self, codecs: &[&Codec]) -> Option<(u8, u32)> {
        let rate = codecs.first().map_or(8000, |c| c.clock_rate);
        self.telephone_event.map(|pt| (pt, rate))
    }

    fn write_session(&self, out: &mut String) {
        use fmt::Write as _;
        let family = if self.address.is_ipv4() { "IP4" } else { "IP6" };
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "v=0\r\no=- {} {} IN {family} {}\r\ns=-\r\nc=IN {family} {}\r\nt=0 0\r\n",
            self.session_id, self.version, self.address, self.address
        );
    }

    fn write_audio(
        &self,
        out: &mut String,
        codecs: &[&Codec],
        events: Option<(u8, u32)>,
        direction: Direction,
    ) {
        use fmt::Write as _;
        let _ = write!(out, "m=audio {} RTP/AVP", self.port);
        for codec in codecs {
            let _ = write!(out, " {}", codec.payload_type);
        }
        if let Some((pt, _)) = events {
            let _ = write!(out, " {pt}");
        }
        out.push_str("\r\n");
        for codec in codecs {
            let _ = write!(out, "a=rtpmap:{} {}/{}", codec.payload_type, codec.name, codec.clock_rate);
            if codec.channels > 1 {
                let _ = write!(out, "/{}", codec.channels);
            }
            out.push_str("\r\n");
            if let Some(fmtp) = &codec.fmtp {
                let _ = write!(out, "a=fmtp:{} {}\r\n", codec.payload_type, fmtp);
            }
        }
        if let Some((pt, rate)) = events {
            let _ = write!(out, "a=rtpmap:{pt} telephone-event/{rate}\r\na=fmtp:{pt} 0-15\r\n");
        }
        let _ = write!(out, "a=ptime:{}\r\na={}\r\n", self.ptime_ms, direction.as_str());
    }
}
