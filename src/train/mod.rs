//! From recordings to a trained model and a report: recipes, the training loop, metrics, model files and checkpoints.

pub mod answer;
#[cfg(feature = "app")]
mod balance;
pub mod base;
pub mod batch;
#[cfg(feature = "app")]
pub mod begin;
#[cfg(feature = "app")]
pub mod checkpoint;
#[cfg(feature = "app")]
pub mod compare;
pub mod config;
pub mod distribution;
pub mod elsewhere;
#[cfg(feature = "app")]
pub mod embedder;
pub mod engine;
pub mod files;
#[cfg(feature = "app")]
pub mod fit;
#[cfg(feature = "app")]
pub mod folder;
#[cfg(feature = "app")]
pub mod identify;
pub mod init;
#[cfg(feature = "app")]
pub mod listen;
pub mod metrics;
pub mod model;
pub mod network;
#[cfg(feature = "app")]
pub mod onnx;
#[cfg(feature = "app")]
pub mod passages;
pub mod predict;
#[cfg(feature = "app")]
pub mod pretrain;
pub mod recipe;
pub mod recordings;
#[cfg(feature = "app")]
pub mod report;
#[cfg(feature = "app")]
pub mod run;
pub mod scores;
#[cfg(feature = "app")]
pub mod seen;
#[cfg(feature = "app")]
pub mod source;
pub mod suggest;
pub mod suit;
#[cfg(feature = "app")]
pub mod tables;
#[cfg(feature = "app")]
mod together;
#[cfg(feature = "app")]
pub mod trainer;
pub mod variations;
pub mod verdict;
#[cfg(feature = "app")]
pub mod worker;

pub use crate::nn::weights;
pub use config::{Config, Init, Settings};
pub use model::Model;
pub use recipe::Recipe;
pub use variations::{Parts, Variation, Variations};
