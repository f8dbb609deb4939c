//! From clips to what a plan reads: windows, padding, and the random choices of augmentation.

use super::recipe::{FrontEnd, Recipe};
use crate::Result;
use crate::data::Clip;
use crate::data::draws::{Mask, NotebookDraws, NotebookSizes, Purpose, Stream};
use crate::graph::{PlanId, Session};

/// Masks of each kind per item.
pub const MASKS: usize = 2;
/// `melody`: the widest shift in bands, the widest stretch in octaves of time, the widest masks in bands and frames.
const SHIFT: f64 = 14.0;
const STRETCH: f64 = 0.4;
const WIDEST: [usize; 2] = [12, 25];

/// Values for the inputs of a plan. Which of them a plan has depends on the recipe and on whether it augments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Clips in it.
    pub count: usize,
    /// `samples` [N, channels, window].
    pub samples: Vec<f32>,
    /// `start` `[N]`: where each item begins, in a circle.
    pub start: Vec<u32>,
    /// `warp` [N, 2]: shift in bands and stretch in time.
    pub warp: Vec<f32>,
    /// `frequency_masks` [N, 2, 2]: (start, width).
    pub frequency_masks: Vec<u32>,
    /// `time_masks` [N, 2, 2].
    pub time_masks: Vec<u32>,
    /// `labels` `[N]`.
    pub labels: Vec<u32>,
}

impl Batch {
    /// Appends a window of a clip: `front` zeros, samples from `from` on, zeros to the window's end. A mono clip is the same in
    /// every channel; of a stereo clip a one-channel network hears the mean.
    fn push_samples(&mut self, clip: &Clip, from: usize, front: usize, front_end: &FrontEnd) {
        self.count += 1;
        for channel in 0..front_end.channels {
            let end = self.samples.len() + front_end.window;
            self.samples.resize(self.samples.len() + front.min(front_end.window), 0.0);
            let room = end - self.samples.len();
            if front_end.channels == 1 && clip.samples.len() > 1 {
                let share = 1.0 / clip.samples.len() as f32;
                let at = |i: usize| clip.samples.iter().map(|c| c[i]).sum::<f32>() * share;
                self.samples.extend((from..clip.len().min(from + room)).map(at));
            } else {
                let samples = clip.channel(channel).get(from..).unwrap_or_default();
                self.samples.extend_from_slice(&samples[..samples.len().min(room)]);
            }
            self.samples.resize(end, 0.0);
        }
    }

    /// Appends a window as evaluation sees it: nothing is random.
    pub fn push_plain(&mut self, clip: &Clip, from: usize, front_end: &FrontEnd) {
        self.push_samples(clip, from, 0, front_end);
        self.labels.push(clip.label as u32);
    }

    /// Appends a training item with the random choices of (seed, epoch, item).
    pub fn push_augmented(&mut self, recipe: Recipe, front_end: &FrontEnd, clip: &Clip, draw: Draw) {
        let Draw { seed, epoch, item } = draw;
        let window = front_end.window;
        let pairs = |masks: [Mask; MASKS]| masks.into_iter().flat_map(|m| [m.start as u32, m.width as u32]);
        match recipe {
            Recipe::Notebook => {
                self.push_samples(clip, 0, 0, front_end);
                let sizes = NotebookSizes { window, bands: front_end.bands, frames: front_end.frames() };
                let draws = NotebookDraws::new(seed, epoch, item, clip.len(), sizes);
                self.start.push(((window - draws.roll(window)) % window) as u32);
                self.frequency_masks.extend(pairs(draws.frequency));
                self.time_masks.extend(pairs(draws.time));
            }
            Recipe::Melody => {
                let draws = MelodyDraws::new(seed, epoch, item, clip.len(), front_end);
                self.push_samples(clip, draws.from, draws.front, front_end);
                self.warp.extend([draws.shift as f32, draws.stretch as f32]);
                self.frequency_masks.extend(pairs(draws.frequency));
                self.time_masks.extend(pairs(draws.time));
            }
        }
        self.labels.push(clip.label as u32);
    }

    /// Writes whatever the plan reads of this batch.
    ///
    /// # Errors
    /// Where the plan is for another number of clips.
    pub fn write(&self, session: &mut dyn Session, plan: PlanId) -> Result<()> {
        let names: Vec<String> = session.plan(plan).inputs.iter().map(|port| port.name.clone()).collect();
        for name in names {
            match name.as_str() {
                "samples" => session.write(plan, &name, &self.samples)?,
                "warp" => session.write(plan, &name, &self.warp)?,
                "start" => session.write_indices(plan, &name, &self.start)?,
                "frequency_masks" => session.write_indices(plan, &name, &self.frequency_masks)?,
                "time_masks" => session.write_indices(plan, &name, &self.time_masks)?,
                "labels" => session.write_indices(plan, &name, &self.labels)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Names an item's stream of random numbers.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// The run's seed.
    pub seed: u64,
    /// Counts from 0.
    pub epoch: u64,
    /// The clip's place in the data set.
    pub item: u64,
}

/// The random choices of the recipe `melody` for one item of one epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
struct MelodyDraws {
    /// First sample, of a clip longer than the window.
    from: usize,
    /// Zeros in front, of a clip shorter than the window.
    front: usize,
    shift: f64,
    stretch: f64,
    frequency: [Mask; MASKS],
    time: [Mask; MASKS],
}

impl MelodyDraws {
    fn new(seed: u64, epoch: u64, item: u64, length: usize, front_end: &FrontEnd) -> Self {
        let mut stream = Stream::new(Purpose::Augment, seed, epoch, item);
        let from = stream.below(length.saturating_sub(front_end.window) + 1);
        let front = stream.below(front_end.window.saturating_sub(length) + 1);
        let shift = stream.uniform(-SHIFT, SHIFT);
        let stretch = stream.uniform(-STRETCH, STRETCH).exp2();
        let mut mask = |axis: usize, widest: usize| {
            let width = stream.below(widest.min(axis) + 1);
            Mask { start: stream.below(axis - width + 1), width }
        };
        let frequency = [0; MASKS].map(|_| mask(front_end.bands, WIDEST[0]));
        let time = [0; MASKS].map(|_| mask(front_end.frames(), WIDEST[1]));
        Self { from, front, shift, stretch, frequency, time }
    }
}

/// Where the windows begin that a clip is looked at through: one at the start, for a longer clip further ones half a
/// window apart, the last of them at the clip's end. With `first_only` the first alone.
pub fn windows(length: usize, window: usize, first_only: bool) -> Vec<usize> {
    if first_only || length <= window {
        return vec![0];
    }
    let last = length - window;
    let hop = (window / 2).max(1);
    let mut starts: Vec<usize> = (0..last).step_by(hop).collect();
    // A window that nearly repeats the one at the end would only count that part twice.
    if starts.last().is_some_and(|start| last - start < hop / 4 && starts.len() > 1) {
        starts.pop();
    }
    starts.push(last);
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(channels: &[&[f32]]) -> Clip {
        Clip {
            id: "c".into(),
            path: "c".into(),
            samples: channels.iter().map(|c| c.to_vec()).collect(),
            label: 1,
            person: None,
            columns: Default::default(),
        }
    }

    fn front_end(channels: usize) -> FrontEnd {
        FrontEnd { channels, window: 4, ..Recipe::Notebook.front_end() }
    }

    #[test]
    fn clips_are_padded_cut_and_mixed() {
        let mut batch = Batch::default();
        batch.push_plain(&clip(&[&[1.0, 2.0]]), 0, &front_end(2));
        assert_eq!(batch.samples, [1.0, 2.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0]);
        let mut batch = Batch::default();
        batch.push_plain(&clip(&[&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3.0, 4.0, 5.0, 6.0, 7.0, 8.0]]), 1, &front_end(1));
        assert_eq!(batch.samples, [3.0, 4.0, 5.0, 6.0]);
        let mut batch = Batch::default();
        batch.push_samples(&clip(&[&[1.0, 2.0]]), 0, 1, &front_end(1));
        assert_eq!(batch.samples, [0.0, 1.0, 2.0, 0.0]);
        batch.push_samples(&clip(&[&[1.0, 2.0], &[3.0, 0.0]]), 0, 3, &front_end(1));
        assert_eq!(batch.samples[4..], [0.0, 0.0, 0.0, 2.0]);
    }

    #[test]
    fn windows_cover_a_long_clip() {
        assert_eq!(windows(3, 4, false), [0]);
        assert_eq!(windows(4, 4, false), [0]);
        assert_eq!(windows(10, 4, true), [0]);
        assert_eq!(windows(10, 4, false), [0, 2, 4, 6]);
        assert_eq!(windows(5, 4, false), [0, 1]);
        for length in 1..400 {
            let starts = windows(length, 40, false);
            assert!(starts.windows(2).all(|w| w[1] > w[0] && w[1] - w[0] <= 25), "{length}: {starts:?}");
            assert!(length <= 40 || starts.last() == Some(&(length - 40)));
        }
    }

    #[test]
    fn draws_stay_inside() {
        let front_end = Recipe::Melody.front_end();
        for item in 0..2000 {
            let draws = MelodyDraws::new(3, 1, item, 70_000 - 10 * item as usize, &front_end);
            let length = 70_000 - 10 * item as usize;
            assert!(draws.from == 0 || draws.from + front_end.window <= length);
            assert!(draws.front == 0 || draws.front + length <= front_end.window);
            assert!(draws.shift.abs() <= 14.0 && (0.757..1.32).contains(&draws.stretch));
            assert!(draws.frequency.iter().all(|m| m.width <= 12 && m.start + m.width <= 120));
            assert!(draws.time.iter().all(|m| m.width <= 25 && m.start + m.width <= 251));
        }
        let draws = |item| MelodyDraws::new(3, 1, item, 64_000, &front_end);
        assert!(draws(1) == draws(1) && draws(1) != draws(2));
    }
}
