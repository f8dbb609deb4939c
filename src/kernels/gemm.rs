//! General matrix products on the CPU, shared by `matmul` and `linear`.
//!
//! Results are cut into blocks of rows and panels of columns; for each, both factors are gathered into buffers in the
//! order in which the [tile kernel](super::tile) reads them, so that any strides (a transposed factor) cost the same.

use super::simd::{MAX_LANES, SimdReal, dispatch};
use super::tile::{self, MAX_COLUMNS, MAX_ROWS, Tile};
use crate::graph::{Parallel, Private, SharedMut, Tasks};
use pulp::{Simd, WithSimd};

/// Terms of the sum that are gathered at a time.
const DEPTH: usize = 192;
/// Rows of a block.
const ROWS: usize = 64;

/// A matrix in memory: element (i, j) is at `start + i * row + j * column`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub data: &'a [T],
    pub start: usize,
    pub row: usize,
    pub column: usize,
}

/// Elements of temporary memory that each thread needs.
pub(crate) const SCRATCH: usize = DEPTH * (ROWS + MAX_COLUMNS) + ROWS * MAX_COLUMNS + MAX_LANES;

/// `c = a b (+ bias for each column)`, with a `[m, k]`, b `[k, n]` and c `[m, n]` row-major from `c_start` on; for every
/// matrix of a batch.
#[derive(Clone, Copy)]
pub(crate) struct GemmSizes<'a, T> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub bias: Option<&'a [T]>,
}

/// Runs `product` for each batch entry; `operands(entry)` are its a, its b and where its c starts.
pub(crate) fn multiply<'a, T: SimdReal>(
    parallel: &dyn Parallel,
    private: &mut Private<'_, T>,
    product: GemmSizes<'a, T>,
    batch: usize,
    c: &mut [T],
    operands: impl Fn(usize) -> (Matrix<'a, T>, Matrix<'a, T>, usize) + Sync,
) {
    let columns = dispatch(Columns::<T>(std::marker::PhantomData));
    let (blocks, panels) = (product.m.div_ceil(ROWS), product.n.div_ceil(columns));
    let c = SharedMut::new(c);
    parallel.for_pieces_with(Tasks(batch * blocks * panels), private, |task, (), scratch| {
        let (entry, block, panel) = (task / (blocks * panels), task / panels % blocks, task % panels);
        let (a, b, c_start) = operands(entry);
        dispatch(Part { product, a, b, c: &c, c_start, rows: block * ROWS, columns: panel * columns, scratch });
    });
}

struct Columns<T>(std::marker::PhantomData<T>);

impl<T: SimdReal> WithSimd for Columns<T> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        tile::columns::<T, S>()
    }
}

/// One block of rows times one panel of columns.
struct Part<'a, 'b, T> {
    product: GemmSizes<'a, T>,
    a: Matrix<'a, T>,
    b: Matrix<'a, T>,
    c: &'b SharedMut<'b, T>,
    c_start: usize,
    /// The first row and the first column.
    rows: usize,
    columns: usize,
    scratch: &'b mut [T],
}

impl<T: SimdReal> WithSimd for Part<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (tile_rows, tile_columns) = (tile::rows::<S>(), tile::columns::<T, S>());
        let GemmSizes { m, n, k, bias } = self.product;
        let (rows, columns) = (ROWS.min(m - self.rows), tile_columns.min(n - self.columns));
        let (a_packed, rest) = self.scratch.split_at_mut(DEPTH * ROWS);
        let (b_packed, c_packed) = rest.split_at_mut(DEPTH * MAX_COLUMNS);
        let tiles = rows.div_ceil(tile_rows);
        c_packed[..tiles * tile_rows * tile_columns].fill(T::ZERO);
        for first in (0..k).step_by(DEPTH) {
            let depth = DEPTH.min(k - first);
            for (i, line) in b_packed.chunks_exact_mut(tile_columns).take(depth).enumerate() {
                let start = self.b.start + (first + i) * self.b.row + self.columns * self.b.column;
                if self.b.column == 1 {
                    line[..columns].copy_from_slice(&self.b.data[start..start + columns]);
                } else {
                    let from = self.b.data[start..].iter().step_by(self.b.column);
                    line[..columns].iter_mut().zip(from).for_each(|(to, &x)| *to = x);
                }
                line[columns..].fill(T::ZERO);
            }
            for tile in 0..tiles {
                let first_row = tile * tile_rows;
                let count = tile_rows.min(rows - first_row);
                let packed = &mut a_packed[first_row * depth..][..depth * tile_rows];
                for (i, line) in packed.chunks_exact_mut(tile_rows).enumerate() {
                    let start = self.a.start + (self.rows + first_row) * self.a.row + (first + i) * self.a.column;
                    let from = self.a.data[start..].iter().step_by(self.a.row);
                    line[..count].iter_mut().zip(from).for_each(|(to, &x)| *to = x);
                    line[count..].fill(T::ZERO);
                }
                let tile = Tile {
                    a: packed.as_ptr(),
                    a_step: tile_rows,
                    b: b_packed.as_ptr(),
                    b_step: tile_columns,
                    c: c_packed[first_row * tile_columns..][..tile_rows * tile_columns].as_mut_ptr(),
                    c_step: tile_columns,
                    len: depth,
                };
                // SAFETY: all three buffers were just sliced and filled for this tile.
                unsafe { tile::accumulate(simd, tile) };
            }
        }
        for (i, line) in c_packed.chunks_exact(tile_columns).take(rows).enumerate() {
            let start = self.c_start + (self.rows + i) * n + self.columns;
            // SAFETY: each part of c belongs to one task.
            let to = unsafe { self.c.slice(start..start + columns) };
            match bias {
                Some(bias) => {
                    let bias = &bias[self.columns..][..columns];
                    to.iter_mut().zip(line).zip(bias).for_each(|((to, &x), &b)| *to = x + b);
                }
                None => to.copy_from_slice(&line[..columns]),
            }
        }
    }
}

const _: () = assert!(ROWS.is_multiple_of(MAX_ROWS));
