//! Initial values of parameters, drawn from a seeded generator.

use crate::tensor::{Shape, Tensor};
use rand::{Rng, RngExt};

/// Independent normal numbers of mean 0 and this standard deviation (Box and Muller, 1958).
pub fn normal(rng: &mut impl Rng, shape: impl Into<Shape>, deviation: f64) -> Tensor<f32> {
    let mut values = Tensor::full(shape, 0.0);
    for pair in values.data_mut().chunks_mut(2) {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        pair.iter_mut().zip([cos, sin]).for_each(|(to, part)| *to = (deviation * radius * part) as f32);
    }
    values
}

/// The number of inputs that one output sums over: everything behind the first axis.
fn fan_in(shape: Shape) -> f64 {
    shape.dims()[1..].iter().product::<usize>() as f64
}

/// Kaiming normal (He et al., 2015), fan-in, with the gain of a leaky ReLU of this slope: standard deviation
/// `sqrt(2 / (1 + slope^2) / fan_in)`.
pub fn kaiming_normal(rng: &mut impl Rng, shape: impl Into<Shape>, slope: f64) -> Tensor<f32> {
    let shape = shape.into();
    normal(rng, shape, (2.0 / (1.0 + slope * slope) / fan_in(shape)).sqrt())
}

/// Uniform in `[-bound, bound)`.
pub fn uniform(rng: &mut impl Rng, shape: impl Into<Shape>, bound: f64) -> Tensor<f32> {
    let mut values = Tensor::full(shape, 0.0);
    values.data_mut().iter_mut().for_each(|to| *to = (bound * (2.0 * rng.random::<f64>() - 1.0)) as f32);
    values
}

/// PyTorch's default for the weights and biases of a linear layer: uniform in `+-1 / sqrt(fan_in)`.
pub fn linear_bound(fan_in: usize) -> f64 {
    1.0 / (fan_in as f64).sqrt()
}
