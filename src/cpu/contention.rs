//! Contention: whether other programs want the cores. Where they do, a plan's runs are tried on all threads and on the caller's alone.

use super::pace::{LONG, QUICKER, Timed};

/// The share of its runs' time that the caller's thread computes, below which other programs are taken to want the cores.
const COMPUTING: f64 = 0.9;
/// Seconds of runs by which that is told, and of short runs, of which reading the clocks is a part, one in so many.
const WATCHED: f64 = 0.05;
const ONE_IN: u32 = 16;
/// Seconds of runs on all threads, and then on one, of a trial: some of the slices in which the system hands out cores.
const TRIED: f64 = 0.2;
/// Seconds for which it is then left at the quicker.
const KEPT: f64 = 2.0;
/// Where all threads were quicker, those are twice as many each time, up to so many: then it is the plan that keeps its threads
/// waiting, and not another program.
const LONGEST: f64 = 64.0;

/// See the top of this file.
pub(super) struct Contention {
    state: State,
    /// Seconds for which nothing is tried again after all threads were quicker.
    patience: f64,
}

enum State {
    /// Nothing shows: the runs that were watched so far, and runs until the next one is.
    Watch { runs: Runs, left: u32 },
    /// It seems so: runs on all threads and on one.
    Trial { runs: [Runs; 2] },
    /// It was so: for so many runs it is left at what was quicker.
    Kept { alone: bool, left: u32 },
}

/// Runs together.
#[derive(Clone, Copy, Default)]
struct Runs {
    count: u32,
    seconds: f64,
    computing: f64,
}

impl Runs {
    fn add(&mut self, run: Timed) {
        self.count += 1;
        self.seconds += run.seconds;
        self.computing += run.computing.unwrap_or(run.seconds);
    }

    fn mean(&self) -> f64 {
        self.seconds / f64::from(self.count.max(1))
    }
}

const WATCH: State = State::Watch { runs: Runs { count: 0, seconds: 0.0, computing: 0.0 }, left: 0 };

impl Default for Contention {
    fn default() -> Self {
        Self { state: WATCH, patience: KEPT }
    }
}

impl Contention {
    /// Whether the next run should be the caller's alone; none where that is for others to say.
    pub fn alone(&self) -> Option<bool> {
        match &self.state {
            State::Watch { .. } => None,
            State::Trial { runs: [all, _] } => Some(all.seconds >= TRIED),
            State::Kept { alone, .. } => Some(*alone),
        }
    }

    /// Whether it wants to know how long that takes.
    pub fn timed(&self) -> bool {
        match &self.state {
            State::Watch { left, .. } => *left == 0,
            State::Trial { .. } => true,
            State::Kept { .. } => false,
        }
    }

    /// A run is over, and was timed or not.
    pub fn ran(&mut self, run: Option<Timed>) {
        match (&mut self.state, run) {
            (State::Watch { runs, left }, Some(run)) => {
                runs.add(run);
                *left = if run.seconds < LONG { ONE_IN - 1 } else { 0 };
                if runs.seconds >= WATCHED {
                    if runs.computing < COMPUTING * runs.seconds {
                        self.state = State::Trial { runs: Default::default() };
                    } else {
                        (self.state, self.patience) = (WATCH, KEPT);
                    }
                }
            }
            (State::Watch { left, .. }, None) => *left = left.saturating_sub(1),
            (State::Trial { runs }, Some(run)) => {
                runs[usize::from(runs[0].seconds >= TRIED)].add(run);
                if runs[1].seconds >= TRIED {
                    let [all, one] = runs.map(|runs| runs.mean());
                    let alone = one < QUICKER * all;
                    let (mean, seconds) = if alone { (one, KEPT) } else { (all, self.patience) };
                    self.patience = if alone { KEPT } else { (2.0 * self.patience).min(LONGEST) };
                    self.state = State::Kept { alone, left: (seconds / mean).ceil() as u32 };
                }
            }
            (State::Trial { .. }, None) => {}
            (State::Kept { alone, left }, _) => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    // One thread does not show whether the cores are free again.
                    self.state = if *alone { State::Trial { runs: Default::default() } } else { WATCH };
                }
            }
        }
    }
}

/// The clocks of a run.
pub(super) struct Clocks {
    start: std::time::Instant,
    computed: Option<f64>,
}

impl Clocks {
    /// As a run begins.
    pub fn start() -> Self {
        Self { computed: computed(), start: std::time::Instant::now() }
    }

    /// As it ends, on the same thread.
    pub fn stop(self) -> Timed {
        let seconds = self.start.elapsed().as_secs_f64();
        let computing = self.computed.zip(computed()).map(|(before, after)| after - before);
        Timed { seconds, computing }
    }
}

/// Seconds that the calling thread has computed, where the system tells.
#[cfg(all(unix, not(miri)))]
fn computed() -> Option<f64> {
    use nix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?;
    Some(time.tv_sec() as f64 + time.tv_nsec() as f64 * 1e-9)
}

#[cfg(not(all(unix, not(miri))))]
fn computed() -> Option<f64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs for so many seconds, each of `all` seconds on all threads, of which the caller computes `computing`, and of `one` on the caller's
    /// alone; the share of them that was the caller's alone.
    fn runs(contention: &mut Contention, seconds: f64, [all, computing, one]: [f64; 3]) -> f64 {
        let (mut passed, mut count, mut alone) = (0.0, 0, 0);
        while passed < seconds {
            let is_alone = contention.alone().unwrap_or(false);
            let run = if is_alone {
                Timed { seconds: one, computing: Some(one) }
            } else {
                Timed { seconds: all, computing: Some(computing) }
            };
            passed += run.seconds;
            (count, alone) = (count + 1, alone + u32::from(is_alone));
            contention.ran(contention.timed().then_some(run));
        }
        f64::from(alone) / f64::from(count)
    }

    #[test]
    #[cfg_attr(miri, ignore = "a million runs of arithmetic alone")]
    fn nothing_is_tried_where_the_caller_computes() {
        for all in [1e-4, 1e-3, 1e-2, 1.0] {
            let mut contention = Contention::default();
            assert!(runs(&mut contention, 100.0, [all, 0.95 * all, 0.5 * all]) == 0.0, "{all}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "a million runs of arithmetic alone")]
    fn where_cores_are_wanted_the_quicker_is_found_and_left_when_they_are_free() {
        for all in [4e-4, 1e-3, 1e-2, 0.1, 1.0] {
            let (busy, free) = ([all, 0.6 * all, 0.8 * all], [0.5 * all, 0.49 * all, 0.8 * all]);
            let mut contention = Contention::default();
            assert!(runs(&mut contention, 5.0 + 5.0 * all, free) == 0.0, "{all}");
            let share = runs(&mut contention, 100.0, busy);
            assert!(share > 0.6, "{all}: {share}");
            runs(&mut contention, 4.0 + 4.0 * all, free);
            assert!(runs(&mut contention, 100.0, free) == 0.0, "{all}");
        }
    }

    /// A plan whose threads wait for each other whatever else runs.
    #[test]
    #[cfg_attr(miri, ignore = "a million runs of arithmetic alone")]
    fn what_does_not_help_is_tried_ever_more_rarely() {
        for all in [1e-3, 1e-2, 0.1] {
            let waits = [all, 0.7 * all, 1.8 * all];
            let mut contention = Contention::default();
            runs(&mut contention, 130.0, waits);
            let share = runs(&mut contention, 200.0, waits);
            assert!(share > 0.0 && share < 0.01, "{all}: {share}");
        }
    }

    #[test]
    #[cfg(all(unix, not(miri)))]
    fn a_thread_that_sleeps_does_not_compute() {
        let clocks = Clocks::start();
        std::thread::sleep(std::time::Duration::from_millis(30));
        let run = clocks.stop();
        assert!(run.seconds >= 0.03 && run.computing.is_some_and(|computing| computing < 0.5 * run.seconds), "{run:?}");
    }
}
