//! The names of the files in a run folder.

#![allow(missing_docs)]
pub const CONFIG: &str = "config.toml";
pub const STEPS: &str = "steps.csv";
pub const EPOCHS: &str = "epochs.csv";
pub const MODEL: &str = "model.safetensors";
pub const CHECKPOINT: &str = "checkpoint.safetensors";
pub const PREDICTIONS: &str = "predictions.csv";
pub const REPORT: &str = "report.html";
