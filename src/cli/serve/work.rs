//! Answering: decoding recordings and naming their songs, off the thread of the connections.

use super::api::{Asked, Route, There};
use super::model::{ModelThread, Question};
use super::training::Training;
use super::upload::{Labelled, Refusal, Sent};
use super::{identify, training};
use crate::cli::predict::sent::{self, decode};
use crate::cli::{plain, tell_error};
use crate::train::identify::Identifier;
use crate::train::model::Header;
use crate::train::verdict::Threshold;
use crate::{Error, Result};
use hyper::StatusCode;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Recordings that are decoded at a time: the next ones while the model is at one. Each may need half a gigabyte.
const AT_ONCE: usize = 2;
/// The longest name of a file that is repeated in an answer, in characters.
const LONGEST_NAME: usize = 200;

/// What answers.
pub(super) struct Work {
    thread: ModelThread,
    header: Header,
    /// Where the model comes from.
    model: String,
    catalogue: Option<Identifier>,
    training: Option<Training>,
    /// Seconds of the longest recording.
    longest: f64,
    at_once: Arc<Semaphore>,
    /// Those who are answered, and those who wait.
    queue: Arc<Semaphore>,
}

impl Work {
    pub fn new(
        (thread, header): (ModelThread, Header),
        model: String,
        catalogue: Option<Identifier>,
        training: Option<Training>,
        queue: usize,
        longest: f64,
    ) -> Self {
        let (at_once, queue) = (Semaphore::new(AT_ONCE), Semaphore::new(queue.min(Semaphore::MAX_PERMITS)));
        Self { thread, header, model, catalogue, training, longest, at_once: Arc::new(at_once), queue: Arc::new(queue) }
    }

    /// The threads that it needs.
    pub fn threads(&self) -> usize {
        AT_ONCE
    }

    /// What is there.
    pub fn there(&self) -> There {
        There { catalogue: self.catalogue.is_some(), training: self.training.is_some() }
    }

    /// What trains.
    ///
    /// # Errors
    /// Where nothing does.
    pub fn training(&self) -> Result<&Training, Refusal> {
        self.training.as_ref().ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "nothing is trained here"))
    }

    /// Starts training, once all recordings are decoded; the response's body.
    pub async fn train(self: Arc<Self>, asked: Asked, sent: Labelled) -> Result<Value, Refusal> {
        self.in_turn(move |work| {
            let training = work.training()?;
            let Labelled { recordings, memory } = sent;
            let recordings = training::decoded(recordings, work.longest)?;
            drop(memory);
            training.begin(recordings, &asked)
        })
        .await?
    }

    /// The description of the model in answers.
    pub fn describe(&self) -> Value {
        let Header { front_end, classes, .. } = &self.header;
        json!({
            "model": self.model,
            "songs": classes,
            "recipe": self.header.recipe.name(),
            "sample_rate": front_end.sample_rate,
            "channels": front_end.channels,
            "window_seconds": front_end.window as f64 / f64::from(front_end.sample_rate),
            "threshold": self.header.unknown_threshold,
            "longest_seconds": self.longest,
        })
    }

    /// The answer for a recording, in its turn.
    pub async fn answer(
        self: Arc<Self>,
        route: Route,
        asked: Asked,
        sent: Sent,
    ) -> Result<(StatusCode, Value), Refusal> {
        self.in_turn(move |work| work.compute(route, &asked, sent)).await
    }

    /// Computes something off the thread of the connections, when it is its turn.
    async fn in_turn<T: Send + 'static>(
        self: Arc<Self>,
        compute: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let _place = self.queue.clone().try_acquire_owned().map_err(|_| Refusal::busy())?;
        let turn = self.at_once.clone().acquire_owned().await.map_err(|_| Refusal::busy())?;
        let computed = tokio::task::spawn_blocking(move || {
            // Kept until the answer is ready, even if the client has gone.
            let _turn = turn;
            compute(&self)
        });
        computed.await.map_err(|e| {
            tell_error(format!("an answer could not be computed: {e}"));
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be computed; the server says why")
        })
    }

    fn compute(&self, route: Route, asked: &Asked, sent: Sent) -> (StatusCode, Value) {
        let Sent { bytes, name, memory } = sent;
        let name = name_of(asked.name.as_deref().or(name.as_deref()));
        let threshold = Threshold {
            value: asked.min_confidence.unwrap_or(self.header.unknown_threshold),
            of_model: asked.min_confidence.is_none(),
        };
        let path = Path::new(&name);
        let answered = match (route, &self.catalogue) {
            (Route::Identify, Some(catalogue)) => decode(bytes, path, None, self.longest).and_then(|audio| {
                drop(memory);
                identify::answer(catalogue, &name, audio, asked.top, asked.anywhere)
            }),
            _ => decode(bytes, path, Some(self.header.front_end.sample_rate), self.longest).and_then(|audio| {
                drop(memory);
                self.thread.ask(Question { name: name.clone(), audio, top: asked.top, threshold })
            }),
        };
        match answered {
            Ok(answer) => (StatusCode::OK, answer),
            Err(error @ Error::File { .. }) if matches!(route, Route::Identify) => {
                let why = sent::unread(&name, &error, 0.0)["error"].take();
                let answer = json!({"file": name, "unknown": true, "candidates": [], "error": why});
                (StatusCode::UNPROCESSABLE_ENTITY, answer)
            }
            Err(error @ Error::File { .. }) => {
                (StatusCode::UNPROCESSABLE_ENTITY, sent::unread(&name, &error, threshold.value))
            }
            Err(error) => {
                tell_error(plain(&error.to_string()));
                (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": error.to_string() }))
            }
        }
    }
}

/// A name for messages and answers, of what a client says its file is called: the last part of it, for some send whole paths.
/// Nothing is looked for under it.
pub(super) fn name_of(given: Option<&str>) -> String {
    let last = given.unwrap_or_default().rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    if name.trim_matches(['.', ' ']).is_empty() { "recording".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn names_are_no_paths() {
        let cases = [
            (Some("clip.wav"), "clip.wav"),
            (Some("/etc/passwd"), "passwd"),
            (Some("..\\..\\a.wav"), "a.wav"),
            (Some(".."), "recording"),
            (Some("a/"), "recording"),
            (Some("a\nb"), "ab"),
            (None, "recording"),
        ];
        for (given, name) in cases {
            assert_eq!(name_of(given), name, "{given:?}");
        }
        assert_eq!(name_of(Some(&"x".repeat(1000))).len(), 200);
    }
}
