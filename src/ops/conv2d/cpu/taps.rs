//! Which elements a convolution, or its gradient with respect to the input, reads for each of its results.
//!
//! The gradient is itself convolutions of dy: input pixels are sorted by their remainder modulo the stride, and each class
//! is a convolution of stride one with the taps that reach it.

use super::super::ConvSizes;
use super::map::Map;
use super::packing::{Packing, Part, Weights, packed_len};
use super::product::{Lanes, Tiling};
use crate::graph::Parallel;
use crate::ops::simd::SimdReal;
use std::ops::Range;

/// The taps along one axis, in the order of the source: result i reads, for tap t, the source's element
/// `i * stride + start + t * step`, and multiplies it with the weight at `kernel(t)`.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Taps {
    pub count: usize,
    pub start: usize,
    pub step: usize,
    pub stride: usize,
    first: isize,
    along: isize,
}

impl Taps {
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
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The stretch of x that output rows read, border included.
pub(in crate::ops) fn x_map(sizes: &ConvSizes, rows: &Range<usize>) -> Map {
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
pub(in crate::ops) fn dx_rows(sizes: &ConvSizes, rows: &Range<usize>) -> Range<usize> {
    let (stride, height) = (sizes.options.stride[0], sizes.input[0]);
    let end = if rows.end == sizes.output[0] { height } else { (rows.end * stride).min(height) };
    (rows.start * stride).min(end)..end
}

/// The stretch of dy of these output rows and, with `dx`, of all that reaches their rows of dx.
pub(in crate::ops) fn dy_map(sizes: &ConvSizes, rows: &Range<usize>, dx: bool) -> Map {
    let mut reach = [rows.start as isize..rows.end as isize, 0..sizes.output[1] as isize];
    if dx {
        let from = dx_rows(sizes, rows);
        for (axis, range) in [from, 0..sizes.input[1]].into_iter().enumerate() {
            if range.is_empty() {
                continue;
            }
            let (stride, dilation) = (sizes.options.stride[axis] as isize, sizes.options.dilation[axis] as isize);
            let padding = sizes.options.padding[axis] as isize;
            let span = (sizes.kernel[axis] as isize - 1) * dilation;
            let lowest = (range.start as isize + padding - span).div_euclid(stride);
            let highest = (range.end as isize - 1 + padding).div_euclid(stride);
            reach[axis] = reach[axis].start.min(lowest)..reach[axis].end.max(highest + 1);
        }
    }
    let len = |axis: usize| (reach[axis].end - reach[axis].start) as usize;
    Map { rows: len(0), columns: len(1), channels: sizes.out_channels, top: reach[0].start, left: reach[1].start }
}

/// One class of input pixels: those whose row and column leave the same remainders modulo the stride.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Class {
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
pub(in crate::ops) struct Classes {
    sizes: ConvSizes,
    /// How the input's channels lie in vectors.
    pub lanes: Lanes,
    pub count: usize,
    known: [Class; KNOWN],
}

impl Classes {
    pub fn new<T: SimdReal>(sizes: ConvSizes) -> Self {
        let lanes = Lanes::new::<T>(sizes.in_channels, sizes.out_channels);
        let count = classes(&sizes);
        let first = Self::class(&sizes, &lanes, 0, 0);
        let mut known = [first; KNOWN];
        for number in 1..count.min(KNOWN) {
            known[number] = Self::class(&sizes, &lanes, number, known[number - 1].weights.1);
        }
        Self { sizes, lanes, count, known }
    }

    /// A class by itself, whose packed weights start there: rows from 0 on, and dy from its first element on.
    fn class(sizes: &ConvSizes, lanes: &Lanes, class: usize, start: usize) -> Class {
        let stride = sizes.options.stride;
        let phase = [class / stride[1], class % stride[1]];
        let columns = sizes.input[1].saturating_sub(phase[1]).div_ceil(stride[1]);
        let taps = class_taps(sizes, class);
        Class {
            phase,
            taps,
            grid: [0, columns],
            tiling: lanes.tiling(columns),
            weights: (start, start + class_len(sizes, &taps)),
        }
    }

    /// Packs the weights of one group, each class's where [`Class::weights`] says.
    pub fn pack<T: SimdReal>(&self, parallel: &dyn Parallel, w: &[T], packed: &mut [T]) {
        let ConvSizes { in_channels, out_channels, kernel, .. } = self.sizes;
        let taps = self.sizes.taps();
        let part = |number: usize| {
            let Class { taps, weights, .. } = self.by_itself(number);
            Part { taps, at: weights.0 }
        };
        Packing {
            lanes: self.lanes,
            channels: [in_channels, out_channels],
            kernel,
            part,
            parts: self.count,
            weights: Weights { data: w, channel: taps, source_channel: in_channels * taps },
            bias: None,
        }
        .run(parallel, packed);
    }

    /// A class by itself, looked up where it is known.
    fn by_itself(&self, number: usize) -> Class {
        let known = self.known.get(number).copied();
        known.unwrap_or_else(|| {
            let before = (0..number).map(|class| class_len(&self.sizes, &class_taps(&self.sizes, class))).sum();
            Self::class(&self.sizes, &self.lanes, number, before)
        })
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

/// The number of classes.
fn classes(sizes: &ConvSizes) -> usize {
    sizes.options.stride[0] * sizes.options.stride[1]
}

/// The taps of each class alone, for rows and columns from 0 on and dy from its first element on (where starts may lie below
/// zero, and wrap).
fn class_taps(sizes: &ConvSizes, class: usize) -> [Taps; 2] {
    let stride = sizes.options.stride[1];
    [Taps::reaching(sizes, 0, class / stride), Taps::reaching(sizes, 1, class % stride)]
}

/// Elements that the packed weights of all classes take up: each with biases of its own, which are zero.
pub(in crate::ops) fn packed_classes(sizes: &ConvSizes) -> usize {
    (0..classes(sizes)).map(|class| class_len(sizes, &class_taps(sizes, class))).sum()
}

/// Elements that the packed weights of a class with these taps take up.
fn class_len(sizes: &ConvSizes, [rows, columns]: &[Taps; 2]) -> usize {
    packed_len(sizes.in_channels, rows.count * columns.count * sizes.out_channels)
}
