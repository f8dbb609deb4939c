//! A model that learns songs on a device outside the library: as `train` does it from the base model with its defaults, number for number.

use super::super::base;
use super::super::batch::{Batch, Draw, windows};
use super::super::config::{Config, Settings};
use super::super::distribution::{TrainingDistribution, WindowOutputs};
use super::super::engine::EVALUATION_BATCH;
use super::super::metrics::{ClipTruth, Metrics, Prediction, argmax, fit_temperature, predictions, unknown_threshold};
use super::super::model::{Header, Model, fitting, model_states};
use super::super::network::{Network, Pass};
use super::super::recordings::{self, Recordings};
use super::super::suit::Chosen;
use super::super::weights::Weights;
use super::super::{Init, Recipe};
use super::{augmented, clip, outputs_of, plan};
use crate::audio::Audio;
use crate::data::split::{self, Split, SplitBy};
use crate::data::{Clip, Dataset, draws};
use crate::graph::{Plan, Session, Target};
use crate::nn::{Adam, Progress, Schedule};
use crate::ops::AdamStep;
use crate::{Error, Result, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// A recording of a song.
pub struct Recording {
    /// What is sung.
    pub song: String,
    /// The recording's name among those of the song, such as `1.wav`. Its id is `song/name`, as in a folder of folders.
    pub name: String,
    /// How it sounds.
    pub audio: Audio,
    /// Who sings, where that is known: no person is in both training and validation.
    pub person: Option<String>,
}

/// A training step that the device is to make.
pub struct Step {
    /// The inputs of the plan for as many clips.
    pub batch: Batch,
    /// What the input [`nn::STEP`](crate::nn::STEP) is.
    pub numbers: [f32; AdamStep::LEN],
}

/// What was learnt in an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Counts from 1.
    pub epoch: usize,
    /// Mean loss of the training clips.
    pub train_loss: f64,
    /// Share of the training clips that were right.
    pub train_accuracy: f64,
    /// Mean loss of the validation clips.
    pub val_loss: f64,
    /// Share of the validation clips that were right.
    pub val_accuracy: f64,
    /// Whether the model is the best so far: whoever runs it keeps the states.
    pub best: bool,
    /// Whether training ends here.
    pub over: bool,
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lesson {
    /// A training step.
    Train,
    /// The scores of clips as they are, after every epoch.
    Validate,
    /// The scores of a window under all test-time augmentations, at the end.
    Augmented,
}

/// A model that learns.
pub struct Teacher {
    config: Config,
    data: Dataset,
    split: Split,
    recordings: Arc<Recordings>,
    network: Network,
    adam: Adam,
    schedule: Schedule,
    initial: Weights,
    began_with: String,
    progress: Progress,
    rate: f64,
    /// The steps made by the end of the best epoch.
    best_steps: u64,
}

impl Teacher {
    /// From the base model, which `base` is a file of, with the settings that `train` has for so many recordings. `epochs`
    /// is how many there are, where somebody says so.
    ///
    /// # Errors
    /// Where there are fewer than two songs, or two recordings of one; the base model cannot be read; a setting makes no sense.
    pub fn new(given: Vec<Recording>, base: &[u8], seed: u64, epochs: Option<usize>) -> Result<Self> {
        let settings = Settings { seed: Some(seed), epochs, init: Some(Init::Base.path()), ..Settings::default() };
        let chosen = Chosen::of(&settings);
        let mut config = settings.resolve()?;
        let front_end = config.recipe.front_end();
        let data = dataset(given, front_end.sample_rate)?;
        let split = split::split(&data, &SplitBy::default_for(&data), config.val_fraction, seed)?;
        config.suit(split.train.len(), chosen);
        let outputs = data.classes.len();
        let recordings = Recordings::of(&data.clips, usize::MAX);
        let recordings = recordings.ok_or_else(|| Error::Data("two recordings of a song have one name".into()))?;
        let classifier = config.classifier(outputs);
        let (mut network, adam) = Network::of(config.recipe, &front_end, classifier, seed, true, recordings.samples())?;
        network.label_smoothing = config.label_smoothing;
        let mut adam = adam.ok_or_else(|| Error::Data("nothing is to be trained".into()))?;
        adam.weight_decay = config.weight_decay;
        let steps = split.train.len().div_ceil(config.batch_size) * config.epochs;
        let schedule = config.recipe.schedule(config.learning_rate, steps);
        schedule.check()?;
        let path = Path::new("the base model");
        let weights = Weights::parse(base).map_err(|detail| Error::file(path, detail))?;
        let others = Model::describe(&weights, path)?.is_some_and(|header| header.names() != data.classes);
        let fit: BTreeSet<String> =
            fitting(&network.states, &weights, path, others)?.into_iter().map(|state| state.name).collect();
        let tensors = weights.tensors.into_iter().filter(|(name, _)| fit.contains(name)).collect();
        let initial = Weights { tensors, ..Weights::default() };
        Ok(Self {
            began_with: base::described(base),
            recordings: Arc::new(recordings),
            progress: Progress::default(),
            rate: 0.0,
            best_steps: 0,
            config,
            data,
            split,
            network,
            adam,
            schedule,
            initial,
        })
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The songs, in the order of the outputs.
    pub fn songs(&self) -> &[String] {
        &self.data.classes
    }

    /// How many clips train and how many validate.
    pub fn counts(&self) -> [usize; 2] {
        [self.split.train.len(), self.split.validation.len()]
    }

    /// A plan for a GPU, of so many clips: training steps have as many as there are in a batch, or what is left over at an epoch's end.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn plan(&self, lesson: Lesson, count: usize) -> Result<Plan> {
        self.plan_for(lesson, count, Target::Gpu)
    }

    /// The same for another kind of device.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn plan_for(&self, lesson: Lesson, count: usize, target: Target) -> Result<Plan> {
        let (pass, count, adam) = match lesson {
            Lesson::Train => (Pass::train(&self.config), count, Some(&self.adam)),
            Lesson::Validate => (Pass::Evaluate, count, None),
            Lesson::Augmented => (self.network.evaluation(), 1, None),
        };
        plan(&self.network, pass, count, adam, target)
    }

    /// The states that do not begin as zeros: the network as it begins, and the recordings.
    ///
    /// # Errors
    /// Never.
    pub fn states(&self) -> Result<BTreeMap<String, Tensor>> {
        let states = &self.network.states;
        let mut tensors = BTreeMap::new();
        for state in states.kept() {
            let values = &states.initial(state.group)[state.offset..][..state.shape.elements()];
            tensors.insert(state.name.clone(), Tensor::new(state.shape, values.to_vec())?);
        }
        tensors.extend(self.initial.tensors.clone());
        let held = self.recordings.content();
        tensors.insert(recordings::STATE.into(), Tensor::new([held.len()], held.to_vec())?);
        Ok(tensors)
    }

    /// The names of the states that make the model, which [`Teacher::finish`] is given.
    pub fn kept(&self) -> Vec<String> {
        model_states(&self.network.states).into_iter().map(|state| state.name).collect()
    }

    /// The steps of the next epoch.
    ///
    /// # Errors
    /// Where the schedule makes no sense.
    pub fn epoch(&mut self) -> Result<Vec<Step>> {
        let (seed, epoch) = (self.config.seed, self.progress.epoch as u64);
        let order = draws::order(seed, epoch, self.split.train.len());
        let items: Vec<usize> = order.into_iter().map(|i| self.split.train[i]).collect();
        let mut steps = Vec::new();
        for part in items.chunks(self.config.batch_size) {
            let mut batch = Batch::new(Some(&self.recordings));
            for &item in part {
                let draw = Draw { seed, epoch, item: item as u64 };
                let wanted = self.config.variations();
                batch.push_augmented(Recipe::Melody, &self.network.front_end, &self.data.clips[item], draw, wanted);
            }
            let (numbers, rate) = self.adam.next_scheduled(&self.schedule)?;
            self.rate = rate;
            steps.push(Step { batch, numbers });
        }
        Ok(steps)
    }

    /// The validation clips' windows as they are, in batches of [`EVALUATION_BATCH`] and of one.
    pub fn validation(&self) -> Vec<Batch> {
        let all: Vec<_> = self.windows(&self.split.validation).collect();
        let (together, rest) = all.split_at(all.len() / EVALUATION_BATCH * EVALUATION_BATCH);
        let batch = |windows: &[(&Clip, usize)]| {
            let mut batch = Batch::new(Some(&self.recordings));
            windows.iter().for_each(|&(clip, from)| batch.push_plain(clip, from, &self.network.front_end));
            batch
        };
        together.chunks(EVALUATION_BATCH).chain(rest.chunks(1)).map(batch).collect()
    }

    /// What [`Teacher::finish`] wants the outputs of, under all test-time augmentations, one window after the other: first of the validation clips, then of the training
    /// clips.
    pub fn all_augmented(&self) -> Vec<Batch> {
        let windows = self.windows(&self.split.validation).chain(self.windows(&self.split.train));
        augmented(&self.network, windows, || Batch::new(Some(&self.recordings)))
    }

    fn windows<'a>(&'a self, clips: &'a [usize]) -> impl Iterator<Item = (&'a Clip, usize)> {
        let starts =
            |clip: &Clip| windows(clip.len(), self.network.front_end.window, Recipe::Melody.first_window_only());
        clips
            .iter()
            .map(|&i| &self.data.clips[i])
            .flat_map(move |clip| starts(clip).into_iter().map(move |from| (clip, from)))
    }

    /// Ends an epoch with the steps' losses and logits, one after the other, and with the logits and vectors of
    /// [`Teacher::validation`].
    ///
    /// # Errors
    /// Where a number is not finite, or there are too many or too few.
    pub fn learnt(&mut self, losses: &[f32], logits: &[f32], validation: (&[f32], &[f32])) -> Result<Epoch> {
        let outputs = self.network.outputs;
        let order = draws::order(self.config.seed, self.progress.epoch as u64, self.split.train.len());
        let labels: Vec<usize> = order.iter().map(|&i| self.data.clips[self.split.train[i]].label).collect();
        let sizes = labels.chunks(self.config.batch_size).map(<[usize]>::len);
        if logits.len() != labels.len() * outputs || losses.len() != sizes.len() {
            let detail = format!("{} losses and {} logits are not those of an epoch", losses.len(), logits.len());
            return Err(Error::value("losses", detail));
        }
        let right =
            |(row, label): (&[f32], &usize)| argmax(&row.iter().map(|&x| f64::from(x)).collect::<Vec<_>>()) == *label;
        let right = logits.chunks_exact(outputs).zip(&labels).filter(|&pair| right(pair)).count();
        let loss: f64 = losses.iter().zip(sizes).map(|(&loss, count)| f64::from(loss) * count as f64).sum();
        let inferred = self.clips(&self.split.validation, 1, validation)?.0;
        let scores = inferred.iter().flat_map(|(windows, _)| windows).flat_map(|window| &window.logits);
        if losses.iter().chain(scores).any(|x| !x.is_finite()) {
            let detail =
                format!("the loss or a score is not finite in epoch {}; training stopped", self.progress.epoch + 1);
            return Err(Error::NonFinite(detail));
        }
        let metrics = Metrics::new(&self.predictions(&inferred, 1.0, None), &self.data.classes);
        let best = self.progress.judge(Some(metrics.loss));
        if best {
            self.best_steps = self.adam.steps;
        }
        self.progress.epoch += 1;
        let patience = (self.config.patience > 0).then_some(self.config.patience);
        Ok(Epoch {
            epoch: self.progress.epoch,
            train_loss: loss / labels.len() as f64,
            train_accuracy: right as f64 / labels.len() as f64,
            val_loss: metrics.loss,
            val_accuracy: metrics.accuracy,
            best,
            over: self.progress.epoch >= self.config.epochs || self.progress.impatient(patience),
        })
    }

    /// The outputs for these clips under so many augmentations, from those for their windows one after the other; and how many windows that was.
    fn clips(
        &self,
        clips: &[usize],
        augmentations: usize,
        (logits, vectors): (&[f32], &[f32]),
    ) -> Result<(Vec<ClipTruth>, usize)> {
        let mut inferred: Vec<WindowOutputs> =
            outputs_of(logits, vectors, [self.network.outputs, self.network.vector_length()])?;
        let counts: Vec<usize> = clips.iter().map(|&i| augmentations * self.windows(&[i]).count()).collect();
        let all = counts.iter().sum();
        if inferred.len() < all {
            return Err(Error::value("logits", format!("{} windows have outputs, and {all} should", inferred.len())));
        }
        inferred.truncate(all);
        let mut rest = inferred.into_iter();
        let clip = |(&i, count): (&usize, usize)| (rest.by_ref().take(count).collect(), self.data.clips[i].label);
        Ok((clips.iter().zip(counts).map(clip).collect(), all))
    }

    fn predictions(
        &self,
        inferred: &[ClipTruth],
        temperature: f64,
        distribution: Option<&TrainingDistribution>,
    ) -> Vec<Prediction> {
        let clips = self.split.validation.iter().map(|&i| &self.data.clips[i]);
        predictions(clips, inferred, temperature, distribution)
    }

    /// The model, from the best states by name and the outputs of [`Teacher::all_augmented`] under them, one after the other.
    ///
    /// # Errors
    /// Where nothing was learnt yet, a state is missing, or there are too few outputs.
    pub fn finish(&self, states: BTreeMap<String, Tensor>, logits: &[f32], vectors: &[f32]) -> Result<Model> {
        let untaught = || Error::Data("nothing has been learnt yet".into());
        let (epoch, steps) = (self.progress.best_epoch.ok_or_else(untaught)?, self.best_steps);
        let mut weights = Weights { tensors: states, ..Weights::default() };
        fitting(&self.network.states, &weights, Path::new("what was learnt"), false)?;
        let layers = weights.tensors.keys().filter_map(|name| name.strip_suffix(".running_mean"));
        weights.counts = layers.map(|layer| (format!("{layer}.num_batches_tracked"), steps as i64)).collect();
        let augmentations = self.network.front_end.augmentations.len();
        let (validation, first) = self.clips(&self.split.validation, augmentations, (logits, vectors))?;
        let (outputs, width) = (self.network.outputs, self.network.vector_length());
        let rest = (&logits[first * outputs..], &vectors[first * width..]);
        let (trained, _) = self.clips(&self.split.train, augmentations, rest)?;
        let distribution = TrainingDistribution::of_clips(&trained, &validation);
        let temperature = fit_temperature(&validation);
        let unknown_threshold = unknown_threshold(&self.predictions(&validation, temperature, distribution.as_ref()));
        let classes = self.data.classes.clone();
        let header = Header::before_training(self.config.recipe, classes, outputs, self.began_with.clone());
        Ok(Model { header: Header { temperature, unknown_threshold, epoch, ..header }, weights, distribution })
    }

    /// Makes a session's states those that training begins with.
    ///
    /// # Errors
    /// Where it has other states.
    pub fn begin(&self, session: &mut dyn Session) -> Result<()> {
        self.states()?.iter().try_for_each(|(name, tensor)| session.write_state(name, tensor.data()))
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }
}

/// The recordings as a data set that was read from a folder of folders.
fn dataset(given: Vec<Recording>, sample_rate: u32) -> Result<Dataset> {
    let songs: BTreeSet<String> = given.iter().map(|recording| recording.song.clone()).collect();
    let classes: Vec<String> = songs.into_iter().collect();
    let (mut clips, mut warnings) = (Vec::new(), Vec::new());
    for Recording { song, name, audio, person } in given {
        let id = format!("{song}/{name}");
        let (clip, told) = clip(&id, audio, sample_rate)?;
        warnings.extend(told.into_iter().map(|warning| format!("{id}: {warning}")));
        let label = classes.partition_point(|class| *class < song);
        clips.push(Clip { label, person, ..clip });
    }
    clips.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Dataset { clips, classes, sample_rate, warnings, labels_from: "the page".into(), ..Dataset::default() })
}
