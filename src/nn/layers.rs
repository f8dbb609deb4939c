//! Layers: modules of one operation and its parameters.
//!
//! Arguments, parameter names and initial values are those of PyTorch's layers.

use super::classifier::Mode;
use super::init::{kaiming_normal, linear_bound, normal, uniform};
use super::module::{Declare, Module, Net};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::ops::{ConvOptions, Windows};
use crate::tensor::{Shape, Tensor};

/// The initial values of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Init {
    /// Uniform in `+-1 / sqrt(fan in)`, biases too: PyTorch's default for convolutions and linear layers.
    #[default]
    Uniform,
    /// Kaiming normal (He et al., 2015) with the gain of a leaky ReLU of this slope; biases are zeros.
    KaimingNormal {
        /// The slope; 0 for ReLU.
        slope: f64,
    },
}

impl Init {
    fn weight(self, to: &mut Declare<'_>, shape: Shape) -> Tensor<f32> {
        match self {
            Self::Uniform => uniform(to.rng(), shape, linear_bound(fan_in(shape))),
            Self::KaimingNormal { slope } => kaiming_normal(to.rng(), shape, slope),
        }
    }

    fn bias(self, to: &mut Declare<'_>, of: Shape) -> Tensor<f32> {
        match self {
            Self::Uniform => uniform(to.rng(), [of[0]], linear_bound(fan_in(of))),
            Self::KaimingNormal { .. } => Tensor::full([of[0]], 0.0),
        }
    }
}

fn fan_in(weight: Shape) -> usize {
    weight.dims()[1..].iter().product::<usize>().max(1)
}

/// `y = x w^T + b`: x `[N, inputs]`, parameters `weight` `[outputs, inputs]` and `bias` `[outputs]`, y `[N, outputs]`.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// Features of an item of x.
    pub inputs: usize,
    /// Features of an item of y.
    pub outputs: usize,
    /// The initial values of the weights.
    pub init: Init,
}

impl Linear {
    /// With PyTorch's initial values.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, init: Init::default() }
    }

    fn weight(&self) -> Shape {
        Shape::from([self.outputs, self.inputs])
    }
}

impl Module for Linear {
    fn declare(&self, to: &mut Declare<'_>) -> Result<()> {
        let (w, b) = (self.init.weight(to, self.weight()), self.init.bias(to, self.weight()));
        to.parameter("weight", w)?;
        to.parameter("bias", b)
    }

    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
        let (w, b) = (net.state("weight")?, net.state("bias")?);
        net.graph.linear(x, w, b)
    }
}

/// Two-dimensional convolution: x `[N, inputs, H, W]`, parameters `weight` `[outputs, inputs / groups, kernel, kernel]` and `bias`
/// `[outputs]`; see [`Graph::conv2d`](crate::graph::Graph::conv2d).
#[derive(Clone, Copy, Debug)]
pub struct Conv2d {
    /// Channels of x.
    pub inputs: usize,
    /// Channels of y.
    pub outputs: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Stride, padding, dilation, groups.
    pub options: ConvOptions,
    /// Whether there is a bias.
    pub bias: bool,
    /// The initial values of the weights.
    pub init: Init,
}

impl Conv2d {
    /// A square kernel, stride 1, no padding, with a bias.
    pub fn new(inputs: usize, outputs: usize, kernel: usize) -> Self {
        let options = ConvOptions::default();
        Self { inputs, outputs, kernel: [kernel; 2], options, bias: true, init: Init::default() }
    }

    /// The same with this stride both ways.
    #[must_use]
    pub fn stride(mut self, stride: usize) -> Self {
        self.options.stride = [stride; 2];
        self
    }

    /// The same with this many zeros on each side.
    #[must_use]
    pub fn padding(mut self, padding: usize) -> Self {
        self.options.padding = [padding; 2];
        self
    }

    fn weight(&self) -> Shape {
        Shape::from([self.outputs, self.inputs / self.options.groups.max(1), self.kernel[0], self.kernel[1]])
    }
}

impl Module for Conv2d {
    fn declare(&self, to: &mut Declare<'_>) -> Result<()> {
        let w = self.init.weight(to, self.weight());
        to.parameter("weight", w)?;
        if self.bias {
            let b = self.init.bias(to, self.weight());
            to.parameter("bias", b)?;
        }
        Ok(())
    }

    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
        let w = net.state("weight")?;
        let b = if self.bias { Some(net.state("bias")?) } else { None };
        net.graph.conv2d(x, w, b, self.options)
    }
}

/// Batch norm over the channels of x `[N, channels]`, `[N, channels, L]` or `[N, channels, H, W]`: parameters `weight` and `bias`,
/// running statistics `running_mean` and `running_var`, all `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// Channels of x.
    pub channels: usize,
    /// Share of the batch in the running statistics (PyTorch's `momentum`).
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
}

impl BatchNorm {
    /// With PyTorch's momentum 0.1 and epsilon 1e-5.
    pub fn new(channels: usize) -> Self {
        Self { channels, momentum: 0.1, epsilon: 1e-5 }
    }
}

impl Module for BatchNorm {
    fn declare(&self, to: &mut Declare<'_>) -> Result<()> {
        let full = |value| Tensor::full([self.channels], value);
        to.parameter("weight", full(1.0))?;
        to.parameter("bias", full(0.0))?;
        to.statistic("running_mean", full(0.0))?;
        to.statistic("running_var", full(1.0))
    }

    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
        let [gamma, beta] = [net.state("weight")?, net.state("bias")?];
        let [mean, variance] = [net.state("running_mean")?, net.state("running_var")?];
        let channel = [gamma, beta, mean, variance];
        if net.mode() == Mode::Evaluate {
            return net.graph.batch_norm_evaluate(x, channel, self.epsilon);
        }
        let made = net.graph.batch_norm(x, channel, self.momentum, self.epsilon)?;
        net.update(mean, made.running_mean)?;
        net.update(variance, made.running_var)?;
        Ok(made.y)
    }
}

/// Layer norm over the last axis: parameters `weight` and `bias` `[features]`.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    /// Length of the last axis.
    pub features: usize,
    /// Added to the variance.
    pub epsilon: f64,
}

impl LayerNorm {
    /// With PyTorch's epsilon 1e-5.
    pub fn new(features: usize) -> Self {
        Self { features, epsilon: 1e-5 }
    }
}

impl Module for LayerNorm {
    fn declare(&self, to: &mut Declare<'_>) -> Result<()> {
        to.parameter("weight", Tensor::full([self.features], 1.0))?;
        to.parameter("bias", Tensor::full([self.features], 0.0))
    }

    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
        let affine = [net.state("weight")?, net.state("bias")?];
        net.graph.layer_norm(x, affine, self.epsilon)
    }
}

/// A row of a table for each index: x holds indices below `rows`, of any shape; the parameter `weight` is `[rows, features]`, drawn from
/// a normal distribution of standard deviation 1; y has one more axis, of `features`.
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    /// How many indices there are.
    pub rows: usize,
    /// Length of a row.
    pub features: usize,
}

impl Module for Embedding {
    fn declare(&self, to: &mut Declare<'_>) -> Result<()> {
        let table = normal(to.rng(), Shape::from([self.rows, self.features]), 1.0);
        to.parameter("weight", table)
    }

    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
        let table = net.state("weight")?;
        net.graph.gather(table, x, 0)
    }
}

/// Dropout (Srivastava et al., 2014). In training it sets elements to zero with probability `p` and divides the others by `1 - p`; in evaluation
/// it does nothing.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// The probability of a zero, at least 0 and below 1.
    pub p: f64,
}

impl Module for Dropout {
    fn declare(&self, _: &mut Declare<'_>) -> Result<()> {
        if (0.0..1.0).contains(&self.p) {
            return Ok(());
        }
        Err(Error::op("dropout", format!("p must be at least 0 and below 1, not {}", self.p)))
    }

    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
        if net.mode() == Mode::Evaluate || self.p == 0.0 {
            return Ok(x);
        }
        let shape = net.graph.shape(x);
        let kept = net.draw(shape, self.p)?;
        net.graph.dropout(x, kept, self.p)
    }
}

/// A layer without parameters that is a function of the graph.
///
/// ```
/// use humdinger::nn::{Function, Sequential};
/// let squares = Sequential::new().then(Function::new(|graph, x| graph.multiply(x, x)));
/// ```
pub struct Function<F>(F);

impl<F: Fn(&mut Graph, Value) -> Result<Value>> Function<F> {
    /// A layer that applies this function to its input.
    pub fn new(function: F) -> Self {
        Self(function)
    }
}

impl<F: Fn(&mut Graph, Value) -> Result<Value>> Module for Function<F> {
    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
        (self.0)(net.graph, x)
    }
}

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident => $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name;

        impl Module for $name {
            fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
                net.graph.$method(x)
            }
        }
    )*};
}

functions! {
    /// `max(x, 0)`
    Relu => relu;
    /// GELU with the error function: `x (1 + erf(x / sqrt 2)) / 2`.
    Gelu => gelu;
    /// The hyperbolic tangent.
    Tanh => tanh;
    /// `1 / (1 + exp(-x))`
    Sigmoid => sigmoid;
}

/// All axes behind the first as one: `[N, ..]` becomes `[N, features]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flatten;

impl Module for Flatten {
    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
        net.graph.flatten(x, 1)
    }
}

/// The largest element of each window of x `[N, C, H, W]`; see [`Graph::max_pool2d`].
#[derive(Clone, Copy, Debug)]
pub struct MaxPool2d(
    /// The windows; [`Windows::square`] for the usual ones.
    pub Windows,
);

impl Module for MaxPool2d {
    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
        net.graph.max_pool2d(x, self.0)
    }
}

/// The mean of each plane of x `[N, C, H, W]`: `[N, C]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlaneMean;

impl Module for PlaneMean {
    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
        net.graph.mean(x, &[2, 3], false)
    }
}
