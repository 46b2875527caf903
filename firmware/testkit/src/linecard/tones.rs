//! Tones of this simulator, and its ear for keys. They share nothing with those of the box, so
//! that neither hides the other's mistakes.

use std::collections::VecDeque;

/// Samples a second.
const RATE_HZ: f64 = 8_000.0;
const ROWS_HZ: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS_HZ: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
const KEYS: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// The amplitude of a sine at a level in dBm0: full scale is 3.17 dBm0 (G.711 µ-law).
fn amplitude(level_dbm0: f64) -> f64 {
    32_767.0 * 10.0_f64.powf((level_dbm0 - 3.17) / 20.0)
}

/// Frequencies together, in a cadence, for as long as it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Tone {
    hz: Vec<f64>,
    /// Samples on and off in turn; empty for a tone that does not stop.
    cadence: Vec<usize>,
    amplitude: f64,
    at: usize,
}

impl Tone {
    pub(crate) fn new(hz: &[f64], cadence_ms: &[u32], level_dbm0: f64) -> Self {
        let cadence = cadence_ms.iter().map(|ms| *ms as usize * 8).collect();
        Self { hz: hz.to_vec(), cadence, amplitude: amplitude(level_dbm0), at: 0 }
    }

    pub(crate) fn sample(&mut self) -> i16 {
        let at = self.at;
        self.at += 1;
        let whole: usize = self.cadence.iter().sum();
        let mut place = if whole == 0 { 0 } else { at % whole };
        let mut on = true;
        for step in &self.cadence {
            if place < *step {
                break;
            }
            place -= step;
            on = !on;
        }
        if !on {
            return 0;
        }
        let turn = |hz: &f64| (std::f64::consts::TAU * hz * at as f64 / RATE_HZ).sin();
        (self.amplitude * self.hz.iter().map(turn).sum::<f64>()).clamp(-32_768.0, 32_767.0) as i16
    }
}

/// Keys as tones: each so long, and silence as long. A key that there is not is passed over.
pub(crate) fn keys(keys: &str, on_ms: u32, off_ms: u32, level_dbm0: f64) -> Vec<i16> {
    let mut samples = Vec::new();
    for key in keys.chars() {
        let found = KEYS.iter().zip(ROWS_HZ).find_map(|(row, low)| {
            row.iter().zip(COLUMNS_HZ).find_map(|(name, high)| (*name == key).then_some([low, high]))
        });
        let Some(pair) = found else { continue };
        let mut tone = Tone::new(&pair, &[], level_dbm0);
        samples.extend((0..on_ms * 8).map(|_| tone.sample()));
        samples.extend((0..off_ms * 8).map(|_| 0));
    }
    samples
}

/// Samples that are judged together: 20 ms.
const BLOCK: usize = 160;

/// Finds keys in sound: two blocks of one key begin it, two of none end it.
#[derive(Default)]
pub(crate) struct KeyEar {
    block: VecDeque<i16>,
    candidate: Option<char>,
    down: Option<char>,
    quiet: u32,
}

impl KeyEar {
    /// Takes samples and gives each key that goes down.
    pub(crate) fn hear(&mut self, samples: &[i16]) -> Option<char> {
        self.block.extend(samples);
        if self.block.len() < BLOCK {
            return None;
        }
        let block: Vec<f64> = self.block.drain(..BLOCK).map(f64::from).collect();
        let key = judge(&block);
        let certain = key.filter(|_| key == self.candidate);
        self.candidate = key;
        if key.is_none() || key != self.down {
            self.quiet += 1;
        } else {
            self.quiet = 0;
        }
        if self.quiet >= 2 {
            self.down = None;
        }
        if certain.is_some() && certain != self.down {
            self.down = certain;
            self.quiet = 0;
            return certain;
        }
        None
    }
}

fn judge(block: &[f64]) -> Option<char> {
    let energy: f64 = block.iter().map(|sample| sample * sample).sum();
    // Below about -35 dBm0 there is nothing to judge.
    if energy / (BLOCK as f64) < 300.0_f64.powi(2) {
        return None;
    }
    let strongest = |frequencies: &[f64; 4]| {
        let levels = frequencies.map(|hz| goertzel(block, hz));
        let (at, best) = levels.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
        let others = levels.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, level)| level);
        others.clone().all(|level| level * 4.0 < *best).then_some((at, *best))
    };
    let (row, low) = strongest(&ROWS_HZ)?;
    let (column, high) = strongest(&COLUMNS_HZ)?;
    let pure = low + high > 0.7 * energy;
    let even = low < 10.0 * high && high < 10.0 * low;
    (pure && even).then(|| KEYS.get(row)?.get(column).copied()).flatten()
}

/// The energy of `block` at a frequency, on the scale of the sum of its squares.
fn goertzel(block: &[f64], hz: f64) -> f64 {
    let turn = std::f64::consts::TAU * hz / RATE_HZ;
    let (mut one, mut two) = (0.0, 0.0);
    for sample in block {
        let next = sample + 2.0 * turn.cos() * one - two;
        two = one;
        one = next;
    }
    let power = one * one + two * two - 2.0 * turn.cos() * one * two;
    power * 2.0 / block.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(samples: &[i16]) -> String {
        let mut ear = KeyEar::default();
        samples.chunks(8).filter_map(|eight| ear.hear(eight)).collect()
    }

    #[test]
    fn keys_that_are_pressed_are_heard() {
        for level in [-25.0, -10.0, -4.0] {
            assert_eq!(heard(&keys("123A456B789C*0#D1155", 100, 100, level)), "123A456B789C*0#D1155");
            assert_eq!(heard(&keys("0918", 70, 60, level)), "0918");
        }
    }

    #[test]
    fn speech_tones_and_silence_are_no_keys() {
        assert_eq!(heard(&crate::phone::voice::speech_like(4, 20_000)), "");
        let mut dial = Tone::new(&[350.0, 440.0], &[], -10.0);
        let samples: Vec<i16> = (0..16_000).map(|_| dial.sample()).collect();
        assert_eq!(heard(&samples), "");
        assert_eq!(heard(&[0; 8_000]), "");
    }

    #[test]
    fn a_cadence_is_kept() {
        let mut tone = Tone::new(&[425.0], &[10, 20], -10.0);
        let samples: Vec<i16> = (0..480).map(|_| tone.sample()).collect();
        assert!(samples[1..80].iter().any(|sample| *sample > 3_000));
        assert!(samples[80..240].iter().all(|sample| *sample == 0));
        assert!(samples[241..320].iter().any(|sample| *sample > 3_000));
    }
}
