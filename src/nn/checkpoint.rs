//! Checkpoints of [`Model::fit`](super::Model::fit): a safetensors file with everything that it needs to resume as if it had never stopped.
//!
//! The tensors are those of [`Weights::of_session`] (`state.<path>`, the optimiser's moments among them) and the best parameters so far
//! (`best.<path>`). The rest is text in the file's header, whose numbers are read back bit for bit.

use super::fit::{Epoch, Fitting, Scores};
use super::module::Module;
use super::training::Progress;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::{FromStr, SplitAsciiWhitespace};
use std::time::Duration;

/// Where [`Model::fit`](super::Model::fit) writes checkpoints, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    /// The file. If it exists, training resumes from it.
    pub path: PathBuf,
    /// The time between checkpoints within an epoch. There is also one after each epoch.
    pub every: Duration,
}

impl Checkpoints {
    /// Every 30 seconds.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), every: Duration::from_secs(30) }
    }
}

/// The entry of the header that identifies the file.
const KEY: &str = "humdinger_fit";
const VERSION: &str = "1";
const STATE: &str = "state.";
const BEST: &str = "best.";
/// Written for a number that does not exist.
const NONE: &str = "-";

/// The state of a generator of random numbers.
pub(super) type Draws = [u8; 49];

/// A fit's complete state.
#[derive(Debug, PartialEq)]
pub(super) struct Checkpoint {
    pub progress: Progress,
    /// The scores of the epoch in progress.
    pub training: Scores,
    pub history: Vec<Epoch>,
    /// The number of steps of the optimiser.
    pub optimiser: u64,
    /// The generator of dropout.
    pub draws: Draws,
    pub states: Weights,
    pub best: Option<Vec<(String, Tensor<f32>)>>,
}

impl Checkpoint {
    /// Writes the file, completely or not at all.
    pub fn write(self, path: &Path) -> Result<()> {
        let Progress { step, epoch, position, seconds, best_loss, best_epoch, continued_at } = self.progress;
        let mut file = Weights::default();
        let mut text = |name: &str, value: String| {
            file.metadata.insert(name.into(), value);
        };
        text(KEY, VERSION.into());
        text("step", step.to_string());
        text("epoch", epoch.to_string());
        text("position", position.to_string());
        text("seconds", seconds.to_string());
        text("best_loss", optional(best_loss));
        text("best_epoch", optional(best_epoch));
        text("continued_at", optional(continued_at));
        text("training", scores(&self.training));
        text("optimiser", self.optimiser.to_string());
        text("draws", self.draws.iter().map(|byte| format!("{byte:02x}")).collect());
        let epochs = self.history.iter().map(|epoch| {
            let validation = epoch.validation.as_ref().map_or(NONE.into(), scores);
            format!("{} {} {} {validation}", epoch.rate, epoch.seconds, scores(&epoch.training))
        });
        text("epochs", epochs.collect::<Vec<String>>().join("\n"));
        file.add_under(STATE, self.states);
        if let Some(best) = self.best {
            file.add_under(BEST, Weights { tensors: best.into_iter().collect(), ..Weights::default() });
        }
        file.write(path)
    }

    /// Reads a file; `None` if it does not exist.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !path.try_exists().map_err(|e| Error::file(path, format!("cannot be looked for: {e}")))? {
            return Ok(None);
        }
        let mut file = Weights::read(path)?;
        match file.metadata.get(KEY).map(String::as_str) {
            Some(VERSION) => {}
            Some(other) => {
                let detail = format!("is a checkpoint of version {other}; this humdinger continues {VERSION}");
                return Err(Error::file(path, detail));
            }
            None => {
                return Err(Error::file(
                    path,
                    "is not a checkpoint of `Model::fit`; name another file for checkpoints",
                ));
            }
        }
        let header = Header { entries: &file.metadata, path };
        let mut history = Vec::new();
        for (number, line) in header.entry("epochs")?.lines().enumerate() {
            let mut words = Words { name: "epochs", path, words: line.split_ascii_whitespace() };
            let (rate, seconds, training) = (words.next()?, words.next()?, words.scores()?);
            history.push(Epoch { number, rate, seconds, training, validation: words.optional_scores()? });
        }
        let progress = Progress {
            step: header.words("step")?.next()?,
            epoch: header.words("epoch")?.next()?,
            position: header.words("position")?.next()?,
            seconds: header.words("seconds")?.next()?,
            best_loss: header.words("best_loss")?.optional()?,
            best_epoch: header.words("best_epoch")?.optional()?,
            continued_at: header.words("continued_at")?.optional()?,
        };
        let training = header.words("training")?.scores()?;
        let optimiser = header.words("optimiser")?.next()?;
        let draws = bytes(header.entry("draws")?).ok_or_else(|| bad(path, "draws"))?;
        let best: Vec<(String, Tensor<f32>)> = file.take_under(BEST).tensors.into_iter().collect();
        let best = (!best.is_empty()).then_some(best);
        let states = file.take_under(STATE);
        Ok(Some(Self { progress, training, history, optimiser, draws, states, best }))
    }
}

fn optional(number: Option<impl ToString>) -> String {
    number.map_or(NONE.into(), |number| number.to_string())
}

fn scores(scores: &Scores) -> String {
    format!("{} {} {}", scores.items, scores.loss, optional(scores.metric))
}

struct Header<'a> {
    entries: &'a BTreeMap<String, String>,
    path: &'a Path,
}

impl<'a> Header<'a> {
    fn entry(&self, name: &str) -> Result<&'a str> {
        self.entries.get(name).map(String::as_str).ok_or_else(|| bad(self.path, name))
    }

    fn words(&self, name: &'a str) -> Result<Words<'a>> {
        Ok(Words { name, path: self.path, words: self.entry(name)?.split_ascii_whitespace() })
    }
}

/// Numbers of an entry of the header.
struct Words<'a> {
    name: &'a str,
    path: &'a Path,
    words: SplitAsciiWhitespace<'a>,
}

impl Words<'_> {
    fn next<T: FromStr>(&mut self) -> Result<T> {
        self.optional()?.ok_or_else(|| self.bad())
    }

    fn optional<T: FromStr>(&mut self) -> Result<Option<T>> {
        match self.words.next() {
            Some(NONE) => Ok(None),
            Some(word) => word.parse().map(Some).map_err(|_| self.bad()),
            None => Err(self.bad()),
        }
    }

    fn scores(&mut self) -> Result<Scores> {
        self.optional_scores()?.ok_or_else(|| self.bad())
    }

    fn optional_scores(&mut self) -> Result<Option<Scores>> {
        let Some(items) = self.optional()? else { return Ok(None) };
        Ok(Some(Scores { items, loss: self.next()?, metric: self.optional()? }))
    }

    fn bad(&self) -> Error {
        bad(self.path, self.name)
    }
}

fn bad(path: &Path, name: &str) -> Error {
    Error::file(path, format!("is a damaged checkpoint: its header's `{name}` is missing or cannot be understood"))
}

/// Of two hexadecimal digits each.
fn bytes(text: &str) -> Option<Draws> {
    let byte = |at: usize| text.get(at..at + 2).and_then(|byte| u8::from_str_radix(byte, 16).ok());
    (0..text.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?.try_into().ok()
}

impl<M: Module> Fitting<'_, '_, M> {
    /// Resumes from the checkpoint file, if it exists.
    pub(super) fn resume(&mut self) -> Result<()> {
        let Some(Checkpoints { path, .. }) = &self.fit.checkpoints else { return Ok(()) };
        let Some(found) = Checkpoint::read(path)? else { return Ok(()) };
        let other = |what: &str| {
            let detail = "is a checkpoint of another model, or of another optimiser:";
            Error::file(path, format!("{detail} {what}; name another file for checkpoints, or remove this one"))
        };
        let states = self.model.states();
        let fits = |(name, tensor): (&String, &Tensor<f32>)| states.get(name).is_ok_and(|s| s.shape == tensor.shape());
        let best = found.best.iter().flatten().map(|(name, tensor)| (name, tensor));
        if let Some((name, tensor)) = found.states.tensors.iter().chain(best).find(|&pair| !fits(pair)) {
            return Err(other(&format!("it has `{name}` of shape {}, and the model has none such", tensor.shape())));
        }
        if let Some(state) = states.kept().find(|state| !found.states.tensors.contains_key(&state.name)) {
            return Err(other(&format!("it has no `{}`", state.name)));
        }
        found.states.restore(self.model.session(), path)?;
        self.model.set_counted(found.optimiser, &found.draws);
        (self.progress, self.training) = (found.progress, found.training);
        (self.history, self.best) = (found.history, found.best);
        Ok(())
    }

    /// Writes the checkpoint file, if one was requested.
    pub(super) fn write(&mut self) -> Result<()> {
        let Some(Checkpoints { path, .. }) = &self.fit.checkpoints else { return Ok(()) };
        let states = Weights::of_session(self.model.session())?;
        // A gradient can overflow although the loss was finite.
        if let Some(name) = states.not_finite() {
            return Err(Error::NonFinite(format!(
                "`{name}` is no longer finite after step {}; the checkpoint of before is kept in {}; a lower learning rate or a gradient's largest norm may help",
                self.progress.step,
                path.display()
            )));
        }
        let (optimiser, draws) = self.model.counted();
        let (progress, history, best) = (self.progress.clone(), self.history.clone(), self.best.clone());
        Checkpoint { progress, training: self.training, history, optimiser, draws, states, best }.write(path)
    }
}
