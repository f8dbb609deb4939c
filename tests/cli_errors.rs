//! Bad input: exit code 2 for wrong usage and 1 otherwise, one clear message, nothing overwritten.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use program::{fail, humdinger, run, scratch, small_data, succeed, text};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

fn contains(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

/// A finished run of one epoch.
fn finished() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        let out = scratch().join("finished");
        let data = text(small_data());
        let train = ["train", "--recipe", "notebook", "--device", "cpu", "--epochs", "1", "--data", data];
        succeed(&[&train[..], &["--out", text(&out)]].concat());
        out
    })
}

fn model() -> PathBuf {
    finished().join("model.safetensors")
}

#[test]
fn wrong_options_are_usage_errors_that_suggest_the_right_one() {
    contains(&fail(2, &["train", "--epoch", "3"]), &["--epoch", "--epochs"]);
    contains(&fail(2, &["train", "--lr", "3"]), &["'--lr'", "'--learning-rate'"]);
    contains(&fail(2, &["train", "--outpts", "3"]), &["'--outputs'"]);
    contains(&fail(2, &["train", "--config", "a", "--nonsense", "3"]), &["--nonsense"]);
    contains(&fail(2, &["trian"]), &["train"]);
    contains(&fail(2, &["train", "--recipe", "melodie"]), &["melody"]);
    contains(&fail(2, &["train", "--device", "tpu"]), &["--device", "tpu", "cpu"]);
    contains(&fail(2, &["predict", "--model", "m.safetensors"]), &["PATH"]);
    contains(&fail(2, &["evaluate", "--data", "d"]), &["--model"]);
    contains(&fail(2, &["inspect"]), &["MODEL"]);
    contains(&fail(2, &["synth", "--out", "s", "--singers", "0"]), &["--singers", "0"]);
    contains(&fail(2, &["train", "--resume", "r", "--out", "o"]), &["--resume", "--out"]);
}

#[test]
fn absurd_values_are_refused_by_name() {
    for (option, value) in [
        ("--epochs", "0"),
        ("--epochs", "-1"),
        ("--epochs", "99999999999"),
        ("--batch-size", "0"),
        ("--batch-size", "100000"),
        ("--learning-rate", "0"),
        ("--learning-rate", "-1"),
        ("--learning-rate", "nan"),
        ("--learning-rate", "inf"),
        ("--val-fraction", "1"),
        ("--val-fraction", "-0.1"),
        ("--folds", "1"),
        ("--split", "persons"),
        ("--split", "column:"),
        ("--without", "mask"),
        ("--without", "key,noise"),
        ("--outputs", "1"),
        ("--outputs", "2001"),
        ("--seed", "18446744073709551615"),
        ("--seed", "-1"),
        ("--epochs", "3.5"),
    ] {
        // One argument, so that a value that begins with a dash is a value.
        let message = fail(2, &["train", &format!("{option}={value}"), "--data", text(small_data())]);
        contains(&message, &[option]);
    }
    let notebook = ["train", "--recipe", "notebook", "--without", "key", "--data", text(small_data())];
    contains(&fail(2, &notebook), &["--without", "notebook", "--no-augment"]);
    let out = scratch().join("never");
    let message = fail(2, &["train", "--outputs", "2", "--data", text(small_data()), "--out", text(&out)]);
    contains(&message, &["--outputs", "3 songs"]);
    assert!(!out.exists());
    contains(&fail(2, &["predict", "--model", text(&model()), "x.wav", "--top", "0"]), &["--top"]);
    contains(
        &fail(2, &["predict", "--model", text(&model()), "x.wav", "--min-confidence", "2"]),
        &["--min-confidence"],
    );
    contains(&fail(2, &["train", "--folds", "6", "--data", text(small_data())]), &["--folds", "4 persons"]);
    // Also where they are arguments by themselves.
    contains(&fail(2, &["train", "--seed", "-1"]), &["--seed", "-1", "whole number"]);
    contains(&fail(2, &["train", "--learning-rate", "-1"]), &["--learning-rate", "above 0"]);
    contains(&fail(2, &["predict", "--model", "m", "x.wav", "--min-confidence", "-0.5"]), &["--min-confidence"]);
}

#[test]
fn configuration_files_are_checked() {
    let file = scratch().join("settings.toml");
    for (content, parts) in [
        ("epoch = 3", &["epoch", "did you mean `epochs`"][..]),
        ("lr = 3", &["`lr`", "did you mean `learning_rate`"]),
        ("colour = 3", &["colour", "known are data, columns, recipe"]),
        ("epochs = \"three\"", &["epochs"]),
        ("epochs = ", &["settings.toml"]),
        ("recipe = \"melodie\"", &["melodie", "melody"]),
        ("learning_rate = -3.0", &["--learning-rate"]),
    ] {
        std::fs::write(&file, content).unwrap();
        contains(&fail(2, &["train", "--config", text(&file)]), parts);
    }
    contains(&fail(2, &["train", "--config", "no-such.toml"]), &["no-such.toml"]);
}

#[test]
fn data_that_cannot_be_used() {
    let out = scratch().join("no run");
    let train = |code: i32, path: &Path| fail(code, &["train", "--data", text(path), "--out", text(&out)]);
    contains(&train(1, Path::new("/no/such/path")), &["/no/such/path", "no such file or folder"]);
    contains(&train(1, &model()), &["model.safetensors", "neither a folder of recordings nor a CSV file"]);

    let empty = scratch().join("empty");
    std::fs::create_dir_all(&empty).unwrap();
    contains(&train(1, &empty), &["empty", "no sound file"]);

    let junk = scratch().join("junk");
    std::fs::create_dir_all(junk.join("Rain")).unwrap();
    std::fs::create_dir_all(junk.join("Frozen")).unwrap();
    std::fs::write(junk.join("Rain/a.wav"), b"this is no sound").unwrap();
    std::fs::write(junk.join("Frozen/b.wav"), b"").unwrap();
    contains(&train(1, &junk), &["junk"]);

    let one = scratch().join("one song");
    std::fs::create_dir_all(one.join("Rain")).unwrap();
    let clips: Vec<_> = std::fs::read_dir(small_data()).unwrap().map(|e| e.unwrap().path()).collect();
    std::fs::copy(&clips[0], one.join("Rain/a.wav")).unwrap();
    std::fs::copy(&clips[1], one.join("Rain/b.wav")).unwrap();
    contains(&train(1, &one), &["1 song", "at least 2"]);
    assert!(!out.exists(), "nothing is written for data that cannot be used");
}

#[test]
fn models_that_cannot_be_used() {
    let data = text(small_data());
    let evaluate = |path: &Path| fail(1, &["evaluate", "--device", "cpu", "--model", text(path), "--data", data]);
    contains(&evaluate(Path::new("none.safetensors")), &["none.safetensors", "no such file"]);
    let bytes = std::fs::read(model()).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = scratch().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    for length in [0, 4, 100, bytes.len() / 2, bytes.len() - 1] {
        contains(&evaluate(&write("cut.safetensors", &bytes[..length])), &["cut.safetensors"]);
    }
    let mut wrong = bytes.clone();
    wrong[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    contains(&evaluate(&write("header.safetensors", &wrong)), &["header.safetensors"]);
    contains(&evaluate(&write("text.safetensors", b"hello, I am no model at all")), &["safetensors"]);
    // The same length, so that the file stays whole; the number of outputs no longer is that of the weights.
    let swap = |from: &str, to: &str| {
        let mut changed = bytes.clone();
        let at = changed.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        changed[at..at + from.len()].copy_from_slice(to.as_bytes());
        changed
    };
    let more = swap("\\\"outputs\\\":3", "\\\"outputs\\\":7");
    contains(&evaluate(&write("shapes.safetensors", &more)), &["lin.weight", "[3, 64]", "[7, 64]"]);
    let later = swap("\\\"format_version\\\":4", "\\\"format_version\\\":9");
    contains(&evaluate(&write("later.safetensors", &later)), &["format version 9"]);
    contains(&evaluate(&finished().join("checkpoint.safetensors")), &["no description of a model"]);
    contains(&evaluate(small_data()), &["small data", "is a folder"]);
    let init = write("init.safetensors", &more);
    let out = scratch().join("never begun");
    let train = ["train", "--recipe", "notebook", "--device", "cpu", "--data", data, "--out", text(&out)];
    contains(&fail(1, &[&train[..], &["--outputs", "5", "--init", "none.st"]].concat()), &["none.st", "no such file"]);
    contains(&fail(1, &[&train[..], &["--init", data]].concat()), &["small data"]);
    let melody = ["train", "--device", "cpu", "--data", data, "--out", text(&out)];
    contains(
        &fail(1, &[&melody[..], &["--init", text(&init)]].concat()),
        &["conv1.weight", "does", "fit"].map(|p| if p == "does" { "weights" } else { p }),
    );
    contains(&fail(1, &[&melody[..], &["--init", text(&init), "--folds", "2"]].concat()), &["conv1.weight"]);
    assert!(!out.exists(), "weights that do not fit are told before a folder is made");
}

#[test]
fn recordings_that_cannot_be_predicted() {
    let model = model();
    let predict = |path: &str| fail(1, &["predict", "--device", "cpu", "--model", text(&model), path]);
    contains(&predict("nothing.wav"), &["nothing.wav", "no such file"]);
    let broken = scratch().join("broken.wav");
    std::fs::write(&broken, b"RIFF\0\0").unwrap();
    contains(&predict(text(&broken)), &["broken.wav"]);
    let clip = std::fs::read_dir(small_data()).unwrap().next().unwrap().unwrap().path();
    let output = run(&["predict", "--device", "cpu", "--model", text(&model), text(&clip), text(&broken)]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told.lines().count(), 2, "what can be read is answered: {told}");
    contains(&told, &["not read", "broken.wav", "cut short"]);
    contains(&String::from_utf8_lossy(&output.stderr), &["1 of 2"]);
}

#[test]
fn runs_that_cannot_be_written_or_resumed() {
    let data = text(small_data());
    let train = ["train", "--recipe", "notebook", "--device", "cpu", "--epochs", "1", "--data", data];
    let before = std::fs::read(model()).unwrap();
    contains(&fail(1, &[&train[..], &["--out", text(finished())]].concat()), &["finished", "not empty"]);
    contains(&fail(1, &["train", "--resume", text(finished())]), &["finished", "nothing to resume"]);
    assert_eq!(std::fs::read(model()).unwrap(), before, "nothing is overwritten");
    contains(&fail(1, &["train", "--resume", "no run"]), &["no run", "no such run folder"]);
    contains(&fail(1, &["train", "--resume", data]), &["not a run folder"]);
    let file = scratch().join("a file");
    std::fs::write(&file, b"x").unwrap();
    contains(&fail(1, &[&train[..], &["--out", text(&file.join("run"))]].concat()), &["a file/run", "cannot be made"]);
    contains(&fail(2, &["train", "--resume", text(finished()), "--seed", "7"]), &["--resume", "seed"]);

    // A checkpoint of another configuration.
    let other = scratch().join("other");
    std::fs::create_dir_all(&other).unwrap();
    for name in ["checkpoint.safetensors", "steps.csv", "config.toml"] {
        std::fs::copy(finished().join(name), other.join(name)).unwrap();
    }
    let config = std::fs::read_to_string(other.join("config.toml")).unwrap();
    std::fs::write(other.join("config.toml"), config.replace("epochs = 1", "epochs = 5")).unwrap();
    contains(&fail(1, &["train", "--resume", text(&other)]), &["checkpoint.safetensors", "other settings (epochs)"]);
}

/// Runs that begin in the same second, with nothing in the cache, keep out of each other's way.
#[test]
fn several_runs_at_once() {
    let folder = scratch().join("at once");
    std::fs::create_dir_all(&folder).unwrap();
    let start = || {
        let mut command = humdinger();
        command.args([
            "train",
            "--recipe",
            "notebook",
            "--device",
            "cpu",
            "--epochs",
            "1",
            "--data",
            text(small_data()),
        ]);
        command.env("HUMDINGER_CACHE", folder.join("cache")).current_dir(&folder);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let runs: Vec<_> = (0..4).map(|_| start()).collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let made: Vec<PathBuf> = std::fs::read_dir(folder.join("runs")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(made.len(), 4);
    let steps: Vec<Vec<u8>> = made.iter().map(|run| std::fs::read(run.join("steps.csv")).unwrap()).collect();
    assert!(steps.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_run_that_is_going_on_is_left_alone() {
    let busy = scratch().join("busy");
    std::fs::create_dir_all(&busy).unwrap();
    for name in ["checkpoint.safetensors", "steps.csv", "config.toml"] {
        std::fs::copy(finished().join(name), busy.join(name)).unwrap();
    }
    let held = humdinger::train::folder::RunFolder::open(&busy).unwrap();
    contains(&fail(1, &["train", "--resume", text(&busy)]), &["busy", "another humdinger is at work"]);
    drop(held);
    contains(&fail(1, &["train", "--resume", text(&busy)]), &["busy", "finished"]);
}

/// Trains with a limit on the size of files in place of a full disk: writing fails in the middle.
#[cfg(target_os = "linux")]
fn train_on_a_full_disk(kilobytes: u64, epochs: &str, out: &Path) -> String {
    let script = format!(
        "trap '' XFSZ; ulimit -f {kilobytes}; exec '{}' train --recipe notebook --device cpu --epochs {epochs} --data '{}' --out '{}'",
        humdinger().get_program().to_str().unwrap(),
        text(small_data()),
        text(out)
    );
    let output =
        Command::new("bash").args(["-c", &script]).env("HUMDINGER_CACHE", scratch().join("cache")).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    contains(&error, &["cannot be written", text(out)]);
    assert_eq!(error.lines().filter(|line| line.starts_with("error:")).count(), 1, "{error}");
    let others = ["error:", "warning:", "labels from"];
    assert!(error.lines().all(|line| others.iter().any(|start| line.starts_with(start))), "{error}");
    error
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    let out = scratch().join("full");
    train_on_a_full_disk(40, "1", &out);
    assert!(!out.join("checkpoint.safetensors").exists(), "a file is there whole or not at all");
}

/// Whatever was written last is whole, and the run goes on from there once there is room again.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_costs_little() {
    let whole = scratch().join("roomy");
    let data = text(small_data());
    let train = ["train", "--recipe", "notebook", "--device", "cpu", "--epochs", "120", "--data", data];
    succeed(&[&train[..], &["--out", text(&whole)]].concat());
    let size = |run: &Path| run.join("checkpoint.safetensors").metadata().unwrap().len();
    // The checkpoint grows by a line per epoch.
    let out = scratch().join("filling up");
    let message = train_on_a_full_disk((size(finished()) + size(&whole)) / 2 / 1024, "120", &out);
    contains(&message, &["checkpoint.safetensors"]);
    let epochs = std::fs::read_to_string(out.join("epochs.csv")).unwrap().lines().count();
    assert!((10..120).contains(&epochs), "{epochs}");
    succeed(&["train", "--resume", text(&out)]);
    for file in ["steps.csv", "predictions.csv", "model.safetensors"] {
        assert!(std::fs::read(out.join(file)).unwrap() == std::fs::read(whole.join(file)).unwrap(), "{file}");
    }
}
