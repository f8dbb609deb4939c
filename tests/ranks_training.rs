//! Training on several ranks (threads here) leaves the run folder that one process leaves, byte for byte, and a run that was
//! stopped goes on with another number of them.

#![cfg(feature = "app")]

#[path = "common/runs.rs"]
mod runs;

use humdinger::device::Device;
use humdinger::ranks::{Communicator, Threads};
use humdinger::train::folder::RunFolder;
use humdinger::train::run::{Ending, run};
use humdinger::train::source::{self, Reading};
use humdinger::train::tables::EpochRow;
use humdinger::train::trainer::{Start, Watch};
use humdinger::train::{Config, Settings};
use humdinger::{Error, Result};
use runs::{Blind, config, train};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stops after a step.
struct StopAfter<'a> {
    steps: usize,
    stop: &'a AtomicBool,
}

impl Watch for StopAfter<'_> {
    fn note(&mut self, _: &str) {}
    fn step(&mut self, _: usize, _: usize, _: usize, _: f32) {
        self.steps -= 1;
        if self.steps == 0 {
            self.stop.store(true, Ordering::SeqCst);
        }
    }
    fn epoch(&mut self, _: &EpochRow, _: bool) {}
}

/// What each rank's run came to; rank `stopped`, if any, is asked to stop after so many steps.
fn among(
    ranks: usize,
    config: &Config,
    out: &Path,
    start: Start,
    stopped: Option<(usize, usize)>,
) -> Vec<Result<Ending>> {
    let rank = |ranks: Threads| {
        let rank = ranks.rank();
        let data = source::dataset(config, Reading { no_cache: true, ..Reading::default() }, &|_| ())?;
        let device = Device::with_threads(1).among(Arc::new(ranks));
        let folder = match (rank, start) {
            (0, Start::New) => RunFolder::create(out)?,
            (0, _) => RunFolder::open(out)?,
            _ => RunFolder::of_another(out),
        };
        let stop = AtomicBool::new(false);
        let steps = stopped.filter(|&(asked, _)| asked == rank).map_or(usize::MAX, |(_, steps)| steps);
        run(config, &data, &device, &folder, start, &stop, &mut StopAfter { steps, stop: &stop })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = Threads::new(ranks).into_iter().map(|ranks| scope.spawn(move || rank(ranks))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn kept(out: &Path) -> [Vec<u8>; 3] {
    ["steps.csv", "model.safetensors", "predictions.csv"].map(|name| std::fs::read(out.join(name)).unwrap())
}

fn small(recipe: &str) -> Config {
    // Seven clips to train on: the last batch is smaller.
    Settings { batch_size: Some(3), ..config(recipe, 2).settings() }.resolve().unwrap()
}

#[test]
fn any_number_of_ranks_leaves_the_same_files() {
    let parent = tempfile::tempdir().unwrap();
    let config = small("notebook");
    let alone = parent.path().join("alone");
    train(&config, &Device::with_threads(2), &alone, Start::New, &mut Blind).unwrap();
    for ranks in [2, 5] {
        let out = parent.path().join(format!("{ranks}"));
        let endings = among(ranks, &config, &out, Start::New, None);
        assert!(endings.iter().all(|ending| matches!(ending, Ok(Ending::Single(one)) if one.finished)));
        assert!(kept(&out) == kept(&alone), "{ranks} ranks leave other files");
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let parent = tempfile::tempdir().unwrap();
    let config = small("notebook");
    let [alone, out] = ["alone", "out"].map(|name| parent.path().join(name));
    train(&config, &Device::with_threads(2), &alone, Start::New, &mut Blind).unwrap();
    // Rank 1 alone hears of it, in the middle of an epoch; all stop after the same step.
    let endings = among(2, &config, &out, Start::New, Some((1, 4)));
    for ending in endings {
        assert!(matches!(ending.unwrap(), Ending::Single(one) if !one.finished && one.steps == 4));
    }
    among(3, &config, &out, Start::Resume, None).into_iter().for_each(|ending| drop(ending.unwrap()));
    assert!(kept(&out) == kept(&alone));
}

#[test]
fn what_one_rank_cannot_write_ends_all_with_its_error() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("run");
    std::fs::create_dir_all(out.join("steps.csv")).unwrap();
    std::fs::write(out.join("config.toml"), small("notebook").to_toml().unwrap()).unwrap();
    for ending in among(2, &small("notebook"), &out, Start::Resume, None) {
        match ending.unwrap_err() {
            Error::Rank { rank: 0, message, code: 1 } => assert!(message.contains("steps.csv"), "{message}"),
            error => panic!("{error}"),
        }
    }
}

#[test]
fn ranks_with_other_settings_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("run");
    let rank = |ranks: Threads| {
        let seed = Some(1 + ranks.rank() as u64);
        let config = Settings { seed, ..small("notebook").settings() }.resolve()?;
        let data = source::dataset(&config, Reading { no_cache: true, ..Reading::default() }, &|_| ())?;
        let device = Device::with_threads(1).among(Arc::new(ranks));
        run(&config, &data, &device, &RunFolder::of_another(&out), Start::New, &AtomicBool::new(false), &mut Blind)
    };
    let errors: Vec<String> = std::thread::scope(|scope| {
        let rank = &rank;
        let threads: Vec<_> = Threads::new(2).into_iter().map(|ranks| scope.spawn(move || rank(ranks))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap_err().to_string()).collect()
    });
    assert!(
        errors.iter().all(|error| error.contains("settings"))
            || errors.iter().all(|error| error.contains("recordings")),
        "{errors:?}"
    );
    assert!(!out.exists());
}
