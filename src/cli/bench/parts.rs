//! A convolution, the front end, resampling: parts of the classifier's work.

use super::{Clock, Measured, OUTPUTS, formula, prepare};
use crate::Result;
use crate::audio::resample::Resampler;
use crate::device::Device;
use crate::graph::{Graph, States};
use crate::ops::{ConvOptions, conv2d_gradients};
use crate::train::Recipe;
use crate::train::network::Network;
use std::sync::Arc;

/// A convolution forward and backward.
pub(super) fn convolution(device: &Device, batch: usize, variant: &str, clock: Clock) -> Result<Measured> {
    let (n, from, to, size, stride) = match variant {
        "28x28" => (16, 128, 256, 28, 2),
        _ => (32, 64, 64, 56, 1),
    };
    let n = if batch == 0 { n } else { batch };
    let out = (size - 1) / stride + 1;
    let mut graph = Graph::new(Arc::new(States::new()));
    let x = graph.input("x", [n, from, size, size])?;
    let w = graph.input("w", [to, from, 3, 3])?;
    let b = graph.input("b", [to])?;
    let dy = graph.input("dy", [n, to, out, out])?;
    let options = ConvOptions::square(stride, 1);
    let y = graph.conv2d(x, w, Some(b), options)?;
    let gradients = conv2d_gradients(&mut graph, x, w, dy, options)?;
    graph.output("y", y)?;
    ["dx", "dw", "db"].iter().zip(gradients).try_for_each(|(name, value)| graph.output(name, value))?;
    let (mut session, plan) = prepare(device, graph)?;
    let scale = ((from * 9) as f64).sqrt();
    session.write(plan, "x", &formula::uniform(1, n * from * size * size))?;
    let weights: Vec<f32> = formula::hashed_uniform(2, to * from * 9).map(|x| (x / scale) as f32).collect();
    session.write(plan, "w", &weights)?;
    session.write(plan, "b", &formula::uniform(3, to))?;
    session.write(plan, "dy", &formula::uniform(4, n * to * out * out))?;
    // The smallest output, so that waiting for the device costs next to nothing.
    let mut db = vec![0.0; to];
    let times = clock.times(|| {
        session.run(plan)?;
        session.read(plan, "db", &mut db)
    })?;
    let mut dw = vec![0.0; to * from * 9];
    session.read(plan, "dw", &mut dw)?;
    Ok(Measured { times, check: Some(mean_square(&dw)) })
}

fn mean_square(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / values.len() as f64
}

/// From samples to decibels.
pub(super) fn front_end(device: &Device, batch: usize, clock: Clock) -> Result<Measured> {
    let (network, _) = Network::new(Recipe::Notebook, &Recipe::Notebook.front_end(), OUTPUTS, 0, false)?;
    let mut graph = Graph::new(Arc::new(States::new()));
    let samples = graph.input("samples", [batch, network.front_end.channels, network.front_end.window])?;
    let decibels = network.decibels(&mut graph, samples)?;
    graph.output("decibels", decibels)?;
    let count = graph.shape(decibels).elements();
    // One number to wait for; the rest stays on the device.
    let mean = graph.mean_all(decibels)?;
    graph.output("mean", mean)?;
    let (mut session, plan) = prepare(device, graph)?;
    session.write(plan, "samples", &formula::sound(batch))?;
    let mut mean = [0.0];
    let times = clock.times(|| {
        session.run(plan)?;
        session.read(plan, "mean", &mut mean)
    })?;
    let mut decibels = vec![0.0; count];
    session.read(plan, "decibels", &mut decibels)?;
    let first = &decibels[..count / batch];
    let check = first.iter().map(|&x| f64::from(x)).sum::<f64>() / first.len() as f64;
    Ok(Measured { times, check: Some(check) })
}

/// Two channels from 44.1 to 11 kHz.
pub(super) fn resample(variant: &str, clock: Clock) -> Result<Measured> {
    let tone = |i: usize| (std::f64::consts::TAU * 440.0 / 44_100.0 * i as f64).sin() as f32;
    let left: Vec<f32> = (0..15 * 44_100).map(tone).collect();
    let right: Vec<f32> = left.iter().map(|x| 0.5 * x).collect();
    let kept = Resampler::shared(44_100, 11_000)?;
    let mut result = [Vec::new(), Vec::new()];
    let times = clock.times(|| {
        for (result, channel) in result.iter_mut().zip([&left, &right]) {
            *result = match variant {
                "notebook" => Resampler::new(44_100, 11_000)?.run(channel),
                _ => kept.run(channel),
            };
        }
        Ok(())
    })?;
    Ok(Measured { times, check: Some(mean_square(&result.concat())) })
}
