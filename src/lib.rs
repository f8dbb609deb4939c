//! Humdinger: a tensor engine with hand-written WGSL kernels, and a classifier that names the song somebody hums, sings
//! or whistles. ARCHITECTURE.md is the map.

// wgpu's types are nested deeper than the compiler looks by itself; later versions of it refuse that.
#![recursion_limit = "256"]

pub mod audio;
pub mod cases;
pub mod cli;
pub mod cpu;
pub mod data;
pub mod device;
pub mod error;
pub mod gpu;
pub mod graph;
pub mod melody;
pub mod nn;
pub mod ops;
pub mod picture;
pub mod tensor;
pub mod train;
pub mod vectors;

pub use error::{Error, Result};
pub(crate) use graph::shader;
pub use tensor::{DType, Real, Shape, Spec, Tensor};
