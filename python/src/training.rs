//! Training.

use crate::errors::raised;
use crate::model::Model;
use crate::recordings::{Given, labelled};
use crate::work::watched;
use humdinger::data::Dataset;
use humdinger::train::Settings;
use humdinger::train::fit::{Fitted, fit as train};
use humdinger::train::tables::EpochRow;
use humdinger::train::trainer::Watch;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};

/// What a run tells, on its way to Python.
enum Told {
    Warning(String),
    Note(String),
    Step { epoch: usize, done: usize, of: usize, loss: f32 },
    Epoch { row: EpochRow, best: bool },
}

struct Messenger(Sender<Told>);

impl Messenger {
    fn send(&self, told: Told) {
        // Nobody listens any more where the run was interrupted.
        drop(self.0.send(told));
    }
}

impl Watch for Messenger {
    fn note(&mut self, text: &str) {
        self.send(Told::Note(text.into()));
    }

    fn step(&mut self, epoch: usize, done: usize, of: usize, loss: f32) {
        self.send(Told::Step { epoch, done, of, loss });
    }

    fn epoch(&mut self, row: &EpochRow, best: bool) {
        self.send(Told::Epoch { row: row.clone(), best });
    }
}

/// Trains a model; `settings` are JSON, by the names that `config.toml` has. `tell` is called with a word and what belongs to it. Gives the
/// model and how training went.
#[pyfunction]
#[pyo3(signature = (recordings, songs, people, settings, out, tell))]
pub fn fit<'py>(
    py: Python<'py>,
    recordings: Vec<Given<'_>>,
    songs: Vec<String>,
    people: Option<Vec<String>>,
    settings: &str,
    out: Option<PathBuf>,
    tell: Bound<'py, PyAny>,
) -> PyResult<(Model, Bound<'py, PyDict>)> {
    let recordings = labelled(&recordings, songs, people)?;
    let settings: Settings =
        serde_json::from_str(settings).map_err(|e| PyValueError::new_err(format!("settings: {e}")))?;
    let recipe = settings.recipe.unwrap_or_default();
    let device = settings.device.clone().unwrap_or_else(|| "auto".into());
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let (sender, told) = channel();
    let tell = |told: Told| {
        match told {
            Told::Warning(text) => tell.call1(("warning", text))?,
            Told::Note(text) => tell.call1(("note", text))?,
            Told::Step { epoch, done, of, loss } => tell.call1(("step", epoch, done, of, loss))?,
            Told::Epoch { row, best } => tell.call1((
                "epoch",
                row.epoch,
                row.train_loss,
                row.train_accuracy,
                row.val_loss,
                row.val_accuracy,
                best,
            ))?,
        };
        Ok(())
    };
    let work = move || -> humdinger::Result<Fitted> {
        let data = Dataset::of_recordings(recordings, &recipe.load_options(), &stopped)?;
        let mut messenger = Messenger(sender);
        data.warnings.iter().for_each(|text| messenger.send(Told::Warning(text.clone())));
        train(settings, &data, out.as_deref(), &stopped, &mut messenger)
    };
    let fitted = watched(py, &stop, told, tell, work)?.map_err(raised)?;
    let outcome = PyDict::new(py);
    outcome.set_item("steps", fitted.outcome.steps)?;
    outcome.set_item("epochs", fitted.outcome.rows.len())?;
    outcome.set_item("best_epoch", fitted.outcome.model_epoch)?;
    outcome.set_item("accuracy", fitted.outcome.metrics.as_ref().map(|metrics| metrics.accuracy))?;
    outcome.set_item("interval", fitted.outcome.metrics.as_ref().map(|metrics| metrics.interval))?;
    outcome.set_item("baseline", fitted.outcome.metrics.as_ref().map(|metrics| metrics.baseline))?;
    outcome.set_item("clips", fitted.outcome.metrics.as_ref().map(|metrics| metrics.clips))?;
    outcome.set_item("loss", fitted.outcome.metrics.as_ref().map(|metrics| metrics.loss))?;
    let model = Model::new(fitted.model, Path::new("the fitted model"), &device)?;
    Ok((model, outcome))
}
