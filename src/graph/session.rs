//! The interface of devices that run plans.

use super::{Cost, HostMemory, Plan, Port, States};
use crate::error::{Error, Result};
use crate::tensor::DType;

/// Elements of a lent state that are copied at once: a GPU's driver keeps a copy of its own meanwhile.
const COPIED: usize = 1 << 22;

/// Identifies a plan within the session that it was added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlanId(pub(crate) usize);

/// The time that the launches of one kernel take in one run of a plan.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The operation's name, `copy` for copies.
    pub op: &'static str,
    /// The shader's name; empty for copies and on the CPU.
    pub shader: &'static str,
    /// The number of launches; on the CPU, of operations.
    pub launches: usize,
    /// Their time together, in seconds.
    pub seconds: f64,
    /// What they do together: the operation's whole cost is with its first shader.
    pub cost: Cost,
}

impl Timing {
    /// Adds one launch to a list with an entry for each operation and shader.
    pub(crate) fn add(list: &mut Vec<Self>, op: &'static str, shader: &'static str, seconds: f64, cost: Cost) {
        let place = list.iter().position(|timing| timing.op == op && timing.shader == shader);
        let place = place.unwrap_or_else(|| {
            list.push(Self { op, shader, launches: 0, seconds: 0.0, cost: Cost::default() });
            list.len() - 1
        });
        let timing = &mut list[place];
        timing.launches += 1;
        timing.seconds += seconds;
        timing.cost.flops += cost.flops;
        timing.cost.bytes += cost.bytes;
    }
}

/// Values for inputs of a plan over several runs. Each slice holds those of the first run, then those of the second, and so
/// on; an input that is not listed keeps its last value.
#[derive(Clone, Debug, Default)]
pub struct Series<'a> {
    /// The number of runs.
    pub runs: usize,
    /// Real inputs by name.
    pub real: Vec<(&'a str, &'a [f32])>,
    /// Index inputs by name.
    pub index: Vec<(&'a str, &'a [u32])>,
}

/// A device with state in its memory, and plans that run over that state. Several plans (training and evaluation, other
/// batch sizes) share the same state.
pub trait Session {
    /// A description of the device: its name, number of threads, driver.
    fn describe(&self) -> String;

    /// The layout of the state.
    fn states(&self) -> &States;

    /// Prepares a plan to run and allocates all its memory.
    ///
    /// # Errors
    /// If it was made for another target or other states, or the device has too little memory.
    fn add(&mut self, plan: Plan) -> Result<PlanId>;

    /// A plan that was added.
    fn plan(&self, id: PlanId) -> &Plan;

    /// Writes a real input.
    ///
    /// # Errors
    /// If there is no such input, or it has another number or type of elements.
    fn write(&mut self, id: PlanId, input: &str, data: &[f32]) -> Result<()>;

    /// Writes a real input from numbers in f64: exact on a device that computes in f64, rounded to f32 on others.
    ///
    /// # Errors
    /// As [`Session::write`].
    fn write_exact(&mut self, id: PlanId, input: &str, data: &[f64]) -> Result<()> {
        self.write(id, input, &data.iter().map(|&x| x as f32).collect::<Vec<_>>())
    }

    /// Writes an index input.
    ///
    /// # Errors
    /// As [`Session::write`], and if an index is not below the bound that the operations using it set.
    fn write_indices(&mut self, id: PlanId, input: &str, data: &[u32]) -> Result<()>;

    /// Runs the plan once. A GPU may still be computing when this returns; reading waits.
    ///
    /// # Errors
    /// If the device fails.
    fn run(&mut self, id: PlanId) -> Result<()>;

    /// Runs the plan [`Series::runs`] times. `outputs` names outputs and the memory for them, those of the first run first. A GPU gets
    /// many runs in one submission, and its results are read once, at the end.
    ///
    /// # Errors
    /// As for [`Session::write`], [`Session::run`] and [`Session::read`]; lengths are those of one run times the number of runs.
    fn run_series(&mut self, id: PlanId, series: &Series<'_>, outputs: &mut [(&str, &mut [f32])]) -> Result<()>;

    /// Runs the plan once and times every launch; returns the sums for each operation and shader, longest first.
    ///
    /// # Errors
    /// If the device fails.
    fn profile(&mut self, id: PlanId) -> Result<Vec<Timing>>;

    /// Reads an output of the last run.
    ///
    /// # Errors
    /// If there is no such output, `into` has another length, or the device fails.
    fn read(&mut self, id: PlanId, output: &str, into: &mut [f32]) -> Result<()>;

    /// Reads a state, or a whole group by its name.
    ///
    /// # Errors
    /// If there is no such state, `into` has another length, or the device fails.
    fn read_state(&mut self, name: &str, into: &mut [f32]) -> Result<()>;

    /// Writes a state, or a whole group by its name.
    ///
    /// # Errors
    /// If there is no such state or `data` has another length.
    fn write_state(&mut self, name: &str, data: &[f32]) -> Result<()>;

    /// Writes a part of a state, or of a whole group by its name, from element `first` on.
    ///
    /// # Errors
    /// If there is no such state or the part is not inside it.
    fn write_state_part(&mut self, name: &str, first: usize, data: &[f32]) -> Result<()>;

    /// Makes memory of the host the content of a state of [data](super::Group::data). A CPU session in f32 reads it without a copy, if
    /// no plan that reads the state has been added yet; the state can then no longer be written. Other sessions copy it.
    ///
    /// # Errors
    /// If there is no such state of data, or it has another length.
    fn lend_state(&mut self, name: &str, memory: &HostMemory) -> Result<()> {
        locate_data(self.states(), name, memory.len())?;
        for (i, part) in memory.chunks(COPIED).enumerate() {
            self.write_state_part(name, i * COPIED, part)?;
        }
        Ok(())
    }
}

/// The group of a state of [data](super::Group::data).
///
/// # Errors
/// If there is none, or `len` is not its length.
pub fn locate_data(states: &States, name: &str, len: usize) -> Result<usize> {
    let (group, _) = locate_state(states, name, len)?;
    if !states.groups()[group].data {
        return Err(Error::value(name, "is changed by runs; only data that they read can be lent"));
    }
    Ok(group)
}

/// The group, offset and length of a state or of a whole group, by name.
///
/// # Errors
/// If there is neither, or `len` is not its length.
pub fn locate_state(states: &States, name: &str, len: usize) -> Result<(usize, usize)> {
    let (group, offset, have) = find_state(states, name)?;
    if have != len {
        return Err(Error::value(name, format!("has {have} elements, not {len}")));
    }
    Ok((group, offset))
}

/// The group, offset and length of a state or of a whole group.
fn find_state(states: &States, name: &str) -> Result<(usize, usize, usize)> {
    Ok(match states.groups().iter().position(|group| group.name == name) {
        Some(group) => (group, 0, states.groups()[group].len),
        None => {
            let state = states.get(name)?;
            (state.group.0, state.offset, state.shape.elements())
        }
    })
}

/// The group of a state or of a whole group, by name, and the offset there of its element `first`.
///
/// # Errors
/// If there is neither, or `len` elements from there on do not lie inside.
pub fn locate_part(states: &States, name: &str, first: usize, len: usize) -> Result<(usize, usize)> {
    let (group, offset, have) = find_state(states, name)?;
    if first.checked_add(len).is_none_or(|end| end > have) {
        return Err(Error::value(name, format!("has {have} elements; {len} from element {first} on are not inside")));
    }
    Ok((group, offset + first))
}

/// Checks the inputs and outputs of a series.
///
/// # Errors
/// As those of [`Session::run_series`].
pub fn check_series(plan: &Plan, series: &Series<'_>, outputs: &[(&str, &mut [f32])]) -> Result<()> {
    let each = |name: &str, len: usize| {
        let runs = series.runs.max(1);
        let whole = Error::value(name, format!("{len} elements cannot be shared out over {runs} runs"));
        if len.is_multiple_of(runs) { Ok(len / runs) } else { Err(whole) }
    };
    for (name, data) in &series.real {
        check_port(plan.input(name)?, DType::Real, each(name, data.len())?)?;
    }
    for (name, data) in &series.index {
        let port = plan.input(name)?;
        let len = each(name, data.len())?;
        check_port(port, DType::Index, len)?;
        data.chunks(len.max(1)).try_for_each(|data| check_indices(port, data))?;
    }
    for (name, into) in outputs {
        check_port(plan.output(name)?, DType::Real, each(name, into.len())?)?;
    }
    Ok(())
}

/// Checks data for an input.
///
/// # Errors
/// If the type or the number of elements differs.
pub fn check_port(port: &Port, dtype: DType, len: usize) -> Result<()> {
    if port.spec.dtype != dtype {
        let detail = format!("holds {:?} elements, not {dtype:?}", port.spec.dtype);
        return Err(Error::value(&port.name, detail));
    }
    if port.place.len != len {
        let user = port.bound.map(|(_, op)| format!(", which {op} reads,")).unwrap_or_default();
        let detail = format!("shape {}{user} has {} elements, not {len}", port.spec.shape, port.place.len);
        return Err(Error::value(&port.name, detail));
    }
    Ok(())
}

/// Checks indices for an input against the bound of the operations that use it.
///
/// # Errors
/// Names the first index that is out of range, its position, and the operation.
pub fn check_indices(port: &Port, data: &[u32]) -> Result<()> {
    check_port(port, DType::Index, data.len())?;
    let Some((bound, op)) = port.bound else { return Ok(()) };
    match data.iter().position(|&index| index as usize >= bound) {
        Some(at) => {
            let detail = format!("{op} needs indices below {bound}, element {at} is {}", data[at]);
            Err(Error::value(&port.name, detail))
        }
        None => Ok(()),
    }
}
