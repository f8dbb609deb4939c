//! The training loop of one run folder.

use super::balance::items;
use super::batch::{Batch, Draw};
use super::begin::{Begun, begin, header};
use super::checkpoint::{Checkpoint, Progress, Recordings, fingerprint, sound_fingerprint};
use super::config::Config;
use super::distribution::{TrainingDistribution, probabilities};
use super::engine::{ClipOutputs, Engine};
pub use super::files;
use super::metrics::{ClipTruth, Metrics, Prediction, fit_temperature, improves, unknown_threshold};
use super::model::{Header, Model, load_weights, read_weights};
use super::network::Pass;
use super::recipe::{FrontEnd, Recipe};
use super::report::{Report, Training, last_part};
use super::tables::{EpochRow, StepRow, Steps, read_steps, write_epochs, write_predictions};
use super::together::Together;
use super::weights::write_whole;
use super::{source, tables};
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
            "{what} step {} (epoch {}); training stopped. The checkpoint{at} is kept in {}; a lower --learning-rate may help",
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
        match (config.augment, config.recipe) {
            (false, _) => batch.push_plain(clip, 0, front_end),
            (true, Recipe::Melody) => batch.push_melody(front_end, clip, draw, config.variations()),
            (true, recipe) => batch.push_augmented(recipe, front_end, clip, draw),
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
        let mode = Pass::train(config);
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
            let batches = self.engine.next_batches(mode, config.batch_size, &order[position..], push);
            for (batch, result) in batches.iter().zip(self.engine.train(mode, &batches)?) {
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

    /// The outputs for the validation clips, by this method of the engine.
    fn infer(&mut self, infer: Infer) -> Result<Vec<ClipTruth>> {
        let Job { config, data, split, .. } = *self.job;
        let clips: Vec<&Clip> = split.validation.iter().map(|&i| &data.clips[i]).collect();
        let inferred = infer(&mut self.engine, &clips, config.recipe.first_window_only())?;
        Ok(inferred.into_iter().zip(clips).map(|(windows, clip)| (windows, clip.label)).collect())
    }

    fn predictions(
        &self,
        inferred: &[ClipTruth],
        temperature: f64,
        distribution: Option<&TrainingDistribution>,
    ) -> Vec<Prediction> {
        let clip = |i: usize| &self.job.data.clips[self.job.split.validation[i]];
        let predict = |(i, (windows, truth)): (usize, &ClipTruth)| Prediction {
            id: clip(i).id.clone(),
            person: clip(i).person.clone(),
            truth: Some(*truth),
            probabilities: probabilities(windows, temperature, distribution),
            least: 0.0,
        };
        inferred.iter().enumerate().map(predict).collect()
    }

    /// Of the validation clips, where there are any.
    fn metrics(&self, predictions: &[Prediction]) -> Option<Metrics> {
        (!predictions.is_empty()).then(|| Metrics::new(predictions, &self.names))
    }

    /// The training distribution under the session's weights. The notebook's recipe stays as it is, and does not ask.
    fn distribution(&mut self, inferred: &[ClipTruth]) -> Result<Option<TrainingDistribution>> {
        let Job { config, data, split, .. } = *self.job;
        if config.recipe != Recipe::Melody {
            return Ok(None);
        }
        let clips: Vec<&Clip> = split.train.iter().map(|&i| &data.clips[i]).collect();
        let trained = self.engine.infer(&clips, config.recipe.first_window_only())?;
        let mut training: Vec<(&[f32], usize)> = Vec::new();
        for (windows, clip) in trained.iter().zip(&clips) {
            training.extend(windows.iter().map(|window| (&window.embedding[..], clip.label)));
        }
        let validation: Vec<&[f32]> =
            inferred.iter().flat_map(|(windows, _)| windows).map(|w| &w.embedding[..]).collect();
        Ok(TrainingDistribution::fit(&training, &validation))
    }

    /// Writes the session's weights as the run's model, with a temperature and a threshold fitted to the validation clips.
    fn write_model(&mut self, epoch: usize, inferred: &[ClipTruth]) -> Result<()> {
        let temperature = fit_temperature(inferred);
        let unknown_threshold = unknown_threshold(&self.predictions(inferred, temperature, None));
        let weights = read_weights(&mut *self.engine.session, self.progress.step)?;
        let header =
            Header { temperature, unknown_threshold, epoch, ..header(self.job.config, self.job.data, self.outputs) };
        let model = Model { header, weights, distribution: None };
        model.write(&self.path(files::MODEL))?;
        self.best = Some(model);
        Ok(())
    }

    /// The best model, as this run has written it; what somebody else has put in its place, or removed, is told, and its file is
    /// written again.
    fn best_model(&mut self, watch: &mut dyn Watch) -> Result<Model> {
        let path = self.path(files::MODEL);
        let Some(best) = self.best.take() else { return Model::read(&path) };
        // Temperature and threshold are fitted anew each time that a run ends.
        let same = |model: &Model| {
            (&model.weights.tensors, &model.weights.counts) == (&best.weights.tensors, &best.weights.counts)
                && model.header.classes == best.header.classes
        };
        let what = match Model::read(&path) {
            Ok(model) if same(&model) => return Ok(best),
            Ok(_) => "is no longer the model that this run has trained",
            Err(_) => "is missing or damaged",
        };
        watch.note(&format!("warning: {} {what}; it is written again", path.display()));
        Ok(best)
    }

    /// Writes predictions and report by the best model so far; where training is not complete, a checkpoint first.
    fn finish(mut self, finished: bool, watch: &mut dyn Watch) -> Result<Outcome> {
        if !finished {
            self.write(Self::checkpoint)?;
            if self.progress.best_epoch.is_none() {
                let inferred = self.infer(Engine::infer_once)?;
                self.write(|own| own.write_model(0, &inferred))?;
            }
        }
        let path = self.path(files::MODEL);
        let mut kept = None;
        self.write(|own| {
            let model = own.best_model(watch)?;
            load_weights(&mut *own.engine.session, &model.weights, &path, false)?;
            kept = Some(model);
            Ok(())
        })?;
        self.together.meet()?;
        self.together.weights(&mut *self.engine.session)?;
        // Not after every epoch: it takes a pass over all training clips, with test-time augmentation.
        let inferred = self.infer(Engine::infer)?;
        let distribution = self.distribution(&inferred)?;
        let temperature = fit_temperature(&inferred);
        let mut predictions = self.predictions(&inferred, temperature, distribution.as_ref());
        let unknown_threshold = unknown_threshold(&predictions);
        predictions.iter_mut().for_each(|prediction| prediction.least = unknown_threshold);
        let metrics = self.metrics(&predictions);
        if let Some(mut model) = kept {
            model.distribution = distribution;
            (model.header.temperature, model.header.unknown_threshold) = (temperature, unknown_threshold);
            self.write(|own| own.write_outcome(&model, finished, metrics.as_ref(), &predictions))?;
        }
        self.together.meet()?;
        self.progress.finished = finished;
        let Progress { step: steps, best_epoch: model_epoch, rows, .. } = self.progress;
        Ok(Outcome { finished, steps, model_epoch, metrics, predictions, rows })
    }

    /// Writes the finished model, the predictions and the report.
    fn write_outcome(
        &mut self,
        model: &Model,
        finished: bool,
        metrics: Option<&Metrics>,
        predictions: &[Prediction],
    ) -> Result<()> {
        let Job { config, data, split, out, .. } = *self.job;
        model.write(&self.path(files::MODEL))?;
        if metrics.is_some() {
            write_predictions(&self.path(files::PREDICTIONS), predictions, &self.names)?;
        }
        let steps = tables::read_steps(&self.path(files::STEPS))?;
        let status = match finished {
            true => "finished".to_string(),
            false => format!("interrupted after step {}", self.progress.step),
        };
        let training = Training {
            parameters: self.engine.network().parameters(),
            model_epoch: model.header.epoch,
            augment: config.augment,
            augmentations: model.header.front_end.augmentations.len(),
            epochs: &self.progress.rows,
            steps: &steps,
        };
        let report = Report {
            data_name: source::data_name(config),
            run_name: last_part(out),
            status: &status,
            written: &super::run::now(),
            device: &self.job.device.to_string(),
            names: &self.names,
            data,
            trained: &split.train,
            metrics,
            predictions,
            folds: &[],
            training: Some(training),
            settings: [config.table(), model.header.table()].concat(),
            folder: out.to_path_buf(),
            embed_audio: config.embed_audio,
        };
        report.write(&out.join(files::REPORT))?;
        if finished {
            // The session holds the best weights by now, and the last ones are what the checkpoint has.
            let at = self.path(files::CHECKPOINT);
            let mut checkpoint = Checkpoint::read(&at)?;
            checkpoint.progress.finished = true;
            checkpoint.write(&at)?;
        }
        Ok(())
    }
}
