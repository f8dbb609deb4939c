//! One step of Adam over all parameters at once, and clipping by the gradient's norm.
//!
//! Adam (Kingma and Ba, 2015) with decoupled weight decay (Loshchilov and Hutter, 2019), in PyTorch's order:
//!
//! ```text
//! p <- p (1 - lr wd)
//! m <- m + (1 - b1) (g - m)
//! v <- b2 v + (1 - b2) g^2
//! p <- p - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//! ```
//!
//! With `c = sqrt(1 - b2^t)`, the last line is `p - lr c / (1 - b1^t) * m / (sqrt(v) + eps c)`, as Kingma and Ba suggest at the end of
//! their section 2, which divides once.
//!
//! Numbers that depend on the step are a small input, so that learning rate and momentum can change without a new plan.
//! They are computed in f64, so that `1 - 0.999` keeps its digits.

use super::relu::{PER_TASK, PER_WORKGROUP};
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Cost, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Stretches, Target, Value, grid, no_gradient,
};
use crate::kernels::lanes::dispatch;
use crate::kernels::prefetch;
use crate::kernels::simd::SimdReal;
use crate::shader;
use crate::tensor::Spec;

static ADAM: Shader = shader!("adam");
static CLIP_SQUARES: Shader = shader!("clip_squares", "total");
static CLIP_FACTOR: Shader = shader!("clip_factor", "nan", "total");

/// Elements of a task at most: fewer than of simpler operations; and of what their number is a multiple: so that a small network's
/// parameters are divided evenly.
const PER_ADAM_TASK: usize = 2048;
const ADAM_TASKS: usize = 4;
/// Elements after which memory is prefetched, and how far ahead: some gradients were made, and some parameters last read, on other cores,
/// and moments were last used a step ago.
const BLOCK: usize = 64;
const BLOCKS_AHEAD: usize = 4;

/// What changes from step to step: the elements of [`AdamUpdate`]'s last input, in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// `lr sqrt(1 - b2^t) / (1 - b1^t)`
    pub step_size: f64,
    /// `1 - b1`
    pub one_minus_beta1: f64,
    /// `b2`
    pub beta2: f64,
    /// `1 - b2`
    pub one_minus_beta2: f64,
    /// `eps sqrt(1 - b2^t)`
    pub epsilon: f64,
    /// `1 - lr wd`
    pub decay: f64,
}

impl AdamStep {
    /// Number of elements of the input.
    pub const LEN: usize = 6;

    /// The input's elements, rounded to f32.
    pub fn to_array(self) -> [f32; Self::LEN] {
        self.exact().map(|x| x as f32)
    }

    /// The input's elements, for a session in f64: see [`Session::write_exact`](crate::graph::Session::write_exact).
    pub fn exact(self) -> [f64; Self::LEN] {
        let Self { step_size, one_minus_beta1, beta2, one_minus_beta2, epsilon, decay } = self;
        [step_size, one_minus_beta1, beta2, one_minus_beta2, epsilon, decay]
    }
}

/// One step of Adam. Inputs p, m, v, g, flat and of one length, and the `[6]` numbers of an [`AdamStep`]; outputs the new p,
/// m and v, in place of the old.
#[derive(Clone, Copy, Debug)]
pub struct AdamUpdate;

/// The factor that keeps a gradient's norm within `max_norm`: `min(1, max_norm / (|g| + 1e-6))`, as PyTorch's
/// `clip_grad_norm_`. Input g, flat; outputs the factor `[1]` and the norm `[1]`.
#[derive(Clone, Copy, Debug)]
pub struct ClipFactor {
    /// The largest norm that is not clipped.
    pub max_norm: f64,
}

impl Graph {
    /// One step of [`AdamUpdate`]: the new p, m and v.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn adam(&mut self, [p, m, v, g]: [Value; 4], step: Value) -> Result<[Value; 3]> {
        let made = self.apply(AdamUpdate, &[p, m, v, g, step])?;
        Ok([made[0], made[1], made[2]])
    }

    /// The factor `[1]` that reduces the norm of a flat gradient to at most `max_norm`, and the norm.
    ///
    /// # Errors
    /// If `max_norm` is not positive.
    pub fn clip_factor(&mut self, g: Value, max_norm: f64) -> Result<[Value; 2]> {
        let made = self.apply(ClipFactor { max_norm }, &[g])?;
        Ok([made[0], made[1]])
    }
}

impl Op for AdamUpdate {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let flat = inputs[0].shape.rank() == 1 && inputs[1..4].iter().all(|spec| *spec == inputs[0]);
        if !flat || inputs[4] != Spec::real([AdamStep::LEN]) {
            let shapes: Vec<String> = inputs.iter().map(|spec| spec.shape.to_string()).collect();
            let detail =
                format!("wants flat p, m, v, g of one length and [6] numbers of the step, got {}", shapes.join(" "));
            return Err(Error::op("adam", detail));
        }
        Ok(inputs[..3].to_vec())
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient("adam")
    }

    cpu_kernels!();

    // p, m and v are updated in place: their old values lie where the outputs are.
    fn gpu(&self, _: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let len = outputs[0].shape.elements();
        let operands = [3, 4].map(Operand::Input).into_iter().chain([0, 1, 2].map(Operand::Output)).collect();
        vec![Launch::new(&ADAM, vec![("LEN", len as f64)], operands, grid(len.div_ceil(PER_WORKGROUP)))]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(14.0 * outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn updates(&self) -> &'static [(usize, usize)] {
        &[(0, 0), (1, 1), (2, 2)]
    }
}

impl AdamUpdate {
    fn cpu<T: SimdReal>(&self, kernel: &mut Kernel<'_, T>) {
        let (g, step, parallel) = (kernel.input(3), kernel.input(4), kernel.parallel());
        let &[step_size, one_minus_beta1, beta2, one_minus_beta2, epsilon, decay] = step else {
            unreachable!("shapes were checked when the graph was built")
        };
        let len = g.len();
        let [p, m, v] = kernel.outputs();
        let tasks = len.div_ceil(PER_ADAM_TASK).next_multiple_of(ADAM_TASKS);
        let per_task = len.div_ceil(tasks.max(1)).next_multiple_of(BLOCK).max(BLOCK);
        let cut = |data| Stretches::new(data, per_task);
        parallel.for_pieces((cut(p), cut(m), cut(v)), |task, (p, m, v)| {
            let g = &g[task * per_task..][..p.len()];
            dispatch(
                #[inline(always)]
                || {
                    let (p_start, m_start, v_start, g_start) =
                        (p.as_mut_ptr(), m.as_mut_ptr(), v.as_mut_ptr(), g.as_ptr());
                    let ask = |first: usize, elements: usize| {
                        prefetch::read(g_start.wrapping_add(first), elements);
                        prefetch::write(p_start.wrapping_add(first), elements);
                        prefetch::write(m_start.wrapping_add(first), elements);
                        prefetch::write(v_start.wrapping_add(first), elements);
                    };
                    ask(0, BLOCK * BLOCKS_AHEAD);
                    let blocks =
                        p.chunks_mut(BLOCK).zip(m.chunks_mut(BLOCK)).zip(v.chunks_mut(BLOCK)).zip(g.chunks(BLOCK));
                    for (i, (((p, m), v), g)) in blocks.enumerate() {
                        ask((i + BLOCKS_AHEAD) * BLOCK, BLOCK);
                        for (((p, m), v), &g) in p.iter_mut().zip(m.iter_mut()).zip(v.iter_mut()).zip(g) {
                            *m += one_minus_beta1 * (g - *m);
                            *v = beta2 * *v + one_minus_beta2 * g * g;
                            *p = *p * decay - step_size * (*m / (v.sqrt() + epsilon));
                        }
                    }
                },
            );
        });
    }
}

impl Op for ClipFactor {
    fn name(&self) -> &'static str {
        "clip_factor"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        if !(self.max_norm > 0.0 && self.max_norm.is_finite()) {
            return Err(Error::op(
                "clip_factor",
                format!("the norm must be positive and finite, not {}", self.max_norm),
            ));
        }
        if inputs[0] != Spec::real(inputs[0].shape) || inputs[0].shape.rank() != 1 {
            return Err(Error::op("clip_factor", format!("wants a flat gradient, got {}", inputs[0].shape)));
        }
        Ok(vec![Spec::real([1]); 2])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient("clip_factor")
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let len = inputs[0].shape.elements();
        let chunk = Self::chunk(len);
        let partials = len.div_ceil(chunk);
        vec![
            Launch::new(
                &CLIP_SQUARES,
                vec![("LEN", len as f64), ("CHUNK", chunk as f64), ("PARTIALS", partials as f64)],
                vec![Operand::Input(0), Operand::Scratch(0)],
                grid(partials),
            ),
            Launch::new(
                &CLIP_FACTOR,
                vec![("PARTIALS", partials as f64), ("MAX_NORM", self.max_norm)],
                vec![Operand::ReadScratch(0), Operand::Output(0), Operand::Output(1)],
                [1; 3],
            ),
        ]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(2.0 * inputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn scratch(&self, inputs: &[Spec], _: &[Spec], target: Target) -> Vec<usize> {
        let len = inputs[0].shape.elements();
        match target {
            Target::Cpu => vec![len.div_ceil(PER_TASK)],
            Target::Gpu => vec![len.div_ceil(Self::chunk(len))],
        }
    }
}

impl ClipFactor {
    /// Elements whose squares one workgroup adds: few enough for many workgroups, so many that their sums are soon added.
    fn chunk(len: usize) -> usize {
        len.div_ceil(1024).next_multiple_of(64).max(1024)
    }

    fn cpu<T: SimdReal>(&self, kernel: &mut Kernel<'_, T>) {
        let (g, parallel) = (kernel.input(0), kernel.parallel());
        let ([factor, norm], [partial]) = kernel.outputs_and_scratch();
        crate::graph::for_each_piece(parallel, partial, 1, |i, sum| {
            let mut sums = [T::ZERO; 16];
            let piece = &g[i * PER_TASK..((i + 1) * PER_TASK).min(g.len())];
            for chunk in piece.chunks(16) {
                sums.iter_mut().zip(chunk).for_each(|(sum, &g)| *sum += g * g);
            }
            sum[0] = sums.into_iter().sum();
        });
        norm[0] = partial.iter().copied().sum::<T>().sqrt();
        let factor_of_norm = T::from_f64(self.max_norm) / (norm[0] + T::from_f64(1e-6));
        // Not `min`, which would hide NaN: PyTorch's factor is NaN, too.
        factor[0] = if factor_of_norm > T::ONE { T::ONE } else { factor_of_norm };
    }
}
