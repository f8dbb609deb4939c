//! `humdinger check`: what it says of data sets as people have them, before any training.

#![cfg(feature = "app")]

#[path = "common/program.rs"]
mod program;
#[path = "common/wav.rs"]
mod wav;

use humdinger::data::dataset::{Dataset, LoadOptions};
use humdinger::data::split::{SplitBy, folds, split};
use program::{fail, run, scratch, succeed, text};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use wav::write_wav;

/// A recording unlike every other `seed`'s.
fn clip(path: &Path, seed: u32) {
    write_wav(path, 8_000, (0..800).map(|i| (i * (seed + 3) % 200) as i16 * 50 - 5_000));
}

/// Songs of these names with `per` recordings each, in a folder.
fn songs(name: &str, songs: &[&str], per: u32) -> PathBuf {
    let folder = scratch().join(name);
    for (k, song) in songs.iter().enumerate() {
        (0..per).for_each(|i| clip(&folder.join(format!("{song}/{i}.wav")), i + 100 * k as u32));
    }
    folder
}

fn checked(path: &Path) -> Value {
    serde_json::from_str(&succeed(&["check", "--json", text(path)])).unwrap()
}

/// One file of the answer.
fn file<'a>(report: &'a Value, path: &str) -> &'a Value {
    let files = report["files"].as_array().unwrap();
    files.iter().find(|file| file["path"] == path).unwrap_or_else(|| panic!("{path} is not among {report:#}"))
}

fn told(report: &Value, path: &str) -> String {
    file(report, path)["warnings"].to_string()
}

/// Takes the whole of what stdout and stderr say.
fn all(arguments: &[&str]) -> String {
    let output = run(arguments);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn everything_about_a_folder_is_one_object() {
    let folder = songs("object", &["A", "B"], 2);
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 16_000,
        bits_per_sample: 24,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(folder.join("A/stereo.wav"), spec).unwrap();
    (0..16_000).for_each(|i| writer.write_sample((i * 7919 % 30_011 - 15_000) * 100).unwrap());
    writer.finalize().unwrap();
    std::fs::write(folder.join("B/x.wma"), "x").unwrap();
    std::fs::write(folder.join("B/broken.wav"), "RIFF").unwrap();
    std::fs::write(folder.join("notes.txt"), "x").unwrap();
    let report = checked(&folder);
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["files", "labels_from", "notes", "people", "songs"]);
    assert_eq!(report["songs"], serde_json::json!({"A": 3, "B": 2}));
    assert_eq!(report["people"], serde_json::json!({}));
    assert!(report["labels_from"].as_str().unwrap().contains("folders"));
    let stereo = serde_json::json!({
        "path": "A/stereo.wav", "song": "A", "person": null, "seconds": 0.5, "channels": 2, "sample_rate": 16_000,
        "codec": "pcm_s24le", "warnings": [], "left_out": null,
    });
    assert_eq!(*file(&report, "A/stereo.wav"), stereo);
    for (path, why) in [("B/x.wma", ".wma"), ("B/broken.wav", "unreadable"), ("notes.txt", "no recording")] {
        let file = file(&report, path);
        assert!(file["left_out"].as_str().unwrap().contains(why) && file["seconds"].is_null(), "{file}");
    }
    let table = succeed(&["check", text(&folder)]);
    for words in ["labels from", "A/stereo.wav", "pcm_s24le", "B/x.wma", "5, 2 songs, who sings is not known"] {
        assert!(table.contains(words), "{words}: {table}");
    }
    let error = fail(1, &["check", "--strict", text(&folder)]);
    assert!(error.contains("x.wma") && !error.contains("notes.txt"), "{error}");
    std::fs::remove_file(folder.join("B/x.wma")).unwrap();
    assert!(fail(1, &["check", "--strict", text(&folder)]).contains("broken.wav"));
    assert!(fail(1, &["check", text(&folder.join("none"))]).contains("no such file"));
}

#[test]
fn what_is_wrong_with_sound_is_a_warning() {
    let folder = songs("faults", &["A", "B"], 3);
    let tone = |t: i32, gain: f32| ((t as f32 * 0.3).sin() * gain).clamp(-20_000.0, 20_000.0) as i16;
    write_wav(&folder.join("A/silent.wav"), 8_000, vec![0; 4_000]);
    write_wav(&folder.join("A/constant.wav"), 8_000, vec![700; 4_000]);
    write_wav(&folder.join("A/clipped.wav"), 8_000, (0..4_000).map(|t| tone(t, 60_000.0)));
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(folder.join("B/phase.wav"), spec).unwrap();
    for t in 0..4_000 {
        writer.write_sample(tone(t, 9_000.0)).unwrap();
        writer.write_sample(-tone(t, 9_000.0)).unwrap();
    }
    writer.finalize().unwrap();
    let report = checked(&folder);
    for (path, words) in [
        ("A/silent.wav", "is silent: every sample is 0"),
        ("A/constant.wav", "is silent: every sample has the one value"),
        ("A/clipped.wav", "is clipped"),
        ("B/phase.wav", "out of phase"),
    ] {
        assert!(told(&report, path).contains(words), "{path}: {}", told(&report, path));
    }
    assert_eq!(told(&report, "A/0.wav"), "[]");
    // Training says the same, and hears a tune where one channel is the other inverted.
    let data = Dataset::load(&folder, &LoadOptions::default()).unwrap();
    let warnings = data.warnings.join("\n");
    for words in
        ["silent.wav: is silent", "constant.wav: is silent", "clipped.wav: is clipped", "phase.wav: its channels"]
    {
        assert!(warnings.contains(words), "{words}: {warnings}");
    }
    let phase = data.clips.iter().find(|clip| clip.id == "B/phase.wav").unwrap();
    assert!(phase.channel(0).iter().zip(phase.channel(1)).any(|(l, r)| (l + r).abs() > 0.3));
}

#[test]
fn one_recording_under_two_names_is_told_and_stays_on_one_side() {
    let folder = songs("duplicates", &["A", "B"], 6);
    for i in 0..4 {
        std::fs::copy(folder.join("A/0.wav"), folder.join(format!("B/copy{i}.wav"))).unwrap();
    }
    std::fs::copy(folder.join("A/1.wav"), folder.join("A/again.wav")).unwrap();
    let report = checked(&folder);
    for path in ["A/0.wav", "B/copy0.wav", "B/copy3.wav"] {
        let told = told(&report, path);
        assert!(["A/0.wav", "B/copy3.wav", "different songs", "A", "B"].iter().all(|w| told.contains(w)), "{told}");
    }
    assert!(told(&report, "A/again.wav").contains("A/1.wav and A/again.wav are the same recording under 2 names"));
    let data = Dataset::load(&folder, &LoadOptions::default()).unwrap();
    assert!(
        data.warnings.iter().any(|w| w.contains("A/0.wav") && w.contains("different songs")),
        "{:?}",
        data.warnings
    );
    let sides = |split: &[usize], names: &[&str]| {
        names.iter().map(|name| split.iter().any(|&i| data.clips[i].id == *name)).collect::<BTreeSet<_>>().len()
    };
    for seed in 0..40 {
        let two = split(&data, &SplitBy::Random, 0.3, seed).unwrap();
        let three = folds(&data, &SplitBy::Random, 3, seed).unwrap();
        for split in three.iter().chain([&two]) {
            assert_eq!(sides(&split.validation, &["A/0.wav", "B/copy0.wav", "B/copy1.wav", "B/copy3.wav"]), 1);
            assert_eq!(sides(&split.validation, &["A/1.wav", "A/again.wav"]), 1);
            assert_eq!(split.train.len() + split.validation.len(), 17);
        }
    }
}

#[test]
fn names_that_look_alike_are_told() {
    let composed = "F\u{fc}r Elise";
    let folder = songs("spelling", &[composed, "Fu\u{308}r Elise", "Twinkle", "twinkle", "Twinkle_"], 2);
    let report = checked(&folder);
    // A file system may take both spellings for one folder; the song is one in any case.
    assert!(report["songs"][composed].as_u64().unwrap() >= 2, "{report:#}");
    assert!(report["songs"].as_object().unwrap().keys().all(|song| !song.contains('\u{308}')));
    let notes = report["notes"].to_string();
    assert!(notes.contains("look alike") && notes.contains("Twinkle_"), "{notes}");
    std::fs::write(folder.join("l.csv"), format!("file,song,singer\n{composed}/0.wav,A,anna\nTwinkle/0.wav,B,Anna \n"))
        .unwrap();
    let report = checked(&folder.join("l.csv"));
    assert!(report["notes"].to_string().contains("people whose names look alike"), "{report:#}");
}

#[test]
fn a_stray_table_does_not_overrule_folders() {
    let folder = songs("stray", &["A", "B"], 4);
    let rows = |song: &dyn Fn(&str, u32) -> String| {
        let line = |of: &str, i: u32| format!("{of}/{i}.wav,{},train\n", song(of, i));
        ["A", "B"].iter().flat_map(|of| (0..4).map(move |i| line(of, i))).collect::<String>()
    };
    let csv = folder.join("notes.csv");
    let takes = rows(&|_, i| if i % 2 == 0 { "first take".into() } else { "second take".into() });
    std::fs::write(&csv, format!("file,title,split\n{takes}")).unwrap();
    let report = checked(&folder);
    assert_eq!(report["songs"], serde_json::json!({"A": 4, "B": 4}));
    let notes = report["notes"].to_string();
    assert!(notes.contains("notes.csv gives other songs than the folders"), "{notes}");
    // `train` says so before it reads anything.
    let out = scratch().join("stray-run");
    let said = all(&["train", "--data", text(&folder), "--epochs", "1", "--device", "cpu", "--out", text(&out)]);
    let (from, clips) = (said.find("labels from folders").unwrap(), said.find("notes.csv gives other").unwrap());
    assert!(from < clips, "{said}");
    // Named itself it is gone by, and its other columns are told.
    let report = checked(&csv);
    assert_eq!(report["songs"], serde_json::json!({"first take": 4, "second take": 4}));
    let from = report["labels_from"].as_str().unwrap();
    assert!(from.contains("notes.csv") && from.contains("`file`") && from.contains("`title`"), "{from}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("`split` of notes.csv says which recordings validate"), "{notes}");
    // One that agrees with the folders says more than they do.
    let songs = rows(&|of, _| format!("Song {of}"));
    std::fs::write(&csv, format!("file,title,split\n{songs}")).unwrap();
    assert_eq!(checked(&folder)["songs"], serde_json::json!({"Song A": 4, "Song B": 4}));
    // Where folders are people, or parts of a set, they are no songs.
    let people: String = takes.lines().map(|line| format!("{},{}\n", line, &line[..1])).collect();
    std::fs::write(&csv, format!("file,title,split,singer\n{people}")).unwrap();
    assert_eq!(checked(&folder)["songs"], serde_json::json!({"first take": 4, "second take": 4}));
    for (from, to) in [("A", "train"), ("B", "test")] {
        std::fs::rename(folder.join(from), folder.join(to)).unwrap();
    }
    std::fs::write(&csv, format!("file,title,split\n{}", takes.replace("A/", "train/").replace("B/", "test/")))
        .unwrap();
    assert_eq!(checked(&folder)["songs"], serde_json::json!({"first take": 4, "second take": 4}));
}

#[test]
fn uneven_songs_are_told_with_their_counts() {
    let folder = songs("uneven", &["A", "B"], 2);
    (2..12).for_each(|i| clip(&folder.join(format!("A/{i}.wav")), i));
    let notes = checked(&folder)["notes"].to_string();
    assert!(notes.contains(r#"\"A\" 12, \"B\" 2"#) && notes.contains("train with setting `balance`"), "{notes}");
    assert!(all(&["check", text(&folder)]).contains("train with --balance"));
    // Balanced, an epoch has as many clips of each: three steps of four instead of two; the same again when it is gone on with.
    let steps = |name: &str, more: &[&str]| {
        let out = scratch().join(name);
        let how =
            ["--epochs", "1", "--batch-size", "4", "--recipe", "notebook", "--device", "cpu", "--out", text(&out)];
        all(&[&["train", "--data", text(&folder), "--split", "random"][..], &how, more].concat());
        if !more.is_empty() {
            all(&["train", "--resume", text(&out), "--epochs", "2"]);
        }
        std::fs::read_to_string(out.join("steps.csv")).unwrap().lines().count() - 1
    };
    assert_eq!((steps("plain", &[]), steps("balanced", &["--balance"])), (3, 2 * 5));
    let page = scratch().join("uneven.html");
    succeed(&["check", text(&folder), "--html", text(&page)]);
    let told = std::fs::read_to_string(&page).unwrap();
    assert!(told.contains("<td>A/2.wav</td>") && told.contains("unevenly recorded"), "{told}");
    let again = fail(1, &["check", text(&folder), "--html", text(&page)]);
    assert!(again.contains("exists already"), "{again}");
}

#[test]
fn tables_as_people_have_them() {
    let folder = songs("tables", &["A", "B"], 4);
    let rows = |separator: &str, song: &dyn Fn(&str) -> String| -> String {
        let line = |of: &str, i: u32| {
            [format!("{of}/{i}.wav"), song(of), i.is_multiple_of(2).to_string()].join(separator) + "\n"
        };
        ["A", "B"].iter().flat_map(|of| (0..4).map(move |i| line(of, i))).collect()
    };
    let named = |of: &str| format!("F\u{fc}r {of}");
    let table =
        |separator: &str| format!("{}\n{}", ["fname", "labels", "is_valid"].join(separator), rows(separator, &named));
    let headless: String =
        table(",").lines().skip(1).map(|line| line.rsplit_once(',').unwrap().0.to_string() + "\n").collect();
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let files = [
        ("comma.csv", table(",").into_bytes(), ""),
        ("bar.csv", table("|").into_bytes(), ""),
        ("semicolon.txt", table(";").into_bytes(), ""),
        ("tab.tsv", table("\t").into_bytes(), ""),
        ("utf-16.csv", wide(&table("\t")), "read as UTF-16"),
        ("latin.csv", table(",").chars().map(|c| c as u8).collect(), "read as Latin-1"),
        ("headless.csv", headless.into_bytes(), "no header line"),
    ];
    for (name, bytes, note) in files {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        let report = checked(&path);
        assert_eq!(report["songs"], serde_json::json!({"F\u{fc}r A": 4, "F\u{fc}r B": 4}), "{name}");
        assert!(report["notes"].to_string().contains(note), "{name}: {report:#}");
    }
    // fastai's column says which recordings validate, unless somebody says otherwise.
    let data = Dataset::load(&folder.join("comma.csv"), &LoadOptions::default()).unwrap();
    let by = SplitBy::default_for(&data);
    assert_eq!(by, SplitBy::Column("is_valid".into()));
    let halves = split(&data, &by, 0.2, 1).unwrap();
    let ids = |side: &[usize]| side.iter().map(|&i| data.clips[i].id.as_str()).collect::<Vec<_>>();
    assert_eq!(ids(&halves.validation), ["A/0.wav", "A/2.wav", "B/0.wav", "B/2.wav"]);
    assert_eq!(ids(&halves.train), ["A/1.wav", "A/3.wav", "B/1.wav", "B/3.wav"]);
    let out = scratch().join("by column");
    let arguments =
        ["train", "--epochs", "1", "--device", "cpu", "--recipe", "notebook", "--out", text(&out), "--data"];
    let said = all(&[&arguments[..], &[text(&folder.join("comma.csv"))]].concat());
    assert!(said.contains("the column `is_valid` says which recordings validate"), "{said}");
    let predictions = std::fs::read_to_string(out.join("predictions.csv")).unwrap();
    assert!(predictions.contains("A/0.wav") && !predictions.contains("A/1.wav"), "{predictions}");
    // A column that leaves a song without recordings on one side is none to go by unasked.
    let uneven = table(",").replace("B/0.wav,F\u{fc}r B,true", "B/0.wav,F\u{fc}r B,false");
    let uneven = uneven.replace("B/2.wav,F\u{fc}r B,true", "B/2.wav,F\u{fc}r B,false");
    std::fs::write(folder.join("comma.csv"), uneven).unwrap();
    let data = Dataset::load(&folder.join("comma.csv"), &LoadOptions::default()).unwrap();
    assert_eq!(SplitBy::default_for(&data), SplitBy::Random);
}

#[test]
fn names_in_file_names_are_told_where_nobody_is_known() {
    let folder = scratch().join("named");
    for (k, name) in ["A/Anna-1", "A/ben-1", "B/anna-2", "B/Ben-2"].into_iter().enumerate() {
        clip(&folder.join(format!("{name}.wav")), 10 * k as u32);
    }
    let notes = checked(&folder)["notes"].to_string();
    assert!(notes.contains("who sings is not known; the file names begin with 2 names (anna, ben)"), "{notes}");
    let said = all(&["check", text(&folder)]);
    assert!(said.contains("if these are people, --split name keeps each on one side"), "{said}");
    // Names that say nothing are not told of.
    let notes = checked(&songs("unnamed", &["A", "B"], 2))["notes"].to_string();
    assert!(!notes.contains("who sings"), "{notes}");
}
