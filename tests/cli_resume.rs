//! A run that is killed and resumed, again and again, ends with the same bits as one that never was.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use program::{humdinger, scratch, small_data, succeed, text};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const EPOCHS: &str = "6";

fn arguments<'a>(out: &'a Path, data: &'a str, recipe: &'a str) -> Vec<&'a str> {
    let fixed = ["train", "--device", "cpu", "--batch-size", "4", "--epochs", EPOCHS, "--recipe", recipe];
    [&fixed[..], &["--data", data, "--out", text(out)]].concat()
}

fn steps(out: &Path) -> usize {
    std::fs::read_to_string(out.join("steps.csv")).map_or(0, |text| text.lines().count().saturating_sub(1))
}

/// Everything in `epochs.csv` but the two columns that are times.
fn metrics(out: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(out.join("epochs.csv")).unwrap();
    text.lines().map(|line| line.split(',').take(6).map(String::from).collect()).collect()
}

fn killed_and_resumed(recipe: &str) {
    let data = text(small_data());
    let whole = scratch().join(format!("whole {recipe}"));
    succeed(&arguments(&whole, data, recipe));
    let total = steps(&whole);
    let out = scratch().join(format!("killed {recipe}"));
    // Kills after the first, some, and nearly all of the steps. Which step is in progress then is left to chance.
    for after in [1, total / 3, total / 2, total - 2] {
        let mut command = humdinger();
        match out.join("config.toml").exists() {
            true => command.args(["train", "--resume", text(&out)]),
            false => command.args(arguments(&out, data, recipe)),
        };
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while steps(&out) < after && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // The last kill may have come too late.
    if !std::fs::read_to_string(out.join("report.html")).is_ok_and(|report| report.contains("finished")) {
        succeed(&["train", "--resume", text(&out)]);
    }
    for file in ["steps.csv", "predictions.csv", "model.safetensors"] {
        let read = |run: &Path| std::fs::read(run.join(file)).unwrap();
        assert!(read(&whole) == read(&out), "{recipe}: {file} differs");
    }
    assert_eq!(metrics(&whole), metrics(&out));
}

#[test]
fn melody_resumes_bit_for_bit() {
    killed_and_resumed("melody");
}

#[test]
fn notebook_resumes_bit_for_bit() {
    killed_and_resumed("notebook");
}
