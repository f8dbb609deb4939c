//! `humdinger bench`: times the classifier's work, for comparison with other programs (benches/peers/README.md describes
//! each work, and the formula that inputs and weights come from).

mod formula;
mod kernels;
mod parts;
mod whole;

use super::{VectorArgs, say};
use crate::device::Device;
use crate::fusion::{Fusions, fuse};
use crate::graph::{Graph, Plan, PlanId, Session};
use crate::train::Recipe;
use crate::{Error, Result};
use clap::ValueEnum;
use std::time::Instant;

/// Outputs of the classifier.
const OUTPUTS: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Work {
    /// A training step of the notebook's classifier on spectrograms
    Step,
    /// The same of the recipe melody's classifier
    MelodyStep,
    /// From samples to probabilities
    Inference,
    /// A convolution forward and backward; variants 56x56 and 28x28
    Conv2d,
    /// From samples to decibels
    FrontEnd,
    /// 15 s stereo from 44.1 to 11 kHz; variants kept and notebook (a new kernel for each channel)
    Resample,
    /// An epoch of the notebook's training, from decoded recordings
    NotebookRun,
    /// Every kernel of a training step, samples to optimiser; variants notebook and melody
    Kernels,
}

/// Time the classifier's work on this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do
    #[arg(value_enum)]
    work: Work,
    /// A variant of it, where it has any
    #[arg(long)]
    variant: Option<String>,
    /// Clips at once [default: 4 for a step, else 1]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// How long to measure, after a tenth of that unmeasured
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    seconds: f64,
    /// auto, cpu, gpu or gpu:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    #[command(flatten)]
    vectors: VectorArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was measured: the times of single runs in milliseconds, and a number that other programs must get too.
struct Measured {
    times: Vec<f64>,
    check: Option<f64>,
}

pub fn run(args: Args) -> Result<()> {
    let batch = args.batch.unwrap_or(match args.work {
        Work::Step | Work::MelodyStep | Work::NotebookRun | Work::Kernels => 4,
        Work::Conv2d => 0,
        _ => 1,
    });
    if batch > 4096 || (batch == 0 && args.work != Work::Conv2d) {
        return Err(Error::usage("--batch", format!("{batch} is not from 1 to 4096")));
    }
    if !(args.seconds > 0.0 && args.seconds <= 3600.0) {
        return Err(Error::usage("--seconds", format!("{} is not above 0 and at most 3600", args.seconds)));
    }
    let known: &[&str] = match args.work {
        Work::Conv2d => &["56x56", "28x28"],
        Work::Resample => &["kept", "notebook"],
        Work::Kernels => &["notebook", "melody"],
        _ => &["humdinger"],
    };
    let variant = args.variant.as_deref().unwrap_or(known[0]);
    if !known.contains(&variant) {
        return Err(Error::usage("--variant", format!("`{variant}` is none of {}", known.join(", "))));
    }
    args.vectors.choose()?;
    let device = Device::choose(super::device(&args.device)?)?;
    let clock = Clock(args.seconds);
    if args.work == Work::Kernels {
        return kernels::run(&device, variant, batch, args.seconds, args.json);
    }
    let mut measured = match args.work {
        Work::Step => whole::step(&device, Recipe::Notebook, batch, clock)?,
        Work::MelodyStep => whole::step(&device, Recipe::Melody, batch, clock)?,
        Work::Inference => whole::inference(&device, batch, clock)?,
        Work::Conv2d => parts::convolution(&device, batch, variant, clock)?,
        Work::FrontEnd => parts::front_end(&device, batch, clock)?,
        Work::Resample => parts::resample(variant, clock)?,
        Work::NotebookRun => whole::notebook_run(&device, batch, clock)?,
        Work::Kernels => unreachable!("returned above"),
    };
    // Beside other programs a few runs take very long, which medians do not show.
    let per_second = 1e3 * measured.times.len() as f64 / measured.times.iter().sum::<f64>();
    measured.times.sort_by(f64::total_cmp);
    let (median, best) = (measured.times[measured.times.len() / 2], measured.times[0]);
    let name = args.work.to_possible_value().map_or(String::new(), |value| value.get_name().to_string());
    if args.json {
        return say(serde_json::json!({
            "name": name,
            "variant": variant,
            "batch": batch,
            "device": device.to_string(),
            "median_ms": median,
            "best_ms": best,
            "runs_per_second": per_second,
            "runs": measured.times.len(),
            "check": measured.check,
        }));
    }
    let check = measured.check.map_or(String::new(), |check| format!(", check {check:.6}"));
    say(format!(
        "{name} ({variant}), batch {batch}: median {median:.3} ms, best {best:.3} ms of {} runs, {per_second:.1} a second, on {device}{check}",
        measured.times.len()
    ))
}

/// For how many seconds to measure.
#[derive(Clone, Copy)]
struct Clock(f64);

impl Clock {
    /// Times single runs, at least three, after a tenth of the time unmeasured.
    fn times(self, mut run: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
        let start = Instant::now();
        loop {
            run()?;
            if start.elapsed().as_secs_f64() > self.0 / 10.0 {
                break;
            }
        }
        let (start, mut times) = (Instant::now(), Vec::new());
        while times.len() < 3 || start.elapsed().as_secs_f64() < self.0 {
            let single = Instant::now();
            run()?;
            times.push(single.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    }
}

/// A plan on a device, with states of its own.
fn prepare(device: &Device, mut graph: Graph) -> Result<(Box<dyn Session>, PlanId)> {
    fuse(&mut graph, Fusions::for_target(device.target()))?;
    let mut session = device.session(graph.states().clone())?;
    let plan = session.add(Plan::new(graph, device.target())?)?;
    Ok((session, plan))
}
