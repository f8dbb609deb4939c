//! Which recordings a run uses, and which of them validate.

use super::config::{Config, VAL_FRACTION};
use super::recipe::FrontEnd;
use super::report::last_part;
use super::suit::Chosen;
use crate::data::cache::{self, Cache};
use crate::data::labels::{ColumnNames, Listing};
use crate::data::names;
use crate::data::shared::Shared;
use crate::data::split::{self, Split, SplitBy};
use crate::data::{Dataset, LoadOptions, synth};
use crate::data::{check, labels};
use crate::graph::Communicator;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// The data set of a configuration: what it names, or the built-in one, made when first needed.
///
/// # Errors
/// Where it cannot be read or made.
pub fn dataset(config: &Config, reading: Reading, say: &dyn Fn(&str)) -> Result<Dataset> {
    dataset_among(config, reading, None, say)
}

/// The same for one of several ranks, which all call it at the same time: each reads its share of the files for all of them.
///
/// # Errors
/// As [`dataset`]; also where another rank is gone.
pub fn dataset_among(
    config: &Config,
    reading: Reading,
    ranks: Option<&dyn Communicator>,
    say: &dyn Fn(&str),
) -> Result<Dataset> {
    let front_end = config.recipe.front_end();
    let first_only = config.recipe.first_window_only();
    match &config.data {
        Some(path) => load_among((path, &config.columns), &front_end, first_only, reading, ranks, say),
        None => {
            // Some synthetic singers clip on purpose, as people do; that needs no warning.
            let others = |text: &str| {
                if !text.starts_with("warning: ") {
                    say(text)
                }
            };
            let made = synthetic(config.seed, say)?;
            load_among((&made, &ColumnNames::default()), &front_end, first_only, reading, ranks, &others)
        }
    }
}

/// What the data set of a configuration is called, for titles.
pub fn data_name(config: &Config) -> String {
    config.data.as_deref().map_or_else(|| "built-in recordings".into(), last_part)
}

/// How recordings are read, which makes no difference to what is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// An unreadable file is an error instead of being left out.
    pub strict: bool,
    /// Decode everything anew, and keep nothing for later runs.
    pub no_cache: bool,
}

impl Reading {
    /// The cache of decoded recordings, if one is used; a warning if it cannot be trusted.
    pub fn cache(self, say: &dyn Fn(&str)) -> Option<Cache> {
        if self.no_cache {
            return None;
        }
        Cache::open_default().unwrap_or_else(|why| {
            say(&format!("warning: {why}"));
            None
        })
    }
}

/// Loads recordings at a front end's sample rate; where a table lists them, its columns may have these names. With `first_only` no
/// more than the first window of each is kept.
///
/// # Errors
/// Where nothing can be read.
pub fn load(
    (path, columns): (&Path, &ColumnNames),
    front_end: &FrontEnd,
    first_only: bool,
    reading: Reading,
    say: &dyn Fn(&str),
) -> Result<Dataset> {
    load_among((path, columns), front_end, first_only, reading, None, say)
}

fn load_among(
    (path, columns): (&Path, &ColumnNames),
    front_end: &FrontEnd,
    first_only: bool,
    reading: Reading,
    ranks: Option<&dyn Communicator>,
    say: &dyn Fn(&str),
) -> Result<Dataset> {
    let shared = ranks.map(Shared::new);
    let cache = reading.cache(say);
    let options = LoadOptions {
        sample_rate: front_end.sample_rate,
        most_samples: first_only.then_some(front_end.window),
        strict: reading.strict,
        cache: cache.as_ref(),
        progress: true,
        shared: shared.as_ref(),
    };
    let mut listing = labels::list_by(path, columns);
    if let Some(ranks) = ranks {
        listing = same_everywhere(ranks.agree(listing)?, ranks);
    }
    let listing = listing?;
    say(&format!("labels from {}", listing.labels_from));
    check::notes(&listing).iter().for_each(|note| say(&format!("note: {note}")));
    let data = Dataset::from_listing(listing, path, &options)?;
    data.left_out.iter().for_each(|left_out| say(&format!("left out: {left_out}")));
    data.warnings.iter().take(5).for_each(|warning| say(&format!("warning: {warning}")));
    if data.warnings.len() > 5 {
        say(&format!("and {} more warnings; the report lists them", data.warnings.len() - 5));
    }
    Ok(data)
}

/// A listing, where all ranks have the same.
fn same_everywhere(listing: Listing, ranks: &dyn Communicator) -> Result<Listing> {
    let ids: Vec<&str> = listing.files.iter().map(|file| file.id.as_str()).collect();
    let sums = ranks.gather(&xxh3_64(ids.join("\n").as_bytes()).to_le_bytes())?;
    if sums.iter().any(|sum| *sum != sums[0]) {
        return Err(Error::Data("the ranks have recordings that differ; all must be given the same".into()));
    }
    Ok(listing)
}

/// The folder of the built-in data set of this seed, made where it is not there yet.
///
/// # Errors
/// Where there is no folder to make it in, or it cannot be written.
pub fn synthetic(seed: u64, say: &dyn Fn(&str)) -> Result<PathBuf> {
    let options = synth::Options { seed, ..synth::Options::default() };
    // Never those that another version of the synthesiser has made.
    let name = format!("{}-singers-seed-{seed}-{:016x}", options.singers, synth::fingerprint(&options)?);
    kept(&name, |folder| synth::keep(folder, &options, say))
}

/// The default number of synthetic singers for so many tunes: 100, as for the built-in tunes, and fewer (at least 10) where that would
/// be more than 12 000 recordings.
pub fn usual_singers(tunes: usize) -> usize {
    (12_000 / tunes.max(1)).clamp(10, 100)
}

/// The folder of recordings of these tunes by so many synthetic singers, which is made unless it exists. `whose` is a part of its name.
///
/// # Errors
/// As [`synthetic`]; also for numbers of singers out of range.
pub fn sung(tunes: &[synth::Tune], whose: &str, singers: usize, seed: u64, say: &dyn Fn(&str)) -> Result<PathBuf> {
    let options = synth::Options { seed, singers, ..synth::Options::default() };
    let tunes: Vec<&synth::Tune> = tunes.iter().collect();
    let words: Vec<&str> = whose.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let fingerprint = synth::fingerprint_of(&tunes, &options)?;
    let name = format!("{}-by-{singers}-singers-seed-{seed}-{fingerprint:016x}", words.join("-"));
    kept(&name, |folder| synth::keep_tunes(folder, &tunes, &options, say))
}

/// Whether a folder is called as those that [`sung`] fills.
pub fn is_sung(folder: &Path) -> bool {
    let name = folder.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
    name.contains("-singers-seed-") && folder.parent().is_some_and(|parent| parent.ends_with("synthetic"))
}

/// A folder for recordings that are made here, filled by `keep`.
fn kept(name: &str, keep: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let parent = cache::default_folder().unwrap_or_else(|| std::env::temp_dir().join("humdinger"));
    let folder = parent.join("synthetic").join(name);
    remove_unfinished(&parent.join("synthetic"));
    match keep(&folder) {
        Err(Error::File { path, detail }) => {
            Err(Error::file(path, format!("{detail}; or name another folder for such files in HUMDINGER_CACHE")))
        }
        Err(error) => Err(error),
        Ok(()) => Ok(folder),
    }
}

/// Removes what runs that were killed while they made recordings have left behind an hour ago or earlier.
fn remove_unfinished(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let old = entry
            .metadata()
            .and_then(|meta| meta.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > Duration::from_secs(3600)));
        if old && entry.file_name().to_string_lossy().starts_with(".humdinger-synth-") {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}

/// How a data set is split when the configuration does not say.
fn split_by(config: &Config, data: &Dataset) -> Result<SplitBy> {
    // --folds and --validation take precedence over a column.
    let usual = config.folds.is_none() && config.val_fraction == VAL_FRACTION;
    let default = || if usual { SplitBy::default_for(data) } else { SplitBy::default_without_columns(data) };
    config.split.as_ref().map_or_else(|| Ok(default()), |text| text.parse())
}

/// A note for users who did not choose how clips are split: that a column does it, or that the split is random because people are
/// unknown, although file names contain names; see [`names::names`].
pub fn note_on_names(config: &Config, data: &Dataset) -> Option<String> {
    let splits = config.folds.is_some() || config.val_fraction > 0.0;
    if config.split.is_some() || !splits {
        return None;
    }
    match split_by(config, data).ok()? {
        SplitBy::Column(name) => {
            let (others, text) = ("setting `split` = `person or random`", "says which recordings validate");
            return Some(format!("note: the column `{name}` {text}; {others} divides them otherwise"));
        }
        SplitBy::Random => {}
        _ => return None,
    }
    let hint = names::hint(names::names(data).ok()?);
    Some(format!(
        "note: who sings is not known, so clips are split at random, and the same voices are on both sides; {hint}"
    ))
}

/// The configuration's split, or its folds.
///
/// # Errors
/// Where the data cannot be split so, or hold fewer than two songs.
pub fn splits(config: &Config, data: &Dataset) -> Result<Vec<Split>> {
    let by = split_by(config, data)?;
    match config.folds {
        Some(count) => split::folds(data, &by, count, config.seed),
        None => Ok(vec![split::split(data, &by, config.val_fraction, config.seed)?]),
    }
}

/// Sets the options that the user did not choose to fit the number of recordings: see [`Config::suit`].
///
/// # Errors
/// As [`splits`].
pub fn suit(config: &mut Config, data: &Dataset, chosen: Chosen) -> Result<()> {
    let clips = splits(config, data)?.iter().map(|split| split.train.len()).max();
    config.suit(clips.unwrap_or(0), chosen);
    Ok(())
}

/// The number of outputs of the network.
///
/// # Errors
/// Where `--outputs` is below the number of songs.
pub fn outputs(config: &Config, data: &Dataset) -> Result<usize> {
    let songs = data.classes.len();
    match config.outputs {
        Some(outputs) if outputs < songs => {
            Err(Error::usage("outputs", format!("{outputs} is too few for the {songs} songs of the data")))
        }
        outputs => Ok(outputs.unwrap_or(songs)),
    }
}

/// A name for every output: the songs, and `output <i>` for outputs without a song.
pub fn names(data: &Dataset, outputs: usize) -> Vec<String> {
    let rest = (data.classes.len()..outputs).map(|i| format!("output {i}"));
    data.classes.iter().cloned().chain(rest).collect()
}

/// Number of people among clips, 0 where not all are known.
pub fn people(data: &Dataset, clips: &[usize]) -> usize {
    let mut names: Vec<Option<&str>> = clips.iter().map(|&i| data.clips[i].person.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    if names.first().is_some_and(Option::is_some) { names.len() } else { 0 }
}
