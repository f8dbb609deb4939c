//! Any sound file to samples: WAV by our own reader, everything else by Symphonia (feature `compressed-audio`).

use std::path::Path;

use super::bytes::Bytes;
#[cfg(feature = "compressed-audio")]
pub(super) use super::compressed::{codecs, guarded};
use super::{Audio, faults, ffmpeg, wav};
use crate::{Error, Result};

/// Endings (lower case) of the files that a folder is searched for.
pub const EXTENSIONS: &[&str] = &[
    "wav", "wave", "w64", "rf64", "bw64", "flac", "mp3", "mp2", "mp1", "mpga", "ogg", "oga", "opus", "m4a", "m4b",
    "m4r", "m4v", "mp4", "mov", "3gp", "3g2", "3ga", "aac", "webm", "weba", "mkv", "mka", "aif", "aiff", "aifc", "caf",
];

/// Most samples (over all channels) that a compressed file of `size` bytes may decode to: 64 MiB of them for any file, and 64
/// samples for each of its bytes (the poorest MP3, 8 kbit/s of stereo at 24 kHz, has 48); never more than a gigabyte, 50 minutes
/// of stereo at 44.1 kHz. A WAV file is as long as it is large, but a few kilobytes of FLAC can hold a day of silence.
pub const fn most_samples(size: usize) -> usize {
    let proportional = (1 << 24) + size.saturating_mul(64);
    if proportional < 1 << 28 { proportional } else { 1 << 28 }
}

/// Whether the name ends like a sound file's.
pub fn is_sound_file(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| EXTENSIONS.contains(&e.to_ascii_lowercase().as_str()))
}

/// Whether the name ends like a sound file's, of a kind that only ffmpeg reads or any other.
pub fn names_sound(path: &Path) -> bool {
    is_sound_file(path) || ffmpeg::names(path)
}

/// Whether a file of a folder is one to be read: by its name, or, where ffmpeg is installed, as one that only ffmpeg reads. Such a
/// file must also begin as its name says.
pub fn is_recording(path: &Path) -> bool {
    // The name first: neither the program nor the file is looked at for every text in a folder.
    is_sound_file(path) || ffmpeg::names(path) && ffmpeg::program().is_some() && only_ffmpeg_reads(path)
}

/// Whether a file is, by its name and by how it begins, of a kind that only ffmpeg reads.
pub fn only_ffmpeg_reads(path: &Path) -> bool {
    ffmpeg::knows(path)
}

/// How a file holds its sound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The codec's short name, as FFmpeg has it: `pcm_s16le`, `mp3`, `opus`.
    pub codec: String,
    /// Channels in the file; more than two are mixed to two when it is decoded.
    pub channels: usize,
}

/// Reads and decodes a sound file. The contents decide the format, not the name; of more than two channels a mix to two is
/// returned.
///
/// # Errors
/// When the file cannot be read, is not sound, is in an unsupported encoding or holds no samples.
pub fn decode_file(path: &Path) -> Result<Audio> {
    let bytes = std::fs::read(path).map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
    decode_bytes(bytes, path)
}

/// [`decode_file`] for a file already in memory; `path` serves messages and, where the contents leave doubt, the format.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_bytes(bytes: Vec<u8>, path: &Path) -> Result<Audio> {
    decode_with_encoding(bytes, path).map(|(audio, _)| audio)
}

/// [`decode_bytes`], and how the file holds the sound.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_with_encoding(bytes: Vec<u8>, path: &Path) -> Result<(Audio, Encoding)> {
    let (mut audio, encoding) = decode_unexamined(bytes, path)?;
    faults::examine(&mut audio);
    Ok((audio, encoding))
}

/// [`decode_with_encoding`], before anybody has listened for what is wrong with the sound: see [`faults::examine`].
///
/// # Errors
/// As [`decode_file`].
pub fn decode_unexamined(bytes: Vec<u8>, path: &Path) -> Result<(Audio, Encoding)> {
    let size = bytes.len();
    match decode(Bytes::from(bytes), path, most_samples(size)) {
        Err(Error::File { detail, .. }) if size >= 12 => by_ffmpeg(detail, size, path),
        other => other,
    }
}

/// [`decode_bytes`] for an upload, which is no file here: `name` is only used in messages. It
/// decodes to `most` samples (over all channels) at most. Where ffmpeg is asked, it reads a temporary file of this user's alone.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_sent(bytes: Vec<u8>, name: &Path, most: usize) -> Result<Audio> {
    let most = most.min(most_samples(bytes.len()));
    let program = ffmpeg::program().filter(|_| bytes.len() >= 12);
    let bytes = Bytes::from(bytes);
    let mut audio = match (decode(bytes.clone(), name, most), program) {
        (Err(Error::File { detail, .. }), Some(program)) => {
            let failed = |e: std::io::Error| Error::file(name, format!("{detail}; nor can it be given to ffmpeg: {e}"));
            let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
            std::io::Write::write_all(&mut file, bytes.as_ref()).map_err(failed)?;
            drop(bytes);
            let told = |text: String| text.replace(&*file.path().to_string_lossy(), "it");
            let read = ffmpeg::decode(&program, file.path(), most);
            let (mut audio, _) =
                read.map_err(|text| Error::file(name, format!("{detail}; nor can ffmpeg read it: {}", told(text))))?;
            audio.warnings.insert(0, format!("read by ffmpeg, as it {detail}"));
            audio
        }
        (decoded, ..) => decoded?.0,
    };
    faults::examine(&mut audio);
    Ok(audio)
}

/// Asks ffmpeg for a file that nothing else reads, for the reason in `detail`.
fn by_ffmpeg(detail: String, size: usize, path: &Path) -> Result<(Audio, Encoding)> {
    // It reads the file itself, which must be the one whose contents were looked at.
    let there = std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == size as u64);
    match ffmpeg::program() {
        Some(program) if there => match ffmpeg::decode(&program, path, most_samples(size)) {
            Ok((mut audio, encoding)) => {
                audio.warnings.insert(0, format!("read by ffmpeg, as it {detail}"));
                Ok((audio, encoding))
            }
            Err(text) => Err(Error::file(path, format!("{detail}; nor can ffmpeg read it: {text}"))),
        },
        _ if detail.contains("encod")
            || detail.contains("codec")
            || detail.contains("no sound file that can be read") =>
        {
            let command = ffmpeg::command(path);
            Err(Error::file(path, format!("{detail}; with ffmpeg installed it may be read, or converted: {command}")))
        }
        _ => Err(Error::file(path, detail)),
    }
}

/// `most` samples, over all channels, are made of a compressed file at most.
fn decode(whole: Bytes, path: &Path, most: usize) -> Result<(Audio, Encoding)> {
    if whole.is_empty() {
        return Err(Error::file(path, "is empty"));
    }
    let tag = id3_length(&whole).min(whole.len());
    let bytes = whole.part(tag..whole.len());
    drop(whole);
    if wav::is_wav(&bytes) {
        return wav::decode(&bytes, path);
    }
    let named_wav = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("wav") || e.eq_ignore_ascii_case("wave"));
    if [b"RIFF", b"RIFX", b"RF64", b"BW64"].iter().any(|magic| bytes.starts_with(*magic)) {
        return Err(Error::file(path, "is not a WAV file that can be read (cut short, or no WAVE inside)"));
    }
    if bytes.len() < 12 && tag == 0 {
        return Err(Error::file(path, format!("is cut short: {} B are too few for a sound file", bytes.len())));
    }
    compressed::decode(bytes, path, most).map_err(|error| match error {
        Error::File { path, detail } if named_wav => {
            Error::File { path, detail: format!("has no RIFF WAVE header and is no other sound file: {detail}") }
        }
        other => other,
    })
}

/// Bytes of the ID3v2 tag in front of a file, 0 where there is none. Skipped here, for a picture in it can look like
/// sound to a reader that searches for a frame.
pub(super) fn id3_length(bytes: &[u8]) -> usize {
    match bytes {
        [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] if (a | b | c | d) & 0x80 == 0 => {
            let footer = if flags & 0x10 != 0 { 10 } else { 0 };
            let size = [a, b, c, d].iter().fold(0usize, |sum, &&byte| sum << 7 | usize::from(byte));
            10 + size + footer
        }
        _ => 0,
    }
}

/// Decodes a stream that a WAV file holds.
pub(super) fn stream(bytes: Vec<u8>, path: &Path) -> Result<(Audio, Encoding)> {
    let most = most_samples(bytes.len());
    compressed::decode(Bytes::from(bytes), path, most)
}

#[cfg(feature = "compressed-audio")]
use super::compressed;

#[cfg(not(feature = "compressed-audio"))]
mod compressed {
    use super::*;

    pub fn decode(_: Bytes, path: &Path, _: usize) -> Result<(Audio, Encoding)> {
        Err(Error::file(
            path,
            "is not a WAV file, and this build reads nothing else (feature `compressed-audio` is off)",
        ))
    }
}
