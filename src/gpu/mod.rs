//! Runs plans on a GPU with hand-written WGSL kernels, through wgpu (Vulkan, Metal, DX12).
//!
//! Everything a run needs (buffers, pipelines, bind groups) is made when a plan is added; a run then records one command
//! buffer and submits it. A device that fails, is lost, or does not answer in time is an error, never a hang.

mod adapter;
mod commands;
mod device;
mod guard;
mod memory;
mod pipeline;
mod profile;
mod series;
mod session;
mod transfer;

pub use adapter::{Adapter, adapters};
pub use device::Gpu;
pub use session::GpuSession;
