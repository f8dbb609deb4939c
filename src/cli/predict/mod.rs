//! `humdinger predict`.

mod explain;
mod files;
pub(super) mod live;
pub(super) mod long;
mod out;
mod rows;
pub(super) mod sent;

use super::{plain, warn};
use crate::audio::{self, Audio};
use crate::data::dataset::progress_bar;
use crate::data::find::LeftOut;
use crate::data::reader::{decode_whole, load_file};
use crate::data::{Clip, LoadOptions};
use crate::device::Device;
use crate::error::counted;
use crate::train::base;
use crate::train::listen::Listening;
use crate::train::model::{Header, Model};
use crate::train::predict::{Predictor, mean_vector};
use crate::train::source::Reading;
use crate::train::verdict::{Decision, Threshold};
use crate::{Error, Result};
use clap::ValueEnum;
use indicatif::ProgressBar;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub(super) use files::{Found, sound_files};

use explain::{Known, occlude};
use files::NotRead;
use live::{Live, RawArgs};
use long::{Cutter, LONG, Listened, Pieces, listen};
use out::{Done, To};
use rows::{Answer, LongAnswer, Printer, Style};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for people
    Table,
    /// A line per recording
    Csv,
    /// A list of objects
    Json,
    /// An object in a line for each recording; of standard input, for each passage when it is decided
    Jsonl,
    /// A label track: start, end and song, separated by tabs; of every window, in long recordings of every passage
    Audacity,
}

/// Which recordings get passages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Standard input, and recordings that are longer than four of the model's windows
    Auto,
    /// All
    Always,
    /// None: every recording gets one answer
    Never,
}

/// Name the songs in recordings.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file, or the folder of a run [default: the base model that comes with the program, which names the built-in tunes]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Sound files, or folders of them; - for standard input, which is answered while it comes
    #[arg(value_name = "PATH", required_unless_present_any = ["tunes", "microphone"])]
    paths: Vec<PathBuf>,
    /// List the tunes that are named without --model, and stop
    #[arg(long, conflicts_with_all = ["model", "paths"])]
    tunes: bool,
    /// How many of the likeliest songs to list
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = super::whole::<usize>, allow_negative_numbers = true)]
    top: usize,
    /// Below this confidence the answer is "unknown" [default: what the model was stored with]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    min_confidence: Option<f64>,
    /// Form of the answer [default: by --out's ending, else table]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Go on with the file of a run that was broken: recordings that have their rows in it are passed over
    #[arg(long, requires = "out")]
    skip_done: bool,
    /// Only the i-th of n parts of the recordings, for several machines; env/n takes the number of a job of a Slurm array (from 1) or
    /// of an indexed job of Kubernetes
    #[arg(long, value_name = "I/N", value_parser = super::task::shard)]
    shard: Option<(usize, usize)>,
    /// Also say how sure the model is without each second of a recording: where the answer comes from
    #[arg(long)]
    explain: bool,
    /// Also list the recordings of this folder or CSV file, such as those of the training, whose embeddings are nearest
    #[arg(long, value_name = "DATA")]
    nearest: Option<PathBuf>,
    /// auto, cpu, gpu or gpu:N; auto is the CPU here, which is done before a GPU is opened
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Look at all of a long recording, for a model that is given only its beginning unless asked
    #[arg(long)]
    all_windows: bool,
    /// Look for decoded recordings in the user's cache, and keep there what is decoded now
    #[arg(long, conflicts_with = "no_cache")]
    cache: bool,
    #[command(flatten)]
    passages: PassageArgs,
    #[command(flatten)]
    raw: RawArgs,
    #[command(flatten)]
    live: Live,
    #[command(flatten)]
    reading: super::ReadingArgs,
}

/// How passages are found in long recordings.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Passages of long recordings")]
struct PassageArgs {
    /// Which recordings get passages, each with its start, end and song, instead of one answer
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Which::Auto)]
    passages: Which,
    /// The part of a window that the next one shows again, from 0 to 0.95: more finds more, and takes longer
    #[arg(long, value_name = "X", default_value_t = OVERLAP, allow_negative_numbers = true)]
    overlap: f64,
    /// Seconds of the shortest passage
    #[arg(long, value_name = "SECONDS", default_value_t = LEAST_SECONDS, allow_negative_numbers = true)]
    min_duration: f64,
    /// Write the passages as WAV files there, a folder for each song, to listen to and to train on
    #[arg(long, value_name = "FOLDER")]
    cut: Option<PathBuf>,
}

/// How passages are looked for unless asked otherwise: the part of a window that the next one shows again, and the seconds of the
/// shortest passage.
const OVERLAP: f64 = 0.75;
const LEAST_SECONDS: f64 = 3.0;
/// Of more recordings than this the progress is shown.
const FEW: usize = 64;

pub fn run(args: Args) -> Result<()> {
    if args.tunes {
        return base::model()?.header.classes.iter().try_for_each(super::say);
    }
    check(&args)?;
    let choice = crate::cli::device(&args.device)?;
    let (input, paths): (Vec<_>, Vec<_>) = args.paths.iter().cloned().partition(|path| path.as_os_str() == "-");
    let (mut files, left_out) = sound_files(&paths, args.reading.strict)?;
    files.extend(input.into_iter().take(1).map(|path| Found { path, named: true }));
    if args.live.is_wanted() {
        files.push(Found { path: "microphone".into(), named: true });
    }
    let (files, left_out) = match args.shard {
        Some(part) => shard_of(files, left_out, part),
        None => (files, left_out),
    };
    let device = Device::choose_for_little(choice)?;
    let mut predictor = match &args.model {
        Some(path) => Predictor::new(Model::read(path)?, path, &device)?,
        None => built_in(&device)?,
    };
    let header = predictor.model.header.clone();
    let names = header.names();
    let threshold = Threshold {
        value: args.min_confidence.unwrap_or(header.unknown_threshold),
        of_model: args.min_confidence.is_none(),
    };
    let format = format(&args);
    let style = Style { format, several: files.len() > 1, names: &names, threshold, top: args.top };
    let first_only = first_only(&args, &header);
    let known = match &args.nearest {
        Some(data) => Some(Known::read(&mut predictor, data, first_only, Reading::from(args.reading))?),
        None => None,
    };
    let (to, done) = match &args.out {
        None => (To::Standard, Done::default()),
        Some(path) if args.skip_done => To::go_on(path, format, &style.head(), threshold.value)?,
        Some(path) => (To::new_file(path, format)?, Done::default()),
    };
    let (before, skipped) = (files.len(), done.files);
    let files: Vec<Found> =
        files.into_iter().filter(|file| !skipped.contains(&file.path.display().to_string())).collect();
    if args.skip_done {
        warn(&format!("{} of {} are in the file already", before - files.len(), counted(before, "recording")));
    }
    let cutter = args.passages.cut.as_deref().map(Cutter::new).transpose()?;
    Answering {
        predictor: &mut predictor,
        printer: Printer::new(&style, to, done.headed),
        style: &style,
        cutter,
        known,
        skipped,
        args: &args,
        bar: progress_bar(files.len(), "reading recordings", files.len() > FEW || args.out.is_some()),
        answered: 0,
    }
    .run(&files, &left_out)
}

/// What is asked for, else what the file's name says.
fn format(args: &Args) -> Format {
    let ending = args.out.as_ref().and_then(|out| out.extension()).map(|end| end.to_ascii_lowercase());
    let by_ending = match ending.as_ref().and_then(|end| end.to_str()) {
        Some("csv") => Format::Csv,
        Some("json") => Format::Json,
        Some("jsonl" | "ndjson") => Format::Jsonl,
        _ => Format::Table,
    };
    args.format.unwrap_or(by_ending)
}

/// One part of the recordings, those that are left out among them.
fn shard_of(files: Vec<Found>, left_out: Vec<NotRead>, (part, parts): (usize, usize)) -> (Vec<Found>, Vec<NotRead>) {
    let mut number = 0;
    let mut mine = || {
        number += 1;
        (number - 1) % parts == part - 1
    };
    let files = files.into_iter().filter(|_| mine()).collect();
    let left_out = left_out.into_iter().map(|(folder, reasons)| {
        let part = |reason: LeftOut| LeftOut { files: reason.files.into_iter().filter(|_| mine()).collect(), ..reason };
        (folder, reasons.into_iter().map(part).filter(|reason| !reason.files.is_empty()).collect())
    });
    (files, left_out.collect())
}

/// What can be said before anything is read.
fn check(args: &Args) -> Result<()> {
    if args.top == 0 {
        return Err(Error::usage("--top", "0 songs are no answer; at least 1"));
    }
    if let Some(least) = args.min_confidence.filter(|least| !(0.0..=1.0).contains(least)) {
        return Err(Error::usage("--min-confidence", format!("{least} is not from 0 to 1")));
    }
    let passages = &args.passages;
    if !(0.0..=0.95).contains(&passages.overlap) {
        return Err(Error::usage("--overlap", format!("{} is not from 0 to 0.95", passages.overlap)));
    }
    if !(passages.min_duration >= 0.0 && passages.min_duration.is_finite()) {
        return Err(Error::usage("--min-duration", format!("{} is no number of seconds", passages.min_duration)));
    }
    if passages.cut.is_some() && passages.passages == Which::Never {
        return Err(Error::usage("--cut", "with --passages never there are no passages to write"));
    }
    let input = args.paths.iter().filter(|path| path.as_os_str() == "-").count();
    if input > 1 {
        return Err(Error::usage("PATH", "standard input (-) can be read only once"));
    }
    if args.shard.is_some() && (input > 0 || args.live.is_wanted()) {
        return Err(Error::usage("--shard", "what is answered while it comes has no parts; give files or folders"));
    }
    if args.live.is_wanted() && passages.passages == Which::Never {
        return Err(Error::usage("--microphone", "is answered by passages; leave out --passages never"));
    }
    args.live.check("predict")?;
    args.raw.check(input > 0)?;
    if (args.explain || args.nearest.is_some()) && matches!(format(args), Format::Csv | Format::Audacity) {
        let option = if args.explain { "--explain" } else { "--nearest" };
        return Err(Error::usage(option, "has no place in this form; choose --format table, json or jsonl"));
    }
    Ok(())
}

/// Answering for one recording after the other.
struct Answering<'a> {
    predictor: &'a mut Predictor,
    printer: Printer<'a>,
    style: &'a Style<'a>,
    cutter: Option<Cutter>,
    known: Option<Known>,
    /// Recordings that have their rows already.
    skipped: BTreeSet<String>,
    args: &'a Args,
    bar: ProgressBar,
    answered: usize,
}

impl Answering<'_> {
    fn run(mut self, files: &[Found], left_out: &[NotRead]) -> Result<()> {
        let (args, header) = (self.args, self.predictor.model.header.clone());
        let reading = Reading::from(args.reading);
        // Most recordings are asked about once, and thousands of them would push out those that are trained on.
        let cache = if args.cache { reading.cache(&|text| warn(&plain(text))) } else { None };
        let options = LoadOptions {
            sample_rate: header.front_end.sample_rate,
            // Enough to tell that there is more.
            most_samples: first_only(args, &header).then_some(long_from(&header) + 1),
            cache: cache.as_ref(),
            ..LoadOptions::default()
        };
        // As many are decoded at once, before their answers are printed, as there are cores: they stay small in memory.
        // What is to be cut stays as it was recorded until then, which is larger.
        let cut = args.passages.cut.is_some();
        let at_once = if cut { 1 } else { rayon::current_num_threads().max(1) };
        let (mut unread, mut unread_by_name) = (0, 0);
        for (together, files_together) in files.chunks(at_once).enumerate() {
            let decode = |file: &Found| match plan(&file.path, args, &header) {
                Plan::Whole if cut => (Plan::Whole, Some(decode_whole(&file.path).map(|(audio, _)| audio))),
                Plan::Whole => (Plan::Whole, Some(load_file(&file.path, &options))),
                other => (other, None),
            };
            let decoded: Vec<_> = files_together.par_iter().map(decode).collect();
            for (i, (file, decoded)) in files_together.iter().zip(decoded).enumerate() {
                self.bar.set_position((together * at_once + i) as u64);
                let answered = match decoded {
                    (_, Some(Ok(audio))) => self.whole(&file.path, audio).map(|()| None)?,
                    (_, Some(Err(error))) | (Plan::Failed(error), None) => Some(error),
                    (Plan::Long(long, seconds), None) => self.passages(&file.path, Pieces::file(long, seconds)).err(),
                    (Plan::Input | Plan::Whole, None) => self.input(&file.path).err(),
                };
                let Some(error) = answered else {
                    self.answered += 1;
                    self.printer.recording_done()?;
                    continue;
                };
                let of_file = matches!(&error, Error::File { path, .. } if *path == file.path);
                if reading.strict || !of_file {
                    return Err(error);
                }
                let (name, why) = (file.path.display().to_string(), why(&error));
                // A file alone is an error, which says the same.
                let quiet = self.style.format != Format::Table || args.out.is_some();
                if files.len() > 1 || quiet {
                    self.bar.suspend(|| self.printer.unread(&name, &why))?;
                    self.printer.recording_done()?;
                }
                if files.len() == 1 {
                    self.printer.finish()?;
                    return Err(error);
                }
                // If the answers go to a program, its user sees this on standard error.
                if quiet {
                    self.bar.suspend(|| warn(&plain(&format!("left out: {error}"))));
                }
                (unread, unread_by_name) = (unread + 1, unread_by_name + usize::from(file.named));
            }
        }
        self.bar.finish_and_clear();
        for (folder, left_out) in left_out {
            for part in left_out.iter().filter(|part| !part.harmless) {
                let names = part.files.iter().map(|id| folder.join(id).display().to_string());
                for name in names.filter(|name| !self.skipped.contains(name)) {
                    self.printer.unread(&name, &part.reason)?;
                }
            }
        }
        self.printer.finish()?;
        // All may be done, or none be in this part.
        if self.answered == 0 && !files.is_empty() {
            return Err(Error::Data(format!("none of the {} recordings could be read", files.len())));
        }
        // Other files in a folder are no mistake; a file on the command line is meant to be read.
        match unread_by_name {
            0 => Ok(()),
            _ => Err(Error::Data(format!("{unread} of {} recordings could not be read", files.len()))),
        }
    }

    /// A recording that is decoded: at the model's rate, or as it was recorded.
    fn whole(&mut self, path: &Path, audio: Audio) -> Result<()> {
        let header = &self.predictor.model.header;
        let model_rate = header.front_end.sample_rate;
        let (name, seconds, which) = (path.display().to_string(), audio.seconds(), self.args.passages.passages);
        let first_only = first_only(self.args, header);
        let samples = audio.frames() as f64 * f64::from(model_rate) / f64::from(audio.sample_rate);
        let long = samples > long_from(header) as f64;
        self.bar.suspend(|| audio.warnings.iter().for_each(|text| warn(&plain(&format!("warning: {name}: {text}")))));
        if which == Which::Always || which == Which::Auto && long && !first_only {
            return self.passages(path, Pieces::memory(audio));
        }
        if long && first_only {
            let window = header.front_end.window as f64 / f64::from(header.front_end.sample_rate);
            let text = format!("{name}: only its first {window:.1} s are looked at; --all-windows looks at all of it");
            self.bar.suspend(|| warn(&plain(&text)));
        }
        let clip = Clip::alone(path, audio.resampled(model_rate)?.channels);
        let windows = self.predictor.windows(&clip, first_only)?;
        let seconds = if first_only && long { None } else { Some(seconds) };
        let mut answer = Answer::new(clip.id.clone(), windows, seconds, self.style);
        if self.args.explain && answer.verdict.decision != Decision::Silence {
            answer.without = occlude(self.predictor, &clip, answer.verdict.best, first_only)?;
        }
        if let Some(known) = &self.known {
            let vector = mean_vector(&self.predictor.vectors(&clip, first_only)?);
            answer.nearest = known.nearest(&vector, self.predictor.model.distribution.as_ref());
        }
        self.bar.suspend(|| self.printer.answer(&answer))
    }

    /// What is answered while it comes: standard input, or a microphone.
    fn input(&mut self, path: &Path) -> Result<()> {
        if self.args.live.is_wanted() {
            return self.passages(path, Pieces::microphone(&self.args.live, path)?);
        }
        self.passages(path, Pieces::standard_input(self.args.raw.get().as_ref(), path)?)
    }

    fn passages(&mut self, path: &Path, pieces: Pieces<'_>) -> Result<()> {
        let (name, printer) = (path.display().to_string(), &mut self.printer);
        let args = &self.args.passages;
        let how = Listening { overlap: args.overlap, least: args.min_duration, threshold: self.style.threshold.value };
        let live = comes(path, self.args);
        let told = |passage: &_| printer.passage(&name, passage, live);
        let Listened { seconds, passages, surest } =
            listen(self.predictor, (path, pieces), how, self.cutter.as_mut(), told)?;
        self.printer.long(&LongAnswer { file: name, seconds, passages, surest }, live)
    }
}

/// Whether only the first window of every recording is looked at.
fn first_only(args: &Args, header: &Header) -> bool {
    header.recipe.first_window_only() && !args.all_windows && args.passages.passages != Which::Always
}

/// Samples from which on a recording is long.
fn long_from(header: &Header) -> usize {
    (LONG * header.front_end.window as f64) as usize
}

/// Whether it is answered while it comes, and is no file.
fn comes(path: &Path, args: &Args) -> bool {
    path.as_os_str() == "-" || args.live.is_wanted()
}

/// A recording to read piece by piece, or the answer for it.
enum Plan {
    /// At once.
    Whole,
    /// Standard input, or a microphone.
    Input,
    /// A long file, and how many seconds it lasts.
    Long(Box<audio::pieces::Pieces>, f64),
    Failed(Error),
}

/// How a recording is to be read.
fn plan(path: &Path, args: &Args, header: &Header) -> Plan {
    if comes(path, args) {
        return Plan::Input;
    }
    let wanted = match args.passages.passages {
        Which::Always => true,
        Which::Auto => !first_only(args, header),
        Which::Never => false,
    };
    let window = header.front_end.window as f64 / f64::from(header.front_end.sample_rate);
    let long = || -> Result<Plan> {
        let Some(mut file) = (if wanted { audio::pieces::Pieces::open(path)? } else { None }) else {
            return Ok(Plan::Whole);
        };
        let seconds = file.frames()? as f64 / f64::from(file.sample_rate());
        Ok(if seconds > LONG * window { Plan::Long(Box::new(file), seconds) } else { Plan::Whole })
    };
    long().unwrap_or_else(Plan::Failed)
}

/// The model that comes with the program; says so.
pub(super) fn built_in(device: &Device) -> Result<Predictor> {
    let model = base::model()?;
    warn(&format!(
        "model: the base model of this program, which knows {} tunes (predict --tunes lists them); --model names another",
        model.header.classes.len()
    ));
    Predictor::new(model, Path::new("the built-in base model"), device)
}

/// An error about a file whose name was printed already.
fn why(error: &Error) -> String {
    match error {
        Error::File { detail, .. } => detail.clone(),
        other => other.to_string(),
    }
}
