//! Whether a plan's runs are quicker on all threads or on the caller's alone.
//!
//! A small step is some thirty jobs, between which data changes cores. Where cores are near each other that costs little; where they
//! are not (on two dies, or wherever a virtual machine has put them), a short step can take longer on two threads than on one. And
//! where other programs want the cores, any step can: a thread that waits for a core keeps all others waiting. Nothing that the
//! system tells says which it is, and it changes while a program runs: so it is tried, now and then with short runs, and with all
//! where the caller's thread computes much less than its runs take. Results are the same either way, to the bit.

use super::contention::Contention;

/// Runs on all threads, then as many on one, that make a trial of short runs; the first of each warms the caches and does not count.
const RUNS: usize = 6;
/// Runs before the first trial, and between trials.
const BEFORE: u32 = 64;
const BETWEEN: u32 = 2048;
/// Seconds of a run from which on all threads are quicker for certain, unless other programs want the cores.
pub(super) const LONG: f64 = 2e-3;
/// One thread has to be quicker by so much.
pub(super) const QUICKER: f64 = 0.95;

/// A run that was timed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timed {
    /// Seconds that it took.
    pub seconds: f64,
    /// Seconds that the caller's thread computed meanwhile, where the system tells.
    pub computing: Option<f64>,
}

/// What is known of a plan's runs.
pub(super) struct Pace {
    alone: bool,
    /// Runs until the next trial of short runs; 0 during one.
    left: u32,
    /// Seconds of a trial's runs so far, on all threads and on one.
    times: [[f64; RUNS]; 2],
    done: usize,
    /// Whether other programs want the cores, which decides before all else.
    contention: Contention,
}

impl Default for Pace {
    fn default() -> Self {
        Self { alone: false, left: BEFORE, times: [[0.0; RUNS]; 2], done: 0, contention: Contention::default() }
    }
}

impl Pace {
    /// Whether the next run should be the caller's alone.
    pub fn alone(&self) -> bool {
        self.contention.alone().unwrap_or(if self.left == 0 { self.done >= RUNS } else { self.alone })
    }

    /// Whether it wants to know how long that takes.
    pub fn timed(&self) -> bool {
        self.contention.timed() || (self.left == 0 && self.contention.alone().is_none())
    }

    /// A run is over, and was timed or not.
    pub fn ran(&mut self, run: Option<Timed>) {
        if self.contention.alone().is_some() {
            return self.contention.ran(run);
        }
        let alone = self.alone();
        // On the caller's thread alone nothing shows.
        self.contention.ran(run.filter(|_| !alone));
        match run {
            _ if self.left > 0 => self.left -= 1,
            Some(Timed { seconds, .. }) => self.tried(seconds),
            None => {}
        }
    }

    /// A run of a trial of short runs is over.
    fn tried(&mut self, seconds: f64) {
        self.times[self.done / RUNS][self.done % RUNS] = seconds;
        self.done += 1;
        let median = |times: &mut [f64; RUNS]| {
            let times = &mut times[1..];
            times.sort_unstable_by(f64::total_cmp);
            times[times.len() / 2]
        };
        let [all, one] = &mut self.times;
        if self.done == RUNS && median(all) > LONG {
            self.alone = false;
        } else if self.done == 2 * RUNS {
            self.alone = median(one) < QUICKER * median(all);
        } else {
            return;
        }
        (self.done, self.left) = (0, BETWEEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs that take so long on all threads and on one; how many were the caller's alone.
    fn runs(pace: &mut Pace, count: usize, [all, one]: [f64; 2]) -> usize {
        let mut alone = 0;
        for _ in 0..count {
            let seconds = if pace.alone() { one } else { all };
            alone += usize::from(pace.alone());
            pace.ran(pace.timed().then_some(Timed { seconds, computing: None }));
        }
        alone
    }

    #[test]
    fn the_quicker_is_found_and_found_again() {
        let (near, far) = ([3e-4, 5e-4], [6e-4, 5e-4]);
        let (trial, between) = (2 * RUNS, BETWEEN as usize);
        let mut pace = Pace::default();
        assert_eq!(runs(&mut pace, BEFORE as usize, near), 0);
        assert_eq!(runs(&mut pace, trial + between, near), RUNS);
        assert_eq!(runs(&mut pace, trial + between, far), RUNS + between);
        // A little quicker is not enough.
        assert_eq!(runs(&mut pace, trial + between, [5.1e-4, 5e-4]), RUNS);
        assert_eq!(runs(&mut pace, trial + between, near), RUNS);
    }

    #[test]
    fn long_runs_are_never_the_callers_alone() {
        let mut pace = Pace::default();
        assert_eq!(runs(&mut pace, 10_000, [2.0 * LONG, 1.0 * LONG]), 0);
    }

    #[test]
    fn one_slow_run_decides_nothing() {
        let mut pace = Pace::default();
        runs(&mut pace, BEFORE as usize, [3e-4, 5e-4]);
        assert!(pace.timed());
        for run in 0..2 * RUNS {
            let disturbed = run < RUNS && run % 3 == 0;
            let seconds = match run {
                _ if disturbed => 1e-2,
                0..RUNS => 3e-4,
                _ => 5e-4,
            };
            pace.ran(Some(Timed { seconds, computing: None }));
        }
        assert!(!pace.alone() && !pace.timed());
    }
}
