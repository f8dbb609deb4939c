//! `humdinger train`.

use super::outcome::{folds_summary, summary};
use super::signals::stop_flag;
use super::synth::recordings;
use super::terminal::{Terminal, entry, say};
use super::{task, warn, whole};
use crate::data::Dataset;
use crate::data::labels::ColumnNames;
use crate::data::split::SplitBy;
use crate::device::{Device, DeviceChoice};
use crate::train::fit::Quiet;
use crate::train::folder::RunFolder;
use crate::train::recipe::Defaults;
use crate::train::run::{self, Ending, default_folders};
use crate::train::suit::Chosen;
use crate::train::trainer::Start;
use crate::train::{Config, Init, Recipe, Settings, Variation, source};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

/// Train a classifier, on recordings of one's own or on built-in synthetic ones.
///
/// Recordings are a folder with a sub-folder for each song, files named S<person>_<hum|whistle>_<take>_<Song>.wav, or a CSV
/// file that lists files and songs. Without --data, humdinger makes recordings of its own.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder or CSV file of recordings [default: made here]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Instead of recordings, songs for synthetic singers: files and folders of melodies, as `catalogue make` reads them, or built-in
    /// tunes by name, separated by commas. Their recordings are kept in the cache, where --resume finds them; if they are gone,
    /// --resume with the same --tunes makes them again
    #[arg(long, value_name = "PATH,..", value_delimiter = ',', conflicts_with = "data")]
    tunes: Vec<String>,
    /// Synthetic singers for each of --tunes [default: 100, fewer for more than 120 tunes]
    #[arg(long, value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true, requires = "tunes")]
    singers: Option<usize>,
    /// The network and how it is trained [default: melody]
    #[arg(long, value_parser = super::recipe)]
    recipe: Option<Recipe>,
    /// auto, cpu, gpu or gpu:N [default: auto]
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Passes over the recordings [default: 200 for notebook; for melody from the base model on 6 to 100, from
    /// nothing 120 with 400 clips to train on, more for fewer, at least 90]
    #[arg(long, value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true)]
    epochs: Option<usize>,
    #[arg(long, help = by_recipe("Clips in each step", |d| d.batch_size as f64, "; 4 from the base model on with 20 to 99 clips to train on"), value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true)]
    batch_size: Option<usize>,
    #[arg(long, help = by_recipe("The highest learning rate", |d| d.learning_rate, ""), value_name = "X", allow_negative_numbers = true)]
    learning_rate: Option<f64>,
    /// Everything random is drawn from this; env takes the number of a job of a Slurm array (from 1) or of an indexed job of
    /// Kubernetes [default: 1]
    #[arg(long, value_name = "N", value_parser = task::whole::<u64>, allow_negative_numbers = true)]
    seed: Option<u64>,
    /// What keeps clips on one side: person, name (as in anna-1.wav), random, or column:NAME of the CSV file [default: person,
    /// where known, else random]
    #[arg(long, value_name = "HOW")]
    split: Option<String>,
    /// The same as --split column:NAME
    #[arg(long, value_name = "NAME", conflicts_with = "split")]
    split_column: Option<String>,
    /// Share of the clips that validate [default: 0.2]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    val_fraction: Option<f64>,
    /// Cross-validate: train K models, each validated on another part
    #[arg(long, value_name = "K", value_parser = whole::<usize>, allow_negative_numbers = true, conflicts_with = "val_fraction")]
    folds: Option<usize>,
    /// Train only the k-th of the folds, into the folder fold-k of --out, so that several jobs train one each; env takes the number of
    /// the job. `humdinger folds merge` puts them together
    #[arg(long, value_name = "K", value_parser = task::whole::<usize>, allow_negative_numbers = true, requires = "out", conflicts_with = "resume")]
    fold: Option<usize>,
    /// Weights to begin with: a model, a PyTorch state saved with safetensors, base (the model that comes with the program) or
    /// none [default: base for melody, none for notebook]
    #[arg(long, value_name = "WEIGHTS")]
    init: Option<PathBuf>,
    /// Stop after N epochs without a better model; 0 never does [default: 10 from the base model on, but
    /// 0 where --epochs says how many, and for other weights]
    #[arg(long, value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true)]
    patience: Option<usize>,
    /// Blocks of the network, from the first on, that stay as they begin [default: 5 of melody's 6 from
    /// the base model on with fewer than 20 clips to train on, else 0]
    #[arg(long, value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true)]
    frozen: Option<usize>,
    /// Whether batch norm keeps the statistics that it begins with [default: true from the base model on with 20 to 99 clips
    /// to train on, else false]
    #[arg(long, value_name = "BOOL")]
    frozen_norms: Option<bool>,
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
    /// Go over clips of rare songs several times in an epoch, so that all songs come about as often
    #[arg(long)]
    balance: bool,
    /// Train in order of file name in every epoch
    #[arg(long)]
    no_shuffle: bool,
    /// Outputs of the network [default: as many as songs]
    #[arg(long, value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true)]
    outputs: Option<usize>,
    /// Settings from a TOML file, such as a run folder's config.toml; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Embed the clips that the report plays, so that it can be shared without the recordings
    #[arg(long)]
    embed_audio: bool,
    #[command(flatten)]
    columns: super::ColumnArgs,
    #[command(flatten)]
    reading: super::ReadingArgs,
}

/// The help of an option whose default is the recipe's, and `more` about it.
fn by_recipe(text: &str, value: impl Fn(&Defaults) -> f64, more: &str) -> String {
    let defaults = Recipe::ALL.map(|recipe| format!("{} for {recipe}", value(&recipe.defaults())));
    format!("{text} [default: {}{more}]", defaults.join(", "))
}

/// A path that means the same from any folder, so that a run can be resumed from elsewhere.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// The same for weights, where they are a file's.
fn absolute_init(path: PathBuf) -> PathBuf {
    match Init::of(path) {
        Init::File(path) => absolute(path),
        word => word.path(),
    }
}

impl Args {
    fn settings(&self) -> Settings {
        Settings {
            data: self.data.clone().map(absolute),
            columns: Some(ColumnNames::from(self.columns.clone())).filter(|names| !names.is_empty()),
            recipe: self.recipe,
            device: self.device.clone(),
            epochs: self.epochs,
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            weight_decay: None,
            label_smoothing: None,
            seed: self.seed,
            split: self.split.clone().or_else(|| self.split_column.as_ref().map(|name| format!("column:{name}"))),
            val_fraction: self.val_fraction,
            folds: self.folds,
            augment: self.no_augment.then_some(false),
            without: (!self.without.is_empty()).then(|| self.without.clone()),
            parts: None,
            balance: self.balance.then_some(true),
            shuffle: self.no_shuffle.then_some(false),
            outputs: self.outputs,
            init: self.init.clone().map(absolute_init),
            patience: self.patience,
            frozen: self.frozen,
            frozen_norms: self.frozen_norms,
            embed_audio: self.embed_audio.then_some(true),
        }
    }
}

pub fn run_command(args: Args) -> Result<ExitCode> {
    super::go_on_without_reader();
    if let (Some(number), Some(out)) = (args.fold, &args.out) {
        return one_fold(&args, out, number);
    }
    #[cfg(feature = "mpi")]
    if let Some(code) = super::ranks::run(&args)? {
        return Ok(code);
    }
    #[cfg(not(feature = "mpi"))]
    refuse_company()?;
    go(&Begun::new(&args, Device::choose)?, false)
}

/// Several processes without MPI would all train the same.
#[cfg(not(feature = "mpi"))]
fn refuse_company() -> Result<()> {
    for launcher in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"] {
        let size = std::env::var(launcher).ok().and_then(|size| size.parse::<usize>().ok());
        if let Some(size) = size.filter(|&size| size > 1) {
            let detail = format!(
                "says that {size} processes train together, and this humdinger was built without its feature `mpi`; \
                 build it with `--features mpi`, or start it alone"
            );
            return Err(Error::usage(launcher, detail));
        }
    }
    Ok(())
}

/// A run that can go ahead.
pub(super) struct Begun {
    config: Config,
    data: Dataset,
    device: Device,
    /// What each of several ranks computes on, where these have GPUs of their own.
    ranks: Vec<String>,
    folder: RunFolder,
    start: Start,
}

/// A run of which nothing is known to be wrong before its recordings are read.
pub(super) struct Planned {
    config: Config,
    chosen: Chosen,
    choice: DeviceChoice,
    resumed: Option<RunFolder>,
    start: Start,
}

impl Planned {
    /// The run that the arguments ask for.
    pub fn new(args: &Args) -> Result<Self> {
        let resumed = args.resume.as_deref().map(RunFolder::open).transpose()?;
        let (mut config, chosen, start) = match &resumed {
            Some(folder) => {
                let (config, start) = of_run(folder.path(), args)?;
                (config, Chosen::ALL, start)
            }
            None => {
                let (config, chosen) = given(args)?;
                (config, chosen, Start::New)
            }
        };
        // Mistakes that can be found without the recordings are reported before these are read.
        let choice = super::device(&config.device)?;
        match (&resumed, &args.out) {
            (Some(folder), _) => run::check_unfinished(folder.path(), &config, start)?,
            (None, Some(out)) => RunFolder::check_free(out)?,
            (None, None) => {}
        }
        there(resumed.is_none(), &config)?;
        config.data = recordings((&args.tunes, args.singers), &config, resumed.is_some())?;
        Ok(Self { config, chosen, choice, resumed, start })
    }

    /// The same with its recordings: device chosen, folder made or found.
    pub fn begin(
        self,
        args: &Args,
        data: Dataset,
        choose: impl FnOnce(DeviceChoice) -> Result<Device>,
    ) -> Result<Begun> {
        let Self { mut config, chosen, choice, resumed, start } = self;
        let device = fitted(&mut config, &data, chosen, resumed.is_none(), || choose(choice))?;
        let folder = match (resumed, &args.out) {
            (Some(folder), _) => folder,
            (None, Some(out)) => RunFolder::create(out)?,
            (None, None) => RunFolder::create_first(default_folders(&config))?,
        };
        Ok(Begun { config, data, device, ranks: Vec::new(), folder, start })
    }

    /// What other ranks need to know to read the recordings. Those that the program makes are there now.
    #[cfg(feature = "mpi")]
    pub fn to_text(&self) -> Result<String> {
        if self.config.data.is_none() {
            source::synthetic(self.config.seed, &|text| warn(text))?;
        }
        self.config.to_toml()
    }
}

/// The recordings of a run that rank 0 has planned, of which every rank reads a share.
#[cfg(feature = "mpi")]
pub(super) fn read_together(text: &[u8], args: &Args, ranks: &dyn crate::ranks::Communicator) -> Result<Dataset> {
    let config = parsed(&String::from_utf8_lossy(text))?;
    let say = |text: &str| {
        if ranks.rank() == 0 {
            warn(text)
        }
    };
    source::dataset_among(&config, args.reading.into(), Some(ranks), &say)
}

/// A configuration that another rank tells.
#[cfg(feature = "mpi")]
fn parsed(text: &str) -> Result<Config> {
    Settings::parse(text).map_err(|detail| Error::usage("config.toml", detail))?.resolve()
}

impl Begun {
    /// The run that the arguments ask for: recordings read, device chosen, folder made or found.
    pub fn new(args: &Args, choose: impl FnOnce(DeviceChoice) -> Result<Device>) -> Result<Self> {
        let planned = Planned::new(args)?;
        let data = source::dataset(&planned.config, args.reading.into(), &|text| warn(text))?;
        planned.begin(args, data, choose)
    }

    /// What other ranks need to know to begin the same run: the folder, whether it is gone on with, and the configuration.
    #[cfg(feature = "mpi")]
    pub fn to_text(&self) -> Result<String> {
        let resume = self.start != Start::New;
        Ok(format!("{}\n{resume}\n{}", self.folder.path().display(), self.config.to_toml()?))
    }

    /// The run that another rank has begun.
    #[cfg(feature = "mpi")]
    pub fn of_another(text: &[u8], data: Dataset, choose: impl FnOnce(DeviceChoice) -> Result<Device>) -> Result<Self> {
        let text = String::from_utf8_lossy(text);
        let mut lines = text.splitn(3, '\n');
        let (out, resume, config) =
            (lines.next().unwrap_or_default(), lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let config = parsed(config)?;
        let device = choose(super::device(&config.device)?)?;
        let start = if resume == "true" { Start::Resume } else { Start::New };
        let folder = RunFolder::of_another(Path::new(out));
        Ok(Self { config, data, device, ranks: Vec::new(), folder, start })
    }

    /// The GPU that this process computes on, where it does.
    #[cfg(feature = "mpi")]
    pub fn gpu(&self) -> Option<String> {
        self.device.gpu().map(|gpu| gpu.adapter().to_string())
    }

    /// The same run, telling what each of the ranks computes on.
    #[cfg(feature = "mpi")]
    pub fn with_ranks(self, ranks: Vec<String>) -> Self {
        Self { ranks, ..self }
    }
}

/// Trains, and tells of it, or does so quietly where another rank tells.
pub(super) fn go(Begun { config, data, device, ranks, folder, start }: &Begun, quietly: bool) -> Result<ExitCode> {
    let out = folder.path();
    if !quietly && !super::is_quiet() {
        begins(config, data, device, ranks, out)?;
    }
    let stop = stop_flag(quietly)?;
    let mut watch = Terminal::new(config);
    let ending = if quietly {
        run::run(config, data, device, folder, *start, &stop, &mut Quiet)
    } else {
        run::run(config, data, device, folder, *start, &stop, &mut watch)
    };
    watch.clear();
    let ending = ending?;
    if quietly {
        let complete = matches!(&ending, Ending::Folds(_)) || matches!(&ending, Ending::Single(one) if one.finished);
        return Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(130) });
    }
    match ending {
        Ending::Single(outcome) if outcome.finished => {
            summary(&outcome, &names(config, data)?, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Ending::Single(outcome) => {
            stopped(&format!("step {}", outcome.steps), out)?;
            Ok(ExitCode::from(130))
        }
        Ending::StoppedInFold(fold) => {
            stopped(&format!("fold {fold}"), out)?;
            Ok(ExitCode::from(130))
        }
        Ending::Folds(folds) => folds_summary(&folds, out).map(|()| ExitCode::SUCCESS),
    }
}

/// Whether what a `new` run begins with is there.
fn there(new: bool, config: &Config) -> Result<()> {
    if let (true, Init::File(init)) = (new, &config.init) {
        std::fs::metadata(init).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::file(init, "no such file"),
            _ => Error::file(init, format!("cannot be read: {e}")),
        })?;
    }
    Ok(())
}

/// Finishes a run's configuration for its recordings, and chooses its device; what a `new` run cannot do is reported as early as possible.
fn fitted(
    config: &mut Config,
    data: &Dataset,
    chosen: Chosen,
    new: bool,
    choose: impl FnOnce() -> Result<Device>,
) -> Result<Device> {
    if let (true, Some(note)) = (new, source::note_on_names(config, data)) {
        warn(&note);
    }
    source::suit(config, data, chosen)?;
    let device = choose()?;
    if new {
        run::check(config, data)?;
    }
    Ok(device)
}

/// Trains one fold of a cross-validation that other jobs train the other folds of, or goes on with it.
fn one_fold(args: &Args, out: &Path, number: usize) -> Result<ExitCode> {
    let (mut config, chosen) = given(args)?;
    let choice = super::device(&config.device)?;
    run::check_fold(&config, Some(number))?;
    there(true, &config)?;
    config.data = recordings((&args.tunes, args.singers), &config, false)?;
    let data = source::dataset(&config, args.reading.into(), &|text| warn(text))?;
    let device = fitted(&mut config, &data, chosen, true, || Device::choose(choice))?;
    let inner = run::fold_folder(out, number);
    if !super::is_quiet() {
        begins(&config, &data, &device, &[], &inner)?;
    }
    let stop = stop_flag(false)?;
    let mut watch = Terminal::new(&config);
    let outcome = run::fold(&config, &data, &device, out, number, &stop, &mut watch);
    watch.clear();
    let outcome = outcome?;
    if outcome.finished {
        summary(&outcome, &names(&config, &data)?, &inner)?;
        return Ok(ExitCode::SUCCESS);
    }
    say(format!("\nstopped after step {}; the same command goes on with it", outcome.steps))?;
    Ok(ExitCode::from(130))
}

/// The names of the network's outputs.
fn names(config: &Config, data: &Dataset) -> Result<Vec<String>> {
    Ok(source::names(data, source::outputs(config, data)?))
}

/// What a run is about to do.
fn begins(config: &Config, data: &Dataset, device: &Device, ranks: &[String], out: &Path) -> Result<()> {
    for (name, value) in config.table() {
        entry(name, value)?;
    }
    entry("computed on", device)?;
    ranks.iter().enumerate().try_for_each(|(rank, on)| entry(&format!("rank {rank} on"), on))?;
    let all: Vec<usize> = (0..data.clips.len()).collect();
    let people = match source::people(data, &all) {
        0 => String::new(),
        people => format!(", {people} people"),
    };
    entry("recordings", format!("{} clips, {} songs{people}", data.clips.len(), data.classes.len()))?;
    entry("run folder", format!("{}\n", out.display()))
}

/// The configuration of a new run: flags, then the file, then the defaults; and what of it was given.
fn given(args: &Args) -> Result<(Config, Chosen)> {
    let mut file = args.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
    // So that the run can be resumed from another folder.
    (file.data, file.init) = (file.data.map(absolute), file.init.map(absolute_init));
    if args.val_fraction.is_some() {
        // A share on the command line takes precedence over folds in the configuration file.
        file.folds = None;
    }
    let settings = args.settings().or(file);
    let chosen = Chosen::of(&settings);
    let config = settings.resolve()?;
    let by_column = config.split.as_deref().is_some_and(|by| matches!(by.parse(), Ok(SplitBy::Column(_))));
    if args.val_fraction.is_some() && by_column {
        return Err(Error::usage("--val-fraction", "a split by column has its own share; leave one of the two out"));
    }
    Ok((config, chosen))
}

/// The configuration of a run folder, and how the run goes on. Flags may repeat it; the device may differ, and the number of epochs.
fn of_run(folder: &Path, args: &Args) -> Result<(Config, Start)> {
    let of_run = run::settings_of(folder)?;
    let before = of_run.clone().resolve()?;
    let config = args.settings().or(of_run).resolve()?;
    let different = before.differences(&config);
    // Folds are trained one after the other, each to its end.
    if different == ["epochs"] && config.folds.is_none() {
        return Ok((config, Start::Longer));
    }
    if !different.is_empty() {
        let detail = format!(
            "the run began with other settings ({}); only --device, --embed-audio and, without folds, --epochs may change",
            different.join(", ")
        );
        return Err(Error::usage("--resume", detail));
    }
    Ok((config, Start::Resume))
}

fn stopped(at: &str, out: &Path) -> Result<()> {
    // Quoted where a shell would take it for several words.
    let plain = |c: char| c.is_alphanumeric() || "/\\:._-+".contains(c);
    let out = out.display().to_string();
    let out = if out.chars().all(plain) { out } else { format!("'{out}'") };
    say(format!("\nstopped at {at}. To go on:\n  humdinger train --resume {out}"))
}
