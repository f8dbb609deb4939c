//! Labels from label tracks and selection tables, which say what is where in a long recording.

use super::{Labelled, Listing, Source, again};
use crate::data::columns::ColumnNames;
use crate::data::find::{Excluded, Found};
use crate::data::stretch;
use crate::data::table::{self, list_csv};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// The sound files that have a label track or a selection table beside them, each with that.
pub(super) fn tracks_beside(root: &Path, found: &Found) -> Vec<(String, String)> {
    let usable = |track: &String| {
        let path = root.join(track);
        path.is_file()
            && (matches!(stretch::track(&path), Ok(Some(_))) || table::lists_recordings(&path, &ColumnNames::default()))
    };
    let track = |sound: &String| stretch::tracks_of(sound).into_iter().find(usable).map(|track| (sound.clone(), track));
    found.sounds.iter().filter_map(track).collect()
}

/// The passages of one sound file, as its label track has them.
fn of_track(sound: &Path, id: &str, track: &Path, excluded: &mut Excluded, files: &mut Vec<Labelled>) -> Result<()> {
    let mut seen = BTreeMap::new();
    for (stretch, label) in stretch::needed_track(track)? {
        let stretch = match stretch {
            Ok(stretch) if !label.is_empty() => stretch,
            Ok(stretch) => {
                excluded.add("the label track gives no song", format!("{id}{stretch}"));
                continue;
            }
            Err(why) => {
                excluded.add(why, format!("{id}: {label}"));
                continue;
            }
        };
        let id = format!("{id}{stretch}");
        match seen.insert(id.clone(), label.clone()) {
            Some(first) if first != label => {
                return Err(Error::file(track, format!("names {id} twice, as {first} and as {label}")));
            }
            Some(_) => excluded.harmless("named twice by the label track; counted once", id),
            None => files.push(Labelled {
                path: sound.to_path_buf(),
                id,
                stretch: Some(stretch),
                label,
                person: None,
                columns: BTreeMap::new(),
            }),
        }
    }
    Ok(())
}

pub(super) fn by_one_track(path: &Path) -> Result<Listing> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(sound) = stretch::sound_beside(path) else {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let detail = format!("is a label track, but there is no sound file {stem}.wav (or .mp3, ...) beside it");
        return Err(Error::file(path, detail));
    };
    let (mut files, mut excluded) = (Vec::new(), Excluded::default());
    of_track(&path.with_file_name(&sound), &sound, path, &mut excluded, &mut files)?;
    of_tracks(path, files, excluded, format!("the label track {name}: passages of {sound}"))
}

pub(super) fn by_tracks(root: &Path, found: Found, tracks: Vec<(String, String)>) -> Result<Listing> {
    let mut excluded = found.excluded;
    again(&mut excluded, found.again, |_| None);
    let mut files = Vec::new();
    let mut notes = Vec::new();
    for (sound, track) in &tracks {
        let path = root.join(track);
        if stretch::track(&path)?.is_some() {
            of_track(&root.join(sound), sound, &path, &mut excluded, &mut files)?;
            continue;
        }
        let folder = sound.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let mut listing = list_csv(&path, &ColumnNames::default())?;
        for file in &mut listing.files {
            file.id = format!("{folder}{}", file.id);
            file.path = root.join(file.id.split_once("#t=").map_or(file.id.as_str(), |(sound, _)| sound));
        }
        files.extend(listing.files);
        notes.extend(listing.notes);
        listing.left_out.into_iter().for_each(|left_out| excluded.again(left_out));
    }
    for sound in found.sounds.into_iter().filter(|sound| !tracks.iter().any(|(of, _)| of == sound)) {
        excluded.add("no label track beside it, and the others have one", sound);
    }
    let mut listing = of_tracks(root, files, excluded, format!("label tracks beside {} sound files", tracks.len()))?;
    listing.notes = notes;
    Ok(listing)
}

fn of_tracks(path: &Path, mut files: Vec<Labelled>, excluded: Excluded, labels_from: String) -> Result<Listing> {
    let left_out = excluded.finish();
    if files.is_empty() {
        let reasons: Vec<String> = left_out.iter().map(ToString::to_string).collect();
        return Err(Error::file(path, format!("names no passage that can be used: {}", reasons.join("; "))));
    }
    files.sort_by(|a, b| a.id.cmp(&b.id));
    files.dedup_by(|a, b| a.id == b.id);
    Ok(Listing { files, left_out, source: Source::Tracks, labels_from, notes: vec![] })
}
