//! From the sums of all chunks to the gradient with respect to the weights.
//!
//! In the sums a term's output channels lie side by side, in the gradient an output channel's taps: blocks of eight by eight are
//! transposed.
//!
//! Chunks are added up in pairs, and pairs in order. A thread that comes to both chunks of a pair adds the second's sums to the first's
//! while they are in its cache, which gives the same bits.

use super::layout::Lanes;
use super::map::{Cut, MAX_CHUNKS};
use super::outer::Sums;
use crate::graph::{Parallel, SharedMut};
use crate::kernels::simd::SimdReal;
use crate::kernels::transpose::{self, LINES, Transpose, Transposing};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Sums that a task adds up at least: about half a microsecond's work.
const PER_TASK: usize = 4096;
/// Output channels of a task, two cache lines of f32.
const OUTPUTS: usize = 32;
/// Taps that are transposed together, and how many totals are kept for it: they stay in the first-level cache.
const TAPS: usize = 16;
const TOTALS: usize = 4096;

/// Where the sums of which chunk are.
#[derive(Default)]
pub(crate) struct Places {
    /// Who made a chunk's sums, in a place of their own: 1 and the worker's number.
    makers: [AtomicUsize; MAX_CHUNKS],
    /// The chunks whose sums were added to their neighbour's, a bit each.
    joined: AtomicUsize,
}

impl Places {
    /// The chunk in whose place the sums of this one belong, which this worker makes now: itself, or its neighbour where the same
    /// worker has made that. What is added to a neighbour's must be added up in registers first, so a chunk that takes several
    /// turns stays alone: so many units at once, or each unit in parts.
    pub fn of(&self, chunk: usize, worker: usize, cut: &Cut, (at_once, in_parts): (usize, bool)) -> usize {
        let neighbour = chunk ^ 1;
        let made = neighbour < cut.chunks && self.makers[neighbour].load(Ordering::Relaxed) == worker + 1;
        if made && !in_parts && cut.together(chunk, at_once).nth(1).is_none() {
            self.joined.fetch_or(1 << chunk, Ordering::Relaxed);
            neighbour
        } else {
            chunk
        }
    }

    /// Says that a chunk's sums, in a place of their own, are made.
    pub fn made(&self, chunk: usize, worker: usize) {
        self.makers[chunk].store(worker + 1, Ordering::Relaxed);
    }

    pub fn holds(&self, chunk: usize) -> bool {
        self.joined.load(Ordering::Relaxed) & 1 << chunk == 0
    }
}

impl Sums {
    /// Makes dw of the sums of all chunks: of each chunk those of all groups, one after another.
    pub fn collect<T: SimdReal>(
        &self,
        parallel: &dyn Parallel,
        lanes: &Lanes,
        sums: &[T],
        chunks: usize,
        places: &Places,
        dw: &mut [T],
    ) {
        let (inputs, outputs, taps) = (self.sizes.in_channels, self.sizes.out_channels, self.sizes.taps());
        let (groups, elements) = (self.sizes.groups, self.elements(lanes));
        assert!(chunks * groups * elements <= sums.len() && dw.len() == groups * outputs * inputs * taps);
        let dw = SharedMut::new(dw);
        let stretch = PER_TASK.div_ceil(chunks * OUTPUTS.min(outputs) * taps).min(inputs);
        let (blocks, stretches) = (outputs.div_ceil(OUTPUTS), inputs.div_ceil(stretch));
        // Neighbouring tasks have the same output channels: a thread then makes one stretch of dw.
        parallel.run(groups * blocks * stretches, &|task, _| {
            let (group, block, part) = (task / stretches / blocks, task / stretches % blocks, task % stretches);
            transpose::dispatch::<T, _>(&mut Task {
                shape: *self,
                lanes: *lanes,
                sums: &sums[group * elements..],
                chunks,
                places,
                each: groups * elements,
                outputs: block * OUTPUTS..((block + 1) * OUTPUTS).min(outputs),
                inputs: part * stretch..((part + 1) * stretch).min(inputs),
                to: &dw,
                at: group * outputs * inputs * taps,
            });
        });
    }
}

/// A part of one group's gradient.
struct Task<'a, T> {
    shape: Sums,
    lanes: Lanes,
    /// From the group's sums of the first chunk on; those of the others are `each` elements apart.
    sums: &'a [T],
    chunks: usize,
    places: &'a Places,
    each: usize,
    outputs: Range<usize>,
    inputs: Range<usize>,
    /// The gradient, and where the group's starts.
    to: &'a SharedMut<'a, T>,
    at: usize,
}

impl<T: SimdReal> Task<'_, T> {
    /// The sums of all chunks of a term, for the task's output channels.
    #[inline(always)]
    fn add_up(&self, total: &mut [T], term: usize) {
        let (width, first) = (self.lanes.width(), self.outputs.start);
        if self.lanes.pairs {
            // Both terms that share a vector, so that it can be added up as one.
            let mut both = [T::ZERO; 2 * OUTPUTS];
            let both = &mut both[..2 * total.len()];
            self.add_chunks(both, term / 2 * width + 2 * first);
            for (to, both) in total.iter_mut().zip(both.as_chunks::<2>().0) {
                *to = both[term % 2];
            }
        } else if let Some(total) = total.first_chunk_mut::<OUTPUTS>() {
            // All of them, so that they stay in registers.
            let mut sums = [T::ZERO; OUTPUTS];
            self.add_chunks(&mut sums, term * width + first);
            *total = sums;
        } else {
            total.fill(T::ZERO);
            self.add_chunks(total, term * width + first);
        }
    }

    /// Adds the elements from `start` on of all chunks.
    #[inline(always)]
    fn add_chunks(&self, total: &mut [T], start: usize) {
        let len = total.len();
        let of = |chunk: usize| &self.sums[chunk * self.each + start..][..len];
        for chunk in (0..self.chunks).step_by(2) {
            let (a, b) = (self.places.holds(chunk), chunk + 1 < self.chunks && self.places.holds(chunk + 1));
            if a && b {
                for ((to, &a), &b) in total.iter_mut().zip(of(chunk)).zip(of(chunk + 1)) {
                    *to += a + b;
                }
            } else {
                for (to, &x) in total.iter_mut().zip(of(if a { chunk } else { chunk + 1 })) {
                    *to += x;
                }
            }
        }
    }
}

impl<T: SimdReal> Transposing for Task<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(&mut self, how: impl Transpose) {
        let (inputs, taps) = (self.shape.sizes.in_channels, self.shape.sizes.taps());
        let count = self.outputs.len();
        let mut totals = [T::ZERO; TOTALS];
        for first_tap in (0..taps).step_by(TAPS) {
            let taps_now = first_tap..(first_tap + TAPS).min(taps);
            let at_once = TOTALS / (OUTPUTS * taps_now.len());
            for first in self.inputs.clone().step_by(at_once) {
                let inputs_now = first..(first + at_once).min(self.inputs.end);
                // Along the channels of x, in whose order the sums lie.
                let mut lines = totals.chunks_exact_mut(OUTPUTS);
                for tap in taps_now.clone() {
                    for (input, line) in inputs_now.clone().zip(&mut lines) {
                        self.add_up(&mut line[..count], self.shape.term(tap, input));
                    }
                }
                let line = |tap: usize, i: usize| (tap * inputs_now.len() + i) * OUTPUTS;
                for (i, input) in inputs_now.clone().enumerate() {
                    for output in (0..count).step_by(LINES) {
                        let to = |o: usize, tap: usize| {
                            let output = self.outputs.start + output + o;
                            self.to.pointer().wrapping_add(self.at + (output * inputs + input) * taps + first_tap + tap)
                        };
                        let transposed = if output + LINES <= count { taps_now.len() / LINES * LINES } else { 0 };
                        for tap in (0..transposed).step_by(LINES) {
                            let rows = std::array::from_fn(
                                #[inline(always)]
                                |k| {
                                    let mut row = [T::ZERO; LINES];
                                    row.copy_from_slice(&totals[line(tap + k, i) + output..][..LINES]);
                                    row
                                },
                            );
                            for (o, taps) in how.transposed(rows).into_iter().enumerate() {
                                // SAFETY: inside dw, whose size was checked, and every element of it belongs to one task.
                                unsafe { to(o, tap).cast::<[T; LINES]>().write_unaligned(taps) };
                            }
                        }
                        for tap in transposed..taps_now.len() {
                            for o in 0..LINES.min(count - output) {
                                // SAFETY: as above.
                                unsafe { to(o, tap).write(totals[line(tap, i) + output + o]) };
                            }
                        }
                    }
                }
            }
        }
    }
}
