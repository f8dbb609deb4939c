//! What the weights of the moment are worth: predictions of the validation clips, metrics, and the model file of the best.

use super::{Infer, Job, Trainer};
use crate::Result;
use crate::data::Clip;
use crate::train::begin::header;
use crate::train::distribution::{TrainingDistribution, probabilities};
use crate::train::files;
use crate::train::metrics::{ClipTruth, Metrics, Prediction, fit_temperature, unknown_threshold};
use crate::train::model::{Header, Model, read_weights};
use crate::train::recipe::Recipe;

impl Trainer<'_> {
    /// The outputs for the validation clips, by this method of the engine.
    pub(super) fn infer(&mut self, infer: Infer) -> Result<Vec<ClipTruth>> {
        let Job { config, data, split, .. } = *self.job;
        let clips: Vec<&Clip> = split.validation.iter().map(|&i| &data.clips[i]).collect();
        let inferred = infer(&mut self.engine, &clips, config.recipe.first_window_only())?;
        Ok(inferred.into_iter().zip(clips).map(|(windows, clip)| (windows, clip.label)).collect())
    }

    pub(super) fn predictions(
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
    pub(super) fn metrics(&self, predictions: &[Prediction]) -> Option<Metrics> {
        (!predictions.is_empty()).then(|| Metrics::new(predictions, &self.names))
    }

    /// The training distribution under the session's weights. The notebook's recipe stays as it is, and does not ask.
    pub(super) fn distribution(&mut self, inferred: &[ClipTruth]) -> Result<Option<TrainingDistribution>> {
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
    pub(super) fn write_model(&mut self, epoch: usize, inferred: &[ClipTruth]) -> Result<()> {
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
}
