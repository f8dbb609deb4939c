//! Melodies that nobody knows: as many as are wanted, each like a song of its own.
//!
//! What makes songs alike is kept: a scale, a metre, notes that are repeated or move by step far more often than they leap, chord
//! notes on strong beats, phrases of two to four bars whose motifs come again (at the same place, a step higher, with another
//! ending), and a tonic at the end. The proportions are this module's own; they were taken from no collection of songs.

use super::dsp::{Dice, exp2};
use super::tunes::{Note, Tune};
use std::borrow::Cow;

/// Steps of a scale in semitones above its tonic, and how often a melody uses it.
const SCALES: [(&[i32], f64); 6] = [
    (&[0, 2, 4, 5, 7, 9, 11], 0.6),
    (&[0, 2, 4, 7, 9], 0.12),
    (&[0, 2, 3, 5, 7, 8, 10], 0.1),
    (&[0, 2, 3, 5, 7, 8, 11], 0.06),
    (&[0, 2, 4, 5, 7, 9, 10], 0.06),
    (&[0, 2, 3, 5, 7, 9, 10], 0.06),
];

/// How a bar divides: its parts in beats, which divide further.
const METRES: [(&[f64], f64); 5] =
    [(&[2.0, 2.0], 0.5), (&[3.0], 0.22), (&[1.5, 1.5], 0.13), (&[2.0], 0.1), (&[1.5, 1.5, 1.5, 1.5], 0.05)];

/// The order of a song's phrases, each letter a phrase of its own.
const FORMS: [(&str, f64); 12] = [
    ("AABA", 0.16),
    ("ABAB", 0.1),
    ("ABAC", 0.14),
    ("AABB", 0.1),
    ("ABCD", 0.08),
    ("AABC", 0.08),
    ("ABCB", 0.08),
    ("ABCA", 0.06),
    ("AAAB", 0.06),
    ("AABBA", 0.04),
    ("ABACA", 0.05),
    ("AABBCC", 0.05),
];

/// How readily a melody moves by so many steps of its scale: not at all, by one, by two, ...
const MOVES: [f64; 8] = [0.8, 1.0, 0.4, 0.2, 0.14, 0.05, 0.02, 0.05];

/// Scale degrees, counted from the tonic, and beats.
#[derive(Clone, Copy, Debug)]
struct Step {
    degree: i32,
    beats: f64,
}

type Bar = Vec<Step>;

/// Draws one of these by weight.
fn draw<'a, T: ?Sized>(of: &[(&'a T, f64)], d: &mut Dice) -> &'a T {
    let mut at = d.unit() * of.iter().map(|(_, weight)| weight).sum::<f64>();
    for &(what, weight) in of {
        at -= weight;
        if at < 0.0 {
            return what;
        }
    }
    of[of.len() - 1].0
}

/// A tune's habits.
struct Composer<'a> {
    scale: &'a [i32],
    bar: &'a [f64],
    /// The probability that a beat divides, and that it does so unevenly.
    busy: f64,
    dotted: f64,
    /// The lowest and highest degree.
    range: [i32; 2],
    /// How readily notes are repeated, and how readily the melody leaps.
    repeats: f64,
    leaps: f64,
    /// How much strong beats prefer the notes of the chord.
    chordal: f64,
}

impl Composer<'_> {
    /// Divides a stretch of a bar into notes.
    fn divide(&self, beats: f64, d: &mut Dice) -> Vec<f64> {
        let parts: &[f64] = match beats {
            3.0 if d.chance(self.dotted) => &[1.5, 0.5, 1.0],
            3.0 if d.chance(0.35) => &[2.0, 1.0],
            3.0 => &[1.0, 1.0, 1.0],
            2.0 if d.chance(self.dotted) => &[1.5, 0.5],
            2.0 if d.chance(0.12) => &[2.0],
            2.0 => &[1.0, 1.0],
            1.5 if d.chance(0.25) => &[1.5],
            1.5 if d.chance(self.busy) => &[0.5, 0.5, 0.5],
            1.5 if d.chance(0.3 * self.dotted) => &[0.75, 0.25, 0.5],
            1.5 => &[1.0, 0.5],
            1.0 if d.chance(0.5 * self.busy * self.dotted) => &[0.75, 0.25],
            1.0 if d.chance(self.busy) => &[0.5, 0.5],
            _ => return vec![beats],
        };
        if parts.len() == 1 {
            return parts.to_vec();
        }
        // What is shorter than a beat, or dotted, stays as it is.
        parts
            .iter()
            .flat_map(|&part| if part == 1.0 || part == 2.0 { self.divide(part, d) } else { vec![part] })
            .collect()
    }

    fn rhythm(&self, d: &mut Dice) -> Vec<f64> {
        self.bar.iter().flat_map(|&part| self.divide(part, d)).collect()
    }

    /// Whether a degree belongs to the chord on `root`.
    fn in_chord(&self, degree: i32, root: i32) -> bool {
        let steps = self.scale.len() as i32;
        let above = (degree - root).rem_euclid(steps);
        if steps == 5 { [0, 2, 3].contains(&above) } else { [0, 2, 4].contains(&above) }
    }

    /// The degree after `last` on the way to `aim`.
    fn next(&self, last: i32, aim: f64, root: i32, strong: bool, d: &mut Dice) -> i32 {
        let weight = |degree: i32| {
            let moved = (degree - last).unsigned_abs() as usize;
            let ready = match moved {
                0 => self.repeats,
                1 => 1.0,
                _ => self.leaps,
            };
            let off = (f64::from(degree) - aim) / 2.2;
            let chord = if self.in_chord(degree, root) { if strong { self.chordal } else { 1.3 } } else { 1.0 };
            MOVES[moved] * ready * chord * exp2(-off * off)
        };
        let candidates: Vec<(i32, f64)> = (self.range[0].max(last - 7)..=self.range[1].min(last + 7))
            .map(|degree| (degree, weight(degree)))
            .collect();
        let mut at = d.unit() * candidates.iter().map(|(_, weight)| weight).sum::<f64>();
        for &(degree, weight) in &candidates {
            at -= weight;
            if at < 0.0 {
                return degree;
            }
        }
        last.clamp(self.range[0], self.range[1])
    }

    /// Sets a rhythm to notes that go from `from` to about `to`, over the chord on `root`.
    fn sing(&self, rhythm: &[f64], from: i32, to: i32, root: i32, d: &mut Dice) -> Bar {
        let mut degree = from;
        let mut at = 0.0;
        let whole: f64 = rhythm.iter().sum();
        let each = rhythm.iter().enumerate().map(|(i, &beats)| {
            let aim = f64::from(from) + f64::from(to - from) * at / whole;
            let strong = at == 0.0 || (at % self.bar[0]) == 0.0;
            if i > 0 || d.chance(0.5) {
                degree = self.next(degree, aim, root, strong, d);
            }
            at += beats;
            Step { degree, beats }
        });
        each.collect()
    }

    /// The last bar of a phrase: on the way to `goal`, which is held.
    fn cadence(&self, from: i32, goal: i32, d: &mut Dice) -> Bar {
        let length: f64 = self.bar.iter().sum();
        let held = if self.bar.len() > 1 && d.chance(0.6) { length - self.bar[0] } else { length };
        let before = length - held;
        let way = if before > 0.0 { self.divide(before, d) } else { Vec::new() };
        let mut bar = self.sing(&way, from, goal, 0, d);
        bar.push(Step { degree: goal, beats: held });
        bar
    }

    fn moved(&self, bar: &Bar, by: i32) -> Bar {
        let inside = |step: &Step| (self.range[0]..=self.range[1]).contains(&(step.degree + by));
        let by = if bar.iter().all(inside) { by } else { 0 };
        bar.iter().map(|step| Step { degree: step.degree + by, ..*step }).collect()
    }

    /// A phrase of this many bars; `closed` where it ends on the tonic. `rhythms` are those of the song's bars so far.
    fn phrase(&self, bars: usize, from: i32, closed: bool, rhythms: &mut Vec<Vec<f64>>, d: &mut Dice) -> Vec<Bar> {
        let goal = if closed { self.home() } else { self.open_end(d) };
        let top = from + [-3, -1, 0, 2, 3, 4][d.below(6)];
        let mut phrase: Vec<Bar> = Vec::new();
        let mut last = from;
        for i in 0..bars - 1 {
            // A bar that was heard comes again, as it was or at another height; or its rhythm alone does.
            if i > 0 && d.chance(0.3) {
                let by = [-2, -1, -1, 0, 1, 1][d.below(6)];
                let again = self.moved(&phrase[d.below(i)], by);
                last = again.last().map_or(last, |step| step.degree);
                phrase.push(again);
                continue;
            }
            if rhythms.is_empty() || (rhythms.len() < 4 && d.chance(0.4)) {
                rhythms.push(self.rhythm(d));
            }
            let rhythm = rhythms[d.below(rhythms.len())].clone();
            let part = (i + 1) as f64 / bars as f64;
            let (a, b) = if part <= 0.5 { (from, top) } else { (top, goal) };
            let to = a + (f64::from(b - a) * (2.0 * part - if part <= 0.5 { 0.0 } else { 1.0 })).round() as i32;
            let root = [0, 0, 0, 3, 4, 5, 1][d.below(7)];
            let bar = self.sing(&rhythm, last, to.clamp(self.range[0], self.range[1]), root, d);
            last = bar.last().map_or(last, |step| step.degree);
            phrase.push(bar);
        }
        phrase.push(self.cadence(last, goal, d));
        phrase
    }

    /// The tonic within the range: the lower one, where there are two.
    fn home(&self) -> i32 {
        if self.range[0] <= 0 { 0 } else { self.scale.len() as i32 }
    }

    fn open_end(&self, d: &mut Dice) -> i32 {
        let steps = self.scale.len() as i32;
        let degree = if steps == 5 { [3, 1, 2, 4][d.below(4)] } else { [4, 1, 2, 4, 1, 6][d.below(6)] };
        [degree, degree - steps].into_iter().find(|e| (self.range[0]..=self.range[1]).contains(e)).unwrap_or(degree)
    }

    fn semitone(&self, degree: i32) -> i32 {
        let steps = self.scale.len() as i32;
        12 * degree.div_euclid(steps) + self.scale[degree.rem_euclid(steps) as usize]
    }
}

/// Melody number `number` of those made from `seed`: the same on every machine, whatever others are made. Its name is `Made` and
/// the number.
pub fn compose(seed: u64, number: usize) -> Tune {
    // Few are drawn again: those that hardly move, or move too far for a voice.
    let mut attempts = (0..).map(|attempt| draft(&mut Dice::new(4, [seed, number as u64, attempt]), number));
    loop {
        if let Some(tune) = attempts.next().filter(can_be_told) {
            return tune;
        }
    }
}

/// Whether a tune's beginning has at least four pitches, and the whole lies within what people sing.
fn can_be_told(tune: &Tune) -> bool {
    let sung: Vec<i32> = tune.notes.iter().filter_map(|note| note.semitone).collect();
    let mut beginning: Vec<i32> = sung.iter().take(14).copied().collect();
    beginning.sort_unstable();
    beginning.dedup();
    let (low, high) = (sung.iter().min().copied().unwrap_or(0), sung.iter().max().copied().unwrap_or(0));
    beginning.len() >= 4 && (5..=19).contains(&(high - low))
}

fn draft(d: &mut Dice, number: usize) -> Tune {
    let scale = draw(&SCALES, d);
    let bar = draw(&METRES, d);
    let steps = scale.len() as i32;
    // A tonic at the bottom, or in the middle of the range.
    let low = if d.chance(0.45) { -(d.below(2) as i32) } else { -(steps / 2) - d.below(2) as i32 };
    let composer = Composer {
        scale,
        bar,
        busy: 0.75 * d.unit() * d.unit(),
        dotted: if d.chance(0.4) { d.range(0.2, 0.7) } else { 0.05 },
        range: [low, low + steps - 2 + d.below(6) as i32],
        repeats: d.range(0.3, 1.6),
        leaps: d.range(0.4, 1.8),
        chordal: d.range(1.0, 4.0),
    };
    let form = draw(&FORMS, d);
    let length: f64 = bar.iter().sum();
    // A phrase of some eight beats, of sixteen now and then.
    let bars = ((if d.chance(0.2) { 16.0 } else { 8.0 }) / length).round().clamp(2.0, 4.0) as usize;
    let pickup = if d.chance(0.35) { 1 + d.below(2) } else { 0 };
    let mut rhythms = Vec::new();
    let mut known: Vec<(char, Vec<Bar>)> = Vec::new();
    let mut notes: Vec<Note> = Vec::new();
    for (place, letter) in form.chars().enumerate() {
        let final_phrase = place + 1 == form.len();
        let phrase = match known.iter().find(|(name, _)| *name == letter) {
            Some((_, phrase)) => {
                let mut phrase = phrase.clone();
                if final_phrase || d.chance(0.35) {
                    // The same again with another ending.
                    let last = phrase.len().checked_sub(2).and_then(|i| phrase[i].last()).map_or(0, |s| s.degree);
                    let goal = if final_phrase || d.chance(0.6) { composer.home() } else { composer.open_end(d) };
                    phrase.pop();
                    phrase.push(composer.cadence(last, goal, d));
                }
                phrase
            }
            None => {
                let span = (composer.range[1] - composer.range[0]) as usize;
                let anywhere = composer.range[0] + d.below(span + 1) as i32;
                let from = [0, 0, 2, 4, anywhere, anywhere][d.below(6)].clamp(composer.range[0], composer.range[1]);
                let closed = final_phrase || d.chance(0.35);
                let phrase = composer.phrase(bars, from, closed, &mut rhythms, d);
                known.push((letter, phrase.clone()));
                phrase
            }
        };
        let mut steps: Vec<Step> = phrase.into_iter().flatten().collect();
        if pickup > 0 {
            lead_in(&composer, pickup, &mut steps, &mut notes, d);
        }
        let to_note =
            |step: &Step| Note { semitone: Some(composer.semitone(step.degree)), beats: step.beats, phrase_end: false };
        notes.extend(steps.iter().map(to_note));
        if let Some(last) = notes.last_mut() {
            last.phrase_end = true;
        }
    }
    let tempo = 60.0 * exp2(d.range(0.6, 1.65));
    Tune { name: Cow::Owned(format!("Made{number}")), tempo, notes }
}

/// Puts an upbeat before a phrase: notes that lead to its first; the time is taken from the note before.
fn lead_in(composer: &Composer<'_>, count: usize, steps: &mut Vec<Step>, before: &mut [Note], d: &mut Dice) {
    let beats = if composer.bar[0] == 1.5 || count == 2 { 0.5 } else { 1.0 };
    if let Some(last) = before.last_mut() {
        if last.beats <= beats * count as f64 {
            return;
        }
        last.beats -= beats * count as f64;
    }
    let first = steps.first().map_or(0, |step| step.degree);
    let rising = d.chance(0.75);
    for i in 1..=count as i32 {
        let by = if count == 1 && d.chance(0.4) { 3 } else { i };
        let degree = if rising { first - by } else { first + by };
        let degree = degree.clamp(composer.range[0].min(first), composer.range[1].max(first));
        steps.insert(0, Step { degree, beats });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn melodies_are_songlike_and_differ() {
        let mut beginnings = BTreeSet::new();
        let (mut moves, mut small, mut repeated) = (0, 0, 0);
        for number in 0..1000 {
            let tune = compose(1, number);
            assert_eq!(tune.name, format!("Made{number}"));
            let sung: Vec<i32> = tune.notes.iter().filter_map(|n| n.semitone).collect();
            let span = sung.iter().max().unwrap() - sung.iter().min().unwrap();
            assert!((5..=19).contains(&span), "{number} spans {span} semitones: {tune:?}");
            let beats: f64 = tune.notes.iter().map(|n| n.beats).sum();
            assert!((12.0..=100.0).contains(&beats), "{number} has {beats} beats");
            assert!(tune.notes.iter().all(|n| n.beats >= 0.25), "{number}: {tune:?}");
            assert!((85.0..195.0).contains(&tune.tempo), "{number}: {}", tune.tempo);
            assert_eq!(sung.last().unwrap() % 12, 0, "{number} does not end at home");
            assert!(tune.phrase_starts().len() >= 4 && tune.notes.last().unwrap().phrase_end);
            let by: Vec<i32> = sung.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
            (moves, small) = (moves + by.len(), small + by.iter().filter(|&&by| by <= 2).count());
            repeated += by.iter().filter(|&&by| by == 0).count();
            let beginning = |n: &Note| (n.semitone.unwrap_or(0) - sung[0], (4.0 * n.beats) as i32);
            beginnings.insert(tune.notes.iter().take(9).map(beginning).collect::<Vec<_>>());
        }
        assert!(beginnings.len() >= 995, "{} beginnings", beginnings.len());
        let share = |count: usize| count as f64 / moves as f64;
        assert!(
            (0.6..0.9).contains(&share(small)) && (0.1..0.45).contains(&share(repeated)),
            "{small} {repeated} {moves}"
        );
    }

    #[test]
    fn a_melody_depends_on_seed_and_number_alone() {
        assert_eq!(format!("{:?}", compose(3, 14)), format!("{:?}", compose(3, 14)));
        assert_ne!(compose(3, 14).notes, compose(3, 15).notes);
        assert_ne!(compose(3, 14).notes, compose(4, 14).notes);
    }
}
