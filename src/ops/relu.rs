//! ReLU: `y = max(x, 0)`, for any shape. A NaN stays a NaN.

use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Value, for_each_piece, grid, no_gradient,
};
use crate::shader;
use crate::tensor::{Real, Spec};

static RELU: Shader = shader!("relu", "nan");
static RELU_GRADIENT: Shader = shader!("relu_gradient", "nan");

/// Elements per workgroup of the elementwise kernels: 64 invocations with four elements each.
pub(super) const PER_WORKGROUP: usize = 256;
/// Elements per task on the CPU: large enough that handing out a task does not show.
pub(super) const PER_TASK: usize = 8192;

/// `y = max(x, 0)`. Input x, output y, both of any one shape.
#[derive(Clone, Debug)]
pub struct Relu;

/// `dx = 0` where `y <= 0`, else dy. So dy is passed on where y is NaN, as in PyTorch. Inputs dy and y (the ReLU's
/// output, so that its input need not be kept).
#[derive(Clone, Debug)]
pub struct ReluGradient;

impl Graph {
    /// `max(x, 0)`, element by element.
    ///
    /// # Errors
    /// Never for real numbers.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([3], vec![1.5, -2.0, 0.0])?;
    /// let y = graph.relu(x)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [1.5, 0.0, 0.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn relu(&mut self, x: Value) -> Result<Value> {
        self.apply_one(Relu, &[x])
    }
}

fn launch(shader: &'static Shader, len: usize, operands: Vec<Operand>) -> Vec<Launch> {
    let workgroups = grid(len.div_ceil(PER_WORKGROUP));
    vec![Launch { shader, constants: vec![("LEN", len as f64)], operands, workgroups }]
}

impl Op for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        Ok(vec![inputs[0]])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None]) };
        Ok(vec![Some(graph.apply_one(ReluGradient, &[dy, node.outputs[0]])?)])
    }

    cpu_kernels!();

    fn gpu(&self, _: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        launch(&RELU, outputs[0].shape.elements(), vec![Operand::Input(0), Operand::Output(0)])
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows(1)
    }
}

impl Relu {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, parallel) = (kernel.input(0), kernel.parallel());
        for_each_piece(parallel, kernel.output(), PER_TASK, |i, y| {
            let x = &x[i * PER_TASK..][..y.len()];
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = x.max(T::ZERO));
        });
    }
}

impl Op for ReluGradient {
    fn name(&self) -> &'static str {
        "relu_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        if inputs[0] != inputs[1] {
            let detail = format!("the gradient has shape {}, the output {}", inputs[0].shape, inputs[1].shape);
            return Err(Error::op("relu_gradient", detail));
        }
        Ok(vec![inputs[0]])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient("relu_gradient")
    }

    cpu_kernels!();

    fn gpu(&self, _: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let operands = vec![Operand::Input(0), Operand::Input(1), Operand::Output(0)];
        launch(&RELU_GRADIENT, outputs[0].shape.elements(), operands)
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows(2)
    }
}

impl ReluGradient {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (dy, y, parallel) = (kernel.input(0), kernel.input(1), kernel.parallel());
        for_each_piece(parallel, kernel.output(), PER_TASK, |i, dx| {
            let (dy, y) = (&dy[i * PER_TASK..][..dx.len()], &y[i * PER_TASK..][..dx.len()]);
            for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
                *dx = if y <= T::ZERO { T::ZERO } else { dy };
            }
        });
    }
}
