//! Convolutions of 3 x 3 taps and stride one with fewer multiplications: minimal filtering.
//!
//! Two neighbouring results y of a line of numbers d and taps g are made of four products instead of six:
//!
//! ```text
//! m0 = (d0 - d2) g0            m1 = (d1 + d2) (g0 + g1 + g2) / 2      y0 = m0 + m1 + m2
//! m3 = (d3 - d1) g2            m2 = (d2 - d1) (g0 - g1 + g2) / 2      y1 = m1 - m2 + m3
//! ```
//!
//! The same along both axes makes 2 x 2 results of 16 products instead of 36. Summed over channels, each of the 16 is a matrix product:
//! tiles by channels of the source, times those by channels of the result. The gradient with respect to the weights is made of 16
//! products in the same way, with the sums over the tiles. (S. Winograd, "Arithmetic complexity of computations", 1980; A. Lavin and S.
//! Gray, "Fast algorithms for convolutional neural networks", 2016.)
//!
//! Differences of infinities are NaN, and sums of large numbers overflow, also where a plain sum of products would do neither. So where a
//! result is not finite, or a number of x or dy is very large, all multiplications are made after all.

mod lines;
mod maps;
#[cfg(test)]
mod tests;
mod weights;

use super::ConvSizes;
use super::layout::{Lanes, VECTORS};
use super::map::Map;
use super::outer::{Outer, OuterTile, height};
use super::packing::packed_len;
use super::product::Product;
use super::taps::Taps;
use crate::kernels::lanes;
use crate::kernels::prefetch::Prefetch;
use crate::kernels::simd::{MAX_LANES, SimdReal, dispatch};
use maps::{Gradient, Numbers, Results, Source, Tiles};
use weights::Unfilter;
pub(crate) use weights::filter;

/// Results, taps and products along an axis.
const RESULTS: usize = 2;
const TAPS: usize = 3;
const SIDE: usize = 4;
/// Products of a tile.
const PRODUCTS: usize = SIDE * SIDE;
/// The fewest channels, of source and result. With 32 a convolution takes 0.6 times as long, its sums 0.7 times; fewer were not tried.
const MIN_CHANNELS: usize = 32;
/// The most products for each result; there are more than four where tiles reach beyond the map.
const MOST: usize = 6;
/// About the most elements of the numbers and results of tiles that are computed together: they stay in the second-level cache, and the
/// weights serve all of them.
const TOGETHER: usize = 1 << 17;
/// The same of x and dy for the sums, where more together means fewer that are written.
const TOGETHER_IN_SUMS: usize = 1 << 18;
/// Channels of x whose sums of all products are made together, with two vectors of channels of dy: they stay in the second-level cache.
const TOGETHER_CHANNELS: usize = 48;
/// The largest magnitude in x and dy with which sums are made so: even those of f32 are in range then.
const LARGEST: f64 = 1e17;

/// Whether a convolution is computed so. That follows from its sizes, so that bits depend on nothing else.
pub(crate) fn applies(sizes: &ConvSizes) -> bool {
    let fit = |channels: usize| channels >= MIN_CHANNELS && channels.is_multiple_of(MAX_LANES);
    sizes.kernel == [TAPS; 2]
        && sizes.options.stride == [1; 2]
        && fit(sizes.in_channels)
        && fit(sizes.out_channels)
        && PRODUCTS * Tiles::new(sizes.output, sizes.options.dilation).count() <= MOST * sizes.pixels()
}

/// Elements from one product's numbers to the next one's: a cache line more than there are, since all of a tile's would lie in the same
/// set of the first-level cache where these are a multiple of 4 kB.
fn product_len(tiles: usize, channels: usize) -> usize {
    tiles * channels + MAX_LANES
}

/// Elements of all products' numbers.
fn tiles_len(tiles: usize, channels: usize) -> usize {
    PRODUCTS * product_len(tiles, channels)
}

/// Elements of the weights of all products; 1 where it does not apply.
pub(crate) fn weights_len(sizes: &ConvSizes) -> usize {
    let len = |to, from| PRODUCTS * packed_len(to, from);
    let ConvSizes { in_channels, out_channels, .. } = *sizes;
    if applies(sizes) { len(out_channels, in_channels).max(len(in_channels, out_channels)) } else { 1 }
}

/// How many of so many rows, whose taps are so far apart, are computed together: whole tiles with at most so many elements, of which
/// `len(rows)` says how many they have, or one row of tiles.
fn rows_within(rows: usize, apart: usize, elements: usize, len: impl Fn(usize) -> usize) -> usize {
    let least = RESULTS * apart;
    if len(rows) <= elements { rows.max(1) } else { (elements / len(least)).max(1) * least }
}

/// So many rows, or a few less, so that they are whole tiles.
pub(crate) fn whole_tiles(sizes: &ConvSizes, rows: usize) -> usize {
    let tile = RESULTS * sizes.options.dilation[0];
    if applies(sizes) && rows > tile { rows / tile * tile } else { rows }
}

/// Elements of the numbers of some tiles in two maps of so many channels.
fn both_len(tiles: Tiles, channels: [usize; 2]) -> usize {
    channels.map(|channels| tiles_len(tiles.count(), channels)).iter().sum()
}

/// The same of so many results, with the convolution's channels.
fn grid_len(sizes: &ConvSizes, grid: [usize; 2]) -> usize {
    both_len(Tiles::new(grid, sizes.options.dilation), [sizes.in_channels, sizes.out_channels])
}

/// The same of as many rows as are computed together: what [`rows_within`] allows at most.
fn len_within(sizes: &ConvSizes, [rows, columns]: [usize; 2], elements: usize) -> usize {
    let least = RESULTS * sizes.options.dilation[0];
    grid_len(sizes, [rows, columns]).min(elements.max(grid_len(sizes, [least, columns])))
}

/// Elements that [`Minimal`] needs for so many rows and columns of results, or fewer rows; 0 where it does not apply.
pub(crate) fn scratch_len(sizes: &ConvSizes, grid: [usize; 2]) -> usize {
    if applies(sizes) { len_within(sizes, grid, TOGETHER) } else { 0 }
}

/// The rows of a unit that go into the sums together.
fn sum_rows(sizes: &ConvSizes, rows: usize) -> usize {
    let len = |rows| grid_len(sizes, [rows, sizes.output[1]]);
    rows_within(rows, sizes.options.dilation[0], TOGETHER_IN_SUMS, len)
}

/// How many units of so many rows, at most, go into the sums together.
pub(crate) fn units_at_once(sizes: &ConvSizes, rows: usize, most: usize) -> usize {
    (TOGETHER_IN_SUMS / grid_len(sizes, [rows, sizes.output[1]])).clamp(1, most)
}

/// Whether a unit of so many rows goes into the sums in parts, since it is too large.
pub(crate) fn sums_in_parts(sizes: &ConvSizes, rows: usize) -> bool {
    applies(sizes) && sum_rows(sizes, rows) < rows
}

/// Elements that the sums need for as many units as [`units_at_once`] says, or fewer, of so many rows or fewer; 0 where it does not
/// apply.
pub(crate) fn outer_scratch_len(sizes: &ConvSizes, rows: usize, most: usize) -> usize {
    if !applies(sizes) {
        return 0;
    }
    let tiles = units_at_once(sizes, rows, most) * len_within(sizes, [rows, sizes.output[1]], TOGETHER_IN_SUMS);
    tiles + PRODUCTS * TOGETHER_CHANNELS * VECTORS * MAX_LANES
}

/// What a [`Product`] needs to be computed so.
pub(crate) struct Minimal<'a, T> {
    /// What [`filter`] made.
    pub weights: &'a [T],
    /// [`scratch_len`] elements.
    pub scratch: &'a mut [T],
}

/// [`Minimal`] with these weights and this memory, where it [applies].
pub(crate) fn with<'a, T>(sizes: &ConvSizes, weights: &'a [T], scratch: &'a mut [T]) -> Option<Minimal<'a, T>> {
    applies(sizes).then_some(Minimal { weights, scratch })
}

impl<T: SimdReal> Minimal<'_, T> {
    /// Computes a product with 3 x 3 taps whose results fill whole vectors.
    pub(super) fn run(self, mut product: Product<'_, T>) {
        let out = std::mem::take(&mut product.out);
        let Product { source, map, taps, lanes, ref rows, columns, out_row, out_column, .. } = product;
        let (channels, width) = (map.channels, lanes.width());
        let each = packed_len(width, channels);
        let apart = taps.map(|taps| taps.step);
        let len = |rows| both_len(Tiles::new([rows, columns], apart), [channels, width]);
        let at_once = rows_within(rows.len(), apart[0], TOGETHER, len);
        for from in (0..rows.len()).step_by(at_once) {
            let tiles = Tiles::new([at_once.min(rows.len() - from), columns], apart);
            let count = tiles.count();
            let (numbers, rest) = self.scratch.split_at_mut(tiles_len(count, channels));
            let results = &mut rest[..tiles_len(count, width)];
            let start = (rows.start + from + taps[0].start) * map.pitch() + taps[1].start * channels;
            let (from_map, pitch, to) = (&source[start..], [map.pitch(), channels], &mut *numbers);
            dispatch(Numbers { of: Source, tiles, from: from_map, pitch, channels, to, first: 0, all: count });
            let tiling = lanes.tiling(count);
            for number in 0..PRODUCTS {
                Product {
                    source: &numbers[number * product_len(count, channels)..][..count * channels],
                    map: Map { rows: 1, columns: count, channels, top: 0, left: 0 },
                    taps: [Taps::ONE; 2],
                    lanes,
                    tiling,
                    weights: &self.weights[number * each..][..each],
                    minimal: None,
                    rows: 0..1,
                    columns: count,
                    out: &mut results[number * product_len(count, width)..][..count * width],
                    out_row: count * width,
                    out_column: width,
                    out_last: width,
                    prefetch: &Prefetch::none(),
                }
                .run();
            }
            let out = &mut out[from * out_row..];
            let pitch = [out_row, out_column];
            if !dispatch(Results { tiles, products: results, channels: width, out: &mut *out, pitch }) {
                let rows = rows.start + from..rows.start + from + tiles.grid[0];
                let prefetch = &Prefetch::none();
                Product { rows, out, minimal: None, prefetch, ..product }.run();
            }
        }
    }
}

/// Whether minimal filtering may make sums of these.
fn in_range<T: SimdReal>(numbers: &[T]) -> bool {
    let largest = T::from_f64(LARGEST);
    lanes::dispatch(
        #[inline(always)]
        || numbers.iter().fold(true, |all, x| all & (x.abs() <= largest)),
    )
}

/// Adds to the gradient's sums what some units bring, with [`outer_scratch_len`] elements of temporary memory.
pub(super) fn outer<T: SimdReal>(outer: Outer<'_, T>, scratch: &mut [T]) {
    let fits = |from: &[T], unit: usize, map: &Map| {
        (0..outer.units).all(|i| in_range(&from[i * unit..][..map.rows * map.pitch()]))
    };
    if !fits(outer.x, outer.x_unit, &outer.x_map) || !fits(outer.dy, outer.dy_unit, &outer.dy_map) {
        return outer.run();
    }
    let Outer { sums, lanes, to, x, x_map, dy, dy_map, rows, units, x_unit, dy_unit, mut begins, .. } = outer;
    let sizes = &sums.sizes;
    let at_once = sum_rows(sizes, rows.len());
    for from in rows.clone().step_by(at_once) {
        let tiles = Tiles::new([at_once.min(rows.end - from), sizes.output[1]], sizes.options.dilation);
        let x_start = (from - rows.start) * x_map.pitch();
        let all = units * tiles.count();
        let (numbers, rest) = scratch.split_at_mut(tiles_len(all, sizes.in_channels));
        let (gradients, room) = rest.split_at_mut(tiles_len(all, sizes.out_channels));
        for unit in 0..units {
            let first = unit * tiles.count();
            dispatch(Numbers {
                of: Source,
                tiles,
                from: &x[unit * x_unit..][x_start..x_map.len()],
                pitch: [x_map.pitch(), x_map.channels],
                channels: x_map.channels,
                to: &mut *numbers,
                first,
                all,
            });
            dispatch(Numbers {
                of: Gradient,
                tiles,
                from: &dy[unit * dy_unit..][dy_map.at(from, 0)..dy_map.len()],
                pitch: [dy_map.pitch(), dy_map.channels],
                channels: dy_map.channels,
                to: &mut *gradients,
                first,
                all,
            });
        }
        add_tiles(sizes, &lanes, [numbers, gradients], all, room, to, begins);
        begins = false;
    }
}

/// Adds to the gradient's sums what the numbers of `all` tiles bring; `room` is for sums of products.
fn add_tiles<T: SimdReal>(
    sizes: &ConvSizes,
    lanes: &Lanes,
    [numbers, gradients]: [&[T]; 2],
    all: usize,
    room: &mut [T],
    to: &mut [T],
    begins: bool,
) {
    let (ConvSizes { in_channels, out_channels, .. }, none) = (*sizes, Prefetch::none());
    let each = in_channels * out_channels;
    assert!(lanes.width() == out_channels && to.len() >= TAPS * TAPS * each);
    for start in (0..in_channels).step_by(TOGETHER_CHANNELS) {
        let rows = TOGETHER_CHANNELS.min(in_channels - start);
        for vector in (0..lanes.vectors).step_by(VECTORS) {
            let vectors = lanes.at_once(vector);
            let width = vectors * lanes.lanes;
            let sums = &mut room[..PRODUCTS * rows * width];
            for (product, sums) in sums.chunks_exact_mut(rows * width).enumerate() {
                let x = &numbers[product * product_len(all, in_channels)..][..all * in_channels];
                let dy = &gradients[product * product_len(all, out_channels)..][..all * out_channels];
                let mut first = 0;
                while first < rows {
                    let height = height(lanes, rows - first);
                    // SAFETY: `height` channels of x and `vectors` of dy are there in each of `all` tiles, and in the sums.
                    unsafe {
                        let tile = OuterTile {
                            prefetch: &none,
                            begins: true,
                            x: x.as_ptr().add(start + first),
                            x_stretch: 0,
                            x_step: in_channels,
                            x_row: 0,
                            x_unit: 0,
                            dy: dy.as_ptr().add(vector * lanes.lanes),
                            dy_step: out_channels,
                            dy_row: 0,
                            dy_unit: 0,
                            to: sums.as_mut_ptr().add(first * width),
                            to_step: width,
                            columns: all,
                            rows: 1,
                            units: 1,
                        };
                        tile.run(height, vectors, false, 1);
                    }
                    first += height;
                }
            }
            let to = &mut to[start * out_channels + vector * lanes.lanes..];
            dispatch(Unfilter { size: [rows, width], sums, to, tap: each, row: out_channels, begins });
        }
    }
}
