//! A whole `train` command: one run, or one for each fold of a cross-validation.

use super::config::Config;
use super::metrics::{Metrics, Prediction, mean_and_spread};
use super::report::Report;
use super::source;
use super::tables::write_predictions;
use super::trainer::{self, Job, Outcome, Start, Watch, files, train};
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
    Folds(Folds),
    /// Stopped from outside in this fold, counted from 1.
    StoppedInFold(usize),
}

/// The outcome of a cross-validation.
#[derive(Clone, Debug)]
pub struct Folds {
    /// Of each fold.
    pub folds: Vec<Metrics>,
    /// Of all clips together, each predicted by the model that had not heard it.
    pub pooled: Metrics,
    /// Mean and sample standard deviation of the folds' accuracies.
    pub accuracy: (f64, f64),
}

/// Loads the data, trains, and leaves a run folder; with folds, a folder in it for each.
///
/// # Errors
/// As [`train`]; nothing is written before the data are known to be usable.
pub fn run(
    config: &Config,
    data: &Dataset,
    device: &Device,
    out: &Path,
    start: Start,
    stop: &AtomicBool,
    watch: &mut dyn Watch,
) -> Result<Ending> {
    let splits = source::splits(config, data)?;
    source::outputs(config, data)?;
    if config.folds.is_none() {
        let job = Job { config, data, split: &splits[0], device, out, start, stop };
        return Ok(Ending::Single(Box::new(train(&job, watch)?)));
    }
    let summary = out.join("folds.csv");
    if start == Start::Resume && summary.exists() {
        return Err(Error::file(out, "this run is finished; there is nothing to resume"));
    }
    if start == Start::New && out.exists() && std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::file(out, "is not empty; name another --out, or go on with --resume"));
    }
    std::fs::create_dir_all(out).map_err(|e| Error::file(out, format!("cannot be made: {e}")))?;
    write_whole(&out.join(files::CONFIG), config.to_toml()?.as_bytes())?;
    let mut outcomes = Vec::new();
    for (i, split) in splits.iter().enumerate() {
        watch.note(&format!("fold {} of {}", i + 1, splits.len()));
        let folder = out.join(format!("fold-{}", i + 1));
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
    let folds = summarise(config, data, device, out, outcomes)?;
    write_folds(&summary, &folds.folds)?;
    Ok(Ending::Folds(folds))
}

fn summarise(config: &Config, data: &Dataset, device: &Device, out: &Path, outcomes: Vec<Outcome>) -> Result<Folds> {
    let names = trainer::header(config, data, source::outputs(config, data)?).names();
    let mut predictions: Vec<Prediction> = outcomes.iter().flat_map(|o| o.predictions.iter().cloned()).collect();
    predictions.sort_by(|a, b| a.id.cmp(&b.id));
    let pooled = Metrics::new(&predictions, &names);
    write_predictions(&out.join(files::PREDICTIONS), &predictions, &names)?;
    let folds: Vec<Metrics> = outcomes.into_iter().filter_map(|outcome| outcome.metrics).collect();
    let accuracies: Vec<f64> = folds.iter().map(|metrics| metrics.accuracy).collect();
    let accuracy = mean_and_spread(&accuracies);
    let status = format!(
        "{} folds, accuracy {:.2} % with a spread of {:.2}; each clip is judged by the model that never heard its fold",
        folds.len(),
        100.0 * accuracy.0,
        100.0 * accuracy.1
    );
    let all: Vec<usize> = (0..data.clips.len()).collect();
    let clips = (all.len(), source::people(data, &all));
    let report = Report {
        config,
        status: &status,
        device: &device.to_string(),
        train: clips,
        validation: clips,
        parameters: 0,
        model_epoch: 0,
        names: &names,
        epochs: &[],
        steps: &[],
        metrics: Some(&pooled),
        predictions: &predictions,
        confidence: None,
        pictures: &[],
        left_out: &data.left_out,
        warnings: &data.warnings,
    };
    report.write(&out.join(files::REPORT))?;
    Ok(Folds { folds, pooled, accuracy })
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

/// `runs/<time>-<recipe>`: a folder that is not there yet. The time is in UTC, to the second.
pub fn default_folder(config: &Config) -> PathBuf {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let name = format!("{}-{}", timestamp(seconds), config.recipe);
    let folder = |suffix: String| Path::new("runs").join(format!("{name}{suffix}"));
    let free = (2..).map(|n| folder(format!("-{n}"))).find(|path| !path.exists());
    match folder(String::new()) {
        path if !path.exists() => path,
        path => free.unwrap_or(path),
    }
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
