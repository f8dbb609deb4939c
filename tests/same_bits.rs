//! The same seed gives the same run, to the bit: whatever the number of threads, and on a GPU time after time.

#![cfg(feature = "app")]

#[path = "common/gpu.rs"]
mod common;
#[path = "common/runs.rs"]
mod runs;

use humdinger::device::{Device, DeviceChoice};
use humdinger::train::trainer::Start;
use humdinger::train::{Config, Settings};
use runs::{Blind, config, train};

/// Losses and model of a run.
fn run(config: &Config, device: &Device) -> [Vec<u8>; 2] {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("run");
    train(config, device, &out, Start::New, &mut Blind).unwrap();
    ["steps.csv", "model.safetensors"].map(|name| std::fs::read(out.join(name)).unwrap())
}

#[test]
fn any_number_of_threads_trains_alike() {
    for recipe in ["melody", "notebook"] {
        let config = config(recipe, 2);
        let one = run(&config, &Device::with_threads(1));
        for threads in [1, 2, 3, 5] {
            assert!(run(&config, &Device::with_threads(threads)) == one, "{recipe}: {threads} threads train otherwise");
        }
        let seed = Settings { seed: Some(2), ..config.settings() }.resolve().unwrap();
        assert!(run(&seed, &Device::with_threads(1)) != one, "{recipe}: the seed makes no difference");
    }
}

#[test]
fn a_gpu_trains_alike_time_after_time() {
    let Some(gpu) = common::gpu() else { return };
    let device = Device::choose(DeviceChoice::Gpu(Some(gpu.adapter().number))).unwrap();
    for recipe in ["melody", "notebook"] {
        let config = config(recipe, 1);
        assert!(run(&config, &device) == run(&config, &device), "{recipe}: a second run differs");
    }
}

/// What a clip is heard as does not depend on the clips beside it.
#[test]
fn evaluation_does_not_depend_on_the_batch() {
    use humdinger::data::{Clip, Dataset, LoadOptions};
    use humdinger::train::distribution::WindowOutputs;
    use humdinger::train::engine::{EVALUATION_BATCH, Engine};
    let mut devices = vec![Device::with_threads(2)];
    if let Some(gpu) = common::gpu() {
        devices.push(Device::choose(DeviceChoice::Gpu(Some(gpu.adapter().number))).unwrap());
    }
    for (device, recipe) in
        devices.iter().flat_map(|device| humdinger::train::Recipe::ALL.map(|recipe| (device, recipe)))
    {
        let front_end = recipe.front_end();
        let options = LoadOptions { sample_rate: front_end.sample_rate, ..LoadOptions::default() };
        let data = Dataset::load(&runs::clips(), &options).unwrap();
        // Enough for a whole batch, and some that are left over.
        let clips: Vec<&Clip> = data.clips.iter().cycle().take(EVALUATION_BATCH + 5).collect();
        let mut engine = Engine::for_evaluation(device, recipe, &front_end, recipe.classifier(5)).unwrap();
        let together = engine.infer(&clips, false).unwrap();
        let augmentations = front_end.augmentations.len();
        for (augmented_of, plain) in together.iter().zip(engine.infer_once(&clips, false).unwrap()) {
            // The first view is the window as it is; nothing else is heard alike.
            assert_eq!(augmented_of.len(), plain.len() * augmentations);
            for (augmented_of, plain) in augmented_of.chunks(augmentations).zip(&plain) {
                let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 2e-5 * (1.0 + b.abs());
                let alike = |inferred: &&WindowOutputs| inferred.logits.iter().zip(&plain.logits).all(close);
                assert_eq!(augmented_of.iter().filter(alike).count(), 1, "{recipe}");
                assert!(alike(&&augmented_of[0]), "{recipe}: the first augmentation is not the window as it is");
            }
        }
        for (clip, beside_others) in clips.iter().zip(&together).take(data.clips.len()) {
            let alone = engine.infer(&[*clip], false).unwrap().remove(0);
            let numbers = |inferred: &WindowOutputs| [inferred.logits.as_slice(), &inferred.embedding].concat();
            for (a, b) in alone.iter().flat_map(numbers).zip(beside_others.iter().flat_map(numbers)) {
                assert!(
                    (a - b).abs() <= if device.gpu().is_some() { 2e-5 * (1.0 + b.abs()) } else { 0.0 },
                    "{device}, {recipe}, {}: {a} against {b}",
                    clip.id
                );
            }
        }
    }
}
