//! Catalogues of melodies.

use crate::errors::raised;
use crate::recordings::Given;
use crate::sound::audio;
use humdinger::audio::channels;
use humdinger::data::songbook::read_songs;
use humdinger::melody::catalogue;
use humdinger::melody::pitch::{PitchOptions, PitchTracker};
use humdinger::melody::search::{Query, SearchOptions, Searcher, UNKNOWN_BELOW};
use humdinger::train::weights::write_whole;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::path::PathBuf;

/// A catalogue of melodies, which says which of them somebody sings.
#[pyclass(frozen, module = "humdinger._humdinger")]
pub struct Catalogue {
    catalogue: catalogue::Catalogue,
    searcher: Searcher,
}

impl Catalogue {
    fn new(catalogue: catalogue::Catalogue) -> Self {
        Self { searcher: Searcher::new(catalogue.songs()), catalogue }
    }
}

#[pymethods]
impl Catalogue {
    /// Makes a catalogue of the melodies in folders and files.
    #[staticmethod]
    #[pyo3(signature = (*paths, track=None))]
    fn make(py: Python<'_>, paths: Vec<PathBuf>, track: Option<String>) -> PyResult<Self> {
        let book = py.detach(|| read_songs(&paths, track.as_deref())).map_err(raised)?;
        let mut made = catalogue::Catalogue::default();
        let refused: Vec<String> = book.refused.iter().map(|(file, why)| format!("{file}: {why}")).collect();
        if book.songs.is_empty() {
            let why = if refused.is_empty() { String::new() } else { format!(" ({})", refused.join("; ")) };
            let text = "MIDI, ABC, numbered notation and recordings are read";
            return Err(PyValueError::new_err(format!("no melody in what was named{why}; {text}")));
        }
        if !refused.is_empty() {
            let text = format!("left out: {}", refused.join("; "));
            PyErr::warn(py, &py.get_type::<pyo3::exceptions::PyUserWarning>(), &std::ffi::CString::new(text)?, 1)?;
        }
        book.songs.into_iter().for_each(|song| drop(made.add(song)));
        Ok(Self::new(made))
    }

    /// Reads a catalogue's file.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let read = py.detach(|| catalogue::Catalogue::read(&path)).map_err(raised)?;
        Ok(Self::new(read))
    }

    /// Writes it, in one piece or not at all.
    fn save(&self, path: PathBuf) -> PyResult<()> {
        write_whole(&path, &self.catalogue.to_bytes()).map_err(raised)
    }

    /// The songs' ids.
    #[getter]
    fn songs(&self) -> Vec<String> {
        self.catalogue.songs().iter().map(|song| song.id.clone()).collect()
    }

    fn __len__(&self) -> usize {
        self.catalogue.songs().len()
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
        let audio = audio(&recording)?;
        let songs = self.catalogue.songs();
        let found = py.detach(|| -> humdinger::Result<_> {
            let tracker = PitchTracker::new(audio.sample_rate, PitchOptions::default())?;
            let query = Query::new(&tracker.track(&channels::to_count(audio.channels, 1)[0]));
            let options = SearchOptions { anywhere, ..SearchOptions::default() };
            Ok(query.map_or(Vec::new(), |query| self.searcher.search(songs, &query, &options)))
        });
        let list = PyList::empty(py);
        for found in found.map_err(raised)?.into_iter().take(top) {
            let song = &songs[found.song];
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
        format!("<humdinger.Catalogue of {} songs>", self.catalogue.songs().len())
    }
}
