//! Convolutional classifiers of spectrograms: blocks of convolution, ReLU and batch norm, a pooling, one linear layer.

use super::init::{kaiming_normal, linear_bound, uniform};
use crate::error::{Error, Result};
use crate::graph::{Graph, GroupId, States, Value};
use crate::ops::{ConvOptions, Part};
use crate::tensor::Tensor;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// The group of states that the optimiser changes.
pub const PARAMETERS: &str = "parameters";
/// The group of states that batch norm keeps: running means and variances.
pub const STATISTICS: &str = "statistics";

/// The group of states that training does not change: parameters and statistics of frozen blocks.
pub const FROZEN: &str = "frozen";

/// Share of the batch in the running statistics of batch norm, PyTorch's default.
const MOMENTUM: f64 = 0.1;
/// Added to the variance in batch norm, PyTorch's default.
pub(crate) const EPSILON: f64 = 1e-5;

/// Whether a graph is for training or evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Batch norm uses the batch's statistics and updates the running ones.
    Train,
    /// The same for a rank's part of a batch: the statistics are those of all of it, see [`Part`].
    TrainPart(Part),
    /// Batch norm uses the running statistics; no state changes.
    Evaluate,
}

/// One block: convolution with bias, ReLU, batch norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Output channels.
    pub channels: usize,
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Stride, both ways.
    pub stride: usize,
    /// Distance between neighbouring taps of the kernel along the time axis; along the frequency axis it is 1.
    pub time_dilation: usize,
}

impl Block {
    /// A block with a square kernel whose taps are neighbours.
    pub fn square(channels: usize, kernel: usize, stride: usize) -> Self {
        Self { channels, kernel, stride, time_dilation: 1 }
    }

    /// Its convolution's options. Padding with zeros keeps the map's size, apart from the stride.
    pub(crate) fn options(&self) -> ConvOptions {
        let reach = self.kernel / 2;
        ConvOptions {
            stride: [self.stride; 2],
            padding: [reach, reach * self.time_dilation],
            dilation: [1, self.time_dilation],
            groups: 1,
        }
    }
}

/// How the last map `[N, C, H, W]` becomes one vector `[N, C]` an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over both axes.
    Mean,
    /// The maximum over the frequency axis H, then the mean over the time axis W.
    MaxFrequencyMeanTime,
}

/// A network of blocks; its states carry PyTorch's names (`conv1.weight`, `bn1.running_mean`, ... `lin.bias`).
#[derive(Clone, Debug, PartialEq)]
pub struct Classifier {
    /// Channels of the spectrogram.
    pub channels: usize,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// The pooling after them.
    pub pooling: Pooling,
    /// Number of classes.
    pub outputs: usize,
    /// Slope of the leaky ReLU whose gain scales the initial weights.
    pub init_slope: f64,
    /// The number of frozen blocks, from the first on. Training does not change them: their batch norm uses the running statistics,
    /// and no gradient is computed.
    pub frozen: usize,
    /// Whether batch norm uses the running statistics in training, too, in all blocks. The statistics then do not change, and an
    /// item's gradient does not depend on the others of its batch.
    pub frozen_norms: bool,
}

impl Classifier {
    /// The network of the reference notebook: four blocks, 2 to 64 channels, 26 170 parameters with ten outputs.
    pub fn notebook(outputs: usize) -> Self {
        let block = |channels, kernel| Block::square(channels, kernel, 2);
        let blocks = vec![block(8, 5), block(16, 3), block(32, 3), block(64, 3)];
        let pooling = Pooling::Mean;
        Self { channels: 2, blocks, pooling, outputs, init_slope: 0.1, frozen: 0, frozen_norms: false }
    }

    /// The network of the recipe `melody`: six blocks, 1 to 128 channels. It keeps the frequency axis until the end,
    /// so that a tune can be found at any pitch. The receptive field of the last block is 129 frames, about four
    /// seconds: a phrase. (65 frames hold three notes, which are common to many tunes.)
    pub fn melody(outputs: usize) -> Self {
        let mut network = Self::first_melody(outputs);
        network.blocks.pop();
        network.blocks.push(Block::square(96, 3, 1));
        network.blocks.push(Block { time_dilation: 2, ..Block::square(128, 3, 1) });
        network
    }

    /// The network of `melody` in model files before format version 3: five blocks, 65 frames.
    pub fn first_melody(outputs: usize) -> Self {
        let block = Block::square;
        let blocks = vec![block(16, 5, 2), block(32, 3, 2), block(64, 3, 2), block(96, 3, 2), block(128, 3, 1)];
        let pooling = Pooling::MaxFrequencyMeanTime;
        Self { channels: 1, blocks, pooling, outputs, init_slope: 0.0, frozen: 0, frozen_norms: false }
    }

    /// Adds parameters (with random values) and running statistics to `states`; returns the group of the parameters.
    ///
    /// # Errors
    /// If states of these names exist.
    pub fn add_states(&self, states: &mut States, seed: u64) -> Result<GroupId> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut from = self.channels;
        for (i, block) in self.blocks.iter().enumerate() {
            let (conv, bn) = (format!("conv{}", i + 1), format!("bn{}", i + 1));
            let w = kaiming_normal(&mut rng, [block.channels, from, block.kernel, block.kernel], self.init_slope);
            let vector = |value| Tensor::full([block.channels], value);
            let [parameters, statistics] = if i < self.frozen { [FROZEN; 2] } else { [PARAMETERS, STATISTICS] };
            states.add(parameters, &format!("{conv}.weight"), w)?;
            states.add(parameters, &format!("{conv}.bias"), vector(0.0))?;
            states.add(parameters, &format!("{bn}.weight"), vector(1.0))?;
            states.add(parameters, &format!("{bn}.bias"), vector(0.0))?;
            states.add(statistics, &format!("{bn}.running_mean"), vector(0.0))?;
            states.add(statistics, &format!("{bn}.running_var"), vector(1.0))?;
            from = block.channels;
        }
        let bound = linear_bound(from);
        states.add(PARAMETERS, "lin.weight", uniform(&mut rng, [self.outputs, from], bound))?;
        states.add(PARAMETERS, "lin.bias", uniform(&mut rng, [self.outputs], bound))?;
        Ok(states.group(PARAMETERS))
    }

    /// The logits `[N, outputs]` of spectrograms x `[N, channels, H, W]`, and the vectors `[N, C]` that are the input of the last
    /// layer: `[logits, vectors]`.
    ///
    /// # Errors
    /// If x has another form, or the graph's states are not this network's.
    pub fn logits_and_vectors(&self, graph: &mut Graph, x: Value, mode: Mode) -> Result<[Value; 2]> {
        let shape = graph.shape(x);
        if shape.rank() != 4 || shape[1] != self.channels {
            let detail = format!("wants spectrograms [N, {}, bands, frames], got {shape}", self.channels);
            return Err(Error::op("classifier", detail));
        }
        let mut x = x;
        for (i, block) in self.blocks.iter().enumerate() {
            let mut state = |name: String| graph.state(&name);
            let (conv, bn) = (format!("conv{}", i + 1), format!("bn{}", i + 1));
            let (w, b) = (state(format!("{conv}.weight"))?, state(format!("{conv}.bias"))?);
            let [gamma, beta] = [state(format!("{bn}.weight"))?, state(format!("{bn}.bias"))?];
            let [mean, var] = [state(format!("{bn}.running_mean"))?, state(format!("{bn}.running_var"))?];
            x = graph.conv2d(x, w, Some(b), block.options())?;
            x = graph.relu(x)?;
            x = match mode {
                Mode::Train | Mode::TrainPart(_) if i >= self.frozen && !self.frozen_norms => {
                    let channel = [gamma, beta, mean, var];
                    let made = match mode {
                        Mode::TrainPart(part) => graph.batch_norm_of_part(x, channel, MOMENTUM, EPSILON, part)?,
                        _ => graph.batch_norm(x, channel, MOMENTUM, EPSILON)?,
                    };
                    graph.assign(mean, made.running_mean)?;
                    graph.assign(var, made.running_var)?;
                    made.y
                }
                _ => graph.batch_norm_evaluate(x, [gamma, beta, mean, var], EPSILON)?,
            };
        }
        x = match self.pooling {
            Pooling::Mean => graph.mean(x, &[2, 3], false)?,
            Pooling::MaxFrequencyMeanTime => {
                let highest = graph.amax(x, &[2], false)?;
                graph.mean(highest, &[2], false)?
            }
        };
        let (w, b) = (graph.state("lin.weight")?, graph.state("lin.bias")?);
        Ok([graph.linear(x, w, b)?, x])
    }

    /// The logits alone.
    ///
    /// # Errors
    /// As [`Classifier::logits_and_vectors`].
    pub fn logits(&self, graph: &mut Graph, x: Value, mode: Mode) -> Result<Value> {
        Ok(self.logits_and_vectors(graph, x, mode)?[0])
    }
}
