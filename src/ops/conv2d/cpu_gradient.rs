//! The CPU kernel of the convolution's gradient with respect to weights and bias.
//!
//! `dw[o, (u, v, c)] = sum over pixels p of dy[p, o] x[p + (u, v), c]`: a sum of outer products. With channels innermost
//! in x and dy, the elements that one kernel row meets at a pixel lie side by side, for all its columns and all channels,
//! so that both factors are read straight from the transposed copies, whole vectors at a time.
//!
//! Pixels are cut into chunks by a rule that depends on the sizes alone; each chunk has its own sums, which are added in
//! order at the end.

use super::{Conv2dWeightGradient, ConvSizes};
use crate::graph::{Kernel, SharedMut, Target, for_each_piece};
use crate::ops::simd::{SimdReal, dispatch};
use crate::ops::tile::{self, MAX_COLUMNS, MAX_ROWS, Tile};
use crate::tensor::Spec;
use pulp::{Simd, WithSimd};

/// Output pixels of a chunk, about.
const CHUNK: usize = 1024;
/// The most chunks: the sums of each take as much memory as the weights.
const MAX_CHUNKS: usize = 32;
/// Output pixels that a tile of sums takes in before it goes back to memory: their channels stay in the first-level cache.
const BLOCK: usize = 128;

/// How the temporaries are laid out.
#[derive(Clone, Copy)]
struct Plan {
    sizes: ConvSizes,
    /// Rows and columns of x with its border.
    padded: [usize; 2],
    /// Output channels of a group, rounded up to whole tiles on any machine.
    out_channels: usize,
    /// Stretches of taps that are neighbours in memory, and the elements of one.
    runs: usize,
    run: usize,
    /// Distance between stretches in the sums: rounded up to whole tiles on any machine.
    run_pitch: usize,
    /// Output rows (of all items) in a chunk, and the number of chunks.
    chunk_rows: usize,
    chunks: usize,
}

impl Plan {
    fn new(sizes: ConvSizes) -> Self {
        let o = sizes.options;
        let padded = std::array::from_fn(|axis| sizes.input[axis] + 2 * o.padding[axis]);
        // With dilation, the columns of a kernel row are not neighbours: each tap is a stretch of its own.
        let dense = o.dilation[1] == 1;
        let runs = if dense { sizes.kernel[0] } else { sizes.taps() };
        let run = sizes.in_channels * if dense { sizes.kernel[1] } else { 1 };
        let rows = sizes.items * sizes.output[0];
        let chunk_rows = CHUNK.div_ceil(sizes.output[1]).max(rows.div_ceil(MAX_CHUNKS));
        Self {
            sizes,
            padded,
            out_channels: sizes.out_channels.next_multiple_of(MAX_ROWS),
            runs,
            run,
            run_pitch: run.next_multiple_of(MAX_COLUMNS),
            chunk_rows,
            chunks: rows.div_ceil(chunk_rows),
        }
    }

    /// Elements of one item and group of x, transposed.
    fn x_len(&self) -> usize {
        self.padded[0] * self.padded[1] * self.sizes.in_channels
    }

    /// Elements of one item and group of dy, transposed.
    fn dy_len(&self) -> usize {
        self.sizes.pixels() * self.out_channels
    }

    /// Elements of the sums of one chunk and group.
    fn sums_len(&self) -> usize {
        self.out_channels * self.runs * self.run_pitch
    }

    fn lengths(&self) -> Vec<usize> {
        let parts = self.sizes.items * self.sizes.groups;
        // Reading whole tiles goes beyond the last stretch of the last item.
        let slack = self.run_pitch + MAX_COLUMNS;
        vec![
            parts * self.x_len() + slack,
            parts * self.dy_len() + MAX_ROWS,
            self.chunks * self.sizes.groups * self.sums_len(),
        ]
    }

    /// Where in the transposed x a stretch begins, relative to the output pixel's corner.
    fn run_offset(&self, run: usize) -> usize {
        let ConvSizes { in_channels, kernel, options, .. } = self.sizes;
        let (u, v) = if self.runs == kernel[0] { (run, 0) } else { (run / kernel[1], run % kernel[1]) };
        (u * options.dilation[0] * self.padded[1] + v * options.dilation[1]) * in_channels
    }
}

/// The sums of one chunk of one group for the output channels of one tile.
struct Sums<'a, T> {
    plan: &'a Plan,
    x: &'a [T],
    dy: &'a [T],
    sums: &'a mut [T],
    group: usize,
    /// Output rows of the chunk, counted through all items.
    rows: std::ops::Range<usize>,
    /// The first output channel of the tile.
    first: usize,
}

impl<T: SimdReal> WithSimd for Sums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let columns = tile::columns::<T, S>();
        let plan = self.plan;
        let ConvSizes { in_channels, groups, output, options, .. } = plan.sizes;
        self.sums.fill(T::ZERO);
        let rows_at_once = (BLOCK / output[1]).max(1);
        let mut row = self.rows.start;
        while row < self.rows.end {
            let (item, i) = (row / output[0], row % output[0]);
            let count = rows_at_once.min(output[0] - i).min(self.rows.end - row);
            let part = item * groups + self.group;
            let dy = &self.dy[part * plan.dy_len() + i * output[1] * plan.out_channels + self.first..];
            let corner = part * plan.x_len() + i * options.stride[0] * plan.padded[1] * in_channels;
            for run in 0..plan.runs {
                let x = &self.x[corner + plan.run_offset(run)..];
                for at in (0..plan.run).step_by(columns) {
                    let tile = Tile {
                        a: dy.as_ptr(),
                        a_step: plan.out_channels,
                        b: x[at..].as_ptr(),
                        b_step: options.stride[1] * in_channels,
                        c: self.sums[run * plan.run_pitch + at..].as_mut_ptr(),
                        c_step: plan.runs * plan.run_pitch,
                        len: output[1],
                        runs: count,
                        a_run: output[1] * plan.out_channels,
                        b_run: options.stride[0] * plan.padded[1] * in_channels,
                    };
                    // SAFETY: dy and x hold these rows, with slack behind; the sums hold whole tiles.
                    unsafe { tile::accumulate(simd, tile) };
                }
            }
            row += count;
        }
    }
}

/// Writes `from`, `[channels][rows][columns]`, channels innermost into a zero-bordered `to` with `channels_to` channels.
fn transpose<T: SimdReal>(to: &mut [T], from: &[T], channels: [usize; 2], size: [usize; 2], border: [usize; 2]) {
    let [channels, channels_to] = channels;
    let pitch = (size[1] + 2 * border[1]) * channels_to;
    let used = border[0] * pitch..(border[0] + size[0]) * pitch;
    to[..used.start].fill(T::ZERO);
    to[used.end..].fill(T::ZERO);
    for (i, row) in to[used].chunks_exact_mut(pitch).enumerate() {
        let (left, rest) = row.split_at_mut(border[1] * channels_to);
        let (middle, right) = rest.split_at_mut(size[1] * channels_to);
        left.fill(T::ZERO);
        right.fill(T::ZERO);
        let line = |channel: usize| &from[(channel * size[0] + i) * size[1]..][..size[1]];
        let mut first = 0;
        // Eight channels at a time: every pixel's eight numbers are written together.
        while first + 8 <= channels {
            let lines: [&[T]; 8] = std::array::from_fn(|c| line(first + c));
            for (j, pixel) in middle.chunks_exact_mut(channels_to).enumerate() {
                // SAFETY: each line has as many elements as `middle` has pixels.
                let values: [T; 8] = std::array::from_fn(|c| unsafe { *lines[c].get_unchecked(j) });
                pixel[first..first + 8].copy_from_slice(&values);
            }
            first += 8;
        }
        for channel in first..channels {
            middle[channel..].iter_mut().step_by(channels_to).zip(line(channel)).for_each(|(to, &x)| *to = x);
        }
        for channel in channels..channels_to {
            middle[channel..].iter_mut().step_by(channels_to).for_each(|to| *to = T::ZERO);
        }
    }
}

/// The sum of a slice: eight running sums, so that it can be done in vectors, added up in a fixed order.
fn sum<T: SimdReal>(values: &[T]) -> T {
    let mut sums = [T::ZERO; 8];
    let chunks = values.chunks_exact(8);
    let rest: T = chunks.remainder().iter().copied().sum();
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, &x)| *sum += x);
    }
    sums.into_iter().sum::<T>() + rest
}

impl Conv2dWeightGradient {
    pub(super) fn temporaries(&self, inputs: &[Spec], outputs: &[Spec], target: Target) -> Vec<usize> {
        match target {
            Target::Gpu => self.gpu_temporaries(inputs, outputs),
            Target::Cpu => Plan::new(self.sizes).lengths(),
        }
    }

    pub(super) fn cpu<T: SimdReal>(&self, kernel: &mut Kernel<'_, T>) {
        let plan = Plan::new(self.sizes);
        let ConvSizes { items, in_channels, out_channels, groups, kernel: taps, options, .. } = self.sizes;
        let (x, dy, parallel) = (kernel.input(0), kernel.input(1), kernel.parallel());
        if self.bias {
            let ([_, db], []) = kernel.outputs_and_scratch::<2, 0>();
            let (pixels, channels) = (self.sizes.pixels(), groups * out_channels);
            for_each_piece(parallel, db, 8, |i, db| {
                for (o, db) in db.iter_mut().enumerate() {
                    let planes = (0..items).map(|n| &dy[(n * channels + i * 8 + o) * pixels..][..pixels]);
                    *db = planes.map(sum).sum();
                }
            });
        }
        let ([dw], [x_turned, dy_turned, sums]) = kernel.outputs_and_scratch::<1, 3>();
        let parts = items * groups;
        let (x_len, dy_len) = (plan.x_len(), plan.dy_len());
        let (x_shared, dy_shared) = (SharedMut::new(x_turned), SharedMut::new(dy_turned));
        parallel.run(parts, &|part, _| {
            // SAFETY: every part has its own range.
            let (x_to, dy_to) = unsafe {
                (x_shared.slice(part * x_len..(part + 1) * x_len), dy_shared.slice(part * dy_len..(part + 1) * dy_len))
            };
            let pixels = self.sizes.input[0] * self.sizes.input[1];
            let from = &x[part * in_channels * pixels..][..in_channels * pixels];
            transpose(x_to, from, [in_channels; 2], self.sizes.input, options.padding);
            let from = &dy[part * out_channels * self.sizes.pixels()..][..out_channels * self.sizes.pixels()];
            transpose(dy_to, from, [out_channels, plan.out_channels], self.sizes.output, [0, 0]);
        });
        let (x_turned, dy_turned) = (&*x_turned, &*dy_turned);

        let rows = items * self.sizes.output[0];
        let tile_rows = super::cpu::tile_rows();
        let tiles = out_channels.div_ceil(tile_rows);
        let tile_len = tile_rows * plan.runs * plan.run_pitch;
        let shared = SharedMut::new(&mut *sums);
        parallel.run(plan.chunks * groups * tiles, &|task, _| {
            let (chunk, group, tile) = (task / (groups * tiles), task / tiles % groups, task % tiles);
            let start = (chunk * groups + group) * plan.sums_len() + tile * tile_len;
            dispatch(Sums {
                plan: &plan,
                x: x_turned,
                dy: dy_turned,
                // SAFETY: every tile of every chunk has its own range.
                sums: unsafe { shared.slice(start..start + tile_len) },
                group,
                rows: chunk * plan.chunk_rows..((chunk + 1) * plan.chunk_rows).min(rows),
                first: tile * tile_rows,
            });
        });
        let sums = &*sums;

        let per_channel = in_channels * self.sizes.taps();
        for_each_piece(parallel, dw, per_channel, |channel, dw| {
            let (group, o) = (channel / out_channels, channel % out_channels);
            let all_taps = self.sizes.taps();
            dw.fill(T::ZERO);
            for chunk in 0..plan.chunks {
                let start = (chunk * groups + group) * plan.sums_len() + o * plan.runs * plan.run_pitch;
                for tap in 0..all_taps {
                    let (u, v) = (tap / taps[1], tap % taps[1]);
                    let at =
                        if plan.runs == taps[0] { u * plan.run_pitch + v * in_channels } else { tap * plan.run_pitch };
                    let line = &sums[start + at..][..in_channels];
                    dw[tap..].iter_mut().step_by(all_taps).zip(line).for_each(|(dw, &sum)| *dw += sum);
                }
            }
        });
    }
}
