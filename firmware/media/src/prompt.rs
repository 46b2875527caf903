//! Prompts: recordings that are played to many legs at once.
//!
//! A prompt is shared and never changes. Each codec's payload is made once, outside
//! the media thread, and sent from there without a copy.

use std::sync::OnceLock;

use crate::{
    codec::{CODECS, CodecError, CodecId, PAYLOAD_MAX},
    dsp::resample,
    frame::{FRAME_MS, Frame, Rate},
};

/// A recording at 8 or 16 kHz with its encodings.
pub struct Prompt {
    rate: Rate,
    samples: Vec<i16>,
    /// The same at the other rate.
    other: OnceLock<Vec<i16>>,
    encoded: [OnceLock<Encoded>; CODECS.len()],
}

/// 20 ms payloads, one after the other.
struct Encoded {
    payload: Vec<u8>,
    /// Where each ends.
    ends: Vec<u32>,
}

impl Prompt {
    /// A prompt of these samples. The last frame is filled up with silence.
    #[must_use]
    pub fn new(rate: Rate, samples: Vec<i16>) -> Self {
        Self { rate, samples, other: OnceLock::new(), encoded: [const { OnceLock::new() }; CODECS.len()] }
    }

    /// A prompt of samples at any rate: up to 8 kHz becomes narrow, all else wide.
    #[must_use]
    pub fn from_rate(rate_hz: u32, samples: &[i16]) -> Self {
        let rate = if rate_hz <= Rate::Narrow.hz() { Rate::Narrow } else { Rate::Wide };
        Self::new(rate, resample::convert(samples, rate_hz, rate.hz()))
    }

    /// The rate at which it is kept.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Its samples.
    #[must_use]
    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    /// Its length, in milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.samples.len() as u64 * 1_000 / u64::from(self.rate.hz())
    }

    /// Its length in frames.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.samples.len().div_ceil(self.rate.frame_samples())
    }

    /// Makes the payload for `codec`, unless that was done. Takes about 1 % of the
    /// prompt's duration for G.711 and some 3 % for Opus: not for the media thread.
    /// A prompt that was not prepared plays all the same, encoded anew each time.
    ///
    /// # Errors
    /// [`CodecError`] if the encoder cannot be built.
    pub fn prepare(&self, codec: CodecId) -> Result<(), CodecError> {
        let Some(place) = self.encoded.get(codec.index()) else {
            return Ok(());
        };
        if place.get().is_none() {
            let made = self.encode(codec)?;
            // If another thread was faster, its result is the same.
            let _ = place.set(made);
        }
        Ok(())
    }

    /// Makes the samples at `rate`, unless they are there.
    pub fn prepare_rate(&self, rate: Rate) {
        if rate != self.rate {
            self.other.get_or_init(|| resample::convert(&self.samples, self.rate.hz(), rate.hz()));
        }
    }

    fn encode(&self, id: CodecId) -> Result<Encoded, CodecError> {
        let codec = id.codec();
        let mut encoder = (codec.encoder)()?;
        self.prepare_rate(codec.rate);
        let mut encoded = Encoded { payload: Vec::new(), ends: Vec::with_capacity(self.frames()) };
        let mut frame = Frame::silence(codec.rate);
        let mut payload = [0; PAYLOAD_MAX];
        for at in 0..self.frames() {
            self.frame(at, &mut frame);
            let bytes = encoder.encode(frame.samples(), &mut payload);
            encoded.payload.extend_from_slice(&payload[..bytes]);
            encoded.ends.push(encoded.payload.len() as u32);
        }
        encoded.payload.shrink_to_fit();
        Ok(encoded)
    }

    /// True if `codec` has its payload.
    #[must_use]
    pub fn is_prepared(&self, codec: CodecId) -> bool {
        self.encoded.get(codec.index()).is_some_and(|place| place.get().is_some())
    }

    /// The payload of frame `at`, if it is prepared and the prompt is that long.
    #[must_use]
    pub fn payload(&self, codec: CodecId, at: usize) -> Option<&[u8]> {
        let encoded = self.encoded.get(codec.index())?.get()?;
        let end = *encoded.ends.get(at)? as usize;
        let start =
            at.checked_sub(1).and_then(|before| encoded.ends.get(before)).map_or(0, |end| *end as usize);
        encoded.payload.get(start..end)
    }

    /// Writes frame `at` at the rate of `frame`; if the prompt has not been prepared
    /// for that rate, at the prompt's own, which `frame` then has.
    pub(crate) fn frame(&self, at: usize, frame: &mut Frame) {
        let samples = if frame.rate() == self.rate {
            &self.samples
        } else if let Some(other) = self.other.get() {
            other
        } else {
            frame.reset(self.rate);
            &self.samples
        };
        let length = frame.rate().frame_samples();
        let there = samples.get(at * length..).unwrap_or(&[]);
        let count = there.len().min(length);
        let out = frame.samples_mut();
        out[..count].copy_from_slice(&there[..count]);
        out[count..].fill(0);
    }

    /// Milliseconds heard after `frames` frames of one playing.
    pub(crate) fn heard_ms(&self, frames: u64) -> u64 {
        (frames * u64::from(FRAME_MS)).min(self.duration_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_cut_at_frames_and_the_last_is_filled_up() {
        let prompt = Prompt::new(Rate::Narrow, vec![1_000; 400]);
        assert_eq!((prompt.frames(), prompt.duration_ms()), (3, 50));
        assert_eq!(prompt.payload(CodecId::Pcmu, 0), None);
        for codec in &CODECS {
            prompt.prepare(codec.id).unwrap();
            assert!(prompt.payload(codec.id, 2).is_some_and(|p| !p.is_empty()));
            assert_eq!(prompt.payload(codec.id, 3), None);
        }
        let last = prompt.payload(CodecId::Pcmu, 2).unwrap();
        assert_eq!(last.len(), 160);
        assert_eq!(last[80..], [0xff; 80]);
    }
}
