//! `humdinger train`.

use super::{say, warn};
use crate::device::Device;
use crate::train::report::duration;
use crate::train::run::{Ending, default_folder, run};
use crate::train::tables::EpochRow;
use crate::train::trainer::{Outcome, Start, Watch, files};
use crate::train::{Config, Recipe, Settings, Variation, source};
use crate::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Train a classifier, on recordings of one's own or on built-in synthetic ones.
///
/// Recordings are a folder with a sub-folder for each song, files named S<person>_<hum|whistle>_<take>_<Song>.wav, or a CSV
/// file that lists files and songs. Without --data, humdinger makes recordings of its own.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder or CSV file of recordings [default: made here]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// How to hear and learn [default: melody]
    #[arg(long, value_parser = super::recipe)]
    recipe: Option<Recipe>,
    /// auto, cpu, gpu or gpu:N [default: auto]
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Passes over the recordings [default: 200 for notebook; 60 for melody with 400 clips to train on, more for fewer]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Clips in each step [default: 16 for melody, 4 for notebook]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// The highest learning rate [default: 0.004 for melody, 0.001 for notebook]
    #[arg(long, value_name = "X")]
    learning_rate: Option<f64>,
    /// Everything random is drawn from this [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What keeps clips on one side: person, random, or column:NAME of the CSV file [default: person, where known]
    #[arg(long, value_name = "HOW")]
    split: Option<String>,
    /// Share of the clips that validate [default: 0.2]
    #[arg(long, value_name = "X")]
    val_fraction: Option<f64>,
    /// Cross-validate: train K models, each validated on another part
    #[arg(long, value_name = "K", conflicts_with = "val_fraction")]
    folds: Option<usize>,
    /// Weights to begin with: a model, or a PyTorch state saved with safetensors
    #[arg(long, value_name = "WEIGHTS")]
    init: Option<PathBuf>,
    /// Go on with an interrupted run
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "config", "init"])]
    resume: Option<PathBuf>,
    /// The run folder to make [default: runs/<time>-<recipe>]
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// No random variation of the training clips
    #[arg(long)]
    no_augment: bool,
    /// Kinds of variation to leave out, separated by commas: key, tempo, masks, parts
    #[arg(long, value_name = "KIND,..", value_delimiter = ',', value_parser = Variation::from_str)]
    without: Vec<Variation>,
    /// Train in order of file name in every epoch
    #[arg(long)]
    no_shuffle: bool,
    /// Outputs of the network [default: as many as songs]
    #[arg(long, value_name = "N")]
    outputs: Option<usize>,
    /// Settings from a TOML file, such as a run folder's config.toml; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A path that means the same from any folder, so that a run can be resumed from elsewhere.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

impl Args {
    fn settings(&self) -> Settings {
        Settings {
            data: self.data.clone().map(absolute),
            recipe: self.recipe,
            device: self.device.clone(),
            epochs: self.epochs,
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            weight_decay: None,
            label_smoothing: None,
            seed: self.seed,
            split: self.split.clone(),
            val_fraction: self.val_fraction,
            folds: self.folds,
            augment: self.no_augment.then_some(false),
            without: (!self.without.is_empty()).then(|| self.without.clone()),
            shuffle: self.no_shuffle.then_some(false),
            outputs: self.outputs,
            init: self.init.clone().map(absolute),
        }
    }
}

pub fn run_command(args: Args) -> Result<ExitCode> {
    let mut epochs_given = true;
    let (mut config, out, start) = match &args.resume {
        Some(folder) => {
            let config = resumed(folder, &args)?;
            (config, folder.clone(), Start::Resume)
        }
        None => {
            let file = args.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
            let settings = args.settings().or(file);
            epochs_given = settings.epochs.is_some();
            let config = settings.resolve()?;
            let out = args.out.clone().unwrap_or_else(|| default_folder(&config));
            (config, out, Start::New)
        }
    };
    let choice = config.device.parse()?;
    if config.init.as_ref().is_some_and(|path| !path.is_file()) && start == Start::New {
        return Err(Error::file(config.init.unwrap_or_default(), "no such file"));
    }
    let data = source::dataset(&config, &|text| warn(text))?;
    if !epochs_given {
        let clips = source::splits(&config, &data)?.iter().map(|split| split.train.len()).max();
        config.epochs = config.recipe.epochs(clips.unwrap_or(0));
    }
    let device = Device::choose(choice)?;
    for (name, value) in config.table() {
        say(format!("  {name:<18} {value}"))?;
    }
    say(format!("  {:<18} {device}", "computed on"))?;
    let all: Vec<usize> = (0..data.clips.len()).collect();
    let people = match source::people(&data, &all) {
        0 => String::new(),
        people => format!(", {people} people"),
    };
    say(format!("  {:<18} {} clips, {} songs{people}", "recordings", data.clips.len(), data.classes.len()))?;
    say(format!("  {:<18} {}\n", "run folder", out.display()))?;
    let stop = listen()?;
    let mut watch = Terminal::default();
    let ending = run(&config, &data, &device, &out, start, &stop, &mut watch);
    watch.clear();
    match ending? {
        Ending::Single(outcome) if outcome.finished => {
            summary(&outcome, &out)?;
            Ok(ExitCode::SUCCESS)
        }
        Ending::Single(outcome) => {
            stopped(&format!("step {}", outcome.steps), &out)?;
            Ok(ExitCode::from(130))
        }
        Ending::StoppedInFold(fold) => {
            stopped(&format!("fold {fold}"), &out)?;
            Ok(ExitCode::from(130))
        }
        Ending::Folds(folds) => {
            say(format!(
                "\naccuracy {:.2} % +- {:.2} (mean and standard deviation of {} folds); all clips together {:.2} %, \
                 baseline {:.2} %, calibration error {:.3}",
                100.0 * folds.accuracy.0,
                100.0 * folds.accuracy.1,
                folds.folds.len(),
                100.0 * folds.pooled.accuracy,
                100.0 * folds.pooled.baseline,
                folds.pooled.calibration_error
            ))?;
            say(format!("report: {}", out.join(files::REPORT).display()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The configuration of a run folder. Flags may repeat it, but only the device may differ.
fn resumed(folder: &Path, args: &Args) -> Result<Config> {
    let file = folder.join(files::CONFIG);
    if !folder.is_dir() {
        return Err(Error::file(folder, "no such run folder"));
    }
    let text = std::fs::read_to_string(&file)
        .map_err(|e| Error::file(folder, format!("is not a run folder: {} cannot be read: {e}", files::CONFIG)))?;
    let of_run = Settings::parse(&text).map_err(|detail| Error::file(&file, detail))?;
    let before = of_run.clone().resolve()?;
    let config = args.settings().or(of_run).resolve()?;
    let different = before.differences(&config);
    if !different.is_empty() {
        let detail = format!("the run has another {}; only --device may change", different.join(", "));
        return Err(Error::usage("--resume", detail));
    }
    Ok(config)
}

/// A flag that Ctrl-C sets. A second Ctrl-C ends the process at once.
fn listen() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        warn("stopping after this step; once more to stop at once");
    })
    .map_err(|e| Error::Data(format!("Ctrl-C cannot be listened for: {e}")))?;
    Ok(stop)
}

fn summary(outcome: &Outcome, out: &Path) -> Result<()> {
    if let Some(metrics) = &outcome.metrics {
        say(format!(
            "\nvalidation accuracy {:.1} % over {} clips (baseline {:.1} %: always the most frequent song), loss {:.3}",
            100.0 * metrics.accuracy,
            metrics.clips,
            100.0 * metrics.baseline,
            metrics.loss
        ))?;
    } else if let Some(row) = outcome.rows.last() {
        say(format!(
            "\ntraining accuracy {:.1} %, loss {:.3}; nothing was held back to validate on",
            100.0 * row.train_accuracy,
            row.train_loss
        ))?;
    }
    let seconds = outcome.rows.iter().map(|row| row.seconds).sum();
    say(format!("model:  {}", out.join(files::MODEL).display()))?;
    say(format!("report: {}   ({} of training)", out.join(files::REPORT).display(), duration(seconds)))
}

fn stopped(at: &str, out: &Path) -> Result<()> {
    say(format!("\nstopped at {at}. To go on:\n  humdinger train --resume {}", out.display()))
}

/// A progress bar on standard error where that is a terminal, a line per epoch on standard output.
#[derive(Default)]
struct Terminal {
    bar: Option<ProgressBar>,
}

impl Terminal {
    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Terminal {
    fn note(&mut self, text: &str) {
        self.clear();
        // A reader that has gone must not end a long training run.
        let _ = say(text);
    }

    fn step(&mut self, epoch: usize, done: usize, of: usize, loss: f32) {
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(of as u64);
            let style = ProgressStyle::with_template("{prefix} {bar:40.cyan/blue} {pos}/{len} clips  {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        bar.set_prefix(format!("epoch {epoch:>4}"));
        bar.set_position(done as u64);
        bar.set_message(format!("loss {loss:.3}"));
    }

    fn epoch(&mut self, row: &EpochRow, of: usize) {
        self.clear();
        let width = of.to_string().len();
        let validation = match (row.val_loss, row.val_accuracy) {
            (Some(loss), Some(accuracy)) => format!("  val loss {loss:.3}  val acc {:5.1} %", 100.0 * accuracy),
            _ => String::new(),
        };
        let _ = say(format!(
            "epoch {:>width$}/{of}  loss {:.3}  acc {:5.1} %{validation}  lr {:.1e}  {:.1} s  {:.0} clips/s",
            row.epoch,
            row.train_loss,
            100.0 * row.train_accuracy,
            row.learning_rate,
            row.seconds,
            row.clips_per_second
        ));
    }
}
