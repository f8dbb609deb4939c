//! Data that the host lends to a session: read where it is, or copied, and never changed.

#![cfg(feature = "gpu")]

#[path = "common/gpu.rs"]
mod device;

use humdinger::cpu::{CpuSession, Pool};
use humdinger::gpu::GpuSession;
use humdinger::graph::{CpuReal, Graph, HostMemory, Plan, Session, States, Target};
use humdinger::{Result, Tensor};
use std::sync::Arc;

/// No multiple of anything.
const LEN: usize = 1237;

/// `twice = 2 data`, and a state that changes.
fn doubling() -> Result<Graph> {
    let mut states = States::new();
    states.add_data("data", LEN)?;
    states.add("totals", "total", Tensor::full([LEN], 1.0))?;
    let mut graph = Graph::new(Arc::new(states));
    let data = graph.state("data")?;
    let twice = graph.add(data, data)?;
    let total = graph.state("total")?;
    let sum = graph.add(total, twice)?;
    graph.assign(total, sum)?;
    graph.output("twice", twice)?;
    Ok(graph)
}

fn cpu<T: CpuReal>(graph: &Graph) -> Result<CpuSession<T>> {
    CpuSession::new(graph.states().clone(), Arc::new(Pool::new(2)))
}

fn message<T>(result: Result<T>) -> String {
    result.err().expect("it should be refused").to_string()
}

#[test]
fn every_session_reads_what_it_was_lent() -> Result<()> {
    let graph = doubling()?;
    let mut sessions: Vec<(Box<dyn Session>, Target)> =
        vec![(Box::new(cpu::<f32>(&graph)?), Target::Cpu), (Box::new(cpu::<f64>(&graph)?), Target::Cpu)];
    if let Some(gpu) = device::gpu() {
        sessions.push((Box::new(GpuSession::with_guards(gpu, graph.states().clone())?), Target::Gpu));
    }
    let memory = HostMemory::new((0..LEN).map(|i| i as f32).collect::<Vec<_>>());
    let expected: Vec<f32> = memory.iter().map(|x| 2.0 * x).collect();
    for (mut session, target) in sessions {
        let what = session.describe();
        assert!(
            message(session.lend_state("data", &HostMemory::new(vec![0.0; LEN - 1]))).contains(&LEN.to_string()),
            "{what}"
        );
        assert!(message(session.lend_state("total", &memory)).contains("total"), "{what}");
        assert!(message(session.lend_state("no such", &memory)).contains("no such"), "{what}");
        session.lend_state("data", &memory)?;
        let mut read = vec![0.0; LEN];
        session.read_state("data", &mut read)?;
        assert_eq!(read, *memory, "{what}");
        let id = session.add(Plan::new(graph.clone(), target)?)?;
        session.run(id)?;
        session.read(id, "twice", &mut read)?;
        assert_eq!(read, expected, "{what}");
        session.read_state("total", &mut read)?;
        assert_eq!(read[LEN - 1], 1.0 + expected[LEN - 1], "{what}");
    }
    assert_eq!(memory.holders(), 1, "a session that is gone still holds it");
    Ok(())
}

#[test]
fn the_cpu_reads_it_where_it_is_and_lets_nobody_write() -> Result<()> {
    let graph = doubling()?;
    let memory = HostMemory::new(vec![0.5; LEN]);
    let mut session = cpu::<f32>(&graph)?;
    session.lend_state("data", &memory)?;
    assert_eq!(memory.holders(), 2, "copied");
    for error in [
        message(session.write_state("data", &[0.0; LEN])),
        message(session.write_state_part("data", 3, &[0.0])),
        message(session.lend_state("data", &HostMemory::new(vec![0.0; LEN]))),
        message(session.state_mut("data", LEN).map(drop)),
    ] {
        assert!(error.contains("data") && error.contains("lent"), "{error}");
    }
    assert!(memory.iter().all(|&x| x == 0.5));
    Ok(())
}

/// What a plan was bound to stays where it is.
#[test]
fn a_plan_sees_what_is_lent_later() -> Result<()> {
    let graph = doubling()?;
    let mut session = cpu::<f32>(&graph)?;
    let id = session.add(Plan::new(graph, Target::Cpu)?)?;
    session.run(id)?;
    assert!(session.output(id, "twice")?.iter().all(|&x| x == 0.0), "zeros until it is written");
    session.lend_state("data", &HostMemory::new(vec![0.5; LEN]))?;
    session.run(id)?;
    assert!(session.output(id, "twice")?.iter().all(|&x| x == 1.0));
    session.write_state_part("data", 1, &[2.0])?;
    session.run(id)?;
    assert_eq!(session.output(id, "twice")?[..3], [1.0, 4.0, 1.0]);
    Ok(())
}

#[test]
fn runs_do_not_change_data() -> Result<()> {
    let mut graph = doubling()?;
    let data = graph.state("data")?;
    let twice = graph.add(data, data)?;
    let error = message(graph.assign(data, twice));
    assert!(error.contains("assign") && error.contains("data"), "{error}");
    Ok(())
}
