//! Threads that start on a job within about a microsecond.
//!
//! A training step of the classifier is some forty jobs of ten microseconds each. General-purpose pools allocate for
//! every job or take longer to wake a thread than such a job takes; this one publishes a job in one atomic word for each
//! thread, and its threads look out for the next one for a while before they sleep.
//!
//! Each thread begins with a share of its own, the same stretch of the tasks in every job, and takes over others' tasks only
//! when it is through: what one job leaves in a core's cache is then what that core's share of the next job reads. With batches
//! that are too large for the cache, what was written last is still there: a session therefore lets every other step go
//! through its tasks from the last to the first ([`Parallel::set_backwards`]).
//!
//! The system may put two of the threads on one core and leave them there for seconds while another core is idle, since one of
//! them does all the work and the other sleeps. A thread that finds itself on the core of the caller moves to another.

use super::core;
use crate::graph::Parallel;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// How often a thread looks for work before it sleeps: some fifty microseconds.
const SPINS: u32 = 4_000;

/// Jobs after which a thread looks whether it has a core of its own, a power of two.
const LOOK_AFTER: u64 = 16;

type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// A thread's share of the job in hand, on cache lines of its own: the job's number in the upper half, and how many tasks are
/// unclaimed in the lower half.
#[repr(align(128))]
struct Share(AtomicU64);

/// The job in hand. Its address and its number of tasks are written while nothing is left to claim, and read between looking at
/// a share and claiming from it: a claim that succeeds therefore read what belongs to the job that it claimed from.
struct Shared {
    shares: Vec<Share>,
    task: [AtomicUsize; 2],
    /// Twice the number of tasks, and one more where they are done from the last to the first.
    tasks: AtomicUsize,
    /// Whether the next jobs are.
    backwards: AtomicBool,
    /// The core that the caller was on when it last looked; `usize::MAX` where the system does not tell.
    core_of_caller: AtomicUsize,
    done: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    sleeping: AtomicUsize,
    bed: Mutex<()>,
    alarm: Condvar,
}

/// A fixed number of threads, the caller's among them.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    caller: Mutex<()>,
}

impl Pool {
    /// A pool of this many threads, the caller of [`Parallel::run`] included.
    pub fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        let shared = Arc::new(Shared {
            shares: (0..threads).map(|_| Share(AtomicU64::new(0))).collect(),
            tasks: AtomicUsize::new(0),
            backwards: AtomicBool::new(false),
            task: [AtomicUsize::new(0), AtomicUsize::new(0)],
            core_of_caller: AtomicUsize::new(usize::MAX),
            done: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sleeping: AtomicUsize::new(0),
            bed: Mutex::new(()),
            alarm: Condvar::new(),
        });
        let spawn = |worker| {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("humdinger-{worker}")).spawn(move || shared.look_for_work(worker))
        };
        // Where the system gives fewer threads, the pool has fewer: results do not depend on their number.
        let threads = (1..threads).map_while(|worker| spawn(worker).ok()).collect();
        Self { shared, threads, caller: Mutex::new(()) }
    }

    /// A pool with a thread for every core that this process may use.
    pub fn of_machine() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }
}

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Claims and runs tasks until no share has any left, this worker's own first.
    fn work(&self, worker: usize) {
        let workers = self.shares.len();
        for i in 0..workers {
            let owner = (worker + i) % workers;
            while let Some((task, index)) = self.claim(owner) {
                if catch_unwind(AssertUnwindSafe(|| task(index, worker))).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
                self.done.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// Claims the next task of a share.
    fn claim(&self, owner: usize) -> Option<(&Task<'_>, usize)> {
        let share = &self.shares[owner].0;
        loop {
            let word = share.load(Ordering::Acquire);
            let unclaimed = (word & 0xffff_ffff) as usize;
            if unclaimed == 0 {
                return None;
            }
            let address = [self.task[0].load(Ordering::Relaxed), self.task[1].load(Ordering::Relaxed)];
            let tasks = self.tasks.load(Ordering::Relaxed);
            let (tasks, backwards) = (tasks / 2, tasks % 2 == 1);
            let (start, end) = (self.start_of(owner, tasks), self.start_of(owner + 1, tasks));
            if share.compare_exchange_weak(word, word - 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                // SAFETY: the claim succeeded, so the job was current when its fields were read, and it stays current (and
                // the closure alive) until this task is counted as done.
                let task: &Task = unsafe { std::mem::transmute::<[usize; 2], &Task>(address) };
                return Some((task, if backwards { start + unclaimed - 1 } else { end - unclaimed }));
            }
        }
    }

    /// The first task of a worker's share, or the end of the one before it.
    fn start_of(&self, worker: usize, tasks: usize) -> usize {
        worker * tasks / self.shares.len()
    }

    /// The number of the job that was last published to a worker.
    fn job(&self, worker: usize) -> u64 {
        self.shares[worker].0.load(Ordering::SeqCst) >> 32
    }

    fn look_for_work(&self, worker: usize) {
        let (mut seen, mut looked) = (0, 0);
        while !self.stop.load(Ordering::Relaxed) {
            let mut spins = 0;
            while self.shares[worker].0.load(Ordering::Acquire) >> 32 == seen && !self.stop.load(Ordering::Relaxed) {
                spins += 1;
                if spins < SPINS {
                    std::hint::spin_loop();
                } else {
                    self.sleep(worker, seen);
                }
            }
            seen = self.job(worker);
            // Not only at every so many jobs: a thread without a core of its own misses most of them.
            if seen / LOOK_AFTER != looked {
                looked = seen / LOOK_AFTER;
                let caller = self.core_of_caller.load(Ordering::Relaxed);
                if core::current() == Some(caller) {
                    core::leave(caller);
                }
            }
            self.work(worker);
        }
    }

    fn sleep(&self, worker: usize, seen: u64) {
        let mut guard = lock(&self.bed);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        while self.job(worker) == seen && !self.stop.load(Ordering::SeqCst) {
            guard = self.alarm.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake(&self) {
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.bed));
            self.alarm.notify_all();
        }
    }
}

impl Parallel for Pool {
    fn run(&self, tasks: usize, task: &(dyn Fn(usize, usize) + Sync)) {
        let backwards = self.shared.backwards.load(Ordering::Relaxed);
        if tasks <= 1 || self.threads.is_empty() {
            (0..tasks).for_each(|i| task(if backwards { tasks - 1 - i } else { i }, 0));
            return;
        }
        assert!(tasks < u32::MAX as usize, "a job has at most 2^32 tasks");
        let one_job_at_a_time = lock(&self.caller);
        let shared = &*self.shared;
        // SAFETY: the address is only used until all tasks are done, which this function waits for.
        let address = unsafe { std::mem::transmute::<&Task, [usize; 2]>(task) };
        let job = (shared.job(0) + 1) & 0xffff_ffff;
        shared.task[0].store(address[0], Ordering::Relaxed);
        shared.task[1].store(address[1], Ordering::Relaxed);
        shared.tasks.store(2 * tasks + usize::from(backwards), Ordering::Relaxed);
        shared.done.store(0, Ordering::Relaxed);
        if job.is_multiple_of(LOOK_AFTER) {
            shared.core_of_caller.store(core::current().unwrap_or(usize::MAX), Ordering::Relaxed);
        }
        for (worker, share) in shared.shares.iter().enumerate() {
            let count = shared.start_of(worker + 1, tasks) - shared.start_of(worker, tasks);
            share.0.store(job << 32 | count as u64, Ordering::SeqCst);
        }
        shared.wake();
        shared.work(0);
        let mut spins = 0u32;
        while shared.done.load(Ordering::Acquire) < tasks {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        drop(one_job_at_a_time);
        assert!(!shared.panicked.swap(false, Ordering::Relaxed), "a task of a CPU kernel panicked; see above");
    }

    fn workers(&self) -> usize {
        self.threads.len() + 1
    }

    fn set_backwards(&self, backwards: bool) {
        self.shared.backwards.store(backwards, Ordering::Relaxed);
    }

    fn after(&self, task: usize) -> usize {
        if self.shared.backwards.load(Ordering::Relaxed) { task.wrapping_sub(1) } else { task + 1 }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(lock(&self.shared.bed));
        self.shared.alarm.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked outside a task has nothing left to tell.
            let _ = thread.join();
        }
    }
}
