//! A caller as an exchange of North America tells him: Bell 202 and the multiple data message
//! format (GR-30 §2.3, §2.4). It shares nothing with the box's own, as `tones.rs` does not.

const RATE_HZ: f64 = 8_000.0;
const BAUD: f64 = 1_200.0;
const MARK_HZ: f64 = 1_200.0;
const SPACE_HZ: f64 = 2_200.0;
/// -13.5 dBm0, where full scale is 3.17 dBm0.
const AMPLITUDE: f64 = 4_806.0;
const SEIZURE_BITS: usize = 300;
const MARK_BITS: usize = 180;
const MESSAGE: u8 = 0x80;
const TIME: u8 = 0x01;
const NUMBER: u8 = 0x02;
const NAME: u8 = 0x07;

/// What is said between two rings. `time` is month, day, hour and minute, two digits each. What
/// is longer than a message can hold is cut off.
#[must_use]
pub fn bellcore(time: &str, number: &str, name: &str) -> Vec<i16> {
    let mut body = Vec::new();
    for (kind, text, longest) in [(TIME, time, 8), (NUMBER, number, 15), (NAME, name, 15)] {
        let text: Vec<u8> = text.bytes().take(longest).collect();
        body.extend([kind, text.len() as u8]);
        body.extend(text);
    }
    let mut bytes = vec![MESSAGE, body.len() as u8];
    bytes.extend(body);
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    bytes.push(sum.wrapping_neg());

    let mut bits: Vec<bool> = (0..SEIZURE_BITS).map(|at| at % 2 == 1).collect();
    bits.extend([true; MARK_BITS]);
    for byte in bytes {
        bits.push(false);
        bits.extend((0..8).map(|bit| byte >> bit & 1 == 1));
        bits.push(true);
    }
    bits.extend([true; 10]);
    modulated(&bits)
}

fn modulated(bits: &[bool]) -> Vec<i16> {
    let samples = (bits.len() as f64 * RATE_HZ / BAUD) as usize;
    let mut phase = 0.0_f64;
    (0..samples)
        .map(|at| {
            let bit = (at as f64 * BAUD / RATE_HZ) as usize;
            let hz = if bits.get(bit).copied().unwrap_or(true) { MARK_HZ } else { SPACE_HZ };
            phase += std::f64::consts::TAU * hz / RATE_HZ;
            (AMPLITUDE * phase.sin()) as i16
        })
        .collect()
}
