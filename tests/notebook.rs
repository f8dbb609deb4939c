//! The recipe `notebook` against PyTorch and torchaudio, step by step, and the CPU against the GPU.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;

use humdinger::train::tables::read_steps;
use program::{humdinger, run, scratch, succeed, text};
use std::path::{Path, PathBuf};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/notebook")
}

fn losses(path: &Path) -> Vec<f64> {
    read_steps(path).unwrap().iter().map(|row| f64::from(row.loss)).collect()
}

fn compare(ours: &[f64], theirs: &[f64], tolerance: f64) {
    for (step, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs(), "step {}: {a} against {b}", step + 1);
    }
}

fn has_gpu() -> bool {
    let adapters = humdinger::gpu::adapters();
    if adapters.is_empty() {
        assert!(std::env::var_os("CI").is_none(), "no GPU adapter, not even a software one");
        eprintln!("skipped: no GPU adapter on this machine");
    }
    !adapters.is_empty()
}

fn notebook(device: &str, epochs: &str) -> PathBuf {
    let out = scratch().join(format!("notebook {device} {epochs}"));
    let (data, init) = (golden().join("clips"), golden().join("initial.safetensors"));
    let exact = ["--no-augment", "--no-shuffle", "--val-fraction", "0", "--outputs", "10", "--batch-size", "4"];
    let arguments = ["train", "--recipe", "notebook", "--device", device, "--epochs", epochs];
    let files = ["--data", text(&data), "--init", text(&init), "--out", text(&out)];
    succeed(&[&arguments[..], &exact, &files].concat());
    out
}

/// The 51 steps of 17 epochs, as tools/notebook_reference.py made them.
#[test]
fn the_losses_are_pytorchs_on_the_cpu() {
    let run = notebook("cpu", "17");
    let (ours, theirs) =
        (read_steps(&run.join("steps.csv")).unwrap(), read_steps(&golden().join("losses.csv")).unwrap());
    assert_eq!(ours.len(), theirs.len());
    compare(&losses(&run.join("steps.csv"))[..50], &losses(&golden().join("losses.csv"))[..50], 1e-3);
    for (a, b) in ours.iter().zip(&theirs) {
        assert!((a.learning_rate - b.learning_rate).abs() <= 1e-6 * b.learning_rate + 1e-12, "{a:?} {b:?}");
    }
}

#[test]
fn the_losses_are_pytorchs_on_the_gpu() {
    if has_gpu() {
        let run = notebook("gpu", "17");
        compare(&losses(&run.join("steps.csv"))[..50], &losses(&golden().join("losses.csv"))[..50], 1e-3);
    }
}

/// With everything random that the recipes have, CPU and GPU still make the same run. The learning rate is that of a long
/// run's first steps: in a run of twenty steps it would rise so fast that the last bits' rounding takes over.
#[test]
fn cpu_and_gpu_train_alike() {
    if !has_gpu() {
        return;
    }
    for recipe in ["notebook", "melody"] {
        let steps = |device: &str| {
            let out = scratch().join(format!("alike {recipe} {device}"));
            let data = golden().join("clips");
            let arguments = ["train", "--recipe", recipe, "--device", device, "--epochs", "10", "--batch-size", "4"];
            succeed(
                &[
                    &arguments[..],
                    &["--learning-rate", "0.0002", "--split", "random", "--data", text(&data), "--out", text(&out)],
                ]
                .concat(),
            );
            losses(&out.join("steps.csv"))
        };
        let (cpu, gpu) = (steps("cpu"), steps("gpu"));
        assert!(cpu.len() >= 20 && cpu.len() == gpu.len());
        compare(&gpu[..20], &cpu[..20], 1e-3);
    }
}

/// What the program writes loads by name in the notebook's PyTorch module and gives the same logits, where there is one.
#[test]
fn weights_load_in_pytorch() {
    let python = std::env::var("HUMDINGER_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_torch = std::process::Command::new(&python)
        .args(["-c", "import torch, torchaudio, safetensors, soundfile"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_torch {
        eprintln!("skipped: {python} has no torch; name one that has in HUMDINGER_PYTHON");
        return;
    }
    let trained = notebook("cpu", "2");
    let model = trained.join("model.safetensors");
    let mut clips: Vec<PathBuf> =
        std::fs::read_dir(golden().join("clips")).unwrap().map(|e| e.unwrap().path()).collect();
    clips.sort();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/notebook_reference.py");
    let output = std::process::Command::new(&python)
        .args([text(&script), "logits", "--model", text(&model)])
        .args(&clips)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs = String::from_utf8(output.stdout).unwrap();
    let ours = humdinger()
        .args([
            "predict",
            "--device",
            "cpu",
            "--format",
            "json",
            "--top",
            "10",
            "--min-confidence",
            "0",
            "--model",
            text(&model),
        ])
        .args(&clips)
        .output()
        .unwrap();
    let ours: serde_json::Value = serde_json::from_slice(&ours.stdout).unwrap();
    let names = humdinger::train::Model::read(&model).unwrap().header.names();
    for (line, answer) in theirs.lines().zip(ours.as_array().unwrap()) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let logits: Vec<f32> = line["logits"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
        // Nothing validated, so the temperature is 1.
        let expected = humdinger::train::metrics::softmax(&logits, 1.0);
        for place in answer["top"].as_array().unwrap() {
            let i = names.iter().position(|name| place["song"] == *name).unwrap();
            let p = place["probability"].as_f64().unwrap();
            assert!((p - expected[i]).abs() < 1e-5, "{}: {p} against {}", line["file"], expected[i]);
        }
    }
}

/// And back: the weights that PyTorch trained give its logits here.
#[test]
fn pytorchs_weights_give_its_logits_here() {
    use humdinger::data::{Dataset, LoadOptions};
    use humdinger::device::{Device, DeviceChoice};
    use humdinger::train::engine::Engine;
    use humdinger::train::{Recipe, model::load_weights, weights::Weights};
    let path = golden().join("trained.safetensors");
    let front_end = Recipe::Notebook.front_end();
    let device = Device::choose(DeviceChoice::Cpu).unwrap();
    let mut engine =
        Engine::for_evaluation(&device, Recipe::Notebook, &front_end, Recipe::Notebook.classifier(10)).unwrap();
    load_weights(&mut *engine.session, &Weights::read(&path).unwrap(), &path, false).unwrap();
    let data = Dataset::load(&golden().join("clips"), &LoadOptions::default()).unwrap();
    let inferred = engine.infer(&data.clips.iter().collect::<Vec<_>>(), true).unwrap();
    let expected = std::fs::read_to_string(golden().join("logits.jsonl")).unwrap();
    let mut compared = 0;
    for line in expected.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let i = data.clips.iter().position(|clip| line["file"] == *clip.id).unwrap();
        for (a, b) in inferred[i][0].logits.iter().zip(line["logits"].as_array().unwrap()) {
            let b = b.as_f64().unwrap();
            assert!((f64::from(*a) - b).abs() < 1e-5 * b.abs().max(1.0), "{}: {a} against {b}", line["file"]);
        }
        compared += 1;
    }
    assert_eq!(compared, data.clips.len());
    assert!(!run(&["inspect", text(&path)]).status.success(), "weights alone are no model");
}
