//! Trained models.

use crate::errors::raised;
use crate::recordings::{Given, sounds};
use crate::work::quietly;
use humdinger::Error;
use humdinger::data::{Clip, LoadOptions, Sound};
use humdinger::device::{Device, DeviceChoice};
use humdinger::train::answer::together;
use humdinger::train::model::Header;
use humdinger::train::predict::{Predictor, mean_vector};
use humdinger::train::{self, base, onnx};
use numpy::ndarray::Array2;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;

/// A trained model.
#[pyclass(frozen, module = "humdinger._humdinger")]
pub struct Model {
    model: train::Model,
    path: PathBuf,
    device: String,
    /// The thread that holds it on its device, from the first question on. What a device's session is stays with one thread.
    worker: OnceLock<Sender<Question>>,
}

/// What the model's thread is to do with it, which it first has to put on its device.
type Question = Box<dyn FnOnce(Result<&mut Predictor, &Error>) + Send>;

impl Model {
    /// A model on a device; `path` is where it came from, for messages.
    pub fn new(model: train::Model, path: &Path, device: &str) -> PyResult<Self> {
        device.parse::<DeviceChoice>().map_err(raised)?;
        Ok(Self { model, path: path.into(), device: device.into(), worker: OnceLock::new() })
    }

    fn header(&self) -> &Header {
        &self.model.header
    }

    fn worker(&self) -> Sender<Question> {
        let start = || {
            let (sender, questions) = channel::<Question>();
            let (model, path) = (self.model.clone(), self.path.clone());
            let choice = self.device.parse::<DeviceChoice>();
            // It ends when the model is gone, with the last sender. Where no thread can be had, the question is found unanswered.
            let work = move || {
                let device = choice.and_then(Device::choose_for_little);
                let mut predictor = device.and_then(|device| Predictor::new(model, &path, &device));
                for question in questions {
                    question(predictor.as_mut().map_err(|error| &*error));
                }
            };
            drop(thread::Builder::new().name("humdinger model".into()).spawn(work));
            sender
        };
        self.worker.get_or_init(start).clone()
    }

    /// What `ask` says of each recording, one after the other.
    fn of_each<T: Send + 'static>(
        &self,
        py: Python<'_>,
        recordings: Vec<Given<'_>>,
        ask: impl Fn(&mut Predictor, &Clip) -> Result<T, Error> + Send + 'static,
    ) -> PyResult<Vec<T>> {
        let sounds = sounds(&recordings)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let answers = move |predictor: &mut Predictor| {
            let options = options(&predictor.model.header);
            let one = |(name, sound): (String, Sound)| {
                if stopped.load(Ordering::Relaxed) {
                    return Err(Error::Data("stopped".into()));
                }
                let audio = sound.load(&options)?;
                ask(predictor, &Clip::alone(Path::new(&name), audio.channels))
            };
            sounds.into_iter().map(one).collect::<Result<Vec<T>, Error>>()
        };
        let worker = self.worker();
        let work = move || {
            let (sender, answer) = channel();
            let question = move |predictor: Result<&mut Predictor, &Error>| {
                // The same error for every question: it is not one that can be copied, but its words are.
                drop(sender.send(match predictor {
                    Ok(predictor) => answers(predictor).map_err(raised),
                    Err(error) => Err(PyValueError::new_err(error.to_string())),
                }));
            };
            let fault = || PyRuntimeError::new_err("the model's thread has ended; this is a fault of humdinger");
            worker.send(Box::new(question)).map_err(|_| fault())?;
            answer.recv().map_err(|_| fault())?
        };
        quietly(py, &stop, work)?
    }
}

/// Confidences [n, songs] and how far each is in distribution, `[n]`.
type Confidences<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>);

/// How a model's recordings are loaded.
fn options(header: &Header) -> LoadOptions<'static> {
    let most_samples = header.recipe.first_window_only().then_some(header.front_end.window);
    LoadOptions { sample_rate: header.front_end.sample_rate, most_samples, ..LoadOptions::default() }
}

/// Rows of one length as an array.
fn rows<T: numpy::Element>(py: Python<'_>, rows: Vec<Vec<T>>, width: usize) -> PyResult<Bound<'_, PyArray2<T>>> {
    let shape = (rows.len(), width);
    let array = Array2::from_shape_vec(shape, rows.into_iter().flatten().collect());
    Ok(array.map_err(|e| PyRuntimeError::new_err(e.to_string()))?.into_pyarray(py))
}

#[pymethods]
impl Model {
    /// Reads a model file.
    #[staticmethod]
    #[pyo3(signature = (path, device="auto"))]
    fn load(py: Python<'_>, path: PathBuf, device: &str) -> PyResult<Self> {
        let model = py.detach(|| train::Model::read(&path)).map_err(raised)?;
        Self::new(model, &path, device)
    }

    /// The base model, which names the built-in tunes.
    #[staticmethod]
    #[pyo3(signature = (device="auto"))]
    fn base(device: &str) -> PyResult<Self> {
        Self::new(base::model().map_err(raised)?, Path::new(base::NAME), device)
    }

    /// The model of a file's bytes.
    #[staticmethod]
    #[pyo3(signature = (data, device="auto"))]
    fn from_bytes(data: &[u8], device: &str) -> PyResult<Self> {
        let path = Path::new("the model's bytes");
        Self::new(train::Model::parse(data, path).map_err(crate::errors::of_argument)?, path, device)
    }

    /// Writes a model file, in one piece or not at all.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.model.write(&path)).map_err(raised)
    }

    /// The bytes of a model file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.model.to_bytes().map_err(raised)?))
    }

    /// Writes an ONNX file: samples in, probabilities out.
    fn export_onnx(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let write = || train::weights::write_whole(&path, &onnx::bytes(&self.model, &self.path)?);
        py.detach(write).map_err(raised)
    }

    /// The songs.
    #[getter]
    fn songs(&self) -> Vec<String> {
        self.header().names()
    }

    /// Those of them that stand for no song.
    #[getter]
    fn no_songs(&self) -> Vec<String> {
        let names = self.header().names();
        self.header().no_songs().into_iter().map(|output| names[output].clone()).collect()
    }

    /// The recipe's name.
    #[getter]
    fn recipe(&self) -> &'static str {
        self.header().recipe.name()
    }

    /// Its sample rate in hertz.
    #[getter]
    fn sample_rate(&self) -> u32 {
        self.header().front_end.sample_rate
    }

    /// Seconds of its window.
    #[getter]
    fn seconds(&self) -> f64 {
        self.header().front_end.window as f64 / f64::from(self.sample_rate())
    }

    /// The confidence below which the answer is "unknown".
    #[getter]
    fn threshold(&self) -> f64 {
        self.header().unknown_threshold
    }

    /// What logits are divided by.
    #[getter]
    fn temperature(&self) -> f64 {
        self.header().temperature
    }

    /// Where it computes.
    #[getter]
    fn device(&self) -> &str {
        &self.device
    }

    /// All that the model file says of it, as JSON.
    #[getter]
    fn description(&self) -> PyResult<String> {
        serde_json::to_string(self.header()).map_err(|e| PyRuntimeError::new_err(e.to_string()))
    }

    /// Parameters and running statistics by PyTorch's names.
    fn weights<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let weights = PyDict::new(py);
        for (name, tensor) in &self.model.weights.tensors {
            let flat = PyArray1::from_slice(py, tensor.data());
            weights.set_item(name, flat.reshape(tensor.shape().dims().to_vec())?)?;
        }
        Ok(weights)
    }

    /// Confidences [n, songs] and how far each is in distribution, `[n]`.
    fn infer<'py>(&self, py: Python<'py>, recordings: Vec<Given<'_>>) -> PyResult<Confidences<'py>> {
        let first_only = self.header().recipe.first_window_only();
        let inferred = self.of_each(py, recordings, move |predictor, clip| {
            let windows = predictor.windows(clip, first_only)?;
            Ok(together(&windows, predictor.model.header.outputs))
        })?;
        let (probabilities, in_distribution): (Vec<_>, Vec<_>) = inferred.into_iter().unzip();
        Ok((rows(py, probabilities, self.header().outputs)?, in_distribution.into_pyarray(py)))
    }

    /// Vectors [n, C].
    fn embed<'py>(&self, py: Python<'py>, recordings: Vec<Given<'_>>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let first_only = self.header().recipe.first_window_only();
        let vectors = self.of_each(py, recordings, move |p, clip| Ok(mean_vector(&p.vectors(clip, first_only)?)))?;
        let width = self.header().classifier().blocks.last().map_or(0, |block| block.channels);
        rows(py, vectors, width)
    }

    fn __repr__(&self) -> String {
        let (songs, seconds) = (self.header().classes.len(), self.seconds());
        format!("<humdinger.Model {}: {songs} songs, {seconds} s at {} Hz>", self.recipe(), self.sample_rate())
    }
}
