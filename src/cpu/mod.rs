//! Runs plans on the threads of this machine, in f32 or f64.

mod bound;
mod contention;
mod core;
mod evaluate;
mod memory;
mod pace;
mod pool;
mod ranks;
mod session;
mod unfinished;

pub use pool::Pool;
pub use session::CpuSession;
