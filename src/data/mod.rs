//! Labels, splits, batches, augmentation draws and the built-in synthesiser.

pub mod alike;
pub mod cache;
pub mod check;
pub mod dataset;
pub mod draws;
pub mod find;
pub mod labels;
pub mod names;
pub(crate) mod progress;
pub mod reader;
pub mod samples;
pub mod songbook;
pub mod split;
pub mod synth;
pub mod table;
mod text;

pub use dataset::{Clip, Dataset, LoadOptions};
pub use samples::Samples;
