//! What a model says of recordings.

use super::distribution::{TrainingDistribution, WindowOutputs, probabilities};
use super::engine::Engine;
use super::metrics::{Metrics, Prediction};
use super::model::{Model, load_weights};
use crate::audio::faults::is_silent;
use crate::data::{Clip, Dataset, alike};
use crate::device::Device;
use crate::{Error, Result};
use std::path::Path;

/// A model on a device.
pub struct Predictor {
    /// What the model is.
    pub model: Model,
    engine: Engine,
}

/// The part of a recording that one window shows, and what the model predicts for it.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowPrediction {
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// A probability for every output; none is above 0 in silence.
    pub probabilities: Vec<f64>,
    /// How near it is to the training clips, from 0 to 1 ([`TrainingDistribution::in_distribution`], the mean over test-time augmentations); 1 in silence, and where the
    /// model does not know.
    pub in_distribution: f64,
}

impl WindowPrediction {
    /// Whether it is silent.
    pub fn is_silent(&self) -> bool {
        self.in_distribution >= 1.0 && self.probabilities.iter().all(|&p| p <= 0.0)
    }
}

/// The part of a recording that one window shows, as the network's last layer sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowVector {
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// Whether it is silent.
    pub silent: bool,
    /// What the last layer sees, without test-time augmentation.
    pub vector: Vec<f32>,
}

/// The mean over the windows that are not silent, over all where all are; empty where there are none.
pub fn mean_vector(windows: &[WindowVector]) -> Vec<f32> {
    let inferred: Vec<&WindowVector> = windows.iter().filter(|window| !window.silent).collect();
    let inferred = if inferred.is_empty() { windows.iter().collect() } else { inferred };
    let mut sum = vec![0.0f64; inferred.first().map_or(0, |window| window.vector.len())];
    for window in &inferred {
        sum.iter_mut().zip(&window.vector).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    sum.into_iter().map(|sum| (sum / inferred.len() as f64) as f32).collect()
}

impl Predictor {
    /// Puts a model on a device; `path` is where it came from, for messages.
    ///
    /// # Errors
    /// Where its weights do not fit its recipe.
    pub fn new(model: Model, path: &Path, device: &Device) -> Result<Self> {
        let header = &model.header;
        let unbuilt = |e: Error| Error::file(path, format!("describes no network that can be built: {e}"));
        let mut engine =
            Engine::for_evaluation(device, header.recipe, &header.front_end, header.classifier()).map_err(unbuilt)?;
        load_weights(&mut *engine.session, &model.weights, path, false)?;
        // What cannot be built is to be known before recordings are read.
        engine.prepare().map_err(unbuilt)?;
        let length = engine.network().vector_length();
        if model.distribution.as_ref().is_some_and(|distribution| distribution.width() != length) {
            return Err(Error::file(
                path,
                format!("its `familiar.means` are not of {length} numbers as its network is"),
            ));
        }
        let mut predictor = Self { model, engine };
        predictor.try_out(path)?;
        Ok(predictor)
    }

    /// Finite weights can still be so large that every score overflows. What a sweep through the window gives tells so before
    /// recordings are read.
    fn try_out(&mut self, path: &Path) -> Result<()> {
        let front_end = &self.model.header.front_end;
        let window = front_end.window;
        // From 100 Hz upwards to a quarter of the rate; loudness as of a recording.
        let (rate, len) = (f64::from(front_end.sample_rate), window as f64);
        let phase = |t: f64| std::f64::consts::TAU * (100.0 * t + (rate / 4.0 - 100.0) * t * t / (2.0 * len)) / rate;
        let sweep: Vec<f32> = (0..window).map(|t| 0.3 * phase(t as f64).sin() as f32).collect();
        let clip = Clip::alone(Path::new("a sweep"), vec![sweep]);
        let inferred = self.engine.infer(&[&clip], true)?;
        if inferred.iter().flatten().flat_map(|window| &window.logits).any(|x| !x.is_finite()) {
            let detail =
                "its weights give scores that are not finite, for any sound; it is damaged or training has failed";
            return Err(Error::file(path, detail));
        }
        Ok(())
    }

    /// The probabilities of each clip as a whole.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn predict(&mut self, clips: &[&Clip], first_only: bool) -> Result<Vec<Vec<f64>>> {
        let temperature = self.model.header.temperature;
        let inferred = self.engine.infer(clips, first_only)?;
        let distribution = self.model.distribution.as_ref();
        Ok(inferred.iter().map(|windows| probabilities(windows, temperature, distribution)).collect())
    }

    /// The prediction for each window of a clip. In a window of silence it is no song: all its probabilities are 0.
    ///
    /// # Errors
    /// Where the device fails, or scores are not finite.
    pub fn windows(&mut self, clip: &Clip, first_only: bool) -> Result<Vec<WindowPrediction>> {
        let inferred = self.engine.infer(&[clip], first_only)?.pop().unwrap_or_default();
        self.model.windows(clip, first_only, &inferred)
    }

    /// What the last layer sees of each window of a clip, without test-time augmentation.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn vectors(&mut self, clip: &Clip, first_only: bool) -> Result<Vec<WindowVector>> {
        let (window, rate) = (self.model.header.front_end.window, f64::from(self.model.header.front_end.sample_rate));
        let inferred = self.engine.infer_once(&[clip], first_only)?.pop().unwrap_or_default();
        let starts = super::batch::windows(clip.len(), window, first_only);
        let vector = |(from, inferred): (usize, WindowOutputs)| {
            let to = clip.len().min(from + window);
            let silent = clip.samples.each().all(|channel| is_silent(&channel[from..to]));
            WindowVector { start: from as f64 / rate, end: to as f64 / rate, silent, vector: inferred.embedding }
        };
        Ok(starts.into_iter().zip(inferred).map(vector).collect())
    }

    /// Holds the model against labelled recordings. Their songs are the model's of the same name, or of the only name that
    /// looks like it ([`alike::key`]); clips of songs that the model does not know have no truth, and do not count.
    ///
    /// # Errors
    /// Where no song of the data is one of the model's, or the device fails.
    pub fn evaluate(&mut self, data: &Dataset, path: &Path, first_only: bool) -> Result<Evaluation> {
        let header = &self.model.header;
        let (classes, names, least) = (header.classes.clone(), header.names(), header.unknown_threshold);
        let truths: Vec<Option<usize>> = data.classes.iter().map(|song| same_song(song, &classes)).collect();
        if truths.iter().all(Option::is_none) {
            let detail = format!(
                "holds songs that the model does not know: {}; it knows {}",
                data.classes.join(", "),
                classes.join(", ")
            );
            return Err(Error::file(path, detail));
        }
        let songs = || data.classes.iter().zip(&truths);
        let renamed = |(song, truth): (&String, &Option<usize>)| {
            truth.filter(|&truth| classes[truth] != *song).map(|truth| (song.clone(), classes[truth].clone()))
        };
        let unknown_songs = songs().filter(|(_, truth)| truth.is_none()).map(|(song, _)| song.clone()).collect();
        let renamed = songs().filter_map(renamed).collect();
        let clips: Vec<&Clip> = data.clips.iter().collect();
        let probabilities = self.predict(&clips, first_only)?;
        let predictions: Vec<Prediction> = clips
            .iter()
            .zip(probabilities)
            .map(|(clip, probabilities)| Prediction {
                id: clip.id.clone(),
                person: clip.person.clone(),
                truth: truths[clip.label],
                probabilities,
                least,
            })
            .collect();
        Ok(Evaluation { metrics: Metrics::new(&predictions, &names), predictions, renamed, unknown_songs })
    }
}

impl Model {
    /// Turns the network's outputs for each window of a clip, one augmentation after the other and then the next window, into probabilities: see
    /// [`Predictor::windows`].
    ///
    /// # Errors
    /// Where scores are not finite.
    pub fn windows(&self, clip: &Clip, first_only: bool, inferred: &[WindowOutputs]) -> Result<Vec<WindowPrediction>> {
        let (front_end, temperature) = (&self.header.front_end, self.header.temperature);
        let starts = super::batch::windows(clip.len(), front_end.window, first_only);
        let seconds = |samples: usize| samples as f64 / f64::from(front_end.sample_rate);
        let distribution = self.distribution.as_ref();
        let window = |(from, augmentations): (usize, &[WindowOutputs])| {
            let to = clip.len().min(from + front_end.window);
            let mut probabilities = probabilities(augmentations, temperature, distribution);
            let share = |distribution: &TrainingDistribution| {
                augmentations.iter().map(|inferred| distribution.in_distribution(&inferred.embedding)).sum::<f64>()
            };
            let mut in_distribution =
                distribution.map_or(1.0, |distribution| share(distribution) / augmentations.len() as f64);
            if clip.samples.each().all(|channel| is_silent(&channel[from..to])) {
                probabilities.fill(0.0);
                in_distribution = 1.0;
            }
            WindowPrediction { start: seconds(from), end: seconds(to), probabilities, in_distribution }
        };
        let windows: Vec<_> =
            starts.into_iter().zip(inferred.chunks(front_end.augmentations.len())).map(window).collect();
        if windows.iter().flat_map(|window| &window.probabilities).any(|p| !p.is_finite()) {
            let detail = "the model's scores for it are not finite; the model is damaged or not fit for it";
            return Err(Error::file(&clip.path, detail));
        }
        Ok(windows)
    }
}

/// A model held against labelled recordings.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Of the clips whose songs the model knows.
    pub metrics: Metrics,
    /// Of all clips, in their order.
    pub predictions: Vec<Prediction>,
    /// Songs that are spelt otherwise in the model: the data's name and the model's.
    pub renamed: Vec<(String, String)>,
    /// Songs of the data that the model does not know.
    pub unknown_songs: Vec<String>,
}

/// The number of the song of this name, or of the only one whose name looks like it.
fn same_song(name: &str, classes: &[String]) -> Option<usize> {
    let key = alike::key(name);
    let mut similar = (0..classes.len()).filter(|&i| alike::key(&classes[i]) == key);
    let exact = classes.iter().position(|class| class == name);
    exact.or_else(|| similar.next().filter(|_| similar.next().is_none()))
}

#[cfg(test)]
mod tests {
    use super::same_song;

    #[test]
    fn songs_are_matched_in_spite_of_their_spelling_but_not_at_random() {
        let classes: Vec<String> = ["Für Elise", "Rain", "rain", "Frozen"].map(String::from).to_vec();
        let found = ["fur_elise", "FROZEN ", "Rain", "rain", "RAIN", "Froze"].map(|name| same_song(name, &classes));
        assert_eq!(found, [Some(0), Some(3), Some(1), Some(2), None, None]);
    }
}
