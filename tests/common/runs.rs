//! Runs through the library, watched and stopped from the inside.

#![allow(dead_code, reason = "each test file uses a part")]

use humdinger::Result;
use humdinger::device::Device;
use humdinger::train::folder::RunFolder;
use humdinger::train::run::{Ending, run};
use humdinger::train::source::{self, Reading};
use humdinger::train::tables::EpochRow;
use humdinger::train::trainer::{Start, Watch};
use humdinger::train::{Config, Settings};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Nine short clips of three songs, of which nobody is recorded.
pub fn clips() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/notebook/clips")
}

/// A short run on [`clips`], with all that is random in a recipe.
pub fn config(recipe: &str, epochs: usize) -> Config {
    let recipe = humdinger::train::Recipe::ALL.into_iter().find(|known| known.name() == recipe).unwrap();
    let settings = Settings {
        recipe: Some(recipe),
        data: Some(clips()),
        split: Some("random".into()),
        device: Some("cpu".into()),
        epochs: Some(epochs),
        batch_size: Some(2),
        ..Settings::default()
    };
    settings.resolve().unwrap()
}

/// Trains in `out`, or goes on there.
pub fn train(config: &Config, device: &Device, out: &Path, start: Start, watch: &mut dyn Watch) -> Result<Ending> {
    let reading = Reading { no_cache: true, ..Reading::default() };
    let data = source::dataset(config, reading, &|_| ())?;
    let folder = if start == Start::New { RunFolder::create(out)? } else { RunFolder::open(out)? };
    run(config, &data, device, &folder, start, &AtomicBool::new(false), watch)
}

/// Sees nothing.
pub struct Blind;

impl Watch for Blind {
    fn note(&mut self, _: &str) {}
    fn step(&mut self, _: usize, _: usize, _: usize, _: f32) {}
    fn epoch(&mut self, _: &EpochRow, _: bool) {}
}
