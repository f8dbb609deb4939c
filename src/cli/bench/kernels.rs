//! `humdinger bench kernels`: where the time of a training step goes, kernel by kernel, beside what the machine can do.

use super::super::say;
use super::formula::uniform;
use super::{OUTPUTS, prepare};
use crate::device::Device;
use crate::graph::{Cost, Graph, PlanId, Session, States, Timing};
use crate::ops::ConvOptions;
use crate::tensor::DType;
use crate::train::Recipe;
use crate::train::network::{Network, Pass};
use crate::{Error, Result};
use std::sync::Arc;
use std::time::Instant;

/// Runs that are profiled: of each kernel the shortest time counts.
const RUNS: usize = 10;

pub fn run(device: &Device, variant: &str, batch: usize, seconds: f64, json: bool) -> Result<()> {
    let recipe = if variant == "melody" { Recipe::Melody } else { Recipe::Notebook };
    let (network, adam) = Network::new(recipe, &recipe.front_end(), OUTPUTS, 0, true)?;
    let Some(mut adam) = adam else { return Err(Error::value("optimiser", "this network has none")) };
    let graph = network.graph(Pass::Train { augment: true }, batch, Some(&adam))?;
    let (mut session, plan) = prepare(device, graph)?;
    feed(&mut *session, plan)?;
    adam.before_step(&mut *session, plan, 1e-3, 0.9)?;
    let step = shortest(&mut *session, plan, "loss", seconds)?;
    let mut kernels = session.profile(plan)?;
    for _ in 1..RUNS {
        for again in session.profile(plan)? {
            let same = |known: &&mut Timing| known.op == again.op && known.shader == again.shader;
            if let Some(known) = kernels.iter_mut().find(same) {
                known.seconds = known.seconds.min(again.seconds);
            }
        }
    }
    kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let peak = peak(device, seconds)?;
    let busy: f64 = kernels.iter().map(|kernel| kernel.seconds).sum();
    let idle = (1.0 - busy / step).max(0.0);
    let share = |kernel: &Timing| {
        let needed = (kernel.cost.flops / peak.flops).max(kernel.cost.bytes / peak.bytes);
        needed / kernel.seconds.max(1e-12)
    };
    if json {
        let rows: Vec<_> = (kernels.iter())
            .map(|kernel| {
                serde_json::json!({
                    "op": kernel.op, "shader": kernel.shader, "launches": kernel.launches, "seconds": kernel.seconds,
                    "flops": kernel.cost.flops, "bytes": kernel.cost.bytes, "share_of_peak": share(kernel),
                })
            })
            .collect();
        return say(serde_json::json!({
            "recipe": recipe.name(), "batch": batch, "device": device.to_string(), "step_seconds": step,
            "idle_share": idle, "peak_flops": peak.flops, "peak_bytes": peak.bytes, "kernels": rows,
        }));
    }
    say(format!("a training step of recipe {recipe}, batch {batch}, from samples, on {device}"))?;
    say(format!(
        "{:<44} {:>8} {:>10} {:>8} {:>9} {:>8} {:>8}",
        "kernel", "launches", "us", "of step", "GFLOP/s", "GB/s", "of peak"
    ))?;
    for kernel in &kernels {
        let name =
            if kernel.shader.is_empty() { kernel.op.into() } else { format!("{} ({})", kernel.op, kernel.shader) };
        say(format!(
            "{name:<44} {:>8} {:>10.1} {:>6.1} % {:>9.2} {:>8.2} {:>6.1} %",
            kernel.launches,
            kernel.seconds * 1e6,
            100.0 * kernel.seconds / step,
            kernel.cost.flops / kernel.seconds.max(1e-12) * 1e-9,
            kernel.cost.bytes / kernel.seconds.max(1e-12) * 1e-9,
            100.0 * share(kernel)
        ))?;
    }
    say(format!(
        "step {:.1} us, kernels {:.1} us, idle {:.1} % of the step; peak measured here {:.1} GFLOP/s and {:.1} GB/s\n\
         operations count all multiplications, also those that the CPU's convolutions save by minimal filtering",
        step * 1e6,
        busy * 1e6,
        100.0 * idle,
        peak.flops * 1e-9,
        peak.bytes * 1e-9
    ))
}

/// Writes something into every input: noise for sound, the first class for labels, no shift, no masks, no warp.
fn feed(session: &mut dyn Session, plan: PlanId) -> Result<()> {
    for port in session.plan(plan).inputs.clone() {
        match (port.spec.dtype, port.name.as_str()) {
            (DType::Index, _) => session.write_indices(plan, &port.name, &vec![0; port.place.len])?,
            (DType::Real, "warp") => {
                session.write(plan, &port.name, &[0.0, 1.0].repeat(port.place.len / 2))?;
            }
            (DType::Real, _) => session.write(plan, &port.name, &uniform(7, port.place.len))?,
        }
    }
    Ok(())
}

/// The shortest run, in seconds, with the reading of one output that ends it.
fn shortest(session: &mut dyn Session, plan: PlanId, output: &str, seconds: f64) -> Result<f64> {
    let mut value = vec![0.0; session.plan(plan).output(output)?.place.len];
    let (start, mut best, mut runs) = (Instant::now(), f64::INFINITY, 0);
    while runs < 3 || start.elapsed().as_secs_f64() < seconds {
        let single = Instant::now();
        session.run(plan)?;
        session.read(plan, output, &mut value)?;
        best = best.min(single.elapsed().as_secs_f64());
        runs += 1;
    }
    Ok(best)
}

/// What the machine does at most, as far as this program can make it: the better of a large matrix product and a large
/// convolution, and a sum of two long vectors.
fn peak(device: &Device, seconds: f64) -> Result<Cost> {
    let part = seconds / 4.0;
    let product = best_of(device, part, &[[1024, 1024, 1, 1]; 2], |g, x| {
        let flat: Vec<_> = x.iter().map(|&x| g.reshape(x, [1024, 1024])).collect::<Result<_>>()?;
        g.matmul(flat[0], flat[1])
    })?;
    // With 3 x 3 taps fewer multiplications would be made than are counted.
    let shapes = [[8, 64, 56, 56], [64, 64, 5, 5]];
    let convolution = best_of(device, part, &shapes, |g, x| g.conv2d(x[0], x[1], None, ConvOptions::square(1, 2)))?;
    let sum = best_of(device, part, &[[16, 1024, 1024, 1]; 2], |g, x| g.add(x[0], x[1]))?;
    Ok(Cost { flops: product.flops.max(convolution.flops), bytes: sum.bytes })
}

/// Operations and bytes a second of one operation, its launches timed alone.
fn best_of(
    device: &Device,
    seconds: f64,
    shapes: &[[usize; 4]],
    build: impl Fn(&mut Graph, &[crate::graph::Value]) -> Result<crate::graph::Value>,
) -> Result<Cost> {
    let mut graph = Graph::new(Arc::new(States::new()));
    let inputs: Vec<_> =
        shapes.iter().enumerate().map(|(i, &shape)| graph.input(&format!("x{i}"), shape)).collect::<Result<_>>()?;
    let y = build(&mut graph, &inputs)?;
    graph.output("y", y)?;
    let (mut session, plan) = prepare(device, graph)?;
    feed(&mut *session, plan)?;
    let (start, mut best, mut runs) = (Instant::now(), Cost::default(), 0);
    while runs < 3 || start.elapsed().as_secs_f64() < seconds {
        let timings = session.profile(plan)?;
        let seconds: f64 = timings.iter().map(|timing| timing.seconds).sum();
        for cost in timings.iter().map(|timing| timing.cost).filter(|_| seconds > 0.0) {
            best.flops = best.flops.max(cost.flops / seconds);
            best.bytes = best.bytes.max(cost.bytes / seconds);
        }
        runs += 1;
    }
    Ok(best)
}
