//! Networks: modules and layers with named parameters, a model that trains them on a device, the optimisers, learning-rate schedules,
//! and the classifiers of spectrograms.
//!
//! A network is a [`Module`]: a [`Sequential`] of layers, or your own type. [`Model`] puts its parameters on a device and
//! compiles a plan for each shape of batch. [`Model::fit`] trains it on any source of [`Batches`], and can resume from a
//! checkpoint. It uses the training loop [`train`], which trains any [`Learner`].

#[cfg(feature = "weights")]
mod checkpoint;
mod classifier;
mod data;
mod fit;
mod init;
mod layers;
mod model;
mod module;
mod optimiser;
#[cfg(feature = "weights")]
mod saving;
mod schedule;
mod training;
#[cfg(feature = "weights")]
pub mod weights;

#[cfg(feature = "weights")]
pub use checkpoint::Checkpoints;
#[cfg(feature = "app")]
pub(crate) use classifier::EPSILON as BATCH_NORM_EPSILON;
pub use classifier::{Block, Classifier, FROZEN, Mode, PARAMETERS, Pooling, STATISTICS};
pub use data::{Batch, Batches, Data, InMemory, Values};
pub use fit::{Epoch, Fit, Flow, Loss, Scores, accuracy};
pub use init::{kaiming_normal, linear_bound, normal, uniform};
pub use layers::{
    BatchNorm, Conv2d, Dropout, Embedding, Flatten, Function, Gelu, Init, LayerNorm, Linear, MaxPool2d, PlaneMean,
    Relu, Sigmoid, Tanh,
};
pub use model::{Model, ModelOptions, Optimiser};
pub use module::{Declare, Module, Net, Sequential};
pub use optimiser::{Adam, SGD_STEP, STEP, Sgd};
pub use schedule::{Anneal, OneCycle, Schedule};
pub use training::{Course, End, Learner, Progress, train};
