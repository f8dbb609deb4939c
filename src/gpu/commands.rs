//! What a run records: a plan's commands over a session's buffers.

use super::memory::Memory;
use super::pipeline::Pipeline;
use super::session::GpuSession;
use crate::error::Result;
use crate::graph::{Command as Planned, Dispatch, Place, Plan};
use std::sync::Arc;

/// One thing that a run records.
pub(super) enum Command {
    Dispatch { pipeline: Arc<Pipeline>, bind_group: wgpu::BindGroup, workgroups: [u32; 3] },
    Copy { from: wgpu::Buffer, from_offset: u64, to: wgpu::Buffer, to_offset: u64, bytes: u64 },
}

impl GpuSession {
    /// The plan's commands over this session's buffers.
    pub(super) fn commands(
        &self,
        plan: &Plan,
        memory: &[Option<Memory>],
    ) -> Result<Vec<(usize, &'static str, Command)>> {
        let planned = plan.commands()?;
        let dispatches = planned.iter().filter_map(|command| match command {
            Planned::Dispatch(dispatch) => Some(dispatch),
            Planned::Copy { .. } => None,
        });
        let mut pipelines = self.gpu.pipelines().get(&self.gpu, &dispatches.collect::<Vec<_>>())?.into_iter();
        let mut commands = Vec::new();
        for command in &planned {
            match command {
                Planned::Copy { step, from, to } => {
                    let copies = self.copy(plan, memory, from, to)?;
                    commands.extend(copies.into_iter().map(|copy| (*step, "", copy)));
                }
                Planned::Dispatch(dispatch) => {
                    if let Some(pipeline) = pipelines.next() {
                        let command = self.dispatch(plan, memory, dispatch, pipeline)?;
                        commands.push((dispatch.step, dispatch.name(), command));
                    }
                }
            }
        }
        Ok(commands)
    }

    fn dispatch(
        &self,
        plan: &Plan,
        memory: &[Option<Memory>],
        dispatch: &Dispatch,
        pipeline: Arc<Pipeline>,
    ) -> Result<Command> {
        let mut entries = Vec::new();
        for (number, binding) in dispatch.bindings.iter().enumerate() {
            let place = &binding.place;
            let buffer = self.whole(plan, memory, place)?.binding(place.offset, place.len);
            let resource = wgpu::BindingResource::Buffer(buffer);
            entries.push(wgpu::BindGroupEntry { binding: number as u32, resource });
        }
        let name = dispatch.name();
        let descriptor = wgpu::BindGroupDescriptor { label: Some(name), layout: &pipeline.layout, entries: &entries };
        let bind_group = self.gpu.catch(
            || format!("{}: operands of shaders/{name}.wgsl", dispatch.op),
            || self.gpu.device().create_bind_group(&descriptor),
        )?;
        Ok(Command::Dispatch { pipeline, bind_group, workgroups: dispatch.workgroups })
    }

    /// A copy; within one buffer by way of another, since WebGPU refuses a direct one.
    fn copy(&self, plan: &Plan, memory: &[Option<Memory>], from: &Place, to: &Place) -> Result<Vec<Command>> {
        let len = from.len;
        let (source, target) = (self.whole(plan, memory, from)?, self.whole(plan, memory, to)?);
        let (from_offset, to_offset) = (source.start + 4 * from.offset as u64, target.start + 4 * to.offset as u64);
        let bytes = 4 * len as u64;
        let (from, to) = (source.buffer.clone(), target.buffer.clone());
        if from != to {
            return Ok(vec![Command::Copy { from, from_offset, to, to_offset, bytes }]);
        }
        let between = Memory::new(&self.gpu, len, false)?.buffer;
        Ok(vec![
            Command::Copy { from, from_offset, to: between.clone(), to_offset: 0, bytes },
            Command::Copy { from: between, from_offset: 0, to, to_offset, bytes },
        ])
    }

    /// Records the plan once without running it: wgpu checks dispatches only then. Where it refuses something, the
    /// commands are tried one by one to name the operation.
    pub(super) fn rehearse(&self, plan: &Plan, commands: &[(usize, &'static str, Command)]) -> Result<()> {
        let attempt = |commands: &[(usize, &'static str, Command)], what: &dyn Fn() -> String| {
            self.gpu.catch(what, || {
                let mut encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                record(commands, &mut encoder);
                drop(encoder.finish());
            })
        };
        let all = attempt(commands, &|| "the plan".into());
        if all.is_err() {
            for command in commands.chunks(1) {
                let (step, shader, _) = &command[0];
                attempt(command, &|| format!("{}: launching shaders/{shader}.wgsl", plan.steps[*step].name()))?;
            }
        }
        all
    }
}

/// Records commands; kernels that follow one another share a pass.
pub(super) fn record(commands: &[(usize, &'static str, Command)], encoder: &mut wgpu::CommandEncoder) {
    let mut rest = commands.iter().peekable();
    while let Some((_, _, command)) = rest.peek() {
        if let Command::Copy { from, from_offset, to, to_offset, bytes } = command {
            encoder.copy_buffer_to_buffer(from, *from_offset, to, *to_offset, *bytes);
            rest.next();
            continue;
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        while let Some((_, _, Command::Dispatch { pipeline, bind_group, workgroups: [x, y, z] })) = rest.peek() {
            pass.set_pipeline(&pipeline.pipeline);
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups(*x, *y, *z);
            rest.next();
        }
    }
}
