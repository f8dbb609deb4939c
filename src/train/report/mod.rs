//! The page about a run or an evaluation: one HTML file that needs nothing else but the recordings that it plays, in light or dark as the
//! reader's system is. It is written for whoever recorded the clips: the answer first, then the data, then what to listen to.

mod answer;
mod chart;
mod clips;
mod curves;
mod data;
mod escape;
mod sound;
mod tables;

pub use escape::duration;

use super::metrics::{Metrics, Prediction};
use super::tables::{EpochRow, StepRow};
use super::weights::write_whole;
use crate::Result;
use crate::data::{Clip, Dataset};
use crate::picture::markup::escape;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// All that a report tells.
pub struct Report<'a> {
    /// What the recordings are called.
    pub data_name: String,
    /// What the run or the model is called.
    pub run_name: String,
    /// How it ended: "finished", or "interrupted at step 12".
    pub status: &'a str,
    /// When the report was written, for people.
    pub written: &'a str,
    /// The device.
    pub device: &'a str,
    /// Names of the outputs.
    pub names: &'a [String],
    /// The recordings.
    pub data: &'a Dataset,
    /// Which of the recordings trained: numbers of clips. Empty where none did, or each did in another fold.
    pub trained: &'a [usize],
    /// Of the clips that were judged, where there are any.
    pub metrics: Option<&'a Metrics>,
    /// Of the clips that were judged: by a model that was not trained on them, unless it is evaluated on what it was trained on.
    pub predictions: &'a [Prediction],
    /// Of each fold of a cross-validation; its report is in the folder `fold-<number>`.
    pub folds: &'a [Metrics],
    /// How the model was trained, where this is the report of one training.
    pub training: Option<Training<'a>>,
    /// Name and value of all settings.
    pub settings: Vec<(&'a str, String)>,
    /// Where the page is to lie, so that it finds the recordings.
    pub folder: PathBuf,
    /// Whether clips are part of the page, instead of being played from where they lie.
    pub embed_audio: bool,
}

/// How a model was trained.
pub struct Training<'a> {
    /// Parameters of the network.
    pub parameters: usize,
    /// The epoch that the model was taken from.
    pub model_epoch: usize,
    /// Whether clips were varied.
    pub augment: bool,
    /// In how many keys and tempos the finished model looks at a clip.
    pub augmentations: usize,
    /// The epochs.
    pub epochs: &'a [EpochRow],
    /// The steps.
    pub steps: &'a [StepRow],
}

/// The last part of a path, for a title.
pub fn last_part(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    whole.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
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
        let title = format!("{} \u{b7} {}", self.data_name, self.run_name);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{} \u{b7} Humdinger</title>\n<style>\n{}</style></head>\n<body>\n",
            escape(&title),
            include_str!("style.css")
        );
        self.answer(&mut page);
        if !self.folds.is_empty() {
            self.fold_table(&mut page);
        }
        self.recordings(&mut page);
        if let Some(metrics) = self.metrics {
            page.push_str("<div class=\"pair\"><section>\n");
            self.songs(&mut page, metrics);
            page.push_str("</section><section>\n");
            self.confusion(&mut page, metrics);
            page.push_str("</section></div>\n");
            self.wrong_clips(&mut page);
        }
        self.examples(&mut page);
        if let Some(metrics) = self.metrics {
            self.certainty(&mut page, metrics);
            self.people(&mut page, metrics);
        }
        if let Some(training) = &self.training {
            self.training(&mut page, training);
        }
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

    /// The clip that a prediction is of.
    fn clip(&self, prediction: &Prediction) -> Option<&Clip> {
        let clips = &self.data.clips;
        clips.binary_search_by(|clip| clip.id.as_str().cmp(&prediction.id)).ok().map(|i| &clips[i])
    }

    /// The escaped name of an output.
    fn name(&self, output: usize) -> String {
        self.names.get(output).map_or(String::new(), |name| escape(name))
    }

    fn configuration(&self, page: &mut String) {
        page.push_str("<h2>Configuration</h2>\n<div class=\"scroll\"><table><tbody>");
        for (name, value) in &self.settings {
            let _ = write!(page, "<tr><td>{}</td><td class=\"wide\">{}</td></tr>", escape(name), escape(value));
        }
        page.push_str("</tbody></table></div>\n");
    }
}

#[cfg(test)]
mod tests;
