//! From a pitch contour to notes.

use super::pitch::Contour;

/// A note, as it was sung or as a song has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SungNote {
    /// Seconds from the beginning of the recording, or of the song.
    pub start: f64,
    /// Seconds to its end.
    pub end: f64,
    /// The median pitch, a MIDI note number with its fraction.
    pub midi: f64,
}

/// Shorter notes, in seconds, are glides between others, or noise.
const SHORTEST: f64 = 0.08;

/// A new note begins where the pitch stays this far (in semitones) from the note so far for [`STAYS`] seconds.
const APART: f64 = 0.7;

/// See [`APART`]: longer than a vibrato is away from its middle.
const STAYS: f64 = 0.06;

/// The notes of a contour, in time order: stretches with a pitch, cut where it moves to another note. Two notes of the same
/// pitch that are sung without a break between them are one here.
pub fn notes(contour: &Contour) -> Vec<SungNote> {
    let mut found = Vec::new();
    let frames: Vec<Option<f64>> = contour.frames.iter().map(|frame| frame.midi()).collect();
    let mut at = 0;
    while at < frames.len() {
        let stretch: Vec<f64> = frames[at..].iter().map_while(|&midi| midi).collect();
        cut(&stretch, at, contour.hop, &mut found);
        at += stretch.len().max(1);
    }
    found
}

/// Cuts a stretch without a break, whose first frame is number `first`, into notes.
fn cut(stretch: &[f64], first: usize, hop: f64, found: &mut Vec<SungNote>) {
    let stays = (STAYS / hop).ceil() as usize;
    let mut push = |from: usize, to: usize| {
        if (to - from) as f64 * hop >= SHORTEST {
            let seconds = |i: usize| (first + i) as f64 * hop;
            found.push(SungNote { start: seconds(from), end: seconds(to), midi: median(&stretch[from..to]) });
        }
    };
    let mut start = 0;
    let mut i = 1;
    while i < stretch.len() {
        let middle = median(&stretch[start..i]);
        let moved = stretch[i..].iter().take(stays).all(|midi| (midi - middle).abs() > APART);
        if moved && stretch.len() - i >= stays {
            push(start, i);
            start = i;
        }
        i += 1;
    }
    push(start, stretch.len());
}

/// The median of at least one number.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 }
}

/// How far the singer's scale lies above concert pitch, in semitones from -0.5 to 0.5: the circular mean of the notes'
/// fractions, weighted by their lengths. 0 where there are no notes.
pub fn tuning(notes: &[SungNote]) -> f64 {
    let angle = |note: &SungNote| note.midi * std::f64::consts::TAU;
    let sum = |f: fn(f64) -> f64| notes.iter().map(|note| (note.end - note.start) * f(angle(note))).sum::<f64>();
    sum(f64::sin).atan2(sum(f64::cos)) / std::f64::consts::TAU
}
