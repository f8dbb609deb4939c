//! A data set in a device's memory, so that a batch only says which clips it is made of.

use super::recipe::FrontEnd;
use crate::Result;
use crate::data::Clip;
use crate::graph::Session;
use crate::ops::Place;
use std::collections::HashMap;
use std::ops::Range;

/// The name of the state that holds the samples: clip after clip, channel after channel.
pub const STATE: &str = "recordings";

/// Where each clip's samples lie in the state [`STATE`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recordings {
    first: HashMap<String, u32>,
    samples: usize,
}

impl Recordings {
    /// Lays clips out. None where they cannot be told apart by their ids, or are more than `most` samples.
    pub fn of(clips: &[Clip], most: usize) -> Option<Self> {
        let (mut first, mut samples) = (HashMap::with_capacity(clips.len()), 0);
        for clip in clips {
            let at = u32::try_from(samples).ok()?;
            if first.insert(clip.id.clone(), at).is_some() {
                return None;
            }
            samples += clip.samples.iter().map(Vec::len).sum::<usize>();
        }
        let fits = samples > 0 && samples <= most && u32::try_from(samples).is_ok();
        fits.then_some(Self { first, samples })
    }

    /// Samples of all clips and channels.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Writes the samples of the clips that were laid out.
    ///
    /// # Errors
    /// Where the session's states have no room for them.
    pub fn upload(&self, session: &mut dyn Session, clips: &[Clip]) -> Result<()> {
        let mut at = 0;
        for channel in clips.iter().flat_map(|clip| &clip.samples) {
            session.write_state_part(STATE, at, channel)?;
            at += channel.len();
        }
        Ok(())
    }

    /// Where a part of a clip lies; None where it is not among the recordings.
    pub fn place(&self, clip: &Clip, part: Range<usize>, front_end: &FrontEnd) -> Option<Place> {
        let first = *self.first.get(&clip.id)?;
        let channels = clip.samples.len() as u32;
        let mixes = front_end.channels == 1 && channels > 1;
        Some(Place {
            first: first + part.start as u32,
            stride: if channels > 1 { clip.len() as u32 } else { 0 },
            mixed: if mixes { channels } else { 1 },
            samples: part.len() as u32,
            start: 0,
        })
    }
}
