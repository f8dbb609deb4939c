//! Numbers for whoever runs exported plans elsewhere: what the CPU makes of them from the same weights and inputs.
//!
//! Where `HUMDINGER_WEB` names a folder, plans, weights, inputs and outcomes of both recipes are written there, for
//! `tools/web/run`, which holds `web/plan.js` against them.

#![cfg(feature = "app")]

use humdinger::data::Clip;
use humdinger::data::draws::{Purpose, Stream};
use humdinger::device::{Device, DeviceChoice};
use humdinger::fusion::{Fusions, fuse};
use humdinger::graph::{Plan, Session, Target};
use humdinger::nn::{self, Adam};
use humdinger::tensor::Tensor;
use humdinger::train::batch::{self, Batch, Draw};
use humdinger::train::network::{Network, Pass};
use humdinger::train::weights::Weights;
use humdinger::train::{Recipe, Variations};
use humdinger::{Error, Result};
use std::path::{Path, PathBuf};

const CLIPS: usize = 4;
const STEPS: usize = 5;

/// Five notes one after the other with a little noise, each with overtones. They fade and waver otherwise at the end than at the beginning: of
/// two frames that are alike but for rounding, rounding would say which is the maximum.
fn hum(of: usize, recipe: Recipe) -> Vec<f32> {
    let front_end = recipe.front_end();
    let rate = f64::from(front_end.sample_rate);
    let each = front_end.window / 6;
    let mut noise = Stream::new(Purpose::Network, 5, of as u64, 0);
    let mut sound = Vec::with_capacity(5 * each);
    for note in [0, 2, 4, 5, 7] {
        let hz = 180.0 * ((note * (of + 1) % 12) as f64 / 12.0).exp2();
        for t in 0..each {
            let (seconds, part) = (t as f64 / rate, t as f64 / each as f64);
            let phase = std::f64::consts::TAU * hz * seconds * (1.0 + 0.02 * part * part);
            let tone: f64 = (1..6).map(|h| (h as f64 * phase).sin() / h as f64).sum();
            let loud = 0.2 * (20.0 * part).min(1.0) * (-2.0 * part).exp();
            sound.push((loud * tone + 0.003 * noise.normal()) as f32);
        }
    }
    sound
}

fn plan(network: &Network, pass: Pass, count: usize, adam: Option<&Adam>, target: Target) -> Result<Plan> {
    let mut graph = network.graph(pass, count, adam)?;
    fuse(&mut graph, Fusions::for_target(target))?;
    Plan::new(graph, target)
}

/// What a batch holds for each input of a plan, as real numbers: those of indices are small.
fn inputs(plan: &Plan, batch: &Batch, numbers: &[f32]) -> Result<Vec<(String, Tensor)>> {
    let whole = |values: &[u32]| values.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    plan.inputs
        .iter()
        .map(|port| {
            let values = match port.name.as_str() {
                batch::inputs::SAMPLES => batch.samples.clone(),
                batch::inputs::START => whole(&batch.start),
                batch::inputs::WARP => batch.warp.clone(),
                batch::inputs::FREQUENCY_MASKS => whole(&batch.frequency_masks),
                batch::inputs::TIME_MASKS => whole(&batch.time_masks),
                batch::inputs::LABELS => whole(&batch.labels),
                nn::STEP => numbers.to_vec(),
                other => panic!("an input {other}"),
            };
            Ok((port.name.clone(), Tensor::new(port.spec.shape, values)?))
        })
        .collect()
}

fn read(session: &mut dyn Session, weights: &mut Weights, when: &str) -> Result<()> {
    let states: Vec<_> = session.states().iter().cloned().collect();
    for state in states {
        let mut values = vec![0.0; state.shape.elements()];
        session.read_state(&state.name, &mut values)?;
        weights.tensors.insert(format!("{when}.{}", state.name), Tensor::new(state.shape, values)?);
    }
    Ok(())
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::create_dir_all(folder).expect("a folder for the numbers");
    std::fs::write(folder.join(name), bytes).expect("numbers are written");
}

fn check(recipe: Recipe, folder: Option<&Path>) -> Result<()> {
    let front_end = recipe.front_end();
    let device = Device::choose(DeviceChoice::Cpu)?;
    let (network, adam) = Network::new(recipe, &front_end, 5, 3, true)?;
    let mut adam = adam.ok_or_else(|| Error::Data("no optimiser".into()))?;
    let mut session = device.session(network.states.clone())?;
    let mut numbers = Weights::default();
    read(&mut *session, &mut numbers, "before")?;
    let clips: Vec<Clip> = (0..CLIPS)
        .map(|i| Clip { label: i, ..Clip::alone(Path::new(&format!("{i}")), vec![hum(i, recipe)]) })
        .collect();
    let train = Pass::Train { augment: true };
    let [training, evaluation] = [(train, CLIPS, Some(&adam)), (network.evaluation(), 1, None)]
        .map(|(mode, count, adam)| plan(&network, mode, count, adam, Target::Cpu));
    let id = session.add(training?)?;
    // So low that the weights hardly change: where a gradient is nearly 0 rounding decides the sign, which is all that Adam sees.
    let schedule = recipe.schedule(1e-5, STEPS);
    for step in 0..STEPS {
        let mut batch = Batch::default();
        for (item, clip) in clips.iter().enumerate() {
            let draw = Draw { seed: 3, epoch: step as u64, item: item as u64 };
            batch.push_augmented(recipe, &front_end, clip, draw, Variations::ALL);
        }
        let (rate, beta1) = schedule.at(step);
        let adam = adam.next(rate, beta1)?;
        for (name, tensor) in inputs(session.plan(id), &batch, &adam)? {
            numbers.tensors.insert(format!("step.{step}.{name}"), tensor);
        }
        let mut loss = [0.0];
        batch::run(&mut *session, id, &[batch], &[(nn::STEP, &adam)], &mut [("loss", &mut loss)])?;
        assert!(loss[0].is_finite(), "{recipe:?}, step {step}: {loss:?}");
        numbers.tensors.insert(format!("step.{step}.expected.loss"), Tensor::new([1], loss.to_vec())?);
    }
    read(&mut *session, &mut numbers, "after")?;
    let id = session.add(evaluation?)?;
    let mut batch = Batch::default();
    batch.push_plain(&clips[1], 0, &front_end);
    batch.warp.extend(front_end.warps());
    for (name, tensor) in inputs(session.plan(id), &batch, &[])? {
        numbers.tensors.insert(format!("evaluate.{name}"), tensor);
    }
    let mut logits = vec![0.0; front_end.augmentations.len() * 5];
    batch::run(&mut *session, id, &[batch], &[], &mut [("logits", &mut logits)])?;
    assert!(logits.iter().all(|x| x.is_finite()) && logits[0] != logits[1], "{recipe:?}: {logits:?}");
    numbers.tensors.insert("evaluate.expected.logits".into(), Tensor::new([logits.len()], logits)?);
    let Some(folder) = folder else { return Ok(()) };
    let export = |mode, count, adam: Option<&Adam>| plan(&network, mode, count, adam, Target::Gpu)?.export();
    write(folder, &format!("{recipe}.train.json"), export(train, CLIPS, Some(&adam))?.to_string().as_bytes());
    write(folder, &format!("{recipe}.evaluate.json"), export(network.evaluation(), 1, None)?.to_string().as_bytes());
    numbers.write(&folder.join(format!("{recipe}.safetensors")))
}

#[test]
fn both_recipes_train_and_evaluate_on_the_cpu() -> Result<()> {
    let folder = std::env::var_os("HUMDINGER_WEB").map(PathBuf::from);
    Recipe::ALL.into_iter().try_for_each(|recipe| check(recipe, folder.as_deref()))
}
