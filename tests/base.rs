//! The base model that comes with the program: `train` begins with it, `predict` answers from it.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use humdinger::Tensor;
use humdinger::data::synth::tunes;
use humdinger::train::{Model, base};
use program::{fail, run, scratch, small_data, succeed, text};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn train(name: &str, more: &[&str]) -> (PathBuf, String) {
    let out = scratch().join(name);
    let data = text(small_data());
    let told = succeed(&[&["train", "--device", "cpu", "--data", data, "--out", text(&out)], more].concat());
    (out, told)
}

fn model(run: &Path) -> Model {
    Model::read(&run.join("model.safetensors")).unwrap()
}

fn lines(run: &Path, file: &str) -> usize {
    std::fs::read_to_string(run.join(file)).unwrap().lines().count()
}

#[test]
fn predict_names_the_built_in_tunes_without_a_model() {
    let listed = succeed(&["predict", "--tunes"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), tunes().iter().map(|tune| &*tune.name).collect::<Vec<_>>());
    assert!(fail(2, &["predict", "--tunes", "--model", "m"]).contains("--model"));
    assert!(fail(2, &["predict"]).contains("PATH"));
    let folder = scratch().join("sung");
    let names: Vec<&str> = listed.lines().collect();
    succeed(&[
        "synth",
        "--out",
        text(&folder),
        "--singers",
        "2",
        "--first-person",
        "7001",
        "--tunes",
        &names.join(","),
    ]);
    let output = run(&["predict", text(&folder), "--format", "csv", "--min-confidence", "0"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.lines().filter(|line| line.starts_with("model: ")).count() == 1, "{said}");
    assert!(said.contains("base model") && said.contains(&format!("{} tunes", tunes().len())), "{said}");
    let answers = String::from_utf8(output.stdout).unwrap();
    let right = |line: &&str| {
        let mut fields = line.split(',');
        let (file, answer) = (fields.next().unwrap(), fields.next().unwrap());
        file.ends_with(&format!("_{answer}.wav"))
    };
    let right = answers.lines().skip(1).filter(right).count();
    assert!(10 * right >= 9 * 2 * tunes().len(), "{right} of {} are right", 2 * tunes().len());
}

#[test]
fn melody_begins_with_it_and_says_so() {
    let known = format!("the base model of this program ({})", base::checksum());
    // What the program chooses for its own base model and few clips is not what it chooses for another file.
    let quick = "--epochs 1 --batch-size 4 --learning-rate 0.004 --frozen 0 --frozen-norms false";
    let quick: Vec<&str> = quick.split(' ').collect();
    let (usual, told) = train("usual", &quick);
    assert!(told.contains("begins with") && told.contains(&known), "{told}");
    assert_eq!(model(&usual).header.began_with, Some(known.clone()));
    let read = |run: &Path, file: &str| std::fs::read_to_string(run.join(file)).unwrap();
    assert!(read(&usual, "report.html").contains(&known));
    assert!(read(&usual, "config.toml").contains("init = \"base\""));
    assert!(succeed(&["inspect", text(&usual.join("model.safetensors"))]).contains(&known));

    let (nothing, told) = train("nothing", &[&quick[..], &["--init", "none"]].concat());
    assert!(told.contains("none: freshly drawn weights"), "{told}");
    assert!(model(&nothing).header.began_with.unwrap().starts_with("none"));
    assert!(model(&nothing).weights.tensors != model(&usual).weights.tensors);

    // By name, or from a copy of the file, it is the same.
    let (named, _) = train("named", &[&quick[..], &["--init", "base"]].concat());
    let copy = scratch().join("copy.safetensors");
    base::model().unwrap().write_halved(&copy).unwrap();
    let (copied, told) = train("copied", &[&quick[..], &["--init", text(&copy)]].concat());
    assert!(told.contains("begin anew"), "{told}");
    assert!(model(&named).weights.tensors == model(&usual).weights.tensors);
    assert!(model(&copied).weights.tensors == model(&usual).weights.tensors);
    assert_eq!(model(&copied).header.began_with.unwrap(), "copy.safetensors");

    let (notebook, _) = train("notebook", &["--epochs", "1", "--recipe", "notebook"]);
    assert!(model(&notebook).header.began_with.unwrap().starts_with("none"));
    let wrong = ["train", "--recipe", "notebook", "--init", "base", "--data", text(small_data())];
    assert!(fail(2, &wrong).contains("--init"));
}

/// A run of before there was a base model says nothing of one, and did not begin with it.
#[test]
fn earlier_runs_go_on_as_they_began() {
    let (run, _) = train("earlier", &["--epochs", "2", "--batch-size", "4", "--init", "none"]);
    let whole = std::fs::read(run.join("model.safetensors")).unwrap();
    let config = run.join("config.toml");
    let text_of = std::fs::read_to_string(&config).unwrap();
    let older: Vec<&str> =
        text_of.lines().filter(|l| !["init", "patience", "frozen"].iter().any(|k| l.starts_with(k))).collect();
    assert_eq!(older.len() + 3, text_of.lines().count());
    std::fs::write(&config, older.join("\n")).unwrap();
    // Killed before its first checkpoint: all is done again, from freshly drawn weights.
    for file in ["checkpoint.safetensors", "model.safetensors", "steps.csv", "report.html", "epochs.csv"] {
        std::fs::remove_file(run.join(file)).unwrap();
    }
    succeed(&["train", "--resume", text(&run)]);
    assert!(std::fs::read(run.join("model.safetensors")).unwrap() == whole);
}

#[test]
fn training_ends_where_nothing_more_is_gained() {
    // A rate that breaks what the base model knows: the first epoch stays the best.
    let harmful = ["--learning-rate", "2", "--batch-size", "4", "--epochs", "12"];
    let (impatient, told) = train("impatient", &[&harmful[..], &["--patience", "2"]].concat());
    let epochs = lines(&impatient, "epochs.csv") - 1;
    assert!((3..12).contains(&epochs) && told.contains("training ends here"), "{epochs} epochs: {told}");
    assert!(fail(1, &["train", "--resume", text(&impatient)]).contains("finished"));
    // Who says how many epochs gets them.
    let (patient, _) = train("patient", &harmful);
    assert_eq!(lines(&patient, "epochs.csv") - 1, 12);
    assert!(fail(2, &["train", "--patience", "-1"]).contains("--patience"));
}

#[test]
fn frozen_blocks_stay_as_they_begin() {
    let (run, told) = train("frozen", &["--epochs", "1", "--batch-size", "4", "--frozen", "4"]);
    assert!(told.contains("the first 4 of 6 blocks"), "{told}");
    let (before, after) = (base::model().unwrap().weights.tensors, model(&run).weights.tensors);
    for (name, tensor) in before.iter().filter(|(name, _)| !name.starts_with("lin.")) {
        let block: usize = name.split('.').next().unwrap().trim_start_matches(char::is_alphabetic).parse().unwrap();
        assert_eq!(after[name] == *tensor, block <= 4, "{name}");
    }
    let all = train("all frozen", &["--epochs", "1", "--batch-size", "4", "--frozen", "6"]).0;
    let tensors = model(&all).weights.tensors;
    assert!(before.iter().all(|(name, tensor)| (tensors[name] == *tensor) != name.starts_with("lin.")));
    assert!(fail(2, &["train", "--frozen", "7"]).contains("--frozen"));
    // What is resumed is frozen as before.
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("frozen = 4"), "{config}");
}

#[test]
fn norms_keep_the_base_models_statistics() {
    let statistics = |run: &Path| {
        let mut tensors = model(run).weights.tensors;
        tensors.retain(|name, _| name.contains(".running_"));
        tensors
    };
    let mut known = base::model().unwrap().weights.tensors;
    known.retain(|name, _| name.contains(".running_"));
    let few = ["--epochs", "1", "--batch-size", "4", "--frozen", "0", "--frozen-norms"];
    let (keeping, told) = train("keeping norms", &[&few[..], &["true"]].concat());
    assert!(told.contains("keeps the statistics"), "{told}");
    assert!(statistics(&keeping) == known);
    let weights = |tensors: BTreeMap<String, Tensor>| tensors["conv1.weight"].clone();
    assert!(weights(model(&keeping).weights.tensors) != weights(base::model().unwrap().weights.tensors));
    let read = |run: &Path| std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(read(&keeping).contains("frozen_norms = true"));
    // As it was for everybody, and is in runs of before, which say nothing of it.
    let (learning, told) = train("learning norms", &[&few[..], &["false"]].concat());
    assert!(!told.contains("keeps the statistics"), "{told}");
    assert!(statistics(&learning) != known);
    assert!(!read(&learning).contains("frozen_norms"));
}
