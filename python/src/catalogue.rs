//! Catalogues of melodies.

use crate::errors::raised;
use crate::recordings::Given;
use crate::sound::audio;
use crate::work::quietly;
use humdinger::data::songbook::read_songs;
use humdinger::melody::catalogue;
use humdinger::melody::search::{SearchOptions, UNKNOWN_BELOW};
use humdinger::train::identify::{Identifier, embed};
use humdinger::train::weights::write_whole;
use pyo3::exceptions::{PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A catalogue of melodies, which says which of them somebody sings.
#[pyclass(frozen, module = "humdinger._humdinger")]
pub struct Catalogue {
    songs: Identifier,
}

impl Catalogue {
    fn new(catalogue: catalogue::Catalogue) -> PyResult<Self> {
        Ok(Self { songs: Identifier::new(catalogue).map_err(raised)? })
    }
}

fn warn(py: Python<'_>, text: String) -> PyResult<()> {
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &std::ffi::CString::new(text)?, 1)
}

#[pymethods]
impl Catalogue {
    /// Makes a catalogue of the melodies in folders and files; with `notes_alone`, without what the base model makes of them.
    #[staticmethod]
    #[pyo3(signature = (*paths, track=None, notes_alone=false))]
    fn make(py: Python<'_>, paths: Vec<PathBuf>, track: Option<String>, notes_alone: bool) -> PyResult<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let read = move || read_songs(&paths, track.as_deref());
        let book = quietly(py, &stop, read)?.map_err(raised)?;
        let refused: Vec<String> = book.refused.iter().map(|(file, why)| format!("{file}: {why}")).collect();
        if book.songs.is_empty() {
            let why = if refused.is_empty() { String::new() } else { format!(" ({})", refused.join("; ")) };
            let text = "MIDI, ABC, numbered notation and recordings are read";
            return Err(PyValueError::new_err(format!("no melody in what was named{why}; {text}")));
        }
        if !refused.is_empty() {
            warn(py, format!("left out: {}", refused.join("; ")))?;
        }
        let stopped = stop.clone();
        let fill = move || {
            let mut made = catalogue::Catalogue::default();
            book.fill(&mut made)?;
            if !notes_alone {
                embed(&mut made, |_, _| match stopped.load(Ordering::Relaxed) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                })?;
            }
            Ok(made)
        };
        Self::new(quietly(py, &stop, fill)?.map_err(raised)?)
    }

    /// Reads a catalogue's file.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let read = py.detach(|| catalogue::Catalogue::read(&path)).map_err(raised)?;
        let loaded = Self::new(read)?;
        if loaded.songs.is_of_another_model() {
            let text =
                "was made with another base model; songs are compared by their notes alone until it is made again";
            warn(py, format!("{}: {text}", path.display()))?;
        }
        Ok(loaded)
    }

    /// Writes it, in one piece or not at all.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| write_whole(&path, &self.songs.catalogue().to_bytes())).map_err(raised)
    }

    /// The songs' ids.
    #[getter]
    fn songs(&self) -> Vec<String> {
        self.songs.songs().iter().map(|song| song.id.clone()).collect()
    }

    fn __len__(&self) -> usize {
        self.songs.songs().len()
    }

    /// The songs that may be meant, the likeliest first.
    #[pyo3(signature = (recording, top=3, anywhere=false))]
    fn search<'py>(
        &self,
        py: Python<'py>,
        recording: Given<'_>,
        top: usize,
        anywhere: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        let audio = audio(py, &recording)?;
        let options = SearchOptions { anywhere, ..SearchOptions::default() };
        let found = py.detach(|| self.songs.search(audio, &options)).map_err(raised)?;
        let list = PyList::empty(py);
        for found in found.into_iter().take(top) {
            let song = &self.songs.songs()[found.song];
            let row = PyDict::new(py);
            row.set_item("id", &song.id)?;
            row.set_item("title", &song.title)?;
            row.set_item("score", found.score)?;
            row.set_item("known", found.score >= UNKNOWN_BELOW)?;
            row.set_item("key", found.key)?;
            row.set_item("tempo", found.tempo)?;
            row.set_item("at", found.at)?;
            list.append(row)?;
        }
        Ok(list)
    }

    fn __repr__(&self) -> String {
        format!("<humdinger.Catalogue of {} songs>", self.songs.songs().len())
    }
}
