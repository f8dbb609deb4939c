//! What operations must refuse, with a message that names the operation and the shapes.

#[path = "common/cases.rs"]
mod common;

use common::pool;
use humdinger::cases;
use humdinger::cpu::CpuSession;
use humdinger::graph::{Graph, Plan, Session, States, Target, Value};
use humdinger::tensor::DType;
use humdinger::{Error, Result};
use std::sync::Arc;

/// Builds what must be refused and, where it is the indices that are wrong, writes them. Returns what was said.
fn refused(refusal: &cases::Refusal) -> Result<Error, String> {
    let states = Arc::new(States::new());
    let mut graph = Graph::new(states.clone());
    let add = |(i, spec): (usize, &humdinger::Spec)| match spec.dtype {
        DType::Real => graph.input(&format!("x{i}"), spec.shape),
        DType::Index => graph.index_input(&format!("x{i}"), spec.shape),
    };
    let inputs: Result<Vec<Value>> = refusal.inputs.iter().enumerate().map(add).collect();
    let inputs = inputs.map_err(|error| format!("inputs: {error}"))?;
    let made = match ((refusal.build)(&mut graph, &inputs), &refusal.indices) {
        (Err(error), None) => return Ok(error),
        (Err(error), Some(_)) => return Err(format!("must be built, but: {error}")),
        (Ok(_), None) => return Err("was not refused".into()),
        (Ok(made), Some(_)) => made,
    };
    let run = || {
        graph.output("y", made[0])?;
        let mut session = CpuSession::<f32>::new(states, pool(1))?;
        let id = session.add(Plan::new(graph, Target::Cpu)?)?;
        let index = refusal.inputs.iter().position(|spec| spec.dtype == DType::Index).unwrap_or_default();
        session.write_indices(id, &format!("x{index}"), refusal.indices.as_deref().unwrap_or_default())
    };
    run().err().ok_or_else(|| "the indices were not refused".into())
}

#[test]
fn bad_input_is_refused_by_name() {
    let mut failures = Vec::new();
    for refusal in cases::refusals() {
        let title = format!("{} {}", refusal.op, refusal.name);
        match refused(&refusal) {
            Err(what) => failures.push(format!("{title}: {what}")),
            Ok(error) => {
                let message = error.to_string();
                let words = std::iter::once(&refusal.op).chain(refusal.words);
                let missing = words.copied().find(|word| !message.contains(word));
                failures.extend(missing.map(|word| format!("{title}: `{message}` does not say `{word}`")));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
