//! Model files: safetensors with PyTorch's names and layouts; all else that prediction needs is in the header.

use super::distribution::{self, TrainingDistribution};
use super::files;
use super::recipe::{Augmentation, FrontEnd, Recipe};
use super::weights::Weights;
pub use super::weights::read_states;
use crate::audio::resample::RATES;
use crate::data::nosong;
use crate::graph::{Session, State, States};
use crate::nn::{self, Classifier};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The key of the header's metadata that [`Header`] is stored under, as JSON.
const KEY: &str = "humdinger";
/// The version of the format that is written, and the newest that is read. 2 brought the training distribution and the repetition of short
/// clips, 3 test-time augmentation and a sixth block of `melody`, 4 what a model was trained on and what it began with.
pub const FORMAT_VERSION: u32 = 4;

/// What a model file says beside its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT_VERSION`] of whoever wrote it.
    pub format_version: u32,
    /// The recipe.
    pub recipe: Recipe,
    /// The songs: output `i` means `classes[i]`.
    pub classes: Vec<String>,
    /// Outputs of the network; those beyond the songs are never right.
    pub outputs: usize,
    /// The front end.
    pub front_end: FrontEnd,
    /// What logits are divided by before the softmax, fitted on the validation clips.
    pub temperature: f64,
    /// Where the model knows its training distribution: how far from the songs' means their windows usually are ([`TrainingDistribution::usual`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_distance: Option<f64>,
    /// Below this confidence `predict` answers "unknown".
    pub unknown_threshold: f64,
    /// Epochs that the weights were trained for.
    pub epoch: usize,
    /// What a base model was trained on, in words. Model files call it `heard`.
    #[serde(rename = "heard", default, skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<String>,
    /// What the weights were before they were trained: the base model with its checksum, or a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_with: Option<String>,
}

impl Header {
    /// What a model says of itself before it is trained; `began_with` are the weights that it begins with, in words.
    pub fn before_training(recipe: Recipe, classes: Vec<String>, outputs: usize, began_with: String) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            recipe,
            classes,
            outputs,
            front_end: recipe.front_end(),
            temperature: 1.0,
            usual_distance: None,
            unknown_threshold: 0.0,
            epoch: 0,
            trained_on: None,
            began_with: Some(began_with),
        }
    }

    /// The network that the weights are of.
    pub fn classifier(&self) -> Classifier {
        match self.recipe {
            Recipe::Melody if self.format_version < 3 => Classifier::first_melody(self.outputs),
            recipe => recipe.classifier(self.outputs),
        }
    }

    /// How confidence is reckoned, as names and values for people.
    pub fn table(&self) -> Vec<(&'static str, String)> {
        vec![
            ("temperature", format!("{:.3}", self.temperature)),
            ("unknown below", format!("{:.1} %", 100.0 * self.unknown_threshold)),
        ]
    }

    /// A name for every output: the songs, and `output <i>` for outputs without a song.
    pub fn names(&self) -> Vec<String> {
        let rest = (self.classes.len()..self.outputs).map(|i| format!("output {i}"));
        self.classes.iter().cloned().chain(rest).collect()
    }

    /// The outputs that stand for no song: what is likeliest one of these is answered with "unknown" ([`nosong`]).
    pub fn no_songs(&self) -> Vec<usize> {
        let names = self.names();
        (0..names.len()).filter(|&output| nosong::is_none(&names[output])).collect()
    }
}

/// A trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What it is.
    pub header: Header,
    /// Parameters and running statistics by PyTorch's names.
    pub weights: Weights,
    /// What it was trained on, to tell what is nothing like it.
    pub distribution: Option<TrainingDistribution>,
}

impl Model {
    /// Reads a model file, or that of a run folder.
    ///
    /// # Errors
    /// Where the file cannot be read, is damaged, has no header of ours or one of a later version.
    pub fn read(path: &Path) -> Result<Self> {
        let path = &file_of(path)?;
        Self::of_weights(Weights::read(path)?, path)
    }

    /// The same of a model file's bytes; `path` is for messages.
    ///
    /// # Errors
    /// As [`Model::read`].
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        Self::of_weights(Weights::parse(bytes).map_err(|detail| Error::file(path, detail))?, path)
    }

    fn of_weights(mut weights: Weights, path: &Path) -> Result<Self> {
        let Some(header) = Self::describe(&weights, path)? else {
            return Err(Error::file(
                path,
                "holds weights but no description of a model (songs, recipe); it was not written by humdinger. \
                 To begin training with such weights, name it in setting `init`",
            ));
        };
        let distribution =
            header.usual_distance.map(|usual| TrainingDistribution::take(&mut weights, usual, path)).transpose()?;
        Ok(Self { header, weights, distribution })
    }

    /// The description that comes with weights, where there is one.
    ///
    /// # Errors
    /// Where it cannot be understood, contradicts itself, or is of a later version; `path` is for the message.
    pub fn describe(weights: &Weights, path: &Path) -> Result<Option<Header>> {
        let text = weights.metadata.get(KEY);
        text.map(|text| Self::check(text)).transpose().map_err(|detail| Error::file(path, detail))
    }

    fn check(text: &str) -> Result<Header, String> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let bad = |e: serde_json::Error| format!("its header cannot be understood: {e}");
        let version = serde_json::from_str::<Version>(text).map_err(bad)?.format_version;
        if version > FORMAT_VERSION {
            return Err(format!(
                "has format version {version}, and this humdinger knows {FORMAT_VERSION}; use a newer one"
            ));
        }
        let header: Header = serde_json::from_str(text).map_err(bad)?;
        let sensible = header.classes.len() >= 2
            && (header.classes.len()..=MOST_OUTPUTS).contains(&header.outputs)
            && header.temperature.is_finite()
            && header.temperature > 0.0
            && (0.0..=1.0).contains(&header.unknown_threshold)
            && plausible(&header.front_end)
            // The reference looks at a clip as it is.
            && (header.recipe == Recipe::Melody || header.front_end.augmentations == [Augmentation::NONE]);
        if !sensible {
            return Err("its header contradicts itself: songs, outputs, temperature or front end make no sense".into());
        }
        Ok(header)
    }

    /// The bytes of a model file.
    ///
    /// # Errors
    /// Where its tensors contradict each other.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.whole()?.to_bytes(&|_| false).map_err(Error::Data)
    }

    /// Writes a model file, in one piece or not at all.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.whole()?.write(path)
    }

    /// The same with the network in half precision, for weights that are ([`Weights::halve`]).
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write_halved(&self, path: &Path) -> Result<()> {
        self.whole()?.write_halved(path, &|name| !name.starts_with(distribution::PREFIX))
    }

    /// All that the file holds.
    fn whole(&self) -> Result<Weights> {
        let mut weights = self.weights.clone();
        if let Some(distribution) = &self.distribution {
            distribution.write(&mut weights);
        }
        let usual_distance = self.distribution.as_ref().map(|distribution| distribution.usual);
        let header = serde_json::to_string(&Header { usual_distance, ..self.header.clone() })
            .map_err(|e| Error::Data(format!("the model's header cannot be written: {e}")))?;
        // One entry alone: the library writes several in random order, and the same model is to give the same bytes.
        weights.metadata = [(KEY.to_string(), header)].into();
        Ok(weights)
    }
}

/// The model file that a path means: itself, or that of a run folder.
///
/// # Errors
/// Where it is a folder without a model.
pub fn file_of(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.into());
    }
    let file = path.join(files::MODEL);
    if file.is_file() {
        return Ok(file);
    }
    let fold = path.join("fold-1");
    let detail = if fold.join(files::MODEL).is_file() {
        format!("is a run with folds, which have a model each; name one of them, as {}", fold.display())
    } else {
        format!("is a folder without {}; name a model file, or the folder of a run", files::MODEL)
    };
    Err(Error::file(path, detail))
}

/// More songs than anybody has; a damaged header must not make a network that fills the memory.
const MOST_OUTPUTS: usize = 100_000;
/// The same of a window's samples and an image's cells: some five minutes of either recipe.
const MOST_SAMPLES: usize = 1 << 22;
const MOST_CELLS: usize = 1 << 20;
/// The most test-time augmentations that a model file may ask for.
const MOST_AUGMENTATIONS: usize = 64;

fn plausible(front_end: &FrontEnd) -> bool {
    let sizes = [front_end.window, front_end.n_fft, front_end.frame, front_end.hop, front_end.bands];
    RATES.contains(&front_end.sample_rate)
        && (1..=2).contains(&front_end.channels)
        && sizes.iter().all(|size| (1..=MOST_SAMPLES).contains(size))
        && front_end.frames().saturating_mul(front_end.bands) <= MOST_CELLS
        && front_end.top_db > 0.0
        && (1..=MOST_AUGMENTATIONS).contains(&front_end.augmentations.len())
        && front_end.augmentations.iter().all(|augmentation| {
            augmentation.shift.abs() <= front_end.bands as f32 && (0.1..=10.0).contains(&augmentation.stretch)
        })
}

/// The states of which a model consists: parameters and running statistics, not an optimiser's moments.
pub fn model_states(states: &States) -> Vec<State> {
    let group_name = |state: &State| states.groups().get(state.group.0).map(|group| group.name.as_str());
    let wanted = |state: &&State| matches!(group_name(state), Some(nn::PARAMETERS | nn::STATISTICS | nn::FROZEN));
    states.iter().filter(wanted).cloned().collect()
}

/// Reads a model's tensors from a session, with `num_batches_tracked` beside every `running_mean` as PyTorch has it.
///
/// # Errors
/// Where the device fails.
pub fn read_weights(session: &mut dyn Session, steps: u64) -> Result<Weights> {
    let mut weights = Weights::default();
    let states = model_states(session.states());
    for (state, tensor) in read_states(session, states)? {
        if let Some(layer) = state.name.strip_suffix(".running_mean") {
            weights.counts.insert(format!("{layer}.num_batches_tracked"), steps as i64);
        }
        weights.tensors.insert(state.name, tensor);
    }
    Ok(weights)
}

/// The states that weights fit into: all of the model's, with `fresh_head` but for the last layer's (`lin.*`).
///
/// # Errors
/// Lists every tensor that is missing, unknown or of another shape.
pub fn fitting(states: &States, weights: &Weights, path: &Path, fresh_head: bool) -> Result<Vec<State>> {
    let skipped = |name: &str| name.starts_with(distribution::PREFIX) || fresh_head && name.starts_with("lin.");
    let states: Vec<State> = model_states(states).into_iter().filter(|s| !skipped(&s.name)).collect();
    let mut faults = Vec::new();
    for state in &states {
        match weights.tensors.get(&state.name) {
            None => faults.push(format!("`{}` {} is missing", state.name, state.shape)),
            Some(tensor) if tensor.shape() != state.shape => {
                let hint = if state.name.starts_with("lin.") && tensor.shape().rank() > 0 {
                    format!(" (setting `outputs` = `{}` makes room for it)", tensor.shape()[0])
                } else {
                    String::new()
                };
                faults.push(format!("`{}` is {} there and {} here{hint}", state.name, tensor.shape(), state.shape));
            }
            Some(tensor) if tensor.data().iter().any(|x| !x.is_finite()) => {
                faults.push(format!("`{}` holds values that are not finite", state.name));
            }
            // Its square root is divided by.
            Some(tensor) if state.name.ends_with(".running_var") && tensor.data().iter().any(|x| *x < 0.0) => {
                faults.push(format!("`{}` holds negative variances", state.name));
            }
            Some(_) => {}
        }
    }
    let unknown = |name: &&String| !skipped(name) && !states.iter().any(|state| state.name == **name);
    faults.extend(weights.tensors.keys().filter(unknown).map(|name| format!("`{name}` has no place here")));
    if !faults.is_empty() {
        let more = if faults.len() > 8 { format!("; and {} more", faults.len() - 8) } else { String::new() };
        faults.truncate(8);
        return Err(Error::file(path, format!("its weights do not fit: {}{more}", faults.join("; "))));
    }
    Ok(states)
}

/// Writes weights into a session. With `fresh_head`, the last layer (`lin.*`) is skipped.
///
/// # Errors
/// As [`fitting`]; nothing is written then.
pub fn load_weights(session: &mut dyn Session, weights: &Weights, path: &Path, fresh_head: bool) -> Result<()> {
    for state in fitting(session.states(), weights, path, fresh_head)? {
        session.write_state(&state.name, weights.tensors[&state.name].data())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::cpu::{CpuSession, Pool};
    use std::sync::Arc;

    fn header() -> Header {
        Header {
            format_version: FORMAT_VERSION,
            recipe: Recipe::Notebook,
            classes: vec!["Frozen".into(), "Rain".into()],
            outputs: 3,
            front_end: Recipe::Notebook.front_end(),
            temperature: 1.25,
            usual_distance: None,
            // As long as numbers get: read without care, the last digit is another.
            unknown_threshold: 0.099_614_715_842_044_76,
            epoch: 3,
            trained_on: None,
            began_with: None,
        }
    }

    fn session(outputs: usize) -> Result<CpuSession> {
        let mut states = States::new();
        states.add("parameters", "lin.weight", Tensor::full([outputs, 4], 0.5))?;
        states.add("parameters", "bn1.weight", Tensor::full([4], 1.0))?;
        states.add("statistics", "bn1.running_mean", Tensor::full([4], 0.25))?;
        let group = states.group("parameters");
        states.add_like(group, "m")?;
        CpuSession::new(Arc::new(states), Arc::new(Pool::new(1)))
    }

    #[test]
    fn a_model_survives_its_file() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::Data(e.to_string()))?;
        let path = folder.path().join("model.safetensors");
        let model = Model { header: header(), weights: read_weights(&mut session(3)?, 12)?, distribution: None };
        model.write(&path)?;
        let read = Model::read(&path)?;
        assert_eq!((&read.header, &read.weights.tensors), (&model.header, &model.weights.tensors));
        assert_eq!(read.weights.counts["bn1.num_batches_tracked"], 12);
        assert_eq!(read.weights.tensors.len(), 3, "no moments");
        assert_eq!(read.header.names(), ["Frozen", "Rain", "output 2"]);
        Ok(())
    }

    #[test]
    fn what_is_familiar_comes_with_the_model_and_is_no_weight() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::Data(e.to_string()))?;
        let path = folder.path().join("model.safetensors");
        let spots: [&[f32]; 4] = [&[0.0, 1.0], &[1.0, 0.5], &[5.0, 5.0], &[6.0, 4.0]];
        let training: Vec<(&[f32], usize)> = spots.into_iter().zip([0, 0, 1, 1]).collect();
        let distribution = TrainingDistribution::fit(&training, &spots);
        assert!(distribution.is_some());
        let model = Model { header: header(), weights: read_weights(&mut session(3)?, 12)?, distribution };
        model.write(&path)?;
        let read = Model::read(&path)?;
        assert_eq!(read.distribution, model.distribution);
        assert_eq!(read.weights.tensors, model.weights.tensors);
        // As --init reads it.
        load_weights(&mut session(3)?, &Weights::read(&path)?, &path, false)
    }

    #[test]
    fn models_of_the_first_version_are_read() {
        let mut old = serde_json::to_value(header()).unwrap_or_default();
        old["format_version"] = 1.into();
        old["front_end"].as_object_mut().map(|fields| (fields.remove("repeat"), fields.remove("views")));
        let read = Model::check(&old.to_string());
        assert_eq!(read, Ok(Header { format_version: 1, ..header() }), "trained with silence: not repeated; one view");
    }

    #[test]
    fn earlier_models_of_melody_have_their_network_and_one_view() {
        let now = Header { recipe: Recipe::Melody, front_end: Recipe::Melody.front_end(), ..header() };
        assert_eq!(now.classifier(), Classifier::melody(3));
        assert_eq!(Model::check(&serde_json::to_string(&now).unwrap_or_default()), Ok(now.clone()));
        let mut old = serde_json::to_value(&now).unwrap_or_default();
        old["format_version"] = 2.into();
        old["front_end"].as_object_mut().map(|fields| fields.remove("views"));
        let read = Model::check(&old.to_string());
        assert!(read.is_ok_and(
            |read| read.classifier() == Classifier::first_melody(3) && read.front_end.augmentations.len() == 1
        ));
    }

    #[test]
    fn what_does_not_fit_is_named() -> Result<()> {
        let path = Path::new("w.safetensors");
        let mut weights = read_weights(&mut session(3)?, 0)?;
        let error = load_weights(&mut session(2)?, &weights, path, false).unwrap_err().to_string();
        assert!(error.contains("`lin.weight` is [3, 4] there and [2, 4] here (setting `outputs` = `3`"), "{error}");
        load_weights(&mut session(2)?, &weights, path, true)?;
        weights.tensors.remove("bn1.weight");
        weights.tensors.insert("conv9.weight".into(), Tensor::full([1], 0.0));
        let error = load_weights(&mut session(3)?, &weights, path, false).unwrap_err().to_string();
        assert!(
            error.contains("`bn1.weight` [4] is missing") && error.contains("`conv9.weight` has no place"),
            "{error}"
        );
        Ok(())
    }

    #[test]
    fn senseless_headers_are_refused() {
        let text = |header: &Header| serde_json::to_string(header).unwrap_or_default();
        assert!(Model::check(&text(&header())).is_ok());
        assert!(Model::check("{}").is_err());
        let seen = |recipe: Recipe, shift, stretch| {
            let front_end = FrontEnd {
                augmentations: vec![Augmentation::NONE, Augmentation { shift, stretch }],
                ..recipe.front_end()
            };
            Model::check(&text(&Header { recipe, front_end, ..header() }))
        };
        assert!(seen(Recipe::Melody, 3.0, 1.1).is_ok());
        assert!(seen(Recipe::Melody, 3.0, 0.0).is_err() && seen(Recipe::Melody, 1e30, 1.0).is_err());
        assert!(seen(Recipe::Notebook, 3.0, 1.1).is_err(), "the reference looks at a clip as it is");
        let later = Header { format_version: FORMAT_VERSION + 1, ..header() };
        assert!(Model::check(&text(&later)).unwrap_err().contains("newer"));
        for wrong in [
            Header { outputs: 1, ..header() },
            Header { classes: vec![], ..header() },
            Header { temperature: 0.0, ..header() },
            Header { front_end: FrontEnd { hop: 0, ..header().front_end }, ..header() },
        ] {
            assert!(Model::check(&text(&wrong)).is_err());
        }
    }
}
