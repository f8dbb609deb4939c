//! What the page says, and that nothing that others named can break it.

use super::*;
use crate::data::labels::LeftOut;
use crate::train::Settings;
use std::collections::BTreeMap;

fn clip(id: &str, label: usize) -> Clip {
    Clip {
        id: id.into(),
        path: format!("/nowhere/{id}").into(),
        samples: vec![vec![0.1; 4000]].into(),
        stretch: None,
        label,
        person: Some("<i>Anna</i>".into()),
        columns: BTreeMap::new(),
    }
}

fn data(classes: &[String], ids: &[(&str, usize)]) -> Dataset {
    let mut clips: Vec<Clip> = ids.iter().map(|&(id, label)| clip(id, label)).collect();
    clips.sort_by(|a, b| a.id.cmp(&b.id));
    Dataset { clips, classes: classes.to_vec(), sample_rate: 8000, ..Dataset::default() }
}

fn prediction(id: &str, truth: usize, probabilities: Vec<f64>) -> Prediction {
    Prediction { id: id.into(), person: Some("<i>Anna</i>".into()), truth: Some(truth), probabilities, least: 0.3 }
}

/// A finished report with nothing in it but these.
fn report<'a>(
    names: &'a [String],
    data: &'a Dataset,
    metrics: Option<&'a Metrics>,
    predictions: &'a [Prediction],
) -> Report<'a> {
    Report {
        data_name: "my songs".into(),
        run_name: "mine".into(),
        status: "finished",
        written: "a day",
        device: "CPU",
        names,
        data,
        trained: &[],
        metrics,
        predictions,
        folds: &[],
        training: None,
        settings: Settings::default().resolve().map(|config| config.table()).unwrap_or_default(),
        folder: "/elsewhere/run".into(),
        embed_audio: false,
    }
}

#[test]
fn many_songs_are_listed_by_their_confusions() {
    let names: Vec<String> = (0..tables::LARGEST_SQUARE + 1).map(|i| format!("song {i}")).collect();
    let certain = |i: usize| (0..names.len()).map(|k| if k == i { 1.0 } else { 0.0 }).collect::<Vec<f64>>();
    let predicted = |truth, as_song| prediction("x", truth, certain(as_song));
    let some = [predicted(3, 4), predicted(5, 6), predicted(5, 6), predicted(7, 7)];
    let predictions: Vec<Prediction> =
        (8..names.len()).map(|i| predicted(i, i)).chain(some).chain([predicted(0, 1), predicted(2, 0)]).collect();
    let metrics = Metrics::new(&predictions, &names);
    let data = data(&names, &[("x", 3)]);
    let html = report(&names, &data, Some(&metrics), &predictions).html();
    let [often, once] =
        ["<td>song 5</td><td>song 6</td><td>2</td>", "<td>song 3</td><td>song 4</td><td>1</td>"].map(|t| html.find(t));
    assert!(often.is_some() && often < once, "{html}");
    assert!(!html.contains("class=\"confusion\""));
}

#[test]
fn names_cannot_break_the_page() {
    let names = ["<script>alert(1)</script>".to_string(), "Rain' onload='x".to_string()];
    let predictions = [prediction("x\"><script>.wav", 0, vec![0.1, 0.9])];
    let metrics = Metrics::new(&predictions, &names);
    let mut data = data(&names, &[("x\"><script>.wav", 0)]);
    data.left_out = vec![LeftOut { reason: "no <song>".into(), files: vec!["a<b>.wav".into()], harmless: false }];
    (data.warnings, data.notes) = (vec!["<b>w</b>".into()], vec!["<b>n</b>".into()]);
    data.labels_from = "<b>l</b>".into();
    let html = Report {
        data_name: "<b>d</b>".into(),
        run_name: "<b>r</b>".into(),
        ..report(&names, &data, Some(&metrics), &predictions)
    }
    .html();
    // The page's own bold type is of words that it knows itself.
    for bad in ["<script", "<b>d", "<b>r", "<b>w", "<b>n", "<b>l", "<i>", "a<b>", "onload='"] {
        assert!(!html.contains(bad), "{bad}");
    }
    assert!(html.contains("<title>&lt;b&gt;d&lt;/b&gt; \u{b7} &lt;b&gt;r&lt;/b&gt;"), "{html}");
    assert!(html.contains("1 file: no &lt;song&gt;") && html.contains("Is the label right?"));
    assert!(html.contains("src=\"../../nowhere/x%22%3E%3Cscript%3E.wav\""), "{html}");
    assert!(!html.contains("http"), "the page must need nothing else");
}

#[test]
fn the_answer_comes_first_and_the_parameters_last() {
    let names = ["Rain".to_string(), "Sun".to_string(), "Fog".to_string()];
    let predictions = [
        prediction("a.wav", 0, vec![0.6, 0.3, 0.1]),
        prediction("b.wav", 1, vec![0.1, 0.25, 0.2]),
        prediction("c.wav", 1, vec![0.7, 0.2, 0.1]),
    ];
    let metrics = Metrics::new(&predictions, &names);
    let data = data(&names, &[("a.wav", 0), ("b.wav", 1), ("c.wav", 1), ("d.wav", 0)]);
    let training =
        Training { parameters: 191_884, model_epoch: 1, augment: false, augmentations: 1, epochs: &[], steps: &[] };
    let html = Report {
        trained: &[3],
        training: Some(training),
        embed_audio: true,
        ..report(&names, &data, Some(&metrics), &predictions)
    }
    .html();
    let order = [
        "<h1>my songs &middot; mine",
        "2 of 3; likely 21&nbsp;to&nbsp;94&nbsp;%",
        "always the most frequent song",
        "called &ldquo;unknown&rdquo;</span><b>33.3",
        "named wrong</span><b>33.3",
        "<h2>Recordings",
        "<td>Rain</td><td>1</td><td>1</td><td>1</td>",
        "No file was left out",
        "<h2>Songs",
        "<h2>Confusion",
        "<h2>Wrong clips",
        "1 clip predicted rightly, but called unknown",
        "<h2>One of each song",
        "<h2>How sure it is",
        "<h2>People",
        "<h2>Training",
        "191&#8239;884",
        "<h2>Configuration",
    ];
    let mut from = 0;
    for text in order {
        let at = html[from..].find(text);
        assert!(at.is_some(), "`{text}` is missing, or not in its place, in {html}");
        from += at.unwrap_or_default();
    }
    assert!(html.contains("Without a clip, and predicted for none: Fog."), "nothing to tell of it");
    assert!(!html.contains("0.000</td><td>0.000") && html.contains("src=\"data:audio/wav;base64,UklGR"));
    assert!(!html.contains("Is the label right?"), "70 % is not sure enough");
}

#[test]
fn folds_are_drawn_with_their_spread() {
    let names = ["Rain".to_string(), "Sun".to_string()];
    let right = [prediction("a.wav", 0, vec![0.6, 0.4]), prediction("b.wav", 1, vec![0.1, 0.9])];
    let half = [prediction("c.wav", 0, vec![0.9, 0.1]), prediction("d.wav", 1, vec![0.6, 0.4])];
    let folds = [Metrics::new(&right, &names), Metrics::new(&half, &names)];
    let all = [right, half].concat();
    let pooled = Metrics::new(&all, &names);
    let data = data(&names, &[("a.wav", 0), ("b.wav", 1), ("c.wav", 0), ("d.wav", 1)]);
    let html = Report { folds: &folds, ..report(&names, &data, Some(&pooled), &all) }.html();
    assert!(html.contains("fold-2/report.html") && html.contains("--at:75.0%;--low:39.6%;--wide:60.4%"), "{html}");
    assert!(html.contains("spread 35.4&nbsp;%") && html.contains("<p class=\"file\">d.wav</p><svg"), "all wrong clips");
}
