//! The run folder's CSV files.

use super::metrics::Prediction;
use super::weights::write_whole;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// One line of `epochs.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// Counts from 1.
    pub epoch: usize,
    /// Mean loss of the training clips, in training mode, as the weights changed.
    pub train_loss: f64,
    /// Share of training clips that were right, likewise.
    pub train_accuracy: f64,
    /// Mean cross-entropy of the validation clips after the epoch; empty where nothing validates.
    pub val_loss: Option<f64>,
    /// Share of validation clips that are right after the epoch.
    pub val_accuracy: Option<f64>,
    /// Of the epoch's last step.
    pub learning_rate: f64,
    /// Time that the epoch took.
    pub seconds: f64,
    /// Training clips by the time that training took.
    pub clips_per_second: f64,
}

/// One line of `steps.csv`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// Counts from 1 over the whole run.
    pub step: u64,
    /// Counts from 1.
    pub epoch: usize,
    /// The batch's mean loss.
    pub loss: f32,
    /// The step's learning rate.
    pub learning_rate: f64,
}

/// `steps.csv`, written as training goes.
pub struct Steps {
    path: PathBuf,
    writer: csv::Writer<File>,
}

impl Steps {
    /// A new file with its header.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|e| unwritable(path, e))?;
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(file);
        writer.write_record(["step", "epoch", "loss", "learning_rate"]).map_err(|e| unwritable(path, e))?;
        writer.flush().map_err(|e| unwritable(path, e))?;
        Ok(Self { path: path.into(), writer })
    }

    /// Continues a file after step `steps`: later lines, which a run wrote after its last checkpoint, are cut off.
    ///
    /// # Errors
    /// Where the file cannot be read or written or has fewer steps.
    pub fn resume(path: &Path, steps: u64) -> Result<Self> {
        let text = std::fs::read(path).map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
        let mut ends = text.iter().enumerate().filter(|&(_, &byte)| byte == b'\n').map(|(i, _)| i + 1);
        let Some(end) = usize::try_from(steps).ok().and_then(|steps| ends.nth(steps)) else {
            return Err(Error::file(path, format!("has fewer than the {steps} steps that the checkpoint has made")));
        };
        let file = OpenOptions::new().write(true).open(path).map_err(|e| unwritable(path, e))?;
        file.set_len(end as u64).map_err(|e| unwritable(path, e))?;
        drop(file);
        let file = OpenOptions::new().append(true).open(path).map_err(|e| unwritable(path, e))?;
        let writer = csv::WriterBuilder::new().has_headers(false).from_writer(file);
        Ok(Self { path: path.into(), writer })
    }

    /// Writes a line through to the file.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn add(&mut self, row: &StepRow) -> Result<()> {
        self.writer.serialize(row).map_err(|e| unwritable(&self.path, e))?;
        self.writer.flush().map_err(|e| unwritable(&self.path, e))
    }

    /// Waits until all lines are on the disk, so that not even a power cut leaves fewer than a checkpoint that is written
    /// afterwards speaks of.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn sync(&self) -> Result<()> {
        self.writer.get_ref().sync_data().map_err(|e| unwritable(&self.path, e))
    }
}

fn unwritable(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::file(path, format!("cannot be written: {error}"))
}

/// Reads `steps.csv`.
///
/// # Errors
/// Where it cannot be read or understood.
pub fn read_steps(path: &Path) -> Result<Vec<StepRow>> {
    let mut reader = csv::Reader::from_path(path).map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
    reader.deserialize().map(|row| row.map_err(|e| Error::file(path, e))).collect()
}

/// Reads `epochs.csv`.
///
/// # Errors
/// Where it cannot be read or understood.
pub fn read_epochs(path: &Path) -> Result<Vec<EpochRow>> {
    let mut reader = csv::Reader::from_path(path).map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
    reader.deserialize().map(|row| row.map_err(|e| Error::file(path, e))).collect()
}

/// Writes `epochs.csv`.
///
/// # Errors
/// Where it cannot be written.
pub fn write_epochs(path: &Path, rows: &[EpochRow]) -> Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    let head = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy"];
    let head = head.into_iter().chain(["learning_rate", "seconds", "clips_per_second"]);
    writer.write_record(head).map_err(|e| unwritable(path, e))?;
    for row in rows {
        writer.serialize(row).map_err(|e| unwritable(path, e))?;
    }
    finish(path, writer)
}

/// Writes `predictions.csv`: file, truth, prediction, confidence, and a column of probabilities per name.
///
/// # Errors
/// Where it cannot be written.
pub fn write_predictions(path: &Path, predictions: &[Prediction], names: &[String]) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = ["file", "truth", "prediction", "confidence"].into_iter().chain(names.iter().map(String::as_str));
    writer.write_record(head).map_err(|e| unwritable(path, e))?;
    for prediction in predictions {
        let name = |i: usize| names.get(i).cloned().unwrap_or_default();
        let truth = prediction.truth.map_or(String::new(), name);
        let mut record = vec![prediction.id.clone(), truth, name(prediction.best())];
        record.push(format!("{:.6}", prediction.confidence()));
        record.extend(prediction.probabilities.iter().map(|p| format!("{p:.6}")));
        writer.write_record(record).map_err(|e| unwritable(path, e))?;
    }
    finish(path, writer)
}

fn finish(path: &Path, writer: csv::Writer<Vec<u8>>) -> Result<()> {
    write_whole(path, &writer.into_inner().map_err(|e| unwritable(path, e))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_cut_back_and_continued() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::Data(e.to_string()))?;
        let path = folder.path().join("steps.csv");
        let row = |step: u64| StepRow { step, epoch: 1, loss: 0.1 + step as f32, learning_rate: 1e-3 / 3.0 };
        let mut steps = Steps::create(&path)?;
        (1..=5).try_for_each(|step| steps.add(&row(step)))?;
        let whole = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
        drop(steps);
        // A kill in the middle of a line.
        std::fs::write(&path, &whole[..whole.len() - 3]).map_err(|e| Error::file(&path, e))?;
        let mut steps = Steps::resume(&path, 3)?;
        (4..=5).try_for_each(|step| steps.add(&row(step)))?;
        assert_eq!(std::fs::read(&path).map_err(|e| Error::file(&path, e))?, whole);
        assert_eq!(read_steps(&path)?, (1..=5).map(row).collect::<Vec<_>>());
        assert!(Steps::resume(&path, 6).is_err());
        Ok(())
    }

    #[test]
    fn predictions_have_a_column_per_song() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::Data(e.to_string()))?;
        let path = folder.path().join("predictions.csv");
        let prediction = Prediction {
            id: "a,b.wav".into(),
            truth: Some(1),
            probabilities: vec![0.25, 0.75],
            ..Prediction::default()
        };
        write_predictions(&path, &[prediction], &["Frozen".into(), "Rain".into()])?;
        let text = std::fs::read_to_string(&path).map_err(|e| Error::file(&path, e))?;
        assert_eq!(
            text,
            "file,truth,prediction,confidence,Frozen,Rain\n\"a,b.wav\",Rain,Rain,0.750000,0.250000,0.750000\n"
        );
        Ok(())
    }
}
