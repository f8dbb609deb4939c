//! `humdinger predict`.

use super::{plain, say, warn};
use crate::data::dataset::progress_bar;
use crate::data::find::{LeftOut, find, no_sound, none_lost};
use crate::data::reader::load_file;
use crate::data::{Clip, LoadOptions};
use crate::device::Device;
use crate::train::metrics::argmax;
use crate::train::model::Model;
use crate::train::predict::{Predictor, WindowPrediction};
use crate::train::source::Reading;
use crate::{Error, Result};
use clap::ValueEnum;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;

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
    /// The model file
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Sound files, or folders of them
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
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

/// The answer for one recording.
struct Answer {
    file: String,
    /// The song, or "unknown".
    song: String,
    confidence: f64,
    /// The likeliest songs with their probabilities.
    top: Vec<(String, f64)>,
    windows: Vec<WindowPrediction>,
}

pub fn run(args: Args) -> Result<()> {
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
    let mut predictor = Predictor::new(Model::read(&args.model)?, &args.model, &device)?;
    let header = predictor.model.header.clone();
    let names = header.names();
    let first_only = header.recipe.first_window_only() && !args.all_windows;
    let least = args.min_confidence.unwrap_or(header.unknown_threshold);
    let reading = Reading::from(args.reading);
    // Most recordings are asked about once, and thousands of them would push out those that are trained on.
    let cache = if args.cache { reading.cache() } else { None };
    let options = LoadOptions {
        sample_rate: header.front_end.sample_rate,
        most_samples: first_only.then_some(header.front_end.window),
        cache: cache.as_ref(),
        ..LoadOptions::default()
    };
    let style = Style { format: args.format, several: files.len() > 1, names: &names, least, top: args.top };
    let bar = progress_bar(files.len(), "reading recordings", files.len() > FEW);
    // As many are decoded at once, before their answers are printed, as there are cores: they stay small in memory.
    let at_once = rayon::current_num_threads().max(1);
    let (mut answers, mut unread, mut unread_by_name) = (Vec::new(), 0, 0);
    for (together, files_together) in files.chunks(at_once).enumerate() {
        let decoded: Vec<_> = files_together.par_iter().map(|file| load_file(&file.path, &options)).collect();
        for (i, (file, audio)) in files_together.iter().zip(decoded).enumerate() {
            bar.set_position((together * at_once + i) as u64);
            let audio = match audio {
                Ok(audio) => audio,
                Err(error) if reading.strict || files.len() == 1 => return Err(error),
                Err(error) => {
                    bar.suspend(|| warn(&plain(&format!("left out: {error}"))));
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
            let answer = answer(clip.id, windows, &names, least, args.top);
            bar.suspend(|| print(&answer, &style, answers.is_empty()))?;
            answers.push(answer);
        }
    }
    bar.finish_and_clear();
    if answers.is_empty() {
        return Err(Error::Data(format!("none of the {} recordings could be read", files.len())));
    }
    if args.format == Format::Json {
        let list: Vec<serde_json::Value> = answers.iter().map(json).collect();
        say(serde_json::Value::Array(list))?;
    }
    // What lies in a folder beside recordings is no mistake; a file that somebody names is meant to be read.
    match unread_by_name {
        0 => Ok(()),
        _ => Err(Error::Data(format!("{unread} of {} recordings could not be read", files.len()))),
    }
}

/// The likeliest name, or "unknown" where it is not likely enough.
fn decide(probabilities: &[f64], names: &[String], least: f64) -> (String, f64) {
    let best = argmax(probabilities);
    let confidence = probabilities.get(best).copied().unwrap_or(0.0);
    // Silence is no song, however little is asked for.
    let known = confidence >= least && confidence > 0.0 && confidence.is_finite();
    (if known { names[best].clone() } else { "unknown".into() }, confidence)
}

fn answer(file: String, windows: Vec<WindowPrediction>, names: &[String], least: f64, top: usize) -> Answer {
    let mut mean = vec![0.0; names.len()];
    // Windows of silence say nothing of the others.
    let heard = windows.iter().filter(|window| window.probabilities.iter().any(|&p| p > 0.0));
    let count = heard.clone().count() as f64;
    for window in heard {
        mean.iter_mut().zip(&window.probabilities).for_each(|(sum, p)| *sum += p / count);
    }
    let (song, confidence) = decide(&mean, names, least);
    let top = likeliest(&mean, names, top);
    Answer { file, song, confidence, top, windows }
}

/// The likeliest songs with their probabilities, the likeliest first.
fn likeliest(probabilities: &[f64], names: &[String], top: usize) -> Vec<(String, f64)> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    order.into_iter().take(top).map(|i| (names[i].clone(), probabilities[i])).collect()
}

fn json(answer: &Answer) -> serde_json::Value {
    let songs = |list: &[(String, f64)]| -> Vec<serde_json::Value> {
        list.iter().map(|(song, p)| serde_json::json!({"song": song, "probability": p})).collect()
    };
    serde_json::json!({
        "file": answer.file,
        "prediction": answer.song,
        "confidence": answer.confidence,
        "top": songs(&answer.top),
    })
}

/// How answers are printed.
struct Style<'a> {
    format: Format,
    /// Whether there is more than one recording.
    several: bool,
    names: &'a [String],
    least: f64,
    top: usize,
}

/// Prints an answer; `first` where it is the first of all. The JSON form is printed as a whole, and not here.
fn print(answer: &Answer, style: &Style<'_>, first: bool) -> Result<()> {
    match style.format {
        Format::Table => {
            let also: Vec<String> =
                answer.top.iter().map(|(song, p)| format!("{} {:.1} %", plain(song), 100.0 * p)).collect();
            let also = if answer.top.len() > 1 || answer.song == "unknown" {
                format!("   ({})", also.join(", "))
            } else {
                String::new()
            };
            let (song, file) = (plain(&answer.song), plain(&answer.file));
            say(format!("{song:<20} {:5.1} %  {file}{also}", 100.0 * answer.confidence))
        }
        Format::Csv => {
            let mut lines = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
            let failed = |e: csv::Error| Error::Data(format!("the answer cannot be written as CSV: {e}"));
            if first {
                let places = (1..=answer.top.len()).flat_map(|k| [format!("song_{k}"), format!("probability_{k}")]);
                let head = ["file", "prediction", "confidence"].map(String::from).into_iter().chain(places);
                lines.write_record(head).map_err(failed)?;
            }
            let top = answer.top.iter().flat_map(|(song, p)| [song.clone(), format!("{p:.6}")]);
            let start = [answer.file.clone(), answer.song.clone(), format!("{:.6}", answer.confidence)];
            lines.write_record(start.into_iter().chain(top)).map_err(failed)?;
            let bytes = lines.into_inner().map_err(|e| Error::Data(e.to_string()))?;
            say(String::from_utf8_lossy(&bytes).trim_end())
        }
        Format::Audacity => answer.windows.iter().try_for_each(|window| {
            let (song, confidence) = decide(&window.probabilities, style.names, style.least);
            let file = if style.several { format!("{}: ", plain(&answer.file)) } else { String::new() };
            let also = likeliest(&window.probabilities, style.names, style.top);
            let also: Vec<String> =
                also.iter().map(|(song, p)| format!("{} {:.0} %", plain(song), 100.0 * p)).collect();
            let song = plain(&song);
            let also = if style.top > 1 { format!(" ({})", also.join(", ")) } else { String::new() };
            say(format!("{:.6}\t{:.6}\t{file}{song} {:.0} %{also}", window.start, window.end, 100.0 * confidence))
        }),
        Format::Json => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_average_windows_and_know_their_limits() {
        let window = |start: f64, p: &[f64]| WindowPrediction { start, end: start + 8.0, probabilities: p.to_vec() };
        let names: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        let windows = vec![window(0.0, &[0.6, 0.4, 0.0]), window(4.0, &[0.2, 0.8, 0.0])];
        let told = answer("x.wav".into(), windows.clone(), &names, 0.5, 2);
        assert_eq!((told.song.as_str(), told.top.len()), ("b", 2));
        assert!((told.confidence - 0.6).abs() < 1e-12);
        let told = answer("x.wav".into(), windows.clone(), &names, 0.7, 9);
        assert_eq!((told.song.as_str(), told.top.len()), ("unknown", 3));
        assert_eq!(json(&told)["top"][0]["song"], "b");
        // Silence before the song takes nothing from it, and is none.
        let silence = window(8.0, &[0.0; 3]);
        let told = answer("x.wav".into(), [vec![silence.clone()], windows].concat(), &names, 0.5, 2);
        assert!(told.song == "b" && (told.confidence - 0.6).abs() < 1e-12, "{}", told.confidence);
        let told = answer("x.wav".into(), vec![silence], &names, 0.0, 2);
        assert_eq!((told.song.as_str(), told.confidence), ("unknown", 0.0));
    }
}
