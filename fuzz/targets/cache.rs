//! Entries of the cache of decoded recordings.
#![no_main]

use humdinger::audio::Audio;
use humdinger::data::cache::{Cache, Key};
use humdinger_fuzz::file;
use std::path::PathBuf;
use std::sync::OnceLock;
use xxhash_rust::xxh3::xxh3_64;

/// The cache, its one entry's file, and what a whole entry begins with.
fn cache() -> &'static (Cache, PathBuf, Vec<u8>) {
    static CACHE: OnceLock<(Cache, PathBuf, Vec<u8>)> = OnceLock::new();
    CACHE.get_or_init(|| {
        let cache = Cache::open(&file("cache"), 1 << 30).expect("a folder for the cache");
        let audio = Audio { channels: vec![vec![0.5; 4]], sample_rate: 8_000, warnings: vec![] };
        cache.store(Key::new(b"x", 8_000), &audio);
        let entry = std::fs::read_dir(file("cache")).expect("the folder").next().expect("an entry").expect("it").path();
        let head = std::fs::read(&entry).expect("it")[..56].to_vec();
        (cache, entry, head)
    })
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (cache, entry, head) = cache();
    let mut bytes = data.to_vec();
    // With the right key and checksum more than one in 2^64 gets any further.
    if bytes.len() >= head.len() {
        bytes[..8].copy_from_slice(&head[..8]);
        bytes[40..56].copy_from_slice(&head[40..]);
        let sum = xxh3_64(&bytes[16..]);
        bytes[8..16].copy_from_slice(&sum.to_le_bytes());
    }
    std::fs::write(entry, &bytes).expect("the entry");
    if let Some(audio) = cache.load(Key::new(b"x", 8_000)) {
        assert!(audio.frames() > 0 && audio.channels.iter().all(|channel| channel.len() == audio.frames()));
    }
});
