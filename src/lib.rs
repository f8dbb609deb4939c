//! Humdinger: a tensor engine with hand-written WGSL kernels, and a classifier that names the song somebody hums, sings
//! or whistles. ARCHITECTURE.md is the map.

// wgpu's types are nested deeper than the compiler looks by itself; later versions of it refuse that.
#![recursion_limit = "256"]

#[cfg(feature = "app")]
pub mod audio;
pub mod cases;
#[cfg(feature = "app")]
pub mod cli;
pub mod cpu;
#[cfg(feature = "app")]
pub mod data;
pub mod device;
pub mod error;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod graph;
#[cfg(feature = "app")]
pub mod melody;
pub mod nn;
pub mod ops;
pub mod picture;
pub mod tensor;
#[cfg(feature = "app")]
pub mod train;
pub mod vectors;

pub use error::{Error, Result};
pub(crate) use graph::shader;
pub use tensor::{DType, Real, Shape, Spec, Tensor};
