//! A convolutional network that reads digits of 8x8 pixels, which `drawing.rs` draws: shifted, faint or bold, in noise.

mod drawing;

use drawing::digits;
use humdinger::Result;
use humdinger::nn::{BatchNorm, Conv2d, Fit, Flow, Linear, Model, ModelOptions, PlaneMean, Relu, Sequential};

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
