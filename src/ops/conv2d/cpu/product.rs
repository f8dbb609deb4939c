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
use crate::graph::{Parallel, SharedMut};
use crate::ops::ahead::Ahead;
use crate::ops::simd::{SimdReal, dispatch, every_tile};
use pulp::{Simd, WithSimd};

/// Vectors of channels in a tile.
const VECTORS: usize = 2;
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
    fn at_once(&self, first: usize) -> usize {
        VECTORS.min(self.vectors - first)
    }
}

/// The most elements that the packed weights of `channels` by `terms` take up, on any machine.
pub(in crate::ops) fn packed_len(channels: usize, terms: usize) -> usize {
    channels.next_multiple_of(crate::ops::simd::MAX_LANES) * (terms + 1)
}

/// Where the weight of (channel of the result, channel of the source, tap) is: the first two at these distances.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Weights<'a, T> {
    pub data: &'a [T],
    pub channel: usize,
    pub source_channel: usize,
}

/// Packs weights in the order in which [`Product`] reads them, tile by tile; before each tile's, its biases (or zeros).
pub(in crate::ops) struct Packing<'a, T> {
    pub lanes: Lanes,
    /// Channels of the result and of the source.
    pub channels: [usize; 2],
    pub taps: [Taps; 2],
    pub kernel_width: usize,
    pub weights: Weights<'a, T>,
    pub bias: Option<&'a [T]>,
}

impl<T: SimdReal> Packing<'_, T> {
    pub fn run(&self, parallel: &dyn Parallel, to: &mut [T]) {
        let to = SharedMut::new(to);
        // SAFETY: every task is run once, and nobody else uses `to`.
        parallel.run(self.tasks(), &|task, _| unsafe { self.task(task, &to, 0) });
    }

    /// How many tasks it makes: a kernel row of a tile each.
    pub fn tasks(&self) -> usize {
        self.lanes.vectors.div_ceil(VECTORS) * self.taps[0].count.max(1)
    }

    /// Does one of them, where the packed weights start at element `at`.
    ///
    /// # Safety
    /// The same task is not done twice at a time, and nobody else uses what is written.
    pub unsafe fn task(&self, task: usize, to: &SharedMut<'_, T>, at: usize) {
        let Self { lanes, channels, taps, kernel_width, weights, bias } = self;
        let kernel_rows = taps[0].count.max(1);
        let (tile, u) = (task / kernel_rows, task % kernel_rows);
        let per = if lanes.pairs { 2 } else { 1 };
        // Pairs never reach from one kernel row into the next: a stretch has an even number of terms.
        let row_terms = channels[1] * taps[1].count;
        let first = tile * VECTORS;
        let width = lanes.at_once(first) * lanes.lanes;
        let first = first * lanes.lanes;
        let start = at + first * (row_terms * taps[0].count / per + 1);
        let count = (channels[0] - first).min(width / per);
        if u == 0 {
            // SAFETY: the biases of a tile belong to its first kernel row.
            let head = unsafe { to.slice(start..start + width) };
            head.fill(T::ZERO);
            if let Some(bias) = bias {
                head.iter_mut().step_by(per).zip(&bias[first..first + count]).for_each(|(to, &b)| *to = b);
            }
        }
        if taps[0].count == 0 {
            return;
        }
        let len = row_terms / per * width;
        let start = start + width + u * len;
        // SAFETY: every kernel row of every tile has its own range.
        let to = unsafe { to.slice(start..start + len) };
        if count * per < width {
            to.fill(T::ZERO);
        }
        let mut term = 0;
        for v in 0..taps[1].count {
            let tap = taps[0].kernel(u) * kernel_width + taps[1].kernel(v);
            let from = &weights.data[first * weights.channel + tap..];
            let stride = weights.channel;
            for c in 0..channels[1] {
                let line = &mut to[term / per * width + term % per..][..(count - 1) * per + 1];
                let from = &from[c * weights.source_channel..][..(count - 1) * stride + 1];
                for o in 0..count {
                    // SAFETY: both slices reach to the last channel. (Checked, this takes twice as long.)
                    unsafe { *line.get_unchecked_mut(o * per) = *from.get_unchecked(o * stride) };
                }
                term += 1;
            }
        }
    }
}

/// Results for a grid of pixels: of each, `lanes.pitch()` numbers (see [`Lanes::pairs`]), bias included.
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
        let wanted = (last - self.rows.start) * self.out_row + (columns - 1) * self.out_column + lanes.pitch();
        assert!(wanted <= end, "a product writes {wanted} of {end}");
        assert!(self.weights.len() >= lanes.pitch() * (terms / per + 1));

        let mut first = 0;
        while first < lanes.vectors {
            let vectors = lanes.at_once(first);
            let (width, count) = self.tiling.0[vectors - 1];
            for row in self.rows.clone() {
                for t in 0..count {
                    let column = (t * width).min(columns - width);
                    let from = (row * taps[0].stride + taps[0].start) * map.pitch()
                        + (column * taps[1].stride + taps[1].start) * map.channels;
                    let to = (row - self.rows.start) * self.out_row + column * self.out_column + first * lanes.lanes;
                    // SAFETY: the assertions above hold for the furthest of all tiles; without terms nothing is read.
                    unsafe {
                        let tile = Tile {
                            x: self.source.as_ptr().wrapping_add(from),
                            x_step: taps[1].stride * map.channels,
                            rows: taps[0].count,
                            row_step: taps[0].step * map.pitch(),
                            stretches,
                            stretch_step: taps[1].step * map.channels,
                            len: len / per,
                            w: self.weights.as_ptr().add(first * lanes.lanes * (terms / per + 1)),
                            out: self.out.as_mut_ptr().add(to),
                            out_step: self.out_column,
                        };
                        self.ahead.step();
                        run(simd, tile, width, vectors, lanes.pairs);
                    }
                }
            }
            first += vectors;
        }
    }
}

struct Tile<T> {
    x: *const T,
    x_step: usize,
    rows: usize,
    row_step: usize,
    stretches: usize,
    stretch_step: usize,
    len: usize,
    w: *const T,
    out: *mut T,
    out_step: usize,
}

#[inline(always)]
unsafe fn run<T: SimdReal, S: Simd>(simd: S, tile: Tile<T>, width: usize, vectors: usize, pairs: bool) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match (vectors, pairs) {
            (1, true) => widths::<T, S, 1, true>(simd, tile, width),
            (1, false) => widths::<T, S, 1, false>(simd, tile, width),
            _ => widths::<T, S, 2, false>(simd, tile, width),
        }
    }
}

#[inline(always)]
unsafe fn widths<T: SimdReal, S: Simd, const V: usize, const PAIRS: bool>(simd: S, tile: Tile<T>, width: usize) {
    let every = every_tile::<T, S>();
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match width {
            14 if every => fixed::<T, S, 14, V, PAIRS>(simd, tile),
            11 if every => fixed::<T, S, 11, V, PAIRS>(simd, tile),
            8 if every => fixed::<T, S, 8, V, PAIRS>(simd, tile),
            6 if every => fixed::<T, S, 6, V, PAIRS>(simd, tile),
            5 if every => fixed::<T, S, 5, V, PAIRS>(simd, tile),
            4 => fixed::<T, S, 4, V, PAIRS>(simd, tile),
            3 if every => fixed::<T, S, 3, V, PAIRS>(simd, tile),
            2 if every => fixed::<T, S, 2, V, PAIRS>(simd, tile),
            _ => fixed::<T, S, 1, V, PAIRS>(simd, tile),
        }
    }
}

/// # Safety
/// All elements that [`Tile`] names must be there.
#[inline(always)]
unsafe fn fixed<T: SimdReal, S: Simd, const P: usize, const V: usize, const PAIRS: bool>(simd: S, tile: Tile<T>) {
    let lanes = T::lanes::<S>();
    let Tile { x, x_step, rows, row_step, stretches, stretch_step, len, mut w, out, out_step } = tile;
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
            return write(out, out_step, &sums);
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
        write(out, out_step, &sums);
    }
}

/// Numbers of a stretch with which [`fixed`] slides over x, two numbers from pixel to pixel: a kernel row of five taps and one
/// number each (or one pair), with stride two, such as the first layer of either recipe.
const SLIDING: usize = 5;

/// # Safety
/// There must be room for `P` pixels.
#[inline(always)]
unsafe fn write<T, X: Copy, const P: usize, const V: usize>(out: *mut T, out_step: usize, sums: &[[X; V]; P]) {
    for (p, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            // SAFETY: the caller's promise; stores are unaligned.
            unsafe { out.add(p * out_step).cast::<X>().add(v).write_unaligned(*sum) };
        }
    }
}
