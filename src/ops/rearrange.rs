//! Copies of a tensor with its axes in another order (`permute`) or repeated (`expand`).

use super::relu::{PER_TASK, PER_WORKGROUP};
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{Blocks, Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Value, grid};
use crate::kernels::lanes;
use crate::kernels::strided::{A_STRIDES, DIMS, Walk, broadcast, broadcast_strides};
use crate::shader;
use crate::tensor::{MAX_RANK, Real, Shape, Spec};
use std::sync::Arc;

static STRIDED_COPY: Shader = shader!("strided_copy");

/// Axis i of the output is axis `order[i]` of the input.
#[derive(Debug)]
pub struct Permute {
    /// A permutation of the axes.
    pub order: Vec<usize>,
}

/// The input repeated along axes of length 1, and along new axes before the first (NumPy's broadcasting).
#[derive(Clone, Debug)]
pub struct Expand {
    /// The output's shape.
    pub shape: Shape,
}

impl Graph {
    /// The axes in another order: axis i of the result is axis `order[i]` of `x`.
    ///
    /// # Errors
    /// If `order` is not a permutation of the axes.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([1, 2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
    /// let y = graph.permute(x, &[2, 0, 1])?;
    /// assert_eq!(graph.evaluate(y, &[])?.shape().dims(), [3, 1, 2]);
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn permute(&mut self, x: Value, order: &[usize]) -> Result<Value> {
        self.apply_one(Permute { order: order.to_vec() }, &[x])
    }

    /// Two axes exchanged.
    ///
    /// # Errors
    /// If there is no such axis.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
    /// let y = graph.transpose(x, 0, 1)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn transpose(&mut self, x: Value, a: usize, b: usize) -> Result<Value> {
        let shape = self.shape(x);
        if a.max(b) >= shape.rank() {
            return Err(Error::op("transpose", format!("shape {shape} has no axis {}", a.max(b))));
        }
        let mut order: Vec<usize> = (0..shape.rank()).collect();
        order.swap(a, b);
        self.permute(x, &order)
    }

    /// `x` repeated to a larger shape by NumPy's broadcasting.
    ///
    /// # Errors
    /// If it does not broadcast to that shape.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([2, 1], vec![1.0, 2.0])?;
    /// let y = graph.expand(x, [2, 3])?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn expand(&mut self, x: Value, shape: impl Into<Shape>) -> Result<Value> {
        self.apply_one(Expand { shape: shape.into() }, &[x])
    }
}

impl Op for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real("permute", inputs)?;
        let shape = inputs[0].shape;
        let valid = self.order.len() == shape.rank() && (0..shape.rank()).all(|axis| self.order.contains(&axis));
        if !valid {
            let detail = format!("{:?} is not an order of the {} axes of shape {shape}", self.order, shape.rank());
            return Err(Error::op("permute", detail));
        }
        let dims: Vec<usize> = self.order.iter().map(|&axis| shape[axis]).collect();
        Ok(vec![Spec::real(&dims[..])])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None]) };
        let mut back = vec![0; self.order.len()];
        self.order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        Ok(vec![Some(graph.permute(dy, &back)?)])
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        launch(&self.walk(inputs[0].shape, outputs[0].shape))
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(0.0, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        if self.order.first() == Some(&0) { Division::rows(1) } else { Division::Whole }
    }
}

impl Permute {
    fn walk(&self, x: Shape, y: Shape) -> Walk<1> {
        let own = broadcast_strides(x, x);
        let mut strides = [0; MAX_RANK];
        self.order.iter().enumerate().for_each(|(to, &from)| strides[to] = own[from]);
        Walk::new(y.dims(), [strides])
    }

    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let walk = self.walk(kernel.input_spec(0).shape, kernel.output_spec(0).shape);
        copy(kernel, &walk);
    }
}

impl Op for Expand {
    fn name(&self) -> &'static str {
        "expand"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real("expand", inputs)?;
        if broadcast(inputs[0].shape, self.shape) != Some(self.shape) {
            let detail = format!("shape {} does not broadcast to {}", inputs[0].shape, self.shape);
            return Err(Error::op("expand", detail));
        }
        Ok(vec![Spec::real(self.shape)])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None]) };
        let shape = graph.shape(node.inputs[0]);
        Ok(vec![Some(graph.sum_to(dy, shape)?)])
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let (x, y) = (inputs[0].shape, outputs[0].shape);
        launch(&Walk::new(y.dims(), [broadcast_strides(x, y)]))
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(0.0, inputs, outputs)
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        // The axis of items may be one of those along which x is repeated.
        Division::rows_of(&[inputs[0].shape.rank() == self.shape.rank() && inputs[0].shape[0] == self.shape[0]])
    }

    fn of_rows(&self, items: usize, own: usize) -> Option<Arc<dyn Op>> {
        Some(Arc::new(Self { shape: self.shape.of_rows(items, own) }))
    }
}

impl Expand {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, y) = (kernel.input_spec(0).shape, kernel.output_spec(0).shape);
        copy(kernel, &Walk::new(y.dims(), [broadcast_strides(x, y)]));
    }
}

fn launch(walk: &Walk<1>) -> Vec<Launch> {
    let len = walk.rows() * walk.row();
    let mut launch = Launch {
        shader: &STRIDED_COPY,
        constants: vec![("LEN", len as f64)],
        operands: vec![Operand::Input(0), Operand::Output(0)],
        workgroups: grid(len.div_ceil(PER_WORKGROUP)),
    };
    walk.put_dims(&mut launch, &DIMS);
    walk.put_strides(&mut launch, 0, &A_STRIDES);
    vec![launch]
}

fn copy<T: Real>(kernel: &mut Kernel<'_, T>, walk: &Walk<1>) {
    let (x, parallel) = (kernel.input(0), kernel.parallel());
    let (row, [step]) = (walk.row(), walk.row_strides());
    let (per_task, pieces) = ((PER_TASK / row).max(1), row.div_ceil(PER_TASK));
    let blocks = Blocks::new(kernel.output(), row, [per_task, if pieces == 1 { row } else { PER_TASK }]);
    parallel.for_pieces(blocks, |_, mut y| {
        let start = y.columns().start;
        lanes::dispatch(
            #[inline(always)]
            || {
                walk.for_rows(y.rows(), |r, [at]| {
                    let y = y.row(r);
                    let x = &x[at + start * step..];
                    match step {
                        0 => y.fill(x[0]),
                        1 => y.copy_from_slice(&x[..y.len()]),
                        _ => y.iter_mut().zip(x.iter().step_by(step)).for_each(|(y, &x)| *y = x),
                    }
                });
            },
        );
    });
}
