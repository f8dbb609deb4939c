//! Large data sets are kept decoded in one file of the cache, and mapped from there.

#![cfg(feature = "app")]

use humdinger::data::cache::Cache;
use humdinger::data::{Dataset, LoadOptions};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// As many as are kept together, and a few more.
const MANY: usize = 4_010;
const SAMPLES: usize = 40;
/// Not what any of these recordings holds anywhere.
const MARK: f32 = 0.123;

/// A recording of its own for every number.
fn write(path: &Path, number: usize) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(path, spec).unwrap();
    (0..SAMPLES).for_each(|t| wav.write_sample(((number * 7 + t * 311) % 9_001) as i16 - 4_500).unwrap());
    wav.finalize().unwrap();
    age(path, 100);
}

/// Sets the time of a file's last change back.
fn age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

struct Place {
    data: TempDir,
    store: TempDir,
}

impl Place {
    fn with(count: usize) -> Self {
        let data = tempfile::tempdir().unwrap();
        for song in ["Potter", "Rain"] {
            std::fs::create_dir(data.path().join(song)).unwrap();
        }
        let place = Self { data, store: tempfile::tempdir().unwrap() };
        (0..count).for_each(|number| write(&place.recording(number), number));
        place
    }

    fn recording(&self, number: usize) -> PathBuf {
        self.data.path().join(["Potter", "Rain"][number % 2]).join(format!("{number:04}.wav"))
    }

    fn plain(&self) -> Dataset {
        Dataset::load(self.data.path(), &LoadOptions { sample_rate: 8_000, ..Default::default() }).unwrap()
    }

    fn load(&self) -> Dataset {
        self.load_within(1 << 30)
    }

    fn load_within(&self, bound: u64) -> Dataset {
        let cache = Cache::open(self.store.path(), bound);
        let options = LoadOptions { sample_rate: 8_000, cache: cache.as_ref(), ..Default::default() };
        Dataset::load(self.data.path(), &options).unwrap()
    }

    /// The files of data sets that are kept.
    fn kept(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.store.path().join("sets")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn only_kept(&self) -> PathBuf {
        let mut kept = self.kept();
        assert_eq!(kept.len(), 1, "{kept:?}");
        kept.pop().unwrap()
    }

    /// Writes over a sample in what is kept, so that what comes from there shows.
    fn mark(&self, sample: u64) {
        use std::io::{Seek, Write};
        let mut file = File::options().write(true).open(self.only_kept()).unwrap();
        file.seek(std::io::SeekFrom::Start(sample * 4)).unwrap();
        file.write_all(&MARK.to_ne_bytes()).unwrap();
    }
}

fn marked(data: &Dataset) -> Vec<&str> {
    let marked = data.clips.iter().filter(|clip| clip.channel(0).contains(&MARK));
    marked.map(|clip| clip.id.as_str()).collect()
}

fn same(a: &Dataset, b: &Dataset) {
    assert!(a.clips == b.clips && a.contents == b.contents && a.classes == b.classes);
    assert_eq!((&a.left_out, &a.warnings), (&b.left_out, &b.warnings));
}

#[test]
fn a_large_data_set_is_read_once() {
    let place = Place::with(MANY);
    // Two of one sound, and one that cannot be read.
    std::fs::copy(place.recording(5), place.recording(8)).unwrap();
    std::fs::write(place.recording(11), b"nothing").unwrap();
    [8, 11].iter().for_each(|&number| age(&place.recording(number), 50));
    let plain = place.plain();
    assert_eq!((plain.clips.len(), plain.left_out.len(), plain.warnings.len()), (MANY - 1, 1, 1));
    same(&place.load(), &plain);
    let entries = || std::fs::read_dir(place.store.path()).unwrap().count();
    assert_eq!(entries(), 1, "kept twice");
    same(&place.load(), &plain);
    assert_eq!(place.load().clips[0].samples.memory().len(), (MANY - 1) * SAMPLES);

    // What is kept is what is read.
    place.mark(1);
    let from_kept = place.load();
    assert_eq!(marked(&from_kept).len(), 1);
    // All in one piece of memory, as training wants them.
    let memory = from_kept.clips[0].samples.memory();
    assert!(from_kept.clips.iter().all(|clip| clip.samples.memory().is(memory)));

    // A recording that has changed is read again, though it is as long and as old as before; the others come from what was kept.
    let changed =
        plain.clips.iter().map(|clip| &clip.path).find(|path| !marked(&from_kept).iter().any(|id| path.ends_with(id)));
    write(changed.unwrap(), 9_999_999);
    let again = place.load();
    assert_eq!(marked(&again), marked(&from_kept));
    let differ: Vec<&Path> = again
        .clips
        .iter()
        .zip(&plain.clips)
        .filter(|(a, b)| a.samples != b.samples && !marked(&again).contains(&a.id.as_str()))
        .map(|(a, _)| a.path.as_path())
        .collect();
    assert_eq!(differ, [changed.unwrap().as_path()]);

    // What could not be read is tried again.
    write(&place.recording(11), 11);
    let all = place.load();
    assert_eq!((all.clips.len(), all.left_out.len()), (MANY, 0));
}

#[test]
fn what_is_damaged_is_read_again() {
    let place = Place::with(MANY);
    let plain = place.plain();
    same(&place.load(), &plain);
    let whole = std::fs::read(place.only_kept()).unwrap();
    let index = MANY * SAMPLES * 4;
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cut = |length: usize| whole[..length].to_vec();
    let damaged = [
        cut(whole.len() - 1),
        cut(index / 2),
        cut(0),
        changed(index + 100),
        // Where the index begins, its checksum, and what ends the file.
        changed(whole.len() - 24),
        changed(whole.len() - 10),
        changed(whole.len() - 1),
    ];
    for bytes in damaged {
        std::fs::write(place.only_kept(), &bytes).unwrap();
        same(&place.load(), &plain);
        assert!(std::fs::read(place.only_kept()).unwrap() != bytes, "not mended");
    }
}

#[test]
fn where_there_is_no_room_all_is_in_memory() {
    let place = Place::with(MANY);
    let plain = place.plain();
    let data = place.load_within((MANY * SAMPLES * 4 - 1) as u64);
    assert!(data.clips == plain.clips);
    assert!(data.warnings.iter().any(|warning| warning.contains("sets") && warning.contains("HUMDINGER_CACHE_BYTES")));
    assert_eq!(place.kept(), [] as [PathBuf; 0]);

    // Files that were changed just now may change again: what was read of them is not kept.
    age(&place.recording(0), 0);
    same(&place.load(), &plain);
    assert_eq!(place.kept(), [] as [PathBuf; 0]);
    age(&place.recording(0), 60);
    same(&place.load(), &plain);
    place.only_kept();

    // Without a cache nothing is kept, and of few recordings none.
    let few = Place::with(20);
    same(&few.load(), &few.plain());
    assert_eq!(few.kept(), [] as [PathBuf; 0]);
}
