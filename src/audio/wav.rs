//! Reading WAV files as recorders really write them.
//!
//! hound is strict, and rightly so, but phones, field recorders and crashed programs leave headers that it refuses: a data
//! length of 0 or 0xFFFFFFFF, odd chunks without their pad byte, a wrong byte rate, a last frame cut short. So the chunks
//! are walked here, tolerantly; the format is repaired into a canonical header, which hound then interprets; and the samples
//! are converted in bulk, which takes a tenth of the time of hound's sample-by-sample iterator (`benches/sound.rs`).

use std::io::Cursor;
use std::path::Path;

use super::Audio;
use super::chunks::Container;
use super::decode::Encoding;
use super::resample::RATES;
use super::wav_codecs::Coding;
use crate::{Error, Result};

/// Samples beyond this cannot come from a recording (full scale is 1); they count as not finite, so that their squares cannot
/// overflow in the spectrogram.
const LOUDEST: f32 = 1e6;

/// Whether `bytes` begin like a WAV file: RIFF, RIFX (big-endian), or RF64, BW64 and Wave64, which are for those over 4 GiB.
pub fn is_wav(bytes: &[u8]) -> bool {
    Container::of(bytes).is_some()
}

/// Decodes a WAV file held in memory; `path` is only for messages.
///
/// Integer samples of 8 (unsigned), 16, 24 and 32 bits are scaled to [-1, 1) by their full scale, floats of 32 and 64 bits are
/// taken as they are; A-law, mu-law, Microsoft's and IMA's ADPCM and MPEG are decoded by Symphonia. Of more than two channels a mix to two is returned. Samples that are not finite become zero, with a warning.
///
/// # Errors
/// When the file is no WAV, holds no whole frame of samples, or is in an encoding that is not supported.
pub fn decode(bytes: &[u8], path: &Path) -> Result<(Audio, Encoding)> {
    let Some(container) = Container::of(bytes) else {
        return Err(Error::file(path, "is not a WAV file (no RIFF WAVE header)"));
    };
    let mut warnings = Vec::new();
    let mut warn = |text: String| warnings.push(text);
    let chunks = container.chunks(bytes, bytes.len() as u64, &mut warn);
    let Some(format) = chunks.format else {
        return Err(Error::file(path, "has no format chunk; the header is damaged"));
    };
    // All of the file is there.
    let Some(data) = chunks.data.and_then(|data| bytes.get(data.start as usize..data.end as usize)) else {
        return Err(Error::file(path, "has no data chunk; the recording is empty or the header is damaged"));
    };
    let format = Format::read(format, container, path)?;
    if let Some(coding) = Coding::of(format.tag) {
        return coding.decode(&format, data, chunks.frames, path, warnings);
    }
    let layout = Layout::new(&format, path, &mut warn)?;
    let frames = data.len() / layout.frame_bytes();
    if frames == 0 {
        return Err(Error::file(path, "holds no samples"));
    }
    if data.len() % layout.frame_bytes() != 0 {
        warn(format!("the last frame is cut short; read up to it ({frames} samples)"));
    }
    let mut channels = layout.samples(&data[..frames * layout.frame_bytes()]);
    let silenced: usize = channels.iter_mut().map(|samples| silence_non_finite(samples)).sum();
    let total = frames * channels.len();
    if silenced == total {
        return Err(Error::file(path, "holds no finite sample"));
    }
    if silenced > 0 {
        warn(format!("{silenced} of {total} samples are not finite or absurdly large; taken as silence"));
    }
    let channels = super::channels::at_most_two(channels);
    let encoding = Encoding { codec: layout.codec().into(), channels: layout.channels };
    Ok((Audio { channels, sample_rate: layout.sample_rate, warnings }, encoding))
}

/// Sets samples that are NaN, infinite or beyond [`LOUDEST`] to zero and says how many there were.
pub(super) fn silence_non_finite(samples: &mut [f32]) -> usize {
    // NaN compares false, so that it is not "within".
    let within = |x: f32| x.abs() <= LOUDEST;
    if samples.iter().fold(true, |all, &x| all & within(x)) {
        return 0;
    }
    samples.iter_mut().filter(|x| !within(**x)).map(|x| *x = 0.0).count()
}

/// What the format chunk says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    /// The format tag, of an extensible format that of its sub-format.
    pub tag: u16,
    /// Not 0.
    pub channels: u16,
    /// Within [`RATES`].
    pub sample_rate: u32,
    /// Bytes of a frame or, where samples are compressed, of a block.
    pub block: u16,
    pub bits: u16,
    extensible: bool,
    big_endian: bool,
}

impl Format {
    pub(super) fn read(format: &[u8], container: Container, path: &Path) -> Result<Self> {
        let refuse = |what: String| Err(Error::file(path, what));
        if format.len() < 16 {
            return refuse(format!("the format chunk has {} bytes instead of at least 16", format.len()));
        }
        let word = |at: usize| container.u16_at(format, at);
        let (mut tag, channels, sample_rate) = (word(0), word(2), container.u32_at(format, 4));
        if channels == 0 {
            return refuse("the header says zero channels".into());
        }
        if !RATES.contains(&sample_rate) {
            return refuse(format!(
                "the header says a sample rate of {sample_rate} Hz; {} to {} Hz can be read",
                RATES.start(),
                RATES.end()
            ));
        }
        let extensible = tag == 0xFFFE;
        if extensible {
            if format.len() < 26 {
                return refuse("the extensible format chunk is cut short".into());
            }
            // The format tag is the beginning of the sub-format's identifier.
            tag = word(24);
        }
        let big_endian = container == Container::BigEndian;
        Ok(Self { tag, channels, sample_rate, block: word(12), bits: word(14), extensible, big_endian })
    }
}

/// How samples lie in the data chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub channels: usize,
    pub sample_rate: u32,
    /// Bytes per sample: 1 to 4, or 8.
    bytes: usize,
    float: bool,
    /// Low bits that hold the sample in a container that is wider, 24 in 32; 0 when the sample fills its container.
    low_bits: u32,
    big_endian: bool,
}

impl Layout {
    /// Interprets a format, mending what follows from the rest of it.
    pub fn new(format: &Format, path: &Path, warn: &mut impl FnMut(String)) -> Result<Self> {
        let refuse = |what: String| Err(Error::file(path, what));
        let Format { tag, channels, sample_rate, block, bits, extensible, big_endian } = *format;
        let float = match tag {
            1 => false,
            3 => true,
            other => return refuse(encoding(other)),
        };
        if bits == 0 || (!float && bits > 32) || (float && bits != 32 && bits != 64) {
            let kind = if float { "floating-point" } else { "integer" };
            return refuse(format!("{bits}-bit {kind} samples are not supported; convert it to 16-bit PCM"));
        }
        let needed = usize::from(bits.div_ceil(8));
        let container = usize::from(block / channels);
        let exact = block % channels == 0 && (needed..=needed.max(4)).contains(&container);
        if !exact {
            warn(format!("the header says {block} bytes per frame of {channels} channels of {bits} bits; mended"));
        }
        let bytes = if exact { container } else { needed };
        if usize::from(channels) * bytes > usize::from(u16::MAX) {
            return refuse(format!("the header says {channels} channels of {bits} bits, more than WAV can hold"));
        }
        // An extensible sample is left-justified in its container, so that the container's full scale holds; a plain one is not.
        let low_bits = if !extensible && bytes > needed { needed as u32 * 8 } else { 0 };
        let layout = Self { channels: usize::from(channels), sample_rate, bytes, float, low_bits, big_endian };
        // It knows no other floats.
        if bytes <= 4 {
            layout.confirm(path)?;
        }
        Ok(layout)
    }

    /// Has hound read the canonical header of this layout, so that what is accepted here is what WAV means to a strict reader.
    fn confirm(&self, path: &Path) -> Result<()> {
        let spec = hound::WavSpec {
            channels: self.channels as u16,
            sample_rate: self.sample_rate,
            bits_per_sample: self.bytes as u16 * 8,
            sample_format: if self.float { hound::SampleFormat::Float } else { hound::SampleFormat::Int },
        };
        let mut header = Vec::with_capacity(44);
        let block = self.channels as u64 * self.bytes as u64;
        header.extend_from_slice(b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0");
        header.extend_from_slice(&(if self.float { 3u16 } else { 1 }).to_le_bytes());
        header.extend_from_slice(&spec.channels.to_le_bytes());
        header.extend_from_slice(&spec.sample_rate.to_le_bytes());
        header.extend_from_slice(&((block * u64::from(spec.sample_rate)) as u32).to_le_bytes());
        header.extend_from_slice(&(block as u16).to_le_bytes());
        header.extend_from_slice(&spec.bits_per_sample.to_le_bytes());
        header.extend_from_slice(b"data\0\0\0\0");
        match hound::WavReader::new(Cursor::new(header)) {
            Ok(reader) if reader.spec() == spec => Ok(()),
            Ok(_) => Err(Error::file(path, "the header contradicts itself")),
            Err(error) => Err(Error::file(path, format!("cannot be read as WAV: {error}"))),
        }
    }

    /// FFmpeg's name of it.
    pub fn codec(&self) -> &'static str {
        match (self.bytes, self.float, self.big_endian) {
            (8, _, false) => "pcm_f64le",
            (8, _, true) => "pcm_f64be",
            (_, true, false) => "pcm_f32le",
            (_, true, true) => "pcm_f32be",
            (1, _, _) => "pcm_u8",
            (2, _, false) => "pcm_s16le",
            (2, _, true) => "pcm_s16be",
            (3, _, false) => "pcm_s24le",
            (3, _, true) => "pcm_s24be",
            (_, _, false) => "pcm_s32le",
            (_, _, true) => "pcm_s32be",
        }
    }

    pub fn frame_bytes(&self) -> usize {
        self.channels * self.bytes
    }

    /// Splits whole frames into channels of samples. More than two channels are kept apart here.
    pub fn samples(&self, data: &[u8]) -> Vec<Vec<f32>> {
        if self.big_endian {
            // Rare: such files are worth no loops of their own.
            let mut turned = data.to_vec();
            turned.chunks_exact_mut(self.bytes).for_each(<[u8]>::reverse);
            return Self { big_endian: false, ..*self }.samples(&turned);
        }
        match (self.bytes, self.float) {
            (1, _) => self.split(data, |[b]: [u8; 1]| (f32::from(b) - 128.0) / 128.0),
            (2, _) => self.split(data, |b| f32::from(i16::from_le_bytes(b)) / 32_768.0),
            (3, _) => self
                .split(data, |[a, b, c]: [u8; 3]| (i32::from_le_bytes([0, a, b, c]) >> 8) as f32 / (1u32 << 23) as f32),
            (8, _) => self.split(data, |b| f64::from_le_bytes(b) as f32),
            (_, true) => self.split(data, f32::from_le_bytes),
            (_, false) => {
                let shift = if self.low_bits == 0 { 0 } else { 32 - self.low_bits };
                self.split(data, move |b| (i32::from_le_bytes(b) << shift) as f32 / (1u32 << 31) as f32)
            }
        }
    }

    fn split<const N: usize>(&self, data: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<Vec<f32>> {
        let (samples, _) = data.as_chunks::<N>();
        if self.channels == 1 {
            return vec![samples.iter().map(|&s| convert(s)).collect()];
        }
        if self.channels == 2 {
            let (frames, _) = samples.as_chunks::<2>();
            return vec![
                frames.iter().map(|f| convert(f[0])).collect(),
                frames.iter().map(|f| convert(f[1])).collect(),
            ];
        }
        (0..self.channels)
            .map(|c| samples.iter().skip(c).step_by(self.channels).map(|&s| convert(s)).collect())
            .collect()
    }
}

/// The name of an encoding that is not read.
fn encoding(tag: u16) -> String {
    let name = match tag {
        0x0031 => "GSM 6.10",
        0x0014 | 0x0040 | 0x0045 | 0x0064 => "G.72x ADPCM",
        0x0092 => "AC-3",
        0x00FF | 0x1610 => "AAC",
        0x0160..=0x0163 => "Windows Media Audio",
        0x0270 => "ATRAC3",
        _ => return format!("is in an unknown encoding (format tag {tag:#06x})"),
    };
    format!("is in the encoding {name}, which is not supported")
}
/// A sample as a file of 16 bits holds it.
pub fn to_i16(sample: f32) -> i16 {
    (f64::from(sample) * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16
}

/// A WAV file of 16 bits: channels of one length, `[channels][samples]`, at `rate` Hz.
///
/// # Errors
/// Where WAV has no such number of channels, or no place for so many samples.
pub fn encode<C: AsRef<[f32]>>(channels: &[C], rate: u32) -> Result<Vec<u8>> {
    let failed = |e: hound::Error| Error::Data(format!("{} channels cannot be written as WAV: {e}", channels.len()));
    let spec = hound::WavSpec {
        channels: u16::try_from(channels.len()).map_err(|_| failed(hound::Error::TooWide))?,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = Cursor::new(Vec::new());
    let mut file = hound::WavWriter::new(&mut bytes, spec).map_err(failed)?;
    for i in 0..channels.first().map_or(0, |channel| channel.as_ref().len()) {
        for channel in channels {
            file.write_sample(to_i16(channel.as_ref()[i])).map_err(failed)?;
        }
    }
    file.finalize().map_err(failed)?;
    Ok(bytes.into_inner())
}
