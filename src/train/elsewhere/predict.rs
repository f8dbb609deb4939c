//! A model that names songs on a device outside the library.

use super::super::answer::{json, likeliest, together};
use super::super::batch::{Batch, windows};
use super::super::model::{Model, fitting};
use super::super::network::Network;
use super::super::predict::WindowPrediction;
use super::super::verdict::{Threshold, Verdict};
use super::{augmented, outputs_of, plan};
use crate::Result;
use crate::data::Clip;
use crate::graph::{Plan, Target};
use serde_json::Value as Json;
use std::path::Path;

/// A model that names songs on a device outside the library.
pub struct RemotePredictor {
    /// What the model is.
    pub model: Model,
    network: Network,
}

impl RemotePredictor {
    /// `path` is where the model came from, for messages.
    ///
    /// # Errors
    /// Where its weights do not fit its recipe.
    pub fn new(model: Model, path: &Path) -> Result<Self> {
        let header = &model.header;
        let (network, _) = Network::of(header.recipe, &header.front_end, header.classifier(), 0, false, 0)?;
        fitting(&network.states, &model.weights, path, false)?;
        Ok(Self { model, network })
    }

    /// What the device runs for each window: the inputs are those of [`RemotePredictor::batches`], the outputs `logits` and `vectors`. Its states
    /// are the model's tensors.
    ///
    /// # Errors
    /// Where no plan can be made.
    pub fn plan(&self) -> Result<Plan> {
        plan(&self.network, self.network.evaluation(), 1, None, Target::Gpu)
    }

    /// What the device is to be given of a clip, one window after the other. The clip is at the model's rate.
    pub fn batches(&self, clip: &Clip) -> Vec<Batch> {
        let starts = windows(clip.len(), self.network.front_end.window, self.first_only());
        augmented(&self.network, starts.into_iter().map(|from| (clip, from)), Batch::default)
    }

    fn first_only(&self) -> bool {
        self.model.header.recipe.first_window_only()
    }

    /// What `predict --format json --top` says of the clip, from the outputs of all its batches one after the other.
    ///
    /// # Errors
    /// Where they are of other batches, or scores are not finite.
    pub fn answer(&self, clip: &Clip, logits: &[f32], vectors: &[f32], top: usize) -> Result<Json> {
        let outputs = outputs_of(logits, vectors, [self.network.outputs, self.network.vector_length()])?;
        let windows = self.model.windows(clip, self.first_only(), &outputs)?;
        Ok(self.answer_of(clip, &windows, top))
    }

    /// The same from the predictions for its windows.
    pub fn answer_of(&self, clip: &Clip, windows: &[WindowPrediction], top: usize) -> Json {
        let header = &self.model.header;
        let names = header.names();
        let threshold = Threshold { value: header.unknown_threshold, of_model: true };
        let (mean, in_distribution) = together(windows, names.len());
        let verdict = Verdict::of(&mean, in_distribution, threshold, &names);
        let seconds = clip.len() as f64 / f64::from(header.front_end.sample_rate);
        json(&clip.id, &verdict, &likeliest(&mean, &names, top), &names, threshold, Some(seconds))
    }
}
