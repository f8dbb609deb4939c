//! A convolutional network that reads digits of 8x8 pixels, which it draws itself: shifted, faint or bold, in noise.

use humdinger::nn::{BatchNorm, Conv2d, Data, Fit, Flow, Linear, Model, ModelOptions, PlaneMean, Relu, Sequential};
use humdinger::{Result, Tensor};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// The rows of 0 to 9, five pixels wide: one byte a row, seven rows a digit.
const FONT: [[u8; 7]; 10] = [
    [14, 17, 19, 21, 25, 17, 14],
    [4, 12, 4, 4, 4, 4, 14],
    [14, 17, 1, 2, 4, 8, 31],
    [14, 17, 1, 6, 1, 17, 14],
    [2, 6, 10, 18, 31, 2, 2],
    [31, 16, 30, 1, 1, 17, 14],
    [6, 8, 16, 30, 17, 17, 14],
    [31, 1, 2, 4, 8, 8, 8],
    [14, 17, 17, 14, 17, 17, 14],
    [14, 17, 17, 15, 1, 2, 12],
];

fn digits(count: usize, seed: u64) -> Result<Data> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut pixels, mut classes) = (Vec::new(), Vec::new());
    for i in 0..count {
        let (digit, across, down) = (i % 10, rng.random_range(0..4), rng.random_range(0..2));
        let ink = rng.random_range(0.6..1.0);
        let bit = |row: usize, column: usize| {
            FONT[digit].get(row).is_some_and(|bits| bits << across >> (7 - column) & 1 == 1)
        };
        for (row, column) in (0..8).flat_map(|row| (0..8).map(move |column| (row, column))) {
            let on = row >= down && bit(row - down, column);
            pixels.push(if on { ink } else { 0.0 } + rng.random_range(-0.25..0.25));
        }
        classes.push(digit as u32);
    }
    Data::new(Tensor::new([count, 1, 8, 8], pixels)?, classes)
}

fn main() -> Result<()> {
    let (train, test) = (digits(2000, 1)?, digits(500, 2)?);
    let network = Sequential::new()
        .then(Conv2d::new(1, 16, 3).padding(1))
        .then(Relu)
        .then(BatchNorm::new(16))
        .then(Conv2d::new(16, 32, 3).stride(2).padding(1))
        .then(Relu)
        .then(BatchNorm::new(32))
        .then(Conv2d::new(32, 64, 3).stride(2).padding(1))
        .then(Relu)
        .then(BatchNorm::new(64))
        .then(PlaneMean)
        .then(Linear::new(64, 10));
    let mut model = Model::new(network, ModelOptions::default())?;
    println!("{} parameters on {}", model.parameter_count(), model.device());
    let (mut validation, mut last) = (test.batches(100), 0.0);
    let mut tell = |epoch: &humdinger::nn::Epoch| {
        last = epoch.validation.and_then(|scores| scores.metric).unwrap_or(0.0);
        println!("epoch {}: loss {:.3}, {:.1} % of new digits", epoch.number, epoch.training.loss, 100.0 * last);
        Flow::Continue
    };
    let fit = Fit { after_epoch: Some(&mut tell), ..Fit::classes(6, 0.003).validated(&mut validation) };
    model.fit(&mut train.shuffled(50, 1), fit)?;
    assert!(last > 0.95, "only {:.1} % were right", 100.0 * last);
    Ok(())
}
