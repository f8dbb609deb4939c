//! The extension module `humdinger._humdinger`: what the Python package is made of. Errors are Python's own kinds with the crate's words,
//! other threads run while it works, and Ctrl-C stops it. The package's own modules make scikit-learn's conventions of it.

mod catalogue;
mod errors;
mod model;
mod recordings;
mod sound;
mod training;
mod work;

use pyo3::prelude::*;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command `humdinger` with these words, of which the first is the program's name; its exit code.
#[pyfunction]
fn main(py: Python<'_>, words: Vec<OsString>) -> u8 {
    let code = py.detach(|| humdinger::cli::main_of(words));
    (0..=u8::MAX).find(|&number| ExitCode::from(number) == code).unwrap_or(1)
}

#[pymodule]
fn _humdinger(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<model::Model>()?;
    module.add_class::<catalogue::Catalogue>()?;
    module.add_function(wrap_pyfunction!(training::fit, module)?)?;
    module.add_function(wrap_pyfunction!(sound::read, module)?)?;
    module.add_function(wrap_pyfunction!(sound::spectrogram, module)?)?;
    module.add_function(wrap_pyfunction!(sound::pitch, module)?)?;
    module.add_function(wrap_pyfunction!(main, module)?)
}
