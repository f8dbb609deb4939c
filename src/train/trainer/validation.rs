//! What the weights of the moment are worth: predictions of the validation clips, metrics, and the model file of the best.

use super::{Infer, Job, Trainer};
use crate::Result;
use crate::data::Clip;
use crate::train::begin::header;
use crate::train::distribution::TrainingDistribution;
use crate::train::engine::Engine;
use crate::train::files;
use crate::train::metrics::{ClipTruth, Metrics, Prediction, fit_temperature, predictions, unknown_threshold};
use crate::train::model::{Header, Model, read_weights};
use crate::train::recipe::Recipe;

impl Trainer<'_> {
    /// The outputs for the validation clips, by this method of the engine.
    pub(super) fn infer(&mut self, infer: Infer) -> Result<Vec<ClipTruth>> {
        let Job { split, .. } = *self.job;
        self.infer_clips(&split.validation, infer)
    }

    fn infer_clips(&mut self, clips: &[usize], infer: Infer) -> Result<Vec<ClipTruth>> {
        let Job { config, data, .. } = *self.job;
        let clips: Vec<&Clip> = clips.iter().map(|&i| &data.clips[i]).collect();
        let inferred = infer(&mut self.engine, &clips, config.recipe.first_window_only())?;
        Ok(inferred.into_iter().zip(clips).map(|(windows, clip)| (windows, clip.label)).collect())
    }

    pub(super) fn predictions(
        &self,
        inferred: &[ClipTruth],
        temperature: f64,
        distribution: Option<&TrainingDistribution>,
    ) -> Vec<Prediction> {
        let Job { data, split, .. } = *self.job;
        let clips = split.validation.iter().map(|&i| &data.clips[i]);
        predictions(clips, inferred, temperature, distribution)
    }

    /// Of the validation clips, where there are any.
    pub(super) fn metrics(&self, predictions: &[Prediction]) -> Option<Metrics> {
        (!predictions.is_empty()).then(|| Metrics::new(predictions, &self.names))
    }

    /// The training distribution under the session's weights. The notebook's recipe stays as it is, and does not ask.
    pub(super) fn distribution(&mut self, inferred: &[ClipTruth]) -> Result<Option<TrainingDistribution>> {
        let Job { config, split, .. } = *self.job;
        if config.recipe != Recipe::Melody {
            return Ok(None);
        }
        let training = self.infer_clips(&split.train, Engine::infer)?;
        Ok(TrainingDistribution::of_clips(&training, inferred))
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
