//! `humdinger predict`.

mod rows;

use super::{plain, warn};
use crate::data::dataset::progress_bar;
use crate::data::find::{LeftOut, find, no_sound, none_lost};
use crate::data::reader::load_file;
use crate::data::{Clip, LoadOptions};
use crate::device::Device;
use crate::train::base;
use crate::train::model::Model;
use crate::train::predict::Predictor;
use crate::train::source::Reading;
use crate::train::verdict::Threshold;
use crate::{Error, Result};
use clap::ValueEnum;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rows::{Answer, Printer, Style};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for people
    Table,
    /// A line per recording
    Csv,
    /// A list of objects
    Json,
    /// A label track: start, end and song of every window, separated by tabs
    Audacity,
}

/// Name the songs in recordings.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file [default: the base model that comes with the program, which names the built-in tunes]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Sound files, or folders of them
    #[arg(value_name = "PATH", required_unless_present = "tunes")]
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
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// auto, cpu, gpu or gpu:N; auto is the CPU here, which is done before a GPU is opened
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Look at all of a long recording, for a model that hears only its beginning unless asked
    #[arg(long)]
    all_windows: bool,
    /// Look for decoded recordings in the user's cache, and keep there what is decoded now
    #[arg(long, conflicts_with = "no_cache")]
    cache: bool,
    #[command(flatten)]
    reading: super::ReadingArgs,
}

/// Of more recordings than this the progress is shown.
const FEW: usize = 64;

/// A sound file to look at.
pub(super) struct Found {
    pub path: PathBuf,
    /// Whether it was asked for by name, and not merely found in a folder.
    pub named: bool,
}

/// A folder, and what is left out in it.
pub(super) type NotRead = (PathBuf, Vec<LeftOut>);

/// The sound files among these paths, and what is left out; folders stand for all that are in them, in order of name, and what
/// `train` would leave out there is left out here.
pub(super) fn sound_files(paths: &[PathBuf]) -> Result<(Vec<Found>, Vec<NotRead>)> {
    let (mut files, mut left_out) = (Vec::new(), Vec::new());
    for path in paths {
        let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::file(path, "no such file or folder"),
            _ => Error::file(path, format!("cannot be read: {e}")),
        })?;
        if !meta.is_dir() {
            files.push(Found { path: path.clone(), named: true });
            continue;
        }
        let (inside, others) = find(path)?.left_out();
        if inside.is_empty() {
            return Err(no_sound(path, &others));
        }
        let mut inside: Vec<PathBuf> = inside.iter().map(|id| path.join(id)).collect();
        inside.sort();
        files.extend(inside.into_iter().map(|path| Found { path, named: false }));
        left_out.push((path.clone(), others));
    }
    Ok((files, left_out))
}

pub fn run(args: Args) -> Result<()> {
    if args.tunes {
        return base::model()?.header.classes.iter().try_for_each(super::say);
    }
    if args.top == 0 {
        return Err(Error::usage("--top", "0 songs are no answer; at least 1"));
    }
    if let Some(least) = args.min_confidence.filter(|least| !(0.0..=1.0).contains(least)) {
        return Err(Error::usage("--min-confidence", format!("{least} is not from 0 to 1")));
    }
    let choice = args.device.parse()?;
    let (files, left_out) = sound_files(&args.paths)?;
    for (path, left_out) in &left_out {
        if args.reading.strict {
            none_lost(path, left_out)?;
        }
        // Texts beside the recordings are none of the caller's concern here.
        left_out.iter().filter(|l| !l.harmless).for_each(|l| warn(&plain(&format!("left out: {l}"))));
    }
    let device = Device::choose_for_little(choice)?;
    let mut predictor = match &args.model {
        Some(path) => Predictor::new(Model::read(path)?, path, &device)?,
        None => built_in(&device)?,
    };
    let header = predictor.model.header.clone();
    let names = header.names();
    let first_only = header.recipe.first_window_only() && !args.all_windows;
    let threshold = Threshold {
        value: args.min_confidence.unwrap_or(header.unknown_threshold),
        of_model: args.min_confidence.is_none(),
    };
    let reading = Reading::from(args.reading);
    // Most recordings are asked about once, and thousands of them would push out those that are trained on.
    let cache = if args.cache { reading.cache() } else { None };
    let options = LoadOptions {
        sample_rate: header.front_end.sample_rate,
        most_samples: first_only.then_some(header.front_end.window),
        cache: cache.as_ref(),
        ..LoadOptions::default()
    };
    let style = Style { format: args.format, several: files.len() > 1, names: &names, threshold, top: args.top };
    let mut printer = Printer::new(&style);
    let bar = progress_bar(files.len(), "reading recordings", files.len() > FEW);
    // As many are decoded at once, before their answers are printed, as there are cores: they stay small in memory.
    let at_once = rayon::current_num_threads().max(1);
    let (mut answered, mut unread, mut unread_by_name) = (0, 0, 0);
    for (together, files_together) in files.chunks(at_once).enumerate() {
        let decoded: Vec<_> = files_together.par_iter().map(|file| load_file(&file.path, &options)).collect();
        for (i, (file, audio)) in files_together.iter().zip(decoded).enumerate() {
            bar.set_position((together * at_once + i) as u64);
            let audio = match audio {
                Ok(audio) => audio,
                Err(error) if reading.strict => return Err(error),
                Err(error) => {
                    let (name, why) = (file.path.display().to_string(), why(&error));
                    // A file alone is an error, which says the same.
                    if files.len() > 1 || args.format != Format::Table {
                        bar.suspend(|| printer.unread(&name, &why))?;
                    }
                    if files.len() == 1 {
                        printer.finish()?;
                        return Err(error);
                    }
                    // Where the answers go to a program, its user is told here.
                    if args.format != Format::Table {
                        bar.suspend(|| warn(&plain(&format!("left out: {error}"))));
                    }
                    (unread, unread_by_name) = (unread + 1, unread_by_name + usize::from(file.named));
                    continue;
                }
            };
            let name = file.path.display().to_string();
            bar.suspend(|| audio.warnings.iter().for_each(|text| warn(&plain(&format!("warning: {name}: {text}")))));
            let clip = Clip {
                id: name,
                path: file.path.clone(),
                samples: audio.channels.into(),
                label: 0,
                person: None,
                columns: BTreeMap::new(),
            };
            let windows = predictor.windows(&clip, first_only)?;
            if windows.iter().flat_map(|window| &window.probabilities).any(|p| !p.is_finite()) {
                let detail = "the model's scores for it are not finite; the model is damaged or not fit for it";
                return Err(Error::file(&file.path, detail));
            }
            let answer = Answer::new(clip.id, windows, &style);
            bar.suspend(|| printer.answer(&answer))?;
            answered += 1;
        }
    }
    bar.finish_and_clear();
    for (folder, left_out) in &left_out {
        for part in left_out.iter().filter(|part| !part.harmless) {
            part.files
                .iter()
                .try_for_each(|id| printer.unread(&folder.join(id).display().to_string(), &part.reason))?;
        }
    }
    printer.finish()?;
    if answered == 0 {
        return Err(Error::Data(format!("none of the {} recordings could be read", files.len())));
    }
    // What lies in a folder beside recordings is no mistake; a file that somebody names is meant to be read.
    match unread_by_name {
        0 => Ok(()),
        _ => Err(Error::Data(format!("{unread} of {} recordings could not be read", files.len()))),
    }
}

/// The model that comes with the program; says so.
fn built_in(device: &Device) -> Result<Predictor> {
    let model = base::model()?;
    warn(&format!(
        "model: the base model of this program, which knows {} tunes (predict --tunes lists them); --model names another",
        model.header.classes.len()
    ));
    Predictor::new(model, Path::new("the built-in base model"), device)
}

/// What is wrong with a file, where its name is said already.
fn why(error: &Error) -> String {
    match error {
        Error::File { detail, .. } => detail.clone(),
        other => other.to_string(),
    }
}
