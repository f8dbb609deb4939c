//! A data set in memory: decoded, resampled, labelled clips.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[cfg(feature = "app")]
pub use super::load::LoadOptions;
#[cfg(feature = "app")]
pub(crate) use super::load::progress_bar;
use super::samples::Samples;
use crate::error::counted;
use crate::{Error, Result};

/// A part of a recording, in seconds from its beginning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// Where it begins.
    pub start: f64,
    /// Where it ends; none for the recording's end.
    pub end: Option<f64>,
}

impl Stretch {
    /// A part that has a length.
    ///
    /// # Errors
    /// Why it has none, in words that follow a file's name.
    pub fn new(start: f64, end: Option<f64>) -> std::result::Result<Self, &'static str> {
        match end {
            _ if !start.is_finite() || start < 0.0 => Err("its passage begins before the recording"),
            Some(end) if !end.is_finite() || end < start => Err("its passage ends before it begins"),
            Some(end) if end == start => Err("its passage is a moment, without length"),
            end => Ok(Self { start, end }),
        }
    }

    /// Whether it shares a moment with another part of the same recording.
    pub fn overlaps(&self, other: &Self) -> bool {
        let before = |a: &Self, b: &Self| a.end.is_some_and(|end| end <= b.start);
        !before(self, other) && !before(other, self)
    }
}

/// As the address of a part of a sound file has it (W3C Media Fragments): `#t=1.5,3`.
impl std::fmt::Display for Stretch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.end {
            Some(end) => write!(f, "#t={},{end}", self.start),
            None => write!(f, "#t={}", self.start),
        }
    }
}

/// One recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// Its path below the data set's root, `/` between the parts; of a part of a recording with that behind it, as [`Stretch`] is
    /// written.
    pub id: String,
    /// Where it lies.
    pub path: PathBuf,
    /// One or two channels as recorded, at [`Dataset::sample_rate`]; those of a data set lie together.
    pub samples: Samples,
    /// The part of the file that it is; none where it is all of it.
    pub stretch: Option<Stretch>,
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
            stretch: None,
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

/// Files left out for one reason.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    /// Why, worded to follow "12 files: ".
    pub reason: String,
    /// The files' ids, in order of name.
    pub files: Vec<String>,
    /// Whether no recording is lost by it (a text beside the recordings, a second link to one): no error even where every
    /// recording must be read.
    pub harmless: bool,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.files.len();
        write!(f, "{}: {}", counted(count, "file"), self.reason)?;
        let shown: Vec<&str> = self.files.iter().take(3).map(String::as_str).collect();
        write!(f, " ({}{})", shown.join(", "), if count > shown.len() { ", ..." } else { "" })
    }
}

impl Dataset {
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
            counted(self.classes.len(), "song"),
            self.classes.join(", ")
        )))
    }
}
