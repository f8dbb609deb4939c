//! A Vulkan driver's compiler, asked through `VK_KHR_pipeline_executable_properties`; nothing is run.

use crate::Result;
use ash::{khr, vk};
use std::ffi::CStr;

pub struct Driver {
    _entry: ash::Entry,
    device: ash::Device,
    properties: khr::pipeline_executable_properties::Device,
    pub name: String,
}

/// What the compiler says of a kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    pub registers: u64,
    pub spilled: u64,
    /// In bytes.
    pub workgroup_memory: u64,
    pub waves: u64,
    /// Estimated cycles that a wave keeps the machine busy.
    pub inverse_throughput: u64,
}

fn text(chars: &[std::ffi::c_char]) -> String {
    // SAFETY: the driver ends its texts with a zero inside the array.
    unsafe { CStr::from_ptr(chars.as_ptr()) }.to_string_lossy().into_owned()
}

impl Driver {
    /// The first device of the Vulkan drivers that the environment names.
    pub fn new() -> Result<Self> {
        // SAFETY: the Vulkan loader is a library like any other; every call below follows the specification, and all
        // handles live as long as the process.
        unsafe {
            let entry = ash::Entry::load().map_err(|error| format!("the Vulkan loader: {error}"))?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let create = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&create, None).map_err(|error| format!("no instance: {error}"))?;
            let devices = instance.enumerate_physical_devices().map_err(|error| format!("no devices: {error}"))?;
            let &physical = devices.first().ok_or("no Vulkan device: is the null device's family set?")?;
            let mut driver = vk::PhysicalDeviceDriverProperties::default();
            let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
            instance.get_physical_device_properties2(physical, &mut properties);
            let device_name = text(&properties.properties.device_name);
            let name = format!("{device_name}, {}", text(&driver.driver_info));
            let priorities = [1.0];
            let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&priorities)];
            let extensions = [khr::pipeline_executable_properties::NAME.as_ptr()];
            let mut wanted =
                vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
            let create = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&extensions)
                .push_next(&mut wanted);
            let device =
                (instance.create_device(physical, &create, None)).map_err(|error| format!("{name}: {error}"))?;
            let properties = khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok(Self { _entry: entry, device, properties, name })
        }
    }

    /// Compiles a kernel that binds this many buffers.
    pub fn compile(&self, spirv: &[u32], bindings: usize) -> Result<Report> {
        // SAFETY: the SPIR-V comes from naga, which validated the module; the layout has what the kernel binds.
        unsafe { self.pipeline(spirv, bindings) }.map_err(|error| error.to_string())
    }

    unsafe fn pipeline(&self, spirv: &[u32], bindings: usize) -> std::result::Result<Report, vk::Result> {
        let device = &self.device;
        let slots: Vec<_> = (0..bindings as u32)
            .map(|binding| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding)
                    .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        // SAFETY: see `compile`.
        unsafe {
            let sets = [device
                .create_descriptor_set_layout(&vk::DescriptorSetLayoutCreateInfo::default().bindings(&slots), None)?];
            let layout =
                device.create_pipeline_layout(&vk::PipelineLayoutCreateInfo::default().set_layouts(&sets), None)?;
            let module = device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(spirv), None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            let create = vk::ComputePipelineCreateInfo::default()
                .flags(vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR)
                .stage(stage)
                .layout(layout);
            let pipeline = (device.create_compute_pipelines(vk::PipelineCache::null(), &[create], None))
                .map_err(|(_, error)| error)?[0];
            let executable = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
            let statistics = self.properties.get_pipeline_executable_statistics(&executable)?;
            let mut report = Report::default();
            for statistic in statistics {
                let value = match statistic.format {
                    vk::PipelineExecutableStatisticFormatKHR::UINT64 => statistic.value.u64,
                    vk::PipelineExecutableStatisticFormatKHR::INT64 => statistic.value.i64 as u64,
                    _ => continue,
                };
                match text(&statistic.name).as_str() {
                    "VGPRs" => report.registers = value,
                    "Spilled VGPRs" => report.spilled = value,
                    "LDS size" => report.workgroup_memory = value,
                    "Subgroups per SIMD" => report.waves = value,
                    "Inverse Throughput" => report.inverse_throughput = value,
                    _ => {}
                }
            }
            device.destroy_pipeline(pipeline, None);
            device.destroy_shader_module(module, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(sets[0], None);
            Ok(report)
        }
    }
}
