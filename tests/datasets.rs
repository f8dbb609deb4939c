//! Labels, data sets, splits and the cache.

#![cfg(feature = "app")]

#[path = "common/wav.rs"]
mod wav;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use humdinger::audio::Audio;
use humdinger::data::cache::{Cache, Key};
use humdinger::data::dataset::{Clip, Dataset, LoadOptions};
use humdinger::data::labels::{Source, list};
use humdinger::data::names::names;
use humdinger::data::samples::Samples;
use humdinger::data::split::{SplitBy, folds, split};
use proptest::prelude::*;

fn write_wav(path: &Path, samples: usize) {
    wav::write_wav(path, 8_000, (0..samples).map(|i| (i % 200) as i16 * 50));
}

/// A folder with the named files: `.wav` ones hold sound, others the text given.
fn folder(sounds: &[&str], texts: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in sounds {
        write_wav(&folder.path().join(name), 400);
    }
    for (name, text) in texts {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

type Row<'a> = (&'a str, &'a str, Option<&'a str>);

fn rows(listing: &humdinger::data::labels::Listing) -> Vec<Row<'_>> {
    listing.files.iter().map(|f| (f.id.as_str(), f.label.as_str(), f.person.as_deref())).collect()
}

#[test]
fn labels_from_names() {
    let folder = folder(
        &[
            "S2_hum_1_Rain.wav",
            "deeper/S10_whistle_2_Potter.wav",
            "noise.wav",
            "S2_hum_2_Rain.WAV",
            ".S3_hum_1_Rain.wav",
        ],
        &[("readme.txt", "")],
    );
    let listing = list(folder.path()).unwrap();
    assert_eq!(listing.source, Source::Names);
    assert_eq!(
        rows(&listing),
        [
            ("S2_hum_1_Rain.wav", "Rain", Some("S2")),
            ("S2_hum_2_Rain.WAV", "Rain", Some("S2")),
            ("deeper/S10_whistle_2_Potter.wav", "Potter", Some("S10")),
        ]
    );
    let left_out: Vec<String> = listing.left_out.iter().map(ToString::to_string).collect();
    assert_eq!(left_out.len(), 3, "{left_out:?}");
    assert!(left_out[0].contains("1 file: hidden file (.S3_hum_1_Rain.wav)"), "{left_out:?}");
    assert!(left_out[1].contains("readme.txt"), "{left_out:?}");
    assert!(left_out[2].contains("noise.wav"), "{left_out:?}");
}

#[test]
fn labels_from_folders() {
    let folder = folder(&["Rain/a.wav", "Rain/more/b.wav", "Potter/a.wav", "stray.wav"], &[]);
    let listing = list(folder.path()).unwrap();
    assert_eq!(listing.source, Source::Folders);
    assert_eq!(
        rows(&listing),
        [("Potter/a.wav", "Potter", None), ("Rain/a.wav", "Rain", None), ("Rain/more/b.wav", "Rain", None)]
    );
    assert_eq!(listing.left_out[0].files, ["stray.wav"]);
}

#[test]
fn labels_from_the_benchmark_csv() {
    let csv = "filename,Interpreter,Song,Interpretation,Benchmark_A,Benchmark_B\n\
               0000.wav,7,Potter,Hum,Train,Test\n0001.wav,8,Rain,Whistle,Test,Train\n0002.wav,8,,Hum,Train,Train\n\
               0003.wav,9,Rain,Hum,Train,Train\n";
    let folder = folder(&["audio/0000.wav", "0001.wav", "0002.wav"], &[("labels.csv", csv)]);
    for path in [folder.path().to_path_buf(), folder.path().join("labels.csv")] {
        let listing = list(&path).unwrap();
        assert_eq!(listing.source, Source::Csv);
        assert_eq!(rows(&listing), [("0001.wav", "Rain", Some("8")), ("audio/0000.wav", "Potter", Some("7"))]);
        assert_eq!(listing.files[0].columns["Benchmark_A"], "Test");
        let left_out: Vec<&str> = listing.left_out.iter().map(|l| l.reason.as_str()).collect();
        assert_eq!(left_out, ["named by the CSV, but not there", "the CSV gives no song"]);
    }
}

#[test]
fn csv_dialects() {
    let table = [
        "\u{feff}Path;Label;Singer\na.wav;Rain;x\nsub/b.wav;Potter;y\n",
        "audio\tclass\tperson\nsub\\b.wav\tPotter\ty\n./a.wav\tRain\tx\n",
        "label , file name , PERSON\r\nRain , a.wav , x\r\nPotter, b.wav,y\r\n",
    ];
    for csv in table {
        let folder = folder(&["a.wav", "sub/b.wav"], &[("x.csv", csv)]);
        let listing = list(folder.path()).unwrap();
        let mut found: Vec<_> = listing.files.iter().map(|f| (f.label.as_str(), f.person.as_deref())).collect();
        found.sort();
        assert_eq!(found, [("Potter", Some("y")), ("Rain", Some("x"))], "{csv}");
    }
}

#[test]
fn folders_without_labels_are_refused() {
    let conflict = "file,song\na.wav,Rain\na.wav,Potter\n";
    let twice = "file,song\na.wav,Rain\n";
    type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let table: [Case; 6] = [
        ("empty folder", &[], &[], "no sound file"),
        ("unlabelled", &["a.wav", "b.wav"], &[], "no labels"),
        ("conflicting CSV", &["a.wav"], &[("l.csv", conflict)], "twice"),
        ("two CSVs", &["a.wav"], &[("l.csv", twice), ("m.csv", twice)], "several CSV"),
        ("CSV of missing files", &[], &[("l.csv", "file,song\nx.wav,Rain\n")], "no sound file that exists"),
        ("CSV without rows", &[], &[("l.csv", "file,song\n")], "no rows"),
    ];
    for (name, sounds, texts, part) in table {
        let folder = folder(sounds, texts);
        let error = list(folder.path()).expect_err(name).to_string();
        assert!(error.contains(part) && error.contains(&folder.path().display().to_string()), "{name}: {error}");
    }
    let folder = folder(&["a.wav"], &[("l.csv", "one,two\n1,2\n")]);
    for (path, part) in [
        (folder.path().join("nowhere"), "no such file"),
        (folder.path().join("a.wav"), "neither a folder"),
        (folder.path().join("l.csv"), "no file column"),
    ] {
        let error = list(&path).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn unreadable_files_are_left_out_unless_strict() {
    let folder = folder(&["S1_hum_1_Rain.wav", "S2_hum_1_Potter.wav"], &[("S3_hum_1_Rain.wav", "not sound at all")]);
    let data = Dataset::load(folder.path(), &LoadOptions::default()).unwrap();
    assert_eq!(data.classes, ["Potter", "Rain"]);
    assert_eq!(data.class_counts(), [1, 1]);
    assert_eq!(data.clips[0].label, 1);
    assert_eq!((data.sample_rate, data.clips[0].len()), (11_000, 550));
    assert_eq!(data.clips[0].channel(1), data.clips[0].channel(0));
    assert_eq!(data.left_out[0].files, ["S3_hum_1_Rain.wav"]);
    let error = Dataset::load(folder.path(), &LoadOptions { strict: true, ..Default::default() }).unwrap_err();
    assert!(error.to_string().contains("S3_hum_1_Rain.wav"), "{error}");
    let short = Dataset::load(folder.path(), &LoadOptions { most_samples: Some(100), ..Default::default() }).unwrap();
    assert_eq!(short.clips[1].channel(0), &data.clips[1].channel(0)[..100]);
}

#[test]
fn nothing_readable_is_an_error() {
    let folder = folder(&[], &[("S3_hum_1_Rain.wav", "not sound"), ("S4_hum_1_Rain.wav", "")]);
    let error = Dataset::load(folder.path(), &LoadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("none of its recordings can be used") && error.contains("S4_hum_1_Rain.wav"), "{error}");
}

/// Clips without sound: (person, song) pairs.
fn dataset(clips: &[(usize, usize)]) -> Dataset {
    let classes: BTreeSet<String> = clips.iter().map(|c| format!("song{:02}", c.1)).collect();
    let classes: Vec<String> = classes.into_iter().collect();
    let clips = clips
        .iter()
        .enumerate()
        .map(|(i, &(person, song))| Clip {
            id: format!("{i:05}.wav"),
            path: PathBuf::new(),
            samples: Samples::default(),
            stretch: None,
            label: classes.iter().position(|c| *c == format!("song{song:02}")).unwrap(),
            person: Some(format!("S{person}")),
            columns: BTreeMap::from([("Half".to_string(), if i % 2 == 0 { "Train" } else { "Test" }.to_string())]),
        })
        .collect();
    Dataset { clips, classes, sample_rate: 11_000, ..Dataset::default() }
}

fn people(data: &Dataset, clips: &[usize]) -> BTreeSet<String> {
    clips.iter().filter_map(|&i| data.clips[i].person.clone()).collect()
}

#[test]
fn by_person_keeps_people_apart_and_songs_in_balance() {
    let data = dataset(&(0..400).map(|i| (i * i % 61, i % 8)).collect::<Vec<_>>());
    for seed in 0..20 {
        let split = split(&data, &SplitBy::Person, 0.2, seed).unwrap();
        assert!(people(&data, &split.train).is_disjoint(&people(&data, &split.validation)));
        assert_eq!(split.train.len() + split.validation.len(), 400);
        assert!((60..=100).contains(&split.validation.len()), "{}", split.validation.len());
        for song in 0..8 {
            let n = split.validation.iter().filter(|&&i| data.clips[i].label == song).count();
            assert!((4..=16).contains(&n), "seed {seed}, song {song}: {n} of 50");
        }
    }
    let at = |seed| split(&data, &SplitBy::Person, 0.2, seed).unwrap();
    assert_eq!(at(3), at(3));
    assert_ne!(at(3), at(4));
}

#[test]
fn random_splits_are_stratified() {
    let data = dataset(&(0..270).map(|i| (i, i % 8)).collect::<Vec<_>>());
    let split = split(&data, &SplitBy::Random, 0.2, 7).unwrap();
    for song in 0..8 {
        let n = split.validation.iter().filter(|&&i| data.clips[i].label == song).count();
        assert!((6..=7).contains(&n), "{n}");
    }
}

#[test]
fn splits_by_column() {
    let data = dataset(&[(0, 0), (1, 0), (2, 1), (3, 1)]);
    let by = SplitBy::Column("half".into());
    let halves = split(&data, &by, 0.2, 0).unwrap();
    assert_eq!((halves.train, halves.validation), (vec![0, 2], vec![1, 3]));
    let error = split(&data, &SplitBy::Column("other".into()), 0.2, 0).unwrap_err().to_string();
    assert!(error.contains("no such column") && error.contains("Half"), "{error}");
}

#[test]
fn every_clip_validates_once_in_folds() {
    for by in [SplitBy::Person, SplitBy::Random] {
        let data = dataset(&(0..200).map(|i| (i % 25, (i / 25) % 8)).collect::<Vec<_>>());
        let folds = folds(&data, &by, 5, 1).unwrap();
        let mut seen: Vec<usize> = folds.iter().flat_map(|f| f.validation.clone()).collect();
        seen.sort();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
        for fold in &folds {
            assert_eq!(fold.train.len() + fold.validation.len(), 200);
            assert!((30..=50).contains(&fold.validation.len()), "{}", fold.validation.len());
            if by == SplitBy::Person {
                assert!(people(&data, &fold.train).is_disjoint(&people(&data, &fold.validation)));
            }
        }
    }
}

/// Clips without sound or people, in a folder for each song.
fn named(files: &[&str]) -> Dataset {
    let mut data = dataset(&vec![(0, 0); files.len()]);
    let song = |file: &str| file.split('/').next().unwrap().to_string();
    data.classes = files.iter().map(|file| song(file)).collect::<BTreeSet<_>>().into_iter().collect();
    for (clip, file) in data.clips.iter_mut().zip(files) {
        clip.id = file.to_string();
        clip.label = data.classes.iter().position(|class| *class == song(file)).unwrap();
        clip.person = None;
    }
    data
}

#[test]
fn names_in_file_names_are_for_those_who_ask() {
    let mut files = Vec::new();
    for song in ["Potter", "Rain"] {
        for name in ["anna", "Ben", "c3", "Dörte"] {
            files.extend((1..4).map(|take| format!("{song}/{name}_{take:02}.wav")));
        }
    }
    files[0] = "Potter/ANNA_1.mp3".into();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let data = named(&files);
    let found = names(&data).unwrap();
    assert_eq!(found.iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), ["anna", "ben", "c3", "dörte"]);
    assert_eq!(SplitBy::default_for(&data), SplitBy::Random);
    let by = "name".parse::<SplitBy>().unwrap();
    assert_eq!((&by, by.to_string().as_str()), (&SplitBy::Name, "name"));
    for seed in 0..10 {
        let halves = split(&data, &by, 0.25, seed).unwrap();
        let of = |clips: &[usize]| clips.iter().map(|&i| found[i].clone()).collect::<BTreeSet<_>>();
        assert!(of(&halves.train).is_disjoint(&of(&halves.validation)));
        assert_eq!(halves.validation.len(), 6, "one of four");
    }
    assert_eq!(folds(&data, &by, 4, 0).unwrap().len(), 4);
    assert!(folds(&data, &by, 5, 0).unwrap_err().to_string().contains("4 names"));
    let unknown = split(&data, &SplitBy::Person, 0.2, 0).unwrap_err().to_string();
    assert!(unknown.contains("setting `split` = `name`"), "{unknown}");
}

#[test]
fn doubtful_names_are_not_gone_by() {
    let cases: [(&str, &[&str], &str); 5] = [
        ("one name", &["Potter/take-1.wav", "Rain/take-1.wav"], "the same name"),
        ("songs", &["Potter/potter-1.wav", "Potter/p-1.wav", "Rain/rain-1.wav"], "not people's"),
        ("one in both", &["Potter/take-1.wav", "Potter/a-1.wav", "Rain/take-1.wav", "Rain/b-1.wav"], "not people's"),
        ("no number", &["Potter/anna-1.wav", "Potter/ben-1.wav", "Rain/anna-1.wav", "Rain/ben.wav"], "Rain/ben.wav"),
        ("two signs", &["Potter/anna-1.wav", "Potter/ben-1.wav", "Rain/anna_1.wav", "Rain/ben-1.wav"], "anna_1.wav"),
    ];
    for (name, files, part) in cases {
        let data = named(files);
        let why = names(&data).expect_err(name);
        assert!(why.contains(part), "{name}: {why}");
        let refused = split(&data, &SplitBy::Name, 0.4, 0).unwrap_err().to_string();
        assert!(refused.contains("setting `split`") && refused.contains(&why), "{name}: {refused}");
        let unknown = split(&data, &SplitBy::Person, 0.4, 0).unwrap_err().to_string();
        assert!(!unknown.contains("`name`"), "{name}: {unknown}");
    }
    assert!(names(&named(&[])).is_err());
}

#[test]
fn rare_songs_reach_both_sides_where_they_can() {
    // Song 1 is sung by two people only.
    let mut clips: Vec<(usize, usize)> = (0..60).map(|i| (i % 20, 0)).collect();
    clips.extend([(3, 1), (11, 1)]);
    let data = dataset(&clips);
    for seed in 0..30 {
        split(&data, &SplitBy::Person, 0.2, seed).unwrap();
    }
}

#[test]
fn impossible_splits_are_refused() {
    let good: Vec<(usize, usize)> = (0..40).map(|i| (i % 10, i % 2)).collect();
    let mut anonymous = dataset(&good);
    anonymous.clips[5].person = None;
    let cases = [
        ("one song", split(&dataset(&[(0, 0), (1, 0)]), &SplitBy::Person, 0.2, 0), "1 song"),
        ("one person", split(&dataset(&[(0, 0), (0, 1)]), &SplitBy::Person, 0.2, 0), "one person"),
        ("nobody known", split(&anonymous, &SplitBy::Person, 0.2, 0), "not known"),
        ("fraction 1", split(&dataset(&good), &SplitBy::Random, 1.0, 0), "setting `val_fraction`"),
        ("negative", split(&dataset(&good), &SplitBy::Random, -0.1, 0), "setting `val_fraction`"),
        ("not a number", split(&dataset(&good), &SplitBy::Random, f64::NAN, 0), "setting `val_fraction`"),
        ("one clip", split(&dataset(&[(0, 0), (1, 0), (2, 1)]), &SplitBy::Random, 0.3, 0), "song01 has no clip for"),
        ("one fold", folds(&dataset(&good), &SplitBy::Person, 1, 0).map(|_| Default::default()), "setting `folds`"),
        ("many folds", folds(&dataset(&good), &SplitBy::Person, 11, 0).map(|_| Default::default()), "10 persons"),
    ];
    for (name, result, part) in cases {
        let error = result.expect_err(name).to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
    assert!(split(&dataset(&good), &SplitBy::Person, 0.0, 0).unwrap().validation.is_empty());
    assert!("by name".parse::<SplitBy>().is_err() && "column:".parse::<SplitBy>().is_err());
    assert_eq!("column:Benchmark_A".parse::<SplitBy>().unwrap(), SplitBy::Column("Benchmark_A".into()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_split_is_a_partition(
        clips in prop::collection::vec((0usize..12, 0usize..4), 2..80), fraction in 0.01f64..0.9, seed in any::<u64>()
    ) {
        let data = dataset(&clips);
        for by in [SplitBy::Person, SplitBy::Random] {
            let Ok(split) = split(&data, &by, fraction, seed) else { continue };
            let mut all = [split.train.clone(), split.validation.clone()].concat();
            all.sort();
            prop_assert_eq!(all, (0..clips.len()).collect::<Vec<_>>());
            if by == SplitBy::Person {
                prop_assert!(people(&data, &split.train).is_disjoint(&people(&data, &split.validation)));
            }
        }
    }
}

fn clip(value: f32, frames: usize) -> Audio {
    Audio {
        channels: vec![vec![value; frames]; 2],
        sample_rate: 11_000,
        warnings: vec!["mended".into(), "twice".into()],
    }
}

#[test]
fn the_cache_returns_what_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), 1 << 20).unwrap();
    let key = Key::new(b"contents", 11_000);
    assert_ne!(key, Key::new(b"contents", 8_000));
    assert_ne!(key, Key::new(b"contentt", 11_000));
    assert_eq!(cache.load(key), None);
    cache.store(key, &clip(0.25, 100));
    assert_eq!(cache.load(key), Some(clip(0.25, 100)));
    let other = Cache::open(folder.path(), 1 << 20).unwrap();
    assert_eq!(other.load(key), Some(clip(0.25, 100)));
}

#[test]
fn damaged_cache_entries_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), 1 << 20).unwrap();
    let key = Key::new(b"contents", 11_000);
    let entry = || std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    cache.store(key, &clip(0.25, 100));
    let whole = std::fs::read(entry()).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        cache.store(key, &clip(0.25, 100));
        std::fs::write(entry(), &bytes).unwrap();
        assert_eq!(cache.load(key), None, "byte {at}");
    }
    for length in [0, 7, 39, 40, whole.len() - 1] {
        cache.store(key, &clip(0.25, 100));
        std::fs::write(entry(), &whole[..length]).unwrap();
        assert_eq!(cache.load(key), None, "length {length}");
    }
}

#[test]
fn the_cache_is_bounded_and_drops_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let bound = 100_000;
    let cache = Cache::open(folder.path(), bound).unwrap();
    for i in 0..60u8 {
        cache.store(Key::new(&[i], 11_000), &clip(f32::from(i), 1_000));
        // Modification times are the order of use; some file systems keep them coarsely.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let size = || std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum::<u64>();
    assert!(size() <= bound + bound / 16 + 8_100, "{}", size());
    assert_eq!(cache.load(Key::new(&[0], 11_000)), None);
    assert!(cache.load(Key::new(&[59], 11_000)).is_some());
    // Too large to be worth it.
    cache.store(Key::new(b"long", 11_000), &clip(0.0, 10_000));
    assert_eq!(cache.load(Key::new(b"long", 11_000)), None);
    drop(Cache::open(folder.path(), 20_000));
    assert!(size() <= 20_000);
}

#[test]
fn many_threads_share_a_cache() {
    let folder = tempfile::tempdir().unwrap();
    let bound = 300_000;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let cache = Cache::open(folder.path(), bound).unwrap();
                for round in 0..50u8 {
                    let i = round % 20;
                    let key = Key::new(&[i], 11_000);
                    cache.store(key, &clip(f32::from(i), 500));
                    if let Some(found) = cache.load(key) {
                        assert_eq!(found, clip(f32::from(i), 500));
                    }
                }
            });
        }
    });
}

#[test]
fn a_cached_data_set_is_the_same() {
    let folder = folder(&["S1_hum_1_Rain.wav", "S2_hum_1_Potter.wav"], &[]);
    let store = tempfile::tempdir().unwrap();
    let cache = Cache::open(store.path(), 1 << 24).unwrap();
    let plain = Dataset::load(folder.path(), &LoadOptions::default()).unwrap();
    for _ in 0..2 {
        let cached = Dataset::load(folder.path(), &LoadOptions { cache: Some(&cache), ..Default::default() }).unwrap();
        assert_eq!(cached.clips, plain.clips);
    }
    // The two files hold the same sound.
    assert_eq!(std::fs::read_dir(store.path()).unwrap().count(), 1);
    // A cache that cannot be written to is no error.
    std::fs::remove_dir_all(store.path()).unwrap();
    let cached = Dataset::load(folder.path(), &LoadOptions { cache: Some(&cache), ..Default::default() }).unwrap();
    assert_eq!(cached.clips, plain.clips);
}

#[test]
fn the_real_recordings() {
    use std::io::Write;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/hummed-songs");
    if !path.is_dir() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: there are no recordings at {}", path.display());
        return;
    }
    let data = Dataset::load(&path, &LoadOptions::default()).unwrap();
    assert_eq!((data.clips.len(), data.classes.len()), (480, 8));
    assert_eq!(data.class_counts(), [60; 8]);
    assert_eq!(SplitBy::default_for(&data), SplitBy::Person);
    let everyone: Vec<usize> = (0..480).collect();
    assert_eq!(people(&data, &everyone).len(), 88);
    for fold in folds(&data, &SplitBy::Person, 5, 0).unwrap() {
        assert!((80..=112).contains(&fold.validation.len()), "{}", fold.validation.len());
    }
}
