//! One step of stochastic gradient descent with momentum over all parameters at once, as PyTorch's `SGD` (without dampening):
//!
//! ```text
//! g <- g + wd p
//! v <- mu v + g
//! p <- p - lr v               or, after Nesterov (Sutskever et al., 2013),  p <- p - lr (g + mu v)
//! ```
//!
//! Numbers that depend on the step are a small input, so that learning rate and momentum can change without a new plan.

use super::relu::{PER_TASK, PER_WORKGROUP};
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{Cost, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Stretches, Value, grid, no_gradient};
use crate::kernels::lanes::dispatch;
use crate::shader;
use crate::tensor::{Real, Spec};

static SGD: Shader = shader!("sgd");

/// What changes from step to step: the elements of the last input of [`SgdUpdate`], in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// The learning rate.
    pub rate: f64,
    /// The part of the velocity that is kept.
    pub momentum: f64,
    /// Weight decay: how much of the parameter is added to its gradient.
    pub decay: f64,
}

impl SgdStep {
    /// Number of elements of the input.
    pub const LEN: usize = 3;

    /// The input's elements.
    pub fn exact(self) -> [f64; Self::LEN] {
        [self.rate, self.momentum, self.decay]
    }
}

/// One step. Inputs p, v, g, flat and of one length, and the `[3]` numbers of an [`SgdStep`]; outputs the new p and v, in place of
/// the old.
#[derive(Clone, Copy, Debug)]
pub struct SgdUpdate {
    /// Whether momentum is Nesterov's.
    pub nesterov: bool,
}

impl Graph {
    /// One step of [`SgdUpdate`]: the new p and v.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn sgd(&mut self, [p, v, g]: [Value; 3], step: Value, nesterov: bool) -> Result<[Value; 2]> {
        let made = self.apply(SgdUpdate { nesterov }, &[p, v, g, step])?;
        Ok([made[0], made[1]])
    }
}

impl Op for SgdUpdate {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real(self.name(), inputs)?;
        let flat = inputs[0].shape.rank() == 1 && inputs[1..3].iter().all(|spec| *spec == inputs[0]);
        if !flat || inputs[3] != Spec::real([SgdStep::LEN]) {
            let shapes: Vec<String> = inputs.iter().map(|spec| spec.shape.to_string()).collect();
            let detail =
                format!("wants flat p, v, g of one length and [3] numbers of the step, got {}", shapes.join(" "));
            return Err(Error::op(self.name(), detail));
        }
        Ok(inputs[..2].to_vec())
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, _: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let len = outputs[0].shape.elements();
        vec![Launch {
            shader: &SGD,
            constants: vec![("LEN", len as f64), ("NESTEROV", f64::from(u8::from(self.nesterov)))],
            // p and v are updated in place: their old values lie where the outputs are.
            operands: vec![Operand::Input(2), Operand::Input(3), Operand::Output(0), Operand::Output(1)],
            workgroups: grid(len.div_ceil(PER_WORKGROUP)),
        }]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(8.0 * outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn updates(&self) -> &'static [(usize, usize)] {
        &[(0, 0), (1, 1)]
    }
}

impl SgdUpdate {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (g, step, parallel) = (kernel.input(2), kernel.input(3), kernel.parallel());
        let (rate, momentum, decay, nesterov) = (step[0], step[1], step[2], self.nesterov);
        let [p, v] = kernel.outputs();
        let cut = |data| Stretches::new(data, PER_TASK);
        parallel.for_pieces((cut(p), cut(v)), |task, (p, v)| {
            let g = &g[task * PER_TASK..][..p.len()];
            dispatch(
                #[inline(always)]
                || {
                    for ((p, v), &g) in p.iter_mut().zip(v.iter_mut()).zip(g) {
                        let g = g + decay * *p;
                        *v = momentum * *v + g;
                        *p -= rate * if nesterov { g + momentum * *v } else { *v };
                    }
                },
            );
        });
    }
}
