//! Model files whose header lies: every number in it replaced by what cannot be. An error or a model that answers, never a
//! panic, and never memory out of proportion.

#![cfg(feature = "app")]

#[path = "common/runs.rs"]
mod runs;

use humdinger::data::{Clip, Dataset, LoadOptions};
use humdinger::device::Device;
use humdinger::train::predict::Predictor;
use humdinger::train::trainer::Start;
use humdinger::train::{Model, Recipe, weights::Weights};
use runs::{Blind, config, train};
use serde_json::Value;
use std::path::Path;

/// All headers that differ from this one in one number.
fn lies(header: &Value) -> Vec<(String, Value)> {
    let absurd = ["-1", "0", "1", "2", "3", "7", "1000", "65536", "4294967296", "1e300", "0.5", "\"x\"", "null", "[]"];
    let absurd = absurd.map(|text| serde_json::from_str::<Value>(text).unwrap());
    let places = header.as_object().unwrap().iter().flat_map(|(key, value)| match value.as_object() {
        None => vec![format!("/{key}")],
        Some(inner) => inner.keys().map(|name| format!("/{key}/{name}")).collect(),
    });
    let mut all = Vec::new();
    for place in places.filter(|place| header.pointer(place).is_some_and(Value::is_number)) {
        for value in &absurd {
            let mut changed = header.clone();
            *changed.pointer_mut(&place).unwrap() = value.clone();
            all.push((format!("{place} = {value}"), changed));
        }
    }
    all
}

fn ask(path: &Path, clip: &Clip) -> humdinger::Result<()> {
    let mut predictor = Predictor::new(Model::read(path)?, path, &Device::with_threads(1))?;
    predictor.windows(clip, true).map(drop)
}

#[test]
fn headers_that_lie() {
    let folder = tempfile::tempdir().unwrap();
    for recipe in Recipe::ALL {
        let run = folder.path().join(recipe.name());
        train(&config(recipe.name(), 1), &Device::with_threads(1), &run, Start::New, &mut Blind).unwrap();
        let options = LoadOptions { sample_rate: recipe.front_end().sample_rate, ..LoadOptions::default() };
        let data = Dataset::load(&runs::clips(), &options).unwrap();
        let mut weights = Weights::read(&run.join("model.safetensors")).unwrap();
        ask(&run.join("model.safetensors"), &data.clips[0]).unwrap();
        let (key, text) = weights.metadata.iter().next().map(|(k, v)| (k.clone(), v.clone())).unwrap();
        let header: Value = serde_json::from_str(&text).unwrap();
        let (mut refused, path) = (0, folder.path().join("lying.safetensors"));
        let lies = lies(&header);
        assert!(lies.len() > 100);
        for (what, lie) in &lies {
            weights.metadata.insert(key.clone(), lie.to_string());
            weights.write(&path).unwrap();
            // Some of the numbers make another model that works, such as a lower threshold.
            if let Err(error) = ask(&path, &data.clips[0]) {
                assert!(error.to_string().contains("lying.safetensors"), "{recipe}, {what}: {error}");
                refused += 1;
            }
        }
        assert!(refused > lies.len() / 2, "{recipe}: only {refused} of {} were refused", lies.len());
    }
}
