//! `humdinger folds`: a cross-validation whose folds were trained by several jobs.

use super::outcome::folds_summary;
use super::signals::stop_flag;
use super::terminal::Terminal;
use super::warn;
use crate::device::Device;
use crate::train::folder::RunFolder;
use crate::train::run::{self, Ending};
use crate::train::source;
use crate::train::trainer::Start;
use crate::{Error, Result};
use std::path::PathBuf;

/// Put the folds of a cross-validation together that several jobs trained
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// From the folders fold-1, fold-2, .. that `train --folds K --fold k` left: folds.csv, predictions.csv and the report, as if one
    /// process had trained them all
    Merge {
        /// The folder that was --out
        #[arg(value_name = "RUN")]
        run: PathBuf,
        /// auto, cpu, gpu or gpu:N [default: what the folds were trained on]
        #[arg(long, value_name = "DEVICE")]
        device: Option<String>,
        #[command(flatten)]
        reading: super::ReadingArgs,
    },
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let Action::Merge { run: out, device, reading } = args.action;
    let folder = RunFolder::open(&out)?;
    let config = run::settings_of(folder.path())?.resolve()?;
    let choice = super::device(device.as_deref().unwrap_or(&config.device))?;
    run::check_folds(folder.path(), &config)?;
    let data = source::dataset(&config, reading.into(), &|text| warn(text))?;
    let device = Device::choose(choice)?;
    let stop = stop_flag(false)?;
    let mut watch = Terminal::new(&config);
    let ending = run::run(&config, &data, &device, &folder, Start::Complete, &stop, &mut watch);
    watch.clear();
    match ending? {
        Ending::Folds(folds) => folds_summary(&folds, folder.path()),
        _ => Err(Error::file(&out, "was interrupted; merge it again")),
    }
}
