//! Codecs against each other and against published behaviour.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use tipring_media::codec::{CodecId, PAYLOAD_MAX};

/// Sends `sent` through encoder and decoder, 20 ms at a time.
fn through(codec: CodecId, sent: &[i16]) -> Vec<i16> {
    let row = codec.codec();
    let mut encoder = (row.encoder)().unwrap();
    let mut decoder = (row.decoder)().unwrap();
    let mut got = Vec::new();
    for frame in sent.chunks_exact(row.rate.frame_samples()) {
        let mut payload = [0; PAYLOAD_MAX];
        let bytes = encoder.encode(frame, &mut payload);
        let mut samples = [0; 2_000];
        let count = decoder.decode(&payload[..bytes], &mut samples);
        assert_eq!(count, frame.len());
        got.extend_from_slice(&samples[..count]);
    }
    got
}

fn snr(sent: &[i16], got: &[i16]) -> f64 {
    let span = sent.len() * 3 / 4;
    (0..400)
        .map(|lag| {
            let (mut signal, mut error) = (0.0, 0.0);
            for (x, y) in sent[..span].iter().zip(&got[lag..]) {
                let (x, y) = (f64::from(*x), f64::from(*y));
                signal += x * x;
                error += (x - y) * (x - y);
            }
            10.0 * (signal / error).log10()
        })
        .fold(-99.0, f64::max)
}

#[test]
fn signal_to_noise_of_each_codec() {
    for (codec, snr_min) in
        [(CodecId::Pcmu, 34.0), (CodecId::Pcma, 34.0), (CodecId::G722, 20.0), (CodecId::Opus, 8.0)]
    {
        let hz = f64::from(codec.codec().rate.hz());
        let mut phase = 0.0;
        let sent: Vec<i16> = (0..hz as usize * 2)
            .map(|i| {
                let t = i as f64 / hz;
                // Above 300 Hz: the Opus encoder turns the phase of what is lower.
                phase += (430.0 + 40.0 * (t * 2.0).sin()) / hz * core::f64::consts::TAU;
                let sum: f64 = (1..6).map(|k| (phase * f64::from(k)).sin() / f64::from(k)).sum();
                (5_000.0 * sum * (0.7 + 0.3 * (t * 9.0).sin())) as i16
            })
            .collect();
        let ratio = snr(&sent, &through(codec, &sent));
        println!("{codec:?}: {ratio:.1} dB");
        assert!(ratio >= snr_min, "{codec:?}: {ratio:.1} dB");
    }
}

/// FNV-1a, to compare long signals by one number.
fn fingerprint(samples: &[i16]) -> u64 {
    samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// libg722 (by way of ezk-g722 0.1.2) decodes this stream to the same samples, bit for
/// bit, once it has got over its different initial state, a quarter of a second in.
#[test]
fn g722_decodes_as_libg722_does() {
    let sent: Vec<i16> = (0..32_000i32)
        .map(|i| {
            let place = (i * 37 + (i / 50) * 3) % 800;
            let triangle = if place < 400 { place - 200 } else { 600 - place };
            (triangle * 40) as i16
        })
        .collect();
    let got = through(CodecId::G722, &sent);
    assert_eq!(fingerprint(&got[24_000..]), 0x28ef_5f41_951e_7f38);
}
