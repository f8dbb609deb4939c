//! Clips that the model got wrong, and one of each song to listen to.

use super::{Report, sound};
use crate::data::Clip;
use crate::error::counted;
use crate::picture::markup::escape;
use crate::train::metrics::{Prediction, SUSPICIOUS, wrong};
use std::fmt::Write;

/// The most clips of a kind that are shown with a spectrogram and a player.
const MOST_SHOWN: usize = 24;

impl Report<'_> {
    /// The clips that the model got wrong, suspicious labels first, and those that it would not name.
    pub(super) fn wrong_clips(&self, page: &mut String) {
        page.push_str("<h2>Wrong clips</h2>\n");
        let wrong: Vec<&Prediction> = wrong(self.predictions).into_iter().map(|i| &self.predictions[i]).collect();
        let judged = self.predictions.iter().filter(|p| p.truth.is_some()).count();
        if wrong.is_empty() {
            page.push_str("<p>None.</p>\n");
        } else {
            let _ = writeln!(
                page,
                "<p class=\"soft\">{} of {judged}. In the pictures time runs to the right and pitch upwards; the line is the pitch that is \
                 sung{}</p>",
                wrong.len(),
                if self.embed_audio { "." } else { ". Clips are played from where they lie." }
            );
        }
        let (suspicious, others) = wrong.split_at(wrong.iter().take_while(|p| p.suspicious()).count());
        if !suspicious.is_empty() {
            let _ = writeln!(
                page,
                "<h3>Is the label right?</h3>\n<p>{} the model was at least {:.0} % sure of another song. Listen first to these: often the label, not the \
                 answer, is wrong.</p>",
                match suspicious {
                    [_] => "Of this clip".to_string(),
                    several => format!("Of these {} clips", several.len()),
                },
                100.0 * SUSPICIOUS
            );
            self.cards(page, suspicious);
        }
        if !others.is_empty() {
            if !suspicious.is_empty() {
                page.push_str("<h3>Other wrong clips</h3>\n");
            }
            self.cards(page, others);
        }
        let mut unnamed: Vec<&Prediction> = self.predictions.iter().filter(|p| p.right() && p.unknown()).collect();
        unnamed.sort_by(|a, b| a.confidence().total_cmp(&b.confidence()));
        if !unnamed.is_empty() {
            let clips = counted(unnamed.len(), "clip");
            self.listed(
                page,
                &format!("{clips} predicted rightly, but called unknown since confidence is too low"),
                &unnamed,
            );
        }
    }

    /// Cards of the first predictions, a table of the rest.
    fn cards(&self, page: &mut String, predictions: &[&Prediction]) {
        let (shown, listed) = predictions.split_at(predictions.len().min(MOST_SHOWN));
        page.push_str("<div class=\"clips\">");
        for prediction in shown {
            let clip = self.clip(prediction);
            let truth = prediction.truth.unwrap_or(usize::MAX);
            let verdict = format!(
                "given as <span class=\"right\">{}</span>&nbsp;{:.0}&nbsp;%, predicted <span class=\"wrong\">{}</span>&nbsp;{:.0}&nbsp;%{}",
                self.name(truth),
                100.0 * prediction.probabilities.get(truth).copied().unwrap_or(0.0),
                self.name(prediction.best()),
                100.0 * prediction.confidence(),
                if prediction.unknown() { "<span class=\"tag\">unknown</span>" } else { "" }
            );
            self.card(page, clip, &prediction.id, &verdict);
        }
        page.push_str("</div>\n");
        if !listed.is_empty() {
            self.listed(page, &format!("{} more", listed.len()), listed);
        }
    }

    fn card(&self, page: &mut String, clip: Option<&Clip>, id: &str, verdict: &str) {
        let _ = write!(page, "<div class=\"card\"><p class=\"file\">{}</p>", escape(id));
        if let Some(clip) = clip {
            page.push_str(&sound::picture(clip, self.data.sample_rate));
            page.push_str(&self.player(clip));
        }
        let _ = write!(page, "<p>{verdict}</p></div>");
    }

    /// A table that opens on demand.
    fn listed(&self, page: &mut String, summary: &str, predictions: &[&Prediction]) {
        let _ = write!(
            page,
            "<details><summary>{summary}</summary><div class=\"scroll\"><table><thead><tr><th>file</th><th>given as</th><th>predicted</th>\
             <th>confidence</th></tr></thead><tbody>"
        );
        for prediction in predictions {
            let _ = write!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.0}&nbsp;%</td></tr>",
                escape(&prediction.id),
                prediction.truth.map_or(String::new(), |truth| self.name(truth)),
                self.name(prediction.best()),
                100.0 * prediction.confidence()
            );
        }
        page.push_str("</tbody></table></div></details>\n");
    }

    /// One clip of each song: one that was predicted rightly where there is one, the surest of them.
    pub(super) fn examples(&self, page: &mut String) {
        let data = self.data;
        page.push_str("<h2>One of each song</h2>\n");
        if data.classes.len() > MOST_SHOWN {
            let _ = writeln!(page, "<p class=\"soft\">The first {MOST_SHOWN} of {} songs.</p>", data.classes.len());
        }
        page.push_str("<div class=\"clips\">");
        for (song, name) in data.classes.iter().enumerate().take(MOST_SHOWN) {
            let of_song = |prediction: &&Prediction| self.clip(prediction).is_some_and(|clip| clip.label == song);
            let surest = self
                .predictions
                .iter()
                .filter(|prediction| prediction.right())
                .filter(of_song)
                .max_by(|a, b| a.confidence().total_cmp(&b.confidence()));
            let clip = surest.and_then(|p| self.clip(p)).or_else(|| data.clips.iter().find(|clip| clip.label == song));
            let told = match surest {
                Some(p) => format!("<b>{}</b>, predicted with {:.0}&nbsp;%", escape(name), 100.0 * p.confidence()),
                None => format!("<b>{}</b>", escape(name)),
            };
            if let Some(clip) = clip {
                self.card(page, Some(clip), &clip.id, &told);
            }
        }
        page.push_str("</div>\n");
    }
}
