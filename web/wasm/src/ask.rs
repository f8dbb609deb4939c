//! The questions and their answers.

use crate::Piece;
use humdinger::audio::Audio;
use humdinger::data::Clip;
use humdinger::device::Device;
use humdinger::graph::Plan;
use humdinger::melody::pitch::{PitchOptions, PitchTracker};
use humdinger::nn;
use humdinger::train::batch::Batch;
use humdinger::train::batch::inputs::{FREQUENCY_MASKS, LABELS, PLACES, SAMPLES, START, TIME_MASKS, WARP};
use humdinger::train::elsewhere::{self, Driver, Epoch, Lesson, Recording, RemotePredictor, Teacher};
use humdinger::train::model::Model;
use humdinger::train::predict::Predictor;
use humdinger::{Error, Result, Tensor};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;

/// What is open between calls.
#[derive(Default)]
pub(crate) struct State {
    remote: Option<RemotePredictor>,
    clip: Option<Clip>,
    teacher: Option<Teacher>,
    /// The teacher, once its plans run on the CPU.
    driver: Option<Driver>,
    /// The open model on the CPU, once it was needed there.
    local: Option<Predictor>,
}

/// A question; its pieces of memory are named in brackets.
#[derive(Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
enum Question {
    /// Opens a model \[its file\].
    Model,
    /// The plan of the open model.
    Plan,
    /// The inputs of the open model's plan for a recording \[a channel of real samples each\], a run after the other.
    Inputs { name: String, rate: u32 },
    /// What the open model says of that recording \[logits and vectors of all runs\].
    Predict { top: usize },
    /// The same without a GPU, on the CPU.
    PredictOnCpu { top: usize },
    /// The pitch of a recording over time \[its samples\].
    Pitch { rate: u32 },
    /// Begins to teach \[the base model's file, then for each recording a channel of 16-bit samples\].
    Teach { seed: u64, epochs: Option<usize>, recordings: Vec<Given> },
    /// A plan of the teacher.
    Lesson { lesson: Learn, count: usize },
    /// The values of the teacher's states, by name.
    States,
    /// The inputs of an epoch's training steps, and of validation.
    Epoch,
    /// Ends an epoch \[losses, logits of the steps, logits and vectors of the validation clips\].
    Learnt,
    /// The inputs of all windows under all test-time augmentations, at the end.
    Augmented,
    /// The model's file \[logits and vectors under all test-time augmentations, then the states that are kept\].
    Finish,
    /// Trains for an epoch on the CPU, without a GPU.
    EpochOnCpu,
    /// The file of the model that was trained so.
    FinishOnCpu,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    song: String,
    name: String,
    rate: u32,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Learn {
    Train,
    Validate,
    Augmented,
}

type Answered = Result<(Json, Vec<Piece>)>;

impl State {
    pub(crate) fn answer(&mut self, given: &[Piece]) -> Answered {
        let [question, pieces @ ..] = given else { return Err(Error::Data("nothing was asked".into())) };
        let question =
            serde_json::from_slice(question.bytes()).map_err(|e| Error::Data(format!("this is no question: {e}")))?;
        match question {
            Question::Model => {
                let path = Path::new("the model");
                let remote = RemotePredictor::new(Model::parse(of(pieces, 0)?.bytes(), path)?, path)?;
                let header = &remote.model.header;
                let front_end = &header.front_end;
                let told = json!({
                    "songs": header.classes,
                    "recipe": header.recipe.name(),
                    "rate": front_end.sample_rate,
                    "seconds": front_end.window as f64 / f64::from(front_end.sample_rate),
                    "threshold": header.unknown_threshold,
                });
                (self.remote, self.clip, self.local) = (Some(remote), None, None);
                Ok((told, Vec::new()))
            }
            Question::Plan => Ok((self.remote()?.plan()?.export()?, Vec::new())),
            Question::Inputs { name, rate } => {
                let channels: Vec<Vec<f32>> = pieces.iter().map(Piece::reals).collect();
                let remote = self.remote()?;
                let audio = Audio { channels, sample_rate: rate, warnings: Vec::new() };
                let (clip, warnings) = elsewhere::clip(&name, audio, remote.model.header.front_end.sample_rate)?;
                let (runs, pieces) = inputs(&remote.batches(&clip), &[]);
                self.clip = Some(clip);
                Ok((json!({ "runs": runs, "warnings": warnings }), pieces))
            }
            Question::Predict { top } => {
                let clip = self.clip.as_ref().ok_or_else(|| Error::Data("no recording was given".into()))?;
                let [logits, vectors] = [of(pieces, 0)?.reals(), of(pieces, 1)?.reals()];
                Ok((self.remote()?.answer(clip, &logits, &vectors, top)?, Vec::new()))
            }
            Question::PredictOnCpu { top } => {
                let clip = self.clip.as_ref().ok_or_else(|| Error::Data("no recording was given".into()))?;
                let remote = self.remote.as_ref().ok_or_else(|| Error::Data("no model is open".into()))?;
                if self.local.is_none() {
                    let device = Device::with_threads(1);
                    self.local = Some(Predictor::new(remote.model.clone(), Path::new("the model"), &device)?);
                }
                let first_only = remote.model.header.recipe.first_window_only();
                let windows = self.local.as_mut().map(|local| local.windows(clip, first_only)).transpose()?;
                Ok((remote.answer_of(clip, &windows.unwrap_or_default(), top), Vec::new()))
            }
            Question::Pitch { rate } => {
                let contour = PitchTracker::new(rate, PitchOptions::default())?.track(&of(pieces, 0)?.reals());
                let hz: Vec<Option<f64>> = contour.frames.iter().map(|frame| frame.hz).collect();
                Ok((json!({ "hop": contour.hop, "hz": hz }), Vec::new()))
            }
            Question::Teach { seed, epochs, recordings } => {
                let [base, sounds @ ..] = pieces else { return Err(Error::Data("no base model was given".into())) };
                let sounds = recordings.into_iter().zip(sounds).map(|(Given { song, name, rate }, sound)| {
                    let samples = sound.bytes().as_chunks::<2>().0.iter();
                    let samples = samples.map(|&bytes| f32::from(i16::from_le_bytes(bytes)) / 32_768.0).collect();
                    let audio = Audio { channels: vec![samples], sample_rate: rate, warnings: Vec::new() };
                    Recording { song, name, audio, person: None }
                });
                let teacher = Teacher::new(sounds.collect(), base.bytes(), seed, epochs)?;
                let config = teacher.config();
                let [train, validation] = teacher.counts();
                let told = json!({
                    "songs": teacher.songs(),
                    "epochs": config.epochs,
                    "batch": config.batch_size,
                    "train": train,
                    "validation": validation,
                    "kept": teacher.kept(),
                });
                (self.teacher, self.driver) = (Some(teacher), None);
                Ok((told, Vec::new()))
            }
            Question::Lesson { lesson, count } => Ok((self.lesson(lesson, count)?.export()?, Vec::new())),
            Question::States => {
                let states = self.teacher()?.states()?;
                let names: Vec<&String> = states.keys().collect();
                let told = json!({ "names": names });
                let piece = |tensor: &Tensor| reals(tensor.data());
                Ok((told, states.values().map(piece).collect()))
            }
            Question::Epoch => {
                let teacher = self.teacher.as_mut().ok_or_else(nobody)?;
                let (mut runs, mut pieces) = (Vec::new(), Vec::new());
                for step in teacher.epoch()? {
                    let (run, values) = inputs(&[step.batch], &step.numbers);
                    runs.extend(run);
                    pieces.extend(values);
                }
                let (validation, values) = inputs(&teacher.validation(), &[]);
                pieces.extend(values);
                Ok((json!({ "steps": runs, "validation": validation }), pieces))
            }
            Question::Learnt => {
                let [losses, steps, logits, vectors] = [0, 1, 2, 3].map(|i| of(pieces, i).map(Piece::reals));
                let teacher = self.teacher.as_mut().ok_or_else(nobody)?;
                let epoch = teacher.learnt(&losses?, &steps?, (&logits?, &vectors?))?;
                Ok((told(&epoch), Vec::new()))
            }
            Question::Augmented => {
                let teacher = self.teacher()?;
                let (runs, pieces) = inputs(&teacher.all_augmented(), &[]);
                Ok((json!({ "runs": runs }), pieces))
            }
            Question::Finish => {
                let teacher = self.teacher()?;
                let [logits, vectors] = [of(pieces, 0)?.reals(), of(pieces, 1)?.reals()];
                let shape = |name: &String| teacher.network().states.get(name).map(|state| state.shape);
                let mut states = BTreeMap::new();
                for (name, piece) in teacher.kept().iter().zip(&pieces[2..]) {
                    states.insert(name.clone(), Tensor::new(shape(name)?, piece.reals())?);
                }
                let file = teacher.finish(states, &logits, &vectors)?.to_bytes()?;
                Ok((json!({}), vec![Piece::of(&file)]))
            }
            Question::EpochOnCpu => {
                if let Some(teacher) = self.teacher.take() {
                    self.driver = Some(Driver::new(teacher, &Device::with_threads(1))?);
                }
                let epoch = self.driver.as_mut().ok_or_else(nobody)?.epoch(|| false)?;
                let epoch = epoch.ok_or_else(|| Error::Data("training is over".into()))?;
                Ok((told(&epoch), Vec::new()))
            }
            Question::FinishOnCpu => {
                let file = self.driver.take().ok_or_else(nobody)?.finish()?.to_bytes()?;
                Ok((json!({}), vec![Piece::of(&file)]))
            }
        }
    }

    fn remote(&self) -> Result<&RemotePredictor> {
        self.remote.as_ref().ok_or_else(|| Error::Data("no model is open".into()))
    }

    fn teacher(&self) -> Result<&Teacher> {
        self.teacher.as_ref().ok_or_else(nobody)
    }

    fn lesson(&self, lesson: Learn, count: usize) -> Result<Plan> {
        let lesson = match lesson {
            Learn::Train => Lesson::Train,
            Learn::Validate => Lesson::Validate,
            Learn::Augmented => Lesson::Augmented,
        };
        self.teacher()?.plan(lesson, count)
    }
}

fn told(epoch: &Epoch) -> Json {
    json!({
        "epoch": epoch.epoch,
        "trainLoss": epoch.train_loss,
        "trainAccuracy": epoch.train_accuracy,
        "loss": epoch.val_loss,
        "accuracy": epoch.val_accuracy,
        "best": epoch.best,
        "over": epoch.over,
    })
}

fn nobody() -> Error {
    Error::Data("nothing is being taught".into())
}

fn of(pieces: &[Piece], number: usize) -> Result<&Piece> {
    pieces.get(number).ok_or_else(|| Error::Data(format!("piece {number} of the question is missing")))
}

fn reals(values: &[f32]) -> Piece {
    Piece::of(&values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
}

/// What to write to the inputs of a plan before each run: the runs, each with its count of clips and the names of inputs, and the values
/// in the same order. A plan may lack some of these inputs.
fn inputs(batches: &[Batch], numbers: &[f32]) -> (Vec<Json>, Vec<Piece>) {
    let (mut runs, mut pieces) = (Vec::new(), Vec::new());
    for batch in batches {
        let mut names = Vec::new();
        for name in [SAMPLES, WARP] {
            let values = batch.real(name).unwrap_or_default();
            if !values.is_empty() {
                names.push(name);
                pieces.push(reals(values));
            }
        }
        for name in [PLACES, START, FREQUENCY_MASKS, TIME_MASKS, LABELS] {
            let values = batch.index(name).unwrap_or_default();
            if !values.is_empty() {
                names.push(name);
                pieces.push(Piece::of(&values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()));
            }
        }
        if !numbers.is_empty() {
            names.push(nn::STEP);
            pieces.push(reals(numbers));
        }
        runs.push(json!({ "count": batch.count, "inputs": names }));
    }
    (runs, pieces)
}
