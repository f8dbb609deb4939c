//! Reading one sound file after the other.

use super::cache::{Key, read_into};
use super::dataset::LoadOptions;
use crate::audio::{Audio, decode};
use crate::{Error, Result};
use std::path::Path;

/// Reads sound files into memory that serves for the next one: fresh memory for each costs more than what is in it.
#[derive(Debug, Default)]
pub struct Reader {
    file: Vec<u8>,
    entry: Vec<u8>,
    audio: Audio,
}

impl Reader {
    /// Decodes one file and resamples it to [`LoadOptions::sample_rate`], through the cache where there is one.
    ///
    /// # Errors
    /// When the file cannot be read or decoded.
    pub fn read(&mut self, path: &Path, options: &LoadOptions) -> Result<&Audio> {
        let Self { file, entry, audio } = self;
        read_into(path, file).map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
        let key = options.cache.map(|cache| (cache, Key::new(file, options.sample_rate)));
        if !key.is_some_and(|(cache, key)| cache.load_into(key, entry, audio)) {
            *audio = decode::decode_bytes(std::mem::take(file), path)?.resampled(options.sample_rate)?;
            if let Some((cache, key)) = key {
                cache.store(key, audio);
            }
        }
        if let Some(most) = options.most_samples {
            audio.channels.iter_mut().for_each(|channel| channel.truncate(most.max(1)));
        }
        Ok(audio)
    }
}

/// [`Reader::read`] for a single file.
///
/// # Errors
/// As there.
pub fn load_file(path: &Path, options: &LoadOptions) -> Result<Audio> {
    let mut reader = Reader::default();
    reader.read(path, options)?;
    Ok(reader.audio)
}
