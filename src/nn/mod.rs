//! What networks are made of: initialisation, the optimisers, learning-rate schedules, and the classifier's networks.

mod classifier;
mod init;
mod optimiser;
mod schedule;

pub use classifier::{Block, Classifier, Mode, PARAMETERS, Pooling, STATISTICS};
pub use init::{kaiming_normal, linear_bound, uniform};
pub use optimiser::{Adam, SGD_STEP, STEP, Sgd};
pub use schedule::{Anneal, OneCycle, Schedule};
