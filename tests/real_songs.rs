//! Songs found by their notes in recordings of real people, where there are any.

#![cfg(feature = "app")]

use humdinger::audio::decode::decode_file;
use humdinger::data::songbook::read_songs;
use humdinger::melody::pitch::{PitchOptions, PitchTracker};
use humdinger::melody::search::{Query, SearchOptions, Searcher};
use std::io::Write;
use std::path::{Path, PathBuf};

#[test]
fn real_people_are_understood() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let (midi, sung) = (data.join("many-tunes/midi"), data.join("hummed-songs"));
    if !midi.is_dir() || !sung.is_dir() {
        // Past the harness, which keeps what tests that pass have printed.
        let _ = writeln!(std::io::stderr(), "SKIPPED: there are no recordings of people at {}", data.display());
        return;
    }
    let book = read_songs(&[midi], None).unwrap();
    assert_eq!((book.songs.len(), book.refused.len()), (28, 0));
    let searcher = Searcher::new(&book.songs);
    let tracker = PitchTracker::new(8000, PitchOptions::default()).unwrap();
    // A sample of the people on whom everything was chosen: with even numbers.
    let person = |path: &PathBuf| -> usize {
        path.file_name().unwrap().to_str().unwrap()[1..].split('_').next().unwrap().parse().unwrap()
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(&sung).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let some: Vec<&PathBuf> = files.iter().filter(|path| person(path) % 2 == 0).step_by(10).collect();
    let first = |path: &&&PathBuf| {
        let sound = decode_file(path).unwrap();
        assert_eq!(sound.sample_rate, 8000);
        let query = Query::new(&tracker.track(&sound.channels[0])).unwrap();
        let found = searcher.search(&book.songs, &query, &SearchOptions::default());
        path.file_stem().unwrap().to_str().unwrap().ends_with(&format!("_{}", book.songs[found[0].song].id))
    };
    let right = some.iter().filter(first).count();
    println!("{right} of {}", some.len());
    assert!(some.len() > 20 && right * 100 >= some.len() * 94, "{right} of {}", some.len());
}
