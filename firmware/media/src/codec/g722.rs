//! G.722 at 64 kbit/s (ITU-T G.722, mode 1): 16 kHz, one byte for two samples.
//!
//! A quadrature mirror filter splits the signal at 4 kHz; the lower band is coded
//! with 6 bits a sample, the upper one with 2, each by an adaptive predictor that
//! the decoder repeats. Block names in the comments are those of the
//! Recommendation's section 6. Written anew because the encoder and decoder run in
//! the media tick, which allocates nothing.

use super::{Codec, CodecError, CodecId, Decode, Encode};
use crate::frame::Rate;

/// The row of [`CODECS`](super::CODECS).
pub const CODEC: Codec = Codec {
    id: CodecId::G722,
    name: "G722",
    payload_type: Some(9),
    clock_hz: 8_000,
    channels: 1,
    fmtp: None,
    rate: Rate::Wide,
    byte_a_tick: true,
    encoder,
    decoder,
};

/// One half of the symmetrical 24-tap filter, table 4 of the Recommendation.
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Table 14: decision levels of the 6-bit lower-band quantizer.
const Q6: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219,
    1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// Table 18: the 6-bit inverse quantizer, by code.
const QQ6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856,
    7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136,
    -432, -136,
];

/// Table 16: the 4-bit inverse quantizer that drives the lower-band predictor.
const QQ4: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];

/// Table 20: the 2-bit inverse quantizer of the upper band.
const QQ2: [i32; 4] = [-7408, -1616, 7408, 1616];

/// Table 13: logarithmic scale factor multipliers of the lower band, by 4-bit code.
const WL: [i32; 16] = [-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60];

/// Table 19: the same for the upper band, by 2-bit code.
const WH: [i32; 4] = [798, -214, 798, -214];

/// Table 15: 2048 times 2 to the power of i/32.
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

const fn held(x: i32) -> i32 {
    if x > 32_767 {
        32_767
    } else if x < -32_768 {
        -32_768
    } else {
        x
    }
}

/// What encoder and decoder keep for one band.
#[derive(Default)]
struct Band {
    /// Logarithmic scale factor.
    scale_log: i32,
    /// Linear scale factor.
    scale: i32,
    /// Predicted sample and its part from the zeros.
    predicted: i32,
    predicted_zeros: i32,
    /// The last two reconstructed signals, and partial ones.
    rebuilt: [i32; 2],
    partial: [i32; 2],
    /// Second-order pole section.
    poles: [i32; 2],
    /// Sixth-order zero section and the quantized differences it works on.
    zeros: [i32; 6],
    differences: [i32; 6],
}

impl Band {
    const fn new(scale: i32) -> Self {
        Self {
            scale_log: 0,
            scale,
            predicted: 0,
            predicted_zeros: 0,
            rebuilt: [0; 2],
            partial: [0; 2],
            poles: [0; 2],
            zeros: [0; 6],
            differences: [0; 6],
        }
    }

    /// Blocks LOGSCL/SCALEL and LOGSCH/SCALEH.
    fn rescale(&mut self, multiplier: i32, log_max: i32, shift: i32) {
        self.scale_log = (((self.scale_log * 127) >> 7) + multiplier).clamp(0, log_max);
        let mantissa = ILB[(self.scale_log >> 6 & 31) as usize];
        let down = shift - (self.scale_log >> 11);
        let linear = if down < 0 { mantissa << -down } else { mantissa >> down };
        self.scale = linear << 2;
    }

    /// Block 4: adapts the predictor to the quantized difference and predicts the
    /// next sample.
    fn adapt(&mut self, difference: i32) {
        let rebuilt = held(self.predicted + difference);
        let partial = held(self.predicted_zeros + difference);
        let agrees = self.partial.map(|before| (before < 0) == (partial < 0));

        // UPPOL2
        let slope = held(self.poles[0] << 2);
        let slope = if agrees[0] { -slope } else { slope }.min(32_767);
        let pole2 = ((slope >> 7) + if agrees[1] { 128 } else { -128 } + ((self.poles[1] * 32_512) >> 15))
            .clamp(-12_288, 12_288);
        // UPPOL1
        let limit = held(15_360 - pole2);
        let pole1 =
            held(if agrees[0] { 192 } else { -192 } + ((self.poles[0] * 32_640) >> 15)).clamp(-limit, limit);
        // UPZERO
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, before) in self.zeros.iter_mut().zip(&self.differences) {
            let towards = if (*before < 0) == (difference < 0) { step } else { -step };
            *zero = held(towards + ((*zero * 32_640) >> 15));
        }
        // DELAYA
        self.differences.copy_within(0..5, 1);
        self.differences[0] = difference;
        self.rebuilt = [rebuilt, self.rebuilt[0]];
        self.partial = [partial, self.partial[0]];
        self.poles = [pole1, pole2];
        // FILTEP, FILTEZ, PREDIC
        let from_poles =
            held(self.poles.iter().zip(&self.rebuilt).map(|(a, r)| (a * held(2 * r)) >> 15).sum());
        self.predicted_zeros =
            held(self.zeros.iter().zip(&self.differences).map(|(b, d)| (b * held(2 * d)) >> 15).sum());
        self.predicted = held(from_poles + self.predicted_zeros);
    }

    fn lower(&mut self, code: usize) {
        let coarse = code >> 2;
        let difference = (self.scale * QQ4[coarse]) >> 15;
        self.rescale(WL[coarse], 18_432, 8);
        self.adapt(difference);
    }

    fn upper(&mut self, code: usize) -> i32 {
        let difference = (self.scale * QQ2[code]) >> 15;
        let rebuilt = difference + self.predicted;
        self.rescale(WH[code], 22_528, 10);
        self.adapt(difference);
        rebuilt
    }
}

/// Both bands and the filter's memory.
struct G722 {
    low: Band,
    high: Band,
    filter: [i32; 24],
}

impl G722 {
    const fn new() -> Self {
        Self { low: Band::new(32), high: Band::new(8), filter: [0; 24] }
    }

    /// Shifts two values into the filter and returns the sums of its two halves.
    fn mirror(&mut self, even: i32, odd: i32) -> (i32, i32) {
        self.filter.copy_within(2.., 0);
        self.filter[22] = even;
        self.filter[23] = odd;
        let mut sums = (0, 0);
        for (at, pair) in self.filter.chunks_exact(2).enumerate() {
            sums.0 += pair[0] * QMF[at];
            sums.1 += pair[1] * QMF[11 - at];
        }
        sums
    }
}

fn encoder() -> Result<Box<dyn Encode>, CodecError> {
    Ok(Box::new(G722::new()))
}

fn decoder() -> Result<Box<dyn Decode>, CodecError> {
    Ok(Box::new(G722::new()))
}

/// Block QUANTL: 6-bit code of a lower-band difference.
fn quantize_low(difference: i32, scale: i32) -> usize {
    let magnitude = if difference < 0 { -(difference + 1) } else { difference };
    let level = Q6.partition_point(|level| magnitude >= (level * scale) >> 12);
    // Table 17: codes fall as the magnitude rises; the two lowest negative levels
    // sit at the end of the table.
    match (difference < 0, level) {
        (false, level) => 61 - level,
        (true, level @ 0..=1) => 63 - level,
        (true, level) => 33 - level,
    }
}

impl Encode for G722 {
    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> usize {
        let mut written = 0;
        for (byte, pair) in payload.iter_mut().zip(samples.chunks_exact(2)) {
            let (odd, even) = self.mirror(i32::from(pair[0]), i32::from(pair[1]));
            let low = (even + odd) >> 14;
            let high = (even - odd) >> 14;

            let low_code = quantize_low(held(low - self.low.predicted), self.low.scale);
            self.low.lower(low_code);

            let difference = held(high - self.high.predicted);
            let magnitude = if difference < 0 { -(difference + 1) } else { difference };
            // QUANTH: one decision level; codes 0 and 2 are the far ones.
            let near = magnitude < (564 * self.high.scale) >> 12;
            let high_code = usize::from(near) + if difference < 0 { 0 } else { 2 };
            self.high.upper(high_code);

            *byte = (high_code << 6 | low_code) as u8;
            written += 1;
        }
        written
    }
}

impl Decode for G722 {
    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> usize {
        let mut written = 0;
        for (byte, pair) in payload.iter().zip(samples.chunks_exact_mut(2)) {
            let low_code = usize::from(byte & 63);
            let low = (self.low.predicted + ((self.low.scale * QQ6[low_code]) >> 15)).clamp(-16_384, 16_383);
            self.low.lower(low_code);
            let high = self.high.upper(usize::from(byte >> 6)).clamp(-16_384, 16_383);
            let (second, first) = self.mirror(low + high, low - high);
            pair[0] = held(first >> 11) as i16;
            pair[1] = held(second >> 11) as i16;
            written += 2;
        }
        written
    }
}
