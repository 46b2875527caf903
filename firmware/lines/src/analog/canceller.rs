//! The echo canceller of a port, fitted to periods of 10 ms.
//!
//! The canceller takes blocks of 4 ms, and two periods are five of them: what passes through is
//! late by 2 ms, and no more. What is played comes back when it has been through the card: two
//! periods wait there, so the canceller hears of it two periods later, and its tail is left to
//! the line. In a modem it waits longer.

use tipring_media::dsp::echo::{BLOCK_SAMPLES, EchoCanceller};

use crate::port::linecard::PERIOD_FRAMES;

/// Periods that what is played waits in a card at least,
const CARD_PERIODS: usize = 2;
/// and in whatever else.
const PERIODS_MAX: usize = 8;
/// Samples that one period and what was left of the last can be, in whole blocks.
const SPAN: usize = 3 * BLOCK_SAMPLES;
/// The loudest echo, as a ratio of powers (6 dB).
const ECHO_MAX: f32 = 0.25;
/// Samples by which what passes is late.
const LATE: usize = PERIOD_FRAMES % BLOCK_SAMPLES;

/// 10 ms without the echo of what was played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cleaned {
    /// Noise is in the place of what the filter could not take away: for legs.
    pub(super) hidden: [i16; PERIOD_FRAMES],
    /// It is left in, and so is a weak tone or key under what is played: for detectors.
    pub(super) kept: [i16; PERIOD_FRAMES],
}

/// See the [module](self).
pub(super) struct Canceller {
    canceller: EchoCanceller,
    /// What was played, oldest first.
    played: [[i16; PERIOD_FRAMES]; PERIODS_MAX],
    /// So many periods ago it was played what may be heard now.
    periods: usize,
    /// What is too little for a block yet: played, heard.
    left: [[i16; SPAN]; 2],
    filled: usize,
    /// What is done and was not given yet.
    done: [[i16; SPAN]; 2],
    ready: usize,
}

impl Default for Canceller {
    fn default() -> Self {
        Self {
            canceller: EchoCanceller::default(),
            played: [[0; PERIOD_FRAMES]; PERIODS_MAX],
            periods: CARD_PERIODS,
            left: [[0; SPAN]; 2],
            filled: 0,
            done: [[0; SPAN]; 2],
            ready: LATE,
        }
    }
}

impl Canceller {
    /// Tells what is played.
    pub(super) fn played(&mut self, samples: &[i16; PERIOD_FRAMES]) {
        self.played.rotate_left(1);
        if let Some(newest) = self.played.last_mut() {
            *newest = *samples;
        }
    }

    /// By how much less came out than came in while something was played, in dB.
    pub(super) fn loss_db(&self) -> f32 {
        self.canceller.loss_db()
    }

    /// What is played comes back after so many periods at least: 1 to 8.
    pub(super) fn expect_after(&mut self, periods: usize) {
        self.periods = periods.clamp(1, PERIODS_MAX);
    }

    /// What was played when what is heard now came from the wire.
    pub(super) const fn far(&self) -> &[i16; PERIOD_FRAMES] {
        // From 1 to 8 of 8, so that it is always one of them.
        &self.played[PERIODS_MAX - self.periods]
    }

    /// Takes the echo out of 10 ms. To be called before [`played`](Self::played).
    pub(super) fn process(&mut self, heard: &[i16; PERIOD_FRAMES]) -> Cleaned {
        let played = *self.far();
        let [far, near] = &mut self.left;
        far[self.filled..self.filled + PERIOD_FRAMES].copy_from_slice(&played);
        near[self.filled..self.filled + PERIOD_FRAMES].copy_from_slice(heard);
        self.filled += PERIOD_FRAMES;
        let whole = self.filled / BLOCK_SAMPLES * BLOCK_SAMPLES;
        let mut kept = [0; SPAN];
        self.canceller.process_for_both(&far[..whole], &mut near[..whole], &mut kept[..whole]);
        let mut out = [[0; PERIOD_FRAMES]; 2];
        let now = PERIOD_FRAMES - self.ready;
        for ((out, done), clean) in out.iter_mut().zip(&mut self.done).zip([&near[..whole], &kept[..whole]]) {
            let (before, after) = out.split_at_mut(self.ready);
            before.copy_from_slice(&done[..self.ready]);
            after.copy_from_slice(&clean[..now]);
            done[..whole - now].copy_from_slice(&clean[now..]);
        }
        self.ready = whole - now;
        far.copy_within(whole..self.filled, 0);
        near.copy_within(whole..self.filled, 0);
        self.filled -= whole;
        let [hidden, kept] = out;
        Cleaned { hidden, kept }
    }

    /// What of [`far`](Self::far) may be left in what [`process`](Self::process) gave: as much
    /// weaker that 6 dB below it is the loudest.
    pub(super) fn left(&self) -> [i16; PERIOD_FRAMES] {
        let gain = (self.canceller.residue_max() / ECHO_MAX).sqrt().min(1.0);
        self.far().map(|sample| (gain * f32::from(sample)) as i16)
    }
}

#[cfg(test)]
mod tests {
    use tipring_testkit::phone::voice;

    use super::*;

    fn periods(samples: &[i16]) -> impl Iterator<Item = &[i16; PERIOD_FRAMES]> {
        samples.chunks_exact(PERIOD_FRAMES).map(|part| part.try_into().unwrap())
    }

    #[test]
    fn what_is_said_passes_two_milliseconds_late() {
        let (said, mut canceller) = (voice::speech_like(1, 1_000), Canceller::default());
        let mut heard = Vec::new();
        for period in periods(&said) {
            heard.extend(canceller.process(period).hidden);
            canceller.played(&[0; PERIOD_FRAMES]);
        }
        assert_eq!(heard[LATE..], said[..said.len() - LATE]);
    }

    #[test]
    fn the_echo_of_what_is_played_goes() {
        // It comes back after the card's two periods and 5 ms of the line.
        echo_goes(None, CARD_PERIODS * PERIOD_FRAMES + 40);
        // In a modem, what is played waits for 50 ms, and as long again on a bad day.
        for delay_ms in [50, 80] {
            echo_goes(Some(3), delay_ms * 8);
        }
    }

    fn echo_goes(periods_expected: Option<usize>, delay: usize) {
        let (said, mut canceller) = (voice::speech_like(2, 6_000), Canceller::default());
        if let Some(periods) = periods_expected {
            canceller.expect_after(periods);
        }
        let energy = |samples: &[i16]| samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
        // 12 dB weaker.
        let echo: Vec<i16> = vec![0; delay].into_iter().chain(said.iter().map(|s| s / 4)).collect();
        let mut left = Vec::new();
        for (heard, played) in periods(&echo).zip(periods(&said)) {
            left.extend(canceller.process(heard).hidden);
            canceller.played(played);
        }
        let (before, after) = (energy(&echo[24_000..left.len()]), energy(&left[24_000..]));
        assert!(before > 1_000.0 * after, "{delay}: {before} {after}");
    }
}
