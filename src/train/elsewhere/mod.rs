//! Predicting and training on a device outside the library, such as the GPU behind a page: what it is to run as [plans](Plan), what to
//! write to their inputs, and what to make of their outputs. Nothing here waits, reads a file or a clock, or needs a thread.

mod drive;
mod predict;
mod teach;

pub use drive::Driver;
pub use predict::RemotePredictor;
pub use teach::{Epoch, Lesson, Recording, Step, Teacher};

use super::batch::Batch;
use super::distribution::WindowOutputs;
use super::network::{Network, Pass};
use crate::audio::{Audio, channels, faults};
use crate::data::Clip;
use crate::fusion::{Fusions, fuse};
use crate::graph::{Plan, Target};
use crate::nn::Adam;
use crate::{Error, Result};
use std::path::Path;

/// The plan of a pass for this many clips.
fn plan(network: &Network, pass: Pass, count: usize, adam: Option<&Adam>, target: Target) -> Result<Plan> {
    let mut graph = network.graph(pass, count, adam)?;
    fuse(&mut graph, Fusions::for_target(target))?;
    Plan::new(graph, target)
}

/// A recording as a network takes it, and what had to be repaired: as if it had been read from a file. `id` is its name.
///
/// # Errors
/// Where it is empty, or its rate is out of range.
pub fn clip(id: &str, audio: Audio, rate: u32) -> Result<(Clip, Vec<String>)> {
    if audio.frames() == 0 {
        return Err(Error::file(id, "holds no sound"));
    }
    let mut audio = Audio { channels: channels::at_most_two(audio.channels), ..audio };
    faults::examine(&mut audio);
    let audio = audio.resampled(rate)?;
    Ok((Clip::alone(Path::new(id), audio.channels), audio.warnings))
}

/// What a plan's outputs `logits` and `vectors` say of each window and augmentation, in order.
///
/// # Errors
/// Where they are not of whole windows.
fn outputs_of(logits: &[f32], vectors: &[f32], [outputs, width]: [usize; 2]) -> Result<Vec<WindowOutputs>> {
    let count = logits.len() / outputs;
    if logits.len() != count * outputs || vectors.len() != count * width {
        let detail = format!("{} and {} numbers are not of whole windows", logits.len(), vectors.len());
        return Err(Error::value("logits and vectors", detail));
    }
    let each = logits.chunks_exact(outputs).zip(vectors.chunks_exact(width));
    Ok(each.map(|(logits, vector)| WindowOutputs { logits: logits.to_vec(), embedding: vector.to_vec() }).collect())
}

/// One window for each of these, each under all test-time augmentations, in a batch of its own.
fn augmented<'a>(
    network: &Network,
    windows: impl Iterator<Item = (&'a Clip, usize)>,
    of: impl Fn() -> Batch,
) -> Vec<Batch> {
    let batch = |(clip, from): (&Clip, usize)| {
        let mut batch = of();
        batch.push_plain(clip, from, &network.front_end);
        batch.warp.extend(network.front_end.warps());
        batch
    };
    windows.map(batch).collect()
}
