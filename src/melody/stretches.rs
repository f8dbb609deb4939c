//! Singing in sound that comes piece by piece: stretches with a pitch, each ended by a pause.
//!
//! Whoever sings to a microphone sings for some seconds, and waits for an answer. So a stretch ends where no pitch was heard for
//! [`PAUSE`] seconds, which is longer than a breath between phrases, or after [`LONGEST`] seconds, so that memory is bounded and an
//! answer comes.

use super::pitch::{PitchFrame, PitchOptions, PitchTracker};
use crate::Result;
use std::collections::VecDeque;

/// Seconds without a pitch that end a stretch.
pub const PAUSE: f64 = 2.0;
/// Seconds of the longest stretch; whoever sings on begins another.
pub const LONGEST: f64 = 30.0;
/// Seconds that are looked at anew at once.
const STEP: f64 = 1.0;
/// Seconds before them that are looked at with them, so that a pitch that goes on is known at once.
const BEFORE: f64 = 0.5;
/// Steps whose loudness says what is too quiet to be sung, and the share of the loudest of them below which it is.
const REMEMBERED: usize = 8;
const QUIET: f64 = 0.05;
/// Seconds after them that the pitch of their last moments needs, and that a stretch keeps before its first pitch and after its last.
const MARGIN: f64 = 0.25;
/// The shortest pitch, in seconds, that counts as a voice: noise has one now and then, by chance.
const LEAST: f64 = 0.1;

/// A stretch of sound with singing.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// Seconds from the beginning of all sound to its start and its end.
    pub start: f64,
    /// See `start`.
    pub end: f64,
    /// Its sound, at the rate of what came.
    pub samples: Vec<f32>,
}

/// Finds stretches while the sound comes.
pub struct StretchFinder {
    tracker: PitchTracker,
    rate: f64,
    /// The sound from sample `begin` on.
    samples: Vec<f32>,
    begin: usize,
    /// Seconds up to where it is known what is sung.
    judged: f64,
    /// From where to where there was a pitch in the stretch that goes on.
    open: Option<(f64, f64)>,
    /// How loud the last steps were, [`REMEMBERED`] at most: the peak that one in ten of their frames exceeds.
    loud: VecDeque<f64>,
}

impl StretchFinder {
    /// For sound of this rate in Hz.
    ///
    /// # Errors
    /// Where the rate is out of range.
    pub fn new(sample_rate: u32) -> Result<Self> {
        let tracker = PitchTracker::new(sample_rate, PitchOptions::default())?;
        let rate = f64::from(sample_rate);
        Ok(Self { tracker, rate, samples: Vec::new(), begin: 0, judged: 0.0, open: None, loud: VecDeque::new() })
    }

    /// Takes the next samples, of one channel; the stretches that ended.
    pub fn push(&mut self, samples: &[f32]) -> Vec<Stretch> {
        self.samples.extend_from_slice(samples);
        let mut found = Vec::new();
        while self.seconds() >= self.judged + STEP + MARGIN {
            found.extend(self.judge_to(self.judged + STEP));
        }
        found
    }

    /// The stretches that are left where the sound ends.
    pub fn finish(&mut self) -> Vec<Stretch> {
        let mut found = self.push(&[]);
        found.extend(self.judge_to(self.seconds()));
        found.extend(self.close());
        found
    }

    /// Seconds of sound so far.
    pub fn seconds(&self) -> f64 {
        (self.begin + self.samples.len()) as f64 / self.rate
    }

    /// The samples from one second to another, as far as there are any.
    fn between(&self, start: f64, end: f64) -> &[f32] {
        let at =
            |t: f64| ((t.max(0.0) * self.rate).round() as usize).saturating_sub(self.begin).min(self.samples.len());
        &self.samples[at(start)..at(end)]
    }

    /// Looks at what comes up to `to` seconds.
    fn judge_to(&mut self, to: f64) -> Option<Stretch> {
        let from = (self.judged - BEFORE).max(self.begin as f64 / self.rate);
        let contour = self.tracker.track(self.between(from, to + MARGIN));
        let mut peaks: Vec<f64> = contour.frames.iter().map(|frame| frame.peak).collect();
        peaks.sort_by(f64::total_cmp);
        self.loud.push_back(peaks.get(peaks.len() * 9 / 10).copied().unwrap_or_default());
        self.loud.drain(..self.loud.len().saturating_sub(REMEMBERED));
        let enough = QUIET * self.loud.iter().copied().fold(0.0, f64::max);
        let sung = |frame: &PitchFrame| frame.hz.is_some() && frame.peak >= enough;
        let least = (LEAST / contour.hop).round() as usize;
        let mut found = None;
        // Runs of frames with a voice's pitch, and of others.
        let mut at = 0;
        for run in contour.frames.chunk_by(|a, b| sung(a) == sung(b)) {
            let (first, last) = (from + at as f64 * contour.hop, from + (at + run.len()) as f64 * contour.hop);
            at += run.len();
            let (first, last) = (first.max(self.judged), last.min(to));
            if !sung(&run[0]) || run.len() < least || last <= first {
                continue;
            }
            // A pause and then another pitch, within what is looked at now.
            if self.open.is_some_and(|(start, end)| first - end >= PAUSE || last - start > LONGEST) {
                found = self.close();
            }
            self.open = Some((self.open.map_or(first, |(start, _)| start), last));
        }
        self.judged = to;
        if self.open.is_some_and(|(_, end)| to - end >= PAUSE) {
            found = self.close();
        }
        let needed = self.open.map_or(f64::INFINITY, |(start, _)| start - MARGIN).min(to - BEFORE).max(0.0);
        let done = ((needed * self.rate) as usize).saturating_sub(self.begin).min(self.samples.len());
        self.samples.drain(..done);
        self.begin += done;
        found
    }

    /// Ends the stretch that goes on.
    fn close(&mut self) -> Option<Stretch> {
        let (start, end) = self.open.take()?;
        let (start, end) = ((start - MARGIN).max(0.0), (end + MARGIN).min(self.seconds()));
        Some(Stretch { start, end, samples: self.between(start, end).to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 8_000;

    /// Sound in which there is a voice of 220 Hz in these stretches, and faint noise everywhere.
    fn sound(seconds: f64, sung: &[(f64, f64)]) -> Vec<f32> {
        let sample = |i: u32| {
            let t = f64::from(i) / f64::from(RATE);
            let mixed = (i ^ (i >> 15)).wrapping_mul(0x85eb_ca6b);
            let mixed = (mixed ^ (mixed >> 13)).wrapping_mul(0xc2b2_ae35);
            let noise = f64::from(mixed >> 8) / f64::from(1 << 24) - 0.5;
            let voice = |h: f64| (std::f64::consts::TAU * 220.0 * h * t).sin() / h;
            let voice =
                if sung.iter().any(|&(a, b)| t >= a && t < b) { voice(1.0) + voice(2.0) + voice(3.0) } else { 0.0 };
            (0.1 * voice + 0.005 * noise) as f32
        };
        (0..(seconds * f64::from(RATE)) as u32).map(sample).collect()
    }

    fn find(samples: &[f32], piece: usize) -> Result<Vec<Stretch>> {
        let mut finder = StretchFinder::new(RATE)?;
        let mut found = Vec::new();
        for part in samples.chunks(piece) {
            found.extend(finder.push(part));
            assert!(finder.samples.len() <= ((LONGEST + BEFORE + 3.0) * f64::from(RATE)) as usize + piece, "held");
        }
        found.extend(finder.finish());
        Ok(found)
    }

    #[test]
    fn a_pause_ends_what_is_sung_and_a_breath_does_not() -> Result<()> {
        let samples = sound(20.0, &[(3.0, 5.0), (6.2, 7.0), (11.0, 12.5), (18.0, 20.0)]);
        let found = find(&samples, 2_000)?;
        let times: Vec<[f64; 2]> = found.iter().map(|stretch| [stretch.start, stretch.end]).collect();
        assert_eq!(times.len(), 3, "{times:?}");
        for (told, meant) in times.iter().zip([[2.75, 7.25], [10.75, 12.75], [17.75, 20.0]]) {
            assert!((told[0] - meant[0]).abs() < 0.1 && (told[1] - meant[1]).abs() < 0.1, "{told:?} {meant:?}");
        }
        for stretch in &found {
            let start = (stretch.start * f64::from(RATE)).round() as usize;
            assert!(samples[start..].starts_with(&stretch.samples), "{}", stretch.start);
        }
        // However the sound is divided into pieces.
        for piece in [7_777, samples.len()] {
            assert!(find(&samples, piece)? == found, "{piece}");
        }
        Ok(())
    }

    #[test]
    fn a_stretch_is_told_while_more_is_to_come() -> Result<()> {
        let mut finder = StretchFinder::new(RATE)?;
        let samples = sound(9.0, &[(1.0, 3.0)]);
        let told = samples.chunks(1_000).position(|part| !finder.push(part).is_empty());
        assert!(told.is_some_and(|i| (40..=56).contains(&i)), "{told:?}: two to four seconds after its end");
        Ok(())
    }

    #[test]
    fn who_does_not_stop_is_answered_and_noise_is_not() -> Result<()> {
        let lengths: Vec<f64> = find(&sound(35.0, &[(0.0, 35.0)]), 2_000)?.iter().map(|s| s.end - s.start).collect();
        assert!(lengths.len() == 2 && lengths.iter().all(|&seconds| seconds <= LONGEST + 2.0 * MARGIN), "{lengths:?}");
        assert!(find(&sound(10.0, &[]), 2_000)?.is_empty() && find(&[], 1)?.is_empty());
        Ok(())
    }
}
