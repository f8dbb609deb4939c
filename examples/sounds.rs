//! A spectrogram inside the network, and a classifier of sounds on it: it tells rising tones from falling ones and from steady ones,
//! then is saved, loaded into another model, and asked again.

use humdinger::graph::Value;
use humdinger::nn::{
    BatchNorm, Conv2d, Data, Fit, Linear, Model, ModelOptions, Module, Net, PlaneMean, Relu, Sequential, accuracy,
};
use humdinger::ops::Framing;
use humdinger::{Result, Tensor};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use std::f64::consts::TAU;

const RATE: f64 = 8000.0;
const SAMPLES: usize = 4000;
const FRAME: usize = 256;

/// Decibels of the power spectrum: samples `[N, samples]` to `[N, 1, frames, frequencies]`.
struct Spectrogram;

impl Module for Spectrogram {
    fn forward(&self, net: &mut Net<'_>, x: Value) -> Result<Value> {
        let items = net.graph.shape(x)[0];
        let window: Vec<f64> = (0..FRAME).map(|i| 0.5 - 0.5 * (TAU * i as f64 / FRAME as f64).cos()).collect();
        let x = net.graph.reshape(x, [items, 1, SAMPLES])?;
        let power = net.graph.power_spectrum(x, &window, Framing { n_fft: FRAME, hop: FRAME / 2, centred: true })?;
        let decibels = net.graph.decibels(power, 1e-6, 60.0)?;
        net.graph.scale(decibels, 0.05)
    }
}

/// Tones of half a second that rise (0), fall (1) or stay (2), each from another pitch, in noise.
fn sounds(count: usize, seed: u64) -> Result<Data> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut samples, mut classes) = (Vec::new(), Vec::new());
    for i in 0..count {
        let (class, from, mut phase) = (i % 3, rng.random_range(300.0..1500.0), 0.0);
        for k in 0..SAMPLES {
            let octaves = [0.5, -0.5, 0.0][class] * k as f64 / SAMPLES as f64;
            phase += from * octaves.exp2() / RATE;
            samples.push((0.3 * (TAU * phase).sin() + rng.random_range(-0.1..0.1)) as f32);
        }
        classes.push(class as u32);
    }
    Data::new(Tensor::new([count, SAMPLES], samples)?, classes)
}

fn network() -> Sequential {
    Sequential::new()
        .named("spectrogram", Spectrogram)
        .named("conv1", Conv2d::new(1, 8, 5).stride(2))
        .then(Relu)
        .named("norm1", BatchNorm::new(8))
        .named("conv2", Conv2d::new(8, 16, 3).stride(2))
        .then(Relu)
        .named("norm2", BatchNorm::new(16))
        .then(PlaneMean)
        .named("head", Linear::new(16, 3))
}

fn main() -> Result<()> {
    let (train, test) = (sounds(240, 1)?, sounds(60, 2)?);
    let mut model = Model::new(network(), ModelOptions::default())?;
    let history = model.fit(&mut train.shuffled(24, 1), Fit::classes(12, 0.01).validated(&mut test.batches(60)))?;
    let output = model.predict(test.x().clone())?;
    println!("{} epochs, {:.0} % of new sounds", history.len(), 100.0 * accuracy(&output, test.targets()));
    assert!(accuracy(&output, test.targets()) > 0.9);

    let path = std::env::temp_dir().join(format!("humdinger-sounds-{}.safetensors", std::process::id()));
    model.save(&path)?;
    let mut again = Model::new(network(), ModelOptions { seed: 7, ..ModelOptions::default() })?;
    again.load(&path)?;
    std::fs::remove_file(&path).map_err(|error| humdinger::Error::file(&path, error))?;
    assert_eq!(again.predict(test.x().clone())?, output, "a model that was loaded answers the same");
    println!("saved, loaded, and asked again: the same answers");
    Ok(())
}
