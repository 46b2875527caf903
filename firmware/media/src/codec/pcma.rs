//! G.711 A-law (ITU-T G.711 table 1): 8 kHz, one byte a sample, 64 kbit/s.

use super::{Codec, CodecError, CodecId, Decode, Encode};
use crate::frame::Rate;

/// The row of [`CODECS`](super::CODECS).
pub const CODEC: Codec = Codec {
    id: CodecId::Pcma,
    name: "PCMA",
    payload_type: Some(8),
    clock_hz: 8_000,
    channels: 1,
    fmtp: None,
    rate: Rate::Narrow,
    byte_a_tick: true,
    encoder,
    decoder,
};

/// The byte that stands for silence (the smallest positive value, 8).
pub const SILENCE: u8 = 0xd5;

/// Every second bit is inverted on the line (G.711 §3.2, note 2 of table 1).
const EVEN_BITS: u8 = 0x55;

const LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let code = byte as u8 ^ EVEN_BITS;
        let segment = (code >> 4) & 7;
        let step = ((code & 15) as i32) << 4;
        let magnitude = match segment {
            0 => step + 8,
            _ => (step + 0x108) << (segment - 1),
        };
        table[byte] = if code & 0x80 != 0 { magnitude } else { -magnitude } as i16;
        byte += 1;
    }
    table
};

/// The linear value of an A-law byte.
#[must_use]
pub const fn to_linear(byte: u8) -> i16 {
    LINEAR[byte as usize]
}

/// The A-law byte nearest to a linear value.
#[must_use]
pub const fn from_linear(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 { (0, !sample as u32 >> 3) } else { (0x80, sample as u32 >> 3) };
    let code = if magnitude < 32 {
        magnitude >> 1
    } else {
        let segment = 27 - magnitude.leading_zeros();
        (segment << 4) | ((magnitude >> segment) & 15)
    };
    (code as u8 | sign) ^ EVEN_BITS
}

struct Pcma;

fn encoder() -> Result<Box<dyn Encode>, CodecError> {
    Ok(Box::new(Pcma))
}

fn decoder() -> Result<Box<dyn Decode>, CodecError> {
    Ok(Box::new(Pcma))
}

impl Encode for Pcma {
    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> usize {
        payload.iter_mut().zip(samples).map(|(to, from)| *to = from_linear(*from)).count()
    }
}

impl Decode for Pcma {
    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> usize {
        samples.iter_mut().zip(payload).map(|(to, from)| *to = to_linear(*from)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_of_the_standard() {
        assert_eq!((to_linear(0xd5), to_linear(0x55)), (8, -8));
        assert_eq!((to_linear(0xaa), to_linear(0x2a)), (32_256, -32_256));
        assert_eq!(from_linear(0), SILENCE);
        assert_eq!((from_linear(i16::MAX), from_linear(i16::MIN)), (0xaa, 0x2a));
    }

    #[test]
    fn every_byte_survives_and_every_sample_is_near() {
        for byte in 0..=255u8 {
            assert_eq!(from_linear(to_linear(byte)), byte);
        }
        for sample in i16::MIN..=i16::MAX {
            let error = (i32::from(to_linear(from_linear(sample))) - i32::from(sample)).abs();
            let limit = (i32::from(sample).abs() / 32).max(8) + 1;
            assert!(error <= limit, "{sample}: {error}");
        }
    }
}
