//! The recordings: how many of each song, of whom, and what is wrong with them.

use super::Report;
use super::escape::duration;
use crate::data::Clip;
use crate::error::counted;
use crate::picture::markup::escape;
use std::collections::BTreeSet;
use std::fmt::Write;

impl Report<'_> {
    pub(super) fn recordings(&self, page: &mut String) {
        let data = self.data;
        let mut trained = vec![false; data.clips.len()];
        self.trained.iter().for_each(|&i| trained[i] = true);
        let sides = !self.trained.is_empty();
        page.push_str("<h2>Recordings</h2>\n<div class=\"scroll\"><table><thead><tr><th>song</th>");
        page.push_str(if sides { "<th>to train</th><th>to judge</th>" } else { "<th>clips</th>" });
        page.push_str("<th>people</th><th>time</th><th>each</th></tr></thead><tbody>");
        let rate = f64::from(data.sample_rate.max(1));
        let mut row = |name: &str, clips: &[(bool, &Clip)]| {
            let seconds: Vec<f64> = clips.iter().map(|(_, clip)| clip.len() as f64 / rate).collect();
            let count = |side: bool| clips.iter().filter(|clip| clip.0 == side).count();
            let _ = write!(page, "<tr><td>{name}</td>");
            if sides {
                let _ = write!(page, "<td>{}</td><td>{}</td>", count(true), count(false));
            } else {
                let _ = write!(page, "<td>{}</td>", clips.len());
            }
            let people = people(clips.iter().map(|(_, clip)| *clip)).map_or("not known".into(), |n| n.to_string());
            let shortest = seconds.iter().copied().fold(f64::INFINITY, f64::min);
            let longest = seconds.iter().copied().fold(0.0, f64::max);
            // The shortest and the longest as they are written, so that two that look alike stand once.
            let ends = [if shortest.is_finite() { shortest } else { 0.0 }, longest].map(duration);
            let each = if ends[0] == ends[1] { ends[0].clone() } else { ends.join("&nbsp;to&nbsp;") };
            let _ = write!(page, "<td>{people}</td><td>{}</td><td>{each}</td></tr>", duration(seconds.iter().sum()));
        };
        let all: Vec<(bool, &Clip)> = trained.iter().copied().zip(&data.clips).collect();
        for (song, name) in data.classes.iter().enumerate() {
            let own: Vec<(bool, &Clip)> = all.iter().filter(|(_, clip)| clip.label == song).copied().collect();
            row(&escape(name), &own);
        }
        row("<b>all</b>", &all);
        page.push_str("</tbody></table></div>\n");
        if !data.labels_from.is_empty() {
            let _ = writeln!(page, "<p class=\"soft\">Labels from {}.</p>", escape(&data.labels_from));
        }
        self.faults(page);
    }

    /// What was left out, what had to be repaired, and what to know of the set as a whole.
    fn faults(&self, page: &mut String) {
        let data = self.data;
        for note in &data.notes {
            let _ = writeln!(page, "<p>{}</p>", escape(note));
        }
        let (mut lost, mut others) = (0, 0);
        for left_out in &data.left_out {
            *(if left_out.harmless { &mut others } else { &mut lost }) += left_out.files.len();
        }
        let _ = match (lost, others) {
            (0, 0) => writeln!(page, "<p>No file was left out.</p>"),
            (0, others) => writeln!(page, "<p>No recording was left out; {} beside them.</p>", counted(others, "file")),
            (lost, 0) => writeln!(page, "<p class=\"wrong\">{} left out.</p>", counted(lost, "recording")),
            (lost, others) => {
                let lost = counted(lost, "recording");
                writeln!(
                    page,
                    "<p><span class=\"wrong\">{lost} left out</span>, and {} beside them.</p>",
                    counted(others, "file")
                )
            }
        };
        for left_out in &data.left_out {
            let _ = writeln!(
                page,
                "<details><summary>{}: {}</summary><p class=\"soft\">{}</p></details>",
                counted(left_out.files.len(), "file"),
                escape(&left_out.reason),
                escape(&left_out.files.join(", "))
            );
        }
        if !data.warnings.is_empty() {
            let _ = write!(page, "<details><summary>{}</summary>", counted(data.warnings.len(), "warning"));
            data.warnings.iter().for_each(|w| page.push_str(&format!("<p class=\"soft\">{}</p>", escape(w))));
            page.push_str("</details>\n");
        }
    }
}

/// How many people sing these clips, where that is known of all.
fn people<'a>(clips: impl Iterator<Item = &'a Clip>) -> Option<usize> {
    let names: Option<BTreeSet<&str>> = clips.map(|clip| clip.person.as_deref()).collect();
    names.map(|names| names.len())
}
