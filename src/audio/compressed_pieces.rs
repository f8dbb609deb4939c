//! Compressed files, decoded as they are needed; see [`super::pieces`].
//!
//! A file may be several recordings, one after the other. Those that follow are brought to the rate and the channels of the first. Parts of a
//! FLAC file with sample rates of their own are recordings, too.

use std::path::{Path, PathBuf};

use super::bytes::{Bytes, Stream};
use super::channels;
use super::compressed::{Streams, guarded};
use super::decode::Encoding;
use super::packets::{Packets, Sound, not_finite};
use super::resample::{RATES, Resampler};
use super::stream::StreamResampler;
use super::wav::silence_non_finite;
use crate::{Error, Result};

/// Most samples of a long file, for each of its bytes: as [`super::decode::most_samples`], but what comes piece by piece is not bounded by
/// memory.
const SAMPLES_A_BYTE: usize = 64;

/// A recording of the file.
struct Recording {
    /// Which of the file's streams.
    single: usize,
    /// Samples a second.
    rate: u32,
    /// Decoded frames, with the encoder's padding; known after the first pass.
    total: Option<usize>,
    /// Which of them are the sound.
    sound: Sound,
}

impl Recording {
    /// Frames of the sound, after the first pass.
    fn frames(&self) -> usize {
        let (first, last) = self.sound.of(self.total.unwrap_or(0));
        last - first
    }
}

/// A recording in the middle of being decoded.
struct Decoding {
    packets: Packets,
    /// The first samples, from which the rate is known.
    first: Option<Vec<Vec<f32>>>,
    resampler: StreamResampler,
    /// How many frames came.
    at: usize,
    /// The last of them, while it is not known whether they are padding.
    waiting: Vec<Vec<f32>>,
    silenced: usize,
}

impl Decoding {
    /// With the first samples of a recording.
    fn new(packets: Packets, first: Vec<Vec<f32>>, resampler: StreamResampler) -> Self {
        let waiting = vec![Vec::new(); first.len()];
        Self { packets, first: Some(first), resampler, at: 0, waiting, silenced: 0 }
    }

    /// Takes the next samples and returns those that come before the last `back`, of them what lies in a part of the recording.
    fn take(&mut self, piece: Vec<Vec<f32>>, back: usize, part: (usize, usize)) -> Vec<Vec<f32>> {
        self.at += piece[0].len();
        for (waiting, new) in self.waiting.iter_mut().zip(piece) {
            waiting.extend(new);
        }
        let ready = self.waiting[0].len().saturating_sub(back);
        let at = self.at - self.waiting[0].len();
        let [first, last] = [part.0, part.1].map(|place| place.saturating_sub(at).min(ready));
        let mut silenced = 0;
        let of = |waiting: &mut Vec<f32>| {
            let mut new: Vec<f32> = waiting.drain(..ready).take(last).skip(first).collect();
            silenced += silence_non_finite(&mut new);
            new
        };
        let made = self.waiting.iter_mut().map(of).collect();
        self.silenced += silenced;
        made
    }
}

/// See the top of this file.
pub(super) struct CompressedPieces {
    path: PathBuf,
    /// Those that hold sound.
    recordings: Vec<Recording>,
    /// What can be said of all of them together; their bytes are with the recordings.
    streams: Streams,
    /// Parts of the file without sound.
    lost: usize,
    /// The number of the recording to decode, and its decoder; none before it begins.
    current: usize,
    decoding: Option<Decoding>,
    /// Whether a recording turned out to have no frames but those that were taken for padding, which are its sound then.
    again: bool,
    pub sample_rate: u32,
    channels: usize,
    pub encoding: Encoding,
    /// Warnings about the file's header.
    mended: Vec<String>,
    /// Warnings about the recordings that were decoded.
    warnings: Vec<String>,
}

impl CompressedPieces {
    /// Opens a file's sound; `mended` are warnings about its header. None if the file has to be decoded at once, which also says what is
    /// wrong with it.
    pub fn open(bytes: Bytes, path: &Path, mended: Vec<String>) -> Option<Self> {
        let streams = guarded(|| Streams::of(bytes))?;
        let (mut recordings, mut lost, mut begun) = (Vec::new(), 0, None);
        for (at, single) in streams.all.iter().enumerate() {
            let Some((packets, first)) = begin(&single.stream, path) else {
                lost += 1;
                continue;
            };
            let rate = packets.sample_rate();
            recordings.push(Recording { single: at, rate, total: None, sound: packets.sound() });
            begun.get_or_insert((packets, first));
        }
        let (packets, first) = begun?;
        let (sample_rate, channels, encoding) = (packets.sample_rate(), first.len(), packets.encoding().clone());
        let resampler = StreamResampler::new(sample_rate, sample_rate).ok()?;
        Some(Self {
            path: path.to_path_buf(),
            recordings,
            streams,
            lost,
            current: 0,
            decoding: Some(Decoding::new(packets, first, resampler)),
            again: false,
            sample_rate,
            channels,
            encoding,
            mended,
            warnings: Vec::new(),
        })
    }

    /// Whether it is several recordings, one after the other.
    pub fn is_joined(&self) -> bool {
        self.recordings.len() > 1
    }

    /// Whether the last pass left out frames that turned out to be sound, so that another pass is needed.
    pub fn again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }

    /// Begins again.
    pub fn rewind(&mut self) {
        (self.current, self.decoding) = (0, None);
        self.warnings.clear();
    }

    /// Frames of the sound at the file's rate, after the first pass.
    pub fn frames(&self) -> usize {
        let of = |recording: &Recording| {
            let frames = recording.frames();
            // As many as come of them at the first recording's rate.
            match recording.rate == self.sample_rate {
                true => frames,
                false => {
                    Resampler::shared(recording.rate, self.sample_rate).map_or(0, |table| table.output_len(frames))
                }
            }
        };
        self.recordings.iter().map(of).sum()
    }

    /// The next samples; none at the end.
    ///
    /// # Errors
    /// If a decoder fails, or a checksum is wrong.
    pub fn next(&mut self) -> Result<Option<Vec<Vec<f32>>>> {
        while self.current < self.recordings.len() {
            let recording = &mut self.recordings[self.current];
            let mut decoding = match self.decoding.take() {
                Some(decoding) => decoding,
                None => {
                    let stream = &self.streams.all[recording.single].stream;
                    let (packets, first) = begin(stream, &self.path).ok_or_else(|| failed(&self.path))?;
                    Decoding::new(packets, first, StreamResampler::new(recording.rate, self.sample_rate)?)
                }
            };
            let piece = match decoding.first.take() {
                Some(first) => Some(first),
                None => guarded(|| decoding.packets.next()).ok_or_else(|| failed(&self.path))?,
            };
            let sound = recording.sound;
            let made = match piece {
                Some(piece) => {
                    let (back, part) = match recording.total {
                        Some(total) => (0, sound.of(total)),
                        None => (sound.back, (sound.front, sound.end)),
                    };
                    let piece = decoding.take(piece, back, part);
                    let made = decoding.resampler.push(piece, false);
                    self.decoding = Some(decoding);
                    made
                }
                None => {
                    let part = sound.of(decoding.at);
                    self.again |= recording.total.is_none() && part.0 < sound.front;
                    recording.total = Some(decoding.at);
                    let nothing = vec![Vec::new(); decoding.packets.channels()];
                    let rest = decoding.take(nothing, 0, part);
                    let made = decoding.resampler.push(rest, true);
                    self.end(decoding)?;
                    self.current += 1;
                    made
                }
            };
            if !made[0].is_empty() {
                return Ok(Some(channels::to_count(made, self.channels)));
            }
        }
        Ok(None)
    }

    /// Keeps the warnings about a recording that has been decoded.
    fn end(&mut self, decoding: Decoding) -> Result<()> {
        let recording = &self.recordings[self.current];
        let ended = guarded(|| decoding.packets.end()).ok_or_else(|| failed(&self.path))??;
        self.warnings.extend(ended.warnings);
        self.warnings.extend(not_finite(decoding.silenced));
        let frames = recording.frames();
        let single = &self.streams.all[recording.single];
        self.warnings.extend(single.of_flac(ended.matches, frames, self.sample_rate, &self.path)?);
        Ok(())
    }

    /// All warnings, once everything was read.
    ///
    /// # Errors
    /// As [`Streams::of_several`].
    pub fn warnings(&mut self) -> Result<Vec<String>> {
        let (decoded, frames) = (self.recordings.len(), self.recordings.iter().map(Recording::frames).sum());
        let several = self.streams.of_several(decoded, self.lost, frames, self.sample_rate, &self.path)?;
        let said = self.mended.iter().cloned().chain(std::mem::take(&mut self.warnings));
        Ok(said.chain(several).collect())
    }
}

fn failed(path: &Path) -> Error {
    Error::file(path, "its decoder failed on damaged data")
}

/// A recording's decoder and first samples; none if it has none, or a sample rate that is out of range.
fn begin(stream: &Stream, path: &Path) -> Option<(Packets, Vec<Vec<f32>>)> {
    let most = (1 << 24) + stream.len().saturating_mul(SAMPLES_A_BYTE);
    guarded(|| {
        let mut packets = Packets::open(stream.clone(), path, most).ok()?;
        let first = packets.next()?;
        RATES.contains(&packets.sample_rate()).then_some((packets, first))
    })?
}
