//! `humdinger identify`: which song of a catalogue is sung.

use super::image::is_image;
use super::melody_picture;
use super::predict::live::{Live, RawArgs};
use super::predict::long::Pieces;
use super::predict::{Found, sound_files};
use super::{plain, say, warn};
use crate::audio::decode::decode_file;
use crate::audio::{Audio, channels};
use crate::melody::catalogue::Catalogue;
use crate::melody::search::{Match, SearchOptions, UNKNOWN_BELOW};
use crate::melody::song::Song;
use crate::melody::stretches::{Stretch, StretchFinder};
use crate::train::identify::{Identified, Identifier};
use crate::{Error, Result};
use clap::ValueEnum;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// A row for each song that may be meant
    Csv,
    /// A line for each recording: an object with `file`, `unknown` and `candidates`
    Jsonl,
}

/// Name the song that somebody sings, hums or whistles, by its notes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The catalogue of songs, made by `humdinger catalogue make`
    #[arg(long, value_name = "FILE")]
    catalogue: PathBuf,
    /// Sound files, or folders of them; - for standard input, where samples without an end are answered while they come, a stretch
    /// that is sung after the other
    #[arg(value_name = "PATH", required_unless_present = "microphone")]
    paths: Vec<PathBuf>,
    /// How many of the likeliest songs to list
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = super::whole::<usize>, allow_negative_numbers = true)]
    top: usize,
    /// The singer may begin with any phrase, instead of the first
    #[arg(long)]
    anywhere: bool,
    /// Below this score of the best song, from 0 to 1, the answer is that it is not in the catalogue
    #[arg(long, value_name = "X", default_value_t = UNKNOWN_BELOW, allow_negative_numbers = true)]
    min_score: f64,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Draw the pitch that was sung over the notes of the likeliest song: an image for one recording (.png or .svg), else a folder, in which
    /// each recording gets a PNG
    #[arg(long, value_name = "IMAGE|FOLDER")]
    plot: Option<PathBuf>,
    /// Stop at a recording that cannot be read, instead of leaving it out
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    raw: RawArgs,
    #[command(flatten)]
    live: Live,
}

/// The answer for one recording.
struct Answer {
    file: String,
    /// From which second of a stream to which.
    at: Option<(f64, f64)>,
    /// Why the song is not known, where it is not.
    unknown: Option<&'static str>,
    /// The likeliest songs, the likeliest first.
    candidates: Vec<Match>,
}

impl Answer {
    fn new(file: String, mut candidates: Vec<Match>, top: usize, least: f64) -> Self {
        candidates.truncate(top);
        let unknown = match candidates.first() {
            None => Some("too little is sung to tell"),
            Some(best) if best.score < least => Some("not in the catalogue"),
            Some(_) => None,
        };
        Self { file, at: None, unknown, candidates }
    }

    /// The object of the JSON form.
    fn json(&self, songs: &[Song]) -> serde_json::Value {
        let candidates: Vec<serde_json::Value> = self.candidates.iter().map(|found| json(found, songs)).collect();
        match self.at {
            None => serde_json::json!({"file": self.file, "unknown": self.unknown.is_some(), "candidates": candidates}),
            Some((start, end)) => serde_json::json!({"file": self.file, "start": start, "end": end,
                "unknown": self.unknown.is_some(), "candidates": candidates}),
        }
    }
}

/// Which song is sung in a recording, and what was wrong with its file; below the score `least` it is none of the catalogue's.
fn ask(
    songs: &Identifier,
    name: String,
    mut sound: Audio,
    options: &SearchOptions,
    (top, least): (usize, f64),
) -> Result<(Answer, Identified, Vec<String>)> {
    let warnings = std::mem::take(&mut sound.warnings);
    let mut found = songs.listen(sound, options)?;
    let matches = std::mem::take(&mut found.matches);
    Ok((Answer::new(name, matches, top, least), found, warnings))
}

/// Opens a catalogue.
pub(super) fn open(path: &Path) -> Result<Identifier> {
    let catalogue = Catalogue::read(path)?;
    if catalogue.songs().is_empty() {
        return Err(Error::file(path, "holds no songs; `humdinger catalogue add` adds some"));
    }
    let songs = Identifier::new(catalogue)?;
    if songs.is_of_another_model() {
        warn(&plain(&format!(
            "{}: was made with another base model; songs are compared by their notes alone until it is made again",
            path.display()
        )));
    }
    Ok(songs)
}

/// What `identify --format jsonl` says of a decoded recording; what had to be mended is in `warnings`, where anything had to be.
///
/// # Errors
/// Where its rate is out of range.
pub(super) fn answer(
    songs: &Identifier,
    name: &str,
    sound: Audio,
    top: usize,
    anywhere: bool,
) -> Result<serde_json::Value> {
    let options = SearchOptions { anywhere, ..SearchOptions::default() };
    let (answer, _, warnings) = ask(songs, name.into(), sound, &options, (top, UNKNOWN_BELOW))?;
    let mut object = answer.json(songs.songs());
    if !warnings.is_empty() {
        object["warnings"] = warnings.into();
    }
    Ok(object)
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    if args.top == 0 {
        return Err(Error::usage("--top", "0 songs are no answer; at least 1"));
    }
    if !(0.0..=1.0).contains(&args.min_score) {
        return Err(Error::usage("--min-score", format!("{} is not from 0 to 1", args.min_score)));
    }
    let (input, paths): (Vec<_>, Vec<_>) = args.paths.iter().cloned().partition(|path| path.as_os_str() == STANDARD);
    if input.len() > 1 {
        return Err(Error::usage("PATH", "standard input (-) can be read only once"));
    }
    args.live.check("identify --catalogue songs.cat")?;
    args.raw.check(!input.is_empty())?;
    let opened = open(&args.catalogue)?;
    let (mut files, _) = sound_files(&paths, args.strict)?;
    let live = args.live.is_wanted().then(|| MICROPHONE.into());
    files.extend(input.into_iter().chain(live).map(|path| Found { path, named: true }));
    let plots = args.plot.as_deref().map(|path| Plots::new(path, &files)).transpose()?;
    let options = SearchOptions { anywhere: args.anywhere, ..SearchOptions::default() };
    let mut asking = Asking { songs: &opened, options, args: &args, plots, told: 0 };
    let (mut read, mut unread_by_name) = (0, 0);
    for file in &files {
        match asking.recording(&file.path) {
            Ok(()) => read += 1,
            Err(error) if args.strict || files.len() == 1 || matches!(error, Error::Usage { .. }) => return Err(error),
            Err(error) => {
                warn(&plain(&format!("left out: {error}")));
                unread_by_name += usize::from(file.named);
            }
        }
    }
    match (read, unread_by_name) {
        (0, _) => Err(Error::Data(format!("none of the {} recordings could be read", files.len()))),
        (_, 0) => Ok(()),
        _ => Err(Error::Data(format!("{} of {} recordings could not be read", files.len() - read, files.len()))),
    }
}

/// How standard input is named, and a microphone.
const STANDARD: &str = "-";
const MICROPHONE: &str = "microphone";

/// Asking about one recording after the other.
struct Asking<'a> {
    songs: &'a Identifier,
    options: SearchOptions,
    args: &'a Args,
    plots: Option<Plots>,
    /// Answers so far.
    told: usize,
}

impl Asking<'_> {
    /// Asks about one recording, or about what comes from standard input or a microphone.
    fn recording(&mut self, path: &Path) -> Result<()> {
        let pieces = match path.to_str() {
            Some(STANDARD) => Pieces::standard_input(self.args.raw.get().as_ref(), path)?,
            Some(MICROPHONE) if self.args.live.is_wanted() => Pieces::microphone(&self.args.live, path)?,
            _ => return self.sound(path, None, decode_file(path)?),
        };
        if pieces.is_endless() { self.stream(path, pieces) } else { self.sound(path, None, pieces.whole(path)?) }
    }

    /// Answers each sung stretch when it is over.
    fn stream(&mut self, path: &Path, mut pieces: Pieces<'_>) -> Result<()> {
        if let Some(plots) = self.plots.as_ref().filter(|plots| plots.names.is_none()) {
            let detail = format!("{}: a stream has a picture for each stretch; name a folder", plots.path.display());
            return Err(Error::usage("--plot", detail));
        }
        let mut finder = StretchFinder::new(pieces.sample_rate)?;
        let (before, rate) = (self.told, pieces.sample_rate);
        while let Some(piece) = pieces.next(path)? {
            let mono = channels::to_count(piece, 1).swap_remove(0);
            finder.push(&mono).into_iter().try_for_each(|stretch| self.stretch(path, rate, stretch))?;
        }
        finder.finish().into_iter().try_for_each(|stretch| self.stretch(path, rate, stretch))?;
        if finder.seconds() == 0.0 {
            return Err(Error::file(path, "holds no sound"));
        }
        if self.told == before {
            self.tell(&Answer::new(path.display().to_string(), Vec::new(), self.args.top, self.args.min_score))?;
        }
        Ok(())
    }

    fn stretch(&mut self, path: &Path, sample_rate: u32, stretch: Stretch) -> Result<()> {
        let Stretch { start, end, samples } = stretch;
        self.sound(path, Some((start, end)), Audio { channels: vec![samples], sample_rate, warnings: Vec::new() })
    }

    /// Answers for a recording, or for a stretch of a stream; of stretches in which too little is sung, as somebody coughs or speaks,
    /// nothing is said.
    fn sound(&mut self, path: &Path, at: Option<(f64, f64)>, sound: Audio) -> Result<()> {
        let name = path.display().to_string();
        let (mut answer, found, warnings) =
            ask(self.songs, name.clone(), sound, &self.options, (self.args.top, self.args.min_score))?;
        if at.is_some() && answer.candidates.is_empty() {
            return Ok(());
        }
        answer.at = at;
        warnings.iter().for_each(|text| warn(&plain(&format!("warning: {name}: {text}"))));
        self.tell(&answer)?;
        let songs = self.songs.songs();
        self.plots.as_ref().map_or(Ok(()), |plots| plots.draw(path, &answer, &found, songs))
    }

    fn tell(&mut self, answer: &Answer) -> Result<()> {
        self.told += 1;
        print(answer, self.songs.songs(), self.args.format, self.told == 1)
    }
}

/// Where pictures go.
struct Plots {
    path: PathBuf,
    /// For each recording a name of its own in a folder; none where the one recording's picture has a name.
    names: Option<BTreeMap<PathBuf, String>>,
}

impl Plots {
    fn new(path: &Path, files: &[Found]) -> Result<Self> {
        if is_image(path) {
            let several =
                || Error::usage("--plot", format!("{} recordings do not fit one image; name a folder", files.len()));
            return if files.len() > 1 { Err(several()) } else { Ok(Self { path: path.into(), names: None }) };
        }
        std::fs::create_dir_all(path).map_err(|e| Error::file(path, format!("cannot be made: {e}")))?;
        let mut taken = BTreeSet::new();
        let named = |file: &Found| {
            let stem = file.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let stem = if stem == STANDARD { "standard-input".to_owned() } else { stem };
            // Recordings of several folders may be called alike.
            let names = std::iter::once(stem.clone()).chain((2..).map(|n| format!("{stem}-{n}")));
            let name = names.into_iter().find(|name| taken.insert(name.to_lowercase())).unwrap_or(stem);
            (file.path.clone(), format!("{name}.png"))
        };
        Ok(Self { path: path.into(), names: Some(files.iter().map(named).collect()) })
    }

    fn draw(&self, file: &Path, answer: &Answer, found: &Identified, songs: &[Song]) -> Result<()> {
        let path = match &self.names {
            None => self.path.clone(),
            Some(names) => {
                let name = names.get(file).cloned().unwrap_or_default();
                let of_stream =
                    answer.at.map(|(start, _)| format!("{}-{start:06.1}s.png", name.trim_end_matches(".png")));
                self.path.join(of_stream.unwrap_or(name))
            }
        };
        let best = answer.candidates.first();
        let notes = best.map_or(Vec::new(), |best| found.notes(&songs[best.song], best));
        let song = best.map_or("", |best| &songs[best.song].title);
        let title = match answer.unknown {
            Some(why) if song.is_empty() => format!("{}: {why}", answer.file),
            Some(why) => format!("{}: {why}; the most alike: {song}", answer.file),
            None => format!("{}: {song}", answer.file),
        };
        melody_picture::write(&path, &plain(&title), &found.contour, &notes)
    }
}

fn print(answer: &Answer, songs: &[Song], format: Format, first: bool) -> Result<()> {
    match format {
        Format::Table => {
            let known = answer.candidates.first().filter(|_| answer.unknown.is_none());
            let title = known.map(|best| plain(&songs[best.song].title));
            let head = title.as_deref().or(answer.unknown).unwrap_or("unknown");
            let at = answer.at.map_or_else(String::new, |(start, end)| format!(", {start:.1} to {end:.1} s"));
            say(format!("{head:<32}  {}{at}", plain(&answer.file)))?;
            answer.candidates.iter().enumerate().try_for_each(|(i, found)| {
                let song = &songs[found.song];
                say(format!(
                    "  {}. score {:.2}  key {:+5.1}  {:4.0} beats a minute (x {:.2})  from {:.1} s to {:.1} s  {} ({})",
                    i + 1,
                    found.score,
                    found.key,
                    found.tempo * song.tempo,
                    found.tempo,
                    found.at.0,
                    found.at.1,
                    plain(&song.title),
                    plain(&song.id)
                ))
            })
        }
        Format::Csv => {
            let mut lines = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
            let failed = |e: csv::Error| Error::Data(format!("the answer cannot be written as CSV: {e}"));
            if first {
                let head =
                    ["file", "unknown", "place", "id", "title", "score", "key", "tempo", "from", "to", "start", "end"];
                lines.write_record(head).map_err(failed)?;
            }
            let unknown = answer.unknown.is_some().to_string();
            let times = answer.at.map_or([String::new(), String::new()], |at| [at.0, at.1].map(|x| format!("{x:.3}")));
            for (i, found) in answer.candidates.iter().enumerate() {
                let song = &songs[found.song];
                let numbers = [found.score, found.key, found.tempo, found.at.0, found.at.1];
                let start = [&answer.file, &unknown, &(i + 1).to_string(), &song.id, &song.title].map(String::from);
                let row = start.into_iter().chain(numbers.map(|x| format!("{x:.3}"))).chain(times.clone());
                lines.write_record(row).map_err(failed)?;
            }
            if answer.candidates.is_empty() {
                let nothing = std::iter::repeat_n(String::new(), 8);
                let row = [answer.file.clone(), unknown].into_iter().chain(nothing).chain(times);
                lines.write_record(row).map_err(failed)?;
            }
            let bytes = lines.into_inner().map_err(|e| Error::Data(e.to_string()))?;
            say(String::from_utf8_lossy(&bytes).trim_end())
        }
        Format::Jsonl => say(answer.json(songs)),
    }
}

fn json(found: &Match, songs: &[Song]) -> serde_json::Value {
    let song = &songs[found.song];
    serde_json::json!({
        "id": song.id,
        "title": song.title,
        "score": found.score,
        "key": found.key,
        "tempo": found.tempo,
        "beats_per_minute": found.tempo * song.tempo,
        "at": [found.at.0, found.at.1],
    })
}
