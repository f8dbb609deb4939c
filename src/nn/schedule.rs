//! Learning rate and Adam's beta1 for every step of a run.

use crate::error::{Error, Result};

/// How a value moves from one end to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anneal {
    /// In a straight line.
    Linear,
    /// Along half a cosine wave.
    Cosine,
}

impl Anneal {
    fn between(self, start: f64, end: f64, share: f64) -> f64 {
        match self {
            Self::Linear => (end - start) * share + start,
            Self::Cosine => end + (start - end) / 2.0 * (1.0 + (std::f64::consts::PI * share).cos()),
        }
    }
}

/// PyTorch's `OneCycleLR` in two phases: the learning rate rises from `max / div_factor` to `max` and falls to
/// `max / (div_factor * final_div_factor)`, while beta1 does the opposite between its two bounds (Smith and Topin, 2019).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycle {
    /// The highest learning rate.
    pub max: f64,
    /// Steps of the whole run.
    pub steps: usize,
    /// Share of the steps in which it rises.
    pub rising: f64,
    /// Shape of both phases.
    pub anneal: Anneal,
    /// `max` divided by the first learning rate.
    pub div_factor: f64,
    /// The first learning rate divided by the last.
    pub final_div_factor: f64,
    /// beta1 at the highest learning rate and at both ends.
    pub momentum: [f64; 2],
}

impl OneCycle {
    /// PyTorch's defaults.
    pub fn new(max: f64, steps: usize, anneal: Anneal) -> Self {
        Self { max, steps, rising: 0.3, anneal, div_factor: 25.0, final_div_factor: 1e4, momentum: [0.85, 0.95] }
    }
}

/// Learning rate and beta1 as functions of the step, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// The same in all steps.
    Constant {
        /// The learning rate.
        rate: f64,
        /// Adam's beta1.
        beta1: f64,
    },
    /// Half a cosine wave from `rate` down to `last`: PyTorch's `CosineAnnealingLR`, once.
    Cosine {
        /// The first learning rate.
        rate: f64,
        /// The learning rate at step `steps`.
        last: f64,
        /// Length of the half wave in steps.
        steps: usize,
        /// Adam's beta1.
        beta1: f64,
    },
    /// One cycle up and down.
    OneCycle(OneCycle),
}

impl Schedule {
    /// Checks that the numbers are valid.
    ///
    /// # Errors
    /// If a rate is negative or not finite, or there are no steps.
    pub fn check(&self) -> Result<()> {
        let (rates, steps): (&[f64], usize) = match self {
            Self::Constant { rate, .. } => (&[*rate], 1),
            Self::Cosine { rate, last, steps, .. } => (&[*rate, *last], *steps),
            Self::OneCycle(cycle) => (&[cycle.max], cycle.steps),
        };
        if steps == 0 || rates.iter().any(|rate| !(rate.is_finite() && *rate >= 0.0)) {
            let detail = format!("a schedule needs at least one step and finite, non-negative rates: {self:?}");
            return Err(Error::value("learning rate", detail));
        }
        Ok(())
    }

    /// Learning rate and beta1 of step `step`, counted from 0. After the last step the values stay as in the last step.
    pub fn at(&self, step: usize) -> (f64, f64) {
        match *self {
            Self::Constant { rate, beta1 } => (rate, beta1),
            Self::Cosine { rate, last, steps, beta1 } => {
                let share = step.min(steps) as f64 / steps as f64;
                (Anneal::Cosine.between(rate, last, share), beta1)
            }
            Self::OneCycle(OneCycle { max, steps, rising, anneal, div_factor, final_div_factor, momentum }) => {
                let first = max / div_factor;
                let last = first / final_div_factor;
                let step = step.min(steps.saturating_sub(1)) as f64;
                let peak = rising * steps as f64 - 1.0;
                let end = steps as f64 - 1.0;
                let [low, high] = momentum;
                if step <= peak && peak > 0.0 {
                    let share = step / peak;
                    (anneal.between(first, max, share), anneal.between(high, low, share))
                } else {
                    let share = if end > peak { ((step - peak) / (end - peak)).clamp(0.0, 1.0) } else { 1.0 };
                    (anneal.between(max, last, share), anneal.between(low, high, share))
                }
            }
        }
    }
}
