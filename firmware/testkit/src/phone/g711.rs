//! G.711, written from the tables of ITU-T G.711 and apart from the codec under test.

/// The two laws.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Law {
    /// µ-law, PCMU, payload type 0.
    Mu,
    /// A-law, PCMA, payload type 8.
    A,
}

impl Law {
    /// Encoding name in SDP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mu => "PCMU",
            Self::A => "PCMA",
        }
    }

    /// Static payload type (RFC 3551 §6).
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Mu => 0,
            Self::A => 8,
        }
    }

    /// The linear value of a byte.
    #[must_use]
    pub fn decode(self, byte: u8) -> i16 {
        let value = match self {
            // Table 2: the bits are sent inverted; 33 is added to the magnitude before it is cut.
            Self::Mu => {
                let bits = i32::from(!byte);
                let magnitude = ((((bits & 15) * 2 + 33) << (bits >> 4 & 7)) - 33) * 4;
                if bits & 0x80 == 0 { magnitude } else { -magnitude }
            }
            // Table 1: every other bit is sent inverted; the lowest segment is half as wide.
            Self::A => {
                let bits = i32::from(byte ^ 0x55);
                let (segment, step) = (bits >> 4 & 7, bits & 15);
                let magnitude =
                    if segment == 0 { step * 2 + 1 } else { (step * 2 + 33) << (segment - 1) } * 8;
                if bits & 0x80 == 0 { -magnitude } else { magnitude }
            }
        };
        value as i16
    }

    /// The byte whose linear value is nearest. A search, not a formula: slow, and right if
    /// [`Self::decode`] is.
    #[must_use]
    pub fn encode(self, sample: i16) -> u8 {
        let negative = sample < 0;
        // The sign bit is not inverted by 0x55, and set for positive values in both laws as sent.
        let half = if negative { 0..=127_u8 } else { 128..=255 };
        half.min_by_key(|byte| (i32::from(self.decode(*byte)) - i32::from(sample)).abs()).unwrap_or(0xff)
    }

    /// All 65,536 values of [`Self::encode`], indexed by the sample as an unsigned number.
    #[must_use]
    pub fn table(self) -> Vec<u8> {
        // Over the sorted values, each sample goes to the nearer neighbour.
        let mut levels: Vec<(i16, u8)> = (0..=255).map(|byte| (self.decode(byte), byte)).collect();
        levels.sort_unstable();
        let mut table = vec![0; 65_536];
        let mut at = 0;
        for sample in i16::MIN..=i16::MAX {
            let distance =
                |i: usize| levels.get(i).map(|level| (i32::from(level.0) - i32::from(sample)).abs());
            while distance(at + 1).is_some_and(|next| Some(next) <= distance(at)) {
                at += 1;
            }
            if let (Some(slot), Some(level)) = (table.get_mut(usize::from(sample as u16)), levels.get(at)) {
                *slot = level.1;
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_zeros_of_the_tables() {
        assert_eq!((Law::Mu.decode(0x80), Law::Mu.decode(0x00)), (32_124, -32_124));
        assert_eq!((Law::Mu.decode(0xff), Law::Mu.decode(0x7f)), (0, 0));
        assert_eq!((Law::A.decode(0xaa), Law::A.decode(0x2a)), (32_256, -32_256));
        assert_eq!((Law::A.decode(0xd5), Law::A.decode(0x55)), (8, -8));
    }

    #[test]
    fn the_table_is_the_search() {
        for law in [Law::Mu, Law::A] {
            let table = law.table();
            for sample in (i16::MIN..=i16::MAX).step_by(37) {
                let (quick, slow) = (table[usize::from(sample as u16)], law.encode(sample));
                let off = |byte| (i32::from(law.decode(byte)) - i32::from(sample)).abs();
                assert_eq!(off(quick), off(slow), "{law:?} {sample}");
            }
        }
    }
}
