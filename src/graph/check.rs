//! What must hold of a graph before it is planned, and of the steps after.

use super::plan::{Step, Work};
use super::{Graph, Source, Target};
use crate::error::{Error, Result};

/// Before planning.
pub(super) fn graph(graph: &Graph) -> Result<()> {
    check_assignments(graph)?;
    check_order(graph)
}

fn check_assignments(graph: &Graph) -> Result<()> {
    for (i, (state, _)) in graph.assignments.iter().enumerate() {
        if graph.assignments[..i].iter().any(|(other, _)| other == state) {
            return Err(Error::op("assign", "a state is assigned twice"));
        }
    }
    Ok(())
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
    let without = steps.iter().find(|step| matches!(step.work, Work::Run(_)) && step.launches().is_empty());
    if let (Target::Gpu, Some(step)) = (target, without) {
        let detail =
            "has no GPU kernel: it is made by a pass for the CPU; fuse the graph for the target that it is planned for";
        return Err(Error::op(step.name(), detail));
    }
    Ok(())
}
