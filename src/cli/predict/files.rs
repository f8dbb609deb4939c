//! Which recordings are meant.

use super::super::{plain, warn};
use crate::data::find::{LeftOut, find, no_sound, none_lost};
use crate::{Error, Result};
use std::path::PathBuf;

/// A sound file to look at.
pub(in crate::cli) struct Found {
    pub path: PathBuf,
    /// Whether it was asked for by name, and not merely found in a folder.
    pub named: bool,
}

/// A folder, and what is left out in it.
pub(in crate::cli) type NotRead = (PathBuf, Vec<LeftOut>);

/// The sound files among these paths, and what is left out; folders stand for all that are in them, in order of name, and what
/// `train` would leave out there is left out here, with a warning; with `strict` that is an error.
pub(in crate::cli) fn sound_files(paths: &[PathBuf], strict: bool) -> Result<(Vec<Found>, Vec<NotRead>)> {
    let (mut files, mut left_out) = (Vec::new(), Vec::new());
    for path in paths {
        let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::file(path, "no such file or folder"),
            _ => Error::file(path, format!("cannot be read: {e}")),
        })?;
        if !meta.is_dir() {
            files.push(Found { path: path.clone(), named: true });
            continue;
        }
        let (inside, others) = find(path)?.left_out();
        if inside.is_empty() {
            return Err(no_sound(path, &others));
        }
        let mut inside: Vec<PathBuf> = inside.iter().map(|id| path.join(id)).collect();
        inside.sort();
        files.extend(inside.into_iter().map(|path| Found { path, named: false }));
        if strict {
            none_lost(path, &others)?;
        }
        // Texts beside the recordings are none of the caller's concern here.
        others.iter().filter(|l| !l.harmless).for_each(|l| warn(&plain(&format!("left out: {l}"))));
        left_out.push((path.clone(), others));
    }
    Ok((files, left_out))
}
