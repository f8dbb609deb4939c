//! Checks of a graph before it is planned, and of the steps after.

use super::plan::{BufferKind, Place, Plan, Step, Work};
use super::{Constant, Graph, Op, Source, Target, Value};
use crate::error::{Error, Result};
use crate::tensor::{DType, Spec};
use std::ops::Range;

/// Before planning.
pub(super) fn graph(graph: &Graph) -> Result<()> {
    check_assignments(graph)?;
    check_order(graph)
}

fn check_assignments(graph: &Graph) -> Result<()> {
    // Two values may be the same state in other shapes, or one a part of the other.
    let stretch = |state: Value| {
        let (base, start) = graph.base(state);
        (base, start..start + graph.shape(state).elements())
    };
    for (i, &(state, _)) in graph.assignments.iter().enumerate() {
        let (base, range) = stretch(state);
        let meets = |other: Value| {
            let (other, taken) = stretch(other);
            other == base && overlap(&range, &taken)
        };
        if graph.assignments[..i].iter().any(|&(other, _)| meets(other)) {
            return Err(Error::op("assign", "a state is assigned twice"));
        }
    }
    Ok(())
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// What an operation says that it updates in place: an output for each, an input of the same shape and type for each.
pub(super) fn updates(op: &dyn Op, inputs: &[Spec], outputs: &[Spec]) -> Result<()> {
    let updates = op.updates();
    for (i, &(output, input)) in updates.iter().enumerate() {
        let (Some(old), Some(new)) = (inputs.get(input), outputs.get(output)) else {
            let detail = format!(
                "says that output {output} replaces input {input}; it has {} inputs and {} outputs",
                inputs.len(),
                outputs.len()
            );
            return Err(Error::op(op.name(), detail));
        };
        if old != new {
            let detail =
                format!("says that output {output}, {}, replaces input {input}, {}", described(new), described(old));
            return Err(Error::op(op.name(), detail));
        }
        if updates[..i].iter().any(|&(other, replaced)| other == output || replaced == input) {
            return Err(Error::op(
                op.name(),
                format!("says twice what output {output} or input {input} is replaced by"),
            ));
        }
    }
    Ok(())
}

/// What an operation reads as indices, where it is known already: it must be below the operation's bound.
pub(super) fn constant_indices(graph: &Graph, op: &dyn Op, inputs: &[Value], specs: &[Spec]) -> Result<()> {
    for (input, &value) in inputs.iter().enumerate() {
        let Source::Constant(Constant::Index(data)) = graph.source(graph.base(value).0) else { continue };
        let Some(bound) = op.index_bound(input, specs) else { continue };
        if let Some(at) = data.iter().position(|&index| index as usize >= bound) {
            let detail =
                format!("needs indices below {bound}, element {at} of the constant input {input} is {}", data[at]);
            return Err(Error::op(op.name(), detail));
        }
    }
    Ok(())
}

fn described(spec: &Spec) -> String {
    let kind = if spec.dtype == DType::Real { "real numbers" } else { "indices" };
    format!("{kind} of shape {}", spec.shape)
}

/// Passes put nodes in the places of others: each must still come after those whose results it reads.
fn check_order(graph: &Graph) -> Result<()> {
    for (number, node) in graph.nodes() {
        for &input in &node.inputs {
            if let Source::Node { node: maker, .. } = graph.source(graph.base(input).0)
                && *maker >= number
            {
                return Err(Error::op(node.op.name(), "a pass put it before an operation whose result it reads"));
            }
        }
    }
    Ok(())
}

/// After planning: whether every operation can be launched on the target.
pub(super) fn kernels(steps: &[Step], target: Target) -> Result<()> {
    let over_ranks = steps.iter().filter(|step| step.sum_over_ranks().is_some());
    for step in over_ranks {
        if step.input_specs.len() != 1 || step.input_specs != step.output_specs {
            return Err(Error::op(
                step.name(),
                "is a sum over ranks, but its one output is not of its one input's shape",
            ));
        }
    }
    let without = steps.iter().find(|step| {
        matches!(step.work, Work::Run(_)) && step.sum_over_ranks().is_none() && step.launches().is_empty()
    });
    if let (Target::Gpu, Some(step)) = (target, without) {
        let detail =
            "has no GPU kernel: it is made by a pass for the CPU; fuse the graph for the target that it is planned for";
        return Err(Error::op(step.name(), detail));
    }
    Ok(())
}

/// Checks what a session on the CPU relies on: every place lies in its buffer and is as long as its value, and
/// nothing that a step writes overlaps anything else that it reads or writes, except inputs that it replaces in place.
///
/// A plan's fields are public, and an operation may return different answers at each call: neither may lead to two
/// references to the same memory.
pub fn memory(plan: &Plan) -> Result<()> {
    for buffer in &plan.buffers {
        let groups = plan.graph.states().groups();
        let fits = match &buffer.kind {
            BufferKind::Temporary | BufferKind::Kept | BufferKind::Input => true,
            BufferKind::Constant(Constant::Real(values)) => buffer.dtype == DType::Real && values.len() == buffer.len,
            BufferKind::Constant(Constant::Index(values)) => buffer.dtype == DType::Index && values.len() == buffer.len,
            BufferKind::State(group) => {
                buffer.dtype == DType::Real && groups.get(group.0).is_some_and(|group| buffer.len <= group.len)
            }
        };
        if !fits {
            return Err(Error::Device(format!(
                "a plan's buffer of {} elements does not fit what it holds",
                buffer.len
            )));
        }
    }
    for port in plan.inputs.iter().chain(&plan.outputs) {
        placed(plan, &port.name, &port.place, &port.spec)?;
    }
    if let Some(port) =
        plan.inputs.iter().find(|port| !matches!(plan.buffers[port.place.buffer].kind, BufferKind::Input))
    {
        return Err(Error::value(&port.name, "an input of the plan lies in a buffer that is not the host's to write"));
    }
    plan.steps.iter().try_for_each(|step| step_memory(plan, step))
}

/// Whether a value's place lies inside its buffer and holds what the value does.
fn placed(plan: &Plan, name: &str, place: &Place, spec: &Spec) -> Result<()> {
    let inside = plan.buffers.get(place.buffer).is_some_and(|buffer| {
        buffer.dtype == spec.dtype && place.offset.checked_add(place.len).is_some_and(|end| end <= buffer.len)
    });
    if !inside || place.len != spec.shape.elements() {
        let detail = format!("the plan has no room at {place:?} for {}", described(spec));
        return Err(Error::value(name, detail));
    }
    Ok(())
}

/// [`memory`], of one step.
fn step_memory(plan: &Plan, step: &Step) -> Result<()> {
    let wrong = |detail: &str| Err(Error::op(step.name(), format!("the plan's step {detail}")));
    let lens = |places: &[Place]| places.iter().map(|place| place.len).collect::<Vec<_>>();
    let fits = match &step.work {
        Work::Run(op) => {
            op.outputs(&step.input_specs)? == step.output_specs
                && op.scratch(&step.input_specs, &step.output_specs, plan.target) == lens(&step.scratch)
        }
        Work::Copy => step.input_specs.len() == 1 && step.input_specs == step.output_specs && step.scratch.is_empty(),
    };
    if !fits || step.inputs.len() != step.input_specs.len() || step.outputs.len() != step.output_specs.len() {
        return wrong("has other operands than its operation");
    }
    for (place, spec) in step.inputs.iter().zip(&step.input_specs).chain(step.outputs.iter().zip(&step.output_specs)) {
        placed(plan, step.name(), place, spec)?;
    }
    for place in &step.scratch {
        placed(plan, step.name(), place, &Spec::real([place.len]))?;
    }
    let written: Vec<&Place> = step.outputs.iter().chain(&step.scratch).collect();
    for (i, place) in written.iter().enumerate() {
        let writable = match &plan.buffers[place.buffer].kind {
            BufferKind::Temporary | BufferKind::Kept => true,
            BufferKind::Input | BufferKind::Constant(_) => false,
            BufferKind::State(group) => !plan.graph.states().groups()[group.0].data,
        };
        if !writable {
            return wrong("writes over what only the host may change");
        }
        if written[..i].iter().any(|other| share_memory(plan, place, other)) {
            return wrong("writes two results to the same memory");
        }
        // What is replaced in place is not handed to the kernel: see `Step::withheld`.
        let replaced = |input: &Place| {
            let Work::Run(op) = &step.work else { return false };
            input == *place && op.updates().iter().any(|&(out, k)| out == i && step.inputs.get(k) == Some(input))
        };
        if step.inputs.iter().any(|input| share_memory(plan, place, input) && !replaced(input)) {
            return wrong("writes over what it reads");
        }
    }
    Ok(())
}

fn share_memory(plan: &Plan, a: &Place, b: &Place) -> bool {
    let same = a.buffer == b.buffer
        || match (&plan.buffers[a.buffer].kind, &plan.buffers[b.buffer].kind) {
            (BufferKind::State(a), BufferKind::State(b)) => a == b,
            _ => false,
        };
    same && overlap(&(a.offset..a.offset + a.len), &(b.offset..b.offset + b.len))
}
