//! The report's tables: folds, songs, people, confusion.

use super::Report;
use super::escape::{breakable, interval, percent};
use crate::picture::markup::escape;
use crate::train::metrics::{Metrics, mean_and_spread};
use std::fmt::Write;

/// The most songs whose confusion is shown as a square.
pub(super) const LARGEST_SQUARE: usize = 60;
/// How many pairs are listed where there are more songs.
const MOST_PAIRS: usize = 40;

/// A share with its interval, drawn on a line from 0 to 100 %.
fn range(at: f64, (low, high): (f64, f64)) -> String {
    let style = format!("--at:{:.1}%;--low:{:.1}%;--wide:{:.1}%", 100.0 * at, 100.0 * low, 100.0 * (high - low));
    format!("<td class=\"range\"><span style=\"{style}\" title=\"{}\"></span></td>", interval((low, high)))
}

/// The outputs that have a clip or were predicted for one: a model may know many songs of which there is nothing to tell.
fn occurring(metrics: &Metrics) -> Vec<usize> {
    let has =
        |&i: &usize| metrics.confusion[i].iter().any(|&n| n > 0) || metrics.confusion.iter().any(|row| row[i] > 0);
    (0..metrics.songs.len()).filter(has).collect()
}

/// A number, or a dash where there is none to tell.
fn or_dash(value: Option<f64>) -> String {
    value.map_or("&ndash;".into(), |value| format!("{value:.3}"))
}

impl Report<'_> {
    pub(super) fn fold_table(&self, page: &mut String) {
        let accuracies: Vec<f64> = self.folds.iter().map(|fold| fold.accuracy).collect();
        let (mean, spread) = mean_and_spread(&accuracies);
        page.push_str(
            "<h2>Folds</h2>\n<div class=\"scroll\"><table><thead><tr><th>fold</th><th>right</th><th>accuracy</th>\
             <th class=\"scale\"><span>0</span><span>accuracy and its interval</span><span>100 %</span></th>\
             <th>baseline</th><th>loss</th><th>calibration error</th></tr></thead><tbody>",
        );
        for (i, fold) in self.folds.iter().enumerate() {
            let _ = write!(
                page,
                "<tr><td><a href=\"fold-{0}/report.html\">fold {0}</a></td><td>{1} of {2}</td><td>{3}</td>{4}<td>{5}</td>\
                 <td>{6:.3}</td><td>{7:.3}</td></tr>",
                i + 1,
                fold.right(),
                fold.clips,
                percent(fold.accuracy),
                range(fold.accuracy, fold.interval),
                percent(fold.baseline),
                fold.loss,
                fold.calibration_error
            );
        }
        let ends = ((mean - spread).max(0.0), (mean + spread).min(1.0));
        let _ = write!(
            page,
            "<tr><td><b>mean</b></td><td></td><td><b>{}</b></td>{}<td colspan=\"3\">spread {:.1}&nbsp;%</td></tr>",
            percent(mean),
            range(mean, ends).replace("range\"", "range spread\""),
            100.0 * spread
        );
        page.push_str(
            "</tbody></table></div>\n<p class=\"soft\">Of a fold the 95 % interval is drawn, of the mean the folds&rsquo; standard \
             deviation. Folds are of different people or clips, so the spread tells how much depends on who sings.</p>\n",
        );
    }

    pub(super) fn songs(&self, page: &mut String, metrics: &Metrics) {
        page.push_str(
            "<h2>Songs</h2>\n<div class=\"scroll\"><table><thead><tr><th>song</th><th>right</th>\
             <th class=\"scale\"><span>0</span><span>recall</span><span>100 %</span></th><th>precision</th><th>F1</th><th>AUROC</th>\
             </tr></thead><tbody>",
        );
        let shown = occurring(metrics);
        for song in shown.iter().map(|&i| &metrics.songs[i]) {
            let _ = write!(page, "<tr><td>{}</td>", escape(&song.name));
            match song.recall {
                Some(recall) => {
                    let _ = write!(page, "<td>{} of {}</td>{}", song.right, song.clips, range(recall, song.interval));
                }
                None => page.push_str("<td class=\"soft\">no clip</td><td></td>"),
            }
            let (precision, f1) = (or_dash(song.precision), or_dash(song.f1));
            let _ = write!(page, "<td>{precision}</td><td>{f1}</td><td>{}</td></tr>", or_dash(song.auroc));
        }
        page.push_str("</tbody></table></div>\n");
        let absent: Vec<String> = (0..self.names.len()).filter(|i| !shown.contains(i)).map(|i| self.name(i)).collect();
        if !absent.is_empty() {
            let _ =
                writeln!(page, "<p class=\"soft\">Without a clip, and predicted for none: {}.</p>", absent.join(", "));
        }
        let _ = writeln!(
            page,
            "<p class=\"soft\">The bar is the 95 % interval: with few clips it is wide, even if all are right. Macro AUROC {}, average \
             precision {}.</p>",
            or_dash(metrics.auroc),
            or_dash(metrics.average_precision)
        );
    }

    pub(super) fn people(&self, page: &mut String, metrics: &Metrics) {
        if metrics.people.is_empty() {
            return;
        }
        page.push_str(
            "<h2>People</h2>\n<div class=\"scroll\"><table><thead><tr><th>who</th><th>right</th>\
             <th class=\"scale\"><span>0</span><span>accuracy</span><span>100 %</span></th></tr></thead><tbody>",
        );
        let mut people: Vec<_> = metrics.people.iter().collect();
        people.sort_by(|a, b| a.accuracy.total_cmp(&b.accuracy));
        for person in people {
            let _ = write!(
                page,
                "<tr><td>{}</td><td>{} of {}</td>{}</tr>",
                escape(&person.name),
                person.right,
                person.clips,
                range(person.accuracy, person.interval)
            );
        }
        page.push_str("</tbody></table></div>\n");
    }

    pub(super) fn confusion(&self, page: &mut String, metrics: &Metrics) {
        if occurring(metrics).len() > LARGEST_SQUARE {
            return self.confused_pairs(page, metrics);
        }
        page.push_str(
            "<h2>Confusion</h2>\n<p class=\"soft\">A row is what was sung, a column what was predicted.</p>\
             <div class=\"scroll\"><table class=\"confusion\"><thead><tr><th></th>",
        );
        let shown = occurring(metrics);
        for &song in &shown {
            let _ = write!(page, "<th><span>{}</span></th>", self.name(song));
        }
        page.push_str("</tr></thead><tbody>");
        for &truth in &shown {
            let row = &metrics.confusion[truth];
            let total = row.iter().sum::<usize>().max(1);
            let sung = escape(&self.names[truth]);
            let _ = write!(page, "<tr><th>{}</th>", breakable(&self.names[truth]));
            for &predicted in &shown {
                let count = row[predicted];
                if count == 0 {
                    page.push_str("<td></td>");
                    continue;
                }
                let colour = if predicted == truth { "good" } else { "bad" };
                let strength = 0.15 + 0.6 * count as f64 / total as f64;
                let _ = write!(
                    page,
                    "<td style=\"background:rgba(var(--{colour}),{strength:.2})\" title=\"{sung}, predicted {}: {count} of {total}\">{count}</td>",
                    escape(&self.names[predicted])
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
            let wrong = row.iter().enumerate().filter(|&(predicted, &count)| predicted != truth && count > 0);
            pairs.extend(wrong.map(|(predicted, &count)| (count, truth, predicted)));
        }
        pairs.sort_by_key(|&(count, truth, predicted)| (std::cmp::Reverse(count), truth, predicted));
        page.push_str(
            "<h2>Confusion</h2>\n<div class=\"scroll\"><table><thead><tr><th>sung</th><th>predicted</th><th>clips</th></tr>\
             </thead><tbody>",
        );
        for &(count, truth, predicted) in pairs.iter().take(MOST_PAIRS) {
            let (truth, predicted) = (escape(&self.names[truth]), escape(&self.names[predicted]));
            let _ = write!(page, "<tr><td>{truth}</td><td>{predicted}</td><td>{count}</td></tr>");
        }
        page.push_str("</tbody></table></div>\n");
        if pairs.len() > MOST_PAIRS {
            let _ = writeln!(page, "<p class=\"soft\">And {} pairs more.</p>", pairs.len() - MOST_PAIRS);
        }
    }
}
