//! Runs held against each other, by what their folders tell.

use super::config::Settings;
use super::model::Model;
use super::scores::wilson;
use super::tables::read_epochs;
use super::trainer::files;
use crate::{Error, Result};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a run's folder tells of it. A file that is missing leaves its part empty.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RunSummary {
    /// The folder, as it was named.
    pub run: String,
    /// Name and value of every setting.
    pub settings: BTreeMap<String, String>,
    /// How well the validation clips were recognised.
    pub result: Option<RunResult>,
    /// Seconds that training took.
    pub seconds: Option<f64>,
    /// What could not be read, and why.
    pub notes: Vec<String>,
    /// The validation clips' answers, by file.
    #[serde(skip)]
    pub answers: BTreeMap<String, RunAnswer>,
}

/// How well a run's validation clips were recognised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RunResult {
    /// Validation clips.
    pub clips: usize,
    /// How many were right.
    pub right: usize,
    /// The share that was.
    pub accuracy: f64,
    /// Its 95 % interval ([`wilson`]).
    pub interval: (f64, f64),
    /// Share of clips that always naming the most frequent song would get right.
    pub baseline: f64,
    /// Mean share that was right of the songs: see [`Metrics::balanced_accuracy`](super::metrics::Metrics::balanced_accuracy).
    pub balanced_accuracy: f64,
    /// Mean cross-entropy in nats, of the probabilities as they were written; none where they were not.
    pub loss: Option<f64>,
}

/// What a run says of one clip.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunAnswer {
    /// The right song.
    #[serde(skip)]
    pub truth: String,
    /// The most probable song.
    pub prediction: String,
    /// Its probability.
    pub confidence: f64,
    /// Whether it is the right one.
    pub right: bool,
    /// The right song's probability, where it was written.
    #[serde(skip)]
    probability: Option<f64>,
}

/// A clip that the runs do not answer alike.
#[derive(Clone, Debug, Serialize)]
pub struct Disagreement {
    /// The clip.
    pub file: String,
    /// The right song, as the first run has it.
    pub truth: String,
    /// What each run says, in their order.
    pub answers: Vec<RunAnswer>,
}

/// The clips that all runs have judged.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Common {
    /// How many there are.
    pub clips: usize,
    /// How many of them each run has right.
    pub right: Vec<usize>,
    /// For each run after the first: clips that only the first has right, clips that only this one has right, and the probability of
    /// numbers at least so far apart if both were equally good (McNemar's exact test).
    pub against_first: Vec<(usize, usize, f64)>,
}

/// Runs held against each other; as JSON, what `compare --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// In the order in which they were named.
    pub runs: Vec<RunSummary>,
    /// Settings that are not the same in all: each run's value, none where its folder does not tell.
    pub settings_that_differ: BTreeMap<String, Vec<Option<String>>>,
    /// The clips that all have judged.
    pub common: Common,
    /// Those of them on which they disagree, in order of file.
    pub disagreements: Vec<Disagreement>,
}

/// Reads run folders and compares them.
///
/// # Errors
/// Where one is no run folder, or a file of one is damaged.
pub fn compare(folders: &[&Path]) -> Result<Comparison> {
    let runs = folders.iter().map(|folder| RunSummary::read(folder)).collect::<Result<Vec<_>>>()?;
    let names: BTreeSet<&String> = runs.iter().flat_map(|run| run.settings.keys()).collect();
    let values = |name: &String| runs.iter().map(|run| run.settings.get(name).cloned()).collect::<Vec<_>>();
    let differ = names.into_iter().map(|name| (name.clone(), values(name)));
    let settings_that_differ = differ.filter(|(_, values)| values.windows(2).any(|pair| pair[0] != pair[1])).collect();
    let in_all = |file: &&String| runs.iter().all(|run| run.answers.contains_key(*file));
    let files: Vec<&String> = runs.first().into_iter().flat_map(|run| run.answers.keys()).filter(in_all).collect();
    let right = |run: &RunSummary| files.iter().filter(|file| run.answers[**file].right).count();
    let against = |run: &RunSummary| {
        let only = |a: &RunSummary, b: &RunSummary| {
            files.iter().filter(|file| a.answers[**file].right && !b.answers[**file].right).count()
        };
        let (first, this) = (only(&runs[0], run), only(run, &runs[0]));
        (first, this, sign_test(first, this))
    };
    let common = Common {
        clips: files.len(),
        right: runs.iter().map(right).collect(),
        against_first: runs.iter().skip(1).map(against).collect(),
    };
    let disagreement = |file: &&String| {
        let answers: Vec<RunAnswer> = runs.iter().map(|run| run.answers[*file].clone()).collect();
        let truth = answers[0].truth.clone();
        let same = answers.windows(2).all(|pair| pair[0].prediction == pair[1].prediction);
        (!same).then(|| Disagreement { file: (*file).clone(), truth, answers })
    };
    let disagreements = files.iter().filter_map(disagreement).collect();
    Ok(Comparison { settings_that_differ, common, disagreements, runs })
}

impl RunSummary {
    /// What a run folder tells.
    ///
    /// # Errors
    /// Where it is no run folder, or one of its files is damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        let config = folder.join(files::CONFIG);
        let text = std::fs::read_to_string(&config)
            .map_err(|e| Error::file(folder, format!("is not a run folder: {} cannot be read: {e}", files::CONFIG)))?;
        let settings = Settings::parse(&text).and_then(|settings| settings.resolve().map_err(|e| e.to_string()));
        let config = settings.map_err(|detail| Error::file(&config, detail))?;
        let mut run = Self { run: folder.display().to_string(), ..Self::default() };
        run.settings = config.table().into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        let model = folder.join(files::MODEL);
        if model.exists() {
            let header = Model::read(&model)?.header;
            let add = |(name, value): (&str, String)| (name.to_string(), value);
            run.settings.extend(header.table().into_iter().map(add));
            run.settings.insert("songs".into(), header.classes.join(", "));
            run.settings.insert("model of epoch".into(), header.epoch.to_string());
        }
        let epochs = folder.join(files::EPOCHS);
        if epochs.exists() {
            run.seconds = Some(read_epochs(&epochs)?.iter().map(|row| row.seconds).sum());
        }
        let predictions = folder.join(files::PREDICTIONS);
        if predictions.exists() {
            run.answers = read_answers(&predictions)?;
            run.result = RunResult::new(&run.answers);
        } else {
            run.notes.push(format!(
                "{}: has no {}: no clip validates, or it did not come so far",
                run.run,
                files::PREDICTIONS
            ));
        }
        Ok(run)
    }
}

impl RunResult {
    fn new(answers: &BTreeMap<String, RunAnswer>) -> Option<Self> {
        let clips = answers.len();
        let right = answers.values().filter(|answer| answer.right).count();
        let mut songs = BTreeMap::<&str, (usize, usize)>::new();
        for answer in answers.values() {
            let (of, right) = songs.entry(&answer.truth).or_default();
            (*of, *right) = (*of + 1, *right + usize::from(answer.right));
        }
        let most = songs.values().map(|song| song.0).max()?;
        let recalls: f64 = songs.values().map(|&(of, right)| right as f64 / of as f64).sum();
        let losses: Option<Vec<f64>> = answers.values().map(|a| Some(-a.probability?.max(1e-7).ln())).collect();
        Some(Self {
            clips,
            right,
            accuracy: right as f64 / clips as f64,
            interval: wilson(right, clips),
            baseline: most as f64 / clips as f64,
            balanced_accuracy: recalls / songs.len() as f64,
            loss: losses.map(|losses| losses.iter().sum::<f64>() / clips as f64),
        })
    }
}

/// Reads `predictions.csv`: file, truth, prediction, confidence, and as many columns of probabilities as there are.
fn read_answers(path: &Path) -> Result<BTreeMap<String, RunAnswer>> {
    let damaged = |e: csv::Error| Error::file(path, format!("cannot be read: {e}"));
    let mut reader = csv::Reader::from_path(path).map_err(damaged)?;
    let head = reader.headers().map_err(damaged)?.clone();
    if head.iter().take(4).ne(["file", "truth", "prediction", "confidence"]) {
        return Err(Error::file(path, "does not begin with the columns file, truth, prediction, confidence"));
    }
    let mut answers = BTreeMap::new();
    for row in reader.records() {
        let row = row.map_err(damaged)?;
        let field = |i: usize| row.get(i).unwrap_or_default().to_string();
        let number = |i: usize| {
            let text = field(i);
            text.parse::<f64>().map_err(|_| Error::file(path, format!("{}: `{text}` is no number", field(0))))
        };
        let (truth, prediction) = (field(1), field(2));
        let column = head.iter().skip(4).position(|name| name == truth);
        let probability = column.map(|i| number(4 + i)).transpose()?;
        let right = truth == prediction;
        answers.insert(field(0), RunAnswer { truth, prediction, confidence: number(3)?, right, probability });
    }
    Ok(answers)
}

/// The probability that of `a + b` fair tosses the two sides differ at least as much as here: McNemar's test, exact.
fn sign_test(a: usize, b: usize) -> f64 {
    let n = a + b;
    // Binomial coefficients over 2^n, one from the other; in logarithms, so that hundreds of clips do no harm.
    let mut log = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for k in 0..=a.min(b) {
        tail += log.exp();
        log += ((n - k) as f64).ln() - ((k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sign_test_by_hand() {
        // 1 + 7 of 2^7 on one side, twice; all on one side; as many on each.
        assert!((sign_test(1, 6) - 2.0 * 8.0 / 128.0).abs() < 1e-12);
        assert!((sign_test(5, 0) - 2.0 / 32.0).abs() < 1e-12);
        assert_eq!((sign_test(3, 3), sign_test(0, 0)), (1.0, 1.0));
        assert!((0.0..1e-9).contains(&sign_test(2000, 1000)));
    }
}
