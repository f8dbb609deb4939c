//! The sung pitch, without what is no melody.

use crate::melody::pitch::Contour;

/// The sung pitch, ready for comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// MIDI note numbers every [`STEP`] seconds, from the first that was sung to the last; a breath holds the note before it.
    pub(super) pitch: Vec<f32>,
    /// For each of them the share of its time in which something was sung.
    pub(super) voiced: Vec<f32>,
    /// Seconds of silence before.
    pub silence: f64,
    /// What the base model makes of the recording: a vector of length 1 ([`crate::train::embedder`]). Empty where that is not known or
    /// not to count.
    pub embedding: Vec<f32>,
}

/// Seconds from one value of a [`Query`] to the next.
pub(super) const STEP: f64 = 0.05;

/// A query longer than this many seconds is cut there.
const LONGEST: f64 = 16.0;

/// A query needs this many values with a pitch.
const FEWEST: usize = 20;

/// Pitches further than this many semitones from the middle one are no singing.
const WIDEST: f32 = 14.0;

/// Pitches that stay for a shorter time, in seconds, are none.
const SHORTEST: f64 = 0.06;

/// A pitch that moves further than this many semitones in one frame is another.
const LEAP: f32 = 4.0;

impl Query {
    /// From a pitch track. Nothing where less than a second was sung.
    pub fn new(contour: &Contour) -> Option<Self> {
        let midi = sung(contour);
        let first = midi.iter().position(Option::is_some)?;
        let last = midi.iter().rposition(Option::is_some)?;
        let count = ((((last - first) as f64 * contour.hop).min(LONGEST)) / STEP) as usize;
        let (mut pitch, mut voiced) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for i in 0..count {
            let at = |i: usize| first + (i as f64 * STEP / contour.hop) as usize;
            let frames = &midi[at(i)..at(i + 1).min(midi.len())];
            let mut here: Vec<f32> = frames.iter().flatten().copied().collect();
            voiced.push(here.len() as f32 / frames.len().max(1) as f32);
            pitch.push(if here.is_empty() { *pitch.last()? } else { middle(&mut here) });
        }
        let enough = voiced.iter().filter(|share| **share > 0.0).count() >= FEWEST;
        let silence = first as f64 * contour.hop;
        enough.then_some(Self { pitch, voiced, silence, embedding: Vec::new() })
    }

    /// Seconds.
    pub fn seconds(&self) -> f64 {
        self.pitch.len() as f64 * STEP
    }

    /// The query as it would be had it been sung `tempo` times slower, every `step` seconds, less its mean.
    pub(super) fn stretched(&self, tempo: f64, step: f64) -> Vec<f32> {
        let count = (self.seconds() * tempo / step) as usize;
        let at = |i: usize| ((i as f64 + 0.5) * step / tempo / STEP) as usize;
        (0..count).map(|i| self.pitch[at(i).min(self.pitch.len() - 1)]).collect()
    }
}

/// The median of at least one value, the upper of two; it changes their order.
pub(super) fn middle(values: &mut [f32]) -> f32 {
    *values.select_nth_unstable_by(values.len() / 2, f32::total_cmp).1
}

/// The pitch of each frame where it belongs to the melody: hisses and consonants have none, whatever the tracker takes them for.
fn sung(contour: &Contour) -> Vec<Option<f32>> {
    let mut midi: Vec<Option<f32>> = contour.frames.iter().map(|f| f.midi().map(|m| m as f32)).collect();
    let mut all: Vec<f32> = midi.iter().flatten().copied().collect();
    if all.is_empty() {
        return midi;
    }
    let usual = middle(&mut all);
    midi.iter_mut().for_each(|m| *m = m.filter(|m| (m - usual).abs() <= WIDEST));
    let shortest = (SHORTEST / contour.hop).ceil() as usize;
    let mut runs: Vec<(usize, usize, f32)> = Vec::new();
    let mut at = 0;
    while at < midi.len() {
        let mut run = 0;
        while let Some(Some(here)) = midi.get(at + run) {
            if run > 0 && midi[at + run - 1].is_some_and(|before| (here - before).abs() > LEAP) {
                break;
            }
            run += 1;
        }
        if run < shortest {
            midi[at..at + run].fill(None);
        } else {
            let mut here: Vec<f32> = midi[at..at + run].iter().flatten().copied().collect();
            runs.push((at, run, middle(&mut here)));
        }
        at += run.max(1);
    }
    for (&(at, run, _), shift) in runs.iter().zip(octaves(&runs, contour.hop)) {
        midi[at..at + run].iter_mut().flatten().for_each(|m| *m += shift);
    }
    midi
}

/// By how many semitones each run of a pitch track is to be moved so that the tracker's octave errors are mended: the cheapest
/// way, where leaps cost what they are wide.
fn octaves(runs: &[(usize, usize, f32)], hop: f64) -> Vec<f32> {
    const SHIFTS: [f32; 3] = [0.0, 12.0, -12.0];
    // What it costs to move a run, and each second of it; leaps up to a sixth cost nothing.
    const MOVED: f32 = 1.0;
    const SECOND: f32 = 2.0;
    const FREE: f32 = 8.0;
    let mut costs = vec![[0.0_f32; 3]];
    let mut from: Vec<[usize; 3]> = Vec::new();
    for (i, &(_, len, pitch)) in runs.iter().enumerate() {
        let mut next = [0.0; 3];
        let mut came = [0; 3];
        for (k, shift) in SHIFTS.iter().enumerate() {
            let own = if k == 0 { 0.0 } else { MOVED + SECOND * len as f32 * hop as f32 };
            let before = |j: usize| {
                let leap = if i == 0 { 0.0 } else { (pitch + shift - runs[i - 1].2 - SHIFTS[j]).abs() };
                costs[i][j] + (leap - FREE).max(0.0)
            };
            let j = (0..3).fold(0, |a, b| if before(b) < before(a) { b } else { a });
            (next[k], came[k]) = (own + before(j), j);
        }
        costs.push(next);
        from.push(came);
    }
    let last = costs[runs.len()];
    let mut k = (0..3).fold(0, |a, b| if last[b] < last[a] { b } else { a });
    let mut shifts = vec![0.0; runs.len()];
    for i in (0..runs.len()).rev() {
        shifts[i] = SHIFTS[k];
        k = from[i][k];
    }
    shifts
}
