//! Pictures of sound: how loud it is over time and frequency.

pub mod canvas;
pub mod markup;

use crate::audio::window::hann_periodic;
use crate::melody::{hz_to_midi, midi_to_hz};
use rustfft::{FftPlannerScalar, num_complex::Complex};

/// What is this far below the loudest cell, in decibels, is black.
const RANGE: f64 = 80.0;
/// A sound whose loudest cell is below this many decibels (a sine wave of full scale has 0) is drawn as dark as it is, not stretched to
/// the whole range of colours: silence is black.
const FAINT: f64 = -60.0;
/// The least level, which stands for nothing at all.
const NOTHING: f64 = -200.0;

/// How frequencies are spread over the height of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Every octave is as high as any other, as in music.
    Log,
    /// Every hertz is as high as any other.
    Linear,
}

/// A range of frequencies and how it is spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// Its lower end in Hz; above 0 where it is logarithmic.
    pub low: f64,
    /// Its upper end in Hz.
    pub high: f64,
    /// How it is spread.
    pub scale: Scale,
}

impl Axis {
    /// The frequency at a height from 0 to 1.
    pub fn frequency(&self, height: f64) -> f64 {
        match self.scale {
            Scale::Linear => self.low + (self.high - self.low) * height,
            Scale::Log => self.low * (self.high / self.low).powf(height),
        }
    }

    /// The height, 0 to 1 within the axis, of a frequency in Hz.
    pub fn height(&self, hz: f64) -> f64 {
        match self.scale {
            Scale::Linear => (hz - self.low) / (self.high - self.low),
            Scale::Log => (hz / self.low).log2() / (self.high / self.low).log2(),
        }
    }

    /// Notes to name along the axis, as MIDI numbers from below upwards: every C, and every G where there is room for it.
    pub fn notes(&self) -> Vec<i32> {
        let (low, high) = (hz_to_midi(self.low.max(1.0)), hz_to_midi(self.high.max(1.0)));
        let with_fifths = high - low <= 32.0;
        let named = |note: &i32| note.rem_euclid(12) == 0 || with_fifths && note.rem_euclid(12) == 7;
        (low.ceil() as i32..=high.floor() as i32).filter(named).collect()
    }

    /// A logarithmic axis around notes from `low` to `high` (MIDI numbers): some air below, overtones above.
    pub fn around(low: f64, high: f64) -> Self {
        Self { low: midi_to_hz(low.round() - 4.0), high: midi_to_hz(high.round() + 16.0), scale: Scale::Log }
    }
}

/// How loud a sound is, over time and frequency.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    /// Cells from the lowest to the highest frequency.
    pub rows: usize,
    /// Cells from the beginning to the end.
    pub columns: usize,
    /// Brightness from 0 (black) to 1 of each cell, `[rows, columns]`, the lowest frequency first.
    pub values: Vec<f32>,
    /// The level in decibels that 1 stands for, where a sine wave of full scale has 0; 0 stands for [`Levels::range`] less.
    pub loudest: f64,
}

impl Levels {
    /// Decibels between black and the brightest colour.
    pub fn range() -> f64 {
        RANGE
    }

    /// The levels of `samples` at `rate` Hz: each column is one transform around its time, each row the frequency that the axis has at its
    /// height. What is not finite counts as silence.
    pub fn new(samples: &[f32], rate: u32, cells: (usize, usize), axis: Axis) -> Self {
        let read = |start: i64, window: &mut [f32]| {
            for (k, to) in window.iter_mut().enumerate() {
                *to = usize::try_from(start + k as i64).ok().and_then(|i| samples.get(i)).copied().unwrap_or(0.0);
            }
            Ok::<(), std::convert::Infallible>(())
        };
        match Self::read(samples.len(), rate, cells, axis, read) {
            Ok(levels) => levels,
            Err(never) => match never {},
        }
    }

    /// [`Levels::new`] of so many samples (`length`) that need not all be in memory: `read` gives those from a place on, silence before the
    /// first and behind the last one. It is asked for later and later places.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<E>(
        length: usize,
        rate: u32,
        (columns, rows): (usize, usize),
        axis: Axis,
        mut read: impl FnMut(i64, &mut [f32]) -> Result<(), E>,
    ) -> Result<Self, E> {
        // About an eighth of a second: as long as a short note, and fine enough to tell a low voice's semitones apart.
        let window = hann_periodic((f64::from(rate) * 0.128) as usize + 1);
        let full_scale = (window.iter().sum::<f64>() / 2.0).powi(2);
        let size = (2 * window.len()).next_power_of_two();
        let transform = FftPlannerScalar::<f64>::new().plan_fft_forward(size);
        let mut buffer = vec![Complex::default(); size];
        let mut samples = vec![0.0; window.len()];
        let mut decibels = vec![NOTHING; rows * columns];
        for column in 0..columns {
            let centre = (column as f64 + 0.5) / columns as f64 * length as f64;
            read(centre as i64 - window.len() as i64 / 2, &mut samples)?;
            buffer.fill(Complex::default());
            for ((b, w), &sample) in buffer.iter_mut().zip(&window).zip(&samples) {
                b.re = w * f64::from(if sample.is_finite() { sample } else { 0.0 });
            }
            transform.process(&mut buffer);
            for row in 0..rows {
                let f = axis.frequency((row as f64 + 0.5) / rows as f64);
                let bin = (f / f64::from(rate) * size as f64).clamp(0.0, (size / 2 - 1) as f64);
                let (below, part) = (bin as usize, bin.fract());
                let power = buffer[below].norm_sqr() * (1.0 - part) + buffer[below + 1].norm_sqr() * part;
                decibels[row * columns + column] = (10.0 * (power / full_scale).log10()).max(NOTHING);
            }
        }
        let loudest = decibels.iter().copied().fold(FAINT, f64::max);
        let values = decibels.iter().map(|level| (1.0 + (level - loudest) / RANGE).clamp(0.0, 1.0) as f32).collect();
        Ok(Self { rows, columns, values, loudest })
    }

    /// The picture as a PNG file with a palette of 256 colours, high frequencies at the top.
    pub fn png(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.columns as u32, self.rows as u32);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette((0..=255u8).flat_map(|i| colour(f64::from(i) / 255.0)).collect::<Vec<u8>>());
        let rows = self.values.chunks_exact(self.columns.max(1)).rev();
        let pixels: Vec<u8> = rows.flatten().map(|value| (255.0 * value).round() as u8).collect();
        // Writing to memory cannot fail, and an empty picture is none.
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
        if written.is_ok() { bytes } else { Vec::new() }
    }
}

/// Moments to name along an axis of so many seconds, at most `most` and evenly apart, with their names: `1.5` where all lie within a minute,
/// else `1:56`, and from an hour on `1:02:30`.
pub fn moments(seconds: f64, most: usize) -> Vec<(f64, String)> {
    const STEPS: [f64; 18] = [
        0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
    ];
    if !seconds.is_finite() || seconds < 0.0 {
        return Vec::new();
    }
    let enough = |step: &f64| seconds / step < most as f64;
    let step =
        STEPS.into_iter().find(enough).unwrap_or_else(|| 3600.0 * (seconds / 3600.0 / most as f64).ceil().max(1.0));
    let name = |time: f64| {
        let whole = time.round() as u64;
        match (seconds < 60.0, step) {
            (true, step) if step < 0.1 => format!("{time:.2}"),
            (true, step) if step < 1.0 => format!("{time:.1}"),
            (true, _) => format!("{whole}"),
            _ if seconds < 3600.0 => format!("{}:{:02}", whole / 60, whole % 60),
            _ => format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60),
        }
    };
    let count = (seconds / step + 1e-9) as usize;
    (0..=count).map(|i| (i as f64 * step, name(i as f64 * step))).collect()
}

/// Black through purple and orange to pale yellow for 0 to 1: brightness rises evenly, so that the picture reads in grey as well.
pub fn colour(value: f64) -> [u8; 3] {
    const STOPS: [[f64; 3]; 6] = [
        [0.0, 0.0, 8.0],
        [52.0, 16.0, 104.0],
        [130.0, 36.0, 128.0],
        [214.0, 66.0, 98.0],
        [252.0, 146.0, 88.0],
        [252.0, 248.0, 196.0],
    ];
    let at = value.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let low = (at as usize).min(STOPS.len() - 2);
    let mix = |c: usize| (STOPS[low][c] + (STOPS[low + 1][c] - STOPS[low][c]) * (at - low as f64)).round() as u8;
    [mix(0), mix(1), mix(2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, amplitude: f64) -> Vec<f32> {
        (0..16_000).map(|i| (amplitude * (std::f64::consts::TAU * hz * f64::from(i) / 8000.0).sin()) as f32).collect()
    }

    const LINEAR: Axis = Axis { low: 0.0, high: 4000.0, scale: Scale::Linear };

    #[test]
    fn a_tone_is_bright_at_its_frequency_and_its_level_is_known() {
        let levels = Levels::new(&tone(1005.0, 0.5), 8000, (64, 400), LINEAR);
        let middle = |row: usize| levels.values[row * 64 + 32];
        let best = (0..400).max_by(|&a, &b| middle(a).total_cmp(&middle(b))).unwrap_or_default();
        assert!(best.abs_diff(100) <= 2, "brightest in row {best}");
        assert!(middle(best) > 0.97 && middle(300) < 0.1, "{} {}", middle(best), middle(300));
        assert!((levels.loudest + 6.0).abs() < 1.0, "half of full scale: {}", levels.loudest);
    }

    #[test]
    fn silence_is_black_and_a_whisper_is_dim() {
        let silence = Levels::new(&[0.0; 8000], 8000, (20, 20), LINEAR);
        assert!(silence.values.iter().all(|&v| v == 0.0));
        let brightest = |levels: &Levels| levels.values.iter().copied().fold(0.0, f32::max);
        let whisper = Levels::new(&tone(1000.0, 1e-4), 8000, (64, 400), LINEAR);
        assert!((0.6..0.9).contains(&brightest(&whisper)), "20 dB below what is faint: {}", brightest(&whisper));
        let broken = Levels::new(&[f32::NAN; 100], 8000, (3, 3), LINEAR);
        assert!(broken.values.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn the_picture_is_a_png_with_high_frequencies_above() {
        let levels = Levels { rows: 2, columns: 3, values: vec![1.0, 1.0, 1.0, 0.0, 0.0, 0.0], loudest: 0.0 };
        let bytes = levels.png();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut pixels = vec![9; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height, &pixels[..6]), (3, 2, &[0, 0, 0, 255, 255, 255][..]));
    }

    #[test]
    fn moments_are_round_and_read_as_clocks_where_long() {
        let names =
            |seconds: f64, most: usize| moments(seconds, most).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(names(2.0, 6), ["0.0", "0.5", "1.0", "1.5", "2.0"]);
        assert_eq!(names(8.0, 6), ["0", "2", "4", "6", "8"]);
        assert_eq!(names(116.0, 6), ["0:00", "0:30", "1:00", "1:30"]);
        assert_eq!(names(7300.0, 6), ["0:00:00", "0:30:00", "1:00:00", "1:30:00", "2:00:00"]);
        assert_eq!(names(0.0, 6), ["0.00"]);
        for seconds in [0.07, 0.3, 7.0, 59.9, 61.0, 1e5, 1e7] {
            let names = names(seconds, 7);
            assert!((1..=7).contains(&names.len()), "{seconds}: {names:?}");
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{seconds}: {names:?}");
        }
        assert!(moments(f64::NAN, 6).is_empty());
    }

    #[test]
    fn axes_name_notes() {
        let axis = Axis::around(60.0, 67.0);
        assert_eq!(axis.notes(), [60, 67, 72, 79], "56 to 83");
        assert!((axis.frequency(axis.height(440.0)) - 440.0).abs() < 1e-9);
        assert_eq!(Axis { low: 60.0, high: 1100.0, scale: Scale::Log }.notes(), [36, 48, 60, 72, 84].map(|n| n));
    }
}
