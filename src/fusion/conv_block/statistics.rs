//! Sums over the pixels of `[pixels, channels]`, and numbers of each channel repeated along a row, so that plain loops over
//! elements become vectors whatever the number of channels.

use crate::kernels::lanes::{Rows, dispatch, sweep};
use crate::tensor::Real;

/// The least length of a pattern: the running sums of so many elements hardly wait for each other, and stay in registers.
const PATTERN: usize = 32;

/// Length of a pattern: the channels' numbers once or several times.
pub(super) fn pattern_len(channels: usize) -> usize {
    channels * PATTERN.div_ceil(channels)
}

/// Fills a pattern with `f(channel)`.
pub(super) fn fill_pattern<T: Real>(pattern: &mut [T], channels: usize, f: impl Fn(usize) -> T) {
    for (c, to) in pattern[..channels].iter_mut().enumerate() {
        *to = f(c);
    }
    let mut done = channels;
    while done < pattern.len() {
        pattern.copy_within(..channels, done);
        done += channels;
    }
}

/// Adds up the running sums of a pattern: the first `channels` elements are the result.
#[inline(always)]
pub(super) fn fold<T: Real>(pattern: &mut [T], channels: usize) {
    let (first, rest) = pattern.split_at_mut(channels);
    for more in rest.chunks_exact(channels) {
        first.iter_mut().zip(more).for_each(|(to, &x)| *to += x);
    }
}

/// `max(r, 0)`, and the number of elements, mean, what that mean lacks, and sum of squared differences from it, of each
/// channel of a unit. A mean in f32 is off by its rounding; what it lacks is the mean of the differences from it.
pub(super) struct Moments<'a, T> {
    /// Mean, rest, squares: `channels` numbers each.
    pub to: &'a mut [T],
    /// [`MOMENT_PATTERNS`] patterns.
    pub scratch: &'a mut [T],
    pub channels: usize,
}

/// The numbers of [`Moments`] for each channel.
pub(super) const MOMENTS: usize = 3;
/// Patterns that [`Moments`] needs.
pub(super) const MOMENT_PATTERNS: usize = 3;

impl<T: Real> Moments<'_, T> {
    pub fn relu_and_measure(self, r: &mut [T]) {
        let Self { to, scratch, channels } = self;
        let len = pattern_len(channels);
        let count = T::from_f64((r.len() / channels) as f64);
        let (means, rest) = scratch.split_at_mut(len);
        let (rests, squares) = rest.split_at_mut(len);
        let squares = &mut squares[..len];
        means.fill(T::ZERO);
        let over = Rows { rows: 1, row: r.len(), period: len };
        dispatch(
            #[inline(always)]
            || {
                sweep(
                    over,
                    [],
                    [],
                    [(&mut *r, 0)],
                    [&mut *means],
                    #[inline(always)]
                    |[], [], [r], [sum]| ([r.max(T::ZERO)], [sum + r.max(T::ZERO)]),
                );
            },
        );
        fold(means, channels);
        for mean in &mut means[..channels] {
            *mean = *mean / count;
        }
        to[..channels].copy_from_slice(&means[..channels]);
        fill_pattern(means, channels, |c| to[c]);
        rests.fill(T::ZERO);
        squares.fill(T::ZERO);
        dispatch(
            #[inline(always)]
            || {
                sweep(
                    over,
                    [(&*r, 0)],
                    [&*means],
                    [],
                    [&mut *rests, &mut *squares],
                    #[inline(always)]
                    |[r], [mean], [], [rest, square]| ([], [rest + (r - mean), square + (r - mean) * (r - mean)]),
                );
            },
        );
        fold(rests, channels);
        fold(squares, channels);
        to[channels..2 * channels].copy_from_slice(&rests[..channels]);
        to[2 * channels..3 * channels].copy_from_slice(&squares[..channels]);
    }
}

/// Channels whose statistics are merged side by side.
pub(super) const SIDE: usize = 8;

/// Mean and biased variance of some neighbouring channels, at most [`SIDE`], of all units, from the units' numbers of elements and
/// [`Moments`] (Chan, Golub and LeVeque, 1979), in f64.
#[inline(always)]
pub(super) fn merge<'a, T: Real>(
    units: impl Iterator<Item = (f64, [&'a [T]; MOMENTS])> + Clone,
) -> ([f64; SIDE], [f64; SIDE]) {
    let (mut count, mut mean) = (0.0, [0.0; SIDE]);
    for (n, [means, rests, _]) in units.clone() {
        count += n;
        let (means, rests) = (widen(means), widen(rests));
        for i in 0..SIDE {
            mean[i] += n * (means[i] + rests[i] / n);
        }
    }
    mean.iter_mut().for_each(|mean| *mean /= count);
    let mut variance = [0.0; SIDE];
    for (n, [means, rests, squares]) in units {
        let (means, rests, squares) = (widen(means), widen(rests), widen(squares));
        for i in 0..SIDE {
            // The squares were taken from the rounded mean of the unit; the rest is what lies between that and the true one.
            let off = rests[i] / n;
            let away = means[i] + off - mean[i];
            variance[i] += squares[i] - n * off * off + n * away * away;
        }
    }
    variance.iter_mut().for_each(|squares| *squares = (*squares / count).max(0.0));
    (mean, variance)
}

/// Sums of some neighbouring channels, at most [`SIDE`], of all units, in f64.
#[inline(always)]
pub(super) fn total<'a, T: Real>(units: impl Iterator<Item = &'a [T]>) -> [f64; SIDE] {
    let mut sums = [0.0; SIDE];
    for unit in units {
        let unit = widen(unit);
        for i in 0..SIDE {
            sums[i] += unit[i];
        }
    }
    sums
}

/// The numbers in f64, and zeros behind them.
#[inline(always)]
fn widen<T: Real>(from: &[T]) -> [f64; SIDE] {
    let mut to = [0.0; SIDE];
    // The first arm is the second with a length that the compiler sees, and makes vectors of.
    match from.first_chunk::<SIDE>() {
        Some(from) => to.iter_mut().zip(from).for_each(|(to, x)| *to = x.to_f64()),
        None => to.iter_mut().zip(from).for_each(|(to, x)| *to = x.to_f64()),
    }
    to
}

/// `(x - mean) * scale + beta` of rows one after the other, with the patterns of [`norm_patterns`]; the results' rows are some
/// distance apart.
#[inline(always)]
pub(super) fn normalise<T: Real>(over: Rows, to: (&mut [T], usize), x: &[T], patterns: &[T]) {
    let (mean, rest) = patterns.split_at(over.period);
    let (scale, beta) = rest.split_at(over.period);
    sweep(
        over,
        [(x, over.row)],
        [mean, scale, beta],
        [to],
        [],
        #[inline(always)]
        |[x], [mean, scale, beta], [_], []| ([(x - mean) * scale + beta], []),
    );
}

/// The patterns of [`normalise`], from statistics `[2, C]`, gamma and beta.
pub(super) fn norm_patterns<T: Real>(patterns: &mut [T], saved: &[T], gamma: &[T], beta: &[T]) {
    let channels = gamma.len();
    let len = pattern_len(channels);
    fill_pattern(&mut patterns[..len], channels, |c| saved[c]);
    fill_pattern(&mut patterns[len..2 * len], channels, |c| saved[channels + c] * gamma[c]);
    fill_pattern(&mut patterns[2 * len..3 * len], channels, |c| beta[c]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_units_merge() {
        let channels = 3;
        let value = |i: usize| ((i * 7919) % 1013) as f64 / 100.0 - 4.0;
        let mut data: Vec<f64> = (0..channels * 1000).map(value).collect();
        let mut parts = Vec::new();
        for part in data.chunks_mut(channels * 300) {
            let (mut to, mut scratch) = (vec![0.0; 9], vec![0.0; MOMENT_PATTERNS * pattern_len(channels)]);
            Moments { to: &mut to, scratch: &mut scratch, channels }.relu_and_measure(part);
            parts.push(((part.len() / channels) as f64, to));
        }
        for c in 0..channels {
            let all: Vec<f64> = data.iter().skip(c).step_by(channels).copied().collect();
            let mean = all.iter().sum::<f64>() / 1000.0;
            let variance = all.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 1000.0;
            let side = |m: usize| m * channels + c..(m + 1) * channels;
            let merged = merge(parts.iter().map(|(n, m)| (*n, [0, 1, 2].map(|i| &m[side(i)]))));
            assert!((merged.0[0] - mean).abs() < 1e-12 && (merged.1[0] - variance).abs() < 1e-12, "{merged:?}");
            assert!(all.iter().all(|&x| x >= 0.0) && all.contains(&0.0));
        }
    }
}
