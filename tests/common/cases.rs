//! Running a case of the table on a session.

#![allow(dead_code, unused_imports)]

#[cfg(feature = "gpu")]
pub use humdinger::cases::check::on_gpu;
pub use humdinger::cases::check::{Built, build, compare, nmse, on_cpu, weighted_sum, write_inputs};
use humdinger::cpu::Pool;
use humdinger::graph::Parallel;
use std::sync::Arc;

pub fn pool(threads: usize) -> Arc<dyn Parallel + Send> {
    Arc::new(Pool::new(threads))
}
