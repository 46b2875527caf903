//! How a modem has its samples: G.711, or linear of 8 or 16 bit.

use tipring_media::codec::{pcma, pcmu};

/// A form of samples at 8 kHz that both sides understand, the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SampleFormat {
    /// G.711 µ-law.
    MuLaw,
    /// G.711 A-law.
    ALaw,
    /// 8 bit, 128 is silence.
    Unsigned8,
    /// 8 bit, 0 is silence.
    Signed8,
    /// 16 bit, the low byte first.
    Signed16,
}

impl SampleFormat {
    /// Bytes of a sample.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::MuLaw | Self::ALaw | Self::Unsigned8 | Self::Signed8 => 1,
            Self::Signed16 => 2,
        }
    }

    /// The sample of these bytes; of the first alone if a sample has one.
    #[must_use]
    pub const fn decode(self, [first, second]: [u8; 2]) -> i16 {
        match self {
            Self::MuLaw => pcmu::to_linear(first),
            Self::ALaw => pcma::to_linear(first),
            Self::Unsigned8 => ((first ^ 0x80) as i8 as i16) << 8,
            Self::Signed8 => (first as i8 as i16) << 8,
            Self::Signed16 => i16::from_le_bytes([first, second]),
        }
    }

    /// The bytes of a sample; the first alone if it has one.
    #[must_use]
    pub const fn encode(self, sample: i16) -> [u8; 2] {
        // To the nearest of 256 steps.
        let high = (sample.saturating_add(128) >> 8) as u8;
        match self {
            Self::MuLaw => [pcmu::from_linear(sample), 0],
            Self::ALaw => [pcma::from_linear(sample), 0],
            Self::Unsigned8 => [high ^ 0x80, 0],
            Self::Signed8 => [high, 0],
            Self::Signed16 => sample.to_le_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_back_as_near_as_their_form_allows() {
        for (format, off_max) in [
            (SampleFormat::MuLaw, 700),
            (SampleFormat::ALaw, 700),
            (SampleFormat::Unsigned8, 255),
            (SampleFormat::Signed8, 255),
            (SampleFormat::Signed16, 0),
        ] {
            for sample in [0, 1, -1, 100, -300, 12_000, -32_768, 32_767] {
                let back = format.decode(format.encode(sample));
                assert!((i32::from(back) - i32::from(sample)).abs() <= off_max, "{format:?} {sample} {back}");
            }
        }
        assert_eq!(SampleFormat::Unsigned8.encode(0)[0], 128);
        assert_eq!(SampleFormat::Unsigned8.decode([0, 0]), -32_768);
        assert_eq!(SampleFormat::Signed16.encode(-2), [0xfe, 0xff]);
    }
}
