//! Loads a data set: every file of a listing, decoded on all cores.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rayon::prelude::*;

use super::alike;
use super::cache::Cache;
use super::check;
use super::dataset::{Clip, Dataset};
use super::find::{Excluded, none_lost};
use super::labels::{self, Labelled, Listing};
use super::mapped::{MappedSet, Opened, Sound};
use super::progress;
use super::reader::Reader;
use super::samples::{Arena, Samples, Span};
use super::shared::{self, Shared};
use crate::audio::Audio;
use crate::graph::HostMemory;
use crate::{Error, Result};

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
    /// Those who read a share of the files each; all of them load the same data set at the same time.
    pub shared: Option<&'a Shared<'a>>,
}

impl Default for LoadOptions<'_> {
    /// 11 000 Hz, whole clips, lenient, no cache, no progress bar.
    fn default() -> Self {
        Self { sample_rate: 11_000, most_samples: None, strict: false, cache: None, progress: false, shared: None }
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
        let mut warnings = Vec::new();
        let (memory, decoded) = decode(&listing.files, options, &mut warnings)?;

        let mut excluded = Excluded::default();
        let mut readable = Vec::with_capacity(decoded.len());
        let mut spans = Vec::with_capacity(decoded.len());
        let mut contents = BTreeMap::new();
        for (file, (read, sum)) in listing.files.into_iter().zip(decoded) {
            match read {
                Ok((span, told)) => {
                    let name =
                        format!("{}{}", file.path.display(), file.stretch.map_or(String::new(), |s| s.to_string()));
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
            .zip(Samples::lying_in(&memory, spans))
            .map(|(Labelled { path, id, stretch, label, person, columns }, samples)| {
                let label = classes.partition_point(|class| *class < label);
                Clip { id, path, samples, stretch, label, person, columns }
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
}

/// What was read of a file: where its samples lie and what had to be repaired, and the checksum of the file.
pub(super) type Decoded = (Result<(Span, Vec<String>)>, u64);

/// Decodes files, each once: into one file of the cache where they are many, else into memory. What was read of each, and the memory in
/// which its samples lie.
fn decode(files: &[Labelled], options: &LoadOptions, warnings: &mut Vec<String>) -> Result<(HostMemory, Vec<Decoded>)> {
    if let Some(set) = MappedSet::of(files, options) {
        match into_a_file(&set, files, options) {
            Ok(read) => return Ok(read),
            Err(why) => warnings.push(format!(
                "the decoded recordings cannot be kept in {}: {why}; they are held in memory instead",
                set.folder().display()
            )),
        }
    }
    into_memory(files, options)
}

fn into_a_file(set: &MappedSet, files: &[Labelled], options: &LoadOptions) -> io::Result<(HostMemory, Vec<Decoded>)> {
    if let Some(Opened { memory, sounds }) = set.open() {
        // What could not be read is tried again; where that helps, all is put together anew.
        let read = |(file, sound): (&Labelled, Sound)| match sound.read {
            Some(read) => Some((Ok(read), sound.contents)),
            None => Reader::default().read(&file.path, file.stretch, options).err().map(|error| (Err(error), 0)),
        };
        if let Some(decoded) = files.par_iter().zip(sounds).map(read).collect() {
            return Ok((memory, decoded));
        }
    }
    let (earlier, writer) = (set.earlier(), set.begin()?);
    let cache = options.cache.map(Cache::for_reading);
    let options = &LoadOptions { cache: cache.as_ref(), ..*options };
    let bar = progress_bar(files.len(), "reading recordings", options.progress);
    let lost = |path: &Path| Error::file(path, "could not be kept");
    let decoded: Vec<Decoded> = files
        .par_iter()
        .zip(set.files())
        .map_init(Reader::default, |reader, (file, id)| {
            bar.inc(1);
            if writer.has_failed() {
                return (Err(lost(&file.path)), 0);
            }
            let put = |channels: &[&[f32]]| writer.put(channels).ok_or_else(|| lost(&file.path));
            if let Some((channels, sound)) = earlier.get(*id) {
                return (put(&channels).map(|span| (span, sound.warnings().to_vec())), sound.contents);
            }
            let read = reader.read(&file.path, file.stretch, options).and_then(|audio| {
                let channels: Vec<&[f32]> = audio.channels.iter().map(Vec::as_slice).collect();
                Ok((put(&channels)?, audio.warnings.clone()))
            });
            (read, reader.contents())
        })
        .collect();
    bar.finish_and_clear();
    let memory = set.finish(writer, &decoded)?;
    Ok((memory, decoded))
}

fn into_memory(files: &[Labelled], options: &LoadOptions) -> Result<(HostMemory, Vec<Decoded>)> {
    let bar = progress_bar(files.len(), "reading recordings", options.progress);
    let arena = Arena::default();
    let decoded: Vec<_> = files
        .par_iter()
        .enumerate()
        .map_init(Reader::default, |reader, (number, file)| {
            if options.shared.is_some_and(|shared| !shared.is_own(number)) {
                return None;
            }
            let read = reader.read(&file.path, file.stretch, options);
            let sent = options.shared.map(|_| read.as_ref().map(|audio| shared::encoded(audio)).map_err(reason));
            let read = read.and_then(|audio| {
                let span = arena.put(&audio.channels).ok_or_else(|| no_memory(&file.path, audio))?;
                Ok((span, audio.warnings.clone()))
            });
            let sum = reader.contents();
            if let (Some(shared), Some(sent)) = (options.shared, sent) {
                shared.keep((number, &file.id, sum), sent);
            }
            bar.inc(1);
            Some((read, sum))
        })
        .collect();
    let decoded = with_others(files, decoded, (options.shared, options.sample_rate), &arena, || bar.inc(1))?;
    bar.finish_and_clear();
    Ok((arena.close(), decoded))
}

/// Why a file could not be read, without its name.
fn reason(error: &Error) -> String {
    match error {
        Error::File { detail, .. } => detail.clone(),
        error => error.to_string(),
    }
}

/// What was read of files, with what other ranks have read of them, where it was not this one.
fn with_others(
    files: &[Labelled],
    mut decoded: Vec<Option<Decoded>>,
    (shared, sample_rate): (Option<&Shared>, u32),
    arena: &Arena,
    mut done: impl FnMut(),
) -> Result<Vec<Decoded>> {
    if let Some(shared) = shared {
        shared.others(|read| {
            if let Some(file) = files.get(read.number).filter(|file| file.id == read.id) {
                let sound = read.sound.map_err(|detail| Error::file(&file.path, detail));
                let sound = sound.and_then(|(channels, warnings)| {
                    let audio = Audio { channels, sample_rate, warnings: Vec::new() };
                    let span = arena.put(&audio.channels).ok_or_else(|| no_memory(&file.path, &audio))?;
                    Ok((span, warnings))
                });
                decoded[read.number] = Some((sound, read.contents));
                done();
            }
            Ok(())
        })?;
    }
    let differ = || Error::Data("the ranks have recordings that differ; all must be given the same".into());
    decoded.into_iter().map(|decoded| decoded.ok_or_else(differ)).collect()
}

/// Why a recording is left out for which the other ones leave no memory.
pub(super) fn no_memory(path: &Path, audio: &Audio) -> Error {
    let minutes = audio.seconds() / 60.0;
    Error::file(path, format!("lasts {minutes:.0} minutes, for which there is not enough memory beside the others"))
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
