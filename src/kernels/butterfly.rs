//! Small Fourier transforms of complex numbers in registers, one in each lane.

use super::simd::SimdReal;
use pulp::Simd;

/// Complex numbers, one in each lane.
#[derive(Clone, Copy)]
pub(crate) struct Pair<V> {
    pub re: V,
    pub im: V,
}

/// `a + b`
#[inline(always)]
pub(crate) fn add<T: SimdReal, S: Simd>(simd: S, a: Pair<T::Vector<S>>, b: Pair<T::Vector<S>>) -> Pair<T::Vector<S>> {
    Pair { re: T::add_v(simd, a.re, b.re), im: T::add_v(simd, a.im, b.im) }
}

/// `a - b`
#[inline(always)]
pub(crate) fn sub<T: SimdReal, S: Simd>(simd: S, a: Pair<T::Vector<S>>, b: Pair<T::Vector<S>>) -> Pair<T::Vector<S>> {
    Pair { re: T::sub_v(simd, a.re, b.re), im: T::sub_v(simd, a.im, b.im) }
}

/// `a + i b`
#[inline(always)]
fn add_rotated<T: SimdReal, S: Simd>(simd: S, a: Pair<T::Vector<S>>, b: Pair<T::Vector<S>>) -> Pair<T::Vector<S>> {
    Pair { re: T::sub_v(simd, a.re, b.im), im: T::add_v(simd, a.im, b.re) }
}

/// `a - i b`
#[inline(always)]
fn sub_rotated<T: SimdReal, S: Simd>(simd: S, a: Pair<T::Vector<S>>, b: Pair<T::Vector<S>>) -> Pair<T::Vector<S>> {
    Pair { re: T::add_v(simd, a.re, b.im), im: T::sub_v(simd, a.im, b.re) }
}

/// a times a complex number, the same in all lanes.
#[inline(always)]
pub(crate) fn times<T: SimdReal, S: Simd>(simd: S, a: Pair<T::Vector<S>>, [re, im]: [T; 2]) -> Pair<T::Vector<S>> {
    let [re, im, minus_im] = [re, im, -im].map(|w| T::splat(simd, w));
    Pair {
        re: T::mul_add_v(simd, a.im, minus_im, T::mul_v(simd, a.re, re)),
        im: T::mul_add_v(simd, a.re, im, T::mul_v(simd, a.im, re)),
    }
}

/// `x[k] = sum_j x[j] exp(-2 pi i j k / R)` for R of 2, 4 or 8.
#[inline(always)]
pub(crate) fn butterfly<T: SimdReal, S: Simd>(simd: S, x: &mut [Pair<T::Vector<S>>]) {
    match x {
        [a, b] => (*a, *b) = (add::<T, S>(simd, *a, *b), sub::<T, S>(simd, *a, *b)),
        &mut [a, b, c, d] => x.copy_from_slice(&of_four::<T, S>(simd, [a, b, c, d])),
        &mut [a, b, c, d, e, f, g, h] => {
            let sums = [(a, e), (b, f), (c, g), (d, h)].map(|(a, b)| add::<T, S>(simd, a, b));
            let [x0, x2, x4, x6] = of_four::<T, S>(simd, sums);
            let [a, b, c, d] = [(a, e), (b, f), (c, g), (d, h)].map(|(a, b)| sub::<T, S>(simd, a, b));
            // The eighth roots of one are (1 - i) / sqrt 2 and (-1 - i) / sqrt 2; what is to be divided by sqrt 2 is
            // divided where it is added.
            let root = T::splat(simd, T::from_f64(std::f64::consts::FRAC_1_SQRT_2));
            let minus_root = T::splat(simd, T::from_f64(-std::f64::consts::FRAC_1_SQRT_2));
            let (b, d) = (sub_rotated::<T, S>(simd, b, b), add_rotated::<T, S>(simd, d, d));
            let (sum, difference) = (sub::<T, S>(simd, b, d), add::<T, S>(simd, b, d));
            let (even, odd) = (sub_rotated::<T, S>(simd, a, c), add_rotated::<T, S>(simd, a, c));
            let plus = |a: Pair<T::Vector<S>>, re, im, by: [T::Vector<S>; 2]| Pair {
                re: T::mul_add_v(simd, re, by[0], a.re),
                im: T::mul_add_v(simd, im, by[1], a.im),
            };
            let x1 = plus(even, sum.re, sum.im, [root, root]);
            let x5 = plus(even, sum.re, sum.im, [minus_root, minus_root]);
            let x3 = plus(odd, difference.im, difference.re, [root, minus_root]);
            let x7 = plus(odd, difference.im, difference.re, [minus_root, root]);
            x.copy_from_slice(&[x0, x1, x2, x3, x4, x5, x6, x7]);
        }
        _ => unreachable!("passes are of radix 2, 4 and 8"),
    }
}

/// [`butterfly`] of four numbers.
#[inline(always)]
fn of_four<T: SimdReal, S: Simd>(simd: S, [a, b, c, d]: [Pair<T::Vector<S>>; 4]) -> [Pair<T::Vector<S>>; 4] {
    let (even, odd) = (add::<T, S>(simd, a, c), add::<T, S>(simd, b, d));
    let (a, b) = (sub::<T, S>(simd, a, c), sub::<T, S>(simd, b, d));
    [
        add::<T, S>(simd, even, odd),
        sub_rotated::<T, S>(simd, a, b),
        sub::<T, S>(simd, even, odd),
        add_rotated::<T, S>(simd, a, b),
    ]
}
