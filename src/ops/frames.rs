//! How signals are cut into frames, and where the samples of sixteen frames at a time are.

use super::excerpts::Excerpts;
use crate::kernels::fourier::SIDE;
use crate::kernels::prefetch::Prefetch;
use crate::tensor::Real;
use std::ops::Range;

/// How a signal is cut into frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Length of the transform: a power of two from 8 to 4096.
    pub n_fft: usize,
    /// Samples from one frame to the next.
    pub hop: usize,
    /// Whether frame f is centred on sample `f hop` of the signal, which is then reflected at both ends.
    pub centred: bool,
}

impl Framing {
    /// Bins of the spectrum.
    pub fn bins(&self) -> usize {
        self.n_fft / 2 + 1
    }

    /// The samples of a signal that these frames look at, reflected ones included.
    fn reach(&self, frames: &Range<usize>, samples: usize) -> Range<usize> {
        let (pad, hop) = (self.pad(), self.hop);
        let (start, end) = (frames.start * hop, (frames.end - 1) * hop + self.n_fft);
        // Sample -t is sample t, and sample last + t is last - t.
        let before = if start < pad { pad - start + 1 } else { 0 };
        let beyond = end.saturating_sub(samples + pad);
        let first = start.saturating_sub(pad).min(samples.saturating_sub(beyond + 1));
        first..(end - pad.min(end)).max(before).min(samples)
    }

    /// Zeros, or reflected samples, in front of the signal.
    pub(super) fn pad(&self) -> usize {
        if self.centred { self.n_fft / 2 } else { 0 }
    }

    /// Frames of a signal of this many samples; none where it is too short.
    pub fn frames(&self, samples: usize) -> Option<usize> {
        // A reflection of p samples needs p + 1.
        let enough = if self.centred { samples > self.pad() } else { samples >= self.n_fft };
        enough.then(|| (samples + 2 * self.pad() - self.n_fft) / self.hop.max(1) + 1)
    }
}

/// Signals, one to a row.
#[derive(Clone, Copy)]
pub(super) enum Signals<'a, T> {
    /// One after the other.
    Whole(&'a [T]),
    /// Parts of recordings.
    Excerpts { excerpts: Excerpts, recordings: &'a [T], places: &'a [u32] },
}

/// Frames of one signal, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub row: usize,
    pub frames: Range<usize>,
}

/// The frames of all signals, row after row.
#[derive(Clone, Copy)]
pub(super) struct Frames {
    framing: Framing,
    /// Samples of a signal.
    samples: usize,
    /// Frames of a signal.
    count: usize,
}

impl Frames {
    pub fn new(framing: Framing, samples: usize, count: usize) -> Self {
        Self { framing, samples, count }
    }

    /// Frames by their numbers in all rows together, as frames of their rows.
    pub fn runs(self, mut group: Range<usize>) -> impl Iterator<Item = Run> {
        std::iter::from_fn(move || {
            let (row, first) = (group.start / self.count, group.start % self.count);
            let len = group.len().min(self.count - first);
            group.start += len;
            (len > 0).then(|| Run { row, frames: first..first + len })
        })
    }

    /// Samples of a run of so many frames, and one more at either end, which may be looked at for a reflection.
    fn span_len(self, frames: usize) -> usize {
        (frames - 1) * self.framing.hop + self.framing.n_fft + 2
    }

    /// Elements of memory that [`Frames::lines`] needs.
    pub fn room_len(self) -> usize {
        // At most two runs where rows are long, and else as many whole rows as a group holds, and a part at either end.
        let most = if self.count >= SIDE { 2 } else { (SIDE / self.count.max(1) + 2).min(SIDE) };
        let room = |runs: usize| (SIDE - runs) * self.framing.hop + runs * self.span_len(1);
        room(1).max(room(most))
    }

    /// The samples of each frame of a group of [`SIDE`] at most; where there are fewer, the last again and again. `room` is where
    /// samples are put that do not lie one after the other as they are.
    pub fn lines<'a, T: Real>(self, group: Range<usize>, of: Signals<'a, T>, mut room: &'a mut [T]) -> [&'a [T]; SIDE] {
        let Framing { n_fft, hop, .. } = self.framing;
        let mut lines = [&[][..]; SIDE];
        let mut lane = 0;
        for Run { row, frames } in self.runs(group) {
            let start = (frames.start * hop) as isize - self.framing.pad() as isize;
            let len = (frames.len() - 1) * hop + n_fft;
            let inside = usize::try_from(start).ok().map(|start| start..start + len).filter(|r| r.end <= self.samples);
            let as_it_lies = inside.and_then(|inside| match of {
                Signals::Whole(x) => Some(&x[row * self.samples..][inside]),
                Signals::Excerpts { excerpts, recordings, places } => {
                    excerpts.as_recorded(recordings, places, row, inside)
                }
            });
            let run = match as_it_lies {
                Some(run) => run,
                None => {
                    let (part, rest) = room.split_at_mut(self.span_len(frames.len()));
                    room = rest;
                    self.copy(part, start - 1, row, &frames, of);
                    &part[1..][..len]
                }
            };
            for frame in 0..frames.len() {
                lines[lane] = &run[frame * hop..][..n_fft];
                lane += 1;
            }
        }
        let (made, others) = lines.split_at_mut(lane);
        others.fill(made[lane - 1]);
        lines
    }

    /// The samples of a group, to be prefetched in so many steps; nothing where that does not pay.
    pub fn prefetch<T: Real>(self, group: Range<usize>, of: Signals<'_, T>, steps: usize) -> Prefetch {
        let (Signals::Whole(x) | Signals::Excerpts { recordings: x, .. }) = of;
        if !Prefetch::pays(x.len()) {
            return Prefetch::none();
        }
        let slices = self.runs(group).flat_map(|Run { row, frames }| {
            let reach = self.framing.reach(&frames, self.samples);
            let (whole, cut) = match of {
                Signals::Whole(x) => (Some(&x[row * self.samples..][reach]), None),
                Signals::Excerpts { excerpts, recordings, places } => {
                    (None, Some(excerpts.looks_at(recordings, places, row, reach)))
                }
            };
            whole.into_iter().chain(cut.into_iter().flatten())
        });
        Prefetch::slices(slices, steps)
    }

    /// The samples of a run from sample `start` of its signal on, reflected where they lie outside.
    fn copy<T: Real>(self, to: &mut [T], start: isize, row: usize, frames: &Range<usize>, of: Signals<'_, T>) {
        let reach = self.framing.reach(frames, self.samples);
        let at = |t: usize| (t as isize - start) as usize;
        let part = &mut to[at(reach.start)..at(reach.end)];
        match of {
            Signals::Whole(x) => part.copy_from_slice(&x[row * self.samples..][reach]),
            Signals::Excerpts { excerpts, recordings, places } => {
                excerpts.fill(part, recordings, places, row, reach.start);
            }
        }
        let before = at(0).min(to.len());
        if start < 0 {
            // The sample before the first is never looked at.
            (1..before).for_each(|i| to[i] = to[2 * before - i]);
        }
        let beyond = at(self.samples).min(to.len());
        (beyond..to.len() - 1).for_each(|i| to[i] = to[2 * (beyond - 1) - i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_reach_no_further_than_said() {
        let framings = [(8, 3, true), (8, 8, true), (16, 5, false), (8, 20, true), (32, 1, true)];
        // Arithmetic alone: under Miri the small ones and a few lengths are enough.
        for (n_fft, hop, centred) in framings.into_iter().take(if cfg!(miri) { 4 } else { 5 }) {
            let framing = Framing { n_fft, hop, centred };
            let step = if cfg!(miri) { 4 * n_fft } else { 1 };
            for samples in (n_fft / 2 + 1..5 * n_fft).step_by(step) {
                let Some(count) = framing.frames(samples) else { continue };
                for (first, end) in (0..count).flat_map(|first| (first + 1..=count).map(move |end| (first, end))) {
                    let last = samples as isize - 1;
                    let reflected = |t: isize| if t.abs() > last { 2 * last - t.abs() } else { t.abs() };
                    let starts = (first..end).map(|frame| (frame * hop) as isize - framing.pad() as isize);
                    let read = starts.flat_map(|start| (start..start + n_fft as isize).map(reflected));
                    let reach = framing.reach(&(first..end), samples);
                    assert!(reach.end <= samples, "{framing:?}, {samples} samples: {reach:?}");
                    for t in read {
                        assert!(reach.contains(&(t as usize)), "{framing:?}, {samples} samples, {first}..{end}: {t}");
                    }
                }
            }
        }
    }

    #[test]
    fn lines_are_the_frames_of_every_row() {
        let recordings: Vec<f64> = (0..400).map(f64::from).collect();
        for (n_fft, hop, centred) in [(8, 3, true), (8, 8, true), (16, 5, false), (8, 20, true), (32, 16, true)] {
            let framing = Framing { n_fft, hop, centred };
            for samples in [n_fft, n_fft + 1, 3 * n_fft, 100] {
                let Some(count) = framing.frames(samples) else { continue };
                let excerpts = Excerpts { channels: 2, length: samples, repeat: false };
                // As recorded; silent at its end; beginning anywhere; two channels as one; beyond the recordings' end.
                let places: Vec<u32> = [
                    [3, 150, 1, samples as u32, 0],
                    [50, 90, 1, samples as u32 - 3, 0],
                    [0, 0, 1, samples as u32, 5],
                    [20, 100, 2, samples as u32, 0],
                    [395, 0, 1, samples as u32, 1],
                ]
                .concat();
                let rows = 10;
                let mut whole = vec![0.0; rows * samples];
                for (row, y) in whole.chunks_exact_mut(samples).enumerate() {
                    excerpts.fill(y, &recordings, &places, row, 0);
                }
                let frames = Frames::new(framing, samples, count);
                let both =
                    [Signals::Whole(&whole), Signals::Excerpts { excerpts, recordings: &recordings, places: &places }];
                for (of, first) in both.into_iter().flat_map(|of| (0..rows * count).map(move |first| (of, first))) {
                    let group = first..(first + SIDE).min(rows * count);
                    let mut room = vec![f64::NAN; frames.room_len()];
                    let lines = frames.lines(group.clone(), of, &mut room);
                    for (lane, line) in lines.into_iter().enumerate() {
                        let number = (first + lane).min(group.end - 1);
                        let (row, frame) = (number / count, number % count);
                        let start = (frame * hop) as isize - framing.pad() as isize;
                        let last = samples as isize - 1;
                        let at = |t: isize| if t.abs() > last { 2 * last - t.abs() } else { t.abs() } as usize;
                        let expected: Vec<f64> =
                            (start..start + n_fft as isize).map(|t| whole[row * samples + at(t)]).collect();
                        assert_eq!(line, expected, "{framing:?}, {samples} samples, row {row}, frame {frame}");
                    }
                }
            }
        }
    }
}
