//! The way from recordings to answers: what the commands leave and print.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;
#[path = "common/wav.rs"]
mod wav;

use program::{humdinger, scratch, small_data, succeed, text};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn train(name: &str, more: &[&str]) -> PathBuf {
    train_and_tell(name, more).0
}

/// A run's folder, and what the command printed.
fn train_and_tell(name: &str, more: &[&str]) -> (PathBuf, String) {
    let out = scratch().join(name);
    let data = text(small_data());
    let told = succeed(&[&["train", "--device", "cpu", "--data", data, "--out", text(&out)], more].concat());
    (out, told)
}

/// That the last lines say how sure the accuracy is, beside the baseline, and what becomes of the clips, as the predictions have it.
fn says_what_came_out(told: &str, run: &Path) {
    let predictions = rows(&run.join("predictions.csv"));
    let (clips, right) =
        (predictions.len(), predictions.iter().filter(|row| row["truth"] == row["prediction"]).count());
    let (low, high) = humdinger::train::scores::wilson(right, clips);
    let likely = format!("likely {:.1} to {:.1} %", 100.0 * low, 100.0 * high);
    assert!(told.contains(&likely), "{likely}: {told}");
    let line = |name: &str| told.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_default();
    assert!(line("baseline").contains("33.3"), "{told}");
    let numbers: Vec<usize> = line("of them").split(' ').filter_map(|word| word.parse().ok()).collect();
    let [named, of, wrong, unknown] = numbers[..] else { panic!("{told}") };
    assert!(of == clips && named + wrong + unknown == clips && named <= right, "{told}");
    let sure = |row: &&BTreeMap<String, String>| {
        row["truth"] != row["prediction"] && row["confidence"].parse::<f64>().unwrap() >= 0.8
    };
    let suspicious: Vec<_> = predictions.iter().filter(sure).collect();
    assert_eq!(told.contains("suspicious labels"), !suspicious.is_empty(), "{told}");
    for row in suspicious {
        assert!(told.contains(&format!("{}: labelled {}, predicted {}", row["file"], row["truth"], row["prediction"])));
    }
}

fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_path(path).unwrap().deserialize().map(|row| row.unwrap()).collect()
}

#[test]
fn a_run_leaves_everything_and_its_model_answers() {
    let (run, told) = train_and_tell("melody", &["--epochs", "2", "--batch-size", "4"]);
    says_what_came_out(&told, &run);
    for file in ["config.toml", "checkpoint.safetensors", "model.safetensors", "predictions.csv", "report.html"] {
        assert!(run.join(file).metadata().unwrap().len() > 100, "{file}");
    }
    let (steps, epochs) = (rows(&run.join("steps.csv")), rows(&run.join("epochs.csv")));
    let validation = rows(&run.join("predictions.csv"));
    assert_eq!(epochs.len(), 2);
    assert_eq!(steps.len(), 2 * (12 - validation.len()).div_ceil(4), "the last, smaller batch counts");
    assert!(steps.iter().all(|row| row["loss"].parse::<f32>().unwrap().is_finite()));
    let mut whole = 0;
    for row in &validation {
        let probability = |song: &str| row[song].parse::<f64>().unwrap();
        let songs: Vec<&String> =
            row.keys().filter(|k| !["file", "truth", "prediction", "confidence"].contains(&&***k)).collect();
        assert_eq!(songs.len(), 3);
        // Less where a clip is of no familiar kind.
        let sum = songs.iter().map(|song| probability(song)).sum::<f64>();
        assert!(sum > 0.0 && sum < 1.0 + 1e-5, "{sum}");
        whole += usize::from(sum > 1.0 - 1e-5);
        assert_eq!(row["confidence"], row[&row["prediction"]]);
    }
    assert!(2 * whole > validation.len(), "only {whole} of {} are familiar", validation.len());
    let people: Vec<&str> = validation.iter().map(|row| row["file"].split('_').next().unwrap()).collect();
    assert!(
        validation.len().is_multiple_of(3) && people.iter().all(|p| people.iter().filter(|q| *q == p).count() == 3)
    );
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("<svg") && report.contains("baseline") && !report.contains("http"));
    assert!(
        report.contains("<title>small data \u{b7} melody") && report.contains("<audio controls"),
        "data and run are named"
    );

    let model = run.join("model.safetensors");
    let model = text(&model);
    let data = text(small_data());
    let json: serde_json::Value =
        serde_json::from_str(&succeed(&["evaluate", "--device", "cpu", "--model", model, "--data", data, "--json"]))
            .unwrap();
    assert_eq!(json["clips"], 12);
    assert_eq!((json["songs"].as_array().unwrap().len(), json["confusion"].as_array().unwrap().len()), (3, 3));
    for key in ["accuracy", "baseline", "loss"] {
        assert!(json[key].is_number(), "{key}");
    }
    assert!((json["baseline"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-9);

    // All at once or one by one, and in whichever form, the answer is the same.
    let all = succeed(&[
        "predict",
        "--device",
        "cpu",
        "--model",
        model,
        data,
        "--format",
        "csv",
        "--top",
        "3",
        "--min-confidence",
        "0",
    ]);
    let mut lines = all.lines();
    assert_eq!(lines.next().unwrap().split(',').count(), 15);
    for line in lines {
        let file = line.split(',').next().unwrap();
        let one = succeed(&[
            "predict",
            "--device",
            "cpu",
            "--model",
            model,
            file,
            "--format",
            "csv",
            "--top",
            "3",
            "--min-confidence",
            "0",
        ]);
        assert_eq!(one.lines().nth(1).unwrap(), line);
    }
    let predicted: Vec<&str> = all.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    let list =
        succeed(&["predict", "--device", "cpu", "--model", model, data, "--format", "json", "--min-confidence", "0"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let from_json: Vec<&str> = list.as_array().unwrap().iter().map(|a| a["prediction"].as_str().unwrap()).collect();
    assert_eq!(from_json, predicted);
    let unknown = succeed(&["predict", "--device", "cpu", "--model", model, data, "--min-confidence", "1"]);
    assert!(unknown.lines().all(|line| line.starts_with("unknown")), "{unknown}");
    let labels = succeed(&["predict", "--device", "cpu", "--model", model, data, "--format", "audacity"]);
    assert!(
        labels.lines().count() == 12 && labels.lines().all(|line| line.starts_with("0.000000\t2.000000\t")),
        "{labels}"
    );

    let inspected = succeed(&["inspect", model]);
    assert!(inspected.contains("conv1.weight") && inspected.contains("launches"), "{inspected}");
}

#[test]
fn long_recordings_are_heard_in_windows() {
    let long = scratch().join("long");
    let names = succeed(&["synth", "--list"]);
    let tunes: Vec<&str> = names.lines().take(2).collect();
    succeed(&["synth", "--out", text(&long), "--singers", "3", "--seconds", "10", "--tunes", &tunes.join(",")]);
    let out = scratch().join("long run");
    let train = [
        "train",
        "--recipe",
        "notebook",
        "--device",
        "cpu",
        "--epochs",
        "1",
        "--data",
        text(&long),
        "--out",
        text(&out),
    ];
    succeed(&train);
    let model = out.join("model.safetensors");
    let clip = std::fs::read_dir(&long).unwrap().next().unwrap().unwrap().path();
    let predict = |more: &[&str]| {
        let arguments = ["predict", "--device", "cpu", "--model", text(&model), text(&clip), "--format", "audacity"];
        succeed(&[&arguments[..], more].concat()).lines().count()
    };
    assert_eq!(predict(&[]), 1, "of the notebook's recipe the first four seconds count");
    assert_eq!(predict(&["--all-windows"]), 4);
}

#[test]
fn folds_validate_every_clip_once() {
    let (run, told) = train_and_tell("folds", &["--folds", "2", "--epochs", "1", "--recipe", "notebook"]);
    says_what_came_out(&told, &run);
    assert_eq!(rows(&run.join("folds.csv")).len(), 2);
    let mut files: Vec<String> = rows(&run.join("predictions.csv")).iter().map(|row| row["file"].clone()).collect();
    files.sort();
    files.dedup();
    assert_eq!(files.len(), 12);
    assert!(run.join("fold-1/model.safetensors").exists() && run.join("fold-2/report.html").exists());
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    let wrong = rows(&run.join("predictions.csv")).into_iter().filter(|row| row["truth"] != row["prediction"]);
    for row in wrong {
        assert!(report.contains(&format!("<p class=\"file\">{}</p><svg", row["file"])), "{} is shown", row["file"]);
    }
    assert!(report.contains("class=\"range spread\""), "folds are drawn");
}

#[test]
fn weights_of_other_songs_lend_all_but_the_last_layer() {
    let first = train("first", &["--epochs", "1", "--recipe", "notebook"]);
    let names = succeed(&["synth", "--list"]);
    let tunes: Vec<&str> = names.lines().skip(3).take(2).collect();
    let other = scratch().join("other songs");
    succeed(&["synth", "--out", text(&other), "--singers", "3", "--seconds", "2", "--tunes", &tunes.join(",")]);
    let out = scratch().join("second");
    let weights = first.join("model.safetensors");
    let arguments = ["train", "--recipe", "notebook", "--device", "cpu", "--epochs", "1", "--data", text(&other)];
    let told = succeed(&[&arguments[..], &["--out", text(&out), "--init", text(&weights)]].concat());
    assert!(told.contains("lin.weight") && told.contains("anew"), "{told}");
}

#[test]
fn the_loss_that_is_not_finite_stops_the_run() {
    let out = scratch().join("burst");
    let weights = scratch().join("huge.safetensors");
    let first = train("before the burst", &["--epochs", "1", "--recipe", "notebook"]);
    let mut model = humdinger::train::weights::Weights::read(&first.join("model.safetensors")).unwrap();
    // Whatever the second and third songs get is infinitely less than the first; and no batch is of the first alone.
    model.tensors.get_mut("lin.bias").unwrap().data_mut().copy_from_slice(&[3e38, -3e38, -3e38]);
    model.write(&weights).unwrap();
    let data = text(small_data());
    let arguments = ["train", "--recipe", "notebook", "--device", "cpu", "--epochs", "3", "--data", data];
    let message = program::fail(1, &[&arguments[..], &["--out", text(&out), "--init", text(&weights)]].concat());
    assert!(message.contains("step 1 ") && message.contains("checkpoint"), "{message}");
    assert!(out.join("checkpoint.safetensors").exists());
}

/// An interrupted run writes its report and says how to go on.
#[cfg(unix)]
#[test]
fn an_interrupt_finishes_the_step_and_writes_the_report() {
    let out = scratch().join("interrupted");
    let data = text(small_data());
    let arguments = ["train", "--recipe", "notebook", "--device", "cpu", "--epochs", "100000", "--data", data];
    let child = humdinger()
        .args([&arguments[..], &["--out", text(&out)]].concat())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !out.join("epochs.csv").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.contains("humdinger train --resume"), "{told}");
    assert!(std::fs::read_to_string(out.join("report.html")).unwrap().contains("interrupted after step"));
    assert!(out.join("model.safetensors").exists() && out.join("checkpoint.safetensors").exists());
}

#[test]
fn silence_is_no_song() {
    let run = train("for silence", &["--epochs", "1", "--recipe", "notebook"]);
    let model = run.join("model.safetensors");
    for (name, value, expected) in [("zero", 0, "silent: every sample is 0"), ("constant", 900, "one value")] {
        let file = scratch().join(format!("{name}.wav"));
        wav::write_wav(&file, 11_000, vec![value; 55_000]);
        let arguments =
            ["predict", "--device", "cpu", "--model", text(&model), "--min-confidence", "0", "--format", "json"];
        let output = humdinger().args(arguments).arg(&file).output().unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&answer[0]["prediction"], &answer[0]["confidence"]), (&"unknown".into(), &0.0.into()), "{answer}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected), "{said}");
    }
}
