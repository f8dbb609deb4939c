//! Bytes of a file, or a part of them, that several hold at once without a copy.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// A part of what is in memory.
#[derive(Clone, Debug)]
pub(super) struct Bytes {
    all: Arc<Vec<u8>>,
    part: Range<usize>,
}

impl From<Vec<u8>> for Bytes {
    fn from(all: Vec<u8>) -> Self {
        Self { part: 0..all.len(), all: Arc::new(all) }
    }
}

impl Bytes {
    /// A part of these, no further than they go.
    pub fn part(&self, part: Range<usize>) -> Self {
        let at = |place: usize| self.part.start + place.min(self.len());
        Self { all: self.all.clone(), part: at(part.start)..at(part.end.max(part.start)) }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.all[self.part.clone()]
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
