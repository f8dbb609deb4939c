//! The CPU kernels of the convolution and its gradients; see [`kernels::conv2d`](crate::kernels::conv2d).

use super::{Conv2d, Conv2dInputGradient, Conv2dWeightGradient, ConvSizes};
use crate::graph::{Blocks, Kernel, SharedMut, Stretches, Target, Tasks, for_each_piece};
use crate::kernels::conv2d::collect::Places;
use crate::kernels::conv2d::map::{Cut, Map, separate};
use crate::kernels::conv2d::minimal;
use crate::kernels::conv2d::outer::{Outer, Sums};
use crate::kernels::conv2d::packing::{Packing, Part, packed_len};
use crate::kernels::conv2d::product::Product;
use crate::kernels::conv2d::taps::{Classes, dx_rows, dy_map, packed_classes, x_map};
use crate::kernels::conv2d::{
    buffer_len, cut, forward_lanes, forward_taps, forward_weights, rows_at_once, units_at_once,
};
use crate::kernels::lanes;
use crate::kernels::prefetch::Prefetch;
use crate::kernels::simd::{MAX_LANES, SimdReal};
use crate::tensor::Spec;

impl Conv2d {
    fn sizes(&self, inputs: &[Spec]) -> ConvSizes {
        ConvSizes::new("conv2d", &inputs[0], &inputs[1], self.options)
            .unwrap_or_else(|_| unreachable!("shapes were checked when the graph was built"))
    }

    pub(super) fn temporaries(&self, inputs: &[Spec], outputs: &[Spec], target: Target) -> Vec<usize> {
        if target == Target::Gpu {
            return self.gpu_temporaries(inputs, outputs);
        }
        let sizes = self.sizes(inputs);
        let packed = packed_len(sizes.out_channels, sizes.in_channels * sizes.taps());
        vec![sizes.groups * packed, sizes.groups * minimal::weights_len(&sizes)]
    }

    pub(super) fn private(&self, inputs: &[Spec]) -> usize {
        let sizes = self.sizes(inputs);
        let row = sizes.output[1] * sizes.out_channels.next_multiple_of(MAX_LANES);
        let rows = cut(&sizes).block_rows();
        let tiles = minimal::scratch_len(&sizes, [rows, sizes.output[1]]);
        x_map(&sizes, &(0..rows)).len() + tiles + buffer_len(row)
    }

    pub(super) fn cpu<T: SimdReal>(&self, kernel: &mut Kernel<'_, T>) {
        let sizes = self.sizes(kernel.input_specs());
        let (x, w) = (kernel.input(0), kernel.input(1));
        let bias = self.bias.then(|| kernel.input(2));
        let (parallel, private) = (kernel.parallel(), &mut kernel.private());
        let ([out], [packed, filtered]) = kernel.outputs_and_scratch::<1, 2>();
        let ConvSizes { in_channels, out_channels, groups, input, output, .. } = sizes;
        let (lanes, taps) = (forward_lanes::<T>(&sizes), forward_taps(&sizes));
        let [each, each_filtered] = [packed.len(), filtered.len()].map(|len| len / groups);
        let filters = filtered.chunks_exact_mut(each_filtered);
        for (group, (packed, filtered)) in packed.chunks_exact_mut(each).zip(filters).enumerate() {
            let part = out_channels * in_channels * sizes.taps();
            let weights = forward_weights(&sizes, &w[group * part..][..part]);
            let bias = bias.map(|bias| &bias[group * out_channels..][..out_channels]);
            let channels = [out_channels, in_channels];
            let part = |_| Part::alone(taps, 0);
            Packing { lanes, channels, kernel: sizes.kernel, part, parts: 1, weights, bias }.run(parallel, packed);
            minimal::filter(&sizes, parallel, &lanes, in_channels, packed, filtered);
        }
        let (packed, filtered) = (&*packed, &*filtered);
        let cut = cut(&sizes);
        let tiling = lanes.tiling(output[1]);
        let row_len = output[1] * lanes.pitch();
        let units = Blocks::new(out, sizes.pixels(), [out_channels, cut.block_rows() * output[1]]);
        parallel.for_pieces_with(units, private, |unit, mut out, private| {
            let (item, rows) = cut.unit(unit);
            let map = x_map(&sizes, &rows);
            let (source, rest) = private.split_at_mut(map.len());
            let (tiles, buffer) = rest.split_at_mut(minimal::scratch_len(&sizes, [rows.len(), output[1]]));
            let planes = &x[item * in_channels * input[0] * input[1]..];
            lanes::dispatch(
                #[inline(always)]
                || map.fill_from_planes(source, planes, input),
            );
            let at_once = minimal::whole_tiles(&sizes, rows_at_once(row_len));
            for from in (0..rows.len()).step_by(at_once) {
                let count = at_once.min(rows.len() - from);
                Product {
                    source,
                    map,
                    taps,
                    lanes,
                    tiling,
                    weights: &packed[item % groups * each..][..each],
                    minimal: minimal::with(&sizes, &filtered[item % groups * each_filtered..], &mut *tiles),
                    rows: from..from + count,
                    columns: output[1],
                    out: &mut buffer[..count * row_len],
                    out_row: row_len,
                    out_column: lanes.pitch(),
                    out_last: lanes.pitch(),
                    prefetch: &Prefetch::none(),
                }
                .run();
                let buffer = &mut buffer[..count * row_len];
                let pixels = count * output[1];
                lanes::dispatch(
                    #[inline(always)]
                    || {
                        if self.relu {
                            buffer.iter_mut().for_each(|x| *x = x.max(T::ZERO));
                        }
                        let to = out.each_row().map(|plane| &mut plane[from * output[1]..][..pixels]);
                        separate(to, buffer, lanes.pitch(), out_channels, pixels);
                    },
                );
            }
        });
    }
}

impl Conv2dInputGradient {
    pub(super) fn temporaries(&self, inputs: &[Spec], outputs: &[Spec], target: Target) -> Vec<usize> {
        match target {
            Target::Gpu => self.gpu_temporaries(inputs, outputs),
            Target::Cpu => {
                let each = [packed_classes(&self.sizes), minimal::weights_len(&self.sizes)];
                each.map(|len| self.sizes.groups * len).to_vec()
            }
        }
    }

    pub(super) fn private(&self) -> usize {
        let (sizes, cut) = (&self.sizes, cut(&self.sizes));
        let len = |unit| {
            let rows = cut.unit(unit).1;
            let tiles = minimal::scratch_len(sizes, [dx_rows(sizes, &rows).len(), sizes.input[1]]);
            dy_map(sizes, &rows, true).len() + tiles
        };
        let row = sizes.options.stride[0] * sizes.input[1] * sizes.in_channels.next_multiple_of(MAX_LANES);
        (0..cut.units).map(len).max().unwrap_or(0) + buffer_len(row)
    }

    pub(super) fn cpu<T: SimdReal>(&self, kernel: &mut Kernel<'_, T>) {
        let sizes = &self.sizes;
        let (dy, w) = (kernel.input(0), kernel.input(1));
        let (parallel, private) = (kernel.parallel(), &mut kernel.private());
        let ([dx], [packed, filtered]) = kernel.outputs_and_scratch::<1, 2>();
        let ConvSizes { in_channels, out_channels, groups, input, output, options, .. } = *sizes;
        let classes = Classes::new::<T>(*sizes, false);
        let lanes = classes.lanes;
        let [each, each_filtered] = [packed.len(), filtered.len()].map(|len| len / groups);
        let filters = filtered.chunks_exact_mut(each_filtered);
        for ((packed, filtered), w) in packed.chunks_exact_mut(each).zip(filters).zip(w.chunks_exact(w.len() / groups))
        {
            classes.pack(parallel, w, packed);
            minimal::filter(sizes, parallel, &lanes, out_channels, packed, filtered);
        }
        let (packed, filtered) = (&*packed, &*filtered);
        let (cut, dx) = (cut(sizes), SharedMut::new(dx));
        parallel.for_pieces_with(Tasks(cut.units), private, |unit, (), private| {
            let (item, rows) = cut.unit(unit);
            let map = dy_map(sizes, &rows, true);
            let (source, rest) = private.split_at_mut(map.len());
            let planes = &dy[item * out_channels * sizes.pixels()..];
            lanes::dispatch(
                #[inline(always)]
                || map.fill_from_planes(source, planes, output),
            );
            let packed = &packed[item % groups * each..][..each];
            let filtered = &filtered[item % groups * each_filtered..][..each_filtered];
            let of_unit = dx_rows(sizes, &rows);
            let (tiles, buffer) = rest.split_at_mut(minimal::scratch_len(sizes, [of_unit.len(), input[1]]));
            let row_len = input[1] * lanes.pitch();
            let strides = of_unit.len().div_ceil(options.stride[0]);
            let at_once = minimal::whole_tiles(sizes, rows_at_once(options.stride[0] * row_len));
            for from in (0..strides).step_by(at_once) {
                let first = from * options.stride[0];
                let count = (at_once * options.stride[0]).min(of_unit.len() - first);
                let buffer = &mut buffer[..count * row_len];
                for number in 0..classes.count {
                    let class = classes.get(number, &rows, &map);
                    let [phase, column] = class.phase;
                    let class_rows = from..(from + at_once).min(class.grid[0]);
                    if class_rows.is_empty() || class.grid[1] == 0 {
                        continue;
                    }
                    Product {
                        source,
                        map,
                        taps: class.taps,
                        lanes,
                        tiling: class.tiling,
                        weights: &packed[class.weights.0..class.weights.1],
                        minimal: minimal::with(sizes, filtered, &mut *tiles),
                        rows: class_rows,
                        columns: class.grid[1],
                        out: &mut buffer[phase * row_len + column * lanes.pitch()..],
                        out_row: options.stride[0] * row_len,
                        out_column: options.stride[1] * lanes.pitch(),
                        out_last: lanes.pitch(),
                        prefetch: &Prefetch::none(),
                    }
                    .run();
                }
                let pixels = count * input[1];
                let start = |channel| ((item * in_channels + channel) * input[0] + of_unit.start + first) * input[1];
                lanes::dispatch(
                    #[inline(always)]
                    || {
                        // SAFETY: every row of every channel belongs to one unit.
                        let to = |channel| unsafe { dx.slice(start(channel)..start(channel) + pixels) };
                        separate((0..in_channels).map(to), buffer, lanes.pitch(), in_channels, pixels);
                    },
                );
            }
        });
    }
}

/// The sum of a slice: eight running sums, so that it can be done in vectors, added up in a fixed order.
fn sum<T: SimdReal>(values: &[T]) -> T {
    lanes::dispatch(
        #[inline(always)]
        || lanes::sum(values),
    )
}

impl Conv2dWeightGradient {
    /// The maps of the longest unit.
    fn maps(&self) -> [Map; 2] {
        let rows = 0..cut(&self.sizes).block_rows();
        [x_map(&self.sizes, &rows), dy_map(&self.sizes, &rows, false)]
    }

    fn units_at_once(&self) -> usize {
        units_at_once(&self.sizes, &cut(&self.sizes), self.maps().iter().map(Map::len).sum())
    }

    /// Elements that a thread needs for minimal filtering, where that is used.
    fn tiles_len(&self) -> usize {
        let cut = cut(&self.sizes);
        minimal::outer_scratch_len(&self.sizes, cut.block_rows(), cut.per_chunk())
    }

    pub(super) fn temporaries(&self, inputs: &[Spec], outputs: &[Spec], target: Target) -> Vec<usize> {
        match target {
            Target::Gpu => self.gpu_temporaries(inputs, outputs),
            Target::Cpu => vec![self.chunks() * self.sizes.groups * Sums::new(self.sizes).most_elements()],
        }
    }

    pub(super) fn private(&self) -> usize {
        self.maps().iter().map(Map::len).sum::<usize>() * self.units_at_once() + MAX_LANES + self.tiles_len()
    }

    /// Chunks of each group: a chunk takes in whole items, or stretches of one.
    fn chunks(&self) -> usize {
        Cut::new(&self.sizes, self.sizes.items).chunks
    }

    pub(super) fn cpu<T: SimdReal>(&self, kernel: &mut Kernel<'_, T>) {
        let ConvSizes { items, in_channels, out_channels, groups, input, output, .. } = self.sizes;
        let (x, dy, parallel, private) = (kernel.input(0), kernel.input(1), kernel.parallel(), &mut kernel.private());
        if self.bias {
            let ([_, db], []) = kernel.outputs_and_scratch::<2, 0>();
            let (pixels, channels) = (self.sizes.pixels(), groups * out_channels);
            for_each_piece(parallel, db, 8, |i, db| {
                for (o, db) in db.iter_mut().enumerate() {
                    let planes = (0..items).map(|n| &dy[(n * channels + i * 8 + o) * pixels..][..pixels]);
                    *db = planes.map(sum).sum();
                }
            });
        }
        let ([dw], [sums]) = kernel.outputs_and_scratch::<1, 1>();
        let shape = Sums::new(self.sizes);
        let lanes = shape.lanes::<T>();
        let cut = Cut::new(&self.sizes, items);
        let at_once = self.units_at_once();
        let (elements, tiles_len) = (shape.elements(&lanes), self.tiles_len());
        let of_chunks = Stretches::new(&mut sums[..cut.chunks * groups * elements], elements);
        parallel.for_pieces_with(of_chunks, private, |task, to, private| {
            let (chunk, group) = (task / groups, task % groups);
            let (tiles, private) = private.split_at_mut(tiles_len);
            let mut begins = true;
            for (units, rows) in cut.together(chunk, at_once) {
                let count = units.len();
                let (x_map, dy_map) = (x_map(&self.sizes, &rows), dy_map(&self.sizes, &rows, false));
                let (x_source, rest) = private.split_at_mut(count * x_map.len());
                let dy_source = &mut rest[..count * dy_map.len() + MAX_LANES];
                lanes::dispatch(
                    #[inline(always)]
                    || {
                        for (i, unit) in units.clone().enumerate() {
                            let part = cut.unit(unit).0 * groups + group;
                            let planes = &x[part * in_channels * input[0] * input[1]..];
                            x_map.fill_from_planes(&mut x_source[i * x_map.len()..], planes, input);
                            let planes = &dy[part * out_channels * output[0] * output[1]..];
                            dy_map.fill_from_planes(&mut dy_source[i * dy_map.len()..], planes, output);
                        }
                    },
                );
                Outer {
                    sums: shape,
                    lanes,
                    to: &mut *to,
                    x: x_source,
                    x_map,
                    dy: dy_source,
                    dy_map,
                    rows,
                    units: count,
                    x_unit: x_map.len(),
                    dy_unit: dy_map.len(),
                    begins,
                    minimal: minimal::applies(&self.sizes).then_some(&mut *tiles),
                    prefetch: &Prefetch::none(),
                }
                .run();
                begins = false;
            }
        });
        shape.collect(parallel, &lanes, sums, cut.chunks, &Places::default(), dw);
    }
}
