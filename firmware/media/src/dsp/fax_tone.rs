//! Calling tone of fax machines (CNG).
//!
//! What does it do? Hears the 1,100 Hz that a calling fax machine sends for half a second
//! every three and a half (ITU-T T.30 §4.1), and whether somebody speaks instead.
//!
//! How does it work? For each 10 ms the power at 1,100 Hz (Goertzel) is set against the whole.
//! A tone holds nearly all of it, and goes on without a break for longer than any vowel does
//! at one pitch.
//!
//! Limits: 8 and 16 kHz; 1,100 Hz ± 38 Hz, from −43 to 0 dBm0; told after 360 ms.

use crate::frame::Frame;

/// Frequency of the tone in Hz.
const CNG_HZ: f32 = 1_100.0;
/// Share of the power that the tone must hold.
const SHARE_MIN: f32 = 0.55;
/// Mean square below which nothing is heard: −43 dBm0.
const POWER_MIN: f32 = 1_500.0;
/// Stretches of 10 ms in a row that make the tone.
const TONE_MIN: u32 = 36;
/// Stretches of other sound that make a voice.
const VOICE_MIN: u32 = 30;

/// What was heard so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeardParty {
    /// Nothing that can be told.
    Nothing,
    /// A calling fax machine.
    Fax,
    /// Somebody, or something, that is none.
    Voice,
}

/// Listens to one side of a leg.
#[derive(Clone, Copy, Default, Debug)]
pub struct FaxToneDetector {
    tone: u32,
    voice: u32,
}

impl FaxToneDetector {
    /// Takes the next 20 ms and says what has been heard so far.
    pub fn process(&mut self, frame: &Frame) -> HeardParty {
        let (first, second) = frame.samples().split_at(frame.samples().len() / 2);
        for half in [first, second] {
            self.take(half, frame.rate().hz());
        }
        if self.tone >= TONE_MIN {
            HeardParty::Fax
        } else if self.voice >= VOICE_MIN {
            HeardParty::Voice
        } else {
            HeardParty::Nothing
        }
    }

    fn take(&mut self, samples: &[i16], rate_hz: u32) {
        let power =
            samples.iter().map(|sample| f32::from(*sample).powi(2)).sum::<f32>() / samples.len() as f32;
        if power < POWER_MIN {
            self.tone = 0;
        } else if at(samples, CNG_HZ, rate_hz) / power >= SHARE_MIN {
            self.tone += 1;
        } else {
            self.tone = 0;
            self.voice += 1;
        }
    }
}

/// Mean square of what is within 50 Hz of `hz`.
fn at(samples: &[i16], hz: f32, rate_hz: u32) -> f32 {
    let turn = core::f32::consts::TAU * hz / rate_hz as f32;
    let factor = 2.0 * turn.cos();
    let (mut last, mut before) = (0.0_f32, 0.0_f32);
    for sample in samples {
        let next = f32::from(*sample) + factor * last - before;
        before = last;
        last = next;
    }
    let power = last * last + before * before - factor * last * before;
    let count = samples.len() as f32;
    2.0 * power / (count * count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::tone::Oscillator;
    use crate::frame::Rate;

    fn heard(rate: Rate, tones: &[(f32, f32)], frames: usize) -> HeardParty {
        let mut oscillator = Oscillator::new(rate, tones);
        let mut detector = FaxToneDetector::default();
        let mut frame = Frame::silence(rate);
        let mut heard = HeardParty::Nothing;
        for _ in 0..frames {
            oscillator.fill(frame.samples_mut());
            heard = detector.process(&frame);
            if heard != HeardParty::Nothing {
                break;
            }
        }
        heard
    }

    #[test]
    fn the_tone_is_heard_off_its_frequency_and_at_every_level() {
        for rate in [Rate::Narrow, Rate::Wide] {
            for hz in [1_100.0, 1_080.0, 1_120.0] {
                for level in [-3.0, -20.0, -38.0] {
                    assert_eq!(heard(rate, &[(hz, level)], 25), HeardParty::Fax, "{hz} Hz {level} dBm0");
                }
            }
        }
    }

    #[test]
    fn other_sounds_are_none() {
        // Ringing, a digit, two voices' pitches, dial tone.
        for tones in [
            [(440.0, -13.0), (480.0, -13.0)],
            [(941.0, -10.0), (1_336.0, -10.0)],
            [(1_100.0, -20.0), (550.0, -14.0)],
            [(350.0, -13.0), (1_250.0, -13.0)],
        ] {
            assert_eq!(heard(Rate::Narrow, &tones, 100), HeardParty::Voice, "{tones:?}");
        }
        assert_eq!(heard(Rate::Narrow, &[(1_100.0, -60.0)], 100), HeardParty::Nothing);
        assert_eq!(heard(Rate::Narrow, &[(1_100.0, -10.0)], 12), HeardParty::Nothing, "a short beep is none");
    }
}
