//! WAV files that are read piece by piece, so that they may be longer than memory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::chunks::Container;
use super::decode::Encoding;
use super::wav::{self, Format, Layout};
use super::wav_codecs::{Blocks, Coding};
use crate::{Error, Result};

/// A file's beginning, in which its header must be.
pub(super) const HEAD: usize = 1 << 20;

/// Frames of a piece: a whole number of the blocks that [`super::faults`] adds up.
const FRAMES: u64 = 64 << 10;

/// How they lie in the file.
enum Samples {
    Plain(Layout),
    Compressed(Box<Blocks>),
}

impl Samples {
    fn channels(&self) -> usize {
        match self {
            Self::Plain(layout) => layout.channels,
            Self::Compressed(blocks) => blocks.encoding().channels,
        }
    }

    /// Bytes and frames of what is read as a whole.
    fn unit(&self) -> (u64, u64) {
        match self {
            Self::Plain(layout) => (layout.frame_bytes() as u64, 1),
            Self::Compressed(blocks) => (blocks.bytes as u64, blocks.frames as u64),
        }
    }
}

/// Whether a WAV file of `total` bytes, of which `head` is the beginning, holds MPEG audio.
pub(super) fn holds_mpeg(head: &[u8], total: u64) -> bool {
    let Some(container) = Container::of(head) else { return false };
    let format = container.chunks(head, total, &mut |_| ()).format;
    let format = format.and_then(|format| Format::read(format, container, Path::new("")).ok());
    format.is_some_and(|format| Coding::of(format.tag) == Some(Coding::Mpeg))
}

/// Where the data chunk's body lies in a whole WAV file, and what had to be mended in the header; none if there is none.
#[cfg(feature = "compressed-audio")]
pub(super) fn data_of(bytes: &[u8]) -> Option<(std::ops::Range<usize>, Vec<String>)> {
    let mut mended = Vec::new();
    let data = Container::of(bytes)?.chunks(bytes, bytes.len() as u64, &mut |text| mended.push(text)).data?;
    Some((data.start as usize..data.end as usize, mended))
}

/// The samples of a WAV file, from one place on.
pub(super) struct WavPieces {
    file: File,
    path: PathBuf,
    samples: Samples,
    /// Where the samples begin in the file, and where they end.
    begin: u64,
    end: u64,
    /// How many there are of each channel, and up to where they were read.
    pub frames: u64,
    at: u64,
    silenced: u64,
    /// What had to be mended in the header.
    mended: Vec<String>,
}

impl WavPieces {
    /// Finds the samples of a file of `total` bytes, of which `head` is the beginning after `skipped` bytes. None where the file is no WAV
    /// file, holds MPEG audio, or its samples do not begin in the head.
    ///
    /// # Errors
    /// Where it is a WAV file that cannot be read: as [`wav::decode`].
    pub fn open(file: File, path: &Path, head: &[u8], skipped: u64, total: u64) -> Result<Option<Self>> {
        let Some(container) = Container::of(head) else { return Ok(None) };
        let mut mended = Vec::new();
        let mut warn = |text: String| mended.push(text);
        let chunks = container.chunks(head, total - skipped, &mut warn);
        let (Some(format), Some(data)) = (chunks.format, chunks.data) else { return Ok(None) };
        let format = Format::read(format, container, path)?;
        let held = data.end - data.start;
        let (samples, frames) = match Coding::of(format.tag) {
            None => {
                let layout = Layout::new(&format, path, &mut warn)?;
                (Samples::Plain(layout), held / layout.frame_bytes() as u64)
            }
            Some(Coding::Mpeg) => return Ok(None),
            Some(coding) => {
                let blocks = Blocks::new(coding, &format, path)?;
                let frames = blocks.total(held, chunks.frames);
                (Samples::Compressed(Box::new(blocks)), frames)
            }
        };
        if frames == 0 {
            return Err(Error::file(path, "holds no samples"));
        }
        if matches!(samples, Samples::Plain(_)) && held % samples.unit().0 != 0 {
            warn(format!("the last frame is cut short; read up to it ({frames} samples)"));
        }
        let (begin, end, path) = (skipped + data.start, skipped + data.end, path.to_path_buf());
        let mut pieces = Self { file, path, samples, begin, end, frames, at: 0, silenced: 0, mended };
        pieces.seek(0)?;
        Ok(Some(pieces))
    }

    /// Goes on from a frame, or from the first one of the block that it lies in; which that is.
    ///
    /// # Errors
    /// Where the file cannot be read there.
    pub fn seek(&mut self, frame: u64) -> Result<u64> {
        let (bytes, frames) = self.samples.unit();
        let unit = frame.min(self.frames) / frames;
        (self.at, self.silenced) = (unit * frames, 0);
        if let Samples::Compressed(blocks) = &mut self.samples {
            blocks.rewind();
        }
        let to = self.file.seek(SeekFrom::Start((self.begin + unit * bytes).min(self.end)));
        to.map_err(|e| Error::file(&self.path, format!("cannot be read: {e}")))?;
        Ok(self.at)
    }

    pub fn is_compressed(&self) -> bool {
        matches!(self.samples, Samples::Compressed(_))
    }

    pub fn sample_rate(&self) -> u32 {
        match &self.samples {
            Samples::Plain(layout) => layout.sample_rate,
            Samples::Compressed(blocks) => blocks.sample_rate,
        }
    }

    pub fn encoding(&self) -> Encoding {
        match &self.samples {
            Samples::Plain(layout) => Encoding { codec: layout.codec().into(), channels: layout.channels },
            Samples::Compressed(blocks) => blocks.encoding(),
        }
    }

    /// The next samples, `most` of each channel at most, or those of a block where it holds more, mixed to two channels; none at the end.
    ///
    /// # Errors
    /// Where the file cannot be read, or has become shorter.
    pub fn next(&mut self, most: u64) -> Result<Option<Vec<Vec<f32>>>> {
        // Of many channels fewer frames: so much is in memory several times.
        let left = self.frames.saturating_sub(self.at);
        let frames = left.min(most).min((FRAMES * 2 / self.samples.channels() as u64).max(1024));
        if frames == 0 {
            return Ok(None);
        }
        let (unit, each) = self.samples.unit();
        let units = (frames / each).max(1);
        let begin = self.begin + self.at / each * unit;
        // The last block may be cut short.
        let size = (units * unit).min(self.end.saturating_sub(begin));
        let mut bytes = vec![0; size as usize];
        let read = self.file.read_exact(&mut bytes);
        read.map_err(|e| Error::file(&self.path, format!("cannot be read to its end: {e}")))?;
        let frames = (units * each).min(left);
        self.at += frames;
        let mut channels = match &mut self.samples {
            Samples::Plain(layout) => layout.samples(&bytes),
            Samples::Compressed(blocks) => blocks.decode(&bytes),
        };
        channels.iter_mut().for_each(|samples| samples.truncate(frames as usize));
        self.silenced += channels.iter_mut().map(|samples| wav::silence_non_finite(samples) as u64).sum::<u64>();
        Ok(Some(super::channels::at_most_two(channels)))
    }

    /// What is to be said of what was read.
    ///
    /// # Errors
    /// Where no sample was finite.
    pub fn warnings(&self) -> Result<Vec<String>> {
        let total = self.frames * self.samples.channels() as u64;
        let mut warnings = self.mended.clone();
        if self.silenced == total {
            return Err(Error::file(&self.path, "holds no finite sample"));
        }
        if self.silenced > 0 {
            let silenced = self.silenced;
            warnings.push(format!("{silenced} of {total} samples are not finite or absurdly large; taken as silence"));
        }
        if let Samples::Compressed(blocks) = &self.samples {
            warnings.extend(blocks.damaged());
        }
        Ok(warnings)
    }
}
