//! Matrix product: `c = a b`, for every matrix of a batch.
//!
//! a is `[.., M, K]` (or `[.., K, M]` with `transpose_a`), b is `[.., K, N]` (or `[.., N, K]` with `transpose_b`) and c is
//! `[.., M, N]`. Leading axes are a batch: the same for a and b, or absent on b, which then serves every entry. [`Graph::matmul`] repeats
//! the matrices of batches that differ, as NumPy's broadcasting has it.

use super::gpu_tile::GpuProduct;
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{Cost, Division, Gradient, Graph, Kernel, Launch, Op, Value};
use crate::kernels::gemm::{self, GemmSizes, Matrix};
use crate::kernels::simd::SimdReal;
use crate::kernels::strided::broadcast;
use crate::tensor::{DType, Shape, Spec};

/// Matrix product of a batch, each factor optionally transposed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Matmul {
    /// Whether a is given as `[.., K, M]`.
    pub transpose_a: bool,
    /// Whether b is given as `[.., N, K]`.
    pub transpose_b: bool,
}

/// Sizes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatmulSizes {
    /// Matrices in the batch.
    pub batch: usize,
    /// Whether b is one matrix for the whole batch.
    pub shared_b: bool,
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Terms of each sum.
    pub k: usize,
}

impl Graph {
    /// Matrix product of a `[.., M, K]` with b `[.., K, N]`. The axes before the last two are batches. If they differ they broadcast, and
    /// repeated matrices are copied, except for a single matrix b.
    ///
    /// # Errors
    /// If the inner axes or the batches do not fit.
    ///
    /// ```
    /// # use humdinger::graph::Graph;
    /// let mut graph = Graph::default();
    /// let a = graph.constant([2, 2], vec![1.0, 2.0, 3.0, 4.0])?;
    /// let b = graph.constant([2, 1], vec![10.0, 1.0])?;
    /// let y = graph.matmul(a, b)?;
    /// assert_eq!(graph.evaluate(y, &[])?.data(), [12.0, 34.0]);
    /// # Ok::<(), humdinger::Error>(())
    /// ```
    pub fn matmul(&mut self, a: Value, b: Value) -> Result<Value> {
        let (x, y) = (self.shape(a), self.shape(b));
        if x.rank() < 2 || y.rank() < 2 {
            return self.apply_one(Matmul::default(), &[a, b]);
        }
        let ((a_batch, matrix_a), (b_batch, matrix_b)) =
            (x.dims().split_at(x.rank() - 2), y.dims().split_at(y.rank() - 2));
        if a_batch == b_batch || b_batch.is_empty() {
            return self.apply_one(Matmul::default(), &[a, b]);
        }
        let (mut a, mut b) = (a, b);
        if b_batch.len() <= a_batch.len() && b_batch.iter().all(|&len| len == 1) {
            b = self.reshape(b, matrix_b)?;
        } else if let Some(batch) = broadcast(Shape::new(a_batch), Shape::new(b_batch)) {
            a = self.expand(a, Shape::new(&[batch.dims(), matrix_a].concat()))?;
            b = self.expand(b, Shape::new(&[batch.dims(), matrix_b].concat()))?;
        }
        self.apply_one(Matmul::default(), &[a, b])
    }
}

impl Matmul {
    /// The sizes for these operands.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn sizes(&self, a: &Spec, b: &Spec) -> Result<MatmulSizes> {
        let refuse = |why: &str| Err(Error::op("matmul", format!("{why}: a {}, b {}, {self:?}", a.shape, b.shape)));
        if a.dtype != DType::Real || b.dtype != DType::Real {
            return refuse("works on real numbers, not on indices");
        }
        let (ad, bd) = (a.shape.dims(), b.shape.dims());
        if ad.len() < 2 || bd.len() < 2 {
            return refuse("both factors need at least two axes");
        }
        let (a_batch, a_matrix) = ad.split_at(ad.len() - 2);
        let (b_batch, b_matrix) = bd.split_at(bd.len() - 2);
        let (m, k) = if self.transpose_a { (a_matrix[1], a_matrix[0]) } else { (a_matrix[0], a_matrix[1]) };
        let (k_b, n) = if self.transpose_b { (b_matrix[1], b_matrix[0]) } else { (b_matrix[0], b_matrix[1]) };
        if k != k_b {
            return refuse("the inner axes differ");
        }
        if !b_batch.is_empty() && a_batch != b_batch {
            return refuse("the batches differ and do not broadcast");
        }
        if self.transpose_a && b_batch.is_empty() && !a_batch.is_empty() {
            return refuse("a transposed batch cannot meet one matrix b for all");
        }
        let batch = a_batch.iter().product();
        Ok(MatmulSizes { batch, shared_b: b_batch.is_empty() && !a_batch.is_empty(), m, n, k })
    }
}

impl Op for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let sizes = self.sizes(&inputs[0], &inputs[1])?;
        let mut dims = inputs[0].shape.dims().to_vec();
        let batch = dims.len() - 2;
        dims[batch..].copy_from_slice(&[sizes.m, sizes.n]);
        Ok(vec![Spec::real(Shape::new(&dims))])
    }

    fn gradient(&self, graph: &mut Graph, node: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        let Some(dc) = node.arriving[0] else { return Ok(vec![None; 2]) };
        let (a, b) = (node.inputs[0], node.inputs[1]);
        let sizes = self.sizes(&graph.spec(a), &graph.spec(b))?;
        let mut gradients = vec![None, None];
        if node.wanted[0] {
            // a = (dc b^T), or its transpose.
            gradients[0] = Some(if self.transpose_a {
                graph.apply_one(Self { transpose_a: self.transpose_b, transpose_b: true }, &[b, dc])?
            } else {
                graph.apply_one(Self { transpose_a: false, transpose_b: !self.transpose_b }, &[dc, b])?
            });
        }
        if node.wanted[1] {
            let (mut a, mut dc) = (a, dc);
            if sizes.shared_b {
                // All rows of the batch meet the same b: one tall matrix.
                a = graph.reshape(a, [sizes.batch * sizes.m, sizes.k])?;
                dc = graph.reshape(dc, [sizes.batch * sizes.m, sizes.n])?;
            }
            gradients[1] = Some(if self.transpose_b {
                graph.apply_one(Self { transpose_a: true, transpose_b: self.transpose_a }, &[dc, a])?
            } else {
                graph.apply_one(Self { transpose_a: !self.transpose_a, transpose_b: false }, &[a, dc])?
            });
        }
        Ok(gradients)
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], _: &[Spec]) -> Vec<Launch> {
        vec![self.gpu_product(inputs).launch(None)]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        let k = inputs[0].shape.dims()[inputs[0].shape.rank() - if self.transpose_a { 2 } else { 1 }];
        Cost::streaming(2.0 * (outputs[0].shape.elements() * k) as f64, inputs, outputs)
    }

    fn division(&self, inputs: &[Spec], _: usize) -> Division {
        match [inputs[0].shape.rank(), inputs[1].shape.rank()] {
            [2, _] if self.transpose_a => Division::Whole,
            [_, 2] => Division::rows_of(&[true, false]),
            _ => Division::rows(2),
        }
    }

    fn private_scratch(&self, _: &[Spec], _: &[Spec]) -> usize {
        gemm::SCRATCH
    }
}

impl Matmul {
    /// The product as its GPU kernel takes it.
    fn gpu_product(&self, inputs: &[Spec]) -> GpuProduct {
        let sizes = self.sizes(&inputs[0], &inputs[1]).expect("the shapes were checked when the graph was built");
        GpuProduct {
            batch: sizes.batch,
            rows: sizes.m,
            columns: sizes.n,
            terms: sizes.k,
            transpose_a: self.transpose_a,
            transpose_b: self.transpose_b,
            shared_b: sizes.shared_b,
        }
    }

    fn cpu<T: SimdReal>(&self, kernel: &mut Kernel<'_, T>) {
        let Ok(sizes) = self.sizes(&kernel.input_spec(0), &kernel.input_spec(1)) else {
            unreachable!("shapes were checked when the graph was built")
        };
        let MatmulSizes { batch, shared_b, m, n, k } = sizes;
        let (a, b) = (kernel.input(0), kernel.input(1));
        let (parallel, private) = (kernel.parallel(), &mut kernel.private());
        let [a_row, a_column] = if self.transpose_a { [1, m] } else { [k, 1] };
        let [b_row, b_column] = if self.transpose_b { [1, k] } else { [n, 1] };
        let product = GemmSizes { m, n, k, bias: None };
        gemm::multiply(parallel, private, product, batch, kernel.output(), |entry| {
            let a = Matrix { data: a, start: entry * m * k, row: a_row, column: a_column };
            let start = if shared_b { 0 } else { entry * k * n };
            (a, Matrix { data: b, start, row: b_row, column: b_column }, entry * m * n)
        });
    }
}
