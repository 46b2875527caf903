//! Was what was heard what was to be heard? Normalised cross-correlation, by Fourier transform.

/// Where an expected sound lies in what was heard, and how well it fits.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Match {
    /// Normalised correlation at the best place: 1 is the same sound at any level, 0 another.
    pub correlation: f64,
    /// The best place: the sample of what was heard at which the expected sound begins.
    pub at: usize,
    /// How loud it was heard: 1 is as loud as expected.
    pub gain: f64,
}

/// Looks for all of `expected` in `heard`.
#[must_use]
pub fn find(expected: &[i16], heard: &[i16]) -> Match {
    let mut heard: Vec<f64> = heard.iter().map(|sample| f64::from(*sample)).collect();
    if heard.len() < expected.len() {
        heard.resize(expected.len(), 0.0);
    }
    let energy: f64 = expected.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    let products = cross_correlation(expected, &heard);
    let mut window: f64 = heard.iter().take(expected.len()).map(|sample| sample * sample).sum();
    let mut best = Match { correlation: 0.0, at: 0, gain: 0.0 };
    for (at, product) in products.iter().enumerate() {
        let scale = (energy * window.max(0.0)).sqrt();
        let correlation = if scale > 1.0 { product / scale } else { 0.0 };
        if correlation > best.correlation {
            best = Match { correlation, at, gain: product / energy };
        }
        let leaves = heard.get(at).copied().unwrap_or(0.0);
        let comes = heard.get(at + expected.len()).copied().unwrap_or(0.0);
        window += comes * comes - leaves * leaves;
    }
    best
}

/// Looks for `expected` in `heard` in parts of `part` samples, each of which may lie up to `slip`
/// samples from where the whole fits best: a jitter buffer may have moved it. Gives the whole
/// with the correlation of its parts, weighted by their energy.
#[must_use]
pub fn find_in_parts(expected: &[i16], heard: &[i16], part: usize, slip: usize) -> Match {
    let whole = find(expected, heard);
    let (mut fits, mut energy) = (0.0, 0.0);
    for (number, piece) in expected.chunks(part.max(1)).enumerate() {
        let from = (whole.at + number * part.max(1)).saturating_sub(slip).min(heard.len());
        let to = (whole.at + number * part.max(1) + piece.len() + slip).min(heard.len());
        let weight: f64 = piece.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        fits += weight * find(piece, heard.get(from..to).unwrap_or(&[])).correlation;
        energy += weight;
    }
    Match { correlation: if energy > 0.0 { fits / energy } else { 0.0 }, ..whole }
}

/// The sum of products at every place where `expected` lies wholly inside `heard`.
fn cross_correlation(expected: &[i16], heard: &[f64]) -> Vec<f64> {
    let places = heard.len() + 1 - expected.len();
    let size = (heard.len() + expected.len()).next_power_of_two();
    let mut a: Vec<(f64, f64)> = heard.iter().map(|sample| (*sample, 0.0)).collect();
    let mut b: Vec<(f64, f64)> = expected.iter().map(|sample| (f64::from(*sample), 0.0)).collect();
    a.resize(size, (0.0, 0.0));
    b.resize(size, (0.0, 0.0));
    transform(&mut a);
    transform(&mut b);
    // The spectrum times the conjugate of the other, conjugated once more so that a forward
    // transform undoes it.
    let mut product: Vec<(f64, f64)> =
        a.iter().zip(&b).map(|(x, y)| (x.0 * y.0 + x.1 * y.1, -(x.1 * y.0 - x.0 * y.1))).collect();
    transform(&mut product);
    product.iter().take(places).map(|value| value.0 / size as f64).collect()
}

/// The discrete Fourier transform in place; the length is a power of two.
fn transform(values: &mut [(f64, f64)]) {
    let size = values.len();
    if size < 2 {
        return;
    }
    let shift = usize::BITS - size.trailing_zeros();
    for at in 0..size {
        let mirrored = at.reverse_bits() >> shift;
        if at < mirrored {
            values.swap(at, mirrored);
        }
    }
    let turns: Vec<(f64, f64)> = (0..size / 2)
        .map(|k| {
            let angle = -std::f64::consts::TAU * k as f64 / size as f64;
            (angle.cos(), angle.sin())
        })
        .collect();
    let mut half = 1;
    while half < size {
        let stride = size / (2 * half);
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((x, y), turn) in low.iter_mut().zip(high).zip(turns.iter().step_by(stride)) {
                let turned = (y.0 * turn.0 - y.1 * turn.1, y.0 * turn.1 + y.1 * turn.0);
                *y = (x.0 - turned.0, x.1 - turned.1);
                *x = (x.0 + turned.0, x.1 + turned.1);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::super::voice;
    use super::*;

    #[test]
    fn a_sound_is_found_where_it_was_put() {
        let expected = voice::speech_like(1, 700);
        let mut heard = vec![0_i16; 3_000];
        heard.extend(expected.iter().map(|sample| sample / 2));
        heard.extend([0; 500]);
        let found = find(&expected, &heard);
        assert_eq!(found.at, 3_000);
        assert!(found.correlation > 0.999, "{found:?}");
        assert!((found.gain - 0.5).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn another_sound_a_cut_one_and_silence_are_not() {
        let expected = voice::speech_like(1, 700);
        assert!(find(&expected, &voice::speech_like(2, 1_500)).correlation < 0.4);
        assert!(find(&expected, &expected[..3_000]).correlation < 0.9);
        assert_eq!(find(&expected, &[0; 9_000]).correlation, 0.0);
        assert_eq!(find(&expected, &[]).correlation, 0.0);
    }

    #[test]
    fn parts_may_slip_and_the_whole_may_not() {
        let expected = voice::speech_like(3, 1_000);
        let mut heard = expected[..4_000].to_vec();
        heard.extend([0; 160]);
        heard.extend(&expected[4_000..]);
        assert!(find(&expected, &heard).correlation < 0.9);
        assert!(find_in_parts(&expected, &heard, 1_000, 400).correlation > 0.99);
        assert!(find_in_parts(&expected, &voice::speech_like(4, 1_000), 1_000, 400).correlation < 0.7);
    }
}
