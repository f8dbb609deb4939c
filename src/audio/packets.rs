//! One stream of packets, decoded one after the other.

use std::path::{Path, PathBuf};

use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_MP3, CODEC_ID_OPUS};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Symphonia;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::well_known::{
    FORMAT_ID_ISOMP4, FORMAT_ID_MKV, FORMAT_ID_MP1, FORMAT_ID_MP2, FORMAT_ID_MP3, FORMAT_ID_OGG,
};
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::bytes::Stream;
use super::compressed::codecs;
use super::container::{aac_kind, discard_padding};
use super::decode::Encoding;
use super::opus;
use super::resample::RATES;
use super::{Audio, aiff, channels, ffmpeg, matroska, mp4, mpeg, wav};
use crate::{Error, Result};

/// What can be read, worded to stand in brackets behind "can be read".
const KINDS: &str = "WAV, FLAC, MP3, Vorbis, Opus, AAC-LC, ALAC and PCM, in Ogg, MP4, Matroska, AIFF and CAF, can";

/// Seconds by which what is decoded may differ from what a container says before that is a warning: a packet of most codecs, and what encoders
/// put in front and behind.
const LENGTH_TOLERANCE: f64 = 0.1;

/// Seconds between two packets that are no gap, as containers round times to a thousandth; and those that no recording pauses for.
const SMALLEST_GAP: f64 = 0.008;
const LONGEST_GAP: f64 = 3600.0;

/// A stream, decoded.
pub(super) struct One {
    pub audio: Audio,
    pub encoding: Encoding,
    /// Whether the samples are those that the stream has a checksum of; none where it has none.
    pub matches: Option<bool>,
}

/// Decodes a stream at once; `most` samples, over all channels, come of it.
///
/// # Errors
/// Where it is no sound, or none that can be decoded.
pub(super) fn decode_one(stream: Stream, path: &Path, most: usize) -> Result<One> {
    let mut packets = Packets::open(stream, path, most)?;
    let mut samples: Vec<Vec<f32>> = Vec::new();
    while let Some(piece) = packets.next() {
        samples.resize(piece.len(), Vec::new());
        for (all, new) in samples.iter_mut().zip(&piece) {
            all.try_reserve(new.len()).map_err(|_| no_memory(path))?;
            all.extend_from_slice(new);
        }
    }
    let held = samples.first().map_or(0, Vec::len);
    let (start, end) = packets.sound().of(held);
    let Ended { encoding, sample_rate, matches, mut warnings } = packets.end()?;
    if (start, end) != (0, held) {
        samples.iter_mut().for_each(|all| {
            all.truncate(end);
            all.drain(..start);
        });
    }
    let silenced: usize = samples.iter_mut().map(|s| wav::silence_non_finite(s)).sum();
    warnings.extend(not_finite(silenced));
    Ok(One { audio: Audio { channels: samples, sample_rate, warnings }, encoding, matches })
}

/// Why something cannot be read that could be with more memory.
pub(super) fn no_memory(path: &Path) -> Error {
    Error::file(path, "is so long that there is not enough memory for its sound")
}

/// The warning about samples that were taken as silence.
pub(super) fn not_finite(silenced: usize) -> Option<String> {
    (silenced > 0).then(|| format!("{silenced} samples are not finite or absurdly large; taken as silence"))
}

/// A stream in the middle of being decoded.
pub(super) struct Packets {
    path: PathBuf,
    /// Samples over all channels that may come of it.
    most: usize,
    format: Box<dyn FormatReader>,
    track: u32,
    decoder: Box<dyn AudioDecoder>,
    /// Frames at its beginning that are no sound.
    skip: usize,
    /// The part that an MP4's edit list names.
    edit: Option<mp4::Part>,
    /// Frames that an AIFF file says it has.
    promised: Option<u32>,
    /// Seconds at the end that Matroska says are padding.
    padding: f64,
    encoding: Encoding,
    sample_rate: u32,
    channels: usize,
    /// Frames that were given.
    held: usize,
    planes: Vec<Vec<f32>>,
    damaged: usize,
    /// Frames for which there are no packets.
    missing: usize,
    silent: usize,
    /// Frames that were lost and are still to be made up for.
    pending: usize,
    /// Frames of the last packet that was decoded: one that is lost is taken to be as long, where it does not say.
    usual: usize,
    /// When the next packet is due, in seconds; none where that is not known.
    due: Option<f64>,
    /// When the last packet came.
    last: Option<f64>,
    /// Seconds of the unit in which packets have their times, where the container has a time for each.
    unit: Option<f64>,
    /// Recordings that are joined.
    links: usize,
    mixed_before: bool,
    layer3: bool,
    opus: bool,
    ended: bool,
    ended_early: Option<String>,
    /// Whether an encoder's tag of the first frame tells how many there are, or the head of an MP4 does.
    counted: bool,
}

/// What can be said of a stream when all of it is decoded.
pub(super) struct Ended {
    pub encoding: Encoding,
    pub sample_rate: u32,
    /// See [`One::matches`].
    pub matches: Option<bool>,
    pub warnings: Vec<String>,
}

impl Packets {
    /// # Errors
    /// Where there is no sound track, or none of a codec that is known.
    pub fn open(stream: Stream, path: &Path, most: usize) -> Result<Self> {
        let mut hint = Hint::new();
        if let Some(extension) = path.extension().and_then(|e| e.to_str()) {
            hint.with_extension(&extension.to_ascii_lowercase());
        }
        // What stands behind a head of our own is sound alone.
        let bytes: &[u8] = if stream.head.is_empty() { &stream.bytes } else { &[] };
        if let Some(kind) = ffmpeg::kind(bytes) {
            return Err(Error::file(path, format!("is {kind}, which is no sound file that can be read ({KINDS})")));
        }
        let is_mp4 = mp4::is_mp4(bytes);
        let edit = if is_mp4 { mp4::part(bytes) } else { None };
        let counted = mpeg::is_counted(bytes) || is_mp4 && !mp4::is_fragmented(bytes);
        let (padding, promised) = (discard_padding(bytes), aiff::frames(&stream.head));
        // A file that is refused may be refused for what stands beside its sound.
        let patches = || match bytes {
            _ if is_mp4 => mp4::without_pictures(bytes),
            _ if bytes.starts_with(matroska::MAGIC) => matroska::without_chapters(bytes),
            _ => Vec::new(),
        };
        let probe = |stream: Stream| {
            let stream = MediaSourceStream::new(Box::new(stream), Default::default());
            symphonia::default::get_probe().probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
        };
        let format = probe(stream.clone())
            .or_else(|error| {
                let hidden = Some(patches()).filter(|patches| !patches.is_empty());
                hidden.and_then(|patches| probe(stream.clone().changed(patches)).ok()).ok_or(error)
            })
            .map_err(|e| Error::file(path, format!("is no sound file that can be read ({KINDS}): {e}")))?;
        let (track, decoder, skip) = open(&*format, path)?;
        let encoding = Encoding { codec: decoder.codec_info().short_name.into(), channels: 0 };
        let layer3 = decoder.codec_params().codec == CODEC_ID_MP3;
        let opus = decoder.codec_params().codec == CODEC_ID_OPUS;
        let unit = unit(&*format);
        Ok(Self {
            path: path.to_path_buf(),
            most,
            format,
            track,
            decoder,
            skip,
            edit,
            promised,
            padding,
            encoding,
            sample_rate: 0,
            channels: 0,
            held: 0,
            planes: Vec::new(),
            damaged: 0,
            silent: 0,
            pending: 0,
            usual: 0,
            due: None,
            last: None,
            unit,
            missing: 0,
            links: 1,
            mixed_before: false,
            layer3,
            opus,
            ended: false,
            ended_early: None,
            counted,
        })
    }

    /// The next samples, at most two channels of one length, with silence for what was lost before them; none at the end. What an encoder
    /// has put in front and behind is among them: see [`Packets::sound`].
    pub fn next(&mut self) -> Option<Vec<Vec<f32>>> {
        if self.ended {
            return None;
        }
        match self.decode() {
            Ok(piece) => Some(piece),
            Err(early) => {
                (self.ended, self.ended_early) = (true, early);
                // Sound may end with what was lost.
                let lost = std::mem::take(&mut self.pending);
                if lost == 0 || self.channels == 0 {
                    return None;
                }
                self.silent += lost;
                self.held += lost;
                Some(vec![vec![0.0; lost]; self.channels])
            }
        }
    }

    /// The next samples; the error is why there are no more, where that is not the stream's end.
    fn decode(&mut self) -> std::result::Result<Vec<Vec<f32>>, Option<String>> {
        loop {
            let packet = match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track => packet,
                Ok(Some(_)) => continue,
                Ok(None) => return Err(None),
                // Another stream begins: joined files of Ogg, each with headers of its own.
                Err(Symphonia::ResetRequired) => match open(&*self.format, &self.path) {
                    Ok(next) => {
                        (self.track, self.decoder, self.skip) = next;
                        (self.due, self.unit) = (None, unit(&*self.format));
                        self.links += 1;
                        continue;
                    }
                    Err(Error::File { detail, .. }) => return Err(Some(format!("the sound that follows {detail}"))),
                    Err(error) => return Err(Some(error.to_string())),
                },
                Err(error) => return Err(Some(error.to_string())),
            };
            let at = self.unit.map(|unit| packet.pts.get() as f64 * unit);
            self.make_up_for(at);
            // All packets of a block of Matroska have its time, where it does not say how long they are: each follows the one before.
            let laced = std::mem::replace(&mut self.last, at) == at;
            let begins = self.due.filter(|_| laced).or(at);
            self.due = at
                .zip(self.unit)
                .filter(|_| packet.dur.get() > 0)
                .map(|(at, unit)| at + packet.dur.get() as f64 * unit);
            let mixed_blocks = self.layer3 && mpeg::has_mixed_blocks(&packet.data);
            // What they leave behind sounds in the next packet, too.
            let unsure = std::mem::replace(&mut self.mixed_before, mixed_blocks) || mixed_blocks;
            let decoded = match self.decoder.decode(&packet) {
                Ok(decoded) if unsure => {
                    self.damaged += 1;
                    self.pending += decoded.frames();
                    continue;
                }
                Ok(decoded) => decoded,
                Err(Symphonia::DecodeError(_) | Symphonia::IoError(_)) => {
                    self.damaged += 1;
                    self.pending += self.usual;
                    continue;
                }
                Err(Symphonia::ResetRequired) => {
                    self.decoder.reset();
                    self.damaged += 1;
                    self.pending += self.usual;
                    continue;
                }
                Err(error) => return Err(Some(error.to_string())),
            };
            if decoded.frames() == 0 {
                continue;
            }
            self.usual = decoded.frames();
            let rate = decoded.spec().rate();
            // Matroska often does not say how long its packets are; those of Opus are as long as what comes of them.
            if self.opus && self.due.is_none() {
                self.due = begins.map(|at| at + decoded.frames() as f64 / f64::from(rate));
            }
            decoded.copy_to_vecs_planar(&mut self.planes);
            self.encoding.channels = self.encoding.channels.max(self.planes.len());
            let mut mixed = channels::at_most_two(std::mem::take(&mut self.planes));
            if self.skip > 0 {
                let cut = self.skip.min(mixed[0].len());
                self.skip -= cut;
                mixed.iter_mut().for_each(|channel| drop(channel.drain(..cut)));
            }
            if self.channels == 0 {
                (self.channels, self.sample_rate) = (mixed.len(), rate);
            }
            if rate != self.sample_rate || mixed.len() != self.channels {
                return Err(Some("the sample rate or the number of channels changes".into()));
            }
            let lost = self.pending;
            if (self.held + lost + mixed[0].len()) * self.channels > self.most {
                let most = self.most;
                return Err(Some(format!("it decodes to more than {most} samples, out of proportion to its size")));
            }
            if lost > 0 {
                // What was lost stays silence, so that what follows comes at its time.
                mixed.iter_mut().for_each(|channel| drop(channel.splice(..0, std::iter::repeat_n(0.0, lost))));
                self.silent += std::mem::take(&mut self.pending);
            }
            self.held += mixed[0].len();
            if !mixed[0].is_empty() {
                return Ok(mixed);
            }
        }
    }

    /// Notes when a packet comes, and that what should have come before it does not: packets that were lost on their way, or were never
    /// sent while there was nothing to hear. They become silence, so that time stays true.
    fn make_up_for(&mut self, at: Option<f64>) {
        let gap = at.zip(self.due).map_or(0.0, |(at, due)| at - due);
        if self.sample_rate > 0 && gap > SMALLEST_GAP && gap < LONGEST_GAP {
            let frames = (gap * f64::from(self.sample_rate)).round() as usize;
            self.pending += frames;
            self.missing += frames;
        }
    }

    /// Samples a second; 0 before there are any.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Channels of what is given; 0 before there is anything.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// How the file holds the sound, as far as is known.
    pub fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    /// Which frames are the sound, without what an encoder put in front and behind: as an MP4's edit list says, or the tag of an MP3.
    pub fn sound(&self) -> Sound {
        let frames = |seconds: f64| (seconds * f64::from(self.sample_rate)).round() as usize;
        let mut sound = Sound { front: 0, end: usize::MAX, back: 0, all: 0 };
        let track = self.format.default_track(TrackType::Audio);
        match (self.edit, track) {
            (Some(part), _) => {
                sound.front = frames(part.start);
                sound.end = part.length.map_or(usize::MAX, |length| sound.front.saturating_add(frames(length)));
            }
            (None, Some(track)) if is_mpeg(&*self.format) => {
                (sound.front, sound.back) = (track.delay.unwrap_or(0) as usize, track.padding.unwrap_or(0) as usize);
                let told = track.num_frames.filter(|_| self.counted).unwrap_or(0) as usize;
                sound.all = if told > 0 { told.saturating_add(sound.front + sound.back) } else { 0 };
            }
            _ if self.format.format_info().format == FORMAT_ID_MKV => sound.back = frames(self.padding),
            _ => {}
        }
        sound
    }

    /// Seconds that the container says, of the whole track; none where it does not, or only guesses.
    fn said(&self) -> Option<f64> {
        if let Some(frames) = self.promised.filter(|&frames| frames > 0) {
            return Some(f64::from(frames) / f64::from(self.sample_rate));
        }
        // CAF's reader takes every packet for a whole one.
        let track = self.format.default_track(TrackType::Audio).filter(|_| self.counted && self.links == 1)?;
        let frames = track.num_frames.map(|frames| frames as f64 / f64::from(self.sample_rate));
        let said = track.time_base.zip(track.duration).and_then(|(base, duration)| base.calc_duration(duration));
        let said = said.map(|time| time.as_secs_f64()).or(frames)?;
        (said > 0.0).then_some(said)
    }

    /// What is to be said of it.
    ///
    /// # Errors
    /// Where nothing could be decoded, or at a rate that is out of range.
    pub fn end(mut self) -> Result<Ended> {
        let sample_rate = self.sample_rate;
        if self.held == 0 {
            let reason = self.ended_early.unwrap_or_else(|| "no frame could be decoded".into());
            return Err(Error::file(self.path, format!("holds no sound that can be decoded: {reason}")));
        }
        if !RATES.contains(&sample_rate) {
            return Err(Error::file(
                self.path,
                format!("has a sample rate of {sample_rate} Hz, which is out of range"),
            ));
        }
        let mut warnings = Vec::new();
        // The tag of an MP3 counts without what the encoder has put in front and behind, other containers with it.
        let (start, end) = if is_mpeg(&*self.format) { self.sound().of(self.held) } else { (0, self.held) };
        let held = (end - start) as f64 / f64::from(sample_rate);
        let said = self.said().filter(|said| (said - held).abs() > LENGTH_TOLERANCE);
        let matches =
            if self.ended_early.is_none() && self.damaged == 0 { self.decoder.finalize().verify_ok } else { None };
        if let Some(reason) = self.ended_early {
            warnings.push(format!("ends early: {reason}"));
        }
        if let Some(said) = said {
            warnings.push(format!("the file says {said:.3} s, {held:.3} s could be decoded"));
        }
        if self.damaged > 0 {
            let seconds = self.silent.saturating_sub(self.missing) as f64 / f64::from(sample_rate);
            warnings.push(format!("{} damaged packets; {seconds:.3} s of silence in their place", self.damaged));
        }
        if self.missing > 0 {
            let seconds = self.missing as f64 / f64::from(sample_rate);
            warnings.push(format!("packets are missing; {seconds:.3} s of silence in their place"));
        }
        if self.links > 1 {
            warnings.push(format!("{} recordings joined in one file; read one after the other", self.links));
        }
        Ok(Ended { encoding: self.encoding, sample_rate, matches, warnings })
    }
}

/// Which frames of a stream are its sound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sound {
    /// The first of them.
    pub front: usize,
    /// The one after the last, however many there are.
    pub end: usize,
    /// Frames behind them that the encoder has added.
    pub back: usize,
    /// How many frames there have to be so that those behind are among them: a file that was cut off has lost them first.
    all: usize,
}

impl Sound {
    /// Those of so many frames: the first, and the one after the last.
    pub fn of(&self, held: usize) -> (usize, usize) {
        let end = held.min(held.max(self.all).saturating_sub(self.back)).min(self.end);
        // What would leave nothing is a mistake.
        if self.front < end { (self.front, end) } else { (0, held) }
    }
}

/// Seconds of a track's units of time, where the container says when each packet comes: Ogg by its pages, Matroska by its blocks.
fn unit(format: &dyn FormatReader) -> Option<f64> {
    let kind = format.format_info().format;
    let track = format.default_track(TrackType::Audio).filter(|_| [FORMAT_ID_OGG, FORMAT_ID_MKV].contains(&kind))?;
    let base = track.time_base?;
    Some(f64::from(base.numer.get()) / f64::from(base.denom.get()))
}

fn is_mpeg(format: &dyn FormatReader) -> bool {
    [FORMAT_ID_MP1, FORMAT_ID_MP2, FORMAT_ID_MP3].contains(&format.format_info().format)
}

/// The sound track of a file, a decoder of it, and how many frames at its beginning are no sound.
fn open(format: &dyn FormatReader, path: &Path) -> Result<(u32, Box<dyn AudioDecoder>, usize)> {
    let track = format.default_track(TrackType::Audio).ok_or_else(|| Error::file(path, "holds no sound track"))?;
    let parameters: Option<&AudioCodecParameters> = track.codec_params.as_ref().and_then(|p| p.audio());
    let parameters = parameters.ok_or_else(|| Error::file(path, "does not say how its sound is encoded"))?;
    // Its reader guesses how long an MP3 is from the first frames, and would have the rest cut off: see `Packets::sound`.
    let options = AudioDecoderOptions::default().gapless(!is_mpeg(format)).verify(true);
    let decoder = codecs().make_audio_decoder(parameters, &options).map_err(|e| {
        let aac = if parameters.codec == CODEC_ID_AAC { parameters.extra_data.as_deref() } else { None };
        let codec = aac.and_then(aac_kind).map_or_else(|| parameters.codec.to_string(), String::from);
        Error::file(path, format!("holds sound of a codec that cannot be read ({codec}; {KINDS}): {e}"))
    })?;
    // MP4 says in an edit list what comes before the sound; elsewhere the codec's header counts.
    let opus = parameters.codec == CODEC_ID_OPUS && format.format_info().format != FORMAT_ID_ISOMP4;
    Ok((track.id, decoder, if opus { opus::pre_skip(parameters) } else { 0 }))
}
