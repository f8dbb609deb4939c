//! Max pooling of images, as PyTorch's `MaxPool2d`: padding counts as minus infinity, and of equal elements the first in
//! the window gets the gradient.

use super::lanes;
use super::relu::PER_WORKGROUP;
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{Cost, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, SharedMut, Value, grid, no_gradient};
use crate::shader;
use crate::tensor::{Real, Shape, Spec};

static FORWARD: Shader = shader!("max_pool2d");
static GRADIENT: Shader = shader!("max_pool2d_gradient");

/// Elements that a task of the CPU kernels works on, about.
const PER_TASK: usize = 8192;

/// The windows of a pooling, rows first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Elements of a window along each axis.
    pub kernel: [usize; 2],
    /// Distance between windows.
    pub stride: [usize; 2],
    /// Rows and columns of padding on each side: at most half the kernel.
    pub padding: [usize; 2],
    /// Distance between the elements of a window.
    pub dilation: [usize; 2],
}

impl Windows {
    /// Square windows side by side.
    pub fn square(size: usize) -> Self {
        Self { kernel: [size; 2], stride: [size; 2], padding: [0; 2], dilation: [1; 2] }
    }

    /// The number of windows along an axis of `len`, if at least one fits.
    fn count(&self, axis: usize, len: usize) -> Option<usize> {
        let span = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
        (len + 2 * self.padding[axis]).checked_sub(span).map(|room| room / self.stride[axis] + 1)
    }

    /// The first of `count` windows along an axis of `len` that has no element in it: dilation carries it over the whole axis.
    fn empty(&self, axis: usize, len: usize, count: usize) -> Option<usize> {
        let inside = |window: usize, i: usize| {
            let at = window * self.stride[axis] + i * self.dilation[axis];
            (self.padding[axis]..self.padding[axis] + len).contains(&at)
        };
        (0..count).find(|&window| !(0..self.kernel[axis]).any(|i| inside(window, i)))
    }

    fn constants(&self, x: Shape, y: Shape) -> Vec<(&'static str, f64)> {
        let names = ["PLANES", "H", "W", "OH", "OW", "KH", "KW", "SH", "SW", "PH", "PW", "DH", "DW"];
        let ([kh, kw], [sh, sw], [ph, pw], [dh, dw]) = (self.kernel, self.stride, self.padding, self.dilation);
        let values = [x[0] * x[1], x[2], x[3], y[2], y[3], kh, kw, sh, sw, ph, pw, dh, dw];
        names.into_iter().zip(values.map(|value| value as f64)).collect()
    }
}

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
    /// Where x is not of rank 4, a size is zero, the padding is more than half the kernel, the kernel spans more than
    /// the padded input, or a window lies in the padding alone.
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
        let (x, windows) = (inputs[0].shape, &self.windows);
        let refuse = |detail: String| Err(Error::op("max_pool2d", detail));
        if x.rank() != 4 {
            return refuse(format!("the input has shape {x}, but must be [N, C, H, W]"));
        }
        let mut sizes = [0; 2];
        for axis in 0..2 {
            let (kernel, stride, dilation) = (windows.kernel[axis], windows.stride[axis], windows.dilation[axis]);
            if kernel == 0 || stride == 0 || dilation == 0 {
                return refuse(format!("kernel {kernel}, stride {stride} and dilation {dilation} must not be zero"));
            }
            if 2 * windows.padding[axis] > kernel {
                let padding = windows.padding[axis];
                return refuse(format!("the padding {padding} is more than half the kernel {kernel}"));
            }
            let Some(count) = windows.count(axis, x[2 + axis]) else {
                return refuse(format!(
                    "kernel {:?} with dilation {:?} and padding {:?} is larger than the padded input {x}",
                    windows.kernel, windows.dilation, windows.padding
                ));
            };
            if let Some(window) = windows.empty(axis, x[2 + axis], count) {
                return refuse(format!(
                    "window {window} along axis {} of the input {x} lies in the padding alone: kernel {:?}, dilation {:?}, \
                     padding {:?}; choose a smaller dilation or less padding",
                    2 + axis,
                    windows.kernel,
                    windows.dilation,
                    windows.padding
                ));
            }
            sizes[axis] = count;
        }
        Ok(vec![Spec::real([x[0], x[1], sizes[0], sizes[1]]); 2])
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
}

impl MaxPool2d {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, shape, out) = (kernel.input(0), kernel.input_spec(0).shape, kernel.output_spec(0).shape);
        let (h, w, oh, ow, parallel) = (shape[2], shape[3], out[2], out[3], kernel.parallel());
        let Windows { kernel: [kh, kw], stride, padding, dilation } = self.windows;
        let planes = shape[0] * shape[1];
        let per_task = (PER_TASK / (oh * ow * kh * kw)).max(1);
        let [y, choice] = kernel.outputs().map(|slice| SharedMut::new(slice));
        parallel.run(planes.div_ceil(per_task), &|task, _| {
            let range = task * per_task..(task * per_task + per_task).min(planes);
            // SAFETY: every plane belongs to one task.
            let [y, choice] =
                [&y, &choice].map(|shared| unsafe { shared.slice(range.start * oh * ow..range.end * oh * ow) });
            for (o, (y, choice)) in y.iter_mut().zip(choice).enumerate() {
                let x = &x[(range.start + o / (oh * ow)) * h * w..][..h * w];
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
}

impl MaxPool2dGradient {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (dy, choice, shape) = (kernel.input(0), kernel.input(1), kernel.input_spec(0).shape);
        let ([h, w], oh, ow, parallel) = (self.input, shape[2], shape[3], kernel.parallel());
        let Windows { kernel: [_, kw], stride, padding, dilation } = self.windows;
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
