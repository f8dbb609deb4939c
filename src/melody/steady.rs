//! Whether somebody sings or speaks, by how long the pitch stays.
//!
//! A note holds its pitch for a fifth of a second and more; the pitch of speech hardly ever does. Words that are sung, and
//! voices that waver, still hold some of their notes.

use super::pitch::Contour;

/// Seconds for which a pitch must stay.
const SECONDS: f64 = 0.2;
/// Semitones within which it stays.
const WITHIN: f64 = 1.0;

/// The share of the frames with a pitch around which the pitch stays within a semitone for a fifth of a second; 0 where nothing has a pitch.
pub fn steadiness(contour: &Contour) -> f64 {
    let half = (SECONDS / 2.0 / contour.hop).round() as usize;
    let notes: Vec<Option<f64>> = contour.frames.iter().map(|frame| frame.midi()).collect();
    let pitched = notes.iter().flatten().count();
    let stays = |around: &&[Option<f64>]| {
        let all: Option<Vec<f64>> = around.iter().copied().collect();
        let range = |all: Vec<f64>| {
            all.iter().copied().fold(f64::NEG_INFINITY, f64::max) - all.iter().copied().fold(f64::INFINITY, f64::min)
        };
        all.is_some_and(|all| range(all) <= WITHIN)
    };
    let steady = notes.windows(2 * half + 1).filter(stays).count();
    if pitched == 0 { 0.0 } else { steady as f64 / pitched as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::melody::pitch::PitchFrame;

    fn contour(midi: impl Fn(f64) -> Option<f64>) -> Contour {
        let frame = |i: usize| {
            let hz = midi(i as f64 * 0.01).map(|note| 440.0 * 2f64.powf((note - 69.0) / 12.0));
            PitchFrame { hz, periodicity: 0.9, peak: 0.1 }
        };
        Contour { hop: 0.01, frames: (0..400).map(frame).collect() }
    }

    #[test]
    fn notes_are_steady_and_glides_are_not() {
        // Notes of four tenths of a second with vibrato; syllables that fall by three semitones in as long.
        let sung = |t: f64| Some(60.0 + (t / 0.4).floor() + 0.3 * (t * 35.0).sin());
        let spoken = |t: f64| Some(50.0 - 3.0 * (t / 0.4).fract());
        assert!(steadiness(&contour(sung)) > 0.4, "{}", steadiness(&contour(sung)));
        assert_eq!(steadiness(&contour(spoken)), 0.0);
        assert_eq!(steadiness(&contour(|_| None)), 0.0);
    }
}
