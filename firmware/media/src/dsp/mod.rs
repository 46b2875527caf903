//! Signal processing, one piece a file: samples in, facts out, or facts in, samples
//! out. Nothing here knows of legs or packets.

pub mod answer_tone;
pub mod caller_id;
pub mod comfort_noise;
pub mod dtmf_detect;
pub mod dtmf_generate;
pub mod echo;
pub mod fax_tone;
pub mod fft;
pub mod fsk;
pub mod gain;
pub mod level_meter;
pub mod plc;
pub mod resample;
pub mod tone;
pub mod tone_detect;
pub mod tone_learn;
mod tone_segments;

/// Peak of a sine of 0 dBm0, 3.14 dB below full scale (ITU-T G.711 §5, µ-law 3.17).
pub const PEAK_0_DBM0: f32 = 22_827.0;

/// Peak of a sine of `level_dbm0`.
#[must_use]
pub fn peak_of(level_dbm0: f32) -> f32 {
    PEAK_0_DBM0 * 10f32.powf(level_dbm0 / 20.0)
}
