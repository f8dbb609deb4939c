//! The thread that has the model: what runs a network stays on the thread that made it, and listens to one recording after the other.

use crate::audio::Audio;
use crate::cli::predict::sent;
use crate::train::model::Header;
use crate::train::predict::Predictor;
use crate::train::verdict::Threshold;
use crate::{Error, Result};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread;

/// A recording, and what is asked about it.
pub(super) struct Question {
    pub name: String,
    pub audio: Audio,
    pub top: usize,
    pub threshold: Threshold,
}

type Asked = (Question, Sender<Result<Value>>);

/// Asks the thread that has the model.
pub(super) struct Ear {
    questions: Sender<Asked>,
}

impl Ear {
    /// Starts it, with the model that `make` gives on that thread; also the model's description.
    ///
    /// # Errors
    /// What `make` fails with, or where there can be no thread.
    pub fn start(make: impl FnOnce() -> Result<Predictor> + Send + 'static) -> Result<(Self, Header)> {
        let (questions, asked) = channel::<Asked>();
        let (made, ready) = sync_channel(1);
        let listen = move || {
            let mut predictor = match make() {
                Ok(predictor) => predictor,
                Err(error) => return drop(made.send(Err(error))),
            };
            drop(made.send(Ok(predictor.model.header.clone())));
            for (Question { name, audio, top, threshold }, reply) in asked {
                // A fault in one answer is not to be the end of all.
                let answer =
                    catch_unwind(AssertUnwindSafe(|| sent::answer(&mut predictor, &name, audio, top, threshold)));
                let failed = || Err(Error::Data("the answer could not be computed".into()));
                // Whoever asked may have gone.
                drop(reply.send(answer.unwrap_or_else(|_| failed())));
            }
        };
        let failed = |e: std::io::Error| Error::Data(format!("no thread can be started for the model: {e}"));
        thread::Builder::new().name("ear".into()).spawn(listen).map_err(failed)?;
        let header = ready.recv().map_err(|_| Error::Data("the model could not be made".into()))??;
        Ok((Self { questions }, header))
    }

    /// The answer, which is waited for.
    ///
    /// # Errors
    /// Where there is none.
    pub fn ask(&self, question: Question) -> Result<Value> {
        let (reply, answer) = channel();
        let gone = || Error::Data("the thread that has the model is gone".into());
        self.questions.send((question, reply)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}
