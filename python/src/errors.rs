//! The crate's errors as Python's.

use humdinger::Error;
use pyo3::PyErr;
use pyo3::exceptions::{PyFileExistsError, PyFileNotFoundError, PyOSError, PyRuntimeError, PyValueError};

/// The kind of exception that a Python programmer looks for, with the words of the error.
pub fn raised(error: Error) -> PyErr {
    let text = error.to_string();
    match &error {
        Error::File { path, detail } if !path.exists() && !detail.contains("cannot be made") => {
            PyFileNotFoundError::new_err(text)
        }
        Error::File { detail, .. } if detail.contains("exists already") || detail.contains("is not empty") => {
            PyFileExistsError::new_err(text)
        }
        Error::File { detail, .. } if detail.contains("cannot be") && !detail.contains("cannot be understood") => {
            PyOSError::new_err(text)
        }
        Error::Device(_) | Error::Gpu(_) | Error::NonFinite(_) => PyRuntimeError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}

/// The same of what is wrong with an argument, even where the words name no file.
pub fn of_argument(error: Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}
