//! A data set in memory: decoded, resampled, labelled clips.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rayon::prelude::*;

use super::alike;
use super::cache::Cache;
use super::check;
use super::find::{Excluded, none_lost};
use super::labels::{self, Labelled, LeftOut, Listing};
use super::progress;
use super::reader::Reader;
use super::samples::{Arena, Samples};
use crate::{Error, Result};

/// One recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// Its path below the data set's root, `/` between the parts.
    pub id: String,
    /// Where it lies.
    pub path: PathBuf,
    /// One or two channels as recorded, at [`Dataset::sample_rate`]; those of a data set lie together.
    pub samples: Samples,
    /// The song, an index into [`Dataset::classes`].
    pub label: usize,
    /// Who sings, where that is known.
    pub person: Option<String>,
    /// The CSV's other columns, by name.
    pub columns: BTreeMap<String, String>,
}

impl Clip {
    /// A recording without label, person and data set.
    pub fn alone(path: &Path, channels: Vec<Vec<f32>>) -> Self {
        Self {
            id: path.display().to_string(),
            path: path.to_path_buf(),
            samples: channels.into(),
            label: 0,
            person: None,
            columns: BTreeMap::new(),
        }
    }

    /// Samples per channel.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are no samples; never so for a clip that was loaded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channel `index` of as many as the network wants: mono is the same in all.
    pub fn channel(&self, index: usize) -> &[f32] {
        match self.samples.channels() {
            0 => &[],
            channels => self.samples.channel(index % channels),
        }
    }
}

/// Labelled clips in order of id; the order is the item number that augmentation is drawn by.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    /// In order of id.
    pub clips: Vec<Clip>,
    /// The songs in order of name.
    pub classes: Vec<String>,
    /// Of every clip, in Hz.
    pub sample_rate: u32,
    /// Files that are not among the clips, and why.
    pub left_out: Vec<LeftOut>,
    /// What had to be repaired, one sentence each, naming the file.
    pub warnings: Vec<String>,
    /// Where the labels come from, in words.
    pub labels_from: String,
    /// What to know of the set as a whole, one sentence each.
    pub notes: Vec<String>,
    /// Checksums of what is in the clips' files, by id; none of clips that were made in memory.
    pub contents: BTreeMap<String, u64>,
}

/// How to load a data set.
#[derive(Debug)]
pub struct LoadOptions<'a> {
    /// Rate that every clip is resampled to, in Hz.
    pub sample_rate: u32,
    /// Keep at most so many samples of each clip (after resampling).
    pub most_samples: Option<usize>,
    /// An unreadable file is an error instead of being left out.
    pub strict: bool,
    /// Decoded clips of earlier runs.
    pub cache: Option<&'a Cache>,
    /// Show a progress bar on stderr (when that is a terminal).
    pub progress: bool,
}

impl Default for LoadOptions<'_> {
    /// 11 000 Hz, whole clips, lenient, no cache, no progress bar.
    fn default() -> Self {
        Self { sample_rate: 11_000, most_samples: None, strict: false, cache: None, progress: false }
    }
}

impl Dataset {
    /// Lists (see [`labels::list`]) and loads the data set at `path`, on all cores.
    ///
    /// # Errors
    /// When nothing is listed, when no file can be read, and with `strict` when any recording is left out or cannot be read.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self> {
        Self::from_listing(labels::list(path)?, path, options)
    }

    /// Loads the files of a listing; `path` is only for messages.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn from_listing(listing: Listing, path: &Path, options: &LoadOptions) -> Result<Self> {
        if options.strict {
            none_lost(path, &listing.left_out)?;
        }
        let notes = check::notes(&listing);
        let bar = progress_bar(listing.files.len(), "reading recordings", options.progress);
        let arena = Arena::default();
        let decoded: Vec<_> = listing
            .files
            .into_par_iter()
            .map_init(Reader::default, |reader, file| {
                let read = reader.read(&file.path, options);
                let read = read.map(|audio| (arena.put(&audio.channels), audio.warnings.clone()));
                bar.inc(1);
                (file, read, reader.contents())
            })
            .collect();
        bar.finish_and_clear();

        let mut excluded = Excluded::default();
        let mut warnings = Vec::new();
        let mut readable = Vec::with_capacity(decoded.len());
        let mut spans = Vec::with_capacity(decoded.len());
        let mut contents = BTreeMap::new();
        for (file, read, sum) in decoded {
            match read {
                Ok((span, told)) => {
                    let name = file.path.display();
                    warnings.extend(told.iter().map(|warning| format!("{name}: {warning}")));
                    contents.insert(file.id.clone(), sum);
                    readable.push(file);
                    spans.push(span);
                }
                Err(error) if options.strict => return Err(error),
                Err(Error::File { detail, .. }) => excluded.add(format!("unreadable: {detail}"), file.id),
                Err(error) => excluded.add(format!("unreadable: {error}"), file.id),
            }
        }
        let mut left_out = listing.left_out;
        left_out.extend(excluded.finish());
        if readable.is_empty() {
            let reasons: Vec<String> = left_out.iter().map(ToString::to_string).collect();
            return Err(Error::file(path, format!("none of its recordings can be used: {}", reasons.join("; "))));
        }
        let classes: BTreeSet<&String> = readable.iter().map(|file| &file.label).collect();
        let classes: Vec<String> = classes.into_iter().cloned().collect();
        let mut clips: Vec<Clip> = readable
            .into_iter()
            .zip(arena.close(spans))
            .map(|(Labelled { path, id, label, person, columns }, samples)| {
                let label = classes.partition_point(|class| *class < label);
                Clip { id, path, samples, label, person, columns }
            })
            .collect();
        clips.sort_by(|a, b| a.id.cmp(&b.id));
        for equal in alike::equal_sounds(&clips) {
            let names: Vec<(&str, &str)> =
                equal.iter().map(|&i| (clips[i].id.as_str(), classes[clips[i].label].as_str())).collect();
            warnings.push(alike::same_recording(&names));
        }
        let labels_from = listing.labels_from;
        Ok(Self { clips, classes, sample_rate: options.sample_rate, left_out, warnings, labels_from, notes, contents })
    }

    /// Clips of each song, in the order of [`Dataset::classes`].
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for clip in &self.clips {
            counts[clip.label] += 1;
        }
        counts
    }

    /// # Errors
    /// When there are fewer than `least` songs.
    pub fn require_classes(&self, least: usize) -> Result<()> {
        if self.classes.len() >= least {
            return Ok(());
        }
        let left_out: Vec<String> = self.left_out.iter().map(ToString::to_string).collect();
        let left_out =
            if left_out.is_empty() { String::new() } else { format!(" (left out: {})", left_out.join("; ")) };
        Err(Error::Data(format!(
            "the recordings hold {} ({}); at least {least} are needed{left_out}",
            crate::error::counted(self.classes.len(), "song"),
            self.classes.join(", ")
        )))
    }
}

/// A progress bar on stderr over `length` recordings, after words that say what is done, or now and then a line where that is no terminal;
/// nothing where it is not to be `shown`.
pub(crate) fn progress_bar(length: usize, doing: &'static str, shown: bool) -> ProgressBar {
    let length = length as u64;
    if !shown {
        return ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
    }
    let bar = ProgressBar::with_draw_target(Some(length), progress::target());
    let looks = if progress::in_lines() { "{msg}: {pos} of {len}" } else { "{msg} {wide_bar} {pos}/{len} {eta}" };
    if let Ok(style) = ProgressStyle::with_template(looks) {
        bar.set_style(style);
    }
    bar.with_message(doing)
}
