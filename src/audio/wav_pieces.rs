//! WAV files that are read piece by piece, so that they may be longer than memory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::chunks::Container;
use super::decode::Encoding;
use super::wav::{self, Format, Layout};
use super::wav_codecs::Coding;
use crate::{Error, Result};

/// A file's beginning, in which its header must be.
pub(super) const HEAD: usize = 1 << 20;

/// Frames of a piece: a whole number of the blocks that [`super::faults`] adds up.
const FRAMES: u64 = 64 << 10;

/// The samples of a WAV file, from one place on.
pub(super) struct WavPieces {
    file: File,
    path: PathBuf,
    layout: Layout,
    /// Where the samples begin in the file.
    begin: u64,
    /// How many there are of each channel, and up to where they were read.
    pub frames: u64,
    at: u64,
    silenced: u64,
    /// What had to be mended in the header.
    mended: Vec<String>,
}

impl WavPieces {
    /// Finds the samples of a file of `total` bytes, of which `head` is the beginning after `skipped` bytes. None where the file is no WAV
    /// file, is compressed, or its samples do not begin in the head.
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
        if Coding::of(format.tag).is_some() {
            return Ok(None);
        }
        let layout = Layout::new(&format, path, &mut warn)?;
        let each = layout.frame_bytes() as u64;
        let (held, frames) = (data.end - data.start, (data.end - data.start) / each);
        if frames == 0 {
            return Err(Error::file(path, "holds no samples"));
        }
        if held % each != 0 {
            warn(format!("the last frame is cut short; read up to it ({frames} samples)"));
        }
        let begin = skipped + data.start;
        let mut pieces = Self { file, path: path.to_path_buf(), layout, begin, frames, at: 0, silenced: 0, mended };
        pieces.seek(0)?;
        Ok(Some(pieces))
    }

    /// Goes on from a frame.
    ///
    /// # Errors
    /// Where the file cannot be read there.
    pub fn seek(&mut self, frame: u64) -> Result<()> {
        (self.at, self.silenced) = (frame.min(self.frames), 0);
        let place = self.begin + self.at * self.layout.frame_bytes() as u64;
        let to = self.file.seek(SeekFrom::Start(place));
        to.map(drop).map_err(|e| Error::file(&self.path, format!("cannot be read: {e}")))
    }

    pub fn sample_rate(&self) -> u32 {
        self.layout.sample_rate
    }

    pub fn encoding(&self) -> Encoding {
        Encoding { codec: self.layout.codec().into(), channels: self.layout.channels }
    }

    /// The next samples, `most` of each channel at most, mixed to two channels; none at the end.
    ///
    /// # Errors
    /// Where the file cannot be read, or has become shorter.
    pub fn next(&mut self, most: u64) -> Result<Option<Vec<Vec<f32>>>> {
        // Of many channels fewer frames: so much is in memory several times.
        let frames = (self.frames - self.at).min(most).min((FRAMES * 2 / self.layout.channels as u64).max(1024));
        if frames == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; frames as usize * self.layout.frame_bytes()];
        let read = self.file.read_exact(&mut bytes);
        read.map_err(|e| Error::file(&self.path, format!("cannot be read to its end: {e}")))?;
        self.at += frames;
        let mut channels = self.layout.samples(&bytes);
        self.silenced += channels.iter_mut().map(|samples| wav::silence_non_finite(samples) as u64).sum::<u64>();
        Ok(Some(super::channels::at_most_two(channels)))
    }

    /// What is to be said of what was read.
    ///
    /// # Errors
    /// Where no sample was finite.
    pub fn warnings(&self) -> Result<Vec<String>> {
        let total = self.frames * self.layout.channels as u64;
        let mut warnings = self.mended.clone();
        if self.silenced == total {
            return Err(Error::file(&self.path, "holds no finite sample"));
        }
        if self.silenced > 0 {
            let silenced = self.silenced;
            warnings.push(format!("{silenced} of {total} samples are not finite or absurdly large; taken as silence"));
        }
        Ok(warnings)
    }
}
