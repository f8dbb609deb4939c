//! `humdinger doctor`: what this machine has, and whether every kernel computes what it should on it.

use super::{VectorArgs, say};
use crate::cases::{self, Case, check};
use crate::cpu::Pool;
use crate::device::{Device, DeviceChoice, threads};
use crate::gpu::{Adapter, Gpu, adapters};
use crate::graph::Parallel;
use crate::{Error, Result, vectors};
use std::sync::Arc;
use std::time::Instant;

/// Options of `humdinger doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Check the kernels of this device only: cpu, gpu or gpu:<n>. By default the CPU and every adapter are checked.
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Check the kernels of operations whose name contains this
    #[arg(long)]
    op: Option<String>,
    #[command(flatten)]
    vectors: VectorArgs,
}

/// What came of the cases of one operation.
#[derive(Default)]
struct Outcome {
    cases: usize,
    worst: f64,
    failures: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// Where a device cannot be opened or a kernel computes something else than it should.
pub fn run(arguments: Args) -> Result<()> {
    arguments.vectors.choose()?;
    let pool = Arc::new(Pool::of_machine());
    let found = adapters();
    say(format!("Humdinger {}, {} on {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS))?;
    say(format!("  cpu    {}, vectors of {} bits", threads(pool.workers()), vectors::width()))?;
    for adapter in &found {
        let features = adapter.features();
        say(format!("  {adapter}"))?;
        say(format!(
            "         buffers up to {} MB; {}",
            adapter.largest_binding() >> 20,
            if features.is_empty() { "no further features".into() } else { features.join(", ") }
        ))?;
    }
    if found.is_empty() {
        say("  no GPU and no software Vulkan; a GPU needs its vendor's driver")?;
    }
    say(format!("`--device auto` means {}", Device::choose(DeviceChoice::Auto)?))?;

    let mut table = cases::all();
    if let Some(part) = &arguments.op {
        table.retain(|case| case.op.contains(part.as_str()));
        if table.is_empty() {
            return Err(Error::usage("--op", format!("no operation has `{part}` in its name")));
        }
    }
    let mut wrong = 0;
    if matches!(arguments.device, DeviceChoice::Auto | DeviceChoice::Cpu) {
        let f32_on_cpu = |case: &Case| Ok(to_f64(check::on_cpu::<f32>(case, pool.clone())?));
        wrong += check_all("cpu, f32 against f64", &table, &pool, false, f32_on_cpu)?;
    }
    let wanted: Vec<Adapter> = match arguments.device {
        DeviceChoice::Auto => found,
        DeviceChoice::Cpu => Vec::new(),
        DeviceChoice::Gpu(number) => vec![Adapter::numbered(number)?],
    };
    for adapter in wanted {
        let title = format!("{adapter} against the CPU in f64");
        let software = adapter.is_software();
        let gpu = Gpu::open_adapter(adapter)?;
        wrong += check_all(&title, &table, &pool, software, |case| Ok(to_f64(check::on_gpu(case, &gpu)?)))?;
    }
    match wrong {
        0 => say("All kernels compute what they should."),
        1 => Err(Error::Device("one operation computes something else than it should; please report this".into())),
        n => Err(Error::Device(format!("{n} operations compute something else than they should; please report this"))),
    }
}

type Outputs = Vec<(String, Vec<f64>)>;

fn to_f64(outputs: Vec<(String, Vec<f32>)>) -> Outputs {
    outputs.into_iter().map(|(name, values)| (name, values.into_iter().map(f64::from).collect())).collect()
}

/// Checks all cases and prints a line per operation. Returns how many operations are wrong.
fn check_all(
    title: &str,
    table: &[Case],
    pool: &Arc<Pool>,
    software: bool,
    compute: impl Fn(&Case) -> Result<Outputs>,
) -> Result<usize> {
    say(format!("\nKernels of {title}"))?;
    let mut wrong = 0;
    let mut ops: Vec<&str> = table.iter().map(|case| case.op).collect();
    ops.dedup();
    let mut done: Vec<&str> = Vec::new();
    for op in ops {
        if done.contains(&op) {
            continue;
        }
        done.push(op);
        let start = Instant::now();
        let mut outcome = Outcome::default();
        // A software device takes minutes for the cases that are there to be timed.
        for case in table.iter().filter(|case| case.op == op && !(software && case.bench)) {
            outcome.cases += 1;
            match compute(case) {
                Ok(found) => {
                    let expected = check::on_cpu::<f64>(case, pool.clone())?;
                    let (worst, failures) = check::compare(case, &found, &expected);
                    outcome.worst = if worst > outcome.worst || worst.is_nan() { worst } else { outcome.worst };
                    outcome.failures.extend(failures);
                }
                Err(error) => outcome.failures.push(format!("{}: {error}", case.title())),
            }
        }
        let verdict = if outcome.failures.is_empty() { "ok" } else { "WRONG" };
        say(format!(
            "  {op:28} {verdict:5}  {:3} cases  error {:7.1e}  {:6.2} s",
            outcome.cases,
            outcome.worst,
            start.elapsed().as_secs_f64()
        ))?;
        for failure in &outcome.failures {
            say(format!("      {failure}"))?;
        }
        wrong += usize::from(!outcome.failures.is_empty());
    }
    Ok(wrong)
}
