//! Plain loops that the compiler turns into vectors, in a fixed order.
//!
//! Write `#[inline(always)]` before a closure given to [`dispatch`] and on what it calls: only what is inlined into it is
//! compiled for the widest vectors. Sums go into [`LANES`] separate accumulators, element i into number i mod [`LANES`], whatever the width of the
//! machine's vectors: that lets the compiler use vectors, keeps rounding errors small, and gives the same bits everywhere.

use crate::tensor::Real;
use pulp::{Arch, Simd, WithSimd};

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

/// Runs plain loops compiled for the widest vectors of this machine.
///
/// The bound is `FnMut` for a reason: a closure called as `FnOnce` goes through an adapter that the compiler does not inline
/// when it is large, and then its loops are compiled for the oldest machine there is.
#[inline(always)]
pub(super) fn dispatch<R>(loops: impl FnMut() -> R) -> R {
    Arch::new().dispatch(Loops(loops))
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

/// Elements that [`map`] takes at once: a vector of f32 with AVX-512, and half of one for what is left.
const AT_ONCE: usize = 16;

/// `outputs[..][i] = f(inputs[..][i], outputs[..][i])` for every i; all slices have the same length.
///
/// The compiler checks before a plain loop over so many slices that none of them overlap, and where a row is short these checks
/// take longer than the loop. Here a block of every slice is read before any is written.
#[inline(always)]
pub fn map<T: Real, const I: usize, const O: usize>(
    inputs: [&[T]; I],
    mut outputs: [&mut [T]; O],
    f: impl Fn([T; I], [T; O]) -> [T; O],
) {
    let len = outputs[0].len();
    assert!(inputs.iter().all(|x| x.len() == len) && outputs.iter().all(|x| x.len() == len), "slices of one length");
    let mut at = 0;
    while at + AT_ONCE <= len {
        // SAFETY: all slices reach to `len`.
        unsafe { map_block::<T, I, O, AT_ONCE>(&inputs, &mut outputs, at, &f) };
        at += AT_ONCE;
    }
    if at + AT_ONCE / 2 <= len {
        // SAFETY: as above.
        unsafe { map_block::<T, I, O, { AT_ONCE / 2 }>(&inputs, &mut outputs, at, &f) };
        at += AT_ONCE / 2;
    }
    while at < len {
        // SAFETY: as above.
        unsafe { map_block::<T, I, O, 1>(&inputs, &mut outputs, at, &f) };
        at += 1;
    }
}

/// [`map`] for the elements `at..at + BLOCK`.
///
/// # Safety
/// All slices must have them. (Checked, each block would do so for each slice.)
#[inline(always)]
unsafe fn map_block<T: Real, const I: usize, const O: usize, const BLOCK: usize>(
    inputs: &[&[T]; I],
    outputs: &mut [&mut [T]; O],
    at: usize,
    f: &impl Fn([T; I], [T; O]) -> [T; O],
) {
    let (mut from, mut to) = ([[T::ZERO; BLOCK]; I], [[T::ZERO; BLOCK]; O]);
    // SAFETY: the caller's promise.
    unsafe {
        for k in 0..I {
            from[k] = inputs[k].as_ptr().add(at).cast::<[T; BLOCK]>().read();
        }
        for k in 0..O {
            to[k] = outputs[k].as_ptr().add(at).cast::<[T; BLOCK]>().read();
        }
    }
    for l in 0..BLOCK {
        let (mut x, mut y) = ([T::ZERO; I], [T::ZERO; O]);
        (0..I).for_each(|k| x[k] = from[k][l]);
        (0..O).for_each(|k| y[k] = to[k][l]);
        let y = f(x, y);
        (0..O).for_each(|k| to[k][l] = y[k]);
    }
    for k in 0..O {
        // SAFETY: the caller's promise.
        unsafe { outputs[k].as_mut_ptr().add(at).cast::<[T; BLOCK]>().write(to[k]) };
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
}
