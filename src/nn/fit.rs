//! Training: losses, epochs, validation, early stopping, the best parameters kept.

use super::data::{Batch, Batches, Values};
use super::model::Model;
use super::module::Module;
use super::schedule::Schedule;
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::tensor::Tensor;
use std::sync::Arc;
use std::time::Instant;

/// A loss of one's own: from the graph, the network's output and the targets to one number.
type Custom = Arc<dyn Fn(&mut Graph, Value, Value) -> Result<Value>>;

/// What training makes small.
#[derive(Clone)]
pub enum Loss {
    /// The mean cross-entropy of scores `[N, C, ..]` with classes `[N, ..]`.
    CrossEntropy {
        /// How much of the target is spread evenly over all classes.
        smoothing: f64,
    },
    /// The mean of the squared differences from targets of the output's shape.
    MeanSquare,
    /// Another one; see [`Loss::custom`].
    Custom(Custom),
}

impl Loss {
    /// A loss of one's own: one number from the graph, the network's output and the targets.
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

/// The share of items `[N, C]` whose highest score is that of their class `[N]`; 0 where the shapes are others.
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

/// What an epoch of training came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Its number, from 0.
    pub number: usize,
    /// The learning rate of its last step.
    pub rate: f64,
    /// While training, before each step.
    pub training: Scores,
    /// Afterwards, on the data kept apart, where there is some.
    pub validation: Option<Scores>,
    /// How long it took.
    pub seconds: f64,
}

/// What a callback says after an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Train on.
    Continue,
    /// This epoch was the last.
    Stop,
}

/// How a model is trained.
pub struct Fit<'a> {
    /// How often all batches are gone through.
    pub epochs: usize,
    /// The learning rate, and Adam's beta1, of each step.
    pub schedule: Schedule,
    /// What is made small.
    pub loss: Loss,
    /// A number for people, from a batch's output and targets: [`accuracy`], say.
    pub metric: Option<fn(&Tensor<f32>, &Values) -> f64>,
    /// Data kept apart. With it, the parameters of the epoch with the lowest validation loss are those that stay.
    pub validation: Option<&'a mut dyn Batches>,
    /// Stops after this many epochs without a lower validation loss.
    pub patience: Option<usize>,
    /// Called after each epoch.
    pub after_epoch: Option<&'a mut dyn FnMut(&Epoch) -> Flow>,
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
        }
    }

    /// The same, validated on data kept apart.
    #[must_use]
    pub fn validated(mut self, validation: &'a mut dyn Batches) -> Self {
        self.validation = Some(validation);
        self
    }
}

/// The parameters of the epoch with the lowest validation loss so far.
struct Best {
    loss: f64,
    epoch: usize,
    values: Vec<(String, Tensor<f32>)>,
}

impl<M: Module> Model<M> {
    /// Trains on all batches, epoch after epoch; returns what each came to.
    ///
    /// # Errors
    /// Where there are no batches, a shape does not fit, the loss is no longer finite, patience is asked for without data to validate
    /// on, or the device fails.
    pub fn fit(&mut self, batches: &mut dyn Batches, mut fit: Fit<'_>) -> Result<Vec<Epoch>> {
        fit.schedule.check()?;
        if fit.patience.is_some() && fit.validation.is_none() {
            return Err(Error::value("patience", "needs data to validate on: set `validation`, too"));
        }
        let (mut history, mut steps) = (Vec::new(), 0);
        let mut best: Option<Best> = None;
        for number in 0..fit.epochs {
            let (start, mut training, mut rate) = (Instant::now(), Scores::default(), 0.0);
            for batch in batches.epoch(number)? {
                let (batch, beta1) = (batch?, fit.schedule.at(steps).1);
                rate = fit.schedule.at(steps).0;
                let (loss, output) = self.train_step(&batch, &fit.loss, rate, beta1)?;
                if !loss.is_finite() {
                    return Err(Error::NonFinite(format!(
                        "the loss of step {steps} is {loss}; a lower learning rate than {rate} or a gradient's largest norm may help"
                    )));
                }
                training.add(&batch, loss, fit.metric.map(|metric| metric(&output, &batch.targets)));
                steps += 1;
            }
            if training.items == 0 {
                return Err(Error::Data(format!("epoch {number} has no batches")));
            }
            let validation = match &mut fit.validation {
                Some(validation) => Some(self.evaluate(&mut **validation, &fit.loss, fit.metric)?),
                None => None,
            };
            let seconds = start.elapsed().as_secs_f64();
            let epoch = Epoch { number, rate, training, validation, seconds };
            history.push(epoch);
            if let Some(scores) = validation
                && best.as_ref().is_none_or(|best| scores.loss < best.loss)
            {
                best = Some(Best { loss: scores.loss, epoch: number, values: self.all()? });
            }
            let wants = fit.after_epoch.as_mut().map_or(Flow::Continue, |after| after(&epoch));
            let waited = best.as_ref().map_or(0, |best| number - best.epoch);
            if wants == Flow::Stop || fit.patience.is_some_and(|patience| waited >= patience) {
                break;
            }
        }
        if let Some(best) = best
            && best.epoch + 1 < history.len()
        {
            best.values.iter().try_for_each(|(path, value)| self.write(path, value))?;
        }
        Ok(history)
    }

    /// The mean loss over all batches, and the mean of a metric.
    ///
    /// # Errors
    /// Where there are no batches, a shape does not fit, or the device fails.
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
