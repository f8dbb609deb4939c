//! From clips to what a plan reads: windows, padding, and the random choices of augmentation.

use super::recipe::{FrontEnd, Recipe};
use super::recordings::Recordings;
use super::variations::{Parts, Variation, Variations};
use crate::data::Clip;
use crate::data::draws::{Mask, NotebookDraws, NotebookSizes, Purpose, Stream};
use crate::graph::{PlanId, Series, Session};
use crate::ops::Excerpt;
use crate::{Error, Result};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

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
    /// What the device holds. Where it does, `places` are filled and `samples` are not.
    pub recordings: Option<Arc<Recordings>>,
    /// `samples` [N, channels, window].
    pub samples: Vec<f32>,
    /// `places` [N, 5]: each an [`Excerpt`].
    pub places: Vec<[u32; Excerpt::LEN]>,
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

/// The names of what a [`Batch`] holds, as inputs of plans.
#[allow(missing_docs)]
pub mod inputs {
    pub const SAMPLES: &str = "samples";
    pub const PLACES: &str = "places";
    pub const START: &str = "start";
    pub const WARP: &str = "warp";
    pub const FREQUENCY_MASKS: &str = "frequency_masks";
    pub const TIME_MASKS: &str = "time_masks";
    pub const LABELS: &str = "labels";
}

impl Batch {
    /// An empty batch for a device that holds these recordings, or none.
    pub fn new(recordings: Option<&Arc<Recordings>>) -> Self {
        Self { recordings: recordings.cloned(), ..Self::default() }
    }

    /// Appends a window: the `part` of a clip's samples, as much of it as fits. What is left of the window is silence, or the
    /// part again and again where the front end says so. A mono clip is the same in every channel; of a stereo clip a
    /// one-channel network gets their mean. Where the device holds the recordings, the window is read in a circle from sample `start`
    /// on; where it does not, that is an input of its own.
    fn push_samples(&mut self, clip: &Clip, part: Range<usize>, start: u32, front_end: &FrontEnd) {
        self.count += 1;
        let window = front_end.window;
        let part = part.start.min(clip.len())..part.end.min(clip.len()).min(part.start + window);
        if let Some(recordings) = &self.recordings {
            // A clip that is not there is found out when the batch is written: its place is missing.
            let place = recordings.place(clip, part, front_end);
            self.places.extend(place.map(|place| Excerpt { start, ..place }.to_array()));
            return;
        }
        for channel in 0..front_end.channels {
            let begin = self.samples.len();
            let part = part.clone();
            if front_end.channels == 1 && clip.samples.channels() > 1 {
                let channels: Vec<&[f32]> = clip.samples.each().collect();
                let share = 1.0 / channels.len() as f32;
                let at = |i: usize| channels.iter().map(|c| c[i]).sum::<f32>() * share;
                self.samples.extend(part.map(at));
            } else {
                self.samples.extend_from_slice(&clip.channel(channel)[part]);
            }
            let length = self.samples.len() - begin;
            while front_end.repeat && length > 0 && self.samples.len() < begin + window {
                let missing = begin + window - self.samples.len();
                self.samples.extend_from_within(begin..begin + length.min(missing));
            }
            self.samples.resize(begin + window, 0.0);
        }
    }

    /// Appends a window as evaluation sees it: nothing is random.
    pub fn push_plain(&mut self, clip: &Clip, from: usize, front_end: &FrontEnd) {
        self.push_samples(clip, from..clip.len(), 0, front_end);
        self.labels.push(clip.label as u32);
    }

    /// Appends a training item with the random choices of (seed, epoch, item): of the recipe `melody` those of its variations that are
    /// `wanted`, of `notebook` all.
    pub fn push_augmented(
        &mut self,
        recipe: Recipe,
        front_end: &FrontEnd,
        clip: &Clip,
        draw: Draw,
        wanted: Variations,
    ) {
        let (frequency, time) = match recipe {
            Recipe::Notebook => {
                let window = front_end.window;
                let sizes = NotebookSizes { window, bands: front_end.bands, frames: front_end.frames() };
                let draws = NotebookDraws::new(draw.seed, draw.epoch, draw.item, clip.len(), sizes);
                let start = ((window - draws.roll(window)) % window) as u32;
                self.push_samples(clip, 0..clip.len(), start, front_end);
                self.start.push(start);
                (draws.frequency, draws.time)
            }
            Recipe::Melody => {
                let draws = MelodyDraws::new(draw, clip.len(), front_end, wanted.parts);
                let draws = draws.only(wanted, clip.len(), front_end);
                self.push_samples(clip, draws.part, 0, front_end);
                self.warp.extend([draws.shift as f32, draws.stretch as f32]);
                (draws.frequency, draws.time)
            }
        };
        self.frequency_masks.extend(pairs(frequency));
        self.time_masks.extend(pairs(time));
        self.labels.push(clip.label as u32);
    }

    /// What it holds for a real input of this name.
    pub fn real(&self, name: &str) -> Option<&[f32]> {
        match name {
            inputs::SAMPLES => Some(&self.samples),
            inputs::WARP => Some(&self.warp),
            _ => None,
        }
    }

    /// What it holds for an index input of this name.
    pub fn index(&self, name: &str) -> Option<&[u32]> {
        match name {
            inputs::PLACES => Some(self.places.as_flattened()),
            inputs::START => Some(&self.start),
            inputs::FREQUENCY_MASKS => Some(&self.frequency_masks),
            inputs::TIME_MASKS => Some(&self.time_masks),
            inputs::LABELS => Some(&self.labels),
            _ => None,
        }
    }
}

/// Runs a plan once for each of these batches, all of the plan's number of clips, with `more` real inputs for each run.
///
/// # Errors
/// Where a batch is of another number of clips, or the device fails.
pub fn run(
    session: &mut dyn Session,
    plan: PlanId,
    batches: &[Batch],
    more: &[(&str, &[f32])],
    outputs: &mut [(&str, &mut [f32])],
) -> Result<()> {
    run_part(session, plan, batches, None, more, outputs)
}

/// The same for a plan of some of each batch's clips, those of a range.
///
/// # Errors
/// As [`run`].
pub fn run_part(
    session: &mut dyn Session,
    plan: PlanId,
    batches: &[Batch],
    own: Option<Range<usize>>,
    more: &[(&str, &[f32])],
    outputs: &mut [(&str, &mut [f32])],
) -> Result<()> {
    if let Some(batch) = batches.iter().find(|b| b.recordings.is_some() && b.places.len() != b.count) {
        let missing = batch.count - batch.places.len();
        return Err(Error::value(inputs::PLACES, format!("{missing} of the clips are not in the device's memory")));
    }
    if batches.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = session.plan(plan).inputs.iter().map(|port| port.name.clone()).collect();
    let own = own.as_ref();
    let real = |name: &str| joined(batches, |batch| Some(part(batch.real(name)?, batch.count, own)));
    let index = |name: &str| joined(batches, |batch| Some(part(batch.index(name)?, batch.count, own)));
    let real = names.iter().filter_map(|name| Some((name.as_str(), real(name)?)));
    let index = names.iter().filter_map(|name| Some((name.as_str(), index(name)?)));
    let (real, index): (Vec<_>, Vec<_>) = (real.collect(), index.collect());
    let series = Series {
        runs: batches.len(),
        real: more.iter().copied().chain(real.iter().map(|(name, values)| (*name, &**values))).collect(),
        index: index.iter().map(|(name, values)| (*name, &**values)).collect(),
    };
    session.run_series(plan, &series, outputs)
}

/// What belongs to some of so many clips, or to all.
fn part<'a, T>(values: &'a [T], count: usize, own: Option<&Range<usize>>) -> &'a [T] {
    let each = values.len() / count.max(1);
    own.map_or(values, |own| &values[own.start * each..own.end * each])
}

/// What all batches hold of one input, one after the other. A single batch is read where it is.
fn joined<'a, T: Clone>(batches: &'a [Batch], of: impl Fn(&'a Batch) -> Option<&'a [T]>) -> Option<Cow<'a, [T]>> {
    match batches {
        [only] => of(only).map(Cow::Borrowed),
        _ => batches.iter().map(of).collect::<Option<Vec<_>>>().map(|parts| Cow::Owned(parts.concat())),
    }
}

fn pairs(masks: [Mask; MASKS]) -> impl Iterator<Item = u32> {
    masks.into_iter().flat_map(|m| [m.start as u32, m.width as u32])
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
#[derive(Clone, Debug, PartialEq)]
struct MelodyDraws {
    /// The samples that are used.
    part: Range<usize>,
    shift: f64,
    stretch: f64,
    frequency: [Mask; MASKS],
    time: [Mask; MASKS],
}

impl MelodyDraws {
    fn new(draw: Draw, length: usize, front_end: &FrontEnd, parts: Parts) -> Self {
        let mut stream = Stream::new(Purpose::Augment, draw.seed, draw.epoch, draw.item);
        let whole = length.min(front_end.window);
        let [shortest, longest] =
            [parts.shortest, parts.longest].map(|windows| whole.min((windows * front_end.window as f64) as usize));
        // Drawn whether or not it is used, so that one choice does not change the others.
        let (cut, cut_to) = (stream.chance(parts.share), shortest + stream.below(longest - shortest + 1));
        let kept = if cut { cut_to } else { whole };
        let from = stream.below(length - kept + 1);
        let shift = stream.uniform(-SHIFT, SHIFT);
        let stretch = stream.uniform(-STRETCH, STRETCH).exp2();
        let mut mask = |axis: usize, widest: usize| {
            let width = stream.below(widest.min(axis) + 1);
            Mask { start: stream.below(axis - width + 1), width }
        };
        let frequency = [0; MASKS].map(|_| mask(front_end.bands, WIDEST[0]));
        let time = [0; MASKS].map(|_| mask(front_end.frames(), WIDEST[1]));
        Self { part: from..from + kept, shift, stretch, frequency, time }
    }

    /// The same with nothing varied but what is wanted.
    fn only(mut self, wanted: Variations, length: usize, front_end: &FrontEnd) -> Self {
        if !wanted.has(Variation::Parts) && length <= front_end.window {
            self.part = 0..length;
        } else if !wanted.has(Variation::Parts) {
            let from = self.part.start.min(length - front_end.window);
            self.part = from..from + front_end.window;
        }
        if !wanted.has(Variation::Key) {
            self.shift = 0.0;
        }
        if !wanted.has(Variation::Tempo) {
            self.stretch = 1.0;
        }
        if !wanted.has(Variation::Masks) {
            (self.frequency, self.time) = Default::default();
        }
        self
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
            samples: channels.iter().map(|c| c.to_vec()).collect::<Vec<_>>().into(),
            stretch: None,
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
    }

    #[test]
    fn a_short_part_is_repeated_where_the_front_end_says_so() {
        let repeating = FrontEnd { repeat: true, window: 7, ..front_end(2) };
        let mut batch = Batch::default();
        batch.push_samples(&clip(&[&[1.0, 2.0, 3.0, 4.0]]), 1..4, 0, &repeating);
        assert_eq!(batch.samples[..7], [2.0, 3.0, 4.0, 2.0, 3.0, 4.0, 2.0]);
        assert_eq!(batch.samples[..7], batch.samples[7..]);
        batch.push_samples(&clip(&[&[]]), 0..0, 0, &FrontEnd { channels: 1, ..repeating.clone() });
        batch.push_samples(&clip(&[&[0.0, 2.0], &[2.0, 2.0]]), 0..9, 0, &FrontEnd { channels: 1, ..repeating });
        assert_eq!(batch.samples[14..], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0]);
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
        let draw = |item| Draw { seed: 3, epoch: 1, item };
        let mut cut = 0;
        for item in 0..2000 {
            let length = 70_000 - 30 * item as usize;
            let draws = MelodyDraws::new(draw(item), length, &front_end, Parts::SOME);
            let whole = length.min(front_end.window);
            let kept = draws.part.len();
            assert!(draws.part.end <= length && kept <= whole && kept >= whole.min(24_000), "{item}: {draws:?}");
            cut += usize::from(kept < whole);
            assert!(draws.shift.abs() <= 14.0 && (0.757..1.32).contains(&draws.stretch));
            assert!(draws.frequency.iter().all(|m| m.width <= 12 && m.start + m.width <= 120));
            assert!(draws.time.iter().all(|m| m.width <= 25 && m.start + m.width <= 251));
        }
        // Three in ten of the 1 533 clips that are longer than the shortest part.
        assert!((390..530).contains(&cut), "{cut}");
        let draws = |item| MelodyDraws::new(draw(item), 64_000, &front_end, Parts::SOME);
        assert!(draws(1) == draws(1) && draws(1) != draws(2));
    }

    #[test]
    fn what_is_left_out_is_left_alone_and_the_rest_stays() {
        let front_end = Recipe::Melody.front_end();
        for item in 0..50 {
            let draw = Draw { seed: 3, epoch: 1, item };
            for length in [9_000, 64_000, 90_000] {
                let all = MelodyDraws::new(draw, length, &front_end, Parts::SOME);
                let without = |ways: &[Variation]| {
                    let wanted = Variations::without(ways);
                    MelodyDraws::new(draw, length, &front_end, Parts::SOME).only(wanted, length, &front_end)
                };
                assert_eq!(without(&[]), all);
                assert_eq!(without(&[Variation::Key]), MelodyDraws { shift: 0.0, ..all.clone() });
                assert_eq!(without(&[Variation::Tempo]), MelodyDraws { stretch: 1.0, ..all.clone() });
                let none = Default::default();
                assert_eq!(without(&[Variation::Masks]), MelodyDraws { frequency: none, time: none, ..all.clone() });
                let whole = without(&[Variation::Parts]);
                assert!(whole.part.len() == length.min(64_000) && whole.part.end <= length);
            }
        }
    }
}
