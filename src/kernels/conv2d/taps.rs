//! Which elements a convolution, or its gradient with respect to the input, reads for each of its results.
//!
//! The gradient is itself convolutions of dy: input pixels are sorted by their remainder modulo the stride, and each class
//! is a convolution of stride one with the taps that reach it.

use super::ConvSizes;
use super::layout::{Lanes, Tiling};
use super::map::Map;
use super::packing::{Packing, Part, Weights, packed_len};
use crate::graph::Parallel;
use crate::kernels::simd::{MAX_LANES, SimdReal};
use std::ops::Range;

/// The taps along one axis, in the order of the source: result i reads, for tap t, the source's element
/// `i * stride + start + t * step`, and multiplies it with the weight at `kernel(t)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taps {
    pub count: usize,
    pub start: usize,
    pub step: usize,
    pub stride: usize,
    first: isize,
    along: isize,
}

impl Taps {
    /// One tap.
    pub const ONE: Self = Self { count: 1, start: 0, step: 1, stride: 1, first: 0, along: 1 };

    /// The kernel's position of tap t.
    pub fn kernel(&self, t: usize) -> usize {
        (self.first + t as isize * self.along) as usize
    }

    /// All taps of a convolution.
    pub fn forward(sizes: &ConvSizes, axis: usize) -> Self {
        Self {
            count: sizes.kernel[axis],
            start: 0,
            step: sizes.options.dilation[axis],
            stride: sizes.options.stride[axis],
            first: 0,
            along: 1,
        }
    }

    /// The taps through which dy reaches the input elements `phase + i * stride`.
    fn reaching(sizes: &ConvSizes, axis: usize, phase: usize) -> Self {
        let (stride, dilation) = (sizes.options.stride[axis], sizes.options.dilation[axis]);
        let padded = phase + sizes.options.padding[axis];
        // That padded - u * dilation is a multiple of the stride, without going below zero.
        let reaches = |u: &usize| (padded + u * (stride - 1) * dilation).is_multiple_of(stride);
        let Some(first) = (0..sizes.kernel[axis]).find(reaches) else {
            return Self { count: 0, start: 0, step: 1, stride: 1, first: 0, along: 1 };
        };
        let apart = stride / gcd(stride, dilation);
        let count = (sizes.kernel[axis] - 1 - first) / apart + 1;
        let last = first + (count - 1) * apart;
        let start = (padded as isize - (last * dilation) as isize) / stride as isize;
        Self {
            count,
            start: start as usize,
            step: apart * dilation / stride,
            stride: 1,
            first: last as isize,
            along: -(apart as isize),
        }
    }

    /// The columns of dy that reach any of the input's columns within a stride, which must not be dilated.
    fn reaching_any(sizes: &ConvSizes) -> Self {
        let each =
            (0..sizes.options.stride[1]).map(|phase| Self::reaching(sizes, 1, phase)).filter(|taps| taps.count > 0);
        let first = each.clone().map(|taps| taps.start as isize).min().unwrap_or(0);
        let end = each.map(|taps| taps.start as isize + taps.count as isize).max().unwrap_or(first);
        Self { count: (end - first) as usize, start: first as usize, step: 1, stride: 1, first: 0, along: 1 }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The stretch of x that output rows read, border included.
pub(crate) fn x_map(sizes: &ConvSizes, rows: &Range<usize>) -> Map {
    let o = &sizes.options;
    Map {
        rows: (rows.len() - 1) * o.stride[0] + (sizes.kernel[0] - 1) * o.dilation[0] + 1,
        columns: sizes.input[1] + 2 * o.padding[1],
        channels: sizes.in_channels,
        top: (rows.start * o.stride[0]) as isize - o.padding[0] as isize,
        left: -(o.padding[1] as isize),
    }
}

/// The rows of dx that belong to these output rows: those from the first one's times the stride on.
pub(crate) fn dx_rows(sizes: &ConvSizes, rows: &Range<usize>) -> Range<usize> {
    let (stride, height) = (sizes.options.stride[0], sizes.input[0]);
    let end = if rows.end == sizes.output[0] { height } else { (rows.end * stride).min(height) };
    (rows.start * stride).min(end)..end
}

/// The stretch of dy of these output rows and, with `dx`, of all that reaches their rows of dx.
pub(crate) fn dy_map(sizes: &ConvSizes, rows: &Range<usize>, dx: bool) -> Map {
    let mut reach = [rows.start as isize..rows.end as isize, 0..sizes.output[1] as isize];
    if dx {
        let from = dx_rows(sizes, rows);
        for (axis, range) in [from, 0..sizes.input[1]].into_iter().enumerate() {
            if range.is_empty() {
                continue;
            }
            let (stride, dilation) = (sizes.options.stride[axis] as isize, sizes.options.dilation[axis] as isize);
            let padding = sizes.options.padding[axis] as isize;
            // Joined columns are whole strides.
            let end = if axis == 1 && joinable(sizes) {
                (range.end as isize + stride - 1) / stride * stride
            } else {
                range.end as isize
            };
            let span = (sizes.kernel[axis] as isize - 1) * dilation;
            let lowest = (range.start as isize + padding - span).div_euclid(stride);
            let highest = (end - 1 + padding).div_euclid(stride);
            reach[axis] = reach[axis].start.min(lowest)..reach[axis].end.max(highest + 1);
        }
    }
    let len = |axis: usize| (reach[axis].end - reach[axis].start) as usize;
    Map { rows: len(0), columns: len(1), channels: sizes.out_channels, top: reach[0].start, left: reach[1].start }
}

/// One class of input pixels: those whose row and column leave the same remainders modulo the stride. Where columns are
/// [joined](Classes::joined), those whose row does; a pixel of it is then as many neighbours as the stride has columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    pub phase: [usize; 2],
    pub taps: [Taps; 2],
    /// Rows and columns of dx that belong to it.
    pub grid: [usize; 2],
    pub tiling: Tiling,
    /// Where its packed weights are.
    pub weights: (usize, usize),
}

/// How many classes are looked up rather than worked out anew.
const KNOWN: usize = 9;

/// All classes of input pixels.
pub(crate) struct Classes {
    sizes: ConvSizes,
    /// How the input's channels lie in vectors; of joined columns, one column's after the other's.
    pub lanes: Lanes,
    pub count: usize,
    /// How many neighbouring columns are computed in one vector: all that lie within a stride, where their channels fill one. Each
    /// then meets the taps of all, with zeros where they do not reach it: more multiply-adds, but each with one number of dy that all
    /// share, and whole stretches of results.
    pub joined: usize,
    known: [Class; KNOWN],
}

impl Classes {
    /// For the classes apart, or joined where that pays.
    pub fn new<T: SimdReal>(sizes: ConvSizes, join: bool) -> Self {
        let together = sizes.options.stride[1];
        let all = Lanes::new::<T>(together * sizes.in_channels, sizes.out_channels);
        let join = join && joinable(&sizes) && together * sizes.in_channels == all.lanes && !all.pairs;
        let joined = if join { together } else { 1 };
        let lanes = Lanes::new::<T>(joined * sizes.in_channels, sizes.out_channels);
        let count = sizes.options.stride[0] * together / joined;
        let mut known = [Self::class(&sizes, &lanes, joined, 0, 0); KNOWN];
        for number in 1..count.min(KNOWN) {
            known[number] = Self::class(&sizes, &lanes, joined, number, known[number - 1].weights.1);
        }
        Self { sizes, lanes, count, joined, known }
    }

    /// A class by itself, whose packed weights start there: rows from 0 on, and dy from its first element on.
    fn class(sizes: &ConvSizes, lanes: &Lanes, joined: usize, class: usize, start: usize) -> Class {
        let stride = sizes.options.stride;
        let apart = stride[1] / joined;
        let phase = [class / apart, class % apart];
        let columns = sizes.input[1].saturating_sub(phase[1]).div_ceil(stride[1]);
        let taps = [
            Taps::reaching(sizes, 0, phase[0]),
            if joined > 1 { Taps::reaching_any(sizes) } else { Taps::reaching(sizes, 1, phase[1]) },
        ];
        let len = packed_len(joined * sizes.in_channels, taps[0].count * taps[1].count * sizes.out_channels);
        Class { phase, taps, grid: [0, columns], tiling: lanes.tiling(columns), weights: (start, start + len) }
    }

    /// Packs the weights of one group, each class's where [`Class::weights`] says.
    pub fn pack<T: SimdReal>(&self, parallel: &dyn Parallel, w: &[T], packed: &mut [T]) {
        let ConvSizes { in_channels, out_channels, kernel, .. } = self.sizes;
        let taps = self.sizes.taps();
        let part = |number: usize| {
            let (class, column) = (self.by_itself(number / self.joined), number % self.joined);
            let [rows, columns] = class.taps;
            if self.joined == 1 {
                return Part::alone(class.taps, class.weights.0);
            }
            let own = Taps::reaching(&self.sizes, 1, column);
            let before = own.start.wrapping_sub(columns.start);
            Part { taps: [rows, own], at: class.weights.0, lane: column * in_channels, columns: columns.count, before }
        };
        Packing {
            lanes: self.lanes,
            channels: [in_channels, out_channels],
            kernel,
            part,
            parts: self.count * self.joined,
            weights: Weights { data: w, channel: taps, source_channel: in_channels * taps },
            bias: None,
        }
        .run(parallel, packed);
    }

    /// A class by itself, looked up where it is known.
    fn by_itself(&self, number: usize) -> Class {
        let class = |number, start| Self::class(&self.sizes, &self.lanes, self.joined, number, start);
        let known = self.known.get(number).copied();
        known.unwrap_or_else(|| class(number, (0..number).fold(0, |start, before| class(before, start).weights.1)))
    }

    /// A class of the rows of dx that belong to these output rows, read from `dy`.
    pub fn get(&self, number: usize, rows: &Range<usize>, dy: &Map) -> Class {
        let mut class = self.by_itself(number);
        let stride = self.sizes.options.stride[0];
        class.grid[0] = dx_rows(&self.sizes, rows).len().saturating_sub(class.phase[0]).div_ceil(stride);
        // Starts may lie below zero until the map's own is taken off.
        let [row_taps, column_taps] = &mut class.taps;
        row_taps.start = row_taps.start.wrapping_add(rows.start).wrapping_add_signed(-dy.top);
        column_taps.start = column_taps.start.wrapping_add_signed(-dy.left);
        class
    }
}

/// Whether the columns within a stride may be computed in one vector on some machine.
fn joinable(sizes: &ConvSizes) -> bool {
    let [_, stride] = sizes.options.stride;
    stride > 1 && sizes.options.dilation[1] == 1 && stride * sizes.in_channels <= MAX_LANES
}

/// Elements that the packed weights of all classes take up at most: each with biases of its own, which are zero.
pub(crate) fn packed_classes(sizes: &ConvSizes) -> usize {
    let [rows, columns] = sizes.options.stride;
    let taps = |axis: usize, phase: usize| Taps::reaching(sizes, axis, phase).count;
    let all_columns = |rows: usize| -> usize {
        let len = |columns: usize, channels: usize| packed_len(channels, rows * columns * sizes.out_channels);
        let apart = (0..columns).map(|phase| len(taps(1, phase), sizes.in_channels)).sum();
        let joined =
            if joinable(sizes) { len(Taps::reaching_any(sizes).count, columns * sizes.in_channels) } else { 0 };
        joined.max(apart)
    };
    (0..rows).map(|phase| all_columns(taps(0, phase))).sum()
}
