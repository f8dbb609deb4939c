//! Any sound file to samples: WAV by our own reader, everything else by Symphonia (feature `compressed-audio`).

use std::path::Path;

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
    let size = bytes.len();
    let (mut audio, encoding) = match decode(bytes, path, most_samples(size)) {
        Err(Error::File { detail, .. }) if size >= 12 => by_ffmpeg(detail, size, path)?,
        other => other?,
    };
    faults::examine(&mut audio);
    Ok((audio, encoding))
}

/// [`decode_bytes`] for what somebody has sent, which lies in no file: `name` is only a name, and nothing of that name is looked at. It
/// decodes to `most` samples (over all channels) at most. Where ffmpeg is asked, it reads a temporary file of this user's alone.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_sent(bytes: Vec<u8>, name: &Path, most: usize) -> Result<Audio> {
    let most = most.min(most_samples(bytes.len()));
    let program = ffmpeg::program().filter(|_| bytes.len() >= 12);
    // Decoding takes the bytes.
    let copy = program.as_ref().map(|_| bytes.clone());
    let mut audio = match (decode(bytes, name, most), program, copy) {
        (Err(Error::File { detail, .. }), Some(program), Some(copy)) => {
            let failed = |e: std::io::Error| Error::file(name, format!("{detail}; nor can it be given to ffmpeg: {e}"));
            let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
            std::io::Write::write_all(&mut file, &copy).map_err(failed)?;
            drop(copy);
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
fn decode(mut bytes: Vec<u8>, path: &Path, most: usize) -> Result<(Audio, Encoding)> {
    if bytes.is_empty() {
        return Err(Error::file(path, "is empty"));
    }
    let tag = id3_length(&bytes).min(bytes.len());
    bytes.drain(..tag);
    if wav::is_wav(&bytes) {
        return wav::decode(&bytes, path);
    }
    let named_wav = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("wav") || e.eq_ignore_ascii_case("wave"));
    if [b"RIFF", b"RIFX", b"RF64", b"BW64"].iter().any(|magic| bytes.starts_with(*magic))
        || (bytes.len() < 12 && tag == 0)
    {
        return Err(Error::file(path, "is not a WAV file that can be read (cut short, or no WAVE inside)"));
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
    compressed::decode(bytes, path, most)
}

#[cfg(feature = "compressed-audio")]
pub(super) use compressed::{codecs, guarded};

#[cfg(not(feature = "compressed-audio"))]
mod compressed {
    use super::*;

    pub fn decode(_: Vec<u8>, path: &Path, _: usize) -> Result<(Audio, Encoding)> {
        Err(Error::file(
            path,
            "is not a WAV file, and this build reads nothing else (feature `compressed-audio` is off)",
        ))
    }
}

#[cfg(feature = "compressed-audio")]
mod compressed {
    use std::cell::Cell;
    use std::io::Cursor;
    use std::panic::{self, AssertUnwindSafe, catch_unwind};
    use std::sync::{LazyLock, Once};

    use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP3, CODEC_ID_OPUS};
    use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
    use symphonia::core::codecs::registry::CodecRegistry;
    use symphonia::core::errors::Error as Symphonia;
    use symphonia::core::formats::probe::Hint;
    use symphonia::core::formats::well_known::{FORMAT_ID_ISOMP4, FORMAT_ID_MP1, FORMAT_ID_MP2, FORMAT_ID_MP3};
    use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
    use symphonia::core::io::MediaSourceStream;
    use symphonia::core::meta::MetadataOptions;

    use super::*;
    use crate::audio::flac::Flac;
    use crate::audio::opus::{self, OpusDecoder};
    use crate::audio::resample::RATES;
    use crate::audio::{channels, mp4, mpeg};

    /// What can be read, worded to stand in brackets behind "can be read".
    const KINDS: &str = "WAV, FLAC, MP3, Vorbis, Opus, AAC-LC, ALAC and PCM, in Ogg, MP4, Matroska, AIFF and CAF, can";

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

    pub fn decode(bytes: Vec<u8>, path: &Path, most: usize) -> Result<(Audio, Encoding)> {
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
    fn decode_stream(mut bytes: Vec<u8>, path: &Path, most: usize) -> Result<(Audio, Encoding)> {
        bytes.truncate(bytes.len() - tail_length(&bytes));
        if let Some(flac) = Flac::find(&bytes) {
            return decode_flac(&flac, path, most);
        }
        let recordings = if mpeg::is_mpeg(&bytes) { mpeg::recordings(&bytes) } else { vec![] };
        if recordings.len() < 2 {
            return decode_one(bytes, path, most).map(|one| (one.audio, one.encoding));
        }
        let mut whole: Option<(Audio, Encoding)> = None;
        let (mut joined, mut lost) = (0, 0);
        for range in recordings {
            let left = whole.as_ref().map_or(most, |(audio, _)| most.saturating_sub(size(audio)));
            match (decode_one(bytes[range].to_vec(), path, left), &mut whole) {
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
        if joined > 1 {
            audio.warnings.push(format!("{joined} recordings joined in one file; read one after the other"));
        }
        if lost > 0 {
            audio.warnings.push(format!("{lost} more parts of the file hold no sound that can be decoded"));
        }
        Ok((audio, encoding))
    }

    fn decode_flac(flac: &Flac<'_>, path: &Path, most: usize) -> Result<(Audio, Encoding)> {
        let One { mut audio, encoding, matches } = decode_one(flac.bytes(), path, most)?;
        // What a checksum does not vouch for is an error where the decoder is known to give other samples.
        if matches == Some(false) {
            if flac.bits() > 24 {
                let text = format!("decodes to other samples than its MD5 sum says ({} bits a sample)", flac.bits());
                return Err(Error::file(path, format!("{text}; convert it to 24 bits")));
            }
            audio.warnings.push("decodes to other samples than its MD5 sum says; the file is damaged".into());
        }
        let (said, frames) = (flac.frames(), audio.frames() as u64);
        if said == Some(frames) {
            return Ok((audio, encoding));
        }
        // Its reader leaves out frames of another sample rate.
        let parts = flac.parts();
        if let Some((first, others)) = parts.split_first() {
            audio = decode_one(first.clone(), path, most)?.audio;
            for part in others {
                let left = most.saturating_sub(size(&audio));
                append(&mut audio, decode_one(part.clone(), path, left)?.audio, most)?;
            }
            let (times, rate) = (others.len(), audio.sample_rate);
            let text = format!("its sample rate changes, {times} time(s); all of it was brought to {rate} Hz");
            audio.warnings.push(text);
        } else if let Some(said) = said {
            let seconds = |frames: u64| frames as f64 / f64::from(audio.sample_rate);
            let (said, held) = (seconds(said), seconds(frames));
            audio.warnings.push(format!("the header says {said:.3} s, {held:.3} s could be decoded"));
        }
        Ok((audio, encoding))
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

    /// A stream, decoded.
    struct One {
        audio: Audio,
        encoding: Encoding,
        /// Whether the samples are those that the stream has a checksum of; none where it has none.
        matches: Option<bool>,
    }

    fn decode_one(bytes: Vec<u8>, path: &Path, most: usize) -> Result<One> {
        let mut hint = Hint::new();
        if let Some(extension) = path.extension().and_then(|e| e.to_str()) {
            hint.with_extension(&extension.to_ascii_lowercase());
        }
        let part = if bytes.get(4..8) == Some(b"ftyp") { mp4::part(&bytes) } else { None };
        let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
        let mut format = symphonia::default::get_probe()
            .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|e| Error::file(path, format!("is no sound file that can be read ({KINDS}): {e}")))?;
        let (mut track, mut decoder, mut skip) = open(&*format, path)?;
        let mut encoding = Encoding { codec: decoder.codec_info().short_name.into(), channels: 0 };

        let mut warnings = Vec::new();
        let (mut samples, mut sample_rate, mut planes) = (Vec::<Vec<f32>>::new(), 0, Vec::<Vec<f32>>::new());
        // Frames of the last packet that was decoded: one that is lost is taken to be as long, where it does not say.
        let (mut damaged, mut silent, mut pending, mut usual) = (0usize, 0usize, 0usize, 0usize);
        let (mut links, mut mixed_before) = (1usize, false);
        let layer3 = decoder.codec_params().codec == CODEC_ID_MP3;
        let ended_early = loop {
            let packet = match format.next_packet() {
                Ok(Some(packet)) if packet.track_id == track => packet,
                Ok(Some(_)) => continue,
                Ok(None) => break None,
                // Another stream begins: joined files of Ogg, each with headers of its own.
                Err(Symphonia::ResetRequired) => match open(&*format, path) {
                    Ok(next) => {
                        (track, decoder, skip) = next;
                        links += 1;
                        continue;
                    }
                    Err(Error::File { detail, .. }) => break Some(format!("the sound that follows {detail}")),
                    Err(error) => break Some(error.to_string()),
                },
                Err(error) => break Some(error.to_string()),
            };
            let mixed_blocks = layer3 && mpeg::has_mixed_blocks(&packet.data);
            // What they leave behind sounds in the next packet, too.
            let unsure = std::mem::replace(&mut mixed_before, mixed_blocks) || mixed_blocks;
            let decoded = match decoder.decode(&packet) {
                Ok(decoded) if unsure => {
                    damaged += 1;
                    pending += decoded.frames();
                    continue;
                }
                Ok(decoded) => decoded,
                Err(Symphonia::DecodeError(_) | Symphonia::IoError(_)) => {
                    damaged += 1;
                    pending += usual;
                    continue;
                }
                Err(Symphonia::ResetRequired) => {
                    decoder.reset();
                    damaged += 1;
                    pending += usual;
                    continue;
                }
                Err(error) => break Some(error.to_string()),
            };
            if decoded.frames() == 0 {
                continue;
            }
            usual = decoded.frames();
            let rate = decoded.spec().rate();
            decoded.copy_to_vecs_planar(&mut planes);
            encoding.channels = encoding.channels.max(planes.len());
            let mut mixed = channels::at_most_two(std::mem::take(&mut planes));
            if skip > 0 {
                let cut = skip.min(mixed[0].len());
                skip -= cut;
                mixed.iter_mut().for_each(|channel| drop(channel.drain(..cut)));
            }
            if samples.is_empty() {
                (samples, sample_rate) = (vec![Vec::new(); mixed.len()], rate);
            }
            if rate != sample_rate || mixed.len() != samples.len() {
                break Some("the sample rate or the number of channels changes".into());
            }
            if (samples[0].len() + pending + mixed[0].len()) * samples.len() > most {
                break Some(format!("it decodes to more than {most} samples, out of proportion to its size"));
            }
            for (all, new) in samples.iter_mut().zip(&mixed) {
                // What was lost stays silence, so that what follows comes at its time.
                all.resize(all.len() + pending, 0.0);
                all.extend_from_slice(new);
            }
            silent += std::mem::take(&mut pending);
            planes = mixed;
        };
        // Sound may end with what was lost.
        samples.iter_mut().for_each(|all| all.resize(all.len() + pending, 0.0));
        silent += pending;
        if samples.first().is_none_or(Vec::is_empty) {
            let reason = ended_early.unwrap_or_else(|| "no frame could be decoded".into());
            return Err(Error::file(path, format!("holds no sound that can be decoded: {reason}")));
        }
        if !RATES.contains(&sample_rate) {
            return Err(Error::file(path, format!("has a sample rate of {sample_rate} Hz, which is out of range")));
        }
        let matches = if ended_early.is_none() && damaged == 0 { decoder.finalize().verify_ok } else { None };
        trim(&mut samples, &*format, part, sample_rate);
        let mut warn = |text: String| warnings.push(text);
        if let Some(reason) = ended_early {
            warn(format!("ends early: {reason}"));
        }
        if damaged > 0 {
            let seconds = silent as f64 / f64::from(sample_rate);
            warn(format!("{damaged} damaged packets; {seconds:.3} s of silence in their place"));
        }
        if links > 1 {
            warn(format!("{links} recordings joined in one file; read one after the other"));
        }
        let silenced: usize = samples.iter_mut().map(|s| wav::silence_non_finite(s)).sum();
        if silenced > 0 {
            warn(format!("{silenced} samples are not finite or absurdly large; taken as silence"));
        }
        Ok(One { audio: Audio { channels: samples, sample_rate, warnings }, encoding, matches })
    }

    /// Cuts off what an encoder put before and behind the sound: as an MP4's edit list says, or the tag of an MP3.
    fn trim(samples: &mut [Vec<f32>], format: &dyn FormatReader, part: Option<mp4::Part>, rate: u32) {
        let held = samples[0].len();
        let track = format.default_track(TrackType::Audio);
        let (start, end) = match (part, track) {
            (Some(part), _) => {
                let frames = |seconds: f64| (seconds * f64::from(rate)).round() as usize;
                (frames(part.start), part.length.map_or(held, |length| frames(part.start) + frames(length)))
            }
            (None, Some(track)) if is_mpeg(format) => {
                let (delay, padding) = (track.delay.unwrap_or(0) as usize, track.padding.unwrap_or(0) as usize);
                (delay, held.saturating_sub(padding))
            }
            _ => return,
        };
        // What would leave nothing is a mistake.
        if start < end.min(held) {
            samples.iter_mut().for_each(|all| {
                all.truncate(end);
                all.drain(..start);
            });
        }
    }

    fn is_mpeg(format: &dyn FormatReader) -> bool {
        [FORMAT_ID_MP1, FORMAT_ID_MP2, FORMAT_ID_MP3].contains(&format.format_info().format)
    }

    /// The sound track of a file, a decoder of it, and how many frames at its beginning are no sound.
    fn open(format: &dyn FormatReader, path: &Path) -> Result<(u32, Box<dyn AudioDecoder>, usize)> {
        let track = format.default_track(TrackType::Audio).ok_or_else(|| Error::file(path, "holds no sound track"))?;
        let parameters: Option<&AudioCodecParameters> = track.codec_params.as_ref().and_then(|p| p.audio());
        let parameters = parameters.ok_or_else(|| Error::file(path, "does not say how its sound is encoded"))?;
        // Its reader guesses how long an MP3 is from the first frames, and would have the rest cut off: see `trim`.
        let options = AudioDecoderOptions::default().gapless(!is_mpeg(format)).verify(true);
        let decoder = CODECS.make_audio_decoder(parameters, &options).map_err(|e| {
            Error::file(
                path,
                format!("holds sound of a codec that cannot be read ({}; {KINDS}): {e}", parameters.codec),
            )
        })?;
        // MP4 says in an edit list what comes before the sound; elsewhere the codec's header counts.
        let opus = parameters.codec == CODEC_ID_OPUS && format.format_info().format != FORMAT_ID_ISOMP4;
        Ok((track.id, decoder, if opus { opus::pre_skip(parameters) } else { 0 }))
    }
}
