//! The head of the page: what came out.

use super::Report;
use super::escape::{duration, interval, percent};
use crate::error::counted;
use crate::picture::markup::escape;
use std::fmt::Write;

impl Report<'_> {
    pub(super) fn answer(&self, page: &mut String) {
        let _ = write!(
            page,
            "<h1>{} &middot; {}</h1>\n<p class=\"soft\">{}: ",
            escape(&self.data_name),
            escape(&self.run_name),
            escape(self.status)
        );
        let judged = self.predictions.len();
        if self.trained.is_empty() {
            let _ = write!(page, "{}", counted(judged, "clip"));
        } else {
            let _ = write!(page, "{} to train on, {judged} to judge by", counted(self.trained.len(), "clip"));
        }
        let _ = writeln!(page, ", {}, on {}.</p>", counted(self.data.classes.len(), "song"), escape(self.device));
        page.push_str("<div class=\"numbers\">");
        let mut number = |name: &str, value: String, below: String| {
            let _ = write!(page, "<div><span class=\"soft\">{name}</span><b>{value}</b><span>{below}</span></div>");
        };
        let Some(metrics) = self.metrics else {
            if let Some(last) = self.training.as_ref().and_then(|training| training.epochs.last()) {
                number("training accuracy", percent(last.train_accuracy), "on clips that it was taught".into());
                number("training loss", format!("{:.3}", last.train_loss), "likewise".into());
            }
            page.push_str(
                "</div>\n<p class=\"soft\">No clip validates, so nothing is known of clips that it was not trained on.</p>\n",
            );
            return;
        };
        let answers = metrics.answers;
        let of = |count: usize| format!("{count} of {}", metrics.clips);
        let share = |count: usize| percent(count as f64 / metrics.clips.max(1) as f64);
        let right = format!("{}; likely {}", of(metrics.right()), interval(metrics.interval));
        number("accuracy", percent(metrics.accuracy), right);
        number("baseline", percent(metrics.baseline), "always the most frequent song".into());
        number("called &ldquo;unknown&rdquo;", share(answers.unknown), of(answers.unknown));
        number("named wrong", share(answers.named_wrong), of(answers.named_wrong));
        number("named right", share(answers.named_right), of(answers.named_right));
        if let Some(balanced) = metrics.balanced_accuracy {
            number("balanced", percent(balanced), "accuracy if every song counts alike".into());
        }
        page.push_str("</div>\n");
        let judge = match (self.folds.is_empty(), self.trained.is_empty()) {
            (false, _) => "Each clip is judged by the model of the fold that was not trained on it. ",
            (true, false) => "Of the validation clips, which the model was not trained on. ",
            (true, true) => "Of all these clips. ",
        };
        let _ = writeln!(
            page,
            "<p class=\"soft\">{judge}&ldquo;Likely&rdquo; is the 95 % interval of clips that are independent of each other (Wilson); \
             clips of one person are less so, and the truth is somewhat wider.</p>"
        );
        let strangers: Vec<_> = self.predictions.iter().filter(|prediction| prediction.truth.is_none()).collect();
        if !strangers.is_empty() {
            let unknown = strangers.iter().filter(|prediction| prediction.unknown()).count();
            let _ = writeln!(
                page,
                "<p>{} of songs that the model does not know and can only call unknown: it does so with {unknown}. They do not count above.</p>",
                counted(strangers.len(), "clip")
            );
        }
    }

    /// How long training took, in a sentence.
    pub(super) fn took(&self) -> String {
        let Some(training) = &self.training else { return String::new() };
        let seconds: f64 = training.epochs.iter().map(|row| row.seconds).sum();
        format!("It took {} on {}.", duration(seconds), escape(self.device))
    }
}
