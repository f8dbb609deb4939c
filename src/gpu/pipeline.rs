//! Compiled kernels, kept by shader and constants.

use super::device::Gpu;
use crate::error::Result;
use crate::graph::{Launch, Operand, Shader};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What tells two pipelines apart: the text, the values of its constants (as bits), and which operands are only read.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    source: &'static str,
    constants: Vec<(&'static str, u64)>,
    reads: Vec<bool>,
}

impl Key {
    fn of(launch: &Launch) -> Self {
        Self {
            source: launch.shader.source,
            constants: launch.constants.iter().map(|&(name, value)| (name, value.to_bits())).collect(),
            reads: launch.operands.iter().map(is_read).collect(),
        }
    }
}

/// Whether an operand is bound as read-only storage.
pub(super) fn is_read(operand: &Operand) -> bool {
    matches!(operand, Operand::Input(_) | Operand::ReadOutput(_) | Operand::ReadScratch(_))
}

/// A compiled kernel and the layout of its operands.
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// All kernels that were compiled on a device.
#[derive(Default)]
pub(super) struct Pipelines {
    modules: Mutex<HashMap<&'static str, wgpu::ShaderModule>>,
    pipelines: Mutex<HashMap<Key, Arc<Pipeline>>>,
}

impl Pipelines {
    /// The pipelines of these launches (with the names of their operations), compiled in parallel where they are new.
    pub fn get(&self, gpu: &Gpu, launches: &[(&'static str, Launch)]) -> Result<Vec<Arc<Pipeline>>> {
        let keys: Vec<Key> = launches.iter().map(|(_, launch)| Key::of(launch)).collect();
        let mut seen = HashSet::new();
        let mut missing = Vec::new();
        {
            let known = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, (op, launch)) in keys.iter().zip(launches) {
                if !known.contains_key(key) && seen.insert(key) {
                    missing.push((key, *op, launch));
                }
            }
        }
        let compiled: Vec<Pipeline> = missing
            .par_iter()
            .map(|(key, op, launch)| self.compile(gpu, op, launch, &key.reads))
            .collect::<Result<_>>()?;
        let mut known = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        for ((key, ..), pipeline) in missing.into_iter().zip(compiled) {
            known.insert(key.clone(), Arc::new(pipeline));
        }
        Ok(keys.iter().map(|key| known[key].clone()).collect())
    }

    fn module(&self, gpu: &Gpu, op: &'static str, shader: &'static Shader) -> Result<wgpu::ShaderModule> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(shader.source) {
            return Ok(module.clone());
        }
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(shader.name),
            source: wgpu::ShaderSource::Wgsl(shader.source.into()),
        };
        let mut checks = wgpu::ShaderRuntimeChecks::checked();
        // This would put a counter into every loop, the innermost of a matrix product included.
        checks.force_loop_bounding = false;
        let module = gpu.catch(
            || format!("{op}: shaders/{}.wgsl", shader.name),
            // SAFETY: the shaders are this crate's own, and their loops are counted loops that end.
            || unsafe { gpu.device().create_shader_module_trusted(descriptor, checks) },
        )?;
        modules.insert(shader.source, module.clone());
        Ok(module)
    }

    fn compile(&self, gpu: &Gpu, op: &'static str, launch: &Launch, reads: &[bool]) -> Result<Pipeline> {
        let module = self.module(gpu, op, launch.shader)?;
        let entry = |(binding, &read_only): (usize, &bool)| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let entries: Vec<wgpu::BindGroupLayoutEntry> = reads.iter().enumerate().map(entry).collect();
        let name = launch.shader.name;
        gpu.catch(
            || format!("{op}: compiling shaders/{name}.wgsl with {:?}", launch.constants),
            || {
                let device = gpu.device();
                let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                    label: Some(name),
                    entries: &entries,
                });
                let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                    label: Some(name),
                    bind_group_layouts: &[Some(&layout)],
                    immediate_size: 0,
                });
                let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(name),
                    layout: Some(&pipeline_layout),
                    module: &module,
                    entry_point: Some("main"),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &launch.constants,
                        // Kernels write workgroup memory before they read it; zeroing makes compilation up to 30 times
                        // slower.
                        zero_initialize_workgroup_memory: false,
                    },
                    cache: None,
                });
                Pipeline { pipeline, layout }
            },
        )
    }
}
