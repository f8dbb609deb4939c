//! What is counted about predictions.

use super::distribution::{TrainingDistribution, WindowOutputs, probabilities};
use super::scores::{auroc, average_precision, wilson};
use crate::data::Clip;
use serde::Serialize;
use std::collections::BTreeMap;

/// From this confidence on a wrong answer makes the label suspicious, if the model was not trained on the clip.
pub const SUSPICIOUS: f64 = 0.8;

/// One clip's prediction: a probability for every output, and the right song where that is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// The clip's name.
    pub id: String,
    /// Who sings, where that is known.
    pub person: Option<String>,
    /// The right song's number.
    pub truth: Option<usize>,
    /// A probability for every song. They add up to 1, or to less for a recording that is out of distribution.
    pub probabilities: Vec<f64>,
    /// The confidence below which the model answers "unknown".
    pub least: f64,
}

impl Prediction {
    /// The song with the highest probability: the first of several.
    pub fn best(&self) -> usize {
        argmax(&self.probabilities)
    }

    /// The highest probability.
    pub fn confidence(&self) -> f64 {
        self.probabilities.get(self.best()).copied().unwrap_or(0.0)
    }

    /// Whether the most probable song is the right one.
    pub fn right(&self) -> bool {
        self.truth == Some(self.best())
    }

    /// Whether the answer is "unknown", since the confidence is too low.
    pub fn unknown(&self) -> bool {
        // Silence is no song, however little is asked for.
        self.confidence() < self.least || self.confidence() <= 0.0
    }

    /// Whether its label is rather wrong than its answer: the model is sure of another song.
    pub fn suspicious(&self) -> bool {
        self.truth.is_some() && !self.right() && self.confidence() >= SUSPICIOUS
    }

    /// The negative logarithm of the right song's probability, in nats; 0 where the right song is not known.
    pub fn loss(&self) -> f64 {
        let truth = self.truth.and_then(|truth| self.probabilities.get(truth));
        truth.map_or(0.0, |p| -p.max(f64::MIN_POSITIVE).ln())
    }
}

/// The position of the largest value, the first of several.
pub fn argmax(values: &[f64]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = i;
        }
    }
    best
}

/// Probabilities from logits divided by `temperature`.
pub fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let highest = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let powers: Vec<f64> = logits.iter().map(|&l| (f64::from(l - highest) / temperature).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}

/// How well one song is recognised. What cannot be said, such as the recall of a song without clips, is none: null in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SongMetrics {
    /// The song.
    pub name: String,
    /// Clips of it.
    pub clips: usize,
    /// How many of its clips were predicted to be it.
    pub right: usize,
    /// Of the clips predicted to be it, the share that is; none where none is predicted.
    pub precision: Option<f64>,
    /// Of its clips, the share that was predicted to be it; none where it has none.
    pub recall: Option<f64>,
    /// The 95 % interval of the recall ([`wilson`]).
    pub interval: (f64, f64),
    /// Harmonic mean of precision and recall; 0 where no clip of it is right, none where it has none.
    pub f1: Option<f64>,
    /// Of its probability, this song against all others ([`auroc`]).
    pub auroc: Option<f64>,
    /// Likewise ([`average_precision`]).
    pub average_precision: Option<f64>,
}

/// How well one person's clips are recognised.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PersonMetrics {
    /// Who.
    pub name: String,
    /// Clips that the person sings.
    pub clips: usize,
    /// How many of them were right.
    pub right: usize,
    /// The share that was right.
    pub accuracy: f64,
    /// Its 95 % interval ([`wilson`]).
    pub interval: (f64, f64),
}

/// What becomes of the clips where the model answers "unknown" below a confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Answers {
    /// Clips whose answer is the right song.
    pub named_right: usize,
    /// Clips whose answer is another song.
    pub named_wrong: usize,
    /// Clips whose answer is "unknown".
    pub unknown: usize,
    /// Those of them that would have been right.
    pub unknown_right: usize,
}

/// How well a set of clips is recognised. Its JSON form is part of what `evaluate --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metrics {
    /// Share of clips that were right.
    pub accuracy: f64,
    /// Its 95 % interval ([`wilson`]).
    pub interval: (f64, f64),
    /// Share of clips that always naming the most frequent song would get right.
    pub baseline: f64,
    /// Number of clips.
    pub clips: usize,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Expected calibration error over ten bins of confidence: the mean distance between confidence and accuracy
    /// (Naeini et al. 2015; Guo et al. 2017).
    pub calibration_error: f64,
    /// Mean recall of the songs that have clips: accuracy, were there as many clips of each; none without clips.
    pub balanced_accuracy: Option<f64>,
    /// Mean of the songs' AUROC, of those that have one.
    pub auroc: Option<f64>,
    /// Mean of the songs' average precision, of those that have one.
    pub average_precision: Option<f64>,
    /// What is named and what is "unknown".
    pub answers: Answers,
    /// By song, in the order of the songs.
    pub songs: Vec<SongMetrics>,
    /// By person, in order of name; empty where it is not known who sings every clip.
    pub people: Vec<PersonMetrics>,
    /// `confusion[truth][prediction]`: counts. A square of the number of outputs.
    pub confusion: Vec<Vec<usize>>,
}

impl Metrics {
    /// Counts over predictions whose truth is known; `names` are all outputs' names.
    pub fn new(predictions: &[Prediction], names: &[String]) -> Self {
        let known: Vec<(usize, &Prediction)> =
            predictions.iter().filter_map(|p| p.truth.filter(|&t| t < names.len()).map(|t| (t, p))).collect();
        let clips = known.len();
        let share = |count: usize, of: usize| (of > 0).then(|| count as f64 / of as f64);
        let mut confusion = vec![vec![0; names.len()]; names.len()];
        for &(truth, prediction) in &known {
            confusion[truth][prediction.best().min(names.len() - 1)] += 1;
        }
        let right: usize = (0..names.len()).map(|i| confusion[i][i]).sum();
        let most = confusion.iter().map(|row| row.iter().sum::<usize>()).max().unwrap_or(0);
        let song = |(i, name): (usize, &String)| {
            let (hits, of): (usize, usize) = (confusion[i][i], confusion[i].iter().sum());
            let precision = share(hits, confusion.iter().map(|row| row[i]).sum());
            let recall = share(hits, of);
            let f1 = |(p, r): (f64, f64)| if hits == 0 { 0.0 } else { 2.0 * p * r / (p + r) };
            let score =
                |&(truth, p): &(usize, &Prediction)| (p.probabilities.get(i).copied().unwrap_or(0.0), truth == i);
            let scores: Vec<(f64, bool)> = known.iter().map(score).collect();
            SongMetrics {
                name: name.clone(),
                clips: of,
                right: hits,
                precision,
                recall,
                interval: wilson(hits, of),
                f1: recall.map(|recall| f1((precision.unwrap_or(0.0), recall))),
                auroc: auroc(&scores),
                average_precision: average_precision(&scores),
            }
        };
        let songs: Vec<SongMetrics> = names.iter().enumerate().map(song).collect();
        let loss = known.iter().map(|(_, p)| p.loss()).sum::<f64>() / clips.max(1) as f64;
        let pairs: Vec<(f64, bool)> = known.iter().map(|(_, p)| (p.confidence(), p.right())).collect();
        let mean = |value: &dyn Fn(&SongMetrics) -> Option<f64>| {
            let values: Vec<f64> = songs.iter().filter_map(value).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        Self {
            accuracy: share(right, clips).unwrap_or(0.0),
            interval: wilson(right, clips),
            baseline: share(most, clips).unwrap_or(0.0),
            clips,
            loss,
            calibration_error: calibration_error(&pairs),
            balanced_accuracy: mean(&|song| song.recall),
            auroc: mean(&|song| song.auroc),
            average_precision: mean(&|song| song.average_precision),
            answers: Answers::new(known.iter().map(|&(_, prediction)| prediction)),
            people: people(&known),
            songs,
            confusion,
        }
    }

    /// How many clips were right.
    pub fn right(&self) -> usize {
        self.songs.iter().map(|song| song.right).sum()
    }
}

impl Answers {
    fn new<'a>(predictions: impl Iterator<Item = &'a Prediction>) -> Self {
        let mut answers = Self::default();
        for prediction in predictions {
            match (prediction.unknown(), prediction.right()) {
                (false, true) => answers.named_right += 1,
                (false, false) => answers.named_wrong += 1,
                (true, right) => {
                    answers.unknown += 1;
                    answers.unknown_right += usize::from(right);
                }
            }
        }
        answers
    }
}

/// Counts by person, where every clip has one.
fn people(known: &[(usize, &Prediction)]) -> Vec<PersonMetrics> {
    let mut counts = BTreeMap::<&str, (usize, usize)>::new();
    for (_, prediction) in known {
        let Some(person) = &prediction.person else { return Vec::new() };
        let (clips, right) = counts.entry(person).or_default();
        (*clips, *right) = (*clips + 1, *right + usize::from(prediction.right()));
    }
    let person = |(name, (clips, right)): (&str, (usize, usize))| PersonMetrics {
        name: name.to_string(),
        clips,
        right,
        accuracy: right as f64 / clips as f64,
        interval: wilson(right, clips),
    };
    counts.into_iter().map(person).collect()
}

/// The wrong predictions' numbers, the most confident first.
pub fn wrong(predictions: &[Prediction]) -> Vec<usize> {
    let mut wrong: Vec<usize> =
        (0..predictions.len()).filter(|&i| predictions[i].truth.is_some() && !predictions[i].right()).collect();
    wrong.sort_by(|&a, &b| predictions[b].confidence().total_cmp(&predictions[a].confidence()));
    wrong
}

/// Expected calibration error over ten equal bins of confidence, of pairs (confidence, right).
pub fn calibration_error(pairs: &[(f64, bool)]) -> f64 {
    let mut bins = [(0.0, 0.0); 10];
    for &(confidence, right) in pairs {
        let bin = &mut bins[((confidence * 10.0) as usize).min(9)];
        bin.0 += confidence;
        bin.1 += f64::from(u8::from(right));
    }
    bins.iter().map(|(confidence, right)| (confidence - right).abs()).sum::<f64>() / pairs.len().max(1) as f64
}

/// Of each clip: the network's outputs for its windows, and the right song.
pub type ClipTruth = (Vec<WindowOutputs>, usize);

/// The predictions for clips, given the outputs for each of them.
pub fn predictions<'a>(
    clips: impl Iterator<Item = &'a Clip>,
    outputs: &[ClipTruth],
    temperature: f64,
    distribution: Option<&TrainingDistribution>,
) -> Vec<Prediction> {
    let predict = |(clip, (windows, truth)): (&Clip, &ClipTruth)| Prediction {
        id: clip.id.clone(),
        person: clip.person.clone(),
        truth: Some(*truth),
        probabilities: probabilities(windows, temperature, distribution),
        least: 0.0,
    };
    clips.zip(outputs).map(predict).collect()
}

/// The temperature between 1/20 and 20 under which the right songs are most probable: golden-section search over its
/// logarithm (temperature scaling, Guo et al. 2017). 1 without clips.
pub fn fit_temperature(clips: &[ClipTruth]) -> f64 {
    if clips.is_empty() {
        return 1.0;
    }
    let cost = |log: f64| -> f64 {
        let loss = |(windows, truth): &ClipTruth| {
            -probabilities(windows, log.exp(), None).get(*truth).copied().unwrap_or(1.0).max(1e-300).ln()
        };
        clips.iter().map(loss).sum()
    };
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (-(20f64.ln()), 20f64.ln());
    let (mut a, mut b) = (high - golden * (high - low), low + golden * (high - low));
    let (mut cost_a, mut cost_b) = (cost(a), cost(b));
    while high - low > 1e-4 {
        if cost_a < cost_b {
            (high, b, cost_b) = (b, a, cost_a);
            a = high - golden * (high - low);
            cost_a = cost(a);
        } else {
            (low, a, cost_a) = (a, b, cost_b);
            b = low + golden * (high - low);
            cost_b = cost(b);
        }
    }
    ((low + high) / 2.0).exp()
}

/// The confidence below which "unknown" is the answer: what all but one in twenty of the right predictions reach, between
/// chance and 0.9. 0 without a right prediction.
pub fn unknown_threshold(predictions: &[Prediction]) -> f64 {
    let mut confidences: Vec<f64> = predictions.iter().filter(|p| p.right()).map(Prediction::confidence).collect();
    confidences.sort_by(f64::total_cmp);
    let chance = 1.0 / predictions.first().map_or(1, |p| p.probabilities.len().max(1)) as f64;
    confidences.get(confidences.len() / 20).map_or(0.0, |c| c.clamp(chance.min(0.9), 0.9))
}

/// Mean and sample standard deviation (0 for fewer than two values).
pub fn mean_and_spread(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n.max(1.0);
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, if values.len() < 2 { 0.0 } else { (squares / (n - 1.0)).sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(truth: usize, probabilities: &[f64]) -> Prediction {
        Prediction { truth: Some(truth), probabilities: probabilities.to_vec(), ..Prediction::default() }
    }

    #[test]
    fn metrics_of_a_small_case_by_hand() {
        let names: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        let predictions = [
            prediction(0, &[0.8, 0.1, 0.1]),
            prediction(0, &[0.2, 0.7, 0.1]),
            prediction(1, &[0.1, 0.8, 0.1]),
            prediction(0, &[0.6, 0.2, 0.2]),
        ];
        let metrics = Metrics::new(&predictions, &names);
        assert_eq!((metrics.accuracy, metrics.baseline, metrics.clips), (0.75, 0.75, 4));
        assert_eq!(metrics.confusion, [[2, 1, 0], [0, 1, 0], [0, 0, 0]]);
        assert_eq!((metrics.songs[0].precision, metrics.songs[0].recall), (Some(1.0), Some(2.0 / 3.0)));
        assert!((metrics.songs[0].f1.unwrap_or_default() - 0.8).abs() < 1e-12);
        assert_eq!((metrics.songs[1].precision, metrics.songs[1].recall), (Some(0.5), Some(1.0)));
        let absent = &metrics.songs[2];
        assert_eq!((absent.clips, absent.f1, absent.recall, absent.precision), (0, None, None, None));
        assert_eq!((absent.auroc, absent.average_precision), (None, None));
        // Of the songs that have clips: recalls 2/3 and 1.
        assert!(metrics.balanced_accuracy.is_some_and(|balanced| (balanced - 5.0 / 6.0).abs() < 1e-12));
        // Song a scores 0.8, 0.2, 0.6 in its clips and 0.1 in the other; b 0.8 in its own and 0.1, 0.7, 0.2 in others.
        assert_eq!((metrics.auroc, metrics.average_precision), (Some(1.0), Some(1.0)));
        assert!(metrics.people.is_empty(), "who sings is not known");
        let loss = -(0.8f64.ln() + 0.2f64.ln() + 0.8f64.ln() + 0.6f64.ln()) / 4.0;
        assert!((metrics.loss - loss).abs() < 1e-12);
        // Bins 0.6 (right), 0.7 (wrong), 0.8 (both right).
        assert!((metrics.calibration_error - (0.4 + 0.7 + 0.4) / 4.0).abs() < 1e-12);
    }

    #[test]
    fn people_and_unknown_answers_by_hand() {
        let names: Vec<String> = ["a", "b"].map(String::from).to_vec();
        let of =
            |person: &str, p: [f64; 2]| Prediction { person: Some(person.into()), least: 0.65, ..prediction(0, &p) };
        let predictions = [of("S2", [0.9, 0.1]), of("S1", [0.2, 0.8]), of("S1", [0.6, 0.4]), of("S1", [0.4, 0.6])];
        let metrics = Metrics::new(&predictions, &names);
        let counts = |person: &PersonMetrics| (person.name.clone(), person.right, person.clips);
        assert_eq!(metrics.people.iter().map(counts).collect::<Vec<_>>(), [("S1".into(), 1, 3), ("S2".into(), 1, 1)]);
        assert_eq!(metrics.answers, Answers { named_right: 1, named_wrong: 1, unknown: 2, unknown_right: 1 });
        assert_eq!(wrong(&predictions), [1, 3], "the surest first");
        let silence = Prediction { least: 0.0, ..prediction(0, &[0.0, 0.0]) };
        assert!(silence.unknown());
    }

    #[test]
    fn temperature_undoes_a_scale() {
        // Logits whose softmax is the truth: 3 of 4 such clips are song 0. Scaled by 5, the temperature must be 5.
        let logits = vec![5.0 * 3f32.ln(), 0.0];
        let inferred = WindowOutputs { logits, embedding: Vec::new() };
        let clips: Vec<ClipTruth> = [0, 0, 0, 1].map(|truth| (vec![inferred.clone()], truth)).to_vec();
        assert!((fit_temperature(&clips) - 5.0).abs() < 0.01, "{}", fit_temperature(&clips));
    }

    #[test]
    fn the_threshold_is_reached_by_most_right_predictions() {
        let predictions: Vec<Prediction> =
            (1..=40).map(|i| prediction(0, &[0.5 + f64::from(i) / 100.0, 0.1])).collect();
        assert_eq!(unknown_threshold(&predictions), 0.53);
        assert_eq!(unknown_threshold(&[prediction(1, &[0.01, 0.99])]), 0.9);
        assert_eq!(unknown_threshold(&[prediction(1, &[0.1, 0.4])]), 0.5);
        assert_eq!(unknown_threshold(&[]), 0.0);
        assert_eq!(mean_and_spread(&[1.0, 3.0]), (2.0, 2f64.sqrt()));
    }
}
