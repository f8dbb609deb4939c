//! Runs plans on the threads of this machine, in f32 or f64.

mod bound;
mod core;
mod evaluate;
mod memory;
mod pace;
mod pool;
mod ranks;
mod session;
mod unfinished;
mod wanted;

pub use pool::Pool;
pub use session::CpuSession;
