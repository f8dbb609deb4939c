//! A data set in a device's memory, so that a batch only says which clips it is made of.

use super::recipe::FrontEnd;
use crate::Result;
use crate::data::{Clip, Samples};
use crate::graph::{HostMemory, Session};
use crate::ops::Excerpt;
use std::collections::HashMap;
use std::ops::Range;

/// The name of the state that holds the samples.
pub const STATE: &str = "recordings";

/// Where each clip's samples lie in the state [`STATE`].
#[derive(Clone, Debug, PartialEq)]
pub struct Recordings {
    /// By the clips' ids.
    of: HashMap<String, Samples>,
}

impl Recordings {
    /// Clips in one piece of memory: that in which they lie, or, where they lie apart, a new one. None where they cannot be told
    /// apart by their ids, or the memory would be more than `most` samples.
    pub fn of(clips: &[Clip], most: usize) -> Option<Self> {
        // Places are numbers of 32 bits.
        let most = most.min(u32::MAX as usize);
        if clips.iter().map(|clip| clip.samples.range().len()).sum::<usize>() > most {
            return None;
        }
        let together = Samples::together(clips.iter().map(|clip| &clip.samples));
        let of: HashMap<_, _> = clips.iter().map(|clip| clip.id.clone()).zip(together).collect();
        let held = Self { of };
        (held.of.len() == clips.len() && (1..=most).contains(&held.samples())).then_some(held)
    }

    /// What the state holds.
    fn memory(&self) -> Option<&HostMemory> {
        self.of.values().next().map(Samples::memory)
    }

    /// Elements of the state.
    pub fn samples(&self) -> usize {
        self.memory().map_or(0, |memory| memory.len())
    }

    /// The content of the state.
    pub fn content(&self) -> &[f32] {
        self.memory().map_or(&[], |memory| memory)
    }

    /// Makes the samples the content of the state.
    ///
    /// # Errors
    /// Where the session's states have no room for them.
    pub fn lend(&self, session: &mut dyn Session) -> Result<()> {
        self.memory().map_or(Ok(()), |memory| session.lend_state(STATE, memory))
    }

    /// Where a part of a clip lies; None where it is not among the recordings.
    pub fn place(&self, clip: &Clip, part: Range<usize>, front_end: &FrontEnd) -> Option<Excerpt> {
        let samples = self.of.get(&clip.id)?;
        let channels = samples.channels() as u32;
        let mixes = front_end.channels == 1 && channels > 1;
        Some(Excerpt {
            first: (samples.range().start + part.start) as u32,
            stride: if channels > 1 { samples.len() as u32 } else { 0 },
            mixed: if mixes { channels } else { 1 },
            samples: part.len() as u32,
            start: 0,
        })
    }
}
