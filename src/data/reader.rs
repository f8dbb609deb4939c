//! Reading one sound file after the other.

use super::cache::Hasher;
use super::dataset::{LoadOptions, Stretch};
use super::find::special;
use crate::audio::decode::{self, Encoding};
use crate::audio::pieces::Pieces;
use crate::audio::{Audio, faults};
use crate::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Reads sound files into memory that serves for the next one: fresh memory for each costs more than what is in it.
#[derive(Debug, Default)]
pub struct Reader {
    file: Vec<u8>,
    entry: Vec<u8>,
    audio: Audio,
    contents: u64,
}

impl Reader {
    /// Decodes one file, or a part of it, and resamples that to [`LoadOptions::sample_rate`], through the cache where there is one.
    ///
    /// # Errors
    /// When the file cannot be read or decoded, or has no such part.
    pub fn read(&mut self, path: &Path, stretch: Option<Stretch>, options: &LoadOptions) -> Result<&Audio> {
        if let Some(pieces) = Pieces::open(path)? {
            return self.read_long(path, pieces, stretch, options);
        }
        let Self { file, entry, audio, contents } = self;
        read_whole(path, file)?;
        *contents = xxh3_64(file);
        let key = options.cache.map(|cache| {
            let mut hash = Hasher::new(options.sample_rate);
            hash.update(file);
            (cache, hash.key(stretch))
        });
        if !key.is_some_and(|(cache, key)| cache.load_into(key, entry, audio)) {
            *audio = decode_stretch(std::mem::take(file), stretch, path)?.0.resampled(options.sample_rate)?;
            if let Some((cache, key)) = key {
                cache.store(key, audio);
            }
        }
        if let Some(most) = options.most_samples {
            audio.channels.iter_mut().for_each(|channel| channel.truncate(most.max(1)));
        }
        Ok(audio)
    }

    /// [`Reader::read`] for a long file, which is not read into memory.
    fn read_long(
        &mut self,
        path: &Path,
        pieces: Pieces,
        stretch: Option<Stretch>,
        options: &LoadOptions,
    ) -> Result<&Audio> {
        if stretch.is_none() {
            pieces.fits(options.sample_rate, options.most_samples)?;
        }
        let (sum, hash) = hash(path, options.sample_rate)?;
        self.contents = sum;
        let key = options.cache.map(|cache| (cache, hash.key(stretch)));
        // Of a recording of which not all is wanted nothing is kept: it would be taken for all of it.
        let most = options.most_samples.filter(|_| stretch.is_none());
        if !key.is_some_and(|(cache, key)| cache.load_into(key, &mut self.entry, &mut self.audio)) {
            self.audio = match stretch {
                Some(stretch) => part(pieces, stretch)?.resampled(options.sample_rate)?,
                None => pieces.read(options.sample_rate, most)?,
            };
            if let Some((cache, key)) = key.filter(|_| most.is_none()) {
                cache.store(key, &self.audio);
            }
        }
        if let Some(most) = options.most_samples {
            self.audio.channels.iter_mut().for_each(|channel| channel.truncate(most.max(1)));
        }
        Ok(&self.audio)
    }

    /// A checksum (XXH3) of what was in the last file.
    pub fn contents(&self) -> u64 {
        self.contents
    }
}

/// The most bytes that are taken from a pipe, which does not say how long it is: three hours of 44.1 kHz stereo.
const MOST_OF_A_PIPE: u64 = 2 << 30;

/// Reads a whole file, no further than it was long when it was opened. A pipe that somebody names (`<(sox ..)`) is read to its
/// end; a device has none.
pub(super) fn read_whole(path: &Path, bytes: &mut Vec<u8>) -> Result<()> {
    let failed = |e: std::io::Error| Error::file(path, format!("cannot be read: {e}"));
    bytes.clear();
    // Before it is opened: to open a device can have effects.
    let kind = special(&std::fs::metadata(path).map_err(failed)?);
    let pipe = kind.is_some_and(|kind| kind.contains("pipe"));
    if let Some(kind) = kind.filter(|_| !pipe) {
        return Err(Error::file(path, format!("is {kind}")));
    }
    let file = File::open(path).map_err(failed)?;
    let most = if pipe { MOST_OF_A_PIPE } else { file.metadata().map_err(failed)?.len() };
    if !pipe {
        // Where there is not that much memory, it is this file that fails and not the program.
        let size = usize::try_from(most).unwrap_or(usize::MAX);
        bytes.try_reserve_exact(size).map_err(|_| {
            Error::file(path, format!("is {} MB long, for which there is not enough memory", most / 1_000_000))
        })?;
    }
    let mut file = file.take(most);
    file.read_to_end(bytes).map_err(failed)?;
    if pipe && bytes.len() as u64 == most {
        return Err(Error::file(path, format!("is a pipe that gives more than {} MB", most / 1_000_000)));
    }
    Ok(())
}

/// A checksum of a file's contents, and what makes its key, without all of it in memory.
fn hash(path: &Path, sample_rate: u32) -> Result<(u64, Hasher)> {
    let failed = |e: std::io::Error| Error::file(path, format!("cannot be read: {e}"));
    let mut file = File::open(path).map_err(failed)?;
    let (mut sum, mut key) = (Box::new(Xxh3::new()), Hasher::new(sample_rate));
    let mut bytes = vec![0; 1 << 20];
    // No further than it was long when it was opened.
    let mut left = file.metadata().map_err(failed)?.len();
    while left > 0 {
        let most = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = file.read(&mut bytes[..most]).map_err(failed)?;
        if read == 0 {
            break;
        }
        sum.update(&bytes[..read]);
        key.update(&bytes[..read]);
        left -= read as u64;
    }
    Ok((sum.digest(), key))
}

/// A part of a long file.
fn part(pieces: Pieces, Stretch { start, end }: Stretch) -> Result<Audio> {
    let (mut audio, short) = pieces.part(start, end)?;
    audio.warnings.extend(too_short(short, end));
    Ok(audio)
}

/// What is said of a passage that goes on behind the end of the recording, which lasts so many seconds.
fn too_short(seconds: Option<f64>, end: Option<f64>) -> Option<String> {
    let (seconds, end) = seconds.zip(end)?;
    // A tenth of a second is no more than somebody's hand on a mouse.
    (end > seconds + 0.1)
        .then(|| format!("lasts {seconds:.3} s, and the passage ends at {end:.3} s; read as far as it goes"))
}

/// Decodes a file, or a part of it, from what is in it.
fn decode_stretch(bytes: Vec<u8>, stretch: Option<Stretch>, path: &Path) -> Result<(Audio, Encoding)> {
    let (mut audio, encoding) = decode::decode_unexamined(bytes, path)?;
    if let Some(stretch) = stretch {
        audio = cut(audio, stretch, path)?;
    }
    faults::examine(&mut audio);
    Ok((audio, encoding))
}

/// The samples of a part of a recording.
fn cut(mut audio: Audio, Stretch { start, end }: Stretch, path: &Path) -> Result<Audio> {
    let (seconds, rate, frames) = (audio.seconds(), f64::from(audio.sample_rate), audio.frames());
    let from = (start * rate).round() as usize;
    if from >= frames {
        let detail = format!("lasts {seconds:.3} s, and the passage begins at {start:.3} s");
        return Err(Error::file(path, detail));
    }
    let to = end.map_or(frames, |end| ((end * rate).round() as usize).clamp(from + 1, frames));
    audio.warnings.extend(too_short(Some(seconds), end));
    audio.channels.iter_mut().for_each(|channel| {
        channel.truncate(to);
        channel.drain(..from);
    });
    Ok(audio)
}

/// Reads and decodes one file, or a part of it, as it is, and says how it holds its sound.
///
/// # Errors
/// As [`Reader::read`].
pub fn decode_part(path: &Path, stretch: Option<Stretch>) -> Result<(Audio, Encoding)> {
    if let Some(pieces) = Pieces::open(path)? {
        let (encoding, rate) = (pieces.encoding(), pieces.sample_rate());
        let audio = match stretch {
            Some(stretch) => part(pieces, stretch)?,
            None => pieces.read(rate, None)?,
        };
        return Ok((audio, encoding));
    }
    let mut bytes = Vec::new();
    read_whole(path, &mut bytes)?;
    decode_stretch(bytes, stretch, path)
}

/// [`decode_part`] of all of a file.
///
/// # Errors
/// As there.
pub fn decode_whole(path: &Path) -> Result<(Audio, Encoding)> {
    decode_part(path, None)
}

/// [`Reader::read`] for a single file.
///
/// # Errors
/// As there.
pub fn load_file(path: &Path, options: &LoadOptions) -> Result<Audio> {
    let mut reader = Reader::default();
    reader.read(path, None, options)?;
    Ok(reader.audio)
}
