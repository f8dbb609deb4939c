//! Whether a voice sings or speaks, by the pitches that are held.
//!
//! A note holds its pitch for a sixth of a second and more, and a tune goes from note to note. The pitch of speech glides; where a voice
//! does hold one, as in a monotone, a drawn-out vowel or a hum of the mains, it is the same again and again. So it counts how much of the
//! pitch is held, and how far apart the held pitches lie. Words that are sung, and voices that waver, still hold some of their notes.

use super::pitch::Contour;
use std::ops::Range;

/// Seconds for which a pitch must stay to be held.
const SECONDS: f64 = 0.16;
/// Semitones within which it stays.
const WITHIN: f64 = 1.0;
/// Semitones from the median beyond which a held pitch counts no more: a hiss or a pitch that is taken for its octave is no wide tune.
const FARTHEST: f64 = 3.0;
/// Seconds from one stretch to the next that may be the most tuneful one.
const STEP: f64 = 0.5;
/// The share of a stretch's held pitches at either end that may be a noise's.
const STRAY: f64 = 0.02;
/// A tune goes on where the next seconds hold a pitch for this part of the time that its best stretch does.
const NEAR: f64 = 2.0;
const GOES_ON: f64 = 1.0 / 3.0;

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
        self.tunefulness_of(0..self.frames, 0)
    }

    /// The most tuneful stretch of so many seconds that begins and ends between the seconds of `within`, and how far what is held there goes on
    /// before and after it; none where nothing is held. Where there is less room than that, it is all of it, and counts as half of
    /// `seconds` at least.
    pub fn tune(&self, within: Range<f64>, seconds: f64) -> Option<Tune> {
        let frame = |seconds: f64| (seconds / self.hop).round() as usize;
        let (first, last) = (frame(within.start).min(self.frames), frame(within.end).min(self.frames));
        let length = frame(seconds).min(last.saturating_sub(first));
        let starts = (first..=last.saturating_sub(length)).step_by(frame(STEP).max(1));
        let tunefulness = |start: usize| self.tunefulness_of(start..start + length, frame(seconds / 2.0));
        // The first of those that are alike.
        let best = starts.map(|start| (start, tunefulness(start))).reduce(|a, b| if b.1 > a.1 { b } else { a });
        let (start, tunefulness) = best?;
        let notes = self.notes_of(start..start + length);
        let left_out = (STRAY * notes.len().checked_sub(1)? as f64) as usize;
        let (mut from, mut to) = (notes[left_out].0, notes[notes.len() - 1 - left_out].0);
        let (near, second) = (frame(NEAR), frame(1.0));
        let share = |frames: Range<usize>| {
            if frames.is_empty() { 0.0 } else { self.notes_of(frames.clone()).len() as f64 / frames.len() as f64 }
        };
        let enough = GOES_ON * notes.len() as f64 / length as f64;
        let (before, after) = (from, to);
        while from > first && share(from.saturating_sub(near).max(first)..from) >= enough {
            from = from.saturating_sub(second).max(first);
        }
        while to < last && share(to..last.min(to + near)) >= enough {
            to = last.min(to + second);
        }
        // To the notes themselves.
        let from = self.notes_of(from..before).first().map_or(before, |note| note.0);
        let to = self.notes_of(after..to + 1).last().map_or(after, |note| note.0);
        let at = |frame: usize| frame as f64 * self.hop;
        Some(Tune { best: at(start), tunefulness, start: at(from), end: at(to) })
    }

    /// Those of these frames around which the pitch is held.
    fn notes_of(&self, frames: Range<usize>) -> &[(usize, f64)] {
        let from = self.notes.partition_point(|note| note.0 < frames.start);
        let to = self.notes.partition_point(|note| note.0 < frames.end);
        &self.notes[from..to.max(from)]
    }

    /// See [`Held::tunefulness`]; fewer frames than `least` count as so many.
    fn tunefulness_of(&self, frames: Range<usize>, least: usize) -> f64 {
        let mut notes: Vec<f64> = self.notes_of(frames.clone()).iter().map(|note| note.1).collect();
        if notes.is_empty() {
            return 0.0;
        }
        notes.sort_by(f64::total_cmp);
        let median = notes[notes.len() / 2];
        // The mean distance times how many there are is their sum.
        notes.iter().map(|note| (note - median).abs().min(FARTHEST)).sum::<f64>() / frames.len().max(least) as f64
    }
}

/// Where a tune is in a contour, in seconds from its beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tune {
    /// Where the most tuneful stretch begins.
    pub best: f64,
    /// How tuneful it is ([`Held::tunefulness`]).
    pub tunefulness: f64,
    /// The first moment, of that stretch or before it, at which one of its pitches is held.
    pub start: f64,
    /// The last, of that stretch or after it.
    pub end: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::melody::pitch::PitchFrame;

    fn contour(midi: impl Fn(f64) -> Option<f64>) -> Contour {
        contour_of(4.0, midi)
    }

    fn contour_of(seconds: f64, midi: impl Fn(f64) -> Option<f64>) -> Contour {
        let frame = |i: usize| {
            let hz = midi(i as f64 * 0.01).map(|note| 440.0 * 2f64.powf((note - 69.0) / 12.0));
            PitchFrame { hz, periodicity: 0.9, peak: 0.1 }
        };
        Contour { hop: 0.01, frames: (0..(100.0 * seconds) as usize).map(frame).collect() }
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
        let tune = Held::of(&sung).tune(0.0..4.0, 4.0).unwrap();
        assert!((tune.start - 1.1).abs() < 0.05 && (tune.end - 2.9).abs() < 0.05 && tune.best == 0.0, "{tune:?}");
        // As tuneful as all of it, where that is as long.
        assert!((tune.tunefulness - Held::of(&sung).tunefulness()).abs() < 0.02, "{tune:?}");
        assert_eq!(Held::of(&contour(|_| None)).tune(0.0..4.0, 4.0), None);
        assert_eq!(Held::of(&sung).tune(3.2..3.9, 4.0), None);
    }

    #[test]
    fn a_tune_is_found_beside_what_is_none_and_to_its_ends() {
        // Half a minute of a wandering voice, which sings for 12 s of it, with a breath.
        let held = Held::of(&contour_of(30.0, |t| match t {
            15.0..15.8 => None,
            10.0..22.0 => Some(60.0 + (2.0 * (t / 0.5).floor()) % 8.0),
            _ => Some(45.0 + 6.0 * (t / 0.4).fract()),
        }));
        let tune = held.tune(0.0..30.0, 8.0).unwrap();
        assert!((tune.start - 10.1).abs() < 0.1 && (tune.end - 21.9).abs() < 0.1, "{tune:?}");
        assert!((9.5..=14.0).contains(&tune.best) && tune.tunefulness > 1.8 * held.tunefulness(), "{tune:?}");
        // Nothing of it is left before it; a short stretch counts as half a long one at least.
        assert!(held.tune(0.0..9.5, 8.0).is_none_or(|rest| rest.tunefulness < 0.05));
        let (short, long) = (held.tune(11.0..12.0, 8.0).unwrap(), held.tune(11.0..15.0, 8.0).unwrap());
        assert!(short.tunefulness < 0.5 * long.tunefulness, "{short:?} {long:?}");
    }
}
