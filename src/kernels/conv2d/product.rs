//! The inner loop of the convolution and of its gradient with respect to the input.
//!
//! With channels innermost, the numbers that one kernel row meets at a pixel lie side by side, and so do the results of a
//! pixel: a tile of results, some pixels by one or two vectors of channels, stays in registers; each step of the sum loads
//! one row of weights and multiplies it with one number of each pixel, read where it lies.
//!
//! Where all channels fill half a vector or less, two terms of the sum are taken at once: weights of neighbouring terms
//! alternate in the lanes, and so do the two numbers of a pixel; the halves are added up at the end.

use super::layout::{FEW_WIDTHS, Lanes, Tiling};
use super::map::Map;
use super::minimal::Minimal;
use super::taps::Taps;
use crate::kernels::prefetch::Prefetch;
use crate::kernels::simd::{SimdReal, dispatch, every_tile, splat_term};
use pulp::{Simd, WithSimd};

/// Results for a grid of pixels: of each, `lanes.pitch()` numbers, bias included.
pub(crate) struct Product<'a, T> {
    pub source: &'a [T],
    pub map: Map,
    pub taps: [Taps; 2],
    pub lanes: Lanes,
    pub tiling: Tiling,
    pub weights: &'a [T],
    /// How to compute it with fewer multiplications, where that is possible.
    pub minimal: Option<Minimal<'a, T>>,
    /// Rows of results, and pixels of a row.
    pub rows: std::ops::Range<usize>,
    pub columns: usize,
    /// Where they go: rows and pixels at these distances, from the first row on.
    pub out: &'a mut [T],
    pub out_row: usize,
    pub out_column: usize,
    /// How many numbers of a row's last pixel are written: all of `lanes.pitch()`, or where they are one vector, fewer.
    pub out_last: usize,
    /// What is prefetched meanwhile, a step for each tile of a row.
    pub prefetch: &'a Prefetch,
}

impl<T: SimdReal> Product<'_, T> {
    /// Computes them.
    pub fn run(mut self) {
        let Self { map, taps, lanes, columns, .. } = self;
        if self.rows.is_empty() || columns == 0 {
            return;
        }
        if let Some(minimal) = self.minimal.take() {
            return minimal.run(self);
        }
        // Neighbouring taps of a row are one stretch.
        let stretches = if taps[1].step == 1 { 1 } else { taps[1].count };
        let len = map.channels * taps[1].count / stretches.max(1);
        let terms = taps[0].count * stretches * len;
        let per = if lanes.pairs { 2 } else { 1 };
        let (last, end) = (self.rows.end - 1, self.out.len());
        let reach = |taps: &Taps, i: usize| i * taps.stride + taps.start + taps.count.saturating_sub(1) * taps.step;
        if terms > 0 {
            let furthest = reach(&taps[0], last) * map.pitch() + (reach(&taps[1], columns - 1) + 1) * map.channels;
            assert!(furthest <= self.source.len(), "a product reads {furthest} of {}", self.source.len());
        }
        let wanted = (last - self.rows.start) * self.out_row + (columns - 1) * self.out_column + self.out_last;
        assert!(wanted <= end, "a product writes {wanted} of {end}");
        let one_vector = lanes.vectors == 1 && !lanes.pairs;
        assert!(self.out_last == lanes.pitch() || (one_vector && self.out_last < lanes.pitch()));
        assert!(self.weights.len() >= lanes.width() * (terms / per + 1));

        let mut first = 0;
        while first < lanes.vectors {
            let vectors = lanes.at_once(first);
            let (width, count) = self.tiling.0[vectors - 1];
            let from = (self.rows.start * taps[0].stride + taps[0].start) * map.pitch() + taps[1].start * map.channels;
            // SAFETY: the assertions above hold for the furthest of all tiles; without terms nothing is read.
            unsafe {
                let grid = Grid {
                    prefetch: self.prefetch,
                    grid_rows: self.rows.len(),
                    columns,
                    count,
                    x: self.source.as_ptr().wrapping_add(from),
                    x_row: taps[0].stride * map.pitch(),
                    x_step: taps[1].stride * map.channels,
                    rows: taps[0].count,
                    row_step: taps[0].step * map.pitch(),
                    stretches,
                    stretch_step: taps[1].step * map.channels,
                    len: len / per,
                    w: self.weights.as_ptr().add(first * lanes.lanes * (terms / per + 1)),
                    out: self.out.as_mut_ptr().add(first * lanes.lanes),
                    out_row: self.out_row,
                    out_step: self.out_column,
                    trimmed: (self.out_last < lanes.pitch()).then_some(self.out_last),
                };
                grid.run(width, vectors, &lanes);
            }
            first += vectors;
        }
    }
}

/// All tiles of some vectors of channels. [`Product::run`] makes them and no one else, and promises that all elements that one names
/// are there.
struct Grid<'a, T> {
    prefetch: &'a Prefetch,
    /// Rows of results, pixels of a row, and tiles of a row.
    grid_rows: usize,
    columns: usize,
    count: usize,
    /// What the first pixel reads, and the distances to the next row's and pixel's.
    x: *const T,
    x_row: usize,
    x_step: usize,
    /// Rows of the kernel, and their distance in x.
    rows: usize,
    row_step: usize,
    stretches: usize,
    stretch_step: usize,
    len: usize,
    w: *const T,
    out: *mut T,
    out_row: usize,
    out_step: usize,
    /// How many numbers of a row's last pixel are written, if not all.
    trimmed: Option<usize>,
}

/// Whether the registers hold the sums of a tile with pixels of two rows, a row of weights and one number of a pixel. Weights are then
/// loaded half as often.
const fn two_rows(pixels: usize, vectors: usize, registers: usize) -> bool {
    pixels > 3 && 2 * pixels * vectors + vectors < registers
}

impl<T: SimdReal> Grid<'_, T> {
    /// Computes all tiles. They have pixels of two rows where numbers of neighbouring pixels are a usual distance apart: 8, 16 or 32
    /// channels with stride two, or twice as many with stride one. It is then known to the compiler, since there are not enough
    /// registers for the places of so many pixels.
    fn run(&self, width: usize, vectors: usize, lanes: &Lanes) {
        let two = lanes.every_tile && !lanes.pairs && two_rows(width, vectors, lanes.registers);
        match (two.then_some(self.x_step), vectors, lanes.pairs) {
            (Some(16), 1, _) => self.widths_of_two::<1, 16>(width),
            (Some(32), 1, _) => self.widths_of_two::<1, 32>(width),
            (Some(64), 1, _) => self.widths_of_two::<1, 64>(width),
            (Some(16), ..) => self.widths_of_two::<2, 16>(width),
            (Some(32), ..) => self.widths_of_two::<2, 32>(width),
            (Some(64), ..) => self.widths_of_two::<2, 64>(width),
            (_, 1, true) => self.widths::<1, true>(width),
            (_, 1, false) => self.widths::<1, false>(width),
            _ => self.widths::<2, false>(width),
        }
    }

    fn widths<const V: usize, const PAIRS: bool>(&self, width: usize) {
        match width {
            14 => self.tiles::<14, 0, V, PAIRS, 0>(),
            11 => self.tiles::<11, 0, V, PAIRS, 0>(),
            8 => self.tiles::<8, 0, V, PAIRS, 0>(),
            6 => self.tiles::<6, 0, V, PAIRS, 0>(),
            5 => self.tiles::<5, 0, V, PAIRS, 0>(),
            4 => self.tiles::<4, 0, V, PAIRS, 0>(),
            3 => self.tiles::<3, 0, V, PAIRS, 0>(),
            2 => self.tiles::<2, 0, V, PAIRS, 0>(),
            _ => self.tiles::<1, 0, V, PAIRS, 0>(),
        }
    }

    fn widths_of_two<const V: usize, const STEP: usize>(&self, width: usize) {
        match width {
            14 => self.tiles::<14, 14, V, false, STEP>(),
            11 => self.tiles::<11, 11, V, false, STEP>(),
            8 => self.tiles::<8, 8, V, false, STEP>(),
            6 => self.tiles::<6, 6, V, false, STEP>(),
            5 => self.tiles::<5, 5, V, false, STEP>(),
            _ => self.tiles::<4, 4, V, false, STEP>(),
        }
    }

    fn tiles<const P: usize, const Q: usize, const V: usize, const PAIRS: bool, const STEP: usize>(&self) {
        dispatch(Tiles::<T, P, Q, V, PAIRS, STEP>(self));
    }
}

/// The sums of `P` pixels of a row, `V` vectors of each.
type Row<T, S, const V: usize, const P: usize> = [[<T as SimdReal>::Vector<S>; V]; P];

/// All tiles of `P` pixels of a row and `Q` of the next one (as many, or none) and `V` vectors. Numbers of neighbouring pixels are `STEP`
/// apart, or if that is 0, as far as the grid says. Each is a function of its own: in one that has them all, the compiler moves sums
/// between registers and memory.
struct Tiles<'g, 'a, T, const P: usize, const Q: usize, const V: usize, const PAIRS: bool, const STEP: usize>(
    &'g Grid<'a, T>,
);

impl<T: SimdReal, const P: usize, const Q: usize, const V: usize, const PAIRS: bool, const STEP: usize> WithSimd
    for Tiles<'_, '_, T, P, Q, V, PAIRS, STEP>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let compiled = if every_tile::<T, S>() {
            Q == 0 || two_rows(P, V, S::REGISTER_COUNT)
        } else {
            Q == 0 && FEW_WIDTHS.contains(&P)
        };
        if !compiled {
            unreachable!("tiles of {P} and {Q} pixels");
        }
        let mut row = 0;
        while Q > 0 && row + 2 <= self.0.grid_rows {
            self.of_rows(simd, row);
            row += 2;
        }
        while row < self.0.grid_rows {
            Tiles::<T, P, 0, V, PAIRS, STEP>(self.0).of_rows(simd, row);
            row += 1;
        }
    }
}

impl<'g, 'a, T: SimdReal, const P: usize, const Q: usize, const V: usize, const PAIRS: bool, const STEP: usize>
    Tiles<'g, 'a, T, P, Q, V, PAIRS, STEP>
{
    /// All tiles of a row, or with `Q` pixels of the next one, too, of both; they must be rows of the grid.
    #[inline(always)]
    fn of_rows<S: Simd>(&self, simd: S, row: usize) {
        let grid = self.0;
        let (x, out) = (grid.x.wrapping_add(row * grid.x_row), grid.out.wrapping_add(row * grid.out_row));
        for t in 0..grid.count {
            let column = (t * P).min(grid.columns - P);
            grid.prefetch.step();
            if Q > 0 {
                grid.prefetch.step();
            }
            // SAFETY: a grid's elements are there, and these are some of them.
            unsafe {
                let (x, out) = (x.wrapping_add(column * grid.x_step), out.wrapping_add(column * grid.out_step));
                let (first, second) = self.sums(simd, x);
                let last = t + 1 == grid.count;
                write::<T, S, P, V, PAIRS>(simd, grid, out, &first, last);
                if Q > 0 {
                    write::<T, S, Q, V, PAIRS>(simd, grid, out.wrapping_add(grid.out_row), &second, last);
                }
            }
        }
    }

    /// The sums of one tile, of either row.
    ///
    /// # Safety
    /// All elements that [`Grid`] names must be there.
    #[inline(always)]
    unsafe fn sums<S: Simd>(&self, simd: S, x: *const T) -> (Row<T, S, V, P>, Row<T, S, V, Q>) {
        let lanes = T::lanes::<S>();
        let &Grid { x_row, x_step, rows, row_step, stretches, stretch_step, len, mut w, .. } = self.0;
        let x_step = if STEP > 0 { STEP } else { x_step };
        // SAFETY: the caller's promise; loads and stores are unaligned.
        unsafe {
            let load = |from: *const T| from.cast::<T::Vector<S>>().read_unaligned();
            let bias: [T::Vector<S>; V] = std::array::from_fn(|v| load(w.add(v * lanes)));
            let (mut first, mut second) = ([bias; P], [bias; Q]);
            w = w.add(V * lanes);
            let number = if PAIRS { 2 } else { 1 };
            if V == 1 && stretches == 1 && len == SLIDING && x_step == 2 * number {
                for i in 0..rows {
                    let x = x.add(i * row_step);
                    let mut weights = [bias[0]; SLIDING];
                    for (k, weights) in weights.iter_mut().enumerate() {
                        *weights = load(w.add(k * lanes));
                    }
                    slide::<T, S, P, V, PAIRS>(simd, &mut first, x, &weights);
                    slide::<T, S, Q, V, PAIRS>(simd, &mut second, x.wrapping_add(x_row), &weights);
                    w = w.add(SLIDING * lanes);
                }
                return (first, second);
            }
            for i in 0..rows {
                for j in 0..stretches {
                    let mut x = x.add(i * row_step + j * stretch_step);
                    for _ in 0..len {
                        let weights: [T::Vector<S>; V] = std::array::from_fn(|v| load(w.add(v * lanes)));
                        add::<T, S, P, V, PAIRS>(simd, &mut first, x, x_step, weights);
                        add::<T, S, Q, V, PAIRS>(simd, &mut second, x.wrapping_add(x_row), x_step, weights);
                        w = w.add(V * lanes);
                        x = x.add(number);
                    }
                }
            }
            (first, second)
        }
    }
}

/// Adds one term to the sums of a row's pixels.
///
/// # Safety
/// Each pixel's number (or pair of numbers) must be there.
#[inline(always)]
unsafe fn add<T: SimdReal, S: Simd, const P: usize, const V: usize, const PAIRS: bool>(
    simd: S,
    sums: &mut Row<T, S, V, P>,
    x: *const T,
    x_step: usize,
    weights: [T::Vector<S>; V],
) {
    for (p, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        let factor = unsafe { splat_term::<T, S, PAIRS>(simd, x.add(p * x_step)) };
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = T::mul_add_v(simd, factor, weights[v], *sum);
        }
    }
}

/// Adds a kernel row's terms to the sums of a row's pixels. Neighbouring pixels share numbers of x, and a row's weights fit into the
/// registers: written out, so that the compiler sees that each number is to be loaded once.
///
/// # Safety
/// Each pixel's numbers (or pairs of them) must be there.
#[inline(always)]
unsafe fn slide<T: SimdReal, S: Simd, const P: usize, const V: usize, const PAIRS: bool>(
    simd: S,
    sums: &mut Row<T, S, V, P>,
    x: *const T,
    weights: &[T::Vector<S>; SLIDING],
) {
    let number = if PAIRS { 2 } else { 1 };
    for (p, sums) in sums.iter_mut().enumerate() {
        for (k, &weights) in weights.iter().enumerate() {
            // SAFETY: the caller's promise.
            let factor = unsafe { splat_term::<T, S, PAIRS>(simd, x.add((2 * p + k) * number)) };
            sums[0] = T::mul_add_v(simd, factor, weights, sums[0]);
        }
    }
}

/// Numbers of a stretch with which a tile slides over x, two numbers from pixel to pixel: a kernel row of five taps and one
/// number each (or one pair), with stride two, such as the first layer of either recipe.
const SLIDING: usize = 5;

/// Writes a tile's sums of one row, of which `last` says whether it is the row's last.
///
/// # Safety
/// There must be room for all pixels.
#[inline(always)]
unsafe fn write<T: SimdReal, S: Simd, const P: usize, const V: usize, const PAIRS: bool>(
    simd: S,
    grid: &Grid<'_, T>,
    out: *mut T,
    sums: &Row<T, S, V, P>,
    last: bool,
) {
    // SAFETY: the caller's promise; stores are unaligned.
    unsafe {
        let whole = |sums: &[[T::Vector<S>; V]]| {
            for (p, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    out.add(p * grid.out_step).cast::<T::Vector<S>>().add(v).write_unaligned(*sum);
                }
            }
        };
        if PAIRS {
            for (p, sums) in sums.iter().enumerate() {
                T::write_added(simd, out.add(p * grid.out_step), sums[0]);
            }
            return;
        }
        match grid.trimmed {
            Some(len) if last => {
                whole(&sums[..P - 1]);
                let last = sums[P - 1];
                let to = out.add((P - 1) * grid.out_step);
                to.copy_from_nonoverlapping((&raw const last).cast(), len);
            }
            _ => whole(sums),
        }
    }
}
