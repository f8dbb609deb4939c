//! What `humdinger train` and `humdinger folds merge` say at their end.

use super::plain;
use super::terminal::{BOLD, entry, say, styled};
use crate::Result;
use crate::train::metrics::{Metrics, Prediction, wrong};
use crate::train::report::duration;
use crate::train::run::Folds;
use crate::train::trainer::{Outcome, files};
use std::path::Path;

/// Suspicious labels that are named on the screen; a report has room for all.
const MOST_SUSPICIOUS: usize = 10;

/// How a cross-validation came out.
pub(super) fn folds_summary(folds: &Folds, out: &Path) -> Result<()> {
    let (mean, spread) = folds.accuracy;
    let mean = styled(BOLD, format!("{:.2} %", 100.0 * mean));
    let count = folds.folds.len();
    say("")?;
    entry("accuracy", format!("{mean} +- {:.2}, mean and deviation of {count} folds", 100.0 * spread))?;
    let pooled = &folds.pooled;
    let (right, clips, likely) = (pooled.right(), pooled.clips, likely(pooled));
    let calibration = pooled.calibration_error;
    entry(
        "all clips together",
        format!("{:.2} % ({right} of {clips}), {likely}, calibration error {calibration:.3}", 100.0 * pooled.accuracy),
    )?;
    balanced(pooled)?;
    entry("baseline", format!("{:.2} %, always the most frequent song", 100.0 * pooled.baseline))?;
    answers(pooled, &folds.predictions)?;
    suspicious(&folds.predictions, &folds.names)?;
    entry("report", out.join(files::REPORT).display())
}

/// How a run came out.
pub(super) fn summary(outcome: &Outcome, names: &[String], out: &Path) -> Result<()> {
    if let Some(metrics) = &outcome.metrics {
        let accuracy = styled(BOLD, format!("{:.1} %", 100.0 * metrics.accuracy));
        let (clips, likely) = (metrics.clips, likely(metrics));
        say("")?;
        entry("accuracy", format!("{accuracy} of the {clips} validation clips, {likely}, loss {:.3}", metrics.loss))?;
        balanced(metrics)?;
        entry("baseline", format!("{:.1} %, always the most frequent song", 100.0 * metrics.baseline))?;
        answers(metrics, &outcome.predictions)?;
        suspicious(&outcome.predictions, names)?;
    } else if let Some(row) = outcome.rows.last() {
        say(format!(
            "\n  training accuracy {:.1} %, loss {:.3}; nothing was held back to validate on",
            100.0 * row.train_accuracy,
            row.train_loss
        ))?;
    }
    let kept = match outcome.model_epoch {
        Some(epoch) if outcome.metrics.is_some() => format!(" (of epoch {epoch}: the lowest validation loss)"),
        _ => String::new(),
    };
    entry("training took", duration(outcome.rows.iter().map(|row| row.seconds).sum()))?;
    entry("model", format!("{}{kept}", out.join(files::MODEL).display()))?;
    entry("report", out.join(files::REPORT).display())
}

/// The interval of the accuracy, for people.
fn likely(metrics: &Metrics) -> String {
    let (low, high) = metrics.interval;
    format!("likely {:.1} to {:.1} %", 100.0 * low, 100.0 * high)
}

/// Balanced accuracy, where it is another one than accuracy.
fn balanced(metrics: &Metrics) -> Result<()> {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    match metrics.balanced_accuracy.map(percent).filter(|balanced| *balanced != percent(metrics.accuracy)) {
        Some(balanced) => {
            entry("balanced", format!("{balanced}, the mean over the songs, however many clips each has"))
        }
        None => Ok(()),
    }
}

/// What becomes of the clips where answers that are not sure enough are "unknown".
fn answers(metrics: &Metrics, predictions: &[Prediction]) -> Result<()> {
    let (answers, clips) = (metrics.answers, metrics.clips);
    // In a cross-validation each fold's model has a threshold of its own.
    let least = predictions.first().map_or(0.0, |prediction| prediction.least);
    let below = match predictions.iter().all(|prediction| prediction.least == least) {
        true => format!(" (below {:.1} %)", 100.0 * least),
        false => String::new(),
    };
    let (right, wrong, unknown) = (answers.named_right, answers.named_wrong, answers.unknown);
    entry("of them", format!("{right} of {clips} named rightly, {wrong} wrongly, {unknown} called unknown{below}"))
}

/// The clips whose labels may be wrong.
fn suspicious(predictions: &[Prediction], names: &[String]) -> Result<()> {
    let lines = suspicious_lines(predictions, names);
    lines.iter().enumerate().try_for_each(|(i, line)| entry(if i == 0 { "suspicious labels" } else { "" }, plain(line)))
}

/// A line for each of them, the surest first.
fn suspicious_lines(predictions: &[Prediction], names: &[String]) -> Vec<String> {
    let all: Vec<&Prediction> =
        wrong(predictions).into_iter().map(|i| &predictions[i]).filter(|prediction| prediction.suspicious()).collect();
    let name = |output: usize| names.get(output).map_or("", String::as_str);
    let line = |prediction: &&Prediction| {
        let (truth, best) = (prediction.truth.map_or("", name), name(prediction.best()));
        format!("{}: labelled {truth}, predicted {best} with {:.0} %", prediction.id, 100.0 * prediction.confidence())
    };
    let mut lines: Vec<String> = all.iter().take(MOST_SUSPICIOUS).map(line).collect();
    if all.len() > MOST_SUSPICIOUS {
        lines.push(format!("and {} more; the report lists and plays them", all.len() - MOST_SUSPICIOUS));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(id: &str, truth: usize, probabilities: [f64; 2]) -> Prediction {
        Prediction {
            id: id.into(),
            truth: Some(truth),
            probabilities: probabilities.to_vec(),
            least: 0.5,
            ..Prediction::default()
        }
    }

    #[test]
    fn labels_that_a_sure_answer_contradicts_are_named_the_surest_first() {
        let names = ["Rain".to_string(), "Sun".to_string()];
        let right = prediction("a.wav", 0, [0.99, 0.01]);
        let unsure = prediction("b.wav", 0, [0.3, 0.7]);
        let wrong = [prediction("c.wav", 0, [0.15, 0.85]), prediction("d.wav", 1, [0.96, 0.04])];
        assert!(suspicious_lines(&[right.clone(), unsure.clone()], &names).is_empty());
        let lines = suspicious_lines(&[&[right, unsure], &wrong[..]].concat(), &names);
        assert_eq!(
            lines,
            ["d.wav: labelled Sun, predicted Rain with 96 %", "c.wav: labelled Rain, predicted Sun with 85 %"]
        );
        let many: Vec<Prediction> = (0..13).map(|i| prediction(&format!("{i}.wav"), 0, [0.1, 0.9])).collect();
        let lines = suspicious_lines(&many, &names);
        assert_eq!((lines.len(), lines[10].as_str()), (11, "and 3 more; the report lists and plays them"));
    }
}
