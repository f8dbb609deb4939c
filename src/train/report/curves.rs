//! Charts: what "unknown" costs, whether confidence can be believed, how training went.

use super::chart::{Chart, Line};
use super::escape::{percent, thousands};
use super::{Report, Training};
use crate::train::metrics::{Metrics, Prediction};
use crate::train::scores::{coverage, wilson};
use crate::train::tables::{EpochRow, StepRow};
use std::fmt::Write;

impl Report<'_> {
    /// Where the threshold of "unknown" lies and what others would bring, and how often clips of a confidence are right.
    pub(super) fn certainty(&self, page: &mut String, metrics: &Metrics) {
        let known: Vec<&Prediction> = self.predictions.iter().filter(|p| p.truth.is_some()).collect();
        let pairs: Vec<(f64, bool)> = known.iter().map(|p| (p.confidence(), p.right())).collect();
        let curve = coverage(&pairs);
        if curve.is_empty() {
            return;
        }
        let answers = metrics.answers;
        let named = (answers.named_right + answers.named_wrong) as f64 / metrics.clips.max(1) as f64;
        let highest = curve.iter().map(|point| point.wrong).fold(0.0, f64::max);
        let unknown = Chart {
            title: "Unknown: answers against errors",
            x_name: "clips that get a name",
            lines: vec![Line {
                class: "two",
                name: "wrong among them",
                points: curve.iter().map(|point| (point.named, point.wrong)).collect(),
                dots: false,
            }],
            range: Some((0.0, (1.25 * highest).clamp(0.05, 1.0))),
            percent: true,
            mark: Some(("as it is set", named)),
            x_percent: true,
            ..Chart::default()
        };
        let bins = reliability(&pairs);
        let calibration = Chart {
            title: "Is confidence right?",
            x_name: "confidence",
            lines: vec![Line {
                class: "one",
                name: "share that was right",
                points: bins.iter().map(|bin| (bin.confidence, bin.right as f64 / bin.clips as f64)).collect(),
                dots: true,
            }],
            range: Some((0.0, 1.0)),
            percent: true,
            x_percent: true,
            bars: bins
                .iter()
                .map(|bin| {
                    let (low, high) = wilson(bin.right, bin.clips);
                    (bin.confidence, low, high)
                })
                .collect(),
            diagonal: Some("as it should be"),
            ..Chart::default()
        };
        page.push_str("<h2>How sure it is</h2>\n<div class=\"charts\">");
        page.push_str(&unknown.html());
        page.push_str(&calibration.html());
        page.push_str("</div>\n");
        let wrong = match answers.named_right + answers.named_wrong {
            0 => "none is named".to_string(),
            all => format!("of those with a name {} are wrong", percent(answers.named_wrong as f64 / all as f64)),
        };
        let unnamed = match answers.unknown {
            0 => String::new(),
            unknown => format!("; {} of the {unknown} that do not would have been right", answers.unknown_right),
        };
        let _ = writeln!(
            page,
            "<p class=\"soft\">{}, {} of the clips get a name, and {wrong}{unnamed}. \
             <code>predict --min-confidence</code> sets it otherwise. The calibration error is {:.3}: the mean distance between confidence \
             and the share that is right; strokes are 95 % intervals.</p>",
            self.threshold_words(),
            percent(named),
            metrics.calibration_error
        );
    }

    /// "Below 61.3 % the answer is unknown", of one model or of several.
    fn threshold_words(&self) -> String {
        let all = || self.predictions.iter().map(|prediction| prediction.least);
        let (low, high) = all().fold((f64::INFINITY, 0.0f64), |(a, b), x| (a.min(x), b.max(x)));
        match high - low < 5e-4 {
            true => format!("Below {} the answer is &ldquo;unknown&rdquo;", percent(high)),
            false => {
                format!("Below {} to {}, by fold, the answer is &ldquo;unknown&rdquo;", percent(low), percent(high))
            }
        }
    }

    /// Training curves and the network's size.
    pub(super) fn training(&self, page: &mut String, training: &Training) {
        let took = self.took();
        page.push_str("<h2>Training</h2>\n");
        if !training.steps.is_empty() {
            page.push_str("<div class=\"charts\">");
            self.charts(training).iter().for_each(|chart| page.push_str(&chart.html()));
            page.push_str("</div>\n");
        }
        let _ = write!(page, "<p class=\"soft\">{took} The network has {} parameters.", thousands(training.parameters));
        if let (true, Some(last)) = (self.metrics.is_some(), training.epochs.last()) {
            let _ = write!(
                page,
                " The model kept is that of epoch {} of {}, by validation loss. Training loss is taken as the weights change{}.{}",
                training.model_epoch,
                last.epoch,
                if training.augment { " and on varied clips" } else { "" },
                match training.augmentations {
                    1 => String::new(),
                    augmentations => format!(
                        " After an epoch each clip is looked at once; the finished model, whose numbers stand above, looks \
                         at it in {augmentations} keys and tempos."
                    ),
                }
            );
        }
        page.push_str("</p>\n");
    }

    fn charts<'a>(&self, training: &Training<'a>) -> [Chart<'a>; 4] {
        let by_epoch = |value: &dyn Fn(&EpochRow) -> Option<f64>| -> Vec<(f64, f64)> {
            training.epochs.iter().filter_map(|row| Some((row.epoch as f64, value(row)?))).collect()
        };
        let pair = |train: &dyn Fn(&EpochRow) -> Option<f64>, val: &dyn Fn(&EpochRow) -> Option<f64>| {
            let mut lines = vec![Line { class: "one", name: "training", points: by_epoch(train), dots: false }];
            let points = by_epoch(val);
            if !points.is_empty() {
                lines.push(Line { class: "two", name: "validation", points, dots: false });
            }
            lines
        };
        let kept = self.metrics.map(|_| ("model kept", training.model_epoch as f64));
        let by_step = |class, name, value: &dyn Fn(&StepRow) -> f64| {
            let points = thin(training.steps).map(|row| (row.step as f64, value(row))).collect();
            vec![Line { class, name, points, dots: false }]
        };
        [
            Chart {
                title: "Loss",
                x_name: "epoch",
                lines: pair(&|row| Some(row.train_loss), &|row| row.val_loss),
                mark: kept,
                ..Chart::default()
            },
            Chart {
                title: "Accuracy",
                x_name: "epoch",
                lines: pair(&|row| Some(row.train_accuracy), &|row| row.val_accuracy),
                rule: self.metrics.map(|metrics| ("baseline", metrics.baseline)),
                range: Some((0.0, 1.0)),
                percent: true,
                mark: kept,
                ..Chart::default()
            },
            Chart {
                title: "Loss of each step",
                x_name: "step",
                lines: by_step("one", "training", &|row| f64::from(row.loss)),
                ..Chart::default()
            },
            Chart {
                title: "Learning rate",
                x_name: "step",
                lines: by_step("two", "schedule", &|row| row.learning_rate),
                ..Chart::default()
            },
        ]
    }
}

/// Clips of about the same confidence.
struct Bin {
    /// Their mean confidence.
    confidence: f64,
    clips: usize,
    right: usize,
}

/// The ten equal bins of the calibration error that have clips, of pairs (confidence, right).
fn reliability(pairs: &[(f64, bool)]) -> Vec<Bin> {
    let of_bin = |i: usize| -> Option<Bin> {
        let own: Vec<&(f64, bool)> = pairs.iter().filter(|pair| ((pair.0 * 10.0) as usize).min(9) == i).collect();
        let right = own.iter().filter(|pair| pair.1).count();
        let confidence = own.iter().map(|pair| pair.0).sum::<f64>() / own.len() as f64;
        (!own.is_empty()).then_some(Bin { confidence, clips: own.len(), right })
    };
    (0..10).filter_map(of_bin).collect()
}

/// At most some two thousand steps, evenly chosen, so that the page stays small.
fn thin(steps: &[StepRow]) -> impl Iterator<Item = &StepRow> {
    steps.iter().step_by(steps.len().div_ceil(2000).max(1))
}
