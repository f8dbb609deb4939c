//! Padding and slicing, by one operation: along each axis the output reads the input at regular distances, and has a fill value where there
//! is nothing to read.
//!
//! Along an axis, `y[i] = x[(start + i step) / spread]` where that is a whole number inside x, else the fill. The gradient is an
//! operation of the same kind: with `i = (j spread - start) / step`, step and spread change places.

use super::relu::{PER_TASK, PER_WORKGROUP};
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{Cost, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Value, for_each_piece, grid};
use crate::kernels::lanes;
use crate::kernels::strided::DIMS;
use crate::shader;
use crate::tensor::{MAX_RANK, Real, Shape, Spec};
use std::ops::Range;

static PAD_SLICE: Shader = shader!("pad_slice");

/// Which elements of an axis are read: `y[i] = x[(start + i step) / spread]` for i below `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Where the first element is read, in units of `1 / spread`; negative before the axis.
    pub start: isize,
    /// Distance between elements read, in the same units; negative to go backwards. Not zero.
    pub step: isize,
    /// How many output places there are for each distance of one in the input; at least 1.
    pub spread: usize,
    /// The output's extent; at least 1.
    pub count: usize,
}

impl Reach {
    /// A whole axis, as it is.
    pub fn whole(len: usize) -> Self {
        Self { start: 0, step: 1, spread: 1, count: len }
    }

    /// What the gradient reads: `len` elements of the output, at the places that the input's elements went to.
    fn back(self, len: usize) -> Self {
        let sign = self.step.signum();
        Self {
            start: -self.start * sign,
            step: self.spread as isize * sign,
            spread: self.step.unsigned_abs(),
            count: len,
        }
    }

    /// The element of an axis of `len` that output place `i` reads, if there is one.
    #[inline(always)]
    fn source(self, i: usize, len: usize) -> Option<usize> {
        let at = usize::try_from(self.start + i as isize * self.step).ok()?;
        (at.is_multiple_of(self.spread) && at / self.spread < len).then_some(at / self.spread)
    }

    /// The output places that read something, where every one reads the element next to its neighbour's.
    fn inside(self, len: usize) -> Range<usize> {
        let end = (len as isize - self.start).clamp(0, self.count as isize) as usize;
        (-self.start).clamp(0, end as isize) as usize..end
    }

    /// Whether every place that it or its gradient reads, in an axis of `len`, fits 32 bits, which kernels count with.
    fn is_small(self, len: usize) -> bool {
        let forward = self.count.saturating_mul(self.step.unsigned_abs());
        let back = len.saturating_mul(self.spread);
        self.start.unsigned_abs().saturating_add(forward.max(back)) <= i32::MAX as usize
    }

    fn is_unit(self) -> bool {
        self.step == 1 && self.spread == 1
    }
}

/// Reads an input at regular distances. Input x, output y with as many axes.
#[derive(Clone, Debug)]
pub struct PadSlice {
    /// What is read along each axis.
    pub axes: Vec<Reach>,
    /// The value where nothing is read.
    pub fill: f64,
}

impl Graph {
    /// `x` with `before[axis]` elements of `value` before each axis and `after[axis]` after it.
    ///
    /// # Errors
    /// If there is not one number for each axis, or the result is larger than any memory.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([2], vec![1.0, 2.0])?;
    /// let y = graph.pad(x, &[1], &[2], 9.0)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [9.0, 1.0, 2.0, 9.0, 9.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn pad(&mut self, x: Value, before: &[usize], after: &[usize], value: f64) -> Result<Value> {
        let shape = self.shape(x);
        if before.len() != shape.rank() || after.len() != shape.rank() {
            let detail = format!("{before:?} before and {after:?} after are not one number for each axis of {shape}");
            return Err(Error::op("pad", detail));
        }
        let axis = |((&len, &before), &after): ((&usize, &usize), &usize)| {
            let count = len.checked_add(before)?.checked_add(after).filter(|&count| isize::try_from(count).is_ok())?;
            Some(Reach { start: -(before as isize), count, ..Reach::whole(len) })
        };
        match shape.dims().iter().zip(before).zip(after).map(axis).collect() {
            Some(axes) => self.apply_one(PadSlice { axes, fill: value }, &[x]),
            None => Err(Error::op("pad", format!("{before:?} before and {after:?} after {shape} is too large"))),
        }
    }

    /// Every `step`-th element of a range of an axis, from its first on.
    ///
    /// # Errors
    /// If x has no such axis, the range is empty or leaves the axis, or the step is zero.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([5], vec![0.0, 1.0, 2.0, 3.0, 4.0])?;
    /// let y = graph.slice(x, 0, 1..5, 2)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [1.0, 3.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn slice(&mut self, x: Value, axis: usize, range: Range<usize>, step: usize) -> Result<Value> {
        let shape = self.shape(x);
        let inside = axis < shape.rank() && range.start < range.end && range.end <= shape[axis];
        if !inside || step == 0 {
            let detail = format!("{range:?} with step {step} is no part of axis {axis} of shape {shape}");
            return Err(Error::op("slice", detail));
        }
        let count = range.len().div_ceil(step);
        let step = if count == 1 { 1 } else { step as isize };
        let reach = Reach { start: range.start as isize, step, spread: 1, count };
        self.along(x, axis, reach)
    }

    /// An axis in the opposite order.
    ///
    /// # Errors
    /// If x has no such axis.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([3], vec![1.0, 2.0, 3.0])?;
    /// let y = graph.flip(x, 0)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [3.0, 2.0, 1.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn flip(&mut self, x: Value, axis: usize) -> Result<Value> {
        let shape = self.shape(x);
        if axis >= shape.rank() {
            return Err(Error::op("flip", format!("shape {shape} has no axis {axis}")));
        }
        let count = shape[axis];
        self.along(x, axis, Reach { start: count as isize - 1, step: -1, spread: 1, count })
    }

    /// Reads one axis so, and the others as they are.
    fn along(&mut self, x: Value, axis: usize, reach: Reach) -> Result<Value> {
        let mut axes: Vec<Reach> = self.shape(x).dims().iter().map(|&len| Reach::whole(len)).collect();
        axes[axis] = reach;
        self.apply_one(PadSlice { axes, fill: 0.0 }, &[x])
    }
}

/// The axes of a reading and of its input, in as few as describe the same.
#[derive(Clone, Copy)]
struct Axes {
    rank: usize,
    reach: [Reach; MAX_RANK],
    len: [usize; MAX_RANK],
}

impl Axes {
    /// An axis that is read as it is joins the one before it, where that one reads neighbours.
    fn new(reach: &[Reach], x: Shape) -> Self {
        let mut axes = Self { rank: 0, reach: [Reach::whole(1); MAX_RANK], len: [1; MAX_RANK] };
        for (&reach, &len) in reach.iter().zip(x.dims()) {
            let last = axes.rank.saturating_sub(1);
            if axes.rank > 0 && reach == Reach::whole(len) && (axes.reach[last].is_unit() || len == 1) {
                axes.reach[last].start *= len as isize;
                axes.reach[last].count *= len;
                axes.len[last] *= len;
            } else if axes.rank > 0 && axes.reach[last] == Reach::whole(1) && axes.len[last] == 1 {
                (axes.reach[last], axes.len[last]) = (reach, len);
            } else {
                (axes.reach[axes.rank], axes.len[axes.rank]) = (reach, len);
                axes.rank += 1;
            }
        }
        axes.rank = axes.rank.max(1);
        axes
    }

    /// Where row `number` of the output starts in the input, if it is not all fill.
    #[inline(always)]
    fn start(&self, number: usize) -> Option<usize> {
        let (mut rest, mut at, mut stride) = (number, 0, self.len[self.rank - 1]);
        for axis in (0..self.rank - 1).rev() {
            let reach = self.reach[axis];
            at += reach.source(rest % reach.count, self.len[axis])? * stride;
            rest /= reach.count;
            stride *= self.len[axis];
        }
        Some(at)
    }
}

impl Op for PadSlice {
    fn name(&self) -> &'static str {
        "pad_slice"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real(self.name(), inputs)?;
        let shape = inputs[0].shape;
        let valid = |(reach, &len): (&Reach, &usize)| reach.step != 0 && reach.spread != 0 && reach.is_small(len);
        if self.axes.len() != shape.rank() || !self.axes.iter().zip(shape.dims()).all(valid) {
            let detail = format!(
                "{:?} does not say what is read of each axis of shape {shape}, in steps that are not zero and places below 2^31",
                self.axes
            );
            return Err(Error::op(self.name(), detail));
        }
        let dims: Vec<usize> = self.axes.iter().map(|reach| reach.count).collect();
        Ok(vec![Spec::real(&dims[..])])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None]) };
        let shape = graph.shape(node.inputs[0]);
        let axes = self.axes.iter().zip(shape.dims()).map(|(reach, &len)| reach.back(len)).collect();
        Ok(vec![Some(graph.apply_one(Self { axes, fill: 0.0 }, &[dy])?)])
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        const STARTS: [&str; MAX_RANK] = ["START0", "START1", "START2", "START3", "START4", "START5"];
        const STEPS: [&str; MAX_RANK] = ["STEP0", "STEP1", "STEP2", "STEP3", "STEP4", "STEP5"];
        const SPREADS: [&str; MAX_RANK] = ["SPREAD0", "SPREAD1", "SPREAD2", "SPREAD3", "SPREAD4", "SPREAD5"];
        const LENS: [&str; MAX_RANK] = ["LEN0", "LEN1", "LEN2", "LEN3", "LEN4", "LEN5"];
        let (len, axes) = (outputs[0].shape.elements(), Axes::new(&self.axes, inputs[0].shape));
        // As bits, since no constant of WGSL may be infinite.
        let mut constants = vec![("LEN", len as f64), ("FILL", f64::from((self.fill as f32).to_bits()))];
        for to in 0..MAX_RANK {
            // Aligned at the end.
            let from = (to + axes.rank).checked_sub(MAX_RANK);
            let (reach, len) = from.map_or((Reach::whole(1), 1), |from| (axes.reach[from], axes.len[from]));
            constants.extend([
                (DIMS[to], reach.count as f64),
                (STARTS[to], reach.start as f64),
                (STEPS[to], reach.step as f64),
                (SPREADS[to], reach.spread as f64),
                (LENS[to], len as f64),
            ]);
        }
        let operands = vec![Operand::Input(0), Operand::Output(0)];
        vec![Launch { shader: &PAD_SLICE, constants, operands, workgroups: grid(len.div_ceil(PER_WORKGROUP)) }]
    }

    fn cost(&self, _: &[Spec], outputs: &[Spec]) -> Cost {
        // What is read is about as much as what is written.
        Cost::streaming(0.0, outputs, outputs)
    }
}

impl PadSlice {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let axes = Axes::new(&self.axes, kernel.input_spec(0).shape);
        let (x, parallel, fill) = (kernel.input(0), kernel.parallel(), T::from_f64(self.fill));
        let (reach, len) = (axes.reach[axes.rank - 1], axes.len[axes.rank - 1]);
        let row = reach.count;
        // Whole rows where they are short, else parts of them.
        let piece = if row < PER_TASK { PER_TASK / row * row } else { PER_TASK };
        for_each_piece(parallel, kernel.output(), piece, |task, mut y| {
            let mut at = task * piece;
            while !y.is_empty() {
                let (number, first) = (at / row, at % row);
                let (part, rest) = y.split_at_mut((row - first).min(y.len()));
                at += part.len();
                y = rest;
                let Some(from) = axes.start(number) else {
                    part.fill(fill);
                    continue;
                };
                let x = &x[from..from + len];
                lanes::dispatch(
                    #[inline(always)]
                    || read_row(part, x, reach, first, fill),
                );
            }
        });
    }
}

/// Writes the part of a row that begins with its place `first`.
#[inline(always)]
fn read_row<T: Real>(y: &mut [T], x: &[T], reach: Reach, first: usize, fill: T) {
    if !reach.is_unit() {
        let read = |i| reach.source(first + i, x.len()).map_or(fill, |at| x[at]);
        y.iter_mut().enumerate().for_each(|(i, y)| *y = read(i));
        return;
    }
    let inside = reach.inside(x.len());
    let [from, to] = [inside.start, inside.end].map(|at| at.saturating_sub(first).min(y.len()));
    y[..from].fill(fill);
    y[to..].fill(fill);
    if from < to {
        let at = ((first + from) as isize + reach.start) as usize;
        y[from..to].copy_from_slice(&x[at..at + to - from]);
    }
}
