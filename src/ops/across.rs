//! Sums over ranks that have a part of the batch each, for devices whose plan is not that of the whole batch, such as GPUs.
//!
//! A rank's graph is then that of its own items. Sums over the batch (the statistics of batch norm, the gradients, the
//! loss) are computed over its items first, and then [across](Graph::across) the ranks. Each rank's loss is its items' portion of the
//! batch's, so that the ranks' gradients add up to the batch's, and the gradient of a sum over ranks is the sum of the gradients.

use crate::cpu_kernels;
use crate::error::Result;
use crate::graph::{Cost, Gradient, Graph, Kernel, Launch, Op, Value};
use crate::ops::Normalised;
use crate::tensor::{Real, Shape, Spec};

/// A rank's part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// Items of the whole batch.
    pub of: usize,
    /// Whether this rank's items count. If a batch has fewer items than there are ranks, the ranks without one compute
    /// another's, so that they take part in the exchange of sums, and add nothing.
    pub counts: bool,
}

/// See the top of this file. Input and output of one shape. A session without ranks copies.
#[derive(Clone, Copy, Debug)]
pub struct Across {
    /// Whether this rank's own input counts.
    pub counts: bool,
}

impl Graph {
    /// The sum of x over all ranks of a GPU's session; x itself if there are no others. With `counts` false this rank adds nothing.
    ///
    /// # Errors
    /// If x holds indices.
    pub fn across(&mut self, x: Value, counts: bool) -> Result<Value> {
        self.apply_one(Across { counts }, &[x])
    }

    /// [`Graph::batch_norm`] of a rank's part x of a batch, with the statistics of all of it.
    ///
    /// # Errors
    /// As [`Graph::batch_norm`].
    pub fn batch_norm_of_part(
        &mut self,
        x: Value,
        channel: [Value; 4],
        momentum: f64,
        epsilon: f64,
        part: Part,
    ) -> Result<Normalised> {
        let [gamma, beta, running_mean, running_var] = channel;
        let shape = self.shape(x);
        let axes: Vec<usize> = (0..shape.rank()).filter(|&axis| axis != 1).collect();
        let count = (part.of * shape.elements() / (shape[0] * shape[1])) as f64;
        let mut as_channel = vec![1; shape.rank()];
        as_channel[1] = shape[1];
        let as_channel = Shape::new(&as_channel);
        let Moments { mean, centred, squares } = self.moments_across(x, &axes, count, part)?;
        let variance = self.scale(squares, 1.0 / count)?;
        let epsilon = self.constant(as_channel, vec![epsilon; shape[1]])?;
        let deviation = self.add(variance, epsilon)?;
        let deviation = self.sqrt(deviation)?;
        let h = self.divide(centred, deviation)?;
        let gamma = self.reshape(gamma, as_channel)?;
        let beta = self.reshape(beta, as_channel)?;
        let y = self.multiply(h, gamma)?;
        let y = self.add(y, beta)?;
        let unbiased = count / (count - 1.0).max(1.0);
        let mut moved = |running: Value, to: Value, share: f64| {
            let to = self.reshape(to, [shape[1]])?;
            let to = self.scale(to, share)?;
            let kept = self.scale(running, 1.0 - momentum)?;
            self.add(kept, to)
        };
        let new_mean = moved(running_mean, mean, momentum)?;
        let new_var = moved(running_var, variance, momentum * unbiased)?;
        Ok(Normalised { y, running_mean: new_mean, running_var: new_var })
    }

    /// [`Graph::standardise`] of a rank's part x of a batch, with mean and deviation of all of it.
    ///
    /// # Errors
    /// As [`Graph::standardise`].
    pub fn standardise_part(&mut self, x: Value, eps: f64, part: Part) -> Result<Value> {
        let shape = self.shape(x);
        let axes: Vec<usize> = (0..shape.rank()).collect();
        let count = (part.of * shape.elements() / shape[0]) as f64;
        let Moments { centred, squares, .. } = self.moments_across(x, &axes, count, part)?;
        let variance = self.scale(squares, 1.0 / (count - 1.0))?;
        let deviation = self.sqrt(variance)?;
        // Where all elements are equal the numerator is 0, and so is the result.
        let add = |graph: &mut Self, value: f64| graph.constant(Shape::new(&vec![1; axes.len()]), vec![value]);
        let (eps, least) = (add(self, eps)?, add(self, 1e-30)?);
        let deviation = self.add(deviation, eps)?;
        let deviation = self.maximum(deviation, least)?;
        self.divide(centred, deviation)
    }

    /// The moments of a batch over these axes, of which x is a part; `count` of its elements go into one.
    fn moments_across(&mut self, x: Value, axes: &[usize], count: f64, part: Part) -> Result<Moments> {
        let mean = self.sum(x, axes, true)?;
        let mean = self.across(mean, part.counts)?;
        let mean = self.scale(mean, 1.0 / count)?;
        let centred = self.subtract(x, mean)?;
        let squares = self.multiply(centred, centred)?;
        let squares = self.sum(squares, axes, true)?;
        let squares = self.across(squares, part.counts)?;
        Ok(Moments { mean, centred, squares })
    }
}

/// Mean of a batch, and this rank's part less the mean; and the sum of the squares of that over the batch.
struct Moments {
    mean: Value,
    centred: Value,
    squares: Value,
}

impl Across {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let x = kernel.input(0);
        kernel.output().copy_from_slice(x);
    }
}

impl Op for Across {
    fn name(&self) -> &'static str {
        "across"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real(self.name(), inputs)?;
        Ok(vec![inputs[0]])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None]) };
        Ok(vec![Some(graph.across(dy, self.counts)?)])
    }

    cpu_kernels!();

    /// None: a session copies, and adds up what the ranks have.
    fn gpu(&self, _: &[Spec], _: &[Spec]) -> Vec<Launch> {
        Vec::new()
    }

    fn sum_over_ranks(&self) -> Option<bool> {
        Some(self.counts)
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(0.0, inputs, outputs)
    }
}
