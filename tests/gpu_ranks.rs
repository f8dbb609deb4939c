//! Ranks on GPUs (threads here, on one adapter) have a part of the batch each, and learn within rounding what one GPU learns from all
//! of it.

#![cfg(feature = "app")]

#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/runs.rs"]
mod runs;

use gpu::gpu;
use humdinger::cpu::{CpuSession, Pool};
use humdinger::device::{Device, DeviceChoice};
use humdinger::fusion::{Fusions, fuse};
use humdinger::gpu::{Gpu, GpuSession};
use humdinger::graph::{Communicator, Graph, GroupId, Plan, Session, States, Target};
use humdinger::nn::{Block, Classifier, Mode, Pooling};
use humdinger::ops::{Part, Per};
use humdinger::ranks::Threads;
use humdinger::train::folder::RunFolder;
use humdinger::train::run::{Ending, run};
use humdinger::train::source::{self, Reading};
use humdinger::train::tables::read_steps;
use humdinger::train::trainer::{Start, files};
use humdinger::train::{Config, Settings};
use humdinger::{Error, Result};
use runs::{Blind, config, train};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const CLASSES: usize = 3;
const SIZE: [usize; 2] = [10, 9];

/// The results of `each` rank, in their order.
fn on<R: Send>(ranks: usize, each: impl Fn(Threads) -> Result<R> + Sync) -> Result<Vec<R>> {
    std::thread::scope(|scope| {
        let each = &each;
        let threads: Vec<_> = Threads::new(ranks).into_iter().map(|ranks| scope.spawn(move || each(ranks))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| Error::Device("a rank panicked".into()))?).collect()
    })
}

/// From spectrograms to the gradients and the new statistics of a small network.
fn graph(
    network: &Classifier,
    (states, learned): (&Arc<States>, GroupId),
    count: usize,
    part: Option<Part>,
) -> Result<Graph> {
    let mut graph = Graph::new(states.clone());
    let x = graph.input("x", [count, network.channels, SIZE[0], SIZE[1]])?;
    let labels = graph.index_input("labels", [count])?;
    let x = match part {
        Some(part) => graph.standardise_part(x, 1e-5, part)?,
        None => graph.standardise(x, Per::Batch, 1e-5)?,
    };
    let logits = network.logits(&mut graph, x, part.map_or(Mode::Train, Mode::TrainPart))?;
    let mut loss = graph.cross_entropy(logits, labels, 0.1)?.loss;
    if let Some(part) = part {
        loss = graph.scale(loss, count as f64 / part.of as f64)?;
    }
    let names: Vec<String> = states.of_group(learned).map(|state| state.name.clone()).collect();
    let parameters: Vec<_> = names.iter().map(|name| graph.state(name)).collect::<Result<_>>()?;
    let gradients = graph.gradients(loss, &parameters)?;
    let across = |graph: &mut Graph, x| part.map_or(Ok(x), |part| graph.across(x, part.counts));
    for (name, gradient) in names.iter().zip(gradients) {
        let gradient = across(&mut graph, gradient)?;
        graph.output(name, gradient)?;
    }
    let loss = across(&mut graph, loss)?;
    graph.output("loss", loss)?;
    Ok(graph)
}

/// Runs it on some of `items` made-up spectrograms; outputs, and statistics afterwards.
fn results(session: &mut dyn Session, plan: Plan, own: Range<usize>) -> Result<Vec<(String, Vec<f32>)>> {
    let each = 2 * SIZE[0] * SIZE[1];
    let wave = |i: usize| (i * 2_654_435_761 % 10_007) as f32 / 5_003.5 * (1 + i % 3) as f32 - 1.0;
    let x: Vec<f32> = (own.start * each..own.end * each).map(wave).collect();
    let labels: Vec<u32> = own.map(|i| (i * 2 % CLASSES) as u32).collect();
    let id = session.add(plan)?;
    session.write(id, "x", &x)?;
    session.write_indices(id, "labels", &labels)?;
    session.run(id)?;
    let ports: Vec<_> = session.plan(id).outputs.iter().map(|port| (port.name.clone(), port.place.len)).collect();
    let mut all = Vec::new();
    for (name, len) in ports {
        let mut values = vec![0.0; len];
        session.read(id, &name, &mut values)?;
        all.push((name, values));
    }
    for state in session.states().iter().filter(|state| state.name.contains("running")).cloned().collect::<Vec<_>>() {
        let mut values = vec![0.0; state.shape.elements()];
        session.read_state(&state.name, &mut values)?;
        all.push((state.name, values));
    }
    Ok(all)
}

#[test]
fn gradients_and_statistics_are_those_of_the_whole_batch() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    for (pooling, frozen, frozen_norms) in
        [(Pooling::Mean, 0, false), (Pooling::MaxFrequencyMeanTime, 1, false), (Pooling::Mean, 0, true)]
    {
        let blocks = [(5, 2), (6, 1), (4, 2)].map(|(channels, stride)| Block::square(channels, 3, stride)).to_vec();
        let network =
            Classifier { channels: 2, blocks, pooling, outputs: CLASSES, init_slope: 0.1, frozen, frozen_norms };
        let mut states = States::new();
        let learned = network.add_states(&mut states, 3)?;
        let states = Arc::new(states);
        for (items, ranks) in [(4, 2), (5, 3), (2, 3), (3, 5)] {
            let mut session = CpuSession::<f32>::new(states.clone(), Arc::new(Pool::new(1)))?;
            let plan = Plan::new(graph(&network, (&states, learned), items, None)?, Target::Cpu)?;
            let whole = results(&mut session, plan, 0..items)?;
            let rank = |ranks: Threads| {
                let start = |rank: usize| rank * items / ranks.size();
                let own = start(ranks.rank())..start(ranks.rank() + 1);
                let part = Part { of: items, counts: !own.is_empty() };
                let own = if part.counts { own } else { 0..1 };
                let mut graph = graph(&network, (&states, learned), own.len(), Some(part))?;
                fuse(&mut graph, Fusions::for_target(Target::Gpu))?;
                let plan = Plan::new(graph, Target::Gpu)?;
                let mut session = GpuSession::new(gpu.clone(), states.clone())?.among(Arc::new(ranks));
                results(&mut session, plan, own)
            };
            let all = on(ranks, rank)?;
            for found in &all {
                assert_eq!(found, &all[0], "all ranks have the same");
                for ((name, whole), (_, found)) in whole.iter().zip(found) {
                    let scale = whole.iter().fold(1e-3_f32, |most, x| most.max(x.abs()));
                    let off = whole.iter().zip(found).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
                    assert!(off <= 1e-4 * scale, "{name}, {items} items on {ranks} ranks: {off} of {scale}");
                }
            }
        }
    }
    Ok(())
}

/// Seven clips to train on, in batches of three: the last is smaller than the number of ranks.
fn small(recipe: &str, gpu: &Gpu) -> Config {
    let device = Some(format!("gpu:{}", gpu.adapter().number));
    Settings { batch_size: Some(3), device, ..config(recipe, 2).settings() }.resolve().unwrap()
}

fn device(gpu: &Gpu) -> Device {
    Device::choose(DeviceChoice::Gpu(Some(gpu.adapter().number))).unwrap()
}

/// What the ranks' runs came to.
fn among(ranks: usize, config: &Config, gpu: &Gpu, out: &Path) -> Result<Vec<Ending>> {
    on(ranks, |ranks| {
        let first = ranks.rank() == 0;
        let data = source::dataset(config, Reading { no_cache: true, ..Reading::default() }, &|_| ())?;
        let folder = if first { RunFolder::create(out)? } else { RunFolder::of_another(out) };
        let device = device(gpu).among(Arc::new(ranks));
        run(config, &data, &device, &folder, Start::New, &AtomicBool::new(false), &mut Blind)
    })
}

#[test]
fn runs_of_both_recipes_learn_within_rounding_what_one_gpu_learns() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    for (recipe, ranks) in [("notebook", 2), ("melody", 3)] {
        let parent = tempfile::tempdir().unwrap();
        let [alone, out] = ["alone", "out"].map(|name| parent.path().join(name));
        let config = small(recipe, &gpu);
        train(&config, &device(&gpu), &alone, Start::New, &mut Blind)?;
        for ending in among(ranks, &config, &gpu, &out)? {
            assert!(matches!(ending, Ending::Single(one) if one.finished));
        }
        let [alone, among] = [&alone, &out].map(|folder| read_steps(&folder.join(files::STEPS)).unwrap());
        assert_eq!((alone.len(), among.len()), (6, 6));
        for (alone, among) in alone.iter().zip(&among) {
            let off = (alone.loss - among.loss).abs() / alone.loss.abs();
            // The first step's loss is of the same weights; Adam makes much of gradients that are nearly 0 from then on.
            let most = if alone.step == 1 { 1e-5 } else { 1e-2 };
            assert!(off <= most, "{recipe} on {ranks} ranks, step {}: {} and {}", alone.step, alone.loss, among.loss);
        }
    }
    Ok(())
}
