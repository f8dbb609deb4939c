//! Opus for Symphonia, whose Ogg, Matroska and MP4 readers know the codec but which has no decoder of its own.
//!
//! The decoder is the crate `unsafe-libopus`, libopus translated into Rust. Of 115 files of 2 s that libopus made (mono and stereo, 6 to
//! 510 kbit/s, frames of 2.5 to 60 ms) it decoded each to the rounding of the 16-bit reference, 1.5e-5 of full scale, all in
//! half a second; `ruopus` came to 2e-5 but took 45 seconds, and `opus-decoder` took 49 and refused at least one.

use std::ptr::NonNull;

use symphonia::core::audio::{
    AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, Channels, GenericAudioBufferRef,
};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult};
use symphonia::core::codecs::registry::{RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Result, decode_error, unsupported_error};
use symphonia::core::packet::PacketRef;
use unsafe_libopus::{
    OpusMSDecoder, opus_multistream_decode_float, opus_multistream_decoder_create, opus_multistream_decoder_destroy,
};

/// Samples per second that Opus decodes to, whatever was recorded.
const RATE: u32 = 48_000;

/// Frames of the longest packet, 120 ms.
const LONGEST: usize = RATE as usize * 120 / 1000;

/// What an `OpusHead` says (RFC 7845, section 5.1).
#[derive(Debug, Clone, PartialEq)]
struct Head {
    channels: usize,
    /// Samples at 48 kHz before the sound begins.
    pre_skip: usize,
    /// Factor of the output gain.
    gain: f32,
    streams: usize,
    /// How many of the streams are stereo.
    coupled: usize,
    mapping: Vec<u8>,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        // The version byte means little: Ogg counts from 1, MP4 from 0.
        let body = bytes.strip_prefix(b"OpusHead")?;
        let &[_, channels, skip_low, skip_high, _, _, _, _, gain_low, gain_high, family, ref table @ ..] = body else {
            return None;
        };
        let count = usize::from(channels);
        // MP4 keeps these two numbers in the other byte order, but its reader hands on what only the pre-skip is taken of,
        // and there the edit list says it.
        let pre_skip = usize::from(u16::from_le_bytes([skip_low, skip_high]));
        let gain = 10f32.powf(f32::from(i16::from_le_bytes([gain_low, gain_high])) / (20.0 * 256.0));
        let (streams, coupled, mapping) = match (family, table) {
            (0, _) => (1, count.saturating_sub(1), (0..channels).collect()),
            (_, [streams, coupled, mapping @ ..]) if mapping.len() >= count => {
                (usize::from(*streams), usize::from(*coupled), mapping[..count].to_vec())
            }
            _ => return None,
        };
        let decoded = streams + coupled;
        let sound = (1..=255).contains(&decoded)
            && coupled <= streams
            && count > 0
            && (family != 0 || count <= 2)
            && mapping.iter().all(|&m| m == 255 || usize::from(m) < decoded);
        sound.then_some(Self { channels: count, pre_skip, gain, streams, coupled, mapping })
    }
}

/// Samples at 48 kHz that come before the sound, of the codec's own header; 0 where there is none.
pub fn pre_skip(parameters: &AudioCodecParameters) -> usize {
    parameters.extra_data.as_deref().and_then(Head::read).map_or(0, |head| head.pre_skip)
}

/// The state of libopus, freed with this.
struct State(NonNull<OpusMSDecoder>);

// SAFETY: the state is memory of its own that nothing else points into, without thread-local parts, and is changed only
// through `&mut self`.
unsafe impl Send for State {}
// SAFETY: as above; nothing is read through `&self`.
unsafe impl Sync for State {}

impl State {
    fn new(head: &Head) -> Result<Self> {
        let mut error = 0;
        // SAFETY: `mapping` has an entry for each channel, as `Head::read` and `OpusDecoder::new` see to.
        let state = unsafe {
            opus_multistream_decoder_create(
                RATE as i32,
                head.channels as i32,
                head.streams as i32,
                head.coupled as i32,
                head.mapping.as_ptr(),
                &mut error,
            )
        };
        match NonNull::new(state) {
            Some(state) if error == 0 => Ok(Self(state)),
            _ => unsupported_error("opus: its header asks for what no decoder can be made for"),
        }
    }

    /// Decodes a packet into `interleaved`, which has room for [`LONGEST`] frames, and says how many there were.
    fn decode(&mut self, packet: &[u8], channels: usize, interleaved: &mut [f32]) -> Option<usize> {
        assert!(interleaved.len() >= LONGEST * channels);
        // An empty packet would be taken for a lost one, and its sound made up.
        let length = i32::try_from(packet.len()).ok().filter(|&length| length > 0)?;
        // SAFETY: the state is alive, the packet has `length` bytes, and the output has room for `LONGEST` frames.
        let frames = unsafe {
            let output = interleaved.as_mut_ptr();
            opus_multistream_decode_float(self.0.as_ptr(), packet.as_ptr(), length, output, LONGEST as i32, 0)
        };
        usize::try_from(frames).ok()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: made by `opus_multistream_decoder_create`, and freed only here.
        unsafe { opus_multistream_decoder_destroy(self.0.as_ptr()) }
    }
}

/// Decodes the packets of one Opus stream to 48 kHz.
pub struct OpusDecoder {
    parameters: AudioCodecParameters,
    head: Head,
    state: State,
    interleaved: Vec<f32>,
    buffer: AudioBuffer<f32>,
}

impl OpusDecoder {
    fn new(parameters: &AudioCodecParameters) -> Result<Self> {
        let declared = parameters.channels.as_ref().map_or(1, Channels::count).clamp(1, 2);
        let head = match parameters.extra_data.as_deref() {
            Some(bytes) => Head::read(bytes),
            None => Some(Head {
                channels: declared,
                pre_skip: 0,
                gain: 1.0,
                streams: 1,
                coupled: declared - 1,
                mapping: (0..declared as u8).collect(),
            }),
        };
        let Some(head) = head else { return unsupported_error("opus: its header is damaged") };
        let spec = AudioSpec::new(RATE, Channels::Discrete(head.channels as u16));
        let buffer = AudioBuffer::new(spec, LONGEST);
        let (state, interleaved) = (State::new(&head)?, vec![0.0; LONGEST * head.channels]);
        Ok(Self { parameters: parameters.clone(), head, state, interleaved, buffer })
    }
}

impl AudioDecoder for OpusDecoder {
    fn reset(&mut self) {
        // The same header made one before.
        if let Ok(state) = State::new(&self.head) {
            self.state = state;
        }
    }

    fn codec_info(&self) -> &CodecInfo {
        &Self::supported_codecs()[0].info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.parameters
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.buffer.clear();
        let channels = self.head.channels;
        let Some(frames) = self.state.decode(packet.data, channels, &mut self.interleaved) else {
            return decode_error("opus: a damaged packet");
        };
        let samples = &self.interleaved[..frames * channels];
        self.buffer.render_uninit(Some(frames));
        for channel in 0..channels {
            let Some(plane) = self.buffer.plane_mut(channel) else { return decode_error("opus: a channel is missing") };
            for (to, from) in plane.iter_mut().zip(samples.iter().skip(channel).step_by(channels)) {
                *to = from * self.head.gain;
            }
        }
        self.buffer.trim(packet.trim_start.get() as usize, packet.trim_end.get() as usize);
        Ok(self.buffer.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.buffer.as_generic_audio_buffer_ref()
    }
}

impl RegisterableAudioDecoder for OpusDecoder {
    fn try_registry_new(parameters: &AudioCodecParameters, _: &AudioDecoderOptions) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(Self::new(parameters)?))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        const INFO: CodecInfo = CodecInfo { short_name: "opus", long_name: "Opus", profiles: &[] };
        &[SupportedAudioCodec { id: CODEC_ID_OPUS, info: INFO }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let head = |family: u8, channels: u8, table: &[u8]| {
            let mut bytes = b"OpusHead\x01".to_vec();
            bytes.extend_from_slice(&[channels, 0x38, 0x01, 0x80, 0xBB, 0, 0, 0, 0, family]);
            bytes.extend_from_slice(table);
            Head::read(&bytes)
        };
        let stereo = head(0, 2, &[]).unwrap();
        assert_eq!((stereo.pre_skip, stereo.streams, stereo.coupled, stereo.gain), (312, 1, 1, 1.0));
        assert_eq!(head(1, 3, &[2, 1, 0, 2, 1]).unwrap().mapping, [0, 2, 1]);
        // Three channels need a table, a table must not point past the streams, and there is sound in at least one.
        assert_eq!(head(0, 3, &[]), None);
        assert_eq!(head(1, 3, &[2, 1, 0, 3, 1]), None);
        assert_eq!(head(1, 1, &[0, 0, 255]), None);
        assert_eq!(head(0, 0, &[]), None);
        assert_eq!(Head::read(b"OpusHead\x01\x01"), None);
    }
}
