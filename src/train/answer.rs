//! The one answer for a recording, and its form for programs.

use super::predict::WindowPrediction;
use super::verdict::{Threshold, Verdict};
use serde_json::{Value as Json, json};

/// A probability for every output and how near the recording is to the training clips: the mean over the windows that are not silent.
pub fn together(windows: &[WindowPrediction], outputs: usize) -> (Vec<f64>, f64) {
    let mut mean = vec![0.0; outputs];
    // Windows of silence say nothing of the others.
    let audible = windows.iter().filter(|window| !window.is_silent());
    let count = audible.clone().count() as f64;
    let mut in_distribution = if count > 0.0 { 0.0 } else { 1.0 };
    for window in audible {
        mean.iter_mut().zip(&window.probabilities).for_each(|(sum, p)| *sum += p / count);
        in_distribution += window.in_distribution / count;
    }
    (mean, in_distribution)
}

/// The likeliest songs with their probabilities, the likeliest first.
pub fn likeliest(probabilities: &[f64], names: &[String], top: usize) -> Vec<(String, f64)> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    order.into_iter().take(top).map(|i| (names[i].clone(), probabilities[i])).collect()
}

/// What `predict --format json` says of a recording.
pub fn json(
    file: &str,
    verdict: &Verdict,
    top: &[(String, f64)],
    names: &[String],
    threshold: Threshold,
    seconds: Option<f64>,
) -> Json {
    json!({
        "file": file,
        "prediction": verdict.name(names),
        "confidence": verdict.confidence,
        "top": songs(top),
        "decision": verdict.decision.name(),
        "threshold": threshold.value,
        "reason": verdict.reason(names, threshold),
        "seconds": seconds,
    })
}

/// Songs with their probabilities.
pub fn songs(list: &[(String, f64)]) -> Vec<Json> {
    list.iter().map(|(song, p)| json!({"song": song, "probability": p})).collect()
}
