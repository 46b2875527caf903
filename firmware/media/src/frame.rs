//! The unit in which audio moves: 20 ms of linear samples.

/// Length of a [`Frame`], in milliseconds.
pub const FRAME_MS: u32 = 20;

/// Samples in the longest frame (20 ms at 16 kHz).
pub const FRAME_SAMPLES_MAX: usize = 320;

/// The sampling rate at which a leg speaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rate {
    /// 8 kHz: analog ports and G.711.
    Narrow,
    /// 16 kHz: G.722 and Opus.
    Wide,
}

impl Rate {
    /// Samples a second.
    #[must_use]
    pub const fn hz(self) -> u32 {
        match self {
            Self::Narrow => 8_000,
            Self::Wide => 16_000,
        }
    }

    /// Samples in 20 ms: 160 or 320.
    #[must_use]
    pub const fn frame_samples(self) -> usize {
        match self {
            Self::Narrow => 160,
            Self::Wide => 320,
        }
    }

    /// Samples in 1 ms: 8 or 16.
    #[must_use]
    pub const fn samples_per_ms(self) -> usize {
        self.frame_samples() / FRAME_MS as usize
    }

    /// The other rate.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Narrow => Self::Wide,
            Self::Wide => Self::Narrow,
        }
    }
}

/// 20 ms of mono audio, 16-bit linear; 0 dBm0 is a sine 3.14 dB below full scale.
#[derive(Clone, Copy)]
pub struct Frame {
    rate: Rate,
    samples: [i16; FRAME_SAMPLES_MAX],
}

impl Frame {
    /// A frame of silence.
    #[must_use]
    pub const fn silence(rate: Rate) -> Self {
        Self { rate, samples: [0; FRAME_SAMPLES_MAX] }
    }

    /// A frame that begins with `samples` and goes on in silence. What exceeds
    /// 20 ms is left out.
    #[must_use]
    pub fn from_samples(rate: Rate, samples: &[i16]) -> Self {
        let mut frame = Self::silence(rate);
        frame.samples_mut().iter_mut().zip(samples).for_each(|(to, from)| *to = *from);
        frame
    }

    /// The sampling rate.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// The 160 or 320 samples.
    #[must_use]
    pub fn samples(&self) -> &[i16] {
        &self.samples[..self.rate.frame_samples()]
    }

    /// The 160 or 320 samples, to be written.
    pub fn samples_mut(&mut self) -> &mut [i16] {
        &mut self.samples[..self.rate.frame_samples()]
    }

    /// Silences the frame.
    pub fn clear(&mut self) {
        self.samples_mut().fill(0);
    }

    /// Makes this a frame of silence at `rate`.
    pub fn reset(&mut self, rate: Rate) {
        self.rate = rate;
        self.clear();
    }

    /// Adds `other`, held at full scale. Both must have the same rate; a frame of
    /// the other rate is left out.
    pub fn add(&mut self, other: &Self) {
        debug_assert_eq!(self.rate, other.rate, "only frames of one rate are summed");
        if self.rate == other.rate {
            self.samples_mut()
                .iter_mut()
                .zip(other.samples())
                .for_each(|(sum, x)| *sum = sum.saturating_add(*x));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_held_at_full_scale() {
        let mut sum = Frame::from_samples(Rate::Narrow, &[30_000, -30_000, 5]);
        sum.add(&Frame::from_samples(Rate::Narrow, &[30_000, -30_000, -7]));
        assert_eq!(sum.samples()[..4], [32_767, -32_768, -2, 0]);
        assert_eq!(sum.samples().len(), 160);
    }
}
