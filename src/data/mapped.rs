//! The decoded recordings of a large data set, in one file of the cache that is mapped into memory: they need no more memory of their own
//! than a program's text does, and a data set of which no file has changed is there at once.
//!
//! The file holds the samples, then an index, then where that begins. It is written beside its final name, flushed and renamed, and never
//! written again. A changed recording is recognised as git does it: by the file's place, length and times, not by what is in it.

use super::cache::{self, Hasher, MAGIC, others_may_write};
use super::dataset::{LoadOptions, Stretch};
use super::labels::Labelled;
use super::load::Decoded;
use super::samples::Span;
use crate::graph::HostMemory;
use memmap2::Mmap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Data sets of fewer files lie in memory: a gigabyte, most often.
const MANY: usize = 4_000;
/// A file that was changed so short a time ago may change again without a trace in its times.
const YOUNG: Duration = Duration::from_secs(2);
const ENDING: &str = "recordings";
/// What a file ends with: where its index begins, the index's checksum, [`MAGIC`].
const TRAILER: usize = 24;

/// Tells a file, or a part of it, as it is from every other one: see [`file_id`].
pub(super) type FileId = (u64, u64);

/// What is known of one file of a listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sound {
    pub file: FileId,
    /// A checksum of what was in it.
    pub contents: u64,
    /// Where its samples lie, and what had to be repaired; none where it could not be read.
    pub read: Option<(Span, Vec<String>)>,
}

impl Sound {
    /// What had to be repaired.
    pub fn warnings(&self) -> &[String] {
        self.read.as_ref().map_or(&[], |(_, warnings)| warnings)
    }
}

/// The sounds of a data set, and the memory in which they lie.
pub(super) struct Opened {
    pub memory: HostMemory,
    /// In the order of the listing.
    pub sounds: Vec<Sound>,
}

/// A data set that is worth a file of its own.
pub(super) struct MappedSet {
    folder: PathBuf,
    /// The most bytes that all such files may take but for this one, and the most of this one.
    bounds: (u64, u64),
    /// The beginning of the names of all files that were read in the same way.
    settings: String,
    name: String,
    files: Vec<FileId>,
    /// Whether some of its files were changed just now.
    young: bool,
}

impl MappedSet {
    /// The set of these files; none where they are few, or there is no cache, or several ranks read them.
    pub fn of(files: &[Labelled], options: &LoadOptions) -> Option<Self> {
        let cache = options.cache.filter(|_| files.len() >= MANY && options.shared.is_none())?;
        let now = SystemTime::now();
        let young = |meta: &Metadata| meta.modified().ok().and_then(|at| now.duration_since(at).ok()) < Some(YOUNG);
        let known: Option<Vec<_>> = files
            .par_iter()
            .map(|file| {
                let meta = std::fs::metadata(&file.path).ok()?;
                Some((file_id(&file.path, file.stretch, &meta), young(&meta)))
            })
            .collect();
        let (files, young): (Vec<_>, Vec<bool>) = known?.into_iter().unzip();
        let mut hash = Hasher::new(options.sample_rate);
        hash.update(&options.most_samples.unwrap_or(usize::MAX).to_ne_bytes());
        let settings = hash.name();
        files.iter().for_each(|(a, b)| [a, b].iter().for_each(|word| hash.update(&word.to_ne_bytes())));
        let name = format!("{settings}-{}.{ENDING}", hash.name());
        Some(Self {
            folder: cache.sets(),
            bounds: cache.bounds_of_sets(),
            settings,
            name,
            files,
            young: young.contains(&true),
        })
    }

    /// What an earlier run has kept of it.
    pub fn open(&self) -> Option<Opened> {
        let path = self.folder.join(&self.name);
        let kept = open(&path)?;
        cache::used(&path);
        kept.sounds.iter().map(|sound| &sound.file).eq(&self.files).then_some(kept)
    }

    /// What was kept of another state of the data set, or of another one read in the same way, by file.
    pub fn earlier(&self) -> Earlier {
        let mut found: Vec<(SystemTime, PathBuf)> = kept_in(&self.folder)
            .filter(|(path, _)| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&self.settings)))
            .filter_map(|(path, meta)| Some((meta.modified().ok()?, path)))
            .collect();
        found.sort();
        let kept = found.pop().and_then(|(_, path)| open(&path));
        let Some(Opened { memory, sounds }) = kept else { return Earlier::default() };
        Earlier { memory, sounds: sounds.into_iter().map(|sound| (sound.file, sound)).collect() }
    }

    /// Begins its file.
    ///
    /// # Errors
    /// Where none can be made.
    pub fn begin(&self) -> io::Result<Writer> {
        std::fs::create_dir_all(&self.folder)?;
        if let Some(why) = others_may_write(&self.folder) {
            return Err(io::Error::other(format!("the folder {why}")));
        }
        let file = tempfile::Builder::new().prefix(".tmp").tempfile_in(&self.folder)?;
        Ok(Writer { file, taken: AtomicUsize::new(0), most: self.bounds.1, failed: OnceLock::new() })
    }

    /// What tells each file, in the order of the listing, from every other one.
    pub fn files(&self) -> &[FileId] {
        &self.files
    }

    /// Where its file lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends its file, in which this lies of its files, and keeps it for later runs. Returns the samples.
    ///
    /// # Errors
    /// Where it could not be written: there is no room for it, most often.
    pub fn finish(&self, writer: Writer, decoded: &[Decoded]) -> io::Result<HostMemory> {
        let Writer { mut file, taken, failed, .. } = writer;
        if let Some(error) = failed.into_inner() {
            return Err(error);
        }
        let samples = taken.into_inner();
        let sound = |(&file, (read, contents)): (&_, &Decoded)| {
            let read = read.as_ref().ok().cloned();
            Sound { file, contents: *contents, read }
        };
        let index = serde_json::to_vec(&self.files.iter().zip(decoded).map(sound).collect::<Vec<_>>())?;
        let begin = samples as u64 * 4;
        file.seek(SeekFrom::Start(begin))?;
        file.write_all(&index)?;
        file.write_all(&begin.to_le_bytes())?;
        file.write_all(&xxh3_64(&index).to_le_bytes())?;
        file.write_all(MAGIC)?;
        file.flush()?;
        let memory = map(file.as_file(), samples)?;
        // What changes while it is read may have been read half changed.
        if !self.young {
            // Before it has its name: a machine that stops in between must not leave a whole file of zeros.
            file.as_file().sync_data()?;
            file.persist(self.folder.join(&self.name)).map_err(|error| error.error)?;
            cache::evict(&self.folder, ENDING, self.bounds.0, Some(&self.name));
        }
        Ok(memory)
    }
}

/// Sounds of an earlier run.
#[derive(Default)]
pub(super) struct Earlier {
    memory: HostMemory,
    sounds: HashMap<FileId, Sound>,
}

impl Earlier {
    /// The channels of a file that has not changed since, and what is known of it.
    pub fn get(&self, file: FileId) -> Option<(Vec<&[f32]>, &Sound)> {
        let sound = self.sounds.get(&file)?;
        let (span, _) = sound.read.as_ref()?;
        Some((span.channels(&self.memory), sound))
    }
}

/// The file of a data set while it is written, by many threads at once.
pub(super) struct Writer {
    file: NamedTempFile,
    /// Samples that have a place in it.
    taken: AtomicUsize,
    /// The most bytes that it may take.
    most: u64,
    failed: OnceLock<io::Error>,
}

impl Writer {
    /// Whether something could not be written.
    pub fn has_failed(&self) -> bool {
        self.failed.get().is_some()
    }

    /// Appends a recording; none where it cannot be written, which [`MappedSet::finish`] tells.
    ///
    /// # Panics
    /// Where its channels are not of one length.
    pub fn put(&self, channels: &[&[f32]]) -> Option<Span> {
        let span = Span::of(channels, |all| self.taken.fetch_add(all, Ordering::Relaxed));
        let (mut at, end) = (span.range().start as u64 * 4, span.range().end as u64 * 4);
        let mut write = || {
            if end > self.most {
                let most = self.most;
                return Err(io::Error::other(format!("they take more than the {most} bytes of HUMDINGER_CACHE_BYTES")));
            }
            for channel in channels {
                let bytes = bytemuck::cast_slice(channel);
                write_at(self.file.as_file(), bytes, at)?;
                at += bytes.len() as u64;
            }
            Ok(())
        };
        // Of several, the first is reported.
        write().map_err(|error| drop(self.failed.set(error))).ok().map(|()| span)
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, at)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => {
                bytes = &bytes[written..];
                at += written as u64;
            }
        }
    }
    Ok(())
}

/// Samples in a mapped file.
struct Mapped {
    map: Mmap,
    samples: usize,
}

impl AsRef<[f32]> for Mapped {
    fn as_ref(&self) -> &[f32] {
        bytemuck::cast_slice(&self.map[..self.samples * 4])
    }
}

fn map(file: &File, samples: usize) -> io::Result<HostMemory> {
    // SAFETY: the file is this user's, in a folder that no other user may write to, and what has its name is never written again by
    // any run of this program, only removed, which leaves the mapping as it is.
    let map = unsafe { Mmap::map(file)? };
    Ok(HostMemory::new(Mapped { map, samples }))
}

/// A file of samples and what lies in it; none where it is not whole.
fn open(path: &Path) -> Option<Opened> {
    if path.parent().is_none_or(|folder| others_may_write(folder).is_some()) {
        return None;
    }
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut end = [0; TRAILER];
    file.seek(SeekFrom::Start(length.checked_sub(TRAILER as u64)?)).ok()?;
    file.read_exact(&mut end).ok()?;
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| end[at + i]));
    let (begin, sum) = (word(0), word(8));
    let index = usize::try_from(length.checked_sub(TRAILER as u64)?.checked_sub(begin)?).ok()?;
    if end[16..] != MAGIC[..] || !begin.is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(index).ok()?;
    file.seek(SeekFrom::Start(begin)).ok()?;
    file.take(index as u64).read_to_end(&mut bytes).ok()?;
    if bytes.len() != index || xxh3_64(&bytes) != sum {
        return None;
    }
    let sounds: Vec<Sound> = serde_json::from_slice(&bytes).ok()?;
    let memory = map(&File::open(path).ok()?, usize::try_from(begin / 4).ok()?).ok()?;
    let inside = |sound: &Sound| sound.read.as_ref().is_none_or(|(span, _)| span.lies_in(memory.len()));
    sounds.iter().all(inside).then_some(Opened { memory, sounds })
}

/// The files of data sets in a folder.
fn kept_in(folder: &Path) -> impl Iterator<Item = (PathBuf, Metadata)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let kept = entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)));
    kept.filter(|(path, meta)| meta.is_file() && path.extension().is_some_and(|ending| ending == ENDING))
}

/// Tells a file, or a part of it, as it is now from every other one: by its path, length and times, and where there are such by
/// device and inode.
fn file_id(path: &Path, stretch: Option<Stretch>, meta: &Metadata) -> FileId {
    let mut hash = Xxh3::new();
    hash.update(std::path::absolute(path).as_deref().unwrap_or(path).as_os_str().as_encoded_bytes());
    let changed =
        meta.modified().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
    [meta.len(), changed.as_secs(), u64::from(changed.subsec_nanos())]
        .iter()
        .for_each(|word| hash.update(&word.to_ne_bytes()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        [meta.dev(), meta.ino(), meta.ctime() as u64, meta.ctime_nsec() as u64]
            .iter()
            .for_each(|word| hash.update(&word.to_ne_bytes()));
    }
    if let Some(Stretch { start, end }) = stretch {
        [start, end.unwrap_or(-1.0)].iter().for_each(|time| hash.update(&time.to_ne_bytes()));
    }
    let digest = hash.digest128();
    ((digest >> 64) as u64, digest as u64)
}
