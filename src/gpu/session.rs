//! A session on a GPU: state, plans as recorded commands, reading and writing.

use super::commands::{Command, record};
use super::device::Gpu;
use super::memory::Memory;
use super::series::Tables;
use crate::error::{Error, Result};
use crate::graph::{
    Communicator, GroupId, Place, Plan, PlanId, Series, Session, States, Step, Target, Timing, check_indices,
    check_port, locate_part, locate_state, sum_over,
};
use crate::tensor::DType;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many submissions may be under way before a further run waits for the oldest: enough to keep the device busy, few
/// enough that the inputs written for them do not pile up.
const IN_FLIGHT: usize = 16;

/// A plan with its memory and everything that a run records.
pub(super) struct Compiled {
    pub plan: Plan,
    /// With each command, the number of its step and the name of its shader (empty for a copy).
    pub commands: Vec<(usize, &'static str, Command)>,
    /// One per buffer of the plan; `None` for state, which belongs to the session.
    pub memory: Vec<Option<Memory>>,
    /// What is added up over the ranks, if there are any: behind how many commands, where it lies, and whether this rank's counts.
    pub sums: Vec<(usize, Place, bool)>,
}

/// State and plans on a GPU, computing in f32.
pub struct GpuSession {
    pub(super) gpu: Gpu,
    states: Arc<States>,
    pub(super) groups: Vec<Memory>,
    pub(super) plans: Vec<Compiled>,
    pub(super) staging: Option<wgpu::Buffer>,
    pub(super) tables: Tables,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    pub(super) guarded: bool,
    ranks: Option<Arc<dyn Communicator>>,
}

impl GpuSession {
    /// A session with the initial values of these states.
    ///
    /// # Errors
    /// Where the device has too little memory.
    pub fn new(gpu: Gpu, states: Arc<States>) -> Result<Self> {
        Self::build(gpu, states, false)
    }

    /// A session for tests of kernels: around every buffer lie zones of sentinel values, and so do values that nobody has
    /// written yet; see [`GpuSession::check_guards`].
    ///
    /// # Errors
    /// As [`GpuSession::new`].
    pub fn with_guards(gpu: Gpu, states: Arc<States>) -> Result<Self> {
        Self::build(gpu, states, true)
    }

    fn build(gpu: Gpu, states: Arc<States>, guarded: bool) -> Result<Self> {
        let mut groups = Vec::new();
        for (i, group) in states.groups().iter().enumerate() {
            let memory = Memory::new(&gpu, group.len, guarded)?;
            let initial = states.initial(GroupId(i));
            if guarded {
                // Zeros instead of sentinels where initial values are missing.
                let mut whole = initial.to_vec();
                whole.resize(group.len, 0.0);
                memory.fill(&gpu, Some(bytemuck::cast_slice(&whole)));
            } else if !initial.is_empty() {
                memory.fill(&gpu, Some(bytemuck::cast_slice(initial)));
            }
            groups.push(memory);
        }
        let (plans, in_flight) = (Vec::new(), VecDeque::new());
        let (staging, tables, ranks) = (None, Tables::default(), None);
        Ok(Self { gpu, states, groups, plans, staging, tables, in_flight, guarded, ranks })
    }

    /// The same session as one of several ranks: what its plans add up [across](crate::graph::Graph::across) ranks is read, exchanged and written
    /// in the middle of a run.
    #[must_use]
    pub fn among(self, ranks: Arc<dyn Communicator>) -> Self {
        Self { ranks: Some(ranks), ..self }
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Runs the plan `times` times over the same inputs, in one submission: for measurements, and for plans whose inputs
    /// do not change.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn run_times(&mut self, id: PlanId, times: usize) -> Result<()> {
        let mut encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for _ in 0..times {
            encoder = self.record_run(id, encoder)?;
        }
        self.submit(encoder)
    }

    /// Records a run behind what an encoder has already. Where there are ranks, it is submitted as far as each of their sums, and what
    /// comes back is behind the last of them.
    pub(super) fn record_run(&mut self, id: PlanId, mut encoder: wgpu::CommandEncoder) -> Result<wgpu::CommandEncoder> {
        let Some(ranks) = self.ranks.clone() else {
            record(&self.plans[id.0].commands, &mut encoder);
            return Ok(encoder);
        };
        let mut done = 0;
        for number in 0..self.plans[id.0].sums.len() {
            let (end, place, counts) = self.plans[id.0].sums[number];
            record(&self.plans[id.0].commands[done..end], &mut encoder);
            self.submit(encoder)?;
            encoder = self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            done = end;
            let compiled = &self.plans[id.0];
            let memory = self.whole(&compiled.plan, &compiled.memory, &place)?;
            let (buffer, offset) = (memory.buffer.clone(), memory.start + 4 * place.offset as u64);
            let mut values = vec![0.0_f32; place.len];
            if counts {
                self.download(&buffer, offset, bytemuck::cast_slice_mut(&mut values))?;
            }
            sum_over(&*ranks, &mut values)?;
            self.gpu.queue().write_buffer(&buffer, offset, bytemuck::cast_slice(&values));
        }
        record(&self.plans[id.0].commands[done..], &mut encoder);
        Ok(encoder)
    }

    /// Waits until everything that was started is done.
    ///
    /// # Errors
    /// Where the device fails or does not answer in time.
    pub fn wait(&mut self) -> Result<()> {
        self.wait_for_all_but(0)
    }

    fn wait_for_all_but(&mut self, most: usize) -> Result<()> {
        while self.in_flight.len() > most {
            self.gpu.wait(self.in_flight[0].clone())?;
            self.in_flight.pop_front();
        }
        self.gpu.check()
    }

    pub(super) fn submit(&mut self, encoder: wgpu::CommandEncoder) -> Result<()> {
        // A software device finishes earlier work inside the call that submits, where no timeout reaches it.
        self.wait_for_all_but(if self.gpu.adapter().is_software() { 0 } else { IN_FLIGHT })?;
        let submission = self.gpu.queue().submit([encoder.finish()]);
        self.in_flight.push_back(submission);
        self.gpu.check()
    }
}

impl Session for GpuSession {
    fn describe(&self) -> String {
        format!("{}, f32", self.gpu.adapter())
    }

    fn states(&self) -> &States {
        &self.states
    }

    fn add(&mut self, plan: Plan) -> Result<PlanId> {
        if plan.target != Target::Gpu {
            return Err(Error::Gpu("a plan made for the CPU was given to a GPU session".into()));
        }
        if !Arc::ptr_eq(plan.graph.states(), &self.states) {
            return Err(Error::Gpu("the plan's graph was built over other states than the session's".into()));
        }
        let memory = self.allocate(&plan)?;
        let commands = self.commands(&plan, &memory)?;
        self.rehearse(&plan, &commands)?;
        let sum = |(number, step): (usize, &Step)| {
            let counts = step.sum_over_ranks()?;
            let end = commands.iter().rposition(|&(of, ..)| of == number)? + 1;
            Some((end, step.outputs[0], counts))
        };
        let sums = plan.steps.iter().enumerate().filter_map(sum).collect();
        self.plans.push(Compiled { plan, commands, memory, sums });
        Ok(PlanId(self.plans.len() - 1))
    }

    fn plan(&self, id: PlanId) -> &Plan {
        &self.plans[id.0].plan
    }

    fn write(&mut self, id: PlanId, input: &str, data: &[f32]) -> Result<()> {
        let port = self.plan(id).input(input)?;
        check_port(port, DType::Real, data.len())?;
        self.upload_input(id, port.place, bytemuck::cast_slice(data))
    }

    fn write_indices(&mut self, id: PlanId, input: &str, data: &[u32]) -> Result<()> {
        let port = self.plan(id).input(input)?;
        check_indices(port, data)?;
        self.upload_input(id, port.place, bytemuck::cast_slice(data))
    }

    fn run(&mut self, id: PlanId) -> Result<()> {
        self.run_times(id, 1)
    }

    fn run_series(&mut self, id: PlanId, series: &Series<'_>, outputs: &mut [(&str, &mut [f32])]) -> Result<()> {
        self.series(id, series, outputs)
    }

    fn profile(&mut self, id: PlanId) -> Result<Vec<Timing>> {
        self.times(id)
    }

    fn read(&mut self, id: PlanId, output: &str, into: &mut [f32]) -> Result<()> {
        let port = self.plan(id).output(output)?;
        check_port(port, DType::Real, into.len())?;
        let place = port.place;
        let compiled = &self.plans[id.0];
        let memory = self.whole(&compiled.plan, &compiled.memory, &place)?;
        let (buffer, offset) = (memory.buffer.clone(), memory.start + 4 * place.offset as u64);
        self.download(&buffer, offset, bytemuck::cast_slice_mut(into))
    }

    fn read_state(&mut self, name: &str, into: &mut [f32]) -> Result<()> {
        let (group, offset) = locate_state(&self.states, name, into.len())?;
        let memory = &self.groups[group];
        let (buffer, offset) = (memory.buffer.clone(), memory.start + 4 * offset as u64);
        self.download(&buffer, offset, bytemuck::cast_slice_mut(into))
    }

    fn write_state(&mut self, name: &str, data: &[f32]) -> Result<()> {
        let (group, offset) = locate_state(&self.states, name, data.len())?;
        self.upload(&self.groups[group], offset, bytemuck::cast_slice(data))
    }

    fn write_state_part(&mut self, name: &str, first: usize, data: &[f32]) -> Result<()> {
        let (group, offset) = locate_part(&self.states, name, first, data.len())?;
        self.upload(&self.groups[group], offset, bytemuck::cast_slice(data))
    }
}
