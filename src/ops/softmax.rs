//! Log-softmax over the last axis: `y = x - log(sum(exp(x)))`, computed from `x - max(x)` so that nothing overflows.

use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Value, for_each_piece, grid, no_gradient,
};
use crate::kernels::lanes;
use crate::shader;
use crate::tensor::{Real, Spec};

static FORWARD: Shader = shader!("log_softmax", "total");
static GRADIENT: Shader = shader!("log_softmax_gradient", "total");

/// Elements that a task of the CPU kernels works on, about: each costs an exponential.
const PER_TASK: usize = 2048;

/// Input x of rank 1 or more, output y of the same shape.
#[derive(Debug)]
pub struct LogSoftmax;

/// `dx = dy - exp(y) sum(dy)`. Inputs dy and y, output dx.
#[derive(Debug)]
pub struct LogSoftmaxGradient;

impl Graph {
    /// The logarithm of the softmax over the last axis.
    ///
    /// # Errors
    /// If x has no axis.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([1, 2], vec![7.0, 7.0])?;
    /// let y = graph.log_softmax(x)?;
    /// assert!(graph.evaluate(y, &[])?.data().iter().all(|y| (y - 0.5f64.ln()).abs() < 1e-12));
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn log_softmax(&mut self, x: Value) -> Result<Value> {
        self.apply_one(LogSoftmax, &[x])
    }

    /// The logarithm of the softmax over an axis, which is brought to the end and back.
    ///
    /// # Errors
    /// If x has no such axis.
    pub fn log_softmax_over(&mut self, x: Value, axis: usize) -> Result<Value> {
        let shape = self.shape(x);
        if axis >= shape.rank() {
            return Err(Error::op("log_softmax", format!("shape {shape} has no axis {axis}")));
        }
        let last = shape.rank() - 1;
        if axis == last {
            return self.log_softmax(x);
        }
        let transposed = self.transpose(x, axis, last)?;
        let y = self.log_softmax(transposed)?;
        self.transpose(y, axis, last)
    }
}

fn row(spec: Spec) -> usize {
    spec.shape.dims()[spec.shape.rank() - 1]
}

fn launch(shader: &'static Shader, spec: Spec, operands: Vec<Operand>) -> Vec<Launch> {
    let rows = spec.shape.elements() / row(spec);
    let constants = vec![("ROWS", rows as f64), ("ROW", row(spec) as f64)];
    vec![Launch { shader, constants, operands, workgroups: grid(rows) }]
}

/// Writes the log-softmax of a row.
#[inline(always)]
pub(crate) fn log_softmax_row<T: Real>(x: &[T], y: &mut [T]) {
    let max = lanes::max(x);
    let sum = lanes::sum_by(
        x,
        #[inline(always)]
        |_, x| (x - max).exp(),
    );
    let log = sum.ln();
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = x - max - log);
}

impl Op for LogSoftmax {
    fn name(&self) -> &'static str {
        "log_softmax"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real(self.name(), inputs)?;
        if inputs[0].shape.rank() == 0 {
            return Err(Error::op(self.name(), "shape [] has no last axis; reshape it to [1]"));
        }
        Ok(vec![inputs[0]])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None]) };
        Ok(vec![Some(graph.apply_one(LogSoftmaxGradient, &[dy, node.outputs[0]])?)])
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        launch(&FORWARD, inputs[0], vec![Operand::Input(0), Operand::Output(0)])
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(10.0 * outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        if inputs[0].shape.rank() > 1 { Division::rows(1) } else { Division::Whole }
    }
}

impl LogSoftmax {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, row, parallel) = (kernel.input(0), row(kernel.input_spec(0)), kernel.parallel());
        let rows = (PER_TASK / row).max(1);
        for_each_piece(parallel, kernel.output(), rows * row, |i, y| {
            let x = &x[i * rows * row..][..y.len()];
            lanes::dispatch(
                #[inline(always)]
                || x.chunks_exact(row).zip(y.chunks_exact_mut(row)).for_each(|(x, y)| log_softmax_row(x, y)),
            );
        });
    }
}

impl Op for LogSoftmaxGradient {
    fn name(&self) -> &'static str {
        "log_softmax_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::same(self.name(), "the gradient", inputs[0], "the output", inputs[1])?;
        Ok(vec![inputs[0]])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        launch(&GRADIENT, inputs[0], vec![Operand::Input(0), Operand::Input(1), Operand::Output(0)])
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(8.0 * outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        if inputs[0].shape.rank() > 1 { Division::rows(2) } else { Division::Whole }
    }
}

impl LogSoftmaxGradient {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (dy, y, row) = (kernel.input(0), kernel.input(1), row(kernel.input_spec(0)));
        let (rows, parallel) = ((PER_TASK / row).max(1), kernel.parallel());
        for_each_piece(parallel, kernel.output(), rows * row, |i, dx| {
            let (dy, y) = (&dy[i * rows * row..][..dx.len()], &y[i * rows * row..][..dx.len()]);
            lanes::dispatch(
                #[inline(always)]
                || {
                    for (dx, (dy, y)) in dx.chunks_exact_mut(row).zip(dy.chunks_exact(row).zip(y.chunks_exact(row))) {
                        let sum = lanes::sum(dy);
                        dx.iter_mut().zip(dy.iter().zip(y)).for_each(|(dx, (&dy, &y))| *dx = dy - y.exp() * sum);
                    }
                },
            );
        });
    }
}
