//! Minimal filtering beside the loops that multiply every weight with every number.

use super::*;
use crate::cpu::Pool;
use crate::kernels::conv2d::outer::Sums;
use crate::kernels::conv2d::packing::{Packing, Part};
use crate::kernels::conv2d::taps::{Classes, dx_rows, dy_map, packed_classes, x_map};
use crate::kernels::conv2d::{ConvOptions, forward_lanes, forward_taps, forward_weights};

fn sizes(channels: [usize; 2], input: [usize; 2], dilation: [usize; 2], padding: [usize; 2]) -> ConvSizes {
    let options = ConvOptions { padding, dilation, ..ConvOptions::default() };
    let output = std::array::from_fn(|axis| input[axis] + 2 * padding[axis] - 2 * dilation[axis]);
    let [in_channels, out_channels] = channels;
    ConvSizes { items: 1, in_channels, out_channels, groups: 1, input, output, kernel: [TAPS; 2], options }
}

fn all_sizes() -> Vec<ConvSizes> {
    if cfg!(miri) {
        return vec![sizes([32, 32], [4, 5], [1, 1], [1, 1])];
    }
    // Channels, input, dilation, padding.
    let some = [
        ([32, 48], [8, 16], [1, 1], [1, 1]),
        ([96, 128], [8, 16], [1, 2], [1, 2]),
        // Odd numbers of results, whole and within what is dilated, and borders that are narrower and wider than the taps.
        ([64, 32], [7, 9], [1, 1], [0, 0]),
        ([32, 32], [13, 11], [2, 3], [2, 3]),
        ([48, 32], [9, 10], [1, 1], [2, 0]),
        ([32, 64], [8, 8], [2, 1], [3, 4]),
        // So many results that they are computed in parts.
        ([64, 64], [21, 61], [1, 1], [1, 1]),
        ([64, 128], [33, 40], [2, 2], [2, 2]),
    ];
    some.map(|(channels, input, dilation, padding)| sizes(channels, input, dilation, padding)).to_vec()
}

/// Numbers between -1 and 1 without a pattern.
fn numbers<T: SimdReal>(count: usize, seed: u64) -> Vec<T> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        T::from_f64((state >> 33) as f64 / f64::from(1u32 << 30) - 1.0)
    };
    (0..count).map(|_| next()).collect()
}

/// A map with random numbers inside and zeros as its border.
fn filled<T: SimdReal>(map: &Map, size: [usize; 2], seed: u64) -> Vec<T> {
    let mut to = vec![T::ONE; map.len() + MAX_LANES];
    map.fill_from_planes(&mut to[..map.len()], &numbers::<T>(map.channels * size[0] * size[1], seed), size);
    to
}

fn assert_close<T: SimdReal>(what: &str, got: &[T], right: &[T], tolerance: f64) {
    let largest = right.iter().fold(0.0f64, |most, x| most.max(x.to_f64().abs()));
    assert!(largest > 0.0 && got.len() == right.len(), "{what}");
    for (i, (got, right)) in got.iter().zip(right).enumerate() {
        let off = (got.to_f64() - right.to_f64()).abs();
        assert!(off <= tolerance * largest, "{what}, element {i}: {} instead of {}", got.to_f64(), right.to_f64());
    }
}

/// The convolution by both ways.
fn forward<T: SimdReal>(sizes: &ConvSizes, tolerance: f64) {
    let (rows, columns, width) = (sizes.output[0], sizes.output[1], sizes.out_channels);
    let map = x_map(sizes, &(0..rows));
    let source = filled::<T>(&map, sizes.input, 1);
    let (lanes, taps) = (forward_lanes::<T>(sizes), forward_taps(sizes));
    let (weights, bias) = (numbers::<T>(sizes.w_spec().shape.elements(), 2), numbers::<T>(width, 3));
    let mut packed = vec![T::ZERO; packed_len(width, sizes.in_channels * sizes.taps())];
    Packing {
        lanes,
        channels: [width, sizes.in_channels],
        kernel: sizes.kernel,
        part: |_| Part::alone(taps, 0),
        parts: 1,
        weights: forward_weights(sizes, &weights),
        bias: Some(&bias),
    }
    .run(&Pool::new(1), &mut packed);
    let [right, got] = both_ways(sizes, [&packed, &source], map, (lanes, taps), [rows, columns]);
    assert_close(&format!("forward of {sizes:?}"), &got, &right, tolerance);
}

/// A product of so many rows and columns with all multiplications, and with fewer.
fn both_ways<T: SimdReal>(
    sizes: &ConvSizes,
    [packed, source]: [&[T]; 2],
    map: Map,
    (lanes, taps): (Lanes, [Taps; 2]),
    grid: [usize; 2],
) -> [Vec<T>; 2] {
    let width = lanes.width();
    let mut weights = vec![T::ZERO; weights_len(sizes)];
    filter(sizes, &Pool::new(2), &lanes, map.channels, packed, &mut weights);
    let mut scratch = vec![T::ONE; scratch_len(sizes, grid)];
    [false, true].map(|minimal| {
        let mut out = vec![T::ZERO; grid[0] * grid[1] * width];
        Product {
            source,
            map,
            taps,
            lanes,
            tiling: lanes.tiling(grid[1]),
            weights: packed,
            minimal: if minimal { with(sizes, &weights, &mut scratch) } else { None },
            rows: 0..grid[0],
            columns: grid[1],
            out: &mut out,
            out_row: grid[1] * width,
            out_column: width,
            out_last: width,
            prefetch: &Prefetch::none(),
        }
        .run();
        out
    })
}

/// The gradient with respect to the input by both ways.
fn backward<T: SimdReal>(sizes: &ConvSizes, tolerance: f64) {
    let rows = 0..sizes.output[0];
    let map = dy_map(sizes, &rows, true);
    let source = filled::<T>(&map, sizes.output, 4);
    let classes = Classes::new::<T>(*sizes, true);
    let mut packed = vec![T::ZERO; packed_classes(sizes)];
    classes.pack(&Pool::new(1), &numbers::<T>(sizes.w_spec().shape.elements(), 5), &mut packed);
    let class = classes.get(0, &rows, &map);
    assert_eq!((classes.count, class.grid[0]), (1, dx_rows(sizes, &rows).len()));
    let [right, got] = both_ways(sizes, [&packed, &source], map, (classes.lanes, class.taps), class.grid);
    assert_close(&format!("input gradient of {sizes:?}"), &got, &right, tolerance);
}

/// The gradient with respect to the weights by both ways, of two units, each once and once more.
fn weights<T: SimdReal>(sizes: &ConvSizes, tolerance: f64) {
    let rows = 0..sizes.output[0];
    let (x_map, dy_map) = (x_map(sizes, &rows), dy_map(sizes, &rows, false));
    let join = |map: &Map, size, seed| {
        let mut both = filled::<T>(map, size, seed);
        both.truncate(map.len());
        both.extend(filled::<T>(map, size, seed + 1));
        both
    };
    let (x, dy) = (join(&x_map, sizes.input, 6), join(&dy_map, sizes.output, 8));
    let units = units_at_once(sizes, rows.len(), 2);
    let [right, got] = outer_both_ways(sizes, [&x, &dy], [x_map, dy_map], units);
    assert_close(&format!("weight gradient of {sizes:?}"), &got, &right, tolerance);
}

/// The sums of so many units, made and then added once more, with all multiplications and with fewer.
fn outer_both_ways<T: SimdReal>(
    sizes: &ConvSizes,
    [x, dy]: [&[T]; 2],
    [x_map, dy_map]: [Map; 2],
    units: usize,
) -> [Vec<T>; 2] {
    let (sums, rows) = (Sums::new(*sizes), sizes.output[0]);
    let lanes = sums.lanes::<T>();
    let mut scratch = vec![T::ONE; outer_scratch_len(sizes, rows, 2)];
    [false, true].map(|minimal| {
        let mut to = vec![T::ONE; sums.elements(&lanes)];
        for begins in [true, false] {
            Outer {
                sums,
                lanes,
                to: &mut to,
                x,
                x_map,
                dy,
                dy_map,
                rows: 0..rows,
                units,
                x_unit: x_map.len(),
                dy_unit: dy_map.len(),
                begins,
                minimal: minimal.then_some(&mut scratch),
                prefetch: &Prefetch::none(),
            }
            .run();
        }
        to
    })
}

#[test]
fn results_and_gradients_are_those_of_all_multiplications() {
    let mut parts = [0; 2];
    for sizes in all_sizes() {
        assert!(applies(&sizes), "{sizes:?}");
        parts[0] += usize::from(scratch_len(&sizes, sizes.output) < grid_len(&sizes, sizes.output));
        parts[1] += usize::from(sums_in_parts(&sizes, sizes.output[0]));
        forward::<f64>(&sizes, 1e-14);
        backward::<f64>(&sizes, 1e-14);
        weights::<f64>(&sizes, 1e-14);
        forward::<f32>(&sizes, 2e-6);
        backward::<f32>(&sizes, 2e-6);
        weights::<f32>(&sizes, 2e-6);
    }
    assert!(cfg!(miri) || parts.iter().all(|&parts| parts > 0), "{parts:?}");
}

/// Numbers that are not finite, or so large that sums of them are not, are where they are with all multiplications.
#[test]
#[cfg_attr(miri, ignore = "many multiplications")]
fn special_numbers_are_where_they_belong() {
    let sizes = sizes([32, 48], [6, 7], [1, 1], [1, 1]);
    special_numbers(&sizes);
}

/// The same of a map that is computed in parts, of which one has them.
#[test]
#[cfg_attr(miri, ignore = "many multiplications")]
fn special_numbers_are_in_one_part() {
    let sizes = sizes([64, 64], [21, 61], [1, 1], [1, 1]);
    assert!(scratch_len(&sizes, sizes.output) < grid_len(&sizes, sizes.output));
    special_numbers(&sizes);
}

fn special_numbers(sizes: &ConvSizes) {
    let [height, width] = sizes.input;
    let (x_map, dy_map) = (x_map(sizes, &(0..height)), dy_map(sizes, &(0..height), false));
    let (lanes, taps) = (forward_lanes::<f32>(sizes), forward_taps(sizes));
    let same = |what: &str, [right, got]: [Vec<f32>; 2]| {
        let kind = |x: &f32| (x.is_nan(), x.is_infinite().then_some(x.signum()));
        assert!(right.iter().map(kind).eq(got.iter().map(kind)), "{what}");
        assert!(right.iter().any(|x| x.is_finite()), "{what}");
    };
    for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e38] {
        let mut packed = numbers::<f32>(packed_len(sizes.out_channels, sizes.in_channels * sizes.taps()), 10);
        let mut source = filled::<f32>(&x_map, sizes.input, 11);
        let place = x_map.at(height - 3, 3) + 5;
        let usual = std::mem::replace(&mut source[place], special);
        same(&format!("{special} in x"), both_ways(sizes, [&packed, &source], x_map, (lanes, taps), sizes.output));
        source[place] = usual;
        packed[lanes.width() * 40 + 7] = special;
        let what = format!("{special} in the weights");
        same(&what, both_ways(sizes, [&packed, &source], x_map, (lanes, taps), sizes.output));
        for in_dy in [false, true] {
            let mut x = filled::<f32>(&x_map, sizes.input, 12);
            let mut dy = filled::<f32>(&dy_map, sizes.output, 13);
            if in_dy {
                dy[dy_map.at(0, 0) + 9] = special
            } else {
                x[x_map.at(height - 1, width - 1) + 9] = special
            }
            let what = format!("{special} in {}, in sums", if in_dy { "dy" } else { "x" });
            same(&what, outer_both_ways(sizes, [&x, &dy], [x_map, dy_map], 1));
        }
    }
}

#[test]
fn few_channels_other_kernels_and_strides_are_left_to_the_other_loops() {
    let fits = sizes([64, 64], [8, 16], [1, 1], [1, 1]);
    assert!(applies(&fits));
    let mut strided = fits;
    (strided.options.stride, strided.output) = ([2, 2], [4, 8]);
    for (what, other) in [
        ("few channels", sizes([16, 64], [8, 16], [1, 1], [1, 1])),
        ("no whole vectors", sizes([64, 72], [8, 16], [1, 1], [1, 1])),
        ("five taps", ConvSizes { kernel: [5, 5], output: [6, 14], ..fits }),
        ("stride two", strided),
        // Half of each tile would lie beyond the map.
        ("one row", sizes([64, 64], [1, 16], [1, 1], [1, 1])),
    ] {
        assert!(!applies(&other), "{what}");
    }
}

#[test]
fn every_result_is_in_one_tile() {
    for len in 1..13 {
        for apart in 1..5 {
            let tiles = Tiles::new([len, 7], [apart, 2]);
            let (mut seen, mut count) = (vec![0; len * 7], 0);
            tiles.each(|tile, [row, column]| {
                assert_eq!(tile, count);
                count += 1;
                for i in 0..=usize::from(row.1) {
                    for j in 0..=usize::from(column.1) {
                        seen[(row.0 + i * apart) * 7 + column.0 + j * 2] += 1;
                    }
                }
            });
            assert_eq!((count, seen), (tiles.count(), vec![1; len * 7]), "{len} rows {apart} apart");
        }
    }
}
