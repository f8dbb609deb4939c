//! What `humdinger evaluate` and `humdinger compare` tell.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use program::{fail, run, scratch, small_data, succeed, text};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A run of one epoch on the small data.
fn trained() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        let out = scratch().join("run <b>one");
        let fixed = ["train", "--recipe", "notebook", "--device", "cpu", "--epochs", "1", "--seed", "3"];
        succeed(&[&fixed[..], &["--data", text(small_data()), "--out", text(&out)]].concat());
        out
    })
}

fn evaluate(data: &Path, more: &[&str]) -> std::process::Output {
    let model = trained().join("model.safetensors");
    run(&[&["evaluate", "--device", "cpu", "--model", text(&model), "--data", text(data)], more].concat())
}

fn json(output: &std::process::Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// The small data's files, copied under other names; none where `name` says so.
fn copied(folder: &str, name: impl Fn(&str) -> Option<String>) -> PathBuf {
    let folder = scratch().join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    for entry in std::fs::read_dir(small_data()).unwrap() {
        let path = entry.unwrap().path();
        if let Some(name) = name(path.file_name().unwrap().to_str().unwrap()) {
            std::fs::copy(&path, folder.join(name)).unwrap();
        }
    }
    folder
}

/// The songs of the small data, in order of name.
fn songs() -> Vec<String> {
    let song = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().rsplit('_').next().unwrap().to_string();
    let mut songs: Vec<String> = std::fs::read_dir(small_data()).unwrap().map(|e| song(e.unwrap().path())).collect();
    songs.sort();
    songs.dedup();
    songs
}

#[test]
fn every_wrong_clip_is_named_and_numbers_have_intervals() {
    let whole = json(&evaluate(small_data(), &["--json"]));
    let number = |key: &str| whole[key].as_f64().unwrap_or_else(|| panic!("{key}: {whole:#}"));
    let right = (12.0 * number("accuracy")).round() as usize;
    let wrong = whole["wrong"].as_array().unwrap();
    assert_eq!(wrong.len(), 12 - right, "{whole:#}");
    assert!(!wrong.is_empty(), "after one epoch a model of three songs errs; another seed must be chosen");
    assert!(wrong.iter().all(|clip| clip["truth"] != clip["prediction"]));
    let surest: Vec<f64> = wrong.iter().map(|clip| clip["confidence"].as_f64().unwrap()).collect();
    assert!(surest.is_sorted_by(|a, b| a >= b), "{surest:?}");
    let (low, high) = (whole["interval"][0].as_f64().unwrap(), whole["interval"][1].as_f64().unwrap());
    assert!(low < number("accuracy") && number("accuracy") < high && low > 0.0, "{low} {high}");
    // As many clips of each song: one number.
    assert!((number("balanced_accuracy") - number("accuracy")).abs() < 1e-9);
    assert!((0.0..=1.0).contains(&number("auroc")) && number("average_precision") > 0.0);
    let people = whole["people"].as_array().unwrap();
    assert_eq!(people.len(), 4);
    assert_eq!(people.iter().map(|person| person["right"].as_u64().unwrap()).sum::<u64>(), right as u64);
    let answers = &whole["answers"];
    let count = |key: &str| answers[key].as_u64().unwrap();
    assert_eq!(count("named_right") + count("named_wrong") + count("unknown"), 12);
    assert_eq!(whole["unknown"].as_array().unwrap().len() as u64, count("unknown"));

    let told = String::from_utf8(evaluate(small_data(), &[]).stdout).unwrap();
    for clip in wrong {
        let line = told.lines().find(|line| line.contains(clip["file"].as_str().unwrap())).unwrap();
        assert!(line.contains(&format!("predicted {}", clip["prediction"].as_str().unwrap())), "{line}");
    }
    assert!(told.contains(&format!("({right} of 12; 95 % interval")), "{told}");
    assert!(told.contains("named right") && told.contains("who "), "{told}");
}

#[test]
fn a_song_without_clips_has_no_numbers() {
    let absent = songs()[0].clone();
    let data = copied("two songs", |name| (!name.contains(&absent)).then(|| name.to_string()));
    let whole = json(&evaluate(&data, &["--json"]));
    let song = whole["songs"].as_array().unwrap().iter().find(|song| song["name"] == absent.as_str()).unwrap();
    assert_eq!(
        (&song["clips"], &song["recall"], &song["f1"], &song["auroc"]),
        (&0.into(), &().into(), &().into(), &().into())
    );
    let told = String::from_utf8(evaluate(&data, &[]).stdout).unwrap();
    let line = told.lines().find(|line| line.starts_with(&absent)).unwrap();
    assert!(!line.contains("0.000  ") || line.matches('-').count() >= 3, "{line}");
}

#[test]
fn other_spellings_are_matched_and_other_songs_named() {
    let [first, second, third] = [0, 1, 2].map(|i| songs()[i].clone());
    let data = copied("spelt otherwise", |name| {
        let other = name.replace(&first, &first.to_uppercase()).replace(&second, "Humdingers Own");
        Some(other.replace(&third, &third.replace('e', "e\u{301}")))
    });
    let output = evaluate(&data, &["--json"]);
    let (whole, told) = (json(&output), String::from_utf8(output.stderr.clone()).unwrap());
    assert_eq!(whole["clips"], 8, "{told}");
    assert_eq!(whole["songs_not_in_the_model"], serde_json::json!(["Humdingers Own"]));
    assert!(told.contains(&format!("\"{}\" is taken for the model's \"{first}\"", first.to_uppercase())), "{told}");
    assert!(told.contains("does not know Humdingers Own; their 4 clips do not count"), "{told}");
    let plain = json(&evaluate(small_data(), &["--json"]));
    assert_eq!(whole["songs"][0]["right"], plain["songs"][0]["right"], "the same clips under another spelling");
    let strangers = copied("strangers", |name| Some(name.rsplit_once('_').unwrap().0.to_string() + "_Nothing.wav"));
    let message = String::from_utf8(evaluate(&strangers, &[]).stderr).unwrap();
    assert!(message.contains("does not know: Nothing"), "{message}");
}

#[test]
fn the_same_page_is_written_and_nothing_written_over() {
    let page = scratch().join("page.html");
    let output = evaluate(small_data(), &["--report", text(&page)]);
    assert!(output.status.success(), "{output:?}");
    let html = std::fs::read_to_string(&page).unwrap();
    for heading in
        ["Recordings", "Songs", "Wrong clips", "One of each song", "How sure it is", "People", "Configuration"]
    {
        assert!(html.contains(&format!("<h2>{heading}")), "{heading}");
    }
    assert!(html.contains("<title>small data \u{b7} run &lt;b&gt;one \u{b7} Humdinger"), "names are escaped");
    // Clips are played from where they lie, as seen from the page.
    let source = html.split("<audio controls preload=\"none\" src=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(scratch().join(source.replace("%20", " ")).is_file(), "{source}");
    let again = evaluate(small_data(), &["--report", text(&page)]);
    let message = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && message.contains("page.html") && message.contains("--force"), "{message}");
    let embedded = evaluate(small_data(), &["--report", text(&page), "--force", "--embed-audio"]);
    assert!(embedded.status.success());
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("src=\"data:audio/wav;base64,UklGR") && !html.contains("src=\"small"));
    let lone = ["evaluate", "--model", "m", "--data", "d", "--embed-audio"];
    assert!(fail(2, &lone).contains("--report"));
}

/// Two recordings of one name and their answers, as a run of before wrote them.
fn old_run(name: &str, config: &str, predictions: Option<&str>) -> PathBuf {
    let folder = scratch().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), config).unwrap();
    if let Some(predictions) = predictions {
        std::fs::write(folder.join("predictions.csv"), predictions).unwrap();
    }
    folder
}

#[test]
fn runs_are_compared_by_settings_accuracy_and_clips() {
    let head = "file,truth,prediction,confidence,Rain,Sun\n";
    let rows = |rows: &[&str]| Some(format!("{head}{}\n", rows.join("\n")));
    let first = rows(&["a.wav,Rain,Rain,0.9,0.9,0.1", "b.wav,Sun,Rain,0.8,0.8,0.2", "c.wav,Sun,Sun,0.6,0.4,0.6"]);
    let second = rows(&["a.wav,Rain,Rain,0.7,0.7,0.3", "b.wav,Sun,Sun,0.75,0.25,0.75", "d.wav,Sun,Sun,0.6,0.4,0.6"]);
    let one = old_run("old one", "recipe = \"melody\"\nepochs = 3\nseed = 1\n", first.as_deref());
    let two = old_run("old two", "recipe = \"melody\"\nepochs = 5\nseed = 1\n", second.as_deref());
    let whole: serde_json::Value =
        serde_json::from_str(&succeed(&["compare", text(&one), text(&two), "--json"])).unwrap();
    assert_eq!(whole["settings_that_differ"], serde_json::json!({"epochs": ["3", "5"]}));
    let result = &whole["runs"][0]["result"];
    assert_eq!(
        (&result["clips"], &result["right"], &result["balanced_accuracy"]),
        (&3.into(), &2.into(), &0.75.into())
    );
    let loss = -(0.9f64.ln() + 0.2f64.ln() + 0.6f64.ln()) / 3.0;
    assert!((result["loss"].as_f64().unwrap() - loss).abs() < 1e-9);
    assert!((result["interval"][0].as_f64().unwrap() - 0.2077).abs() < 1e-3, "Wilson's, of 2 of 3");
    assert_eq!(whole["common"], serde_json::json!({"clips": 2, "right": [1, 2], "against_first": [[0, 1, 1.0]]}));
    let disagreement = &whole["disagreements"].as_array().unwrap()[..];
    assert_eq!(disagreement.len(), 1);
    assert_eq!((&disagreement[0]["file"], &disagreement[0]["answers"][1]["right"]), (&"b.wav".into(), &true.into()));
    let told = succeed(&["compare", text(&one), text(&two)]);
    assert!(
        told.contains("2 of 3") && told.contains("epochs  3  5") && told.contains("!Rain 80 %  Sun 75 %"),
        "{told}"
    );

    // A run that is finished, and one that has written no predictions.
    let bare = old_run("bare", "recipe = \"notebook\"\n", None);
    let told = run(&["compare", text(trained()), text(&bare)]);
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success() && err.contains("bare: has no predictions.csv"), "{err}");
    assert!(out.contains("clips that all have judged: 0"), "{out}");
    assert!(fail(1, &["compare", text(&one), text(small_data())]).contains("is not a run folder"));
    assert!(fail(2, &["compare", text(&one)]).contains("RUN"));
    let damaged = old_run("damaged", "recipe = \"melody\"\n", Some("file,song\na.wav,Rain\n"));
    assert!(fail(1, &["compare", text(&one), text(&damaged)]).contains("file, truth, prediction, confidence"));
}
