//! A whole `train` command: one run, or one for each fold of a cross-validation.

use super::begin::{self, initial_weights};
use super::checkpoint::Checkpoint;
use super::config::{Config, Settings};
use super::folder::RunFolder;
use super::metrics::{Metrics, Prediction, mean_and_spread};
use super::model::fitting;
use super::network::Network;
use super::report::{Report, last_part};
use super::source;
use super::tables::write_predictions;
use super::together::Together;
use super::trainer::{Job, Outcome, Start, Watch, files, train};
use super::weights::write_whole;
use crate::data::Dataset;
use crate::device::Device;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

/// How a `train` command ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// One run.
    Single(Box<Outcome>),
    /// All folds.
    Folds(Box<Folds>),
    /// Stopped from outside in this fold, counted from 1.
    StoppedInFold(usize),
}

/// The outcome of a cross-validation.
#[derive(Clone, Debug)]
pub struct Folds {
    /// Of each fold.
    pub folds: Vec<Metrics>,
    /// Of all clips together, each predicted by the fold's model that was not trained on it.
    pub pooled: Metrics,
    /// Mean and sample standard deviation of the folds' accuracies.
    pub accuracy: (f64, f64),
    /// Of all clips, in order of name, each by the model that was not trained on it.
    pub predictions: Vec<Prediction>,
    /// Names of the outputs.
    pub names: Vec<String>,
}

/// Whether a new run of this configuration on these data can begin: that they can be split so, that there are outputs enough,
/// and that the initial weights fit. Nothing is made or changed.
///
/// # Errors
/// Says what is wrong.
pub fn check(config: &Config, data: &Dataset) -> Result<()> {
    source::splits(config, data)?;
    let outputs = source::outputs(config, data)?;
    if let Some((weights, path, others)) = initial_weights(&config.init, &source::names(data, outputs))? {
        let front_end = config.recipe.front_end();
        let (network, _) = Network::new(config.recipe, &front_end, outputs, config.seed, false)?;
        fitting(&network.states, &weights, &path, others)?;
    }
    Ok(())
}

/// Whether there is something left to do in a run folder, and its checkpoint is of this configuration; with [`Start::Longer`] but for
/// the number of epochs.
///
/// # Errors
/// Where the run is finished, or its checkpoint cannot be read or is another run's.
pub fn check_unfinished(folder: &Path, config: &Config, start: Start) -> Result<()> {
    let at = folder.join(files::CHECKPOINT);
    let finished = if config.folds.is_some() {
        folder.join(FOLDS).exists()
    } else if at.exists() {
        let mut checkpoint = Checkpoint::read(&at)?;
        if start == Start::Longer {
            checkpoint.lengthen(config, folder)?;
        }
        checkpoint.check(config, &checkpoint.data, &at)?;
        checkpoint.progress.finished
    } else {
        false
    };
    if finished { Err(begin::finished(folder, config)) } else { Ok(()) }
}

/// The table of a cross-validation's folds, in the run folder.
const FOLDS: &str = "folds.csv";

/// Trains, and leaves a run folder; with folds, a folder in it for each. See [`check`] for what must hold before.
///
/// # Errors
/// As [`train`].
pub fn run(
    config: &Config,
    data: &Dataset,
    device: &Device,
    folder: &RunFolder,
    start: Start,
    stop: &AtomicBool,
    watch: &mut dyn Watch,
) -> Result<Ending> {
    let out = folder.path();
    let splits = source::splits(config, data)?;
    if config.folds.is_none() {
        let job = Job { config, data, split: &splits[0], device, out, start, stop };
        return Ok(Ending::Single(Box::new(train(&job, watch)?)));
    }
    let mut together = Together::new(device.ranks().map(|ranks| &**ranks));
    if together.writes() {
        let written = write_whole(&out.join(files::CONFIG), config.to_toml()?.as_bytes());
        together.own(written)?;
    }
    together.meet()?;
    let mut outcomes = Vec::new();
    for (i, split) in splits.iter().enumerate() {
        watch.note(&format!("fold {} of {}", i + 1, splits.len()));
        let folder = fold_folder(out, i + 1);
        let start = if start == Start::New { Start::New } else { Start::Complete };
        let outcome = train(&Job { config, data, split, device, out: &folder, start, stop }, watch)?;
        if !outcome.finished {
            return Ok(Ending::StoppedInFold(i + 1));
        }
        if let Some(metrics) = &outcome.metrics {
            watch.note(&format!("fold {}: accuracy {:.2} %", i + 1, 100.0 * metrics.accuracy));
        }
        outcomes.push(outcome);
    }
    let folds = summarise(config, data, outcomes)?;
    if together.writes() {
        let written = write_summary(config, data, device, out, &folds);
        together.own(written)?;
    }
    together.meet()?;
    Ok(Ending::Folds(Box::new(folds)))
}

/// The settings of a run folder.
///
/// # Errors
/// Where it is none, or they cannot be understood.
pub fn settings_of(folder: &Path) -> Result<Settings> {
    let file = folder.join(files::CONFIG);
    let text = std::fs::read_to_string(&file)
        .map_err(|e| Error::file(folder, format!("is not a run folder: {} cannot be read: {e}", files::CONFIG)))?;
    Ok(Settings::parse(&text).map_err(|detail| Error::file(&file, detail))?.of_earlier_runs())
}

/// The folder of a fold, counted from 1.
pub fn fold_folder(out: &Path, number: usize) -> PathBuf {
    out.join(format!("fold-{number}"))
}

/// That there is a fold of this number, where one is asked for.
///
/// # Errors
/// Says what is wrong.
pub fn check_fold(config: &Config, number: Option<usize>) -> Result<()> {
    match (config.folds, number) {
        (_, None) => Ok(()),
        (None, Some(_)) => Err(Error::usage("fold", "of how many? Add setting `folds`")),
        (Some(count), Some(number)) => super::config::whole("fold", number, 1, count),
    }
}

/// Trains one fold of a cross-validation, counted from 1, to the same bits as [`run`] does. Its folder in `out` belongs to this process
/// alone, so that others can train the other folds meanwhile; one that was begun is gone on with, one that is finished only
/// evaluated again. [`check_folds`] says whether all are done; [`run`] with [`Start::Complete`] then puts them together.
///
/// # Errors
/// As [`train`]; also where `out` holds folds of other settings, or another process is at work on this one.
pub fn fold(
    config: &Config,
    data: &Dataset,
    device: &Device,
    out: &Path,
    number: usize,
    stop: &AtomicBool,
    watch: &mut dyn Watch,
) -> Result<Outcome> {
    check_fold(config, Some(number))?;
    let splits = source::splits(config, data)?;
    let at = out.join(files::CONFIG);
    if at.exists() {
        let different = settings_of(out)?.resolve()?.differences(config);
        if !different.is_empty() {
            let detail = format!(
                "holds folds of other settings ({}); name another folder (setting `out`)",
                different.join(", ")
            );
            return Err(Error::file(out, detail));
        }
    } else {
        // Other folds of this cross-validation may have started a moment ago; anything else here is not ours.
        let others = std::fs::read_dir(out).into_iter().flatten().flatten();
        let others = others.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let foreign = |name: &String| !name.starts_with("fold-") && !name.starts_with('.') && name != files::CONFIG;
        if others.into_iter().any(|name| foreign(&name)) {
            return Err(Error::file(out, "is not empty; name another folder (setting `out`)"));
        }
        std::fs::create_dir_all(out).map_err(|e| Error::file(out, format!("cannot be made: {e}")))?;
        write_whole(&at, config.to_toml()?.as_bytes())?;
    }
    let inner = fold_folder(out, number);
    let begun = inner.join(files::CONFIG).exists();
    let folder = if begun { RunFolder::open(&inner)? } else { RunFolder::create(&inner)? };
    let start = if begun { Start::Complete } else { Start::New };
    train(&Job { config, data, split: &splits[number - 1], device, out: folder.path(), start, stop }, watch)
}

/// That all folds of a cross-validation are trained.
///
/// # Errors
/// Names those that are not.
pub fn check_folds(out: &Path, config: &Config) -> Result<()> {
    let Some(count) = config.folds else {
        return Err(Error::file(out, "is a single run, not the folds of a cross-validation"));
    };
    let finished = |number: usize| -> Result<bool> {
        let at = fold_folder(out, number).join(files::CHECKPOINT);
        Ok(at.exists() && Checkpoint::read(&at)?.progress.finished)
    };
    let mut missing = Vec::new();
    for number in 1..=count {
        if !finished(number)? {
            missing.push(number.to_string());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let (folds, first) = (missing.join(", "), &missing[0]);
    let detail =
        format!("of its {count} folds these are not finished: {folds}; train them as with setting `fold` = `{first}`");
    Err(Error::file(out, detail))
}

fn summarise(config: &Config, data: &Dataset, outcomes: Vec<Outcome>) -> Result<Folds> {
    let names = source::names(data, source::outputs(config, data)?);
    let mut predictions: Vec<Prediction> = outcomes.iter().flat_map(|o| o.predictions.iter().cloned()).collect();
    predictions.sort_by(|a, b| a.id.cmp(&b.id));
    let pooled = Metrics::new(&predictions, &names);
    let folds: Vec<Metrics> = outcomes.into_iter().filter_map(|outcome| outcome.metrics).collect();
    let accuracies: Vec<f64> = folds.iter().map(|metrics| metrics.accuracy).collect();
    let accuracy = mean_and_spread(&accuracies);
    Ok(Folds { folds, pooled, accuracy, predictions, names })
}

/// The files of a cross-validation as a whole.
fn write_summary(
    config: &Config,
    data: &Dataset,
    device: &Device,
    out: &Path,
    Folds { folds, pooled, accuracy, predictions, names }: &Folds,
) -> Result<()> {
    write_predictions(&out.join(files::PREDICTIONS), predictions, names)?;
    let status = format!(
        "{} folds, accuracy {:.2} % with a spread of {:.2}",
        folds.len(),
        100.0 * accuracy.0,
        100.0 * accuracy.1
    );
    let report = Report {
        data_name: source::data_name(config),
        run_name: last_part(out),
        status: &status,
        written: &now(),
        device: &device.to_string(),
        names,
        data,
        trained: &[],
        metrics: Some(pooled),
        predictions,
        folds,
        training: None,
        settings: config.table(),
        folder: out.to_path_buf(),
        embed_audio: config.embed_audio,
    };
    report.write(&out.join(files::REPORT))?;
    write_folds(&out.join(FOLDS), folds)
}

fn write_folds(path: &Path, folds: &[Metrics]) -> Result<()> {
    let failed = |e: csv::Error| Error::file(path, format!("cannot be written: {e}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["fold", "clips", "accuracy", "baseline", "loss", "calibration_error"]).map_err(failed)?;
    for (i, m) in folds.iter().enumerate() {
        let numbers = [m.accuracy, m.baseline, m.loss, m.calibration_error].map(|x| x.to_string());
        let record = [(i + 1).to_string(), m.clips.to_string()].into_iter().chain(numbers);
        writer.write_record(record).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|e| Error::file(path, format!("cannot be written: {e}")))?;
    write_whole(path, &bytes)
}

/// Names for a run folder, in order of preference: `runs/<time>-<recipe>`, and the same with a number. The time is in UTC, to
/// the second.
pub fn default_folders(config: &Config) -> impl Iterator<Item = PathBuf> {
    let name = format!("{}-{}", timestamp(seconds_since_1970()), config.recipe);
    let suffixes = std::iter::once(String::new()).chain((2..1000).map(|n| format!("-{n}")));
    suffixes.map(move |suffix| Path::new("runs").join(format!("{name}{suffix}")))
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// This moment for people, to the minute.
pub fn now() -> String {
    let text = timestamp(seconds_since_1970());
    let part = |range| text.get(range).unwrap_or_default();
    format!("{}-{}-{}, {}:{} UTC", part(0..4), part(4..6), part(6..8), part(9..11), part(11..13))
}

/// `20260131-235959` in UTC, of seconds since 1970.
fn timestamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's days-to-civil, from 0000-03-01 on.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_of_known_moments() {
        assert_eq!(timestamp(0), "19700101-000000");
        assert_eq!(timestamp(951_827_696), "20000229-123456");
        assert_eq!(timestamp(1_798_761_599), "20261231-235959");
    }
}
