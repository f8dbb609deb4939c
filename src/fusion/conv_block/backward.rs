//! The CPU kernel of [`ConvBlockGradient`].
//!
//! First each unit's sums of dy, of dy times the distance from the mean, and of that distance; from these follow the
//! gradients of gamma and beta, and how the gradient g with respect to the convolution's result follows from dy and r,
//! element by element. Then each chunk makes g and the normalised input of a few units at a time, and from them both their
//! part of the weight gradient and their gradient with respect to the input.

use super::forward::{fill_input, take_out};
use super::statistics::{SIDE, fill_pattern, fold, norm_patterns, pattern_len, total};
use super::{ConvBlockGradient, Entry, SUMS};
use crate::graph::{Kernel, SharedMut, Stretches};
use crate::kernels::conv2d::collect::Places;
use crate::kernels::conv2d::exchange::{Exchange, add_up_chunks};
use crate::kernels::conv2d::map::{Cut, Map};
use crate::kernels::conv2d::minimal;
use crate::kernels::conv2d::outer::{Outer, Sums};
use crate::kernels::conv2d::product::Product;
use crate::kernels::conv2d::taps::{Class, Classes, dx_rows, dy_map, packed_classes, x_map};
use crate::kernels::conv2d::{buffer_len, rows_at_once, units_at_once};
use crate::kernels::lanes::{self, Rows};
use crate::kernels::prefetch::Prefetch;
use crate::kernels::simd::{MAX_LANES, SimdReal};
use crate::ops::ConvSizes;
use crate::tensor::Real;
use std::ops::Range;

/// Patterns of [`Slope`].
const SLOPE: usize = 4;

/// How the gradient with respect to the convolution's result follows from dy and r: patterns of the mean, the scale of dy,
/// the shift, and the slope.
struct Slope<'a, T> {
    patterns: &'a [T],
    len: usize,
}

impl<T: Real> Slope<'_, T> {
    /// In evaluation the norm's gradient does not depend on r, so that an r that is not finite may not reach it.
    #[inline(always)]
    fn at<const TRAINING: bool>([dy, r]: [T; 2], [mean, scale, shift, slope]: [T; SLOPE]) -> T {
        let d = if TRAINING { scale * (dy - shift - (r - mean) * slope) } else { scale * dy };
        if r <= T::ZERO { T::ZERO } else { d }
    }

    /// `to = scale (dy - shift - (r - mean) slope)`, or `scale dy` in evaluation, where r is not zero or below, else 0, for rows one
    /// after the other; `sums`, if any, gets their sums. The results' rows are some distance apart.
    #[inline(always)]
    fn apply<const TRAINING: bool>(
        &self,
        [rows, row]: [usize; 2],
        to: (&mut [T], usize),
        [dy, r]: [&[T]; 2],
        sums: Option<&mut [T]>,
    ) {
        let over = Rows { rows, row, period: self.len };
        let patterns: [&[T]; SLOPE] = std::array::from_fn(|k| &self.patterns[k * self.len..][..self.len]);
        let inputs = [(dy, row), (r, row)];
        match sums {
            None => lanes::sweep(
                over,
                inputs,
                patterns,
                [to],
                [],
                #[inline(always)]
                |x, patterns, [_], []| ([Self::at::<TRAINING>(x, patterns)], []),
            ),
            Some(sums) => lanes::sweep(
                over,
                inputs,
                patterns,
                [to],
                [sums],
                #[inline(always)]
                |x, patterns, [_], [sum]| {
                    let d = Self::at::<TRAINING>(x, patterns);
                    ([d], [sum + d])
                },
            ),
        }
    }
}

impl ConvBlockGradient {
    fn dx(&self) -> bool {
        self.entry == Entry::Block
    }

    /// The number of the input that holds the sums of dy.
    pub(super) fn sums_input(&self) -> usize {
        if self.dx() { 9 } else { 6 }
    }

    fn cut(&self) -> Cut {
        Cut::new(&self.sizes, self.sizes.items)
    }

    /// Elements of the longest map of x and of dy.
    fn map_lens(&self) -> [usize; 2] {
        let cut = self.cut();
        let longest = |len: &dyn Fn(&Range<usize>) -> usize| (0..cut.units).map(|u| len(&cut.unit(u).1)).max();
        let x = longest(&|rows| x_map(&self.sizes, rows).len()).unwrap_or(0);
        let dy = longest(&|rows| dy_map(&self.sizes, rows, self.dx()).len()).unwrap_or(0);
        [x, dy]
    }

    pub(super) fn items_per_chunk(&self) -> usize {
        self.cut().items_per_chunk()
    }

    fn units_at_once(&self) -> usize {
        units_at_once(&self.sizes, &self.cut(), self.map_lens().iter().sum())
    }

    /// Elements that a thread needs for minimal filtering, where that is used.
    fn tiles_len(&self) -> usize {
        let (sizes, cut) = (&self.sizes, self.cut());
        let rows = (0..cut.units).map(|unit| dx_rows(sizes, &cut.unit(unit).1).len()).max().unwrap_or(0);
        let dx = minimal::scratch_len(sizes, [rows, sizes.input[1]]);
        dx.max(minimal::outer_scratch_len(sizes, cut.block_rows(), cut.per_chunk()))
    }

    pub(super) fn temporaries(&self) -> Vec<usize> {
        let ConvSizes { in_channels, out_channels, .. } = self.sizes;
        let cut = self.cut();
        vec![
            if self.dx() { packed_classes(&self.sizes) } else { 1 },
            cut.units * SUMS * out_channels.max(in_channels),
            SLOPE * pattern_len(out_channels) + 3 * pattern_len(in_channels),
            cut.chunks * Sums::new(self.sizes).most_elements(),
            cut.chunks * out_channels,
            if self.dx() { minimal::weights_len(&self.sizes) } else { 1 },
        ]
    }

    pub(super) fn private(&self) -> usize {
        let ConvSizes { in_channels, out_channels, input, output, .. } = self.sizes;
        let row = input[1] * in_channels.next_multiple_of(MAX_LANES);
        let sums = 4 * pattern_len(out_channels).max(pattern_len(in_channels));
        let buffer = buffer_len(row).max(output[1] * out_channels).max(sums);
        self.map_lens().iter().sum::<usize>() * self.units_at_once() + MAX_LANES + buffer + sums + self.tiles_len()
    }

    pub(super) fn cpu<T: SimdReal>(&self, kernel: &mut Kernel<'_, T>) {
        let ConvSizes { in_channels, out_channels: channels, input, output, .. } = self.sizes;
        let [dy, r, saved, gamma, x, w] = [0, 1, 2, 3, 4, 5].map(|i| kernel.input(i));
        let before = self.dx().then(|| [6, 7, 8].map(|i| kernel.input(i)));
        let measured = self.measured.then(|| kernel.input(self.sums_input()));
        let (parallel, mut private, share) = (kernel.parallel(), kernel.private(), kernel.share());
        let ([dw, db, dgamma, dbeta, dx, dx_sums], [packed, unit_sums, patterns, sums, chunk_db, filtered]) =
            kernel.outputs_and_scratch::<6, 6>();
        let cut = self.cut();
        let row = output[1] * channels;

        // The sums of each unit, unless they are there.
        let wanted = if self.measured { 0 } else { cut.units * SUMS * channels };
        let own_units = share.rows(cut.units);
        let of_units = Stretches::new(&mut unit_sums[share.rows(wanted)], SUMS * channels);
        parallel.for_pieces_with(of_units, &mut private, |task, to, scratch| {
            let (item, rows) = cut.unit(own_units.start + task);
            let range = (item * output[0] + rows.start) * row..(item * output[0] + rows.end) * row;
            measure(to, scratch, &dy[range.clone()], &r[range], &saved[..channels]);
        });
        share.gather(&mut unit_sums[..wanted]);
        let found = measured.unwrap_or(&unit_sums[..cut.units * SUMS * channels]);
        self.norm_gradient(found, saved, gamma, [dgamma, dbeta], patterns);

        let classes = self.dx().then(|| Classes::new::<T>(self.sizes, true));
        if let Some(classes) = &classes {
            classes.pack(parallel, w, packed);
            minimal::filter(&self.sizes, parallel, &classes.lanes, channels, packed, filtered);
        }
        let weights = [&*packed, &*filtered];
        let len = pattern_len(channels);
        let (slope, norm) = patterns.split_at_mut(SLOPE * len);
        let slope = Slope { patterns: slope, len };
        let norm = before.map(|[saved, gamma, beta]| {
            norm_patterns(norm, saved, gamma, beta);
            &*norm
        });

        let shape = Sums::new(self.sizes);
        let sum_lanes = shape.lanes::<T>();
        let elements = shape.elements(&sum_lanes);
        let (at_once, tiles_len) = (self.units_at_once(), self.tiles_len());
        let in_parts = minimal::sums_in_parts(&self.sizes, cut.block_rows());
        let item_len = input[0] * input[1] * in_channels;
        let (all_sums, all_db) = (SharedMut::new(&mut *sums), SharedMut::new(&mut *chunk_db));
        let looks_ahead = cut.whole() && Prefetch::pays(x.len() + dx.len() + r.len() + dy.len());
        let dx = self.dx().then(|| SharedMut::new(dx));
        let all_unit_sums = SharedMut::new(&mut *unit_sums);
        let places = Places::default();
        let own = cut.chunks_of(own_units);
        parallel.run(own.len(), &|task, worker| {
            let chunk = own.start + task;
            let place = places.of(chunk, worker, &cut, (at_once, in_parts));
            // SAFETY: this is the task of this worker, and every chunk has its own sums, but for one that is done by this worker.
            let (private, to, db) = unsafe {
                (
                    private.of(worker),
                    all_sums.slice(place * elements..(place + 1) * elements),
                    all_db.slice(chunk * channels..(chunk + 1) * channels),
                )
            };
            let (db_pattern, private) = private.split_at_mut(len);
            let (tiles, private) = private.split_at_mut(tiles_len);
            db_pattern.fill(T::ZERO);
            let mut begins = place == chunk;
            for (units, rows) in cut.together(chunk, at_once) {
                let count = units.len();
                let after = parallel.after(task);
                let after = if after < own.len() { own.start + after } else { cut.chunks };
                let next = cut.following(&units, chunk, after);
                let prefetch = if looks_ahead && !next.is_empty() {
                    let dx = dx.as_ref().map_or((x.as_ptr(), 0), |dx| (dx.pointer().cast_const(), item_len));
                    let r_len = output[0] * row;
                    let of = [(x.as_ptr(), item_len), (r.as_ptr(), r_len), (dy.as_ptr(), r_len), dx];
                    Prefetch::new(&next, of, rows.len() * count * shape.tiles(&sum_lanes))
                } else {
                    Prefetch::none()
                };
                let (x_map, g_map) = (x_map(&self.sizes, &rows), dy_map(&self.sizes, &rows, self.dx()));
                let (x_source, rest) = private.split_at_mut(count * x_map.len());
                let (g_source, buffer) = rest.split_at_mut(count * g_map.len() + MAX_LANES);
                for (i, unit) in units.enumerate() {
                    let item = cut.unit(unit).0;
                    let g = &mut g_source[i * g_map.len()..][..g_map.len()];
                    let of_item = item * output[0] * row..(item + 1) * output[0] * row;
                    let x = &x[item * item_len..][..item_len];
                    let x_to = &mut x_source[i * x_map.len()..][..x_map.len()];
                    lanes::dispatch(
                        #[inline(always)]
                        || {
                            fill_input(&x_map, x_to, x, &self.sizes, norm);
                            let (dy, r) = (&dy[of_item.clone()], &r[of_item.clone()]);
                            self.fill_gradient(&g_map, g, [dy, r], &rows, &slope, db_pattern);
                        },
                    );
                    if let (Some(dx), Some(classes), Some([means, ..])) = (&dx, &classes, before) {
                        let pitch = input[1] * in_channels;
                        let of_unit = dx_rows(&self.sizes, &rows);
                        let of_unit = of_unit.start * pitch..of_unit.end * pitch;
                        // SAFETY: every unit has its own rows of dx and its own sums.
                        let (dx, sums) = unsafe {
                            let start = unit * SUMS * in_channels;
                            (
                                dx.slice(item * item_len + of_unit.start..item * item_len + of_unit.end),
                                all_unit_sums.slice(start..start + SUMS * in_channels),
                            )
                        };
                        self.input_gradient(dx, g, &g_map, &rows, weights, classes, [&mut *buffer, &mut *tiles]);
                        // While both are in the cache.
                        measure(sums, buffer, dx, &x[of_unit], &means[..in_channels]);
                    }
                }
                Outer {
                    sums: shape,
                    lanes: sum_lanes,
                    to: &mut *to,
                    x: x_source,
                    x_map,
                    dy: g_source,
                    dy_map: g_map,
                    rows,
                    units: count,
                    x_unit: x_map.len(),
                    dy_unit: g_map.len(),
                    begins,
                    minimal: minimal::applies(&self.sizes).then_some(&mut *tiles),
                    prefetch: &prefetch,
                }
                .run();
                begins = false;
            }
            if place == chunk {
                places.made(chunk, worker);
            }
            fold(db_pattern, channels);
            db.copy_from_slice(&db_pattern[..channels]);
        });

        let chunks_of = |rank| cut.chunks_of(share.rows_of(rank, cut.units));
        if self.dx() {
            share.gather(&mut unit_sums[..cut.units * SUMS * in_channels]);
            add_up(dx_sums, &unit_sums[..cut.units * SUMS * in_channels], in_channels);
        }
        if share.ranks() == 1 {
            shape.collect(parallel, &sum_lanes, sums, cut.chunks, &places, dw);
            add_up_chunks(db, &chunk_db[..cut.chunks * channels]);
        } else {
            Exchange::<T>::begin(share, (shape, sum_lanes), channels, chunks_of, &places, sums, chunk_db);
        }
    }

    /// The gradients of gamma and beta, and the patterns of [`Slope`].
    fn norm_gradient<T: Real>(
        &self,
        unit_sums: &[T],
        saved: &[T],
        gamma: &[T],
        [dgamma, dbeta]: [&mut [T]; 2],
        patterns: &mut [T],
    ) {
        let channels = self.sizes.out_channels;
        let len = pattern_len(channels);
        let count = (self.sizes.items * self.sizes.pixels()) as f64;
        let (mean, rest) = patterns.split_at_mut(len);
        let (scale, rest) = rest.split_at_mut(len);
        let (shift, rest) = rest.split_at_mut(len);
        let slope = &mut rest[..len];
        lanes::dispatch(
            #[inline(always)]
            || {
                for first in (0..channels).step_by(SIDE) {
                    let end = (first + SIDE).min(channels);
                    let [sums, products, rests] = [0, 1, 2].map(
                        #[inline(always)]
                        |which| {
                            let units = unit_sums.chunks_exact(SUMS * channels);
                            total(units.map(|unit| &unit[which * channels + first..which * channels + end]))
                        },
                    );
                    for (i, c) in (first..end).enumerate() {
                        let inverse = saved[channels + c].to_f64();
                        let (sum, mut product) = (sums[i], products[i]);
                        if self.training {
                            // The differences from the mean add up to zero, but for its rounding: take that out again.
                            product -= sum * (rests[i] / count);
                        }
                        product *= inverse;
                        dgamma[c] = T::from_f64(product);
                        dbeta[c] = T::from_f64(sum);
                        let part = if self.training { 1.0 / count } else { 0.0 };
                        mean[c] = saved[c];
                        scale[c] = T::from_f64(gamma[c].to_f64() * inverse);
                        shift[c] = T::from_f64(sum * part);
                        slope[c] = T::from_f64(product * inverse * part);
                    }
                }
            },
        );
        for pattern in [mean, scale, shift, slope] {
            let (first, rest) = pattern.split_at_mut(channels);
            rest.chunks_exact_mut(channels).for_each(|to| to.copy_from_slice(first));
        }
    }

    /// Fills a unit's map of the gradient with respect to the convolution's result, border and rows of neighbouring units
    /// included, and adds the unit's own to `sums`.
    #[inline(always)]
    fn fill_gradient<T: Real>(
        &self,
        map: &Map,
        to: &mut [T],
        [dy, r]: [&[T]; 2],
        rows: &Range<usize>,
        slope: &Slope<'_, T>,
        sums: &mut [T],
    ) {
        let size = self.sizes.output;
        let row = size[1] * self.sizes.out_channels;
        map.fill_border(to, size);
        let inside = map.inside(size);
        // Rows of other units are summed by them.
        for (part, own) in [(inside.start..rows.start, false), (rows.clone(), true), (rows.end..inside.end, false)] {
            if !part.is_empty() {
                let (to, sums) = (&mut to[map.at(part.start, 0)..], own.then_some(&mut *sums));
                let of_rows = [&dy[part.start * row..], &r[part.start * row..]];
                // Without a border between them, rows are one.
                let over = if map.pitch() == row { [1, part.len() * row] } else { [part.len(), row] };
                if self.training {
                    slope.apply::<true>(over, (to, map.pitch()), of_rows, sums);
                } else {
                    slope.apply::<false>(over, (to, map.pitch()), of_rows, sums);
                }
            }
        }
    }

    /// A unit's rows of dx.
    #[allow(clippy::too_many_arguments)]
    fn input_gradient<T: SimdReal>(
        &self,
        dx: &mut [T],
        g: &[T],
        g_map: &Map,
        rows: &Range<usize>,
        [packed, filtered]: [&[T]; 2],
        classes: &Classes,
        [buffer, tiles]: [&mut [T]; 2],
    ) {
        let ConvSizes { in_channels, input, options, .. } = self.sizes;
        let [stride_h, stride_w] = options.stride;
        let pitch = input[1] * in_channels;
        let lanes = &classes.lanes;
        let mut product =
            |class: &Class, rows: Range<usize>, out: &mut [T], [out_row, out_column, out_last]: [usize; 3]| {
                Product {
                    source: g,
                    map: *g_map,
                    taps: class.taps,
                    lanes: *lanes,
                    tiling: class.tiling,
                    weights: &packed[class.weights.0..class.weights.1],
                    minimal: minimal::with(&self.sizes, filtered, &mut *tiles),
                    rows,
                    columns: class.grid[1],
                    out,
                    out_row,
                    out_column,
                    out_last,
                    prefetch: &Prefetch::none(),
                }
                .run();
            };
        for number in 0..classes.count {
            let class = classes.get(number, rows, g_map);
            let [class_rows, columns] = class.grid;
            if class_rows == 0 || columns == 0 {
                continue;
            }
            let to = &mut dx[class.phase[0] * pitch + class.phase[1] * in_channels..];
            let to_column = stride_w * in_channels;
            if classes.joined > 1 || lanes.pitch() == in_channels {
                // Of joined columns, the last may lie beyond the row.
                let last = lanes.pitch().min(pitch - (columns - 1) * to_column);
                product(&class, 0..class_rows, to, [stride_h * pitch, to_column, last]);
                continue;
            }
            let row_len = columns * lanes.pitch();
            let at_once = rows_at_once(row_len);
            for from in (0..class_rows).step_by(at_once) {
                let count = at_once.min(class_rows - from);
                let buffer = &mut buffer[..count * row_len];
                product(&class, from..from + count, buffer, [row_len, lanes.pitch(), lanes.pitch()]);
                for (i, buffer) in buffer.chunks_exact_mut(row_len).enumerate() {
                    let to = &mut to[(from + i) * stride_h * pitch..];
                    let end = ((columns - 1) * stride_w + 1) * in_channels;
                    lanes::dispatch(
                        #[inline(always)]
                        || take_out((&mut to[..end], to_column), (buffer, lanes.pitch()), in_channels),
                    );
                }
            }
        }
    }
}

/// The sums of all units, of which each has [`SUMS`] for each channel, added up in f64.
pub(super) fn add_up<T: Real>(sums: &mut [T], units: &[T], channels: usize) {
    for (first, sums) in (0..).step_by(SIDE).zip(sums.chunks_mut(SIDE)) {
        let units = units.chunks_exact(SUMS * channels);
        let totals = total(units.map(|unit| &unit[first..first + sums.len()]));
        sums.iter_mut().zip(totals).for_each(|(sum, total)| *sum = T::from_f64(total));
    }
}

/// The sums of a unit: of dy, of dy times r's distance from the mean, and of that distance.
pub(super) fn measure<T: Real>(to: &mut [T], scratch: &mut [T], dy: &[T], r: &[T], means: &[T]) {
    let channels = means.len();
    let len = pattern_len(channels);
    let (mean, rest) = scratch.split_at_mut(len);
    let (sums, rest) = rest.split_at_mut(len);
    let (products, rest) = rest.split_at_mut(len);
    let rests = &mut rest[..len];
    fill_pattern(mean, channels, |c| means[c]);
    sums.fill(T::ZERO);
    products.fill(T::ZERO);
    rests.fill(T::ZERO);
    lanes::dispatch(
        #[inline(always)]
        || {
            lanes::sweep(
                Rows { rows: 1, row: dy.len(), period: len },
                [(dy, 0), (r, 0)],
                [&*mean],
                [],
                [&mut *sums, &mut *products, &mut *rests],
                #[inline(always)]
                |[dy, r], [mean], [], [sum, product, rest]| {
                    ([], [sum + dy, product + dy * (r - mean), rest + (r - mean)])
                },
            );
        },
    );
    for (pattern, to) in [sums, products, rests].into_iter().zip(to.chunks_exact_mut(channels)) {
        fold(pattern, channels);
        to.copy_from_slice(&pattern[..channels]);
    }
}
