//! A tensor engine with hand-written kernels, for CPUs and, in WGSL through wgpu, for GPUs; and on it a classifier that names the song
//! somebody hums, sings or whistles.
//!
//! # A network on images
//!
//! ```
//! use humdinger::nn::{BatchNorm, Conv2d, Data, Fit, Linear, Model, ModelOptions, PlaneMean, Relu, Sequential, accuracy};
//! use humdinger::Tensor;
//!
//! # fn main() -> humdinger::Result<()> {
//! // Pictures of 8x8: a bar that lies (class 0) or stands (class 1), somewhere.
//! let picture = |i: usize| {
//!     let (stands, place) = (i % 2 == 1, i / 2 % 8);
//!     (0..64).map(move |at| f32::from(if stands { at % 8 } else { at / 8 } == place))
//! };
//! let pixels: Vec<f32> = (0..160).flat_map(picture).collect();
//! let classes: Vec<u32> = (0..160).map(|i| i % 2).collect();
//! let [train, test] = Data::new(Tensor::new([160, 1, 8, 8], pixels)?, classes)?.split(0.75, 1)?;
//!
//! let network = Sequential::new()
//!     .then(Conv2d::new(1, 8, 3).padding(1))
//!     .then(Relu)
//!     .then(BatchNorm::new(8))
//!     .then(Conv2d::new(8, 16, 3).stride(2))
//!     .then(Relu)
//!     .then(BatchNorm::new(16))
//!     .then(PlaneMean)
//!     .then(Linear::new(16, 2));
//! let mut model = Model::new(network, ModelOptions::default())?;
//! model.fit(&mut train.shuffled(20, 1), Fit::classes(8, 0.01))?;
//!
//! let scores = model.predict(test.x().clone())?;
//! assert!(accuracy(&scores, test.targets()) > 0.9);
//! # Ok(())
//! # }
//! ```
//!
//! `Fit::resumable` writes checkpoints, from which training goes on after an interruption; [`nn::train`] is the same loop for what is not a
//! network of modules. More in `examples/`: digits, a regression, sounds, an operation of one's own with a kernel in WGSL.
//!
//! # A gradient
//!
//! Three concepts are underneath. A [graph](graph::Graph) says what is computed, with shapes checked as it is built; its gradients
//! are further nodes of it. A [plan](graph::Plan) is a graph made ready for a CPU or a GPU: the order of the work, and the memory.
//! A [session](graph::Session) is a device with state in its memory, such as parameters, and runs plans over it.
//!
//! ```
//! use humdinger::cpu::{CpuSession, Pool};
//! use humdinger::graph::{Graph, Plan, Session, States, Target};
//! use std::sync::Arc;
//!
//! # fn main() -> humdinger::Result<()> {
//! let states = Arc::new(States::new());
//! let mut graph = Graph::new(states.clone());
//! let x = graph.input("x", [3])?;
//! let squares = graph.multiply(x, x)?;
//! let y = graph.sum_all(squares)?;
//! let dx = graph.gradients(y, &[x])?[0];
//! graph.output("y", y)?;
//! graph.output("dx", dx)?;
//!
//! let mut session = CpuSession::<f64>::new(states, Arc::new(Pool::new(2)))?;
//! let plan = session.add(Plan::new(graph, Target::Cpu)?)?;
//! session.write(plan, "x", &[1.0, 2.0, 3.0])?;
//! session.run(plan)?;
//! assert_eq!(session.output(plan, "y")?, [14.0]);
//! assert_eq!(session.output(plan, "dx")?, [2.0, 4.0, 6.0]);
//! # Ok(())
//! # }
//! ```
//!
//! A shape that does not fit is an error where the graph is built:
//!
//! ```
//! # use humdinger::graph::{Graph, States};
//! # let mut graph = Graph::new(std::sync::Arc::new(States::new()));
//! let a = graph.input("a", [2, 3])?;
//! let b = graph.input("b", [4, 5])?;
//! let message = graph.matmul(a, b).unwrap_err().to_string();
//! assert!(message.starts_with("matmul: the inner axes differ: a [2, 3], b [4, 5]"), "{message}");
//! # Ok::<(), humdinger::Error>(())
//! ```
//!
//! # The map
//!
//! | module | what is in it |
//! |---|---|
//! | [`nn`] | modules and layers, models, training, optimisers, schedules |
//! | [`ops`] | the operations: methods of [`graph::Graph`], each with its gradient and its kernels |
//! | [`fusion`] | rules that put one operation in the place of several, and the operations that only they make |
//! | [`graph`] | graphs, gradients, plans, sessions, and what an operation of one's own must provide |
//! | [`cpu`], `gpu` | sessions on threads and on GPUs |
//! | [`device`] | the choice between the two |
//! | [`ranks`] | several processes that train together |
//! | [`cases`] | a table of small problems for each operation, to test and to time it |
//! | `audio`, `data`, `melody`, `train`, `cli` | the song classifier |
//!
//! # Features
//!
//! Without any feature the crate is the engine for CPUs. `gpu` adds wgpu, `weights` reads and writes safetensors files; `songs` is the
//! song classifier as far as it needs neither files nor threads, for browsers; `app`, a default, is all of it and its command line, and
//! `compressed-audio`, too, reads recordings in other formats than WAV.

// wgpu's types are nested deeper than the compiler looks by itself; later versions of it refuse that.
#![recursion_limit = "256"]

#[cfg(feature = "songs")]
pub mod audio;
pub mod cases;
#[cfg(feature = "app")]
pub mod cli;
pub mod cpu;
#[cfg(feature = "songs")]
pub mod data;
pub mod device;
pub mod error;
pub mod fusion;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod graph;
mod kernels;
#[cfg(feature = "songs")]
pub mod melody;
pub mod nn;
pub mod ops;
#[cfg(feature = "app")]
pub mod picture;
pub mod ranks;
pub mod tensor;
#[cfg(feature = "songs")]
pub mod train;
pub mod vectors;

pub use error::{Error, Result};
pub(crate) use graph::shader;
pub use tensor::{DType, Real, Shape, Spec, Tensor};
