//! Threads that start on a job within about a microsecond.
//!
//! A training step of the classifier is some forty jobs of ten microseconds each. General-purpose pools allocate for
//! every job or take longer to wake a thread than such a job takes; this one publishes a job in one atomic word, and its
//! threads look out for the next one for a while before they sleep.

use crate::graph::Parallel;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// How often a thread looks for work before it sleeps: some fifty microseconds.
const SPINS: u32 = 4_000;

type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// The job in hand. `word` holds the job's number in its upper half and how many tasks are unclaimed in its lower half.
/// The address is written while nothing is left to claim, and read before a claim: a claim that succeeds therefore read
/// the address of the job that it claimed from.
struct Shared {
    word: AtomicU64,
    task: [AtomicUsize; 2],
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
        let shared = Arc::new(Shared {
            word: AtomicU64::new(0),
            task: [AtomicUsize::new(0), AtomicUsize::new(0)],
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
        let threads = (1..threads.max(1)).map_while(|worker| spawn(worker).ok()).collect();
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
    /// Claims and runs tasks until the job in hand has none left. Returns the job's number.
    fn work(&self, worker: usize) -> u64 {
        loop {
            let word = self.word.load(Ordering::Acquire);
            let (job, unclaimed) = (word >> 32, (word & 0xffff_ffff) as usize);
            if unclaimed == 0 {
                return job;
            }
            let address = [self.task[0].load(Ordering::Relaxed), self.task[1].load(Ordering::Relaxed)];
            if self.word.compare_exchange_weak(word, word - 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                continue;
            }
            // SAFETY: the claim succeeded, so the job was current when its fields were read, and it stays current (and
            // the closure alive) until this task is counted as done.
            let task: &Task = unsafe { std::mem::transmute::<[usize; 2], &Task>(address) };
            if catch_unwind(AssertUnwindSafe(|| task(unclaimed - 1, worker))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    fn look_for_work(&self, worker: usize) {
        let mut seen = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let mut spins = 0;
            while self.word.load(Ordering::Acquire) >> 32 == seen && !self.stop.load(Ordering::Relaxed) {
                spins += 1;
                if spins < SPINS {
                    std::hint::spin_loop();
                } else {
                    self.sleep(seen);
                }
            }
            seen = self.work(worker);
        }
    }

    fn sleep(&self, seen: u64) {
        let mut guard = lock(&self.bed);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        while self.word.load(Ordering::SeqCst) >> 32 == seen && !self.stop.load(Ordering::SeqCst) {
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
        if tasks <= 1 || self.threads.is_empty() {
            (0..tasks).for_each(|i| task(i, 0));
            return;
        }
        assert!(tasks < u32::MAX as usize, "a job has at most 2^32 tasks");
        let one_job_at_a_time = lock(&self.caller);
        let shared = &*self.shared;
        // SAFETY: the address is only used until all tasks are done, which this function waits for.
        let address = unsafe { std::mem::transmute::<&Task, [usize; 2]>(task) };
        let job = ((shared.word.load(Ordering::Relaxed) >> 32) + 1) & 0xffff_ffff;
        shared.task[0].store(address[0], Ordering::Relaxed);
        shared.task[1].store(address[1], Ordering::Relaxed);
        shared.done.store(0, Ordering::Relaxed);
        shared.word.store(job << 32 | tasks as u64, Ordering::SeqCst);
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
