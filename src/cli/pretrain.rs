//! `humdinger pretrain`.

use super::terminal::{entry, say};
use super::whole;
use crate::device::Device;
use crate::train::pretrain::{Pretraining, Stage, pretrain};
use crate::train::report::duration;
use crate::{Error, Result};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Make a base model, for `train` to begin with: the network of the recipe melody, trained on generated melodies.
///
/// Imaginary singers sing the melodies, and are made while the network learns. The same seed gives the same file, whatever the number
/// of threads.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file to make
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Everything random is drawn from this
    #[arg(long, value_name = "N", default_value_t = Pretraining::default().seed, value_parser = whole::<u64>, allow_negative_numbers = true)]
    seed: u64,
    /// Melodies to learn
    #[arg(long, value_name = "N", default_value_t = Pretraining::default().then.tunes, value_parser = whole::<usize>, allow_negative_numbers = true)]
    melodies: usize,
    /// Rounds of clips of all melodies
    #[arg(long, value_name = "N", default_value_t = Pretraining::default().then.rounds, value_parser = whole::<usize>, allow_negative_numbers = true)]
    rounds: usize,
    /// Melodies to begin with: many at once do not get going
    #[arg(long, value_name = "N", default_value_t = Pretraining::default().first.tunes, value_parser = whole::<usize>, allow_negative_numbers = true)]
    first_melodies: usize,
    /// Rounds of clips of these
    #[arg(long, value_name = "N", default_value_t = Pretraining::default().first.rounds, value_parser = whole::<usize>, allow_negative_numbers = true)]
    first_rounds: usize,
    /// Singers of each built-in tune whom the last layer is made of
    #[arg(long, value_name = "N", default_value_t = Pretraining::default().singers, value_parser = whole::<usize>, allow_negative_numbers = true)]
    singers: usize,
    /// auto, cpu, gpu or gpu:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
}

/// How often a line tells how far it has come.
const EVERY: Duration = Duration::from_secs(10);

pub fn run(args: Args) -> Result<()> {
    super::go_on_without_reader();
    let work = Pretraining {
        seed: args.seed,
        first: Stage { tunes: args.first_melodies, rounds: args.first_rounds },
        then: Stage { tunes: args.melodies, rounds: args.rounds },
        singers: args.singers,
        ..Pretraining::default()
    };
    work.check()?;
    // An hour's work must not be lost for a folder that is not there.
    if args.out.is_dir() {
        return Err(Error::file(&args.out, "is a folder; name the file to make"));
    }
    let folder = args.out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    tempfile::tempfile_in(folder).map_err(|e| Error::file(folder, format!("cannot be written to: {e}")))?;
    let device = Device::choose(super::device(&args.device)?)?;
    entry("computed on", &device)?;
    entry("singers", (work.first.rounds + work.then.rounds) * work.clips)?;
    entry("clips to train on", work.work())?;
    let mut said: Option<Instant> = None;
    let made = pretrain(&work, &device, &mut |round| {
        if round.round < round.of && said.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        said = Some(Instant::now());
        let pace = round.done * work.work() as f64 / round.seconds;
        let left = round.seconds / round.done * (1.0 - round.done);
        // A reader that has gone must not end a long training run.
        let _ = say(format!(
            "stage {}, round {}/{}: loss {:.3}, {:.1} % right, {pace:.0} clips/s, {} left",
            round.stage,
            round.round,
            round.of,
            round.loss,
            100.0 * round.accuracy,
            duration(left)
        ));
    })?;
    made.model.write_halved(&args.out)?;
    entry(
        "built-in tunes",
        format!("{:.1} % of {} clips of other singers", 100.0 * made.metrics.accuracy, made.metrics.clips),
    )?;
    entry("model", args.out.display())
}
