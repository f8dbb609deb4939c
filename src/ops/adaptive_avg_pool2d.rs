//! Adaptive average pooling: the mean over windows that divide the image into a given number of rows and columns, by
//! PyTorch's rule: row i of OH covers rows `floor(i H / OH)` to `ceil((i + 1) H / OH)`, so windows may overlap.

use super::relu::PER_WORKGROUP;
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Value, for_each_piece, grid, no_gradient,
};
use crate::kernels::lanes;
use crate::shader;
use crate::tensor::{Real, Spec};

static FORWARD: Shader = shader!("adaptive_avg_pool2d");
static GRADIENT: Shader = shader!("adaptive_avg_pool2d_gradient");

/// Elements that a task of the CPU kernels works on, about.
const PER_TASK: usize = 16_384;

/// Input x `[N, C, H, W]`, output y `[N, C, output[0], output[1]]`.
#[derive(Debug)]
pub struct AdaptiveAvgPool2d {
    /// Rows and columns of the output.
    pub output: [usize; 2],
}

/// Every dy is spread evenly over its window. Input dy, output dx `[N, C, input[0], input[1]]`.
#[derive(Debug)]
pub struct AdaptiveAvgPool2dGradient {
    /// Rows and columns of the pooling's input.
    pub input: [usize; 2],
}

impl Graph {
    /// The mean over windows that divide `x` `[N, C, H, W]` into `output` rows and columns.
    ///
    /// # Errors
    /// If x is not of rank 4 or an output size is zero.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([1, 1, 1, 3], vec![1.0, 2.0, 6.0])?;
    /// let y = graph.adaptive_avg_pool2d(x, [1, 2])?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [1.5, 4.0], "parts overlap where they do not divide");
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn adaptive_avg_pool2d(&mut self, x: Value, output: [usize; 2]) -> Result<Value> {
        self.apply_one(AdaptiveAvgPool2d { output }, &[x])
    }
}

/// The window of output `i` of `outputs` along an axis of `len`.
#[inline(always)]
fn window(i: usize, outputs: usize, len: usize) -> std::ops::Range<usize> {
    i * len / outputs..((i + 1) * len).div_ceil(outputs)
}

fn constants(x: Spec, y: Spec) -> Vec<(&'static str, f64)> {
    let (x, y) = (x.shape, y.shape);
    ["PLANES", "H", "W", "OH", "OW"]
        .into_iter()
        .zip([x[0] * x[1], x[2], x[3], y[2], y[3]].map(|size| size as f64))
        .collect()
}

impl Op for AdaptiveAvgPool2d {
    fn name(&self) -> &'static str {
        "adaptive_avg_pool2d"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real(self.name(), inputs)?;
        let x = inputs[0].shape;
        if x.rank() != 4 {
            return Err(Error::op(self.name(), format!("the input has shape {x}, but must be [N, C, H, W]")));
        }
        let [oh, ow] = self.output;
        if oh == 0 || ow == 0 {
            return Err(Error::op(self.name(), format!("the output size {:?} has a zero (input {x})", self.output)));
        }
        Ok(vec![Spec::real([x[0], x[1], oh, ow])])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None]) };
        let x = graph.shape(node.inputs[0]);
        Ok(vec![Some(graph.apply_one(AdaptiveAvgPool2dGradient { input: [x[2], x[3]] }, &[dy])?)])
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let count = outputs[0].shape.elements();
        // A whole workgroup for a window only where there is work for it.
        let wide = inputs[0].shape.elements() / count >= 64;
        let mut constants = constants(inputs[0], outputs[0]);
        constants.push(("WIDE", f64::from(u8::from(wide))));
        vec![Launch {
            shader: &FORWARD,
            constants,
            operands: vec![Operand::Input(0), Operand::Output(0)],
            workgroups: grid(if wide { count } else { count.div_ceil(64) }),
        }]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(inputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows(1)
    }
}

impl AdaptiveAvgPool2d {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, shape, parallel) = (kernel.input(0), kernel.input_spec(0).shape, kernel.parallel());
        let ([h, w], [oh, ow]) = ([shape[2], shape[3]], self.output);
        let planes = (PER_TASK / (h * w).max(oh * ow)).max(1);
        for_each_piece(parallel, kernel.output(), planes * oh * ow, |task, y| {
            lanes::dispatch(
                #[inline(always)]
                || {
                    for (p, y) in y.chunks_exact_mut(oh * ow).enumerate() {
                        let x = &x[(task * planes + p) * h * w..][..h * w];
                        for (o, y) in y.iter_mut().enumerate() {
                            let (rows, columns) = (window(o / ow, oh, h), window(o % ow, ow, w));
                            let area = T::from_f64((rows.len() * columns.len()) as f64);
                            let sum = if columns.len() == w {
                                lanes::sum(&x[rows.start * w..rows.end * w])
                            } else {
                                let mut sum = T::ZERO;
                                for row in rows {
                                    for &value in &x[row * w..][columns.clone()] {
                                        sum += value;
                                    }
                                }
                                sum
                            };
                            *y = sum / area;
                        }
                    }
                },
            );
        });
    }
}

impl Op for AdaptiveAvgPool2dGradient {
    fn name(&self) -> &'static str {
        "adaptive_avg_pool2d_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let dy = inputs[0].shape;
        Ok(vec![Spec::real([dy[0], dy[1], self.input[0], self.input[1]])])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        vec![Launch {
            shader: &GRADIENT,
            constants: constants(outputs[0], inputs[0]),
            operands: vec![Operand::Input(0), Operand::Output(0)],
            workgroups: grid(outputs[0].shape.elements().div_ceil(PER_WORKGROUP)),
        }]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(outputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows(1)
    }
}

impl AdaptiveAvgPool2dGradient {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (dy, shape, parallel) = (kernel.input(0), kernel.input_spec(0).shape, kernel.parallel());
        let ([h, w], [oh, ow]) = (self.input, [shape[2], shape[3]]);
        let planes = (PER_TASK / (h * w).max(oh * ow)).max(1);
        for_each_piece(parallel, kernel.output(), planes * h * w, |task, dx| {
            lanes::dispatch(
                #[inline(always)]
                || {
                    for (p, dx) in dx.chunks_exact_mut(h * w).enumerate() {
                        dx.fill(T::ZERO);
                        let dy = &dy[(task * planes + p) * oh * ow..][..oh * ow];
                        for (o, &dy) in dy.iter().enumerate() {
                            let (rows, columns) = (window(o / ow, oh, h), window(o % ow, ow, w));
                            let share = dy / T::from_f64((rows.len() * columns.len()) as f64);
                            for row in rows {
                                dx[row * w..][columns.clone()].iter_mut().for_each(|dx| *dx += share);
                            }
                        }
                    }
                },
            );
        });
    }
}
