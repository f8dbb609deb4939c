//! A recipe's graphs on a device: one training plan per batch size, one evaluation plan per batch size, over one state.

use super::batch::{self, Batch, windows};
use super::config::Config;
use super::distribution::WindowOutputs;
use super::metrics::argmax;
use super::network::{Network, Pass};
use super::recipe::{Augmentation, FrontEnd, Recipe};
use super::recordings::Recordings;
use crate::data::Clip;
use crate::device::Device;
use crate::fusion::{Fusions, fuse};
use crate::graph::{Communicator, Plan, PlanId, Session, Target};
use crate::nn::{self, Adam, Classifier, Schedule};
use crate::ops::Part;
use crate::{Error, Result};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Batch size of evaluation without test-time augmentation. What is left over goes one by one,
/// so that two plans are enough. With augmentation, each window goes by itself.
pub const EVALUATION_BATCH: usize = 16;

/// How long a GPU may work through steps or windows before the host gets results, in seconds: an epoch on a fast one, a single
/// step on a slow one, so that progress shows and a request to stop is followed soon.
const LONGEST_WAIT: f64 = 0.5;
/// The most bytes of samples that are uploaded at once, where the device does not hold the recordings.
const MOST_UPLOADED: usize = 64 << 20;

/// What a training step gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
    /// The batch's mean loss.
    pub loss: f32,
    /// How many of its clips were right.
    pub right: usize,
    /// The learning rate.
    pub learning_rate: f64,
}

/// The network's outputs for each window of a clip: one test-time augmentation after the other, then the next window.
pub type ClipOutputs = Vec<WindowOutputs>;

/// A window of a clip.
#[derive(Clone, Copy)]
struct Window {
    /// Which of the clips.
    clip: usize,
    /// The window's first sample.
    from: usize,
}

/// See the top of this file.
pub struct Engine {
    /// Holds the states.
    pub session: Box<dyn Session>,
    target: Target,
    network: Network,
    optimiser: Option<(Adam, Schedule)>,
    plans: HashMap<(Pass, usize), PlanId>,
    recordings: Option<Arc<Recordings>>,
    /// Seconds that a run took lately, by plan.
    paces: HashMap<(Pass, usize), f64>,
    /// The ranks that share the windows to be inferred.
    ranks: Option<Arc<dyn Communicator>>,
}

impl Engine {
    /// An engine that only looks: no optimiser's moments.
    ///
    /// # Errors
    /// Where the network cannot be built or the device has too little memory.
    pub fn for_evaluation(
        device: &Device,
        recipe: Recipe,
        front_end: &FrontEnd,
        classifier: Classifier,
    ) -> Result<Self> {
        let (network, _) = Network::of(recipe, front_end, classifier, 0, false, 0)?;
        let session = device.session(network.states.clone())?;
        Ok(Self::new(session, device, network, None))
    }

    fn new(session: Box<dyn Session>, device: &Device, network: Network, optimiser: Option<(Adam, Schedule)>) -> Self {
        let (plans, paces) = Default::default();
        let (target, ranks) = (device.target(), device.ranks().cloned());
        Self { session, target, network, optimiser, plans, recordings: None, paces, ranks }
    }

    /// An engine that trains for `steps` steps on some of these clips, and infers them. The CPU reads them where they are, a GPU with
    /// room for them holds them.
    ///
    /// # Errors
    /// As [`Engine::for_evaluation`].
    pub fn for_training(
        device: &Device,
        config: &Config,
        outputs: usize,
        steps: usize,
        clips: &[Clip],
    ) -> Result<Self> {
        if let Some(recordings) = Recordings::of(clips, device.room())
            // A buffer of the size that a device allows may still be more than it has.
            && let Ok(mut engine) = Self::training(device, config, outputs, steps, recordings.samples())
        {
            recordings.lend(&mut *engine.session)?;
            engine.recordings = Some(Arc::new(recordings));
            return Ok(engine);
        }
        Self::training(device, config, outputs, steps, 0)
    }

    fn training(device: &Device, config: &Config, outputs: usize, steps: usize, samples: usize) -> Result<Self> {
        let front_end = config.recipe.front_end();
        let classifier = config.classifier(outputs);
        let (mut network, adam) = Network::of(config.recipe, &front_end, classifier, config.seed, true, samples)?;
        network.label_smoothing = config.label_smoothing;
        let session = device.session(network.states.clone())?;
        let schedule = config.recipe.schedule(config.learning_rate, steps);
        schedule.check()?;
        let optimiser = adam.map(|mut adam| {
            adam.weight_decay = config.weight_decay;
            (adam, schedule)
        });
        Ok(Self::new(session, device, network, optimiser))
    }

    /// An empty batch: of samples, or of places in the device's memory.
    pub fn batch(&self) -> Batch {
        Batch::new(self.recordings.as_ref())
    }

    /// What the network is.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The steps that the optimiser has taken, when a checkpoint is restored.
    pub fn set_steps(&mut self, steps: u64) {
        if let Some((adam, _)) = &mut self.optimiser {
            adam.steps = steps;
        }
    }

    /// Makes the plan of a pass for batches of this many clips, unless it is there: graph, fused operations, memory. Batches are trained
    /// on only by plans that are there.
    ///
    /// # Errors
    /// Where it cannot be built or the device has too little memory.
    pub fn compile(&mut self, pass: Pass, count: usize) -> Result<()> {
        if self.plans.contains_key(&(pass, count)) {
            return Ok(());
        }
        let adam = self.optimiser.as_ref().map(|(adam, _)| adam);
        let mut graph = match self.part(pass, count) {
            Some((own, part)) => self.network.graph_of_part(pass, own.len(), adam, part)?,
            None => self.network.graph(pass, count, adam)?,
        };
        fuse(&mut graph, Fusions::for_target(self.target))?;
        let plan = self.session.add(Plan::new(graph, self.target)?)?;
        self.plans.insert((pass, count), plan);
        Ok(())
    }

    fn plan(&self, pass: Pass, count: usize) -> Result<PlanId> {
        let uncompiled = || {
            let detail = format!("there is no plan of {pass:?} for batches of {count} clips; Engine::compile makes it");
            Error::value("batch", detail)
        };
        self.plans.get(&(pass, count)).copied().ok_or_else(uncompiled)
    }

    /// Which of a batch's clips this rank is given, where ranks are given a part each: on GPUs.
    fn part(&self, pass: Pass, count: usize) -> Option<(Range<usize>, Part)> {
        let ranks = self.ranks.as_ref().filter(|_| self.target == Target::Gpu && matches!(pass, Pass::Train { .. }))?;
        let own = share(&**ranks, count, ranks.rank());
        let part = Part { of: count, counts: !own.is_empty() };
        // Who has none works on the first, and adds nothing.
        Some((if part.counts { own } else { 0..1 }, part))
    }

    /// Makes the plan that looks at a single window, so that what cannot be built is known early.
    ///
    /// # Errors
    /// As [`Engine::compile`].
    pub fn prepare(&mut self) -> Result<()> {
        self.compile(self.network.evaluation(), 1)
    }

    /// How many of the `left` items of an epoch to hand over next: as many whole batches of `size` as the device is given at once, or the
    /// smaller one that is left.
    pub fn next_items(&self, pass: Pass, size: usize, left: usize) -> usize {
        match (left / size).min(self.at_once(pass, size)) {
            0 => left,
            whole => whole * size,
        }
    }

    /// What to hand over next of an epoch's items: see [`Engine::next_items`]. `push` puts an item into a batch.
    pub fn next_batches<I>(&self, pass: Pass, size: usize, items: &[I], push: impl Fn(&mut Batch, &I)) -> Vec<Batch> {
        let part = &items[..self.next_items(pass, size, items.len())];
        let fill = |items: &[I]| {
            let mut batch = self.batch();
            items.iter().for_each(|item| push(&mut batch, item));
            batch
        };
        part.chunks(size).map(fill).collect()
    }

    /// How many batches of this many clips are worth handing over at once. More than one only on a GPU, which is given as many as
    /// it works through in half a second.
    fn at_once(&self, pass: Pass, count: usize) -> usize {
        // Ranks make each step together, and their paces differ.
        let together = self.part(pass, count).is_some();
        let Some(pace) = self.paces.get(&(pass, count)).filter(|_| self.target == Target::Gpu && !together) else {
            return 1;
        };
        let front_end = &self.network.front_end;
        let uploaded = if self.recordings.is_some() { 0 } else { 4 * count * front_end.channels * front_end.window };
        ((LONGEST_WAIT / pace) as usize).min(MOST_UPLOADED / uploaded.max(1)).max(1)
    }

    /// Runs the plan of a pass for batches of `count` clips each, and keeps the time.
    fn run(
        &mut self,
        pass: Pass,
        batches: &[Batch],
        more: &[(&str, &[f32])],
        outputs: &mut [(&str, &mut [f32])],
    ) -> Result<()> {
        let Some(count) = batches.first().map(|batch| batch.count) else { return Ok(()) };
        let plan = self.plan(pass, count)?;
        // Only a GPU is given more at once when it is quick; WebAssembly has no clock.
        let started = (self.target == Target::Gpu).then(Instant::now);
        let own = self.part(pass, count).map(|(own, _)| own);
        batch::run_part(&mut *self.session, plan, batches, own, more, outputs)?;
        if let Some(started) = started {
            self.paces.insert((pass, count), started.elapsed().as_secs_f64() / batches.len() as f64);
        }
        Ok(())
    }

    /// Makes a training step with each of these batches, which are of one size. `pass` says whether they are augmented; its plan for that
    /// size must have been compiled.
    ///
    /// # Errors
    /// Where it was not, or the device fails.
    pub fn train(&mut self, pass: Pass, batches: &[Batch]) -> Result<Vec<StepResult>> {
        let Some((adam, schedule)) = &mut self.optimiser else {
            return Err(Error::value("optimiser", "this engine was made for evaluation"));
        };
        let (mut numbers, mut rates) = (Vec::new(), Vec::new());
        for _ in batches {
            let (step, rate) = adam.next_scheduled(schedule)?;
            numbers.extend(step);
            rates.push(rate);
        }
        let (outputs, runs) = (self.network.outputs, batches.len());
        let count = batches.first().map_or(0, |batch| batch.count);
        let part = self.part(pass, count);
        let own = part.as_ref().map_or(count, |(own, _)| own.len());
        let (mut losses, mut logits) = (vec![0.0; runs], vec![0.0; runs * own * outputs]);
        self.run(pass, batches, &[(nn::STEP, &numbers)], &mut [("loss", &mut losses), ("logits", &mut logits)])?;
        if let (Some((own, part)), Some(ranks)) = (part, self.ranks.as_deref()) {
            logits = gathered(ranks, &logits, count, part.counts.then_some(own), outputs)?;
        }
        let right = |(row, &label): (&[f32], &u32)| {
            let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
            argmax(&row) == label as usize
        };
        let mut rows = logits.chunks_exact(outputs);
        let step = |((batch, loss), learning_rate): ((&Batch, f32), f64)| StepResult {
            loss,
            right: rows.by_ref().take(batch.count).zip(&batch.labels).filter(|&pair| right(pair)).count(),
            learning_rate,
        };
        Ok(batches.iter().zip(losses).zip(rates).map(step).collect())
    }

    /// Infers every window of these clips under every test-time augmentation of the front end. What comes with a clip makes no difference
    /// to it.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn infer(&mut self, clips: &[&Clip], first_only: bool) -> Result<Vec<ClipOutputs>> {
        self.infer_in(self.network.evaluation(), clips, first_only)
    }

    /// Infers every window of these clips without test-time augmentation, which is quicker.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn infer_once(&mut self, clips: &[&Clip], first_only: bool) -> Result<Vec<ClipOutputs>> {
        self.infer_in(Pass::Evaluate, clips, first_only)
    }

    fn infer_in(&mut self, pass: Pass, clips: &[&Clip], first_only: bool) -> Result<Vec<ClipOutputs>> {
        let window = self.network.front_end.window;
        let all: Vec<Window> = (clips.iter().enumerate())
            .flat_map(|(clip, of)| {
                windows(of.len(), window, first_only).into_iter().map(move |from| Window { clip, from })
            })
            .collect();
        let mut results: Vec<ClipOutputs> = vec![Vec::new(); clips.len()];
        let (together, rest) = match pass {
            Pass::EvaluateAugmented => (&[][..], &all[..]),
            _ => all.split_at(all.len() / EVALUATION_BATCH * EVALUATION_BATCH),
        };
        for (windows, count) in [(together, EVALUATION_BATCH), (rest, 1)] {
            if !windows.is_empty() {
                self.compile(pass, count)?;
            }
        }
        self.infer_windows(pass, clips, together, EVALUATION_BATCH, &mut results)?;
        self.infer_windows(pass, clips, rest, 1, &mut results)?;
        Ok(results)
    }

    /// Infers all of these windows, `count` at a time.
    fn infer_windows(
        &mut self,
        pass: Pass,
        clips: &[&Clip],
        windows: &[Window],
        count: usize,
        results: &mut [ClipOutputs],
    ) -> Result<()> {
        let (outputs, length) = (self.network.outputs, self.network.vector_length());
        let augmentations = if pass == Pass::EvaluateAugmented {
            self.network.front_end.augmentations.clone()
        } else {
            vec![Augmentation::NONE]
        };
        let mut logits = vec![0.0; windows.len() * augmentations.len() * outputs];
        let mut vectors = vec![0.0; windows.len() * augmentations.len() * length];
        // Ranks take whole batches each, so that the results do not depend on their number.
        let ranks = self.ranks.clone();
        let size = ranks.as_ref().map_or(1, |ranks| ranks.size());
        let start = |rank: usize| (rank * windows.len().div_ceil(count) / size * count).min(windows.len());
        let own = ranks.as_ref().map_or(0, |ranks| ranks.rank());
        let (mut done, end) = (start(own), start(own + 1));
        while done < end {
            let part = &windows[done..end.min(done + count * self.at_once(pass, count))];
            let mut batches = Vec::new();
            for windows in part.chunks(count) {
                let mut batch = self.batch();
                for &Window { clip, from } in windows {
                    batch.push_plain(clips[clip], from, &self.network.front_end);
                    batch.warp.extend(
                        augmentations.iter().flat_map(|augmentation| [augmentation.shift, augmentation.stretch]),
                    );
                }
                batches.push(batch);
            }
            let rows = done * augmentations.len()..(done + part.len()) * augmentations.len();
            let logits = &mut logits[rows.start * outputs..rows.end * outputs];
            let vectors = &mut vectors[rows.start * length..rows.end * length];
            self.run(pass, &batches, &[], &mut [("logits", logits), ("vectors", vectors)])?;
            done += part.len();
        }
        if let Some(ranks) = &ranks {
            for (values, each) in [(&mut logits, outputs), (&mut vectors, length)] {
                let at = |rank: usize| start(rank) * augmentations.len() * each * size_of::<f32>();
                let parts: Vec<Range<usize>> = (0..size).map(|rank| at(rank)..at(rank + 1)).collect();
                ranks.all_gather(bytemuck::cast_slice_mut(values), &parts)?;
            }
        }
        let mut rows = logits.chunks_exact(outputs).zip(vectors.chunks_exact(length));
        for window in windows {
            let inferred = rows.by_ref().take(augmentations.len());
            let inferred =
                inferred.map(|(logits, vector)| WindowOutputs { logits: logits.to_vec(), embedding: vector.to_vec() });
            results[window.clip].extend(inferred);
        }
        Ok(())
    }
}

/// The sizes of batches into which so many items are cut: whole ones, and what is left over.
pub fn batch_sizes(items: usize, batch: usize) -> impl Iterator<Item = usize> {
    [if items < batch { 0 } else { batch }, items % batch].into_iter().filter(|&size| size > 0)
}

/// The clips of a batch of `count` that are this rank's, where ranks are given a part each.
fn share(ranks: &dyn Communicator, count: usize, rank: usize) -> Range<usize> {
    let start = |rank: usize| rank * count / ranks.size();
    start(rank)..start(rank + 1)
}

/// The rows of all ranks, of batches of `count` clips that went one after the other; `rows` are this rank's, of the clips `own`, if it has
/// any.
fn gathered(
    ranks: &dyn Communicator,
    rows: &[f32],
    count: usize,
    own: Option<Range<usize>>,
    each: usize,
) -> Result<Vec<f32>> {
    let bytes = |clips: Range<usize>| clips.start * each * size_of::<f32>()..clips.end * each * size_of::<f32>();
    let parts: Vec<Range<usize>> = (0..ranks.size()).map(|rank| bytes(share(ranks, count, rank))).collect();
    let len = own.as_ref().map_or(1, Range::len) * each;
    let mut all = Vec::with_capacity(rows.len() / len.max(1) * count * each);
    for rows in rows.chunks_exact(len.max(1)) {
        let mut batch = vec![0.0_f32; count * each];
        if let Some(own) = &own {
            batch[own.start * each..own.end * each].copy_from_slice(rows);
        }
        ranks.all_gather(bytemuck::cast_slice_mut(&mut batch), &parts)?;
        all.extend(batch);
    }
    Ok(all)
}
