//! From maps to what the products read, tile by tile, and from the products to results.

use super::lines::{Line, both, load, square, store};
use super::{PRODUCTS, RESULTS, SIDE, product_len, tiles_len};
use crate::kernels::simd::{MAX_LANES, SimdReal};
use pulp::{Simd, WithSimd};

/// A grid of results, cut into tiles of 2 x 2 that are as far apart as the taps are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiles {
    pub grid: [usize; 2],
    pub apart: [usize; 2],
}

/// Two results along an axis: the first, and whether the grid has the second.
type Two = (usize, bool);

impl Tiles {
    pub fn new(grid: [usize; 2], apart: [usize; 2]) -> Self {
        Self { grid, apart }
    }

    fn along(self, axis: usize) -> impl Iterator<Item = Two> {
        let (len, apart) = (self.grid[axis], self.apart[axis]);
        let firsts = (0..apart.min(len)).flat_map(move |phase| (phase..len).step_by(RESULTS * apart));
        firsts.map(move |first| (first, first + apart < len))
    }

    pub fn count(self) -> usize {
        let along = |axis: usize| -> usize {
            let (len, apart) = (self.grid[axis], self.apart[axis]);
            (0..apart.min(len)).map(|phase| (len - phase).div_ceil(RESULTS * apart)).sum()
        };
        along(0) * along(1)
    }

    /// Every tile: its number, and its results along both axes.
    #[inline(always)]
    pub fn each(self, mut with: impl FnMut(usize, [Two; 2])) {
        let mut tile = 0;
        for row in self.along(0) {
            for column in self.along(1) {
                with(tile, [row, column]);
                tile += 1;
            }
        }
    }
}

/// A line of `N` numbers of a map, which becomes one of the products' numbers.
pub(super) trait Of<const N: usize> {
    fn line<T: SimdReal, S: Simd>(&self, line: &Line<S>, numbers: [T::Vector<S>; N]) -> [T::Vector<S>; SIDE];
}

/// Of the map that the convolution reads.
pub(super) struct Source;

impl Of<SIDE> for Source {
    #[inline(always)]
    fn line<T: SimdReal, S: Simd>(&self, line: &Line<S>, numbers: [T::Vector<S>; SIDE]) -> [T::Vector<S>; SIDE] {
        line.source::<T>(numbers)
    }
}

/// Of the gradient with respect to its results.
pub(super) struct Gradient;

impl Of<RESULTS> for Gradient {
    #[inline(always)]
    fn line<T: SimdReal, S: Simd>(&self, line: &Line<S>, numbers: [T::Vector<S>; RESULTS]) -> [T::Vector<S>; SIDE] {
        line.gradients::<T>(numbers)
    }
}

/// What the products read of a map: of each tile, the transform of `N` x `N` numbers.
pub(super) struct Numbers<'a, T, O, const N: usize> {
    pub of: O,
    pub tiles: Tiles,
    /// From the first number of the first tile on.
    pub from: &'a [T],
    /// From a row to the next, and from a column.
    pub pitch: [usize; 2],
    pub channels: usize,
    /// `[PRODUCTS, all, channels]`, of which these tiles are those from `first` on.
    pub to: &'a mut [T],
    pub first: usize,
    pub all: usize,
}

impl<T: SimdReal, O: Of<N>, const N: usize> WithSimd for Numbers<'_, T, O, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { of, tiles, from, pitch, channels, to, first, all } = self;
        let line = Line(simd);
        let zero = T::splat(simd, T::ZERO);
        // The last result, and the lines behind it.
        let reach = |axis: usize| (tiles.grid[axis] - 1 + (N - RESULTS) * tiles.apart[axis]) * pitch[axis];
        assert!(reach(0) + reach(1) + channels <= from.len() && channels.is_multiple_of(T::lanes::<S>()));
        assert!(first + tiles.count() <= all && tiles_len(all, channels) <= to.len());
        let each = product_len(all, channels);
        tiles.each(
            #[inline(always)]
            |tile, [row, column]| {
                let rows: [usize; N] = std::array::from_fn(|i| (row.0 + i * tiles.apart[0]) * pitch[0]);
                let columns: [usize; N] = std::array::from_fn(|j| (column.0 + j * tiles.apart[1]) * pitch[1]);
                for c in (0..channels).step_by(T::lanes::<S>()) {
                    // SAFETY: asserted above for the last row, column and channel.
                    unsafe {
                        let number = |i: usize, j: usize| load::<T, S>(from.as_ptr().add(rows[i] + columns[j] + c));
                        let numbers = if row.1 && column.1 {
                            square(number)
                        } else {
                            // A tile without a second result has no last line. Zeros are as good as any: no result depends on it.
                            let there = |i: usize, j: usize| (row.1 || i + 1 < N) && (column.1 || j + 1 < N);
                            square(
                                #[inline(always)]
                                |i, j| if there(i, j) { number(i, j) } else { zero },
                            )
                        };
                        let numbers = both(
                            numbers,
                            #[inline(always)]
                            |numbers| of.line::<T, S>(&line, numbers),
                        );
                        for (product, &numbers) in numbers.as_flattened().iter().enumerate() {
                            let at = product * each + (first + tile) * channels + c;
                            store::<T, S>(to.as_mut_ptr().add(at), numbers);
                        }
                    }
                }
            },
        );
    }
}

/// The results of all tiles; says whether all of them are finite.
pub(super) struct Results<'a, T> {
    pub tiles: Tiles,
    /// `[PRODUCTS, tiles, channels]`.
    pub products: &'a [T],
    pub channels: usize,
    pub out: &'a mut [T],
    /// From a row of results to the next, and from a column.
    pub pitch: [usize; 2],
}

impl<T: SimdReal> WithSimd for Results<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        let Self { tiles, products, channels, out, pitch } = self;
        let line = Line(simd);
        let zero = T::splat(simd, T::ZERO);
        // Zero times what is not finite is NaN, and remains.
        let mut check = zero;
        let each = product_len(tiles.count(), channels);
        let reach = |axis: usize| (tiles.grid[axis] - 1) * pitch[axis];
        assert!(reach(0) + reach(1) + channels <= out.len() && channels.is_multiple_of(T::lanes::<S>()));
        assert!(PRODUCTS * each <= products.len());
        tiles.each(
            #[inline(always)]
            |tile, [row, column]| {
                let at = |i: usize, j: usize| {
                    (row.0 + i * tiles.apart[0]) * pitch[0] + (column.0 + j * tiles.apart[1]) * pitch[1]
                };
                let there = |i: usize, j: usize| (row.1 || i == 0) && (column.1 || j == 0);
                for c in (0..channels).step_by(T::lanes::<S>()) {
                    // SAFETY: asserted above for the last row, column and channel.
                    unsafe {
                        let products = square(
                            #[inline(always)]
                            |i, j| load::<T, S>(products.as_ptr().add((i * SIDE + j) * each + tile * channels + c)),
                        );
                        let results = both(
                            products,
                            #[inline(always)]
                            |products| line.results::<T>(products),
                        );
                        for (i, results) in results.iter().enumerate() {
                            for (j, &result) in results.iter().enumerate() {
                                if there(i, j) {
                                    check = T::mul_add_v(simd, zero, result, check);
                                    store::<T, S>(out.as_mut_ptr().add(at(i, j) + c), result);
                                }
                            }
                        }
                    }
                }
            },
        );
        let mut lanes = [T::ZERO; MAX_LANES];
        // SAFETY: there are at most as many.
        unsafe { store::<T, S>(lanes.as_mut_ptr(), check) };
        lanes.iter().all(|&lane| lane == T::ZERO)
    }
}
