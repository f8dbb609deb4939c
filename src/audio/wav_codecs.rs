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
        let refuse = |what: String| Error::file(path, what);
        let channels = usize::from(format.channels);
        let adpcm = self.head().0 > 0;
        if adpcm && channels > 2 {
            return Err(refuse(format!("holds {} of {channels} channels; 2 at most can be read", self.name())));
        }
        let block = if adpcm { usize::from(format.block) } else { channels * 4096 };
        let per_block = self.frames(block, channels);
        if per_block <= self.head().1 || (adpcm && format.bits != 4) {
            let (bits, name) = (format.bits, self.name());
            return Err(refuse(format!(
                "the header says blocks of {block} bytes of {bits} bits, which {name} has not"
            )));
        }
        let mut samples = Vec::new();
        let damaged = self.blocks(format, data, block, per_block, &mut samples).map_err(&refuse)?;
        let held = samples.first().map_or(0, Vec::len);
        if held == 0 {
            return Err(refuse("holds no samples".into()));
        }
        // What fills up the last block is no sound.
        let frames =
            frames.map(|frames| frames as usize).filter(|&n| adpcm && n < held && held - n < per_block && n > 0);
        samples.iter_mut().for_each(|channel| channel.truncate(frames.unwrap_or(held)));
        if damaged > 0 {
            let seconds = (damaged * per_block) as f64 / f64::from(format.sample_rate);
            warnings.push(format!("{damaged} damaged blocks; {seconds:.3} s of silence in their place"));
        }
        let codec = match self {
            Self::ALaw => "pcm_alaw",
            Self::MuLaw => "pcm_mulaw",
            Self::MicrosoftAdpcm => "adpcm_ms",
            Self::ImaAdpcm => "adpcm_ima_wav",
            Self::Mpeg => "mp3",
        };
        let samples = super::channels::at_most_two(samples);
        let encoding = Encoding { codec: codec.into(), channels };
        Ok((Audio { channels: samples, sample_rate: format.sample_rate, warnings }, encoding))
    }

    #[cfg(not(feature = "compressed-audio"))]
    fn blocks(self, _: &Format, _: &[u8], _: usize, _: usize, _: &mut Vec<Vec<f32>>) -> Result<usize, String> {
        Err(format!("holds {}, which this build cannot read (feature `compressed-audio` is off)", self.name()))
    }

    /// Decodes block after block into channels of samples; how many were damaged, which are silence.
    #[cfg(feature = "compressed-audio")]
    fn blocks(
        self,
        format: &Format,
        data: &[u8],
        block: usize,
        per_block: usize,
        samples: &mut Vec<Vec<f32>>,
    ) -> Result<usize, String> {
        use symphonia::core::audio::{Channels, Position};
        use symphonia::core::codecs::audio::well_known::{
            CODEC_ID_ADPCM_IMA_WAV, CODEC_ID_ADPCM_MS, CODEC_ID_PCM_ALAW, CODEC_ID_PCM_MULAW,
        };
        use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoderOptions};
        use symphonia::core::packet::PacketRef;
        use symphonia::core::units::{Duration, Timestamp};

        let codec = match self {
            Self::ALaw => CODEC_ID_PCM_ALAW,
            Self::MuLaw => CODEC_ID_PCM_MULAW,
            Self::MicrosoftAdpcm => CODEC_ID_ADPCM_MS,
            Self::ImaAdpcm | Self::Mpeg => CODEC_ID_ADPCM_IMA_WAV,
        };
        let channels = usize::from(format.channels);
        let layout = match channels {
            1 => Channels::Positioned(Position::FRONT_LEFT),
            2 => Channels::Positioned(Position::FRONT_LEFT | Position::FRONT_RIGHT),
            _ => Channels::Discrete(format.channels),
        };
        let mut parameters = AudioCodecParameters::new();
        parameters
            .for_codec(codec)
            .with_sample_rate(format.sample_rate)
            .with_channels(layout)
            .with_max_frames_per_packet(per_block as u64)
            .with_frames_per_block(per_block as u64);
        let decoder = super::decode::codecs().make_audio_decoder(&parameters, &AudioDecoderOptions::default());
        let mut decoder = decoder.map_err(|e| format!("holds {}, which cannot be read: {e}", self.name()))?;
        samples.resize_with(channels, Vec::new);
        let (mut planes, mut damaged) = (Vec::<Vec<f32>>::new(), 0);
        for bytes in data.chunks(block) {
            let frames = self.frames(bytes.len(), channels);
            // The decoders take whole blocks; of the last one, less is kept.
            let mut whole = std::borrow::Cow::Borrowed(bytes);
            if self.head().0 > 0 && bytes.len() < block {
                whole.to_mut().resize(block, 0);
            }
            let length = if self.head().0 > 0 { per_block } else { frames };
            let packet = PacketRef::new(0, Timestamp::new(0), Duration::new(length as u64), &whole);
            let decoded = super::decode::guarded(|| match decoder.decode_ref(&packet) {
                Ok(decoded) => decoded.copy_to_vecs_planar(&mut planes),
                Err(_) => planes.clear(),
            });
            if decoded.is_some() && planes.first().is_some_and(|plane| plane.len() >= frames) {
                samples.iter_mut().zip(&planes).for_each(|(all, new)| all.extend_from_slice(&new[..frames]));
            } else {
                damaged += 1;
                samples.iter_mut().for_each(|all| all.resize(all.len() + frames, 0.0));
            }
        }
        Ok(damaged)
    }
}
