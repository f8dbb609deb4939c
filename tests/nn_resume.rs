//! A fit that is interrupted goes on from its checkpoint and ends with the same bits as one that is not.

#![cfg(feature = "weights")]

use humdinger::device::DeviceChoice;
use humdinger::nn::weights::Weights;
use humdinger::nn::{
    Batch, BatchNorm, Batches, Checkpoints, Data, Dropout, Epoch, Fit, Flow, Linear, Model, ModelOptions, Optimiser,
    Relu, Schedule, Sequential,
};
use humdinger::{Error, Result, Tensor};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ADAM: Optimiser = Optimiser::Adam { weight_decay: 1e-3 };
const SGD: Optimiser = Optimiser::Sgd { momentum: 0.9, nesterov: true, weight_decay: 1e-3 };

/// What has moments, running statistics and random choices of its own, and a name that could be taken for one of the checkpoint's.
fn model(optimiser: Optimiser, hidden: usize) -> Model {
    let network = Sequential::new()
        .then(Linear::new(2, hidden))
        .then(BatchNorm::new(hidden))
        .then(Relu)
        .then(Dropout { p: 0.2 })
        .named("best", Linear::new(hidden, 2));
    let options = ModelOptions { device: DeviceChoice::Cpu, seed: 3, optimiser, max_norm: Some(1.0) };
    Model::new(network, options).unwrap()
}

/// Points of the plane; the class is the sign of the product of their coordinates.
fn quadrants(items: usize, first: usize) -> Data {
    let wave = |i: usize| (i * 2_654_435_761 % 10_007) as f32 / 5_003.5 - 1.0;
    let x: Vec<f32> = (2 * first..2 * (first + items)).map(wave).collect();
    let classes: Vec<u32> = x.chunks(2).map(|p| u32::from(p[0] * p[1] > 0.0)).collect();
    Data::new(Tensor::new([items, 2], x).unwrap(), classes).unwrap()
}

/// How a fit is interrupted when so many batches have been asked for.
enum Interruption<'a> {
    None,
    /// It fails, as though the process had died.
    Failure,
    /// It is asked to stop after the step.
    Stop(&'a AtomicBool),
}

struct Interrupted<'a, B> {
    batches: B,
    left: usize,
    how: Interruption<'a>,
}

impl<B: Batches> Batches for Interrupted<'_, B> {
    fn epoch(&mut self, epoch: usize) -> Result<Box<dyn Iterator<Item = Result<Batch>> + '_>> {
        let Self { batches, left, how } = self;
        let pass = move |batch: Result<Batch>| {
            if *left == 0 {
                match how {
                    Interruption::None => {}
                    Interruption::Failure => return Err(Error::Data("the disk is gone".into())),
                    Interruption::Stop(stop) => stop.store(true, Ordering::SeqCst),
                }
            }
            *left = left.saturating_sub(1);
            batch
        };
        Ok(Box::new(batches.epoch(epoch)?.map(pass)))
    }
}

/// All that a fit has come to, but for the time that it took.
#[derive(Debug, PartialEq)]
struct Outcome {
    history: Vec<Epoch>,
    parameters: Vec<Tensor<f32>>,
    /// The optimiser's, too.
    states: Weights,
}

fn outcome(model: &mut Model, history: Vec<Epoch>, file: &Path) -> Result<Outcome> {
    let history = history.into_iter().map(|epoch| Epoch { seconds: 0.0, ..epoch }).collect();
    let parameters = model.paths().iter().map(|path| model.read(path)).collect::<Result<_>>()?;
    let mut states = Weights::read(file)?;
    for timed in ["seconds", "epochs"] {
        states.metadata.remove(timed);
    }
    Ok(Outcome { history, parameters, states })
}

const EPOCHS: usize = 4;
/// Steps of an epoch; the last has fewer items.
const STEPS: usize = 3;

fn fit(file: &Path, epochs: usize) -> Fit<'_> {
    let schedule = Schedule::Cosine { rate: 0.05, last: 0.001, steps: EPOCHS * STEPS, beta1: 0.9 };
    let checkpoints = Some(Checkpoints { every: Duration::ZERO, ..Checkpoints::new(file) });
    Fit { schedule, checkpoints, ..Fit::classes(epochs, 0.05) }
}

/// Fits with an interruption; what was interrupted goes on.
fn run(optimiser: Optimiser, file: &Path, interrupt: Option<(usize, bool)>) -> Result<Outcome> {
    let (data, held_out) = (quadrants(20, 0), quadrants(30, 100));
    let mut validation = held_out.batches(16);
    if let Some((left, fails)) = interrupt {
        let stop = AtomicBool::new(false);
        let how = if fails { Interruption::Failure } else { Interruption::Stop(&stop) };
        let mut batches = Interrupted { batches: data.shuffled(8, 5), left, how };
        let fit = Fit { stop: Some(&stop), ..fit(file, EPOCHS).validated(&mut validation) };
        let ended = model(optimiser, 8).fit(&mut batches, fit);
        match ended {
            Ok(history) => assert!(!fails && history.len() < EPOCHS),
            Err(error) => assert!(fails && error.to_string().contains("the disk is gone"), "{error}"),
        }
    }
    let mut model = model(optimiser, 8);
    let mut told = 0;
    let mut tell = |_: &Epoch| {
        told += 1;
        Flow::Continue
    };
    let mut batches = Interrupted { batches: data.shuffled(8, 5), left: 0, how: Interruption::None };
    let fit = Fit { after_epoch: Some(&mut tell), ..fit(file, EPOCHS).validated(&mut validation) };
    let history = model.fit(&mut batches, fit)?;
    let before = interrupt.map_or(0, |(left, _)| left / STEPS);
    assert_eq!((history.len(), told), (EPOCHS, EPOCHS - before), "callbacks are told of new epochs");
    outcome(&mut model, history, file)
}

#[test]
fn a_fit_interrupted_at_any_step_ends_with_the_same_bits() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    for (name, optimiser) in [("adam", ADAM), ("sgd", SGD)] {
        let file = |which: String| folder.path().join(format!("{name}-{which}.safetensors"));
        let whole = run(optimiser, &file("whole".into()), None)?;
        assert!(whole.states.tensors.keys().any(|name| name.starts_with("best.")));
        for left in 0..EPOCHS * STEPS {
            for fails in [true, false] {
                let parted = run(optimiser, &file(format!("{left}-{fails}")), Some((left, fails)))?;
                assert_eq!(parted, whole, "{name}: after {left} steps, {fails}");
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_finished_stays_so_until_more_epochs_are_asked_for() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let (short, long) = (folder.path().join("short.safetensors"), folder.path().join("long.safetensors"));
    let data = quadrants(20, 0);
    let fitted = |file: &Path, epochs| -> Result<Outcome> {
        let mut model = model(ADAM, 8);
        let history = model.fit(&mut data.shuffled(8, 5), fit(file, epochs))?;
        outcome(&mut model, history, file)
    };
    let first = fitted(&short, 2)?;
    assert_eq!(first.history.len(), 2);
    assert_eq!(fitted(&short, 2)?, first, "once more, nothing is left to do");
    assert_eq!(fitted(&short, EPOCHS)?, fitted(&long, EPOCHS)?, "and two more epochs are the same as four");
    Ok(())
}

#[test]
fn what_patience_has_ended_is_the_best_once_more() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fit.safetensors");
    let (data, held_out) = (quadrants(20, 0), quadrants(30, 100));
    let fitted = || -> Result<Outcome> {
        let (mut model, mut validation) = (model(SGD, 8), held_out.batches(30));
        // A rate that spoils what was learned.
        let fit =
            Fit { patience: Some(2), ..Fit::classes(200, 2.0).validated(&mut validation).resumable(file.as_path()) };
        let history = model.fit(&mut data.shuffled(8, 5), fit)?;
        outcome(&mut model, history, &file)
    };
    let first = fitted()?;
    let losses: Vec<f64> = first.history.iter().map(|epoch| epoch.validation.unwrap().loss).collect();
    let best = (0..losses.len()).fold(0, |best, i| if losses[i] < losses[best] { i } else { best });
    assert_eq!(losses.len(), best + 3, "{losses:?}");
    assert_eq!(fitted()?, first);
    Ok(())
}

#[test]
fn other_files_and_damaged_ones_are_refused_and_stay() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fit.safetensors");
    let data = quadrants(20, 0);
    let refused = |model: &mut Model, words: &[&str]| {
        let before = std::fs::read(&file).unwrap();
        let text = model.fit(&mut data.shuffled(8, 5), fit(&file, 2)).unwrap_err().to_string();
        assert!(words.iter().chain(&["fit.safetensors"]).all(|word| text.contains(word)), "{text}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    };
    model(ADAM, 8).fit(&mut data.shuffled(8, 5), fit(&file, 1))?;
    refused(&mut model(SGD, 8), &["another optimiser", "adam.mean", "remove this one"]);
    refused(&mut model(ADAM, 9), &["another model", "`0.bias` of shape [8]"]);
    let whole = Weights::read(&file)?;
    let damaged = |name: &str, value: &str| {
        let mut weights = whole.clone();
        weights.metadata.insert(name.into(), value.into());
        weights.write(&file)
    };
    for (name, value) in [
        ("step", "many"),
        ("epoch", "-"),
        ("training", "1 2"),
        ("draws", "00ff"),
        ("draws", "zz"),
        ("epochs", "0.1 0.2 3 - -"),
    ] {
        damaged(name, value)?;
        refused(&mut model(ADAM, 8), &["damaged", name]);
    }
    damaged("humdinger_fit", "2")?;
    refused(&mut model(ADAM, 8), &["version 2"]);
    let mut less = whole.clone();
    less.tensors.remove("state.0.weight");
    less.write(&file)?;
    refused(&mut model(ADAM, 8), &["no `0.weight`"]);
    model(ADAM, 8).save(&file)?;
    refused(&mut model(ADAM, 8), &["is not a checkpoint", "another file"]);
    std::fs::write(&file, b"notes").unwrap();
    refused(&mut model(ADAM, 8), &["safetensors"]);
    Ok(())
}

#[test]
fn other_batches_are_told_where_they_are_too_few() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fit.safetensors");
    let data = quadrants(20, 0);
    let mut batches = Interrupted { batches: data.batches(8), left: 2, how: Interruption::Failure };
    assert!(model(ADAM, 8).fit(&mut batches, fit(&file, 1)).is_err());
    let error = model(ADAM, 8).fit(&mut quadrants(8, 0).batches(8), fit(&file, 1)).unwrap_err().to_string();
    assert!(error.contains("has 1 batches, and 2 of it"), "{error}");
    Ok(())
}

#[test]
fn what_is_no_longer_finite_does_not_take_the_place_of_what_was() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fit.safetensors");
    let data = quadrants(20, 0);
    let mut model = model(ADAM, 8);
    model.fit(&mut data.shuffled(8, 5), fit(&file, 1))?;
    // Training does not read it: the loss stays finite.
    let mut weights = Weights::read(&file)?;
    weights.tensors.insert("state.1.running_var".into(), Tensor::full([8], f32::INFINITY));
    weights.write(&file)?;
    let spoilt = std::fs::read(&file).unwrap();
    let error = model.fit(&mut data.shuffled(8, 5), fit(&file, 2)).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::NonFinite(_)) && text.contains("`1.running_var` is no longer finite"), "{text}");
    assert!(text.contains("after step 4") && text.contains("fit.safetensors"), "{text}");
    assert_eq!(std::fs::read(&file).unwrap(), spoilt, "the checkpoint of before stays");
    Ok(())
}
