//! Cross-entropy of class scores with softmax and label smoothing, as PyTorch's `CrossEntropyLoss` (mean), and the number
//! of correct predictions.
//!
//! With `lp` the log-softmax of an item's scores, c its class, C classes and smoothing s, its loss is
//! `-(1 - s) lp[c] - s / C sum(lp)`; the loss is the mean over items.

use super::relu::PER_WORKGROUP;
use super::softmax::log_softmax_row;
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Cost, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Stretches, Target, Value, for_each_piece, grid,
    no_gradient,
};
use crate::kernels::lanes;
use crate::shader;
use crate::tensor::{DType, Real, Spec};

static FORWARD: Shader = shader!("cross_entropy", "total");
pub(crate) static TOTAL: Shader = shader!("cross_entropy_total", "total");
static GRADIENT: Shader = shader!("cross_entropy_gradient");
static CORRECT: Shader = shader!("correct", "total");

/// Elements that a task of the CPU kernels works on, about: each costs an exponential.
const PER_TASK: usize = 2048;

/// Inputs scores `[N, C]` and classes `[N]` (indices below C); outputs loss `[1]`, log-probabilities `[N, C]` and the
/// items' losses `[N]`. Only the loss has a gradient.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// Label smoothing: the share of the target that is spread evenly over all classes.
    pub smoothing: f64,
}

/// `dx = dloss / N (exp(lp) - (1 - s) [is the class] - s / C)`. Inputs dloss `[1]`, log-probabilities and classes.
#[derive(Clone, Debug)]
pub struct CrossEntropyGradient {
    /// As in [`CrossEntropy`].
    pub smoothing: f64,
}

/// The number of items whose greatest score (the first of equal ones) is that of their class. Inputs scores `[N, C]` and
/// classes `[N]`, output `[1]`. Has no gradient.
#[derive(Debug)]
pub struct Correct;

/// The results of cross-entropy.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropyOutputs {
    /// The mean loss, `[1]`.
    pub loss: Value,
    /// The logarithms of the probabilities, `[N, C]`.
    pub log_probabilities: Value,
    /// The loss of every item, `[N]`.
    pub items: Value,
}

impl Graph {
    /// The cross-entropy of scores `[N, C]` with classes `[N]`.
    ///
    /// # Errors
    /// If the shapes do not fit, the classes are not indices, or the smoothing is not in `[0, 1]`.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let scores = graph.constant([1, 2], vec![3.0, 3.0])?;
    /// let classes = graph.index_constant([1], vec![0])?;
    /// let loss = graph.cross_entropy(scores, classes, 0.0)?.loss;
    /// assert!((graph.evaluate(loss, &[])?.data()[0] - 2f64.ln()).abs() < 1e-12);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn cross_entropy(&mut self, scores: Value, classes: Value, smoothing: f64) -> Result<CrossEntropyOutputs> {
        let made = self.apply(CrossEntropy { smoothing }, &[scores, classes])?;
        Ok(CrossEntropyOutputs { loss: made[0], log_probabilities: made[1], items: made[2] })
    }

    /// The number of items, `[1]`, whose greatest score of `[N, C]` is that of their class.
    ///
    /// # Errors
    /// If the shapes do not fit or the classes are not indices.
    pub fn correct(&mut self, scores: Value, classes: Value) -> Result<Value> {
        self.apply_one(Correct, &[scores, classes])
    }
}

fn check(op: &'static str, inputs: &[Spec]) -> Result<[usize; 2]> {
    super::real(op, &inputs[..1])?;
    let (scores, classes) = (inputs[0].shape, inputs[1]);
    if scores.rank() != 2 {
        return Err(Error::op(op, format!("the scores have shape {scores}, but must be [N, C]")));
    }
    if classes.dtype != DType::Index {
        return Err(Error::op(op, format!("the classes of shape {} must be indices, not real numbers", classes.shape)));
    }
    super::expect(op, &format!("for scores of shape {scores} the classes"), classes, &[scores[0]])?;
    Ok([scores[0], scores[1]])
}

/// Items that a workgroup works on: one for each of its invocations.
const ITEMS: usize = 64;

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let [n, _] = check(self.name(), inputs)?;
        if !(0.0..=1.0).contains(&self.smoothing) {
            let detail = format!("the label smoothing must be between 0 and 1, not {}", self.smoothing);
            return Err(Error::op(self.name(), detail));
        }
        Ok(vec![Spec::real([1]), inputs[0], Spec::real([n])])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        if node.arriving[1..].iter().any(Option::is_some) {
            let detail = "has no gradient through its log-probabilities and items' losses; use log_softmax";
            return Err(Error::op(self.name(), detail));
        }
        let Some(dloss) = node.arriving[0] else { return Ok(vec![None, None]) };
        let op = CrossEntropyGradient { smoothing: self.smoothing };
        Ok(vec![Some(graph.apply_one(op, &[dloss, node.outputs[1], node.inputs[1]])?), None])
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let (n, c) = (inputs[0].shape[0], inputs[0].shape[1]);
        let groups = n.div_ceil(ITEMS);
        let to = if groups == 1 { Operand::Output(0) } else { Operand::Scratch(0) };
        let mut launches = vec![Launch {
            shader: &FORWARD,
            constants: vec![
                ("N", n as f64),
                ("C", c as f64),
                ("SMOOTHING", self.smoothing),
                ("FACTOR", if groups == 1 { 1.0 / n as f64 } else { 1.0 }),
            ],
            operands: vec![Operand::Input(0), Operand::Input(1), Operand::Output(1), Operand::Output(2), to],
            workgroups: grid(groups),
        }];
        if groups > 1 {
            launches.push(Launch {
                shader: &TOTAL,
                constants: vec![("LEN", groups as f64), ("FACTOR", 1.0 / n as f64)],
                operands: vec![Operand::ReadScratch(0), Operand::Output(0)],
                workgroups: [1, 1, 1],
            });
        }
        launches
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(12.0 * inputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn scratch(&self, inputs: &[Spec], _: &[Spec], target: Target) -> Vec<usize> {
        let groups = inputs[0].shape[0].div_ceil(ITEMS);
        if target == Target::Gpu && groups > 1 { vec![groups] } else { Vec::new() }
    }

    fn index_bound(&self, input: usize, inputs: &[Spec]) -> Option<usize> {
        (input == 1).then(|| inputs[0].shape[1])
    }
}

impl CrossEntropy {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, classes, shape) = (kernel.input(0), kernel.indices(1), kernel.input_spec(0).shape);
        let (n, c, parallel) = (shape[0], shape[1], kernel.parallel());
        let (hard, soft) = (T::from_f64(1.0 - self.smoothing), T::from_f64(self.smoothing / c as f64));
        let [loss, log_probabilities, items] = kernel.outputs();
        let per_task = (PER_TASK / c).max(1);
        let cut = (Stretches::new(&mut *items, per_task), Stretches::new(log_probabilities, per_task * c));
        parallel.for_pieces(cut, |task, (items, rows)| {
            lanes::dispatch(
                #[inline(always)]
                || {
                    for (i, (item, row)) in items.iter_mut().zip(rows.chunks_exact_mut(c)).enumerate() {
                        let at = task * per_task + i;
                        log_softmax_row(&x[at * c..at * c + c], row);
                        let spread = if self.smoothing > 0.0 { lanes::sum(row) * soft } else { T::ZERO };
                        *item = -(row[classes[at] as usize] * hard) - spread;
                    }
                },
            );
        });
        loss[0] = lanes::sum(items) * T::from_f64(1.0 / n as f64);
    }
}

impl Op for CrossEntropyGradient {
    fn name(&self) -> &'static str {
        "cross_entropy_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::expect(self.name(), "the gradient of the loss", inputs[0], &[1])?;
        Ok(vec![inputs[1]])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let (n, c) = (inputs[1].shape[0], inputs[1].shape[1]);
        let constants = vec![("N", n as f64), ("C", c as f64), ("SMOOTHING", self.smoothing)];
        vec![Launch {
            shader: &GRADIENT,
            constants,
            operands: vec![Operand::Input(0), Operand::Input(1), Operand::Input(2), Operand::Output(0)],
            workgroups: grid((n * c).div_ceil(PER_WORKGROUP)),
        }]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(8.0 * outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn index_bound(&self, input: usize, inputs: &[Spec]) -> Option<usize> {
        (input == 2).then(|| inputs[1].shape[1])
    }
}

impl CrossEntropyGradient {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (dloss, log_probabilities, classes) = (kernel.input(0)[0], kernel.input(1), kernel.indices(2));
        let (shape, parallel) = (kernel.input_spec(1).shape, kernel.parallel());
        let (n, c) = (shape[0], shape[1]);
        let (hard, soft) = (T::from_f64(1.0 - self.smoothing), T::from_f64(self.smoothing / c as f64));
        let factor = dloss * T::from_f64(1.0 / n as f64);
        let per_task = (PER_TASK / c).max(1);
        for_each_piece(parallel, kernel.output(), per_task * c, |task, dx| {
            for (i, dx) in dx.chunks_exact_mut(c).enumerate() {
                let at = task * per_task + i;
                let row = &log_probabilities[at * c..][..c];
                let class = classes[at] as usize;
                for (k, (dx, &lp)) in dx.iter_mut().zip(row).enumerate() {
                    let target = if k == class { hard + soft } else { soft };
                    *dx = factor * (lp.exp() - target);
                }
            }
        });
    }
}

impl Op for Correct {
    fn name(&self) -> &'static str {
        "correct"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        check(self.name(), inputs)?;
        Ok(vec![Spec::real([1])])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        vec![Launch {
            shader: &CORRECT,
            constants: vec![("N", inputs[0].shape[0] as f64), ("C", inputs[0].shape[1] as f64)],
            operands: vec![Operand::Input(0), Operand::Input(1), Operand::Output(0)],
            workgroups: [1, 1, 1],
        }]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(inputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn index_bound(&self, input: usize, inputs: &[Spec]) -> Option<usize> {
        (input == 1).then(|| inputs[0].shape[1])
    }
}

impl Correct {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, classes, c) = (kernel.input(0), kernel.indices(1), kernel.input_spec(0).shape[1]);
        let is_right = |(row, &class): (&[T], &u32)| {
            let class = class as usize;
            let score = row[class];
            // Comparisons with NaN are false: a row with one is never right.
            row.iter().enumerate().all(|(k, &x)| x < score || (x == score && k >= class))
        };
        let right = x.chunks_exact(c).zip(classes).filter(|&item| is_right(item)).count();
        kernel.output()[0] = T::from_f64(right as f64);
    }
}
