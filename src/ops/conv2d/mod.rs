//! Two-dimensional convolution (cross-correlation, as in deep learning):
//!
//! `y[n, o, i, j] = b[o] + sum over c, u, v of x[n, g*Cg + c, i*sh + u*dh - ph, j*sw + v*dw - pw] * w[o, c, u, v]`
//!
//! with x `[N, C, H, W]`, w `[O, C/groups, KH, KW]`, b `[O]`, and y `[N, O, OH, OW]`, where
//! `OH = (H + 2 ph - dh (KH - 1) - 1) / sh + 1` rounded down and likewise OW; g is the group of output channel o, Cg =
//! C/groups, and x is zero outside. The definition is PyTorch's `Conv2d`.
//!
//! Its gradients are two further operations: [`Conv2dInputGradient`] and [`Conv2dWeightGradient`].

mod cpu;
mod gpu;

use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{Cost, Division, Gradient, Graph, Launch, Op, Target, Value, no_gradient};
pub use crate::kernels::conv2d::{ConvOptions, ConvSizes};
use crate::tensor::Spec;
use std::sync::Arc;

/// `y = conv(x, w) + b`, optionally followed by a ReLU. Inputs x, w and, with `bias`, b; output y.
#[derive(Clone, Copy, Debug)]
pub struct Conv2d {
    /// Stride, padding, dilation, groups.
    pub options: ConvOptions,
    /// Whether there is a third input b.
    pub bias: bool,
    /// Whether `max(., 0)` is taken of the result; see [`fuse`](crate::fusion::fuse).
    pub relu: bool,
}

/// The gradient of a convolution with respect to x: inputs dy and w, output dx.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dInputGradient {
    /// The convolution's sizes.
    pub sizes: ConvSizes,
}

/// The gradient of a convolution with respect to w and, with `bias`, b: inputs x and dy, outputs dw and db.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dWeightGradient {
    /// The convolution's sizes.
    pub sizes: ConvSizes,
    /// Whether there is a second output db.
    pub bias: bool,
}

impl Graph {
    /// Convolution of x `[N, C, H, W]` with w `[O, C/groups, KH, KW]`, plus b `[O]`.
    ///
    /// # Errors
    /// If shapes or groups do not fit, or the kernel spans more than the padded input.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// # use humdinger::ops::ConvOptions;
    /// let x = graph.constant([1, 1, 1, 4], vec![1.0, 2.0, 4.0, 8.0])?;
    /// let w = graph.constant([1, 1, 1, 2], vec![-1.0, 1.0])?;
    /// let y = graph.conv2d(x, w, None, ConvOptions::default())?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [1.0, 2.0, 4.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn conv2d(&mut self, x: Value, w: Value, b: Option<Value>, options: ConvOptions) -> Result<Value> {
        let op = Conv2d { options, bias: b.is_some(), relu: false };
        let inputs: Vec<Value> = [x, w].into_iter().chain(b).collect();
        self.apply_one(op, &inputs)
    }
}

/// The gradients of a convolution with bias, given the gradient dy of the loss with respect to its output: dx, dw, db.
///
/// # Errors
/// If the shapes do not fit.
pub fn conv2d_gradients(graph: &mut Graph, x: Value, w: Value, dy: Value, options: ConvOptions) -> Result<[Value; 3]> {
    let sizes = ConvSizes::new("conv2d", &graph.spec(x), &graph.spec(w), options)?;
    let dx = graph.apply_one(Conv2dInputGradient { sizes }, &[dy, w])?;
    let made = graph.apply(Conv2dWeightGradient { sizes, bias: true }, &[x, dy])?;
    Ok([dx, made[0], made[1]])
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        if self.relu { "conv2d_relu" } else { "conv2d" }
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let sizes = ConvSizes::new("conv2d", &inputs[0], &inputs[1], self.options)?;
        if self.bias && inputs[2] != Spec::real([inputs[1].shape[0]]) {
            let detail = format!("the bias must have shape [{}], got {}", inputs[1].shape[0], inputs[2].shape);
            return Err(Error::op("conv2d", detail));
        }
        Ok(vec![sizes.y_spec()])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(mut dy) = node.arriving[0] else { return Ok(vec![None; node.inputs.len()]) };
        if self.relu {
            dy = graph.apply_one(super::ReluGradient, &[dy, node.outputs[0]])?;
        }
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let sizes = ConvSizes::new("conv2d", &graph.spec(x), &graph.spec(w), self.options)?;
        let mut gradients = vec![None; node.inputs.len()];
        if node.wanted[0] {
            gradients[0] = Some(graph.apply_one(Conv2dInputGradient { sizes }, &[dy, w])?);
        }
        if node.wanted[1..].contains(&true) {
            let made = graph.apply(Conv2dWeightGradient { sizes, bias: self.bias }, &[x, dy])?;
            for (gradient, made) in gradients[1..].iter_mut().zip(made) {
                *gradient = Some(made);
            }
        }
        Ok(gradients)
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        self.launches(inputs, outputs)
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        let flops = 2.0 * (outputs[0].shape.elements() * inputs[1].shape.elements() / inputs[1].shape[0]) as f64;
        Cost::streaming(flops, inputs, outputs)
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        Division::Rows { inputs: (0..inputs.len()).map(|i| i == 0).collect() }
    }

    fn scratch(&self, inputs: &[Spec], outputs: &[Spec], target: Target) -> Vec<usize> {
        self.temporaries(inputs, outputs, target)
    }

    fn private_scratch(&self, inputs: &[Spec], _: &[Spec]) -> usize {
        self.private(inputs)
    }
}

impl Op for Conv2dInputGradient {
    fn name(&self) -> &'static str {
        "conv2d_input_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        check(self.name(), &inputs[0], &self.sizes.y_spec())?;
        check(self.name(), &inputs[1], &self.sizes.w_spec())?;
        Ok(vec![self.sizes.x_spec()])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        self.launches(inputs, outputs)
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(self.sizes.flops(), inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows_of(&[true, false])
    }

    fn of_rows(&self, items: usize, own: usize) -> Option<Arc<dyn Op>> {
        Some(Arc::new(Self { sizes: ConvSizes { items: self.sizes.items / items * own, ..self.sizes } }))
    }

    fn scratch(&self, inputs: &[Spec], outputs: &[Spec], target: Target) -> Vec<usize> {
        self.temporaries(inputs, outputs, target)
    }

    fn private_scratch(&self, _: &[Spec], _: &[Spec]) -> usize {
        self.private()
    }
}

impl Op for Conv2dWeightGradient {
    fn name(&self) -> &'static str {
        "conv2d_weight_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        check(self.name(), &inputs[0], &self.sizes.x_spec())?;
        check(self.name(), &inputs[1], &self.sizes.y_spec())?;
        let w = self.sizes.w_spec();
        let b = Spec::real([w.shape[0]]);
        Ok([w].into_iter().chain(self.bias.then_some(b)).collect())
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        self.launches(inputs, outputs)
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(self.sizes.flops(), inputs, outputs)
    }

    fn scratch(&self, inputs: &[Spec], outputs: &[Spec], target: Target) -> Vec<usize> {
        self.temporaries(inputs, outputs, target)
    }

    fn private_scratch(&self, _: &[Spec], _: &[Spec]) -> usize {
        self.private()
    }
}

fn check(op: &'static str, got: &Spec, wanted: &Spec) -> Result<()> {
    if got != wanted {
        return Err(Error::op(op, format!("wants shape {}, got {}", wanted.shape, got.shape)));
    }
    Ok(())
}
