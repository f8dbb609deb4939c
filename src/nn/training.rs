//! The training loop: epochs of steps, the best state so far, patience, requests to stop, checkpoints, and the position
//! from which training resumes. [`Model::fit`](super::Model::fit) and the song classifier (`train::trainer`) both use it.

use super::data::Batches;
use super::fit::Flow;
use crate::error::{Error, Result};
use std::time::{Duration, Instant};

/// The progress of training. A checkpoint must hold it together with the learner's own state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Steps made.
    pub step: u64,
    /// Epochs completed, validation included.
    pub epoch: usize,
    /// How many batches of the epoch in progress have been trained on.
    pub position: usize,
    /// Seconds spent on the epoch in progress.
    pub seconds: f64,
    /// The lowest validation loss so far.
    pub best_loss: Option<f64>,
    /// The epoch, counted from 1, that had it; without validation, the last one.
    pub best_epoch: Option<usize>,
    /// The number of epochs that were done when more were requested: patience is counted from there.
    pub continued_at: Option<usize>,
}

impl Progress {
    /// Counts a step on this many batches.
    pub fn stepped(&mut self, batches: usize) {
        self.step += 1;
        self.position += batches;
    }

    /// Whether the epoch in progress has the best state so far: its validation loss is lower, or there is none. If so, it is
    /// stored as the best.
    pub fn judge(&mut self, loss: Option<f64>) -> bool {
        let best = match (loss, self.best_loss) {
            (Some(loss), Some(best)) => loss < best,
            _ => true,
        };
        if best {
            (self.best_loss, self.best_epoch) = (loss, Some(self.epoch + 1));
        }
        best
    }

    /// Whether the validation loss has not improved for this many epochs. Always false without validation.
    pub fn impatient(&self, patience: Option<usize>) -> bool {
        let (Some(patience), Some(best), Some(_)) = (patience, self.best_epoch, self.best_loss) else { return false };
        // Who asks for more epochs gets them as though training had just begun to improve.
        let since = best.max(self.continued_at.unwrap_or(0));
        self.position == 0 && self.epoch >= since + patience
    }
}

/// When training ends, and when it writes checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// The total number of epochs, those before a resumption included.
    pub epochs: usize,
    /// Ends after this many epochs without a lower validation loss.
    pub patience: Option<usize>,
    /// The time between checkpoints within an epoch.
    pub save_every: Option<Duration>,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All epochs are done.
    Complete,
    /// The validation loss has not improved for too long.
    Impatient,
    /// Training was stopped on request, and can be resumed.
    Stopped,
}

/// What the training loop ([`train`]) trains: it makes steps, validates, and keeps and writes its state.
///
/// Only [`Learner::step`] and [`Learner::validate`] must do something.
pub trait Learner {
    /// A batch of a step: a [`Batch`](super::Batch), or the number of a recording, for example.
    type Batch;
    /// The result of validation besides the loss.
    type Verdict;

    /// Its progress. The learner counts its steps there ([`Progress::stepped`]). A learner restored from a checkpoint resumes from
    /// there.
    fn progress(&mut self) -> &mut Progress;

    /// Makes a step on the next batch, and on as many of the epoch's further batches (`more`) as it takes from there, in one step or several.
    ///
    /// # Errors
    /// If it fails; that ends training.
    fn step(&mut self, next: Self::Batch, more: &mut dyn Iterator<Item = Result<Self::Batch>>) -> Result<()>;

    /// Called at the end of an epoch. Returns the validation loss, if there is validation data, and other results.
    ///
    /// # Errors
    /// If it fails; that ends training.
    fn validate(&mut self) -> Result<(Option<f64>, Self::Verdict)>;

    /// Keeps the current state, which is the best so far.
    ///
    /// # Errors
    /// If it fails; that ends training.
    fn keep(&mut self, _: &Self::Verdict) -> Result<()> {
        Ok(())
    }

    /// Called when an epoch is complete, with the result of validation, whether the epoch is the best, and how many seconds it
    /// took. Sums over an epoch are to be reset here.
    ///
    /// # Errors
    /// If it fails; that ends training.
    fn epoch_over(&mut self, _: Self::Verdict, _best: bool, _seconds: f64) -> Result<Flow> {
        Ok(Flow::Continue)
    }

    /// Writes a checkpoint of its progress and state. Called after every epoch, within epochs as [`Course::save_every`] says, and when training
    /// stops.
    ///
    /// # Errors
    /// If it fails; that ends training.
    fn checkpoint(&mut self) -> Result<()> {
        Ok(())
    }

    /// Whether to stop before the next step. Called before each step.
    ///
    /// # Errors
    /// If it fails; that ends training.
    fn stop_asked(&mut self) -> Result<bool> {
        Ok(false)
    }
}

/// Trains until all epochs are done, patience is over, or a stop is requested. It resumes from the learner's [`Progress`]: batches that were
/// trained on before are skipped, so that the same batches in the same order give the same bits as without an
/// interruption.
///
/// ```
/// use humdinger::nn::{Batches, Course, End, Flow, Learner, Progress, train};
/// use humdinger::Result;
///
/// /// Finds the mean of numbers, one by one.
/// #[derive(Default)]
/// struct Mean {
///     value: f64,
///     progress: Progress,
/// }
///
/// impl Learner for Mean {
///     type Batch = f64;
///     type Verdict = ();
///
///     fn progress(&mut self) -> &mut Progress {
///         &mut self.progress
///     }
///     fn step(&mut self, next: f64, _: &mut dyn Iterator<Item = Result<f64>>) -> Result<()> {
///         self.value += 0.1 * (next - self.value);
///         self.progress.stepped(1);
///         Ok(())
///     }
///     fn validate(&mut self) -> Result<(Option<f64>, ())> {
///         Ok((Some((self.value - 2.5).powi(2)), ()))
///     }
/// }
///
/// struct Numbers;
///
/// impl Batches<f64> for Numbers {
///     fn epoch(&mut self, _: usize) -> Result<Box<dyn Iterator<Item = Result<f64>> + '_>> {
///         Ok(Box::new([1.0, 4.0, 2.0, 3.0].into_iter().map(Ok)))
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let mut mean = Mean::default();
/// let end = train(&mut mean, &mut Numbers, &Course { epochs: 1000, patience: Some(3), save_every: None })?;
/// assert_eq!(end, End::Impatient);
/// assert!((mean.value - 2.5).abs() < 0.1 && mean.progress.step < 4000);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the learner or its batches fail, an epoch has no batches or fewer than were taken of it before, or a step is not counted.
pub fn train<L: Learner>(learner: &mut L, batches: &mut dyn Batches<L::Batch>, course: &Course) -> Result<End> {
    let mut saved = Instant::now();
    while learner.progress().epoch < course.epochs {
        if learner.progress().impatient(course.patience) {
            return Ok(End::Impatient);
        }
        if epoch(learner, batches, course, &mut saved)? == Flow::Stop {
            return Ok(End::Stopped);
        }
    }
    Ok(End::Complete)
}

/// Trains for the rest of an epoch and validates.
fn epoch<L: Learner>(
    learner: &mut L,
    batches: &mut dyn Batches<L::Batch>,
    course: &Course,
    saved: &mut Instant,
) -> Result<Flow> {
    let Progress { epoch, position, seconds: before, .. } = *learner.progress();
    let started = Instant::now();
    let seconds = || before + started.elapsed().as_secs_f64();
    let mut batches = batches.epoch(epoch)?;
    for taken in 0..position {
        let Some(batch) = batches.next() else {
            return Err(Error::Data(format!(
                "epoch {epoch} has {taken} batches, and {position} of it were trained on before: go on with the data that training began with"
            )));
        };
        batch?;
    }
    let mut batches = batches.peekable();
    while let Some(next) = batches.next() {
        if learner.stop_asked()? {
            learner.progress().seconds = seconds();
            learner.checkpoint()?;
            return Ok(Flow::Stop);
        }
        let made = learner.progress().step;
        learner.step(next?, &mut batches)?;
        if learner.progress().step == made {
            return Err(Error::value("step", "was made and not counted: `Progress::stepped` counts it"));
        }
        if course.save_every.is_some_and(|every| saved.elapsed() > every) && batches.peek().is_some() {
            learner.progress().seconds = seconds();
            learner.checkpoint()?;
            *saved = Instant::now();
        }
    }
    if learner.progress().position == 0 {
        return Err(Error::Data(format!("epoch {epoch} has no batches")));
    }
    learner.progress().seconds = seconds();
    let (loss, verdict) = learner.validate()?;
    let seconds = seconds();
    let best = learner.progress().judge(loss);
    if best {
        learner.keep(&verdict)?;
    }
    let progress = learner.progress();
    (progress.epoch, progress.position, progress.seconds) = (epoch + 1, 0, 0.0);
    let flow = learner.epoch_over(verdict, best, seconds)?;
    learner.checkpoint()?;
    *saved = Instant::now();
    Ok(flow)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts what it is asked to do; its validation losses are given.
    #[derive(Default)]
    struct Scripted {
        progress: Progress,
        losses: Vec<Option<f64>>,
        taken: Vec<usize>,
        checkpoints: Vec<(usize, usize)>,
        kept: Vec<usize>,
        /// Takes so many batches in a step.
        at_once: usize,
        /// Asks to stop when this step has been made.
        stop_at: Option<u64>,
        counts: bool,
    }

    fn scripted(losses: &[Option<f64>]) -> Scripted {
        Scripted { losses: losses.to_vec(), at_once: 1, counts: true, ..Scripted::default() }
    }

    impl Learner for Scripted {
        type Batch = usize;
        type Verdict = usize;

        fn progress(&mut self) -> &mut Progress {
            &mut self.progress
        }

        fn step(&mut self, next: usize, more: &mut dyn Iterator<Item = Result<usize>>) -> Result<()> {
            self.taken.push(next);
            let more = more.take(self.at_once - 1).collect::<Result<Vec<usize>>>()?;
            if self.counts {
                self.progress.stepped(1 + more.len());
            }
            self.taken.extend(more);
            Ok(())
        }

        fn validate(&mut self) -> Result<(Option<f64>, usize)> {
            Ok((self.losses.get(self.progress.epoch).copied().flatten(), self.progress.epoch + 1))
        }

        fn keep(&mut self, &epoch: &usize) -> Result<()> {
            self.kept.push(epoch);
            Ok(())
        }

        fn checkpoint(&mut self) -> Result<()> {
            self.checkpoints.push((self.progress.epoch, self.progress.position));
            Ok(())
        }

        fn stop_asked(&mut self) -> Result<bool> {
            Ok(self.stop_at == Some(self.progress.step))
        }
    }

    /// In each epoch this many batches, numbered on from epoch to epoch.
    struct Numbers(usize);

    impl Batches<usize> for Numbers {
        fn epoch(&mut self, epoch: usize) -> Result<Box<dyn Iterator<Item = Result<usize>> + '_>> {
            Ok(Box::new((epoch * self.0..(epoch + 1) * self.0).map(Ok)))
        }
    }

    const COURSE: Course = Course { epochs: 3, patience: None, save_every: None };

    #[test]
    fn what_was_stopped_goes_on_where_it_was() {
        for at_once in 1..=5 {
            let mut whole = Scripted { at_once, ..scripted(&[Some(3.0), Some(1.0), Some(2.0)]) };
            assert_eq!(train(&mut whole, &mut Numbers(4), &COURSE).unwrap(), End::Complete);
            assert_eq!(whole.taken, (0..12).collect::<Vec<_>>());
            assert_eq!((&whole.kept[..], &whole.checkpoints[..]), (&[1, 2][..], &[(1, 0), (2, 0), (3, 0)][..]));
            for stop in 0..whole.progress.step {
                let mut parted = Scripted { at_once, stop_at: Some(stop), ..scripted(&whole.losses) };
                assert_eq!(train(&mut parted, &mut Numbers(4), &COURSE).unwrap(), End::Stopped);
                assert_eq!(parted.progress.step, stop);
                let Progress { epoch, position, .. } = parted.progress;
                assert_eq!(parted.checkpoints.last(), Some(&(epoch, position)));
                parted.stop_at = None;
                assert_eq!(train(&mut parted, &mut Numbers(4), &COURSE).unwrap(), End::Complete);
                assert_eq!((&parted.taken, &parted.kept), (&whole.taken, &whole.kept));
                assert_eq!(parted.progress, whole.progress);
            }
        }
    }

    #[test]
    fn checkpoints_come_within_an_epoch_but_not_before_it_is_over() {
        let mut learner = scripted(&[]);
        train(&mut learner, &mut Numbers(3), &Course { epochs: 2, save_every: Some(Duration::ZERO), ..COURSE })
            .unwrap();
        assert_eq!(learner.checkpoints, [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]);
    }

    #[test]
    fn the_lowest_loss_is_the_best_and_patience_counts_from_it() {
        let losses = [4.0, 2.0, 3.0, 2.0, 1.0, 5.0].map(Some);
        let course = |patience| Course { epochs: 6, patience, save_every: None };
        for (patience, epochs, kept) in
            [(None, 6, &[1, 2, 5][..]), (Some(3), 6, &[1, 2, 5]), (Some(2), 4, &[1, 2]), (Some(0), 1, &[1])]
        {
            let mut learner = scripted(&losses);
            let end = train(&mut learner, &mut Numbers(1), &course(patience)).unwrap();
            assert_eq!((end == End::Impatient, learner.progress.epoch, &learner.kept[..]), (epochs < 6, epochs, kept));
            assert_eq!(train(&mut learner, &mut Numbers(1), &course(patience)).unwrap(), end, "asked once more");
        }
        // More epochs are asked for: patience begins anew.
        let mut learner = scripted(&losses);
        train(&mut learner, &mut Numbers(1), &course(Some(2))).unwrap();
        learner.progress.continued_at = Some(4);
        assert_eq!(train(&mut learner, &mut Numbers(1), &course(Some(2))).unwrap(), End::Complete);
        // Without validation the last is the best, and nothing tells that it is time to end.
        let mut learner = scripted(&[]);
        assert_eq!(train(&mut learner, &mut Numbers(1), &course(Some(1))).unwrap(), End::Complete);
        assert_eq!(learner.progress.best_epoch, Some(6));
    }

    #[test]
    fn what_cannot_be_trained_is_told() {
        let told = |learner: &mut Scripted, batches: usize| {
            train(learner, &mut Numbers(batches), &COURSE).unwrap_err().to_string()
        };
        assert!(told(&mut scripted(&[]), 0).contains("epoch 0 has no batches"));
        assert!(told(&mut Scripted { counts: false, ..scripted(&[]) }, 2).contains("Progress::stepped"));
        let mut learner = scripted(&[]);
        learner.progress.position = 3;
        let told = told(&mut learner, 2);
        assert!(told.contains("has 2 batches, and 3 of it"), "{told}");
    }
}
