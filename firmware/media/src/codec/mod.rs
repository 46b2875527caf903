//! Speech codecs, one a file, and the [`CODECS`] table.
//!
//! An encoder takes 20 ms of linear samples at the codec's own rate; a decoder
//! takes one payload. Both are built outside the media thread and allocate
//! nothing afterwards.

pub mod g722;
pub mod opus;
pub mod pcma;
pub mod pcmu;

use crate::frame::Rate;

/// Longest payload that any encoder here writes for 20 ms, in bytes.
pub const PAYLOAD_MAX: usize = 400;

/// Longest stretch that one packet may carry, in milliseconds (RFC 7587 §4.2 names
/// 120 for Opus).
pub const PACKET_MS_MAX: usize = 120;

/// Names a row of [`CODECS`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CodecId {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s.
    G722,
    /// Opus, mono, run at 16 kHz.
    Opus,
}

/// One codec: what SDP says about it (RFC 3551 §6, RFC 7587) and how to build it.
#[derive(Debug)]
pub struct Codec {
    /// Which one.
    pub id: CodecId,
    /// Encoding name in `a=rtpmap`; compared without regard to case.
    pub name: &'static str,
    /// Static payload type, if it has one.
    pub payload_type: Option<u8>,
    /// RTP clock rate in Hz. That of G.722 is 8000 by decree (RFC 3551 §4.5.2).
    pub clock_hz: u32,
    /// Channels in `a=rtpmap`: 2 for Opus by decree (RFC 7587 §7), though we speak mono.
    pub channels: u8,
    /// Our `a=fmtp` parameters.
    pub fmtp: Option<&'static str>,
    /// Rate of the linear samples on our side.
    pub rate: Rate,
    /// True if every RTP tick is one payload byte, so that a payload may be cut
    /// anywhere: G.711 and G.722.
    pub byte_a_tick: bool,
    /// Builds an encoder; allocates.
    pub encoder: fn() -> Result<Box<dyn Encode>, CodecError>,
    /// Builds a decoder; allocates.
    pub decoder: fn() -> Result<Box<dyn Decode>, CodecError>,
}

/// Every codec there is.
pub static CODECS: [Codec; 4] = [pcmu::CODEC, pcma::CODEC, g722::CODEC, opus::CODEC];

impl CodecId {
    /// Position in [`CODECS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The row of [`CODECS`].
    #[must_use]
    pub fn codec(self) -> &'static Codec {
        &CODECS[self.index()]
    }

    /// The codec of this `a=rtpmap` name and clock rate.
    #[must_use]
    pub fn find(name: &str, clock_hz: u32) -> Option<Self> {
        CODECS.iter().find(|c| c.name.eq_ignore_ascii_case(name) && c.clock_hz == clock_hz).map(|c| c.id)
    }

    /// The codec of this static payload type (RFC 3551 §6).
    #[must_use]
    pub fn of_static(payload_type: u8) -> Option<Self> {
        CODECS.iter().find(|c| c.payload_type == Some(payload_type)).map(|c| c.id)
    }
}

impl Codec {
    /// RTP ticks in 20 ms: 160, or 960 for Opus.
    #[must_use]
    pub const fn frame_ticks(&self) -> u32 {
        self.clock_hz / 50
    }

    /// RTP ticks in 1 ms.
    #[must_use]
    pub const fn ticks_per_ms(&self) -> u32 {
        self.clock_hz / 1_000
    }
}

/// Turns linear samples into payload.
pub trait Encode: Send {
    /// Encodes 20 ms of samples at the codec's rate into `payload` (at least
    /// [`PAYLOAD_MAX`] bytes) and returns how many bytes were written; 0 if the
    /// codec failed.
    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> usize;
}

/// Turns payload into linear samples.
pub trait Decode: Send {
    /// Decodes one payload into `samples` and returns how many were written, at
    /// most `samples.len()`; 0 if the payload makes no sense.
    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> usize;

    /// Fills `samples` in place of a lost packet. `next` is the packet that follows
    /// it, when that has arrived already: some codecs carry a spare copy there.
    /// Returns 0 if the codec knows nothing better than the generic concealment.
    fn conceal(&mut self, next: Option<&[u8]>, samples: &mut [i16]) -> usize {
        let _ = (next, samples);
        0
    }
}

/// Why a codec could not be built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    /// The Opus library refused; most likely memory ran out.
    #[error("the Opus library refused to start")]
    Opus,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_ids() {
        for (at, codec) in CODECS.iter().enumerate() {
            assert_eq!(codec.id.index(), at);
            assert_eq!(CodecId::find(codec.name, codec.clock_hz), Some(codec.id));
        }
        assert_eq!(CodecId::find("OPUS", 48_000), Some(CodecId::Opus));
        assert_eq!(CodecId::of_static(9), Some(CodecId::G722));
        assert_eq!(CodecId::of_static(3), None);
    }
}
