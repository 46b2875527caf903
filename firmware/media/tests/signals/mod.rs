//! Sound for the tests of signal processing: repeatable noise, levels, and speech.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::expect_used, reason = "a test without its speech has failed")]

use std::{process::Command, sync::OnceLock};

use tipring_media::{dsp, dsp::resample, wav};

/// A repeatable source of randomness (xorshift).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// From 0 to 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normally distributed, to the precision of twelve dice.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    /// A whole number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.uniform() * bound as f64) as usize
    }

    /// White noise of this level.
    pub(crate) fn white(&mut self, samples: usize, level_dbm0: f64) -> Vec<f64> {
        let rms = rms_of(level_dbm0);
        (0..samples).map(|_| rms * self.normal()).collect()
    }

    /// Adds white noise and quantises.
    pub(crate) fn over(&mut self, signal: &[f64], rms: f64) -> Vec<i16> {
        signal.iter().map(|x| (x + rms * self.normal()).clamp(-32_768.0, 32_767.0) as i16).collect()
    }
}

/// Root mean square of a sine of this level.
pub(crate) fn rms_of(level_dbm0: f64) -> f64 {
    f64::from(dsp::PEAK_0_DBM0) / 2f64.sqrt() * 10f64.powf(level_dbm0 / 20.0)
}

/// Root mean square of samples.
pub(crate) fn rms(samples: &[f64]) -> f64 {
    (samples.iter().map(|x| x * x).sum::<f64>() / samples.len().max(1) as f64).sqrt()
}

/// Samples as numbers.
pub(crate) fn floats(samples: &[i16]) -> Vec<f64> {
    samples.iter().map(|x| f64::from(*x)).collect()
}

/// Numbers as samples, held at full scale.
pub(crate) fn quantised(samples: &[f64]) -> Vec<i16> {
    samples.iter().map(|x| x.clamp(-32_768.0, 32_767.0) as i16).collect()
}

/// A sum of sines, each of its frequency in Hz and level in dBm0.
pub(crate) fn sines(samples: usize, parts: &[(f64, f64)]) -> Vec<f64> {
    (0..samples)
        .map(|i| {
            parts
                .iter()
                .map(|(hz, level)| {
                    rms_of(*level) * 2f64.sqrt() * (core::f64::consts::TAU * hz * i as f64 / 8_000.0).sin()
                })
                .sum::<f64>()
        })
        .collect()
}

const VOICES: [&str; 8] = ["en-us", "en-gb+f3", "de", "fr+f2", "es+m3", "it+f4", "ru+m7", "pl+f1"];

const WORDS: [&str; 48] = [
    "hello", "seven", "meeting", "Thursday", "the", "order", "number", "is", "please", "wait", "eleven",
    "tomorrow", "yes", "no", "thank", "you", "engine", "window", "address", "Oslo", "we", "are", "moving",
    "through", "a", "long", "sentence", "quiet", "ceiling", "zebra", "four", "hundred", "and", "twelve",
    "who", "owns", "our", "bicycle", "machine", "loud", "murmur", "noon", "evening", "beer", "you", "hear",
    "me", "mammoth",
];

/// Spoken sentences with pauses, 8 kHz, at telephone level: as many minutes as asked for, of eight
/// voices that alternate. Made once a test program.
pub(crate) fn speech(minutes: usize) -> &'static [i16] {
    static SPEECH: OnceLock<Vec<i16>> = OnceLock::new();
    SPEECH.get_or_init(|| {
        let mut noise = Noise(0x5eed);
        let mut all: Vec<i16> = Vec::with_capacity(minutes * 480_000);
        let mut turn = 0;
        while all.len() < minutes * 480_000 {
            let mut text = String::new();
            for _ in 0..90 {
                text.push_str(WORDS[noise.below(WORDS.len())]);
                text.push_str(if noise.uniform() < 0.15 { ". " } else { " " });
            }
            let voice = VOICES[turn % VOICES.len()];
            turn += 1;
            let speed = (130 + noise.below(70)).to_string();
            let pitch = (20 + noise.below(60)).to_string();
            let made = Command::new("espeak-ng")
                .args(["-v", voice, "-s", &speed, "-p", &pitch, "--stdout", &text])
                .output()
                .expect("espeak-ng is not there: install the package espeak-ng");
            let wav = wav::parse(&made.stdout).expect("espeak-ng gave no sound");
            let narrow = resample::convert(&wav.samples, wav.rate_hz, 8_000);
            let gain = rms_of(-16.0) / rms(&floats(&narrow)).max(1.0);
            all.extend(narrow.iter().map(|x| (f64::from(*x) * gain).clamp(-32_768.0, 32_767.0) as i16));
            all.resize(all.len() + 4_000 + noise.below(8_000), 0);
        }
        all.truncate(minutes * 480_000);
        all
    })
}
