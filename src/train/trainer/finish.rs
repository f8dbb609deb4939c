//! The end of a run: the best model under test-time augmentation, its predictions, and the report.

use super::{Job, Outcome, Trainer};
use crate::Result;
use crate::nn::Progress;
use crate::train::checkpoint::Checkpoint;
use crate::train::engine::Engine;
use crate::train::files;
use crate::train::metrics::{Metrics, Prediction, fit_temperature, unknown_threshold};
use crate::train::model::{Model, load_weights};
use crate::train::report::{Report, Training, last_part};
use crate::train::run::now;
use crate::train::source;
use crate::train::tables::{read_steps, write_predictions};

impl Trainer<'_> {
    /// The best model, as this run has written it; if the file was replaced or removed, that is a warning, and it is
    /// written again.
    fn best_model(&mut self) -> Result<Model> {
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
        self.watch.note(&format!("warning: {} {what}; it is written again", path.display()));
        Ok(best)
    }

    /// Writes predictions and report by the best model so far; where training is not complete and none is the best yet, by the present
    /// one.
    pub(super) fn finish(mut self, finished: bool) -> Result<Outcome> {
        if !finished && self.progress.best_epoch.is_none() {
            let inferred = self.infer(Engine::infer_once)?;
            self.write(|own| own.write_model(0, &inferred))?;
        }
        let path = self.path(files::MODEL);
        let mut kept = None;
        self.write(|own| {
            let model = own.best_model()?;
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
        let (Progress { step: steps, best_epoch: model_epoch, .. }, rows) = (self.progress, self.rows);
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
        let steps = read_steps(&self.path(files::STEPS))?;
        let status = match finished {
            true => "finished".to_string(),
            false => format!("interrupted after step {}", self.progress.step),
        };
        let training = Training {
            parameters: self.engine.network().parameters(),
            model_epoch: model.header.epoch,
            augment: config.augment,
            augmentations: model.header.front_end.augmentations.len(),
            epochs: &self.rows,
            steps: &steps,
        };
        let report = Report {
            data_name: source::data_name(config),
            run_name: last_part(out),
            status: &status,
            written: &now(),
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
