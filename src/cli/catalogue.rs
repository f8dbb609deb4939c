//! `humdinger catalogue`: the songs that `identify` knows.

use super::{plain, say, warn};
use crate::data::dataset::progress_bar;
use crate::data::songbook::{Songbook, read_songs};
use crate::melody::catalogue::Catalogue;
use crate::train::identify;
use crate::train::weights::write_whole;
use crate::{Error, Result};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Make and change a catalogue: the songs that `identify` looks for, from their notes
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a catalogue of the melodies in folders and files: MIDI, MusicXML, ABC, numbered notation, recordings
    Make {
        /// Folders, or files
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
        /// The catalogue to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The track of MIDI files, or the part of scores, that sings, by its number or a part of its name [default: the likeliest, which is printed]
        #[arg(long, value_name = "TRACK")]
        track: Option<String>,
        /// Only the notes, without embeddings of a synthetic singer who sings them: quicker to make, but less often right
        #[arg(long)]
        notes_alone: bool,
    },
    /// Add melodies to a catalogue; those with an id that is there already replace it
    Add {
        /// The catalogue
        #[arg(value_name = "CATALOGUE")]
        catalogue: PathBuf,
        /// Folders, or files
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
        /// The track of MIDI files, or the part of scores, that sings, by its number or a part of its name [default: the likeliest, which is printed]
        #[arg(long, value_name = "TRACK")]
        track: Option<String>,
    },
    /// Take songs out of a catalogue
    Remove {
        /// The catalogue
        #[arg(value_name = "CATALOGUE")]
        catalogue: PathBuf,
        /// Their ids, as `list` shows them
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// List the songs of a catalogue: id, notes, seconds, beats a minute, title, separated by tabs
    List {
        /// The catalogue
        #[arg(value_name = "CATALOGUE")]
        catalogue: PathBuf,
        /// Print one JSON object for each song, in a line of its own
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    match args.action {
        Action::Make { paths, out, track, notes_alone } => {
            let book = melodies(&paths, track.as_deref())?;
            let mut catalogue = Catalogue::default();
            let replaced = fill(&mut catalogue, &book)?;
            if !notes_alone {
                embed(&mut catalogue)?;
            }
            write_whole(&out, &catalogue.to_bytes())?;
            say(format!("{}: {}{}", out.display(), songs(catalogue.songs().len()), not_read(&book, replaced)))
        }
        Action::Add { catalogue: path, paths, track } => {
            let mut catalogue = Catalogue::read(&path)?;
            let book = told(read_songs(&paths, track.as_deref())?)?;
            if book.songs.is_empty() {
                return Err(Error::Data(format!("no melody to add; {} stays as it was", path.display())));
            }
            let replaced = fill(&mut catalogue, &book)?;
            if !catalogue.embedded_by().is_empty() {
                embed(&mut catalogue)?;
            }
            write_whole(&path, &catalogue.to_bytes())?;
            let added = book.songs.len() - replaced;
            let now = songs(catalogue.songs().len());
            say(format!("{}: {added} added, {now} now{}", path.display(), not_read(&book, replaced)))
        }
        Action::Remove { catalogue: path, ids } => {
            let mut catalogue = Catalogue::read(&path)?;
            for id in &ids {
                if catalogue.remove(id).is_none() {
                    let detail = format!("has no song `{}`; nothing was removed", plain(id));
                    return Err(Error::file(&path, detail));
                }
            }
            write_whole(&path, &catalogue.to_bytes())?;
            say(format!("{}: {} removed, {} now", path.display(), ids.len(), songs(catalogue.songs().len())))
        }
        Action::List { catalogue, json } => list(&catalogue, json),
    }
}

fn songs(count: usize) -> String {
    if count == 1 { "1 song".into() } else { format!("{count} songs") }
}

/// Reads the melodies of files and folders, at least one, and says what was decided and refused.
pub(super) fn melodies(paths: &[PathBuf], track: Option<&str>) -> Result<Songbook> {
    let book = told(read_songs(paths, track)?)?;
    if book.songs.is_empty() {
        let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
        let read = "MIDI, ABC, numbered notation and recordings are read";
        return Err(Error::Data(format!("no melody in {}; {read}", names.join(", "))));
    }
    Ok(book)
}

/// Says what was decided and refused.
fn told(book: Songbook) -> Result<Songbook> {
    book.decisions.iter().try_for_each(|text| say(plain(text)))?;
    book.refused.iter().for_each(|(name, reason)| warn(&plain(&format!("left out: {name}: {reason}"))));
    book.left_out.iter().for_each(|l| warn(&plain(&format!("left out: {l}"))));
    Ok(book)
}

/// Puts songs into a catalogue; how many were there already.
fn fill(catalogue: &mut Catalogue, book: &Songbook) -> Result<usize> {
    book.fill(catalogue).map_err(|error| Error::Data(plain(&error.to_string()).into_owned()))
}

/// Gives songs their embeddings that have none, or another base model's.
fn embed(catalogue: &mut Catalogue) -> Result<()> {
    let bar = progress_bar(0, "a synthetic singer sings the songs", true);
    identify::embed(catalogue, |more, of| {
        bar.set_length(of as u64);
        bar.inc(more as u64);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    Ok(())
}

fn not_read(book: &Songbook, replaced: usize) -> String {
    let mut text = if replaced > 0 { format!(", {replaced} replaced") } else { String::new() };
    if !book.refused.is_empty() {
        text += &format!(", {} that could not be read", book.refused.len());
    }
    text
}

fn list(path: &Path, json: bool) -> Result<()> {
    let catalogue = Catalogue::read(path)?;
    if json {
        return catalogue.songs().iter().try_for_each(|song| {
            say(serde_json::json!({
                "id": song.id,
                "title": song.title,
                "notes": song.notes.len(),
                "seconds": song.seconds(),
                "beats_per_minute": song.tempo,
            }))
        });
    }
    say("id\tnotes\tseconds\tbeats a minute\ttitle")?;
    catalogue.songs().iter().try_for_each(|song| {
        let (id, title) = (plain(&song.id), plain(&song.title));
        say(format!("{id}\t{}\t{:.1}\t{:.0}\t{title}", song.notes.len(), song.seconds(), song.tempo))
    })
}
