//! Average pooling of images, as PyTorch's `AvgPool2d`: the mean of each window's elements, with or without those in the padding, which
//! are 0. Elements of a window beyond the padding (see [`Windows::ceil`]) never count.

use super::relu::PER_WORKGROUP;
use super::windows::Windows;
use crate::cpu_kernels;
use crate::error::Result;
use crate::graph::{
    Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Value, for_each_piece, grid, no_gradient,
};
use crate::kernels::lanes;
use crate::shader;
use crate::tensor::{Real, Shape, Spec};
use std::sync::Arc;

static FORWARD: Shader = shader!("avg_pool2d", "windows");
static GRADIENT: Shader = shader!("avg_pool2d_gradient", "windows");

/// Elements that a task of the CPU kernels works on, about.
const PER_TASK: usize = 8192;

/// Input x `[N, C, H, W]`, output y `[N, C, OH, OW]`.
#[derive(Clone, Copy, Debug)]
pub struct AvgPool2d {
    /// The windows.
    pub windows: Windows,
    /// Whether elements in the padding count.
    pub count_padding: bool,
}

/// Gives every element of a window its share of dy. Input dy, output dx.
#[derive(Clone, Copy, Debug)]
pub struct AvgPool2dGradient {
    /// The pooling.
    pub pool: AvgPool2d,
    /// The shape of its input.
    pub shape: Shape,
}

impl Graph {
    /// The mean over each window of `x` `[N, C, H, W]`; elements in the padding are 0 and count only if `count_padding` is true.
    ///
    /// # Errors
    /// As [`Graph::max_pool2d`].
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// # use humdinger::ops::Windows;
    /// let x = graph.constant([1, 1, 2, 4], vec![1.0, 2.0, 3.0, 4.0, 8.0, 7.0, 6.0, 5.0])?;
    /// let y = graph.avg_pool2d(x, Windows::square(2), true)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [4.5, 4.5]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn avg_pool2d(&mut self, x: Value, windows: Windows, count_padding: bool) -> Result<Value> {
        self.apply_one(AvgPool2d { windows, count_padding }, &[x])
    }
}

impl AvgPool2d {
    fn launch(&self, shader: &'static Shader, x: Shape, y: Shape, len: usize) -> Vec<Launch> {
        let mut constants = self.windows.constants(x, y);
        constants.push(("COUNT_PADDING", f64::from(u8::from(self.count_padding))));
        let operands = vec![Operand::Input(0), Operand::Output(0)];
        vec![Launch { shader, constants, operands, workgroups: grid(len.div_ceil(PER_WORKGROUP)) }]
    }

    /// How many elements the mean of a window is over.
    #[inline(always)]
    fn count<T: Real>(&self, x: Shape, row: usize, column: usize) -> T {
        let along = |axis: usize, window| self.windows.elements(axis, x[2 + axis], window, self.count_padding);
        T::from_f64((along(0, row) * along(1, column)) as f64)
    }

    /// How many planes a task works on.
    fn planes(&self, x: Shape, y: Shape) -> usize {
        let window = self.windows.kernel[0] * self.windows.kernel[1];
        (PER_TASK / (x[2] * x[3]).max(y[2] * y[3] * window)).max(1)
    }

    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, shape, out) = (kernel.input(0), kernel.input_spec(0).shape, kernel.output_spec(0).shape);
        let (h, w, oh, ow, parallel) = (shape[2], shape[3], out[2], out[3], kernel.parallel());
        let [kh, kw] = self.windows.kernel;
        let planes = self.planes(shape, out);
        for_each_piece(parallel, kernel.output(), planes * oh * ow, |task, y| {
            for (o, y) in y.iter_mut().enumerate() {
                let x = &x[(task * planes + o / (oh * ow)) * h * w..][..h * w];
                let (row, column) = (o / ow % oh, o % ow);
                let mut sum = T::ZERO;
                for r in (0..kh).filter_map(|i| self.windows.place(0, h, row, i)) {
                    for c in (0..kw).filter_map(|j| self.windows.place(1, w, column, j)) {
                        sum += x[r * w + c];
                    }
                }
                *y = sum / self.count(shape, row, column);
            }
        });
    }
}

impl Op for AvgPool2d {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        super::real(self.name(), inputs)?;
        Ok(vec![Spec::real(self.windows.output(self.name(), inputs[0].shape)?)])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None]) };
        let op = AvgPool2dGradient { pool: *self, shape: graph.shape(node.inputs[0]) };
        Ok(vec![Some(graph.apply_one(op, &[dy])?)])
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        self.launch(&FORWARD, inputs[0].shape, outputs[0].shape, outputs[0].shape.elements())
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        let window = self.windows.kernel[0] * self.windows.kernel[1];
        Cost::streaming((outputs[0].shape.elements() * window) as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows(1)
    }
}

impl Op for AvgPool2dGradient {
    fn name(&self) -> &'static str {
        "avg_pool2d_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let y = self.pool.windows.output(self.name(), self.shape)?;
        super::expect(self.name(), "the gradient", inputs[0], &y)?;
        Ok(vec![Spec::real(self.shape)])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        self.pool.launch(&GRADIENT, self.shape, inputs[0].shape, self.shape.elements())
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        self.pool.cost(outputs, inputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows(1)
    }

    fn of_rows(&self, items: usize, own: usize) -> Option<Arc<dyn Op>> {
        Some(Arc::new(Self { shape: self.shape.of_rows(items, own), ..*self }))
    }
}

impl AvgPool2dGradient {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (dy, out, parallel) = (kernel.input(0), kernel.input_spec(0).shape, kernel.parallel());
        let (pool, windows, shape) = (self.pool, self.pool.windows, self.shape);
        let (h, w, oh, ow) = (shape[2], shape[3], out[2], out[3]);
        let [kh, kw] = windows.kernel;
        let planes = pool.planes(shape, out);
        for_each_piece(parallel, kernel.output(), planes * h * w, |task, dx| {
            lanes::dispatch(
                #[inline(always)]
                || dx.fill(T::ZERO),
            );
            for (p, dx) in dx.chunks_exact_mut(h * w).enumerate() {
                let dy = &dy[(task * planes + p) * oh * ow..][..oh * ow];
                for (o, &dy) in dy.iter().enumerate() {
                    let (row, column) = (o / ow, o % ow);
                    let share = dy / pool.count(shape, row, column);
                    for r in (0..kh).filter_map(|i| windows.place(0, h, row, i)) {
                        for c in (0..kw).filter_map(|j| windows.place(1, w, column, j)) {
                            dx[r * w + c] += share;
                        }
                    }
                }
            }
        });
    }
}
