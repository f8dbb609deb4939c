//! `humdinger pitch`: the sung pitch, as a table or as notes.

use super::image::{is_image, is_svg, no_image};
use super::melody_picture;
use super::{plain, say, warn};
use crate::audio::{channels, decode::decode_file};
use crate::melody::notes::{SungNote, notes, tuning};
use crate::melody::pitch::{Contour, PitchOptions, PitchTracker};
use crate::melody::{midi::midi_file, note_name};
use crate::train::weights::write_whole;
use crate::{Error, Result};
use clap::ValueEnum;
use std::path::PathBuf;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A row every hop: seconds, Hz, MIDI note number, periodicity; pitch is empty where there is no voice.
    Csv,
    /// A row for each note: start, end, MIDI note number, name.
    Notes,
    /// A MIDI file of the notes, in the singer's own tuning.
    Midi,
    /// A picture of the pitch over the notes, PNG, or SVG where --out ends in .svg.
    Picture,
}

/// Find the pitch that somebody sings, hums or whistles
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The sound file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to write [default: csv, midi where --out ends in .mid, picture where it ends in .png or .svg]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Lowest pitch in Hz
    #[arg(long, value_name = "HZ", default_value_t = PitchOptions::default().floor)]
    floor: f64,
    /// Highest pitch in Hz
    #[arg(long, value_name = "HZ", default_value_t = PitchOptions::default().ceiling)]
    ceiling: f64,
    /// Seconds from one row to the next
    #[arg(long, value_name = "SECONDS", default_value_t = PitchOptions::default().hop)]
    hop: f64,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let named_midi = |out: &PathBuf| {
        out.extension().is_some_and(|end| end.eq_ignore_ascii_case("mid") || end.eq_ignore_ascii_case("midi"))
    };
    let by_name = match &args.out {
        Some(out) if named_midi(out) => Format::Midi,
        Some(out) if is_image(out) => Format::Picture,
        _ => Format::Csv,
    };
    let format = args.format.unwrap_or(by_name);
    if format == Format::Midi && args.out.is_none() {
        return Err(Error::usage("--format", "a MIDI file is no text; name the file to write with --out"));
    }
    if format == Format::Picture {
        match &args.out {
            None => return Err(Error::usage("--format", "a picture is no text; name the file to write with --out")),
            Some(out) if !is_image(out) => return Err(no_image("--out", out)),
            Some(_) => {}
        }
    }
    let sound = decode_file(&args.file)?;
    for warning in &sound.warnings {
        warn(&format!("warning: {}: {warning}", args.file.display()));
    }
    let options = PitchOptions { floor: args.floor, ceiling: args.ceiling, hop: args.hop, ..Default::default() };
    let tracker = PitchTracker::new(sound.sample_rate, options).map_err(|error| match error {
        Error::Value { name, detail } => Error::usage(format!("--{name}"), detail),
        other => other,
    })?;
    let seconds = sound.seconds();
    let contour = tracker.track(&channels::to_count(sound.channels, 1)[0]);
    let found = notes(&contour);
    let drawn = || -> Result<Vec<u8>> {
        let name = args.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        melody_picture::image(args.out.as_deref().is_some_and(is_svg), &plain(&name), &contour, &found)
    };
    let bytes = match format {
        Format::Csv => contour_table(&contour).into_bytes(),
        Format::Notes => note_table(&found).into_bytes(),
        Format::Midi => midi_file(&found)?,
        Format::Picture => drawn()?,
    };
    let Some(out) = args.out else {
        return String::from_utf8_lossy(&bytes).lines().try_for_each(say);
    };
    write_whole(&out, &bytes)?;
    let sung = contour.frames.iter().filter(|frame| frame.hz.is_some()).count() as f64 * contour.hop;
    say(format!(
        "{}: {} notes, {sung:.1} s of {seconds:.1} s with a pitch, {:+.0} cents from concert pitch",
        out.display(),
        found.len(),
        100.0 * tuning(&found)
    ))
}

fn contour_table(contour: &Contour) -> String {
    let mut table = String::from("seconds,hz,midi,periodicity\n");
    for (i, frame) in contour.frames.iter().enumerate() {
        let seconds = i as f64 * contour.hop;
        let pitch = match (frame.hz, frame.midi()) {
            (Some(hz), Some(midi)) => format!("{hz:.2},{midi:.3}"),
            _ => ",".into(),
        };
        table += &format!("{seconds:.3},{pitch},{:.3}\n", frame.periodicity);
    }
    table
}

fn note_table(notes: &[SungNote]) -> String {
    let mut table = String::from("start,end,midi,note\n");
    for note in notes {
        table += &format!("{:.3},{:.3},{:.2},{}\n", note.start, note.end, note.midi, note_name(note.midi));
    }
    table
}
