//! Where an answer comes from: in the recording, and among recordings that the model was trained on.

use super::super::warn;
use crate::data::Clip;
use crate::train::distribution::TrainingDistribution;
use crate::train::predict::{Predictor, mean_vector};
use crate::train::recipe::FrontEnd;
use crate::train::source::{self, Reading};
use crate::{Error, Result};
use std::path::Path;

/// Seconds of a part that is taken out, about.
const PART: f64 = 1.0;
/// Parts of a recording: enough to show where, few enough to be quick.
const PARTS: std::ops::RangeInclusive<usize> = 4..=16;
/// Seconds in which a part fades out and in, so that there is no click.
const FADE: f64 = 0.01;
/// How many of the nearest recordings are listed.
const NEAREST: usize = 3;

/// How sure the model is of its answer without a part of the recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Without {
    pub start: f64,
    pub end: f64,
    /// The confidence in the same song where this part is silent.
    pub confidence: f64,
}

/// A recording whose embedding is near.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Near {
    pub file: String,
    pub song: String,
    pub distance: f64,
}

/// Predicts the recording again and again, each time with another part of it silent, and says how sure the model is then of `output`.
/// This is occlusion, as of M. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", 2014, over time.
pub(super) fn occlude(predictor: &mut Predictor, clip: &Clip, output: usize, first_only: bool) -> Result<Vec<Without>> {
    let front_end: FrontEnd = predictor.model.header.front_end.clone();
    let rate = f64::from(front_end.sample_rate);
    let length = if first_only { clip.len().min(front_end.window) } else { clip.len() };
    let parts = ((length as f64 / rate / PART).round() as usize).clamp(*PARTS.start(), *PARTS.end());
    let fade = ((FADE * rate) as usize).max(1);
    (0..parts)
        .map(|part| {
            let (from, to) = (part * length / parts, (part + 1) * length / parts);
            let kept = |t: usize| {
                let outside = if t < from { from - t } else { (t + 1).saturating_sub(to) };
                (outside as f32 / fade as f32).min(1.0)
            };
            let silence = |samples: &[f32]| samples.iter().enumerate().map(|(t, x)| x * kept(t)).collect::<Vec<f32>>();
            let samples: Vec<Vec<f32>> = clip.samples.each().map(silence).collect();
            let windows = predictor.windows(&Clip { samples: samples.into(), ..clip.clone() }, first_only)?;
            let inferred: Vec<f64> = windows
                .iter()
                .filter(|window| !window.is_silent())
                .map(|window| window.probabilities[output])
                .collect();
            let confidence = inferred.iter().sum::<f64>() / inferred.len().max(1) as f64;
            Ok(Without { start: from as f64 / rate, end: to as f64 / rate, confidence })
        })
        .collect()
}

/// Recordings to compare with.
pub(super) struct Known {
    clips: Vec<KnownClip>,
}

/// A recording as it is given to the model.
struct KnownClip {
    file: String,
    song: String,
    vector: Vec<f32>,
}

impl Known {
    /// Reads a data set, as `train` does.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn read(predictor: &mut Predictor, data: &Path, first_only: bool, reading: Reading) -> Result<Self> {
        let front_end = predictor.model.header.front_end.clone();
        let set = source::load((data, &Default::default()), &front_end, first_only, reading, &|text| warn(text))
            .map_err(|error| match error {
                Error::Usage { .. } => error,
                other => Error::usage("--nearest", other.to_string()),
            })?;
        let mut clips = Vec::with_capacity(set.clips.len());
        for clip in &set.clips {
            let vectors = predictor.vectors(clip, first_only)?;
            let (file, song) = (clip.id.clone(), set.classes[clip.label].clone());
            clips.push(KnownClip { file, song, vector: mean_vector(&vectors) });
        }
        Ok(Self { clips })
    }

    /// Those that are most alike, the nearest first.
    pub fn nearest(&self, vector: &[f32], distribution: Option<&TrainingDistribution>) -> Vec<Near> {
        let distance = |other: &[f32]| match distribution {
            Some(distribution) => distribution.between(vector, other),
            None => {
                let squares = vector.iter().zip(other).map(|(a, b)| f64::from(a - b).powi(2));
                squares.sum::<f64>() / vector.len().max(1) as f64
            }
        };
        let near = |clip: &KnownClip| Near {
            file: clip.file.clone(),
            song: clip.song.clone(),
            distance: distance(&clip.vector).sqrt(),
        };
        let mut all: Vec<Near> = self.clips.iter().map(near).collect();
        all.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        all.truncate(NEAREST);
        all
    }
}
