//! A recipe's graphs on a device: one training plan per batch size, one evaluation plan per batch size, over one state.

use super::batch::{Batch, windows};
use super::config::Config;
use super::familiar::Heard;
use super::metrics::argmax;
use super::network::{Mode, Network};
use super::recipe::{FrontEnd, Recipe};
use super::report::Spectrogram;
use crate::data::Clip;
use crate::device::Device;
use crate::graph::{Plan, PlanId, Session, Target};
use crate::nn::{Adam, Schedule};
use crate::ops::{Fusions, fuse};
use crate::{Error, Result};
use std::collections::HashMap;

/// Windows that are looked at together in evaluation. What is left over goes one by one, so that two plans are enough.
pub const EVALUATION_BATCH: usize = 16;

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

/// What is heard in each window of a clip.
pub type ClipHeard = Vec<Heard>;

/// See the top of this file.
pub struct Engine {
    /// Holds the states.
    pub session: Box<dyn Session>,
    target: Target,
    network: Network,
    optimiser: Option<(Adam, Schedule)>,
    plans: HashMap<(Mode, usize), PlanId>,
}

impl Engine {
    /// An engine that only looks: no optimiser's moments.
    ///
    /// # Errors
    /// Where the network cannot be built or the device has too little memory.
    pub fn for_evaluation(device: &Device, recipe: Recipe, front_end: &FrontEnd, outputs: usize) -> Result<Self> {
        let (network, _) = Network::new(recipe, front_end, outputs, 0, false)?;
        let session = device.session(network.states.clone())?;
        Ok(Self { session, target: device.target(), network, optimiser: None, plans: HashMap::new() })
    }

    /// An engine that trains for `steps` steps.
    ///
    /// # Errors
    /// As [`Engine::for_evaluation`].
    pub fn for_training(device: &Device, config: &Config, outputs: usize, steps: usize) -> Result<Self> {
        let front_end = config.recipe.front_end();
        let (mut network, adam) = Network::new(config.recipe, &front_end, outputs, config.seed, true)?;
        network.label_smoothing = config.label_smoothing;
        let session = device.session(network.states.clone())?;
        let schedule = config.recipe.schedule(config.learning_rate, steps);
        schedule.check()?;
        let optimiser = adam.map(|mut adam| {
            adam.weight_decay = config.weight_decay;
            (adam, schedule)
        });
        Ok(Self { session, target: device.target(), network, optimiser, plans: HashMap::new() })
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

    /// The plan for a mode and a number of clips, made when first needed.
    ///
    /// # Errors
    /// Where it cannot be built or the device has too little memory.
    pub fn plan(&mut self, mode: Mode, count: usize) -> Result<PlanId> {
        if let Some(&plan) = self.plans.get(&(mode, count)) {
            return Ok(plan);
        }
        let mut graph = self.network.graph(mode, count, self.optimiser.as_ref().map(|(adam, _)| adam))?;
        fuse(&mut graph, Fusions::for_target(self.target))?;
        let plan = self.session.add(Plan::new(graph, self.target)?)?;
        self.plans.insert((mode, count), plan);
        Ok(plan)
    }

    /// Makes a training step. `mode` says whether the batch is augmented, and the label smoothing.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn train(&mut self, mode: Mode, batch: &Batch) -> Result<StepResult> {
        let plan = self.plan(mode, batch.count)?;
        let Some((adam, schedule)) = &mut self.optimiser else {
            return Err(Error::value("optimiser", "this engine was made for evaluation"));
        };
        let (rate, beta1) = schedule.at(usize::try_from(adam.steps).unwrap_or(usize::MAX));
        adam.before_step(&mut *self.session, plan, rate, beta1)?;
        batch.write(&mut *self.session, plan)?;
        self.session.run(plan)?;
        let mut loss = [0.0];
        self.session.read(plan, "loss", &mut loss)?;
        let outputs = self.network.outputs;
        let mut logits = vec![0.0; batch.count * outputs];
        self.session.read(plan, "logits", &mut logits)?;
        let right = |(row, &label): (&[f32], &u32)| {
            let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
            argmax(&row) == label as usize
        };
        let right = logits.chunks_exact(outputs).zip(&batch.labels).filter(|&pair| right(pair)).count();
        Ok(StepResult { loss: loss[0], right, learning_rate: rate })
    }

    /// What is heard in every window of these clips. What comes with a clip makes no difference to it.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn hear(&mut self, clips: &[&Clip], first_only: bool) -> Result<Vec<ClipHeard>> {
        let window = self.network.front_end.window;
        let all: Vec<(usize, usize)> = (clips.iter().enumerate())
            .flat_map(|(i, clip)| windows(clip.len(), window, first_only).into_iter().map(move |from| (i, from)))
            .collect();
        let mut results: Vec<ClipHeard> = vec![Vec::new(); clips.len()];
        let (whole, rest) = all.as_chunks::<EVALUATION_BATCH>();
        let parts = whole.iter().map(|part| &part[..]).chain(rest.chunks(1));
        for part in parts {
            let mut batch = Batch::default();
            part.iter().for_each(|&(i, from)| batch.push_plain(clips[i], from, &self.network.front_end));
            let plan = self.plan(Mode::Evaluate, part.len())?;
            batch.write(&mut *self.session, plan)?;
            self.session.run(plan)?;
            let mut logits = vec![0.0; part.len() * self.network.outputs];
            self.session.read(plan, "logits", &mut logits)?;
            let length = self.network.vector_length();
            let mut vectors = vec![0.0; part.len() * length];
            self.session.read(plan, "vectors", &mut vectors)?;
            let rows = logits.chunks_exact(self.network.outputs).zip(vectors.chunks_exact(length));
            for (&(i, _), (logits, vector)) in part.iter().zip(rows) {
                results[i].push(Heard { logits: logits.to_vec(), embedding: vector.to_vec() });
            }
        }
        Ok(results)
    }

    /// What the network sees of a clip's first window: the first channel's standardised spectrogram.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn picture(&mut self, clip: &Clip) -> Result<Spectrogram> {
        let front_end = self.network.front_end.clone();
        let mut batch = Batch::default();
        batch.push_plain(clip, 0, &front_end);
        let plan = self.plan(Mode::Picture, 1)?;
        batch.write(&mut *self.session, plan)?;
        self.session.run(plan)?;
        let (bands, frames) = (front_end.bands, front_end.frames());
        let mut values = vec![0.0; front_end.channels * bands * frames];
        self.session.read(plan, "features", &mut values)?;
        values.truncate(bands * frames);
        let seconds = front_end.window as f64 / f64::from(front_end.sample_rate);
        Ok(Spectrogram { bands, frames, seconds, values })
    }
}
