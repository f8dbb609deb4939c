//! The loss of an epoch is the mean over its clips, also where the last batch is smaller than the others.

#![cfg(feature = "app")]

#[path = "common/runs.rs"]
mod runs;

use humdinger::device::{Device, DeviceChoice};
use humdinger::train::tables::EpochRow;
use humdinger::train::trainer::{Start, Watch};
use humdinger::train::{Config, Settings};
use runs::{config, train};

/// The sizes and losses of the batches of each epoch, and the loss that the epoch's row names.
#[derive(Default)]
struct Batches {
    open: Vec<(usize, f64)>,
    epochs: Vec<(Vec<(usize, f64)>, f64)>,
}

impl Watch for Batches {
    fn note(&mut self, _: &str) {}

    fn step(&mut self, _: usize, done: usize, _: usize, loss: f32) {
        let before: usize = self.open.iter().map(|(size, _)| size).sum();
        self.open.push((done - before, f64::from(loss)));
    }

    fn epoch(&mut self, row: &EpochRow, _: bool) {
        self.epochs.push((std::mem::take(&mut self.open), row.train_loss));
    }
}

#[test]
fn a_smaller_last_batch_counts_by_its_clips() {
    // Six of the nine clips train: batches of five and of one.
    let one = config("notebook", 2);
    let config: Config = Settings { batch_size: Some(5), ..one.settings() }.resolve().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let device = Device::choose(DeviceChoice::Cpu).unwrap();
    let mut batches = Batches::default();
    train(&config, &device, &folder.path().join("run"), Start::New, &mut batches).unwrap();
    assert_eq!(batches.epochs.len(), 2);
    for (batches, train_loss) in batches.epochs {
        let clips: usize = batches.iter().map(|(size, _)| size).sum();
        let (first, last) = (batches[0].0, batches[batches.len() - 1].0);
        assert!(batches.len() > 1 && last < first, "the last batch is to be smaller: {batches:?}");
        let mean = batches.iter().map(|&(size, loss)| size as f64 * loss).sum::<f64>() / clips as f64;
        let by_batch = batches.iter().map(|(_, loss)| loss).sum::<f64>() / batches.len() as f64;
        assert!((train_loss - mean).abs() < 1e-6 * mean, "{train_loss}, not {mean}, of {batches:?}");
        assert!((by_batch - mean).abs() > 1e-3 * mean, "the losses of {batches:?} are too alike for this test to tell");
    }
}
