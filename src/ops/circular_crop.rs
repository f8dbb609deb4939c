//! A window out of each item's signal, read in a circle: `y[n, c, t] = x[n, c, (start[n] + t) mod L]`.
//!
//! One operation for cropping, padding and shifting in time. A crop starts at `start`; a circular shift to the right by s
//! starts at `L - s`; and zeros in front of a short signal are a shift too, when the host has put zeros behind it.

use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Value, for_each_piece, grid, no_gradient,
};
use crate::shader;
use crate::tensor::{DType, Real, Spec};

use super::relu::PER_WORKGROUP;

static CIRCULAR_CROP: Shader = shader!("circular_crop");

/// See the top of this file. Inputs x [N, C, L] and the indices start `[N]`, output [N, C, length].
#[derive(Debug)]
pub struct CircularCrop {
    /// Samples of the window.
    pub length: usize,
}

impl Graph {
    /// `y[n, c, t] = x[n, c, (start[n] + t) mod L]` for t below `length`; x is [N, C, L], `start` holds N indices below L.
    /// Has no gradient.
    ///
    /// # Errors
    /// If the shapes do not fit, or `length` is 0 or greater than L.
    pub fn circular_crop(&mut self, x: Value, start: Value, length: usize) -> Result<Value> {
        self.apply_one(CircularCrop { length }, &[x, start])
    }
}

impl Op for CircularCrop {
    fn name(&self) -> &'static str {
        "circular_crop"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let (x, start) = (inputs[0].shape, inputs[1]);
        if x.rank() != 3 || self.length == 0 || self.length > x[2] {
            let detail = format!("{} samples of x with shape {x}; x must be [N, C, at least as many]", self.length);
            return Err(Error::op(self.name(), detail));
        }
        if start != Spec::index([x[0]]) {
            let detail = format!("start must be {} indices, not {:?} of shape {}", x[0], start.dtype, start.shape);
            return Err(Error::op(self.name(), detail));
        }
        Ok(vec![Spec::real([x[0], x[1], self.length])])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let x = inputs[0].shape;
        let len = outputs[0].shape.elements();
        vec![Launch {
            shader: &CIRCULAR_CROP,
            constants: vec![
                ("LEN", len as f64),
                ("CHANNELS", x[1] as f64),
                ("SAMPLES", x[2] as f64),
                ("LENGTH", self.length as f64),
            ],
            operands: vec![Operand::Input(0), Operand::Input(1), Operand::Output(0)],
            workgroups: grid(len.div_ceil(PER_WORKGROUP)),
        }]
    }

    fn cost(&self, _: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(0.0, outputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows(2)
    }

    fn index_bound(&self, input: usize, inputs: &[Spec]) -> Option<usize> {
        (input == 1 && inputs[1].dtype == DType::Index).then(|| inputs[0].shape[2])
    }
}

impl CircularCrop {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let shape = kernel.input_spec(0).shape;
        let (channels, samples) = (shape[1], shape[2]);
        let (x, start, parallel) = (kernel.input(0), kernel.indices(1), kernel.parallel());
        for_each_piece(parallel, kernel.output(), self.length, |row, y| {
            let x = &x[row * samples..][..samples];
            let start = start[row / channels] as usize;
            let head = (samples - start).min(y.len());
            y[..head].copy_from_slice(&x[start..start + head]);
            let rest = y.len() - head;
            y[head..].copy_from_slice(&x[..rest]);
        });
    }
}
