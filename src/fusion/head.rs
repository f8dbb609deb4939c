//! The end of a classifier in one kernel, and its gradients in one more: the mean over each plane of x `[N, C, H, W]`, the
//! linear layer with w `[K, C]` and b `[K]`, and the cross-entropy with classes `[N]` (see
//! [`CrossEntropy`](crate::ops::CrossEntropy) for its formula).
//!
//! Graphs are not built with these: [`fuse`](super::fuse()) puts them in the place of [`Reduce`](crate::ops::Reduce),
//! [`Linear`](crate::ops::Linear), [`CrossEntropy`](crate::ops::CrossEntropy) and what their gradients are made of. On a GPU the
//! seven launches of those take longer than their arithmetic.

use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{Cost, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Target, Value, grid, no_gradient};
use crate::ops::{CROSS_ENTROPY_TOTAL, expect, log_softmax_row, real};
use crate::shader;
use crate::tensor::{DType, Real, Spec};

static FORWARD: Shader = shader!("head");
static GRADIENT: Shader = shader!("head_gradient");

/// Items that one workgroup does alone, in one launch; of more, each gets a workgroup, and a second launch adds up.
const ONE_WORKGROUP: usize = 16;

/// Inputs x, w, b, classes; outputs loss `[1]`, log-probabilities `[N, K]`, pooled `[N, C]`, scores `[N, K]`. Only the loss
/// has a gradient.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// How much of the target is spread evenly over all classes.
    pub smoothing: f64,
}

/// Inputs dloss `[1]`, log-probabilities, classes, pooled and w; outputs dx, dw, db.
#[derive(Clone, Copy, Debug)]
pub struct HeadGradient {
    /// As in [`Head`].
    pub smoothing: f64,
    /// Height and width of x.
    pub plane: [usize; 2],
}

#[derive(Clone, Copy)]
struct Sizes {
    items: usize,
    channels: usize,
    plane: usize,
    classes: usize,
}

impl Sizes {
    fn constants(&self, smoothing: f64) -> Vec<(&'static str, f64)> {
        let Self { items, channels, plane, classes } = *self;
        let sizes = [("N", items), ("C", channels), ("PLANE", plane), ("K", classes)];
        sizes.into_iter().map(|(name, size)| (name, size as f64)).chain([("SMOOTHING", smoothing)]).collect()
    }

    /// Two for each element of x, and twice the two of a product for each weight and item.
    fn flops(&self) -> f64 {
        (2 * self.items * self.channels * (self.plane + 2 * self.classes)) as f64
    }
}

impl Head {
    fn sizes(inputs: &[Spec]) -> Sizes {
        let (x, w) = (inputs[0].shape, inputs[1].shape);
        Sizes { items: x[0], channels: x[1], plane: x[2] * x[3], classes: w[0] }
    }
}

impl Op for Head {
    fn name(&self) -> &'static str {
        "head"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        real(self.name(), &inputs[..3])?;
        let (x, w) = (inputs[0].shape, inputs[1].shape);
        if x.rank() != 4 || w.rank() != 2 || x[1] != w[1] || inputs[3].dtype != DType::Index {
            let detail = format!("wants x [N, C, H, W], w [K, C], b [K] and indices [N], got x {x}, w {w}");
            return Err(Error::op(self.name(), detail));
        }
        expect(self.name(), "b", inputs[2], &[w[0]])?;
        expect(self.name(), "the classes", inputs[3], &[x[0]])?;
        let scores = Spec::real([x[0], w[0]]);
        Ok(vec![Spec::real([1]), scores, Spec::real([x[0], x[1]]), scores])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        if node.arriving[1..].iter().any(Option::is_some) {
            return Err(Error::op(self.name(), "has a gradient through its loss only"));
        }
        let Some(dloss) = node.arriving[0] else { return Ok(vec![None; 4]) };
        let x = graph.shape(node.inputs[0]);
        let op = HeadGradient { smoothing: self.smoothing, plane: [x[2], x[3]] };
        let made = graph.apply(op, &[dloss, node.outputs[1], node.inputs[3], node.outputs[2], node.inputs[1]])?;
        Ok(vec![Some(made[0]), Some(made[1]), Some(made[2]), None])
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let sizes = Self::sizes(inputs);
        let alone = sizes.items <= ONE_WORKGROUP;
        let mean = 1.0 / sizes.items as f64;
        let mut constants = sizes.constants(self.smoothing);
        constants.push(("PER", if alone { sizes.items as f64 } else { 1.0 }));
        constants.push(("FACTOR", if alone { mean } else { 1.0 }));
        let mut operands: Vec<Operand> = (0..4).map(Operand::Input).collect();
        operands.push(if alone { Operand::Output(0) } else { Operand::Scratch(0) });
        operands.extend((1..4).map(Operand::Output));
        let workgroups = if alone { [1; 3] } else { grid(sizes.items) };
        let mut launches = vec![Launch { shader: &FORWARD, constants, operands, workgroups }];
        if !alone {
            launches.push(Launch {
                shader: &CROSS_ENTROPY_TOTAL,
                constants: vec![("LEN", sizes.items as f64), ("FACTOR", mean)],
                operands: vec![Operand::ReadScratch(0), Operand::Output(0)],
                workgroups: [1; 3],
            });
        }
        launches
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(Self::sizes(inputs).flops(), inputs, outputs)
    }

    fn scratch(&self, inputs: &[Spec], _: &[Spec], target: Target) -> Vec<usize> {
        let items = inputs[0].shape[0];
        if target == Target::Gpu && items > ONE_WORKGROUP { vec![items] } else { Vec::new() }
    }

    fn index_bound(&self, input: usize, inputs: &[Spec]) -> Option<usize> {
        (input == 3).then(|| inputs[1].shape[0])
    }
}

impl Head {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let Sizes { items, channels, plane, classes } = Self::sizes(kernel.input_specs());
        let (x, w, b, labels) = (kernel.input(0), kernel.input(1), kernel.input(2), kernel.indices(3));
        let [loss, log_probabilities, pooled, scores] = kernel.outputs();
        for (mean, x) in pooled.iter_mut().zip(x.chunks_exact(plane)) {
            *mean = x.iter().copied().sum::<T>() / T::from_f64(plane as f64);
        }
        for (scores, pooled) in scores.chunks_exact_mut(classes).zip(pooled.chunks_exact(channels)) {
            for ((score, w), &b) in scores.iter_mut().zip(w.chunks_exact(channels)).zip(b) {
                *score = w.iter().zip(pooled).map(|(&w, &p)| w * p).sum::<T>() + b;
            }
        }
        let (hard, soft) = (T::from_f64(1.0 - self.smoothing), T::from_f64(self.smoothing / classes as f64));
        let mut sum = T::ZERO;
        let rows = log_probabilities.chunks_exact_mut(classes).zip(scores.chunks_exact(classes));
        for ((row, scores), &label) in rows.zip(labels) {
            log_softmax_row(scores, row);
            sum += -(row[label as usize] * hard) - row.iter().copied().sum::<T>() * soft;
        }
        loss[0] = sum / T::from_f64(items as f64);
    }
}

impl HeadGradient {
    fn sizes(&self, inputs: &[Spec]) -> Sizes {
        let (pooled, w) = (inputs[3].shape, inputs[4].shape);
        Sizes { items: pooled[0], channels: pooled[1], plane: self.plane[0] * self.plane[1], classes: w[0] }
    }
}

impl Op for HeadGradient {
    fn name(&self) -> &'static str {
        "head_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let Sizes { items, channels, classes, .. } = self.sizes(inputs);
        expect(self.name(), "the gradient of the loss", inputs[0], &[1])?;
        expect(self.name(), "the log-probabilities", inputs[1], &[items, classes])?;
        let dx = Spec::real([items, channels, self.plane[0], self.plane[1]]);
        Ok(vec![dx, inputs[4], Spec::real([classes])])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let sizes = self.sizes(inputs);
        let invocations = (sizes.items + sizes.classes) * sizes.channels + sizes.classes;
        vec![Launch {
            shader: &GRADIENT,
            constants: sizes.constants(self.smoothing),
            operands: (0..5).map(Operand::Input).chain((0..3).map(Operand::Output)).collect(),
            workgroups: grid(invocations.div_ceil(64)),
        }]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(2.0 * self.sizes(inputs).flops(), inputs, outputs)
    }

    fn index_bound(&self, input: usize, inputs: &[Spec]) -> Option<usize> {
        (input == 2).then(|| inputs[1].shape[1])
    }
}

impl HeadGradient {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let Sizes { items, channels, plane, classes } = self.sizes(kernel.input_specs());
        let (dloss, log_probabilities, labels) = (kernel.input(0)[0], kernel.input(1), kernel.indices(2));
        let (pooled, w) = (kernel.input(3), kernel.input(4));
        let [dx, dw, db] = kernel.outputs();
        let (hard, soft) = (T::from_f64(1.0 - self.smoothing), T::from_f64(self.smoothing / classes as f64));
        let factor = dloss / T::from_f64(items as f64);
        // The gradient with respect to a score.
        let gradient = |item: usize, k: usize| {
            let target = if labels[item] as usize == k { hard + soft } else { soft };
            factor * (log_probabilities[item * classes + k].exp() - target)
        };
        for (i, dx) in dx.chunks_exact_mut(plane).enumerate() {
            let (item, c) = (i / channels, i % channels);
            let sum: T = (0..classes).map(|k| gradient(item, k) * w[k * channels + c]).sum();
            dx.fill(sum / T::from_f64(plane as f64));
        }
        for (i, dw) in dw.iter_mut().enumerate() {
            let (k, c) = (i / channels, i % channels);
            *dw = (0..items).map(|item| gradient(item, k) * pooled[item * channels + c]).sum();
        }
        for (k, db) in db.iter_mut().enumerate() {
            *db = (0..items).map(|item| gradient(item, k)).sum();
        }
    }
}
