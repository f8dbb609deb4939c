//! A small network learns a curve from noisy points: mean squared error, SGD with momentum, a learning rate that falls.

use humdinger::nn::{Data, Fit, Linear, Loss, Model, ModelOptions, Optimiser, Schedule, Sequential, Tanh};
use humdinger::{Result, Tensor};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

fn curve(x: f32) -> f32 {
    (3.0 * x).sin() + 0.3 * x
}

fn main() -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let x: Vec<f32> = (0..400).map(|_| rng.random_range(-2.0..2.0)).collect();
    let y: Vec<f32> = x.iter().map(|&x| curve(x) + rng.random_range(-0.1..0.1)).collect();
    let data = Data::new(Tensor::new([400, 1], x)?, Tensor::new([400, 1], y)?)?;

    let network = Sequential::new()
        .then(Linear::new(1, 32))
        .then(Tanh)
        .then(Linear::new(32, 32))
        .then(Tanh)
        .then(Linear::new(32, 1));
    let optimiser = Optimiser::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.0 };
    let mut model = Model::new(network, ModelOptions { optimiser, ..ModelOptions::default() })?;
    let (epochs, batch) = (200, 40);
    let schedule = Schedule::Cosine { rate: 0.1, last: 0.001, steps: epochs * 400 / batch, beta1: 0.9 };
    model.fit(&mut data.shuffled(batch, 1), Fit { schedule, ..Fit::with(Loss::MeanSquare, epochs, 0.1) })?;

    let places: Vec<f32> = (0..9).map(|i| i as f32 / 2.0 - 2.0).collect();
    let found = model.predict(Tensor::new([9, 1], places.clone())?)?;
    for (x, found) in places.iter().zip(found.data()) {
        println!("f({x:4.1}) = {:6.3}, found {found:6.3}", curve(*x));
        assert!((curve(*x) - found).abs() < 0.15, "the curve was not learned");
    }
    Ok(())
}
