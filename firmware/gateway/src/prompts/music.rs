//! Music on hold of the box's own, for offices that have stored none: a slow round of four
//! chords, broken into single notes, computed and not recorded, so that nobody owns it.

use tipring_media::{Prompt, Rate};

/// Name of a stored prompt that is played instead.
pub(super) const NAME: &str = "music-on-hold";

/// Length of one note, in milliseconds.
const NOTE_MS: u32 = 400;
/// The chords, each as the frequencies of its notes in Hz, lowest first: C, A minor, F, G.
const CHORDS: [[f64; 4]; 4] = [
    [261.63, 329.63, 392.00, 523.25],
    [220.00, 329.63, 440.00, 523.25],
    [261.63, 349.23, 440.00, 523.25],
    [246.94, 293.66, 392.00, 493.88],
];
/// In which order the notes of a chord are played.
const ORDER: [usize; 8] = [0, 1, 2, 3, 2, 3, 2, 1];
/// Full scale is 32,767; a line carries speech at about this.
const PEAK: f64 = 4_500.0;

/// The music, to be played over and over.
pub(super) fn compose() -> Prompt {
    let rate = Rate::Narrow;
    let note_samples = rate.hz() / 1_000 * NOTE_MS;
    let notes = CHORDS.iter().flat_map(|chord| ORDER.iter().filter_map(move |at| chord.get(*at).copied()));
    let samples = notes.flat_map(|hz| {
        (0..note_samples).map(move |at| {
            let seconds = f64::from(at) / f64::from(rate.hz());
            let turn = std::f64::consts::TAU * hz * seconds;
            // A plucked string: two overtones, a quick beginning, and it dies away.
            let string = turn.sin() + 0.4 * (2.0 * turn).sin() + 0.15 * (3.0 * turn).sin();
            let begins = (seconds / 0.01).min(1.0);
            (PEAK * begins * (-seconds * 5.0).exp() * string / 1.55).round() as i16
        })
    });
    Prompt::new(rate, samples.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_music_is_heard_and_does_not_clip() {
        let music = compose();
        assert_eq!(music.duration_ms(), 32 * u64::from(NOTE_MS));
        let peak = music.samples().iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!((2_000..6_000).contains(&peak), "{peak}");
    }
}
