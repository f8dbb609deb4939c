//! Sound that is compressed: what stands around it in a file, and Symphonia's decoders with ours of Opus.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{LazyLock, Once};

use symphonia::core::codecs::registry::CodecRegistry;

use super::bytes::Bytes;
use super::decode::Encoding;
use super::flac::Flac;
use super::opus::OpusDecoder;
use super::packets::{One, decode_one};
use super::{Audio, channels, mpeg};
use crate::{Error, Result};

/// The decoders: Symphonia's, and ours of Opus.
static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs.register_audio_decoder::<OpusDecoder>();
    codecs
});

/// The decoders.
pub fn codecs() -> &'static CodecRegistry {
    &CODECS
}

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Decodes a file, which may be several recordings one after the other; `most` samples, over all channels, come of it.
///
/// # Errors
/// Where it is no sound, or none that can be decoded.
pub fn decode(bytes: Bytes, path: &Path, most: usize) -> Result<(Audio, Encoding)> {
    let decoded = guarded(|| decode_stream(bytes, path, most));
    decoded.unwrap_or_else(|| Err(Error::file(path, "its decoder failed on damaged data")))
}

/// What decoders return; none where they panic. Hostile bytes reach several that are not ours: a panic in one is an
/// unreadable file, not the end of the run, and what it would print is of no use to anybody.
pub fn guarded<T>(decode: impl FnOnce() -> T) -> Option<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !DECODING.get() {
                before(panic);
            }
        }));
    });
    let outer = DECODING.replace(true);
    let decoded = catch_unwind(AssertUnwindSafe(decode));
    DECODING.set(outer);
    decoded.ok()
}

/// Decodes a file that may be several recordings, one after the other.
fn decode_stream(bytes: Bytes, path: &Path, most: usize) -> Result<(Audio, Encoding)> {
    let bytes = bytes.part(0..bytes.len() - tail_length(&bytes));
    if let Some(flac) = Flac::find(&bytes) {
        return decode_flac(&flac, path, most);
    }
    let recordings = recordings(bytes);
    if let [only] = &recordings[..] {
        return decode_one(only.clone(), path, most).map(|one| (one.audio, one.encoding));
    }
    let mut whole: Option<(Audio, Encoding)> = None;
    let (mut joined, mut lost) = (0, 0);
    for recording in recordings {
        let left = whole.as_ref().map_or(most, |(audio, _)| most.saturating_sub(size(audio)));
        match (decode_one(recording, path, left), &mut whole) {
            (Ok(one), None) => whole = Some((one.audio, one.encoding)),
            (Ok(one), Some((audio, _))) => append(audio, one.audio, most)?,
            (Err(_), _) => {
                lost += 1;
                continue;
            }
        }
        joined += 1;
    }
    let (mut audio, encoding) = whole.ok_or_else(|| Error::file(path, "holds no sound that can be decoded"))?;
    audio.warnings.extend(of_joined(joined, lost));
    Ok((audio, encoding))
}

/// The recordings of a file, one or more.
fn recordings(bytes: Bytes) -> Vec<Bytes> {
    let joined = if mpeg::is_mpeg(&bytes) { mpeg::recordings(&bytes) } else { vec![] };
    if joined.len() < 2 { vec![bytes] } else { joined.into_iter().map(|range| bytes.part(range)).collect() }
}

/// The warnings for so many recordings in one file, and for so many parts without sound.
pub(super) fn of_joined(joined: usize, lost: usize) -> impl Iterator<Item = String> {
    let several = (joined > 1).then(|| format!("{joined} recordings joined in one file; read one after the other"));
    let none = (lost > 0).then(|| format!("{lost} more parts of the file hold no sound that can be decoded"));
    several.into_iter().chain(none)
}

fn decode_flac(flac: &Flac<'_>, path: &Path, most: usize) -> Result<(Audio, Encoding)> {
    let One { mut audio, encoding, matches } = decode_one(flac.bytes().into(), path, most)?;
    audio.warnings.extend(of_checksum(flac.bits(), matches, path)?);
    let (said, frames) = (flac.frames(), audio.frames() as u64);
    if said == Some(frames) {
        return Ok((audio, encoding));
    }
    // Its reader leaves out frames of another sample rate.
    let parts = flac.parts();
    if let Some((first, others)) = parts.split_first() {
        audio = decode_one(first.clone().into(), path, most)?.audio;
        for part in others {
            let left = most.saturating_sub(size(&audio));
            append(&mut audio, decode_one(part.clone().into(), path, left)?.audio, most)?;
        }
        let (times, rate) = (others.len(), audio.sample_rate);
        let text = format!("its sample rate changes, {times} time(s); all of it was brought to {rate} Hz");
        audio.warnings.push(text);
    } else if let Some(said) = said {
        audio.warnings.push(other_length(said, frames, audio.sample_rate));
    }
    Ok((audio, encoding))
}

/// A stream of packets: a file, or one of the recordings that are joined in it.
pub struct Single {
    pub bytes: Bytes,
    /// Of FLAC the bits of a sample, and how many frames it says that there are.
    flac: Option<(u32, Option<u64>)>,
}

impl Single {
    /// The streams of a file: several if recordings are joined in it. None for FLAC whose sample rate changes, which has to be decoded
    /// at once.
    pub fn all(bytes: Bytes) -> Option<Vec<Self>> {
        let bytes = bytes.part(0..bytes.len() - tail_length(&bytes));
        if let Some(flac) = Flac::find(&bytes) {
            let (said, whole) = ((flac.bits(), flac.frames()), flac.parts().is_empty());
            return whole.then(|| vec![Self { bytes: Bytes::from(flac.bytes()), flac: Some(said) }]);
        }
        Some(recordings(bytes).into_iter().map(|bytes| Self { bytes, flac: None }).collect())
    }

    /// Warnings about a decoded FLAC file: its checksum and its length.
    ///
    /// # Errors
    /// As [`of_checksum`].
    pub fn of_flac(&self, matches: Option<bool>, held: usize, rate: u32, path: &Path) -> Result<Vec<String>> {
        let Some((bits, said)) = self.flac else { return Ok(Vec::new()) };
        let checksum = of_checksum(bits, matches, path)?;
        let length = said.filter(|&said| said != held as u64).map(|said| other_length(said, held as u64, rate));
        Ok(checksum.into_iter().chain(length).collect())
    }
}

/// The warning for a FLAC header that states another number of frames than the file holds.
fn other_length(said: u64, held: u64, rate: u32) -> String {
    let seconds = |frames: u64| frames as f64 / f64::from(rate);
    format!("the header says {:.3} s, {:.3} s could be decoded", seconds(said), seconds(held))
}

/// The warning for a FLAC file with so many bits a sample that does not match its checksum, or could not be checked.
///
/// # Errors
/// Where the decoder is known to give other samples.
fn of_checksum(bits: u32, matches: Option<bool>, path: &Path) -> Result<Option<String>> {
    match (bits, matches) {
        (25.., Some(false)) => {
            let text = format!("decodes to other samples than its MD5 sum says ({bits} bits a sample)");
            Err(Error::file(path, format!("{text}; convert it to 24 bits")))
        }
        (_, Some(false)) => Ok(Some("decodes to other samples than its MD5 sum says; the file is damaged".into())),
        _ => Ok(None),
    }
}

/// Samples over all channels.
fn size(audio: &Audio) -> usize {
    audio.frames() * audio.channels.len()
}

/// Puts another recording behind one, at its rate and with its channels; `most` samples may come of it.
fn append(audio: &mut Audio, next: Audio, most: usize) -> Result<()> {
    // A recording at a low rate has many more samples at a high one.
    let frames = audio.frames() as f64 + next.seconds() * f64::from(audio.sample_rate);
    if frames * audio.channels.len() as f64 > most as f64 {
        audio.warnings.push(format!("ends early: it decodes to more than {most} samples"));
        return Ok(());
    }
    let next = next.resampled(audio.sample_rate)?;
    let channels = channels::to_count(next.channels, audio.channels.len());
    audio.channels.iter_mut().zip(&channels).for_each(|(all, new)| all.extend_from_slice(new));
    audio.warnings.extend(next.warnings);
    Ok(())
}

/// Bytes of tags at the end: ID3v1, and APE before it.
fn tail_length(bytes: &[u8]) -> usize {
    let mut end = bytes.len();
    if end > 128 && bytes[end - 128..].starts_with(b"TAG") {
        end -= 128;
    }
    if end > 32 && bytes[end - 32..].starts_with(b"APETAGEX") {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[end - 32 + at + i])) as usize;
        let (size, has_header) = (word(12), word(20) >> 31 == 1);
        end = end.saturating_sub(size.saturating_add(if has_header { 32 } else { 0 }));
    }
    bytes.len() - end
}
