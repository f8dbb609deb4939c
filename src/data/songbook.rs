//! Melodies from files: MIDI, MusicXML, ABC, numbered notation, recordings.

use super::find::{LeftOut, find_kind};
use super::reader::read_whole;
use crate::audio::{channels, decode};
use crate::data::synth::tunes::parse;
use crate::melody::abc::read_abc;
use crate::melody::catalogue::Catalogue;
use crate::melody::midi_in::{self, Part};
use crate::melody::musicxml;
use crate::melody::notes::{SungNote, notes};
use crate::melody::pitch::{PitchOptions, PitchTracker};
use crate::melody::song::Song;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What files of melodies hold.
#[derive(Debug, Default)]
pub struct Songbook {
    /// The songs, each with an id of its own: its file's path below the folder, without the ending where that is enough to tell it
    /// from the others, and with `:` and its number where there are several in a file.
    pub songs: Vec<Song>,
    /// What was decided on the way, a line each: which of a MIDI file's tracks, or a score's parts, sings.
    pub decisions: Vec<String>,
    /// Files, and tunes of files, that are no melodies: which, and why.
    pub refused: Vec<(String, String)>,
    /// Files that were not looked into.
    pub left_out: Vec<LeftOut>,
}

impl Songbook {
    /// Puts its songs into a catalogue, in the place of those with the same ids; how many were there already.
    ///
    /// # Errors
    /// Where two of its songs have one id. Nothing is added then.
    pub fn fill(&self, catalogue: &mut Catalogue) -> Result<usize> {
        let mut ids: Vec<&str> = self.songs.iter().map(|song| song.id.as_str()).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            let detail = "two of these files would have this id; put them into one folder, or rename one";
            return Err(Error::Data(format!("{}: {detail}", twice[0])));
        }
        Ok(self.songs.iter().filter(|song| catalogue.add((*song).clone()).is_some()).count())
    }
}

/// The kinds of files that hold melodies, by their endings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Midi,
    Score,
    Abc,
    Numbered,
    Sound,
}

fn kind(path: &Path) -> Option<Kind> {
    let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    match ending.as_deref() {
        Some("mid" | "midi" | "kar") => Some(Kind::Midi),
        Some("musicxml" | "mxl" | "xml") => Some(Kind::Score),
        Some("abc") => Some(Kind::Abc),
        Some("jianpu") => Some(Kind::Numbered),
        _ => decode::is_recording(path).then_some(Kind::Sound),
    }
}

fn holds_melody(path: &Path) -> bool {
    kind(path).is_some()
}

/// A melody on its way to become a song.
struct Found {
    /// Tells it from the other melodies of its file; empty where there are none.
    number: String,
    song: Result<Song, String>,
    decision: Option<String>,
}

/// Reads the melodies of files, and of all files in folders. `track` names the track of MIDI files, or the part of scores, that
/// sings: a number, or text in its name.
///
/// # Errors
/// [`Error::File`] where a path leads nowhere or a folder cannot be listed; what is in a file that cannot be read is told in
/// [`Songbook::refused`].
pub fn read_songs(paths: &[PathBuf], track: Option<&str>) -> Result<Songbook> {
    let mut book = Songbook::default();
    // Ids, and where they lie.
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for path in paths {
        let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::file(path, "no such file or folder"),
            _ => Error::file(path, format!("cannot be read: {e}")),
        })?;
        if meta.is_dir() {
            let (inside, left_out) = find_kind(path, holds_melody)?.left_out();
            files.extend(inside.into_iter().map(|id| (id.clone(), path.join(id))));
            book.left_out.extend(left_out);
        } else {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            files.push((name, path.clone()));
        }
    }
    let mut stems: BTreeMap<String, usize> = BTreeMap::new();
    for (id, _) in &files {
        *stems.entry(without_ending(id)).or_default() += 1;
    }
    let read: Vec<Result<Vec<Found>, String>> = files.par_iter().map(|(_, path)| read_file(path, track)).collect();
    for ((name, _), found) in files.iter().zip(read) {
        let stem = without_ending(name);
        let base = if stems[&stem] > 1 { name.clone() } else { stem };
        let found = match found {
            Ok(found) => found,
            Err(reason) => {
                book.refused.push((name.clone(), reason));
                continue;
            }
        };
        for Found { number, song, decision } in found {
            let behind = if number.is_empty() { String::new() } else { format!(":{number}") };
            book.decisions.extend(decision.map(|text| format!("{name}: {text}")));
            match song {
                Ok(mut song) => {
                    song.id = format!("{base}{behind}");
                    if song.title.is_empty() {
                        let last = base.rsplit('/').next().unwrap_or(&base);
                        song.title = format!("{last}{behind}");
                    }
                    book.songs.push(song);
                }
                Err(reason) => book.refused.push((format!("{name}{behind}"), reason)),
            }
        }
    }
    Ok(book)
}

fn without_ending(name: &str) -> String {
    let from = name.rfind('/').map_or(0, |i| i + 1);
    let end = name[from..].rfind('.').filter(|&i| i > 0).map_or(name.len(), |i| from + i);
    name[..end].to_owned()
}

/// The melodies of one file, or why there are none.
fn read_file(path: &Path, track: Option<&str>) -> Result<Vec<Found>, String> {
    let mut bytes = Vec::new();
    let reason = |error: Error| match error {
        Error::File { detail, .. } => detail,
        other => other.to_string(),
    };
    read_whole(path, &mut bytes).map_err(reason)?;
    match kind(path) {
        Some(Kind::Midi) => from_midi(&bytes, track).map(|found| vec![found]),
        Some(Kind::Score) => from_score(&bytes, track).map(|found| vec![found]),
        Some(Kind::Abc) => from_abc(&bytes),
        Some(Kind::Numbered) => from_numbered(&bytes).map(|found| vec![found]),
        Some(Kind::Sound) => {
            let sound = decode::decode_bytes(bytes, path).map_err(reason)?;
            let tracker = PitchTracker::new(sound.sample_rate, PitchOptions::default()).map_err(reason)?;
            let sung = notes(&tracker.track(&channels::to_count(sound.channels, 1)[0]));
            let song = Song::new("", "", 120.0, sung, &[]);
            Ok(vec![Found { number: String::new(), song, decision: None }])
        }
        None => {
            Err("is no file of melodies: MIDI (.mid), MusicXML (.musicxml, .mxl, .xml), ABC (.abc), numbered notation (.jianpu) and recordings \
                 are read"
                .into())
        }
    }
}

fn from_midi(bytes: &[u8], track: Option<&str>) -> Result<Found, String> {
    from_parts(&midi_in::parts(bytes)?, track, "")
}

fn from_score(bytes: &[u8], track: Option<&str>) -> Result<Found, String> {
    let score = musicxml::read(bytes)?;
    from_parts(&score.parts, track, &score.title)
}

/// The part that is wanted, or that sings.
fn from_parts(parts: &[Part], track: Option<&str>, title: &str) -> Result<Found, String> {
    let chosen: Option<&Part> = match track {
        Some(wanted) => Some(midi_in::named(parts, wanted).ok_or_else(|| {
            let there: Vec<String> = parts.iter().map(ToString::to_string).collect();
            format!("has no track or part `{wanted}` with notes; there are {}", there.join("; "))
        })?),
        None => midi_in::melody(parts),
    };
    let part = chosen.ok_or("holds no notes")?;
    let decision = (parts.len() > 1).then(|| format!("{part} of {} parts sings", parts.len()));
    let song = Song::new("", title, part.tempo, part.notes.clone(), &[]);
    Ok(Found { number: String::new(), song, decision })
}

/// The notation of the built-in tunes ([`parse`]), in which lines `title: ..` and `tempo: ..` (beats a minute) may
/// stand first.
fn from_numbered(bytes: &[u8]) -> Result<Found, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is no text in UTF-8")?;
    let (mut title, mut tempo, mut notation) = (String::new(), 120.0, String::new());
    for line in text.lines() {
        match line.split_once(':').map(|(field, value)| (field.trim().to_ascii_lowercase(), value.trim())) {
            Some((field, value)) if field == "title" => title = value.to_owned(),
            Some((field, value)) if field == "tempo" => {
                let number = value.parse().ok().filter(|tempo| (10.0..=1000.0).contains(tempo));
                tempo =
                    number.ok_or_else(|| format!("`{}` is no tempo from 10 to 1000 beats a minute", line.trim()))?;
            }
            Some((field, _)) => return Err(format!("has a line `{field}:`; there are `title:` and `tempo:`")),
            None => notation += &format!("{line}\n"),
        }
    }
    let (mut now, mut notes, mut marks) = (0.0, Vec::new(), Vec::new());
    for note in parse(&notation)? {
        let end = now + note.beats * 60.0 / tempo;
        // The tonic is middle C: who looks for a song takes it away again.
        notes.extend(note.semitone.map(|s| SungNote { start: now, end, midi: 60.0 + f64::from(s) }));
        now = end;
        if note.phrase_end {
            marks.push(now);
        }
    }
    let song = Song::new("", title, tempo, notes, &marks);
    Ok(Found { number: String::new(), song, decision: None })
}

fn from_abc(bytes: &[u8]) -> Result<Vec<Found>, String> {
    // Many ABC files are older than Unicode: there each byte of Latin 1 is a character.
    let latin = || bytes.iter().map(|&b| char::from(b)).collect();
    let text = std::str::from_utf8(bytes).map_or_else(|_| latin(), str::to_owned);
    let tunes = read_abc(&text);
    if tunes.is_empty() {
        return Err("holds no tune: none begins with `X:`".into());
    }
    let several = tunes.len() > 1;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let found = tunes.into_iter().map(|tune| {
        let (number, song) = match tune {
            Ok(tune) => {
                let song = Song::new("", tune.title, tune.tempo, tune.notes, &tune.lines);
                (tune.number, song)
            }
            Err((number, reason)) => (number, Err(reason)),
        };
        let times = seen.entry(number.clone()).or_default();
        *times += 1;
        // Some files use a number twice.
        let number = if *times > 1 { format!("{number}-{times}") } else { number };
        Found { number: if several { number } else { String::new() }, song, decision: None }
    });
    Ok(found.collect())
}
