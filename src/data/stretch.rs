//! Passages of long recordings, each a clip of its own: as tables have them, and as label tracks of Audacity, which are texts with a line
//! of start, end (in seconds) and label for each passage, separated by tabs.

use std::path::Path;

use super::text;
use crate::audio::decode::{is_sound_file, names_sound};
use crate::{Error, Result};

pub use super::dataset::Stretch;

/// A time in seconds: `12.5`, `12,5`, `1:02.5` or `1:02:03`.
pub fn seconds(text: &str) -> Option<f64> {
    let text = text.trim().replace(',', ".");
    let mut sum = 0.0;
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return None;
    }
    for (i, part) in parts.iter().enumerate() {
        let value: f64 = part.trim().parse().ok()?;
        // Minutes and seconds behind a colon.
        if !value.is_finite() || i > 0 && !(0.0..60.0).contains(&value) {
            return None;
        }
        sum = sum * 60.0 + value;
    }
    Some(sum)
}

/// The sound file that a table or label track of this name is of: the one with its name but for the ending, in the same folder, as
/// `rehearsal.wav` for `rehearsal.txt` and for Raven's `rehearsal.Table.1.selections.txt`. Its name.
pub fn sound_beside(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let stem = name.rsplit_once('.')?.0;
    let raven = stem.strip_suffix(".selections").map(|stem| stem.find(".Table.").map_or(stem, |at| &stem[..at]));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|other| names_sound(Path::new(other)) && other != name)
        .collect();
    names.sort_by_key(|other| (!is_sound_file(Path::new(other)), other.clone()));
    let of = |stem: &str| names.iter().find(|other| other.rsplit_once('.').is_some_and(|(other, _)| other == stem));
    of(stem).or_else(|| of(raven?)).cloned()
}

/// The texts that may be a sound file's label track, by name.
pub fn tracks_of(sound: &str) -> Vec<String> {
    let stem = sound.rsplit_once('.').map_or(sound, |(stem, _)| stem);
    [".txt", ".Table.1.selections.txt", ".selections.txt"].iter().map(|ending| format!("{stem}{ending}")).collect()
}

/// The passages of a label track; none where the text is no label track. Of each what is wrong, or its part of the recording, and its
/// label.
///
/// # Errors
/// Where the file cannot be read.
#[allow(clippy::type_complexity)]
pub fn track(path: &Path) -> Result<Option<Vec<(std::result::Result<Stretch, &'static str>, String)>>> {
    let (text, _) = text::read(path)?;
    let mut rows = Vec::new();
    // A line that begins so gives the frequencies of the one before.
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('\\')) {
        let mut cells = line.splitn(3, '\t');
        let times = (cells.next().and_then(seconds), cells.next().and_then(seconds));
        let (Some(start), Some(end)) = times else { return Ok(None) };
        rows.push((Stretch::new(start, Some(end)), cells.next().unwrap_or_default().trim().to_string()));
    }
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(rows))
}

/// [`track`] for a file that has to be one.
///
/// # Errors
/// Where it cannot be read, or is none.
pub fn needed_track(path: &Path) -> Result<Vec<(std::result::Result<Stretch, &'static str>, String)>> {
    let no = "is no label track: lines of start, end and label, separated by tabs";
    track(path)?.ok_or_else(|| Error::file(path, no))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_several_forms() {
        for (text, value) in
            [("12.5", 12.5), ("12,5", 12.5), (" 0 ", 0.0), ("1:02.5", 62.5), ("1:02:03", 3723.0), ("-1", -1.0)]
        {
            assert_eq!(seconds(text), Some(value), "{text}");
        }
        for text in ["", "x", "1:2:3:4", "1:72", "nan", "inf", "2024-01-01"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
