//! Labels from folders and from file names.

use super::{Labelled, Listing, Source, again, file_name};
use crate::data::find::{Found, LeftOut};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The folder that would be a file's song.
pub(super) fn song_folder(id: &str) -> Option<&str> {
    id.split_once('/').map(|(folder, _)| folder)
}

/// Names of folders that hold parts of a data set and no song each.
const PARTS: &[&str] =
    &["train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation"];

/// Whether folders can tell the songs: at least two hold sound files, all sound files are in them, and they are no parts of a
/// data set.
pub(super) fn has_song_folders(found: &Found) -> bool {
    let folders: Option<BTreeSet<&str>> = found.sounds.iter().map(|id| song_folder(id)).collect();
    folders.is_some_and(|folders| {
        folders.len() > 1 && !folders.iter().all(|folder| PARTS.contains(&folder.to_lowercase().as_str()))
    })
}

/// Splits an MLEnd file name, `S<person>_<hum|whistle>_<take>_<Song>.<ending>`, into person (`S3`) and song.
pub fn parse_name(name: &str) -> Option<(&str, &str)> {
    let (stem, _) = name.rsplit_once('.')?;
    let mut fields = stem.split('_');
    let (person, way, take, song) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let good = person.strip_prefix('S').is_some_and(digits)
        && matches!(way.to_ascii_lowercase().as_str(), "hum" | "whistle")
        && digits(take)
        && !song.is_empty()
        && fields.next().is_none();
    good.then_some((person, song))
}

/// The files of which `of` tells the song, and who sings where that is known; the others are left out for the reason `otherwise`.
fn labelled(
    root: &Path,
    found: Found,
    of: impl Fn(&str) -> Option<(&str, Option<&str>)>,
    otherwise: &'static str,
) -> (Vec<Labelled>, Vec<LeftOut>) {
    let mut excluded = found.excluded;
    again(&mut excluded, found.again, |id| of(id).map(|(song, _)| song.to_string()));
    let mut files = Vec::new();
    for id in found.sounds {
        match of(&id).map(|(song, person)| (song.to_string(), person.map(str::to_string))) {
            Some((label, person)) => {
                let (path, columns) = (root.join(&id), BTreeMap::new());
                files.push(Labelled { path, stretch: None, label, person, columns, id });
            }
            None => excluded.add(otherwise, id),
        }
    }
    (files, excluded.finish())
}

pub(super) fn by_names(root: &Path, found: Found) -> Listing {
    let otherwise = "the name is not of the form S<person>_<hum|whistle>_<take>_<Song>";
    let (files, left_out) =
        labelled(root, found, |id| parse_name(file_name(id)).map(|(person, song)| (song, Some(person))), otherwise);
    let labels_from = "file names (S<person>_<hum|whistle>_<take>_<Song>)".into();
    Listing { files, left_out, source: Source::Names, labels_from, notes: vec![] }
}

pub(super) fn by_folders(root: &Path, found: Found) -> Result<Listing> {
    let otherwise = "not in a song's folder, and the name does not tell the song";
    let (files, left_out) = labelled(root, found, |id| song_folder(id).map(|song| (song, None)), otherwise);
    if files.is_empty() {
        return Err(Error::file(
            root,
            "has no labels: neither file names of the form S<person>_<hum|whistle>_<take>_<Song>.wav, nor a folder per song, \
             nor a CSV file with the columns `path` and `label`",
        ));
    }
    let labels_from = "folders, one for each song".into();
    Ok(Listing { files, left_out, source: Source::Folders, labels_from, notes: vec![] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(parse_name("S3_whistle_1_Panther.wav"), Some(("S3", "Panther")));
        assert_eq!(parse_name("S102_hum_12_Twinkle.WAV"), Some(("S102", "Twinkle")));
        for bad in [
            "S3_whistle_1_Panther",
            "3_hum_1_Rain.wav",
            "S_hum_1_Rain.wav",
            "S3_sing_1_Rain.wav",
            "S3_hum_x_Rain.wav",
            "S3_hum_1_.wav",
            "S3_hum_1_Star_Wars.wav",
            "S3_hum_1.wav",
            ".wav",
            "",
        ] {
            assert_eq!(parse_name(bad), None, "{bad}");
        }
    }
}
