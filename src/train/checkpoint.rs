//! Checkpoints: everything that a run needs to go on as though it had never stopped.

use super::config::{Config, Settings};
use super::model::{Header, Model};
use super::tables::EpochRow;
use super::weights::Weights;
use crate::graph::Session;
use crate::nn;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// The key of the file's metadata. The text is TOML, since that keeps every bit of a floating-point number.
const KEY: &str = "humdinger_checkpoint";
const VERSION: u32 = 1;

/// How far a run has come, as the file has it: the training loop's [`nn::Progress`], the sums of the epoch in progress, and the epochs
/// that are done.
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
    /// The epochs that were done when more were asked for: patience begins anew there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continued_at: Option<usize>,
    /// The completed epochs.
    #[serde(default)]
    pub rows: Vec<EpochRow>,
}

impl Progress {
    /// Of a run that is not finished.
    pub fn new(of: &nn::Progress, loss_sum: f64, right: usize, rows: &[EpochRow]) -> Self {
        let nn::Progress { step, epoch, position, seconds, best_loss, best_epoch, continued_at } = *of;
        let (finished, rows) = (false, rows.to_vec());
        Self { step, epoch, position, loss_sum, right, seconds, best_loss, best_epoch, finished, continued_at, rows }
    }

    /// The training loop's part of it.
    pub fn of_loop(&self) -> nn::Progress {
        let Self { step, epoch, position, seconds, best_loss, best_epoch, continued_at, .. } = *self;
        nn::Progress { step, epoch, position, seconds, best_loss, best_epoch, continued_at }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    /// Of the data, see [`fingerprint`].
    data: String,
    /// Of what is in the recordings' files, see [`sound_fingerprint`]; checkpoints of before have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sound: Option<String>,
    /// The header of the best model so far, as JSON; checkpoints of before have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    best: Option<String>,
    config: Settings,
    progress: Progress,
}

/// Begins the names of the best model's tensors.
const BEST: &str = "best.";

/// Identifies the recordings of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recordings {
    /// By names, labels and lengths: see [`fingerprint`].
    pub clips: String,
    /// By what is in their files, where that is known: see [`sound_fingerprint`].
    pub sound: Option<String>,
}

/// A run's complete state.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// What the run does.
    pub config: Config,
    /// Its recordings.
    pub data: Recordings,
    /// How far it has come.
    pub progress: Progress,
    /// Every state: parameters, running statistics, moments.
    pub weights: Weights,
    /// The best model so far; a run must not depend on what others do to its file.
    pub best: Option<Model>,
}

impl Checkpoint {
    /// Takes all states of a session.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn take(
        session: &mut dyn Session,
        config: &Config,
        data: &Recordings,
        progress: &Progress,
        best: Option<&Model>,
    ) -> Result<Self> {
        let weights = Weights::of_session(session)?;
        let (config, progress, best) = (config.clone(), progress.clone(), best.cloned());
        Ok(Self { config, data: data.clone(), progress, weights, best })
    }

    /// Puts all states into a session.
    ///
    /// # Errors
    /// Where a state is missing or has another shape.
    pub fn restore(&self, session: &mut dyn Session, path: &Path) -> Result<()> {
        self.weights.restore(session, path)
    }

    /// Has the run go on to another number of epochs in all, whether it is finished or not; `folder` is for the message.
    ///
    /// # Errors
    /// Where so many are done already.
    pub fn lengthen(&mut self, config: &Config, folder: &Path) -> Result<()> {
        let done = self.progress.epoch;
        if config.epochs <= done {
            let (folder, asked) = (folder.display(), config.epochs);
            let detail =
                format!("{folder} has done {done} epochs, and {asked} are not more; give the number of all epochs");
            return Err(Error::usage("epochs", detail));
        }
        self.config.epochs = config.epochs;
        self.progress.finished = false;
        self.progress.continued_at = Some(done);
        Ok(())
    }

    /// Writes the file, in one piece or not at all.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let unwritable = |e: &dyn std::fmt::Display| Error::file(path, format!("cannot be written: {e}"));
        let best = self.best.as_ref().map(|best| serde_json::to_string(&best.header)).transpose();
        let text = Text {
            version: VERSION,
            data: self.data.clips.clone(),
            sound: self.data.sound.clone(),
            best: best.map_err(|e| unwritable(&e))?,
            config: self.config.settings(),
            progress: self.progress.clone(),
        };
        let text = toml::to_string(&text).map_err(|e| unwritable(&e))?;
        let mut weights = self.weights.clone();
        if let Some(best) = &self.best {
            weights.add_under(BEST, best.weights.clone());
        }
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
        let best = match &text.best {
            None => None,
            Some(header) => {
                let bad = |e| Error::file(path, format!("its best model cannot be understood: {e}"));
                let header: Header = serde_json::from_str(header).map_err(bad)?;
                Some(Model { header, weights: weights.take_under(BEST), distribution: None })
            }
        };
        let config = text.config.of_earlier_runs().resolve()?;
        let data = Recordings { clips: text.data, sound: text.sound };
        Ok(Self { config, data, progress: text.progress, weights, best })
    }

    /// Whether a run of this configuration on these data may go on from here.
    ///
    /// # Errors
    /// Names the settings that differ, or says that the recordings do.
    pub fn check(&self, config: &Config, data: &Recordings, path: &Path) -> Result<()> {
        let different = self.config.differences(config);
        if !different.is_empty() {
            let detail = format!(
                "is a checkpoint of a run with other settings ({}); resume with the settings of that run, or start a new one",
                different.join(", ")
            );
            return Err(Error::file(path, detail));
        }
        if self.data.clips != data.clips {
            return Err(Error::file(
                path,
                "is a checkpoint of a run on other recordings: files were added, removed, renamed or changed in length",
            ));
        }
        if let (Some(before), Some(now)) = (&self.data.sound, &data.sound)
            && before != now
        {
            let detail =
                "is a checkpoint of a run on other recordings: files of the same names and lengths were replaced";
            return Err(Error::file(path, detail));
        }
        Ok(())
    }
}

/// A short text that differs where the files of clips do, given their names and checksums; none where one is not known, as of clips
/// that were made in memory.
pub fn sound_fingerprint<'a>(clips: impl IntoIterator<Item = (&'a str, Option<u64>)>) -> Option<String> {
    let mut hash = Xxh3::new();
    for (id, contents) in clips {
        hash.update(id.as_bytes());
        hash.update(&[0]);
        hash.update(&contents?.to_le_bytes());
    }
    Some(format!("{:016x}", hash.digest()))
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
    use crate::train::model::FORMAT_VERSION;
    use std::sync::Arc;

    fn data(clips: &str, sound: Option<&str>) -> Recordings {
        Recordings { clips: clips.into(), sound: sound.map(String::from) }
    }

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
        let best = Model {
            header: Header {
                format_version: FORMAT_VERSION,
                recipe: config.recipe,
                classes: vec!["a".into(), "b".into()],
                outputs: 2,
                front_end: config.recipe.front_end(),
                temperature: 1.0 / 3.0,
                usual_distance: None,
                unknown_threshold: 0.1 + 0.2,
                epoch: 1,
                trained_on: None,
                began_with: None,
            },
            weights: Weights {
                tensors: [("w".to_string(), Tensor::new([2], vec![0.3, -0.0])?)].into(),
                counts: [("bn.num_batches_tracked".to_string(), 7)].into(),
                ..Weights::default()
            },
            distribution: None,
        };
        Checkpoint::take(&mut session, &config, &data("abc", Some("1")), &progress, Some(&best))?.write(&path)?;
        let read = Checkpoint::read(&path)?;
        assert!(read.best.as_ref().is_some_and(|read| read.weights == best.weights && read.header.epoch == 1));
        assert_eq!(read.progress, progress);
        for (now, right) in [
            (data("abc", Some("1")), true),
            (data("abc", None), true),
            (data("abd", Some("1")), false),
            (data("abc", Some("2")), false),
        ] {
            assert_eq!(read.check(&config, &now, &path).is_ok(), right, "{now:?}");
        }
        let other = Settings { seed: Some(5), ..Settings::default() }.resolve()?;
        assert!(read.check(&other, &read.data, &path).unwrap_err().to_string().contains("other settings (seed)"));
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
