//! Many runs in one call against as many calls, and clips in the device's memory against clips from the host: the same to the bit,
//! on CPU and GPU.

#![cfg(feature = "app")]

#[path = "common/gpu.rs"]
mod device;
#[path = "common/runs.rs"]
mod runs;

use humdinger::cpu::{CpuSession, Pool};
use humdinger::data::{Clip, Dataset, LoadOptions};
use humdinger::device::{Device, DeviceChoice};
use humdinger::gpu::GpuSession;
use humdinger::graph::{Graph, Plan, PlanId, Series, Session, States, Target};
use humdinger::ops::Excerpts;
use humdinger::train::batch::{self, Batch, Draw};
use humdinger::train::engine::Engine;
use humdinger::train::model::read_weights;
use humdinger::train::network::{Network, Pass};
use humdinger::train::recordings::Recordings;
use humdinger::train::{Recipe, Variations};
use humdinger::{Result, Tensor};
use std::sync::Arc;

/// Length of a window, and the number of runs: more than go into one submission, and no multiple of it.
const LEN: usize = 70;
const RUNS: usize = 37;
const TRAIN: Pass = Pass::Train { augment: true };

/// `total += windows out of x * factor`.
fn running_total() -> Result<Graph> {
    let mut states = States::new();
    states.add("totals", "total", Tensor::full([3, 1, LEN], 0.0))?;
    let mut graph = Graph::new(Arc::new(states));
    let x = graph.input("x", [3 * LEN])?;
    let factor = graph.input("factor", [3, 1, LEN])?;
    let places = graph.index_input("places", [3, 5])?;
    let picked = graph.excerpts(x, places, Excerpts { channels: 1, length: LEN, repeat: true })?;
    let product = graph.multiply(picked, factor)?;
    let total = graph.state("total")?;
    let sum = graph.add(total, product)?;
    graph.assign(total, sum)?;
    graph.output("product", product)?;
    graph.output("sum", sum)?;
    Ok(graph)
}

/// That graph on every kind of session.
fn sessions() -> Result<Vec<(Box<dyn Session>, PlanId)>> {
    let graph = running_total()?;
    let cpu: Box<dyn Session> = Box::new(CpuSession::<f32>::new(graph.states().clone(), Arc::new(Pool::new(2)))?);
    let mut all = vec![(cpu, graph, Target::Cpu)];
    if let Some(gpu) = device::gpu() {
        let graph = running_total()?;
        all.push((Box::new(GpuSession::new(gpu.clone(), graph.states().clone())?), graph, Target::Gpu));
        let graph = running_total()?;
        all.push((Box::new(GpuSession::with_guards(gpu, graph.states().clone())?), graph, Target::Gpu));
    }
    let add = |(mut session, graph, target): (Box<dyn Session>, Graph, Target)| {
        let id = session.add(Plan::new(graph, target)?)?;
        Ok((session, id))
    };
    all.into_iter().map(add).collect()
}

#[test]
fn a_series_is_its_runs_one_by_one() -> Result<()> {
    let each = 3 * LEN;
    let noise = |i: usize| (i * 2_654_435_761 % 10_007) as f32 / 5_003.5 - 1.0;
    let factors: Vec<f32> = (0..RUNS * each).map(noise).collect();
    let places: Vec<u32> = (0..RUNS * 3).flat_map(|i| [(i * 31 % 200) as u32, 0, 1, (i % 9) as u32, 5]).collect();
    for (mut session, id) in sessions()? {
        let what = session.describe();
        // An input that stays what it is.
        session.write(id, "x", &(0..each).map(|i| 1.0 + i as f32).collect::<Vec<_>>())?;
        let (mut products, mut sums) = (vec![0.0; RUNS * each], vec![0.0; RUNS * each]);
        for run in 0..RUNS {
            session.write(id, "factor", &factors[run * each..][..each])?;
            session.write_indices(id, "places", &places[run * 15..][..15])?;
            session.run(id)?;
            session.read(id, "product", &mut products[run * each..][..each])?;
            session.read(id, "sum", &mut sums[run * each..][..each])?;
        }
        assert!(sums.iter().any(|&x| x != 0.0));
        session.write_state("total", &vec![0.0; each])?;
        // A short one first, so that the tables grow.
        for runs in [1, RUNS] {
            let (mut all_products, mut all_sums) = (vec![0.0; runs * each], vec![0.0; runs * each]);
            let series = Series {
                runs,
                real: vec![("factor", &factors[..runs * each])],
                index: vec![("places", &places[..runs * 15])],
            };
            session.run_series(id, &series, &mut [("sum", &mut all_sums), ("product", &mut all_products)])?;
            assert!(all_products == products[..runs * each], "{what}: products of {runs} runs");
            assert!(all_sums == sums[..runs * each], "{what}: sums of {runs} runs");
            session.write_state("total", &vec![0.0; each])?;
        }
        let mut series = Series { runs: 2, real: vec![("factor", &factors[..each])], index: Vec::new() };
        let message = session.run_series(id, &series, &mut []).unwrap_err().to_string();
        assert!(message.contains("factor") && message.contains(&(each / 2).to_string()), "{message}");
        series.real = vec![("nobody", &factors[..2 * each])];
        let message = session.run_series(id, &series, &mut []).unwrap_err().to_string();
        assert!(message.contains("nobody"), "{message}");
        series.real.clear();
        let mut short = vec![0.0; 2 * each - 1];
        let message = session.run_series(id, &series, &mut [("sum", &mut short)]).unwrap_err().to_string();
        assert!(message.contains("sum") && message.contains(&(2 * each - 1).to_string()), "{message}");
    }
    Ok(())
}

#[test]
fn a_part_of_a_state_can_be_written() -> Result<()> {
    for (mut session, _) in sessions()? {
        session.write_state_part("total", 100, &[1.0, 2.0])?;
        let mut total = vec![0.0; 3 * LEN];
        session.read_state("total", &mut total)?;
        assert_eq!(total[98..104], [0.0, 0.0, 1.0, 2.0, 0.0, 0.0]);
        let message = session.write_state_part("total", 209, &[1.0, 2.0]).unwrap_err().to_string();
        assert!(message.contains("total") && message.contains("210"), "{message}");
        assert!(session.write_state_part("total", usize::MAX, &[1.0]).is_err());
    }
    Ok(())
}

/// Mono and stereo clips, shorter and longer than the window.
fn clips(recipe: Recipe) -> Result<Vec<Clip>> {
    let options = LoadOptions { sample_rate: recipe.front_end().sample_rate, ..LoadOptions::default() };
    let mut clips = Dataset::load(&runs::clips(), &options)?.clips;
    for (i, clip) in clips.iter_mut().enumerate() {
        if i % 3 == 0 {
            let other = clip.channel(0).iter().map(|x| 0.25 - 0.5 * x).collect();
            clip.samples = vec![clip.channel(0).to_vec(), other].into();
        }
        if i % 4 == 1 {
            clip.samples = clip.samples.each().map(|channel| channel.repeat(4)).collect::<Vec<_>>().into();
        }
    }
    Ok(clips)
}

/// What a network hears in clips that the device holds, and in the same clips handed in.
#[test]
fn held_recordings_are_heard_as_those_from_the_host() -> Result<()> {
    for recipe in [Recipe::Notebook, Recipe::Melody] {
        let (clips, front_end) = (clips(recipe)?, recipe.front_end());
        assert!(clips.iter().any(|c| c.len() > front_end.window) && clips.iter().any(|c| c.len() < front_end.window));
        let held = Arc::new(Recordings::of(&clips, usize::MAX).expect("clips"));
        let mut results = Vec::new();
        for recordings in [None, Some(&held)] {
            let samples = recordings.map_or(0, |recordings| recordings.samples());
            let (network, _) = Network::of(recipe, &front_end, recipe.classifier(5), 1, false, samples)?;
            let mut session = CpuSession::<f32>::new(network.states.clone(), Arc::new(Pool::new(2)))?;
            if let Some(recordings) = recordings {
                recordings.lend(&mut session)?;
            }
            let plan = session.add(Plan::new(network.graph(TRAIN, clips.len(), None)?, Target::Cpu)?)?;
            let mut augmented = Batch::new(recordings);
            for (i, clip) in clips.iter().enumerate() {
                let draw = Draw { seed: 7, epoch: 2, item: i as u64 };
                augmented.push_augmented(recipe, &front_end, clip, draw, Variations::ALL);
            }
            let mut logits = vec![0.0; 5 * clips.len()];
            batch::run(&mut session, plan, &[augmented], &[], &mut [("logits", &mut logits)])?;
            let plan = session.add(Plan::new(network.graph(Pass::Evaluate, clips.len(), None)?, Target::Cpu)?)?;
            let mut plain = Batch::new(recordings);
            clips.iter().for_each(|clip| plain.push_plain(clip, 10_000, &front_end));
            let mut inferred = vec![0.0; 5 * clips.len()];
            batch::run(&mut session, plan, &[plain], &[], &mut [("logits", &mut inferred)])?;
            results.push([logits, inferred]);
        }
        assert!(results[0] == results[1], "{recipe:?}");
    }
    Ok(())
}

#[test]
fn recordings_that_do_not_fit_or_are_not_there() -> Result<()> {
    let clips = clips(Recipe::Melody)?;
    let samples = clips.iter().map(|clip| clip.samples.range().len()).sum();
    assert_eq!(Recordings::of(&clips, samples).map(|r| r.samples()), Some(samples));
    assert_eq!(Recordings::of(&clips, samples - 1), None, "too many samples");
    assert_eq!(Recordings::of(&[clips[0].clone(), clips[0].clone()], usize::MAX), None, "one id twice");
    assert_eq!(Recordings::of(&[], usize::MAX), None);
    let (recipe, front_end) = (Recipe::Melody, Recipe::Melody.front_end());
    let held = Arc::new(Recordings::of(&clips[1..], usize::MAX).expect("clips"));
    let (network, _) = Network::of(recipe, &front_end, recipe.classifier(5), 1, false, held.samples())?;
    let mut session = CpuSession::<f32>::new(network.states.clone(), Arc::new(Pool::new(2)))?;
    let plan = session.add(Plan::new(network.graph(Pass::Evaluate, 2, None)?, Target::Cpu)?)?;
    let mut batch = Batch::new(Some(&held));
    clips[..2].iter().for_each(|clip| batch.push_plain(clip, 0, &front_end));
    let message = batch::run(&mut session, plan, &[batch], &[], &mut []).unwrap_err().to_string();
    assert!(message.contains("1 of the clips"), "{message}");
    Ok(())
}

/// Training on a GPU that holds the clips, many steps at once, against samples from the host, step by step.
#[test]
fn many_steps_at_once_train_alike() -> Result<()> {
    let Some(gpu) = device::gpu() else { return Ok(()) };
    let device = Device::choose(DeviceChoice::Gpu(Some(gpu.adapter().number)))?;
    for (recipe, name) in [(Recipe::Notebook, "notebook"), (Recipe::Melody, "melody")] {
        let (clips, config, front_end) = (clips(recipe)?, runs::config(name, 2), recipe.front_end());
        let twice = [clips.clone(), clips.clone()].concat();
        let mut results = Vec::new();
        for (given, at_once) in [(&clips, 4), (&twice, 1)] {
            let mut engine = Engine::for_training(&device, &config, 5, 10, given)?;
            assert_eq!(engine.batch().recordings.is_some(), at_once > 1, "whether the device holds them");
            engine.compile(TRAIN, 2)?;
            let batches = clips.chunks_exact(2).take(4).enumerate().map(|(k, part)| {
                let mut batch = engine.batch();
                for (i, clip) in part.iter().enumerate() {
                    let draw = Draw { seed: 7, epoch: 0, item: (2 * k + i) as u64 };
                    batch.push_augmented(recipe, &front_end, clip, draw, Variations::ALL);
                }
                batch
            });
            let batches: Vec<Batch> = batches.collect();
            let mut steps = Vec::new();
            for part in batches.chunks(at_once) {
                steps.extend(engine.train(TRAIN, part)?);
            }
            assert!(steps.len() == 4 && steps.iter().all(|step| step.loss.is_finite() && step.learning_rate > 0.0));
            let weights = read_weights(&mut *engine.session, 4)?;
            let inferred = engine.infer(&clips.iter().collect::<Vec<_>>(), false)?;
            results.push((steps, weights, inferred));
        }
        assert!(results[0].0 == results[1].0, "{recipe:?}: {:?} and {:?}", results[0].0, results[1].0);
        assert!(results[0].1 == results[1].1, "{recipe:?}: other weights");
        assert!(results[0].2 == results[1].2, "{recipe:?}: other outputs");
    }
    Ok(())
}
