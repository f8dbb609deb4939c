//! Training: losses, epochs, validation, early stopping, the best parameters kept.

use super::data::{Batch, Batches, Values};
use super::model::Model;
use super::module::Module;
use super::schedule::Schedule;
use super::training::{Course, Learner, Progress, train};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::tensor::Tensor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A custom loss: from the graph, the network's output and the targets to one number.
type Custom = Arc<dyn Fn(&mut Graph, Value, Value) -> Result<Value>>;

/// The loss that training minimises.
#[derive(Clone)]
pub enum Loss {
    /// The mean cross-entropy of scores `[N, C, ..]` with classes `[N, ..]`.
    CrossEntropy {
        /// Label smoothing: the share of the target that is spread evenly over all classes.
        smoothing: f64,
    },
    /// The mean of the squared differences from targets of the output's shape.
    MeanSquare,
    /// A custom loss; see [`Loss::custom`].
    Custom(Custom),
}

impl Loss {
    /// A custom loss: one number from the graph, the network's output and the targets.
    pub fn custom(loss: impl Fn(&mut Graph, Value, Value) -> Result<Value> + 'static) -> Self {
        Self::Custom(Arc::new(loss))
    }

    pub(super) fn build(&self, graph: &mut Graph, output: Value, targets: Value) -> Result<Value> {
        match self {
            Self::CrossEntropy { smoothing } if graph.shape(output).rank() == 2 => {
                Ok(graph.cross_entropy(output, targets, *smoothing)?.loss)
            }
            Self::CrossEntropy { smoothing } => {
                let options = crate::ops::LossOptions { smoothing: *smoothing, ..Default::default() };
                graph.cross_entropy_with(output, targets, options)
            }
            Self::MeanSquare => {
                let (found, wanted) = (graph.shape(output), graph.shape(targets));
                if found != wanted {
                    let detail = format!("the output has shape {found}, the targets {wanted}; they must be one");
                    return Err(Error::op("mean_square", detail));
                }
                let differences = graph.subtract(output, targets)?;
                let squares = graph.multiply(differences, differences)?;
                graph.mean_all(squares)
            }
            Self::Custom(build) => build(graph, output, targets),
        }
    }
}

impl PartialEq for Loss {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::CrossEntropy { smoothing: a }, Self::CrossEntropy { smoothing: b }) => a == b,
            (Self::MeanSquare, Self::MeanSquare) => true,
            (Self::Custom(a), Self::Custom(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// The share of items `[N, C]` whose highest score is that of their class `[N]`; 0 if the shapes do not fit.
pub fn accuracy(output: &Tensor<f32>, targets: &Values) -> f64 {
    let (shape, Values::Index(classes)) = (output.shape(), targets) else { return 0.0 };
    if shape.rank() != 2 || shape[0] != classes.data().len() {
        return 0.0;
    }
    let highest = |scores: &[f32]| (1..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best });
    let right = output.data().chunks(shape[1]).zip(classes.data()).filter(|(s, c)| highest(s) == **c as usize);
    right.count() as f64 / shape[0] as f64
}

/// Means over the items of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// The loss.
    pub loss: f64,
    /// The metric of [`Fit::metric`], if there is one.
    pub metric: Option<f64>,
    /// The number of items.
    pub items: usize,
}

impl Scores {
    fn add(&mut self, batch: &Batch, loss: f64, metric: Option<f64>) {
        let (before, items) = (self.items as f64, batch.x.items() as f64);
        let mean = |so_far: f64, new: f64| (so_far * before + new * items) / (before + items).max(1.0);
        self.loss = mean(self.loss, loss);
        self.metric = metric.map(|metric| mean(self.metric.unwrap_or(0.0), metric));
        self.items += batch.x.items();
    }
}

/// The results of an epoch of training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Its number, from 0.
    pub number: usize,
    /// The learning rate of its last step.
    pub rate: f64,
    /// The scores in training, before each step.
    pub training: Scores,
    /// The scores on the validation data after the epoch, if there is any.
    pub validation: Option<Scores>,
    /// Its duration.
    pub seconds: f64,
}

/// The answer of a callback after an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Continue training.
    Continue,
    /// Stop after this epoch.
    Stop,
}

/// How a model is trained.
pub struct Fit<'a> {
    /// The number of epochs.
    pub epochs: usize,
    /// The learning rate, and Adam's beta1, of each step.
    pub schedule: Schedule,
    /// The loss.
    pub loss: Loss,
    /// A metric to report, from a batch's output and targets, such as [`accuracy`].
    pub metric: Option<fn(&Tensor<f32>, &Values) -> f64>,
    /// Validation data. With it, the model keeps the parameters of the epoch with the lowest validation loss.
    pub validation: Option<&'a mut dyn Batches>,
    /// Early stopping: ends after this many epochs without a lower validation loss.
    pub patience: Option<usize>,
    /// Called after each epoch.
    pub after_epoch: Option<&'a mut dyn FnMut(&Epoch) -> Flow>,
    /// If set by another thread, training stops after the current step. An unfinished epoch is not part of the history.
    pub stop: Option<&'a AtomicBool>,
    /// Where to write checkpoints; see [`Fit::resumable`].
    #[cfg(feature = "weights")]
    pub checkpoints: Option<super::Checkpoints>,
}

impl<'a> Fit<'a> {
    /// A classifier's training: cross-entropy and accuracy, at a constant learning rate.
    pub fn classes(epochs: usize, rate: f64) -> Self {
        let loss = Loss::CrossEntropy { smoothing: 0.0 };
        Self { metric: Some(accuracy), ..Self::with(loss, epochs, rate) }
    }

    /// Training with another loss, at a constant learning rate.
    pub fn with(loss: Loss, epochs: usize, rate: f64) -> Self {
        Self {
            epochs,
            schedule: Schedule::Constant { rate, beta1: 0.9 },
            loss,
            metric: None,
            validation: None,
            patience: None,
            after_epoch: None,
            stop: None,
            #[cfg(feature = "weights")]
            checkpoints: None,
        }
    }

    /// The same with validation data.
    #[must_use]
    pub fn validated(mut self, validation: &'a mut dyn Batches) -> Self {
        self.validation = Some(validation);
        self
    }

    /// The same with a checkpoint in this file: after each epoch, every 30 seconds, and when [`Fit::stop`] stops training. If the file
    /// exists, training resumes from it. It ends with the same bits as without an interruption if everything else is the
    /// same: the model's network, optimiser and device, the batches, and [`Fit`] (except for the number of epochs).
    /// Callbacks are called for new epochs only; the history has all.
    ///
    /// ```
    /// use humdinger::Tensor;
    /// use humdinger::device::DeviceChoice;
    /// use humdinger::nn::{Data, Dropout, Epoch, Fit, Flow, Linear, Model, ModelOptions, Sequential};
    ///
    /// # fn main() -> humdinger::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let file = folder.path().join("fit.safetensors");
    /// let data = Data::new(Tensor::new([4, 1], vec![0.1, 0.2, 0.8, 0.9])?, vec![0, 0, 1, 1])?;
    /// let network = || Sequential::new().then(Dropout { p: 0.1 }).then(Linear::new(1, 2));
    /// let model = || Model::new(network(), ModelOptions { device: DeviceChoice::Cpu, ..Default::default() });
    ///
    /// // Here a callback stops training, in real life the end of a job's time.
    /// let mut enough = |epoch: &Epoch| if epoch.number == 1 { Flow::Stop } else { Flow::Continue };
    /// let fit = Fit { after_epoch: Some(&mut enough), ..Fit::classes(5, 0.1).resumable(&file) };
    /// assert_eq!(model()?.fit(&mut data.shuffled(2, 1), fit)?.len(), 2);
    ///
    /// // The same program once more, as another process: epochs 2 to 4.
    /// let mut resumed = model()?;
    /// assert_eq!(resumed.fit(&mut data.shuffled(2, 1), Fit::classes(5, 0.1).resumable(&file))?.len(), 5);
    ///
    /// let mut whole = model()?;
    /// whole.fit(&mut data.shuffled(2, 1), Fit::classes(5, 0.1))?;
    /// assert_eq!(resumed.read("1.weight")?, whole.read("1.weight")?);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "weights")]
    #[must_use]
    pub fn resumable(mut self, file: impl Into<std::path::PathBuf>) -> Self {
        self.checkpoints = Some(super::Checkpoints::new(file));
        self
    }
}

/// A model in training.
pub(super) struct Fitting<'f, 'a, M> {
    pub model: &'f mut Model<M>,
    pub fit: Fit<'a>,
    pub progress: Progress,
    /// Of the epoch in progress.
    pub training: Scores,
    pub history: Vec<Epoch>,
    /// The parameters and running statistics of the epoch with the lowest validation loss so far.
    pub best: Option<Vec<(String, Tensor<f32>)>>,
}

impl<M: Module> Learner for Fitting<'_, '_, M> {
    type Batch = Batch;
    type Verdict = Option<Scores>;

    fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn step(&mut self, batch: Batch, _: &mut dyn Iterator<Item = Result<Batch>>) -> Result<()> {
        let Fit { schedule, loss, metric, .. } = &self.fit;
        let step = self.progress.step;
        let (rate, beta1) = schedule.at(number(step));
        let (loss, output) = self.model.train_step(&batch, loss, rate, beta1)?;
        if !loss.is_finite() {
            return Err(Error::NonFinite(format!(
                "the loss of step {step} is {loss}; a lower learning rate than {rate} or a gradient's largest norm may help"
            )));
        }
        self.training.add(&batch, loss, metric.map(|metric| metric(&output, &batch.targets)));
        self.progress.stepped(1);
        Ok(())
    }

    fn validate(&mut self) -> Result<(Option<f64>, Option<Scores>)> {
        let Fit { validation, loss, metric, .. } = &mut self.fit;
        let Some(validation) = validation else { return Ok((None, None)) };
        let scores = self.model.evaluate(&mut **validation, loss, *metric)?;
        Ok((Some(scores.loss), Some(scores)))
    }

    fn keep(&mut self, scores: &Option<Scores>) -> Result<()> {
        if scores.is_some() {
            self.best = Some(self.model.all()?);
        }
        Ok(())
    }

    fn epoch_over(&mut self, validation: Option<Scores>, _: bool, seconds: f64) -> Result<Flow> {
        let rate = self.fit.schedule.at(number(self.progress.step.saturating_sub(1))).0;
        let training = std::mem::take(&mut self.training);
        let epoch = Epoch { number: self.history.len(), rate, training, validation, seconds };
        self.history.push(epoch);
        Ok(self.fit.after_epoch.as_mut().map_or(Flow::Continue, |after| after(&epoch)))
    }

    #[cfg(feature = "weights")]
    fn checkpoint(&mut self) -> Result<()> {
        self.write()
    }

    fn stop_asked(&mut self) -> Result<bool> {
        Ok(self.fit.stop.is_some_and(|stop| stop.load(Ordering::SeqCst)))
    }
}

/// A step's number as a schedule takes it.
fn number(step: u64) -> usize {
    usize::try_from(step).unwrap_or(usize::MAX)
}

impl<M: Module> Model<M> {
    /// Trains on all batches, epoch after epoch; returns the results of each completed epoch.
    ///
    /// # Errors
    /// If there are no batches, a shape does not fit, the loss is no longer finite, patience is set without validation
    /// data, or the device fails; if a checkpoint cannot be written, or belongs to another model.
    pub fn fit(&mut self, batches: &mut dyn Batches, fit: Fit<'_>) -> Result<Vec<Epoch>> {
        fit.schedule.check()?;
        if fit.patience.is_some() && fit.validation.is_none() {
            return Err(Error::value("patience", "needs data to validate on: set `validation`, too"));
        }
        #[cfg(feature = "weights")]
        let save_every = fit.checkpoints.as_ref().map(|checkpoints| checkpoints.every);
        #[cfg(not(feature = "weights"))]
        let save_every = None;
        let course = Course { epochs: fit.epochs, patience: fit.patience, save_every };
        let (progress, training) = Default::default();
        let mut fitting = Fitting { model: self, fit, progress, training, history: Vec::new(), best: None };
        #[cfg(feature = "weights")]
        fitting.resume()?;
        train(&mut fitting, batches, &course)?;
        let Fitting { model, progress, history, best, .. } = fitting;
        if let Some(best) = best
            && (progress.best_epoch != Some(progress.epoch) || progress.position > 0)
        {
            best.iter().try_for_each(|(path, value)| model.write(path, value))?;
        }
        Ok(history)
    }

    /// The mean loss over all batches, and the mean of a metric.
    ///
    /// # Errors
    /// If there are no batches, a shape does not fit, or the device fails.
    pub fn evaluate(
        &mut self,
        batches: &mut dyn Batches,
        loss: &Loss,
        metric: Option<fn(&Tensor<f32>, &Values) -> f64>,
    ) -> Result<Scores> {
        let mut scores = Scores::default();
        for batch in batches.epoch(0)? {
            let batch = batch?;
            let (loss, output) = self.evaluate_step(&batch, loss)?;
            scores.add(&batch, loss, metric.map(|metric| metric(&output, &batch.targets)));
        }
        if scores.items == 0 {
            return Err(Error::Data("there are no batches to evaluate on".into()));
        }
        Ok(scores)
    }

    /// All parameters and running statistics by path.
    pub(super) fn all(&mut self) -> Result<Vec<(String, Tensor<f32>)>> {
        self.paths()
            .into_iter()
            .map(|path| {
                let value = self.read(&path)?;
                Ok((path, value))
            })
            .collect()
    }
}
