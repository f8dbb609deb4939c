//! Labels, splits, batches, augmentation draws and the built-in synthesiser.

pub mod alike;
#[cfg(feature = "app")]
pub mod cache;
#[cfg(feature = "app")]
pub mod check;
pub mod columns;
pub mod dataset;
pub mod draws;
#[cfg(feature = "app")]
pub mod find;
#[cfg(feature = "app")]
pub mod labels;
#[cfg(feature = "app")]
pub mod load;
#[cfg(feature = "app")]
mod mapped;
pub mod names;
pub mod nosong;
#[cfg(feature = "app")]
pub(crate) mod progress;
#[cfg(feature = "app")]
pub mod reader;
#[cfg(feature = "app")]
pub mod recording;
pub mod samples;
#[cfg(feature = "app")]
pub mod shared;
#[cfg(feature = "app")]
pub mod songbook;
pub mod split;
#[cfg(feature = "app")]
mod stretch;
#[cfg(feature = "app")]
pub mod synth;
#[cfg(feature = "app")]
pub mod table;
#[cfg(feature = "app")]
mod text;

#[cfg(feature = "app")]
pub use dataset::LoadOptions;
pub use dataset::{Clip, Dataset, Stretch};
#[cfg(feature = "app")]
pub use recording::{Recording, Sound};
pub use samples::Samples;
