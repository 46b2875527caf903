//! Echo canceller for analog lines.
//!
//! What does it do? Takes out of what a line sends the part that is an echo of what was sent to
//! it: the hybrid of each two-wire line gives some back. What little is left under speech of the
//! far end alone is replaced by the background noise of the line. A modem's answer tone with
//! phase reversals switches all that off until the line is quiet.
//!
//! How does it work? The echo path is learned in the frequency domain, each band at its own
//! pace. Two filters run: one learns all the time, the other speaks and takes over what the first
//! has learned only when that leaves clearly less. While both ends talk the learning one goes
//! astray; it leaves more, so that nothing is taken over, and then begins again at the other.
//!
//! Limits (after ITU-T G.168): 8 kHz; echo up to 64 ms late and at most as loud as 6 dB below
//! what was sent; 30 dB less echo within a second of noise or speech, and after five 30 dB before
//! the rest is hidden, as far as the line's own noise leaves room; what the near end says while
//! both speak passes with errors 20 dB below it, but while a path is new (3 s of far speech) what
//! is 5 dB weaker than the far end is hidden, too. Samples come in multiples of 32; no delay.

mod filter;

use filter::{BLOCK, PARTITIONS, TwoPath};

use super::{
    answer_tone::{AnswerTone, AnswerToneDetector},
    comfort_noise::ComfortNoise,
    peak_of,
};

/// Samples come in multiples of this.
pub const BLOCK_SAMPLES: usize = BLOCK;
/// How far back an echo is found, in ms.
pub const TAIL_MS: usize = PARTITIONS * BLOCK / 8;

/// Weights of the averages of powers: 16 and 128 ms.
const SHORT: f32 = 0.22;
const LONG: f32 = 0.031;
/// Below this the far end is silent, in dBm0.
const FAR_MIN_DBM0: f32 = -45.0;
/// Blocks after which nothing of the far end can still come back: the tail and a little.
const FAR_BLOCKS: usize = PARTITIONS + 4;

/// The learning filter leaves this part of what the other leaves: taken over soon (6 dB), or after
/// a longer time (0.6 dB).
const BETTER_SOON: f32 = 0.25;
const BETTER: f32 = 0.87;
/// The same while the near end may be speaking: 3 dB for 300 ms.
const BETTER_IN_DOUBT: f32 = 0.5;
/// Blocks for which one or the other must hold.
const BETTER_BLOCKS: u32 = 4;
const BETTER_BLOCKS_IN_DOUBT: u32 = 75;
/// It leaves this much more, for so many blocks: it begins again at the other.
const WORSE: f32 = 4.0;
const WORSE_BLOCKS: u32 = 12;

/// Part of the echo that is left at least; by how much that grows in a block (1 dB a second).
const LEAK_MIN: f32 = 1e-4;
const LEAK_GROWS: f32 = 1.000_92;
/// Below it the path counts as known (20 dB).
const LEAK_KNOWN: f32 = 0.01;
/// More is left than this many times that part: the near end speaks, or the path is another one.
const DOUBTFUL: f32 = 10.0;
/// Part of what was heard that is left when there is little to learn any more (25 dB).
const FINE: f32 = 0.003;

/// Residue up to this many times the least part of the echo is no speech, within these bounds.
const RESIDUE: f32 = 8.0;
const RESIDUE_MIN: f32 = 0.02;
const RESIDUE_MAX: f32 = 0.15;
/// Blocks of far speech in which the path is still new: 3 s. Until then more counts as residue, and
/// whatever is weaker than an echo of 4.5 dB loss.
const YOUNG_BLOCKS: u32 = 750;
const RESIDUE_YOUNG: f32 = 0.4;
const ECHO_YOUNG: f32 = 0.35;
/// Blocks of more than residue that are near speech.
const NEAR_BLOCKS: u32 = 3;
/// Blocks for which near speech goes on after it was heard: 60 ms, and 20 ms while young.
const HANG_BLOCKS: u32 = 15;
const HANG_BLOCKS_YOUNG: u32 = 5;
/// Change of the gain of the residue in a block.
const FADE: f32 = 0.25;

/// Quiet after which an answer tone no longer holds: −36 dBm0 for 250 ms (G.168 §7.5).
const RELEASE_DBM0: f32 = -36.0;
const RELEASE_BLOCKS: u32 = (250 * 8 / BLOCK) as u32;

/// Averages of powers.
#[derive(Clone, Copy, Default)]
struct Averages {
    short: f32,
    long: f32,
}

impl Averages {
    fn push(&mut self, power: f32) {
        self.short += SHORT * (power - self.short);
        self.long += LONG * (power - self.long);
    }
}

/// The canceller of one line.
pub struct EchoCanceller {
    paths: TwoPath,
    /// Power of the far end, block by block.
    far_powers: [f32; FAR_BLOCKS],
    far_place: usize,
    /// What came in, and what each filter leaves of it.
    heard: Averages,
    left: Averages,
    learning: Averages,
    echo: Averages,
    better: u32,
    worse: u32,
    /// Least part of the echo that was left, and whether it is much more now.
    leak: f32,
    doubtful: bool,
    /// Blocks in which the far end spoke on this path.
    age: u32,
    /// Blocks in a row with more than residue, and since the near end spoke.
    near_run: u32,
    near_quiet: u32,
    /// 1: the residue passes; 0: noise in its place.
    gain: f32,
    noise: ComfortNoise,
    answer_tones: [AnswerToneDetector; 2],
    /// Blocks of quiet until the canceller works again; none while it does.
    off: Option<u32>,
    residue_is_hidden: bool,
}

impl Default for EchoCanceller {
    fn default() -> Self {
        Self {
            paths: TwoPath::new(),
            heard: Averages::default(),
            left: Averages::default(),
            learning: Averages::default(),
            echo: Averages::default(),
            better: 0,
            worse: 0,
            leak: 1.0,
            doubtful: false,
            age: 0,
            near_run: 0,
            far_powers: [0.0; FAR_BLOCKS],
            far_place: 0,
            near_quiet: u32::MAX,
            gain: 1.0,
            noise: ComfortNoise::default(),
            answer_tones: [AnswerToneDetector::default(), AnswerToneDetector::default()],
            off: None,
            residue_is_hidden: true,
        }
    }
}

impl EchoCanceller {
    /// Without the noise in place of the residue: for measurements.
    #[must_use]
    pub fn linear() -> Self {
        Self { residue_is_hidden: false, ..Self::default() }
    }

    /// Whether an answer tone has switched it off.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.off.is_some()
    }

    /// By how much less came out than came in, in dB, on average over the last tenth of a second
    /// in which the far end spoke; the residue counts as if it were not hidden.
    #[must_use]
    pub fn loss_db(&self) -> f32 {
        let ratio = self.heard.long.max(1.0) / self.left.long.max(1.0);
        10.0 * ratio.log10()
    }

    /// Takes the echo out of `near`, which came from the line while `far` was sent to it. Both
    /// have the same number of samples, a multiple of [`BLOCK_SAMPLES`]; what is beyond that
    /// passes as it is.
    pub fn process(&mut self, far: &[i16], near: &mut [i16]) {
        debug_assert!(far.len() == near.len() && far.len().is_multiple_of(BLOCK), "whole blocks");
        let [sent, received] = &mut self.answer_tones;
        sent.push(far);
        received.push(near);
        if [sent.now(), received.now()].contains(&Some(AnswerTone::Reversed)) {
            self.off = Some(RELEASE_BLOCKS);
        }
        for (far, near) in far.chunks_exact(BLOCK).zip(near.chunks_exact_mut(BLOCK)) {
            let mut said = [0.0; BLOCK];
            let mut heard = [0.0; BLOCK];
            said.iter_mut().zip(far).for_each(|(to, from)| *to = f32::from(*from));
            heard.iter_mut().zip(near.iter()).for_each(|(to, from)| *to = f32::from(*from));
            if self.off.is_some() {
                self.wait_for_quiet(&said, &heard);
                continue;
            }
            let clean = self.block(&said, &heard);
            // The cast holds the value at full scale.
            near.iter_mut().zip(clean).for_each(|(to, from)| *to = from.round() as i16);
        }
    }

    fn wait_for_quiet(&mut self, said: &[f32; BLOCK], heard: &[f32; BLOCK]) {
        let quiet = power(said).max(power(heard)) < mean_square(RELEASE_DBM0);
        self.off = match self.off {
            Some(blocks) if quiet && blocks > 1 => Some(blocks - 1),
            Some(_) if quiet => None,
            Some(_) => Some(RELEASE_BLOCKS),
            None => None,
        };
    }

    fn block(&mut self, said: &[f32; BLOCK], heard: &[f32; BLOCK]) -> [f32; BLOCK] {
        self.paths.far(said);
        self.far_powers[self.far_place] = power(said);
        self.far_place = (self.far_place + 1) % FAR_BLOCKS;
        let echo = self.paths.echo(false);
        let mut left = difference(heard, &echo);
        if self.far_powers.iter().all(|power| *power < mean_square(FAR_MIN_DBM0)) {
            // Nothing is on its way that could come back.
            self.noise.learn(heard);
            self.near_quiet = 0;
            self.fade(&mut left, 1.0);
            return left;
        }
        let learned = self.paths.echo(true);
        let learning = difference(heard, &learned);
        self.heard.push(power(heard));
        self.left.push(power(&left));
        self.learning.push(power(&learning));
        self.echo.push(power(&echo));
        let fine = self.left.long < FINE * self.heard.long;
        self.paths.learn(&learning, fine);
        if !fine {
            // The same block once more: speech is too poor a teacher to be heard only once.
            let learned = self.paths.echo(true);
            self.paths.learn(&difference(heard, &learned), fine);
        }
        self.choose();
        self.age = self.age.saturating_add(1);
        let hide = self.residue_is_hidden && self.only_far_speaks();
        if self.leak > LEAK_KNOWN && self.left.short > self.heard.short {
            // Two that talk before anything is known: better an echo than two.
            left = *heard;
        }
        self.fade(&mut left, if hide { 0.0 } else { 1.0 });
        left
    }

    /// Whether what is left is the residue of an echo and nothing else.
    fn only_far_speaks(&mut self) -> bool {
        let young = self.age < YOUNG_BLOCKS;
        let limit = if young { RESIDUE_YOUNG } else { (RESIDUE * self.leak).clamp(RESIDUE_MIN, RESIDUE_MAX) };
        let far = self.far_powers.iter().fold(0.0, |most: f32, power| most.max(*power));
        let residue =
            self.left.short < limit * self.echo.short || young && self.heard.short < ECHO_YOUNG * far;
        self.near_run = if residue { 0 } else { self.near_run.saturating_add(1) };
        self.near_quiet = if self.near_run >= NEAR_BLOCKS { 0 } else { self.near_quiet.saturating_add(1) };
        self.near_quiet > if young { HANG_BLOCKS_YOUNG } else { HANG_BLOCKS }
    }

    /// Whether the filter that learns takes over, or begins again.
    fn choose(&mut self) {
        // What is left of the echo when it was least, and a little more each block.
        let ratio = self.left.long / self.echo.long.max(1.0);
        self.leak = (self.leak * LEAK_GROWS).min(ratio.max(LEAK_MIN)).min(1.0);
        // More is left than the path as it is known explains: the near end speaks, or the path is
        // another one.
        let doubtful = self.leak < LEAK_KNOWN && self.left.short > DOUBTFUL * self.leak * self.echo.short;
        if self.doubtful && !doubtful && self.learning.long > self.left.long {
            self.recall();
        }
        self.doubtful = doubtful;
        let clearly =
            self.learning.short < BETTER_SOON * self.left.short && self.learning.long < self.left.long;
        let (better, needed) = if doubtful {
            (self.learning.long < BETTER_IN_DOUBT * self.left.long, BETTER_BLOCKS_IN_DOUBT)
        } else if self.leak > LEAK_KNOWN {
            (self.learning.short < self.left.short && self.learning.long < self.left.long, 1)
        } else {
            let after_all =
                self.learning.long < BETTER * self.left.long && self.learning.short < self.left.short;
            (clearly || after_all, BETTER_BLOCKS)
        };
        self.better = if better { self.better + 1 } else { 0 };
        let worse = self.learning.short > WORSE * self.left.short;
        self.worse = if worse { self.worse + 1 } else { 0 };
        if self.better >= needed {
            self.paths.adopt();
            self.left = self.learning;
            self.better = 0;
            if doubtful {
                // Another path.
                self.leak = 1.0;
                self.age = 0;
            }
        } else if self.worse >= WORSE_BLOCKS {
            self.recall();
        }
    }

    fn recall(&mut self) {
        self.paths.recall();
        self.learning = self.left;
        self.worse = 0;
        self.better = 0;
    }

    /// Brings the gain nearer to `wanted` and fills what it takes away with noise.
    fn fade(&mut self, samples: &mut [f32; BLOCK], wanted: f32) {
        let from = self.gain;
        self.gain += (wanted - from).clamp(-FADE, FADE);
        if from >= 1.0 && self.gain >= 1.0 {
            return;
        }
        let mut noise = [0.0; BLOCK];
        self.noise.fill(&mut noise);
        let step = (self.gain - from) / BLOCK as f32;
        let mut gain = from;
        for (sample, noise) in samples.iter_mut().zip(noise) {
            gain += step;
            *sample = gain * *sample + (1.0 - gain) * noise;
        }
    }
}

fn power(block: &[f32; BLOCK]) -> f32 {
    block.iter().map(|x| x * x).sum::<f32>() / BLOCK as f32
}

fn difference(a: &[f32; BLOCK], b: &[f32; BLOCK]) -> [f32; BLOCK] {
    core::array::from_fn(|n| a[n] - b[n])
}

fn mean_square(level_dbm0: f32) -> f32 {
    0.5 * peak_of(level_dbm0).powi(2)
}
