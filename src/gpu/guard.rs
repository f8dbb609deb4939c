//! Proof that kernels write only where they should.

use super::memory::{GUARD, SENTINEL};
use super::session::GpuSession;
use crate::error::{Error, Result};
use crate::graph::{PlanId, Session};

impl GpuSession {
    /// For a session [with guards](GpuSession::with_guards): checks that every sentinel around the buffers of a plan and
    /// around the states is as it was.
    ///
    /// # Errors
    /// Names the buffer whose surroundings were written to, how far from its elements, and the operations that write to
    /// it; also where the session has no guards.
    pub fn check_guards(&mut self, id: PlanId) -> Result<()> {
        if !self.guarded {
            return Err(Error::Gpu("the session has no guards to check; make it with `with_guards`".into()));
        }
        let compiled = &self.plans[id.0];
        let mut zones = Vec::new();
        for (number, memory) in compiled.memory.iter().enumerate() {
            let writers: Vec<&str> = (compiled.plan.steps.iter())
                .filter(|step| step.outputs.iter().chain(&step.scratch).any(|place| place.buffer == number))
                .map(|step| step.name())
                .collect();
            let what = format!("buffer {number}, written by {}", writers.join(", "));
            zones.extend(memory.as_ref().map(|memory| (what, memory.buffer.clone(), memory.bytes)));
        }
        for (group, memory) in self.states().groups().to_vec().iter().zip(&self.groups) {
            zones.push((format!("the states `{}`", group.name), memory.buffer.clone(), memory.bytes));
        }
        for (what, buffer, bytes) in zones {
            let mut all = vec![0u32; (buffer.size() / 4) as usize];
            self.download(&buffer, 0, bytemuck::cast_slice_mut(&mut all))?;
            let (first, len) = ((GUARD / 4) as usize, (bytes / 4) as usize);
            let harmed = (0..first).chain(first + len..all.len()).find(|&i| all[i] != SENTINEL);
            if let Some(at) = harmed {
                let element = at as i64 - first as i64;
                return Err(Error::Gpu(format!("a kernel wrote element {element} of the {len} of {what}")));
            }
        }
        Ok(())
    }
}
