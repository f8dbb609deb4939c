//! `humdinger embed`: a model's embeddings of recordings.

use super::predict::sound_files;
use super::{plain, say, warn};
use crate::data::reader::load_file;
use crate::data::{Clip, LoadOptions};
use crate::device::Device;
use crate::train::model::Model;
use crate::train::predict::{Predictor, WindowVector, mean_vector};
use crate::train::source::Reading;
use crate::train::weights::write_whole;
use crate::{Error, Result};
use clap::ValueEnum;
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A row for each vector: file, start, end, then its numbers
    Csv,
    /// An object in a line for each vector
    Jsonl,
    /// NumPy's own: an array of 32-bit floats, a row for each vector; which recording each row is of goes to standard output, as CSV
    Npy,
}

/// Write a model's embeddings of recordings, vectors to search, cluster or train other classifiers with
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file, or the folder of a run
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Sound files, or folders of them
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Form of the vectors [default: by --out's ending, else csv]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A vector for every window, not for every recording
    #[arg(long)]
    windows: bool,
    /// Look at all of a long recording, for a model that is given only its beginning unless asked
    #[arg(long)]
    all_windows: bool,
    /// auto, cpu, gpu or gpu:N; auto is the CPU here
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    #[command(flatten)]
    reading: super::ReadingArgs,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let ending = args.out.as_ref().and_then(|out| out.extension()).map(|end| end.to_ascii_lowercase());
    let by_ending = match ending.as_ref().and_then(|end| end.to_str()) {
        Some("npy") => Format::Npy,
        Some("jsonl" | "ndjson") => Format::Jsonl,
        _ => Format::Csv,
    };
    let format = args.format.unwrap_or(by_ending);
    if format == Format::Npy && args.out.is_none() {
        return Err(Error::usage("--format", "npy is no text; name the file to write with --out"));
    }
    if let Some(out) = args.out.as_ref().filter(|out| out.exists()) {
        return Err(Error::usage("--out", format!("{} is there already; name another file", out.display())));
    }
    let choice = super::device(&args.device)?;
    let (files, _) = sound_files(&args.paths, args.reading.strict)?;
    let device = Device::choose_for_little(choice)?;
    let mut predictor = Predictor::new(Model::read(&args.model)?, &args.model, &device)?;
    let header = predictor.model.header.clone();
    let first_only = header.recipe.first_window_only() && !args.all_windows;
    let reading = Reading::from(args.reading);
    let options = LoadOptions {
        sample_rate: header.front_end.sample_rate,
        most_samples: first_only.then_some(header.front_end.window),
        ..LoadOptions::default()
    };
    let (mut rows, mut unread, mut unread_by_name) = (Vec::new(), 0, 0);
    for file in &files {
        let audio = match load_file(&file.path, &options) {
            Ok(audio) => audio,
            Err(error) if reading.strict || files.len() == 1 => return Err(error),
            Err(error) => {
                warn(&plain(&format!("left out: {error}")));
                (unread, unread_by_name) = (unread + 1, unread_by_name + usize::from(file.named));
                continue;
            }
        };
        let name = file.path.display().to_string();
        audio.warnings.iter().for_each(|text| warn(&plain(&format!("warning: {name}: {text}"))));
        let clip = Clip::alone(&file.path, audio.channels);
        let vectors = predictor.vectors(&clip, first_only)?;
        if args.windows {
            rows.extend(vectors.into_iter().map(|vector| (name.clone(), vector)));
        } else {
            let end = vectors.last().map_or(0.0, |vector| vector.end);
            let vector = mean_vector(&vectors);
            rows.push((name, WindowVector { start: 0.0, end, silent: false, vector }));
        }
    }
    if rows.is_empty() {
        return Err(Error::Data(format!("none of the {} recordings could be read", files.len())));
    }
    write(&rows, format, args.out.as_deref())?;
    match unread_by_name {
        0 => Ok(()),
        _ => Err(Error::Data(format!("{unread} of {} recordings could not be read", files.len()))),
    }
}

/// Vectors with the recordings that they are of.
type Rows = [(String, WindowVector)];

fn write(rows: &Rows, format: Format, out: Option<&std::path::Path>) -> Result<()> {
    let bytes = match format {
        Format::Csv => table(rows, true)?,
        Format::Jsonl => {
            let object = |(file, row): &(String, WindowVector)| {
                let object =
                    serde_json::json!({"file": file, "start": row.start, "end": row.end, "vector": row.vector});
                format!("{object}\n")
            };
            rows.iter().map(object).collect::<String>().into_bytes()
        }
        Format::Npy => npy(rows),
    };
    match out {
        None => String::from_utf8_lossy(&bytes).lines().try_for_each(say),
        Some(out) => {
            write_whole(out, &bytes)?;
            if format == Format::Npy {
                return String::from_utf8_lossy(&table(rows, false)?).lines().try_for_each(say);
            }
            let length = rows.first().map_or(0, |(_, row)| row.vector.len());
            say(format!("{}: {} vectors of {length} numbers", plain(&out.display().to_string()), rows.len()))
        }
    }
}

/// A row for each vector, with its numbers or without.
fn table(rows: &Rows, numbers: bool) -> Result<Vec<u8>> {
    let failed = |e: csv::Error| Error::Data(format!("the vectors cannot be written as CSV: {e}"));
    let mut lines = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    let length = if numbers { rows.first().map_or(0, |(_, row)| row.vector.len()) } else { 0 };
    let head = ["file", "start", "end"].map(String::from).into_iter();
    lines.write_record(head.chain((0..length).map(|i| format!("v{i}")))).map_err(failed)?;
    for (file, row) in rows {
        let start = [file.clone(), format!("{:.3}", row.start), format!("{:.3}", row.end)].into_iter();
        lines.write_record(start.chain(row.vector.iter().take(length).map(f32::to_string))).map_err(failed)?;
    }
    lines.into_inner().map_err(|e| Error::Data(e.to_string()))
}

/// NumPy's format, version 1.0: a magic number, a header of a multiple of 64 bytes, the numbers row by row (numpy/lib/format.py).
fn npy(rows: &Rows) -> Vec<u8> {
    let length = rows.first().map_or(0, |(_, row)| row.vector.len());
    let said = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {length}), }}", rows.len());
    // Ten bytes come before it, and a new line ends it.
    let padded = (10 + said.len() + 1).next_multiple_of(64) - 11;
    let header = format!("{said:<padded$}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    rows.iter().flat_map(|(_, row)| &row.vector).for_each(|x| bytes.extend(x.to_le_bytes()));
    bytes
}
