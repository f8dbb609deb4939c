//! Standardisation: `y = (x - mean) / (sd + eps)`, mean and unbiased standard deviation over each item or the whole batch.

use super::items::{self, Moments, Partial, items};
use super::relu::PER_TASK;
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Blocks, Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Target, Value, for_each_piece,
    no_gradient,
};
use crate::kernels::simd::dispatch;
use crate::shader;
use crate::tensor::{Real, Spec};
use pulp::{Simd, WithSimd};

static STANDARDISE: Shader = shader!("standardise", "nan", "items");

/// Elements per task of the CPU: each yields a mean and a sum of squares.
const CHUNK: usize = 4096;

/// The elements that share a mean and a standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// Each item (index of the first axis) separately.
    Item,
    /// All items together, as the notebook does in training.
    Batch,
}

/// See the top of this file. Input x [N, ...], output of the same shape. If all elements are equal the output is 0. An
/// optional second input holds the moments of each item's chunks, computed by the operation that made x.
#[derive(Clone, Copy, Debug)]
pub struct Standardise {
    /// The elements that are standardised together.
    pub per: Per,
    /// Added to the standard deviation.
    pub eps: f64,
}

impl Graph {
    /// `(x - mean) / (sd + eps)` with mean and unbiased standard deviation of each item or of the batch; 0 where all
    /// elements are equal. Has no gradient.
    ///
    /// # Errors
    /// If fewer than two elements are standardised together, or `eps` is negative or not finite.
    pub fn standardise(&mut self, x: Value, per: Per, eps: f64) -> Result<Value> {
        self.apply_one(Standardise { per, eps }, &[x])
    }
}

/// `y = (x - mean) * scale`.
struct Apply<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
    mean: T,
    scale: T,
}

impl<T: Real> WithSimd for Apply<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = (x - self.mean) * self.scale;
        }
    }
}

/// Bytes of two f64.
const PAIR: usize = 16;

impl Standardise {
    /// Groups that are standardised by themselves, and elements of each.
    fn groups(&self, x: &Spec) -> (usize, usize) {
        let (count, len) = items(x);
        match self.per {
            Per::Item => (count, len),
            Per::Batch => (1, count * len),
        }
    }

    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (groups, len) = self.groups(&kernel.input_spec(0));
        let (x, parallel, share) = (kernel.input(0), kernel.parallel(), kernel.share());
        let (items, item_len) = items(&kernel.input_spec(0));
        // No chunk has elements of two items, so that a rank's items are chunks.
        let per_item = item_len.div_ceil(CHUNK);
        let chunks = items * per_item / groups;
        let chunk = |i: usize| {
            let (item, first) = (i / per_item, i % per_item * CHUNK);
            &x[item * item_len..][first..(first + CHUNK).min(item_len)]
        };
        // Chunk by chunk, then the chunks in order: the same result for any number of threads and ranks.
        let ([output], [scratch]) = kernel.outputs_and_scratch::<1, 1>();
        let partial: &mut [[f64; 2]] =
            bytemuck::cast_slice_mut(&mut scratch[..PAIR / size_of::<T>() * groups * chunks]);
        let own = share.rows(partial.len());
        for_each_piece(parallel, &mut partial[own.clone()], 1, |i, part| {
            part[0] = dispatch(Moments(chunk(own.start + i))).into();
        });
        share.gather(partial);
        for (group, parts) in partial.chunks_mut(chunks).enumerate() {
            // In units of elements: a chunk of an item that another rank has is as long.
            let size = |i: usize| chunk(group * chunks + i).len() as f64;
            let mean = parts.iter().enumerate().map(|(i, part)| part[0] * size(i)).sum::<f64>() / len as f64;
            let squares = parts.iter().enumerate().map(|(i, part)| part[1] + (part[0] - mean).powi(2) * size(i));
            let sd = (squares.sum::<f64>() / (len as f64 - 1.0)).sqrt() + self.eps;
            parts[0] = [mean, if sd == 0.0 { 0.0 } else { 1.0 / sd }];
        }
        let partial = &*partial;
        // A task stays within its item, and so within its group.
        let tasks = item_len.div_ceil(PER_TASK);
        let piece = item_len.div_ceil(tasks);
        let (own, per_group) = (share.rows(items), items / groups);
        let own_output = &mut output[own.start * item_len..own.end * item_len];
        parallel.for_pieces(Blocks::new(own_output, item_len, [1, piece]), |_, mut y| {
            let (row, start) = (y.rows().start, y.columns().start);
            let item = own.start + row;
            let [mean, scale] = partial[item / per_group * chunks].map(T::from_f64);
            let y = y.row(row);
            dispatch(Apply { x: &x[item * item_len + start..][..y.len()], y, mean, scale });
        });
    }
}

impl Op for Standardise {
    fn name(&self) -> &'static str {
        "standardise"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        items::expect_items(self.name(), &inputs[0])?;
        if !(self.eps >= 0.0 && self.eps.is_finite()) {
            return Err(Error::op(self.name(), format!("eps {} must be 0 or more", self.eps)));
        }
        if self.groups(&inputs[0]).1 < 2 {
            let detail = format!("{} has one element per item, and one element has no deviation", inputs[0].shape);
            return Err(Error::op(self.name(), detail));
        }
        items::expect_partials(self.name(), inputs, 1, true)?;
        Ok(vec![inputs[0]])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let (first, moments, _) = items::incoming(Partial::Moments, inputs, 1);
        let mut constants = items::constants(&inputs[0], None);
        constants.extend([("BATCH", f64::from(u8::from(self.per == Per::Batch))), ("EPS", self.eps)]);
        let operands = vec![Operand::Input(0), moments, Operand::Output(0), items::outgoing(None)];
        let apply = Launch { shader: &STANDARDISE, constants, operands, workgroups: items::workgroups(&inputs[0]) };
        first.into_iter().chain([apply]).collect()
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(6.0 * outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn scratch(&self, inputs: &[Spec], _: &[Spec], target: Target) -> Vec<usize> {
        let (count, each) = items(&inputs[0]);
        match target {
            Target::Gpu => items::scratch(&inputs[0], target),
            // Two f64 a chunk, in elements that may be f32.
            Target::Cpu => vec![PAIR / size_of::<f32>() * count * each.div_ceil(CHUNK)],
        }
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        match self.per {
            Per::Item => Division::rows(inputs.len()),
            Per::Batch => Division::Shared { inputs: vec![true; inputs.len()], outputs: vec![true], items: 1 },
        }
    }
}
