//! Whether somebody sings or speaks, by the pitches that are held.
//!
//! A note holds its pitch for a fifth of a second and more, and a tune goes from note to note. The pitch of speech glides; where a voice
//! does hold one, as in a monotone, a drawn-out vowel or a hum of the mains, it is the same again and again. So it counts how much of the
//! pitch is held, and how far apart the held pitches lie. Words that are sung, and voices that waver, still hold some of their notes.

use super::pitch::Contour;

/// Seconds for which a pitch must stay to be held.
const SECONDS: f64 = 0.2;
/// Semitones within which it stays.
const WITHIN: f64 = 1.0;

/// How much of a tune there is in a contour: the share of the frames with a pitch around which the pitch is held, times the mean distance
/// of the held pitches from their median, in semitones. 0 where nothing is held, or one pitch alone.
pub fn tunefulness(contour: &Contour) -> f64 {
    let half = (SECONDS / 2.0 / contour.hop).round() as usize;
    let notes: Vec<Option<f64>> = contour.frames.iter().map(|frame| frame.midi()).collect();
    let pitched = notes.iter().flatten().count();
    let stays = |around: &[Option<f64>]| {
        let all: Option<Vec<f64>> = around.iter().copied().collect();
        let range = |all: Vec<f64>| {
            all.iter().copied().fold(f64::NEG_INFINITY, f64::max) - all.iter().copied().fold(f64::INFINITY, f64::min)
        };
        all.is_some_and(|all| range(all) <= WITHIN)
    };
    let held = notes.windows(2 * half + 1).filter(|around| stays(around)).filter_map(|around| around[half]);
    let mut held: Vec<f64> = held.collect();
    if held.is_empty() {
        return 0.0;
    }
    held.sort_by(f64::total_cmp);
    let median = held[held.len() / 2];
    // The mean distance times how many there are is their sum.
    held.iter().map(|note| (note - median).abs()).sum::<f64>() / pitched as f64
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
    fn tunes_hold_several_pitches_and_speech_none_or_one() {
        // Notes of four tenths of a second with vibrato; syllables that fall by three semitones in as long.
        let sung = |t: f64| Some(60.0 + 2.0 * (t / 0.4).floor() + 0.2 * (t * 35.0).sin());
        let spoken = |t: f64| Some(50.0 - 3.0 * (t / 0.4).fract());
        assert!(tunefulness(&contour(sung)) > 1.0, "{}", tunefulness(&contour(sung)));
        assert_eq!(tunefulness(&contour(spoken)), 0.0);
        assert_eq!(tunefulness(&contour(|_| None)), 0.0);
        // One pitch, held for ever or again and again, is no tune.
        assert!(tunefulness(&contour(|_| Some(43.0))) < 1e-9);
        let monotone =
            |t: f64| if (t / 0.4).fract() < 0.7 { Some(45.0 + 0.1 * t) } else { Some(45.0 - 8.0 * t.fract()) };
        assert!(tunefulness(&contour(monotone)) < 0.1, "{}", tunefulness(&contour(monotone)));
    }

    #[test]
    fn the_more_is_held_and_the_wider_the_more_tuneful() {
        let tune = |step: f64, length: f64| {
            tunefulness(&contour(move |t| {
                let note = (t / 0.5).floor() % 2.0;
                let inside = (t / 0.5).fract() * 0.5;
                Some(60.0 + step * note + if inside < length { 0.0 } else { 20.0 * (inside - length) })
            }))
        };
        assert!(tune(4.0, 0.4) > tune(2.0, 0.4) && tune(4.0, 0.4) > tune(4.0, 0.3), "{}", tune(4.0, 0.4));
        // Half of the frames at each of two pitches that lie four semitones apart; a tenth of all is too near to a change or an end.
        let halves = tunefulness(&contour(|t| Some(if t < 2.0 { 60.0 } else { 64.0 })));
        assert!((halves - 0.9 * 2.0).abs() < 0.02, "{halves}");
    }
}
