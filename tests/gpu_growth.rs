//! A thousand steps take no more memory and no more objects than a hundred. Alone in its file, since it counts what the
//! whole process holds.

#![cfg(feature = "gpu")]

#[path = "common/gpu.rs"]
mod common;

use common::gpu;
use humdinger::gpu::GpuSession;
use humdinger::graph::{Graph, Plan, Series, Session, States, Target};
use humdinger::{Result, Tensor};
use std::sync::Arc;

/// Bytes that the process holds in memory, a software device's memory included; `None` where the system does not tell.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

#[test]
fn nothing_grows_over_a_thousand_steps() -> Result<()> {
    let Some(gpu) = gpu() else { return Ok(()) };
    const LEN: usize = 5_000;
    let mut states = States::new();
    states.add("parameters", "w", Tensor::full([LEN], 1.0))?;
    let states = Arc::new(states);
    let mut graph = Graph::new(states.clone());
    let x = graph.input("x", [LEN])?;
    let w = graph.state("w")?;
    let r = graph.relu(x)?;
    let sum = graph.add(r, w)?;
    graph.assign(w, sum)?;
    let y = graph.relu(sum)?;
    graph.output("y", y)?;
    let mut session = GpuSession::new(gpu.clone(), states)?;
    let id = session.add(Plan::new(graph, Target::Gpu)?)?;
    let x = vec![1.0; LEN];
    let mut y = vec![0.0; LEN];
    let mut seen = Vec::new();
    for step in 1..=1_100 {
        session.write(id, "x", &x)?;
        session.run(id)?;
        if step % 100 == 0 {
            session.read(id, "y", &mut y)?;
            assert_eq!(y[0], 1.0 + step as f32);
            session.read_state("w", &mut y)?;
            seen.push((gpu.object_counts(), resident()));
        }
    }
    grows_not(&seen);
    // The same in series of twenty.
    let (many, mut results, mut seen) = (vec![1.0; 20 * LEN], vec![0.0; 20 * LEN], Vec::new());
    for series in 1..=55 {
        let given = Series { runs: 20, real: vec![("x", &many)], index: Vec::new() };
        session.run_series(id, &given, &mut [("y", &mut results)])?;
        assert_eq!(results[19 * LEN], 1101.0 + 20.0 * series as f32);
        if series % 5 == 0 {
            seen.push((gpu.object_counts(), resident()));
        }
    }
    grows_not(&seen);
    Ok(())
}

/// Objects on the device by kind, and bytes of the process.
type Held = (Vec<(&'static str, usize)>, Option<u64>);

/// A hundred steps against eleven hundred.
fn grows_not(seen: &[Held]) {
    let (first, last) = (&seen[0], &seen[seen.len() - 1]);
    assert!(first.0.iter().any(|&(kind, count)| kind == "buffers" && count > 0), "{first:?}");
    assert_eq!(first.0, last.0);
    if let (Some(first), Some(last)) = (first.1, last.1) {
        // A thousand steps write 20 MB of inputs: one that is kept shows.
        assert!(last < first + (1 << 20), "{} bytes more after a thousand steps", last - first);
    }
}
