//! What a session has in its device's memory: a plan's buffers, and how numbers come into them and back.

use super::memory::Memory;
use super::session::GpuSession;
use crate::error::{Error, Result};
use crate::graph::{BufferKind, Constant, Place, Plan, PlanId};
use std::sync::mpsc;

impl GpuSession {
    /// Reads whole four-byte elements from a buffer, starting at a byte.
    pub(super) fn download(&mut self, buffer: &wgpu::Buffer, offset: u64, into: &mut [u8]) -> Result<()> {
        let bytes = into.len() as u64;
        if bytes == 0 {
            return Ok(());
        }
        let staging = match self.staging.take().filter(|staging| staging.size() >= bytes) {
            Some(staging) => staging,
            None => {
                let descriptor = wgpu::BufferDescriptor {
                    label: Some("staging"),
                    size: bytes.next_power_of_two().max(1024),
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                };
                let make = || self.gpu.device().create_buffer(&descriptor);
                self.gpu.catch(|| format!("a buffer to read {bytes} bytes"), make)?
            }
        };
        let mut encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(buffer, offset, &staging, 0, bytes);
        self.submit(encoder)?;
        let (send, answer) = mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, 0..bytes, move |mapped| {
            // Nobody listens any more where waiting failed.
            let _ = send.send(mapped);
        });
        self.wait()?;
        let failed = |detail: String| Error::Gpu(format!("reading {bytes} bytes back failed: {detail}"));
        // With several sessions on one device it may be another thread's poll that answers, a moment after this one's returned.
        match answer.recv_timeout(self.gpu.timeout()) {
            Ok(mapped) => mapped.map_err(|error| failed(error.to_string()))?,
            Err(error) => return Err(failed(error.to_string())),
        }
        {
            let view = staging.get_mapped_range(0..bytes).map_err(|error| failed(error.to_string()))?;
            into.copy_from_slice(&view);
        }
        staging.unmap();
        self.staging = Some(staging);
        Ok(())
    }

    pub(super) fn upload(&self, memory: &Memory, offset: usize, data: &[u8]) -> Result<()> {
        self.gpu.queue().write_buffer(&memory.buffer, memory.start + 4 * offset as u64, data);
        self.gpu.check()
    }

    pub(super) fn upload_input(&self, id: PlanId, place: Place, data: &[u8]) -> Result<()> {
        match &self.plans[id.0].memory[place.buffer] {
            Some(memory) => self.upload(memory, place.offset, data),
            None => Ok(()),
        }
    }

    pub(super) fn allocate(&self, plan: &Plan) -> Result<Vec<Option<Memory>>> {
        let mut all = Vec::new();
        let mut encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let inputs = plan.buffers.iter().filter(|buffer| matches!(buffer.kind, BufferKind::Input));
        let lens: Vec<usize> = inputs.map(|buffer| buffer.len).collect();
        // One after the other, so that one copy brings a run's inputs.
        let block = if self.guarded { None } else { Memory::block(&self.gpu, &lens)? };
        let mut block = block.into_iter().flatten();
        for buffer in &plan.buffers {
            if matches!(buffer.kind, BufferKind::State(_)) {
                all.push(None);
                continue;
            }
            let own = matches!(buffer.kind, BufferKind::Input).then(|| block.next()).flatten();
            let memory = match own {
                Some(memory) => memory,
                None => Memory::new(&self.gpu, buffer.len, self.guarded)?,
            };
            match &buffer.kind {
                BufferKind::Constant(Constant::Real(values)) => {
                    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
                    memory.fill(&self.gpu, Some(bytemuck::cast_slice(&values)));
                }
                BufferKind::Constant(Constant::Index(values)) => {
                    memory.fill(&self.gpu, Some(bytemuck::cast_slice(values)));
                }
                BufferKind::Kept | BufferKind::Input if self.guarded => {
                    memory.fill(&self.gpu, Some(&vec![0; memory.bytes as usize]));
                }
                _ if self.guarded => memory.fill(&self.gpu, None),
                // wgpu zero-fills a buffer when it is first used: that is to be now, and not in the first run.
                _ => encoder.clear_buffer(&memory.buffer, 0, None),
            }
            all.push(Some(memory));
        }
        self.gpu.queue().submit([encoder.finish()]);
        self.gpu.check()?;
        Ok(all)
    }

    /// The buffer of a place.
    pub(super) fn whole<'a>(&'a self, plan: &Plan, memory: &'a [Option<Memory>], place: &Place) -> Result<&'a Memory> {
        match (&memory[place.buffer], &plan.buffers[place.buffer].kind) {
            (Some(memory), _) => Ok(memory),
            (None, BufferKind::State(group)) => Ok(&self.groups[group.0]),
            _ => Err(Error::Gpu(format!("buffer {} of the plan has no memory", place.buffer))),
        }
    }
}
