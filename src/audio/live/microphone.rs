//! Microphones, through `cpal`: the crate that most of Rust's sound programs stand on (Rodio, Bevy), kept by RustAudio, with ALSA, Core Audio
//! and WASAPI below one interface.

use super::{LiveReader, LiveWriter, queue};
use crate::{Error, Result};
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{Device, ErrorKind, FromSample, SampleFormat, SizedSample, Stream, StreamConfig};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Frames of a part of the queue, where the sound card does not say: the usual ten milliseconds.
const USUAL_PART: usize = 256;

/// A microphone that records for as long as it lives; it is read as [`LiveReader`] is.
pub struct Microphone {
    reader: LiveReader,
    /// Records on a thread of its own, until it is dropped.
    _stream: Stream,
    /// What the system calls it.
    pub name: String,
    /// Samples a second of each channel.
    pub sample_rate: u32,
    /// Channels, whose samples take turns.
    pub channels: usize,
}

impl Microphone {
    /// Begins to record: from the microphone of this name, or from the one that the system records with by default. It ends after
    /// `seconds`, where any are given, and when `stop` is set; `told` receives messages for the user.
    ///
    /// # Errors
    /// [`Error::Usage`] of `--microphone` where there is none, or it cannot be recorded from.
    pub fn open(
        wanted: Option<&str>,
        seconds: Option<f64>,
        stop: Arc<AtomicBool>,
        told: impl FnMut(&str) + Clone + Send + 'static,
    ) -> Result<Self> {
        let device = match wanted {
            Some(name) => named(name)?,
            None => cpal::default_host().default_input_device().ok_or_else(|| {
                Error::usage(
                    "microphone",
                    "the system knows no microphone; is one plugged in, and may this program use it?",
                )
            })?,
        };
        let name = name_of(&device);
        let failed = |e: cpal::Error| Error::usage("microphone", format!("`{name}` cannot be recorded from: {e}"));
        let config = device.default_input_config().map_err(failed)?;
        let (sample_rate, channels) = (config.sample_rate(), usize::from(config.channels()));
        let (writer, reader) = queue((sample_rate, channels), USUAL_PART, seconds, stop, told.clone());
        let (format, config) = (config.sample_format(), config.config());
        let begun = match format {
            SampleFormat::F32 => record::<f32>(&device, config, writer, told),
            SampleFormat::F64 => record::<f64>(&device, config, writer, told),
            SampleFormat::I8 => record::<i8>(&device, config, writer, told),
            SampleFormat::I16 => record::<i16>(&device, config, writer, told),
            SampleFormat::I32 => record::<i32>(&device, config, writer, told),
            SampleFormat::U8 => record::<u8>(&device, config, writer, told),
            SampleFormat::U16 => record::<u16>(&device, config, writer, told),
            SampleFormat::U32 => record::<u32>(&device, config, writer, told),
            other => {
                let detail = format!("`{name}` gives samples of the format {other}, which are not read");
                return Err(Error::usage("microphone", detail));
            }
        };
        let stream = begun.and_then(|stream| stream.play().map(|()| stream)).map_err(failed)?;
        Ok(Self { reader, _stream: stream, name, sample_rate, channels })
    }
}

impl Read for Microphone {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// Has a device's samples written to the queue.
fn record<T: SizedSample>(
    device: &Device,
    config: StreamConfig,
    mut writer: LiveWriter,
    mut told: impl FnMut(&str) + Send + 'static,
) -> std::result::Result<Stream, cpal::Error>
where
    f32: FromSample<T>,
{
    let teller = writer.teller();
    let failed = move |error: cpal::Error| match error.kind() {
        // It goes on.
        ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied => {}
        ErrorKind::Xrun => told("the sound card gave more than was taken from it; some of it is lost"),
        _ => teller.fail(error.to_string()),
    };
    let write = move |samples: &[T], _: &cpal::InputCallbackInfo| {
        writer.write(samples.iter().map(|&sample| sample.to_sample::<f32>()).collect());
    };
    device.build_input_stream(config, write, failed, None)
}

/// The microphone of this name.
fn named(wanted: &str) -> Result<Device> {
    let failed = |e: cpal::Error| Error::usage("microphone", format!("the microphones cannot be listed: {e}"));
    let devices: Vec<Device> = cpal::default_host().input_devices().map_err(failed)?.collect();
    let id = |device: &Device| device.id().map_or_else(|_| String::new(), |id| id.id().to_string());
    let names: Vec<String> = devices.iter().map(|device| format!("{} ({})", id(device), name_of(device))).collect();
    let found = devices.into_iter().find(|device| id(device) == wanted || name_of(device) == wanted);
    found.ok_or_else(|| {
        let known = if names.is_empty() { "there is none".into() } else { format!("there are: {}", names.join(", ")) };
        Error::usage("microphone", format!("no microphone is called `{wanted}`; {known}"))
    })
}

fn name_of(device: &Device) -> String {
    device.description().map_or_else(|_| "microphone".into(), |description| description.name().to_string())
}
