//! The inner loop of the CPU's matrix products: a tile of results held in registers.
//!
//! A tile has `ROWS` rows and `VECS` vectors of columns. Each step of the sum loads one row of column vectors and
//! multiplies it with one number for each row, so that `ROWS x VECS` multiply-adds share `ROWS + VECS` loads. Tile shapes
//! are chosen to fill the registers: 8 x 2 of 32, 4 x 2 of 16.

use super::simd::SimdReal;
use pulp::Simd;

/// The most rows that a tile has on any machine.
pub(crate) const MAX_ROWS: usize = 8;
/// Vectors of columns in a tile.
pub(crate) const VECS: usize = 2;
/// The most columns that a tile has on any machine.
pub(crate) const MAX_COLUMNS: usize = VECS * super::simd::MAX_LANES;

/// Rows of a tile on this machine.
#[inline(always)]
pub(crate) fn rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MAX_ROWS } else { 4 }
}

/// Columns of a tile on this machine.
#[inline(always)]
pub(crate) fn columns<T: SimdReal, S: Simd>() -> usize {
    VECS * T::lanes::<S>()
}

/// Where a tile's operands lie: `c[i][j] += sum over k of a[k * a_step + i] * b[k * b_step + j]`, with k below `len`, and c's
/// rows `c_step` apart.
#[derive(Clone, Copy)]
pub(crate) struct Tile<T> {
    pub a: *const T,
    pub a_step: usize,
    pub b: *const T,
    pub b_step: usize,
    pub c: *mut T,
    pub c_step: usize,
    pub len: usize,
}

/// Adds to a tile of `rows::<S>()` rows and [`columns`] columns the sum that [`Tile`] describes.
///
/// # Safety
/// All elements named by [`Tile`] must be there: a whole tile of c, and whole rows of a and b for every term.
#[inline(always)]
pub(crate) unsafe fn accumulate<T: SimdReal, S: Simd>(simd: S, tile: Tile<T>) {
    // SAFETY: the caller's promise.
    unsafe {
        if S::REGISTER_COUNT >= 32 {
            fixed::<T, S, MAX_ROWS>(simd, tile);
        } else {
            fixed::<T, S, 4>(simd, tile);
        }
    }
}

#[inline(always)]
unsafe fn fixed<T: SimdReal, S: Simd, const ROWS: usize>(simd: S, tile: Tile<T>) {
    let lanes = T::lanes::<S>();
    let Tile { mut a, a_step, mut b, b_step, c, c_step, len } = tile;
    // SAFETY: the caller of `accumulate` promises that all these elements are there; loads and stores are unaligned.
    unsafe {
        let mut sums = [[T::splat(simd, T::ZERO); VECS]; ROWS];
        for (i, row) in sums.iter_mut().enumerate() {
            for (v, sum) in row.iter_mut().enumerate() {
                *sum = c.add(i * c_step + v * lanes).cast::<T::Vector<S>>().read_unaligned();
            }
        }
        for _ in 0..len {
            let mut columns = [T::splat(simd, T::ZERO); VECS];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = b.add(v * lanes).cast::<T::Vector<S>>().read_unaligned();
            }
            for (i, row) in sums.iter_mut().enumerate() {
                let factor = T::splat(simd, *a.add(i));
                for (v, sum) in row.iter_mut().enumerate() {
                    *sum = T::mul_add_v(simd, factor, columns[v], *sum);
                }
            }
            a = a.wrapping_add(a_step);
            b = b.wrapping_add(b_step);
        }
        for (i, row) in sums.iter().enumerate() {
            for (v, sum) in row.iter().enumerate() {
                c.add(i * c_step + v * lanes).cast::<T::Vector<S>>().write_unaligned(*sum);
            }
        }
    }
}
