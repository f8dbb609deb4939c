//! Running where the system gives few threads (`ulimit -u`, containers).

use super::warn;
use rayon::{ThreadBuilder, ThreadPoolBuilder};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, available_parallelism};

static FEW: AtomicBool = AtomicBool::new(false);

/// Whether the system gives fewer threads than there are cores.
pub(super) fn few() -> bool {
    FEW.load(Ordering::Relaxed)
}

/// Makes the threads that recordings are read with: one for every core or, where the system does not give so many, as many as it
/// gives. rayon alone would end the process there. Results do not depend on the number.
pub(super) fn prepare() {
    // As rayon takes its number.
    let asked =
        std::env::var("RAYON_NUM_THREADS").ok().and_then(|number| number.parse().ok()).filter(|&number| number > 0);
    let wanted = asked.unwrap_or_else(|| available_parallelism().map_or(1, std::num::NonZero::get));
    // Threads that wait for rayon to tell them what they are; asked for a number of its own, it cannot do with fewer.
    let mut waiting: Vec<Sender<ThreadBuilder>> = Vec::new();
    while waiting.len() < wanted {
        let (tell, told) = channel::<ThreadBuilder>();
        let wait = move || told.recv().map(ThreadBuilder::run).unwrap_or_default();
        match Builder::new().name("reader".into()).spawn(wait) {
            Ok(_) => waiting.push(tell),
            Err(_) => break,
        }
    }
    let there = waiting.len();
    if there < wanted {
        FEW.store(true, Ordering::Relaxed);
        // The kernels and the handler of Ctrl-C need threads as well. Idle ones end.
        waiting.truncate(there / 2);
    }
    let made = match waiting.len() {
        0 => ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global(),
        readers => ThreadPoolBuilder::new()
            .num_threads(readers)
            .spawn_handler(|thread| {
                let gone = || std::io::Error::other("a thread has ended");
                waiting.pop().ok_or_else(gone)?.send(thread).map_err(|_| gone())
            })
            .build_global(),
    };
    if let Err(error) = made {
        warn(&format!("warning: there are no threads to read recordings with: {error}"));
    } else if there < wanted {
        let text = format!("the system gives this process {there} threads beside its first instead of {wanted}");
        warn(&format!("warning: {text}; it works with these"));
    }
}
