//! The samples of recordings, one recording after the other in one piece of memory: a device can then read all of them where they are.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// The samples of one recording: a part of a piece of memory that recordings share. A clone shares it, too.
#[derive(Clone, Default)]
pub struct Samples {
    memory: Arc<Vec<f32>>,
    span: Span,
}

/// Where a recording lies in an [`Arena`]: channel after channel, all of one length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    first: usize,
    channels: usize,
    length: usize,
}

impl Samples {
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
    pub fn memory(&self) -> &Arc<Vec<f32>> {
        &self.memory
    }

    /// Where they lie in the memory, channel after channel.
    pub fn range(&self) -> Range<usize> {
        self.span.range()
    }

    /// These recordings in one piece of memory: as they are where they lie in one, else copied.
    pub fn together<'a>(recordings: impl Iterator<Item = &'a Self> + Clone) -> Vec<Self> {
        let mut each = recordings.clone();
        let Some(first) = each.next() else { return Vec::new() };
        if each.all(|samples| Arc::ptr_eq(&samples.memory, &first.memory)) {
            return recordings.cloned().collect();
        }
        let arena = Arena::default();
        let spans: Vec<Span> = recordings.map(|samples| arena.put(samples.each())).collect();
        arena.close(spans)
    }
}

impl Span {
    fn range(self) -> Range<usize> {
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
        let span = arena.put(channels.iter().map(Vec::as_slice));
        arena.close([span]).swap_remove(0)
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

/// Memory that recordings are put into, by many threads and in any order.
#[derive(Default)]
pub struct Arena(Mutex<Vec<f32>>);

impl Arena {
    /// Appends a recording.
    ///
    /// # Panics
    /// Where its channels are not of one length.
    pub fn put<'a>(&self, channels: impl Iterator<Item = &'a [f32]>) -> Span {
        // What is in there stays whole when a thread panics between two channels.
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut span = Span { first: memory.len(), ..Span::default() };
        for channel in channels {
            assert!(span.channels == 0 || channel.len() == span.length, "channels of one length");
            (span.channels, span.length) = (span.channels + 1, channel.len());
            memory.extend_from_slice(channel);
        }
        span
    }

    /// The recordings that were put in.
    pub fn close(self, spans: impl IntoIterator<Item = Span>) -> Vec<Samples> {
        let mut memory = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        memory.shrink_to_fit();
        let memory = Arc::new(memory);
        spans.into_iter().map(|span| Samples { memory: memory.clone(), span }).collect()
    }
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
        assert_eq!(**together[0].memory(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert!(!Arc::ptr_eq(together[0].memory(), a.memory()));
        let again = Samples::together(together[..2].iter());
        assert!(again.iter().all(|samples| Arc::ptr_eq(samples.memory(), together[0].memory())), "copied in vain");
        assert!(Samples::together([].into_iter()).is_empty());
    }

    #[test]
    #[should_panic(expected = "channels of one length")]
    fn channels_are_of_one_length() {
        let _ = Samples::from(vec![vec![1.0], vec![1.0, 2.0]]);
    }
}
