//! Threads that start on a job within about a microsecond.
//!
//! A training step of the classifier is some forty jobs of ten microseconds each. General-purpose pools allocate for
//! every job or take longer to wake a thread than such a job takes; this one tells each thread of a job on a cache line of its
//! own, which it watches for a while before it sleeps. Lines are what such jobs cost: one that has to come from another core takes
//! some 60 to 400 ns, so nobody writes where another looks without need, and a thread says once that it is through.
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
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// How often a thread looks for work before it sleeps: some fifty microseconds.
const SPINS: u32 = if cfg!(miri) { 40 } else { 4_000 };

/// Jobs after which a thread looks whether it has a core of its own, a power of two.
const LOOK_AFTER: u32 = 16;

type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// The two words of a reference to a [`Task`]. Pointers and not numbers: a number does not say which memory may be reached by it.
type Words = [*mut (); 2];

/// A thread's share of the job in hand, and all that it needs to begin, on cache lines of its own.
///
/// All but `word` is written while nothing is left to claim, and read between looking at `word` and claiming from it: a claim that
/// succeeds therefore read what belongs to the job that it claimed from.
#[repr(align(128))]
#[derive(Default)]
struct Share {
    /// The job's number in the upper half, and how many tasks are unclaimed in the lower half.
    word: AtomicU64,
    /// The job's closure.
    task: [AtomicPtr<()>; 2],
    /// Twice the number of the share's last task, and one more where the others follow it and are done from the last to the first.
    last: AtomicUsize,
}

/// How many tasks a thread has ever done, on cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
struct Done(AtomicU64);

/// What threads share beside their shares; hardly ever written.
struct Shared {
    shares: Vec<Share>,
    done: Vec<Done>,
    /// The core that the caller was on when it last looked; `usize::MAX` where the system does not tell.
    core_of_caller: AtomicUsize,
    asleep: Vec<AtomicBool>,
    panicked: AtomicBool,
    stop: AtomicBool,
}

/// What the caller has handed out so far.
#[derive(Default)]
struct HandedOut {
    job: u32,
    tasks: u64,
}

/// A fixed number of threads, the caller's among them.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Held by the caller whose job is in hand.
    handed_out: Mutex<HandedOut>,
    /// Whether the next jobs are done from the last task to the first.
    backwards: AtomicBool,
}

impl Pool {
    /// A pool of this many threads, the caller of [`Parallel::run`] included.
    pub fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        let shared = Arc::new(Shared {
            shares: (0..threads).map(|_| Share::default()).collect(),
            done: (0..threads).map(|_| Done::default()).collect(),
            core_of_caller: AtomicUsize::new(usize::MAX),
            asleep: (0..threads).map(|_| AtomicBool::new(false)).collect(),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let spawn = |worker| {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("humdinger-{worker}")).spawn(move || shared.look_for_work(worker))
        };
        // Where the system gives fewer threads, the others take over their shares: results do not depend on their number.
        let threads = (1..threads).map_while(|worker| spawn(worker).ok()).collect();
        Self { shared, threads, handed_out: Mutex::default(), backwards: AtomicBool::new(false) }
    }

    /// A pool with a thread for every core that this process may use.
    pub fn of_machine() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }
}

impl Share {
    /// Hands out `count` tasks of a job, the last of which is `last`.
    fn publish(&self, job: u32, task: Words, count: usize, last: usize, backwards: bool) {
        self.task[0].store(task[0], Ordering::Relaxed);
        self.task[1].store(task[1], Ordering::Relaxed);
        self.last.store(2 * last + usize::from(backwards), Ordering::Relaxed);
        self.word.store(u64::from(job) << 32 | count as u64, Ordering::Release);
    }

    /// The number of the job that was last published.
    fn job(&self, order: Ordering) -> u32 {
        (self.word.load(order) >> 32) as u32
    }

    /// Claims the next task.
    fn claim(&self) -> Option<(&Task<'_>, usize)> {
        loop {
            let word = self.word.load(Ordering::Acquire);
            let before_last = ((word & 0xffff_ffff) as usize).checked_sub(1)?;
            let words: Words = [self.task[0].load(Ordering::Relaxed), self.task[1].load(Ordering::Relaxed)];
            let last = self.last.load(Ordering::Relaxed);
            if self.word.compare_exchange_weak(word, word - 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                // SAFETY: the claim succeeded, so the job was current when its fields were read, and it stays current (and
                // the closure alive) until this task is counted as done.
                let task: &Task = unsafe { std::mem::transmute::<Words, &Task>(words) };
                let index = if last % 2 == 1 { last / 2 + before_last } else { last / 2 - before_last };
                return Some((task, index));
            }
        }
    }
}

impl Shared {
    /// Runs a task and remembers whether it panicked.
    fn perform(&self, task: &Task<'_>, index: usize, worker: usize) {
        if catch_unwind(AssertUnwindSafe(|| task(index, worker))).is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
    }

    /// Claims and runs tasks until no share has any left, this worker's own first.
    fn work(&self, worker: usize) {
        let (shares, done) = (self.shares.iter(), &self.done[worker].0);
        for share in shares.clone().skip(worker).chain(shares.take(worker)) {
            let mut count = 0;
            while let Some((task, index)) = share.claim() {
                self.perform(task, index, worker);
                count += 1;
            }
            if count > 0 {
                // Nobody else writes there.
                done.store(done.load(Ordering::Relaxed) + count, Ordering::Release);
            }
        }
    }

    /// How many tasks were ever done.
    fn all_done(&self) -> u64 {
        self.done.iter().map(|done| done.0.load(Ordering::Acquire)).fold(0, u64::wrapping_add)
    }

    fn look_for_work(&self, worker: usize) {
        let share = &self.shares[worker];
        let (mut seen, mut looked) = (0, 0);
        loop {
            let mut spins = 0;
            // The number that ends the wait is the one that was seen: a later one may be the pool's end, which comes with `stop`.
            seen = loop {
                let job = share.job(Ordering::Acquire);
                if job != seen {
                    break job;
                }
                spins += 1;
                if spins < SPINS {
                    std::hint::spin_loop();
                } else {
                    self.sleep(worker, seen);
                }
            };
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
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

    /// Waits for a job after `seen`.
    fn sleep(&self, worker: usize, seen: u32) {
        self.asleep[worker].store(true, Ordering::Relaxed);
        // Either this thread sees a job that was published just now, or whoever published it sees that the thread sleeps.
        fence(Ordering::SeqCst);
        while self.shares[worker].job(Ordering::Acquire) == seen {
            std::thread::park();
        }
        self.asleep[worker].store(false, Ordering::Relaxed);
    }
}

impl Pool {
    /// Wakes the threads below `workers` that sleep.
    fn wake(&self, workers: usize) {
        for (thread, asleep) in self.threads.iter().zip(&self.shared.asleep[1..workers]) {
            if asleep.load(Ordering::Relaxed) {
                thread.thread().unpark();
            }
        }
    }
}

// SAFETY: every task of a job is claimed once, by the worker that runs it; `run` waits for all; each worker is one thread, and jobs
// come one after another.
unsafe impl Parallel for Pool {
    fn run(&self, tasks: usize, task: &(dyn Fn(usize, usize) + Sync)) {
        let backwards = self.backwards.load(Ordering::Relaxed);
        if tasks <= 1 || self.threads.is_empty() {
            (0..tasks).for_each(|i| task(if backwards { tasks - 1 - i } else { i }, 0));
            return;
        }
        assert!(tasks < u32::MAX as usize, "a job has at most 2^32 tasks");
        let mut handed_out = self.handed_out.lock().unwrap_or_else(PoisonError::into_inner);
        handed_out.job = handed_out.job.wrapping_add(1);
        handed_out.tasks = handed_out.tasks.wrapping_add(tasks as u64);
        let (shared, job) = (&*self.shared, handed_out.job);
        if job.is_multiple_of(LOOK_AFTER) {
            let core = core::current().unwrap_or(usize::MAX);
            if core != shared.core_of_caller.load(Ordering::Relaxed) {
                shared.core_of_caller.store(core, Ordering::Relaxed);
            }
        }
        // SAFETY: a reference to a trait object is two pointers. They are used until all tasks are done, which this function waits for.
        let words = unsafe { std::mem::transmute::<&Task, Words>(task) };
        // Threads without a task of their own need not know.
        let workers = tasks.min(shared.shares.len());
        let start_of = |worker: usize| worker * tasks / workers;
        for (worker, share) in shared.shares[..workers].iter().enumerate().rev() {
            let (start, end) = (start_of(worker), start_of(worker + 1));
            // The caller begins at once, so its first needs no claim.
            let count = end - start - usize::from(worker == 0);
            share.publish(job, words, count, if backwards { start } else { end - 1 }, backwards);
        }
        self.wake(workers);
        shared.perform(task, if backwards { start_of(1) - 1 } else { 0 }, 0);
        // A thread that went to sleep just when the job was published may not have been seen. To be sure takes a fence, which
        // waits for the lines of the shares to come from other cores; by now they have.
        fence(Ordering::SeqCst);
        self.wake(workers);
        let done = &shared.done[0].0;
        done.store(done.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        shared.work(0);
        let mut spins = 0u32;
        while shared.all_done() != handed_out.tasks {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        drop(handed_out);
        let panicked = shared.panicked.load(Ordering::Relaxed) && shared.panicked.swap(false, Ordering::Relaxed);
        assert!(!panicked, "a task of a CPU kernel panicked; see above");
    }

    fn workers(&self) -> usize {
        self.shared.shares.len()
    }

    fn set_backwards(&self, backwards: bool) {
        self.backwards.store(backwards, Ordering::Relaxed);
    }

    fn after(&self, task: usize) -> usize {
        if self.backwards.load(Ordering::Relaxed) { task.wrapping_sub(1) } else { task + 1 }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for share in &self.shared.shares[1..] {
            // A job without tasks, for threads to look up from what they do.
            share.publish(share.job(Ordering::Relaxed).wrapping_add(1), [std::ptr::null_mut(); 2], 0, 0, false);
        }
        fence(Ordering::SeqCst);
        self.wake(self.shared.shares.len());
        for thread in self.threads.drain(..) {
            // A thread that panicked outside a task has nothing left to tell.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Runs a job, and says how often each task was run.
    fn counts(pool: &Pool, tasks: usize) -> Vec<usize> {
        let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        pool.run(tasks, &|task, worker| {
            assert!(worker < pool.workers());
            counts[task].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3, 7] {
            let pool = Pool::new(threads);
            for job in 0..if cfg!(miri) { 60 } else { 2000 } {
                pool.set_backwards(job % 3 == 0);
                let tasks = job * 7 % 41;
                assert_eq!(counts(&pool, tasks), vec![1; tasks], "{threads} threads, job {job}");
            }
        }
    }

    #[test]
    fn threads_that_fell_asleep_wake_up() {
        let pool = Pool::new(3);
        for job in 0..30 {
            std::thread::sleep(Duration::from_millis(job % 3 * 2));
            // All but the first wait for one another: all three threads must be at work. The first does not, for whoever fell asleep
            // just when the job was handed out is woken for certain after it.
            let arrived = AtomicUsize::new(0);
            pool.run(4, &|task, _| {
                if task > 0 {
                    arrived.fetch_add(1, Ordering::Relaxed);
                    while arrived.load(Ordering::Relaxed) < 3 {
                        std::thread::yield_now();
                    }
                }
            });
        }
    }

    /// The last job is over when all its tasks are done: a thread that had none may only just be looking at it.
    #[test]
    fn a_pool_can_end_while_threads_look_at_its_last_job() {
        let end_pools = || (0..if cfg!(miri) { 10 } else { 4000 }).for_each(|_| Pool::new(8).run(8, &|_, _| ()));
        // More threads than cores, so that some are kept from looking on.
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(end_pools))));
    }

    #[test]
    fn tasks_begin_at_either_end() {
        let pool = Pool::new(1);
        for (backwards, expected) in [(false, [0, 1, 2]), (true, [2, 1, 0])] {
            pool.set_backwards(backwards);
            let order = Mutex::new(Vec::new());
            pool.run(3, &|task, _| order.lock().unwrap().push(task));
            assert_eq!(order.into_inner().unwrap(), expected);
            assert_eq!(pool.after(expected[0]), expected[1]);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        for bad in [0, 5, 9] {
            let job = AssertUnwindSafe(|| pool.run(10, &|task, _| assert_ne!(task, bad, "on purpose")));
            assert!(catch_unwind(job).is_err());
            assert_eq!(counts(&pool, 10), [1; 10]);
        }
    }

    #[test]
    fn several_callers_take_turns() {
        let pool = Pool::new(2);
        std::thread::scope(|scope| {
            for tasks in [3, 17, 64] {
                let pool = &pool;
                scope.spawn(move || {
                    (0..if cfg!(miri) { 20 } else { 300 }).for_each(|_| assert_eq!(counts(pool, tasks), vec![1; tasks]))
                });
            }
        });
    }
}
