//! `humdinger evaluate`.

use super::{say, warn};
use crate::Result;
use crate::device::Device;
use crate::train::model::Model;
use crate::train::predict::Predictor;
use crate::train::source;
use std::path::PathBuf;

/// Hold a model against labelled recordings.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Folder or CSV file of recordings, labelled as for training
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// auto, cpu, gpu or gpu:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Print one JSON object: accuracy, baseline, clips, loss, songs, confusion
    #[arg(long)]
    json: bool,
    /// Look at all of a long recording, for a model that hears only its beginning unless asked
    #[arg(long)]
    all_windows: bool,
    #[command(flatten)]
    reading: super::ReadingArgs,
}

pub fn run(args: Args) -> Result<()> {
    let device = Device::choose(args.device.parse()?)?;
    // What is wrong with the model is said before the recordings are read.
    let mut predictor = Predictor::new(Model::read(&args.model)?, &args.model, &device)?;
    let header = &predictor.model.header;
    let first_only = header.recipe.first_window_only() && !args.all_windows;
    let data = source::load(&args.data, &header.front_end, first_only, args.reading.into(), &|text| warn(text))?;
    let (metrics, _) = predictor.evaluate(&data, &args.data, first_only)?;
    if args.json {
        let text = serde_json::to_string(&metrics).map_err(|e| crate::Error::Data(e.to_string()))?;
        return say(text);
    }
    let width = metrics.songs.iter().map(|song| song.name.chars().count()).max().unwrap_or(4).max(4);
    say(format!("{:<width$}  clips  precision  recall     F1", "song"))?;
    for song in &metrics.songs {
        let [precision, recall, f1] = [song.precision, song.recall, song.f1];
        say(format!("{:<width$}  {:>5}      {precision:.3}   {recall:.3}  {f1:.3}", song.name, song.clips))?;
    }
    say(format!(
        "\naccuracy {:.2} % over {} clips (baseline {:.2} %), loss {:.4}, calibration error {:.3}",
        100.0 * metrics.accuracy,
        metrics.clips,
        100.0 * metrics.baseline,
        metrics.loss,
        metrics.calibration_error
    ))
}
