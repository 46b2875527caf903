//! The RTP header (RFC 3550 §5.1), read with every length checked.

/// Bytes of a header without CSRC list and extension, the only kind we write.
pub const HEADER_BYTES: usize = 12;

/// Longest datagram read, in bytes; what is longer is counted as malformed.
pub const PACKET_BYTES_MAX: usize = 1_500;

mod field {
    //! Byte ranges of the fixed header.
    use core::ops::Range;
    pub(super) const SEQUENCE: Range<usize> = 2..4;
    pub(super) const TIMESTAMP: Range<usize> = 4..8;
    pub(super) const SSRC: Range<usize> = 8..12;
}

/// The fields of a header that matter to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Set on the first packet of a talkspurt.
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Rises by one with each packet.
    pub sequence: u16,
    /// Sampling instant of the first sample, in ticks of the codec's clock.
    pub timestamp: u32,
    /// Who speaks.
    pub ssrc: u32,
}

/// A packet that was read: header, and where the payload lies in the datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// The header.
    pub header: Header,
    /// The payload without padding. May be empty.
    pub payload: &'a [u8],
}

/// Why a datagram is no RTP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// Shorter than its own header says.
    #[error("shorter than its header says")]
    Short,
    /// The version is not 2: STUN, DTLS, noise.
    #[error("not RTP version 2")]
    Version,
    /// A control packet on the media port (RFC 5761 §4).
    #[error("an RTCP packet")]
    Control,
    /// More padding than payload, or none where some is announced.
    #[error("padding does not fit")]
    Padding,
}

impl<'a> Packet<'a> {
    /// Reads one datagram.
    ///
    /// # Errors
    /// See [`ParseError`]; nothing is read beyond the datagram's end.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let (fixed, mut rest) = datagram.split_at_checked(HEADER_BYTES).ok_or(ParseError::Short)?;
        if fixed[0] >> 6 != 2 {
            return Err(ParseError::Version);
        }
        if (192..224).contains(&fixed[1]) {
            return Err(ParseError::Control);
        }
        let csrc_bytes = usize::from(fixed[0] & 15) * 4;
        rest = rest.get(csrc_bytes..).ok_or(ParseError::Short)?;
        if fixed[0] & 0x10 != 0 {
            let (extension, after) = rest.split_at_checked(4).ok_or(ParseError::Short)?;
            let words = usize::from(u16::from_be_bytes([extension[2], extension[3]]));
            rest = after.get(words * 4..).ok_or(ParseError::Short)?;
        }
        if fixed[0] & 0x20 != 0 {
            let padding = usize::from(rest.last().copied().ok_or(ParseError::Padding)?);
            if padding == 0 || padding > rest.len() {
                return Err(ParseError::Padding);
            }
            rest = &rest[..rest.len() - padding];
        }
        Ok(Self {
            header: Header {
                marker: fixed[1] & 0x80 != 0,
                payload_type: fixed[1] & 0x7f,
                sequence: u16::from_be_bytes(array(&fixed[field::SEQUENCE])),
                timestamp: u32::from_be_bytes(array(&fixed[field::TIMESTAMP])),
                ssrc: u32::from_be_bytes(array(&fixed[field::SSRC])),
            },
            payload: rest,
        })
    }
}

impl Header {
    /// The twelve bytes on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = 0x80;
        bytes[1] = self.payload_type & 0x7f | u8::from(self.marker) << 7;
        bytes[field::SEQUENCE].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[field::TIMESTAMP].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[field::SSRC].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET_BYTES: [u8; 16] =
        [0x80, 0xe5, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef, 5, 0x0a, 0x03, 0x20];

    #[test]
    fn deconstruct_and_construct() {
        let packet = Packet::parse(&PACKET_BYTES).unwrap();
        let header =
            Header { marker: true, payload_type: 101, sequence: 0x1234, timestamp: 160, ssrc: 0xdead_beef };
        assert_eq!(packet.header, header);
        assert_eq!(packet.payload, [5, 0x0a, 0x03, 0x20]);
        assert_eq!(header.to_bytes(), PACKET_BYTES[..12]);
    }

    #[test]
    fn lists_extensions_and_padding_are_passed_over_or_refused() {
        let with = |first: u8, tail: &[u8]| {
            let mut bytes = PACKET_BYTES[..12].to_vec();
            bytes[0] = first;
            bytes.extend_from_slice(tail);
            bytes
        };
        let read = |bytes: &[u8]| Packet::parse(bytes).map(|p| p.payload.to_vec());
        assert_eq!(read(&with(0x81, &[1, 2, 3, 4, 9])), Ok(vec![9]));
        assert_eq!(read(&with(0x8f, &[0; 59])), Err(ParseError::Short));
        assert_eq!(read(&with(0x90, &[0, 0, 0, 1, 7, 7, 7, 7, 9])), Ok(vec![9]));
        assert_eq!(read(&with(0x90, &[0, 0, 255, 255, 1])), Err(ParseError::Short));
        assert_eq!(read(&with(0xa0, &[9, 0, 2])), Ok(vec![9]));
        assert_eq!(read(&with(0xa0, &[9, 0, 4])), Err(ParseError::Padding));
        assert_eq!(read(&with(0xa0, &[9, 0, 0])), Err(ParseError::Padding));
        assert_eq!(read(&with(0xa0, &[])), Err(ParseError::Padding));
        assert_eq!(read(&with(0x80, &[])), Ok(vec![]));
        assert_eq!(read(&PACKET_BYTES[..11]), Err(ParseError::Short));
        assert_eq!(read(&with(0x40, &[])), Err(ParseError::Version));
        let mut control = PACKET_BYTES;
        control[1] = 200;
        assert_eq!(read(&control), Err(ParseError::Control));
    }
}
