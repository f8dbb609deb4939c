//! The report's tables: folds, songs, confusion.

use super::{Report, escape, percent};
use crate::train::metrics::Metrics;
use std::fmt::Write;

/// The most songs whose confusion is shown as a square.
pub(super) const LARGEST_SQUARE: usize = 60;
/// How many pairs are listed where there are more songs.
const MOST_PAIRS: usize = 40;

impl Report<'_> {
    pub(super) fn fold_table(&self, page: &mut String) {
        page.push_str(
            "<h2>Folds</h2>\n<div class=\"scroll\"><table><thead><tr><th>fold</th><th>clips</th><th>accuracy</th>\
             <th>baseline</th><th>loss</th><th>calibration error</th></tr></thead><tbody>",
        );
        for (i, fold) in self.folds.iter().enumerate() {
            let _ = write!(
                page,
                "<tr><td><a href=\"fold-{0}/report.html\">fold {0}</a></td><td>{1}</td><td>{2}</td><td>{3}</td>\
                 <td>{4:.3}</td><td>{5:.3}</td></tr>",
                i + 1,
                fold.clips,
                percent(fold.accuracy),
                percent(fold.baseline),
                fold.loss,
                fold.calibration_error
            );
        }
        page.push_str("</tbody></table></div>\n");
    }

    pub(super) fn songs(&self, page: &mut String, metrics: &Metrics) {
        page.push_str(
            "<h2>Songs</h2>\n<div class=\"scroll\"><table><thead><tr><th>song</th><th>clips</th><th>precision</th>\
             <th>recall</th><th>F1</th></tr></thead><tbody>",
        );
        for song in &metrics.songs {
            let _ = write!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{:.3}</td><td>{:.3}</td><td class=\"bar\" style=\"--share:{:.0}%\">{:.3}</td></tr>",
                escape(&song.name),
                song.clips,
                song.precision,
                song.recall,
                100.0 * song.f1,
                song.f1
            );
        }
        page.push_str("</tbody></table></div>\n");
    }

    pub(super) fn confusion(&self, page: &mut String, metrics: &Metrics) {
        if self.names.len() > LARGEST_SQUARE {
            return self.confused_pairs(page, metrics);
        }
        page.push_str(
            "<h2>Confusion</h2>\n<p class=\"soft\">A row is what was sung, a column what was heard.</p>\
             <div class=\"scroll\"><table class=\"confusion\"><thead><tr><th></th>",
        );
        for name in self.names {
            let _ = write!(page, "<th><span>{}</span></th>", escape(name));
        }
        page.push_str("</tr></thead><tbody>");
        for (truth, row) in metrics.confusion.iter().enumerate() {
            let total = row.iter().sum::<usize>().max(1);
            let sung = escape(&self.names[truth]);
            let _ = write!(page, "<tr><th>{sung}</th>");
            for (heard, &count) in row.iter().enumerate() {
                if count == 0 {
                    page.push_str("<td></td>");
                    continue;
                }
                let colour = if heard == truth { "good" } else { "bad" };
                let strength = 0.15 + 0.6 * count as f64 / total as f64;
                let _ = write!(
                    page,
                    "<td style=\"background:rgba(var(--{colour}),{strength:.2})\" title=\"{sung}, heard as {}: {count} of {total}\">{count}</td>",
                    escape(&self.names[heard])
                );
            }
            page.push_str("</tr>");
        }
        page.push_str("</tbody></table></div>\n");
    }

    /// The confusion of many songs: what happened most often.
    fn confused_pairs(&self, page: &mut String, metrics: &Metrics) {
        let mut pairs = Vec::new();
        for (truth, row) in metrics.confusion.iter().enumerate() {
            let wrong = row.iter().enumerate().filter(|&(heard, &count)| heard != truth && count > 0);
            pairs.extend(wrong.map(|(heard, &count)| (count, truth, heard)));
        }
        pairs.sort_by_key(|&(count, truth, heard)| (std::cmp::Reverse(count), truth, heard));
        page.push_str(
            "<h2>Confusion</h2>\n<div class=\"scroll\"><table><thead><tr><th>sung</th><th>heard as</th><th>clips</th></tr>\
             </thead><tbody>",
        );
        for &(count, truth, heard) in pairs.iter().take(MOST_PAIRS) {
            let (truth, heard) = (escape(&self.names[truth]), escape(&self.names[heard]));
            let _ = write!(page, "<tr><td>{truth}</td><td>{heard}</td><td>{count}</td></tr>");
        }
        page.push_str("</tbody></table></div>\n");
        if pairs.len() > MOST_PAIRS {
            let _ = writeln!(page, "<p class=\"soft\">And {} pairs more.</p>", pairs.len() - MOST_PAIRS);
        }
    }
}
