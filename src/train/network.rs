//! A recipe as graphs: sound in, logits out, and in training the loss and the step of the optimiser.

use super::batch::{MASKS, inputs};
use super::config::Config;
use super::recipe::{Augmentation, FrontEnd, Recipe};
use super::recordings;
use crate::Result;
use crate::audio::filterbank::{FilterBank, FilterBankSpec, Norm, Scale};
use crate::audio::window::hann_periodic;
use crate::graph::{Graph, States, Value};
use crate::nn::{self, Adam, Classifier};
use crate::ops::{BankRows, Excerpt, Excerpts, Fill, Framing, Part, Per};
use std::sync::Arc;

/// Powers below this count as this.
pub(super) const FLOOR: f64 = 1e-10;

/// What a graph computes: a training step, or an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// A training step.
    Train {
        /// Whether the random choices of augmentation are inputs.
        augment: bool,
    },
    /// Logits, each item by itself.
    Evaluate,
    /// The same of each window under every test-time augmentation of the front end ([`FrontEnd::augmentations`]), whose shifts and stretches are an input.
    EvaluateAugmented,
}

impl Pass {
    /// The training pass of a configuration.
    pub fn train(config: &Config) -> Self {
        Self::Train { augment: config.augment }
    }
}

/// A recipe's network over its states.
pub struct Network {
    /// The recipe.
    pub recipe: Recipe,
    /// How sound becomes an image.
    pub front_end: FrontEnd,
    /// Number of outputs.
    pub outputs: usize,
    /// Share of the target probability that is spread over all songs.
    pub label_smoothing: f64,
    /// Parameters, running statistics, moments.
    pub states: Arc<States>,
    /// Whether graphs read clips out of the state [`recordings::STATE`], instead of an input `samples`.
    pub resident: bool,
    classifier: Classifier,
}

impl Network {
    /// The network with freshly drawn parameters; with `train` also an optimiser and its states.
    ///
    /// # Errors
    /// Where the front end's settings do not fit the recipe's network.
    pub fn new(
        recipe: Recipe,
        front_end: &FrontEnd,
        outputs: usize,
        seed: u64,
        train: bool,
    ) -> Result<(Self, Option<Adam>)> {
        Self::of(recipe, front_end, recipe.classifier(outputs), seed, train, 0)
    }

    /// The same with this classifier, and with room for this many samples of recordings among the states, out of which its
    /// graphs read clips. With 0 they read samples from the host.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn of(
        recipe: Recipe,
        front_end: &FrontEnd,
        classifier: Classifier,
        seed: u64,
        train: bool,
        samples: usize,
    ) -> Result<(Self, Option<Adam>)> {
        let mut states = States::new();
        let parameters = classifier.add_states(&mut states, seed)?;
        let adam = if train { Some(Adam::new(&mut states, parameters)?) } else { None };
        if samples > 0 {
            states.add_data(recordings::STATE, samples)?;
        }
        let network = Self {
            recipe,
            front_end: front_end.clone(),
            outputs: classifier.outputs,
            label_smoothing: 0.0,
            states: Arc::new(states),
            resident: samples > 0,
            classifier,
        };
        Ok((network, adam))
    }

    /// Length of the vectors that the last layer sees.
    pub fn vector_length(&self) -> usize {
        self.classifier.blocks.last().map_or(self.classifier.channels, |block| block.channels)
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        let own = |state: &&crate::graph::State| {
            let group = self.states.groups().get(state.group.0).map(|group| group.name.as_str());
            let statistics = state.name.contains(".running_");
            matches!(group, Some(nn::PARAMETERS | nn::FROZEN)) && !statistics
        };
        self.states.iter().filter(own).map(|state| state.shape.elements()).sum()
    }

    /// The graph of a pass for `count` windows of clips. Inputs: `samples` [N, channels, window], or `places` [N, 5] of
    /// clips in the device's memory; in training `labels` `[N]` and what [`Batch`](super::batch::Batch) lists for augmentation;
    /// `warp` [N A, 2] for A augmentations, those of a window one after the other. Outputs: `logits` [N, outputs] and in training
    /// `loss`, in evaluation `vectors` [N, C], which the last layer sees; with augmentations [N A, outputs] and [N A, C].
    ///
    /// # Errors
    /// Where the front end's settings make no sense, or a training graph is wanted without optimiser.
    pub fn graph(&self, pass: Pass, count: usize, adam: Option<&Adam>) -> Result<Graph> {
        self.graph_of(pass, count, adam, None)
    }

    /// The same for a rank that is given its own `count` windows of a batch alone; for GPUs, since ranks on CPUs share the plan of the
    /// whole batch. `logits` are of its own windows, `loss` is the batch's. See [`Part`].
    ///
    /// # Errors
    /// As [`Network::graph`].
    pub fn graph_of_part(&self, pass: Pass, count: usize, adam: Option<&Adam>, part: Part) -> Result<Graph> {
        self.graph_of(pass, count, adam, Some(part))
    }

    fn graph_of(&self, pass: Pass, count: usize, adam: Option<&Adam>, part: Option<Part>) -> Result<Graph> {
        let mut graph = Graph::new(self.states.clone());
        let features = self.features(&mut graph, pass, count, part)?;
        let Pass::Train { .. } = pass else {
            let [logits, vectors] = self.classifier.logits_and_vectors(&mut graph, features, nn::Mode::Evaluate)?;
            graph.output("logits", logits)?;
            graph.output("vectors", vectors)?;
            return Ok(graph);
        };
        let logits = self.classifier.logits(&mut graph, features, part.map_or(nn::Mode::Train, nn::Mode::TrainPart))?;
        let labels = graph.index_input(inputs::LABELS, [count])?;
        graph.by_item(labels)?;
        let mut loss = graph.cross_entropy(logits, labels, self.label_smoothing)?.loss;
        if let Some(part) = part {
            // Its items' portion of the batch's mean.
            loss = graph.scale(loss, count as f64 / part.of as f64)?;
        }
        match (adam, part) {
            (Some(adam), Some(part)) => adam.minimise_part(&mut graph, loss, part)?,
            (Some(adam), None) => adam.minimise(&mut graph, loss)?,
            (None, _) => {}
        }
        if let Some(part) = part {
            loss = graph.across(loss, part.counts)?;
        }
        graph.output("logits", logits)?;
        graph.output("loss", loss)?;
        Ok(graph)
    }

    /// How a window is evaluated.
    pub fn evaluation(&self) -> Pass {
        if self.front_end.augmentations == [Augmentation::NONE] { Pass::Evaluate } else { Pass::EvaluateAugmented }
    }

    /// From samples to the standardised image [N, channels, bands, frames].
    fn features(&self, graph: &mut Graph, pass: Pass, count: usize, part: Option<Part>) -> Result<Value> {
        let front_end = &self.front_end;
        let augment = pass == Pass::Train { augment: true };
        // Ranks share out the batches of training; what they evaluate they share out by batches.
        let training = matches!(pass, Pass::Train { .. });
        let by_item = |graph: &mut Graph, x: Value| if training { graph.by_item(x) } else { Ok(()) };
        let mut x = if self.resident {
            let FrontEnd { channels, window: length, repeat, .. } = *front_end;
            let recordings = graph.state(recordings::STATE)?;
            let places = graph.index_input(inputs::PLACES, [count, Excerpt::LEN])?;
            by_item(graph, places)?;
            graph.excerpts(recordings, places, Excerpts { channels, length, repeat })?
        } else {
            let x = graph.input(inputs::SAMPLES, [count, front_end.channels, front_end.window])?;
            by_item(graph, x)?;
            if augment && self.recipe == Recipe::Notebook {
                let start = graph.index_input(inputs::START, [count])?;
                by_item(graph, start)?;
                graph.circular_crop(x, start, front_end.window)?
            } else {
                x
            }
        };
        x = self.decibels(graph, x)?;
        let masks = |graph: &mut Graph, x: Value, fill: Fill| {
            let frequency = graph.index_input(inputs::FREQUENCY_MASKS, [count, MASKS, 2])?;
            let time = graph.index_input(inputs::TIME_MASKS, [count, MASKS, 2])?;
            by_item(graph, frequency)?;
            by_item(graph, time)?;
            graph.mask(x, frequency, time, fill)
        };
        match self.recipe {
            Recipe::Notebook => {
                if augment {
                    x = masks(graph, x, Fill::ItemMean)?;
                }
                // The notebook standardises a training batch as a whole; what is predicted of a clip must not depend
                // on its company.
                let per = if matches!(pass, Pass::Train { .. }) { Per::Batch } else { Per::Item };
                match part {
                    Some(part) => graph.standardise_part(x, 0.0, part),
                    None => graph.standardise(x, per, 0.0),
                }
            }
            Recipe::Melody => {
                let augmentations = if pass == Pass::EvaluateAugmented { front_end.augmentations.len() } else { 1 };
                if augmentations > 1 {
                    // Up to here, a window is the same under all augmentations.
                    let [channels, bands, frames] = [front_end.channels, front_end.bands, front_end.frames()];
                    x = graph.reshape(x, [count, 1, channels, bands, frames])?;
                    x = graph.expand(x, [count, augmentations, channels, bands, frames])?;
                    x = graph.reshape(x, [count * augmentations, channels, bands, frames])?;
                }
                if augment || pass == Pass::EvaluateAugmented {
                    let by = graph.input(inputs::WARP, [count * augmentations, 2])?;
                    by_item(graph, by)?;
                    x = graph.warp(x, by)?;
                }
                x = graph.standardise(x, Per::Item, 1e-5)?;
                // After standardisation, so that 0 is the mean.
                if augment { masks(graph, x, Fill::Constant(0.0)) } else { Ok(x) }
            }
        }
    }

    /// From samples [N, channels, window] to decibels [N, channels, bands, frames].
    ///
    /// # Errors
    /// Where the front end's settings make no sense.
    pub fn decibels(&self, graph: &mut Graph, samples: Value) -> Result<Value> {
        let front_end = &self.front_end;
        let framing = Framing { n_fft: front_end.n_fft, hop: front_end.hop, centred: true };
        let bands = graph.band_spectrum(samples, &hann_periodic(front_end.frame), framing, &self.bank()?)?;
        graph.decibels(bands, FLOOR, front_end.top_db)
    }

    /// The filter bank between power spectrum and bands.
    pub(super) fn bank(&self) -> Result<BankRows> {
        let bank = self.filter_bank()?;
        Ok(BankRows { bins: bank.bins, first: bank.first, offset: bank.offset, weights: bank.weights })
    }

    /// The same with the bands' centres.
    pub(super) fn filter_bank(&self) -> Result<FilterBank> {
        let front_end = &self.front_end;
        let sample_rate = f64::from(front_end.sample_rate);
        let scale = match self.recipe {
            Recipe::Notebook => Scale::MelHtk,
            Recipe::Melody => Scale::Logarithmic { per_octave: 24.0 },
        };
        FilterBank::new(&FilterBankSpec {
            sample_rate,
            n_fft: front_end.n_fft,
            bands: front_end.bands,
            f_min: if self.recipe == Recipe::Melody { 80.0 } else { 0.0 },
            f_max: sample_rate / 2.0,
            scale,
            norm: Norm::None,
        })
    }
}
