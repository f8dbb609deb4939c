//! WAV files whose samples are compressed: the blocks are cut here, and Symphonia decodes them.

use std::path::Path;

use super::Audio;
use super::decode::Encoding;
use super::wav::Format;
use crate::{Error, Result};

/// How samples are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// ITU-T G.711 A-law.
    ALaw,
    /// ITU-T G.711 mu-law.
    MuLaw,
    /// Microsoft's ADPCM.
    MicrosoftAdpcm,
    /// ADPCM of the Interactive Multimedia Association, as WAV has it.
    ImaAdpcm,
    /// MPEG audio, any layer: the data are the frames of an MP3.
    Mpeg,
}

impl Coding {
    /// That of a format tag.
    pub fn of(tag: u16) -> Option<Self> {
        Some(match tag {
            0x0002 => Self::MicrosoftAdpcm,
            0x0006 => Self::ALaw,
            0x0007 => Self::MuLaw,
            0x0011 => Self::ImaAdpcm,
            0x0050 | 0x0055 => Self::Mpeg,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::ALaw => "A-law",
            Self::MuLaw => "mu-law",
            Self::MicrosoftAdpcm => "Microsoft ADPCM",
            Self::ImaAdpcm => "IMA ADPCM",
            Self::Mpeg => "MPEG audio",
        }
    }

    /// Bytes at the head of a block for each channel, and the frames that they stand for.
    fn head(self) -> (usize, usize) {
        match self {
            Self::MicrosoftAdpcm => (7, 2),
            Self::ImaAdpcm => (4, 1),
            _ => (0, 0),
        }
    }

    /// Frames that so many bytes of a block hold, without those that are cut short.
    fn frames(self, bytes: usize, channels: usize) -> usize {
        let (head, first) = self.head();
        match bytes.checked_sub(head * channels) {
            None => 0,
            // Eight samples of one channel, then eight of the other.
            Some(rest) if self == Self::ImaAdpcm && channels > 1 => first + rest / (4 * channels) * 8,
            Some(rest) if head > 0 => first + rest * 2 / channels,
            Some(rest) => rest / channels,
        }
    }

    /// FFmpeg's name of it.
    fn codec(self) -> &'static str {
        match self {
            Self::ALaw => "pcm_alaw",
            Self::MuLaw => "pcm_mulaw",
            Self::MicrosoftAdpcm => "adpcm_ms",
            Self::ImaAdpcm => "adpcm_ima_wav",
            Self::Mpeg => "mp3",
        }
    }

    /// Decodes the data chunk of a file of this `format`; `frames` is what the file says of its length.
    ///
    /// # Errors
    /// Where the header allows no blocks, or there is not one.
    pub fn decode(
        self,
        format: &Format,
        data: &[u8],
        frames: Option<u32>,
        path: &Path,
        mut warnings: Vec<String>,
    ) -> Result<(Audio, Encoding)> {
        if self == Self::Mpeg {
            let (mut audio, encoding) = super::decode::stream(data.to_vec(), path)?;
            audio.warnings.splice(..0, warnings);
            return Ok((audio, encoding));
        }
        let mut blocks = Blocks::new(self, format, path)?;
        let frames = blocks.total(data.len() as u64, frames) as usize;
        if frames == 0 {
            return Err(Error::file(path, "holds no samples"));
        }
        // What lies behind is of no sound, be it damaged or not.
        let needed = frames.div_ceil(blocks.frames).saturating_mul(blocks.bytes);
        let mut samples = blocks.decode(&data[..data.len().min(needed)]);
        samples.iter_mut().for_each(|channel| channel.truncate(frames));
        warnings.extend(blocks.damaged());
        let samples = super::channels::at_most_two(samples);
        Ok((Audio { channels: samples, sample_rate: format.sample_rate, warnings }, blocks.encoding()))
    }
}

/// Compressed samples, which are decoded block after block; none depends on another.
pub(super) struct Blocks {
    coding: Coding,
    channels: usize,
    pub sample_rate: u32,
    /// Bytes of a block, and the frames that it holds.
    pub bytes: usize,
    pub frames: usize,
    damaged: u64,
    #[cfg(feature = "compressed-audio")]
    decoder: Box<dyn symphonia::core::codecs::audio::AudioDecoder>,
}

impl Blocks {
    /// Those of a file of this `format`, by any coding but MPEG.
    ///
    /// # Errors
    /// Where the header allows no blocks.
    pub fn new(coding: Coding, format: &Format, path: &Path) -> Result<Self> {
        let refuse = |what: String| Error::file(path, what);
        let (channels, name) = (usize::from(format.channels), coding.name());
        let adpcm = coding.head().0 > 0;
        if adpcm && channels > 2 {
            return Err(refuse(format!("holds {name} of {channels} channels; 2 at most can be read")));
        }
        let bytes = if adpcm { usize::from(format.block) } else { channels * 4096 };
        let frames = coding.frames(bytes, channels);
        if frames <= coding.head().1 || (adpcm && format.bits != 4) {
            let bits = format.bits;
            return Err(refuse(format!(
                "the header says blocks of {bytes} bytes of {bits} bits, which {name} has not"
            )));
        }
        #[cfg(not(feature = "compressed-audio"))]
        {
            Err(refuse(format!("holds {name}, which this build cannot read (feature `compressed-audio` is off)")))
        }
        #[cfg(feature = "compressed-audio")]
        {
            let decoder = decoder(coding, format, frames).map_err(refuse)?;
            Ok(Self { coding, channels, sample_rate: format.sample_rate, bytes, frames, damaged: 0, decoder })
        }
    }

    pub fn encoding(&self) -> Encoding {
        Encoding { codec: self.coding.codec().into(), channels: self.channels }
    }

    /// Frames of `bytes` of sound, without what fills up the last block where the file says that it holds `said`.
    pub fn total(&self, bytes: u64, said: Option<u32>) -> u64 {
        let (whole, rest) = (bytes / self.bytes as u64, bytes % self.bytes as u64);
        let held = whole * self.frames as u64 + self.coding.frames(rest as usize, self.channels) as u64;
        let adpcm = self.coding.head().0 > 0;
        let fits = |&n: &u64| adpcm && n > 0 && n < held && held - n < self.frames as u64;
        said.map(u64::from).filter(fits).unwrap_or(held)
    }

    /// Begins again to count what is damaged.
    pub fn rewind(&mut self) {
        self.damaged = 0;
    }

    /// What is to be said of blocks that were damaged.
    pub fn damaged(&self) -> Option<String> {
        let seconds = (self.damaged * self.frames as u64) as f64 / f64::from(self.sample_rate);
        (self.damaged > 0).then(|| format!("{} damaged blocks; {seconds:.3} s of silence in their place", self.damaged))
    }

    #[cfg(not(feature = "compressed-audio"))]
    pub fn decode(&mut self, _: &[u8]) -> Vec<Vec<f32>> {
        Vec::new()
    }

    /// Decodes whole blocks, and what is there of the last one, into channels of samples; of damaged ones silence.
    #[cfg(feature = "compressed-audio")]
    pub fn decode(&mut self, data: &[u8]) -> Vec<Vec<f32>> {
        use symphonia::core::packet::PacketRef;
        use symphonia::core::units::{Duration, Timestamp};

        let (adpcm, decoder) = (self.coding.head().0 > 0, &mut self.decoder);
        let mut samples = vec![Vec::new(); self.channels];
        let mut planes = Vec::<Vec<f32>>::new();
        for bytes in data.chunks(self.bytes) {
            let frames = self.coding.frames(bytes.len(), self.channels);
            if frames == 0 {
                // Of the last block not even the head is there.
                continue;
            }
            // The decoders take whole blocks; of the last one, less is kept.
            let mut whole = std::borrow::Cow::Borrowed(bytes);
            if adpcm && bytes.len() < self.bytes {
                whole.to_mut().resize(self.bytes, 0);
            }
            let length = if adpcm { self.frames } else { frames };
            let packet = PacketRef::new(0, Timestamp::new(0), Duration::new(length as u64), &whole);
            let decoded = super::decode::guarded(|| match decoder.decode_ref(&packet) {
                Ok(decoded) => decoded.copy_to_vecs_planar(&mut planes),
                Err(_) => planes.clear(),
            });
            if decoded.is_some() && planes.first().is_some_and(|plane| plane.len() >= frames) {
                samples.iter_mut().zip(&planes).for_each(|(all, new)| all.extend_from_slice(&new[..frames]));
            } else {
                self.damaged += 1;
                samples.iter_mut().for_each(|all| all.resize(all.len() + frames, 0.0));
            }
        }
        samples
    }
}

/// Symphonia's decoder of blocks of so many frames.
#[cfg(feature = "compressed-audio")]
fn decoder(
    coding: Coding,
    format: &Format,
    frames: usize,
) -> Result<Box<dyn symphonia::core::codecs::audio::AudioDecoder>, String> {
    use symphonia::core::audio::{Channels, Position};
    use symphonia::core::codecs::audio::well_known::{
        CODEC_ID_ADPCM_IMA_WAV, CODEC_ID_ADPCM_MS, CODEC_ID_PCM_ALAW, CODEC_ID_PCM_MULAW,
    };
    use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoderOptions};

    let codec = match coding {
        Coding::ALaw => CODEC_ID_PCM_ALAW,
        Coding::MuLaw => CODEC_ID_PCM_MULAW,
        Coding::MicrosoftAdpcm => CODEC_ID_ADPCM_MS,
        Coding::ImaAdpcm | Coding::Mpeg => CODEC_ID_ADPCM_IMA_WAV,
    };
    let layout = match format.channels {
        1 => Channels::Positioned(Position::FRONT_LEFT),
        2 => Channels::Positioned(Position::FRONT_LEFT | Position::FRONT_RIGHT),
        channels => Channels::Discrete(channels),
    };
    let mut parameters = AudioCodecParameters::new();
    parameters
        .for_codec(codec)
        .with_sample_rate(format.sample_rate)
        .with_channels(layout)
        .with_max_frames_per_packet(frames as u64)
        .with_frames_per_block(frames as u64);
    let decoder = super::decode::codecs().make_audio_decoder(&parameters, &AudioDecoderOptions::default());
    decoder.map_err(|e| format!("holds {}, which cannot be read: {e}", coding.name()))
}
