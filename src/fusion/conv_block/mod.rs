//! A block of a network in one operation for the CPU: the norm of the block before, convolution with bias, ReLU, and the
//! statistics of the batch norm that follows; and its gradients in one more.
//!
//! Graphs are not built with these: [`fuse`](super::fuse()) puts them in the place of [`Conv2d`],
//! [`BatchNorm`] and their gradients. Between blocks the ReLU's result is kept, channels innermost
//! `[N, H, W, C]`; batch norm is applied where it is read, so that its output is never written, and the gradient with
//! respect to the convolution's result is made where it is used. An item passes through a block while it is in the cache.
//!
//! With x the block's input, `r = max(conv(x) + b, 0)` and mean m and `s = 1 / sqrt(variance + epsilon)` of r over N, H and
//! W, the next block reads `(r - m) s gamma + beta`. The formulas are those of the operations that are replaced.

mod backward;
mod forward;
mod fuse;
mod pooled;
mod statistics;

pub(super) use fuse::blocks;
pub use pooled::{BlockMean, BlockMeanGradient};

use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{Cost, CpuOp, Division, Gradient, Graph, Value, no_gradient};
use crate::ops::{BatchNorm, Conv2d, ConvOptions, ConvSizes, expect, real};
use crate::tensor::{Shape, Spec};

/// How a block reads its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// x is `[N, C, H, W]`, taken as it is.
    Planes,
    /// x is what the block before made, `[N, H, W, C]`; that block's statistics `[2, C]`, gamma and beta are three further
    /// inputs.
    Block,
}

/// Inputs x, w, b, running mean, running variance, and what [`Entry`] adds; outputs r `[N, OH, OW, O]`, its mean and
/// `1 / sqrt(variance + epsilon)` as `[2, O]`, and in training the new running mean and variance in place of the old.
#[derive(Clone, Copy, Debug)]
pub struct ConvBlock {
    /// Stride, padding and dilation; one group.
    pub options: ConvOptions,
    /// How far the running statistics move at each step; `None` in evaluation, which uses them.
    pub momentum: Option<f64>,
    /// Added to the variance.
    pub epsilon: f64,
    /// What x is.
    pub entry: Entry,
}

/// Inputs dy `[N, OH, OW, O]` (the gradient with respect to the norm's output), r, statistics and gamma of the block, x, w,
/// what [`Entry`] adds and, with `measured`, the sums of dy `[3, O]`; outputs dw, db, dgamma, dbeta and, for [`Entry::Block`],
/// the gradient with respect to the output of the norm before, `[N, H, W, C]`, and its sums `[3, C]`: of itself, of itself
/// times the distance of that norm's r from its mean, and of that distance.
#[derive(Clone, Copy, Debug)]
pub struct ConvBlockGradient {
    /// The convolution's sizes.
    pub sizes: ConvSizes,
    /// Whether mean and variance depend on r.
    pub training: bool,
    /// Whether the sums of dy are an input: the block after this one took them when it made dy.
    pub measured: bool,
    /// What x is.
    pub entry: Entry,
}

/// Sums of each channel that the gradient of a norm needs.
const SUMS: usize = 3;

/// The norm of the last block: inputs r `[N, H, W, C]`, statistics `[2, C]`, gamma and beta `[C]`; output `[N, C, H, W]`.
#[derive(Clone, Copy, Debug)]
pub struct BlockOutput;

/// `[N, C, H, W]` of `[N, H, W, C]`.
fn planes(shape: Shape) -> Spec {
    Spec::real([shape[0], shape[3], shape[1], shape[2]])
}

/// `[N, H, W, C]` of `[N, C, H, W]`.
pub(super) fn rows(shape: Shape) -> Spec {
    Spec::real([shape[0], shape[2], shape[3], shape[1]])
}

impl ConvBlock {
    fn sizes(&self, inputs: &[Spec]) -> Result<ConvSizes> {
        let x = match self.entry {
            Entry::Planes => inputs[0],
            Entry::Block => {
                real("conv_block", &inputs[..1])?;
                expect_map("conv_block", "x", &inputs[0])?;
                planes(inputs[0].shape)
            }
        };
        ConvSizes::new("conv_block", &x, &inputs[1], self.options)
    }

    fn training(&self) -> bool {
        self.momentum.is_some()
    }
}

/// `[N, H, W, C]`.
fn expect_map(name: &'static str, what: &str, map: &Spec) -> Result<()> {
    if map.shape.rank() == 4 {
        return Ok(());
    }
    Err(Error::op(name, format!("wants {what} [N, H, W, C], got {}", map.shape)))
}

/// The inputs that [`Entry::Block`] adds.
fn expect_entry(name: &'static str, entry: Entry, more: &[Spec], channels: usize) -> Result<()> {
    if entry == Entry::Block {
        expect(name, "the statistics of the block before", more[0], &[2, channels])?;
        expect(name, "gamma of the block before", more[1], &[channels])?;
        expect(name, "beta of the block before", more[2], &[channels])?;
    }
    Ok(())
}

impl CpuOp for ConvBlock {
    fn name(&self) -> &'static str {
        "conv_block"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let name = self.name();
        let sizes = self.sizes(inputs)?;
        if sizes.groups != 1 {
            return Err(Error::op(name, "has no groups"));
        }
        let channels = sizes.out_channels;
        for (what, spec) in ["b", "the running mean", "the running variance"].into_iter().zip(&inputs[2..5]) {
            expect(name, what, *spec, &[channels])?;
        }
        expect_entry(name, self.entry, &inputs[5..], sizes.in_channels)?;
        let r = Spec::real([sizes.items, sizes.output[0], sizes.output[1], channels]);
        if self.training() && r.shape.elements() < 2 * channels {
            return Err(Error::op(name, format!("a channel of r {} has one element; it needs two", r.shape)));
        }
        let running = self.training().then_some([inputs[3], inputs[4]]);
        Ok([r, Spec::real([2, channels])].into_iter().chain(running.into_iter().flatten()).collect())
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        // Not among the imports: there, every method of a block would be two traits'.
        use crate::graph::Op;
        let conv = Conv2d { options: self.options, bias: true, relu: true };
        let norm = BatchNorm { momentum: 0.0, epsilon: self.epsilon };
        let flops = Op::cost(&conv, inputs, outputs).flops + Op::cost(&norm, &outputs[..1], &outputs[..1]).flops;
        Cost::streaming(flops, inputs, outputs)
    }

    fn scratch(&self, inputs: &[Spec], _: &[Spec]) -> Vec<usize> {
        self.sizes(inputs).map_or(Vec::new(), |sizes| self.temporaries(&sizes))
    }

    fn private_scratch(&self, inputs: &[Spec], _: &[Spec]) -> usize {
        self.sizes(inputs).map_or(0, |sizes| self.private(&sizes))
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        let outputs = if self.training() { vec![true, false, false, false] } else { vec![true, false] };
        Division::Shared { inputs: (0..inputs.len()).map(|i| i == 0).collect(), outputs, items: 1 }
    }

    fn updates(&self) -> &'static [(usize, usize)] {
        if self.training() { &[(2, 3), (3, 4)] } else { &[] }
    }
}

impl CpuOp for ConvBlockGradient {
    fn name(&self) -> &'static str {
        "conv_block_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let (name, sizes) = (self.name(), &self.sizes);
        let channels = sizes.out_channels;
        let map = [sizes.items, sizes.output[0], sizes.output[1], channels];
        expect(name, "dy", inputs[0], &map)?;
        expect(name, "r", inputs[1], &map)?;
        expect(name, "the statistics", inputs[2], &[2, channels])?;
        expect(name, "gamma", inputs[3], &[channels])?;
        let x = match self.entry {
            Entry::Planes => sizes.x_spec(),
            Entry::Block => rows(sizes.x_spec().shape),
        };
        expect(name, "x", inputs[4], x.shape.dims())?;
        expect(name, "w", inputs[5], sizes.w_spec().shape.dims())?;
        expect_entry(name, self.entry, &inputs[6..], sizes.in_channels)?;
        if self.measured {
            expect(name, "the sums of dy", inputs[self.sums_input()], &[SUMS, channels])?;
        }
        let channel = Spec::real([channels]);
        let dx = (self.entry == Entry::Block).then_some([x, Spec::real([SUMS, sizes.in_channels])]);
        Ok([inputs[5], channel, channel, channel].into_iter().chain(dx.into_iter().flatten()).collect())
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        let products = if self.entry == Entry::Block { 2.0 } else { 1.0 };
        let norm = 10.0 * inputs[1].shape.elements() as f64;
        Cost::streaming(products * self.sizes.flops() + norm, inputs, outputs)
    }

    fn scratch(&self, _: &[Spec], _: &[Spec]) -> Vec<usize> {
        self.temporaries()
    }

    fn private_scratch(&self, _: &[Spec], _: &[Spec]) -> usize {
        self.private()
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        let inputs = (0..inputs.len()).map(|i| [0, 1, 4].contains(&i)).collect();
        let outputs = [false, false, false, false, true, false];
        let outputs = outputs[..if self.entry == Entry::Block { 6 } else { 4 }].to_vec();
        Division::Shared { inputs, outputs, items: self.items_per_chunk() }
    }

    fn late(&self) -> &'static [usize] {
        // The gradients of weights and bias.
        &[0, 1]
    }
}

impl CpuOp for BlockOutput {
    fn name(&self) -> &'static str {
        "block_output"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        real(self.name(), inputs)?;
        expect_map(self.name(), "r", &inputs[0])?;
        let r = inputs[0].shape;
        expect_entry(self.name(), Entry::Block, &inputs[1..], r[3])?;
        Ok(vec![planes(r)])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(3.0 * outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows_of(&[true, false, false, false])
    }
}
