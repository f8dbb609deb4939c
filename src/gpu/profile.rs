//! How long each kernel takes.

use super::commands::{Command, record};
use super::session::GpuSession;
use crate::error::Result;
use crate::graph::{Cost, PlanId, Timing};
use std::time::Instant;

/// WebGPU's limit on the length of a query set.
const QUERIES: usize = 4096;

impl GpuSession {
    /// Times every launch by the device's own clock where it has timestamps, else by the host's, which counts submitting and
    /// waiting too. Launches are kept apart for this, so their sum exceeds the time of an ordinary run.
    pub(super) fn times(&mut self, id: PlanId) -> Result<Vec<Timing>> {
        self.wait()?;
        let seconds = if self.gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            self.device_times(id)?
        } else {
            self.host_times(id)?
        };
        let compiled = &self.plans[id.0];
        let mut timings = Vec::new();
        let mut counted = None;
        for ((step, shader, _), seconds) in compiled.commands.iter().zip(seconds) {
            // An operation of several launches is counted once.
            let whole = &compiled.plan.steps[*step];
            let cost = if counted == Some(*step) { Cost::default() } else { whole.cost() };
            counted = Some(*step);
            Timing::add(&mut timings, whole.name(), shader, seconds, cost);
        }
        timings.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Ok(timings)
    }

    /// One time per command; copies count as nothing, since a timestamp needs a pass.
    fn device_times(&mut self, id: PlanId) -> Result<Vec<f64>> {
        let count = self.plans[id.0].commands.len();
        let mut times = Vec::with_capacity(count);
        for first in (0..count).step_by(QUERIES / 2) {
            let chunk = first..(first + QUERIES / 2).min(count);
            let ticks = self.ticks(id, chunk.clone())?;
            let period = f64::from(self.gpu.queue().get_timestamp_period()) * 1e-9;
            for (pair, (_, _, command)) in ticks.chunks(2).zip(&self.plans[id.0].commands[chunk]) {
                let ticks = if matches!(command, Command::Copy { .. }) { 0 } else { pair[1].saturating_sub(pair[0]) };
                times.push(ticks as f64 * period);
            }
        }
        Ok(times)
    }

    fn ticks(&mut self, id: PlanId, chunk: std::ops::Range<usize>) -> Result<Vec<u64>> {
        let device = self.gpu.device();
        let queries = 2 * chunk.len() as u32;
        let set = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("profile"),
            ty: wgpu::QueryType::Timestamp,
            count: queries,
        });
        let resolved = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("profile"),
            size: 8 * u64::from(queries),
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for (i, command) in self.plans[id.0].commands[chunk].iter().enumerate() {
            match &command.2 {
                Command::Copy { .. } => record(std::slice::from_ref(command), &mut encoder),
                Command::Dispatch { pipeline, bind_group, workgroups: [x, y, z] } => {
                    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                        label: None,
                        timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                            query_set: &set,
                            beginning_of_pass_write_index: Some(2 * i as u32),
                            end_of_pass_write_index: Some(2 * i as u32 + 1),
                        }),
                    });
                    pass.set_pipeline(&pipeline.pipeline);
                    pass.set_bind_group(0, bind_group, &[]);
                    pass.dispatch_workgroups(*x, *y, *z);
                }
            }
        }
        encoder.resolve_query_set(&set, 0..queries, &resolved, 0);
        self.submit(encoder)?;
        let mut ticks = vec![0u64; queries as usize];
        self.download(&resolved, 0, bytemuck::cast_slice_mut(&mut ticks))?;
        Ok(ticks)
    }

    fn host_times(&mut self, id: PlanId) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for i in 0..self.plans[id.0].commands.len() {
            let start = Instant::now();
            let mut encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            record(&self.plans[id.0].commands[i..=i], &mut encoder);
            self.submit(encoder)?;
            self.wait()?;
            times.push(start.elapsed().as_secs_f64());
        }
        Ok(times)
    }
}
