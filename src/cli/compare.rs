//! `humdinger compare`.

use super::{plain, say, warn};
use crate::train::compare::{Comparison, compare};
use crate::train::report::duration;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Hold runs against each other: settings that differ, accuracies, and the clips on which they disagree.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run folders, two at least
    #[arg(value_name = "RUN", required = true, num_args = 2..)]
    runs: Vec<PathBuf>,
    /// Print one JSON object: runs, settings_that_differ, common and disagreements
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let folders: Vec<&Path> = args.runs.iter().map(PathBuf::as_path).collect();
    let comparison = compare(&folders)?;
    if args.json {
        return say(serde_json::to_string_pretty(&comparison).map_err(|e| Error::Data(e.to_string()))?);
    }
    comparison.runs.iter().flat_map(|run| &run.notes).for_each(|note| warn(&plain(&format!("note: {note}"))));
    print(&comparison)
}

/// Columns side by side, each as wide as its longest text; the first line is the head.
fn columns(rows: &[Vec<String>]) -> Result<()> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|text| text.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
        say(format!("  {}", cells.join("  ").trim_end()))?;
    }
    Ok(())
}

fn print(comparison: &Comparison) -> Result<()> {
    let Comparison { runs, settings_that_differ, common, disagreements } = comparison;
    // Long paths would push everything else out of sight.
    let letter = |i: usize| {
        char::from_u32('A' as u32 + i as u32).filter(|_| i < 26).map_or_else(|| format!("run {}", i + 1), String::from)
    };
    let letters: Vec<String> = (0..runs.len()).map(letter).collect();
    let head = |first: &[&str]| -> Vec<String> { first.iter().map(|text| (*text).to_string()).collect() };
    let mut rows =
        vec![head(&["", "right", "accuracy", "95 % interval", "baseline", "balanced", "loss", "time", "run"])];
    for (run, letter) in runs.iter().zip(&letters) {
        let mut row = vec![letter.clone()];
        match &run.result {
            Some(result) => row.extend([
                format!("{} of {}", result.right, result.clips),
                format!("{:.2} %", 100.0 * result.accuracy),
                format!("{:.1} to {:.1} %", 100.0 * result.interval.0, 100.0 * result.interval.1),
                format!("{:.2} %", 100.0 * result.baseline),
                format!("{:.2} %", 100.0 * result.balanced_accuracy),
                result.loss.map_or("-".into(), |loss| format!("{loss:.3}")),
            ]),
            None => row.extend(std::iter::repeat_n("-".to_string(), 6)),
        }
        row.push(run.seconds.map_or("-".into(), duration));
        row.push(plain(&run.run).into_owned());
        rows.push(row);
    }
    columns(&rows)?;
    say("\nsettings that differ")?;
    let mut rows = vec![[head(&[""]), letters.clone()].concat()];
    for (name, values) in settings_that_differ {
        let values = values.iter().map(|value| value.as_deref().map_or("-".into(), |value| plain(value).into_owned()));
        rows.push(std::iter::once(name.clone()).chain(values).collect());
    }
    if settings_that_differ.is_empty() {
        say("  none")?
    } else {
        columns(&rows)?
    }
    say(format!("\nclips that all have judged: {}", common.clips))?;
    if common.clips == 0 {
        return Ok(());
    }
    for (right, letter) in common.right.iter().zip(&letters) {
        say(format!("  {letter} has {right} right"))?;
    }
    for ((first, this, chance), letter) in common.against_first.iter().zip(&letters[1..]) {
        say(format!(
            "  only {} right: {first}; only {letter} right: {this}; were both equally good, so much or more would come with probability {chance:.3}",
            letters[0]
        ))?;
    }
    say(format!("\nclips on which they disagree: {}", disagreements.len()))?;
    let mut rows = vec![[head(&["file", "song"]), letters].concat()];
    for clip in disagreements {
        let answer = |answer: &crate::train::compare::RunAnswer| {
            let mark = if answer.right { "" } else { "!" };
            format!("{mark}{} {:.0} %", plain(&answer.prediction), 100.0 * answer.confidence)
        };
        let names = [&clip.file, &clip.truth].map(|text| plain(text).into_owned());
        rows.push(names.into_iter().chain(clip.answers.iter().map(answer)).collect());
    }
    if !disagreements.is_empty() {
        columns(&rows)?;
        say("  (! is wrong)")?;
    }
    Ok(())
}
