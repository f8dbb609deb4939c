//! Training on recordings that were sent: one model at a time, in memory, on a thread of its own.

use super::api::Asked;
use super::upload::{Refusal, Sent};
use super::work::name_of;
use crate::cli::predict::sent::{decode, unread};
use crate::cli::tell_error;
use crate::data::alike::composed;
use crate::data::labels::parse_name;
use crate::device::{Device, DeviceChoice};
use crate::train::Recipe;
use crate::train::base;
use crate::train::elsewhere::{Driver, Epoch, Recording, Teacher};
use crate::{Error, Result};
use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Seconds of all recordings together: at the model's rate, 115 MB of samples in each channel.
const MOST_SECONDS: f64 = 3600.0;
/// The longest name of a song, in bytes, as folders have it.
const LONGEST_SONG: usize = 200;

/// What trains, and what it has trained last.
pub(super) struct Training {
    choice: DeviceChoice,
    longest: Duration,
    now: Arc<Mutex<Now>>,
}

/// How it stands.
#[derive(Default)]
struct Now {
    state: State,
    /// How often training has begun.
    number: u64,
    songs: Vec<String>,
    recordings: usize,
    epochs: usize,
    history: Vec<Epoch>,
    warnings: Vec<String>,
    seconds: f64,
    error: Option<String>,
    model: Option<Bytes>,
    /// Set to stop it; there as long as the thread is.
    stop: Option<Arc<AtomicBool>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    None,
    Training,
    Done,
    Stopped,
    Failed,
}

impl Now {
    fn json(&self) -> Value {
        let state = match self.state {
            State::None => "none",
            State::Training => "training",
            State::Done => "done",
            State::Stopped => "stopped",
            State::Failed => "failed",
        };
        let epoch = |epoch: &Epoch| {
            json!({
                "epoch": epoch.epoch,
                "train_loss": epoch.train_loss,
                "train_accuracy": epoch.train_accuracy,
                "val_loss": epoch.val_loss,
                "val_accuracy": epoch.val_accuracy,
                "best": epoch.best,
            })
        };
        let mut told = json!({
            "state": state,
            "number": self.number,
            "songs": self.songs,
            "recordings": self.recordings,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "history": self.history.iter().map(epoch).collect::<Vec<_>>(),
            "error": self.error,
        });
        if !self.warnings.is_empty() {
            told["warnings"] = json!(self.warnings);
        }
        told
    }
}

impl Training {
    /// On this device, for so long at most.
    pub fn new(choice: DeviceChoice, longest: Duration) -> Self {
        Self { choice, longest, now: Arc::default() }
    }

    /// Whether nothing is trained.
    ///
    /// # Errors
    /// Where something is.
    pub fn check_free(&self) -> Result<(), Refusal> {
        free(&lock(&self.now))
    }

    /// Begins to train.
    ///
    /// # Errors
    /// Where something is trained already, or these recordings cannot be trained on.
    pub fn begin(&self, given: Decoded, asked: &Asked) -> Result<Value, Refusal> {
        let Decoded { recordings, warnings } = given;
        let count = recordings.len();
        let refused = |error: Error| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
        let teacher = Teacher::new(recordings, base::FILE, asked.seed, asked.epochs).map_err(refused)?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut now = lock(&self.now);
        free(&now)?;
        let begun = Now {
            state: State::Training,
            number: now.number + 1,
            songs: teacher.songs().to_vec(),
            recordings: count,
            epochs: teacher.config().epochs,
            warnings,
            stop: Some(stop.clone()),
            ..Now::default()
        };
        let thread = Thread { choice: self.choice, longest: self.longest, now: self.now.clone(), stop };
        // It waits for the lock before it changes anything.
        let started = std::thread::Builder::new().name("training".into()).spawn(move || thread.run(teacher));
        if let Err(error) = started {
            tell_error(format!("no thread can be started for training: {error}"));
            return Err(Refusal::busy());
        }
        *now = begun;
        Ok(now.json())
    }

    /// How it stands.
    pub fn state(&self) -> Value {
        lock(&self.now).json()
    }

    /// Stops it after the step in progress; where nothing is trained, the last model is forgotten.
    pub fn stop(&self) -> Value {
        let mut now = lock(&self.now);
        match &now.stop {
            Some(stop) => {
                stop.store(true, Ordering::Relaxed);
                now.state = State::Stopped;
            }
            None => *now = Now { number: now.number, ..Now::default() },
        }
        now.json()
    }

    /// The model that was trained last.
    ///
    /// # Errors
    /// Where there is none.
    pub fn model(&self) -> Result<Bytes, Refusal> {
        let none = || Refusal::new(StatusCode::NOT_FOUND, "there is no trained model; GET /train says how it stands");
        lock(&self.now).model.clone().ok_or_else(none)
    }
}

fn free(now: &Now) -> Result<(), Refusal> {
    match now.stop {
        Some(_) => Err(Refusal::new(
            StatusCode::CONFLICT,
            "something is trained already: GET /train says how far it is, DELETE /train stops it",
        )),
        None => Ok(()),
    }
}

/// What no fault of a thread leaves half changed.
fn lock(now: &Mutex<Now>) -> MutexGuard<'_, Now> {
    now.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What trains, on a thread of its own.
struct Thread {
    choice: DeviceChoice,
    longest: Duration,
    now: Arc<Mutex<Now>>,
    stop: Arc<AtomicBool>,
}

impl Thread {
    fn run(self, teacher: Teacher) {
        let started = Instant::now();
        let ended = catch_unwind(AssertUnwindSafe(|| self.train(teacher, started)));
        let mut now = lock(&self.now);
        now.stop = None;
        now.seconds = started.elapsed().as_secs_f64();
        let failed = match ended {
            // Whoever stopped it wants no model, however near it was.
            Ok(Ok(_)) if now.state == State::Stopped => return,
            Ok(Ok(Some(model))) => {
                (now.state, now.model) = (State::Done, Some(model));
                return;
            }
            Ok(Ok(None)) => format!("took longer than {} s (--max-training), and was stopped", self.longest.as_secs()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "training failed at a fault of the program; the server says why".into(),
        };
        (now.state, now.error) = (State::Failed, Some(failed));
    }

    /// A model's file; none where it was stopped.
    fn train(&self, teacher: Teacher, started: Instant) -> Result<Option<Bytes>> {
        let mut driver = Driver::new(teacher, &Device::choose_for_little(self.choice)?)?;
        let stopped = || self.stop.load(Ordering::Relaxed) || started.elapsed() > self.longest;
        while let Some(epoch) = driver.epoch(stopped)? {
            let mut now = lock(&self.now);
            now.history.push(epoch);
            now.seconds = started.elapsed().as_secs_f64();
        }
        if stopped() {
            return Ok(None);
        }
        driver.finish()?.to_bytes().map(|bytes| Some(Bytes::from(bytes)))
    }
}

/// Recordings that were read, and what was wrong with them.
pub(super) struct Decoded {
    recordings: Vec<Recording>,
    warnings: Vec<String>,
}

/// Decodes recordings, each of at most `longest` seconds.
///
/// # Errors
/// Where a song has no name that a folder could have, two recordings of one have one name, one cannot be read, or they are too long.
pub(super) fn decoded(given: Vec<(String, Sent)>, longest: f64) -> Result<Decoded, Refusal> {
    let mut decoded = Decoded { recordings: Vec::new(), warnings: Vec::new() };
    let (mut ids, mut seconds) = (BTreeSet::new(), 0.0);
    let rate = Recipe::Melody.front_end().sample_rate;
    for (song, Sent { bytes, name, .. }) in given {
        check_song(&song)?;
        let song = composed(&song);
        let name = name_of(name.as_deref());
        let id = format!("{song}/{name}");
        if !ids.insert(id.clone()) {
            let text = format!("two recordings are called {id}: give one of them another file name");
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, text));
        }
        let audio = decode(bytes, Path::new(&name), Some(rate), longest).map_err(|error| {
            let why = unread(&id, &error, 0.0)["error"].take();
            let text = format!("{id}: {}", why.as_str().unwrap_or("cannot be read"));
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, text)
        })?;
        decoded.warnings.extend(audio.warnings.iter().map(|warning| format!("{id}: {warning}")));
        seconds += audio.seconds();
        if seconds > MOST_SECONDS {
            let text = format!("{MOST_SECONDS} s of recordings are taken at most, and these last longer");
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, text));
        }
        decoded.recordings.push(Recording { song, name, audio, person: None });
    }
    // As `train` reads folders: where names tell the singers, they are known.
    let told = |recording: &Recording| {
        let (person, song) = parse_name(&recording.name)?;
        (song == recording.song).then(|| person.to_string())
    };
    if decoded.recordings.iter().all(|recording| told(recording).is_some()) {
        decoded.recordings.iter_mut().for_each(|recording| recording.person = told(recording));
    }
    Ok(decoded)
}

/// Whether a song may have this name: one that a folder could have everywhere, so that `train` can be given the same.
fn check_song(song: &str) -> Result<(), Refusal> {
    let bad = |c: char| c.is_control() || "/\\:*?\"<>|".contains(c);
    if song.is_empty()
        || song.len() > LONGEST_SONG
        || song.starts_with('.')
        || song.ends_with('.')
        || song.contains(bad)
    {
        let shown: String = song.chars().filter(|c| !c.is_control()).take(60).collect();
        let text = format!(
            "`{shown}` is no name for a song: a field is named like its song, without / \\ : * ? \" < > | and not \
             beginning or ending with a dot"
        );
        return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
    }
    Ok(())
}
