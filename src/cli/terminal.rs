//! What `humdinger train` shows on a terminal: a table that grows by a line per epoch, and a progress bar below it.

use crate::Result;
use crate::data::progress;
use crate::train::Config;
use crate::train::report::duration;
use crate::train::tables::EpochRow;
use crate::train::trainer::Watch;
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Display;
use std::time::Instant;

pub(super) const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();

/// Text in a style; where colours are not wanted, [`say`] takes it away again.
pub(super) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints a line to standard output, styled where that is a terminal.
///
/// # Errors
/// As the commands' other lines.
pub(super) fn say(line: impl Display) -> Result<()> {
    super::print_line(&mut anstream::stdout(), line)
}

/// A line of a table of names and values.
pub(super) fn entry(name: &str, value: impl Display) -> Result<()> {
    say(format!("  {DIM}{name:<18}{DIM:#} {value}"))
}

/// A progress bar on standard error where that is a terminal, a line per epoch on standard output.
pub(super) struct Terminal {
    epochs: usize,
    /// Wide enough for every number of an epoch.
    width: usize,
    headed: bool,
    bar: Option<ProgressBar>,
    /// When the first step was seen, and how many epochs were done after it.
    first: Option<(Instant, f64)>,
}

impl Terminal {
    pub fn new(config: &Config) -> Self {
        let width = config.epochs.to_string().len();
        Self { epochs: config.epochs, width, headed: false, bar: None, first: None }
    }

    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// The time that is left at the pace so far, once there is one.
    fn left(&mut self, done: f64) -> Option<f64> {
        let (start, before) = *self.first.get_or_insert_with(|| (Instant::now(), done));
        let passed = start.elapsed().as_secs_f64();
        (done > before && passed > 1.0).then(|| passed / (done - before) * (self.epochs as f64 - done))
    }
}

impl Watch for Terminal {
    fn note(&mut self, text: &str) {
        self.clear();
        if super::is_quiet() {
            return;
        }
        // What follows may be another fold, with epochs, and a pace, of its own.
        (self.headed, self.first) = (false, None);
        // A reader that has gone must not end a long training run.
        let _ = say(styled(BOLD, text));
    }

    fn step(&mut self, epoch: usize, done: usize, of: usize, loss: f32) {
        let left = self.left((epoch - 1) as f64 + done as f64 / of as f64);
        let left = left.map_or(String::new(), |seconds| format!("   {} left", duration(seconds)));
        let width = 2 * self.width + 7;
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(of as u64), progress::target());
            let looks = match progress::in_lines() {
                true => "epoch {prefix}, {pos} of {len} clips, {msg}",
                false => "{prefix} {bar:32.cyan/blue.dim} {pos}/{len} clips   {msg}",
            };
            let style = ProgressStyle::with_template(looks);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        bar.set_prefix(format!("{:>width$}", format!("{epoch}/{}", self.epochs)));
        bar.set_message(format!("loss {loss:.3}{left}"));
        bar.set_position(done as u64);
    }

    fn epoch(&mut self, row: &EpochRow, best: bool) {
        self.clear();
        if super::is_quiet() {
            return;
        }
        let width = 2 * self.width + 7;
        let validates = row.val_loss.is_some();
        if !std::mem::replace(&mut self.headed, true) {
            let validation = if validates { "   val loss   val acc" } else { "" };
            let head = format!("{:>width$}      loss       acc{validation}    learn rate      time   clips/s", "epoch");
            let _ = say(styled(BOLD, head));
        }
        let validation = match (row.val_loss, row.val_accuracy) {
            (Some(loss), Some(accuracy)) => {
                let text = format!("{loss:11.3}  {:6.1} %", 100.0 * accuracy);
                if best { styled(GOOD, text) } else { text }
            }
            _ => String::new(),
        };
        let mark = if best && validates { styled(GOOD, "  *") } else { String::new() };
        let _ = say(format!(
            "{:>width$}  {:8.3}  {:6.1} %{validation}  {:>12.2e}  {:>8}  {:8.0}{mark}",
            format!("{}/{}", row.epoch, self.epochs),
            row.train_loss,
            100.0 * row.train_accuracy,
            row.learning_rate,
            duration(row.seconds),
            row.clips_per_second
        ));
    }
}
