//! Sound that is compressed: what stands around it in a file, and Symphonia's decoders with ours of Opus.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{LazyLock, Once};

use symphonia::core::codecs::registry::CodecRegistry;

use super::bytes::{Bytes, Stream};
use super::decode::Encoding;
use super::flac::{Flac, Layout};
use super::opus::OpusDecoder;
use super::packets::{One, decode_one};
use super::{Audio, aiff, channels, mpeg};
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
    let streams = Streams::of(bytes);
    let mut whole: Option<(Audio, Encoding)> = None;
    let (mut joined, mut lost, mut frames) = (0, 0, 0);
    for single in &streams.all {
        let left = whole.as_ref().map_or(most, |(audio, _)| most.saturating_sub(size(audio)));
        let One { audio: mut next, encoding, matches } = match decode_one(single.stream.clone(), path, left) {
            Ok(one) => one,
            Err(error) if streams.all.len() == 1 => return Err(error),
            Err(_) => {
                lost += 1;
                continue;
            }
        };
        frames += next.frames();
        next.warnings.extend(single.of_flac(matches, next.frames(), next.sample_rate, path)?);
        match &mut whole {
            None => whole = Some((next, encoding)),
            Some((audio, _)) => append(audio, next, most)?,
        }
        joined += 1;
    }
    let (mut audio, encoding) = whole.ok_or_else(|| Error::file(path, "holds no sound that can be decoded"))?;
    audio.warnings.extend(streams.of_several(joined, lost, frames, audio.sample_rate, path)?);
    Ok((audio, encoding))
}

/// The streams of a file: several where recordings are joined in it, or where FLAC changes on the way.
pub(super) struct Streams {
    pub all: Vec<Single>,
    /// What is known of FLAC that changes on the way.
    changing: Option<Changing>,
}

/// FLAC whose frames are not all coded alike.
struct Changing {
    /// How the parts are coded.
    layouts: Vec<Layout>,
    /// How many frames all parts have together, where the head says so.
    said: Option<u64>,
    /// Whether there is an MD5 sum, which is that of all parts and cannot be checked.
    has_checksum: bool,
}

impl Streams {
    pub fn of(bytes: Bytes) -> Self {
        let bytes = bytes.part(0..bytes.len() - tail_length(&bytes));
        if let Some(flac) = Flac::find(&bytes) {
            let (layouts, parts): (Vec<_>, Vec<_>) = flac.parts().into_iter().unzip();
            if parts.is_empty() {
                let said = Some((flac.layout().bits, flac.frames()));
                return Self { all: vec![Single { stream: flac.stream(), flac: said }], changing: None };
            }
            let changing = Some(Changing { layouts, said: flac.frames(), has_checksum: flac.has_checksum() });
            let all = parts.into_iter().map(|part| Single { stream: part, flac: None });
            return Self { all: all.collect(), changing };
        }
        if let Some(stream) = aiff::stream(&bytes) {
            return Self { all: vec![Single { stream, flac: None }], changing: None };
        }
        let joined = if mpeg::is_mpeg(&bytes) { mpeg::recordings(&bytes) } else { vec![] };
        let parts = match joined.len() {
            0 | 1 => vec![bytes],
            _ => joined.into_iter().map(|range| bytes.part(range)).collect(),
        };
        let all = parts.into_iter().map(|part| Single { stream: Stream::new(vec![], part), flac: None });
        Self { all: all.collect(), changing: None }
    }

    /// Warnings about several streams in one file: so many were decoded, so many hold no sound, and so many frames came of them at their
    /// own rates. All were brought to one rate.
    ///
    /// # Errors
    /// Where FLAC's MD5 sum cannot be checked, but would have to be.
    pub fn of_several(
        &self,
        decoded: usize,
        lost: usize,
        frames: usize,
        rate: u32,
        path: &Path,
    ) -> Result<Vec<String>> {
        let mut warnings = match &self.changing {
            Some(changing) => changing.warnings(frames, rate, path)?,
            None if decoded > 1 => vec![format!("{decoded} recordings joined in one file; read one after the other")],
            None => Vec::new(),
        };
        if lost > 0 {
            warnings.push(format!("{lost} more parts of the file hold no sound that can be decoded"));
        }
        Ok(warnings)
    }
}

impl Changing {
    fn warnings(&self, frames: usize, rate: u32, path: &Path) -> Result<Vec<String>> {
        let changes = |of: fn(&Layout) -> u32| self.layouts.windows(2).any(|two| of(&two[0]) != of(&two[1]));
        let what = [
            (changes(|layout| layout.rate), "sample rate"),
            (changes(|layout| layout.channels), "number of channels"),
            (changes(|layout| layout.bits), "sample size"),
        ];
        let what: Vec<_> = what.into_iter().filter_map(|(changes, name)| changes.then_some(name)).collect();
        let (what, verb) = (what.join(" and "), if what.len() > 1 { "change" } else { "changes" });
        let bits = self.layouts.iter().map(|layout| layout.bits).max().unwrap_or(0);
        if self.has_checksum && bits > TRUSTED_BITS {
            let text = format!("cannot be checked by its MD5 sum ({bits} bits a sample), because its {what} {verb}");
            return Err(Error::file(path, format!("{text}; convert it to {TRUSTED_BITS} bits")));
        }
        let times = self.layouts.len() - 1;
        let unchecked = if self.has_checksum { "; its MD5 sum was not checked" } else { "" };
        let mut warnings =
            vec![format!("its {what} {verb}, {times} time(s); all of it was brought to {rate} Hz{unchecked}")];
        if let Some(said) = self.said.filter(|&said| said != frames as u64) {
            warnings.push(format!("the header says {said} samples, {frames} could be decoded"));
        }
        Ok(warnings)
    }
}

/// A stream of packets: a file, or one of the recordings that are joined in it.
pub(super) struct Single {
    pub stream: Stream,
    /// Of FLAC the bits of a sample, and how many frames it says that there are.
    flac: Option<(u32, Option<u64>)>,
}

impl Single {
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

/// Bits a sample up to which Symphonia's decoder of FLAC is trusted without a checksum.
const TRUSTED_BITS: u32 = 24;

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
    match matches {
        Some(false) if bits > TRUSTED_BITS => {
            let text = format!("decodes to other samples than its MD5 sum says ({bits} bits a sample)");
            Err(Error::file(path, format!("{text}; convert it to {TRUSTED_BITS} bits")))
        }
        Some(false) => Ok(Some("decodes to other samples than its MD5 sum says; the file is damaged".into())),
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
