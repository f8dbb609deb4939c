//! Passages in long recordings and streams.

use super::super::{plain, warn};
use super::live::Live;
use crate::audio::Audio;
use crate::audio::decode::decode_bytes;
use crate::audio::faults;
use crate::audio::pieces;
use crate::audio::stream::{Opened, SoundStream};
use crate::audio::wav;
use crate::data::progress;
use crate::train::listen::{Listener, Listening};
use crate::train::passages::Passage;
use crate::train::predict::{Predictor, WindowPrediction};
use crate::train::weights::write_whole;
use crate::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A recording is long, and gets passages, from this many windows on: no clip that training would take as one is.
pub(super) const LONG: f64 = 4.0;
/// Uploaded WAV files of more bytes than this are resampled piece by piece.
pub(super) const LARGE: u64 = 32 << 20;
/// Seconds that are read at once from a file, and from a stream, whose answers are waited for.
pub(super) const PIECE: f64 = 10.0;
const LIVE_PIECE: f64 = 0.25;
/// The most bytes of a stream that is not WAV, which is read to its end first.
const MOST_OF_A_STREAM: u64 = 2 << 30;

/// Sound that comes piece by piece.
pub(in crate::cli) struct Pieces<'a> {
    from: From<'a>,
    pub sample_rate: u32,
    /// How long it is, where that is known.
    pub seconds: Option<f64>,
    piece: f64,
}

enum From<'a> {
    Stream(SoundStream<'a>),
    /// A long file.
    File(Box<pieces::Pieces>),
    /// Channels in memory, and how much of them was given out.
    Memory(Vec<Vec<f32>>, usize),
}

/// How samples without a header lie: their format, rate and channels.
pub(in crate::cli) type Raw = (String, u32, usize);

impl<'a> Pieces<'a> {
    /// Standard input.
    ///
    /// # Errors
    /// Where it is no sound.
    pub fn standard_input(raw: Option<&Raw>, path: &Path) -> Result<Self> {
        let input = std::io::stdin();
        let stream = match raw {
            Some((format, rate, channels)) => SoundStream::raw(input, path, format, *rate, *channels)?,
            None => match SoundStream::open(input, path)? {
                Opened::Wav(stream) => stream,
                Opened::Other(rest) => {
                    let mut bytes = Vec::new();
                    let failed = |e: std::io::Error| Error::file(path, format!("cannot be read: {e}"));
                    rest.take(MOST_OF_A_STREAM).read_to_end(&mut bytes).map_err(failed)?;
                    if bytes.len() as u64 == MOST_OF_A_STREAM {
                        let detail = "gives more than 2 GB, and only WAV and raw samples are read as they come";
                        return Err(Error::file(path, detail));
                    }
                    let audio = decode_bytes(bytes, path)?;
                    tell(path, &audio);
                    return Ok(Self::memory(audio));
                }
            },
        };
        let (sample_rate, seconds) = (stream.sample_rate(), stream.seconds);
        Ok(Self { from: From::Stream(stream), sample_rate, seconds, piece: LIVE_PIECE })
    }

    /// A long file, which lasts so many seconds.
    pub fn file(file: Box<pieces::Pieces>, seconds: f64) -> Self {
        Self { sample_rate: file.sample_rate(), from: From::File(file), seconds: Some(seconds), piece: PIECE }
    }

    /// What a microphone records, until it ends.
    ///
    /// # Errors
    /// As [`super::live::Live::open`].
    pub fn microphone(live: &Live, path: &Path) -> Result<Pieces<'static>> {
        let (from, sample_rate, channels) = live.open()?;
        let stream = SoundStream::raw(from, path, "f32le", sample_rate, channels)?;
        Ok(Pieces { from: From::Stream(stream), sample_rate, seconds: None, piece: LIVE_PIECE })
    }

    /// Decoded sound.
    pub fn memory(audio: Audio) -> Self {
        let seconds = Some(audio.seconds());
        Self { sample_rate: audio.sample_rate, seconds, from: From::Memory(audio.channels, 0), piece: PIECE }
    }

    /// Whether its length is unknown, so that it has to be answered while it arrives.
    pub fn is_endless(&self) -> bool {
        self.seconds.is_none()
    }

    /// All of it.
    ///
    /// # Errors
    /// Where it cannot be read, or there is none.
    pub fn whole(mut self, path: &Path) -> Result<Audio> {
        let in_pieces = !matches!(self.from, From::Memory(..));
        let mut channels: Vec<Vec<f32>> = Vec::new();
        while let Some(piece) = self.next(path)? {
            channels.resize(piece.len(), Vec::new());
            channels.iter_mut().zip(piece).for_each(|(all, new)| all.extend(new));
        }
        if channels.iter().all(Vec::is_empty) {
            return Err(Error::file(path, "holds no sound"));
        }
        let mut audio = Audio { channels, sample_rate: self.sample_rate, warnings: Vec::new() };
        if in_pieces {
            // What a piece alone does not show: that all of it is silent, for instance.
            faults::examine(&mut audio);
        }
        Ok(audio)
    }

    /// The next piece, all channels of one length; none after the end.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn next(&mut self, path: &Path) -> Result<Option<Vec<Vec<f32>>>> {
        match &mut self.from {
            From::Stream(stream) => Ok(stream.next(self.piece)?.map(|audio| {
                tell(path, &audio);
                audio.channels
            })),
            From::File(file) => {
                let piece = file.next((self.piece * f64::from(self.sample_rate)) as u64)?;
                if piece.is_none() {
                    told(path, &file.warnings()?);
                }
                Ok(piece)
            }
            From::Memory(channels, at) => {
                let held = channels.first().map_or(0, Vec::len);
                let to = held.min(*at + (self.piece * f64::from(self.sample_rate)) as usize);
                let part = channels.iter().map(|all| all[*at..to].to_vec()).collect();
                let empty = *at == to;
                *at = to;
                Ok((!empty).then_some(part))
            }
        }
    }
}

fn tell(path: &Path, audio: &Audio) {
    told(path, &audio.warnings);
}

fn told(path: &Path, warnings: &[String]) {
    warnings.iter().for_each(|text| warn(&plain(&format!("warning: {}: {text}", path.display()))));
}

/// What was found in a long recording.
pub(super) struct Listened {
    pub seconds: f64,
    pub passages: Vec<Passage>,
    /// The window that is surest of a song.
    pub surest: Option<WindowPrediction>,
}

/// Listens to a recording from its beginning to its end; each passage is `told` when it is decided. `shown` where somebody may want to
/// see how far it is.
pub(super) fn listen(
    predictor: &mut Predictor,
    (path, mut pieces): (&Path, Pieces<'_>),
    how: Listening,
    mut cutter: Option<&mut Cutter>,
    mut told: impl FnMut(&Passage) -> Result<()>,
) -> Result<Listened> {
    let mut listener = Listener::new(predictor, path, pieces.sample_rate, how)?;
    if let Some(cutter) = &mut cutter {
        cutter.begin(path, pieces.sample_rate);
    }
    let bar = progress(pieces.seconds, path);
    let mut passages = Vec::new();
    loop {
        let piece = pieces.next(path)?;
        if let (Some(cutter), Some(piece)) = (&mut cutter, &piece) {
            cutter.keep(piece);
        }
        let last = piece.is_none();
        let found = match piece {
            Some(piece) => listener.push(predictor, piece)?,
            None => listener.finish(predictor)?,
        };
        bar.set_position(listener.seconds() as u64);
        for passage in found {
            if let Some(cutter) = &mut cutter {
                cutter.write(&passage, &predictor.model.header.names())?;
            }
            bar.suspend(|| told(&passage))?;
            passages.push(passage);
        }
        if last {
            break;
        }
        if let Some(cutter) = &mut cutter {
            cutter.forget(listener.undecided_from());
        }
    }
    bar.finish_and_clear();
    if listener.seconds() == 0.0 {
        return Err(Error::file(path, "holds no sound"));
    }
    Ok(Listened { seconds: listener.seconds(), passages, surest: listener.surest().cloned() })
}

/// How far it is and how long it still takes, on a terminal.
fn progress(seconds: Option<f64>, path: &Path) -> ProgressBar {
    let Some(seconds) = seconds else { return ProgressBar::hidden() };
    let bar = ProgressBar::with_draw_target(Some(seconds as u64), progress::target());
    let looks = if progress::in_lines() {
        "{msg}: {percent} %, {eta} left"
    } else {
        "{msg} {wide_bar} {percent} %, {eta} left"
    };
    if let Ok(style) = ProgressStyle::with_template(looks) {
        bar.set_style(style);
    }
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    bar.with_message(plain(&name).into_owned())
}

/// Writes passages as WAV files, as they were recorded: a folder for each song, as `train` takes them.
pub(super) struct Cutter {
    folder: PathBuf,
    /// Of the recording that is listened to: its name without the ending, its rate, and its sound from sample `begin` on.
    stem: String,
    rate: u32,
    channels: Vec<Vec<f32>>,
    begin: usize,
}

impl Cutter {
    /// Into a folder that is made, or is empty.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn new(folder: &Path) -> Result<Self> {
        let failed = |e: std::io::Error| Error::usage("--cut", format!("{}: cannot be made: {e}", folder.display()));
        std::fs::create_dir_all(folder).map_err(failed)?;
        if std::fs::read_dir(folder).map_err(failed)?.next().is_some() {
            let detail = format!("{} is not empty; name a new folder for the passages", folder.display());
            return Err(Error::usage("--cut", detail));
        }
        let folder = folder.to_path_buf();
        Ok(Self { folder, stem: String::new(), rate: 0, channels: Vec::new(), begin: 0 })
    }

    fn begin(&mut self, path: &Path, rate: u32) {
        let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        self.stem = if path.as_os_str() == "-" { "standard-input".into() } else { file_name(&stem) };
        (self.rate, self.begin) = (rate, 0);
        self.channels.clear();
    }

    fn keep(&mut self, piece: &[Vec<f32>]) {
        self.channels.resize(piece.len(), Vec::new());
        self.channels.iter_mut().zip(piece).for_each(|(all, new)| all.extend_from_slice(new));
    }

    fn forget(&mut self, before: f64) {
        let held = self.channels.first().map_or(0, Vec::len);
        let done = ((before * f64::from(self.rate)) as usize).saturating_sub(self.begin).min(held);
        self.channels.iter_mut().for_each(|all| drop(all.drain(..done)));
        self.begin += done;
    }

    fn write(&self, passage: &Passage, names: &[String]) -> Result<()> {
        let folder =
            self.folder.join(names.get(passage.output).map_or_else(|| "unknown".into(), |name| file_name(name)));
        std::fs::create_dir_all(&folder).map_err(|e| Error::file(&folder, format!("cannot be made: {e}")))?;
        // Recordings of one name, of several folders, and passages that begin in the same tenth of a second.
        let name = |number: usize| match number {
            1 => format!("{}-{:07.1}s.wav", self.stem, passage.start),
            _ => format!("{}-{:07.1}s-{number}.wav", self.stem, passage.start),
        };
        let path = (1..).map(|number| folder.join(name(number))).find(|path| !path.exists()).unwrap_or_default();
        let held = self.channels.first().map_or(0, Vec::len);
        let at =
            |seconds: f64| ((seconds * f64::from(self.rate)).round() as usize).saturating_sub(self.begin).min(held);
        let part = at(passage.start)..at(passage.end);
        let channels: Vec<&[f32]> = self.channels.iter().map(|channel| &channel[part.clone()]).collect();
        write_whole(&path, &wav::encode(&channels, self.rate)?)
    }
}

/// A name that a file can have everywhere.
fn file_name(text: &str) -> String {
    let bad = |c: char| c.is_control() || "/\\:*?\"<>|".contains(c);
    let name: String = text.chars().map(|c| if bad(c) { '_' } else { c }).collect();
    match name.trim_matches([' ', '.']) {
        "" => "_".into(),
        name => name.into(),
    }
}
