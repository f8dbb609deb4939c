//! The widest vectors of the machine, chosen at run time through `pulp`, for kernels that are generic over f32 and f64.

use crate::tensor::Real;
use crate::vectors::arch;
use pulp::{Simd, WithSimd};

/// The most lanes that a vector of any machine has: buffers that are read in whole vectors end in this much slack.
pub(crate) const MAX_LANES: usize = 16;

/// A real type with vectors.
pub trait SimdReal: Real {
    /// A vector of the instruction set `S`.
    type Vector<S: Simd>: Copy;

    /// All lanes `x`.
    fn splat<S: Simd>(simd: S, x: Self) -> Self::Vector<S>;
    /// `a * b + c`, lane by lane.
    fn mul_add_v<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// `a + b`, lane by lane.
    fn add_v<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a - b`, lane by lane.
    fn sub_v<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a * b`, lane by lane.
    fn mul_v<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// Whether there are [`SimdReal::splat_pair`], [`SimdReal::doubled`] and [`SimdReal::write_added`].
    const PAIRS: bool;
    /// `from[0]` in all even lanes, `from[1]` in all odd ones. Only where [`SimdReal::PAIRS`] and there are two lanes or more.
    ///
    /// # Safety
    /// Both elements must be there.
    unsafe fn splat_pair<S: Simd>(simd: S, from: *const Self) -> Self::Vector<S>;
    /// `from[0], from[0], from[1], from[1]` and so on: half as many elements as there are lanes. Only where [`SimdReal::PAIRS`] and
    /// there are two lanes or more.
    ///
    /// # Safety
    /// The elements must be there.
    unsafe fn doubled<S: Simd>(simd: S, from: *const Self) -> Self::Vector<S>;
    /// Writes `a[0] + a[1], a[2] + a[3]` and so on, half as many elements as there are lanes. Only where [`SimdReal::PAIRS`] and there
    /// are two lanes or more.
    ///
    /// # Safety
    /// There must be room for them.
    unsafe fn write_added<S: Simd>(simd: S, to: *mut Self, a: Self::Vector<S>);
    /// Whether kernels are worth compiling for every size of tile: f64 only checks what f32 computes.
    const EVERY_TILE: bool;
    /// Lanes per vector.
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::Vector<S>>() / size_of::<Self>()
    }
}

impl SimdReal for f32 {
    type Vector<S: Simd> = S::f32s;

    #[inline(always)]
    fn splat<S: Simd>(simd: S, x: Self) -> S::f32s {
        simd.splat_f32s(x)
    }

    #[inline(always)]
    fn mul_add_v<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
        simd.mul_add_e_f32s(a, b, c)
    }

    #[inline(always)]
    fn add_v<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        simd.add_f32s(a, b)
    }

    #[inline(always)]
    fn sub_v<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        simd.sub_f32s(a, b)
    }

    #[inline(always)]
    fn mul_v<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        simd.mul_f32s(a, b)
    }

    const PAIRS: bool = true;
    const EVERY_TILE: bool = true;

    #[inline(always)]
    unsafe fn splat_pair<S: Simd>(simd: S, from: *const Self) -> S::f32s {
        // Two f32 are moved as the bits of one f64, with which nothing is computed.
        // SAFETY: both elements are there by the caller's promise.
        let both = simd.splat_f64s(unsafe { from.cast::<f64>().read_unaligned() });
        bytemuck::cast(both)
    }

    #[inline(always)]
    unsafe fn doubled<S: Simd>(_: S, from: *const Self) -> S::f32s {
        // Lengths that the compiler sees become one permutation.
        // SAFETY: the caller's promise.
        unsafe {
            match Self::lanes::<S>() {
                16 => bytemuck::cast(twice(from.cast::<[f32; 8]>().read_unaligned())),
                8 => bytemuck::cast(twice(from.cast::<[f32; 4]>().read_unaligned())),
                4 => bytemuck::cast(twice(from.cast::<[f32; 2]>().read_unaligned())),
                lanes => unreachable!("{lanes} lanes"),
            }
        }
    }

    #[inline(always)]
    unsafe fn write_added<S: Simd>(simd: S, to: *mut Self, a: S::f32s) {
        // SAFETY: the caller's promise.
        unsafe {
            match Self::lanes::<S>() {
                16 => to.cast::<[f32; 8]>().write_unaligned(neighbours_added::<S, 8>(simd, a)),
                8 => to.cast::<[f32; 4]>().write_unaligned(neighbours_added::<S, 4>(simd, a)),
                4 => to.cast::<[f32; 2]>().write_unaligned(neighbours_added::<S, 2>(simd, a)),
                lanes => unreachable!("{lanes} lanes"),
            }
        }
    }
}

/// The sums of `N` pairs of lanes. Two lanes are a number of 64 bits: its halves are swapped, and at the end its lower half is taken,
/// for both of which there are instructions that the compiler finds.
#[inline(always)]
fn neighbours_added<S: Simd, const N: usize>(simd: S, a: S::f32s) -> [f32; N] {
    let mut pairs: [[u32; 2]; N] = bytemuck::cast(a);
    for pair in &mut pairs {
        pair.swap(0, 1);
    }
    let sums: [[f32; 2]; N] = bytemuck::cast(simd.add_f32s(a, bytemuck::cast(pairs)));
    let mut lower = [0.0; N];
    for i in 0..N {
        lower[i] = sums[i][0];
    }
    lower
}

/// `N` numbers, each twice.
#[inline(always)]
fn twice<const N: usize>(numbers: [f32; N]) -> [[f32; 2]; N] {
    let mut to = [[0.0; 2]; N];
    for i in 0..N {
        to[i] = [numbers[i]; 2];
    }
    to
}

impl SimdReal for f64 {
    type Vector<S: Simd> = S::f64s;

    #[inline(always)]
    fn splat<S: Simd>(simd: S, x: Self) -> S::f64s {
        simd.splat_f64s(x)
    }

    #[inline(always)]
    fn mul_add_v<S: Simd>(simd: S, a: S::f64s, b: S::f64s, c: S::f64s) -> S::f64s {
        simd.mul_add_e_f64s(a, b, c)
    }

    #[inline(always)]
    fn add_v<S: Simd>(simd: S, a: S::f64s, b: S::f64s) -> S::f64s {
        simd.add_f64s(a, b)
    }

    #[inline(always)]
    fn sub_v<S: Simd>(simd: S, a: S::f64s, b: S::f64s) -> S::f64s {
        simd.sub_f64s(a, b)
    }

    #[inline(always)]
    fn mul_v<S: Simd>(simd: S, a: S::f64s, b: S::f64s) -> S::f64s {
        simd.mul_f64s(a, b)
    }

    const PAIRS: bool = false;
    const EVERY_TILE: bool = false;

    #[inline(always)]
    unsafe fn splat_pair<S: Simd>(_: S, _: *const Self) -> S::f64s {
        unreachable!("PAIRS is false")
    }

    #[inline(always)]
    unsafe fn doubled<S: Simd>(_: S, _: *const Self) -> S::f64s {
        unreachable!("PAIRS is false")
    }

    #[inline(always)]
    unsafe fn write_added<S: Simd>(_: S, _: *mut Self, _: S::f64s) {
        unreachable!("PAIRS is false")
    }
}

/// A number of a term in all lanes; of two terms that share a vector, [both](SimdReal::splat_pair).
///
/// # Safety
/// They must be there.
#[inline(always)]
pub(crate) unsafe fn splat_term<T: SimdReal, S: Simd, const PAIRS: bool>(simd: S, from: *const T) -> T::Vector<S> {
    // SAFETY: the caller's promise.
    unsafe { if PAIRS { T::splat_pair(simd, from) } else { T::splat(simd, *from) } }
}

/// Whether kernels have tiles of every size, or few: not for f64, nor without vectors.
#[inline(always)]
pub(crate) fn every_tile<T: SimdReal, S: Simd>() -> bool {
    T::EVERY_TILE && T::lanes::<S>() > 1
}

/// Runs a kernel with the machine's widest vectors. Everything it calls must be `#[inline(always)]` to be compiled for them.
#[inline]
pub(crate) fn dispatch<K: WithSimd>(kernel: K) -> K::Output {
    arch().dispatch(kernel)
}
