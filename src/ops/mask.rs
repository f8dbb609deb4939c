//! Masks of a spectrogram (SpecAugment): whole bands and whole frames are set to one value.

use super::items::{self, Partial, Sum, items};
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Target, Value, for_each_piece, no_gradient,
};
use crate::kernels::simd::dispatch;
use crate::shader;
use crate::tensor::{DType, Real, Shape, Spec};

static MASK: Shader = shader!("mask", "nan", "items");

/// The value of masked cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fill {
    /// The mean of the item's unmasked spectrogram, over all channels.
    ItemMean,
    /// This number.
    Constant(f64),
}

/// Masks in frequency and time. Inputs x [N, C, bands, frames] and the indices frequency [N, K, 2] and time [N, M, 2], each a
/// (start, width); output of the shape of x. A cell whose band is in `start..start + width` of a frequency mask of its item, or
/// whose frame is in one of a time mask, is set to the fill, in all channels. Parts of a mask beyond the axis have no effect. An optional fourth
/// input holds partial sums of each item, computed by the operation that made x; an optional second output holds partial results
/// for the next operation.
#[derive(Clone, Copy, Debug)]
pub struct Mask {
    /// The value of masked cells.
    pub fill: Fill,
    /// The partial results for the next operation.
    pub hands_on: Option<Partial>,
}

impl Graph {
    /// [`Mask`]: x [N, C, bands, frames] with (start, width) pairs `frequency` [N, K, 2] and `time` [N, M, 2]. Has no gradient.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn mask(&mut self, x: Value, frequency: Value, time: Value, fill: Fill) -> Result<Value> {
        self.apply_one(Mask { fill, hands_on: None }, &[x, frequency, time])
    }
}

impl Op for Mask {
    fn name(&self) -> &'static str {
        "mask"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        items::expect_rank(self.name(), "the spectrogram", &inputs[0], "[N, C, bands, frames]", 4)?;
        for (what, pairs) in ["frequency", "time"].into_iter().zip(&inputs[1..3]) {
            let shape = pairs.shape;
            let fits = shape.rank() == 3 && shape[0] == inputs[0].shape[0] && shape[2] == 2;
            if !fits || pairs.dtype != DType::Index {
                let detail = format!(
                    "{what} masks must be indices [{}, K, 2], not {:?} {shape}",
                    inputs[0].shape[0], pairs.dtype
                );
                return Err(Error::op(self.name(), detail));
            }
        }
        if matches!(self.fill, Fill::Constant(value) if !value.is_finite()) {
            return Err(Error::op(self.name(), "the fill must be finite"));
        }
        items::expect_partials(self.name(), inputs, 3, false)?;
        Ok(items::outputs(inputs[0], self.hands_on))
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let shape = inputs[0].shape;
        let (first, partial, partials, value) = match self.fill {
            Fill::ItemMean => {
                let (first, partial, partials) = items::incoming(Partial::Sum, inputs, 3);
                (first, partial, partials, 0.0)
            }
            // Something must be bound.
            Fill::Constant(value) => (None, Operand::Input(0), 0, value),
        };
        let mut constants = items::constants(&inputs[0], self.hands_on);
        constants.extend([
            ("BANDS", shape[2] as f64),
            ("FRAMES", shape[3] as f64),
            ("FREQUENCY_MASKS", inputs[1].shape[1] as f64),
            ("TIME_MASKS", inputs[2].shape[1] as f64),
            ("PARTIALS", partials as f64),
            ("FILL", value),
        ]);
        let mut operands = [0, 1, 2].map(Operand::Input).to_vec();
        operands.extend([partial, Operand::Output(0), items::outgoing(self.hands_on)]);
        let apply = Launch { shader: &MASK, constants, operands, workgroups: items::workgroups(&inputs[0]) };
        first.into_iter().chain([apply]).collect()
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        Division::rows(inputs.len())
    }

    fn scratch(&self, inputs: &[Spec], _: &[Spec], target: Target) -> Vec<usize> {
        items::scratch(&inputs[0], target)
    }

    fn index_bound(&self, input: usize, inputs: &[Spec]) -> Option<usize> {
        // A start or a width of the whole axis is allowed.
        let axis = |shape: Shape| [shape[2], shape[3]][input - 1] + 1;
        (1..=2).contains(&input).then(|| axis(inputs[0].shape))
    }
}

impl Mask {
    fn cpu<'a, T: Real>(&self, kernel: &mut Kernel<'a, T>) {
        let (shape, (_, len)) = (kernel.input_spec(0).shape, items(&kernel.input_spec(0)));
        let (bands, frames) = (shape[2], shape[3]);
        let (x, frequency, time) = (kernel.input(0), kernel.indices(1), kernel.indices(2));
        // The masks of an item along an axis, as ranges.
        let ranges = |masks: &'a [u32], per_item: usize, item: usize, axis: usize| {
            masks[item * per_item * 2..][..per_item * 2].as_chunks::<2>().0.iter().map(move |&[start, width]| {
                let start = (start as usize).min(axis);
                start..(start + width as usize).min(axis)
            })
        };
        let per_item = (kernel.input_spec(1).shape[1], kernel.input_spec(2).shape[1]);
        let (fill, parallel) = (self.fill, kernel.parallel());
        for_each_piece(parallel, kernel.output(), len, |item, y| {
            let x = &x[item * len..][..len];
            let fill = T::from_f64(match fill {
                Fill::Constant(value) => value,
                Fill::ItemMean => dispatch(Sum(x)) / len as f64,
            });
            let frequency = ranges(frequency, per_item.0, item, bands);
            let time = ranges(time, per_item.1, item, frames);
            y.copy_from_slice(x);
            for (row, y) in y.chunks_exact_mut(frames).enumerate() {
                if frequency.clone().any(|mask| mask.contains(&(row % bands))) {
                    y.fill(fill);
                }
                time.clone().for_each(|mask| y[mask].fill(fill));
            }
        });
        items::hand_on(kernel, self.hands_on);
    }
}
