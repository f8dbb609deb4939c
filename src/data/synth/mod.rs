//! The built-in data set: public-domain tunes, hummed, sung and whistled by any number of synthetic singers.
//!
//! [`write()`] makes a folder of WAV files named the MLEnd way, `S<person>_<hum|whistle>_<take>_<Tune>.wav`; [`clip`] makes one recording in
//! memory. A clip depends on the seed, the person, the tune, the style and the take alone: not on how many others are made, on how many
//! threads, or on which machine (only `+ - * /`, `sqrt` and own polynomials are used; see [`dsp`]). The way of a sound is
//! [`tunes`](mod@tunes) -> [`singer`] -> [`voice`] or [`whistle`](mod@whistle) -> [`room`] -> file.

pub mod compose;
pub mod dsp;
mod kept;
pub mod room;
pub mod singer;
#[cfg(test)]
mod tests;
pub mod tunes;
pub mod voice;
pub mod whistle;

use std::path::Path;

use rayon::prelude::*;

use super::dataset::progress_bar;
use crate::audio::wav;
use crate::{Error, Result};
use dsp::Dice;
pub use kept::{keep, keep_tunes};
pub use singer::{Singer, Style};
pub use tunes::{Tune, tunes};

/// Which styles a data set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Styles {
    /// Every third clip is whistled, in turn over people, tunes and takes; the others are hummed or sung.
    Both,
    /// One style only.
    Only(Style),
}

/// How many channels a data set's files have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// One.
    Mono,
    /// Two.
    Stereo,
    /// As each singer's recorder does: about two in five record in stereo.
    Mixed,
}

/// What data set to make. Out of range means [`Error::Usage`], with the option's name on the command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything random is drawn from this.
    pub seed: u64,
    /// Number of people, 1 to 100 000.
    pub singers: usize,
    /// The first person's number; a second data set that begins where the first ends has other people in it.
    pub first_person: usize,
    /// Names of tunes, whatever their capitals; none for the default twelve.
    pub tunes: Vec<String>,
    /// Recordings of each tune by each person, 1 to 100.
    pub takes: usize,
    /// Hums, whistles or both.
    pub styles: Styles,
    /// Length of a recording in seconds, 1 to 60.
    pub seconds: f64,
    /// Samples a second, 4 000 to 48 000. The default, 8 000, is what the recipe `melody` listens at, so that nothing is made only to be
    /// thrown away again.
    pub rate: u32,
    /// Mono or stereo.
    pub channels: Channels,
    /// Probability that a recording begins at a later phrase than the tune's first, 0 to 1.
    pub anywhere: f64,
}

impl Default for Options {
    /// 100 people sing 12 tunes once, one in three whistled: 1 200 recordings of 8 s at 8 kHz.
    fn default() -> Self {
        Self {
            seed: 1,
            singers: 100,
            first_person: 1,
            tunes: Vec::new(),
            takes: 1,
            styles: Styles::Both,
            seconds: 8.0,
            rate: 8_000,
            channels: Channels::Mixed,
            anywhere: 0.1,
        }
    }
}

impl Options {
    /// The tunes by name, or the default ones.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that no tune has, or that comes twice.
    pub fn chosen_tunes(&self) -> Result<Vec<&'static Tune>> {
        if self.tunes.is_empty() {
            return Ok(tunes().iter().take(tunes::DEFAULT_TUNES).collect());
        }
        let mut chosen: Vec<&'static Tune> = Vec::new();
        for name in &self.tunes {
            let tune = tunes::find(name).ok_or_else(|| {
                let known: Vec<_> = tunes().iter().map(|t| &*t.name).collect();
                Error::usage("tunes", format!("no tune is called `{name}`; there are {}", known.join(", ")))
            })?;
            if chosen.iter().any(|t| t.name == tune.name) {
                return Err(Error::usage("tunes", format!("{} is named twice", tune.name)));
            }
            chosen.push(tune);
        }
        Ok(chosen)
    }

    fn check(&self) -> Result<()> {
        let whole = |option: &str, value: usize, low: usize, high: usize| {
            (low..=high)
                .contains(&value)
                .then_some(())
                .ok_or_else(|| Error::usage(option, format!("{value} is not from {low} to {high}")))
        };
        let real = |option: &str, value: f64, low: f64, high: f64| {
            (low..=high)
                .contains(&value)
                .then_some(())
                .ok_or_else(|| Error::usage(option, format!("{value} is not from {low} to {high}")))
        };
        whole("singers", self.singers, 1, 100_000)?;
        whole("takes", self.takes, 1, 100)?;
        whole("rate", self.rate as usize, 4_000, 48_000)?;
        whole("first_person", self.first_person, 0, 1_000_000)?;
        real("seconds", self.seconds, 1.0, 60.0)?;
        real("anywhere", self.anywhere, 0.0, 1.0)
    }
}

/// One recording of a data set, not yet made.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// What is sung.
    pub tune: &'a Tune,
    /// By whom: the argument of [`Singer::new`].
    pub person: usize,
    /// How.
    pub style: Style,
    /// Which recording of this tune in this style by this person, from 1.
    pub take: usize,
}

impl Plan<'_> {
    /// The file name, `S<person>_<style>_<take>_<Tune>.wav`.
    pub fn file_name(&self) -> String {
        format!("S{}_{}_{}_{}.wav", self.person, self.style.name(), self.take, self.tune.name)
    }
}

/// What [`write()`] made.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Number of files.
    pub clips: usize,
    /// How many of them are whistled.
    pub whistles: usize,
    /// Number of people.
    pub singers: usize,
    /// The names of the tunes.
    pub tunes: Vec<String>,
    /// Seconds of sound in all.
    pub seconds: f64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// The recordings of a data set, in the order of person, tune and take.
///
/// # Errors
/// [`Error::Usage`] for options out of range.
pub fn plan(options: &Options) -> Result<Vec<Plan<'static>>> {
    plan_of(&options.chosen_tunes()?, options)
}

/// The same of tunes of one's own.
fn plan_of<'a>(chosen: &[&'a Tune], options: &Options) -> Result<Vec<Plan<'a>>> {
    options.check()?;
    let mut plans = Vec::new();
    for person in options.first_person..options.first_person + options.singers {
        for (i, &tune) in chosen.iter().enumerate() {
            // The place in the whole list: which clips are whistled must not depend on which of the built-in tunes were asked for.
            let place = tunes().iter().position(|t| t.name == tune.name).unwrap_or(i);
            let (mut hums, mut whistles) = (0, 0);
            for k in 0..options.takes {
                let style = match options.styles {
                    Styles::Only(style) => style,
                    Styles::Both if (person + place + k) % 3 == 0 => Style::Whistle,
                    Styles::Both => Style::Hum,
                };
                let count = if style == Style::Hum { &mut hums } else { &mut whistles };
                *count += 1;
                plans.push(Plan { tune, person, style, take: *count });
            }
        }
    }
    Ok(plans)
}

/// Makes one recording: one vector of samples in [-1, 1] per channel, each `seconds * rate` long (rounded).
///
/// # Errors
/// [`Error::Usage`] for options out of range.
pub fn clip(tune: &Tune, singer: &Singer, style: Style, take: usize, options: &Options) -> Result<Vec<Vec<f32>>> {
    options.check()?;
    Ok(render(tune, singer, style, take, options))
}

/// Makes every recording of `plans` on all cores, in order, as [`clip`] does.
///
/// # Errors
/// [`Error::Usage`] for options out of range.
pub fn clips(plans: &[Plan<'_>], options: &Options) -> Result<Vec<Vec<Vec<f32>>>> {
    clips_by(plans, options, |person| Singer::new(options.seed, person))
}

/// The same by other singers: `singer` says who a person is.
///
/// # Errors
/// [`Error::Usage`] for options out of range.
pub fn clips_by(
    plans: &[Plan<'_>],
    options: &Options,
    singer: impl Fn(usize) -> Singer + Sync,
) -> Result<Vec<Vec<Vec<f32>>>> {
    options.check()?;
    Ok(plans.par_iter().map(|p| render(p.tune, &singer(p.person), p.style, p.take, options)).collect())
}

/// The FNV-1a hash of nothing, with which others begin.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// The FNV-1a hash of what `hash` is the hash of, and these bytes after it.
fn fnv1a(hash: u64, bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A number that differs for data sets that sound different, be it for other options or because this module makes sound in
/// another way: folders of recordings that are kept can be told by it. The same on every machine; as long in the making as two
/// recordings of each tune.
///
/// # Errors
/// [`Error::Usage`] for options out of range.
pub fn fingerprint(options: &Options) -> Result<u64> {
    fingerprint_of(&options.chosen_tunes()?, options)
}

/// The same for a data set of these tunes instead of those that `options` name.
///
/// # Errors
/// As [`fingerprint`].
pub fn fingerprint_of(chosen: &[&Tune], options: &Options) -> Result<u64> {
    let names =
        plan_of(chosen, options)?.iter().fold(FNV_START, |hash, plan| fnv1a(hash, plan.file_name().into_bytes()));
    let of_options = fnv1a(names, format!("{options:?}").into_bytes());
    Ok(fnv1a(of_options, fingerprint_of_sound(chosen, options).to_le_bytes()))
}

/// What the code does to the sound is heard, not listed: a constant is easily forgotten. Each tune in both styles, by a person
/// of its own each time, meets every kind of voice, whistle, room and recorder; notes that come too late to be heard are
/// taken from the page.
fn fingerprint_of_sound(tunes: &[&Tune], options: &Options) -> u64 {
    let of_tune = |(i, &tune): (usize, &&Tune)| {
        let of_notes = fnv1a(FNV_START, format!("{tune:?}").into_bytes());
        [Style::Hum, Style::Whistle].into_iter().enumerate().fold(of_notes, |hash, (j, style)| {
            let singer = Singer::new(options.seed, options.first_person + 2 * i + j);
            let channels = render(tune, &singer, style, 1, options);
            let samples = channels.iter().flatten().flat_map(|&x| wav::to_i16(x).to_le_bytes());
            fnv1a(fnv1a(hash, [channels.len() as u8]), samples)
        })
    };
    let of_tunes: Vec<u64> = tunes.par_iter().enumerate().map(of_tune).collect();
    fnv1a(FNV_START, of_tunes.into_iter().flat_map(u64::to_le_bytes))
}

fn render(tune: &Tune, singer: &Singer, style: Style, take: usize, options: &Options) -> Vec<Vec<f32>> {
    // The tune's part of the key is its name, so that the list of tunes can grow without changing any clip.
    let name = fnv1a(FNV_START, tune.name.bytes());
    let domain = if style == Style::Hum { 2 } else { 3 };
    let mut dice = Dice::new(domain, [options.seed, singer.person as u64 | (take as u64) << 32, name]);
    let rate = f64::from(options.rate);
    let samples = (options.seconds * rate).round() as usize;
    // 200 control steps a second: faster than any glide or consonant.
    let block = (rate / 200.0).round() as usize;
    let performance =
        singer::perform(tune, singer, style, options.anywhere, options.seconds, block as f64 / rate, &mut dice);
    let mut dry = match style {
        Style::Hum => voice::sing(&performance, singer, rate, block, samples, &mut dice),
        Style::Whistle => whistle::whistle(&performance, singer, rate, block, samples, &mut dice),
    };
    if singer.gasps > 0.0 {
        gasp(&mut dry, &performance, singer.gasps, rate, &mut dice);
    }
    let stereo = match options.channels {
        Channels::Mono => false,
        Channels::Stereo => true,
        Channels::Mixed => singer.stereo,
    };
    let mut recording = room::record(dry, rate, stereo, &mut dice);
    if singer.phone {
        recording.iter_mut().for_each(|channel| room::phone(channel, rate, &mut dice));
    }
    recording.into_iter().map(|channel| channel.into_iter().map(|x| x as f32).collect()).collect()
}

/// Adds the breath that is drawn before notes that begin anew.
fn gasp(dry: &mut [f64], performance: &singer::Performance, level: f64, rate: f64, d: &mut Dice) {
    for note in performance.notes.iter().filter(|note| note.fresh) {
        let length = d.range(0.1, 0.4);
        let first = ((note.start - length - 0.03).max(0.0) * rate) as usize;
        let mut throat = dsp::Biquad::band_pass(d.range(700.0, 2200.0), d.range(0.5, 1.5), rate);
        let count = (length * rate) as usize;
        for (i, x) in dry.iter_mut().skip(first).take(count).enumerate() {
            // Swells towards its end.
            let part = i as f64 / count as f64;
            *x += level * throat.step(d.noise()) * part * (1.0 - part * part) * 2.6;
        }
    }
}

/// Writes a data set to the folder `out`: 16-bit WAV files. The folder appears only when all of it is written. With `progress`, and
/// where standard error is a terminal, a bar counts the recordings.
///
/// # Errors
/// [`Error::Usage`] for options out of range; [`Error::File`] when `out` exists and is not an empty folder, or cannot be written.
pub fn write(out: &Path, options: &Options, progress: bool) -> Result<Summary> {
    write_tunes(out, &options.chosen_tunes()?, options, progress)
}

/// The same with these tunes instead of those that `options` name. Their names tell their files apart: letters, digits and `-`, as
/// [`Tune::of_songs`] makes them.
///
/// # Errors
/// As [`write()`].
pub fn write_tunes(out: &Path, chosen: &[&Tune], options: &Options, progress: bool) -> Result<Summary> {
    let plans = plan_of(chosen, options)?;
    if out.exists() {
        let mut entries =
            std::fs::read_dir(out).map_err(|e| Error::file(out, format!("is no folder to write to: {e}")))?;
        if entries.next().is_some() {
            return Err(Error::file(out, "the folder is not empty; name another one, or remove it first"));
        }
    }
    let parent = match out.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(|e| Error::file(parent, format!("cannot be made: {e}")))?;
    // A folder inside the temporary one, since that is private to the user and the data set need not be.
    let guard = tempfile::Builder::new()
        .prefix(".humdinger-synth-")
        .tempdir_in(parent)
        .map_err(|e| Error::file(parent, format!("cannot be written to: {e}")))?;
    let folder = guard.path().join("data");
    std::fs::create_dir(&folder).map_err(|e| Error::file(&folder, e))?;
    let bar = progress_bar(plans.len(), "making recordings", progress);
    let written: Result<Vec<u64>> = plans
        .par_iter()
        .map(|p| {
            let recording = render(p.tune, &Singer::new(options.seed, p.person), p.style, p.take, options);
            let bytes = write_wav(&folder.join(p.file_name()), &recording, options.rate);
            bar.inc(1);
            bytes
        })
        .collect();
    // Before an error is said, too.
    bar.finish_and_clear();
    let bytes = written?.iter().sum();
    if out.exists() {
        // Empty, as was seen above; if somebody has put a file there since, this fails and nothing is lost.
        std::fs::remove_dir(out).map_err(|e| Error::file(out, format!("cannot be replaced: {e}")))?;
    }
    std::fs::rename(&folder, out).map_err(|e| Error::file(out, format!("cannot be written: {e}")))?;
    Ok(Summary {
        clips: plans.len(),
        whistles: plans.iter().filter(|p| p.style == Style::Whistle).count(),
        singers: options.singers,
        tunes: chosen.iter().map(|t| t.name.to_string()).collect(),
        seconds: plans.len() as f64 * options.seconds,
        bytes,
    })
}

fn write_wav(path: &Path, channels: &[Vec<f32>], rate: u32) -> Result<u64> {
    let bytes = wav::encode(channels, rate)?;
    std::fs::write(path, &bytes).map_err(|e| Error::file(path, format!("cannot be written: {e}")))?;
    Ok(bytes.len() as u64)
}
