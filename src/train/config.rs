//! What a run is to do: the one form that `--config` files, the run folder's `config.toml` and the command line share.

pub use super::init::{FRESH, Init};
use super::recipe::Recipe;
use super::suggest::did_you_mean;
use super::variations::{Parts, Variation, Variations};
use crate::data::columns::ColumnNames;
use crate::nn::Classifier;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Settings as they are given: what is not set takes the recipe's default. Later settings override earlier ones
/// ([`Settings::or`]).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder or CSV file of recordings; the built-in synthetic data where there is none.
    pub data: Option<PathBuf>,
    /// Names of a table's columns.
    pub columns: Option<ColumnNames>,
    /// Which recipe.
    pub recipe: Option<Recipe>,
    /// `auto`, `cpu`, `gpu` or `gpu:N`.
    pub device: Option<String>,
    /// Passes over the training clips.
    pub epochs: Option<usize>,
    /// Clips in a step.
    pub batch_size: Option<usize>,
    /// The schedule's highest learning rate.
    pub learning_rate: Option<f64>,
    /// Decoupled weight decay (AdamW's).
    pub weight_decay: Option<f64>,
    /// Share of the target probability that is spread evenly over all songs.
    pub label_smoothing: Option<f64>,
    /// Everything random is drawn from this.
    pub seed: Option<u64>,
    /// `person`, `name`, `random` or `column:NAME`.
    pub split: Option<String>,
    /// Share of the clips that validate.
    pub val_fraction: Option<f64>,
    /// Number of folds of a cross-validation.
    pub folds: Option<usize>,
    /// Random variation of the training clips.
    pub augment: Option<bool>,
    /// Kinds of variation that are left out.
    pub without: Option<Vec<Variation>>,
    /// How `melody` cuts training clips to parts.
    pub parts: Option<Parts>,
    /// Whether clips of rare songs come several times in an epoch, so that all songs come about as often.
    pub balance: Option<bool>,
    /// A new random order in each epoch; else in order of file name.
    pub shuffle: Option<bool>,
    /// Outputs of the network, where that is not the number of songs.
    pub outputs: Option<usize>,
    /// Weights to begin with: a file, `base` or `none`.
    pub init: Option<PathBuf>,
    /// Epochs without a better model after which training ends; 0 for never.
    pub patience: Option<usize>,
    /// Blocks of the network, from the first on, that stay as they begin.
    pub frozen: Option<usize>,
    /// Whether batch norm keeps the statistics that it begins with, in every block.
    pub frozen_norms: Option<bool>,
    /// Whether the report holds the clips that it plays, instead of playing them from where they lie.
    pub embed_audio: Option<bool>,
}

const KEYS: [&str; 24] = [
    "data",
    "columns",
    "recipe",
    "device",
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "label_smoothing",
    "seed",
    "split",
    "val_fraction",
    "folds",
    "augment",
    "without",
    "parts",
    "balance",
    "shuffle",
    "outputs",
    "init",
    "patience",
    "frozen",
    "frozen_norms",
    "embed_audio",
];

/// Settings that make no difference to what is trained.
const HARMLESS: [&str; 2] = ["device", "embed_audio"];

/// The default patience, in epochs, for training from the base model without --epochs.
const PATIENCE: usize = 10;

/// The default share of validation clips.
pub(super) const VAL_FRACTION: f64 = 0.2;

impl Settings {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`Error::Usage`] where it cannot be read or parsed, or has a key that is not known or of the wrong type.
    pub fn read(path: &Path) -> Result<Self> {
        let option = || format!("configuration {}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| Error::usage(option(), format!("cannot be read: {e}")))?;
        Self::parse(&text).map_err(|detail| Error::usage(option(), detail))
    }

    /// Parses TOML. The error says what is wrong, and where, without the file's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string().trim().to_string())?;
        for key in table.keys() {
            if !KEYS.contains(&key.as_str()) {
                let hint = match did_you_mean(key, &KEYS) {
                    hint if hint.is_empty() => format!("; known are {}", KEYS.join(", ")),
                    hint => hint,
                };
                return Err(format!("unknown key `{key}`{hint}"));
            }
        }
        toml::from_str(text).map_err(|e| e.to_string().trim().to_string())
    }

    /// These settings, completed from others where they say nothing.
    pub fn or(self, other: Self) -> Self {
        Self {
            data: self.data.or(other.data),
            columns: self.columns.or(other.columns),
            recipe: self.recipe.or(other.recipe),
            device: self.device.or(other.device),
            epochs: self.epochs.or(other.epochs),
            batch_size: self.batch_size.or(other.batch_size),
            learning_rate: self.learning_rate.or(other.learning_rate),
            weight_decay: self.weight_decay.or(other.weight_decay),
            label_smoothing: self.label_smoothing.or(other.label_smoothing),
            seed: self.seed.or(other.seed),
            split: self.split.or(other.split),
            val_fraction: self.val_fraction.or(other.val_fraction),
            folds: self.folds.or(other.folds),
            augment: self.augment.or(other.augment),
            without: self.without.or(other.without),
            parts: self.parts.or(other.parts),
            balance: self.balance.or(other.balance),
            shuffle: self.shuffle.or(other.shuffle),
            outputs: self.outputs.or(other.outputs),
            init: self.init.or(other.init),
            patience: self.patience.or(other.patience),
            frozen: self.frozen.or(other.frozen),
            frozen_norms: self.frozen_norms.or(other.frozen_norms),
            embed_audio: self.embed_audio.or(other.embed_audio),
        }
    }

    /// What a run folder's settings mean: runs of before there was a base model say nothing of it, and did not begin with it.
    pub fn of_earlier_runs(self) -> Self {
        Self { init: self.init.or_else(|| Some(FRESH.into())), ..self }
    }

    /// Fills in the recipe's defaults and checks every value.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the option whose value makes no sense.
    pub fn resolve(self) -> Result<Config> {
        let recipe = self.recipe.unwrap_or_default();
        let defaults = recipe.defaults();
        let init = match self.init {
            Some(path) => Init::of(path),
            None if recipe == Recipe::Melody => Init::Base,
            None => Init::Fresh,
        };
        // From nothing a validation loss stands still for long while the learning rate is high.
        let usual = if init == Init::Base && self.epochs.is_none() { PATIENCE } else { 0 };
        let patience = self.patience.unwrap_or(usual);
        let config = Config {
            data: self.data,
            columns: self.columns.unwrap_or_default(),
            recipe,
            device: self.device.unwrap_or_else(|| "auto".into()),
            epochs: self.epochs.unwrap_or(defaults.epochs),
            batch_size: self.batch_size.unwrap_or(defaults.batch_size),
            learning_rate: self.learning_rate.unwrap_or(defaults.learning_rate),
            weight_decay: self.weight_decay.unwrap_or(defaults.weight_decay),
            label_smoothing: self.label_smoothing.unwrap_or(defaults.label_smoothing),
            seed: self.seed.unwrap_or(1),
            split: self.split,
            val_fraction: self.val_fraction.unwrap_or(VAL_FRACTION),
            folds: self.folds,
            augment: self.augment.unwrap_or(true),
            without: self.without.unwrap_or_default(),
            // Runs of before there was a choice say nothing of these, and had them like this.
            parts: self.parts.unwrap_or(Parts::SOME),
            frozen_norms: self.frozen_norms.unwrap_or(false),
            balance: self.balance.unwrap_or(false),
            shuffle: self.shuffle.unwrap_or(true),
            outputs: self.outputs,
            init,
            patience,
            frozen: self.frozen.unwrap_or(0),
            embed_audio: self.embed_audio.unwrap_or(false),
        };
        config.check()?;
        Ok(config)
    }
}

/// A complete configuration. The fields are those of [`Settings`].
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Config {
    pub data: Option<PathBuf>,
    pub columns: ColumnNames,
    pub recipe: Recipe,
    pub device: String,
    pub epochs: usize,
    pub batch_size: usize,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub label_smoothing: f64,
    pub seed: u64,
    pub split: Option<String>,
    pub val_fraction: f64,
    pub folds: Option<usize>,
    pub augment: bool,
    pub without: Vec<Variation>,
    pub parts: Parts,
    pub balance: bool,
    pub shuffle: bool,
    pub outputs: Option<usize>,
    pub init: Init,
    pub patience: usize,
    pub frozen: usize,
    pub frozen_norms: bool,
    pub embed_audio: bool,
}

/// That an option's value is in a range.
pub(super) fn whole(option: &str, value: usize, low: usize, high: usize) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::usage(option, format!("{value} is not from {low} to {high}")))
}

impl Config {
    fn check(&self) -> Result<()> {
        let real = |option: &str, value: f64, good: bool, allowed: &str| match good {
            true => Ok(()),
            false => Err(Error::usage(option, format!("{value} is not {allowed}"))),
        };
        whole("epochs", self.epochs, 1, 1_000_000)?;
        whole("batch_size", self.batch_size, 1, 4096)?;
        let (rate, decay, smoothing, share) =
            (self.learning_rate, self.weight_decay, self.label_smoothing, self.val_fraction);
        real("learning_rate", rate, rate > 0.0 && rate <= 10.0, "above 0 and at most 10")?;
        real("weight_decay", decay, (0.0..=1.0).contains(&decay), "from 0 to 1")?;
        real("label_smoothing", smoothing, (0.0..1.0).contains(&smoothing), "from 0 to 1 (1 excluded)")?;
        real("val_fraction", share, (0.0..1.0).contains(&share), "from 0 to 1 (1 excluded)")?;
        if let Some(folds) = self.folds {
            whole("folds", folds, 2, 1000)?;
        }
        if let Some(outputs) = self.outputs {
            // What is counted of every output as every other one must fit into memory.
            whole("outputs", outputs, 2, 2_000)?;
        }
        whole("frozen", self.frozen, 0, self.recipe.classifier(2).blocks.len())?;
        if self.recipe != Recipe::Melody && self.init == Init::Base {
            let detail =
                format!("the base model is melody's, not {}'s; name a file of weights, or {FRESH}", self.recipe);
            return Err(Error::usage("init", detail));
        }
        self.parts.check()?;
        if self.recipe != Recipe::Melody && self.parts != Parts::SOME {
            let detail = format!("the recipe {} uses all of its clips", self.recipe);
            return Err(Error::usage("parts", detail));
        }
        if self.recipe != Recipe::Melody && !self.without.is_empty() {
            let detail =
                format!("the recipe {} is varied as a whole; setting `no_augment` leaves it alone", self.recipe);
            return Err(Error::usage("without", detail));
        }
        if i64::try_from(self.seed).is_err() {
            return Err(Error::usage("seed", format!("{} is above {}", self.seed, i64::MAX)));
        }
        if let Some(split) = &self.split {
            split.parse::<crate::data::split::SplitBy>()?;
        }
        Ok(())
    }

    /// The network that is trained.
    pub fn classifier(&self, outputs: usize) -> Classifier {
        let Self { frozen, frozen_norms, .. } = *self;
        Classifier { frozen, frozen_norms, ..self.recipe.classifier(outputs) }
    }

    /// How `melody` varies its training clips, where it does.
    pub fn variations(&self) -> Variations {
        Variations::without(&self.without).cut(self.parts)
    }

    /// The configuration as settings that say everything.
    pub fn settings(&self) -> Settings {
        let own = self.clone();
        Settings {
            data: own.data,
            // Programs of before know no such key.
            columns: (!own.columns.is_empty()).then_some(own.columns),
            recipe: Some(own.recipe),
            device: Some(own.device),
            epochs: Some(own.epochs),
            batch_size: Some(own.batch_size),
            learning_rate: Some(own.learning_rate),
            weight_decay: Some(own.weight_decay),
            label_smoothing: Some(own.label_smoothing),
            seed: Some(own.seed),
            split: own.split,
            val_fraction: Some(own.val_fraction),
            folds: own.folds,
            augment: Some(own.augment),
            without: (!own.without.is_empty()).then_some(own.without),
            parts: (own.parts != Parts::SOME).then_some(own.parts),
            balance: own.balance.then_some(true),
            shuffle: Some(own.shuffle),
            outputs: own.outputs,
            init: Some(own.init.path()),
            patience: Some(own.patience),
            frozen: Some(own.frozen),
            // Programs of before know no such keys.
            frozen_norms: own.frozen_norms.then_some(true),
            embed_audio: own.embed_audio.then_some(true),
        }
    }

    /// The configuration as TOML, which [`Settings::parse`] reads.
    ///
    /// # Errors
    /// Where a path is not Unicode.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(&self.settings())
            .map_err(|e| Error::usage("config.toml", format!("the configuration cannot be written as TOML: {e}")))
    }

    /// Names of the keys in which this and another configuration differ, other than those that make no difference to what is trained.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let table = |config: &Self| toml::Table::try_from(config.settings()).unwrap_or_default();
        let (ours, theirs) = (table(self), table(other));
        let differs = |key: &&str| !HARMLESS.contains(key) && ours.get(*key) != theirs.get(*key);
        KEYS.into_iter().filter(|key| differs(key)).map(str::to_string).collect()
    }

    /// Name and value of every setting, for people.
    pub fn table(&self) -> Vec<(&'static str, String)> {
        let path = |path: &Option<PathBuf>, none: &str| {
            path.as_ref().map_or_else(|| none.to_string(), |path| path.display().to_string())
        };
        let mut rows = vec![
            ("recipe", self.recipe.to_string()),
            ("data", path(&self.data, "synthetic, made here")),
            ("device", self.device.clone()),
            ("epochs", self.epochs.to_string()),
            ("batch size", self.batch_size.to_string()),
            ("learning rate", self.learning_rate.to_string()),
            ("weight decay", self.weight_decay.to_string()),
            ("label smoothing", self.label_smoothing.to_string()),
            ("seed", self.seed.to_string()),
            ("split", self.split.clone().unwrap_or_else(|| "by person where people are known".into())),
        ];
        match self.folds {
            Some(folds) => rows.push(("folds", folds.to_string())),
            None => rows.push(("validation share", self.val_fraction.to_string())),
        }
        rows.push(("augmentation", if self.augment { "on" } else { "off" }.into()));
        if !self.without.is_empty() {
            rows.push(("left out", self.without.iter().map(|way| way.name()).collect::<Vec<_>>().join(", ")));
        }
        if self.recipe == Recipe::Melody && self.augment && self.variations().has(Variation::Parts) {
            let Parts { share, shortest, longest } = self.parts;
            rows.push(("cut", format!("{:.0} % of the clips, to {shortest} to {longest} windows", 100.0 * share)));
        }
        if self.balance {
            rows.push(("balance", "clips of rare songs come several times in an epoch".into()));
        }
        rows.push(("order", if self.shuffle { "shuffled every epoch" } else { "by file name" }.into()));
        if let Some(outputs) = self.outputs {
            rows.push(("outputs", outputs.to_string()));
        }
        rows.push(("begins with", self.init.describe()));
        if self.frozen > 0 {
            rows.push((
                "frozen",
                format!("the first {} of {} blocks", self.frozen, self.recipe.classifier(2).blocks.len()),
            ));
        }
        if self.frozen_norms {
            rows.push(("batch norm", "keeps the statistics that it begins with".into()));
        }
        if self.patience > 0 {
            rows.push(("patience", format!("{} epochs without a better model", self.patience)));
        }
        rows
    }
}

#[cfg(test)]
mod tests;
