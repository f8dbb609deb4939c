//! The model, which names the song of one recording after the other, on a thread of its own.

use crate::Result;
use crate::audio::Audio;
use crate::cli::predict::sent;
use crate::train::model::Header;
use crate::train::predict::Predictor;
use crate::train::verdict::Threshold;
use crate::train::worker::Worker;
use serde_json::Value;

/// A recording, and what is asked about it.
pub(super) struct Question {
    pub name: String,
    pub audio: Audio,
    pub top: usize,
    pub threshold: Threshold,
}

/// Asks the thread that has the model.
pub(super) struct ModelThread(Worker<Predictor>);

impl ModelThread {
    /// Starts it, with the model that `make` gives on that thread; also the model's description.
    ///
    /// # Errors
    /// What `make` fails with, or where there can be no thread.
    pub fn start(make: impl FnOnce() -> Result<Predictor> + Send + 'static) -> Result<(Self, Header)> {
        let worker = Worker::start("model", make)?;
        let header = worker.ask(|predictor| predictor.model.header.clone())?;
        Ok((Self(worker), header))
    }

    /// The answer, which is waited for.
    ///
    /// # Errors
    /// Where there is none.
    pub fn ask(&self, Question { name, audio, top, threshold }: Question) -> Result<Value> {
        self.0.ask(move |predictor| sent::answer(predictor, &name, audio, top, threshold))?
    }
}
