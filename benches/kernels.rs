//! How fast the kernels are: every operation of the table of cases at the sizes meant for timing, forward and backward, on
//! the CPU in f32 and, where there is a real GPU (or `HUMDINGER_BENCH_SOFTWARE` is set), on it.
//!
//! `cargo bench --bench kernels -- conv2d` times the operations whose name and case contain the word.

use humdinger::Result;
use humdinger::cases::{self, Case, check};
use humdinger::cpu::{CpuSession, Pool};
use humdinger::gpu::{Gpu, GpuSession};
use humdinger::graph::{Parallel, Plan, Session, States, Target};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long each plan is run, at least.
const TIME: Duration = Duration::from_millis(300);
/// Runs of a plan, at least.
const RUNS: usize = 5;

/// The shortest time in seconds of each operation in a plan, all steps of one name together.
type Times = BTreeMap<&'static str, f64>;

fn on_cpu(plan: Plan, case: &Case, states: Arc<States>, pool: &Arc<Pool>) -> Result<Times> {
    let mut session = CpuSession::<f32>::new(states, pool.clone())?;
    let id = session.add(plan)?;
    check::write_inputs(&mut session, id, case)?;
    let mut best = Times::new();
    repeat(|| {
        let mut times = Times::new();
        let mut last = Instant::now();
        session.run_with(id, |name, _| {
            let now = Instant::now();
            *times.entry(name).or_default() += (now - last).as_secs_f64();
            last = now;
        })?;
        keep_best(&mut best, times);
        Ok(())
    })?;
    Ok(best)
}

fn on_gpu(plan: Plan, case: &Case, states: Arc<States>, gpu: &Gpu) -> Result<Times> {
    let mut session = GpuSession::new(gpu.clone(), states)?;
    let id = session.add(plan)?;
    check::write_inputs(&mut session, id, case)?;
    let mut best = Times::new();
    repeat(|| {
        let mut times = Times::new();
        for timing in session.profile(id)? {
            *times.entry(timing.op).or_default() += timing.seconds;
        }
        keep_best(&mut best, times);
        Ok(())
    })?;
    Ok(best)
}

fn repeat(mut run: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    let mut runs = 0;
    while runs < RUNS || start.elapsed() < TIME {
        run()?;
        runs += 1;
    }
    Ok(())
}

fn keep_best(best: &mut Times, times: Times) {
    for (name, time) in times {
        let known = best.entry(name).or_insert(time);
        *known = known.min(time);
    }
}

/// Times the forward operation in a plan without gradients, and its gradient operations in one with them: what the table
/// puts around the operation to differentiate it stays out.
fn bench(case: &Case, device: &str, run: impl Fn(Plan, Arc<States>) -> Result<Times>, target: Target) -> Result<()> {
    for gradients in [false, true] {
        if gradients && case.differentiable.is_empty() {
            continue;
        }
        let states = Arc::new(States::new());
        let plan = Plan::new(check::build(case, states.clone(), gradients)?.graph, target)?;
        let mut costs: BTreeMap<&'static str, (f64, f64)> = BTreeMap::new();
        for step in &plan.steps {
            let (cost, sum) = (step.cost(), costs.entry(step.name()).or_default());
            (sum.0, sum.1) = (sum.0 + cost.flops, sum.1 + cost.bytes);
        }
        let wanted = |name: &str| if gradients { name.starts_with(&format!("{}_", case.op)) } else { name != "copy" };
        for (name, seconds) in run(plan, states)?.into_iter().filter(|(name, _)| wanted(name)) {
            let (flops, bytes) = costs[name];
            println!(
                "{device:4} {name:28} {:34} {:10.1} us {:9.2} GFLOP/s {:9.2} GB/s",
                case.name,
                seconds * 1e6,
                flops / seconds * 1e-9,
                bytes / seconds * 1e-9
            );
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    // `cargo bench` passes `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let pool = Arc::new(Pool::of_machine());
    println!("CPU: {} threads, f32; the shortest of at least {RUNS} runs", pool.workers());
    let software = std::env::var_os("HUMDINGER_BENCH_SOFTWARE").is_some();
    let gpu = Gpu::open(None).ok().filter(|gpu| software || !gpu.adapter().is_software());
    match &gpu {
        Some(gpu) => println!("GPU: {}", gpu.adapter()),
        None => println!("GPU: none (a software one only with HUMDINGER_BENCH_SOFTWARE=1)"),
    }
    for case in cases::all() {
        if !case.bench || !words.iter().all(|word| case.title().contains(word)) {
            continue;
        }
        bench(&case, "cpu", |plan, states| on_cpu(plan, &case, states, &pool), Target::Cpu)?;
        if let Some(gpu) = &gpu {
            bench(&case, "gpu", |plan, states| on_gpu(plan, &case, states, gpu), Target::Gpu)?;
        }
    }
    Ok(())
}
