//! Labels of all the kinds that people have: tables with other names and with passages, label tracks, ready-made folds, and songs that are
//! none.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;
#[path = "common/wav.rs"]
mod wav;

use humdinger::data::dataset::{Dataset, LoadOptions};
use humdinger::data::labels::{ColumnNames, Listing, list, list_by};
use humdinger::data::split::{SplitBy, folds, split};
use program::{fail, run, scratch, small_data, succeed, text};
use std::path::{Path, PathBuf};
use wav::write_wav;

/// A folder of that name with these texts in it.
fn folder(name: &str, texts: &[(&str, &str)]) -> PathBuf {
    let folder = scratch().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    texts.iter().for_each(|(name, text)| std::fs::write(folder.join(name), text).unwrap());
    folder
}

/// A recording of so many seconds in which every sample tells its place.
fn recording(path: &Path, seconds: u32, seed: u32) {
    write_wav(path, 8_000, (0..8_000 * seconds).map(|i| ((i + seed) % 30_011) as i16));
}

fn rows(listing: &Listing) -> Vec<(&str, &str)> {
    listing.files.iter().map(|file| (file.id.as_str(), file.label.as_str())).collect()
}

fn reasons(listing: &Listing) -> String {
    listing.left_out.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn at_its_rate() -> LoadOptions<'static> {
    LoadOptions { sample_rate: 8_000, ..LoadOptions::default() }
}

#[test]
fn passages_of_a_table_are_clips() {
    let table = "file,song,start,end\nlong.wav,A,0.5,1.25\nlong.wav,B,\"0:02\",\"2,5\"\nlong.wav,A,3.5,\nshort.wav,B,,\n\
                 long.wav,B,9,10\nlong.wav,B,3,2\nlong.wav,B,x,2\nlong.wav,A,3.9,4.5\n";
    let folder = folder("passages", &[("l.csv", table)]);
    recording(&folder.join("long.wav"), 4, 0);
    recording(&folder.join("short.wav"), 1, 77);
    let listing = list(&folder).unwrap();
    let expected = [
        ("long.wav#t=0.5,1.25", "A"),
        ("long.wav#t=2,2.5", "B"),
        ("long.wav#t=3.5", "A"),
        ("long.wav#t=3.9,4.5", "A"),
        ("long.wav#t=9,10", "B"),
        ("short.wav", "B"),
    ];
    assert_eq!(rows(&listing), expected);
    let why = reasons(&listing);
    assert!(why.contains("its passage ends before it begins (long.wav, row 7)"), "{why}");
    assert!(why.contains("no time in seconds (long.wav, row 8)"), "{why}");
    assert!(listing.labels_from.contains("passages in `start` and `end`"), "{}", listing.labels_from);
    let data = Dataset::load(&folder, &at_its_rate()).unwrap();
    let clip = |id: &str| data.clips.iter().find(|clip| clip.id == id).unwrap_or_else(|| panic!("{id}"));
    let lengths: Vec<usize> = data.clips.iter().map(|clip| clip.len()).collect();
    assert_eq!(lengths, [6_000, 4_000, 4_000, 800, 8_000]);
    assert_eq!(clip("long.wav#t=0.5,1.25").channel(0)[..2], [4_000.0 / 32_768.0, 4_001.0 / 32_768.0]);
    let why = data.left_out.iter().map(ToString::to_string).collect::<String>();
    assert!(why.contains("lasts 4.000 s, and the passage begins at 9.000 s (long.wav#t=9,10)"), "{why}");
    let told = data.warnings.join("\n");
    assert!(told.contains("long.wav#t=3.9,4.5: lasts 4.000 s, and the passage ends at 4.500 s"), "{told}");
    // `check` says how long each is.
    let report: serde_json::Value = serde_json::from_str(&succeed(&["check", "--json", text(&folder)])).unwrap();
    let first = report["files"].as_array().unwrap().iter().find(|file| file["path"] == "long.wav#t=0.5,1.25").unwrap();
    assert_eq!(first["seconds"], 0.75);
}

#[test]
fn passages_that_overlap_are_on_one_side() {
    let lines: String = (0..20).map(|i| format!("long.wav,A,{i},{i}.8\nlong.wav,B,{i}.3,{i}.9\n")).collect();
    let folder = folder("overlap", &[("l.csv", &format!("file,song,start,end\n{lines}"))]);
    recording(&folder.join("long.wav"), 20, 5);
    let data = Dataset::load(&folder, &at_its_rate()).unwrap();
    let halves = split(&data, &SplitBy::Random, 0.3, 1).unwrap();
    let start = |i: &usize| data.clips[*i].stretch.unwrap().start.floor();
    assert!(halves.validation.len() >= 10);
    for i in &halves.validation {
        assert!(!halves.train.iter().any(|j| start(i) == start(j)), "{}", data.clips[*i].id);
    }
}

#[test]
fn label_tracks_and_selection_tables() {
    let track = "0.500000\t1.250000\tA\n\\\t100.0\t200.0\n2.0\t2.0\tA\n2.000000\t2.500000\tB\n3.0\t3.5\t\n";
    let raven = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tAnnotation\n\
                 1\tWaveform 1\t1\t0.1\t0.6\t0\t4000\tB\n1\tSpectrogram 1\t1\t0.1\t0.6\t0\t4000\tB\n\
                 2\tWaveform 1\t1\t1.0\t1.5\t0\t4000\tA\n";
    let folder =
        folder("tracks", &[("one.txt", track), ("two.Table.1.selections.txt", raven), ("readme.txt", "Hello")]);
    for (i, name) in ["one.wav", "two.wav", "three.wav"].iter().enumerate() {
        recording(&folder.join(name), 4, 1_000 * i as u32);
    }
    let one = [("one.wav#t=0.5,1.25", "A"), ("one.wav#t=2,2.5", "B")];
    let two = [("two.wav#t=0.1,0.6", "B"), ("two.wav#t=1,1.5", "A")];
    let listing = list(&folder.join("one.txt")).unwrap();
    assert_eq!(rows(&listing), one);
    let why = reasons(&listing);
    assert!(why.contains("a moment, without length") && why.contains("gives no song (one.wav#t=3,3.5)"), "{why}");
    assert_eq!(rows(&list(&folder.join("two.Table.1.selections.txt")).unwrap()), two);
    let all = list(&folder).unwrap();
    assert_eq!(rows(&all), [one, two].concat());
    assert!(
        reasons(&all).contains("no label track beside it, and the others have one (three.wav)"),
        "{}",
        reasons(&all)
    );
    assert_eq!(Dataset::load(&folder, &at_its_rate()).unwrap().clips.len(), 4);
    std::fs::remove_file(folder.join("one.wav")).unwrap();
    let error = list(&folder.join("one.txt")).unwrap_err().to_string();
    assert!(error.contains("no sound file one.wav"), "{error}");
}

#[test]
fn columns_of_any_name() {
    let table = "Sound;Werk;Wer;Teil\nx/1.wav;A;Anna;1\nx/2.wav;B;Anna;1\nx/3.wav;A;Ben;2\nx/4.wav;B;Ben;2\n";
    let folder = folder("named", &[("l.csv", table)]);
    (1..5).for_each(|i| recording(&folder.join(format!("x/{i}.wav")), 1, i * 777));
    let names = ColumnNames {
        file: Some("Sound".into()),
        song: Some("werk".into()),
        person: Some("Wer".into()),
        ..ColumnNames::default()
    };
    let listing = list_by(&folder, &names).unwrap();
    assert_eq!(rows(&listing), [("x/1.wav", "A"), ("x/2.wav", "B"), ("x/3.wav", "A"), ("x/4.wav", "B")]);
    assert_eq!(listing.files[2].person.as_deref(), Some("Ben"));
    assert!(listing.notes.join("; ").contains("columns of l.csv that are not used: `Teil`"), "{:?}", listing.notes);
    let wrong = ColumnNames { song: Some("Lied".into()), ..names.clone() };
    let error = list_by(&folder, &wrong).unwrap_err().to_string();
    assert!(
        error.contains("setting `song_column`") && error.contains("no column `Lied`; it has Sound, Werk"),
        "{error}"
    );
    std::fs::remove_file(folder.join("l.csv")).unwrap();
    let error = list_by(&folder, &names).unwrap_err().to_string();
    assert!(error.contains("holds no CSV file"), "{error}");
}

/// The names of columns stay with the run, also when it is gone on with.
#[test]
fn a_run_keeps_the_names_of_columns() {
    let folder = scratch().join("kept names");
    let lines: String = (0..8)
        .map(|i| {
            recording(&folder.join(format!("{i}.wav")), 1, i * 777);
            format!("{i}.wav;{};{};{}\n", ["A", "B"][i as usize % 2], ["Train", "test"][i as usize / 2 % 2], i / 4)
        })
        .collect();
    std::fs::write(folder.join("l.csv"), format!("Sound;Werk;Teil;fold\n{lines}")).unwrap();
    let out = scratch().join("kept run");
    let (data, out_text) = (folder.join("l.csv"), text(&out));
    let flags = ["--file-column", "Sound", "--song-column", "Werk", "--split-column", "Teil"];
    let rest = ["--epochs", "1", "--device", "cpu", "--recipe", "notebook", "--out", out_text];
    succeed(&[&["train", "--data", text(&data)][..], &flags, &rest].concat());
    let config = std::fs::read_to_string(out.join("config.toml")).unwrap();
    assert!(config.contains("song = \"Werk\"") && config.contains("column:Teil"), "{config}");
    succeed(&["train", "--resume", out_text, "--epochs", "2"]);
    let predictions = std::fs::read_to_string(out.join("predictions.csv")).unwrap();
    assert!(predictions.contains("2.wav") && !predictions.contains("0.wav"), "{predictions}");
    // Ready-made folds.
    let columns = ["--file-column", "Sound", "--song-column", "Werk"];
    let data = Dataset::from_listing(
        list_by(&data, &ColumnNames { file: Some("Sound".into()), song: Some("Werk".into()), ..Default::default() })
            .unwrap(),
        &data,
        &at_its_rate(),
    )
    .unwrap();
    let by = SplitBy::Column("fold".into());
    let made = folds(&data, &by, 2, 1).unwrap();
    assert_eq!((&made[0].validation[..], &made[1].validation[..]), (&[0, 1, 2, 3][..], &[4, 5, 6, 7][..]));
    let error = folds(&data, &by, 3, 1).unwrap_err().to_string();
    assert!(error.contains("3 folds, but column fold has 2 values (0, 1)"), "{error}");
    let out = scratch().join("ready folds");
    let (path, out_text) = (folder.join("l.csv"), text(&out));
    let how = ["--split", "column:fold", "--folds", "2", "--epochs", "1", "--device", "cpu", "--recipe", "notebook"];
    succeed(&[&["train", "--data", text(&path), "--out", out_text][..], &columns, &how].concat());
    let first = std::fs::read_to_string(out.join("fold-1/predictions.csv")).unwrap();
    assert!(first.contains("3.wav") && !first.contains("4.wav"), "{first}");
}

#[test]
fn examples_of_no_song() {
    let folder = scratch().join("no song");
    for (i, song) in ["A", "A", "Background_Noise", "Background_Noise"].iter().enumerate() {
        recording(&folder.join(format!("{song}/{i}.wav")), 1, 500 * i as u32);
    }
    recording(&folder.join("__MACOSX/A/0.wav"), 1, 3);
    let listing = list(&folder).unwrap();
    assert_eq!(listing.files.len(), 4);
    assert!(reasons(&listing).contains("a folder of the file system's own (__MACOSX/)"), "{}", reasons(&listing));
    let notes = listing.notes.join("\n");
    assert!(notes.contains("\"Background_Noise\" holds examples of no song"), "{notes}");
    recording(&folder.join("Unknown/1.wav"), 1, 9);
    let error = fail(1, &["train", "--data", text(&folder)]);
    assert!(error.contains("a song is called \"Unknown\" (of Unknown/1.wav)"), "{error}");
}

/// A model that has heard noise answers "unknown" for it, and says why.
#[test]
fn noise_that_was_trained_on_is_unknown() {
    let folder = scratch().join("with noise");
    let from = small_data();
    let mut songs: Vec<PathBuf> = std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    songs.sort();
    let sounds = |song: &Path| -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = std::fs::read_dir(song).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    };
    let sounds = if songs[0].is_dir() { sounds(&songs[0]) } else { songs };
    std::fs::create_dir_all(folder.join("tune")).unwrap();
    for (i, sound) in sounds.iter().take(4).enumerate() {
        std::fs::copy(sound, folder.join(format!("tune/{i}.wav"))).unwrap();
        let noise = (0..24_000u32).map(|t| ((t + 99_991 * i as u32).wrapping_mul(2_654_435_761) >> 18) as i16);
        write_wav(&folder.join(format!("noise/{i}.wav")), 8_000, noise);
    }
    let out = scratch().join("noise run");
    let arguments =
        ["train", "--epochs", "3", "--batch-size", "2", "--no-augment", "--device", "cpu", "--out", text(&out)];
    succeed(&[&arguments[..], &["--data", text(&folder)]].concat());
    let noise = folder.join("noise/1.wav");
    let told = run(&["predict", "--min-confidence", "0", "--format", "json", "--model", text(&out), text(&noise)]);
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&told[0]["prediction"], &told[0]["decision"]), (&"unknown".into(), &"no song".into()), "{told}");
    assert!(told[0]["reason"].as_str().unwrap().contains("examples of no song (noise)"), "{told}");
}
