//! Sound that is read as it comes: WAV and raw PCM, from a pipe or from a file that is too long to hold in memory, and the resampling
//! of it piece by piece.
//!
//! A piece of a stream is decoded as a WAV file of its own, with the stream's header, so that what is read here and what it means is
//! what `wav.rs` says.

use super::resample::{RATES, Resampler};
use super::{Audio, faults, wav};
use crate::{Error, Result};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A header that is longer is no header.
const LONGEST_HEADER: usize = 1 << 20;

/// How raw samples lie: names as FFmpeg has them.
pub const RAW_FORMATS: &[&str] =
    &["u8", "s16le", "s16be", "s24le", "s24be", "s32le", "s32be", "f32le", "f32be", "f64le", "f64be"];

/// Sound that is read piece by piece.
pub struct SoundStream<'a> {
    from: Box<dyn Read + 'a>,
    /// What to call it in messages.
    name: PathBuf,
    /// A WAV file's beginning, up to the length of its data.
    head: Vec<u8>,
    big_endian: bool,
    /// Bytes of a frame, or of a block of compressed samples.
    frame: usize,
    sample_rate: u32,
    /// Bytes of sound that the header promises.
    left: u64,
    /// Seconds that the header promises; none where it does not say.
    pub seconds: Option<f64>,
    warned: bool,
}

/// What a stream begins with.
pub enum Opened<'a> {
    /// WAV that can be read as it comes.
    Wav(SoundStream<'a>),
    /// Anything else, from its first byte on.
    Other(Box<dyn Read + 'a>),
}

impl<'a> SoundStream<'a> {
    /// Samples without a header. `format` is one of [`RAW_FORMATS`], interleaved where there are several channels.
    ///
    /// # Errors
    /// Where the format is none of them, the rate out of range, or there are no channels or more than 255.
    pub fn raw(from: impl Read + 'a, name: &Path, format: &str, rate: u32, channels: usize) -> Result<Self> {
        let known = RAW_FORMATS.contains(&format);
        let bits: u16 = format.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
        if !known || bits == 0 {
            let detail = format!("`{format}` is none of {}", RAW_FORMATS.join(", "));
            return Err(Error::usage("raw", detail));
        }
        if !RATES.contains(&rate) {
            let detail = format!("{rate} Hz is outside {} to {} Hz", RATES.start(), RATES.end());
            return Err(Error::usage("rate", detail));
        }
        if !(1..=255).contains(&channels) {
            return Err(Error::usage("channels", format!("{channels} is not from 1 to 255")));
        }
        let big_endian = format.ends_with("be");
        let frame = channels * usize::from(bits / 8);
        let short = |x: u16| if big_endian { x.to_be_bytes() } else { x.to_le_bytes() };
        let long = |x: u32| if big_endian { x.to_be_bytes() } else { x.to_le_bytes() };
        let mut head = if big_endian { b"RIFX".to_vec() } else { b"RIFF".to_vec() };
        head.extend(long(0));
        head.extend(b"WAVEfmt ");
        head.extend(long(16));
        head.extend(short(if format.starts_with('f') { 3 } else { 1 }));
        head.extend(short(channels as u16));
        head.extend(long(rate));
        head.extend(long(rate.saturating_mul(frame as u32)));
        head.extend(short(frame as u16));
        head.extend(short(bits));
        head.extend(b"data");
        Ok(Self {
            from: Box::new(from),
            name: name.to_path_buf(),
            head,
            big_endian,
            frame,
            sample_rate: rate,
            left: u64::MAX,
            seconds: None,
            warned: false,
        })
    }

    /// Reads the header, where it is that of a WAV file whose sound can be read as it comes (RIFF, PCM).
    ///
    /// # Errors
    /// Where the stream cannot be read.
    pub fn open(mut from: impl Read + 'a, name: &Path) -> Result<Opened<'a>> {
        let failed = |e: std::io::Error| Error::file(name, format!("cannot be read: {e}"));
        let mut head = Vec::new();
        let mut more = |head: &mut Vec<u8>, count: usize| -> Result<bool> {
            let before = head.len();
            from.by_ref().take(count as u64).read_to_end(head).map_err(failed)?;
            Ok(head.len() == before + count)
        };
        let mut wav = more(&mut head, 12)? && &head[..4] == b"RIFF" && &head[8..] == b"WAVE";
        let mut format: Option<[u16; 2]> = None;
        let mut rate = 0;
        let word = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let long = |bytes: &[u8], at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        while wav {
            let at = head.len();
            wav = more(&mut head, 8)?;
            if !wav {
                break;
            }
            let (is_data, is_format) = (&head[at..at + 4] == b"data", &head[at..at + 4] == b"fmt ");
            let length = long(&head, at + 4);
            if is_data {
                break;
            }
            let padded = length as usize + length as usize % 2;
            wav = padded < LONGEST_HEADER && head.len() + padded < LONGEST_HEADER && more(&mut head, padded)?;
            if wav && is_format && length >= 16 {
                format = Some([word(&head, at + 8), word(&head, at + 8 + 12)]);
                rate = long(&head, at + 8 + 4);
            }
        }
        // Blocks of compressed samples need their neighbours.
        let plain =
            format.is_some_and(|[tag, frame]| [1, 3, 0xFFFE].contains(&tag) && frame > 0) && RATES.contains(&rate);
        if !wav || !plain {
            return Ok(Opened::Other(Box::new(Cursor::new(head).chain(from))));
        }
        let frame = usize::from(format.map_or(1, |[_, frame]| frame));
        let length = long(&head, head.len() - 4);
        head.truncate(head.len() - 4);
        // What a program that writes to a pipe cannot know.
        let unknown = length == 0 || length >= u32::MAX - 0xFFFF;
        let seconds = (!unknown).then(|| f64::from(length) / frame as f64 / f64::from(rate));
        Ok(Opened::Wav(Self {
            from: Box::new(from),
            name: name.to_path_buf(),
            head,
            big_endian: false,
            frame,
            sample_rate: rate,
            left: if unknown { u64::MAX } else { u64::from(length) },
            seconds,
            warned: false,
        }))
    }

    /// The next so many seconds, as soon as they are there; fewer at the end, and none after it. In its warnings is what had to be
    /// mended, the first time.
    ///
    /// # Errors
    /// Where it cannot be read, or is in an encoding that is not supported.
    pub fn next(&mut self, seconds: f64) -> Result<Option<Audio>> {
        let frames = ((seconds * f64::from(self.sample_rate)) as u64).max(1);
        let wanted = (frames * self.frame as u64).min(self.left);
        let mut data = self.head.clone();
        data.extend([0; 4]);
        let before = data.len();
        let failed = |e: std::io::Error| Error::file(&self.name, format!("cannot be read: {e}"));
        self.from.by_ref().take(wanted).read_to_end(&mut data).map_err(failed)?;
        let read = data.len() - before;
        self.left -= read as u64;
        let whole = read / self.frame * self.frame;
        if whole == 0 {
            return Ok(None);
        }
        data.truncate(before + whole);
        let length = (whole as u32).to_le_bytes();
        data[before - 4..before].copy_from_slice(&length);
        if self.big_endian {
            data[before - 4..before].reverse();
        }
        let (mut audio, _) = wav::decode(&data, &self.name)?;
        let mended = std::mem::take(&mut audio.warnings);
        faults::examine(&mut audio);
        // Of a piece that is silent nothing is to be said.
        audio.warnings.retain(|text| text.contains("out of phase"));
        audio.warnings.extend(mended);
        if (read as u64) < wanted && read > whole {
            audio.warnings.push("the last frame is cut short".into());
        }
        let warned = self.warned;
        self.warned |= !audio.warnings.is_empty();
        if warned {
            audio.warnings.clear();
        }
        Ok(Some(audio))
    }

    /// Samples a second of each channel.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }
}

/// Resamples a signal that comes piece by piece, with the same result, to the bit, as if it came at once.
#[derive(Debug)]
pub struct StreamResampler {
    table: Option<Arc<Resampler>>,
    /// Input and output samples of the smallest piece that begins at a sample of both.
    frame: [usize; 2],
    /// Frames on either side that a frame's samples depend on.
    reach: usize,
    /// What has come, for each channel, from `reach` frames before the first sample that is still to be made.
    waiting: Vec<Vec<f32>>,
    /// Frames of `waiting` that only serve those after them.
    before: usize,
    /// Samples of each channel that came, and that were given.
    taken: usize,
    given: usize,
}

impl StreamResampler {
    /// From one rate (Hz) to another.
    ///
    /// # Errors
    /// As [`Resampler::shared`].
    pub fn new(from: u32, to: u32) -> Result<Self> {
        let table = if from == to { None } else { Some(Resampler::shared(from, to)?) };
        let frame = table.as_ref().map_or([1, 1], |table| table.frame());
        let reach = table.as_ref().map_or(0, |table| table.reach().div_ceil(frame[0]));
        Ok(Self { table, frame, reach, waiting: Vec::new(), before: 0, taken: 0, given: 0 })
    }

    /// The rates, in Hz or divided by what divides both, from which and to which it resamples.
    pub(super) fn rates(&self) -> (u32, u32) {
        (self.frame[0] as u32, self.frame[1] as u32)
    }

    /// Takes samples, and gives those that can be made; channels are as in the first piece. `last` where nothing follows.
    pub fn push(&mut self, channels: Vec<Vec<f32>>, last: bool) -> Vec<Vec<f32>> {
        let Some(table) = &self.table else { return channels };
        if self.waiting.is_empty() {
            self.waiting = vec![Vec::new(); channels.len()];
        }
        self.waiting.iter_mut().zip(&channels).for_each(|(all, new)| all.extend_from_slice(new));
        self.taken += channels.first().map_or(0, Vec::len);
        let [orig, new] = self.frame;
        let held = self.waiting.first().map_or(0, Vec::len);
        let whole = (held / orig).saturating_sub(self.reach);
        if !last && whole <= self.before {
            return vec![Vec::new(); self.waiting.len()];
        }
        let done = self.before * new;
        // How long all of it is depends on the whole length, which is rounded.
        let end = match last {
            true => done + table.output_len(self.taken).saturating_sub(self.given),
            false => whole * new,
        };
        let made = self.waiting.iter().map(|all| {
            let mut made = table.run_to(all, end);
            made.drain(..done.min(made.len()));
            made
        });
        let made: Vec<Vec<f32>> = made.collect();
        self.given += made.first().map_or(0, Vec::len);
        let drop = whole.saturating_sub(self.reach);
        self.waiting.iter_mut().for_each(|all| drop_first(all, drop * orig));
        self.before = whole - drop;
        made
    }
}

fn drop_first(all: &mut Vec<f32>, count: usize) {
    all.drain(..count.min(all.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize) -> Vec<f32> {
        (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5).collect()
    }

    #[test]
    fn pieces_are_resampled_as_the_whole_is() -> Result<()> {
        for (from, to) in [(44_100, 8_000), (16_000, 8_000), (8_000, 11_000), (8_000, 8_000), (11_025, 8_000)] {
            let x = noise(30_011);
            let whole = if from == to { x.clone() } else { Resampler::shared(from, to)?.run(&x) };
            for piece in [1_003, 4_000, 29_999] {
                let mut stream = StreamResampler::new(from, to)?;
                let mut made = Vec::new();
                for part in x.chunks(piece) {
                    made.extend(stream.push(vec![part.to_vec()], false).remove(0));
                }
                made.extend(stream.push(vec![Vec::new()], true).remove(0));
                assert!(made == whole, "{from} {to} {piece}: {} and {} samples", made.len(), whole.len());
            }
        }
        Ok(())
    }

    #[test]
    fn raw_samples_and_wav_are_read_as_they_come() -> Result<()> {
        let name = Path::new("a pipe");
        let bytes: Vec<u8> = (0..1_000i16).flat_map(|i| [(i * 7).to_le_bytes(), (-i).to_le_bytes()].concat()).collect();
        let all = |mut stream: SoundStream<'_>| -> Result<Vec<Vec<f32>>> {
            let mut channels = vec![Vec::new(); 2];
            while let Some(audio) = stream.next(0.0333)? {
                channels.iter_mut().zip(audio.channels).for_each(|(all, new)| all.extend(new));
            }
            Ok(channels)
        };
        let little = all(SoundStream::raw(&bytes[..], name, "s16le", 8_000, 2)?)?;
        assert_eq!((little[0].len(), little[0][3], little[1][3]), (1_000, 21.0 / 32_768.0, -3.0 / 32_768.0));
        let turned: Vec<u8> = bytes.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
        assert_eq!(all(SoundStream::raw(&turned[..], name, "s16be", 8_000, 2)?)?, little);
        let floats: Vec<u8> =
            little[0].iter().zip(&little[1]).flat_map(|(a, b)| [a.to_le_bytes(), b.to_le_bytes()].concat()).collect();
        assert_eq!(all(SoundStream::raw(&floats[..], name, "f32le", 8_000, 2)?)?, little);
        // The same with a header, of a program that did not know how long it would be, and another chunk before the sound.
        for length in [0, u32::MAX, 4_000] {
            let mut wav =
                b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x02\0\x40\x1f\0\0\0\x7d\0\0\x04\0\x10\0".to_vec();
            wav.extend(b"LIST\x03\0\0\0abc\0data");
            wav.extend(length.to_le_bytes());
            wav.extend(&bytes);
            let Opened::Wav(stream) = SoundStream::open(&wav[..], name)? else { panic!("not taken for WAV") };
            assert_eq!(stream.seconds, (length == 4_000).then_some(0.125));
            assert_eq!(all(stream)?, little);
        }
        let Opened::Other(mut rest) = SoundStream::open(&b"OggS and so on"[..], name)? else { panic!("no WAV") };
        let mut text = String::new();
        assert!(rest.read_to_string(&mut text).is_ok() && text == "OggS and so on");
        for (format, rate, channels, option) in [
            ("s17le", 8_000, 1, "setting `raw`"),
            ("u8", 10, 1, "setting `rate`"),
            ("u8", 8_000, 0, "setting `channels`"),
        ] {
            let refused = SoundStream::raw(&bytes[..], name, format, rate, channels).err();
            assert!(refused.is_some_and(|e| e.to_string().starts_with(option)), "{option}");
        }
        Ok(())
    }
}
