//! A step of training, inference, an epoch: the classifier as a whole.

use super::{Clock, Measured, OUTPUTS, formula, prepare};
use crate::data::synth::{self, Channels, Options};
use crate::data::{Clip, Dataset, LoadOptions};
use crate::device::Device;
use crate::graph::{Graph, States};
use crate::nn::{Adam, Mode};
use crate::train::batch::Draw;
use crate::train::engine::{Engine, batch_sizes};
use crate::train::metrics::softmax;
use crate::train::network::{self, Network};
use crate::train::{Recipe, Settings, Variations};
use crate::{Error, Result};
use std::sync::Arc;
use std::time::Instant;

/// The step whose loss is the check.
const CHECK_STEPS: usize = 10;
/// Recordings of the notebook's training set.
const RECORDINGS: usize = 78;

/// A training step of a recipe's classifier on spectrograms.
pub(super) fn step(device: &Device, recipe: Recipe, batch: usize, clock: Clock) -> Result<Measured> {
    let (classifier, front_end) = (recipe.classifier(OUTPUTS), recipe.front_end());
    let image = [front_end.channels, front_end.bands, front_end.frames()];
    let mut states = States::new();
    let parameters = classifier.add_states(&mut states, 0)?;
    let mut adam = Adam::new(&mut states, parameters)?;
    let mut graph = Graph::new(Arc::new(states));
    let x = graph.input("x", [batch, image[0], image[1], image[2]])?;
    let labels = graph.index_input("labels", [batch])?;
    let logits = classifier.logits(&mut graph, x, Mode::Train)?;
    let loss = graph.cross_entropy(logits, labels, 0.0)?.loss;
    adam.minimise(&mut graph, loss)?;
    graph.output("loss", loss)?;
    let (mut session, plan) = prepare(device, graph)?;
    formula::weights(&mut *session)?;
    session.write(plan, "x", &formula::uniform(7, batch * image.iter().product::<usize>()))?;
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

/// From samples to probabilities.
pub(super) fn inference(device: &Device, batch: usize, clock: Clock) -> Result<Measured> {
    let (network, _) = Network::new(Recipe::Notebook, &Recipe::Notebook.front_end(), OUTPUTS, 0, false)?;
    let (mut session, plan) = prepare(device, network.graph(network::Pass::Evaluate, batch, None)?)?;
    formula::weights(&mut *session)?;
    let sound = formula::sound(batch);
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

/// An epoch over 78 stereo recordings of 15 s at 44.1 kHz, augmented, in batches. Decoding and resampling happen once in a
/// run; their time is spread over the notebook's 200 epochs.
pub(super) fn notebook_run(device: &Device, batch: usize, clock: Clock) -> Result<Measured> {
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
    let pass = network::Pass::train(&config);
    for count in batch_sizes(clips.len(), batch) {
        engine.compile(pass, count)?;
    }
    let mut epoch = 0;
    let mut times = clock.times(|| {
        let mut rest = &clips[..];
        while !rest.is_empty() {
            let batches = engine.next_batches(pass, batch, rest, |items, &(item, clip)| {
                let draw = Draw { seed: config.seed, epoch, item: item as u64 };
                items.push_augmented(Recipe::Notebook, &front_end, clip, draw, Variations::ALL);
            });
            rest = &rest[batches.iter().map(|items| items.count).sum()..];
            engine.train(pass, &batches)?;
        }
        epoch += 1;
        Ok(())
    })?;
    times.iter_mut().for_each(|time| *time += loading / config.epochs as f64);
    Ok(Measured { times, check: None })
}
