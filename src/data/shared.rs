//! Recordings that several ranks read together: each reads and decodes its share of the files, and they tell each other what is in them.

use crate::audio::Audio;
use crate::ranks::Communicator;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Bytes that all ranks together exchange at once, where recordings are not larger.
const AT_ONCE: usize = 256 << 20;

/// The ranks among which files are shared out, and what this one has read for the others.
pub struct Shared<'a> {
    ranks: &'a dyn Communicator,
    own: Mutex<Vec<Vec<u8>>>,
    /// Bytes that this rank sends at once, where recordings are not larger.
    room: usize,
}

impl fmt::Debug for Shared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.ranks.rank(), self.ranks.size())
    }
}

/// What is said of a file before its samples.
#[derive(Serialize, Deserialize)]
struct Head {
    /// Its place in the listing.
    number: usize,
    id: String,
    /// The checksum of what is in the file.
    contents: u64,
    /// Of the samples that follow.
    channels: usize,
    warnings: Vec<String>,
    /// Why it could not be read.
    fault: Option<String>,
}

/// A file that another rank has read.
pub struct Read {
    /// Its place in the listing.
    pub number: usize,
    /// Its id there.
    pub id: String,
    /// The checksum of what is in it.
    pub contents: u64,
    /// Its samples by channel, and what had to be repaired; or why it could not be read.
    pub sound: Result<(Vec<Vec<f32>>, Vec<String>), String>,
}

impl<'a> Shared<'a> {
    /// Among these.
    pub fn new(ranks: &'a dyn Communicator) -> Self {
        Self { ranks, own: Mutex::default(), room: AT_ONCE / ranks.size() }
    }

    /// Whether this rank reads the file of this number.
    pub fn is_own(&self, number: usize) -> bool {
        number % self.ranks.size() == self.ranks.rank()
    }

    /// Keeps what this rank has read for the others: the file's number, id and checksum, and its sound or what is wrong with it.
    pub fn keep(
        &self,
        (number, id, contents): (usize, &str, u64),
        sound: Result<(Vec<u8>, usize, Vec<String>), String>,
    ) {
        let (samples, channels, warnings, fault) = match sound {
            Ok((samples, channels, warnings)) => (samples, channels, warnings, None),
            Err(fault) => (Vec::new(), 0, Vec::new(), Some(fault)),
        };
        let head = Head { number, id: id.into(), contents, channels, warnings, fault };
        // Numbers and texts: nothing that JSON has no form for.
        let head = serde_json::to_vec(&head).unwrap_or_default();
        let lens = [head.len(), samples.len()].map(|len| (len as u64).to_le_bytes()).concat();
        self.own.lock().unwrap_or_else(PoisonError::into_inner).push([lens, head, samples].concat());
    }

    /// What the others have read, as it comes. All ranks call it once they have read their own.
    ///
    /// # Errors
    /// Where another rank is gone, or `each` fails.
    pub fn others(&self, mut each: impl FnMut(Read) -> Result<()>) -> Result<()> {
        let own = std::mem::take(&mut *self.own.lock().unwrap_or_else(PoisonError::into_inner));
        let mut own = own.into_iter().peekable();
        loop {
            let mut bytes: Vec<u8> = Vec::new();
            while let Some(next) = own.next_if(|next| bytes.is_empty() || bytes.len() + next.len() <= self.room) {
                bytes.extend(next);
            }
            let all = self.ranks.gather(&bytes)?;
            if all.iter().all(Vec::is_empty) {
                return Ok(());
            }
            for (rank, bytes) in all.iter().enumerate().filter(|&(rank, _)| rank != self.ranks.rank()) {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let garbled =
                        || Error::Device(format!("rank {rank} has sent recordings that cannot be understood"));
                    each(take(&mut rest).ok_or_else(garbled)?)?;
                }
            }
        }
    }
}

/// The samples of a sound as bytes, with the number of channels and what had to be repaired.
pub fn encoded(audio: &Audio) -> (Vec<u8>, usize, Vec<String>) {
    let samples = audio.channels.iter().flat_map(|channel| bytemuck::cast_slice::<f32, u8>(channel)).copied().collect();
    (samples, audio.channels.len(), audio.warnings.clone())
}

/// The first file of some bytes, which it is taken from.
fn take(rest: &mut &[u8]) -> Option<Read> {
    let mut cut = |len: usize| {
        let (part, left) = rest.split_at_checked(len)?;
        *rest = left;
        Some(part)
    };
    let mut len = || usize::try_from(u64::from_le_bytes(cut(8)?.try_into().ok()?)).ok();
    let (head, samples) = (len()?, len()?);
    let Head { number, id, contents, channels, warnings, fault } = serde_json::from_slice(cut(head)?).ok()?;
    let samples: Vec<f32> = bytemuck::pod_collect_to_vec(cut(samples)?);
    let each = samples.len() / channels.max(1);
    let sound = match fault {
        Some(fault) => Err(fault),
        None => Ok((samples.chunks(each.max(1)).map(<[f32]>::to_vec).collect(), warnings)),
    };
    Some(Read { number, id, contents, sound })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, LoadOptions};
    use crate::ranks::Threads;
    use std::path::Path;

    /// Writes some of `count` recordings into a folder for each song, the third of which is none.
    fn write(folder: &Path, count: usize, own: impl Fn(usize) -> bool) -> Result<()> {
        let failed = |e: std::io::Error| Error::Data(e.to_string());
        for number in 0..count {
            let song = folder.join(["A", "B"][number % 2]);
            std::fs::create_dir_all(&song).map_err(failed)?;
            // In order of id, as listings are.
            let path = song.join(format!("{number}.wav"));
            if !own(number) {
                std::fs::write(&path, "this rank has no business with this file").map_err(failed)?;
            } else if number == 2 {
                std::fs::write(&path, "no sound").map_err(failed)?;
            } else {
                let samples: Vec<f32> = (0..400 + 100 * number).map(|i| (i * (number + 1)) as f32 / 1e4).collect();
                std::fs::write(&path, crate::audio::wav::encode(&[samples], 8_000)?).map_err(failed)?;
            }
        }
        Ok(())
    }

    #[test]
    fn every_rank_reads_its_share_and_has_all() -> Result<()> {
        let failed = |e: std::io::Error| Error::Data(e.to_string());
        // Unequal shares, and fewer files than ranks; several exchanges, and one.
        for (count, ranks, room) in [(7, 3, 1), (7, 2, 1 << 20), (2, 3, 1)] {
            let parent = tempfile::tempdir().map_err(failed)?;
            let whole = parent.path().join("whole");
            write(&whole, count, |_| true)?;
            let options = LoadOptions { sample_rate: 8_000, ..LoadOptions::default() };
            let alone = Dataset::load(&whole, &options)?;
            assert_eq!(alone.clips.len(), if count > 2 { count - 1 } else { count });
            // In the listing's order, all of A are before all of B.
            let place = |number: usize| number / 2 + number % 2 * count.div_ceil(2);
            std::thread::scope(|scope| {
                let each = Threads::new(ranks).into_iter().map(|threads| {
                    let (alone, folder) = (&alone, parent.path().join(format!("rank {}", threads.rank())));
                    scope.spawn(move || {
                        let shared = Shared { room, ..Shared::new(&threads) };
                        write(&folder, count, |number| shared.is_own(place(number)))?;
                        let options =
                            LoadOptions { sample_rate: 8_000, shared: Some(&shared), ..LoadOptions::default() };
                        let data = Dataset::load(&folder, &options)?;
                        let known = |data: &Dataset| {
                            let clip = |clip: &crate::data::Clip| (clip.id.clone(), clip.label, clip.samples.clone());
                            data.clips.iter().map(clip).collect::<Vec<_>>()
                        };
                        assert!(known(&data) == known(alone) && data.contents == alone.contents);
                        assert_eq!((&data.left_out, data.warnings.len()), (&alone.left_out, alone.warnings.len()));
                        Ok(())
                    })
                });
                let each: Vec<_> = each.collect();
                each.into_iter()
                    .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(Error::Data("panic".into()))))
            })?;
        }
        Ok(())
    }
}
