//! Runs plans on the threads of this machine, in f32 or f64.

mod core;
mod memory;
mod pace;
mod pool;
mod session;

pub use pool::Pool;
pub use session::CpuSession;
