//! Max pooling of images, as PyTorch's `MaxPool2d`: padding counts as minus infinity, and of equal elements the first in
//! the window gets the gradient.

use super::relu::PER_WORKGROUP;
use super::windows::Windows;
use crate::cpu_kernels;
use crate::error::Result;
use crate::graph::{
    Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Stretches, Value, grid, no_gradient,
};
use crate::kernels::lanes;
use crate::shader;
use crate::tensor::{Real, Spec};

static FORWARD: Shader = shader!("max_pool2d", "nan", "windows");
static GRADIENT: Shader = shader!("max_pool2d_gradient", "windows");

/// Elements that a task of the CPU kernels works on, about.
const PER_TASK: usize = 8192;

/// Input x `[N, C, H, W]`; outputs y `[N, C, OH, OW]`, and which element of each window it is (its number in the window,
/// row by row), for the gradient.
#[derive(Debug)]
pub struct MaxPool2d {
    /// The windows.
    pub windows: Windows,
}

/// Gives every dy to the element that was the greatest. Inputs dy and the numbers that [`MaxPool2d`] noted, output dx.
#[derive(Debug)]
pub struct MaxPool2dGradient {
    /// The windows.
    pub windows: Windows,
    /// Rows and columns of the pooling's input.
    pub input: [usize; 2],
}

impl Graph {
    /// The maximum over each window of `x` `[N, C, H, W]`.
    ///
    /// # Errors
    /// If x is not of rank 4, a size is zero, the padding is more than half the kernel, the kernel spans more than
    /// the padded input, or a window lies in the padding alone.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// # use humdinger::ops::Windows;
    /// let x = graph.constant([1, 1, 2, 4], vec![1.0, 2.0, 3.0, 4.0, 8.0, 7.0, 6.0, 5.0])?;
    /// let y = graph.max_pool2d(x, Windows::square(2))?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [8.0, 6.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn max_pool2d(&mut self, x: Value, windows: Windows) -> Result<Value> {
        self.apply_one(MaxPool2d { windows }, &[x])
    }
}

impl Op for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real(self.name(), inputs)?;
        Ok(vec![Spec::real(self.windows.output(self.name(), inputs[0].shape)?); 2])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None]) };
        let x = graph.shape(node.inputs[0]);
        let op = MaxPool2dGradient { windows: self.windows, input: [x[2], x[3]] };
        Ok(vec![Some(graph.apply_one(op, &[dy, node.outputs[1]])?)])
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        vec![Launch {
            shader: &FORWARD,
            constants: self.windows.constants(inputs[0].shape, outputs[0].shape),
            operands: vec![Operand::Input(0), Operand::Output(0), Operand::Output(1)],
            workgroups: grid(outputs[0].shape.elements().div_ceil(64)),
        }]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        let window = self.windows.kernel[0] * self.windows.kernel[1];
        Cost::streaming((outputs[0].shape.elements() * window) as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows(1)
    }
}

impl MaxPool2d {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, shape, out) = (kernel.input(0), kernel.input_spec(0).shape, kernel.output_spec(0).shape);
        let (h, w, oh, ow, parallel) = (shape[2], shape[3], out[2], out[3], kernel.parallel());
        let Windows { kernel: [kh, kw], stride, padding, dilation, .. } = self.windows;
        let per_task = (PER_TASK / (oh * ow * kh * kw)).max(1);
        let [y, choice] = kernel.outputs();
        let planes = |data| Stretches::new(data, per_task * oh * ow);
        parallel.for_pieces((planes(y), planes(choice)), |task, (y, choice)| {
            let first = task * per_task;
            for (o, (y, choice)) in y.iter_mut().zip(choice).enumerate() {
                let x = &x[(first + o / (oh * ow)) * h * w..][..h * w];
                let (row, column) = (o / ow % oh * stride[0], o % ow * stride[1]);
                let (mut best, mut at) = (T::NEG_INFINITY, None);
                for i in 0..kh {
                    let Some(r) = (row + i * dilation[0]).checked_sub(padding[0]).filter(|&r| r < h) else { continue };
                    for j in 0..kw {
                        let c = (column + j * dilation[1]).checked_sub(padding[1]).filter(|&c| c < w);
                        let Some(c) = c else { continue };
                        let value = x[r * w + c];
                        if at.is_none() || value > best || value.is_nan() {
                            (best, at) = (value, Some(i * kw + j));
                        }
                    }
                }
                (*y, *choice) = (best, T::from_f64(at.unwrap_or(0) as f64));
            }
        });
    }
}

impl Op for MaxPool2dGradient {
    fn name(&self) -> &'static str {
        "max_pool2d_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::same(self.name(), "the gradient", inputs[0], "the output", inputs[1])?;
        let dy = inputs[0].shape;
        Ok(vec![Spec::real([dy[0], dy[1], self.input[0], self.input[1]])])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        vec![Launch {
            shader: &GRADIENT,
            constants: self.windows.constants(outputs[0].shape, inputs[0].shape),
            operands: vec![Operand::Input(0), Operand::Input(1), Operand::Output(0)],
            workgroups: grid(outputs[0].shape.elements().div_ceil(PER_WORKGROUP)),
        }]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(inputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows(2)
    }
}

impl MaxPool2dGradient {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (dy, choice, shape) = (kernel.input(0), kernel.input(1), kernel.input_spec(0).shape);
        let ([h, w], oh, ow, parallel) = (self.input, shape[2], shape[3], kernel.parallel());
        let Windows { kernel: [_, kw], stride, padding, dilation, .. } = self.windows;
        let planes = (PER_TASK / (h * w).max(oh * ow)).max(1);
        crate::graph::for_each_piece(parallel, kernel.output(), planes * h * w, |task, dx| {
            lanes::dispatch(
                #[inline(always)]
                || dx.fill(T::ZERO),
            );
            for (p, dx) in dx.chunks_exact_mut(h * w).enumerate() {
                let start = (task * planes + p) * oh * ow;
                let range = start..start + oh * ow;
                for (o, (&dy, &choice)) in dy[range.clone()].iter().zip(&choice[range]).enumerate() {
                    let choice = choice.to_f64() as usize;
                    // The chosen element lies inside the image.
                    let r = o / ow * stride[0] + choice / kw * dilation[0] - padding[0];
                    let c = o % ow * stride[1] + choice % kw * dilation[1] - padding[1];
                    dx[r * w + c] += dy;
                }
            }
        });
    }
}
