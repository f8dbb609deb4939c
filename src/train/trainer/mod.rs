//! The training loop of one run folder.

mod finish;
mod validation;

use super::balance::items;
use super::batch::{Batch, Draw};
use super::begin::{Begun, begin, header};
use super::checkpoint::{Checkpoint, Progress, Recordings, fingerprint, sound_fingerprint};
use super::config::Config;
use super::engine::{ClipOutputs, Engine, batch_sizes};
pub use super::files;
use super::metrics::{Metrics, Prediction, improves};
use super::model::Model;
use super::network::Pass;
use super::recipe::FrontEnd;
use super::source;
use super::tables::{EpochRow, StepRow, Steps, read_steps, write_epochs};
use super::together::Together;
use super::weights::write_whole;
use crate::data::split::Split;
use crate::data::{Clip, Dataset, draws};
use crate::device::Device;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Seconds after which a checkpoint is written in the middle of an epoch.
const CHECKPOINT_SECONDS: f64 = 30.0;

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
    /// What an epoch goes over: see [`super::balance`].
    items: Vec<usize>,
    recordings: Recordings,
    progress: Progress,
    /// Of the rank that writes the run folder.
    steps: Option<Steps>,
    /// The best model so far, of that rank; none where a checkpoint of before has it in its file alone.
    best: Option<Model>,
    saved: Instant,
    together: Together<'a>,
}

/// Trains (or goes on training) and leaves a complete run folder.
///
/// # Errors
/// Where the folder or its files cannot be written, the checkpoint is of another run or finished, the initial weights do
/// not fit, the loss stops being finite, or the device fails.
pub fn train(job: &Job, watch: &mut dyn Watch) -> Result<Outcome> {
    let mut trainer = Trainer::new(job, watch)?;
    while trainer.progress.epoch < job.config.epochs && !trainer.impatient(watch) {
        if !trainer.epoch(watch)? {
            return trainer.finish(false, watch);
        }
    }
    trainer.finish(true, watch)
}

impl<'a> Trainer<'a> {
    fn new(job: &'a Job<'a>, watch: &mut dyn Watch) -> Result<Self> {
        let Job { config, data, split, .. } = *job;
        let outputs = source::outputs(config, data)?;
        let names = header(config, data, outputs).names();
        let items = items(config.balance, data, &split.train);
        let per_epoch = items.len().div_ceil(config.batch_size);
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
        for count in batch_sizes(items.len(), config.batch_size) {
            engine.compile(Pass::train(config), count)?;
        }
        let saved = Instant::now();
        let mut trainer =
            Self { job, engine, outputs, names, items, recordings, progress, steps, best, saved, together };
        let longer = resume && job.start == Start::Longer;
        if !resume || longer {
            // So that a run that is killed during its first epoch can be resumed too.
            trainer.write(Self::checkpoint)?;
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

    /// Whether so many epochs have brought no better model that training ends. Never without validation, which alone can tell.
    fn impatient(&self, watch: &mut dyn Watch) -> bool {
        let (patience, epoch) = (self.job.config.patience, self.progress.epoch);
        let Some(best) = self.progress.best_epoch.filter(|_| patience > 0 && self.progress.best_loss.is_some()) else {
            return false;
        };
        // Who asks for more epochs gets them as though training had just begun to improve.
        let since = best.max(self.progress.continued_at.unwrap_or(0));
        let over = self.progress.position == 0 && epoch >= since + patience;
        if over {
            watch.note(&format!(
                "epoch {best} had the best model, and {} more brought none: training ends here",
                epoch - best
            ));
        }
        over
    }

    /// Writes the checkpoint.
    fn checkpoint(&mut self) -> Result<()> {
        let Job { config, .. } = *self.job;
        let checkpoint =
            Checkpoint::take(&mut *self.engine.session, config, &self.recordings, &self.progress, self.best.as_ref())?;
        // A gradient can overflow although the loss was finite.
        let broken =
            |(name, t): (&String, &crate::Tensor)| t.data().iter().any(|x| !x.is_finite()).then(|| name.clone());
        if let Some(name) = checkpoint.weights.tensors.iter().find_map(broken) {
            return Err(self.not_finite(&format!("`{name}` is no longer finite after")));
        }
        self.steps.as_ref().map_or(Ok(()), Steps::sync)?;
        checkpoint.write(&self.path(files::CHECKPOINT))?;
        self.saved = Instant::now();
        Ok(())
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

    /// Appends a training clip with what is drawn for it in the epoch in progress.
    fn push(&self, batch: &mut Batch, front_end: &FrontEnd, item: usize) {
        let Job { config, data, .. } = *self.job;
        let clip = &data.clips[item % data.clips.len()];
        let draw = Draw { seed: config.seed, epoch: self.progress.epoch as u64, item: item as u64 };
        match config.augment {
            false => batch.push_plain(clip, 0, front_end),
            true => batch.push_augmented(config.recipe, front_end, clip, draw, config.variations()),
        }
    }

    /// Trains for the rest of an epoch and validates. False where the run was asked to stop before the end.
    fn epoch(&mut self, watch: &mut dyn Watch) -> Result<bool> {
        let Job { config, stop, .. } = *self.job;
        let epoch = self.progress.epoch;
        let count = self.items.len();
        let order: Vec<usize> = match config.shuffle {
            true => draws::order(config.seed, epoch as u64, count).into_iter().map(|i| self.items[i]).collect(),
            false => self.items.clone(),
        };
        let pass = Pass::train(config);
        let front_end = config.recipe.front_end();
        let started = Instant::now();
        let before = self.progress.seconds;
        let mut rate = None;
        while self.progress.position < count {
            if self.together.stop(stop.load(Ordering::SeqCst))? {
                self.progress.seconds = before + started.elapsed().as_secs_f64();
                return Ok(false);
            }
            let position = self.progress.position;
            let push = |batch: &mut Batch, &item: &usize| self.push(batch, &front_end, item);
            let batches = self.engine.next_batches(pass, config.batch_size, &order[position..], push);
            for (batch, result) in batches.iter().zip(self.engine.train(pass, &batches)?) {
                self.progress.step += 1;
                self.progress.position += batch.count;
                self.progress.loss_sum += f64::from(result.loss) * batch.count as f64;
                self.progress.right += result.right;
                rate = Some(result.learning_rate);
                let row = StepRow {
                    step: self.progress.step,
                    epoch: epoch + 1,
                    loss: result.loss,
                    learning_rate: result.learning_rate,
                };
                self.write(|own| own.steps.as_mut().map_or(Ok(()), |steps| steps.add(&row)))?;
                if !result.loss.is_finite() {
                    let error = self.not_finite("the loss is not finite at");
                    return Err(self.together.all(error));
                }
                watch.step(epoch + 1, self.progress.position, count, result.loss);
            }
            if self.saved.elapsed().as_secs_f64() > CHECKPOINT_SECONDS && self.progress.position < count {
                self.progress.seconds = before + started.elapsed().as_secs_f64();
                self.write(Self::checkpoint)?;
            }
        }
        let trained = before + started.elapsed().as_secs_f64();
        let learning_rate = match rate {
            Some(rate) => rate,
            // Resumed behind the epoch's last step.
            None if !self.together.writes() => 0.0,
            None => read_steps(&self.path(files::STEPS))?.last().map_or(0.0, |row| row.learning_rate),
        };
        // Test-time augmentation would take longer than the epoch's steps.
        let inferred = self.infer(Engine::infer_once)?;
        if inferred.iter().flat_map(|(windows, _)| windows.iter().flat_map(|w| &w.logits)).any(|x| !x.is_finite()) {
            let error = self.not_finite("the validation clips' scores are not finite after");
            return Err(self.together.all(error));
        }
        let metrics = self.metrics(&self.predictions(&inferred, 1.0, None));
        let row = EpochRow {
            epoch: epoch + 1,
            train_loss: self.progress.loss_sum / count as f64,
            train_accuracy: self.progress.right as f64 / count as f64,
            val_loss: metrics.as_ref().map(|m| m.loss),
            val_accuracy: metrics.as_ref().map(|m| m.accuracy),
            learning_rate,
            seconds: before + started.elapsed().as_secs_f64(),
            clips_per_second: count as f64 / trained.max(1e-9),
        };
        let best = improves(row.val_loss, self.progress.best_loss);
        if best {
            self.progress.best_loss = row.val_loss;
            self.progress.best_epoch = Some(epoch + 1);
            self.write(|own| own.write_model(epoch + 1, &inferred))?;
        }
        watch.epoch(&row, best);
        let progress = &mut self.progress;
        progress.rows.push(row);
        progress.epoch += 1;
        (progress.position, progress.right, progress.loss_sum, progress.seconds) = (0, 0, 0.0, 0.0);
        self.write(|own| {
            write_epochs(&own.path(files::EPOCHS), &own.progress.rows)?;
            own.checkpoint()
        })?;
        Ok(true)
    }
}
