//! The run's report: one HTML file that needs nothing else, in light or dark as the reader's system is.

mod chart;
mod image;
mod tables;

pub use image::Spectrogram;

use super::config::Config;
use super::metrics::{Metrics, Prediction};
use super::tables::{EpochRow, StepRow};
use super::weights::write_whole;
use crate::Result;
use crate::data::labels::LeftOut;
use chart::{Chart, Line};
use std::fmt::Write;
use std::path::Path;

/// The most clips that are shown with a spectrogram.
pub const MOST_SHOWN: usize = 24;

/// All that a report tells.
pub struct Report<'a> {
    /// What the run did.
    pub config: &'a Config,
    /// How it ended: "finished", or "interrupted at step 12".
    pub status: &'a str,
    /// When the report was written, for people.
    pub written: &'a str,
    /// The device.
    pub device: &'a str,
    /// Training clips and the people who sing them, 0 where they are not known.
    pub train: (usize, usize),
    /// Validation clips and their people.
    pub validation: (usize, usize),
    /// Parameters of the network.
    pub parameters: usize,
    /// The epoch that the model was taken from.
    pub model_epoch: usize,
    /// Names of the outputs.
    pub names: &'a [String],
    /// The epochs.
    pub epochs: &'a [EpochRow],
    /// The steps.
    pub steps: &'a [StepRow],
    /// Of the validation clips, where there are any.
    pub metrics: Option<&'a Metrics>,
    /// Of each fold of a cross-validation; its report is in the folder `fold-<number>`.
    pub folds: &'a [Metrics],
    /// Of the validation clips.
    pub predictions: &'a [Prediction],
    /// Fitted temperature and the threshold of "unknown", where there is one model.
    pub confidence: Option<(f64, f64)>,
    /// Pictures of clips that the model got wrong: the number of the prediction, and the picture.
    pub pictures: &'a [(usize, Spectrogram)],
    /// Files that were not used.
    pub left_out: &'a [LeftOut],
    /// What had to be repaired.
    pub warnings: &'a [String],
}

/// The wrong predictions to show, the most confident first.
pub fn worst(predictions: &[Prediction]) -> Vec<usize> {
    let mut wrong: Vec<usize> = (0..predictions.len()).filter(|&i| !predictions[i].right()).collect();
    wrong.sort_by(|&a, &b| predictions[b].confidence().total_cmp(&predictions[a].confidence()));
    wrong.truncate(MOST_SHOWN);
    wrong
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn percent(share: f64) -> String {
    format!("{:.1}&nbsp;%", 100.0 * share)
}

/// A whole number with its thousands apart.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join("&#8239;")
}

impl Report<'_> {
    /// Writes the page, in one piece or not at all.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_whole(path, self.html().as_bytes())
    }

    /// The page.
    pub fn html(&self) -> String {
        let title = format!("Humdinger: {}", self.config.recipe);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{title}</title>\n<style>\n{}</style></head>\n<body>\n",
            include_str!("style.css")
        );
        self.head(&mut page);
        if !self.steps.is_empty() {
            self.curves(&mut page);
        }
        if !self.folds.is_empty() {
            self.fold_table(&mut page);
        }
        if let Some(metrics) = self.metrics {
            page.push_str("<div class=\"pair\"><section>\n");
            self.songs(&mut page, metrics);
            page.push_str("</section><section>\n");
            self.confusion(&mut page, metrics);
            page.push_str("</section></div>\n");
            self.wrong_clips(&mut page);
        }
        self.data(&mut page);
        self.configuration(&mut page);
        let _ = writeln!(
            page,
            "<footer class=\"soft\">Written by humdinger {} on {}.</footer>",
            env!("CARGO_PKG_VERSION"),
            escape(self.written)
        );
        page.push_str("</body></html>\n");
        page
    }

    fn head(&self, page: &mut String) {
        let people = |n: usize| if n > 0 { format!(" of {n} people") } else { String::new() };
        let (train, validation) = (self.train, self.validation);
        let _ = write!(
            page,
            "<h1>Humdinger &middot; {}</h1>\n<p class=\"soft\">{}: ",
            self.config.recipe,
            escape(self.status)
        );
        if self.folds.is_empty() {
            let _ = write!(
                page,
                "{} training clips{}, {} validation clips{}",
                train.0,
                people(train.1),
                validation.0,
                people(validation.1)
            );
        } else {
            let _ = write!(page, "{} clips{}", train.0, people(train.1));
        }
        let _ = writeln!(page, ", {} songs, on {}</p>", self.names.len(), escape(self.device));
        page.push_str("<div class=\"numbers\">");
        let mut number = |name: &str, value: String| {
            let _ = write!(page, "<div><span class=\"soft\">{name}</span><b>{value}</b></div>");
        };
        match self.metrics {
            Some(metrics) => {
                number("accuracy", percent(metrics.accuracy));
                number("baseline", percent(metrics.baseline));
                number("loss", format!("{:.3}", metrics.loss));
                number("calibration error", format!("{:.3}", metrics.calibration_error));
            }
            None => {
                if let Some(last) = self.epochs.last() {
                    number("training accuracy", percent(last.train_accuracy));
                    number("training loss", format!("{:.3}", last.train_loss));
                }
            }
        }
        // A cross-validation has neither one network nor one training.
        if !self.epochs.is_empty() {
            number("parameters", thousands(self.parameters));
            number("training took", duration(self.epochs.iter().map(|row| row.seconds).sum()));
        }
        page.push_str("</div>\n");
        if self.metrics.is_some() {
            page.push_str(
                "<p class=\"soft\">Of the validation clips. The baseline always names the most frequent song.</p>\n",
            );
        } else {
            page.push_str("<p class=\"soft\">No clip validates, so nothing is known of clips it has not heard.</p>\n");
        }
    }

    fn curves(&self, page: &mut String) {
        let by_epoch = |value: &dyn Fn(&EpochRow) -> Option<f64>| -> Vec<(f64, f64)> {
            self.epochs.iter().filter_map(|row| Some((row.epoch as f64, value(row)?))).collect()
        };
        let pair = |train: &dyn Fn(&EpochRow) -> Option<f64>, val: &dyn Fn(&EpochRow) -> Option<f64>| {
            let mut lines = vec![Line { class: "one", name: "training", points: by_epoch(train) }];
            let points = by_epoch(val);
            if !points.is_empty() {
                lines.push(Line { class: "two", name: "validation", points });
            }
            lines
        };
        let baseline = self.metrics.map(|metrics| ("baseline", metrics.baseline));
        let kept = self.metrics.map(|_| ("model kept", self.model_epoch as f64));
        let per_epoch = |row: &&StepRow| row.step as f64;
        let charts = [
            Chart {
                title: "Loss",
                x_name: "epoch",
                lines: pair(&|row| Some(row.train_loss), &|row| row.val_loss),
                rule: None,
                range: None,
                percent: false,
                mark: kept,
            },
            Chart {
                title: "Accuracy",
                x_name: "epoch",
                lines: pair(&|row| Some(row.train_accuracy), &|row| row.val_accuracy),
                rule: baseline,
                range: Some((0.0, 1.0)),
                percent: true,
                mark: kept,
            },
            Chart {
                title: "Loss of each step",
                x_name: "step",
                lines: vec![Line {
                    class: "one",
                    name: "training",
                    points: thin(self.steps).map(|row| (per_epoch(&row), f64::from(row.loss))).collect(),
                }],
                rule: None,
                range: None,
                percent: false,
                mark: None,
            },
            Chart {
                title: "Learning rate",
                x_name: "step",
                lines: vec![Line {
                    class: "two",
                    name: "schedule",
                    points: thin(self.steps).map(|row| (per_epoch(&row), row.learning_rate)).collect(),
                }],
                rule: None,
                range: None,
                percent: false,
                mark: None,
            },
        ];
        page.push_str("<h2>Training</h2>\n<div class=\"charts\">");
        charts.iter().for_each(|chart| page.push_str(&chart.html()));
        page.push_str("</div>\n");
        if let (true, Some(last)) = (self.metrics.is_some(), self.epochs.last()) {
            let _ = writeln!(
                page,
                "<p class=\"soft\">The model kept is that of epoch {} of {}, by validation loss. Training loss is taken as \
                 the weights change{}.{}</p>",
                self.model_epoch,
                last.epoch,
                if self.config.augment { " and on varied clips" } else { "" },
                match self.config.recipe.front_end().views.len() {
                    1 => String::new(),
                    views => format!(
                        " After an epoch each clip is looked at once; the finished model, whose numbers stand above, looks \
                         at it in {views} keys and tempos."
                    ),
                }
            );
        }
    }

    fn wrong_clips(&self, page: &mut String) {
        let wrong = self.predictions.iter().filter(|p| !p.right()).count();
        if wrong == 0 {
            page.push_str("<h2>Wrong clips</h2>\n<p>None.</p>\n");
            return;
        }
        let _ = write!(page, "<h2>Wrong clips</h2>\n<p class=\"soft\">{wrong} of {}", self.predictions.len());
        if wrong > self.pictures.len() && !self.pictures.is_empty() {
            let _ = write!(page, "; the {} with the highest confidence are shown", self.pictures.len());
        }
        if self.pictures.is_empty() {
            page.push_str(if self.folds.is_empty() {
                ".</p>\n"
            } else {
                "; the reports of the folds show them.</p>\n"
            });
            return;
        }
        page.push_str(". Pitch runs upwards, and the brighter, the louder.</p>\n<div class=\"clips\">");
        for (i, picture) in self.pictures {
            let prediction = &self.predictions[*i];
            let name = |i: usize| self.names.get(i).map_or(String::new(), |name| escape(name));
            let truth = prediction.truth.unwrap_or(usize::MAX);
            let _ = write!(
                page,
                "<div class=\"card\"><span class=\"soft\">{}</span><img alt=\"spectrogram of {0}\" src=\"{}\">\
                 <div class=\"axis\"><span>0 s</span><span>{}</span><span>{} s</span></div>\
                 <span class=\"right\">{}</span>&nbsp;{:.0}&nbsp;%, heard as <span class=\"wrong\">{}</span>&nbsp;{:.0}&nbsp;%</div>",
                escape(&prediction.id),
                image::data_url(picture),
                picture.seconds / 2.0,
                picture.seconds,
                name(truth),
                100.0 * prediction.probabilities.get(truth).copied().unwrap_or(0.0),
                name(prediction.best()),
                100.0 * prediction.confidence()
            );
        }
        page.push_str("</div>\n");
    }

    fn data(&self, page: &mut String) {
        page.push_str("<h2>Left out</h2>\n");
        if self.left_out.is_empty() {
            page.push_str("<p>No file was left out.</p>\n");
        }
        for left_out in self.left_out {
            let _ = writeln!(
                page,
                "<details><summary>{}: {}</summary><p class=\"soft\">{}</p></details>",
                crate::error::counted(left_out.files.len(), "file"),
                escape(&left_out.reason),
                escape(&left_out.files.join(", "))
            );
        }
        if !self.warnings.is_empty() {
            let _ = write!(page, "<details><summary>{} warnings</summary>", self.warnings.len());
            self.warnings.iter().for_each(|w| page.push_str(&format!("<p class=\"soft\">{}</p>", escape(w))));
            page.push_str("</details>\n");
        }
    }

    fn configuration(&self, page: &mut String) {
        page.push_str("<h2>Configuration</h2>\n<div class=\"scroll\"><table><tbody>");
        let mut rows = self.config.table();
        if let Some((temperature, threshold)) = self.confidence {
            rows.push(("temperature", format!("{temperature:.3}")));
            rows.push(("unknown below", format!("{:.1} %", 100.0 * threshold)));
        }
        for (name, value) in rows {
            let _ = write!(page, "<tr><td>{name}</td><td class=\"wide\">{}</td></tr>", escape(&value));
        }
        page.push_str("</tbody></table></div>\n");
    }
}

/// At most some two thousand steps, evenly chosen, so that the page stays small.
fn thin(steps: &[StepRow]) -> impl Iterator<Item = &StepRow> {
    steps.iter().step_by(steps.len().div_ceil(2000).max(1))
}

/// A time for people.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 0.0995 => format!("{:.0} ms", 1e3 * s),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{} min {:02} s", s as u64 / 60, s as u64 % 60),
        s => format!("{} h {:02} min", s as u64 / 3600, s as u64 % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Settings;

    #[test]
    fn many_songs_are_listed_by_their_confusions() -> Result<()> {
        let names: Vec<String> = (0..tables::LARGEST_SQUARE + 1).map(|i| format!("song {i}")).collect();
        let certain = |i: usize| (0..names.len()).map(|k| if k == i { 1.0 } else { 0.0 }).collect::<Vec<f64>>();
        let heard = |truth, as_song| Prediction { id: "x".into(), truth: Some(truth), probabilities: certain(as_song) };
        let predictions = [heard(3, 4), heard(5, 6), heard(5, 6), heard(7, 7)];
        let metrics = Metrics::new(&predictions, &names);
        let config = Settings::default().resolve()?;
        let html = report(&config, &names, &metrics, &predictions).html();
        let [often, once] = ["<td>song 5</td><td>song 6</td><td>2</td>", "<td>song 3</td><td>song 4</td><td>1</td>"]
            .map(|t| html.find(t));
        assert!(often.is_some() && often < once, "{html}");
        assert!(!html.contains("class=\"confusion\""));
        Ok(())
    }

    /// A finished report with nothing in it but these.
    fn report<'a>(
        config: &'a Config,
        names: &'a [String],
        metrics: &'a Metrics,
        predictions: &'a [Prediction],
    ) -> Report<'a> {
        Report {
            config,
            status: "finished",
            written: "a day",
            device: "CPU",
            train: (3, 2),
            validation: (1, 1),
            parameters: 7,
            model_epoch: 1,
            names,
            epochs: &[],
            steps: &[],
            metrics: Some(metrics),
            folds: &[],
            predictions,
            confidence: Some((1.0, 0.3)),
            pictures: &[],
            left_out: &[],
            warnings: &[],
        }
    }

    #[test]
    fn names_cannot_break_the_page() -> Result<()> {
        let names = ["<b>A&B</b>".to_string(), "Rain".to_string()];
        let predictions = [Prediction { id: "x\"><script>.wav".into(), truth: Some(0), probabilities: vec![0.2, 0.8] }];
        let metrics = Metrics::new(&predictions, &names);
        let config = Settings::default().resolve()?;
        let picture = Spectrogram { bands: 2, frames: 2, seconds: 8.0, values: vec![0.0, 1.0, 2.0, 3.0] };
        let left_out = [LeftOut { reason: "no <song>".into(), files: vec!["a.wav".into()], harmless: false }];
        let pictures = [(0, picture)];
        let report =
            Report { pictures: &pictures, left_out: &left_out, ..report(&config, &names, &metrics, &predictions) };
        let html = report.html();
        assert!(!html.contains("<script") && !html.contains("<b>A&B"), "{html}");
        assert!(html.contains("data:image/bmp") && html.contains("1 file: no &lt;song&gt;"));
        assert!(!html.contains("http"), "the page must need nothing else");
        assert_eq!(worst(&predictions), [0]);
        assert_eq!((thousands(7), thousands(191_884)), ("7".into(), "191&#8239;884".into()));
        assert_eq!((duration(3.21), duration(75.0)), ("3.2 s".into(), "1 min 15 s".into()));
        Ok(())
    }
}
