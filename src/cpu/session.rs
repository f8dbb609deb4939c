//! A session on the CPU: memory, state, and plans bound to addresses.

#[cfg(not(target_family = "wasm"))]
use super::Pool;
use super::bound::{Bound, bind, fill, gather, operands};
#[cfg(not(target_family = "wasm"))]
use super::contention::Clocks;
use super::memory::{Kept, Memory};
#[cfg(not(target_family = "wasm"))]
use super::pace::{Pace, Timed};
use super::ranks::{Divided, How};
use super::unfinished::Unfinished;
use crate::error::{Error, Result};
use crate::graph::{
    BufferKind, Communicator, CpuReal, GroupId, HostMemory, Kernel, Parallel, Place, Plan, PlanId, Private, Region,
    Series, Session, Share, States, Target, Timing, Work, check_indices, check_memory, check_port, check_series,
    locate_data, locate_part, locate_state,
};
use crate::tensor::DType;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

/// How a plan's batch is divided among ranks.
struct Batch {
    items: usize,
    /// Those of each rank.
    parts: Vec<Range<usize>>,
    /// What is gathered after the last step.
    end: Vec<Region>,
}

struct Compiled {
    plan: Plan,
    steps: Vec<Bound>,
    inputs: Vec<Region>,
    outputs: Vec<Region>,
    /// Where ranks share it out.
    batch: Option<Batch>,
    /// Whether its runs are quicker on one thread.
    #[cfg(not(target_family = "wasm"))]
    pace: Pace,
    // Holds what the regions point to. State buffers belong to the session.
    _memory: Vec<Memory>,
}

/// State and plans on the CPU, computing in `T`. Training uses f32; f64 is there to check kernels and gradients.
pub struct CpuSession<T: CpuReal = f32> {
    states: Arc<States>,
    groups: Vec<Kept<T>>,
    plans: Vec<Compiled>,
    pool: Arc<dyn Parallel + Send>,
    /// The caller's thread alone.
    #[cfg(not(target_family = "wasm"))]
    alone: Arc<dyn Parallel + Send>,
    private: Memory,
    /// Elements of each thread's part of `private`: the most that any step of any plan asks for.
    private_each: usize,
    ranks: Option<Arc<dyn Communicator>>,
    real: std::marker::PhantomData<T>,
}

// SAFETY: regions point into memory that the session owns, and every access goes through `&mut self` or `&self`.
unsafe impl<T: CpuReal> Send for CpuSession<T> {}

impl<T: CpuReal> CpuSession<T> {
    /// A session with the initial values of these states.
    ///
    /// # Errors
    /// Where there is not enough memory.
    pub fn new(states: Arc<States>, pool: Arc<dyn Parallel + Send>) -> Result<Self> {
        const { assert!(align_of::<T>() <= super::memory::ALIGNMENT, "memory is aligned to a cache line") }
        let mut groups = Vec::new();
        for (i, group) in states.groups().iter().enumerate() {
            let mut kept = Kept::Nowhere;
            if !group.data {
                let values = states.initial(GroupId(i));
                // SAFETY: the memory is just being made with room for this many elements, and zero is a valid T.
                let slice = unsafe { std::slice::from_raw_parts_mut(kept.pointer(group.len)?, group.len) };
                slice.iter_mut().zip(values).for_each(|(to, &from)| *to = T::from_f64(f64::from(from)));
            }
            groups.push(kept);
        }
        Ok(Self {
            states,
            groups,
            plans: Vec::new(),
            pool,
            #[cfg(not(target_family = "wasm"))]
            alone: Arc::new(Pool::new(1)),
            private: Memory::default(),
            private_each: 0,
            ranks: None,
            real: std::marker::PhantomData,
        })
    }

    /// The same as one of several ranks: plans that are added from now on share out their batch, where their graph has inputs
    /// [by item](crate::graph::Graph::by_item). All ranks have the same states and add, write and run the same plans in the
    /// same order; each writes the whole batch's inputs, or in those by item at least its own items'.
    #[must_use]
    pub fn among(self, ranks: Arc<dyn Communicator>) -> Self {
        Self { ranks: (ranks.size() > 1).then_some(ranks), ..self }
    }

    /// Reads an output of the last run where it lies.
    ///
    /// # Errors
    /// Where there is no such output.
    pub fn output(&self, id: PlanId, name: &str) -> Result<&[T]> {
        let compiled = &self.plans[id.0];
        let port = compiled.plan.output(name)?;
        let i = compiled.plan.outputs.iter().position(|port| port.name == name).unwrap_or_default();
        let region = compiled.outputs[i];
        check_port(port, DType::Real, region.len)?;
        // SAFETY: the region holds real numbers and is alive while the session is; nothing runs while `self` is borrowed.
        Ok(unsafe { std::slice::from_raw_parts(region.pointer.cast(), region.len) })
    }

    /// Writes a real input in the session's own type.
    ///
    /// # Errors
    /// As [`Session::write`].
    pub fn write_real(&mut self, id: PlanId, name: &str, data: &[T]) -> Result<()> {
        check_port(self.plans[id.0].plan.input(name)?, DType::Real, data.len())?;
        self.input_mut::<T>(id, name).copy_from_slice(data);
        Ok(())
    }

    /// A state, or a whole group by its name, where it lies.
    ///
    /// # Errors
    /// As [`Session::read_state`].
    pub fn state_mut(&mut self, name: &str, len: usize) -> Result<&mut [T]> {
        locate_state(&self.states, name, len)?;
        self.state_part_mut(name, 0, len)
    }

    /// A part of a state, or of a whole group by its name, where it lies.
    fn state_part_mut(&mut self, name: &str, first: usize, len: usize) -> Result<&mut [T]> {
        let (group, offset) = locate_part(&self.states, name, first, len)?;
        if let Kept::Lent(_) = self.groups[group] {
            return Err(Error::value(name, "was lent by the host, who has it for reading only"));
        }
        let pointer = self.group(group)?;
        // SAFETY: inside the group's memory by `locate_part`; `&mut self` keeps others away.
        Ok(unsafe { std::slice::from_raw_parts_mut(pointer.add(offset), len) })
    }

    /// Where a group of states lies; see [`Kept::pointer`].
    fn group(&mut self, group: usize) -> Result<*mut T> {
        self.groups[group].pointer(self.states.groups()[group].len)
    }

    /// Runs the plan step by step, calling `after(name of the operation, number of the step)` after each.
    ///
    /// # Errors
    /// Where another rank is gone.
    pub fn run_with(&mut self, id: PlanId, after: impl FnMut(&'static str, usize)) -> Result<()> {
        let pool = self.pool.clone();
        self.run_on(&*pool, id, after)
    }

    /// [`CpuSession::run_with`] on these threads: those of the pool, or fewer.
    fn run_on(
        &mut self,
        parallel: &dyn Parallel,
        id: PlanId,
        mut after: impl FnMut(&'static str, usize),
    ) -> Result<()> {
        let workers = self.pool.workers();
        let region = Region { pointer: self.private.pointer(), len: self.private_each * workers, dtype: DType::Real };
        let Compiled { steps, batch, .. } = &self.plans[id.0];
        let (failed, late) = (OnceLock::new(), Mutex::new(Vec::new()));
        let share = match (&self.ranks, batch) {
            (Some(ranks), Some(batch)) => Share::new(&**ranks, batch.items, &batch.parts, &failed, &late),
            _ => Share::ALONE,
        };
        let mut unfinished = Unfinished::<T>::new(share, &late);
        for (i, step) in steps.iter().enumerate() {
            if step.finish {
                // SAFETY: no step since has touched late outputs, by `Divided`; they lie in their buffers, by `check_memory`, and nobody
                // else has access while `self` is borrowed.
                unsafe { unfinished.finish(parallel) };
            }
            // SAFETY: these regions lie in their buffers, by `check_memory`, and nobody else has access while `self` is borrowed.
            step.gather.iter().for_each(|region| unsafe { gather::<T>(share, region) });
            if failed.get().is_some() {
                break;
            }
            parallel.set_backwards(i % 2 == 1);
            match &step.op {
                Some(op) => {
                    // SAFETY: the step's places lie in their buffers and are disjoint where they must be, by `check_memory`; the
                    // memory is the session's, zero-filled at first, and nobody else has access while `self` is borrowed. So is
                    // that of the threads, which was made with room for all.
                    let kernel = unsafe {
                        Kernel::<T>::new(
                            &step.inputs,
                            &step.outputs,
                            &step.scratch,
                            &step.input_specs,
                            &step.output_specs,
                            parallel,
                            Private::new(region, workers),
                        )
                    };
                    let mut kernel = kernel.among(if step.shared { share } else { Share::ALONE });
                    T::run(&**op, &mut kernel);
                }
                None if step.copy => {
                    let (Some(from), to) = (step.inputs[0], step.outputs[0]) else { continue };
                    let size = if from.dtype == DType::Real { size_of::<T>() } else { size_of::<u32>() };
                    // SAFETY: both regions have this length and type, by `check_memory`.
                    unsafe { std::ptr::copy(from.pointer, to.pointer, from.len * size) };
                }
                // A rank without items.
                None => {}
            }
            unfinished.ran(step);
            after(step.name, i);
        }
        // SAFETY: as above.
        unsafe { unfinished.finish(parallel) };
        // SAFETY: as above.
        batch.iter().flat_map(|batch| &batch.end).for_each(|region| unsafe { gather::<T>(share, region) });
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// The elements of an input, which must be of type `E`: `T`, or `u32` for indices.
    fn input_mut<E: bytemuck::Pod>(&mut self, id: PlanId, name: &str) -> &mut [E] {
        let compiled = &self.plans[id.0];
        let region =
            compiled.inputs[compiled.plan.inputs.iter().position(|port| port.name == name).unwrap_or_default()];
        let size = if region.dtype == DType::Real { size_of::<T>() } else { size_of::<u32>() };
        assert_eq!(size_of::<E>(), size, "`{name}` holds elements of another type");
        // SAFETY: the region is alive while the session is, and has elements of this size, initialised; any bits are valid, since
        // both types are plain data; `&mut self` keeps others away.
        unsafe { std::slice::from_raw_parts_mut(region.pointer.cast::<E>(), region.len) }
    }
}

impl<T: CpuReal> Session for CpuSession<T> {
    fn describe(&self) -> String {
        format!("CPU, {} threads, f{}", self.pool.workers(), 8 * size_of::<T>())
    }

    fn states(&self) -> &States {
        &self.states
    }

    fn add(&mut self, plan: Plan) -> Result<PlanId> {
        if plan.target != Target::Cpu {
            return Err(Error::Device("a plan made for a GPU was given to a CPU session".into()));
        }
        if !Arc::ptr_eq(plan.graph.states(), &self.states) {
            return Err(Error::Device("the plan's graph was built over other states than the session's".into()));
        }
        check_memory(&plan)?;
        if self.ranks.is_some()
            && let Some(step) = plan.steps.iter().find(|step| step.sum_over_ranks().is_some())
        {
            let detail =
                "adds up over ranks that have a part of the batch each; on CPUs ranks share the whole batch's plan";
            return Err(Error::op(step.name(), detail));
        }
        let divided = self.ranks.as_ref().and_then(|ranks| Divided::new(&plan, ranks.rank(), ranks.size()));
        for (i, step) in plan.steps.iter().enumerate() {
            if let Work::Run(op) = &step.work {
                let each = op.private_scratch(&step.input_specs, &step.output_specs);
                let of_rows = match divided.as_ref().map(|divided| &divided.steps[i].how) {
                    Some(How::Rows(rows)) => {
                        rows.op.as_ref().map(|op| op.private_scratch(&rows.input_specs, &rows.output_specs))
                    }
                    _ => None,
                };
                let each = each.max(of_rows.unwrap_or(0)).checked_next_multiple_of(64).unwrap_or(usize::MAX);
                if each > self.private_each {
                    self.private = Memory::of(each.saturating_mul(self.pool.workers()), size_of::<T>())?;
                    self.private_each = each;
                }
            }
        }
        let mut memory = Vec::new();
        let mut pointers = Vec::new();
        for buffer in &plan.buffers {
            let size = if buffer.dtype == DType::Real { size_of::<T>() } else { size_of::<u32>() };
            pointers.push(match &buffer.kind {
                // What is lent is not written: it is data, to which graphs assign nothing.
                BufferKind::State(group) => self.group(group.0)?.cast(),
                kind => {
                    let mut fresh = Memory::of(buffer.len, size)?;
                    if let BufferKind::Constant(data) = kind {
                        fill::<T>(&mut fresh, data);
                    }
                    let pointer = fresh.pointer();
                    memory.push(fresh);
                    pointer
                }
            });
        }
        let region = |place: &Place| {
            let dtype = plan.buffers[place.buffer].dtype;
            let size = if dtype == DType::Real { size_of::<T>() } else { size_of::<u32>() };
            // Inside its buffer, by `check_memory`.
            Region { pointer: pointers[place.buffer].wrapping_add(place.offset * size), len: place.len, dtype }
        };
        let mut steps = Vec::new();
        for (i, step) in plan.steps.iter().enumerate() {
            let mut bound = bind(step, region);
            if let Some(action) = divided.as_ref().map(|divided| &divided.steps[i]) {
                bound.gather = action.gather.iter().map(region).collect();
                bound.finish = action.finish;
                match &action.how {
                    How::Whole => {}
                    How::Shared => (bound.shared, bound.late) = (true, step.late()),
                    How::Rows(rows) => {
                        (bound.inputs, bound.outputs) = operands(step, &rows.inputs, &rows.outputs, region);
                        if let Some(op) = &rows.op {
                            for (i, len) in
                                op.scratch(&rows.input_specs, &rows.output_specs, Target::Cpu).into_iter().enumerate()
                            {
                                // Fewer rows may be cut otherwise, and need other room.
                                if bound.scratch.get(i).is_none_or(|have| have.len < len) {
                                    let mut fresh = Memory::of(len, size_of::<T>())?;
                                    let region = Region { pointer: fresh.pointer(), len, dtype: DType::Real };
                                    memory.push(fresh);
                                    bound.scratch.truncate(i);
                                    bound.scratch.push(region);
                                }
                            }
                        }
                        bound.op = rows.op.clone();
                        (bound.input_specs, bound.output_specs) = (rows.input_specs.clone(), rows.output_specs.clone());
                    }
                }
            }
            steps.push(bound);
        }
        let batch = divided.map(|divided| Batch {
            items: divided.items,
            parts: divided.parts,
            end: divided.end.iter().map(region).collect(),
        });
        let inputs = plan.inputs.iter().map(|port| region(&port.place)).collect();
        let outputs = plan.outputs.iter().map(|port| region(&port.place)).collect();
        self.plans.push(Compiled {
            plan,
            steps,
            inputs,
            outputs,
            batch,
            #[cfg(not(target_family = "wasm"))]
            pace: Pace::default(),
            _memory: memory,
        });
        Ok(PlanId(self.plans.len() - 1))
    }

    fn plan(&self, id: PlanId) -> &Plan {
        &self.plans[id.0].plan
    }

    fn write(&mut self, id: PlanId, input: &str, data: &[f32]) -> Result<()> {
        check_port(self.plans[id.0].plan.input(input)?, DType::Real, data.len())?;
        let to = self.input_mut::<T>(id, input);
        to.iter_mut().zip(data).for_each(|(to, &from)| *to = T::from_f64(f64::from(from)));
        Ok(())
    }

    fn write_exact(&mut self, id: PlanId, input: &str, data: &[f64]) -> Result<()> {
        check_port(self.plans[id.0].plan.input(input)?, DType::Real, data.len())?;
        let to = self.input_mut::<T>(id, input);
        to.iter_mut().zip(data).for_each(|(to, &from)| *to = T::from_f64(from));
        Ok(())
    }

    fn write_indices(&mut self, id: PlanId, input: &str, data: &[u32]) -> Result<()> {
        check_indices(self.plans[id.0].plan.input(input)?, data)?;
        self.input_mut::<u32>(id, input).copy_from_slice(data);
        Ok(())
    }

    #[cfg(not(target_family = "wasm"))]
    fn run(&mut self, id: PlanId) -> Result<()> {
        let pace = &self.plans[id.0].pace;
        let clocks = pace.timed().then(Clocks::start);
        let threads = if pace.alone() { &self.alone } else { &self.pool }.clone();
        self.run_on(&*threads, id, |_, _| ())?;
        let mut run = clocks.map(Clocks::stop);
        // Ranks wait for each other, which says nothing of this machine's cores.
        if self.ranks.is_some() {
            run = run.map(|run| Timed { computing: None, ..run });
        }
        self.plans[id.0].pace.ran(run);
        Ok(())
    }

    /// WebAssembly has no clock of its own, and one thread.
    #[cfg(target_family = "wasm")]
    fn run(&mut self, id: PlanId) -> Result<()> {
        let threads = self.pool.clone();
        self.run_on(&*threads, id, |_, _| ())
    }

    fn run_series(&mut self, id: PlanId, series: &Series<'_>, outputs: &mut [(&str, &mut [f32])]) -> Result<()> {
        check_series(&self.plans[id.0].plan, series, outputs)?;
        for run in 0..series.runs {
            let part = |len: usize| run * (len / series.runs)..(run + 1) * (len / series.runs);
            for (name, data) in &series.real {
                self.write(id, name, &data[part(data.len())])?;
            }
            for (name, data) in &series.index {
                self.write_indices(id, name, &data[part(data.len())])?;
            }
            self.run(id)?;
            for (name, into) in outputs.iter_mut() {
                let part = part(into.len());
                self.read(id, name, &mut into[part])?;
            }
        }
        Ok(())
    }

    fn profile(&mut self, id: PlanId) -> Result<Vec<Timing>> {
        let mut ends = Vec::with_capacity(self.plans[id.0].steps.len());
        let mut last = Instant::now();
        self.run_with(id, |name, step| {
            let now = Instant::now();
            ends.push((name, step, (now - last).as_secs_f64()));
            last = now;
        })?;
        let mut timings = Vec::new();
        for (name, step, seconds) in ends {
            Timing::add(&mut timings, name, "", seconds, self.plans[id.0].plan.steps[step].cost());
        }
        timings.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Ok(timings)
    }

    fn read(&mut self, id: PlanId, output: &str, into: &mut [f32]) -> Result<()> {
        check_port(self.plans[id.0].plan.output(output)?, DType::Real, into.len())?;
        let from = self.output(id, output)?;
        into.iter_mut().zip(from).for_each(|(to, from)| *to = from.to_f64() as f32);
        Ok(())
    }

    fn read_state(&mut self, name: &str, into: &mut [f32]) -> Result<()> {
        let (group, offset) = locate_state(&self.states, name, into.len())?;
        let pointer = self.group(group)?;
        // SAFETY: inside the group's memory by `locate_state`; `&mut self` keeps writers away.
        let from = unsafe { std::slice::from_raw_parts(pointer.add(offset), into.len()) };
        into.iter_mut().zip(from).for_each(|(to, from)| *to = from.to_f64() as f32);
        Ok(())
    }

    fn write_state(&mut self, name: &str, data: &[f32]) -> Result<()> {
        let to = self.state_mut(name, data.len())?;
        to.iter_mut().zip(data).for_each(|(to, &from)| *to = T::from_f64(f64::from(from)));
        Ok(())
    }

    fn write_state_part(&mut self, name: &str, first: usize, data: &[f32]) -> Result<()> {
        let to = self.state_part_mut(name, first, data.len())?;
        to.iter_mut().zip(data).for_each(|(to, &from)| *to = T::from_f64(f64::from(from)));
        Ok(())
    }

    fn lend_state(&mut self, name: &str, memory: &HostMemory) -> Result<()> {
        let group = locate_data(&self.states, name, memory.len())?;
        match (&self.groups[group], memory.of::<T>()) {
            (Kept::Nowhere, Some(memory)) => {
                self.groups[group] = Kept::Lent(memory);
                Ok(())
            }
            _ => self.write_state(name, memory),
        }
    }
}
