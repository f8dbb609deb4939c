//! The answer for a recording, in each output format.

use super::super::plain;
use super::Format;
use super::explain::{Near, Without};
use super::out::To;
use crate::train::answer::{self, likeliest, together};
use crate::train::passages::Passage;
use crate::train::predict::WindowPrediction;
use crate::train::verdict::{Decision, Threshold, Verdict};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// The answer for one recording.
pub(super) struct Answer {
    pub file: String,
    pub verdict: Verdict,
    /// The likeliest songs with their probabilities, the likeliest first.
    pub top: Vec<(String, f64)>,
    pub windows: Vec<WindowPrediction>,
    /// How long the recording is, where all of it was read.
    pub seconds: Option<f64>,
    /// Where the answer comes from, where that was asked for.
    pub without: Vec<Without>,
    /// The recordings with the nearest embeddings, where that was asked for.
    pub nearest: Vec<Near>,
}

/// The answer for a long recording.
pub(super) struct LongAnswer {
    pub file: String,
    pub seconds: f64,
    pub passages: Vec<Passage>,
    /// The window that is surest of a song.
    pub surest: Option<WindowPrediction>,
}

impl Answer {
    /// Of all windows together: the mean over those that are not silent.
    pub fn new(file: String, windows: Vec<WindowPrediction>, seconds: Option<f64>, style: &Style<'_>) -> Self {
        let (mean, in_distribution) = together(&windows, style.names.len());
        let verdict = Verdict::of(&mean, in_distribution, style.threshold, style.names);
        let top = likeliest(&mean, style.names, style.top);
        Self { file, verdict, top, windows, seconds, without: Vec::new(), nearest: Vec::new() }
    }

    /// The object of the JSON forms.
    pub fn json(&self, style: &Style<'_>) -> serde_json::Value {
        let Self { file, verdict, top, seconds, .. } = self;
        let mut object = answer::json(file, verdict, top, style.names, style.threshold, *seconds);
        if !self.without.is_empty() {
            let part = |part: &Without| serde_json::json!({"start": part.start, "end": part.end, "confidence_without": part.confidence});
            object["explanation"] = self.without.iter().map(part).collect();
        }
        if !self.nearest.is_empty() {
            let near =
                |near: &Near| serde_json::json!({"file": near.file, "song": near.song, "distance": near.distance});
            object["nearest"] = self.nearest.iter().map(near).collect();
        }
        object
    }
}

/// The summary of a long recording.
struct Said<'a> {
    best: Option<&'a Passage>,
    decision: Decision,
    why: String,
    confidence: f64,
}

impl LongAnswer {
    /// Why nothing was found, where nothing was: what is to be said of the window that comes nearest to a song.
    fn said(&self, style: &Style<'_>) -> Said<'_> {
        let best = self.passages.iter().max_by(|a, b| a.confidence.total_cmp(&b.confidence));
        let surest = self.surest.as_ref();
        let verdict = surest
            .map(|window| Verdict::of(&window.probabilities, window.in_distribution, style.threshold, style.names));
        let (decision, why) = match (best, &verdict) {
            (Some(best), _) => (Decision::Song, passage_reason(best.confidence)),
            (None, Some(verdict)) if verdict.decision == Decision::Song => {
                (Decision::BelowThreshold, "in no passage sure enough, or spoken rather than sung".into())
            }
            (None, Some(verdict)) => (verdict.decision, verdict.reason(style.names, style.threshold)),
            (None, None) => (Decision::Silence, "there is no sound".into()),
        };
        let confidence = best.map_or_else(|| verdict.map_or(0.0, |verdict| verdict.confidence), |best| best.confidence);
        Said { best, decision, why, confidence }
    }

    /// The object of the JSON forms.
    pub fn json(&self, style: &Style<'_>) -> serde_json::Value {
        let Said { best, decision, why, confidence } = self.said(style);
        let passages: Vec<_> = self.passages.iter().map(|passage| passage_json(passage, style.names)).collect();
        serde_json::json!({
            "file": self.file,
            "prediction": best.map_or("unknown", |best| song_of(best, style.names)),
            "confidence": confidence,
            "top": answer::songs(&self.surest_songs(style)),
            "decision": decision.name(),
            "threshold": style.threshold.value,
            "reason": why,
            "seconds": self.seconds,
            "passages": passages,
        })
    }

    /// The songs that were found, each with its surest passage.
    fn surest_songs(&self, style: &Style<'_>) -> Vec<(String, f64)> {
        let mut by_output: BTreeMap<usize, f64> = BTreeMap::new();
        for passage in &self.passages {
            let confidence = by_output.entry(passage.output).or_default();
            *confidence = confidence.max(passage.confidence);
        }
        let mut order: Vec<(usize, f64)> = by_output.into_iter().collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        let name = |(output, p): (usize, f64)| (style.names.get(output).cloned().unwrap_or_default(), p);
        order.into_iter().take(style.top).map(name).collect()
    }
}

/// The object of the JSON forms for a recording that could not be read.
pub(super) fn unread_json(file: &str, why: &str, threshold: f64) -> serde_json::Value {
    serde_json::json!({
        "file": file,
        "prediction": null,
        "confidence": null,
        "top": [],
        "decision": "error",
        "threshold": threshold,
        "reason": "could not be read",
        "error": why,
    })
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
    to: To,
    headed: bool,
    /// The objects of the JSON form, which is printed as a whole.
    objects: Vec<serde_json::Value>,
}

impl<'a> Printer<'a> {
    /// Answers go there; `headed` where a table's head is there already.
    pub fn new(style: &'a Style<'a>, to: To, headed: bool) -> Self {
        Self { style, to, headed, objects: Vec::new() }
    }

    /// The answer for a recording is complete.
    ///
    /// # Errors
    /// As [`Printer::answer`].
    pub fn recording_done(&mut self) -> Result<()> {
        self.to.recording_done()
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
                self.to.line(format!("{song:<20} {:5.1} %  {file}{also}", 100.0 * answer.verdict.confidence))?;
                self.explain(answer)
            }
            Format::Csv => {
                let top = answer.top.iter().flat_map(|(song, p)| [song.clone(), format!("{p:.6}")]);
                let decision = answer.verdict.decision.name();
                let inferred = answer.windows.last().map_or(0.0, |window| window.end);
                let times = [0.0, answer.seconds.unwrap_or(inferred)].map(|seconds| format!("{seconds:.3}"));
                let end = [decision.into(), format!("{:.6}", style.threshold.value), reason, String::new()];
                let end = end.into_iter().chain(times);
                let start = [answer.file.clone(), song.into(), format!("{:.6}", answer.verdict.confidence)];
                self.csv(start.into_iter().chain(top).chain(end))
            }
            Format::Json | Format::Jsonl => self.object(answer.json(style)),
            Format::Audacity => answer.windows.iter().try_for_each(|window| self.label(&answer.file, window)),
        }
    }

    /// Where the answer comes from, below its line.
    fn explain(&mut self, answer: &Answer) -> Result<()> {
        let best = self.style.names.get(answer.verdict.best).map_or("", String::as_str);
        let confidence = answer.verdict.confidence;
        for part in &answer.without {
            let less = confidence - part.confidence;
            // As long as the share of the confidence that goes with this part.
            let bar = "#".repeat((30.0 * (less / confidence.max(1e-9)).clamp(0.0, 1.0)).round() as usize);
            let (from, to) = (clock(part.start), clock(part.end));
            let (without, best) = (100.0 * part.confidence, plain(best));
            self.to.line(format!("    without {from} to {to}: {without:5.1} % {best}  {bar}").trim_end())?;
        }
        for near in &answer.nearest {
            let (song, file) = (plain(&near.song), plain(&near.file));
            self.to.line(format!("    like {file} ({song}), distance {:.2}", near.distance))?;
        }
        Ok(())
    }

    /// That a recording could not be read, and why.
    ///
    /// # Errors
    /// As [`Printer::answer`].
    pub fn unread(&mut self, file: &str, why: &str) -> Result<()> {
        match self.style.format {
            Format::Table => self.to.line(format!("{:<20} {:>7}  {}   ({})", "not read", "-", plain(file), plain(why))),
            Format::Csv => {
                let nothing = 2 + 2 * self.style.places();
                let start = [file.to_string()].into_iter().chain(std::iter::repeat_n(String::new(), nothing));
                let threshold = format!("{:.6}", self.style.threshold.value);
                let end =
                    ["error".into(), threshold, "could not be read".into(), why.into(), String::new(), String::new()];
                self.csv(start.chain(end))
            }
            Format::Json | Format::Jsonl => self.object(unread_json(file, why, self.style.threshold.value)),
            // There is no place in time for it.
            Format::Audacity => Ok(()),
        }
    }

    /// A passage of a long recording, when it is decided; `live` where the recording still comes.
    ///
    /// # Errors
    /// As [`Printer::answer`].
    pub fn passage(&mut self, file: &str, passage: &Passage, live: bool) -> Result<()> {
        let style = self.style;
        let (song, confidence) = (song_of(passage, style.names), passage.confidence);
        match style.format {
            Format::Table => {
                let (from, to) = (clock(passage.start), clock(passage.end));
                self.to.line(format!(
                    "{:<20} {:5.1} %  {}   {from} to {to}",
                    plain(song),
                    100.0 * confidence,
                    plain(file)
                ))
            }
            Format::Csv => {
                let start = [file.to_string(), song.into(), format!("{confidence:.6}")].into_iter();
                let nothing = (2..2 * style.places()).map(|_| String::new());
                let top = [song.to_string(), format!("{confidence:.6}")].into_iter().chain(nothing);
                let (threshold, reason) = (format!("{:.6}", style.threshold.value), passage_reason(confidence));
                let times = [passage.start, passage.end].map(|seconds| format!("{seconds:.3}"));
                let end = [Decision::Song.name().into(), threshold, reason, String::new()].into_iter().chain(times);
                self.csv(start.chain(top).chain(end))
            }
            Format::Audacity => {
                let file = if style.several { format!("{}: ", plain(file)) } else { String::new() };
                let (song, percent) = (plain(song), 100.0 * confidence);
                self.to.line(format!("{:.6}\t{:.6}\t{file}{song} {percent:.0} %", passage.start, passage.end))
            }
            Format::Jsonl if live => {
                let mut object = passage_json(passage, style.names);
                object["file"] = file.into();
                object["decision"] = Decision::Song.name().into();
                object["threshold"] = style.threshold.value.into();
                object["reason"] = passage_reason(confidence).into();
                self.object(object)
            }
            Format::Json | Format::Jsonl => Ok(()),
        }
    }

    /// What is to be said of a long recording when all of it was looked at.
    ///
    /// # Errors
    /// As [`Printer::answer`].
    pub fn long(&mut self, answer: &LongAnswer, live: bool) -> Result<()> {
        let style = self.style;
        let Said { best, decision, why, confidence } = answer.said(style);
        match style.format {
            Format::Json | Format::Jsonl if !(live && best.is_some() && style.format == Format::Jsonl) => {
                self.object(answer.json(style))
            }
            Format::Table if best.is_none() => {
                let (file, length) = (plain(&answer.file), clock(answer.seconds));
                let confidence = format!("{:5.1} %", 100.0 * confidence);
                self.to.line(format!("{:<20} {confidence}  {file}   (no song in {length}: {})", "unknown", plain(&why)))
            }
            Format::Csv if best.is_none() => {
                let start = [answer.file.clone(), "unknown".into(), format!("{confidence:.6}")].into_iter();
                let nothing = (0..2 * style.places()).map(|_| String::new());
                let end = [decision.name().into(), format!("{:.6}", style.threshold.value), why, String::new()];
                let times = [0.0, answer.seconds].map(|seconds| format!("{seconds:.3}"));
                self.csv(start.chain(nothing).chain(end).chain(times))
            }
            _ => Ok(()),
        }
    }

    /// An object of the forms that consist of them.
    fn object(&mut self, object: serde_json::Value) -> Result<()> {
        if self.style.format == Format::Jsonl {
            return self.to.line(object);
        }
        self.objects.push(object);
        Ok(())
    }

    /// What is printed at the end.
    ///
    /// # Errors
    /// As [`Printer::answer`].
    pub fn finish(mut self) -> Result<()> {
        if self.style.format == Format::Json {
            self.to.line(serde_json::Value::Array(self.objects))?;
        }
        self.to.finish()
    }

    fn csv(&mut self, row: impl Iterator<Item = String>) -> Result<()> {
        let mut lines = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
        let failed = |e: csv::Error| Error::Data(format!("the answer cannot be written as CSV: {e}"));
        if !std::mem::replace(&mut self.headed, true) {
            lines.write_record(self.style.head()).map_err(failed)?;
        }
        lines.write_record(row).map_err(failed)?;
        let bytes = lines.into_inner().map_err(|e| Error::Data(e.to_string()))?;
        self.to.line(String::from_utf8_lossy(&bytes).trim_end())
    }

    fn label(&mut self, file: &str, window: &WindowPrediction) -> Result<()> {
        let style = self.style;
        let verdict = Verdict::of(&window.probabilities, window.in_distribution, style.threshold, style.names);
        let file = if style.several { format!("{}: ", plain(file)) } else { String::new() };
        let also = likeliest(&window.probabilities, style.names, style.top);
        let also: Vec<String> = also.iter().map(|(song, p)| format!("{} {:.0} %", plain(song), 100.0 * p)).collect();
        let also = if style.top > 1 { format!(" ({})", also.join(", ")) } else { String::new() };
        let (song, percent) = (plain(verdict.name(style.names)), 100.0 * verdict.confidence);
        self.to.line(format!("{:.6}\t{:.6}\t{file}{song} {percent:.0} %{also}", window.start, window.end))
    }
}

impl Style<'_> {
    /// The columns of the CSV form.
    pub fn head(&self) -> Vec<String> {
        let places = (1..=self.places()).flat_map(|k| [format!("song_{k}"), format!("probability_{k}")]);
        let start = ["file", "prediction", "confidence"].map(String::from).into_iter();
        let end = ["decision", "threshold", "reason", "error", "start", "end"].map(String::from);
        start.chain(places).chain(end).collect()
    }

    /// How many songs a row lists.
    fn places(&self) -> usize {
        self.top.min(self.names.len())
    }
}

fn song_of<'a>(passage: &Passage, names: &'a [String]) -> &'a str {
    names.get(passage.output).map_or("unknown", String::as_str)
}

fn passage_reason(confidence: f64) -> String {
    format!("{:.1} % in the surest window of the passage", 100.0 * confidence)
}

fn passage_json(passage: &Passage, names: &[String]) -> serde_json::Value {
    serde_json::json!({
        "start": passage.start,
        "end": passage.end,
        "song": song_of(passage, names),
        "confidence": passage.confidence,
    })
}

/// A time in a recording, for people: `1:02.5`, `1:02:03.4`.
fn clock(seconds: f64) -> String {
    let tenths = (10.0 * seconds).round() as u64;
    let (hours, minutes, rest) = (tenths / 36_000, tenths / 600 % 60, (tenths % 600) as f64 / 10.0);
    if hours > 0 { format!("{hours}:{minutes:02}:{rest:04.1}") } else { format!("{minutes}:{rest:04.1}") }
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
            in_distribution: 1.0,
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
            let answer = Answer::new("x.wav".into(), windows.to_vec(), None, &style(least, top));
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
