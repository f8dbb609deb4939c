//! Which core a thread runs on, and how it leaves it, where the system tells (Linux); elsewhere nothing is known and nothing is
//! done. Miri, which checks the pool's memory, does not tell either.

/// The core that the calling thread runs on.
#[cfg(all(target_os = "linux", not(miri)))]
pub fn current() -> Option<usize> {
    nix::sched::sched_getcpu().ok()
}

/// Moves the calling thread to another of the cores that it may use, where there is one. Which cores those are stays as it was.
#[cfg(all(target_os = "linux", not(miri)))]
pub fn leave(core: usize) {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;
    let this = Pid::from_raw(0);
    let Ok(allowed) = sched_getaffinity(this) else { return };
    let mut others = allowed;
    let any = |set: &CpuSet| (0..CpuSet::count()).any(|core| set.is_set(core) == Ok(true));
    if others.unset(core).is_ok() && any(&others) && sched_setaffinity(this, &others).is_ok() {
        // Back to what the user allowed: the thread was moved already. Should this fail, it stays off one core, no more.
        let _ = sched_setaffinity(this, &allowed);
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub fn current() -> Option<usize> {
    None
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub fn leave(_: usize) {}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_leaves_its_core_and_keeps_what_it_may_use() {
        use nix::{sched::sched_getaffinity, unistd::Pid};
        let allowed = || sched_getaffinity(Pid::from_raw(0)).map_err(|e| e.to_string());
        let before = allowed();
        // The system may move the thread back at any time, but not every time.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let moved = (0..100).any(|_| {
            let core = current();
            core.inspect(|&core| leave(core));
            core != current()
        });
        assert_eq!(moved, cores > 1);
        assert_eq!(before, allowed());
    }
}
