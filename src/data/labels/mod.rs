//! What song each file holds and who sings it: from file names, from folders, or from a CSV file ([`table`]).

mod folders;
mod tracks;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::alike;
pub use super::columns::ColumnNames;
pub use super::find::LeftOut;
use super::find::{AGAIN, Excluded, Found, find, no_sound};
use super::table::{self, list_csv};
use super::{nosong, stretch};
use crate::data::dataset::Stretch;
use crate::{Error, Result};
pub use folders::parse_name;
use folders::{by_folders, by_names, has_song_folders, song_folder};
use tracks::{by_one_track, by_tracks, tracks_beside};

/// One labelled sound file.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// Where it lies.
    pub path: PathBuf,
    /// Its path below the data set's root with `/` between the parts, and the part of it: unique, and the same on every machine.
    pub id: String,
    /// The part of the file that it is; none where it is all of it.
    pub stretch: Option<Stretch>,
    /// The song.
    pub label: String,
    /// Who sings, where that is known.
    pub person: Option<String>,
    /// The CSV's other columns, by name.
    pub columns: BTreeMap<String, String>,
}

/// How the labels were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `S<person>_<hum|whistle>_<take>_<Song>.wav`
    Names,
    /// One folder per song.
    Folders,
    /// A CSV file.
    Csv,
    /// Label tracks beside the sound files, which say what is where in them.
    Tracks,
}

/// The labelled files of a data set, in order of id, and what was left out.
#[derive(Debug, Clone)]
pub struct Listing {
    /// In order of id.
    pub files: Vec<Labelled>,
    /// Sorted by reason.
    pub left_out: Vec<LeftOut>,
    /// How the labels were found.
    pub source: Source,
    /// The same in words that name the table and its columns.
    pub labels_from: String,
    /// What somebody should know of the labels before anything is decoded, one sentence each.
    pub notes: Vec<String>,
}

/// Lists the labelled sound files under `path`.
///
/// - A CSV file, or a folder with exactly one CSV file that has a file and a song column, unless a folder for each song says
///   otherwise: see [`list_csv`].
/// - A label track of Audacity (a text with a line of start, end and label for each passage), of the sound file with its name.
/// - Else a folder most of whose sound files have MLEnd names ([`parse_name`]), at any depth: labels from the names.
/// - Else a folder without song folders whose sound files have label tracks or Raven's selection tables beside them, of their names.
/// - Else a folder of folders: the first folder below `path` is the song; files directly in `path` are left out. Who sings is not
///   told, whatever files are called: see [`names`](mod@super::names).
///
/// # Errors
/// When `path` does not exist, holds no sound file, or no label can be found.
pub fn list(path: &Path) -> Result<Listing> {
    list_by(path, &ColumnNames::default())
}

/// [`list`] with names of a table's columns, where somebody gives some: then there must be a table with such columns, which is gone by
/// whatever folders say.
///
/// # Errors
/// As [`list`]; also where a song is called "unknown", which is an answer and no song.
pub fn list_by(path: &Path, names: &ColumnNames) -> Result<Listing> {
    let mut listing = list_as_written(path, names)?;
    let mut spellings = BTreeMap::<String, BTreeSet<String>>::new();
    for file in &mut listing.files {
        for name in std::iter::once(&mut file.label).chain(&mut file.person) {
            let composed = alike::composed(name);
            spellings.entry(composed.clone()).or_default().insert(std::mem::replace(name, composed));
        }
    }
    for (name, _) in spellings.iter().filter(|(_, spellings)| spellings.len() > 1) {
        listing.notes.push(format!(
            "\"{name}\" is written both with composed and with decomposed letters, and taken for one name"
        ));
    }
    let songs = listing.files.iter().map(|file| file.label.as_str());
    listing.notes.extend(alike::look_alike("songs", songs));
    let people = listing.files.iter().filter_map(|file| file.person.as_deref());
    listing.notes.extend(alike::look_alike("people", people));
    if let Some(file) = listing.files.iter().find(|file| alike::key(&file.label) == "unknown") {
        let detail = format!(
            "a song is called \"{}\" (of {}), which is the answer where no song is named: give it its name, leave it out, or call it \
             \"noise\" where it holds examples of no song",
            file.label, file.id
        );
        return Err(Error::file(path, detail));
    }
    listing.notes.extend(nosong::note(listing.files.iter().map(|file| file.label.as_str())));
    Ok(listing)
}

fn list_as_written(path: &Path, names: &ColumnNames) -> Result<Listing> {
    let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::file(path, "no such file or folder"),
        _ => Error::file(path, format!("cannot be read: {e}")),
    })?;
    if !meta.is_dir() {
        if meta.is_file() && ["csv", "tsv", "tab", "txt"].iter().any(|ending| has_extension(path, ending)) {
            if has_extension(path, "txt") && names.is_empty() && stretch::track(path)?.is_some() {
                return by_one_track(path);
            }
            return list_csv(path, names);
        }
        return Err(Error::file(
            path,
            "is neither a folder of recordings nor a CSV file or label track that lists them",
        ));
    }
    let mut found = find(path)?;
    let usable: Vec<String> =
        found.tables.iter().filter(|name| table::lists_recordings(&path.join(name), names)).cloned().collect();
    let mut notes = Vec::new();
    match &usable[..] {
        [] if !names.is_empty() => return Err(no_table(path, &found, names)),
        [name] => match list_csv(&path.join(name), names) {
            Ok(listing) if names.is_empty() && strays(&listing, &found) => {
                notes.push(format!(
                    "{name} gives other songs than the folders, and is not used; to go by it, name the file itself: {}",
                    path.join(name).display()
                ));
            }
            Ok(mut listing) => {
                listing.left_out = beside(&listing, found);
                return Ok(listing);
            }
            // A table of something else is no reason to refuse folders.
            Err(error) if names.is_empty() && has_song_folders(&found) => notes.push(format!("not used: {error}")),
            Err(error) => return Err(error),
        },
        [] => {}
        several if names.is_empty() && has_song_folders(&found) => {
            notes.push(format!(
                "{} list recordings, too, and are not used; to go by one of them, name the file itself",
                several.join(" and ")
            ));
        }
        several => {
            return Err(Error::file(
                path,
                format!("several CSV files list recordings ({}); name one", several.join(", ")),
            ));
        }
    }
    if found.sounds.is_empty() {
        return Err(no_sound(path, &found.excluded.finish()));
    }
    for name in std::mem::take(&mut found.tables) {
        let reason = if usable.contains(&name) {
            "a table that is not used, as folders tell the songs"
        } else {
            "a table without a file and a song column"
        };
        found.excluded.harmless(reason, name);
    }
    let named = found.sounds.iter().filter(|id| parse_name(file_name(id)).is_some()).count();
    let tracks = if named * 2 > found.sounds.len() { vec![] } else { tracks_beside(path, &found) };
    let mut listing = match () {
        () if named * 2 > found.sounds.len() => by_names(path, found),
        () if !tracks.is_empty() && !has_song_folders(&found) => by_tracks(path, found, tracks)?,
        () => {
            if let Some((sound, track)) = tracks.first() {
                let count = crate::error::counted(tracks.len(), "recording");
                notes.push(format!(
                    "{count} with a label track beside ({sound}: {track}), which are not used, as folders tell the songs; to go by one, \
                     name the file itself"
                ));
            }
            by_folders(path, found)?
        }
    };
    listing.notes.extend(notes);
    Ok(listing)
}

/// The error where columns are named, and no table of a folder has them: what is wrong with the one that is there, or that there is none.
fn no_table(path: &Path, found: &Found, names: &ColumnNames) -> Error {
    match &found.tables[..] {
        [] => Error::file(path, "holds no CSV file, and columns of one are named"),
        [one] => match list_csv(&path.join(one), names) {
            Err(error) => error,
            Ok(_) => Error::file(path, format!("{one} was changed while it was read")),
        },
        several => {
            let tables = several.join(", ");
            Error::file(
                path,
                format!("none of its CSV files has the columns that are named ({tables}); name the file itself"),
            )
        }
    }
}

/// Whether a table contradicts folders that could be the songs themselves. It does not where each of its songs has one folder and
/// each folder one song, nor where the folders are its people.
fn strays(table: &Listing, found: &Found) -> bool {
    if !has_song_folders(found) {
        return false;
    }
    let one_to_one = |name: fn(&Labelled) -> Option<&str>| {
        let pairs: BTreeSet<_> = table.files.iter().map(|file| (song_folder(&file.id), name(file))).collect();
        let folders: BTreeSet<_> = pairs.iter().map(|(folder, _)| folder).collect();
        let names: BTreeSet<_> = pairs.iter().map(|(_, name)| name).collect();
        folders.len() == pairs.len() && names.len() == pairs.len()
    };
    let songs = one_to_one(|file| Some(&file.label));
    let people = table.files.iter().any(|file| file.person.is_some()) && one_to_one(|file| file.person.as_deref());
    !songs && !people
}

/// What a table leaves out, and what lies in its folder without being in the table.
fn beside(listing: &Listing, found: Found) -> Vec<LeftOut> {
    let (sounds, mut left_out) = found.left_out();
    let mut excluded = Excluded::default();
    let listed: std::collections::HashSet<&str> = listing.files.iter().map(|file| file.id.as_str()).collect();
    let told: Vec<&str> = listing.left_out.iter().flat_map(|l| l.files.iter().map(String::as_str)).collect();
    for id in sounds.into_iter().filter(|id| !listed.contains(id.as_str()) && !told.contains(&id.as_str())) {
        excluded.harmless("not in the table", id);
    }
    left_out.extend(excluded.finish());
    left_out.extend(listing.left_out.iter().cloned());
    left_out
}

/// The second names of files, by links: harmless where they say the same song.
fn again(excluded: &mut Excluded, again: Vec<(String, String)>, song: impl Fn(&str) -> Option<String>) {
    for (name, first) in again {
        let text = format!("{name} is {first}");
        match song(&name) {
            of if of.is_none() || of == song(&first) => excluded.harmless(AGAIN, text),
            _ => excluded.add("the same file as one of another song, counted as that one", text),
        }
    }
}

pub(super) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

pub(super) fn file_name(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}
