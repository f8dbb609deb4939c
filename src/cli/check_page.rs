//! The page of `humdinger check --html`.

use super::flags::as_flags;
use crate::data::check::{FileReport, Report};
use crate::error::counted;
use crate::picture::markup::escape;
use std::fmt::Write;

/// All that is known of recordings as a page that needs nothing beside it; `name` is what they are called.
pub(super) fn page(name: &str, report: &Report) -> String {
    let name = escape(name);
    let used: Vec<&FileReport> = report.files.iter().filter(|file| file.left_out.is_none()).collect();
    let lost = report.files.iter().filter(|file| file.left_out.is_some() && !file.harmless).count();
    let seconds: f64 = used.iter().filter_map(|file| file.seconds).sum();
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{name}: recordings</title>\n\
         <style>\n{}</style>\n<h1>{name}</h1>\n<p class=\"soft\">labels from {}</p>\n<div class=\"numbers\">\n",
        include_str!("../train/report/style.css"),
        escape(&report.labels_from)
    );
    let mut number = |value: String, of: &str, more: &str| {
        let _ = writeln!(page, "<div><b>{value}</b><span>{of}</span><span>{more}</span></div>");
    };
    number(used.len().to_string(), "recordings", &format!("{:.1} minutes", seconds / 60.0));
    number(report.songs.len().to_string(), "songs", "");
    let people = if report.people.is_empty() { "?".into() } else { report.people.len().to_string() };
    number(people, "people", if report.people.is_empty() { "who sings is not known" } else { "" });
    number((report.files.len() - used.len()).to_string(), "files left out", &format!("{lost} of them recordings"));
    page.push_str("</div>\n");
    let told: Vec<String> = report.notes.iter().map(|note| escape(&as_flags(note))).collect();
    list(&mut page, "What to know", &told);
    let warnings = used.iter().flat_map(|file| {
        let of_file = file.warnings.iter().filter(|warning| !report.notes.contains(warning));
        of_file.map(|warning| format!("<b>{}</b>: {}", escape(&file.path), escape(warning)))
    });
    list(&mut page, "Warnings", &warnings.collect::<Vec<_>>());
    let left_out = report.files.iter().filter_map(|file| {
        let why = file.left_out.as_deref()?;
        Some(format!("<b>{}</b>: {}", escape(&file.path), escape(why)))
    });
    list(&mut page, "Left out", &left_out.collect::<Vec<_>>());
    let counts = |page: &mut String, title: &str, counts: &std::collections::BTreeMap<String, usize>| {
        if !counts.is_empty() {
            let _ = write!(page, "<h2>{title}</h2>\n<div class=\"scroll\"><table>\n");
            for (name, count) in counts {
                let count = counted(*count, "recording");
                let _ = writeln!(page, "<tr><td>{}</td><td>{count}</td></tr>", escape(name));
            }
            page.push_str("</table></div>\n");
        }
    };
    counts(&mut page, "Songs", &report.songs);
    counts(&mut page, "People", &report.people);
    page.push_str(
        "<h2>Recordings</h2>\n<div class=\"scroll\"><table>\n<tr><th>file</th><th>song</th><th>person</th><th>seconds</th>\
         <th>channels</th><th>Hz</th><th>codec</th></tr>\n",
    );
    for file in used {
        let text = |text: &Option<String>| text.as_deref().map_or_else(|| "-".into(), escape);
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.2}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&file.path),
            text(&file.song),
            text(&file.person),
            file.seconds.unwrap_or_default(),
            file.channels.unwrap_or_default(),
            file.sample_rate.unwrap_or_default(),
            text(&file.codec)
        );
    }
    page.push_str("</table></div>\n</html>\n");
    page
}

/// Lines under a title; nothing where there are none.
fn list(page: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = write!(page, "<h2>{title}</h2>\n<ul>\n");
    lines.iter().for_each(|line| {
        let _ = writeln!(page, "<li>{line}</li>");
    });
    page.push_str("</ul>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_page() {
        let file = FileReport {
            path: "<script>alert(1)</script>.wav".into(),
            song: Some("a & b".into()),
            seconds: Some(1.5),
            warnings: vec!["is <i>silent</i>".into()],
            ..FileReport::default()
        };
        let lost = FileReport { path: "x.wav".into(), left_out: Some("unreadable".into()), ..FileReport::default() };
        let songs = [("a & b".to_string(), 1)].into();
        let report = Report { files: vec![file, lost], songs, notes: vec!["a note".into()], ..Report::default() };
        let page = page("mine", &report);
        assert!(!page.contains("<script>") && !page.contains("<i>") && page.contains("&lt;script&gt;alert"), "{page}");
        for part in ["a &amp; b", "<b>x.wav</b>: unreadable", "<li>a note</li>", "1 of them recordings", "1.50"] {
            assert!(page.contains(part), "{part}");
        }
    }
}
