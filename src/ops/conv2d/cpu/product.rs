//! The inner loop of the convolution and of its gradient with respect to the input.
//!
//! With channels innermost, the numbers that one kernel row meets at a pixel lie side by side, and so do the results of a
//! pixel: a tile of results, some pixels by one or two vectors of channels, stays in registers; each step of the sum loads
//! one row of weights and multiplies it with one number of each pixel, read where it lies.
//!
//! Where all channels fill half a vector or less, two terms of the sum are taken at once: weights of neighbouring terms
//! alternate in the lanes, and so do the two numbers of a pixel; the halves are added up at the end.

use super::map::Map;
use super::taps::Taps;
use crate::ops::ahead::Ahead;
use crate::ops::simd::{SimdReal, dispatch, every_tile};
use pulp::{Simd, WithSimd};

/// Vectors of channels in a tile.
pub(super) const VECTORS: usize = 2;
/// Pixels that a tile may have, and where there are few tiles (see [`every_tile`]).
const WIDTHS: [usize; 9] = [14, 11, 8, 6, 5, 4, 3, 2, 1];
const FEW_WIDTHS: [usize; 2] = [4, 1];

/// How the channels of a product lie in vectors on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) struct Lanes {
    /// Elements of a vector.
    pub lanes: usize,
    /// Vectors that hold all channels.
    pub vectors: usize,
    /// Whether two terms share a vector.
    pub pairs: bool,
    /// Vector registers of the machine.
    registers: usize,
    /// See [`every_tile`].
    every_tile: bool,
}

/// How a row of pixels is cut into tiles, of one vector and of [`VECTORS`]: pixels of a tile, and tiles of a row, of which
/// the last may overlap the one before it.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Tiling([(usize, usize); VECTORS]);

impl Lanes {
    /// For this many channels, and sums whose terms come in stretches of `stretch` in one piece.
    pub fn new<T: SimdReal>(channels: usize, stretch: usize) -> Self {
        struct Count<T>(std::marker::PhantomData<T>);
        impl<T: SimdReal> WithSimd for Count<T> {
            type Output = (usize, usize, bool);
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> (usize, usize, bool) {
                (T::lanes::<S>(), S::REGISTER_COUNT, every_tile::<T, S>())
            }
        }
        let (lanes, registers, every_tile) = dispatch(Count::<T>(std::marker::PhantomData));
        let pairs = T::PAIRS && 2 * channels <= lanes && stretch.is_multiple_of(2);
        Self { lanes, vectors: if pairs { 1 } else { channels.div_ceil(lanes) }, pairs, registers, every_tile }
    }

    /// Elements from one pixel's results to the next.
    pub fn pitch(&self) -> usize {
        if self.pairs { self.lanes / 2 } else { self.width() }
    }

    /// Elements of all vectors: of a term's weights, or of two terms' with pairs.
    pub fn width(&self) -> usize {
        self.vectors * self.lanes
    }

    /// How rows of this many pixels are cut into tiles.
    pub fn tiling(&self, columns: usize) -> Tiling {
        Tiling(std::array::from_fn(|i| {
            let vectors = i + 1;
            // Results, a row of weights and one number of a pixel must fit into the registers.
            let most = if self.registers >= 32 { 14 } else { (self.registers - 2) / vectors - 1 };
            let mut best = (1, columns, usize::MAX);
            let widths = if self.every_tile { &WIDTHS[..] } else { &FEW_WIDTHS };
            for &width in widths.iter().filter(|&&width| width <= most && width <= columns) {
                let count = columns.div_ceil(width);
                // Below eight results in flight, a multiply-add waits for the one before it.
                let cost = count * ((width * vectors).max(8) + 1);
                if cost < best.2 {
                    best = (width, count, cost);
                }
            }
            (best.0, best.1)
        }))
    }

    /// Tiles of a row that is cut so.
    pub fn tiles(&self, tiling: &Tiling) -> usize {
        let tiles = |first| tiling.0[self.at_once(first) - 1].1;
        (0..self.vectors).step_by(VECTORS).map(tiles).sum()
    }

    /// Vectors that a tile starting at this vector has.
    pub(super) fn at_once(&self, first: usize) -> usize {
        VECTORS.min(self.vectors - first)
    }
}

/// Results for a grid of pixels: of each, `lanes.pitch()` numbers, bias included.
pub(in crate::ops) struct Product<'a, T> {
    pub source: &'a [T],
    pub map: Map,
    pub taps: [Taps; 2],
    pub lanes: Lanes,
    pub tiling: Tiling,
    pub weights: &'a [T],
    /// Rows of results, and pixels of a row.
    pub rows: std::ops::Range<usize>,
    pub columns: usize,
    /// Where they go: rows and pixels at these distances, from the first row on.
    pub out: &'a mut [T],
    pub out_row: usize,
    pub out_column: usize,
    /// How many numbers of a row's last pixel are written: all of `lanes.pitch()`, or where they are one vector, fewer.
    pub out_last: usize,
    /// What is asked for meanwhile, a step for each tile.
    pub ahead: &'a Ahead,
}

impl<T: SimdReal> WithSimd for Product<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { map, taps, lanes, columns, .. } = self;
        if self.rows.is_empty() || columns == 0 {
            return;
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
                    ahead: self.ahead,
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
                run(simd, &grid, width, vectors, lanes.pairs);
            }
            first += vectors;
        }
    }
}

/// All tiles of some vectors of channels.
struct Grid<'a, T> {
    ahead: &'a Ahead,
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

#[inline(always)]
unsafe fn run<T: SimdReal, S: Simd>(simd: S, grid: &Grid<'_, T>, width: usize, vectors: usize, pairs: bool) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match (vectors, pairs) {
            (1, true) => widths::<T, S, 1, true>(simd, grid, width),
            (1, false) => widths::<T, S, 1, false>(simd, grid, width),
            _ => widths::<T, S, 2, false>(simd, grid, width),
        }
    }
}

#[inline(always)]
unsafe fn widths<T: SimdReal, S: Simd, const V: usize, const PAIRS: bool>(simd: S, grid: &Grid<'_, T>, width: usize) {
    let every = every_tile::<T, S>();
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match width {
            14 if every => tiles::<T, S, 14, V, PAIRS>(simd, grid),
            11 if every => tiles::<T, S, 11, V, PAIRS>(simd, grid),
            8 if every => tiles::<T, S, 8, V, PAIRS>(simd, grid),
            6 if every => tiles::<T, S, 6, V, PAIRS>(simd, grid),
            5 if every => tiles::<T, S, 5, V, PAIRS>(simd, grid),
            4 => tiles::<T, S, 4, V, PAIRS>(simd, grid),
            3 if every => tiles::<T, S, 3, V, PAIRS>(simd, grid),
            2 if every => tiles::<T, S, 2, V, PAIRS>(simd, grid),
            _ => tiles::<T, S, 1, V, PAIRS>(simd, grid),
        }
    }
}

/// All tiles, of `P` pixels. The loops are here, inside the choice of a width: outside of it, the compiler keeps for every tile
/// what each of the widths would need.
///
/// # Safety
/// All elements that [`Grid`] names must be there.
#[inline(always)]
unsafe fn tiles<T: SimdReal, S: Simd, const P: usize, const V: usize, const PAIRS: bool>(simd: S, grid: &Grid<'_, T>) {
    for row in 0..grid.grid_rows {
        let (x, out) = (grid.x.wrapping_add(row * grid.x_row), grid.out.wrapping_add(row * grid.out_row));
        for t in 0..grid.count {
            let column = (t * P).min(grid.columns - P);
            grid.ahead.step();
            // SAFETY: the caller's promise, passed on.
            unsafe {
                let (x, out) = (x.wrapping_add(column * grid.x_step), out.wrapping_add(column * grid.out_step));
                let sums = fixed::<T, S, P, V, PAIRS>(simd, grid, x);
                if PAIRS {
                    for (p, sums) in sums.iter().enumerate() {
                        T::write_added(simd, out.add(p * grid.out_step), sums[0]);
                    }
                    continue;
                }
                match grid.trimmed {
                    Some(len) if t + 1 == grid.count => {
                        write(out, grid.out_step, &sums[..P - 1]);
                        let last = sums[P - 1];
                        let to = out.add((P - 1) * grid.out_step);
                        to.copy_from_nonoverlapping((&raw const last).cast(), len);
                    }
                    _ => write(out, grid.out_step, &sums),
                }
            }
        }
    }
}

/// The sums of one tile.
///
/// # Safety
/// All elements that [`Grid`] names must be there.
#[inline(always)]
unsafe fn fixed<T: SimdReal, S: Simd, const P: usize, const V: usize, const PAIRS: bool>(
    simd: S,
    grid: &Grid<'_, T>,
    x: *const T,
) -> [[T::Vector<S>; V]; P] {
    let lanes = T::lanes::<S>();
    let &Grid { x_step, rows, row_step, stretches, stretch_step, len, mut w, .. } = grid;
    // SAFETY: the caller's promise; loads and stores are unaligned.
    unsafe {
        let load = |from: *const T| from.cast::<T::Vector<S>>().read_unaligned();
        let bias: [T::Vector<S>; V] = std::array::from_fn(|v| load(w.add(v * lanes)));
        let mut sums = [bias; P];
        w = w.add(V * lanes);
        let number = if PAIRS { 2 } else { 1 };
        if V == 1 && stretches == 1 && len == SLIDING && x_step == 2 * number {
            // Neighbouring pixels share numbers of x, and a row's weights fit into the registers: written out, so that the
            // compiler sees that each number is to be loaded once.
            for i in 0..rows {
                let x = x.add(i * row_step);
                let mut weights = [bias[0]; SLIDING];
                for (k, weights) in weights.iter_mut().enumerate() {
                    *weights = load(w.add(k * lanes));
                }
                for (p, sums) in sums.iter_mut().enumerate() {
                    for (k, &weights) in weights.iter().enumerate() {
                        let at = x.add((2 * p + k) * number);
                        let factor = if PAIRS { T::splat_pair(simd, at) } else { T::splat(simd, *at) };
                        sums[0] = T::mul_add_v(simd, factor, weights, sums[0]);
                    }
                }
                w = w.add(SLIDING * lanes);
            }
            return sums;
        }
        for i in 0..rows {
            for j in 0..stretches {
                let mut x = x.add(i * row_step + j * stretch_step);
                for _ in 0..len {
                    let weights: [T::Vector<S>; V] = std::array::from_fn(|v| load(w.add(v * lanes)));
                    for (p, sums) in sums.iter_mut().enumerate() {
                        let at = x.add(p * x_step);
                        let factor = if PAIRS { T::splat_pair(simd, at) } else { T::splat(simd, *at) };
                        for (v, sum) in sums.iter_mut().enumerate() {
                            *sum = T::mul_add_v(simd, factor, weights[v], *sum);
                        }
                    }
                    w = w.add(V * lanes);
                    x = x.add(if PAIRS { 2 } else { 1 });
                }
            }
        }
        sums
    }
}

/// Numbers of a stretch with which [`fixed`] slides over x, two numbers from pixel to pixel: a kernel row of five taps and one
/// number each (or one pair), with stride two, such as the first layer of either recipe.
const SLIDING: usize = 5;

/// # Safety
/// There must be room for all pixels.
#[inline(always)]
unsafe fn write<T, X: Copy, const V: usize>(out: *mut T, out_step: usize, sums: &[[X; V]]) {
    for (p, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            // SAFETY: the caller's promise; stores are unaligned.
            unsafe { out.add(p * out_step).cast::<X>().add(v).write_unaligned(*sum) };
        }
    }
}
