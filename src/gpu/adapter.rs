//! Which GPUs this machine has.

use crate::error::{Error, Result};
use std::fmt;

/// A GPU (or a software one) that could be used.
pub struct Adapter {
    /// Its number: `gpu:<number>` chooses it.
    pub number: usize,
    pub(super) instance: wgpu::Instance,
    pub(super) inner: wgpu::Adapter,
    info: wgpu::AdapterInfo,
}

impl Adapter {
    /// The adapter of this number; without one the first.
    ///
    /// # Errors
    /// Where there is none; the message lists those there are.
    pub fn numbered(number: Option<usize>) -> Result<Self> {
        let mut all = adapters();
        if all.is_empty() {
            return Err(Error::Gpu(
                "no GPU and no software Vulkan found; install the GPU's driver, or Mesa's software Vulkan (Debian: \
                 mesa-vulkan-drivers), or use the CPU"
                    .into(),
            ));
        }
        let wanted = number.unwrap_or(0);
        if wanted >= all.len() {
            let list: Vec<String> = all.iter().map(Adapter::to_string).collect();
            return Err(Error::Gpu(format!("there is no gpu:{wanted}; this machine has {}", list.join(", "))));
        }
        Ok(all.swap_remove(wanted))
    }

    /// Its name as the driver gives it.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// Whether it computes on the CPU, as Mesa's lavapipe does: right for tests, too slow for training.
    pub fn is_software(&self) -> bool {
        self.info.device_type == wgpu::DeviceType::Cpu
    }

    /// Kind of device, graphics interface and driver, for people.
    pub fn driver(&self) -> String {
        let kind = match self.info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete GPU",
            wgpu::DeviceType::IntegratedGpu => "integrated GPU",
            wgpu::DeviceType::VirtualGpu => "virtual GPU",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "unknown kind",
        };
        let driver = [self.info.driver.as_str(), self.info.driver_info.as_str()].join(" ");
        format!("{kind}, {}, {}", self.info.backend, driver.trim())
    }

    /// What it offers beyond baseline WebGPU that is of use here.
    pub fn features(&self) -> Vec<&'static str> {
        let have = self.inner.features();
        let known = [
            (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
            (wgpu::Features::SUBGROUP, "subgroups"),
            (wgpu::Features::SHADER_F16, "f16"),
        ];
        known.iter().filter(|(feature, _)| have.contains(*feature)).map(|&(_, name)| name).collect()
    }

    /// The largest piece of memory that one binding of a kernel may have, in bytes.
    pub fn largest_binding(&self) -> u64 {
        self.inner.limits().max_storage_buffer_binding_size
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gpu:{} {} ({})", self.number, self.name(), self.driver())
    }
}

/// All adapters that can run compute shaders, real GPUs first: discrete before integrated, software last.
pub fn adapters() -> Vec<Adapter> {
    // The variables that wgpu knows (WGPU_BACKEND and others) narrow the search.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let mut found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    found.retain(|adapter| adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
    let rank = |adapter: &wgpu::Adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    found.sort_by_key(rank);
    let make = |(number, inner): (usize, wgpu::Adapter)| {
        let info = inner.get_info();
        Adapter { number, instance: instance.clone(), inner, info }
    };
    found.into_iter().enumerate().map(make).collect()
}
