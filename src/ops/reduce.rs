//! Sums, means and maxima over axes.

use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Blocks, Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, SharedMut, Target, Value, grid,
};
use crate::kernels::lanes;
use crate::kernels::strided::{Walk, broadcast_strides};
use crate::shader;
use crate::tensor::{MAX_RANK, Real, Shape, Spec};

static REDUCE_ROWS: Shader = shader!("reduce_rows", "nan", "reduce");
static REDUCE_COLUMNS: Shader = shader!("reduce_columns", "nan", "reduce");

/// The kind of reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The greatest of them; NaN if one of them is NaN.
    Max,
}

/// `y` = the sum, mean or maximum of `x` over `axes`. Input x, output y: x's shape without the axes, or with each as 1.
///
/// Gradients: `dx = dy` repeated along the axes (for the mean divided by the number of elements); for the maximum it is
/// shared evenly among the elements that attain it, as in PyTorch's `amax`.
#[derive(Clone, Debug)]
pub struct Reduce {
    /// The kind of reduction.
    pub reduction: Reduction,
    /// The axes that are reduced.
    pub axes: Vec<usize>,
    /// Whether the reduced axes stay as axes of length 1.
    pub keep: bool,
}

impl Graph {
    /// The sum over `axes`; with `keep` they stay as axes of length 1.
    ///
    /// # Errors
    /// If `axes` is empty, names an axis twice, or one that does not exist.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([2, 2], vec![1.0, 2.0, 3.0, 4.0])?;
    /// let y = graph.sum(x, &[1], false)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [3.0, 7.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn sum(&mut self, x: Value, axes: &[usize], keep: bool) -> Result<Value> {
        self.apply_one(Reduce { reduction: Reduction::Sum, axes: axes.to_vec(), keep }, &[x])
    }

    /// The mean over `axes`; with `keep` they stay as axes of length 1.
    ///
    /// # Errors
    /// As [`Graph::sum`].
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([2, 2], vec![1.0, 2.0, 3.0, 4.0])?;
    /// let y = graph.mean(x, &[1], false)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [1.5, 3.5]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn mean(&mut self, x: Value, axes: &[usize], keep: bool) -> Result<Value> {
        self.apply_one(Reduce { reduction: Reduction::Mean, axes: axes.to_vec(), keep }, &[x])
    }

    /// The maximum over `axes`; with `keep` they stay as axes of length 1. Elements that tie share the gradient.
    ///
    /// # Errors
    /// As [`Graph::sum`].
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([2, 2], vec![1.0, 2.0, 3.0, 4.0])?;
    /// let y = graph.amax(x, &[1], false)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [2.0, 4.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn amax(&mut self, x: Value, axes: &[usize], keep: bool) -> Result<Value> {
        self.apply_one(Reduce { reduction: Reduction::Max, axes: axes.to_vec(), keep }, &[x])
    }

    /// The sum of all elements, of shape `[1]`.
    ///
    /// # Errors
    /// If `x` holds indices.
    pub fn sum_all(&mut self, x: Value) -> Result<Value> {
        let flat = self.reshape(x, [self.shape(x).elements()])?;
        self.sum(flat, &[0], true)
    }

    /// The mean of all elements, of shape `[1]`.
    ///
    /// # Errors
    /// If `x` holds indices.
    pub fn mean_all(&mut self, x: Value) -> Result<Value> {
        let flat = self.reshape(x, [self.shape(x).elements()])?;
        self.mean(flat, &[0], true)
    }
}

/// How a reduction walks its input: the axes that stay, those that go, and how the latter are sliced. Slices bound the
/// number of additions in a row, and so the rounding error, and give work to all threads where few elements stay.
struct Walks {
    kept: Walk<1>,
    gone: Walk<1>,
    /// Whether the innermost axis goes: then a row is reduced to one number, else rows are combined element by element.
    rows: bool,
}

impl Reduce {
    fn kept_shape(&self, x: Shape) -> Shape {
        let mut dims = [1; MAX_RANK];
        dims[..x.rank()].copy_from_slice(x.dims());
        self.axes.iter().for_each(|&axis| dims[axis] = 1);
        Shape::new(&dims[..x.rank()])
    }

    fn walks(&self, x: Shape) -> Walks {
        let strides = broadcast_strides(x, x);
        let (mut kept, mut gone) = ([1; MAX_RANK], [1; MAX_RANK]);
        for axis in 0..x.rank() {
            let to = if self.axes.contains(&axis) { &mut gone } else { &mut kept };
            to[axis] = x[axis];
        }
        let kept = Walk::new(&kept, [strides]);
        let gone = Walk::new(&gone, [strides]);
        let rows = kept.row_strides() != [1];
        Walks { kept, gone, rows }
    }

    fn factor(&self, walks: &Walks) -> f64 {
        match self.reduction {
            Reduction::Mean => 1.0 / (walks.gone.rows() * walks.gone.row()) as f64,
            _ => 1.0,
        }
    }
}

impl Op for Reduce {
    fn name(&self) -> &'static str {
        match self.reduction {
            Reduction::Sum => "sum",
            Reduction::Mean => "mean",
            Reduction::Max => "amax",
        }
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real(self.name(), inputs)?;
        let shape = inputs[0].shape;
        if self.axes.is_empty() {
            return Err(Error::op(self.name(), format!("shape {shape}: no axes were given")));
        }
        for (i, axis) in self.axes.iter().enumerate() {
            if *axis >= shape.rank() {
                return Err(Error::op(self.name(), format!("shape {shape} has no axis {axis}")));
            }
            if self.axes[..i].contains(axis) {
                return Err(Error::op(self.name(), format!("shape {shape}: axis {axis} is named twice")));
            }
        }
        if self.keep {
            return Ok(vec![Spec::real(self.kept_shape(shape))]);
        }
        let dims: Vec<usize> = (0..shape.rank()).filter(|axis| !self.axes.contains(axis)).map(|i| shape[i]).collect();
        Ok(vec![Spec::real(&dims[..])])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None]) };
        let (x, shape) = (node.inputs[0], graph.shape(node.inputs[0]));
        let kept = self.kept_shape(shape);
        let dy = graph.reshape(dy, kept)?;
        let dx = match self.reduction {
            Reduction::Sum => graph.expand(dy, shape)?,
            Reduction::Mean => {
                let share = graph.scale(dy, self.factor(&self.walks(shape)))?;
                graph.expand(share, shape)?
            }
            Reduction::Max => {
                let y = graph.reshape(node.outputs[0], kept)?;
                let attained = graph.equal(x, y)?;
                let count = graph.sum(attained, &self.axes, true)?;
                let share = graph.divide(dy, count)?;
                graph.multiply(attained, share)?
            }
        };
        Ok(vec![Some(dx)])
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let walks = self.walks(inputs[0].shape);
        let (count, length) = (outputs[0].shape.elements(), walks.gone.rows() * walks.gone.row());
        let slices = gpu_slices(&walks);
        let stage = |kept: &Walk<1>, gone: &Walk<1>, rows: bool, slices: usize, factor: f64, operands: [Operand; 2]| {
            let length = gone.rows() * gone.row();
            let mut launch = Launch {
                shader: if rows { &REDUCE_ROWS } else { &REDUCE_COLUMNS },
                constants: vec![
                    ("MAXIMUM", f64::from(u8::from(self.reduction == Reduction::Max))),
                    ("COUNT", count as f64),
                    ("SLICES", slices as f64),
                    ("SLICE", length.div_ceil(slices) as f64),
                    ("LENGTH", length as f64),
                    ("FACTOR", factor),
                ],
                operands: operands.to_vec(),
                workgroups: grid(if rows { count * slices } else { (count * slices).div_ceil(64) }),
            };
            put(&mut launch, kept, &["K0", "K1", "K2"], &["KS0", "KS1", "KS2"]);
            put(&mut launch, gone, &["G0", "G1", "G2"], &["GS0", "GS1", "GS2"]);
            launch
        };
        let factor = self.factor(&walks);
        // A workgroup for fewer elements than it has invocations would mostly wait.
        let rows = walks.rows && length > 32;
        if slices == 1 {
            return vec![stage(&walks.kept, &walks.gone, rows, 1, factor, [Operand::Input(0), Operand::Output(0)])];
        }
        let partials = [one_axis(count, 1), one_axis(slices, count)];
        vec![
            stage(&walks.kept, &walks.gone, rows, slices, 1.0, [Operand::Input(0), Operand::Scratch(0)]),
            stage(&partials[0], &partials[1], count < 4096, 1, factor, [Operand::ReadScratch(0), Operand::Output(0)]),
        ]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(inputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        if self.axes.contains(&0) || inputs[0].shape.rank() < 2 { Division::Whole } else { Division::rows(1) }
    }

    fn scratch(&self, inputs: &[Spec], outputs: &[Spec], target: Target) -> Vec<usize> {
        let walks = self.walks(inputs[0].shape);
        let slices = match target {
            Target::Cpu => CpuSlices::new(&walks).count,
            Target::Gpu => gpu_slices(&walks),
        };
        if slices > 1 { vec![slices * outputs[0].shape.elements()] } else { Vec::new() }
    }
}

fn one_axis(len: usize, stride: usize) -> Walk<1> {
    let mut strides = [0; MAX_RANK];
    strides[0] = stride;
    Walk::new(&[len], [strides])
}

/// Extents and strides, right-aligned. Axes that stay alternate with axes that go, so there are at most three of each.
fn put(launch: &mut Launch, walk: &Walk<1>, dims: &[&'static str; 3], strides: &[&'static str; 3]) {
    let start = 3 - walk.rank;
    for i in 0..3 {
        let (dim, stride) = if i < start { (1, 0) } else { (walk.dims[i - start], walk.strides[0][i - start]) };
        launch.constants.extend([(dims[i], dim as f64), (strides[i], stride as f64)]);
    }
}

fn gpu_slices(walks: &Walks) -> usize {
    let (count, length) = (walks.kept.rows() * walks.kept.row(), walks.gone.rows() * walks.gone.row());
    let slice = match (walks.rows, count) {
        (true, _) => 4096,
        (false, ..4096) => 64,
        (false, _) => 256,
    };
    // Once more, so that no slice is left empty.
    length.div_ceil(length.div_ceil(length.div_ceil(slice).min(1024)))
}

/// Slices of the reduced elements on the CPU: whole rows bundled, or pieces of long rows.
struct CpuSlices {
    per_slice: usize,
    pieces: usize,
    piece: usize,
    count: usize,
}

impl CpuSlices {
    fn new(walks: &Walks) -> Self {
        let piece = if walks.rows { 16_384 } else { 512 };
        let (row, rows) = (walks.gone.row(), walks.gone.rows());
        let (per_slice, pieces) = ((piece / row).max(1), row.div_ceil(piece));
        Self { per_slice, pieces, piece, count: rows.div_ceil(per_slice) * pieces }
    }

    /// The rows of slice `s`, and the part of each that belongs to it.
    fn slice(&self, s: usize, walks: &Walks) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let (row, rows) = (walks.gone.row(), walks.gone.rows());
        let (first, start) = (s / self.pieces * self.per_slice, s % self.pieces * self.piece);
        let end = if self.pieces == 1 { row } else { (start + self.piece).min(row) };
        (first..(first + self.per_slice).min(rows), start..end)
    }
}

/// Elements that a task of the CPU kernel reads, about.
const PER_TASK: usize = 32_768;
/// Neighbouring results that are accumulated together: they stay in the first-level cache.
const COLUMNS: usize = 1024;

impl Reduce {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let walks = self.walks(kernel.input_spec(0).shape);
        let (x, parallel, factor) = (kernel.input(0), kernel.parallel(), T::from_f64(self.factor(&walks)));
        let slices = CpuSlices::new(&walks);
        if slices.count == 1 {
            self.first_stage(x, kernel.output(), &walks, &slices, factor, parallel);
            return;
        }
        let ([y], [partials]) = kernel.outputs_and_scratch();
        self.first_stage(x, partials, &walks, &slices, T::ONE, parallel);
        let count = y.len();
        let partials = &*partials;
        crate::graph::for_each_piece(parallel, y, COLUMNS, |i, y| {
            lanes::dispatch(
                #[inline(always)]
                || {
                    y.copy_from_slice(&partials[i * COLUMNS..][..y.len()]);
                    for s in 1..slices.count {
                        self.accumulate(y, &partials[s * count + i * COLUMNS..][..y.len()]);
                    }
                    y.iter_mut().for_each(|y| *y *= factor);
                },
            );
        });
    }

    #[inline(always)]
    fn accumulate<T: Real>(&self, y: &mut [T], x: &[T]) {
        match self.reduction {
            Reduction::Max => y.iter_mut().zip(x).for_each(|(y, &x)| *y = lanes::greater(*y, x)),
            _ => y.iter_mut().zip(x).for_each(|(y, &x)| *y += x),
        }
    }

    /// Writes slice s of result o to `to[s * results + o]`.
    fn first_stage<T: Real>(
        &self,
        x: &[T],
        to: &mut [T],
        walks: &Walks,
        slices: &CpuSlices,
        factor: T,
        parallel: &dyn crate::graph::Parallel,
    ) {
        let (kept, gone) = (&walks.kept, &walks.gone);
        let (row, [step]) = (kept.row(), kept.row_strides());
        let results = kept.rows() * row;
        let slice_len = (gone.rows() * gone.row()).div_ceil(slices.count);
        if walks.rows {
            let per_task = (PER_TASK / slice_len).max(1);
            let blocks = Blocks::new(&mut to[..slices.count * results], results, [1, per_task]);
            parallel.for_pieces(blocks, |_, mut to| {
                let (s, first, last) = (to.rows().start, to.columns().start, to.columns().end);
                let (rows, part) = slices.slice(s, walks);
                let to = to.row(s);
                lanes::dispatch(
                    #[inline(always)]
                    || {
                        // Results are walked as rows of one element.
                        kept.for_rows(first / row..last.div_ceil(row), |r, [at]| {
                            for o in first.max(r * row)..last.min(r * row + row) {
                                let base = at + (o - r * row) * step;
                                let mut total = None;
                                gone.for_rows(rows.clone(), |_, [offset]| {
                                    let x = &x[base + offset + part.start..base + offset + part.end];
                                    let reduced = match self.reduction {
                                        Reduction::Max => lanes::max(x),
                                        _ => lanes::sum(x),
                                    };
                                    total = Some(match (total, self.reduction) {
                                        (None, _) => reduced,
                                        (Some(total), Reduction::Max) => lanes::greater(total, reduced),
                                        (Some(total), _) => total + reduced,
                                    });
                                });
                                to[o - first] = total.unwrap_or(T::ZERO) * factor;
                            }
                        });
                    },
                );
            });
            return;
        }
        let to = SharedMut::new(to);
        let stripes = row.div_ceil(COLUMNS);
        let per_task = (PER_TASK / (row * slice_len)).max(1);
        let groups = kept.rows().div_ceil(per_task);
        parallel.run(slices.count * groups * stripes, &|task, _| {
            let (s, group, stripe) = (task / (groups * stripes), task / stripes % groups, task % stripes);
            let (rows, part) = slices.slice(s, walks);
            let columns = stripe * COLUMNS..(stripe * COLUMNS + COLUMNS).min(row);
            let [gone_step] = gone.row_strides();
            lanes::dispatch(
                #[inline(always)]
                || {
                    kept.for_rows(group * per_task..(group * per_task + per_task).min(kept.rows()), |r, [at]| {
                        let start = s * results + r * row;
                        // SAFETY: every task has results of its own.
                        let y = unsafe { to.slice(start + columns.start..start + columns.end) };
                        let mut first = true;
                        gone.for_rows(rows.clone(), |_, [offset]| {
                            for i in part.clone() {
                                let x = &x[at + offset + i * gone_step + columns.start..][..y.len()];
                                if std::mem::take(&mut first) {
                                    y.copy_from_slice(x);
                                } else {
                                    self.accumulate(y, x);
                                }
                            }
                        });
                        y.iter_mut().for_each(|y| *y *= factor);
                    });
                },
            );
        });
    }
}
