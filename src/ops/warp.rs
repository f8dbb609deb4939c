//! A warp of a spectrogram: a shift along the bands (a change of key, where bands are fractions of an octave) and a stretch
//! along the frames (a change of tempo).

use super::items::{self, Least, Partial, items};
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Stretches, Target, Value, no_gradient,
};
use crate::kernels::lanes;
use crate::kernels::simd::dispatch;
use crate::shader;
use crate::tensor::{Real, Spec};

static WARP: Shader = shader!("warp", "nan", "items");

/// `y[n, c, b, t] = x[n, c, b - shift, t * stretch]`, linear between bands and between frames. Inputs x [N, C, bands, frames] and
/// real `by` [N, 2], a (shift, stretch) per item; output of the shape of x. Cells outside x are the item's minimum.
/// An optional third input holds partial minima of each item, computed by the operation that made x; an optional second output holds partial results
/// for the next operation.
#[derive(Clone, Copy, Debug)]
pub struct Warp {
    /// The partial results for the next operation.
    pub hands_on: Option<Partial>,
}

impl Graph {
    /// [`Warp`]: `y[n, c, b, t] = x[n, c, b - by[n, 0], t * by[n, 1]]`, x [N, C, bands, frames]. Has no gradient.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn warp(&mut self, x: Value, by: Value) -> Result<Value> {
        self.apply_one(Warp { hands_on: None }, &[x, by])
    }
}

impl Op for Warp {
    fn name(&self) -> &'static str {
        "warp"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        items::expect_rank(self.name(), "the spectrogram", &inputs[0], "[N, C, bands, frames]", 4)?;
        if inputs[1] != Spec::real([inputs[0].shape[0], 2]) {
            let detail = format!(
                "shift and stretch must be real numbers [{}, 2], not {:?} {}",
                inputs[0].shape[0], inputs[1].dtype, inputs[1].shape
            );
            return Err(Error::op(self.name(), detail));
        }
        items::expect_partials(self.name(), inputs, 2, false)?;
        Ok(items::outputs(inputs[0], self.hands_on))
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let shape = inputs[0].shape;
        let (first, partial, partials) = items::incoming(Partial::Min, inputs, 2);
        let mut constants = items::constants(&inputs[0], self.hands_on);
        constants.extend([("BANDS", shape[2] as f64), ("FRAMES", shape[3] as f64), ("PARTIALS", partials as f64)]);
        let operands =
            vec![Operand::Input(0), Operand::Input(1), partial, Operand::Output(0), items::outgoing(self.hands_on)];
        let apply = Launch { shader: &WARP, constants, operands, workgroups: items::workgroups(&inputs[0]) };
        first.into_iter().chain([apply]).collect()
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(8.0 * outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        Division::rows(inputs.len())
    }

    fn scratch(&self, inputs: &[Spec], _: &[Spec], target: Target) -> Vec<usize> {
        items::scratch(&inputs[0], target)
    }

    fn private_scratch(&self, inputs: &[Spec], _: &[Spec]) -> usize {
        3 * inputs[0].shape[3] + AROUND
    }
}

/// The cell at or before place `at` of an axis and the weight of the one after it; a place far outside becomes one just outside, so
/// that it fits an integer.
#[inline(always)]
pub(crate) fn place<T: Real>(at: T, axis: usize) -> (isize, T) {
    // Written so that a NaN ends up outside.
    let inside = at > -T::ONE && at < T::from_f64(axis as f64);
    let at = if inside { at.to_f64() } else { -2.0 };
    let floor = at.floor();
    (floor as isize, T::from_f64(at - floor))
}

/// Numbers around a row: one before it and two behind.
const AROUND: usize = 3;

impl Warp {
    /// Rows first, then columns: a row between two rows of x is made with its surroundings, in whole vectors, and each cell
    /// lies between two of its numbers.
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (shape, (_, len)) = (kernel.input_spec(0).shape, items(&kernel.input_spec(0)));
        let (bands, frames) = (shape[2], shape[3]);
        let (x, by, parallel, private) = (kernel.input(0), kernel.input(1), kernel.parallel(), &mut kernel.private());
        parallel.for_pieces_with(Stretches::new(kernel.output(), len), private, |item, y, scratch| {
            let x = &x[item * len..][..len];
            let (shift, stretch) = (by[item * 2], by[item * 2 + 1]);
            let outside = dispatch(Least(x));
            let (line, rest) = scratch.split_at_mut(frames + AROUND);
            let (cells, rest) = rest.split_at_mut(frames);
            let parts = &mut rest[..frames];
            for (t, (cell, part)) in cells.iter_mut().zip(&mut *parts).enumerate() {
                let (at, after) = place(T::from_f64(t as f64) * stretch, frames);
                // In `line`, which starts at -1 and has two numbers behind its end.
                *cell = T::from_f64(if at < -1 { frames as f64 + 1.0 } else { at as f64 + 1.0 });
                *part = after;
            }
            for (row, y) in y.chunks_exact_mut(frames).enumerate() {
                let (channel, band) = (row / bands, row % bands);
                let (below, part) = place(T::from_f64(band as f64) - shift, bands);
                let band_row = |b: isize| {
                    let inside = usize::try_from(b).ok().filter(|&b| b < bands);
                    inside.map(|b| &x[(channel * bands + b) * frames..][..frames])
                };
                let (low, high) = (band_row(below), band_row(below + 1));
                line.fill(outside);
                lanes::dispatch(
                    #[inline(always)]
                    || {
                        let inner = &mut line[1..=frames];
                        let mix = |a: T, b: T| a + (b - a) * part;
                        match (low, high) {
                            (Some(low), Some(high)) => {
                                inner.iter_mut().zip(low).zip(high).for_each(|((to, &a), &b)| *to = mix(a, b));
                            }
                            (Some(low), None) => inner.iter_mut().zip(low).for_each(|(to, &a)| *to = mix(a, outside)),
                            (None, Some(high)) => inner.iter_mut().zip(high).for_each(|(to, &b)| *to = mix(outside, b)),
                            (None, None) => {}
                        }
                        for ((y, cell), &after) in y.iter_mut().zip(&*cells).zip(&*parts) {
                            let at = cell.to_f64() as usize;
                            let (a, b) = (line[at], line[at + 1]);
                            *y = a + (b - a) * after;
                        }
                    },
                );
            }
        });
        items::hand_on(kernel, self.hands_on);
    }
}
