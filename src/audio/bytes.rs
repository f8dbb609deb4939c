//! Bytes of a file, or a part of them, that several hold at once without a copy.

#[cfg(feature = "compressed-audio")]
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};
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

/// Bytes that replace those of a file from a place on.
#[cfg(feature = "compressed-audio")]
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Patch {
    pub at: usize,
    pub bytes: Vec<u8>,
}

/// Bytes of a file behind a head that was made for them, and with some of them changed, read without a copy of them.
#[cfg(feature = "compressed-audio")]
#[derive(Clone)]
pub(super) struct Stream {
    pub head: Vec<u8>,
    pub bytes: Bytes,
    patches: Vec<Patch>,
    at: u64,
}

#[cfg(feature = "compressed-audio")]
impl Stream {
    pub fn new(head: Vec<u8>, bytes: Bytes) -> Self {
        Self { head, bytes, patches: Vec::new(), at: 0 }
    }

    /// The same from its beginning, with these changes.
    pub fn changed(self, patches: Vec<Patch>) -> Self {
        Self { patches, at: 0, ..self }
    }

    pub fn len(&self) -> usize {
        self.head.len() + self.bytes.len()
    }
}

#[cfg(feature = "compressed-audio")]
impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        let at = usize::try_from(self.at).unwrap_or(usize::MAX);
        let rest = match at.checked_sub(self.head.len()) {
            None => &self.head[at..],
            Some(at) => self.bytes.get(at..).unwrap_or(&[]),
        };
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        for patch in &self.patches {
            let from = self.head.len() + patch.at;
            let (first, last) = (from.max(at), (from + patch.bytes.len()).min(at.saturating_add(count)));
            if first < last {
                out[first - at..last - at].copy_from_slice(&patch.bytes[first - from..last - from]);
            }
        }
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(feature = "compressed-audio")]
impl Seek for Stream {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => (self.len() as u64).checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a place before the beginning"))?;
        Ok(self.at)
    }
}

#[cfg(feature = "compressed-audio")]
impl symphonia::core::io::MediaSource for Stream {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len() as u64)
    }
}
