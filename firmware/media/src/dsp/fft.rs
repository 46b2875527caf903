//! Fourier transform.
//!
//! What does it do? Turns a block of samples into its spectrum, and back.
//!
//! How does it work? Two neighbouring samples count as one complex number; radix 2, decimation
//! in time, on split arrays; the spectrum of the reals is put together from the half-length
//! one.
//!
//! Limits: 8 to 1,024 samples, a power of two. Not scaled forward; backward divides, so that
//! forward and backward give what was there, to single precision.

use core::f32::consts::TAU;

/// Longest block.
pub const LENGTH_MAX: usize = 1_024;

/// The transform of one length.
#[derive(Debug)]
pub struct RealFft {
    half: usize,
    /// cos and −sin of τk/half, for k below half/2, once a stage of the half-length transform.
    turns: Vec<(f32, f32)>,
    /// cos and −sin of τk/(2·half), for k up to half/2.
    splits: Vec<(f32, f32)>,
    order: Vec<u16>,
}

impl RealFft {
    /// For blocks of `length` samples: the power of two that is not above it, within the limits.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let length = 1usize << length.clamp(8, LENGTH_MAX).ilog2();
        let half = length / 2;
        let turn = |k: usize, of: usize| {
            let angle = TAU * k as f32 / of as f32;
            (angle.cos(), -angle.sin())
        };
        let mut turns = Vec::with_capacity(half);
        let mut size = 2;
        while size <= half {
            turns.extend((0..size / 2).map(|k| turn(k, size)));
            size *= 2;
        }
        let bits = half.ilog2();
        let order = (0..half).map(|i| (i.reverse_bits() >> (usize::BITS - bits)) as u16).collect();
        let splits = (0..=half / 2).map(|k| turn(k, length)).collect();
        Self { half, turns, splits, order }
    }

    /// Samples of a block.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.half * 2
    }

    /// Bins of a spectrum: from 0 to half the sampling rate, both included.
    #[must_use]
    pub const fn bins(&self) -> usize {
        self.half + 1
    }

    /// The spectrum of `samples`. `re` and `im` have at least [`bins`](Self::bins) places; fewer
    /// places or samples leave everything as it was.
    pub fn forward(&self, samples: &[f32], re: &mut [f32], im: &mut [f32]) {
        let half = self.half;
        if samples.len() < 2 * half || re.len() <= half || im.len() <= half {
            return;
        }
        for (k, from) in self.order.iter().enumerate() {
            let at = 2 * usize::from(*from);
            (re[k], im[k]) = (samples[at], samples[at + 1]);
        }
        self.stages(&mut re[..half], &mut im[..half]);
        // The even and the odd samples' spectra are apart by symmetry.
        let (re0, im0) = (re[0], im[0]);
        (re[0], im[0]) = (re0 + im0, 0.0);
        (re[half], im[half]) = (re0 - im0, 0.0);
        for k in 1..=half / 2 {
            let other = half - k;
            let (cos, sin) = self.splits[k];
            let even = (0.5 * (re[k] + re[other]), 0.5 * (im[k] - im[other]));
            let odd = (0.5 * (im[k] + im[other]), 0.5 * (re[other] - re[k]));
            let turned = (odd.0 * cos - odd.1 * sin, odd.0 * sin + odd.1 * cos);
            (re[k], im[k]) = (even.0 + turned.0, even.1 + turned.1);
            (re[other], im[other]) = (even.0 - turned.0, turned.1 - even.1);
        }
    }

    /// The samples of a spectrum, which is used up. `samples` has at least
    /// [`length`](Self::length) places; fewer leave everything as it was.
    pub fn backward(&self, re: &mut [f32], im: &mut [f32], samples: &mut [f32]) {
        let half = self.half;
        if samples.len() < 2 * half || re.len() <= half || im.len() <= half {
            return;
        }
        let (re0, last) = (re[0], re[half]);
        // Conjugated, so that the same stages turn the other way.
        (re[0], im[0]) = (0.5 * (re0 + last), -0.5 * (re0 - last));
        for k in 1..=half / 2 {
            let other = half - k;
            let (cos, sin) = self.splits[k];
            let even = (0.5 * (re[k] + re[other]), 0.5 * (im[k] - im[other]));
            let turned = (0.5 * (re[k] - re[other]), 0.5 * (im[k] + im[other]));
            let odd = (turned.0 * cos + turned.1 * sin, turned.1 * cos - turned.0 * sin);
            let (a, b) = ((even.0 - odd.1, -(even.1 + odd.0)), (even.0 + odd.1, even.1 - odd.0));
            (re[k], im[k]) = a;
            if k != other {
                (re[other], im[other]) = b;
            }
        }
        for (k, from) in self.order.iter().enumerate() {
            let from = usize::from(*from);
            if from > k {
                re.swap(k, from);
                im.swap(k, from);
            }
        }
        self.stages(&mut re[..half], &mut im[..half]);
        let scale = 1.0 / half as f32;
        for ((pair, re), im) in samples.chunks_exact_mut(2).zip(&re[..half]).zip(&im[..half]) {
            (pair[0], pair[1]) = (re * scale, -im * scale);
        }
    }

    /// The butterflies of the half-length transform, input in bit-reversed order.
    fn stages(&self, re: &mut [f32], im: &mut [f32]) {
        let (mut width, mut from) = (1, 0);
        while width < self.half {
            let turns = &self.turns[from..from + width];
            for (re, im) in re.chunks_exact_mut(2 * width).zip(im.chunks_exact_mut(2 * width)) {
                let (re_low, re_high) = re.split_at_mut(width);
                let (im_low, im_high) = im.split_at_mut(width);
                for ((((a, b), c), d), (cos, sin)) in
                    re_low.iter_mut().zip(im_low).zip(re_high).zip(im_high).zip(turns)
                {
                    let turned = (*c * cos - *d * sin, *c * sin + *d * cos);
                    (*c, *d) = (*a - turned.0, *b - turned.1);
                    (*a, *b) = (*a + turned.0, *b + turned.1);
                }
            }
            from += width;
            width *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(length: usize) -> Vec<f32> {
        let mut seed = 7u32;
        (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 16) as f32 - 32_768.0
            })
            .collect()
    }

    #[test]
    fn it_is_the_sum_that_defines_it() {
        for length in [8, 16, 64, 256] {
            let fft = RealFft::new(length);
            let samples = signal(length);
            let (mut re, mut im) = (vec![0.0; fft.bins()], vec![0.0; fft.bins()]);
            fft.forward(&samples, &mut re, &mut im);
            for k in 0..fft.bins() {
                let mut sum = (0.0f64, 0.0f64);
                for (n, x) in samples.iter().enumerate() {
                    let angle = core::f64::consts::TAU * (k * n) as f64 / length as f64;
                    sum.0 += f64::from(*x) * angle.cos();
                    sum.1 -= f64::from(*x) * angle.sin();
                }
                assert!((f64::from(re[k]) - sum.0).abs() < 3.0, "{length}, bin {k}");
                assert!((f64::from(im[k]) - sum.1).abs() < 3.0, "{length}, bin {k}");
            }
        }
    }

    #[test]
    fn backward_gives_what_was_there() {
        for length in [8, 64, 128, 1_024] {
            let fft = RealFft::new(length);
            let samples = signal(length);
            let (mut re, mut im) = (vec![0.0; fft.bins()], vec![0.0; fft.bins()]);
            fft.forward(&samples, &mut re, &mut im);
            let mut again = vec![0.0; length];
            fft.backward(&mut re, &mut im, &mut again);
            for (a, b) in samples.iter().zip(&again) {
                assert!((a - b).abs() < 0.1, "{length}: {a} {b}");
            }
        }
    }

    #[test]
    fn other_lengths_are_brought_within_the_limits() {
        assert_eq!(RealFft::new(0).length(), 8);
        assert_eq!(RealFft::new(300).length(), 256);
        assert_eq!(RealFft::new(9_999).length(), LENGTH_MAX);
        let fft = RealFft::new(8);
        let (mut re, mut im) = ([1.0; 5], [1.0; 5]);
        fft.forward(&[0.0; 3], &mut re, &mut im);
        fft.backward(&mut re, &mut im[..2], &mut [0.0; 8]);
        assert!(re.iter().chain(&im).all(|x| *x > 0.5));
    }
}
