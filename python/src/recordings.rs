//! Recordings as Python hands them over.

use crate::errors::of_argument;
use humdinger::audio::Audio;
use humdinger::data::{Recording, Sound};
use numpy::PyReadonlyArray2;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::path::PathBuf;

/// A file, or samples [channels, samples] and their rate.
#[derive(FromPyObject)]
pub enum Given<'py> {
    /// Numbers first: an array is no path.
    Samples(PyReadonlyArray2<'py, f32>, u32),
    /// Where a file lies.
    File(PathBuf),
}

impl Given<'_> {
    /// The sound; `name` is for messages.
    pub fn sound(&self, name: &str) -> PyResult<Sound> {
        match self {
            Self::File(path) => Ok(Sound::File(path.clone())),
            Self::Samples(samples, rate) => {
                let channels = samples.as_array().outer_iter().map(|channel| channel.to_vec()).collect();
                Ok(Sound::Samples(Audio::of_samples(channels, *rate, name).map_err(of_argument)?))
            }
        }
    }
}

/// What a recording without a name is called in messages: its number, from 0 as Python counts.
pub fn name(given: &Given<'_>, number: usize) -> String {
    match given {
        Given::File(path) => path.display().to_string(),
        Given::Samples(..) => format!("recording {number}"),
    }
}

/// The sounds of several.
pub fn sounds(given: &[Given<'_>]) -> PyResult<Vec<(String, Sound)>> {
    let sound = |(number, given): (usize, &Given<'_>)| {
        let name = name(given, number);
        given.sound(&name).map(|sound| (name, sound))
    };
    given.iter().enumerate().map(sound).collect()
}

/// With their songs and, where they are known, singers.
pub fn labelled(given: &[Given<'_>], songs: Vec<String>, people: Option<Vec<String>>) -> PyResult<Vec<Recording>> {
    let count = given.len();
    let different = |what: &str, there: usize| {
        PyValueError::new_err(format!("{count} recordings, but {there} {what}; there must be as many"))
    };
    if songs.len() != count {
        return Err(different("songs", songs.len()));
    }
    if let Some(people) = people.as_ref().filter(|people| people.len() != count) {
        return Err(different("groups", people.len()));
    }
    let people: Vec<Option<String>> =
        people.map_or_else(|| vec![None; count], |people| people.into_iter().map(Some).collect());
    let width = count.to_string().len();
    let recordings = sounds(given)?.into_iter().zip(songs).zip(people).enumerate();
    let recording = |(number, (((name, sound), song), person))| {
        // Numbered first, so that clips keep their order, and one file may be there twice.
        Recording { id: format!("{number:0width$} {name}"), sound, song, person }
    };
    Ok(recordings.map(recording).collect())
}
