//! Compiled kernels, kept by shader and constants.

use super::device::Gpu;
use crate::error::Result;
use crate::graph::{Dispatch, Shader};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What tells two modules apart: the text, and whether it is this crate's.
type Text = (&'static str, bool);

fn text(shader: &Shader) -> Text {
    (shader.source(), shader.is_own())
}

/// What tells two pipelines apart: the text, the values of its constants (as bits), and which operands are only read.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    text: Text,
    constants: Vec<(&'static str, u64)>,
    reads: Vec<bool>,
}

impl Key {
    fn of(dispatch: &Dispatch) -> Self {
        Self {
            text: text(dispatch.shader),
            constants: dispatch.constants.iter().map(|&(name, value)| (name, value.to_bits())).collect(),
            reads: dispatch.bindings.iter().map(|binding| binding.read_only).collect(),
        }
    }
}

/// A compiled kernel and the layout of its operands.
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// All kernels that were compiled on a device.
#[derive(Default)]
pub(super) struct Pipelines {
    modules: Mutex<HashMap<Text, wgpu::ShaderModule>>,
    pipelines: Mutex<HashMap<Key, Arc<Pipeline>>>,
}

impl Pipelines {
    /// The pipelines of these dispatches, compiled in parallel where they are new.
    pub fn get(&self, gpu: &Gpu, dispatches: &[&Dispatch]) -> Result<Vec<Arc<Pipeline>>> {
        let keys: Vec<Key> = dispatches.iter().map(|dispatch| Key::of(dispatch)).collect();
        let mut seen = HashSet::new();
        let mut missing = Vec::new();
        {
            let known = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, dispatch) in keys.iter().zip(dispatches) {
                if !known.contains_key(key) && seen.insert(key) {
                    missing.push((key, *dispatch));
                }
            }
        }
        let compiled: Vec<Pipeline> =
            missing.par_iter().map(|(key, dispatch)| self.compile(gpu, dispatch, &key.reads)).collect::<Result<_>>()?;
        let mut known = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        for ((key, _), pipeline) in missing.into_iter().zip(compiled) {
            known.insert(key.clone(), Arc::new(pipeline));
        }
        Ok(keys.iter().map(|key| known[key].clone()).collect())
    }

    fn module(&self, gpu: &Gpu, op: &'static str, shader: &'static Shader) -> Result<wgpu::ShaderModule> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&text(shader)) {
            return Ok(module.clone());
        }
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(shader.name()),
            source: wgpu::ShaderSource::Wgsl(shader.source().into()),
        };
        let compile = || {
            if !shader.is_own() {
                return gpu.device().create_shader_module(descriptor);
            }
            let mut checks = wgpu::ShaderRuntimeChecks::checked();
            // This would put a counter into every loop, the innermost of a matrix product included.
            checks.force_loop_bounding = false;
            // SAFETY: the shader is this crate's own, and its loops are counted loops that end.
            unsafe { gpu.device().create_shader_module_trusted(descriptor, checks) }
        };
        let module = gpu.catch(|| format!("{op}: shaders/{}.wgsl", shader.name()), compile)?;
        modules.insert(text(shader), module.clone());
        Ok(module)
    }

    fn compile(&self, gpu: &Gpu, dispatch: &Dispatch, reads: &[bool]) -> Result<Pipeline> {
        let Dispatch { op, shader, constants, .. } = dispatch;
        let module = self.module(gpu, op, shader)?;
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
        let name = shader.name();
        gpu.catch(
            || format!("{op}: compiling shaders/{name}.wgsl with {constants:?}"),
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
                        constants,
                        // Ours write workgroup memory before they read it; zeroing makes compilation up to 30 times slower.
                        zero_initialize_workgroup_memory: !shader.is_own(),
                    },
                    cache: None,
                });
                Pipeline { pipeline, layout }
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Graph, Plan, States, Target};

    /// Another crate's shader is another module, compiled with all checks, even where its text is one of ours.
    #[test]
    fn only_shaders_of_this_crate_are_trusted() {
        let mut graph = Graph::new(Arc::new(States::new()));
        let x = graph.input("x", [5]).unwrap();
        let y = graph.relu(x).unwrap();
        graph.output("y", y).unwrap();
        let plan = Plan::new(graph, Target::Gpu).unwrap();
        let ours = plan.steps[0].launches()[0].shader;
        let theirs = Shader::new(ours.name(), ours.source());
        assert!(ours.is_own() && !theirs.is_own());
        assert_ne!(text(ours), text(&theirs));
    }
}
