//! Labels from folders and from file names.

use super::{Labelled, Listing, Source, again, file_name};
use crate::data::find::Found;
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

pub(super) fn by_names(root: &Path, found: Found) -> Listing {
    let mut excluded = found.excluded;
    again(&mut excluded, found.again, |id| parse_name(file_name(id)).map(|(_, song)| song.to_string()));
    let mut files = Vec::new();
    for id in found.sounds {
        match parse_name(file_name(&id)) {
            Some((person, song)) => {
                let (person, label) = (Some(person.to_string()), song.to_string());
                files.push(Labelled {
                    path: root.join(&id),
                    stretch: None,
                    label,
                    person,
                    columns: BTreeMap::new(),
                    id,
                });
            }
            None => excluded.add("the name is not of the form S<person>_<hum|whistle>_<take>_<Song>", id),
        }
    }
    Listing {
        files,
        left_out: excluded.finish(),
        source: Source::Names,
        labels_from: "file names (S<person>_<hum|whistle>_<take>_<Song>)".into(),
        notes: vec![],
    }
}

pub(super) fn by_folders(root: &Path, found: Found) -> Result<Listing> {
    let mut excluded = found.excluded;
    again(&mut excluded, found.again, |id| id.split_once('/').map(|(folder, _)| folder.to_string()));
    let mut files = Vec::new();
    for id in found.sounds {
        match id.split_once('/') {
            Some((folder, _)) => {
                let label = folder.to_string();
                files.push(Labelled {
                    path: root.join(&id),
                    stretch: None,
                    label,
                    person: None,
                    columns: BTreeMap::new(),
                    id,
                });
            }
            None => excluded.add("not in a song's folder, and the name does not tell the song", id),
        }
    }
    if files.is_empty() {
        return Err(Error::file(
            root,
            "has no labels: neither file names of the form S<person>_<hum|whistle>_<take>_<Song>.wav, nor a folder per song, \
             nor a CSV file with the columns `path` and `label`",
        ));
    }
    Ok(Listing {
        files,
        left_out: excluded.finish(),
        source: Source::Folders,
        labels_from: "folders, one for each song".into(),
        notes: vec![],
    })
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
