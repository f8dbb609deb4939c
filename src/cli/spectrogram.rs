//! `humdinger spectrogram`: draws the waveform and the spectrogram of a sound file as a PNG image.

use std::path::{Path, PathBuf};
use std::sync::Once;

use clap::ValueEnum;
use plotters::coord::Shift;
use plotters::prelude::*;
use rustfft::{FftPlannerScalar, num_complex::Complex};

use super::{say, warn};
use crate::audio::{channels, decode::decode_file, window::hann_periodic};
use crate::{Error, Result};

/// How frequencies are spread over the height of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scale {
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
    /// The image to write [default: the sound file's name with .png, in the current folder]
    #[arg(long, value_name = "PNG")]
    out: Option<PathBuf>,
    /// Width of the image in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = Picture::default().width)]
    width: u32,
    /// Height of the image in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = Picture::default().height)]
    height: u32,
    /// Frequency axis
    #[arg(long, value_enum, default_value_t = Scale::Log)]
    scale: Scale,
    /// Highest frequency in Hz [default: half the sample rate, 5000 at most]
    #[arg(long, value_name = "HZ")]
    top: Option<f64>,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let sound = decode_file(&args.file)?;
    for warning in &sound.warnings {
        warn(&format!("warning: {}: {warning}", args.file.display()));
    }
    let (seconds, stereo) = (sound.seconds(), sound.channels.len() > 1);
    let samples = &channels::to_count(sound.channels, 1)[0];
    let out = match args.out {
        Some(out) => out,
        None => PathBuf::from(args.file.file_stem().unwrap_or_default()).with_extension("png"),
    };
    let title = args.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let picture = Picture { width: args.width, height: args.height, scale: args.scale, top: args.top };
    draw(samples, sound.sample_rate, &title, &out, &picture)?;
    say(format!(
        "{}: {:.1} s at {} Hz, {}",
        out.display(),
        seconds,
        sound.sample_rate,
        if stereo { "stereo" } else { "mono" }
    ))
}

/// What the picture is to look like.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Pixels, 300 to 10 000.
    pub width: u32,
    /// Pixels, 200 to 10 000.
    pub height: u32,
    /// The frequency axis.
    pub scale: Scale,
    /// Its upper end in Hz, above 100 and at most half the sample rate; `None` for half the sample rate but 5 000 at most, since a
    /// melody lies below.
    pub top: Option<f64>,
}

impl Default for Picture {
    fn default() -> Self {
        Self { width: 1200, height: 700, scale: Scale::Log, top: None }
    }
}

/// The lowest frequency of a logarithmic axis: below the deepest singers.
const BOTTOM: f64 = 55.0;

/// What is this far below the loudest cell, in decibels, is black.
const RANGE: f64 = 80.0;

/// Samples beyond this are no sound.
const LOUDEST: f32 = 1e6;

/// Draws the waveform of `samples` above their spectrogram, over one axis of seconds; writes the PNG to `out` through a temporary file.
///
/// # Errors
/// [`Error::Usage`] for a picture out of range; [`Error::File`] when there is no sound, or the file cannot be written.
pub fn draw(samples: &[f32], rate: u32, title: &str, out: &Path, picture: &Picture) -> Result<()> {
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
    if samples.is_empty() {
        return Err(Error::file(title, "there is no sound to draw"));
    }
    // A damaged file's NaN must not blacken the picture around it, nor an infinite sample make an axis without end.
    let samples: Vec<f32> =
        samples.iter().map(|&s| if s.is_finite() { s.clamp(-LOUDEST, LOUDEST) } else { 0.0 }).collect();
    register_font();
    let folder = match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let file = tempfile::Builder::new()
        .suffix(".png")
        .tempfile_in(folder)
        .map_err(|e| Error::file(folder, format!("cannot be written to: {e}")))?;
    let canvas = BitMapBackend::new(file.path(), (picture.width, picture.height)).into_drawing_area();
    let failed = |e: &dyn std::fmt::Display| Error::file(out, format!("cannot be drawn: {e}"));
    paint(&canvas, &samples, rate, title, picture.scale, top).map_err(|e| failed(&e))?;
    canvas.present().map_err(|e| failed(&e))?;
    drop(canvas);
    file.persist(out).map_err(|e| failed(&e.error))?;
    Ok(())
}

type Canvas<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
type Drawn = std::result::Result<(), DrawingAreaErrorKind<<BitMapBackend<'static> as DrawingBackend>::ErrorType>>;

fn paint(canvas: &Canvas, samples: &[f32], rate: u32, title: &str, scale: Scale, top: f64) -> Drawn {
    canvas.fill(&WHITE)?;
    let seconds = samples.len() as f64 / f64::from(rate);
    let (wave, spectrum) = canvas.split_vertically(canvas.dim_in_pixel().1 * 3 / 10);
    let peak = samples.iter().fold(1e-4f32, |m, x| m.max(x.abs()));
    let mut chart = ChartBuilder::on(&wave)
        .caption(title, ("sans-serif", 20))
        .margin_left(14)
        .margin_right(20)
        .margin_top(8)
        .y_label_area_size(70)
        .x_label_area_size(4)
        .build_cartesian_2d(0.0..seconds, -peak..peak)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_labels(3)
        .y_desc("Amplitude")
        .label_style(("sans-serif", 14))
        .draw()?;
    // One vertical stroke from the lowest to the highest sample of each pixel's time: nothing is skipped, however long the sound.
    let columns = chart.plotting_area().dim_in_pixel().0.max(1) as usize;
    let strokes = (0..columns).filter_map(|c| {
        let (from, to) = (c * samples.len() / columns, ((c + 1) * samples.len()).div_ceil(columns));
        let part = samples.get(from..to.min(samples.len())).filter(|p| !p.is_empty())?;
        let low = part.iter().copied().fold(f32::MAX, f32::min);
        let high = part.iter().copied().fold(f32::MIN, f32::max);
        let time = (c as f64 + 0.5) / columns as f64 * seconds;
        Some(PathElement::new(vec![(time, low), (time, high)], RGBColor(49, 84, 145)))
    });
    chart.draw_series(strokes)?;

    let mut builder = ChartBuilder::on(&spectrum);
    builder.margin_left(14).margin_right(20).margin_bottom(8).y_label_area_size(70).x_label_area_size(45);
    let style = ("sans-serif", 14);
    let hertz = |f: &f64| format!("{f:.0}");
    match scale {
        Scale::Linear => {
            let mut chart = builder.build_cartesian_2d(0.0..seconds, 0.0..top)?;
            let mut mesh = chart.configure_mesh();
            mesh.disable_mesh()
                .x_desc("Time (s)")
                .y_desc("Frequency (Hz)")
                .label_style(style)
                .y_label_formatter(&hertz);
            mesh.draw()?;
            heat(&chart.plotting_area().strip_coord_spec(), samples, rate, |part| part * top)
        }
        Scale::Log => {
            let mut chart = builder.build_cartesian_2d(0.0..seconds, (BOTTOM..top).log_scale())?;
            let mut mesh = chart.configure_mesh();
            mesh.disable_mesh()
                .x_desc("Time (s)")
                .y_desc("Frequency (Hz)")
                .label_style(style)
                .y_label_formatter(&hertz);
            mesh.draw()?;
            heat(&chart.plotting_area().strip_coord_spec(), samples, rate, |part| BOTTOM * (top / BOTTOM).powf(part))
        }
    }
}

/// Fills an area with the spectrogram: each column of pixels is one transform around its time, each row the frequency that `frequency`
/// gives for its height from 0 to 1.
fn heat(area: &Canvas, samples: &[f32], rate: u32, frequency: impl Fn(f64) -> f64) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    // About an eighth of a second: as long as a short note, and fine enough to tell a low voice's semitones apart.
    let window = hann_periodic((f64::from(rate) * 0.128) as usize + 1);
    let size = (2 * window.len()).next_power_of_two();
    let transform = FftPlannerScalar::<f64>::new().plan_fft_forward(size);
    let mut buffer = vec![Complex::default(); size];
    let mut cells = Vec::with_capacity((width * height) as usize);
    for column in 0..width {
        let centre = (f64::from(column) + 0.5) / f64::from(width) * samples.len() as f64;
        let start = centre as i64 - window.len() as i64 / 2;
        buffer.fill(Complex::default());
        for (k, (b, w)) in buffer.iter_mut().zip(&window).enumerate() {
            let sample = usize::try_from(start + k as i64).ok().and_then(|i| samples.get(i));
            let value = sample.copied().unwrap_or(0.0);
            b.re = w * f64::from(value);
        }
        transform.process(&mut buffer);
        for row in 0..height {
            let f = frequency(1.0 - (f64::from(row) + 0.5) / f64::from(height));
            let bin = (f / f64::from(rate) * size as f64).clamp(0.0, (size / 2 - 1) as f64);
            let (below, part) = (bin as usize, bin.fract());
            let power = buffer[below].norm_sqr() * (1.0 - part) + buffer[below + 1].norm_sqr() * part;
            cells.push(10.0 * power.max(1e-12).log10());
        }
    }
    let loudest = cells.iter().copied().fold(f64::MIN, f64::max);
    for (i, level) in cells.iter().enumerate() {
        let at = (i as u32 / height, i as u32 % height);
        area.draw_pixel((at.0 as i32, at.1 as i32), &colour(1.0 + (level - loudest) / RANGE))?;
    }
    Ok(())
}

/// Black through purple and orange to pale yellow for 0 to 1: brightness rises evenly, so that the picture reads in grey as well.
fn colour(value: f64) -> RGBColor {
    const STOPS: [[f64; 3]; 6] = [
        [0.0, 0.0, 8.0],
        [52.0, 16.0, 104.0],
        [130.0, 36.0, 128.0],
        [214.0, 66.0, 98.0],
        [252.0, 146.0, 88.0],
        [252.0, 248.0, 196.0],
    ];
    let at = value.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let (low, part) = ((at as usize).min(STOPS.len() - 2), at - (at as usize).min(STOPS.len() - 2) as f64);
    let mix = |c: usize| (STOPS[low][c] + (STOPS[low + 1][c] - STOPS[low][c]) * part).round() as u8;
    RGBColor(mix(0), mix(1), mix(2))
}

/// Makes text possible: the drawing library carries no font, and the machine may have none.
fn register_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // The font is part of the program and a test draws with it; without it there would be a picture without words.
        let _ = plotters::style::register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, rate: u32) -> Vec<f32> {
        (0..rate * 2)
            .map(|i| (0.5 * (std::f64::consts::TAU * hz * f64::from(i) / f64::from(rate)).sin()) as f32)
            .collect()
    }

    /// Width and height from the file's header.
    fn size(png: &[u8]) -> (u32, u32) {
        assert_eq!(&png[1..4], b"PNG");
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        (number(16), number(20))
    }

    #[test]
    fn a_picture_is_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("tone.png");
        for scale in [Scale::Log, Scale::Linear] {
            let picture = Picture { width: 640, height: 400, scale, top: None };
            draw(&tone(440.0, 8000), 8000, "tone.wav", &out, &picture).unwrap();
            assert_eq!(size(&std::fs::read(&out).unwrap()), (640, 400));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left behind");
    }

    #[test]
    fn a_tone_is_bright_at_its_frequency() {
        let (width, height) = (64u32, 400u32);
        let mut pixels = vec![0u8; (width * height * 3) as usize];
        {
            let canvas = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
            heat(&canvas, &tone(1000.0, 8000), 8000, |part| part * 4000.0).unwrap();
            canvas.present().unwrap();
        }
        let brightness = |row: u32| {
            let at = ((row * width + width / 2) * 3) as usize;
            pixels[at..at + 3].iter().map(|&c| u32::from(c)).sum::<u32>()
        };
        let best = (0..height).max_by_key(|&row| brightness(row)).unwrap();
        assert!(best.abs_diff(height * 3 / 4) <= 2, "brightest in row {best} of {height}");
        assert!(brightness(height / 4) < 150, "3 kHz is not dark");
    }

    #[test]
    fn text_is_drawn() {
        register_font();
        let mut pixels = vec![255u8; 200 * 50 * 3];
        {
            let canvas = BitMapBackend::with_buffer(&mut pixels, (200, 50)).into_drawing_area();
            canvas.draw_text("Frequency", &("sans-serif", 20).into_text_style(&canvas), (5, 5)).unwrap();
        }
        assert!(pixels.iter().filter(|&&p| p < 100).count() > 100, "no ink");
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("x.png");
        let sound = tone(440.0, 8000);
        let refused = |picture: Picture, option: &str| match draw(&sound, 8000, "x", &out, &picture) {
            Err(Error::Usage { option: named, .. }) => assert_eq!(named, option),
            other => panic!("{option}: {other:?}"),
        };
        refused(Picture { width: 10, ..Picture::default() }, "--width");
        refused(Picture { height: 10, ..Picture::default() }, "--height");
        refused(Picture { top: Some(4001.0), ..Picture::default() }, "--top");
        refused(Picture { top: Some(f64::NAN), ..Picture::default() }, "--top");
        let empty = draw(&[], 8000, "empty.wav", &out, &Picture::default()).unwrap_err().to_string();
        assert!(empty.contains("empty.wav") && empty.contains("no sound"), "{empty}");
        let lost = draw(&sound, 8000, "x", &folder.path().join("no/such/x.png"), &Picture::default()).unwrap_err();
        assert!(lost.to_string().contains("no/such"), "{lost}");
        assert!(!out.exists());
        // Not finite, and shorter than a window: drawn all the same.
        draw(&[f32::NAN, 0.5, f32::INFINITY, f32::MAX], 8000, "x", &out, &Picture::default()).unwrap();
    }
}
