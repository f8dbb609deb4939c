//! Checkpoints: everything that a run needs to go on as though it had never stopped.

use super::config::{Config, Settings};
use super::model::read_states;
use super::tables::EpochRow;
use super::weights::Weights;
use crate::graph::{Session, State};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The key of the file's metadata. The text is TOML, since that keeps every bit of a floating-point number.
const KEY: &str = "humdinger_checkpoint";
const VERSION: u32 = 1;

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Steps made.
    pub step: u64,
    /// Epochs completed, validation included.
    pub epoch: usize,
    /// Clips of the epoch in progress that have been trained on.
    pub position: usize,
    /// Sum of their losses.
    pub loss_sum: f64,
    /// How many of them were right.
    pub right: usize,
    /// Time spent on the epoch in progress.
    pub seconds: f64,
    /// The lowest validation loss so far.
    pub best_loss: Option<f64>,
    /// The epoch (from 1) that had it.
    pub best_epoch: Option<usize>,
    /// Whether all is done.
    pub finished: bool,
    /// The completed epochs.
    #[serde(default)]
    pub rows: Vec<EpochRow>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    /// Of the data, see [`fingerprint`].
    data: String,
    config: Settings,
    progress: Progress,
}

/// A run's complete state.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// What the run does.
    pub config: Config,
    /// Identifies the training clips.
    pub data: String,
    /// How far it has come.
    pub progress: Progress,
    /// Every state: parameters, running statistics, moments.
    pub weights: Weights,
}

impl Checkpoint {
    /// Takes all states of a session.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn take(session: &mut dyn Session, config: &Config, data: &str, progress: &Progress) -> Result<Self> {
        let states: Vec<State> = session.states().kept().cloned().collect();
        let tensors = read_states(session, states)?.into_iter().map(|(state, tensor)| (state.name, tensor));
        let weights = Weights { tensors: tensors.collect(), ..Weights::default() };
        Ok(Self { config: config.clone(), data: data.into(), progress: progress.clone(), weights })
    }

    /// Puts all states into a session.
    ///
    /// # Errors
    /// Where a state is missing or has another shape.
    pub fn restore(&self, session: &mut dyn Session, path: &Path) -> Result<()> {
        let states: Vec<State> = session.states().kept().cloned().collect();
        for state in &states {
            let tensor = self.weights.tensors.get(&state.name).filter(|tensor| tensor.shape() == state.shape);
            let Some(tensor) = tensor else {
                let detail = format!("is a checkpoint of another network: `{}` is missing or differs", state.name);
                return Err(Error::file(path, detail));
            };
            session.write_state(&state.name, tensor.data())?;
        }
        Ok(())
    }

    /// Writes the file, in one piece or not at all.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = Text {
            version: VERSION,
            data: self.data.clone(),
            config: self.config.settings(),
            progress: self.progress.clone(),
        };
        let text = toml::to_string(&text).map_err(|e| Error::file(path, format!("cannot be written: {e}")))?;
        let mut weights = self.weights.clone();
        weights.metadata.insert(KEY.into(), text);
        weights.write(path)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Where it cannot be read, is damaged, or is no checkpoint.
    pub fn read(path: &Path) -> Result<Self> {
        let mut weights = Weights::read(path)?;
        let Some(text) = weights.metadata.remove(KEY) else {
            return Err(Error::file(path, "is not a checkpoint"));
        };
        let bad = |e: toml::de::Error| Error::file(path, format!("its header cannot be understood: {}", e.message()));
        let text: Text = toml::from_str(&text).map_err(bad)?;
        if text.version != VERSION {
            let detail = format!("is a checkpoint of version {}; this humdinger continues {VERSION}", text.version);
            return Err(Error::file(path, detail));
        }
        Ok(Self { config: text.config.of_earlier_runs().resolve()?, data: text.data, progress: text.progress, weights })
    }

    /// Whether a run of this configuration on these data may go on from here.
    ///
    /// # Errors
    /// Names the settings that differ, or says that the recordings do.
    pub fn check(&self, config: &Config, data: &str, path: &Path) -> Result<()> {
        let different = self.config.differences(config);
        if !different.is_empty() {
            let detail = format!(
                "is a checkpoint of a run with other settings ({}); resume with the settings of that run, or start a new one",
                different.join(", ")
            );
            return Err(Error::file(path, detail));
        }
        if self.data != data {
            return Err(Error::file(
                path,
                "is a checkpoint of a run on other recordings: files were added, removed, renamed or changed in length",
            ));
        }
        Ok(())
    }
}

/// A short text that differs where names, labels or lengths of clips differ (FNV-1a, 64 bits).
pub fn fingerprint<'a>(clips: impl IntoIterator<Item = (&'a str, usize, usize)>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| bytes.iter().for_each(|&b| hash = (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    for (id, label, len) in clips {
        add(id.as_bytes());
        add(&[0]);
        add(&(label as u64).to_le_bytes());
        add(&(len as u64).to_le_bytes());
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::cpu::{CpuSession, Pool};
    use crate::graph::States;
    use std::sync::Arc;

    #[test]
    fn every_bit_comes_back() -> Result<()> {
        let mut states = States::new();
        states.add("parameters", "w", Tensor::new([3], vec![0.1, f32::MIN_POSITIVE / 4.0, -0.0])?)?;
        let group = states.group("parameters");
        states.add_like(group, "adam.m")?;
        let states = Arc::new(states);
        let mut session = CpuSession::<f32>::new(states.clone(), Arc::new(Pool::new(1)))?;
        session.write_state("adam.m.w", &[1.0, 2.0, 3.0])?;
        let row = EpochRow {
            epoch: 1,
            train_loss: 0.1 + 0.2,
            train_accuracy: 1.0 / 3.0,
            val_loss: None,
            val_accuracy: None,
            learning_rate: 1e-3 / 3.0,
            seconds: 1.0,
            clips_per_second: 2.0,
        };
        let progress = Progress {
            step: 9,
            position: 4,
            loss_sum: 1.0 / 7.0,
            best_loss: Some(2.0 / 3.0),
            rows: vec![row],
            ..Progress::default()
        };
        let config = Settings::default().resolve()?;
        let folder = tempfile::tempdir().map_err(|e| Error::Data(e.to_string()))?;
        let path = folder.path().join("checkpoint.safetensors");
        Checkpoint::take(&mut session, &config, "abc", &progress)?.write(&path)?;
        let read = Checkpoint::read(&path)?;
        assert_eq!(read.progress, progress);
        assert!(read.check(&config, "abc", &path).is_ok());
        assert!(read.check(&config, "abd", &path).is_err());
        let other = Settings { seed: Some(5), ..Settings::default() }.resolve()?;
        assert!(read.check(&other, "abc", &path).unwrap_err().to_string().contains("other settings (seed)"));
        let mut fresh = CpuSession::<f32>::new(states, Arc::new(Pool::new(1)))?;
        read.restore(&mut fresh, &path)?;
        let mut moments = [0.0; 3];
        fresh.read_state("adam.m.w", &mut moments)?;
        assert_eq!(moments, [1.0, 2.0, 3.0]);
        Ok(())
    }

    #[test]
    fn fingerprints_tell_data_apart() {
        let a = fingerprint([("x", 0, 5), ("y", 1, 5)]);
        assert_ne!(a, fingerprint([("x", 0, 5), ("y", 1, 6)]));
        assert_ne!(a, fingerprint([("x", 1, 5), ("y", 1, 5)]));
        assert_eq!(a, fingerprint([("x", 0, 5), ("y", 1, 5)]));
    }
}
