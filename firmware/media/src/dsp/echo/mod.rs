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
//! both speak passes with errors 20 dB below it. While nothing is known of the line, what is 4.5 dB
//! weaker than the far end may be its echo and is hidden; the loudest echo that is possible is
//! learned from where the line was quietest under the far end. A line whose echo is 39 dB weaker
//! passes as it is, and an echo that comes there later is heard for up to a second and a half.
//! Samples come in multiples of 32; no delay.

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
/// Blocks of far speech in which the path is still new: 3 s. Until then more counts as residue.
const YOUNG_BLOCKS: u32 = 750;
const RESIDUE_YOUNG: f32 = 0.4;
/// The loudest echo of a line of which nothing is known: 6 dB of loss, and what speech of few
/// frequencies is above that.
const PATH_MAX: f32 = 0.35;
/// How much louder than where it was weakest an echo may be: frequencies come back unlike (9 dB).
const PATH_MARGIN: f32 = 8.0;
/// A louder path is believed again by so much in a block: 1 dB in four seconds.
const PATH_GROWS: f32 = 1.000_23;
/// Below it a line has no echo (39 dB of loss, and the margin).
const PATH_ABSENT: f32 = 0.001;
/// Part of the echo of which nothing was learned, beside what is left of it; and the least while
/// the path is new (−14 dB): some sounds were not said yet.
const UNLEARNED: f32 = 8.0;
const UNLEARNED_YOUNG: f32 = 0.04;
/// Blocks of more than residue that are near speech.
const NEAR_BLOCKS: u32 = 3;
/// Blocks for which near speech goes on after it was heard: 60 ms.
const HANG_BLOCKS: u32 = 15;
/// The same while nothing is known of the path: 100 ms.
const HANG_BLOCKS_UNKNOWN: u32 = 25;
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
    /// The same, averaged over 16 ms.
    far_means: [f32; FAR_BLOCKS],
    far_place: usize,
    far: Averages,
    /// The echo is at most this part of the far end's power.
    path_max: f32,
    /// What may be left of it in this block.
    residue_max: f32,
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
    /// The path was known once.
    known: bool,
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
            known: false,
            age: 0,
            near_run: 0,
            far_powers: [0.0; FAR_BLOCKS],
            far_means: [0.0; FAR_BLOCKS],
            far_place: 0,
            far: Averages::default(),
            path_max: PATH_MAX,
            residue_max: 0.0,
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

    /// What of the far end's power may be left at most now, as a ratio: from 0 to 0.35.
    #[must_use]
    pub fn residue_max(&self) -> f32 {
        let far = self.far_means.iter().fold(1.0, |most: f32, power| most.max(*power));
        (self.residue_max / far).min(PATH_MAX)
    }

    /// Takes the echo out of `near`, which came from the line while `far` was sent to it. Both
    /// have the same number of samples, a multiple of [`BLOCK_SAMPLES`]; what is beyond that
    /// passes as it is.
    pub fn process(&mut self, far: &[i16], near: &mut [i16]) {
        self.process_for_both(far, near, &mut []);
    }

    /// The same, and gives what came out before the residue was hidden: for detectors. `kept` is as
    /// long as the others.
    pub fn process_for_both(&mut self, far: &[i16], near: &mut [i16], kept: &mut [i16]) {
        debug_assert!(far.len() == near.len() && far.len().is_multiple_of(BLOCK), "whole blocks");
        let mut kept = kept.chunks_exact_mut(BLOCK);
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
            let kept = kept.next();
            if self.off.is_some() {
                if let Some(kept) = kept {
                    kept.copy_from_slice(near);
                }
                self.wait_for_quiet(&said, &heard);
                continue;
            }
            let (mut clean, gain) = self.block(&said, &heard);
            if let Some(kept) = kept {
                write(&clean, kept);
            }
            self.fade(&mut clean, gain);
            write(&clean, near);
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

    /// What is left of the echo is taken away; gives what remains, and how much of that is to be
    /// heard.
    fn block(&mut self, said: &[f32; BLOCK], heard: &[f32; BLOCK]) -> ([f32; BLOCK], f32) {
        self.paths.far(said);
        self.far_powers[self.far_place] = power(said);
        self.far.push(power(said));
        self.far_means[self.far_place] = self.far.short;
        self.far_place = (self.far_place + 1) % FAR_BLOCKS;
        let echo = self.paths.echo(false);
        let mut left = difference(heard, &echo);
        if self.far_powers.iter().all(|power| *power < mean_square(FAR_MIN_DBM0)) {
            // Nothing is on its way that could come back.
            self.noise.learn(heard);
            self.near_quiet = 0;
            self.residue_max = 0.0;
            return (left, 1.0);
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
        let most = self.measure_path();
        self.choose();
        self.age = self.age.saturating_add(1);
        let hide = self.only_far_speaks(most) && self.residue_is_hidden;
        let too_much = self.left.short > self.heard.short || self.echo.short > self.path_max * most;
        if !self.known && (too_much || self.has_no_echo()) {
            // Two that talk before anything is known: better an echo than two.
            left = *heard;
            self.residue_max = self.path_max * most;
        }
        (left, if hide { 0.0 } else { 1.0 })
    }

    /// Whether the line is known to give back nothing.
    fn has_no_echo(&self) -> bool {
        !self.known && self.path_max < PATH_ABSENT
    }

    /// Sees how loud an echo can be at most. Whatever its delay, it is some of what the far end
    /// said within the tail; and what the near end says only adds to it. Gives the loudest that the
    /// far end was in that time.
    fn measure_path(&mut self) -> f32 {
        let least = self.far_means.iter().fold(f32::MAX, |least, power| least.min(*power));
        self.path_max = (self.path_max * PATH_GROWS).min(PATH_MAX);
        if least > mean_square(FAR_MIN_DBM0) {
            self.path_max = self.path_max.min(PATH_MARGIN * self.heard.short / least);
        }
        self.far_means.iter().fold(0.0, |most: f32, power| most.max(*power))
    }

    /// Whether what is left is the residue of an echo and nothing else. The far end was at most
    /// this loud.
    fn only_far_speaks(&mut self, most: f32) -> bool {
        let young = self.age < YOUNG_BLOCKS;
        let limit = if young { RESIDUE_YOUNG } else { (RESIDUE * self.leak).clamp(RESIDUE_MIN, RESIDUE_MAX) };
        let unlearned_min = if young { UNLEARNED_YOUNG } else { 0.0 };
        let unlearned = (UNLEARNED * (self.leak - LEAK_KNOWN)).clamp(unlearned_min, 1.0);
        let path = self.path_max * most;
        self.residue_max = limit * self.echo.short + unlearned * path;
        let residue = !self.has_no_echo() && self.left.short < self.residue_max;
        self.near_run = if residue { 0 } else { self.near_run.saturating_add(1) };
        self.near_quiet = if self.near_run >= NEAR_BLOCKS { 0 } else { self.near_quiet.saturating_add(1) };
        self.near_quiet > if self.known { HANG_BLOCKS } else { HANG_BLOCKS_UNKNOWN }
    }

    /// Whether the filter that learns takes over, or begins again.
    fn choose(&mut self) {
        // What is left of the echo when it was least, and a little more each block.
        let ratio = self.left.long / self.echo.long.max(1.0);
        self.leak = (self.leak * LEAK_GROWS).min(ratio.max(LEAK_MIN)).min(1.0);
        self.known |= self.leak < LEAK_KNOWN;
        // More is left than the path as it is known explains: the near end speaks, or the path is
        // another one.
        let doubtful = self.leak < LEAK_KNOWN && self.left.short > DOUBTFUL * self.leak * self.echo.short;
        if self.doubtful && !doubtful && self.learning.long > self.left.long {
            self.recall();
        }
        self.doubtful = doubtful;
        let clearly =
            self.learning.short < BETTER_SOON * self.left.short && self.learning.long < self.left.long;
        let (better, needed) = if doubtful || self.has_no_echo() {
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
            if doubtful || self.has_no_echo() {
                // Another path.
                self.path_max = PATH_MAX;
                self.known = false;
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

/// The cast holds the value at full scale.
fn write(samples: &[f32; BLOCK], to: &mut [i16]) {
    to.iter_mut().zip(samples).for_each(|(to, from)| *to = from.round() as i16);
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
