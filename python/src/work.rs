//! Work that Python waits for without holding up its other threads, and that Ctrl-C ends.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How often Python's signals are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long work that was told to stop is waited for; then it ends by itself, in its own time, and nobody sees what comes of it.
const PATIENCE: Duration = Duration::from_millis(500);

/// Does the work in a thread of its own. What it sends meanwhile is told. Where Ctrl-C is pressed, or telling raises, `stop` is set, which
/// the work has to look at, and that exception is raised.
pub fn watched<T: Send + 'static, M: Send>(
    py: Python<'_>,
    stop: &Arc<AtomicBool>,
    messages: Receiver<M>,
    mut tell: impl FnMut(M) -> PyResult<()>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (sender, mut done) = channel();
    let worker = thread::Builder::new().name("humdinger".into()).spawn(move || drop(sender.send(work())));
    worker.map_err(|e| PyRuntimeError::new_err(format!("no thread can be started: {e}")))?;
    let mut result = None;
    loop {
        // Before the signals, so that what is there is told.
        while let Ok(message) = messages.try_recv() {
            tell(message).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        }
        if let Some(result) = result {
            return Ok(result);
        }
        let waited;
        (waited, done) = py.detach(move || (done.recv_timeout(LOOK), done));
        match waited {
            Ok(made) => result = Some(made),
            Err(RecvTimeoutError::Timeout) => {
                if let Err(interrupt) = py.check_signals() {
                    stop.store(true, Ordering::Relaxed);
                    py.detach(move || drop(done.recv_timeout(PATIENCE)));
                    return Err(interrupt);
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("the work ended without a result; this is a fault of humdinger"));
            }
        }
    }
}

/// [`watched`] for work that has nothing to tell.
pub fn quietly<T: Send + 'static>(
    py: Python<'_>,
    stop: &Arc<AtomicBool>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (_, nothing) = channel::<()>();
    watched(py, stop, nothing, |()| Ok(()), work)
}
