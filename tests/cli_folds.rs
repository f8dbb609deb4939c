//! A cross-validation by several jobs: `train --fold` and `folds merge`.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use program::{fail, humdinger, scratch, small_data, succeed, text};
use std::path::{Path, PathBuf};

const FIXED: [&str; 9] = ["train", "--recipe", "notebook", "--device", "cpu", "--epochs", "1", "--folds", "2"];

fn train(out: &Path, more: &[&str]) -> Vec<String> {
    let data = ["--data", text(small_data()), "--out", text(out)];
    [&FIXED[..], &data, more].concat().into_iter().map(String::from).collect()
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[test]
fn jobs_train_what_one_process_does() {
    let (one, jobs): (PathBuf, PathBuf) = (scratch().join("one"), scratch().join("jobs"));
    succeed(&words(&train(&one, &[])));
    succeed(&words(&train(&jobs, &["--fold", "2"])));
    let early = fail(1, &["folds", "merge", text(&jobs)]);
    assert!(early.contains("of its 2 folds these are not finished: 1;"), "{early}");
    // As a job of an array.
    let status = humdinger().args(train(&jobs, &["--fold", "env"])).env("SLURM_ARRAY_TASK_ID", "1").output().unwrap();
    assert!(status.status.success(), "{status:?}");
    let told = succeed(&["folds", "merge", text(&jobs)]);
    assert!(told.contains("mean and deviation of 2 folds"), "{told}");
    let files = ["folds.csv", "predictions.csv", "config.toml", "fold-1/model.safetensors", "fold-2/model.safetensors"];
    for file in files {
        assert!(std::fs::read(one.join(file)).unwrap() == std::fs::read(jobs.join(file)).unwrap(), "{file} differs");
    }
    assert!(jobs.join("report.html").exists());
    // A job that is started again finds its work done.
    succeed(&words(&train(&jobs, &["--fold", "2"])));
}

#[test]
fn folds_that_do_not_belong_together_are_refused() {
    let out = scratch().join("mixed");
    succeed(&words(&train(&out, &["--fold", "1"])));
    let other = fail(1, &words(&train(&out, &["--fold", "2", "--seed", "7"])));
    assert!(other.contains("folds of other settings") && other.contains("seed"), "{other}");
    let beyond = fail(2, &words(&train(&out, &["--fold", "3"])));
    assert!(beyond.contains("--fold: 3 is not from 1 to 2"), "{beyond}");
    let alone = fail(2, &["train", "--data", text(small_data()), "--fold", "1", "--out", text(&scratch().join("a"))]);
    assert!(alone.contains("--fold: of how many?"), "{alone}");
    let single = fail(1, &["folds", "merge", text(&out.join("fold-1"))]);
    assert!(single.contains("not finished") || single.contains("single run"), "{single}");
    let no_job = humdinger().args(train(&out, &["--fold", "env"])).env_remove("SLURM_ARRAY_TASK_ID").output().unwrap();
    assert_eq!(no_job.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&no_job.stderr).contains("no job of an array"), "{no_job:?}");
}
