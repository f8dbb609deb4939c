//! Runs that go on: with more epochs than they began with, and whatever was done to their files meanwhile.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use humdinger::train::checkpoint::Checkpoint;
use humdinger::train::weights::Weights;
use program::{fail, scratch, small_data, succeed, text};
use std::path::{Path, PathBuf};

fn train(name: &str, more: &[&str]) -> PathBuf {
    let out = scratch().join(name);
    let start = ["train", "--recipe", "notebook", "--device", "cpu", "--batch-size", "4", "--data", text(small_data())];
    succeed(&[&start[..], &["--out", text(&out)], more].concat());
    out
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(String::from).collect()
}

#[test]
fn more_epochs_can_be_asked_for() {
    let run = train("longer", &["--epochs", "2"]);
    let (before, steps) = (lines(&run.join("epochs.csv")), lines(&run.join("steps.csv")));
    for epochs in ["1", "0"] {
        assert!(fail(2, &["train", "--resume", text(&run), "--epochs", epochs]).contains("--epochs"), "{epochs}");
    }
    let told = fail(1, &["train", "--resume", text(&run), "--epochs", "2"]);
    assert!(told.contains("nothing to resume") && told.contains("--epochs with more than 2"), "{told}");
    let told = fail(2, &["train", "--resume", text(&run), "--epochs", "4", "--seed", "9"]);
    assert!(told.contains("seed"), "{told}");

    let told = succeed(&["train", "--resume", text(&run), "--epochs", "4"]);
    assert!(told.contains("3/4") && told.contains("4/4") && !told.contains(" 2/4"), "{told}");
    let after = lines(&run.join("epochs.csv"));
    assert_eq!((after.len(), &after[..3]), (5, &before[..]));
    let all_steps = lines(&run.join("steps.csv"));
    assert_eq!((all_steps.len() - 1, &all_steps[..steps.len()]), (2 * (steps.len() - 1), &steps[..]));
    assert!(std::fs::read_to_string(run.join("config.toml")).unwrap().contains("epochs = 4"));
    // The learning rate is that of a run of four epochs from there on.
    let whole = train("four at once", &["--epochs", "4"]);
    let rate = |line: &String| line.split(',').nth(3).map(String::from);
    let expected = lines(&whole.join("steps.csv"));
    assert_eq!(rate(&all_steps[steps.len()]), rate(&expected[steps.len()]));
    assert_ne!(rate(&all_steps[3]), rate(&expected[3]));
    // It is finished again, and its model is that of an epoch that it has seen.
    assert!(fail(1, &["train", "--resume", text(&run)]).contains("nothing to resume"));
    let folds = train("folds", &["--epochs", "1", "--folds", "2"]);
    assert!(fail(2, &["train", "--resume", text(&folds), "--epochs", "3"]).contains("--epochs"));
}

#[test]
fn patience_begins_anew_where_more_epochs_are_asked_for() {
    // A rate that breaks everything: the first epoch stays the best, and two more are waited for.
    let run = train("impatient", &["--epochs", "9", "--learning-rate", "2", "--patience", "2"]);
    let done = lines(&run.join("epochs.csv")).len() - 1;
    assert!(done < 9, "{done}");
    succeed(&["train", "--resume", text(&run), "--epochs", "12"]);
    let now = lines(&run.join("epochs.csv")).len() - 1;
    assert!(now >= done + 2, "{done} {now}");
}

#[test]
fn a_model_that_somebody_else_has_touched_is_written_again() {
    let run = train("touched", &["--epochs", "2", "--folds", "2"]);
    let model = |fold: usize| run.join(format!("fold-{fold}/model.safetensors"));
    let whole = [1, 2].map(|fold| std::fs::read(model(fold)).unwrap());
    assert!(whole[0] != whole[1]);
    let again = || {
        // What says that all is done: the folds are looked at once more, and not trained.
        std::fs::remove_file(run.join("folds.csv")).unwrap();
        let told = succeed(&["train", "--resume", text(&run)]);
        assert!([1, 2].map(|fold| std::fs::read(model(fold)).unwrap()) == whole, "{told}");
        told
    };
    assert!(!again().contains("written again"));
    std::fs::copy(model(2), model(1)).unwrap();
    let told = again();
    assert!(
        told.contains("fold-1") && told.contains("no longer the model") && told.contains("written again"),
        "{told}"
    );
    std::fs::remove_file(model(2)).unwrap();
    let told = again();
    assert!(told.contains("fold-2") && told.contains("missing or damaged"), "{told}");
    std::fs::write(model(1), b"nonsense").unwrap();
    assert!(again().contains("missing or damaged"));
}

#[test]
fn checkpoints_of_before_there_was_a_model_in_them_go_on() {
    let run = train("earlier", &["--epochs", "2"]);
    let at = run.join("checkpoint.safetensors");
    assert!(Checkpoint::read(&at).unwrap().best.is_some());
    let mut weights = Weights::read(&at).unwrap();
    weights.tensors.retain(|name, _| !name.starts_with("best."));
    weights.counts.retain(|name, _| !name.starts_with("best."));
    let text_of = weights.metadata.get_mut("humdinger_checkpoint").unwrap();
    let older: Vec<&str> =
        text_of.lines().filter(|l| !["best =", "sound ="].iter().any(|k| l.starts_with(k))).collect();
    *text_of = older.join("\n");
    weights.write(&at).unwrap();
    let read = Checkpoint::read(&at).unwrap();
    assert!(read.best.is_none() && read.progress.finished);
    succeed(&["train", "--resume", text(&run), "--epochs", "3"]);
    assert_eq!(lines(&run.join("epochs.csv")).len(), 4);
}

#[test]
fn recordings_that_were_replaced_are_noticed() {
    let data = scratch().join("replaced");
    std::fs::create_dir_all(&data).unwrap();
    for entry in std::fs::read_dir(small_data()).unwrap().map(|entry| entry.unwrap().path()) {
        std::fs::copy(&entry, data.join(entry.file_name().unwrap())).unwrap();
    }
    let out = scratch().join("of replaced");
    let start = ["train", "--recipe", "notebook", "--device", "cpu", "--epochs", "1", "--data", text(&data)];
    succeed(&[&start[..], &["--out", text(&out)]].concat());
    let longer = ["train", "--resume", text(&out), "--epochs"];
    let clip = std::fs::read_dir(&data).unwrap().next().unwrap().unwrap().path();
    let before = std::fs::read(&clip).unwrap();
    // Of the same name, length and song.
    let mut other = before.clone();
    let middle = other.len() / 2;
    other[middle..middle + 2_000].reverse();
    assert!(other != before);
    std::fs::write(&clip, other).unwrap();
    let told = fail(1, &[&longer[..], &["2"]].concat());
    assert!(told.contains("were replaced") && told.contains("checkpoint.safetensors"), "{told}");
    std::fs::write(&clip, before).unwrap();
    succeed(&[&longer[..], &["2"]].concat());
}
