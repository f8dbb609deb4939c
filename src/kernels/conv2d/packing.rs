//! Weights in the order in which [`Product`](super::product::Product) reads them.
//!
//! A weight's neighbours in memory are the taps of its kernel; a product wants those of neighbouring channels side by side. Blocks of
//! eight channels by eight taps are therefore transposed at a time.

use super::layout::{Lanes, VECTORS};
use super::taps::Taps;
use crate::graph::{Parallel, SharedMut};
use crate::kernels::prefetch;
use crate::kernels::simd::{MAX_LANES, SimdReal};
use crate::kernels::transpose::{self, LINES, Transpose, Transposing};
use std::ops::Range;

/// About how many weights a task packs: some half a microsecond's work.
const PER_TASK: usize = 2048;
/// How many channels of the source ahead memory is prefetched.
const CHANNELS_AHEAD: usize = 3;

/// The most elements that the packed weights of `channels` by `terms` take up, on any machine.
pub(crate) fn packed_len(channels: usize, terms: usize) -> usize {
    channels.next_multiple_of(MAX_LANES) * (terms + 1)
}

/// Where the weight of (channel of the result, channel of the source, tap) is: the first two at these distances, taps side by side.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a, T> {
    pub data: &'a [T],
    pub channel: usize,
    pub source_channel: usize,
}

/// A product whose weights are packed: its taps, and where its weights start.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub taps: [Taps; 2],
    pub at: usize,
    /// Lanes before its channels: other parts have the rest.
    pub lane: usize,
    /// Taps of a kernel row of the product, and how many of them are before the part's own: weights of others are zero.
    pub columns: usize,
    pub before: usize,
}

impl Part {
    /// A product by itself.
    pub fn alone(taps: [Taps; 2], at: usize) -> Self {
        Self { taps, at, lane: 0, columns: taps[1].count, before: 0 }
    }
}

/// Packs the weights of one product, or of several among which a kernel's taps are divided: tile by tile, and before each tile's
/// weights its biases (or zeros).
pub(crate) struct Packing<'a, T, P> {
    pub lanes: Lanes,
    /// Channels of the result and of the source.
    pub channels: [usize; 2],
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// The products: by number, and how many.
    pub part: P,
    pub parts: usize,
    pub weights: Weights<'a, T>,
    pub bias: Option<&'a [T]>,
}

impl<T: SimdReal, P: Fn(usize) -> Part + Sync> Packing<'_, T, P> {
    pub fn run(&self, parallel: &dyn Parallel, to: &mut [T]) {
        let to = SharedMut::new(to);
        let stretches = self.stretches();
        parallel.run(self.lanes.vectors.div_ceil(VECTORS) * stretches, &|task, _| {
            let (tile, stretch) = (task / stretches, task % stretches);
            let cut = |i: usize| i * self.channels[1] / stretches;
            transpose::dispatch::<T, _>(&mut Task {
                packing: self,
                tile,
                source: cut(stretch)..cut(stretch + 1),
                to: &to,
            });
        });
    }

    /// Terms that share a vector.
    fn per(&self) -> usize {
        if self.lanes.pairs { 2 } else { 1 }
    }

    /// How many stretches of the source's channels are tasks of their own.
    fn stretches(&self) -> usize {
        if self.lanes.pairs {
            // Neighbouring terms may share a vector.
            return 1;
        }
        let tile = (VECTORS * self.lanes.lanes).min(self.channels[0]);
        (tile * self.channels[1] * self.kernel[0] * self.kernel[1] / PER_TASK).clamp(1, self.channels[1].max(1))
    }
}

/// One tile's weights of some channels of the source.
struct Task<'a, T, P> {
    packing: &'a Packing<'a, T, P>,
    tile: usize,
    source: Range<usize>,
    to: &'a SharedMut<'a, T>,
}

impl<T: SimdReal, P: Fn(usize) -> Part + Sync> Task<'_, T, P> {
    /// The first channel of the tile, its channels, and elements from one term's weights to the next.
    #[inline(always)]
    fn extent(&self) -> (usize, usize, usize) {
        let Packing { lanes, channels, .. } = self.packing;
        let first = self.tile * VECTORS;
        let width = lanes.at_once(first) * lanes.lanes;
        let first = first * lanes.lanes;
        (first, (channels[0] - first).min(width / self.packing.per()), width)
    }

    /// Where the tile's biases of a product are; its weights follow.
    #[inline(always)]
    fn start(&self, part: &Part) -> usize {
        let terms = self.packing.channels[1] * part.taps[0].count * part.columns;
        let (first, _, _) = self.extent();
        part.at + first * (terms / self.packing.per() + 1)
    }

    /// Calls `with(tap, start, term, lane)` for every tap of the kernel: its number, where the tile's weights of its product start, the
    /// term of the source's channel 0, and the lane of the result's first channel.
    #[inline(always)]
    fn taps(&self, mut with: impl FnMut(usize, usize, usize, usize)) {
        let Packing { kernel, channels, part, parts, .. } = self.packing;
        let (_, _, width) = self.extent();
        for part in (0..*parts).map(part) {
            let (start, taps) = (self.start(&part) + width, part.taps);
            for u in 0..taps[0].count {
                for v in 0..taps[1].count {
                    let tap = taps[0].kernel(u) * kernel[1] + taps[1].kernel(v);
                    with(tap, start, (u * part.columns + part.before + v) * channels[1], part.lane);
                }
            }
        }
    }

    /// The biases, before each product's weights, and zeros for lanes that no weight may fill.
    #[inline(always)]
    fn begin(&self) {
        let Packing { channels, part, parts, bias, .. } = self.packing;
        let ((first, count, width), per) = (self.extent(), self.packing.per());
        // Parts that share vectors have one product.
        for part in (0..*parts).map(part).filter(|part| part.lane == 0) {
            let start = self.start(&part);
            if self.source.start == 0 {
                // SAFETY: the biases of a tile belong to the task of its first channels.
                let head = unsafe { self.to.slice(start..start + width) };
                head.fill(T::ZERO);
                if let Some(bias) = bias {
                    head.iter_mut().step_by(per).zip(&bias[first..first + count]).for_each(|(to, &b)| *to = b);
                }
            }
            if count * per < width {
                for tap in 0..part.taps[0].count * part.columns {
                    let line = |c: usize| start + width + (tap * channels[1] + c) / per * width;
                    // SAFETY: every term's weights belong to one task.
                    unsafe { self.to.slice(line(self.source.start)..line(self.source.end)) }.fill(T::ZERO);
                }
            }
        }
    }

    /// The weights of one tap, number by number.
    #[inline(always)]
    fn one_by_one(&self, tap: usize, start: usize, term: usize, lane: usize) {
        let ((first, count, width), per) = (self.extent(), self.packing.per());
        let Weights { data, channel, source_channel } = self.packing.weights;
        for c in self.source.clone() {
            let (line, half) = ((term + c) / per, (term + c) % per);
            let from_lane = start + line * width + half + lane * per;
            // SAFETY: every term's weights belong to one task.
            let to = unsafe { self.to.slice(from_lane..start + (line + 1) * width) };
            let from = &data[first * channel + c * source_channel + tap..][..(count - 1) * channel + 1];
            assert!((count - 1) * per < to.len());
            for o in 0..count {
                // SAFETY: both reach to the last channel. (Checked, this takes twice as long.)
                unsafe { *to.get_unchecked_mut(o * per) = *from.get_unchecked(o * channel) };
            }
        }
    }
}

impl<T: SimdReal, P: Fn(usize) -> Part + Sync> Transposing for Task<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn run(&mut self, how: impl Transpose) {
        self.begin();
        let (first, count, width) = self.extent();
        let Packing { kernel, weights: Weights { data, channel, source_channel }, .. } = *self.packing;
        let taps = kernel[0] * kernel[1];
        // Those that make whole blocks are transposed.
        let transposed = if self.packing.per() == 1 && count == width && width.is_multiple_of(LINES) {
            taps / LINES * LINES
        } else {
            0
        };
        for block in (0..transposed).step_by(LINES) {
            let mut places = [0; LINES];
            self.taps(
                #[inline(always)]
                |tap, start, term, _| {
                    if (block..block + LINES).contains(&tap) {
                        places[tap - block] = start + term * width;
                    }
                },
            );
            let last = (first + width - 1) * channel + self.source.end.saturating_sub(1) * source_channel + block;
            assert!(last + LINES <= data.len(), "packing reads {last} of {}", data.len());
            let end = places.into_iter().max().unwrap_or(0) + self.source.end * width;
            assert!(end <= self.to.len(), "packing writes {end} of {}", self.to.len());
            for c in self.source.clone() {
                for place in places {
                    // What other cores have read since it was last written has to be fetched before it can be written.
                    let soon = place + (c + CHANNELS_AHEAD) * width;
                    prefetch::write(self.to.pointer().wrapping_add(soon), width);
                }
                for o in (0..width).step_by(LINES) {
                    // SAFETY: asserted for the last channels; every term's weights belong to one task.
                    unsafe {
                        let from = data.as_ptr().add((first + o) * channel + c * source_channel + block);
                        let rows = std::array::from_fn(
                            #[inline(always)]
                            |i| from.add(i * channel).cast::<[T; LINES]>().read_unaligned(),
                        );
                        for (transposed, place) in how.transposed(rows).into_iter().zip(places) {
                            self.to
                                .pointer()
                                .add(place + c * width + o)
                                .cast::<[T; LINES]>()
                                .write_unaligned(transposed);
                        }
                    }
                }
            }
        }
        self.taps(
            #[inline(always)]
            |tap, start, term, lane| {
                if tap >= transposed {
                    self.one_by_one(tap, start, term, lane);
                }
            },
        );
    }
}
