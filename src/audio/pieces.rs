//! Long sound files, read piece by piece: the same samples, to the bit, and the same warnings as of a file that is decoded at once, but
//! never more of them in memory than are asked for.
//!
//! A WAV file may be of any length. What is compressed is in memory as it is, and decoded as it is needed. Long files are gone through
//! twice, because only at the end is it known whether one channel is the inverse of the other.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

#[cfg(feature = "compressed-audio")]
use super::bytes::Bytes;
#[cfg(feature = "compressed-audio")]
use super::compressed_pieces::CompressedPieces;
use super::decode::{Encoding, id3_length};
use super::faults::{Scan, Tops, turn};
use super::stream::StreamResampler;
use super::wav_pieces::{self, HEAD, WavPieces};
use super::{Audio, faults};
use crate::{Error, Result};

/// Files of more bytes than this are long: WAV (a quarter of it where samples are compressed), and others, which hold more sound.
const LONG_WAV: u64 = 32 << 20;
const LONG_COMPRESSED: u64 = 16 << 20;

/// Frames that are asked for at once.
const FRAMES: u64 = 64 << 10;

/// A long sound file in the middle of being read.
pub struct Pieces {
    path: PathBuf,
    from: From,
    /// What was found out in a first pass, and is counted in the second.
    scan: Option<Scan>,
    tops: Tops,
}

enum From {
    Wav(WavPieces),
    #[cfg(feature = "compressed-audio")]
    Compressed(Box<CompressedPieces>),
}

impl Pieces {
    /// Opens a file that is long; none where it is short, and better decoded at once, or of a kind that has to be.
    ///
    /// # Errors
    /// Where it cannot be read, or is a WAV file that is damaged.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        Self::open_above(path, LONG_WAV, LONG_COMPRESSED)
    }

    /// [`Pieces::open`] where WAV files of more than `wav` bytes are long, and others of more than `compressed`.
    ///
    /// # Errors
    /// As there.
    pub fn open_above(path: &Path, wav: u64, compressed: u64) -> Result<Option<Self>> {
        // Errors of other files are reported where they are decoded.
        let Ok(meta) = std::fs::metadata(path) else { return Ok(None) };
        if !meta.is_file() || meta.len() <= (wav / 4).min(compressed) {
            return Ok(None);
        }
        let failed = |e: std::io::Error| Error::file(path, format!("cannot be read: {e}"));
        let mut file = File::open(path).map_err(failed)?;
        let mut head = Vec::new();
        file.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(failed)?;
        let tag = id3_length(&head);
        let is_wav = head.get(tag..).is_some_and(super::wav::is_wav);
        let holds_mpeg = is_wav && wav_pieces::holds_mpeg(&head[tag..], meta.len() - tag as u64);
        let from = match is_wav && !holds_mpeg {
            true if meta.len() <= wav / 4 => None,
            false if meta.len() <= compressed => None,
            #[cfg(feature = "compressed-audio")]
            false if super::ffmpeg::kind(&head[tag.min(head.len())..]).is_some() => None,
            true => {
                let opened = WavPieces::open(file, path, &head[tag..], tag as u64, meta.len())?;
                opened.filter(|opened| opened.is_compressed() || meta.len() > wav).map(From::Wav)
            }
            #[cfg(feature = "compressed-audio")]
            false => {
                let size = usize::try_from(meta.len()).unwrap_or(usize::MAX);
                head.try_reserve_exact(size.saturating_sub(head.len())).map_err(|_| {
                    let megabytes = meta.len() / 1_000_000;
                    Error::file(path, format!("is {megabytes} MB long, for which there is not enough memory"))
                })?;
                file.take(meta.len() - head.len() as u64).read_to_end(&mut head).map_err(failed)?;
                let all = Bytes::from(head);
                let all = all.part(tag..all.len());
                let opened = match holds_mpeg {
                    true => wav_pieces::data_of(&all)
                        .and_then(|(data, mended)| CompressedPieces::open(all.part(data), path, mended)),
                    false => CompressedPieces::open(all, path, Vec::new()),
                };
                opened.map(|compressed| From::Compressed(Box::new(compressed)))
            }
            #[cfg(not(feature = "compressed-audio"))]
            false => None,
        };
        let path = path.to_path_buf();
        Ok(from.map(|from| Self { path, from, scan: None, tops: Tops::default() }))
    }

    /// Goes through the file for the first time, if that has not been done yet.
    fn examine(&mut self) -> Result<&Scan> {
        while self.scan.is_none() {
            let mut scan = Scan::new(self.sample_rate());
            while let Some(channels) = self.from.next(FRAMES)? {
                scan.push(&channels);
            }
            self.from.rewind()?;
            if self.from.again() {
                continue;
            }
            self.tops = scan.tops();
            self.scan = Some(scan);
        }
        self.scan.as_ref().ok_or_else(|| Error::file(&self.path, "was not examined"))
    }

    /// Samples a second.
    pub fn sample_rate(&self) -> u32 {
        match &self.from {
            From::Wav(wav) => wav.sample_rate(),
            #[cfg(feature = "compressed-audio")]
            From::Compressed(compressed) => compressed.sample_rate,
        }
    }

    /// How the file holds its sound.
    pub fn encoding(&self) -> Encoding {
        match &self.from {
            From::Wav(wav) => wav.encoding(),
            #[cfg(feature = "compressed-audio")]
            From::Compressed(compressed) => compressed.encoding.clone(),
        }
    }

    /// Samples of each channel.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn frames(&mut self) -> Result<u64> {
        if self.from.wav().is_none() {
            // How long it is is known at its end.
            self.examine()?;
        }
        Ok(match &self.from {
            From::Wav(wav) => wav.frames,
            #[cfg(feature = "compressed-audio")]
            From::Compressed(compressed) => compressed.frames() as u64,
        })
    }

    /// Whether there is memory for all of it at another rate, or for the first `most` samples of each channel, as far as can be known
    /// before it is read.
    ///
    /// # Errors
    /// Where there is not.
    pub fn fits(&self, rate: u32, most: Option<usize>) -> Result<()> {
        let Some(wav) = self.from.wav() else { return Ok(()) };
        let mut into = Into::new(&self.path, wav.sample_rate(), rate, most)?;
        into.expect(wav.frames);
        let samples = into.expected.saturating_mul(wav.encoding().channels.min(2));
        Vec::<f32>::new().try_reserve_exact(samples).map_err(|_| into.no_memory())
    }

    /// The next samples of one or two channels, so many frames at most; none at the end.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn next(&mut self, most: u64) -> Result<Option<Vec<Vec<f32>>>> {
        let opposite = self.examine()?.opposite();
        let Some(mut channels) = self.from.next(most)? else { return Ok(None) };
        self.tops.push(&channels, false);
        if opposite {
            turn(&mut channels);
        }
        Ok(Some(channels))
    }

    /// What is to be said of it, when all of it was read.
    ///
    /// # Errors
    /// Where it turns out not to be what it says.
    pub fn warnings(&mut self) -> Result<Vec<String>> {
        let mut warnings = self.from.warnings()?;
        if let Some(scan) = &self.scan {
            warnings.extend(scan.warnings(&self.tops));
        }
        Ok(warnings)
    }

    /// All of it at another rate, or the first `most` samples of each channel.
    ///
    /// # Errors
    /// Where it cannot be read, or there is not enough memory.
    pub fn read(mut self, rate: u32, most: Option<usize>) -> Result<Audio> {
        let path = self.path.clone();
        self.fits(rate, most)?;
        let mut into = Into::new(&path, self.sample_rate(), rate, most)?;
        into.expect(self.frames()?);
        while let Some(channels) = self.next(FRAMES)? {
            into.push(channels, false)?;
        }
        let warnings = self.warnings()?;
        into.finish(warnings)
    }

    /// The part from one time to another, in seconds, as it is, and how many seconds the whole has where it is shorter than that.
    ///
    /// # Errors
    /// Where it cannot be read, there is not enough memory, or it ends before the part begins.
    pub fn part(mut self, start: f64, end: Option<f64>) -> Result<(Audio, Option<f64>)> {
        let (path, sample_rate) = (self.path.clone(), self.sample_rate());
        let rate = f64::from(sample_rate);
        if self.from.is_joined() {
            // Where the later recordings begin is known when the earlier ones were gone through.
            self.examine()?;
        }
        let from = (start * rate).round() as u64;
        let to = end.map_or(u64::MAX, |end| ((end * rate).round() as u64).max(from + 1));
        let mut at = self.from.seek(from)?;
        let mut into = Into::new(&path, sample_rate, sample_rate, None)?;
        while at < to {
            let Some(mut channels) = self.from.next((to - at).min(FRAMES))? else { break };
            let length = channels[0].len() as u64;
            let (first, last) = (from.saturating_sub(at).min(length), (to - at).min(length));
            channels.iter_mut().for_each(|channel| {
                channel.truncate(last as usize);
                channel.drain(..first as usize);
            });
            at += length;
            into.push(channels, false)?;
        }
        let short = (at < to).then_some(at as f64 / rate);
        if into.audio.frames() == 0 {
            let seconds = at as f64 / rate;
            return Err(Error::file(&path, format!("lasts {seconds:.3} s, and the passage begins at {start:.3} s")));
        }
        let mut audio = into.finish(Vec::new())?;
        faults::examine(&mut audio);
        Ok((audio, short))
    }
}

impl From {
    /// Of a WAV file whose length is known; none of what is compressed.
    fn wav(&self) -> Option<&WavPieces> {
        match self {
            Self::Wav(wav) => Some(wav),
            #[cfg(feature = "compressed-audio")]
            Self::Compressed(_) => None,
        }
    }

    fn next(&mut self, most: u64) -> Result<Option<Vec<Vec<f32>>>> {
        match self {
            Self::Wav(wav) => wav.next(most),
            #[cfg(feature = "compressed-audio")]
            Self::Compressed(compressed) => compressed.next(),
        }
    }

    /// Whether it is several recordings, one after the other.
    fn is_joined(&self) -> bool {
        match self {
            Self::Wav(_) => false,
            #[cfg(feature = "compressed-audio")]
            Self::Compressed(compressed) => compressed.is_joined(),
        }
    }

    /// Whether another pass is needed, since only now it is known which frames are sound.
    fn again(&mut self) -> bool {
        match self {
            Self::Wav(_) => false,
            #[cfg(feature = "compressed-audio")]
            Self::Compressed(compressed) => compressed.again(),
        }
    }

    fn rewind(&mut self) -> Result<()> {
        match self {
            Self::Wav(wav) => wav.seek(0).map(drop),
            #[cfg(feature = "compressed-audio")]
            Self::Compressed(compressed) => {
                compressed.rewind();
                Ok(())
            }
        }
    }

    /// Goes to a frame where that is quick; where it is now.
    fn seek(&mut self, frame: u64) -> Result<u64> {
        match self {
            Self::Wav(wav) => wav.seek(frame),
            #[cfg(feature = "compressed-audio")]
            Self::Compressed(_) => Ok(0),
        }
    }

    fn warnings(&mut self) -> Result<Vec<String>> {
        match self {
            Self::Wav(wav) => wav.warnings(),
            #[cfg(feature = "compressed-audio")]
            Self::Compressed(compressed) => compressed.warnings(),
        }
    }
}

/// The error where there is no memory for so many frames.
fn no_memory(path: &Path, frames: usize, rate: u32) -> Error {
    let minutes = frames as f64 / f64::from(rate) / 60.0;
    Error::file(path, format!("lasts {minutes:.0} minutes, and there is not enough memory for so much sound"))
}

/// Pieces that become one recording at another rate.
struct Into<'a> {
    path: &'a Path,
    resampler: StreamResampler,
    /// Samples of each channel that are kept.
    most: usize,
    expected: usize,
    audio: Audio,
}

impl<'a> Into<'a> {
    fn new(path: &'a Path, from: u32, to: u32, most: Option<usize>) -> Result<Self> {
        let audio = Audio { sample_rate: to, ..Audio::default() };
        let resampler = StreamResampler::new(from, to)?;
        Ok(Self { path, resampler, most: most.map_or(usize::MAX, |most| most.max(1)), expected: 0, audio })
    }

    /// Expects so many frames of the file.
    fn expect(&mut self, frames: u64) {
        let (from, to) = self.resampler.rates();
        let expected = (frames as f64 * f64::from(to) / f64::from(from)) as usize + 1;
        self.expected = expected.min(self.most);
    }

    fn no_memory(&self) -> Error {
        no_memory(self.path, self.expected.max(self.audio.frames()), self.audio.sample_rate)
    }

    fn push(&mut self, channels: Vec<Vec<f32>>, last: bool) -> Result<()> {
        if self.audio.frames() >= self.most {
            return Ok(());
        }
        let made = self.resampler.push(channels, last);
        if self.audio.channels.is_empty() {
            self.audio.channels = vec![Vec::new(); made.len()];
            let expected = self.expected;
            let reserved = self.audio.channels.iter_mut().try_for_each(|all| all.try_reserve_exact(expected));
            reserved.map_err(|_| self.no_memory())?;
        }
        let left = self.most - self.audio.frames();
        for (all, new) in self.audio.channels.iter_mut().zip(&made) {
            let new = &new[..new.len().min(left)];
            if all.try_reserve(new.len()).is_err() {
                return Err(no_memory(self.path, all.len().max(self.expected), self.audio.sample_rate));
            }
            all.extend_from_slice(new);
        }
        Ok(())
    }

    fn finish(mut self, warnings: Vec<String>) -> Result<Audio> {
        let nothing = vec![Vec::new(); self.audio.channels.len()];
        self.push(nothing, true)?;
        self.audio.warnings = warnings;
        Ok(self.audio)
    }
}
