//! Training in one run folder: what the training loop of `nn` ([`crate::nn::train`]) needs of a song classifier, and the folder's files.

mod finish;
mod learn;
mod validation;

use super::balance::items;
use super::begin::{Begun, begin, header};
use super::checkpoint::{self, Checkpoint, Recordings, fingerprint, sound_fingerprint};
use super::config::Config;
use super::engine::{ClipOutputs, Engine, batch_sizes};
pub use super::files;
use super::metrics::{Metrics, Prediction};
use super::model::Model;
use super::network::Pass;
use super::recipe::FrontEnd;
use super::source;
use super::tables::{EpochRow, Steps};
use super::together::Together;
use super::weights::write_whole;
use crate::data::split::Split;
use crate::data::{Clip, Dataset};
use crate::device::Device;
use crate::nn::{self, Course, End, Progress};
use crate::{Error, Result};
use learn::Order;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long after the last checkpoint one is written in the middle of an epoch.
const CHECKPOINTS: Duration = Duration::from_secs(30);

/// What a run is given.
pub struct Job<'a> {
    /// What to do.
    pub config: &'a Config,
    /// The recordings.
    pub data: &'a Dataset,
    /// Which of them train and which validate.
    pub split: &'a Split,
    /// Where to compute.
    pub device: &'a Device,
    /// The run folder.
    pub out: &'a Path,
    /// Whether to begin anew or go on from the folder's checkpoint.
    pub start: Start,
    /// Set from outside to stop after the step in progress.
    pub stop: &'a AtomicBool,
}

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// In a new or empty folder.
    New,
    /// From the folder's checkpoint; an error where the run is finished.
    Resume,
    /// From the folder's checkpoint, where there is one; a finished run is only evaluated again.
    Complete,
    /// From the folder's checkpoint, finished or not, to another number of epochs in all.
    Longer,
}

/// Progress callbacks of a run.
pub trait Watch {
    /// Something worth a line.
    fn note(&mut self, text: &str);
    /// A step was made: how many of how many clips of this epoch are done, and the loss.
    fn step(&mut self, epoch: usize, done: usize, of: usize, loss: f32);
    /// An epoch is complete; whether its model is the best so far.
    fn epoch(&mut self, row: &EpochRow, best: bool);
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether all epochs are done.
    pub finished: bool,
    /// Steps made.
    pub steps: u64,
    /// The epoch that the kept model is of.
    pub model_epoch: Option<usize>,
    /// Of the validation clips, under the kept model.
    pub metrics: Option<Metrics>,
    /// The validation clips' predictions.
    pub predictions: Vec<Prediction>,
    /// Epochs.
    pub rows: Vec<EpochRow>,
}

/// A way of [`Engine`] to infer clips: with or without test-time augmentation.
type Infer = fn(&mut Engine, &[&Clip], bool) -> Result<Vec<ClipOutputs>>;

struct Trainer<'a> {
    job: &'a Job<'a>,
    engine: Engine,
    outputs: usize,
    names: Vec<String>,
    front_end: FrontEnd,
    /// How many items an epoch goes over.
    count: usize,
    recordings: Recordings,
    progress: Progress,
    /// Sum of the losses of the epoch in progress.
    loss_sum: f64,
    /// How many of its clips were right.
    right: usize,
    /// The learning rate of the step before.
    rate: Option<f64>,
    /// The completed epochs.
    rows: Vec<EpochRow>,
    /// Of the rank that writes the run folder.
    steps: Option<Steps>,
    /// The best model so far, of that rank; none where a checkpoint of before has it in its file alone.
    best: Option<Model>,
    together: Together<'a>,
    watch: &'a mut dyn Watch,
}

/// Trains (or goes on training) and leaves a complete run folder.
///
/// # Errors
/// Where the folder or its files cannot be written, the checkpoint is of another run or finished, the initial weights do
/// not fit, the loss stops being finite, or the device fails.
pub fn train(job: &Job, watch: &mut dyn Watch) -> Result<Outcome> {
    let Job { config, data, split, .. } = *job;
    let mut order = Order { config, items: items(config.balance, data, &split.train) };
    let mut trainer = Trainer::new(job, order.items.len(), watch)?;
    let patience = (config.patience > 0).then_some(config.patience);
    let course = Course { epochs: config.epochs, patience, save_every: Some(CHECKPOINTS) };
    let end = nn::train(&mut trainer, &mut order, &course)?;
    if let (End::Impatient, Some(best)) = (end, trainer.progress.best_epoch) {
        let since = trainer.progress.epoch - best;
        trainer
            .watch
            .note(&format!("epoch {best} had the best model, and {since} more brought none: training ends here"));
    }
    trainer.finish(end != End::Stopped)
}

impl<'a> Trainer<'a> {
    fn new(job: &'a Job<'a>, count: usize, watch: &'a mut dyn Watch) -> Result<Self> {
        let Job { config, data, split, .. } = *job;
        let outputs = source::outputs(config, data)?;
        let names = header(config, data, outputs).names();
        let per_epoch = count.div_ceil(config.batch_size);
        let mut engine = Engine::for_training(job.device, config, outputs, per_epoch * config.epochs, &data.clips)?;
        let side = |clips: &'a [usize]| clips.iter().map(|&i| &data.clips[i]);
        let identity = |clip: &'a Clip| (clip.id.as_str(), clip.label, clip.len());
        let both = || side(&split.train).chain(side(&split.validation));
        let contents = |clip: &'a Clip| (clip.id.as_str(), data.contents.get(&clip.id).copied());
        let (clips, sound) = (fingerprint(both().map(identity)), sound_fingerprint(both().map(contents)));
        let recordings = Recordings { clips, sound };
        let mut together = Together::new(job.device.ranks().map(|ranks| &**ranks));
        together.same("recordings", &format!("{} {:?}", recordings.clips, recordings.sound))?;
        together.same("settings", &config.to_toml()?)?;
        let mut begun = None;
        if together.writes() {
            let result = begin(job, &recordings, &names, &mut engine, watch);
            together.own(result.map(|result| begun = Some(result)))?;
        }
        together.meet()?;
        let (known, steps, best) = match begun {
            Some(Begun { resumed, progress, steps, best }) => (Some((resumed, progress)), Some(steps), best),
            None => (None, None, None),
        };
        let (resume, progress) = together.begin(known, &mut *engine.session)?;
        engine.set_steps(progress.step);
        for size in batch_sizes(count, config.batch_size) {
            engine.compile(Pass::train(config), size)?;
        }
        let (front_end, rate) = (config.recipe.front_end(), None);
        let (progress, checkpoint::Progress { loss_sum, right, rows, .. }) = (progress.of_loop(), progress);
        let mut trainer = Self {
            job,
            engine,
            outputs,
            names,
            front_end,
            count,
            recordings,
            progress,
            loss_sum,
            right,
            rate,
            rows,
            steps,
            best,
            together,
            watch,
        };
        let longer = resume && job.start == Start::Longer;
        if !resume || longer {
            // So that a run that is killed during its first epoch can be resumed too.
            trainer.write(Self::write_checkpoint)?;
        }
        if longer {
            trainer.write(|own| write_whole(&own.path(files::CONFIG), config.to_toml()?.as_bytes()))?;
        }
        Ok(trainer)
    }

    /// Does what only the rank does that writes the run folder.
    fn write(&mut self, what: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if !self.together.writes() {
            return Ok(());
        }
        let result = what(self);
        self.together.own(result)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.job.out.join(name)
    }

    fn write_checkpoint(&mut self) -> Result<()> {
        let Job { config, .. } = *self.job;
        let progress = checkpoint::Progress::new(&self.progress, self.loss_sum, self.right, &self.rows);
        let checkpoint =
            Checkpoint::take(&mut *self.engine.session, config, &self.recordings, &progress, self.best.as_ref())?;
        // A gradient can overflow although the loss was finite.
        if let Some(name) = checkpoint.weights.not_finite() {
            return Err(self.not_finite(&format!("`{name}` is no longer finite after")));
        }
        self.steps.as_ref().map_or(Ok(()), Steps::sync)?;
        checkpoint.write(&self.path(files::CHECKPOINT))
    }

    fn not_finite(&self, what: &str) -> Error {
        let kept = self.path(files::CHECKPOINT);
        let at = Checkpoint::read(&kept).map_or(String::new(), |kept| format!(" of step {}", kept.progress.step));
        Error::NonFinite(format!(
            "{what} step {} (epoch {}); training stopped. The checkpoint{at} is kept in {}; a lower setting `learning_rate` may help",
            self.progress.step,
            // Between two epochs it was the one before.
            self.progress.epoch + usize::from(self.progress.position > 0),
            kept.display()
        ))
    }
}
