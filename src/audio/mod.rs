//! WAV, resampling, channels, mel and window tables: everything about sound that needs no graph.

#[cfg(feature = "compressed-audio")]
mod aiff;
#[cfg(feature = "app")]
mod bytes;
pub mod channels;
#[cfg(feature = "app")]
mod chunks;
#[cfg(feature = "compressed-audio")]
mod compressed;
#[cfg(feature = "compressed-audio")]
mod compressed_pieces;
#[cfg(feature = "compressed-audio")]
mod container;
#[cfg(feature = "app")]
pub mod decode;
pub mod faults;
#[cfg(feature = "app")]
mod ffmpeg;
pub mod filterbank;
#[cfg(feature = "compressed-audio")]
mod flac;
#[cfg(feature = "app")]
pub mod live;
#[cfg(feature = "compressed-audio")]
mod matroska;
#[cfg(feature = "compressed-audio")]
mod mp4;
#[cfg(feature = "compressed-audio")]
mod mpeg;
#[cfg(feature = "compressed-audio")]
mod opus;
#[cfg(feature = "compressed-audio")]
mod packets;
#[cfg(feature = "app")]
pub mod pieces;
pub mod resample;
#[cfg(feature = "app")]
pub mod stream;
#[cfg(feature = "app")]
pub mod wav;
#[cfg(feature = "app")]
mod wav_codecs;
#[cfg(feature = "app")]
mod wav_pieces;
pub mod window;

/// Decoded sound: one vector of samples per channel, all of the same length.
///
/// Samples are in [-1, 1) for integer formats; floating-point files may go beyond.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Audio {
    /// `[channel][sample]`; at least one channel, every channel of the same, non-zero length.
    pub channels: Vec<Vec<f32>>,
    /// Samples per second of each channel.
    pub sample_rate: u32,
    /// What had to be repaired to read the file, without the file's name: worded to follow "name.wav: ".
    pub warnings: Vec<String>,
}

impl Audio {
    /// Samples per channel.
    pub fn frames(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// Duration in seconds.
    pub fn seconds(&self) -> f64 {
        self.frames() as f64 / f64::from(self.sample_rate)
    }

    /// The same sound at another sample rate; see [`resample::Resampler`].
    ///
    /// # Errors
    /// When `sample_rate` is out of the range that [`resample::Resampler::shared`] accepts.
    pub fn resampled(self, sample_rate: u32) -> crate::Result<Self> {
        if sample_rate == self.sample_rate {
            return Ok(self);
        }
        let resampler = resample::Resampler::shared(self.sample_rate, sample_rate)?;
        let channels = self.channels.iter().map(|samples| resampler.run(samples)).collect();
        Ok(Self { channels, sample_rate, warnings: self.warnings })
    }
}
