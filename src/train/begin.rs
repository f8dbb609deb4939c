//! How a run begins: anew, with the weights that it is given, or from a checkpoint.

use super::base;
use super::checkpoint::{Checkpoint, Progress, Recordings};
use super::config::{Config, Init};
use super::engine::Engine;
use super::folder::RunFolder;
use super::model::{Header, Model, file_of, load_weights, model_states};
use super::tables::Steps;
use super::trainer::{Job, Start, Watch, files};
use super::weights::{Weights, write_whole};
use crate::data::Dataset;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// How a run begins.
pub(super) struct Begun {
    /// Whether it goes on from a checkpoint, which was restored.
    pub resumed: bool,
    /// How far it has come.
    pub progress: Progress,
    /// The file of its steps.
    pub steps: Steps,
    /// The best model so far, where the checkpoint has it.
    pub best: Option<Model>,
}

/// Begins a run in its folder, or goes on there.
pub(super) fn begin(
    job: &Job<'_>,
    recordings: &Recordings,
    names: &[String],
    engine: &mut Engine,
    watch: &mut dyn Watch,
) -> Result<Begun> {
    let Job { config, .. } = *job;
    let path = |name: &str| job.out.join(name);
    let at = path(files::CHECKPOINT);
    // A run that was killed before its first checkpoint has done nothing yet.
    if job.start != Start::New && at.exists() {
        let mut checkpoint = Checkpoint::read(&at)?;
        if job.start == Start::Longer {
            checkpoint.lengthen(config, job.out)?;
        }
        checkpoint.check(config, recordings, &at)?;
        if checkpoint.progress.finished && job.start == Start::Resume {
            return Err(finished(job.out, config));
        }
        checkpoint.restore(&mut *engine.session, &at)?;
        let steps = Steps::resume(&path(files::STEPS), checkpoint.progress.step)?;
        return Ok(Begun { resumed: true, progress: checkpoint.progress, steps, best: checkpoint.best });
    }
    initialise(engine, &config.init, names, watch)?;
    if job.start == Start::New {
        RunFolder::check_free(job.out)?;
    }
    std::fs::create_dir_all(job.out).map_err(|e| Error::file(job.out, format!("cannot be made: {e}")))?;
    write_whole(&path(files::CONFIG), config.to_toml()?.as_bytes())?;
    let steps = Steps::create(&path(files::STEPS))?;
    Ok(Begun { resumed: false, progress: Progress::default(), steps, best: None })
}

/// That there is nothing left to do.
pub(super) fn finished(folder: &Path, config: &Config) -> Error {
    let epochs = config.epochs;
    let more = if config.folds.is_some() {
        String::new()
    } else {
        format!("; setting `epochs` with more than {epochs} trains on")
    };
    Error::file(folder, format!("this run is finished; there is nothing to resume{more}"))
}

/// What the models of a run say of themselves before they are trained.
pub(super) fn header(config: &Config, data: &Dataset, outputs: usize) -> Header {
    Header::before_training(config.recipe, data.classes.clone(), outputs, config.init.name())
}

/// The weights that a run begins with, where they are not freshly drawn; where they come from; and whether they are a model's of
/// other songs, which lends all but its last layer.
///
/// # Errors
/// Where they cannot be read.
pub fn initial_weights(init: &Init, names: &[String]) -> Result<Option<(Weights, PathBuf, bool)>> {
    let (weights, path) = match init {
        Init::Fresh => return Ok(None),
        Init::Base => (base::weights()?, PathBuf::from(init.describe())),
        Init::File(path) => {
            let path = file_of(path)?;
            (Weights::read(&path)?, path)
        }
    };
    // Weights without a description of ours, such as PyTorch's, have to fit as they are.
    let others = Model::describe(&weights, &path)?.is_some_and(|header| header.names() != names);
    Ok(Some((weights, path, others)))
}

fn initialise(engine: &mut Engine, init: &Init, names: &[String], watch: &mut dyn Watch) -> Result<()> {
    let Some((weights, path, others)) = initial_weights(init, names)? else { return Ok(()) };
    load_weights(&mut *engine.session, &weights, &path, others)?;
    if others && *init != Init::Base {
        let skipped: Vec<String> = model_states(engine.session.states())
            .iter()
            .filter(|state| state.name.starts_with("lin."))
            .map(|state| format!("`{}`", state.name))
            .collect();
        watch.note(&format!("{} knows other songs: {} begin anew", path.display(), skipped.join(" and ")));
    }
    Ok(())
}
