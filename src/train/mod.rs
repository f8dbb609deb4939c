//! From recordings to a trained model and a report: recipes, the training loop, metrics, model files and checkpoints.

pub mod base;
pub mod batch;
pub mod begin;
pub mod checkpoint;
pub mod compare;
pub mod config;
pub mod engine;
pub mod familiar;
pub mod folder;
pub mod init;
pub mod listen;
pub mod metrics;
pub mod model;
pub mod network;
pub mod passages;
pub mod predict;
pub mod pretrain;
pub mod recipe;
pub mod recordings;
pub mod report;
pub mod run;
pub mod scores;
pub mod source;
pub mod suggest;
pub mod suit;
pub mod tables;
mod together;
pub mod trainer;
pub mod variations;
pub mod verdict;

pub use crate::nn::weights;
pub use config::{Config, Init, Settings};
pub use model::Model;
pub use recipe::Recipe;
pub use variations::{Parts, Variation, Variations};
