//! Decoded and resampled clips, kept between runs.
//!
//! An entry is a file named by the hash of the sound file's contents and of the settings, so that a renamed recording is found and
//! an edited one is not. Entries are written beside their final name and renamed, and carry a checksum: two runs at once,
//! a killed run or a full disk leave either a whole entry or none that is believed.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::dataset::Stretch;
use crate::audio::Audio;

/// Bytes that the cache may take: 2 GiB. `HUMDINGER_CACHE_BYTES` overrides it.
const DEFAULT_BOUND: u64 = 2 << 30;
/// An entry larger than this share of the bound is not worth keeping.
const LARGEST_SHARE: u64 = 8;
/// Begins every entry; changes with the layout and with whatever changes decoded samples.
pub(super) const MAGIC: &[u8; 8] = b"humclip6";
const HEADER: usize = 8 + 8 + 4 + 4 + 8 + 8 + 16;
const ENDING: &str = "clip";

/// A folder of decoded clips. Never fails: what cannot be read is decoded again, what cannot be written is not kept.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    bound: u64,
    /// Whether somebody has chosen the bound.
    chosen: bool,
    written: AtomicU64,
}

/// Names an entry: contents and settings, 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u128);

impl Key {
    /// The key of a sound file with contents `bytes`, resampled to `sample_rate`.
    pub fn new(bytes: &[u8], sample_rate: u32) -> Self {
        let mut hash = Hasher::new(sample_rate);
        hash.update(bytes);
        hash.key(None)
    }
}

/// Makes a key out of contents that come piece by piece.
pub struct Hasher(Box<Xxh3>);

impl Hasher {
    /// For a file that is resampled to `sample_rate`.
    pub fn new(sample_rate: u32) -> Self {
        let mut hash = Box::new(Xxh3::new());
        for part in [MAGIC, env!("CARGO_PKG_VERSION").as_bytes(), &sample_rate.to_le_bytes()] {
            hash.update(part);
        }
        Self(hash)
    }

    /// The next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// A file's name for what came.
    pub fn name(&self) -> String {
        format!("{:016x}", self.0.digest())
    }

    /// The key of what came, or of a part of the recording.
    pub fn key(mut self, stretch: Option<Stretch>) -> Key {
        if let Some(Stretch { start, end }) = stretch {
            [start, end.unwrap_or(-1.0)].iter().for_each(|time| self.0.update(&time.to_le_bytes()));
        }
        Key(self.0.digest128())
    }
}

impl Cache {
    /// The cache in the user's cache directory (`$XDG_CACHE_HOME` or `~/.cache`, `~/Library/Caches`, `%LOCALAPPDATA%`;
    /// `HUMDINGER_CACHE` overrides it); `None` where there is no such place.
    ///
    /// # Errors
    /// Says in a sentence why a folder that is there is not used: others could put sound of their own into it.
    pub fn open_default() -> Result<Option<Self>, String> {
        let chosen = std::env::var("HUMDINGER_CACHE_BYTES").ok().and_then(|s| s.parse().ok());
        let Some(parent) = default_folder() else { return Ok(None) };
        let folder = parent.join("clips");
        for folder in [&parent, &folder] {
            if let Some(why) = others_may_write(folder) {
                let what = "decoded recordings are neither taken from there nor kept";
                return Err(format!("the cache folder {} {why}: {what}", folder.display()));
            }
        }
        let open = Self::open(&folder, chosen.unwrap_or(DEFAULT_BOUND));
        Ok(open.map(|cache| Self { chosen: chosen.is_some(), ..cache }))
    }

    /// A cache in `folder`, which is made, of at most `bound` bytes; `None` when the folder cannot be made.
    pub fn open(folder: &Path, bound: u64) -> Option<Self> {
        std::fs::create_dir_all(folder).ok()?;
        let cache = Self { folder: folder.to_path_buf(), bound, chosen: true, written: AtomicU64::new(0) };
        cache.evict();
        Some(cache)
    }

    /// The same, for reading alone: nothing is kept in it.
    pub fn for_reading(&self) -> Self {
        Self { folder: self.folder.clone(), bound: 0, chosen: self.chosen, written: AtomicU64::new(0) }
    }

    /// Where data sets that are kept as a whole lie.
    pub(super) fn sets(&self) -> PathBuf {
        self.folder.join("sets")
    }

    /// The most bytes that data sets that are kept as a whole may take together, and that one alone may take: as much as there is, unless
    /// somebody has chosen a bound.
    pub(super) fn bounds_of_sets(&self) -> (u64, u64) {
        (self.bound, if self.chosen { self.bound } else { u64::MAX })
    }

    fn evict(&self) {
        evict(&self.folder, ENDING, self.bound, None);
    }

    fn path(&self, key: Key) -> PathBuf {
        self.folder.join(format!("{:032x}.{ENDING}", key.0))
    }

    /// The clip kept under `key`, if a whole one is there.
    pub fn load(&self, key: Key) -> Option<Audio> {
        let mut audio = Audio::default();
        self.load_into(key, &mut Vec::new(), &mut audio).then_some(audio)
    }

    /// [`Cache::load`] into what is there already, whose memory it uses as it uses that of `entry`. Returns whether a whole clip was
    /// there; where none was, nothing can be said of what `audio` is.
    pub fn load_into(&self, key: Key, entry: &mut Vec<u8>, audio: &mut Audio) -> bool {
        let path = self.path(key);
        if read_into(&path, entry).is_err() {
            return false;
        }
        let whole = parse(entry, key, audio).is_some();
        if whole {
            used(&path);
        } else {
            drop(std::fs::remove_file(&path));
        }
        whole
    }

    /// Keeps a clip under `key`.
    pub fn store(&self, key: Key, audio: &Audio) {
        let bytes = serialise(key, audio);
        let size = bytes.len() as u64;
        if size > self.bound / LARGEST_SHARE {
            return;
        }
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(&bytes)?;
            file.persist(self.path(key))?;
            Ok(())
        };
        // Listing the folder for every clip would cost more than decoding it.
        if write().is_ok() && self.written.fetch_add(size, Ordering::Relaxed) + size > self.bound / 16 {
            self.written.store(0, Ordering::Relaxed);
            self.evict();
        }
    }
}

/// Notes that a file was used now: the time of last use decides what is dropped first. A failure only makes that order worse.
pub(super) fn used(path: &Path) {
    drop(File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now())));
}

/// Drops the files of this ending that were used longest ago until the rest fits, but never the one that is called `kept`, and temporary
/// files of runs that died.
pub(super) fn evict(folder: &Path, ending: &str, bound: u64, kept: Option<&str>) {
    let Ok(folder) = std::fs::read_dir(folder) else { return };
    let mut entries: Vec<(SystemTime, u64, PathBuf)> = folder
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let meta = entry.metadata().ok()?;
            let used = meta.modified().ok()?;
            let path = entry.path();
            if path.extension().is_some_and(|e| e == ending) {
                return Some((used, meta.len(), path));
            }
            let stale = used.elapsed().is_ok_and(|age| age.as_secs() > 3600);
            let ours = path.file_name()?.to_str()?.starts_with(".tmp");
            if stale && ours && meta.is_file() {
                drop(std::fs::remove_file(path));
            }
            None
        })
        .collect();
    let mut total: u64 = entries.iter().map(|e| e.1).sum();
    entries.sort();
    for (_, size, path) in entries {
        if total <= bound {
            break;
        }
        if kept.is_some_and(|kept| path.ends_with(kept)) {
            continue;
        }
        drop(std::fs::remove_file(path));
        total -= size;
    }
}

/// Why what is in a folder need not be this user's; none where it is, or there is no folder yet.
#[cfg(unix)]
pub(super) fn others_may_write(folder: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(folder).ok()?;
    let (owner, own) = (meta.uid(), nix::unistd::geteuid().as_raw());
    // Root could write to it in any case.
    if owner != own && owner != 0 {
        return Some(format!("belongs to another user (number {owner})"));
    }
    let mode = meta.mode() & 0o7777;
    (mode & 0o002 != 0).then(|| format!("can be written to by everybody (mode {mode:o}; chmod go-w mends that)"))
}

#[cfg(not(unix))]
pub(super) fn others_may_write(_: &Path) -> Option<String> {
    None
}

/// Reads a file into what held another.
fn read_into(path: &Path, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    bytes.clear();
    File::open(path)?.read_to_end(bytes).map(drop)
}

/// Humdinger's folder in the user's cache directory; see [`Cache::open_default`].
pub fn default_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(folder) = variable("HUMDINGER_CACHE") {
        return Some(folder);
    }
    let base = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        std::env::home_dir().map(|home| home.join("Library/Caches"))
    } else {
        variable("XDG_CACHE_HOME")
            .filter(|p| p.is_absolute())
            .or_else(|| std::env::home_dir().map(|h| h.join(".cache")))
    };
    Some(base?.join("humdinger"))
}

/// Magic, checksum of all that follows, sample rate, channels, samples per channel, bytes of warnings, key; samples;
/// warnings.
fn serialise(key: Key, audio: &Audio) -> Vec<u8> {
    let warnings = audio.warnings.join("\n");
    let mut body = Vec::with_capacity(HEADER + audio.frames() * audio.channels.len() * 4 + warnings.len());
    body.extend_from_slice(MAGIC);
    body.extend_from_slice(&[0; 8]);
    body.extend_from_slice(&audio.sample_rate.to_le_bytes());
    body.extend_from_slice(&(audio.channels.len() as u32).to_le_bytes());
    body.extend_from_slice(&(audio.frames() as u64).to_le_bytes());
    body.extend_from_slice(&(warnings.len() as u64).to_le_bytes());
    body.extend_from_slice(&key.0.to_le_bytes());
    for channel in &audio.channels {
        body.extend(channel.iter().flat_map(|x| x.to_le_bytes()));
    }
    body.extend_from_slice(warnings.as_bytes());
    let sum = xxh3_64(&body[16..]);
    body[8..16].copy_from_slice(&sum.to_le_bytes());
    body
}

fn parse(bytes: &[u8], key: Key, audio: &mut Audio) -> Option<()> {
    let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    if bytes.get(..8)? != MAGIC || word(8)? != xxh3_64(bytes.get(16..)?) {
        return None;
    }
    // An entry that was copied or renamed is some other recording's, however whole it is.
    if bytes.get(HEADER - 16..HEADER)? != key.0.to_le_bytes() {
        return None;
    }
    let (sample_rate, channels) = (word(16)? as u32, (word(16)? >> 32) as usize);
    let (frames, warnings) = (usize::try_from(word(24)?).ok()?, usize::try_from(word(32)?).ok()?);
    let size = frames.checked_mul(channels)?.checked_mul(4)?;
    if bytes.len() != HEADER.checked_add(size)?.checked_add(warnings)? || frames == 0 || !(1..=2).contains(&channels) {
        return None;
    }
    let text = std::str::from_utf8(&bytes[HEADER + size..]).ok()?;
    audio.warnings = text.lines().map(str::to_string).collect();
    audio.sample_rate = sample_rate;
    audio.channels.resize_with(channels, Vec::new);
    for (channel, samples) in audio.channels.iter_mut().zip(bytes[HEADER..HEADER + size].chunks_exact(frames * 4)) {
        channel.clear();
        channel.extend(samples.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)));
    }
    Some(())
}
