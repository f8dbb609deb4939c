//! The inner loop of the convolution's gradient with respect to the weights, `sum over pixels p of x[p + (u, v, c)] dy[p, o]`:
//! a sum of outer products, a tile of which stays in registers while pixels go by.
//!
//! Each call adds to the sums in memory what some maps of x and dy bring: sums of sums, so that rounding errors stay small.

use super::ConvSizes;
use super::layout::Lanes;
use super::map::Map;
use super::minimal;
use crate::kernels::prefetch::Prefetch;
use crate::kernels::simd::{MAX_LANES, SimdReal, dispatch, every_tile, splat_term};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Rows of a tile; the most of them with one vector alone.
const HEIGHTS: [usize; 10] = [24, 12, 10, 8, 6, 5, 4, 3, 2, 1];
/// Where there are few tiles (see [`every_tile`]).
const FEW_HEIGHTS: [usize; 2] = [4, 1];

/// The shape of the sums: for each stretch of neighbouring taps, for each of its numbers, all output channels.
#[derive(Clone, Copy)]
pub(crate) struct Sums {
    pub(super) sizes: ConvSizes,
    /// Stretches, and the numbers of one.
    stretches: usize,
    len: usize,
}

impl Sums {
    pub fn new(sizes: ConvSizes) -> Self {
        // With dilation, the columns of a kernel row are not neighbours: each tap is a stretch of its own.
        let dense = sizes.options.dilation[1] == 1;
        let stretches = if dense { sizes.kernel[0] } else { sizes.taps() };
        let len = sizes.in_channels * if dense { sizes.kernel[1] } else { 1 };
        Self { sizes, stretches, len }
    }

    /// How the output channels lie in vectors.
    pub fn lanes<T: SimdReal>(&self) -> Lanes {
        Lanes::new::<T>(self.sizes.out_channels, self.len)
    }

    /// About how many tiles the sums are cut into.
    pub fn tiles(&self, lanes: &Lanes) -> usize {
        let rows = self.rows(lanes);
        self.stretches.div_ceil(self.together(lanes)) * rows.div_ceil(most(lanes)) * lanes.vectors.div_ceil(2)
    }

    /// Rows of a stretch: its numbers, or pairs of them.
    fn rows(&self, lanes: &Lanes) -> usize {
        self.len / if lanes.pairs { 2 } else { 1 }
    }

    /// How many stretches are summed together, at most: more than one where a whole stretch leaves most registers empty, so that
    /// enough multiply-adds are in flight.
    fn together(&self, lanes: &Lanes) -> usize {
        let rows = self.rows(lanes);
        if !lanes.every_tile || lanes.vectors > 1 || rows > FEW || !HEIGHTS.contains(&rows) {
            1
        } else if lanes.registers >= 32 && self.stretches == self.sizes.kernel[0] {
            // Kernel rows are all as far from each other as two of them.
            3
        } else {
            2
        }
    }

    /// Elements of the sums on any machine.
    pub fn most_elements(&self) -> usize {
        self.stretches * self.len * self.sizes.out_channels.next_multiple_of(MAX_LANES)
    }

    /// Elements of the sums.
    pub fn elements(&self, lanes: &Lanes) -> usize {
        self.stretches * self.len * lanes.width() / if lanes.pairs { 2 } else { 1 }
    }

    /// The number of the sums that belongs to a tap and a channel of x.
    pub(super) fn term(&self, tap: usize, channel: usize) -> usize {
        let ConvSizes { in_channels, kernel, .. } = self.sizes;
        if self.stretches == kernel[0] {
            tap / kernel[1] * self.len + tap % kernel[1] * in_channels + channel
        } else {
            tap * self.len + channel
        }
    }
}

/// What some units, one after another in memory, add to the sums.
pub(crate) struct Outer<'a, T> {
    pub sums: Sums,
    pub lanes: Lanes,
    pub to: &'a mut [T],
    pub x: &'a [T],
    pub x_map: Map,
    pub dy: &'a [T],
    pub dy_map: Map,
    /// Each unit's output rows, first and count.
    pub rows: Range<usize>,
    pub units: usize,
    /// Elements from one unit's x and dy to the next one's.
    pub x_unit: usize,
    pub dy_unit: usize,
    /// Whether the sums begin with this: what was in their memory does not count.
    pub begins: bool,
    /// Temporary memory for computing it with fewer multiplications, where that is possible.
    pub minimal: Option<&'a mut [T]>,
    /// What is prefetched meanwhile, a step for each row of a tile.
    pub prefetch: &'a Prefetch,
}

impl<T: SimdReal> Outer<'_, T> {
    /// Adds it.
    pub fn run(mut self) {
        if let Some(scratch) = self.minimal.take() {
            return minimal::outer(self, scratch);
        }
        let Self { sums, lanes, x_map, dy_map, units, .. } = self;
        let ConvSizes { kernel, options, output, in_channels, .. } = sums.sizes;
        let per = if lanes.pairs { 2 } else { 1 };
        let dy_start = dy_map.at(self.rows.start, 0);
        let dy_pixel = dy_map.channels;
        // Vectors of the last pixel may reach beyond it: the caller leaves slack.
        let dy_last = (units - 1) * self.dy_unit + dy_map.at(self.rows.end - 1, output[1] - 1) + lanes.width();
        assert!(dy_last <= self.dy.len() && (units - 1) * self.x_unit + x_map.len() <= self.x.len());
        assert!(self.to.len() >= sums.elements(&lanes));
        let rows_of_sums = sums.rows(&lanes);
        let start = |stretch: usize| {
            let (u, v) =
                if sums.stretches == kernel[0] { (stretch, 0) } else { (stretch / kernel[1], stretch % kernel[1]) };
            u * options.dilation[0] * x_map.pitch() + v * options.dilation[1] * in_channels
        };
        let most_together = sums.together(&lanes);
        let mut stretch = 0;
        while stretch < sums.stretches {
            let left = sums.stretches - stretch;
            let together = left.div_ceil(left.div_ceil(most_together));
            let mut first = 0;
            while first < rows_of_sums {
                let height = height(&lanes, rows_of_sums - first);
                let mut vector = 0;
                while vector < lanes.vectors {
                    let vectors = (lanes.vectors - vector).min(2);
                    let at = (stretch * rows_of_sums + first) * lanes.width() + vector * lanes.lanes;
                    // SAFETY: asserted above for the last unit, row, pixel and vector.
                    unsafe {
                        let tile = OuterTile {
                            prefetch: self.prefetch,
                            begins: self.begins,
                            x: self.x.as_ptr().add(start(stretch) + first * per),
                            x_stretch: start(stretch + 1) - start(stretch),
                            x_step: options.stride[1] * in_channels,
                            x_row: options.stride[0] * x_map.pitch(),
                            x_unit: self.x_unit,
                            dy: self.dy.as_ptr().add(dy_start + vector * lanes.lanes),
                            dy_step: dy_pixel,
                            dy_row: dy_map.pitch(),
                            dy_unit: self.dy_unit,
                            to: self.to.as_mut_ptr().add(at),
                            to_step: lanes.width(),
                            columns: output[1],
                            rows: self.rows.len(),
                            units,
                        };
                        tile.run(height, vectors, lanes.pairs, together);
                    }
                    vector += vectors;
                }
                first += height;
            }
            stretch += together;
        }
    }
}

/// Rows of a tile of which two or three are summed together.
const FEW: usize = 6;

/// The most rows of a tile: with a vector of dy and one number of x they must fit into the registers.
fn most(lanes: &Lanes) -> usize {
    match lanes.vectors {
        1 if lanes.registers >= 32 => 24,
        1 => 12,
        _ if lanes.registers >= 32 => 12,
        _ => 6,
    }
}

/// Rows of the next tile, of so many that are left: tiles are about equal.
pub(super) fn height(lanes: &Lanes, left: usize) -> usize {
    let even = left.div_ceil(left.div_ceil(most(lanes)));
    let heights = if lanes.every_tile { &HEIGHTS[..] } else { &FEW_HEIGHTS };
    heights.iter().copied().find(|&height| height <= even).unwrap_or(1)
}

/// A tile of the sums, and what is added to it. Who makes one promises that all elements that it names are there.
pub(super) struct OuterTile<'a, T> {
    pub prefetch: &'a Prefetch,
    pub begins: bool,
    pub x: *const T,
    /// From one stretch to the next.
    pub x_stretch: usize,
    pub x_step: usize,
    pub x_row: usize,
    pub x_unit: usize,
    pub dy: *const T,
    pub dy_step: usize,
    pub dy_row: usize,
    pub dy_unit: usize,
    pub to: *mut T,
    pub to_step: usize,
    pub columns: usize,
    pub rows: usize,
    pub units: usize,
}

impl<T: SimdReal> OuterTile<'_, T> {
    /// Adds it.
    pub fn run(self, height: usize, vectors: usize, pairs: bool, together: usize) {
        match (together, vectors, pairs) {
            (3, _, true) => self.few::<3, true>(height),
            (3, _, false) => self.few::<3, false>(height),
            (2, _, true) => self.few::<2, true>(height),
            (2, _, false) => self.few::<2, false>(height),
            (_, 1, true) if height == HEIGHTS[0] => self.fixed::<1, { HEIGHTS[0] }, 1, true>(),
            (_, 1, false) if height == HEIGHTS[0] => self.fixed::<1, { HEIGHTS[0] }, 1, false>(),
            (_, 1, true) => self.heights::<1, true>(height),
            (_, 1, false) => self.heights::<1, false>(height),
            _ => self.heights::<2, false>(height),
        }
    }

    fn few<const U: usize, const PAIRS: bool>(self, height: usize) {
        match height {
            6 => self.fixed::<U, 6, 1, PAIRS>(),
            5 => self.fixed::<U, 5, 1, PAIRS>(),
            4 => self.fixed::<U, 4, 1, PAIRS>(),
            3 => self.fixed::<U, 3, 1, PAIRS>(),
            2 => self.fixed::<U, 2, 1, PAIRS>(),
            _ => self.fixed::<U, 1, 1, PAIRS>(),
        }
    }

    fn heights<const V: usize, const PAIRS: bool>(self, height: usize) {
        match height {
            12 => self.fixed::<1, 12, V, PAIRS>(),
            10 => self.fixed::<1, 10, V, PAIRS>(),
            8 => self.fixed::<1, 8, V, PAIRS>(),
            6 => self.fixed::<1, 6, V, PAIRS>(),
            5 => self.fixed::<1, 5, V, PAIRS>(),
            4 => self.fixed::<1, 4, V, PAIRS>(),
            3 => self.fixed::<1, 3, V, PAIRS>(),
            2 => self.fixed::<1, 2, V, PAIRS>(),
            _ => self.fixed::<1, 1, V, PAIRS>(),
        }
    }

    fn fixed<const U: usize, const R: usize, const V: usize, const PAIRS: bool>(self) {
        dispatch(Fixed::<T, U, R, V, PAIRS>(self));
    }
}

/// A tile of `U` stretches of `R` rows and `V` vectors. Each is a function of its own: in one that has them all, the compiler moves sums
/// between registers and memory after every row of pixels.
struct Fixed<'a, T, const U: usize, const R: usize, const V: usize, const PAIRS: bool>(OuterTile<'a, T>);

impl<T: SimdReal, const U: usize, const R: usize, const V: usize, const PAIRS: bool> WithSimd
    for Fixed<'_, T, U, R, V, PAIRS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if (every_tile::<T, S>() && (U < 3 || S::REGISTER_COUNT >= 32)) || (U == 1 && FEW_HEIGHTS.contains(&R)) {
            // SAFETY: a tile's elements are there.
            unsafe { fixed::<T, S, U, R, V, PAIRS>(simd, self.0) }
        } else {
            unreachable!("tiles of {R} rows where there are few");
        }
    }
}

/// Rows of a tile that slide over x, as in the product: a kernel row of five taps and one number each, with stride two; and how many
/// pixels are done together then.
const SLIDING: usize = 5;
const PIXELS: usize = 4;

/// Sums of `U` stretches of `R` rows and `V` vectors.
///
/// # Safety
/// All elements that [`OuterTile`] names must be there.
#[inline(always)]
unsafe fn fixed<T: SimdReal, S: Simd, const U: usize, const R: usize, const V: usize, const PAIRS: bool>(
    simd: S,
    tile: OuterTile<'_, T>,
) {
    let lanes = T::lanes::<S>();
    // SAFETY: the caller's promise; loads and stores are unaligned.
    unsafe {
        let load = |from: *const T| from.cast::<T::Vector<S>>().read_unaligned();
        // With pairs, each number of dy is needed twice, and all lie in half a vector.
        let load_dy = |from: *const T| if PAIRS { T::doubled(simd, from) } else { load(from) };
        let mut sums = [[[T::splat(simd, T::ZERO); V]; R]; U];
        for unit in 0..tile.units {
            for row in 0..tile.rows {
                tile.prefetch.step();
                let mut x = tile.x.add(unit * tile.x_unit + row * tile.x_row);
                let mut dy = tile.dy.add(unit * tile.dy_unit + row * tile.dy_row);
                let mut columns = tile.columns;
                let number = if PAIRS { 2 } else { 1 };
                if V == 1 && R == SLIDING && tile.x_step == 2 * number {
                    // Neighbouring pixels share numbers of x: written out, so that the compiler sees that each is to be loaded
                    // once.
                    while columns >= PIXELS {
                        for (u, sums) in sums.iter_mut().enumerate() {
                            let x = x.add(u * tile.x_stretch);
                            for p in 0..PIXELS {
                                let column = load_dy(dy.wrapping_add(p * tile.dy_step));
                                for (r, sums) in sums.iter_mut().enumerate() {
                                    let at = x.add((2 * p + r) * number);
                                    let factor = splat_term::<T, S, PAIRS>(simd, at);
                                    sums[0] = T::mul_add_v(simd, factor, column, sums[0]);
                                }
                            }
                        }
                        x = x.wrapping_add(PIXELS * tile.x_step);
                        dy = dy.wrapping_add(PIXELS * tile.dy_step);
                        columns -= PIXELS;
                    }
                }
                for _ in 0..columns {
                    let columns: [T::Vector<S>; V] = std::array::from_fn(|v| load_dy(dy.add(v * lanes)));
                    for (u, sums) in sums.iter_mut().enumerate() {
                        let x = x.add(u * tile.x_stretch);
                        for (r, sums) in sums.iter_mut().enumerate() {
                            let factor = splat_term::<T, S, PAIRS>(simd, x.add(r * number));
                            for (v, sum) in sums.iter_mut().enumerate() {
                                *sum = T::mul_add_v(simd, factor, columns[v], *sum);
                            }
                        }
                    }
                    // The last step may leave the map; nothing is read there.
                    x = x.wrapping_add(tile.x_step);
                    dy = dy.wrapping_add(tile.dy_step);
                }
            }
        }
        // Each stretch's rows follow those of the one before.
        for (r, sums) in sums.as_flattened().iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                let to = tile.to.add(r * tile.to_step + v * lanes);
                let total = if tile.begins { *sum } else { T::add_v(simd, load(to), *sum) };
                to.cast::<T::Vector<S>>().write_unaligned(total);
            }
        }
    }
}
