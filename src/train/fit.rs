//! Training in one call, for programs that use this crate: from recordings in memory to a model.

use super::config::Settings;
use super::folder::RunFolder;
use super::model::Model;
use super::run::{self, Ending};
use super::source;
use super::suit::Chosen;
use super::trainer::{Outcome, Start, Watch, files};
use crate::data::Dataset;
use crate::device::{Device, DeviceChoice};
use crate::{Error, Result};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// A model, and how its training went.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The best model.
    pub model: Model,
    /// How training went; it is not finished where `stop` was set.
    pub outcome: Outcome,
}

/// Trains a model on recordings, as `humdinger train` does with the same settings: same recordings, same model, bit for bit.
/// Settings that are not given depend on the recipe and the number of recordings ([`super::Config::suit`]). The run folder is `out`, or one
/// that is gone afterwards. Where `stop` is set, training ends after the step in progress with the best model so far.
///
/// ```no_run
/// use humdinger::audio::Audio;
/// use humdinger::data::{Dataset, LoadOptions, Recording, Sound};
/// use humdinger::train::{Recipe, Settings, fit};
/// use std::sync::atomic::AtomicBool;
///
/// # fn samples(_: &str) -> Vec<f32> { vec![] }
/// # fn main() -> humdinger::Result<()> {
/// let mut recordings = Vec::new();
/// for (id, song) in [("anna 1", "Twinkle"), ("anna 2", "Greensleeves"), ("ben 1", "Twinkle")] {
///     let audio = Audio::of_samples(vec![samples(id)], 44_100, id)?;
///     recordings.push(Recording { id: id.into(), sound: Sound::Samples(audio), song: song.into(), person: None });
/// }
/// let stop = AtomicBool::new(false);
/// let data = Dataset::of_recordings(recordings, &Recipe::Melody.load_options(), &stop)?;
/// let fitted = fit::fit(Settings::default(), &data, None, &stop, &mut fit::Quiet)?;
/// fitted.model.write("songs.safetensors".as_ref())?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where settings make no sense or ask for folds, the data cannot be split as they say, or training fails.
pub fn fit(
    settings: Settings,
    data: &Dataset,
    out: Option<&Path>,
    stop: &AtomicBool,
    watch: &mut dyn Watch,
) -> Result<Fitted> {
    if settings.folds.is_some() {
        return Err(Error::usage("folds", "a cross-validation gives no single model; `humdinger train` makes one"));
    }
    let chosen = Chosen::of(&settings);
    let mut config = settings.resolve()?;
    let choice: DeviceChoice = config.device.parse()?;
    source::suit(&mut config, data, chosen)?;
    run::check(&config, data)?;
    let device = Device::choose(choice)?;
    let unmade = |e: std::io::Error| Error::Data(format!("no folder for the run can be made: {e}"));
    let (passing, folder);
    let folder = match out {
        Some(out) => RunFolder::create(out)?,
        None => {
            passing = tempfile::Builder::new().prefix("humdinger-fit-").tempdir().map_err(unmade)?;
            folder = passing.path().join("run");
            RunFolder::create(&folder)?
        }
    };
    match run::run(&config, data, &device, &folder, Start::New, stop, watch)? {
        Ending::Single(outcome) => {
            let model = Model::read(&folder.path().join(files::MODEL))?;
            Ok(Fitted { model, outcome: *outcome })
        }
        _ => Err(Error::Data("a single run ended as a cross-validation".into())),
    }
}

/// A watcher that says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Watch for Quiet {
    fn note(&mut self, _: &str) {}
    fn step(&mut self, _: usize, _: usize, _: usize, _: f32) {}
    fn epoch(&mut self, _: &super::tables::EpochRow, _: bool) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Audio;
    use crate::data::{Recording, Sound};
    use crate::train::Recipe;

    #[test]
    fn a_model_comes_of_samples_in_memory() -> Result<()> {
        let recipe = Recipe::Notebook;
        let recording = |i: usize| {
            let hz = [220.0, 880.0][i % 2];
            let sample = |t: usize| (0.2 + 0.01 * i as f32) * (hz * t as f32 * 0.000_571).sin();
            let audio = Audio::of_samples(vec![(0..9_000).map(sample).collect()], 11_000, "x")?;
            let song = ["low", "high"][i % 2].to_string();
            Ok(Recording { id: format!("{i:02}"), sound: Sound::Samples(audio), song, person: None })
        };
        let recordings = (0..8).map(recording).collect::<Result<Vec<_>>>()?;
        let stop = AtomicBool::new(false);
        let data = Dataset::of_recordings(recordings, &recipe.load_options(), &stop)?;
        let settings = Settings {
            recipe: Some(recipe),
            device: Some("cpu".into()),
            epochs: Some(1),
            val_fraction: Some(0.5),
            ..Settings::default()
        };
        let fitted = fit(settings.clone(), &data, None, &stop, &mut Quiet)?;
        assert!(fitted.outcome.finished && fitted.outcome.metrics.is_some_and(|metrics| metrics.clips == 4));
        assert_eq!(fitted.model.header.classes, ["high", "low"]);
        let folds = fit(Settings { folds: Some(2), ..settings }, &data, None, &stop, &mut Quiet);
        assert!(folds.unwrap_err().to_string().contains("no single model"));
        Ok(())
    }
}
