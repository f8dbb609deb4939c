//! The CPU kernels of the convolution and of its gradient with respect to the input.
//!
//! Both are matrix products `C[o, p] = sum over k of A[o, k] B[k, p]`, with p over output pixels and k over (channel,
//! kernel row, kernel column). B is never made as a whole: a *panel* of it, as many pixels as a tile of results has
//! columns, is gathered into a small buffer that stays in the first-level cache and is used for all output channels.
//!
//! To gather with whole vectors, the input is first copied with its zero border, columns dealt out by their remainder
//! modulo the stride, so that neighbouring output pixels read neighbouring elements. A panel row is then a few
//! overlapping vector copies, one or more for every stretch of pixels that lie in one output row.
//!
//! The gradient with respect to the input is the same computation on dy: input pixels are sorted by their remainder
//! modulo the stride, and each class is a convolution of stride one with the taps that reach it.

use super::prepare::{Layout, prepare_plane};
use super::{Conv2d, Conv2dInputGradient, ConvSizes};
use crate::graph::{Kernel, SharedMut, Target};
use crate::ops::simd::{MAX_LANES, SimdReal, dispatch};
use crate::ops::tile::{self, MAX_COLUMNS, MAX_ROWS, Tile};
use crate::tensor::Spec;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Terms of the sum in one panel: with at most 32 columns of f32 it fills 24 kB.
const DEPTH: usize = 192;
/// How many tasks a small batch is cut into, so that several threads have work: fixed, whatever their number.
const WANTED_TASKS: usize = 8;

/// One axis of the walk over taps: the kernel positions `first, first + step, ...`.
#[derive(Clone, Copy, Debug)]
struct Taps {
    first: usize,
    step: usize,
    count: usize,
}

impl Taps {
    fn all(count: usize) -> Self {
        Self { first: 0, step: 1, count }
    }

    /// The kernel positions u for which `phase + padding - u * dilation` is a multiple of the stride.
    fn reaching(phase: usize, sizes: &ConvSizes, axis: usize) -> Self {
        let (stride, dilation) = (sizes.options.stride[axis], sizes.options.dilation[axis]);
        let reaches =
            |u: &usize| (phase + sizes.options.padding[axis] + u * (stride - 1) * dilation).is_multiple_of(stride);
        let Some(first) = (0..sizes.kernel[axis]).find(reaches) else { return Self { first: 0, step: 1, count: 0 } };
        let step = stride / gcd(stride, dilation);
        Self { first, step, count: (sizes.kernel[axis] - 1 - first) / step + 1 }
    }

    fn positions(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |i| self.first + i * self.step)
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Where results go: the element of channel o, row i, column j is at `start + o * channel + i * row + j * column`.
#[derive(Clone, Copy, Debug)]
struct Destination {
    start: usize,
    channel: usize,
    row: usize,
    column: usize,
}

/// One product `C = A B` over a grid of output pixels.
struct Product<'a, T, R, C> {
    source: &'a [T],
    layout: Layout,
    /// Offsets in the source of each kernel row and column, in the order of the taps.
    row_offset: R,
    column_offset: C,
    taps: [Taps; 2],
    /// Distance in the source between neighbouring output rows; neighbouring columns are next to each other.
    row_step: usize,
    grid: [usize; 2],
    /// A in tiles: for each block of rows, for each k, the numbers of the block's rows.
    weights: &'a [T],
    out_channels: usize,
    bias: Option<&'a [T]>,
    relu: bool,
    out: &'a SharedMut<'a, T>,
    to: Destination,
    /// Temporary memory of [`panel_scratch`] elements.
    scratch: &'a mut [T],
}

/// Elements of temporary memory that a [`Product`] with this many output channels needs.
fn panel_scratch(out_channels: usize) -> usize {
    DEPTH * MAX_COLUMNS + MAX_LANES + out_channels.next_multiple_of(MAX_ROWS) * MAX_COLUMNS
}

/// A stretch of a panel's pixels in one output row: position in the panel, offset in the source, length.
type Stretch = (usize, usize, usize);

/// All pixels of a panel, however many, as one stretch.
const WHOLE: [Stretch; 1] = [(0, 0, MAX_COLUMNS)];

impl<T: SimdReal, R: Fn(usize) -> usize, C: Fn(usize) -> usize> WithSimd for Product<'_, T, R, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let scratch = std::mem::take(&mut self.scratch);
        let (rows, columns) = (tile::rows::<S>(), tile::columns::<T, S>());
        let lanes = T::lanes::<S>();
        let blocks = self.out_channels.div_ceil(rows);
        let pixels = self.grid[0] * self.grid[1];
        let depth = self.layout.channels * self.taps[0].count * self.taps[1].count;
        let (panel, results) = scratch.split_at_mut(DEPTH * MAX_COLUMNS + MAX_LANES);
        let plane = self.layout.rows * self.layout.row();

        // Results of whole output rows that follow each other in memory are one stretch to write.
        let seamless = self.to.column == 1 && self.to.row == self.grid[1];
        let mut stretches: [Stretch; MAX_COLUMNS] = [(0, 0, 0); MAX_COLUMNS];
        let mut copies: [(usize, usize); MAX_COLUMNS] = [(0, 0); MAX_COLUMNS];
        for first in (0..pixels).step_by(columns) {
            let end = (first + columns).min(pixels);
            let mut count = 0;
            let mut pixel = first;
            while pixel < end {
                let (i, j) = (pixel / self.grid[1], pixel % self.grid[1]);
                let len = (self.grid[1] - j).min(end - pixel);
                stretches[count] = (pixel - first, i * self.row_step + j, len);
                count += 1;
                pixel += len;
            }
            let mut stretches = &stretches[..count];
            // Each stretch is copied in whole vectors; what is copied beyond its end is overwritten by the next one, or
            // never used.
            let mut vectors = 0;
            for &(at, base, len) in stretches {
                for vector in (0..len).step_by(lanes) {
                    copies[vectors] = (at + vector, base + vector);
                    vectors += 1;
                }
            }
            let copies = &copies[..vectors];
            let reach = copies.iter().map(|&(_, base)| base + lanes).max().unwrap_or(0);
            if seamless {
                stretches = &WHOLE;
            }
            results[..blocks * rows * columns].fill(T::ZERO);

            let mut filled = 0;
            let mut done = 0;
            for channel in 0..self.layout.channels {
                for u in 0..self.taps[0].count {
                    for v in 0..self.taps[1].count {
                        let offset = channel * plane + (self.row_offset)(u) + (self.column_offset)(v);
                        let row = panel[filled * columns..][..columns + lanes].as_mut_ptr();
                        let from = self.source[offset..][..reach].as_ptr();
                        for &(at, base) in copies {
                            // SAFETY: base + lanes is at most `reach`, and at is below `columns`.
                            unsafe {
                                let value = from.add(base).cast::<T::Vector<S>>().read_unaligned();
                                row.add(at).cast::<T::Vector<S>>().write_unaligned(value);
                            }
                        }
                        filled += 1;
                        if filled == DEPTH || done + filled == depth {
                            for block in 0..blocks {
                                let a = &self.weights[(block * depth + done) * rows..][..filled * rows];
                                let c = &mut results[block * rows * columns..][..rows * columns];
                                let tile = Tile {
                                    a: a.as_ptr(),
                                    a_step: rows,
                                    b: panel.as_ptr(),
                                    b_step: columns,
                                    c: c.as_mut_ptr(),
                                    c_step: columns,
                                    len: filled,
                                    runs: 1,
                                    a_run: 0,
                                    b_run: 0,
                                };
                                // SAFETY: a and c were sliced to what the tile reads; the panel holds `filled` rows.
                                unsafe { tile::accumulate(simd, tile) };
                            }
                            done += filled;
                            filled = 0;
                        }
                    }
                }
            }
            self.write(results, columns, first..end, stretches);
        }
    }
}

impl<T: SimdReal, R: Fn(usize) -> usize, C: Fn(usize) -> usize> Product<'_, T, R, C> {
    /// Writes a panel's results, with bias and ReLU, to where they belong.
    #[inline(always)]
    fn write(&self, results: &[T], columns: usize, pixels: Range<usize>, stretches: &[Stretch]) {
        let first = pixels.start;
        for o in 0..self.out_channels {
            let bias = self.bias.map_or(T::ZERO, |bias| bias[o]);
            for &(at, _, len) in stretches {
                let (i, j) = ((first + at) / self.grid[1], (first + at) % self.grid[1]);
                let start = self.to.start + o * self.to.channel + i * self.to.row + j * self.to.column;
                let len = len.min(pixels.len());
                let from = &results[o * columns + at..][..len];
                // SAFETY: every pixel of every channel belongs to one task, and the parts of a row to one remainder.
                let to = unsafe { self.out.slice(start..start + (len - 1) * self.to.column + 1) };
                let finish = |x: T| if self.relu { (x + bias).max(T::ZERO) } else { x + bias };
                if self.to.column == 1 {
                    to.iter_mut().zip(from).for_each(|(to, &x)| *to = finish(x));
                } else {
                    to.iter_mut().step_by(self.to.column).zip(from).for_each(|(to, &x)| *to = finish(x));
                }
            }
        }
    }
}

/// Tells how many rows a tile has on this machine.
struct TileRows;

impl WithSimd for TileRows {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        tile::rows::<S>()
    }
}

/// Rows of a tile on this machine.
pub(super) fn tile_rows() -> usize {
    dispatch(TileRows)
}

/// How many blocks the rows of each item are cut into, and the rows of a block.
fn row_blocks(items: usize, rows: usize) -> (usize, usize) {
    let wanted = WANTED_TASKS.div_ceil(items).min(rows.div_ceil(4)).max(1);
    let block = rows.div_ceil(wanted);
    (rows.div_ceil(block), block)
}

impl Conv2d {
    /// The prepared copy of as many input rows as a block of output rows needs.
    fn layout(sizes: &ConvSizes, out_rows: usize) -> Layout {
        let [stride_h, stride_w] = sizes.options.stride;
        let rows = (out_rows - 1) * stride_h + (sizes.kernel[0] - 1) * sizes.options.dilation[0] + 1;
        let columns = sizes.input[1] + 2 * sizes.options.padding[1];
        let pitch = columns.div_ceil(stride_w);
        Layout { channels: sizes.in_channels, rows, phases: stride_w, pitch }
    }

    pub(super) fn temporaries(&self, inputs: &[Spec], outputs: &[Spec], target: Target) -> Vec<usize> {
        match target {
            Target::Gpu => self.gpu_temporaries(inputs, outputs),
            Target::Cpu => {
                let w = inputs[1].shape;
                let depth = w.dims()[1..].iter().product::<usize>();
                vec![self.options.groups * (w[0] / self.options.groups).next_multiple_of(MAX_ROWS) * depth]
            }
        }
    }

    pub(super) fn private(&self, inputs: &[Spec]) -> usize {
        let Ok(sizes) = ConvSizes::new("conv2d", &inputs[0], &inputs[1], self.options) else { return 0 };
        let (_, block) = row_blocks(sizes.items * sizes.groups, sizes.output[0]);
        Self::layout(&sizes, block).len() + panel_scratch(sizes.out_channels)
    }

    pub(super) fn cpu<T: SimdReal>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, w) = (kernel.input(0), kernel.input(1));
        let bias = self.bias.then(|| kernel.input(2));
        let Ok(sizes) = ConvSizes::new("conv2d", &kernel.input_spec(0), &kernel.input_spec(1), self.options) else {
            unreachable!("shapes were checked when the graph was built")
        };
        let (parallel, private) = (kernel.parallel(), kernel.private());
        let ([out], [weights]) = kernel.outputs_and_scratch::<1, 1>();
        let depth = sizes.in_channels * sizes.taps();
        let packed = weights.len() / sizes.groups;
        let tile_rows = tile_rows();
        let tiles = sizes.out_channels.div_ceil(tile_rows);
        let shared = SharedMut::new(weights);
        parallel.run(sizes.groups * tiles, &|task, _| {
            let (group, tile) = (task / tiles, task % tiles);
            let start = group * packed + tile * tile_rows * depth;
            // SAFETY: every tile has its own range.
            let to = unsafe { shared.slice(start..start + tile_rows * depth) };
            let rows = tile_rows.min(sizes.out_channels - tile * tile_rows);
            let from = &w[(group * sizes.out_channels + tile * tile_rows) * depth..][..rows * depth];
            if rows < tile_rows {
                to.fill(T::ZERO);
            }
            for (i, row) in from.chunks_exact(depth).enumerate() {
                to[i..].iter_mut().step_by(tile_rows).zip(row).for_each(|(to, &x)| *to = x);
            }
        });
        let weights = &*weights;
        let (blocks, block_rows) = row_blocks(sizes.items * sizes.groups, sizes.output[0]);
        let [height, width] = sizes.input;
        let out = SharedMut::new(out);
        parallel.run(sizes.items * sizes.groups * blocks, &|task, worker| {
            let (part, block) = (task / blocks, task % blocks);
            let group = part % sizes.groups;
            let first_row = block * block_rows;
            let rows = block_rows.min(sizes.output[0] - first_row);
            let layout = Self::layout(&sizes, rows);
            // SAFETY: this is the task of this worker.
            let (source, scratch) = unsafe { private.of(worker) }.split_at_mut(Self::layout(&sizes, block_rows).len());
            let plane = layout.rows * layout.row();
            for c in 0..sizes.in_channels {
                let from = &x[(part * sizes.in_channels + c) * height * width..][..height * width];
                let top = (first_row * sizes.options.stride[0]) as isize - sizes.options.padding[0] as isize;
                let to = &mut source[c * plane..][..plane];
                prepare_plane(to, &layout, from, sizes.input, top, sizes.options.padding[1]);
            }
            let pixels = sizes.pixels();
            let (stride, dilation) = (sizes.options.stride, sizes.options.dilation);
            dispatch(Product {
                source,
                layout,
                row_offset: |u: usize| u * dilation[0] * layout.row(),
                column_offset: |v: usize| v * dilation[1] % stride[1] * layout.pitch + v * dilation[1] / stride[1],
                taps: [Taps::all(sizes.kernel[0]), Taps::all(sizes.kernel[1])],
                row_step: stride[0] * layout.row(),
                grid: [rows, sizes.output[1]],
                weights: &weights[group * packed..][..packed],
                out_channels: sizes.out_channels,
                bias: bias.map(|bias| &bias[group * sizes.out_channels..][..sizes.out_channels]),
                relu: self.relu,
                out: &out,
                to: Destination {
                    start: part * sizes.out_channels * pixels + first_row * sizes.output[1],
                    channel: pixels,
                    row: sizes.output[1],
                    column: 1,
                },
                scratch,
            });
        });
    }
}

/// How far dy must be extended below index 0 and beyond its end along an axis so that every tap of every input pixel reads
/// something.
fn border(sizes: &ConvSizes, axis: usize) -> Range<isize> {
    let (stride, dilation) = (sizes.options.stride[axis] as isize, sizes.options.dilation[axis] as isize);
    let padding = sizes.options.padding[axis] as isize;
    let lowest = (padding - (sizes.kernel[axis] as isize - 1) * dilation).div_euclid(stride);
    let highest = (sizes.input[axis] as isize - 1 + padding).div_euclid(stride);
    lowest.min(0)..(highest + 1).max(sizes.output[axis] as isize)
}

impl Conv2dInputGradient {
    fn layout(&self) -> Layout {
        let (rows, columns) = (border(&self.sizes, 0), border(&self.sizes, 1));
        Layout {
            channels: self.sizes.out_channels,
            rows: (rows.end - rows.start) as usize,
            phases: 1,
            pitch: (columns.end - columns.start) as usize,
        }
    }

    pub(super) fn temporaries(&self, inputs: &[Spec], outputs: &[Spec], target: Target) -> Vec<usize> {
        match target {
            Target::Gpu => self.gpu_temporaries(inputs, outputs),
            Target::Cpu => {
                let depth = self.sizes.out_channels * self.sizes.taps();
                vec![self.sizes.groups * self.sizes.in_channels.next_multiple_of(MAX_ROWS) * depth]
            }
        }
    }

    pub(super) fn private(&self) -> usize {
        self.layout().len() + panel_scratch(self.sizes.in_channels)
    }

    /// Weights in tiles for one class of input pixels: rows are input channels, k runs over (output channel, tap).
    fn pack<T: SimdReal>(&self, to: &mut [T], w: &[T], group: usize, taps: [Taps; 2]) {
        let ConvSizes { in_channels, out_channels, kernel, .. } = self.sizes;
        let (tile_rows, all_taps) = (tile_rows(), self.sizes.taps());
        let mut to = to.chunks_exact_mut(tile_rows);
        for first in (0..in_channels).step_by(tile_rows) {
            let rows = tile_rows.min(in_channels - first);
            for o in 0..out_channels {
                let from = &w[((group * out_channels + o) * in_channels + first) * all_taps..][..rows * all_taps];
                for u in taps[0].positions() {
                    for v in taps[1].positions() {
                        let Some(to) = to.next() else { return };
                        to[rows..].fill(T::ZERO);
                        let values = from[u * kernel[1] + v..].iter().step_by(all_taps);
                        to[..rows].iter_mut().zip(values).for_each(|(to, &x)| *to = x);
                    }
                }
            }
        }
    }

    pub(super) fn cpu<T: SimdReal>(&self, kernel: &mut Kernel<'_, T>) {
        let sizes = &self.sizes;
        let (dy, w) = (kernel.input(0), kernel.input(1));
        let (parallel, private) = (kernel.parallel(), kernel.private());
        let ([dx], [weights]) = kernel.outputs_and_scratch::<1, 1>();
        let stride = sizes.options.stride;
        let classes = stride[0] * stride[1];
        let taps_of =
            |class: usize| [Taps::reaching(class / stride[1], sizes, 0), Taps::reaching(class % stride[1], sizes, 1)];
        // The taps of all classes together are the taps of the kernel, so the packed weights of a class start where those
        // of the classes before it end.
        let rows = sizes.in_channels.next_multiple_of(MAX_ROWS);
        let packed = weights.len() / sizes.groups;
        let start_of = |class: usize| {
            let taps: usize = (0..class).map(|c| taps_of(c).iter().map(|taps| taps.count).product::<usize>()).sum();
            rows * sizes.out_channels * taps
        };
        let shared = SharedMut::new(weights);
        parallel.run(sizes.groups * classes, &|task, _| {
            let (group, class) = (task / classes, task % classes);
            // SAFETY: every class of every group has its own range.
            let to = unsafe { shared.slice(group * packed + start_of(class)..group * packed + start_of(class + 1)) };
            self.pack(to, w, group, taps_of(class));
        });
        let weights = &*weights;

        let layout = self.layout();
        let lowest = [border(sizes, 0).start, border(sizes, 1).start];
        let [height, width] = sizes.input;
        let out = SharedMut::new(dx);
        // With few items, the classes by row are tasks of their own.
        let split = if sizes.items * sizes.groups < WANTED_TASKS { stride[0] } else { 1 };
        parallel.run(sizes.items * sizes.groups * split, &|task, worker| {
            let (part, share) = (task / split, task % split);
            let group = part % sizes.groups;
            // SAFETY: this is the task of this worker.
            let (source, scratch) = unsafe { private.of(worker) }.split_at_mut(layout.len());
            let plane = layout.rows * layout.row();
            for o in 0..sizes.out_channels {
                let from = &dy[(part * sizes.out_channels + o) * sizes.pixels()..][..sizes.pixels()];
                let left = (-lowest[1]) as usize;
                prepare_plane(&mut source[o * plane..][..plane], &layout, from, sizes.output, lowest[0], left);
            }
            for class in 0..classes {
                let phase = [class / stride[1], class % stride[1]];
                if (split > 1 && phase[0] != share) || phase[0] >= height || phase[1] >= width {
                    continue;
                }
                let taps = taps_of(class);
                let offset = |axis: usize, tap: usize| {
                    let u = taps[axis].first + tap * taps[axis].step;
                    let reach = (phase[axis] + sizes.options.padding[axis]) as isize
                        - (u * sizes.options.dilation[axis]) as isize;
                    (reach / stride[axis] as isize - lowest[axis]) as usize
                };
                dispatch(Product {
                    source,
                    layout,
                    row_offset: |u| offset(0, u) * layout.row(),
                    column_offset: |v| offset(1, v),
                    taps,
                    row_step: layout.row(),
                    grid: [(height - phase[0]).div_ceil(stride[0]), (width - phase[1]).div_ceil(stride[1])],
                    weights: &weights[group * packed + start_of(class)..group * packed + start_of(class + 1)],
                    out_channels: sizes.in_channels,
                    bias: None,
                    relu: false,
                    out: &out,
                    to: Destination {
                        start: part * sizes.in_channels * height * width + phase[0] * width + phase[1],
                        channel: height * width,
                        row: stride[0] * width,
                        column: stride[1],
                    },
                    scratch: &mut *scratch,
                });
            }
        });
    }
}
