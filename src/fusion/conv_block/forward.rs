//! The CPU kernels of [`ConvBlock`] and [`BlockOutput`].

use super::statistics::{MOMENT_PATTERNS, MOMENTS, Moments, SIDE, merge, norm_patterns, normalise, pattern_len};
use super::{BlockOutput, ConvBlock, Entry};
use crate::graph::{Blocks, Kernel, SharedMut, for_each_piece};
use crate::kernels::conv2d::map::{Cut, Map, separate};
use crate::kernels::conv2d::minimal;
use crate::kernels::conv2d::packing::{Packing, Part, packed_len};
use crate::kernels::conv2d::product::Product;
use crate::kernels::conv2d::taps::x_map;
use crate::kernels::conv2d::{buffer_len, forward_lanes, forward_taps, forward_weights, rows_at_once};
use crate::kernels::lanes::{self, Rows};
use crate::kernels::prefetch::Prefetch;
use crate::kernels::simd::{MAX_LANES, SimdReal};
use crate::ops::ConvSizes;
use crate::tensor::Real;

/// Fills the map of a unit's input: as it is, or with the norm of the block before.
#[inline(always)]
pub(super) fn fill_input<T: Real>(map: &Map, to: &mut [T], x: &[T], sizes: &ConvSizes, norm: Option<&[T]>) {
    let row = sizes.input[1] * sizes.in_channels;
    match norm {
        None => map.fill_from_planes(to, x, sizes.input),
        Some(patterns) => {
            map.fill_border(to, sizes.input);
            let rows = map.inside(sizes.input);
            if !rows.is_empty() {
                let over = Rows { rows: rows.len(), row, period: pattern_len(sizes.in_channels) };
                normalise(over, (&mut to[map.at(rows.start, 0)..], map.pitch()), &x[rows.start * row..], patterns);
            }
        }
    }
}

/// Takes the results of some pixels out of a buffer; each pixel's distance from the next comes with the slice.
#[inline(always)]
pub(super) fn take_out<T: Real>((to, to_column): (&mut [T], usize), (from, pitch): (&[T], usize), channels: usize) {
    for (to, from) in to.chunks_mut(to_column).zip(from.chunks_exact(pitch)) {
        to[..channels].copy_from_slice(&from[..channels]);
    }
}

impl ConvBlock {
    pub(super) fn temporaries(&self, sizes: &ConvSizes) -> Vec<usize> {
        let units = Cut::new(sizes, sizes.items).units;
        vec![
            packed_len(sizes.out_channels, sizes.in_channels * sizes.taps()),
            if self.training() { units * MOMENTS * sizes.out_channels } else { 1 },
            3 * pattern_len(sizes.in_channels),
            minimal::weights_len(sizes),
        ]
    }

    pub(super) fn private(&self, sizes: &ConvSizes) -> usize {
        let row = sizes.output[1] * sizes.out_channels.next_multiple_of(MAX_LANES);
        let rows = Cut::new(sizes, sizes.items).block_rows();
        let tiles = minimal::scratch_len(sizes, [rows, sizes.output[1]]);
        let moments = MOMENT_PATTERNS * pattern_len(sizes.out_channels);
        x_map(sizes, &(0..rows)).len() + tiles + buffer_len(row) + moments
    }

    pub(super) fn cpu<T: SimdReal>(&self, kernel: &mut Kernel<'_, T>) {
        let Ok(sizes) = self.sizes(kernel.input_specs()) else {
            unreachable!("shapes were checked when the graph was built")
        };
        let (x, w, b) = (kernel.input(0), kernel.input(1), kernel.input(2));
        let before = (self.entry == Entry::Block).then(|| [5, 6, 7].map(|i| kernel.input(i)));
        let (parallel, private, share) = (kernel.parallel(), &mut kernel.private(), kernel.share());
        let ([r], [packed, moments, patterns, filtered]) = kernel.outputs_and_scratch::<1, 4>();
        let norm = before.map(|[saved, gamma, beta]| {
            norm_patterns(patterns, saved, gamma, beta);
            &*patterns
        });
        let channels = sizes.out_channels;
        let (lanes, taps) = (forward_lanes::<T>(&sizes), forward_taps(&sizes));
        let packing = Packing {
            lanes,
            channels: [channels, sizes.in_channels],
            kernel: sizes.kernel,
            part: |_| Part::alone(taps, 0),
            parts: 1,
            weights: forward_weights(&sizes, w),
            bias: Some(b),
        };
        packing.run(parallel, packed);
        minimal::filter(&sizes, parallel, &lanes, sizes.in_channels, packed, filtered);
        let (packed, filtered) = (&*packed, &*filtered);

        let cut = Cut::new(&sizes, sizes.items);
        let tiling = lanes.tiling(sizes.output[1]);
        let row = sizes.output[1] * channels;
        let item_len = sizes.input[0] * sizes.input[1] * sizes.in_channels;
        let looks_ahead = cut.whole() && Prefetch::pays(x.len() + r.len());
        let (r_start, all_moments) = (r.as_ptr().addr(), SharedMut::new(moments));
        let own = share.rows(cut.units);
        let own_r = share.rows(r.len());
        let units = Blocks::new(&mut r[own_r], sizes.output[0] * row, [1, cut.block_rows() * row]);
        parallel.for_pieces_with(units, private, |task, mut r, private| {
            let unit = own.start + task;
            let (item, rows) = cut.unit(unit);
            let map = x_map(&sizes, &rows);
            let r = r.row(cut.unit(task).0);
            let prefetch = match parallel.after(task).saturating_add(own.start) {
                next if looks_ahead && next < own.end => {
                    let steps = rows.len() * lanes.tiles(&tiling);
                    let r_len = sizes.output[0] * row;
                    Prefetch::new(
                        &(next..next + 1),
                        [(x.as_ptr(), item_len), (std::ptr::without_provenance(r_start), r_len)],
                        steps,
                    )
                }
                _ => Prefetch::none(),
            };
            let (source, rest) = private.split_at_mut(map.len());
            let (tiles, rest) = rest.split_at_mut(minimal::scratch_len(&sizes, [rows.len(), sizes.output[1]]));
            let x = &x[item * item_len..][..item_len];
            lanes::dispatch(
                #[inline(always)]
                || fill_input(&map, source, x, &sizes, norm),
            );
            let mut product = |rows: std::ops::Range<usize>, out: &mut [T], pitch: usize| {
                let columns = sizes.output[1];
                let (out_row, out_column) = (columns * pitch, pitch);
                Product {
                    source,
                    map,
                    taps,
                    lanes,
                    tiling,
                    weights: packed,
                    minimal: minimal::with(&sizes, filtered, &mut *tiles),
                    rows,
                    columns,
                    out,
                    out_row,
                    out_column,
                    out_last: pitch,
                    prefetch: &prefetch,
                }
                .run();
            };
            if lanes.pitch() == channels {
                product(0..rows.len(), r, channels);
            } else {
                let row_len = sizes.output[1] * lanes.pitch();
                let at_once = rows_at_once(row_len);
                for (i, r) in r.chunks_mut(at_once * row).enumerate() {
                    let count = r.len() / row;
                    let buffer = &mut rest[..count * row_len];
                    product(i * at_once..i * at_once + count, buffer, lanes.pitch());
                    lanes::dispatch(
                        #[inline(always)]
                        || take_out((r, channels), (buffer, lanes.pitch()), channels),
                    );
                }
            }
            if self.training() {
                // SAFETY: every unit has its own moments.
                let to = unsafe { all_moments.slice(unit * MOMENTS * channels..(unit + 1) * MOMENTS * channels) };
                Moments { to, scratch: rest, channels }.relu_and_measure(r);
            } else {
                lanes::dispatch(
                    #[inline(always)]
                    || r.iter_mut().for_each(|r| *r = r.max(T::ZERO)),
                );
            }
        });
        match self.momentum {
            Some(momentum) => {
                let ([], [_, moments]) = kernel.outputs_and_scratch::<0, 2>();
                share.gather(&mut moments[..cut.units * MOMENTS * channels]);
                self.finish(kernel, &sizes, &cut, momentum);
            }
            None => {
                let (mean, variance) = (kernel.input(3), kernel.input(4));
                let [_, saved] = kernel.outputs();
                for c in 0..channels {
                    saved[c] = mean[c];
                    saved[channels + c] = T::ONE / (variance[c] + T::from_f64(self.epsilon)).sqrt();
                }
            }
        }
    }

    /// The statistics of the batch, and the running ones.
    fn finish<T: Real>(&self, kernel: &mut Kernel<'_, T>, sizes: &ConvSizes, cut: &Cut, momentum: f64) {
        let channels = sizes.out_channels;
        let ([_, saved, running_mean, running_variance], [_, moments]) = kernel.outputs_and_scratch::<4, 2>();
        let all = (sizes.items * sizes.pixels()) as f64;
        lanes::dispatch(
            #[inline(always)]
            || {
                for first in (0..channels).step_by(SIDE) {
                    let end = (first + SIDE).min(channels);
                    let (means, variances) = merge((0..cut.units).map(
                        #[inline(always)]
                        |unit| {
                            let of_unit = &moments[unit * MOMENTS * channels..][..MOMENTS * channels];
                            let count = (cut.rows_of(unit) * sizes.output[1]) as f64;
                            (count, [0, 1, 2].map(|m| &of_unit[m * channels + first..m * channels + end]))
                        },
                    ));
                    for (i, c) in (first..end).enumerate() {
                        let (mean, variance) = (means[i], variances[i]);
                        saved[c] = T::from_f64(mean);
                        saved[channels + c] = T::from_f64(1.0 / (variance + self.epsilon).sqrt());
                        let unbiased = variance * (all / (all - 1.0));
                        let moved = |old: T, new: f64| T::from_f64(old.to_f64() * (1.0 - momentum) + new * momentum);
                        running_mean[c] = moved(running_mean[c], mean);
                        running_variance[c] = moved(running_variance[c], unbiased);
                    }
                }
            },
        );
    }
}

impl BlockOutput {
    pub(super) fn cpu<T: Real>(&self, kernel: &mut Kernel<'_, T>) {
        let (r, saved, gamma, beta) = (kernel.input(0), kernel.input(1), kernel.input(2), kernel.input(3));
        let shape = kernel.input_spec(0).shape;
        let (channels, pixels) = (shape[3], shape[1] * shape[2]);
        let parallel = kernel.parallel();
        for_each_piece(parallel, kernel.output(), channels * pixels, |item, y| {
            lanes::dispatch(
                #[inline(always)]
                || {
                    separate(y.chunks_exact_mut(pixels), &r[item * channels * pixels..], channels, channels, pixels);
                    for (c, y) in y.chunks_exact_mut(pixels).enumerate() {
                        let (mean, scale, beta) = (saved[c], saved[channels + c] * gamma[c], beta[c]);
                        y.iter_mut().for_each(|y| *y = (*y - mean) * scale + beta);
                    }
                },
            );
        });
    }
}
