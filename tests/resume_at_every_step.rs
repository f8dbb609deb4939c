//! A run that dies at any step, without a chance to tidy up, ends with the same bits once it is resumed. The process that
//! dies is this test's own program, begun anew with a place to die at; tests/cli_resume.rs kills the real one, whenever.

#![cfg(feature = "app")]

#[path = "common/runs.rs"]
mod runs;

use humdinger::device::{Device, DeviceChoice};
use humdinger::train::tables::EpochRow;
use humdinger::train::trainer::{Start, Watch};
use humdinger::train::{Config, Settings};
use runs::{Blind, config, train};
use std::path::Path;
use std::process::{Command, Stdio};

const EPOCHS: usize = 3;
/// Dies where: "step 4", or "epoch 2" for between an epoch's model and its checkpoint.
const PLACE: &str = "HUMDINGER_TEST_DIE_AT";
const RECIPE: &str = "HUMDINGER_TEST_RECIPE";
const FOLDER: &str = "HUMDINGER_TEST_FOLDER";

struct Deadly {
    place: String,
    steps: usize,
}

impl Deadly {
    fn pass(&self, place: String) {
        if place == self.place {
            // As sudden as a kill: nothing is flushed, no destructor runs.
            std::process::abort();
        }
    }
}

impl Watch for Deadly {
    fn note(&mut self, _: &str) {}
    fn step(&mut self, _: usize, _: usize, _: usize, _: f32) {
        self.steps += 1;
        self.pass(format!("step {}", self.steps));
    }
    fn epoch(&mut self, row: &EpochRow, _: bool) {
        self.pass(format!("epoch {}", row.epoch));
    }
}

/// Not a test by itself: what the test below runs in a process that is to die.
#[test]
fn victim() {
    let variable = |name: &str| std::env::var(name).ok();
    let (Some(place), Some(recipe), Some(folder)) = (variable(PLACE), variable(RECIPE), variable(FOLDER)) else {
        return;
    };
    let device = Device::choose(DeviceChoice::Cpu).unwrap();
    let out = Path::new(&folder);
    let start = if out.join("config.toml").exists() { Start::Resume } else { Start::New };
    let config = if recipe == FOLDED { folded() } else { config(&recipe, EPOCHS) };
    train(&config, &device, out, start, &mut Deadly { place, steps: 0 }).unwrap();
}

/// Names a cross-validation to the process that is to die.
const FOLDED: &str = "folds";

fn folded() -> Config {
    let one = config("notebook", 1);
    Settings { folds: Some(2), ..one.settings() }.resolve().unwrap()
}

/// Whether the process died where it should.
fn die(recipe: &str, out: &Path, place: &str) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "victim", "--test-threads", "1"]).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.env(PLACE, place).env(RECIPE, recipe).env(FOLDER, out).status().unwrap();
    !status.success()
}

/// The files of a run that must not depend on when it was interrupted; of `epochs.csv` all but the times.
fn files(run: &Path) -> Vec<Vec<u8>> {
    let read = |name: &str| std::fs::read(run.join(name)).unwrap();
    let epochs = String::from_utf8(read("epochs.csv")).unwrap();
    let metrics = epochs.lines().map(|line| line.split(',').take(6).collect::<Vec<_>>().join(","));
    let metrics = metrics.collect::<Vec<_>>().join("\n").into_bytes();
    vec![read("steps.csv"), read("predictions.csv"), read("model.safetensors"), read("config.toml"), metrics]
}

fn resumed(recipe: &str) {
    let parent = tempfile::tempdir().unwrap();
    let device = Device::choose(DeviceChoice::Cpu).unwrap();
    let config = config(recipe, EPOCHS);
    let whole = parent.path().join("whole");
    train(&config, &device, &whole, Start::New, &mut Blind).unwrap();
    let expected = files(&whole);
    let steps = expected[0].iter().filter(|&&byte| byte == b'\n').count() - 1;
    assert!(steps >= 9, "{steps} steps are too few to tell");
    let places =
        (1..=steps).map(|step| format!("step {step}")).chain((1..=EPOCHS).map(|epoch| format!("epoch {epoch}")));
    for place in places {
        let out = parent.path().join(&place);
        assert!(die(recipe, &out, &place), "{recipe}: it did not die at {place}");
        // And once more where the resumed run makes its second step, if it makes so many.
        die(recipe, &out, "step 2");
        if !std::fs::read_to_string(out.join("report.html")).is_ok_and(|report| report.contains("finished")) {
            train(&config, &device, &out, Start::Resume, &mut Blind).unwrap();
        }
        assert!(files(&out) == expected, "{recipe}, died at {place}: the files differ");
        let left: Vec<String> = std::fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with('.'))
            .collect();
        assert!(left.is_empty(), "{recipe}, died at {place}: {left:?} is left");
    }
}

#[test]
fn melody() {
    resumed("melody");
}

#[test]
fn notebook() {
    resumed("notebook");
}

#[test]
fn folds() {
    let parent = tempfile::tempdir().unwrap();
    let device = Device::choose(DeviceChoice::Cpu).unwrap();
    let files = |run: &Path| {
        let names =
            ["folds.csv", "predictions.csv", "fold-1/steps.csv", "fold-2/steps.csv", "fold-2/model.safetensors"];
        names.map(|name| std::fs::read(run.join(name)).unwrap())
    };
    let whole = parent.path().join("whole");
    train(&folded(), &device, &whole, Start::New, &mut Blind).unwrap();
    let expected = files(&whole);
    let steps: usize = expected[2..4].iter().map(|csv| csv.iter().filter(|&&byte| byte == b'\n').count() - 1).sum();
    for step in 1..=steps {
        let out = parent.path().join(step.to_string());
        assert!(die(FOLDED, &out, &format!("step {step}")), "it did not die at step {step}");
        train(&folded(), &device, &out, Start::Resume, &mut Blind).unwrap();
        assert!(files(&out) == expected, "died at step {step} of all folds: the files differ");
    }
}
