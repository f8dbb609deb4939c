//! Batch norm's statistics where rounding shows: values far from zero, and so many that a mean over M and one over M - 1 differ by
//! little more than f32 can tell. The truth is computed in f64 from the same numbers.

#![cfg(feature = "gpu")]

#[path = "common/gpu.rs"]
mod common;

use common::cases::{on_cpu, on_gpu, pool};
use humdinger::cases::{Case, Input};

/// One channel's values: `mean` and a deviation of `deviation` to both sides, in an order that repeats, so that rounding errors of a
/// running sum do not cancel.
fn channel(elements: usize, mean: f64, deviation: f64) -> Vec<f64> {
    let steps = [-1.31, 0.73, 1.17, -0.97, 0.41];
    (0..elements).map(|i| f64::from((mean + deviation * steps[i % steps.len()]) as f32)).collect()
}

/// Mean and sum of squared distances from it.
fn moments(x: &[f64]) -> (f64, f64) {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    (mean, x.iter().map(|x| (x - mean) * (x - mean)).sum())
}

/// Runs batch norm with momentum 1, which makes the running statistics those of the batch, on every device: the largest
/// error of y, the error of the mean, and the relative error of the variance.
fn errors(x: &[f64], rows: usize) -> Vec<(&'static str, [f64; 3])> {
    let shape = [1, 1, rows, x.len() / rows];
    let one = |value: f64| Input::given([1], vec![value]).constant();
    let inputs = [Input::given(shape, x.to_vec()).constant(), one(1.0), one(0.0), one(0.0), one(1.0)];
    let case = Case::new("batch_norm", "rounding", inputs, |g, x| {
        let made = g.batch_norm(x[0], [x[1], x[2], x[3], x[4]], 1.0, 1e-12)?;
        Ok(vec![made.y, made.running_mean, made.running_var])
    });
    let mut found = vec![("CPU", on_cpu::<f32>(&case, pool(2)).unwrap())];
    found.extend(common::gpu().map(|gpu| ("GPU", on_gpu(&case, &gpu).unwrap())));
    let (mean, squares) = moments(x);
    let (biased, unbiased) = (squares / x.len() as f64, squares / (x.len() - 1) as f64);
    let measure = |(device, outputs): (_, Vec<(String, Vec<f32>)>)| {
        let find = |name: &str| &outputs.iter().find(|(have, _)| have == name).expect("an output").1;
        let y = (find("y0").iter().zip(x))
            .map(|(&y, x)| (f64::from(y) - (x - mean) / (biased + 1e-12).sqrt()).abs())
            .fold(0.0, f64::max);
        let variance = f64::from(find("y2")[0]) / unbiased - 1.0;
        (device, [y, f64::from(find("y1")[0]) - mean, variance].map(f64::abs))
    };
    found.into_iter().map(measure).collect()
}

/// Below and above the number of elements that one workgroup of a GPU sums alone.
const SIZES: [[usize; 2]; 2] = [[160, 200], [160, 260]];

#[test]
fn the_rounding_error_of_the_mean_is_taken_out_again() {
    for [rows, columns] in SIZES {
        let x = channel(rows * columns, 100.013_71, 0.01);
        for (device, [y, mean, _]) in errors(&x, rows) {
            // Near 100 neighbouring numbers of f32 are 7.6e-6 apart.
            assert!(mean <= 3.9e-6, "{device}, {rows} x {columns}: the mean is {mean:e} off");
            assert!(y <= 4e-4, "{device}, {rows} x {columns}: y is {y:e} off");
        }
    }
}

#[test]
fn distances_from_a_rounded_mean_are_corrected_in_the_variance() {
    for [rows, columns] in SIZES {
        // The mean's rounding error is some hundredths of this deviation; its square would show in the variance.
        let x = channel(rows * columns, 100.013_71, 0.000_5);
        for (device, [.., variance]) in errors(&x, rows) {
            assert!(variance <= 2e-5, "{device}, {rows} x {columns}: the variance is {variance:e} of it off");
        }
    }
}

#[test]
fn the_variance_that_normalises_is_the_biased_one() {
    for [rows, columns] in SIZES {
        // With a drift, so that the parts that workgroups sum have different means.
        let drift = |(i, x): (usize, &f64)| f64::from((x + i as f64 / (rows * columns) as f64) as f32);
        let x: Vec<f64> = channel(rows * columns, -0.5, 1.0).iter().enumerate().map(drift).collect();
        for (device, [y, _, variance]) in errors(&x, rows) {
            // Dividing by one element less would change y by up to 3e-5, and the variance by as much.
            assert!(y <= 3e-6, "{device}, {rows} x {columns}: y is {y:e} off");
            assert!(variance <= 3e-6, "{device}, {rows} x {columns}: the variance is {variance:e} of it off");
        }
    }
}
