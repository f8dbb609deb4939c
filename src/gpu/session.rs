//! A session on a GPU: state, plans as recorded commands, reading and writing.

use super::device::Gpu;
use super::memory::Memory;
use super::pipeline::Pipeline;
use super::series::Tables;
use crate::error::{Error, Result};
use crate::graph::{
    BufferKind, Command as Planned, Communicator, Constant, Dispatch, GroupId, Place, Plan, PlanId, Series, Session,
    States, Step, Target, Timing, check_indices, check_port, locate_part, locate_state, sum_over,
};
use crate::tensor::DType;
use std::collections::VecDeque;
use std::sync::{Arc, mpsc};

/// How many submissions may be under way before a further run waits for the oldest: enough to keep the device busy, few
/// enough that the inputs written for them do not pile up.
const IN_FLIGHT: usize = 16;

/// One thing that a run records.
pub(super) enum Command {
    Dispatch { pipeline: Arc<Pipeline>, bind_group: wgpu::BindGroup, workgroups: [u32; 3] },
    Copy { from: wgpu::Buffer, from_offset: u64, to: wgpu::Buffer, to_offset: u64, bytes: u64 },
}

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
    staging: Option<wgpu::Buffer>,
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

    fn upload(&self, memory: &Memory, offset: usize, data: &[u8]) -> Result<()> {
        self.gpu.queue().write_buffer(&memory.buffer, memory.start + 4 * offset as u64, data);
        self.gpu.check()
    }

    fn upload_input(&self, id: PlanId, place: Place, data: &[u8]) -> Result<()> {
        match &self.plans[id.0].memory[place.buffer] {
            Some(memory) => self.upload(memory, place.offset, data),
            None => Ok(()),
        }
    }

    fn allocate(&self, plan: &Plan) -> Result<Vec<Option<Memory>>> {
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

    /// The plan's commands over this session's buffers.
    fn commands(&self, plan: &Plan, memory: &[Option<Memory>]) -> Result<Vec<(usize, &'static str, Command)>> {
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
    fn rehearse(&self, plan: &Plan, commands: &[(usize, &'static str, Command)]) -> Result<()> {
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
