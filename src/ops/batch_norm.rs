//! Batch norm over the channels of `[N, C, ..]` (Ioffe and Szegedy, 2015), as PyTorch's `BatchNorm1d`, `2d` and `3d`.
//!
//! `y = (x - mean) / sqrt(variance + eps) * gamma + beta`, with gamma and beta `[C]`. In training, mean and variance are
//! those of the batch, over all axes but the channels' (the biased variance), and the running ones move towards them:
//! `running = (1 - momentum) running + momentum * batch`, the running variance towards the unbiased one. In evaluation they
//! are the running ones.
//!
//! With `h = (x - mean) / sqrt(variance + eps)` and M elements in a channel, the gradients are `dbeta = sum(dy)`,
//! `dgamma = sum(dy h)`, and in training `dx = gamma / sqrt(variance + eps) * (dy - dbeta / M - h dgamma / M)`; in evaluation
//! the two sums are left out of dx.

use super::real;
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Blocks, Cost, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Stretches, Target, Value, grid, no_gradient,
};
use crate::kernels::lanes::{self, dispatch};
use crate::shader;
use crate::tensor::{Real, Spec};

/// A kernel for any maps, and the same for those whose planes are whole numbers of fours, which it reads and writes four elements at a time.
type ByWidth = [Shader; 2];

static STATISTICS: ByWidth = [
    shader!("batch_norm_statistics", "singles", "channels", "total"),
    shader!("batch_norm_statistics", "quads", "channels", "total"),
];
static TRAIN: ByWidth =
    [shader!("batch_norm", "singles", "channels", "total"), shader!("batch_norm", "quads", "channels", "total")];
static EVALUATE: ByWidth =
    [shader!("batch_norm_evaluate", "singles", "channels"), shader!("batch_norm_evaluate", "quads", "channels")];
static GRADIENT_SUMS: ByWidth = [
    shader!("batch_norm_gradient_sums", "singles", "channels", "total"),
    shader!("batch_norm_gradient_sums", "quads", "channels", "total"),
];
static GRADIENT: ByWidth = [
    shader!("batch_norm_gradient", "singles", "channels", "total", "norm_gradient"),
    shader!("batch_norm_gradient", "quads", "channels", "total", "norm_gradient"),
];
static TRAIN_CHANNEL: ByWidth = [
    shader!("batch_norm_channel", "singles", "channels", "total"),
    shader!("batch_norm_channel", "quads", "channels", "total"),
];
static GRADIENT_CHANNEL: ByWidth = [
    shader!("batch_norm_gradient_channel", "singles", "channels", "total", "norm_gradient"),
    shader!("batch_norm_gradient_channel", "quads", "channels", "total", "norm_gradient"),
];

/// Elements of a channel up to which one workgroup does all of it in one launch: reading so few is quicker than a second
/// launch.
const ONE_WORKGROUP: usize = 32_768;

/// Elements of a channel that one workgroup sums, about.
const PART: usize = 2048;
/// The most parts that a channel is cut into: each workgroup that uses the sums adds all parts up, one to each of its invocations.
const MAX_PARTS: usize = 64;
/// Elements that a workgroup of the elementwise kernels works on.
const PER_WORKGROUP: usize = 2048;

/// Batch norm in training. Inputs x, gamma, beta, running mean, running variance; outputs y, the batch's mean and
/// `1 / sqrt(variance + eps)` as `[2, C]`, and the new running mean and variance in place of the old.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// Share of the batch in the running statistics.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Batch norm in evaluation. Inputs as [`BatchNorm`]; outputs y, and the running mean and `1 / sqrt(variance + eps)` as
/// `[2, C]`.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormEvaluate {
    /// Added to the variance.
    pub epsilon: f64,
}

/// The gradients of both: inputs dy, x, gamma and the `[2, C]` of the forward operation; outputs dx, dgamma, dbeta.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormGradient {
    /// Whether mean and variance depend on x.
    pub training: bool,
    /// Whether x is the output of a ReLU, and dx the gradient with respect to that ReLU's input; see
    /// [`fuse`](crate::fusion::fuse).
    pub relu: bool,
}

/// The results of batch norm in training.
#[derive(Clone, Copy, Debug)]
pub struct Normalised {
    /// The normalised values, of x's shape.
    pub y: Value,
    /// The new running mean, to be assigned to the old.
    pub running_mean: Value,
    /// The new running variance, to be assigned to the old.
    pub running_var: Value,
}

impl Graph {
    /// Batch norm of x `[N, C, ..]` with the batch's statistics. `[gamma, beta, running mean, running variance]` are
    /// `[C]` each.
    ///
    /// # Errors
    /// If shapes do not fit, or a channel has one element only.
    pub fn batch_norm(&mut self, x: Value, channel: [Value; 4], momentum: f64, epsilon: f64) -> Result<Normalised> {
        let [gamma, beta, mean, var] = channel;
        let made = self.apply(BatchNorm { momentum, epsilon }, &[x, gamma, beta, mean, var])?;
        Ok(Normalised { y: made[0], running_mean: made[2], running_var: made[3] })
    }

    /// Batch norm of x `[N, C, ..]` with the running statistics. `[gamma, beta, running mean, running variance]` are
    /// `[C]` each.
    ///
    /// # Errors
    /// If shapes do not fit.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([2, 1], vec![1.0, 5.0])?;
    /// let mut of = |value| graph.constant([1], vec![value]);
    /// let (gamma, beta, mean, variance) = (of(10.0)?, of(0.5)?, of(3.0)?, of(4.0)?);
    /// let y = graph.batch_norm_evaluate(x, [gamma, beta, mean, variance], 0.0)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [-9.5, 10.5]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn batch_norm_evaluate(&mut self, x: Value, channel: [Value; 4], epsilon: f64) -> Result<Value> {
        let [gamma, beta, mean, var] = channel;
        self.apply_one(BatchNormEvaluate { epsilon }, &[x, gamma, beta, mean, var])
    }
}

/// Sizes of the normalised map.
#[derive(Clone, Copy)]
struct Sizes {
    items: usize,
    channels: usize,
    plane: usize,
}

impl Sizes {
    fn of(x: &Spec) -> Self {
        Self { items: x.shape[0], channels: x.shape[1], plane: x.shape.dims()[2..].iter().product() }
    }

    fn per_channel(&self) -> usize {
        self.items * self.plane
    }

    fn parts(&self) -> usize {
        self.per_channel().div_ceil(PART).min(MAX_PARTS)
    }

    /// The elements of one channel, as one range for each item.
    fn planes(self, channel: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        (0..self.items).map(move |n| {
            let start = (n * self.channels + channel) * self.plane;
            start..start + self.plane
        })
    }

    /// The planes of each channel, of which [`Block::row`](crate::graph::Block::row) gives those of an item.
    fn cut<T>(self, data: &mut [T]) -> Blocks<'_, T> {
        Blocks::new(data, self.channels * self.plane, [self.items, self.plane])
    }

    fn launch(
        &self,
        kernel: &'static ByWidth,
        more: &[(&'static str, f64)],
        workgroups_per_channel: usize,
        operands: Vec<Operand>,
    ) -> Launch {
        let quads = self.plane.is_multiple_of(4);
        let plane = if quads { self.plane / 4 } else { self.plane };
        let sizes = [("ITEMS", self.items), ("CHANNELS", self.channels), ("PLANE", plane)];
        let sizes = sizes.into_iter().map(|(name, size)| (name, size as f64));
        let constants = sizes.chain(more.iter().copied()).collect();
        let shader = &kernel[usize::from(quads)];
        Launch { shader, constants, operands, workgroups: grid(self.channels * workgroups_per_channel) }
    }

    /// Room for this many numbers of each part.
    fn scratch(&self, target: Target, numbers: usize) -> Vec<usize> {
        let parts = target == Target::Gpu && self.per_channel() > ONE_WORKGROUP;
        if parts { vec![numbers * self.channels * self.parts()] } else { Vec::new() }
    }

    fn blocks(&self) -> usize {
        self.per_channel().div_ceil(PER_WORKGROUP)
    }
}

fn check(op: &'static str, inputs: &[Spec], channel_inputs: usize) -> Result<Sizes> {
    real(op, inputs)?;
    let x = inputs[0].shape;
    if x.rank() < 2 {
        return Err(Error::op(op, format!("wants x [N, C, ..], got {x}")));
    }
    if let Some(spec) = inputs[1..=channel_inputs].iter().find(|spec| spec.shape.dims() != [x[1]]) {
        return Err(Error::op(op, format!("x {x} has {} channels, a channel's input has shape {}", x[1], spec.shape)));
    }
    Ok(Sizes::of(&inputs[0]))
}

fn gradient(graph: &mut Graph, node: &Gradient<'_>, training: bool, name: &'static str) -> Result<Vec<Option<Value>>> {
    if node.arriving[1..].iter().any(Option::is_some) {
        return Err(Error::op(name, "has a gradient through y only, not through the statistics"));
    }
    let Some(dy) = node.arriving[0] else { return Ok(vec![None; 5]) };
    if node.wanted[3] || node.wanted[4] {
        return Err(Error::op(name, "has no gradient with respect to the running statistics"));
    }
    let inputs = [dy, node.inputs[0], node.inputs[1], node.outputs[1]];
    let made = graph.apply(BatchNormGradient { training, relu: false }, &inputs)?;
    Ok(vec![Some(made[0]), Some(made[1]), Some(made[2]), None, None])
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let sizes = check("batch_norm", inputs, 4)?;
        if sizes.per_channel() < 2 {
            let detail = format!("a channel of x {} has one element; training needs at least two", inputs[0].shape);
            return Err(Error::op("batch_norm", detail));
        }
        Ok(vec![inputs[0], Spec::real([2, sizes.channels]), inputs[3], inputs[4]])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        gradient(graph, node, true, "batch_norm")
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let sizes = Sizes::of(&inputs[0]);
        if sizes.per_channel() <= ONE_WORKGROUP {
            let numbers = [("MOMENTUM", self.momentum), ("EPSILON", self.epsilon)];
            let operands = (0..3).map(Operand::Input).chain((0..4).map(Operand::Output)).collect();
            return vec![sizes.launch(&TRAIN_CHANNEL, &numbers, 1, operands)];
        }
        let parts = ("PARTS", sizes.parts() as f64);
        let numbers = [parts, ("MOMENTUM", self.momentum), ("EPSILON", self.epsilon)];
        let partial = vec![Operand::Input(0), Operand::Scratch(0)];
        let mut apply = vec![Operand::Input(0), Operand::Input(1), Operand::Input(2), Operand::ReadScratch(0)];
        apply.extend((0..4).map(Operand::Output));
        vec![
            sizes.launch(&STATISTICS, &[parts], sizes.parts(), partial),
            sizes.launch(&TRAIN, &numbers, sizes.blocks(), apply),
        ]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(7.0 * inputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn scratch(&self, inputs: &[Spec], _: &[Spec], target: Target) -> Vec<usize> {
        let sizes = Sizes::of(&inputs[0]);
        sizes.scratch(target, 2)
    }

    fn updates(&self) -> &'static [(usize, usize)] {
        &[(2, 3), (3, 4)]
    }
}

impl BatchNorm {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let sizes = Sizes::of(&kernel.input_spec(0));
        let (x, gamma, beta) = (kernel.input(0), kernel.input(1), kernel.input(2));
        let parallel = kernel.parallel();
        let [y, saved, running_mean, running_var] = kernel.outputs();
        let count = sizes.per_channel() as f64;
        let of_channel = |data| Stretches::new(data, 1);
        let saved = Blocks::new(saved, sizes.channels, [2, 1]);
        let cut = (sizes.cut(y), saved, of_channel(running_mean), of_channel(running_var));
        parallel.for_pieces(cut, |c, (mut y, mut saved, running_mean, running_var)| {
            let sum: T = sizes
                .planes(c)
                .map(|plane| {
                    dispatch(
                        #[inline(always)]
                        || lanes::sum(&x[plane.clone()]),
                    )
                })
                .sum();
            let mean = sum / T::from_f64(count);
            // The second pass corrects the first: its rounding error, times all of M, would show in dgamma.
            let (mut rest, mut squares) = (T::ZERO, T::ZERO);
            for plane in sizes.planes(c) {
                let x = &x[plane];
                let [r, s] = dispatch(
                    #[inline(always)]
                    || {
                        lanes::sums(
                            x,
                            x,
                            #[inline(always)]
                            |x, _| [x - mean, (x - mean) * (x - mean)],
                        )
                    },
                );
                rest += r;
                squares += s;
            }
            let rest = rest / T::from_f64(count);
            // Squares beyond T leave an infinite variance, not a NaN, and every element becomes beta: so it is in PyTorch.
            let excess = if squares.to_f64().is_finite() { rest * rest } else { T::ZERO };
            let (mean, variance) = (mean + rest, squares / T::from_f64(count) - excess);
            let inverse = T::ONE / (variance + T::from_f64(self.epsilon)).sqrt();
            let scale = inverse * gamma[c];
            for (item, plane) in sizes.planes(c).enumerate() {
                normalise(y.row(item), &x[plane], mean, scale, beta[c]);
            }
            let momentum = T::from_f64(self.momentum);
            let unbiased = variance * T::from_f64(count / (count - 1.0));
            saved.row(0)[0] = mean;
            saved.row(1)[0] = inverse;
            running_mean[0] = running_mean[0] * (T::ONE - momentum) + mean * momentum;
            running_var[0] = running_var[0] * (T::ONE - momentum) + unbiased * momentum;
        });
    }
}

/// `y = (x - mean) * scale + beta`
fn normalise<T: Real>(y: &mut [T], x: &[T], mean: T, scale: T, beta: T) {
    dispatch(
        #[inline(always)]
        || y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - mean) * scale + beta),
    );
}

impl Op for BatchNormEvaluate {
    fn name(&self) -> &'static str {
        "batch_norm_evaluate"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let sizes = check("batch_norm_evaluate", inputs, 4)?;
        Ok(vec![inputs[0], Spec::real([2, sizes.channels])])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        gradient(graph, node, false, "batch_norm_evaluate")
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let sizes = Sizes::of(&inputs[0]);
        let operands = (0..5).map(Operand::Input).chain([Operand::Output(0), Operand::Output(1)]).collect();
        vec![sizes.launch(&EVALUATE, &[("EPSILON", self.epsilon)], sizes.blocks(), operands)]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(3.0 * inputs[0].shape.elements() as f64, inputs, outputs)
    }
}

impl BatchNormEvaluate {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let sizes = Sizes::of(&kernel.input_spec(0));
        let (x, gamma, beta) = (kernel.input(0), kernel.input(1), kernel.input(2));
        let (mean, var, parallel) = (kernel.input(3), kernel.input(4), kernel.parallel());
        let [y, saved] = kernel.outputs();
        for c in 0..sizes.channels {
            saved[c] = mean[c];
            saved[sizes.channels + c] = T::ONE / (var[c] + T::from_f64(self.epsilon)).sqrt();
        }
        let saved = &*saved;
        parallel.for_pieces(sizes.cut(y), |c, mut y| {
            for (item, plane) in sizes.planes(c).enumerate() {
                normalise(y.row(item), &x[plane], mean[c], saved[sizes.channels + c] * gamma[c], beta[c]);
            }
        });
    }
}

impl Op for BatchNormGradient {
    fn name(&self) -> &'static str {
        "batch_norm_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let name = "batch_norm_gradient";
        super::same(name, "dy", inputs[0], "x", inputs[1])?;
        let sizes = check(name, &inputs[1..], 1)?;
        if inputs[3] != Spec::real([2, sizes.channels]) {
            return Err(Error::op(name, format!("wants statistics [2, {}], got {}", sizes.channels, inputs[3].shape)));
        }
        Ok(vec![inputs[1], inputs[2], inputs[2]])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient("batch_norm_gradient")
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let sizes = Sizes::of(&inputs[1]);
        let training = ("TRAINING", f64::from(u8::from(self.training)));
        let relu = ("RELU", f64::from(u8::from(self.relu)));
        if sizes.per_channel() <= ONE_WORKGROUP {
            let operands = (0..4).map(Operand::Input).chain((0..3).map(Operand::Output)).collect();
            return vec![sizes.launch(&GRADIENT_CHANNEL, &[training, relu], 1, operands)];
        }
        let parts = ("PARTS", sizes.parts() as f64);
        let partial = vec![Operand::Input(0), Operand::Input(1), Operand::Input(3), Operand::Scratch(0)];
        let apply =
            (0..4).map(Operand::Input).chain([Operand::ReadScratch(0)]).chain((0..3).map(Operand::Output)).collect();
        vec![
            sizes.launch(&GRADIENT_SUMS, &[parts], sizes.parts(), partial),
            sizes.launch(&GRADIENT, &[parts, training, relu], sizes.blocks(), apply),
        ]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(10.0 * inputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn scratch(&self, inputs: &[Spec], _: &[Spec], target: Target) -> Vec<usize> {
        let sizes = Sizes::of(&inputs[1]);
        sizes.scratch(target, 3)
    }
}

impl BatchNormGradient {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let sizes = Sizes::of(&kernel.input_spec(1));
        let (dy, x, gamma, saved) = (kernel.input(0), kernel.input(1), kernel.input(2), kernel.input(3));
        let parallel = kernel.parallel();
        let [dx, dgamma, dbeta] = kernel.outputs();
        let count = T::from_f64(sizes.per_channel() as f64);
        let cut = (sizes.cut(dx), Stretches::new(dgamma, 1), Stretches::new(dbeta, 1));
        parallel.for_pieces(cut, |c, (mut dx, dgamma, dbeta)| {
            let (mean, inverse) = (saved[c], saved[sizes.channels + c]);
            let (mut sum, mut product, mut rest) = (T::ZERO, T::ZERO, T::ZERO);
            for plane in sizes.planes(c) {
                let (x, dy) = (&x[plane.clone()], &dy[plane]);
                let [s, p, r] = dispatch(
                    #[inline(always)]
                    || {
                        lanes::sums(
                            dy,
                            x,
                            #[inline(always)]
                            |dy, x| [dy, dy * (x - mean), x - mean],
                        )
                    },
                );
                sum += s;
                product += p;
                rest += r;
            }
            if self.training {
                // The differences from the mean add up to zero, but for its rounding: take that out again.
                product -= sum * (rest / count);
            }
            product *= inverse;
            dgamma[0] = product;
            dbeta[0] = sum;
            let scale = gamma[c] * inverse;
            let (shift, slope) =
                if self.training { (sum / count, product * inverse / count) } else { (T::ZERO, T::ZERO) };
            for (item, plane) in sizes.planes(c).enumerate() {
                let dx = dx.row(item);
                let (x, dy) = (&x[plane.clone()], &dy[plane]);
                dispatch(
                    #[inline(always)]
                    || {
                        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
                            let d = if self.training { scale * (dy - shift - (x - mean) * slope) } else { scale * dy };
                            *dx = if self.relu && x <= T::ZERO { T::ZERO } else { d };
                        }
                    },
                );
            }
        });
    }
}
