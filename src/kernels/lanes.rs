//! Plain loops that the compiler turns into vectors, in a fixed order.
//!
//! Write `#[inline(always)]` before a closure given to [`dispatch`] and on what it calls: only what is inlined into it is
//! compiled for the widest vectors. Sums go into [`LANES`] separate accumulators, element i into number i mod [`LANES`], whatever the width of the
//! machine's vectors: that lets the compiler use vectors, keeps rounding errors small, and gives the same bits everywhere.

use crate::tensor::Real;
use crate::vectors::arch;
use pulp::{Simd, WithSimd};

/// Accumulators of a sum: four vectors of f32 with AVX, two with AVX-512.
pub const LANES: usize = 32;

/// Elements summed in [`LANES`] accumulators before these are added up: bounds the rounding error of long sums.
const BLOCK: usize = 4096;

/// A closure to be compiled for each instruction set.
struct Loops<F>(F);

impl<R, F: FnMut() -> R> WithSimd for Loops<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) -> R {
        (self.0)()
    }
}

/// Runs plain loops compiled for the widest vectors of this machine, or narrower ones where [`crate::vectors::choose`] said so.
///
/// The bound is `FnMut` for a reason: a closure called as `FnOnce` goes through an adapter that the compiler does not inline
/// when it is large, and then its loops are compiled for the oldest machine there is.
#[inline(always)]
pub(crate) fn dispatch<R>(loops: impl FnMut() -> R) -> R {
    arch().dispatch(Loops(loops))
}

/// Adds up the accumulators, neighbours first.
#[inline(always)]
pub fn fold<T: Real>(mut lanes: [T; LANES]) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The sum of `f(i, x[i])` for every element.
#[inline(always)]
pub fn sum_by<T: Real>(x: &[T], f: impl Fn(usize, T) -> T) -> T {
    let mut total = T::ZERO;
    for (b, block) in x.chunks(BLOCK).enumerate() {
        let mut lanes = [T::ZERO; LANES];
        let (whole, rest) = block.as_chunks::<LANES>();
        for (c, chunk) in whole.iter().enumerate() {
            for l in 0..LANES {
                lanes[l] += f(b * BLOCK + c * LANES + l, chunk[l]);
            }
        }
        let done = b * BLOCK + whole.len() * LANES;
        for (l, &value) in rest.iter().enumerate() {
            lanes[l] += f(done + l, value);
        }
        total += fold(lanes);
    }
    total
}

/// The sum of the elements.
#[inline(always)]
pub fn sum<T: Real>(x: &[T]) -> T {
    sum_by(
        x,
        #[inline(always)]
        |_, value| value,
    )
}

/// The sums of the `K` numbers `f(x[i], y[i])` over two slices of one length.
#[inline(always)]
pub fn sums<T: Real, const K: usize>(x: &[T], y: &[T], f: impl Fn(T, T) -> [T; K]) -> [T; K] {
    let len = x.len().min(y.len());
    let mut totals = [T::ZERO; K];
    for (x, y) in x[..len].chunks(BLOCK).zip(y[..len].chunks(BLOCK)) {
        let mut lanes = [[T::ZERO; LANES]; K];
        let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
        for (x, y) in xs.iter().zip(ys) {
            for l in 0..LANES {
                let values = f(x[l], y[l]);
                (0..K).for_each(|k| lanes[k][l] += values[k]);
            }
        }
        for (l, (&x, &y)) in x_rest.iter().zip(y_rest).enumerate() {
            let values = f(x, y);
            (0..K).for_each(|k| lanes[k][l] += values[k]);
        }
        (0..K).for_each(|k| totals[k] += fold(lanes[k]));
    }
    totals
}

/// Rows of elements, `period` of which in a row have numbers of their own: `row` elements each, of which element j has the numbers
/// `j % period`.
#[derive(Clone, Copy)]
pub struct Rows {
    pub rows: usize,
    pub row: usize,
    pub period: usize,
}

/// `(outputs[..][i], sums[..][j]) = f(inputs[..][i], patterns[..][j], outputs[..][i], sums[..][j])` for every element i of some rows
/// and its number j of the period, in an order that depends on sizes alone. Inputs and outputs come with the distance from row to row.
///
/// Patterns and sums of a stretch of the period stay in registers while all rows go by, and a block of every slice is read before any
/// is written: the compiler checks before a plain loop over so many slices that none of them overlap, and where a row is short these
/// checks take longer than the loop.
///
/// # Panics
/// Where a slice is too short.
#[inline(always)]
pub fn sweep<T: Real, const I: usize, const P: usize, const O: usize, const S: usize>(
    over: Rows,
    inputs: [(&[T], usize); I],
    patterns: [&[T]; P],
    mut outputs: [(&mut [T], usize); O],
    mut sums: [&mut [T]; S],
    f: impl Fn([T; I], [T; P], [T; O], [T; S]) -> ([T; O], [T; S]),
) {
    let Rows { rows, row, period } = over;
    if rows == 0 || row == 0 {
        return;
    }
    let reaches = |len: usize, stride: usize| (rows - 1) * stride + row <= len;
    assert!(inputs.iter().all(|(x, stride)| reaches(x.len(), *stride)), "rows that are there");
    assert!(outputs.iter().all(|(y, stride)| reaches(y.len(), *stride)), "rows that are there");
    assert!(patterns.iter().all(|p| p.len() >= period) && sums.iter().all(|s| s.len() >= period), "whole periods");
    let from = inputs.map(|(x, stride)| (x.as_ptr(), stride));
    let mut to = [(std::ptr::null_mut(), 0); O];
    to.iter_mut().zip(&mut outputs).for_each(|(to, (y, stride))| *to = (y.as_mut_ptr(), *stride));
    // Whole periods, and what is left of each row behind them.
    let (whole, rest) = (row / period, row % period);
    for (end, times, offset) in [(period, whole, 0), (rest, 1, whole * period)] {
        if times == 0 {
            continue;
        }
        let repeats = Repeats { rows, times, period, offset };
        let mut at = 0;
        // SAFETY: all slices reach as far, as was asserted.
        unsafe {
            while at + 64 <= end {
                sweep_block::<T, I, P, O, S, 64>(&repeats, at, &from, &patterns, &to, &mut sums, &f);
                at += 64;
            }
            while at + 32 <= end {
                sweep_block::<T, I, P, O, S, 32>(&repeats, at, &from, &patterns, &to, &mut sums, &f);
                at += 32;
            }
            while at + 8 <= end {
                sweep_block::<T, I, P, O, S, 8>(&repeats, at, &from, &patterns, &to, &mut sums, &f);
                at += 8;
            }
            while at < end {
                sweep_block::<T, I, P, O, S, 1>(&repeats, at, &from, &patterns, &to, &mut sums, &f);
                at += 1;
            }
        }
    }
}

/// What [`sweep_block`] goes through: each row's elements from `offset` on, so many times.
struct Repeats {
    rows: usize,
    times: usize,
    period: usize,
    offset: usize,
}

/// [`sweep`] for `BLOCK` numbers of the period from `at` on.
///
/// # Safety
/// All slices must reach as far.
#[inline(always)]
unsafe fn sweep_block<T: Real, const I: usize, const P: usize, const O: usize, const S: usize, const BLOCK: usize>(
    &Repeats { rows, times, period, offset }: &Repeats,
    at: usize,
    inputs: &[(*const T, usize); I],
    patterns: &[&[T]; P],
    outputs: &[(*mut T, usize); O],
    sums: &mut [&mut [T]; S],
    f: &impl Fn([T; I], [T; P], [T; O], [T; S]) -> ([T; O], [T; S]),
) {
    let (mut pattern, mut sum) = ([[T::ZERO; BLOCK]; P], [[T::ZERO; BLOCK]; S]);
    let (mut from, mut to) = ([[T::ZERO; BLOCK]; I], [[T::ZERO; BLOCK]; O]);
    // SAFETY: the caller's promise.
    unsafe {
        for k in 0..P {
            pattern[k] = patterns[k].as_ptr().add(at).cast::<[T; BLOCK]>().read();
        }
        for k in 0..S {
            sum[k] = sums[k].as_ptr().add(at).cast::<[T; BLOCK]>().read();
        }
        for row in 0..rows {
            for time in 0..times {
                let at = offset + at + time * period;
                for k in 0..I {
                    from[k] = inputs[k].0.add(row * inputs[k].1 + at).cast::<[T; BLOCK]>().read();
                }
                for k in 0..O {
                    to[k] = outputs[k].0.add(row * outputs[k].1 + at).cast::<[T; BLOCK]>().read();
                }
                for l in 0..BLOCK {
                    let (mut x, mut y) = ([T::ZERO; I], [T::ZERO; O]);
                    let (mut p, mut s) = ([T::ZERO; P], [T::ZERO; S]);
                    (0..I).for_each(|k| x[k] = from[k][l]);
                    (0..O).for_each(|k| y[k] = to[k][l]);
                    (0..P).for_each(|k| p[k] = pattern[k][l]);
                    (0..S).for_each(|k| s[k] = sum[k][l]);
                    let (y, s) = f(x, p, y, s);
                    (0..O).for_each(|k| to[k][l] = y[k]);
                    (0..S).for_each(|k| sum[k][l] = s[k]);
                }
                for k in 0..O {
                    outputs[k].0.add(row * outputs[k].1 + at).cast::<[T; BLOCK]>().write(to[k]);
                }
            }
        }
        for k in 0..S {
            sums[k].as_mut_ptr().add(at).cast::<[T; BLOCK]>().write(sum[k]);
        }
    }
}

/// The greatest element, or NaN where there is one; minus infinity of none.
#[inline(always)]
pub fn max<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::NEG_INFINITY; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for chunk in whole {
        for l in 0..LANES {
            lanes[l] = greater(lanes[l], chunk[l]);
        }
    }
    for (l, &value) in rest.iter().enumerate() {
        lanes[l] = greater(lanes[l], value);
    }
    lanes.into_iter().fold(T::NEG_INFINITY, greater)
}

/// The greater of two, or NaN where one of them is.
#[inline(always)]
pub fn greater<T: Real>(a: T, b: T) -> T {
    if a >= b || a.is_nan() { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_maxima_of_every_length() {
        for len in (0..100_usize).chain([4095, 4096, 4097, 9000]) {
            let x: Vec<f64> = (0..len).map(|i| ((i * 37) % 101) as f64).collect();
            let (expected, greatest) = (x.iter().sum::<f64>(), x.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b)));
            let found = dispatch(
                #[inline(always)]
                || (sum(&x), max(&x), sums(&x, &x, |a, b| [a, 2.0 * b])),
            );
            assert_eq!(found, (expected, greatest, [expected, 2.0 * expected]), "{len}");
            assert_eq!(sum_by(&x, |i, _| i as f64), (len * len.saturating_sub(1) / 2) as f64);
        }
        assert!(max(&[1.0, f64::NAN, 2.0]).is_nan());
    }

    #[test]
    fn sweeps_of_every_shape() {
        for (rows, row, period) in
            [(1, 1, 1), (3, 50, 7), (2, 31, 32), (4, 96, 32), (3, 150, 64), (2, 130, 100), (2, 5, 40)]
        {
            let (from, to) = (row + 3, row + 5);
            let x: Vec<f64> = (0..rows * from).map(|i| ((i * 37) % 101) as f64).collect();
            let pattern: Vec<f64> = (0..period).map(|j| (j * j) as f64).collect();
            let (mut y, mut sums) = (vec![1.0; rows * to], vec![2.0; period]);
            let (mut expected_y, mut expected_sums) = (y.clone(), sums.clone());
            for r in 0..rows {
                for j in 0..row {
                    let product = x[r * from + j] * pattern[j % period];
                    expected_y[r * to + j] += product;
                    expected_sums[j % period] += product;
                }
            }
            dispatch(
                #[inline(always)]
                || {
                    sweep(
                        Rows { rows, row, period },
                        [(&x[..], from)],
                        [&pattern[..]],
                        [(&mut y[..], to)],
                        [&mut sums[..]],
                        |[x], [p], [y], [sum]| ([y + x * p], [sum + x * p]),
                    );
                },
            );
            // Whole numbers: exact in any order.
            assert_eq!((y, sums), (expected_y, expected_sums), "{rows} {row} {period}");
        }
    }
}
