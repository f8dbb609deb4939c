//! Being asked to end: Ctrl-C, SIGTERM, a terminal that is closed.

use crate::{Error, Result};
#[cfg(unix)]
use nix::sys::signal::{SigHandler, Signal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Calls `told`, on its own thread, whenever the process is asked to end. A signal that is ignored, as `nohup` ignores
/// the one of a closed terminal and shells that of Ctrl-C in background jobs of scripts, stays ignored.
///
/// # Errors
/// Where signals cannot be listened for.
pub(super) fn on_end(told: impl FnMut() + Send + 'static) -> Result<()> {
    #[cfg(unix)]
    let ignored = ignored_signals();
    ctrlc::set_handler(told).map_err(|e| Error::Data(format!("Ctrl-C cannot be listened for: {e}")))?;
    #[cfg(unix)]
    for signal in ignored {
        ignore(signal)?;
    }
    Ok(())
}

/// A flag that Ctrl-C sets. A second Ctrl-C ends the process at once.
///
/// # Errors
/// Where signals cannot be listened for.
pub(super) fn stop_flag(quietly: bool) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    on_end(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        if !quietly {
            super::warn("stopping after this step; once more to stop at once");
        }
    })?;
    Ok(stop)
}

/// From now on a file that grows beyond what the process may write (`ulimit -f`) is an error of that file, like a full disk, and no
/// longer the sudden end of the process.
#[cfg(unix)]
pub(super) fn survive_large_files() {
    // Where it cannot be ignored, all is as before.
    drop(ignore(Signal::SIGXFSZ));
}

/// Those of the signals that end a run which the process was started to ignore.
#[cfg(unix)]
fn ignored_signals() -> Vec<Signal> {
    let is_ignored = |&signal: &Signal| {
        // A handler can only be asked for by setting another; what is not ignored is listened for right after this.
        ignore(signal).is_ok_and(|before| matches!(before, SigHandler::SigIgn))
    };
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().filter(is_ignored).collect()
}

/// Ignores a signal; what was done with it before.
#[cfg(unix)]
fn ignore(signal: Signal) -> Result<SigHandler> {
    // SAFETY: no handler of ours is set, so nothing can run at a moment that it is not fit for.
    let before = unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) };
    before.map_err(|e| Error::Data(format!("the signal {signal} cannot be ignored: {e}")))
}
