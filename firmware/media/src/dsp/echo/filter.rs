//! The adaptive filter: what of the far end comes back.
//!
//! Overlap-save in partitions of one block. A spectrum stands as real and imaginary parts of the
//! bins from 0 on; the real value at half the sampling rate has the place of the first imaginary
//! part, which is always 0.

use crate::dsp::fft::RealFft;

/// Samples of a block and bins of a spectrum.
pub(super) const BLOCK: usize = 32;
/// Samples of a transform.
const SPAN: usize = 2 * BLOCK;
/// Blocks that the filter reaches back: 64 ms.
pub(super) const PARTITIONS: usize = 16;

/// Step of the adaptation while little is known, and after.
const STEP_COARSE: f32 = 0.6;
const STEP_FINE: f32 = 0.25;
/// Of the mean power of all bins, what is added to each: weak bins learn slowly.
const EVEN: f32 = 0.01;
/// Partitions that are brought back to their length in each block.
const TRIMMED_AT_ONCE: usize = 4;
/// What of the eagerness every partition has alike, and how often the rest is given anew.
const EVEN_EAGER: f32 = 0.6;
const EAGER_BLOCKS: u32 = 4;
/// Power below which nothing is learned: a mean square of −52 dBm0 in each bin.
const POWER_FLOOR: f32 = 1_600.0 * (SPAN * PARTITIONS) as f32;

/// One spectrum.
#[derive(Clone, Copy)]
pub(super) struct Bins {
    re: [f32; BLOCK],
    im: [f32; BLOCK],
}

impl Bins {
    const ZERO: Self = Self { re: [0.0; BLOCK], im: [0.0; BLOCK] };

    /// Adds `a` times `b`.
    #[inline]
    fn add_product(&mut self, a: &Self, b: &Self) {
        let (dc, half) = (self.re[0] + a.re[0] * b.re[0], self.im[0] + a.im[0] * b.im[0]);
        for k in 0..BLOCK {
            self.re[k] += a.re[k] * b.re[k] - a.im[k] * b.im[k];
            self.im[k] += a.re[k] * b.im[k] + a.im[k] * b.re[k];
        }
        (self.re[0], self.im[0]) = (dc, half);
    }

    /// Adds `b` times the conjugate of `a`, times `by`.
    #[inline]
    fn add_conjugate_product(&mut self, a: &Self, b: &Self, by: f32) {
        let (dc, half) = (self.re[0] + by * a.re[0] * b.re[0], self.im[0] + by * a.im[0] * b.im[0]);
        for k in 0..BLOCK {
            let (re, im) = (by * a.re[k], by * a.im[k]);
            self.re[k] += re * b.re[k] + im * b.im[k];
            self.im[k] += re * b.im[k] - im * b.re[k];
        }
        (self.re[0], self.im[0]) = (dc, half);
    }

    /// Adds the power of each bin.
    fn add_power_to(&self, powers: &mut [f32; BLOCK], half: &mut f32) {
        let dc = powers[0] + self.re[0] * self.re[0];
        *half += self.im[0] * self.im[0];
        for ((power, re), im) in powers.iter_mut().zip(&self.re).zip(&self.im) {
            *power += re * re + im * im;
        }
        powers[0] = dc;
    }
}

/// The transform and room for it.
struct Transform {
    fft: RealFft,
    re: [f32; BLOCK + 1],
    im: [f32; BLOCK + 1],
    samples: [f32; SPAN],
}

impl Transform {
    fn forward(&mut self) -> Bins {
        self.fft.forward(&self.samples, &mut self.re, &mut self.im);
        let mut bins = Bins::ZERO;
        bins.re.copy_from_slice(&self.re[..BLOCK]);
        bins.im.copy_from_slice(&self.im[..BLOCK]);
        bins.im[0] = self.re[BLOCK];
        bins
    }

    fn backward(&mut self, bins: &Bins) {
        self.re[..BLOCK].copy_from_slice(&bins.re);
        self.im[..BLOCK].copy_from_slice(&bins.im);
        self.re[BLOCK] = bins.im[0];
        (self.im[0], self.im[BLOCK]) = (0.0, 0.0);
        self.fft.backward(&mut self.re, &mut self.im, &mut self.samples);
    }
}

/// Two filters over the same far end: one that speaks, one that learns.
pub(super) struct TwoPath {
    transform: Transform,
    far_last: [f32; BLOCK],
    /// Spectra of the far end; the newest at `newest`.
    far: Box<[Bins; PARTITIONS]>,
    newest: usize,
    speaks: Box<[Bins; PARTITIONS]>,
    learns: Box<[Bins; PARTITIONS]>,
    /// The partition that is brought back to its length next.
    trimmed: usize,
    /// How eagerly each partition learns: those that hold more of the echo more. 1 on average.
    eager: [f32; PARTITIONS],
    blocks: u32,
}

impl TwoPath {
    pub(super) fn new() -> Self {
        let transform = Transform {
            fft: RealFft::new(SPAN),
            re: [0.0; BLOCK + 1],
            im: [0.0; BLOCK + 1],
            samples: [0.0; SPAN],
        };
        Self {
            transform,
            far_last: [0.0; BLOCK],
            far: Box::new([Bins::ZERO; PARTITIONS]),
            newest: 0,
            speaks: Box::new([Bins::ZERO; PARTITIONS]),
            learns: Box::new([Bins::ZERO; PARTITIONS]),
            trimmed: 0,
            eager: [1.0; PARTITIONS],
            blocks: 0,
        }
    }

    /// Takes the next block of the far end.
    pub(super) fn far(&mut self, block: &[f32; BLOCK]) {
        self.transform.samples[..BLOCK].copy_from_slice(&self.far_last);
        self.transform.samples[BLOCK..].copy_from_slice(block);
        self.far_last = *block;
        self.newest = (self.newest + PARTITIONS - 1) % PARTITIONS;
        self.far[self.newest] = self.transform.forward();
    }

    /// What the filter that speaks, or the one that learns, takes for the echo in this block.
    pub(super) fn echo(&mut self, learns: bool) -> [f32; BLOCK] {
        let filter = if learns { &self.learns } else { &self.speaks };
        let mut sum = Bins::ZERO;
        let (before, after) = self.far.split_at(self.newest);
        for (taps, far) in filter.iter().zip(after.iter().chain(before)) {
            sum.add_product(taps, far);
        }
        self.transform.backward(&sum);
        let mut echo = [0.0; BLOCK];
        echo.copy_from_slice(&self.transform.samples[BLOCK..]);
        echo
    }

    /// Teaches the filter that learns by what it left in this block.
    pub(super) fn learn(&mut self, error: &[f32; BLOCK], fine: bool) {
        self.transform.samples[..BLOCK].fill(0.0);
        self.transform.samples[BLOCK..].copy_from_slice(error);
        let mut error = self.transform.forward();
        // Summed anew each time: what is added and taken away again leaves a rest that grows.
        let (mut powers, mut power_half) = ([0.0; BLOCK], 0.0);
        self.far.iter().for_each(|far| far.add_power_to(&mut powers, &mut power_half));
        let total = powers.iter().sum::<f32>() + power_half;
        let floor = EVEN * total / BLOCK as f32 + POWER_FLOOR;
        let step = if fine { STEP_FINE } else { STEP_COARSE };
        error.im[0] *= step / (power_half + floor);
        let half = error.im[0];
        for ((re, im), power) in error.re.iter_mut().zip(&mut error.im).zip(&powers) {
            let weight = step / (power + floor);
            *re *= weight;
            *im *= weight;
        }
        error.im[0] = half;
        let (before, after) = self.far.split_at(self.newest);
        for ((taps, far), eager) in self.learns.iter_mut().zip(after.iter().chain(before)).zip(self.eager) {
            taps.add_conjugate_product(far, &error, eager);
        }
        // A partition is one block long: what grew beyond is cut, some partitions at a time.
        for _ in 0..TRIMMED_AT_ONCE {
            self.transform.backward(&self.learns[self.trimmed]);
            self.transform.samples[BLOCK..].fill(0.0);
            self.learns[self.trimmed] = self.transform.forward();
            self.trimmed = (self.trimmed + 1) % PARTITIONS;
        }
        self.blocks = (self.blocks + 1) % EAGER_BLOCKS;
        if self.blocks == 0 {
            self.weigh();
        }
    }

    /// Sees which partitions hold the echo.
    fn weigh(&mut self) {
        for (eager, taps) in self.eager.iter_mut().zip(self.learns.iter()) {
            let sum: f32 = taps.re.iter().zip(&taps.im).map(|(re, im)| re * re + im * im).sum();
            *eager = sum.sqrt();
        }
        let mean = self.eager.iter().sum::<f32>() / PARTITIONS as f32;
        for eager in &mut self.eager {
            *eager = if mean > 0.0 { EVEN_EAGER + (1.0 - EVEN_EAGER) * *eager / mean } else { 1.0 };
        }
    }

    /// Has the filter that speaks do as the one that learns.
    pub(super) fn adopt(&mut self) {
        self.speaks.copy_from_slice(self.learns.as_slice());
    }

    /// Has the filter that learns begin again at the one that speaks.
    pub(super) fn recall(&mut self) {
        self.learns.copy_from_slice(self.speaks.as_slice());
    }
}
