//! The fully connected layer: `y = x w^T + b`, with x `[N, I]`, w `[O, I]`, b `[O]` and y `[N, O]`: PyTorch's `Linear`.

use super::gpu_tile::GpuProduct;
use super::{Conv2dWeightGradient, ConvOptions, ConvSizes, Matmul};
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Target, Value, no_gradient};
use crate::kernels::gemm::{self, GemmSizes, Matrix};
use crate::kernels::simd::SimdReal;
use crate::tensor::Spec;

/// `y = x w^T + b`. Inputs x, w, b; output y.
#[derive(Clone, Copy, Debug)]
pub struct Linear;

/// The gradients of [`Linear`] with respect to w and b: inputs x and dy, outputs `dw = dy^T x` and `db`, dy's sum over items.
#[derive(Clone, Copy, Debug)]
pub struct LinearWeightGradient;

impl Graph {
    /// `x w^T + b`, with x `[N, I]`, w `[O, I]`, b `[O]`.
    ///
    /// # Errors
    /// If the shapes do not fit.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let x = graph.constant([1, 2], vec![1.0, 2.0])?;
    /// let w = graph.constant([3, 2], vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0])?;
    /// let b = graph.constant([3], vec![0.0, 0.0, 10.0])?;
    /// let y = graph.linear(x, w, b)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [1.0, 2.0, 13.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn linear(&mut self, x: Value, w: Value, b: Value) -> Result<Value> {
        self.apply_one(Linear, &[x, w, b])
    }
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let (x, w, b) = (inputs[0].shape, inputs[1].shape, inputs[2].shape);
        let real = inputs.iter().all(|spec| *spec == Spec::real(spec.shape));
        if !real || x.rank() != 2 || w.rank() != 2 || x[1] != w[1] || b.dims() != [w[0]] {
            let detail = format!("wants x [N, I], w [O, I], b [O] of real numbers, got x {x}, w {w}, b {b}");
            return Err(Error::op("linear", detail));
        }
        Ok(vec![Spec::real([x[0], w[0]])])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dy) = node.arriving[0] else { return Ok(vec![None; 3]) };
        let mut gradients = vec![None; 3];
        if node.wanted[0] {
            gradients[0] = Some(graph.apply_one(Matmul::default(), &[dy, node.inputs[1]])?);
        }
        if node.wanted[1] || node.wanted[2] {
            let made = graph.apply(LinearWeightGradient, &[node.inputs[0], dy])?;
            (gradients[1], gradients[2]) = (Some(made[0]), Some(made[1]));
        }
        Ok(gradients)
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        let (x, w) = (inputs[0].shape, inputs[1].shape);
        let product = GpuProduct {
            batch: 1,
            rows: x[0],
            columns: w[0],
            terms: x[1],
            transpose_a: false,
            transpose_b: true,
            shared_b: false,
        };
        vec![product.launch(Some(Operand::Input(2)))]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(2.0 * (inputs[0].shape.elements() * inputs[1].shape[0]) as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows_of(&[true, false, false])
    }

    fn private_scratch(&self, _: &[Spec], _: &[Spec]) -> usize {
        gemm::SCRATCH
    }
}

impl Linear {
    fn cpu<T: SimdReal>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, w, b) = (kernel.input(0), kernel.input(1), kernel.input(2));
        let (x_shape, n) = (kernel.input_spec(0).shape, kernel.input_spec(1).shape[0]);
        let (m, k) = (x_shape[0], x_shape[1]);
        let (parallel, private) = (kernel.parallel(), &mut kernel.private());
        let product = GemmSizes { m, n, k, bias: Some(b) };
        gemm::multiply(parallel, private, product, 1, kernel.output(), |_| {
            let x = Matrix { data: x, start: 0, row: k, column: 1 };
            (x, Matrix { data: w, start: 0, row: 1, column: k }, 0)
        });
    }
}

impl Op for LinearWeightGradient {
    fn name(&self) -> &'static str {
        "linear_weight_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let (x, dy) = (inputs[0].shape, inputs[1].shape);
        if x.rank() != 2 || dy.rank() != 2 || x[0] != dy[0] {
            return Err(Error::op(self.name(), format!("wants x [N, I] and dy [N, O], got x {x}, dy {dy}")));
        }
        Ok(vec![Spec::real([dy[1], x[1]]), Spec::real([dy[1]])])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        Self::as_convolution(inputs).launches(inputs, outputs)
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(2.0 * (inputs[0].shape.elements() * inputs[1].shape[1]) as f64, inputs, outputs)
    }

    fn scratch(&self, inputs: &[Spec], outputs: &[Spec], target: Target) -> Vec<usize> {
        match target {
            Target::Cpu => Vec::new(),
            Target::Gpu => Self::as_convolution(inputs).gpu_temporaries(inputs, outputs),
        }
    }

    fn private_scratch(&self, _: &[Spec], _: &[Spec]) -> usize {
        gemm::SCRATCH
    }
}

impl LinearWeightGradient {
    /// For a GPU: a linear layer is a convolution of one pixel with one tap, whose kernel makes db along with dw.
    fn as_convolution(inputs: &[Spec]) -> Conv2dWeightGradient {
        let (x, dy) = (inputs[0].shape, inputs[1].shape);
        let sizes = ConvSizes {
            items: x[0],
            in_channels: x[1],
            out_channels: dy[1],
            groups: 1,
            input: [1, 1],
            output: [1, 1],
            kernel: [1, 1],
            options: ConvOptions::default(),
        };
        Conv2dWeightGradient { sizes, bias: true }
    }

    fn cpu<T: SimdReal>(&self, kernel: &mut Kernel<'_, T>) {
        let (x, dy) = (kernel.input(0), kernel.input(1));
        let (items, inputs, outputs) =
            (kernel.input_spec(0).shape[0], kernel.input_spec(0).shape[1], kernel.input_spec(1).shape[1]);
        let (parallel, private) = (kernel.parallel(), &mut kernel.private());
        let [dw, db] = kernel.outputs();
        let product = GemmSizes { m: outputs, n: inputs, k: items, bias: None };
        gemm::multiply(parallel, private, product, 1, dw, |_| {
            let dy = Matrix { data: dy, start: 0, row: 1, column: outputs };
            (dy, Matrix { data: x, start: 0, row: inputs, column: 1 }, 0)
        });
        db.fill(T::ZERO);
        for line in dy.chunks_exact(outputs) {
            db.iter_mut().zip(line).for_each(|(db, &dy)| *db += dy);
        }
    }
}
