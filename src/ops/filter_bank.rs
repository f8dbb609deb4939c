//! A bank of filters over the bins of a spectrum: a sparse matrix whose rows are runs of consecutive weights.

use super::items::expect_rank;
use super::relu::PER_WORKGROUP;
use crate::cpu_kernels;
use crate::error::{Error, Result};
use crate::graph::{
    Cost, Division, Gradient, Graph, Kernel, Launch, Op, Operand, Shader, Value, for_each_piece, grid, no_gradient,
};
use crate::kernels::simd::dispatch;
use crate::shader;
use crate::tensor::{Real, Spec};
use pulp::{Simd, WithSimd};

static FILTER_BANK: Shader = shader!("filter_bank");

/// A sparse `[bands, bins]` matrix: band b has the weights `weights[offset[b]..offset[b + 1]]` from bin `first[b]` on.
#[derive(Debug, Clone, PartialEq)]
pub struct BankRows {
    /// Bins of the spectrum.
    pub bins: usize,
    /// First bin of each band.
    pub first: Vec<u32>,
    /// The start of each band's weights, and the end of the last: bands + 1 entries.
    pub offset: Vec<u32>,
    /// All weights.
    pub weights: Vec<f64>,
}

impl BankRows {
    /// Number of bands.
    pub fn bands(&self) -> usize {
        self.first.len()
    }

    /// # Errors
    /// If a run extends beyond the bins or the offsets do not fit the weights.
    pub(super) fn check(&self, op: &'static str) -> Result<()> {
        let ordered = self.offset.windows(2).all(|pair| pair[0] <= pair[1]);
        let ends = self.offset.len() == self.first.len() + 1
            && self.offset[0] == 0
            && self.offset[self.first.len()] as usize == self.weights.len();
        let runs = self.offset.windows(2).map(|pair| pair[1].saturating_sub(pair[0]) as usize);
        let inside = self.first.iter().zip(runs).all(|(&first, run)| first as usize + run <= self.bins);
        if self.first.is_empty() || self.weights.is_empty() || !(ordered && ends && inside) {
            let (bands, weights) = (self.first.len(), self.weights.len());
            let detail = format!("a bank of {bands} bands and {weights} weights over {} bins is malformed", self.bins);
            return Err(Error::op(op, detail));
        }
        Ok(())
    }

    /// The three tables as constants: first [bands], offset [bands + 1], weights [all].
    pub(super) fn constants(&self, graph: &mut Graph) -> Result<[Value; 3]> {
        Ok([
            graph.index_constant([self.first.len()], self.first.clone())?,
            graph.index_constant([self.offset.len()], self.offset.clone())?,
            graph.constant([self.weights.len()], self.weights.clone())?,
        ])
    }
}

/// `y[n, c, band, frame] = sum over bins of w[band, bin] x[n, c, frame, bin]`. Inputs x [N, C, frames, bins] and the three tables of
/// [`BankRows`]; output [N, C, bands, frames].
#[derive(Debug)]
pub struct ApplyFilterBank {
    /// Bins that the tables were made for.
    pub bins: usize,
}

impl Graph {
    /// Sums the bins of x [N, C, frames, bins] into bands: [N, C, bands, frames]. Has no gradient.
    ///
    /// # Errors
    /// If x has another shape or the bank is malformed.
    pub fn filter_bank(&mut self, x: Value, bank: &BankRows) -> Result<Value> {
        bank.check("filter_bank")?;
        let [first, offset, weights] = bank.constants(self)?;
        self.apply_one(ApplyFilterBank { bins: bank.bins }, &[x, first, offset, weights])
    }
}

/// The bands of one spectrum; band b goes to `y[b * stride]`.
struct Bands<'a, T> {
    first: &'a [u32],
    offset: &'a [u32],
    weights: &'a [T],
    power: &'a [T],
    y: &'a mut [T],
    stride: usize,
}

impl<T: Real> WithSimd for Bands<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (band, &first) in self.first.iter().enumerate() {
            let weights = &self.weights[self.offset[band] as usize..self.offset[band + 1] as usize];
            self.y[band * self.stride] = dot(weights, &self.power[first as usize..][..weights.len()]);
        }
    }
}

/// `sum(weights * x)` in eight lanes.
#[inline(always)]
fn dot<T: Real>(weights: &[T], x: &[T]) -> T {
    let mut lanes = [T::ZERO; 8];
    let ((w, w_rest), (x, x_rest)) = (weights.as_chunks::<8>(), x.as_chunks::<8>());
    for (w, x) in w.iter().zip(x) {
        for l in 0..8 {
            lanes[l] += w[l] * x[l];
        }
    }
    for l in 0..w_rest.len() {
        lanes[l] += w_rest[l] * x_rest[l];
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

impl Op for ApplyFilterBank {
    fn name(&self) -> &'static str {
        "filter_bank"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect_rank(self.name(), "the spectrum", &inputs[0], "[N, C, frames, bins]", 4)?;
        let x = inputs[0].shape;
        if x[3] != self.bins {
            return Err(Error::op(self.name(), format!("the bank is made for {} bins, not for {x}", self.bins)));
        }
        Ok(vec![Spec::real([x[0], x[1], inputs[1].shape[0], x[2]])])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn gpu(&self, inputs: &[Spec], outputs: &[Spec]) -> Vec<Launch> {
        let (y, total) = (outputs[0].shape, outputs[0].shape.elements());
        vec![Launch {
            shader: &FILTER_BANK,
            constants: vec![
                ("TOTAL", total as f64),
                ("BINS", inputs[0].shape[3] as f64),
                ("BANDS", y[2] as f64),
                ("FRAMES", y[3] as f64),
            ],
            operands: vec![
                Operand::Input(0),
                Operand::Input(1),
                Operand::Input(2),
                Operand::Input(3),
                Operand::Output(0),
            ],
            workgroups: grid(total.div_ceil(PER_WORKGROUP)),
        }]
    }

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        let x = inputs[0].shape;
        Cost::streaming((2 * inputs[3].shape.elements() * x[0] * x[1] * x[2]) as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows_of(&[true, false, false, false])
    }
}

impl ApplyFilterBank {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let shape = kernel.output_spec(0).shape;
        let (bands, frames) = (shape[2], shape[3]);
        let (x, first, offset, weights) = (kernel.input(0), kernel.indices(1), kernel.indices(2), kernel.input(3));
        let (bins, parallel) = (self.bins, kernel.parallel());
        for_each_piece(parallel, kernel.output(), bands * frames, |row, y| {
            let x = &x[row * frames * bins..][..frames * bins];
            for (frame, x) in x.chunks_exact(bins).enumerate() {
                dispatch(Bands { first, offset, weights, power: x, y: &mut y[frame..], stride: frames });
            }
        });
    }
}
