//! What minimal filtering does to a line of vectors, and to a square: to its rows and then to its columns.

use super::{RESULTS, SIDE, TAPS};
use crate::kernels::simd::SimdReal;
use pulp::Simd;

/// The transforms of lines; [`minimal`](super) has the formulas.
pub(super) struct Line<S>(pub S);

impl<S: Simd> Line<S> {
    /// What the products read of four numbers.
    #[inline(always)]
    pub fn source<T: SimdReal>(&self, [d0, d1, d2, d3]: [T::Vector<S>; SIDE]) -> [T::Vector<S>; SIDE] {
        let (add, sub) = (T::add_v::<S>, T::sub_v::<S>);
        [sub(self.0, d0, d2), add(self.0, d1, d2), sub(self.0, d2, d1), sub(self.0, d3, d1)]
    }

    /// The weights of the products from three taps.
    #[inline(always)]
    pub fn weights<T: SimdReal>(&self, [g0, g1, g2]: [T::Vector<S>; TAPS]) -> [T::Vector<S>; SIDE] {
        let (add, sub) = (T::add_v::<S>, T::sub_v::<S>);
        let half = T::splat(self.0, T::from_f64(0.5));
        let (outer, inner) = (T::mul_v(self.0, half, add(self.0, g0, g2)), T::mul_v(self.0, half, g1));
        [g0, add(self.0, outer, inner), sub(self.0, outer, inner), g2]
    }

    /// Two results from four products.
    #[inline(always)]
    pub fn results<T: SimdReal>(&self, [m0, m1, m2, m3]: [T::Vector<S>; SIDE]) -> [T::Vector<S>; RESULTS] {
        let (add, sub) = (T::add_v::<S>, T::sub_v::<S>);
        [add(self.0, m0, add(self.0, m1, m2)), add(self.0, sub(self.0, m1, m2), m3)]
    }

    /// The gradients of four products from those of two results: [`Line::results`] transposed.
    #[inline(always)]
    pub fn gradients<T: SimdReal>(&self, [y0, y1]: [T::Vector<S>; RESULTS]) -> [T::Vector<S>; SIDE] {
        [y0, T::add_v(self.0, y0, y1), T::sub_v(self.0, y0, y1), y1]
    }

    /// The gradients of three taps from those of the products' weights: [`Line::weights`] transposed.
    #[inline(always)]
    pub fn taps<T: SimdReal>(&self, [u0, u1, u2, u3]: [T::Vector<S>; SIDE]) -> [T::Vector<S>; TAPS] {
        let (add, sub) = (T::add_v::<S>, T::sub_v::<S>);
        let half = T::splat(self.0, T::from_f64(0.5));
        let (sum, difference) =
            (T::mul_v(self.0, half, add(self.0, u1, u2)), T::mul_v(self.0, half, sub(self.0, u1, u2)));
        [add(self.0, u0, sum), difference, add(self.0, sum, u3)]
    }
}

/// `of(row, column)` for a whole square.
#[inline(always)]
pub(super) fn square<V, const N: usize>(of: impl Fn(usize, usize) -> V) -> [[V; N]; N] {
    std::array::from_fn(
        #[inline(always)]
        |i| {
            std::array::from_fn(
                #[inline(always)]
                |j| of(i, j),
            )
        },
    )
}

/// A line's transform along both axes of a square.
#[inline(always)]
pub(super) fn both<V: Copy, const A: usize, const B: usize>(
    of: [[V; A]; A],
    line: impl Fn([V; A]) -> [V; B],
) -> [[V; B]; B] {
    let rows: [[V; B]; A] = std::array::from_fn(
        #[inline(always)]
        |i| line(of[i]),
    );
    let columns: [[V; B]; B] = std::array::from_fn(
        #[inline(always)]
        |j| {
            line(std::array::from_fn(
                #[inline(always)]
                |i| rows[i][j],
            ))
        },
    );
    square(
        #[inline(always)]
        |i, j| columns[j][i],
    )
}

/// # Safety
/// A vector's elements must be there.
#[inline(always)]
pub(super) unsafe fn load<T: SimdReal, S: Simd>(from: *const T) -> T::Vector<S> {
    // SAFETY: the caller's promise.
    unsafe { from.cast::<T::Vector<S>>().read_unaligned() }
}

/// # Safety
/// There must be room for a vector's elements.
#[inline(always)]
pub(super) unsafe fn store<T: SimdReal, S: Simd>(to: *mut T, x: T::Vector<S>) {
    // SAFETY: the caller's promise.
    unsafe { to.cast::<T::Vector<S>>().write_unaligned(x) }
}
