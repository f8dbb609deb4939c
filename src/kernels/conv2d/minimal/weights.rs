//! From the weights of 3 x 3 taps to those of 16 products, and the same for their gradients the other way round.

use super::lines::{Line, both, load, square, store};
use super::{ConvSizes, PRODUCTS, SIDE, TAPS, applies};
use crate::graph::{Parallel, SharedMut};
use crate::kernels::conv2d::layout::{Lanes, VECTORS};
use crate::kernels::conv2d::packing::packed_len;
use crate::kernels::simd::{SimdReal, dispatch};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// The product with which every result of a tile is made, with the sign +: it holds the bias.
const CENTRE: usize = SIDE + 1;
/// Channels of the source whose weights are a task.
const PER_TASK: usize = 16;

/// The products' weights, from those that [`Packing`](crate::kernels::conv2d::packing::Packing) made for a
/// [`Product`](crate::kernels::conv2d::product::Product): of each tile of vectors the biases and then, for each tap and channel of the
/// source, a row. Where minimal filtering does not apply, there is nothing to do.
pub(crate) fn filter<T: SimdReal>(
    sizes: &ConvSizes,
    parallel: &dyn Parallel,
    lanes: &Lanes,
    channels: usize,
    packed: &[T],
    to: &mut [T],
) {
    if !applies(sizes) {
        return;
    }
    let each = packed_len(lanes.width(), channels);
    assert!(packed.len() >= lanes.width() * (TAPS * TAPS * channels + 1) && to.len() >= PRODUCTS * each);
    let to = SharedMut::new(to);
    let stretches = channels.div_ceil(PER_TASK);
    parallel.run(lanes.vectors.div_ceil(VECTORS) * stretches, &|task, _| {
        let (first, stretch) = (task / stretches * VECTORS, task % stretches);
        let width = lanes.at_once(first) * lanes.lanes;
        let from = &packed[first * lanes.lanes * (TAPS * TAPS * channels + 1)..];
        let at = first * lanes.lanes * (channels + 1);
        if stretch == 0 {
            for product in 0..PRODUCTS {
                // SAFETY: the biases of a tile of vectors belong to the task of its first channels.
                let bias = unsafe { to.slice(product * each + at..product * each + at + width) };
                if product == CENTRE { bias.copy_from_slice(&from[..width]) } else { bias.fill(T::ZERO) }
            }
        }
        dispatch(Filter {
            from: &from[width..width * (TAPS * TAPS * channels + 1)],
            to: &to,
            at: at + width,
            each,
            width,
            channels,
            own: stretch * PER_TASK..((stretch + 1) * PER_TASK).min(channels),
        });
    });
}

/// One tile of vectors' weights of some channels of the source.
struct Filter<'a, T> {
    from: &'a [T],
    to: &'a SharedMut<'a, T>,
    /// Where the first product's are, and how far the next one's are behind them.
    at: usize,
    each: usize,
    width: usize,
    channels: usize,
    own: Range<usize>,
}

impl<T: SimdReal> WithSimd for Filter<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { from, to, at, each, width, channels, own } = self;
        assert!(from.len() >= TAPS * TAPS * channels * width && own.end <= channels);
        assert!((PRODUCTS - 1) * each + at + channels * width <= to.len());
        let line = Line(simd);
        for c in own {
            for v in (0..width).step_by(T::lanes::<S>()) {
                // SAFETY: asserted above; every channel's weights belong to one task.
                unsafe {
                    let taps = square(
                        #[inline(always)]
                        |u, k| load::<T, S>(from.as_ptr().add(((u * TAPS + k) * channels + c) * width + v)),
                    );
                    let weights = both(
                        taps,
                        #[inline(always)]
                        |taps| line.weights::<T>(taps),
                    );
                    for (product, &weights) in weights.as_flattened().iter().enumerate() {
                        store::<T, S>(to.pointer().add(product * each + at + c * width + v), weights);
                    }
                }
            }
        }
    }
}

/// From the sums of the products to those of the taps, of some channels of x and dy.
pub(super) struct Unfilter<'a, T> {
    /// Channels of x and of dy.
    pub size: [usize; 2],
    /// Of each product `[channels of x, channels of dy]`.
    pub sums: &'a [T],
    pub to: &'a mut [T],
    /// From a tap's sums to the next, and from those of a channel of x.
    pub tap: usize,
    pub row: usize,
    /// Whether those of the taps begin with this, or it is added to them.
    pub begins: bool,
}

impl<T: SimdReal> WithSimd for Unfilter<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { size: [height, width], sums, to, tap, row, begins } = self;
        let line = Line(simd);
        let each = height * width;
        assert!(sums.len() >= PRODUCTS * each && width.is_multiple_of(T::lanes::<S>()));
        assert!((TAPS * TAPS - 1) * tap + (height - 1) * row + width <= to.len());
        for r in 0..height {
            for v in (0..width).step_by(T::lanes::<S>()) {
                // SAFETY: asserted above for the last channels.
                unsafe {
                    let sums = square(
                        #[inline(always)]
                        |i, j| load::<T, S>(sums.as_ptr().add((i * SIDE + j) * each + r * width + v)),
                    );
                    let taps = both(
                        sums,
                        #[inline(always)]
                        |sums| line.taps::<T>(sums),
                    );
                    for (number, &sum) in taps.as_flattened().iter().enumerate() {
                        let to = to.as_mut_ptr().add(number * tap + r * row + v);
                        store::<T, S>(to, if begins { sum } else { T::add_v(simd, load::<T, S>(to), sum) });
                    }
                }
            }
        }
    }
}
