//! `humdinger spectrogram`: draws the waveform and the spectrogram of a sound file as a PNG or SVG image.

use std::path::PathBuf;

use clap::ValueEnum;

use super::image::{encoded, is_image, is_svg, no_image};
use super::{check_free, plain, say, warn};
use crate::audio::{channels, decode::decode_file, pieces::Pieces};
use crate::melody::{midi_to_hz, note_name};
use crate::picture::canvas::{Align, Canvas, Rgb};
use crate::picture::{Axis, Levels, Scale, colour, moments};
use crate::train::weights::write_whole;
use crate::{Error, Result};

/// How frequencies are spread over the height of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Spread {
    /// Every octave is as high as any other, as in music.
    Log,
    /// Every hertz is as high as any other.
    Linear,
}

/// Draw the waveform and the spectrogram of a sound file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The sound file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The image to write, PNG or, where the name ends in .svg, SVG [default: the sound file's name with .png, in the current folder]
    #[arg(long, value_name = "IMAGE")]
    out: Option<PathBuf>,
    /// Write over an image that is there already
    #[arg(long)]
    force: bool,
    /// Width of the image in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 1200)]
    width: u32,
    /// Height of the image in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 700)]
    height: u32,
    /// Frequency axis
    #[arg(long, value_enum, default_value_t = Spread::Log)]
    scale: Spread,
    /// Highest frequency in Hz [default: half the sample rate, 5000 at most]
    #[arg(long, value_name = "HZ")]
    top: Option<f64>,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let out = match &args.out {
        Some(out) => out.clone(),
        None => PathBuf::from(args.file.file_stem().unwrap_or_default()).with_extension("png"),
    };
    if !is_image(&out) {
        return Err(no_image("--out", &out));
    }
    check_free(&out, args.force)?;
    let title = args.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let scale = if args.scale == Spread::Log { Scale::Log } else { Scale::Linear };
    let picture = Picture { width: args.width, height: args.height, scale, top: args.top };
    let tell = |warnings: &[String]| {
        warnings.iter().for_each(|text| warn(&plain(&format!("warning: {}: {text}", args.file.display()))));
    };
    let (canvas, seconds, rate, stereo) = match Pieces::open(&args.file)? {
        Some(mut file) => {
            let (length, rate, mut stereo) = (file.frames()? as usize, file.sample_rate(), false);
            let mut next = || {
                let piece = file.next(PIECE as u64)?;
                stereo |= piece.as_ref().is_some_and(|channels| channels.len() > 1);
                Ok(piece.map(|channels| channels::to_count(channels, 1).remove(0)))
            };
            let canvas = draw(length, &mut next, rate, &title, &picture)?;
            tell(&file.warnings()?);
            (canvas, length as f64 / f64::from(rate), rate, stereo)
        }
        None => {
            let sound = decode_file(&args.file)?;
            tell(&sound.warnings);
            let (seconds, rate, stereo) = (sound.seconds(), sound.sample_rate, sound.channels.len() > 1);
            let samples = &channels::to_count(sound.channels, 1)[0];
            (draw_samples(samples, rate, &title, &picture)?, seconds, rate, stereo)
        }
    };
    write_whole(&out, &encoded(&canvas, is_svg(&out))?)?;
    say(format!(
        "{}: {:.1} s at {} Hz, {}",
        plain(&out.display().to_string()),
        seconds,
        rate,
        if stereo { "stereo" } else { "mono" }
    ))
}

/// What the picture is to look like.
struct Picture {
    /// Pixels, 300 to 10 000.
    width: u32,
    /// Pixels, 200 to 10 000.
    height: u32,
    /// The frequency axis.
    scale: Scale,
    /// Its upper end in Hz, above 100 and at most half the sample rate; `None` for half the sample rate but 5 000 at most, since a
    /// melody lies below.
    top: Option<f64>,
}

/// The lowest frequency of a logarithmic axis: below the deepest singers.
const BOTTOM: f64 = 55.0;
/// Samples that are taken at once.
const PIECE: usize = 1 << 16;
/// Samples beyond this are no sound.
const LOUDEST: f32 = 1e6;
/// Of axes.
const SMALL: f64 = 13.0;
const LINE: Rgb = [140, 140, 148];
const WAVE: Rgb = [49, 84, 145];
/// Room around the two charts: names of frequencies on the left, of notes and the bar of colours on the right.
const LEFT: f64 = 72.0;
const RIGHT: f64 = 112.0;
const TOP: f64 = 36.0;
const BELOW: f64 = 46.0;

/// [`draw`] of samples in memory.
fn draw_samples(samples: &[f32], rate: u32, title: &str, picture: &Picture) -> Result<Canvas> {
    let mut pieces = samples.chunks(PIECE);
    draw(samples.len(), &mut || Ok(pieces.next().map(<[f32]>::to_vec)), rate, title, picture)
}

/// The next samples of one channel; none at the end.
type Next<'a> = &'a mut dyn FnMut() -> Result<Option<Vec<f32>>>;

/// Draws the waveform of `length` samples, which come piece by piece, above their spectrogram, over one axis of time.
///
/// # Errors
/// [`Error::Usage`] for a picture out of range; [`Error::File`] when there is no sound; those of `next`.
fn draw(length: usize, next: Next<'_>, rate: u32, title: &str, picture: &Picture) -> Result<Canvas> {
    let half = f64::from(rate) / 2.0;
    let top = picture.top.unwrap_or(half.min(5000.0));
    let within = |option: &str, value: f64, low: f64, high: f64| {
        (low..=high)
            .contains(&value)
            .then_some(())
            .ok_or_else(|| Error::usage(option, format!("{value} is not from {low} to {high}")))
    };
    within("--width", f64::from(picture.width), 300.0, 10_000.0)?;
    within("--height", f64::from(picture.height), 200.0, 10_000.0)?;
    within("--top", top, 100.0, half)?;
    if length == 0 {
        return Err(Error::file(title, "there is no sound to draw"));
    }
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    let mut canvas = Canvas::new(picture.width, picture.height);
    canvas.text((LEFT, 24.0), Canvas::shortened(title, 18.0, width - LEFT - 20.0), 18.0, Align::Start);
    let wide = width - LEFT - RIGHT;
    let wave_high = ((height - TOP - BELOW) * 0.26).round();
    let under = TOP + wave_high + 14.0;
    let low = if picture.scale == Scale::Log { BOTTOM } else { 0.0 };
    let area = [LEFT, under, wide, height - under - BELOW];
    let axis = Axis { low, high: top, scale: picture.scale };
    let mut sliding = Sliding::new(length, next, wide.max(1.0) as usize);
    let cells = (wide.max(1.0) as usize, area[3].max(1.0) as usize);
    let levels = Levels::read(length, rate, cells, axis, |start, window| sliding.read(start, window))?;
    let wave = sliding.wave()?;
    waveform(&mut canvas, &wave, [LEFT, TOP, wide, wave_high]);
    spectrogram(&mut canvas, &levels, area, axis);
    let seconds = length as f64 / f64::from(rate);
    time_axis(&mut canvas, seconds, [LEFT, height - BELOW, wide]);
    Ok(canvas)
}

/// A window on samples that come piece by piece, and what of them is seen in a waveform.
struct Sliding<'a> {
    length: usize,
    next: Next<'a>,
    /// Samples from place `begin` on.
    held: Vec<f32>,
    begin: usize,
    /// The lowest and the highest sample of each column.
    wave: Vec<(f32, f32)>,
}

impl<'a> Sliding<'a> {
    fn new(length: usize, next: Next<'a>, columns: usize) -> Self {
        Self { length, next, held: Vec::new(), begin: 0, wave: vec![(f32::MAX, f32::MIN); columns] }
    }

    /// Takes the next piece; false where there is none.
    fn take(&mut self) -> Result<bool> {
        let Some(mut piece) = (self.next)()? else { return Ok(false) };
        // A damaged file's NaN must not blacken the picture around it, nor an infinite sample make an axis without end.
        piece.iter_mut().for_each(|s| *s = if s.is_finite() { s.clamp(-LOUDEST, LOUDEST) } else { 0.0 });
        let (at, columns, length) = (self.begin + self.held.len(), self.wave.len(), self.length);
        let end = at + piece.len();
        // Columns overlap by a sample at most.
        let first = (at * columns / length).saturating_sub(1);
        for (c, (low, high)) in self.wave.iter_mut().enumerate().skip(first) {
            let (from, to) = (c * length / columns, ((c + 1) * length).div_ceil(columns));
            if from >= end {
                break;
            }
            let part = &piece[from.max(at) - at..to.min(end).max(at) - at];
            *low = part.iter().copied().fold(*low, f32::min);
            *high = part.iter().copied().fold(*high, f32::max);
        }
        self.held.extend_from_slice(&piece);
        Ok(true)
    }

    /// The samples from a place on, which is not before the one that was asked for last; silence where there are none.
    fn read(&mut self, start: i64, window: &mut [f32]) -> Result<()> {
        let end = (start + window.len() as i64).clamp(0, self.length as i64) as usize;
        while self.begin + self.held.len() < end && self.take()? {}
        let unneeded = (start.max(0) as usize).saturating_sub(self.begin).min(self.held.len());
        if unneeded > PIECE {
            self.held.drain(..unneeded);
            self.begin += unneeded;
        }
        for (k, to) in window.iter_mut().enumerate() {
            let place = usize::try_from(start + k as i64).ok().and_then(|place| place.checked_sub(self.begin));
            *to = place.and_then(|place| self.held.get(place)).copied().unwrap_or(0.0);
        }
        Ok(())
    }

    /// The waveform, when everything has come.
    fn wave(mut self) -> Result<Vec<(f32, f32)>> {
        loop {
            let held = self.held.len();
            self.held.clear();
            self.begin += held;
            if !self.take()? {
                return Ok(self.wave);
            }
        }
    }
}

/// `wave` is the lowest and the highest sample of each column.
fn waveform(canvas: &mut Canvas, wave: &[(f32, f32)], [x, y, w, h]: [f64; 4]) {
    let there = |&(low, high): &(f32, f32)| low <= high;
    let peak =
        wave.iter().filter(|column| there(column)).fold(1e-4f32, |m, (low, high)| m.max(low.abs()).max(high.abs()));
    // One vertical stroke from the lowest to the highest sample of each pixel's time: nothing is skipped, however long the sound.
    for (c, &(low, high)) in wave.iter().enumerate().filter(|(_, column)| there(column)) {
        let at = |value: f32| y + h / 2.0 * (1.0 - f64::from(value / peak));
        // Where the sound stands still there is a thin line.
        let (above, below) = (at(high), at(low).max(at(high) + 1.0));
        canvas.fill([x + c as f64, above, 1.0, below - above], WAVE);
    }
    frame(canvas, [x, y, w, h]);
    for (value, at) in [(peak, y + 4.5), (0.0, y + h / 2.0 + 4.5), (-peak, y + h + 4.5)] {
        // Minus as it is set in type.
        canvas.text((x - 8.0, at), amplitude(value).replace('-', "\u{2212}"), SMALL, Align::End);
    }
}

/// A sample's value with two digits that count.
fn amplitude(value: f32) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e4).contains(&size) => format!("{value:.0e}"),
        size => format!("{value:.*}", (1 - size.log10().floor() as i32).max(0) as usize),
    }
}

fn frame(canvas: &mut Canvas, [x, y, w, h]: [f64; 4]) {
    for side in [[x - 1.0, y - 1.0, w + 2.0, 1.0], [x - 1.0, y + h, w + 2.0, 1.0]] {
        canvas.fill(side, LINE);
    }
    for side in [[x - 1.0, y, 1.0, h], [x + w, y, 1.0, h]] {
        canvas.fill(side, LINE);
    }
}

fn spectrogram(canvas: &mut Canvas, levels: &Levels, [x, y, w, h]: [f64; 4], axis: Axis) {
    let (columns, rows) = (levels.columns, levels.rows);
    let pixels = levels.values.chunks_exact(columns).rev().flatten().map(|&v| colour(f64::from(v))).collect();
    canvas.picture([x, y, w, h], columns, pixels);
    frame(canvas, [x, y, w, h]);
    let at = |hz: f64| y + h * (1.0 - axis.height(hz));
    let lines = apart(frequencies(axis).into_iter().map(|hz| (at(hz), hz)).collect(), SMALL + 4.0);
    for (place, hz) in lines {
        canvas.fill([x - 5.0, place.round(), 4.0, 1.0], LINE);
        canvas.text((x - 8.0, place + 4.5), format!("{hz:.0}"), SMALL, Align::End);
    }
    canvas.text_upwards((18.0, y + h / 2.0), "Hz", SMALL, Align::Middle);
    let notes = axis.notes().into_iter().filter(|note| note.rem_euclid(12) == 0);
    let notes = notes.map(|note| (at(midi_to_hz(f64::from(note))), note)).collect();
    for (place, note) in apart(notes, SMALL + 4.0) {
        canvas.fill([x + w + 1.0, place.round(), 4.0, 1.0], LINE);
        canvas.text((x + w + 8.0, place + 4.5), note_name(f64::from(note)), SMALL, Align::Start);
    }
    // The colours and the decibels that they stand for, from the loudest cell down.
    let bar = [x + w + 40.0, y, 14.0, h];
    canvas.picture(bar, 1, (0..rows).map(|row| colour(1.0 - row as f64 / rows as f64)).collect());
    frame(canvas, bar);
    let range = Levels::range();
    let tens = (((levels.loudest - range) / 10.0).ceil() as i32..=(levels.loudest / 10.0).floor() as i32).rev();
    let marks = tens.map(|ten| (y + h * (levels.loudest - f64::from(ten) * 10.0) / range, ten * 10)).collect();
    for (place, decibels) in apart(marks, SMALL + 8.0) {
        canvas.fill([bar[0] + 15.0, place.round(), 4.0, 1.0], LINE);
        // Minus as it is set in type, which is as wide as a digit.
        let text = decibels.to_string().replace('-', "\u{2212}");
        canvas.text((bar[0] + 22.0, place.clamp(y + 6.0, y + h) + 4.5), text, SMALL, Align::Start);
    }
    canvas.text((bar[0] - 2.0, y - 5.0 + h + 18.0), "dB", SMALL, Align::Start);
}

/// Frequencies to name along an axis.
fn frequencies(axis: Axis) -> Vec<f64> {
    match axis.scale {
        Scale::Log => {
            let all = (0..6).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)));
            all.filter(|hz| (axis.low..=axis.high).contains(hz)).collect()
        }
        Scale::Linear => {
            let rough = (axis.high - axis.low) / 10.0;
            let power = 10f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 5.0, 10.0].map(|f| f * power).into_iter().find(|s| *s >= rough).unwrap_or(rough);
            (0..=(axis.high / step + 1e-9) as usize).map(|i| i as f64 * step).collect()
        }
    }
}

/// Those of the marks, each with its place, that lie at least so far from the one before.
fn apart<T>(marks: Vec<(f64, T)>, least: f64) -> Vec<(f64, T)> {
    let mut kept: Vec<(f64, T)> = Vec::new();
    for mark in marks {
        if kept.last().is_none_or(|last| (mark.0 - last.0).abs() >= least) {
            kept.push(mark);
        }
    }
    kept
}

fn time_axis(canvas: &mut Canvas, seconds: f64, [x, y, w]: [f64; 3]) {
    // The widest name, and some room beside it.
    let room = Canvas::width_of("0:00:00", SMALL) + 24.0;
    for (time, name) in moments(seconds, (w / room).max(1.0) as usize) {
        let at = x + time / seconds * w;
        canvas.fill([at.round(), y + 1.0, 1.0, 5.0], LINE);
        canvas.text((at, y + 20.0), name, SMALL, Align::Middle);
    }
    let unit = if seconds < 60.0 {
        "seconds"
    } else if seconds < 3600.0 {
        "minutes:seconds"
    } else {
        "hours:minutes:seconds"
    };
    canvas.text((x + w, y + 38.0), unit, SMALL, Align::End);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, rate: u32) -> Vec<f32> {
        (0..rate * 2)
            .map(|i| (0.5 * (std::f64::consts::TAU * hz * f64::from(i) / f64::from(rate)).sin()) as f32)
            .collect()
    }

    const USUAL: Picture = Picture { width: 1200, height: 700, scale: Scale::Log, top: None };

    #[test]
    fn both_scales_name_frequencies_notes_times_and_decibels() {
        for (scale, named) in [(Scale::Log, ">200<"), (Scale::Linear, ">500<")] {
            let picture = Picture { width: 640, height: 400, scale, ..USUAL };
            let svg = draw_samples(&tone(440.0, 8000), 8000, "tone.wav", &picture).unwrap().svg().unwrap();
            for text in [named, ">C5<", ">1.0<", "\u{2212}20<", ">tone.wav<", ">seconds<"] {
                assert!(svg.contains(text), "{text} is missing for {scale:?}");
            }
        }
        let long = draw_samples(&vec![0.1; 8000 * 150], 8000, "x", &USUAL).unwrap().svg().unwrap();
        assert!(long.contains(">1:30<") && long.contains(">minutes:seconds<") && !long.contains(">90<"));
    }

    /// Labels of one axis neither repeat nor touch, at any size.
    #[test]
    fn labels_do_not_collide() {
        for (width, height) in [(300, 200), (640, 300), (1200, 700), (1800, 900)] {
            for (scale, top, seconds) in
                [(Scale::Log, 100.0, 0.01), (Scale::Linear, 4000.0, 3.0), (Scale::Log, 4000.0, 200.0)]
            {
                let picture = Picture { width, height, scale, top: Some(top) };
                let samples = vec![0.1; (8000.0 * seconds) as usize];
                let svg = draw_samples(&samples, 8000, "x", &picture).unwrap().svg().unwrap();
                let mut seen: Vec<(f64, f64, f64, &str)> = Vec::new();
                for line in svg.lines().filter(|line| line.starts_with("<text")) {
                    let value =
                        |name: &str| line.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap();
                    let text = line.split('>').nth(1).unwrap().split('<').next().unwrap();
                    let (x, y, wide) = (
                        value("x").parse::<f64>().unwrap(),
                        value("y").parse::<f64>().unwrap(),
                        Canvas::width_of(text, 13.0),
                    );
                    let from = match value("text-anchor") {
                        "start" => x,
                        "middle" => x - wide / 2.0,
                        _ => x - wide,
                    };
                    if line.contains("rotate") {
                        continue;
                    }
                    for (a, b, at, other) in &seen {
                        let apart = from > *b || from + wide < *a || (y - at).abs() >= 11.0;
                        assert!(apart, "`{text}` lies on `{other}` at {width} x {height}, {scale:?}");
                    }
                    assert!(
                        from >= 0.0 && from + wide <= f64::from(width) + 1.0 && y < f64::from(height),
                        "`{text}` is cut off"
                    );
                    seen.push((from, from + wide, y, text));
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let sound = tone(440.0, 8000);
        let refused = |picture: Picture, option: &str| match draw_samples(&sound, 8000, "x", &picture) {
            Err(Error::Usage { option: named, .. }) => assert_eq!(named, option),
            other => panic!("{option}: {other:?}"),
        };
        refused(Picture { width: 10, ..USUAL }, "--width");
        refused(Picture { height: 10, ..USUAL }, "--height");
        refused(Picture { top: Some(4001.0), ..USUAL }, "--top");
        refused(Picture { top: Some(f64::NAN), ..USUAL }, "--top");
        let empty = draw_samples(&[], 8000, "empty.wav", &USUAL).unwrap_err().to_string();
        assert!(empty.contains("empty.wav") && empty.contains("no sound"), "{empty}");
        // Not finite, and shorter than a window: drawn all the same.
        let odd = draw_samples(&[f32::NAN, 0.1, f32::INFINITY, f32::MAX], 8000, "odd.wav", &USUAL).unwrap();
        assert!(odd.png().unwrap().starts_with(b"\x89PNG"));
        let long = "a very long name ".repeat(30);
        let svg = draw_samples(&sound, 8000, &long, &USUAL).unwrap().svg().unwrap();
        assert!(svg.contains('\u{2026}') && !svg.contains(&long));
    }
}
