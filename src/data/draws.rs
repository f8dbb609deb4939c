//! Random choices that depend on (seed, epoch, item) alone.
//!
//! Every item of every epoch has a random stream of its own, keyed directly by these numbers (a counter-based generator needs
//! no history), so that its augmentation is the same for any batch size, order, number of threads and device, and for a run
//! that was interrupted and resumed.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

/// What a stream is for. Streams for different purposes are unrelated though seed, epoch and item are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Augmentation of a training item.
    Augment = 1,
    /// The order of items in an epoch.
    Order = 2,
    /// Initial weights.
    Weights = 3,
    /// Splits into training and validation.
    Split = 4,
    /// Dropout and whatever else a network draws.
    Network = 5,
}

/// A stream of random numbers.
#[derive(Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream for `purpose` at (seed, epoch, item); items are numbered by their place in the data set, which is in order of
    /// file name.
    pub fn new(purpose: Purpose, seed: u64, epoch: u64, item: u64) -> Self {
        let mut key = [0; 32];
        for (part, value) in key.chunks_exact_mut(8).zip([seed, epoch, item, purpose as u64]) {
            part.copy_from_slice(&value.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [low, high).
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Between `low` and `high` (both positive), uniform in the logarithm: a factor and its inverse are equally likely.
    pub fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        self.uniform(low.ln(), high.ln()).exp()
    }

    /// A whole number in 0..count, all equally likely to within 2^-64; 0 when `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.bits()) * count as u128) >> 64) as usize
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Puts `values` into random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i + 1));
        }
    }
}

/// The order of `count` items in an epoch.
pub fn order(seed: u64, epoch: u64, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    Stream::new(Purpose::Order, seed, epoch, 0).shuffle(&mut order);
    order
}

/// A run of masked rows or columns: `start..start + width`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mask {
    /// First masked index.
    pub start: usize,
    /// How many; 0 masks nothing.
    pub width: usize,
}

impl Mask {
    /// Draws a mask as torchaudio's `mask_along_axis` does: the width uniform in [0, `widest`), the start uniform in
    /// [0, `axis` - width), both rounded down afterwards.
    pub fn draw(stream: &mut Stream, axis: usize, widest: f64) -> Self {
        let width = stream.unit() * widest;
        let start = stream.unit() * (axis as f64 - width).max(0.0);
        Self { start: start as usize, width: width as usize }
    }
}

/// The sizes that the recipe `notebook` augments within.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NotebookSizes {
    /// Samples of the window (44 000).
    pub window: usize,
    /// Bands of the spectrogram (64).
    pub bands: usize,
    /// Frames of the spectrogram (86).
    pub frames: usize,
}

/// The random choices of the recipe `notebook` for one item of one epoch (NOTEBOOK.md's distributions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotebookDraws {
    /// Zeros in front of a signal shorter than the window; the rest of the zeros come behind.
    pub pad_front: usize,
    /// Samples by which the padded signal is then rolled to the right, circularly.
    pub shift: usize,
    /// Masked bands.
    pub frequency: [Mask; 2],
    /// Masked frames.
    pub time: [Mask; 2],
}

/// Largest circular shift, as a fraction of the window.
const LARGEST_SHIFT: f64 = 0.4;
/// Widest mask, as a fraction of its axis.
const WIDEST_MASK: f64 = 0.1;

impl NotebookDraws {
    /// Draws for item `item`, whose signal has `length` samples.
    pub fn new(seed: u64, epoch: u64, item: u64, length: usize, sizes: NotebookSizes) -> Self {
        let mut stream = Stream::new(Purpose::Augment, seed, epoch, item);
        let missing = sizes.window.saturating_sub(length);
        // Drawn whether or not there is anything to pad, so that the masks do not depend on the length.
        let pad_front = stream.below(missing + 1);
        let shift = (stream.unit() * LARGEST_SHIFT * sizes.window as f64) as usize;
        let mut mask = |axis: usize| Mask::draw(&mut stream, axis, WIDEST_MASK * axis as f64);
        let frequency = [mask(sizes.bands), mask(sizes.bands)];
        let time = [mask(sizes.frames), mask(sizes.frames)];
        Self { pad_front, shift, frequency, time }
    }

    /// Padding in front and the circular shift as one circular shift to the right of the signal with all zeros behind:
    /// rolling zeros from the end to the front is padding there.
    pub fn roll(&self, window: usize) -> usize {
        (self.pad_front + self.shift) % window.max(1)
    }
}
