//! `humdinger evaluate`.

use super::{plain, say, warn};
use crate::data::Dataset;
use crate::device::Device;
use crate::error::counted;
use crate::train::metrics::{Metrics, Prediction, wrong};
use crate::train::model::Model;
use crate::train::predict::{Evaluation, Predictor};
use crate::train::report::{Report, last_part};
use crate::train::trainer::files;
use crate::train::{run, source};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Hold a model against labelled recordings.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model file, or the folder of a run
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Folder or CSV file of recordings, labelled as for training
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// auto, cpu, gpu or gpu:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Print one JSON object: accuracy, interval, baseline, clips, loss, answers, songs, people, confusion, wrong, unknown and others
    #[arg(long)]
    json: bool,
    /// Write the page that `train` writes of a run
    #[arg(long, value_name = "HTML")]
    report: Option<PathBuf>,
    /// Embed the clips that the report plays, so that it can be shared without the recordings
    #[arg(long, requires = "report")]
    embed_audio: bool,
    /// Write over a report that is there already
    #[arg(long, requires = "report")]
    force: bool,
    /// Look at all of a long recording, for a model that is given only its beginning unless asked
    #[arg(long)]
    all_windows: bool,
    #[command(flatten)]
    columns: super::ColumnArgs,
    #[command(flatten)]
    reading: super::ReadingArgs,
}

pub fn run(args: Args) -> Result<()> {
    let device = Device::choose(super::device(&args.device)?)?;
    if let Some(report) = &args.report {
        super::check_free(report, args.force)?;
    }
    // A damaged model is reported before the recordings are read.
    let mut predictor = Predictor::new(Model::read(&args.model)?, &args.model, &device)?;
    let header = &predictor.model.header;
    let first_only = header.recipe.first_window_only() && !args.all_windows;
    let columns = args.columns.clone().into();
    let tell = |text: &str| warn(&plain(text));
    let data = source::load((&args.data, &columns), &header.front_end, first_only, args.reading.into(), &tell)?;
    let evaluation = predictor.evaluate(&data, &args.data, first_only)?;
    for (song, model) in &evaluation.renamed {
        warn(&plain(&format!("note: \"{song}\" is taken for the model's \"{model}\"")));
    }
    if !evaluation.unknown_songs.is_empty() {
        let of: usize = evaluation.predictions.iter().filter(|p| p.truth.is_none()).count();
        let songs = evaluation.unknown_songs.join(", ");
        let text = format!("note: the model does not know {songs}; their {} do not count", counted(of, "clip"));
        warn(&plain(&text));
    }
    if let Some(path) = &args.report {
        write_report(path, &args, &predictor.model, &data, &evaluation, &device)?;
    }
    let names = predictor.model.header.names();
    if args.json { say(json(&evaluation, &names)?) } else { print(&evaluation, &names, args.report.as_deref()) }
}

fn write_report(
    path: &Path,
    args: &Args,
    model: &Model,
    data: &Dataset,
    evaluation: &Evaluation,
    device: &Device,
) -> Result<()> {
    let header = &model.header;
    let own = [("model", args.model.display().to_string()), ("data", args.data.display().to_string())];
    let recipe = [("recipe", header.recipe.to_string()), ("epochs of training", header.epoch.to_string())];
    let folder = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_path_buf));
    // The models of all runs are called alike; the run is what people know one by.
    let usual = args.model.file_name().is_some_and(|name| name == files::MODEL);
    let named = std::path::absolute(&args.model).ok().and_then(|path| path.parent().map(Path::to_path_buf));
    let named = named.filter(|_| usual).unwrap_or_else(|| args.model.clone());
    let report = Report {
        data_name: last_part(&args.data),
        run_name: last_part(&named),
        status: "evaluated",
        written: &run::now(),
        device: &device.to_string(),
        names: &header.names(),
        data,
        trained: &[],
        metrics: Some(&evaluation.metrics),
        predictions: &evaluation.predictions,
        folds: &[],
        training: None,
        settings: own.into_iter().chain(recipe).chain(header.table()).collect(),
        folder: folder.unwrap_or_default(),
        embed_audio: args.embed_audio,
    };
    report.write(path)
}

/// A clip in the JSON form.
#[derive(serde::Serialize)]
struct ClipAnswer<'a> {
    file: &'a str,
    person: Option<&'a str>,
    truth: Option<&'a str>,
    prediction: &'a str,
    confidence: f64,
    unknown: bool,
    suspicious: bool,
}

impl<'a> ClipAnswer<'a> {
    fn new(prediction: &'a Prediction, names: &'a [String]) -> Self {
        let name = |i: usize| names.get(i).map(String::as_str);
        Self {
            file: &prediction.id,
            person: prediction.person.as_deref(),
            truth: prediction.truth.and_then(name),
            prediction: name(prediction.best()).unwrap_or_default(),
            confidence: prediction.confidence(),
            unknown: prediction.unknown(),
            suspicious: prediction.suspicious(),
        }
    }
}

fn json(evaluation: &Evaluation, names: &[String]) -> Result<String> {
    #[derive(serde::Serialize)]
    struct Whole<'a> {
        #[serde(flatten)]
        metrics: &'a Metrics,
        unknown_threshold: f64,
        wrong: Vec<ClipAnswer<'a>>,
        unknown: Vec<ClipAnswer<'a>>,
        songs_not_in_the_model: &'a [String],
        songs_spelt_otherwise: &'a [(String, String)],
    }
    let clip = |prediction| ClipAnswer::new(prediction, names);
    let predictions = &evaluation.predictions;
    let whole = Whole {
        metrics: &evaluation.metrics,
        unknown_threshold: predictions.first().map_or(0.0, |prediction| prediction.least),
        wrong: wrong(predictions).into_iter().map(|i| clip(&predictions[i])).collect(),
        unknown: predictions.iter().filter(|prediction| prediction.unknown()).map(clip).collect(),
        songs_not_in_the_model: &evaluation.unknown_songs,
        songs_spelt_otherwise: &evaluation.renamed,
    };
    serde_json::to_string(&whole).map_err(|e| Error::Data(e.to_string()))
}

/// A share with three digits, or a dash where there is none to tell.
fn or_dash(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.3}"))
}

fn print(evaluation: &Evaluation, names: &[String], report: Option<&Path>) -> Result<()> {
    let (metrics, predictions) = (&evaluation.metrics, &evaluation.predictions);
    let width =
        |texts: &mut dyn Iterator<Item = &str>| texts.map(|t| plain(t).chars().count()).max().unwrap_or(4).max(4);
    let song_width = width(&mut metrics.songs.iter().map(|song| song.name.as_str()));
    say(format!("{:<song_width$}  clips  right  precision  recall     F1  AUROC     AP", "song"))?;
    for song in &metrics.songs {
        let right = if song.clips > 0 { song.right.to_string() } else { "-".into() };
        let [precision, recall, f1, auroc, ap] =
            [song.precision, song.recall, song.f1, song.auroc, song.average_precision].map(or_dash);
        say(format!(
            "{:<song_width$}  {:>5}  {right:>5}  {precision:>9}  {recall:>6}  {f1:>5}  {auroc:>5}  {ap:>5}",
            plain(&song.name),
            song.clips
        ))?;
    }
    if metrics.people.len() > 1 {
        let who_width = width(&mut metrics.people.iter().map(|person| person.name.as_str()));
        say(format!("\n{:<who_width$}  clips  right  accuracy", "who"))?;
        for person in &metrics.people {
            let [low, high] = [person.interval.0, person.interval.1].map(|share| 100.0 * share);
            say(format!(
                "{:<who_width$}  {:>5}  {:>5}  {:5.1} % ({low:.0} to {high:.0})",
                plain(&person.name),
                person.clips,
                person.right,
                100.0 * person.accuracy
            ))?;
        }
    }
    let list = |title: &str, clips: &[&Prediction]| -> Result<()> {
        if clips.is_empty() {
            return Ok(());
        }
        let width = width(&mut clips.iter().map(|clip| clip.id.as_str()));
        say(format!("\n{title}"))?;
        clips.iter().try_for_each(|clip| {
            let answer = ClipAnswer::new(clip, names);
            let marks = [(answer.unknown, "  unknown"), (answer.suspicious, "  is the label right?")];
            let marks: String = marks.iter().filter(|mark| mark.0).map(|mark| mark.1).collect();
            say(format!(
                "  {:<width$}  {} predicted {} {:.1} %{marks}",
                plain(&clip.id),
                answer.truth.map_or("not in the model,".into(), |truth| format!("{},", plain(truth))),
                plain(answer.prediction),
                100.0 * answer.confidence
            ))
        })
    };
    let wrong: Vec<&Prediction> = wrong(predictions).into_iter().map(|i| &predictions[i]).collect();
    list("wrong, the surest first", &wrong)?;
    let unnamed: Vec<&Prediction> = predictions.iter().filter(|p| p.right() && p.unknown()).collect();
    list("right, but called unknown", &unnamed)?;
    let strangers: Vec<&Prediction> = predictions.iter().filter(|p| p.truth.is_none()).collect();
    list("of songs that the model does not know", &strangers)?;
    let (answers, least) = (metrics.answers, predictions.first().map_or(0.0, |prediction| prediction.least));
    let percent = |share: Option<f64>| share.map_or("-".into(), |share| format!("{:.2} %", 100.0 * share));
    say(format!(
        "\naccuracy {} ({} of {}; 95 % interval {:.1} to {:.1} %), baseline {}, balanced accuracy {}",
        percent(Some(metrics.accuracy)),
        metrics.right(),
        metrics.clips,
        100.0 * metrics.interval.0,
        100.0 * metrics.interval.1,
        percent(Some(metrics.baseline)),
        percent(metrics.balanced_accuracy)
    ))?;
    say(format!(
        "answers below {:.1} % are unknown: {} named right, {} named wrong, {} unknown ({} of them would have been right)",
        100.0 * least,
        answers.named_right,
        answers.named_wrong,
        answers.unknown,
        answers.unknown_right
    ))?;
    say(format!(
        "loss {:.4}, calibration error {:.3}, AUROC {}, average precision {} (mean of the songs)",
        metrics.loss,
        metrics.calibration_error,
        or_dash(metrics.auroc),
        or_dash(metrics.average_precision)
    ))?;
    report.map_or(Ok(()), |path| say(format!("report {}", path.display())))
}
