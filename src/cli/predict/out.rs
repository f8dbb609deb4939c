//! Where answers go: standard output, or a file, which a run that was broken goes on with.

use super::Format;
use crate::train::weights::write_whole;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where lines are written.
pub(super) enum To {
    Standard,
    /// A file of rows or lines, which grows by whole recordings.
    Growing {
        path: PathBuf,
        file: File,
        /// The lines of the recording at hand.
        waiting: Vec<u8>,
    },
    /// A file that is written at the end, in one piece.
    Whole {
        path: PathBuf,
        text: Vec<u8>,
    },
}

/// What a file of answers holds already.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Done {
    /// The recordings that have an answer.
    pub files: BTreeSet<String>,
    /// Whether the head of a table is there.
    pub headed: bool,
}

impl To {
    /// A file that is not there yet.
    ///
    /// # Errors
    /// Where it is there, or cannot be written.
    pub fn new_file(path: &Path, format: Format) -> Result<Self> {
        if path.exists() {
            let detail = format!("{} is there already; --skip-done goes on with it, or name another", path.display());
            return Err(Error::usage("--out", detail));
        }
        if !grows(format) {
            return Ok(Self::Whole { path: path.into(), text: Vec::new() });
        }
        let file = OpenOptions::new().append(true).create_new(true).open(path).map_err(|e| failed(path, e))?;
        Ok(Self::Growing { path: path.into(), file, waiting: Vec::new() })
    }

    /// A file that a run before this one has begun, or that is not there yet; and what it holds. A line at its end that is cut off is
    /// removed, and so is what it says of the last recording, of which that may be a part.
    ///
    /// # Errors
    /// Where it cannot be read or written, holds something else, or was written with another threshold.
    pub fn go_on(path: &Path, format: Format, head: &[String], threshold: f64) -> Result<(Self, Done)> {
        if !grows(format) {
            let detail = "goes on with a file of rows or lines; give --format csv or jsonl";
            return Err(Error::usage("--skip-done", detail));
        }
        if !path.exists() {
            return Ok((Self::new_file(path, format)?, Done::default()));
        }
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
        let (kept, done) = match format {
            Format::Csv => read_table(&bytes, head, threshold),
            _ => read_lines(&bytes, threshold),
        }
        .map_err(|detail| Error::file(path, detail))?;
        let file = OpenOptions::new().append(true).open(path).map_err(|e| failed(path, e))?;
        file.set_len(kept as u64).map_err(|e| failed(path, e))?;
        Ok((Self::Growing { path: path.into(), file, waiting: Vec::new() }, done))
    }

    /// Writes a line.
    ///
    /// # Errors
    /// Where standard output cannot be written to.
    pub fn line(&mut self, line: impl Display) -> Result<()> {
        match self {
            Self::Standard => super::super::say(line),
            Self::Growing { waiting, .. } | Self::Whole { text: waiting, .. } => {
                writeln!(waiting, "{line}").map_err(|e| Error::Data(e.to_string()))
            }
        }
    }

    /// All of a recording was said: it goes to the file in one piece, so that what is there is of whole recordings.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn recording_done(&mut self) -> Result<()> {
        let Self::Growing { path, file, waiting } = self else { return Ok(()) };
        let written = file.write_all(waiting).and_then(|()| file.flush());
        waiting.clear();
        written.map_err(|e| failed(path, e))
    }

    /// # Errors
    /// Where the file cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.recording_done()?;
        match self {
            Self::Whole { path, text } => write_whole(&path, &text),
            Self::Growing { path, file, .. } => file.sync_all().map_err(|e| failed(&path, e)),
            Self::Standard => Ok(()),
        }
    }
}

fn failed(path: &Path, e: std::io::Error) -> Error {
    Error::file(path, format!("cannot be written: {e}"))
}

/// Whether a file of this form can be added to.
fn grows(format: Format) -> bool {
    matches!(format, Format::Csv | Format::Jsonl)
}

/// The answers in a file: where each ends, of which recording it is, and its threshold.
struct Entry {
    end: usize,
    file: String,
    threshold: Option<f64>,
}

fn read_table(bytes: &[u8], head: &[String], threshold: f64) -> Result<(usize, Done), String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut record = csv::ByteRecord::new();
    let (mut entries, mut start) = (Vec::new(), 0);
    let at = head.iter().position(|column| column == "threshold");
    let mut headed = None;
    while reader.read_byte_record(&mut record).map_err(|e| format!("is no CSV: {e}"))? {
        let end = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX).min(bytes.len());
        // The last line of a run that was broken.
        if end == bytes.len() && (bytes.last() != Some(&b'\n') || record.len() != head.len()) {
            break;
        }
        let fields: Vec<String> = record.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
        if headed.is_none() {
            if fields != head {
                return Err(format!("has other columns than this command writes: {}", fields.join(",")));
            }
            (headed, start) = (Some(end), end);
            continue;
        }
        if fields.len() != head.len() {
            return Err(format!("its row of {} has {} columns instead of {}", fields[0], fields.len(), head.len()));
        }
        let threshold = at.and_then(|at| fields[at].parse().ok());
        entries.push(Entry { end, file: fields[0].clone(), threshold });
        start = end;
    }
    kept(&entries, headed.unwrap_or(0), start < bytes.len(), threshold, headed.is_some())
}

fn read_lines(bytes: &[u8], threshold: f64) -> Result<(usize, Done), String> {
    let (mut entries, mut end) = (Vec::new(), 0);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let whole = line.ends_with(b"\n");
        match serde_json::from_slice::<serde_json::Value>(line) {
            Ok(value) if whole => {
                let Some(file) = value["file"].as_str() else {
                    return Err("holds lines that are no answers of this command".into());
                };
                end += line.len();
                entries.push(Entry { end, file: file.into(), threshold: value["threshold"].as_f64() });
            }
            Err(e) if whole => return Err(format!("its line {} is no JSON: {e}", entries.len() + 1)),
            _ => break,
        }
    }
    kept(&entries, 0, end < bytes.len(), threshold, true)
}

/// How much of a file is kept, given its entries; where the end is `cut` off, nothing of the last recording.
fn kept(entries: &[Entry], start: usize, cut: bool, threshold: f64, headed: bool) -> Result<(usize, Done), String> {
    if let Some(entry) = entries.iter().find(|e| e.threshold.is_some_and(|other| (other - threshold).abs() > 1e-6)) {
        let other = entry.threshold.unwrap_or_default();
        return Err(format!("was written with the threshold {other}, and now it is {threshold}; name another file"));
    }
    // A long recording has several rows, and what is cut off may be one more of the last recording's.
    let last = entries.last().filter(|_| cut).map(|entry| entry.file.as_str());
    let whole = entries.iter().take_while(|entry| Some(entry.file.as_str()) != last);
    let (mut end, mut files) = (start, BTreeSet::new());
    for entry in whole {
        end = entry.end;
        files.insert(entry.file.clone());
    }
    Ok((end, Done { files, headed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Vec<String> {
        ["file", "prediction", "threshold"].map(String::from).to_vec()
    }

    fn of_table(text: &str) -> Result<(usize, Vec<String>), String> {
        read_table(text.as_bytes(), &head(), 0.5).map(|(kept, done)| (kept, done.files.into_iter().collect()))
    }

    #[test]
    fn what_is_cut_off_is_recognised() {
        let whole = "file,prediction,threshold\na.wav,x,0.5\n\"b,\nb.wav\",y,0.5\n";
        let all = (whole.len(), vec!["a.wav".to_string(), "b,\nb.wav".to_string()]);
        assert_eq!(of_table(whole), Ok(all.clone()));
        // What is cut off may be a further row of a long recording: nothing of the last one is kept.
        let long = format!("{whole}long.wav,x,0.5\nlong.wav,y,0.5\n");
        for cut in ["c", "c.wav,z", "c.wav,z,0.5", "\"c.w", "c.wav,\"z,0.5\n", "long.w"] {
            assert_eq!(of_table(&format!("{long}{cut}")), Ok(all.clone()), "{cut:?}");
        }
        assert_eq!(of_table(&long).map(|(kept, files)| (kept, files.len())), Ok((long.len(), 3)));
        assert_eq!(of_table("file,predic"), Ok((0, vec![])));
        assert!(of_table("file,song,threshold\n").is_err_and(|e| e.contains("other columns")));
        assert!(of_table(&format!("{whole}c.wav,z\nd.wav,z,0.5\n")).is_err_and(|e| e.contains("2 columns")));
        assert!(of_table("file,prediction,threshold\na.wav,x,0.7\n").is_err_and(|e| e.contains("threshold 0.7")));

        let lines = "{\"file\":\"a.wav\",\"threshold\":0.5}\n{\"file\":\"b.wav\",\"threshold\":0.5}\n";
        let of_lines = |text: &str| {
            read_lines(text.as_bytes(), 0.5).map(|(kept, done)| (kept, done.files.into_iter().collect::<Vec<_>>()))
        };
        let both = Ok((lines.len(), vec!["a.wav".to_string(), "b.wav".to_string()]));
        assert_eq!(of_lines(lines), both);
        let third = "{\"file\":\"c.wav\",\"threshold\":0.5}";
        assert_eq!(of_lines(&format!("{lines}{third}\n{{\"fi")), both);
        assert_eq!(of_lines(&format!("{lines}{third}\n{third}")), both);
        assert!(of_lines("no answers\n").is_err_and(|e| e.contains("line 1")));
        assert!(of_lines("{\"a\":1}\n").is_err_and(|e| e.contains("no answers")));
    }
}
