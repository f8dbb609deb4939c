//! What the training loop asks of a song classifier: steps, what an epoch came to, checkpoints; and the clips in the order of an epoch.

use super::{Job, Trainer};
use crate::Result;
use crate::data::draws;
use crate::nn::{Batches, Flow, Learner, Progress};
use crate::train::batch::{Batch, Draw};
use crate::train::config::Config;
use crate::train::engine::Engine;
use crate::train::files;
use crate::train::metrics::ClipTruth;
use crate::train::network::Pass;
use crate::train::tables::{EpochRow, StepRow, read_steps, write_epochs};
use std::sync::atomic::Ordering;

/// The items of an epoch, in the order in which it goes over them.
pub(super) struct Order<'a> {
    pub config: &'a Config,
    /// What an epoch goes over: see [`crate::train::balance`].
    pub items: Vec<usize>,
}

impl Batches<usize> for Order<'_> {
    fn epoch(&mut self, epoch: usize) -> Result<Box<dyn Iterator<Item = Result<usize>> + '_>> {
        let count = self.items.len();
        let order: Vec<usize> = match self.config.shuffle {
            true => draws::order(self.config.seed, epoch as u64, count),
            false => (0..count).collect(),
        };
        Ok(Box::new(order.into_iter().map(|i| Ok(self.items[i]))))
    }
}

impl Trainer<'_> {
    /// Appends a training clip with what is drawn for it in the epoch in progress.
    fn push(&self, batch: &mut Batch, item: usize) {
        let Job { config, data, .. } = *self.job;
        let clip = &data.clips[item % data.clips.len()];
        let draw = Draw { seed: config.seed, epoch: self.progress.epoch as u64, item: item as u64 };
        match config.augment {
            false => batch.push_plain(clip, 0, &self.front_end),
            true => batch.push_augmented(config.recipe, &self.front_end, clip, draw, config.variations()),
        }
    }

    /// The learning rate of the epoch's last step.
    fn last_rate(&mut self) -> Result<f64> {
        match self.rate.take() {
            Some(rate) => Ok(rate),
            // Resumed behind the epoch's last step.
            None if !self.together.writes() => Ok(0.0),
            None => Ok(read_steps(&self.path(files::STEPS))?.last().map_or(0.0, |row| row.learning_rate)),
        }
    }
}

impl Learner for Trainer<'_> {
    /// The number of a clip, or of one of its repetitions.
    type Batch = usize;
    /// What the epoch came to, but for how long all of it took; and the outputs for the validation clips.
    type Verdict = (EpochRow, Vec<ClipTruth>);

    fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn stop_asked(&mut self) -> Result<bool> {
        self.together.stop(self.job.stop.load(Ordering::SeqCst))
    }

    fn step(&mut self, next: usize, more: &mut dyn Iterator<Item = Result<usize>>) -> Result<()> {
        let Job { config, .. } = *self.job;
        let (pass, epoch) = (Pass::train(config), self.progress.epoch + 1);
        let count = self.engine.next_items(pass, config.batch_size, self.count - self.progress.position);
        let items = std::iter::once(Ok(next)).chain(more).take(count).collect::<Result<Vec<usize>>>()?;
        let push = |batch: &mut Batch, &item: &usize| self.push(batch, item);
        let batches = self.engine.next_batches(pass, config.batch_size, &items, push);
        for (batch, result) in batches.iter().zip(self.engine.train(pass, &batches)?) {
            self.progress.stepped(batch.count);
            self.loss_sum += f64::from(result.loss) * batch.count as f64;
            self.right += result.right;
            self.rate = Some(result.learning_rate);
            let row =
                StepRow { step: self.progress.step, epoch, loss: result.loss, learning_rate: result.learning_rate };
            self.write(|own| own.steps.as_mut().map_or(Ok(()), |steps| steps.add(&row)))?;
            if !result.loss.is_finite() {
                let error = self.not_finite("the loss is not finite at");
                return Err(self.together.all(error));
            }
            self.watch.step(epoch, self.progress.position, self.count, result.loss);
        }
        Ok(())
    }

    fn validate(&mut self) -> Result<(Option<f64>, Self::Verdict)> {
        let (trained, learning_rate) = (self.progress.seconds, self.last_rate()?);
        // Test-time augmentation would take longer than the epoch's steps.
        let inferred = self.infer(Engine::infer_once)?;
        if inferred.iter().flat_map(|(windows, _)| windows.iter().flat_map(|w| &w.logits)).any(|x| !x.is_finite()) {
            let error = self.not_finite("the validation clips' scores are not finite after");
            return Err(self.together.all(error));
        }
        let metrics = self.metrics(&self.predictions(&inferred, 1.0, None));
        let row = EpochRow {
            epoch: self.progress.epoch + 1,
            train_loss: self.loss_sum / self.count as f64,
            train_accuracy: self.right as f64 / self.count as f64,
            val_loss: metrics.as_ref().map(|m| m.loss),
            val_accuracy: metrics.as_ref().map(|m| m.accuracy),
            learning_rate,
            seconds: trained,
            clips_per_second: self.count as f64 / trained.max(1e-9),
        };
        Ok((row.val_loss, (row, inferred)))
    }

    fn keep(&mut self, (row, inferred): &Self::Verdict) -> Result<()> {
        self.write(|own| own.write_model(row.epoch, inferred))
    }

    fn epoch_over(&mut self, (row, _): Self::Verdict, best: bool, seconds: f64) -> Result<Flow> {
        let row = EpochRow { seconds, ..row };
        self.watch.epoch(&row, best);
        self.rows.push(row);
        (self.right, self.loss_sum) = (0, 0.0);
        self.write(|own| write_epochs(&own.path(files::EPOCHS), &own.rows))?;
        Ok(Flow::Continue)
    }

    fn checkpoint(&mut self) -> Result<()> {
        self.write(Self::write_checkpoint)
    }
}
