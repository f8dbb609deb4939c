//! What the CPU kernels of the convolution, of its gradients and of fused blocks are made of: `[channels, height, width]` outside and
//! channels innermost inside.
//!
//! Each unit of an item is transposed once, border included, into a small buffer that stays in the first- or second-level
//! cache; the inner loops ([`product`], [`outer`]) read it in place, without gathering anything, and results are transposed
//! back. Blocks of a network that keep channels innermost throughout ([`ConvBlock`](crate::fusion::ConvBlock)) share
//! everything but the transposition.

pub(crate) mod collect;
pub(crate) mod exchange;
pub(crate) mod layout;
pub(crate) mod map;
pub(crate) mod minimal;
pub(crate) mod outer;
pub(crate) mod packing;
pub(crate) mod product;
mod sizes;
pub(crate) mod taps;

use super::simd::SimdReal;
use layout::Lanes;
use map::Cut;
use packing::Weights;
pub use sizes::{ConvOptions, ConvSizes};
use taps::Taps;

/// Elements of results that are made before they are written: they stay in the second-level cache, and a stretch of the weights serves all
/// of them before the next one comes.
const BUFFER: usize = 32_768;
/// Elements of maps of x and dy that go into the sums together: they stay in the second-level cache.
const TOGETHER: usize = 32_768;

/// How many rows of results of this many elements are made at once.
pub(crate) fn rows_at_once(row: usize) -> usize {
    (BUFFER / row).max(1)
}

/// Elements of a buffer for rows of results of at most this many elements.
pub(crate) fn buffer_len(row: usize) -> usize {
    row.max(BUFFER)
}

/// How many units of maps of this many elements go into the sums together.
pub(crate) fn units_at_once(sizes: &ConvSizes, cut: &Cut, maps: usize) -> usize {
    if minimal::applies(sizes) {
        return minimal::units_at_once(sizes, cut.block_rows(), cut.per_chunk());
    }
    (TOGETHER / maps).clamp(1, cut.per_chunk())
}

/// The taps of the convolution itself, and of its gradient's classes, with the distances of the weights.
pub(crate) fn forward_taps(sizes: &ConvSizes) -> [Taps; 2] {
    [Taps::forward(sizes, 0), Taps::forward(sizes, 1)]
}

/// How the results of the convolution lie in vectors.
pub(crate) fn forward_lanes<T: SimdReal>(sizes: &ConvSizes) -> Lanes {
    let columns = if sizes.options.dilation[1] == 1 { sizes.kernel[1] } else { 1 };
    Lanes::new::<T>(sizes.out_channels, sizes.in_channels * columns)
}

/// The weights of one group, for the convolution.
pub(crate) fn forward_weights<'a, T>(sizes: &ConvSizes, data: &'a [T]) -> Weights<'a, T> {
    Weights { data, channel: sizes.in_channels * sizes.taps(), source_channel: sizes.taps() }
}

pub(crate) fn cut(sizes: &ConvSizes) -> Cut {
    Cut::new(sizes, sizes.items * sizes.groups)
}
