//! Runs plans on the threads of this machine, in f32 or f64.

mod bound;
#[cfg(not(target_family = "wasm"))]
mod contention;
mod core;
mod evaluate;
mod memory;
#[cfg(not(target_family = "wasm"))]
mod pace;
mod pool;
mod ranks;
mod session;
mod unfinished;

pub use pool::Pool;
pub use session::CpuSession;
