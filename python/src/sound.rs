//! Sound files, spectrograms and pitch.

use crate::errors::raised;
use crate::recordings::{Given, sounds};
use humdinger::audio::{Audio, channels};
use humdinger::data::Sound;
use humdinger::data::reader::decode_whole;
use humdinger::melody::pitch::{PitchOptions, PitchTracker};
use humdinger::train::Recipe;
use humdinger::train::seen::seen;
use numpy::ndarray::Array2;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray3, PyArrayMethods};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::path::PathBuf;

/// An array with its bands' frequencies and frames' times.
type Picture<'py> = (Bound<'py, PyArray3<f32>>, Bound<'py, PyArray1<f64>>, f64);

/// The sound of a file or of samples, at its own rate.
pub fn audio(py: Python<'_>, given: &Given<'_>) -> PyResult<Audio> {
    match sounds(std::slice::from_ref(given))?.swap_remove(0).1 {
        Sound::Samples(audio) => Ok(audio),
        Sound::File(path) => py.detach(|| decode_whole(&path)).map(|(audio, _)| audio).map_err(raised),
    }
}

/// Samples [channels, samples] of a file, and their rate.
#[pyfunction]
#[pyo3(signature = (path, rate=None))]
pub fn read<'py>(py: Python<'py>, path: PathBuf, rate: Option<u32>) -> PyResult<(Bound<'py, PyArray2<f32>>, u32)> {
    let decode = || {
        let (audio, _) = decode_whole(&path)?;
        let rate = rate.unwrap_or(audio.sample_rate);
        audio.resampled(rate)
    };
    let audio = py.detach(decode).map_err(raised)?;
    let (shape, rate) = ((audio.channels.len(), audio.frames()), audio.sample_rate);
    let array = Array2::from_shape_vec(shape, audio.channels.concat());
    Ok((array.map_err(|e| PyRuntimeError::new_err(e.to_string()))?.into_pyarray(py), rate))
}

/// Decibels [channels, bands, frames] of a sound as a recipe sees them, the bands' frequencies, and seconds between frames.
#[pyfunction]
pub fn spectrogram<'py>(py: Python<'py>, recording: Given<'_>, recipe: &str) -> PyResult<Picture<'py>> {
    let names = Recipe::ALL.map(Recipe::name).join(" and ");
    let recipe = Recipe::ALL.into_iter().find(|known| known.name() == recipe);
    let recipe = recipe.ok_or_else(|| PyValueError::new_err(format!("recipe: there are {names}")))?;
    let audio = audio(py, &recording)?;
    let seen = py.detach(|| seen(recipe, audio)).map_err(raised)?;
    let shape = seen.levels.shape();
    let levels = PyArray1::from_slice(py, seen.levels.data()).reshape([shape[0], shape[1], shape[2]])?;
    Ok((levels, seen.centres.into_pyarray(py), seen.hop))
}

/// Times, pitches in Hz (NaN where nothing is sung) and periodicity of a sound.
#[pyfunction]
#[pyo3(signature = (recording, floor, ceiling, hop))]
#[allow(clippy::type_complexity)]
pub fn pitch<'py>(
    py: Python<'py>,
    recording: Given<'_>,
    floor: Option<f64>,
    ceiling: Option<f64>,
    hop: Option<f64>,
) -> PyResult<(Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>)> {
    let usual = PitchOptions::default();
    let options = PitchOptions {
        floor: floor.unwrap_or(usual.floor),
        ceiling: ceiling.unwrap_or(usual.ceiling),
        hop: hop.unwrap_or(usual.hop),
        ..usual
    };
    let audio = audio(py, &recording)?;
    let contour = py.detach(|| {
        let tracker = PitchTracker::new(audio.sample_rate, options)?;
        Ok(tracker.track(&channels::to_count(audio.channels, 1)[0]))
    });
    let contour = contour.map_err(raised)?;
    let times: Vec<f64> = (0..contour.frames.len()).map(|i| i as f64 * contour.hop).collect();
    let hz: Vec<f64> = contour.frames.iter().map(|frame| frame.hz.unwrap_or(f64::NAN)).collect();
    let periodicity: Vec<f64> = contour.frames.iter().map(|frame| frame.periodicity).collect();
    Ok((times.into_pyarray(py), hz.into_pyarray(py), periodicity.into_pyarray(py)))
}
