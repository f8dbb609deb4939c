//! Which songs are sung where in a long recording.
//!
//! A long recording is looked at through windows that overlap. A hum lies across several of them, and one that shows only its end
//! beside noise may well name another song. So a moment is judged by the windows that show it: what the best three quarters of them say of
//! a song, on average, is the song's score at that moment. A passage is a stretch in which one song's score is the highest of all, not
//! below [`KEPT`] of the threshold anywhere, and at least [`SOMEWHERE`] of it somewhere.
//!
//! That finds far more than is sung: models are sure of many a noise and of speech. And of a hum that windows show beside speech or noise they
//! are less sure than of the hum alone. So the pitch says where in the passage a tune is, and the model looks once more, at just that. Whether
//! it is sung is decided by what the windows say, by that look and by the pitch together ([`Passage::is_sung`]): the less of a tune there is, the surer
//! the model must be. The weights are those of a logistic regression over the passages of recordings in which it is known what is sung;
//! docs/results/passages.md has the figures.

use super::predict::WindowPrediction;
use std::collections::VecDeque;

/// The part of the threshold that a song's score keeps from a passage's beginning to its end.
pub const KEPT: f64 = 0.15;
/// The part of the threshold that it reaches somewhere in between.
pub const SOMEWHERE: f64 = 0.2;
/// The share of the windows that show a moment which count: those that are the surest of the song. Where a hum begins beside a loud noise
/// the others show more of the noise.
const BEST: f64 = 0.75;
/// What the logarithm of the tunefulness is worth, as a part of the threshold; to the tunefulness [`FAINT`] is added first.
const TUNE: f64 = 0.75;
const FAINT: f64 = 0.02;
/// The part of the threshold that the second look, and the mean of the surest window and the highest score, reach together with that.
const ENOUGH: f64 = 0.8;
/// The tunefulness below which nothing is sung, however sure the windows are.
const LEAST_TUNEFUL: f64 = 0.02;
/// Seconds of the longest passage: one that goes on is ended and begins anew, so that memory is bounded and the answer comes.
pub const LONGEST: f64 = 300.0;

/// A stretch of a recording in which one song is sung.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Passage {
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// The song, a number of the model's outputs.
    pub output: usize,
    /// The probability of the surest of its windows, the second look among them.
    pub confidence: f64,
    /// The highest score of the song at any moment of it.
    pub score: f64,
}

impl Passage {
    /// Whether it is sung, and not spoken or a noise; `tunefulness` is that of its most tuneful stretch ([`crate::melody::steady::Held::tune`]), `look` the
    /// probability of the song when the model looks at that stretch alone, and below `threshold` a single window names no song.
    pub fn is_sung(&self, tunefulness: f64, look: f64, threshold: f64) -> bool {
        let sure = (self.confidence + self.score) / 2.0 + look;
        let needed = threshold * (ENOUGH - TUNE * (FAINT + tunefulness).ln());
        tunefulness >= LEAST_TUNEFUL && sure >= needed
    }
}

/// Finds passages while the windows arrive, each passage as soon as no later window can change it.
#[derive(Clone, Debug)]
pub struct PassageFinder {
    threshold: f64,
    /// Seconds of the shortest passage that counts.
    least: f64,
    /// The windows that later moments need, in order of start.
    windows: VecDeque<WindowPrediction>,
    /// Up to where moments are judged.
    judged: f64,
    /// The passage that is going on.
    open: Option<Passage>,
}

impl PassageFinder {
    /// Passages of at least `least` seconds; below `threshold` a single window names no song.
    pub fn new(threshold: f64, least: f64) -> Self {
        Self { threshold, least, windows: VecDeque::new(), judged: 0.0, open: None }
    }

    /// Takes the next window, whose start is not before the last one's; the passages that are decided by it.
    pub fn push(&mut self, window: WindowPrediction) -> Vec<Passage> {
        // No later window shows what lies before this one.
        let found = self.judge_to(window.start);
        self.windows.push_back(window);
        found
    }

    /// The passages that are left at the recording's end.
    pub fn finish(&mut self) -> Vec<Passage> {
        let end = self.windows.iter().map(|window| window.end).fold(self.judged, f64::max);
        let mut found = self.judge_to(end);
        found.extend(self.close());
        self.windows.clear();
        found
    }

    /// Seconds from the recording's start before which nothing can belong to a passage to come.
    pub fn undecided_from(&self) -> f64 {
        self.open.map_or(self.judged, |open| open.start)
    }

    /// Judges the moments up to `to`. Between two moments at which a window begins or ends, all are alike.
    fn judge_to(&mut self, to: f64) -> Vec<Passage> {
        let mut found = Vec::new();
        while self.judged < to {
            let edges = self.windows.iter().flat_map(|window| [window.start, window.end]);
            let next = edges.filter(|&edge| edge > self.judged).fold(to, f64::min);
            let best = self.best_in(self.judged, next);
            match (&mut self.open, best) {
                (Some(open), Some(best)) if open.output == best.output && next - open.start <= LONGEST => {
                    open.end = next;
                    open.confidence = open.confidence.max(best.confidence);
                    open.score = open.score.max(best.score);
                }
                _ => {
                    found.extend(self.close());
                    self.open = best;
                }
            }
            self.judged = next;
            self.windows.retain(|window| window.end > next);
        }
        found
    }

    /// The song with the highest score from one moment to another, where it is high enough.
    fn best_in(&self, start: f64, end: f64) -> Option<Passage> {
        let showing: Vec<&WindowPrediction> =
            self.windows.iter().filter(|window| window.start <= start && window.end >= end).collect();
        let outputs = showing.first()?.probabilities.len();
        let counted = (BEST * showing.len() as f64).ceil() as usize;
        let score = |output: usize| {
            let mut all: Vec<f64> = showing.iter().map(|window| window.probabilities[output]).collect();
            all.sort_by(|a, b| b.total_cmp(a));
            all[..counted].iter().sum::<f64>() / counted as f64
        };
        let (output, score) = (0..outputs).map(|output| (output, score(output))).max_by(|a, b| a.1.total_cmp(&b.1))?;
        if score <= 0.0 || score < KEPT * self.threshold {
            return None;
        }
        let confidence = showing.iter().map(|window| window.probabilities[output]).fold(0.0, f64::max);
        Some(Passage { start, end, output, confidence, score })
    }

    /// Ends the passage that is going on; it, where it counts.
    fn close(&mut self) -> Option<Passage> {
        // What is computed from times is not exact to the last bit.
        let counts = |passage: &Passage| {
            passage.score >= SOMEWHERE * self.threshold && passage.end - passage.start >= self.least - 1e-6
        };
        self.open.take().filter(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of 8 s every 2 s, of two songs; `of` says how likely each is in a window that begins then.
    fn find(seconds: f64, least: f64, of: impl Fn(f64) -> [f64; 2]) -> Vec<Passage> {
        let mut finder = PassageFinder::new(0.9, least);
        let mut found = Vec::new();
        for i in 0..((seconds - 8.0) / 2.0) as usize + 1 {
            let start = 2.0 * i as f64;
            let probabilities = of(start).to_vec();
            found.extend(finder.push(WindowPrediction {
                start,
                end: start + 8.0,
                probabilities,
                in_distribution: 1.0,
            }));
        }
        found.extend(finder.finish());
        found
    }

    /// How much of a window from `start` on shows a hum, as probability.
    fn shown(start: f64, hum: (f64, f64)) -> f64 {
        let share = ((start + 8.0).min(hum.1) - start.max(hum.0)).max(0.0) / 8.0;
        if share >= 0.6 { 1.0 } else { 0.3 * share }
    }

    #[test]
    fn a_hum_across_windows_is_one_passage() {
        for hum in [(30.0, 38.0), (31.0, 39.0), (0.0, 8.0), (52.0, 60.0), (20.0, 45.0)] {
            let found = find(60.0, 3.0, |start| [shown(start, hum), 0.0]);
            let [passage] = found[..] else { panic!("{hum:?}: {found:?}") };
            assert!((passage.start - hum.0).abs() <= 3.0 && (passage.end - hum.1).abs() <= 3.0, "{hum:?}: {passage:?}");
            assert_eq!((passage.output, passage.confidence), (0, 1.0));
        }
    }

    #[test]
    fn a_window_that_shows_only_the_end_makes_no_second_passage() {
        let hum = (30.0, 38.0);
        let other = |start: f64| if (start - 34.0).abs() < 0.1 { 0.95 } else { 0.0 };
        let found = find(60.0, 3.0, |start| [shown(start, hum), other(start)]);
        assert!(found.len() == 1 && found[0].output == 0, "{found:?}");
        // Two songs one after the other are two.
        let found = find(60.0, 3.0, |start| [shown(start, (16.0, 26.0)), shown(start, (26.0, 36.0))]);
        assert_eq!(found.iter().map(|passage| passage.output).collect::<Vec<_>>(), [0, 1], "{found:?}");
    }

    #[test]
    fn the_less_of_a_tune_the_surer_the_windows_must_be() {
        let passage = |confidence: f64, score: f64| Passage { start: 0.0, end: 8.0, output: 0, confidence, score };
        assert!(passage(1.0, 1.0).is_sung(0.2, 1.0, 0.9) && !passage(0.9, 0.7).is_sung(0.2, 0.7, 0.9));
        assert!(passage(0.5, 0.3).is_sung(1.0, 0.4, 0.9) && !passage(0.5, 0.3).is_sung(1.0, 0.3, 0.9));
        // The look counts as much as all windows do: the one may say nothing where the other is sure, and there is a tune.
        assert!(passage(0.3, 0.2).is_sung(0.5, 1.0, 0.9) && passage(1.0, 1.0).is_sung(0.5, 0.3, 0.9));
        assert!(!passage(0.3, 0.2).is_sung(0.2, 1.0, 0.9) && !passage(1.0, 1.0).is_sung(0.2, 0.3, 0.9));
        // Another threshold asks for as much more or less; where nothing is held, nothing is sung.
        assert!(passage(0.25, 0.15).is_sung(1.0, 0.2, 0.45) && !passage(0.25, 0.15).is_sung(1.0, 0.2, 0.9));
        assert!(!passage(1.0, 1.0).is_sung(0.0, 1.0, 0.0));
    }

    #[test]
    fn the_windows_that_are_least_sure_do_not_count() {
        // One window of four shows a noise beside the hum, and is sure of nothing.
        let found =
            find(60.0, 3.0, |start| [if (start - 32.0).abs() < 0.1 { 0.0 } else { shown(start, (30.0, 40.0)) }, 0.0]);
        assert!(found.len() == 1 && found[0].score == 1.0, "{found:?}");
    }

    #[test]
    fn what_is_short_or_unsure_is_none_and_what_goes_on_is_told() {
        let hum = (30.0, 38.0);
        assert!(find(60.0, 20.0, |start| [shown(start, hum), 0.0]).is_empty());
        assert!(find(60.0, 3.0, |start| [0.15 * shown(start, hum), 0.0]).is_empty());
        assert!(find(60.0, 3.0, |_| [0.0, 0.0]).is_empty());
        let mut finder = PassageFinder::new(0.9, 3.0);
        let window =
            |start: f64| WindowPrediction { start, end: start + 8.0, probabilities: vec![1.0], in_distribution: 1.0 };
        let mut found = Vec::new();
        for i in 0..400 {
            found.extend(finder.push(window(2.0 * f64::from(i))));
            assert!(finder.windows.len() <= 5, "more than can matter");
        }
        assert_eq!((found.len(), found[0].start, found[0].end), (2, 0.0, LONGEST), "{found:?}");
        assert_eq!(finder.undecided_from(), 2.0 * LONGEST);
    }
}
