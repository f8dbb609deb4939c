//! Elements of an axis by index (for example an embedding), and one-hot vectors.
//!
//! With the axes before the chosen one taken together (o) and those behind it (i): `y[o, k, i] = x[o, index[k], i]`, or with an index
//! for every element `y[o, k, i] = x[o, index[o, k, i], i]`. y is 0 where the index is the one that is left out. The gradient
//! of an element of x is the sum over the places that it was copied to, in a fixed order, so that the bits are always the same.

use super::relu::{PER_TASK, PER_WORKGROUP};
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Blocks, Cost, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Value, for_each_piece, grid, no_gradient,
};
use crate::shader;
use crate::tensor::{DType, MAX_RANK, Real, Shape, Spec};

static GATHER: Shader = shader!("gather");
static GATHER_GRADIENT: Shader = shader!("gather_gradient");
static ONE_HOT: Shader = shader!("one_hot");

/// Numbers that one launch of the gradient's kernel compares: a loop of 65 535 rounds is the longest that all drivers finish.
const PER_LAUNCH: usize = 32_768;
/// Pieces at most that the CPU cuts an item's gradient into: each looks at all numbers.
const MAX_PIECES: usize = 64;

/// Inputs x and indices below its axis's extent; output y.
#[derive(Clone, Copy, Debug)]
pub struct Gather {
    /// The axis.
    pub axis: usize,
    /// Whether there is an index for every element of the output, which then has the indices' shape. Otherwise whole rows are taken, and
    /// the axes of the indices replace the chosen one.
    pub each: bool,
    /// The index for which y is 0 instead, at most the axis's extent.
    pub skip: Option<usize>,
}

/// The gradient of [`Gather`]. Inputs dy and the numbers, output dx.
#[derive(Clone, Copy, Debug)]
pub struct GatherGradient {
    /// The operation.
    pub gather: Gather,
    /// The shape of its input.
    pub shape: Shape,
}

/// `y[.., c]` is 1 where c is the number, else 0. Input numbers below `classes`, output one axis more. Has no gradient.
#[derive(Clone, Copy, Debug)]
pub struct OneHot {
    /// The extent of the new last axis.
    pub classes: usize,
}

impl Graph {
    /// Rows of an axis by index: the shape of `indices` replaces the axis. With axis 0 of a table `[V, D]` this
    /// is an embedding.
    ///
    /// # Errors
    /// If x has no such axis, `indices` does not hold indices, or the result has too many axes.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let table = graph.constant([3, 2], vec![0.0, 0.5, 1.0, 1.5, 2.0, 2.5])?;
    /// let rows = graph.index_constant([2], vec![2, 0])?;
    /// let y = graph.gather(table, rows, 0)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [2.0, 2.5, 0.0, 0.5]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn gather(&mut self, x: Value, indices: Value, axis: usize) -> Result<Value> {
        self.apply_one(Gather { axis, each: false, skip: None }, &[x, indices])
    }

    /// Elements of an axis, with an index for each element of the result (PyTorch's `gather`): `indices` has x's shape except along that axis.
    ///
    /// # Errors
    /// If the shapes do not fit, or `indices` does not hold indices.
    pub fn gather_elements(&mut self, x: Value, indices: Value, axis: usize) -> Result<Value> {
        self.apply_one(Gather { axis, each: true, skip: None }, &[x, indices])
    }

    /// One-hot vectors of length `classes` along a new last axis.
    ///
    /// # Errors
    /// If `indices` does not hold indices, or there is no room for another axis.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let classes = graph.index_constant([2], vec![1, 0])?;
    /// let y = graph.one_hot(classes, 3)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn one_hot(&mut self, indices: Value, classes: usize) -> Result<Value> {
        self.apply_one(OneHot { classes }, &[indices])
    }
}

/// How the operands lie in memory: x is `[outer, len, inner]`, y `[outer, count, inner]`.
#[derive(Clone, Copy)]
struct Sizes {
    len: usize,
    inner: usize,
    count: usize,
}

impl Gather {
    fn sizes(&self, x: Shape, indices: Shape) -> Sizes {
        let product = |dims: &[usize]| dims.iter().product();
        let inner = product(&x.dims()[self.axis + 1..]);
        let count = if self.each { indices[self.axis] } else { indices.elements() };
        Sizes { len: x[self.axis], inner, count }
    }

    /// What lies at y's row `row` of `inner` elements, or only at its element `i`.
    #[inline(always)]
    fn number(&self, indices: &[u32], sizes: Sizes, row: usize, i: usize) -> usize {
        indices[if self.each { row * sizes.inner + i } else { row % sizes.count }] as usize
    }

    fn bound(&self, len: usize) -> usize {
        self.skip.map_or(len, |skip| len.max(skip + 1))
    }

    fn constants(&self, sizes: Sizes, elements: usize) -> Vec<(&'static str, f64)> {
        vec![
            ("ELEMENTS", elements as f64),
            ("LEN", sizes.len as f64),
            ("INNER", sizes.inner as f64),
            ("COUNT", sizes.count as f64),
            ("EACH", f64::from(u8::from(self.each))),
            ("SKIP", self.skip.map_or(f64::from(u32::MAX), |skip| skip as f64)),
        ]
    }

    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, indices, parallel) = (kernel.input(0), kernel.indices(1), kernel.parallel());
        let sizes = self.sizes(kernel.input_spec(0).shape, kernel.input_spec(1).shape);
        let Sizes { len, inner, count, .. } = sizes;
        let per_task = (PER_TASK / inner).max(1);
        for_each_piece(parallel, kernel.output(), per_task * inner, |task, y| {
            for (row, y) in y.chunks_exact_mut(inner).enumerate() {
                let row = task * per_task + row;
                let from = row / count * len;
                if self.each {
                    for (i, y) in y.iter_mut().enumerate() {
                        let number = self.number(indices, sizes, row, i);
                        *y = if Some(number) == self.skip { T::ZERO } else { x[(from + number) * inner + i] };
                    }
                    continue;
                }
                let number = self.number(indices, sizes, row, 0);
                if Some(number) == self.skip {
                    y.fill(T::ZERO);
                } else {
                    y.copy_from_slice(&x[(from + number) * inner..][..inner]);
                }
            }
        });
    }
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real(self.name(), &inputs[..1])?;
        let (x, indices) = (inputs[0].shape, inputs[1].shape);
        let refuse = |detail: String| Err(Error::op("gather", detail));
        if inputs[1].dtype != DType::Index {
            return refuse(format!("what is to be taken of {x} must be indices, not real numbers of shape {indices}"));
        }
        if self.axis >= x.rank() {
            return refuse(format!("shape {x} has no axis {}", self.axis));
        }
        if let Some(skip) = self.skip.filter(|&skip| skip > x[self.axis]) {
            return refuse(format!(
                "the number {skip} cannot be left out: axis {} of {x} has {} elements, and {} is the greatest number for none of \
                 them",
                self.axis, x[self.axis], x[self.axis]
            ));
        }
        if self.each {
            let fits = x.rank() == indices.rank() && (0..x.rank()).all(|i| i == self.axis || x[i] == indices[i]);
            if !fits {
                return refuse(format!(
                    "the indices have shape {indices}, but must have that of {x} except along axis {}",
                    self.axis
                ));
            }
            return Ok(vec![Spec::real(indices)]);
        }
        let dims = [&x.dims()[..self.axis], indices.dims(), &x.dims()[self.axis + 1..]].concat();
        if dims.len() > MAX_RANK {
            return refuse(format!("indices of shape {indices} of {x} give {dims:?}, more than {MAX_RANK} axes"));
        }
        Ok(vec![Spec::real(&dims[..])])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None, None]) };
        let op = GatherGradient { gather: *self, shape: graph.shape(node.inputs[0]) };
        Ok(vec![Some(graph.apply_one(op, &[dy, node.inputs[1]])?), None])
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let elements = outputs[0].shape.elements();
        vec![Launch {
            shader: &GATHER,
            constants: self.constants(self.sizes(inputs[0].shape, inputs[1].shape), elements),
            operands: vec![Operand::Input(0), Operand::Input(1), Operand::Output(0)],
            workgroups: grid(elements.div_ceil(PER_WORKGROUP)),
        }]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        // Of x is read what is written.
        Cost::streaming(0.0, &[inputs[1], outputs[0]], outputs)
    }

    fn index_bound(&self, input: usize, inputs: &[Spec]) -> Option<usize> {
        (input == 1).then(|| self.bound(inputs[0].shape[self.axis]))
    }
}

impl Op for GatherGradient {
    fn name(&self) -> &'static str {
        "gather_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let y = self.gather.outputs(&[Spec::real(self.shape), inputs[1]])?[0];
        super::same(self.name(), "the gradient", inputs[0], "the output", y)?;
        Ok(vec![Spec::real(self.shape)])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let (sizes, elements) = (self.gather.sizes(self.shape, inputs[1].shape), outputs[0].shape.elements());
        let launch = |first: usize| {
            let mut constants = self.gather.constants(sizes, elements);
            constants.extend([("FIRST", first as f64), ("END", (first + PER_LAUNCH).min(sizes.count) as f64)]);
            Launch {
                shader: &GATHER_GRADIENT,
                constants,
                operands: vec![Operand::Input(0), Operand::Input(1), Operand::Output(0)],
                workgroups: grid(elements.div_ceil(64)),
            }
        };
        (0..sizes.count).step_by(PER_LAUNCH).map(launch).collect()
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(inputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn index_bound(&self, input: usize, _: &[Spec]) -> Option<usize> {
        (input == 1).then(|| self.gather.bound(self.shape[self.gather.axis]))
    }
}

impl GatherGradient {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (dy, indices, parallel) = (kernel.input(0), kernel.indices(1), kernel.parallel());
        let (gather, sizes) = (self.gather, self.gather.sizes(self.shape, kernel.input_spec(1).shape));
        let Sizes { len, inner, count, .. } = sizes;
        // A task has several items where they are small, else some rows of one.
        let items = (PER_TASK / (len * inner)).max(1);
        let rows = if items > 1 { len } else { (PER_TASK / inner).max(len.div_ceil(MAX_PIECES)).clamp(1, len) };
        parallel.for_pieces(Blocks::new(kernel.output(), len * inner, [items, rows * inner]), |_, mut dx| {
            let (first, end) = (dx.columns().start / inner, dx.columns().end / inner);
            for o in dx.rows() {
                let dx = dx.row(o);
                dx.fill(T::ZERO);
                let own = |number: usize| (first..end).contains(&number) && Some(number) != gather.skip;
                for (row, dy) in (o * count..).zip(dy[o * count * inner..(o + 1) * count * inner].chunks_exact(inner)) {
                    if gather.each {
                        for (i, &dy) in dy.iter().enumerate() {
                            let number = gather.number(indices, sizes, row, i);
                            if own(number) {
                                dx[(number - first) * inner + i] += dy;
                            }
                        }
                        continue;
                    }
                    let number = gather.number(indices, sizes, row, 0);
                    if own(number) {
                        let dx = &mut dx[(number - first) * inner..][..inner];
                        dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy);
                    }
                }
            }
        });
    }
}

impl Op for OneHot {
    fn name(&self) -> &'static str {
        "one_hot"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let Spec { shape, dtype } = inputs[0];
        if dtype != DType::Index || shape.rank() == MAX_RANK {
            let detail =
                format!("needs indices of at most {} axes, not {dtype:?} numbers of shape {shape}", MAX_RANK - 1);
            return Err(Error::op(self.name(), detail));
        }
        let mut dims = shape.dims().to_vec();
        dims.push(self.classes);
        Ok(vec![Spec::real(&dims[..])])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, _: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let elements = outputs[0].shape.elements();
        vec![Launch {
            shader: &ONE_HOT,
            constants: vec![("ELEMENTS", elements as f64), ("CLASSES", self.classes as f64)],
            operands: vec![Operand::Input(0), Operand::Output(0)],
            workgroups: grid(elements.div_ceil(PER_WORKGROUP)),
        }]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(0.0, inputs, outputs)
    }

    fn index_bound(&self, input: usize, _: &[Spec]) -> Option<usize> {
        (input == 0).then_some(self.classes)
    }
}

impl OneHot {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (indices, classes, parallel) = (kernel.indices(0), self.classes, kernel.parallel());
        let per_task = (PER_TASK / classes).max(1);
        for_each_piece(parallel, kernel.output(), per_task * classes, |task, y| {
            y.fill(T::ZERO);
            let indices = &indices[task * per_task..];
            y.chunks_exact_mut(classes).zip(indices).for_each(|(y, &index)| y[index as usize] = T::ONE);
        });
    }
}
