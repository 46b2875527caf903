//! The DTMF detector against the sweep of the analog specification: 640 digits a row,
//! over 40 offsets in time, with noise.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod signals;

use signals::Noise;
use tipring_media::{
    Rate,
    codec::{CodecId, PAYLOAD_MAX},
    dsp::{
        self,
        dtmf_detect::{DtmfDetector, Heard, prepare},
        dtmf_generate::frequencies_hz,
        resample,
    },
};
use tipring_model::Digit;

struct Signal {
    rate: Rate,
    on_ms: f64,
    off_ms: f64,
    deviation: f64,
    row_dbm0: f32,
    column_dbm0: f32,
    snr_db: f64,
}

impl Default for Signal {
    fn default() -> Self {
        Self {
            rate: Rate::Narrow,
            on_ms: 50.0,
            off_ms: 50.0,
            deviation: 0.0,
            row_dbm0: -10.0,
            column_dbm0: -10.0,
            snr_db: 60.0,
        }
    }
}

impl Signal {
    fn round(&self, round: usize, noise: &mut Noise) -> (Vec<Digit>, Vec<i16>) {
        let hz = f64::from(self.rate.hz());
        let mut samples = vec![0.0; 400 + round * 13];
        let mut digits = Vec::new();
        for n in 0..16 {
            let digit = Digit::ALL[(n * 5 + round) % 16];
            digits.push(digit);
            let (row, column) = frequencies_hz(digit);
            let turn = |f: f32| f64::from(f) * (1.0 + self.deviation) / hz * core::f64::consts::TAU;
            let (row, column) = (turn(row), turn(column));
            let (low, high) =
                (f64::from(dsp::peak_of(self.row_dbm0)), f64::from(dsp::peak_of(self.column_dbm0)));
            for i in 0..(self.on_ms * hz / 1_000.0) as usize {
                let t = (i + round * 7 + n) as f64;
                samples.push(low * (row * t).sin() + high * (column * t).sin());
            }
            samples.resize(samples.len() + (self.off_ms * hz / 1_000.0) as usize, 0.0);
        }
        samples.resize(samples.len() + hz as usize / 10, 0.0);
        let loudest = f64::from(dsp::peak_of(self.row_dbm0.max(self.column_dbm0)));
        let rms = loudest / 2f64.sqrt() * 10f64.powf(-self.snr_db / 20.0);
        let quantized =
            samples.iter().map(|x| (x + rms * noise.normal()).clamp(-32_768.0, 32_767.0) as i16).collect();
        (digits, quantized)
    }

    /// Digits heard in their right order, and all that were heard, of 640.
    fn heard(&self, channel: impl Fn(&[i16]) -> Vec<i16>) -> (usize, usize) {
        prepare();
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        let (mut right, mut all) = (0, 0);
        for round in 0..40 {
            let (digits, samples) = self.round(round, &mut noise);
            let heard = detect(self.rate, &channel(&samples));
            all += heard.len();
            right += heard.iter().zip(&digits).filter(|(a, b)| a == b).count();
        }
        (right, all)
    }
}

fn detect(rate: Rate, samples: &[i16]) -> Vec<Digit> {
    let mut detector = DtmfDetector::new(rate);
    let (mut began, mut ended) = (Vec::new(), Vec::new());
    for frame in samples.chunks(rate.frame_samples()) {
        detector.process(frame, |heard| match heard {
            Heard::Began(digit) => began.push(digit),
            Heard::Ended { digit, .. } => ended.push(digit),
        });
    }
    // The last may still be held.
    assert_eq!(began[..ended.len()], ended);
    began
}

fn clean(samples: &[i16]) -> Vec<i16> {
    samples.to_vec()
}

fn through(codec: CodecId) -> impl Fn(&[i16]) -> Vec<i16> {
    move |samples| {
        let row = codec.codec();
        let mut encoder = (row.encoder)().unwrap();
        let mut decoder = (row.decoder)().unwrap();
        samples
            .chunks_exact(row.rate.frame_samples())
            .flat_map(|frame| {
                let mut payload = [0; PAYLOAD_MAX];
                let bytes = encoder.encode(frame, &mut payload);
                let mut out = vec![0; 2_000];
                let count = decoder.decode(&payload[..bytes], &mut out);
                out.truncate(count);
                out
            })
            .collect()
    }
}

#[test]
fn every_digit_that_must_be_heard_is_heard() {
    let on_off = |on_ms, off_ms| Signal { on_ms, off_ms, ..Signal::default() };
    let noisy = |snr_db| Signal { snr_db, ..Signal::default() };
    let off_by = |deviation| Signal { deviation, ..Signal::default() };
    let levels = |row_dbm0, column_dbm0| Signal { row_dbm0, column_dbm0, ..Signal::default() };
    let rows = [
        ("70/70 ms", on_off(70.0, 70.0)),
        ("40/40 ms", on_off(40.0, 40.0)),
        ("noise 15 dB below", noisy(15.0)),
        ("noise 10 dB below", noisy(10.0)),
        ("+1.5 %", off_by(0.015)),
        ("-1.5 %", off_by(-0.015)),
        ("column 4 dB up", levels(-14.0, -10.0)),
        ("row 8 dB up", levels(-10.0, -18.0)),
        ("-25 dBm0", levels(-25.0, -25.0)),
        ("-36 dBm0", levels(-36.0, -36.0)),
        ("0 dBm0, clipped", levels(0.0, 0.0)),
        ("40 ms, +1.5 %, row 8 dB up", Signal { on_ms: 40.0, deviation: 0.015, ..levels(-10.0, -18.0) }),
        ("40 ms, -1.5 %, column 4 dB up", Signal { on_ms: 40.0, deviation: -0.015, ..levels(-29.0, -25.0) }),
    ];
    for (name, narrow) in rows {
        let wide = Signal { rate: Rate::Wide, ..narrow };
        for (rate, signal) in [("8 kHz", &narrow), ("16 kHz", &wide)] {
            let heard = signal.heard(clean);
            println!("{name} at {rate}: {heard:?}");
            assert_eq!(heard, (640, 640), "{name} at {rate}");
        }
    }
}

#[test]
fn codecs_do_not_hide_digits() {
    for codec in [CodecId::Pcmu, CodecId::Pcma, CodecId::G722, CodecId::Opus] {
        let signal = Signal { rate: codec.codec().rate, on_ms: 60.0, off_ms: 60.0, ..Signal::default() };
        let heard = signal.heard(through(codec));
        println!("{codec:?}: {heard:?}");
        assert_eq!(heard, (640, 640), "{codec:?}");
    }
}

#[test]
fn nothing_that_is_no_digit_is_heard() {
    let off_by = |deviation| Signal { deviation, on_ms: 70.0, off_ms: 70.0, ..Signal::default() };
    let levels = |row_dbm0, column_dbm0| Signal { row_dbm0, column_dbm0, ..Signal::default() };
    let rows = [
        ("+3.5 %", off_by(0.035)),
        ("-3.5 %", off_by(-0.035)),
        ("column 12 dB up", levels(-22.0, -10.0)),
        ("row 14 dB up", levels(-10.0, -24.0)),
        ("-55 dBm0", levels(-55.0, -55.0)),
        ("20 ms bursts", Signal { on_ms: 20.0, off_ms: 60.0, ..Signal::default() }),
        ("23 ms bursts", Signal { on_ms: 23.0, off_ms: 60.0, ..Signal::default() }),
    ];
    for (name, signal) in rows {
        let (_, all) = signal.heard(clean);
        println!("{name}: {all}");
        assert_eq!(all, 0, "{name}");
    }
}

/// 10,000 digits of 50 ms, each of its own level, twist and deviation within the limits, in noise
/// 20 dB below the weaker of its frequencies.
#[test]
fn of_ten_thousand_digits_in_noise_none_is_missed() {
    prepare();
    let mut noise = Noise(0xd161_7a11);
    let (mut digits, mut heard) = (Vec::new(), Vec::new());
    let mut detector = DtmfDetector::new(Rate::Narrow);
    for n in 0..10_000 {
        let digit = Digit::ALL[noise.below(16)];
        let row_dbm0 = -17.0 + 17.0 * noise.uniform();
        let column_dbm0 = (row_dbm0 - 8.0 + 12.0 * noise.uniform()).min(0.0);
        let deviation = 1.0 + 0.03 * (noise.uniform() - 0.5);
        let (row, column) = frequencies_hz(digit);
        let parts = [(f64::from(row) * deviation, row_dbm0), (f64::from(column) * deviation, column_dbm0)];
        let mut sound = signals::sines(400, &parts);
        sound.resize(800 + noise.below(80), 0.0);
        let below = signals::rms_of(row_dbm0.min(column_dbm0) - 20.0);
        digits.push(digit);
        detector.process(&noise.over(&sound, below), |told| {
            if let Heard::Began(digit) = told {
                heard.push(digit);
            }
        });
        assert_eq!(heard, digits, "at digit {n}: {row_dbm0:.1} and {column_dbm0:.1} dBm0, {deviation:.4}");
        heard.clear();
        digits.clear();
    }
}

/// Talk-off: an hour of spoken sentences may give one digit at most.
#[test]
fn an_hour_of_speech_holds_no_digits() {
    let heard = detect(Rate::Narrow, signals::speech(60));
    println!("false digits in an hour: {heard:?}");
    assert!(heard.len() <= 1, "{heard:?}");
}

/// Speech-like sound: ten minutes of gliding harmonics through moving formants, and
/// chords of pure tones, in which no digit must be heard.
#[test]
fn talk_is_not_taken_for_digits() {
    prepare();
    let mut noise = Noise(42);
    let mut false_digits = 0;
    for _ in 0..600 {
        let (pitch, glide) = (90.0 + 160.0 * noise.uniform(), 60.0 * noise.uniform() - 30.0);
        let formants = [300.0, 900.0, 2_000.0].map(|f| f * (0.7 + 0.9 * noise.uniform()));
        let mut phase = 0.0;
        let mut samples = Vec::with_capacity(8_000);
        for i in 0..8_000 {
            let t = f64::from(i) / 8_000.0;
            let now = pitch + glide * (t * 3.0).sin();
            phase += now / 8_000.0 * core::f64::consts::TAU;
            let voice: f64 = (1..=18)
                .map(|k| {
                    let hz = now * f64::from(k);
                    let gain: f64 = formants.iter().map(|f| 1.0 / (1.0 + ((hz - f) / 90.0).powi(2))).sum();
                    gain * (phase * f64::from(k)).sin()
                })
                .sum();
            samples.push((6_000.0 * voice) as i16);
        }
        false_digits += detect(Rate::Narrow, &samples).len();
    }
    println!("false digits in ten minutes: {false_digits}");
    assert_eq!(false_digits, 0);
}

#[test]
fn a_held_digit_is_one_and_tells_how_long() {
    prepare();
    let signal = Signal { on_ms: 1_000.0, ..Signal::default() };
    let (_, samples) = signal.round(0, &mut Noise(1));
    let mut wide = vec![0; samples.len() * 2];
    resample::Doubler::default().process(&samples, &mut wide);
    for (rate, samples) in [(Rate::Narrow, &samples), (Rate::Wide, &wide)] {
        let mut detector = DtmfDetector::new(rate);
        let mut ended = 0;
        detector.process(samples, |heard| {
            if let Heard::Ended { duration_ms, .. } = heard {
                ended += 1;
                assert!((985..=1_020).contains(&duration_ms), "{duration_ms}");
            }
        });
        assert_eq!(ended, 16);
    }
}
