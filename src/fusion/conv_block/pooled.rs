//! Where a network takes the mean over each plane of its last block: the norm and the mean in one operation, and in one more the
//! gradient spread over the planes, with the sums that the block's gradient needs.

use super::backward::{add_up, measure};
use super::statistics::pattern_len;
use super::{Entry, SUMS, expect_entry, expect_map};
use crate::cpu_kernels;
use crate::error::Result;
use crate::graph::{Blocks, Cost, CpuOp, Division, Gradient, Graph, Kernel, Stretches, Value, no_gradient};
use crate::kernels::lanes::{self, Rows};
use crate::ops::{expect, real};
use crate::tensor::{Real, Spec};

/// Elements of r that a task reads at least: some half a microsecond's work.
const PER_TASK: usize = 2048;

/// The mean over each plane of the norm of the last block: inputs r `[N, H, W, C]`, statistics `[2, C]`, gamma and beta `[C]`;
/// output `[N, C]`.
#[derive(Clone, Copy, Debug)]
pub struct BlockMean;

/// The gradient with respect to that norm's output: inputs the gradient of each of its elements `[N, C, 1, 1]`, which is the same
/// over a plane, r and the statistics; outputs dy `[N, H, W, C]` and its sums `[3, C]` for
/// [`ConvBlockGradient`](super::ConvBlockGradient).
#[derive(Clone, Copy, Debug)]
pub struct BlockMeanGradient;

/// How many items a task takes.
fn items_per_task(r: &Spec) -> usize {
    (PER_TASK * r.shape[0]).div_ceil(r.shape.elements().max(1)).max(1)
}

impl CpuOp for BlockMean {
    fn name(&self) -> &'static str {
        "block_mean"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        real(self.name(), inputs)?;
        expect_map(self.name(), "r", &inputs[0])?;
        let r = inputs[0].shape;
        expect_entry(self.name(), Entry::Block, &inputs[1..], r[3])?;
        Ok(vec![Spec::real([r[0], r[3]])])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(2.0 * inputs[0].shape.elements() as f64, inputs, outputs)
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::rows_of(&[true, false, false, false])
    }

    fn private_scratch(&self, inputs: &[Spec], _: &[Spec]) -> usize {
        inputs[0].shape[3]
    }
}

impl BlockMean {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (r, saved, gamma, beta) = (kernel.input(0), kernel.input(1), kernel.input(2), kernel.input(3));
        let spec = kernel.input_spec(0);
        let [height, width, channels] = [1, 2, 3].map(|axis| spec.shape[axis]);
        let (mean, inverse) = saved.split_at(channels);
        let per_pixel = T::ONE / T::from_f64((height * width) as f64);
        let (parallel, private) = (kernel.parallel(), &mut kernel.private());
        let per_task = items_per_task(&spec);
        parallel.for_pieces_with(Stretches::new(kernel.output(), per_task * channels), private, |task, y, line| {
            let line = &mut line[..channels];
            let maps = r.chunks_exact(height * width * channels).skip(task * per_task);
            lanes::dispatch(
                #[inline(always)]
                || {
                    for (y, r) in y.chunks_exact_mut(channels).zip(maps.clone()) {
                        y.fill(T::ZERO);
                        // Row by row, so that no sum has many terms.
                        for row in r.chunks_exact(width * channels) {
                            line.fill(T::ZERO);
                            lanes::sweep(
                                Rows { rows: 1, row: row.len(), period: channels },
                                [(row, 0)],
                                [mean],
                                [],
                                [&mut *line],
                                #[inline(always)]
                                |[r], [mean], [], [sum]| ([], [sum + (r - mean)]),
                            );
                            y.iter_mut().zip(&*line).for_each(|(y, &sum)| *y += sum);
                        }
                        lanes::sweep(
                            Rows { rows: 1, row: channels, period: channels },
                            [],
                            [inverse, gamma, beta],
                            [(y, 0)],
                            [],
                            #[inline(always)]
                            |[], [inverse, gamma, beta], [y], []| ([y * per_pixel * (inverse * gamma) + beta], []),
                        );
                    }
                },
            );
        });
    }
}

impl CpuOp for BlockMeanGradient {
    fn name(&self) -> &'static str {
        "block_mean_gradient"
    }

    fn outputs(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let name = self.name();
        real(name, inputs)?;
        expect_map(name, "r", &inputs[1])?;
        let r = inputs[1].shape;
        expect(name, "the gradient", inputs[0], &[r[0], r[3], 1, 1])?;
        expect(name, "the statistics", inputs[2], &[2, r[3]])?;
        Ok(vec![inputs[1], Spec::real([SUMS, r[3]])])
    }

    fn gradient(&self, _: &mut Graph, _: &Gradient<'_>) -> Result<Vec<Option<Value>>> {
        no_gradient(self.name())
    }

    cpu_kernels!();

    fn cost(&self, inputs: &[Spec], outputs: &[Spec]) -> Cost {
        Cost::streaming(6.0 * inputs[1].shape.elements() as f64, inputs, outputs)
    }

    fn scratch(&self, inputs: &[Spec], _: &[Spec]) -> Vec<usize> {
        vec![inputs[1].shape[0] * SUMS * inputs[1].shape[3]]
    }

    fn private_scratch(&self, inputs: &[Spec], _: &[Spec]) -> usize {
        4 * pattern_len(inputs[1].shape[3])
    }

    fn division(&self, _: &[Spec], _: usize) -> Division {
        Division::Shared { inputs: vec![true, true, false], outputs: vec![true, false], items: 1 }
    }
}

impl BlockMeanGradient {
    fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (d, r, saved) = (kernel.input(0), kernel.input(1), kernel.input(2));
        let spec = kernel.input_spec(1);
        let (items, channels) = (spec.shape[0], spec.shape[3]);
        let each = spec.shape.elements() / items.max(1);
        let (parallel, private, share) = (kernel.parallel(), &mut kernel.private(), kernel.share());
        let ([dy, sums], [item_sums]) = kernel.outputs_and_scratch::<2, 1>();
        let item_sums = &mut item_sums[..items * SUMS * channels];
        let per_task = items_per_task(&spec);
        let rows = |data, row| Blocks::new(data, row, [per_task, row]);
        let own = share.rows(items);
        let own_sums = own.start * SUMS * channels..own.end * SUMS * channels;
        let cut =
            (rows(&mut dy[own.start * each..own.end * each], each), rows(&mut item_sums[own_sums], SUMS * channels));
        parallel.for_pieces_with(cut, private, |_, (mut dy, mut sums), scratch| {
            for i in dy.rows() {
                let (dy, sums, item) = (dy.row(i), sums.row(i), own.start + i);
                let d = &d[item * channels..][..channels];
                dy.chunks_exact_mut(channels).for_each(|pixel| pixel.copy_from_slice(d));
                measure(sums, scratch, dy, &r[item * each..][..each], &saved[..channels]);
            }
        });
        share.gather(item_sums);
        add_up(sums, item_sums, channels);
    }
}
