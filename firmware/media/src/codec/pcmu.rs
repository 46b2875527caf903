//! G.711 µ-law (ITU-T G.711 table 2): 8 kHz, one byte a sample, 64 kbit/s.

use super::{Codec, CodecError, CodecId, Decode, Encode};
use crate::frame::Rate;

/// The row of [`CODECS`](super::CODECS).
pub const CODEC: Codec = Codec {
    id: CodecId::Pcmu,
    name: "PCMU",
    payload_type: Some(0),
    clock_hz: 8_000,
    channels: 1,
    fmtp: None,
    rate: Rate::Narrow,
    byte_a_tick: true,
    encoder,
    decoder,
};

/// The byte that stands for silence.
pub const SILENCE: u8 = 0xff;

/// Added to the magnitude so that every segment begins at a power of two.
const BIAS: i32 = 132;
/// Greatest magnitude that has a code of its own.
const MAGNITUDE_MAX: i32 = 32_635;

const LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let code = !(byte as u8);
        let segment = (code >> 4) & 7;
        let step = (code & 15) as i32;
        let magnitude = (((step << 3) + BIAS) << segment) - BIAS;
        table[byte] = if code & 0x80 != 0 { -magnitude } else { magnitude } as i16;
        byte += 1;
    }
    table
};

/// The linear value of a µ-law byte.
#[must_use]
pub const fn to_linear(byte: u8) -> i16 {
    LINEAR[byte as usize]
}

/// The µ-law byte nearest to a linear value.
#[must_use]
pub const fn from_linear(sample: i16) -> u8 {
    let wide = sample as i32;
    let (sign, magnitude) = if wide < 0 { (0x80, -wide) } else { (0, wide) };
    let held = if magnitude > MAGNITUDE_MAX { MAGNITUDE_MAX } else { magnitude };
    let biased = (held + BIAS) as u32;
    // The lowest biased value is 132, so the segment is 0 to 7.
    let segment = 24 - biased.leading_zeros();
    let step = (biased >> (segment + 3)) & 15;
    !(sign | (segment << 4) as u8 | step as u8)
}

struct Pcmu;

fn encoder() -> Result<Box<dyn Encode>, CodecError> {
    Ok(Box::new(Pcmu))
}

fn decoder() -> Result<Box<dyn Decode>, CodecError> {
    Ok(Box::new(Pcmu))
}

impl Encode for Pcmu {
    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> usize {
        payload.iter_mut().zip(samples).map(|(to, from)| *to = from_linear(*from)).count()
    }
}

impl Decode for Pcmu {
    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> usize {
        samples.iter_mut().zip(payload).map(|(to, from)| *to = to_linear(*from)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_of_the_standard() {
        // G.711 table 2: the ends of the scale, both zeros, and the decision at 4063.
        assert_eq!(to_linear(0x80), 32_124);
        assert_eq!(to_linear(0x00), -32_124);
        assert_eq!((to_linear(0xff), to_linear(0x7f)), (0, 0));
        assert_eq!(from_linear(0), SILENCE);
        assert_eq!((from_linear(i16::MAX), from_linear(i16::MIN)), (0x80, 0x00));
    }

    #[test]
    fn every_byte_survives_and_every_sample_is_near() {
        for byte in 0..=255u8 {
            // The two zeros share one linear value.
            let back = from_linear(to_linear(byte));
            assert!(back == byte || byte == 0x7f, "{byte:#x} came back as {back:#x}");
        }
        for sample in i16::MIN..=i16::MAX {
            let error = (i32::from(to_linear(from_linear(sample))) - i32::from(sample)).abs();
            let limit = (i32::from(sample).abs() + BIAS) / 32 + 4;
            assert!(error <= limit.max(i32::from(sample).abs() - 32_124), "{sample}: {error}");
        }
    }
}
