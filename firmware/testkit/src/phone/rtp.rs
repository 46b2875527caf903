//! RTP packets (RFC 3550 §5.1) and telephone events (RFC 4733 §2.3), apart from those under test.

use tipring_model::Digit;

/// Bytes of the header that is written.
const HEADER_BYTES: usize = 12;

/// One packet with audio or an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Packet {
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    pub(super) payload: Vec<u8>,
}

impl Packet {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.payload.len());
        bytes.push(0x80);
        bytes.push(self.payload_type & 0x7f | u8::from(self.marker) << 7);
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.timestamp.to_be_bytes());
        bytes.extend_from_slice(&self.ssrc.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Reads a packet without contributors, extension and padding: the box sends no others.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, payload) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [first, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3] = *head;
        (first == 0x80 && !(192..224).contains(&second)).then(|| Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
            payload: payload.to_vec(),
        })
    }
}

/// The payload of a telephone event, 10 dB below full scale.
pub(super) fn event_payload(digit: Digit, end: bool, ticks: u16) -> Vec<u8> {
    let [high, low] = ticks.to_be_bytes();
    vec![digit.event(), u8::from(end) << 7 | 10, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_the_standard() {
        let packet = Packet {
            marker: true,
            payload_type: 101,
            sequence: 0x1234,
            timestamp: 160,
            ssrc: 7,
            payload: event_payload(Digit::D1, true, 800),
        };
        let bytes = [0x80, 0xe5, 0x12, 0x34, 0, 0, 0, 160, 0, 0, 0, 7, 1, 0x8a, 3, 0x20];
        assert_eq!(packet.to_bytes(), bytes);
        assert_eq!(Packet::parse(&bytes), Some(packet));
        assert_eq!(Packet::parse(&bytes[..11]), None);
    }
}
