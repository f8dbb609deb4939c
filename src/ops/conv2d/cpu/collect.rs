//! From the sums of all chunks to the gradient with respect to the weights.
//!
//! In the sums a term's output channels lie side by side, in the gradient an output channel's taps: blocks of eight by eight are
//! turned.

use super::outer::Sums;
use super::product::Lanes;
use crate::graph::{Parallel, SharedMut};
use crate::ops::simd::SimdReal;
use crate::ops::turn::{self, TURN, Turn, Turning};
use std::ops::Range;

/// Sums that a task adds up at least: about half a microsecond's work.
const PER_TASK: usize = 4096;
/// Output channels of a task, two cache lines of f32.
const OUTPUTS: usize = 32;
/// Taps that are turned together, and how many totals are kept for it: they stay in the first-level cache.
const TAPS: usize = 16;
const TOTALS: usize = 4096;

impl Sums {
    /// Makes dw of the sums of all chunks: of each chunk those of all groups, one after another.
    pub fn collect<T: SimdReal>(
        &self,
        parallel: &dyn Parallel,
        lanes: &Lanes,
        sums: &[T],
        chunks: usize,
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
            turn::dispatch::<T, _>(Task {
                shape: *self,
                lanes: *lanes,
                sums: &sums[group * elements..],
                chunks,
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
        let (pitch, first) = (self.lanes.pitch(), self.outputs.start);
        let chunks = self.sums.chunks(self.each).take(self.chunks);
        total.fill(T::ZERO);
        if self.lanes.pairs {
            // Both terms that share a vector, so that it can be added up as one.
            let mut both = [T::ZERO; 2 * OUTPUTS];
            let both = &mut both[..2 * total.len()];
            for chunk in chunks {
                let from = &chunk[term / 2 * pitch + 2 * first..][..both.len()];
                for (to, &x) in both.iter_mut().zip(from) {
                    *to += x;
                }
            }
            for (to, both) in total.iter_mut().zip(both.as_chunks::<2>().0) {
                *to = both[term % 2];
            }
        } else if let Some(total) = total.first_chunk_mut::<OUTPUTS>() {
            // All of them, so that they stay in registers.
            let mut sums = [T::ZERO; OUTPUTS];
            for chunk in chunks {
                let from = &chunk[term * pitch + first..][..OUTPUTS];
                for (sum, &x) in sums.iter_mut().zip(from) {
                    *sum += x;
                }
            }
            *total = sums;
        } else {
            for chunk in chunks {
                let from = &chunk[term * pitch + first..][..total.len()];
                for (to, &x) in total.iter_mut().zip(from) {
                    *to += x;
                }
            }
        }
    }
}

impl<T: SimdReal> Turning for Task<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(&mut self, turn: impl Turn) {
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
                    for output in (0..count).step_by(TURN) {
                        let to = |o: usize, tap: usize| {
                            let output = self.outputs.start + output + o;
                            // SAFETY: inside dw, whose size was checked.
                            unsafe {
                                self.to.pointer().add(self.at + (output * inputs + input) * taps + first_tap + tap)
                            }
                        };
                        let turned = if output + TURN <= count { taps_now.len() / TURN * TURN } else { 0 };
                        for tap in (0..turned).step_by(TURN) {
                            let rows = std::array::from_fn(
                                #[inline(always)]
                                |k| {
                                    let mut row = [T::ZERO; TURN];
                                    row.copy_from_slice(&totals[line(tap + k, i) + output..][..TURN]);
                                    row
                                },
                            );
                            for (o, taps) in turn.turned(rows).into_iter().enumerate() {
                                // SAFETY: every element of dw belongs to one task.
                                unsafe { to(o, tap).cast::<[T; TURN]>().write_unaligned(taps) };
                            }
                        }
                        for tap in turned..taps_now.len() {
                            for o in 0..TURN.min(count - output) {
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
