//! The base model: `melody`'s network, trained on very many tunes by singers who are made while it learns.
//!
//! From freshly drawn weights some hundred tunes at once do not get going: the loss stays where guessing has it. So a few tunes come
//! first, by many singers, and all others when the network can tell tunes apart ([`Stage`]). A clip takes longer to make than to
//! train on; a round of clips is therefore gone over a few times, varied otherwise each time, while other threads make the next. Two
//! rounds are in memory, and none of them ever on disk. Which clips a round has, and all that is random, depends on the seed alone.
//!
//! What is kept in the end is the network without its last layer, in half precision, and a last layer for the built-in tunes: the
//! linear discriminant of what the finished network makes of other singers, who sing these tunes. So the network itself has
//! never trained on [`KEPT`], the songs by whose recordings this project is measured.

use super::batch::{Batch, Draw};
use super::config::{Config, Settings, whole};
use super::distribution::{TrainingDistribution, discriminant, probabilities};
use super::engine::{ClipOutputs, Engine, batch_sizes};
use super::metrics::{ClipTruth, Metrics, Prediction, fit_temperature, unknown_threshold};
use super::model::{FORMAT_VERSION, Header, Model, load_weights, read_weights};
use super::network::Pass;
use super::recipe::Recipe;
use super::variations::Variations;
use super::weights::Weights;
use crate::data::synth::{self, Channels, Plan, Singer, Style, Tune, compose, tunes};
use crate::data::{Clip, draws};
use crate::device::Device;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

/// The built-in tunes that the network must not be trained on, so that their recordings tell what it is worth for songs that are new to it.
pub const KEPT: [&str; 8] =
    ["Twinkle", "OldMacDonald", "HappyBirthday", "BrotherJohn", "Jasmine", "LondonBridge", "HomeSweetHome", "Augustin"];

/// A part of the training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// How many tunes.
    pub tunes: usize,
    /// How many rounds of clips.
    pub rounds: usize,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pretraining {
    /// Everything random is drawn from this.
    pub seed: u64,
    /// Few tunes, from freshly drawn weights.
    pub first: Stage,
    /// All of them, and the built-in tunes that it may be trained on.
    pub then: Stage,
    /// Clips of a round.
    pub clips: usize,
    /// How often a round is gone over.
    pub passes: usize,
    /// Clips in a step.
    pub batch_size: usize,
    /// The highest learning rate of each stage's cycle.
    pub learning_rate: f64,
    /// Singers of each built-in tune whom the last layer is made of, and a third as many that it is tried on.
    pub singers: usize,
}

impl Default for Pretraining {
    fn default() -> Self {
        Self {
            seed: 1,
            first: Stage { tunes: 16, rounds: 10 },
            then: Stage { tunes: 2000, rounds: 128 },
            clips: 512,
            passes: 4,
            batch_size: 16,
            learning_rate: 4e-3,
            singers: 60,
        }
    }
}

impl Pretraining {
    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// [`Error::Usage`] with the option's name on the command line.
    pub fn check(&self) -> Result<()> {
        whole("melodies", self.then.tunes, self.first.tunes.max(2), 100_000)?;
        whole("first_melodies", self.first.tunes, 2, 1000)?;
        whole("rounds", self.then.rounds, 1, 1_000_000)?;
        whole("first_rounds", self.first.rounds, 1, 1_000_000)?;
        whole("singers", self.singers, 3, 10_000)?;
        if i64::try_from(self.seed).is_err() {
            return Err(Error::usage("seed", format!("{} is above {}", self.seed, i64::MAX)));
        }
        Ok(())
    }

    /// What the network is trained on, in words for whoever looks at the file.
    pub fn recipe(&self) -> String {
        let own: Vec<&str> = training_tunes().map(|tune| &*tune.name).collect();
        format!(
            "network: {} generated melodies (seed {}) and {}, by {} singers made here; last layer: the built-in tunes, by {} singers each",
            self.then.tunes,
            self.seed,
            own.join(", "),
            (self.first.rounds + self.then.rounds) * self.clips,
            self.singers
        )
    }

    /// Clips that are trained on, each time that one is.
    pub fn work(&self) -> usize {
        (self.first.rounds + self.then.rounds) * self.clips * self.passes
    }
}

/// The built-in tunes that the network may be trained on.
fn training_tunes() -> impl Iterator<Item = &'static Tune> {
    tunes().iter().filter(|tune| !KEPT.contains(&&*tune.name))
}

/// How far it has come.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Which stage, from 1.
    pub stage: usize,
    /// How many rounds of it are done, and of how many.
    pub round: usize,
    /// See `round`.
    pub of: usize,
    /// The mean loss of the round's clips when each was used for the first time.
    pub loss: f64,
    /// The share of them that was right then.
    pub accuracy: f64,
    /// Seconds since the beginning.
    pub seconds: f64,
    /// The share of all work that is done.
    pub done: f64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// The base model; its weights are numbers of half precision.
    pub model: Model,
    /// The accuracy on the built-in tunes by singers who were not in training.
    pub metrics: Metrics,
}

/// Makes a base model. `say` receives a message after every round.
///
/// # Errors
/// Where the options make no sense, the loss stops being finite, or the device fails.
pub fn pretrain(work: &Pretraining, device: &Device, say: &mut dyn FnMut(&Round)) -> Result<Pretrained> {
    work.check()?;
    let melodies: Vec<Tune> = (0..work.then.tunes).map(|number| compose::compose(work.seed, number)).collect();
    let mut all: Vec<&Tune> = melodies.iter().collect();
    training_tunes().for_each(|tune| all.push(tune));
    let started = Instant::now();
    let few = stage(work, 1, &all[..work.first.tunes], device, None, started, say)?;
    let network = stage(work, 2, &all, device, Some(few), started, say)?;
    finish(work, network, device)
}

/// Trains on rounds of clips of these tunes, which another thread makes.
fn stage(
    work: &Pretraining,
    number: usize,
    tunes: &[&Tune],
    device: &Device,
    begin: Option<Weights>,
    started: Instant,
    say: &mut dyn FnMut(&Round),
) -> Result<Weights> {
    let rounds = if number == 1 { work.first.rounds } else { work.then.rounds };
    let before = if number == 1 { 0 } else { work.first.rounds };
    std::thread::scope(|scope| {
        // Without room in between: one round is trained on, the next is made or waits.
        let (send, receive) = sync_channel(0);
        let singers = move || {
            // Where training has failed, the receiver is gone.
            (0..rounds).map(|round| make(work, before + round, tunes)).try_for_each(|clips| send.send(clips).ok())
        };
        let failed = |e: std::io::Error| Error::Data(format!("no thread can be started for the singers: {e}"));
        std::thread::Builder::new().spawn_scoped(scope, singers).map_err(failed)?;
        let mut training = Training::new(work, number, tunes.len(), rounds, device, begin)?;
        for round in 0..rounds {
            let clips = received(&receive)??;
            let (loss, accuracy) = training.round(&clips, round)?;
            let done = (before + round + 1) as f64 / (work.first.rounds + work.then.rounds) as f64;
            let seconds = started.elapsed().as_secs_f64();
            say(&Round { stage: number, round: round + 1, of: rounds, loss, accuracy, seconds, done });
        }
        training.weights()
    })
}

fn received<T>(from: &Receiver<T>) -> Result<T> {
    from.recv().map_err(|_| Error::Data("the thread that makes singers has ended early".into()))
}

/// The clips of a round. Every clip has a singer of its own; the tunes take turns, in another order each time.
fn make(work: &Pretraining, round: usize, tunes: &[&Tune]) -> Result<Vec<Clip>> {
    let plan = |i: usize| {
        let place = round * work.clips + i;
        let label = draws::order(work.seed, (place / tunes.len()) as u64, tunes.len())[place % tunes.len()];
        (label, place)
    };
    let places: Vec<(usize, usize)> = (0..work.clips).map(plan).collect();
    sing(work.seed, &places.iter().map(|&(label, place)| (tunes[label], label, place)).collect::<Vec<_>>(), 0.25)
}

/// Makes clips of (tune, label, person), on all cores; one in three whistles.
fn sing(seed: u64, wanted: &[(&Tune, usize, usize)], anywhere: f64) -> Result<Vec<Clip>> {
    let options = synth::Options { seed, channels: Channels::Mono, anywhere, ..synth::Options::default() };
    let style =
        |person: usize, label: usize| if (person + label).is_multiple_of(3) { Style::Whistle } else { Style::Hum };
    let plans: Vec<Plan<'_>> = wanted
        .iter()
        .map(|&(tune, label, person)| Plan { tune, person, style: style(person, label), take: 1 })
        .collect();
    let made = synth::clips_by(&plans, &options, |person| Singer::roaming(seed, person))?;
    let mut clips = Vec::with_capacity(wanted.len());
    for ((plan, samples), &(_, label, person)) in plans.iter().zip(made).zip(wanted) {
        clips.push(Clip {
            id: plan.file_name(),
            path: plan.file_name().into(),
            samples: samples.into(),
            stretch: None,
            label,
            person: Some(person.to_string()),
            columns: BTreeMap::new(),
        });
    }
    Ok(clips)
}

/// A stage's engine.
struct Training<'a> {
    work: &'a Pretraining,
    engine: Engine,
    stage: usize,
    steps: u64,
}

impl<'a> Training<'a> {
    fn new(
        work: &'a Pretraining,
        stage: usize,
        outputs: usize,
        rounds: usize,
        device: &Device,
        begin: Option<Weights>,
    ) -> Result<Self> {
        let config = Config {
            batch_size: work.batch_size,
            learning_rate: work.learning_rate,
            seed: work.seed,
            ..Settings { recipe: Some(Recipe::Melody), ..Settings::default() }.resolve()?
        };
        let steps = rounds * work.passes * work.clips.div_ceil(work.batch_size);
        // Without recordings of its own: batches bring the samples.
        let mut engine = Engine::for_training(device, &config, outputs, steps, &[])?;
        if let Some(weights) = begin {
            load_weights(&mut *engine.session, &weights, Path::new("the first stage's weights"), true)?;
        }
        Ok(Self { work, engine, stage, steps: 0 })
    }

    /// Goes over these clips; mean loss and share of right answers of the first time.
    fn round(&mut self, clips: &[Clip], round: usize) -> Result<(f64, f64)> {
        let front_end = Recipe::Melody.front_end();
        let train = Pass::Train { augment: true };
        for count in batch_sizes(clips.len(), self.work.batch_size) {
            self.engine.compile(train, count)?;
        }
        let (mut loss, mut right) = (0.0, 0);
        for pass in 0..self.work.passes {
            let epoch = ((self.stage as u64) << 32) + (round * self.work.passes + pass) as u64;
            let seed = self.work.seed;
            for items in draws::order(seed, epoch, clips.len()).chunks(self.work.batch_size) {
                let mut batch = Batch::default();
                for &item in items {
                    let draw = Draw { seed, epoch, item: item as u64 };
                    batch.push_augmented(Recipe::Melody, &front_end, &clips[item], draw, Variations::ALL);
                }
                for result in self.engine.train(train, &[batch])? {
                    self.steps += 1;
                    if pass == 0 {
                        loss += f64::from(result.loss) * items.len() as f64;
                        right += result.right;
                    }
                    if !result.loss.is_finite() {
                        let detail = format!("the loss of step {} of stage {} is not finite", self.steps, self.stage);
                        return Err(Error::NonFinite(detail));
                    }
                }
            }
        }
        Ok((loss / clips.len() as f64, right as f64 / clips.len() as f64))
    }

    fn weights(mut self) -> Result<Weights> {
        read_weights(&mut *self.engine.session, self.steps)
    }
}

/// A way of [`Engine`] to infer clips: with or without test-time augmentation.
type Infer = fn(&mut Engine, &[&Clip], bool) -> Result<Vec<ClipOutputs>>;

/// Gives the network its last layer for the built-in tunes.
fn finish(work: &Pretraining, network: Weights, device: &Device) -> Result<Pretrained> {
    let tunes: Vec<&Tune> = tunes().iter().collect();
    let recipe = Recipe::Melody;
    let mut header = Header {
        format_version: FORMAT_VERSION,
        recipe,
        classes: tunes.iter().map(|tune| tune.name.to_string()).collect(),
        outputs: tunes.len(),
        front_end: recipe.front_end(),
        temperature: 1.0,
        usual_distance: None,
        unknown_threshold: 0.0,
        epoch: 0,
        trained_on: Some(work.recipe()),
        began_with: None,
    };
    let mut weights = network;
    weights.halve();
    let mut engine = Engine::for_evaluation(device, recipe, &header.front_end, header.classifier())?;
    load_weights(&mut *engine.session, &weights, Path::new("the network's weights"), true)?;
    // People beyond those of all rounds.
    let first = (work.first.rounds + work.then.rounds) * work.clips;
    let mut infer_of = |people: std::ops::Range<usize>, infer: Infer| -> Result<Vec<ClipTruth>> {
        let mut inferred = Vec::new();
        for person in people {
            let wanted: Vec<_> = tunes.iter().enumerate().map(|(label, &tune)| (tune, label, person)).collect();
            let clips = sing(work.seed, &wanted, 0.1)?;
            let of = infer(&mut engine, &clips.iter().collect::<Vec<_>>(), true)?;
            inferred.extend(of.into_iter().zip(clips).map(|(windows, clip)| (windows, clip.label)));
        }
        Ok(inferred)
    };
    // More singers tell more than test-time augmentation of the same ones.
    let training = infer_of(first..first + work.singers, Engine::infer_once)?;
    let others = infer_of(first + work.singers..first + work.singers + work.singers / 3, Engine::infer)?;
    let failed = || Error::Data("what the network makes of the built-in tunes cannot be told apart".into());
    let distribution = TrainingDistribution::of_clips(&training, &others).ok_or_else(failed)?;
    header.usual_distance = Some(distribution.usual);
    let (weight, bias) = discriminant(&distribution)?;
    weights.tensors.insert("lin.weight".into(), weight);
    weights.tensors.insert("lin.bias".into(), bias);
    weights.halve();
    // What the halved last layer makes of the others, by hand: the engine has another one.
    let scores = |vector: &[f32]| -> Vec<f32> {
        let (rows, bias) = (weights.tensors["lin.weight"].data(), weights.tensors["lin.bias"].data());
        let dot = |(row, &bias): (&[f32], &f32)| row.iter().zip(vector).map(|(w, x)| w * x).sum::<f32>() + bias;
        rows.chunks_exact(vector.len()).zip(bias).map(dot).collect()
    };
    let mut truths: Vec<ClipTruth> = others;
    for window in truths.iter_mut().flat_map(|(windows, _)| windows) {
        window.logits = scores(&window.embedding);
    }
    header.temperature = fit_temperature(&truths);
    let predict = |(i, (windows, truth)): (usize, &ClipTruth)| Prediction {
        id: i.to_string(),
        truth: Some(*truth),
        probabilities: probabilities(windows, header.temperature, Some(&distribution)),
        ..Prediction::default()
    };
    let predictions: Vec<Prediction> = truths.iter().enumerate().map(predict).collect();
    header.unknown_threshold = unknown_threshold(&predictions);
    let metrics = Metrics::new(&predictions, &header.names());
    Ok(Pretrained { model: Model { header, weights, distribution: Some(distribution) }, metrics })
}
