//! Whether somebody sings or speaks, by the pitches that are held.
//!
//! A note holds its pitch for a sixth of a second and more, and a tune goes from note to note. The pitch of speech glides; where a voice
//! does hold one, as in a monotone, a drawn-out vowel or a hum of the mains, it is the same again and again. So it counts how much of the
//! pitch is held, and how far apart the held pitches lie. Words that are sung, and voices that waver, still hold some of their notes.

use super::pitch::Contour;

/// Seconds for which a pitch must stay to be held.
const SECONDS: f64 = 0.16;
/// Semitones within which it stays.
const WITHIN: f64 = 1.0;
/// Semitones from the median beyond which a held pitch counts no more: a hiss or a pitch that is taken for its octave is no wide tune.
const FARTHEST: f64 = 3.0;

/// Where in a contour a pitch is held.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Seconds from one frame to the next.
    hop: f64,
    /// Frames in all.
    frames: usize,
    /// Each frame around which the pitch stays, with that pitch as a MIDI note number.
    notes: Vec<(usize, f64)>,
}

impl Held {
    /// In this contour.
    pub fn of(contour: &Contour) -> Self {
        let half = (SECONDS / 2.0 / contour.hop).round() as usize;
        let notes: Vec<Option<f64>> = contour.frames.iter().map(|frame| frame.midi()).collect();
        let stays = |around: &[Option<f64>]| {
            let all: Option<Vec<f64>> = around.iter().copied().collect();
            let range = |all: Vec<f64>| {
                all.iter().copied().fold(f64::NEG_INFINITY, f64::max)
                    - all.iter().copied().fold(f64::INFINITY, f64::min)
            };
            all.is_some_and(|all| range(all) <= WITHIN)
        };
        let around = notes.windows(2 * half + 1).enumerate().filter(|(_, around)| stays(around));
        let notes = around.filter_map(|(i, around)| Some((i + half, around[half]?))).collect();
        Self { hop: contour.hop, frames: contour.frames.len(), notes }
    }

    /// How much of a tune there is: the share of all frames around which the pitch is held, times the mean distance of the held pitches from
    /// their median, in semitones, of which 3.0 count at most. 0 where nothing is held, or one pitch alone.
    pub fn tunefulness(&self) -> f64 {
        let mut notes: Vec<f64> = self.notes.iter().map(|note| note.1).collect();
        if notes.is_empty() {
            return 0.0;
        }
        notes.sort_by(f64::total_cmp);
        let median = notes[notes.len() / 2];
        // The mean distance times how many there are is their sum.
        notes.iter().map(|note| (note - median).abs().min(FARTHEST)).sum::<f64>() / self.frames as f64
    }

    /// The seconds between which all held pitches lie but for this share of them at either end, where a noise may have had one; none where
    /// nothing is held.
    pub fn span(&self, share: f64) -> Option<(f64, f64)> {
        let last = self.notes.len().checked_sub(1)?;
        let left_out = (share * last as f64) as usize;
        let at = |i: usize| self.notes[i].0 as f64 * self.hop;
        Some((at(left_out.min(last / 2)), at(last - left_out.min(last / 2))))
    }
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

    fn tunefulness(contour: &Contour) -> f64 {
        Held::of(contour).tunefulness()
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
        // Half of the frames at each of two pitches that lie two semitones apart; eight of a hundred are too near to a change or an end.
        let apart =
            |semitones: f64| tunefulness(&contour(move |t| Some(if t < 2.0 { 60.0 } else { 60.0 + semitones })));
        assert!((apart(2.0) - 0.92).abs() < 0.02, "{}", apart(2.0));
        // What lies too far from the rest counts as if it were nearer, and what has no pitch counts, too.
        assert!((apart(24.0) - apart(8.0)).abs() < 0.05, "{} {}", apart(24.0), apart(8.0));
        let once = tunefulness(&contour(|t| (t < 1.0).then_some(if t < 0.5 { 60.0 } else { 62.0 })));
        assert!((once - apart(2.0) / 4.0).abs() < 0.08, "{once}");
    }

    #[test]
    fn it_says_from_when_to_when_pitches_are_held() {
        let sung = contour(|t| match t {
            // A noise with a pitch for a moment, and then a tune.
            0.3..0.48 => Some(90.0),
            1.0..3.0 => Some(60.0 + 2.0 * (t / 0.5).floor()),
            _ => None,
        });
        let all = Held::of(&sung).span(0.0).unwrap_or_default();
        assert!((all.0 - 0.4).abs() < 0.03 && (all.1 - 2.9).abs() < 0.03, "{all:?}");
        let most = Held::of(&sung).span(0.02).unwrap_or_default();
        assert!((most.0 - 1.1).abs() < 0.05 && (most.1 - 2.9).abs() < 0.05, "{most:?}");
        assert_eq!(Held::of(&contour(|_| None)).span(0.02), None);
    }
}
