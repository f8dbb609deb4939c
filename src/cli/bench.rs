//! `humdinger bench`: times the classifier's work, for comparison with other programs (benches/peers/README.md describes
//! each work, and the formula that inputs and weights come from).

use super::{VectorArgs, say};
mod kernels;
use crate::audio::resample::Resampler;
use crate::data::synth::{self, Channels, Options};
use crate::data::{Clip, Dataset, LoadOptions};
use crate::device::Device;
use crate::fusion::{Fusions, fuse};
use crate::graph::{Graph, Plan, PlanId, Session, States};
use crate::nn::{Adam, Classifier, Mode};
use crate::ops::{ConvOptions, conv2d_gradients};
use crate::train::batch::Draw;
use crate::train::engine::Engine;
use crate::train::metrics::softmax;
use crate::train::network::{self, Network};
use crate::train::{Recipe, Settings};
use crate::{Error, Result};
use clap::ValueEnum;
use std::sync::Arc;
use std::time::Instant;

/// Outputs of the classifier.
const OUTPUTS: usize = 10;
/// The step whose loss is the check.
const CHECK_STEPS: usize = 10;
/// Recordings of the notebook's training set.
const RECORDINGS: usize = 78;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Work {
    /// A training step of the notebook's classifier on spectrograms
    Step,
    /// From samples to probabilities
    Inference,
    /// A convolution forward and backward; variants 56x56 and 28x28
    Conv2d,
    /// From samples to decibels
    FrontEnd,
    /// 15 s stereo from 44.1 to 11 kHz; variants kept and notebook (a new kernel for each channel)
    Resample,
    /// An epoch of the notebook's training, from decoded recordings
    NotebookRun,
    /// Every kernel of a training step, samples to optimiser; variants notebook and melody
    Kernels,
}

/// Time the classifier's work on this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do
    #[arg(value_enum)]
    work: Work,
    /// A variant of it, where it has any
    #[arg(long)]
    variant: Option<String>,
    /// Clips at once [default: 4 for a step, else 1]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// How long to measure, after a tenth of that unmeasured
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    seconds: f64,
    /// auto, cpu, gpu or gpu:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    #[command(flatten)]
    vectors: VectorArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was measured: the times of single runs in milliseconds, and a number that other programs must get too.
struct Measured {
    times: Vec<f64>,
    check: Option<f64>,
}

pub fn run(args: Args) -> Result<()> {
    let batch = args.batch.unwrap_or(match args.work {
        Work::Step | Work::NotebookRun | Work::Kernels => 4,
        Work::Conv2d => 0,
        _ => 1,
    });
    if batch > 4096 || (batch == 0 && args.work != Work::Conv2d) {
        return Err(Error::usage("--batch", format!("{batch} is not from 1 to 4096")));
    }
    if !(args.seconds > 0.0 && args.seconds <= 3600.0) {
        return Err(Error::usage("--seconds", format!("{} is not above 0 and at most 3600", args.seconds)));
    }
    let known: &[&str] = match args.work {
        Work::Conv2d => &["56x56", "28x28"],
        Work::Resample => &["kept", "notebook"],
        Work::Kernels => &["notebook", "melody"],
        _ => &["humdinger"],
    };
    let variant = args.variant.as_deref().unwrap_or(known[0]);
    if !known.contains(&variant) {
        return Err(Error::usage("--variant", format!("`{variant}` is none of {}", known.join(", "))));
    }
    args.vectors.choose()?;
    let device = Device::choose(super::device(&args.device)?)?;
    let clock = Clock(args.seconds);
    if args.work == Work::Kernels {
        return kernels::run(&device, variant, batch, args.seconds, args.json);
    }
    let mut measured = match args.work {
        Work::Step => step(&device, batch, clock)?,
        Work::Inference => inference(&device, batch, clock)?,
        Work::Conv2d => convolution(&device, batch, variant, clock)?,
        Work::FrontEnd => front_end(&device, batch, clock)?,
        Work::Resample => resample(variant, clock)?,
        Work::NotebookRun => notebook_run(&device, batch, clock)?,
        Work::Kernels => unreachable!("returned above"),
    };
    measured.times.sort_by(f64::total_cmp);
    let (median, best) = (measured.times[measured.times.len() / 2], measured.times[0]);
    let name = args.work.to_possible_value().map_or(String::new(), |value| value.get_name().to_string());
    if args.json {
        return say(serde_json::json!({
            "name": name,
            "variant": variant,
            "batch": batch,
            "device": device.to_string(),
            "median_ms": median,
            "best_ms": best,
            "runs": measured.times.len(),
            "check": measured.check,
        }));
    }
    let check = measured.check.map_or(String::new(), |check| format!(", check {check:.6}"));
    say(format!(
        "{name} ({variant}), batch {batch}: median {median:.3} ms, best {best:.3} ms of {} runs on {device}{check}",
        measured.times.len()
    ))
}

/// For how many seconds to measure.
#[derive(Clone, Copy)]
struct Clock(f64);

impl Clock {
    /// Times single runs, at least three, after a tenth of the time unmeasured.
    fn times(self, mut run: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
        let start = Instant::now();
        loop {
            run()?;
            if start.elapsed().as_secs_f64() > self.0 / 10.0 {
                break;
            }
        }
        let (start, mut times) = (Instant::now(), Vec::new());
        while times.len() < 3 || start.elapsed().as_secs_f64() < self.0 {
            let single = Instant::now();
            run()?;
            times.push(single.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    }
}

/// `count` values in [-1, 1) by 32-bit integer arithmetic, the same to the last bit in any language: `hashed_uniform` of
/// tools/notebook_model.py.
fn hashed_uniform(seed: u32, count: usize) -> impl Iterator<Item = f64> {
    (0..count as u32).map(move |i| {
        let mut h = i.wrapping_mul(0x9E37_79B1).wrapping_add(seed.wrapping_mul(0x85EB_CA6B));
        h ^= h >> 16;
        h = h.wrapping_mul(0x7FEB_352D);
        h ^= h >> 15;
        h = h.wrapping_mul(0x846C_A68B);
        h ^= h >> 16;
        f64::from(h >> 8) / 8_388_608.0 - 1.0
    })
}

fn uniform(seed: u32, count: usize) -> Vec<f32> {
    hashed_uniform(seed, count).map(|x| x as f32).collect()
}

/// Gives the classifier the weights of the formula.
fn formula_weights(session: &mut dyn Session) -> Result<()> {
    let states: Vec<_> = session.states().iter().cloned().collect();
    let own = |name: &str| name.starts_with("conv") || name.starts_with("bn") || name.starts_with("lin");
    let parameters = states.iter().filter(|state| own(&state.name) && !state.name.contains("running"));
    for (k, state) in parameters.enumerate() {
        let count = state.shape.elements();
        let drawn = hashed_uniform(1000 + k as u32, count);
        let values: Vec<f32> = match state.name.as_str() {
            name if name.starts_with("conv") && name.ends_with("weight") => {
                let bound = (6.0 / (count / state.shape[0]) as f64).sqrt();
                drawn.map(|x| (x * bound) as f32).collect()
            }
            name if name.starts_with("lin") => drawn.map(|x| (x / 8.0) as f32).collect(),
            name if name.ends_with("weight") => vec![1.0; count],
            _ => vec![0.0; count],
        };
        session.write_state(&state.name, &values)?;
    }
    Ok(())
}

/// Clip i is a tone of 200 + 7 (i mod 64) Hz in both channels, with a twentieth of noise: [n, 2, 44000].
fn formula_sound(count: usize) -> Vec<f32> {
    let front_end = Recipe::Notebook.front_end();
    let (samples, rate) = (front_end.window, f64::from(front_end.sample_rate));
    let noise = uniform(9, count * 2 * samples);
    let tone = |i: usize, t: usize| (std::f64::consts::TAU * (200.0 + 7.0 * (i % 64) as f64) * (t as f64 / rate)).sin();
    let at = |(place, noise): (usize, f32)| tone(place / (2 * samples), place % samples) as f32 * 0.5 + 0.05 * noise;
    noise.into_iter().enumerate().map(at).collect()
}

/// A plan on a device, with states of its own.
fn prepare(device: &Device, mut graph: Graph) -> Result<(Box<dyn Session>, PlanId)> {
    fuse(&mut graph, Fusions::for_target(device.target()))?;
    let mut session = device.session(graph.states().clone())?;
    let plan = session.add(Plan::new(graph, device.target())?)?;
    Ok((session, plan))
}

fn step(device: &Device, batch: usize, clock: Clock) -> Result<Measured> {
    let classifier = Classifier::notebook(OUTPUTS);
    let mut states = States::new();
    let parameters = classifier.add_states(&mut states, 0)?;
    let mut adam = Adam::new(&mut states, parameters)?;
    let mut graph = Graph::new(Arc::new(states));
    let x = graph.input("x", [batch, 2, 64, 86])?;
    let labels = graph.index_input("labels", [batch])?;
    let logits = classifier.logits(&mut graph, x, Mode::Train)?;
    let loss = graph.cross_entropy(logits, labels, 0.0)?.loss;
    adam.minimise(&mut graph, loss)?;
    graph.output("loss", loss)?;
    let (mut session, plan) = prepare(device, graph)?;
    formula_weights(&mut *session)?;
    session.write(plan, "x", &uniform(7, batch * 2 * 64 * 86))?;
    session.write_indices(plan, "labels", &(0..batch as u32).map(|i| i % 8).collect::<Vec<_>>())?;
    let mut loss = [0.0];
    let mut one = || {
        adam.before_step(&mut *session, plan, 1e-3, 0.9)?;
        session.run(plan)?;
        // Waits for the device.
        session.read(plan, "loss", &mut loss)?;
        Ok(loss[0])
    };
    let mut check = 0.0;
    for _ in 0..CHECK_STEPS {
        check = one()?;
    }
    let times = clock.times(|| one().map(|_| ()))?;
    Ok(Measured { times, check: Some(f64::from(check)) })
}

fn inference(device: &Device, batch: usize, clock: Clock) -> Result<Measured> {
    let (network, _) = Network::new(Recipe::Notebook, &Recipe::Notebook.front_end(), OUTPUTS, 0, false)?;
    let (mut session, plan) = prepare(device, network.graph(network::Mode::Evaluate, batch, None)?)?;
    formula_weights(&mut *session)?;
    let sound = formula_sound(batch);
    let mut logits = vec![0.0; batch * OUTPUTS];
    let mut first = 0.0;
    let times = clock.times(|| {
        session.write(plan, "samples", &sound)?;
        session.run(plan)?;
        session.read(plan, "logits", &mut logits)?;
        let probabilities: Vec<Vec<f64>> = logits.chunks_exact(OUTPUTS).map(|row| softmax(row, 1.0)).collect();
        first = probabilities[0][0];
        Ok(())
    })?;
    Ok(Measured { times, check: Some(first) })
}

fn convolution(device: &Device, batch: usize, variant: &str, clock: Clock) -> Result<Measured> {
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
    session.write(plan, "x", &uniform(1, n * from * size * size))?;
    let weights: Vec<f32> = hashed_uniform(2, to * from * 9).map(|x| (x / scale) as f32).collect();
    session.write(plan, "w", &weights)?;
    session.write(plan, "b", &uniform(3, to))?;
    session.write(plan, "dy", &uniform(4, n * to * out * out))?;
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

fn front_end(device: &Device, batch: usize, clock: Clock) -> Result<Measured> {
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
    session.write(plan, "samples", &formula_sound(batch))?;
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

fn resample(variant: &str, clock: Clock) -> Result<Measured> {
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

/// An epoch over 78 stereo recordings of 15 s at 44.1 kHz, augmented, in batches. Decoding and resampling happen once in a
/// run; their time is spread over the notebook's 200 epochs.
fn notebook_run(device: &Device, batch: usize, clock: Clock) -> Result<Measured> {
    let folder = tempfile::tempdir().map_err(|e| Error::file(std::env::temp_dir(), e))?;
    let data = folder.path().join("recordings");
    let names: Vec<String> = synth::tunes().iter().take(8).map(|tune| tune.name.to_string()).collect();
    let options = Options {
        singers: RECORDINGS.div_ceil(names.len()),
        tunes: names,
        seconds: 15.0,
        rate: 44_100,
        channels: Channels::Stereo,
        ..Options::default()
    };
    synth::write(&data, &options, false)?;
    let front_end = Recipe::Notebook.front_end();
    let started = Instant::now();
    let load = LoadOptions {
        sample_rate: front_end.sample_rate,
        most_samples: Some(front_end.window),
        ..LoadOptions::default()
    };
    let loaded = Dataset::load(&data, &load)?;
    let loading = started.elapsed().as_secs_f64() * 1e3;
    let clips: Vec<(usize, &Clip)> = loaded.clips.iter().take(RECORDINGS).enumerate().collect();
    let settings = Settings { recipe: Some(Recipe::Notebook), batch_size: Some(batch), ..Settings::default() };
    let config = settings.resolve()?;
    let steps = config.epochs * clips.len().div_ceil(batch);
    let mut engine = Engine::for_training(device, &config, loaded.classes.len(), steps, &loaded.clips)?;
    let mode = network::Mode::train(&config);
    let mut epoch = 0;
    let mut times = clock.times(|| {
        let mut rest = &clips[..];
        while !rest.is_empty() {
            let batches = engine.next_batches(mode, batch, rest, |items, &(item, clip)| {
                let draw = Draw { seed: config.seed, epoch, item: item as u64 };
                items.push_augmented(Recipe::Notebook, &front_end, clip, draw);
            });
            rest = &rest[batches.iter().map(|items| items.count).sum()..];
            engine.train(mode, &batches)?;
        }
        epoch += 1;
        Ok(())
    })?;
    times.iter_mut().for_each(|time| *time += loading / config.epochs as f64);
    Ok(Measured { times, check: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_is_that_of_the_peers() {
        // From tools/notebook_model.py: hashed_uniform(7, 3) and hashed_uniform(1000, 2).
        let close =
            |a: Vec<f64>, b: &[f64]| a.iter().zip(b).for_each(|(a, b)| assert!((a - b).abs() < 1e-7, "{a} {b}"));
        close(hashed_uniform(7, 3).collect(), &[-0.743935227394104, 0.6200648546218872, 0.5583484172821045]);
        close(hashed_uniform(1000, 2).collect(), &[-0.20861780643463135, 0.6586225032806396]);
    }
}
