//! The base model that comes with the program: `melody`'s network as `humdinger pretrain` made it, with a last layer that names the
//! built-in tunes.

use super::model::Model;
use super::weights::Weights;
use crate::Result;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// The file `models/base.safetensors`.
pub const FILE: &[u8] = include_bytes!("../../models/base.safetensors");

/// What it is called where a path would stand in messages.
pub const PATH: &str = "the built-in base model";

/// What stands for it on the command line, in files and in messages.
pub const NAME: &str = "base";

/// The model.
///
/// # Errors
/// None for a program that was built from an undamaged file.
pub fn model() -> Result<Model> {
    Model::parse(FILE, Path::new(PATH))
}

/// Its weights, with the description.
///
/// # Errors
/// As [`model`].
pub fn weights() -> Result<Weights> {
    Weights::parse(FILE).map_err(|detail| crate::Error::file(PATH, detail))
}

/// A number that differs for different base models: XXH3 of the file, 16 hexadecimal digits.
pub fn checksum() -> String {
    format!("{:016x}", xxh3_64(FILE))
}

/// How messages name the base model of this file.
pub fn described(file: &[u8]) -> String {
    format!("the base model of this program ({:016x})", xxh3_64(file))
}

#[cfg(all(test, feature = "app"))]
mod tests {
    use super::*;
    use crate::data::synth::tunes;
    use crate::train::Recipe;
    use crate::train::pretrain::KEPT;

    #[test]
    fn it_is_the_one_that_was_measured() -> Result<()> {
        // docs/results/base-model.md says how good this file is; another one has to be measured again.
        assert_eq!(checksum(), include_str!("../../models/base.xxh3").trim());
        assert!(FILE.len() <= 1_500_000, "{} bytes", FILE.len());
        let model = model()?;
        assert_eq!(model.header.recipe, Recipe::Melody);
        assert_eq!(model.header.front_end, Recipe::Melody.front_end());
        let names: Vec<&str> = tunes().iter().map(|tune| &*tune.name).collect();
        assert_eq!(model.header.classes, names);
        assert!(model.distribution.is_some() && weights()?.tensors.contains_key("lin.weight"));
        Ok(())
    }

    #[test]
    fn its_network_has_heard_none_of_the_kept_songs() -> Result<()> {
        let trained_on = model()?.header.trained_on.unwrap_or_default();
        let network = trained_on.split(';').next().unwrap_or_default();
        assert!(network.contains("generated melodies") && network.contains("OdeToJoy"), "{trained_on}");
        let kept: Vec<&str> = KEPT.into_iter().filter(|song| network.contains(song)).collect();
        assert!(kept.is_empty(), "it has heard {kept:?}");
        Ok(())
    }
}
