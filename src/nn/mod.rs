//! What networks are made of: initialisation, the optimiser, learning-rate schedules, and the classifier's networks.

mod classifier;
mod init;
mod optimiser;
mod schedule;

pub use classifier::{Block, Classifier, Mode, PARAMETERS, Pooling, STATISTICS};
pub use init::{kaiming_normal, linear_bound, uniform};
pub use optimiser::{Adam, STEP};
pub use schedule::{Anneal, OneCycle, Schedule};
