//! What is said of a recording, in each of the forms.

use super::super::{plain, say};
use super::Format;
use crate::train::predict::WindowPrediction;
use crate::train::verdict::{Threshold, Verdict};
use crate::{Error, Result};

/// The answer for one recording.
pub(super) struct Answer {
    pub file: String,
    pub verdict: Verdict,
    /// The likeliest songs with their probabilities, the likeliest first.
    pub top: Vec<(String, f64)>,
    pub windows: Vec<WindowPrediction>,
}

impl Answer {
    /// Of all windows together: the mean over those that are not silent.
    pub fn new(file: String, windows: Vec<WindowPrediction>, style: &Style<'_>) -> Self {
        let mut mean = vec![0.0; style.names.len()];
        // Windows of silence say nothing of the others.
        let heard = windows.iter().filter(|window| !window.is_silent());
        let count = heard.clone().count() as f64;
        let mut familiarity = if count > 0.0 { 0.0 } else { 1.0 };
        for window in heard {
            mean.iter_mut().zip(&window.probabilities).for_each(|(sum, p)| *sum += p / count);
            familiarity += window.familiarity / count;
        }
        let verdict = Verdict::of(&mean, familiarity, style.threshold);
        let top = likeliest(&mean, style.names, style.top);
        Self { file, verdict, top, windows }
    }
}

/// The likeliest songs with their probabilities, the likeliest first.
fn likeliest(probabilities: &[f64], names: &[String], top: usize) -> Vec<(String, f64)> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    order.into_iter().take(top).map(|i| (names[i].clone(), probabilities[i])).collect()
}

/// How answers are printed.
pub(super) struct Style<'a> {
    pub format: Format,
    /// Whether there is more than one recording.
    pub several: bool,
    pub names: &'a [String],
    pub threshold: Threshold,
    pub top: usize,
}

/// Prints answers one after the other.
pub(super) struct Printer<'a> {
    style: &'a Style<'a>,
    headed: bool,
    /// The objects of the JSON form, which is printed as a whole.
    objects: Vec<serde_json::Value>,
}

impl<'a> Printer<'a> {
    pub fn new(style: &'a Style<'a>) -> Self {
        Self { style, headed: false, objects: Vec::new() }
    }

    /// What was decided of a recording.
    ///
    /// # Errors
    /// Where standard output cannot be written to.
    pub fn answer(&mut self, answer: &Answer) -> Result<()> {
        let style = self.style;
        let reason = answer.verdict.reason(style.names, style.threshold);
        let song = answer.verdict.name(style.names);
        match style.format {
            Format::Table => {
                let mut also: Vec<String> = Vec::new();
                if song == "unknown" {
                    also.push(plain(&reason).into_owned());
                }
                if answer.top.len() > 1 {
                    let top = answer.top.iter().map(|(song, p)| format!("{} {:.1} %", plain(song), 100.0 * p));
                    also.push(top.collect::<Vec<_>>().join(", "));
                }
                let also = if also.is_empty() { String::new() } else { format!("   ({})", also.join("; ")) };
                let (song, file) = (plain(song), plain(&answer.file));
                say(format!("{song:<20} {:5.1} %  {file}{also}", 100.0 * answer.verdict.confidence))
            }
            Format::Csv => {
                let top = answer.top.iter().flat_map(|(song, p)| [song.clone(), format!("{p:.6}")]);
                let decision = answer.verdict.decision.name();
                let end = [decision.into(), format!("{:.6}", style.threshold.value), reason, String::new()];
                let start = [answer.file.clone(), song.into(), format!("{:.6}", answer.verdict.confidence)];
                self.csv(start.into_iter().chain(top).chain(end))
            }
            Format::Json => {
                self.objects.push(serde_json::json!({
                    "file": answer.file,
                    "prediction": song,
                    "confidence": answer.verdict.confidence,
                    "top": songs(&answer.top),
                    "decision": answer.verdict.decision.name(),
                    "threshold": style.threshold.value,
                    "reason": reason,
                }));
                Ok(())
            }
            Format::Audacity => answer.windows.iter().try_for_each(|window| self.label(&answer.file, window)),
        }
    }

    /// That a recording could not be read, and why.
    ///
    /// # Errors
    /// As [`Printer::answer`].
    pub fn unread(&mut self, file: &str, why: &str) -> Result<()> {
        match self.style.format {
            Format::Table => say(format!("{:<20} {:>7}  {}   ({})", "not read", "-", plain(file), plain(why))),
            Format::Csv => {
                let nothing = 2 + 2 * self.style.places();
                let start = [file.to_string()].into_iter().chain(std::iter::repeat_n(String::new(), nothing));
                let threshold = format!("{:.6}", self.style.threshold.value);
                self.csv(start.chain(["error".into(), threshold, "could not be read".into(), why.into()]))
            }
            Format::Json => {
                self.objects.push(serde_json::json!({
                    "file": file,
                    "prediction": null,
                    "confidence": null,
                    "top": [],
                    "decision": "error",
                    "threshold": self.style.threshold.value,
                    "reason": "could not be read",
                    "error": why,
                }));
                Ok(())
            }
            // There is no place in time for it.
            Format::Audacity => Ok(()),
        }
    }

    /// What is printed at the end.
    ///
    /// # Errors
    /// As [`Printer::answer`].
    pub fn finish(self) -> Result<()> {
        if self.style.format == Format::Json { say(serde_json::Value::Array(self.objects)) } else { Ok(()) }
    }

    fn csv(&mut self, row: impl Iterator<Item = String>) -> Result<()> {
        let mut lines = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
        let failed = |e: csv::Error| Error::Data(format!("the answer cannot be written as CSV: {e}"));
        if !std::mem::replace(&mut self.headed, true) {
            let places = (1..=self.style.places()).flat_map(|k| [format!("song_{k}"), format!("probability_{k}")]);
            let start = ["file", "prediction", "confidence"].map(String::from).into_iter();
            let end = ["decision", "threshold", "reason", "error"].map(String::from);
            lines.write_record(start.chain(places).chain(end)).map_err(failed)?;
        }
        lines.write_record(row).map_err(failed)?;
        let bytes = lines.into_inner().map_err(|e| Error::Data(e.to_string()))?;
        say(String::from_utf8_lossy(&bytes).trim_end())
    }

    fn label(&self, file: &str, window: &WindowPrediction) -> Result<()> {
        let style = self.style;
        let verdict = Verdict::of(&window.probabilities, window.familiarity, style.threshold);
        let file = if style.several { format!("{}: ", plain(file)) } else { String::new() };
        let also = likeliest(&window.probabilities, style.names, style.top);
        let also: Vec<String> = also.iter().map(|(song, p)| format!("{} {:.0} %", plain(song), 100.0 * p)).collect();
        let also = if style.top > 1 { format!(" ({})", also.join(", ")) } else { String::new() };
        let (song, percent) = (plain(verdict.name(style.names)), 100.0 * verdict.confidence);
        say(format!("{:.6}\t{:.6}\t{file}{song} {percent:.0} %{also}", window.start, window.end))
    }
}

impl Style<'_> {
    /// How many songs a row lists.
    fn places(&self) -> usize {
        self.top.min(self.names.len())
    }
}

fn songs(list: &[(String, f64)]) -> Vec<serde_json::Value> {
    list.iter().map(|(song, p)| serde_json::json!({"song": song, "probability": p})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_average_windows_and_know_their_limits() {
        let window = |start: f64, p: &[f64]| WindowPrediction {
            start,
            end: start + 8.0,
            probabilities: p.to_vec(),
            familiarity: 1.0,
        };
        let names: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        let style = |value: f64, top: usize| Style {
            format: Format::Json,
            several: false,
            names: &names,
            threshold: Threshold { value, of_model: false },
            top,
        };
        let answer = |windows: &[WindowPrediction], least: f64, top: usize| {
            let answer = Answer::new("x.wav".into(), windows.to_vec(), &style(least, top));
            (answer.verdict.name(&names).to_string(), answer.top.len(), answer.verdict.confidence, answer.top)
        };
        let windows = [window(0.0, &[0.6, 0.4, 0.0]), window(4.0, &[0.2, 0.8, 0.0])];
        let (song, count, confidence, _) = answer(&windows, 0.5, 2);
        assert!(song == "b" && count == 2 && (confidence - 0.6).abs() < 1e-12);
        let (song, count, _, top) = answer(&windows, 0.7, 9);
        assert_eq!((song.as_str(), count, top[0].0.as_str()), ("unknown", 3, "b"));
        // Silence before the song takes nothing from it, and is none.
        let silence = window(8.0, &[0.0; 3]);
        let (song, _, confidence, _) = answer(&[std::slice::from_ref(&silence), &windows[..]].concat(), 0.5, 2);
        assert!(song == "b" && (confidence - 0.6).abs() < 1e-12, "{confidence}");
        let (song, _, confidence, _) = answer(&[silence], 0.0, 2);
        assert_eq!((song.as_str(), confidence), ("unknown", 0.0));
    }
}
