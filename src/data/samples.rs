//! The samples of recordings, one recording after the other in one piece of memory: a device can then read all of them where they are.

use crate::graph::HostMemory;
use serde::{Deserialize, Serialize};
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use xxhash_rust::xxh3::xxh3_64;

/// The samples of one recording: a part of a piece of memory that recordings share. A clone shares it, too.
#[derive(Clone, Default)]
pub struct Samples {
    memory: HostMemory,
    span: Span,
}

/// How many samples a [`Samples::fingerprint`] is of.
const SPOTS: usize = 32;

/// Where a recording lies in a piece of memory: channel after channel, all of one length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    first: usize,
    channels: usize,
    length: usize,
    /// A checksum of a few of the samples, which tells most recordings apart without a look at all of them.
    fingerprint: u64,
}

impl Samples {
    /// The recordings that lie so in a piece of memory.
    pub(super) fn lying_in(memory: &HostMemory, spans: impl IntoIterator<Item = Span>) -> Vec<Self> {
        spans.into_iter().map(|span| Self { memory: memory.clone(), span }).collect()
    }

    /// Samples per channel.
    pub fn len(&self) -> usize {
        self.span.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.span.range().is_empty()
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.span.channels
    }

    /// The samples of one channel.
    ///
    /// # Panics
    /// Where there is no such channel.
    pub fn channel(&self, channel: usize) -> &[f32] {
        assert!(channel < self.span.channels, "channel {channel} of {}", self.span.channels);
        &self.memory[self.span.first + channel * self.span.length..][..self.span.length]
    }

    /// The channels, one after the other.
    pub fn each(&self) -> impl Iterator<Item = &[f32]> {
        (0..self.span.channels).map(|channel| self.channel(channel))
    }

    /// The memory in which they lie, with other recordings'.
    pub fn memory(&self) -> &HostMemory {
        &self.memory
    }

    /// A checksum of a few of the samples: equal recordings have the same, and others seldom do.
    pub fn fingerprint(&self) -> u64 {
        self.span.fingerprint
    }

    /// Where they lie in the memory, channel after channel.
    pub fn range(&self) -> Range<usize> {
        self.span.range()
    }

    /// These recordings in one piece of memory: as they are where they lie in one, else copied.
    pub fn together<'a>(recordings: impl Iterator<Item = &'a Self> + Clone) -> Vec<Self> {
        let mut each = recordings.clone();
        let Some(first) = each.next() else { return Vec::new() };
        if each.all(|samples| samples.memory.is(&first.memory)) {
            return recordings.cloned().collect();
        }
        let arena = Arena::default();
        let put = |samples: &Self| arena.put(&samples.each().collect::<Vec<_>>()).unwrap_or_else(out_of_memory);
        let spans: Vec<Span> = recordings.map(put).collect();
        Samples::lying_in(&arena.close(), spans)
    }
}

impl Span {
    /// Of channels that lie from where `take` finds room for so many samples.
    ///
    /// # Panics
    /// Where they are not of one length.
    pub(super) fn of(channels: &[&[f32]], take: impl FnOnce(usize) -> usize) -> Self {
        let length = channels.first().map_or(0, |channel| channel.len());
        assert!(channels.iter().all(|channel| channel.len() == length), "channels of one length");
        let spots = (0..SPOTS).filter(|_| length > 0).map(|i| (length - 1) * i / (SPOTS - 1));
        let samples: Vec<f32> = spots.map(|at| channels[0][at]).collect();
        let fingerprint = xxh3_64(bytemuck::cast_slice(&samples));
        Self { first: take(length * channels.len()), channels: channels.len(), length, fingerprint }
    }

    /// Whether there are so many samples that it lies among them.
    #[cfg(feature = "app")]
    pub(super) fn lies_in(self, samples: usize) -> bool {
        let all = self.channels.checked_mul(self.length).and_then(|all| all.checked_add(self.first));
        all.is_some_and(|end| end <= samples)
    }

    /// The channels in the memory in which they lie.
    #[cfg(feature = "app")]
    pub(super) fn channels(self, memory: &[f32]) -> Vec<&[f32]> {
        memory[self.range()].chunks_exact(self.length.max(1)).collect()
    }

    pub(super) fn range(self) -> Range<usize> {
        self.first..self.first + self.channels * self.length
    }
}

impl From<Vec<Vec<f32>>> for Samples {
    /// Channels in memory of their own.
    ///
    /// # Panics
    /// Where they are not of one length.
    fn from(channels: Vec<Vec<f32>>) -> Self {
        let arena = Arena::default();
        let span = arena.put(&channels).unwrap_or_else(out_of_memory);
        Self { memory: arena.close(), span }
    }
}

impl PartialEq for Samples {
    /// The same channels, wherever they lie.
    fn eq(&self, other: &Self) -> bool {
        self.channels() == other.channels() && self.each().eq(other.each())
    }
}

impl fmt::Debug for Samples {
    /// Not the samples: they are millions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Samples").field("span", &self.span).finish_non_exhaustive()
    }
}

/// An element that threads may write who know that it is theirs alone.
type Cell = UnsafeCell<MaybeUninit<f32>>;

/// Memory that recordings are put into, by many threads at once and in any order. They copy at the same time: a machine takes longer
/// to hand out fresh memory than to copy into it.
#[derive(Default)]
pub struct Arena {
    /// Elements that belong to recordings, or will as soon as there is room for them.
    taken: AtomicUsize,
    /// Whoever copies reads this, whoever makes room writes it.
    memory: RwLock<Vec<Cell>>,
    /// Elements that were taken, but for which there was no memory.
    refused: Mutex<Vec<Range<usize>>>,
}

// SAFETY: a cell is only written in `put`, by the thread that took it.
unsafe impl Sync for Arena {}

impl Arena {
    /// Appends a recording; none where there is not enough memory for it.
    ///
    /// # Panics
    /// Where its channels are not of one length.
    pub fn put<C: AsRef<[f32]>>(&self, channels: &[C]) -> Option<Span> {
        // Once: what is copied below must be what was measured.
        let channels: Vec<&[f32]> = channels.iter().map(AsRef::as_ref).collect();
        let span = Span::of(&channels, |all| self.taken.fetch_add(all, Ordering::Relaxed));
        let Range { start: first, end } = span.range();
        if self.memory.read().unwrap_or_else(PoisonError::into_inner).len() < end {
            let grown = grow(&mut self.memory.write().unwrap_or_else(PoisonError::into_inner), end);
            if !grown {
                self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(first..end);
                return None;
            }
        }
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        for (cells, channel) in memory[span.range()].chunks_exact(span.length.max(1)).zip(channels) {
            // SAFETY: these cells were taken above, by this call alone, and stay where they are while the lock is held.
            unsafe {
                UnsafeCell::raw_get(cells.as_ptr())
                    .cast::<f32>()
                    .copy_from_nonoverlapping(channel.as_ptr(), span.length)
            };
        }
        Some(span)
    }

    /// The memory in which the recordings lie that were put in.
    pub fn close(self) -> HostMemory {
        let mut memory = self.memory.into_inner().unwrap_or_else(PoisonError::into_inner);
        memory.truncate(self.taken.into_inner());
        // Between recordings for which there was memory again.
        for range in self.refused.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let held = memory.len();
            let cells = memory[range.start.min(held)..range.end.min(held)].iter_mut();
            cells.for_each(|cell| *cell = UnsafeCell::new(MaybeUninit::new(0.0)));
        }
        memory.shrink_to_fit();
        let mut memory = ManuallyDrop::new(memory);
        // SAFETY: every cell that was taken was written before `put` returned, or above, and a cell is laid out like its number.
        let memory = unsafe { Vec::from_raw_parts(memory.as_mut_ptr().cast(), memory.len(), memory.capacity()) };
        HostMemory::new(memory)
    }
}

/// Makes room for `len` elements, and most often for many more: what is not written takes no memory. False where there is none.
fn grow(memory: &mut Vec<Cell>, len: usize) -> bool {
    if memory.len() < len {
        let more = len - memory.len();
        if memory.try_reserve(more).is_err() && memory.try_reserve_exact(more).is_err() {
            return false;
        }
        // SAFETY: there is capacity, and a cell need not be written to be there.
        unsafe { memory.set_len(memory.capacity()) };
    }
    true
}

/// Ends the program as memory that cannot be had does elsewhere: for recordings that were in memory already.
fn out_of_memory() -> Span {
    std::alloc::handle_alloc_error(std::alloc::Layout::new::<f32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_come_together() {
        let a = Samples::from(vec![vec![1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0]]);
        let (b, none) = (Samples::from(vec![vec![7.0]]), Samples::default());
        assert_eq!((a.len(), a.channels(), a.channel(1)), (3, 2, &[4.0, 5.0, 6.0][..]));
        assert!(a != b && none.is_empty() && none.channels() == 0 && Samples::from(vec![vec![]]).is_empty());
        let together = Samples::together([&a, &b, &none].into_iter());
        assert_eq!(together, [a.clone(), b.clone(), none]);
        assert_eq!(together.iter().map(Samples::range).collect::<Vec<_>>(), [0..6, 6..7, 7..7]);
        assert_eq!(together[0].memory()[..], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert!(!together[0].memory().is(a.memory()));
        let again = Samples::together(together[..2].iter());
        assert!(again.iter().all(|samples| samples.memory().is(together[0].memory())), "copied in vain");
        assert!(Samples::together([].into_iter()).is_empty());
    }

    #[test]
    fn many_threads_put_recordings_in() {
        let arena = Arena::default();
        let recording = |i: usize| vec![vec![i as f32; i % 97]; 1 + i % 2];
        let put = |first: usize| {
            (0..500).map(|i| (first + 4 * i, arena.put(&recording(first + 4 * i)).unwrap())).collect::<Vec<_>>()
        };
        let placed: Vec<(usize, Span)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|first| scope.spawn(move || put(first))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let samples = Samples::lying_in(&arena.close(), placed.iter().map(|(_, span)| *span));
        let mut ranges: Vec<Range<usize>> = samples.iter().map(Samples::range).collect();
        ranges.sort_by_key(|range| (range.start, range.end));
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "gaps, or two in one place");
        assert_eq!(ranges.last().unwrap().end, samples[0].memory().len());
        for ((i, _), samples) in placed.iter().zip(&samples) {
            assert_eq!(*samples, Samples::from(recording(*i)), "recording {i}");
        }
    }

    #[test]
    #[should_panic(expected = "channels of one length")]
    fn channels_are_of_one_length() {
        let _ = Samples::from(vec![vec![1.0], vec![1.0, 2.0]]);
    }
}
