//! The pitch that was sung, over notes, as a picture.

use super::image::{encoded, is_svg};
use crate::Result;
use crate::melody::note_name;
use crate::melody::notes::{SungNote, median};
use crate::melody::pitch::Contour;
use crate::picture::canvas::{Align, Canvas, Rgb};
use crate::picture::moments;
use crate::train::weights::write_whole;
use std::path::Path;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 500.0;
/// Room around the chart.
const LEFT: f64 = 60.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 44.0;
const BELOW: f64 = 46.0;
const SMALL: f64 = 13.0;
const NOTE: Rgb = [171, 214, 178];
const PITCH: Rgb = [178, 34, 52];
const GRID: Rgb = [226, 226, 230];

/// Draws a contour over notes (both in seconds of the recording, and in MIDI numbers as sung) into a file, PNG or SVG by its name.
///
/// # Errors
/// [`Error::File`](crate::Error::File) where the file cannot be written.
pub(super) fn write(path: &Path, title: &str, contour: &Contour, notes: &[SungNote]) -> Result<()> {
    write_whole(path, &image(is_svg(path), title, contour, notes)?)
}

/// As [`write`], the file's content.
///
/// # Errors
/// Where a picture cannot be packed.
pub(super) fn image(svg: bool, title: &str, contour: &Contour, notes: &[SungNote]) -> Result<Vec<u8>> {
    encoded(&draw(title, contour, notes), svg)
}

fn draw(title: &str, contour: &Contour, notes: &[SungNote]) -> Canvas {
    let seconds = (contour.frames.len() as f64 * contour.hop).max(contour.hop);
    let sung: Vec<f64> = contour.frames.iter().filter_map(|frame| frame.midi()).collect();
    let notes: Vec<&SungNote> = notes.iter().filter(|note| note.end > 0.0 && note.start < seconds).collect();
    // Around the notes, or what is sung most of the time: single frames in hisses would make all else flat.
    let usual = if sung.is_empty() { 60.0 } else { median(&sung) };
    let near =
        sung.iter().copied().filter(|midi| (midi - usual).abs() < 15.0).chain(notes.iter().map(|note| note.midi));
    let (low, high) = near.fold((usual - 6.0, usual + 6.0), |(low, high), midi| (midi.min(low), midi.max(high)));
    let (low, high) = ((low - 1.0).floor(), (high + 1.0).ceil());
    let (wide, tall) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BELOW);
    let x = |at: f64| LEFT + at.clamp(0.0, seconds) / seconds * wide;
    let y = |midi: f64| TOP + (high - midi) / (high - low) * tall;
    let mut canvas = Canvas::new(WIDTH as u32, HEIGHT as u32);
    canvas.text((LEFT, 27.0), Canvas::shortened(title, 18.0, wide), 18.0, Align::Start);
    let every = if high - low > 24.0 { 4 } else { 2 };
    for midi in (low as i64..=high as i64).filter(|midi| midi % every == 0) {
        canvas.fill([LEFT, y(midi as f64) - 0.5, wide, 1.0], GRID);
        canvas.text((LEFT - 8.0, y(midi as f64) + 4.0), note_name(midi as f64), SMALL, Align::End);
    }
    for (at, text) in moments(seconds, 12) {
        canvas.fill([x(at) - 0.5, TOP, 1.0, tall], GRID);
        canvas.text((x(at), HEIGHT - BELOW + 20.0), text, SMALL, Align::Middle);
    }
    canvas.text((LEFT + wide / 2.0, HEIGHT - 8.0), "seconds", SMALL, Align::Middle);
    let thick = tall / (high - low) * 0.8;
    for note in notes {
        canvas.fill([x(note.start), y(note.midi) - thick / 2.0, x(note.end) - x(note.start), thick], NOTE);
    }
    let mut line: Vec<(f64, f64)> = Vec::new();
    for (i, frame) in contour.frames.iter().enumerate() {
        match frame.midi().filter(|midi| (low..=high).contains(midi)) {
            // A leap is two lines.
            Some(midi) => {
                let here = (x(i as f64 * contour.hop), y(midi));
                if line.last().is_some_and(|last| (last.1 - here.1).abs() > 4.0 * tall / (high - low)) {
                    canvas.line(std::mem::take(&mut line), 2.0, PITCH);
                }
                line.push(here);
            }
            None if !line.is_empty() => canvas.line(std::mem::take(&mut line), 2.0, PITCH),
            None => {}
        }
    }
    if !line.is_empty() {
        canvas.line(line, 2.0, PITCH);
    }
    canvas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_that_is_too_long_is_cut() {
        let contour = Contour { hop: 0.01, frames: Vec::new() };
        let title = "a long name ".repeat(30);
        let svg = String::from_utf8(image(true, &title, &contour, &[]).unwrap()).unwrap();
        assert!(svg.contains('\u{2026}') && !svg.contains(title.trim()), "{svg}");
    }
}
