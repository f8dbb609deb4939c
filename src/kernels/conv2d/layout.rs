//! How the channels of a pixel lie in vectors, and how pixels are cut into tiles.

use crate::kernels::simd::{SimdReal, dispatch, every_tile};
use pulp::{Simd, WithSimd};

/// Vectors of channels in a tile.
pub(super) const VECTORS: usize = 2;
/// Pixels that a tile may have, and where there are few tiles (see [`every_tile`]).
const WIDTHS: [usize; 9] = [14, 11, 8, 6, 5, 4, 3, 2, 1];
pub(super) const FEW_WIDTHS: [usize; 2] = [4, 1];

/// How the channels of a product lie in vectors on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lanes {
    /// Elements of a vector.
    pub lanes: usize,
    /// Vectors that hold all channels.
    pub vectors: usize,
    /// Whether two terms share a vector.
    pub pairs: bool,
    /// Vector registers of the machine.
    pub(super) registers: usize,
    /// See [`every_tile`].
    pub(super) every_tile: bool,
}

/// How a row of pixels is cut into tiles, of one vector and of [`VECTORS`]: pixels of a tile, and tiles of a row, of which
/// the last may overlap the one before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiling(pub(super) [(usize, usize); VECTORS]);

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
