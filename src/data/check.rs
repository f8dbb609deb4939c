//! What a folder or table of recordings holds, looked at before anything is trained on it.

use super::alike;
use super::dataset::progress_bar;
use super::labels::{Labelled, LeftOut, Listing};
use super::names;
use super::reader;
use crate::Result;
use crate::audio::decode::Encoding;
use crate::audio::pieces::Pieces;
use crate::error::counted;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3;

/// A song with so many times the recordings of another is told of.
const UNEVEN: usize = 3;

/// Everything about a data set; as JSON, the object that `humdinger check --json` prints.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Where the labels come from, in words.
    pub labels_from: String,
    /// Recordings of each song, by its name.
    pub songs: BTreeMap<String, usize>,
    /// Recordings of each person, by name; empty where nobody is known.
    pub people: BTreeMap<String, usize>,
    /// What to know about the set as a whole, one sentence each.
    pub notes: Vec<String>,
    /// All files, those that are left out among them, in order of path.
    pub files: Vec<FileReport>,
}

/// What is known of one file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FileReport {
    /// Below the folder, or as the table has it.
    pub path: String,
    /// The song, where the file has one.
    pub song: Option<String>,
    /// Who sings, where that is known.
    pub person: Option<String>,
    /// How long it is; none where it cannot be read.
    pub seconds: Option<f64>,
    /// Channels in the file.
    pub channels: Option<usize>,
    /// Samples per second of each channel.
    pub sample_rate: Option<u32>,
    /// FFmpeg's short name of its codec: `pcm_s16le`, `mp3`, `opus`.
    pub codec: Option<String>,
    /// What is wrong with it although it can be used, one sentence each.
    pub warnings: Vec<String>,
    /// Why it is not used; none where it is.
    pub left_out: Option<String>,
    /// Whether no recording is lost by its being left out.
    #[serde(skip)]
    pub harmless: bool,
    /// Of the decoded samples.
    #[serde(skip)]
    pub(crate) sound: Option<u128>,
}

/// Decodes all files of a listing, on all cores, and tells what is in them; with `progress` there is a progress bar on stderr.
pub fn check(listing: &Listing, progress: bool) -> Report {
    let bar = progress_bar(listing.files.len(), "looking at recordings", progress);
    let mut files: Vec<FileReport> = listing
        .files
        .par_iter()
        .map(|file| {
            let report = look_at(file);
            bar.inc(1);
            report
        })
        .collect();
    bar.finish_and_clear();
    let mut notes = notes(listing);
    notes.extend(name_duplicates(&mut files));
    let used = || files.iter().filter(|file| file.left_out.is_none());
    let songs = count(used().filter_map(|file| file.song.as_deref()));
    let people = count(used().filter_map(|file| file.person.as_deref()));
    if songs.len() < 2 {
        notes.push(format!("{} can be used; training needs two songs at least", counted(songs.len(), "song")));
    }
    if people.is_empty() {
        let named = used().filter_map(|file| Some((file.path.as_str(), file.song.as_deref()?)));
        notes
            .extend(names::of_files(named).ok().map(|names| format!("who sings is not known; {}", names::hint(names))));
    }
    let known: Vec<&str> = listing.files.iter().map(|file| file.id.as_str()).collect();
    files.extend(listing.left_out.iter().flat_map(|left_out| not_used(left_out, &known)));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Report { labels_from: listing.labels_from.clone(), songs, people, notes, files }
}

/// What can be said of a listing before anything is decoded.
pub fn notes(listing: &Listing) -> Vec<String> {
    let mut notes = listing.notes.clone();
    notes.extend(imbalance(&count(listing.files.iter().map(|file| file.label.as_str()))));
    notes
}

/// How many of each name there are.
fn count<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    names.for_each(|name| *counts.entry(name.to_string()).or_default() += 1);
    counts
}

/// Names songs of which there are far more recordings than of others, and those that no split can divide.
fn imbalance(songs: &BTreeMap<String, usize>) -> Vec<String> {
    let mut order: Vec<(&String, usize)> = songs.iter().map(|(song, &count)| (song, count)).collect();
    order.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut notes = Vec::new();
    if let (Some((_, most)), Some((_, least))) = (order.first(), order.last())
        && *most >= UNEVEN * least
    {
        let named = |songs: &[(&String, usize)]| {
            songs.iter().map(|(song, count)| format!("\"{song}\" {count}")).collect::<Vec<_>>().join(", ")
        };
        let counts = match &order[..] {
            few if few.len() <= 8 => named(few),
            many => format!("{}, ..., {}", named(&many[..3]), named(&many[many.len() - 3..])),
        };
        notes.push(format!(
            "songs are unevenly recorded ({counts}): the rare ones will hardly be recognised, and accuracy hides it; record \
             more of them, or train with setting `balance`"
        ));
    }
    let single: Vec<String> = order.iter().filter(|(_, n)| *n == 1).map(|(song, _)| format!("\"{song}\"")).collect();
    if !single.is_empty() {
        notes.push(format!("one recording alone cannot both train and validate: {}", single.join(", ")));
    }
    notes
}

fn look_at(file: &Labelled) -> FileReport {
    let mut report = FileReport {
        path: file.id.clone(),
        song: Some(file.label.clone()),
        person: file.person.clone(),
        ..FileReport::default()
    };
    match sound_of(file) {
        Ok(Sound { seconds, sample_rate, encoding, warnings, sum }) => {
            (report.seconds, report.sample_rate) = (Some(seconds), Some(sample_rate));
            (report.channels, report.codec) = (Some(encoding.channels), Some(encoding.codec));
            (report.sound, report.warnings) = (Some(sum), warnings);
        }
        Err(crate::Error::File { detail, .. }) => report.left_out = Some(format!("unreadable: {detail}")),
        Err(error) => report.left_out = Some(format!("unreadable: {error}")),
    }
    report
}

/// What is known of sound that was decoded.
struct Sound {
    seconds: f64,
    sample_rate: u32,
    encoding: Encoding,
    warnings: Vec<String>,
    /// Of the samples.
    sum: u128,
}

/// Decodes a file, piece by piece where it is long.
fn sound_of(file: &Labelled) -> Result<Sound> {
    let mut sums: Vec<Xxh3> = Vec::new();
    let mut add = |channels: &[Vec<f32>]| {
        sums.resize_with(channels.len(), Xxh3::new);
        sums.iter_mut().zip(channels).for_each(|(sum, channel)| sum.update(bytemuck::cast_slice(channel)));
    };
    let long = if file.stretch.is_none() { Pieces::open(&file.path)? } else { None };
    let (frames, sample_rate, encoding, warnings) = match long {
        Some(mut pieces) => {
            while let Some(channels) = pieces.next(1 << 16)? {
                add(&channels);
            }
            (pieces.frames()?, pieces.sample_rate(), pieces.encoding(), pieces.warnings()?)
        }
        None => {
            let (audio, encoding) = reader::decode_part(&file.path, file.stretch)?;
            add(&audio.channels);
            (audio.frames() as u64, audio.sample_rate, encoding, audio.warnings)
        }
    };
    let mut hash = Xxh3::new();
    hash.update(&sample_rate.to_le_bytes());
    sums.iter().for_each(|sum| hash.update(&sum.digest128().to_le_bytes()));
    let seconds = frames as f64 / f64::from(sample_rate);
    Ok(Sound { seconds, sample_rate, encoding, warnings, sum: hash.digest128() })
}

/// Warns at files of equal sound, and returns the same sentences.
fn name_duplicates(files: &mut [FileReport]) -> Vec<String> {
    let mut equal = BTreeMap::<u128, Vec<usize>>::new();
    for (i, file) in files.iter().enumerate() {
        file.sound.into_iter().for_each(|sound| equal.entry(sound).or_default().push(i));
    }
    let mut groups: Vec<Vec<usize>> = equal.into_values().filter(|group| group.len() > 1).collect();
    groups.sort();
    let mut told = Vec::new();
    for group in groups {
        let names: Vec<(&str, &str)> =
            group.iter().map(|&i| (files[i].path.as_str(), files[i].song.as_deref().unwrap_or_default())).collect();
        let text = alike::same_recording(&names);
        group.iter().for_each(|&i| files[i].warnings.push(text.clone()));
        told.push(text);
    }
    told
}

/// Files that are left out for one reason. Of a file with two names both are told as "second is first".
fn not_used<'a>(left_out: &'a LeftOut, known: &'a [&str]) -> impl Iterator<Item = FileReport> + 'a {
    left_out.files.iter().map(move |text| {
        let second = text.match_indices(" is ").find(|(at, is)| known.contains(&&text[at + is.len()..]));
        let (path, reason) = match second {
            Some((at, is)) => (&text[..at], format!("{} ({})", left_out.reason, &text[at + is.len()..])),
            None => (text.as_str(), left_out.reason.clone()),
        };
        FileReport {
            path: path.to_string(),
            left_out: Some(reason),
            harmless: left_out.harmless,
            ..FileReport::default()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uneven_songs_are_told_with_their_counts() {
        let songs = |counts: &[usize]| counts.iter().enumerate().map(|(i, &n)| (format!("s{i}"), n)).collect();
        assert!(imbalance(&songs(&[10, 6, 4])).is_empty());
        let told = imbalance(&songs(&[53, 5])).join("; ");
        assert!(told.contains("\"s0\" 53, \"s1\" 5"), "{told}");
        assert_eq!(imbalance(&songs(&[1, 2])), ["one recording alone cannot both train and validate: \"s0\""]);
        assert!(imbalance(&songs(&[])).is_empty());
    }
}
